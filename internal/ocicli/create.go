package ocicli

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"porthole/facts"
	"porthole/internal/engine/container"
	"porthole/internal/host/cgroup"
	"porthole/internal/host/sys"
	"porthole/plan"
)

// pauseAfter is for tests: see launch.Options.
var pauseAfter int

// patience is how long a command waits for another one at work on the same container.
const patience = 10 * time.Second

// What runc says, and clients look for (libcontainer/error.go, and the verbs).
var (
	errExists     = errors.New("container with given ID already exists")
	errNotExist   = errors.New("container does not exist")
	errNotRunning = errors.New("container not running")
	errNotPaused  = errors.New("container not paused")
	errNothing    = errors.New("process: missing: there is nothing to run")
)

func (a *app) create(f *flags) error {
	var m making
	m.flags(f)
	id, err := f.id()
	if err != nil {
		return err
	}
	m.id = id
	c, _, err := a.make(m, true)
	if err != nil {
		return failed("create", err)
	}
	c.Release()
	return nil
}

// failed words an error as runc does: Docker looks for what follows the last colons.
func failed(verb string, err error) error {
	var setup *container.SetupError
	var missing *container.MissingError
	switch {
	case errors.As(err, &missing):
		err = fmt.Errorf("unable to start container process: %w", err)
	case errors.As(err, &setup) && setup.ExitCode() != 125:
		// Everybody knows why there is no such program; further lines are in the way of those who parse this one.
		what, _, _ := strings.Cut(setup.Error(), "\n")
		err = fmt.Errorf("unable to start container process: %s", what)
	case errors.As(err, &setup):
		err = fmt.Errorf("unable to start container process: %w", err)
	}
	return fmt.Errorf("%s %s failed: %w", name, verb, err)
}

// make makes a container up to its start. Its lock is held; a failure leaves nothing behind.
func (a *app) make(m making, keep bool) (*container.Container, *bundle, error) {
	if err := checkID(m.id); err != nil {
		return nil, nil, err
	}
	fa, err := a.facts()
	if err != nil {
		return nil, nil, err
	}
	b, err := readBundle(m.bundle, m.file, fa)
	if err != nil {
		return nil, nil, err
	}
	cfg, err := b.config(a, m, fa)
	if err != nil {
		return nil, nil, err
	}
	cfg.OCI.Keep, cfg.PauseAfter = keep, pauseAfter
	terminal := b.spec.Process.Terminal
	switch {
	case b.bare && !keep:
		return nil, nil, errNothing
	case keep && terminal && m.console == "":
		return nil, nil, errors.New("cannot allocate tty if runc will detach without setting console socket")
	case !terminal && m.console != "":
		return nil, nil, errors.New("cannot use console socket if runc will not detach or allocate tty")
	}
	var c *container.Container
	if b.listens() {
		// Fetched when the filter is there: that is now, or with no_new_privs when the program starts, by another process perhaps.
		cfg.Agent = a.agent(b)
	}
	claim, err := container.NewClaim(a.root, m.id)
	if errors.Is(err, container.ErrExists) {
		return nil, nil, errExists
	}
	if err != nil {
		return nil, nil, err
	}
	if c, err = a.fill(claim, cfg, m, terminal); err != nil {
		return nil, nil, errors.Join(err, claim.Remove())
	}
	return c, b, nil
}

// agent tells whoever listens at linux.seccomp.listenerPath of a container; a.told is how that went.
func (a *app) agent(b *bundle) func(*container.State, *os.File) {
	return func(s *container.State, l *os.File) { a.told = a.notify(b, s, s.Status, s.Pid, l) }
}

// fill makes the container in its directory, and tells the client what it wants to know.
func (a *app) fill(claim *container.Claim, cfg container.Config, m making, terminal bool) (*container.Container, error) {
	if err := os.WriteFile(filepath.Join(claim.Dir, configFile), cfg.OCI.Config, 0o600); err != nil {
		return nil, err
	}
	if m.notify != "" {
		if err := makeNotify(claim.Dir); err != nil {
			return nil, err
		}
	}
	c, err := container.Create(context.Background(), claim, cfg)
	if err != nil {
		return nil, a.undone(claim, limitError(err))
	}
	err = a.told
	if err == nil && !cfg.OCI.Bundle.Bare {
		err = c.Missing()
	}
	if err == nil && m.console != "" && terminal {
		err = sendConsole(c.Console, m.console)
	}
	if err == nil {
		err = sendPidfd(m.pidfdSocket, "standard", c.Pidfd())
	}
	if err == nil {
		err = writePid(m.pidFile, c.Pid())
	}
	if err != nil {
		return nil, a.undone(claim, errors.Join(err, c.Abort()))
	}
	if a.ungrouped {
		c.Notes = append(c.Notes, "no control group, as --cgroup-manager=disabled wants it: nothing counts what the container uses, and no rule keeps it from a device whose node it has or makes")
	}
	c.Notes = append(c.Notes, foreign(cfg.Spec.Annotations)...)
	a.log.note(c.Notes) // not beside an error: podman reads a log of one record (readConmonPipeData, libpod)
	return c, nil
}

// undone runs the hooks that belong to a container that is gone again.
func (a *app) undone(claim *container.Claim, err error) error {
	if s, e := container.Load(claim.Dir); e == nil {
		s.Status = container.Stopped
		a.log.warn(s.StoppedHooks(context.Background()))
	}
	return err
}

// limitError names a limit by its place in config.json, not by Docker's flag; and a filter that stops the start.
func limitError(err error) error {
	var stops *plan.FilterError
	if errors.As(err, &stops) {
		return fmt.Errorf("linux.seccomp: %w", err)
	}
	var l *cgroup.LimitError
	if errors.As(err, &l) && l.Field != "" {
		return &cgroup.LimitError{Field: l.Field, Why: l.Why, Err: l.Err}
	}
	return err
}

// open reads where a container stands.
func (a *app) open(id string) (*container.State, string, facts.Facts, error) {
	dir, err := a.dir(id)
	if err != nil {
		return nil, "", facts.Facts{}, err
	}
	s, err := container.Load(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, "", facts.Facts{}, errNotExist
	}
	if err != nil {
		return nil, "", facts.Facts{}, fmt.Errorf("%w; `%s delete --force %s` takes away what there is", err, name, id)
	}
	fa, err := a.facts()
	if err != nil {
		return nil, "", fa, err
	}
	return s, dir, fa, s.Stand(dir, fa)
}

func (a *app) start(f *flags) error {
	id, err := f.id()
	if err != nil {
		return err
	}
	if err := checkID(id); err != nil {
		return err
	}
	claim, err := container.TakeWithin(a.root, id, patience)
	if errors.Is(err, fs.ErrNotExist) {
		return errNotExist
	}
	if err != nil {
		return err
	}
	defer claim.Release()
	s, dir, fa, err := a.open(id)
	if err != nil {
		return err
	}
	switch s.Status {
	case container.Created:
	case container.Running:
		return errors.New("cannot start an already running container")
	case container.Stopped:
		return errors.New("cannot start a container that has stopped")
	default:
		return fmt.Errorf("cannot start a container in the %s state", s.Status)
	}
	notify, host := -1, os.Getenv("NOTIFY_SOCKET")
	if host != "" && s.Bundle.Notify != "" {
		if notify, err = listenNotify(dir); err != nil {
			return err
		}
		defer unix.Close(notify)
	}
	if err := a.begin(s, dir, fa); err != nil || notify < 0 {
		return err
	}
	claim.Release() // others may act on it meanwhile
	return a.awaitReady(s, notify, host)
}

// begin starts a program that waits, with the hooks before and after it.
func (a *app) begin(s *container.State, dir string, fa facts.Facts) error {
	ctx := context.Background()
	if s.Bundle.Bare {
		return errors.Join(errNothing, a.end(s))
	}
	var b *bundle
	kept := func() (_ *bundle, err error) {
		if b == nil {
			b, err = keptBundle(dir, s, fa)
		}
		return b, err
	}
	if h := s.Bundle.Hooks; h != nil && len(h.StartContainer) > 0 {
		b, err := kept()
		if err == nil {
			p := b.spec.Process
			p.Env, err = environ(p.Env, func() string { return homeIn("/proc/"+strconv.Itoa(s.Pid)+"/root", p.User.UID) })
		}
		if err == nil {
			err = s.StartHooks(ctx, h, b.spec.Process, b.sec, fa)
		}
		if err != nil {
			return errors.Join(err, a.end(s))
		}
	}
	var watch func(*os.File)
	if s.Bundle.Listener {
		b, err := kept()
		if err != nil {
			return err
		}
		watch = func(l *os.File) { a.agent(b)(s, l) }
	}
	err := s.Begin(ctx, dir, watch, func() (container.Config, error) {
		b, err := kept()
		if err != nil {
			return container.Config{}, err
		}
		cfg, err := b.config(a, making{id: s.ID, notify: s.Bundle.Notify}, fa)
		if s.Bundle.Listener {
			cfg.Agent = a.agent(b)
		}
		return cfg, err
	})
	if err == nil && a.told != nil {
		err = errors.Join(a.told, a.end(s))
	}
	if err != nil {
		return failed("start", err)
	}
	return a.started(ctx, s)
}

// started runs the hooks that follow a start. Where one fails the container ends, or, as the runtime spec had it before
// version 1.1 (runtime.md, "Lifecycle"), that is told and nothing else.
func (a *app) started(ctx context.Context, s *container.State) error {
	minor, err := minorVersion(s.Bundle.OCIVersion)
	if err != nil {
		return err
	}
	old := minor == 0
	if err := s.StartedHooks(ctx, s.Bundle.Hooks, old); err != nil && old {
		a.log.warn(err)
	} else if err != nil {
		return errors.Join(err, a.end(s))
	}
	return nil
}

// end kills a container's program.
func (a *app) end(s *container.State) error {
	if err := s.Signal(unix.SIGKILL); err != nil && !errors.Is(err, container.ErrGone) {
		return err
	}
	_, err := s.WaitEnd(patience)
	return err
}

func (a *app) run(f *flags) error {
	var m making
	m.flags(f)
	detach := f.Bool("detach", false, "leave the container to itself once it runs")
	f.alias("detach", "d")
	keep := f.Bool("keep", false, "do not delete the container when it has ended")
	f.Bool("no-subreaper", false, "accepted: no process of a container is ever adopted by us")
	id, err := f.id()
	if err != nil {
		return err
	}
	m.id = id
	code, err := a.runIt(m, *detach, *keep)
	if err != nil {
		return failed("run", err)
	}
	if code != 0 {
		return exitError(code)
	}
	return nil
}

func (a *app) runIt(m making, detach, keep bool) (int, error) {
	ctx := context.Background()
	var relay *sys.Relay
	if !detach {
		var err error
		if relay, err = sys.Catch(passed); err != nil {
			return 0, err
		}
		defer relay.Stop()
	}
	c, b, err := a.make(m, false)
	if err != nil {
		return 0, err
	}
	var term *terminal
	undo := func(err error) error {
		if term != nil {
			term.close()
		}
		return errors.Join(err, c.Abort(), a.undone(c.Claim, nil), c.Remove())
	}
	if b.spec.Process.Terminal && m.console == "" {
		if detach {
			return 0, undo(errors.New("cannot allocate tty if runc will detach without setting console socket"))
		}
		master, err := c.Console()
		if err == nil {
			term, err = joinTerminal(master)
		}
		if err != nil {
			return 0, undo(err)
		}
	}
	if h := b.spec.Hooks; h != nil {
		if err := c.State.StartHooks(ctx, h, b.spec.Process, b.sec, c.Facts()); err != nil {
			return 0, undo(err)
		}
	}
	notify := -1
	if m.notify != "" {
		if notify, err = listenNotify(c.Dir); err != nil {
			return 0, undo(err)
		}
		defer unix.Close(notify)
	}
	if err := c.Start(ctx); err != nil {
		return 0, undo(err)
	}
	if a.told != nil {
		return 0, undo(a.told)
	}
	if err := a.started(ctx, c.State); err != nil {
		return 0, undo(err)
	}
	c.Release()
	if detach {
		if notify < 0 {
			return 0, nil
		}
		return 0, a.awaitReady(c.State, notify, m.notify)
	}
	if notify >= 0 {
		go a.passReady(notify, m.notify)
	}
	err = follow(relay, c.Pidfd(), c.Signal)
	if err != nil {
		return 0, err
	}
	exit, err := c.Wait()
	if term != nil {
		term.finish()
	}
	if err != nil || keep {
		return exit.Code, err
	}
	claim, err := container.TakeWithin(a.root, m.id, patience)
	if errors.Is(err, fs.ErrNotExist) {
		return exit.Code, nil // deleted meanwhile
	}
	if err != nil {
		return exit.Code, err
	}
	err = c.Vanish()
	c.State.Status = container.Stopped
	a.log.warn(c.State.StoppedHooks(ctx))
	return exit.Code, errors.Join(err, claim.Remove())
}

// passed are the signals that are meant for the program where we stand for it.
var passed = []unix.Signal{
	unix.SIGHUP, unix.SIGINT, unix.SIGQUIT, unix.SIGTERM, unix.SIGUSR1, unix.SIGUSR2, unix.SIGALRM,
	unix.SIGCONT, unix.SIGTSTP, unix.SIGIO, unix.SIGPWR, unix.SIGWINCH,
}

// follow passes signals on until the process behind pidfd has ended.
func follow(r *sys.Relay, pidfd int, send func(unix.Signal) error) error {
	fds := []unix.PollFd{{Fd: int32(pidfd), Events: unix.POLLIN}, {Fd: int32(r.FD()), Events: unix.POLLIN}}
	for {
		if _, err := sys.Poll(fds, -1); err != nil {
			return err
		}
		if fds[1].Revents != 0 {
			for sig := r.Next(); sig != 0; sig = r.Next() {
				if sig == unix.SIGWINCH {
					resized()
				} else {
					send(sig) // a program that has ended needs none
				}
			}
		}
		if fds[0].Revents != 0 {
			return nil
		}
	}
}
