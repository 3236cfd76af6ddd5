package ocicli

import (
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
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

// thorough, in the environment, has every step and length tried where a part of them is otherwise.
const thorough = "PORTHOLE_THOROUGH"

func stride(n int) int {
	if os.Getenv(thorough) != "" {
		return 1
	}
	return n
}

// steps kills a command, begun by start, after every step of its plan that is named, until it has none left to be killed
// at; then what follows must hold.
func (h *house) steps(stride int, most time.Duration, start func() *exec.Cmd, then func(step int)) (kills int) {
	h.t.Helper()
	for step, passed := 1, 0; passed < 3; step += stride {
		h.env = []string{pause + "=" + strconv.Itoa(step)}
		cmd := start()
		if err := cmd.Start(); err != nil {
			h.t.Fatal(err)
		}
		h.env = nil
		ended := make(chan error, 1)
		go func() { ended <- cmd.Wait() }()
		select {
		case <-ended:
			passed++ // a step that is skipped, or behind the last
		case <-time.After(most):
			cmd.Process.Kill()
			<-ended
			passed = 0
			kills++
		}
		then(step)
		if h.t.Failed() {
			h.t.Fatalf("killed after step %d", step)
		}
	}
	return kills
}

// Killed at any step, an exec leaves the container as it was: one process in its group, which can be entered and deleted.
func TestKilledExec(t *testing.T) {
	h := newHouse(t)
	h.config(nil, "sleep", "100")
	h.must("run", "-d", "c")
	kills := h.steps(stride(9), 60*time.Millisecond, func() *exec.Cmd { return h.command(t.Context(), "exec", "c", "true") }, func(int) {
		eventually(t, "the container is alone again", func() bool {
			var pids []int
			return json.Unmarshal([]byte(h.must("ps", "--format", "json", "c")), &pids) == nil && len(pids) == 1
		})
	})
	t.Logf("%d kills", kills)
	if kills < 5 {
		t.Errorf("only %d kills", kills)
	}
	h.must("exec", "c", "true")
	h.must("delete", "--force", "c")
	h.empty()
}

// So does a container that is born last, into the process numbers of another.
func TestKilledSharing(t *testing.T) {
	h := newHouse(t)
	h.config(nil, "sleep", "100")
	h.must("run", "-d", "first")
	shared := "/proc/" + strconv.Itoa(h.stands("first").Pid) + "/ns/pid"
	h.config(func(s *specs.Spec) {
		s.Linux.Namespaces[0].Path = shared
		s.Linux.CgroupsPath += "/too"
	}, "sleep", "100")
	kills := h.steps(stride(23), 80*time.Millisecond, func() *exec.Cmd { return h.command(t.Context(), "create", "c") }, func(int) {
		if s, err := container.Load(filepath.Join(h.root, "c")); err == nil && s.Status == container.Created {
			ctx, cancel := context.WithTimeout(t.Context(), 80*time.Millisecond) // the step may lie behind the start
			if err := h.command(ctx, "start", "c").Run(); err == nil {
				if now := h.stands("c"); now.Status != "running" || now.Pid != s.Pid {
					t.Errorf("%+v, %+v", now, s)
				}
			}
			cancel()
		}
		h.must("delete", "--force", "c")
		eventually(t, "nobody but the first is there", func() bool { return len(within(t, shared)) == 1 })
	})
	t.Logf("%d kills", kills)
	if kills < 5 {
		t.Errorf("only %d kills", kills)
	}
	h.must("delete", "--force", "first")
	h.empty()
}

// within are the processes of a pid namespace.
func within(t *testing.T, space string) (pids []string) {
	t.Helper()
	want, err := os.Readlink(space)
	if err != nil {
		t.Fatal(err)
	}
	all, _ := filepath.Glob("/proc/[0-9]*")
	for _, p := range all {
		stat, _ := os.ReadFile(p + "/stat")
		if is, err := os.Readlink(p + "/ns/pid"); err == nil && is == want && !strings.Contains(string(stat), ") Z ") {
			pids = append(pids, p)
		}
	}
	return pids
}

// Killed at any moment, a delete is finished by the next.
func TestKilledDelete(t *testing.T) {
	h := newHouse(t)
	h.config(nil, "sleep", "100")
	for i := 0; i < 40; i += stride(4) {
		h.must("run", "-d", "c")
		cmd := h.command(t.Context(), "delete", "--force", "c")
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Duration(i) * 500 * time.Microsecond)
		cmd.Process.Kill()
		cmd.Wait()
		if r := h.try("state", "c"); r.code != 0 && strings.Count(r.err, "\n") != 1 {
			t.Errorf("state: %q", r.err)
		}
		h.must("delete", "--force", "c")
		h.empty()
		if t.Failed() {
			t.Fatalf("killed after %d half milliseconds", i)
		}
	}
}

// full makes a directory that is a mount of so many bytes.
func (h *house) full(size string) (dir string) {
	h.t.Helper()
	dir = h.t.TempDir()
	if err := unix.Mount("none", dir, "tmpfs", 0, "size="+size); err != nil {
		h.t.Fatal(err)
	}
	h.t.Cleanup(func() { unix.Unmount(dir, unix.MNT_DETACH) })
	return dir
}

// A state directory that is full or read-only is named in one line, and what was there before can be deleted still, or
// once it is writable again.
func TestRootFails(t *testing.T) {
	h := newHouse(t)
	own := func(name string) {
		h.config(func(s *specs.Spec) { s.Linux.CgroupsPath += "-" + name }, "sleep", "100")
	}
	empty := func() {
		h.empty()
		if left, _ := filepath.Glob("/sys/fs/cgroup/*/" + h.group + "-*"); len(left) > 0 {
			t.Errorf("left: %s", left)
		}
	}
	for _, free := range []int{0, 4096, 8192, 16384, 32768, 65536} {
		h.root = h.full("256k")
		own("old")
		if free == 0 {
			h.root += "/not/made/yet"
		} else if r := h.try("run", "-d", "old"); r.code != 0 {
			t.Fatalf("%+v", r)
		}
		mount := h.root
		if free == 0 {
			mount = filepath.Dir(filepath.Dir(filepath.Dir(h.root)))
		}
		fill, err := os.Create(filepath.Join(mount, "fill"))
		if err != nil {
			t.Fatal(err)
		}
		for block := make([]byte, 4096); ; {
			if _, err := fill.Write(block); err != nil {
				break
			}
		}
		size, _ := fill.Seek(0, 2)
		fill.Truncate(max(size-int64(free), 0))
		fill.Close()
		own("c")
		for _, args := range [][]string{{"create", "c"}, {"run", "-d", "c"}} {
			r, verb := h.try(args...), args[0]
			if r.code == 0 {
				h.must("delete", "--force", "c")
				continue
			}
			if !strings.Contains(r.err, "no space left on device") || strings.Count(r.err, "\n") != 1 {
				t.Errorf("%d bytes free: %s: %q", free, verb, r.err)
			}
			h.must("delete", "--force", "c")
		}
		if free != 0 {
			h.stands("old")
			h.must("exec", "old", "true")
			h.must("delete", "--force", "old")
		}
		os.Remove(filepath.Join(mount, "fill"))
		empty()
	}
	h.root = h.full("1m")
	own("old")
	h.must("run", "-d", "old")
	own("c")
	if err := unix.Mount("", h.root, "", unix.MS_REMOUNT|unix.MS_RDONLY, ""); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{{"create", "c"}, {"run", "c"}, {"delete", "--force", "old"}} {
		if r := h.try(args...); r.code == 0 || !strings.Contains(r.err, "read-only file system") || strings.Count(r.err, "\n") != 1 {
			t.Errorf("%s: exit %d: %q", args, r.code, r.err)
		}
	}
	h.stands("old")
	h.must("list")
	if err := unix.Mount("", h.root, "", unix.MS_REMOUNT, ""); err != nil {
		t.Fatal(err)
	}
	h.must("delete", "--force", "old")
	empty()
}

// Where the caller's own group has no room for another process, that is said.
func TestPidsFull(t *testing.T) {
	h := newHouse(t)
	h.config(nil, "sleep", "100")
	dir := "/sys/fs/cgroup/pids/" + h.group + "-caller"
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Skip("needs the pids controller of cgroup v1")
	}
	defer os.Remove(dir)
	inside := func(most string, args ...string) result {
		t.Helper()
		if err := os.WriteFile(dir+"/pids.max", []byte(most), 0o644); err != nil {
			t.Fatal(err)
		}
		cmd := h.command(t.Context(), args...)
		cmd.Args = append([]string{"sh", "-c", `echo $$ >` + dir + `/cgroup.procs && exec /proc/` + strconv.Itoa(os.Getpid()) + `/exe "$@"`, "-"}, cmd.Args[1:]...)
		cmd.Path = "/bin/sh"
		var out strings.Builder
		cmd.Stderr, cmd.WaitDelay = &out, time.Second
		err := cmd.Run()
		if err != nil && cmd.ProcessState == nil {
			t.Fatal(err)
		}
		return result{"", out.String(), cmd.ProcessState.ExitCode()}
	}
	refused := 0
	for _, most := range []int{3, 5, 7, 14} { // threads of ours count, too
		r := inside(strconv.Itoa(most), "create", "c")
		t.Logf("pids.max %d: exit %d: %.200s", most, r.code, r.err)
		if r.code != 0 {
			refused++
		}
		h.must("delete", "--force", "c")
		h.empty()
	}
	if refused == 0 || refused == 4 {
		t.Errorf("%d of 4 were refused", refused)
	}
	eventually(t, "nobody is in the caller's group", func() bool { return os.Remove(dir) == nil })
}

// What a container's own limit refuses is said by its place.
func TestOwnPidsFull(t *testing.T) {
	h := newHouse(t)
	h.config(func(s *specs.Spec) {
		one := int64(1)
		s.Linux.Resources.Pids = &specs.LinuxPids{Limit: &one}
	}, "sleep", "100")
	h.must("run", "-d", "c")
	r := h.try("exec", "c", "true")
	if r.code != execFailed || strings.Count(r.err, "\n") != 1 || !strings.Contains(r.err, "temporarily unavailable") {
		t.Errorf("exec: %+v", r)
	}
	h.must("delete", "--force", "c")
	h.empty()
}

// A frozen container: what would wait for it is refused, or goes on when it does; delete --force kills it.
func TestFrozenExec(t *testing.T) {
	h := newHouse(t)
	h.config(nil, "sleep", "100")
	h.must("run", "-d", "c")
	h.must("pause", "c")
	h.fails("cannot exec in a paused container", "exec", "c", "true")
	cmd := h.command(t.Context(), "exec", "--ignore-paused", "c", "true")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	time.Sleep(100 * time.Millisecond)
	h.must("resume", "c")
	if err := cmd.Wait(); err != nil {
		t.Errorf("exec --ignore-paused, once it goes on: %v", err)
	}
	h.must("pause", "c")
	cmd = h.command(t.Context(), "exec", "--ignore-paused", "c", "true")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	time.Sleep(100 * time.Millisecond)
	h.must("delete", "--force", "c")
	if err := cmd.Wait(); err == nil {
		t.Error("an exec in a container that was deleted succeeds")
	}
	// One that was created and never started, and one that is frozen while it is killed.
	h.must("create", "c")
	h.must("pause", "c")
	h.must("delete", "--force", "c")
	h.empty()
}

// Hooks that hang, in each place: killed by their timeout, or with the container by delete --force.
func TestHooksHang(t *testing.T) {
	h := newHouse(t)
	for i, kind := range []string{"createRuntime", "prestart", "createContainer", "startContainer", "poststart"} {
		if i%stride(2) != 0 {
			continue
		}
		h.config(func(s *specs.Spec) {
			s.Hooks = &specs.Hooks{}
			hang := []specs.Hook{{Path: "/bin/sleep", Args: []string{"sleep", "77"}}}
			//lint:ignore SA1019 engines still use prestart
			*map[string]*[]specs.Hook{"prestart": &s.Hooks.Prestart, "createRuntime": &s.Hooks.CreateRuntime,
				"createContainer": &s.Hooks.CreateContainer, "startContainer": &s.Hooks.StartContainer, "poststart": &s.Hooks.Poststart}[kind] = hang
		}, "sleep", "100")
		cmd := h.command(t.Context(), "run", "c")
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		eventually(t, "it hangs", func() bool { s, err := container.Load(filepath.Join(h.root, "c")); return err == nil && s.Pid > 0 })
		time.Sleep(30 * time.Millisecond)
		h.must("delete", "--force", "c")
		ended := make(chan error, 1)
		go func() { ended <- cmd.Wait() }()
		select {
		case err := <-ended:
			if err == nil {
				t.Errorf("%s: run has succeeded", kind)
			}
		case <-time.After(5 * time.Second):
			t.Errorf("%s: run waits on for the hook", kind)
			cmd.Process.Kill()
			<-ended
		}
		h.empty()
	}
	one := 1
	h.config(func(s *specs.Spec) {
		s.Hooks = &specs.Hooks{Poststop: []specs.Hook{{Path: "/bin/sleep", Args: []string{"sleep", "77"}, Timeout: &one}}}
	}, "true")
	h.must("create", "c")
	if r := h.try("delete", "--force", "c"); r.code != 0 || !strings.Contains(r.err, "killed after its 1 seconds") {
		t.Errorf("%+v", r)
	}
	h.empty()
}

// A client that is gone: the peer of a console socket, or whoever waits for run.
func TestClientGone(t *testing.T) {
	h := newHouse(t)
	h.config(func(s *specs.Spec) { s.Process.Terminal = true }, "sleep", "100")
	socket := filepath.Join(t.TempDir(), "s")
	listener, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.Bind(listener, &unix.SockaddrUnix{Name: socket}); err != nil {
		t.Fatal(err)
	}
	h.fails("console socket", "create", "--console-socket", socket, "c") // nobody listens
	h.empty()
	if err := unix.Listen(listener, 1); err != nil {
		t.Fatal(err)
	}
	// One that takes the call and hangs up: the master is lost, and the program gets SIGHUP.
	done := make(chan struct{})
	go func() {
		defer close(done)
		if fd, _, err := unix.Accept4(listener, unix.SOCK_CLOEXEC); err == nil {
			unix.Close(fd)
		}
	}()
	if r := h.try("create", "--console-socket", socket, "c"); r.code != 0 && strings.Count(r.err, "\n") != 1 {
		t.Errorf("%+v", r)
	}
	<-done
	unix.Close(listener)
	h.must("delete", "--force", "c")
	h.empty()

	h.config(nil, "sleep", "100")
	cmd := h.command(t.Context(), "run", "c")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "it runs", func() bool {
		s, err := container.Load(filepath.Join(h.root, "c"))
		return err == nil && s.Status == container.Running
	})
	cmd.Process.Kill()
	cmd.Wait()
	if s := h.stands("c"); s.Status != "running" {
		t.Errorf("after run was killed: %+v", s)
	}
	h.must("delete", "--force", "c")
	h.empty()

	// Whoever reads what we say may be gone as well.
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	r.Close()
	cmd = h.command(t.Context(), "run", "c")
	h.config(nil, "sh", "-c", "sleep 0.05; exit 3")
	cmd.Stdout, cmd.Stderr = w, w
	if err := cmd.Run(); cmd.ProcessState.ExitCode() != 3 {
		t.Errorf("run with nobody to read: %v", err)
	}
	w.Close()
	h.empty()
}

// Commands at once on one container: each does its work or says in a line what is so, and nothing is left.
func TestAtOnce(t *testing.T) {
	h := newHouse(t)
	h.config(nil, "sleep", "100")
	for range 6 {
		h.must("create", "c")
		var all sync.WaitGroup
		for _, args := range [][]string{{"start", "c"}, {"delete", "--force", "c"}, {"state", "c"}, {"kill", "c", "KILL"}, {"delete", "c"}, {"exec", "c", "true"}, {"delete", "--force", "c"}} {
			all.Go(func() {
				if r := h.try(args...); r.code != 0 && r.code != 137 && strings.Count(r.err, "\n") != 1 { // 137: of the program's
					t.Errorf("%s: exit %d: %q", args, r.code, r.err)
				}
			})
		}
		all.Wait()
		h.must("delete", "--force", "c")
		h.empty()
	}
}

// State files cut short at any length, or of an older version that had less in them.
func TestStateCut(t *testing.T) {
	h := newHouse(t)
	h.config(nil, "sleep", "100")
	cut := func(file string, data []byte) {
		t.Helper()
		h.must("run", "-d", "c")
		if err := os.WriteFile(filepath.Join(h.root, "c", file), data, 0o600); err != nil {
			t.Fatal(err)
		}
		for _, args := range [][]string{{"state", "c"}, {"start", "c"}, {"exec", "c", "true"}, {"list"}} {
			if r := h.try(args...); strings.Count(r.err, "\n") > 1 || r.code != 0 && r.err == "" || strings.Contains(r.err, "goroutine") {
				t.Errorf("%s of %d bytes: %s: exit %d: %q", file, len(data), args[0], r.code, r.err)
			}
		}
		h.must("delete", "--force", "c")
		h.empty()
		if t.Failed() {
			t.Fatalf("%s: %q", file, data)
		}
	}
	h.must("run", "-d", "c")
	whole := map[string][]byte{}
	for _, file := range []string{"state.json", configFile} {
		data, err := os.ReadFile(filepath.Join(h.root, "c", file))
		if err != nil {
			t.Fatal(err)
		}
		whole[file] = data
	}
	h.must("delete", "--force", "c")
	for file, data := range whole {
		for n := 0; n < len(data); n += max(1, len(data)*stride(24)/120) {
			cut(file, data[:n])
		}
	}
	for _, text := range []string{`{}`, `null`, `[]`, `{"version":0,"id":"c","status":"running","pid":1,"boot":""}`, `{"version":1,"id":"c","status":"running"}`, `{"version":1,"id":"other","status":"created","bundle":{}}`, "\x00\x00\x00\x00"} {
		cut("state.json", []byte(text))
	}
	for _, file := range []string{"pass", "page"} {
		h.must("create", "c")
		if err := os.Remove(filepath.Join(h.root, "c", file)); err != nil {
			t.Fatal(err)
		}
		if r := h.try("start", "c"); r.code == 0 || strings.Count(r.err, "\n") != 1 {
			t.Errorf("%s is gone: start: %+v", file, r)
		}
		h.must("delete", "--force", "c")
		h.empty()
	}
	for _, size := range []int64{0, 1, 63, 64, 4095, 4096, 8192} {
		h.must("create", "c")
		pid := h.stands("c").Pid
		if err := os.Truncate(filepath.Join(h.root, "c", "page"), size); err != nil {
			t.Fatal(err)
		}
		h.try("start", "c")
		h.must("delete", "--force", "c")
		if stat, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat"); err == nil && !strings.Contains(string(stat), ") Z ") {
			t.Errorf("a page of %d bytes: the process lives on", size)
		}
		h.empty()
	}
}
