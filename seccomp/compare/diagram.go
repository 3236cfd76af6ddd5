package compare

import (
	"encoding/binary"
	"slices"

	"porthole/seccomp"
)

// A diagram decides lists of clauses together: word after word, it goes where the word's value leads,
// to what every list answers. Parts that lead to the same are one node, and a word that makes no
// difference is left out; so two lists answer alike if and only if every leaf has one answer.
type diagram struct {
	lists [][]clause
	parts []partition // of the words that are tested, in the order of rank
	nodes []node
	index map[string]int // a node's id by its content
	known map[string]int // and by the clauses that are left
}

// A node asks for a word, or is a leaf.
type node struct {
	part int // index in parts; -1: a leaf
	next []int
	// Of a leaf: what each list answers.
	answers []seccomp.Action
}

// draw makes the diagram of some lists; the id is that of its root.
func draw(lists [][]clause) (*diagram, int, error) {
	d := &diagram{lists: lists, index: map[string]int{}, known: map[string]int{}}
	var atoms []atom
	var used [12]bool
	for _, list := range lists {
		for _, c := range list {
			for _, l := range c.lits {
				used[l.word] = true
				if !slices.Contains(atoms, l.atom) {
					atoms = append(atoms, l.atom)
				}
			}
		}
	}
	for r := range uint8(len(used)) {
		if w := rank(r); used[w] {
			p, err := cut(w, atoms)
			if err != nil {
				return nil, 0, err
			}
			d.parts = append(d.parts, p)
		}
	}
	alive := make([][]int, len(lists))
	for i, list := range lists {
		for j := range list {
			alive[i] = append(alive[i], j)
		}
	}
	root, err := d.node(0, alive)
	return d, root, err
}

// rank is the order in which words are asked: of each argument the high one first, since where it is not
// what tests ask for, the low one seldom matters.
func rank(word uint8) uint8 { return word ^ 1 }

// maxNodes bounds a diagram.
const maxNodes = 1 << 16

// node returns the node for the clauses that are left of each list once the words before part are known.
func (d *diagram) node(part int, alive [][]int) (int, error) {
	if part == len(d.parts) {
		n := node{part: -1}
		for i, list := range alive {
			n.answers = append(n.answers, d.lists[i][list[0]].action)
		}
		return d.unique(n), nil
	}
	key := []byte{byte(part)}
	for _, list := range alive {
		for _, j := range list {
			key = binary.AppendUvarint(key, uint64(j)+1)
		}
		key = append(key, 0)
	}
	if id, ok := d.known[string(key)]; ok {
		return id, nil
	}
	if len(d.known) > maxNodes {
		return 0, errTests
	}
	p := &d.parts[part]
	n := node{part: part}
	for _, c := range p.classes {
		left := make([][]int, len(alive))
		for i, list := range alive {
			left[i] = d.left(i, list, p, c.value)
		}
		id, err := d.node(part+1, left)
		if err != nil {
			return 0, err
		}
		n.next = append(n.next, id)
	}
	id := n.next[0]
	if slices.ContainsFunc(n.next, func(o int) bool { return o != id }) {
		id = d.unique(n)
	}
	d.known[string(key)] = id
	return id, nil
}

// left are the clauses of a list that a word's value does not rule out, up to the first that asks for
// nothing more.
func (d *diagram) left(list int, alive []int, p *partition, v uint32) []int {
	var out []int
	for _, j := range alive {
		open, ruled := false, false
		for _, l := range d.lists[list][j].lits {
			switch {
			case l.word == p.word && l.holds(v) == l.not:
				ruled = true
			case rank(l.word) > rank(p.word):
				open = true
			}
		}
		if ruled {
			continue
		}
		out = append(out, j)
		if !open {
			break
		}
	}
	return out
}

func (d *diagram) unique(n node) int {
	key := binary.AppendVarint(nil, int64(n.part))
	for _, id := range n.next {
		key = binary.AppendUvarint(key, uint64(id))
	}
	for _, a := range n.answers {
		key = binary.AppendUvarint(key, uint64(a))
	}
	if id, ok := d.index[string(key)]; ok {
		return id
	}
	d.nodes = append(d.nodes, n)
	d.index[string(key)] = len(d.nodes) - 1
	return len(d.nodes) - 1
}

// A box is a set of arguments: for each word that is in it, the classes that belong to it.
type box struct {
	sides   []side
	answers []seccomp.Action
}

type side struct {
	part    *partition
	classes []bool
}

// maxBoxes bounds how many are told of one call; what is beyond is not written out.
const maxBoxes = 64

// boxes walks to every leaf that want takes, and returns the arguments that lead there.
func (d *diagram) boxes(root int, want func([]seccomp.Action) bool) []box {
	var out []box
	var walk func(id int, sides []side)
	walk = func(id int, sides []side) {
		n := d.nodes[id]
		if len(out) == maxBoxes {
			return
		}
		if n.part < 0 {
			if want(n.answers) {
				out = append(out, box{slices.Clone(sides), n.answers})
			}
			return
		}
		p := &d.parts[n.part]
		var seen []int
		for i, id := range n.next {
			if slices.Contains(seen, id) {
				continue
			}
			seen = append(seen, id)
			s := side{p, make([]bool, len(n.next))}
			for j := i; j < len(n.next); j++ {
				s.classes[j] = n.next[j] == id
			}
			walk(id, append(sides[:len(sides):len(sides)], s))
		}
	}
	walk(root, nil)
	return out
}

// example are arguments within the box.
func (b box) example() (args [6]uint64) {
	for _, s := range b.sides {
		v := s.part.classes[slices.Index(s.classes, true)].value
		args[s.part.word/2] |= uint64(v) << (32 * (s.part.word % 2))
	}
	return args
}
