package profile

import (
	"fmt"
	"slices"
	"strings"

	"porthole/abi"
	"porthole/caps"
	"porthole/facts"
	"porthole/seccomp"
)

// Explanation says what becomes of a call under a profile, and which entries could have made
// it otherwise.
type Explanation struct {
	Call Call
	Arch abi.Arch
	Nr   uint32
	// Outcomes are what may become of it: one, or, where arguments that were not given decide,
	// every one that some value of them brings, in the order in which they are asked.
	Outcomes []Outcome
	// Missing are the entries with another action that name the call and yet cannot decide it
	// as it stands, in the document's order.
	Missing []Missing
}

// Outcome is one thing that may become of a call.
type Outcome struct {
	Action seccomp.Action
	Why    seccomp.Why
	Entry  int            // index of the entry that decides; -1: none
	When   []seccomp.Cond // tests of arguments not given; all hold in this outcome
}

// Missing is an entry that does not decide: because conditions are unmet, or because arguments
// that were given fail its tests.
type Missing struct {
	Entry  int
	Action seccomp.Action
	Unmet  []Condition
	Tests  []seccomp.Cond // those that fail; with Any, one of them would have to hold, otherwise all
	Any    bool
	// Then is what would become of the call if no more changed than the machine's kernel and the
	// capabilities that Unmet tells of; empty where those cannot help.
	Then []Outcome
}

// Verdict returns the action that the call gets, if that does not hang on arguments not given.
func (x Explanation) Verdict() (seccomp.Action, bool) {
	for _, o := range x.Outcomes[1:] {
		if o.Action != x.Outcomes[0].Action {
			return 0, false
		}
	}
	return x.Outcomes[0].Action, true
}

// Explain says what the profile, under c, does with a call made in the machine's own ABI, and why.
// It fails for a call that this ABI does not have.
func (p *Profile) Explain(call Call, c Conditions) (Explanation, error) {
	nr, ok := c.Arch.Nr(call.Name)
	if !ok {
		if !abi.Known(call.Name) {
			return Explanation{}, fmt.Errorf("no system call is called %q%s", short(call.Name), didYouMean(abi.Nearest(short(call.Name), 1)))
		}
		return Explanation{}, fmt.Errorf("%v has no system call %q", c.Arch, call.Name)
	}
	x := Explanation{Call: call, Arch: c.Arch, Nr: nr, Outcomes: p.outcomes(call, nr, c)}
	for i := range p.Entries {
		e := &p.Entries[i]
		if !slices.Contains(e.Names, call.Name) || slices.ContainsFunc(x.Outcomes, func(o Outcome) bool { return o.Entry == i }) {
			continue
		}
		m := Missing{Entry: i, Action: action(e.Action, e.ErrnoRet), Unmet: e.Unmet(c)}
		if v, sure := x.Verdict(); sure && v == m.Action {
			continue
		}
		alternatives := conditions(e.Args)
		m.Any = len(alternatives) > 1
		possible := false
		for _, conds := range alternatives {
			failed := slices.DeleteFunc(slices.Clone(conds), func(d seccomp.Cond) bool {
				a := call.Args[d.Arg]
				return !a.Known || d.Match(a.Value, c.Arch.Bits())
			})
			possible = possible || len(failed) == 0
			m.Tests = append(m.Tests, failed...)
		}
		if possible {
			m.Tests = nil
		}
		if then, ok := c.with(m.Unmet); ok && possible && len(x.Missing) < mostTried {
			m.Then = p.outcomes(call, nr, then)
		}
		x.Missing = append(x.Missing, m)
	}
	return x, nil
}

// with is c with conditions met, unless they are none or ask for another architecture.
func (c Conditions) with(unmet []Condition) (Conditions, bool) {
	for _, u := range unmet {
		switch {
		case u.Kind == NeedsArch:
			return c, false
		case u.Kind == NeedsCap && u.Not:
			c.Caps &^= u.Caps
		case u.Kind == NeedsCap:
			c.Caps |= u.Caps
		case u.Not: // the newest that is older: which one, no other condition tells apart
			c.Kernel = facts.Version{Major: u.Kernel.Major, Minor: u.Kernel.Minor - 1}
		default:
			c.Kernel = u.Kernel
		}
	}
	return c, len(unmet) > 0
}

// mostTried bounds for how many entries Missing.Then is told; no profile comes near.
const mostTried = 100

// most bounds how many values of arguments that were not given are tried.
const most = 1 << 16

// outcomes finds what may become of a call by trying, for arguments that were not given, every
// value at which an answer may change. Where those are too many, it counts each clause that the
// given arguments do not rule out, though others may leave nothing for it.
func (p *Profile) outcomes(call Call, nr uint32, c Conditions) []Outcome {
	pol, _ := p.Resolve(c)
	span := pol.Table(c.Arch).At(nr)
	edges, total := span.Edges(), 1
	for i, a := range call.Args {
		if a.Known {
			edges[i] = []uint64{a.Value}
		}
		if n := len(edges[i]); n > 0 && total <= most {
			total *= n // no overflow: both are small
		}
	}
	reached := make([]bool, len(span.Clauses))
	if total > most {
		for i, cl := range span.Clauses {
			reached[i] = !slices.ContainsFunc(cl.Conds, func(d seccomp.Cond) bool {
				return call.Args[d.Arg].Known && !d.Match(call.Args[d.Arg].Value, span.Bits)
			})
		}
		total = 0
	}
	for n := range total {
		var args [6]uint64
		for i, e := range edges {
			if len(e) > 0 {
				args[i] = e[n%len(e)]
				n /= len(e)
			}
		}
		reached[slices.IndexFunc(span.Clauses, func(cl seccomp.Clause) bool { return matches(cl.Conds, args, span.Bits) })] = true
	}
	var out []Outcome
	for i, cl := range span.Clauses {
		if !reached[i] {
			continue
		}
		o := Outcome{Action: cl.Verdict.Action, Why: cl.Verdict.Why, Entry: -1}
		if cl.Verdict.Rule >= 0 {
			o.Entry = pol.Rules[cl.Verdict.Rule].From
		}
		for _, d := range cl.Conds {
			if !call.Args[d.Arg].Known {
				o.When = append(o.When, d)
			}
		}
		out = append(out, o)
	}
	return out
}

func matches(conds []seccomp.Cond, args [6]uint64, bits int) bool {
	for _, d := range conds {
		if !d.Match(args[d.Arg], bits) {
			return false
		}
	}
	return true
}

// String is the explanation in lines: the call and what becomes of it, why, and what would bring
// another answer. Entries for other architectures are left out.
func (x Explanation) String() string {
	var b strings.Builder
	if v, sure := x.Verdict(); sure {
		fmt.Fprintf(&b, "%v: %v\n", x.Call, v)
	} else {
		fmt.Fprintf(&b, "%v: depends on its arguments\n", x.Call)
	}
	for i, o := range x.Outcomes {
		fmt.Fprintf(&b, "  %v", o.Action)
		switch {
		case len(o.When) > 0:
			fmt.Fprintf(&b, " if %s", joinConds(o.When, " and "))
		case i > 0:
			b.WriteString(" otherwise")
		}
		fmt.Fprintf(&b, ": %s\n", x.because(o))
	}
	missing := slices.DeleteFunc(slices.Clone(x.Missing), func(m Missing) bool {
		return slices.ContainsFunc(m.Unmet, func(u Condition) bool { return u.Kind == NeedsArch })
	})
	for len(missing) > 0 {
		m, n := missing[0], 1
		// Entries that differ in their tests alone are told as one.
		for n < len(missing) && missing[n].Action == m.Action && len(m.Tests) > 0 && len(missing[n].Tests) > 0 &&
			slices.EqualFunc(missing[n].Unmet, m.Unmet, func(a, b Condition) bool { return a.String() == b.String() }) {
			n++
		}
		fmt.Fprintf(&b, "  would be %s\n", describe(missing[:n]))
		missing = missing[n:]
	}
	return b.String()
}

// because says why an outcome is what it is.
func (x Explanation) because(o Outcome) string {
	switch o.Why {
	case seccomp.ByRule:
		return path(o.Entry)
	case seccomp.ByDefault:
		return "the default, as no entry in effect matches"
	case seccomp.ByAge:
		return fmt.Sprintf("its number %d is newer than every call that the profile names", x.Nr&^abi.X32Bit)
	}
	return fmt.Sprintf("the profile does not cover %v", x.Arch)
}

// describe tells of entries with the same action and unmet conditions.
func describe(list []Missing) string {
	m := list[0]
	s := m.Action.String()
	var parts, tests []string
	for _, u := range m.Unmet {
		parts = append(parts, u.phrase())
	}
	for _, m := range list {
		if sep := " and "; len(m.Tests) > 0 {
			if m.Any {
				sep = " or "
			}
			tests = append(tests, joinConds(m.Tests, sep))
		}
	}
	if len(tests) > 0 {
		parts = append(parts, "if "+strings.Join(tests, " or "))
	}
	if len(parts) > 0 {
		s += " " + strings.Join(parts, ", ")
	}
	s += " (" + path(m.Entry)
	if last := list[len(list)-1].Entry; last != m.Entry {
		s += " to " + path(last)
	}
	s += ")"
	// The entry may come into effect and yet another decide.
	if then := m.Then; len(then) == 1 && then[0].Entry >= 0 && then[0].Entry != m.Entry {
		s += fmt.Sprintf(", were it not that %s then says %v", path(then[0].Entry), then[0].Action)
	}
	return s
}

func joinConds(conds []seccomp.Cond, sep string) string {
	s := make([]string, len(conds))
	for i, c := range conds {
		s[i] = c.String()
	}
	return strings.Join(s, sep)
}

// Need says what a Condition is about.
type Need uint8

// The conditions an entry may have.
const (
	NeedsCap    Need = 1 + iota // Caps
	NeedsArch                   // Arches
	NeedsKernel                 // Kernel, or newer
)

// Condition is one reason for an entry not to be in effect: what would have to be so,
// or with Not what would have not to be.
type Condition struct {
	Kind   Need
	Not    bool
	Caps   caps.Set      // the ones that are missing; with Not, those held
	Arches []string      // Docker's names, of which any will do; with Not, none
	Kernel facts.Version // at least; with Not, less
}

// String says what would have to be so: "CAP_SYS_PTRACE granted", "Linux 4.8 or newer".
func (c Condition) String() string {
	switch {
	case c.Kind == NeedsCap && c.Not:
		return c.names() + " not granted"
	case c.Kind == NeedsCap:
		return c.names() + " granted"
	case c.Kind == NeedsArch && c.Not:
		return "an architecture other than " + strings.Join(c.Arches, ", ")
	case c.Kind == NeedsArch:
		return "architecture " + strings.Join(c.Arches, " or ")
	case c.Not:
		return "Linux older than " + c.Kernel.String()
	}
	return "Linux " + c.Kernel.String() + " or newer"
}

// phrase is the condition behind an action: "with CAP_SYS_PTRACE granted".
func (c Condition) phrase() string {
	if c.Kind == NeedsCap {
		return "with " + c.String()
	}
	return "on " + c.String()
}

func (c Condition) names() string {
	var names []string
	for _, k := range c.Caps.List() {
		names = append(names, k.String())
	}
	return strings.Join(names, ", ")
}
