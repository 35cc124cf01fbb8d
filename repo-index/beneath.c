#include "repo-index/beneath.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdint.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/paths.h"

#define ALWAYS (O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY)

bool kg_beneath_path_is_plain(const char *path)
{
    if (strlen(path) >= KG_PATH_MAX)
        return false;
    for (;;) {
        size_t n = strcspn(path, "/");
        if (n == 0 || (n == 1 && path[0] == '.') || (n == 2 && path[0] == '.' && path[1] == '.'))
            return false;
        if (path[n] == '\0')
            return true;
        path += n + 1;
    }
}

int kg_beneath_open_stepwise(int root_fd, const char *path, int flags)
{
    if (!kg_beneath_path_is_plain(path)) {
        errno = EXDEV;
        return -1;
    }
    int at = root_fd;
    for (;;) {
        char name[256];
        size_t n = strcspn(path, "/");
        bool last = path[n] == '\0';
        int fd = -1;
        if (n >= sizeof name) {
            errno = ENAMETOOLONG;
        } else {
            memcpy(name, path, n);
            name[n] = '\0';
            fd = openat(at, name, ALWAYS | (last ? flags : O_PATH | O_DIRECTORY));
        }
        int cause = errno;
        if (at != root_fd)
            close(at);
        errno = cause;
        if (fd < 0 || last)
            return fd;
        at = fd;
        path += n + 1;
    }
}

int kg_beneath_open(int root_fd, const char *path, int flags)
{
    if (!kg_beneath_path_is_plain(path)) {
        errno = EXDEV;
        return -1;
    }
    struct open_how how = {
        .flags = (uint64_t)(unsigned)(flags | ALWAYS),
        .resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS,
    };
    int fd;
    int tries = 0;
    do
        fd = (int)syscall(SYS_openat2, root_fd, path, &how, sizeof how);
    while (fd < 0 && (errno == EINTR || errno == EAGAIN) && ++tries < 100);
    /* EPERM is what a sandbox answers for a call it does not know; the steps below ask again and tell a true one */
    if (fd < 0 && (errno == ENOSYS || errno == EPERM || errno == EAGAIN))
        return kg_beneath_open_stepwise(root_fd, path, flags);
    return fd;
}

/* Length of a UTF-8 encoded character that HFS+ leaves out when it compares names, else 0:
 * U+200C..U+200F, U+202A..U+202E, U+206A..U+206F, U+FEFF. */
static size_t ignorable_length(const unsigned char *s, size_t n)
{
    if (n < 3)
        return 0;
    if (s[0] == 0xe2 && s[1] == 0x80)
        return (s[2] >= 0x8c && s[2] <= 0x8f) || (s[2] >= 0xaa && s[2] <= 0xae) ? 3 : 0;
    if (s[0] == 0xe2 && s[1] == 0x81)
        return s[2] >= 0xaa && s[2] <= 0xaf ? 3 : 0;
    return s[0] == 0xef && s[1] == 0xbb && s[2] == 0xbf ? 3 : 0;
}

bool kg_names_gitdir(const char *name, size_t length)
{
    const unsigned char *s = (const unsigned char *)name;
    char seen[6];
    size_t n = 0;
    size_t i = 0;
    while (i < length && n < 5) {
        size_t skip = ignorable_length(s + i, length - i);
        if (skip) {
            i += skip;
            continue;
        }
        seen[n++] = (char)(s[i] >= 'A' && s[i] <= 'Z' ? s[i] + 32 : s[i]);
        if (n == 4 && memcmp(seen, ".git", 4) == 0) {
            i++;
            break;
        }
        i++;
    }
    if (!(n == 4 && memcmp(seen, ".git", 4) == 0) && !(n == 5 && memcmp(seen, "git~1", 5) == 0))
        return false;
    for (; i < length; i++) {
        size_t skip = ignorable_length(s + i, length - i);
        if (skip) {
            i += skip - 1;
            continue;
        }
        if (s[i] == ':' || s[i] == '\\')
            return true;
        if (s[i] != '.' && s[i] != ' ')
            return false;
    }
    return true;
}

bool kg_path_enters_gitdir(const char *path)
{
    for (;;) {
        size_t n = strcspn(path, "/");
        if (kg_names_gitdir(path, n))
            return true;
        if (path[n] == '\0')
            return false;
        path += n + 1;
    }
}
