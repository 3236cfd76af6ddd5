package caps

import "strings"

// Text returns the three sets as getpcaps writes them (cap_to_text(3)):
// "cap_chown,cap_kill=ep", "=" if all are empty, "=ep cap_kill-ep" if most are alike.
func (s State) Text() string { return text(s.Effective, s.Inheritable, s.Permitted) }

// text groups capabilities by which of the three sets they are in. The largest group is
// what an equal sign without names says, unless it is in none of them; the others say how
// they differ from it.
func text(e, i, p Set) string {
	var groups [8]Set // by the sets: 1 effective, 2 permitted, 4 inheritable, in libcap's order
	for c := range Last + 1 {
		which := 0
		for bit, set := range []Set{e, p, i} {
			if set.Has(c) {
				which |= 1 << bit
			}
		}
		groups[which] = groups[which].Add(c)
	}
	most := 0
	for which, g := range groups {
		if g.Len() > groups[most].Len() {
			most = which
		}
	}
	var parts []string
	if most != 0 || groups[0] == All {
		parts = append(parts, "="+letters(most))
	}
	for which := len(groups) - 1; which >= 0; which-- {
		if groups[which] == 0 || which == most {
			continue
		}
		part := strings.ToLower(groups[which].String())
		switch more, less := which&^most, most&^which; {
		case len(parts) == 0: // none is what goes without saying
			part += "=" + letters(which)
		case more != 0 && less != 0:
			part += "+" + letters(more) + "-" + letters(less)
		case more != 0:
			part += "+" + letters(more)
		default:
			part += "-" + letters(less)
		}
		parts = append(parts, part)
	}
	return strings.Join(parts, " ")
}

func letters(which int) string {
	return []string{"", "e", "p", "ep", "i", "ei", "ip", "eip"}[which]
}
