package dialect

import (
	"encoding/csv"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"porthole/workload"
)

// args is a command line being written.
type args []string

func (a *args) add(flag string, values ...string) {
	for _, v := range values {
		*a = append(*a, "--"+flag, v)
	}
}

func (a *args) say(flag, v string) {
	if v != "" {
		a.add(flag, v)
	}
}

func (a *args) toggle(flag string, on bool) {
	if on {
		*a = append(*a, "--"+flag)
	}
}

func (a *args) env(vars []workload.EnvVar) {
	for _, e := range vars {
		if e.Value == nil {
			a.add("env", e.Name)
		} else {
			a.add("env", e.Name+"="+*e.Value)
		}
	}
}

func (a *args) bool(opt string, b *bool) {
	if b != nil {
		a.add("security-opt", fmt.Sprintf("%s=%t", opt, *b))
	}
}

func (a *args) number(flag string, n int64) {
	if n != 0 {
		a.add(flag, strconv.FormatInt(n, 10))
	}
}

// DockerArgs writes r as the arguments of `docker run`; Docker reads them back to the same,
// but for Mount.Refer, which is then what stands here. A seccomp document is named, not
// written: whoever runs the line needs the file. Without Docker's words are masked paths one
// by one, and volumes and tmpfs with further options.
func DockerArgs(r Run) []string {
	var a args
	w := r.Workload
	a.say("as", w.As)
	a.say("name", w.Name)
	a.toggle("detach", r.Detach)
	a.toggle("rm", r.Remove)
	a.toggle("interactive", w.Stdin)
	a.toggle("tty", w.TTY)
	a.toggle("init", w.Init)
	a.say("hostname", w.Hostname)
	a.say("user", w.User)
	a.add("group-add", w.Groups...)
	a.say("workdir", w.Dir)
	a.env(w.Env)
	for _, k := range slices.Sorted(maps.Keys(w.Labels)) {
		a.add("label", k+"="+w.Labels[k])
	}
	a.say("stop-signal", w.StopSignal)
	if w.StopWait != nil {
		a.add("stop-timeout", strconv.Itoa(int(*w.StopWait/time.Second)))
	}

	s := w.Security
	a.toggle("privileged", s.Privileged)
	a.add("cap-add", s.CapAdd...)
	a.add("cap-drop", s.CapDrop...)
	if s.Seccomp != "" {
		a.add("security-opt", "seccomp="+s.Seccomp)
	}
	a.bool("no-new-privileges", s.NoNewPrivs)
	a.bool("writable-cgroups", s.WritableCgroups)
	if s.SystemPaths != "" {
		a.add("security-opt", "systempaths="+s.SystemPaths)
	}
	if s.AppArmor != "" {
		a.add("security-opt", "apparmor="+s.AppArmor)
	}
	for _, l := range s.Labels {
		a.add("security-opt", "label="+l)
	}

	a.toggle("read-only", w.Root.ReadOnly)
	for _, m := range w.Mounts {
		flag, v := writeMount(m)
		a.add(flag, v)
	}
	for _, d := range w.Devices {
		if d.Rule != "" {
			a.add("device-cgroup-rule", d.Rule)
		} else {
			a.add("device", d.Source+":"+d.Target+":"+d.Access)
		}
	}
	a.say("pid", w.NS.PID)
	a.say("ipc", w.NS.IPC)
	a.say("uts", w.NS.UTS)
	a.say("userns", w.NS.User)
	a.say("cgroupns", w.NS.Cgroup)
	a.say("network", w.NS.Network)

	l := w.Limits
	a.number("memory", l.Memory)
	a.number("memory-swap", l.MemorySwap)
	if l.NanoCPUs != 0 {
		a.add("cpus", strings.TrimRight(strings.TrimRight(fmt.Sprintf("%d.%09d", l.NanoCPUs/1e9, l.NanoCPUs%1e9), "0"), "."))
	}
	a.number("cpu-shares", int64(l.CPUShares))
	a.say("cpuset-cpus", l.CpusetCpus)
	a.say("cpuset-mems", l.CpusetMems)
	if l.PidsLimit != nil {
		a.add("pids-limit", strconv.FormatInt(*l.PidsLimit, 10))
	}
	for _, u := range l.Ulimits {
		a.add("ulimit", fmt.Sprintf("%s=%d:%d", u.Name, u.Soft, u.Hard))
	}
	if l.OOMScoreAdj != nil {
		a.add("oom-score-adj", strconv.Itoa(*l.OOMScoreAdj))
	}
	a.number("shm-size", l.ShmSize)
	for _, k := range slices.Sorted(maps.Keys(w.Sysctls)) {
		a.add("sysctl", k+"="+w.Sysctls[k])
	}

	// An entry point of several words begins the command, but for its first.
	cmd := w.Args
	if w.Entrypoint != nil {
		first := ""
		if len(w.Entrypoint) > 0 {
			first = w.Entrypoint[0]
			cmd = append(slices.Clone(w.Entrypoint[1:]), cmd...)
		}
		a.add("entrypoint", first)
	}
	if strings.HasPrefix(w.Image, "-") {
		a = append(a, "--")
	}
	return append(append(a, w.Image), cmd...)
}

// writeMount says a mount with the flag that has the words for it: --mount wherever the
// shorter ones would mean something else.
func writeMount(m workload.Mount) (flag, value string) {
	plain := m.SubReadOnly == "" && !m.NonRecursive && !strings.Contains(m.Source+m.Target, ":")
	switch {
	case m.Type == workload.Tmpfs && m.Size == 0 && m.Mode == nil && !m.ReadOnly && plain:
		if len(m.Options) > 0 {
			return "tmpfs", m.Target + ":" + strings.Join(m.Options, ",")
		}
		return "tmpfs", m.Target
	case m.Type == workload.Volume && m.Source == "" && plain && !m.NoCopy && !m.ReadOnly && m.Relabel == "":
		return "volume", m.Target
	case m.Type == workload.Bind && m.CreateSource && plain, m.Type == workload.Volume && m.Source != "" && plain:
		var modes []string
		if m.ReadOnly {
			modes = append(modes, "ro")
		}
		if m.NoCopy {
			modes = append(modes, "nocopy")
		}
		for _, mode := range []string{m.Relabel, m.Propagation} {
			if mode != "" {
				modes = append(modes, mode)
			}
		}
		v := m.Source + ":" + m.Target
		if modes != nil {
			v += ":" + strings.Join(modes, ",")
		}
		return "volume", v
	}
	fields := []string{"type=" + string(m.Type)}
	opt := func(on bool, s string) {
		if on {
			fields = append(fields, s)
		}
	}
	opt(m.Source != "", "source="+m.Source)
	opt(true, "target="+m.Target)
	opt(m.ReadOnly, "readonly")
	opt(m.Propagation != "", "bind-propagation="+m.Propagation)
	opt(m.NonRecursive, "bind-recursive=disabled")
	opt(m.SubReadOnly == "no", "bind-recursive=writable")
	opt(m.SubReadOnly == "yes", "bind-recursive=readonly")
	opt(m.CreateSource, "bind-create-src")
	opt(m.NoCopy, "volume-nocopy")
	opt(m.Size != 0, fmt.Sprintf("tmpfs-size=%d", m.Size))
	if m.Mode != nil {
		opt(true, fmt.Sprintf("tmpfs-mode=%o", *m.Mode))
	}
	var b strings.Builder
	out := csv.NewWriter(&b)
	_ = out.Write(fields) // a strings.Builder takes everything
	out.Flush()
	return "mount", strings.TrimSuffix(b.String(), "\n")
}

// DockerExecArgs writes e as the arguments of `docker exec`, as DockerArgs does of `run`.
func DockerExecArgs(e workload.Exec) []string {
	var a args
	a.toggle("detach", e.Detach)
	a.toggle("interactive", e.Stdin)
	a.toggle("tty", e.TTY)
	a.say("user", e.User)
	a.say("workdir", e.Dir)
	a.env(e.Env)
	a.toggle("privileged", e.Privileged)
	a.add("cap-add", e.CapAdd...)
	a.add("cap-drop", e.CapDrop...)
	if e.Seccomp != "" {
		a.add("security-opt", "seccomp="+e.Seccomp)
	}
	a.bool("no-new-privileges", e.NoNewPrivs)
	if strings.HasPrefix(e.Container, "-") {
		a = append(a, "--")
	}
	return append(append(a, e.Container), e.Args...)
}

// MountArgs writes one mount as the arguments of `docker run`.
func MountArgs(m workload.Mount) []string {
	flag, v := writeMount(m)
	return []string{"--" + flag, v}
}
