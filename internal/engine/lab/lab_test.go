package lab_test

import (
	"context"
	"os"
	"os/exec"
	"testing"
	"time"

	"porthole/caps"
	"porthole/event"
	"porthole/facts"
	"porthole/internal/engine"
	"porthole/internal/engine/container"
	"porthole/internal/engine/lab"
	"porthole/internal/host/probe"
	"porthole/seccomp/profile"
	"porthole/why"
	"porthole/workload"
	"porthole/workload/dialect"
)

// both runs a test with each way of watching.
func both(t *testing.T, f func(t *testing.T, with lab.Sort)) {
	for _, with := range []lab.Sort{lab.Notify, lab.EBPF} {
		t.Run(string(with), func(t *testing.T) {
			if f, err := probe.Deep(); err == nil && with == lab.EBPF && !(f.Features.BPF && f.Features.BTF) {
				t.Skip("needs eBPF")
			}
			f(t, with)
		})
	}
}

// newLab prepares a workload said as run's arguments, as root.
func newLab(t *testing.T, args ...string) (*lab.Lab, lab.Runner) {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("experiments that grant capabilities need root")
	}
	f, err := probe.Facts()
	if err != nil {
		t.Fatal(err)
	}
	r, err := dialect.Docker(args, dialect.Outside{Dir: "/", Env: os.LookupEnv, ReadFile: os.ReadFile})
	if err != nil {
		t.Fatal(err)
	}
	run := runner(t, f)
	return &lab.Lab{Workload: r.Workload, Run: run, With: lab.Notify}, run
}

func runner(t *testing.T, f facts.Facts) lab.Runner {
	e, err := engine.Open(t.TempDir(), f, func(string) {})
	if err != nil {
		t.Fatal(err)
	}
	return func(ctx context.Context, w workload.Workload, std [3]*os.File, adjust func(*container.Config)) (exit container.Exit, err error) {
		exit.Code, err = e.Run(ctx, w, engine.RunOptions{
			Remove: true, Adjust: adjust, Streams: engine.Streams{In: std[0], Out: std[1], Err: std[2]},
			Ended: func(x container.Exit) { exit = x },
		})
		return exit, err
	}
}

func first(t *testing.T, l *lab.Lab, run lab.Runner) why.Outcome {
	t.Helper()
	o, err := l.First(t.Context(), run, [3]*os.File{})
	if err != nil {
		t.Fatal(err)
	}
	return o
}

func refused(es []event.Event, call string) int {
	n := 0
	for _, e := range es {
		if name, _ := e.Arch.Name(e.Nr); e.Kind == event.Refused && name == call {
			n++
		}
	}
	return n
}

func call(t *testing.T, s string) profile.Call {
	t.Helper()
	c, err := profile.ParseCall(s)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// The story porthole was made for: of the two things that --cap-add SYS_PTRACE does, it is the
// filter's rule that helps.
func TestStrace(t *testing.T) {
	both(t, func(t *testing.T, with lab.Sort) {
		if _, err := exec.LookPath("strace"); err != nil {
			t.Skip("needs strace")
		}
		l, run := newLab(t, "--as", "docker:18.09", "host", "strace", "-o", "/dev/null", "true")
		l.With = with
		was := first(t, l, run)
		if was.Exit == 0 || refused(was.Events, "ptrace") == 0 || !was.Sight.Filtered {
			t.Fatalf("first run: exit %d, %d refusals of ptrace, sight %+v", was.Exit, refused(was.Events, "ptrace"), was.Sight)
		}
		set := caps.Of(caps.CAP_SYS_PTRACE)
		for _, test := range []struct {
			name string
			lift []why.Factor
			exit int
		}{
			{"control", nil, was.Exit},
			{"the rule alone", []why.Factor{{Kind: why.FilterRule, Call: call(t, "ptrace")}}, 0},
			{"the rule for other arguments", []why.Factor{{Kind: why.FilterRule, Call: call(t, "ptrace(PTRACE_PEEKUSR)")}}, was.Exit},
			{"no filter", []why.Factor{{Kind: why.FilterOff}}, 0},
			{"the capability alone", []why.Factor{{Kind: why.CapHeld, Caps: set}}, was.Exit},
			{"the flag", []why.Factor{{Kind: why.CapGranted, Caps: set}}, 0},
			{"a user namespace", []why.Factor{{Kind: why.NewUserNS}}, was.Exit},
			{"everything", []why.Factor{{Kind: why.Everything}}, 0},
		} {
			o := l.Try(t.Context(), why.Experiment{Name: test.name, Lift: test.lift})
			if o.Err != nil || o.Unable != nil || o.Exit != test.exit {
				t.Errorf("%s: exit %d, unable %v, %v; want exit %d", test.name, o.Exit, o.Unable, o.Err, test.exit)
			}
			if same := o.Output == was.Output; same != (test.exit == was.Exit) {
				t.Errorf("%s: the output is the same: %v", test.name, same)
			}
		}
	})
}

// No experiment sets the machine's clock, whatever it lifts.
func TestGuard(t *testing.T) {
	both(t, func(t *testing.T, with lab.Sort) {
		l, run := newLab(t, "host", "date", "-s", "+0 sec")
		l.With = with
		was := first(t, l, run)
		if was.Exit == 0 {
			t.Fatal("date could set the clock")
		}
		before := time.Now()
		for _, lift := range [][]why.Factor{
			{{Kind: why.Everything}},
			{{Kind: why.CapGranted, Caps: caps.Of(caps.CAP_SYS_TIME)}},
			{{Kind: why.FilterOff}, {Kind: why.CapHeld, Caps: caps.Of(caps.CAP_SYS_TIME)}},
		} {
			o := l.Try(t.Context(), why.Experiment{Lift: lift})
			if o.Unable == nil || o.Err == nil {
				t.Errorf("%v: exit %d, unable %v, %v; it was not said that the clock was spared", lift, o.Exit, o.Unable, o.Err)
			}
		}
		if o := l.Try(t.Context(), why.Experiment{Lift: []why.Factor{{Kind: why.FilterOff}}}); o.Err != nil || o.Exit == 0 {
			t.Errorf("without a filter and without CAP_SYS_TIME: exit %d, %v; the kernel refuses that by itself", o.Exit, o.Err)
		}
		if d := time.Since(before.Round(0)); d < 0 || d > time.Minute {
			t.Errorf("the clock went %v on", d)
		}
	})
}

// What would reach the machine itself is not lifted.
func TestUnable(t *testing.T) {
	l, run := newLab(t, "host", "true")
	first(t, l, run)
	for _, f := range []why.Factor{
		{Kind: why.WritePath, Path: "/proc/sys/vm/max_map_count"},
		{Kind: why.WritePath, Path: "/sys/kernel/mm"},
		{Kind: why.SystemPaths},
		{Kind: why.SysctlSet, Name: "vm.max_map_count", Value: "1000000"},
		{Kind: why.DeviceRule, Name: "b 8:0 rwm"},
		{Kind: why.DeviceRule, Name: "c 1:1 rwm"},
		{Kind: why.DeviceRule, Name: "nonsense"},
		{Kind: why.RlimitSet, Name: "memlock", Value: "much"},
		{Kind: why.RlimitSet, Name: "lemmings", Value: "1:1"},
		{Kind: why.HostUserNS},
		{Kind: why.LSMOff},
		{Kind: why.Unmask, Path: "/etc/passwd"},
		{Kind: why.MountFlag, Path: "/nowhere", Name: "nodev"},
		{Kind: why.FileCapsOff, Path: "/no/such/program"},
	} {
		if o := l.Try(t.Context(), why.Experiment{Lift: []why.Factor{f}}); len(o.Unable) != 1 {
			t.Errorf("%v: it was done (exit %d, %v)", f, o.Exit, o.Err)
		}
	}
}

// Unmasked system paths come to a user who is not root only, and with nothing that makes him one.
func TestSystemPaths(t *testing.T) {
	l, run := newLab(t, "--user", "1000", "host", "sh", "-c", "test -w /proc/sysrq-trigger || test -w /proc/sys/kernel/hostname || exit 7; exit 8")
	first(t, l, run)
	open := why.Factor{Kind: why.SystemPaths}
	if o := l.Try(t.Context(), why.Experiment{Lift: []why.Factor{open}}); o.Exit != 7 || o.Unable != nil || o.Err != nil {
		t.Errorf("alone: exit %d, unable %v, %v", o.Exit, o.Unable, o.Err)
	}
	for _, f := range []why.Factor{{Kind: why.Root}, {Kind: why.CapHeld, Caps: caps.Of(caps.CAP_DAC_OVERRIDE)}, {Kind: why.Everything}} {
		if o := l.Try(t.Context(), why.Experiment{Lift: []why.Factor{open, f}}); len(o.Unable) != 1 || o.Unable[0] != f {
			t.Errorf("with %v: unable %v", f, o.Unable)
		}
	}
}

// Each factor changes what it says.
func TestLift(t *testing.T) {
	for _, test := range []struct {
		name    string
		args    []string
		lift    why.Factor
		without int
		with    int
	}{
		{"masked path", []string{"host", "sh", "-c", "grep -q . /proc/timer_list"}, why.Factor{Kind: why.Unmask, Path: "/proc/timer_list"}, 1, 0},
		{"no_new_privs", []string{"--security-opt", "no-new-privileges", "host", "grep", "-q", "NoNewPrivs:.0", "/proc/self/status"}, why.Factor{Kind: why.NNPOff}, 1, 0},
		{"uid", []string{"--user", "1000", "host", "sh", "-c", "exit $(id -u)"}, why.Factor{Kind: why.Root}, 1000 % 256, 0},
		{"mount flag", []string{"--tmpfs", "/m:noexec", "host", "sh", "-c", "cp /bin/true /m/t && /m/t"}, why.Factor{Kind: why.MountFlag, Path: "/m", Name: "noexec"}, 126, 0},
		{"read-only tmpfs", []string{"--tmpfs", "/m:ro", "host", "sh", "-c", "echo >/m/f"}, why.Factor{Kind: why.WritePath, Path: "/m/f"}, 2, 0},
		{"read-only root", []string{"--read-only", "host", "sh", "-c", "echo >/etc/f"}, why.Factor{Kind: why.WritePath, Path: "/etc/f"}, 2, 0},
		{"limit", []string{"--ulimit", "nofile=100:200", "host", "sh", "-c", "test $(ulimit -n) = 150"}, why.Factor{Kind: why.RlimitSet, Name: "nofile", Value: "150:200"}, 1, 0},
		{"sysctl", []string{"--as", "docker:19.03", "host", "sh", "-c", "grep -q '^0$' /proc/sys/net/ipv4/ip_unprivileged_port_start"}, why.Factor{Kind: why.SysctlSet, Name: "net.ipv4.ip_unprivileged_port_start", Value: "0"}, 1, 0},
		{"capability of another user", []string{"--user", "1000", "host", "chown", "0", "/tmp"}, why.Factor{Kind: why.CapHeld, Caps: caps.Of(caps.CAP_CHOWN)}, 1, 0},
		{"device", []string{"host", "sh", "-c", "mknod /tmp/fuse c 10 229 && : </tmp/fuse"}, why.Factor{Kind: why.DeviceRule, Name: "c 10:229 rwm"}, 2, 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			l, run := newLab(t, test.args...)
			if was := first(t, l, run); was.Exit != test.without {
				t.Fatalf("as it is: exit %d, want %d: %s", was.Exit, test.without, l.Text())
			}
			o := l.Try(t.Context(), why.Experiment{Lift: []why.Factor{test.lift}})
			if o.Err != nil || o.Unable != nil || o.Exit != test.with {
				t.Errorf("lifted: exit %d, unable %v, %v; want %d", o.Exit, o.Unable, o.Err, test.with)
			}
			if o := l.Try(t.Context(), why.Experiment{}); o.Exit != test.without {
				t.Errorf("control: exit %d", o.Exit)
			}
		})
	}
}

// A program that the kernel does not start at all is refused an execve.
func TestNotStarted(t *testing.T) {
	both(t, func(t *testing.T, with lab.Sort) {
		if _, err := exec.LookPath("setcap"); err != nil {
			t.Skip("needs setcap")
		}
		dir := t.TempDir()
		if err := os.Chmod(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		prog := dir + "/true"
		for _, c := range [][]string{{"cp", "/bin/true", prog}, {"setcap", "cap_sys_admin=ep", prog}} {
			if out, err := exec.Command(c[0], c[1:]...).CombinedOutput(); err != nil {
				t.Skipf("%v: %v: %s", c, err, out)
			}
		}
		l, run := newLab(t, "-v", dir+":/p:ro", "host", "/p/true")
		l.With = with
		was, err := l.First(t.Context(), run, [3]*os.File{})
		if err == nil || was.Exit != 126 || refused(was.Events, "execve") != 1 {
			t.Fatalf("exit %d, %v, events %+v", was.Exit, err, was.Events)
		}
		f := was.Events[0].File
		if f == nil || f.Path != "/p/true" || !f.Caps.Effective || !f.Caps.Permitted.Has(caps.CAP_SYS_ADMIN) {
			t.Errorf("the file: %+v", f)
		}
		for _, x := range []struct {
			lift why.Factor
			exit int
		}{
			{why.Factor{Kind: why.FileCapsOff, Path: "/p/true"}, 0},
			{why.Factor{Kind: why.CapHeld, Caps: caps.Of(caps.CAP_SYS_ADMIN)}, 0},
			{why.Factor{Kind: why.FilterOff}, 126},
		} {
			if o := l.Try(t.Context(), why.Experiment{Lift: []why.Factor{x.lift}}); o.Exit != x.exit || o.Err != nil || o.Unable != nil {
				t.Errorf("%v: exit %d, unable %v, %v", x.lift, o.Exit, o.Unable, o.Err)
			}
		}
	})
}

// Input is given again, output is compared without what differs by nature, and what runs for too
// long is ended.
func TestRepeat(t *testing.T) {
	in, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	w.WriteString("hello\n")
	w.Close()
	l, run := newLab(t, "-i", "host", "sh", "-c", "cat; echo $$ at $(date +%s.%N); exit 3")
	was, err := l.First(t.Context(), run, [3]*os.File{in})
	if err != nil || was.Exit != 3 {
		t.Fatal(was.Exit, err)
	}
	if o := l.Try(t.Context(), why.Experiment{}); o.Output != was.Output || o.Exit != 3 {
		t.Errorf("the control's output differs: %+v, %+v", o, was)
	}
	l, run = newLab(t, "host", "sh", "-c", "test $(id -u) = 1 || sleep 60")
	l.Workload.User = "1"
	l.Limit = 300 * time.Millisecond
	first(t, l, run)
	begun := time.Now()
	if o := l.Try(t.Context(), why.Experiment{Lift: []why.Factor{{Kind: why.Root}}}); !o.Cut || time.Since(begun) > 5*time.Second {
		t.Errorf("it was not cut: %+v after %v", o, time.Since(begun))
	}
}

// What reaches out of the container is named.
func TestReaches(t *testing.T) {
	dir := t.TempDir()
	for _, test := range []struct {
		args []string
		want int
	}{
		{[]string{"host", "touch", "/etc/x"}, 0},
		{[]string{"-v", dir + ":/d", "host", "ls", "/d"}, 0},
		{[]string{"-v", dir + ":/d:ro", "host", "ls", "/d"}, 0},
		{[]string{"-v", dir + ":/d", "host", "touch", "/d/x"}, 1},
		{[]string{"--network", "host", "host", "true"}, 1},
	} {
		time.Sleep(20 * time.Millisecond) // so that what the last one wrote is older
		l, run := newLab(t, test.args...)
		first(t, l, run)
		if got := l.Reaches(); len(got) != test.want {
			t.Errorf("%v: %v, want %d", test.args, got, test.want)
		}
	}
}
