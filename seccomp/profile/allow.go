package profile

import (
	"fmt"
	"slices"
	"strings"

	specs "github.com/opencontainers/runtime-spec/specs-go"

	"porthole/abi"
	"porthole/seccomp"
)

// AllowRule returns base with rules in front that let some calls through, whatever else it says of
// them; base itself stays as it was. A rule is written as a call ("ptrace",
// "personality(0x40000)", "ptrace(TRACEME)"), or as a name and tests of its arguments
// ("personality arg0==0x40000", "clone arg0&0x7e020000==0x10000000"), or as a name and flags that
// one of its arguments must all have ("unshare NEWUSER", "clone NEWUSER"). An error names the rule,
// and is a *CallError where a column can be told.
func AllowRule(base *Profile, exprs ...string) (*Profile, error) {
	p := *base
	p.Name = base.Name + " + " + strings.Join(exprs, ", ")
	var added []Entry
	for _, text := range exprs {
		e, err := allowEntry(text)
		if err != nil {
			return nil, err
		}
		added = append(added, e)
	}
	p.Entries = append(added, base.Entries...)
	return &p, nil
}

// allowEntry reads one rule of AllowRule.
func allowEntry(text string) (Entry, error) {
	e := Entry{LinuxSyscall: specs.LinuxSyscall{Action: specs.ActAllow}}
	name, rest, tests := strings.Cut(strings.TrimSpace(text), " ")
	if strings.Contains(name, "(") || !tests || strings.HasPrefix(strings.TrimSpace(rest), "(") {
		c, err := ParseCall(text)
		if err != nil {
			return e, err
		}
		e.Names = []string{c.Name}
		for i, a := range c.Args {
			if a.Known {
				e.Args = append(e.Args, exactly(c.Name, i, a.Value)...)
			}
		}
		return e, nil
	}
	c, err := ParseCall(name)
	if err != nil {
		return e, err
	}
	e.Names = []string{c.Name}
	at := strings.Index(text, name) + len(name)
	for word := range strings.FieldsFuncSeq(rest, func(r rune) bool { return r == ' ' || r == ',' }) {
		at += strings.Index(text[at:], word)
		arg, err := argTest(c.Name, word)
		if err != nil {
			return e, &CallError{text, 1 + len([]rune(text[:at])), err.Error()}
		}
		at += len(word)
		if slices.ContainsFunc(e.Args, func(a specs.LinuxSeccompArg) bool { return a.Index == arg.Index }) {
			return e, &CallError{text, 1 + len([]rune(text[:at])), fmt.Sprintf("a second test of argument %d would mean \"either\", not \"both\": write two rules", arg.Index)}
		}
		e.Args = append(e.Args, arg)
	}
	return e, nil
}

// exactly tests that an argument has a value. An int is compared by the bits that the kernel looks
// at: the caller's upper half may hold anything.
func exactly(call string, i int, v uint64) []specs.LinuxSeccompArg {
	if params := abi.Params(call); i < len(params) && params[i].Bits() == 32 {
		return []specs.LinuxSeccompArg{{Index: uint(i), Value: 0xffffffff, ValueTwo: v & 0xffffffff, Op: specs.OpMaskedEqual}}
	}
	return []specs.LinuxSeccompArg{{Index: uint(i), Value: v, Op: specs.OpEqualTo}}
}

// argTest reads "arg0==0x40000", "arg1&0xf==3", "arg2<5", or a flag.
func argTest(call, s string) (a specs.LinuxSeccompArg, err error) {
	rest, is := strings.CutPrefix(s, "arg")
	if !is {
		return flagTest(call, s)
	}
	if rest == "" || rest[0] < '0' || rest[0] > '5' {
		return a, fmt.Errorf("%q: a system call has arguments arg0 to arg5", short(s))
	}
	a.Index = uint(rest[0] - '0')
	rest = rest[1:]
	value := func(w string) (uint64, error) {
		if v, ok := number64(w); ok {
			return v, nil
		}
		if v, ok := constant(call, int(a.Index), w); ok {
			return v, nil
		}
		return 0, fmt.Errorf("unknown constant %q%s", short(w), nearConst(call, short(w)))
	}
	if mask, ok := strings.CutPrefix(rest, "&"); ok {
		m, v, two := strings.Cut(mask, "==")
		if !two {
			return a, fmt.Errorf("%q: expected == after the mask", short(s))
		}
		a.Op = specs.OpMaskedEqual
		if a.Value, err = value(m); err != nil {
			return a, err
		}
		a.ValueTwo, err = value(v)
		return a, err
	}
	for _, op := range []specs.LinuxSeccompOperator{specs.OpNotEqual, specs.OpLessEqual, specs.OpGreaterEqual, specs.OpEqualTo, specs.OpLessThan, specs.OpGreaterThan} {
		if v, ok := strings.CutPrefix(rest, symbols[op]); ok {
			a.Op = op
			a.Value, err = value(v)
			return a, err
		}
	}
	return a, fmt.Errorf("%q: expected a comparison: == != < <= > >= or &MASK==", short(s))
}

// flagTest reads names of flags joined by |, all of which must be set in the call's argument that
// has such flags.
func flagTest(call, s string) (a specs.LinuxSeccompArg, err error) {
	for i, p := range abi.Params(call) {
		if p.Group == "" {
			continue
		}
		var all uint64
		ok := true
		for w := range strings.SplitSeq(s, "|") {
			v, known := constant(call, i, w)
			ok = ok && known
			all |= v
		}
		if ok {
			return specs.LinuxSeccompArg{Index: uint(i), Value: all, ValueTwo: all, Op: specs.OpMaskedEqual}, nil
		}
	}
	return a, fmt.Errorf("%q is neither a test (arg0==1) nor a flag of %s%s", short(s), call, nearConst(call, short(s)))
}

// AllowExpr is how AllowRule is asked for a call, as short as can be: "ptrace", "unshare NEWUSER",
// "personality arg0==0x40000".
func AllowExpr(c Call) string {
	s := c.Name
	params := abi.Params(c.Name)
	for i, a := range c.Args {
		if !a.Known {
			continue
		}
		if i < len(params) && params[i].Group != "" {
			g, v := params[i].Group, a.Value
			if g == "clone" || g == "unshare" || g == "setns" {
				if ns := v & newNamespaces; ns != 0 {
					v = ns
				}
				if words := strings.ReplaceAll(abi.Flags(g, v), "CLONE_", ""); v != 0 && !strings.Contains(words, "0x") {
					s += " " + words
					continue
				}
			}
		}
		s += fmt.Sprintf(" arg%d==%#x", i, a.Value)
	}
	return s
}

// newNamespaces are the flags of clone and unshare that make namespaces, as profiles test them
// (CLONE_NEWTIME is none of clone's).
const newNamespaces = 0x7e020000

// Opened lists the calls, by name and sorted, that q lets through on arch and p does not, or that it
// lets through with more arguments.
func Opened(p, q seccomp.Policy, arch abi.Arch) (out []string) {
	a, b := p.Table(arch), q.Table(arch)
	for nr, name := range arch.Calls() {
		if looser(b.At(nr), a.At(nr)) {
			out = append(out, name)
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// looser says that a span lets through what another, of the same number, does not.
func looser(a, b seccomp.Span) bool {
	return permitting(a) > permitting(b)
}

// permitting is 2 for a span that always permits, 1 for one that may, 0 for one that never does.
func permitting(s seccomp.Span) int {
	may, never := false, false
	for _, c := range s.Clauses {
		if c.Verdict.Action.Permits() {
			may = true
		} else {
			never = true
		}
	}
	switch {
	case may && never:
		return 1
	case may:
		return 2
	}
	return 0
}

// Opens lists the calls, by name and sorted, that the profile lets through under b, or lets through
// with more arguments, and not under a: what a capability brings along, for instance.
func (p *Profile) Opens(a, b Conditions) []string {
	before, _ := p.Resolve(a)
	after, _ := p.Resolve(b)
	return Opened(before, after, a.Arch)
}
