/* The key index: building a page's, and scores of queries by it, for the instruction set of the including file.
 *
 * A score is fma(a, (float)(sum of r c), q.m), with a = max |q step| / 127 and q.m summed like all products of heads:
 * one chain of fused products in each of 16 lanes, which are added in the end. */

/* Elements d .. of a row of f16; 0 behind its end. */
INLINE vec load_row(const uint16_t *row, uint32_t d, uint32_t head_size)
{
    if (d + 16 <= head_size)
        return v_load_f16(row + d);
    uint16_t last[16] = { 0 };
    memcpy(last, row + d, (head_size - d) * sizeof *last);
    return v_load_f16(last);
}

/* Minimum and maximum of each channel; false if a key is not finite. */
INLINE bool key_ranges(const struct kg_index_form *form, const uint16_t *keys, uint32_t tokens, float *low, float *high)
{
    bool finite = true;
    for (uint32_t d = 0; d < form->head_size; d += 16) {
        vec least = v_set(INFINITY), most = v_set(-INFINITY);
        for (uint32_t t = 0; t < tokens; t++) {
            vec k = load_row(keys + (size_t)t * form->head_size, d, form->head_size);
            least = v_min(k, least);
            most = v_max(k, most);
            finite = finite && v_ge_bits(v_set(65504), v_abs(k)) == 0xffff;
        }
        v_store(low + d, v_add(least, v_set(0)));
        v_store(high + d, most);
    }
    return finite;
}

/* The least e whose step reaches over the range. */
static uint8_t step_code(const struct kg_index_form *form, double range)
{
    if (range <= 0)
        return 0;
    uint32_t low = 1, high = 255;
    while (low < high) {
        const uint32_t middle = (low + high) / 2;
        if (form->reach[middle] < range)
            low = middle + 1;
        else
            high = middle;
    }
    return (uint8_t)low;
}

static bool index_page(const struct kg_index_form *form, uint8_t *out, const uint16_t *keys, uint32_t tokens)
{
    const uint32_t n = form->head_size, in_byte = 8 / form->bits;
    const double levels = (double)((1U << form->bits) - 1);
    float low[KG_HEAD_MAX + 16], high[KG_HEAD_MAX + 16];
    uint8_t e[KG_HEAD_MAX];
    uint16_t m[KG_HEAD_MAX + 16];
    memset(out, 0, form->bytes);
    if (!key_ranges(form, keys, tokens, low, high))
        return false;
    for (uint32_t d = 0; d < n; d += 16)
        v_store_f16(m + d, v_load(low + d));
    for (uint32_t d = 0; d < n; d++)
        e[d] = step_code(form, (double)high[d] - (double)low[d]);
    for (uint32_t p = 0; p < form->positions; p++) {
        const uint16_t d = form->channel[p];
        if (d == KG_INDEX_NO_CHANNEL)
            continue;
        memcpy(out + 2 * (size_t)p, &m[d], 2);
        out[2 * (size_t)form->positions + p] = e[d];
    }
    for (uint32_t t = 0; t < tokens; t++) {
        float key[KG_HEAD_MAX + 16];
        for (uint32_t d = 0; d < n; d += 16)
            v_store(key + d, load_row(keys + (size_t)t * n, d, n));
        for (uint32_t d = 0; d < n; d++) {
            if (!e[d])
                continue;
            const double code = nearbyint(((double)key[d] - (double)low[d]) / form->step[e[d]]);
            out[kg_index_code_at(form, d / in_byte, t)] |= (uint8_t)((uint32_t)(code < levels ? code : levels) << (d % in_byte * form->bits));
        }
    }
    return true;
}

/* What is the same for all queries that meet a page, in the order of positions. */
struct page_scales {
    float m[KG_HEAD_MAX], step[KG_HEAD_MAX];
};

INLINE void load_scales(const struct kg_index_scan *s, struct page_scales *out)
{
    for (uint32_t p = 0; p < s->form->positions; p += 16) {
        v_store(out->m + p, v_load_f16((const uint16_t *)(const void *)s->index + p));
        v_store(out->step + p, v_step(s->index + 2 * (size_t)s->form->positions + p));
    }
}

/* A query as it meets a page: 4 words of r for each 16 positions, a, and q.m. */
INLINE void round_query(const struct page_scales *page, const float *q, uint32_t positions, int8_t *r, float *a, float *offset)
{
    vec most = v_set(0), sum = v_set(0);
    for (uint32_t p = 0; p < positions; p += 16) {
        most = v_max(v_abs(v_mul(v_load(q + p), v_load(page->step + p))), most);
        sum = v_fma(v_load(q + p), v_load(page->m + p), sum);
    }
    const float largest = v_highest(most);
    /* A smaller one counts as zero: its reciprocal would be infinite. */
    const bool some = largest >= 1e-35F;
    const vec inverse = v_set(some ? 127 / largest : 0);
    *a = some ? largest / 127 : 0;
    *offset = v_sum(sum);
    for (uint32_t p = 0; p < positions; p += 64) {
        vec x[4];
        for (uint32_t k = 0; k < 4; k++)
            x[k] = v_mul(v_mul(v_load(q + p + 16 * k), v_load(page->step + p + 16 * k)), inverse);
        v_store_words(r + p, x);
    }
}

/* 8 words of W tokens, unpacked, those behind the last one 0. */
INLINE void load_words(const uint8_t *codes, uint32_t first, uint32_t words, const uint32_t bits, wide_codes out[8])
{
    const uint32_t in_byte = 8 / bits;
#pragma GCC unroll 8
    for (uint32_t quad = 0; quad < bits; quad++) {
        const uint32_t at = first + quad * in_byte;
        wide_codes packed = at < words ? codes_load(codes + (size_t)(at / in_byte) * 128) : codes_zero();
#pragma GCC unroll 8
        for (uint32_t i = 0; i < in_byte; i++)
            out[quad * in_byte + i] = codes_field(packed, (int)(i * bits), (char)((1U << bits) - 1));
    }
}

/* Scores of n queries for the W tokens whose words stand from `codes` on. */
INLINE void score_words(const struct kg_index_scan *s, const uint8_t *codes, const int8_t *r, const float *a, const float *offset, float *scores,
                        const uint32_t bits, const uint32_t n)
{
    wide_sum sums[ATTEND_BLOCK];
#pragma GCC unroll 8
    for (uint32_t i = 0; i < n; i++)
        sums[i] = sum_zero();
    for (uint32_t first = 0; first < s->form->words; first += 8) {
        wide_codes c[8];
        load_words(codes, first, s->form->words, bits, c);
#pragma GCC unroll 8
        for (uint32_t i = 0; i < n; i++)
            sums[i] = words_dot(sums[i], c, r + (size_t)i * s->form->positions + (size_t)4 * first);
    }
#pragma GCC unroll 8
    for (uint32_t i = 0; i < n; i++)
        w_store(scores + (size_t)i * s->stride, w_fma(w_set(a[i]), w_of_sum(sums[i]), w_set(offset[i])));
}

INLINE void scan_queries(const struct kg_index_scan *s, const struct page_scales *page, uint32_t first, const uint32_t bits, const uint32_t n)
{
    int8_t r[ATTEND_BLOCK * KG_HEAD_MAX];
    float a[ATTEND_BLOCK], offset[ATTEND_BLOCK];
    const uint32_t positions = s->form->positions;
    for (uint32_t i = 0; i < n; i++)
        round_query(page, s->q + (size_t)(first + i) * positions, positions, r + (size_t)i * positions, &a[i], &offset[i]);
    for (uint32_t t = 0; t < KG_PAGE; t += W)
        score_words(s, s->index + 3 * (size_t)positions + t / 16 * 64 + (size_t)(t % 16) * 4, r, a, offset,
                    s->scores + (size_t)first * s->stride + t, bits, n);
}

INLINE void scan_page(const struct kg_index_scan *s, const uint32_t bits)
{
    struct page_scales page;
    load_scales(s, &page);
    for (uint32_t i = 0; i < s->queries; i += ATTEND_BLOCK) {
        const uint32_t n = s->queries - i < ATTEND_BLOCK ? s->queries - i : ATTEND_BLOCK;
        BY_BLOCK(n, scan_queries, s, &page, i, bits)
    }
}

static void index_scan(const struct kg_index_scan *s)
{
    if (s->form->bits == 2)
        scan_page(s, 2);
    else if (s->form->bits == 1)
        scan_page(s, 1);
    else
        scan_page(s, 4);
}
