// Package cgroup makes a container's control group, bounds it, watches it, freezes it,
// kills what is in it and removes it, in cgroup v1, v2 and the hybrid of both.
//
// It talks to cgroupfs and to nothing else. What a group's limits mean as files and
// values is worked out first (limits.go, devices.go) and written then, so that a limit which
// cannot be honoured is refused before anything is made.
package cgroup

import (
	"errors"
	"fmt"
	"path"
	"slices"
	"strconv"
	"strings"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"porthole/facts"
)

// Config says which group is made.
type Config struct {
	// Path as in OCI's linux.cgroupsPath. An absolute one is beneath the top of each
	// hierarchy; a relative one beneath our own group (v1), or beside it (v2, where a group with
	// processes of its own can give its children no controllers).
	Path      string
	Resources *specs.LinuxResources // may be nil

	// Everywhere makes the group in every hierarchy, for engines that read statistics
	// from all of them. Without it those which neither bound nor count anything that was
	// asked for are left out: each costs a tenth of a millisecond.
	Everywhere bool

	// Unit, where not nil, has systemd make the group, and Path counts for nothing.
	Unit *Unit

	// Rootless says that we act as an ordinary user: hierarchies that are not delegated to us
	// are left out, and so are device rules, which only the machine's root may set. Such a user's
	// container reaches no device but those that file permissions give.
	Rootless bool
}

// Default is the path of a container's group when nobody names one: "/porthole/ID", or
// for an ordinary user "porthole-ID" near our own group.
func Default(id string, rootless bool) string {
	if rootless {
		return "porthole-" + id
	}
	return "/porthole/" + id
}

// ErrUnavailable is what Create's error wraps where no group can be made and none was
// needed for a limit: no cgroupfs, a read-only one, or none that is delegated to us.
// A container can run without; whoever starts it says so once.
var ErrUnavailable = errors.New("no control group can be made here")

// ErrExists is what Create's error wraps where the group is there already and processes are in it.
var ErrExists = errors.New("container's cgroup is not empty")

// ErrFrozen is what Create's error wraps where the group is there already and frozen, or one above it is: whatever came
// into it would stand still before it had begun. In runc's words, as those of ErrExists.
var ErrFrozen = errors.New("container's cgroup unexpectedly frozen")

// LimitError is a limit that cannot be honoured. Nothing was made, or changed.
type LimitError struct {
	Flag  string // Docker's, "--memory"; "" where there is none
	Field string // OCI's, "linux.resources.memory.limit"
	Why   string
	Err   error // the kernel's own word, if it was asked
}

func (e *LimitError) Error() string {
	name := e.Flag
	if name == "" {
		name = e.Field
	}
	switch {
	case e.Err == nil:
		return name + ": " + e.Why
	case e.Why == "":
		return name + ": " + e.Err.Error()
	}
	return name + ": " + e.Why + ": " + e.Err.Error()
}

func (e *LimitError) Unwrap() error { return e.Err }

// Group is one control group, seen in each of the hierarchies that it was made in.
type Group struct {
	places   []place
	facts    facts.Cgroup
	path     string
	rootless bool
	made     []string // directories that are ours to take back, until Create has succeeded
	unit     *unit    // systemd's, where it has made the group
}

// place is a group in one hierarchy.
type place struct {
	facts.Hierarchy
	dir string
}

func (p place) has(controller string) bool { return slices.Contains(p.Controllers, controller) }

// Create makes a group and sets its limits; no process is in it yet. Its failures leave
// nothing behind. Whoever gets a Group ends it with Delete.
func Create(c Config, f facts.Cgroup) (*Group, error) {
	if c.Unit == nil && (c.Path == "" || path.Clean("/"+c.Path) == "/" || slices.Contains(strings.Split(c.Path, "/"), "..")) {
		return nil, fmt.Errorf("control group path %q: want the path of a group beneath the top", c.Path)
	}
	r := c.Resources
	if r == nil {
		r = &specs.LinuxResources{}
	}
	want, err := limits(r, f)
	if err != nil {
		return nil, err
	}
	var rules *deviceList
	if !c.Rootless {
		if rules, err = devices(r.Devices); err != nil {
			return nil, err
		}
	}
	g := &Group{facts: f, path: c.Path, rootless: c.Rootless}
	if c.Unit != nil {
		if err := g.begin(c, want, rules); err != nil {
			return nil, err
		}
	}
	err = g.make(c, want)
	if err == nil {
		err = g.moving()
	}
	if err == nil {
		err = g.apply(want)
	}
	if err == nil {
		err = g.setDevices(rules)
	}
	if err != nil {
		err = errors.Join(err, g.undo(0))
		if g.unit != nil {
			err = errors.Join(err, g.unit.stop())
		}
		return nil, err
	}
	g.made = nil
	return g, nil
}

// idle are the controllers that only a limit gives something to do. What is left counts
// (cpu, cpuacct, memory, pids), holds (freezer), guards (devices), or tells systemd, which
// would else end a container with the session or service that started it (name=systemd).
var idle = []string{"blkio", "cpuset", "hugetlb", "io", "misc", "net_cls", "net_prio", "perf_event", "rdma", "dmem"}

// make makes the group's directories.
func (g *Group) make(c Config, want []setting) error {
	var denied error
	for _, h := range g.facts.Hierarchies {
		needed, wanted := g.wants(h, c, want)
		if !wanted {
			continue
		}
		err := g.join(h, want, c.Everywhere)
		var limit *LimitError
		switch {
		case err == nil:
		case errors.As(err, &limit):
			return err
		case forbidden(err):
			denied = err
			if needed >= 0 {
				s := want[needed]
				return &LimitError{s.flag, s.field, "needs the " + s.controller + " controller, and no group of it is ours to make", err}
			}
			if !c.Rootless && len(g.places) > 0 { // half a container is worse than none
				return err
			}
		default:
			return err
		}
	}
	if len(g.places) > 0 {
		return nil
	}
	if denied == nil {
		return fmt.Errorf("%w: no cgroup file system is mounted", ErrUnavailable)
	}
	return fmt.Errorf("%w: %w", ErrUnavailable, denied)
}

// wants says whether the group is to be made in a hierarchy, and which of the limits needs it there (-1: none).
func (g *Group) wants(h facts.Hierarchy, c Config, want []setting) (needed int, wanted bool) {
	needed = needs(want, func(c string) bool { return serves(h, c) })
	switch {
	case needed >= 0 || c.Everywhere:
		return needed, true
	case h.V2:
		return -1, g.facts.Mode != facts.CgroupHybrid // Docker leaves it out there, too
	}
	return -1, slices.ContainsFunc(h.Controllers, func(c string) bool {
		return c == "name=systemd" || !strings.HasPrefix(c, "name=") && !slices.Contains(idle, c)
	})
}

// Would returns what Paths would of the group that Create makes of c, and makes nothing. It
// does not know where the kernel will refuse.
func Would(c Config, f facts.Cgroup) (map[string]string, error) {
	r := c.Resources
	if r == nil {
		r = &specs.LinuxResources{}
	}
	want, err := limits(r, f)
	if err != nil {
		return nil, err
	}
	g := &Group{facts: f, path: c.Path, rootless: c.Rootless}
	if c.Unit != nil {
		if _, g.path, err = newUnit(c.Unit.Path, c.Rootless); err != nil {
			return nil, err
		}
	}
	for _, h := range f.Hierarchies {
		if _, wanted := g.wants(h, c, want); wanted {
			g.places = append(g.places, place{h, g.dir(h)})
		}
	}
	return g.Paths(), nil
}

func forbidden(err error) bool {
	return errors.Is(err, unix.EACCES) || errors.Is(err, unix.EPERM) || errors.Is(err, unix.EROFS)
}

// join makes the group in one hierarchy, or nothing.
func (g *Group) join(h facts.Hierarchy, want []setting, everywhere bool) error {
	p := place{h, g.dir(h)}
	before := len(g.made)
	err := g.mkdir(h.Mount, p.dir)
	if err == unix.EEXIST {
		var pids []int
		if pids, err = readPIDs(p.dir, nil); err == nil && len(pids) > 0 && g.unit == nil {
			err = fmt.Errorf("%s: %w", p.dir, ErrExists)
		}
	} else if err != nil {
		err = fmt.Errorf("mkdir %s: %w", p.dir, err)
	}
	switch {
	case err != nil:
	case h.V2:
		err = g.enable(p, want, everywhere)
	case p.has("cpuset"):
		err = fillCpuset(h.Mount, p.dir)
	}
	if err != nil {
		return errors.Join(err, g.undo(before))
	}
	g.places = append(g.places, p)
	return nil
}

// dir is where the group is in a hierarchy.
func (g *Group) dir(h facts.Hierarchy) string {
	if strings.HasPrefix(g.path, "/") {
		return path.Join(h.Mount, g.path)
	}
	near := h.Own
	if h.V2 && near != "/" {
		if beside := path.Dir(near); unix.Access(h.Mount+beside, unix.W_OK) == nil {
			near = beside
		}
	}
	return path.Join(h.Mount, near, g.path)
}

// mkdir makes dir, and what is missing between it and top.
func (g *Group) mkdir(top, dir string) error {
	err := unix.Mkdir(dir, 0o755)
	if err == unix.ENOENT && len(dir) > len(top) {
		if err := g.mkdir(top, path.Dir(dir)); err != nil && err != unix.EEXIST {
			return err
		}
		err = unix.Mkdir(dir, 0o755)
	}
	if err == nil {
		g.made = append(g.made, dir)
	}
	return err
}

// undo takes back what was made, but for the first directories.
func (g *Group) undo(first int) error {
	var errs []error
	for _, dir := range slices.Backward(g.made[first:]) {
		if err := unix.Rmdir(dir); err != nil && err != unix.ENOENT {
			errs = append(errs, fmt.Errorf("rmdir %s: %w", dir, err))
		}
	}
	g.made = g.made[:first]
	return errors.Join(errs...)
}

// enable gives the group its controllers (v2): each group above it must pass them down.
// Those that only count are passed where they may be, those that a limit needs must be.
func (g *Group) enable(p place, want []setting, everywhere bool) error {
	limit := func(c string) int { return needs(want, func(s string) bool { return s == c }) }
	for i, c := range strings.TrimPrefix(p.dir, p.Mount) {
		if c != '/' {
			continue
		}
		dir := p.dir[:len(p.Mount)+i]
		text, err := read(dir, "cgroup.subtree_control")
		if err != nil {
			return err
		}
		passed := strings.Fields(text)
		var more []string
		for _, c := range p.Controllers {
			if !slices.Contains(passed, c) && (everywhere || !slices.Contains(idle, c) || limit(c) >= 0) {
				more = append(more, "+"+c)
			}
		}
		if len(more) == 0 || write(dir, "cgroup.subtree_control", strings.Join(more, " ")) == nil {
			continue
		}
		for _, c := range more { // all or none was none: which?
			err := write(dir, "cgroup.subtree_control", c)
			l := limit(c[1:])
			if err == nil || l < 0 {
				continue
			}
			why := "needs the " + c[1:] + " controller, which is not delegated to us"
			if errors.Is(err, unix.EBUSY) {
				why = "needs the " + c[1:] + " controller, which a group with processes of its own cannot pass down"
			}
			return &LimitError{want[l].flag, want[l].field, why, err}
		}
	}
	return nil
}

// Open returns the group whose directories Paths named; keys other than those of its
// controllers are ignored. Directories that are gone are no error until they are used.
func Open(paths map[string]string, f facts.Cgroup) (*Group, error) {
	g := &Group{facts: f}
	for _, h := range f.Hierarchies {
		keys := h.Controllers
		if h.V2 {
			keys = []string{""}
		}
		for _, k := range keys {
			if dir := paths[k]; dir != "" {
				if !strings.HasPrefix(dir, h.Mount+"/") {
					return nil, fmt.Errorf("control group %s is not in the hierarchy at %s", dir, h.Mount)
				}
				g.places = append(g.places, place{h, dir})
				g.path = strings.TrimPrefix(dir, h.Mount)
				break
			}
		}
	}
	return g, nil
}

// Find returns the group that stands at a path as Config's, in whichever hierarchies it does:
// what a start that was cut short left behind. It is nil where there is none.
func Find(at string, rootless bool, f facts.Cgroup) *Group {
	g := &Group{facts: f, path: at, rootless: rootless}
	for _, h := range f.Hierarchies {
		if dir := g.dir(h); unix.Access(dir+"/cgroup.procs", unix.F_OK) == nil {
			g.places = append(g.places, place{h, dir})
		}
	}
	if len(g.places) == 0 {
		return nil
	}
	return g
}

// List names, sorted, the groups directly beneath a path as Config's, over all hierarchies.
func List(at string, rootless bool, f facts.Cgroup) []string {
	g := &Group{facts: f, path: at, rootless: rootless}
	var names []string
	for _, h := range f.Hierarchies {
		names = append(names, children(g.dir(h))...)
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// Prune removes the group at a path as Config's wherever it is empty: the one over all containers',
// which Delete leaves for the next.
func Prune(at string, rootless bool, f facts.Cgroup) {
	g := &Group{facts: f, path: at, rootless: rootless}
	for _, h := range f.Hierarchies {
		_ = unix.Rmdir(g.dir(h))
	}
}

// Paths returns the group's directory by controller: "memory", "name=systemd", and "" for the
// v2 hierarchy, as a container's state file keeps them.
func (g *Group) Paths() map[string]string {
	m := map[string]string{}
	for _, p := range g.places {
		if p.V2 {
			m[""] = p.dir
			continue
		}
		for _, c := range p.Controllers {
			m[c] = p.dir
		}
	}
	return m
}

// Dir opens the group's directory in the v2 hierarchy, for clone3's CLONE_INTO_CGROUP; -1 without
// an error where it has none. The caller closes it.
func (g *Group) Dir() (int, error) {
	for _, p := range g.places {
		if p.V2 {
			fd, err := unix.Open(p.dir, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
			if err != nil {
				return -1, fmt.Errorf("%s: %w", p.dir, err)
			}
			return fd, nil
		}
	}
	return -1, nil
}

// Add moves a process into the group, in every hierarchy.
func (g *Group) Add(pid int) error { return g.add(pid, false) }

// AddBorn moves a process that was born in Dir: into the v1 hierarchies only.
func (g *Group) AddBorn(pid int) error { return g.add(pid, true) }

func (g *Group) add(pid int, born bool) error {
	for _, p := range g.places {
		if p.V2 && born {
			continue
		}
		if err := write(p.dir, "cgroup.procs", strconv.Itoa(pid)); err != nil {
			return fmt.Errorf("process %d: %w", pid, err)
		}
	}
	return nil
}

// PIDs returns the processes in the group and in those that the container made beneath it, ascending.
func (g *Group) PIDs() ([]int, error) {
	var pids []int
	for _, p := range g.places {
		var err error
		if pids, err = tree(p.dir, pids); err != nil && !errors.Is(err, unix.ENOENT) && !errors.Is(err, unix.ENODEV) {
			return nil, err
		}
	}
	slices.Sort(pids)
	return slices.Compact(pids), nil
}
