package sys

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// LoadTracing loads an eBPF program of the kind BPF_PROG_TYPE_TRACING, whose type in the kernel's own
// type information is target, and returns its fd. insns are struct bpf_insn, license is the GPL's.
// Where the verifier refuses it, log is what that said.
func LoadTracing(name string, insns []byte, attach, target uint32) (fd int, log string, err error) {
	license := []byte("GPL\x00")
	var text []byte
	for {
		attr := struct {
			kind, count            uint32
			insns, license         unsafe.Pointer
			logLevel, logSize      uint32
			log                    unsafe.Pointer
			version, flags         uint32
			name                   [unix.BPF_OBJ_NAME_LEN]byte
			ifindex, attach        uint32
			btf, funcSize          uint32
			funcs                  unsafe.Pointer
			funcCount, lineSize    uint32
			lines                  unsafe.Pointer
			lineCount, target      uint32
			attachProg, coreCount  uint32
			fds, core              unsafe.Pointer
			coreSize, logSizeIsSet uint32
		}{
			kind: unix.BPF_PROG_TYPE_TRACING, count: uint32(len(insns) / 8),
			insns: unsafe.Pointer(unsafe.SliceData(insns)), license: unsafe.Pointer(unsafe.SliceData(license)),
			attach: attach, target: target,
		}
		copy(attr.name[:len(attr.name)-1], name)
		if text != nil {
			attr.logLevel, attr.logSize, attr.log = 1, uint32(len(text)), unsafe.Pointer(unsafe.SliceData(text))
		}
		// Kernels that know fewer fields want what they don't know to be zero, which it is.
		n, _, e := unix.Syscall(unix.SYS_BPF, unix.BPF_PROG_LOAD, uintptr(unsafe.Pointer(&attr)), unsafe.Sizeof(attr))
		switch {
		case e == 0:
			return int(n), "", nil
		case e == unix.EINTR, e == unix.EAGAIN: // the verifier gives way to signals
		case text != nil || e != unix.EINVAL && e != unix.EACCES:
			return -1, unix.ByteSliceToString(text), e
		default:
			text = make([]byte, 1<<20)
		}
	}
}

// AttachTracing makes a loaded program run where its target says, for as long as the returned fd is open.
func AttachTracing(prog int) (int, error) {
	attr := struct {
		name unsafe.Pointer // nil: the program knows
		prog uint32
		_    uint32
	}{prog: uint32(prog)}
	n, _, e := unix.Syscall(unix.SYS_BPF, unix.BPF_RAW_TRACEPOINT_OPEN, uintptr(unsafe.Pointer(&attr)), unsafe.Sizeof(attr))
	if e != 0 {
		return -1, e
	}
	return int(n), nil
}
