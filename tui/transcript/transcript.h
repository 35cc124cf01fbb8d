/* The conversation as it is read: entries one under another, laid out for a width, scrolled while they grow.
 *
 * Entries of kind QUEUED always stand at the end; others are added before them. Only what is looked at is laid out.
 */
#ifndef KG_TUI_TRANSCRIPT_H
#define KG_TUI_TRANSCRIPT_H

#include "tui/screen/screen.h"

enum kg_entry_kind {
    KG_ENTRY_QUESTION,
    KG_ENTRY_ANSWER,  /* Markdown */
    KG_ENTRY_THOUGHT, /* folded: one row */
    KG_ENTRY_READING, /* folded: one row, "read 3 files, ..." */
    KG_ENTRY_NOTICE,
    KG_ENTRY_ERROR,
    KG_ENTRY_COUNTS,  /* the row below an answer */
    KG_ENTRY_TABLE,   /* lines that stay as they are */
    KG_ENTRY_QUEUED
};

struct kg_transcript;

struct kg_transcript *kg_transcript_create(void); /* NULL when out of memory */
void kg_transcript_free(struct kg_transcript *transcript);
void kg_transcript_clear(struct kg_transcript *transcript); /* queued entries stay */

/* False when out of memory, here and below: the transcript stays as it was. */
bool kg_transcript_add(struct kg_transcript *transcript, enum kg_entry_kind kind, const char *text, size_t length);
/* One that is folded: summary is its one row, text all of it. */
bool kg_transcript_add_folded(struct kg_transcript *transcript, enum kg_entry_kind kind, const char *summary, const char *text, size_t length);
/* To the last entry of this kind behind the last question, or to a new one. */
bool kg_transcript_append(struct kg_transcript *transcript, enum kg_entry_kind kind, const char *text, size_t length);
/* The first of the queued entries, or the last, is taken away. */
void kg_transcript_drop_queued(struct kg_transcript *transcript, bool last);

/* The text of the last entry of a kind; NULL if there is none. Valid until the transcript changes. */
const char *kg_transcript_last(const struct kg_transcript *transcript, enum kg_entry_kind kind, size_t *length);

/* Whether folded entries are shown in full. */
void kg_transcript_unfold(struct kg_transcript *transcript, bool unfolded);
bool kg_transcript_unfolded(const struct kg_transcript *transcript);

/* Before anything below: how large the window is. What stood at its top stays there. */
void kg_transcript_set_window(struct kg_transcript *transcript, int rows, int columns);
/* Rows up (negative) or down. At the end, the window follows what is added; scrolled up, it stands still. */
void kg_transcript_scroll(struct kg_transcript *transcript, long rows);
void kg_transcript_to_start(struct kg_transcript *transcript);
void kg_transcript_to_end(struct kg_transcript *transcript);
bool kg_transcript_more_below(struct kg_transcript *transcript);

/* Draws the window with its top left cell at (row, 0); returns the rows that hold something. */
int kg_transcript_draw(struct kg_transcript *transcript, struct kg_screen *screen, int row);

#endif
