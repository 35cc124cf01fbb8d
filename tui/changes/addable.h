/* Whether git would take a file into a commit, as the person's git and its configuration have it. */
#ifndef KG_CHANGES_ADDABLE_H
#define KG_CHANGES_ADDABLE_H

#include <stdbool.h>

/* path is relative to the root of the worktree. False for a file that is ignored and not tracked, outside of a sparse
 * checkout, or of a submodule. True where there is no git program. */
bool kg_git_would_add(const char *root, const char *path);

#endif
