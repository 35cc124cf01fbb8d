#include <ftw.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "kernels/thread_pool.h"

#define PIECES 997

static struct kg_thread_pool *make_pool(uint32_t threads)
{
    struct kg_thread_pool *pool = NULL;
    assert_int_equal(kg_thread_pool_create(threads, &pool, NULL), KG_OK);
    assert_int_equal(kg_thread_pool_threads(pool), threads);
    return pool;
}

struct counts {
    uint32_t times[PIECES]; /* not atomic: kg_thread_pool_run must order what pieces write before what comes after it */
    uint32_t threads;
    _Atomic bool wrong_thread;
};

static void count_piece(void *context, uint32_t piece, uint32_t thread)
{
    struct counts *counts = context;
    counts->times[piece]++;
    if (thread >= counts->threads)
        counts->wrong_thread = true;
}

static void every_piece_is_done_once(void **state)
{
    (void)state;
    static const uint32_t threads[] = { 1, 2, 3, 8 };
    static const uint32_t sizes[] = { 0, 1, 2, 3, 64, PIECES };
    for (size_t t = 0; t < 4; t++) {
        struct kg_thread_pool *pool = make_pool(threads[t]);
        struct counts counts = { .threads = threads[t] };
        uint32_t want[PIECES] = { 0 };
        for (uint32_t job = 0; job < 600; job++) {
            const uint32_t pieces = sizes[job % 6];
            kg_thread_pool_run(pool, count_piece, &counts, pieces);
            for (uint32_t i = 0; i < PIECES; i++)
                want[i] += i < pieces;
            assert_memory_equal(counts.times, want, sizeof want);
        }
        assert_false(counts.wrong_thread);
        kg_thread_pool_free(pool);
    }
}

/* Short jobs of changing size: a thread that is late from a small one must take nothing of a large one with it. */
static void late_threads_take_nothing_twice(void **state)
{
    (void)state;
    struct kg_thread_pool *pool = make_pool(4);
    struct counts counts = { .threads = 4 };
    uint32_t want[16] = { 0 };
    for (uint32_t job = 0; job < 30000; job++) {
        const uint32_t pieces = job % 2 ? 2 : 16;
        kg_thread_pool_run(pool, count_piece, &counts, pieces);
        for (uint32_t i = 0; i < 16; i++)
            want[i] += i < pieces;
        assert_memory_equal(counts.times, want, sizeof want);
    }
    kg_thread_pool_free(pool);
}

static void sleep_ms(long ms)
{
    const struct timespec time = { ms / 1000, ms % 1000 * 1000000L };
    nanosleep(&time, NULL);
}

/* Workers that fell asleep between jobs are woken, or not needed. */
static void jobs_far_apart_are_done(void **state)
{
    (void)state;
    struct kg_thread_pool *pool = make_pool(4);
    struct counts counts = { .threads = 4 };
    for (uint32_t job = 0; job < 20; job++) {
        sleep_ms(job % 4 * 2);
        kg_thread_pool_run(pool, count_piece, &counts, PIECES);
    }
    for (uint32_t i = 0; i < PIECES; i++)
        assert_int_equal(counts.times[i], 20);
    kg_thread_pool_free(pool);
}

struct stall {
    _Atomic uint32_t others; /* pieces done beside the one that stands still */
    _Atomic bool waited_for_nothing;
};

/* Piece 0 stands still until all others are done: they must not need its thread. */
static void stalling_piece(void *context, uint32_t piece, uint32_t thread)
{
    (void)thread;
    struct stall *stall = context;
    if (piece) {
        stall->others++;
        return;
    }
    for (int ms = 0; ms < 20000 && stall->others < PIECES - 1; ms++)
        sleep_ms(1);
    stall->waited_for_nothing = stall->others < PIECES - 1;
}

static void a_thread_that_stands_still_delays_its_own_piece_only(void **state)
{
    (void)state;
    struct kg_thread_pool *pool = make_pool(2);
    for (int job = 0; job < 10; job++) {
        struct stall stall = { 0 };
        kg_thread_pool_run(pool, stalling_piece, &stall, PIECES);
        assert_int_equal(stall.others, PIECES - 1);
        assert_false(stall.waited_for_nothing);
    }
    kg_thread_pool_free(pool);
}

#define SHARED_JOBS 4000

struct shares {
    uint32_t pieces[2];        /* by thread */
    volatile uint32_t sum[64]; /* by piece */
};

static void short_piece(void *context, uint32_t piece, uint32_t thread)
{
    struct shares *shares = context;
    __atomic_fetch_add(&shares->pieces[thread], 1, __ATOMIC_RELAXED);
    for (uint32_t i = 0; i < 1000; i++)
        shares->sum[piece] += i;
}

/* The process on the first core that it may use, which leaves no other one for workers; out: where it may run. */
static void take_one_core(cpu_set_t *out)
{
    cpu_set_t one;
    int cpu = 0;
    CPU_ZERO(&one);
    assert_int_equal(sched_getaffinity(0, sizeof *out, out), 0);
    while (!CPU_ISSET(cpu, out))
        cpu++;
    CPU_SET(cpu, &one);
    assert_int_equal(sched_setaffinity(0, sizeof one, &one), 0);
}

/* A worker and the caller on one core, which have done many jobs; out: where the process may run afterwards. */
static struct kg_thread_pool *work_on_one_core(struct shares *shares, cpu_set_t *out)
{
    take_one_core(out);
    struct kg_thread_pool *pool = make_pool(2);
    for (uint32_t job = 0; job < SHARED_JOBS; job++)
        kg_thread_pool_run(pool, short_piece, shares, 64);
    return pool;
}

/* With one core for both, a worker could only take turns with the caller. */
static void a_worker_on_the_callers_core_steps_aside(void **state)
{
    (void)state;
    cpu_set_t mine;
    struct shares shares = { 0 };
    struct kg_thread_pool *pool = work_on_one_core(&shares, &mine);
    kg_thread_pool_free(pool);
    assert_int_equal(sched_setaffinity(0, sizeof mine, &mine), 0);
    assert_int_equal(shares.pieces[0] + shares.pieces[1], SHARED_JOBS * 64);
    assert_true(shares.pieces[1] < SHARED_JOBS * 64 / 8);
}

static long times_slept(void)
{
    struct rusage usage;
    assert_int_equal(getrusage(RUSAGE_SELF, &usage), 0);
    return usage.ru_nvcsw;
}

/* Wherever it ran last. (A worker that stepped aside again and again would wake 7 times in this while.) */
static void a_worker_that_nobody_asks_sleeps(void **state)
{
    (void)state;
    cpu_set_t mine;
    struct shares shares = { 0 };
    struct kg_thread_pool *pool = work_on_one_core(&shares, &mine);
    long slept = 0;
    for (int tries = 0; tries < 20; tries++) { /* (it may be on its way) */
        const long before = times_slept();
        nanosleep(&(struct timespec){ .tv_nsec = 500000000 }, NULL);
        slept = times_slept() - before;
        if (slept <= 2)
            break;
    }
    kg_thread_pool_run(pool, short_piece, &shares, 64); /* and is there again */
    kg_thread_pool_free(pool);
    assert_int_equal(sched_setaffinity(0, sizeof mine, &mine), 0);
    assert_true(slept <= 2);
    assert_int_equal(shares.pieces[0] + shares.pieces[1], (SHARED_JOBS + 1) * 64);
}

static void pools_come_and_go(void **state)
{
    (void)state;
    for (uint32_t i = 0; i < 50; i++) {
        struct kg_thread_pool *pool = make_pool(1 + i % 5);
        struct counts counts = { .threads = 5 };
        if (i % 3)
            kg_thread_pool_run(pool, count_piece, &counts, i);
        kg_thread_pool_free(pool);
    }
    kg_thread_pool_free(NULL);
}

static void usable_threads_follow_the_affinity(void **state)
{
    (void)state;
    const uint32_t all = kg_thread_pool_usable_threads();
    assert_true(all >= 1 && (long)all <= sysconf(_SC_NPROCESSORS_CONF));
    const pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        cpu_set_t mine, one;
        CPU_ZERO(&one);
        int cpu = 0;
        if (sched_getaffinity(0, sizeof mine, &mine))
            _exit(2);
        while (!CPU_ISSET(cpu, &mine))
            cpu++;
        CPU_SET(cpu, &one);
        _exit(sched_setaffinity(0, sizeof one, &one) ? 2 : kg_thread_pool_usable_threads() == 1 ? 0 : 1);
    }
    int status = -1;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

static void put(const char *root, const char *name, const char *text)
{
    char path[512];
    snprintf(path, sizeof path, "%s/%s", root, name);
    for (char *slash = strchr(path + strlen(root) + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        mkdir(path, 0700);
        *slash = '/';
    }
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    fputs(text, file);
    fclose(file);
}

static uint32_t quota(const char *root, const char *membership)
{
    char path[512];
    put(root, "membership", membership);
    snprintf(path, sizeof path, "%s/membership", root);
    return kg_thread_pool_quota(root, path);
}

static int remove_entry(const char *path, const struct stat *stat, int kind, struct FTW *place)
{
    (void)stat, (void)kind, (void)place;
    return remove(path);
}

static void quotas_of_cgroups_are_followed(void **state)
{
    (void)state;
    char root[] = "/tmp/kedge-cgroups-XXXXXX";
    assert_non_null(mkdtemp(root));
    put(root, "user/shell/cpu.max", "max 100000\n");
    put(root, "user/job/cpu.max", "150000 100000\n");
    put(root, "user/job/part/cpu.max", "800000 100000\n");
    put(root, "tight/cpu.max", "20000 100000\n");
    put(root, "cpu,cpuacct/old/cpu.cfs_quota_us", "300000\n");
    put(root, "cpu,cpuacct/old/cpu.cfs_period_us", "100000\n");
    put(root, "cpu,cpuacct/free/cpu.cfs_quota_us", "-1\n");
    put(root, "cpu,cpuacct/free/cpu.cfs_period_us", "100000\n");
    assert_int_equal(quota(root, "0::/user/shell\n"), 0);
    assert_int_equal(quota(root, "0::/user/job\n"), 2); /* rounded up */
    assert_int_equal(quota(root, "0::/user/job/part\n"), 2);
    assert_int_equal(quota(root, "0::/tight\n"), 1);
    assert_int_equal(quota(root, "0::/not/mounted/here\n"), 0);
    assert_int_equal(quota(root, "4:memory:/tight\n3:cpu,cpuacct:/old\n1:cpuset:/x\n"), 3);
    assert_int_equal(quota(root, "3:cpu,cpuacct:/free\n0::/\n"), 0);
    assert_int_equal(quota(root, "nonsense\n\n::\n3:cpuset"), 0);
    assert_int_equal(kg_thread_pool_quota(root, "/does/not/exist"), 0);
    assert_int_equal(nftw(root, remove_entry, 8, FTW_DEPTH | FTW_PHYS), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_piece_is_done_once),
        cmocka_unit_test(late_threads_take_nothing_twice),
        cmocka_unit_test(jobs_far_apart_are_done),
        cmocka_unit_test(a_thread_that_stands_still_delays_its_own_piece_only),
        cmocka_unit_test(a_worker_on_the_callers_core_steps_aside),
        cmocka_unit_test(a_worker_that_nobody_asks_sleeps),
        cmocka_unit_test(pools_come_and_go),
        cmocka_unit_test(usable_threads_follow_the_affinity),
        cmocka_unit_test(quotas_of_cgroups_are_followed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
