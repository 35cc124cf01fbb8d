#include "engine/cache/kv_row.h"

#include <string.h>
#include <xxhash.h>

struct kg_kv_layout kg_kv_layout_of(const struct kg_kv_shape *shape)
{
    struct kg_kv_layout layout = {
        .strips = shape->layers * 2 * shape->kv_heads,
        .slot_bytes = shape->head_size * 2,
        .page_bytes = KG_KV_PAGE_BYTES(shape),
    };
    layout.part_strips = (uint32_t)(KG_KV_ROW_MAX / ((size_t)layout.slot_bytes * KG_PAGE));
    layout.parts = (layout.strips + layout.part_strips - 1) / layout.part_strips;
    layout.token_bytes = layout.page_bytes / KG_PAGE;
    return layout;
}

static uint32_t strips_of(const struct kg_kv_layout *layout, uint32_t part)
{
    uint32_t first = part * layout->part_strips;
    uint32_t left = layout->strips - first;
    return left < layout->part_strips ? left : layout->part_strips;
}

size_t kg_kv_part_bytes(const struct kg_kv_layout *layout, uint32_t part, uint32_t tokens)
{
    return (size_t)strips_of(layout, part) * tokens * layout->slot_bytes;
}

void kg_kv_part_pack(const struct kg_kv_layout *layout, uint32_t part, uint32_t tokens, const uint8_t *page, uint8_t *out)
{
    size_t strip = (size_t)KG_PAGE * layout->slot_bytes, used = (size_t)tokens * layout->slot_bytes;
    const uint8_t *from = page + part * (size_t)layout->part_strips * strip;
    for (uint32_t s = strips_of(layout, part); s > 0; s--, from += strip, out += used)
        memcpy(out, from, used);
}

void kg_kv_part_unpack(const struct kg_kv_layout *layout, uint32_t part, uint32_t tokens, const uint8_t *in, uint8_t *page)
{
    size_t strip = (size_t)KG_PAGE * layout->slot_bytes, used = (size_t)tokens * layout->slot_bytes;
    uint8_t *to = page + part * (size_t)layout->part_strips * strip;
    for (uint32_t s = strips_of(layout, part); s > 0; s--, to += strip, in += used)
        memcpy(to, in, used);
}

uint64_t kg_kv_row_sum(const struct kg_kv_row *row)
{
    struct {
        uint8_t key[32];
        uint32_t page, part, tokens, spare;
        uint64_t bytes;
        int32_t ids[KG_PAGE];
    } identity;
    memset(&identity, 0, sizeof identity);
    memcpy(identity.key, row->key, sizeof identity.key);
    identity.page = row->page;
    identity.part = row->part;
    identity.tokens = row->tokens;
    identity.bytes = row->bytes;
    memcpy(identity.ids, row->ids, row->tokens * sizeof *identity.ids);
    return XXH3_64bits_withSeed(row->payload, row->bytes, XXH3_64bits(&identity, sizeof identity));
}
