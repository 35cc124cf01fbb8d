#include "tui/file/text.h"

#include <assert.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

struct change {
    size_t at, removed, inserted;
    char *bytes; /* what was removed, then what was inserted */
    bool joined;
};

struct kg_text {
    char *bytes;
    size_t length, capacity;
    size_t *starts; /* of lines */
    size_t lines, lines_capacity;
    struct change *changes;
    size_t count, capacity_changes;
    size_t done;  /* those behind it were undone */
    size_t saved; /* what `done` was then; SIZE_MAX: cannot be had back */
};

static size_t count_newlines(const char *bytes, size_t length)
{
    size_t n = 0;
    for (const char *at = bytes, *end = bytes + length; at < end && (at = memchr(at, '\n', (size_t)(end - at))); at++)
        n++;
    return n;
}

static bool grow(void **memory, size_t *capacity, size_t wanted, size_t size)
{
    if (*memory && wanted <= *capacity)
        return true;
    size_t larger = wanted + wanted / 2 + 64;
    void *grown = realloc(*memory, larger * size);
    if (!grown)
        return false;
    memset((char *)grown + *capacity * size, 0, (larger - *capacity) * size);
    *memory = grown;
    *capacity = larger;
    return true;
}

static bool reserve(struct kg_text *text, size_t length, size_t lines)
{
    void *bytes = text->bytes, *starts = text->starts;
    bool ok = grow(&bytes, &text->capacity, length + 1, 1);
    text->bytes = bytes;
    ok = ok && grow(&starts, &text->lines_capacity, lines, sizeof *text->starts);
    text->starts = starts;
    return ok;
}

/* Changes bytes and lines; there is room. */
static void splice(struct kg_text *text, size_t at, size_t removed, const char *bytes, size_t length)
{
    size_t line = kg_text_line_of(text, at), gone = count_newlines(text->bytes + at, removed), come = count_newlines(bytes, length);
    size_t behind = line + 1 + gone; /* lines from here on keep their text */
    memmove(&text->starts[line + 1 + come], &text->starts[behind], (text->lines - behind) * sizeof *text->starts);
    text->lines = text->lines - gone + come;
    for (size_t i = line + 1 + come; i < text->lines; i++)
        text->starts[i] += length - removed; /* wraps around where it shrinks, as it should */
    memmove(text->bytes + at + length, text->bytes + at + removed, text->length - at - removed + 1);
    if (length)
        memcpy(text->bytes + at, bytes, length);
    text->length += length - removed;
    for (size_t i = 0, from = at; i < come; i++) {
        from = (size_t)((char *)memchr(text->bytes + from, '\n', at + length - from) - text->bytes) + 1;
        text->starts[line + 1 + i] = from;
    }
}

struct kg_text *kg_text_create(const char *bytes, size_t length)
{
    struct kg_text *text = calloc(1, sizeof *text);
    if (!text || !reserve(text, length, count_newlines(bytes, length) + 1)) {
        kg_text_free(text);
        return NULL;
    }
    text->bytes[0] = '\0';
    text->starts[0] = 0;
    text->lines = 1;
    splice(text, 0, 0, bytes, length);
    return text;
}

static void drop_changes(struct kg_text *text, size_t from)
{
    for (size_t i = from; i < text->count; i++)
        free(text->changes[i].bytes);
    text->count = from;
    if (text->saved > from && text->saved != SIZE_MAX)
        text->saved = SIZE_MAX;
}

void kg_text_free(struct kg_text *text)
{
    if (!text)
        return;
    drop_changes(text, 0);
    free(text->changes);
    free(text->bytes);
    free(text->starts);
    free(text);
}

const char *kg_text_bytes(const struct kg_text *text, size_t *length)
{
    *length = text->length;
    return text->bytes;
}

size_t kg_text_lines(const struct kg_text *text)
{
    return text->lines;
}

size_t kg_text_line_start(const struct kg_text *text, size_t line)
{
    assert(line < text->lines);
    return text->starts[line];
}

size_t kg_text_line_end(const struct kg_text *text, size_t line)
{
    return line + 1 < text->lines ? text->starts[line + 1] - 1 : text->length;
}

size_t kg_text_line_of(const struct kg_text *text, size_t offset)
{
    size_t low = 0, high = text->lines;
    while (high - low > 1) {
        size_t middle = low + (high - low) / 2;
        if (text->starts[middle] <= offset)
            low = middle;
        else
            high = middle;
    }
    return low;
}

/* Typing is one change as long as it goes on: the bytes are added to the last one. */
static bool extend(struct kg_text *text, size_t at, const char *bytes, size_t length)
{
    struct change *last = text->done > 0 && text->done == text->count ? &text->changes[text->done - 1] : NULL;
    if (!last || last->removed || last->at + last->inserted != at || text->saved == text->done)
        return false;
    char *grown = realloc(last->bytes, last->inserted + length + 1);
    if (!grown)
        return false;
    memcpy(grown + last->inserted, bytes, length);
    last->bytes = grown;
    last->inserted += length;
    return true;
}

bool kg_text_replace(struct kg_text *text, size_t from, size_t to, const char *bytes, size_t length, bool joined)
{
    assert(from <= to && to <= text->length);
    if (from == to && length == 0)
        return true;
    if (!reserve(text, text->length - (to - from) + length, text->lines + count_newlines(bytes, length)))
        return false;
    if (joined && from == to && extend(text, from, bytes, length)) {
        splice(text, from, 0, bytes, length);
        return true;
    }
    joined = joined && text->done > 0 && text->saved != text->done; /* what was saved can be had back */
    void *changes = text->changes;
    char *kept = malloc(to - from + length + 1);
    bool ok = kept && grow(&changes, &text->capacity_changes, text->done + 1, sizeof *text->changes);
    text->changes = changes;
    if (!ok) {
        free(kept);
        return false;
    }
    memcpy(kept, text->bytes + from, to - from);
    if (length)
        memcpy(kept + (to - from), bytes, length);
    drop_changes(text, text->done);
    text->changes[text->count++] = (struct change){ .at = from, .removed = to - from, .inserted = length, .bytes = kept, .joined = joined };
    text->done++;
    splice(text, from, to - from, bytes, length);
    return true;
}

bool kg_text_undo(struct kg_text *text, size_t *from, size_t *to)
{
    bool any = false;
    for (bool more = true; more && text->done > 0;) {
        const struct change *change = &text->changes[text->done - 1];
        if (!reserve(text, text->length - change->inserted + change->removed, text->lines + count_newlines(change->bytes, change->removed)))
            return any;
        splice(text, change->at, change->inserted, change->bytes, change->removed);
        *from = change->at;
        *to = change->at + change->removed;
        more = change->joined;
        any = true;
        text->done--;
    }
    return any;
}

bool kg_text_redo(struct kg_text *text, size_t *from, size_t *to)
{
    bool any = false;
    for (bool more = true; more && text->done < text->count;) {
        const struct change *change = &text->changes[text->done];
        if (!reserve(text, text->length - change->removed + change->inserted,
                     text->lines + count_newlines(change->bytes + change->removed, change->inserted)))
            return any;
        splice(text, change->at, change->removed, change->bytes + change->removed, change->inserted);
        *from = change->at;
        *to = change->at + change->inserted;
        any = true;
        text->done++;
        more = text->done < text->count && text->changes[text->done].joined;
    }
    return any;
}

bool kg_text_is_saved(const struct kg_text *text)
{
    return text->saved == text->done;
}

void kg_text_set_saved(struct kg_text *text)
{
    text->saved = text->done;
}
