#include "tests/unit/recall_scene.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/type.h"
#include "tests/unit/seeded.h"

const struct heads scene_heads[SCENE_HEADS] = {
    { 14, 2, 64, KG_ROPE_HALVES, 32, 2, 0, KG_KV_F16 }, { 1, 1, 64, KG_ROPE_HALVES, 31, 1, 0, KG_KV_F16 },
    { 3, 1, 96, KG_ROPE_HALVES, 48, 2, 5, KG_KV_F16 }, { 7, 1, 32, KG_ROPE_INTERLEAVED, 16, 2, 0, KG_KV_F16 },
    { 6, 2, 128, KG_ROPE_HALVES, 64, 4, 0, KG_KV_F16 }, { 5, 5, 80, KG_ROPE_INTERLEAVED, 20, 2, 0, KG_KV_F16 },
    { 2, 1, 256, KG_ROPE_HALVES, 64, 2, 30, KG_KV_F16 }, { 4, 2, 48, KG_ROPE_NONE, 0, 2, 0, KG_KV_F16 },
    { 9, 3, 64, KG_ROPE_INTERLEAVED, 32, 4, 0, KG_KV_F16 }, { 16, 1, 72, KG_ROPE_HALVES, 36, 4, 0, KG_KV_F16 },
    { 8, 8, 40, KG_ROPE_HALVES, 13, 4, 20, KG_KV_F16 }, { 6, 3, 160, KG_ROPE_HALVES, 80, 1, 0, KG_KV_F16 },
    { 20, 2, 128, KG_ROPE_INTERLEAVED, 64, 1, 0, KG_KV_F16 }, { 3, 3, 112, KG_ROPE_HALVES, 56, 2, 0, KG_KV_F16 },
    { 14, 2, 64, KG_ROPE_HALVES, 32, 2, 0, KG_KV_Q8_0 }, { 6, 2, 128, KG_ROPE_INTERLEAVED, 60, 2, 20, KG_KV_Q8_0 },
};

void scene_set_heads(struct scene *s, const struct heads *h)
{
    s->shape = (struct kg_kv_shape){ .layers = SCENE_LAYERS, .kv_heads = h->kv_heads, .head_size = h->head_size, .index_bits = h->bits, .type = h->type };
    s->layer = h->heads % SCENE_LAYERS;
    s->rope = (struct kg_rope){ .layout = h->layout, .pairs = h->pairs, .scale = h->soft_cap > 0 ? 1.125F : 1 };
    for (uint32_t j = 0; j < h->pairs; j++)
        s->rope.frequency[j] = pow(1e5, -(double)j / h->pairs);
    s->attention = (struct kg_attention){ h->heads, h->kv_heads, h->head_size, (float)(1 / sqrt(h->head_size)), h->soft_cap, NULL };
    s->look = (struct kg_look){ .sinks = 4, .window = 64, .k = 24 };
    s->never_indexed = UINT32_MAX;
    s->deviation = 1;
}

/* A span over new pages. */
void scene_add_span(struct scene *s, uint32_t tokens, int32_t base, int32_t local, bool closes)
{
    assert_true(s->span_count < SCENE_SPANS_MAX);
    s->spans[s->span_count] = (struct kg_span){ NULL, tokens, base, local };
    s->closes[s->span_count] = closes;
    s->first_page[s->span_count++] = s->pages;
    s->pages += (tokens + KG_PAGE - 1) / KG_PAGE;
}

/* The same block once more, at another base. */
static void add_again(struct scene *s, uint32_t span, int32_t base)
{
    assert_true(s->span_count < SCENE_SPANS_MAX);
    s->spans[s->span_count] = s->spans[span];
    s->spans[s->span_count].base = base;
    s->closes[s->span_count] = s->closes[span];
    s->first_page[s->span_count++] = s->first_page[span];
}

uint16_t *scene_half_at(const struct scene *s, uint32_t page, bool value, uint32_t head, uint32_t slot)
{
    const size_t at = (((size_t)page * SCENE_LAYERS + s->layer) * 2 + value) * s->shape.kv_heads + head;
    return (uint16_t *)(void *)s->halves + (at * KG_PAGE + slot) * s->shape.head_size;
}

void scene_keep(struct scene *s)
{
    free(s->bits);
    s->bits = conformance_pages(&s->shape, s->pages, s->halves);
}

static void build_index(const struct rig *rig, struct kg_kv *kv, const struct scene *s, const uint32_t *numbers)
{
    uint32_t *list = test_alloc(s->pages, sizeof *list);
    for (uint32_t i = 0; i < s->span_count; i++) {
        memcpy(list, numbers + s->first_page[i], (s->spans[i].tokens + KG_PAGE - 1) / KG_PAGE * sizeof *list);
        for (uint32_t t = 0; t < s->spans[i].tokens; t += KG_ROWS_MAX) {
            const uint32_t left = s->spans[i].tokens - t, rows = left < KG_ROWS_MAX ? left : KG_ROWS_MAX;
            rig->b->index_write(rig->d, kv, s->layer, list, t, rows, s->closes[i] && rows == left);
        }
    }
    free(list);
    void *nothing = test_alloc(KG_INDEX_PAGE_BYTES(&s->shape), 1);
    if (s->never_indexed < s->pages)
        rig->b->index_import(rig->d, kv, numbers[s->never_indexed], nothing, 0);
    free(nothing);
}

struct kg_kv *scene_create_pages(const struct rig *rig, const struct kg_kv_shape *shape, uint32_t pages)
{
    struct kg_error err = { 0 };
    struct kg_kv *kv = NULL;
    if (rig->b->kv_create(rig->d, shape, &kv, &err) != KG_OK || rig->b->kv_reserve(rig->d, kv, pages, &err) != KG_OK)
        fail_msg("cannot create pages: %s", err.text);
    return kv;
}

/* The index as ref has it: for imports, and for the ranks that choices are judged by. The other layer counts as indexed. */
void scene_take_index(struct scene *s)
{
    struct rig ref = rig_open(NULL, 1);
    struct kg_kv *kv = scene_create_pages(&ref, &s->shape, s->pages);
    uint32_t *numbers = test_alloc(s->pages, sizeof *numbers), tokens;
    const size_t bytes = KG_INDEX_PAGE_BYTES(&s->shape);
    s->index = test_alloc(s->pages, bytes);
    s->indexed = test_alloc(s->pages, 1);
    for (uint32_t p = 0; p < s->pages; p++) {
        numbers[p] = p;
        ref.b->kv_import(ref.d, kv, p, s->bits + p * KG_KV_PAGE_BYTES(&s->shape));
        ref.b->index_import(ref.d, kv, p, s->index, KG_PAGE);
    }
    build_index(&ref, kv, s, numbers);
    for (uint32_t i = 0; i < s->span_count; i++) {
        const uint32_t rest = s->spans[i].tokens % KG_PAGE, last = s->first_page[i] + s->spans[i].tokens / KG_PAGE;
        if (rest && !s->closes[i])
            ref.b->index_import(ref.d, kv, last, s->index, 0);
    }
    for (uint32_t p = 0; p < s->pages; p++) {
        assert_int_equal(ref.b->index_export(ref.d, kv, p, s->index + p * bytes, &tokens, NULL), KG_OK);
        s->indexed[p] = (uint8_t)tokens;
    }
    ref.b->kv_free(ref.d, kv);
    rig_close(&ref);
    free(numbers);
}

/* Every slot NaN, so that what is in no span shows when it is read; then the tokens, some of them alike. */
void scene_fill(struct scene *s, uint64_t seed)
{
    const struct kg_kv_shape f16 = { .layers = SCENE_LAYERS, .kv_heads = s->shape.kv_heads, .head_size = s->shape.head_size };
    const size_t bytes = KG_KV_PAGE_BYTES(&f16) * s->pages, n = (size_t)s->rows * s->attention.heads * s->shape.head_size;
    s->halves = test_alloc(bytes, 1);
    for (size_t i = 0; i < bytes; i += 2)
        memcpy(s->halves + i, i % 4 ? "\xff\x7f" : "\x00\xfe", 2);
    for (uint32_t i = 0; i < s->span_count; i++) {
        for (uint32_t t = 0; t < s->spans[i].tokens; t++) {
            for (uint32_t h = 0; h < 2 * s->shape.kv_heads; h++) {
                uint16_t *to = scene_half_at(s, s->first_page[i] + t / KG_PAGE, h % 2, h / 2, t % KG_PAGE);
                for (uint32_t d = 0; d < s->shape.head_size; d++)
                    to[d] = kg_f16_from_double(seeded_normal(&seed) * (d % 7 ? 1 : 4));
                if (t % 11 == 5) /* equal ranks */
                    memcpy(to, scene_half_at(s, s->first_page[i] + (t - 1) / KG_PAGE, h % 2, h / 2, (t - 1) % KG_PAGE), 2 * (size_t)s->shape.head_size);
            }
        }
    }
    s->q = test_alloc(n, sizeof *s->q);
    seeded_normals(&seed, s->deviation, s->q, n);
    scene_keep(s);
    scene_take_index(s);
}

void scene_free(struct scene *s)
{
    free(s->halves);
    free(s->bits);
    free(s->index);
    free(s->indexed);
    free(s->q);
    free(s->lists);
}

struct loaded {
    const struct scene *s;
    struct kg_kv *kv;
    struct kg_view *view;
    uint32_t *numbers; /* of the scene's pages */
    uint32_t runs;
};

void *scene_load(const struct rig *rig, const void *what)
{
    static uint64_t numbering;
    const struct scene *s = what;
    struct kg_error err = { 0 };
    struct loaded *l = test_alloc(1, sizeof *l);
    const uint32_t spare = 5;
    *l = (struct loaded){ .s = s, .numbers = test_alloc(s->pages + spare + SCENE_SPANS_MAX, sizeof *l->numbers) };
    for (uint32_t p = 0; p < s->pages + spare; p++)
        l->numbers[p] = p;
    numbering++;
    seeded_shuffle(&(uint64_t){ numbering }, l->numbers, s->pages + spare);
    l->kv = scene_create_pages(rig, &s->shape, s->pages + spare);
    if (rig->b->view_create(rig->d, &l->view, &err) != KG_OK)
        fail_msg("cannot create a view: %s", err.text);
    for (uint32_t p = 0; p < s->pages; p++) {
        rig->b->kv_import(rig->d, l->kv, l->numbers[p], s->bits + p * KG_KV_PAGE_BYTES(&s->shape));
        if (numbering % 2)
            rig->b->index_import(rig->d, l->kv, l->numbers[p], s->index + p * KG_INDEX_PAGE_BYTES(&s->shape), s->indexed[p]);
    }
    if (numbering % 2 == 0)
        build_index(rig, l->kv, s, l->numbers);
    return l;
}

void scene_unload(const struct rig *rig, void *loaded)
{
    struct loaded *l = loaded;
    rig->b->view_free(rig->d, l->view);
    rig->b->kv_free(rig->d, l->kv);
    free(l->numbers);
    free(l);
}

/* Hands the view over, of its last span as much as the last row sees if it is to be cut. (Other spans stay, since their
 * tokens have numbers.) */
static void set_view(const struct rig *rig, const struct loaded *l, int64_t last, bool cut)
{
    struct kg_error err = { 0 };
    struct kg_span spans[SCENE_SPANS_MAX];
    uint32_t *lists = test_alloc((size_t)SCENE_SPANS_MAX * (l->s->pages + 1), sizeof *lists), *next = lists;
    for (uint32_t i = 0; i < l->s->span_count; i++) {
        const uint32_t count = (l->s->spans[i].tokens + KG_PAGE - 1) / KG_PAGE;
        spans[i] = l->s->spans[i];
        spans[i].pages = memcpy(next, l->numbers + l->s->first_page[i], count * sizeof *next);
        next += count;
    }
    struct kg_span *turn = &spans[l->s->span_count - 1];
    if (cut && turn->base <= last && last - turn->base + 1 < turn->tokens)
        turn->tokens = (uint32_t)(last - turn->base + 1);
    if (rig->b->view_set(rig->d, l->view, spans, l->s->span_count, &err) != KG_OK)
        fail_msg("cannot set a view: %s", err.text);
    memset(lists, 0xff, (size_t)SCENE_SPANS_MAX * (l->s->pages + 1) * sizeof *lists);
    free(lists);
}

void scene_choose(const struct rig *rig, void *loaded, uint32_t first, uint32_t rows, float *out)
{
    struct loaded *l = loaded;
    const struct scene *s = l->s;
    const size_t width = (size_t)s->attention.heads * s->shape.head_size, bytes = (size_t)rows * s->shape.kv_heads * s->look.k * sizeof(int32_t);
    struct kg_rope rope = s->rope;
    struct kg_attention attention = s->attention;
    struct kg_look look = s->look;
    attention.rope = &rope;
    set_view(rig, l, (int64_t)s->position + first + rows - 1, l->runs++ % 2);
    struct kg_buffer *q = rig_upload(rig, s->q + first * width, rows * width * sizeof *s->q), *chosen = rig_result(rig, bytes);
    rig->b->step_begin(rig->d, rows);
    rig->b->choose(rig->d, chosen, q, l->kv, s->layer, l->view, &attention, &look, s->position + (int32_t)first, rows);
    memset(&look, 0xff, sizeof look);
    rig->b->step_end(rig->d);
    rig_take(rig, chosen, out, bytes);
    rig_free(rig, q);
}

void scene_attend(const struct rig *rig, void *loaded, uint32_t first, uint32_t rows, float *out)
{
    struct loaded *l = loaded;
    const struct scene *s = l->s;
    const size_t width = (size_t)s->attention.heads * s->shape.head_size, bytes = rows * width * sizeof(float);
    const size_t list = (size_t)s->shape.kv_heads * s->look.k;
    struct kg_rope rope = s->rope;
    struct kg_attention attention = s->attention;
    struct kg_look look = s->look;
    attention.rope = &rope;
    set_view(rig, l, 0, false);
    struct kg_buffer *q = rig_upload(rig, s->q + first * width, bytes), *y = rig_result(rig, bytes);
    struct kg_buffer *chosen = rig_upload(rig, s->lists + first * list, rows * list * sizeof *s->lists);
    rig->b->step_begin(rig->d, rows);
    rig->b->attend_chosen(rig->d, y, q, l->kv, s->layer, l->view, &attention, &look, chosen, s->position + (int32_t)first, rows);
    memset(&look, 0xff, sizeof look);
    rig->b->step_end(rig->d);
    rig_take(rig, y, out, bytes);
    rig_free(rig, q);
    rig_free(rig, chosen);
}

uint32_t scene_tokens(const struct scene *s)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < s->span_count; i++)
        n += s->spans[i].tokens;
    return n;
}

void scene_describe(const struct scene *s, char *text, size_t size)
{
    snprintf(text, size, "%s: %u/%u heads of %u, layout %d, %u pairs, %u bits, cap %g, k %u", s->name, s->attention.heads, s->attention.kv_heads,
             s->shape.head_size, (int)s->rope.layout, s->rope.pairs, s->shape.index_bits, (double)s->attention.soft_cap, s->look.k);
}

/* One block that grows: each row sees one token more; its last pages are in no index yet. */
void scene_chain(struct scene *s)
{
    s->name = "a chain";
    s->position = 131;
    scene_add_span(s, 131 + s->rows, 0, 0, false);
}

/* A preamble of two blocks that share the sinks, files behind it with gaps between them, each stored for the place right
 * behind the preamble, one of them twice, one whose middle page is in no index, one that comes into view while rows pass,
 * one behind all; and the turn that grows. */
void scene_files(struct scene *s)
{
    static const uint32_t tokens[] = { 1, 31, 32, 33, 100, 64, 2, 65 };
    s->name = "files behind a preamble";
    s->position = 5000;
    s->look = (struct kg_look){ .sinks = 9, .window = 70, .k = 40 };
    scene_add_span(s, 5, 0, 0, true);
    scene_add_span(s, 30, 5, 5, true);
    int32_t base = 35;
    for (uint32_t i = 0; i < 8; i++) {
        if (i == 4)
            s->never_indexed = s->pages + 1;
        scene_add_span(s, tokens[i], base, 35, i != 3);
        base += (int32_t)tokens[i] + (i % 3 == 0 ? 211 : 0);
    }
    add_again(s, 6, 3000);
    scene_add_span(s, 40, 4960, 700, true);
    scene_add_span(s, 40, 5003, 700, true);
    scene_add_span(s, 40, 9000, 17, true);
    scene_add_span(s, 10 + s->rows, 4990, 4000, false);
}

/* Many small blocks far away from where they were read. */
void scene_many_blocks(struct scene *s)
{
    uint64_t seed = 4;
    s->name = "many blocks";
    s->position = 120000;
    s->look.k = 50;
    for (uint32_t i = 0; i < 44; i++)
        scene_add_span(s, 1 + seeded_below(&seed, i % 4 ? 8 : 70), (int32_t)(2500 * i + 100), (int32_t)seeded_below(&seed, 4000), i % 5 != 0);
    scene_add_span(s, s->rows, 120000, 5, false);
}

/* More segments than one, and more chosen than one part of a list. */
void scene_long_text(struct scene *s)
{
    const uint32_t before = conformance_long() ? 4099 : 1300;
    s->name = "a long text";
    s->position = (int32_t)before + 300;
    s->look = (struct kg_look){ .sinks = 4, .window = 256, .k = 256 };
    scene_add_span(s, before, 300, 20, true);
    scene_add_span(s, s->rows, s->position, 20 + (int32_t)before, false);
}

bool scene_has_recall(const struct variant *variant)
{
    const struct kg_backend *b = kg_backend_find(variant->backend);
    return b && b->index_write && b->index_export && b->index_import && b->choose && b->attend_chosen;
}

void scene_over(void **state, void (*build)(struct scene *), uint32_t rows, void (*check)(const struct variant *, struct scene *, uint64_t seed))
{
    const struct variant *variant = *state;
    const bool ref = strcmp(variant->backend, "ref") == 0, all = conformance_long();
    if (!scene_has_recall(variant))
        skip();
    for (size_t h = 0; h < SCENE_HEADS; h++) {
        if (!all && h >= 4 && (h + rows) % 3) /* (each shape meets some of the scenes) */
            continue;
        struct scene s = { .rows = ref && !all ? 2 : rows }; /* ref is slow, and compared with itself */
        scene_set_heads(&s, &scene_heads[h]);
        if (!conformance_keeps(variant, &s.shape))
            continue;
        build(&s);
        scene_fill(&s, h);
        check(variant, &s, h);
        scene_free(&s);
    }
}
