/* Where a completion ends, besides where its model ends it: what a person is offered is never more than that. Model output is
 * hostile: what is not seen, or moves a cursor, ends it as well. */
#ifndef KG_TUI_ENDING_H
#define KG_TUI_ENDING_H

#include <stdbool.h>
#include <stddef.h>

struct kg_ending {
    /* set by the caller */
    const char *suffix; /* what follows the cursor; a line that says the same as its next one is no news */
    size_t suffix_length;
    unsigned lines;     /* at most so many that are not empty; 0 = as many as come */

    char *text; /* what came so far, of which the first `given` bytes are to be shown */
    size_t length, given, capacity;
    bool ended, nomem;
};

/* Takes more text; true when it ended: what follows belongs to nobody. Zero-initialise; given grows as far as it is certain. */
bool kg_ending_take(struct kg_ending *ending, const char *text, size_t length);
/* Nothing more will come. */
void kg_ending_finish(struct kg_ending *ending);
void kg_ending_clear(struct kg_ending *ending);

#endif
