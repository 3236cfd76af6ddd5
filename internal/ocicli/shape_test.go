package ocicli

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// shape is where in a JSON document what kind of value stands. Names that depend on the machine are left out.
func shape(t *testing.T, text string) (all []string) {
	t.Helper()
	var doc any
	if err := json.Unmarshal([]byte(text), &doc); err != nil {
		t.Fatalf("%v: %s", err, text)
	}
	var walk func(at string, v any)
	walk = func(at string, v any) {
		switch v := v.(type) {
		case map[string]any:
			for k, w := range v {
				walk(at+"."+k, w)
			}
		case []any:
			for _, w := range v {
				walk(at+"[]", w)
			}
		default:
			if entry := fmt.Sprintf("%s %T", at, v); !slices.Contains(all, entry) {
				all = append(all, entry)
			}
		}
	}
	walk("", doc)
	slices.Sort(all)
	return all
}

// Documents that clients read have all that runc's have, in the same places and of the same kinds.
func TestShapes(t *testing.T) {
	runc, err := exec.LookPath("runc")
	if err != nil {
		t.Skip("needs runc")
	}
	h, other := newHouse(t), newHouse(t)
	other.group += "-runc"
	change := func(s *specs.Spec) {
		s.Version, s.Annotations = "1.0.2", map[string]string{"a": "b"}
		s.Linux.Resources.Memory = &specs.LinuxMemory{Limit: new(int64(64 << 20))}
		s.Linux.Resources.Pids = &specs.LinuxPids{Limit: new(int64(50))}
		s.Linux.Resources.CPU = &specs.LinuxCPU{Quota: new(int64(50000)), Period: new(uint64(100000))}
	}
	h.config(change, "sh", "-c", "busybox dd if=/dev/zero of=/tmp/x bs=1M count=3 2>&1; while sleep 0.01; do :; done")
	other.config(change, "sh", "-c", "busybox dd if=/dev/zero of=/tmp/x bs=1M count=3 2>&1; while sleep 0.01; do :; done")
	id := fmt.Sprint("shape", os.Getpid())
	theirs := func(stdin string, args ...string) string {
		t.Helper()
		cmd := exec.Command(runc, append([]string{"--root", filepath.Join(other.root, "runc")}, args...)...)
		cmd.Dir, cmd.Stdin = other.bundle, strings.NewReader(stdin)
		var errs strings.Builder
		cmd.Stderr = &errs
		if args[0] == "run" { // the container has its files
			cmd.Stdin, cmd.Stderr = nil, nil
			if err := cmd.Run(); err != nil {
				t.Fatalf("runc run: %v", err)
			}
			return ""
		}
		out, err := cmd.Output()
		if err != nil {
			t.Fatalf("runc %s: %v: %s", strings.Join(args, " "), err, errs.String())
		}
		return string(out)
	}
	h.must("run", "-d", id)
	defer h.must("delete", "-f", id)
	theirs("", "run", "-d", id)
	defer theirs("", "delete", "-f", id)

	// Kernels have no limit of their own memory any more.
	gone := []string{".data.memory.kernelTCP", ".data.memory.kernel", ".data.cpu.usage.percpu_kernel", ".data.cpu.usage.percpu_user", ".data.intel_rdt"}
	for _, c := range []struct {
		args []string
		drop []string
	}{
		{[]string{"state", id}, nil}, {[]string{"list", "--format", "json"}, nil}, {[]string{"ps", "--format", "json", id}, nil},
		{[]string{"events", "--stats", id}, gone}, {[]string{"features"}, nil},
	} {
		// Counters are left out as long as they are 0.
		var missing []string
		for end := time.Now().Add(5 * time.Second); ; time.Sleep(50 * time.Millisecond) {
			ours := shape(t, h.must(c.args...))
			missing = slices.DeleteFunc(shape(t, theirs("", c.args...)), func(want string) bool {
				return slices.Contains(ours, want) || slices.ContainsFunc(c.drop, func(d string) bool { return strings.HasPrefix(want, d) }) ||
					strings.HasPrefix(want, ".annotations.") && c.args[0] == "features"
			})
			if len(missing) == 0 || time.Now().After(end) {
				break
			}
		}
		if len(missing) > 0 {
			t.Errorf("%s: %s are missing", c.args[0], missing)
		}
	}

	// The same limits, by file, by standard input and by options, end in the same files of the control group.
	read := func(group string) string {
		var out []string
		for _, f := range []string{"memory/%s/memory.limit_in_bytes", "memory/%s/memory.soft_limit_in_bytes", "pids/%s/pids.max", "cpu/%s/cpu.shares", "cpu/%s/cpu.cfs_quota_us", "cpu/%s/cpu.cfs_period_us", "cpuset/%s/cpuset.cpus"} {
			data, _ := os.ReadFile("/sys/fs/cgroup/" + fmt.Sprintf(f, group))
			out = append(out, f+" "+strings.TrimSpace(string(data)))
		}
		return strings.Join(out, "\n")
	}
	const limits = `{"memory": {"limit": 33554432, "reservation": 16777216}, "pids": {"limit": 20}, "cpu": {"shares": 512, "quota": 20000, "period": 50000, "cpus": "0"}}`
	cmd := h.command(t.Context(), "update", "--resources", "-", id)
	cmd.Stdin = strings.NewReader(limits)
	if out, err := cmd.CombinedOutput(); err != nil || len(out) > 0 {
		t.Fatalf("%v: %s", err, out)
	}
	theirs(limits, "update", "--resources", "-", id)
	if ours, want := read(h.group), read(other.group); ours != want {
		t.Errorf("update --resources -:\n%s\nrunc:\n%s", ours, want)
	}
	options := []string{"update", "--memory", "48m", "--memory-reservation", "24m", "--pids-limit", "30", "--cpu-share", "256", "--cpu-quota", "30000", "--cpu-period", "60000", "--cpuset-cpus", "0-1", id}
	h.must(options...)
	options[2], options[4] = "50331648", "25165824" // runc 1.1 has no k, m and g for the second
	theirs("", options...)
	if ours, want := read(h.group), read(other.group); ours != want {
		t.Errorf("update:\n%s\nrunc:\n%s", ours, want)
	}
	h.must("delete", "-f", id)
	h.empty()
}

// Errors are told in the words that clients look for, as runc tells them, on standard error and in the log.
func TestErrorWords(t *testing.T) {
	runc, err := exec.LookPath("runc")
	if err != nil {
		t.Skip("needs runc")
	}
	h := newHouse(t)
	other := filepath.Join(h.root, "runc")
	both := func(words string, args ...string) {
		t.Helper()
		for _, format := range []string{"json", "text"} {
			for i, name := range []string{runc, "/proc/self/exe"} {
				log := filepath.Join(t.TempDir(), "log")
				cmd := exec.Command(name, append([]string{"--root", []string{other, h.root}[i], "--log", log, "--log-format", format}, args...)...)
				cmd.Env, cmd.Dir = append(os.Environ(), asked+"=1"), h.bundle
				out, err := cmd.CombinedOutput()
				if err == nil {
					t.Errorf("%s %v has succeeded", name, args)
					continue
				}
				data, _ := os.ReadFile(log)
				if i == 1 && strings.Count(string(data), "\n") != 1 {
					t.Errorf("%v: more in the log than podman reads: %s", args, data)
				}
				level, msg := lastRecord(t, format, string(data))
				if level != "error" || !strings.Contains(msg, words) || !strings.Contains(string(out), words) {
					t.Errorf("%s %v: says %q, logs %s %q; want %q", name, args, out, level, msg, words)
				}
			}
		}
	}
	h.config(func(s *specs.Spec) { s.Version = "1.0.2" }, "nonexist")
	both("container does not exist", "state", "none")
	both("container does not exist", "start", "none")
	both("container does not exist", "kill", "none", "9")
	both("container does not exist", "delete", "none")
	both("container does not exist", "exec", "none", "true")
	both("container does not exist", "pause", "none")
	both("executable file not found in $PATH", "run", "c")
	h.config(func(s *specs.Spec) { s.Version = "1.0.2" }, "/etc")
	both("permission denied", "run", "c")
	h.config(func(s *specs.Spec) { s.Version, s.Process.Cwd = "1.0.2", "/bin/busybox" }, "true")
	both("not a directory", "run", "c")
	both("invalid", "run", "a/b")
	both("cannot allocate tty if runc will detach without setting console socket", "run", "-d", "--bundle", h.terminal(), "c")
}

// terminal is a bundle whose program wants a terminal.
func (h *house) terminal() string {
	h.t.Helper()
	dir := h.t.TempDir()
	old := h.bundle
	h.config(func(s *specs.Spec) {
		s.Version, s.Process.Terminal = "1.0.2", true
		s.Root.Path = filepath.Join(old, "rootfs")
	}, "true")
	if err := os.Rename(filepath.Join(old, configFile), filepath.Join(dir, configFile)); err != nil {
		h.t.Fatal(err)
	}
	return dir
}

// lastRecord reads a log as go-runc does (getLastRuntimeError, containerd/runtime/v2/runc), and CRI-O's conmon.
func lastRecord(t *testing.T, format, text string) (level, msg string) {
	t.Helper()
	for line := range strings.Lines(text) {
		if format == "text" {
			if _, rest, ok := strings.Cut(line, "level=error msg="); ok {
				level, msg = "error", rest
			}
			continue
		}
		var r struct {
			Level, Msg string
			Time       time.Time
		}
		if err := json.Unmarshal([]byte(line), &r); err != nil {
			t.Fatalf("%s: %v", line, err)
		}
		if r.Level == "error" {
			level, msg = r.Level, r.Msg
		}
	}
	return level, msg
}
