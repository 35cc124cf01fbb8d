/* From what import lines name to the files of the tree. A name that fits several files means the one that lies closest to
 * the importing file; when that is no single one, none.
 */
#ifndef KG_INDEX_RESOLVE_H
#define KG_INDEX_RESOLVE_H

#include "repo-index/tree.h"

#define KG_LINKS_MAX 1000     /* files that one file includes */
#define KG_PACKAGE_FILES 64   /* files that one import of a package (Go) or of a.b.* (Java) stands for, first by path */

struct kg_links { /* reusable; zero-initialised = empty */
    uint32_t files[KG_LINKS_MAX];
    size_t count;
};

/* The files that the import lines of one file name, in order of appearance, each once and never itself. To be called inside
 * kg_store_begin_read. */
enum kg_status kg_resolve(struct kg_index *index, const struct kg_tree *tree, uint32_t file, struct kg_links *out, struct kg_error *err);

#endif
