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

/* Whether what it leads to belongs to this worktree: a directory that is no link, or what a file names and leads back. */
bool kg_gitdir_belongs(const char *worktree, const struct kg_gitdir *gitdir);

/* What would lead git, or a reader that follows it, out of the worktree: a sentence, static, or NULL. */
const char *kg_gitdir_doubt(const char *worktree, const struct kg_gitdir *gitdir);

/* Whether a directory is itself a git directory: HEAD, refs and objects, or HEAD and commondir. */
bool kg_is_gitdir(const char *path);

#endif
