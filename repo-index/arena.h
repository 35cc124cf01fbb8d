/* Many small strings that live and die together. */
#ifndef KG_INDEX_ARENA_H
#define KG_INDEX_ARENA_H

#include <stddef.h>

struct kg_arena_chunk;
struct kg_arena {
    struct kg_arena_chunk *last; /* zero-initialised = empty */
};

/* size bytes aligned for pointers, or NULL when out of memory; they live until kg_arena_free. */
void *kg_arena_take(struct kg_arena *arena, size_t size);
/* A copy with a NUL behind it. */
char *kg_arena_copy(struct kg_arena *arena, const char *bytes, size_t length);
void kg_arena_free(struct kg_arena *arena);

/* A doubling array: makes room for one more item of size bytes; false when out of memory, the array stays. */
int kg_grow(void *items, size_t count, size_t *capacity, size_t size);

#endif
