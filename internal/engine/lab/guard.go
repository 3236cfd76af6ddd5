package lab

import (
	"slices"

	specs "github.com/opencontainers/runtime-spec/specs-go"

	"porthole/abi"
	"porthole/caps"
	"porthole/event"
	"porthole/internal/engine/container"
	"porthole/seccomp"
	"porthole/why"
)

// guard is a call that would change the machine itself, and not the container, for whoever has one of caps.
type guard struct {
	call string
	caps caps.Set
	does string // "would have …"
}

// guards are the calls that no experiment lets through to which its workload had no right
// of its own: what an experiment lifts must not set the machine's clock. One that was stopped
// there was not carried out, and says so. Capabilities: capabilities(7).
var guards = []guard{
	{"settimeofday", caps.Of(caps.CAP_SYS_TIME), "set the machine's clock"},
	{"clock_settime", caps.Of(caps.CAP_SYS_TIME), "set the machine's clock"},
	{"clock_settime64", caps.Of(caps.CAP_SYS_TIME), "set the machine's clock"},
	{"stime", caps.Of(caps.CAP_SYS_TIME), "set the machine's clock"},
	{"adjtimex", caps.Of(caps.CAP_SYS_TIME), "tuned the machine's clock"},
	{"clock_adjtime", caps.Of(caps.CAP_SYS_TIME), "tuned the machine's clock"},
	{"clock_adjtime64", caps.Of(caps.CAP_SYS_TIME), "tuned the machine's clock"},
	{"init_module", caps.Of(caps.CAP_SYS_MODULE), "loaded a kernel module"},
	{"finit_module", caps.Of(caps.CAP_SYS_MODULE), "loaded a kernel module"},
	{"create_module", caps.Of(caps.CAP_SYS_MODULE), "loaded a kernel module"},
	{"delete_module", caps.Of(caps.CAP_SYS_MODULE), "unloaded a kernel module"},
	{"kexec_load", caps.Of(caps.CAP_SYS_BOOT), "loaded another kernel"},
	{"kexec_file_load", caps.Of(caps.CAP_SYS_BOOT), "loaded another kernel"},
	{"reboot", caps.Of(caps.CAP_SYS_BOOT), "restarted the machine"},
	{"swapon", caps.Of(caps.CAP_SYS_ADMIN), "changed the machine's swap"},
	{"swapoff", caps.Of(caps.CAP_SYS_ADMIN), "changed the machine's swap"},
	{"quotactl", caps.Of(caps.CAP_SYS_ADMIN), "changed disk quotas"},
	{"quotactl_fd", caps.Of(caps.CAP_SYS_ADMIN), "changed disk quotas"},
	{"acct", caps.Of(caps.CAP_SYS_PACCT), "switched process accounting"},
	{"iopl", caps.Of(caps.CAP_SYS_RAWIO), "opened the machine's I/O ports"},
	{"ioperm", caps.Of(caps.CAP_SYS_RAWIO), "opened the machine's I/O ports"},
	{"pciconfig_write", caps.Of(caps.CAP_SYS_ADMIN), "written to a PCI device"},
	{"syslog", caps.Of(caps.CAP_SYSLOG, caps.CAP_SYS_ADMIN), "changed the kernel's log"}, // see harmless
}

// harmless are arguments with which a guarded call only reads: SYSLOG_ACTION_* (syslog(2)); the
// first argument must be Value.
var harmless = map[string][]uint64{"syslog": {2, 3, 9, 10}}

// protect has the filter of an experiment refuse the guarded calls that it would let through
// and the first run would not have. It returns those, ordered as they are asked.
func (l *Lab) protect(cfg *container.Config) []guard {
	if len(cfg.Spec.Linux.UIDMappings) > 0 || !cfg.Facts.UserNS.Initial {
		return nil // root of a user namespace of its own has none of these rights over the machine
	}
	had, has := bounding(l.base), bounding(*cfg)
	arch := cfg.Facts.Arch
	var on []guard
	var rules []seccomp.Rule
	for _, g := range guards {
		switch {
		case has.Intersect(g.caps) == 0, had.Intersect(g.caps) != 0 && lets(l.base.Policy, arch, g.call):
			continue // the kernel refuses it, or the user gave it to the workload
		case !lets(cfg.Policy, arch, g.call):
			continue // the filter refuses it
		}
		on = append(on, g)
		halt := seccomp.Rule{Name: g.call, Action: stop, From: -1}
		for _, v := range harmless[g.call] {
			rules = append(rules, seccomp.Rule{Name: g.call, Action: seccomp.Allow, From: -1, Conds: []seccomp.Cond{{Arg: 0, Op: seccomp.EQ, Value: v}}})
			// Said twice, since a rule that says what the default says does not count.
			halt.Conds = append(halt.Conds, seccomp.Cond{Arg: 0, Op: seccomp.NE, Value: v})
		}
		rules = append(rules, halt)
	}
	if on == nil {
		return nil
	}
	p := seccomp.Policy{Default: seccomp.Allow, Arches: arch.Siblings(), BadArch: seccomp.KillThread}
	if cfg.Policy != nil {
		p = *cfg.Policy
	}
	// Their own rules go: a watcher's filter asks for every errno alike, and a rule that says what
	// the default says is not counted (seccomp.Policy.Decide).
	for _, r := range p.Rules {
		if !slices.ContainsFunc(on, func(g guard) bool { return g.call == r.Name }) {
			rules = append(rules, r)
		}
	}
	p.Rules = rules
	cfg.Policy = &p
	return on
}

// tooMuch are those of some factors that may not come together with unmasked system paths: where root
// inside is the machine's, only file permissions keep him from its sysctls and from /proc/sysrq-trigger then.
func (l *Lab) tooMuch(lift []why.Factor) (out []why.Factor) {
	if l.ownUsers() || !slices.ContainsFunc(lift, func(f why.Factor) bool { return f.Kind == why.SystemPaths }) {
		return nil
	}
	for _, f := range lift {
		passes := f.Caps.Intersect(caps.Of(caps.CAP_DAC_OVERRIDE, caps.CAP_SETUID, caps.CAP_SETFCAP)) != 0
		if f.Kind == why.Root || f.Kind == why.Everything || (f.Kind == why.CapHeld || f.Kind == why.CapGranted) && passes {
			out = append(out, f)
		}
	}
	return out
}

// shield makes the machine's own settings read-only for one who could write to them by what the experiment gave him, and
// not by what his user did: root, or who goes over file permissions, in a container whose system paths are open.
func (l *Lab) shield(cfg *container.Config) {
	if l.ownUsers() || goesOver(l.base.Spec) || !goesOver(cfg.Spec) {
		return
	}
	for _, p := range []string{"/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"} {
		if !slices.Contains(cfg.Spec.Linux.ReadonlyPaths, p) {
			cfg.Spec.Linux.ReadonlyPaths = append(slices.Clone(cfg.Spec.Linux.ReadonlyPaths), p)
		}
	}
}

// goesOver says that a program is root, or may become so, or goes over file permissions.
func goesOver(s *specs.Spec) bool {
	p := s.Process
	return p.User.UID == 0 || p.Capabilities != nil &&
		parseCaps(p.Capabilities.Effective).Intersect(caps.Of(caps.CAP_DAC_OVERRIDE, caps.CAP_SETUID, caps.CAP_SETFCAP)) != 0
}

// stop is what a guarded call is answered: an errno that no filter else gives.
const stop = seccomp.Errno | 125 // ECANCELED

// lets says that a filter lets a call through, with some arguments at least.
func lets(p *seccomp.Policy, arch abi.Arch, call string) bool {
	nr, ok := arch.Nr(call)
	if p == nil || !ok {
		return p == nil
	}
	if p.Default.Kind() == seccomp.Allow {
		return true
	}
	return slices.ContainsFunc(p.Rules, func(r seccomp.Rule) bool { return r.Name == call && r.Action.Kind() == seccomp.Allow }) ||
		p.Decide(arch, nr, [6]uint64{}).Action.Kind() == seccomp.Allow
}

func bounding(cfg container.Config) caps.Set {
	if cfg.Spec == nil || cfg.Spec.Process == nil || cfg.Spec.Process.Capabilities == nil {
		return 0
	}
	return parseCaps(cfg.Spec.Process.Capabilities.Bounding)
}

func parseCaps(names []string) (s caps.Set) {
	for _, n := range names {
		if c, err := caps.Parse(n); err == nil {
			s = s.Add(c)
		}
	}
	return s
}

// stopped says whether a guard stood in the way of a run.
func stopped(on []guard, events []event.Event) (guard, bool) {
	for _, e := range events {
		if e.Kind != event.Refused || !e.Filtered || seccomp.Errno|seccomp.Action(e.Errno) != stop {
			continue
		}
		name, _ := e.Arch.Name(e.Nr)
		for _, g := range on {
			if g.call == name {
				return g, true
			}
		}
	}
	return guard{}, false
}
