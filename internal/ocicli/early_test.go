package ocicli

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// What a program's start needs is tried by create, which says what fails and leaves nothing.
func TestFailsAtCreate(t *testing.T) {
	h := newHouse(t)
	h.config(func(s *specs.Spec) { // nobody gets more than fs.nr_open (do_prlimit, kernel/sys.c)
		s.Process.Rlimits = []specs.POSIXRlimit{{Type: "RLIMIT_NOFILE", Soft: 1 << 40, Hard: 1 << 40}}
	}, "sleep", "100")
	h.fails("process.rlimits[0]: operation not permitted", "create", "c")
	h.empty()
}

// A container that shares another's pid namespace is no more than its program will be while it waits, and one process.
func TestWaitsInSharedPIDs(t *testing.T) {
	h := newHouse(t)
	h.config(nil, "sleep", "100")
	h.must("run", "-d", "c")
	defer h.must("delete", "--force", "c")
	told := filepath.Join(h.bundle, "told")
	h.config(func(s *specs.Spec) {
		one := int64(1)
		s.Linux.Resources.Pids = &specs.LinuxPids{Limit: &one}
		s.Linux.CgroupsPath += "-too"
		s.Process.User = specs.User{UID: 1000, GID: 1000}
		for i, n := range s.Linux.Namespaces {
			if n.Type == specs.PIDNamespace {
				s.Linux.Namespaces[i].Path = "/proc/" + strconv.Itoa(h.stands("c").Pid) + "/ns/pid"
			}
		}
		s.Hooks = &specs.Hooks{CreateRuntime: []specs.Hook{{Path: "/bin/sh", Args: []string{"sh", "-c",
			`read s; echo "$s" >` + told + `; p=${s##*'"pid":'}; for n in mnt net uts; do /usr/bin/readlink /proc/${p%%[!0-9]*}/ns/$n >>` + told + `; done`}}}}
	}, "sleep", "100")
	h.must("create", "d")
	defer h.must("delete", "--force", "d")
	pid := strconv.Itoa(h.stands("d").Pid)
	status, err := os.ReadFile("/proc/" + pid + "/status")
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"CapBnd:\t0000000020000420\n", "Uid:\t1000\t1000\t1000\t1000\n", "NSpid:\t" + pid + "\t"} {
		if !strings.Contains(string(status), want) {
			t.Errorf("it waits without %q: %s", want, status)
		}
	}
	// The hook was told of the process that made it: in the same namespaces, and gone.
	text, err := os.ReadFile(told)
	if err != nil {
		t.Fatal(err)
	}
	first, rest, _ := strings.Cut(string(text), "\n")
	var s specs.State
	if err := json.Unmarshal([]byte(first), &s); err != nil {
		t.Fatal(err)
	}
	var spaces string
	for _, n := range []string{"mnt", "net", "uts"} {
		link, _ := os.Readlink("/proc/" + pid + "/ns/" + n)
		spaces += link + "\n"
	}
	if rest != spaces {
		t.Errorf("the hook's process is in %q, the container's in %q", rest, spaces)
	}
	if strconv.Itoa(s.Pid) == pid || unix.Kill(s.Pid, 0) != unix.ESRCH {
		t.Errorf("the hook was told of %d; the container's process is %s", s.Pid, pid)
	}
	h.must("start", "d")
	if max, err := os.ReadFile("/sys/fs/cgroup/pids/" + h.group + "-too/pids.max"); err == nil && string(max) != "1\n" {
		t.Errorf("pids.max is %q", max)
	}
}
