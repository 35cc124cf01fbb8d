/* What a forward pass promises beside its numbers: the same bits however it is cut, and errors instead of surprises. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "tests/unit/model_run.h"
#include "tests/unit/tiny_model.h"

#define COUNT 60
static int32_t ids[COUNT];

static void write_tiny(char *path)
{
    struct gguf_writer w;
    const struct tiny_model plain = { 0 };
    tiny_model_keys(&w, &plain);
    tiny_model_tensors(&w, &plain);
    gguf_end(&w);
    gguf_to_file(w.bytes, w.length, path);
    gguf_free(&w);
    for (int i = 0; i < COUNT; i++)
        ids[i] = i * 37 % TINY_VOCABULARY;
}

static void open_tiny(struct model_run *run)
{
    char path[64];
    write_tiny(path);
    model_run_open(run, path, &kg_backend_ref, NULL, TINY_LENGTH);
    unlink(path);
}

static struct kg_pass pass_of(const struct model_run *run, struct kg_span *self, uint32_t rows)
{
    *self = (struct kg_span){ .pages = run->pages, .tokens = rows };
    return (struct kg_pass){ .ids = ids, .rows = rows, .pages = run->pages, .spans = self, .span_count = 1, .logits_from = rows };
}

/* First, before cmocka puts its own action for SIGBUS over the one that the first opened file installs. */
static void a_file_cut_short_is_noticed(void **state)
{
    (void)state;
    char path[64];
    struct kg_gguf *file;
    struct kg_device *device;
    struct kg_model *model;
    struct kg_error err;
    write_tiny(path);
    struct kg_device_options options = { 0 };
    assert_int_equal(kg_gguf_open(path, &file, &err), KG_OK);
    assert_int_equal(kg_backend_ref.open(&options, &device, &err), KG_OK);
    assert_int_equal(truncate(path, 4096), 0);
    assert_int_equal(kg_model_load(file, &kg_backend_ref, device, NULL, NULL, &model, &err), KG_ERR_CHANGED);
    assert_null(model);
    kg_backend_ref.close(device);
    kg_gguf_close(file);
    unlink(path);
}

static void rows_do_not_depend_on_their_company(void **state)
{
    (void)state;
    static const uint32_t chunks[] = { 1, 7, 31, 32, 33, COUNT };
    static float all[COUNT * TINY_VOCABULARY], some[COUNT * TINY_VOCABULARY];
    struct model_run run;
    open_tiny(&run);
    model_run_read(&run, ids, COUNT, COUNT, all, COUNT); /* more rows than the output matrix takes at a time */
    for (size_t i = 0; i < sizeof chunks / sizeof *chunks; i++) {
        model_run_rewind(&run);
        model_run_read(&run, ids, COUNT, chunks[i], some, COUNT);
        assert_memory_equal(all, some, sizeof all);
    }
    for (uint32_t wanted = 1; wanted <= COUNT; wanted += wanted < 4 ? 1 : 13) {
        model_run_rewind(&run);
        model_run_read(&run, ids, COUNT, 32, some, wanted);
        assert_memory_equal(all + (COUNT - wanted) * TINY_VOCABULARY, some, wanted * TINY_VOCABULARY * sizeof *some);
    }
    model_run_close(&run);
}

/* A text read as two blocks, the second in sight of the first, is the text read as one. */
static void two_blocks_are_a_chain(void **state)
{
    (void)state;
    enum { CUT = 23 };
    static float whole[TINY_VOCABULARY], apart[TINY_VOCABULARY];
    struct model_run run;
    struct kg_error err;
    open_tiny(&run);
    model_run_read(&run, ids, COUNT, COUNT, whole, 1);
    const uint32_t first[1] = { 1 }, second[2] = { 2, 0 };
    assert_int_equal(run.backend->kv_reserve(run.device, run.kv, 3, &err), KG_OK);
    struct kg_span spans[2] = { { .pages = first, .tokens = CUT }, { .pages = second, .tokens = COUNT - CUT, .base = CUT, .local = CUT } };
    struct kg_pass pass = { .ids = ids, .rows = CUT, .pages = first, .spans = spans, .span_count = 1, .logits_from = CUT };
    assert_int_equal(kg_model_forward(run.model, run.kv, &pass, NULL, &err), KG_OK);
    pass = (struct kg_pass){ .ids = ids + CUT, .rows = COUNT - CUT, .local = CUT, .position = CUT, .pages = second, .spans = spans, .span_count = 2,
                             .logits_from = COUNT - CUT - 1 };
    assert_int_equal(kg_model_forward(run.model, run.kv, &pass, apart, &err), KG_OK);
    assert_memory_equal(whole, apart, sizeof whole);
    /* the same second block further behind: only distances count, and those to the first block have grown */
    spans[1].base = pass.position = CUT + 4;
    assert_int_equal(kg_model_forward(run.model, run.kv, &pass, apart, &err), KG_OK);
    assert_memory_not_equal(whole, apart, sizeof whole);
    model_run_close(&run);
}

static void what_is_out_of_range_is_refused(void **state)
{
    (void)state;
    struct model_run run;
    struct kg_error err;
    struct kg_span self;
    const int32_t beyond[2] = { 0, TINY_VOCABULARY }, negative[2] = { 0, -1 };
    open_tiny(&run);
    struct kg_pass pass = pass_of(&run, &self, 2);
    assert_int_equal(kg_model_forward(run.model, run.kv, &pass, NULL, &err), KG_OK);
    pass.ids = beyond;
    assert_int_equal(kg_model_forward(run.model, run.kv, &pass, NULL, &err), KG_ERR_RANGE);
    pass.ids = negative;
    assert_int_equal(kg_model_forward(run.model, run.kv, &pass, NULL, &err), KG_ERR_RANGE);
    pass.ids = ids;
    self.base = pass.position = TINY_LENGTH - 2;
    assert_int_equal(kg_model_forward(run.model, run.kv, &pass, NULL, &err), KG_OK);
    self.base = pass.position = TINY_LENGTH - 1;
    assert_int_equal(kg_model_forward(run.model, run.kv, &pass, NULL, &err), KG_ERR_RANGE);
    model_run_close(&run);
}

static int stop_at_once(void *ctx, uint64_t done, uint64_t total)
{
    (void)done, (void)total;
    (*(int *)ctx)++;
    return 1;
}

static int note_progress(void *ctx, uint64_t done, uint64_t total)
{
    uint64_t *seen = ctx;
    assert_true(done > seen[0] && done <= total);
    seen[0] = done;
    seen[1] = total;
    return 0;
}

static void it_can_be_stopped(void **state)
{
    (void)state;
    struct model_run run;
    struct kg_error err;
    struct kg_span self;
    atomic_bool stop = true;
    open_tiny(&run);
    struct kg_pass pass = pass_of(&run, &self, 2);
    pass.stop = &stop;
    assert_int_equal(kg_model_forward(run.model, run.kv, &pass, NULL, &err), KG_ERR_CANCELLED);
    atomic_store(&stop, false);
    assert_int_equal(kg_model_forward(run.model, run.kv, &pass, NULL, &err), KG_OK);
    struct kg_model *other;
    int calls = 0;
    uint64_t seen[2] = { 0 };
    assert_int_equal(kg_model_load(run.file, run.backend, run.device, stop_at_once, &calls, &other, &err), KG_ERR_CANCELLED);
    assert_null(other);
    assert_int_equal(calls, 1);
    assert_int_equal(kg_model_load(run.file, run.backend, run.device, note_progress, seen, &other, &err), KG_OK);
    assert_true(seen[0] == seen[1] && seen[0] > 0);
    assert_true(kg_model_weight_bytes(other) == seen[1] - sizeof(float) * TINY_WIDTH * TINY_VOCABULARY); /* the embedding is not read whole */
    kg_model_free(other);
    model_run_close(&run);
}

/* Row by row, whatever stands in the other rows, and as many as are asked for now. */
static void the_best_logits_are_those_of_all(void **state)
{
    (void)state;
    enum { ROWS = 3, FROM = COUNT - ROWS };
    struct model_run run;
    struct kg_span self;
    struct kg_error err;
    float all[ROWS][TINY_VOCABULARY], values[ROWS * TINY_VOCABULARY];
    int32_t found[ROWS * TINY_VOCABULARY];
    open_tiny(&run);
    struct kg_pass pass = pass_of(&run, &self, COUNT);
    pass.logits_from = FROM;
    assert_int_equal(kg_model_forward(run.model, run.kv, &pass, &all[0][0], &err), KG_OK);
    const uint32_t counts[] = { 2, 5, 5, TINY_VOCABULARY, 1 };
    for (size_t c = 0; c < sizeof counts / sizeof *counts; c++) {
        const struct kg_best best = { counts[c], found, values };
        pass.best = &best;
        assert_int_equal(kg_model_forward(run.model, run.kv, &pass, NULL, &err), KG_OK);
        for (uint32_t r = 0; r < ROWS; r++)
            for (uint32_t i = 0; i < counts[c]; i++) {
                const int32_t id = found[r * counts[c] + i];
                uint32_t before = 0;
                assert_in_range(id, 0, TINY_VOCABULARY - 1);
                assert_true(values[r * counts[c] + i] == all[r][id]);
                for (int32_t other = 0; other < TINY_VOCABULARY; other++)
                    before += all[r][other] > all[r][id] || (all[r][other] == all[r][id] && other < id);
                assert_int_equal(before, i);
            }
    }
    const struct kg_best none = { 0, found, values }, many = { TINY_VOCABULARY + 1, found, values }, two = { 2, found, values };
    pass.best = &none;
    assert_int_equal(kg_model_forward(run.model, run.kv, &pass, NULL, &err), KG_ERR_RANGE);
    pass.best = &many;
    assert_int_equal(kg_model_forward(run.model, run.kv, &pass, NULL, &err), KG_ERR_RANGE);
    pass.best = &two;
    pass.logits_from = COUNT - KG_BEST_ROWS - 1;
    assert_int_equal(kg_model_forward(run.model, run.kv, &pass, NULL, &err), KG_ERR_RANGE);
    model_run_close(&run);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_file_cut_short_is_noticed),
        cmocka_unit_test(rows_do_not_depend_on_their_company),
        cmocka_unit_test(two_blocks_are_a_chain),
        cmocka_unit_test(what_is_out_of_range_is_refused),
        cmocka_unit_test(it_can_be_stopped),
        cmocka_unit_test(the_best_logits_are_those_of_all),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
