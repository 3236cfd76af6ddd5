package engine

import (
	"errors"
	"fmt"
	"io/fs"
	"time"

	"github.com/docker/go-units"

	"porthole/internal/engine/container"
)

// Info is a container as `ps` shows it.
type Info struct {
	*Record
	State *container.State
}

// StatusText says in Docker's words how the container is doing.
func (i Info) StatusText(now time.Time) string {
	s := i.State
	switch s.Status {
	case container.Running:
		return "Up " + units.HumanDuration(now.Sub(s.Made))
	case container.Paused:
		return "Up " + units.HumanDuration(now.Sub(s.Made)) + " (Paused)"
	case container.Stopped:
		code := "unknown"
		if s.Exit != nil {
			code = fmt.Sprint(s.Exit.Code)
		}
		if s.Finished.IsZero() {
			return fmt.Sprintf("Exited (%s)", code)
		}
		return fmt.Sprintf("Exited (%s) %s ago", code, units.HumanDuration(now.Sub(s.Finished)))
	}
	return "Created"
}

// List returns the containers that run, or with all those that have stopped as well, newest first.
func (e *Engine) List(all bool) ([]Info, error) {
	e.sweep()
	rs, err := e.records()
	if err != nil {
		return nil, err
	}
	var list []Info
	for _, r := range rs {
		s, err := container.Load(e.dir(r.ID))
		if errors.Is(err, fs.ErrNotExist) {
			continue // being made, or being removed
		}
		if err != nil {
			e.warn(hintForce(err).Error())
			continue
		}
		if all || s.Status == container.Running || s.Status == container.Paused {
			list = append(list, Info{r, s})
		}
	}
	return list, nil
}

func (e *Engine) running(id string) (bool, error) {
	s, err := container.Load(e.dir(id))
	if err != nil {
		return false, err
	}
	return s.Status == container.Running || s.Status == container.Paused || s.Status == container.Created || s.Status == container.Creating, nil
}
