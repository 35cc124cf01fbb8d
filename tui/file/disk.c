#include "tui/file/disk.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "repo-index/utf16.h"

#define NEW_MODE 0666 /* less the person's mask */

static void remember(struct kg_disk_file *file, const struct stat *now)
{
    file->is_new = false;
    file->device = now->st_dev;
    file->inode = now->st_ino;
    file->size = now->st_size;
    file->changed = now->st_ctim;
    file->modified = now->st_mtim;
}

static bool is_same(const struct timespec *a, const struct timespec *b)
{
    return a->tv_sec == b->tv_sec && a->tv_nsec == b->tv_nsec;
}

static bool is_unchanged(const struct kg_disk_file *file)
{
    struct stat now;
    if (stat(file->path, &now) != 0)
        return file->is_new && errno == ENOENT;
    return !file->is_new && file->device == now.st_dev && file->inode == now.st_ino && file->size == now.st_size && is_same(&file->changed, &now.st_ctim) &&
           is_same(&file->modified, &now.st_mtim);
}

/* All line ends are CR LF, and there is one. */
static bool is_crlf(const char *text, size_t length)
{
    size_t lines = 0;
    for (const char *at = text, *end = text + length; at < end && (at = memchr(at, '\n', (size_t)(end - at))); at++, lines++)
        if (at == text || at[-1] != '\r')
            return false;
    return lines > 0;
}

static size_t without_returns(char *text, size_t length)
{
    size_t to = 0;
    for (size_t from = 0; from < length; from++)
        if (!(text[from] == '\r' && from + 1 < length && text[from + 1] == '\n'))
            text[to++] = text[from];
    text[to] = '\0';
    return to;
}

static enum kg_status new_file(struct kg_disk_file *file, char **text, size_t *length, struct kg_error *err)
{
    file->is_new = true;
    *text = calloc(1, 1);
    *length = 0;
    return *text ? KG_OK : kg_fail_nomem(err, "opening a file");
}

enum kg_status kg_disk_load(const char *path, struct kg_disk_file *out, char **text, size_t *length, struct kg_error *err)
{
    struct stat now;
    *out = (struct kg_disk_file){ .is_new = false };
    if (strlen(path) >= sizeof out->path)
        return kg_fail(err, KG_ERR_RANGE, "the name of a file has at most %zu bytes", sizeof out->path - 1);
    if (!realpath(path, out->path)) {
        strcpy(out->path, path);
        if (errno == ENOENT && lstat(path, &now) != 0)
            return new_file(out, text, length, err);
        return kg_fail(err, KG_ERR_IO, "cannot open %s: %s", path, strerror(errno));
    }
    if (stat(out->path, &now) != 0)
        return kg_fail(err, KG_ERR_IO, "cannot open %s: %s", path, strerror(errno));
    remember(out, &now);
    enum kg_status status = kg_read_file(out->path, KG_FILE_EDIT_MAX, text, length, err);
    if (status != KG_OK)
        return status;
    out->utf16 = kg_is_utf16(*text, *length);
    status = kg_utf16_decode(path, KG_FILE_EDIT_MAX, text, length, err);
    if (status != KG_OK)
        return status;
    if (memchr(*text, '\0', *length)) {
        free(*text);
        *text = NULL;
        return kg_fail(err, KG_ERR_FORMAT, "%s is no text: it holds NUL bytes, so that it is not opened", path);
    }
    out->crlf = is_crlf(*text, *length);
    if (out->crlf)
        *length = without_returns(*text, *length);
    return KG_OK;
}

static char *with_returns(const char *text, size_t *length)
{
    size_t n = 0;
    char *out = malloc(2 * *length + 1);
    for (size_t i = 0; out && i < *length; i++) {
        if (text[i] == '\n')
            out[n++] = '\r';
        out[n++] = text[i];
    }
    *length = n;
    return out;
}

enum kg_status kg_disk_rescue(const struct kg_disk_file *file, const char *text, size_t length, char *path, size_t capacity, struct kg_error *err)
{
    struct stat there;
    char *own = file->crlf ? with_returns(text, &length) : NULL;
    if (file->crlf && !own)
        return kg_fail_nomem(err, "keeping what was not saved");
    snprintf(path, capacity, "%s.unsaved", file->path);
    for (unsigned i = 1; lstat(path, &there) == 0 && i < 1000; i++)
        snprintf(path, capacity, "%s.unsaved.%u", file->path, i);
    enum kg_status status = kg_write_file(path, own ? own : text, length, 0600, err);
    free(own);
    return status;
}

enum kg_status kg_disk_save(struct kg_disk_file *file, const char *text, size_t length, bool anyway, struct kg_error *err)
{
    struct stat now;
    if (file->utf16)
        return kg_fail(err, KG_ERR_UNSUPPORTED, "%s is in UTF-16, which is shown but not written; convert it to UTF-8 first", file->path);
    if (!anyway && !is_unchanged(file))
        return kg_fail(err, KG_ERR_CHANGED, "%s was changed by somebody else since it was opened", file->path);
    char *own = file->crlf ? with_returns(text, &length) : NULL;
    if (file->crlf && !own)
        return kg_fail_nomem(err, "saving a file");
    mode_t mask = umask(0);
    umask(mask);
    enum kg_status status = kg_write_file(file->path, own ? own : text, length, NEW_MODE & ~mask, err);
    if (status == KG_OK)
        file->written = kg_digest_of(own ? own : text, length);
    free(own);
    if (status == KG_OK && stat(file->path, &now) == 0)
        remember(file, &now);
    return status;
}
