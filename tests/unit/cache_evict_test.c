#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>
#include <sqlite3.h>

#include "engine/cache/kv_store.h"
#include "tests/unit/kv_blocks.h"

#define MB ((uint64_t)1000000)

struct world {
    char directory[256], path[300];
    struct kg_pool *pool;
    struct kg_kv_store *store;
};

static struct kg_kv_store *open_store(struct world *w, uint64_t budget)
{
    struct kg_kv_store *store = NULL;
    assert_int_equal(kg_kv_store_open(w->directory, budget, &store, NULL), KG_OK);
    return store;
}

static int set_up(void **state)
{
    struct world *w = calloc(1, sizeof *w);
    snprintf(w->directory, sizeof w->directory, "%s", kv_directory_make());
    snprintf(w->path, sizeof w->path, "%s/kv.db", w->directory);
    w->pool = kv_pool(2, 2, 128); /* 65,536 bytes a page */
    w->store = open_store(w, 12 * MB);
    *state = w;
    return 0;
}

static int tear_down(void **state)
{
    struct world *w = *state;
    kg_kv_store_close(w->store);
    kg_pool_free(w->pool);
    kv_directory_remove(w->directory);
    free(w);
    return 0;
}

static void keep_as(struct world *w, struct kg_kv_store *store, uint32_t n, uint32_t tokens, const struct kg_kv_label *label)
{
    struct kg_block *block = kv_block(w->pool, n, tokens);
    kv_block_fill(block, tokens);
    assert_int_equal(kg_kv_store_save(store, block, label, NULL), KG_OK);
    kg_block_release(block);
}

static void keep_in(struct world *w, struct kg_kv_store *store, uint32_t n, uint32_t tokens)
{
    keep_as(w, store, n, tokens, &kv_label);
}

static void release(struct kg_kv_store *store, uint32_t n)
{
    struct kg_digest key;
    kv_block_key(n, &key);
    kg_kv_store_release(store, &key);
}

/* A megabyte that no session uses any more. */
static void keep(struct world *w, uint32_t n)
{
    keep_in(w, w->store, n, 512);
    release(w->store, n);
}

static uint32_t loaded(struct world *w, struct kg_kv_store *store, uint32_t n)
{
    struct kg_block *block = kv_block(w->pool, n, 512);
    uint32_t ready = 0;
    assert_int_equal(kg_kv_store_load(store, block, &ready, NULL), KG_OK);
    assert_true(kv_block_is_right(block));
    kg_block_release(block);
    return ready;
}

static void settle(struct world *w)
{
    if (w->store)
        kg_kv_store_flush(w->store);
}

/* Whether it is there, without using it. */
static bool there(struct world *w, uint32_t n)
{
    struct kg_digest key;
    sqlite3 *db = NULL;
    sqlite3_stmt *find = NULL;
    kv_block_key(n, &key);
    settle(w);
    assert_int_equal(sqlite3_open(w->path, &db), SQLITE_OK);
    assert_int_equal(sqlite3_prepare_v2(db, "SELECT ready FROM block WHERE key = ?1", -1, &find, NULL), SQLITE_OK);
    sqlite3_bind_blob(find, 1, key.bytes, 32, SQLITE_STATIC);
    bool found = sqlite3_step(find) == SQLITE_ROW;
    if (found)
        assert_int_equal(sqlite3_column_int(find, 0), 512);
    sqlite3_finalize(find);
    sqlite3_close(db);
    return found;
}

static void age(struct world *w, uint32_t n, int64_t seconds)
{
    struct kg_digest key;
    sqlite3 *db = NULL;
    sqlite3_stmt *update = NULL;
    kv_block_key(n, &key);
    settle(w);
    assert_int_equal(sqlite3_open(w->path, &db), SQLITE_OK);
    assert_int_equal(sqlite3_prepare_v2(db, "UPDATE block SET used = used - ?2 WHERE key = ?1", -1, &update, NULL), SQLITE_OK);
    sqlite3_bind_blob(update, 1, key.bytes, 32, SQLITE_STATIC);
    sqlite3_bind_int64(update, 2, seconds);
    assert_int_equal(sqlite3_step(update), SQLITE_DONE);
    sqlite3_finalize(update);
    sqlite3_close(db);
}

static uint64_t file_bytes(struct world *w)
{
    struct stat st;
    settle(w);
    assert_int_equal(stat(w->path, &st), 0);
    return (uint64_t)st.st_size;
}

static void the_file_stays_within_its_budget(void **state)
{
    struct world *w = *state;
    for (uint32_t n = 0; n < 60; n++) {
        keep(w, n);
        assert_true(file_bytes(w) <= 12 * MB);
        assert_true(there(w, n));
    }
    assert_false(there(w, 0));
    assert_true(there(w, 55));
    assert_true(file_bytes(w) > 8 * MB);
    assert_int_equal(kg_kv_store_bytes(w->store), file_bytes(w));
    assert_null(kg_kv_store_notice(w->store));
}

static void a_smaller_budget_shrinks_the_file(void **state)
{
    struct world *w = *state;
    for (uint32_t n = 0; n < 8; n++)
        keep(w, n);
    assert_true(file_bytes(w) > 8 * MB);
    kg_kv_store_close(w->store);
    w->store = open_store(w, 5 * MB);
    keep(w, 9);
    assert_true(file_bytes(w) <= 5 * MB);
    assert_true(there(w, 9));
}

static void the_least_valuable_goes_first(void **state)
{
    struct world *w = *state;
    for (uint32_t n = 0; n < 8; n++)
        keep(w, n);
    for (uint32_t n = 0; n < 8; n++)
        age(w, n, n == 5 ? 30 * 86400 : n == 2 ? 20 * 86400 : n == 6 ? 20 * 86400 : 86400);
    /* block 6 was used often, so that it is worth keeping although it is old */
    for (int i = 0; i < 40; i++)
        assert_int_equal(loaded(w, w->store, 6), 512);
    release(w->store, 6);
    kg_kv_store_close(w->store);
    w->store = NULL;
    age(w, 6, 20 * 86400);
    w->store = open_store(w, 12 * MB);
    uint32_t next = 20;
    while (there(w, 5))
        keep(w, next++);
    assert_true(there(w, 2));
    while (there(w, 2))
        keep(w, next++);
    for (uint32_t n = 0; n < 8; n++)
        assert_true(there(w, n) == (n != 5 && n != 2));
}

/* Whatever it is worth; in use it stays as everything does. */
static void what_serves_one_order_of_files_goes_before_all_else(void **state)
{
    struct world *w = *state;
    struct kg_kv_label again = kv_label;
    again.kind = KG_KV_AGAIN;
    for (uint32_t n = 0; n < 4; n++) {
        keep(w, n);
        age(w, n, 30 * 86400);
    }
    for (uint32_t n = 4; n < 7; n++)
        keep_as(w, w->store, n, 512, &again);
    for (uint32_t n = 4; n < 6; n++)
        release(w->store, n);
    uint32_t next = 20;
    while (there(w, 4) || there(w, 5)) {
        for (uint32_t n = 0; n < 4; n++)
            assert_true(there(w, n));
        keep(w, next++);
    }
    while (there(w, 0))
        keep(w, next++);
    assert_true(there(w, 6));
}

static void what_is_in_use_is_never_evicted(void **state)
{
    struct world *w = *state;
    keep_in(w, w->store, 1, 512);
    keep(w, 2);
    age(w, 1, 100 * 86400);
    for (uint32_t n = 10; n < 40; n++)
        keep(w, n);
    assert_true(there(w, 1));
    assert_false(there(w, 2));
    release(w->store, 1);
    age(w, 1, 100 * 86400);
    for (uint32_t n = 40; n < 60; n++)
        keep(w, n);
    assert_false(there(w, 1));
}

static void what_was_loaded_is_in_use(void **state)
{
    struct world *w = *state;
    keep(w, 1);
    assert_int_equal(loaded(w, w->store, 1), 512);
    age(w, 1, 1000 * 86400);
    for (uint32_t n = 10; n < 40; n++)
        keep(w, n);
    assert_true(there(w, 1));
}

static void what_is_used_without_being_brought_stays(void **state)
{
    struct world *w = *state;
    struct kg_digest key;
    kv_block_key(1, &key);
    keep(w, 1);
    settle(w);
    assert_int_equal(kg_kv_store_use(w->store, &key, NULL), KG_OK);
    for (int used = 1; used >= 0; used--) {
        age(w, 1, 1000 * 86400);
        for (uint32_t n = 10; n < 40; n++)
            keep(w, n + 40 * (uint32_t)used);
        assert_int_equal(there(w, 1), used);
        release(w->store, 1);
    }
}

static void what_fits_leaves_a_quarter_of_the_budget(void **state)
{
    struct world *w = *state;
    bool fits = false;
    for (uint32_t n = 0; n < 4; n++)
        keep(w, n);
    for (uint32_t n = 10; n < 16; n++)
        keep_in(w, w->store, n, 512);
    assert_int_equal(kg_kv_store_fits(w->store, 2 * MB, &fits, NULL), KG_OK);
    assert_true(fits);
    assert_int_equal(kg_kv_store_fits(w->store, 4 * MB, &fits, NULL), KG_OK);
    assert_false(fits);
    release(w->store, 10);
    release(w->store, 11);
    assert_int_equal(kg_kv_store_fits(w->store, 4 * MB, &fits, NULL), KG_OK);
    assert_true(fits);
}

static void what_nobody_will_ask_for_is_removed_unless_it_is_used(void **state)
{
    struct world *w = *state;
    struct kg_digest key;
    kv_block_key(1, &key);
    keep_in(w, w->store, 1, 512);
    keep(w, 2);
    assert_int_equal(kg_kv_store_remove_unused(w->store, &key, NULL), KG_OK);
    assert_true(there(w, 1));
    release(w->store, 1);
    assert_int_equal(kg_kv_store_remove_unused(w->store, &key, NULL), KG_OK);
    assert_true(!there(w, 1) && there(w, 2));
    assert_int_equal(kg_kv_store_remove_unused(w->store, &key, NULL), KG_OK);
    keep(w, 1);
    assert_true(there(w, 1));
    assert_int_equal(loaded(w, w->store, 1), 512);
}

static void what_another_process_uses_stays_until_it_dies(void **state)
{
    struct world *w = *state;
    int ready[2], go[2];
    char byte = 'x';
    keep(w, 1);
    age(w, 1, 300 * 86400);
    assert_int_equal(pipe(ready), 0);
    assert_int_equal(pipe(go), 0);
    pid_t child = fork();
    if (child == 0) {
        struct kg_kv_store *own = open_store(w, 12 * MB);
        if (loaded(w, own, 1) != 512 || write(ready[1], &byte, 1) != 1 || read(go[0], &byte, 1) != 1)
            _exit(1);
        _exit(0); /* like a crash: nothing is closed */
    }
    assert_int_equal(read(ready[0], &byte, 1), 1);
    age(w, 1, 300 * 86400);
    for (uint32_t n = 10; n < 40; n++)
        keep(w, n);
    assert_true(there(w, 1));
    assert_int_equal(write(go[1], &byte, 1), 1);
    int how = 0;
    waitpid(child, &how, 0);
    assert_int_equal(how, 0);
    age(w, 1, 300 * 86400);
    for (uint32_t n = 40; n < 60; n++)
        keep(w, n);
    assert_false(there(w, 1));
    for (int i = 0; i < 2; i++) {
        close(ready[i]);
        close(go[i]);
    }
}

static void a_budget_full_of_open_sessions_is_a_notice(void **state)
{
    struct world *w = *state;
    for (uint32_t n = 0; n < 20; n++)
        keep_in(w, w->store, n, 512);
    assert_true(file_bytes(w) <= 12 * MB);
    assert_true(there(w, 0));
    assert_false(there(w, 19));
    settle(w);
    const char *notice = kg_kv_store_notice(w->store);
    assert_non_null(notice);
    assert_non_null(strstr(notice, "budget"));
    assert_null(kg_kv_store_notice(w->store));
    /* when a session lets go of something, the next one has room */
    keep_in(w, w->store, 30, 512);
    assert_false(there(w, 30));
    release(w->store, 0);
    release(w->store, 1);
    keep_in(w, w->store, 31, 512);
    assert_true(there(w, 31));
    /* a block that does not fit is stored as far as it does */
    kg_kv_store_close(w->store);
    w->store = open_store(w, 12 * MB);
    keep_in(w, w->store, 100, 8000);
    assert_true(file_bytes(w) <= 12 * MB);
    struct kg_block *block = kv_block(w->pool, 100, 8000);
    uint32_t ready = 0;
    assert_int_equal(kg_kv_store_load(w->store, block, &ready, NULL), KG_OK);
    assert_true(ready > 2000 && ready < 8000);
    assert_true(kv_block_is_right(block));
    kg_block_release(block);
}

static void the_default_budget_is_a_share_of_the_disk(void **state)
{
    struct world *w = *state;
    kg_kv_store_close(w->store);
    w->store = open_store(w, 0);
    for (uint32_t n = 0; n < 20; n++)
        keep_in(w, w->store, n, 512);
    assert_true(file_bytes(w) > 20 * MB);
    assert_true(there(w, 0));
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(the_file_stays_within_its_budget),
        TEST(a_smaller_budget_shrinks_the_file),
        TEST(the_least_valuable_goes_first),
        TEST(what_serves_one_order_of_files_goes_before_all_else),
        TEST(what_is_in_use_is_never_evicted),
        TEST(what_was_loaded_is_in_use),
        TEST(what_is_used_without_being_brought_stays),
        TEST(what_fits_leaves_a_quarter_of_the_budget),
        TEST(what_nobody_will_ask_for_is_removed_unless_it_is_used),
        TEST(what_another_process_uses_stays_until_it_dies),
        TEST(a_budget_full_of_open_sessions_is_a_notice),
        TEST(the_default_budget_is_a_share_of_the_disk),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
