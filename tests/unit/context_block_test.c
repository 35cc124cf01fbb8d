#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "engine/context/block.h"
#include "tests/unit/kv_memory.h"

static const struct kg_kv_shape shape = { .layers = 2, .kv_heads = 1, .head_size = 4 };
static const struct kg_digest key = { { 7 } };

static struct kg_pool *new_pool(void)
{
    struct kg_pool *pool = NULL;
    assert_int_equal(kg_pool_create(&kv_memory_backend, NULL, &shape, &pool, NULL), KG_OK);
    return pool;
}

static struct kg_block *new_block(struct kg_pool *pool, uint32_t tokens)
{
    static int32_t ids[4096];
    struct kg_block *block = NULL;
    for (uint32_t i = 0; i < tokens; i++)
        ids[i] = (int32_t)i;
    assert_int_equal(kg_block_create(pool, KG_BLOCK_FILE, &key, 3, ids, tokens, &block, NULL), KG_OK);
    return block;
}

static void a_block_keeps_what_it_was_made_of(void **state)
{
    (void)state;
    struct kg_pool *pool = new_pool();
    int32_t ids[3] = { 5, 6, 7 };
    struct kg_block *block = NULL;
    assert_int_equal(kg_block_create(pool, KG_BLOCK_TURN, &key, 9, ids, 3, &block, NULL), KG_OK);
    ids[0] = 0;
    assert_int_equal(kg_block_ids(block)[0], 5);
    assert_int_equal(kg_block_tokens(block), 3);
    assert_int_equal(kg_block_ready(block), 0);
    assert_int_equal(kg_block_local(block), 9);
    assert_int_equal(kg_block_kind(block), KG_BLOCK_TURN);
    assert_memory_equal(kg_block_key(block), &key, sizeof key);
    assert_ptr_equal(kg_block_pool(block), pool);
    assert_int_equal(kg_pool_pages_used(pool), 0);
    kg_block_release(block);
    kg_pool_free(pool);
}

static void pages_are_taken_when_reserved_and_given_back(void **state)
{
    (void)state;
    struct kg_pool *pool = new_pool();
    struct kg_block *a = new_block(pool, 100), *b = new_block(pool, 33);
    assert_int_equal(kg_block_reserve(a, 100, NULL), KG_OK);
    assert_int_equal(kg_pool_pages_used(pool), 4);
    assert_int_equal(kg_block_reserve(b, 32, NULL), KG_OK);
    assert_int_equal(kg_pool_pages_used(pool), 5);
    assert_int_equal(kg_block_reserve(b, 33, NULL), KG_OK);
    assert_int_equal(kg_pool_pages_used(pool), 6);
    for (int i = 0; i < 4; i++)
        for (int k = 0; k < 2; k++)
            assert_int_not_equal(kg_block_pages(a)[i], kg_block_pages(b)[k]);
    kg_block_set_ready(a, 100);
    kg_block_set_ready(a, 64);
    assert_int_equal(kg_block_ready(a), 64);
    assert_int_equal(kg_pool_pages_used(pool), 4);
    kg_block_set_ready(a, 65 - 32);
    assert_int_equal(kg_pool_pages_used(pool), 4);
    kg_block_release(a);
    assert_int_equal(kg_pool_pages_used(pool), 2);
    kg_block_release(b);
    kg_block_release(NULL);
    assert_int_equal(kg_pool_pages_used(pool), 0);
    kg_pool_free(pool);
}

static void a_kept_block_outlives_its_first_owner(void **state)
{
    (void)state;
    struct kg_pool *pool = new_pool();
    struct kg_block *block = new_block(pool, 40);
    assert_int_equal(kg_block_reserve(block, 40, NULL), KG_OK);
    assert_ptr_equal(kg_block_keep(block), block);
    kg_block_release(block);
    assert_int_equal(kg_pool_pages_used(pool), 2);
    assert_int_equal(kg_block_ids(block)[39], 39);
    kg_block_release(block);
    assert_int_equal(kg_pool_pages_used(pool), 0);
    kg_pool_free(pool);
}

static void a_growing_block_takes_a_page_every_32_tokens(void **state)
{
    (void)state;
    struct kg_pool *pool = new_pool();
    struct kg_block *block = new_block(pool, 0);
    for (int32_t i = 0; i < 500; i++) {
        assert_int_equal(kg_block_extend(block, 1000 + i, NULL), KG_OK);
        assert_int_equal(kg_block_reserve(block, (uint32_t)i + 1, NULL), KG_OK);
        assert_int_equal(kg_pool_pages_used(pool), i / KG_PAGE + 1);
    }
    for (int32_t i = 0; i < 500; i++)
        assert_int_equal(kg_block_ids(block)[i], 1000 + i);
    kg_block_release(block);
    kg_pool_free(pool);
}

static void a_failed_reservation_changes_nothing(void **state)
{
    (void)state;
    struct kg_pool *pool = new_pool();
    struct kg_block *block = new_block(pool, 4000);
    struct kg_error err;
    assert_int_equal(kg_block_reserve(block, 64, NULL), KG_OK);
    kv_memory_reserves_left = 1;
    assert_int_equal(kg_block_reserve(block, 4000, &err), KG_ERR_NOMEM);
    kv_memory_reserves_left = -1;
    assert_int_equal(kg_pool_pages_used(pool), 2);
    assert_int_equal(kg_block_reserve(block, 4000, NULL), KG_OK);
    assert_int_equal(kg_pool_pages_used(pool), 125);
    kg_block_release(block);
    kg_pool_free(pool);
}

static void pages_go_out_and_come_in(void **state)
{
    (void)state;
    struct kg_pool *pool = new_pool();
    struct kg_block *block = new_block(pool, 64);
    unsigned char in[1024], out[sizeof in];
    assert_int_equal(KG_KV_PAGE_BYTES(&shape), sizeof in);
    assert_int_equal(kg_block_reserve(block, 64, NULL), KG_OK);
    for (size_t i = 0; i < sizeof in; i++)
        in[i] = (unsigned char)(i * 7);
    kg_block_import(block, 1, in);
    assert_memory_equal(kv_memory_page(kg_pool_kv(pool), kg_block_pages(block)[1]), in, sizeof in);
    assert_int_equal(kg_block_export(block, 1, out, NULL), KG_OK);
    assert_memory_equal(in, out, sizeof in);
    kg_block_release(block);
    kg_pool_free(pool);
}

static void a_block_behind_the_last_position_is_refused(void **state)
{
    (void)state;
    struct kg_pool *pool = new_pool();
    struct kg_block *block = NULL;
    struct kg_error err;
    int32_t id = 0;
    assert_int_equal(kg_block_create(pool, KG_BLOCK_FILE, &key, -1, &id, 1, &block, &err), KG_ERR_RANGE);
    assert_int_equal(kg_block_create(pool, KG_BLOCK_FILE, &key, INT32_MAX, &id, 1, &block, &err), KG_ERR_RANGE);
    assert_int_equal(kg_block_create(pool, KG_BLOCK_FILE, &key, INT32_MAX, &id, 0, &block, &err), KG_OK);
    assert_int_equal(kg_block_extend(block, 1, &err), KG_ERR_RANGE);
    kg_block_release(block);
    kg_pool_free(pool);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_block_keeps_what_it_was_made_of),
        cmocka_unit_test(pages_are_taken_when_reserved_and_given_back),
        cmocka_unit_test(a_kept_block_outlives_its_first_owner),
        cmocka_unit_test(a_growing_block_takes_a_page_every_32_tokens),
        cmocka_unit_test(a_failed_reservation_changes_nothing),
        cmocka_unit_test(pages_go_out_and_come_in),
        cmocka_unit_test(a_block_behind_the_last_position_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
