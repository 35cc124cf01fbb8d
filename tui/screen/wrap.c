#include "tui/screen/wrap.h"

#include "tui/screen/glyph.h"

int kg_tab_width(int column)
{
    return KG_TAB_COLUMNS - column % KG_TAB_COLUMNS;
}

static void set_row(struct kg_row *row, size_t end, size_t next, bool newline)
{
    row->end = end;
    row->next = next;
    row->newline = newline;
}

/* Behind the spaces at `at`, and behind the newline that follows them. */
static void skip_spaces(const char *text, size_t length, size_t at, struct kg_row *row)
{
    struct kg_glyph glyph;
    while (at < length) {
        kg_glyph_next(text + at, length - at, &glyph);
        if (glyph.kind == KG_GLYPH_NEWLINE) {
            row->newline = true;
            at += glyph.bytes;
            break;
        }
        if (glyph.kind != KG_GLYPH_SPACE && glyph.kind != KG_GLYPH_TAB)
            break;
        at += glyph.bytes;
    }
    row->next = at;
    row->newline |= at >= length;
}

void kg_wrap_row(const char *text, size_t length, size_t start, int width, bool by_words, struct kg_row *out)
{
    int column = 0;
    size_t at = start, gap = start; /* gap: the last place behind the row's first word where it may end */
    bool word = false, in_space = false;
    struct kg_glyph glyph;
    out->start = start;
    while (at < length) {
        kg_glyph_next(text + at, length - at, &glyph);
        if (glyph.kind == KG_GLYPH_NEWLINE) {
            set_row(out, at, at + glyph.bytes, true);
            return;
        }
        bool space = glyph.kind == KG_GLYPH_SPACE || glyph.kind == KG_GLYPH_TAB;
        int columns = glyph.kind == KG_GLYPH_TAB ? kg_tab_width(column) : glyph.width;
        columns = columns > width ? width : columns;
        if (word && ((space && !in_space) || (glyph.width == 2 && !in_space)))
            gap = at;
        if (column + columns > width) {
            size_t end = by_words && gap > start ? gap : at;
            set_row(out, end, end, false);
            if (by_words && word)
                skip_spaces(text, length, end, out);
            return;
        }
        word |= !space;
        in_space = space;
        column += columns;
        at += glyph.bytes;
    }
    set_row(out, length, length, true);
}
