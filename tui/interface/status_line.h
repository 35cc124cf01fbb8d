/* The one row that says what goes on. */
#ifndef KG_TUI_STATUS_LINE_H
#define KG_TUI_STATUS_LINE_H

#include "tui/interface/event.h"

struct kg_status_line {
    enum kg_doing doing;
    char what[256];             /* on what */
    uint64_t done, total;
    double seconds;             /* since it began */
    char model[128], device[128];
    uint32_t context_tokens, context_limit; /* limit 0: not known yet */
    uint64_t reused_tokens;     /* of the last question */
    double rate;                /* tokens a second of the answer, 0 = not known */
    const char *hint;           /* takes the place of what goes on; NULL = none */
    bool no_model;
};

/* What goes on, as text; cut to capacity. */
void kg_status_line_text(const struct kg_status_line *status, char *out, size_t capacity);

void kg_status_line_draw(const struct kg_status_line *status, struct kg_screen *screen, int row);

#endif
