// Package audit finds what is wrong with a seccomp profile although every runtime takes it: tests that an
// argument slips past, rules that never decide or contradict each other, doors left open beside one that is
// shut. Each Finding has its place, what it means, and what to write instead.
//
// Start here; siblings.go and fallbacks.go hold what is known of calls, sarif.go writes for other programs.
package audit

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	specs "github.com/opencontainers/runtime-spec/specs-go"

	"porthole/abi"
	"porthole/caps"
	"porthole/facts"
	"porthole/seccomp"
	"porthole/seccomp/compare"
	"porthole/seccomp/filter"
	"porthole/seccomp/profile"
)

// Severity says how much a finding matters.
type Severity uint8

// The severities.
const (
	Note    Severity = 1 + iota // worth knowing
	Warning                     // not what its author may have meant
	Error                       // it lets through what it says it refuses, or does not start
)

func (s Severity) String() string { return [...]string{"", "note", "warning", "error"}[s] }

// ParseSeverity reads "note", "warning" or "error".
func ParseSeverity(s string) (Severity, error) {
	for v := Note; v <= Error; v++ {
		if s == v.String() {
			return v, nil
		}
	}
	return 0, fmt.Errorf("no severity is called %q; there are note, warning, error", s)
}

// Rule is something that is looked for.
type Rule struct {
	ID, Name string
	Short    string // what it says of a profile
	Why      string // at length
}

// Rules are all of them, in the order of their numbers.
var Rules = []Rule{
	{"S0001", "not-a-profile", "the document is not a profile", "A reader that takes it all the same would build another filter than its author meant."},
	{"S0002", "int-compared-as-64-bits", "an argument that the kernel takes as an int is compared as 64 bits",
		"A filter sees 64 bits of an argument where the kernel looks at 32. A test that is passed by any number above, such as \"not 40\" or \"greater than 40\", is passed by 40 with a bit set in the half that the kernel drops."},
	{"S0003", "never-decides", "a rule can never decide", "Its tests or conditions exclude each other, an earlier rule has decided every call that it is about, or it says what the default says, and is skipped."},
	{"S0004", "contradiction", "two rules say different things of the same call",
		"Here, as written, the first that matches decides. libseccomp, which runc and crun use, lets a rule without tests decide before those with tests, refuses two rules with equal tests, and orders other tests as it sees fit."},
	{"S0005", "open-sibling", "a call is restricted, and another that does the same is open", "What the one refuses the other does."},
	{"S0006", "architecture-open", "calls of another architecture are not filtered", "A 64-bit machine runs 32-bit programs, whose calls have numbers of their own. What a filter says of one ABI it does not say of another."},
	{"S0007", "errno-without-fallback", "a C library falls back on ENOSYS, and gets another errno", "C libraries try newer calls first and take ENOSYS for an older kernel. Any other errno they hand to the program."},
	{"S0008", "unknown-name", "a name is no system call", "libseccomp skips it in silence: it is no rule."},
	{"S0009", "errno-out-of-range", "an errno is none", "The kernel caps errnos at 4095 (SECCOMP_RET_ERRNO, kernel/seccomp.c); with 0 the call is not carried out and seems to have succeeded."},
}

// RuleOf returns the rule of an ID; the zero Rule where there is none.
func RuleOf(id string) Rule {
	for _, r := range Rules {
		if r.ID == id {
			return r
		}
	}
	return Rule{}
}

// Finding is one thing that was found.
type Finding struct {
	Rule         string // its ID
	Severity     Severity
	Path         string // in the profile: "syscalls[3].args[0]"
	Line, Column int    // in the document, from 1
	Call         string // which call it is about; "" for none or many
	Msg          string
	Evidence     string // what a filter was seen to do
	Remedy       string
}

// String is a finding in lines: what it is and where, its evidence and its remedy.
func (f Finding) String() string {
	s := fmt.Sprintf("%d:%d: %v[%s]: %s", f.Line, f.Column, f.Severity, f.Rule, f.Msg)
	if f.Path != "" {
		s += "\n  at: " + f.Path
	}
	if f.Evidence != "" {
		s += "\n  seen: " + f.Evidence
	}
	if f.Remedy != "" {
		s += "\n  instead: " + f.Remedy
	}
	return s
}

// Options say what a profile is looked at for.
type Options struct {
	// Given are the capabilities, and the kernel, that a container has where that matters: for what is
	// open, and for errnos. What can decide at all is looked for under all of them.
	Given profile.Conditions
	// Machines are those looked at; nil: all that the profile is for.
	Machines []abi.Arch
	// Place says where in the document a path is; nil: nowhere.
	Place func(path string) (line, column int)
	// Open says that the program whose form this is lets calls of other ABIs through.
	Open bool
}

// machines are those that have profiles of their own.
var machines = []abi.Arch{abi.X86_64, abi.ARM64, abi.RISCV64, abi.PPC64LE, abi.S390X}

// Syntax is the finding for a document that is none.
func Syntax(err *profile.SyntaxError) Finding {
	f := Finding{Rule: "S0001", Severity: Error, Path: err.Path, Line: err.Line, Column: err.Column, Msg: err.Msg}
	if strings.HasSuffix(err.Path, "rrnoRet") || strings.HasSuffix(err.Path, "rrno") {
		f.Rule, f.Remedy = "S0009", "a number from 1 to 4095"
	}
	return f
}

// Profile looks at a profile and returns what it found, in the order of the document. It fails where a
// call's tests or conditions are beyond counting.
func Profile(p *profile.Profile, o Options) ([]Finding, error) {
	a := &auditor{Options: o, p: p, known: map[subject]bool{}}
	if a.Machines == nil {
		a.Machines = coveredBy(p)
	}
	for i := range p.Entries {
		a.entry(i)
	}
	if err := a.calls(); err != nil {
		return nil, err
	}
	for _, m := range a.Machines {
		a.open(m)
		a.narrow(m)
		a.fallbacks(m)
	}
	if o.Open {
		a.add(Finding{Rule: "S0006", Severity: Error, Path: "defaultAction", Msg: "calls of other ABIs, such as those of 32-bit programs, are let through whatever the lists say",
			Remedy: "allow the machine's own architecture alone (Firejail: seccomp.block-secondary), or write the filter for a runtime that covers them"})
	}
	for i := range a.found {
		f := &a.found[i]
		f.Line, f.Column = 1, 1
		if o.Place != nil {
			f.Line, f.Column = o.Place(f.Path)
		}
	}
	slices.SortStableFunc(a.found, func(x, y Finding) int {
		return cmp.Or(cmp.Compare(x.Line, y.Line), cmp.Compare(x.Column, y.Column), cmp.Compare(x.Rule, y.Rule))
	})
	return a.found, nil
}

// coveredBy are the machines that a profile is for.
func coveredBy(p *profile.Profile) []abi.Arch {
	named := func(m abi.Arch) bool {
		return slices.Contains(p.Arches, specs.Arch(m.SCMP())) ||
			slices.ContainsFunc(p.ArchMap, func(x profile.ArchMap) bool { return string(x.Arch) == m.SCMP() })
	}
	out := slices.DeleteFunc(slices.Clone(machines), func(m abi.Arch) bool { return !named(m) })
	if len(out) == 0 {
		return machines
	}
	return out
}

type auditor struct {
	Options
	p     *profile.Profile
	found []Finding
	known map[subject]bool // what findings there are of
}

// subject is what a finding is about.
type subject struct{ rule, path, call string }

// add keeps a finding, once.
func (a *auditor) add(f Finding) {
	s := subject{f.Rule, f.Path, f.Call}
	if !a.known[s] {
		a.known[s] = true
		a.found = append(a.found, f)
	}
}

func at(i int) string { return fmt.Sprintf("syscalls[%d]", i) }

// entry looks at one entry by itself.
func (a *auditor) entry(i int) {
	e := &a.p.Entries[i]
	for j, n := range e.Names {
		if abi.Known(n) {
			continue
		}
		f := Finding{Rule: "S0008", Severity: Note, Path: fmt.Sprintf("%s.names[%d]", at(i), j), Call: n,
			Msg: fmt.Sprintf("no system call of any architecture is called %q", n), Remedy: "leave it out"}
		if like := abi.Nearest(n, 1); len(like) > 0 {
			f.Severity, f.Remedy = Warning, "perhaps "+like[0]
		}
		a.add(f)
	}
	a.errno(e.Action, e.ErrnoRet, at(i))
	if i == 0 {
		a.errno(a.p.Default, a.p.DefaultErrno, "default")
	}
	var conflict string
	in, ex := e.Includes, e.Excludes
	switch {
	case in.Caps&ex.Caps != 0:
		conflict = "asks for " + (in.Caps & ex.Caps).String() + " and for its absence"
	case ex.MinKernel != facts.Version{} && in.MinKernel.AtLeast(ex.MinKernel):
		conflict = fmt.Sprintf("asks for Linux %v or newer and for one older than %v", in.MinKernel, ex.MinKernel)
	case len(in.Arches) > 0 && !slices.ContainsFunc(in.Arches, func(s string) bool { return !slices.Contains(ex.Arches, s) }):
		conflict = "asks for architectures that it excludes"
	}
	if conflict != "" {
		a.add(Finding{Rule: "S0003", Severity: Warning, Path: at(i) + ".includes", Msg: "the entry is never in effect: it " + conflict, Remedy: "leave out one of the two"})
	}
}

func (a *auditor) errno(act specs.LinuxSeccompAction, n *uint, path string) {
	if n == nil {
		return
	}
	path += map[bool]string{true: "ErrnoRet", false: ".errnoRet"}[path == "default"]
	switch kind, _ := seccomp.ParseAction(string(act)); {
	case kind == seccomp.Errno && *n == 0:
		a.add(Finding{Rule: "S0009", Severity: Warning, Path: path, Msg: "errno 0: the call is not carried out, and its caller is told that it succeeded", Remedy: "1 (EPERM), or 38 (ENOSYS)"})
	case kind == seccomp.Errno && *n > 4095:
		a.add(Finding{Rule: "S0009", Severity: Error, Path: path, Msg: fmt.Sprintf("errno %d: the kernel makes 4095 of it, which no C library knows", *n), Remedy: "a number from 1 to 4095"})
	case kind != seccomp.Errno && kind != seccomp.Trace:
		a.add(Finding{Rule: "S0009", Severity: Note, Path: path, Msg: fmt.Sprintf("%s has no errno: the number is not looked at", act), Remedy: "leave it out"})
	}
}

// What one call's entries may come to before auditing gives up: capabilities they hang on, and entries.
const (
	maxCaps    = 6
	maxEntries = 100
)

// calls looks at every call that entries name, under all conditions that those hang on.
func (a *auditor) calls() error {
	byCall := map[string][]int{}
	var order []string
	for i, e := range a.p.Entries {
		for _, n := range e.Names {
			if !abi.Known(n) {
				continue
			}
			if byCall[n] == nil {
				order = append(order, n)
			}
			if l := byCall[n]; len(l) == 0 || l[len(l)-1] != i {
				byCall[n] = append(l, i)
			}
		}
	}
	for _, call := range order {
		if err := a.call(call, byCall[call]); err != nil {
			return fmt.Errorf("%s: %w", call, err)
		}
	}
	return nil
}

// call looks at the entries that name one call.
func (a *auditor) call(call string, entries []int) error {
	var set caps.Set
	kernels := []facts.Version{a.Given.Kernel, {}}
	tests := false
	for _, i := range entries {
		e := &a.p.Entries[i]
		set |= e.Includes.Caps | e.Excludes.Caps
		for _, v := range []facts.Version{e.Includes.MinKernel, e.Excludes.MinKernel} {
			if v != (facts.Version{}) {
				kernels = append(kernels, v)
			}
		}
		tests = tests || len(e.Args) > 0
	}
	if len(entries) == 1 && !tests && !saysDefault(a.p, &a.p.Entries[entries[0]]) {
		return nil
	}
	list := set.List()
	if len(list) > maxCaps {
		return fmt.Errorf("its entries hang on %d capabilities; the most that are gone through is %d", len(list), maxCaps)
	}
	if len(entries) > maxEntries {
		return fmt.Errorf("%d entries name it; the most that are compared is %d", len(entries), maxEntries)
	}
	q := *a.p
	q.Entries = nil
	for _, i := range entries {
		e := a.p.Entries[i]
		e.Names = []string{call}
		q.Entries = append(q.Entries, e)
	}
	decides := make([]bool, len(entries)) // some call is decided by the entry
	inEffect := make([]bool, len(entries))
	exists := false
	seen := map[pair]bool{}
	for _, m := range a.Machines {
		for bits := range 1 << len(list) {
			c := profile.Conditions{Arch: m, Caps: a.Given.Caps &^ set}
			for i, k := range list {
				if held := a.Given.Caps.Has(k); (bits>>i&1 != 0) != held { // what is given first
					c.Caps |= caps.Of(k)
				}
			}
			for _, k := range kernels {
				c.Kernel = k
				for i := range q.Entries {
					inEffect[i] = inEffect[i] || len(q.Entries[i].Unmet(c)) == 0
				}
				pol, _ := q.Resolve(c)
				a.contradictions(call, entries, pol, m, seen)
				for _, own := range pol.Arches {
					nr, ok := own.Nr(call)
					if !ok {
						continue
					}
					exists = true
					span := pol.Table(own).At(nr)
					reached, err := compare.Reachable(span)
					if err != nil {
						return err
					}
					for i, yes := range reached {
						if v := span.Clauses[i].Verdict; yes && v.Rule >= 0 {
							decides[pol.Rules[v.Rule].From] = true
						}
					}
					if err := a.slips(call, entries, pol, own, span, c); err != nil {
						return err
					}
				}
			}
		}
	}
	for j, i := range entries {
		if decides[j] || !exists || !inEffect[j] {
			continue
		}
		f := Finding{Rule: "S0003", Severity: Warning, Path: at(i), Call: call, Remedy: "leave it out, or put it before what decides"}
		switch {
		case saysDefault(a.p, &a.p.Entries[i]):
			f.Severity = Note
			f.Msg = fmt.Sprintf("for %s it says what the default says, and runtimes skip it", call)
			f.Remedy = "leave it out; if something else is to be refused, leave that out instead"
			if !slices.ContainsFunc(entries[j+1:], func(k int) bool { return !saysDefault(a.p, &a.p.Entries[k]) }) {
				continue // it says again what is so, which harms nothing
			}
		case a.known[subject{"S0004", at(i), call}]:
			continue // said there, and what decides
		default:
			var said bool
			if f.Msg, said = a.because(call, entries[:j], i); said {
				f.Severity, f.Remedy = Note, "leave it out"
			}
		}
		a.add(f)
	}
	return nil
}

// because says why an entry never decides a call; said tells that others have said the same before.
func (a *auditor) because(call string, before []int, i int) (why string, said bool) {
	e := &a.p.Entries[i]
	why = "it never decides " + call + ": "
	for _, arg := range e.Args {
		op, _ := seccomp.ParseOp(string(arg.Op))
		switch {
		case op == seccomp.LT && arg.Value == 0:
			return why + "no argument is less than 0", false
		case op == seccomp.GT && arg.Value == ^uint64(0):
			return why + "no argument is greater than the greatest", false
		}
	}
	if len(before) == 0 {
		return why + "its tests exclude each other", false
	}
	said = true
	var list []string
	for _, b := range before {
		list = append(list, at(b))
		o := &a.p.Entries[b]
		said = said && number(o.Action, o.ErrnoRet) == number(e.Action, e.ErrnoRet)
	}
	if said {
		return fmt.Sprintf("of %s it says what %s says already", call, strings.Join(list, ", ")), true
	}
	return why + strings.Join(list, ", ") + " decides all of it before", false
}

// number is an action with its errno, as runc reads it.
func number(a specs.LinuxSeccompAction, n *uint) seccomp.Action {
	act, _ := seccomp.ParseAction(string(a))
	switch {
	case act != seccomp.Errno && act != seccomp.Trace:
		return act
	case n == nil:
		return act.With(1)
	}
	return act.With(uint16(*n))
}

// saysDefault says that an entry's answer is the default's.
func saysDefault(p *profile.Profile, e *profile.Entry) bool {
	return number(e.Action, e.ErrnoRet) == number(p.Default, p.DefaultErrno)
}

// pair are two rules: each an entry, and which of its rules.
type pair struct {
	a, b [2]int
	bits int
}

// contradictions looks for pairs of rules that are in effect together, match one call, and differ.
func (a *auditor) contradictions(call string, entries []int, pol seccomp.Policy, m abi.Arch, seen map[pair]bool) {
	ordinals := make([]int, len(pol.Rules)) // of a rule among those of its entry
	for i := range pol.Rules {
		if i > 0 && pol.Rules[i-1].From == pol.Rules[i].From {
			ordinals[i] = ordinals[i-1] + 1
		}
	}
	for j, r := range pol.Rules {
		if r.Action == pol.Default {
			continue
		}
		for i, q := range pol.Rules[:j] {
			if q.Action == r.Action || q.Action == pol.Default || q.From == r.From {
				continue
			}
			key := pair{[2]int{q.From, ordinals[i]}, [2]int{r.From, ordinals[j]}, m.Bits()}
			if seen[key] {
				continue
			}
			seen[key] = true
			args, both, err := compare.Overlap(q.Conds, r.Conds, m.Bits())
			if err != nil || !both {
				continue
			}
			first, second := entries[q.From], entries[r.From]
			f := Finding{Rule: "S0004", Severity: Warning, Path: at(second), Call: call}
			shown := shownCall(call, args, append(slices.Clone(q.Conds), r.Conds...))
			here := fmt.Sprintf("here %s decides, which stands first", at(first))
			switch {
			case len(q.Conds) == 0:
				f.Msg = fmt.Sprintf("%s has said %v of every %s; this says %v: %s, in libseccomp too", at(first), q.Action, call, r.Action, strings.TrimSuffix(here, ", which stands first"))
				f.Remedy = "leave out the one that is not meant"
			case len(r.Conds) == 0:
				f.Severity = Error
				f.Msg = fmt.Sprintf("%s says %v of %s, this %v of every %s: %s; in libseccomp this one, as it has no tests", at(first), q.Action, shown, r.Action, call, here)
				f.Remedy = "test for the contrary in this one, so that no call matches both"
			case equalConds(q.Conds, r.Conds):
				f.Severity = Error
				f.Msg = fmt.Sprintf("%s says %v and this %v, under the same tests: %s; libseccomp takes no such pair (EEXIST), and runc does not start the container", at(first), q.Action, r.Action, here)
				f.Remedy = "leave out the one that is not meant"
			default:
				f.Msg = fmt.Sprintf("%s says %v of %s, this %v: %s; in libseccomp that which comes first in an order of its own", at(first), q.Action, shown, r.Action, here)
				f.Remedy = "write tests of which no call passes both"
			}
			a.add(f)
		}
	}
}

func equalConds(a, b []seccomp.Cond) bool {
	return len(a) == len(b) && !slices.ContainsFunc(a, func(c seccomp.Cond) bool { return !slices.Contains(b, c) })
}

// shownCall is a call with the arguments that conditions are about.
func shownCall(call string, args [6]uint64, conds []seccomp.Cond) string {
	c := profile.Call{Name: call}
	for _, d := range conds {
		c.Args[d.Arg] = profile.Arg{Known: true, Value: args[d.Arg]}
	}
	return c.String()
}

// slips looks for values of int arguments that pass a test with a bit that the kernel drops.
func (a *auditor) slips(call string, entries []int, pol seccomp.Policy, own abi.Arch, span seccomp.Span, c profile.Conditions) error {
	if span.Bits != 64 {
		return nil
	}
	params := abi.Params(call)
	for arg := range uint8(min(6, len(params))) {
		if params[arg].Bits() >= 64 {
			continue
		}
		tested := false
		for _, cl := range span.Clauses {
			tested = tested || slices.ContainsFunc(cl.Conds, func(d seccomp.Cond) bool { return d.Arg == arg })
		}
		if !tested {
			continue
		}
		args, ok, err := compare.SlipsThrough(span, arg)
		if err != nil {
			return err
		}
		if !ok {
			continue
		}
		kernel := args
		kernel[arg] &= 0xffffffff
		nr, _ := own.Nr(call)
		prog, err := filter.Compile(pol)
		if err != nil {
			return err
		}
		run := func(args [6]uint64) string {
			act, _ := prog.Run(filter.Data{Nr: nr, Arch: own.Audit(), Args: args})
			return act.String()
		}
		table := pol.Table(own)
		path, blame := "", table.Decide(nr, args).Rule
		if blame < 0 {
			blame = table.Decide(nr, kernel).Rule
		}
		if blame >= 0 {
			i := entries[pol.Rules[blame].From]
			path = at(i)
			for j, t := range a.p.Entries[i].Args {
				if t.Index == uint(arg) {
					path = fmt.Sprintf("%s.args[%d]", at(i), j)
					break
				}
			}
		}
		conds := []seccomp.Cond{{Arg: arg}}
		shown, meant := hexCall(call, args, arg), shownCall(call, kernel, conds)
		a.add(Finding{
			Rule: "S0002", Severity: Error, Path: path, Call: call,
			Msg:      fmt.Sprintf("the kernel takes argument %d of %s (%s %s) as 32 bits, and this compares 64: %s slips through, which to the kernel is %s", arg, call, params[arg].Type, params[arg].Name, shown, meant),
			Evidence: fmt.Sprintf("the filter of %v run on it says %s; on %s it says %s", own, run(args), hexCall(call, kernel, arg), run(kernel)),
			Remedy:   "allow each value that is meant with SCMP_CMP_EQ, or all below one with SCMP_CMP_LT: no number above passes those; SCMP_CMP_NE, GT and GE it does. To refuse a value, test SCMP_CMP_MASKED_EQ with value 0xffffffff (4294967295) and valueTwo the value",
		})
	}
	return nil
}

func hexCall(call string, args [6]uint64, arg uint8) string {
	return call + "(" + strings.Repeat("_, ", int(arg)) + fmt.Sprintf("%#x)", args[arg])
}

// Worst is the highest severity among findings; 0 for none.
func Worst(list []Finding) (w Severity) {
	for _, f := range list {
		w = max(w, f.Severity)
	}
	return w
}
