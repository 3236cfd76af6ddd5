package filter

import (
	"slices"

	"porthole/abi"
	"porthole/seccomp"
)

// Compile returns the program that decides as p does, for calls made on every
// architecture that p covers, x32 among them:
//
//	ld arch ── x86-64? ── ld nr ── tree ┬─ allow
//	    │                               ├─ errno
//	    │                               └─ ld argument ── tests ── …
//	    ├───── x86? ───── ld nr ── tree ── …
//	    └─ any other: kill
//
// A call whose verdict hangs on no argument is decided before any argument is loaded, so
// that the kernel can allow it without running the program (seccomp_is_const_allow,
// kernel/seccomp.c). Compile fails only if the program would exceed MaxInsns.
func Compile(p seccomp.Policy) (Program, error) {
	g := newGraph()
	root := g.ret(uint32(p.BadArch))
	for _, t := range slices.Backward(p.Tables()) {
		g.big = t.Arch == abi.S390X
		root = g.test(opJEQ, t.Arch.Audit(), g.load(offNr, g.numbers(t)), root)
	}
	prog := g.emit(g.load(offArch, root))
	if len(prog) > MaxInsns {
		return nil, tooLong(len(prog))
	}
	return prog, nil
}

// What the numbers of a segment weigh when the tree is made: known calls that may be
// permitted count most, since those are made; the others must not be far off.
const (
	permitted = 1
	denied    = 0.05
	unknown   = 0.01
	foreign   = 0.01 // x32's share, against x86-64's
)

// numbers returns the node that decides when A holds the system call number.
func (g *graph) numbers(t seccomp.Table) ref {
	known := counter(t.Arch)
	segs, x32 := make([]seg, 0, len(t.Spans)), make([]seg, 0, len(t.Spans))
	for _, s := range t.Spans {
		v := s.Clauses[len(s.Clauses)-1].Verdict
		w := float32(unknown)
		if n := known(s.Lo, s.Hi); n > 0 {
			w = denied * float32(n)
			if v.Action.Permits() || len(s.Clauses) > 1 {
				w = permitted * float32(n)
			}
		}
		at := seg{s.Lo, s.Hi, g.span(s), w}
		if t.Arch == abi.X86_64 && s.Lo >= abi.X32Bit && s.Hi != ^uint32(0) {
			x32 = append(x32, at)
		} else {
			segs = append(segs, at)
		}
	}
	if len(x32) > 0 {
		at := seg{x32[0].lo, x32[len(x32)-1].hi, g.tree(x32), foreign * float32(len(x32))}
		last := len(segs) - 1
		segs = append(segs[:last:last], at, segs[last])
	}
	return g.tree(segs)
}

// counter returns a function that counts the calls that an architecture has in a run of
// numbers; it must be asked about ascending runs.
func counter(a abi.Arch) func(lo, hi uint32) int {
	all := make([]uint32, 0, 2*abi.Names)
	abis := []abi.Arch{a, abi.X32}
	if a != abi.X86_64 {
		abis = abis[:1]
	}
	for _, b := range abis {
		for nr := range b.Calls() {
			all = append(all, nr)
		}
	}
	return func(lo, hi uint32) (n int) {
		for len(all) > 0 && all[0] <= hi {
			if all[0] >= lo {
				n++
			}
			all = all[1:]
		}
		return n
	}
}
