package cgroup

import (
	"bufio"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"porthole/facts"
	"porthole/internal/host/probe"
)

// child, in the environment, names what the test program is to do as another user, instead of testing.
const child = "PORTHOLE_CGROUP_CHILD"

func TestMain(m *testing.M) {
	if do := os.Getenv(child); do != "" {
		if err := children_[do](); err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	before := fds()
	code := m.Run()
	if after := fds(); code == 0 && after > before {
		fmt.Fprintf(os.Stderr, "%d file descriptors before, %d after\n", before, after)
		code = 1
	}
	if pid, err := unix.Wait4(-1, nil, unix.WNOHANG, nil); err != unix.ECHILD {
		fmt.Fprintf(os.Stderr, "a child is left: %d, %v\n", pid, err)
		code = 1
	}
	for _, dir := range ours() {
		fmt.Fprintf(os.Stderr, "a control group is left: %s\n", dir)
		code = 1
	}
	os.Exit(code)
}

// fds counts our file descriptors, but for the two of Go's own poller, which come with its first use.
func fds() int {
	entries, _ := os.ReadDir("/proc/self/fd")
	n := 0
	for _, e := range entries {
		to, _ := os.Readlink("/proc/self/fd/" + e.Name())
		if to != "anon_inode:[eventpoll]" && to != "anon_inode:[eventfd]" {
			n++
		}
	}
	return n
}

// under is the group beneath which tests make theirs.
var under = fmt.Sprintf("/porthole-test-%d", os.Getpid())

// ours lists the groups that tests have made, anywhere.
func ours() []string {
	f, _ := probe.Facts()
	var dirs []string
	for _, h := range f.Cgroup.Hierarchies {
		_ = filepath.WalkDir(h.Mount, func(dir string, d fs.DirEntry, err error) error {
			if err == nil && d.IsDir() && strings.Contains(d.Name(), under[1:]) {
				dirs = append(dirs, dir)
			}
			return nil
		})
	}
	return dirs
}

// machine is this machine's control groups.
func machine(t testing.TB) facts.Cgroup {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("needs root")
	}
	f, err := probe.Facts()
	if err != nil {
		t.Fatal(err)
	}
	if !f.Cgroup.Writable {
		t.Skip("needs a writable cgroup file system")
	}
	t.Cleanup(func() {
		if g := Find(under, false, f.Cgroup); g != nil {
			if err := g.Delete(); err != nil {
				t.Error(err)
			}
		}
	})
	return f.Cgroup
}

// versions are the machine's control groups, and its v2 hierarchy alone as of a machine without v1.
func versions(t *testing.T, test func(t *testing.T, f facts.Cgroup)) {
	all := machine(t)
	t.Run(strings.Fields(all.Mode.String())[0], func(t *testing.T) { test(t, all) })
	if v2, ok := all.Find(""); ok && all.Mode == facts.CgroupHybrid {
		t.Run("v2 alone", func(t *testing.T) {
			test(t, facts.Cgroup{Mode: facts.CgroupV2, Hierarchies: []facts.Hierarchy{v2}, Writable: true})
		})
	}
}

// create makes a group that the test's end removes.
func create(t testing.TB, c Config, f facts.Cgroup) *Group {
	t.Helper()
	if c.Path == "" {
		c.Path = under + "/" + strings.NewReplacer("/", "-", " ", "-").Replace(t.Name())
	}
	g, err := Create(c, f)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := g.End(); err != nil {
			t.Error(err)
		}
	})
	return g
}

// shell is a process in a group that does as it is told, line by line.
type shell struct {
	*exec.Cmd
	in  interface{ WriteString(string) (int, error) }
	out *bufio.Reader
	end func()
}

func newShell(t testing.TB, g *Group) *shell {
	t.Helper()
	cmd := exec.Command("/bin/sh")
	in, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	r, out, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stdin, cmd.Stdout, cmd.Stderr = in, out, out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	in.Close()
	out.Close()
	s := &shell{Cmd: cmd, in: w, out: bufio.NewReader(r)}
	s.end = func() {
		w.Close()
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		r.Close()
		s.end = func() {}
	}
	t.Cleanup(func() {
		_ = g.Thaw()
		s.end()
	})
	if err := g.Add(cmd.Process.Pid); err != nil {
		t.Fatal(err)
	}
	return s
}

// say has the shell run a command, and returns what it printed and whether it succeeded.
func (s *shell) say(t testing.TB, command string) (string, bool) {
	t.Helper()
	if _, err := s.in.WriteString(command + "\necho END $?\n"); err != nil {
		t.Fatal(err)
	}
	var text strings.Builder
	for {
		line, err := s.out.ReadString('\n')
		if err != nil {
			t.Fatalf("%s: %v after %q", command, err, text.String())
		}
		if rc, ok := strings.CutPrefix(line, "END "); ok {
			return text.String(), strings.TrimSpace(rc) == "0"
		}
		text.WriteString(line)
	}
}

// eventually waits until something is so.
func eventually(t testing.TB, what string, so func() bool) {
	t.Helper()
	for end := time.Now().Add(5 * time.Second); !so(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%s: not within 5 seconds", what)
		}
	}
}
