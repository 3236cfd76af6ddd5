package document

import (
	"errors"
	"fmt"
	"path"
	"slices"
	"strconv"
	"strings"

	"porthole/caps"
	"porthole/spec"
	"porthole/tree"
	"porthole/workload"
)

func bubblewrap() *Dialect {
	return &Dialect{
		Name: "bwrap", Also: []string{"bubblewrap"}, Title: "bubblewrap", File: "run.sh",
		Source: "bwrap(1), bubblewrap 0.11",
		About: `One ` + "`bwrap`" + ` command line. A sandbox has no file but those that it mounts, no capability but those that it adds, no_new_privs,
no filter and nothing masked, and shares every namespace that is not unshared; so a line is read, as an ordinary user's (root's
keeps root's capabilities unless they are dropped, so what is written drops them). What is mounted at / is the
image: ` + "`--bind / /`" + ` is ` + "`host`" + `, whose writes porthole throws away, and where nothing is, the image is ` + "`scratch`" + `.`,
		Kept: bwrapKept, Lost: bwrapLost, Wordless: bwrapWordless,
		guess: func(text string, root *tree.Node) bool { return root == nil && commandOf(text, "bwrap") },
		read:  readBwrap, write: writeBwrap,
	}
}

// bwrapValues are the options and how many values each takes (bubblewrap.c, parse_args_recurse).
var bwrapValues = map[string]int{
	"--unshare-all": 0, "--unshare-user": 0, "--unshare-user-try": 0, "--unshare-ipc": 0, "--unshare-pid": 0, "--unshare-net": 0,
	"--unshare-uts": 0, "--unshare-cgroup": 0, "--unshare-cgroup-try": 0, "--share-net": 0, "--disable-userns": 0, "--assert-userns-disabled": 0,
	"--clearenv": 0, "--new-session": 0, "--die-with-parent": 0, "--as-pid-1": 0, "--level-prefix": 0,
	"--userns": 1, "--userns2": 1, "--pidns": 1, "--uid": 1, "--gid": 1, "--hostname": 1, "--chdir": 1, "--unsetenv": 1, "--lock-file": 1, "--sync-fd": 1,
	"--remount-ro": 1, "--exec-label": 1, "--file-label": 1, "--proc": 1, "--dev": 1, "--tmpfs": 1, "--mqueue": 1, "--dir": 1, "--seccomp": 1, "--add-seccomp-fd": 1,
	"--block-fd": 1, "--userns-block-fd": 1, "--info-fd": 1, "--json-status-fd": 1, "--cap-add": 1, "--cap-drop": 1, "--perms": 1, "--size": 1, "--args": 1, "--argv0": 1,
	"--tmp-overlay": 1, "--ro-overlay": 1, "--overlay-src": 1,
	"--setenv": 2, "--bind": 2, "--bind-try": 2, "--dev-bind": 2, "--dev-bind-try": 2, "--ro-bind": 2, "--ro-bind-try": 2, "--bind-fd": 2, "--ro-bind-fd": 2,
	"--file": 2, "--bind-data": 2, "--ro-bind-data": 2, "--symlink": 2, "--chmod": 2, "--overlay": 3,
}

func readBwrap(r *reading, text string) error {
	words, err := split(strings.TrimPrefix(strings.TrimSpace(text), "$ "), r.env)
	if err != nil {
		return err
	}
	for len(words) > 0 && path.Base(words[0]) != "bwrap" {
		if words[0] != "sudo" && words[0] != "exec" && !strings.Contains(words[0], "=") {
			return fmt.Errorf("want a `bwrap` line, not %q", words[0])
		}
		words = words[1:]
	}
	if len(words) == 0 {
		return errors.New("want a `bwrap` line")
	}
	w := &r.w
	w.NS = workload.Namespaces{PID: "host", IPC: "host", UTS: "host", User: "host", Cgroup: "host", Network: "host"}
	w.Security = workload.Security{Seccomp: "unconfined", SystemPaths: "unconfined", NoNewPrivs: ptr(true)}
	w.Image = "scratch"
	b := &wrapping{reading: r, init: true, at: map[string]int{}}
	i := 1
	for ; i < len(words) && strings.HasPrefix(words[i], "-"); i++ {
		if words[i] == "--" {
			i++
			break
		}
		n, ok := bwrapValues[words[i]]
		if !ok {
			return fmt.Errorf("unknown option %s", words[i])
		}
		if i+n >= len(words) {
			return fmt.Errorf("%s wants %d more", words[i], n)
		}
		if err := b.option(words[i], words[i+1:i+1+n]); err != nil {
			return fmt.Errorf("%s: %w", words[i], err)
		}
		if _, ok := find(r.d.Lost, words[i]); !ok {
			r.kept = append(r.kept, words[i])
		}
		i += n
	}
	w.Mounts = b.uncovered(w.Mounts)
	w.Args = slices.Clone(words[min(i, len(words)):])
	if len(w.Args) == 0 {
		return errors.New("no command is in it")
	}
	w.Entrypoint = []string{}
	w.Init = b.init && w.NS.PID != "host"
	if b.uid != "" {
		w.User = b.uid
		if b.gid != "" {
			w.User += ":" + b.gid
		}
	} else if b.gid != "" {
		r.lose("--gid", b.gid, "a group needs a user before it")
	}
	if !b.clear {
		r.lose("--clearenv", "not said", "the caller's whole environment is passed on, which porthole does not do")
	}
	w.Security.CapAdd, w.Security.CapDrop = relative(b.caps)
	if b.size != "" || b.perms != "" {
		return errors.New("--size or --perms: no operation follows that takes it")
	}
	return nil
}

// wrapping is a line being read.
type wrapping struct {
	*reading
	init, clear bool
	uid, gid    string
	caps        caps.Set
	size, perms string
	at          map[string]int // the last mount at a target, by its number
}

func (b *wrapping) option(name string, v []string) error {
	w := &b.w
	ns := &w.NS
	switch name {
	case "--unshare-all":
		*ns = workload.Namespaces{IPC: "private", Cgroup: "private", User: "private", Network: "none"}
	case "--unshare-user", "--unshare-user-try":
		ns.User = "private"
	case "--unshare-ipc":
		ns.IPC = "private"
	case "--unshare-pid":
		ns.PID = ""
	case "--unshare-net":
		ns.Network = "none"
	case "--share-net":
		ns.Network = "host"
	case "--unshare-uts":
		ns.UTS = ""
	case "--unshare-cgroup", "--unshare-cgroup-try":
		ns.Cgroup = "private"
	case "--uid", "--gid":
		if _, _, ok := userIDs(v[0]); !ok {
			return fmt.Errorf("%q is no number", v[0])
		}
		if name == "--uid" {
			b.uid = v[0]
		} else {
			b.gid = v[0]
		}
	case "--hostname":
		w.Hostname = v[0]
	case "--chdir":
		if !path.IsAbs(v[0]) {
			b.lose(name, v[0], "a working directory is said in full")
			return nil
		}
		w.Dir = v[0]
	case "--setenv":
		w.Env = append(w.Env, workload.EnvVar{Name: v[0], Value: &v[1]})
	case "--unsetenv":
		w.Env = append(w.Env, workload.EnvVar{Name: v[0]})
	case "--clearenv":
		b.clear = true
	case "--as-pid-1":
		b.init = false
	case "--cap-add", "--cap-drop":
		set := caps.All
		if v[0] != "ALL" {
			c, err := caps.Parse(v[0])
			if err != nil {
				return err
			}
			set = caps.Set(0).Add(c)
		}
		if name == "--cap-add" {
			b.caps |= set
		} else {
			b.caps &^= set
		}
	case "--size", "--perms":
		bits := 63
		base := 10
		if name == "--perms" {
			bits, base = 12, 8
		}
		if _, err := strconv.ParseUint(v[0], base, bits); err != nil {
			return fmt.Errorf("%q is no number for it", v[0])
		}
		if name == "--size" {
			b.size = v[0]
		} else {
			b.perms = v[0]
		}
	case "--proc", "--dev", "--mqueue":
		b.perms = ""
		if usual := map[string]string{"--proc": "/proc", "--dev": "/dev", "--mqueue": "/dev/mqueue"}[name]; path.Clean(v[0]) != usual {
			b.lose(name, v[0], "porthole mounts it at "+usual+" alone")
		}
	default:
		return b.mount(name, v)
	}
	return nil
}

func (b *wrapping) mount(name string, v []string) error {
	w := &b.w
	m := workload.Mount{Refer: name + " " + strings.Join(v, " ")}
	switch name {
	case "--bind", "--bind-try", "--dev-bind", "--dev-bind-try", "--ro-bind", "--ro-bind-try":
		m.Type, m.Source, m.Target, m.ReadOnly = workload.Bind, b.o.abs(v[0]), path.Clean(v[1]), strings.HasPrefix(name, "--ro")
		if strings.HasSuffix(name, "-try") {
			b.lose(name, v[0], "a source that is not there would be passed over; here it stops the start")
		}
		if strings.HasPrefix(name, "--dev-bind") && m.Target != "/dev" && m.Target != "/" {
			m.Options = []string{"dev"}
		}
		if m.Target == "/" {
			w.Image, w.Root.ReadOnly = "host", m.ReadOnly
			if m.Source != "/" {
				w.Image = "dir:" + m.Source
			}
			return nil
		}
		if m.Source == m.Target && slices.Contains([]string{"/proc", "/dev", "/sys"}, m.Target) {
			b.lose(name, m.Target, "porthole mounts its own")
			return nil
		}
	case "--tmpfs":
		m.Type, m.Target = workload.Tmpfs, path.Clean(v[0])
		if m.Target == "/" {
			w.Image = "scratch"
			b.size, b.perms = "", ""
			return nil
		}
		m.Size, _ = strconv.ParseInt("0"+b.size, 10, 64)
		if b.perms != "" {
			mode, _ := strconv.ParseUint(b.perms, 8, 32)
			m.Mode = ptr(uint32(mode))
		}
		b.size, b.perms = "", ""
	case "--remount-ro":
		target := path.Clean(v[0])
		if target == "/" {
			w.Root.ReadOnly = true
			return nil
		}
		if i, ok := b.at[target]; ok {
			w.Mounts[i].ReadOnly = true
			return nil
		}
		b.lose(name, v[0], "nothing was mounted there before it")
		return nil
	default:
		b.size, b.perms = "", ""
		row, ok := find(b.d.Lost, name)
		if !ok {
			row.Why = "porthole has no such thing"
		}
		if row.Why != passedOver {
			b.lose(name, strings.Join(v, " "), row.Why)
		}
		return nil
	}
	if !path.IsAbs(m.Target) {
		return fmt.Errorf("%q is not absolute", m.Target)
	}
	b.at[m.Target] = len(w.Mounts)
	w.Mounts = append(w.Mounts, m)
	return nil
}

// uncovered leaves out what a later mount at the same place hides.
func (b *wrapping) uncovered(all []workload.Mount) (out []workload.Mount) {
	for i, m := range all {
		if b.at[m.Target] == i {
			out = append(out, m)
		}
	}
	return out
}

func writeBwrap(w *writing) ([]byte, error) {
	s, ns := &w.Security, &w.NS
	args := []string{"bwrap"}
	say := func(words ...string) { args = append(args, words...) }
	root := "--bind"
	if take(&w.Root.ReadOnly) {
		root = "--ro-bind"
	}
	switch {
	case w.Image == "host":
		take(&w.Image)
		say(root, "/", "/")
	case strings.HasPrefix(w.Image, "dir:/") && path.Clean(w.Image[4:]) == w.Image[4:] && w.Image != "dir:/":
		say(root, take(&w.Image)[4:], "/")
	case w.Image == "scratch":
		take(&w.Image)
	default:
		say(root, "ROOTFS", "/")
		w.lose("Image", take(&w.Image), "bwrap reads no images: put its files into a directory, and that for ROOTFS")
	}
	say("--proc", "/proc", "--dev", "/dev")
	bwrapMounts(w, say)
	if root == "--ro-bind" && args[1] == "--proc" { // nothing is bound at /: of scratch
		say("--remount-ro", "/")
	}
	if uid, gid, ok := userIDs(w.User); ok && (ns.User == "private" || ns.User == "") {
		if ns.User == "" {
			w.lose("NS.User", "not said", "bwrap sets ids in a user namespace alone")
			ns.User = "private"
		}
		take(&w.User)
		say("--uid", strconv.FormatInt(*uid, 10))
		if gid != nil {
			say("--gid", strconv.FormatInt(*gid, 10))
		}
	}
	bwrapNamespaces(w, say)
	have := caps.All
	if !s.Privileged {
		var err error
		if have, err = spec.Capabilities(w.As, s.CapAdd, s.CapDrop); err != nil {
			return nil, err
		}
	} else {
		w.lose("Security.CapAdd", "every capability", "it is all that is kept of privileged")
		w.lose("Security.CapDrop", "", "privileged has every capability, whatever is dropped")
	}
	take(&s.CapAdd)
	take(&s.CapDrop)
	say("--cap-drop", "ALL") // root's are kept otherwise
	for _, c := range allCaps() {
		if have == caps.All {
			say("--cap-add", "ALL")
			break
		}
		if have.Has(c) {
			say("--cap-add", c.String())
		}
	}
	if b := take(&s.NoNewPrivs); b == nil || !*b {
		w.lose("Security.NoNewPrivs", "new privileges", "bwrap takes them away always")
	}
	if s.Seccomp == "unconfined" {
		take(&s.Seccomp)
	} else {
		what := s.Seccomp
		if what == "" {
			what = "the default filter"
		}
		take(&s.Seccomp)
		take(&s.SeccompDoc)
		for _, p := range []string{"Security.Seccomp", "Security.SeccompDoc"} {
			w.lose(p, what, "bwrap takes a compiled filter from a file descriptor: `porthole profile compile -o F`, then --seccomp 9 9<F")
		}
	}
	if s.SystemPaths == "unconfined" {
		take(&s.SystemPaths)
	} else {
		w.lose("Security.SystemPaths", "masked paths", "bwrap masks none")
	}
	if w.Dir != "" {
		say("--chdir", take(&w.Dir))
	}
	say("--clearenv")
	for i := range w.Env {
		e := &w.Env[i]
		if e.Name == "" || strings.Contains(e.Name, "=") {
			continue
		}
		if v := take(e); v.Value == nil {
			say("--unsetenv", v.Name)
		} else {
			say("--setenv", v.Name, *v.Value)
		}
	}
	words := append(slices.Clone(w.Entrypoint), w.Args...)
	if len(words) == 0 {
		return nil, errors.New("bwrap needs a command: the image's own is not known here")
	}
	if len(w.Entrypoint) > 0 {
		w.lose("Entrypoint", strings.Join(w.Entrypoint, " "), "it begins the command")
		w.lose("Args", strings.Join(w.Entrypoint, " "), "they begin with the entry point")
	} else if w.Entrypoint == nil {
		w.lose("Entrypoint", "the image's", "the line names its whole command")
	}
	w.Entrypoint, w.Args = nil, nil
	say("--")
	text := commandLine(args, 1)
	return []byte(strings.TrimSuffix(text, "\n") + " " + quoteWords(words) + "\n"), nil
}

func quoteWords(words []string) string {
	out := make([]string, len(words))
	for i, w := range words {
		out[i] = quote(w)
	}
	return strings.Join(out, " ")
}

func bwrapNamespaces(w *writing, say func(...string)) {
	ns := &w.NS
	pid := ""
	for _, n := range []struct {
		at   *string
		flag string
	}{{&ns.PID, "--unshare-pid"}, {&ns.IPC, "--unshare-ipc"}, {&ns.UTS, "--unshare-uts"}, {&ns.Cgroup, "--unshare-cgroup"}, {&ns.Network, "--unshare-net"}, {&ns.User, "--unshare-user"}} {
		v := *n.at
		if n.at == &ns.PID {
			pid = v
		}
		switch {
		case v == "host", n.at == &ns.User && v == "":
			take(n.at)
		case v == "", v == "private", v == "none" && n.at == &ns.Network:
			take(n.at)
			say(n.flag)
		}
	}
	if w.Hostname != "" {
		say("--hostname", take(&w.Hostname))
	}
	if !take(&w.Init) {
		if pid != "host" {
			say("--as-pid-1")
		}
	} else if pid == "host" {
		w.lose("Init", "true", "bwrap has an init in a pid namespace of its own alone")
	}
}

func bwrapMounts(w *writing, say func(...string)) {
	for i := range w.Mounts {
		m := &w.Mounts[i]
		switch m.Type {
		case workload.Bind:
			flag := "--bind"
			if ro := take(&m.ReadOnly); ro {
				flag = "--ro-bind"
			}
			say(flag, take(&m.Source), take(&m.Target))
			take(&m.Type)
		case workload.Tmpfs:
			if m.Mode != nil {
				say("--perms", fmt.Sprintf("%04o", *take(&m.Mode)))
			}
			if n := take(&m.Size); n != 0 {
				say("--size", strconv.FormatInt(n, 10))
			}
			target := take(&m.Target)
			say("--tmpfs", target)
			if take(&m.ReadOnly) {
				say("--remount-ro", target)
			}
			take(&m.Type)
		default:
			w.loseMount(i, "bwrap has no volumes: bind a directory")
		}
	}
}

// What a workload says that has no word here, and why.
var bwrapWordless = []Row{
	{Member: "Name", Why: "bwrap starts a process, and leaves limits and names to others"},
	{Member: "Labels[]", Why: "bwrap starts a process, and leaves limits and names to others"},
	{Member: "Groups", Why: "bwrap starts a process, and leaves limits and names to others"},
	{Member: "TTY", Why: "bwrap starts a process, and leaves limits and names to others"},
	{Member: "Stdin", Why: "bwrap starts a process, and leaves limits and names to others"},
	{Member: "StopSignal", Why: "bwrap starts a process, and leaves limits and names to others"},
	{Member: "StopWait", Why: "bwrap starts a process, and leaves limits and names to others"},
	{Member: "Sysctls[]", Why: "bwrap starts a process, and leaves limits and names to others"},
	{Member: "Limits.CPUShares", Why: "bwrap starts a process, and leaves limits and names to others"},
	{Member: "Limits.CpusetCpus", Why: "bwrap starts a process, and leaves limits and names to others"},
	{Member: "Limits.CpusetMems", Why: "bwrap starts a process, and leaves limits and names to others"},
	{Member: "Limits.Memory", Why: "bwrap starts a process, and leaves limits and names to others"},
	{Member: "Limits.MemorySwap", Why: "bwrap starts a process, and leaves limits and names to others"},
	{Member: "Limits.NanoCPUs", Why: "bwrap starts a process, and leaves limits and names to others"},
	{Member: "Limits.OOMScoreAdj", Why: "bwrap starts a process, and leaves limits and names to others"},
	{Member: "Limits.PidsLimit", Why: "bwrap starts a process, and leaves limits and names to others"},
	{Member: "Limits.Ulimits", Why: "bwrap starts a process, and leaves limits and names to others"},
	{Member: "As", Why: "its capabilities are written out; of the rest bwrap has nothing"},
	{Member: "Image", Why: "bwrap reads no images: put its files into a directory"},
	{Member: "Entrypoint", Why: "a line names its whole command"},
	{Member: "Args", Why: "they begin with the entry point"},
	{Member: "User", Why: "ids are numbers, in a user namespace"},
	{Member: "Init", Why: "bwrap has an init in a pid namespace of its own alone"},
	{Member: "Security.CapAdd", Why: "privileged has every capability"},
	{Member: "Security.CapDrop", Why: "privileged has every capability, whatever is dropped"},
	{Member: "Security.Privileged", Why: "every capability is kept; the devices are not"},
	{Member: "Security.Seccomp", Why: "bwrap takes a compiled filter from a file descriptor"},
	{Member: "Security.SeccompDoc", Why: "bwrap takes a compiled filter from a file descriptor"},
	{Member: "Security.NoNewPrivs", Why: "bwrap takes new privileges away always"},
	{Member: "Security.SystemPaths", Why: "bwrap masks none"},
	{Member: "Security.MaskedPaths", Why: "bwrap masks none"},
	{Member: "Security.ReadonlyPaths", Why: "bwrap makes none read-only"},
	{Member: "Security.AppArmor", Why: "bwrap changes no profile"},
	{Member: "Security.WritableCgroups", Why: "bwrap mounts no control groups"},
	{Member: "Security.Labels", Why: "--exec-label takes a whole context"},
	{Member: "Mounts[]", Why: "bwrap has no volumes: bind a directory"},
	{Member: "Mounts[].CreateSource", Why: "what is bound must be there"},
	{Member: "Mounts[].NonRecursive", Why: "bwrap binds recursively"},
	{Member: "Mounts[].Options", Why: "bwrap's mounts are nosuid and nodev, and no other options can be said"},
	{Member: "Mounts[].Propagation", Why: "bwrap's mounts are private"},
	{Member: "Mounts[].Relabel", Why: "bwrap labels nothing"},
	{Member: "Mounts[].SubReadOnly", Why: "what is beneath is read-only too"},
	{Member: "Devices[]", Why: "--dev-bind binds a device; nothing counts who may use it"},
	{Member: "NS.IPC", Why: "a sandbox has its own or the machine's"},
	{Member: "NS.User", Why: "bwrap sets ids in a user namespace alone"},
	{Member: "Limits.ShmSize", Why: "--dev brings a /dev/shm of its own"},
}

// What of a text is kept, in docker's words.
var bwrapKept = []Row{
	{Member: "--bind", To: "-v, and at / the image"},
	{Member: "--ro-bind", To: "-v :ro, and at / the image with --read-only"},
	{Member: "--dev-bind", To: "-v, devices among it"},
	{Member: "--bind-try", To: "-v; the source must be there"},
	{Member: "--ro-bind-try", To: "-v :ro; the source must be there"},
	{Member: "--dev-bind-try", To: "-v; the source must be there"},
	{Member: "--tmpfs", To: "--tmpfs"},
	{Member: "--size", To: "a tmpfs's size"},
	{Member: "--perms", To: "a tmpfs's mode"},
	{Member: "--remount-ro", To: "readonly"},
	{Member: "--proc", To: "at /proc, as every container has it"},
	{Member: "--dev", To: "at /dev, as every container has it"},
	{Member: "--mqueue", To: "at /dev/mqueue, as every container has it"},
	{Member: "--unshare-all", To: "namespaces of its own"},
	{Member: "--unshare-user", To: "a user namespace"},
	{Member: "--unshare-user-try", To: "a user namespace"},
	{Member: "--unshare-ipc", To: "--ipc private; without it host"},
	{Member: "--unshare-pid", To: "without it --pid host"},
	{Member: "--unshare-net", To: "--network none; without it host"},
	{Member: "--unshare-uts", To: "without it --uts host"},
	{Member: "--unshare-cgroup", To: "--cgroupns private; without it host"},
	{Member: "--unshare-cgroup-try", To: "the same"},
	{Member: "--share-net", To: "--network host"},
	{Member: "--uid", To: "--user"},
	{Member: "--gid", To: "--user"},
	{Member: "--hostname", To: "--hostname"},
	{Member: "--chdir", To: "--workdir"},
	{Member: "--setenv", To: "--env"},
	{Member: "--unsetenv", To: "--env NAME"},
	{Member: "--clearenv", To: "porthole passes no variables on"},
	{Member: "--cap-add", To: "--cap-add"},
	{Member: "--cap-drop", To: "--cap-drop"},
	{Member: "--as-pid-1", To: "no --init"},
}

// What of a text is not kept, and why. Without a reason it says nothing of the container, and is passed over.
var bwrapLost = []Row{
	{Member: "--die-with-parent"},
	{Member: "--new-session"},
	{Member: "--level-prefix"},
	{Member: "--assert-userns-disabled"},
	{Member: "--lock-file"},
	{Member: "--sync-fd"},
	{Member: "--block-fd"},
	{Member: "--info-fd"},
	{Member: "--json-status-fd"},
	{Member: "--userns-block-fd"},
	{Member: "--seccomp", Why: "what a file descriptor holds a line does not say"},
	{Member: "--add-seccomp-fd", Why: "what a file descriptor holds a line does not say"},
	{Member: "--args", Why: "what a file descriptor holds a line does not say"},
	{Member: "--file", Why: "what a file descriptor holds a line does not say"},
	{Member: "--bind-data", Why: "what a file descriptor holds a line does not say"},
	{Member: "--ro-bind-data", Why: "what a file descriptor holds a line does not say"},
	{Member: "--bind-fd", Why: "what a file descriptor holds a line does not say"},
	{Member: "--ro-bind-fd", Why: "what a file descriptor holds a line does not say"},
	{Member: "--userns", Why: "what a file descriptor holds a line does not say"},
	{Member: "--userns2", Why: "what a file descriptor holds a line does not say"},
	{Member: "--pidns", Why: "what a file descriptor holds a line does not say"},
	{Member: "--dir", Why: "porthole makes no files in an image: bring them in it"},
	{Member: "--symlink", Why: "porthole makes no files in an image: bring them in it"},
	{Member: "--chmod", Why: "porthole makes no files in an image: bring them in it"},
	{Member: "--overlay", Why: "porthole's own layers are its own affair"},
	{Member: "--tmp-overlay", Why: "porthole's own layers are its own affair"},
	{Member: "--ro-overlay", Why: "porthole's own layers are its own affair"},
	{Member: "--overlay-src", Why: "porthole's own layers are its own affair"},
	{Member: "--exec-label", Why: "porthole sets no labels"},
	{Member: "--file-label", Why: "porthole sets no labels"},
	{Member: "--disable-userns", Why: "a container may make user namespaces where its filter lets it"},
	{Member: "--argv0", Why: "a program is called by its path"},
}
