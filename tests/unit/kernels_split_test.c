/* A model on two devices computes what it computes on one: every way to share out its layers, everything looked at and recalled,
 * and pages that were read one way serve another. Both devices are the CPU here, so that the bits have to be the same. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "kernels/split/split.h"
#include "tests/unit/model_run.h"

#define PROMPT 77
#define TOKENS 6
#define PAGES  ((PROMPT + TOKENS + KG_PAGE - 1) / KG_PAGE)

static const char *const models[] = { "llama", "llama-f16", "qwen2", "qwen3" };
static const struct kg_look look = { .sinks = 4, .window = 2 * KG_PAGE, .k = 3 };

/* How the next device is opened. */
static uint32_t first_layers, all_layers;

static enum kg_status open_split(const struct kg_device_options *options, struct kg_device **out, struct kg_error *err)
{
    struct kg_split_side sides[2] = { { &kg_backend_cpu, NULL }, { &kg_backend_cpu, NULL } };
    for (int s = 0; s < 2; s++)
        assert_int_equal(sides[s].backend->open(options, &sides[s].device, err), KG_OK);
    return kg_split_open(sides, first_layers, all_layers, out, err);
}

static struct model_run open_run(const char *name, const struct kg_backend *backend, const struct kg_look *of)
{
    static const struct kg_device_options one = { .threads = 1 };
    struct model_run run;
    char path[256];
    snprintf(path, sizeof path, "tests/golden/tiny/%s.gguf", name);
    model_run_open(&run, path, backend, &one, PROMPT + TOKENS);
    run.look = of;
    return run;
}

/* What was read and computed. */
struct trace {
    uint32_t vocabulary, layers, indexed[PAGES];
    size_t page_bytes, index_bytes;
    float *logits; /* (TOKENS, vocabulary) */
    uint8_t *pages, *index;
};

static void decode(struct model_run *run, struct trace *t, uint32_t from)
{
    for (uint32_t i = from; i < TOKENS; i++) {
        const int32_t id = (int32_t)((i * 5 + 3) % t->vocabulary);
        model_run_read(run, &id, 1, 1, t->logits + (size_t)i * t->vocabulary, 1);
    }
}

static void take_shape(const struct model_run *run, struct trace *t)
{
    struct kg_kv_shape shape = kg_model_shape(run->model)->kv;
    shape.index_bits = shape.head_size % 16 == 0 ? 2 : 4;
    t->vocabulary = kg_model_shape(run->model)->vocabulary;
    t->layers = shape.layers;
    t->page_bytes = KG_KV_PAGE_BYTES(&shape);
    t->index_bytes = KG_INDEX_PAGE_BYTES(&shape);
    t->logits = calloc((size_t)TOKENS * t->vocabulary, sizeof *t->logits);
    t->pages = calloc(PAGES, t->page_bytes);
    t->index = calloc(PAGES, t->index_bytes);
    assert_true(t->logits && t->pages && t->index);
}

/* A prompt in two batches, pages taken out, then tokens one by one. */
static void follow(struct model_run *run, struct trace *t)
{
    int32_t prompt[PROMPT];
    struct kg_error err;
    take_shape(run, t);
    for (int32_t i = 0; i < PROMPT; i++)
        prompt[i] = i * 7 % (int32_t)t->vocabulary;
    model_run_read(run, prompt, PROMPT, 50, t->logits, 1);
    for (uint32_t p = 0; p < PAGES; p++) {
        assert_int_equal(run->backend->kv_export(run->device, run->kv, run->pages[p], t->pages + p * t->page_bytes, &err), KG_OK);
        assert_int_equal(run->backend->index_export(run->device, run->kv, run->pages[p], t->index + p * t->index_bytes, &t->indexed[p], &err), KG_OK);
    }
    decode(run, t, 0);
}

static void let_go(struct trace *t)
{
    free(t->logits);
    free(t->pages);
    free(t->index);
}

/* Full pages: what slots hold that nobody wrote is nobody's business. */
static void assert_same(const struct trace *a, const struct trace *b)
{
    const size_t full = PROMPT / KG_PAGE;
    assert_memory_equal(a->logits, b->logits, (size_t)TOKENS * a->vocabulary * sizeof *a->logits);
    assert_memory_equal(a->pages, b->pages, full * a->page_bytes);
    assert_memory_equal(a->index, b->index, full * a->index_bytes);
    assert_memory_equal(a->indexed, b->indexed, sizeof a->indexed);
}

/* The pages of one reading in place of an own one. */
static void go_on(struct model_run *run, const struct trace *from)
{
    struct trace t;
    take_shape(run, &t);
    for (uint32_t p = 0; p < PAGES; p++) {
        run->backend->index_import(run->device, run->kv, run->pages[p], from->index + p * t.index_bytes, from->indexed[p]);
        run->backend->kv_import(run->device, run->kv, run->pages[p], from->pages + p * t.page_bytes);
    }
    run->read = PROMPT;
    decode(run, &t, 0);
    assert_memory_equal(t.logits, from->logits, (size_t)TOKENS * t.vocabulary * sizeof *t.logits);
    let_go(&t);
}

static void check_splits(const char *name, const struct kg_look *of)
{
    struct kg_backend split = kg_backend_split;
    split.open = open_split;
    struct trace whole, shared;
    struct model_run run = open_run(name, &kg_backend_cpu, of);
    follow(&run, &whole);
    all_layers = whole.layers;
    assert_true(all_layers >= 2);
    model_run_close(&run);
    for (first_layers = 0; first_layers < all_layers; first_layers++) {
        run = open_run(name, &split, of);
        follow(&run, &shared);
        assert_same(&shared, &whole);
        model_run_close(&run);
        run = open_run(name, &split, of);
        go_on(&run, &whole);
        model_run_close(&run);
        let_go(&shared);
    }
    let_go(&whole);
}

static void every_split_computes_the_same(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof models / sizeof *models; i++)
        check_splits(models[i], NULL);
}

static void every_split_recalls_the_same(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof models / sizeof *models; i++)
        check_splits(models[i], &look);
}

static void the_split_is_in_its_names(void **state)
{
    (void)state;
    struct kg_device *device;
    struct kg_error err;
    const struct kg_device_options one = { .threads = 1 };
    char before[1024] = "";
    all_layers = 9;
    for (first_layers = 0; first_layers < all_layers; first_layers++) {
        assert_int_equal(open_split(&one, &device, &err), KG_OK);
        assert_string_not_equal(kg_backend_split.numerics(device), before);
        assert_non_null(strstr(kg_backend_split.numerics(device), kg_backend_cpu.numerics(device)));
        assert_non_null(strstr(kg_backend_split.describe(device), "of 9 layers"));
        snprintf(before, sizeof before, "%s", kg_backend_split.numerics(device));
        kg_backend_split.close(device);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_split_computes_the_same),
        cmocka_unit_test(every_split_recalls_the_same),
        cmocka_unit_test(the_split_is_in_its_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
