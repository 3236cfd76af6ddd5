package ocicli

import (
	"bytes"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// manager listens as a service manager does.
func manager(t *testing.T) (path string, heard func() string) {
	t.Helper()
	dir, err := os.MkdirTemp("/tmp", "po") // a socket's path is short
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	path = filepath.Join(dir, "s")
	c, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return path, func() string {
		t.Helper()
		c.SetReadDeadline(time.Now().Add(10 * time.Second))
		buf := make([]byte, 4096)
		n, err := c.Read(buf)
		if err != nil {
			t.Fatalf("the service manager hears nothing: %v", err)
		}
		return string(buf[:n])
	}
}

// say sends what a program in the container of pid would.
func say(t *testing.T, pid int, at, text string) {
	t.Helper()
	name := fmt.Sprintf("/proc/%d/root%s/notify", pid, at)
	eventually(t, "somebody listens at "+name, func() bool {
		c, err := net.Dial("unixgram", name)
		if err != nil {
			return false
		}
		defer c.Close()
		_, err = c.Write([]byte(text))
		return err == nil
	})
}

// A start waits for the program to say that it is ready; only that, and who it is, is handed on to the service manager.
func TestNotify(t *testing.T) {
	h := newHouse(t)
	path, heard := manager(t)
	h.env = []string{"NOTIFY_SOCKET=" + path}
	h.config(func(s *specs.Spec) { s.Process.User = specs.User{UID: 1, GID: 1} }, "sh", "-c", "echo $NOTIFY_SOCKET; touch ${NOTIFY_SOCKET}2; exec sleep 100")
	h.open()
	for _, in := range []string{"rootfs", "rootfs/bin"} {
		os.Chmod(filepath.Join(h.bundle, in), 0o755)
	}

	out, err := os.CreateTemp(t.TempDir(), "out")
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	create := h.command(t.Context(), "create", "c")
	create.Stdout = out
	if err := create.Run(); err != nil {
		t.Fatal(err)
	}
	start := h.command(t.Context(), "start", "c")
	var errs bytes.Buffer
	start.Stderr = &errs
	if err := start.Start(); err != nil {
		t.Fatal(err)
	}
	pid := h.stands("c").Pid
	eventually(t, "the program runs", func() bool { text, _ := os.ReadFile(out.Name()); return len(text) > 0 })
	say(t, pid, path, "STATUS=waking up\nMAINPID=1\n")
	say(t, pid, path, "ERRNO=0\nREADY=1\n")
	if first, second := heard(), heard(); first != "READY=1" || second != fmt.Sprintf("MAINPID=%d", pid) {
		t.Errorf("heard %q and %q", first, second)
	}
	if err := start.Wait(); err != nil {
		t.Errorf("start: %v: %s", err, &errs)
	}
	if text, _ := os.ReadFile(out.Name()); string(text) != path+"/notify\n" {
		t.Errorf("the program's NOTIFY_SOCKET: %q", text)
	}
	if _, err := os.Stat(fmt.Sprintf("/proc/%d/root%s/notify2", pid, path)); err == nil {
		t.Error("the program makes files where its socket is")
	}
	h.must("delete", "--force", "c")

	// Where it ends without a word, start does not wait for one.
	h.config(nil, "true")
	h.must("create", "c")
	h.must("start", "c")
	h.must("delete", "c")
	// Nor where nobody asks it to.
	h.config(nil, "sleep", "100")
	h.must("create", "c")
	h.env = nil
	h.must("start", "c")
	h.must("delete", "-f", "c")

	// In the foreground it is the runtime that stands for the container.
	h.env = []string{"NOTIFY_SOCKET=" + path}
	run := h.command(t.Context(), "run", "c")
	if err := run.Start(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "it runs", func() bool { r := h.try("state", "c"); return strings.Contains(r.out, "running") })
	say(t, h.stands("c").Pid, path, "READY=1")
	if text := heard(); text != "READY=1" {
		t.Errorf("heard %q", text)
	}
	h.must("kill", "c", "KILL")
	run.Wait()
	h.empty()
}
