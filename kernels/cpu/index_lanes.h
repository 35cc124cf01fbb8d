/* The key index: building a page's, and scores of queries by it, for the instruction set of the including file.
 *
 * A score is fma(a, (float)(sum of r c), q.m - reference), with a = max |q step| / 127 and q.m summed in one chain of fused
 * products in each of 4 lanes, which are added in the end. Sums of weights grow in 16 lanes, page after page. */

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
        memcpy(out + form->scales + 2 * (size_t)p, &m[d], 2);
        out[form->scales + 2 * (size_t)form->positions + p] = e[d];
    }
    for (uint32_t t = 0; t < tokens; t++) {
        float key[KG_HEAD_MAX + 16];
        for (uint32_t d = 0; d < n; d += 16)
            v_store(key + d, load_row(keys + (size_t)t * n, d, n));
        for (uint32_t d = 0; d < n; d++) {
            if (!e[d])
                continue;
            const double code = nearbyint(((double)key[d] - (double)low[d]) / form->step[e[d]]);
            out[kg_index_code_at(d / in_byte, t)] |= (uint8_t)((uint32_t)(code < levels ? code : levels) << (d % in_byte * form->bits));
        }
    }
    return true;
}

/* 2^x within 1.02e-4 of it (the coefficients are the best for that, with 1 at 0); 2^-126 below -126, infinite from 128 on. */
INLINE vec v_exp2_coarse(vec x)
{
    vec y = v_exponent(x), f = v_fraction(y);
    vec p = v_fma(v_set(0.05500893F), f, v_set(0.24221096F));
    p = v_fma(p, f, v_set(0.69328293F));
    p = v_fma(p, f, v_set(1));
    return v_scale_whole(p, v_sub(y, f));
}

/* What the pages of a run and up to 8 queries make of each other. Words of r stand in fours, as queries do:
 * (pages, positions / 16, fours, 4 queries, 4 words). */
#define MET_QUERIES 8
#define MET_PAGES   2
struct met {
    const struct kg_index_scan *scan;
    uint32_t first, fours; /* query; of queries */
    float references[MET_QUERIES];
    int8_t r[KG_SEGMENT_PAGES * MET_QUERIES * KG_HEAD_MAX];
    float a[KG_SEGMENT_PAGES][MET_QUERIES], offset[KG_SEGMENT_PAGES][MET_QUERIES];
};

/* a = largest / 127 and its inverse; both 0 where that would be infinite. */
INLINE void invert(float a[8], float inverse[8], const float largest[8])
{
    __m256 x = _mm256_loadu_ps(largest), some = _mm256_cmp_ps(x, _mm256_set1_ps(1e-35F), _CMP_GE_OQ);
    _mm256_storeu_ps(a, _mm256_and_ps(some, _mm256_mul_ps(x, _mm256_set1_ps(1.0F / 127))));
    _mm256_storeu_ps(inverse, _mm256_and_ps(some, _mm256_div_ps(_mm256_set1_ps(127), x)));
}

/* Rounding: numbers up to 2^22 have no bits behind the point once this is added, and their lowest byte stays. */
#define WHOLE 12582912.0F

/* r of queries for a page: products of q and step, y, divided by a, rounded, as bytes. */
INLINE void round_page(int8_t *r, const float *y, const float inverse[8], const uint32_t positions, const uint32_t fours)
{
#pragma GCC unroll 2
    for (uint32_t k = 0; k < fours; k++) {
        vec spread = v_spread_4(inverse + (size_t)4 * k);
#pragma GCC unroll 4
        for (uint32_t p = 0; p < positions; p += 16) {
            vec x[4];
#pragma GCC unroll 4
            for (uint32_t b = 0; b < 4; b++)
                x[b] = v_fma(v_load(y + (size_t)k * 4 * positions + (size_t)4 * p + (size_t)16 * b), spread, v_set(WHOLE));
            v_store_words(r + (size_t)p * 4 * fours + (size_t)64 * k, x);
        }
    }
}

/* n pages from `page` on: together, since each is one long chain of operations. */
INLINE void meet_pages(struct met *met, uint32_t page, const uint32_t positions, const uint32_t fours, const uint32_t n)
{
    const struct kg_index_scan *s = met->scan;
    const float *q = s->q + (size_t)met->first * positions;
    float m[MET_PAGES][KG_HEAD_MAX], step[MET_PAGES][KG_HEAD_MAX], y[MET_PAGES][MET_QUERIES * KG_HEAD_MAX];
    float largest[MET_PAGES][8], inverse[MET_PAGES][8];
    vec most[MET_PAGES][2], sums[MET_PAGES][2];
#pragma GCC unroll 2
    for (uint32_t i = 0; i < n; i++) {
        const uint8_t *scales = s->index[page + i] + s->form->scales;
        most[i][0] = most[i][1] = sums[i][0] = sums[i][1] = v_set(0);
#pragma GCC unroll 4
        for (uint32_t p = 0; p < positions; p += 16) {
            v_store(m[i] + p, v_load_f16((const uint16_t *)(const void *)scales + p));
            v_store(step[i] + p, v_step(scales + 2 * (size_t)positions + p));
        }
    }
#pragma GCC unroll 4
    for (uint32_t p = 0; p < positions; p += 4) {
#pragma GCC unroll 2
        for (uint32_t k = 0; k < fours; k++) {
            vec x = v_load(q + (size_t)k * 4 * positions + (size_t)4 * p);
#pragma GCC unroll 2
            for (uint32_t i = 0; i < n; i++) {
                vec stepped = v_mul(x, v_repeat_4(step[i] + p));
                v_store(y[i] + (size_t)k * 4 * positions + (size_t)4 * p, stepped);
                most[i][k] = v_max_abs(stepped, most[i][k]);
                sums[i][k] = v_fma(x, v_repeat_4(m[i] + p), sums[i][k]);
            }
        }
    }
#pragma GCC unroll 2
    for (uint32_t i = 0; i < n; i++) {
        v_highest_4(largest[i], most[i]);
        v_sum_4(met->offset[page + i], sums[i]);
        invert(met->a[page + i], inverse[i], largest[i]);
        for (uint32_t k = 0; k < MET_QUERIES; k++)
            met->offset[page + i][k] -= met->references[k];
    }
#pragma GCC unroll 2
    for (uint32_t i = 0; i < n; i++)
        round_page(met->r + (size_t)(page + i) * 4 * fours * positions, y[i], inverse[i], positions, fours);
}

/* Functions of their own for each number of queries, so that the compiler keeps their registers apart. */
#define APART static __attribute__((noinline)) void

#define MEET(fours)                                                              \
    APART meet_##fours(struct met *met)                                          \
    {                                                                            \
        const uint32_t positions = met->scan->form->positions;                   \
        uint32_t page = 0;                                                       \
        for (; positions == 64 && page + MET_PAGES <= met->scan->pages; page += MET_PAGES) \
            meet_pages(met, page, 64, fours, MET_PAGES);                         \
        for (; page < met->scan->pages; page++)                                  \
            meet_pages(met, page, positions, fours, 1);                          \
    }
MEET(1)
MEET(2)
#undef MEET

/* Adds up 2^score of a page's slots for one query. */
INLINE void add_weights(const struct met *met, const float *scores, uint32_t query)
{
    float *sums = met->scan->sums + (size_t)query * 16;
    v_store(sums, v_add(v_add(v_load(sums), v_exp2_coarse(v_load(scores))), v_exp2_coarse(v_load(scores + 16))));
}

/* Lanes of x for slots begin .. end-1, 0 for others; the first lane is slot t. */
INLINE vec v_between(vec x, uint32_t t, uint32_t begin, uint32_t end)
{
    const uint32_t first = begin > t ? begin - t : 0, last = end > t ? end - t : 0;
    x = v_first(last < 16 ? last : 16, x, v_set(0));
    return v_first(first < 16 ? first : 16, v_set(0), x);
}

/* The same with a soft cap or for some of the slots only. */
static void cap_and_add_weights(const struct met *met, float *scores, uint32_t query)
{
    const struct kg_index_scan *s = met->scan;
    const struct kg_slots slots = s->ranges ? s->ranges[query] : (struct kg_slots){ 0, KG_PAGE };
    float *sums = s->sums + (size_t)query * 16;
    vec sum = v_load(sums);
    for (uint32_t t = 0; t < KG_PAGE; t += 16) {
        vec x = v_load(scores + t);
        if (s->soft_cap > 0) {
            x = v_mul(v_tanh(v_div(x, v_set(s->soft_cap))), v_set(s->soft_cap * KG_LOG2_E));
            x = v_sub(x, v_set(s->references[query]));
            v_store(scores + t, x);
        }
        sum = v_add(sum, v_between(v_exp2_coarse(x), t, slots.begin, slots.end));
    }
    v_store(sums, sum);
}

/* Scores of n queries, from the i-th of those that met, for the W tokens of a page whose words stand from `codes` on. */
INLINE void score_words(const struct met *met, uint32_t i, const uint8_t *codes, uint32_t page, float *scores, const uint32_t bits, const uint32_t n)
{
    const struct kg_index_form *form = met->scan->form;
    const uint32_t in_byte = 8 / bits;
    const size_t set = (size_t)64 * met->fours; /* bytes of 4 words of all queries */
    const int8_t *r = met->r + (size_t)page * 4 * met->fours * form->positions + (size_t)16 * i;
    wide_sum sums[SCORE_BLOCK];
#pragma GCC unroll 8
    for (uint32_t k = 0; k < n; k++)
        sums[k] = sum_zero();
#pragma GCC unroll 1
    for (uint32_t first = 0; first < form->words; first += 8, r += 2 * set) {
        const int8_t *fours[2] = { r, r + set };
        __asm__("" : "+r"(fours[0]), "+r"(fours[1])); /* addresses without an index, as in product_lanes.h */
        words_sum of_8[SCORE_BLOCK];
#pragma GCC unroll 8
        for (uint32_t k = 0; k < n; k++)
            of_8[k] = words_begin(sums[k]);
#pragma GCC unroll 8
        for (uint32_t quad = 0; quad < bits; quad++) { /* those behind the last word are not there, but r is 0 */
            const uint32_t at = first + quad * in_byte;
            wide_codes packed = at < form->words ? codes_load(codes + (size_t)(at / in_byte) * 128) : codes_zero();
#pragma GCC unroll 8
            for (uint32_t w = quad * in_byte; w < (quad + 1) * in_byte; w++) {
                wide_codes code = codes_field(packed, (int)(w % in_byte * bits), (char)((1U << bits) - 1));
#pragma GCC unroll 8
                for (uint32_t k = 0; k < n; k++)
                    of_8[k] = words_add(of_8[k], code, fours[w / 4] + (size_t)16 * k + (size_t)4 * (w % 4));
            }
        }
#pragma GCC unroll 8
        for (uint32_t k = 0; k < n; k++)
            sums[k] = words_end(sums[k], of_8[k]);
    }
#pragma GCC unroll 8
    for (uint32_t k = 0; k < n; k++)
        w_store(scores + k * met->scan->stride, w_fma(w_set(met->a[page][i + k]), w_of_sum(sums[k]), w_set(met->offset[page][i + k])));
}

#define SCORE(bits, n)                                                                                                    \
    APART score_##bits##_##n(const struct met *met, uint32_t i, uint32_t page)                                            \
    {                                                                                                                     \
        const struct kg_index_scan *s = met->scan;                                                                        \
        float *scores = s->scores + (met->first + i) * s->stride + (size_t)page * KG_PAGE;                                \
        for (uint32_t t = 0; t < KG_PAGE; t += W)                                                                         \
            score_words(met, i, s->index[page] + (size_t)t / 16 * 64 + (size_t)(t % 16) * 4, page, scores + t, bits, n);  \
        if (s->ranges || s->soft_cap > 0) {                                                                               \
            for (uint32_t k = 0; k < n; k++)                                                                              \
                cap_and_add_weights(met, scores + k * s->stride, met->first + i + k);                                     \
        } else {                                                                                                          \
            _Pragma("GCC unroll 8") for (uint32_t k = 0; k < n; k++)                                                      \
                add_weights(met, scores + k * s->stride, met->first + i + k);                                             \
        }                                                                                                                 \
    }
#define SCORES(n) SCORE(1, n) SCORE(2, n) SCORE(4, n)
SCORES(1)
SCORES(2)
SCORES(3)
SCORES(4)
#if SCORE_BLOCK == 8
SCORES(5)
SCORES(6)
SCORES(7)
SCORES(8)
#define BY_NUMBER(name) { NULL, name##1, name##2, name##3, name##4, name##5, name##6, name##7, name##8 }
#else
#define BY_NUMBER(name) { NULL, name##1, name##2, name##3, name##4 }
#endif
static void (*const score[5][SCORE_BLOCK + 1])(const struct met *, uint32_t i, uint32_t page) = {
    [1] = BY_NUMBER(score_1_), [2] = BY_NUMBER(score_2_), [4] = BY_NUMBER(score_4_)
};
#undef SCORE
#undef SCORES
#undef BY_NUMBER

static void scan_page(const struct met *met, uint32_t page, uint32_t n)
{
    const struct kg_index_scan *s = met->scan;
    for (uint32_t line = 0; met->first == 0 && page < s->ahead_pages && line < s->form->bytes / 64; line++)
        _mm_prefetch((const char *)s->ahead[page] + (size_t)64 * line, _MM_HINT_T0);
    for (uint32_t i = 0; i < n; i += SCORE_BLOCK)
        score[s->form->bits][n - i < SCORE_BLOCK ? n - i : SCORE_BLOCK](met, i, page);
}

static void index_scan(const struct kg_index_scan *s)
{
    struct met met;
    met.scan = s;
    for (met.first = 0; met.first < s->queries; met.first += MET_QUERIES) {
        const uint32_t n = s->queries - met.first < MET_QUERIES ? s->queries - met.first : MET_QUERIES;
        for (uint32_t i = 0; i < MET_QUERIES; i++)
            met.references[i] = i < n && s->soft_cap == 0 ? s->references[met.first + i] : 0;
        met.fours = (n + 3) / 4;
        if (met.fours == 1)
            meet_1(&met);
        else
            meet_2(&met);
        for (uint32_t page = 0; page < s->pages; page++)
            scan_page(&met, page, n);
    }
}

static void sum_lanes(float *out, const float *sums, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++)
        out[i] = v_sum(v_load(sums + (size_t)16 * i));
}
