/* Text <-> token ids: byte-level BPE (tokenizer.ggml.model = "gpt2") with the pre-tokenizer patterns smollm,
 * qwen2, llama-bpe and gpt-2; any other model or pattern is refused by name.
 *
 * Immutable after kg_tokenizer_create, so any number of threads may use one. Any bytes can be encoded; what
 * is not UTF-8 is encoded byte by byte and decodes to the same bytes. Some vocabularies have no token for a few
 * bytes that text hardly ever holds (SmolLM2: 21 of them); such a byte becomes U+FFFD.
 */
#ifndef KG_ENGINE_TOKENIZER_H
#define KG_ENGINE_TOKENIZER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/status.h"
#include "engine/gguf/gguf.h"

struct kg_tokenizer;

/* Growing list of ids; zero-initialise, free with kg_ids_free. */
struct kg_ids {
    int32_t *ids;
    size_t count, capacity;
};
enum kg_status kg_ids_push(struct kg_ids *list, int32_t id, struct kg_error *err);
enum kg_status kg_ids_append(struct kg_ids *list, const int32_t *ids, size_t count, struct kg_error *err);
void kg_ids_free(struct kg_ids *list);

/* Copies what it needs from the file. */
enum kg_status kg_tokenizer_create(const struct kg_gguf *file, struct kg_tokenizer **out, struct kg_error *err);
void kg_tokenizer_free(struct kg_tokenizer *tokenizer);

/* Appends the ids of text to *out (nothing on failure). With `special`, names of special (control) tokens in the
 * text become those tokens; without, which is right for all repository text and everything that a person typed,
 * they are plain text. Words that the model's makers added to the vocabulary (user-defined tokens such as
 * <tool_call>) are tokens either way. No BOS or EOS is added. KG_ERR_RANGE beyond 64 MiB. */
enum kg_status kg_tokenize(const struct kg_tokenizer *tokenizer, const char *text, size_t length, bool special,
                           struct kg_ids *out, struct kg_error *err);

uint32_t kg_vocabulary(const struct kg_tokenizer *tokenizer);

/* The bytes of one token (not terminated; static for the tokenizer's life); length 0 for an id out of range.
 * `special` false gives nothing for control and unused tokens. */
const char *kg_token_bytes(const struct kg_tokenizer *tokenizer, int32_t id, bool special, size_t *length);

/* Id of a special or user-defined token by its exact name, -1 if there is none. */
int32_t kg_token_named(const struct kg_tokenizer *tokenizer, const char *name);

bool kg_token_ends_generation(const struct kg_tokenizer *tokenizer, int32_t id); /* EOS, EOT, ... */
bool kg_token_has_newline(const struct kg_tokenizer *tokenizer, int32_t id);

/* -1 where the model has none. bos only where tokenizer.ggml.add_bos_token says that it is to be used; a file with
 * llama-bpe that says nothing means yes. */
struct kg_special_ids {
    int32_t bos, eos, eot;
    int32_t fim_prefix, fim_middle, fim_suffix, fim_pad, repo_name, file_separator;
    int32_t think_open, think_close; /* <think>, </think> where they are single tokens */
};
const struct kg_special_ids *kg_special_ids(const struct kg_tokenizer *tokenizer);

/* Streaming: bytes come out only as whole UTF-8 characters; an invalid byte comes out as U+FFFD. Zero-initialise. */
struct kg_utf8_stream {
    char held[4];
    unsigned count;
};
/* Appends what can be shown of held + bytes to out (capacity at least 3 * (length + 4)), returns the length.
 * flush: nothing more will come, so a partial character comes out as U+FFFD. */
size_t kg_utf8_push(struct kg_utf8_stream *stream, const char *bytes, size_t length, bool flush, char *out);

#endif
