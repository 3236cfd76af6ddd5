#include "textflag.h"

// func relayCode() (handler, restorer uintptr)
TEXT ·relayCode(SB), NOSPLIT, $0-16
	MOVD $·relay(SB), R0
	MOVD R0, handler+0(FP)
	MOVD $·sigreturn(SB), R0
	MOVD R0, restorer+8(FP)
	RET

// relay is a signal handler as the kernel calls it: on the thread's signal stack, with the number in
// R0, and every register put back afterwards. It writes that number, as a byte, to relayFD.
TEXT ·relay(SB), NOSPLIT|NOFRAME, $0-0
	SUB  $16, RSP
	MOVB R0, 8(RSP)
	MOVW ·relayFD(SB), R0
	ADD  $8, RSP, R1
	MOVD $1, R2
	MOVD $64, R8 // write
	SVC
	ADD  $16, RSP
	RET

// sigreturn is where relay returns to.
TEXT ·sigreturn(SB), NOSPLIT|NOFRAME, $0-0
	MOVD $139, R8 // rt_sigreturn
	SVC
	BRK
