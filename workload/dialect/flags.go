package dialect

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"

	"github.com/docker/go-units"
	"github.com/spf13/pflag"

	"porthole/workload"
)

// flag is one row: a flag that Docker's client has, or one of porthole's own.
type flag struct {
	name, short string
	kind        string // of its value, as help prints it; "" is a switch
	use         string
	bind        func(f *Flags) func(string) error // nil: refused
	refused     string                            // the reason
	same        []string                          // values that say what porthole does anyway, so not refused
	alias       bool                              // another name of a flag, not listed in help
}

const (
	noBridge   = "bridges and ports are not there yet; a container has its own network with loopback up, or the host's (--network host)"
	noHealth   = "porthole does not run health checks"
	noBlkio    = "porthole does not limit block devices"
	windows    = "it is for Windows"
	noRealtime = "porthole does not hand out real-time CPU time"
	noDaemon   = "porthole has no daemon that would do it later"
)

// runFlags are all flags of `docker run`, client 29.7, and --as. (A function, so that a command that
// reads none does not make the table: that took 0.2 ms of every start.)
func runFlags() []flag {
	return []flag{
		{name: "add-host", kind: "list", use: "add a custom host-to-IP mapping", refused: noBridge},
		{name: "annotation", kind: "map", use: "add an annotation for the OCI runtime", refused: "porthole is its own runtime and reads none"},
		{name: "as", kind: "release", use: "take the defaults of docker, podman or containerd (docker:18.09)", bind: text(func(f *Flags) *string { return &f.run.Workload.As })},
		{name: "attach", short: "a", kind: "list", use: "attach to stdin, stdout or stderr", refused: "use -i for stdin; stdout and stderr are always attached unless -d is given"},
		{name: "blkio-weight", kind: "uint16", use: "relative weight of block I/O", refused: noBlkio, same: []string{"0"}},
		{name: "blkio-weight-device", kind: "list", use: "relative weight of one block device", refused: noBlkio},
		{name: "cap-add", kind: "list", use: "add Linux capabilities", bind: list(func(f *Flags) *[]string { return &f.run.Workload.Security.CapAdd })},
		{name: "cap-drop", kind: "list", use: "drop Linux capabilities", bind: list(func(f *Flags) *[]string { return &f.run.Workload.Security.CapDrop })},
		{name: "cgroup-parent", kind: "string", use: "parent cgroup of the container", refused: "porthole makes its groups beneath its own"},
		{name: "cgroupns", kind: "string", use: "cgroup namespace: host or private", bind: mode("cgroupns", "CGROUP", func(n *workload.Namespaces) *string { return &n.Cgroup }, "host", "private")},
		{name: "cidfile", kind: "string", use: "write the container's id to a file", refused: "use --name, or the id that -d prints"},
		{name: "cpu-count", kind: "int", use: "CPU count", refused: windows},
		{name: "cpu-percent", kind: "int", use: "CPU percent", refused: windows},
		{name: "cpu-period", kind: "int", use: "period of the CPU quota", refused: "use --cpus"},
		{name: "cpu-quota", kind: "int", use: "CPU quota", refused: "use --cpus"},
		{name: "cpu-rt-period", kind: "int", use: "real-time period", refused: noRealtime},
		{name: "cpu-rt-runtime", kind: "int", use: "real-time budget", refused: noRealtime},
		{name: "cpu-shares", short: "c", kind: "int", use: "relative weight of CPU time", bind: cpuShares},
		{name: "cpus", kind: "decimal", use: "number of CPUs", bind: cpus},
		{name: "cpuset-cpus", kind: "string", use: "CPUs to run on (0-3, 0,1)", bind: text(func(f *Flags) *string { return &f.run.Workload.Limits.CpusetCpus })},
		{name: "cpuset-mems", kind: "string", use: "memory nodes to use (0-3, 0,1)", bind: text(func(f *Flags) *string { return &f.run.Workload.Limits.CpusetMems })},
		{name: "detach", short: "d", use: "run in the background and print the container's id", bind: toggle(func(f *Flags) *bool { return &f.run.Detach })},
		{name: "detach-keys", kind: "string", use: "key sequence that detaches", refused: "porthole cannot detach from a container that runs in the foreground"},
		{name: "device", kind: "list", use: "add a device of this machine", bind: device},
		{name: "device-cgroup-rule", kind: "list", use: "add a rule about devices (c 1:3 rwm)", bind: deviceRule},
		{name: "device-read-bps", kind: "list", use: "limit a device's read rate", refused: noBlkio},
		{name: "device-read-iops", kind: "list", use: "limit a device's reads", refused: noBlkio},
		{name: "device-write-bps", kind: "list", use: "limit a device's write rate", refused: noBlkio},
		{name: "device-write-iops", kind: "list", use: "limit a device's writes", refused: noBlkio},
		{name: "disable-content-trust", use: "skip image verification", refused: "there is no content trust to turn on", same: []string{"true"}},
		{name: "dns", kind: "list", use: "DNS servers", refused: noBridge},
		{name: "dns-opt", kind: "list", use: "DNS options", refused: noBridge, alias: true},
		{name: "dns-option", kind: "list", use: "DNS options", refused: noBridge},
		{name: "dns-search", kind: "list", use: "DNS search domains", refused: noBridge},
		{name: "domainname", kind: "string", use: "NIS domain name", refused: "porthole sets the host name only"},
		{name: "entrypoint", kind: "string", use: "replace the image's entry point", bind: text(func(f *Flags) *string { return &f.entrypoint })},
		{name: "env", short: "e", kind: "list", use: "set environment variables", bind: checked(func(f *Flags) *[]string { return &f.env }, validEnv)},
		{name: "env-file", kind: "list", use: "read environment variables from a file", bind: list(func(f *Flags) *[]string { return &f.envFiles })},
		{name: "expose", kind: "list", use: "expose ports", refused: noBridge},
		{name: "gpus", kind: "gpu-request", use: "GPUs to add", refused: "use --device with the nodes of the GPU, and -v for its libraries"},
		{name: "group-add", kind: "list", use: "further groups to join", bind: list(func(f *Flags) *[]string { return &f.run.Workload.Groups })},
		{name: "health-cmd", kind: "string", use: "health check", refused: noHealth},
		{name: "health-interval", kind: "duration", use: "time between health checks", refused: noHealth},
		{name: "health-retries", kind: "int", use: "failures that mean unhealthy", refused: noHealth},
		{name: "health-start-interval", kind: "duration", use: "time between checks at the start", refused: noHealth},
		{name: "health-start-period", kind: "duration", use: "time before failures count", refused: noHealth},
		{name: "health-timeout", kind: "duration", use: "longest time of one check", refused: noHealth},
		{name: "hostname", short: "h", kind: "string", use: "host name inside", bind: text(func(f *Flags) *string { return &f.run.Workload.Hostname })},
		{name: "init", use: "run an init inside that passes signals on and reaps processes", bind: toggle(func(f *Flags) *bool { return &f.run.Workload.Init })},
		{name: "interactive", short: "i", use: "keep stdin open", bind: toggle(func(f *Flags) *bool { return &f.run.Workload.Stdin })},
		{name: "io-maxbandwidth", kind: "bytes", use: "largest I/O bandwidth", refused: windows},
		{name: "io-maxiops", kind: "uint", use: "most I/O operations", refused: windows},
		{name: "ip", kind: "string", use: "IPv4 address", refused: noBridge},
		{name: "ip6", kind: "string", use: "IPv6 address", refused: noBridge},
		{name: "ipc", kind: "string", use: "IPC namespace: private, none or host", bind: mode("ipc", "IPC", func(n *workload.Namespaces) *string { return &n.IPC }, "private", "none", "host")},
		{name: "isolation", kind: "string", use: "isolation technology", refused: windows, same: []string{"default"}},
		{name: "kernel-memory", kind: "bytes", use: "kernel memory limit", refused: "the kernel has dropped it; -m counts kernel memory too"},
		{name: "label", short: "l", kind: "list", use: "set labels", bind: checked(func(f *Flags) *[]string { return &f.labels }, validLabel)},
		{name: "label-file", kind: "list", use: "read labels from a file", bind: list(func(f *Flags) *[]string { return &f.labelFiles })},
		{name: "link", kind: "list", use: "link to another container", refused: noBridge},
		{name: "link-local-ip", kind: "list", use: "link-local addresses", refused: noBridge},
		{name: "log-driver", kind: "string", use: "logging driver", refused: "a detached container's output goes to a file that `porthole logs` reads", same: []string{"json-file", "local"}},
		{name: "log-opt", kind: "list", use: "options of the logging driver", refused: "a detached container's output goes to a file that `porthole logs` reads"},
		{name: "mac-address", kind: "string", use: "MAC address", refused: noBridge},
		{name: "memory", short: "m", kind: "bytes", use: "memory limit", bind: size(func(f *Flags) *int64 { return &f.run.Workload.Limits.Memory })},
		{name: "memory-reservation", kind: "bytes", use: "soft memory limit", refused: "use -m"},
		{name: "memory-swap", kind: "bytes", use: "memory plus swap; -1 is no limit", bind: swap},
		{name: "memory-swappiness", kind: "int", use: "eagerness to swap", refused: "cgroup v2 has no such setting", same: []string{"-1"}},
		{name: "mount", kind: "mount", use: "attach a filesystem", bind: mountFlag("mount")},
		{name: "name", kind: "string", use: "name of the container", bind: text(func(f *Flags) *string { return &f.run.Workload.Name })},
		{name: "net", kind: "network", use: "network: none or host", bind: network, alias: true},
		{name: "net-alias", kind: "list", use: "name in the network", refused: noBridge, alias: true},
		{name: "network", kind: "network", use: "network: none or host", bind: network},
		{name: "network-alias", kind: "list", use: "name in the network", refused: noBridge},
		{name: "no-healthcheck", use: "no health checks", refused: noHealth, same: []string{"true"}},
		{name: "oom-kill-disable", use: "never kill for memory", refused: "a container that is out of memory would hang", same: []string{"false"}},
		{name: "oom-score-adj", kind: "int", use: "preference of the OOM killer (-1000 to 1000)", bind: oomScoreAdj},
		{name: "pid", kind: "string", use: "PID namespace: host", bind: mode("pid", "PID", func(n *workload.Namespaces) *string { return &n.PID }, "host")},
		{name: "pids-limit", kind: "int", use: "most processes; -1 is no limit", bind: pidsLimit},
		{name: "platform", kind: "string", use: "platform of the image", refused: "porthole runs images of this machine's own platform"},
		{name: "privileged", use: "all capabilities and devices, no filter, nothing masked", bind: toggle(func(f *Flags) *bool { return &f.run.Workload.Security.Privileged })},
		{name: "publish", short: "p", kind: "list", use: "publish ports", refused: noBridge},
		{name: "publish-all", short: "P", use: "publish all exposed ports", refused: noBridge, same: []string{"false"}},
		{name: "pull", kind: "string", use: "when to pull the image", refused: "an image is pulled when it is missing; `porthole pull` pulls a newer one", same: []string{"missing"}},
		{name: "quiet", short: "q", use: "no pull output", refused: "progress is shown on terminals only", same: []string{"false"}},
		{name: "read-only", use: "mount the root filesystem read-only", bind: toggle(func(f *Flags) *bool { return &f.run.Workload.Root.ReadOnly })},
		{name: "restart", kind: "string", use: "restart policy", refused: noDaemon, same: []string{"no"}},
		{name: "rm", use: "remove the container when it exits", bind: toggle(func(f *Flags) *bool { return &f.run.Remove })},
		{name: "runtime", kind: "string", use: "runtime of this container", refused: "porthole is its own runtime"},
		{name: "security-opt", kind: "list", use: "seccomp=FILE|unconfined|builtin, no-new-privileges, systempaths=unconfined, apparmor=…, label=…, writable-cgroups", bind: list(func(f *Flags) *[]string { return &f.security })},
		{name: "shm-size", kind: "bytes", use: "size of /dev/shm", bind: size(func(f *Flags) *int64 { return &f.run.Workload.Limits.ShmSize })},
		{name: "sig-proxy", use: "pass received signals to the process", refused: "signals always pass through to a foreground container", same: []string{"true"}},
		{name: "stop-signal", kind: "string", use: "signal that stops the container", bind: stopSignal},
		{name: "stop-timeout", kind: "int", use: "seconds before a stop becomes a kill", bind: stopTimeout},
		{name: "storage-opt", kind: "list", use: "options of the storage driver", refused: "a container's changes live in a tmpfs or overlay of porthole's own"},
		{name: "sysctl", kind: "map", use: "kernel parameters of the container's namespaces", bind: sysctl},
		{name: "tmpfs", kind: "list", use: "mount a tmpfs", bind: mountFlag("tmpfs")},
		{name: "tty", short: "t", use: "allocate a terminal", bind: toggle(func(f *Flags) *bool { return &f.run.Workload.TTY })},
		{name: "ulimit", kind: "ulimit", use: "resource limits (nofile=1024:2048)", bind: ulimit},
		{name: "use-api-socket", use: "pass the API socket in", refused: "porthole has no API socket", same: []string{"false"}},
		{name: "user", short: "u", kind: "string", use: "user: name|uid[:group|gid]", bind: text(func(f *Flags) *string { return &f.run.Workload.User })},
		{name: "userns", kind: "string", use: "user namespace: host", bind: mode("userns", "USER", func(n *workload.Namespaces) *string { return &n.User }, "host")},
		{name: "uts", kind: "string", use: "UTS namespace: host", bind: mode("uts", "UTS", func(n *workload.Namespaces) *string { return &n.UTS }, "host")},
		{name: "volume", short: "v", kind: "list", use: "bind a directory or mount a volume", bind: mountFlag("volume")},
		{name: "volume-driver", kind: "string", use: "volume driver", refused: "volumes are local", same: []string{"local"}},
		{name: "volumes-from", kind: "list", use: "mount another container's volumes", refused: "name the volume and give it to both with -v"},
		{name: "workdir", short: "w", kind: "string", use: "working directory inside", bind: text(func(f *Flags) *string { return &f.run.Workload.Dir })},
	}
}

// execFlags are all flags of `docker exec`, client 29.7, and those that hold for one session.
func execFlags() []flag {
	return append([]flag{
		{name: "cap-add", kind: "list", use: "add Linux capabilities for this session", bind: list(func(f *Flags) *[]string { return &f.run.Workload.Security.CapAdd })},
		{name: "cap-drop", kind: "list", use: "drop Linux capabilities for this session", bind: list(func(f *Flags) *[]string { return &f.run.Workload.Security.CapDrop })},
		{name: "security-opt", kind: "list", use: "seccomp=FILE|unconfined|builtin, no-new-privileges, for this session", bind: list(func(f *Flags) *[]string { return &f.security })},
	}, pick(runFlags(), "detach", "detach-keys", "env", "env-file", "interactive", "privileged", "tty", "user", "workdir")...)
}

func pick(from []flag, names ...string) (to []flag) {
	for _, f := range from {
		if slices.Contains(names, f.name) {
			to = append(to, f)
		}
	}
	return to
}

func bind(fs *pflag.FlagSet, table []flag) *Flags {
	f := &Flags{fs: fs}
	fs.SetInterspersed(false)
	values, flags := make([]value, len(table)), make([]pflag.Flag, len(table))
	for i := range table {
		row, v, p := &table[i], &values[i], &flags[i]
		*v = value{row, f}
		*p = pflag.Flag{Name: row.name, Shorthand: row.short, Usage: row.use, Value: v, Hidden: row.bind == nil || row.alias}
		if row.kind == "" {
			p.NoOptDefVal = "true"
		}
		fs.AddFlag(p)
	}
	return f
}

// value is a flag's value: nothing is kept but what bind does with it.
type value struct {
	row *flag
	f   *Flags
}

func (v *value) Set(s string) error {
	switch {
	case v.row.bind != nil:
		return v.row.bind(v.f)(s)
	case slices.Contains(v.row.same, s):
		return nil
	}
	return &Refused{Flag: "--" + v.row.name, Reason: v.row.refused}
}

func (v *value) Type() string   { return cmp.Or(v.row.kind, "bool") }
func (v *value) String() string { return "" }

func text(at func(*Flags) *string) func(*Flags) func(string) error {
	return func(f *Flags) func(string) error {
		return func(s string) error { *at(f) = s; return nil }
	}
}

func list(at func(*Flags) *[]string) func(*Flags) func(string) error {
	return checked(at, func(string) error { return nil })
}

func checked(at func(*Flags) *[]string, check func(string) error) func(*Flags) func(string) error {
	return func(f *Flags) func(string) error {
		return func(s string) error {
			*at(f) = append(*at(f), s)
			return check(s)
		}
	}
}

func toggle(at func(*Flags) *bool) func(*Flags) func(string) error {
	return func(f *Flags) func(string) error {
		return func(s string) (err error) { *at(f), err = strconv.ParseBool(s); return err }
	}
}

func size(at func(*Flags) *int64) func(*Flags) func(string) error {
	return func(f *Flags) func(string) error {
		return func(s string) (err error) { *at(f), err = units.RAMInBytes(s); return err }
	}
}

func mountFlag(name string) func(*Flags) func(string) error {
	return func(f *Flags) func(string) error {
		return func(s string) (err error) {
			a := asked{flag: name, value: s}
			if name == "mount" { // Docker's client reads these itself, its daemon the others
				a.mount, err = mountOption(s)
			}
			f.mounts = append(f.mounts, a)
			return err
		}
	}
}

// mode reads a namespace's mode: nothing, one of ok, or an error in Docker's words. Modes that
// Docker has beyond ok are refused by name.
func mode(flag, kind string, at func(*workload.Namespaces) *string, ok ...string) func(*Flags) func(string) error {
	return func(f *Flags) func(string) error {
		return func(s string) error {
			if joins(s) || s == "shareable" && flag == "ipc" {
				return &Refused{"--" + flag, s, "containers cannot share a namespace yet"}
			}
			if s != "" && !slices.Contains(ok, s) {
				return fmt.Errorf("--%s: invalid %s mode: want %s", flag, kind, or(ok))
			}
			*at(&f.run.Workload.NS) = s
			return nil
		}
	}
}

func network(f *Flags) func(string) error {
	return func(s string) error {
		switch s {
		case "", "none", "host":
			f.run.Workload.NS.Network = s
			return nil
		}
		if joins(s) {
			return &Refused{"--network", s, "containers cannot share a namespace yet"}
		}
		return &Refused{"--network", s, noBridge}
	}
}
