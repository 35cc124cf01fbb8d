/* Products of activations with packed weights (packed.h), for the instruction set of the including file.
 *
 * For every result and every step of 32 columns, in this order whatever the number of rows:
 *     t = (float)(sum of (u - zero) q) * scale of the weights;  sum = fma(t, scale of x, sum)
 *     types with a minimum:  sum = fma(minimum + zero * scale of the weights, sum of x, sum)
 * The integer sum starts from -zero * (sum of q), so that codes stay unsigned. Types with a minimum have a zero as
 * well, the middle of their codes: then the error of rounding x meets numbers around 0, and what they have in
 * common is multiplied by the exact sum of x. Q6_K has t = (float)(first 16) * scale 0, then
 * t = fma((float)(last 16), scale 1, t).
 *
 * An integer sum that starts KG_LIFT higher is, as bits, the number KG_LIFTED + sum; so the first product is computed as
 * fma(KG_LIFTED + sum, scale, -KG_LIFTED * scale), which saves the conversion. It is the same number: the last term is
 * exact, since no scale has more than 19 bits, and what is rounded is the exact product. */

/* Weights of one step for W lanes. */
struct step {
    wide_codes codes[8];
    wide scale[2], lift, middle; /* lift = -KG_LIFTED times scale[0] */
};

/* What is constant over a record of the K types. */
struct record_scales {
    wide d, dmin;
};

INLINE int has_minimum(enum kg_type t) { return t == KG_Q4_1 || t == KG_Q5_1 || t == KG_Q4_K || t == KG_Q5_K; }
INLINE int is_k(enum kg_type t) { return t == KG_Q4_K || t == KG_Q5_K || t == KG_Q6_K; }

INLINE void load_codes(enum kg_type type, const uint8_t *record, uint32_t s, uint32_t lane, wide_codes out[8])
{
    const struct kg_packed_layout layout = kg_packed_layout(type);
    const uint8_t *codes = record + layout.codes + (size_t)s * layout.code_bytes + (size_t)4 * lane;
    if (type == KG_Q8_0) {
#pragma GCC unroll 8
        for (int g = 0; g < 8; g++)
            out[g] = codes_of_q8(codes_load(codes + 64 * g));
        return;
    }
#pragma GCC unroll 4
    for (int p = 0; p < 4; p++) {
        wide_codes both = codes_load(codes + 64 * p);
        out[p] = codes_low(both);
        out[p + 4] = codes_high(both);
    }
    const uint8_t *plane = record + layout.plane + (size_t)s * layout.plane_bytes + (size_t)4 * lane;
    if (layout.plane_bytes == 64) {
        wide_codes high = codes_load(plane);
#pragma GCC unroll 8
        for (int g = 0; g < 8; g++)
            out[g] = codes_join(out[g], high, 4 - g, 16);
    } else if (layout.plane_bytes == 128) {
#pragma GCC unroll 8
        for (int g = 0; g < 8; g++)
            out[g] = codes_join(out[g], codes_load(plane + 64 * (g / 4)), 4 - 2 * (g % 4), 48);
    }
}

INLINE void load_step(enum kg_type type, const uint8_t *record, uint32_t s, uint32_t lane, const struct record_scales *k,
                      struct step *out)
{
    load_codes(type, record, s, lane, out->codes);
    if (type == KG_Q6_K) {
        out->scale[0] = w_mul(k->d, w_s8(record + KG_SCALES_K + 32 * s + lane));
        out->scale[1] = w_mul(k->d, w_s8(record + KG_SCALES_K + 32 * s + 16 + lane));
    } else if (is_k(type)) {
        out->scale[0] = w_mul(k->d, w_u8(record + KG_SCALES_K + 16 * s + lane));
        out->middle = w_fnma(k->dmin, w_u8(record + KG_MINS_K + 16 * s + lane), w_mul(out->scale[0], w_set((float)kg_packed_zero(type))));
    } else if (has_minimum(type)) {
        out->scale[0] = w_f16(record + 2 * lane);
        out->middle = w_fma(out->scale[0], w_set((float)kg_packed_zero(type)), w_f16(record + 32 + 2 * lane));
    } else {
        out->scale[0] = w_f16(record + 32 * s + 2 * lane);
    }
    out->lift = w_mul(out->scale[0], w_set(-KG_LIFTED));
}

/* One step of the rows of a group. */
struct step_rows {
    const int8_t *q;
    const float *scales, *sums;
    const int32_t *offsets;
};

/* The next step of a group of n rows. The addresses are kept in registers as they are: an operand that takes an index
 * beside them would be two operations to the processor. */
INLINE void next_step(struct step_rows *x, uint32_t n)
{
    x->q += n * KG_STEP;
    x->scales += n;
    x->sums += n;
    x->offsets += 2 * n;
    __asm__("" : "+r"(x->q), "+r"(x->scales), "+r"(x->sums), "+r"(x->offsets));
}

/* Adds one step of n rows from row r of the group on, n <= DOT_ROWS, to their sums. */
INLINE void add_step(enum kg_type type, const struct step *w, const struct step_rows *x, const uint32_t r, const uint32_t n, wide *sums)
{
    const int bits = type == KG_Q8_0 ? 8 : type == KG_Q6_K ? 6 : type == KG_Q5_0 || type == KG_Q5_1 || type == KG_Q5_K ? 5 : 4;
    wide_sum first[DOT_ROWS], last[DOT_ROWS];
    codes_dot(first, w->codes, x->q + r * KG_STEP, 0, type == KG_Q6_K ? 4 : 8, x->offsets + 2 * r, n, bits);
    if (type == KG_Q6_K)
        codes_dot(last, w->codes, x->q + r * KG_STEP, 4, 8, x->offsets + 2 * r + 1, n, bits);
#pragma GCC unroll 4
    for (uint32_t i = 0; i < n; i++) {
        wide t = w_fma(w_of_lifted(first[i]), w->scale[0], w->lift);
        if (type == KG_Q6_K)
            t = w_fma(w_of_sum(last[i]), w->scale[1], t);
        sums[r + i] = w_fma_one(t, x->scales + r + i, sums[r + i]);
        if (has_minimum(type))
            sums[r + i] = w_fma_one(w->middle, x->sums + r + i, sums[r + i]);
    }
}

INLINE void store_results(const struct kg_product *p, uint32_t tile, uint32_t lane, uint32_t row, wide sum)
{
    const uint32_t column = tile * KG_LANES + lane;
    float *out = p->out + (size_t)row * p->w_rows + column;
    if (column + W <= p->w_rows) {
        w_store(out, p->bias ? w_add(sum, w_load(p->bias + column)) : sum);
        return;
    }
    const unsigned n = p->w_rows > column ? p->w_rows - column : 0;
    w_store_n(out, n, p->bias ? w_add(sum, w_load_n(p->bias + column, n)) : sum);
}

/* Bytes ahead of the one being read when weights are streamed: from memory into the second cache, far enough to cover its
 * latency, then into the first. Without the latter, 4- and 6-bit weights are read 6 % slower. */
#define AHEAD       12288
#define NEAR        4096
#define PLAIN_AHEAD 8192 /* plain numbers: into the first at once */

INLINE void prefetch_step(const uint8_t *record, uint32_t s, const struct kg_packed_layout *layout, uint32_t steps)
{
    const uint32_t bytes = layout->bytes / steps;
    const char *step = (const char *)record + (size_t)s * bytes;
    for (uint32_t b = 0; b < bytes; b += 64) {
        _mm_prefetch(step + b + AHEAD, _MM_HINT_T1);
        _mm_prefetch(step + b + NEAR, _MM_HINT_T0);
    }
}

/* n rows from `row` on (a group of the activations), lanes lane .. lane+W-1 of a tile. */
INLINE void quantised_rows(enum kg_type type, const struct kg_product *p, uint32_t tile, uint32_t row, const uint32_t n, uint32_t lane,
                           bool fetches)
{
    const struct kg_packed_layout layout = kg_packed_layout(type);
    const uint32_t steps = layout.columns / KG_STEP, together = type == KG_Q6_K ? (DOT_ROWS + 1) / 2 : DOT_ROWS;
    const struct kg_activations *x = p->x;
    const size_t at = (size_t)row * x->steps;
    struct step_rows here = { x->q + at * KG_STEP, x->scales + at, x->sums + at, x->offsets + 2 * at };
    const uint8_t *record = p->tiles + tile * p->tile_bytes;
    wide sums[KG_GROUP];
#pragma GCC unroll 16
    for (uint32_t r = 0; r < n; r++)
        sums[r] = w_zero();
    for (uint32_t i = 0; i < p->records; i++, record += layout.bytes) {
        struct record_scales k = { w_zero(), w_zero() };
        if (type == KG_Q6_K) {
            k.d = w_load((const float *)(const void *)(record + 4 * lane));
        } else if (is_k(type)) {
            k.d = w_f16(record + 2 * lane);
            k.dmin = w_f16(record + 32 + 2 * lane);
        }
#pragma GCC unroll 1
        for (uint32_t s = 0; s < steps; s++, next_step(&here, n)) {
            struct step w;
            load_step(type, record, s, lane, &k, &w);
            if (fetches)
                prefetch_step(record, s, &layout, steps);
#pragma GCC unroll 16
            for (uint32_t r = 0; r < n; r += together)
                add_step(type, &w, &here, r, n - r < together ? n - r : together, sums);
        }
    }
#pragma GCC unroll 16
    for (uint32_t r = 0; r < n; r++)
        store_results(p, tile, lane, row + r, sums[r]);
}

/* All rows of the range with one tile after the other for each group, so that the group stays in the cache. The first group
 * fetches the weights, those behind it find them. */
INLINE void quantised(enum kg_type type, const struct kg_product *p, uint32_t tile_begin, uint32_t tile_end, uint32_t row_begin,
                      uint32_t row_end)
{
    for (uint32_t row = row_begin; row < row_end;) {
        uint32_t first, n;
        const bool fetches = row == row_begin;
        kg_activations_group(p->x->rows, row, &first, &n);
        for (uint32_t tile = tile_begin; tile < tile_end; tile++) {
            for (uint32_t lane = 0; lane < KG_LANES; lane += W) {
                switch (n) {
#define ROWS(few)                                                \
    case few:                                                    \
        quantised_rows(type, p, tile, row, few, lane, fetches); \
        break;
                    ROWS(KG_GROUP)
                    ROWS(8)
                    ROWS(7)
                    ROWS(6)
                    ROWS(5)
                    ROWS(4)
                    ROWS(3)
                    ROWS(2)
                    ROWS(1)
#undef ROWS
                }
            }
        }
        row += n;
    }
}

/* Plain numbers: even columns in one sum, odd ones in another, which are added at the end. */
INLINE wide plain_load(enum kg_type type, const uint8_t *tile, uint32_t column, uint32_t lane)
{
    if (type == KG_F32)
        return w_load((const float *)(const void *)(tile + ((size_t)column * KG_LANES + lane) * 4));
    const uint8_t *p = tile + ((size_t)column * KG_LANES + lane) * 2;
    return type == KG_F16 ? w_f16(p) : w_bf16(p);
}

INLINE void plain_rows(enum kg_type type, const struct kg_product *p, uint32_t tile, uint32_t row, const uint32_t n, uint32_t lane)
{
    const uint8_t *weights = p->tiles + tile * p->tile_bytes;
    const float *x = p->plain_x + (size_t)row * p->cols;
    wide even[8], odd[8];
#pragma GCC unroll 8
    for (uint32_t r = 0; r < n; r++)
        even[r] = odd[r] = w_zero();
    uint32_t c = 0;
    for (; c + 1 < p->cols; c += 2) {
        wide w0 = plain_load(type, weights, c, lane), w1 = plain_load(type, weights, c + 1, lane);
        if (n <= 4)
            _mm_prefetch((const char *)weights + (size_t)c * KG_LANES * (type == KG_F32 ? 4 : 2) + PLAIN_AHEAD, _MM_HINT_T0);
#pragma GCC unroll 8
        for (uint32_t r = 0; r < n; r++) {
            even[r] = w_fma(w0, w_set(x[(size_t)r * p->cols + c]), even[r]);
            odd[r] = w_fma(w1, w_set(x[(size_t)r * p->cols + c + 1]), odd[r]);
        }
    }
#pragma GCC unroll 8
    for (uint32_t r = 0; r < n; r++) {
        if (c < p->cols)
            even[r] = w_fma(plain_load(type, weights, c, lane), w_set(x[(size_t)r * p->cols + c]), even[r]);
        store_results(p, tile, lane, row + r, w_add(even[r], odd[r]));
    }
}

INLINE void plain(enum kg_type type, const struct kg_product *p, uint32_t tile_begin, uint32_t tile_end, uint32_t row_begin,
                  uint32_t row_end)
{
    for (uint32_t tile = tile_begin; tile < tile_end; tile++) {
        for (uint32_t lane = 0; lane < KG_LANES; lane += W) {
            uint32_t row = row_begin;
            for (; W == 16 && row + 8 <= row_end; row += 8) /* where there are registers for their sums */
                plain_rows(type, p, tile, row, 8, lane);
            for (; row + 4 <= row_end; row += 4)
                plain_rows(type, p, tile, row, 4, lane);
            for (; row < row_end; row++)
                plain_rows(type, p, tile, row, 1, lane);
        }
    }
}

#define PRODUCT(kind, type)                                                                                            \
    static void product_##type(const struct kg_product *p, uint32_t tile_begin, uint32_t tile_end, uint32_t row_begin, \
                               uint32_t row_end)                                                                       \
    {                                                                                                                  \
        kind(KG_##type, p, tile_begin, tile_end, row_begin, row_end);                                                  \
    }
PRODUCT(plain, F32)
PRODUCT(plain, F16)
PRODUCT(plain, BF16)
PRODUCT(quantised, Q4_0)
PRODUCT(quantised, Q4_1)
PRODUCT(quantised, Q5_0)
PRODUCT(quantised, Q5_1)
PRODUCT(quantised, Q8_0)
PRODUCT(quantised, Q4_K)
PRODUCT(quantised, Q5_K)
PRODUCT(quantised, Q6_K)
#undef PRODUCT

#define KG_PRODUCTS                                                                                                   \
    {                                                                                                                 \
        [KG_F32] = product_F32, [KG_F16] = product_F16, [KG_BF16] = product_BF16, [KG_Q4_0] = product_Q4_0,           \
        [KG_Q4_1] = product_Q4_1, [KG_Q5_0] = product_Q5_0, [KG_Q5_1] = product_Q5_1, [KG_Q8_0] = product_Q8_0,       \
        [KG_Q4_K] = product_Q4_K, [KG_Q5_K] = product_Q5_K, [KG_Q6_K] = product_Q6_K                                  \
    }

/* One row to 8 bits, into its place in its group. */
static void quantise(struct kg_activations *out, const float *x, uint32_t row)
{
    uint32_t first, n;
    kg_activations_group(out->rows, row, &first, &n);
    size_t at = (size_t)first * out->steps + (row - first);
    const uint32_t steps = out->cols / KG_STEP;
    for (uint32_t s = 0; s < out->steps; s++, at += n, x += KG_STEP) {
        int8_t *q = out->q + at * KG_STEP;
        if (s == steps) { /* the one that makes their number even */
            memset(q, 0, KG_STEP);
            out->scales[at] = out->sums[at] = 0;
            out->half_sums[2 * at] = out->half_sums[2 * at + 1] = 0;
            return;
        }
        vec a = v_load(x), b = v_load(x + 16);
        const float largest = v_highest(v_max(v_abs(a), v_abs(b))), sum = v_sum(v_add(a, b));
        out->sums[at] = sum;
        if (isnan(sum) || isinf(largest)) { /* codes cannot say that a number is none: the scale does */
            memset(q, 0, KG_STEP);
            out->scales[at] = NAN;
            out->half_sums[2 * at] = out->half_sums[2 * at + 1] = 0;
            continue;
        }
        /* Smaller numbers than that count as zero: the reciprocal would be infinite. */
        const bool some = !(largest < 1e-36F);
        const float inverse = some ? 127 / largest : 0;
        int32_t sum0 = v_store_s8(q, v_mul(a, v_set(inverse)));
        int32_t sum1 = v_store_s8(q + 16, v_mul(b, v_set(inverse)));
        out->scales[at] = some ? largest / 127 : 0;
        out->half_sums[2 * at] = sum0;
        out->half_sums[2 * at + 1] = sum1;
    }
}
