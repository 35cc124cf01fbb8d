/* What of an old reading stays when a text was edited. */
#include <stdlib.h>
#include <string.h>

#include "engine/eval/patch.h"
#include "kernels/backend.h"

/* Two texts, what they begin and end with alike left out, and the lengths of longest common subsequences of their ends. */
struct common {
    const int32_t *a, *b;
    uint32_t n, m;
    uint16_t *length; /* (n + 1, m + 1): of a[i ..] and b[k ..] */
};

static uint16_t *length_at(const struct common *c, uint32_t i, uint32_t k)
{
    return &c->length[(size_t)i * (c->m + 1) + k];
}

static void measure(const struct common *c)
{
    for (uint32_t i = c->n; i-- > 0;)
        for (uint32_t k = c->m; k-- > 0;) {
            const uint16_t down = *length_at(c, i + 1, k), right = *length_at(c, i, k + 1);
            *length_at(c, i, k) = c->a[i] == c->b[k] ? (uint16_t)(*length_at(c, i + 1, k + 1) + 1) : down > right ? down : right;
        }
}

static void walk(const struct common *c, uint32_t a_first, uint32_t b_first, int32_t *match)
{
    for (uint32_t i = 0, k = 0; i < c->n && k < c->m;) {
        if (c->a[i] == c->b[k])
            match[a_first + i++] = (int32_t)(b_first + k++);
        else if (*length_at(c, i + 1, k) >= *length_at(c, i, k + 1))
            i++;
        else
            k++;
    }
}

/* match[i]: the token of b that token i of a is, or -1. */
static enum kg_status match_tokens(const int32_t *a, uint32_t n, const int32_t *b, uint32_t m, int32_t *match, struct kg_error *err)
{
    uint32_t head = 0, tail = 0;
    while (head < n && head < m && a[head] == b[head])
        head++;
    while (tail < n - head && tail < m - head && a[n - 1 - tail] == b[m - 1 - tail])
        tail++;
    struct common c = { a + head, b + head, n - head - tail, m - head - tail, NULL };
    c.length = calloc(((size_t)c.n + 1) * (c.m + 1), sizeof *c.length);
    if (!c.length)
        return kg_fail_nomem(err, "comparing two texts");
    for (uint32_t i = 0; i < n; i++)
        match[i] = i < head ? (int32_t)i : i >= n - tail ? (int32_t)(m - (n - i)) : -1;
    measure(&c);
    walk(&c, head, head, match);
    free(c.length);
    return KG_OK;
}

static bool is_whole(const int32_t *match)
{
    for (uint32_t t = 0; t < KG_PAGE; t++)
        if (match[t] < 0 || match[t] != match[0] + (int32_t)t)
            return false;
    return true;
}

/* Of tokens `from` .. upto-1 of the new text nothing is kept. */
static void drop(int32_t *kept, uint32_t pages, uint32_t from, uint32_t upto)
{
    for (uint32_t p = 0; p < pages; p++)
        if (kept[p] >= 0 && (uint32_t)kept[p] < upto && (uint32_t)kept[p] + KG_PAGE > from)
            kept[p] = -1;
}

/* The new text's tokens that the old one does not have, and those behind which it had something else. */
static void find_changes(const int32_t *match, uint32_t n, uint32_t m, bool *changed)
{
    memset(changed, true, m);
    for (uint32_t i = 0; i < n; i++)
        if (match[i] >= 0)
            changed[match[i]] = i > 0 && match[i] > 0 && match[i - 1] != match[i] - 1;
}

enum kg_status kg_patch_keep(const int32_t *before, uint32_t before_count, const int32_t *after, uint32_t after_count, const uint32_t *starts,
                             uint32_t start_count, int32_t *kept, struct kg_error *err)
{
    const uint32_t pages = before_count / KG_PAGE;
    bool *changed = calloc(after_count + 1UL, sizeof *changed);
    int32_t *match = calloc(before_count + 1UL, sizeof *match);
    if (!changed || !match) {
        free(changed);
        free(match);
        return kg_fail_nomem(err, "comparing two texts");
    }
    enum kg_status status = match_tokens(before, before_count, after, after_count, match, err);
    if (status == KG_OK)
        find_changes(match, before_count, after_count, changed);
    for (uint32_t p = 0; p < pages && status == KG_OK; p++)
        kept[p] = is_whole(match + (size_t)p * KG_PAGE) ? match[(size_t)p * KG_PAGE] : -1;
    for (uint32_t s = 0; starts && s < start_count && status == KG_OK; s++) {
        const uint32_t end = s + 1 < start_count ? starts[s + 1] : after_count;
        if (memchr(changed + starts[s], true, end - starts[s]))
            drop(kept, pages, starts[s], end);
    }
    free(changed);
    free(match);
    return status;
}
