package spec

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"porthole/caps"
)

// defaults are what a release of an engine gives a container that asks for nothing.
type defaults struct {
	caps             []string // in the engine's own order
	masked, readonly []string
	thermal          bool // cpu*/thermal_throttle is masked too, where it is there

	lastCap       caps.Cap // the newest capability it knows
	inheritable   bool     // capabilities are inheritable too (CVE-2022-24769)
	clearNonRoot  bool     // a user other than root is given a bounding set alone
	ambient       bool     // such a user is given the capabilities asked for by name, as ambient ones
	primaryGroup  bool     // the primary group is among the supplementary ones (CVE-2022-36109)
	timeNS        bool
	openPorts     bool // ports below 1024 and ICMP sockets need no capability
	privateCgroup bool // on cgroup v2 a cgroup namespace is made
	subReadOnly   bool // mounts beneath a read-only mount are read-only too
	privilegedSec bool // --privileged honours a seccomp profile given by name
}

// change is what one release of Docker brought, with its source.
type change struct {
	since []string // releases, ascending; a patch release counts for its own line
	do    func(*defaults)
	src   string
}

// dockerCaps have been the same, in this order, since profiles exist (oci/caps/defaults.go, v1.12 to v29.7).
var dockerCaps = []string{
	"CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_FSETID", "CAP_FOWNER", "CAP_MKNOD", "CAP_NET_RAW", "CAP_SETGID", "CAP_SETUID",
	"CAP_SETFCAP", "CAP_SETPCAP", "CAP_NET_BIND_SERVICE", "CAP_SYS_CHROOT", "CAP_KILL", "CAP_AUDIT_WRITE",
}

// dockerFirst is what all releases since 1.11 have in common.
var dockerFirst = defaults{
	caps:        dockerCaps,
	masked:      []string{"/proc/kcore", "/proc/latency_stats", "/proc/timer_list", "/proc/timer_stats", "/proc/sched_debug"},
	readonly:    []string{"/proc/asound", "/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"},
	lastCap:     caps.CAP_AUDIT_READ,
	inheritable: true, clearNonRoot: true,
}

var dockerChanges = []change{
	{[]string{"1.13.0"}, mask("/sys/firmware"), "not in oci/defaults_linux.go of 1.12; AppArmor denies it since 1.13.0, moby#26618"},
	{[]string{"17.12.0"}, mask("/proc/scsi"), "moby#35399, CVE-2017-16539"},
	{[]string{"18.03.0"}, mask("/proc/keys"), "moby#36368"},
	{[]string{"18.06.0"}, mask("/proc/acpi"), "moby#37404 of July 2018, CVE-2018-10892"},
	{[]string{"18.09.1", "19.03.0"}, func(d *defaults) {
		mask("/proc/asound")(d)
		d.readonly = d.readonly[1:]
	}, "moby#38299; docker/engine#126 for 18.09"},
	{[]string{"20.10.0"}, func(d *defaults) { d.openPorts = true }, "moby#41030"},
	{[]string{"20.10.0"}, func(d *defaults) { d.privateCgroup = true }, "moby#40174"},
	{[]string{"20.10.14", "23.0.0"}, func(d *defaults) { d.inheritable = false }, "CVE-2022-24769"},
	{[]string{"20.10.18", "23.0.0"}, func(d *defaults) { d.primaryGroup = true }, "CVE-2022-36109"},
	{[]string{"23.0.0"}, func(d *defaults) { d.lastCap = caps.Last }, "moby#42011; PERFMON is refused as unknown by 20.10.24"},
	{[]string{"20.10.27", "23.0.8", "24.0.7", "25.0.0"}, mask("/sys/devices/virtual/powercap"), "GHSA-jq35-85cj-fj4p"},
	{[]string{"25.0.0"}, func(d *defaults) { d.subReadOnly = true }, "moby#45278"},
	{[]string{"27.0.0"}, func(d *defaults) { d.privilegedSec = true }, "moby#47500"},
	{[]string{"28.0.2"}, func(d *defaults) {
		mask("/proc/interrupts")(d)
		slices.Sort(d.masked)
		d.thermal = true
	}, "moby#49560, GHSA-6fw5-f8r9-fgfm"},
	// Recorded of 29.7.2 and not of 20.10.24; which release between them changed it does not
	// show: at execve a user other than root loses those sets (cap_bprm_creds_from_file).
	{[]string{"29.0.0"}, func(d *defaults) { d.clearNonRoot = false }, "recorded of 29.7.2"},
	{[]string{"29.5.0"}, func(d *defaults) { d.timeNS = true }, "moby#52326"},
}

func mask(paths ...string) func(*defaults) {
	return func(d *defaults) { d.masked = append(d.masked, paths...) }
}

// podmanNewest is Podman 5's (containers/common, pkg/config/default.go; thermal_throttle: its #2375;
// capabilities of other users: pkg/specgen/generate/security_linux.go).
var podmanNewest = defaults{
	caps: []string{"CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_FOWNER", "CAP_FSETID", "CAP_KILL", "CAP_NET_BIND_SERVICE",
		"CAP_SETFCAP", "CAP_SETGID", "CAP_SETPCAP", "CAP_SETUID", "CAP_SYS_CHROOT"},
	masked: []string{"/proc/acpi", "/proc/interrupts", "/proc/kcore", "/proc/keys", "/proc/latency_stats", "/proc/sched_debug", "/proc/scsi",
		"/proc/timer_list", "/proc/timer_stats", "/sys/devices/virtual/powercap", "/sys/firmware", "/sys/fs/selinux"},
	readonly: []string{"/proc/asound", "/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"},
	thermal:  true,
	lastCap:  caps.Last, clearNonRoot: true, ambient: true, primaryGroup: true,
	openPorts: true, privateCgroup: true, privilegedSec: true,
}

// containerdNewest is containerd 2's, for Kubernetes too (pkg/oci/spec.go; thermal_throttle: #14090).
var containerdNewest = defaults{
	caps: dockerCaps,
	masked: []string{"/proc/acpi", "/proc/asound", "/proc/interrupts", "/proc/kcore", "/proc/keys", "/proc/latency_stats", "/proc/sched_debug", "/proc/scsi",
		"/proc/timer_list", "/proc/timer_stats", "/sys/devices/virtual/powercap", "/sys/firmware"},
	readonly: []string{"/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"},
	thermal:  true,
	lastCap:  caps.Last, primaryGroup: true, openPorts: true, privateCgroup: true, privilegedSec: true,
}

// defaultsOf returns the defaults of an engine, with or without a version; "" is Docker's newest.
// Of Podman, containerd and Kubernetes the newest are kept, whatever the version.
func defaultsOf(as string) (defaults, error) {
	engine, version, _ := strings.Cut(as, ":")
	switch engine {
	case "podman":
		return podmanNewest, nil
	case "containerd", "kubernetes":
		return containerdNewest, nil
	case "docker", "":
	default:
		return defaults{}, fmt.Errorf("--as %s: unknown engine; want docker, podman, containerd or kubernetes", as)
	}
	v := release{99, 99, 99}
	if version != "" {
		var err error
		if v, err = parseRelease(version); err != nil {
			return defaults{}, fmt.Errorf("--as %s: %w", as, err)
		}
	}
	d := dockerFirst
	d.masked = slices.Clone(d.masked)
	for _, c := range dockerChanges {
		if v.has(c.since) {
			c.do(&d)
		}
	}
	return d, nil
}

// release is a version of Docker; a missing number is the line's newest.
type release [3]int

func parseRelease(s string) (r release, err error) {
	r = release{99, 99, 99}
	for i, part := range strings.SplitN(strings.TrimPrefix(s, "v"), ".", 3) {
		part, _, _ = strings.Cut(part, "-") // 17.12.0-ce
		if r[i], err = strconv.Atoi(part); err != nil || r[i] < 0 {
			return r, fmt.Errorf("%q is no version", s)
		}
	}
	return r, nil
}

// has reports whether r came with or after any of since in its own line, or after the last of them.
func (r release) has(since []string) bool {
	for i, s := range since {
		v, _ := parseRelease(s)
		line := r[0] == v[0] && r[1] == v[1]
		if (line || i == len(since)-1) && slices.CompareFunc(r[:], v[:], cmp.Compare[int]) >= 0 {
			return true
		}
	}
	return false
}
