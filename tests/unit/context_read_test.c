/* Sequences read by real models: results follow from what a block saw and from nothing else. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/paths.h"
#include "engine/cache/kv_store.h"
#include "engine/state.h"
#include "tests/unit/kv_blocks.h"
#include "tests/unit/model_run.h"
#include "tests/unit/seeded.h"

enum { PREAMBLE = 7, FILE_A = 50, FILE_B = 33, TURN = 30 }; /* the shortest model was trained for 128 positions */

struct world {
    struct kg_gguf *file;
    const struct kg_backend *backend;
    struct kg_device *device;
    struct kg_model *model;
    struct kg_pool *pool;
    uint32_t vocabulary;
    float *logits, *expected;
};

static void open_world(struct world *w, const char *path, const struct kg_backend *backend)
{
    struct kg_error err = { .text = "" };
    const struct kg_device_options options = { .threads = 2 };
    memset(w, 0, sizeof *w);
    w->backend = backend;
    if (kg_gguf_open(path, &w->file, &err) != KG_OK || backend->open(&options, &w->device, &err) != KG_OK ||
        kg_model_load(w->file, backend, w->device, NULL, NULL, &w->model, &err) != KG_OK ||
        kg_pool_create(backend, w->device, &kg_model_shape(w->model)->kv, &w->pool, &err) != KG_OK)
        fail_msg("%s: %s", path, err.text);
    w->vocabulary = kg_model_shape(w->model)->vocabulary;
    w->logits = calloc(w->vocabulary, sizeof *w->logits);
    w->expected = calloc(w->vocabulary, sizeof *w->expected);
}

static void close_world(struct world *w)
{
    assert_int_equal(kg_pool_pages_used(w->pool), 0);
    kg_pool_free(w->pool);
    kg_model_free(w->model);
    w->backend->close(w->device);
    kg_gguf_close(w->file);
    free(w->logits);
    free(w->expected);
}

/* A block of random ids; the same for the same number. */
static struct kg_block *block_of(struct world *w, uint64_t number, int32_t local, uint32_t tokens)
{
    struct kg_block *block = NULL;
    struct kg_digest key = kg_digest_of(&number, sizeof number);
    int32_t ids[512];
    for (uint32_t i = 0; i < tokens; i++)
        ids[i] = (int32_t)seeded_below(&number, w->vocabulary);
    assert_int_equal(kg_block_create(w->pool, KG_BLOCK_FILE, &key, local, ids, tokens, &block, NULL), KG_OK);
    return block;
}

static void read_block(struct world *w, struct kg_sequence *sequence, size_t index, uint32_t batch, float *logits)
{
    struct kg_error err = { .text = "" };
    struct kg_reading reading = { .model = w->model, .pool = w->pool, .batch = batch };
    if (kg_sequence_read(sequence, index, kg_block_tokens(kg_sequence_block(sequence, index)), &reading, logits, &err) != KG_OK)
        fail_msg("%s", err.text);
}

static struct kg_sequence *new_sequence(void)
{
    struct kg_sequence *sequence = NULL;
    assert_int_equal(kg_sequence_create(512, &sequence, NULL), KG_OK);
    return sequence;
}

static void assert_same_logits(const struct world *w)
{
    assert_memory_equal(w->logits, w->expected, w->vocabulary * sizeof *w->logits);
}

static void assert_same_pages(const struct kg_block *a, const struct kg_block *b)
{
    const struct kg_kv_shape *shape = kg_pool_shape(kg_block_pool(a));
    size_t bytes = KG_KV_PAGE_BYTES(shape), strip = (size_t)KG_PAGE * shape->head_size * 2;
    uint8_t *x = malloc(bytes), *y = malloc(bytes);
    assert_int_equal(kg_block_ready(a), kg_block_ready(b));
    for (uint32_t page = 0; page * KG_PAGE < kg_block_ready(a); page++) {
        uint32_t left = kg_block_ready(a) - page * KG_PAGE, used = left < KG_PAGE ? left : KG_PAGE;
        assert_int_equal(kg_block_export(a, page, x, NULL), KG_OK);
        assert_int_equal(kg_block_export(b, page, y, NULL), KG_OK);
        for (size_t at = 0; at < bytes; at += strip)
            assert_memory_equal(x + at, y + at, used * shape->head_size * 2);
    }
    free(x);
    free(y);
}

/* preamble, two files, a turn: the files are read alone when `alone`, else as a chain. */
static struct kg_sequence *conversation(struct world *w, uint32_t batch, bool alone, float *logits)
{
    struct kg_sequence *sequence = new_sequence();
    struct kg_block *blocks[4] = { block_of(w, 1, 0, PREAMBLE), block_of(w, 2, PREAMBLE, FILE_A),
                                   block_of(w, 3, alone ? PREAMBLE : PREAMBLE + FILE_A, FILE_B),
                                   block_of(w, 4, PREAMBLE + FILE_A + FILE_B, TURN) };
    for (size_t i = 0; i < 4; i++) {
        assert_int_equal(kg_sequence_append(sequence, blocks[i], NULL), KG_OK);
        if (alone && i == 2) {
            struct kg_sequence *own = new_sequence();
            assert_int_equal(kg_sequence_append(own, blocks[0], NULL), KG_OK);
            assert_int_equal(kg_sequence_append(own, blocks[2], NULL), KG_OK);
            read_block(w, own, 1, batch, NULL);
            kg_sequence_free(own);
        } else {
            read_block(w, sequence, i, batch, i == 3 ? logits : NULL);
        }
        kg_block_release(blocks[i]);
    }
    return sequence;
}

static void batches_change_nothing(struct world *w)
{
    static const uint32_t batches[] = { 0, 1, 5, 32, 33, 64 };
    for (int alone = 0; alone < 2; alone++) {
        struct kg_sequence *first = conversation(w, 0, alone, w->expected);
        for (size_t i = 1; i < sizeof batches / sizeof *batches; i++) {
            struct kg_sequence *other = conversation(w, batches[i], alone, w->logits);
            assert_same_logits(w);
            for (size_t k = 0; k < 4; k++)
                assert_same_pages(kg_sequence_block(first, k), kg_sequence_block(other, k));
            kg_sequence_free(other);
        }
        kg_sequence_free(first);
    }
}

/* A chain of blocks is one text cut up: only sums are in another order. */
static void a_chain_is_one_text(struct world *w)
{
    struct kg_sequence *whole = new_sequence(), *chain = conversation(w, 0, false, w->logits);
    int32_t ids[PREAMBLE + FILE_A + FILE_B + TURN];
    uint32_t count = 0;
    struct kg_block *block = NULL;
    static const struct kg_digest key;
    for (size_t i = 0; i < kg_sequence_count(chain); i++) {
        const struct kg_block *part = kg_sequence_block(chain, i);
        memcpy(ids + count, kg_block_ids(part), kg_block_tokens(part) * sizeof *ids);
        count += kg_block_tokens(part);
    }
    assert_int_equal(kg_block_create(w->pool, KG_BLOCK_FILE, &key, 0, ids, count, &block, NULL), KG_OK);
    assert_int_equal(kg_sequence_append(whole, block, NULL), KG_OK);
    kg_block_release(block);
    read_block(w, whole, 0, 0, w->expected);
    for (uint32_t i = 0; i < w->vocabulary; i++)
        if (w->logits[i] - w->expected[i] > 1e-4f || w->expected[i] - w->logits[i] > 1e-4f)
            fail_msg("logit %u is %g in a chain and %g in one text", i, (double)w->logits[i], (double)w->expected[i]);
    kg_sequence_free(whole);
    kg_sequence_free(chain);
}

static atomic_bool stop;

static enum kg_status stop_soon(void *ctx, struct kg_block *block, struct kg_error *err)
{
    (void)ctx;
    (void)block;
    (void)err;
    atomic_store(&stop, true);
    return KG_OK;
}

static void a_stopped_reading_goes_on_to_the_same_end(struct world *w)
{
    struct kg_error err = { .text = "" };
    struct kg_sequence *whole = conversation(w, 0, true, w->expected), *sequence = new_sequence();
    struct kg_block *blocks[3];
    for (size_t i = 0; i < 3; i++) {
        blocks[i] = kg_block_keep(kg_sequence_block(whole, i));
        assert_int_equal(kg_sequence_append(sequence, blocks[i], NULL), KG_OK);
        kg_block_release(blocks[i]);
    }
    struct kg_block *turn = block_of(w, 4, PREAMBLE + FILE_A + FILE_B, TURN);
    assert_int_equal(kg_sequence_append(sequence, turn, NULL), KG_OK);
    struct kg_reading reading = { .model = w->model, .pool = w->pool, .batch = 8, .stop = &stop, .after_batch = stop_soon };
    atomic_store(&stop, false);
    assert_int_equal(kg_sequence_read(sequence, 3, TURN, &reading, w->logits, &err), KG_ERR_CANCELLED);
    assert_int_equal(kg_block_ready(turn), 8);
    read_block(w, sequence, 3, 0, w->logits);
    assert_same_logits(w);
    /* and again, for the logits of a token that was read long ago */
    memset(w->logits, 0, w->vocabulary * sizeof *w->logits);
    read_block(w, sequence, 3, 0, w->logits);
    assert_same_logits(w);
    kg_block_release(turn);
    kg_sequence_free(sequence);
    kg_sequence_free(whole);
}

/* A block like `was`, out of the store: at once, or offered. */
static struct kg_block *stored_block(struct world *w, struct kg_kv_store *store, const struct kg_block *was, bool offered)
{
    struct kg_block *block = NULL;
    struct kg_error err = { .text = "" };
    uint32_t known = 0;
    assert_int_equal(kg_block_create(w->pool, kg_block_kind(was), kg_block_key(was), kg_block_local(was), kg_block_ids(was), kg_block_tokens(was), &block,
                                     &err), KG_OK);
    assert_int_equal((offered ? kg_kv_store_offer : kg_kv_store_load)(store, block, &known, &err), KG_OK);
    assert_int_equal(known, kg_block_ready(was));
    if (!offered)
        assert_same_pages(was, block);
    return block;
}

/* The conversation reopened, its blocks asked for in this order, answers bit for bit as it did. */
static void reopened(struct world *w, struct kg_kv_store *store, const struct kg_sequence *first, const size_t order[4], bool offered)
{
    struct kg_sequence *again = new_sequence();
    struct kg_block *blocks[4];
    for (size_t i = 0; i < 4; i++)
        blocks[order[i]] = stored_block(w, store, kg_sequence_block(first, order[i]), offered);
    for (size_t i = 0; i < 4; i++) {
        assert_int_equal(kg_sequence_append(again, blocks[i], NULL), KG_OK);
        kg_block_release(blocks[i]);
    }
    memset(w->logits, 0, w->vocabulary * sizeof *w->logits);
    read_block(w, again, 3, 0, w->logits);
    assert_same_logits(w);
    for (size_t i = 0; i < 4; i++)
        if (i != 3)
            assert_same_pages(kg_sequence_block(first, i), kg_sequence_block(again, i));
    kg_sequence_free(again);
}

/* Every block of a conversation goes through kv.db; what comes back answers bit for bit alike, in whatever order it comes. */
static void what_was_stored_answers_alike(struct world *w)
{
    static const size_t orders[][4] = { { 0, 1, 2, 3 }, { 3, 2, 1, 0 }, { 2, 0, 3, 1 } };
    char directory[256];
    struct kg_kv_store *store = NULL;
    struct kg_error err = { .text = "" };
    snprintf(directory, sizeof directory, "%s", kv_directory_make());
    assert_int_equal(kg_kv_store_open(directory, 0, &store, &err), KG_OK);
    struct kg_sequence *first = conversation(w, 0, true, w->expected);
    for (size_t i = 0; i < 4; i++) {
        struct kg_block *block = kg_sequence_block(first, i);
        if (i == 3)
            kg_block_set_ready(block, TURN - 3); /* as if a process had died */
        assert_int_equal(kg_kv_store_save(store, block, &kv_label, &err), KG_OK);
    }
    for (size_t i = 0; i < 2 * sizeof orders / sizeof *orders; i++) {
        kg_kv_store_close(store);
        assert_int_equal(kg_kv_store_open(directory, 0, &store, &err), KG_OK);
        reopened(w, store, first, orders[i / 2], i % 2);
    }
    kg_kv_store_close(store);
    kg_sequence_free(first);
    kv_directory_remove(directory);
}

/* A file behind another one, and behind a gap, is the same block: its own bytes do not move. */
static void a_block_is_read_once_for_all_places(struct world *w)
{
    struct kg_sequence *at_home = new_sequence(), *moved = new_sequence();
    struct kg_block *preamble = block_of(w, 1, 0, PREAMBLE), *file = block_of(w, 2, PREAMBLE, FILE_A), *same = block_of(w, 2, PREAMBLE, FILE_A);
    assert_int_equal(kg_sequence_append(at_home, preamble, NULL), KG_OK);
    assert_int_equal(kg_sequence_append(at_home, file, NULL), KG_OK);
    read_block(w, at_home, 0, 0, NULL);
    read_block(w, at_home, 1, 0, NULL);
    /* the preamble moves along, so that every distance is the same */
    assert_int_equal(kg_sequence_place(moved, preamble, 60, NULL), KG_OK);
    assert_int_equal(kg_sequence_place(moved, same, 60 + PREAMBLE, NULL), KG_OK);
    read_block(w, moved, 1, 0, NULL);
    assert_same_pages(file, same);
    kg_block_release(preamble);
    kg_block_release(file);
    kg_block_release(same);
    kg_sequence_free(at_home);
    kg_sequence_free(moved);
}

/* How far apart the logits of a turn are behind texts that differ in where their keys are stored for, at most. */
static double difference(struct world *w, struct kg_sequence *a, struct kg_sequence *b)
{
    struct kg_sequence *both[2] = { a, b };
    float *logits[2] = { w->logits, w->expected };
    double most = 0;
    for (int i = 0; i < 2; i++) {
        struct kg_block *turn = block_of(w, 4, PREAMBLE, TURN);
        assert_int_equal(kg_sequence_place(both[i], turn, 90, NULL), KG_OK);
        kg_block_release(turn);
        read_block(w, both[i], kg_sequence_count(both[i]) - 1, 0, logits[i]);
        kg_sequence_free(both[i]);
    }
    for (uint32_t i = 0; i < w->vocabulary; i++)
        most = fmax(most, fabs((double)w->logits[i] - (double)w->expected[i]));
    return most;
}

/* preamble and a file whose keys are stored for `local`; it stands at `base` afterwards. */
static struct kg_sequence *file_for(struct world *w, int32_t local, int32_t base)
{
    struct kg_sequence *own = new_sequence(), *out = new_sequence();
    struct kg_block *preamble = block_of(w, 1, 0, PREAMBLE), *file = block_of(w, 2, local, FILE_A);
    assert_int_equal(kg_sequence_append(own, preamble, NULL), KG_OK);
    assert_int_equal(kg_sequence_append(own, file, NULL), KG_OK);
    read_block(w, own, 0, 0, NULL);
    read_block(w, own, 1, 0, NULL);
    assert_int_equal(kg_sequence_append(out, preamble, NULL), KG_OK);
    assert_int_equal(kg_sequence_place(out, file, base, NULL), KG_OK);
    kg_block_release(preamble);
    kg_block_release(file);
    kg_sequence_free(own);
    return out;
}

/* The file behind the preamble in two pieces: its first page, and the rest for the positions that it was read at. */
static struct kg_sequence *in_pieces(struct world *w)
{
    struct kg_sequence *whole = file_for(w, PREAMBLE, PREAMBLE), *out = new_sequence();
    const struct kg_block *file = kg_sequence_block(whole, 1);
    assert_int_equal(kg_sequence_append(out, kg_sequence_block(whole, 0), NULL), KG_OK);
    for (uint32_t from = 0, count = KG_PAGE; from < FILE_A; from += count, count = FILE_A - from) {
        struct kg_block *piece = NULL;
        assert_int_equal(kg_block_create(w->pool, KG_BLOCK_FILE, kg_block_key(file), PREAMBLE + (int32_t)from, kg_block_ids(file) + from, count, &piece, NULL),
                         KG_OK);
        assert_int_equal(kg_pages_copy(file, from / KG_PAGE, piece, count, NULL), KG_OK);
        assert_int_equal(kg_sequence_append(out, piece, NULL), KG_OK);
        kg_block_release(piece);
    }
    kg_sequence_free(whole);
    return out;
}

/* Queries are turned to where a piece stands, wherever its keys were stored for. */
static void pieces_of_a_reading_are_the_reading(struct world *w)
{
    const double pieces = difference(w, in_pieces(w), file_for(w, PREAMBLE, PREAMBLE));
    const double moved = difference(w, file_for(w, PREAMBLE + 21, PREAMBLE + 11), file_for(w, PREAMBLE, PREAMBLE + 11)); /* keys are rounded */
    const double wrong = difference(w, file_for(w, PREAMBLE, PREAMBLE + 12), file_for(w, PREAMBLE, PREAMBLE + 11));
    assert_true(pieces < 1e-4 && moved < 1e-2 && wrong > 100 * moved);
}

static void all_of_it(const char *path, const struct kg_backend *backend)
{
    struct world w;
    open_world(&w, path, backend);
    batches_change_nothing(&w);
    a_chain_is_one_text(&w);
    a_stopped_reading_goes_on_to_the_same_end(&w);
    what_was_stored_answers_alike(&w);
    a_block_is_read_once_for_all_places(&w);
    pieces_of_a_reading_are_the_reading(&w);
    close_world(&w);
}

static void tiny_models_on_ref(void **state)
{
    (void)state;
    all_of_it("tests/golden/tiny/llama.gguf", &kg_backend_ref);
    all_of_it("tests/golden/tiny/qwen2-yarn.gguf", &kg_backend_ref);
    all_of_it("tests/golden/tiny/qwen3.gguf", &kg_backend_ref);
}

static void tiny_models_on_cpu(void **state)
{
    (void)state;
    all_of_it("tests/golden/tiny/llama.gguf", &kg_backend_cpu);
    all_of_it("tests/golden/tiny/qwen2.gguf", &kg_backend_cpu);
    all_of_it("tests/golden/tiny/qwen3.gguf", &kg_backend_cpu);
}

static void a_real_model_on_cpu(void **state)
{
    char path[KG_PATH_MAX];
    (void)state;
    model_path_or_skip("SmolLM2-135M-Instruct.Q4_1.gguf", path);
    struct world w;
    open_world(&w, path, &kg_backend_cpu);
    batches_change_nothing(&w);
    a_stopped_reading_goes_on_to_the_same_end(&w);
    what_was_stored_answers_alike(&w);
    close_world(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tiny_models_on_ref),
        cmocka_unit_test(tiny_models_on_cpu),
        cmocka_unit_test(a_real_model_on_cpu),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
