package dialect

import (
	"errors"
	"io/fs"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"porthole/workload"
)

func ptr[T any](v T) *T { return &v }

// outside is a caller with two variables, a directory and a few files.
var outside = Outside{
	Dir: "/home/u",
	Env: func(name string) (string, bool) {
		v, ok := map[string]string{"HOME": "/home/u", "EMPTY": ""}[name]
		return v, ok
	},
	ReadFile: func(name string) ([]byte, error) {
		doc, ok := map[string]string{
			"p.json":    `{"defaultAction":"SCMP_ACT_ALLOW"}`,
			"env":       "\ufeff# a comment\n\nA=1\r\n  B=two words\nHOME\nGONE\nC=\n",
			"env.space": "A B=1\n",
			"env.none":  "=1\n",
			"env.bad":   "A=\xff\n",
			"labels":    "a=1\nb\n",
		}[name]
		if !ok {
			return nil, &fs.PathError{Op: "open", Path: name, Err: errors.New("no such file or directory")}
		}
		return []byte(doc), nil
	},
}

// line splits a command line at blanks, '…' kept together.
func line(s string) (args []string) {
	for i, part := range strings.Split(s, "'") {
		if i%2 == 1 {
			args = append(args, part)
		} else {
			args = append(args, strings.Fields(part)...)
		}
	}
	return args
}

func TestDocker(t *testing.T) {
	for _, c := range []struct {
		name, line string
		want       Run
	}{
		{"an image alone", "host", Run{}},
		{"flags end at the image", "host ls -l --rm", Run{Workload: workload.Workload{Args: []string{"ls", "-l", "--rm"}}}},
		{"-- ends them too", "-i -- host -t", Run{Workload: workload.Workload{Stdin: true, Args: []string{"-t"}}}},
		{"switches", "-itd --rm --init --privileged --read-only host", Run{Detach: true, Remove: true, Workload: workload.Workload{
			TTY: true, Stdin: true, Init: true, Security: workload.Security{Privileged: true}, Root: workload.Root{ReadOnly: true}}}},
		{"a switch taken back", "--rm --rm=false host", Run{}},
		{"names", "--name a1 -h box -u u:g -w /w --group-add a --group-add 3 --as docker:18.09 --stop-signal SIGUSR1 host",
			Run{Workload: workload.Workload{Name: "a1", Hostname: "box", User: "u:g", Dir: "/w", Groups: []string{"a", "3"}, As: "docker:18.09", StopSignal: "SIGUSR1"}}},
		{"an entry point", "--entrypoint /bin/sh host -c true", Run{Workload: workload.Workload{Entrypoint: []string{"/bin/sh"}, Args: []string{"-c", "true"}}}},
		{"no entry point", "--entrypoint '' host true", Run{Workload: workload.Workload{Entrypoint: []string{}, Args: []string{"true"}}}},
		{"the environment", "-e A=1=2 -e HOME -e GONE -e EMPTY host", Run{Workload: workload.Workload{Env: []workload.EnvVar{
			{Name: "A", Value: ptr("1=2")}, {Name: "HOME", Value: ptr("/home/u")}, {Name: "GONE"}, {Name: "EMPTY", Value: ptr("")}}}}},
		{"an environment file comes first", "-e Z=1 --env-file env host", Run{Workload: workload.Workload{Env: []workload.EnvVar{
			{Name: "A", Value: ptr("1")}, {Name: "B", Value: ptr("two words")}, {Name: "HOME", Value: ptr("/home/u")}, {Name: "C", Value: ptr("")}, {Name: "Z", Value: ptr("1")}}}}},
		{"labels", "--label-file labels -l b=2 -l c host", Run{Workload: workload.Workload{Labels: map[string]string{"a": "1", "b": "2", "c": ""}}}},
		{"capabilities as spelled", "--cap-add ALL --cap-add sys_ptrace --cap-drop NET_RAW host", Run{Workload: workload.Workload{
			Security: workload.Security{CapAdd: []string{"ALL", "sys_ptrace"}, CapDrop: []string{"NET_RAW"}}}}},
		{"security options", "--security-opt no-new-privileges --security-opt seccomp=p.json --security-opt systempaths=unconfined --security-opt apparmor=a --security-opt label=disable --security-opt label=type:t host",
			Run{Workload: workload.Workload{Security: workload.Security{NoNewPrivs: ptr(true), Seccomp: "p.json", SeccompDoc: []byte(`{"defaultAction":"SCMP_ACT_ALLOW"}`),
				SystemPaths: "unconfined", AppArmor: "a", Labels: []string{"disable", "type:t"}}}}},
		{"security options of long ago", "--security-opt no-new-privileges:false --security-opt seccomp:unconfined --security-opt label:disable host",
			Run{Workload: workload.Workload{Security: workload.Security{NoNewPrivs: ptr(false), Seccomp: "unconfined", Labels: []string{"disable"}}}}},
		{"namespaces", "--pid=host --ipc none --uts=host --userns=host --cgroupns=private --net host host", Run{Workload: workload.Workload{
			NS: workload.Namespaces{PID: "host", IPC: "none", UTS: "host", User: "host", Cgroup: "private", Network: "host"}}}},
		{"limits", "-m 64m --memory-swap -1 --cpus 1.5 -c 512 --cpuset-cpus 0-1 --pids-limit -1 --oom-score-adj -500 --shm-size 1g --ulimit nofile=100:200 --ulimit core=-1 --ulimit nofile=7 host",
			Run{Workload: workload.Workload{Limits: workload.Limits{Memory: 64 << 20, MemorySwap: -1, NanoCPUs: 15e8, CPUShares: 512, CpusetCpus: "0-1", PidsLimit: ptr[int64](-1),
				OOMScoreAdj: ptr(-500), ShmSize: 1 << 30, Ulimits: []workload.Ulimit{{Name: "nofile", Soft: 7, Hard: 7}, {Name: "core", Soft: -1, Hard: -1}}}}}},
		{"sysctls", "--sysctl net.ipv4.ip_forward=1 --sysctl kernel.sem='1 2 3 4' host", Run{Workload: workload.Workload{Sysctls: map[string]string{"net.ipv4.ip_forward": "1", "kernel.sem": ""}, Args: []string{"host"}, Image: "1 2 3 4"}}},
		{"devices", "--device /dev/kvm --device /dev/a:/dev/b --device /dev/c:r --device /dev/d:/dev/e:rw --device-cgroup-rule 'c 1:* rwm' host", Run{Workload: workload.Workload{Devices: []workload.Device{
			{Source: "/dev/kvm", Target: "/dev/kvm", Access: "rwm"}, {Source: "/dev/a", Target: "/dev/b", Access: "rwm"}, {Source: "/dev/c", Target: "/dev/c", Access: "r"},
			{Source: "/dev/d", Target: "/dev/e", Access: "rw"}, {Rule: "c 1:* rwm"}}}}},
		{"what porthole does anyway", "--restart no --pull missing --sig-proxy --no-healthcheck --isolation default host", Run{}},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := Docker(line(c.line), outside)
			if err != nil {
				t.Fatal(err)
			}
			if c.want.Workload.Image == "" {
				c.want.Workload.Image = "host"
			}
			if d := cmp.Diff(c.want, got); d != "" {
				t.Errorf("run %s (-want +got):\n%s", c.line, d)
			}
		})
	}
}

func TestDockerMounts(t *testing.T) {
	for _, c := range []struct {
		line string
		want workload.Mount
	}{
		{"-v /a:/b", workload.Mount{Type: "bind", Source: "/a", Target: "/b", CreateSource: true}},
		{"-v ./a/../c:/b:ro,Z,rslave", workload.Mount{Type: "bind", Source: "/home/u/c", Target: "/b", CreateSource: true, ReadOnly: true, Relabel: "Z", Propagation: "rslave"}},
		{"-v vol:/b/:rw,nocopy", workload.Mount{Type: "volume", Source: "vol", Target: "/b", NoCopy: true}},
		{"-v /b", workload.Mount{Type: "volume", Target: "/b"}},
		{"--tmpfs /t", workload.Mount{Type: "tmpfs", Target: "/t"}},
		{"--tmpfs /t:exec,size=64m", workload.Mount{Type: "tmpfs", Target: "/t", Options: []string{"exec", "size=64m"}}},
		{"--mount type=bind,src=/a,dst=/b,readonly,bind-propagation=rshared", workload.Mount{Type: "bind", Source: "/a", Target: "/b", ReadOnly: true, Propagation: "rshared"}},
		{"--mount type=bind,source=./a,target=/b,ro=false,bind-recursive=disabled,bind-create-src", workload.Mount{Type: "bind", Source: "/home/u/a", Target: "/b", NonRecursive: true, CreateSource: true}},
		{"--mount type=bind,source=/a,target=/b,ro,bind-recursive=writable", workload.Mount{Type: "bind", Source: "/a", Target: "/b", ReadOnly: true, SubReadOnly: "no"}},
		{"--mount type=bind,source=/a,target=/b,ro,bind-recursive=readonly,bind-propagation=rprivate", workload.Mount{Type: "bind", Source: "/a", Target: "/b", ReadOnly: true, SubReadOnly: "yes", Propagation: "rprivate"}},
		{"--mount dst=/b", workload.Mount{Type: "volume", Target: "/b"}},
		{"--mount type=volume,src=vol,destination=/b,volume-nocopy=true", workload.Mount{Type: "volume", Source: "vol", Target: "/b", NoCopy: true}},
		{"--mount type=tmpfs,dst=/t,tmpfs-size=1m,tmpfs-mode=1770", workload.Mount{Type: "tmpfs", Target: "/t", Size: 1 << 20, Mode: ptr[uint32](0o1770)}},
	} {
		got, err := Docker(line(c.line+" host"), outside)
		if err != nil {
			t.Errorf("%s: %v", c.line, err)
			continue
		}
		c.want.Refer = strings.Replace(c.line, "-v ", "--volume ", 1)
		if d := cmp.Diff([]workload.Mount{c.want}, got.Workload.Mounts); d != "" {
			t.Errorf("%s (-want +got):\n%s", c.line, d)
		}
	}
}

func TestDockerErrors(t *testing.T) {
	for _, c := range []struct{ line, want string }{
		{"", "an image is required"},
		{"-m x host", `invalid argument "x" for "-m, --memory" flag: invalid size: 'x'`},
		{"-m 1m host", "minimum memory limit allowed is 6MB"},
		{"--cpuset-cpus abc host", "invalid value abc for cpuset cpus"},
		{"--cpuset-cpus 3-1 host", "invalid value 3-1 for cpuset cpus"},
		{"--cpuset-mems 0, host", "invalid value 0, for cpuset mems"},
		{"--memory-swap 1g host", "you should always set the memory limit"},
		{"-m 64m --memory-swap 32m host", "minimum memoryswap limit should be larger than memory limit"},
		{"--cpus x host", `invalid argument "x" for "--cpus" flag: failed to parse x as a rational number`},
		{"--cpus 0.0000000001 host", "value is too precise"},
		{"--cpus 1e999999 host", "failed to parse"},
		{"--cpus 0.001 host", "range of CPUs starts at 0.01"},
		{"--pids-limit x host", `invalid argument "x" for "--pids-limit" flag: strconv.ParseInt: parsing "x": invalid syntax`},
		{"--oom-score-adj 1001 host", "range for oom score adj is [-1000, 1000]"},
		{"--ulimit nofile host", "invalid ulimit argument: nofile"},
		{"--ulimit nope=1 host", "invalid ulimit type: nope"},
		{"--ulimit nofile=2:1 host", "ulimit soft limit must be less than or equal to hard limit: 2 > 1"},
		{"--sysctl kernel.panic=1 host", `invalid argument "kernel.panic=1" for "--sysctl" flag: sysctl 'kernel.panic=1' is not allowed`},
		{"--sysctl net.ipv4.ip_forward host", "is not allowed"},
		{"--device :/dev/x host", "bad format for path: :/dev/x"},
		{"--device dev/x host", "dev/x is not an absolute path"},
		{"--device /dev/x:/dev/x:rx host", "bad mode specified: rx"},
		{"--device vendor.com/gpu=0 host", "--device vendor.com/gpu=0 is not supported: porthole reads no CDI files"},
		{"--device-cgroup-rule 'c 1 rwm' host", "invalid device cgroup format 'c 1 rwm'"},
		{"-e =x host", "invalid environment variable: =x"},
		{"-l =x host", "invalid label '=x': empty name"},
		{"--env-file nope host", "invalid env file (nope): open nope: no such file or directory"},
		{"--env-file env.space host", "invalid env file (env.space): variable 'A B' contains whitespaces"},
		{"--env-file env.none host", "no variable name on line '=1'"},
		{"--env-file env.bad host", "invalid utf8 bytes at line 1"},
		{"--security-opt seccomp=/nonexistent.json host", "opening seccomp profile (/nonexistent.json) failed: open /nonexistent.json: no such file or directory"},
		{"--security-opt nope host", `invalid --security-opt: "nope"`},
		{"--security-opt nope=1 host", `invalid --security-opt: "nope=1"`},
		{"--security-opt seccomp= host", `invalid --security-opt: "seccomp="`},
		{"--security-opt no-new-privileges=maybe host", `invalid --security-opt: "no-new-privileges=maybe"`},
		{"--security-opt systempaths=all host", `invalid --security-opt: "systempaths=all"`},
		{"--stop-signal NOPE host", "invalid signal: NOPE"},
		{"--name -a host", "invalid container name (-a)"},
		{"-w rel host", "the working directory 'rel' is invalid, it needs to be an absolute path"},
		{"--pid nope host", "--pid: invalid PID mode"},
		{"--pid container:a host", "--pid container:a is not supported: containers cannot share a namespace yet"},
		{"--ipc shareable host", "--ipc shareable is not supported"},
		{"--network bridge host", "--network bridge is not supported: bridges and ports are not there yet"},
		{"--net mynet host", "--network mynet is not supported"},
		{"--gpus all host", "--gpus is not supported: use --device"},
		{"-p 80:80 host", "--publish is not supported: bridges"},
		{"-P host", "--publish-all is not supported"},
		{"--restart always host", "--restart is not supported: porthole has no daemon"},
		{"--cap-ad X host", "unknown flag: --cap-ad; did you mean --cap-add?"},
		{"--zzzzz host", "unknown flag: --zzzzz"},
		{"-Z host", "unknown shorthand flag: 'Z' in -Z"},
		{"--user", "flag needs an argument: --user"},
		{"-v a:b:c:d host", "invalid volume specification: 'a:b:c:d'"},
		{"-v /a:b host", "invalid mount path: 'b' mount path must be absolute"},
		{"-v a/b:/c host", "includes invalid characters for a local volume name"},
		{"-v /a:/b:ro,rw host", "invalid mode: ro,rw"},
		{"-v /a:/b:nope host", "invalid mode: nope"},
		{"-v /a:/b:nocopy host", "nocopy is for volumes"},
		{"-v /a:/ host", "invalid specification: destination can't be '/'"},
		{"-v /a:/b -v /c:/b/ host", "duplicate mount point: /b"},
		{"--tmpfs t host", "mount path must be absolute"},
		{"--tmpfs /t:foo=1 host", `invalid tmpfs option "foo=1"`},
		{"--mount bind host", `invalid argument "bind" for "--mount" flag: invalid field 'bind' must be a key=value pair`},
		{"--mount type=bind,src=/a host", "target is required"},
		{"--mount type=bind,dst=/a host", "field Source must not be empty"},
		{"--mount type=bind,src=a,dst=/b host", "mount path must be absolute"},
		{"--mount type=nope,dst=/b host", `mount type "nope" unknown`},
		{"--mount type=image,src=a,dst=/b host", "--mount type=image is not supported"},
		{"--mount type=tmpfs,src=/a,dst=/b host", "field Source must not be specified"},
		{"--mount type=bind,src=/a,dst=/b,tmpfs-size=1 host", "cannot mix 'tmpfs-*' options with mount type 'bind'"},
		{"--mount type=bind,src=/a,dst=/b,nope=1 host", "unexpected key 'nope' in 'nope=1'"},
		{"--mount type=bind,src=/a,dst=/b,bind-recursive=readonly host", "requires 'readonly'"},
	} {
		_, err := Docker(line(c.line), outside)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("run %s: %v; want %q", c.line, err, c.want)
		}
	}
}

func TestDockerExec(t *testing.T) {
	got, err := DockerExec(line("-itd -e A=1 -u 1000 -w /tmp --privileged --cap-add SYS_PTRACE --cap-drop CHOWN --security-opt seccomp=unconfined --security-opt no-new-privileges=false box gdb -p 1"), outside)
	if err != nil {
		t.Fatal(err)
	}
	want := workload.Exec{Container: "box", Args: []string{"gdb", "-p", "1"}, Env: []workload.EnvVar{{Name: "A", Value: ptr("1")}}, Dir: "/tmp", User: "1000",
		TTY: true, Stdin: true, Detach: true, Privileged: true, CapAdd: []string{"SYS_PTRACE"}, CapDrop: []string{"CHOWN"}, Seccomp: "unconfined", NoNewPrivs: ptr(false)}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
	for line_, want := range map[string]string{
		"box":                          "a container and a command are required",
		"--detach-keys x box true":     "--detach-keys is not supported",
		"--rm box true":                "unknown flag: --rm",
		"--security-opt label=a box a": "the rest belongs to the container",
		"--security-opt nope=a box a":  "invalid --security-opt",
	} {
		if _, err := DockerExec(line(line_), outside); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("exec %s: %v; want %q", line_, err, want)
		}
	}
}
