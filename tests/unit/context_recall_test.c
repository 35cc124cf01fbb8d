/* Readings that look by recall or at line anchors, by real models: what is seen, that cutting changes nothing, thinned blocks, and
 * tokens that are read ahead and taken back. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "engine/anchor/rules.h"
#include "engine/context/block.h"
#include "tests/unit/seeded.h"

enum { PREAMBLE = 7, FILE_A = 150, FILE_B = 83, TURN = 40, TOKENS = PREAMBLE + FILE_A + FILE_B + TURN, VOCABULARY_MAX = 512 };

struct world {
    struct kg_gguf *file;
    const struct kg_backend *backend;
    struct kg_device *device;
    struct kg_model *model;
    struct kg_pool *pool;
    uint32_t vocabulary;
    bool *anchors;
};

static void open_world(struct world *w, const char *path, const struct kg_backend *backend, uint32_t threads)
{
    struct kg_error err = { .text = "" };
    const struct kg_device_options options = { .threads = threads };
    memset(w, 0, sizeof *w);
    w->backend = backend;
    if (kg_gguf_open(path, &w->file, &err) != KG_OK || backend->open(&options, &w->device, &err) != KG_OK ||
        kg_model_load(w->file, backend, w->device, NULL, NULL, &w->model, &err) != KG_OK)
        fail_msg("%s: %s", path, err.text);
    struct kg_kv_shape shape = kg_model_shape(w->model)->kv;
    shape.index_bits = shape.head_size < 16 ? 4 : 2;
    assert_int_equal(kg_pool_create(backend, w->device, &shape, &w->pool, &err), KG_OK);
    w->vocabulary = kg_model_shape(w->model)->vocabulary;
    w->anchors = calloc(w->vocabulary, sizeof *w->anchors);
    for (uint32_t id = 0; id < w->vocabulary; id += 9)
        w->anchors[id] = true;
}

static void close_world(struct world *w)
{
    assert_int_equal(kg_pool_pages_used(w->pool), 0);
    kg_pool_free(w->pool);
    kg_model_free(w->model);
    w->backend->close(w->device);
    kg_gguf_close(w->file);
    free(w->anchors);
}

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

/* Logits behind all tokens of the turn. */
struct answer {
    uint32_t vocabulary;
    float logits[TURN * VOCABULARY_MAX];
};

static enum kg_status take(void *ctx, uint32_t token, const float *logits, struct kg_error *err)
{
    struct answer *answer = ctx;
    (void)err;
    assert_true(token < TURN && answer->vocabulary <= VOCABULARY_MAX);
    memcpy(answer->logits + (size_t)token * answer->vocabulary, logits, answer->vocabulary * sizeof *logits);
    return KG_OK;
}

static void read_all(struct world *w, const struct kg_sequence *sequence, size_t index, uint32_t batch, const struct kg_look *look, bool anchors,
                     struct answer *answer)
{
    struct kg_error err = { .text = "" };
    struct kg_reading reading = { .model = w->model, .pool = w->pool, .batch = batch, .look = look, .anchors = anchors ? w->anchors : NULL };
    if (answer) {
        answer->vocabulary = w->vocabulary;
        reading.scored = take;
        reading.ctx = answer;
    }
    if (kg_sequence_read(sequence, index, kg_block_tokens(kg_sequence_block(sequence, index)), &reading, NULL, &err) != KG_OK)
        fail_msg("%s", err.text);
}

/* preamble, two files read alone, the second behind a gap. The first one is read through its anchors and thinned if asked for. */
static struct kg_sequence *files(struct world *w, uint32_t batch, bool thin)
{
    struct kg_sequence *sequence = NULL;
    struct kg_look look = { .sinks = PREAMBLE, .window = 64, .k = 1 };
    struct kg_block *blocks[3] = { block_of(w, 1, 0, PREAMBLE), block_of(w, 2, PREAMBLE, FILE_A), block_of(w, 3, PREAMBLE, FILE_B) };
    int32_t bases[3] = { 0, PREAMBLE, PREAMBLE + FILE_A + 11 };
    assert_int_equal(kg_sequence_create(512, &sequence, NULL), KG_OK);
    for (size_t i = 0; i < 3; i++) {
        struct kg_sequence *own = NULL;
        assert_int_equal(kg_sequence_create(512, &own, NULL), KG_OK);
        if (i)
            assert_int_equal(kg_sequence_append(own, blocks[0], NULL), KG_OK);
        w->anchors[kg_block_ids(blocks[1])[FILE_A - 1]] = true; /* its last token stays in any case */
        assert_int_equal(kg_sequence_append(own, blocks[i], NULL), KG_OK);
        if (thin && i == 1) {
            uint32_t *kept = NULL, count = 0;
            assert_int_equal(kg_line_anchors_in(w->anchors, kg_block_ids(blocks[i]), FILE_A, &kept, &count, NULL), KG_OK);
            assert_int_equal(kg_block_set_kept(blocks[i], kept, count, NULL), KG_OK);
            free(kept);
        }
        read_all(w, own, i ? 1 : 0, batch, thin && i == 1 ? &look : NULL, thin && i == 1, NULL);
        if (thin && i == 1)
            assert_int_equal(kg_block_thin(blocks[i], NULL), KG_OK);
        kg_sequence_free(own);
        assert_int_equal(kg_sequence_place(sequence, blocks[i], bases[i], NULL), KG_OK);
        kg_block_release(blocks[i]);
    }
    return sequence;
}

static void ask(struct world *w, struct kg_sequence *sequence, uint32_t batch, const struct kg_look *look, bool anchors, struct answer *answer)
{
    struct kg_block *turn = block_of(w, 4, PREAMBLE + FILE_A + FILE_B, TURN);
    assert_int_equal(kg_sequence_append(sequence, turn, NULL), KG_OK);
    read_all(w, sequence, 3, batch, look, anchors, answer);
    kg_sequence_remove(sequence, 3);
    kg_block_release(turn);
}

static double difference(const struct answer *a, const struct answer *b)
{
    double most = 0;
    for (size_t i = 0; i < (size_t)TURN * a->vocabulary; i++)
        most = fmax(most, fabs((double)a->logits[i] - (double)b->logits[i]));
    return most;
}

/* With room for everything recall is the full look; with less it is another one; without anything to recall, S and L are left. */
static void recalling_all_is_looking_at_all(struct world *w)
{
    struct answer *full = malloc(sizeof *full), *other = malloc(sizeof *other);
    struct kg_sequence *sequence = files(w, 0, false);
    ask(w, sequence, 0, NULL, false, full);
    ask(w, sequence, 0, &(struct kg_look){ .sinks = 4, .window = 64, .k = TOKENS }, false, other);
    assert_true(difference(full, other) < 2e-4);
    ask(w, sequence, 0, &(struct kg_look){ .sinks = 4, .window = 64, .k = 8 }, false, other);
    assert_true(difference(full, other) > 2e-3);
    ask(w, sequence, 0, &(struct kg_look){ .sinks = 4, .window = 400, .k = 1 }, false, other);
    assert_true(difference(full, other) < 2e-4);
    kg_sequence_free(sequence);
    free(full);
    free(other);
}

static void cutting_changes_nothing(struct world *w)
{
    static const uint32_t batches[] = { 1, 7, 32, 33 };
    struct answer *whole = malloc(sizeof *whole), *cut = malloc(sizeof *cut);
    struct kg_look look = { .sinks = PREAMBLE, .window = 64, .k = 12 };
    for (int anchors = 0; anchors < 2; anchors++) {
        struct kg_sequence *sequence = files(w, 0, anchors);
        ask(w, sequence, 0, &look, anchors, whole);
        for (size_t i = 0; i < sizeof batches / sizeof *batches; i++) {
            struct kg_sequence *other = files(w, batches[i], anchors);
            ask(w, other, batches[i], &look, anchors, cut);
            assert_memory_equal(whole->logits, cut->logits, (size_t)TURN * w->vocabulary * sizeof(float));
            kg_sequence_free(other);
        }
        kg_sequence_free(sequence);
    }
    free(whole);
    free(cut);
}

/* Looking at line anchors is one thing, whether the other tokens are still there or not. */
static void a_thinned_block_answers_alike(struct world *w)
{
    struct answer *thinned = malloc(sizeof *thinned), *masked = malloc(sizeof *masked);
    struct kg_look look = { .sinks = PREAMBLE, .window = 64, .k = 1 };
    struct kg_sequence *thin = files(w, 0, true), *whole = files(w, 0, false);
    /* the same reading, not thinned */
    struct kg_sequence *own = NULL, *sequence = NULL;
    struct kg_block *file = block_of(w, 2, PREAMBLE, FILE_A);
    assert_int_equal(kg_sequence_create(512, &own, NULL), KG_OK);
    assert_int_equal(kg_sequence_create(512, &sequence, NULL), KG_OK);
    assert_int_equal(kg_sequence_append(own, kg_sequence_block(whole, 0), NULL), KG_OK);
    assert_int_equal(kg_sequence_append(own, file, NULL), KG_OK);
    read_all(w, own, 1, 0, &look, true, NULL);
    for (size_t i = 0; i < 3; i++)
        assert_int_equal(kg_sequence_place(sequence, i == 1 ? file : kg_sequence_block(whole, i), kg_sequence_base(whole, i), NULL), KG_OK);
    uint32_t kept = kg_block_held(kg_sequence_block(thin, 1));
    assert_true(kept > 10 && kept < FILE_A / 4);
    ask(w, thin, 0, &look, true, thinned);
    ask(w, sequence, 0, &look, true, masked);
    assert_true(difference(thinned, masked) < 2e-4);
    ask(w, sequence, 0, NULL, false, thinned);
    assert_true(difference(thinned, masked) > 2e-3);
    kg_block_release(file);
    kg_sequence_free(own);
    kg_sequence_free(sequence);
    kg_sequence_free(thin);
    kg_sequence_free(whole);
    free(thinned);
    free(masked);
}

/* What there is of a growing block when it has so many tokens: logits behind the last one, and all that is kept of it. */
enum { GROWN_PAGES = (TURN + KG_PAGE - 1) / KG_PAGE };
struct grown {
    float logits[VOCABULARY_MAX];
    uint8_t *pages, *index;
    uint32_t indexed[GROWN_PAGES];
};

static void keep_grown(struct world *w, const struct kg_block *block, const float *logits, struct grown *out)
{
    const struct kg_kv_shape *shape = kg_pool_shape(w->pool);
    const size_t page_bytes = KG_KV_PAGE_BYTES(shape), slot = (size_t)shape->head_size * 2, strips = page_bytes / (slot * KG_PAGE);
    const uint32_t tokens = kg_block_tokens(block);
    assert_int_equal(kg_block_ready(block), tokens);
    memcpy(out->logits, logits, w->vocabulary * sizeof *logits);
    out->pages = calloc(GROWN_PAGES, page_bytes);
    out->index = calloc(GROWN_PAGES, KG_INDEX_PAGE_BYTES(shape));
    for (uint32_t page = 0; page * KG_PAGE < tokens; page++) {
        uint8_t *at = out->pages + page * page_bytes;
        assert_int_equal(kg_block_export(block, page, at, NULL), KG_OK);
        for (uint32_t t = tokens - page * KG_PAGE; t < KG_PAGE; t++) /* nobody has written them */
            for (size_t i = 0; i < strips; i++)
                memset(at + (i * KG_PAGE + t) * slot, 0, slot);
        assert_int_equal(kg_block_index_export(block, page, out->index + page * KG_INDEX_PAGE_BYTES(shape), &out->indexed[page], NULL), KG_OK);
    }
}

static void free_grown(struct grown *grown)
{
    free(grown->pages);
    free(grown->index);
}

static void assert_grown_alike(struct world *w, const struct grown *a, const struct grown *b)
{
    const struct kg_kv_shape *shape = kg_pool_shape(w->pool);
    assert_memory_equal(a->logits, b->logits, w->vocabulary * sizeof *a->logits);
    assert_memory_equal(a->pages, b->pages, GROWN_PAGES * KG_KV_PAGE_BYTES(shape));
    assert_memory_equal(a->index, b->index, GROWN_PAGES * KG_INDEX_PAGE_BYTES(shape));
    assert_memory_equal(a->indexed, b->indexed, sizeof a->indexed);
}

/* Grows a block to all ids of the turn, reading up to `ahead` tokens at once with the last one that is right. Of those that are
 * read ahead some are the turn's and others are not, which are cut off again. */
static void grow(struct world *w, struct kg_sequence *sequence, uint32_t ahead, const struct kg_look *look, bool anchors, struct grown *out)
{
    struct kg_block *turn = block_of(w, 4, PREAMBLE + FILE_A + FILE_B, TURN);
    struct kg_reading reading = { .model = w->model, .pool = w->pool, .look = look, .anchors = anchors ? w->anchors : NULL };
    float *logits = malloc((ahead + 1UL) * w->vocabulary * sizeof *logits);
    uint64_t seed = ahead + 7;
    int32_t ids[TURN];
    memcpy(ids, kg_block_ids(turn), sizeof ids);
    kg_block_cut(turn, 1);
    assert_int_equal(kg_sequence_append(sequence, turn, NULL), KG_OK);
    for (uint32_t right = 1;;) {
        const uint32_t some = ahead ? seeded_below(&seed, ahead + 1) : 0, true_ones = some ? seeded_below(&seed, some + 1) : 0;
        for (uint32_t i = 0; i < some; i++) {
            const int32_t id = right + i < TURN ? ids[right + i] : 0;
            assert_int_equal(kg_block_extend(turn, i < true_ones ? id : (id + 1) % (int32_t)w->vocabulary, NULL), KG_OK);
        }
        reading.last = some + 1;
        assert_int_equal(kg_sequence_read(sequence, 3, right + some, &reading, logits, NULL), KG_OK);
        const uint32_t taken = right + true_ones < TURN ? true_ones : TURN - right;
        kg_block_cut(turn, right + taken);
        assert_int_equal(kg_block_tokens(turn), right + taken);
        keep_grown(w, turn, logits + (size_t)taken * w->vocabulary, &out[right + taken - 1]);
        for (uint32_t i = 0; i < taken; i++)
            memcpy(out[right + i - 1].logits, logits + (size_t)i * w->vocabulary, w->vocabulary * sizeof *logits);
        right += taken;
        if (right == TURN)
            break;
        assert_int_equal(kg_block_extend(turn, ids[right++], NULL), KG_OK);
    }
    kg_sequence_remove(sequence, 3);
    kg_block_release(turn);
    free(logits);
}

static void reading_ahead_changes_nothing(struct world *w)
{
    static const uint32_t aheads[] = { 1, 3, 15, 31 };
    static const struct kg_look recall = { .sinks = PREAMBLE, .window = 64, .k = 12 };
    for (int mode = 0; mode < 3; mode++) { /* everything, recall, anchors */
        struct kg_sequence *sequence = files(w, 0, mode == 2);
        struct grown plain[TURN] = { 0 };
        grow(w, sequence, 0, mode ? &recall : NULL, mode == 2, plain);
        for (size_t i = 0; i < sizeof aheads / sizeof *aheads; i++) {
            struct grown ahead[TURN] = { 0 };
            grow(w, sequence, aheads[i], mode ? &recall : NULL, mode == 2, ahead);
            for (uint32_t t = 0; t < TURN; t++) {
                if (ahead[t].pages)
                    assert_grown_alike(w, &plain[t], &ahead[t]);
                else
                    assert_memory_equal(plain[t].logits, ahead[t].logits, w->vocabulary * sizeof(float));
                free_grown(&ahead[t]);
            }
        }
        for (uint32_t t = 0; t < TURN; t++)
            free_grown(&plain[t]);
        kg_sequence_free(sequence);
    }
}

static void all_of_it(const struct kg_backend *backend, uint32_t threads)
{
    static const char *const paths[] = { "tests/golden/tiny/llama.gguf", "tests/golden/tiny/qwen2.gguf", "tests/golden/tiny/qwen3.gguf" };
    for (size_t i = 0; i < sizeof paths / sizeof *paths; i++) {
        struct world w;
        open_world(&w, paths[i], backend, threads);
        recalling_all_is_looking_at_all(&w);
        cutting_changes_nothing(&w);
        a_thinned_block_answers_alike(&w);
        reading_ahead_changes_nothing(&w);
        close_world(&w);
    }
}

static void tiny_models_on_ref(void **state)
{
    (void)state;
    all_of_it(&kg_backend_ref, 1);
}

static void tiny_models_on_cpu(void **state)
{
    (void)state;
    if (!kg_backend_cpu.choose)
        skip();
    all_of_it(&kg_backend_cpu, 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(tiny_models_on_ref), cmocka_unit_test(tiny_models_on_cpu) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
