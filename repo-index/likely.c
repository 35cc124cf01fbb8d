#include "repo-index/likely.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "repo-index/graph.h"
#include "repo-index/prior.h"

#define BASE_RANK 0.1 /* of the mean: what a file has that nothing includes */

enum kg_status kg_likely_ranks(struct kg_index *index, const struct kg_catalog *catalog, double *ranks, struct kg_error *err)
{
    const struct kg_graph *graph;
    const struct kg_question none = { 0 };
    enum kg_status status = kg_graph_of(index, catalog, &graph, err);
    double *seeds = status == KG_OK ? calloc(catalog->count + 1, sizeof *seeds) : NULL;
    if (status != KG_OK)
        return status;
    for (size_t i = 0; seeds && i < catalog->count; i++)
        seeds[i] = kg_prior_of(&none, &catalog->files[i]);
    if (!seeds || !kg_graph_walk(graph, seeds, ranks)) {
        free(seeds);
        return kg_fail_nomem(err, "weighing the files of the repository");
    }
    for (size_t i = 0; i < catalog->count; i++)
        ranks[i] = (sqrt(ranks[i] * (double)catalog->count) + BASE_RANK) * seeds[i];
    free(seeds);
    return KG_OK;
}

struct ranked {
    uint32_t file;
    double rank;
};

static int better(const void *a, const void *b)
{
    const struct ranked *x = a, *y = b;
    if (x->rank != y->rank)
        return x->rank > y->rank ? -1 : 1;
    return x->file < y->file ? -1 : x->file > y->file;
}

/* Everything in memory: whoever goes through it may take long. */
struct list {
    const struct kg_catalog *catalog;
    struct ranked *files;
    unsigned char (*digests)[KG_STORE_DIGEST]; /* of the catalog's docs */
    bool *known;
    size_t doc;
};

static int take_digest(void *ctx, int64_t doc, const unsigned char digest[KG_STORE_DIGEST])
{
    struct list *list = ctx;
    while (list->doc < list->catalog->doc_count && list->catalog->docs[list->doc] < doc)
        list->doc++;
    if (list->doc < list->catalog->doc_count && list->catalog->docs[list->doc] == doc) {
        memcpy(list->digests[list->doc], digest, KG_STORE_DIGEST);
        list->known[list->doc] = true;
    }
    return 0;
}

static enum kg_status rank(struct kg_index *index, struct list *list, struct kg_error *err)
{
    const size_t count = list->catalog->count;
    double *ranks = calloc(count + 1, sizeof *ranks);
    list->files = calloc(count + 1, sizeof *list->files);
    list->digests = calloc(list->catalog->doc_count + 1, sizeof *list->digests);
    list->known = calloc(list->catalog->doc_count + 1, sizeof *list->known);
    if (!ranks || !list->files || !list->digests || !list->known) {
        free(ranks);
        return kg_fail_nomem(err, "listing the files of the repository");
    }
    enum kg_status status = kg_likely_ranks(index, list->catalog, ranks, err);
    if (status == KG_OK)
        status = kg_store_digests(index->store, take_digest, list, err);
    for (size_t i = 0; i < count && status == KG_OK; i++)
        list->files[i] = (struct ranked){ .file = (uint32_t)i, .rank = ranks[i] };
    if (status == KG_OK && count)
        qsort(list->files, count, sizeof *list->files, better);
    free(ranks);
    return status;
}

static enum kg_status likely(struct kg_index *index, struct list *list, int (*each)(void *ctx, const struct kg_index_file *), void *ctx, struct kg_error *err)
{
    enum kg_status status = kg_store_begin_read(index->store, err);
    if (status != KG_OK)
        return status;
    status = kg_catalog_of(index, &list->catalog, err);
    if (status == KG_OK)
        status = rank(index, list, err);
    kg_store_rollback(index->store);
    for (size_t i = 0; status == KG_OK && i < list->catalog->count; i++) {
        const struct kg_catalog_file *file = &list->catalog->files[list->files[i].file];
        const struct kg_index_file out = { .path = file->path, .bytes = file->bytes, .digest = list->known[file->doc] ? list->digests[file->doc] : NULL };
        if (each(ctx, &out))
            break;
    }
    return status;
}

enum kg_status kg_index_likely(struct kg_index *index, int (*each)(void *ctx, const struct kg_index_file *), void *ctx, struct kg_error *err)
{
    struct list list = { 0 };
    enum kg_status status = likely(index, &list, each, ctx, err);
    free(list.files);
    free(list.digests);
    free(list.known);
    return status == KG_ERR_CORRUPT ? kg_index_mend(index, err) : status;
}
