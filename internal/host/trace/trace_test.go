package trace

import (
	"bufio"
	"context"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"

	"porthole/abi"
	"porthole/caps"
	"porthole/event"
)

func children(pid int) (pids []int) {
	tasks, _ := filepath.Glob(proc(pid, "task/*/children"))
	for _, f := range tasks {
		data, _ := os.ReadFile(f)
		for _, s := range strings.Fields(string(data)) {
			n, _ := strconv.Atoi(s)
			pids = append(pids, n)
		}
	}
	return pids
}

// The four signatures: who refused a call is told by what was seen of it.

func TestFilterRefuses(t *testing.T) {
	seen, _ := watched(t, Options{}, "personality=1 sethostname=38", "sh", "-c", "setarch -R true; hostname x; true")
	e := first(t, seen, event.Refused, "personality", nil)
	if !e.Filtered || e.Errno != abi.Errno(unix.EPERM) || e.Comm != "setarch" || e.Args[0] != 0x40000 {
		t.Errorf("%+v", e)
	}
	if e.Exe != "/usr/bin/setarch" && e.Exe != "" { // it may be gone
		t.Errorf("program %q", e.Exe)
	}
	e = first(t, seen, event.Refused, "sethostname", nil)
	if !e.Filtered || e.Errno != abi.Errno(unix.ENOSYS) || e.Strings[0] != "x" {
		t.Errorf("%+v", e)
	}
	if n := count(seen, func(e event.Event) bool { return e.Kind == event.Denied }); n != 0 {
		t.Errorf("%d capabilities asked for by calls that the kernel never saw", n)
	}
}

func TestCapabilityRefuses(t *testing.T) {
	seen, sight := watched(t, Options{}, "", "capsh", "--drop=cap_sys_chroot,cap_sys_admin,cap_chown,cap_setuid", "--", "-c", "chroot / true; hostname x; chown 7 /proc; cd /tmp; mount -t tmpfs none /mnt/; true")
	if !sight.Caps {
		t.Skip("this kernel does not show capability checks: ", sight.Notes)
	}
	for _, want := range []struct {
		call string
		cap  caps.Cap
	}{{"chroot", caps.CAP_SYS_CHROOT}, {"sethostname", caps.CAP_SYS_ADMIN}, {"fchownat", caps.CAP_CHOWN}, {"mount", caps.CAP_SYS_ADMIN}} {
		d := first(t, seen, event.Denied, want.call, nil)
		if d.Cap != want.cap || d.UserNS == 0 || d.UserNS != d.Own {
			t.Errorf("%s: %v in %d, the caller in %d", want.call, d.Cap, d.UserNS, d.Own)
		}
		e := first(t, seen, event.Refused, want.call, nil)
		if e.Filtered || e.Errno != abi.Errno(unix.EPERM) {
			t.Errorf("%s: %+v", want.call, e)
		}
		if e.Who == nil || e.Who.Effective.Has(want.cap) || e.Who.UID != 0 || !e.Who.Effective.Has(caps.CAP_KILL) {
			t.Errorf("%s: caller %+v", want.call, e.Who)
		}
		if n := count(seen, func(e event.Event) bool { return e.Kind == event.Denied && name(e) == want.call }); n != 1 {
			t.Errorf("%s: %d denials", want.call, n)
		}
	}
	e := first(t, seen, event.Refused, "mount", nil)
	if e.Strings[0] != "none" || e.Strings[1] != "/mnt/" && e.Strings[1] != "/mnt" || e.Strings[2] != "tmpfs" {
		t.Errorf("mount: %v", e.Strings)
	}
	// Asked for at every exec, and no refusal's cause.
	for _, e := range seen {
		if e.Kind == event.Denied && (name(e) == "execve" || name(e) == "mmap") {
			t.Errorf("%s is said to want %v", name(e), e.Cap)
		}
	}
}

func name(e event.Event) string {
	n, _ := e.Arch.Name(e.Nr)
	return n
}

func TestAnotherLayerRefuses(t *testing.T) {
	dir := t.TempDir()
	ro := filepath.Join(dir, "ro")
	if err := os.Mkdir(ro, 0o755); err != nil {
		t.Fatal(err)
	}
	needRoot(t)
	if err := unix.Mount("none", ro, "tmpfs", unix.MS_RDONLY, ""); err != nil {
		t.Fatal(err)
	}
	defer unix.Unmount(ro, 0)
	seen, _ := watched(t, Options{}, "", "sh", "-c", ": > "+ro+"/file; mkdir "+ro+"/dir; true")
	e := first(t, seen, event.Refused, "openat", func(e event.Event) bool { return e.Errno == abi.Errno(unix.EROFS) })
	if e.Filtered || e.File == nil || e.File.Path != ro+"/file" || e.File.Mode != 0 || e.File.Mount != ro || e.File.FS != "tmpfs" || len(e.File.Flags) == 0 || e.File.Flags[0] != "ro" {
		t.Errorf("%+v %+v", e, e.File)
	}
	if n := count(seen, func(e event.Event) bool { return e.Kind == event.Denied }); n != 0 {
		t.Errorf("%d capabilities asked for", n)
	}
}

// sudo under no_new_privs: no call fails.
func TestSilence(t *testing.T) {
	seen, _ := watched(t, Options{}, "", "setpriv", "--reuid=1000", "--clear-groups", "--no-new-privs", "sh", "-c", "su -c true nobody </dev/null; true")
	e := first(t, seen, event.Exec, "", func(e event.Event) bool { return e.Comm == "su" })
	switch {
	case e.File == nil || e.File.Mode&unix.S_ISUID == 0 || e.File.UID != 0:
		t.Errorf("file %+v", e.File)
	case e.Who == nil || e.Became == nil || e.Who.EUID != 1000 || e.Became.EUID != 1000 || !e.Became.NoNewPrivs:
		t.Errorf("who %+v, became %+v", e.Who, e.Became)
	case e.Secure:
		t.Error("AT_SECURE, and yet nothing was gained")
	}
	seen, _ = watched(t, Options{}, "", "setpriv", "--reuid=1000", "--clear-groups", "sh", "-c", "su -c true nobody </dev/null; true")
	e = first(t, seen, event.Exec, "", func(e event.Event) bool { return e.Comm == "su" })
	if e.Who.EUID != 1000 || e.Became.EUID != 0 || !e.Secure || e.Became.NoNewPrivs {
		t.Errorf("without no_new_privs: secure %v, who %+v, became %+v", e.Secure, e.Who, e.Became)
	}
}

func TestFileCapabilities(t *testing.T) {
	needRoot(t)
	ping, err := exec.LookPath("ping")
	if err != nil {
		ping = filepath.Join(t.TempDir(), "ping")
		data, err := os.ReadFile("/bin/true")
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(ping, data, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	dir, err := os.MkdirTemp("", "capable") // where nobody may go
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	own := filepath.Join(dir, "capable")
	data, err := os.ReadFile(ping)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(own, data, 0o755); err != nil {
		t.Fatal(err)
	}
	want := caps.FileCaps{Present: true, Permitted: caps.Of(caps.CAP_NET_RAW), Effective: true}
	if err := unix.Setxattr(own, "security.capability", want.Xattr(), 0); err != nil {
		t.Fatal(err)
	}
	seen, _ := watched(t, Options{}, "", "capsh", "--drop=cap_net_raw", "--user=nobody", "--", "-c", own+"; true")
	e := first(t, seen, event.Refused, "execve", func(e event.Event) bool { return e.Strings[0] == own })
	if e.Errno != abi.Errno(unix.EPERM) || e.Filtered || e.File == nil || !e.File.Caps.Permitted.Has(caps.CAP_NET_RAW) || !e.File.Caps.Effective {
		t.Errorf("%+v %+v", e, e.File)
	}
	if e.Who.Bounding.Has(caps.CAP_NET_RAW) || e.Who.UID == 0 {
		t.Errorf("caller %+v", e.Who)
	}
}

func TestNetlink(t *testing.T) {
	needRoot(t)
	if _, err := exec.LookPath("ip"); err != nil {
		t.Skip("needs ip")
	}
	seen, sight := watched(t, Options{}, "", "capsh", "--drop=cap_net_admin", "--", "-c", "ip link add porthole9 type dummy; true")
	e := first(t, seen, event.Nack, "", nil)
	if e.Errno != abi.Errno(unix.EPERM) || e.Netlink.Type != unix.RTM_NEWLINK || e.Netlink.Protocol != unix.NETLINK_ROUTE || e.Comm != "ip" {
		t.Errorf("%+v", e)
	}
	if sight.Caps {
		d := first(t, seen, event.Denied, "", nil)
		if d.Cap != caps.CAP_NET_ADMIN || !strings.HasPrefix(name(d), "send") || d.Errno != 0 {
			t.Errorf("%+v", d)
		}
	}
}

func TestSysctlRead(t *testing.T) {
	seen, _ := watched(t, Options{}, "", "cat", "/proc/sys/kernel/perf_event_paranoid", "/proc/sys/kernel/ostype", "/proc/version")
	var files []string
	for _, e := range seen {
		if e.Kind == event.Read {
			files = append(files, e.File.Path)
		}
	}
	if got := strings.Join(files, " "); got != "/proc/sys/kernel/perf_event_paranoid /proc/sys/kernel/ostype" {
		t.Errorf("%q", got)
	}
}

func TestExit(t *testing.T) {
	seen, _ := watched(t, Options{}, "", "sh", "-c", "(exit 7); kill -9 $$")
	var status []int
	for _, e := range seen {
		if e.Kind == event.Exit {
			status = append(status, e.Status)
		}
	}
	if len(status) != 2 || status[0] != 7<<8 || status[1] != 9 {
		t.Errorf("%#x", status)
	}
}

// Tasks whose numbers fall together.
func TestSharedMarks(t *testing.T) {
	for _, marks := range []uint32{1, 2} {
		seen, sight := watched(t, Options{marks: marks}, "personality=1", "sh", "-c",
			"for i in 1 2 3 4 5 6 7 8; do setarch -R true & capsh --drop=cap_sys_chroot -- -c 'chroot / true' & done; wait; setarch -R true")
		if n := count(seen, func(e event.Event) bool { return e.Kind == event.Refused && e.Filtered }); n != 18 {
			t.Errorf("%d marks: %d calls that the filter refused, want 18: setarch tries twice", marks, n)
		}
		if n := count(seen, func(e event.Event) bool { return e.Kind == event.Refused && name(e) == "chroot" && !e.Filtered }); n != 8 {
			t.Errorf("%d marks: %d calls that the kernel refused, want 8", marks, n)
		}
		if n := count(seen, func(e event.Event) bool { return e.Kind == event.Denied && e.Cap == caps.CAP_SYS_CHROOT }); n != 8 && sight.Caps {
			t.Errorf("%d marks: %d capabilities asked for, want 8", marks, n)
		}
	}
}

// What is set up before the program begins is nobody's business but ours.
func TestOnlyTheProgram(t *testing.T) {
	seen, _ := watched(t, Options{}, "", "true")
	if len(seen) == 0 || seen[0].Kind != event.Exec {
		t.Fatalf("%d events, the first %+v", len(seen), seen)
	}
	seen, _ = watched(t, Options{}, "execve=13", "true")
	if len(seen) == 0 || seen[0].Kind != event.Refused || !seen[0].Filtered || name(seen[0]) != "execve" {
		t.Errorf("%+v", seen)
	}
}

// Absent things matter where something may have been taken away.
func TestNoise(t *testing.T) {
	seen, _ := watched(t, Options{}, "", "sh", "-c", "cat /tmp/porthole-absent /dev/porthole-absent /sys/porthole-absent /proc/sys/porthole; true")
	var paths []string
	for _, e := range seen {
		if e.Kind == event.Refused && name(e) == "openat" {
			paths = append(paths, e.Strings[1])
		}
	}
	if got := strings.Join(paths, " "); got != "/dev/porthole-absent /sys/porthole-absent /proc/sys/porthole" {
		t.Errorf("%q", got)
	}
	// A program that is looked for along PATH, and one whose interpreter is not there.
	script := filepath.Join(t.TempDir(), "script")
	if err := os.WriteFile(script, []byte("#!/porthole/absent\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	seen, _ = watched(t, Options{}, "", "env", "PATH=/a:/b:/usr/bin", "sh", "-c", "env "+script+"; true")
	paths = nil
	for _, e := range seen {
		if e.Kind == event.Refused && name(e) == "execve" {
			paths = append(paths, e.Strings[0])
		}
	}
	if got := strings.Join(paths, " "); got != script {
		t.Errorf("not executed: %q", got)
	}
	seen, _ = watched(t, Options{Ignore: []abi.Errno{}}, "", "cat", "/tmp/porthole-absent")
	first(t, seen, event.Refused, "openat", func(e event.Event) bool { return e.Strings[1] == "/tmp/porthole-absent" })
}

// A ring that holds one record, and a program that is refused faster than anybody reads.
func TestLosses(t *testing.T) {
	needRoot(t)
	if _, err := exec.LookPath("perl"); err != nil {
		t.Skip("needs perl")
	}
	const calls = 20000
	seen, sight := watched(t, Options{Ring: 4096}, "", "perl", "-e", "chroot('/dev/porthole') for 1.."+strconv.Itoa(calls))
	told := count(seen, func(e event.Event) bool { return e.Kind == event.Refused && name(e) == "chroot" })
	if sight.Lost == 0 || told == 0 || told+sight.Lost < calls {
		t.Errorf("%d told and %d lost of %d calls", told, sight.Lost, calls)
	}
}

// However a watcher ends, nothing of it stays in the kernel.
func TestKilled(t *testing.T) {
	needRoot(t)
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), attaching+"=1")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var ids []ebpf.ProgramID
	for line := range strings.FieldsSeq(firstLine(t, out)) {
		n, err := strconv.Atoi(line)
		if err != nil {
			t.Fatal(err)
		}
		ids = append(ids, ebpf.ProgramID(n))
	}
	if len(ids) < 5 {
		t.Fatalf("%d programs are loaded", len(ids))
	}
	there := func() (n int) {
		for _, id := range ids {
			if p, err := ebpf.NewProgramFromID(id); err == nil {
				p.Close()
				n++
			}
		}
		return n
	}
	if n := there(); n != len(ids) {
		t.Fatalf("%d of %d programs are there while the watcher runs", n, len(ids))
	}
	cmd.Process.Kill()
	cmd.Wait()
	for end := time.Now().Add(5 * time.Second); there() > 0; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%d programs outlive their watcher", there())
		}
	}
}

func firstLine(t *testing.T, r io.Reader) string {
	t.Helper()
	line, err := bufio.NewReader(r).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	return line
}

// Debuggers work as ever under a watcher, and what is refused to them is seen.
func TestDebuggers(t *testing.T) {
	needRoot(t)
	for _, argv := range [][]string{
		{"strace", "-f", "-o", "/dev/null", "sh", "-c", "chroot /proc/1/nowhere true; true"},
		{"gdb", "-q", "-batch", "-ex", "run", "--args", "/usr/sbin/chroot", "/proc/1/nowhere"},
	} {
		if _, err := exec.LookPath(argv[0]); err != nil {
			t.Skip("needs ", argv[0])
		}
		seen, _ := watched(t, Options{}, "", argv...)
		e := first(t, seen, event.Refused, "chroot", nil)
		if e.Filtered || e.Errno != abi.Errno(unix.ENOENT) || e.Strings[0] != "/proc/1/nowhere" {
			t.Errorf("%s: %+v", argv[0], e)
		}
		e = first(t, seen, event.Exit, "", func(e event.Event) bool { return e.PID == seen[0].PID })
		if e.Status != 0 {
			t.Errorf("%s ended with %#x", argv[0], e.Status)
		}
	}
	// Under a filter that forbids tracing, it is the filter that refuses.
	seen, _ := watched(t, Options{}, "ptrace=1", "strace", "-o", "/dev/null", "true")
	e := first(t, seen, event.Refused, "ptrace", nil)
	if !e.Filtered || e.Comm != "strace" {
		t.Errorf("%+v", e)
	}
}

// A container that runs already, and one more process that joins it.
func TestRunning(t *testing.T) {
	needRoot(t)
	cmd := exec.Command("unshare", "--pid", "--fork", "--mount-proc", "sh", "-c", "sleep 60 & while :; do chroot /dev/porthole-a true; sleep 0.05; done")
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer cmd.Wait()
	defer unix.Kill(-cmd.Process.Pid, unix.SIGKILL)
	var init int
	for end := time.Now().Add(5 * time.Second); init == 0 && time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		if pids := children(cmd.Process.Pid); len(pids) == 1 {
			init = pids[0]
		}
	}
	waitFor(t, init, "sh")
	events := make(chan event.Event, 1000)
	w, err := Attach(context.Background(), Target{Running: init}, Options{See: func(e event.Event) {
		select {
		case events <- e:
		default:
		}
	}})
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	wait := func(path string) {
		t.Helper()
		late := time.After(10 * time.Second)
		for {
			select {
			case e := <-events:
				if e.Kind == event.Refused && name(e) == "chroot" && e.Strings[0] == path {
					return
				}
			case <-late:
				t.Fatalf("chroot(%q) was not seen", path)
			}
		}
	}
	wait("/dev/porthole-a")
	// Beside it nobody is watched; who joins is.
	exec.Command("chroot", "/dev/porthole-b", "true").Run()
	exec.Command("nsenter", "-t", strconv.Itoa(init), "-p", "chroot", "/dev/porthole-c", "true").Run()
	late := time.After(10 * time.Second)
	for {
		select {
		case e := <-events:
			switch e.Strings[0] {
			case "/dev/porthole-b":
				t.Fatal("a process outside was watched")
			case "/dev/porthole-c":
				return
			}
			continue
		case <-late:
			t.Fatal("a process that joined was not watched")
		}
	}
}

// A user namespace of the program's own: ids are told as that namespace has them.
func TestUserNamespace(t *testing.T) {
	seen, sight := watched(t, Options{}, "", "unshare", "--user", "--map-root-user", "sh", "-c", "hostname x; true")
	e := first(t, seen, event.Refused, "sethostname", nil)
	if e.Own == initialUserNS || e.Own == 0 || e.Who.UID != 0 || !e.Who.Effective.Has(caps.CAP_SYS_ADMIN) {
		t.Errorf("%+v %+v", e, e.Who)
	}
	if sight.Caps {
		d := first(t, seen, event.Denied, "sethostname", nil)
		if d.Cap != caps.CAP_SYS_ADMIN || d.UserNS == d.Own {
			t.Errorf("asked in %d, the caller in %d", d.UserNS, d.Own)
		}
	}
}
