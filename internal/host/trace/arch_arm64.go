package trace

import "porthole/abi"

// registers is where struct pt_regs keeps a system call on the way out
// (arch/arm64/include/asm/syscall.h, syscall_get_arguments): regs[0] has the result by then.
var registers = machine{
	native: abi.ARM64, compat: abi.ARM,
	fields: []string{"pt_regs.syscallno", "pt_regs.orig_x0", "pt_regs.regs"},
	nr:     "pt_regs.syscallno", nr32: true,
	args:       [6]string{"pt_regs.orig_x0", "pt_regs.regs+8", "pt_regs.regs+16", "pt_regs.regs+24", "pt_regs.regs+32", "pt_regs.regs+40"},
	compatArgs: [6]string{"pt_regs.orig_x0", "pt_regs.regs+8", "pt_regs.regs+16", "pt_regs.regs+24", "pt_regs.regs+32", "pt_regs.regs+40"},
	// TIF_32BIT (arch/arm64/include/asm/thread_info.h).
	compatWord: "thread_info.flags", compatMask: 1 << 22,
}
