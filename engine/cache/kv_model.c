/* SHA-256 of model files, remembered by what the file system says of them. */
#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <xxhash.h>

#include "engine/cache/kv_file.h"

struct identity {
    int64_t device, inode, size, mtime, ctime; /* times in nanoseconds */
};

static enum kg_status identify(const char *path, struct identity *out, struct kg_error *err)
{
    struct stat st;
    if (stat(path, &st) != 0)
        return kg_fail(err, errno == ENOENT ? KG_ERR_NOT_FOUND : KG_ERR_IO, "cannot open %s: %s", path, strerror(errno));
    if (!S_ISREG(st.st_mode))
        return kg_fail(err, KG_ERR_UNSUPPORTED, "%s is not a regular file; name a file", path);
    *out = (struct identity){
        .device = (int64_t)st.st_dev,
        .inode = (int64_t)st.st_ino,
        .size = st.st_size,
        .mtime = st.st_mtim.tv_sec * INT64_C(1000000000) + st.st_mtim.tv_nsec,
        .ctime = st.st_ctim.tv_sec * INT64_C(1000000000) + st.st_ctim.tv_nsec,
    };
    return KG_OK;
}

static sqlite3_int64 sum_of(const struct identity *identity, const struct kg_digest *digest)
{
    return (sqlite3_int64)XXH3_64bits_withSeed(digest->bytes, sizeof digest->bytes, XXH3_64bits(identity, sizeof *identity));
}

static void bind_identity(sqlite3_stmt *statement, const struct identity *identity)
{
    sqlite3_bind_int64(statement, 1, identity->device);
    sqlite3_bind_int64(statement, 2, identity->inode);
    sqlite3_bind_int64(statement, 3, identity->size);
    sqlite3_bind_int64(statement, 4, identity->mtime);
    sqlite3_bind_int64(statement, 5, identity->ctime);
}

static bool recall(struct kg_kv_store *store, const struct identity *identity, struct kg_digest *out)
{
    sqlite3_stmt *find = store->db ? kg_kv_statement(store, KG_KV_MODEL) : NULL;
    if (!find)
        return false;
    bind_identity(find, identity);
    bool known = sqlite3_step(find) == SQLITE_ROW && sqlite3_column_blob(find, 0) &&
                 sqlite3_column_bytes(find, 0) == (int)sizeof out->bytes;
    if (known) {
        memcpy(out->bytes, sqlite3_column_blob(find, 0), sizeof out->bytes);
        known = sqlite3_column_int64(find, 1) == sum_of(identity, out);
    }
    sqlite3_reset(find);
    return known;
}

static enum kg_status remember(struct kg_kv_store *store, const struct identity *identity, const struct kg_digest *digest,
                               struct kg_error *err)
{
    enum kg_status status = kg_kv_begin(store, err);
    sqlite3_stmt *put = status == KG_OK ? kg_kv_statement(store, KG_KV_PUT_MODEL) : NULL;
    if (put) {
        bind_identity(put, identity);
        sqlite3_bind_blob(put, 6, digest->bytes, sizeof digest->bytes, SQLITE_STATIC);
        sqlite3_bind_int64(put, 7, sum_of(identity, digest));
    }
    if (status == KG_OK)
        status = kg_kv_run(store, put, err);
    if (status == KG_OK)
        status = kg_kv_run(store, kg_kv_statement(store, KG_KV_DROP_MODELS), err);
    if (status == KG_OK)
        status = kg_kv_commit(store, err);
    kg_db_rollback(store->db);
    return status;
}

/* A file changed within the clock's last tick could change again and keep its times. */
static bool is_settled(const struct identity *identity)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    int64_t last = identity->ctime > identity->mtime ? identity->ctime : identity->mtime;
    return now.tv_sec * INT64_C(1000000000) + now.tv_nsec - last > INT64_C(2000000000);
}

static bool recall_locked(struct kg_kv_store *store, const struct identity *identity, struct kg_digest *out)
{
    kg_kv_enter(store);
    bool known = recall(store, identity, out);
    kg_kv_leave(store);
    return known;
}

static enum kg_status remember_locked(struct kg_kv_store *store, const struct identity *identity, const struct kg_digest *digest,
                                      struct kg_error *err)
{
    struct kg_error why = { .text = "" };
    kg_kv_enter(store);
    enum kg_status status = store->db ? remember(store, identity, digest, &why) : KG_OK;
    status = kg_kv_excuse(store, status, &why, err);
    kg_kv_leave(store);
    return status;
}

enum kg_status kg_kv_store_model_digest(struct kg_kv_store *store, const char *path, struct kg_digest *out,
                                        int (*progress)(void *ctx, uint64_t done), void *ctx, struct kg_error *err)
{
    struct identity before = { 0 }, after = { 0 };
    enum kg_status status = identify(path, &before, err);
    if (status != KG_OK || recall_locked(store, &before, out))
        return status;
    bool settled = is_settled(&before);
    status = kg_digest_file(path, out, progress, ctx, err);
    if (status == KG_OK)
        status = identify(path, &after, err);
    if (status != KG_OK)
        return status;
    if (memcmp(&before, &after, sizeof before) != 0)
        return kg_fail(err, KG_ERR_CHANGED, "%s changed while it was checked; try again when it is complete", path);
    return settled ? remember_locked(store, &before, out, err) : KG_OK;
}
