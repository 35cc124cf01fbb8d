/* Attention to listed keys, and the choice of some by their ranks, for the instruction set of the including file.
 *
 * Keys stand anywhere, so a score is a chain of fused products in each of 4 lanes, which are added in the end; a result
 * element is one chain over the keys, in their order. */

INLINE void fetch_row(const uint16_t *row, uint32_t head_size)
{
    for (uint32_t d = 0; d < head_size; d += 32)
        _mm_prefetch((const char *)(row + d), _MM_HINT_T0);
}

/* Scores of 4 keys, from the t-th on as far as they are there, for up to 8 queries in fours. */
INLINE void score_keys(const struct kg_listed *l, uint32_t t, uint32_t first, const uint32_t head_size, const uint32_t fours)
{
    const float *q = l->q + (size_t)first * head_size;
    float keys[4][KG_HEAD_MAX];
    vec sums[2][4];
#pragma GCC unroll 4
    for (uint32_t i = 0; i < 4; i++) {
        const uint16_t *key = l->keys[t + i < l->n ? t + i : l->n - 1];
        sums[0][i] = sums[1][i] = v_set(0);
#pragma GCC unroll 8
        for (uint32_t d = 0; d < head_size; d += 16)
            v_store(keys[i] + d, load_row(key, d, head_size));
    }
#pragma GCC unroll 4
    for (uint32_t d = 0; d < head_size; d += 4) {
        vec k[4];
#pragma GCC unroll 4
        for (uint32_t i = 0; i < 4; i++)
            k[i] = v_repeat_4(keys[i] + d);
#pragma GCC unroll 2
        for (uint32_t j = 0; j < fours; j++) {
            vec x = v_load(q + (size_t)j * 4 * head_size + (size_t)4 * d);
#pragma GCC unroll 4
            for (uint32_t i = 0; i < 4; i++)
                sums[j][i] = v_fma(x, k[i], sums[j][i]);
        }
    }
    for (uint32_t j = 0; j < fours; j++) {
        const uint32_t at = first + 4 * j, left = l->queries - at;
        v_store_sums_4(l->scores + at * l->stride + t, l->stride, left < 4 ? left : 4, sums[j]);
    }
}

INLINE void score_all_keys(const struct kg_listed *l, uint32_t first, const uint32_t fours)
{
    for (uint32_t t = 0; t < l->n; t += 4) {
        for (uint32_t i = t; i < t + 4 && i < l->n && first == 0; i++) {
            if (i + KG_KEYS_AHEAD < l->n + l->following)
                fetch_row(l->keys[i + KG_KEYS_AHEAD], l->head_size);
            if (l->values)
                fetch_row(l->values[i], l->head_size);
        }
        if (l->head_size == 64)
            score_keys(l, t, first, 64, fours);
        else if (l->head_size == 128)
            score_keys(l, t, first, 128, fours);
        else
            score_keys(l, t, first, l->head_size, fours);
    }
}

static void listed_scores(const struct kg_listed *l)
{
    for (uint32_t first = 0; first < l->queries; first += 8) {
        if (l->queries - first > 4)
            score_all_keys(l, first, 2);
        else
            score_all_keys(l, first, 1);
    }
}

static void listed_weights(const struct kg_listed *l, float soft_cap, float *max, float *sum)
{
    for (uint32_t i = 0; i < l->queries; i++)
        weigh(l->scores + (size_t)i * l->stride, l->n, soft_cap, &max[i], &sum[i]);
}

/* `vectors` * 16 elements from d on of the sums of n queries. */
INLINE void add_listed(const struct kg_listed *l, float *acc, uint32_t padded, uint32_t first, uint32_t d, const uint32_t vectors, const uint32_t n)
{
    vec sums[ATTEND_BLOCK][2];
#pragma GCC unroll 8
    for (uint32_t i = 0; i < n; i++)
        sums[i][0] = sums[i][1] = v_set(0);
    const float *weights = l->scores + (size_t)first * l->stride;
    for (uint32_t t = 0; t < l->n; t++) {
        vec v[2];
#pragma GCC unroll 2
        for (uint32_t j = 0; j < vectors; j++)
            v[j] = load_row(l->values[t], d + 16 * j, l->head_size);
#pragma GCC unroll 8
        for (uint32_t i = 0; i < n; i++) {
            vec w = v_set(weights[(size_t)i * l->stride + t]);
#pragma GCC unroll 2
            for (uint32_t j = 0; j < vectors; j++)
                sums[i][j] = v_fma(w, v[j], sums[i][j]);
        }
    }
#pragma GCC unroll 8
    for (uint32_t i = 0; i < n; i++)
#pragma GCC unroll 2
        for (uint32_t j = 0; j < vectors; j++)
            v_store(acc + (size_t)(first + i) * padded + d + (size_t)16 * j, sums[i][j]);
}

INLINE void add_all_listed(const struct kg_listed *l, float *acc, uint32_t padded, uint32_t first, const uint32_t n)
{
    uint32_t d = 0;
    for (; d + 32 <= l->head_size; d += 32)
        add_listed(l, acc, padded, first, d, 2, n);
    for (; d < l->head_size; d += 16)
        add_listed(l, acc, padded, first, d, 1, n);
}

static void listed_values(const struct kg_listed *l, float *acc, uint32_t padded)
{
    for (uint32_t i = 0; i < l->queries; i += ATTEND_BLOCK) {
        const uint32_t n = l->queries - i < ATTEND_BLOCK ? l->queries - i : ATTEND_BLOCK;
        BY_BLOCK(n, add_all_listed, l, acc, padded, i)
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
