#include "engine/tokenizer/tokenizer.h"

#include <stdlib.h>
#include <string.h>

#include "engine/tokenizer/merges.h"
#include "engine/tokenizer/special.h"
#include "engine/tokenizer/vocabulary.h"
#include "engine/tokenizer/words.h"

#define TEXT_MAX ((size_t)64 << 20) /* merging one word takes 28 bytes a byte */

struct kg_tokenizer {
    struct kg_vocabulary vocabulary;
    struct kg_special special;
    struct kg_merges merges;
    struct kg_words *words;
    struct kg_ids unwritable; /* stands for a byte that has no token: U+FFFD, or nothing where that has none either */
};

/* Memory of one call. */
struct work {
    const struct kg_tokenizer *tokenizer;
    struct kg_word_reader reader;
    struct kg_merge_work merging;
    struct kg_ids made_up; /* a word with made-up ids, while they are replaced */
    struct kg_ids *out;
    size_t out_before;
};

static enum kg_status work_open(struct work *work, const struct kg_tokenizer *tokenizer, struct kg_ids *out, struct kg_error *err)
{
    *work = (struct work){ .tokenizer = tokenizer, .out = out, .out_before = out->count };
    return kg_word_reader_open(tokenizer->words, &work->reader, err);
}

/* On failure the list is as it was before. */
static void work_close(struct work *work, enum kg_status status)
{
    kg_word_reader_close(&work->reader);
    kg_merge_work_free(&work->merging);
    kg_ids_free(&work->made_up);
    if (status != KG_OK)
        work->out->count = work->out_before;
}

/* Bytes without a token have got ids beyond the vocabulary. */
static enum kg_status replace_made_up(struct work *work, size_t from, struct kg_error *err)
{
    const struct kg_tokenizer *t = work->tokenizer;
    size_t first = from;
    while (first < work->out->count && (uint32_t)work->out->ids[first] < t->vocabulary.count)
        first++;
    if (first == work->out->count)
        return KG_OK;
    work->made_up.count = 0;
    enum kg_status status = kg_ids_append(&work->made_up, work->out->ids + first, work->out->count - first, err);
    work->out->count = first;
    for (size_t i = 0; status == KG_OK && i < work->made_up.count; i++)
        if ((uint32_t)work->made_up.ids[i] < t->vocabulary.count)
            status = kg_ids_push(work->out, work->made_up.ids[i], err);
        else
            status = kg_ids_append(work->out, t->unwritable.ids, t->unwritable.count, err);
    return status;
}

static enum kg_status add_word(struct work *work, const uint8_t *word, size_t length, struct kg_error *err)
{
    const struct kg_tokenizer *t = work->tokenizer;
    if (kg_words_whole_first(t->words)) {
        int32_t id = kg_vocabulary_find(&t->vocabulary, (const char *)word, length);
        if (id >= 0)
            return kg_ids_push(work->out, id, err);
    }
    size_t from = work->out->count;
    enum kg_status status = kg_merge_word(&t->merges, &work->merging, word, length, work->out, err);
    return status == KG_OK && t->merges.lacks_bytes ? replace_made_up(work, from, err) : status;
}

/* Text without special tokens in it. */
static enum kg_status add_text(struct work *work, const uint8_t *text, size_t length, struct kg_error *err)
{
    enum kg_status status;
    const uint8_t *word;
    size_t word_length;
    kg_word_reader_set(&work->reader, text, length);
    while ((status = kg_word_next(&work->reader, &word, &word_length, err)) == KG_OK && word_length > 0)
        if ((status = add_word(work, word, word_length, err)) != KG_OK)
            break;
    return status;
}

enum kg_status kg_tokenize(const struct kg_tokenizer *tokenizer, const char *text, size_t length, bool special,
                           struct kg_ids *out, struct kg_error *err)
{
    if (length > TEXT_MAX)
        return kg_fail(err, KG_ERR_RANGE, "a text of %zu bytes is too long to be read; the most is 64 MiB", length);
    struct work work;
    enum kg_status status = work_open(&work, tokenizer, out, err);
    const uint8_t *bytes = (const uint8_t *)text;
    const bool *begins_name = tokenizer->special.begins_name[special];
    size_t begin = 0; /* of the plain text that has not been added yet */
    for (size_t at = 0; status == KG_OK && at < length;) {
        size_t name_length = 0;
        int32_t id = -1;
        if (begins_name[bytes[at]])
            id = kg_special_at(&tokenizer->special, &tokenizer->vocabulary, bytes + at, length - at, special, &name_length);
        if (id < 0) {
            at++;
            continue;
        }
        status = add_text(&work, bytes + begin, at - begin, err);
        if (status == KG_OK)
            status = kg_ids_push(out, id, err);
        begin = at += name_length;
    }
    if (status == KG_OK)
        status = add_text(&work, bytes + begin, length - begin, err);
    work_close(&work, status);
    return status;
}

/* Ids for a byte that the vocabulary cannot write. */
static enum kg_status find_unwritable(struct kg_tokenizer *t, struct kg_error *err)
{
    static const uint8_t replacement[] = { 0xef, 0xbf, 0xbd };
    struct kg_merge_work work = { 0 };
    enum kg_status status = kg_merge_word(&t->merges, &work, replacement, sizeof replacement, &t->unwritable, err);
    kg_merge_work_free(&work);
    for (size_t i = 0; i < t->unwritable.count; i++)
        if ((uint32_t)t->unwritable.ids[i] >= t->vocabulary.count)
            t->unwritable.count = 0;
    return status;
}

static enum kg_status check_model(const struct kg_gguf *file, struct kg_error *err)
{
    struct kg_gguf_text model;
    enum kg_status status = kg_gguf_get_text(file, "tokenizer.ggml.model", &model, err);
    if (status == KG_OK && (model.length != 4 || memcmp(model.bytes, "gpt2", 4) != 0))
        status = kg_fail(err, KG_ERR_UNSUPPORTED,
                         "%s: the tokenizer '%.*s' is not supported; choose a model with a byte-level one ('gpt2')",
                         kg_gguf_path(file), model.length < 64 ? (int)model.length : 64, model.bytes);
    return status;
}

static enum kg_status build(struct kg_tokenizer *t, const struct kg_gguf *file, struct kg_error *err)
{
    struct kg_gguf_text pattern;
    enum kg_status status = check_model(file, err);
    if (status == KG_OK)
        status = kg_gguf_get_text(file, "tokenizer.ggml.pre", &pattern, err);
    if (status == KG_OK)
        status = kg_words_create(pattern.bytes, pattern.length, &t->words, err);
    if (status == KG_OK)
        status = kg_vocabulary_read(file, &t->vocabulary, err);
    if (status == KG_OK)
        status = kg_special_read(file, kg_words_begin_text(t->words), &t->vocabulary, &t->special, err);
    if (status == KG_OK)
        status = kg_vocabulary_index(&t->vocabulary, err);
    if (status == KG_OK)
        status = kg_merges_read(file, &t->vocabulary, &t->merges, err);
    return status == KG_OK ? find_unwritable(t, err) : status;
}

enum kg_status kg_tokenizer_create(const struct kg_gguf *file, struct kg_tokenizer **out, struct kg_error *err)
{
    struct kg_tokenizer *tokenizer = calloc(1, sizeof *tokenizer);
    if (!tokenizer)
        return kg_fail_nomem(err, "preparing the tokenizer");
    enum kg_status status = build(tokenizer, file, err);
    if (status == KG_OK)
        status = kg_gguf_intact(file, err);
    if (status == KG_OK)
        *out = tokenizer;
    else
        kg_tokenizer_free(tokenizer);
    return status;
}

void kg_tokenizer_free(struct kg_tokenizer *tokenizer)
{
    if (!tokenizer)
        return;
    kg_vocabulary_free(&tokenizer->vocabulary);
    kg_special_free(&tokenizer->special);
    kg_merges_free(&tokenizer->merges);
    kg_words_free(tokenizer->words);
    kg_ids_free(&tokenizer->unwritable);
    free(tokenizer);
}

uint32_t kg_vocabulary(const struct kg_tokenizer *tokenizer)
{
    return tokenizer->vocabulary.count;
}

static bool is_in(const struct kg_tokenizer *tokenizer, int32_t id)
{
    return id >= 0 && (uint32_t)id < tokenizer->vocabulary.count;
}

const char *kg_token_bytes(const struct kg_tokenizer *tokenizer, int32_t id, bool special, size_t *length)
{
    *length = 0;
    if (!is_in(tokenizer, id))
        return "";
    uint8_t type = tokenizer->vocabulary.types[id];
    if (!special && (type == KG_TOKEN_CONTROL || type == KG_TOKEN_UNKNOWN || type == KG_TOKEN_UNUSED))
        return "";
    return kg_vocabulary_bytes(&tokenizer->vocabulary, (uint32_t)id, length);
}

int32_t kg_token_named(const struct kg_tokenizer *tokenizer, const char *name)
{
    return kg_special_named(&tokenizer->special, &tokenizer->vocabulary, name);
}

bool kg_token_ends_generation(const struct kg_tokenizer *tokenizer, int32_t id)
{
    return is_in(tokenizer, id) && tokenizer->special.ends[id];
}

bool kg_token_has_newline(const struct kg_tokenizer *tokenizer, int32_t id)
{
    size_t length;
    const char *bytes = kg_token_bytes(tokenizer, id, false, &length);
    return length > 0 && memchr(bytes, '\n', length) != NULL;
}

const struct kg_special_ids *kg_special_ids(const struct kg_tokenizer *tokenizer)
{
    return &tokenizer->special.ids;
}
