package cgroup

import (
	"fmt"
	"path"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// Sub is the group's children at the places that runc's exec --cgroup names: one path for all hierarchies, or
// "controller,controller:path" for some, which leaves the others where they are. They are not made here.
func (g *Group) Sub(at []string) (*Group, error) {
	sub := *g
	sub.places = slices.Clone(g.places)
	said := map[string]bool{}
	for _, a := range at {
		names, beneath, some := strings.Cut(a, ":")
		if !some && len(at) > 1 {
			return nil, fmt.Errorf("invalid --cgroup argument: %s (missing <controller>: prefix)", a)
		}
		if !some {
			beneath, names = a, ""
		}
		for _, c := range strings.Split(names, ",") {
			if some && (c == "" || said[c]) {
				return nil, fmt.Errorf("invalid --cgroup argument: %s (controller %q)", a, c)
			}
			said[c] = true
			known := !some
			for i, p := range g.places {
				if some && !p.has(c) {
					continue
				}
				known = true
				dir := path.Join(p.dir, beneath)
				if dir != p.dir && !strings.HasPrefix(dir, p.dir+"/") {
					return nil, fmt.Errorf("bad sub cgroup path: %s", beneath)
				}
				sub.places[i].dir = dir
			}
			if !known {
				return nil, fmt.Errorf("unknown controller %s in --cgroup", c)
			}
		}
	}
	return &sub, nil
}

// Beside is the group for one more process of a container whose first one is pid. In v2 a group that has given its
// controllers to groups beneath it takes no process any more (cgroup_migrate_vet_dst, kernel/cgroup/cgroup.c), and one that
// its processes have left may be gone: then it is where pid is now.
func (g *Group) Beside(pid int) *Group {
	for i, p := range g.places {
		if !p.V2 {
			continue
		}
		if passed, err := read(p.dir, "cgroup.subtree_control"); err == nil && strings.TrimSpace(passed) == "" {
			continue
		}
		text, err := read("/proc/"+strconv.Itoa(pid), "cgroup")
		if err != nil {
			continue
		}
		for line := range strings.Lines(text) {
			at, own := strings.CutPrefix(strings.TrimSpace(line), "0::")
			if dir := path.Join(p.Mount, at); own && unix.Access(dir+"/cgroup.procs", unix.F_OK) == nil {
				near := *g
				near.places = slices.Clone(g.places)
				near.places[i].dir = dir
				return &near
			}
		}
	}
	return g
}
