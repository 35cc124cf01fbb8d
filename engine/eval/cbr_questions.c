/* Questions behind the target, and the prototypes that some of them ask for. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/eval/cbr_parts.h"

/* The tokens that hold any of bytes from .. upto-1, when tokens and text are the same bytes. */
static bool tokens_of(const struct kg_tokenizer *tokenizer, const struct kg_ids *ids, const char *text, size_t from, size_t upto, bool exact,
                      uint32_t *first, uint32_t *count)
{
    size_t at = 0;
    *first = *count = 0;
    for (size_t i = 0; i < ids->count; i++) {
        size_t length;
        const char *bytes = kg_token_bytes(tokenizer, ids->ids[i], true, &length);
        if (strlen(text + at) < length || memcmp(text + at, bytes, length) != 0)
            return false;
        if (at < upto && at + length > from) {
            if (*count == 0)
                *first = (uint32_t)i;
            ++*count;
            if (exact && (at < from || at + length > upto))
                return false;
        }
        at += length;
    }
    return *count > 0 && *first > 0 && text[at] == '\0';
}

enum kg_status kg_cbr_ask(const struct kg_tokenizer *tokenizer, struct kg_cbr_text *to, bool constant, const char *text, size_t from, size_t upto,
                          bool exact, bool *added, struct kg_error *err)
{
    struct kg_cbr_asking asking = { .constant = constant };
    *added = false;
    if (to->asking_count == to->asking_room) {
        size_t room = 2 * to->asking_room + 32;
        struct kg_cbr_asking *grown = realloc(to->askings, room * sizeof *grown);
        if (!grown)
            return kg_fail_nomem(err, "preparing questions");
        to->askings = grown;
        to->asking_room = room;
    }
    enum kg_status status = kg_tokenize(tokenizer, text, strlen(text), false, &asking.ids, err);
    if (status == KG_OK && tokens_of(tokenizer, &asking.ids, text, from, upto, exact, &asking.first, &asking.asked)) {
        asking.ids.count = asking.first + asking.asked;
        to->askings[to->asking_count++] = asking;
        *added = true;
    } else {
        kg_ids_free(&asking.ids);
    }
    return status;
}

#define LINE_MAX_BYTES 200

/* A line of a source that declares or defines a function: text .. open is what the question gives, open .. close the list. */
struct prototype {
    size_t source;
    const char *line;
    size_t open, close; /* offsets behind "(" and of ")" */
    bool dropped;
};

struct prototypes {
    struct prototype *list;
    size_t count, room;
};

static bool is_word(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_';
}

/* Offset of the bracket that closes the one before `at`, or length. */
static size_t closing(const char *line, size_t at, size_t length)
{
    for (unsigned depth = 1; at < length; at++) {
        depth += line[at] == '(';
        depth -= line[at] == ')';
        if (depth == 0)
            return at;
    }
    return length;
}

static size_t trimmed(const char *line, size_t length)
{
    while (length && (line[length - 1] == ' ' || line[length - 1] == '\t' || line[length - 1] == '\r' || line[length - 1] == '\n'))
        length--;
    return length;
}

static bool is_statement(const char *word, size_t length)
{
    static const char *const statements[] = { "if", "else", "for", "while", "switch", "return", "throw", "delete", "sizeof", "catch", "defined" };
    for (size_t i = 0; i < sizeof statements / sizeof *statements; i++)
        if (length == strlen(statements[i]) && memcmp(word, statements[i], length) == 0)
            return true;
    return false;
}

/* type name(arguments), then ; or { or the line's end with { on the next one. */
static bool is_c_prototype(const char *line, size_t length, const char *next, struct prototype *out)
{
    const char *bracket = memchr(line, '(', length);
    if (!length || !is_word(*line) || (*line >= '0' && *line <= '9') || !bracket)
        return false;
    size_t open = (size_t)(bracket - line), name = open, first = 0;
    while (is_word(line[first]))
        first++;
    while (name > 0 && (is_word(line[name - 1]) || line[name - 1] == ':' || line[name - 1] == '~'))
        name--;
    if (name == open || name == 0 || (line[name - 1] != ' ' && line[name - 1] != '*' && line[name - 1] != '&'))
        return false;
    if (is_statement(line, first) || is_statement(line + name, open - name))
        return false;
    for (size_t i = 0; i < open; i++)
        if (strchr("=\"'/#;{}[]", line[i]))
            return false;
    size_t close = closing(line, open + 1, length), end = trimmed(line, length);
    if (close == length || close + 1 > end || memchr(line + open, '"', end - open))
        return false;
    bool ends = line[end - 1] == ';' || line[end - 1] == '{' || (close + 1 == end && *next == '{');
    out->open = open + 1;
    out->close = close;
    return ends && !(close - open - 1 == 4 && memcmp(line + open + 1, "void", 4) == 0);
}

/* def name(arguments): or -> type: */
static bool is_python_prototype(const char *line, size_t length, struct prototype *out)
{
    size_t at = 0;
    while (at < length && (line[at] == ' ' || line[at] == '\t'))
        at++;
    if (length - at > 6 && memcmp(line + at, "async ", 6) == 0)
        at += 6;
    if (length - at < 4 || memcmp(line + at, "def ", 4) != 0)
        return false;
    size_t open = at + 4;
    while (open < length && is_word(line[open]))
        open++;
    if (open == length || line[open] != '(')
        return false;
    size_t close = closing(line, open + 1, length), end = trimmed(line, length);
    out->open = open + 1;
    out->close = close;
    return close < end && line[end - 1] == ':' && !(close - open - 1 == 4 && memcmp(line + open + 1, "self", 4) == 0) &&
           !(close - open - 1 == 3 && memcmp(line + open + 1, "cls", 3) == 0);
}

static bool add_prototype(struct prototypes *prototypes, const struct prototype *prototype)
{
    if (prototypes->count == prototypes->room) {
        size_t room = 2 * prototypes->room + 64;
        struct prototype *list = realloc(prototypes->list, room * sizeof *list);
        if (!list)
            return false;
        prototypes->list = list;
        prototypes->room = room;
    }
    prototypes->list[prototypes->count++] = *prototype;
    return true;
}

static bool find_in(const struct kg_cbr_source *source, size_t number, struct prototypes *out)
{
    for (size_t at = 0; at < source->length;) {
        const char *line = source->text + at, *end = memchr(line, '\n', source->length - at);
        size_t length = end ? (size_t)(end - line) : source->length - at;
        struct prototype p = { .source = number, .line = line };
        bool found = false;
        if (length <= LINE_MAX_BYTES && !memchr(line, '\0', length)) /* (text ends in a NUL, so the next line can be looked at) */
            found = source->language == KG_CBR_PYTHON ? is_python_prototype(line, length, &p)
                    : source->language == KG_CBR_C    ? is_c_prototype(line, length, end ? end + 1 : "", &p)
                                                      : false;
        if (found && trimmed(line + p.open, p.close - p.open) > 0 && !add_prototype(out, &p))
            return false;
        at += length + 1;
    }
    return true;
}

static bool same(const struct prototype *a, const struct prototype *b, bool whole)
{
    size_t n = whole ? a->close : a->open, m = whole ? b->close : b->open;
    return n == m && memcmp(a->line, b->line, n) == 0;
}

/* Of those that begin alike none is kept when they go on differently, else the first; none whose begin the own file holds. */
static void drop_ambiguous(struct prototypes *prototypes, const struct kg_cbr_source *own)
{
    size_t kept = 0;
    for (size_t i = 0; i < prototypes->count; i++) {
        struct prototype *p = &prototypes->list[i];
        p->dropped = memmem(own->text, own->length, p->line, p->open) != NULL;
        for (size_t k = 0; k < prototypes->count && !p->dropped; k++)
            p->dropped = k != i && same(p, &prototypes->list[k], false) && (k < i || !same(p, &prototypes->list[k], true));
    }
    for (size_t i = 0; i < prototypes->count; i++)
        if (!prototypes->list[i].dropped)
            prototypes->list[kept++] = prototypes->list[i];
    prototypes->count = kept;
}

static enum kg_status ask_prototype(const struct kg_tokenizer *tokenizer, struct kg_cbr_text *text, const struct prototype *p, bool *added,
                                    struct kg_error *err)
{
    const struct kg_cbr_source *source = &text->sources[p->source];
    const char *slash = strrchr(source->path, '/'), *name = slash ? slash + 1 : source->path;
    const bool python = source->language == KG_CBR_PYTHON;
    char question[768], shown[128];
    kg_printable(shown, sizeof shown, name, strlen(name));
    int indent = (int)strspn(p->line, " \t");
    int before = snprintf(question, sizeof question, python ? "\n%.*s# the same as in %s\n" : "\n%.*s/* the same as in %s */\n", indent, p->line, shown);
    snprintf(question + before, sizeof question - (size_t)before, "%.*s", (int)p->close + 1, p->line);
    return kg_cbr_ask(tokenizer, text, false, question, (size_t)before + p->open, (size_t)before + p->close, false, added, err);
}

static enum kg_status ask_prototypes(const struct kg_tokenizer *tokenizer, struct kg_cbr_text *text, struct prototypes *prototypes, uint64_t *random,
                                     struct kg_error *err)
{
    enum kg_status status = KG_OK;
    for (size_t i = 0, asked = 0; i < prototypes->count && asked < text->options.prototypes && status == KG_OK; i++) {
        size_t other = i + kg_cbr_below(random, (uint32_t)(prototypes->count - i));
        struct prototype chosen = prototypes->list[other];
        bool added;
        prototypes->list[other] = prototypes->list[i];
        status = ask_prototype(tokenizer, text, &chosen, &added, err);
        asked += added;
    }
    return status;
}

enum kg_status kg_cbr_find_prototypes(const struct kg_tokenizer *tokenizer, struct kg_cbr_text *text, uint64_t *random, struct kg_error *err)
{
    struct prototypes prototypes = { 0 };
    enum kg_status status = KG_OK;
    for (size_t i = 0; i + 1 < text->source_count && status == KG_OK; i++)
        if (!find_in(&text->sources[i], i, &prototypes))
            status = kg_fail_nomem(err, "looking for prototypes");
    if (status == KG_OK) {
        drop_ambiguous(&prototypes, &text->sources[text->source_count - 1]);
        status = ask_prototypes(tokenizer, text, &prototypes, random, err);
    }
    free(prototypes.list);
    return status;
}
