/* Vectors of AVX2, with or without VNNI, as the shared sources of the kernels (*_lanes.h) use them. */
#ifndef KG_KERNELS_CPU_LANES_AVX2_H
#define KG_KERNELS_CPU_LANES_AVX2_H

#include <immintrin.h>
#include <stdint.h>
#include <string.h>

#define INLINE static inline __attribute__((always_inline))

/* 16 numbers: lanes 0..7 in a, 8..15 in b. */
typedef struct {
    __m256 a, b;
} vec;

#define BOTH(x, y) ((vec){ (x), (y) })

INLINE vec v_set(float x) { return BOTH(_mm256_set1_ps(x), _mm256_set1_ps(x)); }
INLINE vec v_load(const float *p) { return BOTH(_mm256_loadu_ps(p), _mm256_loadu_ps(p + 8)); }
INLINE void v_store(float *p, vec x)
{
    _mm256_storeu_ps(p, x.a);
    _mm256_storeu_ps(p + 8, x.b);
}
/* Lanes below n: all bits set. */
INLINE __m256i lanes_below(int n) { return _mm256_cmpgt_epi32(_mm256_set1_epi32(n), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7)); }
INLINE vec v_load_n(const float *p, unsigned n)
{
    return BOTH(_mm256_maskload_ps(p, lanes_below((int)n)), _mm256_maskload_ps(p + 8, lanes_below((int)n - 8)));
}
INLINE void v_store_n(float *p, unsigned n, vec x)
{
    _mm256_maskstore_ps(p, lanes_below((int)n), x.a);
    _mm256_maskstore_ps(p + 8, lanes_below((int)n - 8), x.b);
}
INLINE __m256 load_8_f16(const uint16_t *p) { return _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)p)); }
INLINE vec v_load_f16(const uint16_t *p) { return BOTH(load_8_f16(p), load_8_f16(p + 8)); }
INLINE void v_store_f16(uint16_t *p, vec x)
{
    _mm_storeu_si128((__m128i *)p, _mm256_cvtps_ph(x.a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC));
    _mm_storeu_si128((__m128i *)(p + 8), _mm256_cvtps_ph(x.b, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC));
}
INLINE __m256 load_8_s8(const void *p) { return _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_loadl_epi64(p))); }
INLINE vec v_load_s8(const uint8_t *p) { return BOTH(load_8_s8(p), load_8_s8(p + 8)); }
INLINE vec v_add(vec x, vec y) { return BOTH(_mm256_add_ps(x.a, y.a), _mm256_add_ps(x.b, y.b)); }
INLINE vec v_sub(vec x, vec y) { return BOTH(_mm256_sub_ps(x.a, y.a), _mm256_sub_ps(x.b, y.b)); }
INLINE vec v_mul(vec x, vec y) { return BOTH(_mm256_mul_ps(x.a, y.a), _mm256_mul_ps(x.b, y.b)); }
INLINE vec v_div(vec x, vec y) { return BOTH(_mm256_div_ps(x.a, y.a), _mm256_div_ps(x.b, y.b)); }
/* x y + z */
INLINE vec v_fma(vec x, vec y, vec z) { return BOTH(_mm256_fmadd_ps(x.a, y.a, z.a), _mm256_fmadd_ps(x.b, y.b, z.b)); }
/* z - x y */
INLINE vec v_fnma(vec x, vec y, vec z) { return BOTH(_mm256_fnmadd_ps(x.a, y.a, z.a), _mm256_fnmadd_ps(x.b, y.b, z.b)); }
/* y if one is NaN */
INLINE vec v_max(vec x, vec y) { return BOTH(_mm256_max_ps(x.a, y.a), _mm256_max_ps(x.b, y.b)); }
INLINE vec v_min(vec x, vec y) { return BOTH(_mm256_min_ps(x.a, y.a), _mm256_min_ps(x.b, y.b)); }
INLINE vec v_abs(vec x)
{
    __m256 sign = _mm256_set1_ps(-0.0F);
    return BOTH(_mm256_andnot_ps(sign, x.a), _mm256_andnot_ps(sign, x.b));
}
INLINE __m256 round_8(__m256 x) { return _mm256_round_ps(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC); }
INLINE vec v_round(vec x) { return BOTH(round_8(x.a), round_8(x.b)); }
INLINE __m256 scale_8(__m256 x, __m256 n)
{
    __m256i power = _mm256_slli_epi32(_mm256_add_epi32(_mm256_cvtps_epi32(n), _mm256_set1_epi32(127)), 23);
    return _mm256_mul_ps(x, _mm256_castsi256_ps(power));
}
/* x * 2^n, n a whole number from -126 to 128; 2^128 is infinite */
INLINE vec v_scale(vec x, vec n) { return BOTH(scale_8(x.a, n.a), scale_8(x.b, n.b)); }
/* For powers of 2: x, but at least -126 (and no more than is needed for infinity); its distance from the nearest whole
 * number; y * 2^n for such a number, infinite for 128. NaN stays. */
INLINE vec v_exponent(vec x) { return v_min(v_set(128), v_max(v_set(-126), x)); }
INLINE vec v_fraction(vec x) { return v_sub(x, v_round(x)); }
INLINE __m256 scale_whole_8(__m256 y, __m256 n)
{
    return _mm256_castsi256_ps(_mm256_add_epi32(_mm256_castps_si256(y), _mm256_slli_epi32(_mm256_cvtps_epi32(n), 23)));
}
INLINE vec v_scale_whole(vec y, vec n) { return BOTH(scale_whole_8(y.a, n.a), scale_whole_8(y.b, n.b)); }
/* 0 where y < z, else x */
INLINE vec v_unless_below(vec y, vec z, vec x)
{
    return BOTH(_mm256_and_ps(_mm256_cmp_ps(y.a, z.a, _CMP_NLT_UQ), x.a), _mm256_and_ps(_mm256_cmp_ps(y.b, z.b, _CMP_NLT_UQ), x.b));
}
/* The first n lanes of x, n <= 16, others from y. */
INLINE vec v_first(unsigned n, vec x, vec y)
{
    return BOTH(_mm256_blendv_ps(y.a, x.a, _mm256_castsi256_ps(lanes_below((int)n))),
                _mm256_blendv_ps(y.b, x.b, _mm256_castsi256_ps(lanes_below((int)n - 8))));
}
INLINE unsigned v_ge_bits(vec x, vec y)
{
    return (unsigned)_mm256_movemask_ps(_mm256_cmp_ps(x.a, y.a, _CMP_GE_OQ)) |
           (unsigned)_mm256_movemask_ps(_mm256_cmp_ps(x.b, y.b, _CMP_GE_OQ)) << 8;
}
INLINE __m256 copysign_8(__m256 magnitude, __m256 sign)
{
    __m256 bit = _mm256_set1_ps(-0.0F);
    return _mm256_or_ps(_mm256_andnot_ps(bit, magnitude), _mm256_and_ps(bit, sign));
}
/* Writes i + l for each bit l that is set, ascending; up to 16 numbers may change. Returns how many bits are set. */
INLINE unsigned v_store_found(uint32_t *ids, uint32_t i, unsigned bits)
{
    unsigned n = 0;
    for (; bits; bits &= bits - 1)
        ids[n++] = i + (unsigned)__builtin_ctz(bits);
    return n;
}
INLINE vec v_copysign(vec magnitude, vec sign) { return BOTH(copysign_8(magnitude.a, sign.a), copysign_8(magnitude.b, sign.b)); }
/* Swaps the numbers of each pair of lanes. */
INLINE vec v_swap_pairs(vec x) { return BOTH(_mm256_permute_ps(x.a, 0xb1), _mm256_permute_ps(x.b, 0xb1)); }
/* Each of 8 numbers twice, side by side. */
INLINE vec v_twice(const float *p)
{
    __m256 x = _mm256_loadu_ps(p);
    return BOTH(_mm256_permutevar8x32_ps(x, _mm256_setr_epi32(0, 0, 1, 1, 2, 2, 3, 3)),
                _mm256_permutevar8x32_ps(x, _mm256_setr_epi32(4, 4, 5, 5, 6, 6, 7, 7)));
}
INLINE vec v_negate_even(vec x)
{
    __m256 sign = _mm256_castsi256_ps(_mm256_set1_epi64x(0x80000000));
    return BOTH(_mm256_xor_ps(x.a, sign), _mm256_xor_ps(x.b, sign));
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
INLINE float v_sum(vec x) { return sum_of_8(_mm256_add_ps(x.a, x.b)); }
INLINE float v_highest(vec x) { return max_of_8(_mm256_max_ps(x.a, x.b)); }

/* 4 numbers, four times; each of 4 numbers, four times. */
INLINE vec v_repeat_4(const float *p)
{
    __m256 x = _mm256_broadcast_ps((const __m128 *)(const void *)p);
    return BOTH(x, x);
}
INLINE vec v_spread_4(const float *p)
{
    __m256 x = _mm256_castps128_ps256(_mm_loadu_ps(p));
    return BOTH(_mm256_permutevar8x32_ps(x, _mm256_setr_epi32(0, 0, 0, 0, 1, 1, 1, 1)), _mm256_permutevar8x32_ps(x, _mm256_setr_epi32(2, 2, 2, 2, 3, 3, 3, 3)));
}
/* Of each four lanes of x[0] and x[1] the sum or the largest: lane l with l + 2, then with l + 1. */
INLINE void store_every_fourth(float out[8], __m256 low, __m256 high)
{
    const __m256i order = _mm256_setr_epi32(0, 4, 2, 6, 0, 0, 0, 0);
    __m128 a = _mm256_castps256_ps128(_mm256_permutevar8x32_ps(low, order)), b = _mm256_castps256_ps128(_mm256_permutevar8x32_ps(high, order));
    _mm_storeu_ps(out, _mm_movelh_ps(a, b));
    _mm_storeu_ps(out + 4, _mm_movehl_ps(b, a));
}
INLINE __m256 sum_fours(__m256 x, __m256 y)
{
    __m256 pairs = _mm256_add_ps(_mm256_shuffle_ps(x, y, 0x44), _mm256_shuffle_ps(x, y, 0xee));
    return _mm256_add_ps(pairs, _mm256_permute_ps(pairs, 0xb1));
}
INLINE __m256 highest_fours(__m256 x, __m256 y)
{
    __m256 pairs = _mm256_max_ps(_mm256_shuffle_ps(x, y, 0x44), _mm256_shuffle_ps(x, y, 0xee));
    return _mm256_max_ps(pairs, _mm256_permute_ps(pairs, 0xb1));
}
INLINE void v_sum_4(float out[8], const vec x[2]) { store_every_fourth(out, sum_fours(x[0].a, x[1].a), sum_fours(x[0].b, x[1].b)); }
INLINE void v_highest_4(float out[8], const vec x[2]) { store_every_fourth(out, highest_fours(x[0].a, x[1].a), highest_fours(x[0].b, x[1].b)); }
INLINE __m256 sum_four_fours(__m256 p, __m256 q, __m256 r, __m256 s)
{
    __m256 a = _mm256_add_ps(_mm256_shuffle_ps(p, q, 0x44), _mm256_shuffle_ps(p, q, 0xee));
    __m256 b = _mm256_add_ps(_mm256_shuffle_ps(r, s, 0x44), _mm256_shuffle_ps(r, s, 0xee));
    return _mm256_add_ps(_mm256_shuffle_ps(a, b, 0x88), _mm256_shuffle_ps(a, b, 0xdd));
}
/* Sums of each four lanes, in that order: number i of row r is that of lanes 4 r .. of x[i]. Rows are `stride` apart. */
INLINE void v_store_sums_4(float *out, size_t stride, unsigned rows, const vec x[4])
{
    __m256 low = sum_four_fours(x[0].a, x[1].a, x[2].a, x[3].a), high = sum_four_fours(x[0].b, x[1].b, x[2].b, x[3].b);
    _mm_storeu_ps(out, _mm256_castps256_ps128(low));
    if (rows > 1)
        _mm_storeu_ps(out + stride, _mm256_extractf128_ps(low, 1));
    if (rows > 2)
        _mm_storeu_ps(out + 2 * stride, _mm256_castps256_ps128(high));
    if (rows > 3)
        _mm_storeu_ps(out + 3 * stride, _mm256_extractf128_ps(high, 1));
}
/* The larger one of |x| and y >= 0; y if x is NaN. */
INLINE vec v_max_abs(vec x, vec y) { return v_max(v_abs(x), y); }

/* Rounds to whole numbers (ties to even), stores them as 16 bytes and returns their sum. */
INLINE int32_t v_store_s8(int8_t *p, vec x)
{
    __m256i a = _mm256_cvtps_epi32(x.a), b = _mm256_cvtps_epi32(x.b);
    __m256i words = _mm256_permute4x64_epi64(_mm256_packs_epi32(a, b), 0xd8);
    _mm_storeu_si128((__m128i *)p, _mm_packs_epi16(_mm256_castsi256_si128(words), _mm256_extracti128_si256(words, 1)));
    __m256i sum = _mm256_add_epi32(a, b);
    __m128i s = _mm_add_epi32(_mm256_castsi256_si128(sum), _mm256_extracti128_si256(sum, 1));
    s = _mm_add_epi32(s, _mm_shuffle_epi32(s, 0x4e));
    return _mm_cvtsi128_si32(_mm_add_epi32(s, _mm_shuffle_epi32(s, 0xb1)));
}

/* out[c][r] = x[r][c] for 8 rows; rows of out are `stride` apart. */
INLINE void store_transposed_8(float *out, unsigned stride, const __m256 x[8])
{
    __m256 a[8], b[8];
    for (int i = 0; i < 8; i += 2) {
        a[i] = _mm256_unpacklo_ps(x[i], x[i + 1]);
        a[i + 1] = _mm256_unpackhi_ps(x[i], x[i + 1]);
    }
    for (int i = 0; i < 8; i += 4) {
        b[i] = _mm256_shuffle_ps(a[i], a[i + 2], 0x44);
        b[i + 1] = _mm256_shuffle_ps(a[i], a[i + 2], 0xee);
        b[i + 2] = _mm256_shuffle_ps(a[i + 1], a[i + 3], 0x44);
        b[i + 3] = _mm256_shuffle_ps(a[i + 1], a[i + 3], 0xee);
    }
    for (unsigned c = 0; c < 4; c++) {
        _mm256_storeu_ps(out + (size_t)stride * c, _mm256_permute2f128_ps(b[c], b[c + 4], 0x20));
        _mm256_storeu_ps(out + (size_t)stride * (c + 4), _mm256_permute2f128_ps(b[c], b[c + 4], 0x31));
    }
}

/* out[stride * c + r] = x[r][c] for a block of 16 x 16. */
INLINE void v_store_transposed(float *out, unsigned stride, const vec x[16])
{
    for (unsigned half = 0; half < 2; half++) {
        __m256 left[8], right[8];
        for (unsigned r = 0; r < 8; r++) {
            left[r] = x[8 * half + r].a;
            right[r] = x[8 * half + r].b;
        }
        store_transposed_8(out + 8 * (size_t)half, stride, left);
        store_transposed_8(out + 8 * (size_t)half + 8 * (size_t)stride, stride, right);
    }
}

/* Queries that attention takes at a time. */
#define ATTEND_BLOCK 2

/* What products of weights need: the W lanes of a tile that are computed at a time. */
enum { W = 8 };
typedef __m256 wide;
typedef __m256i wide_codes; /* 4 W bytes */
typedef __m256i wide_sum;   /* W int32 */

INLINE wide w_zero(void) { return _mm256_setzero_ps(); }
INLINE wide w_set(float x) { return _mm256_set1_ps(x); }
INLINE wide w_load(const float *p) { return _mm256_loadu_ps(p); }
INLINE void w_store(float *p, wide x) { _mm256_storeu_ps(p, x); }
/* The first n lanes, n < W. */
INLINE wide w_load_n(const float *p, unsigned n) { return _mm256_maskload_ps(p, lanes_below((int)n)); }
INLINE void w_store_n(float *p, unsigned n, wide x) { _mm256_maskstore_ps(p, lanes_below((int)n), x); }
INLINE wide w_add(wide a, wide b) { return _mm256_add_ps(a, b); }
INLINE wide w_mul(wide a, wide b) { return _mm256_mul_ps(a, b); }
INLINE wide w_fma(wide a, wide b, wide c) { return _mm256_fmadd_ps(a, b, c); }
INLINE wide w_fma_one(wide a, const float *b, wide c) { return _mm256_fmadd_ps(a, _mm256_set1_ps(*b), c); }
INLINE wide w_fnma(wide a, wide b, wide c) { return _mm256_fnmadd_ps(a, b, c); }
INLINE wide w_f16(const void *p) { return _mm256_cvtph_ps(_mm_loadu_si128(p)); }
INLINE wide w_bf16(const void *p) { return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(_mm_loadu_si128(p)), 16)); }
INLINE wide w_u8(const void *p) { return _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(_mm_loadl_epi64(p))); }
INLINE wide w_s8(const void *p) { return _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_loadl_epi64(p))); }
INLINE wide w_of_sum(wide_sum x) { return _mm256_cvtepi32_ps(x); }
INLINE wide w_of_lifted(wide_sum x) { return _mm256_castsi256_ps(x); } /* KG_LIFTED + the sum that started from KG_LIFT */

INLINE wide_codes codes_load(const uint8_t *p) { return _mm256_loadu_si256((const __m256i *)p); }
INLINE wide_codes codes_low(wide_codes x) { return _mm256_and_si256(x, _mm256_set1_epi8(15)); }
INLINE wide_codes codes_high(wide_codes x) { return _mm256_and_si256(_mm256_srli_epi16(x, 4), _mm256_set1_epi8(15)); }
/* code | (plane << left or >> -left) & mask, by bytes; left is a constant, |left| < 8 */
INLINE wide_codes codes_join(wide_codes code, wide_codes plane, int left, char mask)
{
    wide_codes moved = left == 0 ? plane : left > 0 ? _mm256_slli_epi16(plane, left) : _mm256_srli_epi16(plane, -left);
    return _mm256_or_si256(code, _mm256_and_si256(moved, _mm256_set1_epi8(mask)));
}
#ifdef __AVXVNNI__
/* sum + code times 4 activations */
INLINE wide_sum dot_of_four(wide_sum sum, wide_codes code, const int8_t *q)
{
    int32_t four;
    memcpy(&four, q, 4);
    return _mm256_dpbusd_avx_epi32(sum, code, _mm256_set1_epi32(four));
}

#define DOT_ROWS 2
INLINE wide_sum sum_set(int32_t x) { return _mm256_set1_epi32(x); }
#include "kernels/cpu/vnni_lanes.h"
#else
/* As stored for Q8_0: to signed numbers, see codes_dot. */
INLINE wide_codes codes_of_q8(wide_codes x) { return _mm256_xor_si256(x, _mm256_set1_epi8(-128)); }

/* For one row: the offset and the sum over groups first .. last-1 of the products of codes (bits each) and 4 activations per group.
 * Pairs of products are added to 16 bits: up to 30 * 127 for codes of 4 bits, so all 8 groups fit; 62 * 127 for
 * 5 bits, 4 groups; 126 * 127 for 6 bits, 2 groups. Codes of 8 bits would not fit; there the sign of the
 * (signed) code is moved to the activation, and the offset, which takes back what was added to them, is KG_LIFT alone. */
#define DOT_ROWS 1
INLINE void codes_dot(wide_sum out[DOT_ROWS], const wide_codes codes[8], const int8_t *q, int first, int last, const int32_t *offset,
                      uint32_t n, int bits)
{
    (void)n;
    const int fit = bits == 4 ? 8 : bits == 5 ? 4 : bits == 6 ? 2 : 1;
    wide_sum sum = _mm256_set1_epi32(bits == 8 ? KG_LIFT : *offset);
    __m256i pairs = _mm256_setzero_si256();
    for (int g = first; g < last; g++) {
        int32_t four;
        memcpy(&four, q + 4 * g, 4);
        __m256i x = _mm256_set1_epi32(four);
        __m256i product = bits == 8 ? _mm256_maddubs_epi16(_mm256_abs_epi8(codes[g]), _mm256_sign_epi8(x, codes[g]))
                                    : _mm256_maddubs_epi16(codes[g], x);
        pairs = (g - first) % fit == 0 ? product : _mm256_add_epi16(pairs, product);
        if ((g - first) % fit == fit - 1 || g == last - 1)
            sum = _mm256_add_epi32(sum, _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)));
    }
    out[0] = sum;
}
#endif

/* Bits from `right` on of each byte. */
INLINE wide_codes codes_field(wide_codes x, int right, char mask)
{
    return _mm256_and_si256(right ? _mm256_srli_epi16(x, right) : x, _mm256_set1_epi8(mask));
}
INLINE wide_codes codes_zero(void) { return _mm256_setzero_si256(); }
INLINE wide_sum sum_zero(void) { return _mm256_setzero_si256(); }
/* Sums of products of words of codes of at most 4 bits with 4 numbers each, for up to 8 words between begin and end; pairs
 * of products fit into 16 bits as in codes_dot. */
#define SCORE_BLOCK 4 /* queries at a time */
#ifndef __AVXVNNI__
typedef __m256i words_sum;
INLINE words_sum words_begin(wide_sum sum)
{
    (void)sum;
    return _mm256_setzero_si256();
}
INLINE words_sum words_add(words_sum sum, wide_codes code, const int8_t *q)
{
    int32_t four;
    memcpy(&four, q, 4);
    return _mm256_add_epi16(sum, _mm256_maddubs_epi16(code, _mm256_set1_epi32(four)));
}
INLINE wide_sum words_end(wide_sum sum, words_sum of_8)
{
    return _mm256_add_epi32(sum, _mm256_madd_epi16(of_8, _mm256_set1_epi16(1)));
}
#endif
INLINE __m256i lowest_4(__m256 a, __m256 b, __m256 c, __m256 d)
{
    const __m256i lowest = _mm256_set1_epi32(0xff);
    __m256i ab = _mm256_or_si256(_mm256_and_si256(_mm256_castps_si256(a), lowest), _mm256_slli_epi32(_mm256_and_si256(_mm256_castps_si256(b), lowest), 8));
    __m256i cd = _mm256_or_si256(_mm256_and_si256(_mm256_castps_si256(c), lowest), _mm256_slli_epi32(_mm256_castps_si256(d), 8));
    return _mm256_or_si256(ab, _mm256_slli_epi32(cd, 16));
}
/* The lowest bytes of 64 lanes: word l is those of lane l of x[0], x[1], x[2], x[3]. */
INLINE void v_store_words(int8_t *p, const vec x[4])
{
    _mm256_storeu_si256((__m256i *)p, lowest_4(x[0].a, x[1].a, x[2].a, x[3].a));
    _mm256_storeu_si256((__m256i *)(p + 32), lowest_4(x[0].b, x[1].b, x[2].b, x[3].b));
}
INLINE __m256 step_8(const uint8_t *p)
{
    __m256i e = _mm256_cvtepu8_epi32(_mm_loadl_epi64((const __m128i *)p));
    __m256i power = _mm256_slli_epi32(_mm256_sub_epi32(_mm256_srli_epi32(e, 3), _mm256_set1_epi32(16)), 23);
    __m256i fraction = _mm256_castps_si256(_mm256_permutevar8x32_ps(_mm256_setr_ps(KG_EIGHTHS), e));
    return _mm256_castsi256_ps(_mm256_andnot_si256(_mm256_cmpeq_epi32(e, _mm256_setzero_si256()), _mm256_add_epi32(fraction, power)));
}
/* 0 where e is 0, else 2^((e - 128) / 8) */
INLINE vec v_step(const uint8_t *p) { return BOTH(step_8(p), step_8(p + 8)); }

typedef __m256i word;
INLINE word word_load(const void *p) { return _mm256_loadu_si256(p); }
INLINE word word_xor(word a, word b) { return _mm256_xor_si256(a, b); }
INLINE uint64_t word_fold(word a)
{
    __m128i b = _mm_xor_si128(_mm256_castsi256_si128(a), _mm256_extracti128_si256(a, 1));
    return (uint64_t)_mm_cvtsi128_si64(b);
}

#endif
