#include "repo-index/terms.h"

#include <stdlib.h>
#include <string.h>
#define XXH_INLINE_ALL
#include <xxhash.h>

#include "repo-index/define.h"
#include "repo-index/words.h"

/* Open addressing; a slot is free unless its stamp is that of the text at hand, so that clearing costs nothing. */
struct slot {
    uint32_t offset; /* of the key in the text (identifiers) or in the key bytes (words) */
    uint32_t length;
    uint32_t hash;
    uint32_t stamp;
    uint32_t count;
};

/* A short text uses only the first slots, so that they stay in the processor's cache. */
struct table {
    struct slot *slots;
    uint32_t *order; /* slots in the order of their first use */
    size_t capacity, allocated, used;
};

struct kg_terms {
    struct table identifiers, words;
    uint32_t stamp;
    char *keys, *out;
    size_t key_length, key_capacity, out_capacity;
    uint32_t weight; /* of the identifier whose words are being added */
    uint32_t names[2 * KG_NAMES_MAX];
    bool failed;
};

static bool table_init(struct table *table, size_t capacity)
{
    *table = (struct table){ .slots = calloc(capacity, sizeof *table->slots), .order = malloc(capacity * sizeof *table->order), .capacity = capacity, .allocated = capacity };
    return table->slots && table->order;
}

struct kg_terms *kg_terms_new(void)
{
    struct kg_terms *terms = calloc(1, sizeof *terms);
    if (!terms)
        return NULL;
    if (!table_init(&terms->identifiers, 4096) || !table_init(&terms->words, 4096)) {
        kg_terms_free(terms);
        return NULL;
    }
    return terms;
}

void kg_terms_free(struct kg_terms *terms)
{
    if (!terms)
        return;
    free(terms->identifiers.slots);
    free(terms->identifiers.order);
    free(terms->words.slots);
    free(terms->words.order);
    free(terms->keys);
    free(terms->out);
    free(terms);
}

static void table_shrink(struct table *table, size_t expected)
{
    table->used = 0;
    table->capacity = 256;
    while (table->capacity < expected && table->capacity < table->allocated)
        table->capacity *= 2;
}

static bool table_double(struct table *table, uint32_t stamp)
{
    struct table bigger;
    if (!table_init(&bigger, table->capacity * 2)) {
        free(bigger.slots);
        free(bigger.order);
        return false;
    }
    for (size_t i = 0; i < table->used; i++) {
        const struct slot *slot = &table->slots[table->order[i]];
        size_t at = slot->hash & (bigger.capacity - 1);
        while (bigger.slots[at].stamp == stamp)
            at = (at + 1) & (bigger.capacity - 1);
        bigger.slots[at] = *slot;
        bigger.order[i] = (uint32_t)at;
    }
    bigger.used = table->used;
    free(table->slots);
    free(table->order);
    *table = bigger;
    return true;
}

static struct slot *find(const struct table *table, uint32_t stamp, const char *keys, const char *key, size_t length, uint32_t hash)
{
    size_t at = hash & (table->capacity - 1);
    for (;; at = (at + 1) & (table->capacity - 1)) {
        struct slot *slot = &table->slots[at];
        if (slot->stamp != stamp)
            return slot;
        if (slot->hash == hash && slot->length == length && memcmp(keys + slot->offset, key, length) == 0)
            return slot;
    }
}

static struct slot *claim(struct table *table, struct slot *slot, uint32_t stamp, size_t offset, size_t length, uint32_t hash)
{
    *slot = (struct slot){ .offset = (uint32_t)offset, .length = (uint32_t)length, .hash = hash, .stamp = stamp };
    table->order[table->used++] = (uint32_t)(slot - table->slots);
    return slot;
}

static void add_identifier(struct kg_terms *terms, const char *text, const char *key, size_t length)
{
    struct table *table = &terms->identifiers;
    uint32_t hash = (uint32_t)XXH3_64bits(key, length);
    struct slot *slot = find(table, terms->stamp, text, key, length, hash);
    if (slot->stamp != terms->stamp) {
        if (table->used >= table->capacity / 2) {
            if (!table_double(table, terms->stamp)) {
                terms->failed = true;
                return;
            }
            slot = find(table, terms->stamp, text, key, length, hash);
        }
        slot = claim(table, slot, terms->stamp, (size_t)(key - text), length, hash);
    }
    slot->count++;
}

static bool reserve(char **bytes, size_t *capacity, size_t wanted)
{
    if (wanted <= *capacity)
        return true;
    size_t size = *capacity ? *capacity : 1 << 16;
    while (size < wanted)
        size *= 2;
    char *bigger = realloc(*bytes, size);
    if (!bigger)
        return false;
    *bytes = bigger;
    *capacity = size;
    return true;
}

/* count 0 for a term that already ends in its mark */
static void add_word(struct kg_terms *terms, const char *word, size_t length, uint32_t count)
{
    struct table *table = &terms->words;
    uint32_t hash = (uint32_t)XXH3_64bits(word, length);
    struct slot *slot = find(table, terms->stamp, terms->keys, word, length, hash);
    if (slot->stamp != terms->stamp) {
        bool room = reserve(&terms->keys, &terms->key_capacity, terms->key_length + length);
        if (!room || (table->used >= table->capacity / 2 && !table_double(table, terms->stamp))) {
            terms->failed = true;
            return;
        }
        slot = claim(table, find(table, terms->stamp, terms->keys, word, length, hash), terms->stamp, terms->key_length, length, hash);
        memcpy(terms->keys + terms->key_length, word, length);
        terms->key_length += length;
    }
    slot->count += count;
}

static void on_word(void *ctx, const char *word, size_t length, enum kg_word_role role)
{
    (void)role;
    struct kg_terms *terms = ctx;
    add_word(terms, word, length, terms->weight);
}

static void add_definition(struct kg_terms *terms, const char *name, size_t length, char mark)
{
    char term[KG_WORD_MAX + 1];
    size_t n = kg_fold_identifier(name, length, term);
    if (n < 2)
        return;
    term[n] = mark;
    add_word(terms, term, n + 1, 0);
}

/* Lower case throughout, or with one capital in front, is what words of any text look like. */
static bool looks_like_code(const char *name, size_t length)
{
    for (size_t i = 1; i < length; i++) {
        bool capitals = name[i] >= 'A' && name[i] <= 'Z' && name[i - 1] >= 'a' && name[i - 1] <= 'z';
        if (capitals || (name[i] == '_' && i + 1 < length) || (name[i] >= '0' && name[i] <= '9'))
            return true;
    }
    return false;
}

static uint32_t hash_name(const char *name, size_t length)
{
    return ((uint32_t)XXH3_64bits(name, length) & ~1U) | looks_like_code(name, length);
}

static void add_name(uint32_t *names, uint32_t *count, const char *name, size_t length)
{
    if (length < KG_NAME_LEAST || (name[0] >= '0' && name[0] <= '9') || *count == KG_NAMES_MAX)
        return;
    names[(*count)++] = hash_name(name, length);
}

static int compare_names(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return x < y ? -1 : x > y;
}

/* Behind the defined ones, which are put in order, what else the text holds. */
static void gather_names(struct kg_terms *terms, const char *text, struct kg_terms_view *out)
{
    uint32_t defined = 0, held = 0;
    qsort(terms->names, out->defined, sizeof *terms->names, compare_names);
    for (uint32_t i = 0; i < out->defined; i++)
        if (i == 0 || terms->names[i] != terms->names[defined - 1])
            terms->names[defined++] = terms->names[i];
    for (size_t i = 0; i < terms->identifiers.used; i++) {
        const struct slot *slot = &terms->identifiers.slots[terms->identifiers.order[i]];
        uint32_t before = held;
        add_name(terms->names + defined, &held, text + slot->offset, slot->length);
        if (held > before && bsearch(&terms->names[defined + before], terms->names, defined, sizeof *terms->names, compare_names))
            held = before;
    }
    out->names = terms->names;
    out->defined = defined;
    out->name_count = defined + held;
}

static bool write_terms(struct kg_terms *terms, struct kg_terms_view *out)
{
    if (!reserve(&terms->out, &terms->out_capacity, terms->key_length + 2 * terms->words.used + 1))
        return false;
    char *at = terms->out;
    for (size_t i = 0; i < terms->words.used; i++) {
        const struct slot *slot = &terms->words.slots[terms->words.order[i]];
        memcpy(at, terms->keys + slot->offset, slot->length);
        at += slot->length;
        if (slot->count)
            *at++ = slot->count == 1 ? 'a' : slot->count < 4 ? 'b' : slot->count < 10 ? 'c' : 'd';
        *at++ = ' ';
    }
    out->bytes = terms->out;
    out->length = (size_t)(at - terms->out);
    return true;
}

bool kg_terms_of(struct kg_terms *terms, const char *text, size_t length, struct kg_terms_view *out)
{
    const char *end = text + length;
    terms->stamp++;
    if (terms->stamp == 0) { /* stamps of an earlier round would look like ours */
        memset(terms->identifiers.slots, 0, terms->identifiers.allocated * sizeof(struct slot));
        memset(terms->words.slots, 0, terms->words.allocated * sizeof(struct slot));
        terms->stamp = 1;
    }
    table_shrink(&terms->identifiers, length / 16);
    table_shrink(&terms->words, length / 16);
    terms->key_length = 0;
    terms->failed = false;
    *out = (struct kg_terms_view){ 0 };
    for (const char *line = text; line < end; out->lines++) {
        const char *feed = memchr(line, '\n', (size_t)(end - line));
        const char *line_end = feed ? feed : end;
        const char *name;
        size_t n;
        enum kg_definition defines = kg_line_defines(line, (size_t)(line_end - line), &name, &n);
        if (defines == KG_DEFINES)
            add_name(terms->names, &out->defined, name, n);
        if (defines != KG_DEFINES_NOTHING)
            add_definition(terms, name, n, defines == KG_DEFINES ? KG_TERM_DEFINED : KG_TERM_DECLARED);
        const char *at = line;
        const char *identifier;
        while ((identifier = kg_next_identifier(at, line_end, &n)) != NULL) {
            add_identifier(terms, text, identifier, n);
            out->words++;
            at = identifier + n;
        }
        line = line_end + 1;
    }
    gather_names(terms, text, out);
    for (size_t i = 0; i < terms->identifiers.used; i++) {
        const struct slot *slot = &terms->identifiers.slots[terms->identifiers.order[i]];
        terms->weight = slot->count;
        kg_split_identifier(text + slot->offset, slot->length, on_word, terms);
    }
    return !terms->failed && write_terms(terms, out) && !terms->failed;
}
