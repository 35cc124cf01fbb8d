/* The tokens of a file as bytes, and the way back from bytes to the token that merging may produce.
 *
 * A byte-level vocabulary writes each byte as one printable character: the 188 visible ones of Latin-1 stand
 * for themselves, the other 68 bytes for U+0100 and up ("Ġ" is a space). Names of special tokens are written plainly.
 */
#ifndef KG_ENGINE_VOCABULARY_H
#define KG_ENGINE_VOCABULARY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "engine/gguf/gguf.h"

/* tokenizer.ggml.token_type */
enum kg_token_type {
    KG_TOKEN_UNDEFINED = 0,
    KG_TOKEN_NORMAL = 1,
    KG_TOKEN_UNKNOWN = 2,
    KG_TOKEN_CONTROL = 3,
    KG_TOKEN_USER = 4,
    KG_TOKEN_UNUSED = 5,
    KG_TOKEN_BYTE = 6
};

#define KG_TOKEN_BYTES_MAX 65535 /* one token's text */
#define KG_TOKENS_MAX (1U << 24)

struct kg_vocabulary {
    uint32_t count;
    uint32_t *offsets; /* count + 1, into bytes */
    char *bytes;
    uint8_t *types;
    bool *plain; /* written in characters outside the byte alphabet, so never a result of merging */
    struct kg_vocabulary_slot {
        uint32_t tag; /* upper half of the hash, so that other tokens' bytes are seldom looked at */
        uint32_t next_id; /* id + 1; 0 = free */
    } *slots; /* by the lower half, linear probing */
    uint32_t slot_mask;
};

/* Reads tokens and types. On failure there is nothing to free. */
enum kg_status kg_vocabulary_read(const struct kg_gguf *file, struct kg_vocabulary *vocabulary, struct kg_error *err);

/* Makes kg_vocabulary_find work, for all tokens that text may become; after the types have got their last value. */
enum kg_status kg_vocabulary_index(struct kg_vocabulary *vocabulary, struct kg_error *err);
void kg_vocabulary_free(struct kg_vocabulary *vocabulary);

/* Of several tokens with the same bytes the normal one with the smallest id; -1 if there is none. */
int32_t kg_vocabulary_find(const struct kg_vocabulary *vocabulary, const char *bytes, size_t length);

static inline const char *kg_vocabulary_bytes(const struct kg_vocabulary *vocabulary, uint32_t id, size_t *length)
{
    *length = vocabulary->offsets[id + 1] - vocabulary->offsets[id];
    return vocabulary->bytes + vocabulary->offsets[id];
}

/* Byte-level characters -> bytes (out holds `length` bytes). False if a character is not of the alphabet. */
bool kg_byte_level_decode(const char *text, size_t length, char *out, size_t *out_length);

#endif
