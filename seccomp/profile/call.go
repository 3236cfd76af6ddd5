package profile

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"porthole/abi"
)

// Call is a system call as a filter meets it: a name, and those arguments that are known.
type Call struct {
	Name string
	Args [6]Arg
}

// Arg is an argument's value, if it is known.
type Arg struct {
	Known bool
	Value uint64
}

// String is the call in the form that ParseCall reads: "ptrace(PTRACE_TRACEME, _, 0x10)".
// Unknown arguments at the end are left out, as are the parentheses where none is known.
func (c Call) String() string {
	params := abi.Params(c.Name)
	var args []string
	for i, a := range c.Args {
		if !a.Known {
			continue
		}
		for len(args) < i {
			args = append(args, "_")
		}
		s := strconv.FormatUint(a.Value, 10)
		if a.Value > 9 {
			s = fmt.Sprintf("%#x", a.Value)
		}
		if i < len(params) && params[i].Group != "" {
			s = abi.Flags(params[i].Group, a.Value)
		}
		args = append(args, s)
	}
	if args == nil {
		return c.Name
	}
	return c.Name + "(" + strings.Join(args, ", ") + ")"
}

// CallError says where a text is no call. Column counts characters from 1.
type CallError struct {
	Text   string
	Column int
	Msg    string
}

func (e *CallError) Error() string { return fmt.Sprintf("%s: column %d: %s", e.Text, e.Column, e.Msg) }

// ParseCall reads a system call as C and strace write it: "ptrace(PTRACE_TRACEME, 0)",
// "clone(CLONE_NEWUSER|SIGCHLD)", "personality(0x40000)". Numbers are decimal, hexadecimal (0x),
// octal (0) or binary (0b). One that is negative fills 64 bits, or the low 32 where the kernel
// takes an int: so do compilers pass it. A constant may go without the prefix that this
// call's constants have ("TRACEME", "NEWUSER"). An argument written _ is not known, and neither is
// one that is not written. An error is a *CallError.
func ParseCall(s string) (Call, error) {
	p := &callReader{text: s}
	c := Call{Name: p.word()}
	switch {
	case c.Name == "":
		return c, p.fault(0, "expected the name of a system call")
	case !abi.Known(c.Name):
		return c, p.fault(p.start, "no system call is called %q%s", short(c.Name), didYouMean(abi.Nearest(short(c.Name), 2)))
	}
	if p.take('(') && !p.take(')') {
		for i := 0; ; i++ {
			p.space()
			if i == len(c.Args) {
				return c, p.fault(p.pos, "a system call has at most %d arguments", len(c.Args))
			}
			var err error
			if c.Args[i], err = p.arg(c.Name, i); err != nil {
				return c, err
			}
			if p.take(')') {
				break
			}
			if !p.take(',') {
				return c, p.fault(p.pos, "expected '|', ',' or ')'")
			}
		}
	}
	if p.space(); p.pos < len(s) {
		return c, p.fault(p.pos, "expected nothing after the call")
	}
	return c, nil
}

type callReader struct {
	text       string
	pos, start int // start is where the last word began
}

func (p *callReader) fault(at int, format string, args ...any) error {
	return &CallError{p.text, 1 + utf8.RuneCountInString(p.text[:at]), fmt.Sprintf(format, args...)}
}

func (p *callReader) space() {
	for p.pos < len(p.text) && (p.text[p.pos] == ' ' || p.text[p.pos] == '\t') {
		p.pos++
	}
}

// take skips blanks and then c, if it is there.
func (p *callReader) take(c byte) bool {
	p.space()
	if p.pos < len(p.text) && p.text[p.pos] == c {
		p.pos++
		return true
	}
	return false
}

// word reads letters, digits, _ and a sign before them.
func (p *callReader) word() string {
	p.space()
	p.start = p.pos
	for p.pos < len(p.text) {
		c := p.text[p.pos]
		if c != '_' && (c|0x20 < 'a' || 'z' < c|0x20) && (c < '0' || '9' < c) && (c != '-' || p.pos != p.start) {
			break
		}
		p.pos++
	}
	return p.text[p.start:p.pos]
}

// arg reads _, or numbers and constants joined by |.
func (p *callReader) arg(call string, i int) (Arg, error) {
	a := Arg{Known: true}
	for n := 0; ; n++ {
		w := p.word()
		switch {
		case w == "" && p.pos < len(p.text):
			r, _ := utf8.DecodeRuneInString(p.text[p.pos:])
			return a, p.fault(p.pos, "%q; expected a number, a constant or _", r)
		case w == "":
			return a, p.fault(p.pos, "expected a number, a constant or _")
		case w == "_" && n == 0:
			return Arg{}, nil
		}
		v, ok := number64(w)
		if !ok {
			v, ok = constant(call, i, w)
		}
		if !ok && (w[0] == '-' || '0' <= w[0] && w[0] <= '9') {
			return a, p.fault(p.start, "%q is no number of 64 bits", short(w))
		}
		if !ok {
			return a, p.fault(p.start, "unknown constant %q%s", short(w), nearConst(call, short(w)))
		}
		if params := abi.Params(call); int64(v) < 0 && int64(v) >= -1<<31 && i < len(params) && params[i].Bits() == 32 {
			v = uint64(uint32(v))
		}
		a.Value |= v
		if !p.take('|') {
			return a, nil
		}
	}
}

func number64(s string) (uint64, bool) {
	if strings.Contains(s, "_") {
		return 0, false
	}
	if rest, neg := strings.CutPrefix(s, "-"); neg {
		v, err := strconv.ParseInt("-"+rest, 0, 64)
		return uint64(v), err == nil
	}
	v, err := strconv.ParseUint(s, 0, 64)
	return v, err == nil
}

// prefixes are what the constants of a group of abi's begin with, where that is not the group's
// own name ("PTRACE_").
var prefixes = map[string][]string{
	"clone":       {"CLONE_", "SIG"},
	"family":      {"AF_"},
	"ipproto":     {"IPPROTO_"},
	"madvise":     {"MADV_"},
	"mmap":        {"MAP_"},
	"mount":       {"MS_"},
	"open":        {"O_"},
	"personality": {"ADDR_", "PER_"},
	"prctl":       {"PR_"},
	"prot":        {"PROT_"},
	"reboot":      {"LINUX_REBOOT_CMD_"},
	"setns":       {"CLONE_"},
	"socktype":    {"SOCK_"},
	"umount":      {"MNT_", "UMOUNT_"},
	"unshare":     {"CLONE_"},
}

// prefixesOf are those that an argument's constants may go without.
func prefixesOf(call string, i int) []string {
	params := abi.Params(call)
	if i < len(params) && params[i].Kind == abi.KindSignal {
		return []string{"SIG"}
	}
	if i >= len(params) || params[i].Group == "" {
		return nil
	}
	group := params[i].Group
	return append(slices.Clone(prefixes[group]), strings.ToUpper(group)+"_")
}

// constant returns the value of a constant, with its prefix or without: the argument's own, then
// those of the call's others (s390x's clone has its flags second).
func constant(call string, i int, name string) (uint64, bool) {
	if v, ok := abi.Const(name); ok {
		return v, true
	}
	for _, i := range []int{i, 0, 1, 2, 3, 4, 5} {
		for _, p := range prefixesOf(call, i) {
			if v, ok := abi.Const(p + name); ok {
				return v, true
			}
		}
	}
	return 0, false
}

// nearConst suggests constants, of the call's own first.
func nearConst(call, name string) string {
	for i := range 6 {
		for _, p := range prefixesOf(call, i) {
			if like := abi.NearestConst(p+name, 1); len(like) > 0 && strings.HasPrefix(like[0], p) {
				return didYouMean(like)
			}
		}
	}
	return didYouMean(abi.NearestConst(name, 2))
}
