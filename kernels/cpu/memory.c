#include "kernels/cpu/memory.h"

#include <assert.h>
#include <stdint.h>
#include <sys/mman.h>

#define HUGE ((size_t)2 << 20)

enum kg_status kg_memory_map(struct kg_memory *memory, size_t bytes, size_t *counter, const char *what, struct kg_error *err)
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

void kg_memory_unmap(struct kg_memory *memory, size_t *counter)
{
    if (memory->mapping) {
        assert(*counter >= memory->bytes);
        *counter -= memory->bytes;
        munmap(memory->mapping, memory->mapped);
    }
    *memory = (struct kg_memory){ 0 };
}
