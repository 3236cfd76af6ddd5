package ocicli

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime/debug"
	"strconv"
	"strings"
	"time"

	"porthole/internal/engine/container"
	"porthole/internal/host/cgroup"
)

// event is one line of events, and stats what it carries: runc's types package, of which engines read these.
type event struct {
	Type string `json:"type"`
	ID   string `json:"id"`
	Data any    `json:"data,omitempty"`
}

type stats struct {
	CPU struct {
		Usage struct {
			Total  uint64   `json:"total,omitempty"`
			Percpu []uint64 `json:"percpu,omitempty"`
			Kernel uint64   `json:"kernel"`
			User   uint64   `json:"user"`
		} `json:"usage,omitempty"`
		Throttling struct {
			Periods          uint64 `json:"periods,omitempty"`
			ThrottledPeriods uint64 `json:"throttledPeriods,omitempty"`
			ThrottledTime    uint64 `json:"throttledTime,omitempty"`
		} `json:"throttling,omitempty"`
	} `json:"cpu"`
	CPUSet cpuset `json:"cpuset"`
	Memory struct {
		Cache  uint64            `json:"cache,omitempty"`
		Usage  entry             `json:"usage,omitempty"`
		Swap   entry             `json:"swap,omitempty"`
		Kernel entry             `json:"kernel,omitempty"`
		Raw    map[string]uint64 `json:"raw,omitempty"`
	} `json:"memory"`
	Pids struct {
		Current uint64 `json:"current,omitempty"`
		Limit   uint64 `json:"limit,omitempty"`
	} `json:"pids"`
	Blkio struct {
		Bytes []blkio `json:"ioServiceBytesRecursive,omitempty"`
		Count []blkio `json:"ioServicedRecursive,omitempty"`
	} `json:"blkio"`
	Hugetlb  map[string]entry `json:"hugetlb"`
	Networks []struct{}       `json:"network_interfaces"` // runc fills it for networks of its own making
}

type cpuset struct {
	CPUs         []uint64 `json:"cpus,omitempty"`
	CPUExclusive uint64   `json:"cpu_exclusive"`
	Mems         []uint64 `json:"mems,omitempty"`
	MemHardwall  uint64   `json:"mem_hardwall"`
	MemExclusive uint64   `json:"mem_exclusive"`
	Migrate      uint64   `json:"memory_migrate"`
	SpreadPage   uint64   `json:"memory_spread_page"`
	SpreadSlab   uint64   `json:"memory_spread_slab"`
	Pressure     uint64   `json:"memory_pressure"`
	LoadBalance  uint64   `json:"sched_load_balance"`
	RelaxLevel   int64    `json:"sched_relax_domain_level"`
}

type entry struct {
	Limit   uint64 `json:"limit"`
	Usage   uint64 `json:"usage,omitempty"`
	Max     uint64 `json:"max,omitempty"`
	Failcnt uint64 `json:"failcnt"`
}

type blkio struct {
	Major uint64 `json:"major,omitempty"`
	Minor uint64 `json:"minor,omitempty"`
	Op    string `json:"op,omitempty"`
	Value uint64 `json:"value,omitempty"`
}

// statsOf is what a group's counters are in runc's form. dirs are the group's directories by controller.
func statsOf(s cgroup.Stats, dirs map[string]string) stats {
	var out stats
	out.CPU.Usage.Total, out.CPU.Usage.Kernel, out.CPU.Usage.User = uint64(s.CPU.Usage), uint64(s.CPU.System), uint64(s.CPU.User)
	out.CPU.Throttling.Periods, out.CPU.Throttling.ThrottledPeriods, out.CPU.Throttling.ThrottledTime = s.CPU.Periods, s.CPU.Throttled, uint64(s.CPU.ThrottledTime)
	out.Memory.Usage = entry{Limit: s.Memory.Limit, Usage: s.Memory.Usage, Max: s.Memory.Peak}
	// As v1 counts it, memory and swap together; so does runc on v2.
	out.Memory.Swap = entry{Limit: s.Memory.SwapLimit, Usage: s.Memory.Usage + s.Memory.Swap, Max: count(dirs["memory"], "memory.memsw.max_usage_in_bytes")}
	if s.Memory.SwapLimit != cgroup.NoLimit && s.Memory.Limit != cgroup.NoLimit {
		out.Memory.Swap.Limit += s.Memory.Limit
	}
	out.Memory.Usage.Failcnt, out.Memory.Swap.Failcnt = count(dirs["memory"], "memory.failcnt"), count(dirs["memory"], "memory.memsw.failcnt")
	for _, ns := range strings.Fields(content(dirs["cpuacct"], "cpuacct.usage_percpu")) {
		n, _ := strconv.ParseUint(ns, 10, 64)
		out.CPU.Usage.Percpu = append(out.CPU.Usage.Percpu, n)
	}
	if dir := dirs["cpuset"]; dir != "" {
		c := &out.CPUSet
		c.CPUs, c.Mems = numbers(content(dir, "cpuset.cpus")), numbers(content(dir, "cpuset.mems"))
		for file, to := range map[string]*uint64{
			"cpu_exclusive": &c.CPUExclusive, "mem_hardwall": &c.MemHardwall, "mem_exclusive": &c.MemExclusive, "memory_migrate": &c.Migrate,
			"memory_spread_page": &c.SpreadPage, "memory_spread_slab": &c.SpreadSlab, "memory_pressure": &c.Pressure, "sched_load_balance": &c.LoadBalance,
		} {
			*to = count(dir, "cpuset."+file)
		}
		c.RelaxLevel, _ = strconv.ParseInt(content(dir, "cpuset.sched_relax_domain_level"), 10, 64)
	}
	out.Memory.Raw = s.Memory.Detail
	out.Memory.Cache = s.Memory.Detail["cache"] + s.Memory.Detail["file"] // v1's name, or v2's
	out.Pids.Current = s.PIDs.Current
	if s.PIDs.Limit != cgroup.NoLimit {
		out.Pids.Limit = s.PIDs.Limit
	}
	for _, io := range s.IO {
		major, minor := uint64(io.Major), uint64(io.Minor)
		out.Blkio.Bytes = append(out.Blkio.Bytes, blkio{major, minor, "Read", io.ReadBytes}, blkio{major, minor, "Write", io.WriteBytes})
		out.Blkio.Count = append(out.Blkio.Count, blkio{major, minor, "Read", io.Reads}, blkio{major, minor, "Write", io.Writes})
	}
	return out
}

// content is what a control file says; nothing where there is none.
func content(dir, file string) string {
	if dir == "" {
		return ""
	}
	data, err := os.ReadFile(filepath.Join(dir, file))
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(data))
}

func count(dir, file string) uint64 {
	n, _ := strconv.ParseUint(content(dir, file), 10, 64)
	return n
}

// numbers are those in a list such as 0-2,7.
func numbers(list string) (all []uint64) {
	for _, part := range strings.Split(list, ",") {
		from, to, both := strings.Cut(part, "-")
		if !both {
			to = from
		}
		a, err := strconv.ParseUint(from, 10, 32)
		z, err2 := strconv.ParseUint(to, 10, 32)
		for ; err == nil && err2 == nil && a <= z; a++ {
			all = append(all, a)
		}
	}
	return all
}

func (a *app) events(f *flags) error {
	interval := f.Duration("interval", 5*time.Second, "`time` between two lines")
	once := f.Bool("stats", false, "print one line and end")
	id, err := f.id()
	if err != nil {
		return err
	}
	if *interval <= 0 {
		return errors.New("duration interval must be greater than 0")
	}
	debug.SetGCPercent(100)
	var killed uint64
	out := json.NewEncoder(os.Stdout)
	for first := true; ; first = false {
		s, _, fa, err := a.open(id)
		if errors.Is(err, errNotExist) && !first {
			return nil // deleted meanwhile
		}
		if err != nil {
			return err
		}
		if s.Status == container.Stopped {
			if *once {
				return fmt.Errorf("container with id %s is not running", id)
			}
			return nil
		}
		g, err := s.Group(fa)
		if err != nil {
			return err
		}
		if g == nil {
			return errors.New("the container has no control group that counts what it uses")
		}
		if first {
			killed, _ = g.OOMKills()
		}
		if err := out.Encode(event{"stats", id, statsOf(g.Stats(), g.Paths())}); err != nil || *once {
			return err
		}
		if ended, err := watchEnd(s, g, *interval, func() error { return out.Encode(event{Type: "oom", ID: id}) }, &killed); ended || err != nil {
			return err
		}
	}
}

// glance is how long a process that the kernel has killed for want of memory may go untold.
const glance = 250 * time.Millisecond

// watchEnd waits for at most so long, and says whether the container has ended. oom is called where the kernel has killed
// more of its processes for want of memory than known says, which it then says.
func watchEnd(s *container.State, g *cgroup.Group, most time.Duration, oom func() error, known *uint64) (ended bool, err error) {
	for until := time.Now().Add(most); ; {
		left := time.Until(until)
		if ended, err = s.WaitEnd(max(min(left, glance), 0)); err != nil {
			return ended, err
		}
		if n, err := g.OOMKills(); err == nil && n > *known { // a group that is gone tells nothing
			*known = n
			if err := oom(); err != nil {
				return ended, err
			}
		}
		if ended || left <= 0 {
			return ended, nil
		}
	}
}
