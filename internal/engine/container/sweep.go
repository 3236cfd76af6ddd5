package container

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"porthole/facts"
)

// Sweep looks at every container under root whose owner is gone without having cleaned up:
// a process killed, a machine that lost power. What such a container left (processes, cgroups) is
// taken away; its directory is handed, locked, to keep, which says whether it stays, as the
// record of a container that has stopped. One without a state (nil), of which nothing was made yet or
// whose removal was cut short, never stays.
// Errors are collected; one container's does not keep others from being swept.
func Sweep(root string, f facts.Facts, keep func(*Claim, *State) bool) error {
	entries, err := os.ReadDir(root)
	if err != nil {
		if gone(err) {
			return nil
		}
		return err
	}
	var errs []error
	for _, d := range entries {
		if d.IsDir() {
			errs = append(errs, sweepOne(root, d.Name(), f, keep))
		}
	}
	return errors.Join(errs...)
}

func sweepOne(root, name string, f facts.Facts, keep func(*Claim, *State) bool) error {
	if held(filepath.Join(root, name, lockFile)) {
		return nil // the common case: it has a living owner
	}
	// One that is being born has a directory and not yet a lock: shut the door meanwhile.
	door, err := lockDoor(root, unix.LOCK_EX)
	if err != nil {
		return err
	}
	c, err := Take(root, name)
	unix.Close(door)
	if gone(err) { // its birth or its removal was cut short, or is just being finished
		c, err = &Claim{Dir: filepath.Join(root, name), ID: name}, nil
	}
	if errors.Is(err, ErrOwned) {
		return nil
	}
	if err != nil {
		return err
	}
	c.ID, c.Dying = strings.CutPrefix(name, buried)
	s, err := Load(c.Dir)
	if c.Dying || c.lock == nil || gone(err) {
		keep(c, nil)
		return c.Remove()
	}
	if err != nil {
		// Unreadable: not ours to judge. `rm -f` takes it away.
		c.Release()
		return nil
	}
	if !s.abandoned() {
		c.Release()
		return nil
	}
	if err := s.Destroy(f); err != nil {
		c.Release()
		return err
	}
	if !keep(c, s) {
		return c.Remove()
	}
	if s.Exit == nil {
		s.Exit = &Exit{Code: 128 + int(unix.SIGKILL), Signal: int(unix.SIGKILL)}
	}
	if s.Finished.IsZero() {
		s.Finished = time.Now()
	}
	s.Status, s.Pid = Stopped, 0
	err = s.save(c.Dir)
	c.Release()
	return err
}

// held says whether somebody holds the lock, without disturbing it for longer than a moment.
func held(path string) bool {
	f, err := os.OpenFile(path, os.O_RDWR|unix.O_NOFOLLOW, 0)
	if err != nil {
		return false
	}
	defer f.Close()
	return errors.Is(unix.Flock(int(f.Fd()), unix.LOCK_SH|unix.LOCK_NB), unix.EWOULDBLOCK)
}

// abandoned says, of a container nobody owns, that it should not be there as it is.
func (s *State) abandoned() bool {
	switch {
	case s.Status == Creating:
		return true
	case s.Owned:
		return s.Exit == nil
	}
	return false
}

// Unknown is the state of a container whose own cannot be read: all that may be left of it is what is in
// its control group.
func Unknown(id, cgroup string) *State {
	return &State{Version: stateVersion, ID: id, Status: Creating, Boot: bootID(), Cgroup: cgroup}
}
