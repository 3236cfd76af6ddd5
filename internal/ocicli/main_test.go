package ocicli

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	specs "github.com/opencontainers/runtime-spec/specs-go"

	"porthole/internal/leaktest"
)

// This program is porthole-oci itself where asked is set; pause holds its child after a step.
const (
	asked = "PORTHOLE_OCI_TEST"
	pause = "PORTHOLE_OCI_TEST_PAUSE"
)

func TestMain(m *testing.M) {
	if os.Getenv(asked) != "" {
		pauseAfter, _ = strconv.Atoi(os.Getenv(pause))
		os.Exit(Main(os.Args[1:]))
	}
	os.Exit(leaktest.M{M: m}.Run())
}

// house is a root of containers and a bundle to make them from.
type house struct {
	t            *testing.T
	root, bundle string
	group        string // the control group of its containers
	env          []string
}

// newHouse makes a bundle with busybox in it.
func newHouse(t *testing.T) *house {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root")
	}
	h := &house{t: t, root: filepath.Join(t.TempDir(), "root"), bundle: t.TempDir()}
	h.group = "porthole-oci-test-" + strconv.Itoa(os.Getpid()) + "-" + t.Name()
	for _, d := range []string{"bin", "proc", "dev", "sys", "tmp", "etc"} {
		if err := os.MkdirAll(filepath.Join(h.bundle, "rootfs", d), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	box, err := os.ReadFile("/bin/busybox")
	if err != nil {
		t.Skip("needs busybox-static")
	}
	if err := os.WriteFile(filepath.Join(h.bundle, "rootfs/bin/busybox"), box, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"sh", "sleep", "id", "cat", "true", "stty", "tty", "pwd", "ls", "hostname", "readlink", "touch", "grep"} {
		if err := os.Symlink("busybox", filepath.Join(h.bundle, "rootfs/bin", name)); err != nil {
			t.Fatal(err)
		}
	}
	return h
}

func inCgroupNamespace(n specs.LinuxNamespace) bool { return n.Type == specs.CgroupNamespace }

// config writes config.json: the one that spec writes, to run args without a terminal, as change has it.
func (h *house) config(change func(*specs.Spec), args ...string) {
	h.t.Helper()
	s := example()
	if !slices.ContainsFunc(s.Linux.Namespaces, inCgroupNamespace) { // spec adds it on v2
		s.Linux.Namespaces = append(s.Linux.Namespaces, specs.LinuxNamespace{Type: specs.CgroupNamespace})
	}
	s.Process.Args, s.Process.Terminal = args, false
	s.Root.Readonly = false
	s.Linux.CgroupsPath = "/" + h.group
	if change != nil {
		change(s)
	}
	data, err := json.Marshal(s)
	if err != nil {
		h.t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(h.bundle, configFile), data, 0o600); err != nil {
		h.t.Fatal(err)
	}
}

type result struct {
	out, err string
	code     int
}

func (h *house) command(ctx context.Context, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, "/proc/self/exe", append([]string{"--root", h.root}, args...)...)
	cmd.Env = append(append(os.Environ(), asked+"=1"), h.env...)
	cmd.Dir = h.bundle
	return cmd
}

// try runs one command to its end. What it leaves running holds none of its files.
func (h *house) try(args ...string) result {
	h.t.Helper()
	ctx, cancel := context.WithTimeout(h.t.Context(), 30*time.Second)
	defer cancel()
	out, err := os.CreateTemp(h.t.TempDir(), "out")
	if err != nil {
		h.t.Fatal(err)
	}
	defer out.Close()
	errs, err := os.CreateTemp(h.t.TempDir(), "err")
	if err != nil {
		h.t.Fatal(err)
	}
	defer errs.Close()
	cmd := h.command(ctx, args...)
	cmd.Stdout, cmd.Stderr = out, errs
	var exit *exec.ExitError
	if err := cmd.Run(); err != nil && !errors.As(err, &exit) {
		h.t.Fatalf("%s: %v", strings.Join(args, " "), err)
	}
	if ctx.Err() != nil {
		h.t.Fatalf("%s: has not ended", strings.Join(args, " "))
	}
	read := func(f *os.File) string {
		data, err := os.ReadFile(f.Name())
		if err != nil {
			h.t.Fatal(err)
		}
		return string(data)
	}
	return result{read(out), read(errs), cmd.ProcessState.ExitCode()}
}

// must is try for what has to succeed; it returns what was printed.
func (h *house) must(args ...string) string {
	h.t.Helper()
	r := h.try(args...)
	if r.code != 0 {
		h.t.Fatalf("%s: exit %d: %s", strings.Join(args, " "), r.code, r.err)
	}
	return r.out
}

// fails is try for what has to fail with a message.
func (h *house) fails(want string, args ...string) {
	h.t.Helper()
	if r := h.try(args...); r.code == 0 || !strings.Contains(r.err, want) {
		h.t.Errorf("%s: exit %d: %q, want %q", strings.Join(args, " "), r.code, r.err, want)
	}
}

func (h *house) stands(id string) shown {
	h.t.Helper()
	var s shown
	if err := json.Unmarshal([]byte(h.must("state", id)), &s); err != nil {
		h.t.Fatal(err)
	}
	return s
}

// empty fails the test where anything is left of its containers.
func (h *house) empty() {
	h.t.Helper()
	if entries, err := os.ReadDir(h.root); err == nil {
		for _, e := range entries {
			if e.IsDir() {
				h.t.Errorf("%s is left in the root", e.Name())
			}
		}
	}
	for _, at := range []string{"/sys/fs/cgroup/" + h.group, "/sys/fs/cgroup/*/" + h.group} {
		if left, _ := filepath.Glob(at); len(left) > 0 {
			h.t.Errorf("left: %s", left)
		}
	}
	// A process of a container's has the root filesystem among its mounts, or waits with its page.
	procs, _ := filepath.Glob("/proc/[0-9]*")
	for _, p := range procs {
		if stat, err := os.ReadFile(p + "/stat"); err != nil || bytes.Contains(stat, []byte(") Z ")) {
			continue
		}
		mounts, _ := os.ReadFile(p + "/mountinfo")
		maps, _ := os.ReadFile(p + "/maps")
		if bytes.Contains(mounts, []byte(h.bundle)) || bytes.Contains(maps, []byte(h.root)) {
			cmd, _ := os.ReadFile(p + "/cmdline")
			h.t.Errorf("process %s is left: %q", p, cmd)
		}
	}
}

// eventually waits for something to become so.
func eventually(t *testing.T, what string, so func() bool) {
	t.Helper()
	for until := time.Now().Add(10 * time.Second); !so(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(until) {
			t.Fatalf("it has not come about: %s", what)
		}
	}
}
