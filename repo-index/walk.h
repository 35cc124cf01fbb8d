/* The files of a worktree that may be worth reading, told apart by name and stat alone; nothing but ignore files is read.
 *
 * Like `git ls-files --cached --others --exclude-standard` with submodules descended: tracked files count even where a rule
 * would ignore them. Links are not followed, git directories never entered, repositories that are no submodules left out.
 * A .kedgeignore is read like a .gitignore and has the last word: it hides tracked files, and may show ignored ones.
 */
#ifndef KG_INDEX_WALK_H
#define KG_INDEX_WALK_H

#include "repo-index/repo_index.h"
#include "repo-index/watch.h"

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

struct kg_walk_request {
    const char *root; /* absolute and resolved */
    int root_fd;      /* the same directory */
    const struct kg_dirty *only; /* NULL: everything; else counts are of what was looked at */
    struct kg_watch *watch;      /* NULL, or where each directory is added before it is listed */
    int (*progress)(void *ctx, uint32_t done, uint32_t found); /* as in kg_index_refresh */
    void *ctx;
};
/* On failure *out is empty; kg_walk_free takes either. libgit2 must be initialised. */
enum kg_status kg_walk_run(const struct kg_walk_request *request, struct kg_walk *out, struct kg_error *err);
void kg_walk_free(struct kg_walk *walk);

#endif
