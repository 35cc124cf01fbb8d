#include "tui/conversation/excerpt.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/paths.h"

static size_t find_word(const char *text, size_t length, const char *word, size_t word_length)
{
    for (size_t at = 0; at + word_length <= length; at++)
        if (strncasecmp(text + at, word, word_length) == 0)
            return at;
    return length;
}

static size_t first_word(const char *text, size_t length, const char *words)
{
    size_t first = length;
    for (const char *at = words; *at;) {
        size_t n = strcspn(at, " \t\n"), found = n ? find_word(text, length, at, n) : length;
        first = found < first ? found : first;
        at += n + (at[n] != '\0');
    }
    return first < length ? first : 0;
}

static bool is_inside(char c)
{
    return ((unsigned char)c & 0xc0U) == 0x80;
}

/* Blanks of any kind and number become one. */
static size_t flatten(const char *text, size_t length, char *out)
{
    size_t n = 0;
    for (size_t i = 0; i < length; i++) {
        bool blank = text[i] == ' ' || text[i] == '\n' || text[i] == '\t' || text[i] == '\r';
        if (!blank || (n > 0 && out[n - 1] != ' '))
            out[n++] = blank ? ' ' : text[i];
    }
    return n;
}

void kg_excerpt(const char *text, size_t length, const char *words, size_t width, char *out, size_t capacity)
{
    size_t at = first_word(text, length, words), from = at > width / 3 ? at - width / 3 : 0, shown = 0;
    while (from < at && from > 0 && is_inside(text[from]))
        from++;
    size_t to = from;
    for (; to < length && shown < width; shown++)
        do
            to++;
        while (to < length && is_inside(text[to]));
    char *flat = malloc(to - from + sizeof "......");
    out[0] = '\0';
    if (!flat)
        return;
    char *end = stpcpy(flat, from > 0 ? "..." : "");
    end += flatten(text + from, to - from, end);
    end = stpcpy(end, to < length ? "..." : "");
    kg_printable(out, capacity, flat, (size_t)(end - flat));
    free(flat);
}
