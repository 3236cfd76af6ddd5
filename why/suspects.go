package why

import (
	"slices"
	"strings"

	"porthole/abi"
	"porthole/caps"
	"porthole/event"
	"porthole/facts"
	"porthole/seccomp"
	"porthole/seccomp/profile"
)

func equalFold(a, b string) bool { return strings.EqualFold(a, b) }

// Suspects lists the layers that may have refused, the one that answered first; those behind it are
// the ones that would answer next, were it gone. The list is never empty: where nobody is to be
// found it ends in None.
func Suspects(r Refusal, s Scene) []Suspect {
	if r.Silent {
		return silent(r, &s)
	}
	q := questionOf(r, &s)
	return suspects(q, r, &s)
}

func suspects(q *question, r Refusal, s *Scene) []Suspect {
	var out []Suspect
	if sus, ok := filterSuspect(q, r, s); ok {
		out = append(out, sus)
		q.errno = 0 // what lies behind may answer something else
	}
	behind := len(out) > 0
	if sus, ok := absentSuspect(q, s); ok && (q.errno == 0 || q.errno == abi.ENOSYS) {
		sus.Behind = behind
		return append(out, sus)
	}
	found := refusing(q, s)
	certain := slices.ContainsFunc(found, func(f finding) bool { return f.sure || f.seen(r, found) })
	for _, f := range found {
		seen := f.seen(r, found)
		if behind && !f.sure && !seen && f.met == 0 || f.unasked(r, s) {
			continue
		}
		if certain && !f.sure && !seen && f.met == 0 {
			continue // it might be, but somebody else is
		}
		for _, sus := range f.suspects(q, s, seen) {
			sus.Behind = behind
			out = add(out, sus)
		}
	}
	out = seenFirst(out)
	if len(out) == 0 || behind {
		for _, d := range r.Denied {
			if !slices.ContainsFunc(out, func(o Suspect) bool { return o.Layer == Capability }) {
				out = add(out, capSuspect(d.Cap, q, s, Likely, "cap_capable, security/commoncap.c", false))
			}
		}
	}
	if len(out) > 0 {
		return out
	}
	// Whom a process may look at is asked of the security modules, too: Landlock, a BPF program, SELinux
	// (security_ptrace_access_check). Where the kernel asked for no capability, it was one of them.
	looks := slices.Contains([]string{"ptrace", "process_vm_readv", "process_vm_writev", "pidfd_getfd", "kcmp"}, q.call) || glob("/proc/[0-9]*/**", q.path) || glob("/proc/[0-9]*/*", q.path)
	if q.errno == abi.EACCES && s.term("apparmor", q) != no || looks && s.Sight.Caps && (q.errno == abi.EACCES || q.errno == abi.EPERM) {
		out = append(out, Suspect{Layer: LSM, Code: "P0705", Proof: Likely, Detail: say("detail.lsm"), Source: "security/security.c", Factors: []Factor{{Kind: LSMOff}}})
	}
	if remote(q.file) {
		return append(out, Suspect{Layer: None, Code: "P0901", Proof: Likely, Detail: say("detail.remote", "fs", q.file.FS), Source: "nfs(5)"})
	}
	return append(out, Suspect{Layer: None, Code: "P0902", Proof: Likely, Detail: say("detail.nobody"), Source: "the table of rules"})
}

// seenFirst puts what the kernel was seen doing before what may be.
func seenFirst(list []Suspect) []Suspect {
	slices.SortStableFunc(list, func(a, b Suspect) int {
		if a.Layer == Seccomp || b.Layer == Seccomp || a.Behind != b.Behind {
			return 0
		}
		return int(b.Proof) - int(a.Proof)
	})
	return list
}

// add appends a suspect, unless its layer and code are there already with the same factors.
func add(list []Suspect, sus Suspect) []Suspect {
	for i, o := range list {
		if o.Layer == sus.Layer && (o.Code == sus.Code || o.Layer == UserNS || o.Layer == Capability && slices.Equal(o.Factors, sus.Factors)) {
			if sus.Proof > o.Proof {
				list[i].Proof, list[i].Detail, list[i].Source = sus.Proof, sus.Detail, sus.Source
			}
			return list
		}
	}
	return append(list, sus)
}

// seen says that the watcher saw the very check fail: the capability's, and no other layer's rule
// asks for the same one.
func (f finding) seen(r Refusal, all []finding) bool {
	want, _ := f.rule.capSet()
	for _, o := range all {
		if other, _ := o.rule.capSet(); o.rule.Layer != f.rule.Layer && other&want != 0 {
			return false
		}
	}
	return slices.ContainsFunc(r.Denied, func(d event.Event) bool { return want.Has(d.Cap) })
}

// unasked says that the kernel never asked for the capability with which the rule would not refuse, though a
// watcher would have seen it ask: so it was not this rule.
func (f finding) unasked(r Refusal, s *Scene) bool {
	want, _ := f.rule.capSet()
	if want == 0 || f.lacking&want == 0 && !f.foreign || r.Event.Filtered || r.Silent || !s.Sight.Caps {
		return false
	}
	switch r.Event.Errno { // with these a watcher tells every check: others may be kept back as noise
	case abi.EPERM, abi.EACCES, eagain:
		return !slices.ContainsFunc(r.Denied, func(d event.Event) bool { return want.Has(d.Cap) })
	}
	return false
}

// filterSuspect is seccomp's part: seen answering, or found to by running the filter.
func filterSuspect(q *question, r Refusal, s *Scene) (Suspect, bool) {
	e := r.Event
	sus := Suspect{Layer: Seccomp, Proof: Seen, Source: "seccomp(2)"}
	act, sure := s.decide(q.arch, e.Nr, e.Args)
	refuses := sure && !act.Permits() && act.Kind() != seccomp.Notify
	older := refuses && act != seccomp.Errno.With(uint16(q.errno)) && s.byAge(q.arch, e.Nr, e.Args, q.errno)
	switch {
	case e.Filtered:
	case s.Sight.Filtered, !refuses:
		return sus, false
	case older && !s.Sight.Filtered:
		sus.Proof = Likely
	case q.errno != 0 && (act.Kind() != seccomp.Errno || act.Data() != uint16(q.errno)):
		return sus, false // the filter would have answered something else
	default:
		sus.Proof = ByRules
	}
	sus.Code, sus.Detail, sus.Source = s.filterCode(callOf(e), q, refuses || !sure, act)
	sus.Factors = []Factor{{Kind: FilterRule, Call: ruleCall(callOf(e), s)}}
	if older {
		sus.Detail = say("detail.filter.older", "call", q.call, "profile", s.Profile.Name, "errno", q.errno.String())
	}
	if sus.Code == "P0108" {
		sus.Factors = []Factor{{Kind: FilterOff}}
	}
	return sus, true
}

// byAge says that an errno is what the profile's default answers to a call newer than all it names:
// what runc did before it came to answer ENOSYS to those (1.0.0-rc93).
func (s *Scene) byAge(arch abi.Arch, nr uint32, args [6]uint64, errno abi.Errno) bool {
	if s.Profile == nil || errno == 0 {
		return false
	}
	pol, _ := s.Profile.Resolve(s.Conditions)
	if pol.Decide(arch, nr, args).Why != seccomp.ByAge {
		return false
	}
	pol.NewerENOSYS = false
	return pol.Decide(arch, nr, args).Action == seccomp.Errno.With(uint16(errno))
}

// ruleCall is the call that a rule would have to allow: with those arguments only that the profile
// tests, since a rule should not hang on a pid.
func ruleCall(c profile.Call, s *Scene) profile.Call {
	out := profile.Call{Name: c.Name}
	if c.Name == "unshare" {
		out.Args[0] = c.Args[0] // whatever the profile says: user namespaces are not all of it
	}
	if s.Profile == nil {
		return out
	}
	for i := range s.Profile.Entries {
		en := &s.Profile.Entries[i]
		if len(en.Args) == 0 || !slices.Contains(en.Names, c.Name) ||
			slices.ContainsFunc(en.Unmet(s.Conditions), func(u profile.Condition) bool { return u.Kind == profile.NeedsArch }) {
			continue
		}
		for _, a := range en.Args {
			if a.Index < 6 {
				out.Args[a.Index] = c.Args[a.Index]
			}
		}
	}
	return out
}

// filterCode tells how the filter came to its answer.
func (s *Scene) filterCode(call profile.Call, q *question, refuses bool, act seccomp.Action) (Code, Message, string) {
	name := call.Name
	if s.Profile == nil {
		return "P0104", say("detail.filter.running", "call", name, "action", act.String()), "the filter that runs"
	}
	if !refuses {
		return "P0108", say("detail.filter.other", "call", name, "profile", s.Profile.Name), "seccomp_run_filters, kernel/seccomp.c"
	}
	x, err := s.Profile.Explain(call, s.Conditions)
	if err != nil || q.arch != s.Conditions.Arch {
		if act.Kind() == seccomp.KillThread || act.Kind() == seccomp.KillProcess {
			return "P0107", say("detail.filter.arch", "arch", q.arch.String()), "seccomp(2)"
		}
		return "P0104", say("detail.filter.unnamed", "call", name, "profile", s.Profile.Name, "action", act.String()), "default action"
	}
	action := x.Outcomes[0].Action
	if action.Kind() == seccomp.KillThread || action.Kind() == seccomp.KillProcess || action.Kind() == seccomp.Trap {
		return "P0109", say("detail.filter.kills", "call", name, "action", action.String()), s.where(x.Outcomes[0].Entry)
	}
	if x.Outcomes[0].Why == seccomp.ByAge {
		return "P0105", say("detail.filter.newer", "call", name, "profile", s.Profile.Name), "runc, libcontainer/seccomp/patchbpf"
	}
	var missing caps.Set
	var kernel facts.Version
	args, entry := "", -1
	for _, m := range x.Missing {
		if !m.Action.Permits() || slices.ContainsFunc(m.Unmet, func(u profile.Condition) bool { return u.Kind == profile.NeedsArch }) {
			continue
		}
		if len(m.Unmet) == 0 && len(m.Tests) > 0 {
			args, entry = joinTests(args, m.Tests), m.Entry
		}
		for _, u := range m.Unmet {
			switch {
			case u.Kind == profile.NeedsCap && !u.Not && len(m.Tests) == 0:
				missing |= u.Caps
				if entry < 0 {
					entry = m.Entry
				}
			case u.Kind == profile.NeedsKernel && !u.Not && len(m.Unmet) == 1:
				kernel = u.Kernel
			}
		}
	}
	if q.errno == abi.ENOSYS || action == seccomp.Errno.With(uint16(abi.ENOSYS)) {
		return "P0105", say("detail.filter.enosys", "call", name, "profile", s.Profile.Name, "caps", orNone(missing)), s.where(x.Outcomes[0].Entry)
	}
	switch {
	case missing != 0 && strings.Contains(" unshare clone setns clone3 ", " "+name+" "):
		return "P0103", say("detail.filter.namespaces", "call", name, "profile", s.Profile.Name, "caps", orNone(missing)), s.where(entry)
	case kernel != facts.Version{} && missing == 0:
		return "P0106", say("detail.filter.kernel", "call", name, "profile", s.Profile.Name, "version", kernel.String()), s.where(entry)
	case args != "" && missing == 0:
		return "P0102", say("detail.filter.args", "call", name, "profile", s.Profile.Name, "args", args), s.where(entry)
	case missing != 0:
		return "P0101", say("detail.filter.cap", "call", name, "profile", s.Profile.Name, "caps", orNone(missing)), s.where(entry)
	}
	return "P0104", say("detail.filter.unnamed", "call", name, "profile", s.Profile.Name, "action", action.String()), "default action " + action.String()
}

func orNone(set caps.Set) string { return capsText(set, false) }

// joinTests collects what arguments would do: "arg0 == 0x8, 0x20000", or "arg0 & 0x7e020000 == 0x0".
func joinTests(list string, tests []seccomp.Cond) string {
	for _, c := range tests {
		text := c.String()
		if head, value, ok := strings.Cut(text, " == "); ok && c.Op == seccomp.EQ && strings.HasPrefix(list, head+" == ") {
			text = value
		}
		if list != "" {
			list += ", "
		}
		list += text
	}
	return list
}

// where is a place in the profile.
func (s *Scene) where(entry int) string {
	if entry < 0 || entry >= len(s.Profile.Entries) {
		return "default action of " + s.Profile.Name
	}
	text := s.Profile.Entries[entry].String()
	head, _, _ := strings.Cut(text, ":")
	return s.Profile.Name + " " + "syscalls[" + itoa(entry) + "] " + head
}

// suspects are who a rule accuses: the capability that would do, the user namespace in which it
// does not count, the gate itself.
func (f finding) suspects(q *question, s *Scene, seen bool) []Suspect {
	r := f.rule
	proof := Likely
	switch {
	case seen:
		proof = Seen
	case f.sure:
		proof = ByRules
	}
	var out []Suspect
	want, all := r.capSet()
	want = existing(want, s.Facts.Kernel)
	granted := q.who.Bounding & want &^ q.who.Effective
	if q.who.Bounding.Includes(existing(caps.All, s.Facts.Kernel)) && !s.Privileged {
		granted = 0 // no container: everybody has them all in the bounding set
	}
	if q.call == "capset" {
		if missing, _ := q.raised(); missing != 0 {
			sus := capSuspect(missing.List()[0], q, s, proof, r.Source, false)
			sus.Factors = []Factor{{Kind: CapHeld, Caps: missing}}
			sus.Detail = say("detail.capset", "caps", capsText(missing, true))
			return []Suspect{sus}
		}
	}
	capFirst := f.foreign || granted != 0
	if r.Layer == File && q.who.EUID != 0 { // what an ordinary user lacks is permission, and not root's way around it
		capFirst = f.foreign
	}
	if want != 0 && (r.Layer == Capability || capFirst) {
		c := f.ask(want, all, s)
		sus := capSuspect(c, q, s, proof, r.Source, f.foreign)
		if all {
			sus.Factors = []Factor{{Kind: CapHeld, Caps: f.lacking}}
		}
		if f.foreign {
			sus.Factors = []Factor{{Kind: HostUserNS}}
		}
		sus.Detail = say("detail.cap", "call", q.call, "caps", capsText(want, all), "where", "where."+r.In.String(), "when", f.when())
		out = append(out, sus)
		if !s.UserNS.Initial && (f.foreign || r.In == InInit) {
			out = append(out, Suspect{Layer: UserNS, Code: "P0304", Proof: proof, Source: r.Source, Factors: []Factor{{Kind: HostUserNS}},
				Detail: say("detail.userns", "call", q.call, "caps", capsText(want, all), "where", "where."+r.In.String())})
		}
	}
	if r.Layer != Capability || want == 0 {
		out = append(out, f.gate(q, s, proof))
		if want != 0 && !capFirst && (r.Layer == Sysctl || r.Layer == Rlimit || r.Layer == File) { // it would do as well
			sus := capSuspect(f.ask(want, all, s), q, s, proof, r.Source, false)
			sus.Detail = say("detail.cap", "call", q.call, "caps", capsText(want, all), "where", "where."+r.In.String(), "when", f.when())
			out = append(out, sus)
		}
	} else if g := alternativeGate(r, q); g.Layer != 0 {
		g.Proof, g.Source = Likely, r.Source
		out = append(out, g)
	}
	return out
}

// alternativeGate is a sysctl of the container's own that makes the capability dispensable: programs
// that only want to ping go on with another kind of socket.
func alternativeGate(r *Rule, q *question) (sus Suspect) {
	const icmp, icmp6 = 1, 58
	if strings.Contains(r.Gates, "ping_group_range") && q.known[2] && (q.args[2] == icmp || q.args[2] == icmp6) {
		f, _ := sysctlFactor("net.ipv4.ping_group_range")
		return Suspect{Layer: Sysctl, Code: "P0202", Detail: say("detail.sysctl", "sysctl", f.Name), Factors: []Factor{f}}
	}
	return sus
}

// ask is the one capability of those that would do that gives the least: tables name it first.
func (f finding) ask(want caps.Set, all bool, s *Scene) caps.Cap {
	for _, w := range strings.FieldsFunc(f.rule.Caps, func(c rune) bool { return c == '|' || c == '+' }) {
		c, err := caps.Parse(w)
		if err == nil && want.Has(c) && (!all || f.lacking.Has(c)) {
			return c
		}
	}
	return 0
}

// existing leaves out capabilities that a kernel does not have yet.
func existing(set caps.Set, v facts.Version) caps.Set {
	if v == (facts.Version{}) {
		return set
	}
	if v.Less(facts.Version{Major: 5, Minor: 8}) {
		set = set.Without(caps.Of(caps.CAP_PERFMON, caps.CAP_BPF))
	}
	if v.Less(facts.Version{Major: 5, Minor: 9}) {
		set = set.Without(caps.Of(caps.CAP_CHECKPOINT_RESTORE))
	}
	return set
}

// capSuspect is a capability that was asked for and not there.
func capSuspect(c caps.Cap, q *question, s *Scene, p Proof, source string, foreign bool) Suspect {
	code := Code("P0302")
	switch {
	case foreign:
		code = "P0304"
	case q.who.Bounding.Has(c) && !q.who.Effective.Has(c):
		code = "P0303"
	}
	return Suspect{
		Layer: Capability, Code: code, Proof: p, Source: source, Factors: []Factor{{Kind: CapHeld, Caps: caps.Of(c)}},
		Detail: say("detail.cap", "call", q.call, "caps", c.String(), "where", "where.own", "when", ""),
	}
}

// when says the open conditions, as keys of the language files, or as they are.
func (f finding) when() string { return strings.Join(f.open, " ") }

func capsText(set caps.Set, all bool) string {
	var out []string
	const admin = caps.CAP_SYS_ADMIN // opens most, so it comes last
	for _, c := range append(set.Without(caps.Of(admin)).List(), (set & caps.Of(admin)).List()...) {
		out = append(out, c.String())
	}
	if all {
		return strings.Join(out, " + ")
	}
	return strings.Join(out, " / ")
}

// gate is a rule that is named by another layer than capabilities.
func (f finding) gate(q *question, s *Scene, proof Proof) Suspect {
	r := f.rule
	sus := Suspect{Layer: r.Layer, Code: r.Code, Proof: proof, Source: r.Source}
	sus.Detail = say("detail.rule", "call", q.call, "code", string(r.Code), "when", f.when())
	switch r.Layer {
	case Sysctl:
		name := gateName(r, "sysctl:")
		if name == "" {
			name, _, _ = strings.Cut(firstTerm(r), ">")
			name, _, _ = strings.Cut(name, "=")
		}
		value, _ := s.sysctl(name)
		if name != "" {
			sus.Detail = say("detail.sysctl", "sysctl", strings.TrimSpace(name+" "+equals(value)))
		}
		if r.Code == "P0201" && value != "" {
			sus.Detail = say("detail.perf", "sysctl", strings.TrimSpace(name+" "+equals(value)), "when", f.when())
		}
		if key, ok := strings.CutPrefix(q.path, "/proc/sys/"); ok && r.Code == "P0206" {
			sus.Detail = say("detail.sysctl.host", "sysctl", strings.ReplaceAll(key, "/", "."))
		}
		if fac, ok := sysctlFactor(name); ok {
			sus.Factors = []Factor{fac}
		}
	case Rlimit:
		if name := gateName(r, "rlimit:"); name != "" {
			sus.Detail = say("detail.rlimit", "limit", name)
			sus.Factors = []Factor{{Kind: RlimitSet, Name: name, Value: "-1:-1"}}
		} else if name, ok := rlimitName(q); ok {
			sus.Detail = say("detail.rlimit.raise", "limit", name)
			sus.Factors = []Factor{{Kind: RlimitSet, Name: name, Value: "max:max"}}
		} else if name := gateName(r, "cgroup:"); name != "" {
			sus.Detail = say("detail.cgroup", "limit", name)
			if short, ok := map[string]string{"pids.max": "pids", "cpuset.cpus": "cpuset"}[name]; ok {
				sus.Factors = []Factor{{Kind: RlimitSet, Name: short, Value: "-1:-1"}}
			}
		} else if r.Code == "P0804" {
			sus.Detail = say("detail.cgroup", "limit", "cpu.rt_runtime_us")
		}
	case LSM:
		sus.Detail = say("detail.lsm")
		switch r.Code {
		case "P0701":
			sus.Detail = say("detail.apparmor", "call", q.call, "profile", s.AppArmor)
		case "P0702":
			sus.Detail = say("detail.selinux", "call", q.call)
		case "P0704":
			sus.Detail = say("detail.lockdown")
		}
		if r.Code != "P0704" {
			sus.Factors = []Factor{{Kind: LSMOff}}
		}
	case Yama:
		v, _ := s.sysctl("kernel.yama.ptrace_scope")
		sus.Detail = say("detail.yama", "scope", v)
		if r.Caps != "" {
			sus.Factors = []Factor{{Kind: CapHeld, Caps: caps.Of(caps.CAP_SYS_PTRACE)}}
		}
	case Mount:
		sus.Factors = s.mountFactors(r.Code, q)
		at := q.path
		if at == "" && len(sus.Factors) > 0 {
			at = sus.Factors[0].Path
		}
		if at == "" {
			at = "detail.file"
		}
		sus.Detail = say("detail.mount", "code", string(r.Code), "path", at)
	case DeviceCgroup:
		if n, ok := deviceName(q); ok {
			sus.Factors = []Factor{{Kind: DeviceRule, Name: n, Path: q.path}}
		} else if q.path != "" {
			sus.Factors = []Factor{{Kind: DeviceRule, Path: q.path}}
		}
		sus.Detail = say("detail.device", "path", q.path)
	case NNP:
		sus.Factors = []Factor{{Kind: NNPOff}}
		if r.Code == "P0503" { // there the flag is missing, not in the way
			sus.Factors = []Factor{{Kind: CapHeld, Caps: caps.Of(caps.CAP_SYS_ADMIN)}}
		}
	case UserNS:
		sus.Factors = []Factor{{Kind: HostUserNS}}
		if s.UserNS.Initial {
			sus.Factors = nil
		}
	case File:
		if want, _ := r.capSet(); want != 0 {
			sus.Factors = []Factor{{Kind: CapHeld, Caps: want & caps.Of(caps.CAP_DAC_OVERRIDE)}}
		}
	}
	if r.Code == "P0301" {
		missing := missingOf(q)
		sus.Factors = []Factor{{Kind: FileCapsOff, Path: q.path}}
		if missing != 0 {
			sus.Factors = append(sus.Factors, Factor{Kind: CapHeld, Caps: missing})
		}
		if missing != 0 || q.file != nil {
			sus.Detail = say("detail.filecaps", "path", q.path, "caps", orNone(missing))
		}
	}
	return sus
}

func equals(v string) string {
	if v == "" {
		return ""
	}
	return "= " + v
}

// missingOf are the capabilities of a file that the bounding set lacks.
func missingOf(q *question) caps.Set {
	if q.file == nil {
		return 0
	}
	return q.file.Caps.Permitted &^ q.who.Bounding
}

func gateName(r *Rule, kind string) string {
	for _, g := range names(r.Gates) {
		if n, ok := strings.CutPrefix(g, kind); ok {
			return n
		}
	}
	return ""
}

func firstTerm(r *Rule) string {
	for _, t := range names(r.If) {
		if t[0] != '?' {
			return t
		}
	}
	return ""
}

// sysctlFactor lifts a sysctl that belongs to a container's own namespaces; others are the host's.
func sysctlFactor(name string) (Factor, bool) {
	open := map[string]string{
		"net.ipv4.ping_group_range":           "0 2147483647",
		"net.ipv4.ip_unprivileged_port_start": "0",
		"net.ipv6.conf.all.disable_ipv6":      "0",
	}
	v, ok := open[name]
	return Factor{Kind: SysctlSet, Name: name, Value: v}, ok
}

// rlimitName is the limit that a setrlimit was about.
func rlimitName(q *question) (string, bool) {
	i := 0
	switch q.call {
	case "prlimit64":
		i = 1
	case "setrlimit":
	default:
		return "", false
	}
	if !q.known[i] {
		return "", false
	}
	name := abi.Flags("rlimit", q.args[i])
	return strings.ToLower(strings.TrimPrefix(name, "RLIMIT_")), strings.HasPrefix(name, "RLIMIT_")
}

// deviceName is a device as a rule has it: "c 10:229 rwm".
func deviceName(q *question) (string, bool) {
	if q.file == nil || q.file.Mode&0xf000 != 0x2000 && q.file.Mode&0xf000 != 0x6000 {
		return "", false
	}
	kind := "c"
	if q.file.Mode&0xf000 == 0x6000 {
		kind = "b"
	}
	return kind + " " + itoa(int(major(q.file.Dev))) + ":" + itoa(int(minor(q.file.Dev))) + " rwm", true
}

// mountFactors lift what a mount forbids.
func (s *Scene) mountFactors(code Code, q *question) []Factor {
	at := q.path
	if p, ok := s.place(q.path); ok {
		at = p.Path
	}
	if q.file != nil && q.file.Mount != "" {
		at = q.file.Mount
	}
	switch code {
	case "P0401":
		if p := beneath(s.ReadOnly, q.path); p != "" {
			return []Factor{{Kind: WritePath, Path: p}}
		}
		if s.RootRO && at == q.path {
			at = "/"
		}
		return []Factor{{Kind: WritePath, Path: at}}
	case "P0402":
		return []Factor{{Kind: SystemPaths}}
	case "P0409":
		return []Factor{{Kind: Unmask, Path: q.path}}
	case "P0403":
		return []Factor{{Kind: MountFlag, Path: at, Name: "nodev"}}
	case "P0404":
		if at == "" { // the descriptor was closed before anybody could look: one mount alone may be asked for
			at = s.onlyTmpfs("noexec")
		}
		return []Factor{{Kind: MountFlag, Path: at, Name: "noexec"}}
	}
	return nil
}

// onlyTmpfs is the one tmpfs of the workload's own that has a flag; "" where there are none or several.
func (s *Scene) onlyTmpfs(flag string) (at string) {
	for _, p := range s.Mounts {
		if p.Type != "tmpfs" || !slices.Contains(p.Flags, flag) || beneath([]string{"/dev", "/proc", "/sys"}, p.Path) != "" {
			continue
		}
		if at != "" {
			return ""
		}
		at = p.Path
	}
	return at
}

// netlinkCap is the capability that a netlink request wants, by its protocol.
func netlinkCap(n event.Netlink) (caps.Cap, string) {
	const audit = 9 // NETLINK_AUDIT; user messages: include/uapi/linux/audit.h
	switch user := n.Type >= 1100 && n.Type < 1200 || n.Type >= 2100 && n.Type < 3000; {
	case n.Protocol != audit:
		return caps.CAP_NET_ADMIN, "rtnetlink_rcv_msg, net/core/rtnetlink.c; netlink(7)"
	case user:
		return caps.CAP_AUDIT_WRITE, "audit_netlink_ok, kernel/audit.c"
	}
	return caps.CAP_AUDIT_CONTROL, "audit_netlink_ok, kernel/audit.c"
}

// silent names who is behind a refusal in which no call failed.
func silent(r Refusal, s *Scene) []Suspect {
	e := r.Event
	switch e.Kind {
	case event.Exec:
		why, _ := gained(e, s)
		proof := ByRules
		if e.Became != nil {
			proof = Seen
		}
		code := Code("P0501")
		if e.File.Mode&0o4000 == 0 {
			code = "P0502"
		}
		path := pathOf(e)
		switch why {
		case byNoSUID:
			return []Suspect{{Layer: Mount, Code: "P0408", Proof: proof, Source: "mnt_may_suid, fs/namespace.c", Detail: say("detail.nosuid", "path", path),
				Factors: []Factor{{Kind: MountFlag, Path: e.File.Mount, Name: "nosuid"}}}}
		case byUserNS:
			return []Suspect{{Layer: UserNS, Code: "P0602", Proof: proof, Source: "bprm_fill_uid, fs/exec.c", Detail: say("detail.unmapped.owner", "path", path),
				Factors: []Factor{{Kind: HostUserNS}}}}
		}
		return []Suspect{{Layer: NNP, Code: code, Proof: proof, Source: "bprm_fill_uid, fs/exec.c; prctl(2)", Detail: say("detail.nnp", "path", path),
			Factors: []Factor{{Kind: NNPOff}}}}
	case event.Nack:
		const newAddress, newRoute = 20, 24 // RTM_NEWADDR, RTM_NEWROUTE
		if e.Errno == abi.EACCES && e.Netlink.Protocol == 0 && (e.Netlink.Type == newAddress || e.Netlink.Type == newRoute) {
			const name = "net.ipv6.conf.all.disable_ipv6"
			f, _ := sysctlFactor(name)
			return []Suspect{{Layer: Sysctl, Code: "P0203", Proof: Likely, Detail: say("detail.sysctl", "sysctl", name), Factors: []Factor{f},
				Source: "addrconf_add_dev, net/ipv6/addrconf.c; fib6_nh_init, net/ipv6/route.c"}}
		}
		q := questionOf(r, s)
		c, source := netlinkCap(e.Netlink)
		sus := capSuspect(c, q, s, Likely, source, q.who.Effective.Has(c))
		if sus.Code == "P0302" {
			sus.Code = "P0305"
		}
		sus.Detail = say("detail.netlink", "errno", e.Errno.String(), "caps", c.String())
		return []Suspect{sus}
	}
	if e.Kind == event.Starved {
		return []Suspect{{Layer: Rlimit, Code: "P0805", Proof: Seen, Source: "mem_cgroup_out_of_memory, mm/memcontrol.c; cgroups(7)",
			Detail: say("detail.cgroup", "limit", "memory.max"), Factors: []Factor{{Kind: RlimitSet, Name: "memory", Value: "-1:-1"}}}}
	}
	return []Suspect{{Layer: Sysctl, Code: "P0205", Proof: Likely, Source: "proc(5)", Detail: say("detail.read", "path", pathOf(e), "value", e.Strings[1])}}
}
