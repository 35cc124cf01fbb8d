/* Small made vocabularies for tests: every byte is a token whose id is the byte, merges and special tokens follow. */
#ifndef KG_TESTS_TOKENIZER_MADE_H
#define KG_TESTS_TOKENIZER_MADE_H

#include "engine/tokenizer/tokenizer.h"
#include "tests/unit/gguf_writer.h"

struct made_vocabulary {
    char **tokens;
    int32_t *types;
    char **merges;
    size_t token_count, merge_count;
    const char *pre; /* NULL: the file has no such key, as with the ones below */
    const char *model, *chat_template;
    int without_types;
    struct gguf_writer file; /* open for more keys */
};

void made_start(struct made_vocabulary *made, const char *pre);
/* As it is to stand in the file; returns its id. Types: 1 normal, 3 control, 4 user-defined. */
int32_t made_token(struct made_vocabulary *made, const char *text, int32_t type);
/* In byte-level characters. Adds the token of the result unless there is one; returns its id. */
int32_t made_merge(struct made_vocabulary *made, const char *left, const char *right);
/* Merges that make the word from its (ASCII) letters; returns its id. */
int32_t made_word(struct made_vocabulary *made, const char *word);

/* Writes all into made->file and frees the rest. */
void made_finish(struct made_vocabulary *made);
/* Does that, opens the file and frees what was written. */
struct kg_gguf *made_open(struct made_vocabulary *made);
/* Does all of that too. */
struct kg_tokenizer *made_tokenizer(struct made_vocabulary *made);

/* The model's file by its name among the models, NULL if it is not there. */
struct kg_gguf *model_file(const char *leaf);

/* A file of tests/golden as parsed JSON. */
struct cJSON *golden_json(const char *leaf);

#endif
