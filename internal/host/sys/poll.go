package sys

import (
	"time"

	"golang.org/x/sys/unix"
)

// Poll waits until one of fds has something to tell (its Revents says what), or for
// timeout where that is not negative: then it returns false. A signal does not end it.
func Poll(fds []unix.PollFd, timeout time.Duration) (bool, error) {
	deadline := time.Now().Add(timeout)
	for {
		var ts *unix.Timespec
		if timeout >= 0 {
			t := unix.NsecToTimespec(max(0, time.Until(deadline)).Nanoseconds())
			ts = &t
		}
		n, err := unix.Ppoll(fds, ts, nil)
		if err != unix.EINTR {
			return n > 0, err
		}
	}
}
