package sys

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// Notification is a call that waits for a seccomp listener's answer (struct seccomp_notif,
// linux/seccomp.h).
type Notification struct {
	ID    uint64
	PID   uint32 // the thread, in the listener's pid namespace
	Flags uint32
	Nr    uint32
	Arch  uint32
	IP    uint64
	Args  [6]uint64
}

// The ioctls of a listener: _IOWR('!', 0, struct seccomp_notif) and _IOWR('!', 1, struct seccomp_notif_resp).
const (
	ioctlNotifRecv = 0xc0502100
	ioctlNotifSend = 0xc0182101
)

// NotifRecv waits for the next call on a seccomp listener. It fails with ENOENT where the caller
// was killed meanwhile.
func NotifRecv(fd int) (Notification, error) {
	var n Notification // the kernel wants it zeroed
	_, _, e := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), ioctlNotifRecv, uintptr(unsafe.Pointer(&n)))
	if e != 0 {
		return n, e
	}
	return n, nil
}

// NotifAnswer gives the call id's caller an errno; 0 makes the call return 0. It fails with ENOENT
// where the caller is gone.
func NotifAnswer(fd int, id uint64, errno int) error {
	answer := struct {
		id    uint64
		val   int64
		error int32
		flags uint32
	}{id: id, error: -int32(errno)}
	if _, _, e := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), ioctlNotifSend, uintptr(unsafe.Pointer(&answer))); e != 0 {
		return e
	}
	return nil
}
