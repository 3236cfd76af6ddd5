package launch

import (
	"fmt"
	"os"

	"porthole/internal/host/nofile"
	"porthole/internal/host/sys"

	"golang.org/x/sys/unix"
)

// Sealed says whether this process runs from an image that Seal has put beyond anybody's reach.
func Sealed() bool {
	fd, err := unix.Open("/proc/self/exe", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return false
	}
	defer unix.Close(fd)
	if seals, err := unix.FcntlInt(uintptr(fd), unix.F_GET_SEALS, 0); err == nil {
		return seals&sys.AllSeals == sys.AllSeals
	}
	// The root of a mount that hangs nowhere, read-only: nobody can name it to make it writable again.
	var st unix.Statfs_t
	name, err := os.Readlink("/proc/self/exe")
	return err == nil && name == "/" && unix.Fstatfs(fd, &st) == nil && st.Flags&unix.ST_RDONLY != 0
}

// Seal has this process run from an image that nobody can write to, whoever gets hold of a
// /proc/PID/exe of it or of its children: where it is not Sealed, it executes itself anew, with the
// same arguments, environment and files, and does not return. It is for kernels on which a child
// cannot take another image itself (no CONFIG_CHECKPOINT_RESTORE); Options.Sealed goes with it.
//
// The image is our file in a read-only mount of its own, or without the privilege or the kernel
// (mount_setattr, Linux 5.12) for that, a sealed copy in memory. os.Executable then is of no use.
func Seal() error {
	if Sealed() {
		return nil
	}
	fd, err := readOnlyMount()
	if err != nil {
		if fd, err = sealedCopy(); err != nil {
			return fmt.Errorf("seal porthole's image: %w", err)
		}
	}
	defer unix.Close(fd)
	if l := nofile.Limit(); l[1] != 0 {
		unix.Setrlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: l[0], Max: l[1]})
	}
	return fmt.Errorf("execute porthole's sealed image: %w", sys.Execveat(fd, "", os.Args, os.Environ(), unix.AT_EMPTY_PATH))
}

func readOnlyMount() (int, error) {
	fd, err := unix.OpenTree(unix.AT_FDCWD, "/proc/self/exe", unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC)
	if err != nil {
		return -1, err
	}
	attr := unix.MountAttr{Attr_set: unix.MOUNT_ATTR_RDONLY | unix.MOUNT_ATTR_NOSUID | unix.MOUNT_ATTR_NODEV}
	if err := unix.MountSetattr(fd, "", unix.AT_EMPTY_PATH, &attr); err != nil {
		unix.Close(fd)
		return -1, err
	}
	return fd, nil
}

func sealedCopy() (int, error) {
	exe, err := unix.Open("/proc/self/exe", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return -1, err
	}
	defer unix.Close(exe)
	fd, err := sys.Memfd("porthole")
	if err != nil {
		return -1, err
	}
	for {
		n, err := unix.Sendfile(fd, exe, nil, 1<<30)
		if err == nil && n > 0 {
			continue
		}
		if err == nil {
			_, err = unix.FcntlInt(uintptr(fd), unix.F_ADD_SEALS, sys.AllSeals)
		}
		if err != nil {
			unix.Close(fd)
			return -1, err
		}
		return fd, nil
	}
}
