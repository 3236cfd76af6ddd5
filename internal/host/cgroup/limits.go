package cgroup

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"sort"
	"strconv"
	"strings"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"porthole/facts"
)

// setting is one value that a limit writes into one of the group's files.
type setting struct {
	controller  string
	file, value string
	flag, field string // what the user asked for, in Docker's words and in OCI's
	instead     string // the file's name in other kernels
	optional    bool   // nothing is lost where there is no such file
	harmless    bool   // nor where there is no such controller: it lifts a limit
}

// limits says which files a group's limits become on this machine. A limit whose controller
// is not there is an error, unless it limits nothing.
func limits(r *specs.LinuxResources, f facts.Cgroup) ([]setting, error) {
	b := builder{facts: f}
	b.memory(r.Memory)
	b.cpu(r.CPU)
	if p := r.Pids; p != nil && p.Limit != nil {
		value := "max"
		if *p.Limit >= 0 { // 0 is for the first process too few already: it is 1, as for runc and systemd's TasksMax
			value = strconv.FormatInt(max(*p.Limit, 1), 10)
		}
		if b.on("pids", "pids", "--pids-limit", "pids.limit", value == "max") {
			b.set("pids.max", value)
		}
	}
	b.blockIO(r.BlockIO)
	for i, h := range r.HugepageLimits {
		field := fmt.Sprintf("hugepageLimits[%d]", i)
		if h.Pagesize == "" || strings.ContainsAny(h.Pagesize, "/.") {
			b.refuse("", field, fmt.Sprintf("page size %q: want one as in \"2MB\"", h.Pagesize))
			continue
		}
		value := strconv.FormatUint(h.Limit, 10)
		if b.on("hugetlb", "hugetlb", "", field, false) {
			b.either("hugetlb."+h.Pagesize+".limit_in_bytes", "hugetlb."+h.Pagesize+".max", value)
			b.either("hugetlb."+h.Pagesize+".rsvd.limit_in_bytes", "hugetlb."+h.Pagesize+".rsvd.max", value)
			b.list[len(b.list)-1].optional = true // reservations are counted from 5.7 on
		}
	}
	if n := r.Network; n != nil {
		if n.ClassID != nil && b.on("net_cls", "", "", "network.classID", false) {
			b.set("net_cls.classid", strconv.FormatUint(uint64(*n.ClassID), 10))
		}
		for _, p := range n.Priorities {
			if b.on("net_prio", "", "", "network.priorities", false) {
				b.set("net_prio.ifpriomap", fmt.Sprintf("%s %d", p.Name, p.Priority))
			}
		}
	}
	for _, device := range sorted(r.Rdma) {
		if b.on("rdma", "rdma", "", "rdma."+device, false) {
			value := device
			if n := r.Rdma[device].HcaHandles; n != nil {
				value += fmt.Sprintf(" hca_handle=%d", *n)
			}
			if n := r.Rdma[device].HcaObjects; n != nil {
				value += fmt.Sprintf(" hca_object=%d", *n)
			}
			b.set("rdma.max", value)
		}
	}
	b.unified(r.Unified)
	return b.list, errors.Join(b.errs...)
}

// builder collects settings. The limit it is at, and the controller that serves it, stand for all that set adds.
type builder struct {
	facts facts.Cgroup
	list  []setting
	errs  []error

	now setting
	v2  bool
}

// on turns to a limit, and says whether its controller is here, under its name in v1 or v2 ("": it has no
// such limit). A harmless one, which lifts a limit, is no error where it is not.
func (b *builder) on(v1, v2, flag, field string, harmless bool) bool {
	b.now = setting{flag: flag, field: "linux.resources." + field, harmless: harmless}
	for _, h := range b.facts.Hierarchies {
		name := v1
		if h.V2 {
			name = v2
		}
		if name != "" && slices.Contains(h.Controllers, name) {
			b.now.controller, b.v2 = name, h.V2
			return true
		}
	}
	switch {
	case harmless:
	case v2 == "" && b.facts.Mode == facts.CgroupV2:
		b.refuse(flag, field, "cgroup v2 has no such limit")
	default:
		name := v1
		if name == "" || b.facts.Mode == facts.CgroupV2 {
			name = v2
		}
		b.refuse(flag, field, fmt.Sprintf("needs the %s controller, which is not there (%s)", name, b.have()))
	}
	return false
}

func (b *builder) have() string {
	var names []string
	for _, h := range b.facts.Hierarchies {
		for _, c := range h.Controllers {
			if !strings.HasPrefix(c, "name=") {
				names = append(names, c)
			}
		}
	}
	if len(names) == 0 {
		return "no controller is"
	}
	slices.Sort(names)
	return "there are: " + strings.Join(names, " ")
}

func (b *builder) refuse(flag, field, why string) {
	b.errs = append(b.errs, &LimitError{Flag: flag, Field: "linux.resources." + field, Why: why})
}

func (b *builder) set(file, value string) {
	s := b.now
	s.file, s.value = file, value
	b.list = append(b.list, s)
}

func (b *builder) either(v1, v2, value string) {
	if b.v2 {
		b.set(v2, value)
	} else {
		b.set(v1, value)
	}
}

// amount writes bytes, -1 for no limit.
func (b *builder) amount(v1, v2 string, n int64) {
	switch {
	case n >= 0:
		b.either(v1, v2, strconv.FormatInt(n, 10))
	case b.v2:
		b.set(v2, "max")
	default:
		b.set(v1, "-1")
	}
}

func (b *builder) memory(m *specs.LinuxMemory) {
	if m == nil {
		return
	}
	limit, swap := value(m.Limit), value(m.Swap)
	if limit != 0 && b.on("memory", "memory", "--memory", "memory.limit", limit < 0) {
		b.amount("memory.limit_in_bytes", "memory.max", limit)
	}
	if limit < 0 && swap == 0 {
		swap = -1 // no limit on memory, then none on both together either
	}
	if swap != 0 && b.on("memory", "memory", "--memory-swap", "memory.swap", swap < 0) {
		field := "memory.swap"
		switch {
		case limit > 0 && swap > 0 && swap < limit:
			b.refuse("--memory-swap", field, fmt.Sprintf("%d is memory and swap together, and less than the %d of memory alone", swap, limit))
		case swap > 0 && limit == 0 && b.v2:
			b.refuse("--memory-swap", field, "is memory and swap together, and needs --memory to tell them apart")
		case b.v2 && swap > 0 && limit > 0:
			b.amount("", "memory.swap.max", swap-limit)
		default:
			b.amount("memory.memsw.limit_in_bytes", "memory.swap.max", swap)
		}
		if n := len(b.list); n > 0 && b.list[n-1].flag == "--memory-swap" {
			b.list[n-1].optional = swap < 0 || b.list[n-1].value == "0" // without swap accounting there is nothing to lift or to forbid
		}
	}
	if n := value(m.Reservation); n != 0 && b.on("memory", "memory", "--memory-reservation", "memory.reservation", n < 0) {
		b.amount("memory.soft_limit_in_bytes", "memory.low", n)
	}
	//lint:ignore SA1019 it is still sent, and must not be ignored in silence
	if value(m.Kernel) > 0 {
		b.refuse("--kernel-memory", "memory.kernel", "the kernel has no such limit any more (memory.kmem.limit_in_bytes, gone since 5.4)")
	}
	if n := value(m.KernelTCP); n > 0 && b.on("memory", "", "", "memory.kernelTCP", false) {
		b.amount("memory.kmem.tcp.limit_in_bytes", "", n)
	}
	if m.Swappiness != nil && b.on("memory", "", "--memory-swappiness", "memory.swappiness", false) {
		b.set("memory.swappiness", strconv.FormatUint(*m.Swappiness, 10))
	}
	if value(m.DisableOOMKiller) && b.on("memory", "", "--oom-kill-disable", "memory.disableOOMKiller", false) {
		b.set("memory.oom_control", "1")
	}
}

func (b *builder) cpu(c *specs.LinuxCPU) {
	if c == nil {
		return
	}
	if n := value(c.Shares); n != 0 && b.on("cpu", "cpu", "--cpu-shares", "cpu.shares", false) {
		if b.v2 {
			n = Weight(n)
		}
		b.either("cpu.shares", "cpu.weight", strconv.FormatUint(n, 10))
	}
	if n := c.Idle; n != nil && b.on("cpu", "cpu", "", "cpu.idle", *n == 0) {
		b.set("cpu.idle", strconv.FormatInt(*n, 10))
		b.list[len(b.list)-1].optional = *n == 0 // 5.15
	}
	quota, period := value(c.Quota), value(c.Period)
	if (quota != 0 || period != 0) && b.on("cpu", "cpu", "--cpus", "cpu.quota", quota < 0 && period == 0) {
		if b.v2 {
			b.set("cpu.max", strings.TrimSpace(map[bool]string{true: "max", false: strconv.FormatInt(quota, 10)}[quota < 0]+" "+positive(period)))
			if quota == 0 {
				b.list[len(b.list)-1].value = keepQuota + positive(period)
			}
		} else {
			if period != 0 {
				b.set("cpu.cfs_period_us", positive(period))
			}
			if quota != 0 {
				b.set("cpu.cfs_quota_us", strconv.FormatInt(max(quota, -1), 10))
			}
		}
	}
	if c.Burst != nil && b.on("cpu", "cpu", "", "cpu.burst", *c.Burst == 0) {
		b.either("cpu.cfs_burst_us", "cpu.max.burst", strconv.FormatUint(*c.Burst, 10))
		b.list[len(b.list)-1].optional = *c.Burst == 0 // 5.14
	}
	if n := value(c.RealtimePeriod); n != 0 && b.on("cpu", "", "--cpu-rt-period", "cpu.realtimePeriod", false) {
		b.set("cpu.rt_period_us", positive(n))
	}
	if n := value(c.RealtimeRuntime); n != 0 && b.on("cpu", "", "--cpu-rt-runtime", "cpu.realtimeRuntime", false) {
		b.set("cpu.rt_runtime_us", strconv.FormatInt(n, 10))
	}
	if c.Cpus != "" && b.on("cpuset", "cpuset", "--cpuset-cpus", "cpu.cpus", false) {
		b.set("cpuset.cpus", c.Cpus)
	}
	if c.Mems != "" && b.on("cpuset", "cpuset", "--cpuset-mems", "cpu.mems", false) {
		b.set("cpuset.mems", c.Mems)
	}
}

// keepQuota stands for the quota that is in cpu.max already: the kernel takes a quota alone, but no period alone.
const keepQuota = "keep "

func positive(n uint64) string {
	if n == 0 {
		return ""
	}
	return strconv.FormatUint(n, 10)
}

func (b *builder) blockIO(io *specs.LinuxBlockIO) {
	if io == nil {
		return
	}
	weight := func(field, flag, device string, w *uint16) {
		if value(w) == 0 || !b.on("blkio", "io", flag, field, false) {
			return
		}
		n := strconv.Itoa(int(*w))
		switch {
		case !b.v2 && device == "":
			b.set("blkio.weight", n)
			b.list[len(b.list)-1].instead = "blkio.bfq.weight"
		case !b.v2:
			b.set("blkio.weight_device", device+n)
			b.list[len(b.list)-1].instead = "blkio.bfq.weight_device"
		default: // io.bfq.weight takes BFQ's own 1 to 1000, io.weight 1 to 10000
			b.set("io.bfq.weight", device+n)
			b.list[len(b.list)-1].instead = "io.weight"
		}
	}
	weight("blockIO.weight", "--blkio-weight", "", io.Weight)
	for _, d := range io.WeightDevice {
		weight("blockIO.weightDevice", "--blkio-weight-device", fmt.Sprintf("%d:%d ", d.Major, d.Minor), d.Weight)
	}
	if value(io.LeafWeight) != 0 || slices.ContainsFunc(io.WeightDevice, func(d specs.LinuxWeightDevice) bool { return value(d.LeafWeight) != 0 }) {
		b.refuse("", "blockIO.leafWeight", "the kernel has no such weight any more (CFQ is gone since 5.0)")
	}
	for _, t := range []struct {
		flag, field, v1, v2 string
		devices             []specs.LinuxThrottleDevice
	}{
		{"--device-read-bps", "throttleReadBpsDevice", "read_bps_device", "rbps", io.ThrottleReadBpsDevice},
		{"--device-write-bps", "throttleWriteBpsDevice", "write_bps_device", "wbps", io.ThrottleWriteBpsDevice},
		{"--device-read-iops", "throttleReadIOPSDevice", "read_iops_device", "riops", io.ThrottleReadIOPSDevice},
		{"--device-write-iops", "throttleWriteIOPSDevice", "write_iops_device", "wiops", io.ThrottleWriteIOPSDevice},
	} {
		for _, d := range t.devices {
			if !b.on("blkio", "io", t.flag, "blockIO."+t.field, false) {
				continue
			}
			if b.v2 {
				rate := "max"
				if d.Rate > 0 {
					rate = strconv.FormatUint(d.Rate, 10)
				}
				b.set("io.max", fmt.Sprintf("%d:%d %s=%s", d.Major, d.Minor, t.v2, rate))
			} else {
				b.set("blkio.throttle."+t.v1, fmt.Sprintf("%d:%d %d", d.Major, d.Minor, d.Rate))
			}
		}
	}
}

// unified takes v2's files by name. Those that are no limits are not for a user to write.
func (b *builder) unified(files map[string]string) {
	for _, file := range sorted(files) {
		field := "unified[" + strconv.Quote(file) + "]"
		controller, rest, ok := strings.Cut(file, ".")
		switch {
		case !ok || strings.Contains(file, "/"):
			b.refuse("", field, "want a file's name as in \"memory.high\"")
		case controller == "cgroup" && !strings.HasPrefix(rest, "max."):
			b.refuse("", field, "is no limit")
		case !slices.ContainsFunc(b.facts.Hierarchies, func(h facts.Hierarchy) bool { return h.V2 }):
			b.refuse("", field, "needs cgroup v2")
		case controller == "cgroup":
			b.now = setting{controller: core, field: "linux.resources." + field}
			b.set(file, files[file])
		default:
			for _, h := range b.facts.Hierarchies {
				if !h.V2 && slices.Contains(h.Controllers, controller) {
					b.refuse("", field, "the "+controller+" controller is on cgroup v1 here")
					ok = false
				}
			}
			if ok && b.on("", controller, "", field, false) {
				b.set(file, files[file])
			}
		}
	}
}

// core is the controller of settings that every v2 group has.
const core = "cgroup"

func value[T any](p *T) T {
	if p == nil {
		var zero T
		return zero
	}
	return *p
}

func sorted[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	sort.Strings(keys)
	return keys
}

// Weight turns v1's CPU shares (2 to 262144, 1024 by default) into v2's weight (1 to 10000, 100 by
// default) along the curve through all three pairs, as crun 1.23 and runc 1.4 do. Until then both drew
// a line through the ends, on which the default came out as 39.
func Weight(shares uint64) uint64 {
	switch {
	case shares <= 2:
		return 1
	case shares >= 262144:
		return 10000
	}
	l := math.Log2(float64(shares))
	return uint64(math.Ceil(math.Pow(10, (l*l+125*l)/612-7.0/34)))
}

// ioWeight turns BFQ's and v1's 10 to 1000 into io.weight's 1 to 10000.
func ioWeight(w uint64) uint64 { return 1 + (max(w, 10)-10)*9999/990 }

// Set changes the group's limits to those that r names and leaves others as they are.
// If one cannot be set, those before it are put back.
func (g *Group) Set(r *specs.LinuxResources) error {
	if r == nil {
		return nil
	}
	want, err := limits(r, g.facts)
	if err != nil {
		return err
	}
	var rules *deviceList
	if r.Devices != nil && !g.rootless {
		if rules, err = devices(r.Devices); err != nil {
			return err
		}
	}
	if err := g.mayShrink(r.Memory); err != nil {
		return err
	}
	if err := g.joinLate(want); err != nil {
		return err
	}
	var before []setting
	for _, s := range want {
		if p, ok := g.at(s.controller); ok {
			if old, err := read(p.dir, s.file); err == nil && strings.Count(old, "\n") == 1 {
				s.value = strings.TrimSpace(old)
				before = append(before, s)
			}
		}
	}
	if g.unit != nil {
		list, err := properties(want, rules)
		if err == nil && len(list) > 0 {
			err = g.unit.set(list)
		}
		if err != nil {
			return err
		}
	}
	err = g.apply(want)
	if err == nil {
		err = g.setDevices(rules)
	}
	if err != nil {
		_ = g.apply(before)
	}
	return err
}

// mayShrink answers memory.checkBeforeUpdate: v2 kills for a limit below what is in use.
func (g *Group) mayShrink(m *specs.LinuxMemory) error {
	if m == nil || !value(m.CheckBeforeUpdate) || value(m.Limit) <= 0 {
		return nil
	}
	p, ok := g.at("memory")
	if !ok {
		return nil
	}
	file := "memory.usage_in_bytes"
	if p.V2 {
		file = "memory.current"
	}
	text, err := read(p.dir, file)
	if err != nil {
		return err
	}
	if used, _ := strconv.ParseInt(strings.TrimSpace(text), 10, 64); used > *m.Limit {
		return &LimitError{Flag: "--memory", Field: "linux.resources.memory.limit", Why: fmt.Sprintf("%d bytes are less than the %d in use", *m.Limit, used)}
	}
	return nil
}

// joinLate makes the group, with all its processes, in hierarchies that had nothing to do for it until now,
// and has the controllers passed down to it that it did without.
func (g *Group) joinLate(want []setting) error {
	for _, p := range g.places {
		if p.V2 {
			if err := g.enable(p, want, false); err != nil {
				return err
			}
		}
	}
	for _, s := range want {
		if _, ok := g.at(s.controller); ok || s.harmless {
			continue
		}
		i := slices.IndexFunc(g.facts.Hierarchies, func(h facts.Hierarchy) bool { return serves(h, s.controller) })
		if i < 0 {
			continue // write says so
		}
		if err := g.join(g.facts.Hierarchies[i], want, false); err != nil {
			return err
		}
		g.made = nil
		// Whoever is born meanwhile is in its parent's group: once all that are listed are in, so are they.
		to := g.places[len(g.places)-1].dir
		for moved := map[int]bool{}; ; {
			pids, err := g.PIDs()
			if err != nil {
				return err
			}
			again := false
			for _, pid := range pids {
				if !moved[pid] {
					moved[pid], again = true, true
					if err := write(to, "cgroup.procs", strconv.Itoa(pid)); err != nil && !errors.Is(err, unix.ESRCH) {
						return err
					}
				}
			}
			if !again {
				break
			}
		}
	}
	return nil
}

// needs is the index of the first of want that limits something by way of a controller that so picks; -1 if none does.
func needs(want []setting, so func(controller string) bool) int {
	return slices.IndexFunc(want, func(s setting) bool { return !s.harmless && so(s.controller) })
}

func serves(h facts.Hierarchy, controller string) bool {
	return slices.Contains(h.Controllers, controller) || h.V2 && controller == core
}

// at is the place where a controller acts on the group.
func (g *Group) at(controller string) (place, bool) {
	for _, p := range g.places {
		if serves(p.Hierarchy, controller) {
			return p, true
		}
	}
	return place{}, false
}

// apply writes settings in their order. What the kernel refuses as it stands against another
// value (memory over memory and swap, a period under its quota) is tried again after the rest.
func (g *Group) apply(list []setting) error {
	var later []setting
	for _, s := range list {
		err := g.write(s)
		if errors.Is(err, unix.EINVAL) && len(list) > 1 {
			later = append(later, s)
		} else if err != nil {
			return err
		}
	}
	for _, s := range later {
		if err := g.write(s); err != nil {
			return err
		}
	}
	return nil
}

func (g *Group) write(s setting) error {
	p, ok := g.at(s.controller)
	if !ok && s.harmless {
		return nil
	}
	if !ok {
		return &LimitError{Flag: s.flag, Field: s.field, Why: "the group is not in the " + s.controller + " hierarchy"}
	}
	if s.instead != "" && !exists(p.dir, s.file) {
		if s.instead == "io.weight" {
			s.value = scaled(s.value)
		}
		s.file = s.instead
	}
	if period, ok := strings.CutPrefix(s.value, keepQuota); ok {
		text, err := read(p.dir, s.file)
		if err != nil {
			return err
		}
		quota, _, _ := strings.Cut(text, " ")
		s.value = quota + " " + period
	}
	err := write(p.dir, s.file, s.value)
	if errors.Is(err, unix.ENOENT) {
		if s.optional {
			return nil
		}
		return &LimitError{Flag: s.flag, Field: s.field, Why: "this kernel has no " + s.file, Err: unix.ENOENT}
	}
	if err != nil {
		return &LimitError{Flag: s.flag, Field: s.field, Err: err}
	}
	return nil
}

// scaled is an io.weight for a BFQ weight: "8:0 500" or "500".
func scaled(s string) string {
	device, w, ok := strings.Cut(s, " ")
	if !ok {
		device, w = "default", s
	}
	n, err := strconv.ParseUint(w, 10, 64)
	if err != nil {
		return s
	}
	return device + " " + strconv.FormatUint(ioWeight(n), 10)
}

// fillCpuset gives a v1 cpuset group, and those above it, the CPUs and memory nodes
// of the group over them: a new one has none, and takes no process then.
func fillCpuset(top, dir string) error {
	for _, file := range []string{"cpuset.cpus", "cpuset.mems"} {
		have, err := read(top, file)
		if err != nil {
			return err
		}
		rest := strings.TrimPrefix(dir, top)
		for i := 1; i <= len(rest); i++ {
			if i < len(rest) && rest[i] != '/' {
				continue
			}
			at := top + rest[:i]
			now, err := read(at, file)
			if err != nil {
				return err
			}
			if strings.TrimSpace(now) == "" {
				if err := write(at, file, have); err != nil {
					return err
				}
			} else {
				have = now
			}
		}
	}
	return nil
}
