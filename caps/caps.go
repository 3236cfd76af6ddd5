// Package caps knows Linux capabilities: their names, sets of them, and what
// execve, setuid and prctl do to a process's sets.
package caps

// Cap is one capability, by the kernel's number (include/uapi/linux/capability.h).
type Cap uint8

// Set is a set of capabilities, one bit each, as /proc/PID/status prints it.
type Set uint64

// State is all that a process carries of capabilities and of what gates them.
type State struct {
	Inheritable, Permitted, Effective, Bounding, Ambient Set

	UID, EUID, SUID int // in the user namespace they are asked about; 0 is root there
	FSUID           int
	NoNewPrivs      bool
	Securebits      Securebits
}

// Securebits are the per-process switches of root's special treatment (capabilities(7)).
type Securebits uint8
