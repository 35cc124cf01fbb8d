#include "tests/emulator/shadow.h"

#include <cstdio>
#include <deque>
#include <map>
#include <sys/mman.h>

namespace emulator {

static std::map<uintptr_t, Region *> regions;
static uint32_t launch, block_run;

static Cell *map_cells(size_t n)
{
    void *cells = mmap(nullptr, n * sizeof(Cell), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (cells == MAP_FAILED)
        fault(0, "no room for the shadow of %zu words", n);
    return static_cast<Cell *>(cells);
}

static size_t words_of(size_t bytes)
{
    return bytes / 4 + 1;
}

void add_region(void *begin, size_t bytes, bool pinned)
{
    static std::deque<Region> &all = *new std::deque<Region>; /* to the process's end */
    Region *region = &all.emplace_back(reinterpret_cast<uintptr_t>(begin), bytes, map_cells(words_of(bytes)), map_cells(4 * words_of(bytes)), pinned);
    regions[region->begin] = region;
}

/* The Region stays: translated code may remember it. */
bool remove_region(void *begin)
{
    auto found = regions.find(reinterpret_cast<uintptr_t>(begin));
    if (found == regions.end())
        return false;
    Region *region = found->second;
    munmap(region->words, words_of(region->bytes) * sizeof(Cell));
    munmap(region->bytes_of_words, 4 * words_of(region->bytes) * sizeof(Cell));
    region->bytes = 0;
    regions.erase(found);
    return true;
}

const Region *find_region(uintptr_t address)
{
    auto after = regions.upper_bound(address);
    if (after == regions.begin())
        return nullptr;
    const Region *region = (--after)->second;
    return address - region->begin < region->bytes ? region : nullptr;
}

void shadow_launch()
{
    launch++;
}

void shadow_block()
{
    block_run++;
}

alignas(64) static Cell shared_words[KG_SHARED_MAX / 4 + 1], shared_bytes[KG_SHARED_MAX + 4];

/* Where and by whom an access is: what its cells are compared with, and for messages. */
struct Place {
    bool shared;
    uint32_t run, block;
    uintptr_t at;
    uint32_t line;
    uint32_t epoch = emulator::block.epoch, warp = thread->warp;
    uint16_t synced = thread->synced, who = static_cast<uint16_t>(thread->linear);
};

static inline uint32_t warp_of(uint16_t who)
{
    return who == SEVERAL ? UINT32_MAX : who & LANES ? who - LANES : who / 32U;
}

/* Two accesses of threads of one block are ordered by a barrier between them, or by a syncwarp of their warp. */
static bool ordered(const Place &p, uint16_t other, uint32_t epoch, uint16_t synced)
{
    return other == p.who || epoch != p.epoch || (synced != p.synced && warp_of(other) == p.warp);
}

static uint16_t together_with(const Place &p, uint16_t other)
{
    return warp_of(other) == p.warp ? static_cast<uint16_t>(LANES + p.warp) : SEVERAL;
}

static bool conflicts(const Place &p, uint32_t other_block, uint16_t other, uint32_t epoch, uint16_t synced)
{
    return other != NOBODY && (other_block != p.block || !ordered(p, other, epoch, synced));
}

[[noreturn]] static void race(const Place &p, const char *mine, const char *theirs, uint32_t other_block, uint16_t other)
{
    char who[64] = "several threads";
    if (other_block == SEVERAL_BLOCKS)
        snprintf(who, sizeof who, "several blocks");
    else if (other < LANES)
        snprintf(who, sizeof who, "thread %u of block %u", other, other_block);
    fault(p.line, "race: %s of %s memory at %s%#zx, and %s by %s, with nothing that orders them", mine, p.shared ? "shared" : "global",
          p.shared ? "offset " : "", static_cast<size_t>(p.at), theirs, who);
}

static inline __attribute__((always_inline)) void renew(Cell &c, const Place &p)
{
    if (c.run != p.run) {
        c = Cell{};
        c.run = p.run;
        c.writer = c.reader = NOBODY;
    }
}

static inline __attribute__((always_inline)) void note_read(Cell &c, const Place &p, uint32_t bytes)
{
    if (c.reader == NOBODY) {
        c.reader_block = p.block;
        c.reader = p.who;
        if (!p.shared && c.writer == NOBODY)
            counters->touched_read += bytes;
    } else if (c.reader_block != p.block) {
        c.reader_block = SEVERAL_BLOCKS;
        return;
    } else {
        c.reader = ordered(p, c.reader, c.read_epoch, c.read_synced) ? p.who : together_with(p, c.reader);
    }
    c.read_epoch = p.epoch;
    c.read_synced = p.synced;
}

static inline __attribute__((always_inline)) void read_cell(Cell &c, const Place &p, uint32_t bytes)
{
    renew(c, p);
    if (__builtin_expect(c.underway, 0))
        fault(p.line, "read of shared memory at offset %#zx, which a cp.async without a wait is still filling", static_cast<size_t>(p.at));
    if (p.shared && c.writer == NOBODY)
        fault(p.line, "read of shared memory at offset %#zx, which nobody wrote", static_cast<size_t>(p.at));
    if (conflicts(p, c.writer_block, c.writer, c.write_epoch, c.write_synced))
        race(p, "read", c.atomic ? "atomic write" : "write", c.writer_block, c.writer);
    note_read(c, p, bytes);
}

static inline __attribute__((always_inline)) void write_cell(Cell &c, const Place &p, uint32_t bytes, Access access)
{
    renew(c, p);
    const bool atomic = access == ATOMIC, together = atomic && c.atomic;
    const bool meets = conflicts(p, c.writer_block, c.writer, c.write_epoch, c.write_synced);
    if (meets && !together)
        race(p, atomic ? "atomic write" : "write", c.atomic ? "atomic write" : "write", c.writer_block, c.writer);
    if (conflicts(p, c.reader_block, c.reader, c.read_epoch, c.read_synced))
        race(p, atomic ? "atomic write" : "write", "read", c.reader_block, c.reader);
    if (!p.shared && c.writer == NOBODY)
        counters->touched_written += bytes;
    if (p.shared && atomic && c.writer == NOBODY)
        fault(p.line, "atomic operation on shared memory at offset %#zx, which nobody wrote", static_cast<size_t>(p.at));
    c.writer_block = meets && c.writer_block != p.block ? SEVERAL_BLOCKS : p.block;
    c.writer = meets ? together_with(p, c.writer) : p.who;
    c.write_epoch = p.epoch;
    c.write_synced = p.synced;
    c.atomic = atomic;
    c.underway = access == UNDERWAY;
}

template <Access access> static inline __attribute__((always_inline)) void touch_cell(Cell &c, const Place &p, uint32_t bytes)
{
    if (access == READ)
        read_cell(c, p, bytes);
    else
        write_cell(c, p, bytes, access);
}

/* Bytes of a word that are not touched as a whole get cells of their own, which begin as the word's. */
template <Access access> static __attribute__((noinline)) void touch_bytes(Cell &word, Cell *bytes, Place p, uint32_t from, uint32_t n)
{
    renew(word, p);
    if (!word.split) {
        for (uint32_t i = 0; i < 4; i++)
            bytes[i] = word;
        word.split = 1;
    }
    for (uint32_t i = from; i < from + n; i++, p.at++)
        touch_cell<access>(bytes[i], p, 1);
}

/* The access is aligned, so it lies in one word or is made of whole ones. */
template <Access access, uint32_t bytes> static inline __attribute__((always_inline)) void touch(Cell *words, Cell *bytes_of_words, size_t offset, Place p)
{
    Cell *cell = words + offset / 4;
    for (uint32_t i = 0; i < (bytes + 3) / 4; i++, cell++, p.at += 4) {
        if (__builtin_expect(bytes < 4 || (cell->split && cell->run == p.run), 0))
            touch_bytes<access>(*cell, bytes_of_words + 4 * (cell - words), p, bytes < 4 ? offset % 4 : 0, bytes < 4 ? bytes : 4);
        else
            touch_cell<access>(*cell, p, 4);
    }
}

[[noreturn]] static void misaligned(uintptr_t address, uint32_t bytes, uint32_t line)
{
    fault(line, "access of %u bytes at %#zx, no multiple of its size", bytes, static_cast<size_t>(address));
}

template <Access access, uint32_t bytes> void touch_global(const Region &region, uintptr_t address, uint32_t line)
{
    const size_t offset = address - region.begin;
    if (__builtin_expect(offset + bytes > region.bytes, 0))
        fault(line, "%s of %u bytes at %#zx, %zu bytes behind the end of %zu bytes of memory", access == READ ? "read" : "write", bytes,
              static_cast<size_t>(address), offset + bytes - region.bytes, region.bytes);
    if (__builtin_expect(address % bytes, 0))
        misaligned(address, bytes, line);
    (access == READ ? counters->read : counters->written) += bytes;
    counters->host += region.pinned ? bytes : 0;
    touch<access, bytes>(region.words, region.bytes_of_words, offset, Place{ false, launch, block.linear, address, line });
}

template <Access access, uint32_t bytes> void touch_shared(uint32_t offset, uint32_t line)
{
    if (__builtin_expect(offset + uint64_t{ bytes } > block.shared_bytes, 0))
        fault(line, "%s of %u bytes at offset %#x of shared memory, which has %u bytes", access == READ ? "read" : "write", bytes, offset,
              block.shared_bytes);
    if (__builtin_expect(offset % bytes, 0))
        misaligned(offset, bytes, line);
    touch<access, bytes>(shared_words, shared_bytes, offset, Place{ true, block_run, 0, offset, line });
}

#define KG_TOUCH(access, bytes)                                              \
    template void touch_global<access, bytes>(const Region &, uintptr_t, uint32_t); \
    template void touch_shared<access, bytes>(uint32_t, uint32_t);
#define KG_TOUCH_SIZES(access) \
    KG_TOUCH(access, 1) KG_TOUCH(access, 2) KG_TOUCH(access, 4) KG_TOUCH(access, 8) KG_TOUCH(access, 16)
KG_TOUCH_SIZES(READ)
KG_TOUCH_SIZES(WRITE)
KG_TOUCH_SIZES(ATOMIC)
KG_TOUCH_SIZES(UNDERWAY)

} // namespace emulator
