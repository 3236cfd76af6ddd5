package plan

import (
	"fmt"
	"slices"
	"strings"

	"porthole/seccomp"
	"porthole/seccomp/filter"
)

// FilterError says that a filter would stop the start of the very process it is for.
type FilterError struct {
	Calls  []string       // the calls of ours that it does not let through, in the order in which they come
	Action seccomp.Action // what the first of them gets
	Rule   int            // index in the policy's rules of the one that decides that; -1: none does

	Because, Try string
}

func (e *FilterError) Error() string {
	text := fmt.Sprintf("the seccomp profile would stop the start itself: it answers %v to %s", e.Action, and(e.Calls))
	if e.Because != "" {
		text += "\n  because: " + e.Because
	}
	return text + "\n  try: " + e.Try
}

func and(list []string) string {
	if len(list) < 2 {
		return strings.Join(list, "")
	}
	return strings.Join(list[:len(list)-1], ", ") + " and " + list[len(list)-1]
}

// checkFilter runs the filter on every step that comes after its installation. Nothing but
// permission will do: an errno, even one that a step tolerates, would leave undone what the
// container's safety rests on, and errno 0 would look like success.
func (b *builder) checkFilter(sc *Seccomp, nnp bool) error {
	if sc == nil || b.filtered < 0 {
		return nil
	}
	var bad *FilterError
	steps := b.p.Child[b.filtered:]
	if slices.ContainsFunc(b.p.Gates, func(g Gate) bool { return g.ID == GateStart && g.At >= b.filtered }) {
		// Up to the start gate launch has the child die with its parent, again after each change of ids.
		steps = slices.Clone(steps)
		for _, sig := range []uint64{sigKill, 0} {
			steps = append(steps, Step{Call: "prctl", Args: []Arg{{Num: prSetPdeathsig}, {Num: sig}}})
		}
	}
	for i, s := range steps {
		nr, ok := b.f.Arch.Nr(s.Call)
		if !ok {
			return fmt.Errorf("%s has no system call %s", b.f.Arch, s.Call)
		}
		d := filter.Data{Nr: nr, Arch: b.f.Arch.Audit()}
		for k, a := range s.Args {
			d.Args[k] = likely(a)
		}
		action, _ := sc.Program.Run(d)
		if action.Kind() == seccomp.Notify && sc.Answers != nil {
			if said := sc.Answers.Decide(b.f.Arch, nr, d.Args).Action; !said.Permits() {
				action = said
			}
		}
		switch action.Kind() {
		case seccomp.Allow, seccomp.Log:
			continue
		case seccomp.Notify:
			// The listener is fetched at the gate that follows at once; what it takes to get there nobody could answer,
			// and at a gate for as long as it pleases nobody is to be asked.
			if sc.Listener && i >= 2 && !atGate(s) {
				continue
			}
		}
		if bad == nil {
			bad = &FilterError{Action: action, Rule: sc.Policy.Decide(b.f.Arch, nr, d.Args).Rule}
		}
		if !slices.Contains(bad.Calls, s.Call) {
			bad.Calls = append(bad.Calls, s.Call)
		}
	}
	if bad == nil {
		return nil
	}
	bad.Try = "allow " + and(bad.Calls) + " in the profile"
	if !nnp && !slices.Contains(bad.Calls, "execve") {
		bad.Because = "without no-new-privileges the filter has to be there before capabilities are dropped and the user is changed"
		bad.Try += ", or --security-opt no-new-privileges, with which it comes last"
	}
	return bad
}

// atGate says that a step is one of the two that make a gate.
func atGate(s Step) bool {
	return len(s.Args) > 0 && s.Args[0].Kind == ArgSlot && (s.Args[0].Slot == SlotArrive || s.Args[0].Slot == SlotPass)
}

// likely is an argument as the filter will see it: an address or an open file for what is not known yet.
func likely(a Arg) uint64 {
	switch a.Kind {
	case ArgNum:
		return a.Num
	case ArgSlot:
		return 5
	}
	return 0x7f0000001000
}
