package trace

import (
	"bytes"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"porthole/seccomp/filter"
)

func sameFilters(t *testing.T, got []filter.Program, rules ...string) {
	t.Helper()
	if len(got) != len(rules) {
		t.Fatalf("%d filters, want %d", len(got), len(rules))
	}
	for i, r := range rules { // the last one installed comes first
		want, err := filter.Compile(denying(r))
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got[i].Bytes(), want.Bytes()) {
			t.Errorf("filter %d differs from what was installed:\n%s\nwant\n%s", i, got[i].Disassemble(), want.Disassemble())
		}
	}
}

func TestFilters(t *testing.T) {
	needRoot(t)
	cache := t.TempDir()
	for _, rules := range [][]string{nil, {"ptrace=1"}, {"mount=13 umount2=13", "personality=1 ptrace=38"}, strings.Fields(strings.Repeat("acct=1 ", 20))} {
		cmd, _, open := gated(t, strings.Join(rules, ";"), "sleep", "60")
		open()
		waitFor(t, cmd.Process.Pid, "sleep")
		got, err := Filters(cmd.Process.Pid, cache)
		cmd.Process.Kill()
		cmd.Wait()
		if err != nil {
			t.Fatal(err)
		}
		for i, j := 0, len(rules)-1; i < j; i, j = i+1, j-1 {
			rules[i], rules[j] = rules[j], rules[i]
		}
		sameFilters(t, got, rules...)
	}
}

// waitFor waits until a process runs the program called comm.
func waitFor(t *testing.T, pid int, comm string) {
	t.Helper()
	for end := time.Now().Add(5 * time.Second); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		if data, _ := os.ReadFile(proc(pid, "comm")); strings.TrimSpace(string(data)) == comm {
			return
		}
	}
	t.Fatalf("process %d does not become %s", pid, comm)
}

// PTRACE_SECCOMP_GET_FILTER would need us in strace's place.
func TestFiltersOfTraced(t *testing.T) {
	needRoot(t)
	if _, err := exec.LookPath("strace"); err != nil {
		t.Skip("needs strace")
	}
	cmd, _, open := gated(t, "acct=1;mount=1 syslog=13", "strace", "-qq", "-o", "/dev/null", "sleep", "60")
	open()
	defer cmd.Wait()
	defer cmd.Process.Kill()
	child := 0
	for end := time.Now().Add(5 * time.Second); child == 0 && time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		for _, pid := range children(cmd.Process.Pid) {
			if data, _ := os.ReadFile(proc(pid, "comm")); string(data) == "sleep\n" {
				child = pid
			}
		}
	}
	status, _ := os.ReadFile(proc(child, "status"))
	if tracer := statusField(status, "TracerPid"); tracer == "0" || tracer == "" {
		t.Fatalf("sleep (%d) is not traced: %q", child, tracer)
	}
	got, err := Filters(child, "")
	syscall.Kill(child, syscall.SIGKILL)
	if err != nil {
		t.Fatal(err)
	}
	sameFilters(t, got, "mount=1 syslog=13", "acct=1")
}

func TestFiltersGone(t *testing.T) {
	needRoot(t)
	if _, err := Filters(1<<22-1, ""); err == nil || !strings.Contains(err.Error(), "no such process") {
		t.Errorf("error %v", err)
	}
}
