package ocicli

import (
	"encoding/json"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"porthole/internal/host/sys"
)

// filtered is a configuration's filter with one rule, for mkdir.
func filtered(s *specs.Spec, rule specs.LinuxSyscall, flags ...specs.LinuxSeccompFlag) {
	rule.Names = []string{"mkdir", "mkdirat"}
	s.Linux.Seccomp = &specs.LinuxSeccomp{DefaultAction: specs.ActAllow, Flags: flags, Syscalls: []specs.LinuxSyscall{rule}}
}

// Every action does what it says, with no_new_privs and without, as with runc and crun.
func TestSeccompActions(t *testing.T) {
	h := newHouse(t)
	for _, c := range []struct {
		action specs.LinuxSeccompAction
		errno  *uint
		want   result
	}{
		{specs.ActAllow, nil, result{out: "made\n"}},
		{specs.ActLog, nil, result{out: "made\n"}},
		{specs.ActErrno, nil, result{out: "not permitted\n"}},
		{specs.ActErrno, new(uint(28)), result{out: "No space left on device\n"}},
		{specs.ActErrno, new(uint(0)), result{out: "none\n"}}, // as if done
		{specs.ActTrace, nil, result{out: "Function not implemented\n"}},
		{specs.ActKill, nil, result{out: "killed 159\n"}},
		{specs.ActKillThread, nil, result{out: "killed 159\n"}},
		{specs.ActKillProcess, nil, result{out: "killed 159\n"}},
		{specs.ActTrap, nil, result{out: "killed 159\n"}},
	} {
		for _, nnp := range []bool{false, true} {
			t.Run(fmt.Sprint(c.action, nnp, c.errno != nil), func(t *testing.T) {
				h.t = t
				h.config(func(s *specs.Spec) {
					s.Version, s.Process.NoNewPrivileges = "1.0.2", nnp
					filtered(s, specs.LinuxSyscall{Action: c.action, ErrnoRet: c.errno})
				}, "sh", "-c", `e=$(busybox mkdir /tmp/x 2>&1); code=$?; rmdir=$(busybox rmdir /tmp/x 2>&1)
					if [ $code -gt 128 ]; then echo killed $code; elif [ -z "$e" ] && [ -n "$rmdir" ]; then echo none; elif [ -z "$e" ]; then echo made
					elif [ "$e" != "${e%not permitted}" ]; then echo not permitted; else echo "${e##*: }"; fi`)
				r := h.try("run", "c")
				r.err = "" // the shell tells of signals
				if r != c.want {
					t.Errorf("got %+v, want %+v", r, c.want)
				}
				for _, name := range []string{"runc", "crun"} {
					p := h.peer(name)
					// libseccomp 2.5 has no errno for SCMP_ACT_ERRNO 0, and a newer kernel's names are unknown to it.
					if p.code == 0 && p.out != r.out && !(c.errno != nil && *c.errno == 0) {
						t.Errorf("%s: %+v, ours %+v", name, p, r)
					}
				}
			})
			h.t = t
		}
	}
	h.empty()
}

// Flags reach the kernel: SPEC_ALLOW leaves speculation as it is, LOG and TSYNC are taken; others are refused by name.
func TestSeccompFlags(t *testing.T) {
	h := newHouse(t)
	look := []string{"sh", "-c", "grep -E '^(Seccomp|Speculation)' /proc/self/status"}
	show := func(flags ...specs.LinuxSeccompFlag) string {
		h.config(func(s *specs.Spec) {
			s.Version = "1.0.2"
			filtered(s, specs.LinuxSyscall{Action: specs.ActErrno}, flags...)
		}, look...)
		return h.beside(strings.TrimSpace, "runc", "crun")
	}
	none := show()
	if !strings.Contains(none, "Seccomp:\t2") {
		t.Errorf("no filter: %s", none)
	}
	spec := show(specs.LinuxSeccompFlagSpecAllow)
	own, _ := os.ReadFile("/proc/self/status")
	if strings.Contains(string(own), "Speculation_Store_Bypass:\tthread vulnerable") && spec == none {
		t.Errorf("SPEC_ALLOW changes nothing: %s", spec)
	}
	for _, f := range []specs.LinuxSeccompFlag{specs.LinuxSeccompFlagLog, "SECCOMP_FILTER_FLAG_TSYNC"} {
		if got := show(f); got != none {
			t.Errorf("%s: %s, want %s", f, got, none)
		}
	}
	h.config(func(s *specs.Spec) {
		filtered(s, specs.LinuxSyscall{Action: specs.ActErrno}, specs.LinuxSeccompFlagLog, "SECCOMP_FILTER_FLAG_FLY")
	}, "true")
	h.fails("linux.seccomp.flags[1]", "create", "c")
	h.empty()
}

// agent listens at a socket as a seccomp agent does (runtime-spec, config-linux.md, "The Container Process State").
type agent struct {
	t    *testing.T
	path string
	l    *net.UnixListener
}

func newAgent(t *testing.T) *agent {
	t.Helper()
	dir, err := os.MkdirTemp("", "agent") // a socket's name is short
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	a := &agent{t: t, path: filepath.Join(dir, "s")}
	if a.l, err = net.ListenUnix("unix", &net.UnixAddr{Name: a.path, Net: "unix"}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { a.l.Close() })
	return a
}

// told is the state that came, and the listener.
func (a *agent) told() (specs.ContainerProcessState, *os.File) {
	a.t.Helper()
	a.l.SetDeadline(time.Now().Add(10 * time.Second))
	c, err := a.l.AcceptUnix()
	if err != nil {
		a.t.Fatal(err)
	}
	defer c.Close()
	text, oob := make([]byte, 1<<16), make([]byte, 100)
	n, on, _, _, err := c.ReadMsgUnix(text, oob)
	if err != nil {
		a.t.Fatal(err)
	}
	msgs, err := unix.ParseSocketControlMessage(oob[:on])
	if err != nil || len(msgs) != 1 {
		a.t.Fatalf("%d messages, %v", len(msgs), err)
	}
	fds, err := unix.ParseUnixRights(&msgs[0])
	if err != nil || len(fds) != 1 {
		a.t.Fatalf("%d files, %v", len(fds), err)
	}
	var st specs.ContainerProcessState
	if err := json.Unmarshal(text[:n], &st); err != nil {
		a.t.Fatalf("%s: %v", text[:n], err)
	}
	return st, os.NewFile(uintptr(fds[0]), "listener")
}

// answer has the next call that the filter hands over fail with errno, and returns the caller.
func (a *agent) answer(l *os.File, errno unix.Errno) (pid int) {
	a.t.Helper()
	for {
		n, err := sys.NotifRecv(int(l.Fd()))
		if err == unix.EINTR || err == unix.ENOENT {
			continue
		}
		if err != nil {
			a.t.Fatal(err)
		}
		if err := sys.NotifAnswer(int(l.Fd()), n.ID, int(errno)); err != nil {
			a.t.Fatal(err)
		}
		return int(n.PID)
	}
}

// An agent is handed the listener with the container's state, by create and start, by run, and for each exec.
func TestSeccompAgent(t *testing.T) {
	h := newHouse(t)
	for _, nnp := range []bool{false, true} {
		for _, flags := range [][]specs.LinuxSeccompFlag{nil, {specs.LinuxSeccompFlagWaitKillableRecv}} {
			t.Run(fmt.Sprint(nnp, flags), func(t *testing.T) {
				h.t = t
				a := newAgent(t)
				h.config(func(s *specs.Spec) {
					s.Process.NoNewPrivileges = nnp
					s.Annotations = map[string]string{"k": "v"}
					filtered(s, specs.LinuxSyscall{Action: specs.ActNotify}, flags...)
					s.Linux.Seccomp.ListenerPath, s.Linux.Seccomp.ListenerMetadata = a.path, `{"any": "thing"}`
				}, "sh", "-c", "busybox mkdir /tmp/x; sleep 100")
				h.must("create", "c")
				pid := h.stands("c").Pid
				h.must("start", "c")
				st, l := a.told()
				defer l.Close()
				status := specs.StateCreating
				if nnp { // the filter comes last then
					status = specs.StateCreated
				}
				want := specs.ContainerProcessState{Version: specs.Version, Fds: []string{specs.SeccompFdName}, Pid: pid, Metadata: `{"any": "thing"}`,
					State: specs.State{Version: specs.Version, ID: "c", Status: status, Pid: pid, Bundle: h.bundle, Annotations: map[string]string{"k": "v"}}}
				if !reflect.DeepEqual(st, want) {
					t.Errorf("got  %+v\nwant %+v", st, want)
				}
				if caller := a.answer(l, unix.EXDEV); caller <= 0 {
					t.Errorf("caller %d", caller)
				}

				// One that joins installs a filter of its own, and the agent is told of that process.
				done := make(chan result)
				go func() { done <- h.try("exec", "c", "busybox", "mkdir", "/tmp/y") }()
				st2, l2 := a.told()
				defer l2.Close()
				caller := a.answer(l2, unix.EDQUOT)
				if st2.Pid == pid || st2.State.Status != specs.StateRunning || st2.State.Pid != pid || caller != st2.Pid {
					t.Errorf("exec: told of process %d of the container of %d; the caller is %d", st2.Pid, st2.State.Pid, caller)
				}
				if r := <-done; r.code != 1 || !strings.Contains(r.err+r.out, "quota exceeded") {
					t.Errorf("exec: %+v", r)
				}
				h.must("delete", "-f", "c")
			})
			h.t = t
		}
	}
	// Nobody listens: nothing is left.
	h.config(func(s *specs.Spec) {
		filtered(s, specs.LinuxSyscall{Action: specs.ActNotify})
		s.Linux.Seccomp.ListenerPath = filepath.Join(t.TempDir(), "nobody")
	}, "true")
	h.fails("linux.seccomp.listenerPath", "run", "c")
	// A path that no rule needs is of no use, and no reason to fail.
	h.config(func(s *specs.Spec) {
		filtered(s, specs.LinuxSyscall{Action: specs.ActErrno})
		s.Linux.Seccomp.ListenerPath = filepath.Join(t.TempDir(), "nobody")
	}, "true")
	h.must("run", "c")
	h.empty()
}
