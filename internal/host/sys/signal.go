package sys

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// Signals is how many signals there are; their numbers run from 1.
const Signals = 64

// BlockSignals blocks every signal on the calling thread, which the caller has locked,
// and returns the mask that RestoreSignals puts back.
func BlockSignals() (unix.Sigset_t, error) {
	var all, old unix.Sigset_t
	for i := range all.Val {
		all.Val[i] = ^all.Val[i]
	}
	err := unix.PthreadSigmask(unix.SIG_SETMASK, &all, &old)
	return old, err
}

// RestoreSignals sets the calling thread's signal mask.
func RestoreSignals(mask unix.Sigset_t) error {
	return unix.PthreadSigmask(unix.SIG_SETMASK, &mask, nil)
}

// Ignored returns the signals that this process ignores (SIG_IGN), as execve would hand them on.
func Ignored() []unix.Signal {
	var list []unix.Signal
	for sig := unix.Signal(1); sig <= Signals; sig++ {
		// The kernel's struct sigaction: on amd64 and arm64 alike the handler comes first.
		var old [4]uintptr
		_, _, e := unix.RawSyscall6(unix.SYS_RT_SIGACTION, uintptr(sig), 0, uintptr(unsafe.Pointer(&old)), 8, 0, 0)
		if e == 0 && old[0] == 1 {
			list = append(list, sig)
		}
	}
	return list
}
