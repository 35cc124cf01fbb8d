#include "engine/sampler/selection.h"

#include <float.h>
#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

/* Four at a time on every processor; results do not depend on the processor. */
typedef float floats __attribute__((vector_size(16)));
typedef int32_t ints __attribute__((vector_size(16)));
#define LANES 4

static size_t padded(size_t count)
{
    return (count + LANES - 1) / LANES * LANES;
}

static bool make(struct kg_candidates *c, size_t count)
{
    c->scores = calloc(padded(count), sizeof *c->scores);
    c->weights = calloc(padded(count), sizeof *c->weights);
    c->ids = malloc(count * sizeof *c->ids);
    if (!c->scores || !c->weights || !c->ids)
        return false;
    for (size_t i = count; i < padded(count); i++)
        c->scores[i] = -INFINITY;
    return true;
}

static void clear(struct kg_candidates *c)
{
    free(c->scores);
    free(c->weights);
    free(c->ids);
    *c = (struct kg_candidates){ 0 };
}

enum kg_status kg_selection_create(struct kg_selection *s, uint32_t count)
{
    *s = (struct kg_selection){ .ordered = malloc(count * sizeof *s->ordered) };
    if (!s->ordered || !make(&s->all, count) || !make(&s->kept[0], count) || !make(&s->kept[1], count)) {
        kg_selection_free(s);
        return KG_ERR_NOMEM;
    }
    s->vocabulary = count;
    return KG_OK;
}

void kg_selection_free(struct kg_selection *s)
{
    clear(&s->all);
    clear(&s->kept[0]);
    clear(&s->kept[1]);
    free(s->ordered);
    s->ordered = NULL;
}

/* Back from some to all. */
static void name_all(struct kg_selection *s)
{
    if (s->all.count == s->vocabulary && s->all.ids[s->vocabulary - 1] == (int32_t)s->vocabulary - 1)
        return;
    s->all.count = s->vocabulary;
    for (uint32_t i = 0; i < s->vocabulary; i++)
        s->all.ids[i] = (int32_t)i;
}

static int by_number(const void *a, const void *b)
{
    const uint64_t left = *(const uint64_t *)a, right = *(const uint64_t *)b;
    return left < right ? -1 : left > right;
}

void kg_selection_load_some(struct kg_selection *s, const int32_t *ids, const float *logits, uint32_t count)
{
    size_t n = 0;
    for (uint32_t i = 0; i < count && n < s->vocabulary; i++) {
        uint32_t bits;
        memcpy(&bits, &logits[i], sizeof bits);
        if (ids[i] >= 0 && (uint32_t)ids[i] < s->vocabulary)
            s->ordered[n++] = (uint64_t)ids[i] << 32 | bits;
    }
    qsort(s->ordered, n, sizeof *s->ordered, by_number);
    s->all.count = n;
    s->given = NULL;
    for (size_t i = 0; i < n; i++) {
        const float logit = kg_selection_given(s, i);
        s->all.ids[i] = (int32_t)(s->ordered[i] >> 32);
        s->all.scores[i] = isfinite(logit) ? logit : -INFINITY;
    }
    for (size_t i = n; i < padded(n); i++)
        s->all.scores[i] = -INFINITY;
}

float kg_selection_given(const struct kg_selection *s, size_t at)
{
    if (s->given)
        return s->given[at];
    const uint32_t bits = (uint32_t)s->ordered[at];
    float logit;
    memcpy(&logit, &bits, sizeof logit);
    return logit;
}

size_t kg_selection_find(const struct kg_selection *s, int32_t id)
{
    const struct kg_candidates *all = &s->all;
    if (all->count == s->vocabulary)
        return id >= 0 && (uint32_t)id < s->vocabulary ? (size_t)id : all->count;
    size_t first = 0, end = all->count;
    while (first < end) {
        const size_t middle = (first + end) / 2;
        if (all->ids[middle] < id)
            first = middle + 1;
        else
            end = middle;
    }
    return first < all->count && all->ids[first] == id ? first : all->count;
}

void kg_selection_load(struct kg_selection *s, const float *logits)
{
    name_all(s);
    s->given = logits;
    const ints exponent = { 0x7f800000, 0x7f800000, 0x7f800000, 0x7f800000 };
    const floats never = { -INFINITY, -INFINITY, -INFINITY, -INFINITY };
    size_t whole = s->all.count / LANES * LANES;
    for (size_t i = 0; i < whole; i += LANES) {
        ints bits;
        memcpy(&bits, logits + i, sizeof bits);
        ints finite = (bits & exponent) != exponent;
        bits = (bits & finite) | ((ints)never & ~finite);
        memcpy(s->all.scores + i, &bits, sizeof bits);
    }
    for (size_t i = whole; i < s->all.count; i++)
        s->all.scores[i] = isfinite(logits[i]) ? logits[i] : -INFINITY;
}

int32_t kg_selection_best(struct kg_selection *s)
{
    const float *scores = s->all.scores; /* padded with -INFINITY */
    floats best = { -INFINITY, -INFINITY, -INFINITY, -INFINITY };
    for (size_t i = 0; i < s->all.count; i += LANES) {
        floats four;
        memcpy(&four, scores + i, sizeof four);
        ints better = four > best;
        best = (floats)(((ints)four & better) | ((ints)best & ~better));
    }
    s->best = best[0];
    for (int lane = 1; lane < LANES; lane++)
        s->best = best[lane] > s->best ? best[lane] : s->best;
    if (s->best == -INFINITY)
        return -1;
    size_t first = 0;
    while (scores[first] != s->best)
        first++;
    return s->all.ids[first];
}

/* e^x for -87 <= x <= 0, relative error below 2e-7; 0 for all else. Ours, so that a seed gives the same on any machine:
 * x = n ln 2 + r, |r| <= ln 2 / 2, e^x = 2^n e^r, e^r by its Taylor polynomial of degree 7. */
static floats exponential(floats x)
{
    const float round_to_even = 12582912; /* 1.5 * 2^23: adding it leaves no fraction */
    ints alive = (x >= -87.0F) & (x <= 0.0F);
    x = (floats)((ints)x & alive);
    floats n = x * 1.44269504F + round_to_even - round_to_even;
    floats r = x - n * 0.693359375F + n * 2.12194440e-4F;
    floats p = r * (1.0F / 5040) + 1.0F / 720;
    p = p * r + 1.0F / 120;
    p = p * r + 1.0F / 24;
    p = p * r + 1.0F / 6;
    p = p * r + 0.5F;
    p = p * r + 1;
    p = p * r + 1;
    ints scale = (__builtin_convertvector(n, ints) + 127) << 23;
    return (floats)((ints)(p * (floats)scale) & alive);
}

double kg_selection_weigh(struct kg_selection *s, const struct kg_candidates *c, float temperature)
{
    double totals[LANES] = { 0 };
    for (size_t i = 0; i < c->count; i += LANES) {
        floats score;
        memcpy(&score, c->scores + i, sizeof score);
        floats weight = exponential((score - s->best) / temperature);
        memcpy(c->weights + i, &weight, sizeof weight);
        if (i + LANES > c->count) /* what stands behind the end is not to be counted */
            for (size_t lane = c->count - i; lane < LANES; lane++)
                weight[lane] = 0;
        for (int lane = 0; lane < LANES; lane++)
            totals[lane] += (double)weight[lane];
    }
    return (totals[0] + totals[1]) + (totals[2] + totals[3]);
}

/* 32 buckets for each unit of the logit, the last one for all the rest. */
static size_t bucket_of(const struct kg_selection *s, float score)
{
    float distance = (s->best - score) * 32;
    return distance < KG_BUCKETS - 1 ? (size_t)(int32_t)distance : KG_BUCKETS - 1;
}

/* Grows with the score, and among equal ones towards the beginning of the list. */
static uint64_t order_of(float score, size_t index)
{
    uint32_t bits;
    memcpy(&bits, &score, sizeof bits);
    bits = bits & 0x80000000U ? ~bits : bits | 0x80000000U;
    return (uint64_t)bits << 32 | (UINT32_MAX - (uint32_t)index);
}

static void sift_down(uint64_t *heap, size_t count, size_t at)
{
    uint64_t moving = heap[at];
    for (size_t child; (child = 2 * at + 1) < count; at = child) {
        if (child + 1 < count && heap[child + 1] > heap[child])
            child++;
        if (moving >= heap[child])
            break;
        heap[at] = heap[child];
    }
    heap[at] = moving;
}

static void keep(struct kg_candidates *to, const struct kg_candidates *from, size_t index)
{
    to->scores[to->count] = from->scores[index];
    to->weights[to->count] = from->weights[index];
    to->ids[to->count++] = from->ids[index];
}

/* The bucket in which the limit is reached; *above: the masses of those before it. */
static size_t bucket_at_limit(struct kg_selection *s, const struct kg_candidates *from, const float *masses, double limit, double *above)
{
    memset(s->buckets, 0, sizeof s->buckets);
    for (size_t i = 0; i < from->count; i++)
        if (from->scores[i] > -INFINITY)
            s->buckets[bucket_of(s, from->scores[i])] += masses ? (double)masses[i] : 1;
    *above = 0;
    size_t bucket = 0;
    while (bucket < KG_BUCKETS - 1 && *above + s->buckets[bucket] < limit)
        *above += s->buckets[bucket++];
    return bucket;
}

const struct kg_candidates *kg_selection_cut(struct kg_selection *s, const struct kg_candidates *from, const float *masses, double limit)
{
    struct kg_candidates *to = from == &s->kept[0] ? &s->kept[1] : &s->kept[0];
    double reached;
    size_t last = bucket_at_limit(s, from, masses, limit, &reached);
    /* Nothing below this can be in the last bucket, however the two are rounded. */
    float least = last < KG_BUCKETS - 1 ? s->best - ((float)last + 2) / 32 : -FLT_MAX;
    size_t count = 0;
    to->count = 0;
    for (size_t i = 0; i < from->count; i++) {
        if (from->scores[i] < least)
            continue;
        size_t bucket = bucket_of(s, from->scores[i]);
        if (bucket < last)
            keep(to, from, i);
        else if (bucket == last)
            s->ordered[count++] = order_of(from->scores[i], i);
    }
    for (size_t i = count / 2; i-- > 0;)
        sift_down(s->ordered, count, i);
    while (count > 0 && reached < limit) {
        size_t index = UINT32_MAX - (uint32_t)s->ordered[0];
        keep(to, from, index);
        reached += masses ? (double)masses[index] : 1;
        s->ordered[0] = s->ordered[--count];
        if (count)
            sift_down(s->ordered, count, 0);
    }
    return to;
}
