#include "textflag.h"

// func poll(word *uint32, was, looks, pauses uint32, next *byte) (changed bool)
TEXT ·poll(SB), NOSPLIT, $0-33
	MOVQ word+0(FP), DI
	MOVL was+8(FP), SI
	MOVL looks+12(FP), CX
	MOVL pauses+16(FP), DX
	MOVQ next+24(FP), R8
look:
	CMPL SI, (DI)
	JNE  changed
	PREFETCHT0 (R8)
	PREFETCHT0 64(R8)
	MOVL DX, AX
again:
	PAUSE
	SUBL $1, AX
	JNZ  again
	SUBL $1, CX
	JNZ  look
	MOVB $0, changed+32(FP)
	RET
changed:
	MOVB $1, changed+32(FP)
	RET
