package lab

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"porthole/caps"
	"porthole/facts"
	"porthole/internal/host/probe"
	"porthole/why"
)

// foreign are engines of the test's own, everything of them in one directory.
type foreign struct {
	t    *testing.T
	dir  string
	root string // a root filesystem with busybox in it
}

func newForeign(t *testing.T, programs ...string) *foreign {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("needs root")
	}
	for _, p := range append(programs, "/bin/busybox", "/usr/sbin/runc") {
		if _, err := os.Stat(p); err != nil {
			t.Skipf("needs Debian's %s", p)
		}
	}
	groups := leftGroups()
	f := &foreign{t: t, dir: t.TempDir()}
	t.Cleanup(func() {
		for _, g := range leftGroups() {
			if slices.Contains(groups, g) {
				continue
			}
			var dirs []string
			filepath.WalkDir(g, func(path string, d os.DirEntry, err error) error {
				if err == nil && d.IsDir() {
					dirs = append(dirs, path)
				}
				return nil
			})
			for _, d := range slices.Backward(dirs) {
				os.Remove(d)
			}
		}
	})
	f.root = filepath.Join(f.dir, "rootfs")
	for _, d := range []string{"bin", "etc", "proc", "sys", "dev", "tmp"} {
		if err := os.MkdirAll(filepath.Join(f.root, d), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	f.must("cp", "/bin/busybox", f.root+"/bin/busybox")
	for _, d := range []string{f.dir, filepath.Dir(f.dir)} {
		os.Chmod(d, 0o755)
	}
	return f
}

// leftGroups are the control groups that engines leave, once they made one container.
func leftGroups() (all []string) {
	for _, name := range []string{"docker", "libpod_parent", "default"} {
		for _, pattern := range []string{"/sys/fs/cgroup/*/", "/sys/fs/cgroup/"} {
			found, _ := filepath.Glob(pattern + name)
			all = append(all, found...)
		}
	}
	return all
}

func (f *foreign) must(argv ...string) string {
	f.t.Helper()
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Env = append(os.Environ(), "TMPDIR="+f.dir)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil {
		f.t.Fatalf("%s: %v\n%s", strings.Join(argv, " "), err, &errs)
	}
	return strings.TrimSpace(out.String())
}

// daemon starts one in a mount namespace of its own, and ends it with the test.
func (f *foreign) daemon(ready func() bool, argv ...string) {
	f.t.Helper()
	var log bytes.Buffer
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Stdout, cmd.Stderr = &log, &log
	cmd.SysProcAttr = &unix.SysProcAttr{Unshareflags: unix.CLONE_NEWNS, Setsid: true}
	if err := cmd.Start(); err != nil {
		f.t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() { cmd.Wait(); close(ended) }()
	f.t.Cleanup(func() {
		cmd.Process.Signal(unix.SIGTERM)
		select {
		case <-ended:
		case <-time.After(30 * time.Second):
			cmd.Process.Kill()
			f.t.Errorf("%s does not end", argv[0])
		}
	})
	for end := time.Now().Add(60 * time.Second); !ready(); time.Sleep(50 * time.Millisecond) {
		select {
		case <-ended:
			f.t.Fatalf("%s: ended\n%s", argv[0], &log)
		default:
		}
		if time.Now().After(end) {
			f.t.Fatalf("%s is not ready after a minute\n%s", argv[0], &log)
		}
	}
}

// check holds what is said of a container, found by each of its names, against what its engine says.
func (f *foreign) check(owner, id string, pid int, bounding caps.Set, refs ...string) *Live {
	f.t.Helper()
	known, err := probe.Deep()
	if err != nil {
		f.t.Fatal(err)
	}
	for _, ref := range refs {
		if got, err := Find(ref); err != nil || got != pid {
			f.t.Errorf("%s is found as process %d, %v; want %d", ref, got, err, pid)
		}
	}
	l, err := Look(pid, known, "")
	if err != nil {
		f.t.Fatal(err)
	}
	if l.Owner != owner || l.ID != id {
		f.t.Errorf("it is said to be %s's %s, and is %s's %s", l.Owner, l.ID, owner, id)
	}
	if got := l.Process.Caps.Bounding; got != bounding {
		f.t.Errorf("bounding set %v, want %v", got, bounding)
	}
	return l
}

// verdict is what would become of a call in l.
func verdict(t *testing.T, l *Live, call string) why.Static {
	t.Helper()
	c, err := why.ParseCall(call)
	if err != nil {
		t.Fatal(err)
	}
	a, err := why.Ask(call, l.Scene(c))
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func names(t *testing.T, list []string) (s caps.Set) {
	t.Helper()
	for _, n := range list {
		c, err := caps.Parse(n)
		if err != nil {
			t.Fatal(err)
		}
		s = s.Add(c)
	}
	return s
}

func TestDockersContainer(t *testing.T) {
	f := newForeign(t, "/usr/sbin/dockerd", "/usr/bin/docker", "/usr/bin/containerd")
	sock := "unix://" + f.dir + "/sock"
	docker := func(args ...string) string { return f.must(append([]string{"docker", "--host", sock}, args...)...) }
	f.daemon(func() bool { return exec.Command("docker", "--host", sock, "version").Run() == nil },
		"/usr/sbin/dockerd", "--data-root", f.dir+"/data", "--exec-root", f.dir+"/exec", "--pidfile", f.dir+"/pid", "--host", sock,
		"--storage-driver", "overlay2", "--oom-score-adjust", "0", "--bridge", "none", "--iptables=false", "--ip6tables=false")
	f.must("sh", "-c", "tar -C "+f.root+" -c . | docker --host "+sock+" import - why")
	t.Cleanup(func() { docker("rm", "-f", "porthole-why") })
	id := docker("run", "-d", "--name", "porthole-why", "--user", "1000", "--read-only", "--security-opt", "no-new-privileges",
		"--cap-drop", "ALL", "--cap-add", "SYS_PTRACE", "--cap-add", "CHOWN", "--device", "/dev/fuse", "why", "/bin/busybox", "sleep", "1000")
	var said []struct {
		State      struct{ Pid int }
		HostConfig struct {
			CapAdd                     []string
			ReadonlyRootfs             bool
			MaskedPaths, ReadonlyPaths []string
		}
	}
	if err := json.Unmarshal([]byte(docker("inspect", "porthole-why")), &said); err != nil {
		t.Fatal(err)
	}
	c := said[0]
	l := f.check("docker", id, c.State.Pid, names(t, c.HostConfig.CapAdd), "porthole-why", id, id[:12])
	if p := l.Process; !p.Caps.NoNewPrivs || p.Caps.EUID != 1000 || p.Caps.Effective != 0 || l.RootRO != c.HostConfig.ReadonlyRootfs || len(l.Filters) != 1 {
		t.Errorf("no_new_privs %v, uid %d, %v effective, root read-only %v, %d filters", p.Caps.NoNewPrivs, p.Caps.EUID, p.Caps.Effective, l.RootRO, len(l.Filters))
	}
	for what, pair := range map[string][2][]string{"masked": {c.HostConfig.MaskedPaths, l.Masked}, "read-only": {c.HostConfig.ReadonlyPaths, l.ReadOnly}} {
		for _, p := range pair[0] {
			if _, err := os.Stat(p); err == nil && !slices.Contains(pair[1], p) {
				t.Errorf("%s is %s, and not said to be: %v", p, what, pair[1])
			}
		}
	}
	if !slices.ContainsFunc(l.Devices, func(d specs.LinuxDeviceCgroup) bool {
		return d.Allow && d.Major != nil && *d.Major == 10 && d.Minor != nil && *d.Minor == 229
	}) {
		t.Errorf("device rules %v: no /dev/fuse", l.Devices)
	}
	// Debian's Docker is 20.10.24; what its own documents say of these calls is recorded for that release.
	for call, want := range map[string]string{
		"mount(_, _, _, 0, 0)": "refused seccomp", "keyctl(1, 0)": "refused seccomp", "personality(0x40000)": "refused seccomp",
		"chown(\"/bin\", 1, 1)": "refused mount", "getpid": "allowed",
	} {
		a := verdict(t, l, call)
		got := a.Verdict.String()
		if a.Verdict == why.Refused {
			got += " " + a.Layers[0].Layer.String()
		}
		if got != want {
			t.Errorf("%s: %s, want %s", call, got, want)
		}
	}
	docker("stop", "-t", "0", "porthole-why")
	if pid, err := Find("porthole-why"); err == nil {
		t.Errorf("a container that does not run any more is found as process %d", pid)
	}
}

func TestPodmansContainer(t *testing.T) {
	f := newForeign(t, "/usr/bin/podman", "/usr/bin/conmon")
	os.WriteFile(f.dir+"/containers.conf", fmt.Appendf(nil, "[containers]\ndefault_ulimits = [\"nofile=1024:1024\",\"nproc=1024:1024\"]\n"), 0o644)
	t.Setenv("CONTAINERS_CONF", f.dir+"/containers.conf")
	podman := func(args ...string) string {
		return f.must(append([]string{"podman", "--root", f.dir + "/storage", "--runroot", f.dir + "/run", "--tmpdir", f.dir + "/tmp", "--runtime", "/usr/sbin/runc",
			"--cgroup-manager=cgroupfs", "--events-backend=file", "--storage-driver=vfs"}, args...)...)
	}
	t.Cleanup(func() { podman("rm", "-f", "-t", "0", "porthole-why") })
	id := podman("run", "-d", "--name", "porthole-why", "--network", "none", "--cap-add", "NET_ADMIN", "--rootfs", f.root, "/bin/busybox", "sleep", "1000")
	var said []struct {
		State         struct{ Pid int }
		BoundingCaps  []string
		EffectiveCaps []string
	}
	if err := json.Unmarshal([]byte(podman("inspect", "porthole-why")), &said); err != nil {
		t.Fatal(err)
	}
	l := f.check("podman", id, said[0].State.Pid, names(t, said[0].BoundingCaps), "porthole-why", id[:12])
	if l.Process.Caps.Effective != names(t, said[0].EffectiveCaps) || len(l.Filters) != 1 {
		t.Errorf("effective %v, %d filters", l.Process.Caps.Effective, len(l.Filters))
	}
	// Podman's profile lets mount through, for the user namespaces of its rootless containers; the kernel does not.
	for call, layer := range map[string]why.Layer{"mount(_, _, _, 0, 0)": why.Capability, "bpf(BPF_MAP_CREATE)": why.Seccomp} {
		if a := verdict(t, l, call); a.Verdict != why.Refused || a.Layers[0].Layer != layer {
			t.Errorf("%s: %s", call, a.Text("en"))
		}
	}
}

func TestContainerdsContainer(t *testing.T) {
	f := newForeign(t, "/usr/bin/containerd", "/usr/bin/ctr")
	sock := f.dir + "/c.sock"
	config := fmt.Sprintf("version = 2\nroot = %q\nstate = %q\noom_score = 0\ndisabled_plugins = [\"io.containerd.grpc.v1.cri\"]\n[grpc]\n  address = %q\n", f.dir+"/root", f.dir+"/state", sock)
	if err := os.WriteFile(f.dir+"/config.toml", []byte(config), 0o644); err != nil {
		t.Fatal(err)
	}
	ctr := func(args ...string) string { return f.must(append([]string{"ctr", "-a", sock}, args...)...) }
	f.daemon(func() bool { return exec.Command("ctr", "-a", sock, "version").Run() == nil }, "/usr/bin/containerd", "--config", f.dir+"/config.toml")
	for _, c := range []struct {
		namespace, owner, id string
		more, refs           []string
	}{
		{"default", "containerd", "porthole-why", nil, []string{"porthole-why"}},
		// Kubernetes' containers are told by the annotations that containerd's CRI gives them.
		{"k8s.io", "kubernetes", strings.Repeat("4ab7", 16), []string{"--annotation", "io.kubernetes.cri.container-type=container",
			"--annotation", "io.kubernetes.cri.sandbox-name=web-0", "--annotation", "io.kubernetes.cri.container-name=porthole-app"},
			[]string{"porthole-app", "web-0/porthole-app", "4ab74ab7"}},
	} {
		ns := func(args ...string) string { return ctr(append([]string{"-n", c.namespace}, args...)...) }
		t.Cleanup(func() {
			ns("task", "kill", "-s", "9", c.id)
			time.Sleep(300 * time.Millisecond)
			exec.Command("ctr", "-a", sock, "-n", c.namespace, "task", "rm", "-f", c.id).Run()
			ns("container", "rm", c.id)
		})
		args := append([]string{"run", "-d", "--seccomp", "--rootfs"}, c.more...)
		ns(append(args, f.root, c.id, "/bin/busybox", "sleep", "1000")...)
		pid := 0
		for line := range strings.Lines(ns("task", "ls")) {
			if w := strings.Fields(line); w[0] == c.id {
				pid, _ = strconv.Atoi(w[1])
			}
		}
		var spec struct {
			Spec struct {
				Process struct{ Capabilities struct{ Bounding []string } }
			}
		}
		if err := json.Unmarshal([]byte(ns("container", "info", c.id)), &spec); err != nil {
			t.Fatal(err)
		}
		l := f.check(c.owner, c.id, pid, names(t, spec.Spec.Process.Capabilities.Bounding), c.refs...)
		if a := verdict(t, l, "mount(_, _, _, 0, 0)"); a.Verdict != why.Refused || a.Layers[0].Layer != why.Seccomp || len(l.Filters) != 1 {
			t.Errorf("mount: %s", a.Text("en"))
		}
	}
}

// A process that is gone, and a name that nobody has, are said to be.
func TestNobodysContainer(t *testing.T) {
	if _, err := Find("no-such-container"); err == nil || !strings.Contains(err.Error(), "no container of that name or ID runs") {
		t.Error(err)
	}
	cmd := exec.Command("true")
	if err := cmd.Run(); err != nil {
		t.Fatal(err)
	}
	if _, err := Look(cmd.Process.Pid, facts.Facts{}, ""); err == nil || !strings.Contains(err.Error(), "no such process") {
		t.Error(err)
	}
}
