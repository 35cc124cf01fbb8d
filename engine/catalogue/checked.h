/* Is a file the one that models.conf means? The answer is remembered by file identity (device, inode, size, times of
 * change in nanoseconds) in KG_PLACE_CACHE/checked-models, so that a gigabyte is not read again at each start. */
#ifndef KG_ENGINE_CATALOGUE_CHECKED_H
#define KG_ENGINE_CATALOGUE_CHECKED_H

#include "engine/catalogue/catalogue.h"

/* KG_OK, KG_ERR_NOT_FOUND, KG_ERR_CORRUPT (another length or digest), KG_ERR_CANCELLED, KG_ERR_IO. progress may be NULL;
 * it is called with bytes done while the digest is computed, nonzero stops. */
enum kg_status kg_checked_file(const char *path, const struct kg_catalogue_model *model, int (*progress)(void *ctx, uint64_t done),
                               void *ctx, struct kg_error *err);

/* The file at path was just computed to have this digest (64 hexadecimal digits). Failing to remember is no failure. */
void kg_checked_remember(const char *path, const char *sha256);

#endif
