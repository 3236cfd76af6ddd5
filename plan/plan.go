// Package plan compiles a container: an OCI spec and the machine's facts become
// the list of system calls, each with its reason, that make it.
//
// It performs none of them. See internal/host/launch for the machine that does:
// the child runs its list as a loop and decides nothing, so whatever may go
// either way is said here, in Step.OK and Step.Errs.
package plan

import (
	"slices"

	"porthole/abi"
)

// Plan is a container's whole set-up, or that of a process joining one.
type Plan struct {
	Arch abi.Arch // whose calls and numbers the steps are

	// Clone are the CLONE_* flags of the child (clone3; exit signal SIGCHLD is implied).
	Clone uint64
	// IntoCgroup, where not zero, is the slot of the cgroup directory to be born in (CLONE_INTO_CGROUP).
	IntoCgroup Slot

	Before []Step // run by the parent, on the cloning thread, before the clone
	After  []Step // run by the parent, on that thread, once the clone is made or has failed: it undoes Before
	Child  []Step // run by the child; the last ones are execve
	Gates  []Gate // where the child waits, in the order in which it meets them

	Slots int      // how many slots the steps use, the well-known ones among them
	Names []string // the slots' names, by number: "root" prints as $root

	// Inherit is how many of the parent's fds from 3 on the container is to have. CloexecFrom, where
	// not zero, says that the kernel is too old to mark the rest in the child (CLOSE_RANGE_CLOEXEC,
	// Linux 5.11): launch marks the parent's own fds from this number on before it clones.
	Inherit, CloexecFrom int

	// CopyUps are for the parent, one for each GateCopyUp: what the root filesystem has in the place of a mount
	// is copied into that, before it is attached.
	CopyUps []CopyUp

	// IDMaps are the user namespaces whose ids mounts take: package container makes them before the clone.
	IDMaps []IDMap

	Notes []string // what the plan does otherwise than asked, for the user

	// Heir, where not zero, is the slot with the pid of the process in which the plan ends, where that is
	// not the cloned child itself: a step clone(CLONE_PARENT|CLONE_PARENT_SETTID|SIGCHLD, 0, &heir, 0, 0)
	// writes it there before that process runs; its Zero skips the exit_group(0) after it. So Join can do
	// all its work in a child that nobody in the container's pid namespace sees, setns(CLONE_NEWPID) among
	// it, and be born there last of all.
	Heir Slot
}

// CopyUp is a mount of the child's, in Mount, at Dest (absolute, in the container), with the option tmpcopyup.
type CopyUp struct {
	Dest  string
	Mount Slot
}

// Slot names a cell in memory that parent and child share: a step's result, which later
// steps take as an argument. Slot 0 is none.
type Slot uint16

// Well-known slots, filled by launch rather than by a step.
const (
	NoSlot     Slot = iota
	SlotPID         // the child's pid as the parent sees it
	SlotPidfd       // the parent's pidfd of the child
	SlotArrive      // child: eventfd on which it tells the parent that it stands at a gate
	SlotPass        // child: pipe from which it reads one byte for each gate it may pass; EOF: the parent is gone
	SlotStdin       // parent's fds that become 0, 1, 2 (equal to the slot's number where inherited)
	SlotStdout
	SlotStderr
	SlotConsole  // child: the console master, for the parent to fetch with pidfd_getfd
	SlotListener // child: the seccomp listener, for the parent to fetch with pidfd_getfd
	SlotInit     // memfd of the small init that Options.Init runs the command under
	SlotTarget   // pidfd of the process whose namespaces are joined
	FirstFree    // plans allocate from here
)

// Root says what the root filesystem is made of. Either Path is a directory that is one
// already (OCI's root.path), or Layers are mounted, in order and in the child's own mount
// namespace, to make one: nothing of it is ever mounted on the host's side.
type Root struct {
	Path   string
	Layers []Layer
	// Scratch is a directory of the host over which the child, in its own mount namespace,
	// mounts the tmpfs that holds what Layers need of private space (uppers without a path,
	// mount points). ScratchSize bounds it in bytes; 0 is the kernel's default.
	Scratch     string
	ScratchSize int64
	// Files are small files that the child writes into that tmpfs: what the spec's bind mounts from these
	// sources show, which need not exist on the host.
	Files []File
}

// File is a small file with the mode 0644, of the container's root.
type File struct {
	Source string // as the spec's mounts name it
	Data   []byte
}

// file is the index of the file that stands for a bind mount's source; -1 where the host's is meant.
func (r Root) file(source string) int {
	return slices.IndexFunc(r.Files, func(f File) bool { return f.Source == source })
}

// Layer is one piece of a root filesystem, at Target (absolute, "/" first).
// Exactly one of Lower, Bind, Link, Dir and File counts.
type Layer struct {
	Target string

	Lower       []string // overlay of these directories, uppermost first
	Upper, Work string   // its writable part; "" takes a fresh one in the scratch tmpfs

	Bind string // a recursive bind mount of this path, read-only where ReadOnly
	Link string // a symbolic link with this text
	Dir  bool   // an empty directory
	File []byte // a small regular file with this content
	// Mode is the permission bits (with 01000, 02000, 04000) of Dir and File, and of Lower's fresh
	// upper directory, whose mode the merged one shows; 0 is 0755. UID and GID own the same.
	Mode     uint32
	UID, GID uint32
	// Cover says that Target may hold something already, which an empty directory
	// (Dir) is to hide: one from the scratch tmpfs is bound over it.
	Cover bool

	ReadOnly bool
	// Flags are mount attributes kept from the mount that Lower or Bind stood on: "nosuid", "nodev", "noexec".
	Flags []string
}

// Gate is a numbered point at which the child waits for the parent.
type Gate struct {
	ID    GateID
	At    int    // index in Child of the step that waits (a read of SlotPass)
	Steps []Step // what the parent does meanwhile, as raw calls (SlotPID and SlotPidfd are set)
	Why   string

	Helpers []Helper // and before them: programs to run, in order
	Writes  []Write  // and files of the child's own directory in /proc to write, in order
}

// Helper is a set-id program that does for the parent what it may not do itself: newuidmap, newgidmap.
// Its arguments are the child's pid, then Args.
type Helper struct {
	Program string
	Args    []string
	Why     string
}

// Write is one write(2) of Data to /proc/PID/File of the child.
type Write struct{ File, Data, Why string }

// GateID says what the parent has done once a gate opens.
type GateID uint8

// The gates, in their order.
const (
	GateIDs      GateID = 1 + iota // ids are mapped, and the child is in its cgroups
	GateNetwork                    // the network namespace is furnished
	GateStart                      // start: what follows is the user's own
	GateListener                   // the parent has fetched the seccomp listener
	GateCopyUp                     // at any time before GateStart: the parent has copied what a mount will cover
)

func (g GateID) String() string {
	switch g {
	case GateIDs:
		return "ids mapped"
	case GateNetwork:
		return "network ready"
	case GateStart:
		return "start"
	case GateListener:
		return "listener fetched"
	case GateCopyUp:
		return "copied"
	}
	return "gate"
}

// Step is one system call.
type Step struct {
	Call string // name in package abi
	Args []Arg  // at most six
	Into Slot   // where a successful result goes
	Errs []Skip // errors that do not end the plan
	OK   int    // steps to skip after success; 0: on to the next
	Zero int    // steps to skip after success with result 0, where that differs from OK: clone's child; or ZeroFails
	Why  string // the reason, as `porthole plan` prints it
	// Refer names what the user asked for that this step serves, for error messages:
	// "--device /dev/kvm", "mounts[3]". May be empty.
	Refer string
	// Tag lets package container recognise a step: "execve", "chdir", "user", "seccomp". May be empty.
	Tag string
}

// Skip tolerates one error: the plan goes on after skipping Steps further steps.
// Any is every error.
type Skip struct {
	Errno abi.Errno
	Steps int
}

// ZeroFails in Step.Zero makes a result of 0 the error EPIPE: a read that met its end.
const ZeroFails = -1

// Any in Skip.Errno tolerates every error.
const Any abi.Errno = 0xffff

// Arg is one argument: a number, the address of memory, a slot's value or a slot's address.
type Arg struct {
	Kind ArgKind
	Num  uint64
	Mem  *Mem
	Slot Slot
	Text string // as it is printed, where that says more than the value: "MS_RDONLY|MS_BIND"
}

// ArgKind says which of an Arg's fields counts.
type ArgKind uint8

// The kinds of argument.
const (
	ArgNum    ArgKind = iota // Num
	ArgMem                   // address of Mem's bytes
	ArgSlot                  // value of Slot
	ArgSlotAt                // address of Slot's cell (8 bytes)
)

// Mem is memory laid out for the child: bytes, in which pointers to other Mem and slots' values may stand.
// Launch lays every Mem out once, however many arguments point at it. The child may write into it.
type Mem struct {
	Bytes []byte
	Ptrs  []Ptr
}

// Ptr puts 8 bytes at Off: the address of To, or where To is nil the value of Slot, which launch.Options.Fds fills.
type Ptr struct {
	Off  int
	To   *Mem
	Slot Slot
}
