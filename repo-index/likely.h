/* What weighs most in a repository, whatever is asked. */
#ifndef KG_INDEX_LIKELY_H
#define KG_INDEX_LIKELY_H

#include "repo-index/catalog.h"

/* A weight, larger is better, for each file of the catalog: what much depends on, less for tests, notes and tables. To be called
 * inside kg_store_begin_read. */
enum kg_status kg_likely_ranks(struct kg_index *index, const struct kg_catalog *catalog, double *ranks, struct kg_error *err);

#endif
