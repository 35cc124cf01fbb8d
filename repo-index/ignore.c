#include "repo-index/ignore.h"

#include <ctype.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "repo-index/arena.h"

struct rule {
    const char *pattern;
    uint32_t length;
    uint32_t literal; /* bytes before the first special character */
    bool negated, only_dirs, by_name;
    bool is_ending; /* a star and nothing special behind it */
};

struct kg_ignore_rules {
    struct rule *rules;
    size_t count, capacity;
    char *text;
};

static bool in_class(const char *name, size_t length, unsigned char c, bool *known)
{
    static const struct {
        const char *name;
        int (*is)(int);
    } classes[] = {
        { "alnum", isalnum }, { "alpha", isalpha }, { "blank", isblank }, { "cntrl", iscntrl }, { "digit", isdigit }, { "graph", isgraph },
        { "lower", islower }, { "print", isprint }, { "punct", ispunct }, { "space", isspace }, { "upper", isupper }, { "xdigit", isxdigit },
    };
    for (size_t i = 0; i < sizeof classes / sizeof classes[0]; i++)
        if (strlen(classes[i].name) == length && memcmp(name, classes[i].name, length) == 0)
            return c < 0x80 && classes[i].is(c);
    *known = false;
    return false;
}

/* A set: *p stands on '[' and is left behind ']'. False for a broken set, which matches nothing. */
static bool match_set(const char **p, const char *end, unsigned char c, bool *matched)
{
    const char *s = *p + 1;
    bool negated = s < end && (*s == '!' || *s == '^');
    s += negated;
    unsigned char before = 0;
    bool hit = false;
    bool known = true;
    for (bool first = true; s < end && (first || *s != ']'); first = false, s++) {
        unsigned char now = (unsigned char)*s;
        if (now == '\\') {
            if (++s == end)
                return false;
            now = (unsigned char)*s;
            hit |= c == now;
        } else if (now == '-' && before && s + 1 < end && s[1] != ']') {
            s++;
            if (*s == '\\' && ++s == end)
                return false;
            hit |= c >= before && c <= (unsigned char)*s;
            now = 0;
        } else if (now == '[' && s + 1 < end && s[1] == ':') {
            const char *close = memchr(s + 2, ']', (size_t)(end - s - 2));
            if (!close)
                return false;
            if (close - s >= 3 && close[-1] == ':') {
                hit |= in_class(s + 2, (size_t)(close - 1 - (s + 2)), c, &known);
                s = close;
                now = 0;
            } else {
                hit |= c == '[';
            }
        } else {
            hit |= c == now;
        }
        before = now;
    }
    *p = s + 1;
    *matched = hit != negated;
    return s < end && known;
}

/* One character of the text against one element of the pattern; moves *p behind it when it matches. */
static bool match_one(const char **p, const char *end, unsigned char c, bool path)
{
    const char *s = *p;
    if (s == end)
        return false;
    bool matched;
    switch (*s) {
    case '?':
        matched = !path || c != '/';
        s++;
        break;
    case '[':
        if (!match_set(&s, end, c, &matched) || (path && c == '/'))
            return false;
        break;
    case '\\':
        if (++s == end)
            return false;
        /* fall through */
    default:
        matched = c == (unsigned char)*s++;
    }
    if (matched)
        *p = s;
    return matched;
}

/* Only the latest star of each kind needs to be tried again: an earlier one could give it nothing that it cannot take. */
bool kg_glob_match(const char *pattern, size_t pattern_length, const char *text, bool path)
{
    const char *p = pattern;
    const char *end = pattern + pattern_length;
    const char *t = text;
    const char *star = NULL, *star_text = NULL; /* behind the latest `*`, and where its rest was tried */
    const char *deep = NULL, *deep_text = NULL; /* the same for the latest `**` */
    bool deep_at_slash = false;                 /* `**` and a slash: its rest begins at a component */
    for (;;) {
        if (p < end && *p == '*') {
            const char *behind = p;
            while (behind < end && *behind == '*')
                behind++;
            bool escaped = behind + 1 < end && behind[0] == '\\' && behind[1] == '/';
            bool crosses = path && behind - p >= 2 && (p == pattern || p[-1] == '/') && (behind == end || *behind == '/' || escaped);
            if (behind == end && (crosses || !path || !strchr(t, '/')))
                return true;
            if (crosses) {
                deep_at_slash = !escaped;
                deep = behind + deep_at_slash;
                deep_text = t;
                star = NULL;
                p = deep;
            } else {
                star = p = behind;
                star_text = t;
            }
            continue;
        }
        if (*t == '\0')
            return p == end;
        if (match_one(&p, end, (unsigned char)*t, path)) {
            t++;
            continue;
        }
        if (star && (!path || *star_text != '/')) {
            t = ++star_text;
            p = star;
            continue;
        }
        deep_text = deep && deep_at_slash ? strchr(deep_text, '/') : deep_text;
        if (!deep || !deep_text || *deep_text == '\0')
            return false;
        t = ++deep_text;
        p = deep;
        star = NULL;
    }
}

static bool parse_line(struct kg_ignore_rules *rules, char *line, size_t length)
{
    /* trailing spaces do not count unless quoted with a backslash */
    size_t kept = 0;
    for (size_t i = 0; i < length; i++) {
        if (line[i] == '\\')
            i++;
        else if (line[i] == ' ')
            continue;
        kept = i + 1;
    }
    length = kept < length ? kept : length;
    struct rule rule = { 0 };
    if (length && line[0] == '!') {
        rule.negated = true;
        line++;
        length--;
    }
    if (length && line[length - 1] == '/') {
        rule.only_dirs = true;
        length--;
    }
    rule.by_name = !memchr(line, '/', length);
    if (length && line[0] == '/') {
        line++;
        length--;
    }
    if (length == 0)
        return true;
    if (!kg_grow(&rules->rules, rules->count, &rules->capacity, sizeof *rules->rules))
        return false;
    rule.pattern = line;
    rule.length = (uint32_t)length;
    while (rule.literal < length && !strchr("*?[\\", line[rule.literal]))
        rule.literal++;
    size_t plain = 1;
    while (plain < length && !strchr("*?[\\", line[plain]))
        plain++;
    rule.is_ending = rule.by_name && line[0] == '*' && plain == length;
    rules->rules[rules->count++] = rule;
    return true;
}

struct kg_ignore_rules *kg_ignore_parse(const char *text, size_t length)
{
    struct kg_ignore_rules *rules = calloc(1, sizeof *rules);
    char *copy = rules ? malloc(length + 1) : NULL;
    if (!copy) {
        free(rules);
        return NULL;
    }
    memcpy(copy, text, length);
    copy[length] = '\0';
    rules->text = copy;
    size_t at = length >= 3 && memcmp(copy, "\xef\xbb\xbf", 3) == 0 ? 3 : 0;
    while (at < length) {
        char *line = copy + at;
        char *feed = memchr(line, '\n', length - at);
        size_t n = feed ? (size_t)(feed - line) : length - at;
        at += n + 1;
        if (feed && n && line[n - 1] == '\r')
            n--;
        n = strnlen(line, n);
        if (n && line[0] != '#' && !parse_line(rules, line, n)) {
            kg_ignore_free(rules);
            return NULL;
        }
    }
    return rules;
}

void kg_ignore_free(struct kg_ignore_rules *rules)
{
    if (rules) {
        free(rules->rules);
        free(rules->text);
        free(rules);
    }
}

/* Like git, the bytes before the first special character are compared first and `**` right behind them counts as one at
 * the beginning. */
static bool rule_matches(const struct rule *rule, const char *text)
{
    if (rule->is_ending) {
        size_t n = strlen(text), ending = rule->length - 1;
        return n >= ending && memcmp(text + n - ending, rule->pattern + 1, ending) == 0;
    }
    if (strncmp(rule->pattern, text, rule->literal) != 0)
        return false;
    if (rule->literal == rule->length)
        return text[rule->literal] == '\0';
    size_t skip = rule->by_name ? 0 : rule->literal;
    return kg_glob_match(rule->pattern + skip, rule->length - skip, text + skip, !rule->by_name);
}

enum kg_ignore_verdict kg_ignore_match(const struct kg_ignore_rules *rules, const char *path, const char *name, bool is_dir)
{
    for (size_t i = rules->count; i-- > 0;) {
        const struct rule *rule = &rules->rules[i];
        if ((!rule->only_dirs || is_dir) && rule_matches(rule, rule->by_name ? name : path))
            return rule->negated ? KG_IGNORE_NO : KG_IGNORE_YES;
    }
    return KG_IGNORE_SILENT;
}
