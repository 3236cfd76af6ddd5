package trace

import "porthole/abi"

// registers is where struct pt_regs keeps a system call on the way out
// (arch/x86/include/asm/syscall.h, syscall_get_arguments): the kernel changes none of these but ax.
var registers = machine{
	native: abi.X86_64, compat: abi.X86,
	fields: []string{
		"pt_regs.orig_ax", "pt_regs.bx", "pt_regs.cx", "pt_regs.dx", "pt_regs.si", "pt_regs.di", "pt_regs.bp", "pt_regs.r8", "pt_regs.r9", "pt_regs.r10",
	},
	nr:         "pt_regs.orig_ax",
	args:       [6]string{"pt_regs.di", "pt_regs.si", "pt_regs.dx", "pt_regs.r10", "pt_regs.r8", "pt_regs.r9"},
	compatArgs: [6]string{"pt_regs.bx", "pt_regs.cx", "pt_regs.dx", "pt_regs.si", "pt_regs.di", "pt_regs.bp"},
	// TS_COMPAT (arch/x86/include/asm/thread_info.h): the call came in as a 32-bit one.
	compatWord: "thread_info.status", compatMask: 2,
}
