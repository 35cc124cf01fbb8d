#include "tui/transcript/rich_text.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tui/screen/wrap.h"

struct span {
    size_t start; /* up to the next one's start */
    unsigned style;
};

struct paragraph {
    size_t start;
    char first[KG_PREFIX_MOST], rest[KG_PREFIX_MOST];
    unsigned prefix_style;
    bool by_words;
};

struct row {
    size_t start, end;
    uint32_t paragraph;
    bool first;
};

struct code {
    size_t start, end; /* of the text */
};

struct kg_rich_text {
    struct code *codes;
    size_t code_count, code_capacity;
    char *text;
    size_t length, capacity;
    struct span *spans;
    size_t span_count, span_capacity;
    struct paragraph *paragraphs;
    size_t paragraph_count, paragraph_capacity;
    struct row *rows;
    size_t row_count, row_capacity;
    bool failed;
};

struct kg_rich_text *kg_rich_create(void)
{
    return calloc(1, sizeof(struct kg_rich_text));
}

void kg_rich_free(struct kg_rich_text *rich)
{
    if (!rich)
        return;
    free(rich->text);
    free(rich->spans);
    free(rich->paragraphs);
    free(rich->rows);
    free(rich->codes);
    free(rich);
}

bool kg_rich_whole(const struct kg_rich_text *rich)
{
    return !rich->failed;
}

/* Room for one more element (or `more` bytes). */
static bool grow(struct kg_rich_text *rich, void **array, size_t *capacity, size_t count, size_t more, size_t element)
{
    if (count + more <= *capacity)
        return true;
    size_t larger = (count + more) * 2 + 16;
    void *grown = realloc(*array, larger * element);
    if (!grown) {
        rich->failed = true;
        return false;
    }
    *array = grown;
    *capacity = larger;
    return true;
}

static void copy_prefix(char out[KG_PREFIX_MOST], const char *prefix)
{
    size_t n = strlen(prefix);
    if (n >= KG_PREFIX_MOST)
        for (n = KG_PREFIX_MOST - 1; n > 0 && ((unsigned char)prefix[n] & 0xc0) == 0x80;)
            n--;
    memcpy(out, prefix, n);
    out[n] = '\0';
}

void kg_rich_paragraph(struct kg_rich_text *rich, const char *first, const char *rest, unsigned prefix_style, bool by_words)
{
    if (!grow(rich, (void **)&rich->paragraphs, &rich->paragraph_capacity, rich->paragraph_count, 1, sizeof *rich->paragraphs))
        return;
    struct paragraph *new = &rich->paragraphs[rich->paragraph_count++];
    new->start = rich->length;
    new->prefix_style = prefix_style;
    new->by_words = by_words;
    copy_prefix(new->first, first);
    copy_prefix(new->rest, rest);
}

void kg_rich_add(struct kg_rich_text *rich, const char *text, size_t length, unsigned style)
{
    if (rich->paragraph_count == 0)
        kg_rich_paragraph(rich, "", "", KG_STYLE_TEXT, true);
    if (length == 0 || !grow(rich, (void **)&rich->text, &rich->capacity, rich->length, length, 1))
        return;
    if (rich->span_count == 0 || rich->spans[rich->span_count - 1].style != style) {
        if (!grow(rich, (void **)&rich->spans, &rich->span_capacity, rich->span_count, 1, sizeof *rich->spans))
            return;
        rich->spans[rich->span_count++] = (struct span){ .start = rich->length, .style = style };
    }
    memcpy(rich->text + rich->length, text, length);
    rich->length += length;
}

size_t kg_rich_paragraphs(const struct kg_rich_text *rich)
{
    return rich->paragraph_count;
}

void kg_rich_begin_code(struct kg_rich_text *rich)
{
    if (grow(rich, (void **)&rich->codes, &rich->code_capacity, rich->code_count, 1, sizeof *rich->codes))
        rich->codes[rich->code_count++] = (struct code){ .start = rich->length, .end = rich->length };
}

void kg_rich_end_code(struct kg_rich_text *rich)
{
    if (rich->code_count > 0)
        rich->codes[rich->code_count - 1].end = rich->length;
}

const char *kg_rich_text(const struct kg_rich_text *rich, size_t *length)
{
    *length = rich->length;
    return rich->text ? rich->text : "";
}

size_t kg_rich_codes(const struct kg_rich_text *rich)
{
    return rich->code_count;
}

void kg_rich_code(const struct kg_rich_text *rich, size_t index, size_t *start, size_t *end)
{
    *start = rich->codes[index].start;
    *end = rich->codes[index].end;
}

static bool layout_paragraph(struct kg_rich_text *rich, size_t index, int width, int measure)
{
    const struct paragraph *p = &rich->paragraphs[index];
    size_t end = index + 1 < rich->paragraph_count ? rich->paragraphs[index + 1].start : rich->length, at = p->start;
    bool first = true;
    for (;;) {
        const char *prefix = first ? p->first : p->rest;
        int columns = (p->by_words && width > measure ? measure : width) - (int)kg_text_width(prefix, strlen(prefix));
        struct kg_row wrapped;
        kg_wrap_row(rich->text ? rich->text : "", end, at, columns < 2 ? 2 : columns, p->by_words, &wrapped);
        if (!grow(rich, (void **)&rich->rows, &rich->row_capacity, rich->row_count, 1, sizeof *rich->rows))
            return false;
        rich->rows[rich->row_count++] =
            (struct row){ .start = wrapped.start, .end = wrapped.end, .paragraph = (uint32_t)index, .first = first };
        if (wrapped.next >= end)
            return true;
        at = wrapped.next;
        first = false;
    }
}

bool kg_rich_layout(struct kg_rich_text *rich, int width, int measure)
{
    rich->row_count = 0;
    for (size_t i = 0; i < rich->paragraph_count; i++)
        if (!layout_paragraph(rich, i, width, measure)) {
            rich->row_count = 0;
            return false;
        }
    return true;
}

size_t kg_rich_rows(const struct kg_rich_text *rich)
{
    return rich->row_count;
}

size_t kg_rich_offset(const struct kg_rich_text *rich, size_t row)
{
    return row < rich->row_count ? rich->rows[row].start : rich->length;
}

size_t kg_rich_row_at(const struct kg_rich_text *rich, size_t offset)
{
    size_t low = 0, high = rich->row_count; /* the last row that starts at or before offset */
    while (high - low > 1) {
        size_t middle = low + (high - low) / 2;
        if (rich->rows[middle].start <= offset)
            low = middle;
        else
            high = middle;
    }
    return low;
}

/* The last span that starts at or before a place. */
static size_t span_at(const struct kg_rich_text *rich, size_t offset)
{
    size_t low = 0, high = rich->span_count;
    while (high - low > 1) {
        size_t middle = low + (high - low) / 2;
        if (rich->spans[middle].start <= offset)
            low = middle;
        else
            high = middle;
    }
    return low;
}

/* The match that ends behind a place, or the first one behind it. */
static size_t match_from(const struct kg_rich_text *rich, const struct kg_pattern *pattern, size_t at, size_t end)
{
    size_t from = at >= pattern->length ? at - pattern->length + 1 : 0;
    size_t until = end + pattern->length < rich->length ? end + pattern->length : rich->length;
    return kg_find_next(pattern, rich->text, until, from);
}

void kg_rich_draw(const struct kg_rich_text *rich, size_t row, const struct kg_pattern *pattern, size_t found, struct kg_screen *screen, int at, int left,
                  int limit)
{
    if (row >= rich->row_count)
        return;
    const struct row *r = &rich->rows[row];
    const struct paragraph *p = &rich->paragraphs[r->paragraph];
    int column = kg_screen_puts(screen, at, left, limit, r->first ? p->first : p->rest, p->prefix_style);
    int start = column;
    size_t span = span_at(rich, r->start), match = pattern && pattern->length && r->end > r->start ? match_from(rich, pattern, r->start, r->end) : KG_NOWHERE;
    struct kg_glyph glyph;
    for (size_t i = r->start; i < r->end; i += glyph.bytes) {
        while (span + 1 < rich->span_count && rich->spans[span + 1].start <= i)
            span++;
        if (match != KG_NOWHERE && i >= match + pattern->length)
            match = match_from(rich, pattern, i + pattern->length - 1, r->end);
        unsigned style = rich->spans[span].style;
        if (match != KG_NOWHERE && i >= match)
            style = match == found ? KG_STYLE_CHOSEN : KG_STYLE_MATCH;
        kg_glyph_next(rich->text + i, r->end - i, &glyph);
        if (glyph.kind == KG_GLYPH_TAB) {
            int behind = column + kg_tab_width(column - start);
            kg_screen_fill(screen, at, column, behind < limit ? behind : limit, style & ~(unsigned)KG_UNDERLINE);
            column = behind;
        } else {
            column = kg_screen_put_glyph(screen, at, column, limit, &glyph, style);
        }
    }
}
