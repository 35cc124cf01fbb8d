/* Choosing the best without sorting, against sorting. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "engine/sampler/selection.h"

#define MOST 3000

static uint64_t random_state = 1181783497276652981U;

static uint64_t next_random(void)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return random_state;
}

static const float *sorted_by;

static int best_first(const void *a, const void *b)
{
    int32_t left = *(const int32_t *)a;
    int32_t right = *(const int32_t *)b;
    if (sorted_by[left] != sorted_by[right])
        return sorted_by[left] > sorted_by[right] ? -1 : 1;
    return left - right;
}

static int by_id(const void *a, const void *b)
{
    return *(const int32_t *)a - *(const int32_t *)b;
}

/* Ids of the finite ones, best first. */
static size_t sorted(const float *logits, size_t n, int32_t *ids)
{
    size_t count = 0;
    for (size_t i = 0; i < n; i++)
        if (isfinite(logits[i]))
            ids[count++] = (int32_t)i;
    sorted_by = logits;
    qsort(ids, count, sizeof *ids, best_first);
    return count;
}

static float made_logit(int kind)
{
    float unit = (float)(next_random() >> 40) / (float)(1 << 24);
    switch (kind) {
    case 0: return unit * 20 - 10;
    case 1: return (float)(next_random() % 7); /* many ties */
    case 2: return (unit - 0.5F) * 1e9F;
    case 3: return 1e9F + 64 * (float)(next_random() % 3); /* neighbours in float */
    case 4: return (2 * unit - 1) * 3.4e38F;
    case 5: return next_random() % 3 ? -INFINITY : unit;
    case 6: return next_random() % 3 ? (next_random() % 2 ? NAN : INFINITY) : unit * 300;
    default: return 0;
    }
}

static void check_kept(const struct kg_candidates *kept, const float *logits, int32_t *expected, size_t count)
{
    int32_t got[MOST];
    assert_int_equal(kept->count, count);
    memcpy(got, kept->ids, count * sizeof *got);
    for (size_t i = 0; i < count; i++)
        assert_true(kept->scores[i] == logits[kept->ids[i]]);
    qsort(got, count, sizeof *got, by_id);
    qsort(expected, count, sizeof *expected, by_id);
    assert_memory_equal(got, expected, count * sizeof *got);
}

static void by_count(struct kg_selection *s, const float *logits, size_t n)
{
    int32_t expected[MOST];
    size_t count = sorted(logits, n, expected);
    size_t k = 1 + next_random() % (n + 3);
    const struct kg_candidates *kept = kg_selection_cut(s, &s->all, NULL, (double)k);
    check_kept(kept, logits, expected, k < count ? k : count);
}

/* Masses that are sums of powers of two, so that sums are exact in any order. */
static void by_mass(struct kg_selection *s, const float *logits, size_t n)
{
    int32_t expected[MOST];
    float masses[MOST];
    double total = 0;
    size_t count = sorted(logits, n, expected);
    for (size_t i = 0; i < n; i++)
        masses[i] = (float)(next_random() % 1024) / 1024;
    for (size_t i = 0; i < count; i++)
        total += (double)masses[expected[i]];
    double limit = total * (double)(1 + next_random() % 1000) / 1000;
    if (limit <= 0)
        return;
    double sum = 0;
    size_t k = 0;
    while (k < count && sum < limit)
        sum += (double)masses[expected[k++]];
    const struct kg_candidates *kept = kg_selection_cut(s, &s->all, masses, limit);
    check_kept(kept, logits, expected, k);
    /* Once more from what has been kept: the best of the best. */
    size_t best = 1 + next_random() % k;
    sorted(logits, n, expected);
    check_kept(kg_selection_cut(s, kept, NULL, (double)best), logits, expected, best);
}

static void keeps_what_sorting_would(void **state)
{
    (void)state;
    for (int round = 0; round < 3000; round++) {
        float logits[MOST];
        struct kg_selection s;
        size_t n = 1 + next_random() % (round % 10 ? 60 : MOST);
        int32_t order[MOST];
        for (size_t i = 0; i < n; i++)
            logits[i] = made_logit(round % 8);
        assert_int_equal(kg_selection_create(&s, (uint32_t)n), KG_OK);
        kg_selection_load(&s, logits);
        int32_t best = kg_selection_best(&s);
        if (sorted(logits, n, order)) {
            assert_int_equal(best, order[0]);
            by_count(&s, logits, n);
            by_mass(&s, logits, n);
        } else {
            assert_int_equal(best, -1);
        }
        kg_selection_free(&s);
    }
}

static void weights_are_exponentials(void **state)
{
    (void)state;
    enum { N = 20001 };
    static float logits[N];
    struct kg_selection s;
    const float temperatures[] = { 1, 0.7F, 3, 0.001F };
    for (size_t t = 0; t < sizeof temperatures / sizeof *temperatures; t++) {
        double total = 0;
        for (size_t i = 0; i < N; i++)
            logits[i] = 50 - (float)i / 200;
        logits[7] = -INFINITY;
        assert_int_equal(kg_selection_create(&s, N), KG_OK);
        kg_selection_load(&s, logits);
        assert_int_equal(kg_selection_best(&s), 0);
        double sum = kg_selection_weigh(&s, &s.all, temperatures[t]);
        for (size_t i = 0; i < N; i++) {
            float distance = (logits[i] - logits[0]) / temperatures[t];
            double expected = distance < -87 ? 0 : exp((double)distance);
            assert_true(fabs((double)s.all.weights[i] - expected) <= 2e-7 * expected);
            total += expected;
        }
        assert_true(fabs(sum - total) < 1e-6 * total);
        kg_selection_free(&s);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(keeps_what_sorting_would),
        cmocka_unit_test(weights_are_exponentials),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
