#include "tui/interface/session_list.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "tui/interface/figures.h"

#define HEAD_ROWS    2
#define SESSION_ROWS 2
#define HEAD_MOST    512 /* bytes */
#define FIGURES_MOST 160

void kg_session_row_write(FILE *stream, const struct kg_session_row *row)
{
    fprintf(stream, "%s%c%s%c%" PRIu64 "%c%" PRIu32 "%c%" PRIu32 "%c%s%c", row->name, 0, row->repository, 0, row->used, 0, row->questions, 0, row->hits, 0,
            row->line, 0);
}

static bool next_row(const struct kg_session_list *list, size_t *at, struct kg_session_row *out)
{
    const char *fields[6];
    for (int i = 0; i < 6; i++) {
        const char *end = list->rows && *at < list->length ? memchr(list->rows + *at, '\0', list->length - *at) : NULL;
        if (!end)
            return false;
        fields[i] = list->rows + *at;
        *at = (size_t)(end - list->rows) + 1;
    }
    *out = (struct kg_session_row){ .name = fields[0], .repository = fields[1], .line = fields[5], .used = strtoull(fields[2], NULL, 10),
                                    .questions = (uint32_t)strtoul(fields[3], NULL, 10), .hits = (uint32_t)strtoul(fields[4], NULL, 10) };
    return true;
}

void kg_session_list_clear(struct kg_session_list *list)
{
    free(list->rows);
    *list = (struct kg_session_list){ .rows = NULL };
}

bool kg_session_list_set(struct kg_session_list *list, const char *rows, size_t length)
{
    char *copy = malloc(length + 1);
    if (!copy)
        return false;
    if (length)
        memcpy(copy, rows, length);
    copy[length] = '\0';
    free(list->rows);
    list->rows = copy;
    list->length = length;
    size_t count = kg_session_list_count(list);
    list->chosen = list->chosen < count ? list->chosen : count ? count - 1 : 0;
    return true;
}

size_t kg_session_list_count(const struct kg_session_list *list)
{
    struct kg_session_row row;
    size_t at = 0, count = 0;
    while (next_row(list, &at, &row))
        count++;
    return count;
}

bool kg_session_list_chosen(const struct kg_session_list *list, struct kg_session_row *out)
{
    size_t at = 0;
    for (size_t i = 0; next_row(list, &at, out); i++)
        if (i == list->chosen)
            return true;
    return false;
}

bool kg_session_list_move(struct kg_session_list *list, long by)
{
    size_t count = kg_session_list_count(list), before = list->chosen;
    if (by < 0)
        list->chosen -= list->chosen < (size_t)-by ? list->chosen : (size_t)-by;
    else if (count)
        list->chosen = list->chosen + (size_t)by < count ? list->chosen + (size_t)by : count - 1;
    return list->chosen != before;
}

static void head_of(const struct kg_session_list *list, size_t count, char text[HEAD_MOST])
{
    char number[KG_FIGURE];
    const char *where = list->all ? "" : list->repository && *list->repository ? " about this repository" : " outside of repositories";
    if (!list->rows)
        snprintf(text, HEAD_MOST, "looking");
    else
        snprintf(text, HEAD_MOST, "%s conversation%s%s%s%s", kg_figure_count(number, count), count == 1 ? "" : "s", where, *list->words ? " with " : "", list->words);
}

static void draw_head(const struct kg_session_list *list, struct kg_screen *screen, int from, int limit, size_t count)
{
    char text[HEAD_MOST];
    head_of(list, count, text);
    kg_screen_put_cut(screen, 0, from, limit, text, strlen(text), KG_STYLE_TITLE);
}

static bool is_here(const struct kg_session_list *list, const struct kg_session_row *session)
{
    return list->repository && strcmp(session->repository, list->repository) == 0;
}

/* "3 found, 2 questions, open, 5 min ago" */
static void figures_of(const struct kg_session_list *list, const struct kg_session_row *session, char figures[FIGURES_MOST])
{
    char age[KG_FIGURE];
    bool open = is_here(list, session) && list->open && strcmp(session->name, list->open) == 0;
    kg_figure_age(age, (uint64_t)time(NULL), session->used);
    int n = 0;
    if (session->hits)
        n = snprintf(figures, FIGURES_MOST, "%u found, ", session->hits);
    snprintf(figures + n, FIGURES_MOST - (size_t)n, "%u question%s, %s%s", session->questions, session->questions == 1 ? "" : "s", open ? "open, " : "", age);
}

static const char *none_of(const struct kg_session_list *list)
{
    return *list->words ? "nothing was said with these words" : "none yet: what you ask is kept, and listed here";
}

void kg_session_list_write(const struct kg_session_list *list, FILE *stream)
{
    char text[HEAD_MOST], figures[FIGURES_MOST];
    size_t count = kg_session_list_count(list), at = 0;
    struct kg_session_row row;
    head_of(list, count, text);
    fprintf(stream, "%s\n", text);
    while (next_row(list, &at, &row)) {
        figures_of(list, &row, figures);
        fprintf(stream, "%s  (%s)\n    %s\n", row.name, figures, row.line);
    }
    fputs(count ? "/resume NAME goes on with one; kedge sessions forks, renames and deletes them" : none_of(list), stream);
}

static void draw_row(const struct kg_session_list *list, struct kg_screen *screen, int row, int rows, int from, int limit, const struct kg_session_row *session,
                     bool chosen)
{
    char figures[FIGURES_MOST];
    figures_of(list, session, figures);
    unsigned style = chosen ? KG_STYLE_CHOSEN : KG_STYLE_TEXT;
    int width = (int)kg_text_width(figures, strlen(figures)), at = limit - width;
    if (chosen)
        kg_screen_fill(screen, row, 0, screen->columns, style);
    bool fits = at > from + 12;
    kg_screen_put_cut(screen, row, from, fits ? at - 1 : limit, session->name, strlen(session->name), style);
    if (fits)
        kg_screen_puts(screen, row, at, limit, figures, chosen ? style : KG_STYLE_DIM);
    if (row + 1 >= rows)
        return;
    int column = from + 2;
    if (!is_here(list, session)) {
        const char *where = *session->repository ? session->repository : "no repository";
        column = kg_screen_put_cut(screen, row + 1, column, limit, where, strlen(where), KG_STYLE_NOTICE) + 1;
    }
    kg_screen_put_cut(screen, row + 1, column, limit, session->line, strlen(session->line), KG_STYLE_DIM);
}

void kg_session_list_draw(struct kg_session_list *list, struct kg_screen *screen, int rows)
{
    int from = screen->columns > 20, limit = screen->columns - from;
    size_t count = kg_session_list_count(list), at = 0, shown = rows > HEAD_ROWS ? (size_t)(rows - HEAD_ROWS) / SESSION_ROWS : 0;
    struct kg_session_row row;
    shown = shown ? shown : 1;
    list->page = (int)shown;
    list->top = list->top > list->chosen ? list->chosen : list->top;
    if (list->chosen >= list->top + shown)
        list->top = list->chosen - shown + 1;
    draw_head(list, screen, from, limit, count);
    if (list->rows && count == 0 && rows > HEAD_ROWS) {
        const char *none = none_of(list);
        kg_screen_put_cut(screen, HEAD_ROWS, from, limit, none, strlen(none), KG_STYLE_DIM);
    }
    int first = rows > HEAD_ROWS ? HEAD_ROWS : 1;
    for (size_t i = 0; next_row(list, &at, &row) && i < list->top + shown; i++) {
        int place = first + (int)(i - list->top) * SESSION_ROWS;
        if (i >= list->top && place < rows)
            draw_row(list, screen, place, rows, from, limit, &row, i == list->chosen);
    }
    if (list->top + shown < count && rows > 1) {
        static const char more[] = " ↓ more ";
        kg_screen_puts(screen, rows - 1, limit - (int)kg_text_width(more, strlen(more)), screen->columns, more, KG_STYLE_BAR_BUSY);
    }
}
