// Package escape holds porthole against the ways that have led out of containers elsewhere. It has tests
// alone: escape_test.go is the list, with each attack told in a sentence; image_test.go, race_test.go and
// inside_test.go carry them out.
//
// Every attack is tried on real containers of the programs as they are built, and has to fail. So that it is
// known to be able to succeed, it is tried as well on a set-up that was made weak on purpose, and with
// PORTHOLE_THOROUGH=1 in the environment on Debian's runc and crun.
package escape

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"porthole/internal/leaktest"
)

// built is where the programs are.
var built string

func TestMain(m *testing.M) {
	if what := os.Getenv(attacking); what != "" {
		attackFrom(what)
		os.Exit(0)
	}
	code, err := run(m)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
	}
	os.Exit(code)
}

func run(m *testing.M) (int, error) {
	var err error
	if built, err = os.MkdirTemp("", "porthole-escape-"); err != nil {
		return 1, err
	}
	defer os.RemoveAll(built)
	build := exec.Command("go", "build", "-o", built, "porthole/cmd/...")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		return 1, fmt.Errorf("%w: %s", err, out)
	}
	return leaktest.M{M: m}.Run(), nil
}

// secret is what the host has and no container is to see.
const secret = "the host's secret"

// cell is a root filesystem, a volume, and a directory outside that is none of theirs, with one runtime to make
// containers of them.
type cell struct {
	t                       *testing.T
	runtime                 string // porthole-oci, porthole, runc or crun
	program                 string // a copy of it, for attacks that would overwrite it
	dir, root, bundle       string
	rootfs, volume, outside string
	group                   string
	before                  string // outside, as it was
	whole                   []byte // what is in program
	made, ran, refused      int
	fell                    bool      // something was got of it
	begun                   time.Time // when it was made
	skipped                 bool      // this runtime has no words for it
	last                    string    // what was said at the latest refusal
}

// newCell makes one. A runtime that is not here skips the test.
func newCell(t *testing.T, runtime string) *cell {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root")
	}
	from := filepath.Join(built, runtime)
	if !strings.HasPrefix(runtime, "porthole") {
		var err error
		if from, err = exec.LookPath(runtime); err != nil {
			t.Skipf("needs %s", runtime)
		}
	}
	dir := t.TempDir()
	for d := dir; len(d) > len(os.TempDir()); d = filepath.Dir(d) {
		os.Chmod(d, 0o755)
	}
	c := &cell{t: t, runtime: runtime, dir: dir, root: dir + "/root", bundle: dir + "/bundle", rootfs: dir + "/bundle/rootfs",
		volume: dir + "/volume", outside: dir + "/outside", program: dir + "/" + runtime,
		group: "porthole-escape-" + strconv.Itoa(os.Getpid()), begun: time.Now()}
	c.copy(from, c.program)
	if runtime == "porthole" {
		if whole := from + "-full"; exists(whole) {
			c.copy(whole, c.program+"-full")
		}
	}
	var err error
	c.whole, err = os.ReadFile(c.program)
	c.check(err)
	box, err := exec.LookPath("busybox")
	if err != nil {
		t.Skip("needs busybox-static")
	}
	c.copy(box, c.rootfs+"/bin/busybox")
	for _, name := range []string{"sh", "cat", "ls", "grep", "head", "id", "readlink", "sleep", "true", "touch", "stat", "wc"} {
		c.link("busybox", c.rootfs+"/bin/"+name)
	}
	for _, d := range []string{"proc", "sys", "dev", "tmp", "etc"} {
		c.mkdir(c.rootfs + "/" + d)
	}
	c.mkdir(c.volume)
	for _, f := range []string{"file", "ptmx", "null", "console", "dir/inner", "etc/hosts", "self/attr/exec", "sub/file"} {
		c.put(c.outside+"/"+f, secret+"\n")
	}
	c.put(c.rootfs+"/look", look)
	c.before = c.snapshot()
	t.Cleanup(c.empty)
	return c
}

func (c *cell) check(err error) {
	c.t.Helper()
	if err != nil {
		c.t.Fatal(err)
	}
}

func exists(file string) bool {
	_, err := os.Lstat(file)
	return err == nil
}

func (c *cell) mkdir(dir string) { c.t.Helper(); c.check(os.MkdirAll(dir, 0o755)) }

func (c *cell) link(to, at string) {
	c.t.Helper()
	c.mkdir(filepath.Dir(at))
	c.check(os.Symlink(to, at))
}

func (c *cell) put(file, text string) {
	c.t.Helper()
	c.mkdir(filepath.Dir(file))
	c.check(os.WriteFile(file, []byte(text), 0o755))
}

func (c *cell) copy(from, to string) {
	c.t.Helper()
	data, err := os.ReadFile(from)
	c.check(err)
	c.put(to, string(data))
}

// replace puts a link where something else of the image's is.
func (c *cell) replace(at, to string) {
	c.t.Helper()
	c.check(os.RemoveAll(at))
	c.link(to, at)
}

// snapshot is all that is outside, and two settings of the host's that stand for those that attackers like best:
// what is written to them by mistake is refused by the kernel, or does no harm.
func (c *cell) snapshot() string {
	var b strings.Builder
	err := filepath.WalkDir(c.outside, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		var st unix.Stat_t
		if err := unix.Lstat(path, &st); err != nil {
			return err
		}
		fmt.Fprintf(&b, "%s %o %d %d %d\n", path, st.Mode, st.Uid, st.Gid, st.Mtim)
		if d.Type().IsRegular() {
			text, err := os.ReadFile(path)
			b.Write(text)
			return err
		}
		return nil
	})
	c.check(err)
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	c.check(err)
	for line := range strings.Lines(string(mounts)) {
		if strings.Contains(line, c.dir) {
			b.WriteString(line)
		}
	}
	for _, file := range []string{"/proc/sys/kernel/printk_ratelimit", "/proc/sys/net/ipv4/ip_unprivileged_port_start"} {
		text, err := os.ReadFile(file)
		c.check(err)
		fmt.Fprintf(&b, "%s %s", file, text)
	}
	return b.String()
}

// empty fails the test where anything of porthole's is left, and takes away what others left.
func (c *cell) empty() {
	if c.runtime == "runc" || c.runtime == "crun" {
		entries, _ := os.ReadDir(c.root)
		for _, e := range entries {
			c.do("delete", "--force", e.Name())
		}
		groups, _ := filepath.Glob("/sys/fs/cgroup/*/" + c.group + "*")
		for _, g := range groups {
			os.Remove(g)
		}
		return
	}
	for until := time.Now().Add(3 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		var left []string
		for _, at := range []string{c.root + "/[a-z]*/state.json", "/sys/fs/cgroup/" + c.group + "*", "/sys/fs/cgroup/*/" + c.group + "*"} {
			found, _ := filepath.Glob(at)
			left = append(left, found...)
		}
		if len(left) == 0 {
			return
		}
		if time.Now().After(until) {
			c.t.Errorf("left behind: %s", left)
			return
		}
	}
}

// docker are the capabilities that Docker gives.
var docker = strings.Fields("CAP_CHOWN CAP_DAC_OVERRIDE CAP_FSETID CAP_FOWNER CAP_MKNOD CAP_NET_RAW CAP_SETGID CAP_SETUID" +
	" CAP_SETFCAP CAP_SETPCAP CAP_NET_BIND_SERVICE CAP_SYS_CHROOT CAP_KILL CAP_AUDIT_WRITE")

// spec is what engines ask for, without the filter: an attacker has every system call.
func (c *cell) spec(args ...string) *specs.Spec {
	options := func(s string) []string { return strings.Split(s, ",") }
	return &specs.Spec{
		Version: "1.0.2",
		Process: &specs.Process{
			Args: args, Cwd: "/", Env: []string{"PATH=/bin", "OUTSIDE=" + c.outside},
			Capabilities: &specs.LinuxCapabilities{Bounding: docker, Permitted: docker, Effective: docker},
		},
		Root: &specs.Root{Path: "rootfs"},
		Mounts: []specs.Mount{
			{Destination: "/proc", Type: "proc", Source: "proc", Options: options("nosuid,noexec,nodev")},
			{Destination: "/dev", Type: "tmpfs", Source: "tmpfs", Options: options("nosuid,strictatime,mode=755,size=65536k")},
			{Destination: "/dev/pts", Type: "devpts", Source: "devpts", Options: options("nosuid,noexec,newinstance,ptmxmode=0666,mode=0620")},
			{Destination: "/sys", Type: "sysfs", Source: "sysfs", Options: options("nosuid,noexec,nodev,ro")},
		},
		Linux: &specs.Linux{
			CgroupsPath:   "/" + c.group,
			MaskedPaths:   []string{"/proc/kcore", "/proc/keys", "/proc/timer_list", "/sys/firmware"},
			ReadonlyPaths: []string{"/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"},
			Namespaces:    []specs.LinuxNamespace{{Type: "pid"}, {Type: "network"}, {Type: "ipc"}, {Type: "uts"}, {Type: "mount"}},
		},
	}
}

// config writes config.json.
func (c *cell) config(s *specs.Spec) {
	c.t.Helper()
	data, err := json.Marshal(s)
	c.check(err)
	c.check(os.WriteFile(c.bundle+"/config.json", data, 0o600))
}

func bind(from, to string) specs.Mount {
	return specs.Mount{Destination: to, Source: from, Type: "bind", Options: []string{"rbind", "rw"}}
}

// unmounted takes a mount out of a configuration.
func unmounted(s *specs.Spec, at string) {
	var kept []specs.Mount
	for _, m := range s.Mounts {
		if m.Destination != at && !strings.HasPrefix(m.Destination, at+"/") {
			kept = append(kept, m)
		}
	}
	s.Mounts = kept
}

// hidden has crun, which refuses a hybrid layout of control groups, see none.
const hidden = `umount -l /sys/fs/cgroup/unified 2>/dev/null; exec "$@"`

// command is one of the runtime's.
func (c *cell) command(ctx context.Context, args ...string) *exec.Cmd {
	line := append([]string{c.program, "--root", c.root}, args...)
	if c.runtime == "crun" {
		line = append([]string{"unshare", "-m", "--propagation", "private", "sh", "-c", hidden, "-"}, line...)
	}
	cmd := exec.CommandContext(ctx, line[0], line[1:]...)
	cmd.Dir, cmd.Env = c.bundle, append(os.Environ(), "HOST_SECRET="+secret)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true} // none may have the terminal of whoever runs the tests
	return cmd
}

// do carries out a command of the runtime's, and returns what it and the container said.
func (c *cell) do(args ...string) (said string, code int) {
	c.t.Helper()
	out, err := os.CreateTemp(c.dir, "said")
	c.check(err)
	defer os.Remove(out.Name())
	defer out.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	cmd := c.command(ctx, args...)
	cmd.Stdout, cmd.Stderr = out, out
	var exit *exec.ExitError
	if err := cmd.Run(); err != nil && !errors.As(err, &exit) {
		c.t.Fatal(err)
	}
	if ctx.Err() != nil {
		c.t.Errorf("%s %q has not ended", c.runtime, args)
	}
	text, err := os.ReadFile(out.Name())
	c.check(err)
	return string(text), cmd.ProcessState.ExitCode()
}

// must is do for what has to succeed.
func (c *cell) must(args ...string) string {
	c.t.Helper()
	said, code := c.do(args...)
	if code != 0 {
		c.t.Fatalf("%s %q: exit %d: %s", c.runtime, args, code, said)
	}
	return said
}

// got is what an attacker has of it: lines that begin so in what was said, and what has changed outside.
func (c *cell) got(said string) string {
	var list []string
	for line := range strings.Lines(said) {
		if _, what, ok := strings.Cut(line, "GOT "); ok {
			list = append(list, strings.TrimSpace(what))
		}
	}
	if after := c.snapshot(); after != c.before {
		for line := range strings.Lines(after) {
			if !strings.Contains(c.before, line) {
				list = append(list, "outside: "+strings.TrimSpace(line))
			}
		}
		list = append(list, "changed outside")
		c.before = after
	}
	if len(list) > 4 {
		list = append(list[:4], "…")
	}
	return strings.Join(list, "; ")
}

// look is what most attackers run: it tells what it can reach of the host, and what of /proc is open to it
// that is to be hidden or read-only.
const look = `#!/bin/sh
up=../../../../../../../../../../../../../../..
for f in "$OUTSIDE" . "./$up$OUTSIDE" /proc/self/cwd/$up$OUTSIDE /vol /vol/sub /vol/sub/deep /data /data/sub /p /dev /dev/pts /tmp /new /fake; do
	for name in file inner sub/file console null; do
		[ -f "$f/$name" ] && grep -qs "host's secret" "$f/$name" && echo "GOT read $f/$name"
	done
done
for fd in /proc/self/fd/* /proc/1/fd/*; do
	grep -qs "host's secret" "$fd/$up$OUTSIDE/file" && echo "GOT through $fd to $(readlink $fd)"
done
for p in /proc /p /fake /fake/proc /vol /vol/proc /vol/a /vol/b /vol/a/proc /vol/b/proc /data /data/proc; do
	grep -qs "^cpu" $p/stat || continue
	for f in keys timer_list; do [ -n "$(head -c 1 $p/$f 2>/dev/null)" ] && echo "GOT $p/$f, which is to be hidden"; done
	for f in sysrq-trigger sys/kernel/printk_ratelimit; do
		if [ -e $p/$f ]; then (: >>$p/$f) 2>/dev/null && echo "GOT $p/$f open for writing"; fi
	done
done
for f in keys timer_list; do
	[ -n "$(head -c 1 /proc/$f 2>/dev/null)" ] && echo "GOT something behind /proc/$f"
	[ -e /proc/$f ] && [ "$(stat -c %t:%T /proc/$f)" != 1:3 ] && echo "GOT something else than /dev/null over /proc/$f"
done
[ -e /proc/self/attr/fake ] && echo "GOT a /proc that is none"
true
`
