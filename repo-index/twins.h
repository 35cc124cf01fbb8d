/* Which tests are of which file, told by their names: test_x.py and x_test.go of x, XTest.java of X.java. */
#ifndef KG_INDEX_TWINS_H
#define KG_INDEX_TWINS_H

#include "repo-index/catalog.h"

struct kg_twins {
    uint32_t *of; /* of each file of the catalog: of a test the file it is of, of another file its test; else KG_NO_TWIN */
    size_t count;
};
#define KG_NO_TWIN UINT32_MAX

/* False when out of memory. The caller frees with kg_twins_free, also after a failure. */
bool kg_twins_of(const struct kg_catalog *catalog, struct kg_twins *out);
void kg_twins_free(struct kg_twins *twins);

#endif
