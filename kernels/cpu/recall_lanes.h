/* Attention to listed keys, and the choice of some by their ranks, for the instruction set of the including file.
 *
 * Keys stand anywhere, so a score is a chain of fused products in each of 16 lanes, which are added in the end; a result
 * element is one chain over the keys, in their order. */

#define KEYS_AHEAD 8

INLINE void fetch_row(const uint16_t *row, uint32_t head_size)
{
    for (uint32_t d = 0; d < head_size; d += 32)
        _mm_prefetch((const char *)(row + d), _MM_HINT_T0);
}

INLINE void score_key(const struct kg_listed *l, uint32_t t, uint32_t first, const uint32_t n)
{
    vec sums[ATTEND_BLOCK];
#pragma GCC unroll 8
    for (uint32_t i = 0; i < n; i++)
        sums[i] = v_set(0);
    const float *q = l->q + (size_t)first * l->head_size;
    uint32_t d = 0;
    for (; d + 16 <= l->head_size; d += 16) {
        vec k = v_load_f16(l->keys[t] + d);
#pragma GCC unroll 8
        for (uint32_t i = 0; i < n; i++)
            sums[i] = v_fma(v_load(q + (size_t)i * l->head_size + d), k, sums[i]);
    }
    if (d < l->head_size) {
        vec k = load_row(l->keys[t], d, l->head_size);
#pragma GCC unroll 8
        for (uint32_t i = 0; i < n; i++)
            sums[i] = v_fma(v_load_n(q + (size_t)i * l->head_size + d, l->head_size - d), k, sums[i]);
    }
#pragma GCC unroll 8
    for (uint32_t i = 0; i < n; i++)
        l->scores[(size_t)(first + i) * l->stride + t] = v_sum(sums[i]);
}

INLINE void score_keys(const struct kg_listed *l, uint32_t first, const uint32_t n)
{
    for (uint32_t t = 0; t < l->n; t++) {
        if (first == 0 && t + KEYS_AHEAD < l->n)
            fetch_row(l->keys[t + KEYS_AHEAD], l->head_size);
        if (first == 0 && l->values)
            fetch_row(l->values[t], l->head_size);
        score_key(l, t, first, n);
    }
}

static void listed_scores(const struct kg_listed *l)
{
    for (uint32_t i = 0; i < l->queries; i += ATTEND_BLOCK) {
        const uint32_t n = l->queries - i < ATTEND_BLOCK ? l->queries - i : ATTEND_BLOCK;
        BY_BLOCK(n, score_keys, l, i)
    }
}

static void listed_weights(const struct kg_listed *l, float soft_cap, float *max, float *sum)
{
    for (uint32_t i = 0; i < l->queries; i++)
        weigh(l->scores + (size_t)i * l->stride, l->n, soft_cap, &max[i], &sum[i]);
}

/* 16 elements from d on of the sums of n queries. */
INLINE void add_listed(const struct kg_listed *l, float *acc, uint32_t padded, uint32_t first, uint32_t d, const uint32_t n)
{
    vec sums[ATTEND_BLOCK];
#pragma GCC unroll 8
    for (uint32_t i = 0; i < n; i++)
        sums[i] = v_set(0);
    const float *weights = l->scores + (size_t)first * l->stride;
    for (uint32_t t = 0; t < l->n; t++) {
        vec v = load_row(l->values[t], d, l->head_size);
#pragma GCC unroll 8
        for (uint32_t i = 0; i < n; i++)
            sums[i] = v_fma(v_set(weights[(size_t)i * l->stride + t]), v, sums[i]);
    }
#pragma GCC unroll 8
    for (uint32_t i = 0; i < n; i++)
        v_store(acc + (size_t)(first + i) * padded + d, sums[i]);
}

static void listed_values(const struct kg_listed *l, float *acc, uint32_t padded)
{
    for (uint32_t i = 0; i < l->queries; i += ATTEND_BLOCK) {
        const uint32_t n = l->queries - i < ATTEND_BLOCK ? l->queries - i : ATTEND_BLOCK;
        for (uint32_t d = 0; d < l->head_size; d += 16) {
            BY_BLOCK(n, add_listed, l, acc, padded, i, d)
        }
    }
}

static void sum_exp(float *scores, uint32_t n, float soft_cap, float *max, float *sum)
{
    vec highest = v_set(-INFINITY), total = v_set(0);
    for (uint32_t t = 0; t < n; t += 16) {
        vec s = v_load(scores + t);
        if (soft_cap > 0) {
            s = v_mul(v_tanh(v_div(s, v_set(soft_cap))), v_set(soft_cap));
            v_store(scores + t, s);
        }
        highest = v_max(v_first(n - t < 16 ? n - t : 16, s, v_set(-INFINITY)), highest);
    }
    *max = v_highest(highest);
    for (uint32_t t = 0; t < n; t += 16) {
        vec w = v_exp(v_sub(v_load(scores + t), v_set(*max)));
        total = v_add(total, v_first(n - t < 16 ? n - t : 16, w, v_set(0)));
    }
    *sum = v_sum(total);
}

static float join_sums(const float *max, const float *sum, uint32_t n, float *most)
{
    vec highest = v_set(-INFINITY), total = v_set(0);
    for (uint32_t i = 0; i < n; i += 16)
        highest = v_max(v_first(n - i < 16 ? n - i : 16, v_load(max + i), v_set(-INFINITY)), highest);
    *most = v_highest(highest);
    for (uint32_t i = 0; i < n; i += 16) {
        vec w = v_mul(v_load(sum + i), v_exp(v_sub(v_load(max + i), v_set(*most))));
        total = v_add(total, v_first(n - i < 16 ? n - i : 16, w, v_set(0)));
    }
    return v_sum(total);
}

static void rank(float *out, const float *scores, size_t stride, const float *log_sums, uint32_t queries, uint32_t n)
{
    for (uint32_t t = 0; t < n; t += 16) {
        vec best = v_set(-FLT_MAX);
        for (uint32_t i = 0; i < queries; i++)
            best = v_max(v_sub(v_load(scores + i * stride + t), v_set(log_sums[i])), best);
        v_store(out + t, best);
    }
}

static void maxima(float *out, const float *x, uint32_t vectors, uint32_t each)
{
    for (uint32_t v = 0; v < vectors; out += 16) {
        vec most = v_set(-INFINITY);
        for (const uint32_t end = v + each < vectors ? v + each : vectors; v < end; v++)
            most = v_max(v_load(x + (size_t)16 * v), most);
        v_store(out, most);
    }
}

static uint32_t count_above(const float *x, uint32_t vectors, float least)
{
    uint32_t count = 0;
    for (uint32_t v = 0; v < vectors; v++)
        count += (uint32_t)__builtin_popcount(v_ge_bits(v_load(x + (size_t)16 * v), v_set(least)));
    return count;
}
