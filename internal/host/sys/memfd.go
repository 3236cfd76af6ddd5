package sys

import (
	"errors"

	"golang.org/x/sys/unix"
)

// AllSeals keep a memfd as it is for ever.
const AllSeals = unix.F_SEAL_SEAL | unix.F_SEAL_SHRINK | unix.F_SEAL_GROW | unix.F_SEAL_WRITE

const mfdExec = 0x10 // MFD_EXEC, Linux 6.3: executable whatever vm.memfd_noexec says short of 2

// Memfd returns an executable memfd, close-on-exec, that can be sealed.
func Memfd(name string) (int, error) {
	fd, err := unix.MemfdCreate(name, unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING|mfdExec)
	if errors.Is(err, unix.EINVAL) { // a kernel older than MFD_EXEC
		fd, err = unix.MemfdCreate(name, unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING)
	}
	return fd, err
}

// SealedMemfd returns an executable memfd that holds data and that nobody can change.
func SealedMemfd(name string, data []byte) (int, error) {
	fd, err := Memfd(name)
	if err != nil {
		return -1, err
	}
	for len(data) > 0 && err == nil {
		var n int
		n, err = unix.Write(fd, data)
		data = data[max(n, 0):]
	}
	if err == nil {
		_, err = unix.FcntlInt(uintptr(fd), unix.F_ADD_SEALS, AllSeals)
	}
	if err != nil {
		unix.Close(fd)
		return -1, err
	}
	return fd, nil
}
