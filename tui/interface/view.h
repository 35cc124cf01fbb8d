/* Everything that is on the screen, drawn from what it shows; the one draw path.
 *
 *   transcript            all rows but those below
 *   pane                  beside it, or over it
 *   candidates            of a completion, over the transcript's last rows
 *   status line           one row
 *   input                 as many rows as it needs, up to a third of the screen
 */
#ifndef KG_TUI_VIEW_H
#define KG_TUI_VIEW_H

#include "tui/input/completion.h"
#include "tui/interface/pane.h"
#include "tui/interface/review.h"
#include "tui/interface/session_list.h"
#include "tui/interface/status_line.h"
#include "tui/transcript/transcript.h"

struct kg_view {
    struct kg_transcript *transcript;
    const struct kg_editor *editor;
    const struct kg_completion *completion;
    const struct kg_status_line *status;
    struct kg_pane *pane;    /* NULL = none */
    struct kg_review *review; /* in place of the transcript and the pane; NULL = none */
    struct kg_session_list *sessions; /* the same; NULL = none */
    const char *placeholder; /* shown while the input is empty */
    const char *prompt;      /* before the input, KG_PROMPT_COLUMNS wide */
    const char *note;        /* at the right of the input; NULL or "" = none */
    const char *legend;      /* in place of the input: what keys do now; NULL = none */
    size_t input_top;        /* the input's byte at its first row; kept from frame to frame */
    int page;                /* set: rows of the transcript that are seen */
    int input_row, input_rows; /* set: where the input is; rows 0 while something stands in its place */
    int pane_column;         /* set: where the pane begins; behind the last column when it is not seen */
};

#define KG_PROMPT_COLUMNS 2

void kg_view_draw(struct kg_view *view, struct kg_screen *screen);

/* The place in the input's text at a cell of the screen drawn last; false when the cell is not the input's. */
bool kg_view_input_at(const struct kg_view *view, const struct kg_screen *screen, int row, int column, size_t *offset);

/* Columns of a row of the input on a screen of so many columns. */
int kg_view_input_width(int columns);

#endif
