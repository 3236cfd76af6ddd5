package compare

import (
	"fmt"
	"slices"

	"porthole/abi"
	"porthole/caps"
	"porthole/facts"
	"porthole/seccomp"
	"porthole/seccomp/profile"
)

// maxCaps bounds how many capabilities one call's answer may hang on: each doubles the cases.
const maxCaps = 10

// compare adds what changed for a number.
func (r *Result) compare(sides [2]*reader, p point, o Options) error {
	c := comparison{sides: sides, point: p, machine: o.Machine}
	var set caps.Set
	var kernels []facts.Version
	for i, s := range sides {
		c.entries[i], c.plain[i] = s.relevant(p)
		more, ks := s.ask(c.entries[i])
		set |= more
		kernels = append(kernels, ks...)
	}
	var found []found
	var err error
	switch {
	case o.Only != nil:
		only := *o.Only
		only.Arch = o.Machine
		var what []outcome
		what, err = c.differ(only)
		found = under(Conditions{}, what)
	default:
		if n := set.Len(); n > maxCaps {
			return fmt.Errorf("it hangs on %d capabilities; the most that are gone through is %d", n, maxCaps)
		}
		slices.SortFunc(kernels, func(a, b facts.Version) int {
			switch {
			case a == b:
				return 0
			case b.AtLeast(a):
				return -1
			}
			return 1
		})
		c.kernels = slices.Compact(kernels)
		found, err = c.split(set.List(), 0)
	}
	if err != nil {
		return err
	}
	for _, f := range found {
		r.Changes = append(r.Changes, Change{
			Arch: p.arch, Lo: p.lo, Hi: p.hi, Call: p.call,
			When: f.when, From: f.from, To: f.to, Args: f.args, Example: f.example,
		})
	}
	if p.call != "" && o.Show != (profile.Conditions{}) {
		cell := Cell{Arch: p.arch, Nr: p.lo, Call: p.call, Changed: len(found) > 0}
		show := o.Show
		show.Arch = o.Machine
		if cell.A, err = c.answers(0, show); err != nil {
			return err
		}
		if cell.B, err = c.answers(1, show); err != nil {
			return err
		}
		r.Cells = append(r.Cells, cell)
	}
	return nil
}

// comparison is of one number.
type comparison struct {
	sides   [2]*reader
	point   point
	machine abi.Arch
	entries [2][]int
	plain   [2]bool
	kernels []facts.Version // from which on something may change
}

// outcome is one way in which the sides differ.
type outcome struct {
	from, to seccomp.Action
	args     []string
	example  [6]uint64
	regions  []region
	partial  bool // there are more regions than are told
}

// found is what differs under some conditions.
type found struct {
	when Conditions
	outcome
}

func under(when Conditions, what []outcome) (out []found) {
	for _, w := range what {
		out = append(out, found{when, w})
	}
	return out
}

func (o outcome) same(p outcome) bool {
	return o.from == p.from && o.to == p.to && slices.Equal(o.args, p.args)
}

// split goes through the capabilities one by one. Where one makes no difference to what differs, it is not
// told of.
func (c *comparison) split(list []caps.Cap, set caps.Set) ([]found, error) {
	if len(list) == 0 {
		return c.overKernels(set)
	}
	without, err := c.split(list[1:], set)
	if err != nil {
		return nil, err
	}
	with, err := c.split(list[1:], set|caps.Of(list[0]))
	if err != nil {
		return nil, err
	}
	var out []found
	for _, f := range without {
		i := slices.IndexFunc(with, func(g found) bool { return g.when == f.when && g.same(f.outcome) })
		if i >= 0 {
			with = slices.Delete(with, i, i+1)
		} else {
			f.when.Without |= caps.Of(list[0])
		}
		out = append(out, f)
	}
	for _, f := range with {
		f.when.With |= caps.Of(list[0])
		out = append(out, f)
	}
	return out, nil
}

// overKernels compares before the first kernel from which on something may change, and from each of them.
func (c *comparison) overKernels(set caps.Set) ([]found, error) {
	var out []found
	for i := -1; i < len(c.kernels); i++ {
		k := facts.Version{}
		if i >= 0 {
			k = c.kernels[i]
		}
		what, err := c.differ(profile.Conditions{Caps: set, Arch: c.machine, Kernel: k})
		if err != nil {
			return nil, err
		}
		for j, f := range out { // what was so up to here, and is so no longer or goes on
			if f.when.Before != (facts.Version{}) {
				continue
			}
			if n := slices.IndexFunc(what, f.same); n >= 0 {
				what = slices.Delete(what, n, n+1)
			} else {
				out[j].when.Before = k
			}
		}
		out = append(out, under(Conditions{Since: k}, what)...)
	}
	return out, nil
}

// differ says what changed under conditions that are fixed.
func (c *comparison) differ(at profile.Conditions) ([]outcome, error) {
	a, err := c.sides[0].clauses(c.point, c.entries[0], c.plain[0], at)
	if err != nil {
		return nil, err
	}
	b, err := c.sides[1].clauses(c.point, c.entries[1], c.plain[1], at)
	if err != nil {
		return nil, err
	}
	if len(a) == 1 && len(b) == 1 && len(a[0][0].lits) == 0 && len(b[0][0].lits) == 0 && a[0][0].action == b[0][0].action {
		return nil, nil
	}
	n := len(a)
	return c.outcomes(append(a, b...), func(answers []seccomp.Action) (from, to seccomp.Action) {
		return strictest(answers[:n]), strictest(answers[n:])
	}, true)
}

// all lists what one side says under conditions.
func (c *comparison) all(side int, at profile.Conditions) ([]outcome, error) {
	lists, err := c.sides[side].clauses(c.point, c.entries[side], c.plain[side], at)
	if err != nil {
		return nil, err
	}
	return c.outcomes(lists, func(answers []seccomp.Action) (from, to seccomp.Action) {
		a := strictest(answers)
		return a, a
	}, false)
}

// answers is all for other packages.
func (c *comparison) answers(side int, at profile.Conditions) ([]Answer, error) {
	all, err := c.all(side, at)
	var out []Answer
	for _, o := range all {
		out = append(out, Answer{o.to, o.args})
	}
	return out, err
}

// outcomes draws lists of clauses, and writes out where they lead: everywhere, or only where they differ.
func (c *comparison) outcomes(lists [][]clause, judge func([]seccomp.Action) (from, to seccomp.Action), differing bool) ([]outcome, error) {
	d, root, err := draw(lists)
	if err != nil {
		return nil, err
	}
	bits := c.point.arch.Bits()
	if c.point.call == "" && c.point.arch.Bits() == 0 {
		bits = 64
	}
	boxes := d.boxes(root, func(answers []seccomp.Action) bool {
		from, to := judge(answers)
		return from != to || !differing
	})
	var out []outcome
	regions := map[[2]seccomp.Action][]region{}
	for _, b := range boxes {
		from, to := judge(b.answers)
		key := [2]seccomp.Action{from, to}
		if _, seen := regions[key]; !seen {
			out = append(out, outcome{from: from, to: to, example: b.example()})
		}
		regions[key] = append(regions[key], b.region(bits))
	}
	for i, o := range out {
		var texts []string
		out[i].regions = union(regions[[2]seccomp.Action{o.from, o.to}])
		out[i].partial = len(boxes) == maxBoxes
		for _, r := range out[i].regions {
			if len(r) == 0 {
				texts = nil
				break
			}
			texts = append(texts, r.text(bits))
		}
		if len(boxes) == maxBoxes {
			texts = append(texts, "and more")
		}
		out[i].args = texts
	}
	return out, nil
}
