#include "repo-index/arena.h"

#include <stdlib.h>
#include <string.h>

#define CHUNK_BYTES ((size_t)64 << 10)

struct kg_arena_chunk {
    struct kg_arena_chunk *before;
    size_t used, size;
    char bytes[];
};

void *kg_arena_take(struct kg_arena *arena, size_t size)
{
    size = (size + sizeof(void *) - 1) & ~(sizeof(void *) - 1);
    struct kg_arena_chunk *chunk = arena->last;
    if (!chunk || chunk->size - chunk->used < size) {
        size_t room = size > CHUNK_BYTES ? size : CHUNK_BYTES;
        chunk = malloc(sizeof *chunk + room);
        if (!chunk)
            return NULL;
        *chunk = (struct kg_arena_chunk){ .before = arena->last, .size = room };
        arena->last = chunk;
    }
    void *taken = chunk->bytes + chunk->used;
    chunk->used += size;
    return taken;
}

char *kg_arena_copy(struct kg_arena *arena, const char *bytes, size_t length)
{
    char *copy = kg_arena_take(arena, length + 1);
    if (copy) {
        memcpy(copy, bytes, length);
        copy[length] = '\0';
    }
    return copy;
}

void kg_arena_free(struct kg_arena *arena)
{
    struct kg_arena_chunk *chunk = arena->last;
    while (chunk) {
        struct kg_arena_chunk *before = chunk->before;
        free(chunk);
        chunk = before;
    }
    arena->last = NULL;
}

int kg_grow(void *items, size_t count, size_t *capacity, size_t size)
{
    if (count < *capacity)
        return 1;
    size_t wanted = *capacity ? *capacity * 2 : 64;
    void *old;
    memcpy(&old, items, sizeof old);
    void *bigger = realloc(old, wanted * size);
    if (!bigger)
        return 0;
    memcpy(items, &bigger, sizeof bigger);
    *capacity = wanted;
    return 1;
}
