/* Planted constants: lines put between top-level definitions of other files, whose values are asked for behind the target. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/eval/cbr_parts.h"

enum kg_cbr_language kg_cbr_language_of(const char *path)
{
    static const char *const c[] = { "c", "h", "cc", "cpp", "cxx", "hh", "hpp", "hxx", "cu", "cuh", "ipp", "inl", "m", "mm" };
    const char *slash = strrchr(path, '/'), *dot = strrchr(slash ? slash : path, '.');
    if (!dot)
        return KG_CBR_OTHER;
    if (strcmp(dot, ".py") == 0 || strcmp(dot, ".pyi") == 0)
        return KG_CBR_PYTHON;
    for (size_t i = 0; i < sizeof c / sizeof *c; i++)
        if (strcmp(dot + 1, c[i]) == 0)
            return KG_CBR_C;
    return KG_CBR_OTHER;
}

/* A place for a line: the start of a line at the left margin behind an empty one. */
struct place {
    size_t source, offset;
    size_t depth; /* bytes of sources before it */
};

struct places {
    struct place *list;
    size_t count, room;
};

static bool add_place(struct places *places, size_t source, size_t offset, size_t depth)
{
    if (places->count == places->room) {
        size_t room = 2 * places->room + 64;
        struct place *list = realloc(places->list, room * sizeof *list);
        if (!list)
            return false;
        places->list = list;
        places->room = room;
    }
    places->list[places->count++] = (struct place){ source, offset, depth + offset };
    return true;
}

/* Whether a block comment or a string over several lines is open, from one line to the next. What a one-line comment or a
 * string holds is taken for code, which costs a place at most. */
struct nesting {
    enum kg_cbr_language language;
    const char *closing; /* NULL: none is open */
};

static void follow(struct nesting *nesting, const char *line, size_t length)
{
    static const char *const marks[][2] = { { "/*", "*/" }, { "\"\"\"", "\"\"\"" }, { "'''", "'''" } };
    size_t first = nesting->language == KG_CBR_PYTHON ? 1 : 0, end = nesting->language == KG_CBR_PYTHON ? 3 : 1;
    for (size_t i = 0; i < length; i++) {
        if (nesting->closing) {
            size_t n = strlen(nesting->closing);
            if (length - i >= n && memcmp(line + i, nesting->closing, n) == 0) {
                nesting->closing = NULL;
                i += n - 1;
            }
            continue;
        }
        for (size_t k = first; k < end; k++) {
            size_t n = strlen(marks[k][0]);
            if (length - i >= n && memcmp(line + i, marks[k][0], n) == 0) {
                nesting->closing = marks[k][1];
                i += n - 1;
                break;
            }
        }
    }
}

static bool is_blank(const char *line, size_t length)
{
    for (size_t i = 0; i < length; i++)
        if (line[i] != ' ' && line[i] != '\t' && line[i] != '\r' && line[i] != '\n')
            return false;
    return true;
}

static bool starts_definition(const char *line, size_t length)
{
    static const char inside[] = " \t\r\n)}]{(,.:|&+-";
    return length > 0 && !memchr(inside, *line, sizeof inside - 1);
}

static bool find_places(const struct kg_cbr_source *source, size_t number, size_t depth, struct places *places)
{
    struct nesting nesting = { .language = source->language };
    bool blank = false;
    for (size_t at = 0; at < source->length;) {
        const char *line = source->text + at, *end = memchr(line, '\n', source->length - at);
        size_t length = end ? (size_t)(end - line) + 1 : source->length - at;
        if (blank && !nesting.closing && starts_definition(line, length) && !add_place(places, number, at, depth))
            return false;
        blank = is_blank(line, length);
        follow(&nesting, line, length);
        at += length;
    }
    return true;
}

/* The place among lo .. hi that is nearest to a depth. */
static size_t nearest(const struct places *places, size_t lo, size_t hi, size_t depth)
{
    while (lo < hi && places->list[lo + 1].depth <= depth)
        lo++;
    if (lo < hi && places->list[lo].depth < depth && places->list[lo + 1].depth - depth < depth - places->list[lo].depth)
        lo++;
    return lo;
}

struct constant {
    char line[128];
    size_t value, value_end; /* offsets */
};

static const char *const words[] = {
    "AMBER", "ANCHOR", "BARREL", "BEACON", "BRANCH", "BRIDGE", "BUCKET", "CANDLE", "CARBON", "CASTLE", "CIRCLE", "COPPER", "CORAL",  "CRADLE", "DESERT", "DRAGON",
    "ELBOW", "EMBER",  "FALCON", "FEATHER", "FOREST", "GARDEN", "GLACIER", "HAMMER", "HARBOR", "HOLLOW", "ISLAND", "JACKET", "JUNGLE", "KETTLE", "LADDER", "LANTERN",
    "MARBLE", "MEADOW", "MIRROR", "NEEDLE", "OCTAVE", "ORCHID", "OYSTER", "PEBBLE", "PEPPER", "PILLAR", "PLANET", "QUARRY", "RABBIT", "RIBBON", "RIVER",  "SADDLE",
    "SALMON", "SIGNAL", "SILVER", "SPIRAL", "STATUE", "SUMMIT", "TEMPLE", "THUNDER", "TIMBER", "TUNNEL", "VALLEY", "VELVET", "VIOLET", "WALNUT", "WINTER", "ZIPPER",
};
enum { WORDS = sizeof words / sizeof *words };
_Static_assert(WORDS == 64, "a step that is odd meets every pair");

static void make_constant(enum kg_cbr_language language, const char *name, uint64_t *random, struct constant *out)
{
    /* a first digit that is no letter: the model meets the value's begin as one of its own tokens */
    const unsigned first = 1 + kg_cbr_below(random, 9), rest = kg_cbr_below(random, 1U << 28);
    const bool typed = language == KG_CBR_C && kg_cbr_below(random, 2);
    const char *form = language == KG_CBR_PYTHON ? "%s = 0x" : typed ? "static const unsigned %s = 0x" : "#define %s 0x";
    /* NOLINTNEXTLINE(clang-diagnostic-format-nonliteral) */
    out->value = (size_t)snprintf(out->line, sizeof out->line, form, name);
    out->value_end = out->value + (size_t)snprintf(out->line + out->value, sizeof out->line - out->value, "%u%07x", first, rest);
    snprintf(out->line + out->value_end, sizeof out->line - out->value_end, typed ? ";\n\n" : "\n\n");
}

static const char *file_name(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

static enum kg_status ask_constant(const struct kg_tokenizer *tokenizer, struct kg_cbr_text *text, const struct kg_cbr_source *source,
                                   const struct constant *constant, bool *added, struct kg_error *err)
{
    char question[512], name[128];
    kg_printable(name, sizeof name, file_name(source->path), strlen(file_name(source->path)));
    int before = snprintf(question, sizeof question, source->language == KG_CBR_PYTHON ? "\n# the same value as in %s\n" : "\n/* the same value as in %s */\n", name);
    snprintf(question + before, sizeof question - (size_t)before, "%.*s", (int)constant->value_end, constant->line);
    return kg_cbr_ask(tokenizer, text, true, question, (size_t)before + constant->value, (size_t)before + constant->value_end, true, added, err);
}

static bool insert(struct kg_cbr_source *source, size_t offset, const char *line, size_t n)
{
    char *grown = realloc(source->text, source->length + n + 1);
    if (!grown)
        return false;
    source->text = grown;
    memmove(grown + offset + n, grown + offset, source->length - offset + 1);
    memcpy(grown + offset, line, n);
    source->length += n;
    return true;
}

static enum kg_status plant_at(const struct kg_tokenizer *tokenizer, struct kg_cbr_text *text, const struct place *place, const char *name,
                               uint64_t *random, struct kg_error *err)
{
    struct kg_cbr_source *source = &text->sources[place->source];
    struct constant constant;
    bool added = false;
    enum kg_status status = KG_OK;
    for (unsigned tries = 0; tries < 20 && !added && status == KG_OK; tries++) {
        make_constant(source->language, name, random, &constant);
        status = ask_constant(tokenizer, text, source, &constant, &added, err);
    }
    if (status == KG_OK && added && !insert(source, place->offset, constant.line, strlen(constant.line)))
        status = kg_fail_nomem(err, "planting constants");
    return status;
}

static enum kg_status plant_all(const struct kg_tokenizer *tokenizer, struct kg_cbr_text *text, const struct places *places, size_t count, size_t bytes,
                                uint64_t *random, struct kg_error *err)
{
    size_t *chosen = malloc((count ? count : 1) * sizeof *chosen);
    if (!chosen)
        return kg_fail_nomem(err, "planting constants");
    for (size_t i = 0; i < count; i++)
        chosen[i] = nearest(places, i ? chosen[i - 1] + 1 : 0, places->count - (count - i), (2 * i + 1) * bytes / (2 * count));
    /* from the last one to the first, so that offsets stay */
    uint32_t pair = kg_cbr_below(random, WORDS * WORDS);
    enum kg_status status = KG_OK;
    for (size_t i = count; i-- > 0 && status == KG_OK;) {
        char name[64];
        pair = (pair + 1117) % (WORDS * WORDS); /* an odd step meets every pair of 64 * 64 words */
        snprintf(name, sizeof name, "KEDGE_%s_%s", words[pair / WORDS], words[pair % WORDS]);
        status = plant_at(tokenizer, text, &places->list[chosen[i]], name, random, err);
    }
    free(chosen);
    return status;
}

enum kg_status kg_cbr_plant(const struct kg_tokenizer *tokenizer, struct kg_cbr_text *text, uint64_t *random, struct kg_error *err)
{
    struct places places = { 0 };
    size_t bytes = 0, count = text->options.constants;
    for (size_t i = 0; i + 1 < text->source_count; i++) {
        if (text->sources[i].language != KG_CBR_OTHER && !find_places(&text->sources[i], i, bytes, &places)) {
            free(places.list);
            return kg_fail_nomem(err, "planting constants");
        }
        bytes += text->sources[i].length;
    }
    count = count < places.count ? count : places.count;
    enum kg_status status = plant_all(tokenizer, text, &places, count, bytes, random, err);
    free(places.list);
    return status;
}
