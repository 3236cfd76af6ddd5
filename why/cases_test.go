package why

import (
	_ "embed"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"

	"porthole/abi"
	"porthole/caps"
	"porthole/event"
	"porthole/facts"
	"porthole/spec"
	"porthole/workload"
)

//go:embed testdata/cases.txt
var cases string

// machine is a Debian of today without AppArmor, all capabilities in its bounding set.
func machine() facts.Facts {
	full := caps.State{Bounding: caps.All, Permitted: caps.All, Effective: caps.All}
	return facts.Facts{
		Kernel: facts.Version{Major: 6, Minor: 18}, Arch: abi.X86_64, Caps: full, Yama: -1, Deep: true,
		UserNS: facts.UserNS{Initial: true}, LSMs: []string{"capability", "landlock"},
		Cgroup:   facts.Cgroup{Mode: facts.CgroupV2, Writable: true},
		Features: facts.Features{Seccomp: true, UserNSCreate: true, CgroupNS: true, TimeNS: true},
		Sysctl: map[string]string{
			"kernel.perf_event_paranoid": "2", "kernel.unprivileged_bpf_disabled": "2", "kernel.dmesg_restrict": "1",
			"kernel.io_uring_disabled": "0", "vm.unprivileged_userfaultfd": "0", "net.ipv4.ip_unprivileged_port_start": "1024",
			"net.ipv4.ping_group_range": "1 0", "fs.protected_hardlinks": "1", "fs.protected_symlinks": "1",
			"user.max_user_namespaces": "96365", "kernel.kexec_load_disabled": "0", "kernel.modules_disabled": "0",
		},
	}
}

type refusalCase struct {
	name, errno string
	layers      []string
	call        Call
	refusal     Refusal
	scene       Scene
}

func readCases(t testing.TB) (out []refusalCase) {
	t.Helper()
	for line := range strings.Lines(cases) {
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' {
			continue
		}
		out = append(out, readCase(t, line))
	}
	return out
}

func readCase(t testing.TB, line string) refusalCase {
	t.Helper()
	i := strings.LastIndexByte(line, '|')
	f := strings.Fields(line[:i])
	c := refusalCase{name: f[0], errno: f[1], layers: strings.Split(f[2], ",")}
	var err error
	if c.call, err = ParseCall(strings.Join(f[3:], " ")); err != nil {
		t.Fatalf("%s: %v", c.name, err)
	}
	c.set(t, strings.Fields(line[i+1:]))
	return c
}

// set builds the scene and the event from the context.
func (c *refusalCase) set(t testing.TB, ctx []string) {
	t.Helper()
	f := machine()
	w := workload.Workload{Image: "host", As: "docker:20.10.24", Args: []string{"true"}, User: "0"}
	e := event.Event{Kind: event.Refused, PID: 7, TID: 7, Comm: "prog", Arch: abi.X86_64, Strings: c.call.Strings}
	var after []func(*Scene)
	var file event.File
	hasFile := false
	for _, word := range ctx {
		k, v, _ := strings.Cut(word, "=")
		switch {
		case k == "as":
			w.As = v
		case k == "none":
			w.Security.Seccomp = "unconfined"
		case k == "uid":
			w.User = v
		case k == "add":
			// Not by the flag: old releases know no BPF, and yet the kernel under them may.
			for n := range strings.SplitSeq(v, ",") {
				one, err := caps.Parse(n)
				if err != nil {
					t.Fatal(err)
				}
				after = append(after, func(s *Scene) { *s = s.granted(caps.Of(one)) })
			}
		case k == "drop":
			w.Security.CapDrop = strings.Split(v, ",")
		case k == "priv":
			w.Security.Privileged = true
		case k == "nnp":
			on := true
			w.Security.NoNewPrivs = &on
		case k == "kernel":
			f.Kernel, _ = facts.ParseVersion(v)
		case k == "yama":
			f.Yama, _ = strconv.Atoi(v)
			f.LSMs = append(f.LSMs, "yama")
		case k == "lsm":
			f.LSMs = append(f.LSMs, v)
		case k == "lockdown":
			f.Sysctl["lockdown"] = v
		case k == "apparmor":
			w.Security.AppArmor, f.AppArmor = v, true
			f.LSMs = append(f.LSMs, "apparmor")
		case k == "bare":
			after = append(after, func(s *Scene) {
				uid := s.Caps.UID
				s.Caps = caps.State{Bounding: caps.All, UID: uid, EUID: uid, SUID: uid, FSUID: uid}
				if uid == 0 {
					s.Caps.Permitted, s.Caps.Effective = caps.All, caps.All
				}
				s.Masked, s.ReadOnly, s.Devices = nil, nil, nil
			})
		case k == "userns":
			after = append(after, func(s *Scene) { s.Nest([]facts.IDRange{{Inside: 0, Outside: 1000, Size: 1}}) })
		case k == "chroot":
			after = append(after, func(s *Scene) { s.Chroot = true })
		case k == "setgroups-denied":
			after = append(after, func(s *Scene) { s.SetgroupsDenied = true })
		case k == "masked":
			after = append(after, func(s *Scene) { s.Masked = []string{"/proc/kcore"} })
		case k == "filtered":
			e.Filtered = true
			after = append(after, func(s *Scene) { s.Sight.Filtered = true })
		case k == "arch":
			e.Arch, _ = abi.ParseArch(v)
		case k == "exec":
			e.Kind = event.Exec
		case strings.HasPrefix(k, "rlimit:"):
			n, _ := strconv.ParseInt(v, 10, 64)
			after = append(after, func(s *Scene) { s.Rlimits[k[len("rlimit:"):]] = Limit{n, n} })
		case strings.HasPrefix(k, "file:"):
			hasFile = true
			file.UID = 0
			switch k[len("file:"):] {
			case "mode":
				m, _ := strconv.ParseUint(v, 8, 32)
				file.Mode = uint32(m)
			case "uid":
				file.UID, _ = strconv.Atoi(v)
			case "path":
				file.Path = v
			case "fs":
				file.FS = v
			case "mount":
				file.Mount = v
			case "flags":
				file.Flags = strings.Split(v, ",")
			case "rdev":
				var major, minor uint64
				fmt.Sscanf(v, "%d:%d", &major, &minor)
				file.Dev = major<<8 | minor&0xff | minor&^0xff<<12
			case "caps":
				file.Caps = caps.FileCaps{Present: true, Effective: true}
				for n := range strings.SplitSeq(v, ",") {
					one, err := caps.Parse(n)
					if err != nil {
						t.Fatal(err)
					}
					file.Caps.Permitted = file.Caps.Permitted.Add(one)
				}
			}
		case strings.Contains(k, "."):
			f.Sysctl[k] = strings.ReplaceAll(v, "_", " ")
		default:
			t.Fatalf("%s: context %q", c.name, word)
		}
	}
	var err error
	if c.scene, err = Stage(w, spec.Image{}, f); err != nil {
		t.Fatalf("%s: %v", c.name, err)
	}
	for k, v := range f.Sysctl {
		if strings.HasPrefix(k, "net.") && slices.ContainsFunc(ctx, func(w string) bool { return strings.HasPrefix(w, k+"=") }) {
			c.scene.Sysctls[k] = v
		}
	}
	for _, do := range after {
		do(&c.scene)
	}
	if c.errno != "-" {
		if e.Errno, err = abi.ParseErrno(c.errno); err != nil {
			t.Fatal(err)
		}
	}
	for i, a := range c.call.Args {
		e.Args[i] = a.Value
	}
	var ok bool
	if e.Nr, ok = e.Arch.Nr(c.call.Name); !ok {
		t.Fatalf("%s: %v has no %s", c.name, e.Arch, c.call.Name)
	}
	if hasFile {
		e.File = &file
	}
	if file.Path == "" {
		file.Path = pathOf(e)
	}
	if file.Path == "" {
		file.Path = c.call.Strings[0]
	}
	if file.Path != "" && e.File == nil {
		e.File = &event.File{Path: file.Path}
	}
	c.refusal = Refusal{Event: e, Count: 1, Silent: e.Kind == event.Exec}
}

func fits(l Layer, want string) bool {
	return slices.Contains(strings.Split(want, "/"), l.String())
}

// Each recorded case is asked about without any experiment and without a watcher that would
// tell a filter's answer from the kernel's.
func TestCases(t *testing.T) {
	all := readCases(t)
	first, every, missed := 0, 0, 0
	for _, c := range all {
		got := Suspects(c.refusal, c.scene)
		var names []string
		for _, s := range got {
			names = append(names, fmt.Sprintf("%v %v %v", s.Layer, s.Code, s.Proof))
			if s.Proof == Proved {
				t.Errorf("%s: %v is said to be proved without an experiment", c.name, s.Layer)
			}
		}
		if fits(got[0].Layer, c.layers[0]) {
			first++
		} else {
			t.Logf("%-10s want %v, got %s", c.name, c.layers, strings.Join(names, "; "))
		}
		for _, want := range c.layers {
			if slices.ContainsFunc(got, func(s Suspect) bool { return fits(s.Layer, want) }) {
				every++
			} else {
				missed++
				t.Logf("%-10s misses %s of %v, got %s", c.name, want, c.layers, strings.Join(names, "; "))
			}
		}
		// A layer that is said to be seen or to follow from the rules must be among those recorded.
		if p := got[0].Proof; p >= ByRules && !slices.ContainsFunc(c.layers, func(w string) bool { return fits(got[0].Layer, w) }) {
			t.Errorf("%s: %v is said of %v, which was not it: %v", c.name, p, got[0].Layer, c.layers)
		}
	}
	t.Logf("first layer: %d of %d; layers named: %d of %d", first, len(all), every, every+missed)
	if 10*first < 9*len(all) {
		t.Errorf("first layer right in %d of %d", first, len(all))
	}
}
