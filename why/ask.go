package why

import (
	"fmt"
	"slices"
	"strings"

	"porthole/abi"
	"porthole/caps"
	"porthole/event"
	"porthole/facts"
	"porthole/seccomp"
	"porthole/seccomp/profile"
	"porthole/spec"
	"porthole/workload"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// Call is a system call as a user writes it: one of package profile's, in which strings may stand
// where the kernel takes an address ("mount("proc", "/proc", "proc", 0)") or a file descriptor
// ("write("/proc/self/loginuid")", for the file that it is open on).
type Call struct {
	profile.Call
	Strings map[int]string
}

// ParseCall reads a call. An error is a *profile.CallError with the column.
func ParseCall(text string) (Call, error) {
	c := Call{Strings: map[int]string{}}
	plain := []byte(text)
	arg, depth := 0, 0
	for i := 0; i < len(plain); i++ {
		switch plain[i] {
		case '(':
			depth++
		case ',':
			arg++
		case '"':
			end := strings.IndexByte(text[i+1:], '"')
			if end < 0 {
				return c, &profile.CallError{Text: text, Column: 1 + len([]rune(text[:i])), Msg: "the string has no end"}
			}
			if depth == 0 {
				return c, &profile.CallError{Text: text, Column: 1 + len([]rune(text[:i])), Msg: "expected the name of a system call"}
			}
			c.Strings[arg] = text[i+1 : i+1+end]
			plain[i] = '_'
			for j := i + 1; j <= i+1+end; j++ {
				plain[j] = ' '
			}
			i += end + 1
		}
	}
	var err error
	if c.Call, err = profile.ParseCall(string(plain)); err != nil {
		if ce, ok := err.(*profile.CallError); ok {
			ce.Text = text
			ce.Column = 1 + len([]rune(text[:min(byteOf(string(plain), ce.Column), len(text))]))
		}
		return c, err
	}
	return c, nil
}

// byteOf is where the nth character, counted from 1, begins.
func byteOf(s string, n int) int {
	for i := range s {
		if n--; n == 0 {
			return i
		}
	}
	return len(s)
}

// String is the call as ParseCall reads it; numbers that the kernel takes as signed are written so.
func (c Call) String() string {
	params := abi.Params(c.Name)
	var args []string
	for i, a := range c.Args {
		text, known := c.Strings[i]
		switch {
		case known:
			text = `"` + text + `"`
		case !a.Known:
			continue
		case i < len(params) && signed(params[i]) && int32(a.Value) < 0, i < len(params) && (params[i].Kind == abi.KindUID || params[i].Kind == abi.KindGID):
			text = itoa(int(int32(a.Value)))
		default:
			one := profile.Call{Name: c.Name}
			one.Args[i] = a
			_, text, _ = strings.Cut(strings.TrimSuffix(one.String(), ")"), "(")
			text = strings.TrimPrefix(text, strings.Repeat("_, ", i))
		}
		for len(args) < i {
			args = append(args, "_")
		}
		args = append(args, text)
	}
	if args == nil {
		return c.Name
	}
	return c.Name + "(" + strings.Join(args, ", ") + ")"
}

// signed says that an argument is a number of 32 bits that may be negative.
func signed(p abi.Param) bool {
	switch p.Kind {
	case abi.KindInt, abi.KindPID, abi.KindFD:
		return p.Bits() == 32
	}
	return false
}

// Stage is the scene of a container that w asks for, on the machine f, of which nothing runs: what
// w.As's release would make of it. It fails where a container could not be specified.
func Stage(w workload.Workload, img spec.Image, f facts.Facts) (Scene, error) {
	known, unknown := capsOf(w, f)
	w.Security.CapAdd = known
	s, _, err := spec.Make(w, img, spec.Options{AppArmor: w.Security.AppArmor, CgroupsPath: "/porthole", Device: somewhere}, f)
	if err != nil {
		return Scene{}, err
	}
	var p *profile.Profile
	if s.Linux.Seccomp != nil {
		if p, err = profileOf(w); err != nil {
			return Scene{}, err
		}
	}
	c := profile.Conditions{Arch: f.Arch, Kernel: f.Kernel}
	if s.Process.Capabilities != nil {
		c.Caps = capSet(s.Process.Capabilities.Bounding)
	}
	sc := FromSpec(s, p, c, w.As, f, event.Sight{})
	sc.Privileged = w.Security.Privileged
	if w.Security.AppArmor != "" {
		sc.AppArmor = w.Security.AppArmor
	}
	if unknown != 0 { // the release refuses it by name, and the kernel has it: what would be, is asked
		sc = sc.granted(unknown)
		sc.unknown = unknown
	}
	if len(f.LSMs) == 0 {
		sc.LSMKnown = w.Security.AppArmor == "unconfined" || sc.Privileged
		if sc.LSMKnown && sc.AppArmor == "" {
			sc.AppArmor = "unconfined"
		}
	}
	return sc, nil
}

// capsOf parts the capabilities that a workload adds into those that its release knows, and those that only the
// kernel does.
func capsOf(w workload.Workload, f facts.Facts) (known []string, unknown caps.Set) {
	for _, name := range w.Security.CapAdd {
		one := w
		one.Security.CapAdd, one.Security.CapDrop = []string{name}, nil
		c, err := caps.Parse(name)
		if err == nil && existing(caps.Of(c), f.Kernel) != 0 {
			if _, _, err := spec.Make(one, spec.Image{Cmd: []string{"sh"}}, spec.Options{AppArmor: w.Security.AppArmor, CgroupsPath: "/porthole", Device: somewhere}, f); err != nil && strings.Contains(err.Error(), "unknown capability") {
				unknown = unknown.Add(c)
				continue
			}
		}
		known = append(known, name)
	}
	return known, unknown
}

// somewhere is a device that may be on the machine in question, whose numbers nobody knows here.
func somewhere(path string) ([]specs.LinuxDevice, error) {
	return []specs.LinuxDevice{{Path: path, Type: "c"}}, nil
}

// profileOf is the profile that a workload's filter is made from: as package spec chooses it.
func profileOf(w workload.Workload) (*profile.Profile, error) {
	if w.Security.SeccompDoc != nil {
		p, _, err := profile.Parse(w.Security.Seccomp, w.Security.SeccompDoc)
		return p, err
	}
	as := w.As
	switch engine, _, _ := strings.Cut(as, ":"); engine {
	case "":
		as = "docker"
	case "kubernetes": // RuntimeDefault is the runtime's
		as = "containerd"
	}
	return profile.Builtin(as)
}

// Static is the answer to a question about a call that nobody made.
type Static struct {
	Call    Call
	Verdict Verdict
	Errno   abi.Errno // of the first layer that surely refuses; 0: none does
	Layers  []Suspect // in the order in which they answer; those with proof Likely only might
	Filter  string    // what the profile says of it, in lines; "" where there is none
	Changes []Change  // what would change the verdict
	Notes   []Message // what has to be said beside it
}

// Verdict is what becomes of a call.
type Verdict uint8

// The verdicts.
const (
	Allowed Verdict = 1 + iota
	Refused
	Depends // on what neither the call nor the scene shows: see Static.Layers
)

var verdictNames = [...]string{Allowed: "allowed", Refused: "refused", Depends: "depends"}

func (v Verdict) String() string { return verdictNames[v] }

// MarshalText is String.
func (v Verdict) MarshalText() ([]byte, error) { return []byte(v.String()), nil }

// Change is one thing that would make the verdict another.
type Change struct {
	What    string // "release", "kernel", "rule", "grant"
	At      string // "docker 19.03.0", "4.8", "porthole profile allow …", "--cap-add SYS_PTRACE"
	Verdict Verdict
	Errno   abi.Errno
}

// Ask says what becomes of a call in a scene, by profile and rules alone: who refuses it, in the
// order in which they answer, and what would change that. It fails for a text that is no call
// (*profile.CallError) and for a call that the machine's architecture does not have.
func Ask(text string, s Scene) (Static, error) {
	c, err := ParseCall(text)
	if err != nil {
		return Static{}, err
	}
	if _, ok := s.Facts.Arch.Nr(c.Name); !ok {
		return Static{}, fmt.Errorf("%v has no system call %q", s.Facts.Arch, c.Name)
	}
	a := judge(c, &s)
	if s.Profile != nil {
		if x, err := s.Profile.Explain(c.Call, s.Conditions); err == nil {
			a.Filter = x.String()
		}
	}
	a.Changes = s.changes(c, a)
	if s.unknown != 0 {
		a.Notes = append(a.Notes, say("note.unknowncap", "release", s.As, "caps", capsText(s.unknown, true)))
	}
	return a, nil
}

// judge asks the filter and then the rules.
func judge(c Call, s *Scene) Static {
	a := Static{Call: c, Verdict: Allowed}
	q := &question{call: c.Name, arch: s.Facts.Arch, strings: c.Strings, who: &s.Caps}
	for i, arg := range c.Args {
		q.args[i], q.known[i] = arg.Value, arg.Known
	}
	for i, p := range abi.Params(c.Name) {
		if v, ok := c.Strings[i]; ok && q.path == "" && (p.Kind == abi.KindPath && (c.Name != "mount" || i == 1) || p.Kind == abi.KindFD) {
			q.path = v
		}
	}
	q.port = portIn(c.Strings[1])
	sus, some, errno := s.filterStatic(c, q)
	if some != no {
		a.Layers = append(a.Layers, sus)
		a.Errno, a.Verdict = errno, Depends
		if some == yes {
			a.Verdict = Refused
		}
	}
	blocked := some == yes
	if sus, ok := absentSuspect(q, s); ok {
		sus.Behind = blocked
		a.Layers = append(a.Layers, sus)
		if a.Verdict != Refused {
			a.Verdict, a.Errno = Refused, abi.ENOSYS
		}
		return a // nothing else is asked
	}
	for _, f := range refusing(q, s) {
		// What hangs on circumstances alone, none of which are known to hold, could be said of any call.
		bounded := f.rule.Code == "P0301" && !s.Caps.Bounding.Includes(existing(caps.All, s.Facts.Kernel))
		if circumstance(f) || f.rule.Layer == None || !f.sure && f.known() == 0 && !slices.Contains(f.open, "arguments") && !bounded {
			continue
		}
		for _, sus := range f.suspects(q, s, false) {
			sus.Behind = blocked
			a.Layers = add(a.Layers, sus)
		}
		switch {
		case f.sure && a.Verdict != Refused:
			a.Verdict = Refused
			a.Errno = firstErrno(f.rule)
		case a.Verdict == Allowed:
			a.Verdict = Depends
		}
	}
	return a
}

// circumstance says that a rule hangs on how much is there already, of which nothing is known: any fork might meet it.
func circumstance(f finding) bool {
	return !f.sure && f.met == 0 && len(f.open) > 0 && !slices.ContainsFunc(f.open, func(w string) bool {
		return !slices.Contains([]string{"nproc", "pids-max", "max-ns", "over-limit", "key-quota"}, w)
	})
}

func firstErrno(r *Rule) abi.Errno {
	for _, n := range names(r.Errno) {
		e, _ := abi.ParseErrno(n)
		return e
	}
	return 0
}

// filterStatic is what the filter does with a call of which some arguments may not be known: refused
// in any case (yes), for some values (unknown), never (no).
func (s *Scene) filterStatic(c Call, q *question) (Suspect, truth, abi.Errno) {
	sus := Suspect{Layer: Seccomp, Proof: ByRules}
	switch {
	case s.Filter != nil && s.Profile == nil:
		nr, _ := q.arch.Nr(c.Name)
		act, _ := s.decide(q.arch, nr, q.args)
		if act.Permits() {
			return sus, no, 0
		}
		sus.Code, sus.Detail, sus.Source = s.filterCode(c.Call, q, true, act)
		return sus, yes, abi.Errno(act.Data())
	case s.Profile == nil:
		return sus, no, 0
	}
	some, act, errno := s.filterVerdict(c)
	if some == no {
		return sus, no, 0
	}
	sus.Code, sus.Detail, sus.Source = s.filterCode(c.Call, q, true, act)
	sus.Factors = []Factor{{Kind: FilterRule, Call: ruleCall(c.Call, s)}}
	if some == unknown {
		sus.Proof = Likely
	}
	return sus, some, errno
}

// filterVerdict is filterStatic for the profile, without the reasons: act is the first answer that refuses.
func (s *Scene) filterVerdict(c Call) (some truth, act seccomp.Action, errno abi.Errno) {
	x, err := s.Profile.Explain(c.Call, s.Conditions)
	if err != nil {
		return no, 0, 0
	}
	refused := 0
	for _, o := range x.Outcomes {
		if !o.Action.Permits() {
			if refused++; refused == 1 {
				act = o.Action
			}
		}
	}
	switch {
	case refused == 0:
		return no, 0, 0
	case refused < len(x.Outcomes):
		return unknown, act, 0
	case act.Kind() == seccomp.Errno:
		errno = abi.Errno(act.Data())
	}
	return yes, act, errno
}

// changes finds the releases, kernels and grants at which the verdict turns.
func (s *Scene) changes(c Call, now Static) []Change {
	var out []Change
	if s.Profile != nil {
		out = append(out, s.releaseChanges(c)...)
		out = append(out, s.kernelChanges(c)...)
		t := *s
		t.Profile, t.Filter, t.Unfiltered = nil, nil, true
		if v := judge(c, &t); len(now.Layers) > 0 && now.Layers[0].Layer == Seccomp && differs(now, v) {
			g := granter{s: s, call: c}
			out = append(out, Change{"rule", Grant{Flags: g.allowCommand()[:len(g.allowCommand())-2]}.Line(), v.Verdict, v.Errno})
		}
	}
	return append(out, s.grantChanges(c, now)...)
}

func differs(a, b Static) bool { return a.Verdict != b.Verdict || a.Errno != b.Errno }

// releaseChanges walks the releases of the scene's engine, from the oldest, and reports each at
// which the verdict is another than in the one before. Only the profile is taken from them.
func (s *Scene) releaseChanges(c Call) []Change {
	type release struct {
		profile.Release
		verdict Static
	}
	var all []release
	bare := *s // what the rules say is the same under every profile
	bare.Profile, bare.Filter, bare.Unfiltered = nil, nil, true
	ruled := judge(c, &bare)
	engine, _, _ := strings.Cut(s.Profile.Name, ":")
	err := profile.Each(engine, func(rs []profile.Release, p *profile.Profile) bool {
		t := *s
		t.Profile = p.About(c.Name, s.Conditions)
		v := Static{Verdict: ruled.Verdict, Errno: ruled.Errno}
		switch some, _, errno := t.filterVerdict(c); {
		case some == yes:
			v = Static{Verdict: Refused, Errno: errno}
		case some == unknown && v.Verdict != Refused:
			v = Static{Verdict: Depends}
		}
		for _, r := range rs {
			all = append(all, release{r, v})
		}
		return true
	})
	if err != nil {
		return nil // the profiles that porthole brings along are tested to be readable
	}
	slices.SortFunc(all, func(a, b release) int { return a.Compare(b.Release) })
	var out []Change
	for i := 1; i < len(all); i++ {
		if v := all[i].verdict; differs(all[i-1].verdict, v) {
			out = append(out, Change{"release", engine + " " + all[i].Version, v.Verdict, v.Errno})
		}
	}
	return out
}

// kernelChanges tries every kernel version that a condition of the profile, or a rule, names.
func (s *Scene) kernelChanges(c Call) []Change {
	var at []facts.Version
	note := func(v facts.Version) {
		if v != (facts.Version{}) && !slices.Contains(at, v) {
			at = append(at, v)
		}
	}
	for i := range s.Profile.Entries {
		if e := &s.Profile.Entries[i]; slices.Contains(e.Names, c.Name) {
			note(e.Includes.MinKernel)
			note(e.Excludes.MinKernel)
		}
	}
	note(release(born, c.Name))
	note(release(gone, c.Name))
	slices.SortFunc(at, facts.Version.Compare)
	var out []Change
	t := *s
	t.Profile = s.Profile.About(c.Name, s.Conditions)
	t.Facts.Kernel = facts.Version{Major: 3, Minor: 10}
	t.Conditions.Kernel = t.Facts.Kernel
	before := judge(c, &t)
	for _, v := range at {
		t.Facts.Kernel, t.Conditions.Kernel = v, v
		here := judge(c, &t)
		if differs(before, here) {
			out = append(out, Change{"kernel", v.String(), here.Verdict, here.Errno})
		}
		before = here
	}
	return out
}

// grantChanges tries each capability that profile or rules name for the call, and root where that is what they want.
func (s *Scene) grantChanges(c Call, now Static) []Change {
	var out []Change
	for _, k := range s.wanted(c) {
		t := s.granted(caps.Of(k))
		if t.Profile != nil {
			t.Profile = t.Profile.About(c.Name, t.Conditions)
		}
		v := judge(c, &t)
		if differs(now, v) {
			out = append(out, Change{"grant", "--cap-add " + short(k), v.Verdict, v.Errno})
		}
		if t.becomeRoot() && v.Verdict != Allowed {
			if r := judge(c, &t); differs(v, r) {
				out = append(out, Change{"grant", "--cap-add " + short(k) + " --user 0", r.Verdict, r.Errno})
			}
		}
	}
	if t := *s; now.Verdict != Allowed && t.becomeRoot() {
		if v := judge(c, &t); differs(now, v) {
			out = append(out, Change{"grant", "--user 0", v.Verdict, v.Errno})
		}
	}
	return out
}

// becomeRoot makes the scene's process root of its container; false: it is already.
func (s *Scene) becomeRoot() bool {
	if s.Caps.EUID == 0 {
		return false
	}
	c := &s.Caps
	c.UID, c.EUID, c.SUID, c.FSUID = 0, 0, 0, 0
	c.Permitted, c.Effective = c.Bounding, c.Bounding
	return true
}

func short(c caps.Cap) string { return strings.TrimPrefix(c.String(), "CAP_") }

// wanted are the capabilities that may open a call, in the filter or in the kernel: first those that
// the profile names, CAP_SYS_ADMIN last, since it opens most.
func (s *Scene) wanted(c Call) []caps.Cap {
	var named, asked caps.Set
	if s.Profile != nil {
		for i := range s.Profile.Entries {
			if e := &s.Profile.Entries[i]; slices.Contains(e.Names, c.Name) {
				named |= e.Includes.Caps | e.Excludes.Caps
			}
		}
	}
	q := &question{call: c.Name, arch: s.Facts.Arch, strings: c.Strings, who: &s.Caps}
	for i, a := range c.Args {
		q.args[i], q.known[i] = a.Value, a.Known
	}
	for _, r := range about(c.Name) {
		if r.matches(q) != no {
			want, _ := r.capSet()
			asked |= want
		}
	}
	ours := func(set caps.Set) caps.Set { return existing(set.Without(s.Caps.Bounding), s.Facts.Kernel) }
	admin := caps.Of(caps.CAP_SYS_ADMIN)
	out := ours(named.Without(admin)).List()
	out = append(out, ours(asked.Without(named|admin)).List()...)
	return append(out, ours((named|asked)&admin).List()...)
}

// granted is the scene with capabilities added as --cap-add does: in the bounding set, in the
// conditions of the profile, and for root in force. Others hold them where the engine makes
// them ambient, as Podman does.
func (s *Scene) granted(set caps.Set) Scene {
	t := *s
	t.tables = nil
	t.Conditions.Caps |= set
	t.Caps.Bounding |= set
	if t.Caps.EUID == 0 || strings.HasPrefix(t.As, "podman") {
		t.Caps.Permitted |= set
		t.Caps.Effective |= set
	}
	return t
}
