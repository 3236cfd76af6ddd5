// Package facts holds what is known of a machine: this one today (see internal/host/probe),
// or another that a user asks about. Values only; nothing here asks the kernel.
package facts

import (
	"porthole/abi"
	"porthole/caps"
)

// Facts is what the pure half may know of a machine. The zero value of a field means
// "not there", so that a machine nobody described offers nothing.
type Facts struct {
	Kernel Version  // of the running kernel
	Arch   abi.Arch // its native ABI
	UID    int      // ours, in our user namespace
	GID    int
	Groups []int

	Caps   caps.State // our own sets: what we can give at most
	UserNS UserNS
	SubUID []IDRange // ours from /etc/subuid (the kernel's ids as seen from here), laid out from Inside 1 on
	SubGID []IDRange
	// NewUIDMap and NewGIDMap are the helpers' paths, without which SubUID and SubGID
	// cannot be used by an ordinary user; "" where they are not installed.
	NewUIDMap, NewGIDMap string

	LSMs     []string // active, in the kernel's order: "capability", "yama", "apparmor", …
	Yama     int      // kernel.yama.ptrace_scope; -1 where there is none
	AppArmor bool     // profiles can be applied
	SELinux  bool

	Cgroup   Cgroup
	Features Features
	Deep     bool              // the fields that are dear to ask for (see internal/host/probe) were asked for
	Sysctl   map[string]string // the gates that explanations need, by dotted name; absent: no such file
	// Masked are host paths under /proc that are covered by a mount, which forbids
	// a user namespace to mount a whole procfs (mount_too_revealing, fs/namespace.c).
	Masked []string
}

// UserNS is our own user namespace.
type UserNS struct {
	Initial bool      // the machine's first
	UIDs    []IDRange // uid_map as it stands
	GIDs    []IDRange
}

// IDRange maps Size ids from Inside a namespace to Outside it.
type IDRange struct{ Inside, Outside, Size uint32 }

// CgroupMode is how the machine mounts its control groups.
type CgroupMode uint8

// The three layouts, and none at all.
const (
	CgroupNone CgroupMode = iota
	CgroupV1
	CgroupHybrid // v1 controllers and a v2 hierarchy beside them
	CgroupV2
)

// Cgroup is the control group layout as mounted here.
type Cgroup struct {
	Mode        CgroupMode
	Hierarchies []Hierarchy // v1 hierarchies, and the v2 one last
	SwapLimit   bool        // memory and swap together can be limited, too: Docker leaves that limit out where they cannot
	Writable    bool        // we may make groups in at least one, at its top or beneath Own
}

// Hierarchy is one mounted cgroup tree.
type Hierarchy struct {
	Mount       string   // /sys/fs/cgroup/memory
	Controllers []string // "memory"; "name=systemd" for a named one; for v2 those available
	V2          bool
	Own         string // our own group, as a path beneath Mount: "/" at its top, "" where Mount does not show it
}

// Features are kernel offers that are probed, not derived from a version: distributions backport.
type Features struct {
	Seccomp           bool
	SeccompActions    []string // actions_avail
	SeccompLog        bool
	SeccompFlags      uint32 // SECCOMP_FILTER_FLAG_* that installing a filter takes
	NewMountAPI       bool   // fsopen, fsmount, move_mount, open_tree (5.2)
	MountSetattr      bool   // 5.12
	IDMapMounts       bool
	Openat2           bool // 5.6
	CloneIntoCgroup   bool // 5.7
	CgroupKill        bool // 5.14
	PidfdGetfd        bool // 5.6
	CloseRangeCloexec bool // 5.11
	TimeNS            bool
	CgroupNS          bool
	UserNSCreate      bool // we may make user namespaces
	OverlayUserNS     bool // overlay mounts inside a user namespace (5.11)
	Overlay           bool
	BPF               bool // we may load eBPF programs
	BTF               bool
	CapCapable        bool // tracepoint capability:cap_capable (6.14)
	RawTracepoints    bool

	// Unsure names, sorted, the fields above that could not be tried: what they say was
	// derived from the version or from sysctls, or is false for want of an answer.
	Unsure []string
}

// Version is a kernel version; only the first two numbers gate anything in profiles.
type Version struct{ Major, Minor, Patch int }
