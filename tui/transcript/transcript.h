/* The conversation as it is read: entries one under another, laid out for a width, scrolled while they grow.
 *
 * Entries of kind QUEUED always stand at the end; others are added before them. Only what is looked at is laid out.
 */
#ifndef KG_TUI_TRANSCRIPT_H
#define KG_TUI_TRANSCRIPT_H

#include <stdint.h>
#include <stdio.h>

#include "tui/screen/screen.h"

enum kg_entry_kind {
    KG_ENTRY_QUESTION,
    KG_ENTRY_ANSWER,  /* Markdown */
    KG_ENTRY_THOUGHT, /* folded: one row */
    KG_ENTRY_READING, /* "read 3 files, ..." */
    KG_ENTRY_NOTICE,
    KG_ENTRY_ERROR,
    KG_ENTRY_COUNTS,  /* the row below an answer */
    KG_ENTRY_TABLE,   /* lines that stay as they are */
    KG_ENTRY_HELP,    /* lines in columns, broken at words where they must be */
    KG_ENTRY_QUEUED
};

struct kg_transcript;

struct kg_transcript *kg_transcript_create(void); /* NULL when out of memory */
void kg_transcript_free(struct kg_transcript *transcript);
void kg_transcript_clear(struct kg_transcript *transcript); /* queued entries stay */

/* False when out of memory, here and below: the transcript stays as it was. */
bool kg_transcript_add(struct kg_transcript *transcript, enum kg_entry_kind kind, const char *text, size_t length);
/* One that is folded, of any kind: summary is its one row, text all of it. */
bool kg_transcript_add_folded(struct kg_transcript *transcript, enum kg_entry_kind kind, const char *summary, const char *text, size_t length);
/* To the last entry of this kind behind the last question, or to a new one. */
bool kg_transcript_append(struct kg_transcript *transcript, enum kg_entry_kind kind, const char *text, size_t length);
/* The first of the queued entries, or the last, is taken away. */
void kg_transcript_drop_queued(struct kg_transcript *transcript, bool last);
/* So many of the queued entries that were added last, number at most, stand before the others. */
void kg_transcript_queue_first(struct kg_transcript *transcript, size_t number);

/* The text of the last entry of a kind; NULL if there is none. Valid until the transcript changes. */
const char *kg_transcript_last(const struct kg_transcript *transcript, enum kg_entry_kind kind, size_t *length);

/* The last question is the one of this number (from 1 on). Of the question that is chosen, or before what is: its number and its
 * text; 0: there is none, or it has none. */
void kg_transcript_number(struct kg_transcript *transcript, size_t number);
size_t kg_transcript_selected_question(const struct kg_transcript *transcript, const char **text, size_t *length);

/* Whether folded entries are shown in full. */
void kg_transcript_unfold(struct kg_transcript *transcript, bool unfolded);
bool kg_transcript_unfolded(const struct kg_transcript *transcript);

/* Whether the time of each entry stands above it, which is when it was added; not at first. */
void kg_transcript_show_times(struct kg_transcript *transcript, bool shown);
bool kg_transcript_shows_times(const struct kg_transcript *transcript);
/* The entry added last is of this time (seconds since 1970); 0: nobody knows. */
void kg_transcript_set_time(struct kg_transcript *transcript, uint64_t when);

/* Before anything below: how large the window is. What stood at its top stays there. */
void kg_transcript_set_window(struct kg_transcript *transcript, int rows, int columns);
/* Rows up (negative) or down. At the end, the window follows what is added; scrolled up, it stands still. */
void kg_transcript_scroll(struct kg_transcript *transcript, long rows);
void kg_transcript_to_start(struct kg_transcript *transcript);
void kg_transcript_to_end(struct kg_transcript *transcript);
bool kg_transcript_more_below(struct kg_transcript *transcript);

/* A message, or a block of code in one, can be chosen: then it is marked at the left edge. */
enum kg_unit { KG_UNIT_MESSAGE, KG_UNIT_CODE };
/* The one before (-1) or behind (1) the one that is chosen, or else the last or first one in the window; it is brought into the
 * window. False when there is none in that direction. */
bool kg_transcript_select(struct kg_transcript *transcript, enum kg_unit unit, int direction);
/* When what is chosen has been scrolled out of the window: the first message in it instead. */
void kg_transcript_select_seen(struct kg_transcript *transcript);
void kg_transcript_deselect(struct kg_transcript *transcript);
/* The text of what is chosen, as it was written; NULL when nothing is. Valid until the transcript changes. code: whether it is a
 * block of code. */
const char *kg_transcript_selected(struct kg_transcript *transcript, size_t *length, bool *code);
/* The last block of code of the last answer; NULL if there is none. */
const char *kg_transcript_last_code(struct kg_transcript *transcript, size_t *length);
/* Folds or unfolds the chosen message; false when it cannot be folded. */
bool kg_transcript_fold_selected(struct kg_transcript *transcript);

/* Folds or unfolds the message in that row of the window; false when there is none that can be folded. */
bool kg_transcript_fold_at(struct kg_transcript *transcript, int row);

/* What is looked for from now on; matches in the window are marked. Cut to KG_PATTERN_MOST. "" = nothing. */
#define KG_PATTERN_MOST 256
void kg_transcript_set_pattern(struct kg_transcript *transcript, const char *pattern, size_t length);
/* Brings the next match (1) or the one before (-1) into the window: behind the one found last, else from the window's top. The
 * message that holds it is chosen. */
enum kg_finding { KG_FOUND_NOTHING, KG_FOUND, KG_FOUND_AROUND /* the end or the start was passed */ };
enum kg_finding kg_transcript_find(struct kg_transcript *transcript, int direction);
/* Where the window stands, to come back to it while nothing was added; what was found last is forgotten. */
struct kg_transcript_place {
    size_t top, top_row;
    bool follow;
};
struct kg_transcript_place kg_transcript_place(const struct kg_transcript *transcript);
void kg_transcript_return(struct kg_transcript *transcript, const struct kg_transcript_place *place);

/* All rows as plain text, or the last `most` of them; unfolded: nothing is folded. Returns how many rows were left out. Every
 * byte that is written is printable or ends a row. */
size_t kg_transcript_write(struct kg_transcript *transcript, size_t most, bool unfolded, FILE *stream);

/* For a terminal that only adds lines: writes what came since, an answer as it was written and everything else as it is shown.
 * Zero-initialised = from the start. typed: a question that is seen already, NULL = none; it is set to NULL when it came. Bytes as
 * above. Returns whether anything was written. */
struct kg_transcript_mark {
    uint64_t clearings;
    size_t entry;          /* the first that was not begun */
    bool answering, inside; /* entry - 1 or one before it is an answer that may go on; the last row is not ended */
    size_t answer, bytes;
};
bool kg_transcript_write_new(struct kg_transcript *transcript, struct kg_transcript_mark *mark, const char **typed, FILE *stream);

/* Draws the window with its top left cell at (row, 0); returns the rows that hold something. */
int kg_transcript_draw(struct kg_transcript *transcript, struct kg_screen *screen, int row);

#endif
