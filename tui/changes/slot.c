#include "tui/changes/slot.h"

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/paths.h"
#include "repo-index/beneath.h"

static enum kg_status read_all(int fd, const char *path, size_t size, char **out, size_t *length, struct kg_error *err)
{
    char *bytes = malloc(size + 2);
    size_t got = 0;
    if (!bytes)
        return kg_fail_nomem(err, "reading a file");
    while (got <= size) {
        ssize_t n = read(fd, bytes + got, size + 1 - got);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0) {
            enum kg_status status = kg_slot_failed(err, "read", path);
            free(bytes);
            return status;
        }
        if (n == 0)
            break;
        got += (size_t)n;
    }
    if (got != size) {
        free(bytes);
        return kg_fail(err, KG_ERR_CHANGED, "%s changes while it is read; ask again", path);
    }
    bytes[got] = '\0';
    *out = bytes;
    *length = got;
    return KG_OK;
}

enum kg_status kg_slot_read(int root_fd, const char *path, size_t limit, char **out, size_t *length, unsigned *mode, struct kg_error *err)
{
    struct stat st;
    *out = NULL;
    if (!kg_beneath_path_is_plain(path) || kg_path_enters_gitdir(path))
        return kg_fail(err, KG_ERR_UNSUPPORTED, "'%s' is not a path of a file inside the repository", path);
    int fd = kg_beneath_open(root_fd, path, O_RDONLY);
    if (fd < 0 && (errno == ENOENT || errno == ENOTDIR))
        return kg_fail(err, KG_ERR_NOT_FOUND, "cannot open %s: %s", path, strerror(errno));
    if (fd < 0)
        return kg_slot_failed(err, "open", path);
    enum kg_status status = KG_OK;
    if (fstat(fd, &st) != 0)
        status = kg_slot_failed(err, "examine", path);
    else if (!S_ISREG(st.st_mode))
        status = kg_fail(err, KG_ERR_UNSUPPORTED, "%s is not a regular file; name a file", path);
    else if ((uint64_t)st.st_size > limit)
        status = kg_fail(err, KG_ERR_RANGE, "%s has %lld bytes, more than the %zu allowed here", path, (long long)st.st_size, limit);
    else
        status = read_all(fd, path, (size_t)st.st_size, out, length, err);
    if (status == KG_OK && mode)
        *mode = st.st_mode & 07777U;
    close(fd);
    return status;
}

/* Opens the folder at the first `length` bytes of path; makes it in its parent where that is asked for. */
static int open_folder(int root_fd, const char *path, size_t length, bool make)
{
    char folder[KG_PATH_MAX];
    if (length == 0)
        return openat(root_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    memcpy(folder, path, length);
    folder[length] = '\0';
    int fd = kg_beneath_open(root_fd, folder, O_RDONLY | O_DIRECTORY);
    if (fd >= 0 || errno != ENOENT || !make)
        return fd;
    char *slash = strrchr(folder, '/');
    int parent = open_folder(root_fd, path, slash ? (size_t)(slash - folder) : 0, true);
    if (parent < 0)
        return -1;
    int cause = mkdirat(parent, slash ? slash + 1 : folder, 0777) != 0 && errno != EEXIST ? errno : 0;
    if (!cause)
        fsync(parent);
    close(parent);
    if (cause) {
        errno = cause;
        return -1;
    }
    return kg_beneath_open(root_fd, folder, O_RDONLY | O_DIRECTORY);
}

enum kg_status kg_slot_open(int root_fd, const char *path, bool make, struct kg_slot *out, struct kg_error *err)
{
    *out = (struct kg_slot){ .fd = -1 };
    const char *slash = strrchr(path, '/');
    const char *name = slash ? slash + 1 : path;
    if (!kg_beneath_path_is_plain(path) || strlen(name) >= sizeof out->name)
        return kg_fail(err, KG_ERR_UNSUPPORTED, "'%s' is not a path of a file inside the repository", path);
    strcpy(out->name, name);
    out->fd = open_folder(root_fd, path, slash ? (size_t)(slash - path) : 0, make);
    return out->fd < 0 ? kg_slot_failed(err, "write", path) : KG_OK;
}
