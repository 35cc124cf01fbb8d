#include "tui/changes/worktree.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/paths.h"
#include "repo-index/beneath.h"
#include "repo-index/utf16.h"
#include "tui/changes/slot.h"

#define WRITTEN_MOST ((size_t)16 << 20) /* bytes of a file that is compared before it is replaced */

struct kg_worktree {
    int fd;
    char root[KG_PATH_MAX];
};

enum kg_status kg_worktree_open(const char *root, struct kg_worktree **out, struct kg_error *err)
{
    *out = NULL;
    struct kg_worktree *tree = calloc(1, sizeof *tree);
    if (!tree)
        return kg_fail_nomem(err, "opening a repository");
    tree->fd = open(root, O_PATH | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
    if (tree->fd < 0) {
        enum kg_status status = kg_fail(err, KG_ERR_IO, "cannot open %s: %s", root, strerror(errno));
        free(tree);
        return status;
    }
    snprintf(tree->root, sizeof tree->root, "%s", root);
    *out = tree;
    return KG_OK;
}

void kg_worktree_close(struct kg_worktree *tree)
{
    if (!tree)
        return;
    close(tree->fd);
    free(tree);
}

/* What stands at a path, no link followed. 0, or errno. */
static int examine(struct kg_worktree *tree, const char *path, struct stat *st)
{
    const char *slash = strrchr(path, '/');
    char folder[KG_PATH_MAX];
    if (!kg_beneath_path_is_plain(path))
        return EXDEV;
    if (!slash)
        return fstatat(tree->fd, path, st, AT_SYMLINK_NOFOLLOW) == 0 ? 0 : errno;
    memcpy(folder, path, (size_t)(slash - path));
    folder[slash - path] = '\0';
    int fd = kg_beneath_open(tree->fd, folder, O_RDONLY | O_DIRECTORY);
    if (fd < 0)
        return errno;
    int cause = fstatat(fd, slash + 1, st, AT_SYMLINK_NOFOLLOW) == 0 ? 0 : errno;
    close(fd);
    return cause;
}

static bool stands(struct kg_worktree *tree, const char *dir, size_t length, const char *leaf)
{
    char path[KG_PATH_MAX];
    struct stat st;
    int n = snprintf(path, sizeof path, "%.*s%s%s", (int)length, dir, length ? "/" : "", leaf);
    return n > 0 && n < (int)sizeof path && examine(tree, path, &st) == 0;
}

/* Whether a directory on the way is a git directory, whatever its name: bare repositories, a submodule's modules. */
static bool lies_in_gitdir(struct kg_worktree *tree, const char *path)
{
    for (const char *at = path;;) {
        size_t length = at == path ? 0 : (size_t)(at - path) - 1;
        if (stands(tree, path, length, "HEAD") && ((stands(tree, path, length, "refs") && stands(tree, path, length, "objects")) || stands(tree, path, length, "commondir")))
            return true;
        const char *slash = strchr(at, '/');
        if (!slash)
            return false;
        at = slash + 1;
    }
}

enum kg_guard kg_worktree_guard(struct kg_worktree *tree, const char *path, const char **why)
{
    struct stat st = { .st_mode = 0 };
    const char *none;
    const char **reason = why ? why : &none;
    enum kg_guard guard = kg_guard_of_path(path, reason);
    if (guard == KG_GUARD_NEVER)
        return guard;
    if (lies_in_gitdir(tree, path)) {
        *reason = "lies in a git directory";
        return KG_GUARD_NEVER;
    }
    int cause = examine(tree, path, &st);
    if (cause == ELOOP || cause == EXDEV || (cause == 0 && S_ISLNK(st.st_mode))) {
        *reason = "is a link, or lies behind one";
        return KG_GUARD_NEVER;
    }
    if (cause == 0 && !S_ISREG(st.st_mode)) {
        *reason = "is not a regular file";
        return KG_GUARD_NEVER;
    }
    if (cause == ENOENT)
        return guard;
    if (cause != 0) {
        *reason = "cannot be examined";
        return KG_GUARD_NEVER;
    }
    if (st.st_nlink > 1) {
        *reason = "has another name (a hard link), which would keep the old content";
        return KG_GUARD_ASK;
    }
    if (guard == KG_GUARD_NONE && (st.st_mode & 0111U)) {
        *reason = "is executable";
        return KG_GUARD_ASK;
    }
    return guard;
}

static enum kg_status refuse_guarded(struct kg_worktree *tree, const char *path, struct kg_error *err)
{
    const char *why;
    if (kg_worktree_guard(tree, path, &why) == KG_GUARD_NEVER)
        return kg_fail(err, KG_ERR_UNSUPPORTED, "%s %s: it is not written; change it by hand", path, why);
    return KG_OK;
}

static enum kg_status refuse_utf16(const char *path, const char *bytes, size_t length, struct kg_error *err)
{
    if (kg_is_utf16(bytes, length))
        return kg_fail(err, KG_ERR_UNSUPPORTED, "%s is in UTF-16, which is read but not written: change it by hand, or convert it to UTF-8 first", path);
    return KG_OK;
}

enum kg_status kg_worktree_read(struct kg_worktree *tree, const char *path, size_t limit, char **out, size_t *length, struct kg_error *err)
{
    enum kg_status status = kg_slot_read(tree->fd, path, limit, out, length, NULL, err);
    if (status == KG_OK && (status = refuse_utf16(path, *out, *length, err)) != KG_OK) {
        free(*out);
        *out = NULL;
    }
    return status;
}

enum kg_status kg_worktree_admits(struct kg_worktree *tree, const char *path, struct kg_error *err)
{
    char *now = NULL;
    size_t length;
    enum kg_status status = refuse_guarded(tree, path, err);
    if (status == KG_OK)
        status = kg_worktree_read(tree, path, WRITTEN_MOST, &now, &length, err);
    free(now);
    return status == KG_ERR_NOT_FOUND ? KG_OK : status;
}

enum kg_status kg_worktree_admits_any(struct kg_worktree *tree, const char *(*next)(void *ctx), void *ctx, struct kg_error *err)
{
    struct kg_error later;
    enum kg_status status = KG_OK;
    for (const char *path; (path = next(ctx));) {
        enum kg_status one = kg_worktree_admits(tree, path, status == KG_OK ? err : &later);
        if (one == KG_OK)
            return KG_OK;
        status = status == KG_OK ? one : status;
    }
    return status;
}

/* The content that stands there is the expected one; mode gets its mode, 0 for a file that is not there. */
static enum kg_status check_unchanged(struct kg_worktree *tree, const char *path, const char *before, size_t length, unsigned *mode, struct kg_error *err)
{
    char *now = NULL;
    size_t now_length = 0;
    enum kg_status status = kg_slot_read(tree->fd, path, WRITTEN_MOST, &now, &now_length, mode, err);
    if (status == KG_ERR_NOT_FOUND && !before) {
        *mode = 0;
        return KG_OK;
    }
    if (status == KG_ERR_NOT_FOUND)
        return kg_fail(err, KG_ERR_CHANGED, "%s is gone meanwhile: nothing was written there; ask again", path);
    if (status != KG_OK)
        return status;
    status = refuse_utf16(path, now, now_length, err);
    if (status != KG_OK) {
        free(now);
        return status;
    }
    bool same = before && now_length == length && memcmp(now, before, length) == 0;
    free(now);
    return same ? KG_OK
                : kg_fail(err, KG_ERR_CHANGED, before ? "%s has changed meanwhile: nothing was written there; ask again"
                                                      : "%s is there already: nothing was written there; ask again", path);
}

enum kg_status kg_worktree_check(struct kg_worktree *tree, const char *path, const char *before, size_t before_length, struct kg_error *err)
{
    unsigned mode;
    enum kg_status status = refuse_guarded(tree, path, err);
    return status == KG_OK ? check_unchanged(tree, path, before, before_length, &mode, err) : status;
}

enum kg_status kg_worktree_write(struct kg_worktree *tree, const char *path, const char *before, size_t before_length, const char *after,
                                 size_t after_length, struct kg_error *err)
{
    struct kg_slot slot;
    unsigned mode = 0;
    enum kg_status status = refuse_guarded(tree, path, err);
    if (status == KG_OK)
        status = check_unchanged(tree, path, before, before_length, &mode, err);
    if (status == KG_OK)
        status = kg_slot_open(tree->fd, path, !before, &slot, err);
    if (status != KG_OK)
        return status;
    status = kg_slot_prepare(&slot, path, after, after_length, before ? &mode : NULL, err);
    if (status == KG_OK) /* once more, with all that takes time done */
        status = check_unchanged(tree, path, before, before_length, &mode, err);
    if (status == KG_OK)
        status = kg_slot_settle(&slot, path, !before, err);
    kg_slot_close(&slot);
    return status;
}

enum kg_status kg_worktree_remove(struct kg_worktree *tree, const char *path, const char *before, size_t before_length, struct kg_error *err)
{
    struct kg_slot slot;
    unsigned mode;
    enum kg_status status = refuse_guarded(tree, path, err);
    if (status == KG_OK)
        status = check_unchanged(tree, path, before, before_length, &mode, err);
    if (status == KG_OK)
        status = kg_slot_open(tree->fd, path, false, &slot, err);
    if (status != KG_OK)
        return status;
    status = kg_slot_remove(&slot, path, err);
    kg_slot_close(&slot);
    return status;
}

size_t kg_worktree_missing(struct kg_worktree *tree, const char *path)
{
    char folder[KG_PATH_MAX];
    struct stat st;
    for (const char *slash = strchr(path, '/'); slash && (size_t)(slash - path) < sizeof folder; slash = strchr(slash + 1, '/')) {
        memcpy(folder, path, (size_t)(slash - path));
        folder[slash - path] = '\0';
        if (examine(tree, folder, &st) == ENOENT)
            return (size_t)(slash - path);
    }
    return 0;
}

void kg_worktree_remove_folder(struct kg_worktree *tree, const char *path)
{
    struct kg_slot slot;
    if (kg_path_enters_gitdir(path) || lies_in_gitdir(tree, path) || kg_slot_open(tree->fd, path, false, &slot, NULL) != KG_OK)
        return;
    if (unlinkat(slot.fd, slot.name, AT_REMOVEDIR) == 0)
        fsync(slot.fd);
    kg_slot_close(&slot);
}
