#include "tui/file/edit.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "tui/screen/glyph.h"
#include "tui/screen/wrap.h"

#define TAB_LOOK 65536 /* bytes of the text that tell what its lines begin with */

void kg_edit_clear(struct kg_edit *edit)
{
    free(edit->clip);
    *edit = (struct kg_edit){ .text = edit->text };
}

void kg_edit_selection(const struct kg_edit *edit, size_t *from, size_t *to)
{
    *from = edit->cursor < edit->anchor ? edit->cursor : edit->anchor;
    *to = edit->cursor < edit->anchor ? edit->anchor : edit->cursor;
}

void kg_edit_go(struct kg_edit *edit, size_t offset, bool select)
{
    edit->cursor = offset;
    if (!select)
        edit->anchor = offset;
    edit->keeps_goal = edit->typing = false;
}

void kg_edit_select_all(struct kg_edit *edit)
{
    size_t length;
    kg_text_bytes(edit->text, &length);
    kg_edit_go(edit, 0, false);
    kg_edit_go(edit, length, true);
}

static size_t glyph_columns(const struct kg_glyph *glyph, size_t column)
{
    return glyph->kind == KG_GLYPH_TAB ? KG_TAB_COLUMNS - column % KG_TAB_COLUMNS : glyph->width;
}

size_t kg_edit_column(const struct kg_text *text, size_t offset)
{
    size_t length, column = 0;
    const char *bytes = kg_text_bytes(text, &length);
    struct kg_glyph glyph;
    for (size_t at = kg_text_line_start(text, kg_text_line_of(text, offset)); at < offset; at += glyph.bytes) {
        kg_glyph_next(bytes + at, length - at, &glyph);
        column += glyph_columns(&glyph, column);
    }
    return column;
}

size_t kg_edit_offset_at(const struct kg_text *text, size_t line, size_t column)
{
    size_t length, at = kg_text_line_start(text, line), end = kg_text_line_end(text, line), here = 0;
    const char *bytes = kg_text_bytes(text, &length);
    struct kg_glyph glyph;
    while (at < end) {
        kg_glyph_next(bytes + at, end - at, &glyph);
        size_t width = glyph_columns(&glyph, here);
        if (here + width > column)
            return column - here > here + width - column ? at + glyph.bytes : at;
        here += width;
        at += glyph.bytes;
    }
    return at;
}

/* Boundaries of glyphs are found from the start of the line. */
static size_t left_of(const struct kg_text *text, size_t at)
{
    size_t length, start = kg_text_line_start(text, kg_text_line_of(text, at));
    const char *bytes = kg_text_bytes(text, &length);
    if (at == start)
        return at > 0 ? at - 1 : 0;
    return start + kg_glyph_boundary_before(bytes + start, at - start, at - start);
}

static size_t right_of(const struct kg_text *text, size_t at)
{
    size_t length;
    const char *bytes = kg_text_bytes(text, &length);
    struct kg_glyph glyph;
    if (at == length)
        return at;
    if (bytes[at] == '\n')
        return at + 1;
    kg_glyph_next(bytes + at, kg_text_line_end(text, kg_text_line_of(text, at)) - at, &glyph);
    return at + glyph.bytes;
}

static bool is_word(char c)
{
    return c == '_' || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || (unsigned char)c >= 0x80;
}

static size_t word_left(const struct kg_text *text, size_t at)
{
    size_t length;
    const char *bytes = kg_text_bytes(text, &length);
    while (at > 0 && !is_word(bytes[at - 1]))
        at--;
    while (at > 0 && is_word(bytes[at - 1]))
        at--;
    return at;
}

static size_t word_right(const struct kg_text *text, size_t at)
{
    size_t length;
    const char *bytes = kg_text_bytes(text, &length);
    while (at < length && !is_word(bytes[at]))
        at++;
    while (at < length && is_word(bytes[at]))
        at++;
    return at;
}

static size_t line_start(const struct kg_text *text, size_t cursor)
{
    size_t length, line = kg_text_line_of(text, cursor), start = kg_text_line_start(text, line), at = start, end = kg_text_line_end(text, line);
    const char *bytes = kg_text_bytes(text, &length);
    while (at < end && (bytes[at] == ' ' || bytes[at] == '\t'))
        at++;
    return cursor == at ? start : at;
}

static size_t target(const struct kg_edit *edit, enum kg_edit_motion motion)
{
    const struct kg_text *text = edit->text;
    size_t length;
    kg_text_bytes(text, &length);
    switch (motion) {
    case KG_EDIT_LEFT: return left_of(text, edit->cursor);
    case KG_EDIT_RIGHT: return right_of(text, edit->cursor);
    case KG_EDIT_WORD_LEFT: return word_left(text, edit->cursor);
    case KG_EDIT_WORD_RIGHT: return word_right(text, edit->cursor);
    case KG_EDIT_LINE_START: return line_start(text, edit->cursor);
    case KG_EDIT_LINE_END: return kg_text_line_end(text, kg_text_line_of(text, edit->cursor));
    case KG_EDIT_START: return 0;
    case KG_EDIT_END: return length;
    default: return edit->cursor;
    }
}

static void move_lines(struct kg_edit *edit, bool down, size_t times, bool select)
{
    size_t line = kg_text_line_of(edit->text, edit->cursor), last = kg_text_lines(edit->text) - 1;
    size_t goal = edit->keeps_goal ? edit->goal : kg_edit_column(edit->text, edit->cursor);
    if (down)
        line = times < last - line ? line + times : last;
    else
        line = times < line ? line - times : 0;
    kg_edit_go(edit, kg_edit_offset_at(edit->text, line, goal), select);
    edit->goal = goal;
    edit->keeps_goal = true;
}

void kg_edit_move(struct kg_edit *edit, enum kg_edit_motion motion, size_t times, bool select)
{
    size_t from, to;
    kg_edit_selection(edit, &from, &to);
    if (motion == KG_EDIT_UP || motion == KG_EDIT_DOWN)
        move_lines(edit, motion == KG_EDIT_DOWN, times, select);
    else if (from < to && !select && (motion == KG_EDIT_LEFT || motion == KG_EDIT_RIGHT))
        kg_edit_go(edit, motion == KG_EDIT_LEFT ? from : to, false);
    else
        kg_edit_go(edit, target(edit, motion), select);
}

static bool replace(struct kg_edit *edit, size_t from, size_t to, const char *bytes, size_t length, bool joined)
{
    if (!kg_text_replace(edit->text, from, to, bytes, length, joined))
        return false;
    kg_edit_go(edit, from + length, false);
    return true;
}

bool kg_edit_insert(struct kg_edit *edit, const char *bytes, size_t length)
{
    size_t from, to;
    kg_edit_selection(edit, &from, &to);
    return replace(edit, from, to, bytes, length, false);
}

bool kg_edit_type(struct kg_edit *edit, const char *bytes, size_t length)
{
    size_t from, to, text_length;
    kg_edit_selection(edit, &from, &to);
    const char *text = kg_text_bytes(edit->text, &text_length);
    bool new_word = from > 0 && !is_word(text[from - 1]) && length > 0 && is_word(bytes[0]);
    bool joined = edit->typing && from == to && !new_word;
    if (!replace(edit, from, to, bytes, length, joined))
        return false;
    edit->typing = true;
    return true;
}

bool kg_edit_newline(struct kg_edit *edit)
{
    size_t from, to, length;
    kg_edit_selection(edit, &from, &to);
    const char *bytes = kg_text_bytes(edit->text, &length);
    size_t start = kg_text_line_start(edit->text, kg_text_line_of(edit->text, from)), end = start;
    while (end < from && (bytes[end] == ' ' || bytes[end] == '\t'))
        end++;
    char *new = malloc(end - start + 1);
    if (!new)
        return false;
    new[0] = '\n';
    memcpy(new + 1, bytes + start, end - start);
    bool ok = replace(edit, from, to, new, end - start + 1, false);
    free(new);
    return ok;
}

bool kg_edit_tab(struct kg_edit *edit)
{
    size_t length, tabs = 0, blanks = 0;
    const char *bytes = kg_text_bytes(edit->text, &length);
    for (size_t i = 0; i + 1 < length && i < TAB_LOOK; i++) {
        bool start = i == 0 || bytes[i - 1] == '\n';
        tabs += start && bytes[i] == '\t';
        blanks += start && bytes[i] == ' ' && bytes[i + 1] == ' ';
    }
    if (tabs >= blanks && tabs > 0)
        return kg_edit_insert(edit, "\t", 1);
    return kg_edit_insert(edit, "        ", KG_TAB_COLUMNS - kg_edit_column(edit->text, edit->cursor) % KG_TAB_COLUMNS);
}

bool kg_edit_erase(struct kg_edit *edit, enum kg_edit_motion motion)
{
    size_t from, to;
    kg_edit_selection(edit, &from, &to);
    if (from == to) {
        size_t other = target(edit, motion);
        from = other < edit->cursor ? other : edit->cursor;
        to = other < edit->cursor ? edit->cursor : other;
    }
    return replace(edit, from, to, "", 0, false);
}

/* What is selected, else the line with its end. */
static void to_copy(const struct kg_edit *edit, size_t *from, size_t *to)
{
    size_t length;
    kg_text_bytes(edit->text, &length);
    kg_edit_selection(edit, from, to);
    if (*from < *to)
        return;
    size_t line = kg_text_line_of(edit->text, edit->cursor);
    *from = kg_text_line_start(edit->text, line);
    *to = kg_text_line_end(edit->text, line);
    *to += *to < length;
}

bool kg_edit_copy(struct kg_edit *edit)
{
    size_t from, to, length;
    to_copy(edit, &from, &to);
    char *clip = malloc(to - from + 1);
    if (!clip)
        return false;
    memcpy(clip, kg_text_bytes(edit->text, &length) + from, to - from);
    clip[to - from] = '\0';
    free(edit->clip);
    edit->clip = clip;
    edit->clip_length = to - from;
    return true;
}

bool kg_edit_cut(struct kg_edit *edit)
{
    size_t from, to;
    to_copy(edit, &from, &to);
    return kg_edit_copy(edit) && replace(edit, from, to, "", 0, false);
}

bool kg_edit_paste(struct kg_edit *edit)
{
    return !edit->clip || kg_edit_insert(edit, edit->clip, edit->clip_length);
}

bool kg_edit_undo(struct kg_edit *edit)
{
    size_t from, to;
    if (!kg_text_undo(edit->text, &from, &to))
        return false;
    kg_edit_go(edit, to, false);
    return true;
}

bool kg_edit_redo(struct kg_edit *edit)
{
    size_t from, to;
    if (!kg_text_redo(edit->text, &from, &to))
        return false;
    kg_edit_go(edit, to, false);
    return true;
}

static size_t find_in(const char *text, size_t from, size_t to, const char *pattern, size_t length, bool any_case)
{
    for (size_t at = from; at + length <= to; at++) {
        if (!any_case) {
            const char *found = memmem(text + at, to - at, pattern, length);
            return found ? (size_t)(found - text) : SIZE_MAX;
        }
        if (strncasecmp(text + at, pattern, length) == 0)
            return at;
    }
    return SIZE_MAX;
}

size_t kg_edit_find(const struct kg_edit *edit, const char *pattern, size_t length, size_t from)
{
    size_t text_length;
    bool any_case = true;
    const char *text = kg_text_bytes(edit->text, &text_length);
    for (size_t i = 0; i < length; i++)
        any_case = any_case && !(pattern[i] >= 'A' && pattern[i] <= 'Z');
    if (length == 0 || length > text_length)
        return SIZE_MAX;
    size_t found = find_in(text, from < text_length ? from : text_length, text_length, pattern, length, any_case);
    size_t most = from + length - 1 < text_length ? from + length - 1 : text_length;
    return found != SIZE_MAX ? found : find_in(text, 0, most, pattern, length, any_case);
}
