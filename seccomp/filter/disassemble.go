package filter

import (
	"fmt"
	"slices"
	"strings"

	"porthole/abi"
	"porthole/seccomp"
)

// Disassemble returns the program as text, an instruction a line: its index, what it does,
// and for a test where yes and no lead. Numbers are named where every way to the instruction
// gives them one meaning: architectures, system calls, actions. A line before an
// architecture's part, and before tests of arguments, says whose calls come there.
//
//	; x86_64
//	   2  ld   nr
//	   3  jge  267 readlinkat    yes 4  no 71
func (p Program) Disassemble() string {
	var b strings.Builder
	states := p.trace()
	digits, last := len(fmt.Sprint(len(p)-1)), ""
	for i, in := range p {
		s := states[i]
		if in.Code == opLoad && (in.K == offNr || in.K >= offArgs) {
			if who := s.who(in.K == offNr); who != last && who != "" {
				fmt.Fprintf(&b, "; %s\n", who)
				last = who
			}
		}
		text := in.text(s)
		if in.Code&7 == classJMP {
			text = fmt.Sprintf("%-36s  %s", text, in.targets(i))
		}
		fmt.Fprintf(&b, "%*d  %s\n", digits, i, text)
	}
	return b.String()
}

func (in Insn) targets(i int) string {
	if in.Code == opJump {
		return fmt.Sprintf("to %d", i+1+int(in.K))
	}
	return fmt.Sprintf("yes %d  no %d", i+1+int(in.JT), i+1+int(in.JF))
}

var mnemonics = map[uint16]string{
	classALU | aluADD: "add", classALU | aluSUB: "sub", classALU | aluMUL: "mul", classALU | aluDIV: "div",
	classALU | aluOR: "or", classALU | aluAND: "and", classALU | aluLSH: "lsh", classALU | aluRSH: "rsh",
	classALU | aluXOR: "xor", opJEQ: "jeq", opJGT: "jgt", opJGE: "jge", opJSET: "jset",
}

func (in Insn) text(s state) string {
	line := func(op, arg string) string { return strings.TrimRight(fmt.Sprintf("%-4s %s", op, arg), " ") }
	switch class := in.Code & 7; class {
	case classLD, classLDX:
		op := []string{"ld", "ldx"}[class]
		switch in.Code & 0xe0 {
		case modeABS:
			return line(op, wordName(in.K))
		case modeMEM:
			return line(op, fmt.Sprintf("M[%d]", in.K))
		case modeLEN:
			return line(op, fmt.Sprint(offEnd))
		}
		return line(op, fmt.Sprintf("%#x", in.K))
	case classST, classSTX:
		return line([]string{"st", "stx"}[class-classST], fmt.Sprintf("M[%d]", in.K))
	case classRET:
		if in.Code&retA != 0 {
			return line("ret", "A")
		}
		return line("ret", seccomp.Action(in.K).String())
	case classMSC:
		return []string{"tax", "txa"}[min(in.Code&txa, 1)]
	}
	switch {
	case in.Code == opJump:
		return "ja"
	case in.Code == classALU|aluNEG:
		return "neg"
	case in.Code&srcX != 0:
		return line(mnemonics[in.Code&^srcX], "X")
	}
	return line(mnemonics[in.Code], s.number(in.K))
}

// wordName is a word of struct seccomp_data as C would name its field.
func wordName(off uint32) string {
	half := []string{"low", "high"}[off/4%2]
	switch {
	case off == offNr:
		return "nr"
	case off == offArch:
		return "arch"
	case off < offArgs:
		return "ip " + half
	}
	return fmt.Sprintf("arg%d %s", (off-offArgs)/8, half)
}

// state is what is known before an instruction: what A holds, and whose calls come here.
type state struct {
	reached bool
	a       uint32 // an offset of struct seccomp_data; none: something else
	calls   []calls
}

// calls is a run of numbers on one architecture.
type calls struct {
	audit  uint32 // anyArch: not known yet
	lo, hi uint32
}

const anyArch = 0

// many is when a list of calls is too long to be of use.
const many = 24

// trace follows the program from its first instruction.
func (p Program) trace() []state {
	states := make([]state, len(p))
	states[0] = state{true, none, []calls{{anyArch, 0, ^uint32(0)}}}
	for i, in := range p {
		s := states[i]
		switch {
		case !s.reached || in.Code&7 == classRET:
		case in.Code == opJump:
			states[i+1+int(in.K)].join(s)
		case in.Code&7 == classJMP:
			states[i+1+int(in.JT)].join(s.after(in, true))
			states[i+1+int(in.JF)].join(s.after(in, false))
		default:
			if in.Code == opLoad {
				s.a = in.K
			} else if class := in.Code & 7; class != classST && class != classSTX && class != classLDX {
				s.a = none
			}
			states[i+1].join(s)
		}
	}
	return states
}

func (s *state) join(t state) {
	switch {
	case len(t.calls) == 0: // no call comes this way
		return
	case !s.reached:
		*s = t
		return
	case s.a != t.a:
		s.a = none
	}
	all := slices.Clone(s.calls)
	for _, c := range t.calls {
		if !slices.Contains(all, c) {
			all = append(all, c)
		}
	}
	s.calls = all[:min(len(all), many)]
}

// after is what is known when a test has answered.
func (s state) after(in Insn, yes bool) state {
	var left []calls
	for _, c := range s.calls {
		switch {
		case s.a == offArch && in.Code == opJEQ:
			if yes && (c.audit == anyArch || c.audit == in.K) {
				left = append(left, calls{in.K, c.lo, c.hi})
			} else if !yes && c.audit != in.K {
				left = append(left, c)
			}
		case s.a == offNr && in.Code == opJEQ && yes:
			c.lo, c.hi = max(c.lo, in.K), min(c.hi, in.K)
		case s.a == offNr && in.Code == opJEQ && c.lo == in.K && c.hi == in.K:
			continue
		case s.a == offNr && in.Code == opJGE && yes:
			c.lo = max(c.lo, in.K)
		case s.a == offNr && in.Code == opJGE && in.K > 0:
			c.hi = min(c.hi, in.K-1)
		case s.a == offNr && in.Code == opJGT && yes && in.K < ^uint32(0):
			c.lo = max(c.lo, in.K+1)
		case s.a == offNr && in.Code == opJGT:
			c.hi = min(c.hi, in.K)
		}
		if c.lo <= c.hi && s.a != offArch {
			left = append(left, c)
		}
	}
	s.calls = left
	return s
}

// number is a constant that A is compared with.
func (s state) number(k uint32) string {
	switch s.a {
	case offArch:
		if a, ok := abi.ParseAudit(k, 0); ok {
			return a.String()
		}
	case offNr:
		if name := s.callName(k); name != "" {
			return fmt.Sprintf("%d %s", k&^abi.X32Bit, name)
		}
		if k < abi.X32Bit {
			return fmt.Sprint(k)
		}
		if k < 2*abi.X32Bit && s.callName(abi.X32Bit) != "" {
			return fmt.Sprintf("%d x32", k&^abi.X32Bit)
		}
	}
	return fmt.Sprintf("%#x", k)
}

// callName names a number if it means the same call on every architecture that comes here.
func (s state) callName(nr uint32) string {
	name := ""
	for _, c := range s.calls {
		n := callName(c.audit, nr)
		if n == "" || name != "" && name != n {
			return ""
		}
		name = n
	}
	return name
}

func callName(audit, nr uint32) string {
	a, ok := abi.ParseAudit(audit, nr)
	if !ok {
		return ""
	}
	name, _ := a.Name(nr)
	if name != "" && a == abi.X32 {
		name = "x32 " + name
	}
	return name
}

// who names the architectures, or the system calls, that come to an instruction;
// "" if that is all, or too many to say.
func (s state) who(arch bool) string {
	var names []string
	for _, c := range s.calls {
		a, ok := abi.ParseAudit(c.audit, c.lo)
		name := a.String()
		if !arch {
			name = fmt.Sprintf("%s %s", a, strings.TrimPrefix(callName(c.audit, c.lo), "x32 "))
			ok = ok && c.lo == c.hi
		}
		if !ok || len(names) == many-1 {
			return ""
		}
		if !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	return strings.Join(names, ", ")
}
