/* Pre-tokenizer: cuts a text into the words inside which merging happens, by the pattern that the model was trained with.
 *
 * Bytes that are not UTF-8 are words of one byte each, and the text before and behind them is cut as if it
 * ended and began there. Time is linear in the length, whatever the text.
 */
#ifndef KG_ENGINE_WORDS_H
#define KG_ENGINE_WORDS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/status.h"

struct kg_words; /* a compiled pattern; immutable */

/* KG_ERR_UNSUPPORTED for a name (of tokenizer.ggml.pre) that is not known. */
enum kg_status kg_words_create(const char *name, size_t length, struct kg_words **out, struct kg_error *err);
void kg_words_free(struct kg_words *words);
bool kg_words_whole_first(const struct kg_words *words); /* a word that is a token is not merged */
bool kg_words_begin_text(const struct kg_words *words);  /* BOS is used unless the file says otherwise */

/* Where one text has been read up to. */
struct kg_word_reader {
    const struct kg_words *words;
    void *match;
    const uint8_t *text;
    size_t length, at;
    size_t valid_begin, valid_end; /* the stretch of UTF-8 around `at` */
};
enum kg_status kg_word_reader_open(const struct kg_words *words, struct kg_word_reader *reader, struct kg_error *err);
void kg_word_reader_close(struct kg_word_reader *reader);
void kg_word_reader_set(struct kg_word_reader *reader, const uint8_t *text, size_t length);

/* The next word; *length 0 at the end. */
enum kg_status kg_word_next(struct kg_word_reader *reader, const uint8_t **word, size_t *length, struct kg_error *err);

#endif
