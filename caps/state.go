package caps

// State is all that a process carries of capabilities and of what gates them.
type State struct {
	Inheritable, Permitted, Effective, Bounding, Ambient Set

	UID, EUID, SUID int // in the user namespace they are asked about; 0 is root there
	FSUID           int
	NoNewPrivs      bool
	Securebits      Securebits
}

// Securebits are the per-process switches of root's special treatment (capabilities(7)).
type Securebits uint16

// The switches, and the locks that keep each as it is (include/uapi/linux/securebits.h).
const (
	SECBIT_NOROOT Securebits = 1 << iota // uid 0 and setuid-root files bring no capabilities at execve
	SECBIT_NOROOT_LOCKED
	SECBIT_NO_SETUID_FIXUP // changing uids changes no capability set
	SECBIT_NO_SETUID_FIXUP_LOCKED
	SECBIT_KEEP_CAPS // leaving uid 0 keeps the permitted set; execve clears it
	SECBIT_KEEP_CAPS_LOCKED
	SECBIT_NO_CAP_AMBIENT_RAISE // nothing is added to the ambient set
	SECBIT_NO_CAP_AMBIENT_RAISE_LOCKED
	SECBIT_EXEC_RESTRICT_FILE // for script interpreters (Linux 6.14); the kernel itself does nothing
	SECBIT_EXEC_RESTRICT_FILE_LOCKED
	SECBIT_EXEC_DENY_INTERACTIVE
	SECBIT_EXEC_DENY_INTERACTIVE_LOCKED
)
