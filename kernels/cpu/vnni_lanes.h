/* Products of codes by VNNI, for vectors that have dot_of_four, sum_set and DOT_ROWS: part of lanes_*.h. */

/* As stored for Q8_0: ready for use. */
INLINE wide_codes codes_of_q8(wide_codes x) { return x; }

/* For n rows, each KG_STEP activations and 2 offsets behind the one before: the offset and the sum over groups first .. last-1
 * of the products of codes (bits each) and 4 activations per group. A row's products wait for each other, so as many
 * rows take turns as registers allow. */
INLINE void codes_dot(wide_sum out[DOT_ROWS], const wide_codes codes[8], const int8_t *q, int first, int last, const int32_t *offset,
                      uint32_t n, int bits)
{
    (void)bits;
#pragma GCC unroll 4
    for (uint32_t r = 0; r < n; r++)
        out[r] = sum_set(offset[2 * r]);
#pragma GCC unroll 8
    for (int g = first; g < last; g++)
#pragma GCC unroll 4
        for (uint32_t r = 0; r < n; r++)
            out[r] = dot_of_four(out[r], codes[g], q + r * KG_STEP + 4 * g);
}

/* See score_words (index_lanes.h). */
typedef wide_sum words_sum;
INLINE words_sum words_begin(wide_sum sum) { return sum; }
INLINE words_sum words_add(words_sum sum, wide_codes code, const int8_t *q) { return dot_of_four(sum, code, q); }
INLINE wide_sum words_end(wide_sum sum, words_sum of_8)
{
    (void)sum;
    return of_8;
}
