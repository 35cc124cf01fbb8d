/* kv.db when the power fails, the disk fills up, an operation fails or memory runs out: at every single operation. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>
#include <sqlite3.h>

#include "engine/cache/kv_store.h"
#include "tests/faults/failing_memory.h"
#include "tests/faults/lossy_vfs.h"
#include "tests/unit/kv_blocks.h"

enum { BLOCKS = 12, TOKENS = 200, BUDGET = 2000000 };

struct world {
    char directory[256];
    struct kg_pool *pool;
    struct kg_kv_store *store;
    uint32_t acknowledged[BLOCKS]; /* tokens that were stored when the power was still on */
    uint64_t injected, pages_checked;
};

static bool is_long(void)
{
    const char *wanted = getenv("CHECK_LONG");
    return wanted && strcmp(wanted, "1") == 0;
}

static int set_up(void **state)
{
    struct world *w = calloc(1, sizeof *w);
    w->pool = kv_pool(2, 1, 64); /* 16 KiB a page */
    *state = w;
    return 0;
}

static int tear_down(void **state)
{
    struct world *w = *state;
    assert_int_equal(kg_pool_pages_used(w->pool), 0);
    kg_pool_free(w->pool);
    free(w);
    return 0;
}

static bool power_is_on(void)
{
    return !lossy_struck();
}

/* What comes back while the power is on must come back after it failed. */
static void load(struct world *w, uint32_t n)
{
    struct kg_block *block = kv_block(w->pool, n, TOKENS);
    uint32_t ready = 0;
    if (w->store)
        kv_block_load(w->store, block, n % 2, &ready, NULL);
    assert_int_equal(ready, kg_block_ready(block));
    assert_true(kv_block_is_right(block));
    w->pages_checked += ready / KG_PAGE;
    if (power_is_on())
        w->acknowledged[n] = ready;
    kg_block_release(block);
}

static void save(struct world *w, uint32_t n, uint32_t ready)
{
    struct kg_block *block = kv_block(w->pool, n, TOKENS);
    kv_block_fill(block, ready);
    if (w->store)
        kg_kv_store_save(w->store, block, &kv_label, NULL);
    kg_block_release(block);
    load(w, n);
}

static void let_go(struct world *w, uint32_t n)
{
    struct kg_digest key;
    kv_block_key(n, &key);
    if (w->store)
        kg_kv_store_release(w->store, &key);
    w->acknowledged[n] = 0; /* it may be evicted */
}

static void remove_block(struct world *w, uint32_t n, int64_t id)
{
    w->acknowledged[n] = 0;
    if (w->store)
        kg_kv_store_remove(w->store, id, NULL);
}

static void open_store(struct world *w, uint64_t budget)
{
    w->store = NULL;
    if (kg_kv_store_open(w->directory, budget, &w->store, NULL) != KG_OK)
        w->store = NULL;
}

static void close_store(struct world *w)
{
    kg_kv_store_close(w->store);
    w->store = NULL;
}

/* Everything that writes: creation, blocks that grow, another text under a key, removal, eviction, giving back. */
static void play(struct world *w)
{
    struct kg_block *other;
    uint64_t checked, bad;
    open_store(w, BUDGET);
    save(w, 0, 70);
    save(w, 1, 40);
    save(w, 1, 130);
    load(w, 0);
    other = kv_block_variant(w->pool, 2, TOKENS, 50, 3);
    kv_block_fill(other, 100);
    if (w->store)
        kg_kv_store_save(w->store, other, &kv_label, NULL);
    kg_block_release(other);
    save(w, 2, 90);
    close_store(w);
    open_store(w, BUDGET);
    load(w, 1);
    remove_block(w, 0, 1);
    for (uint32_t n = 3; n < BLOCKS; n++) {
        save(w, n, TOKENS);
        if (n % 2)
            let_go(w, n);
        load(w, n - 1);
    }
    if (w->store)
        kg_kv_store_verify(w->store, &checked, &bad, NULL);
    close_store(w);
}

static void check_integrity(struct world *w)
{
    char path[300];
    sqlite3 *db = NULL;
    sqlite3_stmt *check = NULL;
    snprintf(path, sizeof path, "%s/kv.db", w->directory);
    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    assert_int_equal(sqlite3_prepare_v2(db, "PRAGMA integrity_check", -1, &check, NULL), SQLITE_OK);
    assert_int_equal(sqlite3_step(check), SQLITE_ROW);
    assert_string_equal(sqlite3_column_text(check, 0), "ok");
    sqlite3_finalize(check);
    sqlite3_close(db);
}

/* No fault makes a good file look damaged, to the process that met it or to the next. */
static void assert_nothing_aside(struct world *w)
{
    char path[300];
    snprintf(path, sizeof path, "%s/kv.db.aside", w->directory);
    assert_int_not_equal(access(path, F_OK), 0);
}

/* The file as the next process finds it. durable: whatever was acknowledged must be there. */
static void check_after(struct world *w, bool durable)
{
    struct kg_error err = { .text = "" };
    uint64_t checked = 0, bad = 0;
    if (kg_kv_store_open(w->directory, BUDGET, &w->store, &err) != KG_OK)
        fail_msg("the store does not open: %s", err.text);
    const char *notice = kg_kv_store_notice(w->store);
    if (notice)
        fail_msg("%s", notice);
    check_integrity(w);
    for (uint32_t n = 0; n < BLOCKS; n++) {
        struct kg_block *block = kv_block(w->pool, n, TOKENS);
        uint32_t ready = 0;
        assert_int_equal(kg_kv_store_load(w->store, block, &ready, &err), KG_OK);
        assert_true(kv_block_is_right(block));
        if (durable && ready < w->acknowledged[n])
            fail_msg("block %u has %u tokens of %u", n, ready, w->acknowledged[n]);
        kg_block_release(block);
    }
    assert_int_equal(kg_kv_store_verify(w->store, &checked, &bad, &err), KG_OK);
    assert_int_equal(bad, 0);
    save(w, 7, TOKENS);
    load(w, 7);
    close_store(w);
    assert_nothing_aside(w);
}

static void begin(struct world *w)
{
    snprintf(w->directory, sizeof w->directory, "%s", kv_directory_make());
    memset(w->acknowledged, 0, sizeof w->acknowledged);
}

static uint64_t operations_of_a_run(struct world *w, enum lossy_fault kind)
{
    begin(w);
    lossy_begin(kind, UINT64_MAX, 1);
    play(w);
    uint64_t n = lossy_operations();
    /* a transaction is at most 16 MiB, and here all of them are far below */
    assert_true(lossy_largest_burst() < (uint64_t)16 << 20);
    check_after(w, true);
    kv_directory_remove(w->directory);
    return n;
}

static void strike_everywhere(struct world *w, enum lossy_fault kind, uint64_t step, uint64_t seeds)
{
    uint64_t count = operations_of_a_run(w, kind);
    assert_true(count > 50);
    for (uint64_t seed = 1; seed <= seeds; seed++)
        for (uint64_t at = (seed - 1) % step; at < count; at += step) {
            begin(w);
            lossy_begin(kind, at, seed * 1000003 + at);
            play(w);
            if (lossy_struck())
                w->injected++;
            if (kind == LOSSY_POWER)
                lossy_reboot();
            else
                lossy_begin(LOSSY_NONE, 0, 1);
            check_after(w, kind == LOSSY_POWER);
            kv_directory_remove(w->directory);
        }
    print_message("# %llu operations, %llu faults, %llu pages compared on the way\n", (unsigned long long)count,
                  (unsigned long long)w->injected, (unsigned long long)w->pages_checked);
}

static void power_may_fail_at_any_operation(void **state)
{
    strike_everywhere(*state, LOSSY_POWER, 1, is_long() ? 40 : 2);
}

static void the_disk_may_be_full_at_any_write(void **state)
{
    strike_everywhere(*state, LOSSY_FULL, is_long() ? 1 : 3, 1);
}

static void the_disk_may_be_full_once(void **state)
{
    strike_everywhere(*state, LOSSY_FULL_ONCE, is_long() ? 1 : 3, 1);
}

static void any_operation_may_fail(void **state)
{
    strike_everywhere(*state, LOSSY_IO, is_long() ? 1 : 9, 1);
}

static void any_operation_may_fail_once(void **state)
{
    strike_everywhere(*state, LOSSY_IO_ONCE, is_long() ? 1 : 9, 1);
}

static void memory_may_run_out_anywhere(void **state)
{
    struct world *w = *state;
    lossy_begin(LOSSY_NONE, 0, 1);
    begin(w);
    failing_memory_begin(UINT64_MAX, false);
    play(w);
    uint64_t count = failing_memory_count();
    failing_memory_end();
    kv_directory_remove(w->directory);
    assert_true(count > 500);
    uint64_t step = is_long() ? 1 : count / 150 + 1;
    for (int once = 0; once < 2; once++)
        for (uint64_t at = (uint64_t)once; at < count; at += step) {
            begin(w);
            failing_memory_begin(at, once);
            play(w);
            failing_memory_end();
            w->injected++;
            check_after(w, false);
            kv_directory_remove(w->directory);
        }
    print_message("# %llu allocations, %llu failures\n", (unsigned long long)count, (unsigned long long)w->injected);
}

int main(void)
{
    failing_memory_install();
    lossy_install();
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(power_may_fail_at_any_operation),
        TEST(the_disk_may_be_full_at_any_write),
        TEST(the_disk_may_be_full_once),
        TEST(any_operation_may_fail),
        TEST(any_operation_may_fail_once),
        TEST(memory_may_run_out_anywhere),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
