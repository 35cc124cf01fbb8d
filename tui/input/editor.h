/* The text that a person writes: a cursor that moves by graphemes and words, a ring of kills, undo.
 * Any bytes; what is not valid UTF-8 is kept and shown as such. Offsets are bytes at glyph boundaries.
 */
#ifndef KG_TUI_EDITOR_H
#define KG_TUI_EDITOR_H

#include <stdbool.h>
#include <stddef.h>

struct kg_editor;

struct kg_editor *kg_editor_create(void); /* NULL when out of memory */
void kg_editor_free(struct kg_editor *editor);

/* NUL-terminated behind its length; valid until the next change. */
const char *kg_editor_text(const struct kg_editor *editor, size_t *length);
size_t kg_editor_cursor(const struct kg_editor *editor);

/* Every change can be undone; false: out of memory, nothing changed. Typing is undone by the word. */
bool kg_editor_insert(struct kg_editor *editor, const char *text, size_t length);
/* Replaces bytes [from, to), the cursor stands behind the new text. */
bool kg_editor_replace(struct kg_editor *editor, size_t from, size_t to, const char *text, size_t length);
/* The whole text; what was there can be had back by undo. */
bool kg_editor_set(struct kg_editor *editor, const char *text, size_t length);
/* False when there is nothing left to undo, or to redo: a change forgets what was undone. */
bool kg_editor_undo(struct kg_editor *editor);
bool kg_editor_redo(struct kg_editor *editor);
/* Changes from here on are undone as one, until it is called again. */
void kg_editor_group(struct kg_editor *editor, bool together);
/* The cursor to the start of the glyph at an offset. */
void kg_editor_place(struct kg_editor *editor, size_t offset);

enum kg_motion {
    KG_MOVE_LEFT,
    KG_MOVE_RIGHT,
    KG_MOVE_WORD_LEFT,
    KG_MOVE_WORD_RIGHT,
    KG_MOVE_LINE_START, /* of the line between newlines */
    KG_MOVE_LINE_END,
    KG_MOVE_START,
    KG_MOVE_END
};
void kg_editor_move(struct kg_editor *editor, enum kg_motion motion);
/* Removes what lies between the cursor and where the motion goes. kill: it can be yanked; kills in a row add up. */
void kg_editor_erase(struct kg_editor *editor, enum kg_motion motion, bool kill);
/* To the end of the line, or the newline when there already. */
void kg_editor_kill_line(struct kg_editor *editor);
void kg_editor_yank(struct kg_editor *editor);
/* A text to be yanked that was not removed. */
void kg_editor_keep(struct kg_editor *editor, const char *text, size_t length);
/* Right behind a yank: the kill before the one that was yanked in its place, around the ring of KG_EDITOR_KILLS. False anywhere else. */
#define KG_EDITOR_KILLS 16
bool kg_editor_yank_pop(struct kg_editor *editor);

/* A row up (-1) or down (1) on a screen where rows are `width` columns, keeping the column; false at the first or
 * last row, the cursor stays. */
bool kg_editor_move_row(struct kg_editor *editor, int direction, int width);

#endif
