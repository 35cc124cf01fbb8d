/* Private to the interface: on a terminal that only adds lines. */
#ifndef KG_TUI_INLINE_H
#define KG_TUI_INLINE_H

#include "tui/transcript/transcript.h"

struct kg_interface;

/* ui is given, everything else zero. */
struct kg_inline {
    struct kg_interface *ui;
    struct kg_transcript_mark mark; /* what was printed */
    char *typed;                    /* the question that stands on the terminal already; NULL = none */
    char *line;                     /* what was typed so far */
    size_t length;
    bool prompted;                  /* the cursor stands behind a prompt */
    size_t asked;                   /* the change that is asked about, counted from 1 */
    double told_at;                 /* when it was told last what takes so long */
};

/* Until the person leaves. */
void kg_inline_loop(struct kg_inline *in);

#endif
