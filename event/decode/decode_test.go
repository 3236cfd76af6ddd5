package decode

import (
	"encoding/binary"
	"fmt"
	"testing"

	"porthole/abi"
	"porthole/caps"
	"porthole/event"
)

func le(vs ...any) string {
	var b []byte
	for _, v := range vs {
		b, _ = binary.Append(b, binary.LittleEndian, v)
	}
	return string(b)
}

// refused is a call of x86-64 that failed.
func refused(name string, errno abi.Errno, strings map[int]string, args ...uint64) event.Event {
	return on(abi.X86_64, name, errno, strings, args...)
}

func on(arch abi.Arch, name string, errno abi.Errno, strings map[int]string, args ...uint64) event.Event {
	nr, ok := arch.Nr(name)
	if !ok {
		panic(name)
	}
	e := event.Event{Kind: event.Refused, Arch: arch, Nr: nr, Errno: errno, Strings: strings}
	copy(e.Args[:], args)
	for i := range strings {
		if e.Args[i] == 0 {
			e.Args[i] = 0x7ffc0000
		}
	}
	return e
}

const minus = ^uint64(0)

// The lines are what strace 6.1 prints, where it does not abbreviate. (internal/host/trace compares some
// eighty calls with a strace that watches the very same ones.)
func TestLine(t *testing.T) {
	perm := abi.EPERM
	for _, x := range []struct {
		name, want string
		event      event.Event
	}{
		{"strace in Docker 18.09", "ptrace(PTRACE_TRACEME) = -1 EPERM (Operation not permitted)",
			refused("ptrace", perm, nil)},
		{"gdb", "personality(PER_LINUX|ADDR_NO_RANDOMIZE) = -1 EPERM (Operation not permitted)",
			refused("personality", perm, nil, 0x40000)},
		{"asks for the persona", "personality(0xffffffff) = -1 EPERM (Operation not permitted)",
			refused("personality", perm, nil, 0xffffffff)},
		{"unshare -r", "unshare(CLONE_NEWUSER) = -1 EPERM (Operation not permitted)",
			refused("unshare", perm, nil, 0x10000000)},
		{"perf", "perf_event_open({type=PERF_TYPE_SOFTWARE, config=PERF_COUNT_SW_CPU_CLOCK, exclude_hv=1, ...}, 0, -1, -1, PERF_FLAG_FD_CLOEXEC) = -1 EACCES (Permission denied)",
			refused("perf_event_open", abi.EACCES, map[int]string{0: le(uint32(1), uint32(136), uint64(0), uint64(0), uint64(0), uint64(0), uint64(1<<6))}, 0, 0, minus, minus, 8)},
		{"clone3", "clone3({flags=CLONE_VM|CLONE_VFORK, exit_signal=SIGCHLD, stack=0x7f0000, stack_size=0x9000}, 88) = -1 ENOSYS (Function not implemented)",
			refused("clone3", abi.ENOSYS, map[int]string{0: le(uint64(0x4100), uint64(0), uint64(0), uint64(0), uint64(17), uint64(0x7f0000), uint64(0x9000))}, 0, 88)},
		{"clone3 that could not be read", "clone3(0x7ffe, 88) = -1 ENOSYS (Function not implemented)",
			refused("clone3", abi.ENOSYS, nil, 0x7ffe, 88)},
		{"clone", "clone(child_stack=NULL, flags=CLONE_NEWUSER|SIGCHLD) = -1 EPERM (Operation not permitted)",
			refused("clone", perm, nil, 0x10000011)},
		{"mount", `mount("proc", "/proc", "proc", MS_NOSUID|MS_NODEV|MS_NOEXEC, NULL) = -1 EPERM (Operation not permitted)`,
			refused("mount", perm, map[int]string{0: "proc", 1: "/proc", 2: "proc"}, 0, 0, 0, 14, 0)},
		{"open to read", `openat(AT_FDCWD, "/dev/fuse", O_RDWR) = -1 EPERM (Operation not permitted)`,
			refused("openat", perm, map[int]string{1: "/dev/fuse"}, 0xffffff9c, 0, 2, 0)},
		{"open to make", `openat(AT_FDCWD, "a\"b\n\0011\2", O_WRONLY|O_CREAT|O_TRUNC, 0666) = -1 EROFS (Read-only file system)`,
			refused("openat", 30, map[int]string{1: "a\"b\n\x011\x02"}, 0xffffff9c, 0, 0x241, 0o666)},
		{"junk above an int", "socket(AF_ALG, SOCK_SEQPACKET, 0) = -1 EAFNOSUPPORT (Address family not supported by protocol)",
			refused("socket", 97, nil, 0x100000026, 5, 0)},
		{"abstract address", `connect(3, {sa_family=AF_UNIX, sun_path=@"/tmp/x"}, 9) = -1 EPERM (Operation not permitted)`,
			refused("connect", perm, map[int]string{1: "\x01\x00\x00/tmp/x"}, 3, 0, 9)},
		{"half an address", `connect(3, {sa_family=AF_INET, sa_data="\0"}, 3) = -1 EINVAL (Invalid argument)`,
			refused("connect", abi.EINVAL, map[int]string{1: "\x02\x00\x00"}, 3, 0, 3)},
		{"a map of ids", `write(3, "0 0 1\n", 6) = -1 EPERM (Operation not permitted)`,
			refused("write", perm, map[int]string{1: "0 0 1\n"}, 3, 0, 6)},
		{"the start of a buffer", `write(3, "ab"..., 100) = -1 ENOSPC (No space left on device)`,
			refused("write", 28, map[int]string{1: "ab"}, 3, 0, 100)},
		{"bpf", "bpf(BPF_PROG_LOAD, {prog_type=BPF_PROG_TYPE_KPROBE, insn_cnt=9, ...}, 168) = -1 EPERM (Operation not permitted)",
			refused("bpf", perm, map[int]string{1: le(uint32(2), uint32(9))}, 5, 0, 168)},
		{"keys", `keyctl(KEYCTL_JOIN_SESSION_KEYRING, NULL) = -1 ENOSYS (Function not implemented)`,
			refused("keyctl", abi.ENOSYS, nil, 1)},
		{"fork in 32 bits", "fork() = -1 EAGAIN (Resource temporarily unavailable)", on(abi.X86, "fork", 11, nil)},
		{"x32", "ptrace(PTRACE_TRACEME) = -1 EPERM (Operation not permitted)", on(abi.X32, "ptrace", perm, nil)},
		{"flags of arm", `openat(AT_FDCWD, "/x", O_RDONLY|O_DIRECTORY) = -1 EACCES (Permission denied)`,
			on(abi.ARM64, "openat", abi.EACCES, map[int]string{1: "/x"}, 0xffffff9c, 0, 0x4000)},
		{"no such call", "syscall_0x270f(0x1, 0, 0, 0, 0, 0) = -1 ENOSYS (Function not implemented)",
			event.Event{Kind: event.Refused, Arch: abi.X86_64, Nr: 9999, Args: [6]uint64{1}, Errno: abi.ENOSYS}},
		{"an unknown option", "prctl(0x1234, 0x1, 0, 0, 0) = -1 EINVAL (Invalid argument)",
			refused("prctl", abi.EINVAL, nil, 0x1234, 1)},
		{"a capability", `chroot("/x") asks for CAP_SYS_CHROOT: not held`, func() event.Event {
			e := refused("chroot", perm, map[int]string{0: "/x"})
			e.Kind, e.Cap = event.Denied, caps.CAP_SYS_CHROOT
			return e
		}()},
		{"setuid", `execve("/usr/bin/su", ...) = 0 (AT_SECURE)`,
			event.Event{Kind: event.Exec, Secure: true, File: &event.File{Path: "/usr/bin/su"}}},
		{"ends", "+++ exited with 3 +++", event.Event{Kind: event.Exit, Status: 3 << 8}},
		{"is ended", "+++ killed by SIGSYS (core dumped) +++", event.Event{Kind: event.Exit, Status: 31 | 0x80}},
		{"netlink", "netlink RTM_NEWLINK answered EPERM (Operation not permitted)",
			event.Event{Kind: event.Nack, Errno: perm, Netlink: event.Netlink{Type: 16}}},
		{"another netlink", "netlink NETLINK_NETFILTER message 2569 answered EPERM (Operation not permitted)",
			event.Event{Kind: event.Nack, Errno: perm, Netlink: event.Netlink{Protocol: 12, Type: 2569}}},
		{"a sysctl", "read /proc/sys/kernel/perf_event_paranoid",
			event.Event{Kind: event.Read, File: &event.File{Path: "/proc/sys/kernel/perf_event_paranoid"}}},
		{"nothing", "", event.Event{}},
	} {
		if got := Line(x.event); got != x.want {
			t.Errorf("%s:\n got %s\nwant %s", x.name, got, x.want)
		}
	}
}

// Whatever a watcher hands over, a line comes back.
func FuzzLine(f *testing.F) {
	f.Add(uint8(1), uint32(59), uint64(1), uint64(2), uint64(3), uint16(1), "abc", "\x02\x00")
	f.Add(uint8(2), uint32(165), uint64(1), uint64(2), uint64(3), uint16(38), "", "x")
	f.Fuzz(func(t *testing.T, arch uint8, nr uint32, a, b, c uint64, errno uint16, s0, s1 string) {
		e := event.Event{Kind: event.Refused, Arch: abi.Arch(arch), Nr: nr, Args: [6]uint64{a, b, c, a, b, c}, Errno: abi.Errno(errno),
			Strings: map[int]string{0: s0, 1: s1, 2: s0, 3: s1}}
		if Line(e) == "" {
			t.Error("no line")
		}
	})
}

// Every call, with arguments that mean nothing, has a line.
func TestEveryCall(t *testing.T) {
	for _, a := range abi.All {
		for nr := range a.Calls() {
			for _, v := range []uint64{0, 1, 2, minus, 0x7fff0000} {
				e := event.Event{Kind: event.Refused, Arch: a, Nr: nr, Args: [6]uint64{v, v, v, v, v, v}, Strings: map[int]string{0: "a", 1: "", 2: "\x10\x00"}}
				if Line(e) == "" {
					t.Errorf("%v %d: no line", a, nr)
				}
			}
		}
	}
}

func BenchmarkLine(b *testing.B) {
	e := refused("mount", 1, map[int]string{0: "proc", 1: "/proc", 2: "proc"}, 0, 0, 0, 14, 0)
	for b.Loop() {
		Line(e)
	}
}

func ExampleLine() {
	nr, _ := abi.X86_64.Nr("unshare")
	fmt.Println(Line(event.Event{
		Kind: event.Refused, Arch: abi.X86_64, Nr: nr, Args: [6]uint64{0x10020000}, Errno: abi.EPERM, Filtered: true,
	}))
	// Output: unshare(CLONE_NEWNS|CLONE_NEWUSER) = -1 EPERM (Operation not permitted)
}
