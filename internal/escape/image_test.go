package escape

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// first is what was got first.
func first(got ...string) string {
	for _, g := range got {
		if g != "" {
			return g
		}
	}
	return ""
}

// linkedPlaces has links in the image where mounts go, and on the way there.
func linkedPlaces(c *cell) (got string) {
	c.put(c.volume+"/mine", "a volume's\n")
	for i, to := range append(c.outward(), c.outward()...) {
		if i == len(c.outward()) { // now the link leads somewhere inside, too
			c.mkdir(c.rootfs + c.outside)
			c.mkdir(c.rootfs + "/outside")
		}
		for _, at := range []string{"etc", "vol", "tmp", "sys", "etc/hosts"} {
			c.linked(at, to, func() {
				s := c.spec("/look")
				s.Mounts = append(s.Mounts, bind(c.volume+"/mine", "/etc/hosts"), bind(c.volume, "/vol/new/deep"),
					specs.Mount{Destination: "/tmp/new/deep", Type: "tmpfs", Source: "tmpfs"})
				got = first(got, c.try(s, "-v", c.volume+"/mine:/etc/hosts", "-v", c.volume+":/vol/new/deep", "--tmpfs", "/tmp/new/deep"))
			})
		}
	}
	return got
}

// linkedDev has /dev as a link to outside, with a mount there and without.
func linkedDev(c *cell) (got string) {
	for i, to := range append(append(c.outward(), "/sub"), c.outward()...) {
		if i == 7 { // now the link leads somewhere inside, too
			c.mkdir(c.rootfs + c.outside)
		}
		c.linked("dev", to, func() {
			s := c.spec("/look")
			got = first(got, c.try(s, plain))
			unmounted(s, "/dev")
			got = first(got, c.try(s))
			s.Linux.Devices = []specs.LinuxDevice{{Path: "/dev/deep/disk", Type: "b", Major: 8}, {Path: "/dev/file", Type: "c", Major: 1, Minor: 3}}
			got = first(got, c.try(s))
		})
	}
	return got
}

// linkedProc has /proc as a link within the image.
func linkedProc(c *cell) (got string) {
	c.mkdir(c.rootfs + "/fake/proc")
	for _, to := range []string{"/fake", "fake", "./fake/proc", "/fake/../fake", "sys", "/vol", "/proc2"} {
		c.linked("proc", to, func() {
			s := c.spec("/look")
			s.Mounts = append([]specs.Mount{bind(c.volume, "/vol")}, s.Mounts...)
			got = first(got, c.try(s, "-v", c.volume+":/vol"))
		})
	}
	return got
}

// unmasked asks for a /proc with nothing hidden: whoever looks must say so.
func unmasked(c *cell) string {
	s := c.spec("/look")
	s.Linux.MaskedPaths, s.Linux.ReadonlyPaths = nil, nil
	return c.try(s)
}

// fakeProc mounts a volume with files of the attacker's at /proc, or within it.
func fakeProc(c *cell) (got string) {
	for _, f := range []string{"self/attr/fake", "self/attr/exec", "attr/fake", "sys/kernel/printk_ratelimit", "stat"} {
		c.put(c.volume+"/"+f, "")
	}
	for _, at := range []string{"/proc", "/proc/", "proc", "/tmp/../proc", "/proc/self", "/proc/sys"} {
		s := c.spec("/look")
		s.Mounts = append(s.Mounts, bind(c.volume, at)) // over the real one
		got = first(got, c.try(s, "-v", c.volume+":"+filepath.Clean("/"+at)))
		unmounted(s, "/proc")
		s.Mounts = append(s.Mounts, bind(c.volume, at)) // in its place
		got = first(got, c.try(s))
	}
	return got
}

// fakeProcWeak has the files in the image, and no /proc mounted.
func fakeProcWeak(c *cell) string {
	c.put(c.rootfs+"/proc/self/attr/fake", "")
	s := c.spec("/look")
	unmounted(s, "/proc")
	return c.try(s)
}

// maskSource has /dev/null lead to what is to be opened for writing, or be exchanged for it, and sees what hides
// /proc/timer_list then.
func maskSource(c *cell) (got string) {
	targets := []string{"/proc/sys/kernel/printk_ratelimit", "/proc/sysrq-trigger", c.outside + "/file", "/nowhere", "/dev/zero"}
	for _, to := range targets {
		c.link(to, c.rootfs+"/dev/null")
		s := c.spec("/look")
		s.Linux.MaskedPaths = append(s.Linux.MaskedPaths, "/proc/sysrq-trigger")
		got = first(got, c.try(s, plain))
		unmounted(s, "/dev")
		got = first(got, c.try(s))
		c.check(os.RemoveAll(c.rootfs + "/dev"))
		c.mkdir(c.rootfs + "/dev")
	}
	// A shared /dev in which it is exchanged.
	c.check(unix.Mknod(c.volume+"/null", unix.S_IFCHR|0o666, int(unix.Mkdev(1, 3))))
	c.link(targets[0], c.volume+"/null-link")
	stop := exchange([2]string{c.volume + "/null", c.volume + "/null-link"})
	got = first(got, c.rounds(func() string {
		s := c.spec("/look")
		unmounted(s, "/dev")
		s.Mounts = append(s.Mounts, bind(c.volume, "/dev"))
		return c.try(s)
	}))
	stop()
	return got
}

// console has links where a terminal is to be found or mounted.
func console(c *cell) (got string) {
	for _, at := range []string{"console", "pts", "ptmx", "pts/ptmx", "pts/0"} {
		for _, to := range []string{c.outside + "/new", c.outside + "/console", "/proc/sys/kernel/printk_ratelimit", "/proc/self/fd/3", c.outside} {
			c.link(to, c.rootfs+"/dev/"+at)
			s := c.spec("/look")
			s.Process.Terminal = true
			got = first(got, c.try(s, "-t"))
			unmounted(s, "/dev")
			got = first(got, c.try(s))
			s.Mounts = append(s.Mounts, c.spec().Mounts[2]) // devpts alone
			got = first(got, c.try(s))
			s.Root.Readonly = true
			got = first(got, c.try(s))
			c.check(os.RemoveAll(c.rootfs + "/dev"))
			c.mkdir(c.rootfs + "/dev")
		}
	}
	return got
}

// nullFiles has /dev/null lead outside while standard input is the host's /dev/null, for a user to whom it may be given.
func nullFiles(c *cell) (got string) {
	for _, to := range c.outward() {
		c.link(to+"/null", c.rootfs+"/dev/null")
		s := c.spec("/bin/sh", "-c", `head -c 30 | grep -q "host's secret" && echo GOT standard input; exec /look`)
		s.Process.User = specs.User{UID: 1000, GID: 1000}
		got = first(got, c.try(s, "-u", "1000:1000"))
		unmounted(s, "/dev")
		got = first(got, c.try(s))
		c.check(os.RemoveAll(c.rootfs + "/dev"))
		c.mkdir(c.rootfs + "/dev")
	}
	return got
}

// workingDirectory asks for working directories that are open files of the runtime's, by name and by a link of the image's.
func workingDirectory(c *cell) (got string) {
	var dirs []string
	for fd := range 12 {
		name := "/proc/self/fd/" + strconv.Itoa(fd)
		c.link(name, c.rootfs+"/w"+strconv.Itoa(fd))
		dirs = append(dirs, name, name+"/../../..", "/w"+strconv.Itoa(fd))
	}
	dirs = append(dirs, "/proc/self/cwd", "/proc/1/root", "/proc/self/root/../..", "/../../..")
	for _, dir := range dirs {
		s := c.spec("/look")
		s.Process.Cwd = dir
		got = first(got, c.try(s, "-w", dir))
	}
	c.background(c.spec("sleep", "1000"))
	option := "--cwd"
	if c.runtime == "porthole" {
		option = "-w"
	}
	for _, dir := range dirs {
		said, code := c.do("exec", option, dir, "box", "/look")
		if got = first(got, c.got(said)); code != 0 {
			c.refused++
		}
	}
	return got
}

// workingDirectoryWeak hands the host's root in, on purpose.
func workingDirectoryWeak(c *cell) string {
	c.config(c.spec("/bin/sh", "-c", "cd /proc/self/fd/3 && exec /look"))
	root, err := os.Open("/")
	c.check(err)
	defer root.Close()
	cmd := c.command(context.Background(), "run", "--preserve-fds", "1", "weak")
	cmd.ExtraFiles = []*os.File{root}
	said, err := cmd.CombinedOutput()
	if err != nil {
		c.t.Logf("%v: %s", err, said)
	}
	return c.got(string(said))
}

// longValues asks for a user namespace, with values so long that 16 bits do not count them.
func longValues(c *cell) (got string) {
	long := strings.Repeat("A", 65536+8)
	mapped := func() *specs.Spec {
		s := c.spec("/bin/sh", "-c", "read in out n </proc/self/uid_map; [ $out = 0 ] && echo GOT the host\\'s uids; exec /look")
		s.Linux.Namespaces = append(s.Linux.Namespaces, specs.LinuxNamespace{Type: "user"})
		one := []specs.LinuxIDMapping{{ContainerID: 0, HostID: 100000, Size: 65536}}
		s.Linux.UIDMappings, s.Linux.GIDMappings = one, one
		return s
	}
	for _, change := range []func(*specs.Spec){
		func(*specs.Spec) {},
		func(s *specs.Spec) { s.Linux.Namespaces[1].Path = "/" + long },
		func(s *specs.Spec) { s.Linux.Namespaces[1].Path = "/proc/self/ns/net" + strings.Repeat("/", 1<<16) },
		func(s *specs.Spec) {
			s.Linux.GIDMappings = nil
			for i := range uint32(4000) {
				s.Linux.GIDMappings = append(s.Linux.GIDMappings, specs.LinuxIDMapping{ContainerID: i, HostID: 100000 + i, Size: 1})
			}
		},
		func(s *specs.Spec) { s.Linux.UIDMappings[0].Size = 1<<32 - 1 },
		func(s *specs.Spec) { s.Linux.UIDMappings[0].HostID = 1<<32 - 1 },
		func(s *specs.Spec) { s.Process.Env = append(s.Process.Env, "LONG="+long) },
		func(s *specs.Spec) { s.Mounts = append(s.Mounts, bind("/"+long, "/vol")) },
		func(s *specs.Spec) { s.Mounts = append(s.Mounts, bind(c.volume, "/"+long)) },
		func(s *specs.Spec) { s.Root.Path = "rootfs" + strings.Repeat("/.", 1<<16) },
		func(s *specs.Spec) { s.Linux.CgroupsPath = "/" + long },
		func(s *specs.Spec) { s.Hostname = long },
		func(s *specs.Spec) { s.Process.Cwd = "/" + long },
	} {
		s := mapped()
		change(s)
		if c.runtime == "porthole" {
			continue
		}
		got = first(got, c.try(s))
	}
	if c.runtime == "porthole" {
		got = c.try(c.spec("/look"), "-e", "LONG="+long, "--hostname", "h")
	}
	return got
}

// user is the ordinary user that some attacks are tried as.
const user = 1000

// delegated makes control groups that belong to user, as systemd does, and takes them away afterwards.
func (c *cell) delegated() {
	for _, h := range []string{"pids", "memory", "unified", "."} {
		dir := "/sys/fs/cgroup/" + h + "/" + c.group + "-user"
		if h == "." {
			if _, err := os.Stat("/sys/fs/cgroup/cgroup.controllers"); err != nil {
				continue
			}
		}
		if os.Mkdir(dir, 0o755) != nil {
			continue
		}
		c.check(os.Chown(dir, user, user))
		c.t.Cleanup(func() {
			os.Remove(dir + "/x")
			os.Remove(dir)
		})
	}
}

const digGroups = `for d in /sys/fs/cgroup/*-user /sys/fs/cgroup/*/*-user; do
	[ -d $d ] || continue
	(/bin/busybox mkdir $d/x) 2>/dev/null && echo "GOT $d"
done
exec /look`

// asUser carries a command out as an ordinary user, with a state directory of its own.
func (c *cell) asUser(args ...string) string {
	home := c.dir + "/user"
	c.mkdir(home)
	c.check(os.Chown(home, user, user))
	cmd := c.command(context.Background(), args...)
	cmd.Args[2] = home
	cmd.Env = append(cmd.Env, "XDG_RUNTIME_DIR="+home)
	cmd.SysProcAttr.Credential = &syscall.Credential{Uid: user, Gid: user}
	said, err := cmd.CombinedOutput()
	if err != nil {
		c.refused++
		c.last = err.Error() + ": " + string(said)
	} else {
		c.ran++
	}
	return string(said)
}

// userSpec is what `spec --rootless` writes, with a program that tries every control group of its user.
func (c *cell) userSpec() *specs.Spec {
	s := c.spec("/bin/sh", "-c", digGroups)
	s.Linux.CgroupsPath = ""
	one := []specs.LinuxIDMapping{{HostID: user, Size: 1}}
	s.Linux.UIDMappings, s.Linux.GIDMappings = one, one
	s.Linux.Namespaces = []specs.LinuxNamespace{{Type: "pid"}, {Type: "ipc"}, {Type: "uts"}, {Type: "mount"}, {Type: "user"}}
	unmounted(s, "/sys")
	return s
}

// groups looks for control groups to write to in a container of an ordinary user's, with the group namespace of the host.
func groups(c *cell) (got string) {
	c.delegated()
	if c.runtime == "porthole" {
		c.check(filepath.WalkDir(c.rootfs, func(path string, _ fs.DirEntry, err error) error {
			return errors.Join(err, os.Lchown(path, user, user))
		}))
		said := c.asUser("run", "--rm", "--cgroupns", "host", "dir:"+c.rootfs, "/bin/sh", "-c", digGroups)
		return c.got(said)
	}
	if c.runtime == "crun" {
		c.t.Skip("of an ordinary user's there is no hiding the layout of control groups from crun")
	}
	cgroup := specs.Mount{Destination: "/sys/fs/cgroup", Type: "cgroup", Source: "cgroup", Options: []string{"nosuid", "noexec", "nodev", "relatime", "ro"}}
	host := specs.Mount{Destination: "/sys", Type: "none", Source: "/sys", Options: []string{"rbind", "nosuid", "noexec", "nodev", "ro"}}
	fresh := specs.Mount{Destination: "/sys", Type: "sysfs", Source: "sysfs", Options: []string{"nosuid", "noexec", "nodev", "ro"}}
	for _, mounts := range [][]specs.Mount{{host, cgroup}, {fresh, cgroup}, {fresh}} {
		s := c.userSpec()
		s.Mounts = append(s.Mounts, mounts...)
		c.config(s)
		c.check(os.Chmod(c.bundle+"/config.json", 0o644))
		got = first(got, c.got(c.asUser("run", "user")))
	}
	if c.runtime == "porthole-oci" { // and with the configuration that we write ourselves
		c.check(os.Remove(c.bundle + "/config.json"))
		spec := exec.Command(c.program, "spec", "--rootless", "--bundle", c.bundle)
		spec.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: user, Gid: user}}
		c.check(os.Chmod(c.bundle, 0o777))
		if out, err := spec.CombinedOutput(); err != nil {
			c.t.Fatalf("spec: %v: %s", err, out)
		}
		text, err := os.ReadFile(c.bundle + "/config.json")
		c.check(err)
		script := strings.NewReplacer("\n", `\n`, "\t", `\t`, `"`, `\"`).Replace(digGroups)
		text = []byte(strings.NewReplacer(`"terminal": true`, `"terminal": false`, `"sh"`, `"/bin/sh", "-c", "`+script+`"`).Replace(string(text)))
		c.check(os.WriteFile(c.bundle+"/config.json", text, 0o644))
		got = first(got, c.got(c.asUser("run", "user")))
	}
	return got
}

// groupsWeak binds the host's /sys as it is.
func groupsWeak(c *cell) string {
	c.delegated()
	s := c.userSpec()
	s.Mounts = append(s.Mounts, specs.Mount{Destination: "/sys", Type: "none", Source: "/sys", Options: []string{"rbind"}})
	c.config(s)
	c.check(os.Chmod(c.bundle+"/config.json", 0o644))
	return c.got(c.asUser("run", "user"))
}

// background starts a container that stays, called box.
func (c *cell) background(s *specs.Spec, flags ...string) {
	c.t.Helper()
	if c.runtime == "porthole" {
		line := append([]string{"run", "-d", "--name", "box", "--network", "host", "--security-opt", "seccomp=unconfined", "-e", "OUTSIDE=" + c.outside}, flags...)
		c.must(append(append(line, "dir:"+c.rootfs), s.Process.Args...)...)
	} else {
		c.config(s)
		c.must("run", "-d", "box")
	}
	c.ran++
	c.t.Cleanup(c.gone)
}

// gone takes it away.
func (c *cell) gone() {
	if !c.sound() { // an attacker has got at it
		c.check(os.WriteFile(c.program, c.whole, 0o755))
	}
	if c.runtime == "porthole" {
		c.do("rm", "-f", "box")
		return
	}
	c.do("kill", "box", "KILL")
	time.Sleep(20 * time.Millisecond)
	c.do("delete", "--force", "box")
}
