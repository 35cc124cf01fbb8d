#include "tui/screen/screen.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

static int within(int n)
{
    return n < 1 ? 1 : n > KG_SCREEN_MOST ? KG_SCREEN_MOST : n;
}

struct kg_screen *kg_screen_create(int rows, int columns)
{
    struct kg_screen *screen = calloc(1, sizeof *screen);
    if (screen && !kg_screen_resize(screen, rows, columns)) {
        free(screen);
        return NULL;
    }
    return screen;
}

void kg_screen_free(struct kg_screen *screen)
{
    if (screen)
        free(screen->cells);
    free(screen);
}

bool kg_screen_resize(struct kg_screen *screen, int rows, int columns)
{
    rows = within(rows);
    columns = within(columns);
    struct kg_cell *cells = calloc((size_t)rows * (size_t)columns, sizeof *cells);
    if (!cells)
        return false;
    free(screen->cells);
    screen->cells = cells;
    screen->rows = rows;
    screen->columns = columns;
    kg_screen_clear(screen);
    return true;
}

void kg_screen_clear(struct kg_screen *screen)
{
    for (int row = 0; row < screen->rows; row++)
        kg_screen_fill(screen, row, 0, screen->columns, KG_STYLE_TEXT);
    screen->cursor_row = -1;
    screen->cursor_column = 0;
}

static void set_blank(struct kg_cell *cell, unsigned style)
{
    memset(cell, 0, sizeof *cell);
    cell->chars[0] = ' ';
    cell->width = 1;
    cell->style = (uint16_t)style;
}

/* Before columns [from, to) are written: halves of wide characters that reach over their ends become blanks. */
static void cut_halves(const struct kg_screen *screen, int row, int from, int to)
{
    struct kg_cell *cells = screen->cells + (size_t)row * (size_t)screen->columns;
    if (from > 0 && cells[from].width == 0)
        set_blank(&cells[from - 1], cells[from - 1].style);
    if (to < screen->columns && cells[to].width == 0)
        set_blank(&cells[to], cells[to].style);
}

void kg_screen_fill(struct kg_screen *screen, int row, int from, int to, unsigned style)
{
    from = from < 0 ? 0 : from;
    to = to > screen->columns ? screen->columns : to;
    if (row < 0 || row >= screen->rows || from >= to)
        return;
    cut_halves(screen, row, from, to);
    for (int column = from; column < to; column++)
        set_blank(&screen->cells[(size_t)row * (size_t)screen->columns + (size_t)column], style);
}

void kg_screen_restyle(struct kg_screen *screen, int row, int from, int to, unsigned style)
{
    for (int column = from < 0 ? 0 : from; row >= 0 && row < screen->rows && column < to && column < screen->columns; column++)
        screen->cells[(size_t)row * (size_t)screen->columns + (size_t)column].style = (uint16_t)style;
}

int kg_screen_put_glyph(struct kg_screen *screen, int row, int column, int limit, const struct kg_glyph *glyph, unsigned style)
{
    limit = limit > screen->columns ? screen->columns : limit;
    if (row < 0 || row >= screen->rows || column < 0 || glyph->width == 0 || column + glyph->width > limit)
        return column;
    cut_halves(screen, row, column, column + glyph->width);
    style = glyph->escape ? style ^ KG_REVERSE : style;
    struct kg_cell *cell = screen->cells + (size_t)row * (size_t)screen->columns + (size_t)column;
    for (unsigned i = 0; i < glyph->cells; i++) {
        memcpy(cell->chars, glyph->cell[i].chars, sizeof cell->chars);
        cell->style = (uint16_t)style;
        cell->width = glyph->cell[i].width;
        if (cell->width == 2) {
            memset(cell + 1, 0, sizeof *cell);
            cell[1].style = (uint16_t)style;
        }
        cell += cell->width;
    }
    return column + glyph->width;
}

int kg_screen_put(struct kg_screen *screen, int row, int column, int limit, const char *text, size_t length, unsigned style)
{
    limit = limit > screen->columns ? screen->columns : limit;
    struct kg_glyph glyph;
    for (size_t at = 0; at < length && column < limit; at += glyph.bytes) {
        kg_glyph_next(text + at, length - at, &glyph);
        if (glyph.kind == KG_GLYPH_TAB) {
            column = kg_screen_put(screen, row, column, limit, " ", 1, style);
        } else if (glyph.kind == KG_GLYPH_NEWLINE) {
            column = kg_screen_put(screen, row, column, limit, "^J", 2, style ^ KG_REVERSE);
        } else {
            int next = kg_screen_put_glyph(screen, row, column, limit, &glyph, style);
            if (next == column)
                break;
            column = next;
        }
    }
    return column;
}

int kg_screen_puts(struct kg_screen *screen, int row, int column, int limit, const char *text, unsigned style)
{
    return kg_screen_put(screen, row, column, limit, text, strlen(text), style);
}

/* Columns that kg_screen_put needs, at most `enough` + 1. */
static int columns_of(const char *text, size_t length, int enough)
{
    int columns = 0;
    struct kg_glyph glyph;
    for (size_t at = 0; at < length && columns <= enough; at += glyph.bytes) {
        kg_glyph_next(text + at, length - at, &glyph);
        columns += glyph.kind == KG_GLYPH_TAB ? 1 : glyph.kind == KG_GLYPH_NEWLINE ? 2 : glyph.width;
    }
    return columns;
}

int kg_screen_put_cut(struct kg_screen *screen, int row, int column, int limit, const char *text, size_t length, unsigned style)
{
    limit = limit > screen->columns ? screen->columns : limit;
    if (columns_of(text, length, limit - column) <= limit - column)
        return kg_screen_put(screen, row, column, limit, text, length, style);
    column = kg_screen_put(screen, row, column, limit - 1, text, length, style);
    return kg_screen_puts(screen, row, column, limit, "…", style);
}

const struct kg_cell *kg_screen_cell(const struct kg_screen *screen, int row, int column)
{
    return &screen->cells[(size_t)row * (size_t)screen->columns + (size_t)column];
}

void kg_screen_row_text(const struct kg_screen *screen, int row, char *out, size_t capacity)
{
    size_t used = 0, end = 0;
    for (int column = 0; column < screen->columns; column++) {
        const struct kg_cell *cell = kg_screen_cell(screen, row, column);
        for (unsigned i = 0; i < KG_CELL_CHARS && cell->chars[i]; i++) {
            char bytes[4];
            unsigned n = kg_utf8_encode(cell->chars[i], bytes);
            if (used + n >= capacity)
                break;
            memcpy(out + used, bytes, n);
            used += n;
            if (cell->chars[0] != ' ')
                end = used;
        }
    }
    out[end] = '\0';
}

void kg_screen_row_styles(const struct kg_screen *screen, int row, char *out, size_t capacity)
{
    static const char letters[KG_STYLE_COUNT] = {
#define KG_STYLE_LETTER(style, letter, name) [style] = (letter),
        KG_STYLE_TABLE(KG_STYLE_LETTER)
#undef KG_STYLE_LETTER
    };
    size_t end = 0;
    for (int column = 0; column < screen->columns && (size_t)column + 1 < capacity; column++) {
        const struct kg_cell *cell = kg_screen_cell(screen, row, column);
        char letter = letters[cell->style & 0xff];
        if (cell->style & KG_REVERSE)
            letter = '!';
        else if (cell->style & KG_BOLD)
            letter = letter == '.' ? ':' : (char)toupper(letter);
        else if (cell->style == KG_STYLE_TEXT && cell->chars[0] == ' ')
            letter = ' ';
        out[column] = letter;
        if (letter != ' ')
            end = (size_t)column + 1;
    }
    out[end] = '\0';
}
