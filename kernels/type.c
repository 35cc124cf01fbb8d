/* Types of tensor elements: layouts and values as the GGUF specification (ggml's block structures) has them.
 * Every value is exact in double: a product of an 11-bit scale, a 6-bit or 8-bit factor and a code of at most
 * 8 bits, and for types with a minimum the difference of two such products whose exponents lie within 53 bits. */
#include "kernels/type.h"

#include <assert.h>
#include <math.h>
#include <string.h>

#include "kernels/backend.h"

struct type_entry {
    enum kg_type type;
    const char *name;
    uint32_t elements, bytes;
    void (*expand)(const uint8_t *block, double *out);
};

static uint16_t load16(const uint8_t *p)
{
    return (uint16_t)(p[0] | p[1] << 8);
}

static double load_f16(const uint8_t *p)
{
    return kg_f16_to_double(load16(p));
}

static float float_of_bits(uint32_t bits)
{
    float x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

uint16_t kg_f16_from_double(double x)
{
    unsigned sign = signbit(x) ? 0x8000 : 0;
    double a = fabs(x);
    if (isnan(x))
        return (uint16_t)(sign | 0x7e00);
    if (a >= 65520)
        return (uint16_t)(sign | 0x7c00);
    if (a < 0x1p-14) /* subnormal: steps of 2^-24; rounding up to 1024 of them gives the smallest normal */
        return (uint16_t)(sign | (unsigned)rint(a * 0x1p24));
    int exponent;
    (void)frexp(a, &exponent); /* a = m * 2^(exponent - 11), 1024 <= m < 2048; a carry runs into the exponent */
    unsigned m = (unsigned)rint(ldexp(a, 11 - exponent));
    return (uint16_t)(sign | (((unsigned)(exponent + 14) << 10) + (m - 1024)));
}

double kg_bf16_to_double(uint16_t bits)
{
    return (double)float_of_bits((uint32_t)bits << 16);
}

static uint32_t load32(const uint8_t *p)
{
    return load16(p) | (uint32_t)load16(p + 2) << 16;
}

static void expand_f32(const uint8_t *b, double *out)
{
    *out = (double)float_of_bits(load32(b));
}

static void expand_f16(const uint8_t *b, double *out)
{
    *out = load_f16(b);
}

static void expand_bf16(const uint8_t *b, double *out)
{
    *out = kg_bf16_to_double(load16(b));
}

/* Types of 32 elements. Byte j of qs holds element j in its low half and element j + 16 in its high half;
 * bit j of qh is the fifth bit of element j.
 *   Q4_0  f16 d            qs[16]     d (q - 8)
 *   Q4_1  f16 d, f16 m     qs[16]     d q + m
 *   Q5_0  f16 d       u32 qh qs[16]   d (q - 16)
 *   Q5_1  f16 d, f16 m u32 qh qs[16]  d q + m
 *   Q8_0  f16 d            i8 q[32]   d q */
static void expand_nibbles(const uint8_t *qs, uint32_t qh, double d, double m, double *out)
{
    for (unsigned j = 0; j < 16; j++) {
        unsigned low = (qs[j] & 15U) | (qh >> j & 1U) << 4;
        unsigned high = (unsigned)qs[j] >> 4 | (qh >> (j + 16) & 1U) << 4;
        out[j] = d * low + m;
        out[j + 16] = d * high + m;
    }
}

static void expand_q4_0(const uint8_t *b, double *out)
{
    double d = load_f16(b);
    expand_nibbles(b + 2, 0, d, -8 * d, out);
}

static void expand_q4_1(const uint8_t *b, double *out)
{
    expand_nibbles(b + 4, 0, load_f16(b), load_f16(b + 2), out);
}

static void expand_q5_0(const uint8_t *b, double *out)
{
    double d = load_f16(b);
    expand_nibbles(b + 6, load32(b + 2), d, -16 * d, out);
}

static void expand_q5_1(const uint8_t *b, double *out)
{
    expand_nibbles(b + 8, load32(b + 4), load_f16(b), load_f16(b + 2), out);
}

static void expand_q8_0(const uint8_t *b, double *out)
{
    double d = load_f16(b);
    for (unsigned j = 0; j < 32; j++)
        out[j] = d * (int8_t)b[2 + j];
}

/* Scale and minimum (6 bits each) of group j < 8 in the 12 bytes that Q4_K and Q5_K share:
 *   byte 0..3   scale j (bits 0-5),  top bits of scale j+4 (bits 6-7)
 *   byte 4..7   min j   (bits 0-5),  top bits of min j+4   (bits 6-7)
 *   byte 8..11  low bits of scale j+4 (bits 0-3), low bits of min j+4 (bits 4-7) */
static void scale_and_min(const uint8_t *s, unsigned j, unsigned *scale, unsigned *min)
{
    if (j < 4) {
        *scale = s[j] & 63U;
        *min = s[j + 4] & 63U;
    } else {
        *scale = (s[j + 4] & 15U) | (unsigned)s[j - 4] >> 6 << 4;
        *min = (unsigned)s[j + 4] >> 4 | (unsigned)s[j] >> 6 << 4;
    }
}

/* Q4_K and Q5_K: f16 d, f16 dmin, 12 bytes of scales, (Q5_K: qh[32],) qs[128]; 8 groups of 32 elements.
 * Groups 2i and 2i+1 are the low and high halves of qs[32 i ..]; bit g of qh[l] is the fifth bit of element l
 * of group g. Value: d scale q - dmin min. */
static void expand_k45(const uint8_t *b, const uint8_t *qh, const uint8_t *qs, double *out)
{
    double d = load_f16(b), dmin = load_f16(b + 2);
    for (unsigned g = 0; g < 8; g++) {
        unsigned scale, min;
        scale_and_min(b + 4, g, &scale, &min);
        for (unsigned l = 0; l < 32; l++) {
            unsigned q = (unsigned)qs[32 * (g / 2) + l] >> 4 * (g % 2) & 15U;
            if (qh)
                q |= ((unsigned)qh[l] >> g & 1U) << 4;
            out[32 * g + l] = d * scale * q - dmin * min;
        }
    }
}

static void expand_q4_k(const uint8_t *b, double *out)
{
    expand_k45(b, NULL, b + 16, out);
}

static void expand_q5_k(const uint8_t *b, double *out)
{
    expand_k45(b, b + 16, b + 48, out);
}

/* Q6_K: ql[128], qh[64], i8 scales[16], f16 d; two halves of 128 elements, in each four runs of 32: run r has
 * its low 4 bits in ql[32 (r % 2) + l] (low half of the byte for r < 2), its high 2 bits in bits 2r of qh[l],
 * and a scale for every 16 elements. Value: d scale (q - 32). */
static void expand_q6_k(const uint8_t *b, double *out)
{
    double d = load_f16(b + 208);
    for (unsigned i = 0; i < 256; i++) {
        unsigned half = i / 128, run = i % 128 / 32, l = i % 32;
        unsigned low = (unsigned)b[64 * half + 32 * (run % 2) + l] >> 4 * (run / 2) & 15U;
        unsigned high = (unsigned)b[128 + 32 * half + l] >> 2 * run & 3U;
        out[i] = d * (int8_t)b[192 + i / 16] * ((int)(low | high << 4) - 32);
    }
}

static const struct type_entry types[] = {
    { KG_F32, "F32", 1, 4, expand_f32 },
    { KG_F16, "F16", 1, 2, expand_f16 },
    { KG_BF16, "BF16", 1, 2, expand_bf16 },
    { KG_Q4_0, "Q4_0", 32, 18, expand_q4_0 },
    { KG_Q4_1, "Q4_1", 32, 20, expand_q4_1 },
    { KG_Q5_0, "Q5_0", 32, 22, expand_q5_0 },
    { KG_Q5_1, "Q5_1", 32, 24, expand_q5_1 },
    { KG_Q8_0, "Q8_0", 32, 34, expand_q8_0 },
    { KG_Q4_K, "Q4_K", 256, 144, expand_q4_k },
    { KG_Q5_K, "Q5_K", 256, 176, expand_q5_k },
    { KG_Q6_K, "Q6_K", 256, 210, expand_q6_k },
};

static const struct type_entry *find(enum kg_type type)
{
    for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
        if (types[i].type == type)
            return &types[i];
    }
    return NULL;
}

bool kg_type_layout(enum kg_type type, uint32_t *elements, uint32_t *bytes)
{
    const struct type_entry *entry = find(type);
    if (!entry)
        return false;
    *elements = entry->elements;
    *bytes = entry->bytes;
    return true;
}

const char *kg_type_name(enum kg_type type)
{
    const struct type_entry *entry = find(type);
    return entry ? entry->name : "unknown type";
}

void kg_dequantise(enum kg_type type, const void *blocks, size_t n, double *out)
{
    const struct type_entry *entry = find(type);
    assert(entry && n % entry->elements == 0);
    if (!entry)
        return;
    const uint8_t *block = blocks;
    for (size_t i = 0; i < n; i += entry->elements, block += entry->bytes)
        entry->expand(block, out + i);
}

void kg_q8_0_from_double(uint8_t *out, const double *x, size_t n)
{
    assert(n % 32 == 0);
    for (; n > 0; n -= 32, x += 32, out += 34) {
        double most = 0;
        for (unsigned i = 0; i < 32; i++)
            most = isfinite(x[i]) && !isnan(most) ? fmax(most, fabs(x[i])) : (double)NAN;
        const uint16_t bits = kg_f16_from_double(most / 127);
        const double d = kg_f16_to_double(bits);
        out[0] = (uint8_t)bits;
        out[1] = (uint8_t)(bits >> 8);
        for (unsigned i = 0; i < 32; i++)
            out[2 + i] = d > 0 && isfinite(d) ? (uint8_t)(int8_t)fmax(-127, fmin(127, rint(x[i] / d))) : 0;
    }
}
