package ocicli

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"github.com/opencontainers/runtime-spec/specs-go/features"

	"porthole/caps"
	"porthole/facts"
	"porthole/internal/engine/container"
	"porthole/plan"
)

// features prints what this runtime can do (runtime-spec, features.md).
func (a *app) features(f *flags) error {
	if _, err := f.ids(0, 0); err != nil {
		return err
	}
	fa, err := a.facts()
	if err != nil {
		return err
	}
	yes, no := new(true), new(false)
	var names []string
	for _, c := range caps.All.List() {
		names = append(names, c.String())
	}
	doc := features.Features{
		OCIVersionMin: "1.0.0", OCIVersionMax: specs.Version,
		Hooks:        []string{"prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop"},
		MountOptions: plan.MountOptions(),
		Linux: &features.Linux{
			Namespaces:   []string{"cgroup", "ipc", "mount", "network", "pid", "time", "user", "uts"},
			Capabilities: names,
			Cgroup:       &features.Cgroup{V1: yes, V2: yes, Systemd: yes, SystemdUser: no, Rdma: yes},
			Seccomp: &features.Seccomp{
				Enabled:    yes,
				Actions:    []string{"SCMP_ACT_ALLOW", "SCMP_ACT_ERRNO", "SCMP_ACT_KILL", "SCMP_ACT_KILL_PROCESS", "SCMP_ACT_KILL_THREAD", "SCMP_ACT_LOG", "SCMP_ACT_NOTIFY", "SCMP_ACT_TRACE", "SCMP_ACT_TRAP"},
				Operators:  []string{"SCMP_CMP_EQ", "SCMP_CMP_GE", "SCMP_CMP_GT", "SCMP_CMP_LE", "SCMP_CMP_LT", "SCMP_CMP_MASKED_EQ", "SCMP_CMP_NE"},
				Archs:      []string{"SCMP_ARCH_AARCH64", "SCMP_ARCH_ARM", "SCMP_ARCH_PPC64LE", "SCMP_ARCH_RISCV64", "SCMP_ARCH_S390X", "SCMP_ARCH_X32", "SCMP_ARCH_X86", "SCMP_ARCH_X86_64"},
				KnownFlags: seccompFlags(^uint32(0)), SupportedFlags: seccompFlags(fa.Features.SeccompFlags),
			},
			Apparmor:        &features.Apparmor{Enabled: yes},
			Selinux:         &features.Selinux{Enabled: yes},
			IntelRdt:        &features.IntelRdt{Enabled: no, Schemata: no, Monitoring: no},
			MemoryPolicy:    memoryPolicy(),
			MountExtensions: &features.MountExtensions{IDMap: &features.IDMap{Enabled: yes}},
			NetDevices:      &features.NetDevices{Enabled: yes},
		},
		PotentiallyUnsafeConfigAnnotations: []string{container.KeepGroups, "org.systemd.property."},
		Annotations:                        map[string]string{name + ".version": version},
	}
	out := json.NewEncoder(os.Stdout)
	out.SetIndent("", "  ")
	return out.Encode(doc)
}

func memoryPolicy() *features.MemoryPolicy {
	modes, flags := plan.MemoryPolicies()
	return &features.MemoryPolicy{Modes: modes, Flags: flags}
}

// seccompFlags are those of OCI's flags whose bits are set (include/uapi/linux/seccomp.h).
func seccompFlags(bits uint32) []string {
	list := []string{}
	for _, f := range []struct {
		bit  uint32
		name string
	}{{1, "SECCOMP_FILTER_FLAG_TSYNC"}, {2, "SECCOMP_FILTER_FLAG_LOG"}, {4, "SECCOMP_FILTER_FLAG_SPEC_ALLOW"}, {32, "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV"}} {
		if bits&f.bit != 0 {
			list = append(list, f.name)
		}
	}
	return list
}

// spec writes a configuration to begin with, the one that runc's spec writes.
func (a *app) spec(f *flags) error {
	dir := f.String("bundle", "", "`directory` to write it to")
	f.alias("bundle", "b")
	rootless := f.Bool("rootless", false, "for an ordinary user")
	if _, err := f.ids(0, 0); err != nil {
		return err
	}
	fa, err := a.facts()
	if err != nil {
		return err
	}
	s := example()
	if fa.Cgroup.Mode == facts.CgroupV2 { // in v1 the group that is mounted shows where it is anyway
		s.Linux.Namespaces = append(s.Linux.Namespaces, specs.LinuxNamespace{Type: "cgroup"})
	}
	if *rootless {
		forUser(s)
	}
	data, err := json.MarshalIndent(s, "", "\t")
	if err != nil {
		return err
	}
	file := filepath.Join(*dir, configFile)
	out, err := os.OpenFile(file, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o666)
	if errors.Is(err, os.ErrExist) {
		return fmt.Errorf("file %s exists: remove it first", file)
	}
	if err != nil {
		return err
	}
	_, err = out.Write(data)
	return errors.Join(err, out.Close())
}

func example() *specs.Spec {
	few := []string{"CAP_AUDIT_WRITE", "CAP_KILL", "CAP_NET_BIND_SERVICE"}
	return &specs.Spec{
		Version: specs.Version,
		Process: &specs.Process{
			Terminal: true, Args: []string{"sh"}, Cwd: "/", NoNewPrivileges: true,
			Env:          []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "TERM=xterm"},
			Capabilities: &specs.LinuxCapabilities{Bounding: few, Permitted: few, Effective: few},
			Rlimits:      []specs.POSIXRlimit{{Type: "RLIMIT_NOFILE", Hard: 1024, Soft: 1024}},
		},
		Root:     &specs.Root{Path: "rootfs", Readonly: true},
		Hostname: "porthole",
		Mounts: []specs.Mount{
			{Destination: "/proc", Type: "proc", Source: "proc"},
			{Destination: "/dev", Type: "tmpfs", Source: "tmpfs", Options: []string{"nosuid", "strictatime", "mode=755", "size=65536k"}},
			{Destination: "/dev/pts", Type: "devpts", Source: "devpts", Options: []string{"nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"}},
			{Destination: "/dev/shm", Type: "tmpfs", Source: "shm", Options: []string{"nosuid", "noexec", "nodev", "mode=1777", "size=65536k"}},
			{Destination: "/dev/mqueue", Type: "mqueue", Source: "mqueue", Options: []string{"nosuid", "noexec", "nodev"}},
			{Destination: "/sys", Type: "sysfs", Source: "sysfs", Options: []string{"nosuid", "noexec", "nodev", "ro"}},
			{Destination: "/sys/fs/cgroup", Type: "cgroup", Source: "cgroup", Options: []string{"nosuid", "noexec", "nodev", "relatime", "ro"}},
		},
		Linux: &specs.Linux{
			MaskedPaths: []string{
				"/proc/acpi", "/proc/asound", "/proc/kcore", "/proc/keys", "/proc/latency_stats", "/proc/timer_list",
				"/proc/timer_stats", "/proc/sched_debug", "/sys/firmware", "/proc/scsi",
			},
			ReadonlyPaths: []string{"/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"},
			Resources:     &specs.LinuxResources{Devices: []specs.LinuxDeviceCgroup{{Allow: false, Access: "rwm"}}},
			Namespaces:    []specs.LinuxNamespace{{Type: "pid"}, {Type: "network"}, {Type: "ipc"}, {Type: "uts"}, {Type: "mount"}},
		},
	}
}

// forUser changes a configuration into one that an ordinary user may run.
func forUser(s *specs.Spec) {
	one := func(host int) []specs.LinuxIDMapping { return []specs.LinuxIDMapping{{HostID: uint32(host), Size: 1}} }
	l := s.Linux
	l.UIDMappings, l.GIDMappings, l.Resources = one(os.Geteuid()), one(os.Getegid()), nil
	l.Namespaces = append(l.Namespaces, specs.LinuxNamespace{Type: "user"})
	l.Namespaces = remove(l.Namespaces, func(n specs.LinuxNamespace) bool { return n.Type == "network" })
	s.Mounts = remove(s.Mounts, func(m specs.Mount) bool { return m.Type == "cgroup" })
	for i := range s.Mounts {
		m := &s.Mounts[i]
		m.Options = remove(m.Options, func(o string) bool { return o == "gid=5" })
		if m.Type == "sysfs" {
			m.Type, m.Source, m.Options = "none", "/sys", []string{"rbind", "nosuid", "noexec", "nodev", "ro", "rro"} // the user's control groups lie beneath
		}
	}
}

func remove[T any](list []T, bad func(T) bool) (kept []T) {
	for _, v := range list {
		if !bad(v) {
			kept = append(kept, v)
		}
	}
	return kept
}
