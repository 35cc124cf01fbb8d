#include "repo-index/parts.h"

#include <stdlib.h>
#include <string.h>

#include "repo-index/arena.h"
#include "repo-index/lines.h"
#include "repo-index/read.h"

#define AROUND 20     /* lines on either side of one that no definition holds */
#define WORTH 0.5     /* of the best line's score: the least of another part's */

struct line {
    uint32_t offset, length; /* with its line feed */
    double score;
};

struct definition {
    uint32_t first, last;
};

struct cutting {
    struct line *lines;
    size_t count, capacity;
    struct definition *definitions;
    size_t definition_count, definition_capacity;
    bool failed;
};

static void read_lines(struct cutting *c, const char *text, size_t length, const struct kg_query *query)
{
    for (size_t at = 0; at < length && !c->failed;) {
        const char *feed = memchr(text + at, '\n', length - at);
        size_t n = feed ? (size_t)(feed - text) + 1 - at : length - at;
        c->failed = !kg_grow(&c->lines, c->count, &c->capacity, sizeof *c->lines);
        if (!c->failed)
            c->lines[c->count++] = (struct line){ .offset = (uint32_t)at, .length = (uint32_t)n, .score = kg_line_score(text + at, n, query) };
        at += n;
    }
}

static int take_symbol(void *ctx, const struct kg_symbol_view *symbol)
{
    struct cutting *c = ctx;
    if (symbol->end <= symbol->line || symbol->end > c->count)
        return 0;
    c->failed = !kg_grow(&c->definitions, c->definition_count, &c->definition_capacity, sizeof *c->definitions);
    if (!c->failed)
        c->definitions[c->definition_count++] = (struct definition){ symbol->line, symbol->end };
    return c->failed;
}

static uint64_t bytes_of(const struct cutting *c, uint32_t first, uint32_t last)
{
    return (uint64_t)c->lines[last - 1].offset + c->lines[last - 1].length - c->lines[first - 1].offset;
}

/* The largest definition around the line that fits, else as much around it as fits. */
static struct kg_part part_around(const struct cutting *c, uint32_t line, uint64_t room)
{
    struct kg_part best = { 0 };
    for (size_t i = 0; i < c->definition_count; i++) {
        const struct definition *d = &c->definitions[i];
        if (d->first > line || d->last < line || bytes_of(c, d->first, d->last) > room || d->last - d->first < best.last - best.first)
            continue;
        best = (struct kg_part){ .first = d->first, .last = d->last };
    }
    if (best.first == 0 && c->lines[line - 1].length <= room) {
        best = (struct kg_part){ .first = line, .last = line };
        for (uint32_t reach = 1; reach <= AROUND; reach++) {
            if (best.last == line + reach - 1 && line + reach <= c->count && bytes_of(c, best.first, line + reach) <= room)
                best.last = line + reach;
            if (best.first == line - reach + 1 && line > reach && bytes_of(c, line - reach, best.last) <= room)
                best.first = line - reach;
        }
    }
    if (best.first)
        best.bytes = bytes_of(c, best.first, best.last);
    return best;
}

static bool is_taken(const struct kg_part *parts, unsigned count, uint32_t first, uint32_t last)
{
    for (unsigned i = 0; i < count; i++)
        if (first <= parts[i].last && last >= parts[i].first)
            return true;
    return false;
}

static uint32_t best_free_line(const struct cutting *c, const struct kg_part *parts, unsigned count, const bool *tried)
{
    uint32_t best = 0;
    for (uint32_t line = 1; line <= c->count; line++)
        if (c->lines[line - 1].score > (best ? c->lines[best - 1].score : 0) && !tried[line - 1] && !is_taken(parts, count, line, line))
            best = line;
    return best;
}

static unsigned choose_parts(const struct cutting *c, uint64_t room, struct kg_part out[KG_PARTS_MAX], bool *tried)
{
    unsigned count = 0;
    double best = 0;
    for (unsigned tries = 0; tries < 4 * KG_PARTS_MAX && count < KG_PARTS_MAX; tries++) {
        uint32_t line = best_free_line(c, out, count, tried);
        if (!line || c->lines[line - 1].score < WORTH * best)
            break;
        best = best > 0 ? best : c->lines[line - 1].score;
        tried[line - 1] = true;
        struct kg_part part = part_around(c, line, room);
        if (!part.first || is_taken(out, count, part.first, part.last))
            continue;
        room -= part.bytes;
        unsigned at = count++;
        for (; at > 0 && out[at - 1].first > part.first; at--)
            out[at] = out[at - 1];
        out[at] = part;
    }
    return count;
}

unsigned kg_parts_of(struct kg_index *index, const struct kg_catalog *catalog, const struct kg_catalog_file *file, const struct kg_query *query, uint64_t bytes,
                     struct kg_part out[KG_PARTS_MAX])
{
    struct cutting c = { 0 };
    char *text = NULL;
    size_t length = 0, size = 0;
    unsigned count = 0;
    if (kg_read_beneath(index->root_fd, file->path, KG_INDEX_FILE_MAX, &text, &length, &size, NULL) != KG_OK)
        return 0;
    if (size == file->bytes) {
        read_lines(&c, text, length, query);
        bool *tried = c.failed ? NULL : calloc(c.count + 1, sizeof *tried);
        if (tried && kg_store_symbols(index->store, catalog->docs[file->doc], take_symbol, &c, NULL) == KG_OK)
            count = choose_parts(&c, bytes, out, tried);
        free(tried);
    }
    free(text);
    free(c.lines);
    free(c.definitions);
    return count;
}
