#include "repo-index/define.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

enum role {
    ROLE_OTHER,
    ROLE_MODIFIER,  /* may stand before a keyword or a type */
    ROLE_ACCESS,    /* a modifier that statements never begin with */
    ROLE_KEYWORD,   /* the next word is defined */
    ROLE_TAG,       /* struct and the like: defines, or is part of a type */
    ROLE_VALUE,     /* defines when `=` or `:` follows the name, else a modifier */
    ROLE_TYPEDEF,   /* defines the last word of the line */
    ROLE_STATEMENT, /* begins a statement */
};

static const struct word {
    const char *text;
    enum role role;
} words[] = {
    /* in the order of strcmp */
    { "abstract", ROLE_ACCESS },      { "and", ROLE_STATEMENT },      { "assert", ROLE_STATEMENT },    { "async", ROLE_MODIFIER },
    { "await", ROLE_STATEMENT },      { "break", ROLE_STATEMENT },    { "case", ROLE_STATEMENT },      { "catch", ROLE_STATEMENT },
    { "class", ROLE_TAG },            { "const", ROLE_VALUE },        { "constexpr", ROLE_MODIFIER },  { "continue", ROLE_STATEMENT },
    { "data", ROLE_MODIFIER },        { "declare", ROLE_MODIFIER },   { "def", ROLE_KEYWORD },         { "default", ROLE_MODIFIER },
    { "defmodule", ROLE_KEYWORD },    { "defp", ROLE_KEYWORD },       { "delete", ROLE_STATEMENT },    { "do", ROLE_STATEMENT },
    { "elif", ROLE_STATEMENT },       { "else", ROLE_STATEMENT },     { "enum", ROLE_TAG },            { "except", ROLE_STATEMENT },
    { "export", ROLE_MODIFIER },      { "extern", ROLE_MODIFIER },    { "final", ROLE_ACCESS },        { "fn", ROLE_KEYWORD },
    { "for", ROLE_STATEMENT },        { "from", ROLE_STATEMENT },     { "fun", ROLE_KEYWORD },         { "func", ROLE_KEYWORD },
    { "function", ROLE_KEYWORD },     { "goto", ROLE_STATEMENT },     { "if", ROLE_STATEMENT },        { "import", ROLE_STATEMENT },
    { "in", ROLE_STATEMENT },         { "inline", ROLE_MODIFIER },    { "interface", ROLE_TAG },       { "internal", ROLE_ACCESS },
    { "let", ROLE_VALUE },            { "macro", ROLE_KEYWORD },      { "mod", ROLE_KEYWORD },         { "module", ROLE_KEYWORD },
    { "namespace", ROLE_KEYWORD },    { "new", ROLE_STATEMENT },      { "not", ROLE_STATEMENT },       { "object", ROLE_TAG },
    { "or", ROLE_STATEMENT },         { "override", ROLE_ACCESS },    { "package", ROLE_STATEMENT },   { "print", ROLE_STATEMENT },
    { "private", ROLE_ACCESS },       { "proc", ROLE_KEYWORD },       { "protected", ROLE_ACCESS },    { "protocol", ROLE_TAG },
    { "pub", ROLE_MODIFIER },         { "public", ROLE_ACCESS },      { "raise", ROLE_STATEMENT },     { "record", ROLE_TAG },
    { "register", ROLE_MODIFIER },    { "require", ROLE_STATEMENT },  { "return", ROLE_STATEMENT },    { "sealed", ROLE_ACCESS },
    { "sizeof", ROLE_STATEMENT },     { "static", ROLE_MODIFIER },    { "struct", ROLE_TAG },          { "sub", ROLE_KEYWORD },
    { "suspend", ROLE_MODIFIER },     { "switch", ROLE_STATEMENT },   { "table", ROLE_TAG },           { "throw", ROLE_STATEMENT },
    { "trait", ROLE_TAG },            { "try", ROLE_STATEMENT },      { "type", ROLE_KEYWORD },        { "typedef", ROLE_TYPEDEF },
    { "union", ROLE_TAG },            { "unsafe", ROLE_MODIFIER },    { "use", ROLE_STATEMENT },       { "using", ROLE_STATEMENT },
    { "var", ROLE_VALUE },            { "virtual", ROLE_ACCESS },     { "while", ROLE_STATEMENT },     { "with", ROLE_STATEMENT },
    { "yield", ROLE_STATEMENT },
};

struct key {
    const char *text;
    size_t length;
};

static int compare(const void *key, const void *word)
{
    const struct key *k = key;
    const char *text = ((const struct word *)word)->text;
    int order = strncmp(k->text, text, k->length);
    return order ? order : text[k->length] ? -1 : 0;
}

static enum role role_of(const char *text, size_t length)
{
    if (length < 2 || length > 9 || text[0] < 'a')
        return ROLE_OTHER;
    const struct key key = { text, length };
    const struct word *found = bsearch(&key, words, sizeof words / sizeof words[0], sizeof words[0], compare);
    return found ? found->role : ROLE_OTHER;
}

static bool begins_word(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || c == '$';
}

static const char *behind_word(const char *at, const char *end)
{
    while (at < end && (begins_word(*at) || (*at >= '0' && *at <= '9')))
        at++;
    return at;
}

static const char *behind_blanks(const char *at, const char *end)
{
    while (at < end && (*at == ' ' || *at == '\t'))
        at++;
    return at;
}

/* at stands on an opening bracket: behind the one that closes it, or the end. */
static const char *behind_brackets(const char *at, const char *end)
{
    unsigned depth = 0;
    for (; at < end; at++) {
        if (*at == '(' || *at == '<' || *at == '[')
            depth++;
        else if ((*at == ')' || *at == '>' || *at == ']') && --depth == 0)
            return at + 1;
    }
    return at;
}

static enum kg_definition found(const char *name, const char *behind, enum kg_definition what, const char **out, size_t *length)
{
    if (behind == name)
        return KG_DEFINES_NOTHING;
    *out = name;
    *length = (size_t)(behind - name);
    return what;
}

static bool is_word(const char *at, const char *behind, const char *word)
{
    return (size_t)(behind - at) == strlen(word) && memcmp(at, word, (size_t)(behind - at)) == 0;
}

/* The name behind def, fn, func ... ; a Go receiver is passed over. What follows tells code from a sentence. */
static enum kg_definition after_keyword(const char *at, const char *end, bool type, const char **name, size_t *length)
{
    while (at < end && (*at == '*' || *at == '!' || *at == ' ' || *at == '\t'))
        at++;
    if (at < end && *at == '(')
        at = behind_blanks(behind_brackets(at, end), end);
    if (end - at > 5 && memcmp(at, "self.", 5) == 0)
        at += 5;
    const char *behind = at < end && begins_word(*at) ? behind_word(at, end) : at;
    const char *next = behind_blanks(behind, end);
    bool code = next == end ? !type : strchr("(<{:;[=!?", *next) != NULL;
    if (type && next < end && begins_word(*next)) {
        const char *word_end = behind_word(next, end);
        code = is_word(next, word_end, "struct") || is_word(next, word_end, "interface") || is_word(next, word_end, "func") || is_word(next, word_end, "map");
    }
    return code ? found(at, behind, KG_DEFINES, name, length) : KG_DEFINES_NOTHING;
}

/* The name behind struct, class ... unless they only begin a type. */
static enum kg_definition after_tag(const char *at, const char *end, const char **name, size_t *length)
{
    at = behind_blanks(at, end);
    if (at == end || !begins_word(*at))
        return KG_DEFINES_NOTHING;
    const char *behind = behind_word(at, end);
    const char *next = behind_blanks(behind, end);
    if (next < end && *next == ';')
        return found(at, behind, KG_DECLARES, name, length);
    if (next == end || strchr("{:(<", *next) || (begins_word(*next) && (end[-1] == '{' || end[-1] == ':')))
        return found(at, behind, KG_DEFINES, name, length);
    return KG_DEFINES_NOTHING;
}

static enum kg_definition last_word(const char *begin, const char *end, const char **name, size_t *length)
{
    if (end == begin || end[-1] != ';')
        return KG_DEFINES_NOTHING;
    const char *behind = end - 1;
    const char *at = behind;
    while (at > begin && behind_word(at - 1, at) == at)
        at--;
    return found(at, behind, KG_DEFINES, name, length);
}

static bool is_assignment(const char *at, const char *end)
{
    at = behind_blanks(at, end);
    if (at < end && strchr(":?+", *at) && at + 1 < end && at[1] == '=')
        return true;
    return at < end && *at == '=' && (at + 1 == end || (at[1] != '=' && at[1] != '>'));
}

/* `type name(`, `name(...) {`, `Type::name(`, `NAME = `. */
static enum kg_definition by_shape(const char *first, const char *end, bool indented, bool access, const char **name, size_t *length)
{
    const char *at = first;
    unsigned count = 0;
    while (at < end && count < 12) {
        if (!begins_word(*at))
            return KG_DEFINES_NOTHING;
        const char *word = at;
        const char *behind = behind_word(at, end);
        if (role_of(word, (size_t)(behind - word)) == ROLE_STATEMENT)
            return KG_DEFINES_NOTHING;
        count++;
        if (behind < end && *behind == '<')
            behind = behind_brackets(behind, end);
        at = behind_blanks(behind, end);
        if (at < end && *at == '(') {
            bool opens = end[-1] == '{';
            bool closes = end[-1] == ';';
            /* sentences hold brackets too, but seldom end like code */
            if ((count < 2 && !opens) || (indented && !access && !opens) || (count < 2 && memchr(at, ';', (size_t)(end - at))) ||
                !strchr("{}),;", end[-1]))
                return KG_DEFINES_NOTHING;
            return found(word, behind_word(word, end), closes ? KG_DECLARES : KG_DEFINES, name, length);
        }
        if (count == 1 && !indented && is_assignment(at, end))
            return found(word, behind, KG_DEFINES, name, length);
        if (at + 1 < end && at[0] == ':' && at[1] == ':') {
            at += 2;
            count++;
        }
        while (at < end && strchr("*&~ \t", *at))
            at++;
        if (at < end && *at == '[')
            at = behind_blanks(behind_brackets(at, end), end);
    }
    return KG_DEFINES_NOTHING;
}

static enum kg_definition by_words(const char *line, const char *end, bool indented, const char **name, size_t *length)
{
    const char *at = line;
    bool access = false;
    for (unsigned count = 0; count < 6 && at < end && begins_word(*at); count++) {
        const char *behind = behind_word(at, end);
        enum role role = role_of(at, (size_t)(behind - at));
        enum kg_definition what = KG_DEFINES_NOTHING;
        switch (role) {
        case ROLE_STATEMENT:
            return KG_DEFINES_NOTHING;
        case ROLE_KEYWORD:
            if (behind < end && (*behind == ' ' || *behind == '\t' || *behind == '*' || *behind == '!'))
                return after_keyword(behind, end, is_word(at, behind, "type"), name, length);
            break;
        case ROLE_TAG:
            what = after_tag(behind, end, name, length);
            break;
        case ROLE_TYPEDEF:
            return last_word(line, end, name, length);
        case ROLE_VALUE: {
            const char *value = behind_blanks(behind, end);
            const char *next = value < end && begins_word(*value) ? behind_word(value, end) : value;
            if (next > value && (!indented || access) && (is_assignment(next, end) || (next < end && *next == ':')))
                return found(value, next, KG_DEFINES, name, length);
            break;
        }
        case ROLE_ACCESS:
            access = true;
            break;
        case ROLE_MODIFIER:
            break;
        default:
            return by_shape(at, end, indented, access || count, name, length);
        }
        if (what != KG_DEFINES_NOTHING)
            return what;
        if (role == ROLE_TAG)
            return by_shape(at, end, indented, access || count, name, length);
        at = behind < end && *behind == '(' ? behind_brackets(behind, end) : behind;
        at = behind_blanks(at, end);
    }
    return KG_DEFINES_NOTHING;
}

static const char *after_literal(const char *line, const char *end, const char *literal)
{
    size_t n = strlen(literal);
    return (size_t)(end - line) > n && memcmp(line, literal, n) == 0 ? behind_blanks(line + n, end) : NULL;
}

enum kg_definition kg_line_defines(const char *line, size_t length, const char **name, size_t *name_length)
{
    const char *end = line + length;
    while (end > line && (end[-1] == ' ' || end[-1] == '\t' || end[-1] == '\r'))
        end--;
    const char *at = behind_blanks(line, end);
    if (end - at < 4 || end - at > 400)
        return KG_DEFINES_NOTHING;
    const char *rest;
    if (*at == '#') {
        rest = after_literal(behind_blanks(at + 1, end), end, "define ");
        return rest ? found(rest, behind_word(rest, end), KG_DEFINES, name, name_length) : KG_DEFINES_NOTHING;
    }
    if (*at == '}' && at == line)
        return last_word(line, end, name, name_length);
    if ((rest = after_literal(at, end, "(defun ")) || (rest = after_literal(at, end, "(defmacro ")) || (rest = after_literal(at, end, "(define (")))
        return found(rest, behind_word(rest, end), KG_DEFINES, name, name_length);
    if ((rest = after_literal(at, end, "CREATE TABLE ")))
        return found(rest, behind_word(rest, end), KG_DEFINES, name, name_length);
    return begins_word(*at) ? by_words(at, end, at > line, name, name_length) : KG_DEFINES_NOTHING;
}
