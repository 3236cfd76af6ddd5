package filter

import (
	"math"
	"slices"
)

// seg is a run of values of A that go to one place.
type seg struct {
	lo, hi uint32
	to     ref
	weight float32 // how often A is expected to be in it, in any unit
}

// perTest is what a test more in the program weighs against one executed more often.
const perTest = 0.02

// longest is how many single values in a row are asked for one by one.
const longest = 6

// tree returns a node that sends A to its segment's place; the segments are ascending and
// leave no gap. Of the trees that halve a run of segments (JGE), or pick single values out
// of a run that is otherwise one (JEQ), it is the one with the fewest tests for the weights:
//
//	0…38 allow, 39 deny, 40…100 allow, 101…200 deny, 201… allow
//
//	             ≥ 101?
//	        no ╱        ╲ yes
//	      = 39?          ≥ 201?
//	  no ╱     ╲ yes  no ╱     ╲ yes
//	 allow     deny  deny      allow
//
// It is found by dynamic programming over the runs i…j of segments.
func (g *graph) tree(segs []seg) ref {
	segs = slices.Clone(segs)
	n := 0
	for _, s := range segs { // equal neighbours are one
		if n > 0 && segs[n-1].to == s.to {
			segs[n-1].hi = s.hi
			segs[n-1].weight += s.weight
			continue
		}
		segs[n] = s
		n++
	}
	return g.halves(segs[:n])
}

// most is the longest list of segments that is planned. A longer one is halved by weight
// first: then the time grows with its length and not with the square.
const most = 24

func (g *graph) halves(segs []seg) ref {
	n := len(segs)
	if n <= most {
		return g.plan(segs)
	}
	left := float32(0)
	for _, s := range segs {
		left += s.weight
	}
	k, right := 0, left // the lower half ends before segment k
	for left = 0; k < n/8 || k < n-n/8 && left < right; k++ {
		left += segs[k].weight
		right -= segs[k].weight
	}
	return g.test(opJGE, segs[k].lo, g.halves(segs[k:]), g.halves(segs[:k]))
}

func (g *graph) plan(segs []seg) ref {
	n := len(segs)
	p := planner{graph: g, segs: segs, sum: make([]float32, n+1), table: g.table.sized(n * n)}
	for i, s := range segs {
		p.sum[i+1] = p.sum[i] + s.weight
		p.cost[i*n+i], p.turned[i*n+i] = 0, 0
	}
	for wide := 1; wide < n; wide++ {
		for i := 0; i+wide < n; i++ {
			p.run(i, i+wide)
		}
	}
	return p.build(0, n-1)
}

type planner struct {
	*graph
	segs []seg
	sum  []float32 // weights before a segment
	table
}

// table holds what is known of each run i…j. It is used again for the next tree.
type table struct {
	cost, turned []float32 // at i*n+j, and at j*n+i
	how          []how
}

func (t *table) sized(n int) table {
	if len(t.how) < n {
		*t = table{make([]float32, n), make([]float32, n), make([]how, n)}
	}
	return *t
}

// how says how to go about a run of segments.
type how struct {
	split int16 // the best last segment of the lower half
	base  int16 // if not 0: pick single values out of what otherwise goes to segment base-1's place
}

// margin is how far beyond the best splits of the two runs that are shorter by one the best
// split is looked for. Without single values 0 would do, as for optimum binary search trees
// (Knuth 1971).
const margin = 1

// run finds the best for a run of segments from what is best for the shorter ones.
func (p *planner) run(i, j int) {
	n := len(p.segs)
	first, last := i, j-1
	if j-i > 1 {
		first = max(first, int(p.how[i*n+j-1].split)-margin)
		last = min(last, int(p.how[(i+1)*n+j].split)+margin)
	}
	best, h := float32(math.MaxFloat32), how{}
	lower, upper := p.cost[i*n:(i+1)*n], p.turned[j*n:(j+1)*n]
	for k := first; k <= last; k++ {
		if c := lower[k] + upper[k+1]; c < best {
			best, h.split = c, int16(k)
		}
	}
	best += p.sum[j+1] - p.sum[i] + perTest
	if j-i <= 2*longest {
		for base := i; base <= i+1; base++ {
			if c, ok := p.picks(i, j, base); ok && c <= best {
				best, h.base = c, int16(base+1)
			}
		}
	}
	p.cost[i*n+j], p.turned[j*n+i], p.how[i*n+j] = best, best, h
}

// picks is the cost of asking one by one for the values in i…j that do not go where base goes.
func (p *planner) picks(i, j, base int) (float32, bool) {
	var weights [longest]float32
	n := 0
	for _, s := range p.segs[i : j+1] {
		if s.to == p.segs[base].to {
			continue
		}
		if n == longest || s.lo != s.hi {
			return 0, false
		}
		weights[n] = s.weight
		n++
	}
	slices.Sort(weights[:n])
	left, cost := p.sum[j+1]-p.sum[i], perTest*float32(n)
	for _, w := range slices.Backward(weights[:n]) {
		cost += left
		left -= w
	}
	return cost, true
}

func (p *planner) build(i, j int) ref {
	if i == j {
		return p.segs[i].to
	}
	h := p.how[i*len(p.segs)+j]
	if h.base == 0 {
		k := int(h.split)
		return p.test(opJGE, p.segs[k+1].lo, p.build(k+1, j), p.build(i, k))
	}
	to := p.segs[h.base-1].to
	var picked []seg
	for _, s := range p.segs[i : j+1] {
		if s.to != to {
			picked = append(picked, s)
		}
	}
	slices.SortStableFunc(picked, func(a, b seg) int { // the rarest is asked for last
		switch {
		case a.weight < b.weight:
			return -1
		case a.weight > b.weight:
			return 1
		}
		return 0
	})
	for _, s := range picked {
		to = p.test(opJEQ, s.lo, s.to, to)
	}
	return to
}
