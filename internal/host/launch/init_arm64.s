#include "textflag.h"

// Offsets are those of initText (init.go).
#define PATH_EQ   0x4000b0
#define PATH_ELSE 0x4000b8
#define INIT      0x4000d8
#define NOT_FOUND 0x4000e0
#define CANNOT    0x4000f0
#define NOTHING   0x400108

// func initAddr() uintptr
TEXT ·initAddr(SB), NOSPLIT, $0-8
	MOVD $·initProgram(SB), R0
	MOVD R0, ret+0(FP)
	RET

// initProgram is the init: see init.go. It starts as any program does, with argc, argv and
// envp on the stack. Addresses of its words fit MOVZ and MOVK.
//
// R20 the program's pid       0(R26)  a signal set, all ones
// R19 its argv                8(R26)  one without any, for the program
// R21 envp                    16(R26) a number that the kernel writes
// R23 the PATH being walked   64(R26) a path
// R22 exit code
// R24 in the parent: the program has ended; in the child: some file was found and could not
//     be executed
TEXT ·initProgram(SB), NOSPLIT|NOFRAME, $0-0
	MOVD RSP, R9
	MOVD (R9), R10
	ADD  $8, R9, R19
	ADD  R10<<3, R19, R21
	ADD  $8, R21, R21
	SUB  $8192, R9, R26
	MOVD R26, RSP
	MOVD ZR, R24

	// Past our own name, and "--".
	CBZ   R10, usage
	ADD   $8, R19, R19
	MOVD  (R19), R1
	CBZ   R1, usage
	MOVBU 0(R1), R9
	CMP   $45, R9
	BNE   start
	MOVBU 1(R1), R9
	CMP   $45, R9
	BNE   start
	MOVBU 2(R1), R9
	CBNZ  R9, start
	ADD   $8, R19, R19
	MOVD  (R19), R1
	CBNZ  R1, start

usage:
	MOVD $2, R0
	MOVD $NOTHING, R1
	MOVD $26, R2
	MOVD $64, R8 // write
	SVC
	MOVD $127, R22
	JMP  exit

start:
	MOVD $-1, R9
	MOVD R9, 0(R26)
	MOVD $2, R0 // SIG_SETMASK
	ADD  $0, R26, R1
	MOVD ZR, 8(R26)
	MOVD ZR, R2
	MOVD $8, R3
	MOVD $135, R8 // rt_sigprocmask
	SVC

	MOVD $17, R0 // SIGCHLD
	MOVD ZR, R1
	MOVD ZR, R2
	MOVD ZR, R3
	MOVD ZR, R4
	MOVD $220, R8 // clone
	SVC
	CBZ  R0, program
	TBNZ $63, R0, failed
	MOVD R0, R20

wait:
	ADD  $0, R26, R0
	MOVD ZR, R1
	MOVD ZR, R2
	MOVD $8, R3
	MOVD $137, R8 // rt_sigtimedwait
	SVC
	CMP  $0, R0
	BLE  wait
	CMP  $17, R0
	BEQ  reap
	MOVD R0, R1
	MOVD R20, R0
	MOVD $129, R8 // kill
	SVC
	JMP  wait

reap:
	MOVD $-1, R0
	ADD  $16, R26, R1
	MOVD $1, R2 // WNOHANG
	MOVD ZR, R3
	MOVD $260, R8 // wait4
	SVC
	CMP  $0, R0
	BLE  reaped
	CMP  R20, R0
	BNE  reap
	MOVD $1, R24
	MOVWU 16(R26), R9
	LSR  $8, R9, R22
	AND  $0xff, R22, R22
	AND  $0x7f, R9, R9
	CBZ  R9, reap
	ADD  $128, R9, R22
	JMP  reap

reaped:
	CBZ R24, wait

exit:
	MOVD R22, R0
	MOVD $94, R8 // exit_group
	SVC

program:
	// A process group of its own, in the terminal's foreground if there is one. (SIGTTOU is blocked.)
	MOVD ZR, R0
	MOVD ZR, R1
	MOVD $154, R8 // setpgid
	SVC
	MOVD $172, R8 // getpid
	SVC
	MOVW R0, 16(R26)
	MOVD ZR, R0
	MOVD $0x5410, R1 // TIOCSPGRP
	ADD  $16, R26, R2
	MOVD $29, R8 // ioctl
	SVC
	MOVD $2, R0
	ADD  $8, R26, R1
	MOVD ZR, R2
	MOVD $8, R3
	MOVD $135, R8 // rt_sigprocmask
	SVC

	// A name with a slash is a path.
	MOVD (R19), R1

slash:
	MOVBU.P 1(R1), R9
	CMP   $47, R9
	BEQ   asis
	CBNZ  R9, slash

	// PATH from the environment.
	MOVD R21, R10

variable:
	MOVD.P 8(R10), R1
	MOVD $PATH_ELSE, R23
	CBZ  R1, element
	MOVD $PATH_EQ, R11

letter:
	MOVBU.P 1(R11), R9
	CBZ   R9, found
	MOVBU.P 1(R1), R12
	CMP   R9, R12
	BNE   variable
	JMP   letter

found:
	MOVD R1, R23

element:
	// R23 up to a colon or the end, a slash and the name: at most 4096 bytes.
	ADD $64, R26, R10
	ADD $4096, R10, R11

directory:
	MOVBU (R23), R9
	CBZ   R9, name
	ADD   $1, R23, R23
	CMP   $58, R9
	BEQ   name
	CMP   R11, R10
	BHS   directory
	MOVB.P R9, 1(R10)
	JMP   directory

name:
	ADD  $64, R26, R9
	CMP  R9, R10
	BNE  join
	MOVD $46, R9 // an empty element is the working directory
	MOVB.P R9, 1(R10)

join:
	MOVD $47, R9
	MOVB.P R9, 1(R10)
	MOVD (R19), R1

copy:
	CMP   R11, R10
	BHS   next
	MOVBU.P 1(R1), R9
	MOVB.P R9, 1(R10)
	CBNZ  R9, copy

	ADD  $64, R26, R0
	MOVD R19, R1
	MOVD R21, R2
	MOVD $221, R8 // execve
	SVC
	CMN  $2, R0 // ENOENT
	BEQ  next
	CMN  $20, R0 // ENOTDIR
	BEQ  next
	MOVD $1, R24
	CMN  $13, R0 // EACCES: perhaps further on
	BNE  failed

next:
	// Was that the last element? (A path that ends in a colon has one more, which we leave out.)
	MOVBU (R23), R9
	CBNZ  R9, element
	CBNZ  R24, failed
	JMP   missing

asis:
	MOVD (R19), R0
	MOVD R19, R1
	MOVD R21, R2
	MOVD $221, R8 // execve
	SVC
	CMN  $2, R0
	BEQ  missing
	CMN  $20, R0
	BEQ  missing

failed:
	MOVD $126, R22
	MOVD $CANNOT, R20
	MOVD $21, R25
	JMP  say

missing:
	MOVD $127, R22
	MOVD $NOT_FOUND, R20
	MOVD $12, R25

say:
	MOVD $2, R0
	MOVD $INIT, R1
	MOVD $6, R2
	MOVD $64, R8 // write
	SVC
	MOVD (R19), R1
	MOVD ZR, R2

length:
	MOVBU (R1)(R2), R9
	CBZ   R9, write
	ADD   $1, R2, R2
	JMP   length

write:
	MOVD $2, R0
	MOVD $64, R8
	SVC
	MOVD $2, R0
	MOVD R20, R1
	MOVD R25, R2
	MOVD $64, R8
	SVC
	JMP  exit
	WORD $0x21444e45 // "END!", where the copy ends
	WORD $0x21444e45
