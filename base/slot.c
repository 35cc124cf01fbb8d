#include "base/slot.h"

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#define NAME_SHOWN 248 /* a file system's names have 255 bytes */

enum kg_status kg_slot_failed(struct kg_error *err, const char *what, const char *path)
{
    if (errno == ELOOP || errno == EXDEV)
        return kg_fail(err, KG_ERR_UNSUPPORTED, "%s is a link or lies behind one; name the file itself", path);
    return kg_fail(err, KG_ERR_IO, "cannot %s %s: %s; the old content is untouched", what, path, strerror(errno));
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
        if (slot->visible && strlen(slot->name) < NAME_SHOWN)
            snprintf(slot->temporary, sizeof slot->temporary, "%s.%06llx", slot->name, (unsigned long long)random & 0xffffffU);
        else
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
        return kg_slot_failed(err, "write beside", path);
    }
    bool done = write_all(fd, bytes, length) && (!mode || fchmod(fd, *mode) == 0) && fsync(fd) == 0;
    enum kg_status status = done ? KG_OK : kg_slot_failed(err, "write", path);
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
        return kg_slot_failed(err, "write", path);
    slot->temporary[0] = '\0';
    fsync(slot->fd);
    return KG_OK;
}

enum kg_status kg_slot_remove(struct kg_slot *slot, const char *path, struct kg_error *err)
{
    if (unlinkat(slot->fd, slot->name, 0) != 0)
        return kg_slot_failed(err, "remove", path);
    fsync(slot->fd);
    return KG_OK;
}
