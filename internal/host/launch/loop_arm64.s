#include "textflag.h"

// func clone(nr, arg0, arg1, arg2, entry, prog, page, errs uintptr) (pid uintptr)
//
// The caller has blocked every signal. The call itself is made
// by entry, the copy of loop, since the child does not get this memory.
TEXT ·clone(SB), NOSPLIT, $0-72
	MOVD nr+0(FP), R8
	MOVD arg0+8(FP), R0
	MOVD arg1+16(FP), R1
	MOVD arg2+24(FP), R2
	MOVD ZR, R3
	MOVD ZR, R4
	MOVD ZR, R5
	MOVD entry+32(FP), R9
	MOVD prog+40(FP), R20
	MOVD page+48(FP), R21
	MOVD errs+56(FP), R22
	CALL (R9)
	MOVD R0, pid+64(FP)
	RET

// func loopCode() uintptr
TEXT ·loopCode(SB), NOSPLIT, $0-8
	MOVD $·loop(SB), R0
	MOVD R0, ret+0(FP)
	RET

// loop clones, and then is the child, which has no stack and nothing of Go.
//
// R20 the record at hand (record.go)
// R21 the page shared with the parent
// R22 the table of tolerated errors
TEXT ·loop(SB), NOSPLIT|NOFRAME, $0-0
	SVC
	CBZ R0, next
	RET

next:
	MOVWU 60(R20), R9
	MOVW  R9, 0(R21)

	LDP 0(R20), (R0, R1)
	LDP 16(R20), (R2, R3)
	LDP 32(R20), (R4, R5)

	// Bits say which arguments are slots: their cells' addresses become their values.
	MOVBU 50(R20), R9
	TBZ   $0, R9, 2(PC)
	MOVD  (R0), R0
	TBZ   $1, R9, 2(PC)
	MOVD  (R1), R1
	TBZ   $2, R9, 2(PC)
	MOVD  (R2), R2
	TBZ   $3, R9, 2(PC)
	MOVD  (R3), R3
	TBZ   $4, R9, 2(PC)
	MOVD  (R4), R4
	TBZ   $5, R9, 2(PC)
	MOVD  (R5), R5

	MOVHU 48(R20), R8
	SVC
	CMN   $4095, R0
	BHS   failed

	// 0 may go another way, and is then no result: it is clone's in the child.
	MOVHU 54(R20), R9
	CBNZ  R0, store
	MOVHU 56(R20), R10
	CMP   R9, R10
	BEQ   store
	MOVD  R10, R9
	ADD   $1, R9, R10
	TBZ   $16, R10, skip
	MOVD  $-32, R0 // EPIPE

failed:
	NEG   R0, R0
	MOVHU 58(R20), R11
	ADD   R11<<2, R22, R11

scan:
	MOVHU 2(R11), R9
	MOVHU 0(R11), R10
	CBZ   R10, die
	ADD   $1, R10, R12
	TBNZ  $16, R12, skip
	CMP   R10, R0
	BEQ   skip
	ADD   $4, R11, R11
	JMP   scan

store:
	MOVHU 52(R20), R10
	ADD   $64, R21, R11
	MOVD  R0, (R11)(R10<<3)

skip:
	ADD $1, R9, R9
	ADD R9<<6, R20, R20
	JMP next

die:
	MOVWU 60(R20), R9
	ORR   R9<<32, R0, R0
	MOVD  R0, 8(R21)
	MOVD  $125, R0
	MOVD  $94, R8 // exit_group
	SVC
	WORD  $0x21444e45 // "END!", where the copy ends
	WORD  $0x21444e45
