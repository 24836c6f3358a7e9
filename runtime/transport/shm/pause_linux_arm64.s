#include "textflag.h"

// func pause(n uint32, next *byte)
TEXT ·pause(SB), NOSPLIT, $0-16
	MOVWU n+0(FP), R0
again:
	YIELD
	SUBW $1, R0
	CBNZ R0, again
	MOVD next+8(FP), R0
	PRFM (R0), PLDL1KEEP
	PRFM 64(R0), PLDL1KEEP
	RET
