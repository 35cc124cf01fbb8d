/* Reading files of the worktree for the index: beneath the root, checked, digested, cut into terms and
 * imports; on other threads where
 * there are cores for it, while the caller writes.
 */
#ifndef KG_INDEX_READER_H
#define KG_INDEX_READER_H

#include "repo-index/store.h"

enum kg_read_outcome {
    KG_READ_DONE,
    KG_READ_GONE,       /* no longer a file of the worktree, or grown beyond KG_INDEX_FILE_MAX */
    KG_READ_UNREADABLE, /* permissions, or the disk */
    KG_READ_NO_MEMORY,
};

struct kg_read_text {
    size_t at; /* which of the paths */
    enum kg_read_outcome outcome;
    enum kg_file_kind kind;
    /* Of the descriptor that was read. ctime is -1, which no file has, when the file changed meanwhile or may still change
     * without its times telling. */
    struct kg_file_stat stat;
    struct kg_store_content content; /* of texts only; until take returns */
};

/* Calls take on this thread for every path, in any order; nonzero stops and is returned. -1 when out of memory or threads. */
int kg_read_texts(int root_fd, const struct kg_walk_file *const *files, size_t count, int (*take)(void *ctx, const struct kg_read_text *text), void *ctx);

#endif
