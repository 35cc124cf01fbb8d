#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

/* The sequence's own source over a forward pass that only notes what it was asked for. */
#define kg_model_forward noted_forward
#define kg_model_shape noted_shape
#include "engine/context/sequence.c"

#include "tests/unit/kv_memory.h"

static const struct kg_kv_shape kv_shape = { .layers = 2, .kv_heads = 1, .head_size = 4 };
static const struct kg_model_shape model_shape = { .name = "noted", .vocabulary = 5000, .trained_length = 3000 };

#define PASSES 64
static struct {
    struct kg_pass pass;
    struct kg_span spans[8];
    int32_t first_id, last_id;
    bool logits;
} passes[PASSES];
static int pass_count, passes_left;

const struct kg_model_shape *kg_model_shape(const struct kg_model *model)
{
    (void)model;
    return &model_shape;
}

enum kg_status kg_model_forward(struct kg_model *model, struct kg_kv *kv, const struct kg_pass *pass, float *logits,
                                struct kg_error *err)
{
    (void)model;
    (void)kv;
    assert_true(pass_count < PASSES && pass->span_count <= 8 && pass->rows >= 1 && pass->rows <= KG_ROWS_MAX);
    if (passes_left == 0)
        return kg_fail(err, KG_ERR_CANCELLED, "stopped");
    if (passes_left > 0)
        passes_left--;
    passes[pass_count].pass = *pass;
    memcpy(passes[pass_count].spans, pass->spans, pass->span_count * sizeof *pass->spans);
    passes[pass_count].first_id = pass->ids[0];
    passes[pass_count].last_id = pass->ids[pass->rows - 1];
    passes[pass_count++].logits = logits != NULL;
    if (logits)
        logits[0] = (float)pass->ids[pass->rows - 1];
    return KG_OK;
}

struct world {
    struct kg_pool *pool;
    struct kg_sequence *sequence;
    struct kg_reading reading;
    int batches;
};

static int set_up(void **state)
{
    struct world *w = calloc(1, sizeof *w);
    assert_int_equal(kg_pool_create(&kv_memory_backend, NULL, &kv_shape, &w->pool, NULL), KG_OK);
    assert_int_equal(kg_sequence_create(4000, &w->sequence, NULL), KG_OK);
    w->reading.pool = w->pool;
    pass_count = 0;
    passes_left = -1;
    *state = w;
    return 0;
}

static int tear_down(void **state)
{
    struct world *w = *state;
    kg_sequence_free(w->sequence);
    assert_int_equal(kg_pool_pages_used(w->pool), 0);
    kg_pool_free(w->pool);
    free(w);
    return 0;
}

/* A block of ids first, first + 1, ... that only the sequence keeps. */
static struct kg_block *add(struct world *w, int32_t local, int32_t first, uint32_t tokens)
{
    static const struct kg_digest key;
    struct kg_block *block = NULL;
    int32_t ids[4000];
    for (uint32_t i = 0; i < tokens; i++)
        ids[i] = first + (int32_t)i;
    assert_int_equal(kg_block_create(w->pool, KG_BLOCK_FILE, &key, local, ids, tokens, &block, NULL), KG_OK);
    assert_int_equal(kg_sequence_append(w->sequence, block, NULL), KG_OK);
    kg_block_release(block);
    return block;
}

static void every_batch_is_whole_pages_but_the_last(void **state)
{
    struct world *w = *state;
    struct kg_block *block = add(w, 0, 100, 1100);
    float logits[1] = { 0 };
    assert_int_equal(kg_sequence_read(w->sequence, 0, 10, &w->reading, NULL, NULL), KG_OK);
    assert_int_equal(kg_sequence_read(w->sequence, 0, 1100, &w->reading, logits, NULL), KG_OK);
    assert_int_equal(pass_count, 4);
    const uint32_t firsts[] = { 0, 10, 512, 1024 }, rows[] = { 10, 502, 512, 76 };
    for (int i = 0; i < 4; i++) {
        assert_int_equal(passes[i].pass.first, firsts[i]);
        assert_int_equal(passes[i].pass.rows, rows[i]);
        assert_int_equal(passes[i].pass.position, firsts[i]);
        assert_int_equal(passes[i].first_id, 100 + firsts[i]);
        assert_int_equal(passes[i].pass.span_count, 1);
        assert_int_equal(passes[i].spans[0].tokens, firsts[i] + rows[i]);
        assert_int_equal(passes[i].spans[0].base, 0);
        assert_int_equal(passes[i].logits, i == 3);
        assert_int_equal(passes[i].pass.logits_from, i == 3 ? 75 : rows[i]);
    }
    assert_int_equal((int)logits[0], 1199);
    assert_int_equal(kg_block_ready(block), 1100);
}

static void a_block_sees_what_is_ready_before_it(void **state)
{
    struct world *w = *state;
    struct kg_block *preamble = add(w, 0, 0, 40);
    struct kg_block *file = add(w, 40, 0, 100);
    add(w, 40, 0, 50); /* never read: not seen */
    struct kg_block *turn = add(w, 190, 0, 30);
    assert_int_equal(kg_sequence_read(w->sequence, 0, 40, &w->reading, NULL, NULL), KG_OK);
    assert_int_equal(kg_sequence_read(w->sequence, 1, 64, &w->reading, NULL, NULL), KG_OK);
    assert_int_equal(kg_sequence_read(w->sequence, 3, 30, &w->reading, NULL, NULL), KG_OK);
    const struct kg_span *spans = passes[2].spans;
    assert_int_equal(passes[2].pass.span_count, 3);
    assert_int_equal(passes[2].pass.position, 190);
    assert_int_equal(passes[2].pass.local, 190);
    assert_ptr_equal(spans[0].pages, kg_block_pages(preamble));
    assert_int_equal(spans[0].tokens, 40);
    assert_ptr_equal(spans[1].pages, kg_block_pages(file));
    assert_int_equal(spans[1].tokens, 64);
    assert_int_equal(spans[1].base, 40);
    assert_int_equal(spans[1].local, 40);
    assert_ptr_equal(spans[2].pages, kg_block_pages(turn));
    assert_int_equal(spans[2].tokens, 30);
    assert_int_equal(spans[2].base, 190);
    assert_ptr_equal(passes[2].pass.pages, kg_block_pages(turn));
}

static void the_same_block_stands_at_two_places(void **state)
{
    struct world *w = *state;
    add(w, 0, 0, 40);
    struct kg_block *file = add(w, 40, 0, 100);
    struct kg_sequence *other = NULL;
    assert_int_equal(kg_sequence_create(4000, &other, NULL), KG_OK);
    assert_int_equal(kg_sequence_place(other, file, 1000, NULL), KG_OK);
    assert_int_equal(kg_sequence_base(other, 0), 1000);
    assert_int_equal(kg_sequence_read(other, 0, 100, &w->reading, NULL, NULL), KG_OK);
    assert_int_equal(passes[0].spans[0].base, 1000);
    assert_int_equal(passes[0].spans[0].local, 40);
    kg_sequence_free(other);
    assert_int_equal(kg_block_ready(file), 100);
}

static void a_stopped_reading_leaves_whole_batches(void **state)
{
    struct world *w = *state;
    struct kg_block *block = add(w, 0, 0, 1100);
    passes_left = 1;
    struct kg_error err;
    assert_int_equal(kg_sequence_read(w->sequence, 0, 1100, &w->reading, NULL, &err), KG_ERR_CANCELLED);
    assert_int_equal(kg_block_ready(block), 512);
    assert_int_equal(kg_pool_pages_used(w->pool), 16);
    passes_left = -1;
    assert_int_equal(kg_sequence_read(w->sequence, 0, 1100, &w->reading, NULL, &err), KG_OK);
    assert_int_equal(passes[1].pass.first, 512);
    assert_int_equal(kg_block_ready(block), 1100);
}

static void logits_of_a_token_that_is_ready_are_computed_again(void **state)
{
    struct world *w = *state;
    struct kg_block *block = add(w, 0, 100, 70);
    float logits[1] = { 0 };
    assert_int_equal(kg_sequence_read(w->sequence, 0, 70, &w->reading, NULL, NULL), KG_OK);
    assert_int_equal(kg_sequence_read(w->sequence, 0, 70, &w->reading, NULL, NULL), KG_OK);
    assert_int_equal(pass_count, 1);
    assert_int_equal(kg_sequence_read(w->sequence, 0, 64, &w->reading, logits, NULL), KG_OK);
    assert_int_equal(pass_count, 2);
    assert_int_equal(passes[1].pass.first, 63);
    assert_int_equal(passes[1].pass.rows, 1);
    assert_int_equal(passes[1].spans[0].tokens, 64);
    assert_int_equal((int)logits[0], 163);
    assert_int_equal(kg_block_ready(block), 70);
    passes_left = 0;
    assert_int_equal(kg_sequence_read(w->sequence, 0, 64, &w->reading, logits, NULL), KG_ERR_CANCELLED);
    assert_int_equal(kg_block_ready(block), 63);
}

static enum kg_status stop_after_two(void *ctx, struct kg_block *block, struct kg_error *err)
{
    struct world *w = ctx;
    w->batches++;
    assert_int_equal(kg_block_ready(block), w->batches * 96);
    return w->batches == 2 ? kg_fail(err, KG_ERR_FULL, "enough") : KG_OK;
}

static void after_batch_ends_a_reading(void **state)
{
    struct world *w = *state;
    struct kg_block *block = add(w, 0, 0, 1000);
    w->reading.batch = 100;
    w->reading.after_batch = stop_after_two;
    w->reading.ctx = w;
    struct kg_error err;
    assert_int_equal(kg_sequence_read(w->sequence, 0, 1000, &w->reading, NULL, &err), KG_ERR_FULL);
    assert_int_equal(kg_block_ready(block), 192);
    assert_int_equal(pass_count, 2);
}

static void nothing_is_placed_behind_the_last_position(void **state)
{
    struct world *w = *state;
    struct kg_error err;
    struct kg_block *block = add(w, 0, 0, 3990);
    assert_int_equal(kg_sequence_append(w->sequence, block, &err), KG_ERR_FULL);
    assert_int_equal(kg_sequence_place(w->sequence, block, 11, &err), KG_ERR_FULL);
    assert_int_equal(kg_sequence_place(w->sequence, block, -1, &err), KG_ERR_RANGE);
    assert_int_equal(kg_sequence_count(w->sequence), 1);
    /* the model was trained for 3,000 positions */
    assert_int_equal(kg_sequence_read(w->sequence, 0, 3000, &w->reading, NULL, &err), KG_OK);
    assert_int_equal(kg_sequence_read(w->sequence, 0, 3001, &w->reading, NULL, &err), KG_ERR_FULL);
    assert_int_equal(kg_block_ready(block), 3000);
}

static void an_answer_that_grows_over_its_limit_is_stopped(void **state)
{
    struct world *w = *state;
    struct kg_error err;
    struct kg_sequence *small = NULL;
    struct kg_block *answer = add(w, 0, 1, 3);
    assert_int_equal(kg_sequence_create(4, &small, NULL), KG_OK);
    assert_int_equal(kg_sequence_append(small, answer, &err), KG_OK);
    assert_int_equal(kg_block_extend(answer, 9, &err), KG_OK);
    assert_int_equal(kg_block_extend(answer, 9, &err), KG_OK);
    assert_int_equal(kg_sequence_read(small, 0, 5, &w->reading, NULL, &err), KG_ERR_FULL);
    assert_int_equal(kg_sequence_read(small, 0, 4, &w->reading, NULL, &err), KG_OK);
    assert_int_equal(kg_sequence_append(small, answer, &err), KG_ERR_FULL);
    kg_sequence_free(small);
}

static void blocks_never_lie_over_each_other(void **state)
{
    struct world *w = *state;
    struct kg_error err;
    struct kg_block *a = add(w, 0, 0, 10);
    struct kg_block *b = add(w, 0, 0, 10);
    struct kg_block *c = add(w, 0, 0, 10);
    assert_int_equal(kg_sequence_end(w->sequence), 30);
    kg_sequence_remove(w->sequence, 1);
    (void)b;
    assert_int_equal(kg_sequence_end(w->sequence), 30);
    assert_int_equal(kg_sequence_tokens(w->sequence), 20);
    assert_int_equal(kg_sequence_base(w->sequence, 1), 20);
    assert_int_equal(kg_sequence_place(w->sequence, a, 5, &err), KG_ERR_RANGE);
    assert_int_equal(kg_sequence_place(w->sequence, a, 11, &err), KG_ERR_RANGE);
    assert_int_equal(kg_sequence_place(w->sequence, a, 20, &err), KG_ERR_RANGE);
    assert_int_equal(kg_sequence_place(w->sequence, a, 10, &err), KG_OK);
    assert_ptr_equal(kg_sequence_block(w->sequence, 1), a);
    assert_ptr_equal(kg_sequence_block(w->sequence, 2), c);
    /* what grew over its neighbour is not read there */
    assert_int_equal(kg_block_extend(a, 1, NULL), KG_OK);
    assert_int_equal(kg_sequence_read(w->sequence, 0, 10, &w->reading, NULL, &err), KG_OK);
    assert_int_equal(kg_sequence_read(w->sequence, 0, 11, &w->reading, NULL, &err), KG_ERR_RANGE);
}

static void ids_of_another_vocabulary_are_refused(void **state)
{
    struct world *w = *state;
    struct kg_error err;
    add(w, 0, 4990, 11);
    assert_int_equal(kg_sequence_read(w->sequence, 0, 10, &w->reading, NULL, &err), KG_OK);
    assert_int_equal(kg_sequence_read(w->sequence, 0, 11, &w->reading, NULL, &err), KG_ERR_RANGE);
    assert_int_equal(pass_count, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(every_batch_is_whole_pages_but_the_last, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_block_sees_what_is_ready_before_it, set_up, tear_down),
        cmocka_unit_test_setup_teardown(the_same_block_stands_at_two_places, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_stopped_reading_leaves_whole_batches, set_up, tear_down),
        cmocka_unit_test_setup_teardown(logits_of_a_token_that_is_ready_are_computed_again, set_up, tear_down),
        cmocka_unit_test_setup_teardown(after_batch_ends_a_reading, set_up, tear_down),
        cmocka_unit_test_setup_teardown(nothing_is_placed_behind_the_last_position, set_up, tear_down),
        cmocka_unit_test_setup_teardown(an_answer_that_grows_over_its_limit_is_stopped, set_up, tear_down),
        cmocka_unit_test_setup_teardown(blocks_never_lie_over_each_other, set_up, tear_down),
        cmocka_unit_test_setup_teardown(ids_of_another_vocabulary_are_refused, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
