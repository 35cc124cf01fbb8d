/* The lines of a file that answer a query, where there is no room for the whole file. */
#ifndef KG_INDEX_PARTS_H
#define KG_INDEX_PARTS_H

#include "repo-index/rank.h"

#define KG_PARTS_MAX 3

struct kg_part {
    uint32_t first, last; /* lines, 1-based, inclusive */
    uint64_t bytes;
};

/* The definitions around the best lines, or some lines around them where those are unknown or too long: in the order of lines,
 * apart from each other, of at most `bytes` together. rarities of the query must be set. Returns how many; 0 also when the file
 * has changed since it was indexed. */
unsigned kg_parts_of(struct kg_index *index, const struct kg_catalog *catalog, const struct kg_catalog_file *file, const struct kg_query *query, uint64_t bytes,
                     struct kg_part out[KG_PARTS_MAX]);

#endif
