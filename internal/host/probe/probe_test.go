package probe

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/moby/sys/mountinfo"
	"golang.org/x/sys/unix"

	"porthole/caps"
	"porthole/facts"
)

// child, in the environment, makes the test program print its facts and end: so they are gathered
// by another user, in other namespaces, behind other mounts.
const child = "PORTHOLE_PROBE_CHILD"

func TestMain(m *testing.M) {
	if os.Getenv(child) != "" {
		f, err := Deep()
		if err == nil {
			err = json.NewEncoder(os.Stdout).Encode(f)
		}
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	before := fds()
	code := m.Run()
	if after := fds(); code == 0 && after > before {
		fmt.Fprintf(os.Stderr, "%d file descriptors before, %d after\n", before, after)
		code = 1
	}
	if pid, err := unix.Wait4(-1, nil, unix.WNOHANG, nil); err != unix.ECHILD {
		fmt.Fprintf(os.Stderr, "a child is left: %d, %v\n", pid, err)
		code = 1
	}
	os.Exit(code)
}

// fds counts our file descriptors, but for the two of Go's own poller, which come with its first use.
func fds() int {
	entries, _ := os.ReadDir("/proc/self/fd")
	n := 0
	for _, e := range entries {
		to, _ := os.Readlink("/proc/self/fd/" + e.Name())
		if to != "anon_inode:[eventpoll]" && to != "anon_inode:[eventfd]" {
			n++
		}
	}
	return n
}

func here(t *testing.T) facts.Facts {
	t.Helper()
	f, err := Deep()
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// facts of a process that a command prepares: "exec $0" in the script is the test program.
func there(t *testing.T, attr *syscall.SysProcAttr, script string) facts.Facts {
	t.Helper()
	self, err := os.Open("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	defer self.Close()
	cmd := exec.Command("/bin/sh", "-c", script, "/proc/self/fd/3") // opens even where the way to the file does not
	cmd.ExtraFiles = []*os.File{self}
	cmd.Env = append(os.Environ(), child+"=1")
	cmd.SysProcAttr = attr
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s: %v: %s", script, err, stderr.String())
	}
	var f facts.Facts
	if err := json.Unmarshal(out, &f); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return f
}

func needRoot(t *testing.T) {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("needs root")
	}
}

var nobody = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 1000, Gid: 1000, Groups: []uint32{1000}}}

func output(t *testing.T, name string, args ...string) string {
	t.Helper()
	out, err := exec.Command(name, args...).Output()
	if err != nil {
		t.Skipf("%s: %v", name, err)
	}
	return strings.TrimSpace(string(out))
}

func TestKernelAsUnameHasIt(t *testing.T) {
	f := here(t)
	want, err := facts.ParseVersion(output(t, "uname", "-r"))
	if err != nil || f.Kernel != want {
		t.Errorf("kernel %v, uname says %v, %v", f.Kernel, want, err)
	}
	if got, want := f.Arch.String(), output(t, "uname", "-m"); got != want {
		t.Errorf("architecture %s, uname says %s", got, want)
	}
}

func TestCredentialsAsTheKernelSaysThemOneByOne(t *testing.T) {
	f := here(t)
	r, e, s := unix.Getresuid()
	if f.Caps.UID != r || f.Caps.EUID != e || f.Caps.SUID != s || f.UID != e || f.GID != unix.Getegid() {
		t.Errorf("ids %+v, getresuid says %d %d %d", f.Caps, r, e, s)
	}
	groups, err := unix.Getgroups()
	if err != nil || !slices.Equal(groups, f.Groups) && len(groups)+len(f.Groups) > 0 {
		t.Errorf("groups %v, getgroups says %v, %v", f.Groups, groups, err)
	}
	head := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	if err := unix.Capget(&head, &data[0]); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name   string
		got    caps.Set
		lo, hi uint32
	}{
		{"permitted", f.Caps.Permitted, data[0].Permitted, data[1].Permitted},
		{"effective", f.Caps.Effective, data[0].Effective, data[1].Effective},
		{"inheritable", f.Caps.Inheritable, data[0].Inheritable, data[1].Inheritable},
	} {
		if want := caps.Set(c.hi)<<32 | caps.Set(c.lo); c.got != want {
			t.Errorf("%s %v, capget says %v", c.name, c.got, want)
		}
	}
	for c := range caps.Cap(caps.Last + 1) {
		if n, err := unix.PrctlRetInt(unix.PR_CAPBSET_READ, uintptr(c), 0, 0, 0); err == nil && (n == 1) != f.Caps.Bounding.Has(c) {
			t.Errorf("bounding set: %v is %d", c, n)
		}
		if n, err := unix.PrctlRetInt(unix.PR_CAP_AMBIENT, unix.PR_CAP_AMBIENT_IS_SET, uintptr(c), 0, 0); err == nil && (n == 1) != f.Caps.Ambient.Has(c) {
			t.Errorf("ambient set: %v is %d", c, n)
		}
	}
	if nnp, err := unix.PrctlRetInt(unix.PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0); err != nil || (nnp == 1) != f.Caps.NoNewPrivs {
		t.Errorf("no_new_privs %v, prctl says %d, %v", f.Caps.NoNewPrivs, nnp, err)
	}
}

// capsh sets what Facts then must see, by way of execve.
func TestCapabilitiesAsCapshSetsThem(t *testing.T) {
	needRoot(t)
	if _, err := exec.LookPath("capsh"); err != nil {
		t.Skip("needs capsh")
	}
	f := there(t, nil, `exec capsh --drop=cap_net_raw,cap_sys_admin --secbits=0xc --inh=cap_chown --addamb=cap_chown --no-new-privs --user=daemon --shell=/bin/sh -- -c 'exec "$0"' "$0"`)
	most := caps.All.Remove(caps.CAP_NET_RAW, caps.CAP_SYS_ADMIN).Intersect(here(t).Caps.Bounding)
	want := caps.State{
		Inheritable: caps.Of(caps.CAP_CHOWN), Permitted: caps.Of(caps.CAP_CHOWN), Effective: caps.Of(caps.CAP_CHOWN), Ambient: caps.Of(caps.CAP_CHOWN),
		Bounding: most, UID: 1, EUID: 1, SUID: 1, FSUID: 1, NoNewPrivs: true, Securebits: 0xc,
	}
	if f.Caps != want || f.UID != 1 {
		t.Errorf("got  %+v\nwant %+v", f.Caps, want)
	}
}

func TestOrdinaryUser(t *testing.T) {
	needRoot(t)
	f := there(t, nobody, `exec "$0"`)
	if f.UID != 1000 || f.GID != 1000 || f.Caps.Effective != 0 || f.Caps.Permitted != 0 {
		t.Errorf("uid %d gid %d caps %+v", f.UID, f.GID, f.Caps)
	}
	if f.Features.BPF && f.Sysctl["kernel.unprivileged_bpf_disabled"] != "0" {
		t.Error("an ordinary user may load eBPF programs")
	}
	if f.Cgroup.Writable {
		t.Error("an ordinary user may make groups where nothing was delegated")
	}
	unshare := exec.Command("unshare", "--user", "true")
	unshare.SysProcAttr = nobody
	if err := unshare.Run(); (err == nil) != f.Features.UserNSCreate {
		t.Errorf("user namespaces %v, unshare says %v", f.Features.UserNSCreate, err)
	}
	if !f.Features.NewMountAPI || !f.Features.Openat2 || !f.Features.PidfdGetfd { // of 5.6, and the floor is 5.10
		t.Errorf("calls that all may try are not found: %+v", f.Features)
	}
	// What does not hang on privilege is the same for all.
	root := here(t)
	a, b := f.Features, root.Features
	for _, x := range []*facts.Features{&a, &b} {
		x.BPF, x.RawTracepoints, x.UserNSCreate, x.CgroupKill, x.Unsure = false, false, false, false, nil
	}
	if !reflect.DeepEqual(a, b) {
		t.Errorf("an ordinary user sees %+v\nroot %+v", a, b)
	}
	if !slices.Contains(f.Features.Unsure, "RawTracepoints") {
		t.Errorf("what could not be tried is not named: %v", f.Features.Unsure)
	}
}

// The first user namespace's map is taken as known; the kernel has it in a file.
func TestFirstUserNamespace(t *testing.T) {
	f := here(t)
	var r reader
	for path, got := range map[string][]facts.IDRange{"/proc/self/uid_map": f.UserNS.UIDs, "/proc/self/gid_map": f.UserNS.GIDs} {
		if want, err := r.idMap(path); err != nil || !slices.Equal(got, want) {
			t.Errorf("%s: %v, %v; want %v", path, got, err, want)
		}
	}
}

func TestUserNamespace(t *testing.T) {
	if !here(t).UserNS.Initial {
		t.Skip("needs the machine's first user namespace")
	}
	if err := exec.Command("unshare", "-Ur", "true").Run(); err != nil {
		t.Skipf("unshare: %v", err)
	}
	f := there(t, nil, `exec unshare -Ur "$0"`)
	want := []facts.IDRange{{Inside: 0, Outside: uint32(os.Getuid()), Size: 1}}
	if f.UserNS.Initial || !slices.Equal(f.UserNS.UIDs, want) || f.Caps.Effective == 0 {
		t.Errorf("user namespace %+v, caps %v", f.UserNS, f.Caps.Effective)
	}
}

// Whether /proc is covered is the kernel's to judge: it refuses a new procfs in a user namespace then.
func TestMasked(t *testing.T) {
	needRoot(t)
	control := exec.Command("/bin/sh", "-c", "mount --make-rprivate / && mount --bind /dev/null /proc/version && exec unshare -Urmpf mount -t proc proc /proc")
	control.SysProcAttr = &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWNS}
	if control.Run() == nil {
		t.Skip("a procfs out of our sight, such as an initramfs leaves, lets every user namespace mount its own")
	}
	for _, c := range []struct {
		name, before string
		want         []string
	}{
		{"whole", "", nil},
		{"a file", "mount --bind /dev/null /proc/version", []string{"/proc/version"}},
		{"a directory, twice", "mount -t tmpfs t /proc/acpi || mount -t tmpfs t /proc/tty; mount -t tmpfs t /proc/tty; mount -t tmpfs t /proc/tty", nil},
		{"made to be mounted on", "mount -t tmpfs t /proc/sys/fs/binfmt_misc", nil},
		{"read-only", "mount -o remount,bind,ro /proc", []string{"/proc"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			run := "mount --make-rprivate / && " + c.before
			if c.before == "" {
				run = "true"
			}
			attr := &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWNS}
			f := there(t, attr, run+` && exec "$0"`)
			if c.want != nil && !slices.Equal(f.Masked, c.want) {
				t.Errorf("masked %v, want %v", f.Masked, c.want)
			}
			try := exec.Command("/bin/sh", "-c", run+` && exec unshare -Urmpf mount -t proc proc /proc`)
			try.SysProcAttr = &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWNS}
			out, err := try.CombinedOutput()
			if (err == nil) != (len(f.Masked) == 0) {
				t.Errorf("masked %v, but mounting a procfs: %v %s", f.Masked, err, out)
			}
		})
	}
}

func TestCgroupsAsMountinfoHasThem(t *testing.T) {
	f := here(t)
	list, err := mountinfo.GetMounts(func(m *mountinfo.Info) (skip, stop bool) { return !strings.HasPrefix(m.FSType, "cgroup"), false })
	if err != nil {
		t.Fatal(err)
	}
	at := map[string]*mountinfo.Info{}
	for _, m := range list {
		at[m.Mountpoint] = m
	}
	lines, err := os.ReadFile("/proc/self/cgroup")
	if err != nil {
		t.Skip(err)
	}
	for i, h := range f.Cgroup.Hierarchies {
		m := at[h.Mount]
		if m == nil || (m.FSType == "cgroup2") != h.V2 {
			t.Errorf("%+v is not mounted so: %+v", h, m)
			continue
		}
		if h.V2 && i != len(f.Cgroup.Hierarchies)-1 {
			t.Errorf("v2 is not the last")
		}
		for _, c := range h.Controllers {
			if !h.V2 && !slices.Contains(strings.Split(m.VFSOptions, ","), c) {
				t.Errorf("%s has no controller %s: %s", h.Mount, c, m.VFSOptions)
			}
		}
		// Our own group is the one that has us.
		pids, err := os.ReadFile(filepath.Join(h.Mount, h.Own, "cgroup.procs"))
		if err != nil || !slices.Contains(strings.Fields(string(pids)), strconv.Itoa(os.Getpid())) {
			t.Errorf("%s: our own group %s does not have us: %v", h.Mount, h.Own, err)
		}
	}
	if len(list) > 0 && len(f.Cgroup.Hierarchies) == 0 {
		t.Errorf("no hierarchy, and in mountinfo %d; /proc/self/cgroup: %s", len(list), lines)
	}
}

func TestFeaturesAgainstOtherSigns(t *testing.T) {
	f := here(t)
	filesystems, err := os.ReadFile("/proc/filesystems")
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(filesystems), "\toverlay\n") && !f.Features.Overlay {
		t.Error("overlay is in /proc/filesystems and was not found")
	}
	// What a mainline release has, later ones have: a kernel that is new enough must pass the trials.
	for _, c := range []struct {
		name  string
		since facts.Version
		got   bool
	}{
		{"NewMountAPI", facts.Version{Major: 5, Minor: 2}, f.Features.NewMountAPI},
		{"Openat2", facts.Version{Major: 5, Minor: 6}, f.Features.Openat2},
		{"PidfdGetfd", facts.Version{Major: 5, Minor: 6}, f.Features.PidfdGetfd},
		{"CloneIntoCgroup", facts.Version{Major: 5, Minor: 7}, f.Features.CloneIntoCgroup},
		{"CloseRangeCloexec", facts.Version{Major: 5, Minor: 11}, f.Features.CloseRangeCloexec},
		{"MountSetattr", facts.Version{Major: 5, Minor: 12}, f.Features.MountSetattr},
	} {
		if f.Kernel.AtLeast(c.since) && !c.got && !slices.Contains(f.Features.Unsure, c.name) {
			t.Errorf("Linux %v has %s since %v, and it was not found", f.Kernel, c.name, c.since)
		}
	}
	if text, err := os.ReadFile("/proc/sys/kernel/seccomp/actions_avail"); err == nil && !slices.Equal(f.Features.SeccompActions, strings.Fields(string(text))) {
		t.Errorf("seccomp actions %v, the sysctl says %s", f.Features.SeccompActions, text)
	}
	if f.Features.CapCapable {
		vmlinux, err := os.ReadFile("/sys/kernel/btf/vmlinux")
		if err == nil && !bytes.Contains(vmlinux, []byte("\x00btf_trace_cap_capable\x00")) {
			t.Error("the tracepoint cap_capable was found, and the kernel's type information does not know it")
		}
	}
	if text, err := os.ReadFile("/sys/kernel/security/lsm"); err == nil {
		if want := strings.Split(strings.TrimSpace(string(text)), ","); !slices.Equal(f.LSMs, want) {
			t.Errorf("security modules %v, securityfs says %v", f.LSMs, want)
		}
	}
	if !slices.Contains(f.LSMs, "capability") {
		t.Errorf("security modules %v without capability", f.LSMs)
	}
	if _, err := os.Stat("/proc/sys/kernel/yama"); (err == nil) != (f.Yama >= 0) {
		t.Errorf("yama %d, its sysctl: %v", f.Yama, err)
	}
}

// Behind a filter that refuses the calls of the new mount API, Facts must not claim them.
func TestBehindAFilter(t *testing.T) {
	f := there(t, nil, `exec setpriv --no-new-privs "$0"`)
	if !f.Caps.NoNewPrivs {
		t.Error("no_new_privs is not seen")
	}
	r := reader{filtered: true}
	var features facts.Features
	// kexec_load without arguments: EPERM for an ordinary user, as a filter would say.
	if os.Getuid() != 0 && r.knows(&features, "NewMountAPI", unix.SYS_KEXEC_LOAD, 0, 0, 0, 0) {
		t.Error("EPERM behind a filter is taken for the kernel's word")
	}
	if r.knows(&features, "X", 1<<20) {
		t.Error("a call that does not exist is found")
	}
}

// Facts leaves out what it says it does, and what it has agrees with Deep.
func TestFactsIsAPartOfDeep(t *testing.T) {
	f, err := Facts()
	if err != nil {
		t.Fatal(err)
	}
	d := here(t)
	for _, x := range []*facts.Facts{&f, &d} {
		t := &x.Features
		t.BPF, t.BTF, t.CapCapable, t.RawTracepoints, t.CgroupKill, t.UserNSCreate, t.Unsure = false, false, false, false, false, false, nil
		x.Deep, x.Sysctl, x.SubUID, x.SubGID, x.NewUIDMap, x.NewGIDMap = false, nil, nil, nil, "", ""
	}
	if !reflect.DeepEqual(f, d) {
		t.Errorf("got  %+v\nwant %+v", f, d)
	}
}

func TestParseMountinfo(t *testing.T) {
	for _, c := range []struct {
		line string
		want mount
		ok   bool
	}{
		{"32 31 0:29 / /sys/fs/cgroup/cpu rw,relatime shared:4 - cgroup cgroup rw,cpu,cpuacct\n",
			mount{"/", "/sys/fs/cgroup/cpu", "rw,relatime", "cgroup", "rw,cpu,cpuacct"}, true},
		{`40 22 0:4 /k\040c\134 /proc/a\011b ro - proc - rw`, mount{`/k c\`, "/proc/a\tb", "ro", "proc", "rw"}, true},
		{"29 27 0:26 / /dev/pts rw - devpts devpts rw", mount{}, false},
		{"22 27 0:21 / /proc rw master:1 shared:2 unbindable - proc proc rw,hidepid=2", mount{"/", "/proc", "rw", "proc", "rw,hidepid=2"}, true},
		{"", mount{}, false}, {" - ", mount{}, false}, {"1 - cgroup", mount{}, false},
	} {
		got, ok := parse(c.line)
		if ok != c.ok || ok && got != c.want {
			t.Errorf("%q: %+v, %v; want %+v, %v", c.line, got, ok, c.want, c.ok)
		}
	}
}

func FuzzParseMountinfo(f *testing.F) {
	f.Add("32 31 0:29 / /sys/fs/cgroup/cpu rw,relatime shared:4 - cgroup cgroup rw,cpu,cpuacct\n")
	f.Add(`40 22 0:4 /k\040c\134 /proc/a\011b ro - proc - rw`)
	f.Fuzz(func(t *testing.T, line string) {
		m, ok := parse(line)
		if ok && (!strings.HasPrefix(m.point, "/") || !strings.HasPrefix(m.fstype, "cgroup") && !strings.HasPrefix(m.point, "/proc")) {
			t.Errorf("%q: %+v", line, m)
		}
		if len(m.point)+len(m.root) > len(line) {
			t.Errorf("%q: more out than in: %+v", line, m)
		}
	})
}

func TestWhereWeAre(t *testing.T) {
	for _, c := range []struct {
		name, mounts, own string
		want              facts.Cgroup
	}{
		{"hybrid, two controllers together, mounted twice",
			"1 1 0:1 / /elsewhere rw - cgroup cgroup rw,cpu,cpuacct\n2 1 0:1 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n" +
				"3 1 0:2 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,xattr,name=systemd\n4 1 0:3 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n",
			"4:cpu,cpuacct:/user.slice\n1:name=systemd:/user.slice/s:1\n0::/\n",
			facts.Cgroup{Mode: facts.CgroupHybrid, Hierarchies: []facts.Hierarchy{
				{Mount: "/sys/fs/cgroup/cpu,cpuacct", Controllers: []string{"cpu", "cpuacct"}, Own: "/user.slice"},
				{Mount: "/sys/fs/cgroup/systemd", Controllers: []string{"name=systemd"}, Own: "/user.slice/s:1"},
				{Mount: "/sys/fs/cgroup/unified", Controllers: []string{}, V2: true, Own: "/"}}}},
		{"inside a container without a cgroup namespace",
			"1 1 0:1 /docker/abc /nowhere/memory ro - cgroup cgroup rw,memory\n2 1 0:2 /docker/abc /nowhere/pids ro - cgroup cgroup rw,pids\n",
			"2:memory:/docker/abc/x\n3:pids:/docker/abcd\n5:cpu:/docker/abc\n",
			facts.Cgroup{Mode: facts.CgroupV1, Hierarchies: []facts.Hierarchy{
				{Mount: "/nowhere/memory", Controllers: []string{"memory"}, Own: "/x"},
				{Mount: "/nowhere/pids", Controllers: []string{"pids"}, Own: ""}}}},
		{"none", "", "0::/\n", facts.Cgroup{}},
	} {
		var mounts []mount
		for line := range strings.Lines(c.mounts) {
			m, ok := parse(line)
			if !ok {
				t.Fatalf("%s: %q", c.name, line)
			}
			mounts = append(mounts, m)
		}
		var r reader
		got := r.cgroup(mounts, c.own)
		got.Writable, got.SwapLimit = false, false // which ask this machine
		for i, h := range got.Hierarchies {
			if h.V2 {
				got.Hierarchies[i].Controllers = []string{}
			}
		}
		if !reflect.DeepEqual(got, c.want) {
			t.Errorf("%s:\ngot  %+v\nwant %+v", c.name, got, c.want)
		}
	}
}

func BenchmarkFacts(b *testing.B) {
	for b.Loop() {
		if _, err := Facts(); err != nil {
			b.Fatal(err)
		}
	}
}
