/* Past commits, read from the repository's own objects into the store.
 *
 * No configuration is read, and no objects of others: repositories with alternates are read without them, and those whose
 * objects or packs are links, or whose .git file leads to a directory that does not lead back, have no history here. Sizes
 * are checked before anything is unpacked.
 */
#ifndef KG_INDEX_COMMITS_H
#define KG_INDEX_COMMITS_H

#include "repo-index/index.h"

#define KG_COMMITS_MAX 3000      /* that are remembered */
#define KG_COMMIT_FILES_MAX 50   /* a commit that changes more tells nothing about any of them */
#define KG_COMMIT_WORDS_MAX 300

/* Brings the history up to HEAD: costs nothing while that stays. progress (may be NULL) as in kg_index_refresh, with done and
 * found 0; when it stops, the history stays as it was, and what was read is kept for the next time. A repository whose history
 * cannot be read has none. */
enum kg_status kg_commits_update(struct kg_index *index, int (*progress)(void *ctx, uint32_t done, uint32_t found), void *ctx, struct kg_error *err);

#endif
