package document

import (
	"encoding/json"
	"errors"
	"maps"
	"math/big"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"

	"porthole/tree"
	"porthole/workload"
	"porthole/workload/dialect"
)

func marathon() *Dialect {
	return &Dialect{
		Name: "marathon", Also: []string{"mesos"}, Title: "Marathon", File: "app.json",
		Source: "the API of Marathon 1.11 (docs/docs/rest-api), and of those before 1.5",
		About: `An app with a Docker container; of several (a group, a list) --container NAME takes one by its id. Both generations are read:
networks and container.portMappings since 1.5, and before that container.docker.network and its portMappings; what is written
is of the newer one. container.docker.parameters are docker's flags, and are read as such. Where nothing is said, Marathon gives
an app 128 MiB and one CPU's share.`,
		Kept: marathonKept, Lost: marathonLost, Wordless: marathonWordless,
		guess: func(_ string, n *tree.Node) bool {
			for _, a := range marathonApps(n) {
				if a.Has("id") && (a.Has("container") || a.Has("cmd") || a.Has("args")) {
					return true
				}
			}
			return false
		},
		read: readMarathon, write: writeMarathon,
	}
}

// marathonApps are the apps of a document: one, a list, {"app": …}, or a group's and its groups'.
func marathonApps(n *tree.Node) (apps []*tree.Node) {
	switch {
	case !n.Set() || n.Kind != tree.Map && n.Kind != tree.List:
		return nil
	case n.Kind == tree.List:
		return n.List()
	case n.Has("app"):
		return []*tree.Node{n.Get("app")}
	case n.Has("apps") || n.Has("groups"):
		n.Get("id").Pass()
		apps = n.Get("apps").List()
		for _, g := range n.Get("groups").List() {
			apps = append(apps, marathonApps(g)...)
		}
		return apps
	}
	return []*tree.Node{n}
}

func readMarathon(r *reading, text string) error {
	docs, err := tree.Parse([]byte(text))
	if err != nil {
		return err
	}
	root := docs[0]
	apps := marathonApps(root)
	var names []string
	for _, a := range apps {
		names = append(names, strings.TrimPrefix(a.Get("id").Text(), "/"))
	}
	if len(apps) == 0 {
		return errors.New("no app is in it")
	}
	at, err := named(names, strings.TrimPrefix(r.o.Container, "/"))
	if err != nil {
		return err
	}
	for i, a := range apps {
		if i != at {
			r.lose(a.Path, names[i], "a workload is one container; --container takes another")
			a.Pass()
		}
	}
	m := &marathonReading{r, apps[at]}
	m.read(path.Base(names[at]))
	r.shape = func(n *tree.Node) string {
		if at := m.app.Shape(); at != "" {
			return strings.TrimPrefix(n.Shape(), at+".")
		}
		return n.Shape()
	}
	r.unread(root)
	return root.Err()
}

type marathonReading struct {
	*reading
	app *tree.Node
}

func (m *marathonReading) read(name string) {
	app, c := m.app, m.app.Get("container")
	d := c.Get("docker")
	var args []said
	flag := func(n *tree.Node, more ...string) { args = append(args, said{n, more}) }
	switch kind := c.Get("type"); kind.Text() {
	case "DOCKER", "MESOS":
	case "":
		app.Fail("an app without a container's image has nothing to run here")
		return
	default:
		kind.Fail("want DOCKER or MESOS, not %s", kind.Text())
	}
	image := d.Get("image").Text()
	if image == "" {
		c.Fail("docker.image is wanted")
		return
	}
	if d.Get("privileged").True() {
		flag(d, "--privileged")
	}
	mode := d.Get("network").Text() // before 1.5
	for _, n := range app.Get("networks").List() {
		if mode == "" {
			mode = n.Get("mode").Text()
		}
	}
	switch strings.ToUpper(mode) {
	case "", "BRIDGE", "CONTAINER/BRIDGE":
	case "HOST", "NONE":
		flag(app, "--network", strings.ToLower(mode))
	case "CONTAINER", "USER":
		m.lose("networks", mode, "porthole has no networks of names")
	default:
		app.Get("networks").Fail("mode %q is not known", mode)
	}
	for i, n := range app.Get("env").Members() {
		if n.Kind == tree.Map || n.Kind == tree.List {
			m.drop(n, "only the cluster knows the secret")
			continue
		}
		flag(n, "--env", i+"="+n.Text())
	}
	for k, n := range app.Get("labels").Members() {
		flag(n, "--label", k+"="+n.Text())
	}
	if n := app.Get("mem").Rat(); n != nil {
		b := whole(app.Get("mem"), times(n, 1<<20))
		flag(app.Get("mem"), "--memory", strconv.FormatInt(b, 10)+"b")
	} else {
		flag(app, "--memory", "128m")
	}
	if n := app.Get("cpus").Rat(); n != nil { // the executor hands cpus on as shares (src/docker/docker.cpp)
		share := new(big.Int).Quo(times(n, 1024).Num(), times(n, 1024).Denom())
		flag(app.Get("cpus"), "--cpu-shares", share.String())
	}
	if n := app.Get("taskKillGracePeriodSeconds").Int(); n != nil {
		flag(app.Get("taskKillGracePeriodSeconds"), "--stop-timeout", strconv.FormatInt(*n, 10))
	}
	for _, v := range c.Get("volumes").List() {
		m.volume(v, flag)
	}
	for _, p := range d.Get("parameters").List() {
		key, v := p.Get("key").Text(), p.Get("value").Text()
		flag(p, "--"+key+"="+v)
	}
	if app.Err() != nil {
		return
	}
	command := append([]string{image}, app.Get("args").Texts()...)
	if cmd := app.Get("cmd"); cmd.Set() {
		command = []string{image, "/bin/sh", "-c", cmd.Text()}
	}
	run, ok := m.dockerRun(app, args, command)
	if !ok {
		return
	}
	m.took(run)
	if m.w.Name == "" && name != unnamed {
		m.w.Name = name
	}
}

func (m *marathonReading) volume(v *tree.Node, flag func(*tree.Node, ...string)) {
	host, inside := v.Get("hostPath").Text(), v.Get("containerPath").Text()
	if !v.Has("hostPath") {
		m.drop(v, "only a bind of a directory is kept")
		return
	}
	if !path.IsAbs(host) {
		v.Fail("hostPath must be absolute: what is not lies in the task's sandbox")
		return
	}
	args := "type=bind,bind-create-src,source=" + host + ",target=" + inside
	switch mode := v.Get("mode"); mode.Text() {
	case "RO":
		args += ",readonly"
	case "RW", "":
	default:
		mode.Fail("want RO or RW, not %s", mode.Text())
	}
	if strings.ContainsAny(host+inside, `,"`) {
		v.Fail("a path with a comma or a \" can't be given to docker")
		return
	}
	flag(v, "--mount", args)
}

// writeMarathon writes an app of the API since 1.5. What it has no member of its own for stands among docker's parameters.
func writeMarathon(w *writing) ([]byte, error) {
	name := takeIf(&w.Name, label(w.Name))
	if name == "" {
		name = unnamed
	}
	app := tree.Object{{Key: "id", Value: "/" + name}}
	docker := tree.Object{{Key: "image", Value: take(&w.Image)}}
	entry := w.Entrypoint
	if len(entry) > 1 {
		w.lose("Entrypoint", strings.Join(entry[1:], " "), "docker's client takes one word: the others begin the command")
		w.lose("Args", strings.Join(entry[1:], " "), "they begin with the entry point's other words")
		w.Args = append(slices.Clone(entry[1:]), w.Args...)
		w.Entrypoint = entry[:1]
	}
	app.Say("args", take(&w.Args))
	docker.Say("privileged", take(&w.Security.Privileged))
	mode := "container/bridge"
	if w.NS.Network == "host" {
		mode = take(&w.NS.Network)
	}
	var env, labels tree.Object
	said := map[string]bool{}
	for i := range w.Env {
		if e := &w.Env[i]; e.Name != "" && e.Value != nil && !said[e.Name] {
			v := take(e)
			said[v.Name] = true
			env.Add(v.Name, *v.Value)
		}
	}
	for _, k := range slices.Sorted(maps.Keys(w.Labels)) {
		labels.Add(k, w.Labels[k])
	}
	take(&w.Labels)
	if n := take(&w.Limits.Memory); n != 0 {
		mib := decimal(new(big.Int).Quo(new(big.Int).Mul(big.NewInt(n), big.NewInt(1e9)), big.NewInt(1<<20)).Int64())
		if r, ok := tree.ParseNumber(mib); ok && n < 1<<43 && times(r, 1<<20).Cmp(big.NewRat(n, 1)) == 0 {
			app.Put("mem", json.Number(mib))
		} else {
			w.Limits.Memory = n
		}
	} else {
		w.lose("Limits.Memory", "no limit", "Marathon gives 128 MiB where none is said")
	}
	if n := w.Limits.CPUShares; n != 0 && n < 1<<32 {
		cpus := decimal(new(big.Int).Quo(new(big.Int).Mul(big.NewInt(int64(n)), big.NewInt(1e9)), big.NewInt(1024)).Int64() + 1)
		if n%1024 == 0 {
			cpus = strconv.FormatUint(n/1024, 10)
		}
		app.Put("cpus", json.Number(cpus))
		take(&w.Limits.CPUShares)
	}
	if w.StopWait != nil && *w.StopWait >= 0 && *w.StopWait%time.Second == 0 {
		app.Put("taskKillGracePeriodSeconds", int64(*take(&w.StopWait)/time.Second))
	}
	volumes := marathonVolumes(w)
	c := tree.Object{{Key: "type", Value: "DOCKER"}}
	docker.Say("parameters", parameters(w))
	c.Put("docker", docker)
	c.Say("volumes", volumes)
	app.Put("container", c)
	app.Put("networks", []any{tree.Object{{Key: "mode", Value: mode}}})
	app.Say("env", env)
	app.Say("labels", labels)
	return app.JSON()
}

func marathonVolumes(w *writing) (volumes []any) {
	for i := range w.Mounts {
		m := w.Mounts[i]
		if m.Type != workload.Bind || !m.CreateSource || strings.ContainsAny(m.Source+m.Target, `,"`) {
			continue
		}
		m.Type, m.Source, m.Target, m.ReadOnly, m.CreateSource = "", "", "", false, false
		if m.Propagation+m.Relabel+m.SubReadOnly != "" || m.NonRecursive || len(m.Options) > 0 {
			continue
		}
		v := tree.Object{{Key: "containerPath", Value: w.Mounts[i].Target}, {Key: "hostPath", Value: w.Mounts[i].Source}, {Key: "mode", Value: "RW"}}
		if w.Mounts[i].ReadOnly {
			v.Put("mode", "RO")
		}
		volumes = append(volumes, v)
		w.Mounts[i] = m
	}
	return volumes
}

// parameters takes out of w what docker's flags can say, but for what says how docker is called.
func parameters(w *writing) (out []any) {
	as := take(&w.As)
	memory := w.Limits.Memory
	if w.Limits.MemorySwap > 0 && memory == 0 {
		w.Limits.Memory = w.Limits.MemorySwap // docker's client wants one; it is in mem
	}
	// The mounts that have members of their own are empty by now; each of the others keeps its number.
	var mounts []workload.Mount
	var at []int
	for i, m := range w.Mounts {
		if m.Type != "" {
			mounts, at = append(mounts, m), append(at, i)
		}
	}
	w.Mounts = mounts
	before := len(w.losses)
	say := dockerable(w)
	say.Limits.Memory = memory
	for i := before; i < len(w.losses); i++ {
		w.losses[i].Path = renumber(w.losses[i].Path, at)
	}
	rest := make([]workload.Mount, 0)
	for i, m := range w.Mounts {
		for len(rest) <= at[i] {
			rest = append(rest, workload.Mount{})
		}
		rest[at[i]] = m
	}
	w.Mounts, w.As = rest, as
	say.Image, say.Args = "image", nil
	args := dialect.DockerArgs(dialect.Run{Workload: say})
	args = args[:len(args)-1] // the image
	for i := 0; i < len(args); i++ {
		p := tree.Object{{Key: "key", Value: strings.TrimPrefix(args[i], "--")}, {Key: "value", Value: "true"}}
		if i+1 < len(args) && !toggles[args[i]] {
			p.Put("value", args[i+1])
			i++
		}
		out = append(out, p)
	}
	return out
}

// toggles are docker's flags without a value.
var toggles = map[string]bool{"--interactive": true, "--tty": true, "--init": true, "--privileged": true, "--read-only": true}

// renumber gives a mount's path its number among all.
func renumber(p string, at []int) string {
	rest, ok := strings.CutPrefix(p, "Mounts[")
	if !ok {
		return p
	}
	n, tail, _ := strings.Cut(rest, "]")
	i, err := strconv.Atoi(n)
	if err != nil || i >= len(at) {
		return p
	}
	return "Mounts[" + strconv.Itoa(at[i]) + "]" + tail
}

// What a workload says that has no word here, and why.
var marathonWordless = append([]Row{
	{Member: "Mounts[].Relabel", Why: "-v alone has z and Z, and not every mount can be said so"},
	{Member: "As", Why: "which release runs it an app can't say"},
	{Member: "Limits.Memory", Why: "Marathon gives 128 MiB where none is said"},
}, dockersWordless...)

// What of a text is kept, in docker's words.
var marathonKept = []Row{
	{Member: "id", To: "--name is its last part"},
	{Member: "cmd", To: "the command, by /bin/sh -c"},
	{Member: "args[]", To: "the command"},
	{Member: "env.*", To: "--env"},
	{Member: "labels.*", To: "--label"},
	{Member: "mem", To: "--memory, in MiB; 128 where nothing is said"},
	{Member: "cpus", To: "--cpu-shares, 1024 for each"},
	{Member: "taskKillGracePeriodSeconds", To: "--stop-timeout"},
	{Member: "container.type", To: "DOCKER, or MESOS with an image"},
	{Member: "container.docker.image", To: "the image"},
	{Member: "container.docker.privileged", To: "--privileged"},
	{Member: "container.docker.parameters[].key", To: "a flag of docker run"},
	{Member: "container.docker.parameters[].value", To: "its value"},
	{Member: "container.docker.network", To: "--network, before 1.5"},
	{Member: "networks[].mode", To: "--network"},
	{Member: "container.volumes[].containerPath", To: "a bind's target"},
	{Member: "container.volumes[].hostPath", To: "a bind's source"},
	{Member: "container.volumes[].mode", To: "RO: readonly"},
}

// What of a text is not kept, and why. Without a reason it says nothing of the container, and is passed over.
var marathonLost = []Row{
	{Member: "version"},
	{Member: "versionInfo"},
	{Member: "tasks"},
	{Member: "tasksRunning"},
	{Member: "tasksStaged"},
	{Member: "tasksHealthy"},
	{Member: "tasksUnhealthy"},
	{Member: "deployments"},
	{Member: "executor"},
	{Member: "secrets", Why: "only the cluster knows the secret"},
	{Member: "env.*", Why: "only the cluster knows the secret"},
	{Member: "apps[]", Why: "a workload is one container; --container takes another"},
	{Member: "groups", Why: "a workload is one container; --container takes another"},
	{Member: "instances", Why: "how many run, and where, is the cluster's affair"},
	{Member: "constraints", Why: "how many run, and where, is the cluster's affair"},
	{Member: "acceptedResourceRoles", Why: "how many run, and where, is the cluster's affair"},
	{Member: "backoffSeconds", Why: "how many run, and where, is the cluster's affair"},
	{Member: "backoffFactor", Why: "how many run, and where, is the cluster's affair"},
	{Member: "maxLaunchDelaySeconds", Why: "how many run, and where, is the cluster's affair"},
	{Member: "upgradeStrategy", Why: "how many run, and where, is the cluster's affair"},
	{Member: "dependencies", Why: "how many run, and where, is the cluster's affair"},
	{Member: "residency", Why: "how many run, and where, is the cluster's affair"},
	{Member: "unreachableStrategy", Why: "how many run, and where, is the cluster's affair"},
	{Member: "killSelection", Why: "how many run, and where, is the cluster's affair"},
	{Member: "role", Why: "how many run, and where, is the cluster's affair"},
	{Member: "storeUrls", Why: "how many run, and where, is the cluster's affair"},
	{Member: "requirePorts", Why: "how many run, and where, is the cluster's affair"},
	{Member: "ipAddress", Why: "how many run, and where, is the cluster's affair"},
	{Member: "resourceLimits", Why: "how many run, and where, is the cluster's affair"},
	{Member: "tty", Why: "it is for the Mesos containerizer"},
	{Member: "disk", Why: "porthole limits memory and CPUs"},
	{Member: "gpus", Why: "porthole limits memory and CPUs"},
	{Member: "uris", Why: "what is fetched beforehand is mounted here"},
	{Member: "fetch", Why: "what is fetched beforehand is mounted here"},
	{Member: "user", Why: "the Docker containerizer does not hand it on: parameters has a user"},
	{Member: "healthChecks", Why: "porthole runs no health checks"},
	{Member: "readinessChecks", Why: "porthole runs no health checks"},
	{Member: "check", Why: "porthole runs no health checks"},
	{Member: "ports", Why: "bridges and ports are not there yet"},
	{Member: "portDefinitions", Why: "bridges and ports are not there yet"},
	{Member: "container.portMappings", Why: "bridges and ports are not there yet"},
	{Member: "container.docker.portMappings", Why: "bridges and ports are not there yet"},
	{Member: "networks", Why: "bridges and ports are not there yet"},
	{Member: "networks[].name", Why: "bridges and ports are not there yet"},
	{Member: "networks[].labels", Why: "bridges and ports are not there yet"},
	{Member: "container.docker.forcePullImage", Why: "an image is pulled when it is missing"},
	{Member: "container.docker.pullConfig", Why: "`porthole pull` takes the caller's own credentials"},
	{Member: "container.docker.credential", Why: "`porthole pull` takes the caller's own credentials"},
	{Member: "container.linuxInfo", Why: "it is for the Mesos containerizer"},
	{Member: "container.volumes[]", Why: "only a bind of a directory is kept"},
}
