#include "engine/cache/kv_row.h"

#include <string.h>
#include <xxhash.h>

struct kg_kv_layout kg_kv_layout_of(const struct kg_kv_shape *shape)
{
    struct kg_kv_layout layout = {
        .strips = shape->layers * 2 * shape->kv_heads,
        .slot_bytes = (uint32_t)KG_KV_ROW_BYTES(shape),
        .kv_bytes = KG_KV_PAGE_BYTES(shape),
        .index_bytes = shape->index_bits ? sizeof(uint32_t) + KG_INDEX_PAGE_BYTES(shape) : 0,
    };
    layout.page_bytes = layout.kv_bytes + layout.index_bytes;
    layout.part_strips = (uint32_t)(KG_KV_ROW_MAX / ((size_t)layout.slot_bytes * KG_PAGE));
    layout.kv_parts = (layout.strips + layout.part_strips - 1) / layout.part_strips;
    layout.parts = layout.kv_parts + (uint32_t)((layout.index_bytes + KG_KV_ROW_MAX - 1) / KG_KV_ROW_MAX);
    return layout;
}

static uint32_t strips_of(const struct kg_kv_layout *layout, uint32_t part)
{
    uint32_t first = part * layout->part_strips;
    uint32_t left = layout->strips - first;
    return left < layout->part_strips ? left : layout->part_strips;
}

/* Where a part of the index begins in the page. */
static size_t index_offset(const struct kg_kv_layout *layout, uint32_t part)
{
    return layout->kv_bytes + (size_t)(part - layout->kv_parts) * KG_KV_ROW_MAX;
}

size_t kg_kv_part_bytes(const struct kg_kv_layout *layout, uint32_t part, uint32_t tokens)
{
    if (part < layout->kv_parts)
        return (size_t)strips_of(layout, part) * tokens * layout->slot_bytes;
    size_t left = layout->page_bytes - index_offset(layout, part);
    return left < KG_KV_ROW_MAX ? left : KG_KV_ROW_MAX;
}

size_t kg_kv_page_payload(const struct kg_kv_layout *layout, uint32_t tokens)
{
    return (size_t)layout->strips * tokens * layout->slot_bytes + layout->index_bytes;
}

/* Copies the used slots of a part between strips with all slots and strips without the unused ones. */
static void copy_part(const struct kg_kv_layout *layout, uint32_t part, uint32_t tokens, const uint8_t *from, size_t from_strip, uint8_t *to,
                      size_t to_strip)
{
    for (uint32_t s = strips_of(layout, part); s > 0; s--, from += from_strip, to += to_strip)
        memcpy(to, from, (size_t)tokens * layout->slot_bytes);
}

void kg_kv_part_pack(const struct kg_kv_layout *layout, uint32_t part, uint32_t tokens, const uint8_t *page, uint8_t *out)
{
    size_t strip = (size_t)KG_PAGE * layout->slot_bytes;
    if (part < layout->kv_parts)
        copy_part(layout, part, tokens, page + part * (size_t)layout->part_strips * strip, strip, out, (size_t)tokens * layout->slot_bytes);
    else
        memcpy(out, page + index_offset(layout, part), kg_kv_part_bytes(layout, part, tokens));
}

void kg_kv_part_unpack(const struct kg_kv_layout *layout, uint32_t part, uint32_t tokens, const uint8_t *in, uint8_t *page)
{
    size_t strip = (size_t)KG_PAGE * layout->slot_bytes;
    if (part < layout->kv_parts)
        copy_part(layout, part, tokens, in, (size_t)tokens * layout->slot_bytes, page + part * (size_t)layout->part_strips * strip, strip);
    else
        memcpy(page + index_offset(layout, part), in, kg_kv_part_bytes(layout, part, tokens));
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
