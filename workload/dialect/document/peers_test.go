package document

import (
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"porthole/caps"
	"porthole/workload"
)

// peer skips a test whose program is not installed.
func peer(t *testing.T, program string) {
	t.Helper()
	if _, err := exec.LookPath(program); err != nil {
		t.Skipf("%s is not installed", program)
	}
}

// docker-compose prints a file as it understood it: that says the same to us as the file. And what we write, it reads,
// but for members that are newer than it is.
func TestDockerCompose(t *testing.T) {
	peer(t, "docker-compose")
	dir := t.TempDir()
	config := func(text string) (string, error) {
		file := filepath.Join(dir, "compose.yaml")
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		cmd := exec.Command("docker-compose", "-f", file, "config")
		cmd.Env = append(os.Environ(), "HOME=/home/u", "DOCKER_HOST=unix:///nonexistent.sock")
		out, err := cmd.Output()
		if failed := (*exec.ExitError)(nil); err != nil {
			if e, ok := err.(*exec.ExitError); ok {
				failed = e
			}
			return "", fmt.Errorf("%w: %s", err, failed.Stderr)
		}
		return string(out), nil
	}
	at := caller
	at.Outside.Dir = dir
	same := func(text string) {
		t.Helper()
		theirs, err := config(text)
		if err != nil {
			t.Errorf("docker-compose refuses it: %v\n%s", err, text)
			return
		}
		want, _, err := compose().Read([]byte(text), at)
		if err != nil {
			t.Fatalf("%v\n%s", err, text)
		}
		got, losses, err := compose().Read([]byte(theirs), at)
		if err != nil {
			t.Fatalf("what docker-compose prints: %v\n%s", err, theirs)
		}
		for _, l := range losses {
			t.Errorf("of what docker-compose prints, reading lost %s", l)
		}
		for _, w := range []*workload.Workload{&want, &got} {
			for i := range w.Mounts {
				w.Mounts[i].Refer = ""
			}
		}
		if d := cmp.Diff(want, got, asSets); d != "" {
			t.Errorf("(-ours +docker-compose's):\n%s\n%s", d, theirs)
		}
	}
	same(`
x-c: &c {cap_drop: [ALL], environment: {A: "1", HOME: null, E: "${NONE:-d}$$x"}}
services:
  web:
    <<: *c
    image: nginx
    command: sh -c "echo 'a  b' c\ d"
    entrypoint: ["/e", "f"]
    cap_add: [SYS_PTRACE]
    security_opt: ["seccomp:unconfined", "no-new-privileges:true"]
    user: "1000:5"
    group_add: [audio]
    privileged: true
    read_only: true
    tty: true
    stdin_open: true
    init: true
    working_dir: /w
    hostname: box
    stop_signal: SIGQUIT
    stop_grace_period: 1m30s
    ipc: host
    pid: host
    userns_mode: host
    network_mode: host
    ulimits: {nofile: {soft: 5, hard: 6}, nproc: 7}
    sysctls: [net.core.somaxconn=1024]
    labels: [a=1, b]
    devices: ["/dev/kvm:/dev/kvm:rw"]
    tmpfs: [/run, "/t:size=1m"]
    mem_limit: 64m
    cpus: 1.5
    cpuset: 0-1
    pids_limit: 9
    oom_score_adj: 5
    shm_size: 1g
    volumes: ["./a:/a:ro", "/b:/b", {type: tmpfs, target: /m, tmpfs: {size: 1048576}}, {type: bind, source: /c, target: /c, bind: {propagation: rslave}}]
`)
	g := made{rand.New(rand.NewPCG(7, 8))}
	for range 4 {
		w := g.workload()
		w.Security.SeccompDoc, w.Security.Seccomp = nil, g.maybe("unconfined")
		w.Env, w.Labels = nil, nil // it sorts them, and joins those of one name
		w.Name = ""
		text, _, err := compose().Write(w, nobody)
		if err != nil {
			t.Fatal(err)
		}
		newer := false
		for _, word := range []string{"create_host_path", "recursive:", "selinux:", "mode:", "device_cgroup_rules", "uts:", "cgroup:", "annotations:"} {
			newer = newer || strings.Contains(string(text), word)
		}
		if newer {
			w.Mounts, w.Devices, w.NS.UTS, w.NS.Cgroup = nil, nil, "", ""
			if text, _, err = compose().Write(w, nobody); err != nil {
				t.Fatal(err)
			}
		}
		same(string(text))
	}
}

// systemd knows every setting that we write, but for those that are newer than it is, and understands their values.
func TestSystemdVerify(t *testing.T) {
	peer(t, "systemd-analyze")
	dir := t.TempDir()
	g := made{rand.New(rand.NewPCG(9, 10))}
	checked, number := 0, regexp.MustCompile(`\.service:(\d+): `)
	for i := range 25 {
		w := g.workload()
		w.Image, w.Entrypoint, w.User, w.Groups = "host", nil, g.maybe("0:0"), nil
		w.Args = []string{"/bin/true", g.word(), g.word()}
		text, _, err := systemd().Write(w, nobody)
		if err != nil {
			t.Fatal(err)
		}
		file := filepath.Join(dir, fmt.Sprintf("w%d.service", i))
		if err := os.WriteFile(file, text, 0o644); err != nil {
			t.Fatal(err)
		}
		out, _ := exec.Command("systemd-analyze", "verify", "--man=no", "--generators=no", file).CombinedOutput()
		for line := range strings.Lines(string(out)) {
			if !strings.Contains(line, file) {
				continue // of other units on this machine
			}
			// What is newer than the systemd here is not known to it: these settings or their values, and system calls.
			newer := strings.Contains(line, "Failed to parse system call, ignoring")
			for _, word := range []string{"PrivatePIDs=yes", "ProtectHostname=private:", "PrivateUsers=identity", "ProtectControlGroups=private"} {
				if n := number.FindStringSubmatch(line); n != nil {
					at, err := strconv.Atoi(n[1])
					newer = newer || err == nil && strings.HasPrefix(strings.Split(string(text), "\n")[at-1], word)
				}
			}
			if !newer {
				t.Errorf("%s%s", line, text)
			}
		}
		checked++
	}
	if checked < 20 {
		t.Errorf("only %d units", checked)
	}
}

// bwrap runs what we write for it.
func TestBwrap(t *testing.T) {
	peer(t, "bwrap")
	for _, w := range []workload.Workload{
		{Image: "host", Args: []string{"sh", "-c", `echo "$A $(hostname) $(id -u)"; grep CapBnd /proc/self/status; pwd`}, Env: []workload.EnvVar{{Name: "A", Value: ptr("it's $A")}, {Name: "PATH", Value: ptr("/usr/bin:/bin")}},
			Hostname: "box", Dir: "/tmp", User: "1000:5", NS: workload.Namespaces{Network: "none", User: "private"}, Mounts: []workload.Mount{{Type: workload.Tmpfs, Target: "/tmp", Size: 1 << 20}},
			Security: workload.Security{CapDrop: []string{"ALL"}, CapAdd: []string{"CHOWN"}}, Root: workload.Root{ReadOnly: true}},
	} {
		text, _, err := bubblewrap().Write(w, nobody)
		if err != nil {
			t.Fatal(err)
		}
		out, err := exec.Command("sh", "-c", string(text)).CombinedOutput()
		if want := "it's $A box 1000\nCapBnd:\t0000000000000001\n/tmp\n"; err != nil || string(out) != want {
			t.Errorf("%v: %s\nwant %s\n%s", err, out, want, text)
		}
	}
}

// What podman generates of a container says the same to us as the line that made it, and a pod that we wrote it plays:
// the container that it makes has what the workload asked for. Nothing is started.
func TestPodman(t *testing.T) {
	peer(t, "podman")
	if os.Geteuid() != 0 {
		t.Skip("needs root: an ordinary user's podman wants a session")
	}
	dir := t.TempDir()
	podman := func(args ...string) string {
		t.Helper()
		cmd := exec.Command("podman", append([]string{"--root", dir + "/root", "--runroot", dir + "/run", "--storage-driver", "vfs", "--cgroup-manager", "cgroupfs"}, args...)...)
		var failed strings.Builder
		cmd.Stderr = &failed
		out, err := cmd.Output()
		if err != nil {
			t.Fatalf("podman %s: %v: %s", args[0], err, failed.String())
		}
		return string(out)
	}
	if err := os.WriteFile(dir+"/true", []byte("#!/bin/sh\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	tar, err := exec.Command("tar", "-C", dir, "-c", "true").Output()
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(dir+"/box.tar", tar, 0o600); err != nil {
		t.Fatal(err)
	}
	podman("import", "-q", dir+"/box.tar", "localhost/box:1")
	// Cleaned up by podman itself, since its storage may hold mounts.
	t.Cleanup(func() { podman("rm", "-a", "-f"); podman("rmi", "-a", "-f") })

	line := []string{"--name", "web", "--cap-add", "SYS_PTRACE", "--cap-drop", "KILL", "--user", "1000:5", "-e", "A=b c", "-w", "/tmp", "--memory", "64m", "--tty",
		"--security-opt", "no-new-privileges", "-v", "/srv:/data:ro", "--entrypoint", `["sh","-x"]`, "localhost/box:1", "-c", "true"}
	podman(append([]string{"create"}, line...)...)
	made := podman("kube", "generate", "web")
	podman("rm", "web")
	w, _, err := kube().Read([]byte(made), caller)
	if err != nil {
		t.Fatalf("%v\n%s", err, made)
	}
	got := fmt.Sprint(w.User, w.Args, w.Entrypoint, w.Dir, w.TTY, w.Limits.Memory, *w.Security.NoNewPrivs, w.Mounts[0].Source, w.Mounts[0].Target, w.Mounts[0].ReadOnly, *w.Env[0].Value)
	if want := fmt.Sprint("1000:5", []string{"-c", "true"}, []string{"sh", "-x"}, "/tmp", true, 64<<20, true, "/srv", "/data", true, "b c"); got != want {
		t.Errorf("of what podman generates, we read\n%s, want\n%s\n%s", got, want, made)
	}
	if set := capSet(w); !set.Has(caps.CAP_SYS_PTRACE) || set.Has(caps.CAP_KILL) {
		t.Errorf("capabilities: %s\n%s", set, made)
	}

	if _, err := os.Stat("/usr/libexec/podman/catatonit"); err != nil {
		t.Skip("podman plays no pods without catatonit")
	}
	text, _, err := kube().Write(workload.Workload{Name: "pod", Image: "localhost/box:1", Entrypoint: []string{"sh"}, Args: []string{"-c", "$HOME x"}, Dir: "/tmp", User: "1000:5",
		Env: []workload.EnvVar{{Name: "A", Value: ptr("b $c")}}, Root: workload.Root{ReadOnly: true}, Mounts: []workload.Mount{{Type: workload.Bind, Source: dir, Target: "/data", ReadOnly: true}},
		Security: workload.Security{CapAdd: []string{"SYS_PTRACE"}, CapDrop: []string{"KILL"}, NoNewPrivs: ptr(true), Seccomp: "unconfined"}, Limits: workload.Limits{Memory: 64 << 20}}, nobody)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(dir+"/pod.yaml", text, 0o600); err != nil {
		t.Fatal(err)
	}
	podman("play", "kube", "--start=false", dir+"/pod.yaml")
	format := `{{.Config.User}}|{{.Config.WorkingDir}}|{{.Config.Env}}|{{.HostConfig.ReadonlyRootfs}}|{{.HostConfig.Memory}}|{{.HostConfig.CapAdd}}|{{.HostConfig.CapDrop}}|{{.HostConfig.SecurityOpt}}|{{.Config.Entrypoint}}|{{.Config.Cmd}}`
	have := podman("inspect", "--type", "container", "--format", format, "pod-pod")
	for _, want := range []string{"1000:5|/tmp|", "A=b $c", "|true|67108864|", "CAP_SYS_PTRACE", "CAP_KILL", "no-new-privileges", "|sh|", "[-c $HOME x]"} {
		if !strings.Contains(have, want) {
			t.Errorf("podman made of it %s; want %s in it\n%s", have, want, text)
		}
	}
}
