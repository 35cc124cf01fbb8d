#include "tests/unit/tokenizer_made.h"

#include <cjson/cJSON.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/paths.h"

static void *enough(void *old, size_t bytes)
{
    void *new = realloc(old, bytes);
    if (!new)
        abort();
    return new;
}

static char *copy_of(const char *text)
{
    char *copy = strdup(text);
    if (!copy)
        abort();
    return copy;
}

int32_t made_token(struct made_vocabulary *made, const char *text, int32_t type)
{
    size_t n = made->token_count++;
    made->tokens = enough(made->tokens, (n + 1) * sizeof *made->tokens);
    made->types = enough(made->types, (n + 1) * sizeof *made->types);
    made->tokens[n] = copy_of(text);
    made->types[n] = type;
    return (int32_t)n;
}

void made_start(struct made_vocabulary *made, const char *pre)
{
    *made = (struct made_vocabulary){ .pre = pre, .model = "gpt2" };
    gguf_start(&made->file, 3);
    unsigned shifted = 0x100;
    for (unsigned byte = 0; byte < 256; byte++) {
        int itself = (byte > 0x20 && byte < 0x7f) || (byte > 0xa0 && byte != 0xad);
        unsigned c = itself ? byte : shifted++;
        char text[3] = { (char)c };
        if (c >= 0x80) {
            text[0] = (char)(0xc0 | c >> 6);
            text[1] = (char)(0x80 | (c & 0x3f));
        }
        made_token(made, text, 1);
    }
}

int32_t made_merge(struct made_vocabulary *made, const char *left, const char *right)
{
    char text[512];
    snprintf(text, sizeof text, "%s %s", left, right);
    made->merges = enough(made->merges, (made->merge_count + 1) * sizeof *made->merges);
    made->merges[made->merge_count++] = copy_of(text);
    snprintf(text, sizeof text, "%s%s", left, right);
    for (size_t i = 0; i < made->token_count; i++)
        if (strcmp(made->tokens[i], text) == 0)
            return (int32_t)i;
    return made_token(made, text, 1);
}

int32_t made_word(struct made_vocabulary *made, const char *word)
{
    char left[64];
    int32_t id = word[0];
    for (size_t i = 1; word[i]; i++) {
        char right[2] = { word[i] };
        snprintf(left, sizeof left, "%.*s", (int)i, word);
        id = made_merge(made, left, right);
    }
    return id;
}

void made_finish(struct made_vocabulary *made)
{
    struct gguf_writer *w = &made->file;
    if (made->model)
        gguf_text(w, "tokenizer.ggml.model", made->model);
    if (made->pre)
        gguf_text(w, "tokenizer.ggml.pre", made->pre);
    if (made->chat_template)
        gguf_text(w, "tokenizer.chat_template", made->chat_template);
    gguf_texts(w, "tokenizer.ggml.tokens", (const char *const *)made->tokens, made->token_count);
    if (!made->without_types)
        gguf_i32s(w, "tokenizer.ggml.token_type", made->types, made->token_count);
    gguf_texts(w, "tokenizer.ggml.merges", (const char *const *)made->merges, made->merge_count);
    gguf_end(w);
    for (size_t i = 0; i < made->token_count; i++)
        free(made->tokens[i]);
    for (size_t i = 0; i < made->merge_count; i++)
        free(made->merges[i]);
    free(made->tokens);
    free(made->types);
    free(made->merges);
}

struct kg_gguf *made_open(struct made_vocabulary *made)
{
    char path[64];
    struct kg_gguf *file = NULL;
    struct kg_error err;
    made_finish(made);
    gguf_to_file(made->file.bytes, made->file.length, path);
    if (kg_gguf_open(path, &file, &err) != KG_OK) {
        fprintf(stderr, "%s\n", err.text);
        abort();
    }
    unlink(path);
    gguf_free(&made->file);
    return file;
}

struct kg_tokenizer *made_tokenizer(struct made_vocabulary *made)
{
    struct kg_gguf *file = made_open(made);
    struct kg_tokenizer *tokenizer = NULL;
    struct kg_error err;
    if (kg_tokenizer_create(file, &tokenizer, &err) != KG_OK) {
        fprintf(stderr, "%s\n", err.text);
        abort();
    }
    kg_gguf_close(file);
    return tokenizer;
}

struct kg_gguf *model_file(const char *leaf)
{
    char path[KG_PATH_MAX];
    struct kg_gguf *file = NULL;
    return kg_place_path(KG_PLACE_MODELS, leaf, path, NULL) == KG_OK && kg_gguf_open(path, &file, NULL) == KG_OK ? file : NULL;
}

struct cJSON *golden_json(const char *leaf)
{
    char path[KG_PATH_MAX];
    char *text;
    size_t length;
    struct kg_error err;
    snprintf(path, sizeof path, "tests/golden/%s", leaf);
    if (kg_read_file(path, (size_t)1 << 24, &text, &length, &err) != KG_OK) {
        fprintf(stderr, "%s\n", err.text);
        abort();
    }
    cJSON *json = cJSON_Parse(text);
    free(text);
    return json;
}
