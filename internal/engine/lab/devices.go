package lab

import (
	"fmt"
	"math"
	"os"
	"slices"
	"strings"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"porthole/caps"
	"porthole/internal/engine/container"
	"porthole/why"
	"porthole/workload"
)

// safeDevices are those that an experiment may open: using them leaves nothing behind on the
// machine. Disks, memory, watchdogs and the like are never among them.
// Numbers: Documentation/admin-guide/devices.txt.
var safeDevices = []specs.LinuxDeviceCgroup{
	device("c", 1, 3), device("c", 1, 5), device("c", 1, 7), device("c", 1, 8), device("c", 1, 9), // null zero full random urandom
	device("c", 5, 0), device("c", 5, 2), device("c", 136, every), // tty ptmx pts
	device("c", 10, 200), device("c", 10, 229), device("c", 10, 232), // net/tun fuse kvm
	device("c", 10, 238), device("c", 10, 241), device("c", 10, 242), // vhost-net vhost-vsock vsock
	{Allow: true, Type: "c", Access: "m"}, {Allow: true, Type: "b", Access: "m"}, // a node alone opens nothing
}

const every = int64(-1)

func device(kind string, major, minor int64) specs.LinuxDeviceCgroup {
	d := specs.LinuxDeviceCgroup{Allow: true, Type: kind, Major: &major, Access: "rwm"}
	if minor != every {
		d.Minor = &minor
	}
	return d
}

// device adds a rule about devices ("c 10:229 rwm"), if the device is one that may be tried, and
// its node, where that is missing and this machine has it, as --device does.
func (l *Lab) device(rule, node string) (change, error) {
	missing := node != "" && strings.HasPrefix(node, "/dev/") && mountOf(l.base.Spec, node) >= 0
	if rule == "" {
		var st unix.Stat_t
		if err := unix.Stat(node, &st); err != nil || st.Mode&unix.S_IFMT != unix.S_IFCHR {
			return change{}, fmt.Errorf("this machine has no character device %s", node)
		}
		rule = fmt.Sprintf("c %d:%d rwm", unix.Major(st.Rdev), unix.Minor(st.Rdev))
	}
	var kind, access string
	var major, minor int64
	if _, err := fmt.Sscanf(rule, "%1s %d:%d %s", &kind, &major, &minor, &access); err != nil {
		return change{}, fmt.Errorf("device rule %q: %w", rule, err)
	}
	d := device(kind, major, minor)
	d.Access = access
	safe := slices.ContainsFunc(safeDevices, func(s specs.LinuxDeviceCgroup) bool {
		return s.Type == d.Type && (s.Major == nil || same(s.Major, d.Major)) && (s.Minor == nil || same(s.Minor, d.Minor)) &&
			strings.Trim(d.Access, s.Access) == ""
	})
	if !safe {
		return change{}, errReaches("device " + rule)
	}
	return config(func(c *container.Config) {
		r := specs.LinuxResources{}
		if c.Spec.Linux.Resources != nil {
			r = *c.Spec.Linux.Resources
		}
		r.Devices = append(slices.Clone(r.Devices), d)
		c.Spec.Linux.Resources = &r
		if missing && !slices.ContainsFunc(c.Spec.Linux.Devices, func(n specs.LinuxDevice) bool { return n.Path == node }) {
			mode := os.FileMode(0o666)
			c.Spec.Linux.Devices = append(slices.Clone(c.Spec.Linux.Devices), specs.LinuxDevice{Path: node, Type: kind, Major: major, Minor: minor, FileMode: &mode})
		}
	})
}

func same(a, b *int64) bool { return a != nil && b != nil && *a == *b }

// rlimit sets a limit, where we may set it so high.
func (l *Lab) rlimit(f why.Factor) (change, error) {
	var soft, hard int64
	if _, err := fmt.Sscanf(f.Value, "%d:%d", &soft, &hard); err != nil {
		return change{}, fmt.Errorf("rlimit %s: %q is not SOFT:HARD", f.Name, f.Value)
	}
	switch f.Name {
	case "memory":
		return change{}, errReaches("its memory")
	case "pids", "cpuset":
		return config(func(c *container.Config) { unlimit(c.Spec, f.Name == "pids", f.Name == "cpuset") })
	}
	max, known := hardLimit(f.Name)
	if !known {
		return change{}, fmt.Errorf("no limit is called %q", f.Name)
	}
	if uint64(hard) > max && !l.base.Facts.Caps.Effective.Has(caps.CAP_SYS_RESOURCE) {
		return change{}, fmt.Errorf("porthole itself may not have more than %d %s", max, f.Name)
	}
	kind := "RLIMIT_" + strings.ToUpper(f.Name)
	return config(func(c *container.Config) {
		ls := slices.DeleteFunc(slices.Clone(c.Spec.Process.Rlimits), func(r specs.POSIXRlimit) bool { return r.Type == kind })
		c.Spec.Process.Rlimits = append(ls, specs.POSIXRlimit{Type: kind, Soft: unlimited(soft), Hard: unlimited(hard)})
	})
}

// unlimit widens a control group's limit of processes, not without end since a program may be a fork bomb, and takes that
// of processors away.
func unlimit(s *specs.Spec, pids, cpuset bool) {
	if s.Linux.Resources == nil {
		return
	}
	r := *s.Linux.Resources
	if pids && r.Pids != nil && r.Pids.Limit != nil && *r.Pids.Limit > 0 {
		const most = 4096
		wide := max(*r.Pids.Limit, min(4**r.Pids.Limit+64, most))
		r.Pids = &specs.LinuxPids{Limit: &wide}
	}
	if cpuset && r.CPU != nil {
		cpu := *r.CPU
		cpu.Cpus = ""
		r.CPU = &cpu
	}
	s.Linux.Resources = &r
}

func unlimited(n int64) uint64 {
	if n < 0 {
		return math.MaxUint64
	}
	return uint64(n)
}

// newUserNS puts the program into a user namespace that owns its other namespaces, with the
// ids of ours.
func (l *Lab) newUserNS() (change, error) {
	if l.ownUsers() {
		return change{}, fmt.Errorf("it is in one already")
	}
	if !l.base.Facts.Features.UserNSCreate {
		return change{}, fmt.Errorf("this machine lets us make no user namespaces")
	}
	return change{workload: func(w *workload.Workload) { w.NS.User = "private" }}, nil
}
