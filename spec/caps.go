package spec

import (
	"fmt"
	"slices"
	"strings"

	specs "github.com/opencontainers/runtime-spec/specs-go"

	"porthole/caps"
)

// Capabilities returns the bounding set of a container of the engine as ("" is Docker's newest)
// to which some capabilities are added and from which some are taken, as --cap-add and
// --cap-drop say it. It fails for a name that the engine does not know.
func Capabilities(as string, add, drop []string) (caps.Set, error) {
	d, err := defaultsOf(as)
	if err != nil {
		return 0, err
	}
	names, err := d.tweak(add, drop, false)
	return setOf(names), err
}

func setOf(names []string) (set caps.Set) {
	for _, n := range names {
		c, _ := caps.Parse(n) // ours, or normalized
		set = set.Add(c)
	}
	return set
}

// tweak is Docker's order of things (oci/caps, TweakCapabilities): privileged has all; ALL
// added is all but what is dropped; ALL dropped is what is added; otherwise the defaults
// without what is dropped, and then what is added. So who adds and drops the same one has it.
func (d defaults) tweak(add, drop []string, privileged bool) ([]string, error) {
	add, err := d.normalize("CapAdd", add)
	if err != nil {
		return nil, err
	}
	drop, err = d.normalize("CapDrop", drop)
	if err != nil {
		return nil, err
	}
	var all []string
	for c := caps.Cap(0); c <= d.lastCap; c++ {
		all = append(all, c.String())
	}
	dropped := func(name string) bool { return slices.Contains(drop, name) }
	switch {
	case privileged:
		return all, nil
	case slices.Contains(add, "ALL"):
		return slices.DeleteFunc(all, dropped), nil
	case slices.Contains(drop, "ALL"):
		return add, nil
	}
	have := slices.DeleteFunc(slices.Clone(d.caps), dropped)
	for _, name := range add {
		if !slices.Contains(have, name) {
			have = append(have, name)
		}
	}
	return have, nil
}

// normalize spells capabilities as Docker keeps them: CAP_ and capitals, sorted, each once.
func (d defaults) normalize(field string, names []string) (out []string, err error) {
	for _, n := range names {
		if strings.EqualFold(n, "ALL") {
			out = append(out, "ALL")
			continue
		}
		c, err := caps.Parse(n)
		if err != nil || c > d.lastCap {
			upper := strings.ToUpper(n)
			if !strings.HasPrefix(upper, "CAP_") {
				upper = "CAP_" + upper
			}
			hint := ""
			if err != nil {
				if _, near, ok := strings.Cut(err.Error(), "; "); ok {
					hint = "; " + near
				}
			}
			return nil, fmt.Errorf("invalid %s: unknown capability: %q%s", field, upper, hint)
		}
		out = append(out, c.String())
	}
	slices.Sort(out)
	return slices.Compact(out), nil
}

// capabilities are the sets that a process starts with. What the machine cannot give, because
// our own bounding set lacks it, is left out and named once.
func (m *maker) capabilities(uid uint32) (*specs.LinuxCapabilities, error) {
	s := m.w.Security
	names, err := m.d.tweak(s.CapAdd, s.CapDrop, s.Privileged)
	if err != nil {
		return nil, err
	}
	if s.Privileged && len(s.CapDrop) > 0 {
		m.warn("--cap-drop "+strings.Join(s.CapDrop, ","), "--privileged gives all capabilities whatever is dropped, as with Docker")
	}
	var missing []string
	names = slices.DeleteFunc(names, func(n string) bool {
		if c, err := caps.Parse(n); err == nil && m.give.Has(c) {
			return false
		}
		missing = append(missing, n)
		return true
	})
	if missing != nil {
		m.warn("capabilities", "left out, since our own bounding set lacks them: %s", strings.Join(missing, ", "))
	}
	c := &specs.LinuxCapabilities{Bounding: names, Effective: names, Permitted: names}
	if m.d.inheritable {
		c.Inheritable = names
	}
	if uid == 0 {
		return c, nil
	}
	switch {
	case m.d.ambient:
		// Podman: what was asked for by name reaches a user other than root as well.
		asked, _ := m.d.normalize("CapAdd", s.CapAdd)
		asked = slices.DeleteFunc(asked, func(n string) bool { return !slices.Contains(names, n) })
		c.Effective, c.Permitted, c.Inheritable, c.Ambient = asked, asked, asked, asked
	case m.d.clearNonRoot:
		c.Effective, c.Permitted = nil, nil
	}
	return c, nil
}
