package cgroup

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"porthole/facts"
	"porthole/internal/host/probe"
)

func ptr[T any](v T) *T { return &v }

func TestLifeOfAGroup(t *testing.T) {
	versions(t, func(t *testing.T, f facts.Cgroup) {
		for _, everywhere := range []bool{false, true} {
			name := fmt.Sprintf("%s/life-%v", under, everywhere)
			g, err := Create(Config{Path: name, Everywhere: everywhere}, f)
			if err != nil {
				t.Fatal(err)
			}
			s := newShell(t, g)
			// The process says itself where it is.
			text, err := os.ReadFile(fmt.Sprintf("/proc/%d/cgroup", s.Process.Pid))
			if err != nil {
				t.Fatal(err)
			}
			for line := range strings.Lines(string(text)) {
				_, rest, _ := strings.Cut(strings.TrimSpace(line), ":")
				names, at, _ := strings.Cut(rest, ":")
				first, _, _ := strings.Cut(names, ",")
				dir, in := g.Paths()[first]
				if in != (at == name) || in && !strings.HasSuffix(dir, name) {
					t.Errorf("the kernel says %s, Paths %q", line, dir)
				}
				if h, ok := f.Find(first); ok && everywhere && !in && h.Mount != "" {
					t.Errorf("not everywhere: %s", line)
				}
			}
			if pids, err := g.PIDs(); err != nil || !slices.Equal(pids, []int{s.Process.Pid}) {
				t.Errorf("processes %v, %v; want %d", pids, err, s.Process.Pid)
			}
			// A state file is enough to find it again.
			again, err := Open(g.Paths(), f)
			if err != nil || !reflect.DeepEqual(again.Paths(), g.Paths()) {
				t.Errorf("opened again: %v, %v", again, err)
			}
			if found := Find(name, false, f); found == nil || !reflect.DeepEqual(found.Paths(), g.Paths()) {
				t.Errorf("found: %v", found)
			}
			if names := List(under, false, f); !slices.Contains(names, path.Base(name)) {
				t.Errorf("beneath %s: %v", under, names)
			}
			if st := g.Stats(); len(g.Paths()) > 3 && (st.PIDs.Current != 1 || st.PIDs.Limit != NoLimit || st.Memory.Limit != NoLimit) {
				t.Errorf("counted %+v", st)
			}
			if err := again.Kill(); err != nil {
				t.Error(err)
			}
			s.end()
			if s.ProcessState.Sys().(syscall.WaitStatus).Signal() != unix.SIGKILL {
				t.Errorf("the process ended otherwise: %v", s.ProcessState)
			}
			if err := again.Delete(); err != nil {
				t.Error(err)
			}
			if err := g.Delete(); err != nil {
				t.Errorf("the second time: %v", err)
			}
			if Find(name, false, f) != nil {
				t.Error("there after Delete")
			}
		}
	})
}

func TestBornInside(t *testing.T) {
	versions(t, func(t *testing.T, f facts.Cgroup) {
		if _, ok := f.Find(""); !ok {
			t.Skip("needs a v2 hierarchy")
		}
		g := create(t, Config{Everywhere: true}, f)
		fd, err := g.Dir()
		if err != nil || fd < 0 {
			t.Fatal(fd, err)
		}
		defer unix.Close(fd)
		cmd := exec.Command("sleep", "100")
		cmd.SysProcAttr = &syscall.SysProcAttr{UseCgroupFD: true, CgroupFD: fd}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		defer func() { _ = cmd.Process.Kill(); _ = cmd.Wait() }()
		if err := g.AddBorn(cmd.Process.Pid); err != nil {
			t.Fatal(err)
		}
		for controller, dir := range g.Paths() {
			if pids, err := readPIDs(dir, nil); err != nil || !slices.Equal(pids, []int{cmd.Process.Pid}) {
				t.Errorf("%q: %v, %v", controller, pids, err)
			}
		}
	})
}

// resources ask for all that a machine's controllers can do with, each value unlike the kernel's default.
func resources(f facts.Cgroup) *specs.LinuxResources {
	r := &specs.LinuxResources{}
	has := func(c string) bool { _, ok := f.Find(c); return ok }
	if has("memory") {
		r.Memory = &specs.LinuxMemory{Limit: ptr(int64(64 << 20)), Swap: ptr(int64(96 << 20)), Reservation: ptr(int64(32 << 20))}
	}
	if has("cpu") {
		r.CPU = &specs.LinuxCPU{Shares: ptr(uint64(512)), Quota: ptr(int64(150000)), Period: ptr(uint64(50000))}
	}
	if has("cpuset") {
		if r.CPU == nil {
			r.CPU = &specs.LinuxCPU{}
		}
		r.CPU.Cpus, r.CPU.Mems = "0", "0"
	}
	if has("pids") {
		r.Pids = &specs.LinuxPids{Limit: ptr(int64(77))}
	}
	if major, minor, ok := disk(); ok && has("blkio") {
		at := specs.LinuxBlockIODevice{Major: major, Minor: minor}
		r.BlockIO = &specs.LinuxBlockIO{
			ThrottleReadBpsDevice:   []specs.LinuxThrottleDevice{{LinuxBlockIODevice: at, Rate: 1 << 20}},
			ThrottleWriteIOPSDevice: []specs.LinuxThrottleDevice{{LinuxBlockIODevice: at, Rate: 1000}},
		}
	}
	if has("hugetlb") {
		r.HugepageLimits = []specs.LinuxHugepageLimit{{Pagesize: "2MB", Limit: 4 << 20}}
	}
	return r
}

// disk is any whole block device.
func disk() (major, minor int64, ok bool) {
	entries, _ := os.ReadDir("/sys/block")
	for _, e := range entries {
		text, err := os.ReadFile("/sys/block/" + e.Name() + "/dev")
		if _, err2 := fmt.Sscanf(string(text), "%d:%d", &major, &minor); err == nil && err2 == nil {
			return major, minor, true
		}
	}
	return 0, 0, false
}

// check reads every setting back. The kernel may say more than was set ("8:0 rbps=1 wbps=max"), never less.
func check(t *testing.T, g *Group, r *specs.LinuxResources) {
	t.Helper()
	want, err := limits(r, g.facts)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range want {
		p, ok := g.at(s.controller)
		if !ok {
			t.Errorf("%s: the group is not there", s.controller)
			continue
		}
		text, err := read(p.dir, s.file)
		if err != nil {
			if !s.optional {
				t.Error(err)
			}
			continue
		}
		got := strings.Fields(text)
		for _, w := range strings.Fields(s.value) {
			if !slices.Contains(got, w) {
				t.Errorf("%s/%s: %q, wrote %q", p.dir, s.file, strings.TrimSpace(text), s.value)
			}
		}
	}
}

func TestLimits(t *testing.T) {
	versions(t, func(t *testing.T, f facts.Cgroup) {
		r := resources(f)
		g := create(t, Config{Resources: r}, f)
		check(t, g, r)
		s := newShell(t, g) // v1's cpuset takes no process unless its parents are filled
		if r.CPU != nil && r.CPU.Cpus != "" {
			if text, _ := s.say(t, "grep Cpus_allowed_list /proc/self/status"); !strings.HasSuffix(text, "\t0\n") {
				t.Errorf("the process says %q", text)
			}
		}
		if r.Pids == nil {
			return
		}
		if err := g.Set(&specs.LinuxResources{Pids: &specs.LinuxPids{Limit: ptr(int64(-1))}}); err != nil {
			t.Fatal(err)
		}
		if st := g.Stats(); st.PIDs.Limit != NoLimit {
			t.Errorf("no limit: %+v", st.PIDs)
		}
	})
}

func TestPidsLimitBites(t *testing.T) {
	f := machine(t)
	if _, ok := f.Find("pids"); !ok {
		t.Skip("needs the pids controller")
	}
	g := create(t, Config{Resources: &specs.LinuxResources{Pids: &specs.LinuxPids{Limit: ptr(int64(3))}}}, f)
	s := newShell(t, g)
	if text, ok := s.say(t, "sh -c 'sleep 0.1 & wait'"); !ok {
		t.Errorf("a third process was refused: %q", text)
	}
	if text, ok := s.say(t, "sh -c 'sleep 0.1 & sleep 0.1 & wait'"); ok {
		t.Errorf("a fourth process was made: %q", text)
	}
}

func TestSet(t *testing.T) {
	versions(t, func(t *testing.T, f facts.Cgroup) {
		g := create(t, Config{}, f)
		s := newShell(t, g)
		// From nothing: hierarchies that the group was not in yet take it, and its processes, in.
		r := resources(f)
		if err := g.Set(r); err != nil {
			t.Fatal(err)
		}
		check(t, g, r)
		for controller, dir := range g.Paths() {
			if pids, err := readPIDs(dir, nil); err != nil || !slices.Equal(pids, []int{s.Process.Pid}) {
				t.Errorf("%q: %v, %v", controller, pids, err)
			}
		}
		if r.Memory == nil {
			return
		}
		// Up and down, where the kernel minds the order of two files.
		for _, both := range [][2]int64{{128 << 20, 256 << 20}, {32 << 20, 48 << 20}, {512 << 20, 512 << 20}, {64 << 20, -1}, {-1, 0}} {
			r := &specs.LinuxResources{Memory: &specs.LinuxMemory{Limit: &both[0], Swap: &both[1]}}
			if err := g.Set(r); err != nil {
				t.Fatalf("%v: %v", both, err)
			}
			if st := g.Stats().Memory; both[0] > 0 && st.Limit != uint64(both[0]) || both[0] < 0 && st.Limit != NoLimit {
				t.Errorf("%v: limit %d", both, st.Limit)
			}
		}
		for _, cpu := range [][2]int64{{1000, 5000}, {900000, 1000000}, {20000, 20000}} {
			r := &specs.LinuxResources{CPU: &specs.LinuxCPU{Quota: &cpu[0], Period: ptr(uint64(cpu[1]))}}
			if err := g.Set(r); err != nil {
				t.Fatalf("%v: %v", cpu, err)
			}
			check(t, g, r)
		}
		// A period alone keeps the quota.
		if err := g.Set(&specs.LinuxResources{CPU: &specs.LinuxCPU{Period: ptr(uint64(40000))}}); err != nil {
			t.Fatal(err)
		}
		check(t, g, &specs.LinuxResources{CPU: &specs.LinuxCPU{Quota: ptr(int64(20000)), Period: ptr(uint64(40000))}})
		// One refusal, and all is as before.
		err := g.Set(&specs.LinuxResources{
			Memory: &specs.LinuxMemory{Limit: ptr(int64(99 << 20)), Swap: ptr(int64(99 << 20))},
			CPU:    &specs.LinuxCPU{Cpus: "4000-4001"},
		})
		var limit *LimitError
		if !errors.As(err, &limit) || limit.Flag != "--cpuset-cpus" {
			t.Errorf("CPUs that are not there: %v", err)
		}
		if st := g.Stats().Memory; st.Limit != NoLimit {
			t.Errorf("half an update was left: limit %d", st.Limit)
		}
		// Less than is in use.
		_, _ = s.say(t, "x=$(head -c 3000000 /dev/zero | tr '\\0' x)")
		err = g.Set(&specs.LinuxResources{Memory: &specs.LinuxMemory{Limit: ptr(int64(4096)), CheckBeforeUpdate: ptr(true)}})
		if !errors.As(err, &limit) || !strings.Contains(err.Error(), "in use") {
			t.Errorf("less than is in use: %v", err)
		}
	})
}

func TestOutOfMemory(t *testing.T) {
	f := machine(t)
	if _, ok := f.Find("memory"); !ok {
		t.Skip("needs the memory controller")
	}
	g := create(t, Config{Resources: &specs.LinuxResources{Memory: &specs.LinuxMemory{Limit: ptr(int64(16 << 20)), Swap: ptr(int64(16 << 20))}}}, f)
	s := newShell(t, g)
	if killed, err := g.OOMKilled(); killed || err != nil {
		t.Errorf("before: %v, %v", killed, err)
	}
	if text, ok := s.say(t, "dd if=/dev/zero of=/dev/null bs=64M count=1"); ok {
		t.Errorf("64 MiB fit into 16: %s", text)
	}
	if killed, err := g.OOMKilled(); !killed || err != nil {
		t.Errorf("after: %v, %v", killed, err)
	}
	if st := g.Stats().Memory; st.OOMKills != 1 || st.Limit != 16<<20 || st.Usage == 0 || st.Peak < 15<<20 {
		t.Errorf("counted %+v", st)
	}
}

func TestFreeze(t *testing.T) {
	versions(t, func(t *testing.T, f facts.Cgroup) {
		g := create(t, Config{}, f)
		s := newShell(t, g)
		if _, ok := s.say(t, "true"); !ok {
			t.Fatal("the shell does not answer")
		}
		state := func(want State) {
			t.Helper()
			if got, err := g.State(); got != want || err != nil {
				t.Errorf("%s, %v; want %s", got, err, want)
			}
		}
		state(Thawed)
		for range 3 {
			if err := g.Freeze(); err != nil {
				t.Fatal(err)
			}
			state(Frozen)
			answered := make(chan bool)
			go func() { _, ok := s.say(t, "true"); answered <- ok }()
			select {
			case <-answered:
				t.Fatal("a frozen shell answers")
			case <-time.After(30 * time.Millisecond):
			}
			if err := g.Thaw(); err != nil {
				t.Fatal(err)
			}
			state(Thawed)
			if !<-answered {
				t.Fatal("a thawed shell does not answer")
			}
		}
		// Frozen, and killed all the same.
		if err := g.Freeze(); err != nil {
			t.Fatal(err)
		}
		if err := g.Kill(); err != nil {
			t.Fatal(err)
		}
		s.end()
	})
}

// A family that goes on forking, partly in a group that it made itself.
func TestKillLeavesNone(t *testing.T) {
	versions(t, func(t *testing.T, f facts.Cgroup) {
		g := create(t, Config{}, f)
		s := newShell(t, g)
		for _, dir := range g.Paths() {
			if _, ok := s.say(t, fmt.Sprintf("mkdir -p %s/inner/most; (echo 0 > %[1]s/inner/most/cgroup.procs; exec sleep 1000) >/dev/null 2>&1 &", dir)); !ok {
				t.Fatal("cannot make a group inside")
			}
		}
		if _, ok := s.say(t, "for i in 1 2 3; do (while :; do sleep 0.01 & sleep 0.02; done) >/dev/null 2>&1 & done"); !ok {
			t.Fatal("cannot fork")
		}
		eventually(t, "many processes", func() bool { pids, _ := g.PIDs(); return len(pids) > 5 })
		pids, err := g.PIDs()
		if err != nil {
			t.Fatal(err)
		}
		if err := g.Kill(); err != nil {
			t.Fatal(err)
		}
		for _, pid := range pids {
			if pid != s.Process.Pid && alive(pid, g) {
				t.Errorf("process %d lives", pid)
			}
		}
		s.end()
		if err := g.Delete(); err != nil { // with the groups inside
			t.Error(err)
		}
	})
}

// alive says whether a process is in the group still: its number may be another's by now.
func alive(pid int, g *Group) bool {
	pids, _ := g.PIDs()
	return slices.Contains(pids, pid)
}

func TestDeleteKillsNothing(t *testing.T) {
	f := machine(t)
	g := create(t, Config{}, f)
	s := newShell(t, g)
	err := g.Delete()
	if !errors.Is(err, unix.EBUSY) || !strings.Contains(err.Error(), strconv.Itoa(s.Process.Pid)) {
		t.Errorf("with a process inside: %v", err)
	}
	if _, ok := s.say(t, "true"); !ok {
		t.Error("the process has ended")
	}
}

func TestRefusalsLeaveNothing(t *testing.T) {
	versions(t, func(t *testing.T, f facts.Cgroup) {
		_, cpuset := f.Find("cpuset")
		for _, c := range []struct {
			name string
			r    *specs.LinuxResources
			path string
			want string
		}{
			{"a controller that is not there", &specs.LinuxResources{Unified: map[string]string{"nosuch.max": "1"}}, "/a/b", `linux.resources.unified["nosuch.max"]: needs the nosuch controller, which is not there`},
			{"page size", &specs.LinuxResources{HugepageLimits: []specs.LinuxHugepageLimit{{Pagesize: "3MB", Limit: 1}}}, "/a/b", "linux.resources.hugepageLimits[0]"},
			{"device", &specs.LinuxResources{Devices: []specs.LinuxDeviceCgroup{{Type: "x"}}}, "/a/b", `--device-cgroup-rule: device type "x"`},
			{"CPUs", &specs.LinuxResources{CPU: &specs.LinuxCPU{Cpus: "4000"}}, "/a/b", "--cpuset-cpus"},
			{"the top", nil, "/", "want the path of a group"},
			{"no path", nil, "", "want the path of a group"},
			{"outside", nil, "/../x", "want the path of a group"},
		} {
			if c.name == "CPUs" && !cpuset {
				continue
			}
			if c.path != "/" && c.path != "" {
				c.path = under + c.path
			}
			g, err := Create(Config{Path: c.path, Resources: c.r}, f)
			if err == nil {
				t.Errorf("%s: %v was made", c.name, g.Paths())
			} else if !strings.Contains(err.Error(), c.want) {
				t.Errorf("%s: %v; want %s", c.name, err, c.want)
			}
			if left := ours(); len(left) > 0 {
				t.Errorf("%s: %v are left", c.name, left)
			}
		}
	})
}

func TestExists(t *testing.T) {
	versions(t, func(t *testing.T, f facts.Cgroup) {
		name := under + "/exists"
		g := create(t, Config{Path: name}, f)
		s := newShell(t, g)
		if _, err := Create(Config{Path: name, Everywhere: true}, f); !errors.Is(err, ErrExists) {
			t.Errorf("over another's: %v", err)
		}
		if pids, err := g.PIDs(); err != nil || !slices.Equal(pids, []int{s.Process.Pid}) {
			t.Errorf("the other's has %v, %v", pids, err)
		}
		s.end()
		eventually(t, "an empty group", func() bool { pids, _ := g.PIDs(); return len(pids) == 0 })
		if _, err := Create(Config{Path: name}, f); err != nil { // a left-over, or made by whoever started us
			t.Errorf("over an empty one: %v", err)
		}
	})
}

// children_ are what the test program does as another user.
var children_ = map[string]func() error{
	// nothing is delegated
	"stranger": func() error {
		f, err := probe.Facts()
		if err != nil {
			return err
		}
		name := Default(under[1:]+"-stranger", true)
		if g, err := Create(Config{Path: name, Rootless: true}, f.Cgroup); !errors.Is(err, ErrUnavailable) {
			return fmt.Errorf("without limits: %v, %v", g, err)
		}
		r := &specs.LinuxResources{Pids: &specs.LinuxPids{Limit: ptr(int64(3))}}
		var limit *LimitError
		if g, err := Create(Config{Path: name, Rootless: true, Resources: r}, f.Cgroup); !errors.As(err, &limit) || limit.Flag != "--pids-limit" || errors.Is(err, ErrUnavailable) {
			return fmt.Errorf("with a limit: %v, %v", g, err)
		}
		r = &specs.LinuxResources{Pids: &specs.LinuxPids{Limit: ptr(int64(-1))}, Devices: []specs.LinuxDeviceCgroup{{Access: "rwm"}}}
		if g, err := Create(Config{Path: name, Rootless: true, Resources: r}, f.Cgroup); !errors.Is(err, ErrUnavailable) {
			return fmt.Errorf("with limits that limit nothing: %v, %v", g, err)
		}
		return nil
	},
	// a part of the v2 hierarchy is ours, and we are in a group inside it
	"delegate": func() error {
		f, err := probe.Facts()
		if err != nil {
			return err
		}
		g, err := Create(Config{Path: Default("x", true), Rootless: true, Resources: &specs.LinuxResources{Devices: []specs.LinuxDeviceCgroup{{Access: "rwm"}}}}, v2Alone(f.Cgroup))
		if err != nil {
			return err
		}
		if dir := g.Paths()[""]; !strings.HasSuffix(dir, "/delegated/porthole-x") {
			return fmt.Errorf("made at %s", dir)
		}
		fd, err := g.Dir()
		if err != nil {
			return err
		}
		cmd := exec.Command("sleep", "100")
		cmd.SysProcAttr = &syscall.SysProcAttr{UseCgroupFD: true, CgroupFD: fd}
		if err := cmd.Start(); err != nil {
			return fmt.Errorf("born inside: %w", err)
		}
		moved := exec.Command("sleep", "100")
		if err := moved.Start(); err != nil {
			return err
		}
		err = g.Add(moved.Process.Pid)
		if pids, _ := g.PIDs(); len(pids) != 2 {
			err = errors.Join(err, fmt.Errorf("processes %v", pids))
		}
		err = errors.Join(err, g.Freeze(), g.Kill())
		_, _ = cmd.Process.Wait()
		_, _ = moved.Process.Wait()
		return errors.Join(err, g.Delete())
	},
}

func v2Alone(f facts.Cgroup) facts.Cgroup {
	v2, _ := f.Find("")
	return facts.Cgroup{Mode: facts.CgroupV2, Hierarchies: []facts.Hierarchy{v2}, Writable: true}
}

func asUser(t *testing.T, do string, dir int) {
	t.Helper()
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), child+"="+do)
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 1000, Gid: 1000}, UseCgroupFD: dir >= 0, CgroupFD: dir}
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%v: %s", err, out)
	}
}

func TestRootlessWithoutDelegation(t *testing.T) {
	machine(t)
	asUser(t, "stranger", -1)
}

func TestRootlessWithDelegation(t *testing.T) {
	f := machine(t)
	v2, ok := f.Find("")
	if !ok {
		t.Skip("needs a v2 hierarchy")
	}
	delegated := v2.Mount + under + "/delegated"
	if err := os.MkdirAll(delegated+"/own", 0o755); err != nil {
		t.Fatal(err)
	}
	for _, at := range []string{"", "/cgroup.procs", "/cgroup.subtree_control", "/own", "/own/cgroup.procs"} {
		if err := os.Chown(delegated+at, 1000, 1000); err != nil {
			t.Fatal(err)
		}
	}
	fd, err := unix.Open(delegated+"/own", unix.O_PATH|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	asUser(t, "delegate", fd)
}

// What the facts say of swap is so of a group.
func TestSwapLimitIsThere(t *testing.T) {
	f := machine(t)
	if _, ok := f.Find("memory"); !ok {
		t.Skip("needs the memory controller")
	}
	g := create(t, Config{}, f)
	p, _ := g.at("memory")
	file := "memory.memsw.limit_in_bytes"
	if p.V2 {
		file = "memory.swap.max"
	}
	if got := exists(p.dir, file); got != f.SwapLimit {
		t.Errorf("%s/%s: %v, the facts say %v", p.dir, file, got, f.SwapLimit)
	}
}

func TestPrune(t *testing.T) {
	f := machine(t)
	g := create(t, Config{Path: under + "/one"}, f)
	Prune(under, false, f)
	if Find(under+"/one", false, f) == nil {
		t.Fatal("a group went with the one over it")
	}
	if err := g.Delete(); err != nil {
		t.Fatal(err)
	}
	Prune(under, false, f)
	if left := ours(); len(left) > 0 {
		t.Errorf("%v are left", left)
	}
}

func TestNoCgroupsAtAll(t *testing.T) {
	if g, err := Create(Config{Path: "/x"}, facts.Cgroup{}); !errors.Is(err, ErrUnavailable) {
		t.Errorf("%v, %v", g, err)
	}
	_, err := Create(Config{Path: "/x", Resources: &specs.LinuxResources{Memory: &specs.LinuxMemory{Limit: ptr(int64(1 << 20))}}}, facts.Cgroup{})
	if want := "--memory: needs the memory controller, which is not there (no controller is)"; err == nil || err.Error() != want {
		t.Errorf("%v; want %s", err, want)
	}
}

func BenchmarkGroup(b *testing.B) {
	f := machine(b)
	for _, everywhere := range []bool{false, true} {
		b.Run(fmt.Sprintf("everywhere=%v", everywhere), func(b *testing.B) {
			var used time.Duration
			for b.Loop() {
				cmd := exec.Command("sleep", "100")
				if err := cmd.Start(); err != nil {
					b.Fatal(err)
				}
				before := cpu()
				g, err := Create(Config{Path: under + "/bench", Everywhere: everywhere, Resources: &specs.LinuxResources{Devices: []specs.LinuxDeviceCgroup{{Access: "rwm"}}}}, f)
				if err == nil {
					err = g.Add(cmd.Process.Pid)
				}
				if err != nil {
					b.Fatal(err)
				}
				used += cpu() - before
				_ = cmd.Process.Kill()
				_ = cmd.Wait()
				before = cpu()
				if err := g.Delete(); err != nil {
					b.Fatal(err)
				}
				used += cpu() - before
			}
			b.ReportMetric(float64(used.Microseconds())/float64(b.N), "cpu-µs/op")
		})
	}
}

func cpu() time.Duration {
	var u unix.Rusage
	_ = unix.Getrusage(unix.RUSAGE_SELF, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
