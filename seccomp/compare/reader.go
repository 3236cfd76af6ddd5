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

// reader answers for a side, number by number.
type reader struct {
	Side
	machine abi.Arch
	entries []profile.Entry // those for this machine
	plain   seccomp.Policy  // the profile without any entry that hangs on conditions
	tables  map[abi.Arch]seccomp.Table
	// Of each ABI: the newest call that an unconditional entry names, and by entry the newest of its.
	newest map[abi.Arch]named
	by     map[abi.Arch][]named
}

// named is a call that a profile names.
type named struct {
	nr   uint32
	call string
}

func newReader(s Side, machine abi.Arch) *reader {
	r := &reader{Side: s, machine: machine, tables: map[abi.Arch]seccomp.Table{}, newest: map[abi.Arch]named{}, by: map[abi.Arch][]named{}}
	if s.Profile == nil {
		return r
	}
	// What depends on the architecture is decided; what is left are capabilities and kernels.
	for _, e := range s.Profile.Entries {
		here := !slices.ContainsFunc(e.Unmet(profile.Conditions{Arch: machine}), func(c profile.Condition) bool { return c.Kind == profile.NeedsArch })
		if here {
			r.entries = append(r.entries, e)
		}
	}
	p := *s.Profile
	p.Entries = nil
	for _, e := range r.entries {
		if !hanging(e) {
			p.Entries = append(p.Entries, e)
		}
	}
	r.plain, _ = p.Resolve(profile.Conditions{Arch: machine})
	for _, a := range machine.Siblings() {
		r.by[a] = make([]named, len(r.entries))
		for i, e := range r.entries {
			for _, call := range e.Names {
				nr, ok := a.Nr(call)
				if _, _, muxed := seccomp.Multiplexed(a, call); !ok || muxed {
					continue
				}
				n := named{nr, call}
				if n.nr >= r.by[a][i].nr {
					r.by[a][i] = n
				}
				if !hanging(e) && n.nr >= r.newest[a].nr {
					r.newest[a] = n
				}
			}
		}
	}
	return r
}

// hanging says that an entry is in effect under some capabilities or kernels only.
func hanging(e profile.Entry) bool {
	return e.Includes.Caps|e.Excludes.Caps != 0 || e.Includes.MinKernel != facts.Version{} || e.Excludes.MinKernel != facts.Version{}
}

// names are the calls that rules for a number may name: the call itself, and those that come through it.
func (p point) names() []string {
	if p.call == "" {
		return nil
	}
	return append(seccomp.Through(p.arch, p.call), p.call)
}

// ages is the ABI whose newest call a number is measured by (seccomp.Policy.Decide).
func (p point) ages() abi.Arch {
	if p.audit == abi.X86_64 && p.lo&abi.X32Bit != 0 {
		return abi.X32
	}
	return p.audit
}

// relevant are the entries that may have a say in a number: those that name it, and, where it may be newer
// than all that are named, those that may name a newer one. plain says that none of them hangs on anything.
func (r *reader) relevant(p point) (entries []int, plain bool) {
	plain = true
	calls, a := p.names(), p.ages()
	newest := r.newest[a].nr // 0: none, as for seccomp.Policy
	old := newest != 0 && p.lo <= newest
	for i, e := range r.entries {
		names := slices.ContainsFunc(calls, func(c string) bool { return slices.Contains(e.Names, c) })
		nr := r.by[a][i].nr
		ages := !old && hanging(e) && nr != 0 && (newest == 0 || nr >= p.lo)
		if names || ages {
			entries = append(entries, i)
			plain = plain && !hanging(e)
		}
	}
	return entries, plain
}

// ask lists what a number's answer hangs on: capabilities, and kernels from which on something changes.
func (r *reader) ask(entries []int) (set caps.Set, kernels []facts.Version) {
	for _, i := range entries {
		e := r.entries[i]
		set |= e.Includes.Caps | e.Excludes.Caps
		for _, v := range []facts.Version{e.Includes.MinKernel, e.Excludes.MinKernel} {
			if v != (facts.Version{}) {
				kernels = append(kernels, v)
			}
		}
	}
	return set, kernels
}

// span is the profile's clauses for a number under c, of which only what ask lists counts.
func (r *reader) span(p point, entries []int, plain bool, c profile.Conditions) seccomp.Span {
	if plain {
		t, ok := r.tables[p.audit]
		if !ok {
			t = r.plain.Table(p.audit)
			r.tables[p.audit] = t
		}
		return t.At(p.lo)
	}
	q := *r.Profile
	q.Entries = nil
	calls, a := p.names(), p.ages()
	stand := func(n named) { // an entry that names the newest call, and says nothing of this one
		if n.call != "" && !slices.Contains(calls, n.call) {
			e := profile.Entry{}
			e.Names, e.Action = []string{n.call}, "SCMP_ACT_ALLOW"
			q.Entries = append(q.Entries, e)
		}
	}
	stand(r.newest[a])
	for _, i := range entries {
		e := r.entries[i]
		var mine []string
		for _, name := range e.Names {
			if slices.Contains(calls, name) {
				mine = append(mine, name)
			}
		}
		if hanging(e) && len(e.Unmet(c)) == 0 {
			stand(r.by[a][i])
		}
		if e.Names = mine; len(mine) > 0 {
			q.Entries = append(q.Entries, e)
		}
	}
	pol, _ := q.Resolve(c)
	return pol.Table(p.audit).At(p.lo)
}

// clauses are the lists that decide a number under c, one of a profile, or one of each program.
func (r *reader) clauses(p point, entries []int, plain bool, c profile.Conditions) ([][]clause, error) {
	if r.Profile != nil {
		return [][]clause{fromSpan(r.span(p, entries, plain, c))}, nil
	}
	if len(r.Programs) == 0 {
		return [][]clause{{{action: seccomp.Allow}}}, nil
	}
	var out [][]clause
	for i, prog := range r.Programs {
		list, err := fromProgram(prog, p.audit.Audit(), p.lo)
		if err != nil {
			return nil, fmt.Errorf("%s: filter %d of %d: %w", r.Name, i+1, len(r.Programs), err)
		}
		out = append(out, list)
	}
	return out, nil
}

// strictest is what the kernel makes of the answers of several programs, the one installed last first: that
// of the least value as a signed number, and of equals the first (seccomp_run_filters, kernel/seccomp.c).
// An answer that is no action kills the process there, and so here.
func strictest(answers []seccomp.Action) seccomp.Action {
	out := seccomp.Allow
	for _, a := range answers {
		if int32(a.Kind()) < int32(out.Kind()) {
			out = a
		}
	}
	return out
}
