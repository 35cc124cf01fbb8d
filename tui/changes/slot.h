/* One name in a folder beneath a directory, of which the content is replaced as a whole. */
#ifndef KG_CHANGES_SLOT_H
#define KG_CHANGES_SLOT_H

#include <stdbool.h>
#include <stddef.h>

#include "base/status.h"

struct kg_slot {
    int fd;             /* of the folder, opened beneath the root without links */
    char name[256];     /* in it */
    char temporary[32]; /* name of the new content beside it, "" = none */
};

/* A regular file beneath root_fd as kg_index_read reads it; mode may be NULL. */
enum kg_status kg_slot_read(int root_fd, const char *path, size_t limit, char **out, size_t *length, unsigned *mode, struct kg_error *err);

/* make: folders on the way that are missing are made. */
enum kg_status kg_slot_open(int root_fd, const char *path, bool make, struct kg_slot *out, struct kg_error *err);
/* What was prepared and not settled is gone. */
void kg_slot_close(struct kg_slot *slot);

/* The new content, synced, under a name of its own; mode NULL: that of a new file. */
enum kg_status kg_slot_prepare(struct kg_slot *slot, const char *path, const char *bytes, size_t length, const unsigned *mode, struct kg_error *err);
/* It takes its name, and the folder is synced. fresh: KG_ERR_CHANGED when the name is taken meanwhile. */
enum kg_status kg_slot_settle(struct kg_slot *slot, const char *path, bool fresh, struct kg_error *err);
enum kg_status kg_slot_remove(struct kg_slot *slot, const char *path, struct kg_error *err);

#endif
