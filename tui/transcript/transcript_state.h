/* Private to the transcript: entries, and where the window stands in them. */
#ifndef KG_TUI_TRANSCRIPT_STATE_H
#define KG_TUI_TRANSCRIPT_STATE_H

#include <time.h>

#include "tui/transcript/rich_text.h"
#include "tui/transcript/transcript.h"

enum kg_fold { KG_FOLD_AS_ALL, KG_FOLD_CLOSED, KG_FOLD_OPEN };

struct kg_entry {
    enum kg_entry_kind kind;
    char *text, *summary; /* summary: NULL or the row of a folded one */
    size_t length, capacity;
    size_t number; /* of a question, 0 = none */
    struct kg_rich_text *rich; /* NULL: to be made from the text */
    int width;                 /* that it is laid out for; 0: none */
    enum kg_fold fold;
    time_t when;               /* it was added; 0 = not known */
};

struct kg_transcript {
    struct kg_entry *entries;
    size_t count, capacity, queued; /* the last `queued` of count */
    uint64_t clearings; /* how often it was cleared */
    bool unfolded, timed;
    bool all_open; /* while it is written without folds */
    int rows, columns;
    bool follow;
    size_t top, top_row; /* the entry at the window's top, and its row there; row 0 may be the gap before it */
    size_t anchor;       /* the place in that entry's text that stays at the top through any number of widths */
    bool anchored;       /* it is set: the width has changed since the window was moved */

    size_t selected;     /* entry, or KG_NOWHERE */
    size_t code;         /* block of code in it, or KG_NOWHERE: all of it */
    char pattern[KG_PATTERN_MOST];
    size_t pattern_length;
    size_t found, found_at; /* entry, and place in its shown text; KG_NOWHERE = none */
};

/* An entry laid out for the window; NULL when memory ran out. */
const struct kg_rich_text *kg_entry_laid_out(struct kg_transcript *transcript, size_t index);
/* Empty rows before it, and those with its own. */
size_t kg_entry_gap(const struct kg_transcript *transcript, size_t index);
size_t kg_entry_rows(struct kg_transcript *transcript, size_t index);
bool kg_entry_is_folded(const struct kg_transcript *transcript, const struct kg_entry *entry);
void kg_entry_forget_layout(struct kg_entry *entry);
/* When it was added, in a row above it, where times are shown. */
void kg_entry_draw_time(const struct kg_transcript *transcript, size_t index, struct kg_screen *screen, int row);
/* Its rows from `skip` on, its gap counted, as text; line: one row as wide as the window. */
void kg_entry_write(struct kg_transcript *transcript, size_t index, size_t skip, struct kg_screen *line, FILE *stream);

/* Moves the window so that rows [row, row + rows) of an entry (its gap included) are seen, the first of them at least; as
 * little as it takes, but below `above` rows of what stands before when it has to jump. */
void kg_transcript_show_rows(struct kg_transcript *transcript, size_t index, size_t row, size_t rows, size_t above);

/* The selection's rows in the entry, its gap not counted: [*first, *last). */
void kg_transcript_selected_rows(struct kg_transcript *transcript, size_t *first, size_t *last);

#endif
