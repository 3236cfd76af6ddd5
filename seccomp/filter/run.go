package filter

import "porthole/seccomp"

// Run returns what the program says of a call, and how many instructions that took,
// the return included. It runs any program that Read takes as the kernel would
// (bpf_convert_filter, net/core/filter.c): registers begin as 0, a shift counts
// modulo 32, division by a zero X ends the program with 0, KILL_THREAD.
func (p Program) Run(d Data) (seccomp.Action, int) {
	var a, x uint32
	var mem [16]uint32
	for pc, steps := 0, 1; ; pc, steps = pc+1, steps+1 {
		in := p[pc]
		operand := in.K
		if in.Code&srcX != 0 {
			operand = x
		}
		switch in.Code & 7 {
		case classLD, classLDX:
			v := in.K
			switch in.Code & 0xe0 {
			case modeABS:
				v = d.word(in.K)
			case modeMEM:
				v = mem[in.K]
			case modeLEN:
				v = offEnd
			}
			if in.Code&7 == classLD {
				a = v
			} else {
				x = v
			}
		case classST:
			mem[in.K] = a
		case classSTX:
			mem[in.K] = x
		case classALU:
			if in.Code&0xf0 == aluDIV && operand == 0 {
				return seccomp.KillThread, steps
			}
			a = alu(in.Code, a, operand)
		case classJMP:
			switch {
			case in.Code == opJump:
				pc += int(in.K)
			case holds(in.Code, a, operand):
				pc += int(in.JT)
			default:
				pc += int(in.JF)
			}
		case classRET:
			if in.Code&retA != 0 {
				return seccomp.Action(a), steps
			}
			return seccomp.Action(in.K), steps
		case classMSC:
			if in.Code&txa != 0 {
				a = x
			} else {
				x = a
			}
		}
	}
}

func alu(code uint16, a, v uint32) uint32 {
	switch code & 0xf0 {
	case aluADD:
		return a + v
	case aluSUB:
		return a - v
	case aluMUL:
		return a * v
	case aluDIV:
		return a / v
	case aluOR:
		return a | v
	case aluAND:
		return a & v
	case aluLSH:
		return a << (v & 31)
	case aluRSH:
		return a >> (v & 31)
	case aluXOR:
		return a ^ v
	}
	return -a // aluNEG, the last that Read takes
}

func holds(code uint16, a, v uint32) bool {
	switch code & 0xf0 {
	case jmpJEQ:
		return a == v
	case jmpJGT:
		return a > v
	case jmpJGE:
		return a >= v
	}
	return a&v != 0 // jmpJSET, the last that Read takes
}
