#include "tui/changes/text.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

void kg_growing_add(struct kg_growing *text, const char *bytes, size_t length)
{
    if (text->failed)
        return;
    if (text->length + length + 1 > text->capacity) {
        size_t capacity = 2 * (text->length + length) + 64;
        char *grown = realloc(text->bytes, capacity);
        if (!grown) {
            text->failed = true;
            return;
        }
        text->bytes = grown;
        text->capacity = capacity;
    }
    if (length > 0)
        memcpy(text->bytes + text->length, bytes, length);
    text->length += length;
    text->bytes[text->length] = '\0';
}

void kg_growing_puts(struct kg_growing *text, const char *string)
{
    kg_growing_add(text, string, strlen(string));
}

void kg_growing_free(struct kg_growing *text)
{
    free(text->bytes);
    *text = (struct kg_growing){ 0 };
}

char *kg_growing_take(struct kg_growing *text, size_t *length)
{
    kg_growing_add(text, "", 0);
    char *bytes = text->failed ? NULL : text->bytes;
    if (!bytes)
        free(text->bytes);
    *length = bytes ? text->length : 0;
    *text = (struct kg_growing){ 0 };
    return bytes;
}

char *kg_copy_text(const char *text, size_t length)
{
    char *copy = malloc(length + 1);
    if (!copy)
        return NULL;
    if (length)
        memcpy(copy, text, length);
    copy[length] = '\0';
    return copy;
}

bool kg_lines_of(const char *text, size_t length, struct kg_lines *out)
{
    size_t count = 0;
    *out = (struct kg_lines){ 0 };
    for (const char *at = text, *end = text + length; at < end; count++) {
        const char *feed = memchr(at, '\n', (size_t)(end - at));
        at = feed ? feed + 1 : end;
    }
    out->lines = malloc((count ? count : 1) * sizeof *out->lines);
    if (!out->lines)
        return false;
    for (const char *at = text, *end = text + length; at < end;) {
        const char *feed = memchr(at, '\n', (size_t)(end - at));
        const char *stop = feed ? feed : end;
        size_t cr = feed && stop > at && stop[-1] == '\r';
        out->lines[out->count++] = (struct kg_line){ .text = at, .length = (size_t)(stop - at) - cr, .end = feed ? 1 + cr : 0 };
        at = feed ? feed + 1 : end;
    }
    return true;
}

void kg_lines_free(struct kg_lines *lines)
{
    free(lines->lines);
    *lines = (struct kg_lines){ 0 };
}

void kg_growing_add_line(struct kg_growing *text, const struct kg_line *line)
{
    kg_growing_add(text, line->text, line->length + line->end);
}

static bool is_space(char c)
{
    return c == ' ' || c == '\t' || c == '\r' || c == '\f' || c == '\v';
}

size_t kg_indent(const struct kg_line *line)
{
    size_t n = 0;
    while (n < line->length && is_space(line->text[n]))
        n++;
    return n;
}

bool kg_is_blank(const struct kg_line *line)
{
    return kg_indent(line) == line->length;
}

bool kg_same_line(const struct kg_line *a, const struct kg_line *b)
{
    return a->length == b->length && memcmp(a->text, b->text, a->length) == 0;
}

struct kg_line kg_trimmed(const struct kg_line *line)
{
    size_t from = kg_indent(line);
    size_t to = line->length;
    while (to > from && is_space(line->text[to - 1]))
        to--;
    return (struct kg_line){ .text = line->text + from, .length = to - from };
}

bool kg_same_trimmed(const struct kg_line *a, const struct kg_line *b)
{
    struct kg_line x = kg_trimmed(a);
    struct kg_line y = kg_trimmed(b);
    return kg_same_line(&x, &y);
}

bool kg_ends_in_crlf(const struct kg_lines *lines)
{
    size_t crlf = 0;
    for (size_t i = 0; i < lines->count; i++)
        crlf += lines->lines[i].end == 2;
    return crlf > 0 && 2 * crlf >= lines->count;
}
