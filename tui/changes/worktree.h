/* The files of a repository that changes may be written to. Everything is opened beneath the root, no link is followed, and what
 * git or kedge itself takes orders from is never written.
 */
#ifndef KG_CHANGES_WORKTREE_H
#define KG_CHANGES_WORKTREE_H

#include <stdbool.h>
#include <stddef.h>

#include "base/status.h"

struct kg_worktree;

/* root is an absolute path without links (kg_repo_root). */
enum kg_status kg_worktree_open(const char *root, struct kg_worktree **out, struct kg_error *err);
void kg_worktree_close(struct kg_worktree *tree); /* NULL is fine */

enum kg_guard {
    KG_GUARD_NONE,
    KG_GUARD_ASK,   /* runs without being asked, or steers what does: confirmed one by one, never with all */
    KG_GUARD_NEVER, /* not written by any way */
};
/* By the name alone; *why (may be NULL) gets a static text, "" for KG_GUARD_NONE. Case does not count. */
enum kg_guard kg_guard_of_path(const char *path, const char **why);
/* Also by what stands there: an executable file is asked about; a link, a device or anything but a regular file is never
 * written, nor what lies in a git directory of any name. */
enum kg_guard kg_worktree_guard(struct kg_worktree *tree, const char *path, const char **why);

/* A regular file, at most limit bytes, freed by the caller. KG_ERR_NOT_FOUND, KG_ERR_UNSUPPORTED as kg_index_read, and for one in
 * UTF-16, which is not written or removed either. */
enum kg_status kg_worktree_read(struct kg_worktree *tree, const char *path, size_t limit, char **out, size_t *length, struct kg_error *err);

/* Whether a write that expects this content could be made now: what kg_worktree_write would say of the file. */
enum kg_status kg_worktree_check(struct kg_worktree *tree, const char *path, const char *before, size_t before_length, struct kg_error *err);
/* Whether there is any content that could be written there, before it is thought of: KG_ERR_UNSUPPORTED for KG_GUARD_NEVER and
 * UTF-16. A file that is not there can be made. */
enum kg_status kg_worktree_admits(struct kg_worktree *tree, const char *path, struct kg_error *err);
/* The same of several paths, as next tells them one by one until NULL: some may be there to be looked at only, so it is KG_OK when one
 * of them admits content or there is none, else what is said of the first. */
enum kg_status kg_worktree_admits_any(struct kg_worktree *tree, const char *(*next)(void *ctx), void *ctx, struct kg_error *err);
/* Replaces the content that was read by another: a temporary file beside it, fsync, rename, fsync of its folder; the mode is kept.
 * before NULL: the file must not be there; folders on the way are made, mode 0777 less the umask, the file 0666 less the umask.
 * KG_ERR_CHANGED: there stands something else than before, nothing is written. KG_ERR_UNSUPPORTED: KG_GUARD_NEVER. */
enum kg_status kg_worktree_write(struct kg_worktree *tree, const char *path, const char *before, size_t before_length, const char *after,
                                 size_t after_length, struct kg_error *err);
/* How many bytes of the path name the first folder on the way that is not there, and would be made; 0: all are there. */
size_t kg_worktree_missing(struct kg_worktree *tree, const char *path);
/* Removes a folder that is empty; any other one, and one in a git directory, stays. */
void kg_worktree_remove_folder(struct kg_worktree *tree, const char *path);
/* kg_worktree_write, ending without the file. */
enum kg_status kg_worktree_remove(struct kg_worktree *tree, const char *path, const char *before, size_t before_length, struct kg_error *err);

#endif
