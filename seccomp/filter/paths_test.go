package filter

import (
	"math/rand/v2"
	"testing"

	"porthole/abi"
	"porthole/seccomp"
)

// randomProgram makes a program that Check takes, of everything that Paths follows.
func randomProgram(r *rand.Rand) Program {
	ks := []uint32{0, 1, 8, 40, 0xff, 0x7e020000, 0x80000000, 0xffffffff, 59, abi.X86_64.Audit()}
	for {
		n := 4 + r.IntN(24)
		p := make(Program, n)
		for i := range p {
			left := n - i - 1
			k := ks[r.IntN(len(ks))]
			switch pick := r.IntN(12); {
			case left == 0 || pick == 0:
				p[i] = Insn{Code: opRet, K: uint32([]seccomp.Action{seccomp.Allow, seccomp.Errno | 1, seccomp.KillThread, seccomp.Log}[r.IntN(4)])}
			case pick < 5:
				p[i] = Insn{Code: opLoad, K: uint32([]int{offNr, offArch, offArgs, offArgs + 4, offArgs + 8, offArgs + 12}[r.IntN(6)])}
			case pick == 5:
				p[i] = Insn{Code: opAnd, K: k}
			case pick == 6:
				p[i] = Insn{Code: []uint16{classMSC, classMSC | txa, classST, classLD | modeMEM, classLDX | modeIMM, classLD | modeLEN}[r.IntN(6)]}
			case left > 1:
				p[i] = Insn{Code: []uint16{opJEQ, opJGT, opJGE, opJSET}[r.IntN(4)], K: k, JT: uint8(r.IntN(min(left-1, 200))), JF: uint8(r.IntN(min(left-1, 200)))}
			default:
				p[i] = Insn{Code: opLoad, K: offArgs}
			}
		}
		if p.Check() == nil {
			return p
		}
	}
}

// TestPaths holds the paths through random programs against Run: of any call exactly one is taken, to what
// Run says.
func TestPaths(t *testing.T) {
	words := []uint32{0, 1, 2, 7, 8, 9, 39, 40, 41, 0xfe, 0xff, 0x100, 0x7e020000, 0x02020001, 0x7fffffff, 0x80000000, 0x80000001, 0xffffffff}
	followed, calls, forked := 0, 0, 0
	for seed := range uint64(3000) {
		r := rand.New(rand.NewPCG(seed, 9))
		p := randomProgram(r)
		d := Data{Nr: []uint32{0, 59, 60}[r.IntN(3)], Arch: abi.X86_64.Audit()}
		type path struct {
			tests  []Test
			action seccomp.Action
		}
		var paths []path
		err := p.Paths(d.Arch, d.Nr, func(tests []Test, action seccomp.Action) error {
			paths = append(paths, path{append([]Test(nil), tests...), action})
			return nil
		})
		if err != nil { // it compares one argument with another
			continue
		}
		followed++
		if len(paths) > 2 {
			forked++
		}
		for range 40 {
			for i := range 2 {
				d.Args[i] = uint64(words[r.IntN(len(words))])<<32 | uint64(words[r.IntN(len(words))])
			}
			want, _ := p.Run(d)
			taken := 0
			for _, x := range paths {
				if matchesAll(x.tests, d) {
					taken++
					if x.action != want {
						t.Fatalf("seed %d: %+v: Run says %v, the path %+v\n%s", seed, d, want, x, p.Disassemble())
					}
				}
			}
			if calls++; taken != 1 {
				t.Fatalf("seed %d: %+v: %d paths are taken\n%s", seed, d, taken, p.Disassemble())
			}
		}
	}
	t.Logf("%d programs, %d calls", followed, calls)
	if followed < 1000 || forked < 100 {
		t.Errorf("%d programs were followed, %d of them with more than two paths", followed, forked)
	}
}

func matchesAll(tests []Test, d Data) bool {
	for _, x := range tests {
		v := uint32(d.Args[x.Word/2]>>(32*(x.Word%2))) & x.Mask
		holds := map[TestOp]bool{Equal: v == x.K, Above: v > x.K, AnyBit: v&x.K != 0}[x.Op]
		if holds == x.Not {
			return false
		}
	}
	return true
}

// Programs that look at what no test of an argument's words says are refused by their instruction.
func TestPathsThatAreNotFollowed(t *testing.T) {
	for story, p := range map[string]Program{
		"the instruction pointer": {{Code: opLoad, K: offIP}, {Code: opRet}},
		"arithmetic":              {{Code: opLoad, K: offArgs}, {Code: classALU | aluADD, K: 1}, {Code: opRet}},
		"an answer of the caller": {{Code: opLoad, K: offArgs}, {Code: classRET | retA}},
	} {
		if err := p.Check(); err != nil {
			t.Fatal(err)
		}
		if err := p.Paths(abi.X86_64.Audit(), 0, func([]Test, seccomp.Action) error { return nil }); err == nil {
			t.Errorf("%s: followed", story)
		}
	}
}
