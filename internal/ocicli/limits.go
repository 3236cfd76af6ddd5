package ocicli

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"

	specs "github.com/opencontainers/runtime-spec/specs-go"

	"porthole/internal/engine/container"
)

func (a *app) update(f *flags) error {
	file := f.String("resources", "", "`file` with the limits, as linux.resources has them; - is standard input")
	f.alias("resources", "r")
	var r specs.LinuxResources
	limits(f, &r)
	id, err := f.id()
	if err != nil {
		return err
	}
	if *file != "" {
		var data []byte
		if *file == "-" {
			data, err = io.ReadAll(os.Stdin)
		} else {
			data, err = os.ReadFile(*file)
		}
		if err != nil {
			return err
		}
		if err := json.Unmarshal(data, &r); err != nil {
			return fmt.Errorf("%s: %w", *file, where(data, err))
		}
	}
	if err := checkMemory(&r); err != nil {
		return err
	}
	s, _, fa, err := a.open(id)
	if err != nil {
		return err
	}
	if s.Status == container.Stopped {
		return errNotRunning
	}
	g, err := s.Group(fa)
	if err != nil {
		return err
	}
	if g == nil {
		return errors.New("the container has no control group that could be bounded")
	}
	return limitError(g.Set(&r))
}

// limits are update's options, each for one member of r.
func limits(f *flags, r *specs.LinuxResources) {
	memory := func() *specs.LinuxMemory {
		if r.Memory == nil {
			r.Memory = &specs.LinuxMemory{}
		}
		return r.Memory
	}
	cpu := func() *specs.LinuxCPU {
		if r.CPU == nil {
			r.CPU = &specs.LinuxCPU{}
		}
		return r.CPU
	}
	signed := func(name, usage string, set func(int64)) {
		f.Func(name, usage, func(s string) error {
			n, err := amount(s)
			if err == nil {
				set(n)
			}
			return err
		})
	}
	count := func(name, usage string, set func(uint64)) {
		f.Func(name, usage, func(s string) error {
			n, err := strconv.ParseUint(s, 10, 64)
			if err == nil {
				set(n)
			}
			return err
		})
	}
	signed("memory", "`bytes`, with k, m or g behind", func(n int64) { memory().Limit = &n })
	signed("memory-reservation", "`bytes`", func(n int64) { memory().Reservation = &n })
	signed("memory-swap", "`bytes` of memory and swap together; -1: no limit", func(n int64) { memory().Swap = &n })
	//lint:ignore SA1019 engines still send it
	signed("kernel-memory", "`bytes`; kernels have no such limit any more", func(n int64) { memory().Kernel = &n })
	signed("kernel-memory-tcp", "`bytes`", func(n int64) { memory().KernelTCP = &n })
	signed("pids-limit", "`number` of processes; -1: no limit", func(n int64) {
		r.Pids = &specs.LinuxPids{Limit: &n}
	})
	count("cpu-period", "`microseconds`", func(n uint64) { cpu().Period = &n })
	signed("cpu-quota", "`microseconds` in each period", func(n int64) { cpu().Quota = &n })
	count("cpu-burst", "`microseconds`", func(n uint64) { cpu().Burst = &n })
	count("cpu-share", "weight", func(n uint64) { cpu().Shares = &n })
	count("cpu-rt-period", "`microseconds`", func(n uint64) { cpu().RealtimePeriod = &n })
	signed("cpu-rt-runtime", "`microseconds`", func(n int64) { cpu().RealtimeRuntime = &n })
	signed("cpu-idle", "1: run only when nothing else would", func(n int64) { cpu().Idle = &n })
	f.Func("cpuset-cpus", "processors, as 0-2,7", func(s string) error { cpu().Cpus = s; return nil })
	f.Func("cpuset-mems", "memory nodes", func(s string) error { cpu().Mems = s; return nil })
	count("blkio-weight", "10 to 1000", func(n uint64) {
		w := uint16(min(n, 1<<16-1))
		r.BlockIO = &specs.LinuxBlockIO{Weight: &w}
	})
	for _, name := range []string{"l3-cache-schema", "mem-bw-schema"} {
		f.Func(name, "not supported", func(string) error { return errors.New("intelRdt is not supported") })
	}
}

// amount reads a number of bytes: 1g is 1<<30.
func amount(s string) (int64, error) {
	shift := 0
	switch low := strings.ToLower(strings.TrimSuffix(strings.ToLower(s), "b")); {
	case strings.HasSuffix(low, "k"):
		shift, s = 10, low[:len(low)-1]
	case strings.HasSuffix(low, "m"):
		shift, s = 20, low[:len(low)-1]
	case strings.HasSuffix(low, "g"):
		shift, s = 30, low[:len(low)-1]
	case strings.HasSuffix(low, "t"):
		shift, s = 40, low[:len(low)-1]
	}
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil || n<<shift>>shift != n {
		return 0, fmt.Errorf("%q is no number of bytes", s)
	}
	return n << shift, nil
}
