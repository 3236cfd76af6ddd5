package why

import (
	"strings"

	"porthole/caps"
	"porthole/event"
	"porthole/seccomp/profile"
)

// Factor is one thing that an experiment lifts: it takes a single obstacle away and leaves all
// others where they were. Factors are comparable; which fields count depends on Kind.
type Factor struct {
	Kind  FactorKind
	Call  profile.Call // FilterRule: this call, with the arguments that are known
	Caps  caps.Set     // CapHeld, CapGranted
	Path  string       // Unmask, WritePath, MountFlag (the mount point), FileCapsOff (the program), DeviceRule (the node, if known)
	Name  string       // MountFlag: "nodev"; Rlimit: "memlock"; SysctlSet: "net.ipv4.ping_group_range"; DeviceRule: "c 10:229 rwm"
	Value string       // Rlimit: "SOFT:HARD", -1 is unlimited; SysctlSet: the value
}

// FactorKind says what a Factor lifts. The comment says what the laboratory has to do.
type FactorKind uint8

const (
	FilterRule  FactorKind = 1 + iota // the filter allows Call, before any other rule; capabilities as they were
	FilterOff                         // no filter at all; capabilities as they were
	CapHeld                           // Caps are in the effective, permitted and bounding sets (and inheritable and ambient for a user other than root); the filter byte for byte as it was
	CapGranted                        // what --cap-add does: Caps in the bounding set, and the profile resolved with them
	NewUserNS                         // the program runs in a user namespace of its own, owner of its other namespaces
	HostUserNS                        // without the container's user namespace (root's laboratory only)
	NNPOff                            // no_new_privs is not set
	Root                              // uid and gid 0
	Unmask                            // the masked path Path is as it was
	WritePath                         // the read-only path or mount Path is writable
	MountFlag                         // the mount at Path has not the flag Name ("nodev", "nosuid", "noexec")
	DeviceRule                        // the device rule Name is added
	RlimitSet                         // the limit Name is Value
	SysctlSet                         // the sysctl Name is Value, inside the container's own namespaces
	LSMOff                            // AppArmor or SELinux unconfined
	SystemPaths                       // nothing is masked or read-only: systempaths=unconfined
	FileCapsOff                       // the program Path is a copy without file capabilities
	Everything                        // all of the above: as root, no filter, every capability, nothing masked, all devices, no LSM, no no_new_privs
)

var factorNames = [...]string{
	FilterRule: "filter-rule", FilterOff: "filter-off", CapHeld: "cap-held", CapGranted: "cap-granted",
	NewUserNS: "new-userns", HostUserNS: "host-userns", NNPOff: "nnp-off", Root: "root", Unmask: "unmask",
	WritePath: "write-path", MountFlag: "mount-flag", DeviceRule: "device-rule", RlimitSet: "rlimit",
	SysctlSet: "sysctl", LSMOff: "lsm-off", SystemPaths: "systempaths", FileCapsOff: "file-caps-off", Everything: "everything",
}

func (k FactorKind) String() string {
	if int(k) < len(factorNames) && k > 0 {
		return factorNames[k]
	}
	return "no factor"
}

// String names the factor in a word and what it is about: "cap-held SYS_PTRACE".
func (f Factor) String() string {
	parts := []string{f.Kind.String()}
	if f.Call.Name != "" {
		parts = append(parts, f.Call.String())
	}
	if f.Caps != 0 {
		parts = append(parts, capNames(f.Caps))
	}
	for _, s := range []string{f.Path, f.Name, f.Value} {
		if s != "" {
			parts = append(parts, s)
		}
	}
	return strings.Join(parts, " ")
}

// Experiment is one run of the same command from the same snapshot, with Lift lifted.
type Experiment struct {
	Name    string   // short and unique within an Inquiry: "control", "all", "without seccomp"
	Lift    []Factor // nothing: the run as it was
	Control bool     // nothing is lifted
	Repeat  int      // the how manieth run of the same thing this is, from 1
}

// Outcome is how a run ended.
type Outcome struct {
	Exit   int
	Signal int // that ended the program; 0: none
	// Output is a hash of standard output and error, with what varies by nature taken out: pids,
	// addresses, times, temporary names. "" where it was not taken.
	Output string
	Said   string        // the end of what it wrote to standard error, for quoting
	Events []event.Event // what was seen in this run
	Sight  event.Sight   // what could have been
	// Cut says that the laboratory ended the program, since it ran for longer than it was given:
	// it neither failed nor came to its end.
	Cut bool
	// Kept are what Everything would have to lift and did not, since it would have opened the machine itself:
	// the run shows nothing of them.
	Kept []Factor
	// Unable are those of Lift that could not be lifted here; the run was not made.
	Unable []Factor
	// Err says why no run was made or it ended by our fault; the other fields count for nothing then.
	Err error
}

// same says that two runs cannot be told apart from outside.
func (o Outcome) same(p Outcome) bool {
	return o.Exit == p.Exit && o.Signal == p.Signal && o.Output == p.Output
}

// ended is same, but for the output.
func (o Outcome) ended(p Outcome) bool { return o.Exit == p.Exit && o.Signal == p.Signal }

func capNames(s caps.Set) string {
	var names []string
	for _, c := range s.List() {
		names = append(names, strings.TrimPrefix(c.String(), "CAP_"))
	}
	return strings.Join(names, ",")
}

// Rule is what profile.AllowRule is asked for to lift a FilterRule.
func (f Factor) Rule() string { return profile.AllowExpr(f.Call) }
