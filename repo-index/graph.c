#include "repo-index/graph.h"

#include <stdlib.h>
#include <string.h>

#include "repo-index/arena.h"
#include "repo-index/resolve.h"

#define STEPS 6
#define ONWARD 0.5          /* share of the walk that goes on at each step, the rest stops */
#define INCLUDES_SHARE 0.6  /* of a file's weight to what it includes; the rest to those that include it */

struct edge {
    uint32_t from, to;
};

struct loading {
    const struct kg_tree *tree;
    struct edge *edges;
    size_t count, capacity;
    uint32_t file;
    struct kg_links *links;
    bool failed;
};

static int take_records(void *ctx, const char *records, size_t length)
{
    struct loading *l = ctx;
    kg_resolve(l->tree, l->file, records, length, l->links);
    for (size_t i = 0; i < l->links->count && !l->failed; i++) {
        l->failed = !kg_grow(&l->edges, l->count, &l->capacity, sizeof *l->edges);
        if (!l->failed)
            l->edges[l->count++] = (struct edge){ l->file, l->links->files[i] };
    }
    return l->failed;
}

/* Each edge is walked both ways. */
static bool lay_out(struct kg_graph *g, const struct loading *l)
{
    uint32_t *out = calloc(g->count + 1, sizeof *out), *in = calloc(g->count + 1, sizeof *in), *at = calloc(g->count + 1, sizeof *at);
    g->first = calloc(g->count + 2, sizeof *g->first);
    g->to = malloc((2 * l->count + 1) * sizeof *g->to);
    g->weights = malloc((2 * l->count + 1) * sizeof *g->weights);
    bool done = out && in && at && g->first && g->to && g->weights;
    for (size_t i = 0; done && i < l->count; i++) {
        out[l->edges[i].from]++;
        in[l->edges[i].to]++;
    }
    for (size_t i = 0; done && i < g->count; i++)
        at[i] = g->first[i + 1] = g->first[i] + out[i] + in[i];
    for (size_t i = l->count; done && i-- > 0;) { /* backwards, so that each file's edges keep their order */
        uint32_t from = l->edges[i].from, to = l->edges[i].to;
        g->to[--at[from]] = to;
        g->weights[at[from]] = (float)((in[from] ? INCLUDES_SHARE : 1) / out[from]);
        g->to[--at[to]] = from;
        g->weights[at[to]] = (float)((out[to] ? 1 - INCLUDES_SHARE : 1) / in[to]);
    }
    free(out);
    free(in);
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
    return status == KG_OK && l->failed ? kg_fail_nomem(err, "linking the files of the repository") : status;
}

static enum kg_status build(struct kg_index *index, const struct kg_catalog *catalog, struct kg_graph *graph, struct kg_error *err)
{
    struct loading l = { .links = calloc(1, sizeof *l.links) };
    enum kg_status status = l.links ? gather(index, catalog, &l, err) : kg_fail_nomem(err, "linking the files of the repository");
    graph->version = catalog->version;
    graph->count = catalog->count;
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
