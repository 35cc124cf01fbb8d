/* Conversations as they are kept in sessions.db, without a model. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "engine/state.h"

enum kg_status kg_stored_lock(const char *state_dir, int64_t id, const char *name, char path[KG_PATH_MAX], int *lock, struct kg_error *err)
{
    int n = snprintf(path, KG_PATH_MAX, "%s/session-%lld.lock", state_dir, (long long)id);
    if (n < 0 || n >= KG_PATH_MAX)
        return kg_fail(err, KG_ERR_RANGE, "the state directory's path is too long; set XDG_STATE_HOME to a shorter one");
    *lock = open(path, O_CREAT | O_RDWR | O_CLOEXEC, 0600);
    if (*lock < 0)
        return kg_fail(err, KG_ERR_IO, "cannot lock session '%s': %s: %s", name, path, strerror(errno));
    if (flock(*lock, LOCK_EX | LOCK_NB) != 0)
        return kg_fail(err, KG_ERR_BUSY, "session '%s' is open in another kedge; close that one or choose another name", name);
    return KG_OK;
}

static enum kg_status open_store(const char *state_dir, char path[KG_PATH_MAX], struct kg_session_store **out, struct kg_error *err)
{
    enum kg_status status = KG_OK;
    *out = NULL;
    if (state_dir)
        snprintf(path, KG_PATH_MAX, "%s", state_dir);
    else
        status = kg_place_path(KG_PLACE_STATE, NULL, path, err);
    return status == KG_OK ? kg_session_store_open(path, out, err) : status;
}

/* Opens the store and finds a session in it; the caller closes *store, also after a failure. */
static enum kg_status find(const char *state_dir, const char *repository, const char *name, char path[KG_PATH_MAX], struct kg_session_store **store,
                           struct kg_stored_session *out, struct kg_error *err)
{
    enum kg_status status = open_store(state_dir, path, store, err);
    return status == KG_OK ? kg_session_store_find(*store, repository, name, out, err) : status;
}

static struct kg_session_summary summary_of(const struct kg_stored_session *stored)
{
    return (struct kg_session_summary){ .name = stored->name, .repository = stored->repository, .model = stored->model, .title = stored->title,
                                        .used = stored->used, .parts = stored->parts, .questions = stored->turns };
}

struct listing {
    int (*each)(void *ctx, const struct kg_session_summary *);
    int (*hit)(void *ctx, const struct kg_session_hit *);
    int (*part)(void *ctx, const struct kg_part *);
    char *file; /* path of the part before, where that was a file's */
    void *ctx;
};

static int list_one(void *ctx, const struct kg_stored_session *stored)
{
    struct listing *listing = ctx;
    struct kg_session_summary summary = summary_of(stored);
    return listing->each(listing->ctx, &summary);
}

enum kg_status kg_sessions_list(const char *state_dir, const char *repository, int (*each)(void *ctx, const struct kg_session_summary *), void *ctx,
                                struct kg_error *err)
{
    char path[KG_PATH_MAX];
    struct kg_session_store *store;
    struct listing listing = { .each = each, .ctx = ctx };
    enum kg_status status = open_store(state_dir, path, &store, err);
    if (status == KG_OK)
        status = kg_session_store_list(store, repository, list_one, &listing, err);
    kg_session_store_close(store);
    return status;
}

enum kg_part_kind kg_part_kind_of(int block_kind)
{
    return block_kind == KG_BLOCK_FILE     ? KG_PART_FILE
           : block_kind == KG_BLOCK_TURN   ? KG_PART_TURN
           : block_kind == KG_BLOCK_ANSWER ? KG_PART_ANSWER
                                           : KG_PART_SUMMARY;
}

static int list_hit(void *ctx, const struct kg_stored_hit *stored)
{
    struct listing *listing = ctx;
    struct kg_session_hit hit = { .session = summary_of(stored->session), .name = stored->part == 0, .kind = kg_part_kind_of(stored->kind),
                                  .text = stored->text, .length = stored->length };
    return listing->hit(listing->ctx, &hit);
}

enum kg_status kg_sessions_search(const char *state_dir, const char *repository, const char *words, int (*each)(void *ctx, const struct kg_session_hit *),
                                  void *ctx, struct kg_error *err)
{
    char path[KG_PATH_MAX];
    struct kg_session_store *store;
    struct listing listing = { .hit = each, .ctx = ctx };
    enum kg_status status = open_store(state_dir, path, &store, err);
    if (status == KG_OK)
        status = kg_session_store_search(store, repository, words, list_hit, &listing, err);
    kg_session_store_close(store);
    return status;
}

/* Parts of a file that was cut are one. */
static int list_part(void *ctx, const struct kg_stored_part *stored)
{
    struct listing *listing = ctx;
    bool file = stored->kind == KG_BLOCK_FILE, goes_on = file && listing->file && strcmp(listing->file, stored->label) == 0;
    free(listing->file);
    listing->file = file ? strdup(stored->label) : NULL;
    if (goes_on || (!file && stored->kind != KG_BLOCK_TURN && stored->kind != KG_BLOCK_ANSWER && stored->kind != KG_BLOCK_SUMMARY))
        return 0;
    struct kg_part part = { .kind = kg_part_kind_of(stored->kind), .label = stored->label, .text = file ? NULL : stored->text, .length = stored->text_length,
                            .tokens = (uint32_t)stored->id_count, .dropped = stored->dropped != 0, .summarised = stored->dropped > 1,
                            .partial = stored->partial, .said = stored->said };
    return listing->part(listing->ctx, &part);
}

enum kg_status kg_sessions_show(const char *state_dir, const char *repository, const char *name, int (*each)(void *ctx, const struct kg_part *), void *ctx,
                                struct kg_error *err)
{
    char path[KG_PATH_MAX];
    struct kg_session_store *store;
    struct kg_stored_session stored;
    struct listing listing = { .part = each, .ctx = ctx };
    enum kg_status status = find(state_dir, repository, name, path, &store, &stored, err);
    if (status == KG_OK)
        status = kg_session_store_parts(store, stored.id, list_part, &listing, err);
    free(listing.file);
    kg_session_store_close(store);
    return status;
}

enum kg_status kg_sessions_rename(const char *state_dir, const char *repository, const char *name, const char *new_name, struct kg_error *err)
{
    char path[KG_PATH_MAX];
    struct kg_session_store *store;
    struct kg_stored_session stored;
    enum kg_status status = find(state_dir, repository, name, path, &store, &stored, err);
    if (status == KG_OK)
        status = kg_session_store_rename(store, stored.id, new_name, err);
    kg_session_store_close(store);
    return status;
}

enum kg_status kg_sessions_copy(const char *state_dir, const char *repository, const char *name, const char *new_name, char made[KG_SESSION_NAME],
                                struct kg_error *err)
{
    char path[KG_PATH_MAX];
    struct kg_session_store *store;
    struct kg_stored_session stored, copy;
    enum kg_status status = find(state_dir, repository, name, path, &store, &stored, err);
    if (status == KG_OK)
        status = kg_session_store_copy(store, stored.id, 0, new_name ? new_name : name, &copy, NULL, NULL, err);
    if (status == KG_OK)
        snprintf(made, KG_SESSION_NAME, "%s", copy.name);
    kg_session_store_close(store);
    return status;
}

enum kg_status kg_sessions_remove(const char *state_dir, const char *repository, const char *name, struct kg_error *err)
{
    char path[KG_PATH_MAX], lock_path[KG_PATH_MAX];
    struct kg_session_store *store;
    struct kg_stored_session stored;
    int lock = -1;
    enum kg_status status = find(state_dir, repository, name, path, &store, &stored, err);
    if (status == KG_OK)
        status = kg_stored_lock(path, stored.id, stored.name, lock_path, &lock, err);
    if (status == KG_OK)
        status = kg_session_store_delete(store, stored.id, err);
    if (status == KG_OK)
        unlink(lock_path);
    if (lock >= 0)
        close(lock);
    kg_session_store_close(store);
    return status;
}
