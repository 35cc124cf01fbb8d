#include "engine/tokenizer/vocabulary.h"

#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "engine/tokenizer/utf8.h"

#define TOKENS_KEY "tokenizer.ggml.tokens"
#define TYPES_KEY "tokenizer.ggml.token_type"

static bool stands_for_itself(uint32_t c)
{
    return (c >= 0x21 && c <= 0x7e) || (c >= 0xa1 && c <= 0xac) || (c >= 0xae && c <= 0xff);
}

/* The byte that a character of the alphabet stands for, -1 if it is not of it. The others are in order:
 * 00..20 are U+0100..U+0120, 7F..A0 are U+0121..U+0142, AD is U+0143. */
static int byte_of(uint32_t c)
{
    if (stands_for_itself(c))
        return (int)c;
    if (c >= 0x100 && c <= 0x120)
        return (int)c - 0x100;
    if (c >= 0x121 && c <= 0x142)
        return (int)c - 0x121 + 0x7f;
    return c == 0x143 ? 0xad : -1;
}

bool kg_byte_level_decode(const char *text, size_t length, char *out, size_t *out_length)
{
    const uint8_t *s = (const uint8_t *)text;
    size_t used = 0;
    for (size_t at = 0; at < length;) {
        int n = kg_utf8_scan(s + at, length - at);
        if (n != 1 && n != 2)
            return false;
        int byte = byte_of(n == 1 ? s[at] : (s[at] & 0x1fU) << 6 | (s[at + 1] & 0x3fU));
        if (byte < 0)
            return false;
        out[used++] = (char)byte;
        at += (size_t)n;
    }
    *out_length = used;
    return true;
}

static bool is_written_plainly(uint8_t type)
{
    return type == KG_TOKEN_CONTROL || type == KG_TOKEN_UNKNOWN || type == KG_TOKEN_USER;
}

static enum kg_status read_types(const struct kg_gguf *file, struct kg_vocabulary *v, struct kg_error *err)
{
    size_t count;
    memset(v->types, KG_TOKEN_NORMAL, v->count);
    if (!kg_gguf_has(file, TYPES_KEY))
        return KG_OK;
    enum kg_status status = kg_gguf_array_count(file, TYPES_KEY, &count, err);
    if (status == KG_OK && count != v->count)
        status = kg_fail(err, KG_ERR_FORMAT, "%s: " TYPES_KEY " has %zu entries for %u tokens; fetch the file again",
                         kg_gguf_path(file), count, v->count);
    for (size_t i = 0; status == KG_OK && i < count; i++) {
        int64_t type = 0;
        status = kg_gguf_array_i64(file, TYPES_KEY, i, &type, err);
        v->types[i] = type >= KG_TOKEN_UNDEFINED && type <= KG_TOKEN_BYTE ? (uint8_t)type : KG_TOKEN_UNDEFINED;
    }
    return status;
}

static enum kg_status grow(struct kg_vocabulary *v, size_t used, size_t more, size_t *capacity, struct kg_error *err)
{
    if (used + more <= *capacity)
        return KG_OK;
    if (used + more > UINT32_MAX / 2)
        return kg_fail(err, KG_ERR_RANGE, "the tokens have more than 2 GiB of text; the file is damaged");
    size_t wanted = 2 * (used + more) + 65536;
    char *grown = realloc(v->bytes, wanted);
    if (!grown)
        return kg_fail_nomem(err, "reading the vocabulary");
    v->bytes = grown;
    *capacity = wanted;
    return KG_OK;
}

static enum kg_status read_texts(const struct kg_gguf *file, struct kg_vocabulary *v, struct kg_error *err)
{
    size_t used = 0;
    size_t capacity = 0;
    for (uint32_t id = 0; id < v->count; id++) {
        struct kg_gguf_text text = { 0 };
        size_t length;
        enum kg_status status = kg_gguf_array_text(file, TOKENS_KEY, id, &text, err);
        if (status == KG_OK && text.length > KG_TOKEN_BYTES_MAX)
            status = kg_fail(err, KG_ERR_FORMAT, "%s: token %u has %zu bytes, more than %d; fetch the file again",
                             kg_gguf_path(file), id, text.length, KG_TOKEN_BYTES_MAX);
        if (status == KG_OK)
            status = grow(v, used, text.length + 1, &capacity, err);
        if (status != KG_OK)
            return status;
        bool decoded = kg_byte_level_decode(text.bytes, text.length, v->bytes + used, &length);
        v->plain[id] = !decoded;
        if (!decoded || is_written_plainly(v->types[id])) {
            memcpy(v->bytes + used, text.bytes, text.length);
            length = text.length;
        }
        v->offsets[id] = (uint32_t)used;
        used += length;
    }
    v->offsets[v->count] = (uint32_t)used;
    return KG_OK;
}

enum kg_status kg_vocabulary_read(const struct kg_gguf *file, struct kg_vocabulary *v, struct kg_error *err)
{
    size_t count = 0;
    *v = (struct kg_vocabulary){ 0 };
    enum kg_status status = kg_gguf_array_count(file, TOKENS_KEY, &count, err);
    if (status != KG_OK)
        return status;
    if (count == 0 || count > KG_TOKENS_MAX)
        return kg_fail(err, KG_ERR_FORMAT, "%s: " TOKENS_KEY " has %zu entries, not 1 to %u; fetch the file again",
                       kg_gguf_path(file), count, KG_TOKENS_MAX);
    v->count = (uint32_t)count;
    v->offsets = malloc((count + 1) * sizeof *v->offsets);
    v->types = malloc(count);
    v->plain = malloc(count * sizeof *v->plain);
    if (!v->offsets || !v->types || !v->plain) {
        kg_vocabulary_free(v);
        return kg_fail_nomem(err, "reading the vocabulary");
    }
    status = read_types(file, v, err);
    if (status == KG_OK)
        status = read_texts(file, v, err);
    if (status != KG_OK)
        kg_vocabulary_free(v);
    return status;
}

void kg_vocabulary_free(struct kg_vocabulary *v)
{
    free(v->offsets);
    free(v->bytes);
    free(v->types);
    free(v->plain);
    free(v->slots);
    *v = (struct kg_vocabulary){ 0 };
}

/* The slot that holds a token of these bytes, or the free one where it would stand. */
static struct kg_vocabulary_slot *slot_of(const struct kg_vocabulary *v, const char *bytes, size_t length, uint32_t *tag)
{
    uint64_t hash = XXH3_64bits(bytes, length);
    *tag = (uint32_t)(hash >> 32);
    uint32_t at = (uint32_t)hash & v->slot_mask;
    for (; v->slots[at].next_id; at = (at + 1) & v->slot_mask) {
        if (v->slots[at].tag != *tag)
            continue;
        size_t n;
        const char *token = kg_vocabulary_bytes(v, v->slots[at].next_id - 1, &n);
        if (n == length && memcmp(token, bytes, length) == 0)
            break;
    }
    return &v->slots[at];
}

static void add_all(struct kg_vocabulary *v, bool user)
{
    for (uint32_t id = 0; id < v->count; id++) {
        uint8_t type = v->types[id];
        bool wanted = user ? type == KG_TOKEN_USER : type != KG_TOKEN_USER && !is_written_plainly(type) && type != KG_TOKEN_UNUSED;
        size_t length;
        const char *bytes = kg_vocabulary_bytes(v, id, &length);
        if (!wanted || v->plain[id] || length == 0)
            continue;
        uint32_t tag;
        struct kg_vocabulary_slot *slot = slot_of(v, bytes, length, &tag);
        if (slot->next_id == 0)
            *slot = (struct kg_vocabulary_slot){ tag, id + 1 };
    }
}

enum kg_status kg_vocabulary_index(struct kg_vocabulary *v, struct kg_error *err)
{
    uint32_t capacity = 1024;
    while (capacity < v->count + v->count / 2)
        capacity *= 2;
    v->slots = calloc(capacity, sizeof *v->slots);
    if (!v->slots)
        return kg_fail_nomem(err, "reading the vocabulary");
    v->slot_mask = capacity - 1;
    add_all(v, false);
    add_all(v, true);
    return KG_OK;
}

int32_t kg_vocabulary_find(const struct kg_vocabulary *v, const char *bytes, size_t length)
{
    uint32_t tag;
    return (int32_t)slot_of(v, bytes, length, &tag)->next_id - 1;
}
