#include "tui/input/mention.h"

#include <stdio.h>
#include <string.h>

static bool is_space(char c)
{
    return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

bool kg_mention_next(const char *text, size_t length, size_t from, struct kg_mention *out)
{
    for (size_t at = from; at < length; at++) {
        if (text[at] != '@' || (at > 0 && !is_space(text[at - 1]) && text[at - 1] != '('))
            continue;
        bool quoted = at + 1 < length && text[at + 1] == '"';
        size_t start = at + 1 + quoted, end = start;
        while (end < length && (quoted ? text[end] != '"' && text[end] != '\n' : !is_space(text[end])))
            end++;
        out->at = at;
        out->path = start;
        out->path_length = end - start;
        out->end = quoted && end < length && text[end] == '"' ? end + 1 : end;
        return true;
    }
    return false;
}

size_t kg_mention_of(const char *path, char *out, size_t capacity)
{
    bool quoted = strpbrk(path, " \t\r") != NULL;
    if (strchr(path, '\n') || (quoted ? strchr(path, '"') != NULL : *path == '"'))
        return 0;
    int n = snprintf(out, capacity, quoted ? "@\"%s\"" : "@%s", path);
    return n < 0 ? 0 : (size_t)n < capacity ? (size_t)n : capacity - 1;
}
