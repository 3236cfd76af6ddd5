package document

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"porthole/tree"
	"porthole/workload"
	"porthole/workload/dialect"
)

func compose() *Dialect {
	return &Dialect{
		Name: "compose", Also: []string{"docker-compose"}, Title: "Compose", File: "compose.yaml",
		Source: "the Compose Specification (compose-spec/spec.md)",
		About: `Of several services --container NAME takes one. Values are read as docker's flags of the same meaning, so what is
refused there is refused here. Variables (` + "`$NAME`, `${NAME:-default}`" + ` and their kin) are filled in from the environment.
(compose-go is not used: linked in, its JSON schema alone takes 5 ms of every start, and it reads files and the environment by itself.)`,
		Kept: composeKept, Lost: composeLost, Wordless: composeWordless,
		guess: func(_ string, n *tree.Node) bool {
			if n == nil || n.Kind != tree.Map || !n.Has("services") {
				return false
			}
			for _, key := range []string{"apiVersion", "kind", "ociVersion"} {
				if n.Has(key) {
					return false
				}
			}
			return true
		},
		read: readCompose, write: writeCompose,
	}
}

// composing is a service being read: what it says as docker's flags, which say what they mean.
type composing struct {
	*reading
	root, s *tree.Node
	args    []said
	image   string
	command []string
}

func readCompose(r *reading, text string) error {
	docs, err := tree.Parse([]byte(text))
	if err != nil {
		return err
	}
	root := docs[0]
	if len(docs) > 1 {
		r.lose("document 2", "", "only the first is read")
	}
	var names []string
	var services []*tree.Node
	for name, s := range root.Get("services").Members() {
		names, services = append(names, name), append(services, s)
	}
	if len(names) == 0 {
		if err := root.Err(); err != nil {
			return err
		}
		return errors.New("no services are in it")
	}
	at, err := named(names, r.o.Container)
	if err != nil {
		return err
	}
	for i, s := range services {
		if i != at {
			r.lose(s.Path, names[i], "a workload is one container; --container takes another")
			s.Pass()
		}
	}
	c := &composing{reading: r, root: root, s: services[at]}
	if names[at] != unnamed {
		c.w.Name = names[at]
	}
	c.read()
	r.unread(root)
	r.losses = slices.DeleteFunc(r.losses, func(l Loss) bool { // what the file keeps for itself
		return strings.HasPrefix(l.Path, "x-") || strings.HasPrefix(l.Path, services[at].Path+".x-")
	})
	return root.Err()
}

// text is a scalar with its variables filled in.
func (c *composing) text(n *tree.Node) string {
	out, err := c.fill(n.Text(), 0)
	if err != nil {
		n.Fail("%v", err)
	}
	return out
}

func (c *composing) texts(n *tree.Node) (out []string) {
	for _, e := range n.List() {
		out = append(out, c.text(e))
	}
	return out
}

// said is a member, and what it means as docker's flags.
type said struct {
	n    *tree.Node
	args []string
}

// flag says what n means as one of docker's flags.
func (c *composing) flag(n *tree.Node, args ...string) { c.args = append(c.args, said{n, args}) }

// dockerRun reads what members say, as docker reads its flags, and the image and command after them. Where that is no
// docker line, each flag is looked at by itself: what porthole does not do is lost, and a mistake has its place.
func (r *reading) dockerRun(at *tree.Node, flags []said, command []string) (dialect.Run, bool) {
	whole := func() []string {
		var args []string
		for _, f := range flags {
			args = append(args, f.args...)
		}
		return append(append(args, "--"), command...)
	}
	run, err := dialect.Docker(whole(), r.outside())
	if err == nil {
		return run, true
	}
	flags = slices.DeleteFunc(flags, func(f said) bool {
		_, err := dialect.Docker(append(slices.Clone(f.args), "image"), r.outside())
		var refused *dialect.Refused
		switch {
		case errors.As(err, &refused):
			r.drop(f.n, refused.Reason)
			return true
		case err != nil && f.args[0] != "--memory-swap": // which means something beside --memory alone
			f.n.Fail("%v", err)
		}
		return false
	})
	if run, err = dialect.Docker(whole(), r.outside()); err != nil {
		at.Fail("%v", err)
	}
	return run, err == nil
}

// outside is the caller's, with every seccomp document there where names alone are wanted.
func (r *reading) outside() dialect.Outside {
	o := r.o.Outside
	if r.o.NamesOnly {
		o.ReadFile = func(name string) ([]byte, error) {
			if data, err := r.o.readFile(name); err == nil {
				return data, nil
			}
			return []byte{}, nil
		}
	}
	return o
}

// one says a scalar as a flag.
func (c *composing) one(key, flag string) {
	if n := c.s.Get(key); n.Set() {
		if v := c.text(n); v != "" {
			c.flag(n, "--"+flag, v)
		}
	}
}

func (c *composing) toggle(key, flag string) {
	if n := c.s.Get(key); n.True() {
		c.flag(n, "--"+flag)
	}
}

// many says each of a list as a flag.
func (c *composing) many(key, flag string) {
	n := c.s.Get(key)
	if n.Set() && n.Kind != tree.List && key == "tmpfs" { // one may stand alone
		c.flag(n, "--"+flag, c.text(n))
		return
	}
	for _, e := range n.List() {
		c.flag(e, "--"+flag, c.text(e))
	}
}

// pairs says a map, or a list of NAME=VALUE.
func (c *composing) pairs(n *tree.Node, flag string) {
	if n.Set() && n.Kind == tree.List {
		for _, e := range n.List() {
			c.flag(e, "--"+flag, c.text(e))
		}
		return
	}
	for k, v := range n.Members() {
		if v.Kind == tree.Null {
			v.Pass()
			if flag != "env" {
				k += "="
			}
			c.flag(v, "--"+flag, k)
			continue
		}
		c.flag(v, "--"+flag, k+"="+c.text(v))
	}
}

func (c *composing) read() {
	s := c.s
	c.one("container_name", "name")
	c.image = c.text(s.Get("image"))
	if c.image == "" {
		s.Fail("a service needs an image here: porthole builds none")
		return
	}
	if n := s.Get("entrypoint"); n.Set() {
		words := c.words(n)
		if len(words) == 0 {
			words = []string{""}
		}
		c.flag(n, "--entrypoint", words[0])
		c.command = words[1:]
	}
	c.command = append(c.command, c.words(s.Get("command"))...)
	for _, f := range envFiles(s.Get("env_file")) {
		name := c.o.abs(c.text(f.path))
		if _, err := c.o.readFile(name); err != nil && (f.optional || c.o.NamesOnly) {
			if !f.optional {
				c.drop(f.path, "the file is not there: "+err.Error())
			}
			continue
		}
		c.flag(f.path, "--env-file", name)
	}
	c.pairs(s.Get("environment"), "env")
	c.pairs(s.Get("labels"), "label")
	c.pairs(s.Get("sysctls"), "sysctl")
	for _, m := range [][2]string{{"working_dir", "workdir"}, {"user", "user"}, {"hostname", "hostname"}, {"stop_signal", "stop-signal"},
		{"pid", "pid"}, {"ipc", "ipc"}, {"uts", "uts"}, {"userns_mode", "userns"}, {"cgroup", "cgroupns"},
		{"mem_limit", "memory"}, {"memswap_limit", "memory-swap"}, {"cpus", "cpus"}, {"cpu_shares", "cpu-shares"}, {"cpuset", "cpuset-cpus"},
		{"pids_limit", "pids-limit"}, {"oom_score_adj", "oom-score-adj"}, {"shm_size", "shm-size"}} {
		c.one(m[0], m[1])
	}
	for _, m := range [][2]string{{"tty", "tty"}, {"stdin_open", "interactive"}, {"init", "init"}, {"privileged", "privileged"}, {"read_only", "read-only"}} {
		c.toggle(m[0], m[1])
	}
	for _, m := range [][2]string{{"group_add", "group-add"}, {"cap_add", "cap-add"}, {"cap_drop", "cap-drop"}, {"tmpfs", "tmpfs"},
		{"device_cgroup_rules", "device-cgroup-rule"}} {
		c.many(m[0], m[1])
	}
	for _, e := range s.Get("security_opt").List() {
		opt := c.text(e)
		// A profile's path is from the project's directory.
		if name, v, ok := strings.Cut(strings.Replace(opt, ":", "=", 1), "="); ok && name == "seccomp" && v != "unconfined" && v != "builtin" {
			opt = "seccomp=" + c.o.abs(v)
		}
		c.flag(e, "--security-opt", opt)
	}
	if n := s.Get("stop_grace_period"); n.Set() {
		d, err := time.ParseDuration(c.text(n))
		if err != nil || d < 0 || d%time.Second != 0 || d > 1<<31*time.Second {
			n.Fail("want whole seconds, as 1m30s, not %s", n.Text())
		}
		c.flag(n, "--stop-timeout", strconv.Itoa(int(d/time.Second)))
	}
	c.network()
	c.ulimits()
	c.devices()
	c.deploy()
	c.volumes()
	if s.Err() != nil {
		return
	}
	run, ok := c.dockerRun(s, c.args, append([]string{c.image}, c.command...))
	if !ok {
		return
	}
	name, mounts := c.w.Name, c.w.Mounts
	c.took(run)
	if c.w.Name == "" {
		c.w.Name = name
	}
	c.w.Mounts = append(c.w.Mounts, mounts...)
	seen := map[string]bool{}
	for i := range c.w.Mounts {
		m := &c.w.Mounts[i]
		if seen[m.Target] {
			s.Fail("duplicate mount point: %s", m.Target)
		}
		seen[m.Target] = true
	}
}

type envFile struct {
	path     *tree.Node
	optional bool
}

func envFiles(n *tree.Node) (out []envFile) {
	if n.Set() && n.Kind != tree.List {
		return []envFile{{path: n}}
	}
	for _, e := range n.List() {
		if e.Kind == tree.Map {
			required := e.Get("required").Bool()
			out = append(out, envFile{e.Get("path"), required != nil && !*required})
		} else {
			out = append(out, envFile{path: e})
		}
	}
	return out
}

// words are a command: a list, or a line as a shell would take it apart.
func (c *composing) words(n *tree.Node) []string {
	if n.Set() && n.Kind == tree.List {
		return c.texts(n)
	}
	words, err := split(c.text(n), nil)
	if err != nil {
		n.Fail("%v", err)
	}
	return words
}

func (c *composing) network() {
	n := c.s.Get("network_mode")
	if mode := c.text(n); mode != "" && mode != "bridge" && mode != "default" {
		c.flag(n, "--network", mode)
	}
}

func (c *composing) ulimits() {
	for name, u := range c.s.Get("ulimits").Members() {
		v := ""
		if u.Kind == tree.Map {
			v = c.text(u.Get("soft")) + ":" + c.text(u.Get("hard"))
		} else {
			v = c.text(u)
		}
		c.flag(u, "--ulimit", name+"="+v)
	}
}

func (c *composing) devices() {
	for _, e := range c.s.Get("devices").List() {
		v := ""
		if e.Kind == tree.Map {
			v = c.text(e.Get("source"))
			if t := c.text(e.Get("target")); t != "" {
				v += ":" + t
			}
			if p := c.text(e.Get("permissions")); p != "" {
				v += ":" + p
			}
		} else {
			v = c.text(e)
		}
		c.flag(e, "--device", v)
	}
}

// deploy has limits of its own, beneath those of the service itself.
func (c *composing) deploy() {
	limits := c.s.At("deploy", "resources", "limits")
	for _, m := range [][3]string{{"cpus", "cpus", "cpus"}, {"memory", "mem_limit", "memory"}, {"pids", "pids_limit", "pids-limit"}} {
		n := limits.Get(m[0])
		if n.Set() && !c.s.Has(m[1]) {
			c.flag(n, "--"+m[2], c.text(n))
		}
	}
}

func (c *composing) volumes() {
	declared := map[string]*tree.Node{}
	for name, n := range c.root.Get("volumes").Members() {
		declared[name] = n
	}
	for _, e := range c.s.Get("volumes").List() {
		if e.Kind != tree.Map {
			v := c.text(e)
			source, rest, ok := strings.Cut(v, ":")
			switch {
			case ok && (strings.HasPrefix(source, ".") || strings.HasPrefix(source, "~")):
				v = c.o.abs(source) + ":" + rest
			case ok && !strings.HasPrefix(source, "/"):
				v = c.volume(declared, source) + ":" + rest
			}
			c.flag(e, "--volume", v)
			continue
		}
		c.mount(e, declared)
	}
}

// volume is what a volume of the file is really called.
func (c *composing) volume(declared map[string]*tree.Node, name string) string {
	d := declared[name]
	d.Get("external").Pass()
	if n := c.text(d.Get("name")); n != "" {
		return n
	}
	return name
}

// mount reads a volume in its long form.
func (c *composing) mount(e *tree.Node, declared map[string]*tree.Node) {
	m := workload.Mount{Type: workload.MountType(c.text(e.Get("type"))), Source: c.text(e.Get("source")), Target: c.text(e.Get("target")),
		ReadOnly: e.Get("read_only").True(), Refer: e.Path}
	bind, volume, tmpfs := e.Get("bind"), e.Get("volume"), e.Get("tmpfs")
	switch m.Type {
	case workload.Bind:
		m.Source, m.CreateSource = c.o.abs(m.Source), true
		if b := bind.Get("create_host_path").Bool(); b != nil {
			m.CreateSource = *b
		}
		m.Propagation, m.Relabel = c.text(bind.Get("propagation")), c.text(bind.Get("selinux"))
		switch n := bind.Get("recursive"); c.text(n) {
		case "", "enabled":
		case "disabled":
			m.NonRecursive = true
		case "writable":
			m.SubReadOnly = "no"
		case "readonly":
			m.SubReadOnly = "yes"
		default:
			n.Fail("want enabled, disabled, writable or readonly")
		}
	case workload.Volume:
		m.NoCopy = volume.Get("nocopy").True()
		if m.Source != "" {
			m.Source = c.volume(declared, m.Source)
		}
	case workload.Tmpfs:
		if n := tmpfs.Get("size"); n.Set() {
			w, err := dialect.Docker([]string{"--shm-size", c.text(n), "image"}, dialect.Outside{})
			if err != nil {
				n.Fail("%q is no size", n.Text())
			}
			m.Size = w.Workload.Limits.ShmSize
		}
		if n := tmpfs.Get("mode"); n.Set() {
			text := n.Text()
			base := 10
			if digits, octal := strings.CutPrefix(strings.TrimPrefix(text, "0o"), "0"); octal || strings.HasPrefix(text, "0o") {
				text, base = digits, 8
			}
			mode, err := strconv.ParseUint("0"+text, base, 32)
			if err != nil || mode > 0o7777 {
				n.Fail("%q is no mode", n.Text())
			}
			m.Mode = ptr(uint32(mode))
		}
	default:
		c.drop(e, "porthole mounts bind, volume and tmpfs")
		return
	}
	// What docker would refuse, porthole does; its own words say why.
	plain := m
	plain.Relabel = ""
	run, err := dialect.Docker(append(dialect.MountArgs(plain), "image"), c.outside())
	if err != nil {
		e.Fail("%v", err)
		return
	}
	m.Target = run.Workload.Mounts[0].Target
	if m.Relabel != "" && m.Relabel != "z" && m.Relabel != "Z" {
		bind.Get("selinux").Fail("want z or Z")
	}
	c.w.Mounts = append(c.w.Mounts, m)
}

// fill puts the environment's values in for $NAME, ${NAME} and its forms with :-, -, :?, ?, :+ and +; $$ is one $.
func (c *composing) fill(s string, depth int) (string, error) {
	if !strings.Contains(s, "$") {
		return s, nil
	}
	if depth > 8 {
		return "", errors.New("variables more than 8 deep in one another")
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] != '$' {
			b.WriteByte(s[i])
			continue
		}
		rest := s[i+1:]
		switch {
		case strings.HasPrefix(rest, "$"):
			b.WriteByte('$')
			i++
		case strings.HasPrefix(rest, "{"):
			inner, ok := braced(rest[1:])
			if !ok {
				return "", fmt.Errorf("%q: a ${ has no end", s)
			}
			v, err := c.braces(inner, depth)
			if err != nil {
				return "", err
			}
			b.WriteString(v)
			i += len(inner) + 2
		default:
			name := variable(rest)
			if name == "" {
				return "", fmt.Errorf("%q: a $ that begins no name is written $$", s)
			}
			v, _ := c.env(name)
			b.WriteString(v)
			i += len(name)
		}
	}
	return b.String(), nil
}

// braced is what stands before the } that ends it.
func braced(s string) (string, bool) {
	depth := 0
	for i := range len(s) {
		switch {
		case s[i] == '{':
			depth++
		case s[i] == '}' && depth == 0:
			return s[:i], true
		case s[i] == '}':
			depth--
		}
	}
	return "", false
}

// variable is the name that s begins with, or "".
func variable(s string) string {
	i := 0
	for i < len(s) && (s[i] == '_' || 'a' <= s[i]|0x20 && s[i]|0x20 <= 'z' || i > 0 && '0' <= s[i] && s[i] <= '9') {
		i++
	}
	return s[:i]
}

func (c *composing) braces(inner string, depth int) (string, error) {
	name := variable(inner)
	op := inner[len(name):]
	v, set := c.env(name)
	if name == "" {
		return "", fmt.Errorf("${%s}: no name", inner)
	}
	if op == "" {
		return v, nil
	}
	if rest, ok := strings.CutPrefix(op, ":"); ok {
		op, set = rest, set && v != ""
	}
	if op == "" {
		return "", fmt.Errorf("${%s}: what follows the name is not known", inner)
	}
	word := op[1:]
	switch op[0] {
	case '-':
		if set {
			return v, nil
		}
		return c.fill(word, depth+1)
	case '+':
		if !set {
			return "", nil
		}
		return c.fill(word, depth+1)
	case '?':
		if set {
			return v, nil
		}
		return "", fmt.Errorf("the variable %s is wanted: %s", name, word)
	}
	return "", fmt.Errorf("${%s}: what follows the name is not known", inner)
}

// writeCompose writes a file of one service.
func writeCompose(w *writing) ([]byte, error) {
	var s tree.Object
	esc := func(v string) string { return strings.ReplaceAll(v, "$", "$$") }
	all := func(vs []string) (out []string) {
		for _, v := range vs {
			out = append(out, esc(v))
		}
		return out
	}
	name := unnamed
	if w.Name != "" {
		name = take(&w.Name)
		if workload.ValidName(name) {
			s.Put("container_name", name)
		}
	}
	s.Put("image", esc(take(&w.Image)))
	if w.Entrypoint != nil {
		if entry := take(&w.Entrypoint); len(entry) == 0 {
			s.Put("entrypoint", []string{""})
		} else {
			s.Put("entrypoint", all(entry[:1]))
			if len(entry) > 1 {
				w.lose("Entrypoint", strings.Join(entry[1:], " "), "docker's client takes one word: the others begin the command")
				w.lose("Args", strings.Join(entry[1:], " "), "they begin with the entry point's other words")
				w.Args = append(slices.Clone(entry[1:]), w.Args...)
			}
		}
	}
	s.Say("command", all(take(&w.Args)))
	var env []string
	for i := range w.Env {
		if e := &w.Env[i]; e.Name != "" {
			v := take(e)
			if v.Value == nil {
				env = append(env, esc(v.Name))
			} else {
				env = append(env, esc(v.Name+"="+*v.Value))
			}
		}
	}
	s.Say("environment", env)
	pairs := func(m map[string]string) (o tree.Object) {
		for _, k := range slices.Sorted(maps.Keys(m)) {
			o.Add(k, esc(m[k]))
		}
		return o
	}
	s.Say("labels", pairs(take(&w.Labels)))
	s.Say("working_dir", esc(take(&w.Dir)))
	s.Say("user", esc(take(&w.User)))
	s.Say("group_add", all(take(&w.Groups)))
	s.Say("hostname", esc(take(&w.Hostname)))
	s.Say("tty", take(&w.TTY))
	s.Say("stdin_open", take(&w.Stdin))
	s.Say("init", take(&w.Init))
	s.Say("stop_signal", take(&w.StopSignal))
	if w.StopWait != nil && *w.StopWait >= 0 && *w.StopWait%time.Second == 0 {
		s.Put("stop_grace_period", take(&w.StopWait).String())
	}
	sec := &w.Security
	s.Say("privileged", take(&sec.Privileged))
	s.Say("cap_add", all(once(take(&sec.CapAdd)))) // the schema takes each but once
	s.Say("cap_drop", all(once(take(&sec.CapDrop))))
	s.Say("security_opt", all(securityOpts(w)))
	s.Say("read_only", take(&w.Root.ReadOnly))
	s.Say("pid", take(&w.NS.PID))
	s.Say("ipc", take(&w.NS.IPC))
	s.Say("uts", take(&w.NS.UTS))
	s.Say("userns_mode", takeIf(&w.NS.User, w.NS.User == "host"))
	s.Say("cgroup", take(&w.NS.Cgroup))
	s.Say("network_mode", take(&w.NS.Network))
	volumes, tmpfs, declared := composeMounts(w, esc)
	s.Say("tmpfs", tmpfs)
	s.Say("volumes", volumes)
	var devices, rules []string
	for i := range w.Devices {
		if d := take(&w.Devices[i]); d.Rule != "" {
			rules = append(rules, d.Rule)
		} else {
			devices = append(devices, esc(d.Source+":"+d.Target+":"+d.Access))
		}
	}
	s.Say("devices", devices)
	s.Say("device_cgroup_rules", rules)
	l := &w.Limits
	s.Say("mem_limit", take(&l.Memory))
	s.Say("memswap_limit", take(&l.MemorySwap))
	if n := take(&l.NanoCPUs); n != 0 {
		s.Put("cpus", decimal(n))
	}
	s.Say("cpu_shares", int64(take(&l.CPUShares)))
	s.Say("cpuset", take(&l.CpusetCpus))
	if l.PidsLimit != nil {
		s.Put("pids_limit", *take(&l.PidsLimit))
	}
	var limits tree.Object
	known, others := ulimits(l.Ulimits)
	l.Ulimits = others
	for _, u := range known {
		limits.Put(u.Name, tree.Object{{Key: "soft", Value: u.Soft}, {Key: "hard", Value: u.Hard}})
	}
	s.Say("ulimits", limits)
	if l.OOMScoreAdj != nil {
		s.Put("oom_score_adj", *take(&l.OOMScoreAdj))
	}
	s.Say("shm_size", take(&l.ShmSize))
	s.Say("sysctls", pairs(take(&w.Sysctls)))
	file := tree.Object{{Key: "services", Value: tree.Object{{Key: name, Value: s}}}}
	file.Say("volumes", declared)
	return file.YAML()
}

// once leaves out what was there before.
func once(all []string) (out []string) {
	seen := map[string]bool{}
	for _, s := range all {
		if !seen[s] {
			seen[s] = true
			out = append(out, s)
		}
	}
	return out
}

// securityOpts takes what --security-opt says.
func securityOpts(w *writing) (opts []string) {
	s := &w.Security
	if name := w.seccompName(); name != "" {
		opts = append(opts, "seccomp="+name)
	}
	for _, b := range []struct {
		name string
		at   **bool
	}{{"no-new-privileges", &s.NoNewPrivs}, {"writable-cgroups", &s.WritableCgroups}} {
		if *b.at != nil {
			opts = append(opts, fmt.Sprintf("%s=%t", b.name, *take(b.at)))
		}
	}
	if v := take(&s.SystemPaths); v != "" {
		opts = append(opts, "systempaths="+v)
	}
	if v := take(&s.AppArmor); v != "" {
		opts = append(opts, "apparmor="+v)
	}
	for _, l := range take(&s.Labels) {
		opts = append(opts, "label="+l)
	}
	return opts
}

func composeMounts(w *writing, esc func(string) string) (volumes []any, tmpfs []string, declared tree.Object) {
	known := map[string]bool{}
	for i := range w.Mounts {
		m := &w.Mounts[i]
		if m.Type == workload.Tmpfs && m.Size == 0 && m.Mode == nil && !m.ReadOnly && !strings.Contains(m.Target, ":") && len(m.Options) > 0 {
			tmpfs = append(tmpfs, esc(take(&m.Target)+":"+strings.Join(take(&m.Options), ",")))
			take(&m.Type)
			continue
		}
		if m.Type == workload.Volume && m.Source != "" && !workload.ValidName(m.Source) {
			w.loseMount(i, "it is no name of a volume")
			continue
		}
		v := tree.Object{{Key: "type", Value: string(take(&m.Type))}}
		kind := v[0].Value.(string)
		source := take(&m.Source)
		v.Say("source", esc(source))
		v.Put("target", esc(take(&m.Target)))
		v.Say("read_only", take(&m.ReadOnly))
		var o tree.Object
		switch kind {
		case "bind":
			o.Put("create_host_path", take(&m.CreateSource))
			o.Say("propagation", take(&m.Propagation))
			o.Say("selinux", take(&m.Relabel))
			switch {
			case take(&m.NonRecursive):
				o.Put("recursive", "disabled")
			case m.SubReadOnly == "no":
				take(&m.SubReadOnly)
				o.Put("recursive", "writable")
			case m.SubReadOnly == "yes" && o[len(o)-1].Value == "rprivate": // docker wants both
				take(&m.SubReadOnly)
				o.Put("recursive", "readonly")
			}
		case "volume":
			o.Say("nocopy", take(&m.NoCopy))
			if source != "" && !known[source] {
				known[source] = true
				declared.Add(source, tree.Object{{Key: "name", Value: source}})
			}
		case "tmpfs":
			o.Say("size", take(&m.Size))
			if m.Mode != nil {
				o.Put("mode", int64(*take(&m.Mode)))
			}
		}
		v.Say(kind, o)
		volumes = append(volumes, v)
	}
	return volumes, tmpfs, declared
}

// What a workload says that has no word here, and why.
var composeWordless = append([]Row{
	{Member: "As", Why: "which release runs it the file can't say"},
	{Member: "StopWait", Why: "a grace period can't be without end"},
	{Member: "Limits.CpusetMems", Why: "Compose has cpuset alone"},
}, dockersWordless...)

// What of a text is kept, in docker's words.
var composeKept = []Row{
	{Member: "services.*.image", To: "the image"},
	{Member: "services.*.command", To: "the command, taken apart as a shell does"},
	{Member: "services.*.command[]", To: "the command"},
	{Member: "services.*.entrypoint", To: "--entrypoint, taken apart as a shell does"},
	{Member: "services.*.entrypoint[]", To: "--entrypoint; its other words begin the command"},
	{Member: "services.*.environment[]", To: "--env"},
	{Member: "services.*.environment.*", To: "--env"},
	{Member: "services.*.env_file", To: "--env-file"},
	{Member: "services.*.env_file[]", To: "--env-file"},
	{Member: "services.*.env_file[].path", To: "--env-file"},
	{Member: "services.*.env_file[].required", To: "false: passed over where it is missing"},
	{Member: "services.*.labels[]", To: "--label"},
	{Member: "services.*.labels.*", To: "--label"},
	{Member: "services.*.sysctls[]", To: "--sysctl"},
	{Member: "services.*.sysctls.*", To: "--sysctl"},
	{Member: "services.*.container_name", To: "--name; without it the service's own"},
	{Member: "services.*.working_dir", To: "--workdir"},
	{Member: "services.*.user", To: "--user"},
	{Member: "services.*.group_add[]", To: "--group-add"},
	{Member: "services.*.hostname", To: "--hostname"},
	{Member: "services.*.stop_signal", To: "--stop-signal"},
	{Member: "services.*.stop_grace_period", To: "--stop-timeout"},
	{Member: "services.*.tty", To: "--tty"},
	{Member: "services.*.stdin_open", To: "--interactive"},
	{Member: "services.*.init", To: "--init"},
	{Member: "services.*.privileged", To: "--privileged"},
	{Member: "services.*.read_only", To: "--read-only"},
	{Member: "services.*.cap_add[]", To: "--cap-add"},
	{Member: "services.*.cap_drop[]", To: "--cap-drop"},
	{Member: "services.*.security_opt[]", To: "--security-opt; a profile's path is from the project's directory"},
	{Member: "services.*.pid", To: "--pid"},
	{Member: "services.*.ipc", To: "--ipc"},
	{Member: "services.*.uts", To: "--uts"},
	{Member: "services.*.userns_mode", To: "--userns"},
	{Member: "services.*.cgroup", To: "--cgroupns"},
	{Member: "services.*.network_mode", To: "--network"},
	{Member: "services.*.mem_limit", To: "--memory"},
	{Member: "services.*.memswap_limit", To: "--memory-swap"},
	{Member: "services.*.cpus", To: "--cpus"},
	{Member: "services.*.cpu_shares", To: "--cpu-shares"},
	{Member: "services.*.cpuset", To: "--cpuset-cpus"},
	{Member: "services.*.pids_limit", To: "--pids-limit"},
	{Member: "services.*.oom_score_adj", To: "--oom-score-adj"},
	{Member: "services.*.shm_size", To: "--shm-size"},
	{Member: "services.*.ulimits.*", To: "--ulimit"},
	{Member: "services.*.ulimits.*.soft", To: "--ulimit"},
	{Member: "services.*.ulimits.*.hard", To: "--ulimit"},
	{Member: "services.*.deploy.resources.limits.cpus", To: "--cpus, unless cpus says it"},
	{Member: "services.*.deploy.resources.limits.memory", To: "--memory, unless mem_limit says it"},
	{Member: "services.*.deploy.resources.limits.pids", To: "--pids-limit, unless pids_limit says it"},
	{Member: "services.*.devices[]", To: "--device"},
	{Member: "services.*.devices[].source", To: "--device"},
	{Member: "services.*.devices[].target", To: "--device"},
	{Member: "services.*.devices[].permissions", To: "--device"},
	{Member: "services.*.device_cgroup_rules[]", To: "--device-cgroup-rule"},
	{Member: "services.*.tmpfs", To: "--tmpfs"},
	{Member: "services.*.tmpfs[]", To: "--tmpfs"},
	{Member: "services.*.volumes[]", To: "--volume, from the project's directory"},
	{Member: "services.*.volumes[].type", To: "--mount type="},
	{Member: "services.*.volumes[].source", To: "--mount source="},
	{Member: "services.*.volumes[].target", To: "--mount target="},
	{Member: "services.*.volumes[].read_only", To: "--mount readonly"},
	{Member: "services.*.volumes[].bind.create_host_path", To: "made where it is missing, unless it is false"},
	{Member: "services.*.volumes[].bind.propagation", To: "bind-propagation="},
	{Member: "services.*.volumes[].bind.recursive", To: "bind-recursive="},
	{Member: "services.*.volumes[].bind.selinux", To: "z or Z of -v"},
	{Member: "services.*.volumes[].volume.nocopy", To: "volume-nocopy"},
	{Member: "services.*.volumes[].tmpfs.size", To: "tmpfs-size="},
	{Member: "services.*.volumes[].tmpfs.mode", To: "tmpfs-mode="},
	{Member: "volumes.*", To: "which volumes there are"},
	{Member: "volumes.*.name", To: "what the volume is called"},
	{Member: "volumes.*.external", To: "every volume is made where it is missing"},
}

// What of a text is not kept, and why. Without a reason it says nothing of the container, and is passed over.
var composeLost = []Row{
	{Member: "version"},
	{Member: "name"},
	{Member: "services.*.platform"},
	{Member: "services.*.pull_policy"},
	{Member: "services.*.attach"},
	{Member: "services.*.annotations"},
	{Member: "services.*.build", Why: "porthole builds no images"},
	{Member: "services.*.develop", Why: "porthole builds no images"},
	{Member: "services.*", Why: "a workload is one container; --container takes another"},
	{Member: "networks", Why: "bridges and ports are not there yet"},
	{Member: "services.*.networks", Why: "bridges and ports are not there yet"},
	{Member: "services.*.ports", Why: "bridges and ports are not there yet"},
	{Member: "services.*.expose", Why: "bridges and ports are not there yet"},
	{Member: "services.*.dns", Why: "bridges and ports are not there yet"},
	{Member: "services.*.dns_opt", Why: "bridges and ports are not there yet"},
	{Member: "services.*.dns_search", Why: "bridges and ports are not there yet"},
	{Member: "services.*.domainname", Why: "bridges and ports are not there yet"},
	{Member: "services.*.extra_hosts", Why: "bridges and ports are not there yet"},
	{Member: "services.*.links", Why: "bridges and ports are not there yet"},
	{Member: "services.*.external_links", Why: "bridges and ports are not there yet"},
	{Member: "services.*.mac_address", Why: "bridges and ports are not there yet"},
	{Member: "services.*.depends_on", Why: "it follows no other service"},
	{Member: "services.*.scale", Why: "it follows no other service"},
	{Member: "services.*.profiles", Why: "it follows no other service"},
	{Member: "services.*.provider", Why: "it follows no other service"},
	{Member: "services.*.models", Why: "it follows no other service"},
	{Member: "services.*.extends", Why: "it follows no other service"},
	{Member: "include", Why: "it follows no other service"},
	{Member: "models", Why: "it follows no other service"},
	{Member: "services.*.restart", Why: "porthole has no daemon that would start it again"},
	{Member: "services.*.healthcheck", Why: "porthole runs no health checks"},
	{Member: "services.*.post_start", Why: "porthole runs nothing beside the container"},
	{Member: "services.*.pre_stop", Why: "porthole runs nothing beside the container"},
	{Member: "secrets", Why: "mount the file with volumes"},
	{Member: "configs", Why: "mount the file with volumes"},
	{Member: "services.*.secrets", Why: "mount the file with volumes"},
	{Member: "services.*.configs", Why: "mount the file with volumes"},
	{Member: "services.*.logging", Why: "a detached container's output goes to a file that `porthole logs` reads"},
	{Member: "services.*.runtime", Why: "porthole is its own runtime"},
	{Member: "services.*.cgroup_parent", Why: "porthole is its own runtime"},
	{Member: "services.*.storage_opt", Why: "porthole is its own runtime"},
	{Member: "services.*.isolation", Why: "porthole is its own runtime"},
	{Member: "services.*.credential_spec", Why: "porthole is its own runtime"},
	{Member: "services.*.label_file", Why: "porthole is its own runtime"},
	{Member: "services.*.use_api_socket", Why: "porthole is its own runtime"},
	{Member: "services.*.blkio_config", Why: "porthole limits memory, CPUs and processes"},
	{Member: "services.*.mem_reservation", Why: "porthole limits memory, CPUs and processes"},
	{Member: "services.*.mem_swappiness", Why: "porthole limits memory, CPUs and processes"},
	{Member: "services.*.oom_kill_disable", Why: "porthole limits memory, CPUs and processes"},
	{Member: "services.*.cpu_count", Why: "porthole limits memory, CPUs and processes"},
	{Member: "services.*.cpu_percent", Why: "porthole limits memory, CPUs and processes"},
	{Member: "services.*.cpu_period", Why: "porthole limits memory, CPUs and processes"},
	{Member: "services.*.cpu_quota", Why: "porthole limits memory, CPUs and processes"},
	{Member: "services.*.cpu_rt_period", Why: "porthole limits memory, CPUs and processes"},
	{Member: "services.*.cpu_rt_runtime", Why: "porthole limits memory, CPUs and processes"},
	{Member: "services.*.gpus", Why: "use devices with the nodes of the GPU"},
	{Member: "services.*.deploy", Why: "how many run, and where, is a swarm's affair"},
	{Member: "services.*.volumes_from", Why: "name the volume and give it to both"},
	{Member: "volumes.*", Why: "porthole's volumes are plain directories"},
	{Member: "services.*.volumes[].volume.subpath", Why: "porthole's volumes are plain directories"},
	{Member: "services.*.volumes[].volume.labels", Why: "porthole's volumes are plain directories"},
	{Member: "services.*.volumes[].consistency", Why: "Linux has one kind of mount"},
	{Member: "services.*.volumes[]", Why: "porthole mounts bind, volume and tmpfs"},
}
