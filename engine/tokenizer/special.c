#include "engine/tokenizer/special.h"

#include <stdlib.h>
#include <string.h>

/* Longer ones are not looked for in texts, so that looking stays linear. */
#define NAME_MAX_IN_TEXT 256

enum role {
    EOT_TURN, /* a name made for the end of a turn */
    EOT_TEXT, /* one that ends a turn in some models, a text in others */
    EOM,
    ENDS,
    FIM_PREFIX,
    FIM_SUFFIX,
    FIM_MIDDLE,
    FIM_PAD,
    REPO_NAME,
    FILE_SEPARATOR,
    THINK_OPEN,
    THINK_CLOSE,
    ROLE_COUNT
};

static const struct known {
    const char *name;
    enum role role;
} known_names[] = {
    { "<|eot_id|>", EOT_TURN },
    { "<end_of_turn>", EOT_TURN },
    { "<|end|>", EOT_TURN },
    { "<EOT>", EOT_TURN },
    { "_<EOT>", EOT_TURN },
    { "[EOT]", EOT_TURN },
    { "<end_of_utterance>", EOT_TURN },
    { "<|im_end|>", EOT_TEXT },
    { "<|endoftext|>", EOT_TEXT },
    { "<|end_of_text|>", EOT_TEXT },
    { "<｜end▁of▁sentence｜>", EOT_TEXT },
    { "<|eom_id|>", EOM },
    { "<|return|>", ENDS },
    { "<|call|>", ENDS },
    { "<|calls|>", ENDS },
    { "<|flush|>", ENDS },
    { "</s>", ENDS },
    { "[EOS]", ENDS },
    { "<eos>", ENDS },
    { "<|fim_prefix|>", FIM_PREFIX },
    { "<fim-prefix>", FIM_PREFIX },
    { "<fim_prefix>", FIM_PREFIX },
    { "<｜fim▁begin｜>", FIM_PREFIX },
    { "<PRE>", FIM_PREFIX },
    { "▁<PRE>", FIM_PREFIX },
    { "<|code_prefix|>", FIM_PREFIX },
    { "<|prefix|>", FIM_PREFIX },
    { "<|fim_suffix|>", FIM_SUFFIX },
    { "<fim-suffix>", FIM_SUFFIX },
    { "<fim_suffix>", FIM_SUFFIX },
    { "<｜fim▁hole｜>", FIM_SUFFIX },
    { "<SUF>", FIM_SUFFIX },
    { "▁<SUF>", FIM_SUFFIX },
    { "<|code_suffix|>", FIM_SUFFIX },
    { "<|suffix|>", FIM_SUFFIX },
    { "<|fim_middle|>", FIM_MIDDLE },
    { "<fim-middle>", FIM_MIDDLE },
    { "<fim_middle>", FIM_MIDDLE },
    { "<｜fim▁end｜>", FIM_MIDDLE },
    { "<MID>", FIM_MIDDLE },
    { "▁<MID>", FIM_MIDDLE },
    { "<|code_middle|>", FIM_MIDDLE },
    { "<|middle|>", FIM_MIDDLE },
    { "<|fim_pad|>", FIM_PAD },
    { "<fim-pad>", FIM_PAD },
    { "<fim_pad>", FIM_PAD },
    { "<PAD>", FIM_PAD },
    { "<|fim_repo|>", REPO_NAME },
    { "<|repo_name|>", REPO_NAME },
    { "<fim-repo>", REPO_NAME },
    { "<REPO>", REPO_NAME },
    { "<reponame>", REPO_NAME },
    { "<|file_sep|>", FILE_SEPARATOR },
    { "<think>", THINK_OPEN },
    { "</think>", THINK_CLOSE },
};

static const struct keyed {
    const char *key;
    enum role role;
} keys[] = {
    { "tokenizer.ggml.eot_token_id", EOT_TURN },
    { "tokenizer.ggml.eom_token_id", EOM },
    { "tokenizer.ggml.fim_pre_token_id", FIM_PREFIX },
    { "tokenizer.ggml.fim_suf_token_id", FIM_SUFFIX },
    { "tokenizer.ggml.fim_mid_token_id", FIM_MIDDLE },
    { "tokenizer.ggml.fim_pad_token_id", FIM_PAD },
    { "tokenizer.ggml.fim_rep_token_id", REPO_NAME },
    { "tokenizer.ggml.fim_sep_token_id", FILE_SEPARATOR },
    { "tokenizer.ggml.prefix_token_id", FIM_PREFIX },
    { "tokenizer.ggml.suffix_token_id", FIM_SUFFIX },
    { "tokenizer.ggml.middle_token_id", FIM_MIDDLE },
};

/* -1 where the file says nothing, or names a token that there is not. */
static int32_t id_at_key(const struct kg_gguf *file, const char *key, const struct kg_vocabulary *v)
{
    uint32_t id;
    return kg_gguf_get_u32(file, key, &id, NULL) == KG_OK && id < v->count ? (int32_t)id : -1;
}

/* What has been found so far: for every role the token with the smallest id. */
struct findings {
    int32_t ids[ROLE_COUNT];
    int32_t bos;
};

static void note_name(struct kg_special *special, struct kg_vocabulary *v, uint32_t id, struct findings *found)
{
    size_t length;
    const char *bytes = kg_vocabulary_bytes(v, id, &length);
    if (length < 3 || !strchr("<[_\xe2", bytes[0]))
        return;
    for (const struct known *known = known_names; known < known_names + sizeof known_names / sizeof *known_names; known++) {
        if (strlen(known->name) != length || memcmp(known->name, bytes, length) != 0)
            continue;
        int32_t *best = &found->ids[known->role];
        if (*best < 0 || (known->role == EOT_TEXT && *best == found->bos))
            *best = (int32_t)id;
        if (known->role <= ENDS) {
            special->ends[id] = true;
            v->types[id] = KG_TOKEN_CONTROL;
        }
    }
}

static void settle(struct kg_special *special, struct kg_vocabulary *v, const struct findings *found, int32_t eos)
{
    struct kg_special_ids *ids = &special->ids;
    ids->eos = eos;
    ids->eot = found->ids[EOT_TURN] >= 0 ? found->ids[EOT_TURN] : found->ids[EOT_TEXT];
    ids->fim_prefix = found->ids[FIM_PREFIX];
    ids->fim_suffix = found->ids[FIM_SUFFIX];
    ids->fim_middle = found->ids[FIM_MIDDLE];
    ids->fim_pad = found->ids[FIM_PAD];
    ids->repo_name = found->ids[REPO_NAME];
    ids->file_separator = found->ids[FILE_SEPARATOR];
    ids->think_open = found->ids[THINK_OPEN];
    ids->think_close = found->ids[THINK_CLOSE];
    /* A model that begins another file or repository has finished its answer. */
    const int32_t ends[] = { ids->eos, ids->eot, found->ids[EOM], ids->fim_pad, ids->repo_name, ids->file_separator };
    for (size_t i = 0; i < sizeof ends / sizeof *ends; i++)
        if (ends[i] >= 0)
            special->ends[ends[i]] = true;
    for (enum role role = FIM_PREFIX; role <= FILE_SEPARATOR; role++)
        if (found->ids[role] >= 0)
            v->types[found->ids[role]] = KG_TOKEN_CONTROL;
}

static void find_ids(const struct kg_gguf *file, bool begin_text, struct kg_vocabulary *v, struct kg_special *special)
{
    struct findings found;
    struct findings said;
    memset(&found, 0xff, sizeof found);
    memset(&said, 0xff, sizeof said);
    found.bos = id_at_key(file, "tokenizer.ggml.bos_token_id", v);
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
        int32_t id = id_at_key(file, keys[i].key, v);
        if (id >= 0)
            said.ids[keys[i].role] = id;
    }
    for (uint32_t id = 0; id < v->count; id++)
        note_name(special, v, id, &found);
    for (int role = 0; role < ROLE_COUNT; role++)
        if (said.ids[role] >= 0)
            found.ids[role] = said.ids[role];
    settle(special, v, &found, id_at_key(file, "tokenizer.ggml.eos_token_id", v));
    kg_gguf_get_bool(file, "tokenizer.ggml.add_bos_token", &begin_text, NULL);
    special->ids.bos = begin_text ? found.bos : -1;
}

static int compare_bytes(const char *a, size_t a_length, const char *b, size_t b_length)
{
    int order = memcmp(a, b, a_length < b_length ? a_length : b_length);
    return order ? order : (a_length > b_length) - (a_length < b_length);
}

static int by_bytes_then_id(const void *a, const void *b, void *vocabulary)
{
    uint32_t left = *(const uint32_t *)a;
    uint32_t right = *(const uint32_t *)b;
    size_t left_length;
    size_t right_length;
    const char *left_bytes = kg_vocabulary_bytes(vocabulary, left, &left_length);
    const char *right_bytes = kg_vocabulary_bytes(vocabulary, right, &right_length);
    int order = compare_bytes(left_bytes, left_length, right_bytes, right_length);
    return order ? order : (left > right) - (left < right);
}

static bool has_name(const struct kg_vocabulary *v, uint32_t id)
{
    uint8_t type = v->types[id];
    return (type == KG_TOKEN_CONTROL || type == KG_TOKEN_USER || type == KG_TOKEN_UNKNOWN) && v->offsets[id + 1] > v->offsets[id];
}

static enum kg_status sort_names(struct kg_vocabulary *v, struct kg_special *special, struct kg_error *err)
{
    uint32_t count = 0;
    for (uint32_t id = 0; id < v->count; id++)
        count += has_name(v, id);
    special->by_name = malloc((count + 1) * sizeof *special->by_name);
    if (!special->by_name)
        return kg_fail_nomem(err, "reading the vocabulary");
    count = 0;
    for (uint32_t id = 0; id < v->count; id++)
        if (has_name(v, id))
            special->by_name[count++] = id;
    qsort_r(special->by_name, count, sizeof *special->by_name, by_bytes_then_id, v);
    for (uint32_t i = 0; i < count; i++) {
        uint32_t id = special->by_name[i];
        size_t length;
        size_t last_length = 0;
        const char *bytes = kg_vocabulary_bytes(v, id, &length);
        const char *last = special->count ? kg_vocabulary_bytes(v, special->by_name[special->count - 1], &last_length) : "";
        if (compare_bytes(bytes, length, last, last_length) == 0)
            continue; /* of equal names the smallest id has come first */
        special->by_name[special->count++] = id;
        special->begins_name[1][(uint8_t)bytes[0]] = true;
        special->begins_name[0][(uint8_t)bytes[0]] |= v->types[id] == KG_TOKEN_USER;
    }
    return KG_OK;
}

enum kg_status kg_special_read(const struct kg_gguf *file, bool begin_text, struct kg_vocabulary *v, struct kg_special *special,
                               struct kg_error *err)
{
    *special = (struct kg_special){ .ends = calloc(v->count, sizeof *special->ends) };
    if (!special->ends)
        return kg_fail_nomem(err, "reading the vocabulary");
    find_ids(file, begin_text, v, special);
    enum kg_status status = sort_names(v, special, err);
    if (status != KG_OK)
        kg_special_free(special);
    return status;
}

void kg_special_free(struct kg_special *special)
{
    free(special->ends);
    free(special->by_name);
    *special = (struct kg_special){ 0 };
}

int32_t kg_special_named(const struct kg_special *special, const struct kg_vocabulary *v, const char *name)
{
    size_t length = strlen(name);
    for (uint32_t low = 0, high = special->count; low < high;) {
        uint32_t middle = low + (high - low) / 2;
        size_t n;
        const char *bytes = kg_vocabulary_bytes(v, special->by_name[middle], &n);
        int order = compare_bytes(name, length, bytes, n);
        if (order == 0)
            return (int32_t)special->by_name[middle];
        if (order < 0)
            high = middle;
        else
            low = middle + 1;
    }
    return -1;
}

/* First of the names low .. high - 1, equal up to depth and longer than that, whose byte there is at least `byte`. */
static uint32_t first_from(const struct kg_special *special, const struct kg_vocabulary *v, uint32_t low, uint32_t high,
                           size_t depth, unsigned byte)
{
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if ((uint8_t)v->bytes[v->offsets[special->by_name[middle]] + depth] < byte)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

int32_t kg_special_at(const struct kg_special *special, const struct kg_vocabulary *v, const uint8_t *text, size_t length,
                      bool all, size_t *name_length)
{
    int32_t found = -1;
    uint32_t low = 0;
    uint32_t high = special->count;
    for (size_t depth = 0; low < high; depth++) {
        uint32_t id = special->by_name[low];
        if (v->offsets[id + 1] - v->offsets[id] == depth) {
            if (all || v->types[id] == KG_TOKEN_USER) {
                found = (int32_t)id;
                *name_length = depth;
            }
            low++;
        }
        if (depth == length || depth == NAME_MAX_IN_TEXT)
            break;
        low = first_from(special, v, low, high, depth, text[depth]);
        high = first_from(special, v, low, high, depth, text[depth] + 1U);
    }
    return found;
}
