/* Whole steps, as a model makes them: one layer and a choice of the next token, its operations enqueued without a read
 * between them, the same step again and again with other tokens, positions, pages and views. */
#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/unit/conformance.h"
#include "tests/unit/quantise.h"
#include "tests/unit/seeded.h"

#define WIDTH  256
#define HEADS  6
#define KV     2
#define HEAD   64
#define INNER  512
#define WORDS  300
#define TOKENS 75
#define BEST   4

enum { EMBEDDING, QUERY, KEY, VALUE, OUTPUT, GATE, UP, DOWN, MATRICES };
enum { IDS, STREAM, NORMED, Q, K, V, SEEN, DELTA, GATED, RAISED, LAST, LOGITS, BEST_IDS, BEST_VALUES, NORM, BUFFERS };

static const uint32_t dimensions[MATRICES][2] = { { WORDS, WIDTH },       { HEADS * HEAD, WIDTH }, { KV * HEAD, WIDTH }, { KV * HEAD, WIDTH },
                                                  { WIDTH, HEADS * HEAD }, { INNER, WIDTH },        { INNER, WIDTH },     { WIDTH, INNER } };
static const uint32_t columns[BUFFERS] = { 1, WIDTH, WIDTH, HEADS * HEAD, KV * HEAD, KV * HEAD, HEADS * HEAD, WIDTH, INNER, INNER, 0, 0, 0, 0, 0 };

struct layer {
    struct rig rig;
    struct kg_matrix *w[MATRICES];
    struct kg_buffer *b[BUFFERS];
    struct kg_kv *kv;
    struct kg_view *view;
    struct kg_rope rope;
    struct kg_attention attention;
    uint32_t pages[4]; /* of the growing block */
};

/* What a sequence of steps gave: the stream of every token, and the best words behind the last of each step. */
struct trace {
    float stream[TOKENS][WIDTH];
    int32_t ids[TOKENS][BEST];
    float values[TOKENS][BEST];
};

static enum kg_type type_of(enum kg_type type, size_t matrix)
{
    uint32_t elements = 1, bytes = 0;
    (void)kg_type_layout(type, &elements, &bytes);
    return dimensions[matrix][1] % elements ? KG_Q8_0 : type; /* where no block of 256 fits */
}

static void make_weights(struct layer *l, enum kg_type type)
{
    for (size_t i = 0; i < MATRICES; i++) {
        uint64_t seed = i;
        size_t n = (size_t)dimensions[i][0] * dimensions[i][1];
        enum kg_type own = type_of(type, i);
        double *x = test_alloc(n, sizeof *x);
        void *blocks = test_alloc(quantise_bytes(own, n), 1);
        for (size_t j = 0; j < n; j++)
            x[j] = seeded_normal(&seed) / (i == EMBEDDING ? 1 : sqrt(dimensions[i][1]));
        quantise(own, x, n, blocks);
        unsigned uses = i == EMBEDDING ? KG_USE_ROWS | KG_USE_MATMUL : KG_USE_MATMUL;
        assert_int_equal(l->rig.b->matrix_create(l->rig.d, own, dimensions[i][0], dimensions[i][1], blocks, uses, &l->w[i], NULL), KG_OK);
        free(x);
        free(blocks);
    }
}

/* Page 2 holds a block of 20 tokens that was read elsewhere; the growing block gets pages 5, 1, 4. */
static struct layer *make_layer(const struct variant *variant, uint32_t threads, enum kg_type type)
{
    struct layer *l = test_alloc(1, sizeof *l);
    const struct kg_kv_shape shape = { .layers = 1, .kv_heads = KV, .head_size = HEAD };
    *l = (struct layer){ .rig = rig_open(variant, threads), .rope = { .layout = KG_ROPE_HALVES, .pairs = HEAD / 2, .scale = 1 }, .pages = { 5, 1, 4, 0 } };
    for (uint32_t j = 0; j < HEAD / 2; j++)
        l->rope.frequency[j] = pow(1e4, -2.0 * j / HEAD);
    l->attention = (struct kg_attention){ HEADS, KV, HEAD, 0.125F, 0, &l->rope };
    make_weights(l, type);
    float weight[WIDTH];
    for (size_t i = 0; i < WIDTH; i++)
        weight[i] = 1 + (float)(i % 7) / 16;
    for (size_t i = 0; i < BUFFERS; i++) {
        size_t bytes = i == LAST ? WIDTH * 4 : i == LOGITS ? WORDS * 4 : i == NORM ? WIDTH * 4 : i >= BEST_IDS ? BEST * 4 : (size_t)TOKENS * columns[i] * 4;
        assert_int_equal(l->rig.b->buffer_create(l->rig.d, bytes, &l->b[i], NULL), KG_OK);
    }
    l->rig.b->write(l->rig.d, l->b[NORM], 0, weight, sizeof weight);
    assert_int_equal(l->rig.b->kv_create(l->rig.d, &shape, &l->kv, NULL), KG_OK);
    assert_int_equal(l->rig.b->kv_reserve(l->rig.d, l->kv, 6, NULL), KG_OK);
    assert_int_equal(l->rig.b->view_create(l->rig.d, &l->view, NULL), KG_OK);
    uint64_t seed = 77;
    static uint16_t page[2 * KV * KG_PAGE * HEAD];
    for (size_t i = 0; i < sizeof page / 2; i++)
        page[i] = (uint16_t)(0x3000 | (seeded_bits(&seed) & 0x8fff)); /* 1/8 to 2 */
    l->rig.b->kv_import(l->rig.d, l->kv, 2, page);
    return l;
}

static void free_layer(struct layer *l)
{
    for (size_t i = 0; i < MATRICES; i++)
        l->rig.b->matrix_free(l->rig.d, l->w[i]);
    for (size_t i = 0; i < BUFFERS; i++)
        l->rig.b->buffer_free(l->rig.d, l->b[i]);
    l->rig.b->view_free(l->rig.d, l->view);
    l->rig.b->kv_free(l->rig.d, l->kv);
    rig_close(&l->rig);
    free(l);
}

static void enqueue_attention(struct layer *l, uint32_t first, uint32_t rows)
{
    const struct kg_backend *b = l->rig.b;
    struct kg_device *d = l->rig.d;
    b->rmsnorm(d, l->b[NORMED], l->b[STREAM], l->b[NORM], 1e-5F, rows, WIDTH);
    b->matmul(d, l->b[K], l->w[KEY], l->b[NORMED], NULL, rows);
    b->matmul(d, l->b[V], l->w[VALUE], l->b[NORMED], NULL, rows);
    b->kv_write(d, l->kv, 0, l->pages, first, 100, l->b[K], l->b[V], &l->rope, rows);
    b->matmul(d, l->b[Q], l->w[QUERY], l->b[NORMED], NULL, rows);
    b->attend(d, l->b[SEEN], l->b[Q], l->kv, 0, l->view, &l->attention, 500 + (int32_t)first, rows);
    b->matmul(d, l->b[DELTA], l->w[OUTPUT], l->b[SEEN], NULL, rows);
    b->add(d, l->b[STREAM], l->b[DELTA], (size_t)rows * WIDTH);
}

static void enqueue_feed_forward(struct layer *l, uint32_t rows)
{
    const struct kg_backend *b = l->rig.b;
    struct kg_device *d = l->rig.d;
    b->rmsnorm(d, l->b[NORMED], l->b[STREAM], l->b[NORM], 1e-5F, rows, WIDTH);
    b->matmul(d, l->b[GATED], l->w[GATE], l->b[NORMED], NULL, rows);
    b->matmul(d, l->b[RAISED], l->w[UP], l->b[NORMED], NULL, rows);
    b->silu_mul(d, l->b[GATED], l->b[GATED], l->b[RAISED], (size_t)rows * INNER);
    b->matmul(d, l->b[DELTA], l->w[DOWN], l->b[GATED], NULL, rows);
    b->add(d, l->b[STREAM], l->b[DELTA], (size_t)rows * WIDTH);
}

static void run_step(struct layer *l, uint32_t first, uint32_t rows, struct trace *out)
{
    const struct kg_backend *b = l->rig.b;
    struct kg_device *d = l->rig.d;
    int32_t ids[TOKENS];
    uint32_t other = 2;
    struct kg_span spans[] = { { &other, 20, 0, 30 }, { &other, 20, 400, 30 }, { l->pages, first + rows, 500, 100 } };
    for (uint32_t r = 0; r < rows; r++)
        ids[r] = (int32_t)((first + r) * 7919 % WORDS);
    assert_int_equal(b->view_set(d, l->view, spans, 3, NULL), KG_OK);
    b->write(d, l->b[IDS], 0, ids, rows * sizeof *ids);
    b->step_begin(d, rows);
    b->embed(d, l->b[STREAM], l->w[EMBEDDING], l->b[IDS], 0.5F, rows);
    enqueue_attention(l, first, rows);
    enqueue_feed_forward(l, rows);
    b->copy_row(d, l->b[LAST], 0, l->b[STREAM], rows - 1, WIDTH);
    b->matmul(d, l->b[LOGITS], l->w[EMBEDDING], l->b[LAST], NULL, 1);
    b->top(d, l->b[BEST_IDS], l->b[BEST_VALUES], l->b[LOGITS], 0, WORDS, BEST);
    b->step_end(d);
    uint32_t last = first + rows - 1;
    assert_int_equal(b->read(d, l->b[STREAM], 0, out->stream[first], (size_t)rows * WIDTH * sizeof(float), NULL), KG_OK);
    assert_int_equal(b->read(d, l->b[BEST_IDS], 0, out->ids[last], sizeof out->ids[last], NULL), KG_OK);
    assert_int_equal(b->read(d, l->b[BEST_VALUES], 0, out->values[last], sizeof out->values[last], NULL), KG_OK);
}

/* All tokens by steps of 1 to `most` rows; pages are added in mid-way. */
static void run_steps(struct layer *l, uint32_t most, struct trace *out)
{
    uint64_t seed = most;
    for (uint32_t first = 0; first < TOKENS;) {
        uint32_t rows = most == 1 || most == TOKENS ? most : 1 + seeded_below(&seed, most);
        rows = rows < TOKENS - first ? rows : TOKENS - first;
        assert_int_equal(l->rig.b->kv_reserve(l->rig.d, l->kv, 6 + first, NULL), KG_OK);
        run_step(l, first, rows, out);
        first += rows;
    }
}

static void require_same(const struct trace *a, const struct trace *b, uint32_t most)
{
    for (uint32_t t = 0; t < TOKENS; t++) {
        if (memcmp(a->stream[t], b->stream[t], sizeof a->stream[t]) != 0)
            fail_msg("token %u has other bits by steps of up to %u rows", t, most);
    }
    assert_memory_equal(a->ids[TOKENS - 1], b->ids[TOKENS - 1], sizeof a->ids[0]);
    assert_memory_equal(a->values[TOKENS - 1], b->values[TOKENS - 1], sizeof a->values[0]);
}

static void check_steps(const struct variant *variant, enum kg_type type, double tolerance)
{
    struct trace *want = test_alloc(1, sizeof *want), *got = test_alloc(1, sizeof *got), *again = test_alloc(1, sizeof *again);
    struct layer *l = make_layer(NULL, 1, type);
    run_steps(l, TOKENS, want);
    free_layer(l);
    l = make_layer(variant, 2, type);
    run_steps(l, TOKENS, got);
    for (uint32_t t = 0; t < TOKENS; t++) {
        double error = norm_error(got->stream[t], want->stream[t], WIDTH);
        if (!(error <= tolerance))
            fail_msg("%s: token %u differs from ref by %.3g (at most %.3g)", kg_type_name(type), t, error, tolerance);
    }
    assert_true(fabs((double)got->values[TOKENS - 1][0] - (double)want->values[TOKENS - 1][0]) <= 3 * tolerance * fabs((double)want->values[TOKENS - 1][0]));
    static const uint32_t most[] = { 1, 5, 40, TOKENS };
    for (uint32_t i = 0; i < 4; i++) {
        memset(again, 0, sizeof *again);
        run_steps(l, most[i], again); /* over what the pages held before */
        require_same(got, again, most[i]);
        struct layer *fresh = make_layer(variant, i % CONFORMANCE_THREADS + 1, type);
        memset(again, 0, sizeof *again);
        run_steps(fresh, most[i], again);
        require_same(got, again, most[i]);
        free_layer(fresh);
    }
    const struct variant *twin = conformance_twin(variant);
    if (twin) {
        struct layer *its = make_layer(twin, 2, type);
        memset(again, 0, sizeof *again);
        run_steps(its, TOKENS, again);
        require_same(got, again, TOKENS);
        free_layer(its);
    }
    free_layer(l);
    free(want);
    free(got);
    free(again);
}

static void steps_of_any_size_give_the_same_bits(void **state)
{
    check_steps(*state, KG_F32, 1e-4);
    check_steps(*state, KG_Q8_0, 3e-2);
    check_steps(*state, KG_Q4_K, 3e-2);
    if (conformance_long()) {
        for (size_t t = 0; t < QUANTISE_TYPES; t++)
            check_steps(*state, quantise_types[t], 3e-2);
    }
}

/* A device may keep what it made of a buffer, as long as the buffer holds the same. */
#define N 256

struct hold {
    struct rig rig;
    struct kg_matrix *w[QUANTISE_TYPES];
    struct kg_buffer *x, *other, *out, *ids;
};

static struct hold make_hold(const struct variant *variant)
{
    struct hold h = { .rig = rig_open(variant, 2) };
    static float numbers[4 * N];
    static uint8_t blocks[N * N * 4];
    uint64_t seed = 21;
    for (size_t t = 0; t < QUANTISE_TYPES; t++) {
        quantise_at_random(quantise_types[t], QUANTISE_PLAIN, &seed, (size_t)N * N, blocks);
        assert_int_equal(h.rig.b->matrix_create(h.rig.d, quantise_types[t], N, N, blocks, KG_USE_MATMUL | KG_USE_ROWS, &h.w[t], NULL), KG_OK);
    }
    seeded_normals(&seed, 1, numbers, (size_t)4 * N);
    h.x = rig_upload(&h.rig, numbers, sizeof numbers);
    h.other = rig_upload(&h.rig, numbers, sizeof numbers);
    h.out = rig_upload(&h.rig, numbers, sizeof numbers);
    h.ids = rig_upload(&h.rig, (int32_t[]){ 3, 1, 200, 77 }, 4 * sizeof(int32_t));
    return h;
}

static void free_hold(struct hold *h)
{
    for (size_t t = 0; t < QUANTISE_TYPES; t++)
        h->rig.b->matrix_free(h->rig.d, h->w[t]);
    rig_free(&h->rig, h->x);
    rig_free(&h->rig, h->other);
    rig_free(&h->rig, h->out);
    rig_free(&h->rig, h->ids);
    rig_close(&h->rig);
}

/* Every way to change x, one after the other. */
static bool change(struct hold *h, unsigned way)
{
    const struct kg_backend *b = h->rig.b;
    struct kg_device *d = h->rig.d;
    static float numbers[4 * N];
    uint64_t seed = way;
    seeded_normals(&seed, 1, numbers, (size_t)4 * N);
    switch (way) {
    case 0: b->write(d, h->x, 40, numbers, 44); return true;
    case 1: b->embed(d, h->x, h->w[3], h->ids, 30, 4); return true;
    case 2: b->rmsnorm(d, h->x, h->x, h->other, 1e-6F, 4, N); return true;
    case 3: b->matmul(d, h->x, h->w[0], h->other, NULL, 4); return true;
    case 4: b->add(d, h->x, h->other, 5); return true;
    case 5: b->silu_mul(d, h->x, h->x, h->other, 300); return true;
    case 6: b->copy_row(d, h->x, 0, h->other, 2, N); return true;
    case 7: b->matmul(d, h->x, h->w[8], h->other, NULL, 4); return true;
    case 8: /* another buffer, perhaps where the last one was */
        rig_free(&h->rig, h->x);
        h->x = rig_upload(&h->rig, numbers, sizeof numbers);
        return true;
    case 9: b->top(d, h->ids, h->x, h->other, 0, N, 4); return true;
    default: return false;
    }
}

/* The product with what x holds, as a device that knows nothing of it computes it. */
static void check_product(const struct variant *variant, const struct hold *h, size_t type, uint32_t rows, unsigned way)
{
    static float x[4 * N], got[4 * N], want[4 * N];
    const struct kg_backend *b = h->rig.b;
    b->matmul(h->rig.d, h->out, h->w[type], h->x, NULL, rows);
    assert_int_equal(b->read(h->rig.d, h->out, 0, got, rows * N * sizeof *got, NULL), KG_OK);
    assert_int_equal(b->read(h->rig.d, h->x, 0, x, sizeof x, NULL), KG_OK);
    struct hold fresh = make_hold(variant);
    b->write(fresh.rig.d, fresh.x, 0, x, sizeof x);
    b->matmul(fresh.rig.d, fresh.out, fresh.w[type], fresh.x, NULL, rows);
    assert_int_equal(b->read(fresh.rig.d, fresh.out, 0, want, rows * N * sizeof *want, NULL), KG_OK);
    free_hold(&fresh);
    if (memcmp(got, want, rows * N * sizeof *got) != 0)
        fail_msg("%s, %u rows: not the product with what the buffer holds after change %u", kg_type_name(quantise_types[type]), rows, way);
}

static void products_are_of_what_a_buffer_holds_now(void **state)
{
    struct hold h = make_hold(*state);
    uint64_t seed = 6;
    unsigned way = 0;
    do {
        for (size_t i = 0; i < (conformance_long() ? 20 : 3); i++)
            check_product(*state, &h, seeded_below(&seed, QUANTISE_TYPES), 1 + seeded_below(&seed, 4), way);
        check_product(*state, &h, 3 + way % 8, 4, way);
    } while (change(&h, way++) && (check_product(*state, &h, 3 + (way - 1) % 8, 4, way - 1), true));
    free_hold(&h);
}

/* Operations in any order on the same few buffers. A device may keep one back until somebody asks for its result, make it in passing, or
 * keep what it made of it: the bits are those of a device that is asked for everything, and told it anew, after each operation. */
#define CROWD   5
#define MIXED   9              /* rows */
#define ROOM    (MIXED * 2051) /* elements of a buffer: fewer rows of the widest */
#define BLOCKS  (8224 * 32)    /* elements of a matrix, at most */
#define WRITTEN 288
#define MATTERS 6

struct crowd {
    struct rig rig;
    struct kg_buffer *b[CROWD], *weight;
    struct kg_matrix *w[MATTERS];
};

static const struct {
    enum kg_type type;
    uint32_t rows, cols;
} matters[MATTERS] = { { KG_Q8_0, 288, 288 }, { KG_Q4_K, 256, 256 }, { KG_F32, 64, 64 }, { KG_F32, 32, 1031 }, { KG_F32, 32, 2051 }, { KG_Q8_0, 32, 8224 } };

static struct crowd make_crowd(const struct variant *variant)
{
    struct crowd c = { .rig = rig_open(variant, 2) };
    static float numbers[ROOM];
    static double x[BLOCKS];
    static uint8_t blocks[BLOCKS * 4];
    uint64_t seed = 5;
    for (size_t i = 0; i < MATTERS; i++) {
        const uint32_t rows = matters[i].rows, cols = matters[i].cols;
        const size_t n = (size_t)rows * cols;
        for (size_t j = 0; j < n; j++)
            x[j] = seeded_normal(&seed) / sqrt(cols);
        quantise(matters[i].type, x, n, blocks);
        assert_int_equal(c.rig.b->matrix_create(c.rig.d, matters[i].type, rows, cols, blocks, KG_USE_MATMUL, &c.w[i], NULL), KG_OK);
    }
    for (size_t i = 0; i <= CROWD; i++) {
        seeded_normals(&seed, 1, numbers, sizeof numbers / sizeof *numbers);
        *(i < CROWD ? &c.b[i] : &c.weight) = rig_upload(&c.rig, numbers, sizeof numbers);
    }
    return c;
}

static void free_crowd(struct crowd *c)
{
    for (size_t i = 0; i < MATTERS; i++)
        c->rig.b->matrix_free(c->rig.d, c->w[i]);
    for (size_t i = 0; i < CROWD; i++)
        rig_free(&c->rig, c->b[i]);
    rig_free(&c->rig, c->weight);
    rig_close(&c->rig);
}

/* An operation that the seed chooses, one that a step may hold if `held`; the more usual sequences more often. */
static void operate(struct crowd *c, uint64_t seed, uint32_t rows, bool held)
{
    const struct kg_backend *b = c->rig.b;
    struct kg_device *d = c->rig.d;
    const uint32_t way = seeded_below(&seed, 12), kind = seeded_below(&seed, MATTERS), cols = matters[kind].cols;
    rows = rows < ROOM / cols ? rows : ROOM / cols;
    const size_t n = (size_t)rows * cols;
    struct kg_buffer *x = c->b[seeded_below(&seed, CROWD)], *y = c->b[seeded_below(&seed, CROWD)], *z = c->b[seeded_below(&seed, CROWD)];
    static float numbers[WRITTEN];
    if (way < 4) {
        b->add(d, x, y, way == 0 ? 1 + seeded_below(&seed, (uint32_t)n) : n);
        if (way > 1)
            b->rmsnorm(d, z, x, c->weight, 1e-5F, way == 3 && rows > 1 ? rows - 1 : rows, cols);
    } else if (way < 6) {
        b->rmsnorm(d, z, x, c->weight, 1e-5F, rows, cols);
    } else if (way < 8 && x != y) {
        b->matmul(d, y, c->w[kind], x, NULL, rows);
    } else if (way == 8 || (way == 11 && held)) {
        b->silu_mul(d, x, y, x == z ? c->weight : z, n);
    } else if (way == 9) {
        b->copy_row(d, x, seeded_below(&seed, rows), y, seeded_below(&seed, rows), cols);
    } else if (way == 10) {
        b->rmsnorm(d, x, x, x == y ? c->weight : y, 1e-5F, rows, cols);
        if (x != y)
            b->matmul(d, y, c->w[kind], x, c->weight, rows);
    } else if (way == 11) {
        seeded_normals(&seed, 1, numbers, WRITTEN);
        b->write(d, x, seeded_below(&seed, 1000) * sizeof(float), numbers, sizeof numbers);
    }
}

static void ask_for_all(struct crowd *c, bool tell, float all[CROWD][ROOM])
{
    for (size_t i = 0; i < CROWD; i++) {
        assert_int_equal(c->rig.b->read(c->rig.d, c->b[i], 0, all[i], sizeof all[i], NULL), KG_OK);
        if (tell)
            c->rig.b->write(c->rig.d, c->b[i], 0, all[i], sizeof all[i]);
    }
}

static void what_is_kept_back_shows_nowhere(void **state)
{
    static float want[CROWD][ROOM], got[CROWD][ROOM];
    static const uint32_t sizes[] = { 1, 3, MIXED };
    uint64_t seed = 11;
    struct crowd asked = make_crowd(*state), left = make_crowd(*state);
    for (uint32_t run = 0; run < (conformance_long() ? 200 : 24); run++) {
        const uint32_t rows = sizes[run % 3], first = seeded_below(&seed, 4), last = 8 + seeded_below(&seed, 4);
        for (uint32_t i = 0; i < 12; i++) {
            const uint64_t own = seeded_bits(&seed);
            if (i == first)
                left.rig.b->step_begin(left.rig.d, rows);
            operate(&left, own, rows, i >= first && i <= last);
            if (i == last)
                left.rig.b->step_end(left.rig.d);
            operate(&asked, own, rows, i >= first && i <= last);
            ask_for_all(&asked, true, want);
        }
        ask_for_all(&left, false, got);
        for (size_t i = 0; i < CROWD; i++)
            if (memcmp(want[i], got[i], sizeof want[i]) != 0)
                fail_msg("run %u: buffer %zu depends on when it is read", run, i);
        for (size_t i = 0; i < CROWD; i++) { /* or squares of squares have no end */
            seeded_normals(&seed, 1, want[i], ROOM);
            left.rig.b->write(left.rig.d, left.b[i], 0, want[i], sizeof want[i]);
            asked.rig.b->write(asked.rig.d, asked.b[i], 0, want[i], sizeof want[i]);
        }
    }
    free_crowd(&asked);
    free_crowd(&left);
}

struct errand {
    struct layer *layer;
    struct trace *trace;
};

static void *run_errand(void *argument)
{
    struct errand *errand = argument;
    run_steps(errand->layer, 9, errand->trace);
    return NULL;
}

/* A device is opened by one thread and used by another; two devices know nothing of each other. */
static void devices_work_side_by_side_in_other_threads(void **state)
{
    struct trace *traces = test_alloc(3, sizeof *traces);
    struct errand errands[2];
    pthread_t threads[2];
    for (size_t i = 0; i < 2; i++) {
        errands[i] = (struct errand){ make_layer(*state, 2, KG_Q4_0), &traces[i] };
        assert_int_equal(pthread_create(&threads[i], NULL, run_errand, &errands[i]), 0);
    }
    struct layer *l = make_layer(*state, 1, KG_Q4_0);
    run_steps(l, 9, &traces[2]);
    free_layer(l);
    for (size_t i = 0; i < 2; i++) {
        assert_int_equal(pthread_join(threads[i], NULL), 0);
        require_same(&traces[2], &traces[i], 9);
        free_layer(errands[i].layer);
    }
    free(traces);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(steps_of_any_size_give_the_same_bits),
        cmocka_unit_test(products_are_of_what_a_buffer_holds_now),
        cmocka_unit_test(what_is_kept_back_shows_nowhere),
        cmocka_unit_test(devices_work_side_by_side_in_other_threads),
    };
    return conformance_main(tests, sizeof tests / sizeof *tests);
}
