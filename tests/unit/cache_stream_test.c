/* Blocks that are offered: told of at once, filled behind, and never with anything but what was stored. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <sqlite3.h>

#include "base/paths.h"
#include "tests/unit/kv_blocks.h"
#include "tests/unit/seeded.h"

enum { BLOCKS = 12, TOKENS = 1000 };

static char *stored; /* the file that every test begins with */
static size_t stored_length;

struct world {
    char directory[256], path[300];
    struct kg_pool *pool;
    struct kg_kv_store *store;
    struct kg_block *blocks[BLOCKS];
};

static void reopen(struct world *w)
{
    kg_kv_store_close(w->store);
    w->store = NULL;
    assert_int_equal(kg_kv_store_open(w->directory, (uint64_t)1 << 30, &w->store, NULL), KG_OK);
}

static void keep(struct world *w, uint32_t n, uint32_t ready)
{
    struct kg_block *block = kv_block(w->pool, n, TOKENS);
    kv_block_fill(block, ready);
    assert_int_equal(kg_kv_store_save(w->store, block, &kv_label, NULL), KG_OK);
    kg_block_release(block);
}

static int set_up(void **state)
{
    struct world *w = calloc(1, sizeof *w);
    snprintf(w->directory, sizeof w->directory, "%s", kv_directory_make());
    snprintf(w->path, sizeof w->path, "%s/kv.db", w->directory);
    w->pool = kv_pool(2, 1, 64);
    if (stored) {
        FILE *file = fopen(w->path, "we");
        assert_true(file && fwrite(stored, 1, stored_length, file) == stored_length && fclose(file) == 0);
        reopen(w);
    } else {
        reopen(w);
        for (uint32_t n = 0; n < BLOCKS; n++)
            keep(w, n, TOKENS - n);
        reopen(w);
        assert_int_equal(kg_read_file(w->path, (size_t)1 << 30, &stored, &stored_length, NULL), KG_OK);
    }
    *state = w;
    return 0;
}

static int free_stored(void **state)
{
    (void)state;
    free(stored);
    return 0;
}

static int tear_down(void **state)
{
    struct world *w = *state;
    kg_kv_store_close(w->store);
    assert_int_equal(kg_pool_pages_used(w->pool), 0);
    kg_pool_free(w->pool);
    kv_directory_remove(w->directory);
    free(w);
    return 0;
}

static uint32_t offer(struct world *w, uint32_t n)
{
    uint32_t known = 0;
    w->blocks[n] = kv_block(w->pool, n, TOKENS);
    assert_int_equal(kg_kv_store_offer(w->store, w->blocks[n], &known, NULL), KG_OK);
    assert_int_equal(kg_block_known(w->blocks[n]), known);
    return known;
}

/* Its tokens, which must be right, and lets go of it. */
static uint32_t take(struct world *w, uint32_t n)
{
    uint32_t ready = kg_block_ready(w->blocks[n]);
    assert_false(kg_block_is_promised(w->blocks[n]));
    assert_int_equal(kg_block_known(w->blocks[n]), ready);
    assert_true(kv_block_is_right(w->blocks[n]));
    kg_block_release(w->blocks[n]);
    return ready;
}

/* By another connection, as another program would. */
static void sql(struct world *w, const char *text)
{
    sqlite3 *db = NULL;
    assert_int_equal(sqlite3_open(w->path, &db), SQLITE_OK);
    sqlite3_busy_timeout(db, 5000);
    if (sqlite3_exec(db, text, NULL, NULL, NULL) != SQLITE_OK)
        fail_msg("%s", sqlite3_errmsg(db));
    sqlite3_close(db);
}

static void blocks_come_in_any_order(void **state)
{
    struct world *w = *state;
    uint64_t seed = 5;
    for (unsigned round = 0; round < 20; round++) {
        uint32_t order[BLOCKS];
        for (uint32_t n = 0; n < BLOCKS; n++) {
            uint32_t at = seeded_below(&seed, n + 1);
            order[n] = order[at];
            order[at] = n;
            assert_int_equal(offer(w, n), TOKENS - n);
        }
        for (uint32_t i = 0; i < BLOCKS; i++)
            assert_int_equal(take(w, order[i]), TOKENS - order[i]);
    }
    assert_null(kg_kv_store_notice(w->store));
}

static void what_is_unknown_is_not_promised(void **state)
{
    struct world *w = *state;
    uint32_t known = 7;
    struct kg_block *other = kv_block(w->pool, 99, 10), *empty = kv_block(w->pool, 0, 0), *another = kv_block_variant(w->pool, 0, TOKENS, 70, 3);
    assert_int_equal(kg_kv_store_offer(w->store, other, &known, NULL), KG_OK);
    assert_true(known == 0 && !kg_block_is_promised(other));
    assert_int_equal(kg_kv_store_offer(w->store, empty, &known, NULL), KG_OK);
    assert_int_equal(known, 0);
    assert_int_equal(kg_kv_store_offer(w->store, another, &known, NULL), KG_OK); /* of another text what is common */
    assert_true(known == 70 && kg_block_ready(another) == 70 && kv_block_is_right(another));
    kg_block_release(other);
    kg_block_release(empty);
    kg_block_release(another);
}

/* Pages of a block that nobody wants any more may be another's at once. */
static void what_is_let_go_writes_nowhere(void **state)
{
    struct world *w = *state;
    uint64_t seed = 9;
    for (unsigned round = 0; round < 60; round++) {
        for (uint32_t n = 0; n < BLOCKS; n++)
            offer(w, n);
        for (uint32_t n = 0; n < BLOCKS; n++) {
            if (seeded_below(&seed, 3) == 0) {
                assert_int_equal(take(w, n), TOKENS - n);
                continue;
            }
            kg_block_release(w->blocks[n]);
            struct kg_block *next = kv_block(w->pool, 100 + n, TOKENS);
            kv_block_fill(next, TOKENS);
            assert_true(kv_block_is_right(next));
            kg_block_release(next);
        }
    }
}

static void damage_is_found_before_use(void **state)
{
    struct world *w = *state;
    /* tokens 320 on of block 3, which is the fourth that was stored */
    sql(w, "UPDATE page SET kv = zeroblob(length(kv)) WHERE id = (4 << 32) | (10 << 10)");
    for (uint32_t n = 0; n < BLOCKS; n++)
        assert_int_equal(offer(w, n), TOKENS - n);
    for (uint32_t n = 0; n < BLOCKS; n++)
        assert_int_equal(take(w, n), n == 3 ? 320 : TOKENS - n);
    const char *notice = kg_kv_store_notice(w->store);
    assert_true(notice && strstr(notice, "damaged"));
    assert_int_equal(offer(w, 3), 0); /* it was removed */
    kg_block_release(w->blocks[3]);
}

static void what_is_removed_meanwhile_is_missing(void **state)
{
    struct world *w = *state;
    for (uint32_t n = 0; n < BLOCKS; n++)
        offer(w, n);
    sql(w, "BEGIN; DELETE FROM page; DELETE FROM block; COMMIT");
    uint32_t whole = 0;
    for (uint32_t n = 0; n < BLOCKS; n++) {
        uint32_t ready = take(w, n);
        assert_true(ready <= TOKENS - n);
        whole += ready == TOKENS - n;
    }
    print_message("# %u of %u had come before\n", whole, BLOCKS);
    assert_null(kg_kv_store_notice(w->store));
}

static void what_grows_meanwhile_is_taken(void **state)
{
    struct world *w = *state;
    struct kg_kv_store *other = NULL;
    assert_int_equal(kg_kv_store_open(w->directory, (uint64_t)1 << 30, &other, NULL), KG_OK);
    for (uint32_t n = 1; n < BLOCKS; n++)
        assert_int_equal(offer(w, n), TOKENS - n);
    for (uint32_t n = 1; n < BLOCKS; n++) {
        struct kg_block *block = kv_block(w->pool, n, TOKENS);
        kv_block_fill(block, TOKENS);
        assert_int_equal(kg_kv_store_save(other, block, &kv_label, NULL), KG_OK);
        kg_block_release(block);
    }
    kg_kv_store_close(other);
    for (uint32_t n = 1; n < BLOCKS; n++) {
        uint32_t ready = take(w, n);
        assert_true(ready == TOKENS || ready == TOKENS - n);
    }
    assert_null(kg_kv_store_notice(w->store));
}

static void saving_and_removing_go_on_beside(void **state)
{
    struct world *w = *state;
    for (uint32_t n = 0; n < BLOCKS; n++) {
        offer(w, n);
        keep(w, 200 + n, TOKENS);
    }
    assert_int_equal(kg_kv_store_remove_all(w->store, NULL), KG_OK);
    for (uint32_t n = 0; n < BLOCKS; n++)
        assert_int_equal(take(w, n), TOKENS - n); /* removing waited for them */
    assert_int_equal(offer(w, 0), 0);
    kg_block_release(w->blocks[0]);
}

static void a_block_is_used_only_when_it_is_there(void **state)
{
    struct world *w = *state;
    struct kg_block *block;
    offer(w, 0);
    block = w->blocks[0];
    kg_block_set_ready(block, 64); /* what came first is kept */
    assert_true(!kg_block_is_promised(block) && kg_block_ready(block) == 64 && kv_block_is_right(block));
    kv_block_fill(block, TOKENS);
    assert_int_equal(take(w, 0), TOKENS);
    offer(w, 1);
    assert_int_equal(kg_block_extend(w->blocks[1], 1, NULL), KG_OK);
    assert_true(!kg_block_is_promised(w->blocks[1]) && kg_block_ready(w->blocks[1]) == TOKENS - 1);
    kg_block_release(w->blocks[1]);
    offer(w, 2);
    kg_block_cut(w->blocks[2], 5); /* what comes behind is new, whatever was promised */
    assert_int_equal(kg_block_extend(w->blocks[2], 1, NULL), KG_OK);
    assert_true(!kg_block_is_promised(w->blocks[2]) && kg_block_ready(w->blocks[2]) == 5 && kg_block_tokens(w->blocks[2]) == 6);
    kg_block_release(w->blocks[2]);
}

/* Tokens of block 3 from a page on, of which one may be another one. */
static struct kg_block *part_of(struct world *w, uint32_t page, uint32_t count, uint32_t other)
{
    struct kg_block *whole = kv_block(w->pool, 3, TOKENS), *part = NULL;
    int32_t ids[TOKENS];
    for (uint32_t i = 0; i < count; i++)
        ids[i] = page * KG_PAGE + i < TOKENS ? kg_block_ids(whole)[page * KG_PAGE + i] : 1;
    if (other < count)
        ids[other]++;
    assert_int_equal(kg_block_create(w->pool, KG_BLOCK_FILE, kg_block_key(whole), 0, ids, count, &part, NULL), KG_OK);
    kg_block_set_part(part, page);
    kg_block_release(whole);
    return part;
}

static void has_pages_of(const struct kg_block *part, const struct kg_block *whole, uint32_t first)
{
    const struct kg_kv_shape *shape = kg_pool_shape(kg_block_pool(part));
    const size_t bytes = KG_KV_PAGE_BYTES(shape), index = KG_INDEX_PAGE_BYTES(shape);
    uint8_t *room = calloc(2, bytes + index);
    uint32_t indexed[2];
    for (uint32_t page = 0; (page + 1) * KG_PAGE <= kg_block_ready(part); page++)
        for (int i = 0; i < 2; i++) {
            uint8_t *at = room + (size_t)i * (bytes + index);
            const struct kg_block *block = i ? whole : part;
            assert_int_equal(kg_block_export(block, (i ? first : 0) + page, at, NULL), KG_OK);
            assert_int_equal(kg_block_index_export(block, (i ? first : 0) + page, at + bytes, &indexed[i], NULL), KG_OK);
            if (i)
                assert_true(indexed[0] == indexed[1] && memcmp(room, at, bytes + index) == 0);
        }
    free(room);
}

static void a_part_is_pages_of_another_block(void **state)
{
    struct world *w = *state;
    static const struct { uint32_t page, count, other, ready; } cases[] = {
        { 0, 64, TOKENS, 64 }, { 3, 128, TOKENS, 128 }, { 20, TOKENS - 3 - 640, TOKENS, TOKENS - 3 - 640 }, { 20, TOKENS - 640, TOKENS, TOKENS - 3 - 640 },
        { 31, 5, TOKENS, 5 }, { 3, 128, 40, 40 }, { 3, 128, 0, 0 }, { 32, 10, TOKENS, 0 }, { 4000, 64, TOKENS, 0 },
    };
    for (size_t i = 0; i < 2 * sizeof cases / sizeof *cases; i++) {
        uint32_t ready = 0;
        struct kg_block *part = part_of(w, cases[i / 2].page, cases[i / 2].count, cases[i / 2].other);
        assert_int_equal(kv_block_load(w->store, part, i % 2, &ready, NULL), KG_OK);
        assert_int_equal(ready, cases[i / 2].ready);
        assert_int_equal(kg_kv_store_save(w->store, part, &kv_label, NULL), KG_OK);
        assert_int_equal(offer(w, 3), TOKENS - 3);
        has_pages_of(part, w->blocks[3], cases[i / 2].page);
        assert_int_equal(take(w, 3), TOKENS - 3);
        kg_block_release(part);
        reopen(w);
    }
    uint64_t checked = 0, bad = 0;
    assert_int_equal(kg_kv_store_verify(w->store, &checked, &bad, NULL), KG_OK);
    assert_true(checked == BLOCKS && bad == 0); /* nothing was added */
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(blocks_come_in_any_order),
        TEST(what_is_unknown_is_not_promised),
        TEST(what_is_let_go_writes_nowhere),
        TEST(damage_is_found_before_use),
        TEST(what_is_removed_meanwhile_is_missing),
        TEST(what_grows_meanwhile_is_taken),
        TEST(saving_and_removing_go_on_beside),
        TEST(a_block_is_used_only_when_it_is_there),
        TEST(a_part_is_pages_of_another_block),
    };
    return cmocka_run_group_tests(tests, NULL, free_stored);
}
