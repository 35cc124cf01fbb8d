/* kv.db between processes: some are killed at any moment, some write at the same time, threads have stores of their own. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "engine/cache/kv_store.h"
#include "tests/faults/killed_process.h"
#include "tests/unit/kv_blocks.h"
#include "tests/unit/seeded.h"

enum { BLOCKS = 24, TOKENS = 260 };

struct world {
    char directory[256];
    uint64_t seed;
};

static bool is_long(void)
{
    const char *wanted = getenv("CHECK_LONG");
    return wanted && strcmp(wanted, "1") == 0;
}

static int set_up(void **state)
{
    struct world *w = calloc(1, sizeof *w);
    snprintf(w->directory, sizeof w->directory, "%s", kv_directory_make());
    w->seed = 4711;
    *state = w;
    return 0;
}

static int tear_down(void **state)
{
    struct world *w = *state;
    kv_directory_remove(w->directory);
    free(w);
    return 0;
}

static double seconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

/* Saves part of a block, or loads one; false when something wrong was loaded or a call failed. */
static bool save_or_load(struct kg_kv_store *store, struct kg_pool *pool, uint64_t *seed, uint32_t *block, uint32_t *stored)
{
    uint32_t n = *block = seeded_below(seed, BLOCKS), ready = 0;
    struct kg_block *b = kv_block(pool, n, TOKENS);
    bool good = kv_block_load(store, b, seeded_below(seed, 2), &ready, NULL) == KG_OK && kv_block_is_right(b);
    *stored = ready;
    if (good && seeded_below(seed, 3) && ready < TOKENS) {
        uint32_t more = ready + 1 + seeded_below(seed, TOKENS - ready);
        kv_block_fill(b, more);
        good = kg_kv_store_save(store, b, &kv_label, NULL) == KG_OK;
        if (seeded_below(seed, 2)) /* which waits for company otherwise */
            kg_kv_store_flush(store);
    }
    if (seeded_below(seed, 4) == 0)
        kg_kv_store_release(store, kg_block_key(b));
    kg_block_release(b);
    return good;
}

/* Works until it is killed or `until`; tells by 8 bytes each what it found stored. */
static void work(const char *directory, uint64_t budget, uint64_t seed, double until, int tell)
{
    struct kg_kv_store *store = NULL;
    struct kg_pool *pool = kv_pool(2, 1, 64);
    while (seconds() < until) {
        uint32_t found[2];
        if (!store && kg_kv_store_open(directory, budget, &store, NULL) != KG_OK)
            _exit(2);
        if (!save_or_load(store, pool, &seed, &found[0], &found[1]))
            _exit(3);
        if (tell >= 0 && write(tell, found, sizeof found) != sizeof found)
            _exit(4);
        if (seeded_below(&seed, 20) == 0) {
            kg_kv_store_close(store);
            store = NULL;
        }
    }
    kg_kv_store_close(store);
    kg_pool_free(pool);
}

/* Everything that is there is right; what was once found stored in full is there, unless blocks may be evicted. */
static void check(struct world *w, const uint32_t *least)
{
    struct kg_kv_store *store = NULL;
    struct kg_pool *pool = kv_pool(2, 1, 64);
    struct kg_error err = { .text = "" };
    uint64_t checked = 0, bad = 0;
    uint32_t together = 0;
    if (kg_kv_store_open(w->directory, 0, &store, &err) != KG_OK)
        fail_msg("%s", err.text);
    for (uint32_t n = 0; n < BLOCKS; n++) {
        struct kg_block *block = kv_block(pool, n, TOKENS);
        uint32_t ready = 0;
        assert_int_equal(kg_kv_store_load(store, block, &ready, NULL), KG_OK);
        assert_true(kv_block_is_right(block));
        together += ready;
        if (least && ready < least[n])
            fail_msg("block %u has %u tokens of %u", n, ready, least[n]);
        kg_block_release(block);
    }
    assert_int_equal(kg_kv_store_verify(store, &checked, &bad, &err), KG_OK);
    assert_int_equal(bad, 0);
    assert_true(least || together > TOKENS); /* those who shared it got something done */
    assert_null(kg_kv_store_notice(store));
    kg_kv_store_close(store);
    kg_pool_free(pool);
}

static void work_in_child(void *ctx, int tell)
{
    const struct world *w = ctx;
    work(w->directory, (uint64_t)1 << 30, w->seed, seconds() + 60, tell);
    _exit(5); /* it was to be killed before */
}

static void a_process_may_be_killed_at_any_moment(void **state)
{
    struct world *w = *state;
    uint32_t least[BLOCKS] = { 0 };
    unsigned kills = is_long() ? 1000 : 60;
    for (unsigned i = 0; i < kills; i++) {
        uint32_t found[2];
        struct world child = *w;
        child.seed = seeded_bits(&w->seed);
        const int from = killed_process(work_in_child, &child, KILLED_FROM_START, 3000 + seeded_below(&w->seed, 60000));
        while (read(from, found, sizeof found) == sizeof found)
            least[found[0]] = found[1] > least[found[0]] ? found[1] : least[found[0]];
        close(from);
        check(w, least);
        if (i % 8 == 7) {
            kv_directory_remove(w->directory);
            snprintf(w->directory, sizeof w->directory, "%s", kv_directory_make());
            memset(least, 0, sizeof least);
        }
    }
    print_message("# %u processes killed\n", kills);
}

static void processes_share_the_file(void **state)
{
    struct world *w = *state;
    enum { PROCESSES = 4 };
    pid_t child[PROCESSES];
    double until = seconds() + (is_long() ? 300 : 4);
    for (int i = 0; i < PROCESSES; i++) {
        uint64_t seed = seeded_bits(&w->seed);
        child[i] = fork();
        if (child[i] == 0) {
            /* small enough that they evict each other's blocks */
            work(w->directory, 2000000, seed, until, -1);
            _exit(0);
        }
    }
    for (int i = 0; i < PROCESSES; i++) {
        int how = 0;
        waitpid(child[i], &how, 0);
        if (how != 0)
            fail_msg("process %d ended with %d", i, how);
    }
    check(w, NULL);
}

struct thread {
    const char *directory;
    uint64_t seed;
    double until;
    bool good;
};

static void *thread_main(void *ctx)
{
    struct thread *t = ctx;
    struct kg_kv_store *store = NULL;
    struct kg_pool *pool = kv_pool(2, 1, 64);
    struct kg_error err = { .text = "" };
    t->good = kg_kv_store_open(t->directory, 2000000, &store, &err) == KG_OK;
    if (!t->good)
        print_error("%s\n", err.text);
    while (t->good && seconds() < t->until) {
        uint32_t block, stored;
        t->good = save_or_load(store, pool, &t->seed, &block, &stored);
    }
    kg_kv_store_close(store);
    kg_pool_free(pool);
    return NULL;
}

static void threads_have_stores_of_their_own(void **state)
{
    struct world *w = *state;
    enum { THREADS = 3 };
    pthread_t thread[THREADS];
    struct thread of[THREADS];
    for (int i = 0; i < THREADS; i++) {
        of[i] = (struct thread){ w->directory, seeded_bits(&w->seed), seconds() + (is_long() ? 30 : 3), false };
        assert_int_equal(pthread_create(&thread[i], NULL, thread_main, &of[i]), 0);
    }
    for (int i = 0; i < THREADS; i++) {
        pthread_join(thread[i], NULL);
        assert_true(of[i].good);
    }
    check(w, NULL);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(a_process_may_be_killed_at_any_moment),
        TEST(processes_share_the_file),
        TEST(threads_have_stores_of_their_own),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
