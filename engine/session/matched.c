/* Myers, "An O(ND) difference algorithm and its variations", 1986: furthest ends of paths with ever more differences. */
#include "engine/session/matched.h"

#include <stdlib.h>

/* What is left of two texts without what they begin and end with alike. Row d of the ends has d + 1 elements, for the diagonals
 * -d, -d + 2 .. d (diagonal: token of a less token of b); an end is a token of a. */
struct paths {
    const int32_t *a, *b;
    int32_t n, m;
    int32_t *ends;
    size_t room;
};

static size_t row_of(int32_t d)
{
    return (size_t)d * ((size_t)d + 1) / 2;
}

static int32_t end_of(const struct paths *paths, int32_t d, int32_t diagonal)
{
    return paths->ends[row_of(d) + (size_t)((diagonal + d) / 2)];
}

/* Whether the furthest path on this diagonal with d differences came from the one above: by a token of b. */
static bool comes_from_above(const struct paths *paths, int32_t d, int32_t diagonal)
{
    return diagonal == -d || (diagonal != d && end_of(paths, d - 1, diagonal - 1) < end_of(paths, d - 1, diagonal + 1));
}

static int32_t begin_of(const struct paths *paths, int32_t d, int32_t diagonal)
{
    if (d == 0)
        return 0;
    return comes_from_above(paths, d, diagonal) ? end_of(paths, d - 1, diagonal + 1) : end_of(paths, d - 1, diagonal - 1) + 1;
}

static bool make_room(struct paths *paths, size_t wanted)
{
    if (wanted <= paths->room)
        return true;
    int32_t *grown = realloc(paths->ends, 2 * wanted * sizeof *grown);
    if (!grown)
        return false;
    paths->ends = grown;
    paths->room = 2 * wanted;
    return true;
}

/* The fewest differences, or -1 when they are more than there may be. */
static enum kg_status measure(struct paths *paths, int32_t *out, struct kg_error *err)
{
    *out = -1;
    for (int32_t d = 0; d <= KG_MATCH_MOST && d <= paths->n + paths->m; d++) {
        if (!make_room(paths, row_of(d + 1)))
            return kg_fail_nomem(err, "comparing two texts");
        for (int32_t diagonal = -d; diagonal <= d; diagonal += 2) {
            int32_t x = begin_of(paths, d, diagonal);
            while (x < paths->n && x - diagonal < paths->m && x >= diagonal && paths->a[x] == paths->b[x - diagonal])
                x++;
            paths->ends[row_of(d) + (size_t)((diagonal + d) / 2)] = x;
            if (x >= paths->n && x - diagonal >= paths->m) {
                *out = d;
                return KG_OK;
            }
        }
    }
    return KG_OK;
}

static void walk_back(const struct paths *paths, int32_t differences, uint32_t first, int32_t *match)
{
    int32_t x = paths->n, diagonal = paths->n - paths->m;
    for (int32_t d = differences; d >= 0; d--) {
        const int32_t begin = begin_of(paths, d, diagonal);
        while (x > begin) {
            x--;
            match[first + (uint32_t)x] = (int32_t)first + x - diagonal;
        }
        if (d == 0)
            return;
        const bool above = comes_from_above(paths, d, diagonal);
        x = above ? begin : begin - 1;
        diagonal += above ? 1 : -1;
    }
}

enum kg_status kg_tokens_match(const int32_t *a, uint32_t n, const int32_t *b, uint32_t m, int32_t *match, struct kg_error *err)
{
    uint32_t head = 0, tail = 0;
    int32_t differences = -1;
    while (head < n && head < m && a[head] == b[head])
        head++;
    while (tail < n - head && tail < m - head && a[n - 1 - tail] == b[m - 1 - tail])
        tail++;
    struct paths paths = { .a = a + head, .b = b + head, .n = (int32_t)(n - head - tail), .m = (int32_t)(m - head - tail) };
    for (uint32_t i = 0; i < n; i++)
        match[i] = i < head ? (int32_t)i : i >= n - tail ? (int32_t)(m - (n - i)) : -1;
    enum kg_status status = measure(&paths, &differences, err);
    if (status == KG_OK && differences >= 0)
        walk_back(&paths, differences, head, match);
    free(paths.ends);
    return status;
}

bool kg_tokens_stand(const int32_t *match, uint32_t count)
{
    for (uint32_t t = 0; t < count; t++)
        if (match[t] < 0 || match[t] != match[0] + (int32_t)t)
            return false;
    return true;
}
