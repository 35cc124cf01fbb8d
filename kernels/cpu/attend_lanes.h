/* Attention of a few queries to one segment of keys, for the instruction set of the including file.
 *
 * A score is one chain of fused products over the elements of the head; keys stand in the lanes. A result element
 * is one chain over the keys, in their order. Slots that a query does not see may hold anything: their scores are
 * replaced and their values never touched. */

#define PAGES_AHEAD 2

/* f(..., n) with the number of queries n = 1 .. ATTEND_BLOCK as a constant, so that their sums stay in registers. */
#define CASE(n, f, ...)      \
    case n:                  \
        f(__VA_ARGS__, (n)); \
        break;
#if ATTEND_BLOCK == 8
#define BY_BLOCK(n, f, ...)                                                                                                   \
    switch (n) {                                                                                                              \
        CASE(1, f, __VA_ARGS__) CASE(2, f, __VA_ARGS__) CASE(3, f, __VA_ARGS__) CASE(4, f, __VA_ARGS__)                       \
        CASE(5, f, __VA_ARGS__) CASE(6, f, __VA_ARGS__) CASE(7, f, __VA_ARGS__) CASE(8, f, __VA_ARGS__)                       \
    }
#else
#define BY_BLOCK(n, f, ...) \
    switch (n) { CASE(1, f, __VA_ARGS__) CASE(2, f, __VA_ARGS__) }
#endif

/* Pages lie apart in memory, where no hardware foresees them, so they are fetched while others are worked on: lines
 * one by one between computations, since many at once would have to queue. */
INLINE void fetch_line(const uint16_t *page, uint32_t line)
{
    if (page)
        _mm_prefetch((const char *)page + (size_t)64 * line, _MM_HINT_T0);
}

/* tile[d][t] = key t's element d */
INLINE void transpose_keys(float *tile, const uint16_t *keys, uint32_t head_size)
{
    uint32_t d = 0;
    for (; d + 16 <= head_size; d += 16) {
        for (uint32_t t = 0; t < KG_PAGE; t += 16) {
            vec rows[16];
#pragma GCC unroll 16
            for (uint32_t r = 0; r < 16; r++)
                rows[r] = v_load_f16(keys + (size_t)(t + r) * head_size + d);
            v_store_transposed(tile + (size_t)d * KG_PAGE + t, KG_PAGE, rows);
        }
    }
    for (; d < head_size; d++) {
        uint16_t column[KG_PAGE];
        for (uint32_t t = 0; t < KG_PAGE; t++)
            column[t] = keys[(size_t)t * head_size + d];
        v_store(tile + (size_t)d * KG_PAGE, v_load_f16(column));
        v_store(tile + (size_t)d * KG_PAGE + 16, v_load_f16(column + 16));
    }
}

/* Scores of n queries for the 32 keys of a tile. A page has as many lines as a head has elements. */
INLINE void score_queries(float *scores, const float *tile, const float *q, uint32_t head_size, const uint16_t *fetch, const uint32_t n)
{
    vec low[ATTEND_BLOCK], high[ATTEND_BLOCK];
#pragma GCC unroll 8
    for (uint32_t i = 0; i < n; i++)
        low[i] = high[i] = v_set(0);
    for (uint32_t d = 0; d < head_size; d++, tile += KG_PAGE) {
        vec k0 = v_load(tile), k1 = v_load(tile + 16);
        fetch_line(fetch, d);
#pragma GCC unroll 8
        for (uint32_t i = 0; i < n; i++) {
            vec x = v_set(q[(size_t)i * head_size + d]);
            low[i] = v_fma(x, k0, low[i]);
            high[i] = v_fma(x, k1, high[i]);
        }
    }
#pragma GCC unroll 8
    for (uint32_t i = 0; i < n; i++) {
        v_store(scores + (size_t)i * KG_SEGMENT, low[i]);
        v_store(scores + (size_t)i * KG_SEGMENT + 16, high[i]);
    }
}

INLINE void score_tile(const struct kg_segment *s, uint32_t page, uint32_t pages)
{
    float *scores = s->scores + (size_t)page * KG_PAGE;
    const uint32_t ahead = page + PAGES_AHEAD;
    const uint16_t *fetch = ahead < pages ? s->keys[ahead] : s->values[ahead - pages < pages ? ahead - pages : 0];
    transpose_keys(s->tile, s->keys[page], s->head_size);
    for (uint32_t i = 0; i < s->queries; i += ATTEND_BLOCK, fetch = NULL) {
        const uint32_t n = s->queries - i < ATTEND_BLOCK ? s->queries - i : ATTEND_BLOCK;
        BY_BLOCK(n, score_queries, scores + (size_t)i * KG_SEGMENT, s->tile, s->q + (size_t)i * s->head_size, s->head_size, fetch)
    }
}

/* Scores to weights exp(s - max), in place; 0 for keys that are not seen, up to the next multiple of 16. */
INLINE void weigh(float *scores, uint32_t visible, float soft_cap, float *max, float *sum)
{
    vec highest = v_set(-INFINITY);
    for (uint32_t t = 0; t < visible; t += 16) {
        vec s = v_load(scores + t);
        if (soft_cap > 0)
            s = v_mul(v_tanh(v_div(s, v_set(soft_cap))), v_set(soft_cap));
        s = v_first(visible - t < 16 ? visible - t : 16, s, v_set(-INFINITY));
        v_store(scores + t, s);
        highest = v_max(s, highest);
    }
    *max = v_highest(highest);
    const vec m = v_set(*max);
    vec total = v_set(0);
    for (uint32_t t = 0; t < visible; t += 16) {
        vec w = v_exp(v_sub(v_load(scores + t), m));
        v_store(scores + t, w);
        total = v_add(total, w);
    }
    *sum = v_sum(total);
}

/* Adds weighted values of keys from begin to end-1, which are in one page, to `vectors` * 16 elements of n queries. */
INLINE void add_page(vec acc[ATTEND_BLOCK][2], const float *weights, const uint16_t *value, uint32_t head_size, uint32_t begin,
                     uint32_t end, const uint16_t *fetch, const uint32_t vectors, const uint32_t n)
{
    for (uint32_t t = begin; t < end; t++, value += head_size) {
        vec v[2];
        for (uint32_t line = t % KG_PAGE * head_size / 32; fetch && line < (t % KG_PAGE + 1) * head_size / 32; line++)
            fetch_line(fetch, line);
#pragma GCC unroll 2
        for (uint32_t j = 0; j < vectors; j++)
            v[j] = v_load_f16(value + (size_t)16 * j);
#pragma GCC unroll 8
        for (uint32_t k = 0; k < n; k++) {
            vec w = v_set(weights[(size_t)k * KG_SEGMENT + t]);
#pragma GCC unroll 2
            for (uint32_t j = 0; j < vectors; j++)
                acc[k][j] = v_fma(w, v[j], acc[k][j]);
        }
    }
}

/* The same for keys of all pages, elements from d on of queries from i on. */
INLINE void add_values(const struct kg_segment *s, uint32_t i, uint32_t d, uint32_t begin, uint32_t end, const uint32_t vectors,
                       const uint32_t n)
{
    vec acc[ATTEND_BLOCK][2];
    float *out = s->acc + (size_t)i * s->padded_size + d;
#pragma GCC unroll 8
    for (uint32_t k = 0; k < n; k++) {
#pragma GCC unroll 2
        for (uint32_t j = 0; j < vectors; j++)
            acc[k][j] = begin ? v_load(out + (size_t)k * s->padded_size + (size_t)16 * j) : v_set(0);
    }
    for (uint32_t t = begin; t < end;) {
        const uint32_t page = t / KG_PAGE, page_end = (page + 1) * KG_PAGE < end ? (page + 1) * KG_PAGE : end;
        const uint16_t *value = s->values[page] + (size_t)(t % KG_PAGE) * s->head_size + d;
        const uint16_t *fetch = i == 0 && d == 0 && page + PAGES_AHEAD < KG_SEGMENT_PAGES ? s->values[page + PAGES_AHEAD] : NULL;
        add_page(acc, s->scores + (size_t)i * KG_SEGMENT, value, s->head_size, t, page_end, fetch, vectors, n);
        t = page_end;
    }
#pragma GCC unroll 8
    for (uint32_t k = 0; k < n; k++) {
#pragma GCC unroll 2
        for (uint32_t j = 0; j < vectors; j++)
            v_store(out + (size_t)k * s->padded_size + (size_t)16 * j, acc[k][j]);
    }
}

/* The elements of a head that do not fill a vector. */
static void add_last_values(const struct kg_segment *s, uint32_t i, uint32_t d)
{
    vec acc = v_set(0);
    for (uint32_t t = 0; t < s->visible[i]; t++) {
        uint16_t last[16] = { 0 };
        memcpy(last, s->values[t / KG_PAGE] + (size_t)(t % KG_PAGE) * s->head_size + d, (s->head_size - d) * sizeof *last);
        acc = v_fma(v_set(s->scores[(size_t)i * KG_SEGMENT + t]), v_load_f16(last), acc);
    }
    v_store(s->acc + (size_t)i * s->padded_size + d, acc);
}

/* n queries together as far as all of them see, then each alone. */
INLINE void add_block(const struct kg_segment *s, uint32_t i, const uint32_t n)
{
    uint32_t common = s->visible[i], d = 0;
    for (uint32_t k = 1; k < n; k++)
        common = s->visible[i + k] < common ? s->visible[i + k] : common;
    for (; d + 16 <= s->head_size; d += 16 * (d + 32 <= s->head_size ? 2 : 1)) {
        const bool two = d + 32 <= s->head_size;
        if (two)
            add_values(s, i, d, 0, common, 2, n);
        else
            add_values(s, i, d, 0, common, 1, n);
        for (uint32_t k = 0; k < n; k++) {
            if (s->visible[i + k] > common && two)
                add_values(s, i + k, d, common, s->visible[i + k], 2, 1);
            else if (s->visible[i + k] > common)
                add_values(s, i + k, d, common, s->visible[i + k], 1, 1);
        }
    }
    for (uint32_t k = 0; d < s->head_size && k < n; k++)
        add_last_values(s, i + k, d);
}

static void segment(const struct kg_segment *s)
{
    uint32_t most = 0;
    for (uint32_t k = 0; k < s->queries; k++)
        most = s->visible[k] > most ? s->visible[k] : most;
    const uint32_t pages = (most + KG_PAGE - 1) / KG_PAGE;
    for (uint32_t page = 0; page < PAGES_AHEAD && page < pages; page++) {
        for (uint32_t line = 0; line < s->head_size; line++)
            fetch_line(s->keys[page], line);
    }
    for (uint32_t page = 0; page < pages; page++)
        score_tile(s, page, pages);
    for (uint32_t k = 0; k < s->queries; k++)
        weigh(s->scores + (size_t)k * KG_SEGMENT, s->visible[k], s->soft_cap, &s->max[k], &s->sum[k]);
    for (uint32_t i = 0; i < s->queries; i += ATTEND_BLOCK) {
        const uint32_t n = s->queries - i < ATTEND_BLOCK ? s->queries - i : ATTEND_BLOCK;
        BY_BLOCK(n, add_block, s, i)
    }
}

static void join(float *max, float *sum, float *acc, float m, float s, const float *a, uint32_t n)
{
    if (*sum == 0) {
        *max = m;
        *sum = s;
        memcpy(acc, a, n * sizeof *acc);
        return;
    }
    const float higher = m > *max ? m : *max;
    float factors[16] = { *max - higher, m - higher };
    v_store(factors, v_exp(v_load(factors)));
    *max = higher;
    *sum = *sum * factors[0] + s * factors[1];
    for (uint32_t d = 0; d < n; d += 16)
        v_store(acc + d, v_fma(v_load(a + d), v_set(factors[1]), v_mul(v_load(acc + d), v_set(factors[0]))));
}

static void divide(float *out, const float *acc, float sum, uint32_t n)
{
    const vec s = v_set(sum);
    uint32_t d = 0;
    for (; d + 16 <= n; d += 16)
        v_store(out + d, v_div(v_load(acc + d), s));
    if (d < n)
        v_store_n(out + d, n - d, v_div(v_load(acc + d), s));
}
