#include "kernels/thread_pool.h"

#include <assert.h>
#include <linux/futex.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

/* Rounds of waiting with a pause instruction before a thread sleeps: some 30 microseconds. */
#define SPINS 1000

/* A worker that finds itself on the caller's core only takes time from it, so it steps aside for so long, then for twice as long
 * and so on: the scheduler wakes it on a free core if there is one. It takes part in one job before it does so again: the
 * caller may sleep, or have been moved since it began that. */
#define ASIDE_MIN_NS 1000000
#define ASIDE_MAX_NS 64000000

/* The ticket says which job is open and which of its pieces is next, in one word:
 *
 *      63            24 23        0
 *     |   job number   |  piece   |
 *
 * A thread takes a piece by advancing the ticket that it has seen. That fails when the job has changed since,
 * so a thread that slept in between can neither take a piece of a later job with an older function, nor read a
 * job description that is being written: the next one is written only after all pieces of this one are done. */
#define PIECE_BITS 24
#define PIECE_MASK ((UINT64_C(1) << PIECE_BITS) - 1)

struct worker {
    struct kg_thread_pool *pool;
    pthread_t thread;
    uint32_t index;
};

struct kg_thread_pool {
    _Alignas(64) _Atomic uint64_t ticket;
    _Atomic(kg_thread_pool_work *) work;
    _Atomic(void *) context;
    _Atomic uint32_t pieces;
    _Alignas(64) _Atomic uint32_t done;  /* pieces of the open job that are finished */
    _Atomic uint32_t caller_sleeps;
    _Alignas(64) _Atomic uint32_t bell;  /* changes with every job: what sleeping workers wait for */
    _Atomic uint32_t sleeping;           /* workers that sleep or are about to */
    _Atomic uint32_t closing;
    _Atomic int caller_core;             /* where the open job was begun */
    uint32_t threads;
    struct worker *workers;
};

static void pause_briefly(void)
{
    __builtin_ia32_pause();
}

/* limit: NULL = none. */
static void sleep_while(_Atomic uint32_t *word, uint32_t value, const struct timespec *limit)
{
    syscall(SYS_futex, word, FUTEX_WAIT_PRIVATE, value, limit, NULL, 0);
}

static void wake(_Atomic uint32_t *word, int threads)
{
    syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, threads, NULL, NULL, 0);
}

/* Takes and computes pieces until the job that is open has none left. */
static void take_pieces(struct kg_thread_pool *pool, uint32_t thread)
{
    uint64_t ticket = atomic_load_explicit(&pool->ticket, memory_order_acquire);
    for (;;) {
        kg_thread_pool_work *work = atomic_load(&pool->work);
        void *context = atomic_load(&pool->context);
        uint32_t pieces = atomic_load(&pool->pieces);
        uint32_t piece = (uint32_t)(ticket & PIECE_MASK);
        if (piece >= pieces)
            return;
        if (!atomic_compare_exchange_weak_explicit(&pool->ticket, &ticket, ticket + 1, memory_order_acq_rel, memory_order_acquire))
            continue;
        ticket++;
        work(context, piece, thread);
        if (atomic_fetch_add(&pool->done, 1) + 1 == pieces && atomic_load(&pool->caller_sleeps))
            wake(&pool->done, 1);
    }
}

static bool on_callers_core(struct kg_thread_pool *pool)
{
    return atomic_load_explicit(&pool->caller_core, memory_order_relaxed) == sched_getcpu();
}

/* Until the bell has changed, for a short while, or until the worker is in the caller's way. */
static void spin_until_the_bell(struct kg_thread_pool *pool, uint32_t heard)
{
    for (unsigned spin = 0; atomic_load(&pool->bell) == heard && spin < SPINS && !on_callers_core(pool); spin++)
        pause_briefly();
}

static void sleep_until_the_bell(struct kg_thread_pool *pool, uint32_t heard)
{
    if (atomic_load(&pool->bell) != heard)
        return;
    atomic_fetch_add(&pool->sleeping, 1);
    while (atomic_load(&pool->bell) == heard)
        sleep_while(&pool->bell, heard, NULL);
    atomic_fetch_sub(&pool->sleeping, 1);
}

static void *worker_main(void *argument)
{
    struct worker *self = argument;
    struct kg_thread_pool *pool = self->pool;
    uint32_t heard = 0;
    long aside = ASIDE_MIN_NS;
    while (!atomic_load(&pool->closing)) {
        spin_until_the_bell(pool, heard);
        if (on_callers_core(pool)) {
            sleep_while(&pool->closing, 0, &(struct timespec){ .tv_nsec = aside });
            aside = aside < ASIDE_MAX_NS ? 2 * aside : aside;
        } else {
            aside = ASIDE_MIN_NS;
        }
        sleep_until_the_bell(pool, heard);
        heard = atomic_load(&pool->bell);
        take_pieces(pool, self->index);
    }
    return NULL;
}

static void ring(struct kg_thread_pool *pool)
{
    atomic_fetch_add(&pool->bell, 1);
    if (atomic_load(&pool->sleeping))
        wake(&pool->bell, (int)pool->threads);
}

static void wait_for_the_last(struct kg_thread_pool *pool, uint32_t pieces)
{
    for (unsigned spin = 0; atomic_load(&pool->done) != pieces && spin < SPINS; spin++)
        pause_briefly();
    uint32_t done = atomic_load(&pool->done);
    if (done == pieces)
        return;
    atomic_store(&pool->caller_sleeps, 1);
    while ((done = atomic_load(&pool->done)) != pieces)
        sleep_while(&pool->done, done, NULL);
    atomic_store(&pool->caller_sleeps, 0);
}

void kg_thread_pool_run(struct kg_thread_pool *pool, kg_thread_pool_work *work, void *context, uint32_t pieces)
{
    assert(pieces <= KG_THREAD_POOL_PIECES_MAX);
    if (pool->threads == 1 || pieces <= 1) {
        for (uint32_t piece = 0; piece < pieces; piece++)
            work(context, piece, 0);
        return;
    }
    const int core = sched_getcpu();
    if (core != atomic_load_explicit(&pool->caller_core, memory_order_relaxed))
        atomic_store_explicit(&pool->caller_core, core, memory_order_relaxed);
    uint64_t job = (atomic_load(&pool->ticket) >> PIECE_BITS) + 1;
    /* closed while the description changes: else a thread that holds the last ticket of the old job could take a piece
     * with it once the new job's larger number of pieces is written */
    atomic_store(&pool->ticket, job << PIECE_BITS | PIECE_MASK);
    atomic_store(&pool->work, work);
    atomic_store(&pool->context, context);
    atomic_store(&pool->pieces, pieces);
    atomic_store(&pool->done, 0);
    atomic_store(&pool->ticket, (job + 1) << PIECE_BITS);
    ring(pool);
    take_pieces(pool, 0);
    wait_for_the_last(pool, pieces);
}

enum kg_status kg_thread_pool_create(uint32_t threads, struct kg_thread_pool **out, struct kg_error *err)
{
    assert(threads >= 1);
    struct kg_thread_pool *pool = aligned_alloc(_Alignof(struct kg_thread_pool), sizeof *pool);
    struct worker *workers = calloc(threads, sizeof *workers);
    if (!pool || !workers) {
        free(pool);
        free(workers);
        return kg_fail_nomem(err, "starting threads");
    }
    *pool = (struct kg_thread_pool){ .threads = 1, .workers = workers, .caller_core = -1 };
    while (pool->threads < threads) {
        struct worker *w = &workers[pool->threads];
        *w = (struct worker){ .pool = pool, .index = pool->threads };
        if (pthread_create(&w->thread, NULL, worker_main, w)) {
            const uint32_t number = pool->threads + 1;
            kg_thread_pool_free(pool);
            return kg_fail(err, KG_ERR_NOMEM, "cannot start thread %u of %u; ask for fewer threads", number, threads);
        }
        pool->threads++;
    }
    *out = pool;
    return KG_OK;
}

void kg_thread_pool_free(struct kg_thread_pool *pool)
{
    if (!pool)
        return;
    atomic_store(&pool->closing, 1);
    wake(&pool->closing, (int)pool->threads);
    ring(pool);
    for (uint32_t i = 1; i < pool->threads; i++)
        pthread_join(pool->workers[i].thread, NULL);
    free(pool->workers);
    free(pool);
}

uint32_t kg_thread_pool_threads(const struct kg_thread_pool *pool)
{
    return pool->threads;
}
