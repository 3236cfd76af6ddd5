// Package engine makes containers of images and workloads, and keeps them: run, exec, ps,
// stop, kill, rm, logs, and the images they are made from.
//
// run.go is the way of a container from workload to exit; prepare.go is what comes before
// anything is made.
package engine

import (
	"errors"
	"os"
	"path/filepath"
	"sync"

	"porthole/facts"
	"porthole/internal/engine/container"
	"porthole/internal/host/image"
)

// Engine keeps containers and images beneath one directory. It has no daemon: whatever runs is
// owned by the command that started it, or by a monitor of its own.
type Engine struct {
	root  string
	facts facts.Facts
	warn  func(string)

	// Progress, where not nil, is told how fetching an image gets on.
	Progress image.Progress
	// Registry is where images that are not here are fetched from; without one they are image.ErrNoRegistry.
	Registry image.Registry

	store func() (*image.Store, error)
}

// Open returns the engine whose things are kept beneath root, which need not be there yet.
// warn is told what a user should know that stops nothing.
func Open(root string, f facts.Facts, warn func(string)) (*Engine, error) {
	root, err := filepath.Abs(root)
	if err != nil {
		return nil, err
	}
	// A symbolic link on the way would be followed at every step; settle it now.
	if real, err := filepath.EvalSymlinks(root); err == nil {
		root = real
	}
	e := &Engine{root: root, facts: f, warn: warn}
	e.store = sync.OnceValues(func() (*image.Store, error) {
		s, err := image.Open(filepath.Join(root, "images"))
		if err == nil {
			s.Registry = e.Registry
		}
		return s, err
	})
	return e, nil
}

// Root is the directory beneath which everything is kept.
func (e *Engine) Root() string { return e.root }

// filters is where compiled filters are kept.
func (e *Engine) filters() container.Filters {
	return container.Filters(filepath.Join(e.root, "filters"))
}

// Facts is what is known of this machine.
func (e *Engine) Facts() facts.Facts { return e.facts }

// sweep takes away what owners that died have left, and says what it could not.
func (e *Engine) sweep() {
	err := container.Sweep(e.containers(), e.facts, e.outlives)
	if err != nil && !errors.Is(err, os.ErrPermission) {
		e.warn("cleaning up after a container whose owner died: " + err.Error())
	}
}

// outlives says whether a container whose owner died is kept, as one that has stopped. Of one that is not, it
// gives back the name and the volumes.
func (e *Engine) outlives(c *container.Claim, s *container.State) bool {
	if s != nil {
		if r, err := e.record(c.ID); err == nil && !r.Remove {
			return true
		}
	}
	e.dropNames(c.ID)
	if !c.Dying { // else those that were to go have gone
		if err := e.dropVolumes(c.ID); err != nil {
			e.warn(err.Error())
		}
	}
	return false
}
