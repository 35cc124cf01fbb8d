#include "repo-index/symbol.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "repo-index/define.h"
#include "repo-index/language.h"

#define SIGNATURE_LINES 12

void kg_symbols_free(struct kg_symbols *symbols)
{
    free(symbols->bytes);
    *symbols = (struct kg_symbols){ 0 };
}

struct reading {
    struct kg_symbols *out;
    enum kg_language language;
    const char *text, *end;
    const char *line; /* the last one looked at, and its number */
    uint32_t number;
};

static const char *behind_line(const char *at, const char *end)
{
    const char *feed = memchr(at, '\n', (size_t)(end - at));
    return feed ? feed + 1 : end;
}

/* The beginning of a line, or NULL. Tags come nearly in order, so that this is one pass. */
static const char *find_line(struct reading *r, uint32_t number)
{
    if (number < r->number) {
        r->line = r->text;
        r->number = 1;
    }
    while (r->number < number && r->line < r->end) {
        r->line = behind_line(r->line, r->end);
        r->number++;
    }
    return r->line < r->end ? r->line : NULL;
}

static size_t without_tail(const char *out, size_t n)
{
    while (n && strchr(" {;=:", out[n - 1]))
        n--;
    return n;
}

/* The line, and while its brackets are open the next ones; never into a body. */
static size_t write_signature(const char *at, const char *end, char out[KG_SYMBOL_SIGNATURE + 1])
{
    size_t n = 0;
    int depth = 0;
    unsigned lines = 0;
    for (; at < end && n < KG_SYMBOL_SIGNATURE; at++) {
        unsigned char c = (unsigned char)*at;
        if (c == '\n' && (depth <= 0 || ++lines == SIGNATURE_LINES))
            break;
        bool comment = c == '/' && at + 1 < end && (at[1] == '/' || at[1] == '*') && n && out[n - 1] == ' ';
        if (depth <= 0 && n && (c == '{' || comment))
            break;
        depth += c == '(' || c == '[';
        depth -= c == ')' || c == ']';
        if (c <= ' ' || c == 0x7f) {
            if (n && out[n - 1] != ' ' && out[n - 1] != '(')
                out[n++] = ' ';
        } else {
            if (c == ')' && n && out[n - 1] == ' ')
                n--;
            out[n++] = (char)c;
        }
    }
    if (n == KG_SYMBOL_SIGNATURE) /* whole characters only */
        while (n && ((unsigned char)out[n - 1] & 0xc0U) == 0x80U)
            n--;
    n -= n && (unsigned char)out[n - 1] >= 0xc0U;
    n = without_tail(out, n);
    out[n] = '\0';
    return n;
}

static bool is_storable(const char *text)
{
    size_t n = 0;
    for (; text[n]; n++)
        if ((unsigned char)text[n] < 0x20 || text[n] == 0x7f || n >= KG_SYMBOL_NAME)
            return false;
    return true;
}

static void put(struct reading *r, const struct kg_ctag *tag)
{
    struct kg_symbols *out = r->out;
    char signature[KG_SYMBOL_SIGNATURE + 1] = "";
    const char *line = find_line(r, tag->line);
    if (!line || out->count == KG_SYMBOLS_MAX || !is_storable(tag->name) || !is_storable(tag->kind) || !is_storable(tag->scope))
        return;
    write_signature(line, r->end, signature);
    size_t wanted = out->length + sizeof((struct kg_symbol_view *)NULL)->bytes;
    if (wanted > out->capacity) {
        char *bigger = realloc(out->bytes, 2 * wanted);
        if (!bigger) {
            out->failed = true;
            return;
        }
        out->bytes = bigger;
        out->capacity = 2 * wanted;
    }
    int n = snprintf(out->bytes + out->length, out->capacity - out->length, "%s\t%s\t%s\t%u\t%u\t%s\n", tag->kind, tag->name, tag->scope, tag->line,
                     tag->end >= tag->line ? tag->end : 0, signature);
    out->length += n > 0 ? (size_t)n : 0;
    out->count++;
}

static bool is_in(const char *const *words, const char *word)
{
    for (; *words; words++)
        if (strcmp(*words, word) == 0)
            return true;
    return false;
}

/* What ctags reports beside definitions: packages that a file belongs to, imported names, locals, and the keywords that an
 * old parser of TypeScript takes for names. */
static void on_tag(void *ctx, const struct kg_ctag *tag)
{
    static const char *const no_definitions[] = { "package", "packageName", "unknown", "header", "anonMember", NULL };
    static const char *const functions[] = { "function", "method", "func", "member", "subroutine", "procedure", "generator", "getter", "setter", NULL };
    static const char *const values[] = { "variable", "constant", "var", "const", "local", "property", NULL };
    static const char *const keywords[] = { "export", "const", "let", "var", "function", "class", "symbol", "default", "async", "static", "readonly", "if", "return", "new", NULL };
    struct reading *r = ctx;
    bool imported = strcmp(tag->kind, "namespace") == 0 && tag->end == 0;
    const char *line = find_line(r, tag->line);
    bool indented = line && (*line == ' ' || *line == '\t');
    bool local = is_in(values, tag->kind) && (is_in(functions, tag->scope_kind) || (indented && r->language == KG_LANGUAGE_JAVASCRIPT && tag->scope[0] == '\0'));
    bool unnamed = strncmp(tag->name, "__anon", 6) == 0 || strncasecmp(tag->name, "anonymousFunction", 17) == 0;
    if (!is_in(no_definitions, tag->kind) && !imported && !local && !unnamed && !(is_in(values, tag->kind) && is_in(keywords, tag->name)))
        put(r, tag);
}

static void by_shape(struct reading *r)
{
    uint32_t number = 1;
    char folded[KG_SYMBOL_NAME + 1];
    for (const char *line = r->text; line < r->end; number++) {
        const char *next = behind_line(line, r->end);
        const char *name;
        size_t n = 0;
        enum kg_definition what = kg_line_defines(line, (size_t)(next - line) - (next > line && next[-1] == '\n'), &name, &n);
        if (what != KG_DEFINES_NOTHING && n <= KG_SYMBOL_NAME) {
            memcpy(folded, name, n);
            folded[n] = '\0';
            const struct kg_ctag tag = { .name = folded, .kind = what == KG_DEFINES ? "definition" : "declaration", .scope = "", .scope_kind = "", .line = number };
            put(r, &tag);
        }
        line = next;
    }
}

static bool has_extension(const char *path, const char *const *extensions)
{
    const char *slash = strrchr(path, '/');
    const char *dot = strrchr(slash ? slash + 1 : path, '.');
    return dot && is_in(extensions, dot + 1);
}

/* Texts that are data: ctags would list every key of them. */
static bool is_data(const char *path)
{
    static const char *const extensions[] = { "json", "yml", "yaml", "xml", "html", "htm", "svg", "ini", "cfg", "conf", "css", "scss", "less", "toml", "txt", "csv",
                                              "tsv", "po", "pot", "log", "lock", "properties", "plist", "map", "diff", "patch", NULL };
    return has_extension(path, extensions) && !strstr(path, "CMakeLists.txt");
}

/* Whether lines that look like definitions are some, in a text that ctags finds none in. */
static bool may_be_code(const struct reading *r, const char *path)
{
    static const char *const prose[] = { "md", "rst", "adoc", "org", "tex", "snap", "ac", "m4", "in", "am", NULL };
    return r->language == KG_LANGUAGE_OTHER && !has_extension(path, prose);
}

bool kg_symbols_of(struct kg_symbols *symbols, struct kg_ctags *ctags, const char *path, const char *text, size_t length, enum kg_symbols_source *source)
{
    struct reading r = { .out = symbols, .language = kg_language_of(path), .text = text, .end = text + length, .line = text, .number = 1 };
    symbols->length = 0;
    symbols->count = 0;
    symbols->failed = false;
    *source = KG_SYMBOLS_BY_CTAGS;
    if (is_data(path))
        return true;
    enum kg_ctags_outcome outcome = ctags ? kg_ctags_read(ctags, path, text, length, on_tag, &r) : KG_CTAGS_MISSING;
    if (outcome == KG_CTAGS_MISSING)
        *source = KG_SYMBOLS_BY_SHAPE;
    if (outcome != KG_CTAGS_DONE || (symbols->count == 0 && may_be_code(&r, path))) {
        symbols->length = 0;
        symbols->count = 0;
        r.line = text;
        r.number = 1;
        by_shape(&r);
    }
    return !symbols->failed;
}

static const char *field(const char **at, const char *end, char stop, char **to)
{
    const char *behind = memchr(*at, stop, (size_t)(end - *at));
    if (!behind)
        return NULL;
    char *begin = *to;
    size_t n = (size_t)(behind - *at);
    memcpy(begin, *at, n);
    begin[n] = '\0';
    *to = begin + n + 1;
    *at = behind + 1;
    return begin;
}

static bool parse(const char *at, const char *end, struct kg_symbol_view *out)
{
    char *to = out->bytes;
    const char *line, *last;
    if (!(out->kind = field(&at, end, '\t', &to)) || !(out->name = field(&at, end, '\t', &to)) || !(out->scope = field(&at, end, '\t', &to)) ||
        !(line = field(&at, end, '\t', &to)) || !(last = field(&at, end, '\t', &to)) || !(out->signature = field(&at, end, '\n', &to)))
        return false;
    out->line = (uint32_t)strtoul(line, NULL, 10);
    out->end = (uint32_t)strtoul(last, NULL, 10);
    return out->line > 0;
}

bool kg_symbol_next(const char **at, const char *end, struct kg_symbol_view *out)
{
    while (*at < end) {
        const char *begin = *at;
        const char *behind = behind_line(begin, end);
        *at = behind;
        if ((size_t)(behind - begin) < sizeof out->bytes && !memchr(begin, '\0', (size_t)(behind - begin)) && parse(begin, behind, out))
            return true;
    }
    return false;
}
