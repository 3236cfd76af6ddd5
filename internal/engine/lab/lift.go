package lab

import (
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"

	specs "github.com/opencontainers/runtime-spec/specs-go"

	"porthole/caps"
	"porthole/internal/engine/container"
	"porthole/seccomp"
	"porthole/seccomp/profile"
	"porthole/why"
	"porthole/workload"
)

// change is what lifts a factor: in what is asked for, where the rest must follow from it (a
// capability that brings its calls along), or in what is made of it.
type change struct {
	workload func(*workload.Workload)
	config   func(*container.Config) error
	undo     func() // takes away what config made
}

func config(f func(*container.Config)) (change, error) {
	return change{config: func(c *container.Config) error { f(c); return nil }}, nil
}

// lift says how to lift f from the first run's container; the error is why that cannot be done here.
func (l *Lab) lift(f why.Factor) (change, error) {
	s := l.base.Spec
	switch f.Kind {
	case why.FilterRule:
		return config(func(c *container.Config) { c.Policy = allow(c.Policy, f.Call) })
	case why.FilterOff:
		return config(func(c *container.Config) { c.Policy = nil })
	case why.CapHeld:
		if missing := f.Caps.Without(l.gives()); missing != 0 {
			return change{}, fmt.Errorf("porthole itself has not %s", missing)
		}
		return config(func(c *container.Config) { hold(c.Spec.Process, f.Caps) })
	case why.CapGranted:
		if missing := f.Caps.Without(l.gives()); missing != 0 {
			return change{}, fmt.Errorf("porthole itself has not %s", missing)
		}
		return change{workload: func(w *workload.Workload) { grant(&w.Security, f.Caps) }}, nil
	case why.NNPOff:
		return config(func(c *container.Config) { c.Spec.Process.NoNewPrivileges = false })
	case why.Root:
		return config(func(c *container.Config) { becomeRoot(c.Spec.Process) })
	case why.LSMOff:
		if s.Process.ApparmorProfile == "" && s.Process.SelinuxLabel == "" {
			return change{}, errors.New("no label is set here")
		}
		return config(func(c *container.Config) { unlabel(c.Spec.Process) })
	case why.Unmask:
		if !slices.ContainsFunc(s.Linux.MaskedPaths, func(m string) bool { return covers(m, f.Path) }) {
			return change{}, fmt.Errorf("%s is not masked here", f.Path)
		}
		return config(func(c *container.Config) {
			c.Spec.Linux.MaskedPaths = slices.DeleteFunc(slices.Clone(c.Spec.Linux.MaskedPaths), func(m string) bool { return covers(m, f.Path) })
		})
	case why.WritePath:
		return l.writable(f.Path)
	case why.SystemPaths:
		// A user who is not root can write nothing there, unless a setuid program makes him root.
		user := s.Process.User.UID != 0
		if !l.ownUsers() && !user {
			return change{}, errReaches("its sysctls and /proc/sysrq-trigger")
		}
		return config(func(c *container.Config) {
			c.Spec.Linux.MaskedPaths, c.Spec.Linux.ReadonlyPaths = nil, nil
			c.Spec.Process.NoNewPrivileges = c.Spec.Process.NoNewPrivileges || !l.ownUsers()
		})
	case why.MountFlag:
		return l.mountFlag(f.Path, f.Name)
	case why.DeviceRule:
		return l.device(f.Name, f.Path)
	case why.RlimitSet:
		return l.rlimit(f)
	case why.SysctlSet:
		return l.sysctl(f.Name, f.Value)
	case why.NewUserNS:
		return l.newUserNS()
	case why.HostUserNS:
		if len(l.base.Spec.Linux.UIDMappings) == 0 {
			return change{}, errors.New("it has no user namespace of its own")
		}
		return change{}, errors.New("without root a container needs its user namespace")
	case why.FileCapsOff:
		return l.fileCapsOff(f.Path)
	case why.Everything:
		return l.everything()
	}
	return change{}, fmt.Errorf("nothing here lifts %s", f.Kind)
}

func errReaches(what string) error { return fmt.Errorf("it would reach the machine itself: %s", what) }

// gives are the capabilities that a container can have here.
func (l *Lab) gives() caps.Set {
	if l.ownUsers() && l.base.Facts.UserNS.Initial && len(l.base.Spec.Linux.UIDMappings) > 0 {
		return all() // whoever makes a user namespace has every one in it
	}
	return l.base.Facts.Caps.Bounding
}

func all() (s caps.Set) {
	for c := caps.Cap(0); c <= caps.Last; c++ {
		s = s.Add(c)
	}
	return s
}

// ownUsers says that root inside is not the machine's root: /proc/sys and devices stay what they are.
func (l *Lab) ownUsers() bool {
	return len(l.base.Spec.Linux.UIDMappings) > 0 || !l.base.Facts.UserNS.Initial
}

// allow lets a call through before any other rule is asked.
func allow(p *seccomp.Policy, call profile.Call) *seccomp.Policy {
	if p == nil {
		return nil
	}
	r := seccomp.Rule{Name: call.Name, Action: seccomp.Allow, From: -1}
	for i, a := range call.Args {
		if a.Known {
			r.Conds = append(r.Conds, seccomp.Cond{Arg: uint8(i), Op: seccomp.EQ, Value: a.Value})
		}
	}
	q := *p
	q.Rules = append([]seccomp.Rule{r}, p.Rules...)
	return &q
}

// hold puts capabilities into every set from which the program has them in effect, and leaves
// the filter alone.
func hold(p *specs.Process, set caps.Set) {
	c := specs.LinuxCapabilities{}
	if p.Capabilities != nil {
		c = *p.Capabilities
	}
	add := func(names []string) []string { return parseCaps(names).Union(set).Names() }
	c.Bounding, c.Permitted, c.Effective = add(c.Bounding), add(c.Permitted), add(c.Effective)
	if p.User.UID != 0 {
		c.Inheritable, c.Ambient = add(c.Inheritable), add(c.Ambient)
	}
	p.Capabilities = &c
}

// grant is --cap-add.
func grant(s *workload.Security, set caps.Set) {
	s.CapAdd = append(slices.Clone(s.CapAdd), set.Names()...)
	s.CapDrop = slices.DeleteFunc(slices.Clone(s.CapDrop), func(name string) bool {
		c, err := caps.Parse(name)
		return err == nil && set.Has(c)
	})
}

// becomeRoot is uid and gid 0, with the capabilities that the container's root has.
func becomeRoot(p *specs.Process) {
	p.User = specs.User{UID: 0, GID: 0, Umask: p.User.Umask}
	if c := p.Capabilities; c != nil {
		d := *c
		d.Effective, d.Permitted, d.Ambient = c.Bounding, c.Bounding, nil
		p.Capabilities = &d
	}
}

func unlabel(p *specs.Process) {
	if p.ApparmorProfile != "" {
		p.ApparmorProfile = "unconfined"
	}
	p.SelinuxLabel = ""
}

// covers says that path is at, or beneath, m.
func covers(m, p string) bool {
	m, p = path.Clean(m), path.Clean(p)
	return m == p || m == "/" || strings.HasPrefix(p, m+"/")
}

// writable takes away what makes a path read-only: an entry of the read-only paths, a mount's
// flag, or the root filesystem's. Where that is the machine's own (/proc/sys), root's laboratory refuses.
func (l *Lab) writable(p string) (change, error) {
	s := l.base.Spec
	if i := slices.IndexFunc(s.Linux.ReadonlyPaths, func(r string) bool { return covers(r, p) }); i >= 0 {
		if !l.ownUsers() {
			return change{}, errReaches(s.Linux.ReadonlyPaths[i])
		}
		return config(func(c *container.Config) {
			c.Spec.Linux.ReadonlyPaths = slices.DeleteFunc(slices.Clone(c.Spec.Linux.ReadonlyPaths), func(r string) bool { return covers(r, p) })
		})
	}
	m := mountOf(s, p)
	switch {
	case m < 0 && s.Root != nil && s.Root.Readonly:
		return config(func(c *container.Config) { c.Spec.Root.Readonly = false })
	case m < 0:
		return change{}, fmt.Errorf("%s is not read-only here", p)
	case s.Mounts[m].Type == "sysfs" || s.Mounts[m].Type == "cgroup" || s.Mounts[m].Type == "proc" || s.Mounts[m].Type == "bind":
		return change{}, errReaches(s.Mounts[m].Destination)
	}
	return l.mountFlag(s.Mounts[m].Destination, "ro")
}

// mountOf is the index of the mount that holds p; -1: the root filesystem does.
func mountOf(s *specs.Spec, p string) int {
	best := -1
	for i, m := range s.Mounts {
		if covers(m.Destination, p) && (best < 0 || len(m.Destination) >= len(s.Mounts[best].Destination)) {
			best = i
		}
	}
	return best
}

var unflag = map[string]string{"ro": "rw", "nosuid": "suid", "nodev": "dev", "noexec": "exec"}

func (l *Lab) mountFlag(at, flag string) (change, error) {
	off, ok := unflag[flag]
	i := mountOf(l.base.Spec, at)
	if !ok || i < 0 || l.base.Spec.Mounts[i].Destination != path.Clean(at) {
		return change{}, fmt.Errorf("%s is no mount of the container's own", at)
	}
	return config(func(c *container.Config) {
		c.Spec.Mounts = slices.Clone(c.Spec.Mounts)
		for i := range c.Spec.Mounts {
			m := &c.Spec.Mounts[i]
			if m.Destination != path.Clean(at) {
				continue
			}
			m.Options = append(slices.DeleteFunc(slices.Clone(m.Options), func(o string) bool { return o == flag }), off)
		}
	})
}

// sysctl sets what belongs to a namespace that the container has of its own.
func (l *Lab) sysctl(name, value string) (change, error) {
	kind := specs.LinuxNamespaceType("")
	switch {
	case strings.HasPrefix(name, "net."):
		kind = specs.NetworkNamespace
	case strings.HasPrefix(name, "kernel.shm"), strings.HasPrefix(name, "kernel.msg"), name == "kernel.sem", strings.HasPrefix(name, "fs.mqueue."):
		kind = specs.IPCNamespace
	}
	own := slices.ContainsFunc(l.base.Spec.Linux.Namespaces, func(n specs.LinuxNamespace) bool { return n.Type == kind && n.Path == "" })
	if !own {
		return change{}, errReaches("sysctl " + name + " is not one of the container's own namespaces")
	}
	return config(func(c *container.Config) {
		m := map[string]string{}
		for k, v := range c.Spec.Linux.Sysctl {
			m[k] = v
		}
		m[name] = value
		c.Spec.Linux.Sysctl = m
	})
}

// everything lifts all that can be lifted without reaching the machine itself.
func (l *Lab) everything() (change, error) {
	mine := l.gives()
	return config(func(c *container.Config) {
		p := c.Spec.Process
		p.User = specs.User{UID: 0, GID: 0, Umask: p.User.Umask}
		hold(p, mine)
		p.NoNewPrivileges = false
		unlabel(p)
		c.Policy = nil
		c.Spec.Linux.MaskedPaths = nil
		if l.ownUsers() {
			c.Spec.Linux.ReadonlyPaths = nil
		}
		if r := c.Spec.Linux.Resources; r != nil && r.Devices != nil {
			q := *r
			q.Devices = append(slices.Clone(r.Devices), safeDevices...)
			c.Spec.Linux.Resources = &q
		}
		unlimit(c.Spec, true, true)
		c.Spec.Process.Rlimits = nil // what is ours
		c.Spec.Linux.Sysctl = opened(c.Spec.Linux.Sysctl)
		c.Spec.Root.Readonly = false
		c.Spec.Mounts = slices.Clone(c.Spec.Mounts)
		for i := range c.Spec.Mounts {
			m := &c.Spec.Mounts[i]
			if m.Type != "tmpfs" {
				continue // what is bound is somebody's, and what the kernel shows is the machine's
			}
			m.Options = slices.Clone(m.Options)
			for j, o := range m.Options {
				if off, ok := unflag[o]; ok {
					m.Options[j] = off
				}
			}
		}
	})
}

// opened are sysctls of the container's namespaces as they stand in nobody's way: those with which an engine forbids
// something, at the value that does not; none else, so that they have the kernel's.
func opened(set map[string]string) map[string]string {
	open := map[string]string{}
	for name := range set {
		switch {
		case strings.HasPrefix(name, "net.ipv6.conf.") && strings.HasSuffix(name, ".disable_ipv6"):
			open[name] = "0"
		case name == "net.ipv4.ip_unprivileged_port_start":
			open[name] = "0"
		case name == "net.ipv4.ping_group_range":
			open[name] = "0 2147483647"
		}
	}
	return open
}

// kept are the factors that everything left as they were.
func (l *Lab) kept() (out []why.Factor) {
	s := l.base.Spec
	if !l.ownUsers() && len(s.Linux.ReadonlyPaths) > 0 {
		out = append(out, why.Factor{Kind: why.SystemPaths})
	}
	for _, m := range s.Mounts {
		if m.Type == "bind" && slices.Contains(m.Options, "ro") && !ours(l.base, m.Source) {
			out = append(out, why.Factor{Kind: why.WritePath, Path: m.Destination})
		}
	}
	return out
}
