/* Shadow memory: who touched which word of global and shared memory, and when. Finds accesses outside of what was
 * allocated, reads of shared memory that nobody wrote, and races. */
#ifndef KG_EMULATOR_SHADOW_H
#define KG_EMULATOR_SHADOW_H

#include <cstddef>
#include <cstdint>

#include "tests/emulator/emulator.h"

namespace emulator {

/* The last write and the last reads of a word or byte. A cell of another run (launch, or block for shared memory) is empty. */
struct Cell {
    uint32_t run;
    uint32_t writer_block, reader_block;
    uint32_t write_epoch, read_epoch;
    uint16_t writer, reader; /* thread in its block; NOBODY, SEVERAL, LANES + warp: several threads of one warp */
    uint16_t write_synced, read_synced;
    uint8_t atomic;   /* the writer was an atomic operation */
    uint8_t underway; /* the write is a cp.async that nobody waited for */
    uint8_t split;    /* look at the cells of the word's bytes instead */
};
constexpr uint16_t NOBODY = 0xffff, SEVERAL = 0xfffe, LANES = 0x8000;
constexpr uint32_t SEVERAL_BLOCKS = 0xffffffff;

struct Region {
    uintptr_t begin;
    size_t bytes; /* 0 once it was freed */
    Cell *words, *bytes_of_words;
    bool pinned; /* host memory */
};

enum Access { READ, WRITE, ATOMIC, UNDERWAY };

/* Memory that kernels may touch, from now on until it is removed. */
void add_region(void *begin, size_t bytes, bool pinned);
bool remove_region(void *begin);
const Region *find_region(uintptr_t address);

/* A new launch; a new block, whose shared memory holds nothing. */
void shadow_launch();
void shadow_block();

/* An access of 1, 2, 4, 8 or 16 bytes. */
template <Access access, uint32_t bytes> void touch_global(const Region &region, uintptr_t address, uint32_t line);
template <Access access, uint32_t bytes> void touch_shared(uint32_t offset, uint32_t line);

} // namespace emulator

#endif
