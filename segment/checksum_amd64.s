#include "textflag.h"

// Every step takes 32 octets (64 with AVX-512) as little-endian 64-bit words and keeps two
// sums for each lane: T of the words modulo 2^64, and H of their upper halves,
// which cannot overflow below 2^32 words. The sum L of the lower halves is then
// T - H<<32, exactly, and L + H is congruent to the sum of the words modulo
// 65535, because 2^32 is congruent to 1. Thus no carry is ever looked at: a step
// is a load, two additions and a shift.
#define STEP(off, T, H, X, Y) \
	VMOVDQU off(SI), X; \
	VPADDQ X, T, T; \
	VPSRLQ $32, X, Y; \
	VPADDQ Y, H, H

// STEP512 is STEP for 64 octets.
#define STEP512(off, T, H, X, Y) \
	VMOVDQU64 off(SI), X; \
	VPADDQ X, T, T; \
	VPSRLQ $32, X, Y; \
	VPADDQ Y, H, H

// STEPCOPY is STEP that also stores what it loaded.
#define STEPCOPY(off, T, H, X, Y) \
	VMOVDQU off(SI), X; \
	VMOVDQU X, off(DI); \
	VPADDQ X, T, T; \
	VPSRLQ $32, X, Y; \
	VPADDQ Y, H, H

// CLEAR clears these registers whole.
#define CLEAR \
	VPXOR Y0, Y0, Y0; \
	VPXOR Y1, Y1, Y1; \
	VPXOR Y2, Y2, Y2; \
	VPXOR Y3, Y3, Y3

// LAST adds the last CX octets, 2 to 30 of them, by a load of 32 octets that ends
// where they end, without those that were added before. The number of octets is
// even, so that each falls on a place of the same weight (RFC 1071 section 2 (B)).
#define LAST \
	LEAQ tail<>(SB), DX; \
	VMOVDQU (DX)(CX*1), Y5; \
	VPAND Y5, Y4, Y4; \
	VPADDQ Y4, Y0, Y0; \
	VPSRLQ $32, Y4, Y6; \
	VPADDQ Y6, Y2, Y2

// TOTAL leaves L + H over all lanes in AX.
#define TOTAL \
	VPADDQ Y1, Y0, Y0; \
	VPADDQ Y3, Y2, Y2; \
	VPSLLQ $32, Y2, Y4; \
	VPSUBQ Y4, Y0, Y0; \
	VPADDQ Y2, Y0, Y0; \
	TOTAL256

#define TOTAL256 \
	VEXTRACTI128 $1, Y0, X1; \
	VPADDQ X1, X0, X0; \
	VPSRLDQ $8, X0, X1; \
	VPADDQ X1, X0, X0; \
	VMOVQ X0, AX; \
	VZEROUPPER

// 32 octets of zeros and 32 of ones: from octet n on a mask of the last n of 32.
DATA tail<>+0(SB)/8, $0
DATA tail<>+8(SB)/8, $0
DATA tail<>+16(SB)/8, $0
DATA tail<>+24(SB)/8, $0
DATA tail<>+32(SB)/8, $-1
DATA tail<>+40(SB)/8, $-1
DATA tail<>+48(SB)/8, $-1
DATA tail<>+56(SB)/8, $-1
GLOBL tail<>(SB), RODATA|NOPTR, $64

// func sumAVX2(p *byte, n int) uint64
TEXT ·sumAVX2(SB), NOSPLIT, $0-24
	MOVQ p+0(FP), SI
	MOVQ n+8(FP), CX
	CLEAR
	SUBQ $128, CX
	JB   sumFewer

	PCALIGN $32
sum128:
	STEP(0, Y0, Y2, Y4, Y8)
	STEP(32, Y1, Y3, Y5, Y9)
	STEP(64, Y0, Y2, Y6, Y10)
	STEP(96, Y1, Y3, Y7, Y11)
	ADDQ $128, SI
	SUBQ $128, CX
	JAE  sum128

sumFewer:
	ADDQ $96, CX
	JL   sumLast

sum32:
	STEP(0, Y0, Y2, Y4, Y8)
	ADDQ $32, SI
	SUBQ $32, CX
	JGE  sum32

sumLast:
	ADDQ    $32, CX
	JZ      sumTotal
	VMOVDQU -32(SI)(CX*1), Y4
	LAST

sumTotal:
	TOTAL
	MOVQ AX, ret+16(FP)
	RET

// func sumAVX512(p *byte, n int) uint64
TEXT ·sumAVX512(SB), NOSPLIT, $0-24
	MOVQ p+0(FP), SI
	MOVQ n+8(FP), CX
	CLEAR
	SUBQ $256, CX
	JB   wideFewer

	PCALIGN $32
wide256:
	STEP512(0, Z0, Z2, Z4, Z8)
	STEP512(64, Z1, Z3, Z5, Z9)
	STEP512(128, Z0, Z2, Z6, Z10)
	STEP512(192, Z1, Z3, Z7, Z11)
	ADDQ $256, SI
	SUBQ $256, CX
	JAE  wide256

wideFewer:
	ADDQ $192, CX
	JL   wideLast

wide64:
	STEP512(0, Z0, Z2, Z4, Z8)
	ADDQ $64, SI
	SUBQ $64, CX
	JGE  wide64

wideLast:
	ADDQ        $64, CX
	JZ          wideTotal
	MOVQ        $-1, AX
	SHLQ        CX, AX
	NOTQ        AX
	KMOVQ       AX, K1
	VMOVDQU8.Z  (SI), K1, Z4
	VPADDQ      Z4, Z0, Z0
	VPSRLQ      $32, Z4, Z5
	VPADDQ      Z5, Z2, Z2

wideTotal:
	VPADDQ        Z1, Z0, Z0
	VPADDQ        Z3, Z2, Z2
	VPSLLQ        $32, Z2, Z4
	VPSUBQ        Z4, Z0, Z0
	VPADDQ        Z2, Z0, Z0
	VEXTRACTI64X4 $1, Z0, Y1
	VPADDQ        Y1, Y0, Y0
	TOTAL256
	MOVQ          AX, ret+16(FP)
	RET

// func copySumAVX2(dst, src *byte, n int) uint64
TEXT ·copySumAVX2(SB), NOSPLIT, $0-32
	MOVQ dst+0(FP), DI
	MOVQ src+8(FP), SI
	MOVQ n+16(FP), CX
	CLEAR
	SUBQ $128, CX
	JB   copyFewer

	PCALIGN $32
copy128:
	STEPCOPY(0, Y0, Y2, Y4, Y8)
	STEPCOPY(32, Y1, Y3, Y5, Y9)
	STEPCOPY(64, Y0, Y2, Y6, Y10)
	STEPCOPY(96, Y1, Y3, Y7, Y11)
	ADDQ $128, SI
	ADDQ $128, DI
	SUBQ $128, CX
	JAE  copy128

copyFewer:
	ADDQ $96, CX
	JL   copyLast

copy32:
	STEPCOPY(0, Y0, Y2, Y4, Y8)
	ADDQ $32, SI
	ADDQ $32, DI
	SUBQ $32, CX
	JGE  copy32

copyLast:
	ADDQ    $32, CX
	JZ      copyTotal
	VMOVDQU -32(SI)(CX*1), Y4
	VMOVDQU Y4, -32(DI)(CX*1)
	LAST

copyTotal:
	TOTAL
	MOVQ AX, ret+24(FP)
	RET

// func cpuid(leaf, subleaf uint32) (ax, bx, cx, dx uint32)
TEXT ·cpuid(SB), NOSPLIT, $0-24
	MOVL leaf+0(FP), AX
	MOVL subleaf+4(FP), CX
	CPUID
	MOVL AX, ax+8(FP)
	MOVL BX, bx+12(FP)
	MOVL CX, cx+16(FP)
	MOVL DX, dx+20(FP)
	RET

// func xgetbv() uint32
TEXT ·xgetbv(SB), NOSPLIT, $0-4
	XORL CX, CX
	XGETBV
	MOVL AX, ret+0(FP)
	RET
