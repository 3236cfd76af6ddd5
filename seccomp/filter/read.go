package filter

import (
	"encoding/binary"
	"fmt"
)

// Read takes an array of struct sock_filter, little-endian, and refuses what the kernel
// would (EINVAL): see Check.
func Read(b []byte) (Program, error) {
	if len(b)%8 != 0 {
		return nil, fmt.Errorf("%d bytes are no whole number of 8-byte instructions", len(b))
	}
	if n := len(b) / 8; n > MaxInsns {
		return nil, tooLong(n)
	}
	p := make(Program, len(b)/8)
	for i := range p {
		c := b[8*i:]
		p[i] = Insn{binary.LittleEndian.Uint16(c), c[2], c[3], binary.LittleEndian.Uint32(c[4:])}
	}
	if err := p.Check(); err != nil {
		return nil, err
	}
	return p, nil
}

func tooLong(n int) error {
	return fmt.Errorf("%d instructions: the kernel takes at most %d", n, MaxInsns)
}

// codes are those that a seccomp filter may have (seccomp_check_filter, kernel/seccomp.c).
var codes = func() (ok [256]bool) {
	for _, c := range []int{
		opLoad, classLD | modeIMM, classLD | modeMEM, classLD | modeLEN,
		classLDX | modeIMM, classLDX | modeMEM, classLDX | modeLEN, classST, classSTX,
		classMSC, classMSC | txa, classRET, classRET | retA, opJump, classALU | aluNEG,
	} {
		ok[c] = true
	}
	for _, op := range []int{aluADD, aluSUB, aluMUL, aluDIV, aluOR, aluAND, aluLSH, aluRSH, aluXOR} {
		ok[classALU|op], ok[classALU|op|srcX] = true, true
	}
	for _, op := range []int{jmpJEQ, jmpJGT, jmpJGE, jmpJSET} {
		ok[classJMP|op], ok[classJMP|op|srcX] = true, true
	}
	return ok
}()

// Check says why the kernel would refuse the program, nil if it would take it:
// bpf_check_classic and check_load_and_stores (net/core/filter.c), seccomp_check_filter
// (kernel/seccomp.c).
func (p Program) Check() error {
	if len(p) == 0 {
		return fmt.Errorf("an empty program")
	}
	if len(p) > MaxInsns {
		return tooLong(len(p))
	}
	// The scratch words that are set on every way to an instruction.
	set := make([]uint16, len(p))
	for i := range set {
		set[i] = 0xffff
	}
	now := uint16(0)
	for i, in := range p {
		bad := func(what string) error {
			return fmt.Errorf("instruction %d (code %#x, k %#x): %s", i, in.Code, in.K, what)
		}
		if in.Code > 255 || !codes[in.Code] {
			return bad("no instruction of a seccomp filter")
		}
		now &= set[i]
		left := uint32(len(p) - i - 1) // instructions after this one
		switch class, op := in.Code&7, in.Code&0xf0; {
		case in.Code == opLoad && (in.K%4 != 0 || in.K >= offEnd):
			return bad("a load from outside struct seccomp_data, or unaligned")
		case in.Code == classALU|aluDIV && in.K == 0:
			return bad("division by zero")
		case class == classALU && in.Code&srcX == 0 && (op == aluLSH || op == aluRSH) && in.K >= 32:
			return bad("a shift by more than 31")
		case class == classST, class == classSTX:
			if in.K > 15 {
				return bad("there are 16 scratch words")
			}
			now |= 1 << in.K
		case class <= classLDX && in.Code&0xe0 == modeMEM:
			if in.K > 15 {
				return bad("there are 16 scratch words")
			}
			if now&(1<<in.K) == 0 {
				return bad("a scratch word that is not set on every way here")
			}
		case in.Code == opJump:
			if in.K >= left {
				return bad("a jump past the end")
			}
			set[i+1+int(in.K)] &= now
			now = 0xffff
		case class == classJMP:
			if uint32(in.JT) >= left || uint32(in.JF) >= left {
				return bad("a jump past the end")
			}
			set[i+1+int(in.JT)] &= now
			set[i+1+int(in.JF)] &= now
			now = 0xffff
		}
	}
	if last := p[len(p)-1].Code; last&7 != classRET {
		return fmt.Errorf("the last instruction is no return")
	}
	return nil
}
