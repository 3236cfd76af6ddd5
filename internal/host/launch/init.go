package launch

import (
	"runtime"

	"porthole/internal/host/sys"
)

// The init of --init is a static program of some hundred instructions, first process of its
// pid namespace, in the manner of tini:
//
//	init [--] PROGRAM ARGS…
//
// It forks PROGRAM (found in PATH where its name has no slash) in a process group of its own, which
// gets the terminal where there is one, sends it every signal that comes, reaps whatever the kernel
// leaves to it, and once PROGRAM has ended exits as that did: with its status, or with 128 and its
// signal. A PROGRAM that is not there makes it 127, one that cannot be executed 126.
//
// It lies in our own text as a function (init_*.s) that knows no Go. At run time an ELF header and
// the words it says are put in front of it: no binary is kept anywhere.
const (
	initBase  = 0x400000 // where the file is loaded, all of it
	initWords = 0xb0     // behind the ELF header and two program headers
	initCode  = 0x140
)

// initText is what init_*.s finds at initBase+initWords.
const initText = "PATH=\x00\x00\x00" + // 0xb0
	"/usr/local/bin:/usr/bin:/bin\x00\x00\x00\x00" + // 0xb8: without a PATH
	"init: \x00\x00" + // 0xd8, 6 bytes
	": not found\n\x00\x00\x00\x00" + // 0xe0, 12 bytes
	": cannot be executed\n\x00\x00\x00" + // 0xf0, 21 bytes
	"init: no program is given\n" // 0x108, 26 bytes

// InitImage returns the init as an ELF file for this machine.
func InitImage() []byte {
	code := image(initAddr())
	machine := map[string]uint16{"amd64": 62, "arm64": 183}[runtime.GOARCH] // EM_X86_64, EM_AARCH64
	b := make([]byte, initCode+len(code))
	copy(b[initWords:initCode], initText)
	copy(b[initCode:], code)

	// Elf64_Ehdr and two Elf64_Phdr (elf(5)). The numbers are those of debug/elf, whose own start costs more than
	// the rest of this package's.
	copy(b, "\x7fELF\x02\x01\x01") // 64 bits, least significant byte first, version 1
	order.PutUint16(b[16:], 2)     // ET_EXEC
	order.PutUint16(b[18:], machine)
	order.PutUint32(b[20:], 1)                 // EV_CURRENT
	order.PutUint64(b[24:], initBase+initCode) // entry
	order.PutUint64(b[32:], 64)                // program headers
	order.PutUint16(b[52:], 64)                // size of this header
	order.PutUint16(b[54:], 56)                // size of a program header
	order.PutUint16(b[56:], 2)                 // how many

	load := b[64:]
	order.PutUint32(load[0:], 1)   // PT_LOAD
	order.PutUint32(load[4:], 4|1) // PF_R, PF_X
	order.PutUint64(load[16:], initBase)
	order.PutUint64(load[24:], initBase)
	order.PutUint64(load[32:], uint64(len(b)))
	order.PutUint64(load[40:], uint64(len(b)))
	order.PutUint64(load[48:], 0x10000) // aligned for pages of up to 64 KiB

	stack := b[64+56:]
	order.PutUint32(stack[0:], 0x6474e551) // PT_GNU_STACK
	order.PutUint32(stack[4:], 4|2)        // PF_R, PF_W
	return b
}

// InitFD returns a sealed memfd, close-on-exec, with the init in it: for plan.SlotInit. The caller closes it.
func InitFD() (int, error) {
	return sys.SealedMemfd("init", InitImage())
}

func initAddr() uintptr
