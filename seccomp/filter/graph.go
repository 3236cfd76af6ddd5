package filter

// A filter in the making is a graph of nodes without cycles: returns, loads, masks and
// tests. A node never changes, and equal nodes are one, so that whatever two system
// calls, arguments or architectures have in common is there once.
type node struct {
	code uint16 // opRet, opLoad, opAnd, opJEQ, opJGT, opJGE or opJSET
	k    uint32
	t, f ref // where to go: f is a test's no; a load or a mask only has t; a return has none
}

func (n node) tests() bool { return n.code&7 == classJMP }

// ref is a node's index in its graph.
type ref int32

type graph struct {
	nodes []node
	index map[node]ref
	table table // tree's
	big   bool  // the words of an argument are high, low, as s390x has them
}

func newGraph() *graph {
	g := &graph{index: make(map[node]ref, 512)}
	g.ret(0) // so that every ref is a node's
	return g
}

func (g *graph) add(n node) ref {
	r, ok := g.index[n]
	if !ok {
		r = ref(len(g.nodes))
		g.nodes = append(g.nodes, n)
		g.index[n] = r
	}
	return r
}

func (g *graph) ret(k uint32) ref { return g.add(node{code: opRet, k: k}) }

// load puts the word at a little-endian offset of struct seccomp_data into A, unless
// nobody looks at it.
func (g *graph) load(off uint32, next ref) ref {
	if c := g.nodes[next].code; c == opRet || c == opLoad {
		return next
	}
	if g.big && off >= offArgs {
		off ^= 4
	}
	return g.add(node{code: opLoad, k: off, t: next})
}

// and masks A, unless nobody looks at it.
func (g *graph) and(mask uint32, next ref) ref {
	if c := g.nodes[next].code; c == opRet || c == opLoad {
		return next
	}
	return g.add(node{code: opAnd, k: mask, t: next})
}

// test asks A, unless the answer makes no difference.
func (g *graph) test(code uint16, k uint32, t, f ref) ref {
	if t == f {
		return t
	}
	return g.add(node{code: code, k: k, t: t, f: f})
}
