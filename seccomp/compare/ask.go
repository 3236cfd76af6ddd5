package compare

import (
	"porthole/seccomp"
)

// Reachable says of each clause of a span whether some call gets to it.
func Reachable(s seccomp.Span) ([]bool, error) {
	var list []clause
	for i, c := range s.Clauses {
		one := s
		one.Clauses = []seccomp.Clause{c}
		for _, w := range fromSpan(one) {
			w.action = seccomp.Action(i) // which clause, in place of what it answers
			list = append(list, w)
		}
	}
	d, root, err := draw([][]clause{list})
	if err != nil {
		return nil, err
	}
	out := make([]bool, len(s.Clauses))
	d.leaves(root, map[int]bool{}, func(answers []seccomp.Action) { out[answers[0]] = true })
	return out, nil
}

// leaves hands every leaf's answers to see, once.
func (d *diagram) leaves(id int, seen map[int]bool, see func([]seccomp.Action)) {
	if seen[id] {
		return
	}
	seen[id] = true
	n := d.nodes[id]
	if n.part < 0 {
		see(n.answers)
	}
	for _, next := range n.next {
		d.leaves(next, seen, see)
	}
}

// Overlap returns arguments for which two lists of conditions both hold; false if there are none.
func Overlap(a, b []seccomp.Cond, bits int) (args [6]uint64, ok bool, err error) {
	list := func(conds []seccomp.Cond) []clause {
		p := seccomp.Span{Bits: bits, Clauses: []seccomp.Clause{{Conds: conds, Verdict: seccomp.Verdict{Action: 1}}}}
		return append(fromSpan(p), clause{})
	}
	d, root, err := draw([][]clause{list(a), list(b)})
	if err != nil {
		return args, false, err
	}
	boxes := d.boxes(root, func(answers []seccomp.Action) bool { return answers[0] == 1 && answers[1] == 1 })
	if len(boxes) == 0 {
		return args, false, nil
	}
	return boxes[0].example(), true, nil
}

// SlipsThrough looks for arguments that a span permits, and would refuse were the high half of one of them 0.
// The kernel takes many an argument as an int: for it they are the same call.
func SlipsThrough(s seccomp.Span, arg uint8) (args [6]uint64, ok bool, err error) {
	if s.Bits != 64 {
		return args, false, nil
	}
	whole := fromSpan(s)
	var low []clause
next:
	for _, c := range whole {
		var lits []literal
		for _, l := range c.lits {
			switch {
			case l.word != 2*arg+1:
				lits = append(lits, l)
			case l.holds(0) == l.not:
				continue next
			}
		}
		low = append(low, clause{lits, c.action})
	}
	d, root, err := draw([][]clause{whole, low})
	if err != nil {
		return args, false, err
	}
	boxes := d.boxes(root, func(answers []seccomp.Action) bool { return answers[0].Permits() && !answers[1].Permits() })
	if len(boxes) == 0 {
		return args, false, nil
	}
	return boxes[0].example(), true, nil
}
