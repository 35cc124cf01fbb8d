/* The best few of many, kept while they are gone through. */
#ifndef KG_INDEX_BEST_H
#define KG_INDEX_BEST_H

#include <stddef.h>
#include <stdint.h>

struct kg_best {
    int score;       /* larger is better, then: */
    uint32_t weight; /* smaller is, and: */
    uint32_t item;   /* the same */
};

/* Keeps the best `room` (not 0) of all hits given so far, in a heap of *count whose first is the worst. */
void kg_best_keep(struct kg_best *heap, size_t *count, size_t room, const struct kg_best *hit);
/* The best first; the heap is none any more. */
void kg_best_sort(struct kg_best *heap, size_t count);

#endif
