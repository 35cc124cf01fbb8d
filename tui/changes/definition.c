#include "tui/changes/definition.h"

#include <ctype.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "repo-index/repo_index.h"
#include "tui/changes/extent.h"
#include "tui/changes/heading.h"

#define LEAD_MOST 200 /* lines of comments and attributes above a definition */

struct def {
    char *name, *kind, *scope;
    size_t lead, line, end; /* lines from 0, end inclusive; lead: the first of the comments and attributes above */
    bool complete;          /* its end is known */
};

struct source {
    const char *path;
    bool indented; /* Python */
    struct kg_lines lines;
    struct def *defs; /* by line */
    size_t count, capacity;
    bool no_memory;
};

/* Lines [first, behind) of the file are replaced by text. */
struct replacement {
    size_t first, behind;
    char *text;
    size_t length, order;
};

struct work {
    struct source file, block;
    struct replacement *list;
    size_t count, capacity;
    struct kg_growing *said;
    bool no_memory;
    size_t found; /* definitions replaced */
};

static bool is_in(const char *word, const char *const *words)
{
    for (; *words; words++)
        if (strcmp(*words, word) == 0)
            return true;
    return false;
}

static bool ends_with(const char *text, const char *end)
{
    size_t n = strlen(text);
    size_t m = strlen(end);
    return n >= m && strcmp(text + n - m, end) == 0;
}

static bool is_container(const struct def *def)
{
    static const char *const kinds[] = { "class", "interface", "module", "namespace", "implementation", "trait", "object", "struct", "enum", NULL };
    return is_in(def->kind, kinds);
}

/* Parts of a definition that are no definitions of their own: fields, enumerators. */
static bool is_field(const struct source *source, const struct kg_index_symbol *symbol)
{
    static const char *const kinds[] = { "enumerator", "field", "property", NULL };
    static const char *const values[] = { "variable", "constant", "member", NULL };
    size_t line = symbol->line - 1;
    if (is_in(symbol->kind, kinds))
        return true;
    if (!is_in(symbol->kind, values))
        return false;
    if (symbol->scope[0] && !(symbol->end > symbol->line) && strcmp(symbol->kind, "member") != 0)
        return true;
    /* what ctags calls a member is a method in Python, a field in C */
    return strcmp(symbol->kind, "member") == 0 && !source->indented && line < source->lines.count && !memchr(source->lines.lines[line].text, '(', source->lines.lines[line].length);
}

static bool is_comment(const struct kg_line *line)
{
    struct kg_line t = kg_trimmed(line);
    static const char *const leads[] = { "//", "/*", "*/", "* ", "#", "--", "<!--", NULL };
    for (const char *const *lead = leads; *lead; lead++)
        if (t.length >= strlen(*lead) && memcmp(t.text, *lead, strlen(*lead)) == 0)
            return !(t.length > 1 && t.text[0] == '#' && (t.text[1] == '[' || strchr("idepu", t.text[1])));
    return t.length == 1 && t.text[0] == '*';
}

static bool is_attribute(const struct kg_line *line)
{
    struct kg_line t = kg_trimmed(line);
    return t.length > 1 && (t.text[0] == '@' || (t.text[0] == '#' && t.text[1] == '[') || (t.text[0] == '[' && t.text[1] == '['));
}

/* A line that a definition may begin with before the one that holds its name: a type, a template. */
static bool is_type_line(const struct kg_line *line)
{
    struct kg_line t = kg_trimmed(line);
    if (t.length == 0 || is_comment(line) || t.text[0] == '#')
        return false;
    char last = t.text[t.length - 1];
    return ((last >= 'a' && last <= 'z') || (last >= 'A' && last <= 'Z') || (last >= '0' && last <= '9') || strchr("*>_&", last)) &&
           !memchr(t.text, '(', t.length) && !memchr(t.text, '=', t.length) && ((t.text[0] >= 'a' && t.text[0] <= 'z') || (t.text[0] >= 'A' && t.text[0] <= 'Z'));
}

static size_t lead_of(const struct source *source, const struct def *def)
{
    size_t at = def->line;
    size_t indent = kg_indent(&source->lines.lines[def->line]);
    while (at > 0 && def->line - at < LEAD_MOST) {
        const struct kg_line *above = &source->lines.lines[at - 1];
        bool within = kg_indent(above) == indent || (!source->indented && is_comment(above) && kg_indent(above) == indent + 1);
        bool type = !source->indented && indent == 0 && is_type_line(above);
        if (kg_is_blank(above) || !within || !(is_comment(above) || is_attribute(above) || type))
            break;
        at--;
    }
    return at;
}

static int take_symbol(void *ctx, const struct kg_index_symbol *symbol)
{
    struct source *source = ctx;
    if (is_field(source, symbol) || symbol->line == 0 || symbol->line > source->lines.count)
        return 0;
    if (source->count == source->capacity) {
        size_t capacity = source->capacity ? 2 * source->capacity : 64;
        struct def *grown = realloc(source->defs, capacity * sizeof *grown);
        if (!grown) {
            source->no_memory = true;
            return 1;
        }
        source->defs = grown;
        source->capacity = capacity;
    }
    size_t line = symbol->line - 1;
    size_t first = line;
    struct kg_line t = kg_trimmed(&source->lines.lines[line]);
    if (strcmp(symbol->kind, "typedef") == 0 && t.length && t.text[0] == '}') /* its name stands on its last line */
        while (first > 0 && !(source->lines.lines[first].length > 7 && memcmp(source->lines.lines[first].text, "typedef", 7) == 0))
            first--;
    size_t end = symbol->end > symbol->line ? symbol->end - 1 : kg_extent(&source->lines, first, source->indented);
    struct def *def = &source->defs[source->count];
    *def = (struct def){ .name = strdup(symbol->name), .kind = strdup(symbol->kind), .scope = strdup(symbol->scope), .line = first, .end = end,
                         .complete = end != SIZE_MAX && end < source->lines.count };
    source->count++;
    source->no_memory |= !def->name || !def->kind || !def->scope;
    if (!def->complete)
        def->end = first;
    def->lead = lead_of(source, def);
    return source->no_memory;
}

static int by_line(const void *a, const void *b)
{
    const struct def *x = a;
    const struct def *y = b;
    if (x->line != y->line)
        return x->line < y->line ? -1 : 1;
    return x->end > y->end ? -1 : x->end < y->end;
}

/* The name in a line like "read(path) {", which ctags knows only inside of a class; NULL for statements. */
static char *method_name(const struct kg_line *line)
{
    static const char *const statements[] = { "if", "for", "while", "switch", "catch", "function", "return", "with", "do", "else", NULL };
    struct kg_line t = kg_trimmed(line);
    const char *open = t.length && t.text[t.length - 1] == '{' ? memchr(t.text, '(', t.length) : NULL;
    const char *end = open;
    while (end && end > t.text && (end[-1] == ' ' || end[-1] == '\t'))
        end--;
    const char *begin = end;
    while (begin && begin > t.text && (isalnum((unsigned char)begin[-1]) || strchr("_$#", begin[-1])))
        begin--;
    char *name = begin && begin < end ? strndup(begin, (size_t)(end - begin)) : NULL;
    bool plain = name != NULL;
    for (const char *c = t.text; plain && c < begin; c++)
        plain = isalnum((unsigned char)*c) || strchr(" _<>[],.*", *c);
    if (name && (!plain || is_in(name, statements))) {
        free(name);
        name = NULL;
    }
    return name;
}

/* Methods that stand alone, as a model quotes them. */
static void add_methods(struct source *source)
{
    size_t known = source->count;
    for (size_t line = 0; line < source->lines.count && !source->no_memory;) {
        size_t behind = line + 1;
        for (size_t i = 0; i < known; i++)
            if (source->defs[i].line <= line && line <= source->defs[i].end)
                behind = source->defs[i].end + 1 > behind ? source->defs[i].end + 1 : behind;
        char *name = behind == line + 1 && !(behind <= source->lines.count && is_comment(&source->lines.lines[line])) ? method_name(&source->lines.lines[line]) : NULL;
        bool taken = false;
        for (size_t i = 0; i < known; i++)
            taken = taken || source->defs[i].line == line;
        if (name && !taken) {
            const struct kg_index_symbol symbol = { .path = source->path, .kind = "method", .name = name, .scope = "", .signature = "", .line = (uint32_t)line + 1 };
            take_symbol(source, &symbol);
            if (source->count > known && source->defs[source->count - 1].complete)
                behind = source->defs[source->count - 1].end + 1;
        }
        free(name);
        line = behind;
    }
}

static enum kg_status read_source(struct source *source, const char *path, const char *text, size_t length, bool methods, struct kg_error *err)
{
    *source = (struct source){ .path = path, .indented = ends_with(path, ".py") || ends_with(path, ".pyi") };
    if (!kg_lines_of(text, length, &source->lines))
        return kg_fail_nomem(err, "looking for definitions");
    enum kg_status status = kg_text_symbols(path, text, length, take_symbol, source, err);
    if (status == KG_OK && methods && !source->indented && !source->no_memory)
        add_methods(source);
    if (status == KG_OK && source->no_memory)
        status = kg_fail_nomem(err, "looking for definitions");
    if (status == KG_OK && source->count)
        qsort(source->defs, source->count, sizeof *source->defs, by_line);
    return status;
}

static void free_source(struct source *source)
{
    for (size_t i = 0; i < source->count; i++) {
        free(source->defs[i].name);
        free(source->defs[i].kind);
        free(source->defs[i].scope);
    }
    free(source->defs);
    kg_lines_free(&source->lines);
}

__attribute__((format(printf, 2, 3))) static void say(struct work *w, const char *format, ...)
{
    char raw[600];
    char line[700];
    va_list args;
    va_start(args, format);
    vsnprintf(raw, sizeof raw, format, args);
    va_end(args);
    kg_printable(line, sizeof line, raw, strlen(raw));
    kg_growing_puts(w->said, line);
    kg_growing_puts(w->said, "\n");
}

static void replace(struct work *w, size_t first, size_t behind, struct kg_growing *text)
{
    if (w->count == w->capacity) {
        size_t capacity = w->capacity ? 2 * w->capacity : 16;
        struct replacement *grown = realloc(w->list, capacity * sizeof *grown);
        if (!grown) {
            w->no_memory = true;
            kg_growing_free(text);
            return;
        }
        w->list = grown;
        w->capacity = capacity;
    }
    struct replacement *r = &w->list[w->count];
    *r = (struct replacement){ .first = first, .behind = behind, .order = w->count };
    r->text = kg_growing_take(text, &r->length);
    w->no_memory |= !r->text;
    w->count++;
}

/* A definition and a declaration never stand for each other. */
static bool names_same(const struct def *a, const struct def *b)
{
    return strcmp(a->name, b->name) == 0 && (strcmp(a->kind, "prototype") == 0) == (strcmp(b->kind, "prototype") == 0);
}

/* The file's definition of the same name: of the same kind and in the same scope where there are several. */
static enum kg_status find_in_file(const struct work *w, const struct def *def, const struct def *parent, const struct def **out, struct kg_error *err)
{
    size_t best = 0;
    size_t same = 0;
    *out = NULL;
    for (size_t i = 0; i < w->file.count; i++) {
        const struct def *other = &w->file.defs[i];
        if (!names_same(other, def) || (parent && !(other->line > parent->line && other->line <= parent->end)))
            continue;
        size_t score = 1 + (strcmp(other->kind, def->kind) == 0) + 2U * (strcmp(other->scope, def->scope) == 0) + 4U * other->complete;
        if (score > best) {
            best = score;
            same = 0;
            *out = other;
        }
        same += score == best;
    }
    if (same > 1)
        return kg_fail(err, KG_ERR_RANGE, "%s defines %s more than once: ask for another form, or for the lines", w->file.path, def->name);
    if (*out && !(*out)->complete)
        return kg_fail(err, KG_ERR_FORMAT, "where %s ends in %s cannot be told: ask for another form, or for the lines", def->name, w->file.path);
    return KG_OK;
}

/* A line of the block as the file would indent it. */
static void put_shifted(struct kg_growing *out, const struct kg_line *line, const struct kg_line *from, const struct kg_line *to, const char *feed)
{
    size_t had = kg_indent(from);
    size_t has = kg_indent(to);
    if (!kg_is_blank(line) && kg_indent(line) >= had && memcmp(line->text, from->text, had) == 0) {
        kg_growing_add(out, to->text, has);
        kg_growing_add(out, line->text + had, line->length - had);
    } else {
        kg_growing_add(out, line->text, line->length);
    }
    kg_growing_puts(out, feed);
}

static const char *feed_of(const struct work *w)
{
    return kg_ends_in_crlf(&w->file.lines) ? "\r\n" : "\n";
}

/* Lines of the block as they are to stand at a place that is indented like `to`. */
static void put_lines(const struct work *w, struct kg_growing *out, size_t first, size_t last, size_t guide, const struct kg_line *to)
{
    for (size_t i = first; i <= last; i++)
        put_shifted(out, &w->block.lines.lines[i], &w->block.lines.lines[guide], to, feed_of(w));
}

static enum kg_status check_text(const struct work *w, size_t first, size_t last, struct kg_error *err)
{
    for (size_t i = first; i <= last; i++) {
        const struct kg_line *line = &w->block.lines.lines[i];
        bool known = !kg_leaves_out(line);
        for (size_t j = 0; j < w->file.lines.count && !known; j++)
            known = kg_same_trimmed(line, &w->file.lines.lines[j]);
        if (!known)
            return kg_fail(err, KG_ERR_UNSUPPORTED, "the answer leaves out text of %s (\"%.*s\"): ask again, or for blocks (search)", w->file.path,
                           (int)(kg_trimmed(line).length < 60 ? kg_trimmed(line).length : 60), kg_trimmed(line).text);
    }
    return KG_OK;
}

/* Which of the lines above a definition stay: comments if the new one brings none, attributes likewise. */
static size_t put_lead(const struct work *w, const struct def *old, const struct def *new, struct kg_growing *out)
{
    const struct kg_line *to = &w->file.lines.lines[old->line];
    bool comments = false;
    bool others = false;
    for (size_t i = new->lead; i < new->line; i++) {
        comments |= is_comment(&w->block.lines.lines[i]);
        others |= !is_comment(&w->block.lines.lines[i]);
    }
    for (size_t i = old->lead; i < old->line; i++) {
        const struct kg_line *line = &w->file.lines.lines[i];
        if (is_comment(line) ? !comments : !others && is_attribute(line))
            kg_growing_add_line(out, line);
    }
    put_lines(w, out, new->lead, new->line, new->line, to);
    return new->line + 1;
}

static void replace_whole(struct work *w, const struct def *old, const struct def *new)
{
    struct kg_growing text = { 0 };
    const struct kg_line *to = &w->file.lines.lines[old->line];
    size_t at = put_lead(w, old, new, &text);
    if (at <= new->end)
        put_lines(w, &text, at, new->end, new->line, to);
    if (old->end + 1 == w->file.lines.count && w->file.lines.lines[old->end].end == 0) /* the file ends without a line feed */
        text.length -= strlen(feed_of(w));
    replace(w, old->lead, old->end + 1, &text);
    w->found++;
}

/* A definition of the file's that the new one, which is to replace what it stands in, does not have. */
static const struct def *missing_in(const struct work *w, const struct def *old, const struct def *new)
{
    for (size_t i = 0; i < w->file.count; i++) {
        const struct def *child = &w->file.defs[i];
        if (child->line <= old->line || child->line > old->end)
            continue;
        bool there = false;
        for (size_t j = 0; j < w->block.count && !there; j++)
            there = w->block.defs[j].line > new->line && w->block.defs[j].line <= new->end && strcmp(w->block.defs[j].name, child->name) == 0;
        if (!there)
            return child;
    }
    return NULL;
}

static enum kg_status apply_range(struct work *w, size_t first, size_t behind, const struct def *parent, struct kg_error *err);

static enum kg_status apply_known(struct work *w, const struct def *old, const struct def *new, struct kg_error *err)
{
    const struct def *missing = is_container(old) && is_container(new) ? missing_in(w, old, new) : NULL;
    if (missing && new->end > new->line) {
        say(w, "the answer's %s has no %s: only what it has was replaced", new->name, missing->name);
        return apply_range(w, new->line + 1, new->end + 1, old, err);
    }
    enum kg_status status = check_text(w, new->lead, new->end, err);
    if (status == KG_OK)
        replace_whole(w, old, new);
    return status;
}

/* Where a definition goes that the file lacks: behind the one that stands before it in the block, else before the one behind it,
 * else at the end of what it is in. */
static enum kg_status insert(struct work *w, const struct def *new, const struct def *before, const struct def *behind, const struct def *parent, struct kg_error *err)
{
    struct kg_growing text = { 0 };
    const struct kg_lines *lines = &w->file.lines;
    const char *feed = feed_of(w);
    enum kg_status status = check_text(w, new->lead, new->end, err);
    if (status != KG_OK)
        return status;
    size_t at = before ? before->end + 1 : behind ? behind->lead : parent ? parent->end + (size_t)w->file.indented : lines->count;
    const struct kg_line *to = before ? &lines->lines[before->line] : behind ? &lines->lines[behind->line] : NULL;
    struct kg_line none = { .text = "", .length = 0 };
    for (size_t i = 0; i < w->file.count && parent && !to; i++)
        if (w->file.defs[i].line > parent->line && w->file.defs[i].line <= parent->end)
            to = &lines->lines[w->file.defs[i].line];
    size_t gap = w->file.indented && !parent && !(to && kg_indent(to)) ? 2 : 1;
    bool above = at > 0 && !(behind && !before);
    if (above && lines->lines[at - 1].end == 0)
        kg_growing_puts(&text, feed);
    for (size_t i = 0; i < gap && above && !(at == lines->count && kg_is_blank(&lines->lines[at - 1])); i++)
        kg_growing_puts(&text, feed);
    put_lines(w, &text, new->lead, new->end, new->line, to ? to : parent ? &w->block.lines.lines[new->line] : &none);
    for (size_t i = 0; i < gap && !above; i++)
        kg_growing_puts(&text, feed);
    say(w, "%s is new in %s", new->name, w->file.path);
    replace(w, at, at, &text);
    return KG_OK;
}

static bool is_import(const struct kg_line *line)
{
    struct kg_line t = kg_trimmed(line);
    static const char *const leads[] = { "import ", "from ", "#include", "# include", "using ", "use ", "require ", "extern crate ", NULL };
    for (const char *const *lead = leads; *lead; lead++)
        if (t.length > strlen(*lead) && memcmp(t.text, *lead, strlen(*lead)) == 0)
            return true;
    return false;
}

static void add_import(struct work *w, const struct kg_line *line)
{
    struct kg_growing text = { 0 };
    size_t at = SIZE_MAX;
    for (size_t i = 0; i < w->file.lines.count; i++)
        if (kg_indent(&w->file.lines.lines[i]) == 0 && is_import(&w->file.lines.lines[i]))
            at = i + 1;
    if (at == SIZE_MAX)
        at = w->file.count ? w->file.defs[0].lead : 0;
    kg_growing_add(&text, line->text, line->length);
    kg_growing_puts(&text, feed_of(w));
    say(w, "an import is new in %s", w->file.path);
    replace(w, at, at, &text);
}

/* A line of the block that is part of no definition. */
static enum kg_status take_other(struct work *w, size_t index, struct kg_error *err)
{
    const struct kg_line *line = &w->block.lines.lines[index];
    char path[KG_HEADING_MOST];
    if (kg_is_blank(line) || kg_leaves_out(line) || is_comment(line) || (index == 0 && kg_bare_path(line, path)))
        return KG_OK;
    for (size_t i = 0; i < w->file.lines.count; i++)
        if (kg_same_trimmed(line, &w->file.lines.lines[i]))
            return KG_OK;
    if (is_import(line)) {
        add_import(w, line);
        return KG_OK;
    }
    struct kg_line t = kg_trimmed(line);
    return kg_fail(err, KG_ERR_FORMAT, "\"%.*s\" in the answer is part of no definition, and not in %s: ask again, or for blocks (search)",
                   (int)(t.length < 60 ? t.length : 60), t.text, w->file.path);
}

/* The definitions of the block that begin in [first, behind) and lie in no other of them. */
static enum kg_status apply_range(struct work *w, size_t first, size_t behind, const struct def *parent, struct kg_error *err)
{
    const struct def *before = NULL;
    size_t done = first;
    enum kg_status status = KG_OK;
    for (size_t i = 0; i < w->block.count && status == KG_OK; i++) {
        const struct def *def = &w->block.defs[i];
        const struct def *old;
        if (def->line < done || def->line >= behind)
            continue;
        if (!def->complete)
            return kg_fail(err, KG_ERR_FORMAT, "%s in the answer is not complete: ask again", def->name);
        for (size_t line = done; line < def->lead && status == KG_OK; line++)
            status = take_other(w, line, err);
        done = def->end + 1;
        if (status == KG_OK)
            status = find_in_file(w, def, parent, &old, err);
        if (status != KG_OK)
            return status;
        if (old) {
            before = old;
            status = apply_known(w, old, def, err);
            continue;
        }
        const struct def *next = NULL;
        for (size_t j = i + 1; j < w->block.count && !before && !next && status == KG_OK; j++)
            if (w->block.defs[j].line >= done && w->block.defs[j].line < behind)
                status = find_in_file(w, &w->block.defs[j], parent, &next, err);
        if (status == KG_OK)
            status = insert(w, def, before, next, parent, err);
    }
    for (size_t line = done; line < behind && status == KG_OK; line++) {
        struct kg_line t = kg_trimmed(&w->block.lines.lines[line]);
        if (!(parent && t.length && t.text[0] == '}'))
            status = take_other(w, line, err);
    }
    return status;
}

static int by_place(const void *a, const void *b)
{
    const struct replacement *x = a;
    const struct replacement *y = b;
    if (x->first != y->first)
        return x->first < y->first ? -1 : 1;
    if (x->behind != y->behind) /* what is put in goes before what is replaced */
        return x->behind < y->behind ? -1 : 1;
    return x->order < y->order ? -1 : 1;
}

static enum kg_status compose(struct work *w, struct kg_growing *out, struct kg_error *err)
{
    size_t at = 0;
    if (w->count)
        qsort(w->list, w->count, sizeof *w->list, by_place);
    for (size_t i = 0; i < w->count; i++) {
        const struct replacement *r = &w->list[i];
        if (r->first < at)
            return kg_fail(err, KG_ERR_RANGE, "definitions of the answer overlap in %s: ask again, or for blocks (search)", w->file.path);
        for (; at < r->first; at++)
            kg_growing_add_line(out, &w->file.lines.lines[at]);
        kg_growing_add(out, r->text, r->length);
        at = r->behind;
    }
    for (; at < w->file.lines.count; at++)
        kg_growing_add_line(out, &w->file.lines.lines[at]);
    return out->failed || w->no_memory || w->said->failed ? kg_fail_nomem(err, "replacing definitions") : KG_OK;
}

/* Whether the block has nothing but lines of the file. */
static bool quotes(const struct work *w)
{
    bool all = w->block.lines.count > 0;
    for (size_t i = 0; i < w->block.lines.count && all; i++) {
        all = kg_is_blank(&w->block.lines.lines[i]);
        for (size_t j = 0; j < w->file.lines.count && !all; j++)
            all = kg_same_trimmed(&w->block.lines.lines[i], &w->file.lines.lines[j]);
    }
    return all;
}

enum kg_status kg_replace_definitions(const char *path, const char *text, size_t length, const char *block, size_t block_length, struct kg_growing *out,
                                      struct kg_growing *said, struct kg_error *err)
{
    struct work w = { .said = said };
    enum kg_status status = read_source(&w.file, path, text, length, false, err);
    if (status == KG_OK)
        status = read_source(&w.block, path, block, block_length, true, err);
    if (status == KG_OK && w.block.count == 0 && !quotes(&w))
        status = kg_fail(err, KG_ERR_NOT_FOUND, "the answer defines nothing that could be put into %s: ask again, or for blocks (search)", path);
    if (status == KG_OK && !kg_is_balanced(&w.block.lines, 0, w.block.lines.count, w.block.indented) && kg_is_balanced(&w.file.lines, 0, w.file.lines.count, w.file.indented))
        status = kg_fail(err, KG_ERR_FORMAT, "the answer's code for %s leaves a bracket open: ask again", path);
    if (status == KG_OK)
        status = apply_range(&w, 0, w.block.lines.count, NULL, err);
    if (status == KG_OK)
        status = compose(&w, out, err);
    for (size_t i = 0; i < w.count; i++)
        free(w.list[i].text);
    free(w.list);
    free_source(&w.file);
    free_source(&w.block);
    return status;
}

enum kg_status kg_known_definitions(const char *path, const char *text, size_t length, const char *block, size_t block_length, size_t *known, struct kg_error *err)
{
    struct source file = { 0 };
    struct source part = { 0 };
    enum kg_status status = read_source(&file, path, text, length, false, err);
    if (status == KG_OK)
        status = read_source(&part, path, block, block_length, true, err);
    *known = 0;
    for (size_t i = 0; i < part.count && status == KG_OK; i++) {
        bool there = false;
        for (size_t j = 0; j < file.count && !there; j++)
            there = names_same(&file.defs[j], &part.defs[i]);
        *known += there;
    }
    free_source(&file);
    free_source(&part);
    return status;
}

enum kg_status kg_each_definition(const char *path, const char *text, size_t length, int (*each)(void *ctx, const struct kg_definition *definition), void *ctx,
                                  struct kg_error *err)
{
    static const char *const values[] = { "variable", "constant", NULL };
    static const char *const runs[] = { "function", "method", "member", "class", "generator", "getter", "setter", "macro", "trait", "implementation", NULL };
    struct source source = { 0 };
    enum kg_status status = read_source(&source, path, text, length, false, err);
    for (size_t i = 0; i < source.count && status == KG_OK; i++) {
        const struct def *def = &source.defs[i];
        const struct kg_definition told = { .name = def->name, .declares = strcmp(def->kind, "prototype") == 0, .value = is_in(def->kind, values), .runs = is_in(def->kind, runs),
                                            .first = (uint32_t)def->lead + 1, .last = (uint32_t)def->end + 1 };
        if (each(ctx, &told))
            break;
    }
    free_source(&source);
    return status;
}
