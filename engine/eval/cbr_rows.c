/* What the target's tokens look at: how many keys, and how many bytes of keys, values and index. */
#include <stdlib.h>

#include "engine/eval/cbr_parts.h"

static uint32_t smaller(uint32_t a, uint32_t b)
{
    return a < b ? a : b;
}

/* The blocks of a context and its target, one behind the other. */
struct layout {
    const struct kg_cbr_text *text;
    const bool *anchors;
};

static size_t block_count(const struct layout *layout)
{
    return layout->text->piece_count + 3;
}

static struct kg_cbr_piece block_at(const struct layout *layout, size_t i)
{
    const struct kg_cbr_text *text = layout->text;
    if (i == 0)
        return (struct kg_cbr_piece){ KG_BLOCK_PREAMBLE, text->preamble.ids, (uint32_t)text->preamble.count };
    if (i <= text->piece_count)
        return text->pieces[i - 1];
    if (i == text->piece_count + 1)
        return (struct kg_cbr_piece){ KG_BLOCK_TURN, text->turn.ids, (uint32_t)text->turn.count };
    return (struct kg_cbr_piece){ KG_BLOCK_ANSWER, text->target.ids, (uint32_t)text->target.count };
}

/* Among positions from .. upto-1: pages that hold one of them, and line anchors. */
static void count_between(const struct layout *layout, uint32_t from, uint32_t upto, uint32_t *pages, uint32_t *anchors)
{
    uint32_t base = 0;
    *pages = *anchors = 0;
    for (size_t i = 0; i < block_count(layout) && base < upto; i++) {
        const struct kg_cbr_piece block = block_at(layout, i);
        const uint32_t first = from > base ? from - base : 0, end = smaller(upto - base, block.count);
        if (first < end)
            *pages += (end - 1) / KG_PAGE - first / KG_PAGE + 1;
        for (uint32_t t = first; t < end; t++)
            *anchors += layout->anchors[block.ids[t]];
        base += block.count;
    }
}

struct kg_cbr_cost kg_cbr_cost(const struct kg_cbr_text *text, const struct kg_kv_shape *shape, const struct kg_cbr_rule *rule, const bool *anchors)
{
    const struct layout layout = { text, anchors };
    const double heads = (double)shape->layers * shape->kv_heads, row = 2.0 * (double)KG_KV_ROW_BYTES(shape);
    const size_t index = KG_INDEX_HEAD_BYTES(shape);
    struct kg_cbr_cost cost = { 0, 0 };
    uint32_t context = 0;
    for (size_t i = 0; i + 1 < block_count(&layout); i++)
        context += block_at(&layout, i).count;
    for (uint32_t t = 0; t < text->options.target; t++) {
        const uint32_t visible = context + text->lead + t, sinks = smaller(kg_cbr_sinks(text), visible);
        const uint32_t behind = visible - sinks, window = smaller(rule->window, behind), others = behind - window;
        uint32_t keys = visible, pages = 0, lines = 0;
        if (rule->look != KG_CBR_ALL)
            count_between(&layout, sinks, sinks + others, &pages, &lines);
        if (rule->look == KG_CBR_RECALL)
            keys = sinks + window + smaller(rule->k, others);
        else if (rule->look == KG_CBR_LINES)
            keys = sinks + window + lines;
        cost.keys += keys;
        cost.bytes += heads * (keys * row + (rule->look == KG_CBR_RECALL ? pages * (double)index : 0));
    }
    return cost;
}
