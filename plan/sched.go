package plan

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/opencontainers/runtime-spec/specs-go"
)

// The policies by number, the flags by bit, and the classes by number (include/uapi/linux: sched.h, ioprio.h).
var (
	schedPolicies = [...]specs.LinuxSchedulerPolicy{specs.SchedOther, specs.SchedFIFO, specs.SchedRR, specs.SchedBatch, specs.SchedISO, specs.SchedIdle, specs.SchedDeadline}
	schedFlags    = [...]specs.LinuxSchedulerFlag{
		specs.SchedFlagResetOnFork, specs.SchedFlagReclaim, specs.SchedFlagDLOverrun, specs.SchedFlagKeepPolicy,
		specs.SchedFlagKeepParams, specs.SchedFlagUtilClampMin, specs.SchedFlagUtilClampMax,
	}
	ioClasses = [...]specs.IOPriorityClass{"", specs.IOPRIO_CLASS_RT, specs.IOPRIO_CLASS_BE, specs.IOPRIO_CLASS_IDLE}
)

// scheduler sets struct sched_attr (linux/sched/types.h), and the priority of input and output.
func (b *builder) scheduler() error {
	defer func() { b.from = "" }()
	if s := b.s.Process.Scheduler; s != nil {
		policy := slices.Index(schedPolicies[:], s.Policy)
		if policy < 0 {
			return fmt.Errorf("process.scheduler.policy: %q is unknown", s.Policy)
		}
		var flags uint64
		for i, f := range s.Flags {
			bit := slices.Index(schedFlags[:], f)
			if bit < 0 {
				return fmt.Errorf("process.scheduler.flags[%d]: %q is unknown", i, f)
			}
			flags |= 1 << bit
		}
		// The kernel takes these as they come and uses what it likes (__setparam_fair, kernel/sched/syscalls.c).
		if s.Nice < -20 || s.Nice > 19 {
			return fmt.Errorf("process.scheduler.nice: %d: want -20 to 19", s.Nice)
		}
		b.refer("process.scheduler")
		attr := halfWords(48, uint32(policy), uint32(flags), 0, uint32(s.Nice), uint32(s.Priority))
		attr.Bytes = append(attr.Bytes, words(s.Runtime, s.Deadline, s.Period).Bytes...)
		b.call("sched_setattr", 0, attr, 0).because("process.scheduler: " + string(s.Policy)).tag("sched")
	}
	if p := b.s.Process.IOPriority; p != nil {
		class := slices.Index(ioClasses[:], p.Class)
		switch {
		case class <= 0:
			return fmt.Errorf("process.ioPriority.class: %q: want IOPRIO_CLASS_RT, IOPRIO_CLASS_BE or IOPRIO_CLASS_IDLE", p.Class)
		case p.Priority < 0 || p.Priority > 7:
			return fmt.Errorf("process.ioPriority.priority: %d: want 0 to 7", p.Priority)
		}
		b.refer("process.ioPriority")
		b.call("ioprio_set", 1, 0, class<<13|p.Priority).because("process.ioPriority").tag("sched") // IOPRIO_WHO_PROCESS
	}
	return nil
}

// ownSchedule says that a process's schedule does not pass on to one that it makes, or forbids it to make one
// (sched_fork, kernel/sched/core.c).
func ownSchedule(s *specs.Scheduler) bool {
	if s == nil {
		return false
	}
	return s.Policy == specs.SchedDeadline || slices.Contains(s.Flags, specs.SchedFlagResetOnFork)
}

// persona sets linux.personality, and memory linux.memoryPolicy: both pass on to the program and all that it starts.
func (b *builder) persona() error {
	p := b.s.Linux.Personality
	if p == nil {
		return nil
	}
	v, ok := map[specs.LinuxPersonalityDomain]uint64{specs.PerLinux: 0, specs.PerLinux32: 8}[p.Domain]
	switch {
	case !ok:
		return fmt.Errorf("linux.personality.domain: %q: want LINUX or LINUX32", p.Domain)
	case len(p.Flags) > 0:
		return fmt.Errorf("linux.personality.flags[0]: %q: the runtime spec defines none", p.Flags[0])
	}
	b.call("personality", v).because("linux.personality")
	return nil
}

// The modes of set_mempolicy(2) by number, and its flags from bit 13 on (include/uapi/linux/mempolicy.h).
var (
	memoryModes = [...]specs.MemoryPolicyModeType{
		specs.MpolDefault, specs.MpolPreferred, specs.MpolBind, specs.MpolInterleave, specs.MpolLocal,
		specs.MpolPreferredMany, specs.MpolWeightedInterleave,
	}
	memoryFlags = [...]specs.MemoryPolicyFlagType{specs.MpolFNumaBalancing, specs.MpolFRelativeNodes, specs.MpolFStaticNodes}
)

// MemoryPolicies lists, sorted, the modes and flags of linux.memoryPolicy.
func MemoryPolicies() (modes, flags []string) {
	for _, m := range memoryModes {
		modes = append(modes, string(m))
	}
	for _, f := range memoryFlags {
		flags = append(flags, string(f))
	}
	slices.Sort(modes)
	slices.Sort(flags)
	return modes, flags
}

func (b *builder) memory() error {
	p := b.s.Linux.MemoryPolicy
	if p == nil {
		return nil
	}
	number := slices.Index(memoryModes[:], p.Mode)
	if number < 0 {
		return fmt.Errorf("linux.memoryPolicy.mode: %q is unknown", p.Mode)
	}
	mode := uint64(number)
	for i, f := range p.Flags {
		bit := slices.Index(memoryFlags[:], f)
		if bit < 0 {
			return fmt.Errorf("linux.memoryPolicy.flags[%d]: %q is unknown", i, f)
		}
		mode |= 1 << (13 + bit)
	}
	nodes, err := bitList(p.Nodes)
	if err != nil {
		return fmt.Errorf("linux.memoryPolicy.nodes: %w", err)
	}
	b.refer("linux.memoryPolicy")
	mask, size := any(nil), 0
	if nodes != nil {
		mask, size = nodes, 8*len(nodes.Bytes)+1 // the kernel takes one off (get_nodes, mm/mempolicy.c)
	}
	b.call("set_mempolicy", mode, mask, size).because(string(p.Mode) + " " + p.Nodes).tag("memory")
	b.from = ""
	return nil
}

// affinity has the process run on these processors only.
func (b *builder) affinity(where, list, why string) error {
	cpus, err := bitList(list)
	if err != nil {
		return fmt.Errorf("%s: %w", where, err)
	}
	if cpus != nil {
		b.refer("%s", where)
		b.call("sched_setaffinity", 0, len(cpus.Bytes), cpus).because(why).tag("affinity")
		b.from = ""
	}
	return nil
}

// maxBit is the last processor or node of the largest kernels, for x86-64 (CONFIG_NR_CPUS).
const maxBit = 8191

// bitList reads a list such as 0-3,7 into a mask of 64-bit words; nil where it is empty.
func bitList(list string) (*Mem, error) {
	if strings.TrimSpace(list) == "" {
		return nil, nil
	}
	var mask []uint64
	for _, part := range strings.Split(list, ",") {
		from, to, both := strings.Cut(strings.TrimSpace(part), "-")
		if !both {
			to = from
		}
		a, err := strconv.ParseUint(from, 10, 16)
		z, err2 := strconv.ParseUint(to, 10, 16)
		switch {
		case err != nil || err2 != nil:
			return nil, fmt.Errorf("%q: want a list such as 0-3,7", list)
		case a > z:
			return nil, fmt.Errorf("%q: %s ends before it begins", list, part)
		case z > maxBit:
			return nil, fmt.Errorf("%q: %d is above %d", list, z, maxBit)
		}
		for ; a <= z; a++ {
			for uint64(len(mask)) <= a/64 {
				mask = append(mask, 0)
			}
			mask[a/64] |= 1 << (a % 64)
		}
	}
	return words(mask...), nil
}
