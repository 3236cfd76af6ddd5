package plan

import (
	"github.com/opencontainers/runtime-spec/specs-go"

	"porthole/seccomp"
	"porthole/seccomp/filter"
)

// Options is what a spec cannot say. The spec's user is numeric already, and its paths of the
// host are absolute.
type Options struct {
	ID   string // names the session keyring; "" makes it a nameless one
	Root Root   // the zero Root is the spec's root.path

	Seccomp *Seccomp // nil: no filter

	// Groups are the directories of the host that are the container's control groups, one for each
	// of facts.Cgroup.Hierarchies, "" where it has none there. They exist when the child starts.
	// nil: the container gets no groups of its own.
	Groups []string

	File    string // what is executed, where that is not process.args[0]
	Network bool   // let the parent furnish the network namespace, at GateNetwork
	Init    bool   // run the command under the small init of SlotInit
	Inherit int    // so many fds from 3 on are the container's, as they are the parent's

	// DenyGroups says that setgroups(2) is denied in the user namespace that the spec enters by its
	// path (/proc/PID/setgroups); of a new one the plan knows.
	DenyGroups bool
	KeepGroups bool // the process has our further groups, and none of its own: setgroups(2) is not called

	DieWithParent bool // kill the child when the thread that cloned it ends
	NoPivot       bool // move the root over "/" and chroot: pivot_root(2) refuses an initramfs
	NoKeyring     bool // stay in the caller's session keyring

	// KernelFS is where the host has procfs and sysfs mounted, which NoPivot takes out of the container's mount namespace:
	// the kernel lets a user namespace mount new ones where it sees whole ones (mnt_already_visible, fs/namespace.c), and
	// those of the host would stay, out of sight.
	KernelFS []string

	// NoFile is the limit on open files to go back to where the spec sets none: Go's runtime
	// raises the soft one at start (os/rlimit.go). The zero value leaves it.
	NoFile [2]uint64 // soft, hard

	// ChownStdio says which of stdin, stdout and stderr porthole made, so that they may be given to
	// the container's user. Others are somebody's: /dev/null, a file, the caller's terminal.
	ChownStdio [3]bool

	// Refer says what the user typed for a part of the spec, for error messages:
	// "mounts[3]" → "-v /a:/b". May be nil.
	Refer map[string]string
}

// Seccomp is a filter and where it comes from.
type Seccomp struct {
	Program filter.Program
	Policy  seccomp.Policy // what Program decides; its Flags are those of the installation
	// Listener has the installation return a listener, left in SlotListener; GateListener waits
	// for the parent to fetch it.
	Listener bool
	// Answers is what the listener will say where it is asked, if that is known: the filter is
	// then checked as if it said so itself. nil: it lets pass what the start needs.
	Answers *seccomp.Policy
}

// JoinOptions is what a process that joins a container needs beside its spec.
type JoinOptions struct {
	ID      string
	File    string // as in Options
	Seccomp *Seccomp
	// Namespaces are the CLONE_NEW* bits of those to enter: where the container's differ from ours.
	Namespaces uint64
	DenyGroups bool // setgroups(2) is denied in the container's user namespace
	KeepGroups bool // as in Options
	// Root, where not "", is a path to the container's root (/proc/PID/root), where that is not the root of its mount namespace.
	Root string

	Personality  *specs.LinuxPersonality  // the container's, which its config.json has outside of process
	MemoryPolicy *specs.LinuxMemoryPolicy // likewise

	Inherit       int
	DieWithParent bool
	NoKeyring     bool
	NoFile        [2]uint64
	ChownStdio    [3]bool           // as in Options
	Refer         map[string]string // as in Options
	IntoCgroup    string            // directory of a v2 group to be born in; "" leaves groups to the parent, at GateIDs
}
