package ocicli

import (
	"bufio"
	"encoding/json"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// somewhere is a hierarchy that containers have their group in, and that group's directory.
func (h *house) somewhere(pid int) (dir string) {
	h.t.Helper()
	for _, controller := range []string{"pids", ""} {
		dir := filepath.Join("/sys/fs/cgroup", controller, h.group)
		if text, err := os.ReadFile(dir + "/cgroup.procs"); err == nil && strings.Contains("\n"+string(text), "\n"+strconv.Itoa(pid)+"\n") {
			return dir
		}
	}
	h.t.Skip("no pids hierarchy, and no v2")
	return ""
}

// One more process may be put into a group beneath the container's, and nowhere else.
func TestExecCgroup(t *testing.T) {
	h := newHouse(t)
	h.config(func(s *specs.Spec) { // so that it sees where it is
		s.Linux.Namespaces = remove(s.Linux.Namespaces, inCgroupNamespace)
	}, "sleep", "100")
	h.must("run", "-d", "c")
	defer h.must("delete", "-f", "c")
	dir := h.somewhere(h.stands("c").Pid)
	h.fails("bad sub cgroup path", "exec", "--cgroup", "../other", "c", "true")
	h.fails("no such file or directory", "exec", "--cgroup", "nowhere", "c", "true")
	if !strings.Contains(dir, "/pids/") {
		return
	}
	h.fails("unknown controller what", "exec", "--cgroup", "what:/", "c", "true")
	if err := os.Mkdir(dir+"/beneath", 0o755); err != nil {
		t.Fatal(err)
	}
	if out := h.must("exec", "--cgroup", "pids:beneath", "c", "cat", "/proc/self/cgroup"); !strings.Contains(out, ":pids:/"+h.group+"/beneath\n") ||
		!strings.Contains(out, ":freezer:/"+h.group+"\n") {
		t.Errorf("it is in\n%s", out)
	}
}

// Without a pid namespace of its own the end of the first process ends no other; kill KILL does, and after it, too.
func TestKillSharedPIDs(t *testing.T) {
	h := newHouse(t)
	for _, first := range []bool{true, false} {
		h.config(func(s *specs.Spec) {
			s.Linux.Namespaces = remove(s.Linux.Namespaces, func(n specs.LinuxNamespace) bool { return n.Type == "pid" })
		}, "sleep", "100")
		h.must("run", "-d", "c")
		h.must("exec", "-d", "c", "sleep", "100")
		var pids []int
		if err := json.Unmarshal([]byte(h.must("ps", "--format", "json", "c")), &pids); err != nil || len(pids) != 2 {
			t.Fatalf("%v, %v", pids, err)
		}
		if !first {
			unix.Kill(h.stands("c").Pid, unix.SIGKILL)
			eventually(t, "the first has ended", func() bool { return h.stands("c").Status == "stopped" })
		}
		h.must("kill", "c", "KILL")
		eventually(t, "all have ended", func() bool {
			return strings.TrimSpace(h.must("ps", "--format", "json", "c")) == "[]" && h.stands("c").Status == "stopped"
		})
		h.fails("container not running", "kill", "c", "KILL")
		h.must("delete", "c")
	}
	h.empty()
}

// Whoever listens at --pidfd-socket gets a process that it can signal.
func TestPidfdSocket(t *testing.T) {
	h := newHouse(t)
	h.config(nil, "sleep", "100")
	at := filepath.Join(t.TempDir(), "socket")
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: at, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	got := func() (kind string, pidfd int) {
		c, err := l.AcceptUnix()
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		text, oob := make([]byte, 100), make([]byte, 100)
		n, m, _, _, err := c.ReadMsgUnix(text, oob)
		if err != nil {
			t.Fatal(err)
		}
		msgs, err := unix.ParseSocketControlMessage(oob[:m])
		if err != nil || len(msgs) != 1 {
			t.Fatalf("%v, %v", msgs, err)
		}
		fds, err := unix.ParseUnixRights(&msgs[0])
		if err != nil || len(fds) != 1 {
			t.Fatalf("%v, %v", fds, err)
		}
		return string(text[:n]), fds[0]
	}
	h.must("run", "-d", "--pidfd-socket", at, "c")
	kind, first := got()
	defer unix.Close(first)
	if kind != "standard" {
		t.Errorf("the first comes as %q", kind)
	}
	h.must("exec", "-d", "--pidfd-socket", at, "c", "sleep", "100")
	kind, more := got()
	defer unix.Close(more)
	if kind != "setns" {
		t.Errorf("one more comes as %q", kind)
	}
	if err := unix.PidfdSendSignal(more, unix.SIGKILL, nil, 0); err != nil {
		t.Error(err)
	}
	if s := h.stands("c"); s.Status != "running" {
		t.Errorf("%+v", s)
	}
	if err := unix.PidfdSendSignal(first, unix.SIGKILL, nil, 0); err != nil {
		t.Error(err)
	}
	eventually(t, "it has stopped", func() bool {
		unix.Wait4(-1, nil, unix.WNOHANG, nil) // the other's parent has gone before it: it is ours, and its namespace waits for it
		return h.stands("c").Status == "stopped"
	})
	h.must("delete", "c")
	h.empty()
}

// events tells of a process that the kernel has killed for want of memory.
func TestEventsOOM(t *testing.T) {
	h := newHouse(t)
	limit := int64(16 << 20)
	h.config(func(s *specs.Spec) {
		s.Linux.Resources.Memory = &specs.LinuxMemory{Limit: &limit, Swap: &limit}
	}, "sleep", "100")
	r := h.try("run", "-d", "c")
	if r.code != 0 && strings.Contains(r.err, "memory") {
		t.Skip("no memory controller here: " + r.err)
	} else if r.code != 0 {
		t.Fatal(r.err)
	}
	cmd := h.command(t.Context(), "events", "--interval", "1h", "c")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := make(chan string)
	go func() {
		defer close(lines)
		for s := bufio.NewScanner(out); s.Scan(); {
			lines <- s.Text()
		}
	}()
	next := func() string {
		select {
		case line := <-lines:
			return line
		case <-time.After(20 * time.Second):
			t.Error("nothing comes")
			return ""
		}
	}
	if line := next(); !strings.HasPrefix(line, `{"type":"stats","id":"c",`) {
		t.Errorf("first: %.100s", line)
	}
	h.try("exec", "c", "sh", "-c", "x=a; while :; do x=$x$x; done")
	if line := next(); line != `{"type":"oom","id":"c"}` {
		t.Errorf("then: %.100s", line)
	}
	h.must("delete", "-f", "c")
	for range lines {
	}
	if err := cmd.Wait(); err != nil {
		t.Errorf("events: %v", err)
	}
	h.empty()
}
