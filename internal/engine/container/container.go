// Package container is the life cycle of OCI's runtime spec: create, start, state, kill,
// delete, exec, pause. It takes a finished spec and facts, has the plan compiled and
// carried out, and keeps what later commands need in the container's own directory.
//
// create.go makes one, exec.go adds a process, state.go and claim.go are what is on disk,
// sweep.go takes away what a dead owner left.
package container

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"porthole/facts"
	"porthole/internal/host/cgroup"
	"porthole/internal/host/launch"
	"porthole/plan"
	"porthole/seccomp"
)

// Config is all that makes a container.
type Config struct {
	Spec  *specs.Spec
	Root  plan.Root // zero: the spec's root.path
	Facts facts.Facts
	Refer map[string]string // what the user typed for a part of the spec

	// Policy is the filter to install; nil is none. The spec's linux.seccomp is not read:
	// whoever resolved it knows more of it than it says.
	Policy *seccomp.Policy
	// Filters is where it may be found compiled, and kept.
	Filters Filters
	// Watch, where not nil, is told the listener of the installed filter, and owns it. Policy's
	// Notify actions are meant for it.
	Watch func(listener *os.File)
	// Agent is Watch for whoever wants to know of which container, as it stands then.
	Agent func(s *State, listener *os.File)
	// Answers is what Watch's caller answers calls with, where it keeps to a policy.
	Answers *seccomp.Policy

	// Ready, where not nil, is told the first process when it is about to begin, for whoever wants
	// to look on from the first instruction. Its error is Start's, and ends the container.
	Ready func(pid int) error

	Stdin, Stdout, Stderr *os.File // nil: /dev/null; not used with a terminal
	ChownStdio            [3]bool  // those of them that were made for the program and may be given to its user
	Init                  bool     // run the command under a small init
	Inherit               int      // so many fds from 3 on are handed on

	// Owned says that the container ends when this process does, however it does.
	Owned bool
	// NoFile is the limit on open files to go back to where the spec sets none: soft, hard.
	NoFile [2]uint64

	OCI *OCI // where an engine calls us as its runtime

	Times      bool // note when each step starts
	PauseAfter int  // for tests: see launch.Options
}

// Container is one that this process made, and whose first process is its child.
type Container struct {
	*Claim
	State *State
	Notes []string // what is otherwise than asked, for the user

	proc  *launch.Process
	group *cgroup.Group
	plan  *plan.Plan

	command, cwd string // what is to be run, and where
	oci          *OCI
	facts        facts.Facts
	hooks        *specs.Hooks
	copied       int // of the plan's CopyUps

	passed int // gates that lie behind the child
	watch  func(*os.File)
	ready  func(pid int) error
}

// seccompOption compiles a policy for a plan.
func seccompOption(p *seccomp.Policy, kept Filters, listener bool, answers *seccomp.Policy) (*plan.Seccomp, error) {
	if p == nil {
		return nil, nil
	}
	prog, err := kept.compile(*p)
	if err != nil {
		return nil, fmt.Errorf("seccomp: %w", err)
	}
	return &plan.Seccomp{Program: prog, Policy: *p, Listener: listener, Answers: answers}, nil
}

// Console returns the master of the container's terminal, for the caller to close; nil where
// its spec asks for none.
func (c *Container) Console() (*os.File, error) { return fetchConsole(c.proc) }

func fetchConsole(p *launch.Process) (*os.File, error) {
	fd, err := p.Fetch(plan.SlotConsole)
	if err != nil {
		return nil, fmt.Errorf("the container's terminal: %w", err)
	}
	if err := unix.SetNonblock(fd, true); err != nil { // so that Go's poller can wait for it
		unix.Close(fd)
		return nil, err
	}
	return os.NewFile(uintptr(fd), "console"), nil
}

// Plan is what was carried out.
func (c *Container) Plan() *plan.Plan { return c.plan }

// Start lets the user's program begin. Its failure to be executed is the error, and ends the container.
func (c *Container) Start(ctx context.Context) error {
	var err error
	if c.ready != nil {
		err = c.ready(c.State.Pid)
	}
	if err == nil {
		err = c.proc.Pass()
	}
	if err == nil {
		err = c.lead(ctx, noGate)
	}
	if err != nil {
		return c.fail(err)
	}
	c.State.Status = Running
	return c.State.save(c.Dir)
}

// Pid is the container's first process, as we see it.
func (c *Container) Pid() int { return c.State.Pid }

// Pidfd is a pidfd of the container's first process; it stays c's.
func (c *Container) Pidfd() int { return c.proc.Pidfd() }

// Signal sends the container's first process a signal.
func (c *Container) Signal(sig unix.Signal) error { return c.proc.Signal(sig) }

// Wait returns how the container's first process ended, once it has.
func (c *Container) Wait() (Exit, error) {
	status, _, err := c.proc.Wait()
	if err != nil {
		return Exit{}, err
	}
	e := exitOf(status)
	if c.group != nil {
		e.OOM, _ = c.group.OOMKilled() // a group that is gone counts nothing
	}
	return e, nil
}

func exitOf(s unix.WaitStatus) Exit {
	if s.Signaled() {
		return Exit{Code: 128 + int(s.Signal()), Signal: int(s.Signal())}
	}
	return Exit{Code: s.ExitStatus()}
}

// Finish takes away all that is left of the container but its directory, in which it notes
// how it ended. It kills what still runs in it, which is possible where it shares a pid namespace.
func (c *Container) Finish(e Exit) error {
	c.proc.Close()
	var errs []error
	if c.group != nil {
		errs = append(errs, c.group.End())
	}
	s := c.State
	s.Status, s.Pid, s.Exit, s.Finished = Stopped, 0, &e, time.Now()
	s.Cgroups = nil
	if err := s.save(c.Dir); err != nil && !gone(err) {
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// Vanish is Finish for a container whose directory is about to be removed: nothing is noted.
func (c *Container) Vanish() error {
	c.proc.Close()
	if c.group == nil {
		return nil
	}
	return c.group.End()
}

// Abort ends a container that stands at its start.
func (c *Container) Abort() error { return c.fail(nil) }

// Times are how long each step of the plan took: see launch.Process.
func (c *Container) Times() (start time.Duration, steps []time.Duration) { return c.proc.Times() }

// fail ends a container that could not be made or started, and returns why.
func (c *Container) fail(err error) error {
	if c.proc != nil {
		c.proc.Kill()
		c.proc.Wait()
		c.proc.Close()
	}
	if c.group != nil {
		if left := c.group.End(); left != nil {
			return errors.Join(err, left)
		}
	}
	return err
}
