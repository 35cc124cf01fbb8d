/* Threads that share the pieces of one job at a time.
 *
 * A job is a number of independent pieces. The thread that calls kg_thread_pool_run and the workers take pieces from
 * one atomic counter, so a worker that lost its core delays the others by the piece that it holds and no more;
 * a worker that comes late finds nothing and waits for the next job. Waiting threads spin for a short while,
 * since operations follow one another within microseconds, then sleep. A worker that has to share the caller's core, since
 * others hold the rest, steps aside: two threads on one core are slower than one.
 */
#ifndef KG_KERNELS_THREAD_POOL_H
#define KG_KERNELS_THREAD_POOL_H

#include <stdint.h>

#include "base/status.h"

#define KG_THREAD_POOL_PIECES_MAX ((1U << 24) - 1)

struct kg_thread_pool;

/* Computes one piece. thread is 0 for the caller of kg_thread_pool_run, else 1 .. threads-1: scratch memory goes by it. */
typedef void kg_thread_pool_work(void *context, uint32_t piece, uint32_t thread);

/* threads >= 1 counts the caller of kg_thread_pool_run; threads - 1 are started. */
enum kg_status kg_thread_pool_create(uint32_t threads, struct kg_thread_pool **out, struct kg_error *err);
void kg_thread_pool_free(struct kg_thread_pool *pool); /* NULL is fine */
uint32_t kg_thread_pool_threads(const struct kg_thread_pool *pool);

/* Runs work for pieces 0 .. pieces-1 and returns when all are done; everything written by them is then visible.
 * One caller at a time, not from within a piece. pieces <= KG_THREAD_POOL_PIECES_MAX. */
void kg_thread_pool_run(struct kg_thread_pool *pool, kg_thread_pool_work *work, void *context, uint32_t pieces);

/* Threads that this process may keep busy: CPUs in its affinity mask, limited by the CPU quota of its cgroup
 * (v2 or v1) and rounded up; at least 1. */
uint32_t kg_thread_pool_usable_threads(void);

/* CPUs that the quotas of cgroups allow, 0 = no limit. root: where cgroups are mounted; membership: the file that
 * says which ones are meant (/proc/self/cgroup). */
uint32_t kg_thread_pool_quota(const char *root, const char *membership);

#endif
