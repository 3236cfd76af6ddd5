package trace

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/btf"
	"golang.org/x/sys/unix"

	"porthole/abi"
)

// machine is what differs between processors: where a call's number and arguments stand.
type machine struct {
	native, compat   abi.Arch
	fields           []string
	nr               string
	nr32             bool
	args, compatArgs [6]string
	compatWord       string // of thread_info
	compatMask       int32
}

// The programs, each on the tracepoint of its name. Watched is every task that has a storage: the
// first gets its from us, each child from its parent's fork.
//
//	sys_enter   notes that the kernel saw the call
//	cap_capable notes a check that failed, with the stack that it was made from
//	sys_exit    tells a call that failed, what it was called with and which checks failed in it;
//	            an exit without an enter was a filter's answer
//
// A storage is dear to look up (30 ns), and most calls succeed. So which call a task is in stands in a
// table of marks by process number, which tells at once who is not watched, too:
//
//	mark:  whose u32 (0: nobody's), number of the call + 1 u32 (0: in none), whether checks failed in it u32, unused u32
//
// Two watched tasks whose numbers fall together make the mark nobody's in particular (sharedMark); they keep
// call and flag in their storages, which begin like a mark without its first field.
//
// R6 is the context, R7 the task's storage, R8 the task and R9 its mark, later the record, throughout.
type builder struct {
	ins    asm.Instructions
	lay    *layout
	maps   *maps
	noise  []abi.Errno
	labels int
	label  string // of the next instruction
}

type maps struct {
	tasks, marks, ring, lost, reads, compatReads, target *ebpf.Map
}

func (m *maps) close() {
	for _, x := range []*ebpf.Map{m.tasks, m.marks, m.ring, m.lost, m.reads, m.compatReads, m.target} {
		if x != nil {
			x.Close()
		}
	}
}

const out = "out"

func (b *builder) add(ins ...asm.Instruction) {
	for _, i := range ins {
		if b.label != "" {
			i, b.label = i.WithSymbol(b.label), ""
		}
		b.ins = append(b.ins, i)
	}
}

// at names the next instruction.
func (b *builder) at(label string) {
	if b.label != "" { // two names for one place
		b.add(asm.Ja.Label(label))
	}
	b.label = label
}

// fresh is a label of its own.
func (b *builder) fresh(name string) string {
	b.labels++
	return name + strconv.Itoa(b.labels)
}

// off is where a field is: "pt_regs.regs+8" is 8 bytes into it.
func (b *builder) off(field string) int16 {
	name, plus, _ := strings.Cut(field, "+")
	off, ok := b.lay.Offsets[name]
	if !ok {
		panic("trace: no offset of " + name) // fields lists all that is used
	}
	n, _ := strconv.Atoi(plus)
	return int16(off + n)
}

// load follows a typed pointer, one the kernel guards against faults.
func (b *builder) load(dst, src asm.Register, field string, size asm.Size) {
	b.add(asm.LoadMem(dst, src, b.off(field), size))
}

// store8 stores a constant of 64 bits; asm.StoreImm knows the shorter ones.
func store8(dst asm.Register, off int16, value int64) asm.Instruction {
	return asm.Instruction{OpCode: asm.StoreImmOp(asm.DWord), Dst: dst, Offset: off, Constant: value}
}

// kernel reads size bytes at src+off, an address of no known type, to dst+dstOff. R0 is not 0 where it cannot.
func (b *builder) kernel(dst asm.Register, dstOff int16, size int32, src asm.Register, off int16) {
	if src != asm.R3 {
		b.add(asm.Mov.Reg(asm.R3, src))
	}
	b.add(asm.Add.Imm(asm.R3, int32(off)),
		asm.Mov.Reg(asm.R1, dst), asm.Add.Imm(asm.R1, int32(dstOff)), asm.Mov.Imm(asm.R2, size),
		asm.FnProbeReadKernel.Call())
}

// user reads size bytes at R3 of the caller's memory to the stack. R0 is not 0 where it cannot.
func (b *builder) user(stack int16, size int32) {
	b.add(asm.Mov.Reg(asm.R1, asm.R10), asm.Add.Imm(asm.R1, int32(stack)), asm.Mov.Imm(asm.R2, size), asm.FnProbeReadUser.Call())
}

// storage looks up the storage of the task in R8, or makes one.
func (b *builder) storage(flags int32) {
	b.add(asm.LoadMapPtr(asm.R1, b.maps.tasks.FD()), asm.Mov.Reg(asm.R2, asm.R8),
		asm.Mov.Imm(asm.R3, 0), asm.Mov.Imm(asm.R4, flags), asm.FnTaskStorageGet.Call())
}

// slot loads the address of the mark of the task in R8 into R0, and its number to the stack.
func (b *builder) slot() {
	b.load(asm.R1, asm.R8, "task_struct.pid", asm.Word)
	b.add(asm.StoreMem(asm.R10, atPID, asm.R1, asm.Word), asm.And.Imm(asm.R1, int32(b.maps.marks.MaxEntries())-1), asm.StoreMem(asm.R10, atSlot, asm.R1, asm.Word),
		asm.Mov.Reg(asm.R2, asm.R10), asm.Add.Imm(asm.R2, atSlot), asm.LoadMapPtr(asm.R1, b.maps.marks.FD()), asm.FnMapLookupElem.Call(),
		asm.JEq.Imm(asm.R0, 0, out))
}

// state makes R9 point at what is noted of the current task's call, and ends the program if it is not watched.
func (b *builder) state() {
	have := b.fresh("have")
	b.add(asm.Mov.Reg(asm.R6, asm.R1), asm.FnGetCurrentTaskBtf.Call(), asm.Mov.Reg(asm.R8, asm.R0))
	b.slot()
	b.add(asm.LoadMem(asm.R1, asm.R0, 0, asm.Word), asm.JEq.Imm(asm.R1, 0, out),
		asm.Mov.Reg(asm.R9, asm.R0), asm.Add.Imm(asm.R9, 4),
		asm.LoadMem(asm.R2, asm.R10, atPID, asm.Word), asm.JEq.Reg(asm.R1, asm.R2, have),
		asm.JNE.Imm32(asm.R1, sharedMark, out))
	b.storage(0)
	b.add(asm.JEq.Imm(asm.R0, 0, out), asm.Mov.Reg(asm.R9, asm.R0))
	b.at(have)
}

// claim makes the mark of the task in R8 its own.
func (b *builder) claim() {
	take, done := b.fresh("take"), b.fresh("claimed")
	b.slot()
	b.add(asm.LoadMem(asm.R1, asm.R0, 0, asm.Word), asm.LoadMem(asm.R2, asm.R10, atPID, asm.Word),
		asm.JEq.Imm(asm.R1, 0, take), asm.JEq.Reg(asm.R1, asm.R2, take),
		asm.StoreImm(asm.R0, 0, sharedMark, asm.Word), asm.Ja.Label(done))
	b.at(take)
	b.add(asm.StoreMem(asm.R0, 0, asm.R2, asm.Word), asm.StoreImm(asm.R0, 4, callUnknown, asm.Word), asm.StoreImm(asm.R0, 8, 0, asm.Word))
	b.at(done)
}

// adopt makes a storage for the task in R8, which is not watched yet, and a mark. R7 is the storage.
func (b *builder) adopt() {
	b.storage(unix.BPF_LOCAL_STORAGE_GET_F_CREATE)
	b.add(asm.JEq.Imm(asm.R0, 0, "lost"), asm.Mov.Reg(asm.R7, asm.R0), asm.StoreImm(asm.R7, taskCall, callUnknown, asm.Word))
	b.claim()
}

// watched looks the current task's storage up, and goes on at no where it has none.
func (b *builder) watched(no string) {
	b.add(asm.Mov.Reg(asm.R6, asm.R1), asm.FnGetCurrentTaskBtf.Call(), asm.Mov.Reg(asm.R8, asm.R0))
	b.mine(no)
}

// mine looks the storage of the task in R8 up.
func (b *builder) mine(no string) {
	b.storage(0)
	b.add(asm.JEq.Imm(asm.R0, 0, no), asm.Mov.Reg(asm.R7, asm.R0))
}

// end is every program's last part. lost, where not "", is where a loss is counted.
func (b *builder) end(lost string) {
	if lost != "" {
		b.at(lost)
		b.add(asm.StoreImm(asm.R10, -4, 0, asm.Word), asm.Mov.Reg(asm.R2, asm.R10), asm.Add.Imm(asm.R2, -4),
			asm.LoadMapPtr(asm.R1, b.maps.lost.FD()), asm.FnMapLookupElem.Call(), asm.JEq.Imm(asm.R0, 0, out),
			asm.LoadMem(asm.R1, asm.R0, 0, asm.DWord), asm.Add.Imm(asm.R1, 1), asm.StoreMem(asm.R0, 0, asm.R1, asm.DWord))
	}
	b.at(out)
	b.add(asm.Mov.Imm(asm.R0, 0), asm.Return())
}

// ifNr jumps to label where the number in reg is that of one of the calls.
func (b *builder) ifNr(reg asm.Register, label string, archs []abi.Arch, calls ...string) {
	for _, a := range archs {
		for _, c := range calls {
			if nr, ok := a.Nr(c); ok {
				b.add(asm.JEq.Imm32(reg, int32(nr), label))
			}
		}
	}
}

// everyone are the ABIs of this machine.
func everyone() []abi.Arch { return registers.native.Siblings() }

func (b *builder) enter() asm.Instructions {
	b.state()
	b.add(asm.LoadMem(asm.R1, asm.R6, 8, asm.DWord), asm.Mov.Reg(asm.R2, asm.R1), asm.Add.Imm(asm.R2, 1),
		asm.StoreMem(asm.R9, taskCall, asm.R2, asm.Word), asm.StoreImm(asm.R9, taskFailed, 0, asm.Word))
	b.ifNr(asm.R1, "exec", everyone(), "execve", "execveat")
	b.add(asm.Ja.Label(out))
	b.at("exec")
	b.mine(out)
	b.load(asm.R3, asm.R8, "task_struct.cred", asm.DWord)
	b.kernel(asm.R7, taskCred, b.lay.credSpan(), asm.R3, b.off("cred.uid"))
	b.end("")
	return b.ins
}

// capable notes a failed check. args are where in the context the target namespace, the capability and
// the result are.
func (b *builder) capable(target, capability, result int16) asm.Instructions {
	b.add(asm.LoadMem(asm.R2, asm.R1, result, asm.DWord), asm.JEq.Imm32(asm.R2, 0, out))
	b.state()
	b.mine(out)
	// The first of this call: what is noted is an older call's.
	b.add(asm.LoadMem(asm.R1, asm.R9, taskFailed, asm.Word), asm.JNE.Imm(asm.R1, 0, "another"),
		asm.StoreImm(asm.R9, taskFailed, 1, asm.Word), store8(asm.R7, taskChecks, 0))
	b.at("another")
	b.add(asm.LoadMem(asm.R9, asm.R7, taskChecks, asm.Word), asm.JLT.Imm(asm.R9, maxChecks, "room"),
		asm.LoadMem(asm.R1, asm.R7, taskMore, asm.Word), asm.Add.Imm(asm.R1, 1), asm.StoreMem(asm.R7, taskMore, asm.R1, asm.Word),
		asm.Ja.Label(out))
	b.at("room")
	b.add(asm.Mov.Reg(asm.R1, asm.R9), asm.Add.Imm(asm.R1, 1), asm.StoreMem(asm.R7, taskChecks, asm.R1, asm.Word),
		asm.Mul.Imm(asm.R9, checkSize), asm.Add.Imm(asm.R9, taskCheck), asm.Add.Reg(asm.R7, asm.R9),
		asm.LoadMem(asm.R1, asm.R6, capability, asm.DWord), asm.StoreMem(asm.R7, 0, asm.R1, asm.Word), asm.StoreImm(asm.R7, 4, 0, asm.Word),
		asm.LoadMem(asm.R1, asm.R6, target, asm.DWord))
	b.add(asm.LoadMem(asm.R1, asm.R1, b.off("user_namespace.ns")+b.off("ns_common.inum"), asm.Word),
		asm.StoreMem(asm.R7, 8, asm.R1, asm.DWord))
	b.add(asm.Mov.Reg(asm.R1, asm.R6), asm.Mov.Reg(asm.R2, asm.R7), asm.Add.Imm(asm.R2, 16),
		asm.Mov.Imm(asm.R3, 8*stackDepth), asm.Mov.Imm(asm.R4, 0), asm.FnGetStack.Call(),
		asm.JSGE.Imm(asm.R0, 8*stackDepth, out), asm.JSGE.Imm(asm.R0, 0, "short"), asm.Mov.Imm(asm.R0, 0))
	// A short stack ends with a zero: what stood there before is an older one's.
	b.at("short")
	b.add(asm.And.Imm(asm.R0, 8*(stackDepth-1)), asm.Add.Reg(asm.R7, asm.R0), store8(asm.R7, 16, 0))
	b.end("")
	return b.ins
}

// What programs keep on their stacks.
const (
	atEntered, atResult, atKind, atNetlink, atReads, atKey = -8, -16, -24, -32, -40, -44
	atNr, atFailed, atPID, atSlot                          = -48, -52, -56, -60
	atScratch                                              = -104
)

func (b *builder) exit() asm.Instructions {
	b.state()
	b.add(asm.LoadMem(asm.R1, asm.R9, taskCall, asm.Word), asm.LoadMem(asm.R4, asm.R9, taskFailed, asm.Word), asm.StoreImm(asm.R9, taskCall, 0, asm.Word),
		asm.JEq.Imm32(asm.R1, callUnknown, out),
		asm.LoadMem(asm.R2, asm.R6, 8, asm.DWord),
		asm.StoreMem(asm.R10, atResult, asm.R2, asm.DWord), asm.StoreMem(asm.R10, atFailed, asm.R4, asm.Word),
		asm.Mov.Reg(asm.R3, asm.R1), asm.Sub.Imm(asm.R3, 1), asm.StoreMem(asm.R10, atNr, asm.R3, asm.Word),
		store8(asm.R10, atKind, recordCall), store8(asm.R10, atNetlink, 0), store8(asm.R10, atEntered, 0),
		asm.JEq.Imm(asm.R1, 0, "result"), store8(asm.R10, atEntered, 1))
	b.at("result")
	b.add(asm.JSGE.Imm(asm.R2, 0, "succeeded"), asm.JSLT.Imm(asm.R2, -4095, out))
	for _, restart := range []int32{512, 513, 514, 516} { // include/linux/errno.h: the kernel's own, no program sees them
		b.add(asm.JEq.Imm(asm.R2, -restart, out))
	}
	b.add(asm.JEq.Imm(asm.R1, 0, "emit"))
	b.ifNr(asm.R3, "emit", everyone(), "execve", "execveat")
	// To these EAGAIN says that a limit is reached.
	b.ifNr(asm.R3, "emit", everyone(), "clone", "clone3", "fork", "vfork", "setuid", "setresuid", "setreuid", "mlock", "mlock2", "mlockall", "mmap", "mremap")
	for _, e := range b.noise {
		if e != abi.Errno(unix.ENOENT) {
			b.add(asm.JEq.Imm(asm.R2, -int32(e), out))
		}
	}
	if slices.Contains(b.noise, abi.Errno(unix.ENOENT)) {
		// What is not there matters beneath /dev, /proc and /sys: it may have been taken away.
		b.add(asm.JNE.Imm(asm.R2, -int32(unix.ENOENT), "failed"))
		b.pathArg(asm.R3)
		b.user(atScratch, 4)
		b.add(asm.JNE.Imm(asm.R0, 0, out), asm.LoadMem(asm.R1, asm.R10, atScratch, asm.Word),
			asm.JEq.Imm32(asm.R1, chars("/dev"), "emit"), asm.JEq.Imm32(asm.R1, chars("/pro"), "emit"), asm.JEq.Imm32(asm.R1, chars("/sys"), "emit"),
			asm.Ja.Label(out))
		b.at("failed")
	}
	// Most of what realpath asks about is no link.
	b.ifNr(asm.R3, "link", []abi.Arch{registers.native}, "readlink", "readlinkat")
	b.add(asm.Ja.Label("emit"))
	b.at("link")
	b.add(asm.JEq.Imm(asm.R2, -int32(unix.EINVAL), out), asm.Ja.Label("emit"))

	b.at("succeeded")
	b.add(asm.JEq.Imm(asm.R1, 0, out))
	native := []abi.Arch{registers.native}
	b.ifNr(asm.R3, "opened", native, "openat", "open", "openat2")
	b.ifNr(asm.R3, "sent", native, "sendto", "sendmsg")
	b.ifNr(asm.R3, "from", native, "recvfrom")
	b.ifNr(asm.R3, "message", native, "recvmsg")
	b.add(asm.Ja.Label(out))

	b.at("sent") // a netlink request may be refused though it was sent
	b.add(asm.LoadMem(asm.R1, asm.R10, atFailed, asm.Word), asm.JEq.Imm(asm.R1, 0, out), asm.Ja.Label("emit"))

	b.at("opened")
	b.pathArg(asm.R3)
	b.user(atScratch, 10)
	b.add(asm.JNE.Imm(asm.R0, 0, out), asm.LoadMem(asm.R1, asm.R10, atScratch, asm.Word), asm.JNE.Imm32(asm.R1, chars("/pro"), out),
		asm.LoadMem(asm.R1, asm.R10, atScratch+4, asm.Word), asm.JNE.Imm32(asm.R1, chars("c/sy"), out),
		asm.LoadMem(asm.R1, asm.R10, atScratch+8, asm.Half), asm.JNE.Imm32(asm.R1, chars("s/"), out),
		store8(asm.R10, atKind, recordRead), asm.Ja.Label("emit"))

	b.netlink()
	b.emit()
	b.end("lost")
	return b.ins
}

// chars is text as a number in memory order, for comparing.
func chars(s string) int32 {
	var v uint32
	for i := range len(s) {
		v |= uint32(s[i]) << (8 * i) // both processors are little-endian
	}
	return int32(v)
}

// pathArg loads the address of the first path of the call numbered in atNr: its first or second argument.
func (b *builder) pathArg(dst asm.Register) {
	second, have := b.fresh("second"), b.fresh("have")
	b.add(asm.Mov.Reg(asm.R2, asm.R10), asm.Add.Imm(asm.R2, atNr), asm.LoadMapPtr(asm.R1, b.maps.reads.FD()), asm.FnMapLookupElem.Call(),
		asm.JEq.Imm(asm.R0, 0, out), asm.LoadMem(asm.R1, asm.R0, 0, asm.Half),
		asm.Mov.Reg(asm.R2, asm.R1), asm.And.Imm(asm.R2, int32(readString)), asm.JEq.Imm(asm.R2, 0, out),
		asm.And.Imm(asm.R1, 7), asm.LoadMem(asm.R4, asm.R6, 0, asm.DWord),
		asm.JEq.Imm(asm.R1, 1, second), asm.JNE.Imm(asm.R1, 0, out))
	b.load(dst, asm.R4, registers.args[0], asm.DWord)
	b.add(asm.Ja.Label(have))
	b.at(second)
	b.load(dst, asm.R4, registers.args[1], asm.DWord)
	b.at(have)
}

// netlink looks at what recvfrom or recvmsg got: an acknowledgement with an error in it
// (struct nlmsgerr behind struct nlmsghdr, include/uapi/linux/netlink.h).
func (b *builder) netlink() {
	const header, errno, of, size = 0, 16, 20, 36
	b.at("message") // struct user_msghdr: msg_iov is its third word, iov_base that one's first
	b.add(asm.LoadMem(asm.R4, asm.R6, 0, asm.DWord))
	b.load(asm.R3, asm.R4, registers.args[1], asm.DWord)
	b.add(asm.Add.Imm(asm.R3, 16))
	b.user(atScratch, 8)
	b.add(asm.JNE.Imm(asm.R0, 0, out), asm.LoadMem(asm.R3, asm.R10, atScratch, asm.DWord))
	b.user(atScratch, 8)
	b.add(asm.JNE.Imm(asm.R0, 0, out), asm.LoadMem(asm.R3, asm.R10, atScratch, asm.DWord), asm.Ja.Label("received"))
	b.at("from")
	b.add(asm.LoadMem(asm.R4, asm.R6, 0, asm.DWord))
	b.load(asm.R3, asm.R4, registers.args[1], asm.DWord)
	b.at("received")
	b.add(asm.LoadMem(asm.R2, asm.R10, atResult, asm.DWord), asm.JLT.Imm(asm.R2, size, out))
	b.user(atScratch, size)
	b.add(asm.JNE.Imm(asm.R0, 0, out), asm.LoadMem(asm.R1, asm.R10, atScratch+header+4, asm.Half), asm.JNE.Imm(asm.R1, unix.NLMSG_ERROR, out),
		asm.LoadMem(asm.R1, asm.R10, atScratch+errno, asm.Word), asm.JSGE.Imm32(asm.R1, 0, out), asm.JSLT.Imm32(asm.R1, -4095, out),
		asm.StoreMem(asm.R10, atNetlink, asm.R1, asm.Word),
		asm.LoadMem(asm.R1, asm.R10, atScratch+of+4, asm.Half), asm.StoreMem(asm.R10, atNetlink+4, asm.R1, asm.Half))

	// It is one only on a netlink socket: task → files → fdt → fd[n] → private_data → sk.
	b.load(asm.R1, asm.R8, "task_struct.files", asm.DWord)
	next := func(field string) { // the pointer in that field of what R1 points at
		b.kernel(asm.R10, atScratch, 8, asm.R1, b.off(field))
		b.add(asm.JNE.Imm(asm.R0, 0, out), asm.LoadMem(asm.R1, asm.R10, atScratch, asm.DWord), asm.JEq.Imm(asm.R1, 0, out))
	}
	next("files_struct.fdt")
	b.add(asm.StoreMem(asm.R10, atReads, asm.R1, asm.DWord))
	b.kernel(asm.R10, atScratch, 4, asm.R1, b.off("fdtable.max_fds"))
	b.add(asm.LoadMem(asm.R4, asm.R6, 0, asm.DWord))
	b.load(asm.R9, asm.R4, registers.args[0], asm.Word)
	b.add(asm.LoadMem(asm.R1, asm.R10, atScratch, asm.Word), asm.JGE.Reg(asm.R9, asm.R1, out),
		asm.LoadMem(asm.R1, asm.R10, atReads, asm.DWord))
	next("fdtable.fd")
	b.add(asm.LSh.Imm(asm.R9, 3), asm.Add.Reg(asm.R1, asm.R9))
	b.kernel(asm.R10, atScratch, 8, asm.R1, 0)
	b.add(asm.JNE.Imm(asm.R0, 0, out), asm.LoadMem(asm.R1, asm.R10, atScratch, asm.DWord), asm.JEq.Imm(asm.R1, 0, out))
	next("file.private_data")
	next("socket.sk")
	b.add(asm.StoreMem(asm.R10, atReads, asm.R1, asm.DWord))
	b.kernel(asm.R10, atScratch, 2, asm.R1, b.off("sock.__sk_common")+b.off("sock_common.skc_family"))
	b.add(asm.LoadMem(asm.R1, asm.R10, atScratch, asm.Half), asm.JNE.Imm(asm.R1, unix.AF_NETLINK, out))
	if _, ok := b.lay.Offsets["sock.sk_protocol"]; ok {
		b.add(asm.LoadMem(asm.R1, asm.R10, atReads, asm.DWord))
		b.kernel(asm.R10, atNetlink+6, 2, asm.R1, b.off("sock.sk_protocol"))
	}
	b.add(store8(asm.R10, atKind, recordNack))
}

// reserve gets room for a record into R9, with its common fields filled in but for the flags.
func (b *builder) reserve() {
	b.add(asm.LoadMapPtr(asm.R1, b.maps.ring.FD()), asm.Mov.Imm(asm.R2, recSize), asm.Mov.Imm(asm.R3, 0), asm.FnRingbufReserve.Call(),
		asm.JEq.Imm(asm.R0, 0, "lost"), asm.Mov.Reg(asm.R9, asm.R0),
		asm.FnKtimeGetNs.Call(), asm.StoreMem(asm.R9, recTime, asm.R0, asm.DWord),
		asm.FnGetCurrentPidTgid.Call(), asm.StoreMem(asm.R9, recPID, asm.R0, asm.DWord),
		asm.Mov.Reg(asm.R1, asm.R9), asm.Add.Imm(asm.R1, recComm), asm.Mov.Imm(asm.R2, 16), asm.FnGetCurrentComm.Call())
	for off := int16(recChecks); off < recData; off += 8 {
		b.add(store8(asm.R9, off, 0))
	}
	b.load(asm.R1, asm.R8, "task_struct.cred", asm.DWord)
	b.load(asm.R2, asm.R1, "cred.user_ns", asm.DWord)
	b.add(asm.LoadMem(asm.R2, asm.R2, b.off("user_namespace.ns")+b.off("ns_common.inum"), asm.Word),
		asm.StoreMem(asm.R9, recUserNS, asm.R2, asm.DWord))
	b.kernel(asm.R9, recCred, b.lay.credSpan(), asm.R1, b.off("cred.uid"))
	// The root directory, by the addresses of its mount and dentry: who has the same sees the same files.
	// A task on its way out has none any more.
	gone := b.fresh("rootless")
	for off := int16(recRoot); off < recSize; off += 8 {
		b.add(store8(asm.R9, off, 0))
	}
	b.load(asm.R1, asm.R8, "task_struct.fs", asm.DWord)
	b.add(asm.JEq.Imm(asm.R1, 0, gone))
	b.kernel(asm.R9, recRoot, 16, asm.R1, b.off("fs_struct.root"))
	if b.lay.mounts() {
		// Where its mount begins, and where the mount namespace does: see chrooted.
		outer := b.off("mount.mnt")
		pointer := func(to int16, from int16, off int16) { // what the pointer in the record at from has at off
			b.add(asm.LoadMem(asm.R3, asm.R9, from, asm.DWord), asm.JEq.Imm(asm.R3, 0, gone))
			b.kernel(asm.R9, to, 8, asm.R3, off)
		}
		pointer(recHome, recRoot, b.off("vfsmount.mnt_root"))
		pointer(recHome+8, recRoot, b.off("mount.mnt_parent")-outer)
		pointer(recHome+16, recRoot, b.off("mount.mnt_ns")-outer)
		pointer(recHome+16, recHome+16, b.off("mnt_namespace.root"))
	}
	b.at(gone)
}

// nnp adds flagNNP to the flags in R5.
func (b *builder) nnp() {
	no := b.fresh("gains")
	b.load(asm.R1, asm.R8, "task_struct.atomic_flags", asm.DWord)
	b.add(asm.And.Imm(asm.R1, 1), asm.JEq.Imm(asm.R1, 0, no), asm.Or.Imm(asm.R5, flagNNP)) // PFA_NO_NEW_PRIVS is bit 0
	b.at(no)
}

func (b *builder) submit() {
	b.add(asm.Mov.Reg(asm.R1, asm.R9), asm.Mov.Imm(asm.R2, 0), asm.FnRingbufSubmit.Call(), asm.Ja.Label(out))
}

// emit tells the call that ends.
func (b *builder) emit() {
	b.at("emit")
	b.mine(out)
	b.reserve()
	b.add(asm.LoadMem(asm.R1, asm.R10, atKind, asm.DWord), asm.StoreMem(asm.R9, recKind, asm.R1, asm.Word),
		asm.LoadMem(asm.R1, asm.R10, atResult, asm.DWord), asm.StoreMem(asm.R9, recResult, asm.R1, asm.DWord),
		asm.LoadMem(asm.R1, asm.R10, atNetlink, asm.DWord), asm.StoreMem(asm.R9, recNetlink, asm.R1, asm.DWord))
	b.add(asm.LoadMem(asm.R5, asm.R10, atEntered, asm.DWord)) // flagEntered is 1
	b.nnp()
	b.add(asm.LoadMem(asm.R4, asm.R6, 0, asm.DWord))
	nr := asm.DWord
	if registers.nr32 {
		nr = asm.Word
	}
	b.load(asm.R1, asm.R4, registers.nr, nr)
	b.add(asm.StoreMem(asm.R9, recNr, asm.R1, asm.DWord), asm.StoreMem(asm.R10, atKey, asm.R1, asm.Word))
	if b.compat() {
		b.add(asm.LoadMem(asm.R1, asm.R8, b.off("task_struct.thread_info")+b.off(registers.compatWord), asm.Word),
			asm.And.Imm(asm.R1, registers.compatMask), asm.JEq.Imm(asm.R1, 0, "native"), asm.Or.Imm(asm.R5, flagCompat))
		for i, r := range registers.compatArgs {
			b.load(asm.R1, asm.R4, r, asm.DWord)
			b.add(asm.Mov.Reg32(asm.R1, asm.R1), asm.StoreMem(asm.R9, recArgs+8*int16(i), asm.R1, asm.DWord))
		}
		b.add(asm.LoadMapPtr(asm.R1, b.maps.compatReads.FD()), asm.Ja.Label("called"))
	}
	b.at("native")
	for i, r := range registers.args {
		b.load(asm.R1, asm.R4, r, asm.DWord)
		b.add(asm.StoreMem(asm.R9, recArgs+8*int16(i), asm.R1, asm.DWord))
	}
	b.add(asm.LoadMapPtr(asm.R1, b.maps.reads.FD()))
	b.at("called")
	b.add(asm.StoreMem(asm.R9, recFlags, asm.R5, asm.Word),
		asm.Mov.Reg(asm.R2, asm.R10), asm.Add.Imm(asm.R2, atKey), asm.FnMapLookupElem.Call(), asm.JEq.Imm(asm.R0, 0, "read"),
		asm.LoadMem(asm.R1, asm.R0, 0, asm.DWord), asm.StoreMem(asm.R10, atReads, asm.R1, asm.DWord))
	for i := range int16(maxReads) {
		b.readArg(i)
	}
	b.at("read")
	b.add(asm.LoadMem(asm.R1, asm.R10, atEntered, asm.DWord), asm.JEq.Imm(asm.R1, 0, "told"),
		asm.LoadMem(asm.R1, asm.R10, atFailed, asm.Word), asm.JEq.Imm(asm.R1, 0, "told"),
		asm.LoadMem(asm.R1, asm.R7, taskChecks, asm.DWord),
		asm.StoreMem(asm.R9, recChecks, asm.R1, asm.DWord))
	b.kernel(asm.R9, recCheck, maxChecks*checkSize, asm.R7, taskCheck)
	b.at("told")
	b.submit()
}

// compat says that 32-bit calls can be told apart.
func (b *builder) compat() bool {
	_, info := b.lay.Offsets["task_struct.thread_info"]
	_, word := b.lay.Offsets[registers.compatWord]
	return info && word
}

// readArg copies what the i'th argument that is to be read points at.
func (b *builder) readArg(i int16) {
	text, next, got := b.fresh("text"), b.fresh("next"), b.fresh("got")
	b.add(asm.LoadMem(asm.R4, asm.R10, atReads+2*i, asm.Half), asm.JEq.Imm(asm.R4, 0, "read"),
		asm.Mov.Reg(asm.R1, asm.R4), asm.And.Imm(asm.R1, 7), asm.LSh.Imm(asm.R1, 3), asm.Add.Reg(asm.R1, asm.R9),
		asm.LoadMem(asm.R3, asm.R1, recArgs, asm.DWord), asm.JEq.Imm(asm.R3, 0, next),
		asm.Mov.Reg(asm.R2, asm.R4), asm.RSh.Imm(asm.R2, readShift), asm.And.Imm(asm.R2, 0x1ff), asm.JGT.Imm(asm.R2, readSize, next),
		asm.Mov.Reg(asm.R1, asm.R9), asm.Add.Imm(asm.R1, recData+readSize*int32(i)),
		asm.And.Imm(asm.R4, int32(readString)), asm.JNE.Imm(asm.R4, 0, text),
		asm.FnProbeReadUser.Call(), asm.JNE.Imm(asm.R0, 0, next),
		asm.LoadMem(asm.R0, asm.R10, atReads+2*i, asm.Half), asm.RSh.Imm(asm.R0, readShift), asm.And.Imm(asm.R0, 0x1ff), asm.Ja.Label(got))
	b.at(text)
	b.add(asm.FnProbeReadUserStr.Call(), asm.JSLE.Imm(asm.R0, 0, next))
	b.at(got)
	b.add(asm.StoreMem(asm.R9, recLens+4*i, asm.R0, asm.Word))
	b.at(next)
}

// fork watches what a watched task brings into the world.
func (b *builder) fork() asm.Instructions {
	b.add(asm.Mov.Reg(asm.R6, asm.R1), asm.LoadMem(asm.R8, asm.R6, 0, asm.DWord))
	b.storage(0)
	b.add(asm.JEq.Imm(asm.R0, 0, out), asm.LoadMem(asm.R8, asm.R6, 8, asm.DWord))
	b.adopt()
	b.add(asm.Ja.Label(out))
	b.end("lost")
	return b.ins
}

// member jumps to no unless the task in R8 is in the pid namespace that maps.target names, or in one beneath.
func (b *builder) member(no string) {
	const most = 8 // levels that are looked at; the kernel has 32 (MAX_PID_NS_LEVEL)
	b.add(asm.StoreImm(asm.R10, atKey, 0, asm.Word), asm.Mov.Reg(asm.R2, asm.R10), asm.Add.Imm(asm.R2, atKey),
		asm.LoadMapPtr(asm.R1, b.maps.target.FD()), asm.FnMapLookupElem.Call(), asm.JEq.Imm(asm.R0, 0, no),
		asm.LoadMem(asm.R7, asm.R0, 0, asm.DWord), asm.JEq.Imm(asm.R7, 0, no))
	b.load(asm.R9, asm.R8, "task_struct.thread_pid", asm.DWord)
	for i := range most {
		b.kernel(asm.R10, atScratch, 4, asm.R9, b.off("pid.level"))
		b.add(asm.JNE.Imm(asm.R0, 0, no), asm.LoadMem(asm.R1, asm.R10, atScratch, asm.Word), asm.JLT.Imm(asm.R1, int32(i), no))
		b.kernel(asm.R10, atScratch, 8, asm.R9, b.off("pid.numbers")+int16(i*b.lay.Sizes["upid"])+b.off("upid.ns"))
		b.add(asm.JNE.Imm(asm.R0, 0, no), asm.LoadMem(asm.R1, asm.R10, atScratch, asm.DWord))
		b.kernel(asm.R10, atScratch, 4, asm.R1, b.off("pid_namespace.ns")+b.off("ns_common.inum"))
		b.add(asm.JNE.Imm(asm.R0, 0, no), asm.LoadMem(asm.R1, asm.R10, atScratch, asm.Word), asm.JEq.Reg(asm.R1, asm.R7, "member"))
	}
	b.add(asm.Ja.Label(no))
	b.at("member")
}

// exec tells which program a task now runs, and begins to watch one that joined the container.
func (b *builder) exec() asm.Instructions {
	b.watched("joins")
	b.claim() // a thread that executes a program takes its process's number
	b.add(store8(asm.R10, atKind, 0), asm.Ja.Label("known"))
	b.at("joins")
	b.member(out)
	b.adopt()
	b.add(store8(asm.R10, atKind, 1))
	b.at("known")
	b.reserve()
	b.add(asm.StoreImm(asm.R9, recKind, recordExec, asm.Word), store8(asm.R9, recResult, 0),
		asm.LoadMem(asm.R1, asm.R10, atKind, asm.DWord), asm.JNE.Imm(asm.R1, 0, "fresh"))
	b.kernel(asm.R9, recCredBefore, b.lay.credSpan(), asm.R7, taskCred)
	b.add(asm.Mov.Imm(asm.R5, flagEntered), asm.Ja.Label("flags"))
	b.at("fresh") // nobody saw it call execve
	b.add(asm.Mov.Imm(asm.R5, 0))
	b.at("flags")
	b.nnp()
	b.add(asm.LoadMem(asm.R4, asm.R6, 16, asm.DWord))
	if _, ok := b.lay.Offsets["linux_binprm.secureexec"]; ok {
		b.add(asm.StoreMem(asm.R9, recFlags, asm.R5, asm.Word))
		b.kernel(asm.R10, atScratch, 1, asm.R4, b.off("linux_binprm.secureexec"))
		b.add(asm.LoadMem(asm.R5, asm.R9, recFlags, asm.Word), asm.LoadMem(asm.R1, asm.R10, atScratch, asm.Byte),
			asm.And.Imm(asm.R1, 1<<b.lay.Offsets["linux_binprm.secureexec bit"]), asm.JEq.Imm(asm.R1, 0, "ordinary"), asm.Or.Imm(asm.R5, flagSecure))
		b.at("ordinary")
		b.add(asm.LoadMem(asm.R4, asm.R6, 16, asm.DWord))
	}
	b.add(asm.StoreMem(asm.R9, recFlags, asm.R5, asm.Word))
	b.load(asm.R1, asm.R4, "linux_binprm.file", asm.DWord)
	b.load(asm.R1, asm.R1, "file.f_inode", asm.DWord)
	b.load(asm.R2, asm.R1, "inode.i_mode", asm.Half)
	b.add(asm.StoreMem(asm.R9, recFile, asm.R2, asm.Word))
	b.load(asm.R2, asm.R1, "inode.i_uid", asm.Word)
	b.add(asm.StoreMem(asm.R9, recFile+4, asm.R2, asm.Word))
	b.load(asm.R2, asm.R1, "inode.i_gid", asm.Word)
	b.add(asm.StoreMem(asm.R9, recFile+8, asm.R2, asm.Word))
	b.load(asm.R3, asm.R4, "linux_binprm.filename", asm.DWord)
	b.add(asm.Mov.Reg(asm.R1, asm.R9), asm.Add.Imm(asm.R1, recData), asm.Mov.Imm(asm.R2, readSize), asm.FnProbeReadKernelStr.Call(),
		asm.JSLE.Imm(asm.R0, 0, "nameless"), asm.StoreMem(asm.R9, recLens, asm.R0, asm.Word))
	b.at("nameless")
	b.submit()
	b.end("lost")
	return b.ins
}

// gone tells the end of a process: of its last thread.
func (b *builder) gone() asm.Instructions {
	b.watched(out)
	b.slot()
	b.add(asm.LoadMem(asm.R1, asm.R0, 0, asm.Word), asm.LoadMem(asm.R2, asm.R10, atPID, asm.Word), asm.JNE.Reg(asm.R1, asm.R2, "kept"),
		asm.StoreImm(asm.R0, 0, 0, asm.Word))
	b.at("kept")
	b.load(asm.R1, asm.R8, "task_struct.signal", asm.DWord)
	b.load(asm.R1, asm.R1, "signal_struct.live", asm.Word)
	b.add(asm.JNE.Imm(asm.R1, 0, out))
	b.reserve()
	b.add(store8(asm.R9, recKind, recordExit))
	b.load(asm.R1, asm.R8, "task_struct.exit_code", asm.Word)
	b.add(asm.StoreMem(asm.R9, recResult, asm.R1, asm.DWord))
	b.submit()
	b.end("lost")
	return b.ins
}

// mark is an iterator over tasks: it begins to watch those of the namespace in maps.target.
func (b *builder) mark() asm.Instructions {
	b.add(asm.Mov.Reg(asm.R6, asm.R1), asm.LoadMem(asm.R8, asm.R6, 8, asm.DWord), asm.JEq.Imm(asm.R8, 0, out))
	b.member(out)
	b.mine("new")
	b.add(asm.Ja.Label(out))
	b.at("new")
	b.adopt()
	b.add(asm.Ja.Label(out))
	b.end("lost")
	return b.ins
}

// credSpan is how many bytes of struct cred are copied.
func (l *layout) credSpan() int32 {
	return int32(l.Offsets["cred.cap_ambient"] + 8 - l.Offsets["cred.uid"])
}

// check says that the records hold what this kernel's structs need.
func (l *layout) check() error {
	if span := l.credSpan(); span < 0 || span > credSize {
		return fmt.Errorf("struct cred of this kernel is laid out as none that is known: %d bytes from uid to cap_ambient", span)
	}
	return nil
}

// newMaps makes the maps; ring is the ring buffer's size, marks the number of marks, a power of two.
func newMaps(ring, marks uint32) (*maps, error) {
	m := &maps{}
	integer := &btf.Int{Name: "int", Size: 4, Encoding: btf.Signed}
	bytes := &btf.Array{Index: integer, Type: &btf.Int{Name: "unsigned char", Size: 1}, Nelems: taskSize}
	for _, x := range []struct {
		to   **ebpf.Map
		spec ebpf.MapSpec
	}{
		{&m.tasks, ebpf.MapSpec{Name: "porthole_tasks", Type: ebpf.TaskStorage, KeySize: 4, ValueSize: taskSize, Flags: unix.BPF_F_NO_PREALLOC, Key: integer, Value: bytes}},
		{&m.marks, ebpf.MapSpec{Name: "porthole_marks", Type: ebpf.Array, KeySize: 4, ValueSize: 16, MaxEntries: marks}},
		{&m.ring, ebpf.MapSpec{Name: "porthole_ring", Type: ebpf.RingBuf, MaxEntries: ring}},
		{&m.lost, ebpf.MapSpec{Name: "porthole_lost", Type: ebpf.PerCPUArray, KeySize: 4, ValueSize: 8, MaxEntries: 1}},
		{&m.reads, ebpf.MapSpec{Name: "porthole_reads", Type: ebpf.Array, KeySize: 4, ValueSize: 8, MaxEntries: registers.native.Newest() + 1}},
		{&m.compatReads, ebpf.MapSpec{Name: "porthole_reads32", Type: ebpf.Array, KeySize: 4, ValueSize: 8, MaxEntries: registers.compat.Newest() + 1}},
		{&m.target, ebpf.MapSpec{Name: "porthole_target", Type: ebpf.Array, KeySize: 4, ValueSize: 8, MaxEntries: 1}},
	} {
		made, err := ebpf.NewMap(&x.spec)
		if err != nil {
			m.close()
			return nil, fmt.Errorf("map %s: %w", x.spec.Name, err)
		}
		*x.to = made
	}
	for to, a := range map[*ebpf.Map]abi.Arch{m.reads: registers.native, m.compatReads: registers.compat} {
		for nr := range a.Calls() {
			if r := reads(a, nr); r != 0 {
				if err := to.Update(nr, r, ebpf.UpdateAny); err != nil {
					m.close()
					return nil, fmt.Errorf("map of arguments: %w", err)
				}
			}
		}
	}
	return m, nil
}
