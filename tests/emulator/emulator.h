/* What translated kernels (ptx2cpp.py), the scheduler and the runtime stand-in share. README.md says what is emulated.
 *
 * One CUDA thread is one fiber, one block runs at a time, all on the host thread that asked for it. Whoever enters holds
 * one lock (runtime.cpp), so that what is here needs none. */
#ifndef KG_EMULATOR_H
#define KG_EMULATOR_H

#include <cstddef>
#include <cstdint>

namespace emulator {

struct Dim {
    uint32_t x, y, z;
};

/* The thread that runs now. */
struct Thread {
    Dim index;
    uint32_t linear, lane, warp;
    uint16_t synced; /* syncwarps passed: what lies before one is ordered with what lies behind */
};
extern Thread *thread;

/* The block that runs now. */
struct Block {
    Dim index, size, grid;
    uint32_t linear;
    uint32_t epoch; /* barriers passed */
    unsigned char *shared;
    uint32_t shared_bytes, dynamic; /* all, and where `extern __shared__` begins */
};
extern Block block;

#define KG_SHARED_MAX 232448

/* Counted while kernels run; see runtime.cpp. */
enum Work { F32, F64, INTEGER, DP4A, TENSOR, WORKS };
struct Counters {
    uint64_t launches, threads, read, written;    /* bytes asked for */
    uint64_t touched_read, touched_written;       /* distinct bytes of global memory, per launch */
    uint64_t host;                                /* of those asked for, in host memory */
    uint64_t work[WORKS];                         /* operations; DP4A, TENSOR: multiply-adds */
};
extern Counters *counters;

struct Parameter {
    uint32_t offset, bytes;
};

struct Kernel {
    const char *name; /* mangled */
    void (*run)(const unsigned char *parameters);
    const Parameter *parameters;
    uint32_t parameter_count, parameter_bytes, static_shared;
};

/* One for each translated file. */
struct Registration {
    Registration(const Kernel *kernels, size_t n);
};

/* Runs a grid to its end. */
void run_grid(const Kernel &kernel, const unsigned char *parameters, Dim grid, Dim size, uint32_t dynamic_shared);

/* Waits for all threads of the block that have not ended; they must wait at the same place. */
void barrier(uint32_t place);

/* Every lane of mask that has not ended hands in `bytes` (at most SLOT) and gets all; lane l's begin at SLOT * l. They
 * stay until the next exchange but one. `active` tells who took part. */
enum Collective { SYNC, SHUFFLE, VOTE, MATRIX };
constexpr uint32_t SLOT = 64;
const unsigned char *exchange(uint32_t mask, Collective what, const void *bytes, uint32_t n, uint32_t *active);
void sync_warp(uint32_t mask);

/* Copies that are under way until the thread waits for them (cp.async). */
template <uint32_t bytes> void copy_async(uint32_t shared, uint64_t global, uint32_t from_global, uint32_t line); /* 4, 8 or 16 */
void copy_commit();
void copy_wait(uint32_t groups_left);

/* Says what is wrong, where, and ends the process: a kernel with a fault has no result. */
[[noreturn]] void fault(uint32_t line, const char *format, ...) __attribute__((format(printf, 2, 3)));

} // namespace emulator

#endif
