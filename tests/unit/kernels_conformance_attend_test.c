/* Attention of every backend: shapes of heads, rotations, and all that a view can hold. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/type.h"
#include "tests/unit/conformance.h"
#include "tests/unit/seeded.h"

#define SPANS_MAX 48

/* A view over blocks that stand in pages 0 .. n-1 of `bits`; load gives them other numbers on every device. */
struct scene {
    const char *name;
    struct kg_kv_shape shape;
    struct kg_attention attention;
    struct kg_rope rope;
    uint32_t layer, rows, pages, span_count;
    int32_t position; /* of the first row */
    struct kg_span spans[SPANS_MAX];
    uint32_t first_page[SPANS_MAX];
    uint8_t *halves, *bits; /* as f16, and as the pages hold them */
    float *q;
    double deviation; /* of q */
};

/* The heads, and how they are rotated. */
struct heads {
    uint32_t heads, kv_heads, head_size;
    enum kg_rope_layout layout;
    uint32_t pairs;
    float soft_cap;
    enum kg_kv_type type;
};

static void set_heads(struct scene *s, const struct heads *h)
{
    s->shape = (struct kg_kv_shape){ .layers = 2, .kv_heads = h->kv_heads, .head_size = h->head_size, .type = h->type };
    s->layer = h->heads % 2;
    s->rope = (struct kg_rope){ .layout = h->layout, .pairs = h->pairs, .scale = h->soft_cap > 0 ? 1.125F : 1 };
    for (uint32_t j = 0; j < h->pairs; j++)
        s->rope.frequency[j] = pow(1e5, -(double)j / h->pairs);
    s->attention = (struct kg_attention){ h->heads, h->kv_heads, h->head_size, (float)(1 / sqrt(h->head_size)), h->soft_cap, NULL };
    s->deviation = 1;
}

/* A span over new pages. */
static void add_span(struct scene *s, uint32_t tokens, int32_t base, int32_t local)
{
    assert_true(s->span_count < SPANS_MAX);
    s->spans[s->span_count] = (struct kg_span){ NULL, tokens, base, local };
    s->first_page[s->span_count++] = s->pages;
    s->pages += (tokens + KG_PAGE - 1) / KG_PAGE;
}

/* The same block once more, at another base. */
static void add_again(struct scene *s, uint32_t span, int32_t base)
{
    assert_true(s->span_count < SPANS_MAX);
    s->spans[s->span_count] = s->spans[span];
    s->spans[s->span_count].base = base;
    s->first_page[s->span_count++] = s->first_page[span];
}

static void put_half(const struct scene *s, uint32_t page, uint32_t slot, bool value, uint32_t i, uint16_t half)
{
    uint32_t head = i / s->shape.head_size, d = i % s->shape.head_size;
    size_t at = ((size_t)page * s->shape.layers + s->layer) * 2 + value;
    at = ((at * s->shape.kv_heads + head) * KG_PAGE + slot) * s->shape.head_size + d;
    memcpy(s->halves + 2 * at, &half, sizeof half);
}

static void keep(struct scene *s)
{
    free(s->bits);
    s->bits = conformance_pages(&s->shape, s->pages, s->halves);
}

/* Every slot NaN, so that what is in no span shows when it is read; then the tokens. */
static void fill(struct scene *s, uint64_t seed)
{
    const struct kg_kv_shape f16 = { .layers = s->shape.layers, .kv_heads = s->shape.kv_heads, .head_size = s->shape.head_size };
    size_t bytes = KG_KV_PAGE_BYTES(&f16) * s->pages, n = (size_t)s->rows * s->attention.heads * s->shape.head_size;
    s->halves = test_alloc(bytes, 1);
    for (size_t i = 0; i < bytes; i += 2)
        memcpy(s->halves + i, i % 4 ? "\xff\x7f" : "\x00\xfe", 2);
    for (uint32_t p = 0; p < s->span_count; p++) {
        for (uint32_t t = 0; t < s->spans[p].tokens; t++) {
            for (uint32_t i = 0; i < 2 * s->shape.kv_heads * s->shape.head_size; i++)
                put_half(s, s->first_page[p] + t / KG_PAGE, t % KG_PAGE, i % 2, i / 2, kg_f16_from_double(seeded_normal(&seed)));
        }
    }
    keep(s);
    s->q = test_alloc(n, sizeof *s->q);
    seeded_normals(&seed, s->deviation, s->q, n);
}

static void free_scene(struct scene *s)
{
    free(s->halves);
    free(s->bits);
    free(s->q);
}

struct loaded {
    const struct scene *s;
    struct kg_kv *kv;
    struct kg_view *view;
    struct kg_attention attention;
    uint32_t *numbers; /* of the scene's pages */
    uint32_t runs;
};

/* Sets the spans' page numbers, hands the view over, and spoils what it was made from. */
static void set_view(const struct rig *rig, const struct loaded *l, struct kg_span *spans, uint32_t n)
{
    struct kg_error err = { 0 };
    uint32_t *lists = test_alloc(SPANS_MAX * ((size_t)l->s->pages + 1), sizeof *lists), *next = lists;
    for (uint32_t i = 0; i < n; i++) {
        uint32_t first = l->s->first_page[spans[i].pages - l->numbers], count = (spans[i].tokens + KG_PAGE - 1) / KG_PAGE;
        memcpy(next, l->numbers + first, count * sizeof *next);
        spans[i].pages = next;
        next += count;
    }
    if (rig->b->view_set(rig->d, l->view, spans, n, &err) != KG_OK)
        fail_msg("cannot set a view: %s", err.text);
    memset(lists, 0xff, (SPANS_MAX * ((size_t)l->s->pages + 1)) * sizeof *lists);
    free(lists);
}

static void *load(const struct rig *rig, const void *what)
{
    static uint64_t numbering;
    const struct scene *s = what;
    struct kg_error err = { 0 };
    struct loaded *l = test_alloc(1, sizeof *l);
    uint32_t spare = 5;
    *l = (struct loaded){ .s = s, .attention = s->attention, .numbers = test_alloc(s->pages + spare + SPANS_MAX, sizeof *l->numbers) };
    for (uint32_t p = 0; p < s->pages + spare; p++)
        l->numbers[p] = p;
    numbering++;
    seeded_shuffle(&(uint64_t){ numbering }, l->numbers, s->pages + spare);
    if (rig->b->kv_create(rig->d, &s->shape, &l->kv, &err) != KG_OK || rig->b->kv_reserve(rig->d, l->kv, s->pages + spare, &err) != KG_OK ||
        rig->b->view_create(rig->d, &l->view, &err) != KG_OK)
        fail_msg("cannot create pages or a view: %s", err.text);
    for (uint32_t p = 0; p < s->pages; p++)
        rig->b->kv_import(rig->d, l->kv, l->numbers[p], s->bits + p * KG_KV_PAGE_BYTES(&s->shape));
    return l;
}

static void unload(const struct rig *rig, void *loaded)
{
    struct loaded *l = loaded;
    rig->b->view_free(rig->d, l->view);
    rig->b->kv_free(rig->d, l->kv);
    free(l->numbers);
    free(l);
}

/* Every other run of a part is given a view of only what its last row sees: it must not show. */
static void run(const struct rig *rig, void *loaded, uint32_t first, uint32_t rows, float *out)
{
    struct loaded *l = loaded;
    const struct scene *s = l->s;
    struct kg_span spans[SPANS_MAX];
    uint32_t n = 0;
    int32_t last = s->position + (int32_t)(first + rows) - 1;
    bool cut = rows < s->rows && l->runs++ % 2 == 0;
    for (uint32_t i = 0; i < s->span_count; i++) {
        spans[n] = s->spans[i];
        spans[n].pages = l->numbers + i; /* for now: which span of the scene it is */
        if (cut && spans[n].base > last)
            continue;
        if (cut && spans[n].tokens > (uint32_t)(last - spans[n].base) + 1)
            spans[n].tokens = (uint32_t)(last - spans[n].base) + 1;
        n++;
    }
    set_view(rig, l, spans, n);
    size_t width = (size_t)s->attention.heads * s->shape.head_size, bytes = rows * width * sizeof(float);
    struct kg_rope rope = s->rope;
    struct kg_attention attention = s->attention;
    attention.rope = &rope;
    struct kg_buffer *q = rig_upload(rig, s->q + first * width, bytes), *y = rig_result(rig, bytes);
    rig->b->step_begin(rig->d, rows);
    rig->b->attend(rig->d, y, q, l->kv, s->layer, l->view, &attention, s->position + (int32_t)first, rows);
    memset(&attention, 0xff, sizeof attention);
    rig->b->step_end(rig->d);
    rig_take(rig, y, out, bytes);
    rig_free(rig, q);
}

static const struct operation attend = { "attend", load, run, unload };

static void check_scene(const struct variant *variant, struct scene *s, double tolerance, float *got)
{
    char text[160];
    snprintf(text, sizeof text, "%s: %u/%u heads of %u, layout %d, %u pairs, cap %g, %u spans, position %d", s->name, s->attention.heads,
             s->attention.kv_heads, s->shape.head_size, (int)s->rope.layout, s->rope.pairs, (double)s->attention.soft_cap, s->span_count,
             s->position);
    check_operation(variant, &attend, s, s->rows, s->attention.heads * s->shape.head_size, tolerance, text, NULL, got);
}

static const struct heads every_heads[] = {
    { 9, 3, 64, KG_ROPE_INTERLEAVED, 32, 0, KG_KV_F16 }, { 14, 2, 64, KG_ROPE_HALVES, 32, 0, KG_KV_F16 },
    { 6, 2, 128, KG_ROPE_HALVES, 64, 0, KG_KV_F16 }, { 5, 5, 80, KG_ROPE_INTERLEAVED, 20, 0, KG_KV_F16 },
    { 3, 1, 96, KG_ROPE_HALVES, 48, 5, KG_KV_F16 }, { 7, 1, 256, KG_ROPE_HALVES, 64, 0, KG_KV_F16 },
    { 3, 3, 128, KG_ROPE_NONE, 0, 30, KG_KV_F16 }, { 1, 1, 64, KG_ROPE_HALVES, 31, 0, KG_KV_F16 },
    { 6, 2, 6, KG_ROPE_INTERLEAVED, 3, 0, KG_KV_F16 }, { 2, 1, 2, KG_ROPE_HALVES, 1, 0, KG_KV_F16 },
    { 8, 8, 40, KG_ROPE_HALVES, 13, 20, KG_KV_F16 }, { 16, 1, 64, KG_ROPE_INTERLEAVED, 32, 0, KG_KV_F16 },
    { 14, 2, 64, KG_ROPE_HALVES, 32, 0, KG_KV_Q8_0 }, { 3, 1, 96, KG_ROPE_INTERLEAVED, 48, 5, KG_KV_Q8_0 },
    { 6, 2, 128, KG_ROPE_HALVES, 64, 0, KG_KV_Q8_0 },
};
#define HEADS (sizeof every_heads / sizeof *every_heads)

/* One block that grows: each row sees one token more. */
static void a_chain(struct scene *s)
{
    s->name = "a chain";
    s->position = 95;
    add_span(s, 95 + s->rows, 0, 0);
}

/* The first tokens of all: row r sees r + 1. */
static void a_beginning(struct scene *s)
{
    s->name = "a beginning";
    add_span(s, s->rows, 0, 0);
}

/* A preamble, files behind it with gaps between them, each stored for the place right behind the preamble, one of them
 * twice, one that comes into view while rows pass, one behind all; and the turn that grows. */
static void files_behind_a_preamble(struct scene *s)
{
    static const uint32_t tokens[] = { 1, 31, 32, 33, 100, 64, 2, 65 };
    s->name = "files behind a preamble";
    s->position = 5000;
    add_span(s, 17, 0, 0);
    int32_t base = 17;
    for (uint32_t i = 0; i < 8; i++) {
        add_span(s, tokens[i], base, 17);
        base += (int32_t)tokens[i] + (i % 3 == 0 ? 211 : 0);
    }
    add_again(s, 5, 3000);
    add_span(s, 40, 5003, 700);
    add_span(s, 40, 9000, 17);
    add_span(s, 10 + s->rows, 4990, 4000);
}

/* Many small blocks far away from where they were read. */
static void many_blocks(struct scene *s)
{
    uint64_t seed = 4;
    s->name = "many blocks";
    s->position = 120000;
    for (uint32_t i = 0; i < 44; i++)
        add_span(s, 1 + seeded_below(&seed, i % 4 ? 8 : 70), (int32_t)(2500 * i + 100), (int32_t)seeded_below(&seed, 4000));
    add_span(s, s->rows, 120000, 5);
}

/* More than a few tiles of whatever size. */
static void a_long_text(struct scene *s)
{
    s->name = "a long text";
    uint32_t before = conformance_long() ? 4099 : 1500;
    s->position = (int32_t)before + 300;
    add_span(s, before, 300, 20);
    add_span(s, s->rows, s->position, 20 + (int32_t)before);
}

static void attention_over(void **state, void (*build)(struct scene *), uint32_t rows)
{
    const struct variant *variant = *state;
    bool all = conformance_long();
    if (strcmp(variant->backend, "ref") == 0 && !all)
        rows = 2; /* it is slow, and compared with itself */
    rows = rows < CONFORMANCE_ROWS ? rows : CONFORMANCE_ROWS;
    for (size_t h = rows % CONFORMANCE_EVERY; h < HEADS; h += CONFORMANCE_EVERY) {
        struct scene s = { .rows = rows };
        set_heads(&s, &every_heads[h]);
        if (!conformance_keeps(variant, &s.shape))
            continue;
        build(&s);
        fill(&s, h);
        check_scene(variant, &s, 1e-5, NULL);
        free_scene(&s);
    }
}

static void attention_over_a_chain(void **state)
{
    attention_over(state, a_chain, CONFORMANCE_ROWS);
}

static void attention_over_a_beginning(void **state)
{
    attention_over(state, a_beginning, CONFORMANCE_ROWS);
}

static void attention_over_files_behind_a_preamble(void **state)
{
    attention_over(state, files_behind_a_preamble, 33);
}

static void attention_over_many_blocks(void **state)
{
    attention_over(state, many_blocks, 9);
}

static void attention_over_a_long_text(void **state)
{
    attention_over(state, a_long_text, 4);
}

/* A row depends on what it sees only, even where what comes later is infinite or no number. */
static void later_tokens_do_not_show(void **state)
{
    static const uint16_t odd[] = { 0x7c00, 0xfc00, 0x7e00, 0x7bff };
    for (size_t h = CONFORMANCE_EVERY - 1; h < HEADS; h += CONFORMANCE_EVERY) {
        struct scene s = { .rows = 8 };
        set_heads(&s, &every_heads[h]);
        if (!conformance_keeps(*state, &s.shape))
            continue;
        a_chain(&s);
        fill(&s, h);
        size_t n = (size_t)s.rows * s.attention.heads * s.shape.head_size;
        float *clean = test_alloc(n, sizeof *clean), *got = test_alloc(n, sizeof *got);
        check_scene(*state, &s, 1e-5, clean);
        uint32_t t = (uint32_t)s.position + 5; /* rows 0 to 4 do not see it */
        for (uint32_t i = 0; i < s.shape.kv_heads * s.shape.head_size; i++) {
            put_half(&s, t / KG_PAGE, t % KG_PAGE, true, i, odd[i % 4]);
            put_half(&s, t / KG_PAGE, t % KG_PAGE, false, i, odd[i / 4 % 4]);
        }
        keep(&s);
        struct rig rig = rig_open(*state, 2);
        void *loaded = load(&rig, &s);
        run(&rig, loaded, 0, s.rows, got);
        unload(&rig, loaded);
        rig_close(&rig);
        assert_memory_equal(clean, got, n / s.rows * 5 * sizeof *got);
        for (size_t i = n / s.rows * 5; i < n; i++)
            assert_false(isfinite(got[i])); /* and rows that see it say so */
        free(clean);
        free(got);
        free_scene(&s);
    }
}

/* Scores of thousands in either direction, all equal: the mean of the values that are visible. */
static void large_equal_scores_give_the_mean(void **state)
{
    for (int direction = -1; direction <= 1; direction += 2) {
        struct scene s = { .rows = 40 };
        set_heads(&s, &(struct heads){ 4, 2, 64, KG_ROPE_NONE, 0, 0, KG_KV_F16 });
        a_beginning(&s);
        fill(&s, 3);
        for (uint32_t t = 0; t < s.rows; t++) {
            for (uint32_t i = 0; i < 128; i++)
                put_half(&s, t / KG_PAGE, t % KG_PAGE, false, i, 0x5640 /* 100 */);
        }
        keep(&s);
        for (size_t i = 0; i < (size_t)s.rows * 256; i++)
            s.q[i] = (float)direction * 8;
        check_scene(*state, &s, 1e-5, NULL);
        free_scene(&s);
    }
}

/* Scores some tens apart: nearly all weight on few tokens. The f32 of a score of 50 is known to 4e-6. */
static void peaks_are_found(void **state)
{
    for (size_t h = 0; h < HEADS; h += CONFORMANCE_EVERY) {
        struct scene s = { .rows = 5 };
        set_heads(&s, &every_heads[h]);
        if (!conformance_keeps(*state, &s.shape))
            continue;
        files_behind_a_preamble(&s);
        s.deviation = 12;
        fill(&s, h + 50);
        check_scene(*state, &s, 5e-5, NULL);
        free_scene(&s);
    }
}

/* All that the largest batch asks for at once. */
static void a_full_batch_equals_its_parts(void **state)
{
    struct scene s = { .rows = KG_ROWS_MAX };
    set_heads(&s, &(struct heads){ 3, 1, 64, KG_ROPE_HALVES, 32, 0, KG_KV_F16 });
    a_chain(&s);
    fill(&s, 1);
    size_t width = (size_t)s.attention.heads * s.shape.head_size;
    float *all = test_alloc(s.rows * width, sizeof *all), *part = test_alloc(s.rows * width, sizeof *part);
    struct rig rig = rig_open(*state, 3);
    void *loaded = load(&rig, &s);
    run(&rig, loaded, 0, s.rows, all);
    for (uint32_t first = 0; first < s.rows; first += 101) {
        uint32_t rows = s.rows - first < 101 ? s.rows - first : 101;
        run(&rig, loaded, first, rows, part);
        assert_memory_equal(part, all + first * width, rows * width * sizeof *part);
    }
    unload(&rig, loaded);
    rig_close(&rig);
    free(all);
    free(part);
    free_scene(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(attention_over_a_beginning),
        cmocka_unit_test(attention_over_a_chain),
        cmocka_unit_test(attention_over_files_behind_a_preamble),
        cmocka_unit_test(attention_over_many_blocks),
        cmocka_unit_test(attention_over_a_long_text),
        cmocka_unit_test(later_tokens_do_not_show),
        cmocka_unit_test(large_equal_scores_give_the_mean),
        cmocka_unit_test(peaks_are_found),
        cmocka_unit_test(a_full_batch_equals_its_parts),
    };
    return conformance_main(tests, sizeof tests / sizeof *tests);
}
