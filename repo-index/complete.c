#include <stdlib.h>
#include <string.h>

#include "repo-index/best.h"
#include "repo-index/catalog.h"
#include "repo-index/fuzzy.h"

#define LOOK_AGAIN 256 /* paths that the quick score lets into the exact one, at least */

static uint32_t depth_of(const char *path)
{
    uint32_t depth = 0;
    for (; *path; path++)
        depth += *path == '/';
    return depth;
}

static size_t gather(const struct kg_catalog *catalog, const char *pattern, struct kg_best *heap, size_t room)
{
    uint64_t needed = kg_characters_of(pattern);
    size_t count = 0;
    for (size_t i = 0; i < catalog->count; i++) {
        const struct kg_catalog_file *file = &catalog->files[i];
        if ((file->characters & needed) != needed)
            continue;
        /* nothing typed yet: what lies on top first */
        struct kg_best hit = { .item = (uint32_t)i, .score = pattern[0] ? kg_fuzzy_quick(pattern, file->path, file->name) : 1 };
        if (hit.score == 0)
            continue;
        hit.weight = pattern[0] ? file->path_length : depth_of(file->path);
        kg_best_keep(heap, &count, room, &hit);
    }
    return count;
}

static enum kg_status complete(struct kg_index *index, const char *pattern, uint32_t limit, int (*each)(void *ctx, const char *path), void *ctx,
                               struct kg_error *err)
{
    const struct kg_catalog *catalog;
    enum kg_status status = kg_catalog_lately(index, &catalog, err);
    if (status != KG_OK)
        return status;
    size_t room = limit > LOOK_AGAIN / 4 ? (size_t)limit * 4 : LOOK_AGAIN;
    room = room < catalog->count ? room : catalog->count;
    struct kg_best *heap = malloc((room + 1) * sizeof *heap);
    if (!heap)
        return kg_fail_nomem(err, "completing a path");
    size_t count = room ? gather(catalog, pattern, heap, room) : 0;
    for (size_t i = 0; i < count && pattern[0]; i++)
        heap[i].score = kg_fuzzy_best(pattern, catalog->files[heap[i].item].path, catalog->files[heap[i].item].name);
    kg_best_sort(heap, count);
    struct kg_catalog *held = kg_catalog_hold(index);
    for (size_t i = 0; i < count && i < limit; i++)
        if (each(ctx, catalog->files[heap[i].item].path))
            break;
    kg_catalog_free(held);
    free(heap);
    return KG_OK;
}

enum kg_status kg_index_complete(struct kg_index *index, const char *pattern, uint32_t limit, int (*each)(void *ctx, const char *path), void *ctx,
                                 struct kg_error *err)
{
    enum kg_status status = complete(index, pattern, limit, each, ctx, err);
    return status == KG_ERR_CORRUPT ? kg_index_mend(index, err) : status;
}
