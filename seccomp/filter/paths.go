package filter

import (
	"fmt"
	"slices"

	"porthole/seccomp"
)

// Test is a comparison that a program makes of one word of the arguments: word 2n is the low half of
// argument n, 2n+1 the high one.
type Test struct {
	Word uint8
	Mask uint32 // of the word, those bits that are compared
	Op   TestOp
	K    uint32
	Not  bool // the path is taken where the comparison does not hold
}

// TestOp compares the word's bits with K.
type TestOp uint8

// The comparisons of classic BPF; at least K is Above K-1.
const (
	Equal TestOp = 1 + iota
	Above
	AnyBit // of K is set
)

// Numbers lists where answers may change from one system call number to the next: every constant that the
// program compares anything with, and the number after. (One that masks the number, by other bits than
// x32's, may change in between.)
func (p Program) Numbers() []uint32 {
	var out []uint32
	for _, in := range p {
		if in.Code&7 == classJMP && in.Code != opJump && in.Code&srcX == 0 {
			out = append(out, in.K, in.K+1)
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// symbol is what a register holds: a value, or some bits of an argument's word.
type symbol struct {
	known bool
	v     uint32
	word  uint8
	mask  uint32
}

// way is where a path has come to.
type way struct {
	pc    int
	a, x  symbol
	mem   [16]symbol
	tests []Test
}

// maxPathSteps bounds how long Paths follows one program.
const maxPathSteps = 1 << 18

// Paths hands every way through the program for calls of one number to see, with the tests of arguments
// that lead there, all of which hold, and the answer. Exactly one matches any call; some may match none.
// see must not keep the tests. Paths fails for a program that looks at the instruction pointer or
// computes with arguments other than by masks, where there is no end of paths, and as see does.
func (p Program) Paths(audit, nr uint32, see func(tests []Test, action seccomp.Action) error) error {
	steps := 0
	var walk func(s way) error
	walk = func(s way) error {
		for ; ; s.pc++ {
			if steps++; steps > maxPathSteps {
				return fmt.Errorf("more than %d steps through the program", maxPathSteps)
			}
			in := p[s.pc]
			bad := func(what string) error { return fmt.Errorf("instruction %d %s", s.pc, what) }
			operand := symbol{known: true, v: in.K}
			if in.Code&srcX != 0 {
				operand = s.x
			}
			switch in.Code & 7 {
			case classLD, classLDX:
				v := symbol{known: true, v: in.K}
				switch in.Code & 0xe0 {
				case modeABS:
					off := in.K
					switch {
					case off == offNr:
						v.v = nr
					case off == offArch:
						v.v = audit
					case off < offArgs:
						return bad("looks at the instruction pointer")
					default:
						if audit == s390x {
							off ^= 4
						}
						v = symbol{word: uint8(off-offArgs) / 4, mask: ^uint32(0)}
					}
				case modeMEM:
					v = s.mem[in.K]
				case modeLEN:
					v.v = offEnd
				}
				if in.Code&7 == classLD {
					s.a = v
				} else {
					s.x = v
				}
			case classST:
				s.mem[in.K] = s.a
			case classSTX:
				s.mem[in.K] = s.x
			case classALU:
				switch op := in.Code & 0xf0; {
				case op == aluAND && !s.a.known && operand.known:
					if s.a.mask &= operand.v; s.a.mask == 0 {
						s.a = symbol{known: true}
					}
				case op == aluDIV && operand.known && operand.v == 0:
					return see(s.tests, seccomp.KillThread)
				case s.a.known && (operand.known || op == aluNEG):
					s.a.v = alu(in.Code, s.a.v, operand.v)
				default:
					return bad("computes with an argument")
				}
			case classJMP:
				switch {
				case in.Code == opJump:
					s.pc += int(in.K)
				case !operand.known:
					return bad("compares with an argument")
				case s.a.known:
					s.pc += jump(in, holds(in.Code, s.a.v, operand.v))
				default:
					t, always, is := testOf(in.Code, s.a, operand.v)
					if !always {
						is, always = decided(s.tests, t)
					}
					if !always {
						other := s
						t.Not = true
						other.tests = append(s.tests[:len(s.tests):len(s.tests)], t)
						other.pc += jump(in, false) + 1
						if err := walk(other); err != nil {
							return err
						}
						t.Not = false
						s.tests = append(s.tests[:len(s.tests):len(s.tests)], t)
						is = true
					}
					s.pc += jump(in, is)
				}
			case classRET:
				if in.Code&retA != 0 {
					if !s.a.known {
						return bad("returns an argument")
					}
					return see(s.tests, seccomp.Action(s.a.v))
				}
				return see(s.tests, seccomp.Action(in.K))
			case classMSC:
				if in.Code&txa != 0 {
					s.a = s.x
				} else {
					s.x = s.a
				}
			}
		}
	}
	zero := symbol{known: true}
	s := way{a: zero, x: zero}
	for i := range s.mem {
		s.mem[i] = zero
	}
	return walk(s)
}

func jump(in Insn, taken bool) int {
	if taken {
		return int(in.JT)
	}
	return int(in.JF)
}

// testOf is a comparison of some bits of a word; always says that it is the same whatever they are.
func testOf(code uint16, a symbol, k uint32) (t Test, always, is bool) {
	t = Test{Word: a.word, Mask: a.mask, K: k}
	switch code & 0xf0 {
	case jmpJEQ:
		t.Op = Equal
		return t, k&^a.mask != 0, false
	case jmpJGE:
		if k == 0 {
			return t, true, true
		}
		t.K--
		fallthrough
	case jmpJGT:
		t.Op = Above
		return t, t.K >= a.mask, false
	}
	t.Op = AnyBit
	return t, k&a.mask == 0, false
}

// decided says what a path has found out of a test before.
func decided(tests []Test, t Test) (is, known bool) {
	for _, u := range tests {
		if u.Word == t.Word && u.Mask == t.Mask && u.Op == t.Op && u.K == t.K {
			return !u.Not, true
		}
	}
	return false, false
}
