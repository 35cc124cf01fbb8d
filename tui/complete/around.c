#include "tui/complete/around.h"

#include <stdbool.h>
#include <string.h>

/* Lines that are seen at least, and in which steps there are more: the first line is a multiple of the step from the text's
 * beginning, the last one from its end. */
#define LINES_BEFORE 96
#define STEP_BEFORE  64
#define LINES_BEHIND 48
#define STEP_BEHIND  16
/* The same for bytes, where lines are long. */
#define STEP_BYTES 1024

static bool continues(char c)
{
    return ((unsigned char)c & 0xc0) == 0x80;
}

static size_t count_lines(const char *text, size_t length)
{
    size_t n = 0;
    for (const char *at = text, *end = text + length; (at = memchr(at, '\n', (size_t)(end - at))); at++)
        n++;
    return n;
}

/* Back over so many line ends, to the start of a line. */
static size_t back(const char *text, size_t at, size_t lines)
{
    for (size_t n = 0; at > 0; at--)
        if (text[at - 1] == '\n' && n++ == lines)
            break;
    return at;
}

static size_t forth(const char *text, size_t length, size_t at, size_t lines)
{
    while (lines-- > 0 && at < length) {
        const char *newline = memchr(text + at, '\n', length - at);
        at = newline ? (size_t)(newline - text) + 1 : length;
    }
    return at;
}

static size_t begin_of(const char *text, size_t cursor)
{
    size_t line = count_lines(text, cursor), wanted = line > LINES_BEFORE ? (line - LINES_BEFORE) / STEP_BEFORE * STEP_BEFORE : 0;
    size_t from = back(text, cursor, line - wanted);
    while (cursor - from > KG_AROUND_BEFORE) {
        size_t next = forth(text, cursor, from, STEP_BEFORE / 4);
        if (next >= cursor)
            next = from < (cursor - KG_AROUND_BEFORE) ? (cursor - KG_AROUND_BEFORE + STEP_BYTES - 1) / STEP_BYTES * STEP_BYTES : cursor;
        from = next;
    }
    while (from < cursor && continues(text[from]))
        from++;
    return from;
}

static size_t end_of(const char *text, size_t length, size_t cursor)
{
    size_t line = count_lines(text + cursor, length - cursor); /* from the end */
    size_t wanted = line > LINES_BEHIND ? (line - LINES_BEHIND) / STEP_BEHIND * STEP_BEHIND : 0;
    size_t to = wanted > 0 ? forth(text, length, cursor, line - wanted) : length;
    if (to - cursor > KG_AROUND_BEHIND) {
        size_t from_end = length - cursor - KG_AROUND_BEHIND;
        from_end = (from_end + STEP_BYTES - 1) / STEP_BYTES * STEP_BYTES;
        to = length - from_end > cursor ? length - from_end : cursor;
    }
    while (to > cursor && to < length && continues(text[to]))
        to--;
    return to;
}

struct kg_around kg_around_cursor(const char *text, size_t length, size_t cursor)
{
    return (struct kg_around){ .from = begin_of(text, cursor), .to = end_of(text, length, cursor) };
}

size_t kg_place_in(const char *text, size_t length, size_t line, size_t column)
{
    size_t at = forth(text, length, 0, line > 0 ? line - 1 : 0);
    const char *newline = memchr(text + at, '\n', length - at);
    size_t end = newline ? (size_t)(newline - text) : length;
    if (newline && end > at && text[end - 1] == '\r')
        end--;
    size_t place = column > 1 && column - 1 < end - at ? at + column - 1 : column > 1 ? end : at;
    while (place > at && place < end && continues(text[place]))
        place--;
    return place;
}
