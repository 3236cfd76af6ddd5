package filter

import "slices"

// emitter lays a graph out from the last instruction to the first, since a jump only
// goes forward: when a node's turn comes, all that it leads to has its place.
//
//	         reach of a test: 255 instructions
//	       ┌──────────────────────────────────────┐
//	… test │ the smaller branch │ the bigger branch │ ret … │ ret
//
// Where a test's target is too far away, a return is repeated close by, and any other
// target gets a jump (JA) there, which reaches everywhere.
type emitter struct {
	*graph
	back Program // from the last instruction
	at   []int   // a node's index in back, or of the nearest way to it; -1: none yet
	size []int   // nodes under and including a node, counted once per way to it; 0: unknown
}

// emit returns the program that begins at root.
func (g *graph) emit(root ref) Program {
	e := &emitter{graph: g, at: make([]int, len(g.nodes)), size: make([]int, len(g.nodes))}
	for i := range e.at {
		e.at[i] = -1
	}
	e.place(root)
	slices.Reverse(e.back)
	return e.back
}

func (e *emitter) weigh(r ref) int {
	if e.size[r] == 0 {
		n := e.nodes[r]
		e.size[r] = 1
		switch n.code {
		case opRet:
		case opLoad, opAnd:
			e.size[r] += e.weigh(n.t)
		default:
			e.size[r] += e.weigh(n.t) + e.weigh(n.f)
		}
		e.size[r] = min(e.size[r], 1<<20)
	}
	return e.size[r]
}

func (e *emitter) place(r ref) {
	if e.at[r] >= 0 {
		return
	}
	switch n := e.nodes[r]; n.code {
	case opRet:
	case opLoad, opAnd:
		e.place(n.t)
		if e.at[n.t] != len(e.back)-1 {
			e.repeat(n.t)
		}
	default:
		far, near := n.t, n.f
		if e.weigh(near) > e.weigh(far) {
			far, near = near, far
		}
		e.place(far)
		e.place(near)
		e.approach(n)
	}
	e.put(r)
}

const reach = 255

// approach makes both targets of a test reachable from the next instruction.
func (e *emitter) approach(n node) {
	for e.away(n.t) > reach || e.away(n.f) > reach {
		for _, target := range []ref{n.t, n.f} {
			if e.away(target) > reach {
				e.repeat(target)
			}
		}
	}
}

// away is how far a jump from the next instruction to r would be.
func (e *emitter) away(r ref) int { return len(e.back) - 1 - e.at[r] }

// repeat makes r, which has a place, begin at the next instruction: a return or a test
// whose targets are near a second time, anything else by a jump.
func (e *emitter) repeat(r ref) {
	n := e.nodes[r]
	if n.code == opRet || n.tests() && e.away(n.t) <= reach && e.away(n.f) <= reach {
		e.put(r)
		return
	}
	k := uint32(e.away(r))
	e.at[r] = len(e.back)
	e.back = append(e.back, Insn{Code: opJump, K: k})
}

// put adds r's own instruction; all that it leads to must be near.
func (e *emitter) put(r ref) {
	n := e.nodes[r]
	in := Insn{Code: n.code, K: n.k}
	if n.tests() {
		in.JT, in.JF = uint8(e.away(n.t)), uint8(e.away(n.f))
	}
	e.at[r] = len(e.back)
	e.back = append(e.back, in)
}
