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
	MOVQ $·initProgram(SB), AX
	MOVQ AX, ret+0(FP)
	RET

// initProgram is the init: see init.go. It starts as any program does, with argc, argv and
// envp on the stack.
//
// R12 the program's pid       0(SP)  a signal set, all ones
// R13 its argv                8(SP)  one without any, for the program
// R14 envp                    16(SP) a number that the kernel writes
// R15 the PATH being walked   24(SP) in the parent: the program has ended; in the child: some
// BX  exit code                      file was found and could not be executed
//                             64(SP) a path
TEXT ·initProgram(SB), NOSPLIT|NOFRAME, $0-0
	MOVQ 0(SP), CX
	LEAQ 8(SP), R13
	LEAQ 8(R13)(CX*8), R14
	ANDQ $~15, SP
	SUBQ $8192, SP
	MOVL $0, 24(SP)

	// Past our own name, and "--".
	TESTQ CX, CX
	JZ   usage
	ADDQ $8, R13
	MOVQ (R13), SI
	TESTQ SI, SI
	JZ   usage
	CMPB 0(SI), $45
	JNE  start
	CMPB 1(SI), $45
	JNE  start
	CMPB 2(SI), $0
	JNE  start
	ADDQ $8, R13
	CMPQ (R13), $0
	JNE  start

usage:
	MOVL $2, DI
	MOVL $NOTHING, SI
	MOVL $26, DX
	MOVL $1, AX // write
	SYSCALL
	MOVL $127, BX
	JMP  exit

start:
	MOVQ $-1, 0(SP)
	MOVL $2, DI // SIG_SETMASK
	LEAQ 0(SP), SI
	MOVQ $0, 8(SP)
	XORL DX, DX
	MOVL $8, R10
	MOVL $14, AX // rt_sigprocmask
	SYSCALL

	MOVL $17, DI // SIGCHLD
	XORL SI, SI
	XORL DX, DX
	XORL R10, R10
	XORL R8, R8
	MOVL $56, AX // clone
	SYSCALL
	TESTQ AX, AX
	JZ   program
	JLT  failed
	MOVQ AX, R12

wait:
	LEAQ 0(SP), DI
	XORL SI, SI
	XORL DX, DX
	MOVL $8, R10
	MOVL $128, AX // rt_sigtimedwait
	SYSCALL
	TESTQ AX, AX
	JLE  wait
	CMPL AX, $17
	JEQ  reap
	MOVQ R12, DI
	MOVQ AX, SI
	MOVL $62, AX // kill
	SYSCALL
	JMP  wait

reap:
	MOVQ $-1, DI
	LEAQ 16(SP), SI
	MOVL $1, DX // WNOHANG
	XORL R10, R10
	MOVL $61, AX // wait4
	SYSCALL
	TESTQ AX, AX
	JLE  reaped
	CMPQ AX, R12
	JNE  reap
	MOVL $1, 24(SP)
	MOVL 16(SP), BX
	MOVL BX, CX
	SHRL $8, BX
	ANDL $0xff, BX
	ANDL $0x7f, CX
	JZ   reap
	LEAL 128(CX), BX
	JMP  reap

reaped:
	CMPL 24(SP), $0
	JEQ  wait

exit:
	MOVL BX, DI
	MOVL $231, AX // exit_group
	SYSCALL

program:
	// A process group of its own, in the terminal's foreground if there is one. (SIGTTOU is blocked.)
	XORL DI, DI
	XORL SI, SI
	MOVL $109, AX // setpgid
	SYSCALL
	MOVL $39, AX // getpid
	SYSCALL
	MOVL AX, 16(SP)
	XORL DI, DI
	MOVL $0x5410, SI // TIOCSPGRP
	LEAQ 16(SP), DX
	MOVL $16, AX // ioctl
	SYSCALL
	MOVL $2, DI
	LEAQ 8(SP), SI
	XORL DX, DX
	MOVL $8, R10
	MOVL $14, AX // rt_sigprocmask
	SYSCALL

	// A name with a slash is a path.
	MOVQ (R13), SI

slash:
	MOVBLZX (SI), AX
	INCQ SI
	CMPL AX, $47
	JEQ  asis
	TESTL AX, AX
	JNZ  slash

	// PATH from the environment.
	MOVQ R14, DI

variable:
	MOVQ (DI), SI
	ADDQ $8, DI
	MOVL $PATH_ELSE, R15
	TESTQ SI, SI
	JZ   element
	MOVL $PATH_EQ, R8

letter:
	MOVBLZX (R8), AX
	TESTL AX, AX
	JZ   found
	CMPB AX, (SI)
	JNE  variable
	INCQ SI
	INCQ R8
	JMP  letter

found:
	MOVQ SI, R15

element:
	// R15 up to a colon or the end, a slash and the name: at most 4096 bytes.
	LEAQ 64(SP), DI
	LEAQ 4160(SP), R9

directory:
	MOVBLZX (R15), AX
	TESTL AX, AX
	JZ   name
	INCQ R15
	CMPL AX, $58
	JEQ  name
	CMPQ DI, R9
	JCC  directory
	MOVB AX, (DI)
	INCQ DI
	JMP  directory

name:
	LEAQ 64(SP), AX
	CMPQ DI, AX
	JNE  join
	MOVB $46, (DI) // an empty element is the working directory
	INCQ DI

join:
	MOVB $47, (DI)
	INCQ DI
	MOVQ (R13), SI

copy:
	CMPQ DI, R9
	JCC  next
	MOVBLZX (SI), AX
	MOVB AX, (DI)
	INCQ SI
	INCQ DI
	TESTL AX, AX
	JNZ  copy

	LEAQ 64(SP), DI
	MOVQ R13, SI
	MOVQ R14, DX
	MOVL $59, AX // execve
	SYSCALL
	CMPQ AX, $-2 // ENOENT
	JEQ  next
	CMPQ AX, $-20 // ENOTDIR
	JEQ  next
	MOVL $1, 24(SP)
	CMPQ AX, $-13 // EACCES: perhaps further on
	JNE  failed

next:
	// Was that the last element? (A path that ends in a colon has one more, which we leave out.)
	CMPB (R15), $0
	JNE  element
	CMPL 24(SP), $0
	JNE  failed
	JMP  missing

asis:
	MOVQ (R13), DI
	MOVQ R13, SI
	MOVQ R14, DX
	MOVL $59, AX // execve
	SYSCALL
	CMPQ AX, $-2
	JEQ  missing
	CMPQ AX, $-20
	JEQ  missing

failed:
	MOVL $126, BX
	MOVL $CANNOT, R8
	MOVL $21, R9
	JMP  say

missing:
	MOVL $127, BX
	MOVL $NOT_FOUND, R8
	MOVL $12, R9

say:
	MOVL $2, DI
	MOVL $INIT, SI
	MOVL $6, DX
	MOVL $1, AX // write
	SYSCALL
	MOVQ (R13), SI
	XORL DX, DX

length:
	CMPB (SI)(DX*1), $0
	JEQ  write
	INCQ DX
	JMP  length

write:
	MOVL $2, DI
	MOVL $1, AX
	SYSCALL
	MOVL $2, DI
	MOVQ R8, SI
	MOVQ R9, DX
	MOVL $1, AX
	SYSCALL
	JMP  exit
	LONG $0x21444e45 // "END!", where the copy ends
	LONG $0x21444e45
