/* Which files use names that others define: identifiers of code, told apart by their spelling alone. A name that many files
 * define means none of them, and one that most files use says little.
 */
#ifndef KG_INDEX_REFERENCES_H
#define KG_INDEX_REFERENCES_H

#include "repo-index/catalog.h"

#define KG_REFERENCES_MAX 32 /* files that one file refers to: those with the most weight */

struct kg_reference {
    uint32_t from, to; /* files of the catalog; of files with the same text, the first */
    float weight;      /* more for names that few others use; comparable within one repository */
};

/* In the order of from, then of to. pause is called now and then, nonzero stops with KG_ERR_CANCELLED. To be called inside
 * kg_store_begin_read. */
enum kg_status kg_references(struct kg_index *index, const struct kg_catalog *catalog, void (*take)(void *ctx, const struct kg_reference *reference),
                             int (*pause)(void *ctx), void *ctx, struct kg_error *err);

#endif
