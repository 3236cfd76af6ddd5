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

// line is one command of a script, run by a shell. In it $R is the option that names the runtime, $C the
// client, $D its directory, and $V another one inside.
type line struct {
	command string
	loose   bool   // the output is the runtime's own words, or the machine's of the moment: only the exit code counts
	want    string // what both are to say, lest they agree in failing; or, where there is a why, porthole alone
	why     string // the two may part
}

// is is a command that says what matches a pattern.
func is(want, command string) []line { return []line{{command: command, want: want}} }

// differs is a command whose answers may differ, for a reason.
func differs(why, want, command string) []line {
	return []line{{command: command, want: want, why: why}}
}

// client is a program to drive.
type client struct {
	t    *testing.T
	dir  string // everything of its own; short, for sockets lie beneath it
	call string // the command line that all begin with
	env  []string
	// users is what the password files of a daemon's mount namespace have besides the machine's own: a user, and
	// ids that are theirs to give away.
	users bool
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
	if err := os.Chmod(dir, 0o755); err != nil { // for containers whose root is an ordinary user
		t.Fatal(err)
	}
	c := &client{t: t, dir: dir}
	t.Cleanup(func() {
		c.shell("awk -v d=" + dir + " 'index($2, d) == 1 {print $2}' /proc/mounts | tac | xargs -r -n1 umount -l")
		os.RemoveAll(dir)
	})
	c.must("mkdir -p img/bin img/etc img/proc img/sys img/dev img/tmp img/root vol && chmod 1777 img/tmp &&" +
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
	cmd := exec.CommandContext(ctx, "sh", "-c", strings.NewReplacer("$C", c.call, "$D", c.dir, "$V", filepath.Join(c.dir, "vol")).Replace(command))
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

// hide is what a shell does in a mount namespace of its own before it becomes a client: it takes away the unified
// hierarchy, since crun refuses the hybrid layout, and adds the users.
func (c *client) hide() string {
	const unified = `! mountpoint -q /sys/fs/cgroup/unified || umount -l /sys/fs/cgroup/unified; `
	if !c.users {
		return unified
	}
	return unified + `for f in passwd group subuid subgid; do mount --bind ` + c.dir + `/$f /etc/$f; done; `
}

// someone is an ordinary user who is known where users is set, and ids of theirs.
const someone, uid, subIDs = "porthole", 54321, 500000

// addUser makes the files that tell of the user.
func (c *client) addUser() {
	c.t.Helper()
	c.users = true
	c.must(fmt.Sprintf("{ cat /etc/passwd; echo %s:x:%d:%d::%s/home:/bin/sh; } > passwd && { cat /etc/group; echo %s:x:%d:; } > group && echo %s:%d:65536 > subuid && cp subuid subgid && touch /etc/subuid /etc/subgid",
		someone, uid, uid, c.dir, someone, uid, someone, subIDs))
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
	cmd := exec.Command("unshare", append([]string{"-m", "--propagation", "private", "sh", "-c", c.hide() + `exec "$@"`, "-", program}, args...)...)
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
	hashes = regexp.MustCompile(`\b([0-9a-f]{64}|[0-9a-f]{12})\b`)
	noise  = strings.NewReplacer("^@", "", "\r", "", "^D\b\b", "", "\b", "", "\x00", "")
)

// compare runs a script with both runtimes.
func (c *client) compare(other string, ours, theirs string, script []line) {
	c.t.Helper()
	same, reasons := 0, 0
	type said struct {
		code int
		out  string
	}
	run := func(runtime string) (list []said) {
		for _, l := range script {
			code, out := c.shell(strings.ReplaceAll(l.command, "$R", runtime))
			list = append(list, said{code, hashes.ReplaceAllString(noise.Replace(out), "#")})
		}
		return list
	}
	a, b := run(theirs), run(ours)
	for i, l := range script {
		switch {
		case l.why != "" && a[i] != b[i] && b[i].code == 0 && regexp.MustCompile(l.want).MatchString(b[i].out):
			c.t.Logf("%s\n  %s: exit %d: %s\n  porthole: exit 0: %s\n  for %s", l.command, other, a[i].code, a[i].out, b[i].out, l.why)
			reasons++
		case l.why == "" && l.want != "" && !regexp.MustCompile(l.want).MatchString(b[i].out):
			c.t.Errorf("%s\n  porthole: exit %d: %s\n  want %s", l.command, b[i].code, b[i].out, l.want)
		case a[i].code != b[i].code:
			c.t.Errorf("%s\n  %s: exit %d: %s\n  porthole: exit %d: %s", l.command, other, a[i].code, a[i].out, b[i].code, b[i].out)
		case !l.loose && a[i].out != b[i].out:
			c.t.Errorf("%s\n  %s: %s\n  porthole: %s", l.command, other, a[i].out, b[i].out)
		case !l.loose && l.want == "" && b[i].code >= 125 && b[i].code != 137 && b[i].code != 143:
			c.t.Errorf("%s\n  neither works: exit %d: %s", l.command, b[i].code, b[i].out)
		default:
			same++
		}
	}
	c.t.Logf("%d of %d lines as with %s, %d otherwise for a reason", same, len(script), other, reasons)
}

func same(commands ...string) (list []line) {
	for _, s := range commands {
		list = append(list, line{command: s})
	}
	return list
}

func loose(commands ...string) (list []line) {
	for _, s := range commands {
		list = append(list, line{command: s, loose: true})
	}
	return list
}

func script(parts ...[]line) (list []line) {
	for _, p := range parts {
		list = append(list, p...)
	}
	return list
}

// dockerd starts Docker's daemon, and gives it the image bb.
func (c *client) dockerd(args ...string) {
	c.t.Helper()
	sock := c.dir + "/d.sock"
	c.env = []string{"DOCKER_HOST=unix://" + sock}
	c.call = "docker"
	c.daemon("docker version", "dockerd", append([]string{"--data-root", c.dir + "/data", "--exec-root", c.dir + "/exec", "--pidfile", c.dir + "/pid", "-H", "unix://" + sock,
		"--storage-driver", "overlay2", "--oom-score-adjust=0", "--bridge=none", "--iptables=false", "--ip6tables=false",
		"--add-runtime", "x=/usr/bin/crun", "--add-runtime", "porthole=" + c.dir + "/porthole-oci"}, args...)...)
	c.must("docker import img.tar bb")
}

// withheld is why --privileged may work with porthole alone.
const withheld = "a root who lacks a capability: Docker asks for all there are; porthole-oci gives those that it has, and says so, where crun and runc fail"

func TestDocker(t *testing.T) {
	c := newClient(t, "docker", "dockerd")
	c.dockerd()
	c.compare("crun", "--runtime porthole", "--runtime x", script(
		is(`^uid=0\(root\) gid=0\(root\)`, "$C run --rm $R bb id"),
		same(
			"$C run --rm $R bb sh -c 'exit 7'",
			"$C run --rm $R bb sh -c 'kill -9 $$'",
			"$C run --rm $R --init bb ps",
			"$C run --rm $R -v $V:/v:ro bb sh -c 'cat /v/file; touch /v/x 2>/dev/null || echo read-only'",
			"$C run --rm $R -v named:/v bb sh -c 'echo x > /v/a; cat /v/a'",
			"$C run --rm $R --read-only --tmpfs /t bb sh -c 'exec 2>&1; touch /x; touch /t/x && echo ok'",
			"$C run --rm $R -u 1000:5 --group-add 7 -w /new/dir bb sh -c 'id; pwd; echo out > /dev/stdout'",
			"$C run --rm $R --cap-drop ALL --security-opt no-new-privileges bb grep -E 'Cap|NoNew|Seccomp' /proc/self/status",
			"$C run --rm $R --device /dev/full:/dev/other --ulimit nofile=100:200 bb sh -c 'ls -l /dev/other | cut -c1-44; ulimit -n'",
			"$C run --rm $R --sysctl net.ipv4.ip_forward=1 --hostname hh bb sh -c 'cat /proc/sys/net/ipv4/ip_forward; hostname'",
			"$C run --rm $R --oom-score-adj 100 --cpuset-cpus 0 --shm-size 5m bb sh -c 'cat /proc/self/oom_score_adj; nproc; df -k /dev/shm | tail -1'",
			"$C run --rm $R --security-opt seccomp=unconfined --cgroupns private bb sh -c 'grep Seccomp: /proc/self/status; cat /proc/self/cgroup | tail -1'",
			"$C run --rm $R --memory 6m bb sh -c 'tail /dev/zero'",
			"$C run --rm $R --network host --uts host --ipc host --pid host bb hostname",
			"script -qec \"$C run --rm -t $R bb sh -c 'tty; ls /dev/console'\" /dev/null </dev/null",
			"$C run -d --name aa1 $R -m 64m bb sh -c 'trap \"echo bye; exit 5\" TERM; echo up; while :; do sleep 0.1; done'",
			"$C exec aa1 id",
			"$C exec -u 5 -w /tmp -e A=b aa1 sh -c 'id; pwd; echo $A; exit 6'",
			"script -qec \"stty rows 33 cols 99; $C exec -it aa1 sh -c 'sleep .5; stty size; tty'\" /dev/null </dev/null",
		),
		// A window that changes its size while something runs in it: the client is told, and tells the daemon.
		is(`^33 99\n44 111\n$`, "script -qec \"stty rows 33 cols 99; ( sleep 1.2; stty rows 44 cols 111 </dev/tty ) & $C exec -it aa1 sh -c 'sleep .5; stty size; sleep 2.4; stty size'\" /dev/null </dev/null"),
		is(`^20 70\n50 90\n$`, "script -qec \"stty rows 20 cols 70; ( sleep 1.2; stty rows 50 cols 90 </dev/tty ) & $C run --rm -it $R bb sh -c 'sleep .3; stty size; sleep 2.4; stty size'\" /dev/null </dev/null"),
		differs(withheld, `^CapEff:\t0+[137]f[0-9a-f]*f\n$`, "$C exec --privileged aa1 grep CapEff /proc/self/status"),
		same(
			"$C exec -i aa1 sh -c 'cat; echo end >&2' <vol/file",
			"$C exec -d aa1 sleep 33",
			"$C pause aa1", "$C ps --format '{{.Names}} {{.Status}}' | grep -o Paused", "$C unpause aa1",
			"$C update -m 128m --memory-swap -1 --pids-limit 50 aa1",
			"$C exec aa1 cat /sys/fs/cgroup/memory/memory.limit_in_bytes /sys/fs/cgroup/pids/pids.max",
			"$C stats --no-stream --format '{{.Name}} {{.PIDs}}' aa1",
			"$C kill -s USR2 aa1; sleep .2; $C start aa1; $C stop -t 3 aa1; $C logs aa1", "$C inspect -f '{{.State.ExitCode}} {{.State.Status}}' aa1",
			"$C restart -t 1 aa1", "$C rm -f aa1",
			"$C run -d --name rr1 --restart on-failure:2 $R bb sh -c 'echo r; exit 3'",
			"for i in 1 2 3 4 5 6 7 8 9; do sleep 1; [ $($C inspect -f '{{.RestartCount}}{{.State.Status}}' rr1) = 2exited ] && break; done; $C logs rr1; $C inspect -f '{{.RestartCount}} {{.State.ExitCode}}' rr1",
			"$C rm -f rr1",
			"$C run -d --name pp1 --ipc shareable $R bb sleep 100",
			"$C run --rm $R --pid container:pp1 --ipc container:pp1 --network container:pp1 bb ps",
			"$C run -d --name hh1 --health-cmd true --health-interval 500ms $R bb sleep 100; sleep 2; $C inspect -f '{{.State.Health.Status}}' hh1",
			"$C rm -f pp1 hh1", "$C volume rm named",
			"$C create --name cc1 $R bb sh -c 'cat /file; exit 4'", "$C cp vol/file cc1:/file", "$C start -a cc1", "$C wait cc1", "$C diff cc1", "$C rm cc1",
			"$C run -d --name ss1 $R bb sleep 100; $C kill ss1; $C wait ss1; $C start ss1; $C stop -t 1 ss1; $C inspect -f '{{.State.ExitCode}}' ss1; $C rm ss1",
		),
		loose("$C run -d --name bb1 $R bb sleep 100", "$C exec bb1 nonexist", "$C exec bb1 /etc/passwd", "$C top bb1", "$C rm -f bb1"),
		differs(withheld, `CapEff:\t0+[137]f[0-9a-f]*f\n(?s:.*)Seccomp:\t0\nmounted\n`, "$C run --rm --privileged $R bb sh -c 'grep -E \"CapEff|Seccomp:\" /proc/self/status; mkdir -p /m && mount -t tmpfs x /m && echo mounted; ls /dev/loop-control'"),
		differs(withheld, `^3\n/k\n$`, "$C run --rm --privileged $R -v /dev/null:/n bb sh -c 'head -c 3 /dev/zero | wc -c; mknod /k c 1 11 && ls /k'"),
	))
	// Where crun's words are not those that Docker looks for, or crun wants what root has not got here.
	c.compare("runc", "--runtime porthole", "--runtime runc", script(
		loose("$C run --rm $R bb nonexist", "$C run --rm $R bb /etc/passwd", "$C run --rm $R bb /nonexist/x"),
	))
	c.clean("moby")
}

// Every container of this daemon has a user namespace with ids of the user's.
func TestDockerRemap(t *testing.T) {
	c := newClient(t, "docker", "dockerd")
	c.addUser()
	c.dockerd("--userns-remap=" + someone)
	c.compare("runc", "--runtime porthole", "--runtime runc", script(
		is(fmt.Sprintf(`^uid=0\(root\) gid=0\(root\).*\n\s+0\s+%d\s+65536\n`, subIDs), "$C run --rm $R bb sh -c 'id; cat /proc/self/uid_map /proc/self/gid_map; grep -E \"Cap|Seccomp:\" /proc/self/status'"),
		same(
			"$C run --rm $R -u 1000:5 bb sh -c 'id; touch /tmp/x 2>/dev/null || echo refused; cat /proc/self/setgroups'",
			"$C run --rm $R -v $V:/v bb sh -c 'cat /v/file; touch /v/x 2>/dev/null || echo refused; ls -ln /v | cut -c1-40'",
			"$C run --rm $R -v named:/v bb sh -c 'echo x > /v/a; ls -ln /v | cut -c1-40'",
			"$C run --rm $R --userns host bb cat /proc/self/uid_map",
			"$C run --rm $R --read-only --tmpfs /t --init -m 64m bb sh -c 'exec 2>&1; touch /x; touch /t/x && ls -ln /t | cut -c1-40; hostname x || echo kept'",
			"script -qec \"$C run --rm -it $R bb sh -c 'tty; ls -ln /dev/console /dev/pts/0 | cut -c1-42'\" /dev/null </dev/null",
			"$C run -d --name aa1 --ipc shareable $R bb sh -c 'trap \"exit 5\" TERM; while :; do sleep 0.1; done'",
			"$C exec aa1 id", "$C exec -u 7 aa1 sh -c 'id; cat /proc/self/uid_map'",
			"script -qec \"$C exec -it aa1 tty\" /dev/null </dev/null",
			"$C pause aa1; $C unpause aa1; $C update -m 100m --memory-swap -1 aa1",
			"$C run --rm $R --pid container:aa1 --ipc container:aa1 --network container:aa1 bb sh -c 'ps | grep -c [t]rap'",
			"$C stop -t 3 aa1; $C inspect -f '{{.State.ExitCode}}' aa1; $C rm aa1; $C volume rm named",
		),
		loose("$C run --rm $R bb nonexist", "$C run --rm $R --network host bb true"),
		differs(withheld, `^CapEff:\t0+[137]f[0-9a-f]*f\n$`, "$C run --rm $R --userns host --privileged bb grep CapEff /proc/self/status"),
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
		is(`^uid=0\(root\) gid=0\(root\)`, "$C run --rm $R a id"),
		same(
			"$C run --rm $R a sh -c 'exit 7'",
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
