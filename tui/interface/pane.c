#include "tui/interface/pane.h"

#include <string.h>

#include "tui/interface/figures.h"

#define BESIDE 72 /* columns of a screen that has room for both */
#define LEAST 30
#define MOST 60
#define FILE_ROWS 2
#define HEAD_ROWS 4 /* title, meter, legend of it, an empty row */

int kg_pane_width(const struct kg_pane *pane, int columns)
{
    if (!pane->open)
        return 0;
    if (columns < BESIDE)
        return pane->focused ? columns : 0;
    int width = columns * 2 / 5;
    return width < LEAST ? LEAST : width > MOST ? MOST : width;
}

static bool file_at(const struct kg_pane *pane, size_t index, struct kg_context_file *out)
{
    size_t at = 0;
    for (size_t i = 0; kg_context_file_next(pane->files, pane->files_length, &at, out); i++)
        if (i == index)
            return true;
    return false;
}

static size_t count_files(const struct kg_pane *pane, uint64_t *tokens)
{
    struct kg_context_file file;
    size_t at = 0, count = 0;
    for (*tokens = 0; kg_context_file_next(pane->files, pane->files_length, &at, &file); count++)
        *tokens += file.talk ? 0 : file.tokens;
    return count;
}

bool kg_pane_move(struct kg_pane *pane, int direction)
{
    struct kg_context_file file;
    size_t next = pane->chosen + (size_t)(long)direction; /* wraps around below 0 */
    if (!file_at(pane, next, &file))
        return false;
    pane->chosen = next;
    return true;
}

bool kg_pane_chosen(const struct kg_pane *pane, struct kg_context_file *out)
{
    return file_at(pane, pane->chosen, out);
}

/* The end of a path tells more than its beginning. */
static void put_path(struct kg_screen *screen, int row, int from, int limit, const char *path, unsigned style)
{
    size_t length = strlen(path);
    struct kg_glyph glyph;
    if ((int)kg_text_width(path, length) > limit - from) {
        from = kg_screen_puts(screen, row, from, limit, "…", style);
        while (length > 0 && (int)kg_text_width(path, length) > limit - from) {
            kg_glyph_next(path, length, &glyph);
            path += glyph.bytes;
            length -= glyph.bytes;
        }
    }
    kg_screen_put(screen, row, from, limit, path, length, style);
}

/* [####==      ]: files, the conversation, room. */
static void draw_meter(const struct kg_pane *pane, struct kg_screen *screen, int row, int from, int limit, uint64_t file_tokens)
{
    int width = limit - from - 2;
    double limit_tokens = pane->context_limit;
    uint64_t all = pane->context_tokens > file_tokens ? pane->context_tokens : file_tokens;
    if (width < 1 || pane->context_limit == 0)
        return;
    int files = (int)((double)file_tokens / limit_tokens * width + 0.5), taken = (int)((double)all / limit_tokens * width + 0.5);
    unsigned style = (double)all > 0.9 * limit_tokens ? KG_STYLE_ERROR : (double)all > 0.75 * limit_tokens ? KG_STYLE_NOTICE : KG_STYLE_CODE;
    int column = kg_screen_puts(screen, row, from, limit, "[", KG_STYLE_DIM);
    for (int i = 0; i < width; i++)
        column = kg_screen_puts(screen, row, column, limit, i < files ? "#" : i < taken ? "=" : " ", style);
    kg_screen_puts(screen, row, column, limit, "]", KG_STYLE_DIM);
}

static void draw_head(const struct kg_pane *pane, struct kg_screen *screen, int rows, int from, int limit, uint64_t file_tokens)
{
    char text[160], taken[KG_FIGURE], most[KG_FIGURE], files[KG_FIGURE], others[KG_FIGURE];
    uint64_t rest = pane->context_tokens > file_tokens ? pane->context_tokens - file_tokens : 0;
    if (pane->context_limit)
        snprintf(text, sizeof text, "%s of %s tokens, %.0f %%", kg_figure_count(taken, pane->context_tokens),
                 kg_figure_count(most, pane->context_limit), 100.0 * pane->context_tokens / pane->context_limit);
    else
        snprintf(text, sizeof text, "what is in context");
    kg_screen_put_cut(screen, 0, from, limit, text, strlen(text), KG_STYLE_TITLE);
    if (rows > 1)
        draw_meter(pane, screen, 1, from, limit, file_tokens);
    snprintf(text, sizeof text, "# files %s  = talk %s", kg_figure_count(files, file_tokens), kg_figure_count(others, rest));
    if (rows > 2)
        kg_screen_put_cut(screen, 2, from, limit, text, strlen(text), KG_STYLE_DIM);
}

static void draw_file(struct kg_screen *screen, int row, int rows, int from, int limit, const struct kg_context_file *file,
                      bool chosen)
{
    char figures[KG_FIGURE + 32], tokens[KG_FIGURE];
    snprintf(figures, sizeof figures, "%s %s", kg_figure_count(tokens, file->tokens), kg_read_name(file->read));
    unsigned style = chosen ? KG_STYLE_CHOSEN : KG_STYLE_TEXT;
    int at = limit - (int)strlen(figures);
    if (chosen)
        kg_screen_fill(screen, row, from, limit, style);
    if (file->talk)
        kg_screen_put_cut(screen, row, from, at - 1, file->path, strlen(file->path), style);
    else
        put_path(screen, row, from, at - 1, file->path, style);
    kg_screen_puts(screen, row, at, limit, figures, chosen ? style : file->read == KG_READ_DUE ? KG_STYLE_NOTICE : KG_STYLE_DIM);
    if (row + 1 < rows) {
        int column = file->pinned ? kg_screen_puts(screen, row + 1, from + 2, limit, *file->why ? "pinned, " : "pinned", KG_STYLE_NOTICE) : from + 2;
        kg_screen_put_cut(screen, row + 1, column, limit, file->why, strlen(file->why), KG_STYLE_DIM);
    }
}

void kg_pane_draw(struct kg_pane *pane, struct kg_screen *screen, int rows, int from)
{
    int limit = screen->columns - (screen->columns > 20);
    uint64_t tokens;
    struct kg_context_file file;
    size_t count = count_files(pane, &tokens), at = 0, shown = rows > HEAD_ROWS ? (size_t)(rows - HEAD_ROWS + FILE_ROWS - 1) / FILE_ROWS : 0;
    pane->chosen = pane->chosen < count ? pane->chosen : count ? count - 1 : 0;
    pane->top = pane->top > pane->chosen ? pane->chosen : pane->top;
    pane->top = shown >= count ? 0 : pane->top > count - shown ? count - shown : pane->top;
    if (shown > 0 && pane->chosen >= pane->top + shown)
        pane->top = pane->chosen - shown + 1;
    for (int row = 0; row < rows; row++) {
        kg_screen_fill(screen, row, from, screen->columns, KG_STYLE_TEXT);
        if (from > 0)
            kg_screen_puts(screen, row, from, limit, "│", KG_STYLE_DIM);
    }
    from += from > 0 ? 2 : screen->columns > 20;
    draw_head(pane, screen, rows, from, limit, tokens);
    if (count == 0 && rows > HEAD_ROWS)
        kg_screen_put_cut(screen, HEAD_ROWS, from, limit, "nothing is in context", strlen("nothing is in context"), KG_STYLE_DIM);
    for (size_t i = 0; kg_context_file_next(pane->files, pane->files_length, &at, &file) && i < pane->top + shown; i++)
        if (i >= pane->top)
            draw_file(screen, HEAD_ROWS + (int)(i - pane->top) * FILE_ROWS, rows, from, limit, &file, pane->focused && i == pane->chosen);
}
