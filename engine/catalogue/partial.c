#include "engine/catalogue/partial.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <libgen.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "engine/catalogue/checked.h"

#define JOURNAL_MAX ((size_t)64 << 10)
#define PARTS_MAX 1000U
#define HEADING "kedge-parts 1 "

struct kg_partial {
    const struct kg_catalogue_model *model;
    char path[KG_PATH_MAX], bytes_path[KG_PATH_MAX + 16], journal_path[KG_PATH_MAX + 16];
    int fd;
    uint64_t length;
    char *source; /* of the parts below, NULL when there are none */
    uint64_t ends[PARTS_MAX];
    unsigned parts;
};

static void names_of(const char *path, char bytes_path[KG_PATH_MAX + 16], char journal_path[KG_PATH_MAX + 16])
{
    snprintf(bytes_path, KG_PATH_MAX + 16, "%s.partial", path);
    snprintf(journal_path, KG_PATH_MAX + 16, "%s.parts", path);
}

static enum kg_status fail_write(const struct kg_partial *partial, int cause, struct kg_error *err)
{
    if (cause == ENOSPC || cause == EDQUOT || cause == EFBIG)
        return kg_fail(err, KG_ERR_FULL, "no room for %s: %s; free %" PRIu64 " MB there, or let KEDGE_MODELS name another place",
                       partial->bytes_path, strerror(cause), (partial->model->bytes - partial->length) / 1000000 + 1);
    return kg_fail(err, KG_ERR_IO, "cannot write %s: %s; mend that, or let KEDGE_MODELS name another place", partial->bytes_path, strerror(cause));
}

static void forget_parts(struct kg_partial *partial)
{
    free(partial->source);
    partial->source = NULL;
    partial->parts = 0;
}

static enum kg_status write_journal(const struct kg_partial *partial, struct kg_error *err)
{
    char *text = NULL;
    size_t length = 0;
    FILE *out = open_memstream(&text, &length);
    if (!out)
        return kg_fail_nomem(err, "noting a part");
    fprintf(out, HEADING "%s\n", partial->model->sha256);
    if (partial->source)
        fprintf(out, "source %s\n", partial->source);
    for (unsigned i = 0; i < partial->parts; i++)
        fprintf(out, "%" PRIu64 "\n", partial->ends[i]);
    enum kg_status status = fclose(out) == 0 ? kg_write_file(partial->journal_path, text, length, 0644, err) : kg_fail_nomem(err, "noting a part");
    free(text);
    return status;
}

/* The parts that the journal lists, as far as they make sense; false when it is not this model's. */
static bool read_journal(struct kg_partial *partial)
{
    char *text = NULL;
    size_t length;
    if (kg_read_file(partial->journal_path, JOURNAL_MAX, &text, &length, NULL) != KG_OK)
        return false;
    char *rest = text;
    const char *line = strsep(&rest, "\n");
    bool own = strncmp(line, HEADING, strlen(HEADING)) == 0 && strcmp(line + strlen(HEADING), partial->model->sha256) == 0;
    line = own ? strsep(&rest, "\n") : NULL;
    if (line && strncmp(line, "source ", 7) == 0)
        partial->source = strdup(line + 7);
    uint64_t before = 0;
    while (partial->source && partial->parts < PARTS_MAX && (line = strsep(&rest, "\n")) && *line) {
        uint64_t end = strtoull(line, NULL, 10);
        if (end <= before || end > partial->length)
            break;
        before = partial->ends[partial->parts++] = end;
    }
    free(text);
    return own;
}

static enum kg_status open_files(struct kg_partial *partial, struct kg_error *err)
{
    struct stat st;
    partial->fd = open(partial->bytes_path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0644);
    if (partial->fd < 0 || fstat(partial->fd, &st) != 0)
        return fail_write(partial, errno, err);
    if (!S_ISREG(st.st_mode))
        return fail_write(partial, EISDIR, err);
    partial->length = (uint64_t)st.st_size;
    if (partial->length <= partial->model->bytes && read_journal(partial))
        return KG_OK;
    return kg_partial_reset(partial, err);
}

enum kg_status kg_partial_open(const char *path, const struct kg_catalogue_model *model, struct kg_partial **out, struct kg_error *err)
{
    *out = NULL;
    struct kg_partial *partial = calloc(1, sizeof *partial);
    if (!partial)
        return kg_fail_nomem(err, "preparing a download");
    partial->model = model;
    partial->fd = -1;
    int n = snprintf(partial->path, sizeof partial->path, "%s", path);
    names_of(path, partial->bytes_path, partial->journal_path);
    enum kg_status status = n + 9 < KG_PATH_MAX ? open_files(partial, err) : kg_fail(err, KG_ERR_RANGE, "the path %s is too long", path);
    if (status == KG_OK)
        *out = partial;
    else
        kg_partial_close(partial);
    return status;
}

void kg_partial_close(struct kg_partial *partial)
{
    if (!partial)
        return;
    if (partial->fd >= 0)
        close(partial->fd);
    forget_parts(partial);
    free(partial);
}

uint64_t kg_partial_length(const struct kg_partial *partial)
{
    return partial->length;
}

enum kg_status kg_partial_write(struct kg_partial *partial, uint64_t offset, const void *bytes, size_t length, struct kg_error *err)
{
    if (offset > partial->model->bytes || length > partial->model->bytes - offset)
        return kg_fail(err, KG_ERR_CORRUPT, "more than the %" PRIu64 " bytes of %s came", partial->model->bytes, partial->model->file);
    for (size_t done = 0; done < length;) {
        ssize_t n = pwrite(partial->fd, (const char *)bytes + done, length - done, (off_t)(offset + done));
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return fail_write(partial, errno, err);
        done += (size_t)n;
        if (offset + done > partial->length)
            partial->length = offset + done;
    }
    return KG_OK;
}

unsigned kg_partial_parts(struct kg_partial *partial, const char *source, uint64_t *end)
{
    if (!partial->source || strcmp(partial->source, source) != 0) {
        forget_parts(partial);
        partial->source = strdup(source);
    }
    *end = partial->parts ? partial->ends[partial->parts - 1] : 0;
    return partial->parts;
}

enum kg_status kg_partial_part_done(struct kg_partial *partial, uint64_t end, struct kg_error *err)
{
    if (!partial->source)
        return kg_fail_nomem(err, "noting a part");
    if (partial->parts == PARTS_MAX)
        return kg_fail(err, KG_ERR_RANGE, "%s comes in more than %u parts", partial->model->name, PARTS_MAX);
    if (fdatasync(partial->fd) != 0)
        return fail_write(partial, errno, err);
    partial->ends[partial->parts++] = end;
    return write_journal(partial, err);
}

enum kg_status kg_partial_reset(struct kg_partial *partial, struct kg_error *err)
{
    forget_parts(partial);
    partial->length = 0;
    if (ftruncate(partial->fd, 0) != 0)
        return fail_write(partial, errno, err);
    return write_journal(partial, err);
}

static void sync_directory_of(const char *path)
{
    char copy[KG_PATH_MAX];
    snprintf(copy, sizeof copy, "%s", path);
    int fd = open(dirname(copy), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd >= 0) {
        fsync(fd);
        close(fd);
    }
}

bool kg_partial_exists(const char *path)
{
    char bytes_path[KG_PATH_MAX + 16], journal_path[KG_PATH_MAX + 16];
    names_of(path, bytes_path, journal_path);
    return access(bytes_path, F_OK) == 0 || access(journal_path, F_OK) == 0;
}

void kg_partial_discard(const char *path)
{
    char bytes_path[KG_PATH_MAX + 16], journal_path[KG_PATH_MAX + 16];
    names_of(path, bytes_path, journal_path);
    unlink(bytes_path);
    unlink(journal_path);
}

static enum kg_status discard(struct kg_partial *partial, struct kg_error *err, const char *what)
{
    kg_partial_discard(partial->path);
    partial->length = 0;
    forget_parts(partial);
    return kg_fail(err, KG_ERR_CORRUPT, "what came for %s has the wrong %s and was removed", partial->model->file, what);
}

enum kg_status kg_partial_finish(struct kg_partial *partial, int (*progress)(void *ctx, uint64_t done), void *ctx, struct kg_error *err)
{
    struct kg_digest digest;
    char hex[65];
    if (partial->length != partial->model->bytes)
        return discard(partial, err, "length");
    if (fsync(partial->fd) != 0)
        return fail_write(partial, errno, err);
    enum kg_status status = kg_digest_file(partial->bytes_path, &digest, progress, ctx, err);
    if (status != KG_OK)
        return status;
    kg_digest_hex(&digest, hex);
    if (strcmp(hex, partial->model->sha256) != 0)
        return discard(partial, err, "SHA-256");
    if (rename(partial->bytes_path, partial->path) != 0)
        return fail_write(partial, errno, err);
    unlink(partial->journal_path);
    sync_directory_of(partial->path);
    kg_checked_remember(partial->path, partial->model->sha256);
    return KG_OK;
}
