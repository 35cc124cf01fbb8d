#include "tui/interface/view.h"

#include <string.h>

#include "tui/screen/wrap.h"

#define CANDIDATES_SHOWN 20
#define NAME_LEAST       24 /* columns of a candidate, before it is cut for its help */

int kg_view_input_width(int columns)
{
    int width = columns - KG_PROMPT_COLUMNS - 1; /* the cursor may stand behind the last character */
    return width < 2 ? 2 : width;
}

struct input {
    const char *text;
    size_t length, cursor;
    int width;
};

static struct kg_row row_at(const struct input *input, size_t start)
{
    struct kg_row row;
    kg_wrap_row(input->text, input->length, start, input->width, true, &row);
    return row;
}

/* There is another row below: more text, or the empty row behind a newline at the end. */
static bool has_next(const struct input *input, const struct kg_row *row)
{
    return row->next < input->length || (row->end < input->length && input->text[input->length - 1] == '\n');
}

static bool holds(const struct input *input, const struct kg_row *row, size_t offset)
{
    return offset >= row->start && (offset < row->next || !has_next(input, row));
}

static size_t line_start(const struct input *input, size_t at)
{
    const char *newline = memrchr(input->text, '\n', at);
    return newline ? (size_t)(newline - input->text) + 1 : 0;
}

/* Start of the row that holds an offset. */
static size_t row_start(const struct input *input, size_t offset)
{
    struct kg_row row = row_at(input, line_start(input, offset));
    while (!row.newline && offset >= row.next)
        row = row_at(input, row.next);
    return row.start;
}

static int count_rows(const struct input *input, int enough)
{
    int rows = 1;
    struct kg_row row = row_at(input, 0);
    for (; rows < enough && has_next(input, &row); rows++)
        row = row_at(input, row.next);
    return rows;
}

/* Moves the input's first row as little as it takes to see the cursor. */
static size_t scrolled_top(const struct input *input, size_t top, int rows)
{
    size_t at = row_start(input, input->cursor);
    if (top > input->length || row_start(input, top) != top || at < top)
        return at;
    struct kg_row row = row_at(input, top);
    for (int i = 0; i < rows; i++) {
        if (holds(input, &row, input->cursor))
            return top;
        row = row_at(input, row.next);
    }
    for (int i = 1; i < rows && at > 0; i++)
        at = row_start(input, at - 1);
    return at;
}

static void put_cursor(struct kg_screen *screen, int row, int column)
{
    screen->cursor_row = row;
    screen->cursor_column = column < screen->columns ? column : screen->columns - 1;
}

static void draw_row(struct kg_screen *screen, const struct input *input, const struct kg_row *row, int at)
{
    int column = KG_PROMPT_COLUMNS;
    bool has_cursor = holds(input, row, input->cursor);
    struct kg_glyph glyph;
    for (size_t i = row->start; i < row->end; i += glyph.bytes) {
        if (has_cursor && i >= input->cursor && screen->cursor_row < 0)
            put_cursor(screen, at, column);
        kg_glyph_next(input->text + i, row->end - i, &glyph);
        if (glyph.kind == KG_GLYPH_TAB)
            column += kg_tab_width(column - KG_PROMPT_COLUMNS);
        else
            column = kg_screen_put_glyph(screen, at, column, screen->columns, &glyph, KG_STYLE_TEXT);
    }
    if (has_cursor && screen->cursor_row < 0)
        put_cursor(screen, at, column);
}

static int draw_legend(const struct kg_view *view, struct kg_screen *screen)
{
    kg_screen_put_cut(screen, screen->rows - 1, screen->columns > 20, screen->columns - 1, view->legend, strlen(view->legend), KG_STYLE_DIM);
    return 1;
}

static struct input input_of(const struct kg_view *view, const struct kg_screen *screen)
{
    struct input input = { .cursor = kg_editor_cursor(view->editor), .width = kg_view_input_width(screen->columns) };
    input.text = kg_editor_text(view->editor, &input.length);
    return input;
}

static int draw_input(struct kg_view *view, struct kg_screen *screen)
{
    view->input_rows = 0;
    if (view->legend)
        return draw_legend(view, screen);
    struct input input = input_of(view, screen);
    int most = screen->rows / 3 > 0 ? screen->rows / 3 : 1;
    int rows = count_rows(&input, most + 1), first;
    bool scrolls = rows > most;
    rows = scrolls ? most : rows;
    first = screen->rows - rows;
    view->input_top = scrolls ? scrolled_top(&input, view->input_top, rows) : 0;
    kg_screen_puts(screen, first, 0, screen->columns, view->prompt, KG_STYLE_PROMPT);
    if (input.length == 0)
        kg_screen_put_cut(screen, first, KG_PROMPT_COLUMNS, screen->columns, view->placeholder, strlen(view->placeholder), KG_STYLE_DIM);
    struct kg_row row = row_at(&input, view->input_top);
    for (int i = 0; i < rows; i++) {
        draw_row(screen, &input, &row, first + i);
        if (!has_next(&input, &row))
            break;
        row = row_at(&input, row.next);
    }
    int noted = view->note ? (int)kg_text_width(view->note, strlen(view->note)) : 0;
    if (noted > 0 && noted < screen->columns / 2)
        kg_screen_puts(screen, first, screen->columns - noted - 1, screen->columns, view->note, KG_STYLE_DIM);
    view->input_row = first;
    view->input_rows = rows;
    return rows;
}

bool kg_view_input_at(const struct kg_view *view, const struct kg_screen *screen, int row, int column, size_t *offset)
{
    if (row < view->input_row || row >= view->input_row + view->input_rows)
        return false;
    struct input input = input_of(view, screen);
    struct kg_row at = row_at(&input, view->input_top);
    for (int i = view->input_row; i < row && has_next(&input, &at); i++)
        at = row_at(&input, at.next);
    struct kg_glyph glyph;
    int reached = KG_PROMPT_COLUMNS;
    for (*offset = at.start; *offset < at.end; *offset += glyph.bytes) {
        kg_glyph_next(input.text + *offset, at.end - *offset, &glyph);
        reached += glyph.kind == KG_GLYPH_TAB ? kg_tab_width(reached - KG_PROMPT_COLUMNS) : glyph.width;
        if (reached > column)
            break;
    }
    return true;
}

/* Where what helps begins beside the words it belongs to; a long one of these is cut for it. */
static int help_column(const struct kg_view *view, int first, int shown, int columns)
{
    int widest = 0, most = columns / 2 > NAME_LEAST ? columns / 2 : NAME_LEAST;
    for (int i = first; i < first + shown; i++) {
        const char *help, *text = kg_completion_shown(view->completion, (size_t)i, &help);
        int width = (int)kg_text_width(text, strlen(text));
        widest = width > widest ? width : widest;
    }
    return KG_PROMPT_COLUMNS + (widest < most ? widest : most) + 2;
}

static void draw_candidates(const struct kg_view *view, struct kg_screen *screen, int below)
{
    int count = (int)kg_completion_count(view->completion), chosen = kg_completion_chosen(view->completion);
    int shown = count < CANDIDATES_SHOWN ? count : CANDIDATES_SHOWN;
    shown = shown < below ? shown : below;
    int first = chosen >= shown ? chosen - shown + 1 : 0, beside = help_column(view, first, shown, screen->columns);
    for (int i = 0; i < shown; i++) {
        int index = first + i;
        const char *help, *text = kg_completion_shown(view->completion, (size_t)index, &help);
        unsigned style = index == chosen ? KG_STYLE_CHOSEN : KG_STYLE_BAR;
        int row = below - shown + i, end = screen->columns - 1;
        bool helped = *help && beside < screen->columns - 8;
        kg_screen_fill(screen, row, 0, screen->columns, style);
        kg_screen_put_cut(screen, row, KG_PROMPT_COLUMNS, helped ? beside - 2 : end, text, strlen(text), style);
        if (helped)
            kg_screen_put_cut(screen, row, beside, end, help, strlen(help), style);
    }
}

void kg_view_draw(struct kg_view *view, struct kg_screen *screen)
{
    kg_screen_clear(screen);
    int input = draw_input(view, screen);
    int bar = screen->rows - input - 1;
    if (bar >= 0)
        kg_status_line_draw(view->status, screen, bar);
    view->page = bar > 0 ? bar : 0;
    view->pane_column = screen->columns;
    if (bar <= 0)
        return;
    if (view->review) {
        kg_review_draw(view->review, screen, bar);
        return;
    }
    if (view->sessions) {
        kg_session_list_draw(view->sessions, screen, bar);
        return;
    }
    int gap = bar >= 12; /* an empty row above the status line where there is room */
    int pane = view->pane ? kg_pane_width(view->pane, screen->columns) : 0, columns = screen->columns - pane;
    kg_transcript_set_window(view->transcript, bar - gap, columns > 0 ? columns : screen->columns);
    if (columns > 0)
        kg_transcript_draw(view->transcript, screen, 0);
    if (pane > 0)
        kg_pane_draw(view->pane, screen, bar - gap, columns);
    view->pane_column = columns;
    if (columns > 0 && kg_transcript_more_below(view->transcript)) {
        static const char more[] = " ↓ more ";
        int width = (int)kg_text_width(more, strlen(more));
        kg_screen_puts(screen, bar - 1, columns - width - 1, columns, more, KG_STYLE_BAR_BUSY);
    }
    draw_candidates(view, screen, bar);
    view->page = bar - gap;
}
