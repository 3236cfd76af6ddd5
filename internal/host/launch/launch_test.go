package launch

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"porthole/abi"
	"porthole/internal/host/sys"
	"porthole/plan"

	"golang.org/x/sys/unix"
)

// TestMain runs the tests, and fails where they leave files open or children behind.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 {
		if role := roles[os.Args[1]]; role != nil {
			role(os.Args[2:])
			os.Exit(0)
		}
	}
	// The runtime opens its own epoll and event files when they are first needed.
	r, w, _ := os.Pipe()
	w.Close()
	r.Read(make([]byte, 1))
	r.Close()
	before := openFiles()
	code := m.Run()
	if after := openFiles(); code == 0 && !slices.Equal(before, after) {
		fmt.Fprintf(os.Stderr, "files left open:\n before %q\n after  %q\n", before, after)
		code = 1
	}
	if _, err := unix.Wait4(-1, nil, unix.WNOHANG, nil); code == 0 && err != unix.ECHILD {
		fmt.Fprintln(os.Stderr, "a child was left behind:", err)
		code = 1
	}
	os.Exit(code)
}

// roles are what this test binary does as another process.
var roles = map[string]func([]string){}

func openFiles() []string {
	dir, _ := os.ReadDir("/proc/self/fd")
	var list []string
	for _, e := range dir {
		if to, err := os.Readlink("/proc/self/fd/" + e.Name()); err == nil {
			list = append(list, e.Name()+" "+to)
		}
	}
	return list
}

// Words for plans.

func str(s string) plan.Arg { return mem(&plan.Mem{Bytes: append([]byte(s), 0)}) }

func strs(list ...string) plan.Arg {
	m := &plan.Mem{Bytes: make([]byte, 8*len(list)+8)}
	for i, s := range list {
		m.Ptrs = append(m.Ptrs, plan.Ptr{Off: 8 * i, To: &plan.Mem{Bytes: append([]byte(s), 0)}})
	}
	return mem(m)
}

func into(s plan.Step, slot plan.Slot) plan.Step { s.Into = slot; return s }
func skips(s plan.Step, errno unix.Errno, n int) plan.Step {
	s.Errs = append(s.Errs, plan.Skip{Errno: abi.Errno(errno), Steps: n})
	return s
}

func execve(argv ...string) plan.Step {
	return step("execve", str(argv[0]), strs(argv...), strs("PATH=/usr/bin:/bin"))
}

// gate is the two steps of one: tell, and wait.
func gate() []plan.Step {
	return []plan.Step{
		step("write", slot(plan.SlotArrive), mem(&plan.Mem{Bytes: []byte{1, 0, 0, 0, 0, 0, 0, 0}}), num(8)),
		{Call: "read", Args: []plan.Arg{slot(plan.SlotPass), mem(&plan.Mem{Bytes: make([]byte, 8)}), num(1)}, Zero: plan.ZeroFails},
	}
}

const atFDCWD = 1<<64 - 100

func soon(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	t.Cleanup(cancel)
	return ctx
}

// start starts steps, and has the process closed when the test ends.
func start(t testing.TB, opt Options, p *plan.Plan) *Process {
	t.Helper()
	if os.Getuid() != 0 {
		opt.Sealed = true // PR_SET_MM_MAP wants privileges
	}
	pr, err := Start(p, opt)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := pr.Close(); err != nil {
			t.Error(err)
		}
	})
	return pr
}

// exit runs steps to their end and returns the exit status.
func exit(t testing.TB, opt Options, steps ...plan.Step) (*Process, unix.WaitStatus) {
	t.Helper()
	pr := start(t, opt, &plan.Plan{Child: steps, Slots: 32})
	status, _, err := pr.Wait()
	if err != nil {
		t.Fatal(err)
	}
	return pr, status
}

func ok(t testing.TB, status unix.WaitStatus) {
	t.Helper()
	if !status.Exited() || status.ExitStatus() != 0 {
		t.Fatalf("child ended with %#x", int(status))
	}
}

func TestSlotsFlow(t *testing.T) {
	stat := &plan.Mem{Bytes: make([]byte, 256)}
	const fd, pid, size = plan.FirstFree, plan.FirstFree + 1, plan.FirstFree + 2
	pr, status := exit(t, Options{},
		into(step("getpid"), pid),
		into(step("openat", num(atFDCWD), str("/proc/self/exe"), num(unix.O_RDONLY|unix.O_CLOEXEC), num(0)), fd),
		step("fstat", slot(fd), mem(stat)),
		into(step("lseek", slot(fd), num(0), num(unix.SEEK_END)), size),
		// A slot's address: pipe2 writes both its numbers to one cell.
		step("pipe2", slotAt(plan.FirstFree+3), num(unix.O_CLOEXEC)),
	)
	ok(t, status)
	if got := pr.Slot(pid); got != int64(pr.Pid()) {
		t.Errorf("getpid says %d, its parent %d", got, pr.Pid())
	}
	if got := pr.Slot(size); got != 0 && os.Getuid() == 0 {
		t.Errorf("the child's /proc/PID/exe has %d bytes: it is ours", got)
	}
	if p := pr.Slot(plan.FirstFree + 3); p&0xffffffff < 3 || p>>32 < 3 {
		t.Errorf("pipe2 wrote %#x", p)
	}
	if pr.Slot(plan.FirstFree+9) != -1 {
		t.Error("an unused slot is not -1")
	}
}

func TestErrors(t *testing.T) {
	chdir := step("chdir", str("/nonexistent"))
	pid := plan.FirstFree
	for _, c := range []struct {
		name  string
		steps []plan.Step
		fail  int // -1: none
		errno unix.Errno
		pid   bool // the getpid after it ran
	}{
		{"tolerated, on to the next", []plan.Step{skips(chdir, unix.ENOENT, 0), into(step("getpid"), pid)}, -1, 0, true},
		{"tolerated, skipping", []plan.Step{skips(chdir, unix.ENOENT, 1), into(step("getpid"), pid)}, -1, 0, false},
		{"second of two", []plan.Step{skips(skips(chdir, unix.EPERM, 1), unix.ENOENT, 0), into(step("getpid"), pid)}, -1, 0, true},
		{"another one", []plan.Step{skips(chdir, unix.EPERM, 0), into(step("getpid"), pid)}, 0, unix.ENOENT, false},
		{"any", []plan.Step{skips(chdir, unix.Errno(plan.Any), 0), into(step("getpid"), pid)}, -1, 0, true},
		{"none", []plan.Step{step("getuid"), chdir, into(step("getpid"), pid)}, 1, unix.ENOENT, false},
		{"success skips", []plan.Step{{Call: "getpid", OK: 1}, into(step("getpid"), pid)}, -1, 0, false},
		{"zero skips nothing, success one", []plan.Step{{Call: "umask", OK: 1, Args: []plan.Arg{num(0o22)}}, into(step("getpid"), pid)}, -1, 0, false},
		{"zero skips one", []plan.Step{{Call: "getppid", OK: 2}, into(step("getpid"), pid), chdir, {Call: "chdir", Args: []plan.Arg{str("/")}, Zero: 1}, chdir}, -1, 0, false},
		{"zero is EPIPE", []plan.Step{{Call: "chdir", Args: []plan.Arg{str("/")}, Zero: plan.ZeroFails}, into(step("getpid"), pid)}, 0, unix.EPIPE, false},
		{"zero is EPIPE, tolerated", []plan.Step{skips(plan.Step{Call: "chdir", Args: []plan.Arg{str("/")}, Zero: plan.ZeroFails}, unix.EPIPE, 0), into(step("getpid"), pid)}, -1, 0, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			// The child's loop and the parent's interpreter are two answers to one question.
			pr := start(t, Options{}, &plan.Plan{Child: c.steps, Slots: 32})
			status, _, err := pr.Wait()
			if err != nil {
				t.Fatal(err)
			}
			check(t, "child", pr.why(), c.fail, c.errno, false)
			if want := map[bool]int{true: 125, false: 0}[c.fail >= 0]; status.ExitStatus() != want {
				t.Errorf("child exited with %d", status.ExitStatus())
			}
			if got := pr.Slot(pid) > 0; got != c.pid {
				t.Errorf("child's getpid ran: %v", got)
			}

			b := &plan.Plan{Child: []plan.Step{step("getpid")}, Gates: []plan.Gate{{Steps: c.steps}}, Slots: 32}
			pr = start(t, Options{}, b)
			check(t, "parent", pr.Attend(&b.Gates[0]), c.fail, c.errno, true)
			if got := pr.Slot(pid) > 0; got != c.pid {
				t.Errorf("parent's getpid ran: %v", got)
			}
		})
	}
}

func check(t *testing.T, who string, err error, index int, errno unix.Errno, parent bool) {
	t.Helper()
	var e *StepError
	if !errors.As(err, &e) {
		if index >= 0 {
			t.Errorf("%s: %v", who, err)
		}
		return
	}
	if e.Index != index || !errors.Is(err, errno) || e.Parent != parent {
		t.Errorf("%s failed in step %d with %v", who, e.Index, err)
	}
}

func TestStepErrorText(t *testing.T) {
	mount := step("mount", str("proc"), str("/nowhere"), str("proc"), plan.Arg{Num: 6, Text: "MS_NOSUID|MS_NODEV"}, num(0))
	mount.Why = "mount /nowhere"
	pr := start(t, Options{}, &plan.Plan{Child: []plan.Step{step("getpid"), mount}})
	err := pr.Executed(soon(t))
	want := "mount /nowhere: no such file or directory\n" +
		`  step 2 of 2: mount("proc", "/nowhere", "proc", MS_NOSUID|MS_NODEV, NULL)`
	if err == nil || err.Error() != want {
		t.Errorf("got  %v\nwant %s", err, want)
	}
	if !errors.Is(err, fs.ErrNotExist) || !errors.Is(err, abi.ENOENT) {
		t.Error("the errno is lost")
	}
}

func TestThousandSteps(t *testing.T) {
	var steps []plan.Step
	for range 999 {
		steps = append(steps, skips(step("chdir", str("/nonexistent")), unix.ENOENT, 0))
	}
	steps = append(steps, into(step("getpid"), plan.FirstFree))
	pr, status := exit(t, Options{}, steps...)
	ok(t, status)
	if pr.Slot(plan.FirstFree) != int64(pr.Pid()) {
		t.Error("the last step did not run")
	}
}

func TestBadPlans(t *testing.T) {
	for name, s := range map[string]plan.Step{
		"unknown call":       step("frobnicate"),
		"seven arguments":    step("getpid", make([]plan.Arg, 7)...),
		"slot out of range":  step("close", slot(99)),
		"result nowhere":     into(step("getpid"), 99),
		"skip past the end":  {Call: "getpid", OK: 1},
		"skip backwards":     {Call: "getpid", OK: -1},
		"errno 0":            skips(step("getpid"), 0, 0),
		"pointer past bytes": step("getpid", mem(&plan.Mem{Bytes: make([]byte, 7), Ptrs: []plan.Ptr{{Off: 0}}})),
	} {
		t.Run(name, func(t *testing.T) {
			pr, err := Start(&plan.Plan{Child: []plan.Step{s}}, Options{Sealed: true})
			if err == nil {
				pr.Close()
				t.Fatal("started")
			}
			if !strings.HasPrefix(err.Error(), "plan: ") {
				t.Error(err)
			}
		})
	}
}

func TestGates(t *testing.T) {
	p := &plan.Plan{Slots: 32}
	for i := range 3 {
		p.Child = append(p.Child, gate()...)
		p.Gates = append(p.Gates, plan.Gate{ID: plan.GateID(i + 1), At: len(p.Child) - 1})
	}
	p.Gates[1].Steps = []plan.Step{step("pidfd_send_signal", slot(plan.SlotPidfd), num(0), num(0), num(0)), step("getpgid", slot(plan.SlotPID))}
	p.Child = append(p.Child, execve("/bin/sh", "-c", "exit 7"))
	pr := start(t, Options{}, p)
	for i := range p.Gates {
		g, err := pr.Arrived(soon(t))
		if err != nil {
			t.Fatal(err)
		}
		if id, ok := pr.Waiting(); g.ID != p.Gates[i].ID || !ok || id != g.ID {
			t.Fatalf("at gate %d rather than %d (%d)", g.ID, p.Gates[i].ID, id)
		}
		if err := pr.Attend(g); err != nil {
			t.Fatal(err)
		}
		// It waits.
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Millisecond)
		if err := pr.Executed(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Fatal(err)
		}
		cancel()
		if err := pr.Pass(); err != nil {
			t.Fatal(err)
		}
	}
	if err := pr.Executed(soon(t)); err != nil {
		t.Fatal(err)
	}
	if status, _, err := pr.Wait(); err != nil || status.ExitStatus() != 7 {
		t.Fatal(status, err)
	}
}

func TestCancel(t *testing.T) {
	p := &plan.Plan{Child: gate()}
	p.Gates = []plan.Gate{{ID: plan.GateStart, At: 1}}
	pr := start(t, Options{}, p)
	if _, err := pr.Arrived(soon(t)); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	time.AfterFunc(5*time.Millisecond, cancel)
	if err := pr.Executed(ctx); err != context.Canceled {
		t.Fatal(err)
	}
}

func TestKilledAtGate(t *testing.T) {
	p := &plan.Plan{Child: append(gate(), execve("/bin/true"))}
	p.Gates = []plan.Gate{{ID: plan.GateStart, At: 1}}
	pr := start(t, Options{}, p)
	if _, err := pr.Arrived(soon(t)); err != nil {
		t.Fatal(err)
	}
	time.Sleep(5 * time.Millisecond) // so that it stands in the read
	pr.Kill()
	err := pr.Executed(soon(t))
	var e *StepError
	if !errors.As(err, &e) || e.Signal != unix.SIGKILL || e.Index != 1 {
		t.Errorf("%v", err)
	}
	if err := pr.Pass(); err == nil || !errors.As(err, &e) {
		t.Errorf("passed a dead child: %v", err)
	}
}

func TestExecFails(t *testing.T) {
	pr := start(t, Options{}, &plan.Plan{Child: []plan.Step{skips(execve("/nonexistent/true"), unix.ENOENT, 0), execve("/etc/passwd")}})
	err := pr.Executed(soon(t))
	var e *StepError
	if !errors.As(err, &e) || e.Index != 1 || e.Errno != abi.EACCES {
		t.Errorf("%v", err)
	}
}

// A program that a filter kills in its execve has not executed; one that is killed soon after it has.
func TestExecutedOrNot(t *testing.T) {
	filter := &plan.Mem{}
	for _, i := range []unix.SockFilter{
		{Code: 0x20, K: 0}, // A = nr
		{Code: 0x15, Jt: 0, Jf: 1, K: unix.SYS_EXECVE},
		{Code: 0x06, K: 0x80000000}, // kill the process
		{Code: 0x06, K: 0x7fff0000},
	} {
		filter.Bytes = binary.LittleEndian.AppendUint16(filter.Bytes, i.Code)
		filter.Bytes = append(filter.Bytes, i.Jt, i.Jf)
		filter.Bytes = binary.LittleEndian.AppendUint32(filter.Bytes, i.K)
	}
	prog := &plan.Mem{Bytes: []byte{4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}, Ptrs: []plan.Ptr{{Off: 8, To: filter}}}
	pr := start(t, Options{Times: true}, &plan.Plan{Child: []plan.Step{
		step("prctl", num(unix.PR_SET_NO_NEW_PRIVS), num(1)),
		{Call: "seccomp", Args: []plan.Arg{num(1), num(0), mem(prog)}, Tag: "seccomp"},
		execve("/bin/true"),
	}})
	err := pr.Executed(soon(t))
	var e *StepError
	if !errors.As(err, &e) || e.Signal != unix.SIGSYS || e.Index != 2 || !strings.Contains(err.Error(), "killed by SIGSYS") {
		t.Errorf("%v", err)
	}
	for range 20 {
		pr = start(t, Options{}, &plan.Plan{Child: []plan.Step{execve("/bin/sh", "-c", "kill -9 $$")}})
		if err := pr.Executed(soon(t)); err != nil {
			t.Fatal(err)
		}
		if status, _, err := pr.Wait(); err != nil || status.Signal() != unix.SIGKILL {
			t.Fatal(status, err)
		}
	}
}

// output runs steps with stdout in a file and returns what that says.
func output(t *testing.T, opt Options, p *plan.Plan) string {
	t.Helper()
	f, err := os.Create(filepath.Join(t.TempDir(), "out"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if opt.Fds == nil {
		opt.Fds = map[plan.Slot]int{}
	}
	opt.Fds[plan.SlotStdout] = int(f.Fd())
	p.Child = append([]plan.Step{step("dup3", slot(plan.SlotStdout), num(1), num(0))}, p.Child...)
	pr := start(t, opt, p)
	if err := pr.Executed(soon(t)); err != nil {
		t.Fatal(err)
	}
	if status, _, err := pr.Wait(); err != nil || status.ExitStatus() != 0 {
		t.Fatal(status, err)
	}
	b, err := os.ReadFile(f.Name())
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestSignals(t *testing.T) {
	signal.Ignore(unix.SIGHUP)
	signal.Notify(make(chan os.Signal, 1), unix.SIGUSR1)
	defer signal.Reset(unix.SIGHUP, unix.SIGUSR1)
	out := output(t, Options{}, &plan.Plan{Child: []plan.Step{execve("/bin/cat", "/proc/self/status")}})
	for _, name := range []string{"SigPnd", "ShdPnd", "SigBlk", "SigIgn", "SigCgt"} {
		if !strings.Contains(out, name+":\t0000000000000000") {
			t.Errorf("%s is not empty:\n%s", name, out)
		}
	}
	var mask unix.Sigset_t
	unix.PthreadSigmask(0, nil, &mask)
	if mask.Val[0] != 0 {
		t.Errorf("our own mask stays %#x", mask.Val[0])
	}
}

// What the program gets: its three files, no more, although ours are open without close-on-exec.
func TestNoFileLeaks(t *testing.T) {
	secret, err := os.Open("/etc/passwd")
	if err != nil {
		t.Fatal(err)
	}
	defer secret.Close()
	fd, _ := unix.FcntlInt(secret.Fd(), unix.F_DUPFD, 100)
	defer unix.Close(fd)
	out := output(t, Options{}, &plan.Plan{Child: []plan.Step{
		step("close_range", num(3), num(1<<32-1), num(4)),
		execve("/bin/ls", "/proc/self/fd"),
	}})
	if out != "0\n1\n2\n3\n" { // 3 is ls's own
		t.Errorf("open files: %q", out)
	}
	// And while it works, only what it was given.
	pr := start(t, Options{Fds: map[plan.Slot]int{plan.FirstFree: int(secret.Fd())}}, &plan.Plan{Child: gate(), Gates: []plan.Gate{{ID: plan.GateStart, At: 1}}, Slots: 32})
	if _, err := pr.Arrived(soon(t)); err != nil {
		t.Fatal(err)
	}
	dir, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", pr.Pid()))
	if err != nil {
		t.Fatal(err)
	}
	var got []int
	for _, e := range dir {
		n, _ := strconv.Atoi(e.Name())
		got = append(got, n)
	}
	slices.Sort(got)
	want := []int{0, 1, 2, int(secret.Fd()), int(pr.Slot(plan.SlotPass)), int(pr.Slot(plan.SlotArrive))}
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("the child has %v, and should have %v", got, want)
	}
}

// The child is nothing but its raft: no memory of ours, and no way to porthole's file.
func TestShed(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("needs root")
	}
	pr := start(t, Options{}, &plan.Plan{Child: gate(), Gates: []plan.Gate{{ID: plan.GateStart, At: 1}}})
	if _, err := pr.Arrived(soon(t)); err != nil {
		t.Fatal(err)
	}
	maps, err := os.ReadFile(fmt.Sprintf("/proc/%d/maps", pr.Pid()))
	if err != nil {
		t.Fatal(err)
	}
	base := fmt.Sprintf("%x-", sys.Addr(pr.raft.all))
	lines := strings.Split(strings.TrimSpace(string(maps)), "\n")
	if n := strings.Count(string(maps), " [vsyscall]"); pr.own.whole {
		if strings.Contains(string(maps), "launch.test") {
			t.Errorf("the child has our image in memory:\n%s", maps)
		}
	} else if len(lines)-n != 3 || !strings.HasPrefix(lines[0], base) {
		t.Errorf("the child's memory is\n%s", maps)
	}
	exe, err := os.Readlink(fmt.Sprintf("/proc/%d/exe", pr.Pid()))
	if exe != "/memfd:porthole (deleted)" {
		t.Errorf("the child's exe is %q, %v", exe, err)
	}
	if title, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pr.Pid())); string(title) != "porthole\x00" {
		t.Errorf("its command line is %q", title)
	}
	// The trick itself: execve of /proc/self/exe finds an empty file.
	pr = start(t, Options{}, &plan.Plan{Child: []plan.Step{execve("/proc/self/exe")}})
	if err := pr.Executed(soon(t)); !errors.Is(err, unix.ENOEXEC) {
		t.Errorf("execve of /proc/self/exe: %v", err)
	}
}

func TestFetch(t *testing.T) {
	p := &plan.Plan{Slots: 32, Child: append([]plan.Step{
		into(step("openat", num(atFDCWD), str("/etc/passwd"), num(0), num(0)), plan.SlotConsole),
	}, gate()...)}
	p.Gates = []plan.Gate{{ID: plan.GateStart, At: 2}}
	pr := start(t, Options{}, p)
	if _, err := pr.Arrived(soon(t)); err != nil {
		t.Fatal(err)
	}
	fd, err := pr.Fetch(plan.SlotConsole)
	if err != nil {
		t.Fatal(err)
	}
	f := os.NewFile(uintptr(fd), "fetched")
	defer f.Close()
	if to, _ := os.Readlink(fmt.Sprintf("/proc/self/fd/%d", fd)); to != "/etc/passwd" {
		t.Errorf("fetched %q", to)
	}
	if _, err := pr.Fetch(plan.SlotListener); err == nil {
		t.Error("fetched what is not there")
	}
}

func TestTimes(t *testing.T) {
	nap := mem(&plan.Mem{Bytes: binary.LittleEndian.AppendUint64(make([]byte, 8), 3e6)})
	pr, status := exit(t, Options{Times: true},
		plan.Step{Call: "getpid", OK: 1}, step("getpid"), step("nanosleep", nap, num(0)), step("getpid"))
	ok(t, status)
	first, times := pr.Times()
	if first <= 0 || times[0] <= 0 || times[0] > time.Second || times[1] != 0 || times[2] < 3*time.Millisecond {
		t.Errorf("%v, then %v", first, times)
	}
}

func TestBefore(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("needs root")
	}
	name := &plan.Mem{Bytes: []byte("elsewhere\x00")}
	const fd = plan.FirstFree
	p := &plan.Plan{
		Slots: 32,
		Before: []plan.Step{
			into(step("openat", num(atFDCWD), str("/etc/hostname"), num(unix.O_CLOEXEC), num(0)), fd),
			step("unshare", num(unix.CLONE_NEWUTS)),
			step("sethostname", mem(name), num(9)),
		},
		After: []plan.Step{step("close", slot(fd))},
		Child: []plan.Step{execve("/bin/uname", "-n")},
	}
	if out := output(t, Options{}, p); out != "elsewhere\n" {
		t.Errorf("the child is on %q", out)
	}
	p.Before = append(p.Before, step("chdir", str("/nonexistent")))
	_, err := Start(p, Options{})
	check(t, "before", err, 3, unix.ENOENT, true)
	if h, _ := os.Hostname(); h == "elsewhere" {
		t.Error("another thread of ours has moved")
	}
}

// Joining clones twice: the one in between ends, its child is ours.
func TestHeir(t *testing.T) {
	const heir = plan.FirstFree
	clone := step("clone", num(uint64(unix.CLONE_PARENT|unix.CLONE_PARENT_SETTID)|uint64(unix.SIGCHLD)), num(0), slotAt(heir), num(0), num(0))
	clone.Zero = 1
	p := &plan.Plan{Slots: 32, Heir: heir, Child: slices.Concat(
		[]plan.Step{clone, step("exit_group", num(0))}, gate(), []plan.Step{execve("/bin/sh", "-c", "exit 9")})}
	p.Gates = []plan.Gate{{ID: plan.GateStart, At: 3}}
	pr := start(t, Options{}, p)
	first := pr.Pid()
	g, err := pr.Arrived(soon(t))
	if err != nil || g.ID != plan.GateStart {
		t.Fatal(g, err)
	}
	if pr.Pid() == first || int64(pr.Pid()) != pr.Slot(heir) || pr.Slot(plan.SlotPID) != int64(pr.Pid()) {
		t.Errorf("still %d: heir is %d", pr.Pid(), pr.Slot(heir))
	}
	if err := pr.Pass(); err != nil {
		t.Fatal(err)
	}
	if err := pr.Executed(soon(t)); err != nil {
		t.Fatal(err)
	}
	if status, _, err := pr.Wait(); err != nil || status.ExitStatus() != 9 {
		t.Fatal(status, err)
	}
}

func TestPauseAfter(t *testing.T) {
	steps := []plan.Step{into(step("getpid"), plan.FirstFree), into(step("getpid"), plan.FirstFree+1)}
	pr := start(t, Options{PauseAfter: 1}, &plan.Plan{Child: steps, Slots: 32})
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Millisecond)
	defer cancel()
	if err := pr.Executed(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatal(err)
	}
	if pr.Slot(plan.FirstFree) < 0 || pr.Slot(plan.FirstFree+1) >= 0 {
		t.Error("it does not stand after step 1")
	}
}

// Children that are born at once each keep their own memory: one in a thousand had lost it to another's birth.
func TestBornAtOnce(t *testing.T) {
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 250 {
				pr, err := Start(&plan.Plan{Child: []plan.Step{step("exit_group", num(7))}}, Options{Sealed: os.Getuid() != 0})
				if err != nil {
					t.Error(err)
					return
				}
				status, _, err := pr.Wait()
				pr.Close()
				if err != nil || status.ExitStatus() != 7 {
					t.Errorf("%v: %#x", err, status)
					return
				}
			}
		})
	}
	wg.Wait()
}
