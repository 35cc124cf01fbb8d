/* Where the rows of a text end on a screen of a given width. */
#ifndef KG_TUI_WRAP_H
#define KG_TUI_WRAP_H

#include <stdbool.h>
#include <stddef.h>

#define KG_TAB_COLUMNS 4

struct kg_row {
    size_t start, end; /* bytes of the text that the row shows */
    size_t next;       /* where the next row starts: behind a newline or the spaces that were broken at */
    bool newline;      /* it ended in one, or at the end of the text */
};

/* The row that starts at `start` (at most length), at most `width` columns (at least 2) wide. by_words: broken behind
 * spaces where there are any, which then stand outside the right edge; otherwise at any glyph. */
void kg_wrap_row(const char *text, size_t length, size_t start, int width, bool by_words, struct kg_row *out);

/* Columns of a tab that stands at this column. */
int kg_tab_width(int column);

#endif
