package trace

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"porthole/abi"
	"porthole/caps"
	"porthole/event"
	"porthole/event/decode"
	"porthole/seccomp"
)

// listened runs argv under a filter whose refusals a listener answers, and returns what that was told,
// and how the program ended.
func listened(t *testing.T, rules string, argv ...string) ([]event.Event, *exec.Cmd) {
	t.Helper()
	needRoot(t) // without it the filter would want no_new_privs, and su and its like behave otherwise
	cmd, listener, open := gated(t, "!"+rules, argv...)
	var seen []event.Event
	w, err := Attach(context.Background(), Target{Listener: listener, Policy: denying(rules)}, Options{See: func(e event.Event) { seen = append(seen, e) }})
	if err != nil {
		t.Fatal(err)
	}
	open()
	cmd.Wait()
	select {
	case <-w.done: // the last process that has the filter is gone
	case <-time.After(10 * time.Second):
		t.Error("the listener is not told that nobody uses the filter any more")
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if testing.Verbose() {
		for _, e := range seen {
			t.Logf("%s %s %+v", e.Comm, decode.Line(e), e.Who)
		}
	}
	return seen, cmd
}

func TestListener(t *testing.T) {
	seen, cmd := listened(t, "personality=1 mount=13", "sh", "-c", "setarch -R true; mount -t tmpfs none /mnt; exit 5")
	if cmd.ProcessState.ExitCode() != 5 {
		t.Errorf("ended with %v", cmd.ProcessState)
	}
	e := first(t, seen, event.Refused, "personality", nil)
	if !e.Filtered || e.Errno != abi.EPERM || e.Comm != "setarch" || e.Exe != "/usr/bin/setarch" || e.PID == cmd.Process.Pid || e.PID != e.TID {
		t.Errorf("%+v", e)
	}
	e = first(t, seen, event.Refused, "mount", nil)
	if got := decode.Line(e); got != `mount("none", "/mnt", "tmpfs", 0, NULL) = -1 EACCES (Permission denied)` {
		t.Error(got)
	}
	if e.Who == nil || e.Who.UID != 0 || !e.Who.Effective.Has(caps.CAP_SYS_ADMIN) || e.Own != initialUserNS {
		t.Errorf("caller %+v in %d", e.Who, e.Own)
	}
}

// Debuggers stop what they trace, and a tracee may stand in a refused call.
func TestListenerDebuggers(t *testing.T) {
	for _, argv := range [][]string{
		{"strace", "-f", "-o", "/dev/null", "sh", "-c", "hostname x; hostname y; true"},
		{"gdb", "-q", "-batch", "-ex", "set startup-with-shell off", "-ex", "run", "--args", "/bin/hostname", "x"},
	} {
		if _, err := exec.LookPath(argv[0]); err != nil {
			t.Skip("needs ", argv[0])
		}
		seen, cmd := listened(t, "sethostname=1 personality=1", argv...)
		if !cmd.ProcessState.Success() {
			t.Errorf("%s ended with %v: %s", argv[0], cmd.ProcessState, cmd.Stderr)
		}
		e := first(t, seen, event.Refused, "sethostname", nil)
		if e.Errno != abi.EPERM || e.Comm != "hostname" || !strings.HasPrefix(e.Strings[0], "x") {
			t.Errorf("%s: %+v", argv[0], e)
		}
	}
	seen, _ := listened(t, "ptrace=1", "strace", "-o", "/dev/null", "true")
	if e := first(t, seen, event.Refused, "ptrace", nil); e.Comm != "strace" {
		t.Errorf("%+v", e)
	}
}

// Many wait for an answer at once, and some are killed while they do.
func TestListenerCrowd(t *testing.T) {
	const program = `
		for my $i (1..40) { if (!fork) { for (1..50) { chroot("/nowhere"); die unless $!{EPERM} } exit 0 } }
		for my $i (1..10) { my $p = fork; if (!$p) { while (1) { chroot("/killed") } } push @k, $p }
		select undef, undef, undef, 0.2; kill 9, @k;
		my $bad = 0; while ((my $p = wait) > 0) { $bad++ if $? && $? != 9 } exit $bad`
	if _, err := exec.LookPath("perl"); err != nil {
		t.Skip("needs perl")
	}
	seen, cmd := listened(t, "chroot=1", "perl", "-e", program)
	if !cmd.ProcessState.Success() {
		t.Errorf("ended with %v: %s", cmd.ProcessState, cmd.Stderr)
	}
	if n := count(seen, func(e event.Event) bool { return e.Strings[0] == "/nowhere" }); n != 40*50 {
		t.Errorf("%d refusals told, want %d", n, 40*50)
	}
	if n := count(seen, func(e event.Event) bool { return e.Strings[0] == "/killed" }); n == 0 {
		t.Error("none of those that were killed was told")
	}
}

// A signal takes a caller out of the call that waits; the kernel makes it again, where the handler
// was installed with SA_RESTART (else the caller gets EINTR).
func TestListenerInterrupted(t *testing.T) {
	needRoot(t)
	if _, err := exec.LookPath("perl"); err != nil {
		t.Skip("needs perl")
	}
	cmd, listener, open := gated(t, "!chroot=1", "perl", "-MPOSIX", "-e", `sigaction(SIGALRM, POSIX::SigAction->new(sub { $n++ }, undef, SA_RESTART)); chroot("/x") or exit($!{EPERM} && $n ? 0 : 1); exit 2`)
	open()
	time.Sleep(300 * time.Millisecond) // it stands in the call, and nobody answers
	cmd.Process.Signal(syscall.SIGALRM)
	time.Sleep(100 * time.Millisecond)
	var told atomic.Int32
	if err := Watch(listener, denying("chroot=1"), func(event.Event) { told.Add(1) }); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil {
		t.Errorf("%v", err)
	}
	if told.Load() != 1 {
		t.Errorf("told %d times", told.Load())
	}
}

// What a program installs itself is stricter or not allowed: both are the program's own business.
func TestListenerOfItsOwn(t *testing.T) {
	needRoot(t)
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	seen, cmd := listened(t, "chroot=1 sethostname=38", "env", confined+"=sethostname=13", self, "sh", "-c", "hostname x; chroot /")
	if cmd.ProcessState.ExitCode() != 125 {
		t.Errorf("ended with %v: %s", cmd.ProcessState, cmd.Stderr)
	}
	first(t, seen, event.Refused, "chroot", nil)
	// An errno goes before a notification (seccomp(2), SECCOMP_RET_*): the program's own filter answered.
	if n := count(seen, func(e event.Event) bool { return name(e) == "sethostname" }); n != 0 {
		t.Errorf("%d calls told that our filter did not refuse", n)
	}
	_, cmd = listened(t, "chroot=1", "env", confined+"=!sethostname=1", self, "true")
	if cmd.ProcessState.ExitCode() != 125 || !strings.Contains(fmt.Sprint(cmd.Stderr), "device or resource busy") {
		t.Errorf("a second listener: %v: %s", cmd.ProcessState, cmd.Stderr)
	}
}

// Closing a watcher early leaves its callers with ENOSYS, as the kernel has it for a listener that is gone.
func TestListenerClosed(t *testing.T) {
	needRoot(t)
	cmd, listener, open := gated(t, "!chroot=1", "perl", "-e", `select undef, undef, undef, 0.3; chroot("/x") or exit $!`)
	w, err := Attach(context.Background(), Target{Listener: listener, Policy: denying("chroot=1")}, Options{See: func(event.Event) {}})
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	open()
	cmd.Wait()
	if got := unix.Errno(cmd.ProcessState.ExitCode()); got != unix.ENOSYS {
		t.Errorf("chroot: %v", got)
	}
}

func BenchmarkListener(b *testing.B) {
	if _, err := exec.LookPath("perl"); err != nil || unix.Geteuid() != 0 {
		b.Skip("needs root and perl")
	}
	cmd, listener, open := gated(b, "!chroot=1", "perl", "-e", `chroot("/x") for 1..20000`)
	open()
	n := 0
	start := time.Now()
	if err := Watch(listener, denying("chroot=1"), func(event.Event) { n++ }); err != nil {
		b.Fatal(err)
	}
	cmd.Wait()
	b.ReportMetric(float64(time.Since(start).Microseconds())/float64(n), "µs/refusal")
}

// A rule with an errno of its own comes before one that allows, and has to while it is watched, too.
func TestNotifierKeepsOrder(t *testing.T) {
	p := seccomp.Policy{
		Default: seccomp.Errno.With(1), Arches: []abi.Arch{abi.X86_64}, BadArch: seccomp.KillThread,
		Rules: []seccomp.Rule{
			{Name: "clone3", Action: seccomp.Errno.With(38)},
			{Name: "clone3", Action: seccomp.Allow},
			{Name: "personality", Action: seccomp.Errno.With(1)}, // says the default, so the next decides
			{Name: "personality", Action: seccomp.Allow},
		},
	}
	asks := Notifier(p)
	for nr, name := range abi.X86_64.Calls() {
		said, asked := p.Decide(abi.X86_64, nr, [6]uint64{}), asks.Decide(abi.X86_64, nr, [6]uint64{})
		if said.Rule != asked.Rule || (said.Action.Kind() == seccomp.Errno) != (asked.Action.Kind() == seccomp.Notify) {
			t.Errorf("%s: %v by rule %d, and watched %v by rule %d", name, said.Action, said.Rule, asked.Action, asked.Rule)
		}
	}
}
