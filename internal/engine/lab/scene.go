package lab

import (
	"os"
	"path/filepath"
	"slices"
	"strings"

	specs "github.com/opencontainers/runtime-spec/specs-go"

	"porthole/event"
	"porthole/facts"
	"porthole/internal/engine/container"
	"porthole/seccomp/profile"
	"porthole/why"
	"porthole/workload"
)

// Scene is the first run's container as package why takes it. f is what is known of the machine,
// deeper than the run itself needed to know it.
func (l *Lab) Scene(f facts.Facts, sight event.Sight) (why.Scene, error) {
	return l.SceneOf(l.base, f, sight)
}

// SceneOf is Scene for a container that has not run.
func (l *Lab) SceneOf(cfg container.Config, f facts.Facts, sight event.Sight) (why.Scene, error) {
	w, s := l.Workload, cfg.Spec
	var p *profile.Profile
	if s.Linux.Seccomp != nil {
		var err error
		if p, err = asked(w); err != nil {
			return why.Scene{}, err
		}
	}
	cond := profile.Conditions{Caps: bounding(cfg), Arch: f.Arch, Kernel: f.Kernel}
	sc := why.FromSpec(s, p, cond, As(w.As), f, sight)
	sc.Privileged = w.Security.Privileged
	sc.Realtime = budget(s, f)
	return sc, nil
}

// budget says whether the control group of a container may have realtime tasks. A kernel with
// CONFIG_RT_GROUP_SCHED shows cpu.rt_runtime_us in cgroup v1, and gives a new group none
// (sched_create_group, kernel/sched/core.c; init_tg_rt_entry, kernel/sched/rt.c).
func budget(s *specs.Spec, f facts.Facts) why.Budget {
	for _, h := range f.Cgroup.Hierarchies {
		if h.V2 || !slices.Contains(h.Controllers, "cpu") {
			continue
		}
		if _, err := os.Stat(filepath.Join(h.Mount, "cpu.rt_runtime_us")); err != nil {
			return why.SomeBudget // groups have no budgets there
		}
		if r := s.Linux.Resources; r != nil && r.CPU != nil && r.CPU.RealtimeRuntime != nil && *r.CPU.RealtimeRuntime != 0 {
			return why.SomeBudget
		}
		return why.NoBudget
	}
	return 0
}

// As is whose defaults a workload has: Docker's newest unless it says otherwise.
func As(as string) string {
	if as == "" {
		return "docker"
	}
	return as
}

// asked is the profile that a workload asks for, with its conditions still open.
func asked(w workload.Workload) (*profile.Profile, error) {
	if w.Security.SeccompDoc != nil {
		p, _, err := profile.Parse(w.Security.Seccomp, w.Security.SeccompDoc)
		return p, err
	}
	as := As(w.As)
	if engine, _, _ := strings.Cut(as, ":"); engine == "kubernetes" {
		as = "containerd"
	}
	return profile.Builtin(as)
}
