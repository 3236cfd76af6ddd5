package launch

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"porthole/abi"
	"porthole/plan"

	"golang.org/x/sys/unix"
)

func init() {
	roles["stand"] = stand
	roles["without-clone3"] = withoutClone3
	roles["rootless"] = rootless
	roles["run"] = run
}

// gated is a plan that waits at the ids gate and at the start gate, and then is program.
func gated(program ...plan.Step) *plan.Plan {
	p := &plan.Plan{Slots: 32}
	for _, id := range []plan.GateID{plan.GateIDs, plan.GateStart} {
		p.Child = append(p.Child, gate()...)
		p.Gates = append(p.Gates, plan.Gate{ID: id, At: len(p.Child) - 1})
	}
	p.Child = append(p.Child, program...)
	return p
}

// stand is a parent that prints its child's pid when that stands at gate args[1], and waits for death.
func stand(args []string) {
	keep, at := args[0], args[1]
	pr, err := Start(gated(execve("/bin/sh", "-c", "exit 3")), Options{Keep: keep, Sealed: os.Getuid() != 0})
	if err != nil {
		fmt.Println(err)
		return
	}
	for {
		g, err := pr.Arrived(context.Background())
		if err != nil {
			fmt.Println(err)
			return
		}
		if g.ID.String() == at {
			break
		}
		pr.Pass()
	}
	fmt.Println(pr.Pid())
	select {}
}

// alive says whether pid runs or stands: a zombie does not.
func alive(pid int) bool {
	f := statFields(pid)
	return len(f) > 0 && f[0] != "Z" && f[0] != "X"
}

// abandon starts a parent in that role, reads its child's pid, and kills the parent.
func abandon(t *testing.T, role ...string) (pid int) {
	t.Helper()
	cmd := exec.Command("/proc/self/exe", role...)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var b [4096]byte
	n, _ := out.Read(b[:])
	pid, err = strconv.Atoi(strings.TrimSpace(string(b[:n])))
	if err != nil {
		t.Errorf("the parent says %q", b[:n])
	}
	cmd.Process.Kill()
	cmd.Wait()
	return pid
}

func TestParentDies(t *testing.T) {
	for _, c := range []struct {
		name  string
		keep  bool
		at    plan.GateID
		lives bool
	}{
		{"foreground, at the first gate", false, plan.GateIDs, false},
		{"foreground, at the start gate", false, plan.GateStart, false},
		{"kept, at the first gate", true, plan.GateIDs, false},
		{"kept, at the start gate", true, plan.GateStart, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			keep := ""
			if c.keep {
				keep = t.TempDir()
			}
			// Adopted by us, so that it does not stay a zombie elsewhere.
			unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
			defer unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 0, 0, 0, 0)
			pid := abandon(t, "stand", keep, c.at.String())
			if !c.lives {
				if _, err := unix.Wait4(pid, nil, 0, nil); err != nil {
					t.Fatal(err)
				}
				return
			}
			time.Sleep(20 * time.Millisecond)
			if !alive(pid) {
				t.Fatal("the child is dead")
			}
			pr, err := Reattach(keep)
			if err != nil {
				t.Fatal(err)
			}
			defer pr.Close()
			if id, ok := pr.Waiting(); pr.Pid() != pid || !ok || id != c.at {
				t.Errorf("pid %d at gate %v", pr.Pid(), id)
			}
			if err := pr.Pass(); err != nil {
				t.Fatal(err)
			}
			if err := pr.Executed(soon(t)); err != nil {
				t.Fatal(err)
			}
			if status, _, err := pr.Wait(); err != nil || status.ExitStatus() != 3 {
				t.Errorf("%#x %v", int(status), err)
			}
			if _, err := Reattach(keep); err != ErrGone {
				t.Errorf("attached to what has been started: %v", err)
			}
		})
	}
}

func TestReattachedFails(t *testing.T) {
	keep := t.TempDir()
	p := gated(step("getpid"), execve("/nonexistent/program"))
	pr := start(t, Options{Keep: keep}, p)
	for range p.Gates[1:] {
		if _, err := pr.Arrived(soon(t)); err != nil {
			t.Fatal(err)
		}
		pr.Pass()
	}
	if _, err := pr.Arrived(soon(t)); err != nil {
		t.Fatal(err)
	}
	pr.Close()
	again, err := Reattach(keep)
	if err != nil {
		t.Fatal(err)
	}
	defer again.Close()
	if err := again.Pass(); err != nil {
		t.Fatal(err)
	}
	var e *StepError
	if err := again.Executed(soon(t)); !errors.As(err, &e) || e.Index != 5 || e.Of != 6 || e.Errno != abi.ENOENT {
		t.Errorf("%v", err)
	}
	again.Wait()
}

func TestReattachNothing(t *testing.T) {
	dir := t.TempDir()
	if _, err := Reattach(dir); err != ErrGone {
		t.Error(err)
	}
	os.WriteFile(filepath.Join(dir, pageFile), []byte("short"), 0o600)
	if _, err := Reattach(dir); err == nil || err == ErrGone {
		t.Error(err)
	}
	// A page that says anything at all must not lead us astray.
	page := make([]byte, 4096)
	for i := range page {
		page[i] = 0xff
	}
	order.PutUint32(page[pagePID:], uint32(os.Getpid()))
	os.WriteFile(filepath.Join(dir, pageFile), page, 0o600)
	if _, err := Reattach(dir); err != ErrGone {
		t.Error(err)
	}
	child, parent, err := makePass(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(child)
	defer unix.Close(parent)
	pr, err := Reattach(dir)
	if err != nil {
		t.Fatal(err)
	}
	pr.Waiting()
	pr.Slot(60000)
	pr.Times()
	pr.failure()
	pr.Close()
}

// withoutClone3 is a process under a filter like Docker's, which answers clone3 with ENOSYS.
func withoutClone3([]string) {
	filter := []unix.SockFilter{
		{Code: 0x20, K: 0},
		{Code: 0x15, Jt: 0, Jf: 1, K: unix.SYS_CLONE3},
		{Code: 0x06, K: 0x50000 | uint32(unix.ENOSYS)},
		{Code: 0x06, K: 0x7fff0000},
	}
	unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
	if err := loadFilter(filter); err != nil {
		fmt.Println(err)
		return
	}
	p := gated(execve("/bin/sh", "-c", "exit 5"))
	pr, err := Start(p, Options{Sealed: os.Getuid() != 0})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer pr.Close()
	for range p.Gates {
		if _, err := pr.Arrived(context.Background()); err != nil {
			fmt.Println(err)
		}
		pr.Pass()
	}
	status, _, err := pr.Wait()
	fmt.Println(status.ExitStatus(), err)
	p.IntoCgroup = plan.SlotStdin
	if _, err := Start(p, Options{}); errors.Is(err, abi.ENOSYS) {
		fmt.Println("no cgroup")
	}
}

// loadFilter puts filter on every thread of this process (SECCOMP_FILTER_FLAG_TSYNC).
func loadFilter(filter []unix.SockFilter) error {
	prog := unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]}
	if _, _, e := unix.Syscall(unix.SYS_SECCOMP, 1, 1, uintptr(unsafe.Pointer(&prog))); e != 0 {
		return e
	}
	return nil
}

func TestWithoutClone3(t *testing.T) {
	out, err := exec.Command("/proc/self/exe", "without-clone3").CombinedOutput()
	if string(out) != "5 <nil>\nno cgroup\n" {
		t.Errorf("%s%v", out, err)
	}
}

// rootless starts a child in a user namespace of its own and prints what its image is.
func rootless([]string) {
	p := gated(execve("/bin/true"))
	p.Clone = unix.CLONE_NEWUSER | unix.CLONE_NEWPID | unix.CLONE_NEWNS
	pr, err := Start(p, Options{})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer pr.Close()
	if _, err := pr.Arrived(context.Background()); err != nil {
		fmt.Println(err)
		return
	}
	exe, err := os.Readlink(fmt.Sprintf("/proc/%d/exe", pr.Pid()))
	fmt.Println(os.Getuid(), exe, err)
	err = os.WriteFile(fmt.Sprintf("/proc/%d/uid_map", pr.Pid()), fmt.Appendf(nil, "0 %d 1", os.Getuid()), 0)
	fmt.Println(err)
}

// An ordinary user's child hides our image as root's does, and its ids can be mapped afterwards.
func TestRootless(t *testing.T) {
	cmd := exec.Command("/proc/self/exe", "rootless")
	uid := os.Getuid()
	if uid == 0 {
		uid = 1000
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 1000, Gid: 1000}}
	}
	out, err := cmd.CombinedOutput()
	if strings.Contains(string(out), abi.EPERM.Error()) && strings.Contains(string(out), "create the child") {
		t.Skip("no user namespaces for ordinary users here")
	}
	if want := fmt.Sprintf("%d /memfd:porthole (deleted) <nil>\n<nil>\n", uid); string(out) != want {
		t.Errorf("%s%v", out, err)
	}
}

// run is a parent that prints its child's pid once that is its program, and waits for death.
func run(args []string) {
	p := gated(execve("/bin/sleep", "60"))
	if args[0] == "die" {
		last := len(p.Child) - 1
		p.Child = append(p.Child[:last:last], dieWithParent(unix.SIGKILL), p.Child[last])
	}
	pr, err := Start(p, Options{Sealed: os.Getuid() != 0})
	for range p.Gates {
		if err == nil {
			_, err = pr.Arrived(context.Background())
		}
		if err == nil {
			err = pr.Pass()
		}
	}
	if err == nil {
		err = pr.Executed(context.Background())
	}
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(pr.Pid())
	select {}
}

// Whether the program dies with its parent is the plan's to say.
func TestProgramsParentDies(t *testing.T) {
	unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
	defer unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 0, 0, 0, 0)
	for _, how := range []string{"die", "live"} {
		pid := abandon(t, "run", how)
		if how == "live" {
			time.Sleep(20 * time.Millisecond)
			if !alive(pid) {
				t.Error("the program is dead")
			}
			unix.Kill(pid, unix.SIGTERM)
		}
		var status unix.WaitStatus
		if _, err := unix.Wait4(pid, &status, 0, nil); err != nil {
			t.Fatal(err)
		}
		if want := map[string]unix.Signal{"die": unix.SIGKILL, "live": unix.SIGTERM}[how]; status.Signal() != want {
			t.Errorf("%s: ended by %v", how, status.Signal())
		}
	}
}
