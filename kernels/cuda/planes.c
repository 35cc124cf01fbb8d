#include "kernels/cuda/planes.h"

static size_t plane(size_t *end, size_t bytes)
{
    size_t begin = *end;
    *end = (begin + bytes + 255) / 256 * 256;
    return begin;
}

bool kg_planes_layout(enum kg_type type, uint32_t rows, uint32_t cols, struct kg_planes *out)
{
    struct kg_planes p = { .rows = rows, .groups = cols / KG_GROUP };
    switch (type) {
    case KG_Q4_0: p.bits = 4, p.middle = 8; break;
    case KG_Q4_1: p.bits = 4, p.minimum = 1; break;
    case KG_Q5_0: p.bits = 5, p.middle = 16; break;
    case KG_Q5_1: p.bits = 5, p.minimum = 1; break;
    case KG_Q8_0: p.bits = 8; break;
    case KG_Q4_K: p.bits = 4, p.minimum = p.super = 1; break;
    case KG_Q5_K: p.bits = 5, p.minimum = p.super = 1; break;
    case KG_Q6_K: p.bits = 6, p.middle = 32, p.super = 1; break;
    default: return false;
    }
    const size_t groups = (size_t)rows * p.groups, numbers = (p.super ? groups / 8 : groups) * sizeof(uint16_t);
    p.low = plane(&p.bytes, groups * (p.bits == 8 ? 32 : 16));
    p.high = plane(&p.bytes, groups * (p.bits == 5 ? 4 : p.bits == 6 ? 8 : 0));
    p.scale = plane(&p.bytes, p.super ? groups * (p.bits == 6 ? 2 : 1) : 0);
    p.minimums = plane(&p.bytes, p.super && p.minimum ? groups : 0);
    p.d = plane(&p.bytes, numbers);
    p.m = plane(&p.bytes, p.minimum ? numbers : 0);
    *out = p;
    return true;
}
