#include "repo-index/graph.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#define XXH_INLINE_ALL
#include <xxhash.h>

#include "repo-index/arena.h"
#include "repo-index/references.h"
#include "repo-index/resolve.h"

#define EDITION 1           /* to be raised with any change of what graphs are made of, or how */
#define KEPT_FILES 2000     /* fewer are linked faster than a graph is written */
#define KEPT_BYTES ((size_t)256 << 20)
#define KEPT_SECONDS 600
#define STEPS 6
#define ONWARD 0.5          /* share of the walk that goes on at each step, the rest stops */

/* Of a file's weight, to what it includes, to those that include it, to those whose names it uses, to those that use its names;
 * what a file lacks goes to the others in proportion. */
enum way { INCLUDES, INCLUDED, USES, USED, WAYS };
static const double shares[WAYS] = { 0.36, 0.24, 0.24, 0.16 };

struct edge {
    uint32_t from, to;
    float weight;
    enum way way;
};

struct loading {
    const struct kg_tree *tree;
    struct edge *edges;
    size_t count, capacity;
    uint32_t file;
    struct kg_links *links;
    bool failed;
};

static void add_edge(struct loading *l, uint32_t from, uint32_t to, float weight, enum way way)
{
    l->failed = l->failed || !kg_grow(&l->edges, l->count, &l->capacity, sizeof *l->edges);
    if (!l->failed)
        l->edges[l->count++] = (struct edge){ from, to, weight, way };
}

/* Each edge is walked both ways. */
static void add_both(struct loading *l, uint32_t from, uint32_t to, float weight, enum way way)
{
    add_edge(l, from, to, weight, way);
    add_edge(l, to, from, weight, way + 1);
}

static int take_records(void *ctx, const char *records, size_t length)
{
    struct loading *l = ctx;
    kg_resolve(l->tree, l->file, records, length, l->links);
    for (size_t i = 0; i < l->links->count; i++)
        add_both(l, l->file, l->links->files[i], 1, INCLUDES);
    return l->failed;
}

static void take_reference(void *ctx, const struct kg_reference *reference)
{
    add_both(ctx, reference->from, reference->to, reference->weight, USES);
}

static bool lay_out(struct kg_graph *g, const struct loading *l)
{
    double(*sums)[WAYS] = calloc(g->count + 1, sizeof *sums);
    uint32_t *at = calloc(g->count + 1, sizeof *at);
    g->first = calloc(g->count + 2, sizeof *g->first);
    g->to = malloc((l->count + 1) * sizeof *g->to);
    g->weights = malloc((l->count + 1) * sizeof *g->weights);
    bool done = sums && at && g->first && g->to && g->weights;
    for (size_t i = 0; done && i < l->count; i++) {
        sums[l->edges[i].from][l->edges[i].way] += (double)l->edges[i].weight;
        at[l->edges[i].from]++;
    }
    for (size_t i = 0; done && i < g->count; i++)
        at[i] = g->first[i + 1] = g->first[i] + at[i];
    for (size_t i = l->count; done && i-- > 0;) { /* backwards, so that each file's edges keep their order */
        const struct edge *e = &l->edges[i];
        double all = 0;
        for (int way = 0; way < WAYS; way++)
            all += sums[e->from][way] > 0 ? shares[way] : 0;
        g->to[--at[e->from]] = e->to;
        g->weights[at[e->from]] = (float)(shares[e->way] / all * (double)e->weight / sums[e->from][e->way]);
    }
    free(sums);
    free(at);
    return done;
}

void kg_graph_free(struct kg_graph *graph)
{
    if (!graph)
        return;
    free(graph->first);
    free(graph->to);
    free(graph->weights);
    free(graph);
}

static enum kg_status gather(struct kg_index *index, const struct kg_catalog *catalog, struct loading *l, struct kg_error *err)
{
    enum kg_status status = kg_tree_of(index, catalog, &l->tree, err);
    for (size_t i = 0; i < catalog->count && status == KG_OK && !l->failed; i++) {
        l->file = (uint32_t)i;
        status = kg_store_imports(index->store, catalog->docs[catalog->files[i].doc], take_records, l, err);
    }
    if (status == KG_OK && !l->failed)
        status = kg_references(index, catalog, take_reference, l, err);
    return status == KG_OK && l->failed ? kg_fail_nomem(err, "linking the files of the repository") : status;
}

/* The files with their texts, and how graphs are made of them. */
static void set_edition(const struct kg_catalog *catalog, unsigned char edition[KG_STORE_DIGEST])
{
    XXH3_state_t state;
    XXH128_canonical_t digest;
    const uint32_t how = EDITION;
    XXH3_128bits_reset(&state);
    XXH3_128bits_update(&state, &how, sizeof how);
    for (size_t i = 0; i < catalog->count; i++) {
        XXH3_128bits_update(&state, catalog->files[i].path, catalog->files[i].path_length + 1);
        XXH3_128bits_update(&state, &catalog->docs[catalog->files[i].doc], sizeof *catalog->docs);
    }
    XXH128_canonicalFromHash(&digest, XXH3_128bits_digest(&state));
    memcpy(edition, digest.digest, KG_STORE_DIGEST);
}

/* As kept: the number of files and of edges, and the three arrays. */
struct kept {
    uint64_t files, edges;
};

static bool is_sound(const struct kg_graph *g, size_t edges)
{
    bool sound = g->first[0] == 0 && g->first[g->count] == edges;
    for (size_t i = 0; sound && i < g->count; i++)
        sound = g->first[i] <= g->first[i + 1];
    for (size_t e = 0; sound && e < edges; e++)
        sound = g->to[e] < g->count && isfinite(g->weights[e]) && g->weights[e] >= 0 && g->weights[e] <= 1.001F;
    return sound;
}

static void take_kept(void *ctx, const void *bytes, size_t length)
{
    struct kg_graph *g = ctx;
    struct kept kept;
    if (length < sizeof kept)
        return;
    memcpy(&kept, bytes, sizeof kept);
    length -= sizeof kept;
    const char *at = (const char *)bytes + sizeof kept;
    const size_t first = (g->count + 1) * sizeof *g->first;
    if (kept.files != g->count || kept.edges > UINT32_MAX || length != first + kept.edges * (sizeof *g->to + sizeof *g->weights))
        return;
    const size_t edges = (size_t)kept.edges;
    g->first = malloc(first);
    g->to = malloc((edges + 1) * sizeof *g->to);
    g->weights = malloc((edges + 1) * sizeof *g->weights);
    if (!g->first || !g->to || !g->weights)
        return;
    memcpy(g->first, at, first);
    memcpy(g->to, at + first, edges * sizeof *g->to);
    memcpy(g->weights, at + first + edges * sizeof *g->to, edges * sizeof *g->weights);
    g->made = !is_sound(g, edges);
}

/* Sets made to false when it was kept. */
static enum kg_status load(struct kg_index *index, struct kg_graph *graph, struct kg_error *err)
{
    graph->made = true;
    if (graph->count < KEPT_FILES)
        return KG_OK;
    enum kg_status status = kg_store_graph(index->store, graph->edition, take_kept, graph, err);
    if (status == KG_OK && graph->made) {
        free(graph->first);
        free(graph->to);
        free(graph->weights);
        graph->first = graph->to = NULL;
        graph->weights = NULL;
    }
    return status;
}

void kg_graph_keep(struct kg_index *index)
{
    struct kg_graph *g = index->graph;
    if (!g || !g->made || g->count < KEPT_FILES)
        return;
    const struct kept kept = { g->count, g->first[g->count] };
    const size_t first = (g->count + 1) * sizeof *g->first, edges = (size_t)kept.edges;
    const size_t length = sizeof kept + first + edges * (sizeof *g->to + sizeof *g->weights);
    char *bytes = length <= KEPT_BYTES ? malloc(length) : NULL;
    if (!bytes)
        return;
    memcpy(bytes, &kept, sizeof kept);
    memcpy(bytes + sizeof kept, g->first, first);
    memcpy(bytes + sizeof kept + first, g->to, edges * sizeof *g->to);
    memcpy(bytes + sizeof kept + first + edges * sizeof *g->to, g->weights, edges * sizeof *g->weights);
    g->made = kg_store_put_graph(index->store, g->edition, g->version, KEPT_SECONDS, bytes, length, NULL) != KG_OK;
    free(bytes);
}

static enum kg_status build(struct kg_index *index, const struct kg_catalog *catalog, struct kg_graph *graph, struct kg_error *err)
{
    graph->version = catalog->version;
    graph->count = catalog->count;
    set_edition(catalog, graph->edition);
    enum kg_status loaded = load(index, graph, err);
    if (loaded != KG_OK || !graph->made)
        return loaded;
    struct loading l = { .links = calloc(1, sizeof *l.links) };
    enum kg_status status = l.links ? gather(index, catalog, &l, err) : kg_fail_nomem(err, "linking the files of the repository");
    if (status == KG_OK && !lay_out(graph, &l))
        status = kg_fail_nomem(err, "linking the files of the repository");
    free(l.edges);
    free(l.links);
    return status;
}

enum kg_status kg_graph_of(struct kg_index *index, const struct kg_catalog *catalog, const struct kg_graph **out, struct kg_error *err)
{
    if (!index->graph || index->graph->version != catalog->version) {
        struct kg_graph *graph = calloc(1, sizeof *graph);
        enum kg_status status = graph ? build(index, catalog, graph, err) : kg_fail_nomem(err, "linking the files of the repository");
        if (status != KG_OK) {
            kg_graph_free(graph);
            return status;
        }
        kg_graph_free(index->graph);
        index->graph = graph;
    }
    *out = index->graph;
    return KG_OK;
}

bool kg_graph_walk(const struct kg_graph *g, const double *seeds, double *near)
{
    double *here = malloc((g->count + 1) * sizeof *here), *next = malloc((g->count + 1) * sizeof *next);
    double sum = 0;
    for (size_t i = 0; i < g->count; i++) {
        sum += seeds[i];
        near[i] = 0;
    }
    for (size_t i = 0; here && i < g->count; i++)
        here[i] = sum > 0 ? seeds[i] / sum : 0;
    for (int step = 0; here && next && step < STEPS && sum > 0; step++) {
        memset(next, 0, g->count * sizeof *next);
        for (size_t i = 0; i < g->count; i++)
            for (uint32_t e = g->first[i]; here[i] > 0 && e < g->first[i + 1]; e++)
                next[g->to[e]] += ONWARD * here[i] * (double)g->weights[e];
        for (size_t i = 0; i < g->count; i++)
            near[i] += next[i];
        double *swapped = here;
        here = next;
        next = swapped;
    }
    bool done = here && next;
    free(here);
    free(next);
    return done;
}
