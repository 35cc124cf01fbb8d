#include "repo-index/graph.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include "repo-index/arena.h"
#include "repo-index/kept.h"
#include "repo-index/references.h"
#include "repo-index/resolve.h"

#define DRIFT 100           /* one file of so many that is other than when the graph was made: it is made anew */
#define PAUSE_EVERY 64      /* files */
#define STEPS 6
#define ONWARD 0.5          /* share of the walk that goes on at each step, the rest stops */

/* What a file lacks goes to the others in proportion. */
static const double shares[KG_WAYS] = { 0.36, 0.24, 0.24, 0.16 };

struct edge {
    uint32_t from, to; /* to with its way, as in the graph */
    float weight;
};

struct loading {
    const struct kg_tree *tree;
    struct edge *edges;
    size_t count, capacity;
    uint32_t file;
    struct kg_links *links;
    int (*progress)(void *ctx, uint32_t done, uint32_t found);
    void *ctx;
    bool failed;
};

static void add_edge(struct loading *l, uint32_t from, uint32_t to, float weight, enum kg_way way)
{
    l->failed = l->failed || !kg_grow(&l->edges, l->count, &l->capacity, sizeof *l->edges);
    if (!l->failed)
        l->edges[l->count++] = (struct edge){ from, to | (uint32_t)way << 30, weight };
}

static int take_records(void *ctx, const char *records, size_t length)
{
    struct loading *l = ctx;
    kg_resolve(l->tree, l->file, records, length, l->links);
    for (size_t i = 0; i < l->links->count; i++) {
        add_edge(l, l->file, l->links->files[i], 1, KG_WAY_INCLUDES);
        add_edge(l, l->links->files[i], l->file, 1, KG_WAY_INCLUDED);
    }
    return l->failed;
}

static void take_reference(void *ctx, const struct kg_reference *reference)
{
    add_edge(ctx, reference->from, reference->to, reference->weight, KG_WAY_USES);
    add_edge(ctx, reference->to, reference->from, reference->weight, KG_WAY_USED);
}

void kg_graph_weigh(const uint32_t *to, float *weights, size_t count)
{
    double sums[KG_WAYS] = { 0 }, all = 0;
    for (size_t e = 0; e < count; e++) {
        if (KG_EDGE_WAY(to[e]) <= KG_WAY_INCLUDED)
            weights[e] = 1;
        sums[KG_EDGE_WAY(to[e])] += (double)weights[e];
    }
    for (int way = 0; way < KG_WAYS; way++)
        all += sums[way] > 0 ? shares[way] : 0;
    for (size_t e = 0; e < count; e++) {
        const unsigned way = KG_EDGE_WAY(to[e]);
        weights[e] = sums[way] > 0 ? (float)(shares[way] / all * (double)weights[e] / sums[way]) : 0;
    }
}

static bool lay_out(struct kg_graph *g, const struct loading *l)
{
    uint32_t *at = calloc(g->count + 1, sizeof *at);
    g->first = calloc(g->count + 2, sizeof *g->first);
    g->to = malloc((l->count + 1) * sizeof *g->to);
    g->weights = malloc((l->count + 1) * sizeof *g->weights);
    bool done = at && g->first && g->to && g->weights && l->count <= UINT32_MAX;
    for (size_t i = 0; done && i < l->count; i++)
        at[l->edges[i].from]++;
    for (size_t i = 0; done && i < g->count; i++)
        at[i] = g->first[i + 1] = g->first[i] + at[i];
    for (size_t i = l->count; done && i-- > 0;) { /* backwards, so that each file's edges keep their order */
        const struct edge *e = &l->edges[i];
        g->to[--at[e->from]] = e->to;
        g->weights[at[e->from]] = e->weight;
    }
    for (size_t i = 0; done && i < g->count; i++)
        kg_graph_weigh(g->to + g->first[i], g->weights + g->first[i], g->first[i + 1] - g->first[i]);
    free(at);
    return done;
}

static void free_arrays(struct kg_graph *graph)
{
    if (!graph->lent) {
        free(graph->first);
        free(graph->to);
        free(graph->weights);
    }
    *graph = (struct kg_graph){ 0 };
}

void kg_graph_free(struct kg_graph *graph)
{
    if (graph)
        free_arrays(graph);
    free(graph);
}

static int pause_now(void *ctx)
{
    const struct loading *l = ctx;
    return l->progress && l->progress(l->ctx, 0, 0);
}

static enum kg_status gather(struct kg_index *index, const struct kg_catalog *catalog, struct loading *l, struct kg_error *err)
{
    enum kg_status status = kg_tree_of(index, catalog, &l->tree, err);
    for (size_t i = 0; i < catalog->count && status == KG_OK && !l->failed; i++) {
        l->file = (uint32_t)i;
        status = kg_store_imports(index->store, catalog->docs[catalog->files[i].doc], take_records, l, err);
        if (status == KG_OK && i % PAUSE_EVERY == 0 && pause_now(l))
            return kg_fail(err, KG_ERR_CANCELLED, "stopped while linking the files of the repository");
    }
    if (status == KG_OK && !l->failed)
        status = kg_references(index, catalog, take_reference, pause_now, l, err);
    return status == KG_OK && l->failed ? kg_fail_nomem(err, "linking the files of the repository") : status;
}

static enum kg_status make(struct kg_index *index, const struct kg_catalog *catalog, int (*progress)(void *ctx, uint32_t done, uint32_t found), void *ctx,
                           struct kg_graph *out, struct kg_error *err)
{
    struct loading l = { .links = calloc(1, sizeof *l.links), .progress = progress, .ctx = ctx };
    *out = (struct kg_graph){ .version = catalog->version, .count = catalog->count };
    enum kg_status status = l.links ? gather(index, catalog, &l, err) : kg_fail_nomem(err, "linking the files of the repository");
    if (status == KG_OK && !lay_out(out, &l))
        status = kg_fail_nomem(err, "linking the files of the repository");
    free(l.edges);
    free(l.links);
    return status;
}

/* What the store keeps, read once; what it could not keep, as long as this handle is open. */
static enum kg_status load_kept(struct kg_index *index, struct kg_error *err)
{
    struct kg_store_graph known;
    struct kg_kept *kept = NULL;
    enum kg_status status = kg_store_graph_known(index->store, &known, err);
    if (status != KG_OK || !known.any || index->kept_damaged || (index->kept && (index->kept->unwritten || memcmp(index->kept->edition, known.edition, KG_STORE_DIGEST) == 0)))
        return status;
    status = kg_kept_load(index, known.edition, &kept, err);
    index->kept_damaged |= status == KG_OK && !kept;
    if (kept) {
        kg_kept_free(index->kept);
        index->kept = kept;
    }
    return status;
}

enum kg_status kg_graph_of(struct kg_index *index, const struct kg_catalog *catalog, const struct kg_graph **out, struct kg_error *err)
{
    if (!index->graph || index->graph->version != catalog->version) {
        enum kg_status status = KG_OK;
        kg_graph_free(index->graph);
        index->graph = calloc(1, sizeof *index->graph);
        if (!index->graph)
            return kg_fail_nomem(err, "linking the files of the repository");
        if (catalog->count >= KG_GRAPH_LARGE)
            status = load_kept(index, err);
        if (status == KG_OK && (catalog->count < KG_GRAPH_LARGE || index->kept_damaged))
            status = make(index, catalog, NULL, NULL, index->graph, err);
        else if (status == KG_OK)
            status = kg_kept_serve(index, catalog, index->kept, index->graph, err);
        if (status != KG_OK) {
            kg_graph_free(index->graph);
            index->graph = NULL;
            return status;
        }
    }
    *out = index->graph;
    return KG_OK;
}

/* Sets *made where the graph of the files as they are now is not kept. */
static enum kg_status make_to_keep(struct kg_index *index, int (*progress)(void *ctx, uint32_t done, uint32_t found), void *ctx, struct kg_kept **made, int64_t *last,
                                   struct kg_error *err)
{
    const struct kg_catalog *catalog;
    struct kg_store_graph known;
    struct kg_graph graph = { 0 };
    unsigned char edition[KG_STORE_DIGEST];
    enum kg_status status = kg_catalog_of(index, &catalog, err);
    if (status == KG_OK)
        status = kg_store_graph_known(index->store, &known, err);
    if (status != KG_OK || catalog->count < KG_GRAPH_LARGE)
        return status;
    kg_kept_edition(catalog, edition);
    if (known.any && !index->kept_damaged && memcmp(known.edition, edition, sizeof edition) == 0)
        return KG_OK;
    *last = known.last_doc;
    status = make(index, catalog, progress, ctx, &graph, err);
    if (status == KG_OK)
        status = kg_kept_of(catalog, &graph, made, err);
    free_arrays(&graph);
    return status;
}

static enum kg_status settle(struct kg_index *index, int (*progress)(void *ctx, uint32_t done, uint32_t found), void *ctx, struct kg_error *err)
{
    struct kg_kept *made = NULL;
    int64_t last = 0;
    enum kg_status status = kg_store_begin_read(index->store, err);
    if (status == KG_OK) {
        status = make_to_keep(index, progress, ctx, &made, &last, err);
        kg_store_rollback(index->store);
    }
    if (!made)
        return status;
    kg_graph_free(index->graph); /* its arrays may be those of the old one */
    index->graph = NULL;
    kg_kept_free(index->kept);
    index->kept = made;
    index->kept_damaged = kg_kept_write(index, made, last, NULL) != KG_OK && index->kept_damaged;
    return KG_OK;
}

/* One at a time; who finds another one at it does not wait. This lock is apart from that of flock. */
static bool lock_settling(struct kg_index *index, bool lock)
{
    struct flock range = { .l_type = (short)(lock ? F_WRLCK : F_UNLCK), .l_whence = SEEK_SET, .l_len = 1 };
    return fcntl(index->turn_fd, F_OFD_SETLK, &range) == 0;
}

enum kg_status kg_index_settle(struct kg_index *index, int (*progress)(void *ctx, uint32_t done, uint32_t found), void *ctx, struct kg_error *err)
{
    if (!lock_settling(index, true))
        return KG_OK;
    enum kg_status status = settle(index, progress, ctx, err);
    lock_settling(index, false);
    return status == KG_ERR_CORRUPT ? kg_index_mend(index, err) : status;
}

enum kg_status kg_graph_settle_if_due(struct kg_index *index, uint32_t files, uint32_t changed, int (*progress)(void *ctx, uint32_t done, uint32_t found), void *ctx,
                                      struct kg_error *err)
{
    struct kg_store_graph known;
    if (files < KG_GRAPH_LARGE)
        return KG_OK;
    enum kg_status status = kg_store_graph_known(index->store, &known, err);
    if (status != KG_OK || (known.any && !index->kept_damaged && changed < files / DRIFT && known.last_doc - known.then < (int64_t)(files / DRIFT)))
        return status == KG_ERR_CORRUPT ? kg_index_mend(index, err) : status;
    return kg_index_settle(index, progress, ctx, err);
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
                next[g->to[e] & KG_EDGE_FILE] += ONWARD * here[i] * (double)g->weights[e];
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
