#include "repo-index/graph.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>

#include "repo-index/arena.h"
#include "repo-index/kept.h"
#include "repo-index/references.h"
#include "repo-index/resolve.h"

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

static enum kg_status add_links(struct kg_index *index, struct loading *l, uint32_t file, struct kg_error *err)
{
    enum kg_status status = kg_resolve(index, l->tree, file, l->links, err);
    for (size_t i = 0; status == KG_OK && i < l->links->count; i++) {
        add_edge(l, file, l->links->files[i], 1, KG_WAY_INCLUDES);
        add_edge(l, l->links->files[i], file, 1, KG_WAY_INCLUDED);
    }
    return status;
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
        status = add_links(index, l, (uint32_t)i, err);
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

/* What the store keeps, read once; what it could not keep, as long as this handle is open, or until the store has the right one. */
static enum kg_status load_kept(struct kg_index *index, const struct kg_catalog *catalog, struct kg_error *err)
{
    struct kg_store_graph known;
    struct kg_kept *kept = NULL;
    unsigned char edition[KG_STORE_DIGEST];
    enum kg_status status = kg_store_graph_known(index->store, &known, err);
    if (status != KG_OK || !known.any || (index->kept && memcmp(index->kept->edition, known.edition, sizeof edition) == 0))
        return status;
    if (index->kept && index->kept->unwritten) {
        kg_kept_edition(catalog, edition);
        if (memcmp(known.edition, edition, sizeof edition) != 0)
            return KG_OK;
    }
    status = kg_kept_load(index, known.edition, &kept, err);
    index->kept_damaged = status == KG_OK && !kept;
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
            status = load_kept(index, catalog, err);
        if (status == KG_OK && catalog->count < KG_GRAPH_LARGE)
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

void kg_graph_forget_damaged(struct kg_index *index)
{
    struct kg_store_graph known;
    struct kg_kept *kept = NULL;
    if (!index->kept_damaged || kg_store_begin(index->store, NULL) != KG_OK)
        return;
    enum kg_status status = kg_store_graph_known(index->store, &known, NULL);
    if (status == KG_OK && known.any)
        status = kg_kept_load(index, known.edition, &kept, NULL);
    if (status == KG_OK && !kept)
        status = kg_store_drop_graph(index->store, NULL);
    if (status == KG_OK)
        status = kg_store_commit(index->store, NULL);
    if (status != KG_OK)
        kg_store_rollback(index->store);
    index->kept_damaged = status != KG_OK;
    kg_kept_free(kept);
}

struct settling {
    double drift; /* less is no reason */
    int (*progress)(void *ctx, uint32_t done, uint32_t found);
    void *ctx;
    struct kg_kept *made; /* NULL: what there is serves on */
    bool write;           /* what this handle has belongs into the store */
};

static enum kg_status make_to_keep(struct kg_index *index, struct settling *s, struct kg_error *err)
{
    const struct kg_catalog *catalog;
    struct kg_store_graph known;
    struct kg_graph graph = { 0 };
    unsigned char edition[KG_STORE_DIGEST];
    size_t drift = SIZE_MAX;
    enum kg_status status = kg_catalog_of(index, &catalog, err);
    if (status == KG_OK)
        status = kg_store_graph_known(index->store, &known, err);
    if (status != KG_OK || catalog->count < KG_GRAPH_LARGE)
        return status;
    kg_kept_edition(catalog, edition);
    if (known.any && memcmp(known.edition, edition, sizeof edition) == 0)
        return KG_OK;
    s->write = index->kept && index->kept->unwritten;
    if (s->write && memcmp(index->kept->edition, edition, sizeof edition) == 0)
        return KG_OK;
    if (s->drift > 0 && (s->write || known.any))
        status = kg_kept_drift(index, catalog, &drift, err);
    if (status != KG_OK || (double)drift < s->drift * (double)catalog->count)
        return status;
    status = make(index, catalog, s->progress, s->ctx, &graph, err);
    if (status == KG_OK)
        status = kg_kept_of(catalog, &graph, &s->made, err);
    free_arrays(&graph);
    return status;
}

static enum kg_status settle(struct kg_index *index, struct settling *s, struct kg_error *err)
{
    enum kg_status status = kg_store_begin_read(index->store, err);
    if (status == KG_OK) {
        status = make_to_keep(index, s, err);
        kg_store_rollback(index->store);
    }
    if (s->made) {
        kg_graph_free(index->graph); /* its arrays may be those of the old one */
        index->graph = NULL;
        kg_kept_free(index->kept);
        index->kept = s->made;
    }
    return status == KG_OK && (s->made || s->write) ? kg_kept_write(index, index->kept, err) : status;
}

/* Where files cannot be locked, several may be at it, which costs time only. */
static bool is_at_it_elsewhere(const struct kg_index *index)
{
    while (flock(index->settle_fd, LOCK_EX | LOCK_NB) != 0)
        if (errno != EINTR)
            return errno == EWOULDBLOCK;
    return false;
}

enum kg_status kg_index_settle(struct kg_index *index, double drift, int (*progress)(void *ctx, uint32_t done, uint32_t found), void *ctx, struct kg_error *err)
{
    struct settling s = { .drift = drift, .progress = progress, .ctx = ctx };
    if (is_at_it_elsewhere(index))
        return kg_fail(err, KG_ERR_BUSY, "the files of %s are being linked by another process", index->root);
    kg_graph_forget_damaged(index);
    enum kg_status status = settle(index, &s, err);
    flock(index->settle_fd, LOCK_UN);
    return status == KG_ERR_CORRUPT ? kg_index_mend(index, err) : status;
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
