#include <stdlib.h>
#include <string.h>

#include "repo-index/catalog.h"
#include "repo-index/fuzzy.h"

#define LOOK_AGAIN 256 /* paths that the quick score lets into the exact one, at least */

struct hit {
    const struct kg_catalog_file *file;
    int score;
    uint32_t length;
};

static int better(const void *a, const void *b)
{
    const struct hit *x = a, *y = b;
    if (x->score != y->score)
        return x->score > y->score ? -1 : 1;
    if (x->length != y->length)
        return x->length < y->length ? -1 : 1;
    return strcmp(x->file->path, y->file->path);
}

/* Keeps the best `room` hits in a heap whose first is the worst. */
static void keep(struct hit *heap, size_t *count, size_t room, const struct hit *hit)
{
    size_t at;
    if (*count < room) {
        for (at = (*count)++; at > 0 && better(hit, &heap[(at - 1) / 2]) > 0; at = (at - 1) / 2)
            heap[at] = heap[(at - 1) / 2];
        heap[at] = *hit;
        return;
    }
    if (better(hit, &heap[0]) >= 0)
        return;
    for (at = 0;;) {
        size_t child = 2 * at + 1;
        if (child + 1 < room && better(&heap[child + 1], &heap[child]) > 0)
            child++;
        if (child >= room || better(&heap[child], hit) <= 0)
            break;
        heap[at] = heap[child];
        at = child;
    }
    heap[at] = *hit;
}

static uint32_t depth_of(const char *path)
{
    uint32_t depth = 0;
    for (; *path; path++)
        depth += *path == '/';
    return depth;
}

static size_t gather(const struct kg_catalog *catalog, const char *pattern, struct hit *heap, size_t room)
{
    uint64_t needed = kg_characters_of(pattern);
    size_t count = 0;
    for (size_t i = 0; i < catalog->count; i++) {
        const struct kg_catalog_file *file = &catalog->files[i];
        if ((file->characters & needed) != needed)
            continue;
        /* nothing typed yet: what lies on top first */
        struct hit hit = { .file = file, .score = pattern[0] ? kg_fuzzy_quick(pattern, file->path, file->name) : 1 };
        if (hit.score == 0)
            continue;
        hit.length = pattern[0] ? (uint32_t)strlen(file->path) : depth_of(file->path);
        keep(heap, &count, room, &hit);
    }
    return count;
}

static enum kg_status complete(struct kg_index *index, const char *pattern, uint32_t limit, int (*each)(void *ctx, const char *path), void *ctx,
                               struct kg_error *err)
{
    const struct kg_catalog *catalog;
    enum kg_status status = kg_catalog_of(index, &catalog, err);
    if (status != KG_OK)
        return status;
    size_t room = limit > LOOK_AGAIN / 4 ? (size_t)limit * 4 : LOOK_AGAIN;
    room = room < catalog->count ? room : catalog->count;
    struct hit *heap = malloc((room + 1) * sizeof *heap);
    if (!heap)
        return kg_fail_nomem(err, "completing a path");
    size_t count = room ? gather(catalog, pattern, heap, room) : 0;
    for (size_t i = 0; i < count && pattern[0]; i++)
        heap[i].score = kg_fuzzy_best(pattern, heap[i].file->path, heap[i].file->name);
    if (count)
        qsort(heap, count, sizeof *heap, better);
    for (size_t i = 0; i < count && i < limit; i++)
        if (each(ctx, heap[i].file->path))
            break;
    free(heap);
    return KG_OK;
}

enum kg_status kg_index_complete(struct kg_index *index, const char *pattern, uint32_t limit, int (*each)(void *ctx, const char *path), void *ctx,
                                 struct kg_error *err)
{
    enum kg_status status = complete(index, pattern, limit, each, ctx, err);
    return status == KG_ERR_CORRUPT ? kg_index_mend(index, err) : status;
}
