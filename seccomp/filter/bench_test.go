package filter_test

import (
	"testing"

	"porthole/abi"
	"porthole/caps"
	"porthole/facts"
	"porthole/seccomp"
	"porthole/seccomp/filter"
	"porthole/seccomp/profile"
)

// dockerCaps are what a container gets from Docker when nobody asks for more.
var dockerCaps = caps.Of(caps.CAP_CHOWN, caps.CAP_DAC_OVERRIDE, caps.CAP_FSETID, caps.CAP_FOWNER, caps.CAP_MKNOD, caps.CAP_NET_RAW,
	caps.CAP_SETGID, caps.CAP_SETUID, caps.CAP_SETFCAP, caps.CAP_SETPCAP, caps.CAP_NET_BIND_SERVICE, caps.CAP_SYS_CHROOT, caps.CAP_KILL, caps.CAP_AUDIT_WRITE)

// release is a built-in profile, resolved for an x86-64 machine of today.
func release(t testing.TB, ref string, a abi.Arch, granted caps.Set) seccomp.Policy {
	t.Helper()
	p, err := profile.Builtin(ref)
	if err != nil {
		t.Fatal(err)
	}
	kernel, err := facts.ParseVersion("6.18.0")
	if err != nil {
		t.Fatal(err)
	}
	policy, _ := p.Resolve(profile.Conditions{Caps: granted, Arch: a, Kernel: kernel})
	return policy
}

func docker(t testing.TB) seccomp.Policy { return release(t, "docker", abi.X86_64, dockerCaps) }

// costs are the steps of every call of x86-64 that Docker's default allows, with the
// arguments of an ordinary program.
func costs(t testing.TB, p filter.Program) (sum, calls int) {
	arg0 := map[string]uint64{"clone": 0x3d0f00, "socket": 2, "personality": 0xffffffff}
	for nr, name := range abi.X86_64.Calls() {
		act, steps := p.Run(filter.Data{Nr: nr, Arch: abi.X86_64.Audit(), Args: [6]uint64{arg0[name]}})
		if act == seccomp.Allow {
			sum += steps
			calls++
		}
	}
	return sum, calls
}

func TestDockersDefaultIsSmall(t *testing.T) {
	p, err := filter.Compile(docker(t))
	if err != nil {
		t.Fatal(err)
	}
	sum, calls := costs(t, p)
	mean := float64(sum) / float64(calls)
	t.Logf("%d instructions, %.2f steps for the mean of %d allowed calls", len(p), mean, calls)
	if len(p) > 300 || mean > 9.5 || calls < 300 {
		t.Errorf("%d instructions, %.2f steps for the mean of %d allowed calls", len(p), mean, calls)
	}
}

func BenchmarkCompile(b *testing.B) {
	policy := docker(b)
	var p filter.Program
	b.ReportAllocs()
	for b.Loop() {
		p, _ = filter.Compile(policy)
	}
	b.ReportMetric(float64(len(p)), "insns")
}

func BenchmarkRun(b *testing.B) {
	p, err := filter.Compile(docker(b))
	if err != nil {
		b.Fatal(err)
	}
	d := filter.Data{Arch: abi.X86_64.Audit()}
	d.Nr, _ = abi.X86_64.Nr("openat")
	steps := 0
	for b.Loop() {
		_, steps = p.Run(d)
	}
	sum, calls := costs(b, p)
	b.ReportMetric(float64(steps), "steps/openat")
	b.ReportMetric(float64(sum)/float64(calls), "steps/allowed")
}
