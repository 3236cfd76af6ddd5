package main

import (
	"fmt"
	"os"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"porthole/caps"
	"porthole/facts"
	"porthole/internal/host/probe"
	"porthole/seccomp"
	"porthole/seccomp/filter"
	"porthole/seccomp/profile"
)

// filters says what the default filter is like, and what it costs a call. One that it always allows the
// kernel allows by a bitmap, under however many filters; for one that hangs on an argument it runs them all.
func (b *bench) filters() error {
	f, err := probe.Facts()
	if err != nil {
		return err
	}
	policy, err := docker(f)
	if err != nil {
		return err
	}
	prog, err := filter.Compile(policy)
	if err != nil {
		return err
	}
	steps, calls := 0, 0
	arg0 := map[string]uint64{"clone": 0x3d0f00, "socket": 2, "personality": 0xffffffff} // an ordinary program's
	for nr, name := range f.Arch.Calls() {
		if act, n := prog.Run(filter.Data{Nr: nr, Arch: f.Arch.Audit(), Args: [6]uint64{arg0[name]}}); act == seccomp.Allow {
			steps += n
			calls++
		}
	}
	mean := float64(steps) / float64(calls)
	// In new processes, since a container's filter is compiled once in one.
	self, err := os.Executable()
	if err != nil {
		return err
	}
	var first series
	var plain, filtered [2]series
	for range b.rounds {
		for mode, to := range map[string]*[2]series{"plain": &plain, "filtered": &filtered} {
			out, err := command(self, "calls", mode).Output()
			if err != nil {
				return fmt.Errorf("calls: %w", err)
			}
			var compile, always, sometimes float64
			if _, err := fmt.Sscan(string(out), &compile, &always, &sometimes); err != nil {
				return fmt.Errorf("calls: %q: %w", out, err)
			}
			first = append(first, compile)
			to[0], to[1] = append(to[0], always), append(to[1], sometimes)
		}
	}
	fmt.Printf("\nDocker's default filter: %d instructions, %.2f steps for the mean of %d allowed calls, compiled in %.0f µs CPU (median %.0f)\n",
		len(prog), mean, calls, first.least(), first.median())
	adds := func(i int) float64 { return filtered[i].least() - plain[i].least() }
	fmt.Printf("  getppid, always allowed:         %4.0f ns without a filter, %4.0f under %d of it\n", plain[0].least(), filtered[0].least(), layers)
	fmt.Printf("  personality, by its argument:    %4.0f ns without a filter, %4.0f under %d of it\n", plain[1].least(), filtered[1].least(), layers)
	judge("instructions", float64(len(prog)), 440)
	judge("steps", mean, 11.5)
	judge("compile, ms (least)", first.least()/1000, 1)
	judge("bitmap kept: getppid pays of what personality pays", adds(0)/adds(1), 0.4)
	return nil
}

// layers is how often the filter is installed to see what it costs: once would be lost in the noise.
const layers = 16

// docker is the policy of a container that nobody asked anything special for.
func docker(f facts.Facts) (seccomp.Policy, error) {
	p, err := profile.Builtin("docker")
	if err != nil {
		return seccomp.Policy{}, err
	}
	granted := caps.Of(caps.CAP_CHOWN, caps.CAP_DAC_OVERRIDE, caps.CAP_FSETID, caps.CAP_FOWNER, caps.CAP_MKNOD, caps.CAP_NET_RAW, caps.CAP_SETGID,
		caps.CAP_SETUID, caps.CAP_SETFCAP, caps.CAP_SETPCAP, caps.CAP_NET_BIND_SERVICE, caps.CAP_SYS_CHROOT, caps.CAP_KILL, caps.CAP_AUDIT_WRITE)
	policy, _ := p.Resolve(profile.Conditions{Caps: granted, Arch: f.Arch, Kernel: f.Kernel})
	return policy, nil
}

// calls compiles the filter, installs it if asked to, makes many calls, and prints the CPU time of the
// one in microseconds, and of each call of two kinds in nanoseconds.
func calls(filtered bool) error {
	f, err := probe.Facts()
	if err != nil {
		return err
	}
	policy, err := docker(f)
	if err != nil {
		return err
	}
	began := used()
	prog, err := filter.Compile(policy)
	compile := used() - began
	if err != nil {
		return err
	}
	if filtered {
		for range layers {
			if err := install(prog); err != nil {
				return err
			}
		}
	}
	fmt.Printf("%.1f", micros(compile))
	for _, call := range []struct{ nr, arg uintptr }{{unix.SYS_GETPPID, 0}, {unix.SYS_PERSONALITY, 0xffffffff}} {
		const times = 100_000
		least := time.Duration(1 << 62)
		for range 10 {
			began = used()
			for range times {
				unix.RawSyscall(call.nr, call.arg, 0, 0)
			}
			least = min(least, used()-began)
		}
		fmt.Printf(" %.2f", float64(least)/times)
	}
	fmt.Println()
	return nil
}

// used is the CPU time of this process.
func used() time.Duration {
	var t unix.Timespec
	unix.ClockGettime(unix.CLOCK_PROCESS_CPUTIME_ID, &t)
	return time.Duration(t.Nano())
}

// install puts all threads of this process under a filter, as a container's is: SPEC_ALLOW, or the
// kernel would turn on mitigations that cost more than the filter.
func install(p filter.Program) error {
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return err
	}
	code := p.Bytes()
	prog := struct {
		n    uint16
		code unsafe.Pointer
	}{uint16(len(p)), unsafe.Pointer(&code[0])}
	const setFilter, tsync, specAllow = 1, 1, 4
	if _, _, e := unix.Syscall(unix.SYS_SECCOMP, setFilter, tsync|specAllow, uintptr(unsafe.Pointer(&prog))); e != 0 {
		return e
	}
	return nil
}
