package document

import (
	"errors"
	"fmt"
	"maps"
	"math/big"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"porthole/tree"
	"porthole/workload"
)

// kubeletProfiles is where the kubelet looks for profiles of type Localhost (--root-dir, pkg/kubelet/config/defaults.go).
const kubeletProfiles = "/var/lib/kubelet/seccomp/"

func kube() *Dialect {
	return &Dialect{
		Name: "kube", Also: []string{"kubernetes", "k8s", "pod"}, Title: "Kubernetes", File: "pod.yaml", Engine: "kubernetes",
		Source: "the API of Kubernetes 1.33 (core/v1 PodSpec), and its kubelet",
		About: `A Pod, or the pod template of a Deployment, ReplicaSet, ReplicationController, DaemonSet, StatefulSet, Job or CronJob;
what is written is a Pod. Of several containers --container NAME takes one. The security context of the container stands over
the pod's, member by member, as the kubelet merges them (pkg/securitycontext/util.go). Kubernetes' own defaults hold: a pod that
names no seccompProfile runs without a filter, so it is read as ` + "`seccomp=unconfined`" + `; a workload that asks for the default
filter is written with RuntimeDefault. A Localhost profile is a file beneath ` + kubeletProfiles + `.`,
		Kept: kubeKept, Lost: kubeLost, Wordless: kubeWordless,
		guess: func(_ string, n *tree.Node) bool { return n.Has("apiVersion") && n.Has("kind") },
		read:  readKube, write: writeKube,
	}
}

// podded is a pod that stands in a document.
type podded struct {
	name       string
	meta, spec *tree.Node
	containers []*tree.Node
	doc        *tree.Node
}

func readKube(r *reading, text string) error {
	docs, err := tree.Parse([]byte(text))
	if err != nil {
		return err
	}
	var pods []podded
	for i, doc := range docs {
		for _, obj := range objects(doc) {
			p, ok := podOf(obj)
			if !ok {
				r.lose(fmt.Sprintf("document %d", i+1), strings.TrimSpace(obj.Get("kind").Text()+" "+obj.At("metadata", "name").Text()), "it holds no pod")
				obj.Pass()
				continue
			}
			p.doc = obj
			pods = append(pods, p)
		}
	}
	var names []string
	var whose []int
	var which []*tree.Node
	for i, p := range pods {
		for _, c := range p.containers {
			name := c.Get("name").Text()
			if len(pods) > 1 {
				name = p.name + "/" + name
			}
			names, whose, which = append(names, name), append(whose, i), append(which, c)
		}
	}
	if len(names) == 0 {
		return errors.New("no pod is in it, or one without containers")
	}
	at, err := named(names, r.o.Container)
	if err != nil {
		return err
	}
	for i, c := range which {
		if i != at && whose[i] == whose[at] {
			r.lose(c.Path, names[i], "a workload is one container; --container takes another")
			c.Pass()
		}
	}
	for i, p := range pods {
		if i != whose[at] {
			r.lose(p.name, p.doc.Get("kind").Text(), "a workload is one container; --container takes another")
			p.doc.Pass()
		}
	}
	p := pods[whose[at]]
	k := &kubeReading{r, p, which[at], map[string]string{}}
	k.read()
	r.shape = p.shape
	r.unread(p.doc)
	return p.doc.Err()
}

func objects(doc *tree.Node) []*tree.Node {
	if doc.Get("kind").Text() == "List" {
		return doc.Get("items").List()
	}
	return []*tree.Node{doc}
}

func podOf(n *tree.Node) (p podded, ok bool) {
	n.Get("apiVersion").Pass()
	outer := n.Get("metadata")
	switch n.Get("kind").Text() {
	case "Pod":
		p.meta, p.spec = outer, n.Get("spec")
	case "Deployment", "ReplicaSet", "ReplicationController", "DaemonSet", "StatefulSet", "Job":
		p.meta, p.spec = n.At("spec", "template", "metadata"), n.At("spec", "template", "spec")
	case "CronJob":
		p.meta, p.spec = n.At("spec", "jobTemplate", "spec", "template", "metadata"), n.At("spec", "jobTemplate", "spec", "template", "spec")
	case "PodTemplate":
		p.meta, p.spec = n.At("template", "metadata"), n.At("template", "spec")
	default:
		return p, false
	}
	p.name = outer.Get("name").Text()
	p.meta.Get("name").Pass()
	for _, kind := range []string{"containers", "initContainers", "ephemeralContainers"} {
		p.containers = append(p.containers, p.spec.Get(kind).List()...)
	}
	return p, true
}

// shape is a member's name in the tables, which are of a pod: whatever the pod stands in.
func (p podded) shape(n *tree.Node) string {
	for _, at := range []struct {
		n    *tree.Node
		name string
	}{{p.spec, "spec"}, {p.meta, "metadata"}, {p.doc.Get("metadata"), "metadata"}} {
		if at.n != nil && within(n.Path, at.n.Path) {
			s := at.name + strings.TrimPrefix(n.Shape(), at.n.Shape())
			for _, kind := range []string{"initContainers", "ephemeralContainers"} {
				s = strings.Replace(s, "spec."+kind+"[]", "spec.containers[]", 1)
			}
			return s
		}
	}
	if rest := strings.TrimPrefix(strings.TrimPrefix(n.Path, p.doc.Path), "."); rest == "apiVersion" || rest == "kind" || rest == "status" {
		return rest
	}
	return "controller"
}

type kubeReading struct {
	*reading
	pod podded
	c   *tree.Node // the container
	env map[string]string
}

func (k *kubeReading) read() {
	w, c, spec := &k.w, k.c, k.pod.spec
	if c.Get("name").Text(); k.pod.name != unnamed {
		w.Name = k.pod.name
	}
	for key, v := range k.pod.meta.Get("labels").Members() {
		put(&w.Labels, key, v.Text())
	}
	w.Image = c.Get("image").Text()
	if w.Image == "" {
		c.Fail("a container needs an image")
	}
	k.environment()
	if n := c.Get("command"); n.Len() > 0 {
		w.Entrypoint = k.expanded(n.Texts())
	}
	w.Args = k.expanded(c.Get("args").Texts())
	w.Dir = c.Get("workingDir").Text()
	w.Hostname = spec.Get("hostname").Text()
	w.TTY, w.Stdin = c.Get("tty").True(), c.Get("stdin").True()
	if n := c.At("lifecycle", "stopSignal"); n.Set() {
		w.StopSignal = n.Text()
		if _, err := workload.Signal(w.StopSignal); err != nil {
			n.Fail("%v", err)
		}
		spec.At("os", "name").Pass()
	}
	if n := spec.Get("terminationGracePeriodSeconds").Int(); n != nil && *n >= 0 && *n < 1<<31 {
		w.StopWait = ptr(time.Duration(*n) * time.Second)
	}
	if spec.Get("restartPolicy").Text() != "Never" {
		k.drop(spec.Get("restartPolicy"), "porthole has no daemon that would start it again")
	}
	k.namespaces()
	k.security()
	k.mounts()
	k.resources()
}

func put(m *map[string]string, k, v string) {
	if *m == nil {
		*m = map[string]string{}
	}
	(*m)[k] = v
}

func (k *kubeReading) environment() {
	for _, e := range k.c.Get("env").List() {
		name := e.Get("name").Text()
		if e.Has("valueFrom") {
			k.drop(e.Get("valueFrom"), "only a cluster knows the value")
			continue
		}
		v := k.expand(e.Get("value").Text())
		k.env[name] = v
		k.w.Env = append(k.w.Env, workload.EnvVar{Name: name, Value: &v})
	}
}

func (k *kubeReading) expanded(args []string) []string {
	for i, a := range args {
		args[i] = k.expand(a)
	}
	return args
}

// expand puts the container's variables in for $(NAME); $$ is one $, and what is not known stays
// (third_party/forked/golang/expansion).
func (k *kubeReading) expand(s string) string {
	var b strings.Builder
	end := 0
	for i := 0; i < len(s); i++ {
		if s[i] != '$' || i+1 == len(s) {
			b.WriteByte(s[i])
			continue
		}
		switch next := s[i+1]; {
		case next == '$':
			b.WriteByte('$')
			i++
		case next == '(':
			if end <= i { // the next ), if there is one
				if end = strings.IndexByte(s[i:], ')'); end < 0 {
					end = len(s) - i
				}
				end += i
			}
			name := s[i+2 : end]
			if v, known := k.env[name]; known && end < len(s) {
				b.WriteString(k.counted(v))
				i += len(name) + 2
			} else {
				b.WriteByte('$')
			}
		default:
			b.WriteByte('$')
		}
	}
	return b.String()
}

func (k *kubeReading) namespaces() {
	ns, spec := &k.w.NS, k.pod.spec
	host := func(key string, at *string, own string) {
		switch b := spec.Get(key).Bool(); {
		case b != nil && *b:
			*at = "host"
		case b != nil:
			*at = own
		}
	}
	host("hostPID", &ns.PID, "")
	host("hostIPC", &ns.IPC, "private")
	host("hostNetwork", &ns.Network, "")
	if ns.Network == "host" {
		ns.UTS = "host" // the sandbox of a pod in the host's network has no names of its own (containerd, sandboxContainerSpec)
	}
	host("hostUsers", &ns.User, "private")
	if n := spec.Get("shareProcessNamespace"); n.True() {
		k.drop(n, "containers cannot share a namespace yet")
	}
}

// either is a member of the container's security context, or else of the pod's.
func (k *kubeReading) either(key string) *tree.Node {
	own, pod := k.c.At("securityContext", key), k.pod.spec.At("securityContext", key)
	if own.Set() {
		pod.Pass()
		return own
	}
	return pod
}

func (k *kubeReading) security() {
	s, c, pod := &k.w.Security, k.c.Get("securityContext"), k.pod.spec.Get("securityContext")
	uid, gid := k.either("runAsUser"), k.either("runAsGroup")
	switch u, g := uid.Int(), gid.Int(); {
	case u != nil && g != nil:
		k.w.User = fmt.Sprintf("%d:%d", *u, *g)
	case u != nil:
		k.w.User = strconv.FormatInt(*u, 10)
	case g != nil:
		k.drop(gid, "a group needs a user before it: the image's is not known here")
	}
	if n := k.either("runAsNonRoot"); n.True() {
		switch u := uid.Int(); {
		case u != nil && *u == 0:
			n.Fail("the user is root, so the kubelet would not start it")
		case u == nil:
			k.drop(n, "which user the image names is not known here")
		}
	}
	for _, n := range pod.Get("supplementalGroups").List() {
		k.w.Groups = append(k.w.Groups, n.Text())
	}
	if n := pod.Get("fsGroup"); n.Set() {
		if g := n.Text(); !slices.Contains(k.w.Groups, g) {
			k.w.Groups = append(k.w.Groups, g)
		}
		k.lose(n.Path, n.Text(), "the group is joined; volumes are not given to it")
	}
	s.Privileged = c.Get("privileged").True()
	caps := c.Get("capabilities")
	s.CapDrop = caps.Get("drop").Texts()
	for _, a := range caps.Get("add").Texts() {
		// What is added and dropped is dropped here, where Docker keeps it (containerd, WithCapabilities).
		if !slices.ContainsFunc(s.CapDrop, func(d string) bool { return capName(a, false) == capName(d, false) }) {
			s.CapAdd = append(s.CapAdd, a)
		}
	}
	k.w.Root.ReadOnly = c.Get("readOnlyRootFilesystem").True()
	if n := c.Get("allowPrivilegeEscalation"); n.Bool() != nil {
		s.NoNewPrivs = ptr(!n.True())
		if *s.NoNewPrivs && (s.Privileged || slices.ContainsFunc(s.CapAdd, func(a string) bool { return capName(a, false) == "SYS_ADMIN" })) {
			n.Fail("cannot be false where privileged or SYS_ADMIN is asked for: the API server refuses the pod")
		}
	}
	switch n := c.Get("procMount"); n.Text() {
	case "", "Default":
	case "Unmasked":
		s.SystemPaths = "unconfined"
	default:
		n.Fail("want Default or Unmasked, not %s", n.Text())
	}
	k.seccomp()
	k.appArmor()
	if n := k.either("seLinuxOptions"); n.Set() {
		for _, key := range []string{"user", "role", "type", "level"} {
			if v := n.Get(key).Text(); v != "" {
				s.Labels = append(s.Labels, key+":"+v)
			}
		}
	}
	for _, e := range pod.Get("sysctls").List() {
		put(&k.w.Sysctls, e.Get("name").Text(), e.Get("value").Text())
	}
}

func (k *kubeReading) seccomp() {
	n, s := k.either("seccompProfile"), &k.w.Security
	local := n.Get("localhostProfile")
	switch t := n.Get("type"); t.Text() {
	case "Localhost":
		name := local.Text()
		if name == "" || path.IsAbs(name) || slices.Contains(strings.Split(name, "/"), "..") {
			n.Fail("type Localhost needs a localhostProfile that is a path beneath %s", kubeletProfiles)
			return
		}
		k.seccompFile(local, kubeletProfiles+path.Clean(name), s)
	case "RuntimeDefault":
	case "Unconfined", "":
		s.Seccomp = "unconfined"
	default:
		t.Fail("want RuntimeDefault, Localhost or Unconfined, not %s", t.Text())
	}
}

func (k *kubeReading) appArmor() {
	n := k.either("appArmorProfile")
	old := k.pod.meta.At("annotations").Get("container.apparmor.security.beta.kubernetes.io/" + k.c.Get("name").Text())
	local := n.Get("localhostProfile").Text()
	t := n.Get("type")
	kind := t.Text()
	if kind == "" { // before 1.30 an annotation said it
		kind, local, _ = strings.Cut(old.Text(), "/")
		kind = map[string]string{"": "", "runtime": "RuntimeDefault", "localhost": "Localhost", "unconfined": "Unconfined"}[kind]
	} else {
		old.Pass()
	}
	switch kind {
	case "", "RuntimeDefault":
	case "Unconfined":
		k.w.Security.AppArmor = "unconfined"
	case "Localhost":
		k.w.Security.AppArmor = local
	default:
		t.Fail("want RuntimeDefault, Localhost or Unconfined, not %s", kind)
	}
}

func (k *kubeReading) mounts() {
	volumes := map[string]*tree.Node{}
	for _, v := range k.pod.spec.Get("volumes").List() {
		volumes[v.Get("name").Text()] = v
	}
	for _, n := range k.c.Get("volumeMounts").List() {
		name := n.Get("name")
		v := volumes[name.Text()]
		m := workload.Mount{Target: path.Clean(n.Get("mountPath").Text()), ReadOnly: n.Get("readOnly").True(), Refer: n.Path}
		if !path.IsAbs(m.Target) || m.Target == "/" {
			n.Fail("mountPath must be absolute and not /")
		}
		switch p := n.Get("mountPropagation"); p.Text() {
		case "", "None":
		case "HostToContainer":
			m.Propagation = "rslave"
		case "Bidirectional":
			m.Propagation = "rshared"
		default:
			p.Fail("want None, HostToContainer or Bidirectional, not %s", p.Text())
		}
		recursive := n.Get("recursiveReadOnly")
		switch mode := recursive.Text(); {
		case mode == "IfPossible", mode == "" && !m.ReadOnly, mode == "Disabled" && !m.ReadOnly:
		case mode == "Disabled" || mode == "":
			m.SubReadOnly = "no"
		case mode == "Enabled" && m.ReadOnly && m.Propagation == "":
			m.SubReadOnly, m.Propagation = "yes", "rprivate"
		default:
			recursive.Fail("Enabled needs readOnly and no mountPropagation; otherwise IfPossible or Disabled")
		}
		sub := n.Get("subPath")
		if expr := n.Get("subPathExpr"); expr.Set() {
			k.lose(n.Path, m.Target, "a path that a variable names is not filled in, and the whole volume would be more than was asked for")
			n.Pass()
			continue
		}
		switch {
		case v == nil:
			name.Fail("no volume of the pod is called %s", name.Text())
			return
		case v.Has("hostPath"):
			host := v.Get("hostPath")
			m.Type, m.Source = workload.Bind, path.Join(host.Get("path").Text(), path.Clean("/"+sub.Text()))
			if !path.IsAbs(m.Source) {
				host.Fail("path must be absolute")
			}
			switch t := host.Get("type"); t.Text() {
			case "":
			case "DirectoryOrCreate":
				m.CreateSource = true
			default:
				k.drop(t, "what kind of file it is is not looked at")
			}
		case v.Has("emptyDir"):
			dir := v.Get("emptyDir")
			m.Type, m.NoCopy = workload.Volume, true
			if medium := dir.Get("medium"); medium.Text() == "Memory" {
				m.Type, m.NoCopy = workload.Tmpfs, false
				size := dir.Get("sizeLimit")
				m.Size = whole(size, quantity(size))
			} else {
				k.drop(dir.Get("sizeLimit"), "porthole's volumes are plain directories")
			}
			k.drop(sub, "a volume is mounted whole")
		case v.Has("persistentVolumeClaim"):
			claim := v.Get("persistentVolumeClaim")
			m.Type, m.Source, m.NoCopy = workload.Volume, claim.Get("claimName").Text(), true
			if claim.Get("readOnly").True() {
				m.ReadOnly = true
			}
			if !workload.ValidName(m.Source) {
				claim.Fail("%q is no name of a volume", m.Source)
			}
			k.drop(sub, "a volume is mounted whole")
		default:
			k.lose(n.Path, m.Target, "what the volume holds only a cluster knows")
			n.Pass()
			continue
		}
		if m.Type != workload.Bind && m.SubReadOnly == "no" {
			m.SubReadOnly = "" // nothing is mounted beneath
		}
		k.w.Mounts = append(k.w.Mounts, m)
	}
}

func (k *kubeReading) resources() {
	l, res := &k.w.Limits, k.c.Get("resources")
	memory, cpu, share := res.At("limits", "memory"), res.At("limits", "cpu"), res.At("requests", "cpu")
	l.Memory = whole(memory, quantity(memory))
	l.NanoCPUs = whole(cpu, times(quantity(cpu), 1e9))
	if q := quantity(share); q != nil { // MilliCPUToShares, pkg/kubelet/cm/helpers_linux.go
		milli := whole(share, times(q, 1000))
		l.CPUShares = uint64(max(milli, 0)) * 1024 / 1000
		if l.CPUShares < 2 {
			l.CPUShares = 2
		}
	}
}

// writeKube writes a Pod of one container.
func writeKube(w *writing) ([]byte, error) {
	var meta, spec, c, podSec, sec tree.Object
	name := takeIf(&w.Name, label(w.Name))
	if name == "" {
		name = unnamed
	}
	meta.Put("name", name)
	labels := tree.Object{}
	for _, key := range slices.Sorted(maps.Keys(w.Labels)) {
		if kubeLabel(key, w.Labels[key]) {
			labels.Add(key, w.Labels[key])
			delete(w.Labels, key)
		}
	}
	meta.Say("labels", labels)
	spec.Put("restartPolicy", "Never")
	if w.StopWait != nil && *w.StopWait >= 0 && *w.StopWait%time.Second == 0 {
		spec.Put("terminationGracePeriodSeconds", int64(*take(&w.StopWait)/time.Second))
	}
	spec.Say("hostname", takeIf(&w.Hostname, label(w.Hostname)))
	c.Put("name", name)
	c.Put("image", take(&w.Image))
	if len(w.Entrypoint) > 0 {
		c.Put("command", kept(take(&w.Entrypoint)))
	}
	c.Say("args", kept(take(&w.Args)))
	c.Say("workingDir", take(&w.Dir))
	var env []any
	for i := range w.Env {
		if w.Env[i].Value != nil && w.Env[i].Name != "" {
			e := take(&w.Env[i])
			env = append(env, tree.Object{{Key: "name", Value: e.Name}, {Key: "value", Value: keep(*e.Value)}})
		}
	}
	c.Say("env", env)
	c.Say("tty", take(&w.TTY))
	c.Say("stdin", take(&w.Stdin))
	if n, err := workload.Signal(w.StopSignal); err == nil && kubeSignals[w.StopSignal] == n {
		spec.Put("os", tree.Object{{Key: "name", Value: "linux"}}) // without it the API server refuses the signal
		c.Put("lifecycle", tree.Object{{Key: "stopSignal", Value: take(&w.StopSignal)}})
	}
	kubeNamespaces(w, &spec)
	kubeSecurity(w, &podSec, &sec)
	volumes, mounts := kubeMounts(w)
	c.Say("volumeMounts", mounts)
	c.Say("resources", kubeResources(w))
	c.Say("securityContext", sec)
	spec.Say("securityContext", podSec)
	spec.Put("containers", []any{c})
	spec.Say("volumes", volumes)
	return tree.Object{{Key: "apiVersion", Value: "v1"}, {Key: "kind", Value: "Pod"}, {Key: "metadata", Value: meta}, {Key: "spec", Value: spec}}.YAML()
}

// kept writes texts so that the kubelet leaves them as they are.
func kept(texts []string) []string {
	out := slices.Clone(texts)
	for i := range out {
		out[i] = keep(out[i])
	}
	return out
}

// keep doubles a $ where one alone would begin something: before ( and $. (Others stay, for Podman, which fills nothing in.)
func keep(s string) string {
	var b strings.Builder
	for i := range len(s) {
		b.WriteByte(s[i])
		if s[i] == '$' && i+1 < len(s) && (s[i+1] == '(' || s[i+1] == '$') {
			b.WriteByte('$')
		}
	}
	return b.String()
}

// kubeSignals are the names that lifecycle.stopSignal takes.
var kubeSignals = func() map[string]int {
	m := map[string]int{}
	for name, n := range workload.Signals {
		m["SIG"+name] = n
	}
	for n := 34; n <= 64; n++ {
		switch {
		case n == 34:
			m["SIGRTMIN"] = n
		case n == 64:
			m["SIGRTMAX"] = n
		case n < 50:
			m["SIGRTMIN+"+strconv.Itoa(n-34)] = n
		default:
			m["SIGRTMAX-"+strconv.Itoa(64-n)] = n
		}
	}
	return m
}()

func kubeLabel(key, v string) bool {
	word := regexp.MustCompile(`^([A-Za-z0-9]([A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?)$`)
	prefix, name, ok := strings.Cut(key, "/")
	if !ok {
		prefix, name = "", key
	} else if !regexp.MustCompile(`^[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?$`).MatchString(prefix) {
		return false
	}
	return word.MatchString(name) && (v == "" || word.MatchString(v))
}

func kubeNamespaces(w *writing, spec *tree.Object) {
	ns := &w.NS
	spec.Say("hostPID", takeIf(&ns.PID, ns.PID == "host") == "host")
	switch takeIf(&ns.IPC, ns.IPC == "host" || ns.IPC == "private") {
	case "host":
		spec.Put("hostIPC", true)
	case "private":
		spec.Put("hostIPC", false)
	}
	if ns.Network == "host" && w.Hostname == "" {
		if take(&ns.Network); ns.UTS != "host" {
			w.lose("NS.UTS", "names of its own", "a pod in the host's network has the host's names")
		}
		ns.UTS = ""
		spec.Put("hostNetwork", true)
	}
	switch takeIf(&ns.User, ns.User == "host" || ns.User == "private") {
	case "host":
		spec.Put("hostUsers", true)
	case "private":
		spec.Put("hostUsers", false)
	}
}

func kubeSecurity(w *writing, pod, c *tree.Object) {
	s := &w.Security
	if uid, gid, ok := userIDs(w.User); ok {
		take(&w.User)
		c.Put("runAsUser", *uid)
		if gid != nil {
			c.Put("runAsGroup", *gid)
		}
	}
	if !slices.ContainsFunc(w.Groups, func(g string) bool { gid, _, ok := userIDs(g); return !ok || gid == nil || strings.Contains(g, ":") }) {
		var groups []any
		for _, g := range take(&w.Groups) {
			n, _, _ := userIDs(g)
			groups = append(groups, *n)
		}
		pod.Say("supplementalGroups", groups)
	}
	var ctl []any
	for _, k := range slices.Sorted(maps.Keys(w.Sysctls)) {
		ctl = append(ctl, tree.Object{{Key: "name", Value: k}, {Key: "value", Value: w.Sysctls[k]}})
	}
	take(&w.Sysctls)
	pod.Say("sysctls", ctl)
	c.Say("privileged", s.Privileged)
	var caps tree.Object
	add, drop := take(&s.CapAdd), take(&s.CapDrop)
	for i := range add {
		add[i] = capName(add[i], false)
	}
	for i := range drop {
		drop[i] = capName(drop[i], false)
	}
	// Docker keeps what is both added and dropped, and ALL added keeps all but what is dropped by name.
	drop = slices.DeleteFunc(drop, func(d string) bool {
		return slices.Contains(add, d) && (d == "ALL" || !slices.Contains(add, "ALL"))
	})
	add = slices.DeleteFunc(add, func(a string) bool { return a != "ALL" && slices.Contains(drop, a) })
	caps.Say("add", add)
	caps.Say("drop", drop)
	c.Say("capabilities", caps)
	c.Say("readOnlyRootFilesystem", take(&w.Root.ReadOnly))
	// The API server refuses the one with the others.
	if b := s.NoNewPrivs; b != nil && !(*b && (s.Privileged || slices.Contains(add, "SYS_ADMIN"))) {
		c.Put("allowPrivilegeEscalation", !*take(&s.NoNewPrivs))
	}
	take(&s.Privileged)
	if takeIf(&s.SystemPaths, s.SystemPaths == "unconfined") != "" {
		c.Put("procMount", "Unmasked")
	}
	size := len(s.SeccompDoc)
	switch name := w.seccompName(); name {
	case "", "builtin":
		c.Put("seccompProfile", tree.Object{{Key: "type", Value: "RuntimeDefault"}})
	case "unconfined":
		c.Put("seccompProfile", tree.Object{{Key: "type", Value: "Unconfined"}})
	default:
		local, ok := strings.CutPrefix(name, kubeletProfiles)
		if !ok {
			local = path.Base(name)
			w.loseFilter(name, size, "the kubelet looks for it beneath "+kubeletProfiles+": copy it there on each node")
		}
		c.Put("seccompProfile", tree.Object{{Key: "type", Value: "Localhost"}, {Key: "localhostProfile", Value: local}})
	}
	switch name := take(&s.AppArmor); name {
	case "":
	case "unconfined":
		c.Put("appArmorProfile", tree.Object{{Key: "type", Value: "Unconfined"}})
	default:
		c.Put("appArmorProfile", tree.Object{{Key: "type", Value: "Localhost"}, {Key: "localhostProfile", Value: name}})
	}
	se := tree.Object{}
	for _, l := range s.Labels {
		if k, v, ok := strings.Cut(l, ":"); ok && v != "" && slices.Contains([]string{"user", "role", "type", "level"}, k) && len(se) < 4 {
			se.Put(k, v)
		}
	}
	if len(se) == len(s.Labels) && slices.IsSortedFunc(s.Labels, func(a, b string) int { return strings.Index("urtl", a[:1]) - strings.Index("urtl", b[:1]) }) {
		take(&s.Labels)
		c.Say("seLinuxOptions", se)
	}
}

func kubeMounts(w *writing) (volumes, mounts []any) {
	for i := range w.Mounts {
		m := &w.Mounts[i]
		name := "v" + strconv.Itoa(i)
		v := tree.Object{{Key: "name", Value: name}}
		switch {
		case m.Type == workload.Bind:
			host := tree.Object{{Key: "path", Value: take(&m.Source)}}
			if take(&m.CreateSource) {
				host.Put("type", "DirectoryOrCreate")
			}
			v.Put("hostPath", host)
		case m.Type == workload.Tmpfs:
			dir := tree.Object{{Key: "medium", Value: "Memory"}}
			if n := take(&m.Size); n != 0 {
				dir.Put("sizeLimit", bytesOf(n))
			}
			v.Put("emptyDir", dir)
		case m.Source == "":
			v.Put("emptyDir", tree.Object{})
		default:
			if !regexp.MustCompile(`^[a-z0-9]([a-z0-9.-]*[a-z0-9])?$`).MatchString(m.Source) {
				w.loseMount(i, "a claim's name is of small letters, digits, - and .")
				continue
			}
			v.Put("persistentVolumeClaim", tree.Object{{Key: "claimName", Value: take(&m.Source)}})
		}
		if m.Type == workload.Volume && !take(&m.NoCopy) {
			w.lose(fmt.Sprintf("Mounts[%d].NoCopy", i), "filled from the image", "Kubernetes' volumes begin empty")
		}
		n := tree.Object{{Key: "name", Value: name}, {Key: "mountPath", Value: take(&m.Target)}}
		ro := take(&m.ReadOnly)
		n.Say("readOnly", ro)
		if ro && m.Type == workload.Bind {
			switch {
			case m.SubReadOnly == "":
				n.Put("recursiveReadOnly", "IfPossible")
			case m.SubReadOnly == "no":
				take(&m.SubReadOnly)
			case m.SubReadOnly == "yes" && m.Propagation == "rprivate":
				n.Put("recursiveReadOnly", "Enabled")
				take(&m.SubReadOnly)
				take(&m.Propagation)
			}
		}
		switch takeIf(&m.Propagation, m.Propagation == "rslave" || m.Propagation == "rshared") {
		case "rslave":
			n.Put("mountPropagation", "HostToContainer")
		case "rshared":
			n.Put("mountPropagation", "Bidirectional")
		}
		take(&m.Type)
		volumes, mounts = append(volumes, v), append(mounts, n)
	}
	return volumes, mounts
}

func kubeResources(w *writing) tree.Object {
	var limits, requests, out tree.Object
	l := &w.Limits
	if n := take(&l.NanoCPUs); n != 0 {
		limits.Put("cpu", decimal(n))
	}
	if n := take(&l.Memory); n != 0 {
		limits.Put("memory", bytesOf(n))
	}
	if n := l.CPUShares; n != 0 && n < 1<<32 {
		milli := (n*1000 + 1023) / 1024
		if milli*1024/1000 == n && n >= 2 {
			requests.Put("cpu", decimal(new(big.Int).Mul(big.NewInt(int64(milli)), big.NewInt(1e6)).Int64()))
			take(&l.CPUShares)
		}
	}
	out.Say("limits", limits)
	out.Say("requests", requests)
	return out
}

// What a workload says that has no word here, and why.
var kubeWordless = []Row{
	{Member: "As", Why: "which runtime runs it the cluster knows"},
	{Member: "Name", Why: "a name is of small letters, digits and -"},
	{Member: "Entrypoint", Why: "a pod can't take the image's entry point away without naming another"},
	{Member: "Env[]", Why: "a pod has no variables of whoever starts it"},
	{Member: "User", Why: "a pod takes numbers alone"},
	{Member: "Groups", Why: "a pod takes numbers alone"},
	{Member: "Hostname", Why: "a host name is of small letters, digits and -"},
	{Member: "Labels[]", Why: "labels are names of at most 63 letters, digits, -, _ and ."},
	{Member: "Init", Why: "a pod has none; shareProcessNamespace reaps"},
	{Member: "StopSignal", Why: "lifecycle.stopSignal takes names alone"},
	{Member: "StopWait", Why: "a grace period can't be without end"},
	{Member: "Security.Seccomp", Why: "the kubelet looks for a profile beneath /var/lib/kubelet/seccomp: copy it there on each node"},
	{Member: "Security.SeccompDoc", Why: "a pod names a file of the node's"},
	{Member: "Security.NoNewPrivs", Why: "the API server refuses it with privileged and with SYS_ADMIN"},
	{Member: "Security.MaskedPaths", Why: "procMount is all or nothing"},
	{Member: "Security.ReadonlyPaths", Why: "procMount is all or nothing"},
	{Member: "Security.WritableCgroups", Why: "the runtime decides (containerd: cgroup_writable)"},
	{Member: "Security.Labels", Why: "seLinuxOptions has user, role, type and level, each once"},
	{Member: "Mounts[]", Why: "a claim's name is of small letters, digits, - and ."},
	{Member: "Mounts[].NoCopy", Why: "Kubernetes' volumes begin empty"},
	{Member: "Mounts[].Propagation", Why: "there are None, HostToContainer (rslave) and Bidirectional (rshared)"},
	{Member: "Mounts[].NonRecursive", Why: "a pod's binds are recursive"},
	{Member: "Mounts[].Options", Why: "a pod can't say options of a mount"},
	{Member: "Mounts[].Relabel", Why: "the runtime labels volumes by itself"},
	{Member: "Mounts[].SubReadOnly", Why: "recursiveReadOnly: Enabled wants no propagation"},
	{Member: "Mounts[].Mode", Why: "an emptyDir has no mode"},
	{Member: "Devices[]", Why: "devices come from a device plugin, or with privileged"},
	{Member: "NS.IPC", Why: "a pod has its own or the host's"},
	{Member: "NS.UTS", Why: "a pod has the host's names where it has its network, and its own otherwise"},
	{Member: "NS.Cgroup", Why: "the runtime decides"},
	{Member: "NS.Network", Why: "a pod has a network: none can't be said, and with a host name not the host's"},
	{Member: "Limits.MemorySwap", Why: "swap is the node's business (memorySwap.swapBehavior)"},
	{Member: "Limits.CPUShares", Why: "requests.cpu counts in thousandths, which not every share is"},
	{Member: "Limits.CpusetCpus", Why: "the kubelet's CPU manager hands CPUs out"},
	{Member: "Limits.CpusetMems", Why: "the kubelet's memory manager hands nodes out"},
	{Member: "Limits.PidsLimit", Why: "the kubelet has one for every pod (podPidsLimit)"},
	{Member: "Limits.Ulimits", Why: "the runtime's own hold"},
	{Member: "Limits.OOMScoreAdj", Why: "it follows from the pod's class of service"},
	{Member: "Limits.ShmSize", Why: "mount an emptyDir of medium Memory at /dev/shm"},
}

// What of a text is kept, in docker's words.
var kubeKept = []Row{
	{Member: "apiVersion", To: "its form is v1's"},
	{Member: "kind", To: "which member holds the pod"},
	{Member: "metadata.name", To: "--name"},
	{Member: "metadata.labels.*", To: "--label"},
	{Member: "metadata.annotations.container", To: "of the container's AppArmor profile, as before 1.30: --security-opt apparmor="},
	{Member: "spec.containers[].name", To: "--container chooses by it"},
	{Member: "spec.containers[].image", To: "the image"},
	{Member: "spec.containers[].command[]", To: "--entrypoint, all of its words"},
	{Member: "spec.containers[].args[]", To: "the command"},
	{Member: "spec.containers[].workingDir", To: "--workdir"},
	{Member: "spec.containers[].env[].name", To: "--env"},
	{Member: "spec.containers[].env[].value", To: "--env; $(NAME) is filled in"},
	{Member: "spec.containers[].tty", To: "--tty"},
	{Member: "spec.containers[].stdin", To: "--interactive"},
	{Member: "spec.containers[].lifecycle.stopSignal", To: "--stop-signal"},
	{Member: "spec.os.name", To: "goes with stopSignal"},
	{Member: "spec.restartPolicy", To: "Never, which is what porthole does"},
	{Member: "spec.terminationGracePeriodSeconds", To: "--stop-timeout"},
	{Member: "spec.hostname", To: "--hostname"},
	{Member: "spec.hostPID", To: "--pid host"},
	{Member: "spec.hostIPC", To: "--ipc host or private"},
	{Member: "spec.hostNetwork", To: "--network host --uts host"},
	{Member: "spec.hostUsers", To: "--userns host; false: one of its own"},
	{Member: "spec.shareProcessNamespace", To: "false"},
	{Member: "spec.securityContext.runAsUser", To: "--user"},
	{Member: "spec.securityContext.runAsGroup", To: "--user"},
	{Member: "spec.securityContext.runAsNonRoot", To: "refused where the user is root"},
	{Member: "spec.securityContext.supplementalGroups[]", To: "--group-add"},
	{Member: "spec.securityContext.sysctls[].name", To: "--sysctl"},
	{Member: "spec.securityContext.sysctls[].value", To: "--sysctl"},
	{Member: "spec.securityContext.seccompProfile.type", To: "--security-opt seccomp="},
	{Member: "spec.securityContext.seccompProfile.localhostProfile", To: "--security-opt seccomp=FILE"},
	{Member: "spec.securityContext.appArmorProfile.type", To: "--security-opt apparmor="},
	{Member: "spec.securityContext.appArmorProfile.localhostProfile", To: "--security-opt apparmor="},
	{Member: "spec.securityContext.seLinuxOptions.user", To: "--security-opt label="},
	{Member: "spec.securityContext.seLinuxOptions.role", To: "--security-opt label="},
	{Member: "spec.securityContext.seLinuxOptions.type", To: "--security-opt label="},
	{Member: "spec.securityContext.seLinuxOptions.level", To: "--security-opt label="},
	{Member: "spec.containers[].securityContext.runAsUser", To: "--user"},
	{Member: "spec.containers[].securityContext.runAsGroup", To: "--user"},
	{Member: "spec.containers[].securityContext.runAsNonRoot", To: "refused where the user is root"},
	{Member: "spec.containers[].securityContext.privileged", To: "--privileged"},
	{Member: "spec.containers[].securityContext.capabilities.add[]", To: "--cap-add; what is dropped too is dropped"},
	{Member: "spec.containers[].securityContext.capabilities.drop[]", To: "--cap-drop"},
	{Member: "spec.containers[].securityContext.readOnlyRootFilesystem", To: "--read-only"},
	{Member: "spec.containers[].securityContext.allowPrivilegeEscalation", To: "false: --security-opt no-new-privileges"},
	{Member: "spec.containers[].securityContext.procMount", To: "Unmasked: --security-opt systempaths=unconfined"},
	{Member: "spec.containers[].securityContext.seccompProfile.type", To: "--security-opt seccomp="},
	{Member: "spec.containers[].securityContext.seccompProfile.localhostProfile", To: "--security-opt seccomp=FILE"},
	{Member: "spec.containers[].securityContext.appArmorProfile.type", To: "--security-opt apparmor="},
	{Member: "spec.containers[].securityContext.appArmorProfile.localhostProfile", To: "--security-opt apparmor="},
	{Member: "spec.containers[].securityContext.seLinuxOptions.user", To: "--security-opt label="},
	{Member: "spec.containers[].securityContext.seLinuxOptions.role", To: "--security-opt label="},
	{Member: "spec.containers[].securityContext.seLinuxOptions.type", To: "--security-opt label="},
	{Member: "spec.containers[].securityContext.seLinuxOptions.level", To: "--security-opt label="},
	{Member: "spec.volumes[].name", To: "which volume a mount means"},
	{Member: "spec.volumes[].hostPath.path", To: "a bind's source"},
	{Member: "spec.volumes[].hostPath.type", To: "DirectoryOrCreate: made where it is missing, as with -v"},
	{Member: "spec.volumes[].emptyDir", To: "a volume without a name, filled with nothing"},
	{Member: "spec.volumes[].emptyDir.medium", To: "Memory: a tmpfs"},
	{Member: "spec.volumes[].emptyDir.sizeLimit", To: "a tmpfs's size"},
	{Member: "spec.volumes[].persistentVolumeClaim.claimName", To: "a volume's name"},
	{Member: "spec.volumes[].persistentVolumeClaim.readOnly", To: "readonly"},
	{Member: "spec.containers[].volumeMounts[].name", To: "which volume"},
	{Member: "spec.containers[].volumeMounts[].mountPath", To: "a mount's target"},
	{Member: "spec.containers[].volumeMounts[].readOnly", To: "readonly"},
	{Member: "spec.containers[].volumeMounts[].subPath", To: "beneath a bind's source"},
	{Member: "spec.containers[].volumeMounts[].mountPropagation", To: "bind-propagation"},
	{Member: "spec.containers[].volumeMounts[].recursiveReadOnly", To: "bind-recursive"},
	{Member: "spec.containers[].resources.limits.memory", To: "--memory"},
	{Member: "spec.containers[].resources.limits.cpu", To: "--cpus"},
	{Member: "spec.containers[].resources.requests.cpu", To: "--cpu-shares"},
}

// What of a text is not kept, and why. Without a reason it says nothing of the container, and is passed over.
var kubeLost = []Row{
	{Member: "status"},
	{Member: "metadata.namespace"},
	{Member: "metadata.uid"},
	{Member: "metadata.resourceVersion"},
	{Member: "metadata.creationTimestamp"},
	{Member: "metadata.generation"},
	{Member: "metadata.managedFields"},
	{Member: "metadata.selfLink"},
	{Member: "metadata.ownerReferences"},
	{Member: "metadata.generateName"},
	{Member: "spec.nodeName"},
	{Member: "spec.os"},
	{Member: "metadata.labels", Why: "the pod's own are kept, not its controller's"},
	{Member: "metadata.annotations", Why: "porthole has no annotations"},
	{Member: "metadata.finalizers", Why: "porthole has no annotations"},
	{Member: "spec.initContainers[]", Why: "a workload is one container; --container takes another"},
	{Member: "spec.ephemeralContainers[]", Why: "a workload is one container; --container takes another"},
	{Member: "spec.containers[]", Why: "a workload is one container; --container takes another"},
	{Member: "spec.nodeSelector", Why: "where and when a pod runs the cluster decides"},
	{Member: "spec.affinity", Why: "where and when a pod runs the cluster decides"},
	{Member: "spec.tolerations", Why: "where and when a pod runs the cluster decides"},
	{Member: "spec.topologySpreadConstraints", Why: "where and when a pod runs the cluster decides"},
	{Member: "spec.schedulerName", Why: "where and when a pod runs the cluster decides"},
	{Member: "spec.schedulingGates", Why: "where and when a pod runs the cluster decides"},
	{Member: "spec.priority", Why: "where and when a pod runs the cluster decides"},
	{Member: "spec.priorityClassName", Why: "where and when a pod runs the cluster decides"},
	{Member: "spec.preemptionPolicy", Why: "where and when a pod runs the cluster decides"},
	{Member: "spec.runtimeClassName", Why: "where and when a pod runs the cluster decides"},
	{Member: "spec.overhead", Why: "where and when a pod runs the cluster decides"},
	{Member: "spec.readinessGates", Why: "where and when a pod runs the cluster decides"},
	{Member: "spec.resourceClaims", Why: "where and when a pod runs the cluster decides"},
	{Member: "spec.activeDeadlineSeconds", Why: "where and when a pod runs the cluster decides"},
	{Member: "spec.resources", Why: "where and when a pod runs the cluster decides"},
	{Member: "spec.restartPolicy", Why: "porthole has no daemon that would start it again"},
	{Member: "spec.containers[].restartPolicy", Why: "porthole has no daemon that would start it again"},
	{Member: "spec.containers[].restartPolicyRules", Why: "porthole has no daemon that would start it again"},
	{Member: "spec.serviceAccountName", Why: "a container has no cluster to speak to"},
	{Member: "spec.serviceAccount", Why: "a container has no cluster to speak to"},
	{Member: "spec.automountServiceAccountToken", Why: "a container has no cluster to speak to"},
	{Member: "spec.enableServiceLinks", Why: "a container has no cluster to speak to"},
	{Member: "spec.imagePullSecrets", Why: "`porthole pull` takes the caller's own credentials"},
	{Member: "spec.containers[].imagePullPolicy", Why: "an image is pulled when it is missing"},
	{Member: "spec.containers[].ports", Why: "bridges and ports are not there yet"},
	{Member: "spec.dnsPolicy", Why: "bridges and ports are not there yet"},
	{Member: "spec.dnsConfig", Why: "bridges and ports are not there yet"},
	{Member: "spec.hostAliases", Why: "bridges and ports are not there yet"},
	{Member: "spec.subdomain", Why: "bridges and ports are not there yet"},
	{Member: "spec.setHostnameAsFQDN", Why: "bridges and ports are not there yet"},
	{Member: "spec.hostnameOverride", Why: "bridges and ports are not there yet"},
	{Member: "spec.containers[].livenessProbe", Why: "porthole runs no health checks"},
	{Member: "spec.containers[].readinessProbe", Why: "porthole runs no health checks"},
	{Member: "spec.containers[].startupProbe", Why: "porthole runs no health checks"},
	{Member: "spec.containers[].lifecycle.postStart", Why: "porthole runs nothing beside the container"},
	{Member: "spec.containers[].lifecycle.preStop", Why: "porthole runs nothing beside the container"},
	{Member: "spec.shareProcessNamespace", Why: "containers cannot share a namespace yet"},
	{Member: "spec.containers[].targetContainerName", Why: "containers cannot share a namespace yet"},
	{Member: "spec.containers[].env[].valueFrom", Why: "what the value is only a cluster knows"},
	{Member: "spec.containers[].envFrom", Why: "what the value is only a cluster knows"},
	{Member: "spec.containers[].terminationMessagePath", Why: "where it writes its last words is the kubelet's affair"},
	{Member: "spec.containers[].terminationMessagePolicy", Why: "where it writes its last words is the kubelet's affair"},
	{Member: "spec.containers[].stdinOnce", Why: "input is open or not, as often as it is read"},
	{Member: "spec.containers[].resources.requests", Why: "what it asks for is for the scheduler alone"},
	{Member: "spec.containers[].resources.claims", Why: "what it asks for is for the scheduler alone"},
	{Member: "spec.containers[].resizePolicy", Why: "what it asks for is for the scheduler alone"},
	{Member: "spec.containers[].resources.limits", Why: "porthole limits memory and CPUs"},
	{Member: "spec.containers[].volumeDevices", Why: "devices come by --device"},
	{Member: "spec.volumes[]", Why: "what the volume holds only a cluster knows"},
	{Member: "spec.containers[].volumeMounts[]", Why: "what the volume holds only a cluster knows"},
	{Member: "spec.containers[].volumeMounts[].subPathExpr", Why: "a path that a variable names is not filled in, and the whole volume would be more than was asked for"},
	{Member: "spec.securityContext.supplementalGroupsPolicy", Why: "which groups an image adds is not asked"},
	{Member: "spec.securityContext.fsGroupChangePolicy", Why: "volumes are given to nobody"},
	{Member: "spec.securityContext.seLinuxChangePolicy", Why: "volumes are given to nobody"},
	{Member: "spec.securityContext.fsGroup", Why: "volumes are given to nobody"},
	{Member: "spec.securityContext.windowsOptions", Why: "it is for Windows"},
	{Member: "spec.containers[].securityContext.windowsOptions", Why: "it is for Windows"},
	{Member: "controller", Why: "what a controller does with its pods is its own affair"},
}
