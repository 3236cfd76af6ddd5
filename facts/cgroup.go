package facts

import "slices"

// Find returns the hierarchy that a controller is on, by its name in either version
// ("blkio" is "io" in v2), and whether there is one. "" finds the v2 hierarchy.
func (c Cgroup) Find(controller string) (Hierarchy, bool) {
	for _, h := range c.Hierarchies {
		if h.Has(controller) {
			return h, true
		}
	}
	return Hierarchy{}, false
}

// Has says whether a controller is on this hierarchy.
func (h Hierarchy) Has(controller string) bool {
	if h.V2 && controller == "" {
		return true
	}
	return slices.Contains(h.Controllers, controller) ||
		h.V2 && controller == "blkio" && slices.Contains(h.Controllers, "io") ||
		!h.V2 && controller == "io" && slices.Contains(h.Controllers, "blkio")
}

// Controllers lists, sorted, those that can bound something here; named hierarchies are left out.
func (c Cgroup) Controllers() []string {
	var names []string
	for _, h := range c.Hierarchies {
		for _, n := range h.Controllers {
			if !isNamed(n) {
				names = append(names, n)
			}
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

func isNamed(controller string) bool { return len(controller) >= 5 && controller[:5] == "name=" }

func (m CgroupMode) String() string {
	switch m {
	case CgroupV1:
		return "v1"
	case CgroupHybrid:
		return "hybrid (v1 controllers, v2 beside them)"
	case CgroupV2:
		return "v2"
	}
	return "none"
}
