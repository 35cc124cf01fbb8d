#include "tui/input/vi_motion.h"

#include <string.h>
#include <utf8proc.h>

#include "tui/screen/glyph.h"

size_t kg_vi_right(const struct kg_vi_text *text, size_t at)
{
    struct kg_glyph glyph;
    if (at >= text->length)
        return text->length;
    kg_glyph_next(text->text + at, text->length - at, &glyph);
    return at + glyph.bytes;
}

size_t kg_vi_left(const struct kg_vi_text *text, size_t at)
{
    return at == 0 ? 0 : kg_glyph_boundary_before(text->text, text->length, at);
}

size_t kg_vi_line_start(const struct kg_vi_text *text, size_t at)
{
    const char *newline = memrchr(text->text, '\n', at);
    return newline ? (size_t)(newline - text->text) + 1 : 0;
}

size_t kg_vi_line_end(const struct kg_vi_text *text, size_t at)
{
    const char *newline = memchr(text->text + at, '\n', text->length - at);
    return newline ? (size_t)(newline - text->text) : text->length;
}

size_t kg_vi_line_text(const struct kg_vi_text *text, size_t at)
{
    size_t start = kg_vi_line_start(text, at), end = kg_vi_line_end(text, at);
    while (start < end && (text->text[start] == ' ' || text->text[start] == '\t'))
        start++;
    return start;
}

/* 0 blank, 1 a letter or digit, 2 anything else; with big words only blanks and others. */
static int class_of(const struct kg_vi_text *text, size_t at, bool big)
{
    int32_t code;
    if (at >= text->length || strchr(" \t\n", text->text[at]))
        return 0;
    if (utf8proc_iterate((const utf8proc_uint8_t *)text->text + at, (utf8proc_ssize_t)(text->length - at), &code) <= 0)
        return 2;
    utf8proc_category_t category = utf8proc_category(code);
    if (category == UTF8PROC_CATEGORY_ZS)
        return 0;
    return big || code == '_' || (category >= UTF8PROC_CATEGORY_LU && category <= UTF8PROC_CATEGORY_NO) ? 1 : 2;
}

/* An empty line is a word. */
static bool is_empty_line(const struct kg_vi_text *text, size_t at)
{
    return at < text->length && text->text[at] == '\n' && (at == 0 || text->text[at - 1] == '\n');
}

static size_t word_next(const struct kg_vi_text *text, size_t at, bool big)
{
    int class = class_of(text, at, big);
    while (class && at < text->length && class_of(text, at, big) == class)
        at = kg_vi_right(text, at);
    if (is_empty_line(text, at) && !class)
        at++;
    while (at < text->length && !class_of(text, at, big) && !is_empty_line(text, at))
        at = kg_vi_right(text, at);
    return at;
}

static size_t word_end(const struct kg_vi_text *text, size_t at, bool big)
{
    at = kg_vi_right(text, at);
    while (at < text->length && !class_of(text, at, big))
        at = kg_vi_right(text, at);
    int class = class_of(text, at, big);
    for (size_t next; at < text->length && class_of(text, next = kg_vi_right(text, at), big) == class && next < text->length;)
        at = next;
    return at < text->length ? at : kg_vi_left(text, text->length);
}

static size_t word_before(const struct kg_vi_text *text, size_t at, bool big)
{
    at = kg_vi_left(text, at);
    while (at > 0 && !class_of(text, at, big) && !is_empty_line(text, at))
        at = kg_vi_left(text, at);
    int class = class_of(text, at, big);
    for (size_t before; class && at > 0 && class_of(text, before = kg_vi_left(text, at), big) == class;)
        at = before;
    return at;
}

/* f F t T, within the line. */
static bool find_character(const struct kg_vi_text *text, size_t cursor, const struct kg_vi_motion *motion, size_t *out)
{
    bool ahead = motion->name == 'f' || motion->name == 't', before = motion->name == 't' || motion->name == 'T';
    size_t start = kg_vi_line_start(text, cursor), end = kg_vi_line_end(text, cursor), n = strlen(motion->argument), at = cursor;
    unsigned left = motion->count ? motion->count : 1;
    if (before && motion->again) /* from behind the one that it stands before */
        at = ahead ? kg_vi_right(text, at) : kg_vi_left(text, at);
    while (left > 0) {
        if (ahead ? at >= end : at <= start)
            return false;
        at = ahead ? kg_vi_right(text, at) : kg_vi_left(text, at);
        if (at < end && end - at >= n && memcmp(text->text + at, motion->argument, n) == 0)
            left--;
    }
    *out = !before ? at : ahead ? kg_vi_left(text, at) : kg_vi_right(text, at);
    return true;
}

/* The bracket that goes with the one at or behind the cursor in its line. */
static bool match_bracket(const struct kg_vi_text *text, size_t cursor, size_t *out)
{
    static const char brackets[] = "([{)]}";
    size_t end = kg_vi_line_end(text, cursor), at = cursor;
    while (at < end && !strchr(brackets, text->text[at]))
        at++;
    if (at == end)
        return false;
    size_t kind = (size_t)(strchr(brackets, text->text[at]) - brackets);
    char same = brackets[kind], other = brackets[(kind + 3) % 6];
    int depth = 0;
    for (;; at += kind < 3 ? 1 : (size_t)-1) {
        depth += text->text[at] == same ? 1 : text->text[at] == other ? -1 : 0;
        if (depth == 0) {
            *out = at;
            return true;
        }
        if (kind < 3 ? at + 1 >= text->length : at == 0)
            return false;
    }
}

static size_t paragraph(const struct kg_vi_text *text, size_t at, bool ahead)
{
    if (ahead) {
        while (at < text->length && is_empty_line(text, at))
            at++;
        while (at < text->length && !is_empty_line(text, at))
            at++;
        return at;
    }
    while (at > 0 && is_empty_line(text, at - 1))
        at--;
    while (at > 0 && !is_empty_line(text, at - 1))
        at--;
    return at > 0 ? at - 1 : 0;
}

/* Lines up or down, or the line of that number; false beyond the first and last. */
static bool go_lines(const struct kg_vi_text *text, size_t cursor, const struct kg_vi_motion *motion, size_t *out)
{
    unsigned count = motion->count ? motion->count : 1;
    size_t at = kg_vi_line_start(text, cursor);
    if (motion->name == 'G' && !motion->count) {
        *out = kg_vi_line_text(text, text->length);
        return true;
    }
    if (motion->name == 'G' || motion->name == 'g') {
        for (at = 0; --count > 0 && kg_vi_line_end(text, at) < text->length;)
            at = kg_vi_line_end(text, at) + 1;
        *out = kg_vi_line_text(text, at);
        return true;
    }
    for (; count > 0; count--) {
        size_t end = kg_vi_line_end(text, at);
        if (motion->name == 'j' ? end == text->length : at == 0)
            return false;
        at = motion->name == 'j' ? end + 1 : kg_vi_line_start(text, at - 1);
    }
    *out = at;
    return true;
}

static size_t step(const struct kg_vi_text *text, size_t at, char name)
{
    bool big = name == 'W' || name == 'B' || name == 'E';
    switch (name) {
    case 'h':
        return at > kg_vi_line_start(text, at) ? kg_vi_left(text, at) : at;
    case 'l':
        return at < kg_vi_line_end(text, at) ? kg_vi_right(text, at) : at;
    case 'w':
    case 'W':
        return word_next(text, at, big);
    case 'b':
    case 'B':
        return word_before(text, at, big);
    case 'e':
    case 'E':
        return word_end(text, at, big);
    default:
        return paragraph(text, at, name == '}');
    }
}

bool kg_vi_go(const struct kg_vi_text *text, size_t cursor, const struct kg_vi_motion *motion, size_t *out)
{
    unsigned count = motion->count ? motion->count : 1;
    *out = cursor;
    switch (motion->name) {
    case '0':
        *out = kg_vi_line_start(text, cursor);
        return true;
    case '^':
        *out = kg_vi_line_text(text, cursor);
        return true;
    case '$':
        for (*out = kg_vi_line_end(text, cursor); --count > 0 && *out < text->length;)
            *out = kg_vi_line_end(text, *out + 1);
        return true;
    case 'f':
    case 'F':
    case 't':
    case 'T':
        return find_character(text, cursor, motion, out);
    case '%':
        return match_bracket(text, cursor, out);
    case 'j':
    case 'k':
    case 'G':
    case 'g':
        return go_lines(text, cursor, motion, out);
    default:
        for (size_t before; count > 0; count--) {
            before = *out;
            *out = step(text, *out, motion->name);
            if (*out == before)
                break;
        }
        return *out != cursor;
    }
}

struct kg_vi_span kg_vi_lines(const struct kg_vi_text *text, size_t from, size_t to)
{
    size_t end = kg_vi_line_end(text, from < to ? to : from);
    return (struct kg_vi_span){ .from = kg_vi_line_start(text, from < to ? from : to), .to = end < text->length ? end + 1 : end, .lines = true,
                                 .last = end == text->length };
}

/* The blanks and the newline before the place that w went to are not the operator's when they lie in another line. */
static size_t without_next_line(const struct kg_vi_text *text, size_t from, size_t to)
{
    size_t start = kg_vi_line_start(text, to);
    if (start > from + 1 && kg_vi_line_text(text, to) >= to)
        return start - 1;
    return to;
}

bool kg_vi_span(const struct kg_vi_text *text, size_t cursor, const struct kg_vi_motion *motion, char operator_, struct kg_vi_span *out)
{
    struct kg_vi_motion given = *motion;
    size_t target;
    bool word = motion->name == 'w' || motion->name == 'W';
    if (operator_ == 'c' && word && class_of(text, cursor, motion->name == 'W')) { /* to the end of the word, as ever */
        size_t at = kg_vi_left(text, word_next(text, cursor, motion->name == 'W'));
        given.name = motion->name == 'w' ? 'e' : 'E';
        for (; at > cursor && !class_of(text, at, motion->name == 'W');)
            at = kg_vi_left(text, at);
        if (given.count <= 1 || at < cursor) { /* e would go on from the end of a word */
            *out = (struct kg_vi_span){ .from = cursor, .to = kg_vi_right(text, at) };
            return true;
        }
    }
    if (!kg_vi_go(text, cursor, &given, &target))
        return false;
    if (strchr("jkGg", motion->name)) {
        *out = kg_vi_lines(text, cursor, target);
        return true;
    }
    *out = (struct kg_vi_span){ .from = target < cursor ? target : cursor, .to = target < cursor ? cursor : target };
    bool inclusive = strchr("eEft", given.name) || given.name == '%';
    if (inclusive)
        out->to = kg_vi_right(text, out->to);
    if (word)
        out->to = without_next_line(text, out->from, out->to);
    return out->to > out->from;
}

static bool word_object(const struct kg_vi_text *text, size_t cursor, bool around, bool big, struct kg_vi_span *out)
{
    size_t start = kg_vi_line_start(text, cursor), end = kg_vi_line_end(text, cursor), from = cursor, to = cursor;
    int class = class_of(text, cursor, big);
    while (from > start && class_of(text, kg_vi_left(text, from), big) == class)
        from = kg_vi_left(text, from);
    while (to < end && class_of(text, to, big) == class)
        to = kg_vi_right(text, to);
    size_t word = to;
    if (around && class == 0) { /* blanks, and the word behind them */
        int next = class_of(text, to, big);
        while (to < end && class_of(text, to, big) == next)
            to = kg_vi_right(text, to);
    } else if (around) {
        while (to < end && class_of(text, to, big) == 0)
            to = kg_vi_right(text, to);
        while (to == word && from > start && class_of(text, kg_vi_left(text, from), big) == 0)
            from = kg_vi_left(text, from);
    }
    *out = (struct kg_vi_span){ .from = from, .to = to };
    return to > from;
}

static bool quoted_object(const struct kg_vi_text *text, size_t cursor, bool around, char quote, struct kg_vi_span *out)
{
    size_t end = kg_vi_line_end(text, cursor), open = kg_vi_line_start(text, cursor), close;
    for (;; open = close + 1) {
        while (open < end && text->text[open] != quote)
            open += text->text[open] == '\\' && open + 1 < end ? 2 : 1;
        for (close = open + 1; close < end && text->text[close] != quote;)
            close += text->text[close] == '\\' && close + 1 < end ? 2 : 1;
        if (close >= end)
            return false;
        if (close >= cursor) /* around the cursor, or the next one */
            break;
    }
    *out = (struct kg_vi_span){ .from = around ? open : open + 1, .to = around ? close + 1 : close };
    return true;
}

static bool bracket_object(const struct kg_vi_text *text, size_t cursor, bool around, char open, char close, struct kg_vi_span *out)
{
    size_t from = cursor, to;
    int depth = 0;
    if (cursor >= text->length || text->text[cursor] != open)
        for (depth = 1; depth > 0;) { /* the one that is open here */
            if (from-- == 0)
                return false;
            depth += text->text[from] == close ? 1 : text->text[from] == open ? -1 : 0;
        }
    for (to = from; to < text->length; to++) {
        depth += text->text[to] == open ? 1 : text->text[to] == close ? -1 : 0;
        if (depth == 0)
            break;
    }
    if (to == text->length)
        return false;
    *out = (struct kg_vi_span){ .from = around ? from : from + 1, .to = around ? to + 1 : to };
    return true;
}

static bool paragraph_object(const struct kg_vi_text *text, size_t cursor, bool around, struct kg_vi_span *out)
{
    size_t from = kg_vi_line_start(text, cursor), to = cursor;
    if (text->length == 0 || is_empty_line(text, from))
        return false;
    while (from > 0 && !is_empty_line(text, from - 1))
        from = kg_vi_line_start(text, from - 1);
    while (to < text->length && !is_empty_line(text, to))
        to++;
    while (around && to < text->length && is_empty_line(text, to))
        to++;
    *out = (struct kg_vi_span){ .from = from, .to = to, .lines = true };
    return true;
}

bool kg_vi_object(const struct kg_vi_text *text, size_t cursor, bool around, char name, struct kg_vi_span *out)
{
    static const char open[] = "([{<", close[] = ")]}>";
    const char *found;
    name = name == 'b' ? '(' : name;
    name = name == 'B' ? '{' : name;
    if (name == 'w' || name == 'W')
        return word_object(text, cursor, around, name == 'W', out);
    if (name == '"' || name == '\'' || name == '`')
        return quoted_object(text, cursor, around, name, out);
    if (name == 'p')
        return paragraph_object(text, cursor, around, out);
    if (name && ((found = strchr(open, name)) || ((found = strchr(close, name)) && (found = open + (found - close)))))
        return bracket_object(text, cursor, around, *found, close[found - open], out);
    return false;
}
