#include "tui/interface/review.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TAB 8

enum kg_status kg_review_begin(struct kg_review *review, struct kg_proposal *proposal, struct kg_worktree *tree, struct kg_error *err)
{
    *review = (struct kg_review){ .proposal = *proposal };
    *proposal = (struct kg_proposal){ 0 };
    review->files = calloc(review->proposal.count + 1, sizeof *review->files);
    enum kg_status status = KG_OK;
    if (!review->files) {
        kg_review_end(review);
        return kg_fail_nomem(err, "showing changes");
    }
    for (size_t i = 0; i < review->proposal.count && status == KG_OK; i++) {
        const struct kg_change *change = &review->proposal.changes[i];
        struct kg_reviewed_file *file = &review->files[i];
        status = kg_hunks_of(change->before, change->before_length, change->after, change->after_length, &file->hunks, err);
        if (status != KG_OK)
            break;
        file->guard = kg_worktree_guard(tree, change->path, &file->why);
        if (file->guard == KG_GUARD_NEVER)
            status = kg_fail(err, KG_ERR_UNSUPPORTED, "%s %s: it is not written", change->path, file->why);
        else
            status = kg_worktree_admits(tree, change->path, err);
        review->all += kg_hunk_count(file->hunks);
        file->taken = calloc(kg_hunk_count(file->hunks) + 1, sizeof *file->taken);
        if (status == KG_OK && !file->taken)
            status = kg_fail_nomem(err, "showing changes");
    }
    if (status != KG_OK)
        kg_review_end(review);
    return status;
}

void kg_review_end(struct kg_review *review)
{
    for (size_t i = 0; i < review->proposal.count && review->files; i++) {
        kg_hunks_free(review->files[i].hunks);
        free(review->files[i].taken);
    }
    free(review->files);
    kg_proposal_free(&review->proposal);
    *review = (struct kg_review){ 0 };
}

bool kg_review_is_done(const struct kg_review *review)
{
    return review->file >= review->proposal.count;
}

void kg_review_answer(struct kg_review *review, bool yes)
{
    if (kg_review_is_done(review))
        return;
    struct kg_reviewed_file *file = &review->files[review->file];
    file->taken[review->hunk] = yes;
    review->asked++;
    review->top = 0;
    if (++review->hunk >= kg_hunk_count(file->hunks)) {
        review->hunk = 0;
        review->file++;
    }
    if (review->rest && !kg_review_is_done(review) && review->files[review->file].guard == KG_GUARD_NONE)
        kg_review_answer(review, true);
}

void kg_review_answer_all(struct kg_review *review)
{
    review->rest = true;
    kg_review_answer(review, true);
}

bool kg_review_result(const struct kg_review *review, size_t index, char **text, size_t *length, size_t *taken)
{
    const struct kg_reviewed_file *file = &review->files[index];
    *taken = 0;
    for (size_t i = 0; i < kg_hunk_count(file->hunks); i++)
        *taken += file->taken[i];
    *text = *taken ? kg_hunks_apply(file->hunks, file->taken, length) : NULL;
    return *text != NULL;
}


void kg_review_scroll(struct kg_review *review, long rows)
{
    size_t lines = kg_review_is_done(review) ? 0 : kg_hunk_lines(review->files[review->file].hunks, review->hunk);
    if (rows < 0)
        review->top = review->top > (size_t)-rows ? review->top - (size_t)-rows : 0;
    else
        review->top = review->top + (size_t)rows < lines ? review->top + (size_t)rows : lines ? lines - 1 : 0;
}

static int put_line(struct kg_screen *screen, int row, int column, const char *text, size_t length, unsigned style)
{
    struct kg_glyph glyph;
    int from = column;
    for (size_t i = 0; i < length; i += glyph.bytes) {
        kg_glyph_next(text + i, length - i, &glyph);
        if (glyph.kind == KG_GLYPH_TAB)
            column += TAB - (column - from) % TAB;
        else
            column = kg_screen_put_glyph(screen, row, column, screen->columns, &glyph, style);
    }
    return column;
}

static void draw_line(struct kg_screen *screen, int row, const struct kg_hunk_line *line)
{
    unsigned style = line->origin == '+' ? KG_STYLE_ADDED : line->origin == '-' ? KG_STYLE_REMOVED : KG_STYLE_TEXT;
    const char sign[2] = { line->origin, '\0' };
    size_t length = line->length;
    bool cr = length > 0 && line->text[length - 1] == '\r'; /* at the ends of all lines of some files */
    kg_screen_puts(screen, row, 1, screen->columns, sign, style);
    int column = put_line(screen, row, 3, line->text, length - cr, style);
    if (line->last_without_feed)
        kg_screen_puts(screen, row, column + 1, screen->columns, "(no line feed)", KG_STYLE_DIM);
}

/* What stands above the lines: the file, what was not exact, what the file is. Returns rows. */
static int draw_head(const struct kg_review *review, struct kg_screen *screen, int rows)
{
    const struct kg_change *change = &review->proposal.changes[review->file];
    const struct kg_reviewed_file *file = &review->files[review->file];
    char text[KG_ERROR_TEXT];
    int row = 0;
    snprintf(text, sizeof text, "  %zu of %zu%s", review->asked + 1, review->all, change->before ? "" : "  new file");
    int column = kg_screen_put_cut(screen, row, 1, screen->columns - (int)strlen(text), change->path, strlen(change->path), KG_STYLE_TITLE);
    kg_screen_puts(screen, row++, column, screen->columns, text, KG_STYLE_DIM);
    if (review->proposal.cut && row < rows)
        kg_screen_puts(screen, row++, 1, screen->columns, "the answer was cut off: perhaps this is not all that was meant", KG_STYLE_NOTICE);
    if (file->guard == KG_GUARD_ASK && row < rows) {
        snprintf(text, sizeof text, "this file %s; it is never taken with all", file->why);
        kg_screen_put_cut(screen, row++, 1, screen->columns, text, strlen(text), KG_STYLE_NOTICE);
    }
    for (const char *at = change->said; at && *at && row < rows / 2; at += strcspn(at, "\n") + 1)
        kg_screen_put_cut(screen, row++, 1, screen->columns, at, strcspn(at, "\n"), KG_STYLE_NOTICE);
    if (row < rows)
        row++;
    const char *header = kg_hunk_header(file->hunks, review->hunk);
    if (row < rows)
        kg_screen_put_cut(screen, row++, 1, screen->columns, header, strlen(header), KG_STYLE_DIM);
    return row;
}

void kg_review_draw(struct kg_review *review, struct kg_screen *screen, int rows)
{
    if (kg_review_is_done(review))
        return;
    const struct kg_hunks *hunks = review->files[review->file].hunks;
    size_t lines = kg_hunk_lines(hunks, review->hunk);
    int row = draw_head(review, screen, rows);
    size_t shown = rows > row ? (size_t)(rows - row) : 0;
    review->top = lines <= shown ? 0 : review->top > lines - shown ? lines - shown : review->top;
    for (size_t i = review->top; i < lines && row < rows; i++, row++) {
        struct kg_hunk_line line = kg_hunk_line(hunks, review->hunk, i);
        draw_line(screen, row, &line);
    }
    if (review->top + shown < lines) {
        static const char more[] = " ↓ more ";
        kg_screen_puts(screen, rows - 1, screen->columns - 1 - (int)kg_text_width(more, strlen(more)), screen->columns, more, KG_STYLE_BAR_BUSY);
    }
}
