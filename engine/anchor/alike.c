#include "engine/anchor/alike.h"

#include <stdlib.h>
#include <string.h>

#include "kernels/backend.h"

/* Where a run ends: the next token is the first that may differ. */
struct run {
    const int32_t *ids; /* KG_ALIKE_RUN of them */
    size_t text;
    uint32_t end;
};

static int compare_ids(const int32_t *a, const int32_t *b)
{
    for (unsigned i = 0; i < KG_ALIKE_RUN; i++)
        if (a[i] != b[i])
            return a[i] < b[i] ? -1 : 1;
    return 0;
}

static int compare_runs(const void *a, const void *b)
{
    const struct run *x = a, *y = b;
    return compare_ids(x->ids, y->ids);
}

/* Bits that say which runs the last text may have: most of those of the others are seen at once not to be among them. */
#define SEEN_BITS 16

static uint32_t place_of(const int32_t *ids)
{
    uint32_t hash = 0;
    for (unsigned i = 0; i < KG_ALIKE_RUN; i++)
        hash = (hash ^ (uint32_t)ids[i]) * 2654435761U;
    return hash >> (32 - SEEN_BITS);
}

/* Those of the last text, and of the others what they may have in common with it. */
static size_t list_runs(const struct kg_alike_text *texts, size_t count, struct run *runs)
{
    uint8_t seen[1 << (SEEN_BITS - 3)] = { 0 };
    size_t n = 0;
    for (size_t i = count; i-- > 0;)
        for (uint32_t end = KG_ALIKE_RUN; end <= texts[i].count; end++) {
            const int32_t *ids = texts[i].ids + end - KG_ALIKE_RUN;
            const uint32_t place = place_of(ids);
            if (i + 1 == count)
                seen[place / 8] |= (uint8_t)(1U << place % 8);
            if (seen[place / 8] >> place % 8 & 1)
                runs[n++] = (struct run){ ids, i, end };
        }
    return n;
}

/* From token `at` on, to the end of the line. */
static void mark_line(const struct kg_alike_text *text, uint32_t at, const bool *newline, bool *pages)
{
    for (uint32_t n = 0; n < KG_ALIKE_LINE && at < text->count; n++, at++) {
        pages[at / KG_PAGE] = true;
        if (newline[text->ids[at]])
            return;
    }
}

/* Runs first .. end-1 are the same tokens. */
static void mark_group(const struct kg_alike_text *texts, size_t last, const struct run *runs, size_t first, size_t end, const bool *newline, bool *pages)
{
    bool earlier = false;
    for (size_t i = first; i < end; i++)
        earlier = earlier || runs[i].text < last;
    for (size_t i = first; earlier && end - first <= KG_ALIKE_RARE && i < end; i++)
        if (runs[i].text == last)
            mark_line(&texts[last], runs[i].end, newline, pages);
}

enum kg_status kg_alike_pages(const struct kg_alike_text *texts, size_t count, const bool *newline, bool *pages, struct kg_error *err)
{
    const size_t last = count - 1;
    size_t total = 0;
    for (size_t i = 0; i < count; i++)
        total += texts[i].count;
    memset(pages, 0, ((size_t)texts[last].count + KG_PAGE - 1) / KG_PAGE * sizeof *pages);
    struct run *runs = malloc((total + 1) * sizeof *runs);
    if (!runs)
        return kg_fail_nomem(err, "comparing texts");
    const size_t n = list_runs(texts, count, runs);
    qsort(runs, n, sizeof *runs, compare_runs);
    for (size_t first = 0, end; first < n; first = end) {
        for (end = first + 1; end < n && compare_ids(runs[end].ids, runs[first].ids) == 0; end++) {}
        mark_group(texts, last, runs, first, end, newline, pages);
    }
    free(runs);
    return KG_OK;
}
