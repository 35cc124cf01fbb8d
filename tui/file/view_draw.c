/* What the file view shows: lines of the text beside their numbers, the ghost at the cursor, and one row that says what goes on.
 *
 *   the ghost's first line follows the cursor, its others push down what is behind; what stood behind the cursor follows its end
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tui/file/view_state.h"
#include "tui/screen/wrap.h"
#include "tui/transcript/highlight.h"

#define LEXED_BEFORE 200    /* lines before the first one that is seen, where a comment may begin */
#define LEXED_MOST   262144 /* bytes */
#define LEAST_FOR_NUMBERS 30 /* columns */

struct drawing {
    struct kg_file_view *view;
    const char *bytes;
    size_t length;
    uint8_t *styles; /* of bytes [lexed_from, lexed_to); NULL: all plain */
    size_t lexed_from, lexed_to;
    size_t selected_from, selected_to;
    int gutter, row;
    size_t column; /* of the line that is drawn, from its start */
};

static int gutter_of(const struct kg_file_view *view)
{
    char number[24];
    return view->screen->columns < LEAST_FOR_NUMBERS ? 0 : snprintf(number, sizeof number, "%zu", kg_text_lines(view->edit.text)) + 1;
}

static void scroll(struct kg_file_view *view, int gutter)
{
    size_t line = kg_text_line_of(view->edit.text, view->edit.cursor), column = kg_edit_column(view->edit.text, view->edit.cursor);
    size_t rows = view->screen->rows > 1 ? (size_t)view->screen->rows - 1 : 1;
    size_t columns = view->screen->columns > gutter + 1 ? (size_t)(view->screen->columns - gutter) : 1, margin = columns / 8;
    if (line < view->top)
        view->top = line;
    else if (line >= view->top + 4 * rows) /* far away: in the middle */
        view->top = line - rows / 2;
    else if (line >= view->top + rows)
        view->top = line - rows + 1;
    if (column < view->left)
        view->left = column > margin ? column - margin : 0;
    else if (column >= view->left + columns)
        view->left = column - columns + 1 + margin;
    if (column < columns)
        view->left = 0;
}

struct lexing {
    struct drawing *drawing;
    size_t at;
};

static void take_style(void *ctx, const char *piece, size_t length, unsigned style)
{
    struct lexing *lexing = ctx;
    (void)piece;
    memset(lexing->drawing->styles + lexing->at, (int)(style == KG_STYLE_CODE_BLOCK ? KG_STYLE_TEXT : style), length);
    lexing->at += length;
}

static void lex(struct drawing *d)
{
    const struct kg_file_view *view = d->view;
    size_t first = view->top > LEXED_BEFORE ? view->top - LEXED_BEFORE : 0, lines = kg_text_lines(view->edit.text);
    size_t last = view->top + (size_t)view->screen->rows < lines ? view->top + (size_t)view->screen->rows : lines;
    d->lexed_from = kg_text_line_start(view->edit.text, first);
    d->lexed_to = kg_text_line_end(view->edit.text, last - 1);
    if (d->lexed_to - d->lexed_from > LEXED_MOST)
        return;
    d->styles = malloc(d->lexed_to - d->lexed_from + 1);
    struct lexing lexing = { .drawing = d };
    if (d->styles)
        kg_highlight(view->language, strlen(view->language), d->bytes + d->lexed_from, d->lexed_to - d->lexed_from, take_style, &lexing);
}

static unsigned style_at(const struct drawing *d, size_t offset)
{
    unsigned style = d->styles && offset >= d->lexed_from && offset < d->lexed_to ? d->styles[offset - d->lexed_from] : KG_STYLE_TEXT;
    return offset >= d->selected_from && offset < d->selected_to ? style | KG_REVERSE : style;
}

/* One glyph at the line's column, if it is seen. */
static void put(struct drawing *d, const struct kg_glyph *glyph, unsigned style)
{
    struct kg_screen *screen = d->view->screen;
    size_t left = d->view->left, width = glyph->kind == KG_GLYPH_TAB ? (size_t)kg_tab_width((int)(d->column % KG_TAB_COLUMNS)) : glyph->width;
    size_t end = d->column + width;
    int limit = screen->columns;
    if (end > left && d->column < left + (size_t)limit) {
        int from = d->gutter + (d->column > left ? (int)(d->column - left) : 0), to = d->gutter + (int)(end - left);
        if (glyph->kind == KG_GLYPH_TAB || d->column < left)
            kg_screen_fill(screen, d->row, from, to < limit ? to : limit, style);
        else
            kg_screen_put_glyph(screen, d->row, from, limit, glyph, style);
    }
    d->column = end;
}

/* Of the text, with the styles that its bytes have; returns when the row is full. */
static void put_text(struct drawing *d, size_t from, size_t to)
{
    struct kg_glyph glyph;
    size_t most = d->view->left + (size_t)d->view->screen->columns;
    for (size_t at = from; at < to && d->column < most; at += glyph.bytes) {
        kg_glyph_next(d->bytes + at, to - at, &glyph);
        put(d, &glyph, style_at(d, at));
    }
}

/* A line end that is selected shows. */
static void put_line_end(struct drawing *d, size_t end)
{
    static const struct kg_glyph blank = { .bytes = 1, .kind = KG_GLYPH_SPACE, .width = 1, .cells = 1, .cell = { { .chars = { ' ' }, .width = 1 } } };
    if (end >= d->selected_from && end < d->selected_to)
        put(d, &blank, KG_STYLE_TEXT | KG_REVERSE);
}

static void put_number(struct drawing *d, size_t line)
{
    char number[24];
    if (d->gutter == 0)
        return;
    int n = snprintf(number, sizeof number, "%zu", line + 1);
    kg_screen_puts(d->view->screen, d->row, d->gutter - 1 - n, d->gutter, number, KG_STYLE_DIM);
}

/* The ghost behind the cursor; false when the screen ends before it does. */
static bool put_ghost(struct drawing *d)
{
    const struct kg_ghost *ghost = &d->view->ghost;
    struct kg_glyph glyph;
    for (size_t at = 0; at < ghost->length; at += glyph.bytes) {
        kg_glyph_next(ghost->text + at, ghost->length - at, &glyph);
        if (glyph.kind != KG_GLYPH_NEWLINE) {
            put(d, &glyph, KG_STYLE_DIM);
            continue;
        }
        d->column = 0;
        if (++d->row >= d->view->screen->rows - 1)
            return false;
    }
    return true;
}

static void put_line(struct drawing *d, size_t line)
{
    struct kg_file_view *view = d->view;
    size_t start = kg_text_line_start(view->edit.text, line), end = kg_text_line_end(view->edit.text, line), cursor = view->edit.cursor;
    bool here = cursor >= start && cursor <= end;
    d->column = 0;
    put_number(d, line);
    put_text(d, start, here ? cursor : end);
    if (here) {
        size_t column = kg_edit_column(view->edit.text, cursor);
        view->screen->cursor_row = d->row;
        view->screen->cursor_column = d->gutter + (int)(column - view->left);
        d->column = column;
        if (view->ghost.length && !put_ghost(d))
            return;
        put_text(d, cursor, end);
    }
    put_line_end(d, end);
}

static void describe_model(const struct kg_file_view *view, char *out, size_t capacity)
{
    const char *doing = !view->suggest ? "no completion" : !view->model[0] ? "loading the model" : view->writing ? "completing" : view->model;
    size_t column = kg_edit_column(view->edit.text, view->edit.cursor) + 1, line = kg_text_line_of(view->edit.text, view->edit.cursor) + 1;
    snprintf(out, capacity, "%s%s · %zu:%zu ", doing, view->file.utf16 ? " · UTF-16" : view->file.crlf ? " · CR LF" : "", line, column);
}

/* The last row. */
static void put_bar(struct kg_file_view *view)
{
    struct kg_screen *screen = view->screen;
    int row = screen->rows - 1, columns = screen->columns, at = 0;
    const char *name = view->options->place->label;
    char right[256];
    size_t length;
    const char *line = kg_editor_text(view->line, &length);
    kg_screen_fill(screen, row, 0, columns, KG_STYLE_BAR);
    switch (view->mode) {
    case KG_FILE_SEARCH:
    case KG_FILE_GO_TO:
        at = kg_screen_puts(screen, row, 0, columns, view->mode == KG_FILE_SEARCH ? " find " : " line ", KG_STYLE_BAR);
        at = kg_screen_put(screen, row, at, columns - 1, line, length, KG_STYLE_BAR);
        screen->cursor_row = row;
        screen->cursor_column = at;
        kg_screen_puts(screen, row, at + 2, columns, view->hint, KG_STYLE_BAR);
        break;
    case KG_FILE_CHANGE:
        snprintf(right, sizeof right, view->wish_first == view->wish_last ? " change line %u: " : " change lines %u-%u: ", view->wish_first, view->wish_last);
        at = kg_screen_puts(screen, row, 0, columns, right, KG_STYLE_BAR);
        for (struct kg_glyph glyph; length > 0 && (int)kg_text_width(line, length) > columns - 1 - at; line += glyph.bytes, length -= glyph.bytes)
            kg_glyph_next(line, length, &glyph);
        at = kg_screen_put(screen, row, at, columns - 1, line, length, KG_STYLE_BAR);
        screen->cursor_row = row;
        screen->cursor_column = at;
        break;
    case KG_FILE_LEAVE:
        kg_screen_puts(screen, row, 0, columns, " save what was changed? y, n, or Esc to go on", KG_STYLE_BAR);
        break;
    case KG_FILE_OVERWRITE:
        kg_screen_puts(screen, row, 0, columns, " somebody else changed this file: write over it? y, n", KG_STYLE_BAR);
        break;
    default:
        describe_model(view, right, sizeof right);
        int width = (int)kg_text_width(right, strlen(right)), room = columns - width - 1;
        room = room < columns / 2 ? columns / 2 : room;
        at = kg_screen_puts(screen, row, 0, room, kg_text_is_saved(view->edit.text) ? " " : " * ", KG_STYLE_BAR);
        if (view->hint[0])
            at = kg_screen_put_cut(screen, row, at, columns, view->hint, strlen(view->hint), KG_STYLE_BAR);
        else
            at = kg_screen_put_cut(screen, row, at, room, name, strlen(name), KG_STYLE_BAR);
        if (at + width < columns)
            kg_screen_puts(screen, row, columns - width, columns, right, KG_STYLE_BAR);
    }
}

void kg_file_draw(struct kg_file_view *view)
{
    struct drawing d = { .view = view, .gutter = gutter_of(view) };
    size_t lines = kg_text_lines(view->edit.text);
    scroll(view, d.gutter);
    kg_screen_clear(view->screen);
    d.bytes = kg_text_bytes(view->edit.text, &d.length);
    kg_edit_selection(&view->edit, &d.selected_from, &d.selected_to);
    lex(&d);
    for (size_t line = view->top; line < lines && d.row < view->screen->rows - 1; line++, d.row++)
        put_line(&d, line);
    free(d.styles);
    put_bar(view);
}
