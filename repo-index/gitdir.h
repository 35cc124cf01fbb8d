/* Where a worktree keeps its git directory. No configuration of a repository is ever read: nothing in it (core.worktree,
 * include.path, fsmonitor, filters, hooks) can widen what is read or run anything, whoever owns it.
 */
#ifndef KG_INDEX_GITDIR_H
#define KG_INDEX_GITDIR_H

#include <stdbool.h>

#include "base/paths.h"

struct kg_gitdir {
    char own[KG_PATH_MAX];    /* absolute and resolved: index, HEAD */
    char common[KG_PATH_MAX]; /* the same unless this is a linked worktree: info/exclude */
};

/* Follows worktree/.git, a directory or a file that names one. False when it leads to no git directory. */
bool kg_gitdir_of(const char *worktree, struct kg_gitdir *out);

/* Whether a directory is itself a git directory: HEAD, refs and objects, or HEAD and commondir. */
bool kg_is_gitdir(const char *path);

#endif
