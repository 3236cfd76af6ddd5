package document

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math/big"
	"path"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"

	specs "github.com/opencontainers/runtime-spec/specs-go"

	"porthole/abi"
	"porthole/caps"
	"porthole/facts"
	"porthole/seccomp/profile"
	"porthole/spec"
	"porthole/tree"
	"porthole/workload"
)

func oci() *Dialect {
	return &Dialect{
		Name: "oci", Also: []string{"config.json", "bundle"}, Title: "OCI config.json", File: "config.json",
		Source: "the OCI runtime specification 1.3, as Docker 29.7.2 fills it in",
		About: `A bundle's config.json. Everything in it is decided, so what is written is what Docker's newest release would have generated for the
workload (package spec), and what is read is set against that: only where it differs does the workload say something. Its
filter is the workload's seccomp document, unless it is Docker's own.`,
		Kept: ociKept, Lost: ociLost, Wordless: ociWordless,
		guess: func(_ string, n *tree.Node) bool { return n.Has("ociVersion") },
		read:  readOCI, write: writeOCI,
	}
}

// machine is one where Docker runs as root and everything can be given: a config.json is for some machine.
func machine(w workload.Workload) facts.Facts {
	all := []facts.IDRange{{Size: 1<<32 - 1}}
	return facts.Facts{
		Kernel: facts.Version{Major: 6, Minor: 18}, Arch: abi.X86_64, Yama: -1, AppArmor: w.Security.AppArmor != "",
		Caps:     caps.State{Bounding: caps.All, Permitted: caps.All, Effective: caps.All},
		UserNS:   facts.UserNS{Initial: true, UIDs: all, GIDs: all},
		Cgroup:   facts.Cgroup{Mode: facts.CgroupV2, Writable: true, SwapLimit: true},
		Features: facts.Features{Seccomp: true, CgroupNS: true, UserNSCreate: true, MountSetattr: true},
	}
}

const bundleRoot = "rootfs"

// usual is what Docker generates where nothing is asked for.
func usual() *specs.Spec {
	w := workload.Workload{Args: []string{"true"}}
	s, _, err := spec.Make(w, spec.Image{}, spec.Options{CgroupsPath: "/"}, machine(w))
	if err != nil {
		return &specs.Spec{Process: &specs.Process{}, Linux: &specs.Linux{Resources: &specs.LinuxResources{}}}
	}
	return s
}

type ociReading struct {
	*reading
	root  *tree.Node
	usual *specs.Spec
	text  string
	priv  bool
}

func readOCI(r *reading, text string) error {
	docs, err := tree.Parse([]byte(text))
	if err != nil {
		return err
	}
	o := &ociReading{r, docs[0], usual(), text, false}
	o.root.Get("ociVersion").Pass()
	o.process()
	o.security()
	o.namespaces()
	o.mounts()
	o.resources()
	r.unread(o.root)
	return o.root.Err()
}

func (o *ociReading) process() {
	w, p, root := &o.w, o.root.Get("process"), o.root.Get("root")
	w.Image = "dir:" + o.o.abs(root.Get("path").Text())
	if p := root.Get("path").Text(); p == "" || p == bundleRoot {
		w.Image = "dir:" + o.o.abs(bundleRoot)
	}
	w.Root.ReadOnly = root.Get("readonly").True()
	w.Entrypoint, w.Args = []string{}, p.Get("args").Texts()
	if len(w.Args) == 0 {
		p.Fail("args are wanted")
	}
	w.TTY = p.Get("terminal").True()
	w.Hostname = o.root.Get("hostname").Text()
	if dir := p.Get("cwd").Text(); dir != "/" {
		w.Dir = dir
	}
	for i, e := range p.Get("env").List() {
		name, v, ok := strings.Cut(e.Text(), "=")
		if !ok || name == "" {
			o.drop(e, "it is no NAME=value")
			continue
		}
		// What every container of Docker's has.
		if same := slices.Contains(o.usual.Process.Env, e.Text()); same && i < 2 || name == "HOSTNAME" && v == w.Hostname || e.Text() == "TERM=xterm" && w.TTY || name == "HOME" && (v == "/" || v == "/root") {
			continue
		}
		w.Env = append(w.Env, workload.EnvVar{Name: name, Value: &v})
	}
	uid, gid := p.At("user", "uid").Int(), p.At("user", "gid").Int()
	if uid != nil && gid != nil && (*uid != 0 || *gid != 0) {
		w.User = fmt.Sprintf("%d:%d", *uid, *gid)
	}
	for _, g := range p.At("user", "additionalGids").List() {
		if n := g.Int(); n != nil && (gid == nil || *n != *gid) {
			w.Groups = append(w.Groups, g.Text())
		}
	}
	if n := p.Get("oomScoreAdj").Int(); n != nil && *n != 0 {
		w.Limits.OOMScoreAdj = ptr(int(*n))
	}
	for _, l := range p.Get("rlimits").List() {
		name := strings.ToLower(strings.TrimPrefix(l.Get("type").Text(), "RLIMIT_"))
		w.Limits.Ulimits = append(w.Limits.Ulimits, workload.Ulimit{Name: name, Soft: rlimit(l.Get("soft")), Hard: rlimit(l.Get("hard"))})
	}
	for k, v := range o.root.Get("annotations").Members() {
		if k == stopSignal {
			w.StopSignal = v.Text()
			continue
		}
		put(&w.Labels, k, v.Text())
	}
}

// stopSignal is the annotation in which an image's signal stands (image-spec, conversion.md).
const stopSignal = "org.opencontainers.image.stopSignal"

// rlimit is a number of 64 bits, the largest of which is unlimited.
func rlimit(n *tree.Node) int64 {
	r := n.Rat()
	if r == nil || !r.IsInt() || !r.Num().IsUint64() {
		n.Fail("want a number of 64 bits")
		return 0
	}
	return int64(r.Num().Uint64())
}

func (o *ociReading) security() {
	s, p, linux := &o.w.Security, o.root.Get("process"), o.root.Get("linux")
	set := func(name string) (set caps.Set) {
		for _, n := range p.At("capabilities", name).List() {
			c, err := caps.Parse(n.Text())
			if err != nil {
				n.Fail("%v", err)
			}
			set = set.Add(c)
		}
		return set
	}
	bound := set("bounding")
	rules := linux.At("resources", "devices").List()
	// All that an engine knew, and its machine had to give, which may be a few less than there are.
	o.priv = bound.Has(caps.CAP_SYS_ADMIN) && bound.Len() > 30 && !linux.Has("maskedPaths") && slices.ContainsFunc(rules, everything)
	if s.Privileged = o.priv; !o.priv {
		s.CapAdd, s.CapDrop = relative(bound)
	}
	for _, name := range []string{"effective", "permitted"} {
		if have := set(name); have != bound && (have != 0 || o.w.User == "") {
			o.drop(p.At("capabilities", name), "a process starts with its bounding set, or with nothing")
		}
	}
	for _, name := range []string{"inheritable", "ambient"} {
		if have := set(name); have != 0 && have != bound {
			o.drop(p.At("capabilities", name), "the workload's bounding set is all that is kept")
		}
	}
	if p.Get("noNewPrivileges").True() {
		s.NoNewPrivs = ptr(true)
	}
	s.AppArmor = p.Get("apparmorProfile").Text()
	if s.AppArmor == "docker-default" {
		s.AppArmor = ""
	}
	thermal := regexp.MustCompile(`^/sys/devices/system/cpu/cpu[0-9]+/thermal_throttle$`)
	masked := slices.DeleteFunc(linux.Get("maskedPaths").Texts(), thermal.MatchString)
	readonly := linux.Get("readonlyPaths").Texts()
	switch {
	case o.priv:
	case masked == nil && readonly == nil:
		s.SystemPaths = "unconfined"
	default:
		if !same(masked, o.usual.Linux.MaskedPaths) {
			s.MaskedPaths = append([]string{}, masked...)
		}
		if !same(readonly, o.usual.Linux.ReadonlyPaths) {
			s.ReadonlyPaths = append([]string{}, readonly...)
		}
	}
	n := linux.Get("seccomp")
	switch {
	case !n.Set() && !o.priv:
		s.Seccomp = "unconfined"
	case n.Set():
		n.Pass()
		doc := o.seccomp()
		if !o.isDefault(doc, bound) {
			s.Seccomp, s.SeccompDoc = "config.json", doc
		}
	}
}

// everything says whether a rule lets every device be used.
func everything(rule *tree.Node) bool {
	return rule.Get("allow").True() && rule.Get("access").Text() == "rwm" && !rule.Has("major") && !rule.Has("minor") && (!rule.Has("type") || rule.Get("type").Text() == "a")
}

func same(a, b []string) bool {
	a, b = slices.Clone(a), slices.Clone(b)
	slices.Sort(a)
	slices.Sort(b)
	return slices.Equal(a, b)
}

// seccomp is the document's filter, as it stands.
func (o *ociReading) seccomp() []byte {
	var doc, linux map[string]json.RawMessage // a struct would take LINUX for linux
	err := json.Unmarshal([]byte(o.text), &doc)
	if err == nil {
		err = json.Unmarshal(doc["linux"], &linux)
	}
	if err != nil {
		o.root.At("linux", "seccomp").Fail("%v", err)
	}
	return linux["seccomp"]
}

// isDefault says whether a filter is what Docker's newest profile comes to, on either architecture.
func (o *ociReading) isDefault(doc []byte, bound caps.Set) bool {
	var have specs.LinuxSeccomp
	if json.Unmarshal(doc, &have) != nil {
		return false
	}
	sortNames(&have)
	p, err := profile.Builtin("docker")
	if err != nil {
		return false
	}
	for _, arch := range []abi.Arch{abi.X86_64, abi.ARM64} {
		own := p.OCI(profile.Conditions{Caps: bound, Arch: arch, Kernel: facts.Version{Major: 6, Minor: 18}})
		if sortNames(own); reflect.DeepEqual(plainJSON(own), plainJSON(have)) {
			return true
		}
	}
	return false
}

// sortNames puts each entry's calls in order, which has no meaning.
func sortNames(s *specs.LinuxSeccomp) {
	for i := range s.Syscalls {
		s.Syscalls[i].Names = slices.Sorted(slices.Values(s.Syscalls[i].Names))
	}
}

func plainJSON(v any) (out any) {
	data, err := json.Marshal(v)
	if err == nil {
		err = json.Unmarshal(data, &out)
	}
	if err != nil {
		return nil
	}
	return out
}

func (o *ociReading) namespaces() {
	ns := &o.w.NS
	own := map[string]bool{}
	for _, n := range o.root.At("linux", "namespaces").List() {
		own[n.Get("type").Text()] = true
		o.drop(n.Get("path"), "a namespace that is there already can't be joined")
	}
	for _, n := range []struct {
		kind string
		at   *string
	}{{"pid", &ns.PID}, {"ipc", &ns.IPC}, {"uts", &ns.UTS}, {"cgroup", &ns.Cgroup}, {"network", &ns.Network}} {
		if !own[n.kind] {
			*n.at = "host"
		}
	}
	if own["cgroup"] { // which is Docker's default on cgroup v2 alone
		ns.Cgroup = "private"
	}
	if own["user"] {
		ns.User = "private"
		for _, key := range []string{"uidMappings", "gidMappings"} {
			for _, m := range o.root.At("linux", key).List() {
				a, b := m.Get("containerID").Int(), m.Get("hostID").Int()
				m.Get("size").Pass()
				if a != nil && b != nil && *a != *b {
					o.drop(m, "ids are mapped one to one")
				}
			}
		}
	}
	for k, v := range o.root.At("linux", "sysctl").Members() {
		if k == "net.ipv4.ip_unprivileged_port_start" && v.Text() == "0" || k == "net.ipv4.ping_group_range" && v.Text() == "0 2147483647" {
			continue // Docker's own since 20.10
		}
		put(&o.w.Sysctls, k, v.Text())
	}
	o.root.At("linux", "rootfsPropagation").Pass() // as the mounts' propagation wants it
}

// systems are what every container has mounted.
var systems = map[string]string{
	"/proc": "proc", "/dev": "tmpfs", "/dev/pts": "devpts", "/sys": "sysfs", "/sys/fs/cgroup": "cgroup", "/dev/mqueue": "mqueue", "/dev/shm": "tmpfs",
}

func (o *ociReading) mounts() {
	shm := false
	for _, n := range o.root.Get("mounts").List() {
		target, kind := path.Clean(n.Get("destination").Text()), n.Get("type").Text()
		options := n.Get("options").Texts()
		source := n.Get("source").Text()
		bound := kind == "bind" || slices.Contains(options, "bind") || slices.Contains(options, "rbind")
		// Where a namespace is shared, the machine's own is bound there.
		if systems[target] == kind || bound && source == target && systems[target] != "" && target != "/dev/shm" || target == "/sys/fs/cgroup" && kind == "cgroup2" {
			n.Pass()
			if target == "/dev/shm" {
				shm = true
				for _, opt := range options {
					if v, ok := strings.CutPrefix(opt, "size="); ok && v != "67108864" && v != "65536k" {
						o.w.Limits.ShmSize, _ = strconv.ParseInt(v, 10, 64)
					}
				}
			}
			if target == "/sys/fs/cgroup" && !o.priv && !slices.Contains(options, "ro") {
				o.w.Security.WritableCgroups = ptr(true)
			}
			continue
		}
		if bound && target == "/dev/shm" && source == "/dev/shm" && o.w.NS.IPC == "host" {
			continue
		}
		m := workload.Mount{Target: target, Refer: n.Path}
		switch {
		case bound && slices.Contains([]string{"/etc/resolv.conf", "/etc/hostname", "/etc/hosts"}, target):
			o.drop(n, "every engine brings a file of its own")
			continue
		case bound:
			m.Type, m.Source, m.NonRecursive = workload.Bind, o.o.abs(source), !slices.Contains(options, "rbind")
		case kind == "tmpfs":
			m.Type = workload.Tmpfs
			options = slices.DeleteFunc(options, func(s string) bool { return slices.Contains([]string{"noexec", "nosuid", "nodev", "rprivate"}, s) })
		default:
			o.drop(n, "porthole mounts bind, volume and tmpfs")
			continue
		}
		o.options(&m, options)
		o.w.Mounts = append(o.w.Mounts, m)
	}
	if o.w.NS.IPC == "" && !shm && o.root.Get("mounts").Len() > 0 {
		o.w.NS.IPC = "none"
	}
}

func (o *ociReading) options(m *workload.Mount, options []string) {
	for _, opt := range options {
		k, v, data := strings.Cut(opt, "=")
		size, sizeErr := strconv.ParseInt(v, 10, 64)
		mode, modeErr := strconv.ParseUint(v, 8, 12)
		switch {
		case opt == "bind" || opt == "rbind" || opt == "rw":
		case opt == "ro" && m.Type == workload.Bind && !m.NonRecursive:
			m.ReadOnly, m.SubReadOnly = true, "no"
		case opt == "ro" || opt == "rro":
			m.ReadOnly = true
		case opt == "rprivate":
		case slices.Contains([]string{"private", "shared", "rshared", "slave", "rslave"}, opt):
			m.Propagation = opt
		case m.Type == workload.Tmpfs && data && k == "size" && sizeErr == nil && size > 0:
			m.Size = size
		case m.Type == workload.Tmpfs && data && k == "mode" && modeErr == nil:
			m.Mode = ptr(uint32(mode))
		default:
			m.Options = append(m.Options, opt)
		}
	}
}

func (o *ociReading) resources() {
	l, res, linux := &o.w.Limits, o.root.At("linux", "resources"), o.root.Get("linux")
	number := func(keys ...string) int64 {
		if n := res.At(keys...).Int(); n != nil {
			return *n
		}
		return 0
	}
	l.Memory = number("memory", "limit")
	if swap := number("memory", "swap"); swap != 2*l.Memory {
		l.MemorySwap = swap
	}
	l.CPUShares = uint64(max(number("cpu", "shares"), 0))
	l.CpusetCpus, l.CpusetMems = res.At("cpu", "cpus").Text(), res.At("cpu", "mems").Text()
	if quota, period := number("cpu", "quota"), number("cpu", "period"); quota > 0 && period > 0 {
		n := new(big.Int).Quo(new(big.Int).Mul(big.NewInt(quota), big.NewInt(1e9)), big.NewInt(period))
		if !n.IsInt64() {
			res.At("cpu", "quota").Fail("it is more processors than can be counted")
		}
		l.NanoCPUs = n.Int64()
	}
	if n := res.At("pids", "limit").Int(); n != nil {
		l.PidsLimit = n
	}
	linux.Get("cgroupsPath").Pass() // each engine's own
	o.devices(res.Get("devices").List(), linux.Get("devices").List())
}

func (o *ociReading) devices(rules, nodes []*tree.Node) {
	said := func(n *tree.Node) string {
		number := func(key string) string {
			if v := n.Get(key).Int(); v != nil && *v >= 0 {
				return strconv.FormatInt(*v, 10)
			}
			return "*"
		}
		kind := n.Get("type").Text()
		if kind == "" {
			kind = "a"
		}
		return kind + " " + number("major") + ":" + number("minor") + " " + n.Get("access").Text()
	}
	known := map[string]bool{}
	for _, r := range o.usual.Linux.Resources.Devices {
		k := "a"
		if r.Type != "" {
			k = r.Type
		}
		one := func(n *int64) string {
			if n == nil {
				return "*"
			}
			return strconv.FormatInt(*n, 10)
		}
		known[fmt.Sprint(r.Allow, k, " ", one(r.Major), ":", one(r.Minor), " ", r.Access)] = true
	}
	number := func(rule string) string { return rule[:strings.LastIndexByte(rule, ' ')] } // "c 1:3" of "c 1:3 rwm"
	isNode := map[string]bool{}
	for _, n := range nodes {
		isNode[number(said(n))] = true
	}
	access := map[string]string{}
	for _, r := range rules {
		if a := r.Get("access"); strings.Trim(a.Text(), "rwm") != "" {
			a.Fail("want r, w and m, not %s", a.Short())
			continue
		}
		allow, rule := r.Get("allow").True(), said(r)
		head := number(rule)
		switch {
		case known[fmt.Sprint(allow, rule)], o.priv && everything(r):
		case !allow:
			o.drop(r, "what is not allowed is refused anyway")
		case isNode[head]:
			access[head] = r.Get("access").Text()
		default:
			o.w.Devices = append(o.w.Devices, workload.Device{Rule: rule})
		}
	}
	for _, n := range nodes {
		p := path.Clean(n.Get("path").Text())
		for _, key := range []string{"fileMode", "uid", "gid"} {
			n.Get(key).Pass()
		}
		a := access[number(said(n))]
		if a == "" && o.priv {
			continue
		}
		if a == "" {
			o.drop(n, "no rule allows its use")
			continue
		}
		o.w.Devices = append(o.w.Devices, workload.Device{Source: p, Target: p, Access: a})
	}
}

// writeOCI writes what Docker's newest release would hand its runtime.
func writeOCI(w *writing) ([]byte, error) {
	say := workload.Workload{}
	s, from := &say.Security, &w.Security
	rootPath := bundleRoot
	if p, ok := strings.CutPrefix(w.Image, "dir:"); ok {
		rootPath = p
	} else {
		w.lose("Image", w.Image, "a bundle has its files in "+bundleRoot+": unpack the image there")
	}
	w.Image = ""
	words := append(slices.Clone(w.Entrypoint), w.Args...)
	if len(words) == 0 {
		return nil, errors.New("a bundle needs a command: the image's own is not known here")
	}
	if len(w.Entrypoint) > 0 {
		w.lose("Entrypoint", strings.Join(w.Entrypoint, " "), "it begins the command")
		w.lose("Args", strings.Join(w.Entrypoint, " "), "they begin with the entry point")
	} else if w.Entrypoint == nil {
		w.lose("Entrypoint", "the image's", "a bundle names its whole command")
	}
	w.Entrypoint, w.Args = nil, nil
	say.Entrypoint, say.Args = []string{}, words
	if uid, gid, ok := userIDs(w.User); ok {
		say.User = take(&w.User)
		if gid == nil && *uid != 0 {
			w.lose("User", "the group of "+say.User, "it is not known here, so it is 0")
		}
		if *uid == 0 && (gid == nil || *gid == 0) {
			w.lose("User", say.User, "root is who it is where nobody is named")
		}
	}
	_, primary, _ := userIDs(say.User)
	if primary == nil {
		primary = ptr(int64(0))
	}
	if !slices.ContainsFunc(w.Groups, func(g string) bool {
		n, _, ok := userIDs(g)
		return !ok || strings.Contains(g, ":") || *n == *primary
	}) && len(slices.Compact(slices.Sorted(slices.Values(w.Groups)))) == len(w.Groups) {
		say.Groups = take(&w.Groups)
	}
	say.Dir, say.Hostname, say.TTY, say.Root.ReadOnly = take(&w.Dir), take(&w.Hostname), take(&w.TTY), take(&w.Root.ReadOnly)
	env := map[string]bool{}
	for i := range w.Env {
		if e := &w.Env[i]; e.Name != "" && e.Value != nil && !env[e.Name] && !strings.Contains(e.Name, "=") {
			env[e.Name] = true
			say.Env = append(say.Env, take(e))
		}
	}
	s.CapAdd, s.CapDrop, s.Privileged = take(&from.CapAdd), take(&from.CapDrop), take(&from.Privileged)
	if s.Privileged && w.NS.User == "private" {
		for _, p := range []string{"Security.Privileged", "Security.SystemPaths", "Security.MaskedPaths", "Security.ReadonlyPaths", "Security.Seccomp", "Security.SeccompDoc", "Security.WritableCgroups"} {
			w.lose(p, "", "in a user namespace it comes to every capability and nothing masked")
		}
		from.SystemPaths, from.MaskedPaths, from.ReadonlyPaths, from.WritableCgroups = "", nil, nil, nil
	}
	if s.Privileged {
		w.lose("Security.CapAdd", "", "privileged has every capability")
		w.lose("Security.CapDrop", "", "privileged has every capability, whatever is dropped")
		if from.SystemPaths == "unconfined" || from.MaskedPaths != nil || from.ReadonlyPaths != nil {
			for _, p := range []string{"Security.SystemPaths", "Security.MaskedPaths", "Security.ReadonlyPaths"} {
				w.lose(p, "", "privileged has nothing masked")
			}
			from.SystemPaths, from.MaskedPaths, from.ReadonlyPaths = "", nil, nil
		}
	}
	s.NoNewPrivs, s.AppArmor = take(&from.NoNewPrivs), take(&from.AppArmor)
	s.SystemPaths = takeIf(&from.SystemPaths, from.SystemPaths == "unconfined")
	if s.SystemPaths == "" {
		if from.MaskedPaths != nil && from.ReadonlyPaths != nil && len(from.MaskedPaths)+len(from.ReadonlyPaths) == 0 {
			for _, p := range []string{"Security.SystemPaths", "Security.MaskedPaths", "Security.ReadonlyPaths"} {
				w.lose(p, "nothing masked", "it is read as unconfined")
			}
		}
		s.MaskedPaths, s.ReadonlyPaths = take(&from.MaskedPaths), take(&from.ReadonlyPaths)
	}
	if b := from.WritableCgroups; b != nil && !(*b && (s.Privileged || say.Root.ReadOnly)) {
		s.WritableCgroups = take(&from.WritableCgroups)
	}
	s.Seccomp, s.SeccompDoc = take(&from.Seccomp), take(&from.SeccompDoc)
	custom := s.Seccomp != "" && s.Seccomp != "unconfined" && s.Seccomp != "builtin"
	if custom && s.SeccompDoc == nil {
		return nil, fmt.Errorf("the seccomp profile %s could not be read", s.Seccomp)
	}
	if custom {
		w.lose("Security.Seccomp", s.Seccomp, "what it comes to on x86-64 and Linux 6.18 is written out")
		w.lose("Security.SeccompDoc", "its conditions", "what it comes to on x86-64 and Linux 6.18 is written out")
	}
	if s.Privileged && s.Seccomp == "unconfined" {
		w.lose("Security.Seccomp", s.Seccomp, "privileged has no filter")
	}
	if s.Privileged && s.Seccomp == "builtin" {
		w.lose("Security.Seccomp", s.Seccomp, "what it comes to on x86-64 and Linux 6.18 is written out")
		w.lose("Security.SeccompDoc", "its conditions", "what it comes to on x86-64 and Linux 6.18 is written out")
	}
	ns := &w.NS
	say.NS = workload.Namespaces{PID: take(&ns.PID), IPC: take(&ns.IPC), UTS: take(&ns.UTS), User: take(&ns.User), Cgroup: take(&ns.Cgroup), Network: take(&ns.Network)}
	if say.NS.UTS == "host" && say.Hostname != "" {
		w.Hostname, say.Hostname = say.Hostname, ""
	}
	for _, k := range slices.Sorted(maps.Keys(w.Sysctls)) {
		shared := say.NS.IPC == "host"
		if strings.HasPrefix(k, "net.") {
			shared = say.NS.Network == "host"
		}
		if !shared {
			put(&say.Sysctls, k, w.Sysctls[k])
			delete(w.Sysctls, k)
		}
	}
	ociMounts(w, &say)
	for i := range w.Devices {
		if d := &w.Devices[i]; d.Rule != "" && say.NS.User != "private" {
			say.Devices = append(say.Devices, take(d))
		} else if d.Rule != "" {
			w.lose(fmt.Sprintf("Devices[%d]", i), take(d).Rule, "in a user namespace the files' permissions decide")
		} else {
			what := d.Source + ":" + d.Target
			take(d)
			w.lose(fmt.Sprintf("Devices[%d]", i), what, "its numbers are known on its machine alone")
		}
	}
	l, to := &w.Limits, &say.Limits
	*to = *l
	*l = workload.Limits{}
	if to.NanoCPUs%1e4 != 0 {
		w.lose("Limits.NanoCPUs", decimal(to.NanoCPUs), "a quota is of 100 ms, in whole µs")
	}
	if to.MemorySwap == 2*to.Memory && to.Memory != 0 {
		w.lose("Limits.MemorySwap", strconv.FormatInt(to.MemorySwap, 10), "it is what Docker takes where nothing is said")
	}
	if to.PidsLimit != nil && *to.PidsLimit == 0 {
		w.lose("Limits.PidsLimit", "0", "no limit is -1")
	}
	if (say.NS.IPC == "host" || say.NS.IPC == "none") && to.ShmSize != 0 {
		l.ShmSize = to.ShmSize
	}
	if to.ShmSize == 64<<20 {
		w.lose("Limits.ShmSize", "64 MiB", "it is what Docker takes where nothing is said")
	}
	annotations := map[string]string{}
	for k, v := range take(&w.Labels) {
		if k != stopSignal && k != "" {
			annotations[k] = v
		}
	}
	if sig := take(&w.StopSignal); sig != "" {
		annotations[stopSignal] = sig
	}
	say.As = w.As // its defaults are written out, and read back as what differs from today's
	if take(&w.As) != "" {
		for _, p := range []string{"As", "Security.CapAdd", "Security.CapDrop", "Security.MaskedPaths", "Security.ReadonlyPaths", "Security.SystemPaths", "Security.Seccomp", "Security.SeccompDoc", "Sysctls", "NS.Cgroup"} {
			w.lose(p, say.As, "its defaults are written out")
		}
	}
	out, _, err := spec.Make(say, spec.Image{}, spec.Options{Root: rootPath, CgroupsPath: "/porthole"}, machine(say))
	if err != nil {
		return nil, err
	}
	out.Linux.CgroupsPath = "" // the runtime's choice
	if len(annotations) > 0 {
		out.Annotations = annotations
	}
	text, err := json.MarshalIndent(out, "", "  ")
	return append(text, '\n'), err
}

func ociMounts(w *writing, say *workload.Workload) {
	for i := range w.Mounts {
		m := &w.Mounts[i]
		usualPath := systems[m.Target] != "" || m.Target == "/etc/hosts" || m.Target == "/etc/hostname" || m.Target == "/etc/resolv.conf"
		switch {
		case m.Type == workload.Volume:
			w.loseMount(i, "a bundle has no volumes: bind a directory")
			continue
		case usualPath:
			w.loseMount(i, "every engine brings its own there")
			continue
		}
		out := workload.Mount{Type: take(&m.Type), Source: take(&m.Source), Target: take(&m.Target), ReadOnly: take(&m.ReadOnly), NonRecursive: take(&m.NonRecursive),
			Size: take(&m.Size), Mode: take(&m.Mode), SubReadOnly: take(&m.SubReadOnly), Options: take(&m.Options)}
		path := fmt.Sprintf("Mounts[%d]", i)
		if out.Type == workload.Bind {
			if out.Propagation = take(&m.Propagation); out.Propagation == "rprivate" {
				w.lose(path+".Propagation", out.Propagation, "it is what holds where nothing is said")
			}
			if out.SubReadOnly == "yes" {
				w.lose(path+".SubReadOnly", "yes", "it is said as rro, whether it must be or may")
			}
			if w.As != "" && out.ReadOnly && out.SubReadOnly == "" {
				w.lose(path+".SubReadOnly", w.As, "its defaults are written out")
			}
			if out.NonRecursive && out.SubReadOnly != "" || !out.ReadOnly && out.SubReadOnly != "" {
				w.lose(path+".SubReadOnly", out.SubReadOnly, "nothing is mounted beneath, or it is not read-only")
			}
		} else if len(out.Options) > 0 {
			w.lose(path+".Options", strings.Join(out.Options, ","), "they are mixed with Docker's own")
			for _, o := range out.Options {
				for name, field := range map[string]string{"size": "Size", "mode": "Mode", "ro": "ReadOnly"} {
					if k, _, _ := strings.Cut(o, "="); k == name {
						w.lose(path+"."+field, o, "they are mixed with Docker's own")
					}
				}
			}
		}
		say.Mounts = append(say.Mounts, out)
	}
}

// What a workload says that has no word here, and why.
var ociWordless = []Row{
	{Member: "As", Why: "its defaults are written out"},
	{Member: "Name", Why: "a bundle is called by whoever runs it"},
	{Member: "Image", Why: "a bundle has its files in rootfs: unpack the image there"},
	{Member: "Entrypoint", Why: "a bundle names its whole command"},
	{Member: "Args", Why: "they begin with the entry point"},
	{Member: "Env[]", Why: "a variable of whoever starts it is not known here, and of several of one name the first is kept"},
	{Member: "User", Why: "a name, or a group that is not said, is looked up in the image"},
	{Member: "Groups", Why: "names are looked up in the image, and the primary group is among them anyway"},
	{Member: "Stdin", Why: "whoever runs the bundle opens it"},
	{Member: "Init", Why: "the engine brings one"},
	{Member: "StopWait", Why: "the engine waits"},
	{Member: "Security.CapAdd", Why: "another release's defaults are written out, and privileged has every one"},
	{Member: "Security.CapDrop", Why: "another release's defaults are written out, and privileged has every one"},
	{Member: "Security.Privileged", Why: "in a user namespace it comes to every capability and nothing masked"},
	{Member: "Security.Seccomp", Why: "what a document comes to on x86-64 and Linux 6.18 is written out"},
	{Member: "Security.SeccompDoc", Why: "what a document comes to on x86-64 and Linux 6.18 is written out"},
	{Member: "Security.SystemPaths", Why: "lists of nothing are read as unconfined, and another release's are written out"},
	{Member: "Security.MaskedPaths", Why: "privileged has none, and another release's are written out"},
	{Member: "Security.ReadonlyPaths", Why: "privileged has none, and another release's are written out"},
	{Member: "Security.WritableCgroups", Why: "privileged has them writable, and a read-only root has them not"},
	{Member: "Security.Labels", Why: "the engine makes a label of them"},
	{Member: "Mounts[]", Why: "a bundle has no volumes, and the engine's own mounts stay"},
	{Member: "Mounts[].CreateSource", Why: "what is bound must be there"},
	{Member: "Mounts[].Options", Why: "a tmpfs's are mixed with Docker's own"},
	{Member: "Mounts[].Size", Why: "an option size is read as the size"},
	{Member: "Mounts[].Mode", Why: "an option mode is read as the mode"},
	{Member: "Mounts[].Propagation", Why: "rprivate is what holds where nothing is said"},
	{Member: "Mounts[].Relabel", Why: "the engine labels"},
	{Member: "Mounts[].SubReadOnly", Why: "rro is said whether it must be or may"},
	{Member: "Devices[]", Why: "a device's numbers are known on its machine alone"},
	{Member: "NS.Cgroup", Why: "another release's default is written out"},
	{Member: "Limits.NanoCPUs", Why: "a quota is of 100 ms, in whole µs"},
	{Member: "Limits.PidsLimit", Why: "no limit is -1"},
	{Member: "Limits.ShmSize", Why: "where the host's memory is shared, it has its own size"},
	{Member: "Sysctls", Why: "another release's own are written out"},
	{Member: "Sysctls[]", Why: "one of a namespace that is shared is refused"},
}

// What of a text is kept, in docker's words.
var ociKept = []Row{
	{Member: "ociVersion", To: "any 1.x"},
	{Member: "root.path", To: "the image, as a directory"},
	{Member: "root.readonly", To: "--read-only"},
	{Member: "hostname", To: "--hostname"},
	{Member: "process.args[]", To: "the command, with no entry point"},
	{Member: "process.env[]", To: "--env, but for what every container of Docker's has"},
	{Member: "process.cwd", To: "--workdir"},
	{Member: "process.terminal", To: "--tty"},
	{Member: "process.user.uid", To: "--user"},
	{Member: "process.user.gid", To: "--user"},
	{Member: "process.user.additionalGids[]", To: "--group-add, but for the primary one"},
	{Member: "process.noNewPrivileges", To: "--security-opt no-new-privileges"},
	{Member: "process.apparmorProfile", To: "--security-opt apparmor=, unless it is docker-default"},
	{Member: "process.oomScoreAdj", To: "--oom-score-adj"},
	{Member: "process.rlimits[].type", To: "--ulimit"},
	{Member: "process.rlimits[].soft", To: "--ulimit"},
	{Member: "process.rlimits[].hard", To: "--ulimit"},
	{Member: "process.capabilities.bounding", To: "--cap-add and --cap-drop, against Docker's own"},
	{Member: "process.capabilities.effective", To: "the same as the bounding set, or none"},
	{Member: "process.capabilities.permitted", To: "the same as the bounding set, or none"},
	{Member: "process.capabilities.inheritable", To: "as before 20.10.14"},
	{Member: "annotations.*", To: "--label, and --stop-signal where an image's conversion puts it"},
	{Member: "mounts[].destination", To: "-v, but for what every container has"},
	{Member: "mounts[].type", To: "bind or tmpfs"},
	{Member: "mounts[].source", To: "a bind's source"},
	{Member: "mounts[].options[]", To: "a mount's options"},
	{Member: "linux.namespaces[].type", To: "one that is not there is the host's"},
	{Member: "linux.uidMappings[].containerID", To: "a user namespace"},
	{Member: "linux.uidMappings[].hostID", To: "a user namespace"},
	{Member: "linux.uidMappings[].size", To: "a user namespace"},
	{Member: "linux.gidMappings[].containerID", To: "a user namespace"},
	{Member: "linux.gidMappings[].hostID", To: "a user namespace"},
	{Member: "linux.gidMappings[].size", To: "a user namespace"},
	{Member: "linux.maskedPaths[]", To: "masked paths, where they are not Docker's own"},
	{Member: "linux.readonlyPaths[]", To: "read-only paths, where they are not Docker's own"},
	{Member: "linux.seccomp", To: "--security-opt seccomp=, unless it is Docker's own"},
	{Member: "linux.sysctl.*", To: "--sysctl, but for Docker's two"},
	{Member: "linux.rootfsPropagation", To: "as the mounts want it"},
	{Member: "linux.cgroupsPath", To: "each engine's own"},
	{Member: "linux.resources.memory.limit", To: "--memory"},
	{Member: "linux.resources.memory.swap", To: "--memory-swap, unless it is twice the memory"},
	{Member: "linux.resources.cpu.shares", To: "--cpu-shares"},
	{Member: "linux.resources.cpu.quota", To: "--cpus"},
	{Member: "linux.resources.cpu.period", To: "--cpus"},
	{Member: "linux.resources.cpu.cpus", To: "--cpuset-cpus"},
	{Member: "linux.resources.cpu.mems", To: "--cpuset-mems"},
	{Member: "linux.resources.pids.limit", To: "--pids-limit"},
	{Member: "linux.resources.devices[].allow", To: "--device-cgroup-rule, but for Docker's own; all: --privileged"},
	{Member: "linux.resources.devices[].type", To: "the same"},
	{Member: "linux.resources.devices[].major", To: "the same"},
	{Member: "linux.resources.devices[].minor", To: "the same"},
	{Member: "linux.resources.devices[].access", To: "the same"},
	{Member: "linux.devices[].path", To: "--device"},
	{Member: "linux.devices[].type", To: "--device"},
	{Member: "linux.devices[].major", To: "--device"},
	{Member: "linux.devices[].minor", To: "--device"},
	{Member: "linux.devices[].fileMode", To: "the node's own"},
	{Member: "linux.devices[].uid", To: "the node's own"},
	{Member: "linux.devices[].gid", To: "the node's own"},
}

// What of a text is not kept, and why. Without a reason it says nothing of the container, and is passed over.
var ociLost = []Row{
	{Member: "ociVersion"},
	{Member: "linux.cgroupsPath"},
	{Member: "linux.rootfsPropagation"},
	{Member: "hooks", Why: "porthole runs nothing beside the container"},
	{Member: "solaris", Why: "porthole is for Linux"},
	{Member: "windows", Why: "porthole is for Linux"},
	{Member: "vm", Why: "porthole is for Linux"},
	{Member: "zos", Why: "porthole is for Linux"},
	{Member: "domainname", Why: "the host name is all that is set"},
	{Member: "process.selinuxLabel", Why: "porthole sets none"},
	{Member: "linux.mountLabel", Why: "porthole sets none"},
	{Member: "process.consoleSize", Why: "porthole sets none"},
	{Member: "process.commandLine", Why: "porthole sets none"},
	{Member: "process.ioPriority", Why: "porthole sets none"},
	{Member: "process.scheduler", Why: "porthole sets none"},
	{Member: "process.execCPUAffinity", Why: "porthole sets none"},
	{Member: "process.user.umask", Why: "porthole sets none"},
	{Member: "process.user.username", Why: "porthole sets none"},
	{Member: "linux.personality", Why: "porthole sets none"},
	{Member: "linux.timeOffsets", Why: "porthole sets none"},
	{Member: "linux.intelRdt", Why: "porthole sets none"},
	{Member: "linux.memoryPolicy", Why: "porthole sets none"},
	{Member: "linux.netDevices", Why: "porthole sets none"},
	{Member: "linux.resources", Why: "porthole limits memory, CPUs and processes"},
	{Member: "linux.namespaces[].path", Why: "a namespace that is there already can't be joined"},
	{Member: "mounts[]", Why: "every engine brings a file of its own"},
	{Member: "linux.uidMappings[]", Why: "ids are mapped one to one"},
	{Member: "linux.gidMappings[]", Why: "ids are mapped one to one"},
	{Member: "mounts[].uidMappings", Why: "ids are mapped one to one"},
	{Member: "mounts[].gidMappings", Why: "ids are mapped one to one"},
	{Member: "process.capabilities.effective", Why: "a process starts with its bounding set, or with nothing"},
	{Member: "process.capabilities.permitted", Why: "a process starts with its bounding set, or with nothing"},
	{Member: "process.capabilities.inheritable", Why: "a process starts with its bounding set, or with nothing"},
	{Member: "process.capabilities.ambient", Why: "a process starts with its bounding set, or with nothing"},
	{Member: "linux.devices[]", Why: "no rule allows its use"},
	{Member: "process.env[]", Why: "it is no NAME=value"},
}
