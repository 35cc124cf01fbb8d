#include "repo-index/index.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <git2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "repo-index/graph.h"
#include "repo-index/history.h"
#include "repo-index/kept.h"
#include "repo-index/tree.h"

#define UNUSED_DAYS 90
#define INDEX_NAME 67 /* bytes: 64 hexadecimal digits and .db */

/* The cache keeps no index that nobody has opened for long; a process that still had one open would lose nothing. */
static void sweep(const char *dir)
{
    DIR *stream = opendir(dir);
    const struct dirent *e;
    time_t now = time(NULL);
    while (stream && (e = readdir(stream)) != NULL) {
        static const char *const endings[] = { "", "-wal", "-shm", ".turn", ".settle" };
        size_t n = strlen(e->d_name);
        struct stat st;
        if (n != INDEX_NAME || strcmp(e->d_name + n - 3, ".db") != 0 || fstatat(dirfd(stream), e->d_name, &st, AT_SYMLINK_NOFOLLOW) != 0 ||
            now - st.st_mtime < UNUSED_DAYS * 86400L)
            continue;
        for (size_t i = 0; i < sizeof endings / sizeof endings[0]; i++) {
            char name[INDEX_NAME + 8];
            snprintf(name, sizeof name, "%.67s%s", e->d_name, endings[i]);
            unlinkat(dirfd(stream), name, 0);
        }
    }
    if (stream)
        closedir(stream);
}

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
    if (access(out, F_OK) != 0)
        sweep(dir);
    return KG_OK;
}

static enum kg_status open_lock(const char *file, const char *ending, int *out, struct kg_error *err)
{
    char path[KG_PATH_MAX + 8];
    snprintf(path, sizeof path, "%s%s", file, ending);
    *out = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (*out < 0)
        return kg_fail(err, KG_ERR_IO, "cannot open %s: %s; mend its permissions, or choose another place with KEDGE_CACHE", path, strerror(errno));
    return KG_OK;
}

enum kg_status kg_index_open(const char *root, const char *cache_dir, struct kg_index **out, struct kg_error *err)
{
    struct kg_index *index = calloc(1, sizeof *index);
    char file[KG_PATH_MAX];
    if (!index)
        return kg_fail_nomem(err, "opening the index of the repository");
    index->git = git_libgit2_init() > 0;
    index->root_fd = index->turn_fd = index->settle_fd = -1;
    enum kg_status status = index->git ? KG_OK : kg_fail_nomem(err, "starting libgit2");
    if (status == KG_OK && (!realpath(root, index->root) || (index->root_fd = open(index->root, O_RDONLY | O_DIRECTORY | O_CLOEXEC)) < 0))
        status = kg_fail(err, errno == ENOENT || errno == ENOTDIR ? KG_ERR_NOT_FOUND : KG_ERR_IO, "cannot open directory %s: %s", root, strerror(errno));
    if (status == KG_OK)
        status = index_file(index->root, cache_dir, file, err);
    if (status == KG_OK)
        status = open_lock(file, ".turn", &index->turn_fd, err);
    if (status == KG_OK)
        status = open_lock(file, ".settle", &index->settle_fd, err);
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
    kg_graph_forget_damaged(index);
    kg_watch_free(index->watch);
    kg_dirty_free(&index->dirty);
    kg_ctags_free(index->ctags);
    kg_history_free(index->history);
    kg_graph_free(index->graph);
    kg_kept_free(index->kept);
    kg_tree_free(index->tree);
    kg_catalog_free(index->catalog);
    kg_store_close(index->store);
    if (index->turn_fd >= 0)
        close(index->turn_fd);
    if (index->settle_fd >= 0)
        close(index->settle_fd);
    if (index->root_fd >= 0)
        close(index->root_fd);
    if (index->git)
        git_libgit2_shutdown();
    free(index);
}

enum kg_status kg_index_mend(struct kg_index *index, struct kg_error *err)
{
    enum kg_status status = kg_store_reset(index->store, err);
    if (status != KG_OK)
        return status;
    index->dirty.everything = index->dirty.head = true; /* of a handle that watches */
    return kg_fail(err, KG_ERR_CORRUPT, "the index of %s was damaged and has been emptied; read the repository again", index->root);
}
