package trace

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/btf"
	"golang.org/x/sys/unix"

	"porthole/seccomp/filter"
)

// Filters returns the seccomp filters that a process's first thread runs under, the one installed last first,
// which is the order in which the kernel asks them; none where it runs under none. The process is neither
// stopped nor traced, and may be held by a debugger. cache is as in Options.
//
// The error wraps ErrUnavailable where eBPF cannot be had, and ErrNotKept where the kernel keeps no
// filter as it was installed: it was built without CONFIG_CHECKPOINT_RESTORE.
func Filters(pid int, cache string) ([]filter.Program, error) {
	fd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		return nil, fmt.Errorf("process %d: %w", pid, err)
	}
	defer unix.Close(fd)
	if registers.native == 0 {
		return nil, fmt.Errorf("%w: the registers of this processor are not known", ErrUnavailable)
	}
	lay, err := kernelLayout(cache)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	found, err := readFilters(fd, lay)
	if err != nil {
		return nil, fmt.Errorf("the filters of process %d: %w", pid, err)
	}
	return found, nil
}

// ErrNotKept is what Filters' error wraps where the kernel has no copy of a filter as it was installed.
var ErrNotKept = errors.New("this kernel does not keep filters as they were installed (CONFIG_CHECKPOINT_RESTORE)")

// A slot of the map that filters are copied to: how many instructions (0: not kept), then those.
const (
	maxFilters = 32
	slotSize   = 8 + 8*filter.MaxInsns
)

func readFilters(pidfd int, lay *layout) ([]filter.Program, error) {
	integer := &btf.Int{Name: "int", Size: 4, Encoding: btf.Signed}
	// Which task is meant is told by a mark on it, so that it does not matter what number it has where.
	chosen, err := ebpf.NewMap(&ebpf.MapSpec{
		Name: "porthole_chosen", Type: ebpf.TaskStorage, KeySize: 4, ValueSize: 4, Flags: unix.BPF_F_NO_PREALLOC, Key: integer, Value: integer,
	})
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	defer chosen.Close()
	slots, err := ebpf.NewMap(&ebpf.MapSpec{Name: "porthole_slots", Type: ebpf.Array, KeySize: 4, ValueSize: slotSize, MaxEntries: maxFilters})
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	defer slots.Close()
	count, err := ebpf.NewMap(&ebpf.MapSpec{Name: "porthole_count", Type: ebpf.Array, KeySize: 4, ValueSize: 4, MaxEntries: 1})
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	defer count.Close()
	b := &builder{lay: lay, maps: &maps{tasks: chosen}}
	prog, err := lay.load("bpf_iter_task", ebpf.AttachTraceIter, b.filters(slots, count))
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	defer prog.Close()
	if err := chosen.Update(uint32(pidfd), uint32(1), ebpf.UpdateAny); err != nil {
		return nil, err
	}
	if err := overTasks(prog); err != nil {
		return nil, err
	}
	var n uint32
	if err := count.Lookup(uint32(0), &n); err != nil {
		return nil, err
	}
	if n > maxFilters {
		return nil, fmt.Errorf("there are more than %d", maxFilters)
	}
	var found []filter.Program
	for i := range n {
		slot := make([]byte, slotSize)
		if err := slots.Lookup(i, slot); err != nil {
			return nil, err
		}
		insns := int(binary.NativeEndian.Uint32(slot))
		if insns == 0 {
			return nil, fmt.Errorf("filter %d of %d: %w", i+1, n, ErrNotKept)
		}
		p, err := filter.Read(slot[8 : 8+8*insns])
		if err != nil {
			return nil, fmt.Errorf("filter %d of %d, as read from the kernel: %w", i+1, n, err)
		}
		found = append(found, p)
	}
	return found, nil
}

// filters is an iterator over tasks: it copies the filters of the one that is marked, following
// task → seccomp.filter → prev …, of each prog → orig_prog → filter and len (kernel/seccomp.c, include/linux/filter.h).
func (b *builder) filters(slots, count *ebpf.Map) asm.Instructions {
	const next, prog, word = -16, -24, -32
	b.add(asm.Mov.Reg(asm.R6, asm.R1), asm.LoadMem(asm.R8, asm.R6, 8, asm.DWord), asm.JEq.Imm(asm.R8, 0, out))
	b.storage(0)
	b.add(asm.JEq.Imm(asm.R0, 0, out), asm.Mov.Imm(asm.R7, 0))
	b.load(asm.R1, asm.R8, "task_struct.seccomp+"+fmt.Sprint(b.off("seccomp.filter")), asm.DWord)
	b.add(asm.StoreMem(asm.R10, next, asm.R1, asm.DWord))
	pointer := func(field, fails string) { // in what R1 points at, to R1
		b.kernel(asm.R10, word, 8, asm.R1, b.off(field))
		b.add(asm.JNE.Imm(asm.R0, 0, fails), asm.LoadMem(asm.R1, asm.R10, word, asm.DWord), asm.JEq.Imm(asm.R1, 0, fails))
	}
	for i := range maxFilters {
		b.add(asm.LoadMem(asm.R1, asm.R10, next, asm.DWord), asm.JEq.Imm(asm.R1, 0, "counted"), asm.Mov.Imm(asm.R7, int32(i+1)))
		done := b.fresh("done")
		pointer("seccomp_filter.prog", done)
		pointer("bpf_prog.orig_prog", done)
		b.add(asm.StoreMem(asm.R10, prog, asm.R1, asm.DWord),
			asm.StoreImm(asm.R10, -4, int64(i), asm.Word),
			asm.Mov.Reg(asm.R2, asm.R10), asm.Add.Imm(asm.R2, -4), asm.LoadMapPtr(asm.R1, slots.FD()), asm.FnMapLookupElem.Call(),
			asm.JEq.Imm(asm.R0, 0, out), asm.Mov.Reg(asm.R9, asm.R0), asm.LoadMem(asm.R1, asm.R10, prog, asm.DWord))
		b.kernel(asm.R10, word, 2, asm.R1, b.off("sock_fprog_kern.len"))
		b.add(asm.JNE.Imm(asm.R0, 0, done), asm.LoadMem(asm.R8, asm.R10, word, asm.Half),
			asm.JGT.Imm(asm.R8, filter.MaxInsns, done), asm.JEq.Imm(asm.R8, 0, done), asm.LoadMem(asm.R1, asm.R10, prog, asm.DWord))
		pointer("sock_fprog_kern.filter", done)
		b.add(asm.Mov.Reg(asm.R3, asm.R1), asm.Mov.Reg(asm.R1, asm.R9), asm.Add.Imm(asm.R1, 8), asm.Mov.Reg(asm.R2, asm.R8), asm.LSh.Imm(asm.R2, 3),
			asm.FnProbeReadKernel.Call(), asm.JNE.Imm(asm.R0, 0, done), asm.StoreMem(asm.R9, 0, asm.R8, asm.Word))
		b.at(done)
		b.add(asm.LoadMem(asm.R1, asm.R10, next, asm.DWord))
		b.kernel(asm.R10, next, 8, asm.R1, b.off("seccomp_filter.prev"))
		b.add(asm.JNE.Imm(asm.R0, 0, out))
	}
	b.add(asm.LoadMem(asm.R1, asm.R10, next, asm.DWord), asm.JEq.Imm(asm.R1, 0, "counted"), asm.Mov.Imm(asm.R7, maxFilters+1))
	b.at("counted")
	b.add(asm.StoreImm(asm.R10, -4, 0, asm.Word), asm.Mov.Reg(asm.R2, asm.R10), asm.Add.Imm(asm.R2, -4),
		asm.LoadMapPtr(asm.R1, count.FD()), asm.FnMapLookupElem.Call(), asm.JEq.Imm(asm.R0, 0, out), asm.StoreMem(asm.R0, 0, asm.R7, asm.Word))
	b.end("")
	return b.ins
}
