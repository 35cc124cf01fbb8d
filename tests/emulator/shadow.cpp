#include "tests/emulator/shadow.h"

#include <cstdio>
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
    Region *region = new Region{ reinterpret_cast<uintptr_t>(begin), bytes, map_cells(words_of(bytes)), map_cells(4 * words_of(bytes)), pinned };
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

/* Where an access is: for messages, and which run its cells belong to. */
struct Place {
    bool shared;
    uint32_t run, block;
    uintptr_t at;
    uint32_t line;
};

static uint32_t warp_of(uint16_t who)
{
    return who == SEVERAL ? UINT32_MAX : who & LANES ? who - LANES : who / 32U;
}

/* Two accesses of threads of one block are ordered by a barrier between them, or by a syncwarp of their warp. */
static bool ordered(uint16_t other, uint32_t epoch, uint16_t synced)
{
    return other == thread->linear || epoch != block.epoch || (warp_of(other) == thread->warp && synced != thread->synced);
}

static uint16_t together_with(uint16_t other)
{
    return warp_of(other) == thread->warp ? static_cast<uint16_t>(LANES + thread->warp) : SEVERAL;
}

static bool conflicts(const Place &p, uint32_t other_block, uint16_t other, uint32_t epoch, uint16_t synced)
{
    return other != NOBODY && (other_block != p.block || !ordered(other, epoch, synced));
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

static inline void renew(Cell &c, const Place &p)
{
    if (c.run != p.run) {
        c = Cell{};
        c.run = p.run;
        c.writer = c.reader = NOBODY;
    }
}

static inline void note_read(Cell &c, const Place &p, uint32_t bytes)
{
    if (c.reader == NOBODY) {
        c.reader_block = p.block;
        c.reader = static_cast<uint16_t>(thread->linear);
        if (!p.shared && c.writer == NOBODY)
            counters->touched_read += bytes;
    } else if (c.reader_block != p.block) {
        c.reader_block = SEVERAL_BLOCKS;
        return;
    } else {
        c.reader = ordered(c.reader, c.read_epoch, c.read_synced) ? static_cast<uint16_t>(thread->linear) : together_with(c.reader);
    }
    c.read_epoch = block.epoch;
    c.read_synced = thread->synced;
}

static inline void read_cell(Cell &c, const Place &p, uint32_t bytes)
{
    renew(c, p);
    if (c.underway)
        fault(p.line, "read of shared memory at offset %#zx, which a cp.async without a wait is still filling", static_cast<size_t>(p.at));
    if (p.shared && c.writer == NOBODY)
        fault(p.line, "read of shared memory at offset %#zx, which nobody wrote", static_cast<size_t>(p.at));
    if (conflicts(p, c.writer_block, c.writer, c.write_epoch, c.write_synced))
        race(p, "read", c.atomic ? "atomic write" : "write", c.writer_block, c.writer);
    note_read(c, p, bytes);
}

static inline void write_cell(Cell &c, const Place &p, uint32_t bytes, Access access)
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
    c.writer = meets ? together_with(c.writer) : static_cast<uint16_t>(thread->linear);
    c.write_epoch = block.epoch;
    c.write_synced = thread->synced;
    c.atomic = atomic;
    c.underway = access == UNDERWAY;
}

static inline void touch_cell(Cell &c, const Place &p, uint32_t bytes, Access access)
{
    if (access == READ)
        read_cell(c, p, bytes);
    else
        write_cell(c, p, bytes, access);
}

/* Bytes of a word that are not touched as a whole get cells of their own, which begin as the word's. */
static void touch_bytes(Cell &word, Cell *bytes, const Place &p, uint32_t from, uint32_t to, Access access)
{
    renew(word, p);
    if (!word.split) {
        for (uint32_t i = 0; i < 4; i++)
            bytes[i] = word;
        word.split = 1;
    }
    for (uint32_t i = from; i < to; i++)
        touch_cell(bytes[i], Place{ p.shared, p.run, p.block, p.at + i, p.line }, 1, access);
}

static inline void touch(Cell *words, Cell *bytes, size_t offset, uint32_t n, Place p, Access access)
{
    const uintptr_t base = p.at - offset;
    for (size_t end = offset + n, word = offset / 4; word * 4 < end; word++) {
        const uint32_t from = offset > word * 4 ? static_cast<uint32_t>(offset - word * 4) : 0;
        const uint32_t to = end < word * 4 + 4 ? static_cast<uint32_t>(end - word * 4) : 4;
        Cell &cell = words[word];
        p.at = base + word * 4;
        if (from == 0 && to == 4 && !(cell.split && cell.run == p.run))
            touch_cell(cell, p, 4, access);
        else
            touch_bytes(cell, bytes + word * 4, p, from, to, access);
    }
}

static void require_alignment(uintptr_t address, uint32_t bytes, uint32_t line)
{
    if (address % bytes)
        fault(line, "access of %u bytes at %#zx, no multiple of its size", bytes, static_cast<size_t>(address));
}

void touch_global(const Region &region, uintptr_t address, uint32_t bytes, Access access, uint32_t line)
{
    if (address + bytes > region.begin + region.bytes)
        fault(line, "%s of %u bytes at %#zx, %zu bytes behind the end of %zu bytes of memory", access == READ ? "read" : "write", bytes,
              static_cast<size_t>(address), static_cast<size_t>(address + bytes - region.begin - region.bytes), region.bytes);
    require_alignment(address, bytes, line);
    (access == READ ? counters->read : counters->written) += bytes;
    touch(region.words, region.bytes_of_words, address - region.begin, bytes, Place{ false, launch, block.linear, address, line }, access);
}

void touch_shared(uint32_t offset, uint32_t bytes, Access access, uint32_t line)
{
    static Cell *const words = map_cells(words_of(KG_SHARED_MAX)), *const bytes_of_words = map_cells(4 * words_of(KG_SHARED_MAX));
    if (offset + bytes > block.shared_bytes || offset + bytes < offset)
        fault(line, "%s of %u bytes at offset %#x of shared memory, which has %u bytes", access == READ ? "read" : "write", bytes, offset,
              block.shared_bytes);
    require_alignment(offset, bytes, line);
    touch(words, bytes_of_words, offset, bytes, Place{ true, block_run, 0, offset, line }, access);
}

} // namespace emulator
