#include "engine/session/parts.h"

#include <stdbool.h>

/* More bytes than this are never one part: it bounds what is tokenised twice. */
#define PART_BYTES ((size_t)12 * KG_PART_TOKENS)

/* How good a place `at` (the start of a line) is for a cut: 3 a definition at the left margin behind a blank line or a
 * closing one, 2 behind a blank line, 1 any line. */
static int cut_rank(const char *text, size_t at, size_t length)
{
    if (at == 0 || at >= length || text[at - 1] != '\n')
        return 0;
    char first = text[at];
    bool behind_blank = at >= 2 && text[at - 2] == '\n';
    bool behind_closing = at >= 2 && (text[at - 2] == '}' || (at >= 3 && text[at - 2] == ';' && text[at - 3] == '}'));
    bool margin = first != ' ' && first != '\t' && first != '\n' && first != '}' && first != ')' && first != ']';
    if (margin && (behind_blank || behind_closing))
        return 3;
    return behind_blank ? 2 : 1;
}

/* The last best cut in the second half of text[0..limit]. */
static size_t best_cut(const char *text, size_t limit, size_t length)
{
    size_t cut = limit;
    int rank = 0;
    for (size_t at = limit; at > limit / 2; at--) {
        int r = cut_rank(text, at, length);
        if (r > rank) {
            rank = r;
            cut = at;
        }
        if (rank == 3)
            break;
    }
    while (rank == 0 && cut > 1 && ((unsigned char)text[cut] & 0xc0U) == 0x80) /* inside one endless line: between characters */
        cut--;
    return cut;
}

/* Bytes that the first `count` ids stand for; byte-level BPE drops and adds nothing. */
static size_t bytes_of(const struct kg_tokenizer *tokenizer, const int32_t *ids, size_t count)
{
    size_t bytes = 0, length;
    for (size_t i = 0; i < count; i++) {
        kg_token_bytes(tokenizer, ids[i], true, &length);
        bytes += length;
    }
    return bytes;
}

enum kg_status kg_part_end(const struct kg_tokenizer *tokenizer, const char *text, size_t length, struct kg_ids *ids, size_t *end, struct kg_error *err)
{
    size_t start = ids->count;
    *end = length > PART_BYTES ? best_cut(text, PART_BYTES, length) : length;
    enum kg_status status = kg_tokenize(tokenizer, text, *end, false, ids, err);
    /* a shorter text can need more tokens at its end, hence the loop; each turn halves at worst */
    while (status == KG_OK && ids->count - start > KG_PART_TOKENS) {
        size_t fits = bytes_of(tokenizer, ids->ids + start, KG_PART_TOKENS);
        *end = best_cut(text, fits < *end ? fits : *end - 1, length);
        ids->count = start;
        status = kg_tokenize(tokenizer, text, *end, false, ids, err);
    }
    return status;
}
