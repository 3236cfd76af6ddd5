package sys

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// Wait waits for the child behind pidfd to end and reaps it; with unix.WNOHANG in options it
// returns ok false where the child still runs. unix.WNOWAIT leaves the zombie.
func Wait(pidfd, options int) (status unix.WaitStatus, usage unix.Rusage, ok bool, err error) {
	// siginfo_t as waitid fills it (include/uapi/asm-generic/siginfo.h, _sigchld).
	var info struct {
		signo, errno, code, _ int32
		pid                   int32
		uid                   uint32
		status                int32
		_                     [100]byte
	}
	for {
		_, _, e := unix.Syscall6(unix.SYS_WAITID, unix.P_PIDFD, uintptr(pidfd), uintptr(unsafe.Pointer(&info)),
			uintptr(options|unix.WEXITED), uintptr(unsafe.Pointer(&usage)), 0)
		if e == unix.EINTR {
			continue
		}
		if e != 0 {
			return 0, usage, false, e
		}
		break
	}
	const exited, dumped = 1, 3 // CLD_EXITED, CLD_DUMPED
	switch {
	case info.signo == 0:
		return 0, usage, false, nil
	case info.code == exited:
		status = unix.WaitStatus(info.status&0xff) << 8
	default:
		status = unix.WaitStatus(info.status & 0x7f)
		if info.code == dumped {
			status |= 0x80
		}
	}
	return status, usage, true, nil
}

// Execveat replaces the calling program by the file behind fd (its name relative to fd, or ""
// with unix.AT_EMPTY_PATH). It returns only where that fails.
func Execveat(fd int, name string, argv, envv []string, flags int) error {
	p, err := unix.BytePtrFromString(name)
	if err != nil {
		return err
	}
	args, err := pointers(argv)
	if err != nil {
		return err
	}
	env, err := pointers(envv)
	if err != nil {
		return err
	}
	_, _, e := unix.RawSyscall6(unix.SYS_EXECVEAT, uintptr(fd), uintptr(unsafe.Pointer(p)),
		uintptr(unsafe.Pointer(&args[0])), uintptr(unsafe.Pointer(&env[0])), uintptr(flags), 0)
	return e
}

// pointers lays list out as execve takes it: addresses of C strings, and a null.
func pointers(list []string) ([]*byte, error) {
	out := make([]*byte, len(list)+1)
	for i, s := range list {
		p, err := unix.BytePtrFromString(s)
		if err != nil {
			return nil, err
		}
		out[i] = p
	}
	return out, nil
}
