package profile

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	specs "github.com/opencontainers/runtime-spec/specs-go"

	"porthole/caps"
	"porthole/facts"
)

// A profile as text has a line for what holds for all of it and a line for every entry, the
// action first, its conditions in brackets, and then the calls:
//
//	default errno 1
//	archmap x86_64: x86 x32
//	allow: accept accept4 access
//	allow [kernel>=4.8]: process_vm_readv process_vm_writev ptrace
//	allow: personality if arg0 == 0x8
//	allow [!CAP_SYS_ADMIN !s390 !s390x]: clone if arg0 & 0x7e020000 == 0x0
//	errno 38 [!CAP_SYS_ADMIN]: clone3
//	allow [arm|arm64]: cacheflush set_tls
//
// Terms in a bracket must all hold. A comma between tests means "and" too, as in a document,
// unless both are of one argument: then any of the entry's tests will do. It is for people, and
// for builtin.txt, which nothing but lineEntry reads back.

// String is the profile as text, in the document's order.
func (p *Profile) String() string {
	var b strings.Builder
	for _, line := range p.lines() {
		b.WriteString(line)
		b.WriteByte('\n')
	}
	return b.String()
}

func (p *Profile) lines() []string {
	out := []string{"default " + actionText(p.Default, p.DefaultErrno)}
	if len(p.Arches) > 0 {
		out = append(out, "arches: "+archesText(p.Arches))
	}
	for _, m := range p.ArchMap {
		out = append(out, strings.TrimSpace("archmap "+archText(m.Arch)+": "+archesText(m.Sub)))
	}
	if p.Flags != nil {
		s := "flags:"
		for _, f := range p.Flags {
			s += " " + strings.TrimPrefix(string(f), flagPrefix)
		}
		out = append(out, s)
	}
	if p.ListenerPath != "" {
		out = append(out, "listener "+strconv.Quote(p.ListenerPath)+" "+strconv.Quote(p.ListenerMetadata))
	}
	for i := range p.Entries {
		out = append(out, p.Entries[i].String())
	}
	return out
}

const (
	archPrefix   = "SCMP_ARCH_"
	actionPrefix = "SCMP_ACT_"
	flagPrefix   = "SECCOMP_FILTER_FLAG_"
)

func archText(a specs.Arch) string { return strings.ToLower(strings.TrimPrefix(string(a), archPrefix)) }

func archesText(list []specs.Arch) string {
	names := make([]string, len(list))
	for i, a := range list {
		names[i] = archText(a)
	}
	return strings.Join(names, " ")
}

func actionText(a specs.LinuxSeccompAction, errno *uint) string {
	s := strings.ToLower(strings.TrimPrefix(string(a), actionPrefix))
	if errno != nil {
		s += fmt.Sprintf(" %d", *errno)
	}
	return s
}

// String is the entry as a line of text: "allow [CAP_SYS_BOOT]: reboot".
func (e *Entry) String() string {
	s := actionText(e.Action, e.ErrnoRet)
	if terms := e.terms(); len(terms) > 0 {
		s += " [" + strings.Join(terms, " ") + "]"
	}
	s += ":"
	for _, n := range e.Names {
		s += " " + n
	}
	for i, a := range e.Args {
		s += []string{" if ", ", "}[min(i, 1)] + argText(a)
	}
	if e.Comment != "" {
		s += " # " + e.Comment
	}
	return s
}

func (e *Entry) terms() []string {
	var out []string
	for _, c := range e.Includes.Caps.List() {
		out = append(out, c.String())
	}
	if len(e.Includes.Arches) > 0 {
		out = append(out, strings.Join(e.Includes.Arches, "|"))
	}
	if v := e.Includes.MinKernel; v != (facts.Version{}) {
		out = append(out, "kernel>="+v.String())
	}
	for _, c := range e.Excludes.Caps.List() {
		out = append(out, "!"+c.String())
	}
	for _, a := range e.Excludes.Arches {
		out = append(out, "!"+a)
	}
	if v := e.Excludes.MinKernel; v != (facts.Version{}) {
		out = append(out, "kernel<"+v.String())
	}
	return out
}

// symbols are the comparisons as C has them.
var symbols = map[specs.LinuxSeccompOperator]string{
	specs.OpNotEqual: "!=", specs.OpLessThan: "<", specs.OpLessEqual: "<=",
	specs.OpEqualTo: "==", specs.OpGreaterEqual: ">=", specs.OpGreaterThan: ">",
}

func argText(a specs.LinuxSeccompArg) string {
	if a.Op == specs.OpMaskedEqual {
		return fmt.Sprintf("arg%d & %#x == %#x", a.Index, a.Value, a.ValueTwo)
	}
	return fmt.Sprintf("arg%d %s %#x", a.Index, symbols[a.Op], a.Value)
}

// line adds to p what a line of its text says. It fails for a line that lines would not write.
func (p *Profile) line(s string) error {
	head, rest, colon := strings.Cut(s, ":")
	word, more, _ := strings.Cut(head, " ")
	switch {
	case word == "default":
		var err error
		p.Default, p.DefaultErrno, err = lineAction(more)
		return err
	case !colon:
		return fmt.Errorf("no line of a profile: %q", s)
	case word == "arches":
		p.Arches = lineArches(rest)
		return nil
	case word == "archmap":
		p.ArchMap = append(p.ArchMap, ArchMap{lineArches(more)[0], lineArches(rest)})
		return nil
	}
	e, err := lineEntry(head, rest)
	p.Entries = append(p.Entries, e)
	return err
}

func lineArches(s string) (list []specs.Arch) {
	for a := range strings.FieldsSeq(s) {
		list = append(list, specs.Arch(archPrefix+strings.ToUpper(a)))
	}
	return list
}

func lineAction(s string) (specs.LinuxSeccompAction, *uint, error) {
	word, datum, has := strings.Cut(s, " ")
	a := specs.LinuxSeccompAction(actionPrefix + strings.ToUpper(word))
	if !has {
		return a, nil, nil
	}
	n, err := strconv.ParseUint(datum, 10, 16)
	errno := uint(n)
	return a, &errno, err
}

// lineEntry reads what Entry.String wrote: head is what stands before its colon.
func lineEntry(head, rest string) (e Entry, err error) {
	act, terms, has := strings.Cut(head, " [")
	if e.Action, e.ErrnoRet, err = lineAction(act); err != nil {
		return e, err
	}
	if has {
		if err := e.readTerms(strings.TrimSuffix(terms, "]")); err != nil {
			return e, err
		}
	}
	rest, e.Comment, _ = strings.Cut(rest, " # ")
	rest, tests, _ := strings.Cut(rest, " if ")
	e.Names = slices.AppendSeq(make([]string, 0, strings.Count(rest, " ")), strings.FieldsSeq(rest))
	for tests != "" {
		var test string
		test, tests, _ = strings.Cut(tests, ", ")
		a, err := lineArg(test)
		if err != nil {
			return e, err
		}
		e.Args = append(e.Args, a)
	}
	return e, nil
}

func (e *Entry) readTerms(s string) error {
	for term := range strings.FieldsSeq(s) {
		f := &e.Includes
		word, not := strings.CutPrefix(term, "!")
		if not {
			f = &e.Excludes
		}
		if v, ok := strings.CutPrefix(word, "kernel"); ok {
			if v[0] == '<' {
				f = &e.Excludes
			}
			var err error
			if f.MinKernel, err = facts.ParseVersion(strings.TrimLeft(v, "<>=")); err != nil {
				return err
			}
			continue
		}
		if !strings.HasPrefix(word, "CAP_") {
			f.Arches = append(f.Arches, strings.Split(word, "|")...)
			continue
		}
		c, err := caps.Parse(word)
		if err != nil {
			return err
		}
		f.Caps |= caps.Of(c)
	}
	return nil
}

func lineArg(s string) (a specs.LinuxSeccompArg, err error) {
	var n uint
	var op string
	var value uint64
	f := strings.Fields(s)
	if len(f) != 3 && len(f) != 5 {
		return a, fmt.Errorf("no test: %q", s)
	}
	word := strings.TrimPrefix(f[0], "arg")
	idx, err1 := strconv.ParseUint(word, 10, 3)
	value, err2 := strconv.ParseUint(f[2], 0, 64)
	if err1 != nil || err2 != nil {
		return a, fmt.Errorf("no test: %q", s)
	}
	n, op = uint(idx), f[1]
	a = specs.LinuxSeccompArg{Index: n, Value: value}
	if len(f) == 5 {
		a.Op = specs.OpMaskedEqual
		a.ValueTwo, err = strconv.ParseUint(f[4], 0, 64)
		return a, err
	}
	for o, sym := range symbols {
		if sym == op {
			a.Op = o
			return a, nil
		}
	}
	return a, fmt.Errorf("no test: %q", s)
}
