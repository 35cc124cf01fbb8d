#include "kernels/cpu/memory.h"

#include <assert.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>

#define HUGE  ((size_t)2 << 20)
#define CHUNK ((size_t)64 << 20)

enum kg_status kg_memory_map(struct kg_memory *memory, size_t bytes, atomic_size_t *counter, const char *what, struct kg_error *err)
{
    *memory = (struct kg_memory){ 0 };
    if (bytes == 0)
        return KG_OK;
    size_t slack = bytes >= HUGE ? HUGE : 0;
    if (bytes > SIZE_MAX / 2)
        return kg_fail_nomem(err, what);
    void *mapping = mmap(NULL, bytes + slack, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (mapping == MAP_FAILED)
        return kg_fail_nomem(err, what);
    char *bits = mapping;
    if (slack) {
        bits += (HUGE - (uintptr_t)bits % HUGE) % HUGE;
        madvise(bits, bytes, MADV_HUGEPAGE); /* without it everything works, only slower */
    }
    *memory = (struct kg_memory){ .bits = bits, .bytes = bytes, .mapping = mapping, .mapped = bytes + slack };
    *counter += bytes;
    return KG_OK;
}

void kg_memory_unmap(struct kg_memory *memory, atomic_size_t *counter)
{
    if (memory->mapping) {
        assert(*counter >= memory->bytes);
        *counter -= memory->bytes;
        munmap(memory->mapping, memory->mapped);
    }
    *memory = (struct kg_memory){ 0 };
}

struct kg_memory_chunk {
    struct kg_memory memory;
    size_t used, held; /* bytes from the front; of these, by pieces that were not given back */
};

static size_t rounded(size_t bytes)
{
    return (bytes + 63) / 64 * 64;
}

static void drop_chunk(struct kg_memory_chunk *chunk)
{
    atomic_size_t counted = chunk->memory.bytes;
    kg_memory_unmap(&chunk->memory, &counted);
    free(chunk);
}

/* NULL with *err filled. */
static struct kg_memory_chunk *new_chunk(size_t bytes, const char *what, struct kg_error *err)
{
    atomic_size_t counted = 0; /* what is taken from it counts, not the chunk */
    struct kg_memory_chunk *chunk = calloc(1, sizeof *chunk);
    if (!chunk) {
        kg_fail_nomem(err, what);
        return NULL;
    }
    if (kg_memory_map(&chunk->memory, bytes > CHUNK ? bytes : CHUNK, &counted, what, err) == KG_OK)
        return chunk;
    free(chunk);
    return NULL;
}

enum kg_status kg_memory_take(struct kg_memory_stock *stock, size_t bytes, void **out, struct kg_memory_chunk **chunk, atomic_size_t *counter,
                              const char *what, struct kg_error *err)
{
    struct kg_memory_chunk *from = stock->filling;
    if (bytes > SIZE_MAX / 2)
        return kg_fail_nomem(err, what);
    if (!from || rounded(bytes) > from->memory.bytes - from->used) {
        from = new_chunk(rounded(bytes), what, err);
        if (!from)
            return KG_ERR_NOMEM;
        stock->filling = from;
    }
    *out = (char *)from->memory.bits + from->used;
    from->used += rounded(bytes);
    from->held += rounded(bytes);
    *chunk = from;
    *counter += bytes;
    return KG_OK;
}

void kg_memory_give(struct kg_memory_stock *stock, struct kg_memory_chunk *chunk, size_t bytes, atomic_size_t *counter)
{
    if (!chunk)
        return;
    assert(chunk->held >= rounded(bytes) && *counter >= bytes);
    *counter -= bytes;
    chunk->held -= rounded(bytes);
    if (chunk->held)
        return;
    if (stock->filling == chunk)
        stock->filling = NULL;
    drop_chunk(chunk);
}

void *kg_memory_place(struct kg_memory_places *places, size_t count, size_t size)
{
    void *place = places->bits ? places->bits + places->used : NULL;
    places->used += (count * size + 63) / 64 * 64;
    return place;
}
