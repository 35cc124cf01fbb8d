#include "repo-index/read.h"

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "repo-index/beneath.h"
#include "repo-index/index.h"
#include "repo-index/utf16.h"

/* Reads to the end, whatever length the file had when it was examined. */
static enum kg_status read_to_end(int fd, const char *path, size_t expected, size_t limit, char **out, size_t *length, struct kg_error *err)
{
    size_t capacity = expected + 1;
    size_t got = 0;
    char *bytes = malloc(capacity);
    if (!bytes)
        return kg_fail_nomem(err, "reading a file");
    for (;;) {
        ssize_t n = got < capacity ? read(fd, bytes + got, capacity - got) : 0;
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0) {
            free(bytes);
            return kg_fail(err, KG_ERR_IO, "cannot read %s: %s", path, strerror(errno));
        }
        got += (size_t)n;
        if (n == 0 && got < capacity)
            break;
        if (got > limit) {
            free(bytes);
            return kg_fail(err, KG_ERR_RANGE, "%s grew beyond the %zu bytes allowed here", path, limit);
        }
        if (got == capacity) {
            char *bigger = realloc(bytes, capacity * 2);
            if (!bigger) {
                free(bytes);
                return kg_fail_nomem(err, "reading a file");
            }
            bytes = bigger;
            capacity *= 2;
        }
    }
    bytes[got] = '\0';
    *out = bytes;
    *length = got;
    return KG_OK;
}

enum kg_status kg_read_beneath(int root_fd, const char *path, size_t limit, char **out, size_t *length, size_t *size, struct kg_error *err)
{
    struct stat st;
    int fd = kg_beneath_open(root_fd, path, O_RDONLY);
    if (fd < 0 && (errno == ELOOP || errno == EXDEV))
        return kg_fail(err, KG_ERR_UNSUPPORTED, "%s is a link or lies behind one; name the file itself", path);
    if (fd < 0)
        return kg_fail(err, errno == ENOENT || errno == ENOTDIR ? KG_ERR_NOT_FOUND : KG_ERR_IO, "cannot open %s: %s", path, strerror(errno));
    enum kg_status status = KG_OK;
    if (fstat(fd, &st) != 0)
        status = kg_fail(err, KG_ERR_IO, "cannot examine %s: %s", path, strerror(errno));
    else if (!S_ISREG(st.st_mode))
        status = kg_fail(err, KG_ERR_UNSUPPORTED, "%s is not a regular file; name a file", path);
    else if ((uint64_t)st.st_size > limit)
        status = kg_fail(err, KG_ERR_RANGE, "%s has %lld bytes, more than the %zu allowed here", path, (long long)st.st_size, limit);
    else
        status = read_to_end(fd, path, (size_t)st.st_size, limit, out, length, err);
    close(fd);
    if (status == KG_OK && size)
        *size = *length;
    return status == KG_OK ? kg_utf16_decode(path, limit, out, length, err) : status;
}

enum kg_status kg_index_read(struct kg_index *index, const char *path, size_t limit, char **out, size_t *length, bool *secret, struct kg_error *err)
{
    while (path[0] == '.' && path[1] == '/')
        path += 2;
    if (!kg_beneath_path_is_plain(path))
        return kg_fail(err, KG_ERR_UNSUPPORTED, "'%s' is not a path inside the repository; name it from %s on, without ..", path, index->root);
    if (kg_path_enters_gitdir(path))
        return kg_fail(err, KG_ERR_UNSUPPORTED, "'%s' lies in a git directory; nothing there is read", path);
    enum kg_status status = kg_read_beneath(index->root_fd, path, limit, out, length, NULL, err);
    if (status == KG_OK && secret)
        *secret = kg_kind_by_name(path) == KG_KIND_SECRET || kg_kind_by_content(path, *out, *length < KG_KIND_HEAD ? *length : KG_KIND_HEAD) == KG_KIND_SECRET;
    return status;
}
