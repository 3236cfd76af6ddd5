package leaktest

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// leak, in the environment, names what the test program is to leave behind.
const leak = "PORTHOLE_LEAK"

func TestMain(m *testing.M) {
	if os.Getenv(leak) != "" {
		grace = 200 * time.Millisecond
	}
	os.Exit(M{m}.Run())
}

// leaks leave something, each of its own kind. What outlives the program, the test takes away.
var leaks = map[string]func(t *testing.T){
	"nothing": func(*testing.T) {},
	"process": func(t *testing.T) {
		// The shell ends at once; what it started is then our child.
		if err := exec.Command("sh", "-c", "sleep 60 >/dev/null 2>&1 & echo $! >"+os.Getenv("NOTE")).Run(); err != nil {
			t.Fatal(err)
		}
	},
	"file descriptor": func(t *testing.T) {
		if _, err := unix.Open("/", unix.O_PATH, 0); err != nil {
			t.Fatal(err)
		}
	},
	"file": func(t *testing.T) {
		if _, err := os.MkdirTemp("", "left"); err != nil {
			t.Fatal(err)
		}
	},
	"mount": func(t *testing.T) {
		dir := filepath.Join(os.TempDir(), "mounted")
		if err := os.Mkdir(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		if err := unix.Mount("x", dir, "tmpfs", 0, ""); err != nil {
			t.Fatal(err)
		}
	},
	"control group": func(t *testing.T) {
		tops, _ := filepath.Glob("/sys/fs/cgroup/*/porthole")
		for _, top := range append(tops, "/sys/fs/cgroup/porthole") {
			if os.MkdirAll(filepath.Join(top, "left-by-leaktest"), 0o755) == nil {
				return
			}
		}
		t.Fatal("no control group can be made")
	},
}

func TestLeave(t *testing.T) {
	if what := os.Getenv(leak); what != "" { // run by TestLeaks
		leaks[what](t)
	}
}

func TestLeaks(t *testing.T) {
	for what := range leaks {
		t.Run(what, func(t *testing.T) {
			if os.Geteuid() != 0 && (what == "mount" || what == "control group") {
				t.Skip("needs root")
			}
			note := filepath.Join(t.TempDir(), "note")
			cmd := exec.Command("/proc/self/exe", "-test.run", "^TestLeave$")
			cmd.Env = append(os.Environ(), leak+"="+what, "NOTE="+note, "TMPDIR="+t.TempDir())
			// A mount namespace of its own takes a left mount along when it goes.
			if os.Geteuid() == 0 {
				cmd.SysProcAttr = &unix.SysProcAttr{Unshareflags: unix.CLONE_NEWNS}
			}
			out, err := cmd.CombinedOutput()
			said := bytes.Contains(out, []byte("left behind: "+what+" "))
			if want := what != "nothing"; said != want || (err != nil) != want {
				t.Errorf("%v\n%s", err, out)
			}
			if pid, err := os.ReadFile(note); err == nil {
				exec.Command("kill", strings.TrimSpace(string(pid))).Run()
			}
			groups, _ := filepath.Glob("/sys/fs/cgroup/*/porthole/left-by-leaktest")
			for _, g := range append(groups, "/sys/fs/cgroup/porthole/left-by-leaktest") {
				os.Remove(g)
			}
		})
	}
}
