#include "repo-index/best.h"

#include <stdlib.h>

static int better(const void *a, const void *b)
{
    const struct kg_best *x = a, *y = b;
    if (x->score != y->score)
        return x->score > y->score ? -1 : 1;
    if (x->weight != y->weight)
        return x->weight < y->weight ? -1 : 1;
    return x->item < y->item ? -1 : x->item > y->item;
}

void kg_best_keep(struct kg_best *heap, size_t *count, size_t room, const struct kg_best *hit)
{
    size_t at;
    if (*count < room) {
        for (at = (*count)++; at > 0 && better(hit, &heap[(at - 1) / 2]) > 0; at = (at - 1) / 2)
            heap[at] = heap[(at - 1) / 2];
        heap[at] = *hit;
        return;
    }
    if (better(hit, &heap[0]) >= 0)
        return;
    for (at = 0;;) {
        size_t child = 2 * at + 1;
        if (child + 1 < room && better(&heap[child + 1], &heap[child]) > 0)
            child++;
        if (child >= room || better(&heap[child], hit) <= 0)
            break;
        heap[at] = heap[child];
        at = child;
    }
    heap[at] = *hit;
}

void kg_best_sort(struct kg_best *heap, size_t count)
{
    if (count)
        qsort(heap, count, sizeof *heap, better);
}
