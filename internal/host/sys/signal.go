package sys

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// Signals is how many signals there are; their numbers run from 1.
const Signals = 64

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
