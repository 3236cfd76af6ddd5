package engine

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/spf13/pflag"
	"golang.org/x/sys/unix"

	hostfacts "porthole/facts"
	"porthole/internal/engine/container"
	hostprobe "porthole/internal/host/probe"
	"porthole/workload/dialect"
)

// victim is a command that the tests kill: this program again, told by its environment what to do.
type victim struct {
	Root string
	Verb string   // run, exec, ps
	Args []string // flags, image or container, command
	// PauseAfter is the step of the plan after which the child waits: of an exec's process for exec,
	// else of the container's.
	PauseAfter int

	as uint32 // uid and gid
}

const victimEnv = "PORTHOLE_VICTIM"

func init() {
	told, ok := os.LookupEnv(victimEnv)
	if !ok {
		return
	}
	var v victim
	if err := json.Unmarshal([]byte(told), &v); err != nil {
		panic(err)
	}
	code, err := v.main()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 125
		var coded interface{ ExitCode() int }
		if errors.As(err, &coded) {
			code = coded.ExitCode()
		}
	}
	os.Exit(code)
}

func (v victim) main() (int, error) {
	f, err := hostprobe.Facts()
	if err != nil {
		return 0, err
	}
	e, err := Open(v.Root, f, func(msg string) { fmt.Fprintln(os.Stderr, "warning:", msg) })
	if err != nil {
		return 0, err
	}
	pause := RunOptions{
		Streams: Streams{os.Stdin, os.Stdout, os.Stderr},
		Adjust:  func(c *container.Config) { c.PauseAfter = v.PauseAfter },
	}
	// The monitor of a container in the background is given our environment.
	if len(os.Args) == 5 && os.Args[3] == "monitor" {
		return 0, e.monitor(context.Background(), os.Args[4], pause)
	}
	set := pflag.NewFlagSet("", pflag.ContinueOnError)
	set.SetInterspersed(false)
	out := dialect.Outside{Env: os.LookupEnv, ReadFile: os.ReadFile, Dir: "/"}
	switch v.Verb {
	case "run":
		flags := dialect.RunFlags(set)
		if err := set.Parse(v.Args); err != nil {
			return 0, err
		}
		r, err := flags.Read(set.Args(), out)
		if err != nil {
			return 0, err
		}
		if r.Detach {
			id, err := e.Detach(context.Background(), r.Workload, r.Remove)
			fmt.Println(id)
			return 0, err
		}
		pause.Remove = r.Remove
		return e.Run(context.Background(), r.Workload, pause)
	case "exec":
		flags := dialect.ExecFlags(set)
		if err := set.Parse(v.Args); err != nil {
			return 0, err
		}
		x, err := flags.Read(set.Args(), out)
		if err != nil {
			return 0, err
		}
		return e.Exec(context.Background(), x, ExecOptions{Streams: pause.Streams, Adjust: func(c *container.ExecConfig) {
			c.PauseAfter = v.PauseAfter
		}})
	case "ps":
		_, err := e.List(true)
		return 0, err
	}
	return 0, fmt.Errorf("%q?", v.Verb)
}

func (v victim) command(out io.Writer) *exec.Cmd {
	told, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), victimEnv+"="+string(told))
	cmd.Dir = "/"
	cmd.Stdout, cmd.Stderr = out, out
	if f, ok := out.(*os.File); ok || out == nil {
		cmd.Stdout, cmd.Stderr = f, f
	}
	if v.as != 0 {
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: v.as, Gid: v.as}}
	}
	return cmd
}

// steps is how many the plan of the workload has.
func (v victim) steps(t *testing.T) int {
	t.Helper()
	f, err := hostprobe.Facts()
	if err != nil {
		t.Fatal(err)
	}
	e, err := Open(v.Root, f, func(string) {})
	if err != nil {
		t.Fatal(err)
	}
	set := pflag.NewFlagSet("", pflag.ContinueOnError)
	set.SetInterspersed(false)
	flags := dialect.RunFlags(set)
	if err := set.Parse(v.Args); err != nil {
		t.Fatal(err)
	}
	r, err := flags.Read(set.Args(), dialect.Outside{Env: os.LookupEnv, ReadFile: os.ReadFile, Dir: "/"})
	if err != nil {
		t.Fatal(err)
	}
	p, err := e.Plan(context.Background(), r.Workload)
	if err != nil {
		t.Fatal(err)
	}
	return len(p.Child)
}

func factsOf(t *testing.T) hostfacts.Facts {
	t.Helper()
	f, err := hostprobe.Facts()
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// living are those of these processes that have not ended.
func living(pids []int) (list []int) {
	for _, pid := range pids {
		if stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid)); err == nil && !strings.Contains(string(stat), ") Z ") {
			list = append(list, pid)
		}
	}
	return list
}

// children are the direct children of a process.
func children(pid int) (list []int) {
	tasks, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pid))
	for _, t := range tasks {
		data, _ := os.ReadFile(t)
		for _, c := range strings.Fields(string(data)) {
			n, _ := strconv.Atoi(c)
			list = append(list, n)
		}
	}
	return list
}

// asleep says that no thread of a process does or is about to do anything.
func asleep(pid int) bool {
	tasks, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/stat", pid))
	for _, t := range tasks {
		data, _ := os.ReadFile(t)
		_, rest, _ := strings.Cut(string(data), ") ")
		if !strings.HasPrefix(rest, "S") {
			return false
		}
	}
	return len(tasks) > 0
}

// paused returns the child of owner that waits after its step, once it does; 0 while it does not. A child
// that stands at a gate waits in the same call, but then its parent is awake, or waits for a helper.
func paused(owner int) int {
	c := living(children(owner))
	if len(c) != 1 {
		return 0
	}
	reads := func() bool {
		call, _ := os.ReadFile(fmt.Sprintf("/proc/%d/syscall", c[0]))
		return strings.HasPrefix(string(call), strconv.Itoa(unix.SYS_READ)+" ")
	}
	if reads() && asleep(owner) && reads() && len(living(children(owner))) == 1 {
		return c[0]
	}
	return 0
}

// left says what is there of containers beneath root, and of those that are named.
func left(root string, ids ...string) (found []string) {
	for _, dir := range []string{"containers", "names", "volumes"} {
		entries, _ := os.ReadDir(filepath.Join(root, dir))
		for _, d := range entries {
			if d.Name() != ".lock" {
				found = append(found, filepath.Join(dir, d.Name()))
			}
		}
	}
	mounts, _ := os.ReadFile("/proc/self/mountinfo")
	for _, m := range strings.Split(string(mounts), "\n") {
		if strings.Contains(m, root) {
			found = append(found, m)
		}
	}
	for _, id := range ids {
		for _, pattern := range []string{"/sys/fs/cgroup/porthole/", "/sys/fs/cgroup/*/porthole/"} {
			groups, _ := filepath.Glob(pattern + id)
			found = append(found, groups...)
		}
	}
	return found
}

func containerIDs(root string) (ids []string) {
	entries, _ := os.ReadDir(filepath.Join(root, "containers"))
	for _, d := range entries {
		if d.IsDir() {
			ids = append(ids, d.Name())
		}
	}
	return ids
}

// dead waits until the process behind pidfd has ended, and says whether it has.
func dead(pidfd int) bool {
	fds := []unix.PollFd{{Fd: int32(pidfd), Events: unix.POLLIN}}
	for end := time.Now().Add(5 * time.Second); time.Now().Before(end); {
		if n, err := unix.Poll(fds, 5000); err != unix.EINTR {
			return n == 1
		}
	}
	return false
}

// killPaused starts v, kills its owner when the child has come to the pause, sweeps, and says what was left.
// It says too whether there was a pause: the plan may have jumped over it.
func killPaused(v victim) (reached bool, err error) {
	var out bytes.Buffer
	cmd := v.command(&out)
	cmd.WaitDelay = 10 * time.Second
	if err := cmd.Start(); err != nil {
		return false, err
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	detached := v.Verb == "run" && (v.Args[0] == "-d" || v.Args[0] == "-dit")
	deadline := time.After(20 * time.Second)
	for {
		select {
		case err := <-ended:
			if err != nil {
				return false, fmt.Errorf("%w: %s", err, &out)
			}
			if detached { // its monitor goes on, in a directory that the test takes away
				err = vanished(v.Root)
			}
			return false, err
		case <-deadline:
			cmd.Process.Kill()
			return false, fmt.Errorf("neither paused nor ended: %s", &out)
		case <-time.After(time.Millisecond):
		}
		owner := cmd.Process.Pid
		if detached {
			monitor := children(owner)
			if len(monitor) != 1 {
				continue
			}
			owner = monitor[0]
		}
		child := paused(owner)
		if child == 0 {
			continue
		}
		pidfd, err := unix.PidfdOpen(child, 0)
		if err != nil {
			continue
		}
		defer unix.Close(pidfd)
		ids, orphans := containerIDs(v.Root), children(owner)
		unix.Kill(owner, unix.SIGKILL)
		err = <-ended
		if detached && !strings.Contains(out.String(), "monitor died") {
			return true, fmt.Errorf("run -d says %v: %s", err, &out)
		}
		if !dead(pidfd) {
			return true, fmt.Errorf("process %d lives on", child)
		}
		for _, pid := range orphans { // they are ours now; a zombie keeps its keys, and the first process of its pid namespace from ending
			unix.Wait4(pid, nil, 0, nil)
		}
		var swept bytes.Buffer
		ps := victim{Root: v.Root, Verb: "ps", as: v.as}.command(&swept)
		if err := ps.Run(); err != nil || swept.Len() > 0 {
			return true, fmt.Errorf("ps: %v: %s", err, &swept)
		}
		if l := left(v.Root, ids...); len(l) > 0 && v.Verb == "run" {
			return true, fmt.Errorf("left behind: %s", strings.Join(l, "\n"))
		}
		return true, nil
	}
}

// vanished waits until nothing is left of any container.
func vanished(root string) error {
	for until := time.Now().Add(20 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		entries, err := os.ReadDir(filepath.Join(root, "containers"))
		if err != nil || len(entries) == 0 || len(entries) == 1 && entries[0].Name() == ".lock" {
			return err
		}
		if time.Now().After(until) {
			return fmt.Errorf("still there: %v", entries)
		}
	}
}

// thorough, in the environment, has the tests try everything where they try a part of it otherwise.
const thorough = "PORTHOLE_THOROUGH"

// killEach kills v after each of its steps, or one in stride, and returns how many pauses there were.
func killEach(t *testing.T, v victim, steps, stride int) (reached int) {
	t.Helper()
	if os.Getenv(thorough) != "" {
		stride = 1
	}
	var next, pauses atomic.Int64
	var wg sync.WaitGroup
	workers := max(2, runtime.NumCPU())
	for range workers {
		root := ownRoot(t, v.as)
		if v.Verb == "exec" {
			root = v.Root
		}
		wg.Go(func() {
			for !t.Failed() {
				n := int(next.Add(int64(stride)))
				if n >= steps {
					return
				}
				w := v
				w.Root, w.PauseAfter = root, n
				ok, err := killPaused(w)
				if err != nil {
					t.Errorf("after step %d of %d: %v", n, steps, err)
				}
				if ok {
					pauses.Add(1)
				}
			}
		})
	}
	wg.Wait()
	return int(pauses.Load())
}

// ownRoot is a state directory that belongs to a user.
func ownRoot(t *testing.T, uid uint32) string {
	t.Helper()
	root := filepath.Join(t.TempDir(), "state")
	if err := os.Mkdir(root, 0o711); err != nil {
		t.Fatal(err)
	}
	if uid != 0 {
		for dir := filepath.Dir(root); len(dir) > len(os.TempDir()); dir = filepath.Dir(dir) {
			os.Chmod(dir, 0o755)
		}
		if err := os.Chown(root, int(uid), int(uid)); err != nil {
			t.Fatal(err)
		}
	}
	return root
}

func needRoot(t *testing.T) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root")
	}
}

// Whatever porthole has done when it is killed, the next command takes away.
func TestKilledAfterEachStep(t *testing.T) {
	needRoot(t)
	for name, v := range map[string]victim{
		"in the foreground":   {Verb: "run", Args: []string{"--rm", "-v", "/anonymous", "host", "true"}},
		"in the background":   {Verb: "run", Args: []string{"-d", "--rm", "host", "true"}},
		"with host's pids":    {Verb: "run", Args: []string{"--rm", "--pid", "host", "--read-only", "--tmpfs", "/run", "host", "true"}},
		"as an ordinary user": {Verb: "run", Args: []string{"--rm", "host", "true"}, as: 1000},
	} {
		t.Run(name, func(t *testing.T) {
			v.Root = ownRoot(t, v.as)
			steps := v.steps(t)
			start := time.Now()
			stride := 11
			if name == "in the foreground" {
				stride = 1
			}
			n := killEach(t, v, steps, stride)
			t.Logf("killed after %d of %d steps; the plan jumps over the others; %v each", n, steps, time.Since(start)/time.Duration(max(n, 1)))
			if n < 150/stride {
				t.Errorf("only %d pauses", n)
			}
		})
	}
}

// start runs v to its end in the background, for kills at any time.
func (v victim) start(t *testing.T, out io.Writer) *exec.Cmd {
	t.Helper()
	cmd := v.command(out)
	cmd.WaitDelay = 10 * time.Second
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	return cmd
}

// reap waits for what the dead have left us: orphans become ours.
func reap() {
	for {
		if pid, err := unix.Wait4(-1, nil, unix.WNOHANG, nil); pid <= 0 || err != nil {
			return
		}
	}
}

// Killed at any moment, its own steps between those of the plan included, porthole leaves nothing that
// the next command, or rm -f, would not take away.
func TestKilledAtAnyMoment(t *testing.T) {
	needRoot(t)
	rounds := 80
	if os.Getenv(thorough) != "" {
		rounds = 400
	}
	e := open(t)
	e.warn = func(msg string) { t.Log(msg) }
	kinds := [][]string{
		{"--rm", "--name", "it", "-v", "/anonymous", "host", "true"},
		{"-d", "--rm", "--name", "it", "-v", "/anonymous", "host", "sleep", "1000"},
		{"--name", "it", "-v", "/anonymous", "host", "true"},
	}
	took := make([]time.Duration, len(kinds))
	for i, args := range kinds {
		start := time.Now()
		cmd := victim{Root: e.Root(), Verb: "run", Args: args}.start(t, nil)
		if err := cmd.Wait(); err != nil {
			t.Fatal(err)
		}
		took[i] = time.Since(start)
		if err := e.Remove("it", true, true); err != nil {
			t.Fatal(err)
		}
	}
	for range rounds {
		k := rand.N(len(kinds))
		cmd := victim{Root: e.Root(), Verb: "run", Args: kinds[k]}.start(t, nil)
		delay := rand.N(took[k] * 5 / 4)
		time.Sleep(delay)
		cmd.Process.Kill()
		cmd.Wait()
		ids := containerIDs(e.Root())
		if k != 0 {
			for _, id := range ids {
				if err := e.Remove(id, true, true); err != nil {
					t.Fatalf("%q killed after %v: rm -f: %v", kinds[k], delay, err)
				}
			}
		} else {
			// A child that has just been cloned has a copy of the lock until its first steps.
			for len(living(children(os.Getpid()))) > 0 {
				time.Sleep(time.Millisecond)
			}
		}
		if _, err := e.List(true); err != nil {
			t.Fatal(err)
		}
		if l := left(e.Root(), ids...); len(l) > 0 {
			t.Fatalf("%q killed after %v: left behind: %s", kinds[k], delay, strings.Join(l, "\n"))
		}
		reap()
	}
}

// An exec that is killed leaves the container as it was.
func TestKilledExec(t *testing.T) {
	needRoot(t)
	root := ownRoot(t, 0)
	run := victim{Root: root, Verb: "run", Args: []string{"-d", "--name", "it", "host", "sleep", "1000"}}
	if err := run.start(t, nil).Wait(); err != nil {
		t.Fatal(err)
	}
	e, err := Open(root, factsOf(t), func(msg string) { t.Error(msg) })
	if err != nil {
		t.Fatal(err)
	}
	defer e.Remove("it", true, true)
	v := victim{Root: root, Verb: "exec", Args: []string{"it", "true"}}
	n := killEach(t, v, 90, 1)
	t.Logf("killed after %d steps", n)
	reap()
	if n < 40 {
		t.Errorf("only %d pauses", n)
	}
	_, s, err := e.open("it")
	if err != nil || s.Status != container.Running {
		t.Fatalf("%v %v", s, err)
	}
	if tops, _ := filepath.Glob("/sys/fs/cgroup/pids/porthole/" + s.ID + "/cgroup.procs"); len(tops) > 0 {
		procs, _ := os.ReadFile(tops[0])
		if n := len(strings.Fields(string(procs))); n != 1 {
			t.Errorf("%d processes in the container", n)
		}
	}
}

// Sweeps do not disturb one another, nor a container that is being born.
func TestSweepsAtOnce(t *testing.T) {
	needRoot(t)
	e := open(t)
	e.warn = func(msg string) { t.Error(msg) }
	stop := make(chan struct{})
	var sweeps, runs sync.WaitGroup
	for range 3 {
		sweeps.Go(func() {
			for {
				select {
				case <-stop:
					return
				case <-time.After(rand.N(3 * time.Millisecond)):
					if _, err := e.List(true); err != nil {
						t.Error(err)
					}
				}
			}
		})
	}
	for range 2 {
		runs.Go(func() {
			for i := range 12 {
				var out bytes.Buffer
				cmd := victim{Root: e.Root(), Verb: "run", Args: []string{"--rm", "host", "true"}}.start(t, &out)
				if i%3 == 2 {
					time.Sleep(rand.N(40 * time.Millisecond))
					cmd.Process.Kill()
				}
				if err := cmd.Wait(); err != nil && i%3 != 2 {
					t.Errorf("%v: %s", err, &out)
				}
			}
		})
	}
	runs.Wait()
	close(stop)
	sweeps.Wait()
	e.List(true)
	if l := left(e.Root()); len(l) > 0 {
		t.Errorf("left behind: %s", strings.Join(l, "\n"))
	}
	reap()
}

// A sweep costs little however many containers there are with a living owner.
func TestSweepAmongMany(t *testing.T) {
	e := open(t)
	const many = 100
	for range many {
		c, err := container.NewClaim(e.containers(), newID())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Remove()
	}
	best := time.Hour
	for range 20 {
		start := time.Now()
		e.sweep()
		best = min(best, time.Since(start))
	}
	t.Logf("%v for %d containers", best, many)
	if best > 20*time.Millisecond {
		t.Errorf("a sweep among %d living containers takes %v", many, best)
	}
}
