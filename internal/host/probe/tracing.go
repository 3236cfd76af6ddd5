package probe

import (
	"bytes"
	"os"
	"unsafe"

	"golang.org/x/sys/unix"

	"porthole/facts"
)

// tracing loads a program that returns 0 and attaches it for a moment to the raw tracepoints on which
// porthole's own tracing stands. ENOENT is a tracepoint that this kernel does not have.
func (r *reader) tracing(t *facts.Features) {
	prog, errno := loadReturnZero()
	if t.BPF = errno == 0; !t.BPF {
		// Not ours to load; whether the tracepoint is there, the kernel's type information tells as well.
		if b, err := os.ReadFile("/sys/kernel/btf/vmlinux"); err == nil {
			t.CapCapable = bytes.Contains(b, []byte("\x00btf_trace_cap_capable\x00"))
		} else {
			unsure(t, "CapCapable")
		}
		unsure(t, "RawTracepoints")
		return
	}
	defer unix.Close(prog)
	attaches := func(name string) bool {
		fd, errno := attachRaw(prog, name)
		if errno == 0 {
			unix.Close(fd)
		}
		return errno == 0
	}
	t.RawTracepoints = attaches("sys_exit") && attaches("sys_enter")
	t.CapCapable = attaches("cap_capable")
}

// The commands and structures of bpf(2) that are used here (include/uapi/linux/bpf.h).
const (
	bpfProgLoad          = 5
	bpfRawTracepointOpen = 17
	progTypeRawTP        = 17
)

// loadReturnZero loads r0 = 0; exit as a raw tracepoint program: the kind that needs CAP_BPF and CAP_PERFMON.
func loadReturnZero() (int, unix.Errno) {
	insns := [2]uint64{0xb7, 0x95} // BPF_ALU64|BPF_MOV|BPF_K r0, 0; BPF_JMP|BPF_EXIT
	if bigEndian() {
		insns = [2]uint64{0xb7 << 56, 0x95 << 56}
	}
	license := [4]byte{'G', 'P', 'L'}
	attr := struct {
		progType, insnCnt uint32
		insns, license    unsafe.Pointer
		rest              [96]byte
	}{progTypeRawTP, uint32(len(insns)), unsafe.Pointer(&insns), unsafe.Pointer(&license), [96]byte{}}
	fd, _, errno := unix.Syscall(unix.SYS_BPF, bpfProgLoad, uintptr(unsafe.Pointer(&attr)), unsafe.Sizeof(attr))
	return int(fd), errno
}

func attachRaw(prog int, name string) (int, unix.Errno) {
	p, err := unix.BytePtrFromString(name)
	if err != nil {
		return -1, unix.EINVAL
	}
	attr := struct {
		name   unsafe.Pointer
		progFD uint32
		_      uint32
	}{unsafe.Pointer(p), uint32(prog), 0}
	fd, _, errno := unix.Syscall(unix.SYS_BPF, bpfRawTracepointOpen, uintptr(unsafe.Pointer(&attr)), unsafe.Sizeof(attr))
	return int(fd), errno
}

func bigEndian() bool {
	one := uint16(1)
	return *(*byte)(unsafe.Pointer(&one)) == 0
}

// subdirs names the directories in dir; none where it cannot be read.
func subdirs(dir string) []string {
	entries, _ := os.ReadDir(dir)
	var names []string
	for _, e := range entries {
		if e.IsDir() {
			names = append(names, e.Name())
		}
	}
	return names
}
