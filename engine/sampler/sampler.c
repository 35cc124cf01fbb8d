#include "engine/sampler/sampler.h"

#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "engine/sampler/selection.h"

struct kg_sampler {
    struct kg_sampling sampling;
    struct kg_selection selection;
    uint64_t generator[4];
};

struct kg_sampling kg_sampling_default(void)
{
    return (struct kg_sampling){ .temperature = 0.7F, .top_k = 20, .top_p = 0.8F, .penalty = 1.05F, .penalty_last = 64 };
}

struct kg_sampling kg_sampling_greedy(void)
{
    return (struct kg_sampling){ .top_p = 1, .penalty = 1 };
}

enum kg_status kg_sampling_check(const struct kg_sampling *s, struct kg_error *err)
{
    if (!(s->temperature >= 0 && isfinite(s->temperature)))
        return kg_fail(err, KG_ERR_USAGE, "temperature is %g; it must be 0 or more", (double)s->temperature);
    if (!(s->top_p > 0 && s->top_p <= 1))
        return kg_fail(err, KG_ERR_USAGE, "top-p is %g; it must be above 0 and at most 1", (double)s->top_p);
    if (!(s->min_p >= 0 && s->min_p < 1))
        return kg_fail(err, KG_ERR_USAGE, "min-p is %g; it must be 0 or more and below 1", (double)s->min_p);
    if (!(s->penalty >= 1 && isfinite(s->penalty)))
        return kg_fail(err, KG_ERR_USAGE, "the repetition penalty is %g; it must be 1 or more", (double)s->penalty);
    return KG_OK;
}

/* splitmix64 (Steele, Lea, Flood 2014): spreads a seed over the generator's state. */
static uint64_t splitmix64(uint64_t *state)
{
    uint64_t z = *state += 0x9e3779b97f4a7c15U;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9U;
    z = (z ^ z >> 27) * 0x94d049bb133111ebU;
    return z ^ z >> 31;
}

static uint64_t rotate(uint64_t x, int by)
{
    return x << by | x >> (64 - by);
}

/* xoshiro256** (Blackman, Vigna 2018) */
static uint64_t next(uint64_t s[4])
{
    uint64_t result = rotate(s[1] * 5, 7) * 9;
    uint64_t shifted = s[1] << 17;
    s[2] ^= s[0];
    s[3] ^= s[1];
    s[1] ^= s[2];
    s[0] ^= s[3];
    s[2] ^= shifted;
    s[3] = rotate(s[3], 45);
    return result;
}

static void seed(uint64_t generator[4], uint64_t value)
{
    if (value == 0) {
        struct timespec now;
        clock_gettime(CLOCK_REALTIME, &now);
        value = (uint64_t)now.tv_sec * 1000000000U + (uint64_t)now.tv_nsec;
    }
    for (int i = 0; i < 4; i++)
        generator[i] = splitmix64(&value);
}

enum kg_status kg_sampler_create(const struct kg_sampling *sampling, uint32_t vocabulary, struct kg_sampler **out, struct kg_error *err)
{
    enum kg_status status = kg_sampling_check(sampling, err);
    if (status == KG_OK && (vocabulary == 0 || vocabulary > INT32_MAX))
        status = kg_fail(err, KG_ERR_USAGE, "a vocabulary of %u tokens cannot be sampled", vocabulary);
    if (status != KG_OK)
        return status;
    struct kg_sampler *sampler = calloc(1, sizeof *sampler);
    if (!sampler || kg_selection_create(&sampler->selection, vocabulary) != KG_OK) {
        free(sampler);
        return kg_fail_nomem(err, "preparing to choose tokens");
    }
    sampler->sampling = *sampling;
    seed(sampler->generator, sampling->seed);
    *out = sampler;
    return KG_OK;
}

void kg_sampler_free(struct kg_sampler *sampler)
{
    if (!sampler)
        return;
    kg_selection_free(&sampler->selection);
    free(sampler);
}

/* A logit is made smaller, whichever its sign; once, however often the token has come. */
static void penalise(struct kg_sampler *sampler, const int32_t *recent, size_t count)
{
    float penalty = sampler->sampling.penalty;
    struct kg_candidates *all = &sampler->selection.all;
    if (penalty == 1)
        return;
    if (count > sampler->sampling.penalty_last) {
        recent += count - sampler->sampling.penalty_last;
        count = sampler->sampling.penalty_last;
    }
    for (size_t i = 0; i < count; i++) {
        const size_t at = kg_selection_find(&sampler->selection, recent[i]);
        if (at == all->count || all->scores[at] == -INFINITY)
            continue;
        const float logit = kg_selection_given(&sampler->selection, at), less = logit > 0 ? logit / penalty : logit * penalty;
        all->scores[at] = less < -FLT_MAX ? -FLT_MAX : less;
    }
}

/* Weights are relative to the best one's, which is 1. */
static int32_t draw(struct kg_sampler *sampler, const struct kg_candidates *from)
{
    float least = sampler->sampling.min_p > 0 ? sampler->sampling.min_p : FLT_TRUE_MIN;
    double total = 0;
    for (size_t i = 0; i < from->count; i++)
        total += from->weights[i] >= least ? (double)from->weights[i] : 0;
    double rest = (double)(next(sampler->generator) >> 11) * 0x1p-53 * total;
    int32_t id = -1;
    for (size_t i = 0; i < from->count; i++) {
        if (from->weights[i] < least)
            continue;
        id = from->ids[i];
        rest -= (double)from->weights[i];
        if (rest < 0)
            break;
    }
    return id;
}

static int32_t sample_loaded(struct kg_sampler *sampler, const int32_t *recent, size_t recent_count)
{
    const struct kg_sampling *s = &sampler->sampling;
    struct kg_selection *selection = &sampler->selection;
    penalise(sampler, recent, recent_count);
    int32_t best = kg_selection_best(selection);
    if (s->temperature == 0 || best < 0)
        return best;
    const struct kg_candidates *from = &selection->all;
    if (s->top_k && s->top_k < from->count)
        from = kg_selection_cut(selection, from, NULL, s->top_k);
    double total = kg_selection_weigh(selection, from, s->temperature);
    if (s->top_p < 1)
        from = kg_selection_cut(selection, from, from->weights, (double)s->top_p * total);
    return draw(sampler, from);
}

int32_t kg_sample(struct kg_sampler *sampler, const float *logits, const int32_t *recent, size_t recent_count)
{
    kg_selection_load(&sampler->selection, logits);
    return sample_loaded(sampler, recent, recent_count);
}

/* A penalty only lowers, and as many as it may lower at most: behind them still stand those that are not lowered. One more than top_k, so
 * that the limit is met in the same way. */
#define FEW 1024
uint32_t kg_sampler_needs(const struct kg_sampler *sampler)
{
    const struct kg_sampling *s = &sampler->sampling;
    const uint32_t taken = s->temperature == 0 ? 1 : s->top_k, lowered = s->penalty == 1 ? 0 : s->penalty_last;
    if (taken == 0 || taken >= FEW || lowered >= FEW || taken + lowered >= FEW)
        return 0;
    const uint32_t n = taken + lowered + 1;
    return n < sampler->selection.vocabulary ? n : sampler->selection.vocabulary;
}

int32_t kg_sample_best(struct kg_sampler *sampler, const int32_t *ids, const float *logits, uint32_t count, const int32_t *recent, size_t recent_count)
{
    kg_selection_load_some(&sampler->selection, ids, logits, count);
    return sample_loaded(sampler, recent, recent_count);
}
