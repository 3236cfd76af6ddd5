package engine

import (
	"golang.org/x/sys/unix"

	"porthole/internal/host/sys"
)

// signals are those that this process gets while a program runs that they are meant for.
type signals struct{ *sys.Relay }

// catch keeps the signals that come from now on, until Stop.
func catch() (signals, error) {
	r, err := sys.Catch(passed)
	return signals{r}, err
}

// pass sends on to a program what came and what comes, until the process behind pidfd has ended.
func (s signals) pass(pidfd int, send func(unix.Signal) error) error {
	fds := []unix.PollFd{{Fd: int32(pidfd), Events: unix.POLLIN}, {Fd: int32(s.FD()), Events: unix.POLLIN}}
	for {
		if _, err := sys.Poll(fds, -1); err != nil {
			return err
		}
		if fds[1].Revents != 0 {
			for sig := s.Next(); sig != 0; sig = s.Next() {
				send(sig) // a program that has ended needs none
			}
		}
		if fds[0].Revents != 0 {
			return nil
		}
	}
}

// passed are the signals that a user or a manager sends to a program. Others tell us of our own children,
// terminal and pipes, are faults of our own, or are Go's runtime talking to itself.
var passed = []unix.Signal{
	unix.SIGHUP, unix.SIGINT, unix.SIGQUIT, unix.SIGTERM, unix.SIGUSR1, unix.SIGUSR2, unix.SIGALRM,
	unix.SIGCONT, unix.SIGTSTP, unix.SIGIO, unix.SIGPWR,
}
