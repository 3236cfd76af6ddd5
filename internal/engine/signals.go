package engine

import (
	"os"
	"os/signal"

	"golang.org/x/sys/unix"
)

// signals are those that this process gets while a program runs that they are meant for.
type signals struct {
	got  chan os.Signal
	done chan struct{}
}

// catch keeps the signals that come from now on, until stop.
func catch() *signals {
	s := &signals{make(chan os.Signal, 32), make(chan struct{})}
	signal.Notify(s.got, passed...)
	return s
}

// pass sends on to a program what came and what comes.
func (s *signals) pass(send func(unix.Signal) error) {
	go func() {
		for {
			select {
			case sig := <-s.got:
				if n, ok := sig.(unix.Signal); ok {
					send(n) // a program that has ended needs none
				}
			case <-s.done:
				return
			}
		}
	}()
}

func (s *signals) stop() {
	signal.Stop(s.got)
	close(s.done)
}

// passed are the signals that a user or a manager sends to a program. Others tell us of our own children,
// terminal and pipes, are faults of our own, or are Go's runtime talking to itself.
var passed = []os.Signal{
	unix.SIGHUP, unix.SIGINT, unix.SIGQUIT, unix.SIGTERM, unix.SIGUSR1, unix.SIGUSR2, unix.SIGALRM,
	unix.SIGCONT, unix.SIGTSTP, unix.SIGIO, unix.SIGPWR,
}
