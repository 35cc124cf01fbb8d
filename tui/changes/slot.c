#include "tui/changes/slot.h"

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/paths.h"
#include "repo-index/beneath.h"

static enum kg_status cannot(struct kg_error *err, const char *what, const char *path)
{
    if (errno == ELOOP || errno == EXDEV)
        return kg_fail(err, KG_ERR_UNSUPPORTED, "%s is a link or lies behind one; name the file itself", path);
    return kg_fail(err, KG_ERR_IO, "cannot %s %s: %s; the old content is untouched", what, path, strerror(errno));
}

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
            enum kg_status status = cannot(err, "read", path);
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
        return cannot(err, "open", path);
    enum kg_status status = KG_OK;
    if (fstat(fd, &st) != 0)
        status = cannot(err, "examine", path);
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
    return out->fd < 0 ? cannot(err, "write", path) : KG_OK;
}

void kg_slot_close(struct kg_slot *slot)
{
    if (slot->temporary[0])
        unlinkat(slot->fd, slot->temporary, 0);
    if (slot->fd >= 0)
        close(slot->fd);
    slot->fd = -1;
}

/* Nobody reads in it what the file at its place keeps from them. */
static int create_temporary(struct kg_slot *slot, mode_t mode)
{
    for (int tries = 0; tries < 100; tries++) {
        uint64_t random;
        if (getrandom(&random, sizeof random, 0) != (ssize_t)sizeof random)
            return -1;
        snprintf(slot->temporary, sizeof slot->temporary, ".kedge-%016llx", (unsigned long long)random);
        int fd = openat(slot->fd, slot->temporary, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, mode);
        if (fd >= 0 || errno != EEXIST)
            return fd;
    }
    return -1;
}

static bool write_all(int fd, const char *bytes, size_t length)
{
    while (length) {
        ssize_t n = write(fd, bytes, length);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return false;
        bytes += n;
        length -= (size_t)n;
    }
    return true;
}

enum kg_status kg_slot_prepare(struct kg_slot *slot, const char *path, const char *bytes, size_t length, const unsigned *mode, struct kg_error *err)
{
    int fd = create_temporary(slot, mode ? 0600 : 0666);
    if (fd < 0) {
        slot->temporary[0] = '\0';
        return cannot(err, "write beside", path);
    }
    bool done = write_all(fd, bytes, length) && (!mode || fchmod(fd, *mode) == 0) && fsync(fd) == 0;
    enum kg_status status = done ? KG_OK : cannot(err, "write", path);
    close(fd);
    return status;
}

enum kg_status kg_slot_settle(struct kg_slot *slot, const char *path, bool fresh, struct kg_error *err)
{
    int failed = fresh ? renameat2(slot->fd, slot->temporary, slot->fd, slot->name, RENAME_NOREPLACE) : renameat(slot->fd, slot->temporary, slot->fd, slot->name);
    if (failed && fresh && (errno == EINVAL || errno == ENOSYS)) /* a file system without: a link is as good */
        failed = linkat(slot->fd, slot->temporary, slot->fd, slot->name, 0) != 0 || unlinkat(slot->fd, slot->temporary, 0) != 0;
    if (failed && errno == EEXIST)
        return kg_fail(err, KG_ERR_CHANGED, "%s is there already: nothing was written there; ask again", path);
    if (failed)
        return cannot(err, "write", path);
    slot->temporary[0] = '\0';
    fsync(slot->fd);
    return KG_OK;
}

enum kg_status kg_slot_remove(struct kg_slot *slot, const char *path, struct kg_error *err)
{
    if (unlinkat(slot->fd, slot->name, 0) != 0)
        return cannot(err, "remove", path);
    fsync(slot->fd);
    return KG_OK;
}
