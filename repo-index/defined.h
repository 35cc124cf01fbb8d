/* Definitions as ctags tells them, in the ranking: it knows more of them than the look of a line does, and of which kind they are. */
#ifndef KG_INDEX_DEFINED_H
#define KG_INDEX_DEFINED_H

#include "repo-index/rank.h"

/* Of the files with the best scores, adds to those whose symbols, as far as they were read, have a name that the query asks for
 * and that was not seen to be defined there. To be called inside kg_store_begin_read. */
enum kg_status kg_rank_defined(struct kg_index *index, const struct kg_catalog *catalog, const struct kg_query *query, struct kg_rank *rank, struct kg_error *err);

#endif
