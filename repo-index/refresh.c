#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <time.h>

#include "repo-index/arena.h"
#include "repo-index/commits.h"
#include "repo-index/graph.h"
#include "repo-index/index.h"
#include "repo-index/reader.h"
#include "repo-index/watching.h"

#define COMMIT_SECONDS 1.0 /* readers see what was read so far; other writers wait no longer than this */

#define STUCK_SECONDS 20.0
#define COLLECT_EVERY 200 /* texts read of what was announced */

struct refresh {
    struct kg_index *index;
    const struct kg_dirty *only; /* NULL: everything */
    int (*progress)(void *ctx, uint32_t done, uint32_t found);
    void *ctx;
    struct kg_walk walk;
    const struct kg_walk_file **changed;
    bool *was_text; /* of changed */
    size_t changed_count, changed_capacity, was_capacity;
    size_t at; /* walk file that the rows have come to */
    struct kg_arena paths;
    const char **gone; /* rows without a file */
    size_t gone_count, gone_capacity;
    struct kg_index_counts counts;
    double since; /* of the transaction */
    uint32_t done;
    enum kg_status status;
    struct kg_error *err;
};

static double seconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

static void count_kind(struct kg_index_counts *counts, enum kg_file_kind kind, uint64_t bytes)
{
    switch (kind) {
    case KG_KIND_TEXT:
        counts->files++;
        counts->bytes += bytes;
        break;
    case KG_KIND_BINARY:
        counts->binary++;
        break;
    case KG_KIND_GENERATED:
        counts->generated++;
        break;
    case KG_KIND_SECRET:
        counts->secret++;
        break;
    }
}

static bool add_changed(struct refresh *r, const struct kg_walk_file *file, bool was_text)
{
    if (!kg_grow(&r->changed, r->changed_count, &r->changed_capacity, sizeof *r->changed) ||
        !kg_grow(&r->was_text, r->changed_count, &r->was_capacity, sizeof *r->was_text)) {
        r->status = kg_fail_nomem(r->err, "comparing the index with the repository");
        return false;
    }
    r->changed[r->changed_count] = file;
    r->was_text[r->changed_count++] = was_text;
    return true;
}

static bool add_gone(struct refresh *r, const struct kg_store_file *row)
{
    char *path = kg_arena_copy(&r->paths, row->path, strlen(row->path));
    if (!path || !kg_grow(&r->gone, r->gone_count, &r->gone_capacity, sizeof *r->gone)) {
        r->status = kg_fail_nomem(r->err, "comparing the index with the repository");
        return false;
    }
    r->gone[r->gone_count++] = path;
    r->counts.removed += row->kind == KG_KIND_TEXT;
    return true;
}

static bool same_stat(const struct kg_file_stat *a, const struct kg_file_stat *b)
{
    return a->dev == b->dev && a->ino == b->ino && a->size == b->size && a->mtime == b->mtime && a->ctime == b->ctime;
}

/* Rows and files both come in the order of their paths. */
static int compare_row(void *ctx, const struct kg_store_file *row)
{
    struct refresh *r = ctx;
    int order = 1;
    while (r->at < r->walk.count && (order = strcmp(r->walk.files[r->at].path, row->path)) < 0)
        if (!add_changed(r, &r->walk.files[r->at++], false))
            return 1;
    if ((r->at == r->walk.count || order != 0) && r->only && !kg_dirty_file(r->only, row->path)) {
        count_kind(&r->counts, row->kind, row->stat.size);
        return 0;
    }
    if (r->at == r->walk.count || order != 0)
        return !add_gone(r, row);
    const struct kg_walk_file *file = &r->walk.files[r->at++];
    if (!same_stat(&file->stat, &row->stat))
        return !add_changed(r, file, row->kind == KG_KIND_TEXT);
    count_kind(&r->counts, row->kind, row->stat.size);
    r->done++;
    return 0;
}

static enum kg_status compare(struct refresh *r)
{
    enum kg_status status = kg_store_files(r->index->store, compare_row, r, r->err);
    while (status == KG_OK && r->status == KG_OK && r->at < r->walk.count)
        add_changed(r, &r->walk.files[r->at++], false);
    return status == KG_OK ? r->status : status;
}

static enum kg_status commit_when_due(struct refresh *r)
{
    if (seconds() - r->since < COMMIT_SECONDS)
        return KG_OK;
    enum kg_status status = kg_store_commit(r->index->store, r->err);
    r->since = seconds();
    return status == KG_OK ? kg_store_begin(r->index->store, r->err) : status;
}

static enum kg_status store_text(struct refresh *r, const struct kg_read_text *text, const char *path)
{
    struct kg_store_file row = { .path = path, .kind = text->kind, .stat = text->stat };
    enum kg_status status = KG_OK;
    if (text->kind == KG_KIND_TEXT)
        status = kg_store_put_doc(r->index->store, &text->content, &row.doc, r->err);
    if (status == KG_OK)
        status = kg_store_put_file(r->index->store, &row, r->err);
    count_kind(&r->counts, text->kind, text->stat.size);
    r->counts.fresh += text->kind == KG_KIND_TEXT;
    return status;
}

static int take_text(void *ctx, const struct kg_read_text *text)
{
    struct refresh *r = ctx;
    const char *path = r->changed[text->at]->path;
    r->counts.removed += r->was_text[text->at] && (text->outcome != KG_READ_DONE || text->kind != KG_KIND_TEXT);
    if (text->outcome == KG_READ_NO_MEMORY)
        r->status = kg_fail_nomem(r->err, "reading the repository");
    else if (text->outcome == KG_READ_DONE)
        r->status = store_text(r, text, path);
    else {
        r->counts.unreadable += text->outcome == KG_READ_UNREADABLE;
        r->status = kg_store_remove_file(r->index->store, path, r->err);
    }
    r->done++;
    if (r->status == KG_OK && r->progress && r->progress(r->ctx, r->done, (uint32_t)r->walk.count))
        r->status = kg_fail(r->err, KG_ERR_CANCELLED, "stopped while reading the repository; what was read is kept");
    if (r->status == KG_OK)
        r->status = commit_when_due(r);
    return r->status != KG_OK;
}

/* Counting all texts takes longer than reading a few. */
static enum kg_status collect(struct refresh *r)
{
    r->index->put += r->counts.fresh;
    if (r->only && r->index->put < COLLECT_EVERY)
        return KG_OK;
    r->index->put = 0;
    return kg_store_collect(r->index->store, r->err);
}

static enum kg_status write_changes(struct refresh *r)
{
    enum kg_status status = kg_store_begin(r->index->store, r->err);
    r->since = seconds();
    for (size_t i = 0; i < r->gone_count && status == KG_OK; i++)
        status = kg_store_remove_file(r->index->store, r->gone[i], r->err);
    if (status == KG_OK && kg_read_texts(r->index->root_fd, r->changed, r->changed_count, take_text, r) < 0)
        r->status = kg_fail_nomem(r->err, "reading the repository");
    status = status == KG_OK ? r->status : status;
    if (status != KG_OK && status != KG_ERR_CANCELLED) {
        kg_store_rollback(r->index->store);
        return status;
    }
    enum kg_status kept = status == KG_OK ? collect(r) : KG_OK;
    if (kept == KG_OK)
        kept = kg_store_commit(r->index->store, r->err);
    else
        kg_store_rollback(r->index->store);
    return kept == KG_OK ? status : kept;
}

static enum kg_status refresh_once(struct refresh *r)
{
    const struct kg_walk_request request = { .root = r->index->root, .root_fd = r->index->root_fd, .only = r->only, .watch = r->index->watch,
                                             .progress = r->progress, .ctx = r->ctx };
    if (r->index->watch && !r->only)
        kg_watch_begin(r->index->watch);
    enum kg_status status = kg_walk_run(&request, &r->walk, r->err);
    if (status != KG_OK)
        return status;
    if (r->index->watch && !r->only)
        kg_watch_end(r->index->watch);
    r->counts = r->walk.counts;
    status = compare(r);
    if (status == KG_OK && (r->changed_count || r->gone_count))
        status = write_changes(r);
    if (status != KG_OK || (r->only && !r->only->head))
        return status;
    return kg_commits_update(r->index, r->progress, r->ctx, r->err);
}

/* One refresh at a time: who comes second finds the work done. Waits as long as the other one gets on. */
static enum kg_status take_turn(struct kg_index *index, int (*progress)(void *ctx, uint32_t done, uint32_t found), void *ctx, struct kg_error *err)
{
    double since = seconds();
    uint64_t version = 0, now = 0;
    while (flock(index->turn_fd, LOCK_EX | LOCK_NB) != 0) {
        if (errno != EWOULDBLOCK && errno != EINTR)
            return kg_fail(err, KG_ERR_IO, "cannot lock the index of %s: %s", index->root, strerror(errno));
        if (progress && progress(ctx, 0, 0))
            return kg_fail(err, KG_ERR_CANCELLED, "stopped while another process reads the repository");
        if (kg_store_version(index->store, &now, NULL) == KG_OK && now != version) {
            version = now;
            since = seconds();
        }
        if (seconds() - since > STUCK_SECONDS)
            return kg_fail(err, KG_ERR_BUSY, "another process holds the index of %s and does not get on; end it, or try again", index->root);
        struct timespec pause = { .tv_nsec = 5000000 };
        nanosleep(&pause, NULL);
    }
    return KG_OK;
}

static void free_refresh(struct refresh *r)
{
    kg_walk_free(&r->walk);
    kg_arena_free(&r->paths);
    free(r->changed);
    free(r->was_text);
    free(r->gone);
}

/* only NULL: everything. */
static enum kg_status refresh(struct kg_index *index, const struct kg_dirty *only, int (*progress)(void *ctx, uint32_t done, uint32_t found), void *ctx,
                              struct kg_index_counts *out, struct kg_error *err)
{
    enum kg_status status = take_turn(index, progress, ctx, err);
    if (out)
        *out = (struct kg_index_counts){ 0 };
    if (status != KG_OK)
        return status;
    for (int tries = 0; tries < 2; tries++) {
        struct refresh r = { .index = index, .only = tries ? NULL : only, .progress = progress, .ctx = ctx, .err = err };
        status = refresh_once(&r);
        if (out)
            *out = r.counts;
        free_refresh(&r);
        if (status != KG_ERR_CORRUPT)
            break;
        if (tries == 0 && (status = kg_store_reset(index->store, err)) != KG_OK)
            break;
    }
    flock(index->turn_fd, LOCK_UN);
    kg_graph_forget_damaged(index);
    return status;
}

enum kg_status kg_index_refresh(struct kg_index *index, int (*progress)(void *ctx, uint32_t done, uint32_t found), void *ctx,
                                struct kg_index_counts *out, struct kg_error *err)
{
    if (!index->watch)
        return refresh(index, NULL, progress, ctx, out, err);
    double begin = seconds();
    kg_watch_drain(index->watch, &index->dirty);
    kg_dirty_free(&index->dirty);
    enum kg_status status = refresh(index, NULL, progress, ctx, out, err);
    kg_index_watch_rest(index, seconds() - begin, true, status == KG_OK);
    return status;
}

enum kg_status kg_index_catch_up(struct kg_index *index, int (*progress)(void *ctx, uint32_t done, uint32_t found), void *ctx, struct kg_index_counts *out,
                                 struct kg_error *err)
{
    if (!index->watch || kg_index_watch_all_due(index))
        return kg_index_refresh(index, progress, ctx, out, err);
    double begin = seconds();
    struct kg_dirty dirty = index->dirty;
    bool all = dirty.everything; /* later */
    index->dirty = (struct kg_dirty){ .everything = all, .first = all ? dirty.first : 0, .last = all ? dirty.last : 0 };
    enum kg_status status = refresh(index, &dirty, progress, ctx, out, err);
    kg_dirty_free(&dirty);
    kg_index_watch_rest(index, seconds() - begin, false, status == KG_OK);
    return status;
}
