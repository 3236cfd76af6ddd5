package engine

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"golang.org/x/sys/unix"

	"porthole/internal/engine/container"
	"porthole/internal/host/cgroup"
	"porthole/workload"
)

// open finds a container and reads its state.
func (e *Engine) open(ref string) (*Record, *container.State, error) {
	r, err := e.find(ref)
	if err != nil {
		return nil, nil, err
	}
	s, err := container.Load(e.dir(r.ID))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil, fmt.Errorf("container %s is still being made, or already being removed", r.Name)
	}
	if err != nil {
		return nil, nil, hintForce(err)
	}
	return r, s, nil
}

// runs refuses a container that does not run.
func runs(r *Record, s *container.State) error {
	if s.Status != container.Running && s.Status != container.Paused {
		return fmt.Errorf("container %s is not running (%s)", r.Name, s.Status)
	}
	return nil
}

// Kill sends the first process of a running container a signal: a name, with or without SIG, or a number.
func (e *Engine) Kill(ref, sig string) error {
	n, err := workload.Signal(sig)
	if err != nil {
		return err
	}
	r, s, err := e.open(ref)
	if err != nil {
		return err
	}
	if err := runs(r, s); err != nil {
		return err
	}
	return s.Signal(unix.Signal(n))
}

// Stop asks a container to end, with sig or its own stop signal, and kills it when grace is over: nil is its
// own or Docker's ten seconds, negative waits for ever. One that has stopped already is no error.
func (e *Engine) Stop(ref, sig string, grace *time.Duration) error {
	r, s, err := e.open(ref)
	if err != nil {
		return err
	}
	if runs(r, s) != nil {
		return nil
	}
	if sig == "" {
		sig = cmp.Or(r.Workload.StopSignal, r.Defaults.StopSignal, "TERM")
	}
	if grace == nil {
		if grace = r.Workload.StopWait; grace == nil {
			ten := 10 * time.Second
			grace = &ten
		}
	}
	n, err := workload.Signal(sig)
	if err != nil {
		return err
	}
	if err := s.Signal(unix.Signal(n)); err != nil && !errors.Is(err, container.ErrGone) {
		return err
	}
	ended, err := s.WaitEnd(*grace)
	if err != nil || ended {
		return errors.Join(err, e.settle(r))
	}
	if err := s.Signal(unix.SIGKILL); err != nil && !errors.Is(err, container.ErrGone) {
		return err
	}
	if _, err := s.WaitEnd(-1); err != nil {
		return err
	}
	return e.settle(r)
}

// settle waits until a container that has ended has been cleaned up by its owner; where that died too,
// it is swept.
func (e *Engine) settle(r *Record) error {
	_, err := container.Await(e.dir(r.ID))
	switch {
	case errors.Is(err, container.ErrOwnerDied):
		e.sweep()
		return nil
	case errors.Is(err, fs.ErrNotExist):
		return nil
	}
	return err
}

// Wait returns the exit code of a container once it has ended.
func (e *Engine) Wait(ref string) (int, error) {
	r, err := e.find(ref)
	if err != nil {
		return 0, err
	}
	code, err := container.Await(e.dir(r.ID))
	if errors.Is(err, container.ErrOwnerDied) {
		e.sweep()
		if s, err := container.Load(e.dir(r.ID)); err == nil && s.Exit != nil {
			return s.Exit.Code, nil
		}
		return 0, fmt.Errorf("how container %s ended is not known: %w", r.Name, err)
	}
	return code, err
}

// Remove takes a container away. One that runs is killed where force is set, and refused otherwise. Force
// takes away one that is just being made as well, and one whose files cannot be read.
func (e *Engine) Remove(ref string, force, volumes bool) error {
	id, err := e.resolve(ref)
	if force && errors.Is(err, ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	r, err := e.record(id)
	if err != nil && !force {
		return err
	}
	if err != nil {
		r = &Record{ID: id}
	}
	s, err := container.Load(e.dir(id))
	switch {
	case err == nil:
	case errors.Is(err, fs.ErrNotExist) && !force:
		s = nil
	case !force:
		return hintForce(err)
	default: // what may be there of it is where any container's is
		s = container.Unknown(id, cgroup.Default(id, e.rootless()))
		if err := container.Evict(e.containers(), id); err != nil && !errors.Is(err, container.ErrOwned) {
			return err
		}
	}
	if s != nil && runs(r, s) == nil {
		if !force {
			return fmt.Errorf("container %s is running: stop it first, or rm -f", r.Name)
		}
		if err := s.Signal(unix.SIGKILL); err != nil && !errors.Is(err, container.ErrGone) {
			return err
		}
		ended, err := s.WaitEnd(killTime)
		if err != nil {
			return err
		}
		if !ended {
			return fmt.Errorf("container %s: its first process, %d, has been killed and does not end\n"+
				"  because: it waits in the kernel, for a device, or for a process in it whose parent outside does not reap it", r.Name, s.Pid)
		}
		if err := e.settle(r); err != nil {
			return err
		}
	}
	claim, err := container.Take(e.containers(), id)
	// Its owner may just be handing it to another process: look again.
	for end := time.Now().Add(killTime); force && errors.Is(err, container.ErrOwned) && time.Now().Before(end); {
		if err := container.Evict(e.containers(), id); errors.Is(err, container.ErrOwned) {
			time.Sleep(5 * time.Millisecond)
		}
		e.sweep()
		claim, err = container.Take(e.containers(), id)
	}
	if errors.Is(err, container.ErrOwned) {
		return fmt.Errorf("container %s is being made, or removed, by another command\n  try: porthole rm -f, which ends that command", cmp.Or(r.Name, short(id)))
	}
	if errors.Is(err, fs.ErrNotExist) { // it goes by itself: --rm, or another rm
		e.dropNames(id)
		return e.settle(r)
	}
	if err != nil {
		return err
	}
	if s != nil {
		if err := s.Destroy(e.facts); err != nil {
			claim.Release()
			return err
		}
	}
	if r.Name == "" {
		e.dropNames(id)
	}
	if !volumes {
		return e.bury(r, claim)
	}
	return e.discard(r, claim)
}

// killTime is how long a killed process is waited for.
const killTime = 10 * time.Second

// Inspect is everything that is known of a container.
type Inspect struct {
	ID      string `json:"Id"`
	Name    string
	Created time.Time
	Path    string
	Args    []string
	Image   string
	State   *container.State
	Dir     string
	Spec    any
	Record  *Record
}

// Inspect returns what `porthole inspect` shows: the record, the state, and the OCI spec it was made from,
// which is left out where that can no longer be told.
func (e *Engine) Inspect(ref string) (*Inspect, error) {
	r, s, err := e.open(ref)
	if err != nil {
		return nil, err
	}
	i := &Inspect{ID: r.ID, Name: r.Name, Created: r.Created, Image: r.Image, State: s, Dir: e.dir(r.ID), Record: r}
	if len(r.Command) > 0 {
		i.Path, i.Args = r.Command[0], r.Command[1:]
	}
	// The spec follows from the workload, the image and the machine: what is a function of them needs no
	// file of its own, which would cost every start half a millisecond.
	if r.Image != "host" {
		if _, err := e.local(r.Image); err != nil {
			return i, nil // its image has been removed
		}
	}
	silent := *e
	silent.warn = func(string) {}
	if p, err := silent.prepare(context.Background(), r, i.Dir); err == nil {
		i.Spec = p.config.Spec
	}
	return i, nil
}
