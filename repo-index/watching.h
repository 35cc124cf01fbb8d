/* When an index that watches its worktree looks at what has changed. */
#ifndef KG_INDEX_WATCHING_H
#define KG_INDEX_WATCHING_H

#include "repo-index/index.h"

/* A refresh took so long: the next one waits in proportion. After one that failed, everything is dirty. */
void kg_index_watch_rest(struct kg_index *index, double took, bool everything, bool done);
/* Whether it is everything that is to be looked at now. */
bool kg_index_watch_all_due(const struct kg_index *index);

#endif
