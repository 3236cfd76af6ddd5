// Package event says what was seen of a running program: calls refused, capabilities
// asked for, programs started and ended.
//
// Event is one of the house's narrow waists: watchers make them (internal/host/trace),
// decoding, explaining and fitting take them, and neither side knows the other.
package event

import (
	"porthole/abi"
	"porthole/caps"
)

// Kind says what an Event is.
type Kind uint8

// The kinds. A watcher that cannot see one of them says so in Sight.
const (
	Refused Kind = 1 + iota // a call returned an error; Filtered says whether the kernel ever saw it
	Denied                  // a capability was asked for and not there, within a call
	Exec                    // a program was started
	Exit                    // a process ended
	Nack                    // a netlink request was answered with an error, though no call failed
	Read                    // a file under /proc/sys was read: programs look at one and give up
	Starved                 // the kernel killed a process, since its control group's memory was used up
)

// Event is one thing seen. Which fields count depends on Kind.
type Event struct {
	Kind Kind
	Time int64 // nanoseconds on the monotonic clock

	PID, TID int    // as the watcher's pid namespace sees them
	Comm     string // the thread's name, at most 15 bytes
	Exe      string // its program, where the watcher could read it

	Arch  abi.Arch
	Nr    uint32
	Args  [6]uint64
	Errno abi.Errno // Refused: what the caller got

	// Filtered says that a seccomp filter answered, so that the kernel never saw the call.
	Filtered bool

	Cap    caps.Cap // Denied: which
	UserNS uint64   // Denied: the user namespace it was asked in, by inode
	Own    uint64   // the user namespace of the caller, by inode; 0 where the watcher did not read it

	// Chroot says that the caller's root is not its mount namespace's (chroot(2)), where that was looked at.
	Chroot bool

	Status int // Exit: as wait(2) tells it

	// Secure says that the kernel told the program to be careful (AT_SECURE, getauxval(3)): it gained
	// ids or capabilities by its file (Exec).
	Secure bool
	// Netlink is the request that was answered with an error (Nack).
	Netlink Netlink

	// Who is the caller as it was before the call, and Became what execve made of it (Exec), in
	// the caller's own user namespace; nil where the watcher did not read them.
	Who, Became *caps.State

	// File is the one that the call was about: the program of an execve, the path opened; nil
	// where the watcher did not look.
	File *File

	// Strings are what pointer arguments pointed at, by argument, where the watcher read them.
	// The program may have changed them since: they are for people, not for decisions.
	Strings map[int]string
}

// Sight says what a watcher could see, so that silence is not taken for absence.
type Sight struct {
	Filtered bool // calls that the filter refused
	Failed   bool // calls that the kernel refused
	Caps     bool // capability checks
	Lost     int  // events that did not fit

	// Notes are what else the watcher could not see, or changed by looking, a sentence each.
	Notes []string
}

// File is what a watcher found out about a path that a call named.
type File struct {
	Path     string // as the container sees it
	Mode     uint32 // st_mode: type and permissions; 0 if the file was not there
	UID, GID int    // its owner in the caller's user namespace; -1 if unmapped there
	Dev      uint64 // st_rdev of a device node, as stat(2) has it
	Caps     caps.FileCaps

	Mount string   // where the mount that holds it stands
	FS    string   // the kind of filesystem: "overlay", "proc", "nfs4"
	Flags []string // of that mount: "ro", "nosuid", "nodev", "noexec"
}

// Netlink is a request over a netlink socket (netlink(7)).
type Netlink struct {
	Protocol uint16 // which of NETLINK_*: 0 is NETLINK_ROUTE
	Type     uint16 // of the message: RTM_NEWLINK, …
}
