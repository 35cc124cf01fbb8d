/* Cutting a text at line starts to a number of tokens. */
#include <stdlib.h>
#include <string.h>

#include "engine/eval/cbr_parts.h"

enum kg_status kg_cbr_count(const struct kg_tokenizer *tokenizer, const char *text, size_t length, uint32_t *out, struct kg_error *err)
{
    struct kg_ids ids = { 0 };
    enum kg_status status = kg_tokenize(tokenizer, text, length, false, &ids, err);
    *out = (uint32_t)ids.count;
    kg_ids_free(&ids);
    return status;
}

/* Offsets at which lines start, and the text's end. */
static size_t *line_starts(const char *text, size_t length, size_t *count)
{
    size_t lines = 2;
    for (size_t i = 0; i < length; i++)
        lines += text[i] == '\n';
    size_t *starts = malloc(lines * sizeof *starts);
    if (!starts)
        return NULL;
    size_t n = 0;
    starts[n++] = 0;
    for (size_t i = 0; i + 1 < length; i++)
        if (text[i] == '\n')
            starts[n++] = i + 1;
    if (length)
        starts[n++] = length;
    *count = n;
    return starts;
}

struct cut {
    const struct kg_tokenizer *tokenizer;
    const char *text;
    size_t length;
    uint32_t tokens;
    bool end; /* the end is kept, not the begin */
};

static enum kg_status fits(const struct cut *cut, size_t offset, bool *out, struct kg_error *err)
{
    uint32_t tokens;
    enum kg_status status = kg_cbr_count(cut->tokenizer, cut->end ? cut->text + offset : cut->text, cut->end ? cut->length - offset : offset, &tokens,
                                         err);
    *out = tokens <= cut->tokens;
    return status;
}

/* starts[0 .. count-1], of which those that fit come first (begin) or last (end). A longer text has hardly ever fewer
 * tokens, so halving finds a place near the edge; it fits, and the next one over the edge was seen not to. */
static enum kg_status find(const struct cut *cut, const size_t *starts, size_t count, size_t *offset, struct kg_error *err)
{
    size_t good = cut->end ? count - 1 : 0, bad = cut->end ? 0 : count - 1;
    bool all;
    enum kg_status status = fits(cut, starts[bad], &all, err);
    if (status == KG_OK && all)
        good = bad;
    while (status == KG_OK && (good > bad ? good - bad : bad - good) > 1) {
        size_t middle = good + (bad - good) / 2;
        if (good > bad)
            middle = bad + (good - bad) / 2;
        bool fit;
        status = fits(cut, starts[middle], &fit, err);
        if (fit)
            good = middle;
        else
            bad = middle;
    }
    *offset = starts[good];
    return status;
}

static enum kg_status keep(const struct cut *cut, size_t *offset, struct kg_error *err)
{
    size_t count;
    size_t *starts = line_starts(cut->text, cut->length, &count);
    if (!starts)
        return kg_fail_nomem(err, "cutting a text");
    enum kg_status status = find(cut, starts, count, offset, err);
    free(starts);
    return status;
}

enum kg_status kg_cbr_keep_begin(const struct kg_tokenizer *tokenizer, const char *text, size_t length, uint32_t tokens, size_t *bytes,
                                 struct kg_error *err)
{
    return keep(&(struct cut){ tokenizer, text, length, tokens, false }, bytes, err);
}

enum kg_status kg_cbr_keep_end(const struct kg_tokenizer *tokenizer, const char *text, size_t length, uint32_t tokens, size_t *offset,
                               struct kg_error *err)
{
    return keep(&(struct cut){ tokenizer, text, length, tokens, true }, offset, err);
}
