/* Editing a text: a cursor that moves by characters as they are seen, words, lines and pages, a selection, a clipboard, search.
 * Offsets are bytes of the text at boundaries of glyphs (tui/screen/glyph.h); columns are those of a screen, where a tab reaches to
 * the next multiple of KG_TAB_COLUMNS.
 */
#ifndef KG_TUI_FILE_EDIT_H
#define KG_TUI_FILE_EDIT_H

#include "tui/file/text.h"

struct kg_edit {
    struct kg_text *text; /* the owner's */
    size_t cursor, anchor; /* what is selected lies between them */
    size_t goal;           /* column that moves up and down go for */
    bool keeps_goal;       /* the last key was one of those */
    bool typing;           /* the last one typed: the next one is undone with it */
    char *clip;            /* cut or copied last */
    size_t clip_length;
};

void kg_edit_clear(struct kg_edit *edit); /* frees what is its own */

enum kg_edit_motion {
    KG_EDIT_LEFT,
    KG_EDIT_RIGHT,
    KG_EDIT_WORD_LEFT,
    KG_EDIT_WORD_RIGHT,
    KG_EDIT_UP,
    KG_EDIT_DOWN,
    KG_EDIT_LINE_START, /* of its text, and then of the line */
    KG_EDIT_LINE_END,
    KG_EDIT_START,
    KG_EDIT_END
};
/* `times` matters up and down. select: what is passed over is selected as well. */
void kg_edit_move(struct kg_edit *edit, enum kg_edit_motion motion, size_t times, bool select);
void kg_edit_go(struct kg_edit *edit, size_t offset, bool select);
void kg_edit_select_all(struct kg_edit *edit);
/* [from, to); equal: nothing is selected. */
void kg_edit_selection(const struct kg_edit *edit, size_t *from, size_t *to);

/* What is selected is replaced. False, here and below: out of memory, nothing changed. */
bool kg_edit_insert(struct kg_edit *edit, const char *bytes, size_t length);
bool kg_edit_type(struct kg_edit *edit, const char *bytes, size_t length); /* undone by the word */
/* A line end, and the white space that the line begins with. */
bool kg_edit_newline(struct kg_edit *edit);
/* A tab, or blanks to the next multiple of KG_TAB_COLUMNS where the text's lines begin with blanks. */
bool kg_edit_tab(struct kg_edit *edit);
/* What is selected, else what the motion passes over. */
bool kg_edit_erase(struct kg_edit *edit, enum kg_edit_motion motion);
bool kg_edit_copy(struct kg_edit *edit); /* the line when nothing is selected */
bool kg_edit_cut(struct kg_edit *edit);
bool kg_edit_paste(struct kg_edit *edit);
/* False when there is nothing. */
bool kg_edit_undo(struct kg_edit *edit);
bool kg_edit_redo(struct kg_edit *edit);

/* The next place of the bytes from `from` on, around the end; without an upper-case letter both cases match. SIZE_MAX: nowhere. */
size_t kg_edit_find(const struct kg_edit *edit, const char *pattern, size_t length, size_t from);

/* The screen column of an offset in its line, and the offset in a line that is nearest to a column. */
size_t kg_edit_column(const struct kg_text *text, size_t offset);
size_t kg_edit_offset_at(const struct kg_text *text, size_t line, size_t column);

#endif
