package ocicli

import (
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"porthole/internal/engine/container"
)

// Killed at any step, a command leaves what delete --force takes away.
func TestKilled(t *testing.T) {
	h := newHouse(t)
	h.config(nil, "sleep", "100")
	passed := 0 // in a row: steps that are skipped, or that there are not
	step := 0
	for passed < 4 {
		step += 5 // of three hundred; porthole's own test takes each
		h.env = []string{pause + "=" + strconv.Itoa(step)}
		verb := "create"
		cmd := h.command(t.Context(), "create", "c")
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		ended := make(chan error, 1)
		go func() { ended <- cmd.Wait() }()
		select {
		case err := <-ended:
			if err != nil {
				t.Fatalf("step %d: %v", step, err)
			}
			// The step lies behind the start.
			verb = "start"
			cmd = h.command(t.Context(), "start", "c")
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			go func() { ended <- cmd.Wait() }()
			select {
			case err := <-ended:
				if err != nil {
					t.Fatalf("step %d: start: %v", step, err)
				}
				passed++
			case <-time.After(15 * time.Millisecond):
				passed = 0
				cmd.Process.Kill()
				<-ended
			}
		case <-time.After(40 * time.Millisecond):
			passed = 0
			cmd.Process.Kill()
			<-ended
		}
		h.env = nil
		if s, err := container.Load(filepath.Join(h.root, "c")); err == nil && verb == "create" {
			if r := h.try("state", "c"); r.code != 0 {
				t.Errorf("step %d: state of %s: %s", step, s.Status, r.err)
			}
		}
		h.must("delete", "--force", "c")
		h.empty()
		if t.Failed() {
			t.Fatalf("killed in %s after step %d", verb, step)
		}
	}
	if step < 60 {
		t.Errorf("only %d steps", step)
	}
}

func TestState(t *testing.T) {
	h := newHouse(t)
	h.config(nil, "sleep", "100")
	for name, spoil := range map[string]func(dir string) error{
		"cut in half": func(dir string) error {
			data, err := os.ReadFile(filepath.Join(dir, "state.json"))
			if err != nil {
				return err
			}
			return os.WriteFile(filepath.Join(dir, "state.json"), data[:len(data)/2], 0o600)
		},
		"empty": func(dir string) error { return os.Truncate(filepath.Join(dir, "state.json"), 0) },
		"newer": func(dir string) error {
			return os.WriteFile(filepath.Join(dir, "state.json"), []byte(`{"version":999}`), 0o600)
		},
		"gone":      func(dir string) error { return os.Remove(filepath.Join(dir, "state.json")) },
		"no lock":   func(dir string) error { return os.Remove(filepath.Join(dir, "lock")) },
		"no config": func(dir string) error { return os.Remove(filepath.Join(dir, configFile)) },
	} {
		for _, verb := range []string{"create", "run"} {
			h.must(map[string][]string{"create": {"create", "c"}, "run": {"run", "-d", "c"}}[verb]...)
			if err := spoil(filepath.Join(h.root, "c")); err != nil {
				t.Fatal(err)
			}
			if r := h.try("state", "c"); r.code != 0 && r.err == "" {
				t.Errorf("%s: state says nothing", name)
			}
			h.must("delete", "--force", "c")
			h.empty()
			if t.Failed() {
				t.Fatal(verb, name)
			}
		}
	}
}

// One that hangs in a hook is deleted all the same.
func TestHang(t *testing.T) {
	h := newHouse(t)
	h.config(func(s *specs.Spec) {
		s.Hooks = &specs.Hooks{CreateRuntime: []specs.Hook{{Path: "/bin/sleep", Args: []string{"sleep", "77"}}}}
	}, "true")
	cmd := h.command(t.Context(), "create", "c")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the state is there", func() bool { s, err := container.Load(filepath.Join(h.root, "c")); return err == nil && s.Pid > 0 })
	if s := h.stands("c"); s.Status != "creating" {
		t.Errorf("%+v", s)
	}
	h.must("delete", "--force", "c")
	if err := cmd.Wait(); err == nil {
		t.Error("create has succeeded")
	}
	h.empty()
}

// A container whose group is frozen is killed.
func TestFrozen(t *testing.T) {
	h := newHouse(t)
	h.config(nil, "sleep", "100")
	h.must("run", "-d", "c")
	h.must("pause", "c")
	pid := h.stands("c").Pid
	h.must("kill", "c", "KILL")
	eventually(t, "it has ended", func() bool { return unix.Kill(pid, 0) != nil || h.stands("c").Status == "stopped" })
	h.must("delete", "c")
	h.must("run", "-d", "c")
	h.must("pause", "c")
	h.must("delete", "--force", "c")
	h.empty()
}
