/* The best of many candidates without sorting them: linear passes over the vocabulary.
 *
 * Candidates fall into buckets by their distance from the best score; buckets are taken from the best downwards, and only
 * those in the bucket where the limit is reached are put in order.
 */
#ifndef KG_ENGINE_SELECTION_H
#define KG_ENGINE_SELECTION_H

#include <stddef.h>
#include <stdint.h>

#include "base/status.h"

#define KG_BUCKETS 4096

struct kg_candidates {
    float *scores;  /* -INFINITY: never chosen */
    float *weights; /* exp((score - best) / temperature) */
    int32_t *ids;   /* among equal scores the smaller id stands first */
    size_t count;
};

struct kg_selection {
    struct kg_candidates all; /* by id */
    uint32_t vocabulary;
    const float *given; /* what was loaded, by id; NULL of some, which lie in `ordered` */
    struct kg_candidates kept[2];
    float best;
    uint64_t *ordered;
    double buckets[KG_BUCKETS];
};

enum kg_status kg_selection_create(struct kg_selection *selection, uint32_t count);
void kg_selection_free(struct kg_selection *selection);

/* Sets all.scores; what is not finite becomes -INFINITY. The logits stay until they are sampled. */
void kg_selection_load(struct kg_selection *selection, const float *logits);
/* The same of `count` ids alone, at most the vocabulary; in any order, no id twice. Ids that there are none of are passed over. */
void kg_selection_load_some(struct kg_selection *selection, const int32_t *ids, const float *logits, uint32_t count);
/* Where an id stands in `all`; its count where it does not. */
size_t kg_selection_find(const struct kg_selection *selection, int32_t id);
/* What was loaded of one of `all`; before the first cut. */
float kg_selection_given(const struct kg_selection *selection, size_t at);

/* The candidate with the best score, of equal ones the smaller id, -1 if none has one; needed before the others. */
int32_t kg_selection_best(struct kg_selection *selection);

/* Sets the weights of candidates, which belong to the selection; returns their sum. */
double kg_selection_weigh(struct kg_selection *selection, const struct kg_candidates *candidates, float temperature);

/* The fewest best ones whose masses (NULL: 1 each) reach the limit (> 0), all where they do not. Belongs to the selection; valid until
 * the next but one call. */
const struct kg_candidates *kg_selection_cut(struct kg_selection *selection, const struct kg_candidates *from, const float *masses,
                                             double limit);

#endif
