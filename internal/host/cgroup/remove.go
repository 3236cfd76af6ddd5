package cgroup

import (
	"errors"
	"fmt"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// patience is how long Delete waits for processes that are ending: the kernel takes them out of
// their group only after their parent has heard of the end.
const patience = 2 * time.Second

// End kills what is in the group, and removes it. One that can be removed is empty: mostly nothing has to be
// looked for.
func (g *Group) End() error {
	if g.unit != nil {
		return errors.Join(g.Kill(), g.Delete())
	}
	for _, p := range g.places {
		if err := unix.Rmdir(p.dir); err != nil && err != unix.ENOENT {
			return errors.Join(g.Kill(), g.Delete())
		}
	}
	return nil
}

// Delete removes the group, and those beneath it that the container made. It kills
// nothing: processes that are still there after a while are an error, which names them. systemd, where the group
// is a unit of its, is told to take the unit away, and ends them.
func (g *Group) Delete() error {
	deadline := time.Now().Add(patience)
	var errs []error
	if g.unit != nil {
		errs = append(errs, g.unit.stop())
	}
	for _, p := range g.places {
		if err := remove(p.dir, deadline); err != nil {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

func remove(dir string, deadline time.Time) error {
	for pause := 50 * time.Microsecond; ; pause = min(2*pause, 20*time.Millisecond) {
		err := unix.Rmdir(dir)
		switch err {
		case nil, unix.ENOENT:
			return nil
		case unix.EBUSY, unix.EINTR:
		default:
			return fmt.Errorf("rmdir %s: %w", dir, err)
		}
		if names := children(dir); len(names) > 0 {
			for _, name := range names {
				if err := remove(dir+"/"+name, deadline); err != nil {
					return err
				}
			}
			continue
		}
		if time.Now().After(deadline) {
			pids, _ := readPIDs(dir, nil)
			return fmt.Errorf("rmdir %s: %w: processes %d", dir, err, pids)
		}
		time.Sleep(pause)
	}
}

// Kill ends every process in the group and beneath it, frozen ones too, and returns when
// none is left. It fails if some are after a while: those that sleep uninterruptibly, for instance.
func (g *Group) Kill() error {
	deadline := time.Now().Add(patience)
	whole := false // cgroup.kill leaves no gap for a fork to slip through (5.14)
	for _, p := range g.places {
		if p.V2 && write(p.dir, "cgroup.kill", "1") == nil {
			whole = true
		}
	}
	for pause := 100 * time.Microsecond; ; pause = min(2*pause, 20*time.Millisecond) {
		pids, err := g.PIDs()
		if err != nil {
			return err
		}
		if len(pids) == 0 {
			if whole {
				return g.thaw()
			}
			return nil
		}
		if !whole {
			// Held still, none can fork between being listed and being killed.
			_ = g.hold()
			pids, _ = g.PIDs()
		}
		for _, pid := range pids {
			_ = unix.Kill(pid, unix.SIGKILL)
		}
		if err := g.thaw(); err != nil { // in v1 a frozen process dies when it thaws
			return err
		}
		if pause > time.Millisecond {
			g.fetch(pids)
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("processes %d of %s are still there after SIGKILL", pids, g.path)
		}
		time.Sleep(pause)
	}
}

// fetch takes processes back that somebody has put into another v1 group to freeze them: once they are in their own,
// which is not frozen, they go on (freezer_attach, kernel/cgroup/legacy_freezer.c).
func (g *Group) fetch(pids []int) {
	for _, p := range g.places {
		for _, pid := range pids {
			if !p.V2 && p.has("freezer") {
				_ = write(p.dir, "cgroup.procs", strconv.Itoa(pid)) // it may have ended meanwhile
			}
		}
	}
}
