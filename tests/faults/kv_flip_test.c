/* kv.db with bytes changed, cut off or lost: every block that loads is right, and the store goes on. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/paths.h"
#include "engine/cache/kv_store.h"
#include "tests/unit/kv_blocks.h"
#include "tests/unit/seeded.h"

enum { BLOCKS = 6, TOKENS = 300 };

struct world {
    char directory[256], path[300];
    struct kg_pool *pool;
    char *good, *bad;
    size_t length;
    uint64_t seed;
    unsigned misses, removed, aside;
};

static unsigned rounds(unsigned few)
{
    const char *wanted = getenv("CHECK_LONG");
    return wanted && strcmp(wanted, "1") == 0 ? few * 10 : few;
}

static void save_all(struct world *w, struct kg_kv_store *store)
{
    for (uint32_t n = 0; n < BLOCKS; n++) {
        struct kg_block *block = kv_block(w->pool, n, TOKENS);
        struct kg_error err = { .text = "" };
        kv_block_fill(block, TOKENS - n * 40);
        if (kg_kv_store_save(store, block, &kv_label, &err) != KG_OK)
            fail_msg("%s", err.text);
        kg_block_release(block);
    }
    kg_kv_store_flush(store);
}

static int set_up(void **state)
{
    struct world *w = calloc(1, sizeof *w);
    struct kg_kv_store *store = NULL;
    w->pool = kv_pool(2, 1, 64);
    w->seed = 20240607;
    snprintf(w->directory, sizeof w->directory, "%s", kv_directory_make());
    snprintf(w->path, sizeof w->path, "%s/kv.db", w->directory);
    assert_int_equal(kg_kv_store_open(w->directory, 0, &store, NULL), KG_OK);
    save_all(w, store);
    kg_kv_store_close(store);
    assert_int_equal(kg_read_file(w->path, (size_t)1 << 30, &w->good, &w->length, NULL), KG_OK);
    w->bad = malloc(w->length + 70000);
    *state = w;
    return 0;
}

static int tear_down(void **state)
{
    struct world *w = *state;
    kg_pool_free(w->pool);
    kv_directory_remove(w->directory);
    free(w->good);
    free(w->bad);
    free(w);
    return 0;
}

static void put(struct world *w, size_t length)
{
    FILE *file = fopen(w->path, "we");
    assert_non_null(file);
    assert_int_equal(fwrite(w->bad, 1, length, file), length);
    assert_int_equal(fclose(file), 0);
}

/* Loads everything; whether all of it was there. */
static bool load_all(struct world *w, struct kg_kv_store *store)
{
    bool all = true;
    for (uint32_t n = 0; n < BLOCKS; n++) {
        struct kg_block *block = kv_block(w->pool, n, TOKENS);
        struct kg_error err = { .text = "" };
        uint32_t ready = 0;
        if (kv_block_load(store, block, n % 2, &ready, &err) != KG_OK)
            fail_msg("%s", err.text);
        assert_true(kv_block_is_right(block));
        assert_true(ready <= TOKENS - n * 40);
        all = all && ready == TOKENS - n * 40;
        kg_block_release(block);
    }
    return all;
}

/* The damaged file is met, worked with, and in the end as good as new. */
static void live_with(struct world *w, size_t length)
{
    struct kg_kv_store *store = NULL;
    struct kg_error err = { .text = "" };
    uint64_t checked = 0, bad = 0;
    put(w, length);
    if (kg_kv_store_open(w->directory, 0, &store, &err) != KG_OK)
        fail_msg("%s", err.text);
    w->misses += !load_all(w, store);
    for (const char *notice; (notice = kg_kv_store_notice(store)) != NULL;) {
        w->removed += strstr(notice, "was removed") != NULL;
        w->aside += strstr(notice, "kv.db.aside") != NULL;
    }
    save_all(w, store);
    load_all(w, store);
    if (kg_kv_store_verify(store, &checked, &bad, &err) != KG_OK)
        fail_msg("%s", err.text);
    save_all(w, store);
    assert_true(load_all(w, store));
    kg_kv_store_close(store);
    assert_int_equal(kg_kv_store_open(w->directory, 0, &store, NULL), KG_OK);
    assert_true(load_all(w, store));
    assert_null(kg_kv_store_notice(store));
    kg_kv_store_close(store);
}

static void tell(struct world *w, unsigned count)
{
    print_message("# %u files: %u gave less than all, %u lost a block, %u were set aside\n", count, w->misses, w->removed, w->aside);
}

static void a_bit_may_flip_anywhere(void **state)
{
    struct world *w = *state;
    unsigned count = rounds(200);
    for (unsigned i = 0; i < count; i++) {
        memcpy(w->bad, w->good, w->length);
        w->bad[seeded_bits(&w->seed) % w->length] ^= (char)(1U << seeded_below(&w->seed, 8));
        live_with(w, w->length);
    }
    assert_true(w->misses > count / 10);
    tell(w, count);
}

/* Bits of the b-trees themselves: the first pages, and the head of every page. */
static void a_bit_may_flip_in_the_structure(void **state)
{
    struct world *w = *state;
    unsigned count = rounds(150);
    for (unsigned i = 0; i < count; i++) {
        memcpy(w->bad, w->good, w->length);
        size_t page = seeded_bits(&w->seed) % (w->length / 65536);
        size_t at = page * 65536 + seeded_below(&w->seed, page ? 24 : 130);
        w->bad[at] ^= (char)(1U << seeded_below(&w->seed, 8));
        live_with(w, w->length);
    }
    tell(w, count);
}

static void pages_may_be_noise_zero_or_of_another_place(void **state)
{
    struct world *w = *state;
    unsigned count = rounds(60);
    for (unsigned i = 0; i < count; i++) {
        memcpy(w->bad, w->good, w->length);
        size_t unit = i % 2 ? 4096 : 65536, units = w->length / unit;
        char *at = w->bad + seeded_bits(&w->seed) % units * unit;
        if (i % 3 == 0)
            memset(at, 0, unit);
        else if (i % 3 == 1)
            memcpy(at, w->good + seeded_bits(&w->seed) % units * unit, unit);
        else
            for (size_t k = 0; k < unit; k++)
                at[k] = (char)seeded_bits(&w->seed);
        live_with(w, w->length);
    }
    tell(w, count);
}

static void the_file_may_end_early_or_late(void **state)
{
    struct world *w = *state;
    unsigned count = rounds(40);
    for (unsigned i = 0; i < count; i++) {
        memcpy(w->bad, w->good, w->length);
        memset(w->bad + w->length, 'z', 70000);
        live_with(w, i % 4 == 0 ? w->length + seeded_below(&w->seed, 70000) : seeded_bits(&w->seed) % w->length);
    }
    tell(w, count);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(a_bit_may_flip_anywhere),
        TEST(a_bit_may_flip_in_the_structure),
        TEST(pages_may_be_noise_zero_or_of_another_place),
        TEST(the_file_may_end_early_or_late),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
