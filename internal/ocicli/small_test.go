package ocicli

import (
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// A root that the command line names is to be there; the one that nobody names may be empty still.
func TestListNowhere(t *testing.T) {
	h := newHouse(t)
	h.root = filepath.Join(t.TempDir(), "nowhere")
	h.fails("nowhere", "list")
	if os.Getenv("XDG_RUNTIME_DIR") == "" {
		h.root = ""
		h.must("list")
	}
}

// What is not supported can still be asked about.
func TestHelpOfRefused(t *testing.T) {
	h := newHouse(t)
	if out := h.must("checkpoint", "-h"); !strings.Contains(out, "checkpoint") {
		t.Errorf("%q", out)
	}
	h.fails("not supported", "checkpoint", "c")
}

// A terminal's output that goes to a file has lines as the program wrote them.
func TestPlainLines(t *testing.T) {
	h := newHouse(t)
	h.config(func(s *specs.Spec) { s.Process.Terminal = true }, "sh", "-c", "tty >/dev/null && echo one && echo two")
	if out := h.must("run", "c"); out != "one\ntwo\n" {
		t.Errorf("%q", out)
	}
	h.config(nil, "sleep", "100")
	h.must("run", "-d", "c")
	if out := h.must("exec", "-t", "c", "sh", "-c", "tty >/dev/null && echo one"); out != "one\n" {
		t.Errorf("exec: %q", out)
	}
	h.must("delete", "-f", "c")
}

// The same path hidden twice is hidden once.
func TestMaskedTwice(t *testing.T) {
	h := newHouse(t)
	h.config(func(s *specs.Spec) { s.Linux.MaskedPaths = []string{"/etc", "/etc/", "/etc"} }, "cat", "/proc/mounts")
	if out := h.must("run", "c"); strings.Count(out, " /etc ") != 1 {
		t.Errorf("mounts:\n%s", out)
	}
}

// Where the old root cannot be pivoted away, its procfs does not stay: with a whole one out of sight a user namespace may
// mount its own, without what masks the container's.
func TestNoPivotProc(t *testing.T) {
	h := newHouse(t)
	if err := os.Symlink("busybox", h.bundle+"/rootfs/bin/unshare"); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("busybox", h.bundle+"/rootfs/bin/mount"); err != nil {
		t.Fatal(err)
	}
	all := func(s *specs.Spec) {
		caps := append(s.Process.Capabilities.Bounding, "CAP_SETFCAP")
		s.Process.Capabilities.Bounding, s.Process.Capabilities.Permitted, s.Process.Capabilities.Effective = caps, caps, caps
	}
	h.config(all, "unshare", "-mrpf", "mount", "-t", "proc", "none", "/proc")
	for _, args := range [][]string{{"run", "c"}, {"run", "--no-pivot", "c"}} {
		if r := h.try(args...); r.code == 0 || !strings.Contains(r.err, "ermission denied") {
			t.Errorf("%q: %+v", args, r)
		}
	}
	h.config(nil, "cat", "/proc/mounts")
	if out := h.must("run", "--no-pivot", "c"); strings.Count(out, "proc /proc proc") != 1 {
		t.Errorf("mounts:\n%s", out)
	}
	h.empty()
}

// A word that takes ro away does so; a restriction that no word speaks of stays as the host has it.
func TestReadWrite(t *testing.T) {
	h := newHouse(t)
	dir := t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size=64k"); err != nil {
		t.Fatal(err)
	}
	defer unix.Unmount(dir, unix.MNT_DETACH)
	if err := unix.Mount("", dir, "", unix.MS_REMOUNT|unix.MS_BIND|unix.MS_RDONLY, ""); err != nil {
		t.Fatal(err)
	}
	for options, want := range map[string]string{"bind": "ro,", "bind,rw": "rw,", "bind,nosuid": "ro,nosuid,"} {
		h.config(func(s *specs.Spec) {
			s.Mounts = append(s.Mounts, specs.Mount{Source: dir, Destination: "/tmp", Options: strings.Split(options, ",")})
		}, "grep", " /tmp ", "/proc/mounts")
		if out := h.must("run", "c"); !strings.Contains(out, " /tmp tmpfs "+want) {
			t.Errorf("%s: %s", options, out)
		}
	}
}

// A daemon that is held to some processors holds no container to them.
func TestUnpinned(t *testing.T) {
	h := newHouse(t)
	allowed := func(text string) string {
		for line := range strings.Lines(text) {
			if rest, ok := strings.CutPrefix(line, "Cpus_allowed_list:"); ok {
				return strings.TrimSpace(rest)
			}
		}
		return ""
	}
	status, err := os.ReadFile("/proc/thread-self/status")
	if err != nil {
		t.Fatal(err)
	}
	want := allowed(string(status))
	var before, one unix.CPUSet
	runtime.LockOSThread() // commands are forked from here, and inherit what is set here
	defer runtime.UnlockOSThread()
	if err := unix.SchedGetaffinity(0, &before); err != nil || before.Count() < 2 {
		t.Skipf("needs two processors: %v", err)
	}
	for cpu := 0; one.Count() == 0; cpu++ {
		if before.IsSet(cpu) {
			one.Set(cpu)
		}
	}
	if err := unix.SchedSetaffinity(0, &one); err != nil {
		t.Fatal(err)
	}
	defer unix.SchedSetaffinity(0, &before)
	h.config(nil, "cat", "/proc/self/status")
	if got := allowed(h.must("run", "c")); got != want {
		t.Errorf("run: %q, want %q", got, want)
	}
	h.config(nil, "sleep", "100")
	h.must("run", "-d", "c")
	if got := allowed(h.must("exec", "c", "cat", "/proc/self/status")); got != want {
		t.Errorf("exec: %q, want %q", got, want)
	}
	h.must("delete", "-f", "c")
}

// A createContainer hook runs in the container's root filesystem, by its path on the host, and not in the host's root.
func TestHookDirectory(t *testing.T) {
	h := newHouse(t)
	h.config(func(s *specs.Spec) {
		s.Hooks = &specs.Hooks{CreateContainer: []specs.Hook{{Path: "/bin/sh", Args: []string{"sh", "-c", "pwd > ./tmp/here && mount -t tmpfs tmpfs ./etc"}}}}
	}, "sh", "-c", "cat /tmp/here; grep -c ' /etc ' /proc/mounts")
	if out := h.must("run", "c"); out != h.bundle+"/rootfs\n1\n" {
		t.Errorf("%q", out)
	}
	h.empty()
}
