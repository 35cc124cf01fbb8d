/* Vectors of AVX-512 as the shared sources of the kernels (*_lanes.h) use them. */
#ifndef KG_KERNELS_CPU_LANES_AVX512_H
#define KG_KERNELS_CPU_LANES_AVX512_H

#include <immintrin.h>
#include <stdint.h>
#include <string.h>

#define INLINE static inline __attribute__((always_inline))

/* 16 numbers. */
typedef __m512 vec;

INLINE vec v_set(float x) { return _mm512_set1_ps(x); }
INLINE vec v_load(const float *p) { return _mm512_loadu_ps(p); }
INLINE void v_store(float *p, vec x) { _mm512_storeu_ps(p, x); }
INLINE vec v_load_n(const float *p, unsigned n) { return _mm512_maskz_loadu_ps((__mmask16)((1U << n) - 1), p); }
INLINE void v_store_n(float *p, unsigned n, vec x) { _mm512_mask_storeu_ps(p, (__mmask16)((1U << n) - 1), x); }
INLINE vec v_load_f16(const uint16_t *p) { return _mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)p)); }
INLINE void v_store_f16(uint16_t *p, vec x)
{
    _mm256_storeu_si256((__m256i *)p, _mm512_cvtps_ph(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC));
}
INLINE vec v_load_s8(const uint8_t *p) { return _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_loadu_si128((const __m128i *)p))); }
INLINE vec v_add(vec a, vec b) { return _mm512_add_ps(a, b); }
INLINE vec v_sub(vec a, vec b) { return _mm512_sub_ps(a, b); }
INLINE vec v_mul(vec a, vec b) { return _mm512_mul_ps(a, b); }
INLINE vec v_div(vec a, vec b) { return _mm512_div_ps(a, b); }
INLINE vec v_fma(vec a, vec b, vec c) { return _mm512_fmadd_ps(a, b, c); }   /* a b + c */
INLINE vec v_fnma(vec a, vec b, vec c) { return _mm512_fnmadd_ps(a, b, c); } /* c - a b */
INLINE vec v_max(vec a, vec b) { return _mm512_max_ps(a, b); }               /* b if one is NaN */
INLINE vec v_min(vec a, vec b) { return _mm512_min_ps(a, b); }
INLINE vec v_abs(vec a) { return _mm512_abs_ps(a); }
INLINE vec v_round(vec a) { return _mm512_roundscale_ps(a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC); }
/* x * 2^n, n a whole number from -126 to 128; 2^128 is infinite */
INLINE vec v_scale(vec x, vec n)
{
    __m512i power = _mm512_slli_epi32(_mm512_add_epi32(_mm512_cvtps_epi32(n), _mm512_set1_epi32(127)), 23);
    return _mm512_mul_ps(x, _mm512_castsi512_ps(power));
}
/* For powers of 2: x, but at least -126; its distance from the nearest whole number; y * 2^n for such a number, infinite
 * from 128 on. NaN stays. */
INLINE vec v_exponent(vec x) { return _mm512_max_ps(_mm512_set1_ps(-126), x); }
INLINE vec v_fraction(vec x) { return _mm512_reduce_ps(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC); }
INLINE vec v_scale_whole(vec y, vec n) { return _mm512_scalef_ps(y, n); }
/* 0 where a < b, else x */
INLINE vec v_unless_below(vec a, vec b, vec x) { return _mm512_maskz_mov_ps(_mm512_cmp_ps_mask(a, b, _CMP_NLT_UQ), x); }
/* The first n lanes of x, n <= 16, others from y. */
INLINE vec v_first(unsigned n, vec x, vec y) { return _mm512_mask_mov_ps(y, (__mmask16)((1U << n) - 1), x); }
INLINE unsigned v_ge_bits(vec a, vec b) { return _mm512_cmp_ps_mask(a, b, _CMP_GE_OQ); }
/* Writes i + l for each bit l that is set, ascending, then anything: 16 numbers in all. Returns how many bits are set. */
INLINE unsigned v_store_found(uint32_t *ids, uint32_t i, unsigned bits)
{
    const __m512i lanes = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
    _mm512_storeu_si512(ids, _mm512_maskz_compress_epi32((__mmask16)bits, _mm512_add_epi32(lanes, _mm512_set1_epi32((int32_t)i))));
    return (unsigned)__builtin_popcount(bits);
}
INLINE vec v_copysign(vec magnitude, vec sign)
{
    __m512i bit = _mm512_set1_epi32(INT32_MIN);
    return _mm512_castsi512_ps(_mm512_ternarylogic_epi32(bit, _mm512_castps_si512(sign), _mm512_castps_si512(magnitude), 0xca));
}
/* Swaps the numbers of each pair of lanes. */
INLINE vec v_swap_pairs(vec x) { return _mm512_permute_ps(x, 0xb1); }
/* Each of 8 numbers twice, side by side; and with the sign of the first of them turned. */
INLINE vec v_twice(const float *p)
{
    __m512 x = _mm512_castps256_ps512(_mm256_loadu_ps(p));
    return _mm512_permutexvar_ps(_mm512_setr_epi32(0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6, 7, 7), x);
}
INLINE vec v_negate_even(vec x)
{
    return _mm512_castsi512_ps(_mm512_xor_si512(_mm512_castps_si512(x), _mm512_set1_epi64(0x80000000)));
}

INLINE float sum_of_8(__m256 a)
{
    __m128 b = _mm_add_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps(a, 1));
    b = _mm_add_ps(b, _mm_movehl_ps(b, b));
    return _mm_cvtss_f32(_mm_add_ss(b, _mm_movehdup_ps(b)));
}
INLINE float max_of_8(__m256 a)
{
    __m128 b = _mm_max_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps(a, 1));
    b = _mm_max_ps(b, _mm_movehl_ps(b, b));
    return _mm_cvtss_f32(_mm_max_ss(b, _mm_movehdup_ps(b)));
}
/* Lane l is added to lane l + 8, then l + 4, l + 2, l + 1. */
INLINE float v_sum(vec x) { return sum_of_8(_mm256_add_ps(_mm512_castps512_ps256(x), _mm512_extractf32x8_ps(x, 1))); }
INLINE float v_highest(vec x) { return max_of_8(_mm256_max_ps(_mm512_castps512_ps256(x), _mm512_extractf32x8_ps(x, 1))); }

/* 4 numbers, four times; each of 4 numbers, four times. */
INLINE vec v_repeat_4(const float *p) { return _mm512_broadcast_f32x4(_mm_loadu_ps(p)); }
INLINE vec v_spread_4(const float *p)
{
    return _mm512_permutexvar_ps(_mm512_setr_epi32(0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3), _mm512_castps128_ps512(_mm_loadu_ps(p)));
}
/* Of each four lanes of x[0] and x[1] the sum or the largest: lane l with l + 2, then with l + 1. */
INLINE __m256 every_fourth(vec x)
{
    return _mm512_castps512_ps256(_mm512_permutexvar_ps(_mm512_setr_epi32(0, 4, 8, 12, 2, 6, 10, 14, 0, 0, 0, 0, 0, 0, 0, 0), x));
}
INLINE void v_sum_4(float out[8], const vec x[2])
{
    vec pairs = _mm512_add_ps(_mm512_shuffle_ps(x[0], x[1], 0x44), _mm512_shuffle_ps(x[0], x[1], 0xee));
    _mm256_storeu_ps(out, every_fourth(_mm512_add_ps(pairs, v_swap_pairs(pairs))));
}
INLINE void v_highest_4(float out[8], const vec x[2])
{
    vec pairs = _mm512_max_ps(_mm512_shuffle_ps(x[0], x[1], 0x44), _mm512_shuffle_ps(x[0], x[1], 0xee));
    _mm256_storeu_ps(out, every_fourth(_mm512_max_ps(pairs, v_swap_pairs(pairs))));
}
/* Sums of each four lanes, in that order: number i of row r is that of lanes 4 r .. of x[i]. Rows are `stride` apart. */
INLINE void v_store_sums_4(float *out, size_t stride, unsigned rows, const vec x[4])
{
    vec a = _mm512_add_ps(_mm512_shuffle_ps(x[0], x[1], 0x44), _mm512_shuffle_ps(x[0], x[1], 0xee));
    vec b = _mm512_add_ps(_mm512_shuffle_ps(x[2], x[3], 0x44), _mm512_shuffle_ps(x[2], x[3], 0xee));
    vec sums = _mm512_add_ps(_mm512_shuffle_ps(a, b, 0x88), _mm512_shuffle_ps(a, b, 0xdd));
    _mm_storeu_ps(out, _mm512_castps512_ps128(sums));
    if (rows > 1)
        _mm_storeu_ps(out + stride, _mm512_extractf32x4_ps(sums, 1));
    if (rows > 2)
        _mm_storeu_ps(out + 2 * stride, _mm512_extractf32x4_ps(sums, 2));
    if (rows > 3)
        _mm_storeu_ps(out + 3 * stride, _mm512_extractf32x4_ps(sums, 3));
}
/* The larger one of |x| and y >= 0; y if x is NaN. */
INLINE vec v_max_abs(vec x, vec y) { return _mm512_range_ps(x, y, 0x0b); }

/* Rounds to whole numbers (ties to even), stores them as 16 bytes and returns their sum. */
INLINE int32_t v_store_s8(int8_t *p, vec x)
{
    __m512i i = _mm512_cvtps_epi32(x);
    _mm_storeu_si128((__m128i *)p, _mm512_cvtsepi32_epi8(i));
    return _mm512_reduce_add_epi32(i);
}

INLINE __m512i interleave_words(__m512i a, __m512i b, int high)
{
    return high ? _mm512_unpackhi_epi32(a, b) : _mm512_unpacklo_epi32(a, b);
}

/* out[16 * c + r] = x[r][c] for a block of 16 x 16; rows of out are `stride` apart. */
INLINE void v_store_transposed(float *out, unsigned stride, const vec x[16])
{
    __m512i a[16], b[16];
    for (int i = 0; i < 16; i += 2) {
        a[i] = interleave_words(_mm512_castps_si512(x[i]), _mm512_castps_si512(x[i + 1]), 0);
        a[i + 1] = interleave_words(_mm512_castps_si512(x[i]), _mm512_castps_si512(x[i + 1]), 1);
    }
    for (int i = 0; i < 16; i += 4) {
        b[i] = _mm512_unpacklo_epi64(a[i], a[i + 2]);
        b[i + 1] = _mm512_unpackhi_epi64(a[i], a[i + 2]);
        b[i + 2] = _mm512_unpacklo_epi64(a[i + 1], a[i + 3]);
        b[i + 3] = _mm512_unpackhi_epi64(a[i + 1], a[i + 3]);
    }
    /* b[4 k + c], 128-bit part p: rows 4k .. 4k+3 of column 4 p + c */
    for (int c = 0; c < 4; c++) {
        __m512i lo01 = _mm512_shuffle_i32x4(b[c], b[4 + c], 0x44), hi01 = _mm512_shuffle_i32x4(b[c], b[4 + c], 0xee);
        __m512i lo23 = _mm512_shuffle_i32x4(b[8 + c], b[12 + c], 0x44), hi23 = _mm512_shuffle_i32x4(b[8 + c], b[12 + c], 0xee);
        _mm512_storeu_si512(out + (size_t)stride * (unsigned)c, _mm512_shuffle_i32x4(lo01, lo23, 0x88));
        _mm512_storeu_si512(out + (size_t)stride * (unsigned)(4 + c), _mm512_shuffle_i32x4(lo01, lo23, 0xdd));
        _mm512_storeu_si512(out + (size_t)stride * (unsigned)(8 + c), _mm512_shuffle_i32x4(hi01, hi23, 0x88));
        _mm512_storeu_si512(out + (size_t)stride * (unsigned)(12 + c), _mm512_shuffle_i32x4(hi01, hi23, 0xdd));
    }
}

/* Queries that attention takes at a time. */
#define ATTEND_BLOCK 8

/* What products of weights need: the W lanes of a tile that are computed at a time. */
enum { W = 16 };
typedef __m512 wide;
typedef __m512i wide_codes; /* 4 W bytes */
typedef __m512i wide_sum;   /* W int32 */

INLINE wide w_zero(void) { return _mm512_setzero_ps(); }
INLINE wide w_set(float x) { return _mm512_set1_ps(x); }
INLINE wide w_load(const float *p) { return _mm512_loadu_ps(p); }
INLINE void w_store(float *p, wide x) { _mm512_storeu_ps(p, x); }
/* The first n lanes, n < W. */
INLINE wide w_load_n(const float *p, unsigned n) { return _mm512_maskz_loadu_ps((__mmask16)((1U << n) - 1), p); }
INLINE void w_store_n(float *p, unsigned n, wide x) { _mm512_mask_storeu_ps(p, (__mmask16)((1U << n) - 1), x); }
INLINE wide w_add(wide a, wide b) { return _mm512_add_ps(a, b); }
INLINE wide w_mul(wide a, wide b) { return _mm512_mul_ps(a, b); }
INLINE wide w_fma(wide a, wide b, wide c) { return _mm512_fmadd_ps(a, b, c); }
/* a * b + c, b being one number */
INLINE wide w_fma_one(wide a, const float *b, wide c)
{
    __asm__("vfmadd231ps %2%{1to16%}, %1, %0" : "+v"(c) : "v"(a), "m"(*b));
    return c;
}
INLINE wide w_fnma(wide a, wide b, wide c) { return _mm512_fnmadd_ps(a, b, c); }
INLINE wide w_f16(const void *p) { return _mm512_cvtph_ps(_mm256_loadu_si256(p)); }
INLINE wide w_bf16(const void *p)
{
    return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(_mm256_loadu_si256(p)), 16));
}
INLINE wide w_u8(const void *p) { return _mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(_mm_loadu_si128(p))); }
INLINE wide w_s8(const void *p) { return _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_loadu_si128(p))); }
INLINE wide w_of_sum(wide_sum x) { return _mm512_cvtepi32_ps(x); }
INLINE wide w_of_lifted(wide_sum x) { return _mm512_castsi512_ps(x); } /* KG_LIFTED + the sum that started from KG_LIFT */

INLINE wide_codes codes_load(const uint8_t *p) { return _mm512_loadu_si512(p); }
INLINE wide_codes codes_low(wide_codes x) { return _mm512_and_si512(x, _mm512_set1_epi8(15)); }
INLINE wide_codes codes_high(wide_codes x) { return _mm512_and_si512(_mm512_srli_epi16(x, 4), _mm512_set1_epi8(15)); }
/* code | (plane << left or >> -left) & mask, by bytes; left is a constant, |left| < 8 */
INLINE wide_codes codes_join(wide_codes code, wide_codes plane, int left, char mask)
{
    wide_codes moved = left == 0 ? plane : left > 0 ? _mm512_slli_epi16(plane, (unsigned)(left > 0 ? left : 0))
                                                    : _mm512_srli_epi16(plane, (unsigned)(left < 0 ? -left : 0));
    return _mm512_ternarylogic_epi32(code, moved, _mm512_set1_epi8(mask), 0xf8); /* a | (b & c) */
}
/* sum + code times 4 activations. One instruction: for the intrinsic compilers load the activations apart. */
INLINE wide_sum dot_of_four(wide_sum sum, wide_codes code, const int8_t *q)
{
    __asm__("vpdpbusd %2%{1to16%}, %1, %0" : "+v"(sum) : "v"(code), "m"(*(const int32_t *)(const void *)q));
    return sum;
}
#define DOT_ROWS 4
INLINE wide_sum sum_set(int32_t x) { return _mm512_set1_epi32(x); }
#include "kernels/cpu/vnni_lanes.h"

/* Bits from `right` on of each byte. */
INLINE wide_codes codes_field(wide_codes x, int right, char mask)
{
    return _mm512_and_si512(right ? _mm512_srli_epi16(x, (unsigned)right) : x, _mm512_set1_epi8(mask));
}
INLINE wide_codes codes_zero(void) { return _mm512_setzero_si512(); }
INLINE wide_sum sum_zero(void) { return _mm512_setzero_si512(); }
/* Sums of products of words of codes of at most 4 bits with 4 numbers each, for up to 8 words between begin and end. */
#define SCORE_BLOCK 8 /* queries at a time */
/* The lowest bytes of 64 lanes: word l is those of lane l of x[0], x[1], x[2], x[3]. */
INLINE void v_store_words(int8_t *p, const vec x[4])
{
    const __m512i lowest = _mm512_set4_epi32(0x0c0c0c0c, 0x08080808, 0x04040404, 0);
    __m512i words = _mm512_castps_si512(x[0]);
    words = _mm512_mask_shuffle_epi8(words, 0x2222222222222222, _mm512_castps_si512(x[1]), lowest);
    words = _mm512_mask_shuffle_epi8(words, 0x4444444444444444, _mm512_castps_si512(x[2]), lowest);
    words = _mm512_mask_shuffle_epi8(words, 0x8888888888888888, _mm512_castps_si512(x[3]), lowest);
    _mm512_storeu_si512(p, words);
}
/* 0 where e is 0, else 2^((e - 128) / 8) */
INLINE vec v_step(const uint8_t *p)
{
    const __m512 eighths = _mm512_broadcast_f32x8(_mm256_setr_ps(KG_EIGHTHS));
    __m512i e = _mm512_cvtepu8_epi32(_mm_loadu_si128((const __m128i *)p));
    __m512i power = _mm512_slli_epi32(_mm512_sub_epi32(_mm512_srli_epi32(e, 3), _mm512_set1_epi32(16)), 23);
    __m512i fraction = _mm512_castps_si512(_mm512_permutexvar_ps(e, eighths));
    return _mm512_castsi512_ps(_mm512_maskz_add_epi32(_mm512_test_epi32_mask(e, e), fraction, power));
}

typedef __m512i word;
INLINE word word_load(const void *p) { return _mm512_loadu_si512(p); }
INLINE word word_xor(word a, word b) { return _mm512_xor_si512(a, b); }
INLINE uint64_t word_fold(word a) { return (uint64_t)_mm512_reduce_add_epi64(a); }
#endif
