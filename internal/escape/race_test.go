package escape

import (
	"fmt"
	"os"
	"strings"
	"time"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// pair is a directory in the volume and beside it a link, to be exchanged for each other.
func (c *cell) pair(name, to string) [2]string {
	c.mkdir(c.volume + "/" + name)
	c.link(to, c.volume+"/"+name+"-link")
	return [2]string{c.volume + "/" + name, c.volume + "/" + name + "-link"}
}

// exchangedMounts has mounts beneath directories that are exchanged for links to outside.
func exchangedMounts(c *cell) string {
	stop := exchange(c.pair("sub", c.outside), c.pair("dir", strings.Repeat("../", 24)+c.outside[1:]))
	got := c.rounds(func() string {
		s := c.spec("/look")
		s.Mounts = append(s.Mounts, bind(c.volume, "/data"))
		flags := []string{"-v", c.volume + ":/data"}
		for _, at := range []string{"/data/sub/a", "/data/dir/b", "/data/sub", "/data/dir/deep"} {
			s.Mounts = append(s.Mounts, bind(c.rootfs+"/bin", at), specs.Mount{Destination: at + "/t", Type: "tmpfs", Source: "tmpfs"})
			flags = append(flags, "-v", c.rootfs+"/bin:"+at)
		}
		return c.try(s, flags...)
	})
	c.t.Logf("%d exchanges", stop())
	return got
}

// exchangedPlaces has places made for mounts, each time others, in directories that are exchanged.
func exchangedPlaces(c *cell) string {
	c.put(c.volume+"/mine", "a volume's\n")
	stop := exchange(c.pair("sub", c.outside), c.pair("dir", c.outside+"/sub"))
	n := 0
	got := c.rounds(func() string {
		n++
		s := c.spec("/look")
		s.Mounts = append(s.Mounts, bind(c.volume, "/data"))
		flags := []string{"-v", c.volume + ":/data"}
		for i := range 3 {
			for _, dir := range []string{"sub", "dir"} {
				at := fmt.Sprintf("/data/%s/n%d-%d", dir, n, i)
				s.Mounts = append(s.Mounts, bind(c.volume, at+"/deep/er"), bind(c.volume+"/mine", at+"-file"))
				flags = append(flags, "-v", c.volume+":"+at+"/deep/er", "-v", c.volume+"/mine:"+at+"-file")
			}
		}
		return c.try(s, flags...)
	})
	c.t.Logf("%d exchanges", stop())
	return got
}

// exchangedWeak makes directories in an exchanged place by name, with a look at it first: what runtimes did.
func exchangedWeak(c *cell) string {
	p := c.pair("sub", c.outside)
	stop := exchange(p)
	defer stop()
	begun := time.Now()
	for n := 0; time.Since(begun) < 10*time.Second; n++ {
		if fi, err := os.Lstat(p[0]); err == nil && fi.IsDir() {
			os.MkdirAll(fmt.Sprintf("%s/n%d", p[0], n), 0o755)
		}
		if n%100 == 0 {
			if got := c.got(""); got != "" {
				return got
			}
		}
	}
	return ""
}

// exchangedProc has the image's /proc lead into a volume in which somebody exchanges what is on the way.
func exchangedProc(c *cell) string {
	c.mkdir(c.volume + "/a/proc")
	c.mkdir(c.volume + "/b/proc")
	c.put(c.volume+"/b/proc/self/attr/fake", "")
	c.check(os.Remove(c.rootfs + "/proc"))
	stop := exchange([2]string{c.volume + "/a", c.volume + "/b"})
	defer stop()
	targets, n := []string{"/vol/a/proc", "vol/b/../a/proc", "/vol/a"}, 0
	return c.rounds(func() string {
		c.replace(c.rootfs+"/proc", targets[n%len(targets)])
		n++
		s := c.spec("/look")
		s.Mounts = append([]specs.Mount{bind(c.volume, "/vol")}, s.Mounts...)
		return c.try(s, "-v", c.volume+":/vol")
	})
}

// redirected has a volume mounted where the runtime will write a kernel parameter, by a link of the image's that is
// there at once, or exchanged for a directory: what is written ends in the volume, or wherever a link in it leads.
func redirected(c *cell) (got string) {
	const key, file = "net.ipv4.ip_unprivileged_port_start", "/net/ipv4/ip_unprivileged_port_start"
	c.put(c.volume+file, "")
	try := func() string {
		s := c.spec("/look")
		s.Linux.Sysctl = map[string]string{key: "7777"}
		s.Mounts = append(s.Mounts, bind(c.volume, "/p"))
		got := c.try(s, "-v", c.volume+":/p", "--network", "none", "--sysctl", key+"=7777")
		if fi, err := os.Lstat(c.volume + file); err != nil || !fi.Mode().IsRegular() {
			return got
		}
		if text, err := os.ReadFile(c.volume + file); err == nil && len(text) > 0 {
			got = first(got, fmt.Sprintf("what was written to the kernel is in the volume: %q", text))
		}
		return got
	}
	for _, to := range []string{"/proc/sys", "/proc/sys/net/ipv4", "/proc", "/proc/self/attr"} {
		c.replace(c.rootfs+"/p", to)
		got = first(got, try())
	}
	c.check(os.Remove(c.volume + file))
	c.link("/proc/sys/kernel/printk_ratelimit", c.volume+file)
	c.replace(c.rootfs+"/p", "/proc/sys")
	got = first(got, try())
	c.check(os.Remove(c.rootfs + "/p"))
	c.mkdir(c.rootfs + "/p")
	c.link("/proc/sys", c.rootfs+"/p-link")
	stop := exchange([2]string{c.rootfs + "/p", c.rootfs + "/p-link"})
	got = first(got, c.rounds(try))
	stop()
	return got
}
