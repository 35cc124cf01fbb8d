/* The files of a worktree that may be worth reading, told apart by name and stat alone; nothing but ignore files is read.
 *
 * Like `git ls-files --cached --others --exclude-standard` with submodules descended: tracked files count even where a rule
 * would ignore them. Links are not followed, git directories never entered, repositories that are no submodules left out.
 */
#ifndef KG_INDEX_WALK_H
#define KG_INDEX_WALK_H

#include "repo-index/repo_index.h"

/* What tells that a file is still the one that was read. */
struct kg_file_stat {
    uint64_t dev, ino, size;
    int64_t mtime, ctime; /* nanoseconds */
};

struct stat;
struct kg_file_stat kg_file_stat_of(const struct stat *st);

struct kg_walk_file {
    const char *path; /* relative to the root, as the file system has it */
    struct kg_file_stat stat;
};

struct kg_walk {
    struct kg_walk_file *files; /* in the order of strcmp */
    size_t count;
    struct kg_index_counts counts; /* what was left out */
    struct kg_walk_memory *memory; /* owns the paths */
};

/* root is absolute and resolved, root_fd the same directory. progress as in kg_index_refresh. On failure *out is empty;
 * kg_walk_free takes either. libgit2 must be initialised. */
enum kg_status kg_walk_run(const char *root, int root_fd, int (*progress)(void *ctx, uint32_t done, uint32_t found), void *ctx,
                           struct kg_walk *out, struct kg_error *err);
void kg_walk_free(struct kg_walk *walk);

#endif
