/* Files and their places beneath a directory, opened without following a link. */
#ifndef KG_CHANGES_SLOT_H
#define KG_CHANGES_SLOT_H

#include "base/slot.h"

/* A regular file beneath root_fd as kg_index_read reads it; mode may be NULL. */
enum kg_status kg_slot_read(int root_fd, const char *path, size_t limit, char **out, size_t *length, unsigned *mode, struct kg_error *err);

/* make: folders on the way that are missing are made. */
enum kg_status kg_slot_open(int root_fd, const char *path, bool make, struct kg_slot *out, struct kg_error *err);

#endif
