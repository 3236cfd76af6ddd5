package container

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// ErrExists says that a container of that ID is there already.
var ErrExists = errors.New("already in use")

// Claim is a container's directory with its lock held. Whoever holds it owns the container:
// when the owner dies, however it dies, the kernel drops the lock, and the next sweep
// takes away what was left.
type Claim struct {
	Dir   string
	ID    string
	Dying bool // its removal has begun
	lock  *os.File
}

// NewClaim makes the directory root/id and holds its lock. ErrExists where there is one.
// The caller ends it with Release or Remove.
func NewClaim(root, id string) (*Claim, error) {
	if err := os.MkdirAll(root, 0o711); err != nil {
		return nil, err
	}
	// A sweep must not take a directory for abandoned in the moment between its birth and its lock.
	door, err := lockDoor(root, unix.LOCK_SH)
	if err != nil {
		return nil, err
	}
	defer unix.Close(door)
	dir := filepath.Join(root, id)
	if err := os.Mkdir(dir, 0o711); err != nil {
		if errors.Is(err, os.ErrExist) {
			return nil, fmt.Errorf("container %s: %w", id, ErrExists)
		}
		return nil, err
	}
	c, err := hold(dir, id, unix.O_CREAT|unix.O_EXCL)
	if err != nil {
		os.Remove(dir)
		return nil, err
	}
	return c, nil
}

// Take holds the lock of a container that is there but has no owner, for instance to delete it.
// ErrOwned where somebody holds it.
func Take(root, id string) (*Claim, error) {
	// Without a lock it is being removed: a new one would be in the way of that.
	return hold(filepath.Join(root, id), id, 0)
}

// ErrOwned says that a living process owns the container.
var ErrOwned = errors.New("owned by a running process")

func hold(dir, id string, flags int) (*Claim, error) {
	f, err := os.OpenFile(filepath.Join(dir, lockFile), flags|os.O_RDWR|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		f.Close()
		if errors.Is(err, unix.EWOULDBLOCK) {
			return nil, fmt.Errorf("container %s: %w", id, ErrOwned)
		}
		return nil, fmt.Errorf("lock %s: %w", dir, err)
	}
	return &Claim{Dir: dir, ID: id, lock: f}, nil
}

// Ended writes the exit code where Await finds it, even when the directory is removed next.
func (c *Claim) Ended(code int) error {
	_, err := c.lock.WriteAt([]byte(strconv.Itoa(code)), 0)
	return err
}

// Await waits until the owner of the container in dir has let go of it, and returns the exit code that
// it wrote down. It fails with fs.ErrNotExist where there is no container, and with ErrOwnerDied where the
// owner went without writing one.
func Await(dir string) (int, error) {
	f, err := os.OpenFile(filepath.Join(dir, lockFile), os.O_RDWR|unix.O_NOFOLLOW, 0)
	if gone(err) { // or nearly
		f, err = os.OpenFile(filepath.Join(filepath.Dir(dir), buried+filepath.Base(dir), lockFile), os.O_RDWR|unix.O_NOFOLLOW, 0)
	}
	if err != nil {
		return 0, err
	}
	defer f.Close()
	for {
		err := unix.Flock(int(f.Fd()), unix.LOCK_SH)
		if err == nil {
			break
		}
		if !errors.Is(err, unix.EINTR) {
			return 0, fmt.Errorf("wait for %s: %w", dir, err)
		}
	}
	data, err := io.ReadAll(f)
	if err != nil {
		return 0, err
	}
	code, err := strconv.Atoi(string(data))
	if err != nil {
		return 0, ErrOwnerDied
	}
	return code, nil
}

// ErrOwnerDied says that nobody wrote down how a container ended.
var ErrOwnerDied = errors.New("its owner died before it ended")

// Evict kills the process that owns a container, and waits until it has let go of it. It fails with ErrOwned
// where that is this process, or one that we may not see.
func Evict(root, id string) error {
	dir := filepath.Join(root, id)
	owner, err := ownerOf(filepath.Join(dir, lockFile))
	if err != nil {
		return fmt.Errorf("container %s: %w", id, err)
	}
	defer unix.Close(owner)
	if err := unix.PidfdSendSignal(owner, unix.SIGKILL, nil, 0); err != nil && err != unix.ESRCH {
		return fmt.Errorf("kill the owner of container %s: %w", id, err)
	}
	if _, err := Await(dir); err != nil && !errors.Is(err, ErrOwnerDied) && !gone(err) {
		return err
	}
	return nil
}

// ownerOf returns a pidfd of the process that has the lock: the one with a file open of which the kernel
// says so in its fdinfo (show_fd_locks, fs/locks.c). Those who wait for it have it open, too.
func ownerOf(lock string) (pidfd int, err error) {
	files, err := filepath.Glob("/proc/[0-9]*/fd/*")
	if err != nil {
		return -1, err
	}
	for _, f := range files {
		to, err := os.Readlink(f)
		if err != nil || to != lock {
			continue
		}
		pid, err := strconv.Atoi(strings.Split(f, "/")[2])
		if err != nil || pid == os.Getpid() {
			continue
		}
		if pidfd, err = unix.PidfdOpen(pid, 0); err != nil {
			continue
		}
		// First the pidfd, then the proof that the number still means the owner.
		info, err := os.ReadFile(strings.Replace(f, "/fd/", "/fdinfo/", 1))
		if err == nil && strings.Contains(string(info), "FLOCK") && strings.Contains(string(info), "WRITE") {
			return pidfd, nil
		}
		unix.Close(pidfd)
	}
	return -1, ErrOwned
}

// Release lets go of the container and leaves its directory.
func (c *Claim) Release() { c.lock.Close() }

// buried marks the directory of a container that is being removed, in front of its ID.
const buried = "."

// Bury puts the directory where nobody finds the container any more, at once or not at all. What is in
// it stays until Remove, or until a sweep if that never comes.
func (c *Claim) Bury() error {
	if c.Dying {
		return nil
	}
	dir := filepath.Join(filepath.Dir(c.Dir), buried+c.ID)
	if err := os.Rename(c.Dir, dir); err != nil {
		return err
	}
	c.Dir, c.Dying = dir, true
	return nil
}

// Remove takes the directory away and lets go.
func (c *Claim) Remove() error {
	defer c.lock.Close()
	if err := c.Bury(); err != nil && !gone(err) {
		return err
	}
	clear(c.Dir)
	return os.RemoveAll(c.Dir)
}

// clear removes a directory of a few files, which is what most containers leave; os.RemoveAll, which goes after
// every failure, takes twice the calls for one.
func clear(dir string) {
	fd, err := unix.Open(dir, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return
	}
	defer unix.Close(fd)
	var buf [2048]byte
	n, _ := unix.ReadDirent(fd, buf[:])
	_, _, names := unix.ParseDirent(buf[:max(n, 0)], -1, nil)
	for _, name := range names {
		if unix.Unlinkat(fd, name, 0) == unix.EISDIR {
			unix.Unlinkat(fd, name, unix.AT_REMOVEDIR)
		}
	}
	unix.Rmdir(dir)
}

// lockDoor holds root's own lock, shared to make a container, exclusive to sweep, until the caller closes the fd.
func lockDoor(root string, how int) (fd int, err error) {
	fd, err = unix.Open(filepath.Join(root, ".lock"), unix.O_CREAT|unix.O_RDWR|unix.O_CLOEXEC, 0o600)
	if err != nil {
		return -1, &os.PathError{Op: "open", Path: filepath.Join(root, ".lock"), Err: err}
	}
	if err := unix.Flock(fd, how); err != nil {
		unix.Close(fd)
		return -1, fmt.Errorf("lock %s: %w", root, err)
	}
	return fd, nil
}

// Lock holds a directory's lock, alone, until the file is closed.
func Lock(dir string) (*os.File, error) {
	f, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX); err != nil {
		f.Close()
		return nil, fmt.Errorf("lock %s: %w", dir, err)
	}
	return f, nil
}

// File is the lock, to hand to a process that is to own the container.
func (c *Claim) File() *os.File { return c.lock }

// Inherit is the claim on root/id whose lock was handed to this process as fd.
func Inherit(root, id string, fd int) *Claim {
	unix.CloseOnExec(fd)
	return &Claim{Dir: filepath.Join(root, id), ID: id, lock: os.NewFile(uintptr(fd), "lock")}
}
