package launch

import (
	"bytes"
	"debug/elf"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"porthole/plan"

	"golang.org/x/sys/unix"
)

// underInit starts argv under the init, as pid 1 of a pid namespace where we may.
func underInit(t *testing.T, stderr *os.File, env []string, argv ...string) *Process {
	t.Helper()
	fd, err := InitFD()
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	if env == nil {
		env = []string{"PATH=/usr/bin:/bin"}
	}
	p := &plan.Plan{Slots: 32, Child: []plan.Step{
		step("dup3", slot(plan.SlotStderr), num(2), num(0)),
		step("setsid"),
		step("execveat", slot(plan.SlotInit), str(""), strs(append([]string{"init"}, argv...)...), strs(env...), num(unix.AT_EMPTY_PATH)),
	}}
	if os.Getuid() == 0 {
		p.Clone = unix.CLONE_NEWPID
	}
	pr := start(t, Options{Fds: map[plan.Slot]int{plan.SlotInit: fd, plan.SlotStderr: int(stderr.Fd())}}, p)
	if err := pr.Executed(soon(t)); err != nil {
		t.Fatal(err)
	}
	return pr
}

func TestInitImage(t *testing.T) {
	f, err := elf.NewFile(bytes.NewReader(InitImage()))
	if err != nil {
		t.Fatal(err)
	}
	if len(f.Progs) != 2 || f.Progs[0].Flags != elf.PF_R|elf.PF_X || f.Entry != initBase+initCode {
		t.Errorf("%+v", f.FileHeader)
	}
	if n := len(InitImage()); n > 2048 {
		t.Errorf("%d bytes", n)
	}
	if len(initText) > initCode-initWords {
		t.Error("the words run into the code")
	}
}

func TestInit(t *testing.T) {
	dir := t.TempDir()
	script := filepath.Join(dir, "forbidden")
	if err := os.WriteFile(script, []byte("#!/bin/sh\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "garbage"), []byte("not a program"), 0o755); err != nil {
		t.Fatal(err)
	}
	long := strings.Repeat("x", 5000)
	for _, c := range []struct {
		name string
		env  []string
		argv []string
		exit int
		says string
	}{
		{"status", nil, []string{"--", "/bin/sh", "-c", "exit 42"}, 42, ""},
		{"without --", nil, []string{"/bin/sh", "-c", "exit 43"}, 43, ""},
		{"signal", nil, []string{"--", "/bin/sh", "-c", "kill -TERM $$"}, 128 + 15, ""},
		{"found in PATH", []string{"A=1", "PATHS=/nowhere", "PATH=/nowhere:/usr/bin:/bin"}, []string{"--", "sh", "-c", "exit 44"}, 44, ""},
		{"found after a forbidden one", []string{"PATH=" + dir + ":/bin"}, []string{"--", "sh", "-c", "exit 45"}, 45, ""},
		{"without PATH", []string{"HOME=/"}, []string{"--", "sh", "-c", "exit 46"}, 46, ""},
		{"environment and arguments", []string{"PATH=/bin", "X=y z"}, []string{"--", "sh", "-c", `test "$X$1" = "y zone two" && exit 47`, "0", "one two"}, 47, ""},
		{"not there", nil, []string{"--", "/nonexistent"}, 127, "init: /nonexistent: not found\n"},
		{"not in PATH", nil, []string{"--", "nonexistent"}, 127, "init: nonexistent: not found\n"},
		{"below a file", nil, []string{"--", "/etc/passwd/x"}, 127, "init: /etc/passwd/x: not found\n"},
		{"forbidden", nil, []string{"--", script}, 126, "init: " + script + ": cannot be executed\n"},
		{"forbidden in PATH", []string{"PATH=/nowhere:" + dir}, []string{"--", "forbidden"}, 126, "init: forbidden: cannot be executed\n"},
		{"not a program", []string{"PATH=" + dir}, []string{"--", "garbage"}, 126, "init: garbage: cannot be executed\n"},
		{"overlong element of PATH", []string{"PATH=/" + long + ":/bin"}, []string{"--", "sh", "-c", "exit 48"}, 48, ""},
		{"overlong name", nil, []string{"--", long}, 127, "init: " + long + ": not found\n"},
		{"nothing", nil, []string{"--"}, 127, "init: no program is given\n"},
		{"nothing at all", nil, nil, 127, "init: no program is given\n"},
		{"clean signals", nil, []string{"--", "/bin/grep", "-q", "^SigBlk:.0000000000000000", "/proc/self/status"}, 0, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			stderr, err := os.Create(filepath.Join(t.TempDir(), "stderr"))
			if err != nil {
				t.Fatal(err)
			}
			defer stderr.Close()
			pr := underInit(t, stderr, c.env, c.argv...)
			status, _, err := pr.Wait()
			if err != nil || status.ExitStatus() != c.exit {
				t.Errorf("%#x %v", int(status), err)
			}
			if b, _ := os.ReadFile(stderr.Name()); string(b) != c.says {
				t.Errorf("it says %q", b)
			}
		})
	}
}

// A pid 1 is sent no signal that it has no handler for; the init takes them all and hands them on.
func TestInitForwards(t *testing.T) {
	out, err := os.Create(filepath.Join(t.TempDir(), "out"))
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	for _, sig := range []unix.Signal{unix.SIGTERM, unix.SIGUSR1, unix.SIGHUP, unix.SIGINT, unix.SIGWINCH, 42} {
		out.Truncate(0)
		out.Seek(0, 0)
		pr := underInit(t, out, nil, "--", "/bin/sh", "-c", fmt.Sprintf("trap 'exit 77' %d; echo >&2; while :; do sleep 0.01; done", int(sig)))
		waitFor(t, func() bool { st, err := out.Stat(); return err == nil && st.Size() > 0 })
		if err := pr.Signal(sig); err != nil {
			t.Fatal(err)
		}
		if status, _, err := pr.Wait(); err != nil || status.ExitStatus() != 77 {
			t.Errorf("%v: %#x %v", sig, int(status), err)
		}
	}
}

// Orphans become the init's children, and no zombie stays.
func TestInitReaps(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("needs root: a pid namespace")
	}
	out, err := os.Create(filepath.Join(t.TempDir(), "out"))
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	pr := underInit(t, out, nil, "--", "/bin/sh", "-c",
		"for i in 1 2 3 4 5 6 7 8; do (sleep 0.02 & ); done; sleep 0.2; echo >&2; read never < /proc/self/fd/0 || sleep 10")
	waitFor(t, func() bool { st, err := out.Stat(); return err == nil && st.Size() > 0 })
	children, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", pr.Pid(), pr.Pid()))
	if err != nil {
		t.Fatal(err)
	}
	if n := len(strings.Fields(string(children))); n != 1 {
		t.Errorf("pid 1 has %d children: %s", n, children)
	}
}

// The program has the terminal: it is in the foreground process group.
func TestInitTerminal(t *testing.T) {
	master, err := unix.Open("/dev/ptmx", unix.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Skip("needs a pseudo-terminal: ", err)
	}
	defer unix.Close(master)
	n, err := unix.IoctlGetInt(master, unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.IoctlSetPointerInt(master, unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	fd, err := InitFD()
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	p := &plan.Plan{Slots: 32, Child: []plan.Step{
		step("setsid"),
		into(step("openat", num(atFDCWD), str(fmt.Sprintf("/dev/pts/%d", n)), num(unix.O_RDWR), num(0)), plan.FirstFree),
		step("ioctl", slot(plan.FirstFree), num(unix.TIOCSCTTY), num(0)),
		step("dup3", slot(plan.FirstFree), num(0), num(0)),
		step("dup3", slot(plan.FirstFree), num(1), num(0)),
		step("execveat", slot(plan.SlotInit), str(""),
			strs("init", "--", "/bin/sh", "-c", `read x < /dev/tty; exit $x`), strs("PATH=/bin"), num(unix.AT_EMPTY_PATH)),
	}}
	pr := start(t, Options{Fds: map[plan.Slot]int{plan.SlotInit: fd}}, p)
	if err := pr.Executed(soon(t)); err != nil {
		t.Fatal(err)
	}
	// A process in the background would be stopped by SIGTTIN.
	unix.Write(master, []byte("55\n"))
	if status, _, err := pr.Wait(); err != nil || status.ExitStatus() != 55 {
		t.Errorf("%#x %v", int(status), err)
	}
}

func waitFor(t *testing.T, done func() bool) {
	t.Helper()
	for range 1000 {
		if done() {
			return
		}
		time.Sleep(5 * time.Millisecond)
	}
	t.Fatal("it does not happen")
}
