#include "tui/changes/places.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "tui/changes/definition.h"

#define NAMES_MOST  64  /* of a request */
#define NAME_LENGTH 100
#define APART       10  /* lines between two places that are asked about at once */
#define AROUND      20  /* lines of a paragraph outside of definitions */

struct name {
    const char *text; /* into the request */
    size_t length;
    bool looks;       /* like a name of code */
    bool defined;     /* in one of the files */
};

/* Words of a request that tells of something that goes wrong, and of one that is about what declarations say. */
static const char *const failures[] = { "fail", "fails", "failing", "failed", "fix", "expected", "crash", "crashes", "wrong", "bug", "AssertionError", NULL };
static const char *const of_signatures[] = { "parameter", "parameters", "argument", "arguments", "signature", "rename", "renamed", "called", "header", "prototype", "declaration",
                                             "declare", "function", "functions", "type", "types", NULL };

static const char *const creating[] = { "create", NULL };
static const char *const files_of[] = { "file", "files", NULL };

struct span {
    uint32_t first, last;
};

struct def {
    struct span span;
    char value[NAME_LENGTH]; /* the name of a variable or a constant, else "" */
    bool declares;
    bool meant;              /* it runs, and the request has its name */
};

struct source {
    const struct kg_shown_file *file;
    struct kg_lines lines;
    struct def *defs; /* by line, those of KG_PLACE_LINES at most; longer ones count by their parts */
    size_t def_count, def_room;
    bool *hits;       /* a line each */
    struct span *spans;
    size_t span_count;
    size_t defines; /* of the names */
    size_t meant;   /* of the definitions */
    bool named;     /* by the request */
    bool tests;     /* it is a file of tests */
};

struct work {
    struct name names[NAMES_MOST];
    size_t name_count;
    struct source *sources;
    size_t count;
    struct source *current;
    bool fails;      /* the request tells of something that does */
    bool signatures; /* it is about what declarations say */
    bool no_memory;
};

static bool in_name(char c)
{
    return isalnum((unsigned char)c) || c == '_' || c == '$';
}

static bool is_word(const char *text, size_t length, const char *const *words)
{
    for (; *words; words++)
        if (strlen(*words) == length && strncasecmp(*words, text, length) == 0)
            return true;
    return false;
}

/* Words behind which a name stands. */
static bool is_cue(const char *text, size_t length)
{
    static const char *const cues[] = { "function", "method", "class", "struct", "enum", "type", "variable", "constant", "macro", "field", "attribute", "property",
                                        "member", "parameter", "argument", "helper", "rename", "called", "named", "exception", "enumerator", NULL };
    return is_word(text, length, cues);
}

static bool looks_like_name(const char *text, size_t length)
{
    bool inner = false, lower = false, upper = false;
    for (size_t i = 0; i < length; i++) {
        inner = inner || text[i] == '_' || text[i] == '$' || (i && isupper((unsigned char)text[i]) && islower((unsigned char)text[i - 1]));
        lower = lower || islower((unsigned char)text[i]);
        upper = upper || isupper((unsigned char)text[i]);
    }
    return inner || (upper && !lower && length >= 3);
}

static void add_name(struct work *w, const char *text, size_t length, bool looks)
{
    for (size_t i = 0; i < w->name_count; i++)
        if (w->names[i].length == length && memcmp(w->names[i].text, text, length) == 0) {
            w->names[i].looks = w->names[i].looks || looks;
            return;
        }
    if (w->name_count < NAMES_MOST)
        w->names[w->name_count++] = (struct name){ .text = text, .length = length, .looks = looks };
}

static void read_names(struct work *w, const char *request)
{
    bool cued = false;
    for (const char *at = request; *at;) {
        if (!in_name(*at) || isdigit((unsigned char)*at)) {
            cued = cued && (*at == ' ' || *at == '`' || *at == '\'' || *at == '"');
            at++;
            while (isdigit((unsigned char)at[-1]) && in_name(*at))
                at++;
            continue;
        }
        size_t length = 1;
        while (in_name(at[length]))
            length++;
        char before = at > request ? at[-1] : ' ';
        bool quoted = strchr("'\"`", before) && at[length] == before;
        if (length < NAME_LENGTH)
            add_name(w, at, length, cued || (quoted && length > 1) || at[length] == '(' || looks_like_name(at, length));
        cued = is_cue(at, length);
        at += length;
    }
}

static int take_definition(void *ctx, const struct kg_definition *definition)
{
    struct work *w = ctx;
    struct source *source = w->current;
    size_t length = strlen(definition->name);
    bool meant = false;
    for (size_t i = 0; i < w->name_count; i++)
        if (w->names[i].length == length && memcmp(w->names[i].text, definition->name, length) == 0) {
            w->names[i].defined = true;
            source->defines += !definition->declares;
            meant = definition->runs && !definition->declares && length > 1;
        }
    if (definition->last - definition->first >= KG_PLACE_LINES)
        return 0;
    if (source->def_count == source->def_room) {
        size_t room = source->def_room ? 2 * source->def_room : 32;
        struct def *grown = realloc(source->defs, room * sizeof *grown);
        w->no_memory = !grown;
        if (!grown)
            return 1;
        source->defs = grown;
        source->def_room = room;
    }
    struct def *def = &source->defs[source->def_count++];
    *def = (struct def){ .span = { definition->first, definition->last }, .declares = definition->declares, .meant = meant };
    source->meant += meant;
    if (definition->value && length < NAME_LENGTH)
        strcpy(def->value, definition->name);
    return 0;
}

static const char *base_of(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

/* Whether the request has the file's name, apart from other names. */
static bool names_file(const char *request, const char *path)
{
    const char *base = base_of(path);
    size_t length = strlen(base);
    for (const char *at = request; (at = strstr(at, base)); at++)
        if ((at == request || !(in_name(at[-1]) || at[-1] == '-')) && !in_name(at[length]))
            return true;
    return false;
}

static bool is_of_tests(const char *path)
{
    const char *base = base_of(path);
    return strncmp(base, "test_", 5) == 0 || strstr(base, "_test.") || strstr(base, ".test.") || strstr(base, ".spec.");
}

static bool has_word(const char *request, const char *const *words)
{
    for (const char *at = request; *at;) {
        size_t length = 0;
        while (in_name(at[length]))
            length++;
        if (length && is_word(at, length, words))
            return true;
        at += length ? length : 1;
    }
    return false;
}

static bool has_name(const struct kg_line *line, const char *name, size_t length)
{
    for (size_t at = 0; at + length <= line->length; at++)
        if (memcmp(line->text + at, name, length) == 0 && (at == 0 || !in_name(line->text[at - 1])) &&
            (at + length == line->length || !in_name(line->text[at + length])))
            return true;
    return false;
}

/* The outermost definition that the line is in; NULL: none. */
static const struct def *def_at(const struct source *source, uint32_t line)
{
    for (size_t i = 0; i < source->def_count; i++)
        if (source->defs[i].span.first <= line && line <= source->defs[i].span.last)
            return &source->defs[i];
    return NULL;
}

/* The definition that the line is in, else the lines around it up to blank ones. */
static struct span around(const struct source *source, uint32_t line)
{
    const struct def *def = def_at(source, line);
    if (def)
        return def->span;
    struct span span = { line, line };
    while (span.first > 1 && line - span.first < AROUND && !kg_is_blank(&source->lines.lines[span.first - 2]))
        span.first--;
    while (span.last < source->lines.count && span.last - line < AROUND && !kg_is_blank(&source->lines.lines[span.last]))
        span.last++;
    return span;
}

static void add_span(struct source *source, struct span span)
{
    if (!source->spans)
        return;
    struct span *last = source->span_count ? &source->spans[source->span_count - 1] : NULL;
    if (last && span.first <= last->last + APART && (span.first <= last->last || span.last - last->first < KG_PLACE_LINES))
        last->last = span.last > last->last ? span.last : last->last;
    else
        source->spans[source->span_count++] = span;
}

/* Names that stand for a place: those that look like one or are defined; any when all. */
static bool counts(const struct name *name, bool all)
{
    return all ? name->length > 3 : name->looks || (name->defined && name->length > 1);
}

static void hit(struct source *source, struct span span)
{
    for (uint32_t line = span.first; line <= span.last && line <= source->lines.count; line++)
        source->hits[line - 1] = true;
}

static void find_names(const struct work *w, struct source *source, bool all)
{
    for (uint32_t line = 1; line <= source->lines.count; line++) {
        const struct def *def = def_at(source, line);
        bool left = (def && def->declares && !w->signatures) || (source->lines.lines[line - 1].length > 8 && memcmp(source->lines.lines[line - 1].text, "#include", 8) == 0);
        for (size_t i = 0; i < w->name_count && !source->hits[line - 1] && !left; i++)
            if (counts(&w->names[i], all) && has_name(&source->lines.lines[line - 1], w->names[i].text, w->names[i].length))
                hit(source, around(source, line));
    }
}

static void find_meant(struct source *source)
{
    for (size_t i = 0; i < source->def_count; i++)
        if (source->defs[i].meant)
            hit(source, source->defs[i].span);
}

/* Tables and the like that the lines use. */
static void find_values(struct work *w, struct source *source)
{
    bool *found = calloc(source->def_count + 1, sizeof *found);
    w->no_memory = w->no_memory || !found;
    for (size_t i = 0; i < source->def_count && found; i++)
        for (size_t line = 0; line < source->lines.count && source->defs[i].value[0] && !found[i]; line++)
            found[i] = source->hits[line] && has_name(&source->lines.lines[line], source->defs[i].value, strlen(source->defs[i].value));
    for (size_t i = 0; i < source->def_count && found; i++)
        if (found[i])
            hit(source, source->defs[i].span);
    free(found);
}

static void find_lines(struct work *w, struct source *source, bool meant, bool all)
{
    if (meant)
        find_meant(source);
    else
        find_names(w, source, all);
    find_values(w, source);
    for (uint32_t line = 1, first = 1; line <= source->lines.count; line++) {
        if (line == 1 || !source->hits[line - 2])
            first = line;
        if (source->hits[line - 1] && (line == source->lines.count || !source->hits[line]))
            add_span(source, (struct span){ first, line });
    }
}

static enum kg_status read_sources(struct work *w, const char *request, const struct kg_shown_file *files, struct kg_error *err)
{
    enum kg_status status = KG_OK;
    for (size_t i = 0; i < w->count && status == KG_OK; i++) {
        struct source *source = w->current = &w->sources[i];
        source->file = &files[i];
        source->named = names_file(request, files[i].path);
        source->tests = is_of_tests(files[i].path);
        status = kg_each_definition(files[i].path, files[i].text, files[i].length, take_definition, w, err);
        if (status == KG_OK && (w->no_memory || !kg_lines_of(files[i].text, files[i].length, &source->lines) ||
                                !(source->spans = calloc(source->lines.count + 1, sizeof *source->spans)) || !(source->hits = calloc(source->lines.count + 1, sizeof *source->hits))))
            status = kg_fail_nomem(err, "looking for what a request is about");
    }
    return status;
}

static size_t count_spans(const struct work *w)
{
    size_t spans = 0;
    for (size_t i = 0; i < w->count; i++)
        spans += w->sources[i].span_count;
    return spans;
}

static void leave_tests(struct work *w)
{
    bool others = false;
    for (size_t i = 0; i < w->count; i++)
        others = others || (w->sources[i].span_count && !w->sources[i].tests);
    for (size_t i = 0; i < w->count && others; i++)
        if (w->sources[i].tests)
            w->sources[i].span_count = 0;
}

static void find_spans(struct work *w)
{
    bool meant = false;
    for (size_t i = 0; i < w->count && w->fails; i++)
        meant = meant || (w->sources[i].meant && !w->sources[i].tests);
    for (int all = 0; all < 2 && count_spans(w) == 0; all++)
        for (size_t i = 0; i < w->count; i++)
            find_lines(w, &w->sources[i], meant, all);
    bool none = count_spans(w) == 0;
    for (size_t i = 0; i < w->count; i++) {
        struct source *source = &w->sources[i];
        if (source->span_count == 0 && (none || source->named) && source->lines.count > 0 && source->lines.count <= KG_PLACE_LINES)
            add_span(source, (struct span){ 1, (uint32_t)source->lines.count });
    }
    if (w->fails)
        leave_tests(w);
}

static int by_definitions(const void *a, const void *b)
{
    const struct source *x = a, *y = b;
    if (x->defines != y->defines)
        return x->defines > y->defines ? -1 : 1;
    return x->file < y->file ? -1 : x->file > y->file;
}

static enum kg_status put_places(struct work *w, const struct kg_shown_file *files, struct kg_edit_place **out, size_t *places, struct kg_error *err)
{
    size_t spans = count_spans(w);
    if (spans == 0)
        return kg_fail(err, KG_ERR_NOT_FOUND, "nothing in the files is called as the request says: name what is to change, or select its lines");
    if (spans > KG_PLACES_MOST)
        return kg_fail(err, KG_ERR_RANGE, "the request is about %zu places, more than the %d that are asked about at once: name fewer files, or select lines", spans, KG_PLACES_MOST);
    *out = calloc(spans, sizeof **out);
    if (!*out)
        return kg_fail_nomem(err, "looking for what a request is about");
    qsort(w->sources, w->count, sizeof *w->sources, by_definitions);
    for (size_t i = 0; i < w->count; i++)
        for (size_t k = 0; k < w->sources[i].span_count; k++)
            (*out)[(*places)++] = (struct kg_edit_place){ .file = (size_t)(w->sources[i].file - files), .first = w->sources[i].spans[k].first, .last = w->sources[i].spans[k].last };
    return KG_OK;
}

enum kg_status kg_places_of(const char *request, const struct kg_shown_file *files, size_t count, struct kg_edit_place **out, size_t *places, struct kg_error *err)
{
    struct work w = { .count = count, .sources = calloc(count + 1, sizeof *w.sources) };
    *out = NULL;
    *places = 0;
    if (!w.sources)
        return kg_fail_nomem(err, "looking for what a request is about");
    if (strcasestr(request, "new file") || (has_word(request, creating) && has_word(request, files_of))) {
        free(w.sources);
        return kg_fail(err, KG_ERR_NOT_FOUND, "a new file is no place in one that is there");
    }
    w.signatures = has_word(request, of_signatures);
    w.fails = !w.signatures && has_word(request, failures);
    read_names(&w, request);
    enum kg_status status = read_sources(&w, request, files, err);
    if (status == KG_OK) {
        find_spans(&w);
        status = w.no_memory ? kg_fail_nomem(err, "looking for what a request is about") : KG_OK;
    }
    if (status == KG_OK)
        status = put_places(&w, files, out, places, err);
    for (size_t i = 0; i < count; i++) {
        kg_lines_free(&w.sources[i].lines);
        free(w.sources[i].defs);
        free(w.sources[i].spans);
        free(w.sources[i].hits);
    }
    free(w.sources);
    return status;
}
