#include <stdlib.h>

#include "repo-index/resolve.h"

static enum kg_status look_up(struct kg_index *index, const char *path, struct kg_links *links, struct kg_error *err)
{
    const struct kg_catalog *catalog;
    const struct kg_tree *tree;
    enum kg_status status = kg_catalog_of(index, &catalog, err);
    if (status == KG_OK)
        status = kg_tree_of(index, catalog, &tree, err);
    if (status != KG_OK)
        return status;
    const struct kg_catalog_file *file = kg_catalog_find(catalog, path);
    if (!file)
        return kg_fail(err, KG_ERR_NOT_FOUND, "%s is not in the index of %s", path, index->root);
    return kg_resolve(index, tree, (uint32_t)(file - catalog->files), links, err);
}

static enum kg_status imports(struct kg_index *index, const char *path, int (*each)(void *ctx, const char *path), void *ctx, struct kg_error *err)
{
    struct kg_links *links = calloc(1, sizeof *links);
    struct kg_catalog *held = NULL;
    if (!links)
        return kg_fail_nomem(err, "looking up what a file includes");
    enum kg_status status = kg_store_begin_read(index->store, err);
    if (status == KG_OK) {
        status = look_up(index, path, links, err);
        kg_store_rollback(index->store);
    }
    if (status == KG_OK)
        held = kg_catalog_hold(index);
    for (size_t i = 0; status == KG_OK && i < links->count; i++)
        if (each(ctx, held->files[links->files[i]].path))
            break;
    kg_catalog_free(held);
    free(links);
    return status;
}

enum kg_status kg_index_imports(struct kg_index *index, const char *path, int (*each)(void *ctx, const char *path), void *ctx, struct kg_error *err)
{
    enum kg_status status = imports(index, path, each, ctx, err);
    return status == KG_ERR_CORRUPT ? kg_index_mend(index, err) : status;
}
