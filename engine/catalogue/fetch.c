#include "engine/catalogue/fetch.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <libgen.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <time.h>
#include <unistd.h>

#include "engine/catalogue/checked.h"

int kg_fetch_report(struct kg_fetch *fetch, uint64_t done, bool checking)
{
    struct kg_fetch_progress now = {
        .source = fetch->label,
        .part = fetch->part ? fetch->part : 1,
        .parts = fetch->source ? fetch->source->parts : 1,
        .done = done,
        .total = fetch->entry->bytes,
        .checking = checking,
    };
    return fetch->progress ? fetch->progress(fetch->ctx, &now) : 0;
}

static int report_checking(void *ctx, uint64_t done)
{
    return kg_fetch_report(ctx, done, true);
}

/* What another process has fetched so far, for those who wait for it. */
static uint64_t length_of_partial(const struct kg_fetch *fetch)
{
    char path[KG_PATH_MAX + 16];
    struct stat st;
    snprintf(path, sizeof path, "%s.partial", fetch->path);
    return stat(path, &st) == 0 ? (uint64_t)st.st_size : 0;
}

static enum kg_status wait_for_lock(struct kg_fetch *fetch, int fd, const char *lock_path, struct kg_error *err)
{
    while (flock(fd, LOCK_EX | LOCK_NB) != 0) {
        if (errno != EWOULDBLOCK && errno != EINTR)
            return kg_fail(err, KG_ERR_IO, "cannot lock %s: %s", lock_path, strerror(errno));
        snprintf(fetch->label, sizeof fetch->label, "another kedge");
        if (kg_fetch_report(fetch, length_of_partial(fetch), false) != 0)
            return kg_fail(err, KG_ERR_CANCELLED, "stopped while another kedge fetches %s", fetch->entry->name);
        nanosleep(&(struct timespec){ .tv_nsec = 200000000 }, NULL);
    }
    return KG_OK;
}

/* One process at a time fetches a model. The lock's file is removed by its holder, so whoever gets it must look whether it
 * is still the one that others would open. */
static enum kg_status lock(struct kg_fetch *fetch, const char *lock_path, int *out, struct kg_error *err)
{
    for (;;) {
        struct stat held, named;
        int fd = open(lock_path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0644);
        if (fd < 0)
            return kg_fail(err, errno == ENOSPC || errno == EDQUOT ? KG_ERR_FULL : KG_ERR_IO,
                           "cannot write %s: %s; mend that, or let KEDGE_MODELS name another place", lock_path, strerror(errno));
        enum kg_status status = wait_for_lock(fetch, fd, lock_path, err);
        if (status == KG_OK && fstat(fd, &held) == 0 && stat(lock_path, &named) == 0 && held.st_ino == named.st_ino &&
            held.st_dev == named.st_dev) {
            *out = fd;
            return KG_OK;
        }
        close(fd);
        if (status != KG_OK)
            return status;
    }
}

static enum kg_status check_room(const struct kg_fetch *fetch, struct kg_error *err)
{
    char directory[KG_PATH_MAX];
    struct statvfs disk;
    snprintf(directory, sizeof directory, "%s", fetch->path);
    if (statvfs(dirname(directory), &disk) != 0)
        return KG_OK;
    uint64_t room = (uint64_t)disk.f_bavail * disk.f_frsize;
    uint64_t missing = fetch->entry->bytes - kg_partial_length(fetch->partial);
    if (room >= missing)
        return KG_OK;
    return kg_fail(err, KG_ERR_FULL, "%s needs %" PRIu64 " MB more and %s has %" PRIu64 " MB free; free some, or let KEDGE_MODELS name another place",
                   fetch->entry->name, missing / 1000000 + 1, directory, room / 1000000);
}

/* Errors that the next source would meet as well. */
static bool is_ours(enum kg_status status)
{
    return status == KG_ERR_CANCELLED || status == KG_ERR_FULL || status == KG_ERR_IO || status == KG_ERR_NOMEM;
}

static enum kg_status try_source(struct kg_fetch *fetch, struct kg_error *err)
{
    /* Bytes of an earlier attempt may be what is wrong: then the same source has a second chance from the start. */
    for (int attempt = 0;; attempt++) {
        bool resumed = kg_partial_length(fetch->partial) > 0;
        kg_source_label(fetch->source, 0, fetch->label, sizeof fetch->label);
        fetch->part = 1;
        enum kg_status status = fetch->source->kind == KG_SOURCE_HTTPS ? kg_fetch_https(fetch, err) : kg_fetch_pip(fetch, err);
        if (status == KG_OK)
            status = kg_partial_finish(fetch->partial, report_checking, fetch, err);
        else
            return status;
        if (status != KG_ERR_CORRUPT)
            return status;
        struct kg_error cause;
        kg_partial_close(fetch->partial);
        fetch->partial = NULL;
        if (kg_partial_open(fetch->path, &fetch->entry->model, &fetch->partial, &cause) != KG_OK)
            return kg_fail(err, cause.status, "%s", cause.text);
        if (!resumed || attempt > 0)
            return status;
    }
}

/* Source after source; the message tells of each why it did not serve. */
static enum kg_status try_sources(struct kg_fetch *fetch, struct kg_error *err)
{
    const struct kg_entry *entry = fetch->entry;
    char told[KG_ERROR_TEXT] = "";
    size_t used = 0;
    enum kg_status status = KG_ERR_NOT_FOUND;
    for (size_t i = 0; i < entry->source_count; i++) {
        struct kg_error cause;
        fetch->source = &entry->sources[i];
        status = try_source(fetch, &cause);
        if (status == KG_OK)
            return KG_OK;
        if (is_ours(status))
            return kg_fail(err, status, "%s", cause.text);
        if (used < sizeof told)
            used += (size_t)snprintf(told + used, sizeof told - used, "%s%s: %.180s", used ? "; " : "", fetch->label, cause.text);
    }
    if (entry->source_count == 0)
        return kg_fail(err, status, "models.conf gives no source for %s; put the file at %s", entry->name, fetch->path);
    return kg_fail(err, status, "cannot fetch %s (%s)", entry->name, told);
}

static enum kg_status fetch_locked(struct kg_fetch *fetch, struct kg_error *err)
{
    kg_fetch_sweep(fetch->path);
    enum kg_status status = kg_checked_file(fetch->path, &fetch->entry->model, report_checking, fetch, err);
    if (status == KG_OK)
        kg_partial_discard(fetch->path);
    if (status == KG_OK || status == KG_ERR_CANCELLED)
        return status;
    status = kg_partial_open(fetch->path, &fetch->entry->model, &fetch->partial, err);
    if (status == KG_OK)
        status = check_room(fetch, err);
    if (status == KG_OK)
        status = try_sources(fetch, err);
    kg_partial_close(fetch->partial);
    kg_fetch_sweep(fetch->path); /* again: what a killed run had started may have been writing until now */
    return status;
}

enum kg_status kg_catalogue_fetch(const struct kg_catalogue *catalogue, const char *name,
                                  int (*progress)(void *ctx, const struct kg_fetch_progress *), void *ctx, struct kg_error *err)
{
    struct kg_fetch fetch = { .entry = kg_entry_find(catalogue, name), .progress = progress, .ctx = ctx, .plain_loopback = catalogue->plain_loopback };
    char directory[KG_PATH_MAX], lock_path[KG_PATH_MAX + 16];
    int fd = -1;
    if (!fetch.entry)
        return kg_fail(err, KG_ERR_NOT_FOUND, "no model is called '%s'; 'kedge model ls' lists those that are known", name);
    enum kg_status status = kg_place_path(KG_PLACE_MODELS, fetch.entry->model.file, fetch.path, err);
    if (status == KG_OK)
        status = kg_place_path(KG_PLACE_MODELS, NULL, directory, err);
    if (status != KG_OK)
        return status;
    status = kg_checked_file(fetch.path, &fetch.entry->model, report_checking, &fetch, err);
    snprintf(lock_path, sizeof lock_path, "%s.lock", fetch.path);
    bool clean = !kg_partial_exists(fetch.path) && access(lock_path, F_OK) != 0;
    if (status == KG_ERR_CANCELLED || (status == KG_OK && clean))
        return status;
    status = kg_make_dirs(directory, err);
    if (status == KG_OK)
        status = lock(&fetch, lock_path, &fd, err);
    if (status != KG_OK)
        return status;
    status = fetch_locked(&fetch, err);
    unlink(lock_path);
    close(fd);
    return status;
}
