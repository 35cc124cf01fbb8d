/* What is drawn, and how often. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "engine/sampler/sampler.h"

static struct kg_sampler *sampler_of(struct kg_sampling sampling, uint32_t vocabulary)
{
    struct kg_sampler *sampler;
    struct kg_error err;
    assert_int_equal(kg_sampler_create(&sampling, vocabulary, &sampler, &err), KG_OK);
    return sampler;
}

static int32_t once(struct kg_sampling sampling, const float *logits, uint32_t n, const int32_t *recent, size_t count)
{
    struct kg_sampler *sampler = sampler_of(sampling, n);
    float *before = malloc(n * sizeof *before);
    memcpy(before, logits, n * sizeof *before);
    int32_t id = kg_sample(sampler, logits, recent, count);
    assert_memory_equal(before, logits, n * sizeof *before);
    free(before);
    kg_sampler_free(sampler);
    return id;
}

static void greedy_takes_the_best_of_equal_ones_the_first(void **state)
{
    (void)state;
    const float logits[] = { -3, 2.5F, 7, 1, 7, NAN, -7 };
    const float low[] = { -INFINITY, -5, -3, -3 };
    assert_int_equal(once(kg_sampling_greedy(), logits, 7, NULL, 0), 2);
    assert_int_equal(once(kg_sampling_greedy(), low, 4, NULL, 0), 2);
    for (uint32_t n = 1; n < 7; n++) /* the last one must be looked at too, whatever the number */
        assert_int_equal(once(kg_sampling_greedy(), (const float[]){ 0, 1, 2, 3, 4, 5 }, n, NULL, 0), n - 1);
}

static void penalty_is_taken_once_and_towards_less(void **state)
{
    (void)state;
    const float logits[] = { 4, 3.9F, -1, 0.5F };
    struct kg_sampling s = kg_sampling_greedy();
    s.penalty = 1.1F;
    s.penalty_last = 3;
    assert_int_equal(once(s, logits, 4, (const int32_t[]){ 0 }, 1), 1);
    assert_int_equal(once(s, logits, 4, (const int32_t[]){ 0, 1 }, 2), 0);          /* 3.64 and 3.55 */
    assert_int_equal(once(s, logits, 4, (const int32_t[]){ 0, 0, 1 }, 3), 0);       /* twice is as once */
    assert_int_equal(once(s, logits, 4, (const int32_t[]){ 1, 0, 0, 0 }, 4), 1);    /* the 1 is too long ago */
    assert_int_equal(once(s, logits, 4, (const int32_t[]){ -1, 4, INT32_MIN, INT32_MAX }, 4), 0);
    const float negative[] = { -2, -2.1F };
    assert_int_equal(once(s, negative, 2, (const int32_t[]){ 0 }, 1), 1);
    const float huge[] = { -3e38F, -3.3e38F };
    s.penalty = 100;
    assert_int_equal(once(s, huge, 2, (const int32_t[]){ 0, 1 }, 2), 0);            /* both at the end of what float can say */
    s.penalty_last = 0;
    assert_int_equal(once(s, logits, 4, (const int32_t[]){ 0 }, 1), 0);
}

static void nothing_finite_gives_minus_one(void **state)
{
    (void)state;
    const float logits[] = { NAN, INFINITY, -INFINITY, NAN, INFINITY };
    struct kg_sampling s = kg_sampling_default();
    assert_int_equal(once(kg_sampling_greedy(), logits, 5, NULL, 0), -1);
    assert_int_equal(once(s, logits, 5, (const int32_t[]){ 1 }, 1), -1);
}

/* Probabilities by the definition, in double: penalty excepted. */
static void exact(const struct kg_sampling *s, const float *logits, int n, double *p)
{
    int order[64];
    double sum = 0;
    int count = 0;
    for (int i = 0; i < n; i++) {
        p[i] = 0;
        int at = count;
        if (!isfinite(logits[i]))
            continue;
        for (; at > 0 && logits[order[at - 1]] < logits[i]; at--)
            order[at] = order[at - 1];
        order[at] = i;
        count++;
    }
    if (s->top_k && (int)s->top_k < count)
        count = (int)s->top_k;
    for (int i = 0; i < count; i++)
        sum += p[order[i]] = exp(((double)logits[order[i]] - (double)logits[order[0]]) / (double)s->temperature);
    double reached = 0;
    int kept = 0;
    while (kept < count && (s->top_p == 1 || reached < (double)s->top_p * sum))
        reached += p[order[kept++]];
    for (int i = kept; i < count; i++)
        p[order[i]] = 0;
    sum = 0;
    for (int i = 0; i < n; i++) {
        p[i] = p[i] < (double)s->min_p ? 0 : p[i];
        sum += p[i];
    }
    for (int i = 0; i < n; i++)
        p[i] /= sum;
}

/* Pearson's statistic has mean f and variance 2 f; six deviations are never reached by a right sampler. */
static void check_frequencies(struct kg_sampling s, const float *logits, int n)
{
    enum { DRAWS = 200000 };
    double p[64];
    int seen[64] = { 0 };
    exact(&s, logits, n, p);
    struct kg_sampler *sampler = sampler_of(s, (uint32_t)n);
    for (int i = 0; i < DRAWS; i++) {
        int32_t id = kg_sample(sampler, logits, NULL, 0);
        assert_in_range(id, 0, n - 1);
        seen[id]++;
    }
    kg_sampler_free(sampler);
    double statistic = 0;
    double rare_expected = 0;
    int rare_seen = 0;
    int cells = 0;
    for (int i = 0; i < n; i++) {
        double expected = p[i] * DRAWS;
        if (p[i] == 0) {
            assert_int_equal(seen[i], 0);
        } else if (expected < 10) {
            rare_expected += expected;
            rare_seen += seen[i];
        } else {
            statistic += (seen[i] - expected) * (seen[i] - expected) / expected;
            cells++;
        }
    }
    if (rare_expected > 1) {
        statistic += (rare_seen - rare_expected) * (rare_seen - rare_expected) / rare_expected;
        cells++;
    }
    int freedom = cells > 1 ? cells - 1 : 1;
    if (statistic > freedom + 6 * sqrt(2.0 * freedom))
        print_message("T %g k %u p %g min %g: %g for %d\n", (double)s.temperature, s.top_k, (double)s.top_p, (double)s.min_p, statistic, freedom);
    assert_true(statistic <= freedom + 6 * sqrt(2.0 * freedom));
}

static void frequencies_are_the_exact_probabilities(void **state)
{
    (void)state;
    const float logits[] = { 1.5F, -0.3F, 4, 3.9F, NAN, 2, 2, 2, -INFINITY, 0, -9, 3, INFINITY, 1, 0.5F, 4 };
    const struct kg_sampling ways[] = {
        { .temperature = 1, .top_p = 1 },
        { .temperature = 0.7F, .top_k = 20, .top_p = 0.8F },
        { .temperature = 0.7F, .top_k = 5, .top_p = 1 },      /* cuts through three that are equal */
        { .temperature = 2, .top_p = 0.9F },
        { .temperature = 1, .top_p = 0.3F },
        { .temperature = 1, .top_p = 1, .min_p = 0.1F },
        { .temperature = 1.3F, .top_k = 9, .top_p = 0.95F, .min_p = 0.05F },
        { .temperature = 100, .top_p = 1 },
        { .temperature = 0.05F, .top_p = 1 },
        { .temperature = 1, .top_k = 1, .top_p = 1 },
        { .temperature = 1, .top_k = 1000, .top_p = 1e-6F },
        { .temperature = 1, .top_p = 1, .min_p = 0.999F },
        { .temperature = 1e-30F, .top_p = 0.9F },
    };
    for (size_t i = 0; i < sizeof ways / sizeof *ways; i++) {
        struct kg_sampling s = ways[i];
        s.penalty = 1;
        s.seed = 11 + i;
        check_frequencies(s, logits, 16);
    }
}

static void a_seed_gives_the_same_on_any_machine(void **state)
{
    (void)state;
    /* floor(1000 u) of xoshiro256** seeded by splitmix64 with 42, computed apart */
    static const int32_t expected[] = { 83, 378, 680, 924, 991, 769, 719, 850, 761, 583, 682, 290 };
    static const float even[1000];
    struct kg_sampling s = { .temperature = 1, .top_p = 1, .penalty = 1, .seed = 42 };
    struct kg_sampler *sampler = sampler_of(s, 1000);
    for (size_t i = 0; i < sizeof expected / sizeof *expected; i++)
        assert_int_equal(kg_sample(sampler, even, NULL, 0), expected[i]);
    kg_sampler_free(sampler);
    s.seed = 43;
    assert_int_not_equal(once(s, even, 1000, NULL, 0), expected[0]);
}

static void without_a_seed_runs_differ(void **state)
{
    (void)state;
    static const float even[1000];
    struct kg_sampling s = { .temperature = 1, .top_p = 1, .penalty = 1 };
    struct kg_sampler *a = sampler_of(s, 1000);
    struct kg_sampler *b = sampler_of(s, 1000);
    int same = 0;
    for (int i = 0; i < 20; i++)
        same += kg_sample(a, even, NULL, 0) == kg_sample(b, even, NULL, 0);
    assert_in_range(same, 0, 19);
    kg_sampler_free(a);
    kg_sampler_free(b);
}

static void values_out_of_range_are_named(void **state)
{
    (void)state;
    const struct {
        struct kg_sampling sampling;
        const char *name;
    } wrong[] = {
        { { .temperature = -0.1F, .top_p = 1, .penalty = 1 }, "temperature" },
        { { .temperature = NAN, .top_p = 1, .penalty = 1 }, "temperature" },
        { { .temperature = INFINITY, .top_p = 1, .penalty = 1 }, "temperature" },
        { { .top_p = 0, .penalty = 1 }, "top-p" },
        { { .top_p = 1.01F, .penalty = 1 }, "top-p" },
        { { .top_p = NAN, .penalty = 1 }, "top-p" },
        { { .top_p = 1, .min_p = 1, .penalty = 1 }, "min-p" },
        { { .top_p = 1, .min_p = -1, .penalty = 1 }, "min-p" },
        { { .top_p = 1, .penalty = 0.9F }, "penalty" },
        { { .top_p = 1, .penalty = INFINITY }, "penalty" },
    };
    struct kg_error err;
    struct kg_sampler *sampler;
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        assert_int_equal(kg_sampling_check(&wrong[i].sampling, &err), KG_ERR_USAGE);
        assert_non_null(strstr(err.text, wrong[i].name));
        assert_int_equal(kg_sampler_create(&wrong[i].sampling, 10, &sampler, &err), KG_ERR_USAGE);
    }
    struct kg_sampling fine = kg_sampling_default();
    assert_int_equal(kg_sampling_check(&fine, &err), KG_OK);
    assert_int_equal(kg_sampler_create(&fine, 0, &sampler, &err), KG_ERR_USAGE);
    fine = kg_sampling_greedy();
    assert_int_equal(kg_sampling_check(&fine, &err), KG_OK);
    kg_sampler_free(NULL);
}

static void a_large_vocabulary_takes_under_a_millisecond(void **state)
{
    (void)state;
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__) || !defined(__OPTIMIZE__)
    const double most = 0.1;
#else
    const double most = 0.001;
#endif
    enum { N = 151936 };
    float *logits = malloc(N * sizeof *logits);
    uint64_t random = 9;
    for (int i = 0; i < N; i++) { /* a sum of uniforms is near enough to normal */
        logits[i] = 0;
        for (int k = 0; k < 4; k++) {
            random = random * 6364136223846793005U + 1442695040888963407U;
            logits[i] += (float)(random >> 40) / (float)(1 << 23) - 1;
        }
        logits[i] *= 3;
    }
    logits[4711] = 22;
    const int32_t recent[3] = { 1, 4711, 3 };
    struct kg_sampler *sampler = sampler_of(kg_sampling_default(), N);
    double best = 1e9;
    for (int i = 0; i < 50; i++) {
        struct timespec begin;
        struct timespec end;
        clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &begin);
        assert_int_equal(kg_sample(sampler, logits, recent, 3), 4711);
        clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &end);
        double seconds = (double)(end.tv_sec - begin.tv_sec) + 1e-9 * (double)(end.tv_nsec - begin.tv_nsec);
        best = seconds < best ? seconds : best;
    }
    if (best >= most)
        print_message("%.3f ms\n", best * 1e3);
    assert_true(best < most);
    kg_sampler_free(sampler);
    free(logits);
}

/* The n best as a device finds them: best first, NaN below everything, equal ones by smaller id. */
static const float *ranked_by;

static int by_rank(const void *a, const void *b)
{
    const int32_t left = *(const int32_t *)a, right = *(const int32_t *)b;
    const float x = ranked_by[left], y = ranked_by[right];
    if (isnan(x) || isnan(y))
        return isnan(x) == isnan(y) ? left - right : isnan(x) ? 1 : -1;
    return x == y ? left - right : x > y ? -1 : 1;
}

/* Many ties, many ids that came before, few and many of the best: the same ids from all logits and from the best alone. */
static void the_best_logits_decide_as_all_do(void **state)
{
    (void)state;
    enum { N = 500, STEPS = 200, RECENT = 80 };
    const struct kg_sampling ways[] = {
        { .top_p = 1, .penalty = 1 },
        { .top_p = 1, .penalty = 1.3F, .penalty_last = 64 },
        { .temperature = 0.7F, .top_k = 20, .top_p = 0.8F, .penalty = 1.05F, .penalty_last = 64, .seed = 3 },
        { .temperature = 5, .top_k = 20, .top_p = 1, .penalty = 1, .penalty_last = 64, .seed = 4 },
        { .temperature = 2, .top_k = 7, .top_p = 0.95F, .min_p = 0.02F, .penalty = 2, .penalty_last = 9, .seed = 5 },
        { .temperature = 1, .top_k = 490, .top_p = 0.9F, .penalty = 1.1F, .penalty_last = 64, .seed = 6 },
    };
    uint64_t random = 5;
    for (size_t w = 0; w < sizeof ways / sizeof *ways; w++) {
        struct kg_sampler *all = sampler_of(ways[w], N), *best = sampler_of(ways[w], N);
        const uint32_t needs = kg_sampler_needs(best);
        assert_in_range(needs, 1, N);
        for (int step = 0; step < STEPS; step++) {
            float logits[N], values[N];
            int32_t ids[N], recent[RECENT];
            for (int i = 0; i < N; i++) {
                random = random * 6364136223846793005U + 1442695040888963407U;
                const float unit = (float)(random >> 40) / (float)(1 << 24);
                logits[i] = step % 3 == 0 ? (float)(int)(unit * 9) - 4 : step % 3 == 1 ? unit * 12 - 2 : unit < 0.9F ? -INFINITY : unit < 0.92F ? NAN : unit;
                ids[i] = i;
            }
            ranked_by = logits;
            qsort(ids, N, sizeof *ids, by_rank);
            for (int i = 0; i < N; i++)
                values[i] = logits[ids[i]];
            for (int i = 0; i < RECENT; i++) /* most of the best came before, some twice */
                recent[i] = ids[i % 50 + step % 5];
            assert_int_equal(kg_sample_best(best, ids, values, needs, recent, RECENT), kg_sample(all, logits, recent, RECENT));
            if (step % 50 == 7) /* all again: nothing is left of the few */
                assert_int_equal(kg_sample(best, logits, recent, RECENT), kg_sample(all, logits, recent, RECENT));
        }
        kg_sampler_free(all);
        kg_sampler_free(best);
    }
}

static void some_ways_need_all_logits(void **state)
{
    (void)state;
    struct kg_sampling s = { .temperature = 1, .top_p = 0.9F, .penalty = 1 };
    struct kg_sampler *sampler = sampler_of(s, 5000);
    assert_int_equal(kg_sampler_needs(sampler), 0);
    kg_sampler_free(sampler);
    s.top_k = 20, s.penalty = 1.1F, s.penalty_last = 4096;
    sampler = sampler_of(s, 5000);
    assert_int_equal(kg_sampler_needs(sampler), 0);
    kg_sampler_free(sampler);
    sampler = sampler_of(kg_sampling_default(), 5000);
    assert_int_equal(kg_sampler_needs(sampler), 20 + 64 + 1);
    kg_sampler_free(sampler);
    sampler = sampler_of(kg_sampling_default(), 30);
    assert_int_equal(kg_sampler_needs(sampler), 30);
    const int32_t ids[] = { 7, 3, 40, -1 };
    const float none[] = { INFINITY, -INFINITY, 1, 1 };
    assert_int_equal(kg_sample_best(sampler, ids, none, 4, NULL, 0), -1);
    kg_sampler_free(sampler);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(greedy_takes_the_best_of_equal_ones_the_first),
        cmocka_unit_test(penalty_is_taken_once_and_towards_less),
        cmocka_unit_test(nothing_finite_gives_minus_one),
        cmocka_unit_test(the_best_logits_decide_as_all_do),
        cmocka_unit_test(some_ways_need_all_logits),
        cmocka_unit_test(frequencies_are_the_exact_probabilities),
        cmocka_unit_test(a_seed_gives_the_same_on_any_machine),
        cmocka_unit_test(without_a_seed_runs_differ),
        cmocka_unit_test(values_out_of_range_are_named),
        cmocka_unit_test(a_large_vocabulary_takes_under_a_millisecond),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
