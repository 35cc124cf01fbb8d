/* Operations on rows of activations, for the instruction set of the including file. */

/* e^x within 2 ulp; 0 below -87.3, where results would not be normal numbers; infinite above 88.37; NaN stays.
 * x = n ln 2 + r, |r| <= ln 2 / 2; e^r = 1 + r + r^2 P(r) with the coefficients of Cephes' expf. */
INLINE vec v_exp(vec x)
{
    const vec low = v_set(-87.33654F);
    vec y = v_max(low, v_min(v_set(89), x));
    vec n = v_round(v_mul(y, v_set(1.44269504F)));
    vec r = v_fnma(n, v_set(0.693359375F), y);
    r = v_fnma(n, v_set(-2.12194440e-4F), r);
    vec p = v_fma(v_set(1.9875691500e-4F), r, v_set(1.3981999507e-3F));
    p = v_fma(p, r, v_set(8.3334519073e-3F));
    p = v_fma(p, r, v_set(4.1665795894e-2F));
    p = v_fma(p, r, v_set(1.6666665459e-1F));
    p = v_fma(p, r, v_set(5.0000001201e-1F));
    p = v_add(v_fma(p, v_mul(r, r), r), v_set(1));
    return v_unless_below(x, low, v_scale(p, n));
}

/* tanh |x| = (1 - e) / (1 + e), e = exp(-2 |x|) */
INLINE vec v_tanh(vec x)
{
    vec e = v_exp(v_mul(v_set(-2), v_abs(x)));
    return v_copysign(v_div(v_sub(v_set(1), e), v_add(v_set(1), e)), x);
}

static void rmsnorm(float *out, const float *x, const float *weight, float eps, uint32_t cols)
{
    vec squares = v_set(0);
    uint32_t c = 0;
    for (; c + 16 <= cols; c += 16)
        squares = v_fma(v_load(x + c), v_load(x + c), squares);
    const uint32_t rest = cols - c;
    if (rest) {
        vec last = v_load_n(x + c, rest);
        squares = v_fma(last, last, squares);
    }
    const vec factor = v_set(1 / sqrtf(v_sum(squares) / (float)cols + eps));
    for (c = 0; c + 16 <= cols; c += 16)
        v_store(out + c, v_mul(v_mul(v_load(x + c), factor), v_load(weight + c)));
    if (rest)
        v_store_n(out + c, rest, v_mul(v_mul(v_load_n(x + c, rest), factor), v_load_n(weight + c, rest)));
}

static void add(float *x, const float *y, size_t n)
{
    size_t i = 0;
    for (; i + 16 <= n; i += 16)
        v_store(x + i, v_add(v_load(x + i), v_load(y + i)));
    for (; i < n; i++)
        x[i] += y[i];
}

INLINE vec silu_times(vec gate, vec up)
{
    vec e = v_exp(v_sub(v_set(0), gate));
    return v_mul(v_div(gate, v_add(v_set(1), e)), up);
}

static void silu_mul(float *out, const float *gate, const float *up, size_t n)
{
    size_t i = 0;
    for (; i + 16 <= n; i += 16)
        v_store(out + i, silu_times(v_load(gate + i), v_load(up + i)));
    const unsigned rest = (unsigned)(n - i);
    if (rest)
        v_store_n(out + i, rest, silu_times(v_load_n(gate + i, rest), v_load_n(up + i, rest)));
}

/* a' = a cos - b sin, b' = b cos + a sin, both with the second product fused. */
INLINE void rotate_halves(float *out, const float *x, uint32_t pairs, const float *cosines, const float *sines, vec factor)
{
    uint32_t j = 0;
    for (; j < pairs; j += 16) {
        const unsigned n = pairs - j < 16 ? pairs - j : 16;
        vec a = v_mul(v_load_n(x + j, n), factor), b = v_mul(v_load_n(x + pairs + j, n), factor);
        vec cosine = v_load_n(cosines + j, n), sine = v_load_n(sines + j, n);
        v_store_n(out + j, n, v_fnma(b, sine, v_mul(a, cosine)));
        v_store_n(out + pairs + j, n, v_fma(a, sine, v_mul(b, cosine)));
    }
}

INLINE void rotate_neighbours(float *out, const float *x, uint32_t pairs, const float *cosines, const float *sines, vec factor)
{
    uint32_t j = 0;
    for (; j + 8 <= pairs; j += 8) {
        vec ab = v_mul(v_load(x + 2 * j), factor);
        vec sine = v_negate_even(v_twice(sines + j)); /* -sin, sin, -sin, ... */
        v_store(out + 2 * j, v_fma(v_swap_pairs(ab), sine, v_mul(ab, v_twice(cosines + j))));
    }
    if (j == pairs)
        return;
    const unsigned n = pairs - j;
    float cosine8[8] = { 0 }, sine8[8] = { 0 };
    memcpy(cosine8, cosines + j, n * sizeof *cosine8);
    memcpy(sine8, sines + j, n * sizeof *sine8);
    vec ab = v_mul(v_load_n(x + 2 * j, 2 * n), factor);
    v_store_n(out + 2 * j, 2 * n, v_fma(v_swap_pairs(ab), v_negate_even(v_twice(sine8)), v_mul(ab, v_twice(cosine8))));
}

static void rotate(float *out, const float *x, uint32_t heads, uint32_t head_size, enum kg_rope_layout layout, uint32_t pairs,
                   const float *cosines, const float *sines, float factor)
{
    const vec f = v_set(factor);
    const uint32_t turned = layout == KG_ROPE_NONE ? 0 : 2 * pairs;
    for (uint32_t h = 0; h < heads; h++, out += head_size, x += head_size) {
        if (layout == KG_ROPE_HALVES)
            rotate_halves(out, x, pairs, cosines, sines, f);
        else if (layout == KG_ROPE_INTERLEAVED)
            rotate_neighbours(out, x, pairs, cosines, sines, f);
        for (uint32_t d = turned; d < head_size; d += 16) {
            const unsigned n = head_size - d < 16 ? head_size - d : 16;
            v_store_n(out + d, n, v_mul(v_load_n(x + d, n), f));
        }
    }
}

static void to_f16(uint16_t *out, const float *x, size_t n)
{
    size_t i = 0;
    for (; i + 16 <= n; i += 16)
        v_store_f16(out + i, v_load(x + i));
    if (i == n)
        return;
    uint16_t last[16];
    v_store_f16(last, v_load_n(x + i, (unsigned)(n - i)));
    memcpy(out + i, last, (n - i) * sizeof *out);
}

static void expand_q8_0(uint16_t *out, const uint8_t *blocks, size_t n)
{
    for (size_t i = 0; i < n; i += 32, blocks += 34) {
        uint16_t d;
        memcpy(&d, blocks, sizeof d);
        const vec scale = v_set(_cvtsh_ss(d));
        v_store_f16(out + i, v_mul(scale, v_load_s8(blocks + 2)));
        v_store_f16(out + i + 16, v_mul(scale, v_load_s8(blocks + 18)));
    }
}

static uint32_t find_above(const float *x, uint32_t begin, uint32_t n, float least, uint32_t *ids, uint32_t *count, uint32_t capacity)
{
    const vec limit = v_set(least);
    uint32_t i = begin, found = *count;
    for (; i + 16 <= n; i += 16) {
        const unsigned bits = v_ge_bits(v_load(x + i), limit);
        if (bits && found + 16 > capacity)
            break;
        if (found + 16 <= capacity)
            found += v_store_found(ids + found, i, bits);
    }
    for (; i + 16 > n && i < n; i++) {
        if (!(x[i] >= least))
            continue;
        if (found == capacity)
            break;
        ids[found++] = i;
    }
    *count = found;
    return i;
}

static uint64_t read_all(const void *memory, size_t bytes)
{
    const char *p = memory;
    word a = word_load(p), b = a, c = a, d = a;
    for (size_t i = 0; i < bytes; i += 256) {
        for (size_t k = 0; k < 256; k += 4 * W * sizeof(float)) {
            a = word_xor(a, word_load(p + i + k));
            b = word_xor(b, word_load(p + i + k + W * sizeof(float)));
            c = word_xor(c, word_load(p + i + k + 2 * W * sizeof(float)));
            d = word_xor(d, word_load(p + i + k + 3 * W * sizeof(float)));
        }
    }
    return word_fold(word_xor(word_xor(a, b), word_xor(c, d)));
}
