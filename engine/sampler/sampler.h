/* Logits -> id. The chain, in this order: repetition penalty over the last `penalty_last` ids, temperature,
 * top-k, top-p, min-p, draw. temperature 0 is greedy: the best logit, equal ones by smaller id, after the penalty.
 * The draw uses its own generator (splitmix64-seeded xoshiro256**), so a seed gives the same text on any machine.
 */
#ifndef KG_ENGINE_SAMPLER_H
#define KG_ENGINE_SAMPLER_H

#include <stddef.h>
#include <stdint.h>

#include "base/status.h"

struct kg_sampling {
    float temperature;  /* >= 0 */
    uint32_t top_k;     /* 0 = all */
    float top_p;        /* (0, 1], 1 = all */
    float min_p;        /* [0, 1), 0 = all */
    float penalty;      /* repetition, >= 1; 1 = none */
    uint32_t penalty_last;
    uint64_t seed;      /* 0 = from the clock */
};

/* What `kedge` uses when nothing is said: temperature 0.7, top-k 20, top-p 0.8, penalty 1.05 over 64. */
struct kg_sampling kg_sampling_default(void);
struct kg_sampling kg_sampling_greedy(void); /* no penalty either */

/* KG_ERR_USAGE names the first value out of range. */
enum kg_status kg_sampling_check(const struct kg_sampling *sampling, struct kg_error *err);

struct kg_sampler;
enum kg_status kg_sampler_create(const struct kg_sampling *sampling, uint32_t vocabulary, struct kg_sampler **out, struct kg_error *err);
void kg_sampler_free(struct kg_sampler *sampler);
/* logits (vocabulary) are left as they are; non-finite ones are never drawn, and if there are no others the result is -1.
 * recent: ids so far, oldest first. */
int32_t kg_sample(struct kg_sampler *sampler, const float *logits, const int32_t *recent, size_t recent_count);

/* How many of the best logits give the id that all of them give; 0: no small number does. */
uint32_t kg_sampler_needs(const struct kg_sampler *sampler);
/* kg_sample of so many (or more): their ids, all different, and logits. Of infinite ones, which are among the best, none is drawn. */
int32_t kg_sample_best(struct kg_sampler *sampler, const int32_t *ids, const float *logits, uint32_t count, const int32_t *recent, size_t recent_count);

#endif
