#include "engine/tokenizer/merges.h"

#include <stdlib.h>
#include <string.h>

#define MERGES_KEY "tokenizer.ggml.merges"
#define SHORT_WORD 40 /* up to here looking for the minimum beats a heap */

static uint32_t slot_of(const struct kg_merges *m, uint32_t left, uint32_t right)
{
    uint64_t mixed = ((uint64_t)left << 32 | right) * 0x9e3779b97f4a7c15U;
    uint32_t slot = (uint32_t)(mixed >> 32) & m->slot_mask;
    while (m->slots[slot].left != KG_NO_RANK && (m->slots[slot].left != left || m->slots[slot].right != right))
        slot = (slot + 1) & m->slot_mask;
    return slot;
}

static uint32_t rank_of(const struct kg_merges *m, uint32_t left, uint32_t right)
{
    return m->slots[slot_of(m, left, right)].rank;
}

/* "left right" in byte-level characters; the parts cannot hold a space. */
static bool parse_merge(const struct kg_vocabulary *v, struct kg_gguf_text text, char *joined, struct kg_merge *out)
{
    const char *space = text.length > 2 ? memchr(text.bytes + 1, ' ', text.length - 1) : NULL;
    if (!space || text.length > 2 * (size_t)KG_TOKEN_BYTES_MAX + 1)
        return false;
    size_t left_text = (size_t)(space - text.bytes);
    size_t left;
    size_t right;
    if (!kg_byte_level_decode(text.bytes, left_text, joined, &left) ||
        !kg_byte_level_decode(space + 1, text.length - left_text - 1, joined + left, &right) || left == 0 || right == 0)
        return false;
    int32_t ids[3] = { kg_vocabulary_find(v, joined, left), kg_vocabulary_find(v, joined + left, right),
                       kg_vocabulary_find(v, joined, left + right) };
    *out = (struct kg_merge){ (uint32_t)ids[0], (uint32_t)ids[1], (uint32_t)ids[2] };
    return ids[0] >= 0 && ids[1] >= 0 && ids[2] >= 0;
}

static enum kg_status read_all(const struct kg_gguf *file, const struct kg_vocabulary *v, struct kg_merges *m, size_t count,
                               char *joined, struct kg_error *err)
{
    for (size_t i = 0; i < count; i++) {
        struct kg_gguf_text text;
        struct kg_merge merge;
        enum kg_status status = kg_gguf_array_text(file, MERGES_KEY, i, &text, err);
        if (status != KG_OK)
            return status;
        if (!parse_merge(v, text, joined, &merge))
            continue;
        struct kg_merge_slot *slot = &m->slots[slot_of(m, merge.left, merge.right)];
        if (slot->left != KG_NO_RANK) /* said twice: the first one counts */
            continue;
        *slot = (struct kg_merge_slot){ merge.left, merge.right, m->count };
        m->by_rank[m->count++] = merge;
    }
    return KG_OK;
}

enum kg_status kg_merges_read(const struct kg_gguf *file, const struct kg_vocabulary *v, struct kg_merges *m, struct kg_error *err)
{
    size_t count = 0;
    *m = (struct kg_merges){ 0 };
    enum kg_status status = kg_gguf_array_count(file, MERGES_KEY, &count, err);
    if (status != KG_OK)
        return status;
    if (count > KG_TOKENS_MAX)
        return kg_fail(err, KG_ERR_FORMAT, "%s: " MERGES_KEY " has %zu entries, more than %u; fetch the file again",
                       kg_gguf_path(file), count, KG_TOKENS_MAX);
    uint32_t capacity = 1024;
    while (capacity < count + count / 2)
        capacity *= 2;
    m->slot_mask = capacity - 1;
    m->by_rank = malloc((count + 1) * sizeof *m->by_rank);
    m->slots = malloc(capacity * sizeof *m->slots);
    char *joined = malloc(2 * (size_t)KG_TOKEN_BYTES_MAX + 1);
    if (m->by_rank && m->slots && joined) {
        memset(m->slots, 0xff, capacity * sizeof *m->slots); /* left and rank are KG_NO_RANK */
        status = read_all(file, v, m, count, joined, err);
    } else {
        status = kg_fail_nomem(err, "reading the merges of the vocabulary");
    }
    free(joined);
    for (unsigned byte = 0; status == KG_OK && byte < 256; byte++) {
        char one = (char)byte;
        int32_t id = kg_vocabulary_find(v, &one, 1);
        m->byte_ids[byte] = id >= 0 ? (uint32_t)id : v->count + byte;
        m->lacks_bytes |= id < 0;
    }
    if (status != KG_OK)
        kg_merges_free(m);
    return status;
}

void kg_merges_free(struct kg_merges *m)
{
    free(m->by_rank);
    free(m->slots);
    *m = (struct kg_merges){ 0 };
}

static enum kg_status merge_short(const struct kg_merges *m, const uint8_t *word, size_t length, struct kg_ids *out,
                                  struct kg_error *err)
{
    uint32_t ids[SHORT_WORD];
    uint32_t ranks[SHORT_WORD]; /* of the pair (i, i + 1) */
    size_t n = length;
    for (size_t i = 0; i < n; i++)
        ids[i] = m->byte_ids[word[i]];
    for (size_t i = 0; i + 1 < n; i++)
        ranks[i] = rank_of(m, ids[i], ids[i + 1]);
    while (n > 1) {
        size_t best = 0;
        for (size_t i = 1; i + 1 < n; i++)
            if (ranks[i] < ranks[best])
                best = i;
        if (ranks[best] == KG_NO_RANK)
            break;
        ids[best] = m->by_rank[ranks[best]].result;
        n--;
        memmove(ids + best + 1, ids + best + 2, (n - best - 1) * sizeof *ids);
        memmove(ranks + best, ranks + best + 1, (n - best - 1) * sizeof *ranks);
        if (best > 0)
            ranks[best - 1] = rank_of(m, ids[best - 1], ids[best]);
        if (best + 1 < n)
            ranks[best] = rank_of(m, ids[best], ids[best + 1]);
    }
    return kg_ids_append(out, (const int32_t *)ids, n, err);
}

/* A word's parts as a list over its places; a part stands at its first byte, the places it has swallowed are dead. */
struct kg_merge_node {
    uint32_t id; /* KG_NO_RANK: dead */
    uint32_t before, after;
};
#define NOWHERE UINT32_MAX

static void sift_down(uint64_t *heap, size_t count, size_t at)
{
    uint64_t moving = heap[at];
    for (size_t child; (child = 2 * at + 1) < count; at = child) {
        if (child + 1 < count && heap[child + 1] < heap[child])
            child++;
        if (moving <= heap[child])
            break;
        heap[at] = heap[child];
    }
    heap[at] = moving;
}

static uint64_t pop(struct kg_merge_work *w)
{
    uint64_t least = w->heap[0];
    w->heap[0] = w->heap[--w->heap_count];
    if (w->heap_count)
        sift_down(w->heap, w->heap_count, 0);
    return least;
}

static void push(struct kg_merge_work *w, uint64_t entry)
{
    size_t at = w->heap_count++;
    for (; at > 0 && w->heap[(at - 1) / 2] > entry; at = (at - 1) / 2)
        w->heap[at] = w->heap[(at - 1) / 2];
    w->heap[at] = entry;
}

/* Each merge takes an entry out and adds two at most, so 2 * length of them are enough. */
static enum kg_status reserve(struct kg_merge_work *w, size_t length, struct kg_error *err)
{
    if (w->node_capacity < length) {
        free(w->nodes);
        w->nodes = malloc(length * sizeof *w->nodes);
        w->node_capacity = w->nodes ? length : 0;
    }
    if (w->heap_capacity < 2 * length) {
        free(w->heap);
        w->heap = malloc(2 * length * sizeof *w->heap);
        w->heap_capacity = w->heap ? 2 * length : 0;
    }
    return w->nodes && w->heap ? KG_OK : kg_fail_nomem(err, "splitting a text into tokens");
}

void kg_merge_work_free(struct kg_merge_work *work)
{
    free(work->nodes);
    free(work->heap);
    *work = (struct kg_merge_work){ 0 };
}

static void offer(const struct kg_merges *m, struct kg_merge_work *w, uint32_t left, uint32_t right)
{
    if (left == NOWHERE || right == NOWHERE)
        return;
    uint32_t rank = rank_of(m, w->nodes[left].id, w->nodes[right].id);
    if (rank != KG_NO_RANK)
        push(w, (uint64_t)rank << 32 | left);
}

static void apply_all(const struct kg_merges *m, struct kg_merge_work *w)
{
    struct kg_merge_node *nodes = w->nodes;
    while (w->heap_count) {
        uint64_t entry = pop(w);
        const struct kg_merge *merge = &m->by_rank[entry >> 32];
        struct kg_merge_node *left = &nodes[(uint32_t)entry];
        /* The entry is stale when one of its parts has been merged since. */
        if (left->id != merge->left || left->after == NOWHERE || nodes[left->after].id != merge->right)
            continue;
        struct kg_merge_node *right = &nodes[left->after];
        left->id = merge->result;
        right->id = KG_NO_RANK;
        left->after = right->after;
        if (left->after != NOWHERE)
            nodes[left->after].before = (uint32_t)entry;
        offer(m, w, left->before, (uint32_t)entry);
        offer(m, w, (uint32_t)entry, left->after);
    }
}

static enum kg_status merge_long(const struct kg_merges *m, struct kg_merge_work *w, const uint8_t *word, size_t length,
                                 struct kg_ids *out, struct kg_error *err)
{
    enum kg_status status = reserve(w, length, err);
    if (status != KG_OK)
        return status;
    for (uint32_t i = 0; i < length; i++)
        w->nodes[i] = (struct kg_merge_node){ m->byte_ids[word[i]], i - 1, i + 1 < length ? i + 1 : NOWHERE };
    w->heap_count = 0;
    for (uint32_t i = 0; i + 1 < length; i++) {
        uint32_t rank = rank_of(m, w->nodes[i].id, w->nodes[i + 1].id);
        if (rank != KG_NO_RANK)
            w->heap[w->heap_count++] = (uint64_t)rank << 32 | i;
    }
    for (size_t i = w->heap_count / 2; i-- > 0;)
        sift_down(w->heap, w->heap_count, i);
    apply_all(m, w);
    for (uint32_t i = 0; status == KG_OK && i != NOWHERE; i = w->nodes[i].after)
        status = kg_ids_push(out, (int32_t)w->nodes[i].id, err);
    return status;
}

enum kg_status kg_merge_word(const struct kg_merges *m, struct kg_merge_work *work, const uint8_t *word, size_t length,
                             struct kg_ids *out, struct kg_error *err)
{
    if (length == 1)
        return kg_ids_push(out, (int32_t)m->byte_ids[word[0]], err);
    return length <= SHORT_WORD ? merge_short(m, word, length, out, err) : merge_long(m, work, word, length, out, err);
}
