#include "repo-index/references.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "repo-index/arena.h"

#define DEFINERS_MAX 3   /* of a name that refers to them */
#define PLAIN_WEIGHT 0.2 /* of a name that looks like a word of any text */
#define PAUSE_EVERY 64   /* docs */
#define USERS_SHARE 0.1  /* of all texts: a name that more use refers to nothing */

struct definition {
    uint32_t name, doc; /* doc: of the catalog */
};

struct name {
    uint32_t hash, users;
    uint32_t first, definers; /* in definitions */
};

struct span {
    size_t first, count;
};

struct referring {
    const struct kg_catalog *catalog;
    uint32_t *file_of; /* of each doc, the first */
    size_t cursor;     /* docs come ascending */
    struct definition *definitions;
    size_t count, capacity;
    struct name *names;
    size_t name_count;
    uint32_t *slots; /* open addressing: a name, counted from 1 */
    size_t slot_count;
    uint32_t *uses; /* places in names, those of one doc together, in the order of docs */
    size_t use_count, use_capacity;
    struct span *uses_of; /* of each doc, in uses */
    struct kg_reference *found; /* of the doc at hand; from is not set */
    size_t found_count, found_capacity;
    struct kg_reference *all; /* of all, those of one file together */
    size_t all_count, all_capacity;
    struct span *spans;       /* of each file, in all */
    int (*pause)(void *ctx);
    void *ctx;
    unsigned since; /* docs, the last pause */
    bool failed, stopped;
};

static bool goes_on(struct referring *r)
{
    if (r->since++ % PAUSE_EVERY == 0)
        r->stopped = r->stopped || r->pause(r->ctx);
    return !r->failed && !r->stopped;
}

/* The doc's place in the catalog, or -1 when no file has it. */
static int64_t place_of(struct referring *r, int64_t doc)
{
    const struct kg_catalog *c = r->catalog;
    while (r->cursor < c->doc_count && c->docs[r->cursor] < doc)
        r->cursor++;
    return r->cursor < c->doc_count && c->docs[r->cursor] == doc ? (int64_t)r->cursor : -1;
}

static int take_definitions(void *ctx, const struct kg_store_names *names)
{
    struct referring *r = ctx;
    int64_t doc = place_of(r, names->doc);
    for (uint32_t i = 0; doc >= 0 && i < names->defined && !r->failed; i++) {
        r->failed = !kg_grow(&r->definitions, r->count, &r->capacity, sizeof *r->definitions);
        if (!r->failed)
            r->definitions[r->count++] = (struct definition){ names->names[i], (uint32_t)doc };
    }
    return !goes_on(r);
}

/* By name; those of one name stay in the order of docs. */
static bool sort_definitions(struct referring *r)
{
    struct definition *scratch = malloc((r->count + 1) * sizeof *scratch), *from = r->definitions, *to = scratch;
    for (unsigned shift = 0; scratch && shift < 32; shift += 8) { /* an even number of times: the result lies where it was */
        size_t at[257] = { 0 };
        for (size_t i = 0; i < r->count; i++)
            at[((from[i].name >> shift) & 255U) + 1]++;
        for (unsigned i = 1; i < 256; i++)
            at[i] += at[i - 1];
        for (size_t i = 0; i < r->count; i++)
            to[at[(from[i].name >> shift) & 255U]++] = from[i];
        struct definition *swapped = from;
        from = to;
        to = swapped;
    }
    free(scratch);
    return scratch != NULL;
}

static struct name *find(const struct referring *r, uint32_t hash)
{
    for (size_t at = (hash >> 1) & (r->slot_count - 1); r->slots[at]; at = (at + 1) & (r->slot_count - 1))
        if (r->names[r->slots[at] - 1].hash == hash)
            return &r->names[r->slots[at] - 1];
    return NULL;
}

/* The names that few define. */
static bool list_names(struct referring *r)
{
    if (!sort_definitions(r))
        return false;
    r->names = calloc(r->count + 1, sizeof *r->names);
    if (!r->names)
        return false;
    for (size_t i = 0, end; i < r->count; i = end) {
        for (end = i + 1; end < r->count && r->definitions[end].name == r->definitions[i].name; end++) {
        }
        if (end - i <= DEFINERS_MAX)
            r->names[r->name_count++] = (struct name){ .hash = r->definitions[i].name, .first = (uint32_t)i, .definers = (uint32_t)(end - i) };
    }
    for (r->slot_count = 64; r->slot_count < 3 * r->name_count; r->slot_count *= 2) {
    }
    r->slots = calloc(r->slot_count, sizeof *r->slots);
    for (size_t i = 0; r->slots && i < r->name_count; i++) {
        size_t at = (r->names[i].hash >> 1) & (r->slot_count - 1);
        while (r->slots[at])
            at = (at + 1) & (r->slot_count - 1);
        r->slots[at] = (uint32_t)i + 1;
    }
    return r->slots != NULL;
}

static int take_uses(void *ctx, const struct kg_store_names *names)
{
    struct referring *r = ctx;
    int64_t doc = place_of(r, names->doc);
    size_t first = r->use_count;
    for (uint32_t i = names->defined; doc >= 0 && i < names->count && !r->failed; i++) {
        struct name *name = find(r, names->names[i]);
        if (!name)
            continue;
        name->users++;
        r->failed = !kg_grow(&r->uses, r->use_count, &r->use_capacity, sizeof *r->uses);
        if (!r->failed)
            r->uses[r->use_count++] = (uint32_t)(name - r->names);
    }
    if (doc >= 0)
        r->uses_of[doc] = (struct span){ first, r->use_count - first };
    return !goes_on(r);
}

static int by_target(const void *a, const void *b)
{
    const struct kg_reference *x = a, *y = b;
    return x->to < y->to ? -1 : x->to > y->to;
}

static int by_weight(const void *a, const void *b)
{
    const struct kg_reference *x = a, *y = b;
    if (x->weight != y->weight)
        return x->weight > y->weight ? -1 : 1;
    return by_target(a, b);
}

static void add(struct referring *r, const struct name *name)
{
    double all = (double)r->catalog->doc_count;
    if (name->users > 2 + USERS_SHARE * all)
        return;
    double weight = (name->hash & 1 ? 1 : PLAIN_WEIGHT) * log(all / name->users) / name->definers;
    for (uint32_t i = 0; i < name->definers && !r->failed; i++) {
        r->failed = !kg_grow(&r->found, r->found_count, &r->found_capacity, sizeof *r->found);
        if (!r->failed)
            r->found[r->found_count++] = (struct kg_reference){ .to = r->file_of[r->definitions[name->first + i].doc], .weight = (float)weight };
    }
}

/* Of the doc at hand: one for each file, the heaviest. */
static void keep(struct referring *r, uint32_t from)
{
    size_t kept = 0;
    if (r->found_count)
        qsort(r->found, r->found_count, sizeof *r->found, by_target);
    for (size_t i = 0; i < r->found_count; i++) {
        if (kept && r->found[kept - 1].to == r->found[i].to)
            r->found[kept - 1].weight += r->found[i].weight;
        else if (r->found[i].to != from)
            r->found[kept++] = r->found[i];
    }
    if (kept > KG_REFERENCES_MAX) {
        qsort(r->found, kept, sizeof *r->found, by_weight);
        kept = KG_REFERENCES_MAX;
        qsort(r->found, kept, sizeof *r->found, by_target);
    }
    r->spans[from].first = r->all_count;
    for (size_t i = 0; i < kept && !r->failed; i++) {
        r->failed = !kg_grow(&r->all, r->all_count, &r->all_capacity, sizeof *r->all);
        if (!r->failed && r->found[i].weight > 0)
            r->all[r->all_count++] = (struct kg_reference){ .from = from, .to = r->found[i].to, .weight = sqrtf(r->found[i].weight) };
    }
    r->spans[from].count = r->all_count - r->spans[from].first;
}

static void refer(struct referring *r, size_t doc)
{
    const struct span *uses = &r->uses_of[doc];
    r->found_count = 0;
    for (size_t i = 0; i < uses->count && !r->failed; i++)
        add(r, &r->names[r->uses[uses->first + i]]);
    if (!r->failed)
        keep(r, r->file_of[doc]);
}

static enum kg_status pass(struct kg_index *index, struct referring *r, int (*each)(void *ctx, const struct kg_store_names *names), struct kg_error *err)
{
    r->cursor = 0;
    return kg_store_names(index->store, each, r, err);
}

static enum kg_status run(struct kg_index *index, struct referring *r, struct kg_error *err)
{
    const struct kg_catalog *catalog = r->catalog;
    r->failed = !r->file_of || !r->spans || !r->uses_of;
    for (size_t i = catalog->count; !r->failed && i-- > 0;)
        r->file_of[catalog->files[i].doc] = (uint32_t)i;
    enum kg_status status = r->failed ? KG_OK : pass(index, r, take_definitions, err);
    r->failed = r->failed || (status == KG_OK && !r->stopped && !list_names(r));
    if (status == KG_OK && goes_on(r))
        status = pass(index, r, take_uses, err);
    for (size_t doc = 0; status == KG_OK && doc < catalog->doc_count && goes_on(r); doc++)
        refer(r, doc);
    if (status == KG_OK && r->failed)
        return kg_fail_nomem(err, "linking the files of the repository");
    return status == KG_OK && r->stopped ? kg_fail(err, KG_ERR_CANCELLED, "stopped while linking the files of the repository") : status;
}

enum kg_status kg_references(struct kg_index *index, const struct kg_catalog *catalog, void (*take)(void *ctx, const struct kg_reference *reference),
                             int (*pause)(void *ctx), void *ctx, struct kg_error *err)
{
    struct referring r = { .catalog = catalog, .pause = pause, .ctx = ctx, .file_of = malloc((catalog->doc_count + 1) * sizeof *r.file_of),
                           .spans = calloc(catalog->count + 1, sizeof *r.spans), .uses_of = calloc(catalog->doc_count + 1, sizeof *r.uses_of) };
    enum kg_status status = run(index, &r, err);
    for (size_t file = 0; status == KG_OK && file < catalog->count; file++)
        for (size_t i = 0; i < r.spans[file].count; i++)
            take(ctx, &r.all[r.spans[file].first + i]);
    free(r.file_of);
    free(r.spans);
    free(r.uses);
    free(r.uses_of);
    free(r.all);
    free(r.definitions);
    free(r.names);
    free(r.slots);
    free(r.found);
    return status;
}
