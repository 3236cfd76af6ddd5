package why

import (
	"slices"
	"strings"

	specs "github.com/opencontainers/runtime-spec/specs-go"

	"porthole/abi"
	"porthole/caps"
	"porthole/event"
	"porthole/facts"
	"porthole/seccomp"
	"porthole/seccomp/filter"
	"porthole/seccomp/profile"
)

// Scene is all that is known of where a call was refused. What is not known is left at its zero
// value, and the fields that say so say it: a Scene never guesses.
type Scene struct {
	As string // whose defaults: "docker:18.09", "podman"; "" if none

	// Profile and Conditions are what the filter was made from; Profile is nil where there is
	// none (Unfiltered), or only the running filter is known (Filter).
	Profile    *profile.Profile
	Conditions profile.Conditions
	Unfiltered bool           // no filter is installed
	Filter     filter.Program // the very program that a live process runs, if it was read
	Filters    int            // how many filters are stacked; 0: not known

	Caps   caps.State      // of the process that began it; a Refusal may know better of its caller
	UserNS facts.UserNS    // the container's
	nested bool            // the caller is in one beneath it
	Owns   map[string]bool // which namespaces ("mnt", "net", "uts", "ipc", "pid", "cgroup", "time") that user namespace owns
	// SetgroupsDenied says that setgroups is forbidden in it (/proc/PID/setgroups).
	SetgroupsDenied bool

	Rootless   bool     // porthole itself had no root
	Privileged bool     // --privileged
	AppArmor   string   // the AppArmor profile; "" or "unconfined": none
	SELinux    string   // the SELinux label
	LSMKnown   bool     // AppArmor and SELinux say how it is, and not only what was asked for
	Masked     []string // covered
	ReadOnly   []string // read-only
	RootRO     bool     // the root filesystem is
	Mounts     []Place
	Devices    []specs.LinuxDeviceCgroup // nil: not known, or with Privileged not restricted
	Passed     []string                  // nodes beneath /dev that the container was given
	Rlimits    map[string]Limit          // by short name, "memlock"; absent: not known
	Sysctls    map[string]string         // as the container sees them, over those of Facts; absent: not known
	Realtime   Budget                    // of its control group
	Cpuset     bool                      // it was given some of the machine's processors only
	Chroot     bool                      // its root is not its mount namespace's
	Isolated   map[string]bool           // which namespaces are its own and not the machine's: "net", "ipc", "uts", "pid"

	Facts facts.Facts // of the machine
	Sight event.Sight // what the watcher could see

	unknown caps.Set                   // granted, though the release would refuse their names
	tables  map[abi.Arch]seccomp.Table // of Profile under Conditions, where they have been made
}

// Place is a mount and its flags.
type Place struct {
	Path, Type string
	Flags      []string // "ro", "nosuid", "nodev", "noexec"
}

// Budget says whether a control group may have realtime tasks (cpu.rt_runtime_us of cgroup v1, which begins at
// 0 for each new group). The zero value is not known.
type Budget int8

// What is known of it.
const (
	NoBudget Budget = 1 + iota
	SomeBudget
)

// Limit is a resource limit; -1 is unlimited.
type Limit struct{ Soft, Hard int64 }

// FromSpec is the scene of a container that s describes: the profile p, resolved under c (p nil: no
// filter), in the defaults of as, on the machine f.
func FromSpec(s *specs.Spec, p *profile.Profile, c profile.Conditions, as string, f facts.Facts, sight event.Sight) Scene {
	sc := Scene{
		As: as, Profile: p, Conditions: c, Unfiltered: p == nil, Facts: f, Sight: sight,
		UserNS: f.UserNS, Owns: map[string]bool{}, Isolated: map[string]bool{},
		Rlimits: map[string]Limit{}, Sysctls: map[string]string{}, LSMKnown: true,
		Rootless: f.UID != 0 || !f.UserNS.Initial,
	}
	if p := s.Process; p != nil {
		sc.Caps = processCaps(p)
		sc.AppArmor, sc.SELinux = p.ApparmorProfile, p.SelinuxLabel
		for _, r := range p.Rlimits {
			sc.Rlimits[strings.ToLower(strings.TrimPrefix(r.Type, "RLIMIT_"))] = Limit{int64(r.Soft), int64(r.Hard)}
		}
	}
	if s.Root != nil {
		sc.RootRO = s.Root.Readonly
	}
	for _, m := range s.Mounts {
		pl := Place{Path: m.Destination, Type: m.Type}
		for _, o := range m.Options {
			if slices.Contains([]string{"ro", "nosuid", "nodev", "noexec"}, o) {
				pl.Flags = append(pl.Flags, o)
			}
		}
		sc.Mounts = append(sc.Mounts, pl)
	}
	l := s.Linux
	if l == nil {
		return sc
	}
	for _, d := range l.Devices {
		sc.Passed = append(sc.Passed, d.Path)
	}
	sc.Masked, sc.ReadOnly = l.MaskedPaths, l.ReadonlyPaths
	if l.Resources != nil {
		sc.Devices = l.Resources.Devices
		sc.Cpuset = l.Resources.CPU != nil && l.Resources.CPU.Cpus != ""
	}
	own := false
	for _, ns := range l.Namespaces {
		if ns.Type == specs.UserNamespace {
			own = true
			sc.UserNS = facts.UserNS{UIDs: idRanges(l.UIDMappings), GIDs: idRanges(l.GIDMappings)}
		}
	}
	for _, ns := range l.Namespaces {
		if ns.Type != specs.UserNamespace && ns.Path == "" {
			sc.Isolated[nsName(ns.Type)] = true
			sc.Owns[nsName(ns.Type)] = own || f.UserNS.Initial
		}
	}
	if sc.UserNS.Initial {
		for _, n := range nsNames {
			sc.Owns[n] = true
		}
	}
	for k, v := range l.Sysctl {
		sc.Sysctls[k] = v
	}
	return sc
}

// Nest puts the container into a user namespace of its own, with these ids, that owns its other
// namespaces: the first of them is whom root inside is outside.
func (s *Scene) Nest(ids []facts.IDRange) {
	s.UserNS = facts.UserNS{UIDs: ids, GIDs: ids}
	for _, n := range nsNames {
		s.Owns[n] = s.Isolated[n]
	}
	s.Owns["mnt"] = true
}

// of is the scene as the caller of ev knows it, who may have made a user namespace of its own
// meanwhile: all is what was seen of the run, of which the first event is the container's own program.
func (s *Scene) of(ev event.Event, all []event.Event) *Scene {
	home := uint64(0)
	for _, e := range all {
		if home = e.Own; home != 0 {
			break
		}
	}
	t := *s
	if t.Chroot = s.Chroot || ev.Chroot; ev.Own == 0 || home == 0 || ev.Own == home {
		return &t
	}
	t.Owns, t.nested = map[string]bool{}, true
	t.Nest(nil)
	t.SetgroupsDenied = true // so is it where an ordinary user maps a group (user_namespaces(7))
	return &t
}

var nsNames = []string{"mnt", "net", "uts", "ipc", "pid", "cgroup", "time"}

func nsName(t specs.LinuxNamespaceType) string {
	switch t {
	case specs.NetworkNamespace:
		return "net"
	case specs.MountNamespace:
		return "mnt"
	}
	return string(t)
}

func idRanges(ms []specs.LinuxIDMapping) (out []facts.IDRange) {
	for _, m := range ms {
		out = append(out, facts.IDRange{Inside: m.ContainerID, Outside: m.HostID, Size: m.Size})
	}
	return out
}

// processCaps is what the program starts with, after its execve: that of an ordinary file.
func processCaps(p *specs.Process) caps.State {
	st := caps.State{NoNewPrivs: p.NoNewPrivileges, UID: int(p.User.UID), EUID: int(p.User.UID), SUID: int(p.User.UID), FSUID: int(p.User.UID)}
	if c := p.Capabilities; c != nil {
		st.Bounding, st.Effective = capSet(c.Bounding), capSet(c.Effective)
		st.Permitted, st.Inheritable, st.Ambient = capSet(c.Permitted), capSet(c.Inheritable), capSet(c.Ambient)
	}
	if next, err := st.Exec(caps.File{}); err == nil {
		return next
	}
	return st
}

func capSet(names []string) (s caps.Set) {
	for _, n := range names {
		if c, err := caps.Parse(n); err == nil {
			s = s.Add(c)
		}
	}
	return s
}

// sysctl is a value as the container sees it.
func (s *Scene) sysctl(name string) (string, bool) {
	if v, ok := s.Sysctls[name]; ok {
		return v, true
	}
	v, ok := s.Facts.Sysctl[name]
	return v, ok
}

// prepare makes the tables for a scene about which much will be asked.
func (s *Scene) prepare() {
	if s.Profile == nil {
		return
	}
	pol, _ := s.Profile.Resolve(s.Conditions)
	s.tables = map[abi.Arch]seccomp.Table{}
	for _, a := range pol.Arches {
		s.tables[a] = pol.Table(a)
	}
}

// decide says what the scene's filter does with a call; ok is false where that is not known.
func (s *Scene) decide(arch abi.Arch, nr uint32, args [6]uint64) (seccomp.Action, bool) {
	switch {
	case s.Filter != nil:
		a, _ := s.Filter.Run(filter.Data{Nr: nr, Arch: arch.Audit(), Args: args})
		return a, true
	case s.Profile != nil:
		if t, ok := s.tables[arch]; ok {
			return t.Decide(nr, args).Action, true
		}
		pol, _ := s.Profile.Resolve(s.Conditions)
		return pol.Decide(arch, nr, args).Action, true
	}
	return seccomp.Allow, s.Unfiltered
}
