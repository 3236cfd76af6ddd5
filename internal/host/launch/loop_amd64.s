#include "textflag.h"

// func clone(nr, arg0, arg1, arg2, entry, prog, page, errs uintptr) (pid uintptr)
//
// The caller has blocked every signal. The call itself is made
// by entry, the copy of loop, since the child does not get this memory.
TEXT ·clone(SB), NOSPLIT, $0-72
	MOVQ nr+0(FP), AX
	MOVQ arg0+8(FP), DI
	MOVQ arg1+16(FP), SI
	MOVQ arg2+24(FP), DX
	XORL R10, R10
	XORL R8, R8
	XORL R9, R9
	MOVQ entry+32(FP), R11
	MOVQ prog+40(FP), BX
	MOVQ page+48(FP), R12
	MOVQ errs+56(FP), R13
	CALL R11
	MOVQ AX, pid+64(FP)
	RET

// func loopCode() uintptr
TEXT ·loopCode(SB), NOSPLIT, $0-8
	MOVQ $·loop(SB), AX
	MOVQ AX, ret+0(FP)
	RET

// loop clones, and then is the child, which has no stack and nothing of Go.
//
// BX  the record at hand (record.go)
// R12 the page shared with the parent
// R13 the table of tolerated errors
TEXT ·loop(SB), NOSPLIT|NOFRAME, $0-0
	SYSCALL
	TESTQ AX, AX
	JZ   next
	RET

next:
	MOVL 60(BX), AX
	MOVL AX, 0(R12)

	MOVQ 0(BX), DI
	MOVQ 8(BX), SI
	MOVQ 16(BX), DX
	MOVQ 24(BX), R10
	MOVQ 32(BX), R8
	MOVQ 40(BX), R9

	// Bits say which arguments are slots: their cells' addresses become their values.
	MOVBLZX 50(BX), AX
	TESTL $1, AX
	JZ   2(PC)
	MOVQ (DI), DI
	TESTL $2, AX
	JZ   2(PC)
	MOVQ (SI), SI
	TESTL $4, AX
	JZ   2(PC)
	MOVQ (DX), DX
	TESTL $8, AX
	JZ   2(PC)
	MOVQ (R10), R10
	TESTL $16, AX
	JZ   2(PC)
	MOVQ (R8), R8
	TESTL $32, AX
	JZ   2(PC)
	MOVQ (R9), R9

	MOVWLZX 48(BX), AX
	SYSCALL
	CMPQ AX, $-4095
	JCC  failed

	// 0 may go another way, and is then no result: it is clone's in the child.
	MOVWLZX 54(BX), CX
	TESTQ AX, AX
	JNZ  store
	MOVWLZX 56(BX), DX
	CMPL DX, CX
	JEQ  store
	MOVL DX, CX
	CMPL CX, $0xffff
	JNE  skip
	MOVQ $-32, AX // EPIPE

failed:
	NEGQ AX
	MOVWLZX 58(BX), DX
	LEAQ (R13)(DX*4), DX

scan:
	MOVWLZX 2(DX), CX
	MOVWLZX 0(DX), DI
	TESTL DI, DI
	JZ   die
	CMPL DI, $0xffff
	JEQ  skip
	CMPL DI, AX
	JEQ  skip
	ADDQ $4, DX
	JMP  scan

store:
	MOVWLZX 52(BX), DX
	MOVQ AX, 64(R12)(DX*8)

skip:
	INCQ CX
	SHLQ $6, CX
	ADDQ CX, BX
	JMP  next

die:
	MOVL 60(BX), DX
	SHLQ $32, DX
	ORQ  DX, AX
	MOVQ AX, 8(R12)
	MOVL $125, DI
	MOVL $231, AX // exit_group
	SYSCALL
	LONG $0x21444e45 // "END!", where the copy ends
	LONG $0x21444e45
