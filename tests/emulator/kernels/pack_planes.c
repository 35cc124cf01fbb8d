#include "tests/emulator/kernels/pack_planes.h"

#include <assert.h>
#include <string.h>

/* Codes of a group of 32, whatever the type, and where they go. */
static void put_codes(const struct kg_planes *p, size_t group, const uint8_t *codes, uint8_t *bits)
{
    uint8_t *low = bits + p->low + group * 16;
    for (unsigned j = 0; j < 16; j++)
        low[j] = (uint8_t)((codes[j] & 15U) | (unsigned)codes[j + 16] << 4);
    if (p->bits == 5) {
        uint8_t *high = bits + p->high + group * 4;
        memset(high, 0, 4);
        for (unsigned j = 0; j < 32; j++)
            high[j / 8] |= (uint8_t)((codes[j] >> 4 & 1U) << (j % 8));
    } else if (p->bits == 6) {
        uint8_t *high = bits + p->high + group * 8;
        memset(high, 0, 8);
        for (unsigned j = 0; j < 32; j++)
            high[j / 16 * 4 + j % 4] |= (uint8_t)((codes[j] >> 4 & 3U) << (2 * (j % 16 / 4)));
    }
}

/* Types of 32 elements; kernels/type.c has their layouts. */
static void pack_small(const struct kg_planes *p, size_t group, const uint8_t *b, uint8_t *bits)
{
    const size_t numbers = p->minimum ? 4 : 2;
    memcpy(bits + p->d + group * 2, b, 2);
    if (p->minimum)
        memcpy(bits + p->m + group * 2, b + 2, 2);
    if (p->bits == 8) {
        memcpy(bits + p->low + group * 32, b + 2, 32);
        return;
    }
    const uint8_t *qh = b + numbers, *qs = p->bits == 5 ? qh + 4 : qh;
    uint8_t codes[32];
    for (unsigned j = 0; j < 32; j++) {
        codes[j] = j < 16 ? qs[j] & 15U : qs[j - 16] >> 4;
        if (p->bits == 5)
            codes[j] |= (uint8_t)((qh[j / 8] >> (j % 8) & 1U) << 4);
    }
    put_codes(p, group, codes, bits);
}

/* Q4_K and Q5_K: 8 groups. The scales' 12 bytes are as kernels/type.c describes. */
static void pack_k45(const struct kg_planes *p, size_t block, const uint8_t *b, uint8_t *bits)
{
    const uint8_t *s = b + 4, *qh = b + 16, *qs = p->bits == 5 ? b + 48 : b + 16;
    const uint8_t minus_dmin[2] = { b[2], b[3] ^ 0x80 };
    memcpy(bits + p->d + block * 2, b, 2);
    memcpy(bits + p->m + block * 2, minus_dmin, 2);
    for (unsigned g = 0; g < 8; g++) {
        uint8_t codes[32];
        for (unsigned l = 0; l < 32; l++) {
            codes[l] = (uint8_t)(qs[32 * (g / 2) + l] >> 4 * (g % 2) & 15U);
            if (p->bits == 5)
                codes[l] |= (uint8_t)((qh[l] >> g & 1U) << 4);
        }
        bits[p->scale + block * 8 + g] = g < 4 ? s[g] & 63U : (uint8_t)((s[g + 4] & 15U) | s[g - 4] >> 6 << 4);
        bits[p->minimums + block * 8 + g] = g < 4 ? s[g + 4] & 63U : (uint8_t)(s[g + 4] >> 4 | s[g] >> 6 << 4);
        put_codes(p, block * 8 + g, codes, bits);
    }
}

static void pack_k6(const struct kg_planes *p, size_t block, const uint8_t *b, uint8_t *bits)
{
    memcpy(bits + p->d + block * 2, b + 208, 2);
    memcpy(bits + p->scale + block * 16, b + 192, 16);
    for (unsigned g = 0; g < 8; g++) {
        const unsigned half = g / 4, run = g % 4;
        uint8_t codes[32];
        for (unsigned l = 0; l < 32; l++) {
            const unsigned low = b[64 * half + 32 * (run % 2) + l] >> 4 * (run / 2) & 15U, high = b[128 + 32 * half + l] >> 2 * run & 3U;
            codes[l] = (uint8_t)(low | high << 4);
        }
        put_codes(p, block * 8 + g, codes, bits);
    }
}

void kg_planes_pack(enum kg_type type, const struct kg_planes *p, const void *blocks, uint8_t *bits)
{
    uint32_t elements = 1, bytes = 0;
    if (!kg_type_layout(type, &elements, &bytes))
        return;
    assert(elements == (p->super ? 8 * KG_GROUP : KG_GROUP));
    void (*pack)(const struct kg_planes *, size_t, const uint8_t *, uint8_t *) = !p->super ? pack_small : p->bits == 6 ? pack_k6 : pack_k45;
    const size_t n = (size_t)p->rows * p->groups * KG_GROUP / elements;
    for (size_t block = 0; block < n; block++)
        pack(p, block, (const uint8_t *)blocks + block * bytes, bits);
}
