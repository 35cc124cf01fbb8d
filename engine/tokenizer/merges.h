/* Byte-pair merging: a word's bytes become tokens by applying, again and again, the merge of lowest rank
 * (of equal ones the leftmost) that two neighbours allow.
 */
#ifndef KG_ENGINE_MERGES_H
#define KG_ENGINE_MERGES_H

#include "engine/tokenizer/tokenizer.h"
#include "engine/tokenizer/vocabulary.h"

struct kg_merge {
    uint32_t left, right, result; /* ids */
};

struct kg_merges {
    struct kg_merge *by_rank;
    uint32_t count;
    struct kg_merge_slot {
        uint32_t left, right, rank; /* left == KG_NO_RANK: free */
    } *slots;
    uint32_t slot_mask;
    uint32_t byte_ids[256]; /* a byte without a token of its own has a made-up id, vocabulary + byte */
    bool lacks_bytes;       /* some have none */
};

#define KG_NO_RANK UINT32_MAX

/* Reads tokenizer.ggml.merges. One whose parts or result are no tokens can never apply, and is left out. On failure
 * there is nothing to free. */
enum kg_status kg_merges_read(const struct kg_gguf *file, const struct kg_vocabulary *vocabulary, struct kg_merges *merges,
                              struct kg_error *err);
void kg_merges_free(struct kg_merges *merges);

/* Working memory of one call of kg_tokenize; zero-initialise. */
struct kg_merge_work {
    struct kg_merge_node *nodes;
    size_t node_capacity;
    uint64_t *heap; /* rank << 32 | place of the left part */
    size_t heap_count, heap_capacity;
};
void kg_merge_work_free(struct kg_merge_work *work);

/* Appends the ids of a word (1 .. 2^31 - 1 bytes), made-up ones included. */
enum kg_status kg_merge_word(const struct kg_merges *merges, struct kg_merge_work *work, const uint8_t *word, size_t length,
                             struct kg_ids *out, struct kg_error *err);

#endif
