package profile

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	specs "github.com/opencontainers/runtime-spec/specs-go"

	"porthole/abi"
	"porthole/caps"
	"porthole/facts"
	"porthole/seccomp"
)

func parse(t *testing.T, doc string) *Profile {
	t.Helper()
	p, _, err := Parse("p", []byte(doc))
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// TestConditions has one condition and the machines on which it holds.
func TestConditions(t *testing.T) {
	admin, bpf := caps.Of(caps.CAP_SYS_ADMIN), caps.Of(caps.CAP_BPF)
	k := func(s string) facts.Version {
		v, err := facts.ParseVersion(s)
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	for _, c := range []struct {
		story, cond string
		on          Conditions
		want        string // what is unmet; "" where the entry is in effect
	}{
		{"none", `"comment": ""`, Conditions{}, ""},
		{"empty ones", `"includes": {}, "excludes": {"caps": [], "arches": null}`, Conditions{}, ""},
		{"both capabilities, one held", `"includes": {"caps": ["CAP_SYS_ADMIN", "CAP_BPF"]}`, Conditions{Caps: bpf}, "CAP_SYS_ADMIN granted"},
		{"both capabilities, both held", `"includes": {"caps": ["CAP_SYS_ADMIN", "CAP_BPF"]}`, Conditions{Caps: bpf | admin}, ""},
		{"neither capability, one held", `"excludes": {"caps": ["CAP_SYS_ADMIN", "CAP_BPF"]}`, Conditions{Caps: bpf}, "CAP_BPF not granted"},
		{"neither capability, none held", `"excludes": {"caps": ["CAP_SYS_ADMIN", "CAP_BPF"]}`, Conditions{}, ""},
		{"old enough a kernel", `"includes": {"minKernel": "4.8"}`, Conditions{Kernel: k("4.8.0-rc3")}, ""},
		{"a patch does not count", `"includes": {"minKernel": "4.8"}`, Conditions{Kernel: k("4.7.99")}, "Linux 4.8 or newer"},
		{"a second number above 9", `"includes": {"minKernel": "4.8"}`, Conditions{Kernel: k("4.14")}, ""},
		{"no kernel known", `"includes": {"minKernel": "4.8"}`, Conditions{}, "Linux 4.8 or newer"},
		{"too new a kernel", `"excludes": {"minKernel": "4.8"}`, Conditions{Kernel: k("5.0")}, "Linux older than 4.8"},
		{"amd64", `"includes": {"arches": ["amd64", "x32"]}`, Conditions{Arch: abi.X86_64}, ""},
		{"arm64 for amd64", `"includes": {"arches": ["amd64", "x32"]}`, Conditions{Arch: abi.ARM64}, "architecture amd64 or x32"},
		{"a 32-bit machine", `"includes": {"arches": ["x86"]}`, Conditions{Arch: abi.X86}, ""},
		{"not s390x", `"excludes": {"arches": ["s390", "s390x"]}`, Conditions{Arch: abi.S390X}, "an architecture other than s390, s390x"},
		{"all of them", `"includes": {"arches": ["arm"], "caps": ["CAP_BPF"], "minKernel": "6.1"}, "excludes": {"caps": ["CAP_SYS_ADMIN"]}`,
			Conditions{Caps: admin}, "CAP_SYS_ADMIN not granted; architecture arm; CAP_BPF granted; Linux 6.1 or newer"},
	} {
		p := parse(t, `{"defaultAction": "SCMP_ACT_ERRNO", "syscalls": [{"names": ["bpf"], "action": "SCMP_ACT_ALLOW", `+c.cond+`}]}`)
		var got []string
		for _, u := range p.Entries[0].Unmet(c.on) {
			got = append(got, u.String())
		}
		if strings.Join(got, "; ") != c.want {
			t.Errorf("%s: unmet: %q, want %q", c.story, got, c.want)
		}
		pol, _ := p.Resolve(c.on)
		oci := p.OCI(c.on)
		if in := c.want == ""; in != (len(pol.Rules) == 1) || in != (len(oci.Syscalls) == 1) {
			t.Errorf("%s: %d rules, %d entries", c.story, len(pol.Rules), len(oci.Syscalls))
		}
	}
}

func TestResolve(t *testing.T) {
	p := parse(t, `{"defaultAction": "SCMP_ACT_ERRNO",
	"archMap": [
		{"architecture": "SCMP_ARCH_AARCH64", "subArchitectures": ["SCMP_ARCH_ARM"]},
		{"architecture": "SCMP_ARCH_X86_64", "subArchitectures": ["SCMP_ARCH_X86", "SCMP_ARCH_X32", "SCMP_ARCH_MIPS"]}],
	"syscalls": [
		{"names": ["read", "write"], "action": "SCMP_ACT_ALLOW"},
		{"names": ["nosuch", "close"], "action": "SCMP_ACT_TRACE", "errnoRet": 7},
		{"names": ["fchmodat2"], "action": "SCMP_ACT_ERRNO", "errnoRet": 1},
		{"names": ["open"], "action": "SCMP_ACT_KILL", "errnoRet": 5, "args": [
			{"index": 1, "value": 3, "valueTwo": 1, "op": "SCMP_CMP_MASKED_EQ"}, {"index": 2, "value": 4, "op": "SCMP_CMP_LT"}]},
		{"names": ["socket"], "action": "SCMP_ACT_ERRNO", "errnoRet": 97, "args": [
			{"index": 0, "value": 16, "op": "SCMP_CMP_EQ"}, {"index": 2, "value": 9, "op": "SCMP_CMP_EQ"}, {"index": 0, "value": 40, "op": "SCMP_CMP_GE"}]}
	]}`)
	got, warnings := p.Resolve(Conditions{Arch: abi.X86_64})
	c := func(arg uint8, op seccomp.Op, v, mask uint64) []seccomp.Cond {
		return []seccomp.Cond{{Arg: arg, Op: op, Value: v, Mask: mask}}
	}
	want := seccomp.Policy{
		Default: seccomp.Errno | 1, Arches: []abi.Arch{abi.X86_64, abi.X86, abi.X32}, BadArch: seccomp.KillThread,
		Flags: 4, NewerENOSYS: true,
		Rules: []seccomp.Rule{
			{Name: "read", Action: seccomp.Allow, Conds: []seccomp.Cond{}, From: 0},
			{Name: "write", Action: seccomp.Allow, Conds: []seccomp.Cond{}, From: 0},
			{Name: "close", Action: seccomp.Trace | 7, Conds: []seccomp.Cond{}, From: 1},
			{Name: "fchmodat2", Action: seccomp.Errno | 1, Conds: []seccomp.Cond{}, From: 2},
			{Name: "open", Action: seccomp.KillThread, From: 3, Conds: append(c(1, seccomp.MaskedEQ, 1, 3), c(2, seccomp.LT, 4, 0)...)},
			{Name: "socket", Action: seccomp.Errno | 97, Conds: c(0, seccomp.EQ, 16, 0), From: 4},
			{Name: "socket", Action: seccomp.Errno | 97, Conds: c(2, seccomp.EQ, 9, 0), From: 4},
			{Name: "socket", Action: seccomp.Errno | 97, Conds: c(0, seccomp.GE, 40, 0), From: 4},
		},
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
	if len(warnings) != 1 || warnings[0].String() != `syscalls[1].names[0]: no system call is called "nosuch", skipped` {
		t.Errorf("warnings: %v", warnings)
	}
	// The rule for fchmodat2 says the default, and yet it is the newest call named: so says runc.
	if v := got.Decide(abi.X86_64, 453, [6]uint64{}); v.Action != seccomp.Errno|38 || v.Why != seccomp.ByAge {
		t.Errorf("number 453: %+v", v)
	}
	if v := got.Decide(abi.X86_64, 452, [6]uint64{}); v.Action != seccomp.Errno|1 {
		t.Errorf("fchmodat2: %+v", v)
	}
	if got, _ := p.Resolve(Conditions{Arch: abi.RISCV64}); !slices.Equal(got.Arches, []abi.Arch{abi.RISCV64}) {
		t.Errorf("a machine that archMap lacks: %v", got.Arches)
	}
}

// TestNewer has the defaults after which runc lets numbers that no profile names through to the
// default, or answers ENOSYS.
func TestNewer(t *testing.T) {
	for doc, want := range map[string]bool{
		`{"defaultAction": "SCMP_ACT_ERRNO"}`:                               true,
		`{"defaultAction": "SCMP_ACT_ERRNO", "defaultErrnoRet": 1}`:         true,
		`{"defaultAction": "SCMP_ACT_ERRNO", "defaultErrnoRet": 38}`:        false,
		`{"defaultAction": "SCMP_ACT_ERRNO", "defaultErrno": "ENOSYS"}`:     false,
		`{"defaultAction": "SCMP_ACT_KILL"}`:                                true,
		`{"defaultAction": "SCMP_ACT_KILL_PROCESS"}`:                        true,
		`{"defaultAction": "SCMP_ACT_KILL_PROCESS", "defaultErrnoRet": 38}`: false,
		`{"defaultAction": "SCMP_ACT_TRAP"}`:                                true,
		`{"defaultAction": "SCMP_ACT_TRACE"}`:                               false,
		`{"defaultAction": "SCMP_ACT_LOG"}`:                                 false,
		`{"defaultAction": "SCMP_ACT_ALLOW"}`:                               false,
	} {
		if pol, _ := parse(t, doc).Resolve(Conditions{Arch: abi.X86_64}); pol.NewerENOSYS != want {
			t.Errorf("%s: %t", doc, pol.NewerENOSYS)
		}
	}
}

func TestFlags(t *testing.T) {
	for doc, want := range map[string]uint32{
		`{"defaultAction": "SCMP_ACT_KILL"}`:                                                                                   4, // runc's choice
		`{"defaultAction": "SCMP_ACT_KILL", "flags": []}`:                                                                      0,
		`{"defaultAction": "SCMP_ACT_KILL", "flags": ["SECCOMP_FILTER_FLAG_LOG"]}`:                                             2,
		`{"defaultAction": "SCMP_ACT_KILL", "flags": ["SECCOMP_FILTER_FLAG_TSYNC", "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV"]}`: 1 | 32,
		`{"defaultAction": "SCMP_ACT_KILL", "flags": ["SECCOMP_FILTER_FLAG_SPEC_ALLOW"]}`:                                      4,
	} {
		if pol, _ := parse(t, doc).Resolve(Conditions{Arch: abi.X86_64}); pol.Flags != want {
			t.Errorf("%s: %#x, want %#x", doc, pol.Flags, want)
		}
	}
}

// TestVoid has a rule that reads like a refusal and is none.
func TestVoid(t *testing.T) {
	p := parse(t, `{"defaultAction": "SCMP_ACT_ERRNO", "syscalls": [
		{"names": ["socket", "bind"], "action": "SCMP_ACT_ERRNO", "args": [{"index": 0, "value": 40, "op": "SCMP_CMP_EQ"}]},
		{"names": ["socket"], "action": "SCMP_ACT_ALLOW"}]}`)
	pol, warnings := p.Resolve(Conditions{Arch: abi.X86_64})
	if len(warnings) != 1 || warnings[0].String() != "syscalls[0]: for socket it says what the default says and so is skipped: syscalls[1] decides" {
		t.Errorf("%v", warnings)
	}
	if v := pol.Decide(abi.X86_64, 41, [6]uint64{40}); v.Action != seccomp.Allow {
		t.Errorf("socket(AF_VSOCK): %v", v)
	}
}

// TestBuiltinWarnings resolves every builtin profile on every architecture: engines' own
// documents name few calls that are none.
func TestBuiltinWarnings(t *testing.T) {
	for _, r := range Releases() {
		if r.Version != r.Since {
			continue
		}
		p, err := Builtin(r.String())
		if err != nil {
			t.Fatal(err)
		}
		for _, a := range abi.All {
			_, warnings := p.Resolve(Conditions{Arch: a, Caps: caps.Set(caps.All), Kernel: facts.Version{Major: 6}})
			for _, w := range warnings {
				if r.Engine != "podman" || !strings.Contains(w.Msg, `called "syscall"`) {
					t.Errorf("%s on %v: %v", r, a, w)
				}
			}
		}
	}
}

// TestMadeByHand resolves a profile whose words no document may have: it must not open anything.
func TestMadeByHand(t *testing.T) {
	p := &Profile{Default: "?", Entries: []Entry{{LinuxSyscall: specs.LinuxSyscall{
		Names: []string{"read"}, Action: specs.ActAllow, Args: []specs.LinuxSeccompArg{{Index: 9, Op: "?"}}}}}}
	pol, _ := p.Resolve(Conditions{Arch: abi.X86_64})
	if v := pol.Decide(abi.X86_64, 0, [6]uint64{}); v.Action != seccomp.KillProcess {
		t.Errorf("%v", v)
	}
}
