#include "engine/tokenizer/words.h"

#include <stdlib.h>
#include <string.h>

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include "engine/tokenizer/utf8.h"

/* White space as Unicode's White_Space property has it; PCRE2's \s also takes U+180E, which the models' own
 * pre-tokenizers do not. Loops are possessive wherever nothing behind them could want a character back. */
#define SPACE "\\t-\\r\\x20\\x{85}\\x{a0}\\x{1680}\\x{2000}-\\x{200a}\\x{2028}\\x{2029}\\x{202f}\\x{205f}\\x{3000}"
#define S "[" SPACE "]"
#define OTHER "[^" SPACE "\\p{L}\\p{N}]"

#define GPT2(numbers) "'(?:[stmd]|re|ve|ll)| ?\\p{L}++|" numbers "| ?" OTHER "++"
#define TAIL "|" S "+(?![^" SPACE "])|" S "++"
#define MODERN(numbers)                                                                                                   \
    "'(?:[sStTmMdD]|[rR][eE]|[vV][eE]|[lL][lL])|[^\\r\\n\\p{L}\\p{N}]?\\p{L}++|" numbers "| ?" OTHER "++[\\r\\n]*+|" S "*[\\r\\n]++"

static const struct pattern {
    const char *name, *text;
    bool whole_first, begin_text;
} patterns[] = {
    { "gpt-2", GPT2(" ?\\p{N}++") TAIL, false, false },
    /* Digits are cut off singly before the rest is looked at, so spaces before a digit are at an end. */
    { "smollm", GPT2("\\p{N}") "|" S "+(?![^" SPACE "\\p{N}])|" S "++", false, false },
    { "qwen2", MODERN("\\p{N}") TAIL, false, false },
    { "llama-bpe", MODERN("\\p{N}{1,3}+") TAIL, true, true },
};

struct kg_words {
    const struct pattern *pattern;
    pcre2_code *code;
    pcre2_match_context *limits;
};

static enum kg_status compile(struct kg_words *words, struct kg_error *err)
{
    int code;
    PCRE2_SIZE offset;
    words->limits = pcre2_match_context_create(NULL);
    words->code = pcre2_compile((PCRE2_SPTR)words->pattern->text, PCRE2_ZERO_TERMINATED, PCRE2_UTF | PCRE2_UCP | PCRE2_ANCHORED,
                                &code, &offset, NULL);
    if (!words->code || !words->limits)
        return kg_fail_nomem(err, "preparing the tokenizer");
    /* Without a compiler for this processor, or where the system forbids writable code, the same result comes slower. */
    pcre2_jit_compile(words->code, PCRE2_JIT_COMPLETE);
    pcre2_set_match_limit(words->limits, UINT32_MAX); /* a megabyte of spaces is given back one by one */
    return KG_OK;
}

enum kg_status kg_words_create(const char *name, size_t length, struct kg_words **out, struct kg_error *err)
{
    const struct pattern *found = NULL;
    for (size_t i = 0; i < sizeof patterns / sizeof *patterns; i++)
        if (strlen(patterns[i].name) == length && memcmp(patterns[i].name, name, length) == 0)
            found = &patterns[i];
    if (!found)
        return kg_fail(err, KG_ERR_UNSUPPORTED,
                       "the pre-tokenizer '%.*s' (tokenizer.ggml.pre) is not supported; choose a model with gpt-2, smollm, qwen2 or llama-bpe",
                       length < 64 ? (int)length : 64, name);
    struct kg_words *words = calloc(1, sizeof *words);
    if (!words)
        return kg_fail_nomem(err, "preparing the tokenizer");
    words->pattern = found;
    enum kg_status status = compile(words, err);
    if (status == KG_OK)
        *out = words;
    else
        kg_words_free(words);
    return status;
}

void kg_words_free(struct kg_words *words)
{
    if (!words)
        return;
    pcre2_code_free(words->code);
    pcre2_match_context_free(words->limits);
    free(words);
}

bool kg_words_whole_first(const struct kg_words *words)
{
    return words->pattern->whole_first;
}

bool kg_words_begin_text(const struct kg_words *words)
{
    return words->pattern->begin_text;
}

enum kg_status kg_word_reader_open(const struct kg_words *words, struct kg_word_reader *reader, struct kg_error *err)
{
    *reader = (struct kg_word_reader){ .words = words, .match = pcre2_match_data_create(1, NULL) };
    return reader->match ? KG_OK : kg_fail_nomem(err, "splitting a text into tokens");
}

void kg_word_reader_close(struct kg_word_reader *reader)
{
    pcre2_match_data_free(reader->match);
}

void kg_word_reader_set(struct kg_word_reader *reader, const uint8_t *text, size_t length)
{
    reader->text = text;
    reader->length = length;
    reader->at = reader->valid_begin = reader->valid_end = 0;
}

enum kg_status kg_word_next(struct kg_word_reader *r, const uint8_t **word, size_t *length, struct kg_error *err)
{
    *word = r->text + r->at;
    *length = 0;
    if (r->at == r->length)
        return KG_OK;
    if (r->at == r->valid_end) {
        r->valid_begin = r->at;
        r->valid_end += kg_utf8_valid(*word, r->length - r->at);
    }
    if (r->at == r->valid_end) {
        *length = 1;
        r->at = ++r->valid_end;
        return KG_OK;
    }
    int found = pcre2_match(r->words->code, r->text + r->valid_begin, r->valid_end - r->valid_begin, r->at - r->valid_begin,
                            PCRE2_NO_UTF_CHECK, r->match, r->words->limits);
    if (found < 1) /* every character matches one of the alternatives, so only memory can be missing */
        return kg_fail_nomem(err, "splitting a text into tokens");
    *length = pcre2_get_ovector_pointer(r->match)[1] - (r->at - r->valid_begin);
    r->at += *length;
    return KG_OK;
}
