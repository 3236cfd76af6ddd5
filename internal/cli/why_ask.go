package cli

import (
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/pflag"

	"porthole/abi"
	"porthole/caps"
	"porthole/facts"
	"porthole/internal/host/probe"
	"porthole/spec"
	"porthole/why"
	"porthole/workload"
)

// asked is what `why` is asked about, if not a command to run.
type asked struct {
	syscall, code string
	last, watch   bool
	pid           int

	// Another machine's facts; "" leaves those of this one.
	kernel, arch string
	yama, uid    string
	userns       string
	sysctls      []string
}

func (s *asked) bind(f *pflag.FlagSet) {
	f.StringVar(&s.syscall, "syscall", "", "ask about a `call`: 'ptrace(PTRACE_ATTACH, 1)', 'mount(\"proc\", \"/proc\", \"proc\")'")
	f.StringVar(&s.code, "explain", "", "say at length what a `code` means: P0101")
	f.BoolVar(&s.last, "last", false, "explain the last run that failed")
	f.BoolVar(&s.watch, "watch", false, "of what runs: show refusals as they happen, one a line")
	f.StringVar(&s.kernel, "kernel", "", "with --syscall: on this `version` of Linux")
	f.StringVar(&s.arch, "arch", "", "with --syscall: on this architecture")
	f.StringVar(&s.yama, "yama", "", "with --syscall: kernel.yama.ptrace_scope there: 0 to 3, or none")
	f.StringVar(&s.uid, "uid", "", "the same as --user")
	f.StringArrayVar(&s.sysctls, "host-sysctl", nil, "with --syscall: a sysctl of that machine, `name=value`")
	f.Var(&secSetting{f, "apparmor"}, "apparmor", "with --syscall: the AppArmor profile that the container runs under")
	// run has a --pid and a --userns of its own, which say in which namespace the container lives.
	pid := f.Lookup("pid")
	pid.Value = &numberOr{pid.Value, &s.pid}
	pid.Usage = "the process to ask about; or PID namespace: host"
	ns := f.Lookup("userns")
	ns.Value = &wordOr{ns.Value, &s.userns, []string{"private", "own", "rootless"}}
	ns.Usage = "user namespace: host, or private for one of its own"
}

// alone refuses what would have no say beside what is asked.
func (s *asked) alone(flags *pflag.FlagSet, args []string) error {
	if s.syscall == "" {
		if err := unused(flags, "it is for --syscall: what a call gets on another machine", "kernel", "arch", "yama", "host-sysctl"); err != nil {
			return err
		}
	}
	for _, ask := range []struct {
		flag string
		on   bool
	}{{"explain", s.code != ""}, {"last", s.last}, {"pid", s.pid != 0}} {
		if ask.on && len(args) > 0 {
			return fmt.Errorf("--%s takes no image and no command; there is %q", ask.flag, args[0])
		}
	}
	return nil
}

// secSetting passes a value on to --security-opt.
type secSetting struct {
	f    *pflag.FlagSet
	name string
}

func (s *secSetting) String() string     { return "" }
func (s *secSetting) Type() string       { return "profile" }
func (s *secSetting) Set(v string) error { return s.f.Set("security-opt", s.name+"="+v) }

// numberOr takes a number for itself, and leaves every other value to the flag of that name.
type numberOr struct {
	pflag.Value
	n *int
}

func (v *numberOr) Set(s string) error {
	if strings.Trim(s, "0123456789-") != "" || s == "" {
		if err := v.Value.Set(s); err != nil {
			return fmt.Errorf("%w, or a process ID", err)
		}
		return nil
	}
	n, err := strconv.Atoi(s)
	if err != nil || n <= 0 {
		return fmt.Errorf("%q is not a process ID", s)
	}
	*v.n = n
	return nil
}

// wordOr takes some words for itself.
type wordOr struct {
	pflag.Value
	word  *string
	words []string
}

func (v *wordOr) Set(s string) error {
	if slices.Contains(v.words, s) {
		*v.word = s
		return nil
	}
	return v.Value.Set(s)
}

// ask answers for a call that nobody made, in a container that does not run: on this machine, or
// on one that is described.
func (a *app) ask(w workload.Workload, s asked, q answering) error {
	f, err := s.machine(w)
	if err != nil {
		return err
	}
	if s.uid != "" {
		w.User = s.uid
	}
	if s.userns != "" {
		w.NS.User = "private"
	}
	scene, err := why.Stage(w, spec.Image{Cmd: []string{"sh"}}, f)
	if err != nil {
		return err
	}
	answer, err := why.Ask(s.syscall, scene)
	if err != nil {
		return err
	}
	return q.write(answer.Text, answer.JSON, os.Stdout)
}

// machine is what is known of where a question is about: this machine, unless something else is said of it.
func (s asked) machine(w workload.Workload) (facts.Facts, error) {
	look := probe.Deep
	other := s.kernel != "" || s.arch != "" || s.yama != "" || s.userns != "" || w.Security.AppArmor != ""
	if other {
		look = probe.Facts // of which next to nothing counts
	}
	f, err := look()
	if err != nil {
		return f, err
	}
	if other {
		f = elsewhere(f)
	}
	if s.kernel != "" {
		if f.Kernel, err = facts.ParseVersion(s.kernel); err != nil {
			return f, fmt.Errorf("--kernel: %w", err)
		}
	}
	if s.arch != "" {
		if f.Arch, err = abi.ParseArch(s.arch); err != nil {
			return f, fmt.Errorf("--arch: %w", err)
		}
	}
	if w.Security.AppArmor != "" {
		f.AppArmor = true
		f.LSMs = append(f.LSMs, "apparmor")
	}
	switch s.yama {
	case "":
	case "none":
		f.Yama = -1
	case "0", "1", "2", "3":
		f.Yama = int(s.yama[0] - '0')
		f.LSMs = append(f.LSMs, "yama")
		f.Sysctl["kernel.yama.ptrace_scope"] = s.yama
	default:
		return f, fmt.Errorf("--yama %s: want 0, 1, 2, 3 or none", s.yama)
	}
	for _, kv := range s.sysctls {
		k, v, ok := strings.Cut(kv, "=")
		if !ok {
			return f, fmt.Errorf("--host-sysctl %s: want name=value", kv)
		}
		f.Sysctl[k] = v
	}
	return f, nil
}

// elsewhere is a machine of which nothing is known but that an engine runs on it as root.
func elsewhere(here facts.Facts) facts.Facts {
	all := []facts.IDRange{{Size: 1<<32 - 1}}
	f := facts.Facts{
		Kernel: here.Kernel, Arch: here.Arch, Yama: -1, Sysctl: map[string]string{},
		Caps:   caps.State{Bounding: caps.All, Permitted: caps.All, Effective: caps.All},
		UserNS: facts.UserNS{Initial: true, UIDs: all, GIDs: all},
		Cgroup: facts.Cgroup{Mode: facts.CgroupV2, Writable: true},
	}
	f.Features.Seccomp, f.Features.UserNSCreate, f.Features.CgroupNS = true, true, true
	return f
}
