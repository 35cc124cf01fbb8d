/* What a view saved of a file, told to the program that opened it, so that this can take it back: in a file of its own, the record,
 * which is not there before something is saved, and written anew with every save.
 */
#ifndef KG_TUI_FILE_SAVED_H
#define KG_TUI_FILE_SAVED_H

#include <stdbool.h>
#include <stddef.h>

#include "base/digest.h"
#include "base/status.h"

/* Zeroed before its first use. */
struct kg_saved {
    /* before is what stood there when the view first saved, or last wrote over what somebody else had written; of secrets, and of more than
     * KG_FILE_MAX bytes, nothing is told */
    bool known;
    bool first;   /* that save was made */
    char *before; /* NULL: the file was not there */
    size_t before_length;
    struct kg_digest after; /* of what it saved last */
};
void kg_saved_clear(struct kg_saved *saved);

/* Ahead of every save. name: as kg_completer_is_secret takes it. */
void kg_saved_look(struct kg_saved *saved, const char *file, const char *name);
/* After every save that was made. */
enum kg_status kg_saved_tell(struct kg_saved *saved, const struct kg_digest *after, const char *record, struct kg_error *err);

/* False: nothing was told. Else the caller clears it. */
bool kg_saved_read(const char *record, struct kg_saved *out);

#endif
