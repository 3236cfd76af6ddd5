package escape

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// Who waits for its start, or is about to, in a pid namespace that others are in, is seen by them. One with CAP_SYS_PTRACE may
// trace it (ptrace_may_access, kernel/ptrace.c), dumpable or not, where both are in one user namespace: it may then have no
// more than its program will have.

// expecting, in the environment, says that those who come are to have a filter.
const expecting = "PORTHOLE_ESCAPE_EXPECT_FILTER"

// TestStarts has an attacker with CAP_SYS_PTRACE take whoever comes, by each way that there is.
func TestStarts(t *testing.T) {
	filter := func(c *cell, s *specs.Spec) { s.Process.NoNewPrivileges, s.Linux.Seccomp = true, allBut("reboot") }
	user := func(c *cell, s *specs.Spec) { s.Process.User = specs.User{UID: 1000, GID: 1000} }
	for _, w := range []struct {
		name, runtime string
		filtered      bool
		come          func(c *cell)
	}{
		{"created", "porthole-oci", false, func(c *cell) { c.waits(nil) }},
		{"created, a user's", "porthole-oci", false, func(c *cell) { c.waits(user) }},
		{"created, with a filter and no_new_privs", "porthole-oci", true, func(c *cell) { c.waits(filter) }},
		{"run", "porthole-oci", false, func(c *cell) { c.comes(func() { c.joins(nil, "run") }) }},
		{"run, with a filter and no_new_privs", "porthole-oci", true, func(c *cell) { c.comes(func() { c.joins(filter, "run") }) }},
		{"exec", "porthole-oci", true, func(c *cell) { c.comes(func() { c.must("exec", "box", "true") }) }},
		{"exec, with no_new_privs", "porthole-oci", true, func(c *cell) { c.comes(func() { c.must("exec", "--no-new-privs", "box", "true") }) }},
		{"exec", "porthole", false, func(c *cell) { c.comes(func() { c.must("exec", "box", "true") }) }},
	} {
		t.Run(w.runtime+" "+w.name, func(t *testing.T) {
			c := newCell(t, w.runtime)
			stop := c.taker(w.filtered)
			w.come(c)
			if got := stop(); got != "" {
				t.Error("got:", got)
			}
		})
	}
	// A profile that does not let the process wait: it waits before that is in force, with all that root has.
	t.Run("weak", func(t *testing.T) {
		c := newCell(t, "porthole-oci")
		stop := c.taker(false)
		c.waits(func(c *cell, s *specs.Spec) {
			s.Linux.Seccomp = allBut("read")
		})
		got := stop()
		t.Log("got:", got)
		for _, way := range ways {
			if !strings.Contains(got, way.name) {
				t.Errorf("%s does not succeed where it ought to", way.name)
			}
		}
	})
}

func allBut(call string) *specs.LinuxSeccomp {
	return &specs.LinuxSeccomp{DefaultAction: specs.ActAllow, Syscalls: []specs.LinuxSyscall{{Names: []string{call}, Action: specs.ActErrno}}}
}

// taker starts the attacker.
func (c *cell) taker(filtered bool) (stop func() string) {
	if filtered {
		return c.hunter("starts", expecting+"=1")
	}
	return c.hunter("starts")
}

// joins carries out a verb with a container that shares the attacker's pid namespace.
func (c *cell) joins(change func(*cell, *specs.Spec), verb string) {
	c.t.Helper()
	s := c.spec("true")
	s.Linux.Namespaces[0].Path = "/proc/" + c.pid() + "/ns/pid"
	s.Linux.CgroupsPath += "-too"
	if change != nil {
		change(c, s)
	}
	c.config(s)
	c.must(verb, "too")
	c.ran++
}

// waits creates one, which stands there until the attacker has looked at it, and starts it where it can be.
func (c *cell) waits(change func(*cell, *specs.Spec)) {
	c.t.Helper()
	c.joins(change, "create")
	c.await(c.volume + "/looked")
	time.Sleep(50 * time.Millisecond)
	c.do("start", "too")
	c.do("delete", "--force", "too")
}

// comes brings many, until the attacker has met some.
func (c *cell) comes(one func()) {
	c.t.Helper()
	most := time.Second
	if os.Getenv(thorough) != "" {
		most = 5 * time.Second
	}
	for begun := time.Now(); time.Since(begun) < most || !exists(c.volume+"/looked") && time.Since(begun) < 10*time.Second; {
		one()
	}
}

// ways are those by which a process may be taken. Each says whether it succeeded.
var ways = []struct {
	name string
	try  func(pid int) bool
}{
	{"ptrace", func(pid int) bool {
		if unix.PtraceSeize(pid) != nil {
			return false
		}
		unix.PtraceInterrupt(pid)
		var status unix.WaitStatus // it stops, or ends
		_, err := unix.Wait4(pid, &status, unix.WALL, nil)
		for err == unix.EINTR {
			_, err = unix.Wait4(pid, &status, unix.WALL, nil)
		}
		unix.PtraceDetach(pid)
		return true
	}},
	{"/proc/PID/mem", func(pid int) bool {
		mem, err := unix.Open(proc(pid, "mem"), unix.O_RDWR, 0)
		if err != nil {
			return false
		}
		defer unix.Close(mem)
		var b [8]byte
		at := writable(pid)
		if n, _ := unix.Pread(mem, b[:], at); n != len(b) {
			return false
		}
		n, _ := unix.Pwrite(mem, b[:], at)
		return n == len(b)
	}},
	{"process_vm_writev", func(pid int) bool {
		b := make([]byte, 8)
		local := []unix.Iovec{{Base: &b[0], Len: 8}}
		remote := []unix.RemoteIovec{{Base: uintptr(writable(pid)), Len: 8}}
		if n, _ := unix.ProcessVMReadv(pid, local, remote, 0); n != 8 {
			return false
		}
		n, _ := unix.ProcessVMWritev(pid, local, remote, 0)
		return n == 8
	}},
	{"pidfd_getfd", func(pid int) bool {
		fd, err := unix.PidfdOpen(pid, 0)
		if err != nil {
			return false
		}
		defer unix.Close(fd)
		got := false
		for n := range 32 {
			if theirs, err := unix.PidfdGetfd(fd, n, 0); err == nil {
				unix.Close(theirs)
				got = true
			}
		}
		return got
	}},
}

func proc(pid int, name string) string { return "/proc/" + strconv.Itoa(pid) + "/" + name }

// writable is the last mapping of a process that it may write to: its own data, which it shares with nobody, come before.
func writable(pid int) (at int64) {
	maps, _ := os.ReadFile(proc(pid, "maps"))
	for line := range strings.Lines(string(maps)) {
		if f := strings.Fields(line); len(f) > 1 && strings.HasPrefix(f[1], "rw") {
			from, _, _ := strings.Cut(f[0], "-")
			at, _ = strconv.ParseInt(from, 16, 64)
		}
	}
	return at
}

// has are the capabilities that a process has or may come to have, and whether it has a filter.
func has(pid string) (set uint64, filtered, ok bool) {
	status, err := os.ReadFile("/proc/" + pid + "/status")
	for line := range bytes.Lines(status) {
		name, value, _ := strings.Cut(string(line), ":")
		value = strings.TrimSpace(value)
		switch name {
		case "CapPrm", "CapEff", "CapBnd", "CapInh":
			n, _ := strconv.ParseUint(value, 16, 64)
			set |= n
		case "Seccomp":
			filtered = value != "0"
		}
	}
	return set, filtered, err == nil
}

// takeStarters, inside, tries each way with everybody who comes and has not executed its program yet, and says which of them
// gave it more than it has itself.
func takeStarters() {
	runtime.LockOSThread() // it is the tracer
	own, _, _ := has("self")
	expect := os.Getenv(expecting) != ""
	found, met := map[string]bool{}, map[int]bool{}
	os.WriteFile("/vol/ready", nil, 0o644)
	for {
		if _, err := os.Stat("/vol/stop"); err == nil {
			break
		}
		dir, err := os.Open("/proc")
		if err != nil {
			continue
		}
		names, _ := dir.Readdirnames(-1)
		dir.Close()
		for _, name := range names {
			pid, err := strconv.Atoi(name)
			if err != nil || pid == 1 || pid == os.Getpid() || !early("/proc/"+name) {
				continue
			}
			met[pid] = true
			for _, way := range ways {
				if !way.try(pid) || !early("/proc/"+name) {
					continue
				}
				set, filtered, ok := has(name)
				if more := set &^ own; ok && more != 0 {
					found[fmt.Sprintf("%s: capabilities %#x", way.name, more)] = true
				}
				if ok && expect && !filtered {
					found[way.name+": one without its filter"] = true
				}
			}
		}
		if len(met) > 0 && !exists("/vol/looked") {
			os.WriteFile("/vol/looked", nil, 0o644)
		}
	}
	var text strings.Builder
	for what := range found {
		fmt.Fprintln(&text, "GOT", what)
	}
	fmt.Fprintln(&text, "met", len(met))
	os.WriteFile("/vol/said.new", []byte(text.String()), 0o644)
	os.Rename("/vol/said.new", filepath.Join("/vol", "said"))
}
