/* Tokens with a meaning of their own: found by the file's metadata, and where that says nothing, by the names
 * that models are known to use. And their names in a text.
 */
#ifndef KG_ENGINE_SPECIAL_H
#define KG_ENGINE_SPECIAL_H

#include "engine/tokenizer/tokenizer.h"
#include "engine/tokenizer/vocabulary.h"

struct kg_special {
    struct kg_special_ids ids;
    bool *ends; /* by id: ends generation */
    uint32_t *by_name; /* control, user-defined and unknown tokens, by bytes, equal ones by id */
    uint32_t count;
    bool begins_name[2][256]; /* [special]: bytes with which a name in a text can begin */
};

/* Makes tokens with a known name control tokens where the file does not. begin_text: whether BOS is used when
 * the file does not say. On failure there is nothing to free. */
enum kg_status kg_special_read(const struct kg_gguf *file, bool begin_text, struct kg_vocabulary *vocabulary,
                               struct kg_special *special, struct kg_error *err);
void kg_special_free(struct kg_special *special);

int32_t kg_special_named(const struct kg_special *special, const struct kg_vocabulary *vocabulary, const char *name);

/* The longest name that stands at the beginning of text; -1 if none does. all: user-defined tokens only when false. */
int32_t kg_special_at(const struct kg_special *special, const struct kg_vocabulary *vocabulary, const uint8_t *text,
                      size_t length, bool all, size_t *name_length);

#endif
