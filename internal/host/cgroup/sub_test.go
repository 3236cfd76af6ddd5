package cgroup

import (
	"errors"
	"os"
	"path"
	"strings"
	"testing"

	specs "github.com/opencontainers/runtime-spec/specs-go"

	"porthole/facts"
)

// A group that is frozen, or lies beneath a frozen one, would hold its container's first process for ever.
func TestFrozenBefore(t *testing.T) {
	versions(t, func(t *testing.T, f facts.Cgroup) {
		top := create(t, Config{Path: under + "/ice", Everywhere: true}, f)
		n := 0
		for _, p := range top.places {
			file, freeze, thaw := "freezer.state", "FROZEN", "THAWED"
			if p.V2 {
				file, freeze, thaw = "cgroup.freeze", "1", "0"
			}
			if !exists(p.dir, file) {
				continue
			}
			n++
			if err := write(p.dir, file, freeze); err != nil {
				t.Fatal(err)
			}
			for _, at := range []string{under + "/ice", under + "/ice/beneath"} {
				if g, err := Create(Config{Path: at, Everywhere: true}, f); !errors.Is(err, ErrFrozen) {
					t.Errorf("%s, with %s frozen: %v", at, p.dir, err)
					if err == nil {
						g.Delete()
					}
				}
			}
			if err := write(p.dir, file, thaw); err != nil {
				t.Fatal(err)
			}
		}
		if n == 0 {
			t.Skip("nothing freezes here")
		}
		g, err := Create(Config{Path: under + "/ice/beneath"}, f)
		if err != nil {
			t.Fatal(err)
		}
		if err := g.Delete(); err != nil {
			t.Error(err)
		}
	})
}

// exec --cgroup names groups beneath the container's, for all hierarchies or for some.
func TestSub(t *testing.T) {
	f := facts.Cgroup{Hierarchies: []facts.Hierarchy{
		{Mount: "/c/cpu", Controllers: []string{"cpu", "cpuacct"}}, {Mount: "/c/memory", Controllers: []string{"memory"}},
	}}
	g, err := Open(map[string]string{"cpu": "/c/cpu/x", "memory": "/c/memory/x"}, f)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		at          []string
		cpu, memory string
		fails       string
	}{
		{nil, "/c/cpu/x", "/c/memory/x", ""},
		{[]string{"a"}, "/c/cpu/x/a", "/c/memory/x/a", ""},
		{[]string{"/"}, "/c/cpu/x", "/c/memory/x", ""},
		{[]string{"cpu,cpuacct:a"}, "/c/cpu/x/a", "/c/memory/x", ""},
		{[]string{"memory:b/c", "cpu:a"}, "/c/cpu/x/a", "/c/memory/x/b/c", ""},
		{[]string{".."}, "", "", "bad sub cgroup path"},
		{[]string{"../x-other"}, "", "", "bad sub cgroup path"},
		{[]string{"cpu:../x-other"}, "", "", "bad sub cgroup path"},
		{[]string{"pids:a"}, "", "", "unknown controller pids"},
		{[]string{":a"}, "", "", "controller"},
		{[]string{"a", "cpu:b"}, "", "", "prefix"},
		{[]string{"cpu:a", "cpu:b"}, "", "", "controller"},
	} {
		s, err := g.Sub(c.at)
		switch {
		case c.fails != "":
			if err == nil || !strings.Contains(err.Error(), c.fails) {
				t.Errorf("%q: %v, want %q", c.at, err, c.fails)
			}
		case err != nil:
			t.Errorf("%q: %v", c.at, err)
		case s.Paths()["cpu"] != c.cpu || s.Paths()["memory"] != c.memory:
			t.Errorf("%q: %v", c.at, s.Paths())
		}
	}
	if g.Paths()["cpu"] != "/c/cpu/x" {
		t.Errorf("the group itself has moved to %v", g.Paths())
	}
}

// No process at all is for the kernel less than the first one, which is there.
func TestNoProcess(t *testing.T) {
	versions(t, func(t *testing.T, f facts.Cgroup) {
		if _, ok := f.Find("pids"); !ok {
			t.Skip("no pids controller here")
		}
		g := create(t, Config{Path: under + "/none", Resources: &specs.LinuxResources{Pids: &specs.LinuxPids{Limit: ptr[int64](0)}}}, f)
		p, _ := g.at("pids")
		if text, err := os.ReadFile(path.Join(p.dir, "pids.max")); err != nil || string(text) != "1\n" {
			t.Errorf("pids.max: %q, %v", text, err)
		}
	})
}
