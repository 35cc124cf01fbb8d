#include "tui/input/history.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/paths.h"
#include "tui/transcript/find.h"

#define FILE_MOST ((size_t)64 << 20)
#define TRIM_AT (2 * KG_HISTORY_MOST) /* lines in the file */

struct line {
    char *text;
    size_t length;
};

struct kg_history {
    char path[KG_PATH_MAX]; /* "" = none */
    struct line lines[KG_HISTORY_MOST];
    size_t count;
    size_t at; /* where a walk stands: count = at the draft */
    struct line draft;
};

static void keep(struct kg_history *history, struct line line)
{
    if (history->count == KG_HISTORY_MOST) {
        free(history->lines[0].text);
        memmove(history->lines, history->lines + 1, --history->count * sizeof history->lines[0]);
    }
    history->lines[history->count++] = line;
}

static int hex(char c)
{
    return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static char *decode(const char *line, size_t length, size_t *out_length)
{
    char *out = malloc(length + 1);
    size_t n = 0;
    for (size_t i = 0; out && i < length; i++) {
        if (line[i] != '\\' || i + 1 == length) {
            out[n++] = line[i];
        } else if (line[i + 1] == 'x' && i + 3 < length && hex(line[i + 2]) >= 0 && hex(line[i + 3]) >= 0) {
            out[n++] = (char)(hex(line[i + 2]) * 16 + hex(line[i + 3]));
            i += 3;
        } else {
            i++;
            out[n++] = (char)(line[i] == 'n' ? '\n' : line[i]);
        }
    }
    if (out)
        out[n] = '\0';
    *out_length = n;
    return out;
}

/* With a newline behind it. */
static char *encode(const char *text, size_t length, size_t *out_length)
{
    char *out = malloc(4 * length + 2);
    size_t n = 0;
    for (size_t i = 0; out && i < length; i++) {
        unsigned char c = (unsigned char)text[i];
        if (c == '\n' || c == '\\') {
            out[n++] = '\\';
            out[n++] = (char)(c == '\n' ? 'n' : '\\');
        } else if (c < 0x20 || c == 0x7f) {
            n += (size_t)snprintf(out + n, 5, "\\x%02x", c);
        } else {
            out[n++] = (char)c;
        }
    }
    if (out)
        out[n++] = '\n';
    *out_length = n;
    return out;
}

/* Under a lock, so that no line of another process is lost; the file is replaced as a whole. */
static enum kg_status trim(const struct kg_history *history, struct kg_error *err)
{
    char *whole = NULL;
    size_t length = 0;
    FILE *memory = open_memstream(&whole, &length);
    if (!memory)
        return kg_fail_nomem(err, "shortening the history");
    for (size_t i = 0; i < history->count; i++) {
        size_t n;
        char *line = encode(history->lines[i].text, history->lines[i].length, &n);
        if (line)
            fwrite(line, 1, n, memory);
        free(line);
    }
    fclose(memory);
    enum kg_status status = kg_write_file(history->path, whole, length, 0600, err);
    free(whole);
    return status;
}

static enum kg_status load(struct kg_history *history, struct kg_error *err)
{
    char *bytes;
    size_t length, lines = 0;
    if (access(history->path, F_OK) != 0)
        return KG_OK;
    int fd = open(history->path, O_RDONLY | O_CLOEXEC);
    if (fd >= 0)
        flock(fd, LOCK_EX);
    enum kg_status status = kg_read_file(history->path, FILE_MOST, &bytes, &length, err);
    if (status == KG_OK) {
        for (size_t at = 0; at < length; lines++) {
            const char *end = memchr(bytes + at, '\n', length - at);
            size_t n = end ? (size_t)(end - bytes) - at : length - at, decoded;
            char *text = n > 0 && n <= 4 * KG_HISTORY_ENTRY ? decode(bytes + at, n, &decoded) : NULL;
            if (text)
                keep(history, (struct line){ .text = text, .length = decoded });
            at += n + 1;
        }
        free(bytes);
        if (lines > TRIM_AT)
            status = trim(history, err);
    }
    if (fd >= 0)
        close(fd);
    return status;
}

enum kg_status kg_history_open(const char *path, struct kg_history **out, struct kg_error *err)
{
    struct kg_history *history = calloc(1, sizeof *history);
    *out = history;
    if (!history)
        return kg_fail_nomem(err, "reading the history");
    enum kg_status status = KG_OK;
    if (path && snprintf(history->path, sizeof history->path, "%s", path) < (int)sizeof history->path)
        status = load(history, err);
    history->at = history->count;
    return status;
}

void kg_history_close(struct kg_history *history)
{
    if (!history)
        return;
    for (size_t i = 0; i < history->count; i++)
        free(history->lines[i].text);
    free(history->draft.text);
    free(history);
}

/* Opened for appending and locked; again when another process replaced the file while this one waited for the lock. */
static int open_locked(const char *path)
{
    for (int attempt = 0; attempt < 10; attempt++) {
        struct stat here, there;
        int fd = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
        if (fd < 0)
            return -1;
        if (flock(fd, LOCK_EX) == 0 && fstat(fd, &here) == 0 && stat(path, &there) == 0 && here.st_ino == there.st_ino)
            return fd;
        close(fd);
    }
    errno = EAGAIN;
    return -1;
}

/* All of a line or nothing of it: half a one would be a part of the next. */
static bool append_line(int fd, const char *line, size_t length)
{
    struct stat before;
    bool known = fstat(fd, &before) == 0;
    ssize_t n = known ? write(fd, line, length) : -1;
    if (n == (ssize_t)length)
        return true;
    int number = n < 0 ? errno : ENOSPC; /* it stopped where the room ended */
    if (n > 0 && ftruncate(fd, before.st_size) != 0)
        number = errno;
    errno = number;
    return false;
}

static enum kg_status write_line(const struct kg_history *history, const char *text, size_t length, struct kg_error *err)
{
    size_t n;
    char *line = encode(text, length, &n);
    if (!line)
        return kg_fail_nomem(err, "writing the history");
    int fd = open_locked(history->path);
    bool written = fd >= 0 && append_line(fd, line, n);
    int number = errno;
    if (fd >= 0)
        close(fd);
    free(line);
    if (!written)
        return kg_fail(err, KG_ERR_IO, "cannot write %s: %s; questions are remembered until you quit", history->path, strerror(number));
    return KG_OK;
}

enum kg_status kg_history_add(struct kg_history *history, const char *text, size_t length, struct kg_error *err)
{
    history->at = history->count;
    const struct line *last = history->count ? &history->lines[history->count - 1] : NULL;
    if (length == 0 || (last && last->length == length && memcmp(last->text, text, length) == 0))
        return KG_OK;
    char *copy = malloc(length + 1);
    if (!copy)
        return kg_fail_nomem(err, "remembering a question");
    memcpy(copy, text, length);
    copy[length] = '\0';
    keep(history, (struct line){ .text = copy, .length = length });
    history->at = history->count;
    return history->path[0] && length <= KG_HISTORY_ENTRY ? write_line(history, text, length, err) : KG_OK;
}

const char *kg_history_walk(struct kg_history *history, int direction, const char *draft, size_t draft_length, size_t *length)
{
    if (direction < 0 ? history->at == 0 : history->at == history->count)
        return NULL;
    if (history->at == history->count) {
        char *copy = malloc(draft_length + 1);
        if (!copy)
            return NULL;
        memcpy(copy, draft, draft_length);
        copy[draft_length] = '\0';
        free(history->draft.text);
        history->draft = (struct line){ .text = copy, .length = draft_length };
    }
    history->at = direction < 0 ? history->at - 1 : history->at + 1;
    const struct line *line = history->at == history->count ? &history->draft : &history->lines[history->at];
    *length = line->length;
    return line->text;
}

const char *kg_history_find(const struct kg_history *history, const char *pattern, size_t pattern_length, size_t *at, size_t *length)
{
    struct kg_pattern wanted = { .text = pattern, .length = pattern_length };
    for (size_t i = *at < history->count ? *at : history->count; i-- > 0;) {
        const struct line *line = &history->lines[i];
        if (kg_find_next(&wanted, line->text, line->length, 0) == KG_NOWHERE)
            continue;
        *at = i;
        *length = line->length;
        return line->text;
    }
    return NULL;
}
