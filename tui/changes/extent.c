#include "tui/changes/extent.h"

#include <stdint.h>
#include <string.h>

/* Goes through the characters of code that are neither in a comment nor in a string. */
struct scan {
    bool hashes;       /* '#' begins a comment, and three quotes a long string */
    char quote;        /* of the string that goes on into the next line; 0 = none */
    bool comment;      /* goes on into the next line */
    char last;         /* character of code before, blanks not counted */
    long depth;
    bool braces;       /* a '}' has closed the outermost bracket */
    bool negative;
};

static bool starts(const struct kg_line *line, size_t at, const char *text)
{
    size_t n = strlen(text);
    return at + n <= line->length && memcmp(line->text + at, text, n) == 0;
}

/* Behind the string that begins (or goes on) at `at`. A quote that nothing closes on its line is an apostrophe. */
static size_t skip_string(struct scan *s, const struct kg_line *line, size_t at, char quote, bool triple, bool inside)
{
    size_t begin = at;
    for (at += inside ? 0 : triple ? 3 : 1; at < line->length; at++) {
        const char three[4] = { quote, quote, quote, '\0' };
        if (line->text[at] == '\\' && quote != '\0')
            at++;
        else if (triple ? starts(line, at, three) : line->text[at] == quote) {
            s->quote = 0;
            return at + (triple ? 3 : 1);
        }
    }
    if (triple || quote == '`') {
        s->quote = quote;
        return line->length;
    }
    return quote == '\'' ? begin + 1 : line->length;
}

/* A '/' here begins a regular expression, not a division. */
static bool begins_regex(const struct scan *s, const struct kg_line *line, size_t at)
{
    if (s->hashes || !(s->last == '\0' || strchr("(,=:[!&|?{};", s->last)))
        return false;
    for (size_t i = at + 1; i < line->length; i++) {
        if (line->text[i] == '\\')
            i++;
        else if (line->text[i] == '/')
            return i > at + 1;
    }
    return false;
}

static void bracket(struct scan *s, char c)
{
    if (strchr("([{", c)) {
        s->depth++;
    } else {
        s->depth--;
        s->negative |= s->depth < 0;
        s->braces |= c == '}' && s->depth == 0;
    }
}

/* One line; stops behind a '}' or before a ';' that ends a definition when `to_end` is set. True when there was one. */
static bool scan_line(struct scan *s, const struct kg_line *line, bool to_end)
{
    size_t at = 0;
    if (s->quote)
        at = skip_string(s, line, 0, s->quote, s->quote != '`', true);
    while (at < line->length) {
        char c = line->text[at];
        if (s->comment) {
            s->comment = !starts(line, at, "*/");
            at += s->comment ? 1 : 2;
            continue;
        }
        if (s->hashes ? c == '#' : starts(line, at, "//"))
            break;
        if (!s->hashes && starts(line, at, "/*")) {
            s->comment = true;
            at += 2;
            continue;
        }
        if (c == '"' || c == '\'' || (c == '`' && !s->hashes)) {
            bool triple = s->hashes && (starts(line, at, "\"\"\"") || starts(line, at, "'''"));
            at = skip_string(s, line, at, c, triple, false);
            s->last = '"';
            continue;
        }
        if (c == '/' && begins_regex(s, line, at)) {
            at = skip_string(s, line, at, '/', false, false);
            s->last = '/';
            continue;
        }
        if (strchr("()[]{}", c))
            bracket(s, c);
        if (to_end && ((c == ';' && s->depth == 0) || s->braces))
            return true;
        if (c != ' ' && c != '\t')
            s->last = c;
        at++;
    }
    return false;
}

static size_t indented_extent(const struct kg_lines *lines, size_t first)
{
    struct scan s = { .hashes = true };
    size_t at = first;
    for (; at < lines->count; at++) {
        scan_line(&s, &lines->lines[at], false);
        if (s.depth <= 0 && !s.quote)
            break;
    }
    if (at == lines->count || s.negative)
        return SIZE_MAX;
    size_t last = at;
    size_t indent = kg_indent(&lines->lines[first]);
    if (s.last != ':')
        return last;
    for (at++; at < lines->count; at++) {
        bool inside = s.quote != 0 || s.depth > 0;
        if (!inside && !kg_is_blank(&lines->lines[at]) && kg_indent(&lines->lines[at]) <= indent)
            break;
        scan_line(&s, &lines->lines[at], false);
        if (!kg_is_blank(&lines->lines[at]))
            last = at;
    }
    return s.quote || s.depth != 0 ? SIZE_MAX : last;
}

static bool goes_on(const struct scan *s, const struct kg_lines *lines, size_t at)
{
    if (s->depth > 0 || s->comment || s->quote || (s->last && strchr("=,(+-*/&|?:><", s->last)))
        return true;
    while (at < lines->count && kg_is_blank(&lines->lines[at]))
        at++;
    if (at == lines->count)
        return false;
    struct kg_line next = kg_trimmed(&lines->lines[at]);
    return strchr("{:.?&|+", next.text[0]) != NULL;
}

size_t kg_extent(const struct kg_lines *lines, size_t first, bool indented)
{
    if (indented)
        return indented_extent(lines, first);
    struct scan s = { 0 };
    bool macro = first < lines->count && starts(&lines->lines[first], 0, "#");
    for (size_t at = first; at < lines->count; at++) {
        if (!macro && scan_line(&s, &lines->lines[at], true))
            return at;
        if (s.negative)
            return SIZE_MAX;
        bool continued = lines->lines[at].length && lines->lines[at].text[lines->lines[at].length - 1] == '\\';
        if (macro ? !continued : !goes_on(&s, lines, at + 1))
            return at;
    }
    return SIZE_MAX;
}

bool kg_is_balanced(const struct kg_lines *lines, size_t first, size_t last, bool indented)
{
    struct scan s = { .hashes = indented };
    for (size_t at = first; at <= last && at < lines->count; at++)
        scan_line(&s, &lines->lines[at], false);
    return s.depth == 0 && !s.negative && !s.comment && !s.quote;
}
