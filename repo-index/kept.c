#include "repo-index/kept.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#define XXH_INLINE_ALL
#include <xxhash.h>

#include "repo-index/arena.h"
#include "repo-index/resolve.h"

#define EDITION 3 /* to be raised with any change of what graphs are made of, or how */
#define KEPT_BYTES ((size_t)256 << 20)
#define NONE UINT32_MAX

void kg_kept_free(struct kg_kept *kept)
{
    if (kept)
        free(kept->bytes);
    free(kept);
}

static uint64_t hash_of(const struct kg_catalog_file *file)
{
    return XXH3_64bits(file->path, file->path_length);
}

/* What a graph made in another way holds of the file is nothing that it says now. */
static uint64_t content_of(const struct kg_catalog_file *file)
{
    return XXH3_64bits_withSeed(&file->content, sizeof file->content, EDITION);
}

void kg_kept_edition(const struct kg_catalog *catalog, unsigned char edition[KG_STORE_DIGEST])
{
    XXH3_state_t state;
    XXH128_canonical_t digest;
    XXH3_128bits_reset(&state);
    for (size_t i = 0; i < catalog->count; i++) {
        const uint64_t content = content_of(&catalog->files[i]);
        XXH3_128bits_update(&state, catalog->files[i].path, catalog->files[i].path_length + 1);
        XXH3_128bits_update(&state, &content, sizeof content);
    }
    XXH128_canonicalFromHash(&digest, XXH3_128bits_digest(&state));
    memcpy(edition, digest.digest, KG_STORE_DIGEST);
}

/* The bytes: the number of files and of edges, and the arrays, those of larger items first. */
struct header {
    uint64_t files, edges;
};

static size_t length_of(struct header header)
{
    const size_t file = 2 * sizeof(uint64_t) + sizeof(uint32_t), edge = sizeof(uint32_t) + sizeof(float);
    return sizeof header + (size_t)header.files * file + sizeof(uint32_t) + (size_t)header.edges * edge;
}

static void point_into(struct kg_kept *kept, struct header header)
{
    struct kg_graph *g = &kept->graph;
    char *at = (char *)kept->bytes + sizeof header;
    g->count = (size_t)header.files;
    g->lent = true;
    kept->paths = (const void *)at;
    at += g->count * sizeof *kept->paths;
    kept->contents = (const void *)at;
    at += g->count * sizeof *kept->contents;
    g->first = (void *)at;
    at += (g->count + 1) * sizeof *g->first;
    g->to = (void *)at;
    g->weights = (void *)(at + (size_t)header.edges * sizeof *g->to);
}

enum kg_status kg_kept_of(const struct kg_catalog *catalog, const struct kg_graph *graph, struct kg_kept **out, struct kg_error *err)
{
    const struct header header = { graph->count, graph->first[graph->count] };
    struct kg_kept *kept = calloc(1, sizeof *kept);
    if (kept)
        kept->bytes = malloc(length_of(header));
    if (!kept || !kept->bytes) {
        kg_kept_free(kept);
        return kg_fail_nomem(err, "linking the files of the repository");
    }
    kept->length = length_of(header);
    kept->unwritten = true;
    kg_kept_edition(catalog, kept->edition);
    point_into(kept, header);
    memcpy(kept->bytes, &header, sizeof header);
    for (size_t i = 0; i < catalog->count; i++) {
        const uint64_t path = hash_of(&catalog->files[i]), content = content_of(&catalog->files[i]);
        memcpy((char *)kept->bytes + sizeof header + i * sizeof path, &path, sizeof path);
        memcpy((char *)kept->bytes + sizeof header + (catalog->count + i) * sizeof path, &content, sizeof content);
    }
    memcpy(kept->graph.first, graph->first, (graph->count + 1) * sizeof *graph->first);
    memcpy(kept->graph.to, graph->to, (size_t)header.edges * sizeof *graph->to);
    memcpy(kept->graph.weights, graph->weights, (size_t)header.edges * sizeof *graph->weights);
    *out = kept;
    return KG_OK;
}

static bool is_sound(const struct kg_graph *g, size_t edges)
{
    bool sound = g->first[0] == 0 && g->first[g->count] == edges;
    for (size_t i = 0; sound && i < g->count; i++)
        sound = g->first[i] <= g->first[i + 1];
    for (size_t e = 0; sound && e < edges; e++)
        sound = (g->to[e] & KG_EDGE_FILE) < g->count && isfinite(g->weights[e]) && g->weights[e] >= 0 && g->weights[e] <= 1.001F;
    return sound;
}

static void *make_room(void *ctx, size_t length)
{
    struct kg_kept *kept = ctx;
    kept->length = length;
    kept->bytes = length && length <= KEPT_BYTES ? malloc(length) : NULL;
    return kept->bytes;
}

enum kg_status kg_kept_load(struct kg_index *index, const unsigned char edition[KG_STORE_DIGEST], struct kg_kept **out, struct kg_error *err)
{
    struct kg_kept *kept = *out = calloc(1, sizeof *kept);
    struct header header = { 0 };
    if (!kept)
        return kg_fail_nomem(err, "reading how the files of the repository are linked");
    enum kg_status status = kg_store_graph(index->store, SIZE_MAX, make_room, kept, err);
    if (status == KG_OK && !kept->bytes && kept->length && kept->length <= KEPT_BYTES)
        status = kg_fail_nomem(err, "reading how the files of the repository are linked");
    bool sound = status == KG_OK && kept->bytes && kept->length >= sizeof header;
    if (sound) {
        memcpy(&header, kept->bytes, sizeof header);
        sound = header.files <= KG_EDGE_FILE && header.edges <= UINT32_MAX && kept->length == length_of(header);
    }
    if (sound) {
        point_into(kept, header);
        memcpy(kept->edition, edition, KG_STORE_DIGEST);
        sound = is_sound(&kept->graph, (size_t)header.edges);
    }
    if (!sound) {
        kg_kept_free(kept);
        *out = NULL;
    }
    return status;
}

enum kg_status kg_kept_write(struct kg_index *index, struct kg_kept *kept, struct kg_error *err)
{
    if (kept->length > KEPT_BYTES)
        return kg_fail(err, KG_ERR_RANGE, "how the files of %s are linked is too large to keep; leave out what no question is about in a .kedgeignore", index->root);
    enum kg_status status = kg_store_put_graph(index->store, kept->edition, kept->bytes, kept->length, err);
    kept->unwritten = status != KG_OK;
    return status;
}

static int compare_hashes(const void *a, const void *b)
{
    const uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return x < y ? -1 : x > y;
}

static uint64_t file_of(uint64_t path, uint64_t content)
{
    const uint64_t both[2] = { path, content };
    return XXH3_64bits(both, sizeof both);
}

/* Of files with their contents: how many of the more numerous ones are not among the others. Orders both. */
static size_t differing(uint64_t *a, size_t a_count, uint64_t *b, size_t b_count)
{
    size_t same = 0;
    qsort(a, a_count, sizeof *a, compare_hashes);
    qsort(b, b_count, sizeof *b, compare_hashes);
    for (size_t i = 0, j = 0; i < a_count && j < b_count;) {
        same += a[i] == b[j];
        const bool further = a[i] <= b[j];
        j += a[i] >= b[j];
        i += further;
    }
    return (a_count > b_count ? a_count : b_count) - same;
}

/* The bytes are those of kept, perhaps their beginning only; NULL: there is nothing that could be compared. */
static enum kg_status count_drift(const struct kg_catalog *catalog, const struct kg_kept *kept, size_t *out, struct kg_error *err)
{
    struct header header = { 0 };
    if (kept->bytes && kept->length >= sizeof header)
        memcpy(&header, kept->bytes, sizeof header);
    const size_t each = sizeof *kept->paths + sizeof *kept->contents;
    *out = catalog->count;
    if (header.files == 0 || catalog->count == 0 || header.files > (kept->length - sizeof header) / each)
        return KG_OK;
    const size_t count = (size_t)header.files;
    const uint64_t *then = (const void *)((const char *)kept->bytes + sizeof header);
    uint64_t *a = malloc(count * sizeof *a), *b = malloc(catalog->count * sizeof *b);
    for (size_t i = 0; a && b && i < count; i++)
        a[i] = file_of(then[i], then[count + i]);
    for (size_t i = 0; a && b && i < catalog->count; i++)
        b[i] = file_of(hash_of(&catalog->files[i]), content_of(&catalog->files[i]));
    if (a && b)
        *out = differing(a, count, b, catalog->count);
    const bool done = a && b;
    free(a);
    free(b);
    return done ? KG_OK : kg_fail_nomem(err, "comparing the files of the repository with those that were linked");
}

enum kg_status kg_kept_drift(struct kg_index *index, const struct kg_catalog *catalog, size_t *out, struct kg_error *err)
{
    if (index->kept && index->kept->unwritten)
        return count_drift(catalog, index->kept, out, err);
    struct kg_kept head = { 0 };
    /* where half of the files or more are gone, it does not matter how many */
    const size_t most = sizeof(struct header) + 2 * catalog->count * (sizeof *head.paths + sizeof *head.contents);
    enum kg_status status = kg_store_graph(index->store, most, make_room, &head, err);
    if (status == KG_OK)
        status = count_drift(catalog, &head, out, err);
    free(head.bytes);
    return status;
}

/* An edge of what a changed file includes now. */
struct fresh {
    uint32_t from, to; /* to with its way, as in a graph */
};

struct serving {
    const struct kg_catalog *catalog;
    const struct kg_kept *kept; /* may be NULL */
    uint32_t *now;  /* of each kept file, its place in the catalog, or NONE */
    uint32_t *then; /* of each file, its place in the kept graph, or NONE */
    bool *redone;   /* of each file: what it includes was looked up anew */
    const struct kg_tree *tree;
    struct kg_links *links;
    struct fresh *fresh; /* by from */
    size_t count, capacity;
    bool failed;
};

/* The catalog's files by the hashes of their paths, in slots counted from 1. */
static uint32_t *slots_of(const struct kg_catalog *catalog, size_t *mask)
{
    size_t size = 64;
    while (size < 2 * catalog->count)
        size *= 2;
    uint32_t *slots = calloc(size, sizeof *slots);
    *mask = size - 1;
    for (size_t i = 0; slots && i < catalog->count; i++) {
        size_t at = hash_of(&catalog->files[i]) & *mask;
        while (slots[at])
            at = (at + 1) & *mask;
        slots[at] = (uint32_t)i + 1;
    }
    return slots;
}

/* Which file is which. A file that took another's hash would only lend its edges. */
static bool match(struct serving *s)
{
    const size_t kept = s->kept ? s->kept->graph.count : 0, count = s->catalog->count;
    size_t mask;
    uint32_t *slots = slots_of(s->catalog, &mask);
    uint64_t *hashes = malloc((count + 1) * sizeof *hashes);
    s->now = malloc((kept + 1) * sizeof *s->now);
    s->then = malloc((count + 1) * sizeof *s->then);
    s->redone = calloc(count + 1, sizeof *s->redone);
    bool done = slots && hashes && s->now && s->then && s->redone;
    for (size_t i = 0; done && i < count; i++) {
        s->then[i] = NONE;
        hashes[i] = hash_of(&s->catalog->files[i]);
    }
    for (size_t i = 0; done && i < kept; i++) {
        size_t at = s->kept->paths[i] & mask;
        while (slots[at] && hashes[slots[at] - 1] != s->kept->paths[i])
            at = (at + 1) & mask;
        s->now[i] = slots[at] && s->then[slots[at] - 1] == NONE ? slots[at] - 1 : NONE;
        if (s->now[i] != NONE)
            s->then[s->now[i]] = (uint32_t)i;
    }
    free(slots);
    free(hashes);
    return done;
}

static void add_fresh(struct serving *s, uint32_t from, uint32_t to, enum kg_way way)
{
    s->failed = s->failed || !kg_grow(&s->fresh, s->count, &s->capacity, sizeof *s->fresh);
    if (!s->failed)
        s->fresh[s->count++] = (struct fresh){ from, to | (uint32_t)way << 30 };
}

static enum kg_status add_links(struct kg_index *index, struct serving *s, uint32_t file, struct kg_error *err)
{
    enum kg_status status = kg_resolve(index, s->tree, file, s->links, err);
    for (size_t i = 0; status == KG_OK && i < s->links->count; i++) {
        add_fresh(s, file, s->links->files[i], KG_WAY_INCLUDES);
        add_fresh(s, s->links->files[i], file, KG_WAY_INCLUDED);
    }
    return status;
}

static bool has_changed(const struct serving *s, size_t file)
{
    return s->then[file] == NONE || s->kept->contents[s->then[file]] != content_of(&s->catalog->files[file]);
}

static enum kg_status look_up(struct kg_index *index, struct serving *s, struct kg_error *err)
{
    enum kg_status status = KG_OK;
    unsigned looked_at = 0;
    for (size_t i = 0; i < s->catalog->count && status == KG_OK && !s->failed && looked_at < KG_KEPT_LOOKED_AT; i++) {
        if (!has_changed(s, i))
            continue;
        if (looked_at++ == 0)
            status = kg_tree_of(index, s->catalog, &s->tree, err);
        s->redone[i] = true;
        if (status == KG_OK)
            status = add_links(index, s, (uint32_t)i, err);
    }
    return status;
}

static int by_from(const void *a, const void *b)
{
    const struct fresh *x = a, *y = b;
    if (x->from != y->from)
        return x->from < y->from ? -1 : 1;
    return x->to < y->to ? -1 : x->to > y->to;
}

/* Whether what was an edge of the file is none any more, or stands in the list of fresh ones, if anywhere. */
static bool is_gone(const struct serving *s, size_t file, uint32_t edge, uint32_t *now)
{
    const enum kg_way way = (enum kg_way)KG_EDGE_WAY(edge);
    *now = s->now[edge & KG_EDGE_FILE];
    return *now == NONE || (way == KG_WAY_INCLUDES && s->redone[file]) || (way == KG_WAY_INCLUDED && s->redone[*now]);
}

/* The file's edges behind those of the files before it; those that it had keep their weights where no other comes or goes. */
static void lay_row(const struct serving *s, size_t file, size_t *fresh, struct kg_graph *out)
{
    uint32_t at = out->first[file];
    bool torn = false;
    const struct kg_graph *g = s->then[file] == NONE ? NULL : &s->kept->graph;
    for (uint32_t e = g ? g->first[s->then[file]] : 0; g && e < g->first[s->then[file] + 1]; e++) {
        uint32_t now;
        if (is_gone(s, file, g->to[e], &now)) {
            torn = true;
            continue;
        }
        out->to[at] = now | (g->to[e] & ~KG_EDGE_FILE);
        out->weights[at++] = g->weights[e];
    }
    for (; *fresh < s->count && s->fresh[*fresh].from == file; ++*fresh, torn = true) {
        out->to[at] = s->fresh[*fresh].to;
        out->weights[at++] = 1;
    }
    if (torn)
        kg_graph_weigh(out->to + out->first[file], out->weights + out->first[file], at - out->first[file]);
    out->first[file + 1] = at;
}

static bool lay_out(struct serving *s, struct kg_graph *out)
{
    const size_t files = s->catalog->count, edges = (s->kept ? s->kept->graph.first[s->kept->graph.count] : 0) + s->count;
    size_t fresh = 0;
    out->first = calloc(files + 1, sizeof *out->first);
    out->to = malloc((edges + 1) * sizeof *out->to);
    out->weights = malloc((edges + 1) * sizeof *out->weights);
    if (!out->first || !out->to || !out->weights || edges > UINT32_MAX)
        return false;
    if (s->count)
        qsort(s->fresh, s->count, sizeof *s->fresh, by_from);
    for (size_t i = 0; i < files; i++)
        lay_row(s, i, &fresh, out);
    return true;
}

enum kg_status kg_kept_serve(struct kg_index *index, const struct kg_catalog *catalog, const struct kg_kept *kept, struct kg_graph *out, struct kg_error *err)
{
    unsigned char edition[KG_STORE_DIGEST];
    *out = (struct kg_graph){ .version = catalog->version, .count = catalog->count };
    kg_kept_edition(catalog, edition);
    if (kept && kept->graph.count == catalog->count && memcmp(kept->edition, edition, sizeof edition) == 0) {
        *out = kept->graph;
        out->version = catalog->version;
        out->lent = true;
        return KG_OK;
    }
    struct serving s = { .catalog = catalog, .kept = kept, .links = calloc(1, sizeof *s.links) };
    s.failed = !s.links || !match(&s);
    enum kg_status status = s.failed ? KG_OK : look_up(index, &s, err);
    if (status == KG_OK && (s.failed || !lay_out(&s, out)))
        status = kg_fail_nomem(err, "linking the files of the repository");
    free(s.links);
    free(s.now);
    free(s.then);
    free(s.redone);
    free(s.fresh);
    return status;
}
