package compare

import (
	"fmt"
	"slices"
	"strings"

	specs "github.com/opencontainers/runtime-spec/specs-go"

	"porthole/abi"
	"porthole/seccomp"
	"porthole/seccomp/filter"
	"porthole/seccomp/profile"
)

// Recover writes down as a profile what programs do that a process of a machine runs under, the one installed
// last first. What no profile can say is in losses, a line each; all else is exact: the profile has been
// compared with the programs.
func Recover(name string, programs []filter.Program, machine abi.Arch) (p *profile.Profile, losses []string, err error) {
	p = &profile.Profile{Name: name}
	side := Side{Name: name, Programs: programs}
	r := newReader(side, machine)
	def, entries, err := r.recover()
	if err != nil {
		return nil, nil, err
	}
	p.Default, p.DefaultErrno = document(def)
	for _, a := range machine.Siblings() {
		covered, err := r.covers(a)
		if err != nil {
			return nil, nil, err
		}
		if covered {
			p.Arches = append(p.Arches, specs.Arch(a.SCMP()))
		}
	}
	p.Flags = nil
	p.Entries = entries
	d, err := Diff(side, Side{Name: "the profile", Profile: p}, Options{Machine: machine})
	if err != nil {
		return nil, nil, err
	}
	for _, g := range d.groups() {
		s := fmt.Sprintf("%s: %v by the filter, %v by this profile", strings.Join(g.calls, " "), g.from, g.to)
		if g.arches != "" {
			s += ", by " + g.arches
		}
		if g.args != "" {
			s += ", if " + g.args
		}
		losses = append(losses, s)
	}
	return p, losses, nil
}

// document is an action as documents have it.
func document(a seccomp.Action) (specs.LinuxSeccompAction, *uint) {
	if a.Kind() == seccomp.Errno || a.Kind() == seccomp.Trace {
		n := uint(a.Data())
		return specs.LinuxSeccompAction(a.Token()), &n
	}
	if a.Token() == "" { // the kernel kills for what is no action
		return specs.ActKillProcess, nil
	}
	return specs.LinuxSeccompAction(a.Token()), nil
}

// covers says that some call of an ABI is not killed.
func (r *reader) covers(a abi.Arch) (bool, error) {
	for nr, call := range a.Calls() {
		all, err := r.said(point{auditOf(a), a, nr, nr, call})
		if err != nil {
			return false, err
		}
		for _, o := range all {
			if k := o.to.Kind(); k != seccomp.KillThread && k != seccomp.KillProcess {
				return true, nil
			}
		}
	}
	return false, nil
}

func auditOf(a abi.Arch) abi.Arch {
	if a == abi.X32 {
		return abi.X86_64
	}
	return a
}

func (r *reader) said(p point) ([]outcome, error) {
	c := comparison{sides: [2]*reader{r, r}, point: p, machine: r.machine}
	return c.all(0, profile.Conditions{})
}

// recover finds the default, from a number without a name or the commonest refusal, and an entry for every answer that is another.
func (r *reader) recover() (def seccomp.Action, entries []profile.Entry, err error) {
	a := r.machine
	enosys := seccomp.Errno | 38
	newest, refusals := uint32(0), map[seccomp.Action]int{} // newest: below it, numbers are not refused for their age
	for nr, call := range a.Calls() {
		all, err := r.said(point{auditOf(a), a, nr, nr, call})
		if err != nil {
			return 0, nil, fmt.Errorf("%s: %w", call, err)
		}
		if len(all) > 1 || all[0].to != enosys {
			newest = max(newest, nr)
		}
		for _, o := range all {
			if !o.to.Permits() && nr <= newest {
				refusals[o.to]++
			}
		}
	}
	def = seccomp.Allow
	for act, n := range refusals {
		if m := refusals[def]; n > m || n == m && act < def {
			def = act
		}
	}
	for nr := uint32(1); nr < newest; nr++ {
		if _, named := a.Name(nr); !named {
			all, err := r.said(point{auditOf(a), a, nr, nr, ""})
			if err != nil {
				return 0, nil, err
			}
			def = all[0].to
			break
		}
	}
	if def.Kind() == seccomp.Notify { // no runtime takes that for a default, or without its listener
		def = seccomp.Errno | 1
	}
	index := map[string]int{}
	add := func(call string, act seccomp.Action, args []specs.LinuxSeccompArg) {
		key := fmt.Sprint(act, args)
		i, ok := index[key]
		if !ok || len(args) > 0 && i != len(entries)-1 {
			var e profile.Entry
			e.Action, e.ErrnoRet = document(act)
			e.Args = args
			i = len(entries)
			index[key] = i
			entries = append(entries, e)
		}
		entries[i].Names = append(entries[i].Names, call)
	}
	var names []string
	for _, sibling := range a.Siblings() { // a call that only another ABI has, too
		for _, call := range sibling.Calls() {
			if !slices.Contains(names, call) {
				names = append(names, call)
			}
		}
	}
	slices.Sort(names)
	for _, call := range names {
		own := a
		for _, s := range a.Siblings() {
			if _, ok := s.Nr(call); ok {
				own = s
				break
			}
		}
		nr, _ := own.Nr(call)
		all, err := r.said(point{auditOf(own), own, nr, nr, call})
		if err != nil {
			return 0, nil, fmt.Errorf("%s: %w", call, err)
		}
		for _, o := range all {
			switch {
			case o.to == def || o.partial || o.to.Kind() == seccomp.Notify:
			case len(o.regions) == 0 || slices.ContainsFunc(o.regions, func(r region) bool { return len(r) == 0 }):
				if o.to != enosys || def.Permits() || own == a && nr < newest { // newer ones get it by themselves
					add(call, o.to, nil)
				}
			default:
				for _, reg := range o.regions {
					for _, args := range reg.args(own.Bits()) {
						add(call, o.to, args)
					}
				}
			}
		}
	}
	return def, entries, nil
}

// args are the tests of a document that a region comes to, in as many entries as it takes; none where it
// cannot be said.
func (r region) args(bits int) [][]specs.LinuxSeccompArg {
	top := uint64(low32)
	if bits == 64 {
		top = ^uint64(0)
	}
	all := [][]specs.LinuxSeccompArg{nil}
	for _, t := range r {
		if len(t.masks) != len(t.texts) || len(t.masks) > 0 && t.runs != nil || len(t.masks) > 1 {
			return nil
		}
		var ways []specs.LinuxSeccompArg
		way := func(op specs.LinuxSeccompOperator, v, two uint64) {
			ways = append(ways, specs.LinuxSeccompArg{Index: uint(t.arg), Op: op, Value: v, ValueTwo: two})
		}
		for _, m := range t.masks {
			way(specs.OpMaskedEqual, m.Mask, m.Value)
		}
		if n := len(t.runs); n == 2 && t.runs[0].lo == 0 && t.runs[1].hi == top && t.runs[0].hi+2 == t.runs[1].lo {
			way(specs.OpNotEqual, t.runs[0].hi+1, 0)
		} else {
			for _, x := range t.runs {
				switch {
				case x.lo == x.hi:
					way(specs.OpEqualTo, x.lo, 0)
				case x.lo == 0:
					way(specs.OpLessEqual, x.hi, 0)
				case x.hi == top:
					way(specs.OpGreaterEqual, x.lo, 0)
				case x.hi-x.lo < 64:
					for v := x.lo; v <= x.hi; v++ {
						way(specs.OpEqualTo, v, 0)
					}
				default:
					return nil
				}
			}
		}
		var more [][]specs.LinuxSeccompArg
		for _, w := range ways {
			for _, args := range all {
				more = append(more, append(args[:len(args):len(args)], w))
			}
		}
		if all = more; len(all) > 256 {
			return nil
		}
	}
	return all
}
