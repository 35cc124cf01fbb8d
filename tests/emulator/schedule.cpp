/* Threads as fibers: which one runs, and how they wait for each other. */
#include <algorithm>
#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <cxxabi.h>
#include <random>
#include <sys/mman.h>
#include <vector>

#include "tests/emulator/shadow.h"

namespace emulator {

Thread *thread;
Block block;
Counters *counters;

namespace {

constexpr size_t STACK = size_t{ 128 } << 10;
constexpr size_t GROUPS = 8; /* masks of one warp that are in use at a time */

struct AsyncCopy {
    uint32_t shared, bytes, from_global, line;
    uint64_t global;
};

struct Fiber {
    Thread thread;
    void *stack_pointer;
    char *stack;
    Fiber *next;
    std::vector<std::vector<AsyncCopy>> copies; /* groups; the last one is open */
};

struct Queue {
    Fiber *first = nullptr, *last = nullptr;

    void push(Fiber *fiber)
    {
        fiber->next = nullptr;
        (last ? last->next : first) = fiber;
        last = fiber;
    }

    Fiber *pop()
    {
        Fiber *fiber = first;
        first = fiber->next;
        if (!first)
            last = nullptr;
        return fiber;
    }

    void take_all(Queue &other)
    {
        if (!other.first)
            return;
        (last ? last->next : first) = other.first;
        last = other.last;
        other = Queue{};
    }
};

/* Lanes that exchange under one mask. Two sets of slots alternate: who is late still reads the old ones. */
struct Group {
    uint32_t mask, arrived, turn, active[2];
    Collective what;
    Queue waiting;
    unsigned char slots[2][32 * SLOT];
};

struct Warp {
    uint32_t alive, synced;
    size_t groups;
    Group group[GROUPS];
};

/* The block that runs. */
struct Running {
    const Kernel *kernel;
    const unsigned char *parameters;
    std::vector<Warp> warps;
    std::vector<uint32_t> order; /* threads in the order in which they start */
    Queue ready, at_barrier;
    uint32_t threads, started, alive, waiting, place;
    Fiber *current, main;
    std::vector<Fiber *> idle;
    std::mt19937 random{ 1 };
} running;

enum Order { FORWARD, REVERSE, SHUFFLED };

Order order_of_threads()
{
    const char *wanted = getenv("EMULATOR_ORDER");
    if (!wanted || strcmp(wanted, "forward") == 0)
        return FORWARD;
    if (strcmp(wanted, "reverse") == 0)
        return REVERSE;
    if (strcmp(wanted, "shuffle") == 0)
        return SHUFFLED;
    fprintf(stderr, "emulator: EMULATOR_ORDER is '%s'; choose forward, reverse or shuffle\n", wanted);
    exit(1);
}

extern "C" void emulator_switch(void **from, void *to);
asm(R"(
    .text
    .globl emulator_switch
    .hidden emulator_switch
    .type emulator_switch, @function
emulator_switch:
    push %rbp
    push %rbx
    push %r12
    push %r13
    push %r14
    push %r15
    mov %rsp, (%rdi)
    mov %rsi, %rsp
    pop %r15
    pop %r14
    pop %r13
    pop %r12
    pop %rbx
    pop %rbp
    ret
)");

void switch_to(Fiber *to)
{
    Fiber *from = running.current;
    running.current = to;
    thread = &to->thread;
    emulator_switch(&from->stack_pointer, to->stack_pointer);
}

void run_thread();

Fiber *fresh_fiber()
{
    Fiber *fiber;
    if (!running.idle.empty()) {
        fiber = running.idle.back();
        running.idle.pop_back();
    } else {
        fiber = new Fiber{};
        void *stack = mmap(nullptr, STACK, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        if (stack == MAP_FAILED || mprotect(stack, 4096, PROT_NONE) != 0)
            fault(0, "no room for the stack of a thread");
        fiber->stack = static_cast<char *>(stack);
    }
    void **top = reinterpret_cast<void **>(fiber->stack + STACK);
    *--top = nullptr;
    *--top = reinterpret_cast<void *>(run_thread);
    for (int saved = 0; saved < 6; saved++)
        *--top = nullptr;
    fiber->stack_pointer = top;
    return fiber;
}

void become_next_thread(Fiber *fiber)
{
    const uint32_t i = running.order.empty() ? running.started : running.order[running.started];
    running.started++;
    fiber->thread = Thread{ { i % block.size.x, i / block.size.x % block.size.y, i / block.size.x / block.size.y }, i, i % 32, i / 32,
                            static_cast<uint16_t>(running.warps[i / 32].synced) };
}

/* One that can go on, else one that has not begun, else none. */
Fiber *next_fiber()
{
    if (running.ready.first)
        return running.ready.pop();
    if (running.started == running.threads)
        return nullptr;
    Fiber *fiber = fresh_fiber();
    become_next_thread(fiber);
    return fiber;
}

void wait_for_others(const char *where)
{
    Fiber *next = next_fiber();
    if (!next)
        fault(0, "deadlock: %u of %u threads have not ended, %u wait at a barrier, the last one came to %s", running.alive, running.threads,
              running.waiting, where);
    if (next != running.current)
        switch_to(next);
}

void open_barrier()
{
    running.waiting = 0;
    block.epoch++;
    running.ready.take_all(running.at_barrier);
}

void complete(Warp &warp, Group &group)
{
    const uint32_t members = group.mask & warp.alive;
    if (group.what == SYNC && members == warp.alive)
        warp.synced++;
    group.active[group.turn] = members;
    group.arrived = 0;
    group.turn ^= 1;
    running.ready.take_all(group.waiting);
}

/* The thread has ended; others may have waited for this. */
void leave()
{
    Warp &warp = running.warps[thread->warp];
    if (!running.current->copies.empty() && !running.current->copies.front().empty())
        fault(0, "a thread ended before its cp.async did; wait for it");
    running.current->copies.clear();
    running.alive--;
    warp.alive &= ~(1U << thread->lane);
    for (size_t i = 0; i < warp.groups; i++) {
        Group &group = warp.group[i];
        if (group.arrived && group.arrived == (group.mask & warp.alive))
            complete(warp, group);
    }
    if (running.waiting && running.waiting == running.alive)
        open_barrier();
}

void run_thread()
{
    for (;;) {
        running.kernel->run(running.parameters);
        leave();
        if (!running.ready.first && running.started < running.threads) {
            become_next_thread(running.current); /* on the same stack */
            continue;
        }
        Fiber *next = next_fiber();
        if (!next && running.alive)
            fault(0, "deadlock: a thread ended, and %u others wait for what cannot come", running.alive);
        running.idle.push_back(running.current);
        switch_to(next ? next : &running.main);
    }
}

Group &group_of(Warp &warp, uint32_t mask, Collective what)
{
    Group *unused = nullptr;
    for (size_t i = 0; i < warp.groups; i++) {
        if (warp.group[i].mask == mask)
            return warp.group[i];
        if (!warp.group[i].arrived)
            unused = &warp.group[i];
    }
    if (!unused && warp.groups == GROUPS)
        fault(0, "more than %zu masks of one warp at a time", GROUPS);
    Group &group = unused ? *unused : warp.group[warp.groups++];
    group.mask = mask;
    group.what = what;
    group.arrived = 0;
    return group;
}

void set_up_block(Dim index, Dim grid, Dim size)
{
    block.index = index;
    block.size = size;
    block.grid = grid;
    block.linear = (index.z * grid.y + index.y) * grid.x + index.x;
    block.epoch = 0;
    shadow_block();
    memset(block.shared, 0xff, block.shared_bytes);
    running.threads = running.alive = size.x * size.y * size.z;
    running.started = running.waiting = 0;
    running.warps.resize((running.threads + 31) / 32);
    for (size_t w = 0; w < running.warps.size(); w++) {
        Warp &warp = running.warps[w];
        const size_t left = running.threads - 32 * w;
        warp.alive = left >= 32 ? ~0U : (1U << left) - 1;
        warp.groups = 0;
        warp.synced = 0;
    }
}

void order_threads(Order order)
{
    running.order.clear();
    if (order == FORWARD)
        return;
    for (uint32_t i = 0; i < running.threads; i++)
        running.order.push_back(order == REVERSE ? running.threads - 1 - i : i);
    if (order == SHUFFLED)
        std::shuffle(running.order.begin(), running.order.end(), running.random);
}

} // namespace

void run_grid(const Kernel &kernel, const unsigned char *parameters, Dim grid, Dim size, uint32_t dynamic_shared)
{
    static const Order order = order_of_threads();
    alignas(128) static unsigned char shared[KG_SHARED_MAX];
    running.kernel = &kernel;
    running.parameters = parameters;
    running.current = &running.main;
    block.shared = shared;
    block.dynamic = (kernel.static_shared + 15) / 16 * 16;
    block.shared_bytes = dynamic_shared ? block.dynamic + dynamic_shared : kernel.static_shared;
    shadow_launch();
    const uint64_t blocks = static_cast<uint64_t>(grid.x) * grid.y * grid.z;
    counters->launches++;
    counters->threads += blocks * size.x * size.y * size.z;
    for (uint64_t i = 0; i < blocks; i++) {
        const uint64_t b = order == REVERSE ? blocks - 1 - i : i;
        set_up_block(Dim{ static_cast<uint32_t>(b % grid.x), static_cast<uint32_t>(b / grid.x % grid.y), static_cast<uint32_t>(b / grid.x / grid.y) },
                     grid, size);
        order_threads(order);
        switch_to(next_fiber());
        thread = nullptr;
    }
}

void barrier(uint32_t place)
{
    if (running.waiting == 0)
        running.place = place;
    else if (running.place != place)
        fault(place, "threads of one block wait at different barriers (the other one is in line %u)", running.place);
    if (++running.waiting == running.alive) {
        open_barrier();
        return;
    }
    running.at_barrier.push(running.current);
    wait_for_others("a barrier");
}

const unsigned char *exchange(uint32_t mask, Collective what, const void *bytes, uint32_t n, uint32_t *active)
{
    Warp &warp = running.warps[thread->warp];
    const uint32_t self = 1U << thread->lane;
    if (!(mask & self))
        fault(0, "a lane takes part in a collective operation with mask %#x, which lacks it", mask);
    Group &group = group_of(warp, mask, what);
    if (group.arrived && group.what != what)
        fault(0, "lanes under one mask meet in different collective operations");
    group.what = what;
    const uint32_t turn = group.turn;
    if (n)
        memcpy(group.slots[turn] + size_t{ SLOT } * thread->lane, bytes, n);
    group.arrived |= self;
    if (group.arrived == (mask & warp.alive)) {
        complete(warp, group);
    } else {
        group.waiting.push(running.current);
        wait_for_others("a collective operation of its warp");
    }
    *active = group.active[turn];
    return group.slots[turn];
}

void sync_warp(uint32_t mask)
{
    uint32_t active;
    exchange(mask, SYNC, nullptr, 0, &active);
    thread->synced = static_cast<uint16_t>(running.warps[thread->warp].synced);
}

/* What follows the bytes from global memory is zero; all of them, or none, are touched there. */
template <uint32_t bytes> void copy_async(uint32_t shared, uint64_t global, uint32_t from_global, uint32_t line)
{
    auto &copies = running.current->copies;
    if (copies.empty())
        copies.emplace_back();
    const Region *region = find_region(global);
    if (from_global && !region)
        fault(line, "cp.async reads %u bytes at %#zx, which is no memory of the device", from_global, static_cast<size_t>(global));
    if (from_global && from_global != bytes)
        fault(line, "cp.async of %u of %u bytes, which is not emulated", from_global, bytes);
    if (from_global)
        touch_global<READ, bytes>(*region, global, line);
    touch_shared<UNDERWAY, bytes>(shared, line);
    copies.back().push_back(AsyncCopy{ shared, bytes, from_global, line, global });
}

template void copy_async<4>(uint32_t, uint64_t, uint32_t, uint32_t);
template void copy_async<8>(uint32_t, uint64_t, uint32_t, uint32_t);
template void copy_async<16>(uint32_t, uint64_t, uint32_t, uint32_t);

void copy_commit()
{
    auto &copies = running.current->copies;
    if (copies.empty())
        copies.emplace_back();
    copies.emplace_back();
}

void copy_wait(uint32_t groups_left)
{
    auto &copies = running.current->copies;
    while (copies.size() > groups_left + size_t{ 1 }) {
        for (const AsyncCopy &copy : copies.front()) {
            for (uint32_t i = 0; i < copy.bytes; i += 4)
                touch_shared<WRITE, 4>(copy.shared + i, copy.line);
            memcpy(block.shared + copy.shared, reinterpret_cast<const void *>(copy.global), copy.from_global);
            memset(block.shared + copy.shared + copy.from_global, 0, copy.bytes - copy.from_global);
        }
        copies.erase(copies.begin());
    }
}

void fault(uint32_t line, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    fprintf(stderr, "emulator: ");
    vfprintf(stderr, format, arguments);
    va_end(arguments);
    if (thread && running.kernel) {
        int status = 0;
        char *name = abi::__cxa_demangle(running.kernel->name, nullptr, nullptr, &status);
        fprintf(stderr, "; %s", name ? name : running.kernel->name);
        if (line)
            fprintf(stderr, ", line %u", line);
        fprintf(stderr, ", thread %u of block (%u, %u, %u)", thread->linear, block.index.x, block.index.y, block.index.z);
    }
    fprintf(stderr, "\n");
    abort();
}

} // namespace emulator
