package ocicli

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

func TestLife(t *testing.T) {
	h := newHouse(t)
	h.config(func(s *specs.Spec) { s.Annotations = map[string]string{"a": "b"} }, "sleep", "100")
	pidFile := filepath.Join(t.TempDir(), "pid")

	h.fails("container does not exist", "state", "c")
	h.fails("container does not exist", "start", "c")
	h.fails("container does not exist", "delete", "c")
	h.must("delete", "--force", "c")
	h.fails("invalid container ID format", "create", "a/b")
	h.fails("invalid container ID format", "state", "..")
	h.must("create", "--bundle", h.bundle, "--pid-file", pidFile, "c")
	h.fails("container with given ID already exists", "create", "c")
	s := h.stands("c")
	if s.Status != "created" || s.Bundle != h.bundle || s.Rootfs != h.bundle+"/rootfs" || s.Annotations["a"] != "b" || s.Owner != "root" {
		t.Errorf("state: %+v", s)
	}
	if text, _ := os.ReadFile(pidFile); string(text) != strconv.Itoa(s.Pid) {
		t.Errorf("pid file: %q, want %d", text, s.Pid)
	}
	h.must("start", "c")
	h.fails("cannot start an already running container", "start", "c")
	if now := h.stands("c"); now.Status != "running" || now.Pid != s.Pid {
		t.Errorf("state: %+v", now)
	}
	var pids []int
	if err := json.Unmarshal([]byte(h.must("ps", "--format", "json", "c")), &pids); err != nil || len(pids) != 1 || pids[0] != s.Pid {
		t.Errorf("ps: %v %v", pids, err)
	}
	if out := h.must("ps", "c"); !strings.Contains(out, "sleep 100") {
		t.Errorf("ps: %s", out)
	}
	if out := h.must("list"); !strings.Contains(out, "c           "+strconv.Itoa(s.Pid)) {
		t.Errorf("list: %s", out)
	}
	h.fails("container not paused", "resume", "c")
	h.must("pause", "c")
	if now := h.stands("c"); now.Status != "paused" {
		t.Errorf("state: %+v", now)
	}
	h.fails("cannot exec in a paused container", "exec", "c", "true")
	h.must("resume", "c")
	var e event
	if err := json.Unmarshal([]byte(h.must("events", "--stats", "c")), &e); err != nil || e.Type != "stats" || e.ID != "c" {
		t.Errorf("events: %+v %v", e, err)
	}
	h.fails("cannot delete container c that is not stopped: running", "delete", "c")
	h.must("kill", "c", "SIGKILL")
	eventually(t, "the container has stopped", func() bool { return h.stands("c").Status == "stopped" })
	h.fails("container not running", "kill", "c", "TERM")
	h.must("kill", "--all", "c", "9")
	h.fails("cannot start a container that has stopped", "start", "c")
	h.fails("cannot exec in a stopped container", "exec", "c", "true")
	h.must("delete", "c")
	h.empty()
}

func TestRun(t *testing.T) {
	h := newHouse(t)
	h.config(nil, "sh", "-c", "id -u; exit 7")
	if r := h.try("run", "c"); r.code != 7 || r.out != "0\n" {
		t.Errorf("%+v", r)
	}
	h.config(nil, "nonexist")
	h.fails(`exec: \"nonexist\": executable file not found in $PATH`, "run", "c")
	h.fails(`exec: \"nonexist\": executable file not found in $PATH`, "create", "c")
	h.config(nil, "/etc")
	h.fails(`exec: \"/etc\": permission denied`, "run", "c")
	h.config(nil, "sleep", "100")
	h.must("run", "--detach", "c")
	if s := h.stands("c"); s.Status != "running" {
		t.Errorf("%+v", s)
	}
	h.must("delete", "-f", "c")
	h.config(nil, "true")
	h.must("run", "--keep", "c")
	if s := h.stands("c"); s.Status != "stopped" || s.Pid != 0 {
		t.Errorf("%+v", s)
	}
	h.must("delete", "c")
	h.empty()
}

// A program may have ended, and been reaped by its parent, before start looks at it.
func TestShortLife(t *testing.T) {
	h := newHouse(t)
	h.config(nil, "true")
	for i := range 20 {
		id := fmt.Sprint("c", i)
		h.must("create", id)
		h.must("start", id)
		h.must("delete", "--force", id)
	}
	h.empty()
}

func TestExec(t *testing.T) {
	h := newHouse(t)
	h.config(nil, "sleep", "100")
	h.must("run", "-d", "c")
	defer h.must("delete", "-f", "c")
	for _, c := range []struct {
		args []string
		want result
	}{
		{[]string{"c", "sh", "-c", "exit 3"}, result{code: 3}},
		{[]string{"--user", "12:34", "-g", "5", "c", "id"}, result{out: "uid=12 gid=34 groups=5\n"}},
		{[]string{"--cwd", "/tmp", "--env", "A=b", "c", "sh", "-c", "pwd; echo $A"}, result{out: "/tmp\nb\n"}},
		{[]string{"--cap", "CAP_CHOWN", "c", "grep", "CapPrm", "/proc/self/status"}, result{out: "CapPrm:\t0000000020000421\n"}},
		{[]string{"--no-new-privs", "c", "grep", "NoNew", "/proc/self/status"}, result{out: "NoNewPrivs:\t1\n"}},
	} {
		if r := h.try(append([]string{"exec"}, c.args...)...); r != c.want {
			t.Errorf("exec %v: %+v", c.args, r)
		}
	}
	if r := h.try("exec", "c", "nonexist"); r.code != 255 || !strings.Contains(r.err, "executable file not found in $PATH") {
		t.Errorf("%+v", r)
	}
	file, pid := filepath.Join(t.TempDir(), "process.json"), filepath.Join(t.TempDir(), "pid")
	if err := os.WriteFile(file, []byte(`{"args":["sleep","50"],"cwd":"/","env":["PATH=/bin"],"user":{"uid":7}}`), 0o600); err != nil {
		t.Fatal(err)
	}
	h.must("exec", "--process", file, "--detach", "--pid-file", pid, "c")
	number, _ := os.ReadFile(pid)
	if status, err := os.ReadFile("/proc/" + string(number) + "/status"); err != nil || !strings.Contains(string(status), "Uid:\t7\t7\t7\t7") {
		t.Errorf("%v %s", err, status)
	}
	reap(t, string(number))
	if err := os.WriteFile(file, []byte(`{"args":["sleep",50]}`), 0o600); err != nil {
		t.Fatal(err)
	}
	h.fails("args: a JSON number where a string belongs", "exec", "--process", file, "c")
}

// reap ends a process that exec has left to us: until then its pid namespace cannot end.
func reap(t *testing.T, number string) {
	t.Helper()
	pid, err := strconv.Atoi(number)
	if err != nil {
		t.Fatal(err)
	}
	unix.Kill(pid, unix.SIGKILL)
	if _, err := unix.Wait4(pid, nil, 0, nil); err != nil {
		t.Fatal(err)
	}
}

func TestUpdate(t *testing.T) {
	h := newHouse(t)
	h.config(nil, "sleep", "100")
	h.must("run", "-d", "c")
	defer h.must("delete", "-f", "c")
	h.must("update", "--pids-limit", "33", "--memory", "64m", "c")
	var e struct {
		Data struct {
			Pids   struct{ Limit uint64 }
			Memory struct{ Usage struct{ Limit uint64 } }
		}
	}
	if err := json.Unmarshal([]byte(h.must("events", "--stats", "c")), &e); err != nil || e.Data.Pids.Limit != 33 || e.Data.Memory.Usage.Limit != 64<<20 {
		t.Errorf("%+v %v", e, err)
	}
	file := filepath.Join(t.TempDir(), "r")
	if err := os.WriteFile(file, []byte(`{"cpu":{"quota":"many"}}`), 0o600); err != nil {
		t.Fatal(err)
	}
	h.fails("cpu.quota: a JSON string", "update", "-r", file, "c")
}

// The master of a terminal comes over a unix socket, in one message with its name.
func TestConsole(t *testing.T) {
	h := newHouse(t)
	h.config(func(s *specs.Spec) {
		s.Process.Terminal, s.Process.ConsoleSize = true, &specs.Box{Height: 12, Width: 34}
	}, "sh", "-c", "tty; stty size; sleep 100")
	h.fails("without setting console socket", "create", "c")
	socket := filepath.Join(t.TempDir(), "s")
	listener, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(listener)
	if err := unix.Bind(listener, &unix.SockaddrUnix{Name: socket}); err != nil {
		t.Fatal(err)
	}
	if err := unix.Listen(listener, 1); err != nil {
		t.Fatal(err)
	}
	master := func() *os.File {
		s, _, err := unix.Accept4(listener, unix.SOCK_CLOEXEC)
		if err != nil {
			t.Fatal(err)
		}
		defer unix.Close(s)
		text, oob := make([]byte, 100), make([]byte, 100)
		n, on, _, _, err := unix.Recvmsg(s, text, oob, unix.MSG_CMSG_CLOEXEC)
		if err != nil {
			t.Fatal(err)
		}
		msgs, err := unix.ParseSocketControlMessage(oob[:on])
		if err != nil || len(msgs) != 1 {
			t.Fatalf("%d messages, %v", len(msgs), err)
		}
		fds, err := unix.ParseUnixRights(&msgs[0])
		if err != nil || len(fds) != 1 || string(text[:n]) != "/dev/ptmx" {
			t.Fatalf("%q with %d files, %v", text[:n], len(fds), err)
		}
		return os.NewFile(uintptr(fds[0]), "master")
	}
	h.must("create", "--console-socket", socket, "c")
	defer h.must("delete", "-f", "c")
	m := master()
	defer m.Close()
	h.must("start", "c")
	read := func(m *os.File, want string) {
		t.Helper()
		var got []byte
		for b := make([]byte, 100); !strings.Contains(string(got), want); {
			n, err := m.Read(b)
			if got = append(got, b[:n]...); err != nil {
				t.Fatalf("%q, %v", got, err)
			}
		}
	}
	read(m, "/dev/pts/0\r\n12 34\r\n")
	pid := filepath.Join(t.TempDir(), "pid")
	h.must("exec", "--tty", "--detach", "--console-socket", socket, "--pid-file", pid, "c", "tty")
	x := master()
	defer x.Close()
	read(x, "/dev/pts/1\r\n")
	number, _ := os.ReadFile(pid)
	reap(t, string(number))
}

// Clients look for the last record of level error in the log.
func TestLog(t *testing.T) {
	h := newHouse(t)
	log := filepath.Join(t.TempDir(), "log")
	r := h.try("--log", log, "--log-format", "json", "state", "c")
	if r.code != 1 || r.err != "container does not exist\n" {
		t.Errorf("%+v", r)
	}
	var rec map[string]string
	data, _ := os.ReadFile(log)
	if err := json.Unmarshal(data, &rec); err != nil || rec["level"] != "error" || rec["msg"] != "container does not exist" || rec["time"] == "" || len(rec) != 3 {
		t.Errorf("%s: %v", data, err)
	}
	if r := h.try("state", "c"); !strings.HasPrefix(r.err, `time="`) || !strings.HasSuffix(r.err, ` level=error msg="container does not exist"`+"\n") {
		t.Errorf("%+v", r)
	}
	h.fails("did you mean create?", "creat")
	h.fails("checkpoint is not supported", "checkpoint", "c")
	h.fails("not defined: -nonsense", "create", "--nonsense", "c")
	h.config(nil, "true")
	h.fails("want slice:prefix:name", "--systemd-cgroup", "create", "c")
}

func TestDeletes(t *testing.T) {
	h := newHouse(t)
	h.config(nil, "sleep", "100")
	h.must("run", "-d", "c")
	var all sync.WaitGroup
	var mu sync.Mutex
	var results []result
	for range 4 {
		all.Go(func() {
			r := h.try("delete", "--force", "c")
			mu.Lock()
			results = append(results, r)
			mu.Unlock()
		})
	}
	all.Wait()
	for _, r := range results {
		if r.code != 0 {
			t.Errorf("%+v", r)
		}
	}
	h.empty()
}
