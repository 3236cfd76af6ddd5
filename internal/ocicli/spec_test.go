package ocicli

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// peer runs the house's bundle on another runtime. crun refuses a hybrid machine, so it sees no unified control groups.
func (h *house) peer(name string) result {
	h.t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		h.t.Skip("needs " + name)
	}
	ctx, cancel := context.WithTimeout(h.t.Context(), 30*time.Second)
	defer cancel()
	const apart = `for m in $(awk '$3 == "cgroup2" && $2 != "/sys/fs/cgroup" { print $2 }' /proc/mounts); do umount "$m"; done; exec "$@"`
	cmd := exec.CommandContext(ctx, "unshare", "--mount", "--propagation", "private", "sh", "-c", apart, "sh", path, "--root", h.t.TempDir(), "run", "p"+fmt.Sprint(os.Getpid()))
	cmd.Dir = h.bundle
	var out, errs strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &errs
	cmd.Run()
	return result{out.String(), errs.String(), cmd.ProcessState.ExitCode()}
}

// beside runs the house's bundle on porthole-oci, runc and crun, and returns what ours says. Where another one knows
// what is asked for, it has to say the same, as see shows it.
func (h *house) beside(see func(string) string, peers ...string) string {
	h.t.Helper()
	r := h.try("run", "c")
	if r.code != 0 {
		h.t.Errorf("exit %d: %s", r.code, r.err)
	}
	for _, name := range peers {
		if p := h.peer(name); p.code == 0 && see(p.out) != see(r.out) {
			h.t.Errorf("%s says\n%s\nand porthole-oci\n%s", name, see(p.out), see(r.out))
		}
	}
	return see(r.out)
}

// open lets those reach the bundle whose root is not ours.
func (h *house) open() {
	h.t.Helper()
	for dir := h.bundle; len(dir) > len("/tmp"); dir = filepath.Dir(dir) {
		if err := os.Chmod(dir, 0o755); err != nil {
			h.t.Fatal(err)
		}
	}
}

// mounted picks mount point, options and propagation out of mountinfo, for what lies in /m.
func mounted(info string) string {
	var out []string
	for line := range strings.Lines(info) {
		f := strings.Fields(line)
		if len(f) < 7 || f[4] != "/m" && !strings.HasPrefix(f[4], "/m/") {
			continue
		}
		end := slices.Index(f, "-")
		kinds := regexp.MustCompile(`:\d+`).ReplaceAllString(strings.Join(f[6:end], " "), "")
		out = append(out, strings.TrimSpace(f[4]+" "+f[5]+" "+kinds))
	}
	return strings.Join(out, "\n")
}

// Every word that changes a mount does so, on filesystems and bind mounts, as with runc where it knows it.
func TestMountOptions(t *testing.T) {
	h := newHouse(t)
	// A source with another mount beneath it.
	src := t.TempDir()
	if err := os.Mkdir(filepath.Join(src, "sub"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mount("tmpfs", filepath.Join(src, "sub"), "tmpfs", 0, "size=64k"); err != nil {
		t.Fatal(err)
	}
	defer unix.Unmount(filepath.Join(src, "sub"), unix.MNT_DETACH)
	for _, c := range []struct{ options, tmpfs, bind string }{
		{"", "/m rw,relatime", "/m rw,relatime"},
		{"ro", "/m ro,relatime", "/m ro,relatime"},
		{"nosuid,nodev,noexec", "/m rw,nosuid,nodev,noexec,relatime", "/m rw,nosuid,nodev,noexec,relatime"},
		{"noatime", "/m rw,noatime", "/m rw,noatime"},
		{"strictatime", "/m rw", "/m rw"},
		{"nodiratime,relatime", "/m rw,nodiratime,relatime", "/m rw,nodiratime,relatime"},
		{"nosymfollow", "/m rw,relatime,nosymfollow", "/m rw,relatime,nosymfollow"},
		{"ro,rw", "/m rw,relatime", "/m rw,relatime"},
		{"nosuid,suid,nodev,dev,noexec,exec,noatime,atime", "/m rw,relatime", "/m rw,relatime"},
		{"rbind", "", "/m rw,relatime\n/m/sub rw,relatime"},
		{"rbind,ro", "", "/m ro,relatime\n/m/sub rw,relatime"},
		{"rbind,rro", "", "/m ro,relatime\n/m/sub ro,relatime"},
		{"rbind,rnosuid,rnodev,rnoexec", "", "/m rw,nosuid,nodev,noexec,relatime\n/m/sub rw,nosuid,nodev,noexec,relatime"},
		{"rbind,rnoatime", "", "/m rw,noatime\n/m/sub rw,noatime"},
		{"rbind,rstrictatime", "", "/m rw\n/m/sub rw"},
		{"rbind,rnodiratime", "", "/m rw,nodiratime,relatime\n/m/sub rw,nodiratime,relatime"},
		{"rbind,rnosymfollow", "", "/m rw,relatime,nosymfollow\n/m/sub rw,relatime,nosymfollow"},
		{"rbind,ro,rrw", "", "/m rw,relatime\n/m/sub rw,relatime"},
		{"rbind,rro,rsuid,rdev,rexec,rrelatime", "", "/m ro,relatime\n/m/sub ro,relatime"},
		{"private", "/m rw,relatime", "/m rw,relatime"},
		{"slave", "/m rw,relatime", "/m rw,relatime"},
		{"shared", "/m rw,relatime shared", "/m rw,relatime shared"},
		{"unbindable", "/m rw,relatime unbindable", "/m rw,relatime unbindable"},
		{"rbind,rshared", "", "/m rw,relatime shared\n/m/sub rw,relatime shared"},
		{"rbind,rslave", "", "/m rw,relatime\n/m/sub rw,relatime"},
		{"rbind,rprivate", "", "/m rw,relatime\n/m/sub rw,relatime"},
		{"rbind,runbindable", "", "/m rw,relatime unbindable\n/m/sub rw,relatime unbindable"},
	} {
		run := func(kind string, m specs.Mount, want string) {
			t.Run(kind+" "+c.options, func(t *testing.T) {
				h.t = t
				h.config(func(s *specs.Spec) { s.Version, s.Mounts = "1.0.2", append(s.Mounts, m) }, "cat", "/proc/self/mountinfo")
				// crun 1.8 lets suid, dev, exec and rw take nothing back, and passes over shared and unbindable.
				if got := h.beside(mounted, "runc"); got != want {
					t.Errorf("got\n%s\nwant\n%s", got, want)
				}
			})
			h.t = t
		}
		words := strings.FieldsFunc(c.options, func(r rune) bool { return r == ',' })
		if c.tmpfs != "" {
			run("tmpfs", specs.Mount{Destination: "/m", Type: "tmpfs", Source: "tmpfs", Options: words}, c.tmpfs)
		}
		if !slices.Contains(words, "rbind") {
			words = append([]string{"bind"}, words...)
		}
		run("bind", specs.Mount{Destination: "/m", Type: "bind", Source: src, Options: words}, c.bind)
	}
	h.empty()
}

// What the host mounts later is seen in a slave mount and not in a private one, and nothing comes back.
func TestPropagation(t *testing.T) {
	h := newHouse(t)
	src := t.TempDir()
	if err := unix.Mount("tmpfs", src, "tmpfs", 0, "size=64k"); err != nil {
		t.Fatal(err)
	}
	defer unix.Unmount(src, unix.MNT_DETACH)
	if err := unix.Mount("", src, "", unix.MS_SHARED, ""); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(src, "late"), 0o755); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		options []string
		root    string
		seen    bool
	}{
		{[]string{"rbind", "rslave"}, "", true}, {[]string{"bind", "slave"}, "", true}, {[]string{"rbind", "rshared"}, "", true},
		{[]string{"rbind"}, "", false}, {[]string{"rbind", "rprivate"}, "", false}, {[]string{"rbind", "rslave"}, "rslave", true},
		{[]string{"rbind", "rshared"}, "rshared", true},
	} {
		h.config(func(s *specs.Spec) {
			s.Linux.RootfsPropagation = c.root
			s.Mounts = append(s.Mounts, specs.Mount{Destination: "/first", Type: "tmpfs", Source: "tmpfs"},
				specs.Mount{Destination: "/m", Type: "bind", Source: src, Options: c.options})
		}, "sleep", "100")
		h.must("run", "-d", "c")
		if err := unix.Mount("tmpfs", filepath.Join(src, "late"), "tmpfs", 0, "size=64k"); err != nil {
			t.Fatal(err)
		}
		out := h.must("exec", "c", "cat", "/proc/self/mountinfo")
		if seen := strings.Contains(out, " /m/late "); seen != c.seen {
			t.Errorf("%v under %q: seen is %v:\n%s", c.options, c.root, seen, out)
		}
		unix.Unmount(filepath.Join(src, "late"), 0)
		h.must("delete", "-f", "c")
	}
	h.empty()
}

// The files of an id-mapped mount have other owners, in it alone.
func TestIDMap(t *testing.T) {
	h := newHouse(t)
	src := t.TempDir()
	if err := os.Chmod(src, 0o755); err != nil {
		t.Fatal(err)
	}
	for name, owner := range map[string]int{"zero": 0, "five": 5, "far": 70000, "sub/five": 5} {
		file := filepath.Join(src, name)
		os.MkdirAll(filepath.Dir(file), 0o755)
		if strings.HasPrefix(name, "sub/") && !strings.Contains(mountsNow(t), filepath.Dir(file)+" ") {
			if err := unix.Mount("tmpfs", filepath.Dir(file), "tmpfs", 0, "size=64k"); err != nil {
				t.Fatal(err)
			}
			defer unix.Unmount(filepath.Dir(file), unix.MNT_DETACH)
		}
		if err := os.WriteFile(file, nil, 0o644); err != nil {
			t.Fatal(err)
		}
		if err := os.Chown(file, owner, owner); err != nil {
			t.Fatal(err)
		}
	}
	ids := func(m ...uint32) (list []specs.LinuxIDMapping) {
		for i := 0; i < len(m); i += 3 {
			list = append(list, specs.LinuxIDMapping{ContainerID: m[i], HostID: m[i+1], Size: m[i+2]})
		}
		return list
	}
	h.open()
	userNS := func(s *specs.Spec) {
		s.Linux.Namespaces = append(s.Linux.Namespaces, specs.LinuxNamespace{Type: specs.UserNamespace})
		s.Linux.UIDMappings, s.Linux.GIDMappings = ids(0, 60000, 5000), ids(0, 60000, 5000)
	}
	for _, c := range []struct {
		name, option string
		uids, gids   []specs.LinuxIDMapping
		change       func(*specs.Spec)
		want         string // owners of zero, five, far, sub/five
	}{
		{"mappings of its own", "idmap", ids(0, 1000, 10), ids(0, 2000, 10), nil, "1000:2000 1005:2005 65534:65534 5:5"},
		{"without the word", "", ids(0, 1000, 10), ids(0, 2000, 10), nil, "1000:2000 1005:2005 65534:65534 5:5"},
		{"and all beneath", "ridmap", ids(0, 1000, 10), ids(0, 2000, 10), nil, "1000:2000 1005:2005 65534:65534 1005:2005"},
		{"two ranges", "idmap", ids(0, 1000, 1, 5, 9, 1), ids(0, 1, 10), nil, "1000:1 9:6 65534:65534 5:5"},
		// On disk 0 is the container's 0: the mapping of the user namespace undone.
		{"the container's", "idmap", nil, nil, userNS, "0:0 5:5 65534:65534 65534:65534"},
		{"its own in a user namespace", "ridmap", ids(0, 60000, 10), ids(0, 60001, 10), userNS, "0:1 5:6 65534:65534 5:6"},
	} {
		t.Run(c.name, func(t *testing.T) {
			h.t = t
			h.config(func(s *specs.Spec) {
				s.Version = "1.0.2"
				m := specs.Mount{Destination: "/m", Type: "bind", Source: src, Options: []string{"rbind"}, UIDMappings: c.uids, GIDMappings: c.gids}
				if c.option != "" {
					m.Options = append(m.Options, c.option)
				}
				s.Mounts = append(s.Mounts, m)
				if c.change != nil {
					c.change(s)
				}
			}, "busybox", "stat", "-c", "%u:%g", "/m/zero", "/m/five", "/m/far", "/m/sub/five")
			if got := h.beside(func(s string) string { return strings.Join(strings.Fields(s), " ") }); got != c.want {
				t.Errorf("got %s, want %s", got, c.want)
			}
		})
		h.t = t
	}
	h.empty()
}

func mountsNow(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// Members that change what the program is, each looked at from inside, and beside runc and crun where they know it.
func TestMembers(t *testing.T) {
	h := newHouse(t)
	nice := func(s string) string { // policy, nice and priority of /proc/self/stat
		_, rest, _ := strings.Cut(s, ") ")
		f := strings.Fields(rest)
		if len(f) < 39 {
			return s
		}
		return "nice " + f[16] + ", priority " + f[37] + ", policy " + f[38]
	}
	uptime := func(s string) string { // in whole days
		var seconds float64
		fmt.Sscan(s, &seconds)
		return fmt.Sprint(int(seconds/86400), " days")
	}
	var now unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &now); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name   string
		change func(*specs.Spec)
		args   string
		see    func(string) string
		want   string
	}{
		{"domainname", func(s *specs.Spec) { s.Domainname = "example.org" }, "cat /proc/sys/kernel/domainname", nil, "example.org"},
		{"hostname", func(s *specs.Spec) { s.Hostname = "ship" }, "hostname", nil, "ship"},
		{"LINUX32", func(s *specs.Spec) { s.Linux.Personality = &specs.LinuxPersonality{Domain: specs.PerLinux32} }, "busybox uname -m", nil,
			map[string]string{"amd64": "i686", "arm64": "armv8l"}[runtime.GOARCH]},
		{"LINUX", func(s *specs.Spec) { s.Linux.Personality = &specs.LinuxPersonality{Domain: specs.PerLinux} }, "cat /proc/self/personality", nil, "00000000"},
		{"scheduler: batch", func(s *specs.Spec) { s.Process.Scheduler = &specs.Scheduler{Policy: specs.SchedBatch, Nice: 5} }, "cat /proc/self/stat", nice, "nice 5, priority 0, policy 3"},
		{"scheduler: other", func(s *specs.Spec) { s.Process.Scheduler = &specs.Scheduler{Policy: specs.SchedOther, Nice: -3} }, "cat /proc/self/stat", nice, "nice -3, priority 0, policy 0"},
		{"scheduler: idle", func(s *specs.Spec) { s.Process.Scheduler = &specs.Scheduler{Policy: specs.SchedIdle} }, "cat /proc/self/stat", nice, "nice 0, priority 0, policy 5"},
		{"ioPriority: best effort", func(s *specs.Spec) {
			s.Process.IOPriority = &specs.LinuxIOPriority{Class: specs.IOPRIO_CLASS_BE, Priority: 6}
		}, "busybox ionice", nil, "best-effort: prio 6"},
		{"ioPriority: idle", func(s *specs.Spec) {
			s.Process.IOPriority = &specs.LinuxIOPriority{Class: specs.IOPRIO_CLASS_IDLE}
		}, "busybox ionice", nil, "idle"},
		{"ioPriority: realtime", func(s *specs.Spec) {
			s.Process.IOPriority = &specs.LinuxIOPriority{Class: specs.IOPRIO_CLASS_RT, Priority: 3}
		}, "busybox ionice", nil, "realtime: prio 3"},
		{"memoryPolicy: bind", func(s *specs.Spec) {
			s.Linux.MemoryPolicy = &specs.LinuxMemoryPolicy{Mode: specs.MpolBind, Nodes: "0", Flags: []specs.MemoryPolicyFlagType{specs.MpolFStaticNodes}}
		}, "busybox head -n 1 /proc/self/numa_maps", second, "bind=static:0"},
		{"memoryPolicy: preferred", func(s *specs.Spec) {
			s.Linux.MemoryPolicy = &specs.LinuxMemoryPolicy{Mode: specs.MpolPreferred, Nodes: "0"}
		}, "busybox head -n 1 /proc/self/numa_maps", second, "prefer:0"},
		{"memoryPolicy: preferred many", func(s *specs.Spec) {
			s.Linux.MemoryPolicy = &specs.LinuxMemoryPolicy{Mode: specs.MpolPreferredMany, Nodes: "0"}
		}, "busybox head -n 1 /proc/self/numa_maps", second, "prefer (many):0"},
		{"memoryPolicy: interleave", func(s *specs.Spec) {
			s.Linux.MemoryPolicy = &specs.LinuxMemoryPolicy{Mode: specs.MpolInterleave, Nodes: "0"}
		}, "busybox head -n 1 /proc/self/numa_maps", second, "interleave:0"},
		{"memoryPolicy: weighted interleave", func(s *specs.Spec) {
			s.Linux.MemoryPolicy = &specs.LinuxMemoryPolicy{Mode: specs.MpolWeightedInterleave, Nodes: "0"}
		}, "busybox head -n 1 /proc/self/numa_maps", second, "weighted interleave:0"},
		{"memoryPolicy: local", func(s *specs.Spec) {
			s.Linux.MemoryPolicy = &specs.LinuxMemoryPolicy{Mode: specs.MpolLocal}
		}, "busybox head -n 1 /proc/self/numa_maps", second, "local"},
		{"memoryPolicy: default", func(s *specs.Spec) {
			s.Linux.MemoryPolicy = &specs.LinuxMemoryPolicy{Mode: specs.MpolDefault}
		}, "busybox head -n 1 /proc/self/numa_maps", second, "default"},
		{"timeOffsets", func(s *specs.Spec) {
			s.Linux.Namespaces = append(s.Linux.Namespaces, specs.LinuxNamespace{Type: specs.TimeNamespace})
			s.Linux.TimeOffsets = map[string]specs.LinuxTimeOffset{"boottime": {Secs: 400*86400 - now.Sec%86400}, "monotonic": {Secs: 7, Nanosecs: 8}}
		}, "cat /proc/uptime", uptime, fmt.Sprint(400+now.Sec/86400, " days")},
		{"oomScoreAdj", func(s *specs.Spec) { s.Process.OOMScoreAdj = new(321) }, "cat /proc/self/oom_score_adj", nil, "321"},
		{"umask", func(s *specs.Spec) { s.Process.User.Umask = new(uint32(0o027)) }, "sh -c umask", nil, "0027"},
		{"rlimits", func(s *specs.Spec) {
			s.Process.Rlimits = []specs.POSIXRlimit{{Type: "RLIMIT_NPROC", Soft: 77, Hard: 88}}
		}, "grep Max.proc /proc/self/limits", func(s string) string { return strings.Join(strings.Fields(s), " ") }, "Max processes 77 88 processes"},
		{"sysctl", func(s *specs.Spec) { s.Linux.Sysctl = map[string]string{"net.ipv4.ip_unprivileged_port_start": "17"} },
			"cat /proc/sys/net/ipv4/ip_unprivileged_port_start", nil, "17"},
	} {
		t.Run(c.name, func(t *testing.T) {
			h.t = t
			if c.see == nil {
				c.see = strings.TrimSpace
			}
			h.config(func(s *specs.Spec) { s.Version = "1.0.2"; c.change(s) }, strings.Fields(c.args)...)
			peers := []string{"runc", "crun"}
			if c.name == "domainname" || strings.Contains(c.name, ":") || strings.HasPrefix(c.name, "LINUX") || c.name == "timeOffsets" {
				peers = nil // newer than those of this Debian, which pass it over
			}
			if got := h.beside(c.see, peers...); got != c.want {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
		h.t = t
	}
	h.empty()
}

// second is the second word of a line of numa_maps, which may hold a blank in brackets.
func second(s string) string {
	_, s, _ = strings.Cut(s, " ")
	for _, end := range []string{" file=", " anon=", " mapped=", " active="} {
		s, _, _ = strings.Cut(s, end)
	}
	return strings.TrimSpace(s)
}

// What joins a container later has its personality, memory policy and clocks, and its own affinity and schedule.
func TestExecMembers(t *testing.T) {
	h := newHouse(t)
	h.config(func(s *specs.Spec) {
		s.Linux.Personality = &specs.LinuxPersonality{Domain: specs.PerLinux32}
		s.Linux.MemoryPolicy = &specs.LinuxMemoryPolicy{Mode: specs.MpolBind, Nodes: "0"}
		s.Linux.Namespaces = append(s.Linux.Namespaces, specs.LinuxNamespace{Type: specs.TimeNamespace})
		s.Linux.TimeOffsets = map[string]specs.LinuxTimeOffset{"boottime": {Secs: 1e9}}
		s.Process.ExecCPUAffinity = &specs.CPUAffinity{Initial: "0", Final: "1"}
		s.Process.Scheduler = &specs.Scheduler{Policy: specs.SchedBatch, Nice: 4, Flags: []specs.LinuxSchedulerFlag{specs.SchedFlagResetOnFork}}
	}, "sleep", "100")
	h.must("run", "-d", "c")
	defer h.must("delete", "-f", "c")
	if got := h.must("exec", "c", "grep", "Cpus_allowed_list", "/proc/1/status"); strings.TrimSpace(got) == "Cpus_allowed_list:\t1" {
		t.Error("execCPUAffinity counts for the first process")
	}
	for args, want := range map[string]string{
		"cat /proc/self/personality": "00000008", "grep Cpus_allowed_list /proc/self/status": "Cpus_allowed_list:\t1",
		"busybox head -n 1 /proc/self/numa_maps": " bind:0 ", "cat /proc/uptime": "10000", "cat /proc/self/stat": " 4 1 0 ",
	} {
		if got := h.must(append([]string{"exec", "c"}, strings.Fields(args)...)...); !strings.Contains(got, want) {
			t.Errorf("%s: %q, want %q", args, got, want)
		}
	}
	file := filepath.Join(t.TempDir(), "process.json")
	p := specs.Process{Args: []string{"grep", "Cpus_allowed_list", "/proc/self/status"}, Env: []string{"PATH=/bin"}, Cwd: "/",
		ExecCPUAffinity: &specs.CPUAffinity{Initial: "0"}}
	data, _ := json.Marshal(p)
	if err := os.WriteFile(file, data, 0o600); err != nil {
		t.Fatal(err)
	}
	if got := h.must("exec", "--process", file, "c"); strings.TrimSpace(got) != "Cpus_allowed_list:\t0" {
		t.Errorf("initial: %q", got)
	}
	p.ExecCPUAffinity.Initial = "0-"
	data, _ = json.Marshal(p)
	if err := os.WriteFile(file, data, 0o600); err != nil {
		t.Fatal(err)
	}
	h.fails("process.execCPUAffinity.initial", "exec", "--process", file, "c")
}

// A container shares the namespaces that its configuration names by path, and no other.
func TestNamespacePaths(t *testing.T) {
	one, h := newHouse(t), newHouse(t)
	one.config(func(s *specs.Spec) {
		s.Linux.Namespaces = append(s.Linux.Namespaces, specs.LinuxNamespace{Type: specs.TimeNamespace})
	}, "sleep", "100")
	one.must("run", "-d", "first")
	defer one.must("delete", "-f", "first")
	pid := one.stands("first").Pid
	files := map[specs.LinuxNamespaceType]string{"pid": "pid", "network": "net", "ipc": "ipc", "uts": "uts", "cgroup": "cgroup", "time": "time", "mount": "mnt"}
	h.group += "-second"
	const look = "cd /proc/self/ns && for n in pid net ipc uts cgroup time mnt; do readlink $n; done; ls / | grep -x bin"
	for kind, name := range files {
		h.config(func(s *specs.Spec) {
			s.Hostname = ""
			s.Linux.Namespaces = append(remove(s.Linux.Namespaces, func(n specs.LinuxNamespace) bool { return n.Type == kind }),
				specs.LinuxNamespace{Type: kind, Path: fmt.Sprintf("/proc/%d/ns/%s", pid, name)})
		}, "sh", "-c", look)
		r := h.try("run", "second")
		lines := strings.Split(r.out, "\n")
		if r.code != 0 || len(lines) != 9 || lines[7] != "bin" {
			t.Errorf("%s: exit %d: %s%s", kind, r.code, r.out, r.err)
			continue
		}
		for i, other := range []string{"pid", "net", "ipc", "uts", "cgroup", "time", "mnt"} {
			theirs, _ := os.Readlink(fmt.Sprintf("/proc/%d/ns/%s", pid, other))
			ours, _ := os.Readlink("/proc/self/ns/" + other)
			want := other == name
			if got := lines[i] == theirs; got != want && !(other == "time" && lines[i] == ours) {
				t.Errorf("joined by its %s: %s is %s, the first one's %s", name, other, lines[i], theirs)
			}
		}
		h.empty()
	}
}

// A user namespace that exists may be shared as well, and its ids serve a mount.
func TestUserNamespacePath(t *testing.T) {
	one, h := newHouse(t), newHouse(t)
	one.open()
	h.open()
	ids := []specs.LinuxIDMapping{{HostID: 70000, Size: 1000}}
	one.config(func(s *specs.Spec) {
		s.Linux.Namespaces = append(s.Linux.Namespaces, specs.LinuxNamespace{Type: specs.UserNamespace})
		s.Linux.UIDMappings, s.Linux.GIDMappings = ids, ids
	}, "sleep", "100")
	one.must("run", "-d", "first")
	defer one.must("delete", "-f", "first")
	space := fmt.Sprintf("/proc/%d/ns/user", one.stands("first").Pid)
	src := t.TempDir()
	if err := os.Chmod(src, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, d := range []string{"m", "n"} { // where its root may make none
		if err := os.Mkdir(filepath.Join(h.bundle, "rootfs", d), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	h.group += "-second"
	h.config(func(s *specs.Spec) {
		s.Linux.Namespaces = append(s.Linux.Namespaces, specs.LinuxNamespace{Type: specs.UserNamespace, Path: space})
		s.Mounts = append(s.Mounts, specs.Mount{Destination: "/m", Source: src, Options: []string{"bind", "idmap"}},
			specs.Mount{Destination: "/n", Source: src, Options: []string{"bind"}})
	}, "sh", "-c", "readlink /proc/self/ns/user; cat /proc/self/uid_map; busybox stat -c %u /m /n")
	theirs, _ := os.Readlink(space)
	if got, want := strings.Join(strings.Fields(h.must("run", "second")), " "), theirs+" 0 70000 1000 0 65534"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	h.empty()
}

// Without a mount namespace of its own a container has its root all the same, leaves no mount behind, and lets join.
func TestSharedMounts(t *testing.T) {
	h := newHouse(t)
	before := mountsNow(t)
	h.config(func(s *specs.Spec) {
		s.Linux.Namespaces, s.Hostname = nil, ""
		s.Mounts = append(s.Mounts, specs.Mount{Destination: "/m", Type: "tmpfs", Source: "tmpfs", Options: []string{"ro"}})
		s.Root.Readonly = true
		s.Linux.MaskedPaths = append(s.Linux.MaskedPaths, "/etc")
		s.Process.Capabilities.Bounding = append(s.Process.Capabilities.Bounding, "CAP_SYS_CHROOT")
		s.Process.Capabilities.Effective, s.Process.Capabilities.Permitted = s.Process.Capabilities.Bounding, s.Process.Capabilities.Bounding
		s.Hooks = &specs.Hooks{
			CreateContainer: []specs.Hook{{Path: "/bin/true"}}, StartContainer: []specs.Hook{{Path: "/bin/touch", Args: []string{"touch", "/dev/started"}}}}
	}, "sleep", "100")
	if err := os.WriteFile(filepath.Join(h.bundle, "rootfs/etc/secret"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if r := h.try("run", "-d", "c"); r.code != 0 {
		if strings.Contains(r.err, "Linux 6.15") {
			t.Skip(r.err)
		}
		t.Fatal(r.err)
	}
	pid := h.stands("c").Pid
	ours, _ := os.Readlink("/proc/self/ns/mnt")
	if theirs, _ := os.Readlink(fmt.Sprintf("/proc/%d/ns/mnt", pid)); theirs != ours {
		t.Errorf("its mount namespace is %s, ours %s", theirs, ours)
	}
	for _, c := range []struct {
		want string
		args []string
	}{
		{"bin\ndev\netc\nm\nproc\nsys\ntmp\n", []string{"ls", "/"}},
		{"", []string{"ls", "/etc"}}, {"/dev/started\n", []string{"ls", "/dev/started"}}, {"", []string{"cat", "/dev/null"}},
		{"no\n", []string{"sh", "-c", "touch /m/x || echo no"}}, {"no\n", []string{"sh", "-c", "touch /x || echo no"}},
		{"no\n", []string{"sh", "-c", "echo 1 > /proc/sys/vm/swappiness || echo no"}},
		// The way out of a chroot, for those who may call it.
		{"bin\ndev\netc\nm\nproc\nsys\ntmp\n", []string{"sh", "-c", "cd / && busybox chroot /tmp ../bin/busybox true; cd ../../../.. && ls"}},
	} {
		if r := h.try(append([]string{"exec", "c"}, c.args...)...); r.out != c.want {
			t.Errorf("%s: %q, want %q: %s", c.args, r.out, c.want, r.err)
		}
	}
	if now := mountsNow(t); now != before {
		t.Errorf("the machine's mounts have changed:\n%s", now)
	}
	h.must("delete", "-f", "c")
	for _, p := range []string{"rslave", "rshared", "unbindable"} {
		h.config(func(s *specs.Spec) { s.Linux.Namespaces, s.Hostname, s.Linux.RootfsPropagation = nil, "", p }, "ls", "/")
		if out := h.must("run", "c"); !strings.HasPrefix(out, "bin\n") {
			t.Errorf("%s: %s", p, out)
		}
	}
	if now := mountsNow(t); now != before {
		t.Errorf("the machine's mounts have changed:\n%s", now)
	}
	h.empty()
}
