#include "tui/transcript/find.h"

#include <string.h>

static unsigned char lower(char c)
{
    return (unsigned char)(c >= 'A' && c <= 'Z' ? c + 32 : c);
}

static bool has_upper(const struct kg_pattern *pattern)
{
    for (size_t i = 0; i < pattern->length; i++)
        if (pattern->text[i] >= 'A' && pattern->text[i] <= 'Z')
            return true;
    return false;
}

static bool matches(const struct kg_pattern *pattern, const char *at, bool exact)
{
    if (exact)
        return memcmp(pattern->text, at, pattern->length) == 0;
    for (size_t i = 0; i < pattern->length; i++)
        if (lower(pattern->text[i]) != lower(at[i]))
            return false;
    return true;
}

size_t kg_find_next(const struct kg_pattern *pattern, const char *text, size_t length, size_t from)
{
    bool exact = has_upper(pattern);
    if (pattern->length == 0 || pattern->length > length)
        return KG_NOWHERE;
    for (size_t at = from; at <= length - pattern->length; at++)
        if (lower(text[at]) == lower(pattern->text[0]) && matches(pattern, text + at, exact))
            return at;
    return KG_NOWHERE;
}

size_t kg_find_before(const struct kg_pattern *pattern, const char *text, size_t length, size_t before)
{
    bool exact = has_upper(pattern);
    if (pattern->length == 0 || pattern->length > length)
        return KG_NOWHERE;
    size_t at = length - pattern->length + 1;
    for (at = before < at ? before : at; at-- > 0;)
        if (lower(text[at]) == lower(pattern->text[0]) && matches(pattern, text + at, exact))
            return at;
    return KG_NOWHERE;
}
