package main

import (
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// contestant is a command that is measured.
type contestant struct {
	name  string
	args  []string
	more  [][]string // commands that follow, and count with it
	dir   string
	apart bool // see apart

	cpu, wall series
	peak      int64 // KiB, of the largest process
}

func (c *contestant) runtime(name string) bool { return strings.HasPrefix(c.name, name+" ") }

// contest runs all of them in turn, so that what else the machine does meets all alike, and a first
// round for nothing.
func contest(all []*contestant, rounds int) error {
	for round := -1; round < rounds; round++ {
		for _, c := range all {
			if err := c.once(); err != nil {
				return err
			}
			if round < 0 {
				c.cpu, c.wall, c.peak = nil, nil, 0
			}
		}
	}
	return nil
}

// once runs the command, and those that follow, and notes what they took.
func (c *contestant) once() error {
	var cpu, wall float64
	for _, args := range append([][]string{c.args}, c.more...) {
		used, took, err := c.measure(args)
		if err != nil {
			return err
		}
		cpu += float64(used.Utime.Nano()+used.Stime.Nano()) / 1000
		wall += micros(took)
		c.peak = max(c.peak, used.Maxrss)
	}
	c.cpu, c.wall = append(c.cpu, cpu), append(c.wall, wall)
	return nil
}

func (c *contestant) measure(args []string) (*syscall.Rusage, time.Duration, error) {
	cmd := command(args[0], args[1:]...)
	cmd.Dir = c.dir
	// A file: somebody who stays behind with a pipe would keep us waiting.
	stderr, err := os.CreateTemp("", "porthole-bench")
	if err != nil {
		return nil, 0, err
	}
	defer stderr.Close()
	os.Remove(stderr.Name())
	cmd.Stderr = stderr
	run := cmd.Run
	began := time.Now()
	if c.apart {
		err = apart(run)
	} else {
		err = run()
	}
	took := time.Since(began)
	if err != nil {
		said := make([]byte, 4096)
		n, _ := stderr.ReadAt(said, 0)
		return nil, 0, fmt.Errorf("%s: %w: %s", strings.Join(args, " "), err, said[:n])
	}
	return cmd.ProcessState.SysUsage().(*syscall.Rusage), took, nil
}

// against is c's CPU as a part of another's, the median of the rounds.
func (c *contestant) against(other *contestant) float64 {
	var ratios series
	for i := range c.cpu {
		ratios = append(ratios, c.cpu[i]/other.cpu[i])
	}
	return ratios.median()
}

func command(name string, args ...string) *exec.Cmd { return exec.Command(name, args...) }

// apart does something where no hybrid control groups are to be seen: crun 1.8 refuses a machine that has a
// version 2 hierarchy beside those of version 1, without controllers. So the thread takes a mount
// namespace of its own, in which that is not mounted, and is not used again.
func apart(do func() error) error {
	done := make(chan error)
	go func() {
		runtime.LockOSThread() // and never unlocked: the thread ends with the goroutine
		if err := unix.Unshare(unix.CLONE_FS | unix.CLONE_NEWNS); err != nil {
			done <- fmt.Errorf("unshare: %w", err)
			return
		}
		if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
			done <- fmt.Errorf("make mounts private: %w", err)
			return
		}
		unix.Unmount("/sys/fs/cgroup/unified", unix.MNT_DETACH) // where there is none, there is nothing to hide
		done <- do()
	}()
	return <-done
}

// another is a runtime beside ours.
type another struct{ name, program string }

// runtimes are those that are installed.
func runtimes() (found []another) {
	for _, name := range []string{"crun", "runc"} {
		if program, err := exec.LookPath(name); err == nil {
			found = append(found, another{name, program})
		} else {
			fmt.Fprintf(os.Stderr, "bench: %s is not installed\n", name)
		}
	}
	return found
}

// command is one of the runtime's own, with its state in our directory.
func (a another) command(dir string, args ...string) []string {
	return append([]string{a.program, "--root=" + dir + "/" + a.name}, args...)
}
