/* One name in a folder, of which the content is replaced as a whole: the one way in which kedge writes over a file. The new content
 * is written under a name of its own beside it, synced, and takes the name; whatever happens, one of the two is there.
 */
#ifndef KG_BASE_SLOT_H
#define KG_BASE_SLOT_H

#include <stdbool.h>
#include <stddef.h>

#include "base/status.h"

struct kg_slot {
    int fd;              /* of the folder; the slot's own */
    char name[256];      /* in it */
    bool visible;        /* the new content is called NAME.XXXXXX meanwhile, where that is short enough: what a dead process left can be told; else .kedge-... */
    char temporary[264]; /* what it is called, "" = there is none */
};

/* path, here and below, is what errors name. The new content; mode NULL: that of a new file. */
enum kg_status kg_slot_prepare(struct kg_slot *slot, const char *path, const char *bytes, size_t length, const unsigned *mode, struct kg_error *err);
/* It takes its name, and the folder is synced. fresh: KG_ERR_CHANGED when the name is taken meanwhile. */
enum kg_status kg_slot_settle(struct kg_slot *slot, const char *path, bool fresh, struct kg_error *err);
enum kg_status kg_slot_remove(struct kg_slot *slot, const char *path, struct kg_error *err);
/* What was prepared and not settled is gone. */
void kg_slot_close(struct kg_slot *slot);

/* KG_ERR_IO, or KG_ERR_UNSUPPORTED for a link, with what errno says: "cannot WHAT PATH: ...". */
enum kg_status kg_slot_failed(struct kg_error *err, const char *what, const char *path);

#endif
