#include "repo-index/index.h"

#include <errno.h>
#include <fcntl.h>
#include <git2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "repo-index/catalog.h"

static enum kg_status index_file(const char *root, const char *cache_dir, char out[KG_PATH_MAX], struct kg_error *err)
{
    char dir[KG_PATH_MAX];
    char name[65];
    enum kg_status status = KG_OK;
    int n = cache_dir ? snprintf(dir, sizeof dir, "%s/index", cache_dir) : 0;
    if (!cache_dir)
        status = kg_place_path(KG_PLACE_CACHE, "index", dir, err);
    if (status == KG_OK && n < (int)sizeof dir)
        status = kg_make_dirs(dir, err);
    if (status != KG_OK)
        return status;
    struct kg_digest digest = kg_digest_of(root, strlen(root));
    kg_digest_hex(&digest, name);
    if (n >= (int)sizeof dir || snprintf(out, KG_PATH_MAX, "%s/%s.db", dir, name) >= KG_PATH_MAX - 8)
        return kg_fail(err, KG_ERR_RANGE, "the path of the cache is too long; choose a shorter one with KEDGE_CACHE");
    return KG_OK;
}

enum kg_status kg_index_open(const char *root, const char *cache_dir, struct kg_index **out, struct kg_error *err)
{
    struct kg_index *index = calloc(1, sizeof *index);
    char file[KG_PATH_MAX];
    if (!index)
        return kg_fail_nomem(err, "opening the index of the repository");
    git_libgit2_init();
    index->root_fd = -1;
    enum kg_status status = KG_OK;
    if (!realpath(root, index->root) || (index->root_fd = open(index->root, O_RDONLY | O_DIRECTORY | O_CLOEXEC)) < 0)
        status = kg_fail(err, errno == ENOENT || errno == ENOTDIR ? KG_ERR_NOT_FOUND : KG_ERR_IO, "cannot open directory %s: %s", root, strerror(errno));
    if (status == KG_OK)
        status = index_file(index->root, cache_dir, file, err);
    if (status == KG_OK)
        status = kg_store_open(file, &index->store, err);
    if (status != KG_OK) {
        kg_index_close(index);
        return status;
    }
    *out = index;
    return KG_OK;
}

void kg_index_close(struct kg_index *index)
{
    if (!index)
        return;
    kg_catalog_free(index->catalog);
    kg_store_close(index->store);
    if (index->root_fd >= 0)
        close(index->root_fd);
    free(index);
    git_libgit2_shutdown();
}

enum kg_status kg_index_mend(struct kg_index *index, struct kg_error *err)
{
    enum kg_status status = kg_store_reset(index->store, err);
    if (status != KG_OK)
        return status;
    return kg_fail(err, KG_ERR_CORRUPT, "the index of %s was damaged and has been emptied; read the repository again", index->root);
}
