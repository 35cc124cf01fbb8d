#include "engine/cache/kv_lock.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { PRESENCE = 0, GATE = 1, FIRST_BLOCK = 16 };

static bool set(int fd, short type, int64_t byte)
{
    struct flock lock = { .l_type = type, .l_whence = SEEK_SET, .l_start = byte, .l_len = 1 };
    int rc;
    do
        rc = fcntl(fd, F_OFD_SETLK, &lock);
    while (rc != 0 && errno == EINTR);
    return rc == 0;
}

enum kg_status kg_kv_lock_open(const char *path, int *fd, struct kg_error *err)
{
    *fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK, 0600);
    if (*fd < 0)
        return kg_fail(err, KG_ERR_IO, "cannot open %s: %s; choose another cache directory or mend its permissions", path,
                       strerror(errno));
    if (!set(*fd, F_UNLCK, PRESENCE)) {
        close(*fd);
        *fd = -1;
    }
    return KG_OK;
}

enum kg_status kg_kv_lock_enter(int fd, int ms, struct kg_error *err)
{
    if (fd < 0)
        return KG_OK;
    for (int waited = 0; !set(fd, F_WRLCK, GATE); waited += 5) {
        if (waited >= ms)
            return kg_fail(err, KG_ERR_BUSY, "another kedge is opening the cache for more than %d ms; try again", ms);
        nanosleep(&(struct timespec){ .tv_nsec = 5000000 }, NULL);
    }
    set(fd, F_RDLCK, PRESENCE);
    return KG_OK;
}

void kg_kv_lock_leave_gate(int fd)
{
    if (fd >= 0)
        set(fd, F_UNLCK, GATE);
}

bool kg_kv_lock_alone(int fd)
{
    return fd >= 0 && set(fd, F_WRLCK, PRESENCE);
}

void kg_kv_lock_share(int fd)
{
    if (fd >= 0)
        set(fd, F_RDLCK, PRESENCE);
}

void kg_kv_lock_use(int fd, int64_t block)
{
    if (fd >= 0)
        set(fd, F_RDLCK, FIRST_BLOCK + block);
}

void kg_kv_lock_drop(int fd, int64_t block)
{
    if (fd >= 0)
        set(fd, F_UNLCK, FIRST_BLOCK + block);
}

bool kg_kv_lock_used_elsewhere(int fd, int64_t block)
{
    struct flock lock = { .l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = FIRST_BLOCK + block, .l_len = 1 };
    return fd >= 0 && fcntl(fd, F_OFD_GETLK, &lock) == 0 && lock.l_type != F_UNLCK;
}
