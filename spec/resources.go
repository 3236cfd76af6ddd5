package spec

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	specs "github.com/opencontainers/runtime-spec/specs-go"

	"porthole/workload"
)

func rule(allow bool, kind string, major, minor int64, access string) specs.LinuxDeviceCgroup {
	r := specs.LinuxDeviceCgroup{Allow: allow, Type: kind, Access: access}
	if major >= 0 {
		r.Major = &major
	}
	if minor >= 0 {
		r.Minor = &minor
	}
	return r
}

// defaultRules let a container use the devices that every container has (oci/defaults.go):
// zero, null, urandom, random, tty, console, and not fuse. The runtime adds those of its own
// making: full, ptmx and the terminals, and that nodes of any kind may be made.
func defaultRules() []specs.LinuxDeviceCgroup {
	rules := []specs.LinuxDeviceCgroup{rule(false, "", -1, -1, "rwm")}
	for _, n := range [][2]int64{{1, 5}, {1, 3}, {1, 9}, {1, 8}, {5, 0}, {5, 1}} {
		rules = append(rules, rule(true, "c", n[0], n[1], "rwm"))
	}
	return append(rules, rule(false, "c", 10, 229, "rwm"))
}

// devices are those of --device, and all with --privileged. In a user namespace no node can be
// made (may_mknod wants CAP_MKNOD in the first one), so the machine's own are bound, as Podman does.
func (m *maker) devices() error {
	rules := defaultRules()
	var devs []specs.LinuxDevice
	privileged := m.w.Security.Privileged
	if privileged {
		rules = []specs.LinuxDeviceCgroup{rule(true, "", -1, -1, "rwm")}
		if m.opt.HostDevices != nil {
			all, err := m.opt.HostDevices()
			if err != nil {
				return fmt.Errorf("--privileged: %w", err)
			}
			devs = append(devs, all...)
		}
	}
	for _, d := range m.w.Devices {
		if d.Rule != "" {
			r, err := parseRule(d.Rule)
			if err != nil {
				return err
			}
			if m.nested() {
				m.warn("--device-cgroup-rule "+d.Rule, "in a user namespace there is no device cgroup: permissions of the files decide")
			}
			rules = append(rules, r)
			continue
		}
		if m.opt.Device == nil {
			return fmt.Errorf("--device %s: no devices here", d.Source)
		}
		found, err := m.opt.Device(d.Source)
		if err != nil {
			return fmt.Errorf("error gathering device information while adding custom device %q: %w", d.Source, err)
		}
		for _, node := range found {
			source := node.Path
			if rest, ok := strings.CutPrefix(source, d.Source); ok {
				node.Path = d.Target + rest
			} else {
				node.Path = d.Target
			}
			if m.nested() {
				options := []string{"rbind", "rprivate", "nosuid", "noexec"}
				if !strings.Contains(d.Access, "w") {
					options = append(options, "ro")
				}
				m.spec.Mounts = append(m.spec.Mounts, mount(node.Path, "bind", source, options...))
				continue
			}
			if !slices.ContainsFunc(devs, func(have specs.LinuxDevice) bool { return have.Path == node.Path }) {
				devs = append(devs, node)
			}
			if !privileged {
				rules = append(rules, rule(true, node.Type, node.Major, node.Minor, d.Access))
			}
		}
	}
	if m.nested() {
		for _, node := range devs { // --privileged's
			m.spec.Mounts = append(m.spec.Mounts, mount(node.Path, "bind", node.Path, "rbind", "rprivate", "nosuid", "noexec"))
		}
		return nil
	}
	m.spec.Linux.Devices = devs
	m.spec.Linux.Resources = &specs.LinuxResources{Devices: rules}
	return nil
}

// parseRule reads "c 1:3 rwm"; * is any number.
func parseRule(s string) (specs.LinuxDeviceCgroup, error) {
	bad := fmt.Errorf("invalid device cgroup format '%s'", s)
	parts := strings.Fields(s)
	if len(parts) != 3 || !slices.Contains([]string{"a", "b", "c"}, parts[0]) || strings.Trim(parts[2], "rwm") != "" {
		return specs.LinuxDeviceCgroup{}, bad
	}
	major, minor, ok := strings.Cut(parts[1], ":")
	n := [2]int64{-1, -1}
	for i, number := range []string{major, minor} {
		if number == "*" {
			continue
		}
		v, err := strconv.ParseInt(number, 10, 32)
		if err != nil || v < 0 {
			ok = false
		}
		n[i] = v
	}
	if !ok {
		return specs.LinuxDeviceCgroup{}, bad
	}
	return rule(true, parts[0], n[0], n[1], parts[2]), nil
}

// cpuPeriod is that of a quota, in microseconds (daemon/daemon_unix.go, getCPUResources).
const cpuPeriod = 100_000

// resources are the limits, where there is a control group to hold them.
func (m *maker) resources() error {
	l := m.w.Limits
	if m.opt.CPUs > 0 && l.NanoCPUs > int64(m.opt.CPUs)*1e9 {
		return fmt.Errorf("range of CPUs is from 0.01 to %d.00, as there are only %d CPUs available", m.opt.CPUs, m.opt.CPUs)
	}
	if l.MemorySwap > 0 && l.Memory == 0 {
		return errors.New("you should always set the memory limit when using --memory-swap")
	}
	if m.opt.CgroupsPath == "" || !m.f.Cgroup.Writable {
		m.spec.Linux.Resources = nil
		if said := limits(l); said != "" {
			m.warn(said, "no control group can be made here: without effect")
		} else if m.opt.CgroupsPath != "" {
			why := "none is delegated to this user"
			if m.f.UID == 0 && m.f.UserNS.Initial {
				why = "no hierarchy is mounted here that can be written to"
			}
			m.warn("control group", "%s, so nothing bounds or counts what the container uses", why)
		}
		return nil
	}
	m.spec.Linux.CgroupsPath = m.opt.CgroupsPath
	if m.spec.Linux.Resources == nil {
		m.spec.Linux.Resources = &specs.LinuxResources{}
	}
	r := m.spec.Linux.Resources
	if l.Memory != 0 {
		swap := l.MemorySwap
		if swap == 0 {
			swap = 2 * l.Memory
		}
		r.Memory = &specs.LinuxMemory{Limit: &l.Memory, Swap: &swap}
		if !m.f.Cgroup.SwapLimit { // Docker, too, drops it and says so (verifyPlatformContainerResources)
			r.Memory.Swap = nil
			m.warn("--memory", "this kernel does not limit swap: memory is limited without it")
		}
	} else if l.MemorySwap != 0 {
		r.Memory = &specs.LinuxMemory{Swap: &l.MemorySwap}
	}
	cpu := specs.LinuxCPU{Cpus: l.CpusetCpus, Mems: l.CpusetMems}
	if l.CPUShares != 0 {
		cpu.Shares = &l.CPUShares
	}
	if l.NanoCPUs != 0 {
		period, quota := uint64(cpuPeriod), l.NanoCPUs*cpuPeriod/1e9
		cpu.Period, cpu.Quota = &period, &quota
	}
	if cpu != (specs.LinuxCPU{}) {
		r.CPU = &cpu
	}
	if l.PidsLimit != nil {
		limit := *l.PidsLimit
		if limit <= 0 {
			limit = -1
		}
		r.Pids = &specs.LinuxPids{Limit: &limit}
	}
	return nil
}

// limits names the flags that need a control group.
func limits(l workload.Limits) string {
	var said []string
	for _, s := range []struct {
		flag string
		set  bool
	}{
		{"-m", l.Memory != 0}, {"--memory-swap", l.MemorySwap != 0}, {"--cpus", l.NanoCPUs != 0}, {"--cpu-shares", l.CPUShares != 0},
		{"--cpuset-cpus", l.CpusetCpus != ""}, {"--cpuset-mems", l.CpusetMems != ""}, {"--pids-limit", l.PidsLimit != nil},
	} {
		if s.set {
			said = append(said, s.flag)
		}
	}
	return strings.Join(said, ", ")
}
