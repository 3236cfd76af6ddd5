package profile

import (
	"strings"

	"porthole/abi"
	"porthole/caps"
	"porthole/facts"
)

// Need says what a Condition is about.
type Need uint8

// The conditions an entry may have.
const (
	NeedsCap    Need = 1 + iota // Caps
	NeedsArch                   // Arches
	NeedsKernel                 // Kernel, or newer
)

// Condition is one reason for an entry not to be in effect: what would have to be so,
// or with Not what would have not to be.
type Condition struct {
	Kind   Need
	Not    bool
	Caps   caps.Set      // the ones that are missing; with Not, those held
	Arches []string      // Docker's names, of which any will do; with Not, none
	Kernel facts.Version // at least; with Not, less
}

// String says the condition as something to be done or to be so: "CAP_SYS_PTRACE granted",
// "Linux 4.8 or newer", "not on s390, s390x".
func (c Condition) String() string {
	switch c.Kind {
	case NeedsCap:
		var names []string
		for _, k := range c.Caps.List() {
			names = append(names, k.String())
		}
		s := strings.Join(names, ", ")
		if c.Not {
			return "without " + s
		}
		return s + " granted"
	case NeedsArch:
		if c.Not {
			return "not on " + strings.Join(c.Arches, ", ")
		}
		return "on " + strings.Join(c.Arches, ", ")
	case NeedsKernel:
		if c.Not {
			return "Linux older than " + c.Kernel.String()
		}
		return "Linux " + c.Kernel.String() + " or newer"
	}
	return ""
}

var _ = abi.X86
