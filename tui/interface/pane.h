/* The side pane: what is in context, how much of the model's length that takes, and why each file is there. Beside the transcript
 * where there is room for both, else over it.
 */
#ifndef KG_TUI_PANE_H
#define KG_TUI_PANE_H

#include "tui/interface/context_files.h"
#include "tui/screen/screen.h"

struct kg_pane {
    bool open, focused;
    const char *files; /* as in KG_EVENT_FILES */
    size_t files_length;
    uint32_t context_tokens, context_limit; /* limit 0: not known yet */
    size_t chosen, top; /* files; kept within their number */
};

/* Columns that it takes of a screen this wide: all of them when there is no room beside it and it has the keys; 0 when it is not
 * seen. */
int kg_pane_width(const struct kg_pane *pane, int columns);
/* Draws it into rows [0, rows) from column `from` on. */
void kg_pane_draw(struct kg_pane *pane, struct kg_screen *screen, int rows, int from);

/* The chosen file one down (1) or up (-1); false when there is none. */
bool kg_pane_move(struct kg_pane *pane, int direction);
bool kg_pane_chosen(const struct kg_pane *pane, struct kg_context_file *out);

#endif
