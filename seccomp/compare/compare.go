// Package compare says what two seccomp filters do differently: which calls, with which arguments,
// under which capabilities and kernels, are answered otherwise. It compares meaning, not text, and is
// exact: there is a Change if and only if some call gets another answer.
//
// A side is a profile, whose conditions are all gone through, or the programs that a process runs
// under. Either is brought to clauses over the 32-bit words of the arguments, as a filter sees them
// (clauses.go); word after word the values are cut into classes that no test tells apart (words.go,
// diagram.go); and what is found is written in terms of arguments again (regions.go).
package compare

import (
	"fmt"
	"slices"
	"strings"

	"porthole/abi"
	"porthole/caps"
	"porthole/facts"
	"porthole/seccomp"
	"porthole/seccomp/filter"
	"porthole/seccomp/profile"
)

// Side is one of the two: a profile or, where Profile is nil, the programs of a process, the one
// installed last first; none: no filter at all.
type Side struct {
	Name     string
	Profile  *profile.Profile
	Programs []filter.Program
}

// Conditions are what holds while a difference is there.
type Conditions struct {
	With, Without caps.Set      // granted, and not granted
	Since, Before facts.Version // kernels from this on, and older than this; zero: whichever
}

// Always says that there are none.
func (c Conditions) Always() bool { return c == Conditions{} }

// String is "with CAP_BPF, without CAP_SYS_ADMIN, Linux 4.8 or newer"; "always" where there are none.
func (c Conditions) String() string {
	var parts []string
	if c.With != 0 {
		parts = append(parts, "with "+names(c.With))
	}
	if c.Without != 0 {
		parts = append(parts, "without "+names(c.Without))
	}
	switch {
	case c.Since != facts.Version{} && c.Before != facts.Version{}:
		parts = append(parts, "Linux "+c.Since.String()+" or newer, older than "+c.Before.String())
	case c.Since != facts.Version{}:
		parts = append(parts, "Linux "+c.Since.String()+" or newer")
	case c.Before != facts.Version{}:
		parts = append(parts, "Linux older than "+c.Before.String())
	}
	if len(parts) == 0 {
		return "always"
	}
	return strings.Join(parts, ", ")
}

func names(set caps.Set) string {
	var out []string
	for _, c := range set.List() {
		out = append(out, c.String())
	}
	return strings.Join(out, " ")
}

// Kind sorts changes by what they mean for a program.
type Kind uint8

// The kinds.
const (
	Allowed Kind = 1 + iota // refused before
	Refused                 // allowed before
	Other                   // refused before and after, or allowed, and in another way
)

func (k Kind) String() string {
	return [...]string{"", "allowed", "refused", "otherwise"}[k]
}

func kindOf(from, to seccomp.Action) Kind {
	switch {
	case from.Permits() == to.Permits():
		return Other
	case to.Permits():
		return Allowed
	}
	return Refused
}

// Change is one call, or a run of numbers without a name, that gets another answer.
type Change struct {
	Arch     abi.Arch // the ABI that the call is made in
	Lo, Hi   uint32   // its number, or the run's first and last
	Call     string   // "" for a run
	When     Conditions
	From, To seccomp.Action
	Args     []string  // texts, of which one holds for the arguments: "arg0 == 0x26"; none: whatever they are
	Example  [6]uint64 // arguments with which it is so
}

// Kind says what the change means.
func (c Change) Kind() Kind { return kindOf(c.From, c.To) }

// Result is what Diff found.
type Result struct {
	A, B    string
	Machine abi.Arch
	// Only are the conditions that alone were looked at; nil: all.
	Only    *profile.Conditions
	Changes []Change           // by ABI, number, conditions, arguments
	Notes   []string           // differences that are no call's: flags, architectures
	Cells   []Cell             // every call of every ABI, for a picture
	Show    profile.Conditions // that Cells are made for
}

// Same says that no call gets another answer.
func (r Result) Same() bool { return len(r.Changes) == 0 }

// Cell is a call with what both sides answer under the conditions that a picture shows.
type Cell struct {
	Arch    abi.Arch
	Nr      uint32
	Call    string
	A, B    []Answer
	Changed bool // under these conditions or others
}

// Answer is an action, and for which arguments: one of Args, or whatever they are.
type Answer struct {
	Action seccomp.Action
	Args   []string
}

// Options say what is compared.
type Options struct {
	Machine abi.Arch
	// Only, if not nil, fixes what profiles' conditions depend on; otherwise all are gone through.
	Only *profile.Conditions
	// Show are the conditions that Cells are made for; the zero value leaves Cells out.
	Show profile.Conditions
}

// Diff compares two sides on one kind of machine, for calls of all its ABIs. It fails for a program that
// computes with arguments in a way that no list of tests expresses, and where a call hangs on more than
// ten capabilities or on tests beyond counting.
func Diff(a, b Side, o Options) (Result, error) {
	r := Result{A: a.Name, B: b.Name, Machine: o.Machine, Only: o.Only, Show: o.Show}
	sides := [2]*reader{newReader(a, o.Machine), newReader(b, o.Machine)}
	for _, audit := range audits(o.Machine) {
		cuts, err := numbers(audit, sides)
		if err != nil {
			return r, err
		}
		for i, lo := range cuts {
			hi := ^uint32(0)
			if i+1 < len(cuts) {
				hi = cuts[i+1] - 1
			}
			p := point{audit, own(audit, lo), lo, hi, ""}
			p.call, _ = p.arch.Name(lo)
			if err := r.compare(sides, p, o); err != nil {
				return r, fmt.Errorf("%s: %w", p, err)
			}
		}
	}
	r.Changes = joinRuns(r.Changes)
	r.notes(a, b)
	return r, nil
}

// point is a number, or a run of them that is one to both sides.
type point struct {
	audit, arch abi.Arch
	lo, hi      uint32
	call        string
}

func (p point) String() string {
	if p.call != "" {
		return fmt.Sprintf("%s (%v)", p.call, p.arch)
	}
	return fmt.Sprintf("number %d (%v)", p.lo, p.arch)
}

// audits are the ABIs of a machine that a filter tells apart by their audit value.
func audits(machine abi.Arch) []abi.Arch {
	var out []abi.Arch
	for _, a := range machine.Siblings() {
		if a == abi.X32 {
			a = abi.X86_64
		}
		if !slices.Contains(out, a) {
			out = append(out, a)
		}
	}
	return out
}

// own is the ABI of a number: x86-64's and x32's have one audit value.
func own(audit abi.Arch, nr uint32) abi.Arch {
	if a, ok := abi.ParseAudit(audit.Audit(), nr); ok {
		return a
	}
	return audit
}

// numbers are where an answer may change from one number to the next.
func numbers(audit abi.Arch, sides [2]*reader) ([]uint32, error) {
	cuts := []uint32{0, abi.X32Bit, 2 * abi.X32Bit, 3 * abi.X32Bit, ^uint32(0)}
	abis := []abi.Arch{audit}
	if audit == abi.X86_64 {
		abis = append(abis, abi.X32)
	}
	for _, a := range abis {
		for nr := range a.Calls() {
			cuts = append(cuts, nr, nr+1)
		}
	}
	for _, s := range sides {
		for _, p := range s.Programs {
			cuts = append(cuts, p.Numbers()...)
		}
	}
	slices.Sort(cuts)
	return slices.Compact(cuts), nil
}

// joinRuns makes one change of neighbouring runs of numbers that changed alike.
func joinRuns(list []Change) []Change {
	var out []Change
	for _, c := range list {
		i := len(out) - 1
		for i >= 0 && out[i].Call == "" && out[i].Arch == c.Arch && out[i].Hi >= c.Lo-1 && !alike(out[i], c) {
			i--
		}
		if c.Call == "" && i >= 0 && out[i].Call == "" && out[i].Arch == c.Arch && out[i].Hi == c.Lo-1 && alike(out[i], c) {
			out[i].Hi = c.Hi
			continue
		}
		out = append(out, c)
	}
	return out
}

func alike(a, b Change) bool {
	return a.When == b.When && a.From == b.From && a.To == b.To && slices.Equal(a.Args, b.Args)
}

// notes tells what differs beside the answers.
func (r *Result) notes(a, b Side) {
	if a.Profile == nil || b.Profile == nil {
		return
	}
	c := profile.Conditions{Arch: r.Machine}
	x, _ := a.Profile.Resolve(c)
	y, _ := b.Profile.Resolve(c)
	list := func(p seccomp.Policy) string {
		var s []string
		for _, m := range r.Machine.Siblings() {
			if slices.Contains(p.Arches, m) {
				s = append(s, m.String())
			}
		}
		return strings.Join(s, " ")
	}
	if p, q := list(x), list(y); p != q {
		r.Notes = append(r.Notes, fmt.Sprintf("ABIs covered: %s → %s; calls in any other get %v", p, q, y.BadArch))
	}
	if x.Flags != y.Flags {
		r.Notes = append(r.Notes, fmt.Sprintf("installed with flags %#x → %#x (SECCOMP_FILTER_FLAG_*)", x.Flags, y.Flags))
	}
	if x.ListenerPath != y.ListenerPath {
		r.Notes = append(r.Notes, fmt.Sprintf("listener: %q → %q", x.ListenerPath, y.ListenerPath))
	}
}
