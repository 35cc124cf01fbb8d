#include "tui/changes/match.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define SIMILAR_LEAST      0.9  /* of all lines, by their length */
#define SIMILAR_LINE_LEAST 0.7  /* of each */
#define SIMILAR_LINES      3    /* fewer lines with text are not looked for by likeness */
#define LINE_MOST          240  /* bytes of a line that are compared by likeness */
#define WORK_MOST          (300U * 1000U * 1000U) /* steps of likeness in one search */
#define PAIRS_MOST         (8U * 1000U * 1000U)   /* of lines wanted and lines put in their place */

static bool is_space(char c)
{
    return c == ' ' || c == '\t' || c == '\r' || c == '\f' || c == '\v';
}

static bool same_but_trailing(const struct kg_line *a, const struct kg_line *b)
{
    size_t n = a->length;
    size_t m = b->length;
    while (n && is_space(a->text[n - 1]))
        n--;
    while (m && is_space(b->text[m - 1]))
        m--;
    return n == m && memcmp(a->text, b->text, n) == 0;
}

static bool is_word(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || (unsigned char)c >= 0x80;
}

/* Blanks count only where they keep two words apart. */
static bool same_but_spaces(const struct kg_line *a, const struct kg_line *b)
{
    struct kg_line x = kg_trimmed(a);
    struct kg_line y = kg_trimmed(b);
    size_t i = 0;
    size_t j = 0;
    while (i < x.length && j < y.length) {
        bool blank_x = is_space(x.text[i]);
        bool blank_y = is_space(y.text[j]);
        while (i < x.length && is_space(x.text[i]))
            i++;
        while (j < y.length && is_space(y.text[j]))
            j++;
        if (i == x.length || j == y.length || x.text[i] != y.text[j])
            return false;
        if (blank_x != blank_y && i > 0 && is_word(x.text[i]) && is_word(blank_x ? y.text[j - 1] : x.text[i - 1]))
            return false;
        i++;
        j++;
    }
    return i == x.length && j == y.length;
}

static bool (*const sameness[])(const struct kg_line *, const struct kg_line *) = {
    [KG_MATCH_EXACT] = kg_same_line, [KG_MATCH_TRAILING] = same_but_trailing, [KG_MATCH_INDENT] = kg_same_trimmed, [KG_MATCH_SPACES] = same_but_spaces
};

double kg_line_likeness(const struct kg_line *a, const struct kg_line *b)
{
    struct kg_line x = kg_trimmed(a);
    struct kg_line y = kg_trimmed(b);
    uint16_t row[LINE_MOST + 1] = { 0 };
    if (x.length > LINE_MOST || y.length > LINE_MOST)
        return kg_same_line(&x, &y) ? 1 : 0;
    if (x.length + y.length == 0)
        return 1;
    for (size_t i = 0; i < x.length; i++) { /* the longest common subsequence */
        uint16_t diagonal = 0;
        for (size_t j = 0; j < y.length; j++) {
            uint16_t above = row[j + 1];
            row[j + 1] = x.text[i] == y.text[j] ? diagonal + 1 : above > row[j] ? above : row[j];
            diagonal = above;
        }
    }
    return 2.0 * row[y.length] / (double)(x.length + y.length);
}

struct places {
    size_t first, count;
    size_t lines[4]; /* of the first ones */
};

static void add_place(struct places *places, size_t line)
{
    if (places->count == 0)
        places->first = line;
    if (places->count < sizeof places->lines / sizeof places->lines[0])
        places->lines[places->count] = line;
    places->count++;
}

static void find(const struct kg_lines *file, const struct kg_lines *wanted, enum kg_match_kind kind, struct places *out)
{
    *out = (struct places){ 0 };
    for (size_t at = 0; at + wanted->count <= file->count; at++) {
        size_t i = 0;
        while (i < wanted->count && sameness[kind](&file->lines[at + i], &wanted->lines[i]))
            i++;
        if (i == wanted->count)
            add_place(out, at);
    }
}

static enum kg_status too_many(const char *path, const struct places *places, size_t lines, struct kg_error *err)
{
    return kg_fail(err, KG_ERR_RANGE, "the %s to be replaced %s in %s %zu times (lines %zu and %zu%s): ask again with more lines around", lines == 1 ? "line" : "lines",
                   lines == 1 ? "stands" : "stand", path, places->count, places->lines[0] + 1, places->lines[1] + 1, places->count > 2 ? ", ..." : "");
}

/* Upper bound of the likeness by length, so that most pairs cost nothing. */
static double length_bound(const struct kg_line *a, const struct kg_line *b)
{
    struct kg_line x = kg_trimmed(a);
    struct kg_line y = kg_trimmed(b);
    size_t least = x.length < y.length ? x.length : y.length;
    return x.length + y.length ? 2.0 * (double)least / (double)(x.length + y.length) : 1;
}

/* Likeness of the lines from `at` on, 0 when a line differs too much; half of them must be there as they are. */
static double likeness_at(const struct kg_lines *file, const struct kg_lines *wanted, size_t at, uint64_t *work)
{
    double sum = 0;
    double weight = 0;
    size_t same = 0;
    size_t texts = 0;
    for (size_t i = 0; i < wanted->count; i++) {
        const struct kg_line *have = &file->lines[at + i];
        const struct kg_line *want = &wanted->lines[i];
        if (kg_is_blank(want) != kg_is_blank(have) || length_bound(have, want) < SIMILAR_LINE_LEAST)
            return 0;
        double likeness = 1;
        double length = (double)kg_trimmed(want).length;
        bool is_same = same_but_spaces(have, want);
        if (!is_same) {
            *work += (uint64_t)have->length * want->length;
            likeness = kg_line_likeness(have, want);
            if (likeness < SIMILAR_LINE_LEAST)
                return 0;
        }
        same += is_same && !kg_is_blank(want);
        texts += !kg_is_blank(want);
        sum += likeness * length;
        weight += length;
    }
    return texts >= SIMILAR_LINES && 2 * same >= texts ? sum / weight : 0;
}

static enum kg_status find_similar(const struct kg_lines *file, const struct kg_lines *wanted, const char *path, struct kg_match *out, struct kg_error *err)
{
    struct places places = { 0 };
    double best = 0;
    uint64_t work = 0;
    for (size_t at = 0; at + wanted->count <= file->count && work < WORK_MOST; at++) {
        double likeness = likeness_at(file, wanted, at, &work);
        if (likeness < SIMILAR_LEAST)
            continue;
        add_place(&places, at);
        if (likeness > best) {
            best = likeness;
            *out = (struct kg_match){ .kind = KG_MATCH_SIMILAR, .first = at, .count = wanted->count, .likeness = likeness };
        }
    }
    if (places.count > 1)
        return too_many(path, &places, wanted->count, err);
    if (places.count == 0 || work >= WORK_MOST)
        return kg_fail(err, KG_ERR_NOT_FOUND, "the %s to be replaced %s not in %s, nor anything near enough: ask again, or for another form",
                       wanted->count == 1 ? "line" : "lines", wanted->count == 1 ? "is" : "are", path);
    return KG_OK;
}

enum kg_status kg_match_lines(const struct kg_lines *file, const struct kg_lines *wanted, const char *path, struct kg_match *out, struct kg_error *err)
{
    struct places places;
    struct kg_lines core = *wanted;
    size_t skipped = 0;
    for (int kind = KG_MATCH_EXACT; kind <= KG_MATCH_SPACES; kind++) {
        if (kind == KG_MATCH_INDENT) { /* from here on without blank lines around */
            while (core.count && kg_is_blank(&core.lines[0])) {
                core.lines++;
                core.count--;
                skipped++;
            }
            while (core.count && kg_is_blank(&core.lines[core.count - 1]))
                core.count--;
        }
        find(file, &core, (enum kg_match_kind)kind, &places);
        if (places.count > 1)
            return too_many(path, &places, core.count, err);
        if (places.count == 1) {
            *out = (struct kg_match){ .kind = (enum kg_match_kind)kind, .first = places.first, .count = core.count, .skipped = skipped, .likeness = 1 };
            return KG_OK;
        }
    }
    enum kg_status status = find_similar(file, &core, path, out, err);
    out->skipped = skipped;
    return status;
}

/* For each line of b the line of a that it is, or SIZE_MAX: a longest common subsequence. */
static enum kg_status align(const struct kg_lines *a, const struct kg_lines *b, size_t *of, struct kg_error *err)
{
    size_t head = 0;
    size_t n = a->count;
    size_t m = b->count;
    for (size_t j = 0; j < m; j++)
        of[j] = SIZE_MAX;
    for (; head < n && head < m && same_but_trailing(&a->lines[head], &b->lines[head]); head++)
        of[head] = head;
    while (n > head && m > head && same_but_trailing(&a->lines[n - 1], &b->lines[m - 1]))
        of[--m] = --n;
    size_t rows = n - head;
    size_t columns = m - head;
    if (rows == 0 || columns == 0)
        return KG_OK;
    if (rows > PAIRS_MOST / columns)
        return kg_fail(err, KG_ERR_RANGE, "an edit of %zu lines by %zu is too large: ask for a smaller one", a->count, b->count);
    uint32_t *table = calloc((rows + 1) * (columns + 1), sizeof *table);
    if (!table)
        return kg_fail_nomem(err, "applying an edit");
    for (size_t i = rows; i-- > 0;)
        for (size_t j = columns; j-- > 0;) {
            uint32_t down = table[(i + 1) * (columns + 1) + j];
            uint32_t right = table[i * (columns + 1) + j + 1];
            bool same = same_but_trailing(&a->lines[head + i], &b->lines[head + j]);
            table[i * (columns + 1) + j] = same ? table[(i + 1) * (columns + 1) + j + 1] + 1 : down > right ? down : right;
        }
    for (size_t i = 0, j = 0; i < rows && j < columns;) {
        if (same_but_trailing(&a->lines[head + i], &b->lines[head + j]))
            of[head + j++] = head + i++;
        else if (table[(i + 1) * (columns + 1) + j] >= table[i * (columns + 1) + j + 1])
            i++;
        else
            j++;
    }
    free(table);
    return KG_OK;
}

struct replacing {
    const struct kg_lines *file, *wanted;
    const struct kg_match *match;
};

/* The file's line for a wanted one, or NULL. */
static const struct kg_line *file_line(const struct replacing *r, size_t wanted)
{
    return wanted >= r->match->skipped && wanted - r->match->skipped < r->match->count ? &r->file->lines[r->match->first + wanted - r->match->skipped] : NULL;
}

/* The wanted line, with a line in the file, that tells best how a new line is indented in the file: one that is indented alike,
 * the nearest to `near`; else the nearest. */
static size_t guide(const struct replacing *r, const struct kg_line *line, size_t near)
{
    size_t indent = kg_indent(line);
    size_t best = SIZE_MAX;
    size_t best_cost = SIZE_MAX;
    for (size_t i = 0; i < r->wanted->count; i++) {
        const struct kg_line *want = &r->wanted->lines[i];
        if (!file_line(r, i) || kg_is_blank(want))
            continue;
        bool alike = kg_indent(want) == indent && memcmp(want->text, line->text, indent) == 0;
        size_t cost = (i > near ? i - near : near - i) + (alike ? 0 : r->wanted->count);
        if (cost < best_cost) {
            best_cost = cost;
            best = i;
        }
    }
    return best;
}

static bool is_all(const char *text, size_t length, char c)
{
    for (size_t i = 0; i < length; i++)
        if (text[i] != c)
            return false;
    return length > 0;
}

/* More indentation, as the file would write it: where it has blanks for the answer's tabs, or tabs for its blanks. */
static void put_extra(const struct replacing *r, const char *extra, size_t length, struct kg_growing *out)
{
    for (size_t i = 0; i < r->wanted->count; i++) {
        const struct kg_line *want = &r->wanted->lines[i];
        const struct kg_line *have = file_line(r, i);
        size_t wanted = have ? kg_indent(want) : 0;
        size_t has = have ? kg_indent(have) : 0;
        bool to_blanks = is_all(want->text, wanted, '\t') && has > 0 && is_all(have->text, has, ' ') && has % wanted == 0 && is_all(extra, length, '\t');
        bool to_tabs = is_all(want->text, wanted, ' ') && has > 0 && is_all(have->text, has, '\t') && wanted % has == 0 && is_all(extra, length, ' ') &&
                       length % (wanted / has) == 0;
        if (!to_blanks && !to_tabs)
            continue;
        size_t count = to_blanks ? length * (has / wanted) : length / (wanted / has);
        for (size_t k = 0; k < count; k++)
            kg_growing_puts(out, to_blanks ? " " : "\t");
        return;
    }
    kg_growing_add(out, extra, length);
}

static void put_indented(const struct replacing *r, const struct kg_line *line, size_t near, struct kg_growing *out)
{
    size_t by = r->match->kind < KG_MATCH_INDENT || kg_is_blank(line) ? SIZE_MAX : guide(r, line, near);
    if (by == SIZE_MAX) {
        kg_growing_add(out, line->text, line->length);
        return;
    }
    const struct kg_line *want = &r->wanted->lines[by];
    const struct kg_line *have = file_line(r, by);
    size_t wanted = kg_indent(want);
    size_t has = kg_indent(have);
    size_t indent = kg_indent(line);
    if (indent >= wanted) {
        kg_growing_add(out, have->text, has);
        put_extra(r, line->text + wanted, indent - wanted, out);
        kg_growing_add(out, line->text + indent, line->length - indent);
    } else { /* further out than any that is known: as many less */
        size_t less = wanted - indent;
        kg_growing_add(out, have->text, has > less ? has - less : 0);
        kg_growing_add(out, line->text + indent, line->length - indent);
    }
}

/* What is only like the file's may be kept or stand around, but not be replaced: who misquotes a line does not know what goes with
 * it. */
static enum kg_status check_replaced(const struct replacing *r, const size_t *of, size_t count, struct kg_error *err)
{
    for (size_t i = 0; i < r->wanted->count && r->match->kind == KG_MATCH_SIMILAR; i++) {
        const struct kg_line *have = file_line(r, i);
        bool kept = !have || same_but_spaces(have, &r->wanted->lines[i]);
        for (size_t j = 0; j < count && !kept; j++)
            kept = of[j] == i;
        if (!kept)
            return kg_fail(err, KG_ERR_NOT_FOUND, "line %zu, which is to be replaced, is not as the answer quotes it: ask again, or for another form",
                           r->match->first + i - r->match->skipped + 1);
    }
    return KG_OK;
}

enum kg_status kg_match_replace(const struct kg_lines *file, const struct kg_lines *wanted, const struct kg_lines *after, const struct kg_match *match,
                                struct kg_growing *out, struct kg_error *err)
{
    const struct replacing r = { .file = file, .wanted = wanted, .match = match };
    size_t *of = malloc((after->count ? after->count : 1) * sizeof *of);
    size_t behind = match->first + match->count;
    if (!of)
        return kg_fail_nomem(err, "applying an edit");
    enum kg_status status = align(wanted, after, of, err);
    if (status == KG_OK)
        status = check_replaced(&r, of, after->count, err);
    const char *feed = kg_ends_in_crlf(file) ? "\r\n" : "\n";
    bool last_has_feed = file->count == 0 || behind < file->count || file->lines[file->count - 1].end > 0;
    size_t near = 0;
    for (size_t i = 0; i < match->first; i++)
        kg_growing_add_line(out, &file->lines[i]);
    for (size_t j = 0; j < after->count && status == KG_OK; j++) {
        const struct kg_line *same = of[j] == SIZE_MAX ? NULL : file_line(&r, of[j]);
        bool kept = of[j] != SIZE_MAX;
        near = kept ? of[j] : near;
        if (kept && !same)
            continue; /* a blank line around what was wanted, which the file does not have there */
        if (same)
            kg_growing_add(out, same->text, same->length);
        else
            put_indented(&r, &after->lines[j], near, out);
        if (same && same->end)
            kg_growing_add(out, same->text + same->length, same->end);
        else if (behind < file->count || j + 1 < after->count || last_has_feed)
            kg_growing_puts(out, feed);
    }
    for (size_t i = behind; i < file->count; i++)
        kg_growing_add_line(out, &file->lines[i]);
    free(of);
    if (status == KG_OK && out->failed)
        status = kg_fail_nomem(err, "applying an edit");
    return status;
}
