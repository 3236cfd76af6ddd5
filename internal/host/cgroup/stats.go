package cgroup

import (
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Stats is what the kernel has counted for a group. What no controller counts is zero.
type Stats struct {
	CPU    CPUStats
	Memory MemoryStats
	PIDs   PIDStats
	IO     []IOStats // by device
}

// CPUStats is processor time used, and how often a quota held it back.
type CPUStats struct {
	Usage, User, System time.Duration
	Periods, Throttled  uint64
	ThrottledTime       time.Duration
}

// MemoryStats is in bytes. Limit is NoLimit where there is none.
type MemoryStats struct {
	Usage, Limit, Peak uint64
	Swap, SwapLimit    uint64 // of swap alone; SwapLimit is NoLimit where nothing says
	InactiveFile       uint64 // cache that could go at once: Docker takes it off Usage
	OOMKills           uint64
	Detail             map[string]uint64 // memory.stat
}

// PIDStats counts processes and threads. Limit is NoLimit where there is none.
type PIDStats struct{ Current, Limit uint64 }

// IOStats counts one block device's traffic.
type IOStats struct {
	Major, Minor                         uint32
	ReadBytes, WriteBytes, Reads, Writes uint64
}

// NoLimit stands for "max".
const NoLimit = math.MaxUint64

// Stats reads the group's counters. Files that are not there count nothing.
func (g *Group) Stats() Stats {
	var s Stats
	for _, p := range g.places {
		number := func(file string) uint64 { text, _ := read(p.dir, file); return parse(text) }
		if p.V2 {
			text, _ := read(p.dir, "cpu.stat") // every v2 group has one
			us := func(key string) time.Duration { return time.Duration(field(text, key)) * time.Microsecond }
			if g.facts.Mode != 0 && s.CPU.Usage == 0 {
				s.CPU.Usage, s.CPU.User, s.CPU.System = us("usage_usec"), us("user_usec"), us("system_usec")
			}
			if p.has("cpu") {
				s.CPU.Periods, s.CPU.Throttled, s.CPU.ThrottledTime = field(text, "nr_periods"), field(text, "nr_throttled"), us("throttled_usec")
			}
		}
		if p.has("cpuacct") {
			ns := func(file string) time.Duration { return time.Duration(number(file)) }
			s.CPU.Usage, s.CPU.User, s.CPU.System = ns("cpuacct.usage"), ns("cpuacct.usage_user"), ns("cpuacct.usage_sys")
		}
		if p.has("cpu") && !p.V2 {
			text, _ := read(p.dir, "cpu.stat")
			s.CPU.Periods, s.CPU.Throttled, s.CPU.ThrottledTime = field(text, "nr_periods"), field(text, "nr_throttled"), time.Duration(field(text, "throttled_time"))
		}
		if p.has("memory") {
			s.Memory = p.memory(number)
			s.Memory.OOMKills, _ = g.OOMKills()
		}
		if p.has("pids") {
			s.PIDs = PIDStats{number("pids.current"), number("pids.max")}
		}
		switch {
		case p.has("blkio"):
			s.IO = p.blkio()
		case p.V2 && p.has("io"):
			s.IO = p.io()
		}
	}
	return s
}

func (p place) memory(number func(string) uint64) MemoryStats {
	text, _ := read(p.dir, "memory.stat")
	m := MemoryStats{Detail: fields(text)}
	if p.V2 {
		m.Usage, m.Limit, m.Peak = number("memory.current"), number("memory.max"), number("memory.peak")
		m.Swap, m.SwapLimit = number("memory.swap.current"), number("memory.swap.max")
		m.InactiveFile = m.Detail["inactive_file"]
		return m
	}
	// v1 writes the greatest number of pages for no limit (PAGE_COUNTER_MAX, in bytes).
	limit := func(file string) uint64 {
		if n := number(file); n < 1<<62 {
			return n
		}
		return NoLimit
	}
	m.Usage, m.Limit, m.Peak = number("memory.usage_in_bytes"), limit("memory.limit_in_bytes"), number("memory.max_usage_in_bytes")
	m.InactiveFile, m.SwapLimit = m.Detail["total_inactive_file"], NoLimit
	if both, memory := number("memory.memsw.usage_in_bytes"), m.Usage; both > memory {
		m.Swap = both - memory
	}
	if both := limit("memory.memsw.limit_in_bytes"); both != NoLimit && both != 0 && m.Limit != NoLimit {
		m.SwapLimit = both - m.Limit
	}
	return m
}

// io reads io.stat: "8:0 rbytes=1 wbytes=2 rios=3 wios=4 dbytes=0 dios=0".
func (p place) io() []IOStats {
	text, _ := read(p.dir, "io.stat")
	var list []IOStats
	for line := range strings.Lines(text) {
		words := strings.Fields(line)
		if len(words) == 0 {
			continue
		}
		s := ioDevice(words[0])
		for _, w := range words[1:] {
			key, n, _ := strings.Cut(w, "=")
			switch key {
			case "rbytes":
				s.ReadBytes = parse(n)
			case "wbytes":
				s.WriteBytes = parse(n)
			case "rios":
				s.Reads = parse(n)
			case "wios":
				s.Writes = parse(n)
			}
		}
		list = append(list, s)
	}
	return list
}

// blkio reads v1's throttle counters: "8:0 Read 4096" a line.
func (p place) blkio() []IOStats {
	var list []IOStats
	for _, f := range []struct {
		file        string
		read, write func(*IOStats) *uint64
	}{
		{"blkio.throttle.io_service_bytes_recursive", func(s *IOStats) *uint64 { return &s.ReadBytes }, func(s *IOStats) *uint64 { return &s.WriteBytes }},
		{"blkio.throttle.io_serviced_recursive", func(s *IOStats) *uint64 { return &s.Reads }, func(s *IOStats) *uint64 { return &s.Writes }},
	} {
		text, _ := read(p.dir, f.file)
		for line := range strings.Lines(text) {
			words := strings.Fields(line)
			if len(words) != 3 {
				continue
			}
			d := ioDevice(words[0])
			i := slices.IndexFunc(list, func(s IOStats) bool { return s.Major == d.Major && s.Minor == d.Minor })
			if i < 0 {
				i, list = len(list), append(list, d)
			}
			switch words[1] {
			case "Read":
				*f.read(&list[i]) = parse(words[2])
			case "Write":
				*f.write(&list[i]) = parse(words[2])
			}
		}
	}
	return list
}

func ioDevice(s string) IOStats {
	major, minor, _ := strings.Cut(s, ":")
	return IOStats{Major: uint32(parse(major)), Minor: uint32(parse(minor))}
}

// OOMKilled says whether the kernel has killed a process of the group, or of one beneath it, for want of memory.
// Ask before Delete.
func (g *Group) OOMKilled() (bool, error) {
	n, err := g.OOMKills()
	return n > 0, err
}

// OOMKills counts the processes of which OOMKilled tells.
func (g *Group) OOMKills() (uint64, error) {
	p, ok := g.at("memory")
	if !ok {
		return 0, nil
	}
	file := "memory.oom_control" // v1 counts since 4.13
	if p.V2 {
		file = "memory.events"
	}
	text, err := read(p.dir, file)
	return field(text, "oom_kill"), err
}

// field is the number behind a key in lines of "key number"; 0 where there is none.
func field(text, key string) uint64 {
	for line := range strings.Lines(text) {
		if rest, ok := strings.CutPrefix(line, key+" "); ok {
			return parse(rest)
		}
	}
	return 0
}

func fields(text string) map[string]uint64 {
	m := map[string]uint64{}
	for line := range strings.Lines(text) {
		if key, n, ok := strings.Cut(line, " "); ok {
			m[key] = parse(n)
		}
	}
	return m
}

func parse(s string) uint64 {
	s = strings.TrimSpace(s)
	if s == "max" {
		return NoLimit
	}
	n, _ := strconv.ParseUint(s, 10, 64)
	return n
}
