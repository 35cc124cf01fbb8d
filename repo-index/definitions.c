#include <ctype.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "repo-index/arena.h"
#include "repo-index/best.h"
#include "repo-index/catalog.h"
#include "repo-index/fuzzy.h"

#define LOOK_AGAIN 256      /* names that the quick score lets into the exact one, at least */
#define KINDS_MAX UINT8_MAX /* the words for kinds that there are more of are forgotten */
#define LENGTHS 256         /* of names: longer ones count as the longest */
#define SCORED_MOST 10000   /* names: of those that a short pattern leaves, the shortest */
#define ASK_EVERY 256       /* files */

struct definition {
    uint32_t name, path; /* in names, in paths */
    uint32_t line, lines; /* lines: 0 = not known */
    uint8_t kind;
};

/* In the order of their weights: a pattern is looked for in the signatures alone, which lie together, and then in names as they lie. */
struct kg_definitions {
    uint64_t *signatures; /* which letters and digits a name holds, and which letters its words begin with */
    struct definition *definitions;
    size_t count, capacity;
    char *names; /* each ended by a NUL byte */
    size_t names_length, names_capacity;
    char **paths;
    size_t path_count, path_capacity;
    const char *kinds[KINDS_MAX];
    unsigned kind_count;
    struct kg_arena texts; /* of paths and kinds */
    uint64_t version;
};

#define BEGINS_BIT 36U /* 26 letters and 10 digits stand below */

static bool is_alnum(char c)
{
    return (unsigned char)c < 0x80 && isalnum((unsigned char)c);
}

static bool begins_word(const char *name, size_t i)
{
    if (i == 0 || !is_alnum(name[i - 1]))
        return true;
    bool upper = name[i] >= 'A' && name[i] <= 'Z', before = name[i - 1] >= 'A' && name[i - 1] <= 'Z';
    return upper && (!before || (name[i + 1] >= 'a' && name[i + 1] <= 'z'));
}

static uint64_t letter_of(char c)
{
    return is_alnum(c) ? (uint64_t)1 << (isdigit((unsigned char)c) ? 26 + c - '0' : tolower((unsigned char)c) - 'a') : 0;
}

static uint64_t signature_of(const char *name)
{
    uint64_t signature = 0;
    for (size_t i = 0; name[i]; i++) {
        uint64_t letter = letter_of(name[i]);
        signature |= letter;
        if (letter && letter < (uint64_t)1 << 26 && begins_word(name, i))
            signature |= letter << BEGINS_BIT;
    }
    return signature;
}

/* What the signature of a name that matches holds. */
static uint64_t needed_by(const char *pattern)
{
    uint64_t needed = 0;
    for (const char *at = pattern; *at; at++)
        needed |= letter_of(*at);
    uint64_t first = letter_of(pattern[0]);
    return first && first < (uint64_t)1 << 26 ? needed | first << BEGINS_BIT : needed;
}

struct loading {
    struct kg_definitions *to;
    bool failed;
};

/* The number of a kind's word; it is copied. KINDS_MAX: there are too many. */
static unsigned kind_of(struct loading *l, const char *kind)
{
    struct kg_definitions *d = l->to;
    for (unsigned i = 0; i < d->kind_count; i++)
        if (strcmp(d->kinds[i], kind) == 0)
            return i;
    if (d->kind_count == KINDS_MAX)
        return KINDS_MAX;
    char *copy = kg_arena_copy(&d->texts, kind, strlen(kind));
    l->failed |= !copy;
    if (copy)
        d->kinds[d->kind_count++] = copy;
    return copy ? d->kind_count - 1 : KINDS_MAX;
}

static bool add_name(struct kg_definitions *d, const char *name)
{
    size_t length = strlen(name) + 1;
    while (d->names_capacity - d->names_length < length)
        if (!kg_grow(&d->names, d->names_capacity, &d->names_capacity, 1))
            return false;
    memcpy(d->names + d->names_length, name, length);
    d->names_length += length;
    return true;
}

static int take_symbol(void *ctx, const struct kg_symbol_view *symbol)
{
    struct loading *l = ctx;
    struct kg_definitions *d = l->to;
    struct definition new = { .name = (uint32_t)d->names_length, .path = (uint32_t)d->path_count - 1, .line = symbol->line,
                              .lines = symbol->end >= symbol->line ? symbol->end - symbol->line + 1 : 0, .kind = (uint8_t)kind_of(l, symbol->kind) };
    l->failed |= d->names_length > UINT32_MAX - sizeof symbol->bytes || d->count == UINT32_MAX || !kg_grow(&d->definitions, d->count, &d->capacity, sizeof *d->definitions) ||
                 !add_name(d, symbol->name);
    if (!l->failed)
        d->definitions[d->count++] = new;
    return l->failed;
}

static bool add_path(struct kg_definitions *d, const char *path)
{
    char *copy = kg_arena_copy(&d->texts, path, strlen(path));
    if (!copy || !kg_grow(&d->paths, d->path_count, &d->path_capacity, sizeof *d->paths))
        return false;
    d->paths[d->path_count++] = copy;
    return true;
}

static enum kg_status load(struct kg_index *index, struct kg_definitions *to, int (*progress)(void *ctx, uint32_t done, uint32_t found), void *ctx, struct kg_error *err)
{
    struct loading l = { .to = to };
    const struct kg_catalog *catalog;
    enum kg_status status = kg_catalog_of(index, &catalog, err);
    if (status != KG_OK)
        return status;
    to->version = catalog->version;
    for (size_t i = 0; i < catalog->count && status == KG_OK && !l.failed; i++) {
        const struct kg_catalog_file *file = &catalog->files[i];
        if (progress && i % ASK_EVERY == 0 && progress(ctx, (uint32_t)i, (uint32_t)catalog->count))
            return kg_fail(err, KG_ERR_CANCELLED, "stopped while listing what the repository defines");
        l.failed = !add_path(to, file->path);
        if (!l.failed)
            status = kg_store_symbols(index->store, catalog->docs[file->doc], take_symbol, &l, err);
    }
    return status == KG_OK && l.failed ? kg_fail_nomem(err, "listing what the repository defines") : status;
}

static const char *kind_at(const struct kg_definitions *d, const struct definition *definition)
{
    return definition->kind < d->kind_count ? d->kinds[definition->kind] : "";
}

static bool is_declaration(const char *kind)
{
    return strcmp(kind, "prototype") == 0 || strcmp(kind, "declaration") == 0;
}

/* What stands behind others that match as well. */
static uint32_t weight_of(const struct kg_definitions *d, const struct definition *definition)
{
    size_t length = strlen(d->names + definition->name);
    return (uint32_t)(length < LENGTHS ? length : LENGTHS - 1) + (is_declaration(kind_at(d, definition)) ? LENGTHS : 0);
}

/* By weight, else in the order of paths and lines, with the names in the same order; signatures come with it. */
static bool order(struct kg_definitions *d)
{
    size_t places[2 * LENGTHS + 1] = { 0 }, at = 0;
    struct definition *ordered = malloc((d->count + 1) * sizeof *ordered);
    uint64_t *signatures = malloc((d->count + 1) * sizeof *signatures);
    char *names = malloc(d->names_length + 1);
    if (!ordered || !signatures || !names) {
        free(ordered);
        free(signatures);
        free(names);
        return false;
    }
    for (size_t i = 0; i < d->count; i++)
        places[weight_of(d, &d->definitions[i]) + 1]++;
    for (size_t i = 1; i <= 2 * LENGTHS; i++)
        places[i] += places[i - 1];
    for (size_t i = 0; i < d->count; i++)
        ordered[places[weight_of(d, &d->definitions[i])]++] = d->definitions[i];
    for (size_t i = 0; i < d->count; i++) {
        const char *name = d->names + ordered[i].name;
        signatures[i] = signature_of(name);
        ordered[i].name = (uint32_t)at;
        at += (size_t)(stpcpy(names + at, name) - (names + at)) + 1;
    }
    free(d->definitions);
    free(d->names);
    d->definitions = ordered;
    d->signatures = signatures;
    d->names = names;
    return true;
}

enum kg_status kg_index_definitions(struct kg_index *index, struct kg_definitions **definitions, int (*progress)(void *ctx, uint32_t done, uint32_t found), void *ctx,
                                    struct kg_error *err)
{
    uint64_t version = 0;
    enum kg_status status = kg_store_version(index->store, &version, err);
    if (status != KG_OK || (*definitions && (*definitions)->version == version))
        return status;
    struct kg_definitions *new = calloc(1, sizeof *new);
    if (!new)
        return kg_fail_nomem(err, "listing what the repository defines");
    status = kg_store_begin_read(index->store, err);
    if (status == KG_OK) {
        status = load(index, new, progress, ctx, err);
        kg_store_rollback(index->store);
    }
    if (status == KG_OK && !order(new))
        status = kg_fail_nomem(err, "listing what the repository defines");
    if (status != KG_OK) {
        kg_definitions_free(new);
        return status == KG_ERR_CORRUPT ? kg_index_mend(index, err) : status;
    }
    kg_definitions_free(*definitions);
    *definitions = new;
    return KG_OK;
}

void kg_definitions_free(struct kg_definitions *definitions)
{
    if (!definitions)
        return;
    free(definitions->signatures);
    free(definitions->definitions);
    free(definitions->names);
    free(definitions->paths);
    kg_arena_free(&definitions->texts);
    free(definitions);
}

size_t kg_definitions_count(const struct kg_definitions *definitions)
{
    return definitions->count;
}

static size_t gather(const struct kg_definitions *d, const char *pattern, struct kg_best *heap, size_t room)
{
    uint64_t needed = needed_by(pattern);
    size_t count = 0;
    for (size_t i = 0, scored = 0; i < d->count && scored < SCORED_MOST; i++) {
        if ((d->signatures[i] & needed) != needed)
            continue;
        const char *name = d->names + d->definitions[i].name;
        struct kg_best hit = { .score = kg_fuzzy_quick(pattern, name, name), .item = (uint32_t)i };
        scored++;
        if (hit.score && (count < room || hit.score > heap[0].score)) /* what comes later weighs no less */
            kg_best_keep(heap, &count, room, &hit);
    }
    return count;
}

enum kg_status kg_definitions_complete(const struct kg_definitions *d, const char *pattern, uint32_t limit, int (*each)(void *ctx, const struct kg_index_symbol *),
                                       void *ctx, struct kg_error *err)
{
    size_t room = limit > LOOK_AGAIN / 4 ? (size_t)limit * 4 : LOOK_AGAIN;
    room = room < d->count ? room : d->count;
    if (!pattern[0] || room == 0)
        return KG_OK;
    struct kg_best *heap = malloc(room * sizeof *heap);
    if (!heap)
        return kg_fail_nomem(err, "completing a name");
    size_t count = gather(d, pattern, heap, room);
    for (size_t i = 0; i < count; i++) {
        const char *name = d->names + d->definitions[heap[i].item].name;
        heap[i].score = kg_fuzzy_best(pattern, name, name);
    }
    kg_best_sort(heap, count);
    for (size_t i = 0; i < count && i < limit; i++) {
        const struct definition *at = &d->definitions[heap[i].item];
        const struct kg_index_symbol out = { .path = d->paths[at->path], .kind = kind_at(d, at), .name = d->names + at->name, .scope = "", .signature = "",
                                             .line = at->line, .end = at->lines ? at->line + at->lines - 1 : 0 };
        if (each(ctx, &out))
            break;
    }
    free(heap);
    return KG_OK;
}
