/* The cache for people: what is kept, without a model. */
#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/paths.h"
#include "engine/cache/kv_store.h"
#include "engine/engine.h"

static enum kg_status open_store(const char *cache_dir, struct kg_kv_store **out, struct kg_error *err)
{
    char path[KG_PATH_MAX];
    enum kg_status status = KG_OK;
    if (!cache_dir)
        status = kg_place_path(KG_PLACE_CACHE, NULL, path, err);
    if (status == KG_OK)
        status = kg_make_dirs(cache_dir ? cache_dir : path, err);
    return status == KG_OK ? kg_kv_store_open(cache_dir ? cache_dir : path, 0, out, err) : status;
}

/* A file beside kv.db says so: it holds for every program, whatever its configuration. */
static enum kg_status off_path(const char *cache_dir, char path[KG_PATH_MAX], struct kg_error *err)
{
    if (!cache_dir)
        return kg_place_path(KG_PLACE_CACHE, "kv.off", path, err);
    int n = snprintf(path, KG_PATH_MAX, "%s/kv.off", cache_dir);
    return n < KG_PATH_MAX ? KG_OK : kg_fail(err, KG_ERR_RANGE, "the cache directory's path is too long; choose a shorter one");
}

enum kg_status kg_cache_switch(const char *cache_dir, bool off, struct kg_error *err)
{
    char path[KG_PATH_MAX], directory[KG_PATH_MAX];
    enum kg_status status = off_path(cache_dir, path, err);
    snprintf(directory, sizeof directory, "%s", path);
    if (status == KG_OK)
        status = kg_make_dirs(dirname(directory), err);
    if (status != KG_OK)
        return status;
    int fd = off ? open(path, O_WRONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600) : -1;
    if (off ? fd < 0 : unlink(path) != 0 && errno != ENOENT)
        return kg_fail(err, KG_ERR_IO, "cannot %s %s: %s", off ? "make" : "remove", path, strerror(errno));
    if (fd >= 0)
        close(fd);
    return KG_OK;
}

bool kg_cache_is_off(const char *cache_dir)
{
    char path[KG_PATH_MAX];
    struct kg_error err;
    return off_path(cache_dir, path, &err) == KG_OK && access(path, F_OK) == 0;
}

struct listing {
    int (*each)(void *ctx, const struct kg_cached_block *);
    void *ctx;
};

static int list_one(void *ctx, const struct kg_kv_entry *entry)
{
    struct listing *listing = ctx;
    struct kg_cached_block block = {
        .id = entry->id, .model = entry->model, .kind = entry->kind, .title = entry->title, .tokens = entry->tokens,
        .ready = entry->ready, .bytes = entry->bytes, .created = entry->created, .used = entry->used,
    };
    memcpy(block.key, entry->key, sizeof block.key);
    memcpy(block.text, entry->text, sizeof block.text);
    return listing->each(listing->ctx, &block);
}

enum kg_status kg_cache_list(const char *cache_dir, int (*each)(void *ctx, const struct kg_cached_block *), void *ctx, struct kg_error *err)
{
    struct kg_kv_store *store;
    struct listing listing = { .each = each, .ctx = ctx };
    enum kg_status status = open_store(cache_dir, &store, err);
    if (status != KG_OK)
        return status;
    status = kg_kv_store_list(store, list_one, &listing, err);
    kg_kv_store_close(store);
    return status;
}

enum kg_status kg_cache_remove(const char *cache_dir, int64_t id, struct kg_error *err)
{
    struct kg_kv_store *store;
    enum kg_status status = open_store(cache_dir, &store, err);
    if (status != KG_OK)
        return status;
    status = id ? kg_kv_store_remove(store, id, err) : kg_kv_store_remove_all(store, err);
    kg_kv_store_close(store);
    return status;
}

enum kg_status kg_cache_verify(const char *cache_dir, uint64_t *checked, uint64_t *bad, struct kg_error *err)
{
    struct kg_kv_store *store;
    enum kg_status status = open_store(cache_dir, &store, err);
    if (status != KG_OK)
        return status;
    status = kg_kv_store_verify(store, checked, bad, err);
    kg_kv_store_close(store);
    return status;
}

enum kg_status kg_cache_size(const char *cache_dir, char path[KG_PATH_MAX], uint64_t *bytes, struct kg_error *err)
{
    struct kg_kv_store *store;
    enum kg_status status = open_store(cache_dir, &store, err);
    if (status != KG_OK)
        return status;
    *bytes = kg_kv_store_bytes(store);
    kg_kv_store_close(store);
    if (!cache_dir)
        return kg_place_path(KG_PLACE_CACHE, "kv.db", path, err);
    int n = snprintf(path, KG_PATH_MAX, "%s/kv.db", cache_dir);
    return n < KG_PATH_MAX ? KG_OK : kg_fail(err, KG_ERR_RANGE, "the cache directory's path is too long; choose a shorter one");
}
