#include "textflag.h"

// func pause(n uint32, next *byte)
TEXT ·pause(SB), NOSPLIT, $0-16
	MOVL n+0(FP), AX
again:
	PAUSE
	SUBL $1, AX
	JNZ  again
	MOVQ next+8(FP), AX
	PREFETCHT0 (AX)
	PREFETCHT0 64(AX)
	RET
