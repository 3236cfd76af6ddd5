package engine

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"porthole/internal/engine/container"
	"porthole/workload"
)

// What cannot be is refused with one error that says what, and nothing is left of it.
func TestBadInput(t *testing.T) {
	e := open(t)
	var warned []string
	e.warn = func(msg string) { warned = append(warned, msg) }
	dir := t.TempDir()
	doc := func(name, text string) string {
		put(t, dir, name, []byte(text), 0o644)
		return "seccomp=" + filepath.Join(dir, name)
	}
	put(t, dir, "file", []byte("no archive"), 0o644)
	deny := func(call string) string {
		return `{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{"names":["` + call + `"],"action":"SCMP_ACT_ERRNO"}]}`
	}
	for _, c := range []struct {
		name string
		args []string
		code int
		want string // in the error, or where that is nil in a warning
	}{
		{"capability", []string{"--cap-add", "SYS_PTRAC", "host", "true"}, 125, `unknown capability: "CAP_SYS_PTRAC"; did you mean SYS_PTRACE\?`},
		{"half a document", []string{"--security-opt", doc("half.json", `{"syscalls":[{"names":["mount"],"action":`), "host", "true"}, 125, `half.json:1:\d+: syscalls\[0\].action: the document ends here`},
		{"unknown key", []string{"--security-opt", doc("key.json", `{"defaultAction":"SCMP_ACT_ALLOW","sycalls":[]}`), "host", "true"}, 125, `key.json:1:35: sycalls: unknown key; did you mean syscalls\?`},
		{"unknown action", []string{"--security-opt", doc("act.json", `{"defaultAction":"SCMP_ACT_ALOW"}`), "host", "true"}, 125, `defaultAction: unknown action "SCMP_ACT_ALOW"; did you mean SCMP_ACT_ALLOW\?`},
		{"unknown operator", []string{"--security-opt", doc("op.json", `{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{"names":["mount"],"action":"SCMP_ACT_ERRNO","args":[{"index":0,"value":1,"op":"SCMP_CMP_EQUAL"}]}]}`), "host", "true"}, 125, `args\[0\].op: unknown operator "SCMP_CMP_EQUAL"; did you mean SCMP_CMP_EQ\?`},
		{"unknown call", []string{"--security-opt", doc("call.json", deny("moumt")), "host", "true"}, 0, `no system call is called "moumt", skipped; did you mean mount\?`},
		{"no execve", []string{"--security-opt", doc("execve.json", deny("execve")), "host", "true"}, 125, `would stop the start itself: it answers ERRNO\(EPERM\) to execve\n  try: allow execve`},
		{"no capset", []string{"--security-opt", doc("capset.json", deny("capset")), "host", "true"}, 125, `to capset\n  because: .*\n  try: .*no-new-privileges`},
		{"kills all", []string{"--security-opt", doc("kill.json", `{"defaultAction":"SCMP_ACT_KILL_PROCESS"}`), "host", "true"}, 125, `KILL_PROCESS to .*execve`},
		{"missing document", []string{"--security-opt", "seccomp=/nonexistent.json", "host", "true"}, 125, `nonexistent.json.*no such file`},
		{"image name", []string{"Bad Name", "true"}, 125, `invalid image name "Bad Name": repository names are lower case`},
		{"missing image directory", []string{"dir:/nonexistent", "true"}, 125, `/nonexistent: no such file`},
		{"no archive", []string{"dir:" + dir + "/file", "true"}, 125, `layer [0-9a-f]+: `},
		{"no layout", []string{"oci:" + dir, "true"}, 125, dir},
		{"missing program", []string{"host", "nosuchprogram"}, 127, `exec: "nosuchprogram": executable file not found in \$PATH`},
		{"no program", []string{"host", "/etc/passwd"}, 126, `exec: "/etc/passwd": permission denied\n  because: `},
		{"missing source", []string{"--mount", "type=bind,src=/nonexistent,dst=/x", "host", "true"}, 125, `bind source path does not exist: /nonexistent`},
		{"missing device", []string{"--device", "/dev/nonexistent", "host", "true"}, 125, `/dev/nonexistent`},
		{"missing user", []string{"-u", "nosuchuser", "host", "true"}, 125, `nosuchuser`},
		{"working directory is a file", []string{"-w", "/etc/passwd", "host", "true"}, 125, `-w /etc/passwd: not a directory`},
		{"memory", []string{"-m", "1k", "host", "true"}, 125, `minimum memory limit`},
		{"processor", []string{"--cpuset-cpus", "99", "host", "true"}, 125, `--cpuset-cpus: "99"`},
	} {
		t.Run(c.name, func(t *testing.T) {
			warned = nil
			_, code, err := e.line(t, append([]string{"--rm"}, c.args...)...)
			said := strings.Join(warned, "\n")
			if err != nil {
				said = err.Error()
			}
			if code != c.code || !regexp.MustCompile(c.want).MatchString(said) {
				t.Errorf("exit %d: %s", code, said)
			}
			if strings.Count(said, "\n") > 4 || strings.Contains(said, "failed to") {
				t.Errorf("not one clear error: %s", said)
			}
			if l := left(e.root); len(l) > 0 {
				t.Errorf("left behind: %s", strings.Join(l, "\n"))
			}
		})
	}
}

// On a kernel without filters the default one is left out with a warning, as Docker does, and one that was asked
// for is refused.
func TestNoSeccomp(t *testing.T) {
	e := open(t)
	e.facts.Features.Seccomp = false
	var warned string
	e.warn = func(msg string) { warned += msg + "\n" }
	if _, code, err := e.line(t, "--rm", "host", "true"); code != 0 || !strings.Contains(warned, "running without a filter") {
		t.Errorf("exit %d: %v, %s", code, err, warned)
	}
	file := filepath.Join(t.TempDir(), "allow.json")
	if err := os.WriteFile(file, []byte(`{"defaultAction":"SCMP_ACT_ALLOW"}`), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, code, err := e.line(t, "--rm", "--security-opt", "seccomp="+file, "host", "true"); code != 125 || !strings.Contains(err.Error(), "not enabled in your kernel") {
		t.Errorf("exit %d: %v", code, err)
	}
	if l := left(e.root); len(l) > 0 {
		t.Errorf("left behind: %s", strings.Join(l, "\n"))
	}
}

// A state directory that cannot be written to is said to be one, and stays as clean as it was.
func TestStorageFails(t *testing.T) {
	needRoot(t)
	at := func(t *testing.T, options string, flags uintptr) *Engine {
		dir := t.TempDir()
		if err := unix.Mount("tmpfs", dir, "tmpfs", flags, options); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { unix.Unmount(dir, 0) })
		e, err := Open(dir, factsOf(t), func(string) {})
		if err != nil {
			t.Fatal(err)
		}
		return e
	}
	for _, c := range []struct {
		name, options string
		flags         uintptr
		want          string
	}{
		{"read-only", "", unix.MS_RDONLY, "read-only file system\n  because: .* is read-only\n  try: porthole --root"},
		{"no space", "size=4k", 0, "no space left on device\n  because: .* is full.*\n  try: porthole --root"},
		{"little space", "size=8k", 0, "no space left on device\n  because: .* is full.*\n  try: porthole --root"},
		{"no more files", "nr_inodes=4", 0, "no space left on device\n  because: .*no room for more files"},
		{"few more files", "nr_inodes=9", 0, "no space left on device\n  because: .*no room for more files"},
	} {
		t.Run(c.name, func(t *testing.T) {
			e := at(t, c.options, c.flags)
			_, code, err := e.line(t, "--rm", "host", "true")
			if code != 125 || err == nil || !regexp.MustCompile(c.want).MatchString(err.Error()) {
				t.Errorf("exit %d: %v", code, err)
			}
			left := snapshot(t, false, e.root)
			if strings.Contains(left, "containers/") && strings.Count(left, "\n") > 5 {
				t.Errorf("left behind: %s", left)
			}
			if ids := containerIDs(e.root); len(ids) > 0 {
				t.Errorf("left behind: %s", ids)
			}
		})
	}
}

// background starts a container that sleeps, and returns its ID.
func background(t *testing.T, e *Engine, name string) string {
	t.Helper()
	if err := (victim{Root: e.root, Verb: "run", Args: []string{"-d", "--name", name, "host", "sleep", "1000"}}).start(t, nil).Wait(); err != nil {
		t.Fatal(err)
	}
	id, err := e.resolve(name)
	if err != nil {
		t.Fatal(err)
	}
	return id
}

// What a container's life does not allow is refused, and two who want the same do not disturb each other.
func TestWrongMoment(t *testing.T) {
	e := open(t)
	id := background(t, e, "it")
	must := func(err error, want string) {
		t.Helper()
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
	_, _, err := e.line(t, "--name", "it", "host", "true")
	must(err, `the container name "it" is already in use by container `+short(id))
	must(e.Remove("it", false, false), "is running: stop it first, or rm -f")
	must(e.Kill("it", "NOSUCH"), "NOSUCH")
	_, err = e.Exec(context.Background(), workload.Exec{Container: "it", Args: []string{"nosuchprogram"}}, ExecOptions{})
	must(err, "not found in $PATH")
	at := time.Duration(0)
	if err := e.Stop("it", "", &at); err != nil {
		t.Fatal(err)
	}
	must(e.Kill("it", "TERM"), "is not running")
	_, err = e.Exec(context.Background(), workload.Exec{Container: "it", Args: []string{"true"}}, ExecOptions{})
	must(err, "is not running")
	must(e.Kill("nobody", "TERM"), "no such container: nobody")

	errs := make([]error, 8)
	var all sync.WaitGroup
	for i := range errs {
		all.Go(func() { errs[i] = e.Remove("it", false, false) })
	}
	all.Wait()
	if !slices.Contains(errs, nil) {
		t.Error(errs)
	}
	for _, err := range errs {
		if err != nil && !errors.Is(err, ErrNotFound) && !strings.Contains(err.Error(), "by another command") {
			t.Error(err)
		}
	}
	if l := left(e.root, id); len(l) > 0 {
		t.Errorf("left behind: %s", strings.Join(l, "\n"))
	}
	reap()
}

// A container whose files are damaged is named by every command, keeps none from serving the others, and goes
// with rm -f, processes and all.
func TestDamagedFiles(t *testing.T) {
	e := open(t)
	var warned []string
	e.warn = func(msg string) { warned = append(warned, msg) }
	background(t, e, "other")
	defer e.Remove("other", true, true)
	for _, c := range []struct {
		file string
		keep int
	}{{"state.json", 50}, {"state.json", 0}, {"record.json", 50}, {"record.json", 0}} {
		id := background(t, e, "it")
		_, s, err := e.open("it")
		if err != nil {
			t.Fatal(err)
		}
		pidfd, err := unix.PidfdOpen(s.Pid, 0)
		if err != nil {
			t.Fatal(err)
		}
		defer unix.Close(pidfd)
		if err := os.Truncate(filepath.Join(e.dir(id), c.file), int64(c.keep)); err != nil {
			t.Fatal(err)
		}
		warned = nil
		list, err := e.List(true)
		if err != nil || len(list) != 1 || list[0].Name != "other" {
			t.Errorf("%s of %d bytes: ps: %d containers, %v", c.file, c.keep, len(list), err)
		}
		if err := e.Kill("it", "TERM"); err == nil {
			t.Errorf("%s of %d bytes: kill finds nothing wrong", c.file, c.keep)
		} else if c.keep > 0 && !strings.Contains(err.Error(), "try: porthole rm -f") {
			t.Errorf("%s of %d bytes: kill: %v", c.file, c.keep, err)
		}
		if err := e.Remove("it", true, true); err != nil {
			t.Errorf("%s of %d bytes: rm -f: %v", c.file, c.keep, err)
		}
		if !dead(pidfd) {
			t.Errorf("%s of %d bytes: the process lives on", c.file, c.keep)
		}
		reap()
		for _, l := range left(e.root, id) {
			if strings.Contains(l, id) || strings.Contains(l, "names/it") {
				t.Errorf("%s of %d bytes: left behind: %s", c.file, c.keep, l)
			}
		}
	}
}

// Whatever a record, a state and a name hold, the commands that read them neither panic nor find another container.
func FuzzRecord(f *testing.F) {
	f.Add([]byte(`{"ID":"x","Name":"it","Workload":{}}`), []byte(`{"version":1,"id":"x","status":"running","pid":1,"cgroups":{"":"/etc"}}`), "it")
	f.Add([]byte(`{`), []byte(`{"version":99}`), "..")
	f.Add([]byte(``), []byte(`{"status":"creating","cgroup":"/../../etc"}`), "../../etc/passwd")
	dir := f.TempDir()
	e := &Engine{root: dir, warn: func(string) {}}
	id := newID()
	claim, err := container.NewClaim(e.containers(), id) // held, so that no sweep takes it
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(claim.Release)
	f.Fuzz(func(t *testing.T, record, state []byte, ref string) {
		for name, data := range map[string][]byte{recordFile: record, "state.json": state} {
			if err := os.WriteFile(filepath.Join(e.dir(id), name), data, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		if got, err := e.resolve(ref); err == nil && got != id {
			t.Errorf("%q is %q", ref, got)
		}
		if s, err := container.Load(e.dir(id)); err == nil && s.Status == container.Running && len(state) == 0 {
			t.Error("nothing runs")
		}
		if _, err := e.List(true); err != nil {
			t.Error(err)
		}
	})
}
