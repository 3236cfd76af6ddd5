package why

import (
	"slices"

	"porthole/caps"
	"porthole/seccomp/profile"
)

// together makes the grants of the refusal that mattered cover a cause whose parts were met in several calls, one
// behind the other: what opens only the first gets the program no further than the next. Grants that do not
// cover it all go, and the one that does comes in.
func (q *Inquiry) together(e *Explanation, a *Answer) {
	elsewhere := slices.ContainsFunc(e.Cause, func(f Factor) bool {
		return !slices.ContainsFunc(a.Layers, func(s Suspect) bool { return slices.Contains(s.Factors, f) })
	})
	if len(e.Cause) < 2 || !elsewhere {
		return
	}
	var set caps.Set
	var with []string
	for _, f := range e.Cause {
		switch f.Kind {
		case CapHeld:
			set |= f.Caps
		case RlimitSet:
			with = append(with, limitFlags(f)...)
		case SysctlSet:
			with = append(with, "--sysctl", f.Name+"="+f.Value)
		case DeviceRule:
			if f.Path == "" {
				return
			}
			with = append(with, "--device", f.Path)
		case FilterRule:
		default:
			return // nothing that flags alone could say
		}
	}
	s := &q.scene
	a.Grants = slices.DeleteFunc(a.Grants, func(g Grant) bool { return !q.covers(g, e.Cause) })
	for _, c := range set.Without(s.Caps.Bounding).List() {
		with = append(with, "--cap-add", short(c))
	}
	proof := Proved
	if set != 0 && s.Caps.EUID != 0 {
		with, proof = append(with, "--user", "0"), ByRules // the experiment gave them to the user as he is
	}
	t := s.granted(set)
	var rules []string
	for _, f := range e.Cause {
		if f.Kind == FilterRule && !t.opens(f.Call) {
			rules = append(rules, profile.AllowExpr(ruleCall(f.Call, s)))
		}
	}
	g := Grant{Flags: with, What: say("grant.together"), Order: orderRule, Host: set&reaching != 0 && s.UserNS.Initial, Caps: capsText(set, true), Proof: proof}
	switch {
	case set.Has(caps.CAP_SYS_ADMIN):
		g.Order = orderAdmin
	case set != 0:
		g.Order = orderCap
	}
	if rules != nil {
		g.Command, g.With = true, with
		g.Flags = append([]string{"porthole", "profile", "allow"}, rules...)
		if s.As != "" {
			g.Flags = append(g.Flags, "--base", s.As)
		}
		g.Flags = append(g.Flags, ">", "p.json")
	}
	if len(g.Flags) == 0 || slices.ContainsFunc(a.Grants, func(o Grant) bool { return slices.Equal(o.Flags, g.Flags) }) {
		return
	}
	a.Grants = append(a.Grants, g)
	slices.SortStableFunc(a.Grants, func(a, b Grant) int { return a.Order - b.Order })
}

// opens says that the scene's filter lets a call through.
func (s *Scene) opens(c profile.Call) bool {
	q := &question{call: c.Name, arch: s.Facts.Arch, who: &s.Caps}
	for i, a := range c.Args {
		q.args[i], q.known[i] = a.Value, a.Known
	}
	_, some, _ := s.filterStatic(Call{Call: c}, q)
	return some == no
}

// covers says that a grant lifts every part of a cause, or goes around it.
func (q *Inquiry) covers(g Grant, cause []Factor) bool {
	switch g.What.Key {
	case "grant.release", "grant.session", "grant.session.root", "grant.root", "grant.both":
		return false
	}
	switch g.factor.Kind {
	case 0:
		return true
	case CapGranted:
		t := q.scene.granted(g.factor.Caps)
		return !slices.ContainsFunc(cause, func(f Factor) bool {
			return f.Kind == CapHeld && f.Caps&^t.Caps.Effective != 0 || f.Kind == FilterRule && !t.opens(f.Call)
		})
	}
	return len(cause) == 1 && cause[0] == g.factor
}
