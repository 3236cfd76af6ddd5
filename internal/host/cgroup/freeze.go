package cgroup

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// State says whether a group's processes run.
type State string

// The states, in the kernel's own words.
const (
	Thawed   State = "thawed"
	Freezing State = "freezing"
	Frozen   State = "frozen"
)

// ErrNoFreezer is returned where the group is in no hierarchy that can freeze it.
var ErrNoFreezer = errors.New("pausing needs the freezer controller or cgroup v2, and this group has neither")

// freezer is the place where the group is frozen, and the files there.
func (g *Group) freezer() (p place, file, freeze, thaw string, err error) {
	for _, p := range g.places {
		if p.V2 && exists(p.dir, "cgroup.freeze") { // 5.2
			return p, "cgroup.freeze", "1", "0", nil
		}
	}
	for _, p := range g.places {
		if p.has("freezer") {
			return p, "freezer.state", "FROZEN", "THAWED", nil
		}
	}
	return place{}, "", "", "", ErrNoFreezer
}

// Freeze stops every process in the group and returns when all stand still.
// If some do not within two seconds it lets all go on, and fails.
func (g *Group) Freeze() error {
	err := g.hold()
	if err != nil && !errors.Is(err, ErrNoFreezer) {
		err = errors.Join(err, g.thaw())
	}
	return err
}

func (g *Group) hold() error {
	p, file, freeze, thaw, err := g.freezer()
	if err != nil {
		return err
	}
	deadline := time.Now().Add(patience)
	for try := 1; ; try++ {
		// In v1, processes that fork meanwhile may escape a request; it is repeated, and now and
		// then taken back, so that whoever waits in the kernel for a frozen one gets on.
		if try == 1 || !p.V2 {
			if err := write(p.dir, file, freeze); err != nil {
				return err
			}
		}
		if s, err := g.state(p); err != nil || s == Frozen {
			return err
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("%s: some processes did not freeze", p.dir)
		}
		if !p.V2 && try%50 == 0 {
			if err := write(p.dir, file, thaw); err != nil {
				return err
			}
		}
		time.Sleep(min(time.Duration(try)*20*time.Microsecond, 5*time.Millisecond))
	}
}

// Thaw lets the group's processes go on.
func (g *Group) Thaw() error {
	p, file, _, thaw, err := g.freezer()
	if err != nil {
		return err
	}
	return write(p.dir, file, thaw)
}

// thaw is Thaw where nothing may be frozen, or gone.
func (g *Group) thaw() error {
	err := g.Thaw()
	if errors.Is(err, ErrNoFreezer) || errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ENODEV) {
		return nil
	}
	return err
}

// State says whether the group is frozen, itself or by a group above it.
func (g *Group) State() (State, error) {
	p, _, _, _, err := g.freezer()
	if errors.Is(err, ErrNoFreezer) {
		return Thawed, nil
	}
	if err != nil {
		return "", err
	}
	return g.state(p)
}

// moving fails where the group is frozen, or on its way there, in whichever hierarchy: somebody may have used another
// one than we would.
func (g *Group) moving() error {
	for _, p := range g.places {
		if p.V2 && !exists(p.dir, "cgroup.freeze") || !p.V2 && !p.has("freezer") {
			continue
		}
		if s, err := g.state(p); err != nil {
			return err
		} else if s != Thawed {
			return ErrFrozen
		}
	}
	return nil
}

func (g *Group) state(p place) (State, error) {
	if !p.V2 {
		text, err := read(p.dir, "freezer.state")
		return State(strings.ToLower(strings.TrimSpace(text))), err
	}
	events, err := read(p.dir, "cgroup.events")
	if err != nil {
		return "", err
	}
	if field(events, "frozen") == 1 {
		return Frozen, nil
	}
	asked, err := read(p.dir, "cgroup.freeze")
	if err != nil {
		return "", err
	}
	if strings.TrimSpace(asked) == "1" {
		return Freezing, nil
	}
	return Thawed, nil
}
