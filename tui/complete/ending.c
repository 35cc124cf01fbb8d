#include "tui/complete/ending.h"

#include <stdlib.h>
#include <string.h>

#include "tui/screen/glyph.h"

static size_t trimmed(const char *text, size_t length)
{
    while (length > 0 && strchr(" \t\r", text[length - 1]) && text[length - 1])
        length--;
    return length;
}

/* The next line of the suffix that is not blank, behind the one that the cursor stands in. */
static const char *next_line(const struct kg_ending *ending, size_t *length)
{
    const char *at = ending->suffix, *end = at ? at + ending->suffix_length : NULL;
    while (at && at < end) {
        const char *newline = memchr(at, '\n', (size_t)(end - at));
        if (!newline || newline + 1 == end)
            return NULL;
        at = newline + 1;
        newline = memchr(at, '\n', (size_t)(end - at));
        *length = trimmed(at, newline ? (size_t)(newline - at) : (size_t)(end - at));
        if (*length > 0)
            return at;
    }
    return NULL;
}

/* Bytes up to the first character from `at` on that is not seen. */
static size_t visible(const char *text, size_t length, size_t at)
{
    struct kg_glyph glyph;
    for (; at < length; at += glyph.bytes) {
        kg_glyph_next(text + at, length - at, &glyph);
        if (glyph.escape)
            break;
    }
    return at;
}

/* A line behind the first: whether it is, or may become, the suffix's next one. */
static bool repeats(const struct kg_ending *ending, const char *line, size_t length, bool whole)
{
    size_t next_length;
    const char *next = next_line(ending, &next_length);
    if (!next)
        return false;
    if (whole)
        return trimmed(line, length) == next_length && memcmp(line, next, next_length) == 0;
    return trimmed(line, length) <= next_length && memcmp(line, next, length < next_length ? length : next_length) == 0;
}

/* Looks at what came line by line; how much of it is certain. */
static size_t certain(struct kg_ending *ending, bool finished)
{
    const char *text = ending->text;
    unsigned lines = 0;
    for (size_t start = 0;;) {
        const char *newline = memchr(text + start, '\n', ending->length - start);
        size_t end = newline ? (size_t)(newline - text) : ending->length;
        bool whole = newline || finished;
        if (start > 0 && repeats(ending, text + start, end - start, whole)) {
            ending->ended |= whole;
            return start - 1;
        }
        if (!newline)
            return end;
        lines += trimmed(text + start, end - start) > 0;
        if (ending->lines && lines == ending->lines) {
            ending->ended = true;
            return end;
        }
        start = end + 1;
    }
}

static void look(struct kg_ending *ending, bool finished)
{
    size_t n = certain(ending, finished);
    if (ending->ended)
        ending->length = n;
    ending->given = n > ending->given ? n : ending->given;
}

bool kg_ending_take(struct kg_ending *ending, const char *text, size_t length)
{
    if (ending->ended || length == 0)
        return ending->ended;
    if (ending->length + length + 1 > ending->capacity) {
        size_t capacity = 2 * (ending->length + length) + 256;
        char *grown = realloc(ending->text, capacity);
        ending->nomem = !grown;
        ending->ended |= !grown;
        if (!grown)
            return true;
        ending->text = grown;
        ending->capacity = capacity;
    }
    size_t before = kg_glyph_boundary_before(ending->text, ending->length, ending->length); /* marks come behind what they are on */
    memcpy(ending->text + ending->length, text, length);
    ending->length += length;
    size_t seen = visible(ending->text, ending->length, before);
    bool hidden = seen < ending->length;
    ending->length = seen;
    ending->text[ending->length] = '\0';
    look(ending, hidden);
    ending->ended |= hidden;
    return ending->ended;
}

void kg_ending_finish(struct kg_ending *ending)
{
    if (!ending->ended && ending->text)
        look(ending, true);
    ending->ended = true;
}

void kg_ending_clear(struct kg_ending *ending)
{
    free(ending->text);
    *ending = (struct kg_ending){ 0 };
}
