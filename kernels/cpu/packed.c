#include "kernels/cpu/packed.h"

#include <string.h>

#include "kernels/type.h"

uint32_t kg_packed_records(enum kg_type type, uint32_t cols)
{
    uint32_t columns = kg_packed_layout(type).columns;
    return cols / columns + (cols % columns != 0);
}

size_t kg_packed_tile_bytes(enum kg_type type, uint32_t cols)
{
    return (size_t)kg_packed_records(type, cols) * kg_packed_layout(type).bytes;
}

static uint32_t load32(const uint8_t *p)
{
    uint32_t word;
    memcpy(&word, p, sizeof word);
    return word;
}

static void store32(uint8_t *p, uint32_t word)
{
    memcpy(p, &word, sizeof word);
}

/* Four bytes with a bit each (bit 0 of byte j) from four neighbouring bits. */
static uint32_t spread_bits(uint32_t four)
{
    return (four * 0x00204081U) & 0x01010101U;
}

/* Codes of 4 bits for one lane, from 8 words with the four codes of a group in the low halves of their bytes. */
static void store_nibbles(uint8_t *codes, const uint32_t groups[8])
{
    for (unsigned p = 0; p < 4; p++)
        store32(codes + 64 * p, (groups[p] & 0x0f0f0f0fU) | (groups[p + 4] & 0x0f0f0f0fU) << 4);
}

/* Where a lane's part of a step goes. */
struct place {
    uint8_t *record;
    uint32_t step, lane;
};

static uint8_t *codes_of(const struct kg_packed_layout *layout, const struct place *at)
{
    return at->record + layout->codes + (size_t)at->step * layout->code_bytes + 4 * at->lane;
}

static uint8_t *plane_of(const struct kg_packed_layout *layout, const struct place *at)
{
    return at->record + layout->plane + (size_t)at->step * layout->plane_bytes + 4 * at->lane;
}

/* Q4_0, Q4_1, Q5_0, Q5_1: the file's halves of bytes are in the order of ours already. */
static void pack_nibble_block(enum kg_type type, const uint8_t *block, const struct kg_packed_layout *layout, const struct place *at)
{
    unsigned minimum = type == KG_Q4_1 || type == KG_Q5_1, fifth = layout->plane_bytes != 0;
    if (minimum) {
        memcpy(at->record + 2 * at->lane, block, 2);
        memcpy(at->record + 32 + 2 * at->lane, block + 2, 2);
    } else {
        memcpy(at->record + 32 * at->step + 2 * at->lane, block, 2);
    }
    const uint8_t *high = block + 2 + 2 * minimum, *qs = high + 4 * fifth;
    uint8_t *codes = codes_of(layout, at);
    for (unsigned p = 0; p < 4; p++)
        memcpy(codes + 64 * p, qs + 4 * p, 4);
    if (!fifth)
        return;
    uint32_t bits = load32(high), plane = 0;
    for (unsigned g = 0; g < 8; g++)
        plane |= spread_bits(bits >> 4 * g & 15) << g;
    store32(plane_of(layout, at), plane);
}

static void pack_q8_0_block(const uint8_t *block, const struct kg_packed_layout *layout, const struct place *at)
{
    memcpy(at->record + 32 * at->step + 2 * at->lane, block, 2);
    uint8_t *codes = codes_of(layout, at);
    for (unsigned g = 0; g < 8; g++)
        store32(codes + 64 * g, load32(block + 2 + 4 * g) ^ 0x80808080U);
}

/* The 12 bytes of scales as kernels/type.c draws them, for all 8 steps at once. */
static void pack_k_scales(const uint8_t *s, const struct place *at)
{
    for (unsigned j = 0; j < 8; j++) {
        unsigned scale = j < 4 ? s[j] & 63U : (s[j + 4] & 15U) | (unsigned)s[j - 4] >> 6 << 4;
        unsigned min = j < 4 ? s[j + 4] & 63U : (unsigned)s[j + 4] >> 4 | (unsigned)s[j] >> 6 << 4;
        at->record[KG_SCALES_K + 16 * j + at->lane] = (uint8_t)scale;
        at->record[KG_MINS_K + 16 * j + at->lane] = (uint8_t)min;
    }
}

static void pack_k45_block(enum kg_type type, const uint8_t *block, const struct kg_packed_layout *layout, struct place at)
{
    memcpy(at.record + 2 * at.lane, block, 2);
    memcpy(at.record + 32 + 2 * at.lane, block + 2, 2);
    pack_k_scales(block + 4, &at);
    const uint8_t *high = block + 16, *qs = block + (type == KG_Q5_K ? 48 : 16);
    for (at.step = 0; at.step < 8; at.step++) {
        uint32_t groups[8], plane = 0;
        for (unsigned g = 0; g < 8; g++)
            groups[g] = load32(qs + 32 * (at.step / 2) + 4 * g) >> 4 * (at.step % 2);
        store_nibbles(codes_of(layout, &at), groups);
        if (type != KG_Q5_K)
            continue;
        for (unsigned g = 0; g < 8; g++)
            plane |= (load32(high + 4 * g) >> at.step & 0x01010101U) << g;
        store32(plane_of(layout, &at), plane);
    }
}

static float f32_of_f16(const uint8_t *p)
{
    return (float)kg_f16_to_double((uint16_t)(p[0] | p[1] << 8));
}

static void pack_q6_k_block(const uint8_t *block, const struct kg_packed_layout *layout, struct place at)
{
    float d = f32_of_f16(block + 208);
    memcpy(at.record + 4 * at.lane, &d, 4);
    for (unsigned i = 0; i < 16; i++)
        at.record[KG_SCALES_K + 16 * i + at.lane] = block[192 + i];
    for (at.step = 0; at.step < 8; at.step++) {
        const unsigned half = at.step / 4, run = at.step % 4;
        uint32_t groups[8], planes[2] = { 0, 0 };
        for (unsigned g = 0; g < 8; g++) {
            groups[g] = load32(block + 64 * half + 32 * (run % 2) + 4 * g) >> 4 * (run / 2);
            planes[g / 4] |= (load32(block + 128 + 32 * half + 4 * g) >> 2 * run & 0x03030303U) << 2 * (g % 4);
        }
        store_nibbles(codes_of(layout, &at), groups);
        store32(plane_of(layout, &at), planes[0]);
        store32(plane_of(layout, &at) + 64, planes[1]);
    }
}

static void pack_block(enum kg_type type, const uint8_t *block, const struct kg_packed_layout *layout, const struct place *at)
{
    switch (type) {
    case KG_F32:
        memcpy(at->record + 4 * at->lane, block, 4);
        break;
    case KG_F16:
    case KG_BF16:
        memcpy(at->record + 2 * at->lane, block, 2);
        break;
    case KG_Q4_0:
    case KG_Q4_1:
    case KG_Q5_0:
    case KG_Q5_1:
        pack_nibble_block(type, block, layout, at);
        break;
    case KG_Q8_0:
        pack_q8_0_block(block, layout, at);
        break;
    case KG_Q4_K:
    case KG_Q5_K:
        pack_k45_block(type, block, layout, *at);
        break;
    case KG_Q6_K:
        pack_q6_k_block(block, layout, *at);
        break;
    }
}

void kg_pack_tile(enum kg_type type, uint32_t rows, uint32_t cols, const void *blocks, uint32_t tile, void *out)
{
    const struct kg_packed_layout layout = kg_packed_layout(type);
    uint32_t elements = 1, bytes = 0;
    kg_type_layout(type, &elements, &bytes);
    const uint32_t row_blocks = cols / elements, blocks_in_record = layout.columns / elements;
    const uint32_t first = tile * KG_LANES, lanes = rows - first < KG_LANES ? rows - first : KG_LANES;
    if (lanes < KG_LANES || row_blocks % blocks_in_record)
        memset(out, 0, kg_packed_tile_bytes(type, cols));
    /* A record of all lanes after the other: what is written stays in the cache until it is whole. */
    for (uint32_t b = 0; b < row_blocks; b++) {
        uint8_t *record = (uint8_t *)out + (size_t)(b / blocks_in_record) * layout.bytes;
        for (uint32_t lane = 0; lane < lanes; lane++) {
            const uint8_t *block = (const uint8_t *)blocks + ((size_t)(first + lane) * row_blocks + b) * bytes;
            const struct place at = { record, b % blocks_in_record, lane };
            pack_block(type, block, &layout, &at);
        }
    }
}

static double load_f16(const uint8_t *record, size_t index)
{
    const uint8_t *p = record + 2 * index;
    return kg_f16_to_double((uint16_t)(p[0] | p[1] << 8));
}

/* The code of column c of a step. */
static unsigned code_at(const struct kg_packed_layout *layout, const struct place *at, unsigned c)
{
    const unsigned g = c / 4, j = c % 4;
    const uint8_t *codes = codes_of(layout, at);
    if (layout->code_bytes == 512)
        return codes[64 * g + j];
    unsigned code = (unsigned)codes[64 * (g % 4) + j] >> 4 * (g / 4) & 15;
    if (layout->plane_bytes == 64)
        code |= ((unsigned)plane_of(layout, at)[j] >> g & 1) << 4;
    if (layout->plane_bytes == 128)
        code |= ((unsigned)plane_of(layout, at)[64 * (g / 4) + j] >> 2 * (g % 4) & 3) << 4;
    return code;
}

/* Scale and offset of a column: value = scale * code + offset. */
static void scale_of(enum kg_type type, const struct place *at, unsigned c, double *scale, double *offset)
{
    const uint8_t *r = at->record;
    const uint32_t lane = at->lane;
    float d = 0;
    switch (type) {
    case KG_Q4_1:
    case KG_Q5_1:
        *scale = load_f16(r, lane);
        *offset = load_f16(r, 16 + lane);
        break;
    case KG_Q4_K:
    case KG_Q5_K:
        *scale = load_f16(r, lane) * r[KG_SCALES_K + 16 * at->step + lane];
        *offset = -load_f16(r, 16 + lane) * r[KG_MINS_K + 16 * at->step + lane];
        break;
    case KG_Q6_K:
        memcpy(&d, r + 4 * lane, 4);
        *scale = (double)d * (int8_t)r[KG_SCALES_K + 16 * (2 * at->step + c / 16) + lane];
        *offset = -32 * *scale;
        break;
    default:
        *scale = load_f16(r, 16 * at->step + lane);
        *offset = -*scale * kg_packed_zero(type);
        break;
    }
}

static double plain_number(enum kg_type type, const uint8_t *record, uint32_t lane)
{
    float x = 0;
    if (type == KG_F32) {
        memcpy(&x, record + 4 * lane, 4);
        return (double)x;
    }
    uint16_t bits;
    memcpy(&bits, record + 2 * lane, 2);
    return type == KG_F16 ? kg_f16_to_double(bits) : kg_bf16_to_double(bits);
}

void kg_unpack_row(enum kg_type type, uint32_t cols, const void *tile, uint32_t lane, double *out)
{
    const struct kg_packed_layout layout = kg_packed_layout(type);
    struct place at = { .lane = lane };
    for (uint32_t c = 0; c < cols; c++) {
        at.record = (uint8_t *)(uintptr_t)tile + (size_t)(c / layout.columns) * layout.bytes;
        if (layout.columns == 1) {
            out[c] = plain_number(type, at.record, lane);
            continue;
        }
        at.step = c % layout.columns / KG_STEP;
        double scale = 0, offset = 0;
        scale_of(type, &at, c % KG_STEP, &scale, &offset);
        out[c] = scale * code_at(&layout, &at, c % KG_STEP) + offset;
    }
}
