package engine

import (
	"context"
	"errors"

	"golang.org/x/sys/unix"

	"porthole/internal/engine/container"
	"porthole/internal/host/nofile"
	"porthole/spec"
	"porthole/workload"
)

// Exec runs one more process in a running container and returns its exit code. One in the background
// (x.Detach) is left to itself once its program runs, with nothing to read from and nobody to read it.
func (e *Engine) Exec(ctx context.Context, x workload.Exec, opt ExecOptions) (code int, err error) {
	if x.Detach && x.TTY {
		return 0, errors.New("-d and -t: nobody would hold the terminal of a session in the background")
	}
	r, s, err := e.open(x.Container)
	if err != nil {
		return 0, err
	}
	if err := runs(r, s); err != nil {
		return 0, err
	}
	if s.Status == container.Paused {
		return 0, errors.New("container " + r.Name + " is paused: unpause it first")
	}
	if x.Detach {
		if x.TTY {
			return 0, errors.New("-d with -t is not supported: nobody would hold the terminal")
		}
		x.Stdin, opt.Streams = false, Streams{}
	}
	img, err := e.inside(r, s)
	if err != nil {
		return 0, err
	}
	process, sec, warnings, err := spec.Join(x, r.Workload, img, e.specOptions(r, e.dir(r.ID)), e.facts)
	if err != nil {
		return 0, err
	}
	for _, w := range warnings {
		e.warn(w.String())
	}
	policy, err := e.policy(sec)
	if err != nil {
		return 0, err
	}
	cfg := container.ExecConfig{
		Process: process, Facts: e.facts, Policy: policy, Filters: e.filters(), Owned: !x.Detach, NoFile: nofile.Limit(), Sealed: opt.Sealed,
		Refer: map[string]string{"process.cwd": referDir(x.Dir, process.Cwd)},
	}
	signals, err := catch()
	if err != nil {
		return 0, err
	}
	defer signals.Stop()
	var pipes *stdio
	if x.TTY {
		process.ConsoleSize = opt.Streams.size() // it may look at once
	} else {
		if pipes, err = newStdio(opt.Streams, x.Stdin, nil, process.User.UID); err != nil {
			return 0, err
		}
		cfg.Stdin, cfg.Stdout, cfg.Stderr = pipes.child[0], pipes.child[1], pipes.child[2]
		cfg.ChownStdio = pipes.made
	}
	if opt.Adjust != nil {
		opt.Adjust(&cfg)
	}
	p, err := s.Exec(ctx, cfg)
	if err != nil {
		if pipes != nil {
			pipes.abandon()
		}
		return 0, err
	}
	for _, n := range p.Notes {
		e.warn(n)
	}
	if x.Detach {
		pipes.started()
		return 0, nil
	}
	var term *terminal
	if pipes != nil {
		pipes.started()
	} else {
		if term, err = joinTerminal(opt.Streams, p.Console(), x.Stdin, nil); err != nil {
			p.Console().Close()
			p.Signal(unix.SIGKILL)
			p.Wait()
			return 0, err
		}
	}
	err = signals.pass(p.Pidfd(), p.Signal)
	exit, end := p.Wait()
	if pipes != nil {
		pipes.drain(drainTime)
	}
	if term != nil {
		term.finish(drainTime)
	}
	return exit.Code, errors.Join(err, end)
}

// ExecOptions say how an exec is run.
type ExecOptions struct {
	Streams Streams
	Sealed  bool // this process runs from an image that nobody can write to
	// Adjust, where not nil, may change what is about to be made: a test's pauses.
	Adjust func(*container.ExecConfig)
}
