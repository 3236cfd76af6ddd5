package trace

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"porthole/abi"
	"porthole/event"
	"porthole/internal/leaktest"
	"porthole/seccomp"
	"porthole/seccomp/filter"
)

// This test program is also the one that stands at the gate: it installs filters, tells which fd
// the listener has, waits for its fd 4 to close, and executes its arguments.
const confined = "PORTHOLE_TRACE_CONFINED"

func TestMain(m *testing.M) {
	if rules, ok := os.LookupEnv(confined); ok {
		fmt.Fprintln(os.Stderr, confine(rules, os.Args[1:]))
		os.Exit(125)
	}
	if os.Getenv(attaching) != "" {
		if err := attachAndWait(); err != nil {
			fmt.Fprintln(os.Stderr, err)
		}
		os.Exit(1)
	}
	if os.Getenv(calling) != "" {
		if err := makeCalls(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(leaktest.M{M: m}.Run())
}

// denying is a policy that allows all but the calls named, with an errno each: "ptrace=1".
func denying(rules string) seccomp.Policy {
	p := seccomp.Policy{Default: seccomp.Allow, Arches: abi.X86_64.Siblings(), BadArch: seccomp.KillThread}
	for _, r := range strings.Fields(rules) {
		name, errno, _ := strings.Cut(r, "=")
		e, err := strconv.Atoi(errno)
		if err != nil {
			panic(err)
		}
		p.Rules = append(p.Rules, seccomp.Rule{Name: name, Action: seccomp.Errno | seccomp.Action(e)})
	}
	return p
}

// confine installs a filter for each of the policies in rules, separated by semicolons; one that
// begins with ! gets a listener.
func confine(rules string, argv []string) error {
	runtime.LockOSThread()
	listener := -1
	for _, text := range strings.Split(rules, ";") {
		text, ask := strings.CutPrefix(text, "!")
		if text == "" {
			continue
		}
		p, flags := denying(text), 0
		if ask {
			p, flags = Notifier(p), unix.SECCOMP_FILTER_FLAG_NEW_LISTENER
		}
		prog, err := filter.Compile(p)
		if err != nil {
			return err
		}
		fprog := unix.SockFprog{Len: uint16(len(prog)), Filter: (*unix.SockFilter)(unsafe.Pointer(&prog[0]))}
		fd, _, errno := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, uintptr(flags), uintptr(unsafe.Pointer(&fprog)))
		if errno != 0 {
			return fmt.Errorf("seccomp: %w", errno)
		}
		if ask {
			listener = int(fd)
		}
	}
	// One that was confined before has no gate any more.
	ready, gate := os.NewFile(3, "ready"), os.NewFile(4, "gate")
	if _, err := fmt.Fprintln(ready, listener); err == nil {
		ready.Close()
		gate.Read(make([]byte, 1))
		gate.Close()
	}
	path, err := exec.LookPath(argv[0])
	if err != nil {
		return err
	}
	return unix.Exec(path, argv, slices.DeleteFunc(os.Environ(), func(e string) bool { return strings.HasPrefix(e, confined) }))
}

// gated starts argv under filters, up to its gate, which open opens.
func gated(t testing.TB, rules string, argv ...string) (cmd *exec.Cmd, listener *os.File, open func()) {
	t.Helper()
	ready, readyChild, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	gateChild, gate, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd = exec.Command("/proc/self/exe", argv...)
	cmd.Env = append(os.Environ(), confined+"="+rules, "LC_ALL=C")
	cmd.ExtraFiles = []*os.File{readyChild, gateChild}
	cmd.Stderr = &strings.Builder{}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	readyChild.Close()
	gateChild.Close()
	line, err := bufio.NewReader(ready).ReadString('\n')
	if err != nil {
		t.Fatalf("%v: %s", err, cmd.Stderr)
	}
	ready.Close()
	if fd, _ := strconv.Atoi(strings.TrimSpace(line)); fd >= 0 {
		pidfd, err := unix.PidfdOpen(cmd.Process.Pid, 0)
		if err != nil {
			t.Fatal(err)
		}
		got, err := unix.PidfdGetfd(pidfd, fd, 0)
		unix.Close(pidfd)
		if err != nil {
			t.Fatal(err)
		}
		listener = os.NewFile(uintptr(got), "listener")
	}
	return cmd, listener, func() { gate.Close() }
}

// attaching makes this program watch itself, tell the ids of its programs, and wait to be killed.
const attaching = "PORTHOLE_TRACE_ATTACHING"

func attachAndWait() error {
	w, err := Attach(context.Background(), Target{PID: os.Getpid()}, Options{See: func(event.Event) {}})
	if err != nil {
		return err
	}
	for _, p := range w.progs {
		info, err := p.Info()
		if err != nil {
			return err
		}
		id, _ := info.ID()
		fmt.Print(id, " ")
	}
	fmt.Println()
	time.Sleep(time.Minute)
	return nil
}

func needRoot(t testing.TB) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root")
	}
}

// watched runs argv under filters with a watcher on it, and returns what that saw.
func watched(t *testing.T, o Options, rules string, argv ...string) ([]event.Event, event.Sight) {
	t.Helper()
	needRoot(t)
	var seen []event.Event
	o.See = func(e event.Event) { seen = append(seen, e) }
	cmd, _, open := gated(t, rules, argv...)
	w, err := Attach(context.Background(), Target{PID: cmd.Process.Pid}, o)
	if err != nil {
		t.Fatal(err)
	}
	open()
	cmd.Wait()
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if testing.Verbose() {
		for _, e := range seen {
			name, _ := e.Arch.Name(e.Nr)
			t.Logf("%d %s %s %x %v filtered %v %v in %x %v status %#x", e.Kind, e.Comm, name, e.Args, e.Errno, e.Filtered, e.Cap, e.UserNS, e.Strings, e.Status)
		}
	}
	return seen, w.Sight()
}

// first is the first event of a kind, and a call, that f likes; f may be nil.
func first(t *testing.T, seen []event.Event, kind event.Kind, call string, f func(event.Event) bool) event.Event {
	t.Helper()
	for _, e := range seen {
		name, _ := e.Arch.Name(e.Nr)
		if e.Kind == kind && (call == "" || name == call) && (f == nil || f(e)) {
			return e
		}
	}
	t.Fatalf("no event of kind %d of %q among %d", kind, call, len(seen))
	return event.Event{}
}

func count(seen []event.Event, f func(event.Event) bool) (n int) {
	for _, e := range seen {
		if f(e) {
			n++
		}
	}
	return n
}
