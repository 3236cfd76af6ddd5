package engine

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/signal"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"porthole/workload"
)

// attacking, in the environment, has this program attack whatever appears in its pid namespace.
const attacking = "PORTHOLE_ATTACK"

func init() {
	if os.Getenv(attacking) != "" {
		attack()
		os.Exit(0)
	}
}

// attack looks at every process but the container's own ones, as long as it is there and until SIGTERM, and
// prints what it got from those that have not executed their program yet.
func attack() {
	runtime.LockOSThread() // ptrace(2) is a thread's
	end := make(chan os.Signal, 1)
	signal.Notify(end, unix.SIGTERM)
	got, seen, met := map[string]bool{}, map[int]bool{}, 0
	own := os.Getpid()
	fmt.Println("attacking")
	for {
		select {
		case <-end:
			for _, g := range sortedKeys(got) {
				fmt.Println("got", g)
			}
			fmt.Println("met", met, "of", len(seen))
			return
		default:
		}
		dir, err := os.Open("/proc")
		if err != nil {
			panic(err)
		}
		names, _ := dir.Readdirnames(-1)
		dir.Close()
		for _, name := range names {
			pid, err := strconv.Atoi(name)
			if err != nil || pid == own || pid == 1 {
				continue
			}
			seen[pid] = true
			if before := early(pid); !before {
				probeProcess(pid, "program", got)
				continue
			}
			found := map[string]bool{}
			probeProcess(pid, "before execve", found)
			if early(pid) { // still, so that what was found is not its program's
				maps.Copy(got, found)
				met++
			}
		}
	}
}

func sortedKeys(m map[string]bool) []string {
	var keys []string
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

// early says that a process has not executed its program yet: PF_FORKNOEXEC, proc_pid_stat(5).
func early(pid int) bool {
	stat, _ := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	_, rest, _ := strings.Cut(string(stat), ") ")
	f := strings.Fields(rest)
	if len(f) < 7 {
		return false
	}
	flags, _ := strconv.ParseUint(f[6], 10, 64)
	const forkNoExec = 0x40
	return flags&forkNoExec != 0
}

// probeProcess tries everything on a process.
func probeProcess(pid int, name string, got map[string]bool) {
	p := fmt.Sprintf("/proc/%d/", pid)
	early := name != "program"
	exe, exeErr := os.Readlink(p + "exe")
	if early && exeErr == nil {
		got[name+": exe is "+exe] = true
	}
	// More capabilities than the session has?
	if status, err := os.ReadFile(p + "status"); err == nil {
		for _, line := range strings.Split(string(status), "\n") {
			for _, set := range []string{"CapPrm", "CapEff", "CapInh", "CapBnd"} {
				if v, ok := strings.CutPrefix(line, set+":\t"); ok {
					got["caps "+set+" "+v] = true
				}
			}
			if early && strings.HasPrefix(line, "Seccomp:") {
				got[name+": "+line] = true
			}
		}
	}
	for _, mode := range []int{unix.O_WRONLY, unix.O_RDWR} {
		if fd, err := unix.Open(p+"exe", mode, 0); err == nil {
			unix.Close(fd)
			got[name+": exe open for writing: "+exe] = true
		} else if early && exeErr == nil && !errors.Is(err, unix.ETXTBSY) && !errors.Is(err, unix.EACCES) && !errors.Is(err, unix.ENOENT) && !errors.Is(err, unix.ESRCH) {
			got[fmt.Sprintf("%s: exe for writing: %v", name, err)] = true
		}
	}
	if fd, err := unix.Open(p+"exe", unix.O_RDONLY, 0); err == nil {
		var st unix.Stat_t
		unix.Fstat(fd, &st)
		if early && st.Size != 0 {
			got[fmt.Sprintf("%s: exe of %d bytes", name, st.Size)] = true
		}
		unix.Close(fd)
	}
	if !early {
		return
	}
	for _, file := range []string{"environ", "maps"} {
		if data, err := os.ReadFile(p + file); err == nil && len(data) > 0 {
			for _, line := range strings.Split(strings.TrimSpace(string(data)), "\n") {
				if f := strings.Fields(line); len(f) > 5 {
					got[name+": maps "+f[5]] = true
				} else if file == "environ" {
					got[name+": environ"] = true
				}
			}
		}
	}
	fds, _ := os.ReadDir(p + "fd")
	for _, fd := range fds {
		if to, err := os.Readlink(p + "fd/" + fd.Name()); err == nil {
			kind, _, _ := strings.Cut(to, ":[")
			if n, _ := strconv.Atoi(fd.Name()); n > 2 {
				got[name+": fd to "+kind] = true
			}
		}
	}
	if unix.PtraceSeize(pid) == nil {
		got[name+": traced"] = true
		// Or else nobody learns of its end.
		unix.PtraceInterrupt(pid)
		unix.Wait4(pid, nil, unix.WALL, nil)
		unix.PtraceDetach(pid)
	}
}

// Hostile processes in a container look at every process that enters it, as root and with the
// right to trace: they find none that has more than its session has, no image of ours that can be
// written, and no file of ours (CVE-2016-9962, CVE-2019-5736).
func TestExecAmongEnemies(t *testing.T) {
	e := open(t)
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	rounds := 60
	if os.Getenv(thorough) != "" {
		rounds = 300
	}
	for _, c := range []struct {
		name  string
		flags []string
	}{
		{"root", nil},
		{"may trace", []string{"--cap-add", "SYS_PTRACE", "--security-opt", "seccomp=unconfined"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			out, err := os.CreateTemp(t.TempDir(), "")
			if err != nil {
				t.Fatal(err)
			}
			defer out.Close()
			args := append([]string{"-d", "--name", "enemies", "-e", attacking + "=1", "-v", self + ":/attacker:ro"}, c.flags...)
			run := victim{Root: e.Root(), Verb: "run", Args: append(args, "host", "/attacker")}.start(t, out)
			if err := run.Wait(); err != nil {
				t.Fatal(err)
			}
			defer e.Remove("enemies", true, true)
			exe, _ := os.ReadFile(self)
			for range rounds {
				if _, err := e.Exec(context.Background(), workload.Exec{Container: "enemies", Args: []string{"true"}}, ExecOptions{}); err != nil {
					t.Fatal(err)
				}
			}
			grace := 5 * time.Second
			if err := e.Stop("enemies", "TERM", &grace); err != nil {
				t.Fatal(err)
			}
			var said strings.Builder
			if err := e.Logs("enemies", LogOptions{}, &said, &said); err != nil {
				t.Fatal(err)
			}
			var want, met string
			for _, line := range strings.Split(said.String(), "\n") {
				set, _ := strings.CutPrefix(line, "got caps CapBnd ")
				if set != line {
					if want != "" {
						t.Errorf("some have %s, others %s", want, set)
					}
					want = set
				}
				if n, ok := strings.CutPrefix(line, "met "); ok {
					met = n
				}
			}
			t.Logf("met %s before they executed", met)
			if met == "" || want == "" {
				t.Errorf("the attacker did nothing: %s", said.String())
			}
			for _, line := range strings.Split(said.String(), "\n") {
				what, ok := strings.CutPrefix(line, "got ")
				if !ok {
					continue
				}
				set, isSet := strings.CutPrefix(what, "caps ")
				switch {
				case isSet:
					if name, v, _ := strings.Cut(set, " "); v != want && !(name == "CapInh" && strings.Trim(v, "0") == "") {
						t.Errorf("somebody has %s", set)
					}
				case strings.Contains(what, self), strings.Contains(what, os.TempDir()), strings.Contains(what, "/attacker"), strings.Contains(what, "[heap]"):
					t.Errorf("got what is ours: %s", what)
				case strings.Contains(what, "memfd") && strings.Contains(what, "writing"), strings.Contains(what, " bytes") && !strings.Contains(what, "maps"):
					t.Errorf("got an image: %s", what)
				case strings.Contains(what, "fd to /proc"):
					t.Errorf("got a file: %s", what)
				case strings.Contains(what, "environ"):
					t.Errorf("got an environment")
				}
			}
			if after, _ := os.ReadFile(self); string(after) != string(exe) {
				t.Error("our own image changed")
			}
		})
	}
}
