package ocicli

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"porthole/caps"
	"porthole/facts"
	"porthole/internal/engine/container"
	"porthole/internal/host/cgroup"
	"porthole/internal/host/nofile"
	"porthole/seccomp"
	"porthole/seccomp/profile"
)

// configFile is a bundle's, and what a container's directory keeps of it.
const configFile = "config.json"

// bundle is a container's configuration, made ready for this machine.
type bundle struct {
	dir  string
	raw  []byte
	spec *specs.Spec
	sec  *seccomp.Policy
	bare bool // nothing to run is set: there may be a container, and no start
}

// readBundle reads the configuration in dir; file names another one than config.json.
func readBundle(dir, file string, f facts.Facts) (*bundle, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, err
	}
	if file == "" {
		file = configFile
	}
	if !filepath.IsAbs(file) {
		file = filepath.Join(dir, file)
	}
	b := &bundle{dir: dir}
	if b.raw, err = os.ReadFile(file); errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("JSON specification file %s not found", file)
	} else if err != nil {
		return nil, err
	}
	if b.spec, err = parse(b.raw); err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	if err := b.settle(f); err != nil {
		return nil, err
	}
	return b, nil
}

// keptBundle reads what a container was made from out of its own directory.
func keptBundle(dir string, s *container.State, f facts.Facts) (*bundle, error) {
	if s.Bundle == nil {
		return nil, errors.New("the container was not made by " + name)
	}
	b := &bundle{dir: s.Bundle.Dir}
	var err error
	if b.raw, err = os.ReadFile(filepath.Join(dir, configFile)); err != nil {
		return nil, err
	}
	if b.spec, err = parse(b.raw); err != nil {
		return nil, fmt.Errorf("%s: %w", filepath.Join(dir, configFile), err)
	}
	return b, b.settle(f)
}

// parse reads a configuration as far as it can be judged without the machine.
func parse(data []byte) (*specs.Spec, error) {
	s := &specs.Spec{}
	if err := json.Unmarshal(data, s); err != nil {
		return nil, where(data, err)
	}
	minor, err := minorVersion(s.Version)
	switch {
	case err != nil:
		return nil, err
	case s.Process != nil && len(s.Process.Args) == 0:
		return nil, errors.New("process.args: empty: there is nothing to run")
	case s.Root == nil || s.Root.Path == "":
		return nil, errors.New("root.path: missing")
	case s.Linux == nil:
		return nil, errors.New("linux: missing: this is not a Linux container")
	}
	if err := checkMemory(s.Linux.Resources); err != nil {
		return nil, fmt.Errorf("linux.resources.%w", err)
	}
	if minor == 0 && s.Process != nil && s.Process.Capabilities != nil {
		if err := checkCaps(s.Process.Capabilities); err != nil {
			return nil, err
		}
	}
	if err := container.CheckNetDevices(s.Linux.NetDevices); err != nil {
		return nil, err
	}
	return s, container.CheckHooks(s.Hooks)
}

// checkMemory refuses amounts that are none: -1 is no limit, and nothing else below 0 means anything.
func checkMemory(r *specs.LinuxResources) error {
	if r == nil || r.Memory == nil {
		return nil
	}
	m := r.Memory
	for _, l := range []struct {
		name  string
		value *int64
	}{{"limit", m.Limit}, {"reservation", m.Reservation}, {"swap", m.Swap}} {
		if l.value != nil && *l.value < -1 {
			return fmt.Errorf("memory.%s: %d: want bytes, or -1 for no limit", l.name, *l.value)
		}
	}
	return nil
}

// minorVersion reads an ociVersion, of which the first number is 1. None at all is taken for the newest.
func minorVersion(v string) (int, error) {
	if v == "" {
		return 1, nil
	}
	var major, minor, patch int
	if n, err := fmt.Sscanf(v, "%d.%d.%d", &major, &minor, &patch); n != 3 || err != nil || major != 1 || minor < 0 || patch < 0 {
		return 0, fmt.Errorf("ociVersion: %q: want 1.x.y", v)
	}
	return minor, nil
}

// checkCaps refuses names that no kernel has. Up to version 1.0.2 the runtime spec wants that; from 1.1 on what cannot
// be granted is left out with a warning (config.md, "Linux Process").
func checkCaps(c *specs.LinuxCapabilities) error {
	for _, set := range []struct {
		name string
		list []string
	}{{"bounding", c.Bounding}, {"effective", c.Effective}, {"inheritable", c.Inheritable}, {"permitted", c.Permitted}, {"ambient", c.Ambient}} {
		for i, name := range set.list {
			if _, err := caps.Parse(name); err != nil {
				return fmt.Errorf("process.capabilities.%s[%d]: %w", set.name, i, err)
			}
		}
	}
	return nil
}

// where adds to what package json says where in the document it is.
func where(data []byte, err error) error {
	at := func(offset int64) string {
		before := data[:min(max(int(offset)-1, 0), len(data))]
		return fmt.Sprintf("line %d, column %d", 1+bytes.Count(before, []byte("\n")), len(before)-bytes.LastIndexByte(before, '\n'))
	}
	var syntax *json.SyntaxError
	var kind *json.UnmarshalTypeError
	switch {
	case errors.As(err, &kind):
		return fmt.Errorf("%s: %s: a JSON %s where a %v belongs", at(kind.Offset), kind.Field, kind.Value, kind.Type)
	case errors.As(err, &syntax):
		return fmt.Errorf("%s: %w", at(syntax.Offset), err)
	}
	return err
}

// settle makes the paths absolute that are relative to the bundle, and compiles the filter's policy.
func (b *bundle) settle(f facts.Facts) error {
	s := b.spec
	if b.bare = s.Process == nil; b.bare {
		s.Process = &specs.Process{Cwd: "/", Args: []string{""}}
	}
	if !filepath.IsAbs(s.Root.Path) {
		s.Root.Path = filepath.Join(b.dir, s.Root.Path)
	}
	for i := range s.Mounts {
		m := &s.Mounts[i]
		bind := m.Type == "bind" || slices.Contains(m.Options, "bind") || slices.Contains(m.Options, "rbind")
		if bind && m.Source != "" && !filepath.IsAbs(m.Source) {
			m.Source = filepath.Join(b.dir, m.Source)
		}
	}
	var err error
	b.sec, err = policy(s.Linux.Seccomp, f)
	return err
}

// policy is the filter that a configuration asks for; nil where it asks for none.
func policy(s *specs.LinuxSeccomp, f facts.Facts) (*seccomp.Policy, error) {
	if s == nil {
		return nil, nil
	}
	doc, err := profile.FromOCI(s)
	if err != nil {
		return nil, err
	}
	p, _ := doc.Resolve(profile.Conditions{Arch: f.Arch, Kernel: f.Kernel})
	if s.ListenerPath == "" && notifies(&p) {
		return nil, errors.New("linux.seccomp.listenerPath: missing: there is a rule SCMP_ACT_NOTIFY and nobody to notify")
	}
	return &p, nil
}

func notifies(p *seccomp.Policy) bool {
	return slices.ContainsFunc(p.Rules, func(r seccomp.Rule) bool { return r.Action == seccomp.Notify })
}

// making are what a command line says of a container's making.
type making struct {
	id, bundle, file, console, pidFile string
	pidfdSocket                        string
	noPivot, noKeyring                 bool
	preserve                           int
	notify                             string // NOTIFY_SOCKET
}

func (m *making) flags(f *flags) {
	f.StringVar(&m.bundle, "bundle", ".", "`directory` with the container's configuration and root filesystem")
	f.alias("bundle", "b")
	f.StringVar(&m.file, "config", "", "`file` with the configuration, where that is not config.json")
	f.alias("config", "f")
	f.StringVar(&m.console, "console-socket", "", "unix `socket` to send the master of the container's terminal to")
	f.StringVar(&m.pidFile, "pid-file", "", "`file` to write the number of the container's process to")
	f.StringVar(&m.pidfdSocket, "pidfd-socket", "", "unix `socket` to send a pidfd of the container's process to")
	f.BoolVar(&m.noPivot, "no-pivot", false, "move the root over \"/\" instead of pivot_root, for an initramfs")
	f.BoolVar(&m.noKeyring, "no-new-keyring", false, "leave the container the caller's session keyring")
	f.IntVar(&m.preserve, "preserve-fds", 0, "hand on so many `files` from 3 on")
	m.notify = os.Getenv("NOTIFY_SOCKET")
}

// inherited counts the files from 3 on that are handed on, LISTEN_FDS among them, and sees that they are there.
func inherited(preserve int, env *[]string) (int, error) {
	listen := 0
	if s := os.Getenv("LISTEN_FDS"); s != "" {
		if _, err := fmt.Sscanf(s, "%d", &listen); err != nil || listen < 0 {
			return 0, fmt.Errorf("LISTEN_FDS=%q is no number of files", s)
		}
		*env = append(*env, "LISTEN_FDS="+s, "LISTEN_PID=1")
	}
	for fd := 3; fd < 3+listen+preserve; fd++ {
		if flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0); err != nil || flags&unix.FD_CLOEXEC != 0 {
			return 0, fmt.Errorf("--preserve-fds: file %d is not open", fd)
		}
	}
	return listen + preserve, nil
}

// config is what the container package makes a container of.
func (b *bundle) config(a *app, m making, f facts.Facts) (container.Config, error) {
	s := b.spec
	if a.ungrouped {
		if l := bounded(s.Linux.Resources); l != "" {
			return container.Config{}, fmt.Errorf("linux.resources.%s: needs a control group, and --cgroup-manager=disabled wants none", l)
		}
		s.Linux.CgroupsPath = ""
	} else if s.Linux.CgroupsPath == "" {
		s.Linux.CgroupsPath = cgroup.Default(m.id, f.UID != 0 || !f.UserNS.Initial)
		if a.systemd {
			s.Linux.CgroupsPath = ":porthole:" + m.id
		}
	}
	if l := s.Linux; b.makes(specs.UserNamespace) && len(l.UIDMappings)+len(l.GIDMappings) == 0 {
		l.UIDMappings, l.GIDMappings = ownIDs(f.UID, f.SubUID, f.NewUIDMap), ownIDs(f.GID, f.SubGID, f.NewGIDMap)
	}
	if st, err := os.Stat(s.Root.Path); err != nil {
		return container.Config{}, fmt.Errorf("root.path: %w", err)
	} else if !st.IsDir() {
		return container.Config{}, fmt.Errorf("root.path: %s is not a directory", s.Root.Path)
	}
	real, err := filepath.EvalSymlinks(s.Root.Path)
	if err != nil {
		return container.Config{}, fmt.Errorf("root.path: %w", err)
	}
	s.Root.Path = real
	c := container.Config{
		Spec: s, Facts: f, Policy: b.sec, Filters: filters(), NoFile: nofile.Limit(),
		Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr, ChownStdio: givable(),
		OCI: &container.OCI{Config: b.raw, Systemd: a.systemd, NoPivot: m.noPivot, NoKeyring: m.noKeyring, NetDevices: s.Linux.NetDevices, Bundle: container.Bundle{
			OCIVersion: s.Version, Dir: b.dir, Rootfs: real, Annotations: s.Annotations, UID: os.Geteuid(),
			Hooks: s.Hooks, Listener: b.listens(), Bare: b.bare,
			SharedPIDs: !b.makes(specs.PIDNamespace), SharedMounts: !b.makes(specs.MountNamespace),
		}},
	}
	if m.notify != "" {
		notified(s, m.notify, filepath.Join(a.root, m.id))
		c.OCI.Bundle.Notify = m.notify
	}
	if s.Process.Env, err = environ(s.Process.Env, func() string { return homeBefore(s) }); err != nil {
		return c, err
	}
	c.Inherit, err = inherited(m.preserve, &s.Process.Env)
	return c, err
}

// ownIDs are the ids of a user namespace that is asked for without saying which: root is whoever calls us, and then come
// those that the user has been given, as crun has it. Without the helper they are of no use.
func ownIDs(id int, given []facts.IDRange, helper string) []specs.LinuxIDMapping {
	ids := []specs.LinuxIDMapping{{ContainerID: 0, HostID: uint32(id), Size: 1}}
	for _, r := range given {
		if helper != "" {
			ids = append(ids, specs.LinuxIDMapping{ContainerID: r.Inside, HostID: r.Outside, Size: r.Size})
		}
	}
	return ids
}

// foreign says which annotations another runtime would heed. crun's begin with "run.oci."
func foreign(annotations map[string]string) (notes []string) {
	for _, k := range slices.Sorted(maps.Keys(annotations)) {
		if strings.HasPrefix(k, "run.oci.") && k != container.KeepGroups {
			notes = append(notes, fmt.Sprintf("annotations: %s is crun's own, and has no effect", k))
		}
	}
	return notes
}

// bounded is a member of r that bounds what a container may use; "" where there is none. Which devices it may use is
// not asked: the nodes that it has are all there are.
func bounded(r *specs.LinuxResources) string {
	if r == nil {
		return ""
	}
	for _, l := range []struct {
		name string
		is   bool
	}{
		{"memory", r.Memory != nil}, {"cpu", r.CPU != nil}, {"pids", r.Pids != nil && r.Pids.Limit != nil && *r.Pids.Limit > 0},
		{"blockIO", r.BlockIO != nil}, {"hugepageLimits", len(r.HugepageLimits) > 0}, {"network", r.Network != nil},
		{"rdma", len(r.Rdma) > 0}, {"unified", len(r.Unified) > 0},
	} {
		if l.is {
			return l.name
		}
	}
	return ""
}

// filters is where compiled filters are kept, whichever root the containers have.
func filters() container.Filters { return container.Filters(defaultRoot() + "-filters") }

// makes says that the container has a new namespace of this kind.
func (b *bundle) makes(t specs.LinuxNamespaceType) bool {
	return slices.ContainsFunc(b.spec.Linux.Namespaces, func(n specs.LinuxNamespace) bool { return n.Type == t && n.Path == "" })
}

// listens says that somebody is told of calls that the filter stops.
func (b *bundle) listens() bool {
	return b.sec != nil && b.spec.Linux.Seccomp.ListenerPath != "" && notifies(b.sec)
}

// givable says which of our standard files may be given to the program's user: what the engine made for it, and
// not a device.
func givable() (g [3]bool) {
	for fd := range g {
		var st unix.Stat_t
		g[fd] = unix.Fstat(fd, &st) == nil && st.Mode&unix.S_IFMT != unix.S_IFCHR && st.Mode&unix.S_IFMT != unix.S_IFREG
	}
	return g
}
