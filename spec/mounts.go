package spec

import (
	"errors"
	"fmt"
	"path"
	"slices"
	"strconv"
	"strings"

	specs "github.com/opencontainers/runtime-spec/specs-go"

	"porthole/workload"
)

// Volume is a volume that a container wants: the engine makes or finds its directory and
// hands it to Make in Options.Volumes.
type Volume struct {
	Name   string // "" is an anonymous one, which goes with its container
	Target string
	Copy   bool // when new, it is filled with what the image has at Target
	Refer  string
}

// Volumes lists the volumes of a container, those that its image declares last.
func Volumes(w workload.Workload, img Image) (vs []Volume) {
	taken := map[string]bool{}
	for _, m := range w.Mounts {
		taken[path.Clean(m.Target)] = true
		if m.Type == workload.Volume {
			vs = append(vs, Volume{Name: m.Source, Target: path.Clean(m.Target), Copy: !m.NoCopy, Refer: m.Refer})
		}
	}
	for _, target := range img.Volumes {
		if target = path.Clean("/" + target); !taken[target] {
			vs = append(vs, Volume{Target: target, Copy: true, Refer: "the image's volume " + target})
			taken[target] = true
		}
	}
	return vs
}

const shmSize = 64 << 20

func mount(target, kind, source string, options ...string) specs.Mount {
	return specs.Mount{Destination: target, Type: kind, Source: source, Options: options}
}

// mounts are Docker's (oci/defaults.go, and withMounts in daemon/oci_linux.go): the system's
// own first, but for those that the user mounts over, and then the user's, by depth.
func (m *maker) mounts() error {
	user, err := m.userMounts()
	if err != nil {
		return err
	}
	over := map[string]bool{}
	for _, u := range user {
		over[u.Destination] = true
	}
	ms := slices.DeleteFunc(m.systemMounts(), func(s specs.Mount) bool {
		return over[s.Destination] || over["/dev"] && strings.HasPrefix(s.Destination, "/dev/")
	})
	if m.init() {
		ms = append(ms, mount(InitPath, "bind", m.opt.Init, "bind", "ro"))
	}
	ms = append(ms, user...)
	for i := range ms {
		s := &ms[i]
		switch s.Destination {
		case "/proc", "/dev", "/dev/pts", "/dev/shm", "/dev/mqueue":
			continue
		}
		// What the system mounts is as read-only as the root filesystem is.
		if m.w.Root.ReadOnly && (!over[s.Destination] || m.etc(s.Destination)) && !slices.Contains(s.Options, "ro") {
			s.Options = append(s.Options, "ro")
		}
	}
	m.spec.Mounts = ms
	return nil
}

// etc reports whether target is one of the three files that the engine brings and the user does not.
func (m *maker) etc(target string) bool {
	if slices.ContainsFunc(m.w.Mounts, func(u workload.Mount) bool { return path.Clean(u.Target) == target }) {
		return false
	}
	return target == "/etc/resolv.conf" || target == "/etc/hostname" || target == "/etc/hosts"
}

func (m *maker) systemMounts() []specs.Mount {
	s := m.w.Security
	sys := mount("/sys", "sysfs", "sysfs", "nosuid", "noexec", "nodev", "ro")
	cgroup := mount("/sys/fs/cgroup", "cgroup", "cgroup", "ro", "nosuid", "noexec", "nodev")
	writable := s.WritableCgroups != nil && *s.WritableCgroups
	if s.Privileged {
		sys.Options = sys.Options[:3]
	}
	if s.Privileged || writable {
		cgroup.Options = cgroup.Options[1:]
	}
	size := m.w.Limits.ShmSize
	if size == 0 {
		size = shmSize
	}
	ms := []specs.Mount{
		mount("/proc", "proc", "proc", "nosuid", "noexec", "nodev"),
		mount("/dev", "tmpfs", "tmpfs", "nosuid", "strictatime", "mode=755", "size=65536k"),
		mount("/dev/pts", "devpts", "devpts", "nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"),
		sys, cgroup,
		mount("/dev/mqueue", "mqueue", "mqueue", "nosuid", "noexec", "nodev"),
	}
	switch m.w.NS.IPC {
	case "none", "host": // none has no /dev/shm; host has this machine's, among the user's
	default:
		ms = append(ms, mount("/dev/shm", "tmpfs", "shm", "nosuid", "noexec", "nodev", "mode=1777", "size="+strconv.FormatInt(size, 10)))
	}
	return m.rootlessMounts(ms)
}

// userMounts are those that differ from container to container, the shallowest first.
func (m *maker) userMounts() (ms []specs.Mount, err error) {
	for _, u := range m.w.Mounts {
		target := path.Clean(u.Target)
		if !path.IsAbs(target) || target == "/" {
			return nil, fmt.Errorf("%s: destination %q must be absolute and not /", u.Refer, u.Target)
		}
		switch u.Type {
		case workload.Tmpfs:
			s, err := m.tmpfs(u, target)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", u.Refer, err)
			}
			ms = append(ms, s)
		case workload.Bind, workload.Volume:
			source := u.Source
			if u.Type == workload.Volume {
				if source = m.opt.Volumes[target]; source == "" {
					return nil, fmt.Errorf("%s: no directory was given for this volume", u.Refer)
				}
			}
			s, err := m.bind(u, source, target)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", u.Refer, err)
			}
			ms = append(ms, s)
		default:
			return nil, fmt.Errorf("%s: mount type %q unknown", u.Refer, u.Type)
		}
		if u.Relabel != "" && m.f.SELinux {
			m.warn(u.Refer, "porthole sets no SELinux labels: %s is not labelled", u.Source)
		}
	}
	taken := func(target string) bool {
		return slices.ContainsFunc(ms, func(s specs.Mount) bool { return s.Destination == target })
	}
	for _, v := range Volumes(m.w, m.img) {
		if !taken(v.Target) {
			if m.opt.Volumes[v.Target] == "" {
				return nil, fmt.Errorf("%s: no directory was given for this volume", v.Refer)
			}
			ms = append(ms, mount(v.Target, "bind", m.opt.Volumes[v.Target], "rbind", "rprivate"))
		}
	}
	if m.w.NS.IPC == "host" && !taken("/dev/shm") {
		ms = append(ms, mount("/dev/shm", "bind", "/dev/shm", "rbind", "rprivate"))
	}
	for _, file := range []struct{ target, source string }{
		{"/etc/resolv.conf", m.opt.ResolvConf}, {"/etc/hostname", m.opt.HostNameFile}, {"/etc/hosts", m.opt.Hosts},
	} {
		if file.source != "" && !taken(file.target) {
			ms = append(ms, mount(file.target, "bind", file.source, "rbind", "rprivate"))
		}
	}
	slices.SortStableFunc(ms, func(a, b specs.Mount) int {
		return strings.Count(a.Destination, "/") - strings.Count(b.Destination, "/")
	})
	return ms, nil
}

func (m *maker) bind(u workload.Mount, source, target string) (specs.Mount, error) {
	s := mount(target, "bind", source, "rbind")
	if u.NonRecursive {
		s.Options[0] = "bind"
	}
	if u.ReadOnly {
		// Read-only all the way down needs mount_setattr(AT_RECURSIVE), Linux 5.12.
		ro := "ro"
		switch {
		case u.SubReadOnly == "yes" && !m.f.Features.MountSetattr:
			return s, errors.New("bind-recursive=readonly: this kernel cannot make mounts beneath read-only (mount_setattr, Linux 5.12)")
		case u.SubReadOnly == "yes", u.SubReadOnly == "" && !u.NonRecursive && m.d.subReadOnly && m.f.Features.MountSetattr:
			ro = "rro"
		}
		s.Options = append(s.Options, ro)
	}
	propagation := u.Propagation
	if propagation == "" {
		propagation = "rprivate"
	}
	// Mounts go out of, or into, a container only if its root takes part.
	root := &m.spec.Linux.RootfsPropagation
	switch propagation {
	case "shared", "rshared":
		*root = "shared"
	case "slave", "rslave":
		if *root != "shared" {
			*root = "rslave"
		}
	}
	s.Options = append(append(s.Options, propagation), u.Options...)
	return s, nil
}

// tmpfs has Docker's defaults, of which the user's options replace those they contradict.
func (m *maker) tmpfs(u workload.Mount, target string) (specs.Mount, error) {
	options := []string{"noexec", "nosuid", "nodev", "rprivate"}
	if u.ReadOnly {
		options = append(options, "ro")
	}
	if u.Mode != nil {
		options = append(options, fmt.Sprintf("mode=%o", *u.Mode))
	}
	if u.Size != 0 {
		options = append(options, "size="+strconv.FormatInt(u.Size, 10))
	}
	options = append(options, u.Options...)
	if u.Propagation != "" {
		options = append(options, u.Propagation)
	}
	// Of the same kind the last one counts, where it stands.
	var merged []string
	seen := map[string]bool{}
	for _, o := range slices.Backward(options) {
		name, _, data := strings.Cut(o, "=")
		kind := optionKind(name)
		if o == "defaults" || o == "rw" && !seen[kind] || seen[kind] {
			seen[kind] = seen[kind] || o == "rw"
			continue
		}
		if data && name == "" {
			return specs.Mount{}, fmt.Errorf("invalid tmpfs option %q", o)
		}
		seen[kind] = true
		merged = append(merged, o)
	}
	slices.Reverse(merged)
	return mount(target, "tmpfs", "tmpfs", merged...), nil
}

// optionKind names what a mount option and its opposite are about.
func optionKind(name string) string {
	switch name {
	case "ro", "rw":
		return "write"
	case "async":
		return "sync"
	case "private", "rprivate", "shared", "rshared", "slave", "rslave", "unbindable", "runbindable":
		return "propagation"
	case "nodiratime", "diratime":
		return "diratime"
	case "atime", "noatime", "relatime", "norelatime", "strictatime", "nostrictatime":
		return "atime"
	}
	return strings.TrimPrefix(name, "no")
}
