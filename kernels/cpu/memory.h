/* Large memory of the device: anonymous mappings, zeroed, counted.
 *
 * Mappings of 2 MiB and more start at a multiple of 2 MiB and ask for huge pages: weights are streamed once per
 * token, and with small pages a quarter of the bandwidth goes into address translation.
 */
#ifndef KG_KERNELS_CPU_MEMORY_H
#define KG_KERNELS_CPU_MEMORY_H

#include <stdatomic.h>
#include <stddef.h>

#include "base/status.h"

struct kg_memory {
    void *bits;   /* aligned to 64 bytes at least; NULL when bytes is 0 */
    size_t bytes; /* as asked for */
    void *mapping;
    size_t mapped;
};

/* *counter grows by the bytes asked for; it may be that of several threads. what: as in kg_fail_nomem. */
enum kg_status kg_memory_map(struct kg_memory *memory, size_t bytes, atomic_size_t *counter, const char *what, struct kg_error *err);
void kg_memory_unmap(struct kg_memory *memory, atomic_size_t *counter); /* leaves it empty; empty is fine */

/* Memory for many pieces that come and mostly go together: chunks of huge pages, filled from the front, so that a
 * small matrix is read as fast as a large one. Filled with zeros to start with: { 0 }. */
struct kg_memory_chunk;
struct kg_memory_stock {
    struct kg_memory_chunk *filling;
};

/* A piece at a multiple of 64 bytes; its contents may be anything. *counter as above. */
enum kg_status kg_memory_take(struct kg_memory_stock *stock, size_t bytes, void **out, struct kg_memory_chunk **chunk, atomic_size_t *counter,
                              const char *what, struct kg_error *err);
void kg_memory_give(struct kg_memory_stock *stock, struct kg_memory_chunk *chunk, size_t bytes, atomic_size_t *counter);

/* Places for arrays one behind the other, each at a multiple of 64 bytes. With bits NULL only their size is counted. */
struct kg_memory_places {
    char *bits;
    size_t used;
};

void *kg_memory_place(struct kg_memory_places *places, size_t count, size_t size);

#endif
