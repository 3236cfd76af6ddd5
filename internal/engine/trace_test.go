package engine

import (
	"bytes"
	"context"
	"os"
	"strings"
	"testing"

	"porthole/event"
	"porthole/event/decode"
	"porthole/internal/engine/container"
	"porthole/internal/host/trace"
	"porthole/seccomp"
	"porthole/seccomp/filter"
	"porthole/workload/dialect"
)

// sightings runs a docker command line under a watcher, by eBPF or by the filter's own notifications, and
// returns a line for each thing that was seen: who said no, and what was called.
func sightings(t *testing.T, e *Engine, ebpf bool, as string, args ...string) (lines []string, code int) {
	t.Helper()
	run, err := dialect.Docker(args, dialect.Outside{Env: os.LookupEnv, ReadFile: os.ReadFile, Dir: "/"})
	if err != nil {
		t.Fatal(err)
	}
	run.Workload.As = as
	see := func(e event.Event) {
		who := "kernel"
		switch {
		case e.Filtered:
			who = "filter"
		case e.Kind == event.Denied:
			who = "capability"
		case e.Kind != event.Refused:
			who = ""
		}
		lines = append(lines, strings.TrimSpace(who+" "+e.Comm+": "+decode.Line(e)))
	}
	var w *trace.Watcher
	adjust := func(cfg *container.Config) {
		if ebpf {
			if w, err = trace.Attach(context.Background(), trace.Target{}, trace.Options{See: see, Ring: 1 << 20}); err != nil {
				t.Fatal(err)
			}
			cfg.Ready = w.Add
			return
		}
		policy := *cfg.Policy
		asking := trace.Notifier(policy)
		cfg.Policy, cfg.Answers = &asking, &policy
		cfg.Watch = func(listener *os.File) {
			if w, err = trace.Attach(context.Background(), trace.Target{Listener: listener, Policy: policy}, trace.Options{See: see}); err != nil {
				t.Error(err)
			}
		}
	}
	out, ended := capture(func(s Streams) (int, error) {
		return e.Run(context.Background(), run.Workload, RunOptions{Remove: true, Streams: s, Adjust: adjust})
	})
	if w != nil {
		if err := w.Close(); err != nil {
			t.Error(err)
		}
	}
	if x, ok := ended.(exited); ok {
		code = int(x)
	} else if ended != nil {
		t.Logf("%v", ended)
		code = 126
	}
	if testing.Verbose() {
		t.Logf("%q ends with %d: %s\n%s", args, code, out, strings.Join(lines, "\n"))
	}
	return lines, code
}

// What programs in containers are refused, and by whom.
func TestWatched(t *testing.T) {
	e := open(t)
	for _, x := range []struct {
		as   string
		args string
		need string
		want []string // lines, or their beginnings
		not  string   // in no line
		bpf  bool     // not the filter's alone to tell
	}{
		{"docker:18.09", "host strace -o /dev/null true", "strace",
			[]string{"filter strace: ptrace(PTRACE_TRACEME) = -1 EPERM"}, "capability strace: ptrace", false},
		{"docker", "host strace -o /dev/null true", "strace", nil, "ptrace(PTRACE_TRACEME) = -1", false},
		{"docker", "host gdb -batch -ex run /bin/true", "gdb",
			[]string{"filter gdb: personality(PER_LINUX|ADDR_NO_RANDOMIZE) = -1 EPERM"}, "", false},
		{"docker", "host unshare -r id", "unshare",
			[]string{"filter unshare: unshare(CLONE_NEWUSER) = -1 EPERM"}, "", false},
		{"docker", "host mount -t tmpfs none /mnt", "mount",
			[]string{`filter mount: mount("none", "/mnt", "tmpfs", 0, NULL) = -1 EPERM`}, "", false},
		{"docker", "--security-opt seccomp=unconfined host mount -t tmpfs none /mnt", "mount",
			[]string{`capability mount: mount("none", "/mnt", "tmpfs", 0, NULL) asks for CAP_SYS_ADMIN`, `kernel mount: mount("none", "/mnt", "tmpfs", 0, NULL) = -1 EPERM`}, "", true},
		{"docker", "--cap-drop CHOWN host chown 5 /tmp", "chown",
			[]string{`capability chown: fchownat(AT_FDCWD, "/tmp", 5, -1, 0) asks for CAP_CHOWN`, `kernel chown: fchownat(AT_FDCWD, "/tmp", 5, -1, 0) = -1 EPERM`}, "", true},
		{"docker", "--cap-drop MKNOD host mknod /tmp/q c 1 3", "mknod",
			[]string{`capability mknod: mknodat(AT_FDCWD, "/tmp/q", S_IFCHR|0666, makedev(0x1, 0x3)) asks for CAP_MKNOD`}, "", true},
		{"docker", "host sh -c 'mknod /tmp/q c 1 11; cat /tmp/q'", "mknod", // the device group lets it be made and not be opened
			[]string{`kernel cat: openat(AT_FDCWD, "/tmp/q", O_RDONLY) = -1 EPERM`}, "capability cat: openat", true},
		{"docker", "host sh -c 'echo 1 > /proc/sys/kernel/panic'", "sh",
			[]string{`kernel sh: openat(AT_FDCWD, "/proc/sys/kernel/panic", O_WRONLY|O_CREAT|O_TRUNC, 0666) = -1 EROFS`}, "capability sh: openat", true},
		{"docker", "--user 1000 host cat /etc/shadow", "cat",
			[]string{`capability cat: openat(AT_FDCWD, "/etc/shadow", O_RDONLY) asks for CAP_DAC_`, `kernel cat: openat(AT_FDCWD, "/etc/shadow", O_RDONLY) = -1 EACCES`}, "", true},
		{"docker", "--cap-drop NET_ADMIN host ip link add q type dummy", "ip",
			[]string{"ip: netlink RTM_NEWLINK answered EPERM"}, "", true},
		{"docker", "host /bin/true", "true", nil, "= -1 EPERM", false},
	} {
		for _, ebpf := range []bool{true, false} {
			if !installed(x.need) || !ebpf && (x.bpf || strings.Contains(x.args, "unconfined")) {
				continue
			}
			lines, _ := sightings(t, e, ebpf, x.as, quoted(x.args)...)
			for _, want := range x.want {
				found := 0
				for _, l := range lines {
					if strings.HasPrefix(l, want) {
						found++
					}
				}
				if found == 0 {
					t.Errorf("%s, as %s, eBPF %v: no %q among\n%s", x.args, x.as, ebpf, want, strings.Join(lines, "\n"))
				}
			}
			for _, l := range lines {
				if x.not != "" && strings.Contains(l, x.not) {
					t.Errorf("%s, as %s, eBPF %v: %s", x.args, x.as, ebpf, l)
				}
			}
		}
	}
}

// quoted splits a line at blanks but those between '…'.
func quoted(line string) (words []string) {
	for i, part := range strings.Split(line, "'") {
		if i%2 == 1 {
			words = append(words, part)
		} else {
			words = append(words, strings.Fields(part)...)
		}
	}
	return words
}

// A filter that is read back from a container is the one that was compiled for it, also under strace.
func TestFilterReadBack(t *testing.T) {
	e := open(t)
	run, err := dialect.Docker([]string{"host", "sleep", "60"}, dialect.Outside{})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	var policy seccomp.Policy
	var pid int
	started, done := make(chan struct{}), make(chan error, 1)
	go func() {
		_, err := e.Run(ctx, run.Workload, RunOptions{
			Remove: true,
			Adjust: func(c *container.Config) {
				policy = *c.Policy
				c.Ready = func(p int) error { pid = p; return nil }
			},
			Started: func(string) { close(started) },
		})
		done <- err
	}()
	select {
	case err := <-done:
		t.Fatal(err)
	case <-started:
	}
	got, err := trace.Filters(pid, "")
	cancel()
	<-done
	if err != nil {
		t.Fatal(err)
	}
	want, err := filter.Compile(policy)
	if err != nil {
		t.Fatal(err)
	}
	if len(got) != 1 || !bytes.Equal(got[0].Bytes(), want.Bytes()) {
		t.Errorf("%d filters, not the one that was compiled", len(got))
	}
	nr, _ := e.facts.Arch.Nr("mount")
	if a, _ := got[0].Run(filter.Data{Nr: nr, Arch: e.facts.Arch.Audit()}); a != seccomp.Errno|1 {
		t.Errorf("mount: %v", a)
	}
}
