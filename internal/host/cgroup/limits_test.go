package cgroup

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/opencontainers/cgroups"
	specs "github.com/opencontainers/runtime-spec/specs-go"

	"porthole/facts"
)

// The library that runc is built on is the second opinion on conversions.
func TestConversionsAsRuncMakesThem(t *testing.T) {
	for shares := uint64(2); shares <= 262200; shares++ {
		if got, want := Weight(shares), cgroups.ConvertCPUSharesToCgroupV2Value(shares); got != want {
			t.Fatalf("Weight(%d) = %d, runc has %d", shares, got, want)
		}
	}
	if Weight(1024) != 100 {
		t.Errorf("v1's default becomes %d, and v2's is 100", Weight(1024))
	}
	for w := uint64(10); w <= 1000; w++ {
		if got, want := ioWeight(w), cgroups.ConvertBlkIOToIOWeightValue(uint16(w)); got != want {
			t.Fatalf("ioWeight(%d) = %d, runc has %d", w, got, want)
		}
	}
	_, f := layouts()
	for _, memory := range []int64{-1, 0, 1 << 20, 4 << 20} {
		for _, swap := range []int64{-1, 0, 1 << 20, 2 << 20, 4 << 20, 9 << 20} {
			want, wantErr := cgroups.ConvertMemorySwapToCgroupV2Value(swap, memory)
			list, err := limits(&specs.LinuxResources{Memory: &specs.LinuxMemory{Limit: &memory, Swap: &swap}}, f)
			if (err != nil) != (wantErr != nil) {
				t.Errorf("memory %d, swap %d: %v, runc says %v", memory, swap, err, wantErr)
				continue
			}
			got := ""
			for _, s := range list {
				if s.file == "memory.swap.max" {
					got = s.value
				}
			}
			wants := map[int64]string{-1: "max", 0: ""}
			w, ok := wants[want]
			if !ok {
				w = fmt.Sprint(want)
			}
			if want == 0 && swap > 0 {
				w = "0" // memory and both together are the same: no swap
			}
			if err == nil && got != w {
				t.Errorf("memory %d, swap %d: %q, runc writes %q", memory, swap, got, w)
			}
		}
	}
}

// layouts are a v1 and a v2 machine with all controllers.
func layouts() (v1, v2 facts.Cgroup) {
	all := []string{"cpu", "cpuset", "hugetlb", "io", "memory", "pids", "rdma"}
	v2 = facts.Cgroup{Mode: facts.CgroupV2, Hierarchies: []facts.Hierarchy{{Mount: "/c", V2: true, Controllers: all, Own: "/"}}}
	v1.Mode = facts.CgroupV1
	for _, c := range []string{"cpu", "cpuset", "hugetlb", "blkio", "memory", "pids", "rdma", "net_cls", "net_prio"} {
		v1.Hierarchies = append(v1.Hierarchies, facts.Hierarchy{Mount: "/c/" + c, Controllers: []string{c}, Own: "/"})
	}
	return v1, v2
}

func TestLimitsAsFiles(t *testing.T) {
	v1, v2 := layouts()
	at := specs.LinuxBlockIODevice{Major: 8, Minor: 16}
	for _, c := range []struct {
		name   string
		r      specs.LinuxResources
		v1, v2 string // "file=value" in order, or "! error"
	}{
		{"nothing", specs.LinuxResources{}, "", ""},
		{"Docker's default", specs.LinuxResources{Memory: &specs.LinuxMemory{DisableOOMKiller: ptr(false)}, BlockIO: &specs.LinuxBlockIO{}}, "", ""},
		{"-m 64m", specs.LinuxResources{Memory: &specs.LinuxMemory{Limit: ptr(int64(64 << 20)), Swap: ptr(int64(128 << 20))}},
			"memory.limit_in_bytes=67108864 memory.memsw.limit_in_bytes=134217728", "memory.max=67108864 memory.swap.max=67108864"},
		{"-m 64m --memory-swap 64m", specs.LinuxResources{Memory: &specs.LinuxMemory{Limit: ptr(int64(64 << 20)), Swap: ptr(int64(64 << 20))}},
			"memory.limit_in_bytes=67108864 memory.memsw.limit_in_bytes=67108864", "memory.max=67108864 memory.swap.max=0"},
		{"-m 64m --memory-swap -1", specs.LinuxResources{Memory: &specs.LinuxMemory{Limit: ptr(int64(64 << 20)), Swap: ptr(int64(-1))}},
			"memory.limit_in_bytes=67108864 memory.memsw.limit_in_bytes=-1", "memory.max=67108864 memory.swap.max=max"},
		{"swap less than memory", specs.LinuxResources{Memory: &specs.LinuxMemory{Limit: ptr(int64(64)), Swap: ptr(int64(32))}},
			"! --memory-swap: 32 is memory and swap together, and less than the 64 of memory alone", "! --memory-swap: 32 is memory"},
		{"swappiness", specs.LinuxResources{Memory: &specs.LinuxMemory{Swappiness: ptr(uint64(7))}}, "memory.swappiness=7", "! --memory-swappiness: cgroup v2 has no such limit"},
		{"no OOM killer", specs.LinuxResources{Memory: &specs.LinuxMemory{DisableOOMKiller: ptr(true)}}, "memory.oom_control=1", "! --oom-kill-disable: cgroup v2"},
		{"--cpus 1.5", specs.LinuxResources{CPU: &specs.LinuxCPU{Quota: ptr(int64(150000)), Period: ptr(uint64(100000))}},
			"cpu.cfs_period_us=100000 cpu.cfs_quota_us=150000", "cpu.max=150000|100000"},
		{"no quota", specs.LinuxResources{CPU: &specs.LinuxCPU{Quota: ptr(int64(-1))}}, "cpu.cfs_quota_us=-1", "cpu.max=max"},
		{"quota alone", specs.LinuxResources{CPU: &specs.LinuxCPU{Quota: ptr(int64(5000))}}, "cpu.cfs_quota_us=5000", "cpu.max=5000"},
		{"period alone", specs.LinuxResources{CPU: &specs.LinuxCPU{Period: ptr(uint64(5000))}}, "cpu.cfs_period_us=5000", "cpu.max=keep|5000"},
		{"shares, idle, burst", specs.LinuxResources{CPU: &specs.LinuxCPU{Shares: ptr(uint64(1024)), Idle: ptr(int64(1)), Burst: ptr(uint64(10))}},
			"cpu.shares=1024 cpu.idle=1 cpu.cfs_burst_us=10", "cpu.weight=100 cpu.idle=1 cpu.max.burst=10"},
		{"realtime", specs.LinuxResources{CPU: &specs.LinuxCPU{RealtimePeriod: ptr(uint64(9)), RealtimeRuntime: ptr(int64(8))}},
			"cpu.rt_period_us=9 cpu.rt_runtime_us=8", "! --cpu-rt-period: cgroup v2"},
		{"cpuset", specs.LinuxResources{CPU: &specs.LinuxCPU{Cpus: "0-3", Mems: "0"}}, "cpuset.cpus=0-3 cpuset.mems=0", "cpuset.cpus=0-3 cpuset.mems=0"},
		{"pids", specs.LinuxResources{Pids: &specs.LinuxPids{Limit: ptr(int64(9))}}, "pids.max=9", "pids.max=9"},
		{"no pids limit", specs.LinuxResources{Pids: &specs.LinuxPids{Limit: ptr(int64(-1))}}, "pids.max=max", "pids.max=max"},
		{"I/O", specs.LinuxResources{BlockIO: &specs.LinuxBlockIO{Weight: ptr(uint16(500)),
			WeightDevice:           []specs.LinuxWeightDevice{{LinuxBlockIODevice: at, Weight: ptr(uint16(300))}},
			ThrottleReadBpsDevice:  []specs.LinuxThrottleDevice{{LinuxBlockIODevice: at, Rate: 5}},
			ThrottleWriteBpsDevice: []specs.LinuxThrottleDevice{{LinuxBlockIODevice: at, Rate: 6}}, ThrottleReadIOPSDevice: []specs.LinuxThrottleDevice{{LinuxBlockIODevice: at, Rate: 7}},
			ThrottleWriteIOPSDevice: []specs.LinuxThrottleDevice{{LinuxBlockIODevice: at, Rate: 0}}}},
			"blkio.weight=500 blkio.weight_device=8:16|300 blkio.throttle.read_bps_device=8:16|5 blkio.throttle.write_bps_device=8:16|6 blkio.throttle.read_iops_device=8:16|7 blkio.throttle.write_iops_device=8:16|0",
			"io.bfq.weight=500 io.bfq.weight=8:16|300 io.max=8:16|rbps=5 io.max=8:16|wbps=6 io.max=8:16|riops=7 io.max=8:16|wiops=max"},
		{"leaf weight", specs.LinuxResources{BlockIO: &specs.LinuxBlockIO{LeafWeight: ptr(uint16(5))}}, "! linux.resources.blockIO.leafWeight", "! linux.resources.blockIO.leafWeight"},
		{"hugetlb", specs.LinuxResources{HugepageLimits: []specs.LinuxHugepageLimit{{Pagesize: "1GB", Limit: 5}}},
			"hugetlb.1GB.limit_in_bytes=5 hugetlb.1GB.rsvd.limit_in_bytes=5", "hugetlb.1GB.max=5 hugetlb.1GB.rsvd.max=5"},
		{"hugetlb, a way out", specs.LinuxResources{HugepageLimits: []specs.LinuxHugepageLimit{{Pagesize: "../../x", Limit: 5}}}, "! linux.resources.hugepageLimits[0]: page size", "! linux.resources.hugepageLimits[0]: page size"},
		{"network", specs.LinuxResources{Network: &specs.LinuxNetwork{ClassID: ptr(uint32(1048577)), Priorities: []specs.LinuxInterfacePriority{{Name: "eth0", Priority: 5}}}},
			"net_cls.classid=1048577 net_prio.ifpriomap=eth0|5", "! linux.resources.network.classID: cgroup v2"},
		{"rdma", specs.LinuxResources{Rdma: map[string]specs.LinuxRdma{"mlx5_1": {HcaHandles: ptr(uint32(2)), HcaObjects: ptr(uint32(3))}}},
			"rdma.max=mlx5_1|hca_handle=2|hca_object=3", "rdma.max=mlx5_1|hca_handle=2|hca_object=3"},
		{"unified", specs.LinuxResources{Unified: map[string]string{"memory.high": "5", "cgroup.max.depth": "3"}}, "! linux.resources.unified[\"cgroup.max.depth\"]: needs cgroup v2", "cgroup.max.depth=3 memory.high=5"},
		{"unified, no limit", specs.LinuxResources{Unified: map[string]string{"cgroup.procs": "1"}}, "! is no limit", "! is no limit"},
		{"unified, a way out", specs.LinuxResources{Unified: map[string]string{"memory.x/../../y": "1"}}, "! want a file's name", "! want a file's name"},
		{"unified, another controller", specs.LinuxResources{Unified: map[string]string{"misc.max": "1"}}, "! needs cgroup v2", "! linux.resources.unified[\"misc.max\"]: needs the misc controller, which is not there (there are: cpu cpuset"},
	} {
		for _, m := range []struct {
			f    facts.Cgroup
			want string
		}{{v1, c.v1}, {v2, c.v2}} {
			list, err := limits(&c.r, m.f)
			if want, refused := strings.CutPrefix(m.want, "! "); refused {
				var limit *LimitError
				if !errors.As(err, &limit) || !strings.Contains(err.Error(), want) {
					t.Errorf("%s, %v: %v, want %s", c.name, m.f.Mode, err, want)
				}
				continue
			}
			var got []string
			for _, s := range list {
				got = append(got, s.file+"="+strings.ReplaceAll(s.value, " ", "|"))
			}
			if s := strings.Join(got, " "); err != nil || s != m.want {
				t.Errorf("%s, %v:\ngot  %s, %v\nwant %s", c.name, m.f.Mode, s, err, m.want)
			}
		}
	}
}

// In a hybrid, each limit goes to the version that its controller is on.
func TestLimitsOfAHybrid(t *testing.T) {
	f := facts.Cgroup{Mode: facts.CgroupHybrid, Hierarchies: []facts.Hierarchy{
		{Mount: "/c/memory", Controllers: []string{"memory"}}, {Mount: "/c/unified", V2: true, Controllers: []string{"hugetlb"}}}}
	list, err := limits(&specs.LinuxResources{
		Memory:         &specs.LinuxMemory{Limit: ptr(int64(1 << 30))},
		HugepageLimits: []specs.LinuxHugepageLimit{{Pagesize: "2MB", Limit: 1}},
	}, f)
	if err != nil || len(list) != 3 || list[0].file != "memory.limit_in_bytes" || list[1].file != "hugetlb.2MB.max" {
		t.Errorf("%+v, %v", list, err)
	}
	_, err = limits(&specs.LinuxResources{Unified: map[string]string{"memory.high": "1"}}, f)
	if err == nil || !strings.Contains(err.Error(), "on cgroup v1 here") {
		t.Error(err)
	}
}
