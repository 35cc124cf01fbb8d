/* What a piece of text looks like on a screen of cells: the next grapheme, its cells and its width.
 *
 * Nothing that a text holds reaches a terminal as anything but a printable character. Shown in a visible form
 * (escape is set):
 *
 *   C0 and DEL      ^[ ^?        invalid UTF-8     \x9b, byte by byte
 *   C1, bidi controls, zero-width, format, private use and unassigned characters, stray variation
 *   selectors       <U+202E>     flags             their letters
 *
 * Emoji are brought to the form whose width all terminals agree on: joined ones stand side by side, one presentation
 * selector and the skin tone are left out. Widths are utf8proc's, but conjoining Hangul counts once, and spacing
 * marks have the cell that most terminals give them.
 */
#ifndef KG_TUI_GLYPH_H
#define KG_TUI_GLYPH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define KG_CELL_CHARS 5   /* one character of width 1 or 2 and up to four marks on it; more marks are not shown */
#define KG_GLYPH_CELLS 10 /* longer graphemes are shown as several glyphs */

enum kg_glyph_kind {
    KG_GLYPH_TEXT,
    KG_GLYPH_SPACE,  /* a space of any width; a line may end here */
    KG_GLYPH_TAB,    /* no cells: whoever lays out the line knows its width */
    KG_GLYPH_NEWLINE /* no cells: "\n" or "\r\n" */
};

struct kg_glyph {
    size_t bytes; /* of the text, at least 1 */
    enum kg_glyph_kind kind;
    bool escape;
    uint8_t width; /* columns: the sum over the cells */
    uint8_t cells;
    struct {
        uint32_t chars[KG_CELL_CHARS]; /* Unicode, 0 behind the last */
        uint8_t width;                 /* 1 or 2 */
    } cell[KG_GLYPH_CELLS];
};

/* The glyph at the start of text (length at least 1). */
void kg_glyph_next(const char *text, size_t length, struct kg_glyph *out);

/* Bytes from the start of text to the last glyph boundary before `before` (at most length); 0 when there is none. */
size_t kg_glyph_boundary_before(const char *text, size_t length, size_t before);

/* Columns of a text without tabs and newlines. */
unsigned kg_text_width(const char *text, size_t length);

/* Writes code as UTF-8 to out, returns its bytes (1 to 4). */
unsigned kg_utf8_encode(uint32_t code, char out[4]);

#endif
