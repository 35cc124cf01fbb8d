#include "tests/unit/quantise.h"

#include <assert.h>
#include <math.h>
#include <string.h>

#include "kernels/type.h"
#include "tests/unit/seeded.h"

const enum kg_type quantise_types[QUANTISE_TYPES] = { KG_F32,  KG_F16,  KG_BF16, KG_Q4_0, KG_Q4_1, KG_Q5_0,
                                                      KG_Q5_1, KG_Q8_0, KG_Q4_K, KG_Q5_K, KG_Q6_K };

static void store16(uint8_t *at, unsigned bits)
{
    at[0] = (uint8_t)bits;
    at[1] = (uint8_t)(bits >> 8);
}

/* Stores x as f16 and returns what was stored. */
static double store_f16(uint8_t *at, double x)
{
    uint16_t bits = kg_f16_from_double(x);
    store16(at, bits);
    return kg_f16_to_double(bits);
}

static void store_plain(enum kg_type type, double x, uint8_t *at)
{
    float single = (float)x;
    uint32_t bits;
    memcpy(&bits, &single, sizeof bits);
    if (type == KG_F16) {
        store_f16(at, x);
    } else if (type == KG_BF16) {
        store16(at, (bits + 0x7fffU + (bits >> 16 & 1U)) >> 16);
    } else {
        store16(at, bits & 0xffffU);
        store16(at + 2, bits >> 16);
    }
}

static unsigned code(double x, unsigned limit)
{
    double nearest = nearbyint(x);
    return nearest <= 0 ? 0 : nearest >= limit ? limit : (unsigned)nearest;
}

static void range(const double *x, unsigned n, double *low, double *high)
{
    *low = *high = x[0];
    for (unsigned i = 1; i < n; i++) {
        *low = fmin(*low, x[i]);
        *high = fmax(*high, x[i]);
    }
}

/* The value of largest magnitude, with its sign. */
static double extreme(const double *x, unsigned n)
{
    double low, high;
    range(x, n, &low, &high);
    return -low > high ? low : high;
}

static void quantise_32(enum kg_type type, const double *x, uint8_t *block)
{
    bool with_min = type == KG_Q4_1 || type == KG_Q5_1;
    unsigned bits = type == KG_Q8_0 ? 8 : type == KG_Q4_0 || type == KG_Q4_1 ? 4 : 5, top = (1U << bits) - 1;
    double low, high, d, m;
    range(x, 32, &low, &high);
    if (with_min) {
        d = store_f16(block, (high - low) / top);
        m = store_f16(block + 2, low);
    } else {
        int half = 1 << (bits - 1); /* the extreme value becomes code 0, for Q8_0 -127 */
        d = store_f16(block, type == KG_Q8_0 ? fabs(extreme(x, 32)) / 127 : extreme(x, 32) / -half);
        m = -d * half;
    }
    uint8_t *qs = block + (with_min ? 4 : 2), *qh = qs;
    if (bits == 5) {
        memset(qh, 0, 4);
        qs += 4;
    }
    for (unsigned j = 0; j < 32; j++) {
        unsigned q = code(d != 0 ? (x[j] - m) / d : 0, top);
        if (bits == 8) {
            qs[j] = (uint8_t)(q - 128);
            continue;
        }
        qs[j % 16] = (uint8_t)(j < 16 ? q & 15U : qs[j % 16] | (q & 15U) << 4);
        if (bits == 5)
            qh[j / 8] |= (uint8_t)((q >> 4) << j % 8);
    }
}

static void pack_scales(uint8_t *s, const unsigned *scale, const unsigned *min)
{
    memset(s, 0, 12);
    for (unsigned j = 0; j < 8; j++) {
        if (j < 4) {
            s[j] |= (uint8_t)scale[j];
            s[j + 4] |= (uint8_t)min[j];
        } else {
            s[j + 4] = (uint8_t)((scale[j] & 15U) | min[j] << 4);
            s[j - 4] |= (uint8_t)(scale[j] >> 4 << 6);
            s[j] |= (uint8_t)(min[j] >> 4 << 6);
        }
    }
}

static void quantise_k45(enum kg_type type, const double *x, uint8_t *block)
{
    const unsigned top = type == KG_Q4_K ? 15 : 31;
    double step[8], depth[8], unused;
    for (unsigned g = 0; g < 8; g++) {
        double low, high;
        range(x + 32 * g, 32, &low, &high);
        depth[g] = fmax(0, -low);
        step[g] = (fmax(high, 0) + depth[g]) / top;
    }
    double largest_step, largest_depth;
    range(step, 8, &unused, &largest_step);
    range(depth, 8, &unused, &largest_depth);
    double d = store_f16(block, largest_step / 63), dmin = store_f16(block + 2, largest_depth / 63);
    unsigned scale[8], min[8];
    uint8_t *qh = block + 16, *qs = block + (type == KG_Q4_K ? 16 : 48);
    memset(block + 16, 0, type == KG_Q4_K ? 128 : 160);
    for (unsigned g = 0; g < 8; g++) {
        scale[g] = code(d > 0 ? step[g] / d : 0, 63);
        min[g] = code(dmin > 0 ? depth[g] / dmin : 0, 63);
        for (unsigned l = 0; l < 32; l++) {
            double unit = d * scale[g];
            unsigned q = code(unit > 0 ? (x[32 * g + l] + dmin * min[g]) / unit : 0, top);
            qs[32 * (g / 2) + l] |= (uint8_t)((q & 15U) << 4 * (g % 2));
            if (type == KG_Q5_K)
                qh[l] |= (uint8_t)((q >> 4) << g);
        }
    }
    pack_scales(block + 4, scale, min);
}

static void quantise_q6_k(const double *x, uint8_t *block)
{
    double step[16];
    for (unsigned g = 0; g < 16; g++)
        step[g] = extreme(x + 16 * g, 16) / -32;
    memset(block, 0, 210);
    double d = store_f16(block + 208, extreme(step, 16) / -128);
    for (unsigned i = 0; i < 256; i++) {
        int scale = d != 0 ? (int)code(step[i / 16] / d + 128, 255) - 128 : 0;
        block[192 + i / 16] = (uint8_t)scale;
        unsigned q = code(scale != 0 ? x[i] / (d * scale) + 32 : 32, 63), half = i / 128, run = i % 128 / 32, l = i % 32;
        block[64 * half + 32 * (run % 2) + l] |= (uint8_t)((q & 15U) << 4 * (run / 2));
        block[128 + 32 * half + l] |= (uint8_t)(q >> 4 << 2 * run);
    }
}

size_t quantise_bytes(enum kg_type type, size_t n)
{
    uint32_t elements = 1, bytes = 0;
    if (!kg_type_layout(type, &elements, &bytes))
        return 0;
    assert(n % elements == 0);
    return n / elements * bytes;
}

void quantise(enum kg_type type, const double *x, size_t n, void *blocks)
{
    uint32_t elements = 1, bytes = 0;
    if (!kg_type_layout(type, &elements, &bytes))
        return;
    uint8_t *block = blocks;
    for (size_t i = 0; i < n; i += elements, block += bytes) {
        if (elements == 1)
            store_plain(type, x[i], block);
        else if (elements == 32)
            quantise_32(type, x + i, block);
        else if (type == KG_Q6_K)
            quantise_q6_k(x + i, block);
        else
            quantise_k45(type, x + i, block);
    }
}

static double random_scale(enum quantise_scales scales, uint64_t *seed)
{
    double sign = seeded_below(seed, 2) ? 1 : -1;
    switch (scales) {
    case QUANTISE_PLAIN:
        return 0.01 * seeded_normal(seed);
    case QUANTISE_LARGE:
        return sign * (seeded_below(seed, 4) ? seeded_uniform(seed, 30000, 65504) : 65504);
    case QUANTISE_SMALL:
        return sign * seeded_uniform(seed, 0x1p-24, 0x1p-14);
    default:
        return seeded_below(seed, 4) == 0 ? 0 : random_scale((enum quantise_scales)seeded_below(seed, QUANTISE_MIXED), seed);
    }
}

void quantise_at_random(enum kg_type type, enum quantise_scales scales, uint64_t *seed, size_t n, void *blocks)
{
    uint32_t elements = 1, bytes = 0;
    if (!kg_type_layout(type, &elements, &bytes))
        return;
    uint8_t *block = blocks;
    for (size_t i = 0; i < n; i += elements, block += bytes) {
        if (elements == 1) {
            store_plain(type, random_scale(scales, seed), block);
            continue;
        }
        for (unsigned j = 0; j < bytes; j++)
            block[j] = (uint8_t)seeded_bits(seed);
        store_f16(block + (type == KG_Q6_K ? 208 : 0), random_scale(scales, seed));
        if (type == KG_Q4_1 || type == KG_Q5_1 || type == KG_Q4_K || type == KG_Q5_K)
            store_f16(block + 2, random_scale(scales, seed));
    }
}

void quantise_set_codes(enum kg_type type, uint8_t byte, size_t n, void *blocks)
{
    uint32_t elements = 1, bytes = 0;
    if (!kg_type_layout(type, &elements, &bytes) || elements == 1)
        return;
    size_t from = type == KG_Q6_K ? 0 : type == KG_Q4_K || type == KG_Q5_K ? 16 : type == KG_Q4_1 || type == KG_Q5_1 ? 4 : 2;
    size_t to = type == KG_Q6_K ? 192 : bytes;
    uint8_t *block = blocks;
    for (size_t i = 0; i < n; i += elements, block += bytes)
        memset(block + from, byte, to - from);
}
