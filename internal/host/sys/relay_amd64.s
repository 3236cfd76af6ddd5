#include "textflag.h"

// func relayCode() (handler, restorer uintptr)
TEXT ·relayCode(SB), NOSPLIT, $0-16
	LEAQ ·relay(SB), AX
	MOVQ AX, handler+0(FP)
	LEAQ ·sigreturn(SB), AX
	MOVQ AX, restorer+8(FP)
	RET

// relay is a signal handler as the kernel calls it: on the thread's signal stack, with the number in
// DI, and every register put back afterwards. It writes that number, as a byte, to relayFD.
TEXT ·relay(SB), NOSPLIT|NOFRAME, $0-0
	SUBQ $16, SP
	MOVB DI, 0(SP)
	MOVL ·relayFD(SB), DI
	MOVQ SP, SI
	MOVL $1, DX
	MOVL $1, AX // write
	SYSCALL
	ADDQ $16, SP
	RET

// sigreturn is where relay returns to.
TEXT ·sigreturn(SB), NOSPLIT|NOFRAME, $0-0
	MOVL $15, AX // rt_sigreturn
	SYSCALL
	INT  $3
