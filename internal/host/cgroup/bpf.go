package cgroup

import (
	"encoding/binary"
	"fmt"
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"
)

// program is l for the kernel of cgroup v2, where an eBPF program answers for each access (1 yes, 0 no).
//
// It is a dozen instructions of six kinds, encoded here: cilium/ebpf would cost every start of
// porthole half a millisecond of initialisation for them.
//
//	r2 = type, r3 = access, r4 = major, r5 = minor     from struct bpf_cgroup_dev_ctx
//	for each exception: unless all of it matches, on to the next; else return its answer
//	return the default
func (l *deviceList) program() []byte {
	var p assembler
	p.put(ldxWord, 2, 1, 0, 0)
	p.put(movReg, 3, 2, 0, 0)
	p.put(andImm, 2, 0, 0, 0xffff)
	p.put(rshImm, 3, 0, 0, 16)
	p.put(ldxWord, 4, 1, 4, 0)
	p.put(ldxWord, 5, 1, 8, 0)
	for _, d := range l.sorted() {
		has := l.exceptions[d]
		kind := int32(unix.BPF_DEVCG_DEV_CHAR)
		if d.kind == 'b' {
			kind = unix.BPF_DEVCG_DEV_BLOCK
		}
		var open []int // jumps to the next exception
		skip := func(code, reg byte, imm int32) {
			open = append(open, len(p.b))
			p.put(code, reg, 0, 0, imm)
		}
		skip(jneImm, 2, kind)
		if d.major != anyNumber {
			skip(jneImm, 4, int32(uint32(d.major)))
		}
		if d.minor != anyNumber {
			skip(jneImm, 5, int32(uint32(d.minor)))
		}
		switch {
		case has == anyAccess:
		case l.open: // forbidden if any part of the access is
			p.put(movReg, 1, 3, 0, 0)
			p.put(andImm, 1, 0, 0, int32(has))
			skip(jeqImm, 1, 0)
		default: // allowed if no part of it goes beyond
			p.put(movReg, 1, 3, 0, 0)
			p.put(andImm, 1, 0, 0, int32(anyAccess&^has))
			skip(jneImm, 1, 0)
		}
		p.answer(!l.open)
		for _, at := range open {
			binary.NativeEndian.PutUint16(p.b[at+2:], uint16((len(p.b)-at)/8-1))
		}
	}
	p.answer(l.open)
	return p.b
}

// The instructions used, by opcode. Comparisons are of 32 bits (5.1).
const (
	ldxWord = unix.BPF_LDX | unix.BPF_MEM | unix.BPF_W
	movImm  = unix.BPF_ALU64 | unix.BPF_MOV | unix.BPF_K
	movReg  = unix.BPF_ALU64 | unix.BPF_MOV | unix.BPF_X
	andImm  = unix.BPF_ALU64 | unix.BPF_AND | unix.BPF_K
	rshImm  = unix.BPF_ALU64 | unix.BPF_RSH | unix.BPF_K
	jeqImm  = unix.BPF_JMP32 | unix.BPF_JEQ | unix.BPF_K
	jneImm  = unix.BPF_JMP32 | unix.BPF_JNE | unix.BPF_K
	exit    = unix.BPF_JMP | unix.BPF_EXIT
)

type assembler struct{ b []byte }

// put adds one instruction: code, the registers in one byte (the first in its bits 0 to 3 or, on
// big-endian machines, 4 to 7), offset, constant.
func (p *assembler) put(code, dst, src byte, off int16, imm int32) {
	regs := src<<4 | dst
	if binary.NativeEndian.Uint16([]byte{0, 1}) == 1 {
		regs = dst<<4 | src
	}
	p.b = append(p.b, code, regs)
	p.b = binary.NativeEndian.AppendUint16(p.b, uint16(off))
	p.b = binary.NativeEndian.AppendUint32(p.b, uint32(imm))
}

func (p *assembler) answer(yes bool) {
	var v int32
	if yes {
		v = 1
	}
	p.put(movImm, 0, 0, 0, v)
	p.put(exit, 0, 0, 0, 0)
}

// attach makes l hold for a v2 group and all beneath it. Programs attached before, by us, are
// taken off after the new one is on, so that the group is never without one.
func (l *deviceList) attach(dir string) error {
	group, err := unix.Open(dir, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(group)
	old, err := attached(group)
	if err != nil {
		return err
	}
	if !l.open || len(l.exceptions) > 0 {
		prog, err := load(l.program())
		if err != nil {
			return err
		}
		defer unix.Close(prog)
		attr := attachAttr{uint32(group), uint32(prog), unix.BPF_CGROUP_DEVICE, unix.BPF_F_ALLOW_MULTI}
		if _, err := bpf(unix.BPF_PROG_ATTACH, unsafe.Pointer(&attr), unsafe.Sizeof(attr)); err != nil {
			return fmt.Errorf("attach the device program: %w", err)
		}
	}
	for _, id := range old {
		attr := struct{ id, next, flags uint32 }{id: id}
		prog, err := bpf(unix.BPF_PROG_GET_FD_BY_ID, unsafe.Pointer(&attr), unsafe.Sizeof(attr))
		if err != nil {
			return fmt.Errorf("device program %d: %w", id, err)
		}
		off := attachAttr{uint32(group), uint32(prog), unix.BPF_CGROUP_DEVICE, 0}
		_, err = bpf(unix.BPF_PROG_DETACH, unsafe.Pointer(&off), unsafe.Sizeof(off))
		unix.Close(prog)
		if err != nil {
			return fmt.Errorf("detach device program %d: %w", id, err)
		}
	}
	return nil
}

type attachAttr struct{ target, prog, kind, flags uint32 }

// attached lists the ids of the device programs on a group itself.
func attached(group int) ([]uint32, error) {
	var ids [64]uint32
	attr := struct {
		target, kind, query, flags uint32
		ids                        unsafe.Pointer
		count                      uint32
		_                          uint32
	}{target: uint32(group), kind: unix.BPF_CGROUP_DEVICE, ids: unsafe.Pointer(&ids), count: uint32(len(ids))}
	if _, err := bpf(unix.BPF_PROG_QUERY, unsafe.Pointer(&attr), unsafe.Sizeof(attr)); err != nil {
		return nil, fmt.Errorf("list device programs: %w", err)
	}
	return ids[:attr.count], nil
}

func load(insns []byte) (int, error) {
	license := [...]byte{'A', 'p', 'a', 'c', 'h', 'e', '-', '2', '.', '0', 0}
	var log []byte
	for {
		attr := struct {
			kind, count     uint32
			insns, license  unsafe.Pointer
			level, logSize  uint32
			log             unsafe.Pointer
			version, flags  uint32
			name            [16]byte
			ifindex, attach uint32
		}{
			kind: unix.BPF_PROG_TYPE_CGROUP_DEVICE, count: uint32(len(insns) / 8), insns: unsafe.Pointer(unsafe.SliceData(insns)),
			license: unsafe.Pointer(&license), name: [16]byte{'p', 'o', 'r', 't', 'h', 'o', 'l', 'e', '_', 'd', 'e', 'v'},
			attach: unix.BPF_CGROUP_DEVICE,
		}
		if log != nil {
			attr.level, attr.logSize, attr.log = 1, uint32(len(log)), unsafe.Pointer(unsafe.SliceData(log))
		}
		fd, err := bpf(unix.BPF_PROG_LOAD, unsafe.Pointer(&attr), unsafe.Sizeof(attr))
		runtime.KeepAlive(insns)
		switch {
		case err == nil:
			return fd, nil
		case log != nil:
			return -1, fmt.Errorf("load the device program: %w: %s", err, unix.ByteSliceToString(log))
		case err != unix.EINVAL && err != unix.EACCES: // which the verifier gives, with reasons
			return -1, fmt.Errorf("load the device program: %w", err)
		}
		log = make([]byte, 64<<10)
	}
}

func bpf(cmd uintptr, attr unsafe.Pointer, size uintptr) (int, error) {
	for {
		n, _, errno := unix.Syscall(unix.SYS_BPF, cmd, uintptr(attr), size)
		switch {
		case errno == 0:
			return int(n), nil
		case errno != unix.EINTR && errno != unix.EAGAIN: // the verifier gives way to signals
			return -1, errno
		}
	}
}
