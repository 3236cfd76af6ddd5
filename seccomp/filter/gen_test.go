package filter_test

import (
	"math/rand/v2"

	"porthole/abi"
	"porthole/seccomp"
)

// edgy are values at which comparisons of 64 bits by words may go wrong.
var edgy = []uint64{0, 1, 2, 8, 16, 40, 0xff, 0x1000, 0x20000, 0x7fffffff, 0x80000000, 0xffffffff,
	1 << 32, 1<<32 | 1, 5<<32 | 5, 0x7fffffffffffffff, 1 << 63, 0xffffffff00000000, ^uint64(1), ^uint64(0)}

// random makes a policy of rules with up to three conditions each.
// The kinds differ in how much disorder is in them:
//
//	allow   rules that allow, or say what the default says
//	docker  rules that allow on one argument's value or mask, several to a call
//	mixed   each call its own action
//	wild    each rule its own action, conditions on one argument twice, any architectures
func random(seed uint64, kind string) seccomp.Policy {
	r := rand.New(rand.NewPCG(seed, 2))
	errno := func(a seccomp.Action) seccomp.Action {
		if a == seccomp.Errno || a == seccomp.Trace {
			return a.With(uint16([]int{1, 2, 22, 38}[r.IntN(4)]))
		}
		return a
	}
	actions := []seccomp.Action{seccomp.Allow}
	if kind == "mixed" || kind == "wild" {
		actions = []seccomp.Action{seccomp.Allow, seccomp.Errno, seccomp.Log, seccomp.Trap,
			seccomp.KillProcess, seccomp.KillThread, seccomp.Trace, seccomp.Notify}
	}
	pick := func(from []seccomp.Action) seccomp.Action { return errno(from[r.IntN(len(from))]) }

	p := seccomp.Policy{
		Default:     pick([]seccomp.Action{seccomp.Errno, seccomp.KillProcess, seccomp.Log}),
		BadArch:     seccomp.KillThread,
		NewerENOSYS: r.IntN(2) == 0,
	}
	switch own := abi.X86_64; {
	case kind == "wild" && r.IntN(2) == 0:
		own = abi.All[r.IntN(len(abi.All))]
		fallthrough
	default:
		p.Arches = own.Siblings()
		p.Arches = p.Arches[:1+r.IntN(len(p.Arches))]
	}

	var names []string
	for _, name := range p.Arches[0].Calls() {
		names = append(names, name)
	}
	names = append(names, "accept", "send", "semop", "socketcall", "ipc", "nosuchcall")
	r.Shuffle(len(names), func(i, j int) { names[i], names[j] = names[j], names[i] })
	n := 1 + r.IntN(len(names))
	for _, name := range names[:n/2] {
		p.Rules = append(p.Rules, seccomp.Rule{Name: name, Action: pick(actions)})
	}
	conditional := names[n/2 : min(n, n/2+40)]
	ops := []seccomp.Op{seccomp.NE, seccomp.LT, seccomp.LE, seccomp.EQ, seccomp.GE, seccomp.GT, seccomp.MaskedEQ}
	cond := func(arg int, ops []seccomp.Op) seccomp.Cond {
		c := seccomp.Cond{Arg: uint8(arg), Op: ops[r.IntN(len(ops))], Value: edgy[r.IntN(len(edgy))]}
		if c.Op == seccomp.MaskedEQ {
			c.Mask = edgy[r.IntN(len(edgy))]
		}
		return c
	}
	for _, name := range conditional {
		own, rules, args := ops, 1+r.IntN(3), 1+r.IntN(3)
		if r.IntN(5) < 2 {
			own = [][]seccomp.Op{ops[3:4], {seccomp.EQ, seccomp.NE}, {seccomp.LT, seccomp.GT, seccomp.EQ}, {seccomp.GE, seccomp.LE}, ops[6:]}[r.IntN(5)]
		}
		if kind == "docker" {
			own, rules, args = []seccomp.Op{seccomp.EQ, seccomp.EQ, seccomp.MaskedEQ}, 1+r.IntN(5), 1
		}
		act := pick(actions)
		for range rules {
			if kind == "wild" {
				act = pick(actions)
			}
			rule := seccomp.Rule{Name: name, Action: act}
			for _, arg := range r.Perm(6)[:args] {
				if kind == "docker" {
					arg = 0
				}
				rule.Conds = append(rule.Conds, cond(arg, own))
				if kind == "wild" && r.IntN(3) == 0 {
					rule.Conds = append(rule.Conds, cond(arg, own))
				}
			}
			p.Rules = append(p.Rules, rule)
		}
		if kind == "wild" && r.IntN(3) == 0 {
			p.Rules = append(p.Rules, seccomp.Rule{Name: name, Action: pick(actions)})
		}
	}
	return p
}

var kinds = []string{"allow", "docker", "mixed", "wild"}
