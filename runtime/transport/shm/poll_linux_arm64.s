#include "textflag.h"

// func poll(word *uint32, was, looks, pauses uint32, next *byte) (changed bool)
TEXT ·poll(SB), NOSPLIT, $0-33
	MOVD  word+0(FP), R0
	MOVWU was+8(FP), R1
	MOVWU looks+12(FP), R2
	MOVWU pauses+16(FP), R3
	MOVD  next+24(FP), R4
look:
	MOVWU (R0), R5
	CMPW  R1, R5
	BNE   changed
	PRFM  (R4), PLDL1KEEP
	PRFM  64(R4), PLDL1KEEP
	MOVW  R3, R6
again:
	YIELD
	SUBW $1, R6
	CBNZW R6, again
	SUBW $1, R2
	CBNZW R2, look
	MOVB  ZR, changed+32(FP)
	RET
changed:
	MOVD  $1, R5
	MOVB  R5, changed+32(FP)
	RET
