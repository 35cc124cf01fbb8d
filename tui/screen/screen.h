/* The model of the screen: cells with characters and a style, drawn into by everybody, sent by one function
 * (kg_terminal_show). It knows no terminal, so that what a person sees can be tested without one.
 */
#ifndef KG_TUI_SCREEN_H
#define KG_TUI_SCREEN_H

#include "base/status.h"
#include "tui/screen/glyph.h"

/* What a text is, not how it looks: a theme knows that, by the name. The letter stands for it in dumps. */
#define KG_STYLE_TABLE(X) \
    X(KG_STYLE_TEXT, '.', "text") \
    X(KG_STYLE_DIM, 'd', "dim") \
    X(KG_STYLE_PROMPT, '>', "prompt") \
    X(KG_STYLE_PERSON, 'p', "person") \
    X(KG_STYLE_CODE, 'c', "code") \
    X(KG_STYLE_CODE_BLOCK, 'k', "code-block") \
    X(KG_STYLE_KEYWORD, 'w', "keyword") \
    X(KG_STYLE_STRING, '"', "string") \
    X(KG_STYLE_COMMENT, '#', "comment") \
    X(KG_STYLE_NUMBER, '0', "number") \
    X(KG_STYLE_MATCH, 'm', "match") \
    X(KG_STYLE_TITLE, 't', "title") \
    X(KG_STYLE_LINK, 'l', "link") \
    X(KG_STYLE_NOTICE, 'n', "notice") \
    X(KG_STYLE_ERROR, 'e', "error") \
    X(KG_STYLE_BAR, 's', "bar") \
    X(KG_STYLE_BAR_BUSY, 'b', "bar-busy") \
    X(KG_STYLE_CHOSEN, '*', "chosen") \
    X(KG_STYLE_ADDED, 'a', "added") \
    X(KG_STYLE_REMOVED, 'r', "removed")

enum kg_style {
#define KG_STYLE_ENUM(style, letter, name) style,
    KG_STYLE_TABLE(KG_STYLE_ENUM)
#undef KG_STYLE_ENUM
        KG_STYLE_COUNT
};
/* Joined to a style by |. */
enum { KG_BOLD = 0x100, KG_ITALIC = 0x200, KG_UNDERLINE = 0x400, KG_REVERSE = 0x800 };

struct kg_cell {
    uint32_t chars[KG_CELL_CHARS]; /* 0 behind the last; a blank cell holds ' ' */
    uint16_t style;
    uint8_t width;                 /* 1 or 2; 0: the right half of the cell before */
};

struct kg_screen {
    int rows, columns;
    struct kg_cell *cells;          /* rows * columns */
    int cursor_row, cursor_column;  /* cursor_row < 0: hidden */
};

#define KG_SCREEN_MOST 2000 /* rows and columns are kept within 1 to this */

struct kg_screen *kg_screen_create(int rows, int columns); /* blank; NULL when out of memory */
void kg_screen_free(struct kg_screen *screen);             /* NULL is fine */
/* Blank, of a new size; false when out of memory, the old one stays. */
bool kg_screen_resize(struct kg_screen *screen, int rows, int columns);
void kg_screen_clear(struct kg_screen *screen);

/* Blanks columns [from, to) of a row. Here and below, what lies outside the screen is left out. */
void kg_screen_fill(struct kg_screen *screen, int row, int from, int to, unsigned style);

/* Puts a glyph if all of it fits before column `limit`; returns the column behind it, or the same column. Escapes are
 * shown in reverse. Tabs and newlines in a glyph show nothing. */
int kg_screen_put_glyph(struct kg_screen *screen, int row, int column, int limit, const struct kg_glyph *glyph, unsigned style);

/* Puts one line of text, tabs as a space and newlines as ^J; returns the column behind what fitted before limit. */
int kg_screen_put(struct kg_screen *screen, int row, int column, int limit, const char *text, size_t length, unsigned style);
int kg_screen_puts(struct kg_screen *screen, int row, int column, int limit, const char *text, unsigned style);

/* The same, ending in a "…" when it does not fit. */
int kg_screen_put_cut(struct kg_screen *screen, int row, int column, int limit, const char *text, size_t length, unsigned style);

/* Columns [from, to) of a row keep their characters and look otherwise. */
void kg_screen_restyle(struct kg_screen *screen, int row, int from, int to, unsigned style);

const struct kg_cell *kg_screen_cell(const struct kg_screen *screen, int row, int column);

/* A row as UTF-8 without blanks at its end, or (styles) one letter of KG_STYLE_TABLE a column: upper case where a
 * letter is bold (':' for plain text), '!' where it is reversed, ' ' where an unstyled cell is blank. Cut to capacity. */
void kg_screen_row_text(const struct kg_screen *screen, int row, char *out, size_t capacity);
void kg_screen_row_styles(const struct kg_screen *screen, int row, char *out, size_t capacity);

#endif
