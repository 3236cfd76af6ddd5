// Package leaktest fails a package's tests that leave something of theirs behind: mounts, control
// groups, processes, files or file descriptors. It stands outside the house; only tests use it.
package leaktest

import (
	"bufio"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// M is a package's tests with the check after them. TestMain calls os.Exit(M{m}.Run()), or hands
// it to testscript.Main.
type M struct{ *testing.M }

// grace is how long what is on its way out is waited for.
var grace = 5 * time.Second

// Run runs the tests in a temporary directory of their own and returns their exit code, or 1
// where they passed and left something. Processes that lose their parent become our children
// meanwhile (PR_SET_CHILD_SUBREAPER, prctl(2)), so that none can get away.
func (m M) Run() int {
	code, err := m.run()
	if err != nil {
		fmt.Fprintln(os.Stderr, "leaktest:", err)
		return 1
	}
	return code
}

func (m M) run() (int, error) {
	dir, err := os.MkdirTemp("", "porthole-test-")
	if err != nil {
		return 0, err
	}
	// A rootless test goes through it.
	if err := os.Chmod(dir, 0o755); err != nil {
		return 0, err
	}
	if err := os.Setenv("TMPDIR", dir); err != nil {
		return 0, err
	}
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
		return 0, fmt.Errorf("subreaper: %w", err)
	}
	groups, open := groups(), fds()
	code := m.M.Run()
	if code != 0 {
		return code, os.RemoveAll(dir) // a test that failed may well leave things
	}
	var left []string
	for end := time.Now().Add(grace); ; time.Sleep(20 * time.Millisecond) {
		left = append(append(append(children(), mounts(dir)...), newGroups(groups)...), newFDs(open)...)
		if len(left) == 0 || time.Now().After(end) {
			break
		}
	}
	if len(left) == 0 {
		left = files(dir)
	}
	for _, l := range left {
		fmt.Fprintln(os.Stderr, "left behind:", l)
		code = 1
	}
	return code, os.RemoveAll(dir)
}

// children reaps what has ended and names what has not.
func children() (left []string) {
	for {
		pid, err := unix.Wait4(-1, nil, unix.WNOHANG, nil)
		if errors.Is(err, unix.EINTR) || err == nil && pid > 0 {
			continue
		}
		if err != nil {
			return nil // ECHILD: none
		}
		break
	}
	tasks, _ := filepath.Glob("/proc/self/task/*/children")
	for _, t := range tasks {
		data, _ := os.ReadFile(t)
		for _, pid := range strings.Fields(string(data)) {
			cmd, _ := os.ReadFile("/proc/" + pid + "/cmdline")
			left = append(left, "process "+pid+": "+strings.ReplaceAll(string(cmd), "\x00", " "))
		}
	}
	return left
}

// mounts lists those beneath dir that this mount namespace has.
func mounts(dir string) (left []string) {
	f, err := os.Open("/proc/self/mountinfo")
	if err != nil {
		return []string{err.Error()}
	}
	defer f.Close()
	for s := bufio.NewScanner(f); s.Scan(); {
		if fields := strings.Fields(s.Text()); len(fields) > 4 && strings.HasPrefix(fields[4], dir) {
			left = append(left, "mount "+s.Text())
		}
	}
	return left
}

// groups are porthole's control groups, anybody's: other packages' tests may run meanwhile.
func groups() map[string]bool {
	found := map[string]bool{}
	for _, pattern := range []string{"/sys/fs/cgroup/porthole", "/sys/fs/cgroup/*/porthole"} {
		tops, _ := filepath.Glob(pattern)
		for _, top := range tops {
			_ = filepath.WalkDir(top, func(path string, d fs.DirEntry, err error) error {
				if err == nil && d.IsDir() && path != top {
					found[path] = true
				}
				return nil
			})
		}
	}
	return found
}

// newGroups names those that came since and that nobody is in. One with processes is a running
// container's, which is a child of ours, found as such, or another package's.
func newGroups(before map[string]bool) (left []string) {
	for path := range groups() {
		if before[path] {
			continue
		}
		if procs, err := os.ReadFile(filepath.Join(path, "cgroup.procs")); err == nil && len(procs) == 0 {
			left = append(left, "control group "+path)
		}
	}
	return left
}

// fds are our file descriptors and what they refer to, but for the two of Go's own poller,
// which come with its first use.
func fds() map[int]string {
	open := map[int]string{}
	entries, _ := os.ReadDir("/proc/self/fd")
	for _, e := range entries {
		n, _ := strconv.Atoi(e.Name())
		to, err := os.Readlink("/proc/self/fd/" + e.Name())
		if err == nil && to != "anon_inode:[eventpoll]" && to != "anon_inode:[eventfd]" {
			open[n] = to
		}
	}
	return open
}

func newFDs(before map[int]string) (left []string) {
	for n, to := range fds() {
		if before[n] != to {
			left = append(left, fmt.Sprintf("file descriptor %d: %s", n, to))
		}
	}
	return left
}

// files lists what is in dir.
func files(dir string) (left []string) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return []string{err.Error()}
	}
	for _, e := range entries {
		path := filepath.Join(dir, e.Name())
		if strings.HasPrefix(e.Name(), "go-test-script") && os.Remove(path) == nil {
			continue // testscript leaves its directory, empty, where -run leaves scripts out
		}
		left = append(left, "file "+path)
	}
	return left
}
