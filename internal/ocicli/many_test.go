package ocicli

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// Many containers at once cost each what the first did, and are swept away; with PORTHOLE_THOROUGH a thousand.
func TestMany(t *testing.T) {
	h := newHouse(t)
	many := 100
	if os.Getenv(thorough) != "" {
		many = 1000
	}
	program := filepath.Join(t.TempDir(), "porthole-oci")
	build := exec.Command("go", "build", "-o", program, "porthole/cmd/porthole-oci")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	run := func(args ...string) time.Duration {
		t.Helper()
		cmd := exec.Command(program, append([]string{"--root", h.root}, args...)...)
		cmd.Dir = h.bundle
		begun := time.Now()
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%s: %v: %s", args, err, out)
		}
		return time.Since(begun)
	}
	group := "porthole-oci-test-many-" + strconv.Itoa(os.Getpid())
	var pids []string
	t.Cleanup(func() { // whatever failed
		for i := range many {
			exec.Command(program, "--root", h.root, "delete", "--force", fmt.Sprint("c", i)).Run()
		}
	})
	var starts, ends []time.Duration
	for i := range many {
		h.config(func(s *specs.Spec) { s.Linux.CgroupsPath = fmt.Sprint("/", group, "-", i) }, "sleep", "1000")
		cmd := exec.Command(program, "--root", h.root, "run", "-d", "--pid-file", filepath.Join(h.bundle, "pid"), fmt.Sprint("c", i))
		cmd.Dir = h.bundle // its output is not ours to wait for: the container has it
		begun := time.Now()
		if err := cmd.Run(); err != nil {
			t.Fatalf("container %d: %v", i, err)
		}
		starts = append(starts, time.Since(begun))
		pid, err := os.ReadFile(filepath.Join(h.bundle, "pid"))
		if err != nil {
			t.Fatal(err)
		}
		pids = append(pids, string(pid))
	}
	// Each runs, its program is the user's, and nothing of ours stays beside it.
	for _, pid := range pids {
		if exe, err := os.Readlink("/proc/" + pid + "/exe"); err != nil || !strings.HasSuffix(exe, "busybox") {
			t.Errorf("process %s: %s, %v", pid, exe, err)
		}
	}
	ours, _ := filepath.Glob("/proc/[0-9]*/exe")
	for _, p := range ours {
		if exe, _ := os.Readlink(p); exe == program {
			t.Errorf("%s stays", p)
		}
	}
	state := run("state", fmt.Sprint("c", many-1))
	list := run("list", "--quiet")
	for i := range many {
		ends = append(ends, run("delete", "--force", fmt.Sprint("c", i)))
	}
	tenth := many / 10
	typical := func(d []time.Duration) time.Duration {
		d = slices.Clone(d)
		slices.Sort(d)
		return d[len(d)/4] // of the undisturbed ones
	}
	first, last := typical(starts[:tenth]), typical(starts[many-tenth:])
	for i := 0; i < many; i += tenth {
		t.Logf("%4d: started in %v each", i, typical(starts[i:i+tenth]))
	}
	t.Logf("%d at once: started in %v each at first, %v at last; deleted in %v and %v; state %v, list %v",
		many, first, last, typical(ends[:tenth]), typical(ends[many-tenth:]), state, list)
	if first, last = slices.Min(starts[:tenth]), slices.Min(starts[many-tenth:]); last > first*3/2+5*time.Millisecond {
		t.Errorf("the last cost %v, the first %v", last, first)
	}
	if left, _ := filepath.Glob("/sys/fs/cgroup/*/" + group + "-*"); len(left) > 0 {
		t.Errorf("%d control groups are left, %s among them", len(left), left[0])
	}
	h.empty()
}

// What create takes at its peak, what stays of it in memory while the container waits, and a container with 4 MiB.
func TestMemory(t *testing.T) {
	h := newHouse(t)
	program := filepath.Join(t.TempDir(), "porthole-oci")
	build := exec.Command("go", "build", "-o", program, "porthole/cmd/porthole-oci")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	h.config(func(s *specs.Spec) {
		few := int64(4 << 20)
		s.Linux.Resources.Memory = &specs.LinuxMemory{Limit: &few}
		s.Hooks = &specs.Hooks{CreateRuntime: []specs.Hook{{Path: "/bin/sleep", Args: []string{"sleep", "0.2"}}}} // to look on
	}, "sleep", "100")
	kib := func(pid int, field string) int {
		status, _ := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/status")
		_, rest, _ := strings.Cut(string(status), field+":")
		n := 0
		fmt.Sscan(rest, &n)
		return n
	}
	cmd := exec.Command(program, "--root", h.root, "create", "c")
	cmd.Dir = h.bundle
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	peak := 0
	for running := true; running; {
		select {
		case err := <-ended:
			if running = false; err != nil {
				t.Fatal(err)
			}
		case <-time.After(time.Millisecond):
			if exe, _ := os.Readlink("/proc/" + strconv.Itoa(cmd.Process.Pid) + "/exe"); exe == program {
				peak = max(peak, kib(cmd.Process.Pid, "VmHWM"))
			}
		}
	}
	resident := kib(h.stands("c").Pid, "VmRSS")
	t.Logf("create: %d KiB at its peak; %d KiB stay", peak, resident)
	if peak == 0 || peak > 10<<10 {
		t.Errorf("create takes %d KiB", peak)
	}
	if resident == 0 || resident > 1<<10 {
		t.Errorf("%d KiB stay", resident)
	}
	h.must("start", "c")
	if s := h.stands("c"); s.Status != "running" {
		t.Errorf("with 4 MiB: %+v", s)
	}
	h.must("delete", "--force", "c")
	h.empty()
}
