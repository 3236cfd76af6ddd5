// Package spec turns a workload into an OCI runtime spec: what Docker's daemon does between
// a `docker run` and its runtime, release by release, and what has to differ without root.
//
// Start here; release.go has the defaults of the releases, mounts.go and rootless.go what
// their names say. The spec is a value: whatever must be known of the machine is handed in.
package spec

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	specs "github.com/opencontainers/runtime-spec/specs-go"

	"porthole/caps"
	"porthole/facts"
	"porthole/seccomp/profile"
	"porthole/workload"
)

// Image is what an image's configuration says, and the two files of it that names are looked up in.
type Image struct {
	Env             []string // NAME=value
	Entrypoint, Cmd []string
	User            string
	WorkingDir      string
	StopSignal      string
	Volumes         []string // paths that want a volume of their own
	Labels          map[string]string

	Passwd, Group []byte // /etc/passwd and /etc/group; nil where there is none
}

// Options are what the engine decides or knows for one container. All may be empty.
type Options struct {
	ID          string // the container's; its first 12 characters are the host name
	Root        string // root.path
	CgroupsPath string // where its control group goes; "" makes no use of groups
	HostName    string // this machine's name, for --network host and --uts host

	ResolvConf, Hosts, HostNameFile string // files that are bound over those in /etc

	Init    string            // a static init program for --init; "" leaves it to whoever runs the spec to bring one
	Volumes map[string]string // mount target → the directory of its volume (see Volumes)

	// Device describes a device node of this machine, or all beneath a directory; for --device.
	Device func(path string) ([]specs.LinuxDevice, error)
	// HostDevices lists all of them; for --privileged.
	HostDevices func() ([]specs.LinuxDevice, error)

	Thermal  []string // /sys/devices/system/cpu/cpu*/thermal_throttle, those that are there
	AppArmor string   // the profile loaded for containers, "docker-default"; "": none is
	CPUs     int      // how many this machine has, to hold --cpus against; 0: not known
}

// Warning is something that the user asked for and does not get, or gets otherwise.
type Warning struct{ About, Text string }

func (w Warning) String() string { return w.About + ": " + w.Text }

const defaultPath = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// InitPath is where --init puts the init program inside.
const InitPath = "/sbin/docker-init"

// maker carries what the parts of Make share.
type maker struct {
	w     workload.Workload
	img   Image
	opt   Options
	f     facts.Facts
	d     defaults
	spec  *specs.Spec
	user  User
	ids   ids      // of the user namespace to be made
	give  caps.Set // what we can give
	warns []Warning
}

func (m *maker) warn(about, format string, args ...any) {
	m.warns = append(m.warns, Warning{about, fmt.Sprintf(format, args...)})
}

// Make returns the OCI runtime spec of a container: what the release that w.As names would
// have generated, on the machine that f describes. It changes none of its arguments.
func Make(w workload.Workload, img Image, opt Options, f facts.Facts) (*specs.Spec, []Warning, error) {
	m := &maker{w: w, img: img, opt: opt, f: f, give: f.Caps.Bounding}
	var err error
	if m.d, err = defaultsOf(w.As); err != nil {
		return nil, nil, err
	}
	m.spec = &specs.Spec{
		Version: specs.Version,
		Root:    &specs.Root{Path: opt.Root, Readonly: w.Root.ReadOnly},
		Linux:   &specs.Linux{},
	}
	// The later ones look at what the earlier ones found.
	for _, part := range []func() error{
		m.rootless, m.namespaces, m.process, m.paths, m.mounts, m.devices, m.resources, m.sysctls, m.seccomp, m.lsm,
	} {
		if err := part(); err != nil {
			return nil, m.warns, err
		}
	}
	return m.spec, m.warns, nil
}

// Join returns the process of an exec into the container that w is: the container's own, with
// what e asks for. The filter is the one for this session's capabilities; nil is none. Unlike
// Docker's, a privileged session has no filter either, as a privileged container has none.
func Join(e workload.Exec, w workload.Workload, img Image, opt Options, f facts.Facts) (*specs.Process, *specs.LinuxSeccomp, []Warning, error) {
	w.Entrypoint, w.Args, w.Init = []string{}, e.Args, false
	w.TTY, w.Stdin = e.TTY, e.Stdin
	w.Env = append(slices.Clone(w.Env), e.Env...)
	if e.Dir != "" {
		w.Dir = e.Dir
	}
	if e.User != "" {
		w.User = e.User
	}
	s := &w.Security
	s.CapAdd = append(without(s.CapAdd, e.CapDrop), e.CapAdd...)
	s.CapDrop = append(without(s.CapDrop, e.CapAdd), e.CapDrop...)
	s.Privileged = s.Privileged || e.Privileged
	switch {
	case e.Seccomp != "":
		s.Seccomp, s.SeccompDoc = e.Seccomp, e.SeccompDoc
	case e.Privileged:
		s.Seccomp, s.SeccompDoc = "unconfined", nil
	}
	if e.NoNewPrivs != nil {
		s.NoNewPrivs = e.NoNewPrivs
	}
	// Only the process is wanted: what belongs to the container is there already.
	w.Mounts, w.Devices, w.Sysctls, img.Volumes, opt.HostDevices = nil, nil, nil, nil, nil
	w.Limits = workload.Limits{Ulimits: w.Limits.Ulimits, OOMScoreAdj: w.Limits.OOMScoreAdj}
	made, warns, err := Make(w, img, opt, f)
	if err != nil {
		return nil, nil, warns, err
	}
	return made.Process, made.Linux.Seccomp, warns, nil
}

// without returns what the container was told of capabilities, less what the session takes
// back: a name, or with ALL everything.
func without(said, back []string) []string {
	return slices.DeleteFunc(slices.Clone(said), func(a string) bool {
		return slices.ContainsFunc(back, func(b string) bool {
			if strings.EqualFold(b, "ALL") {
				return true
			}
			x, errX := caps.Parse(a)
			y, errY := caps.Parse(b)
			return errX == nil && errY == nil && x == y
		})
	})
}

func (m *maker) process() error {
	w, img := m.w, m.img
	p := &specs.Process{Terminal: w.TTY, Cwd: "/"}
	m.spec.Process = p

	// Whoever replaces the entry point replaces the image's command as well (daemon/commit.go, merge).
	entry, cmd := w.Entrypoint, w.Args
	if entry == nil {
		entry = img.Entrypoint
		if cmd == nil {
			cmd = img.Cmd
		}
	}
	p.Args = append(slices.Clone(entry), cmd...)
	if len(p.Args) == 0 {
		return errors.New("no command specified")
	}
	if m.init() {
		p.Args = append([]string{InitPath, "--"}, p.Args...)
	}
	if dir := w.Dir; dir != "" {
		p.Cwd = dir
	} else if img.WorkingDir != "" {
		p.Cwd = img.WorkingDir
	}

	name := w.User
	if name == "" {
		name = img.User
	}
	var err error
	if m.user, err = ResolveUser(name, img.Passwd, img.Group); err != nil {
		return err
	}
	added, err := ResolveGroups(w.Groups, img.Group)
	if err != nil {
		return err
	}
	groups := append(slices.Clone(m.user.Groups), added...)
	if m.d.primaryGroup {
		groups = append([]uint32{m.user.GID}, groups...)
	}
	groups = unique(groups)
	if groups, err = m.ids.check(m, m.user, groups); err != nil {
		return err
	}
	p.User = specs.User{UID: m.user.UID, GID: m.user.GID, AdditionalGids: groups}

	if p.Capabilities, err = m.capabilities(m.user.UID); err != nil {
		return err
	}
	if nnp := w.Security.NoNewPrivs; nnp != nil {
		p.NoNewPrivileges = *nnp
	}
	p.OOMScoreAdj = w.Limits.OOMScoreAdj
	if p.OOMScoreAdj == nil && !m.ids.private {
		p.OOMScoreAdj = new(int) // an ordinary user may only raise it, so it stays
	}
	for _, u := range w.Limits.Ulimits {
		p.Rlimits = append(p.Rlimits, specs.POSIXRlimit{Type: "RLIMIT_" + strings.ToUpper(u.Name), Hard: uint64(u.Hard), Soft: uint64(u.Soft)})
	}

	host := m.hostname()
	p.Env = environment(m.w, m.img, host, m.user.Home)
	if w.NS.UTS != "host" {
		m.spec.Hostname = host
	} else if w.Hostname != "" {
		return errors.New("conflicting options: hostname and the UTS mode")
	}
	return nil
}

// init reports whether an init program is to be bound and run; where the pid namespace is the
// host's there is one already.
func (m *maker) init() bool { return m.w.Init && m.w.NS.PID != "host" && m.opt.Init != "" }

// hostname is what the container is called: as asked, or the machine's where it shares its
// network or its names, or the beginning of its id.
func (m *maker) hostname() string {
	switch {
	case m.w.Hostname != "":
		return m.w.Hostname
	case m.w.NS.UTS == "host" || m.w.NS.Network == "host":
		return m.opt.HostName
	}
	return m.opt.ID[:min(12, len(m.opt.ID))]
}

// environment is Docker's (container.CreateDaemonEnvironment): PATH, HOSTNAME and, with a
// terminal, TERM; over them what the user said and then what the image says. HOME comes last
// where nobody said it: runc takes it from the user database.
func environment(w workload.Workload, img Image, host, home string) []string {
	env := []string{defaultPath, "HOSTNAME=" + host}
	if w.TTY {
		env = append(env, "TERM=xterm")
	}
	at := make(map[string]int, len(env)+len(w.Env)+len(img.Env)+1) // where a variable stands
	for i, e := range env {
		name, _, _ := strings.Cut(e, "=")
		at[name] = i
	}
	set := func(name, e string) {
		if i, ok := at[name]; ok {
			env[i] = e
			return
		}
		at[name] = len(env)
		env = append(env, e)
	}
	said := make(map[string]bool, len(w.Env))
	const gone = "\x00" // no variable is called so
	for _, e := range w.Env {
		said[e.Name] = true
		if e.Value != nil {
			set(e.Name, e.Name+"="+*e.Value)
		} else if i, ok := at[e.Name]; ok {
			env[i] = gone
			delete(at, e.Name)
		}
	}
	for _, e := range img.Env {
		if name, _, _ := strings.Cut(e, "="); !said[name] {
			set(name, e)
		}
	}
	if _, ok := at["HOME"]; !ok && !said["HOME"] {
		env = append(env, "HOME="+home)
	}
	return slices.DeleteFunc(env, func(e string) bool { return e == gone })
}

// namespaces lists those to be made, in Docker's order. Sharing the host's is leaving one out.
func (m *maker) namespaces() error {
	ns := m.w.NS
	for _, n := range []struct{ what, mode string }{
		{"pid", ns.PID}, {"ipc", ns.IPC}, {"uts", ns.UTS}, {"user", ns.User}, {"cgroup", ns.Cgroup}, {"network", ns.Network},
	} {
		if strings.Contains(n.mode, ":") {
			return fmt.Errorf("%s namespace %q: containers cannot share a namespace yet", n.what, n.mode)
		}
	}
	private := ns.Cgroup == "private"
	if ns.Cgroup == "" {
		private = m.f.Features.CgroupNS && m.d.privateCgroup && m.f.Cgroup.Mode == facts.CgroupV2
		// Without root a control group can be mounted from a namespace of one's own alone.
		private = private || m.ids.private && m.f.Features.CgroupNS
	}
	if ns.Cgroup == "private" && !m.f.Features.CgroupNS {
		return errors.New("--cgroupns private: this kernel has no cgroup namespaces")
	}
	for _, n := range []struct {
		kind specs.LinuxNamespaceType
		own  bool
	}{
		{specs.MountNamespace, true},
		{specs.NetworkNamespace, ns.Network != "host"},
		{specs.TimeNamespace, m.d.timeNS && m.f.Features.TimeNS},
		{specs.UTSNamespace, ns.UTS != "host"},
		{specs.PIDNamespace, ns.PID != "host"},
		{specs.IPCNamespace, ns.IPC != "host"},
		{specs.UserNamespace, m.ids.private},
		{specs.CgroupNamespace, private},
	} {
		if n.own {
			m.spec.Linux.Namespaces = append(m.spec.Linux.Namespaces, specs.LinuxNamespace{Type: n.kind})
		}
	}
	return nil
}

func (m *maker) makes(kind specs.LinuxNamespaceType) bool {
	return slices.ContainsFunc(m.spec.Linux.Namespaces, func(n specs.LinuxNamespace) bool { return n.Type == kind })
}

func (m *maker) paths() error {
	s, l := m.w.Security, m.spec.Linux
	if s.Privileged || s.SystemPaths == "unconfined" {
		return nil
	}
	l.MaskedPaths, l.ReadonlyPaths = slices.Clone(m.d.masked), slices.Clone(m.d.readonly)
	if m.d.thermal {
		l.MaskedPaths = append(l.MaskedPaths, m.opt.Thermal...)
	}
	if s.MaskedPaths != nil {
		l.MaskedPaths = s.MaskedPaths
	}
	if s.ReadonlyPaths != nil {
		l.ReadonlyPaths = s.ReadonlyPaths
	}
	return nil
}

// sysctls are the release's and then the user's, which must belong to a namespace that is made.
func (m *maker) sysctls() error {
	ctl := map[string]string{}
	open := m.d.openPorts && m.makes(specs.NetworkNamespace)
	if open && m.nested() && !m.makes(specs.PIDNamespace) {
		open = false // /proc is the host's, in which nothing is to be written
		if m.user.UID != 0 {
			m.warn("--pid host", "ports below 1024 stay closed to user %d: /proc/sys is this machine's", m.user.UID)
		}
	}
	if open {
		ctl["net.ipv4.ip_unprivileged_port_start"] = "0"
		if !m.nested() {
			ctl["net.ipv4.ping_group_range"] = "0 2147483647" // EINVAL where a group is not mapped (ipv4_ping_group_range)
		}
	}
	for name, v := range m.w.Sysctls {
		kind := specs.IPCNamespace
		if strings.HasPrefix(name, "net.") {
			kind = specs.NetworkNamespace
		}
		if !m.makes(kind) {
			return fmt.Errorf("sysctl %q not allowed in host %s namespace", name, kind)
		}
		ctl[name] = v
	}
	if len(ctl) > 0 {
		m.spec.Linux.Sysctl = ctl
	}
	return nil
}

// seccomp resolves the profile for the capabilities that the container really has.
func (m *maker) seccomp() error {
	s := m.w.Security
	switch {
	case s.Seccomp == "unconfined",
		s.Privileged && s.Seccomp == "",
		s.Privileged && !m.d.privilegedSec:
		return nil
	case !m.f.Features.Seccomp && s.Seccomp != "" && s.Seccomp != "builtin":
		return errors.New("seccomp is not enabled in your kernel, cannot run a custom seccomp profile")
	case !m.f.Features.Seccomp:
		m.warn("seccomp", "not enabled in this kernel: running without a filter")
		return nil
	}
	var p *profile.Profile
	var err error
	if s.SeccompDoc != nil {
		var warns []profile.Warning
		p, warns, err = profile.Parse(s.Seccomp, s.SeccompDoc)
		for _, w := range warns {
			m.warn(s.Seccomp, "%s", w)
		}
	} else {
		as := m.w.As
		switch engine, _, _ := strings.Cut(as, ":"); engine {
		case "":
			as = "docker"
		case "kubernetes": // RuntimeDefault is the runtime's
			as = "containerd"
		}
		p, err = profile.Builtin(as)
	}
	if err != nil {
		return err
	}
	m.spec.Linux.Seccomp = p.OCI(profile.Conditions{Caps: setOf(m.spec.Process.Capabilities.Bounding), Arch: m.f.Arch, Kernel: m.f.Kernel})
	return nil
}

// lsm says under which label the process runs, where the machine has a module that labels.
func (m *maker) lsm() error {
	s := m.w.Security
	switch {
	case m.f.AppArmor && s.AppArmor != "":
		m.spec.Process.ApparmorProfile = s.AppArmor
	case m.f.AppArmor && s.Privileged:
		m.spec.Process.ApparmorProfile = "unconfined"
	case m.f.AppArmor && m.opt.AppArmor != "":
		m.spec.Process.ApparmorProfile = m.opt.AppArmor
	case m.f.AppArmor:
		m.warn("apparmor", "no profile for containers is loaded on this machine: running unconfined")
	case s.AppArmor != "" && s.AppArmor != "unconfined":
		m.warn("--security-opt apparmor="+s.AppArmor, "this machine has no AppArmor")
	}
	// Who shares the host's processes or memory runs without a label (daemon/create.go, generateSecurityOpt).
	disabled := slices.Contains(s.Labels, "disable") || m.w.NS.PID == "host" || m.w.NS.IPC == "host"
	if m.f.SELinux && !disabled && !s.Privileged {
		m.warn("selinux", "porthole sets no labels: running under its own")
	} else if !m.f.SELinux && !disabled && len(s.Labels) > 0 {
		m.warn("--security-opt label="+s.Labels[0], "this machine has no SELinux")
	}
	return nil
}
