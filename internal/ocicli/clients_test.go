//go:build clients

package ocicli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"
)

// The clients that people have, started here and driven with one script each: once with porthole-oci
// as their runtime, and once with crun or runc. Exit codes and outputs are to be the same.

// line is one command of a script, run by a shell. In it $R is the option that names the runtime, $V a
// directory, and $C the client.
type line struct {
	command string
	loose   bool // the output is the runtime's own words, or the machine's of the moment: only the exit code counts
}

// client is a program to drive.
type client struct {
	t    *testing.T
	dir  string // everything of its own; short, for sockets lie beneath it
	call string // the command line that all begin with
	env  []string
}

// newClient makes room for a client, with an image of busybox at img.tar.
func newClient(t *testing.T, programs ...string) *client {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root")
	}
	for _, p := range append(programs, "busybox", "crun", "runc", "script", "unshare") {
		if _, err := exec.LookPath(p); err != nil {
			t.Fatalf("%v: make setup installs it", err)
		}
	}
	dir, err := os.MkdirTemp("/tmp", "po-")
	if err != nil {
		t.Fatal(err)
	}
	c := &client{t: t, dir: dir}
	t.Cleanup(func() {
		c.shell("awk -v d=" + dir + " 'index($2, d) == 1 {print $2}' /proc/mounts | tac | xargs -r -n1 umount -l")
		os.RemoveAll(dir)
	})
	c.must("mkdir -p img/bin img/etc img/proc img/sys img/dev img/tmp img/root vol &&" +
		" cp /bin/busybox img/bin/ && for a in $(busybox --list); do ln -sf busybox img/bin/$a; done && rm -f img/bin/busybox && cp /bin/busybox img/bin/ &&" +
		" echo root:x:0:0:root:/root:/bin/sh > img/etc/passwd && echo root:x:0: > img/etc/group && echo kept > vol/file && tar -C img -cf img.tar .")
	// An engine wants a file, not a link into our own /proc.
	c.must("cp /proc/" + fmt.Sprint(os.Getpid()) + "/exe porthole-test && printf '#!/bin/sh\\nexport " + asked + "=1\\nexec " + dir + "/porthole-test \"$@\"\\n' > porthole-oci && chmod +x porthole-oci")
	return c
}

// shell runs a command and returns its exit code and all that it wrote.
func (c *client) shell(command string) (int, string) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "sh", "-c", command)
	cmd.Dir, cmd.Env, cmd.WaitDelay = c.dir, append(os.Environ(), c.env...), time.Second
	out, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) && !errors.Is(err, exec.ErrWaitDelay) {
		c.t.Errorf("%s: %v", command, err)
	}
	if ctx.Err() != nil {
		c.t.Errorf("%s: has not ended: %s", command, out)
	}
	return cmd.ProcessState.ExitCode(), string(out)
}

func (c *client) must(command string) string {
	c.t.Helper()
	code, out := c.shell(command)
	if code != 0 {
		c.t.Fatalf("%s: exit %d: %s", command, code, out)
	}
	return out
}

// daemon starts a program with no unified control groups to see (crun refuses the hybrid layout), and waits
// until ready succeeds.
func (c *client) daemon(ready, program string, args ...string) {
	c.t.Helper()
	log, err := os.Create(filepath.Join(c.dir, "log"))
	if err != nil {
		c.t.Fatal(err)
	}
	defer log.Close()
	const hide = `grep -q ' /sys/fs/cgroup/unified ' /proc/mounts && umount -l /sys/fs/cgroup/unified; exec "$@"`
	cmd := exec.Command("unshare", append([]string{"-m", "--propagation", "private", "sh", "-c", hide, "-", program}, args...)...)
	cmd.Stdout, cmd.Stderr, cmd.SysProcAttr = log, log, &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		c.t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() { cmd.Wait(); close(ended) }()
	c.t.Cleanup(func() {
		cmd.Process.Signal(syscall.SIGTERM)
		select {
		case <-ended:
		case <-time.After(15 * time.Second):
			cmd.Process.Kill()
			<-ended
		}
		if c.t.Failed() {
			text, _ := os.ReadFile(log.Name())
			c.t.Logf("%s: %s", program, text[max(0, len(text)-2000):])
		}
	})
	for range 100 {
		if code, _ := c.shell(ready); code == 0 {
			return
		}
		time.Sleep(100 * time.Millisecond)
	}
	c.t.Fatalf("%s does not answer", program)
}

var (
	hashes = regexp.MustCompile(`[0-9a-f]{64}|[0-9a-f]{12}`)
	noise  = strings.NewReplacer("^@", "", "\r", "", "^D\b\b", "", "\b", "", "\x00", "")
)

// compare runs a script with both runtimes.
func (c *client) compare(other string, ours, theirs string, script []line) {
	c.t.Helper()
	same := 0
	type said struct {
		code int
		out  string
	}
	run := func(runtime string) (list []said) {
		for _, l := range script {
			command := strings.NewReplacer("$R", runtime, "$C", c.call, "$V", filepath.Join(c.dir, "vol")).Replace(l.command)
			code, out := c.shell(command)
			list = append(list, said{code, hashes.ReplaceAllString(noise.Replace(out), "#")})
		}
		return list
	}
	a, b := run(theirs), run(ours)
	for i, l := range script {
		switch {
		case a[i].code != b[i].code:
			c.t.Errorf("%s\n  %s: exit %d: %s\n  porthole: exit %d: %s", l.command, other, a[i].code, a[i].out, b[i].code, b[i].out)
		case !l.loose && a[i].out != b[i].out:
			c.t.Errorf("%s\n  %s: %s\n  porthole: %s", l.command, other, a[i].out, b[i].out)
		default:
			same++
		}
	}
	c.t.Logf("%d of %d lines as with %s", same, len(script), other)
}

func same(commands ...string) (list []line) {
	for _, s := range commands {
		list = append(list, line{command: s})
	}
	return list
}

func loose(commands ...string) (list []line) {
	for _, s := range commands {
		list = append(list, line{s, true})
	}
	return list
}

func script(parts ...[]line) (list []line) {
	for _, p := range parts {
		list = append(list, p...)
	}
	return list
}

func TestDocker(t *testing.T) {
	c := newClient(t, "docker", "dockerd")
	sock := c.dir + "/d.sock"
	c.env = []string{"DOCKER_HOST=unix://" + sock}
	c.call = "docker"
	c.daemon("docker version", "dockerd", "--data-root", c.dir+"/data", "--exec-root", c.dir+"/exec", "--pidfile", c.dir+"/pid", "-H", "unix://"+sock,
		"--storage-driver", "overlay2", "--oom-score-adjust=0", "--bridge=none", "--iptables=false", "--ip6tables=false",
		"--add-runtime", "x=/usr/bin/crun", "--add-runtime", "porthole="+c.dir+"/porthole-oci")
	c.must("docker import img.tar bb")
	c.compare("crun", "--runtime porthole", "--runtime x", script(
		same(
			"$C run --rm $R bb id",
			"$C run --rm $R bb sh -c 'exit 7'",
			"$C run --rm $R bb sh -c 'kill -9 $$'",
			"$C run --rm $R --init bb ps",
			"$C run --rm $R -v $V:/v:ro bb sh -c 'cat /v/file; touch /v/x 2>/dev/null || echo read-only'",
			"$C run --rm $R -v named:/v bb sh -c 'echo x > /v/a; cat /v/a'",
			"$C run --rm $R --read-only --tmpfs /t bb sh -c 'touch /x; touch /t/x && echo ok'",
			"$C run --rm $R -u 1000:5 --group-add 7 -w /new/dir bb sh -c 'id; pwd; echo out > /dev/stdout'",
			"$C run --rm $R --cap-drop ALL --security-opt no-new-privileges bb grep -E 'Cap|NoNew|Seccomp' /proc/self/status",
			"$C run --rm $R --device /dev/full:/dev/other --ulimit nofile=100:200 bb sh -c 'ls -l /dev/other | cut -c1-44; ulimit -n'",
			"$C run --rm $R --sysctl net.ipv4.ip_forward=1 --hostname hh bb sh -c 'cat /proc/sys/net/ipv4/ip_forward; hostname'",
			"$C run --rm $R --oom-score-adj 100 --cpuset-cpus 0 --shm-size 5m bb sh -c 'cat /proc/self/oom_score_adj; nproc; df -k /dev/shm | tail -1'",
			"$C run --rm $R --security-opt seccomp=unconfined --cgroupns private bb sh -c 'grep Seccomp: /proc/self/status; cat /proc/self/cgroup | tail -1'",
			"$C run --rm $R --memory 6m bb sh -c 'tail /dev/zero'",
			"$C run --rm $R --network host --uts host --ipc host --pid host bb hostname",
			"script -qec \"$C run --rm -t $R bb sh -c 'tty; ls /dev/console'\" /dev/null </dev/null",
			"$C run -d --name a $R -m 64m bb sh -c 'trap \"echo bye; exit 5\" TERM; echo up; while :; do sleep 0.1; done'",
			"$C exec a id",
			"$C exec -u 5 -w /tmp -e A=b a sh -c 'id; pwd; echo $A; exit 6'",
			"script -qec \"stty rows 33 cols 99; $C exec -it a sh -c 'sleep .5; stty size; tty'\" /dev/null </dev/null",
			"$C exec -d a sleep 33",
			"$C pause a", "$C ps --format '{{.Names}} {{.Status}}' | grep -o Paused", "$C unpause a",
			"$C update -m 128m --memory-swap -1 --pids-limit 50 a",
			"$C exec a cat /sys/fs/cgroup/memory/memory.limit_in_bytes /sys/fs/cgroup/pids/pids.max",
			"$C stats --no-stream --format '{{.Name}} {{.PIDs}}' a",
			"$C kill -s USR2 a; sleep .2; $C start a; $C stop -t 3 a; $C logs a", "$C inspect -f '{{.State.ExitCode}} {{.State.Status}}' a",
			"$C restart -t 1 a", "$C rm -f a",
			"$C run -d --name r --restart on-failure:2 $R bb sh -c 'echo r; exit 3'",
			"for i in 1 2 3 4 5 6 7 8 9; do sleep 1; [ $($C inspect -f '{{.RestartCount}}{{.State.Status}}' r) = 2exited ] && break; done; $C logs r; $C inspect -f '{{.RestartCount}} {{.State.ExitCode}}' r",
			"$C rm -f r",
			"$C run -d --name p --ipc shareable $R bb sleep 100",
			"$C run --rm $R --pid container:p --ipc container:p --network container:p bb ps",
			"$C run -d --name h --health-cmd true --health-interval 500ms $R bb sleep 100; sleep 2; $C inspect -f '{{.State.Health.Status}}' h",
			"$C rm -f p h", "$C volume rm named",
		),
		loose("$C run -d --name b $R bb sleep 100", "$C exec b nonexist", "$C exec b /etc/passwd", "$C top b", "$C rm -f b"),
	))
	// Where crun's words are not those that Docker looks for, or crun wants what root has not got here.
	c.compare("runc", "--runtime porthole", "--runtime runc", script(
		loose("$C run --rm $R bb nonexist", "$C run --rm $R bb /etc/passwd", "$C run --rm $R bb /nonexist/x"),
	))
	c.clean("moby")
}

// clean fails the test where the runtime has kept something.
func (c *client) clean(names ...string) {
	for _, n := range names {
		for _, at := range []string{"/run/" + name + "/[^.]*", c.dir + "/exec/runtime-runc/" + n + "/[^.]*", "/sys/fs/cgroup/*/docker/*/", "/run/containerd/runc/" + n + "/[^.]*"} {
			if left, _ := filepath.Glob(at); len(left) > 0 {
				c.t.Errorf("left: %s", left)
			}
		}
	}
}

func TestPodman(t *testing.T) {
	c := newClient(t, "podman", "conmon")
	c.must(`mkdir -p root run tmp && printf '{"default":[{"type":"insecureAcceptAnything"}]}' > policy.json && : > registries.conf &&` +
		` printf '[storage]\ndriver = "overlay"\nrunroot = "` + c.dir + `/run"\ngraphroot = "` + c.dir + `/root"\n' > storage.conf &&` +
		` printf '[containers]\ndefault_ulimits = ["nofile=1024:1024","nproc=16384:16384"]\n' > containers.conf`)
	c.env = []string{"CONTAINERS_REGISTRIES_CONF=" + c.dir + "/registries.conf", "CONTAINERS_STORAGE_CONF=" + c.dir + "/storage.conf", "TMPDIR=" + c.dir + "/tmp", "CONTAINERS_CONF=" + c.dir + "/containers.conf"}
	// Each command line sees the control groups as the daemons of the other tests do.
	c.must(`printf '#!/bin/sh\nexec unshare -m --propagation shared sh -c "umount -l /sys/fs/cgroup/unified 2>/dev/null; exec \\"\\$@\\"" - podman --root ` + c.dir + `/root --runroot ` + c.dir + `/run --tmpdir ` + c.dir + `/tmp --cgroup-manager=cgroupfs --events-backend=file --storage-driver=overlay "$@"\n' > p && chmod +x p`)
	c.call = c.dir + "/p $R"
	c.must(c.dir + "/p import img.tar bb")
	n := "--network none "
	c.call = c.dir + "/p"
	c.compare("crun", "--runtime "+c.dir+"/porthole-oci", "--runtime /usr/bin/crun", script(
		same(
			"$C $R run --rm "+n+"bb id",
			"$C $R run --rm "+n+"bb sh -c 'exit 9'",
			"script -qec \"$C $R run --rm -it "+n+"bb tty\" /dev/null </dev/null",
			"$C $R run --rm "+n+"--privileged bb grep CapEff /proc/self/status",
			"$C $R run --rm "+n+"--init --init-path /usr/bin/docker-init bb ps",
			"$C $R run --rm "+n+"--user 1000 --read-only --tmpfs /etc bb sh -c 'touch /x 2>/dev/null || echo read-only; cat /etc/group'",
			"$C $R run --rm "+n+"-v $V:/v:ro bb sh -c 'cat /v/file; touch /v/x 2>/dev/null || echo read-only'",
			"$C $R run --rm "+n+"--uidmap 0:100000:65536 bb sh -c 'cat /proc/self/uid_map; id'",
			"$C $R run -d --name a "+n+"-m 64m bb sh -c 'trap \"echo bye; exit 5\" TERM; echo up; while :; do sleep 0.1; done' | wc -l",
			"$C $R exec a id", "$C $R exec -u 5 -w /tmp a sh -c 'id; pwd; exit 6'",
			"script -qec \"$C $R exec -it a tty\" /dev/null </dev/null",
			"$C $R exec -d a sleep 44 | wc -l",
			"$C $R pause a", "$C $R ps -a --format '{{.Names}} {{.State}}'", "$C $R unpause a",
			"$C $R stats --no-stream --format '{{.Name}}' a",
			"$C $R update -m 100m a", "$C $R exec a cat /sys/fs/cgroup/memory/memory.limit_in_bytes",
			"$C $R run -d --name h "+n+"--pod new:pd --infra=false bb true >/dev/null 2>&1; $C $R run --rm --network container:a --pid container:a --ipc container:a bb sh -c 'ps | grep -c trap'",
			"$C $R stop -t 3 a", "$C $R logs a", "$C $R inspect -f '{{.State.ExitCode}} {{.State.Status}}' a",
			"$C $R start a", "$C $R rm -f -t 0 a", "$C $R rm -fa -t 0", "$C $R pod rm -fa",
		),
		loose("$C $R run --rm "+n+"bb nonexist", "$C $R run --rm "+n+"bb /etc/passwd", "$C $R run -d --name b "+n+"--health-cmd true bb sleep 100",
			"$C $R healthcheck run b", "$C $R exec b nonexist", "$C $R top b", "$C $R rm -f -t 0 b"),
	))
	c.shell(c.dir + "/p rm -fa -t 0")
	c.clean()
}

func TestContainerd(t *testing.T) {
	c := newClient(t, "containerd", "ctr", "docker")
	if err := os.WriteFile(c.dir+"/config.toml", []byte("version = 2\nroot = \""+c.dir+"/root\"\nstate = \""+c.dir+"/state\"\noom_score = 0\ndisabled_plugins = [\"io.containerd.grpc.v1.cri\"]\n[grpc]\n  address = \""+c.dir+"/c.sock\"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	c.call = "ctr -a " + c.dir + "/c.sock"
	c.daemon(c.call+" version", "containerd", "--config", c.dir+"/config.toml")
	c.must(archive)
	c.must(c.call + " images import --base-name bb bb.tar")
	image := strings.TrimSpace(c.must(c.call + " images ls -q"))
	c.compare("runc", "--runc-binary "+c.dir+"/porthole-oci "+image, "--runc-binary /usr/sbin/runc "+image, script(
		same(
			"$C run --rm $R a id", "$C run --rm $R a sh -c 'exit 7'",
			"for i in 1 2 3 4 5 6 7 8; do $C run --rm $R a true || echo $i; done",
			"script -qec \"$C run --rm -t $R a tty\" /dev/null </dev/null",
			"$C run -d $R b sh -c 'trap \"exit 5\" TERM; while :; do sleep 0.1; done'",
			"$C task ls | awk '{print $1, $3}'",
			"$C task exec --exec-id 1 b id", "$C task exec --exec-id 2 --cwd /tmp b sh -c 'pwd; exit 3'",
			"$C task pause b", "$C task ls | awk '{print $1, $3}'", "$C task resume b",
			"$C task metrics b | grep -c memory.usage_in_bytes",
			"$C task kill -s TERM b; sleep 1; $C task ls | awk '{print $1, $3}'",
			"$C task rm b 2>/dev/null", "$C container rm b",
			"$C run --rm --privileged $R a grep CapEff /proc/self/status",
			"$C run --rm --mount type=bind,src=$V,dst=/v,options=rbind:ro $R a cat /v/file",
			"$C run --rm --seccomp $R a grep Seccomp: /proc/self/status",
		),
		loose("$C run --rm $R a nonexist", "$C run -d $R b sleep 100", "$C task exec --exec-id 3 b nonexist",
			"script -qec \"$C task exec -t --exec-id 4 b tty\" /dev/null </dev/null",
			"$C task kill -s KILL b; sleep 1", "$C task rm b", "$C container rm b"),
	))
	c.clean("default")
}

// archive makes of img.tar an image as docker save writes it: one layer, and the two documents about it.
const archive = `sum=$(sha256sum img.tar | cut -d' ' -f1) && mkdir -p save && cp img.tar save/layer.tar &&
printf '{"architecture":"amd64","os":"linux","config":{"Env":["PATH=/bin"]},"rootfs":{"type":"layers","diff_ids":["sha256:%s"]}}' $sum > save/config.json &&
printf '[{"Config":"config.json","RepoTags":["docker.io/library/bb:latest"],"Layers":["layer.tar"]}]' > save/manifest.json &&
tar -C save -cf bb.tar manifest.json config.json layer.tar`
