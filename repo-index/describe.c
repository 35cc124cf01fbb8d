#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "repo-index/arena.h"
#include "repo-index/index.h"
#include "repo-index/read.h"

#define COMMIT_SECONDS 1.0
#define PENDING_BYTES ((size_t)4 << 20) /* of records that wait to be written */

/* One text of a file, and later what it defines. */
struct unread {
    const char *path;
    int64_t doc;
    unsigned char digest[KG_STORE_DIGEST];
};

struct pending {
    int64_t doc;
    enum kg_symbols_source source;
    char *records; /* NULL = none */
    size_t length;
};

struct describing {
    struct kg_index *index;
    struct kg_arena paths;
    struct unread *unread;
    size_t count, capacity;
    struct pending *pending;
    size_t pending_count, pending_capacity, pending_bytes;
    struct kg_symbols symbols;
    bool failed;
    double since; /* of the last writing */
    struct kg_error *err;
};

static double seconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

static int take_unread(void *ctx, const struct kg_store_unread *row)
{
    struct describing *d = ctx;
    struct unread unread = { .path = kg_arena_copy(&d->paths, row->path, strlen(row->path)), .doc = row->doc };
    memcpy(unread.digest, row->digest, sizeof unread.digest);
    d->failed = !unread.path || !kg_grow(&d->unread, d->count, &d->capacity, sizeof *d->unread);
    if (!d->failed)
        d->unread[d->count++] = unread;
    return d->failed;
}

/* The transaction is short: ctags is not waited for in it. */
static enum kg_status write_pending(struct describing *d)
{
    struct kg_store *store = d->index->store;
    enum kg_status status = d->pending_count ? kg_store_begin(store, d->err) : KG_OK;
    for (size_t i = 0; i < d->pending_count; i++) {
        const struct pending *p = &d->pending[i];
        if (status == KG_OK)
            status = kg_store_put_symbols(store, p->doc, p->source, p->records, p->length, d->err);
        free(p->records);
    }
    if (d->pending_count && status == KG_OK)
        status = kg_store_commit(store, d->err);
    else if (d->pending_count)
        kg_store_rollback(store);
    d->pending_count = d->pending_bytes = 0;
    d->since = seconds();
    return status;
}

static bool keep(struct describing *d, int64_t doc, enum kg_symbols_source source)
{
    struct pending pending = { .doc = doc, .source = source, .length = d->symbols.length };
    if (!kg_grow(&d->pending, d->pending_count, &d->pending_capacity, sizeof *d->pending))
        return false;
    if (pending.length) {
        pending.records = malloc(pending.length);
        if (!pending.records)
            return false;
        memcpy(pending.records, d->symbols.bytes, pending.length);
    }
    d->pending[d->pending_count++] = pending;
    d->pending_bytes += pending.length;
    return true;
}

/* A file that has changed since it was indexed is left to the next refresh. */
static enum kg_status describe(struct describing *d, const struct unread *unread)
{
    char *text = NULL;
    size_t length = 0;
    enum kg_symbols_source source;
    if (kg_read_beneath(d->index->root_fd, unread->path, KG_INDEX_FILE_MAX, &text, &length, NULL, NULL) != KG_OK)
        return KG_OK;
    struct kg_digest digest = kg_digest_of(text, length);
    bool kept = true;
    if (memcmp(digest.bytes, unread->digest, KG_STORE_DIGEST) == 0)
        kept = kg_symbols_of(&d->symbols, d->index->ctags, unread->path, text, length, &source) && keep(d, unread->doc, source);
    free(text);
    return kept ? KG_OK : kg_fail_nomem(d->err, "reading what the repository defines");
}

static enum kg_status describe_all(struct describing *d, int (*progress)(void *ctx, uint32_t done, uint32_t found), void *ctx)
{
    enum kg_status status = KG_OK;
    d->since = seconds();
    for (size_t i = 0; i < d->count && status == KG_OK; i++) {
        if (progress && progress(ctx, (uint32_t)i, (uint32_t)d->count)) {
            status = write_pending(d);
            return status == KG_OK ? kg_fail(d->err, KG_ERR_CANCELLED, "stopped while reading what the repository defines; what was read is kept") : status;
        }
        status = describe(d, &d->unread[i]);
        if (status == KG_OK && (d->pending_bytes > PENDING_BYTES || seconds() - d->since > COMMIT_SECONDS))
            status = write_pending(d);
    }
    enum kg_status written = write_pending(d);
    return status == KG_OK ? written : status;
}

enum kg_status kg_index_read_symbols(struct kg_index *index, int (*progress)(void *ctx, uint32_t done, uint32_t found), void *ctx, struct kg_error *err)
{
    struct describing d = { .index = index, .err = err };
    if (!index->ctags && !(index->ctags = kg_ctags_new()))
        return kg_fail_nomem(err, "reading what the repository defines");
    enum kg_status status = kg_store_unread(index->store, kg_ctags_present(index->ctags) ? KG_SYMBOLS_BY_CTAGS : KG_SYMBOLS_BY_SHAPE, take_unread, &d, err);
    if (status == KG_OK)
        status = d.failed ? kg_fail_nomem(err, "reading what the repository defines") : describe_all(&d, progress, ctx);
    kg_symbols_free(&d.symbols);
    kg_arena_free(&d.paths);
    free(d.unread);
    free(d.pending);
    return status == KG_ERR_CORRUPT ? kg_index_mend(index, err) : status;
}
