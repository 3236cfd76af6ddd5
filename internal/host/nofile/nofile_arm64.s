#include "textflag.h"

// func prlimit(lim *[2]uint64) int64
TEXT ·prlimit(SB), NOSPLIT, $0-16
	MOVD ZR, R0
	MOVD $7, R1 // RLIMIT_NOFILE
	MOVD ZR, R2
	MOVD lim+0(FP), R3
	MOVD $261, R8 // prlimit64
	SVC
	MOVD R0, ret+8(FP)
	RET
