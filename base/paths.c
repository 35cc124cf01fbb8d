#include "base/paths.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/slot.h"

enum kg_status kg_place_path(enum kg_place place, const char *leaf, char out[KG_PATH_MAX], struct kg_error *err)
{
    static const struct {
        const char *own, *xdg, *fallback, *below;
    } places[] = {
        [KG_PLACE_MODELS] = { "KEDGE_MODELS", "XDG_DATA_HOME", ".local/share", "/models" },
        [KG_PLACE_CACHE] = { "KEDGE_CACHE", "XDG_CACHE_HOME", ".cache", "" },
        [KG_PLACE_STATE] = { "KEDGE_STATE", "XDG_STATE_HOME", ".local/state", "" },
        [KG_PLACE_CONFIG] = { NULL, "XDG_CONFIG_HOME", ".config", "" },
    };
    const char *own = places[place].own ? getenv(places[place].own) : NULL;
    const char *xdg = getenv(places[place].xdg);
    const char *home = getenv("HOME");
    const char *slash = leaf ? "/" : "";
    int n;
    leaf = leaf ? leaf : "";
    if (own && own[0] == '/')
        n = snprintf(out, KG_PATH_MAX, "%s%s%s", own, slash, leaf);
    else if (own && own[0])
        return kg_fail(err, KG_ERR_USAGE, "%s is '%s'; it must be an absolute path", places[place].own, own);
    else if (xdg && xdg[0] == '/') /* the specification says that a relative one is to be ignored */
        n = snprintf(out, KG_PATH_MAX, "%s/kedge%s%s%s", xdg, places[place].below, slash, leaf);
    else if (home && home[0] == '/')
        n = snprintf(out, KG_PATH_MAX, "%s/%s/kedge%s%s%s", home, places[place].fallback, places[place].below, slash, leaf);
    else
        return kg_fail(err, KG_ERR_NOT_FOUND, "neither %s nor HOME is set; set one of them", places[place].xdg);
    if (n < 0 || n >= KG_PATH_MAX)
        return kg_fail(err, KG_ERR_RANGE, "the path for %s is longer than %d bytes; set a shorter one", leaf, KG_PATH_MAX);
    return KG_OK;
}

enum kg_status kg_make_dirs(const char *path, struct kg_error *err)
{
    char part[KG_PATH_MAX];
    size_t length = strlen(path);
    if (length == 0 || length >= sizeof part)
        return kg_fail(err, KG_ERR_RANGE, "cannot create a directory of %zu bytes' name; use a shorter path", length);
    memcpy(part, path, length + 1);
    for (char *p = part + 1;; p++) {
        if (*p != '/' && *p != '\0')
            continue;
        char kept = *p;
        *p = '\0';
        if (mkdir(part, 0700) != 0 && errno != EEXIST)
            return kg_fail(err, KG_ERR_IO, "cannot create directory %s: %s; choose another place or mend its permissions", part,
                           strerror(errno));
        *p = kept;
        if (kept == '\0')
            return KG_OK;
    }
}

static enum kg_status read_all(int fd, const char *path, size_t limit, char **out, size_t *length, struct kg_error *err)
{
    struct stat st;
    if (fstat(fd, &st) != 0)
        return kg_fail(err, KG_ERR_IO, "cannot examine %s: %s", path, strerror(errno));
    if (!S_ISREG(st.st_mode))
        return kg_fail(err, KG_ERR_UNSUPPORTED, "%s is not a regular file; name a file", path);
    if ((unsigned long long)st.st_size > limit)
        return kg_fail(err, KG_ERR_RANGE, "%s has %lld bytes, more than the %zu allowed here", path, (long long)st.st_size, limit);
    size_t size = (size_t)st.st_size;
    char *bytes = malloc(size + 1);
    if (!bytes)
        return kg_fail_nomem(err, "reading a file");
    size_t got = 0;
    while (got < size) {
        ssize_t n = read(fd, bytes + got, size - got);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0) {
            free(bytes);
            return kg_fail(err, KG_ERR_IO, "cannot read %s: %s", path, strerror(errno));
        }
        if (n == 0)
            break;
        got += (size_t)n;
    }
    bytes[got] = '\0';
    *out = bytes;
    *length = got;
    return KG_OK;
}

enum kg_status kg_read_file(const char *path, size_t limit, char **out, size_t *length, struct kg_error *err)
{
    /* O_NONBLOCK: a named pipe must be refused, not waited for */
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0)
        return kg_fail(err, errno == ENOENT ? KG_ERR_NOT_FOUND : KG_ERR_IO, "cannot open %s: %s", path, strerror(errno));
    enum kg_status status = read_all(fd, path, limit, out, length, err);
    close(fd);
    return status;
}

/* A folder that may be written but not read will do: it is not synced then. */
static int open_folder_of(const char *path)
{
    char copy[KG_PATH_MAX];
    snprintf(copy, sizeof copy, "%s", path);
    const char *folder = dirname(copy);
    int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    return fd < 0 && errno == EACCES ? open(folder, O_PATH | O_DIRECTORY | O_CLOEXEC) : fd;
}

enum kg_status kg_write_file(const char *path, const void *bytes, size_t length, unsigned mode, struct kg_error *err)
{
    struct kg_slot slot = { .fd = -1, .visible = true };
    struct stat st;
    const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path;
    if (strlen(path) >= KG_PATH_MAX || strlen(name) >= sizeof slot.name)
        return kg_fail(err, KG_ERR_RANGE, "cannot write %s: its name is too long", path);
    strcpy(slot.name, name);
    slot.fd = open_folder_of(path);
    if (slot.fd < 0)
        return kg_slot_failed(err, "write beside", path);
    if (stat(path, &st) == 0)
        mode = st.st_mode & 07777U;
    enum kg_status status = kg_slot_prepare(&slot, path, bytes, length, &mode, err);
    if (status == KG_OK)
        status = kg_slot_settle(&slot, path, false, err);
    kg_slot_close(&slot);
    return status;
}
