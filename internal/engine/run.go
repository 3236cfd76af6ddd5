package engine

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"porthole/internal/engine/container"
	"porthole/plan"
	"porthole/workload"
)

// RunOptions say how a workload is run.
type RunOptions struct {
	Remove  bool // take everything away when it ends
	Log     bool // keep what it writes for `logs` even so: it runs in the background
	Streams Streams

	// Started, where not nil, is called once the user's program runs.
	Started func(id string)
	// Adjust, where not nil, may change what is about to be made: a watcher's filter, a test's pauses.
	Adjust func(*container.Config)
	// Ended, where not nil, is told how the program ended, where that is known.
	Ended func(container.Exit)
	// Timed, where not nil, is told the plan and how long its steps took.
	Timed func(p *plan.Plan, start time.Duration, steps []time.Duration)
}

// drainTime is how long output is waited for that something a container left behind may still write.
const drainTime = 2 * time.Second

// Run makes a container of w, runs it in the foreground, and returns its exit code. Signals that this
// process gets are passed to it. When ctx ends, so does the program, by SIGKILL.
func (e *Engine) Run(ctx context.Context, w workload.Workload, opt RunOptions) (int, error) {
	r, claim, err := e.enrol(w, opt.Remove)
	if err != nil {
		return 0, err
	}
	return e.run(ctx, r, claim, opt)
}

// enrol gives a new container its ID, its name and its directory, whose lock we hold.
func (e *Engine) enrol(w workload.Workload, remove bool) (*Record, *container.Claim, error) {
	r := &Record{
		ID: newID(), Name: w.Name, Created: time.Now(), Image: w.Image, Command: append(append([]string{}, w.Entrypoint...), w.Args...),
		Remove: remove, Keep: !remove && w.Image != "host", Workload: w,
	}
	claim, err := container.NewClaim(e.containers(), r.ID)
	if err != nil {
		return nil, nil, e.hintStorage(err)
	}
	if err := e.name(r); err != nil {
		return nil, nil, errors.Join(e.hintStorage(err), claim.Remove())
	}
	return r, claim, nil
}

// name reserves the name asked for, or makes one up.
func (e *Engine) name(r *Record) error {
	if r.Name != "" {
		return e.takeName(r.Name, r.ID)
	}
	var err error
	for try := range 20 {
		r.Name = randomName()
		if try > 3 {
			r.Name += "_" + short(r.ID)[:4]
		}
		if err = e.takeName(r.Name, r.ID); err == nil {
			return nil
		}
	}
	return err
}

// discard takes away a container's volumes, directory and name. Where it is cut short the next sweep
// goes on, whatever has gone already.
func (e *Engine) discard(r *Record, claim *container.Claim) error {
	return errors.Join(e.dropVolumes(r.ID), e.bury(r, claim))
}

// bury is discard for a container whose volumes stay.
func (e *Engine) bury(r *Record, claim *container.Claim) error {
	if claim.Dying {
		e.dropName(r.Name, r.ID)
	} else {
		e.giveBack(r.Name, r.ID)
	}
	return errors.Join(claim.Bury(), claim.Remove())
}

// run makes the container of a record, runs it to its end, and cleans up.
func (e *Engine) run(ctx context.Context, r *Record, claim *container.Claim, opt RunOptions) (code int, err error) {
	signals, err := catch()
	if err != nil {
		return 0, errors.Join(e.hintStorage(err), e.discard(r, claim))
	}
	defer signals.Stop()
	s, err := e.begin(ctx, r, claim, opt)
	if err != nil {
		return 0, errors.Join(e.hintStorage(err), e.discard(r, claim))
	}
	if opt.Started != nil {
		opt.Started(r.ID)
	}
	kill := context.AfterFunc(ctx, func() { s.container.Signal(unix.SIGKILL) })
	err = signals.pass(s.container.Pidfd(), s.container.Signal)
	exit, end := s.container.Wait()
	kill()
	s.drain()
	err = errors.Join(err, end)
	if err != nil {
		return 0, errors.Join(err, s.container.Vanish(), e.discard(r, claim))
	}
	if opt.Ended != nil {
		opt.Ended(exit)
	}
	err = claim.Ended(exit.Code)
	if r.Remove {
		return exit.Code, errors.Join(err, s.container.Vanish(), e.discard(r, claim))
	}
	err = errors.Join(err, s.container.Finish(exit))
	claim.Release()
	return exit.Code, err
}

// session is a container that runs, and what stands between it and the caller.
type session struct {
	container *container.Container
	pipes     *stdio
	terminal  *terminal
	log       *logWriter
}

// begin makes the container and starts its program. A failure leaves its directory to the caller, and nothing else.
func (e *Engine) begin(ctx context.Context, r *Record, claim *container.Claim, opt RunOptions) (*session, error) {
	p, err := e.prepare(ctx, r, claim.Dir)
	if err != nil {
		return nil, err
	}
	r.ImageID, r.Defaults = p.id, p.defaults
	r.Command = p.config.Spec.Process.Args
	if err := r.save(claim.Dir); err != nil {
		return nil, err
	}
	if err := e.furnish(r, claim.Dir, p); err != nil {
		return nil, err
	}
	s := &session{}
	if err := e.start(ctx, s, r.Workload, claim, p.config, opt, r.Remove); err != nil {
		s.abandon()
		return nil, err
	}
	return s, nil
}

// start fills s. Its caller abandons that where it fails.
func (e *Engine) start(ctx context.Context, s *session, w workload.Workload, claim *container.Claim, cfg container.Config, opt RunOptions, remove bool) (err error) {
	if opt.Log || !remove {
		if s.log, err = newLog(filepath.Join(claim.Dir, logFile)); err != nil {
			return err
		}
	}
	cfg.Times = opt.Timed != nil
	if !w.TTY {
		if s.pipes, err = newStdio(opt.Streams, w.Stdin, s.log, cfg.Spec.Process.User.UID); err != nil {
			return err
		}
		cfg.Stdin, cfg.Stdout, cfg.Stderr = s.pipes.child[0], s.pipes.child[1], s.pipes.child[2]
		cfg.ChownStdio = s.pipes.made
	}
	if opt.Adjust != nil {
		opt.Adjust(&cfg)
	}
	if s.container, err = container.Create(ctx, claim, cfg); err != nil {
		return err
	}
	for _, n := range s.container.Notes {
		e.warn(n)
	}
	if s.pipes != nil {
		s.pipes.started()
	}
	if w.TTY {
		master, err := s.container.Console()
		if err != nil {
			return errors.Join(err, s.container.Abort())
		}
		if s.terminal, err = joinTerminal(opt.Streams, master, w.Stdin, s.log); err != nil {
			master.Close()
			return errors.Join(err, s.container.Abort())
		}
	}
	if err := s.container.Start(ctx); err != nil {
		return err
	}
	if opt.Timed != nil {
		start, steps := s.container.Times()
		opt.Timed(s.container.Plan(), start, steps)
	}
	return nil
}

// drain waits until what was written has been passed on, and gives the caller its terminal back.
func (s *session) drain() {
	if s.pipes != nil {
		s.pipes.drain(drainTime)
	}
	if s.terminal != nil {
		s.terminal.finish(drainTime)
	}
	if s.log != nil {
		s.log.Close()
	}
}

func (s *session) abandon() {
	if s.pipes != nil {
		s.pipes.abandon()
	}
	if s.terminal != nil {
		s.terminal.finish(0)
	}
	if s.log != nil {
		s.log.Close()
	}
}

// furnish makes the directories that the container's mounts come from.
func (e *Engine) furnish(r *Record, dir string, p *prepared) error {
	dirs := []string{e.scratch()}
	if r.Keep {
		dirs = append(dirs, filepath.Join(dir, "upper"), filepath.Join(dir, "work"))
	}
	for _, d := range dirs {
		if err := os.Mkdir(d, 0o755); err != nil && !errors.Is(err, os.ErrExist) {
			return err
		}
	}
	if err := e.makeVolumes(r, p.volumes); err != nil {
		return err
	}
	for _, m := range r.Workload.Mounts {
		if m.Type != workload.Bind {
			continue
		}
		if _, err := os.Stat(m.Source); errors.Is(err, os.ErrNotExist) {
			if !m.CreateSource {
				return fmt.Errorf("invalid mount config for type \"bind\": bind source path does not exist: %s", m.Source)
			}
			if err := os.MkdirAll(m.Source, 0o755); err != nil {
				return err
			}
		}
	}
	return nil
}

// Plan returns what Run would carry out, and does none of it. Nothing is fetched or made.
func (e *Engine) Plan(ctx context.Context, w workload.Workload) (*plan.Plan, error) {
	r := &Record{ID: newID(), Name: w.Name, Image: w.Image, Remove: true, Workload: w}
	p, err := e.prepare(ctx, r, e.dir(r.ID))
	if err != nil {
		return nil, err
	}
	return container.Plan(r.ID, p.config)
}

// Config returns what Run would make a container of. Nothing is made.
func (e *Engine) Config(ctx context.Context, w workload.Workload) (container.Config, error) {
	r := &Record{ID: newID(), Name: w.Name, Image: w.Image, Remove: true, Workload: w}
	p, err := e.prepare(ctx, r, e.dir(r.ID))
	if err != nil {
		return container.Config{}, err
	}
	return p.config, nil
}
