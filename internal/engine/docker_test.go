package engine

import (
	"archive/tar"
	"bytes"
	"context"
	"debug/elf"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"porthole/facts"
	"porthole/workload/dialect"
)

// docker is a daemon of the test's own, with nothing of it outside its directory.
type docker struct {
	client, socket string
}

// startDocker starts Debian's dockerd in a mount namespace of its own, without a bridge and without firewall rules.
func startDocker(t *testing.T) *docker {
	t.Helper()
	const daemon, client = "/usr/sbin/dockerd", "/usr/bin/docker"
	for _, program := range []string{daemon, client, "/usr/bin/containerd", "/usr/sbin/runc"} {
		if _, err := os.Stat(program); err != nil {
			t.Skipf("needs Debian's docker.io: no %s", program)
		}
	}
	dir := t.TempDir()
	d := &docker{client, "unix://" + filepath.Join(dir, "sock")}
	var log bytes.Buffer
	// Without CAP_SYS_RESOURCE it could not lower its own oom_score_adj, and would not start.
	cmd := exec.Command(daemon, "--data-root", dir+"/data", "--exec-root", dir+"/exec", "--pidfile", dir+"/pid", "--host", d.socket,
		"--storage-driver", "overlay2", "--oom-score-adjust", "0", "--bridge", "none", "--iptables=false", "--ip6tables=false")
	cmd.Stdout, cmd.Stderr = &log, &log
	cmd.SysProcAttr = &unix.SysProcAttr{Unshareflags: unix.CLONE_NEWNS, Setsid: true}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	groups := dockerGroups()
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	t.Cleanup(func() {
		cmd.Process.Signal(unix.SIGTERM)
		select {
		case <-ended:
		case <-time.After(30 * time.Second):
			cmd.Process.Kill()
			t.Errorf("dockerd does not end:\n%s", &log)
		}
		for _, g := range dockerGroups() {
			if !slices.Contains(groups, g) {
				os.Remove(g) // refused where another daemon has containers beneath it by now
			}
		}
	})
	for end := time.Now().Add(60 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		if exec.Command(client, "--host", d.socket, "version").Run() == nil {
			return d
		}
		select {
		case err := <-ended:
			ended <- err
			t.Fatalf("dockerd: %v\n%s", err, &log)
		default:
		}
		if time.Now().After(end) {
			t.Fatal("dockerd is not ready after a minute")
		}
	}
}

// dockerGroups are the control groups beneath which daemons make those of their containers.
func dockerGroups() []string {
	v1, _ := filepath.Glob("/sys/fs/cgroup/*/docker")
	v2, _ := filepath.Glob("/sys/fs/cgroup/docker")
	return append(v1, v2...)
}

// run runs docker with args, and returns its exit code and what it wrote.
func (d *docker) run(in io.Reader, args ...string) (code int, stdout, stderr string, err error) {
	cmd := exec.Command(d.client, append([]string{"--host", d.socket}, args...)...)
	cmd.Env = []string{"PATH=/usr/sbin:/usr/bin", "HOME=/nonexistent", "FROM_OUTSIDE=seen"}
	var out, errs bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = in, &out, &errs
	err = cmd.Run()
	if exit := new(exec.ExitError); errors.As(err, &exit) {
		return exit.ExitCode(), out.String(), errs.String(), nil
	}
	return 0, out.String(), errs.String(), err
}

// rootfs is a root filesystem as a tar archive: busybox, a user database, and the probe.
func rootfs(t *testing.T) *bytes.Buffer {
	t.Helper()
	const busybox = "/bin/busybox"
	if f, err := elf.Open(busybox); err != nil {
		t.Skip("needs busybox-static")
	} else {
		libs, _ := f.ImportedLibraries()
		f.Close()
		if len(libs) > 0 {
			t.Skip("needs busybox-static: the busybox here is not")
		}
	}
	buf := &bytes.Buffer{}
	w := tar.NewWriter(buf)
	add := func(h *tar.Header, data []byte) {
		h.Size, h.ModTime = int64(len(data)), time.Unix(1e9, 0)
		if err := errors.Join(w.WriteHeader(h), func() error { _, err := w.Write(data); return err }()); err != nil {
			t.Fatal(err)
		}
	}
	file := func(name, from string) {
		data, err := os.ReadFile(from)
		if err != nil {
			t.Fatal(err)
		}
		add(&tar.Header{Name: name, Mode: 0o755}, data)
	}
	for _, dir := range []string{"bin", "dev", "etc", "home/app", "lib64", "opt/data", "proc", "root", "sys", "tmp", "usr/bin", "var"} {
		mode := int64(0o755)
		if dir == "tmp" {
			mode = 0o1777
		}
		add(&tar.Header{Name: dir, Typeflag: tar.TypeDir, Mode: mode}, nil)
	}
	file("bin/busybox", busybox)
	names, err := exec.Command(busybox, "--list").Output()
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range strings.Fields(string(names)) {
		if name != "busybox" {
			add(&tar.Header{Name: "bin/" + name, Typeflag: tar.TypeSymlink, Linkname: "busybox"}, nil)
		}
	}
	add(&tar.Header{Name: "etc/passwd", Mode: 0o644}, []byte("root:x:0:0:root:/root:/bin/sh\napp:x:1234:1235:app:/home/app:/bin/sh\n"))
	add(&tar.Header{Name: "etc/group", Mode: 0o644}, []byte("root:x:0:\napp:x:1235:\nextra:x:2000:app\nmore:x:2001:root,app\n"))
	add(&tar.Header{Name: "opt/data/file", Mode: 0o640, Uid: 1234, Gid: 2000}, []byte("of the image\n"))
	add(&tar.Header{Name: "opt/plain", Mode: 0o644}, []byte("not a program\n"))
	add(&tar.Header{Name: "opt/script", Mode: 0o755}, []byte("#!/nonexistent\n"))

	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	file("probe", self)
	for _, lib := range libraries(t, self) {
		file(lib[1:], lib)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return buf
}

// libraries are what the program at path cannot start without: its interpreter and shared objects.
func libraries(t *testing.T, path string) (all []string) {
	f, err := elf.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for _, p := range f.Progs {
		if p.Type == elf.PT_INTERP {
			name, err := io.ReadAll(p.Open())
			if err != nil {
				t.Fatal(err)
			}
			all = append(all, strings.TrimRight(string(name), "\x00"))
		}
	}
	names, _ := f.ImportedLibraries()
	for _, name := range names {
		found, _ := filepath.Glob("/lib/*-linux-gnu/" + name)
		all = append(all, found...)
	}
	return all
}

// look is a script that shows what a program may know of its container, in lines "KEY VALUE".
const look = `
show() { k=$1; shift; echo "$k $("$@" 2>&1 | tr '\n' '|')"; }
while read -r k v; do case $k in Uid:|Gid:|Groups:|Cap*|NoNewPrivs:|Seccomp*|Shd*|Sig[IB]*) echo "status $k" $v;; esac; done </proc/self/status
while read -r dev at type opt rest; do
	case $at in /) opt=${opt%%,lowerdir=*};; /etc/*) dev=file;; esac
	case $dev in /*) dev=device;; esac
	echo "mount $at $dev $type $opt"
done </proc/mounts
env | while IFS= read -r v; do echo "env ${v%%=*} ${v#*=}"; done
ls -ln /dev /dev/pts | while read -r mode n uid gid rest; do case $mode in [a-z]*-*) set -- $rest; case $mode in c*) at="$1$2"; shift 5;; *) at=; shift 4;; esac; echo "dev $1 $mode $uid $gid $at $2 $3";; esac; done
show id id
show hostname hostname
show cwd pwd
show umask umask
show etc-hostname cat /etc/hostname
show passwd cat /etc/passwd
show interfaces sh -c 'ls /sys/class/net; ip -o link show lo | grep -o LOOPBACK,UP'
for r in c d f l m n p s t u v; do show "ulimit $r" sh -c "ulimit -S$r; ulimit -H$r"; done
show oom cat /proc/self/oom_score_adj
show pid1 sh -c 'tr "\0" " " </proc/1/cmdline | head -c 20'
show stdin readlink /proc/self/fd/0
show fds sh -c 'ls /proc/self/fd | wc -l'
show sysctl cat /proc/sys/net/ipv4/ip_forward /proc/sys/net/ipv4/ip_unprivileged_port_start /proc/sys/net/ipv4/ping_group_range /proc/sys/fs/mqueue/msg_max
for f in memory/memory.limit_in_bytes memory/memory.memsw.limit_in_bytes cpu/cpu.cfs_quota_us cpu/cpu.cfs_period_us cpu/cpu.shares pids/pids.max cpuset/cpuset.cpus memory.max memory.swap.max cpu.max cpu.weight pids.max cpuset.cpus devices/devices.list; do
	[ ! -e /sys/fs/cgroup/$f ] || show "cgroup $f" cat /sys/fs/cgroup/$f
done
for m in acpi asound interrupts kcore keys latency_stats sched_debug scsi timer_list timer_stats; do show "masked $m" sh -c "[ -d /proc/$m ] && ls /proc/$m || head -c 1 /proc/$m | wc -c"; done
show "masked firmware" ls /sys/firmware
show "masked powercap" ls /sys/devices/virtual/powercap
for p in /proc/bus /proc/fs /proc/irq /proc/sys/kernel/domainname /proc/sysrq-trigger /sys/kernel /sys/fs/cgroup / /etc/hosts; do show "writable $p" sh -c "[ -w $p ] && echo yes || echo no"; done
for d in /t /t2 /data /data/file /new /opt/data /opt/data/file /dev/kk; do [ ! -e $d ] || show "at $d" stat -c '%A %u %g' $d; done
[ ! -d /dev/shm ] || show shm sh -c 'df -k /dev/shm | tail -1 | tr -s " " | cut -d" " -f2'
PORTHOLE_PROBE=1 /probe | while IFS='=' read -r k v; do echo "sys $k $v"; done
`

// shortID is what a container is called that nobody named.
var shortID = regexp.MustCompile(`^[0-9a-f]{12}(\|?)$`)

// seen is what the script showed, by key.
func seen(out string) map[string]string {
	m := map[string]string{}
	for line := range strings.Lines(strings.ReplaceAll(out, "\r", "")) {
		f := strings.Fields(line)
		n := 1
		if len(f) > 0 && slices.Contains([]string{"status", "mount", "env", "dev", "cgroup", "ulimit", "masked", "writable", "at", "sys"}, f[0]) {
			n = 2
		}
		if len(f) >= n {
			m[strings.Join(f[:n], " ")] = strings.Join(f[n:], " ")
		}
	}
	for _, k := range []string{"hostname", "etc-hostname", "env HOSTNAME"} {
		m[k] = shortID.ReplaceAllString(m[k], "ID$1")
	}
	// Their order says nothing: runc writes them sorted.
	const devices = "cgroup devices/devices.list"
	if rules := strings.SplitAfter(m[devices], "|"); m[devices] != "" {
		slices.Sort(rules)
		m[devices] = strings.Join(rules, "")
	}
	return m
}

// sideReasons are why porthole may do otherwise than the Docker beside it.
var sideReasons = []reason{
	{why: "the files that tell a container where it is are written into its own memory, not to the disk",
		fit: func(_ kind, d difference) bool {
			w := strings.Fields(d.want) // file ext4 rw,relatime,…: what else is the machine's
			return strings.HasPrefix(d.key, "mount /etc/") && len(w) == 3 && w[0] == "file" && d.got == "file tmpfs "+w[2][:2]+",relatime,mode=755"
		}},
	{why: "directories are masked as runc does since 1.5: with an empty file system that has no room",
		fit: func(_ kind, d difference) bool { return d.got == d.want+",size=4k,nr_inodes=1" }},
	{why: "no control group is made in a v1 hierarchy in which the container limits nothing",
		fit: func(_ kind, d difference) bool {
			return d.got == "" && slices.Contains([]string{"mount /sys/fs/cgroup/cpuset", "mount /sys/fs/cgroup/blkio", "cgroup cpuset/cpuset.cpus"}, d.key)
		}, needed: func(k kind) bool { return k.cgroup != facts.CgroupV2 }},
	{why: "runc let every container use /dev/net/tun until 1.2",
		fit: func(_ kind, d difference) bool {
			return d.key == "cgroup devices/devices.list" && strings.Replace(d.want, "c 10:200 rwm|", "", 1) == d.got
		}, needed: func(k kind) bool { return k.cgroup != facts.CgroupV2 }},
	{why: "a mount of a control group has no source; runc puts a name there in a cgroup namespace",
		fit: func(_ kind, d difference) bool {
			return d.key == "mount /sys/fs/cgroup/systemd" && strings.Replace(d.want, "systemd", "cgroup", 1) == d.got
		}, needed: func(k kind) bool { return k.cgroup != facts.CgroupV2 }},
	{why: "the init is executed from memory: there is no file of it to mount",
		fit: func(_ kind, d difference) bool { return d.key == "mount /sbin/docker-init" && d.got == "" }},
	{why: "a program starts with the default action for every signal; runc hands on what its caller ignored, as a program that glibc's posix_spawn started does signals 32 and 33",
		fit: func(_ kind, d difference) bool {
			want, _ := strconv.ParseUint(d.want, 16, 64)
			got, err := strconv.ParseUint(d.got, 16, 64)
			return d.key == "status SigIgn:" && err == nil && want&^(3<<31) == got
		}, needed: func(kind) bool { return false }},
	{why: "messages begin in lower case, and name the flag where Docker's do not",
		fit: func(_ kind, d difference) bool {
			said := d.got
			if strings.HasPrefix(said, "--") {
				_, said, _ = strings.Cut(said, ": ")
			}
			_, bare, _ := strings.Cut(d.want, "create relative/x: ") // the name that the engine gave the volume
			return d.key == "error" && said != "" && (strings.EqualFold(said, d.want) || said == bare)
		}},
	{why: "the newest client's words",
		fit: func(_ kind, d difference) bool {
			return d.key == "error" && strings.Replace(d.want, "--security-opt 2:", "--security-opt:", 1) == d.got
		}},
	{why: "execve was asked, and not stat before it",
		fit: func(_ kind, d difference) bool {
			want, _, _ := strings.Cut(d.want, ": unknown: Are you trying")
			return d.key == "error" && (statted.ReplaceAllString(want, "") == d.got || execed.ReplaceAllString(want, `exec: "$1":`) == d.got)
		}},
	{why: "127 says that there is no such program; Docker 20.10 says it of messages with certain words, and finds out too late that a script's interpreter is missing",
		fit: func(_ kind, d difference) bool {
			switch d.flags {
			case "side:1 plain/x":
				return d.key == "exit" && d.want == "125" && d.got == "127"
			case "side:1 /opt/script":
				return d.key == "exit" && d.want == "1" && d.got == "127"
			case "--device /dev/nosuch side:1 echo ran":
				return d.key == "exit" && d.want == "127" && d.got == "125"
			}
			return false
		}},
	{why: "the flag and the kernel's word for it",
		fit: func(_ kind, d difference) bool {
			return d.key == "error" && (d.flags == "-w /opt/plain side:1 echo ran" && d.got == "-w /opt/plain: not a directory" ||
				d.flags == "exec -w /nosuch side true" && d.got == "-w /nosuch: no such file or directory")
		}},
	{why: "a session that does not start has the exit code of a container that does not; Docker 20.10 says 126 of each",
		fit: func(_ kind, d difference) bool {
			return strings.HasPrefix(d.flags, "exec ") && d.key == "exit" && d.want == "126" && (d.got == "127" || d.got == "125")
		}},
	{why: "what porthole itself refuses exits with 125, whichever command it is",
		fit: func(_ kind, d difference) bool {
			return d.flags == "exec nosuch true" && d.key == "exit" && d.want == "1" && d.got == "125"
		}},
	{why: "there are no bridges yet",
		fit: func(_ kind, d difference) bool {
			return strings.HasPrefix(d.flags, "--network nosuch") && d.key == "error" && strings.HasPrefix(d.got, "--network nosuch is not supported: ")
		}},
}

var (
	statted = regexp.MustCompile(` stat \S+:`)
	execed  = regexp.MustCompile(`^exec (/\S+):`)
)

// Real Docker and porthole run the same image with the same flags, side by side.
func TestBesideDocker(t *testing.T) {
	e := open(t)
	e.warn = func(string) {}
	image := rootfs(t)
	d := startDocker(t)
	must := func(in io.Reader, args ...string) string {
		t.Helper()
		code, out, errs, err := d.run(in, args...)
		if err != nil || code != 0 {
			t.Fatalf("docker %s: %v, exit code %d: %s", args[0], err, code, errs)
		}
		return out
	}
	must(image, "import", "--change", "ENV IMAGE=porthole LEVEL=1", "--change", "WORKDIR /opt", "--change", "VOLUME /opt/data",
		"--change", `CMD ["sh", "-c", "echo from the image; pwd"]`, "-", "side:1")
	archive := filepath.Join(t.TempDir(), "side.tar")
	must(nil, "save", "-o", archive, "side:1")
	f, err := os.Open(archive)
	if err != nil {
		t.Fatal(err)
	}
	names, err := e.Load(context.Background(), f)
	f.Close()
	if err != nil || len(names) != 1 || !strings.HasSuffix(names[0], "side:1") {
		t.Fatalf("loaded %q, %v", names, err)
	}

	shared := t.TempDir()
	if err := os.WriteFile(filepath.Join(shared, "file"), []byte("shared\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	envFile := filepath.Join(t.TempDir(), "env")
	if err := os.WriteFile(envFile, []byte("# a comment\nFROM_FILE=1 2 3\nFROM_OUTSIDE\n\nLEVEL=2\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	both := func(t *testing.T, c *comparison, flags []string, command ...string) {
		t.Parallel()
		args := append(append(slices.Clone(flags), "side:1"), command...)
		label := strings.ReplaceAll(strings.Join(args, " "), look, "LOOK")
		label = strings.ReplaceAll(label, shared, "DIR")
		code, out, errs, err := d.run(nil, append([]string{"run", "--rm"}, args...)...)
		if err != nil {
			t.Fatal(err)
		}
		want := seen(out)
		want["exit"] = strconv.Itoa(code)
		got := e.beside(t, args)
		if said := substance(errs); said != "" {
			want["error"] = said
		}
		c.compare(t, "docker:20.10.24", label, want, got)
	}

	c := &comparison{kind: thisMachine(e.facts), reasons: sideReasons}
	t.Run("look", func(t *testing.T) {
		for _, flags := range []string{
			"",
			"-u app",
			"-u 1234:0 --group-add more --group-add 77",
			"-u 4321 -e HOME=/elsewhere",
			"--cap-drop ALL --cap-add CHOWN --cap-add NET_BIND_SERVICE",
			"--cap-add SYS_ADMIN --cap-add SYS_PTRACE",
			"--read-only --tmpfs /t:size=1m,mode=700 --mount type=tmpfs,dst=/t2,tmpfs-size=2m",
			"-m 64m --memory-swap 96m --cpus 0.5 --pids-limit 40",
			"-m 32m --cpu-shares 512 --cpuset-cpus 0 --oom-score-adj 100 --shm-size 8m",
			"-e A=b -e EMPTY= -e FROM_OUTSIDE --env-file " + envFile + " -w /made/here --hostname box",
			"--security-opt no-new-privileges --security-opt seccomp=unconfined",
			"--security-opt systempaths=unconfined --device /dev/kvm:/dev/kk:r",
			"--network host --uts host --ipc host --pid host",
			"--ulimit nofile=64:128 --ulimit core=0 --sysctl net.ipv4.ip_forward=1 --ipc none",
			"--init --cgroupns private",
			"-v " + shared + ":/data:ro -v /new -v named:/opt/data",
			"-t -e TERM=vt100",
			"--tmpfs /t:exec,uid=5,gid=6 --tmpfs /t2 --mount type=volume,src=another,dst=/new,readonly",
			"--mount type=bind,src=" + shared + ",dst=/data,bind-propagation=rprivate,readonly -v " + shared + "/file:/etc/hostname",
			"--device-cgroup-rule c_10:*_r --cap-drop MKNOD --group-add 0 --group-add more --stop-signal USR1",
			"-u 1234: --cap-add ALL --cap-drop SYS_RESOURCE --cap-drop NET_RAW",
			"-u 4321 --cap-add NET_RAW --security-opt no-new-privileges:true --security-opt label=disable",
		} {
			t.Run(strings.ReplaceAll(strings.ReplaceAll(flags, shared, "DIR"), "/", "|"), func(t *testing.T) {
				both(t, c, blanks(strings.Fields(flags)), "sh", "-c", look)
			})
		}
	})
	t.Run("exit", func(t *testing.T) {
		for _, command := range [][]string{
			{}, {"true"}, {"sh", "-c", "exit 42"}, {"sh", "-c", "kill -9 $$"}, {"sh", "-c", "kill -TERM $$; exit 3"},
			{"nosuch"}, {"/nosuch"}, {"/opt/plain"}, {"/opt"}, {"/opt/script"}, {"./plain"}, {"plain/x"}, {""},
		} {
			t.Run(strings.ReplaceAll(strings.Join(command, " "), "/", "|"), func(t *testing.T) { both(t, c, nil, command...) })
		}
		for _, flags := range [][]string{
			{"-u", "nosuch"}, {"-u", "0:nosuch"}, {"--group-add", "nosuch"}, {"--cap-add", "NOPE"}, {"-w", "/opt/plain"}, {"-w", "relative"},
			{"-v", "/opt"}, {"-v", "relative/x:/y"}, {"-v", "/a:/b:nope"}, {"--mount", "type=bind,src=/nonexistent/x,dst=/y"},
			{"--device", "/dev/nosuch"}, {"--entrypoint", "/bin/echo"}, {"--entrypoint", ""}, {"-m", "1m"}, {"--cpus", "99999"},
			{"--ulimit", "nosuch=1"}, {"--ulimit", "nofile=9:3"}, {"--security-opt", "nosuch=1"}, {"--tmpfs", "relative"}, {"--network", "nosuch"},
		} {
			t.Run(strings.ReplaceAll(strings.Join(flags, " "), "/", "|"), func(t *testing.T) { both(t, c, flags, "echo", "ran") })
		}
	})
	t.Run("exec", func(t *testing.T) {
		args := []string{"--name", "side", "-e", "A=container", "-w", "/var", "--hostname", "box", "--cap-drop", "MKNOD", "-m", "64m", "side:1", "sleep", "600"}
		must(nil, append([]string{"run", "-d"}, args...)...)
		defer must(nil, "rm", "-f", "side")
		run, err := dialect.Docker(args, dialect.Outside{})
		if err != nil {
			t.Fatal(err)
		}
		run.Workload.As = "docker:20.10.24"
		if _, err := e.Detach(context.Background(), run.Workload, false); err != nil {
			t.Fatal(err)
		}
		defer func() {
			if err := e.Remove("side", true, true); err != nil {
				t.Error(err)
			}
		}()
		for _, args := range [][]string{
			{"side", "sh", "-c", look}, {"-u", "app", "side", "sh", "-c", look}, {"-w", "/opt", "-e", "A=own", "-e", "B=1", "side", "sh", "-c", look},
			{"-t", "-u", "1234:0", "side", "sh", "-c", look},
			{"side", "sh", "-c", "exit 42"}, {"side", "sh", "-c", "kill -9 $$"}, {"side", "nosuch"}, {"side", "/opt/plain"},
			{"-u", "nosuch", "side", "true"}, {"-w", "/nosuch", "side", "true"}, {"nosuch", "true"},
		} {
			label := strings.ReplaceAll("exec "+strings.Join(args, " "), look, "LOOK")
			t.Run(strings.ReplaceAll(label, "/", "|"), func(t *testing.T) {
				code, out, errs, err := d.run(nil, append([]string{"exec"}, args...)...)
				if err != nil {
					t.Fatal(err)
				}
				want := seen(out)
				want["exit"] = strconv.Itoa(code)
				// The daemon tells a session that does not start on the session's own output.
				if code == 126 || code == 127 {
					want = map[string]string{"exit": want["exit"]}
					errs = out
				}
				if said := substance(errs); said != "" {
					want["error"] = said
				}
				x, err := dialect.DockerExec(args, dialect.Outside{})
				if err == nil {
					out, err = capture(func(s Streams) (int, error) {
						return e.Exec(context.Background(), x, ExecOptions{Streams: s})
					})
				}
				c.compare(t, "docker:20.10.24", label, want, outcome(out, err))
			})
		}
	})
	c.report(t, 63, 4500)
	t.Cleanup(func() {
		left, err := os.ReadDir(e.containers())
		for _, l := range left {
			if l.IsDir() {
				t.Errorf("a container is left: %s (%v)", l.Name(), err)
			}
		}
	})
}

// blanks gives the one flag that has blanks in its value those.
func blanks(flags []string) []string {
	for i, f := range flags {
		if strings.HasPrefix(f, "c_") {
			flags[i] = strings.ReplaceAll(f, "_", " ")
		}
	}
	return flags
}

// beside runs args on porthole as Docker 20.10.24 does, and returns what was seen, with the exit code and error.
func (e *Engine) beside(t *testing.T, args []string) map[string]string {
	outside := dialect.Outside{ReadFile: os.ReadFile, Env: func(name string) (string, bool) {
		return "seen", name == "FROM_OUTSIDE"
	}}
	var out string
	run, err := dialect.Docker(args, outside)
	if err == nil {
		run.Workload.As = "docker:20.10.24"
		out, err = e.output(run)
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("porthole wrote %d bytes, at the end %q; error %v", len(out), out[max(0, len(out)-80):], err)
		}
	})
	return outcome(out, err)
}

// outcome is what was seen, the exit code and the error.
func outcome(out string, err error) map[string]string {
	got := seen(out)
	code := 0
	if err != nil {
		code = 125
		if c := (interface{ ExitCode() int })(nil); errors.As(err, &c) {
			code = c.ExitCode()
		}
		if own := exited(0); !errors.As(err, &own) {
			got["error"] = substance(err.Error())
		}
	}
	got["exit"] = strconv.Itoa(code)
	return got
}

// substance is a message without who passes it on.
func substance(message string) string {
	line, _, _ := strings.Cut(strings.TrimSpace(message), "\n")
	for _, who := range []string{"docker: Error response from daemon: ", "docker: ", "Error: ", "failed to create shim task: ", "OCI runtime exec failed: ", "exec failed: ", "OCI runtime create failed: ",
		"runc create failed: ", "unable to start container process: ", "error during container init: "} {
		line = strings.TrimPrefix(line, who)
	}
	return strings.TrimSuffix(strings.TrimSuffix(line, "."), ": unknown")
}
