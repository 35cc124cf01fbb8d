/* The key index, the choice of tokens by it, and attention over what was chosen, of every backend that has them. */
#include <float.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/type.h"
#include "tests/unit/conformance.h"
#include "tests/unit/seeded.h"

#define SPANS_MAX 48
#define LAYERS    2

/* A view over blocks that stand in pages 0 .. n-1 of `bits`; load gives them other numbers on every device. */
struct scene {
    const char *name;
    struct kg_kv_shape shape;
    struct kg_attention attention;
    struct kg_rope rope;
    struct kg_look look;
    uint32_t layer, rows, pages, span_count;
    int32_t position; /* of the first row */
    struct kg_span spans[SPANS_MAX];
    uint32_t first_page[SPANS_MAX];
    bool closes[SPANS_MAX]; /* the last page is indexed as far as it is filled */
    uint32_t never_indexed; /* a page; behind all if none */
    uint8_t *bits, *index;  /* of all pages */
    uint8_t *indexed;
    float *q;
    double deviation; /* of q */
    int32_t *lists; /* for attention: (rows, kv_heads, k) */
};

/* The heads, how they are rotated, and bits of the index. */
struct heads {
    uint32_t heads, kv_heads, head_size;
    enum kg_rope_layout layout;
    uint32_t pairs, bits;
    float soft_cap;
};

static const struct heads every_heads[] = {
    { 14, 2, 64, KG_ROPE_HALVES, 32, 2, 0 },      { 1, 1, 64, KG_ROPE_HALVES, 31, 1, 0 },  { 3, 1, 96, KG_ROPE_HALVES, 48, 2, 5 },
    { 7, 1, 32, KG_ROPE_INTERLEAVED, 16, 2, 0 },  { 6, 2, 128, KG_ROPE_HALVES, 64, 4, 0 }, { 5, 5, 80, KG_ROPE_INTERLEAVED, 20, 2, 0 },
    { 2, 1, 256, KG_ROPE_HALVES, 64, 2, 30 },     { 4, 2, 48, KG_ROPE_NONE, 0, 2, 0 },     { 9, 3, 64, KG_ROPE_INTERLEAVED, 32, 4, 0 },
    { 16, 1, 72, KG_ROPE_HALVES, 36, 4, 0 },      { 8, 8, 40, KG_ROPE_HALVES, 13, 4, 20 }, { 6, 3, 160, KG_ROPE_HALVES, 80, 1, 0 },
    { 20, 2, 128, KG_ROPE_INTERLEAVED, 64, 1, 0 }, { 3, 3, 112, KG_ROPE_HALVES, 56, 2, 0 },
};
#define HEADS (sizeof every_heads / sizeof *every_heads)

static void set_heads(struct scene *s, const struct heads *h)
{
    s->shape = (struct kg_kv_shape){ .layers = LAYERS, .kv_heads = h->kv_heads, .head_size = h->head_size, .index_bits = h->bits };
    s->layer = h->heads % LAYERS;
    s->rope = (struct kg_rope){ .layout = h->layout, .pairs = h->pairs, .scale = h->soft_cap > 0 ? 1.125F : 1 };
    for (uint32_t j = 0; j < h->pairs; j++)
        s->rope.frequency[j] = pow(1e5, -(double)j / h->pairs);
    s->attention = (struct kg_attention){ h->heads, h->kv_heads, h->head_size, (float)(1 / sqrt(h->head_size)), h->soft_cap, NULL };
    s->look = (struct kg_look){ .sinks = 4, .window = 64, .k = 24 };
    s->never_indexed = UINT32_MAX;
    s->deviation = 1;
}

/* A span over new pages. */
static void add_span(struct scene *s, uint32_t tokens, int32_t base, int32_t local, bool closes)
{
    assert_true(s->span_count < SPANS_MAX);
    s->spans[s->span_count] = (struct kg_span){ NULL, tokens, base, local };
    s->closes[s->span_count] = closes;
    s->first_page[s->span_count++] = s->pages;
    s->pages += (tokens + KG_PAGE - 1) / KG_PAGE;
}

/* The same block once more, at another base. */
static void add_again(struct scene *s, uint32_t span, int32_t base)
{
    assert_true(s->span_count < SPANS_MAX);
    s->spans[s->span_count] = s->spans[span];
    s->spans[s->span_count].base = base;
    s->closes[s->span_count] = s->closes[span];
    s->first_page[s->span_count++] = s->first_page[span];
}

static uint16_t *half_at(const struct scene *s, uint32_t page, bool value, uint32_t head, uint32_t slot)
{
    const size_t at = (((size_t)page * LAYERS + s->layer) * 2 + value) * s->shape.kv_heads + head;
    return (uint16_t *)(void *)s->bits + (at * KG_PAGE + slot) * s->shape.head_size;
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

static struct kg_kv *create_pages(const struct rig *rig, const struct kg_kv_shape *shape, uint32_t pages)
{
    struct kg_error err = { 0 };
    struct kg_kv *kv = NULL;
    if (rig->b->kv_create(rig->d, shape, &kv, &err) != KG_OK || rig->b->kv_reserve(rig->d, kv, pages, &err) != KG_OK)
        fail_msg("cannot create pages: %s", err.text);
    return kv;
}

/* The index as ref has it: for imports, and for the ranks that choices are judged by. The other layer counts as indexed. */
static void take_index(struct scene *s)
{
    struct rig ref = rig_open(NULL, 1);
    struct kg_kv *kv = create_pages(&ref, &s->shape, s->pages);
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
static void fill(struct scene *s, uint64_t seed)
{
    const size_t bytes = KG_KV_PAGE_BYTES(&s->shape) * s->pages, n = (size_t)s->rows * s->attention.heads * s->shape.head_size;
    s->bits = test_alloc(bytes, 1);
    for (size_t i = 0; i < bytes; i += 2)
        memcpy(s->bits + i, i % 4 ? "\xff\x7f" : "\x00\xfe", 2);
    for (uint32_t i = 0; i < s->span_count; i++) {
        for (uint32_t t = 0; t < s->spans[i].tokens; t++) {
            for (uint32_t h = 0; h < 2 * s->shape.kv_heads; h++) {
                uint16_t *to = half_at(s, s->first_page[i] + t / KG_PAGE, h % 2, h / 2, t % KG_PAGE);
                for (uint32_t d = 0; d < s->shape.head_size; d++)
                    to[d] = kg_f16_from_double(seeded_normal(&seed) * (d % 7 ? 1 : 4));
                if (t % 11 == 5) /* equal ranks */
                    memcpy(to, half_at(s, s->first_page[i] + (t - 1) / KG_PAGE, h % 2, h / 2, (t - 1) % KG_PAGE), 2 * (size_t)s->shape.head_size);
            }
        }
    }
    s->q = test_alloc(n, sizeof *s->q);
    seeded_normals(&seed, s->deviation, s->q, n);
    take_index(s);
}

static void free_scene(struct scene *s)
{
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

static void *load(const struct rig *rig, const void *what)
{
    static uint64_t numbering;
    const struct scene *s = what;
    struct kg_error err = { 0 };
    struct loaded *l = test_alloc(1, sizeof *l);
    const uint32_t spare = 5;
    *l = (struct loaded){ .s = s, .numbers = test_alloc(s->pages + spare + SPANS_MAX, sizeof *l->numbers) };
    for (uint32_t p = 0; p < s->pages + spare; p++)
        l->numbers[p] = p;
    numbering++;
    seeded_shuffle(&(uint64_t){ numbering }, l->numbers, s->pages + spare);
    l->kv = create_pages(rig, &s->shape, s->pages + spare);
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

static void unload(const struct rig *rig, void *loaded)
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
    struct kg_span spans[SPANS_MAX];
    uint32_t *lists = test_alloc((size_t)SPANS_MAX * (l->s->pages + 1), sizeof *lists), *next = lists;
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
    memset(lists, 0xff, (size_t)SPANS_MAX * (l->s->pages + 1) * sizeof *lists);
    free(lists);
}

static void run_choose(const struct rig *rig, void *loaded, uint32_t first, uint32_t rows, float *out)
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

static void run_attend(const struct rig *rig, void *loaded, uint32_t first, uint32_t rows, float *out)
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

static const struct operation choose = { "choose", load, run_choose, unload };
static const struct operation attend_chosen = { "attend_chosen", load, run_attend, unload };

/* What a token's rank is, and how far f32 may be from it. */
struct judged {
    bool choosable;
    double rank, error;
};

/* A query head as it meets the index of a page, and what f32 may make of it:
 *
 *   rotation      3 roundings of numbers up to |a| + |b|, the pair's elements: `size`
 *   products      up to 64 in a chain and 2 levels of additions: with the rotation less than 2^-17 of the sum of magnitudes
 *   r             differs by 1 where q' step / a is nearer to a half than the error of that quotient */
struct met {
    double offset, a, magnitude, r[KG_HEAD_MAX];
    bool uncertain[KG_HEAD_MAX];
    const uint8_t *codes;
};

static void meet(struct met *met, const struct scene *s, uint32_t page, uint32_t kv_head, const double *q, const double *size)
{
    const uint32_t n = s->shape.head_size, levels = (1U << s->shape.index_bits) - 1;
    const uint8_t *at = s->index + page * KG_INDEX_PAGE_BYTES(&s->shape) + ((size_t)s->layer * s->shape.kv_heads + kv_head) * KG_INDEX_HEAD_BYTES(&s->shape);
    double step[KG_HEAD_MAX], most = 0;
    *met = (struct met){ .codes = at + 3 * (size_t)n };
    for (uint32_t d = 0; d < n; d++) {
        uint16_t m;
        memcpy(&m, at + 2 * (size_t)d, sizeof m);
        step[d] = at[2 * n + d] ? exp2((at[2 * n + d] - 128) / 8.0) : 0;
        most = fmax(most, fabs(q[d]) * step[d]);
        met->offset += q[d] * kg_f16_to_double(m);
        met->magnitude += size[d] * (fabs(kg_f16_to_double(m)) + step[d] * levels);
    }
    met->a = most / 127;
    for (uint32_t d = 0; d < n && most > 0; d++) {
        const double y = q[d] * step[d] / met->a;
        met->r[d] = nearbyint(y);
        met->uncertain[d] = fabs(fabs(y - met->r[d]) - 0.5) < 127 * 0x1p-20 * (1 + size[d] * step[d] / most);
    }
}

static double score_by_index(const struct scene *s, const struct met *met, uint32_t slot, double *error)
{
    const uint32_t bits = s->shape.index_bits;
    double sum = 0, flips = 0;
    for (uint32_t d = 0; d < s->shape.head_size; d++) {
        const uint32_t c = met->codes[(size_t)(d * bits / 8) * KG_PAGE + slot] >> (d * bits % 8) & ((1U << bits) - 1);
        sum += met->r[d] * c;
        flips += met->uncertain[d] ? c : 0;
    }
    *error = 0x1p-17 * met->magnitude + met->a * flips;
    return met->offset + met->a * sum;
}

static double score_exactly(const struct scene *s, const uint16_t *key, const double *q, const double *size, double *error)
{
    double score = 0, magnitude = 0;
    for (uint32_t d = 0; d < s->shape.head_size; d++) {
        score += q[d] * kg_f16_to_double(key[d]);
        magnitude += size[d] * fabs(kg_f16_to_double(key[d]));
    }
    *error = 0x1p-17 * magnitude;
    return score;
}

static void rotate(const struct scene *s, const float *x, int64_t position, double *q, double *size)
{
    for (uint32_t d = 0; d < s->shape.head_size; d++) {
        q[d] = (double)x[d];
        size[d] = fabs(q[d]);
    }
    for (uint32_t j = 0; j < s->rope.pairs; j++) {
        const bool halves = s->rope.layout == KG_ROPE_HALVES;
        const uint32_t a = halves ? j : 2 * j, b = halves ? j + s->rope.pairs : 2 * j + 1;
        const double angle = (double)position * s->rope.frequency[j], scale = (double)s->rope.scale;
        q[a] = scale * ((double)x[a] * cos(angle) - (double)x[b] * sin(angle));
        q[b] = scale * ((double)x[a] * sin(angle) + (double)x[b] * cos(angle));
        size[a] = size[b] = scale * (fabs((double)x[a]) + fabs((double)x[b]));
    }
}

static uint32_t tokens_of(const struct scene *s)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < s->span_count; i++)
        n += s->spans[i].tokens;
    return n;
}

/* Scores of all that a query head sees, by the header. */
static void score_head(const struct scene *s, int64_t position, uint32_t kv_head, const float *x, struct judged *tokens, double *scores, double *errors)
{
    const double scale = (double)s->attention.scale, cap = (double)s->attention.soft_cap;
    double q[KG_HEAD_MAX], size[KG_HEAD_MAX];
    struct met met = { 0 };
    uint32_t at = 0;
    for (uint32_t i = 0; i < s->span_count; at += s->spans[i++].tokens) {
        const struct kg_span *span = &s->spans[i];
        rotate(s, x, position - span->base + span->local, q, size);
        for (uint32_t t = 0; t < span->tokens && (int64_t)span->base + t <= position; t++) {
            const int64_t p = (int64_t)span->base + t;
            const uint32_t page = s->first_page[i] + t / KG_PAGE;
            bool *choosable = &tokens[at + t].choosable;
            double error;
            if (t % KG_PAGE == 0)
                meet(&met, s, page, kv_head, q, size);
            *choosable = p >= s->look.sinks && p <= position - s->look.window && t % KG_PAGE < s->indexed[page];
            const double score = scale * (*choosable ? score_by_index(s, &met, t % KG_PAGE, &error)
                                                     : score_exactly(s, half_at(s, page, false, kv_head, t % KG_PAGE), q, size, &error));
            scores[at + t] = cap > 0 ? cap * tanh(score / cap) : score;
            errors[at + t] = scale * error + cap * 0x1p-20;
        }
    }
}

/* What it adds to the ranks. exp may be wrong by 1.1e-4 of itself, and so may the sum. */
static void judge_head(const struct scene *s, uint32_t row, uint32_t kv_head, uint32_t head, struct judged *tokens, double *scores, double *errors)
{
    const uint32_t n = tokens_of(s);
    double most = -INFINITY, total = 0, error = 0;
    for (uint32_t t = 0; t < n; t++)
        scores[t] = -INFINITY;
    score_head(s, (int64_t)s->position + row, kv_head, s->q + ((size_t)row * s->attention.heads + head) * s->shape.head_size, tokens, scores, errors);
    for (uint32_t t = 0; t < n; t++)
        most = fmax(most, scores[t]);
    for (uint32_t t = 0; t < n; t++) {
        total += exp(scores[t] - most);
        error += scores[t] > -INFINITY ? exp(scores[t] - most) * errors[t] : 0;
    }
    for (uint32_t t = 0; t < n; t++) {
        if (scores[t] == -INFINITY || !(total > 0))
            continue;
        tokens[t].rank = fmax(tokens[t].rank, scores[t] - most - log(total));
        tokens[t].error = fmax(tokens[t].error, errors[t] + error / total + 1.2e-4 + 0x1p-21 * fabs(most));
    }
}

/* A list is ascending, of tokens that may be chosen, and as long as it can be. */
static void require_list(const struct scene *s, const struct judged *tokens, const int32_t *list, bool *taken)
{
    const uint32_t n = tokens_of(s);
    uint32_t choosable = 0, count = 0;
    for (uint32_t t = 0; t < n; t++)
        choosable += tokens[t].choosable;
    for (; count < s->look.k && list[count] >= 0; count++) {
        assert_true((uint32_t)list[count] < n && tokens[list[count]].choosable);
        assert_true(count == 0 || list[count - 1] < list[count]);
        taken[list[count]] = true;
    }
    for (uint32_t i = count; i < s->look.k; i++)
        assert_int_equal(list[i], -1);
    assert_int_equal(count, choosable < s->look.k ? choosable : s->look.k);
}

/* Is the list what the header asks for, but for ranks that f32 cannot tell apart? For ref they all can. */
static void judge_row(const struct scene *s, uint32_t row, uint32_t kv_head, const int32_t *list, bool exact)
{
    const uint32_t n = tokens_of(s), group = s->attention.heads / s->attention.kv_heads;
    struct judged *tokens = test_alloc(n, sizeof *tokens);
    double *scores = test_alloc(n, sizeof *scores), *errors = test_alloc(n, sizeof *errors);
    bool *taken = test_alloc(n, sizeof *taken);
    for (uint32_t t = 0; t < n; t++)
        tokens[t].rank = -INFINITY;
    for (uint32_t g = 0; g < group; g++)
        judge_head(s, row, kv_head, kv_head * group + g, tokens, scores, errors);
    require_list(s, tokens, list, taken);
    double least = INFINITY; /* of what was taken, as large as it may be */
    uint32_t last = 0;
    for (uint32_t t = 0; t < n; t++) {
        const double reach = tokens[t].rank + (exact ? 1e-9 : tokens[t].error);
        last = taken[t] && reach <= least ? t : last;
        least = taken[t] ? fmin(least, reach) : least;
    }
    for (uint32_t t = 0; t < n; t++) {
        if (tokens[t].choosable && !taken[t] && tokens[t].rank - (exact ? 1e-9 : tokens[t].error) > least)
            fail_msg("%s: row %u, KV head %u: token %u (rank %.9g +- %.2g) was left out for token %u (%.9g +- %.2g)", s->name, row, kv_head, t,
                     tokens[t].rank, tokens[t].error, last, tokens[last].rank, tokens[last].error);
    }
    free(tokens);
    free(scores);
    free(errors);
    free(taken);
}

static void describe(const struct scene *s, char *text, size_t size)
{
    snprintf(text, size, "%s: %u/%u heads of %u, layout %d, %u pairs, %u bits, cap %g, k %u", s->name, s->attention.heads, s->attention.kv_heads,
             s->shape.head_size, (int)s->rope.layout, s->rope.pairs, s->shape.index_bits, (double)s->attention.soft_cap, s->look.k);
}

static void check_choice(const struct variant *variant, const struct scene *s)
{
    char text[160];
    const uint32_t width = s->attention.kv_heads * s->look.k;
    const bool exact = strcmp(variant->backend, "ref") == 0;
    int32_t *got = test_alloc((size_t)s->rows * width, sizeof *got);
    describe(s, text, sizeof text);
    check_operation(variant, &choose, s, s->rows, width, -1, text, NULL, (float *)(void *)got);
    for (uint32_t r = 0; r < s->rows; r += conformance_long() ? 1 : 1 + s->rows / 3)
        for (uint32_t h = 0; h < s->attention.kv_heads; h++)
            judge_row(s, r, h, got + (size_t)r * width + (size_t)h * s->look.k, exact);
    free(got);
}

/* Lists of any tokens, ascending: of S and L and in no index, and some that no row sees yet; some lists are empty. */
static void make_lists(struct scene *s, uint64_t seed)
{
    const uint32_t n = tokens_of(s), k = s->look.k;
    s->lists = test_alloc((size_t)s->rows * s->attention.kv_heads * k, sizeof *s->lists);
    for (uint32_t i = 0; i < s->rows * s->attention.kv_heads; i++) {
        int32_t *list = s->lists + (size_t)i * k;
        const uint32_t wanted = i % 5 == 3 ? 0 : i % 5 == 4 ? 1 + seeded_below(&seed, k) : k;
        uint32_t count = 0;
        for (uint32_t t = 0; t < n && count < wanted; t++)
            if (seeded_below(&seed, n - t) < wanted - count)
                list[count++] = (int32_t)t;
        for (; count < k; count++)
            list[count] = -1;
    }
}

static void check_attention(const struct variant *variant, const struct scene *s, double tolerance, float *got)
{
    char text[160];
    describe(s, text, sizeof text);
    check_operation(variant, &attend_chosen, s, s->rows, s->attention.heads * s->shape.head_size, tolerance, text, NULL, got);
}

/* One block that grows: each row sees one token more; its last pages are in no index yet. */
static void a_chain(struct scene *s)
{
    s->name = "a chain";
    s->position = 131;
    add_span(s, 131 + s->rows, 0, 0, false);
}

/* The first tokens of all. */
static void a_beginning(struct scene *s)
{
    s->name = "a beginning";
    s->look.k = 3;
    add_span(s, s->rows, 0, 0, true);
}

/* A preamble of two blocks that share the sinks, files behind it with gaps between them, each stored for the place right
 * behind the preamble, one of them twice, one whose middle page is in no index, one that comes into view while rows pass,
 * one behind all; and the turn that grows. */
static void files_behind_a_preamble(struct scene *s)
{
    static const uint32_t tokens[] = { 1, 31, 32, 33, 100, 64, 2, 65 };
    s->name = "files behind a preamble";
    s->position = 5000;
    s->look = (struct kg_look){ .sinks = 9, .window = 70, .k = 40 };
    add_span(s, 5, 0, 0, true);
    add_span(s, 30, 5, 5, true);
    int32_t base = 35;
    for (uint32_t i = 0; i < 8; i++) {
        if (i == 4)
            s->never_indexed = s->pages + 1;
        add_span(s, tokens[i], base, 35, i != 3);
        base += (int32_t)tokens[i] + (i % 3 == 0 ? 211 : 0);
    }
    add_again(s, 6, 3000);
    add_span(s, 40, 4960, 700, true);
    add_span(s, 40, 5003, 700, true);
    add_span(s, 40, 9000, 17, true);
    add_span(s, 10 + s->rows, 4990, 4000, false);
}

/* Many small blocks far away from where they were read. */
static void many_blocks(struct scene *s)
{
    uint64_t seed = 4;
    s->name = "many blocks";
    s->position = 120000;
    s->look.k = 50;
    for (uint32_t i = 0; i < 44; i++)
        add_span(s, 1 + seeded_below(&seed, i % 4 ? 8 : 70), (int32_t)(2500 * i + 100), (int32_t)seeded_below(&seed, 4000), i % 5 != 0);
    add_span(s, s->rows, 120000, 5, false);
}

/* More segments than one, and more chosen than one part of a list. */
static void a_long_text(struct scene *s)
{
    const uint32_t before = conformance_long() ? 4099 : 1300;
    s->name = "a long text";
    s->position = (int32_t)before + 300;
    s->look = (struct kg_look){ .sinks = 4, .window = 256, .k = 256 };
    add_span(s, before, 300, 20, true);
    add_span(s, s->rows, s->position, 20 + (int32_t)before, false);
}

/* Nothing that is always looked at, and scores of some thousands. */
static void far_scores(struct scene *s)
{
    s->name = "far scores";
    s->position = 9000;
    s->deviation = 200;
    add_span(s, 210, 100, 40, true);
    add_span(s, 70, 700, 40, true);
}

/* The same with tokens that are always looked at. */
static void far_scores_in_a_chain(struct scene *s)
{
    a_chain(s);
    s->name = "far scores in a chain";
    s->deviation = 200;
}

/* More than there is to choose. */
static void a_wide_choice(struct scene *s)
{
    s->name = "a wide choice";
    s->position = 400;
    s->look = (struct kg_look){ .sinks = 4, .window = 64, .k = 330 + s->rows / 2 };
    add_span(s, 400 + s->rows, 0, 0, true);
}

static bool has_recall(const struct variant *variant)
{
    const struct kg_backend *b = kg_backend_find(variant->backend);
    return b && b->index_write && b->index_export && b->index_import && b->choose && b->attend_chosen;
}

static void over(void **state, void (*build)(struct scene *), uint32_t rows, bool attention)
{
    const struct variant *variant = *state;
    const bool ref = strcmp(variant->backend, "ref") == 0, all = conformance_long();
    if (!has_recall(variant))
        skip();
    for (size_t h = 0; h < HEADS; h++) {
        if (!all && h >= 4 && (h + rows) % 3) /* (each shape meets some of the scenes) */
            continue;
        struct scene s = { .rows = ref && !all ? 2 : rows }; /* ref is slow, and compared with itself */
        set_heads(&s, &every_heads[h]);
        build(&s);
        fill(&s, h);
        if (attention) {
            make_lists(&s, h);
            check_attention(variant, &s, 1e-5, NULL);
        } else {
            check_choice(variant, &s);
        }
        free_scene(&s);
    }
}

static void choice_in_a_chain(void **state)
{
    over(state, a_chain, CONFORMANCE_ROWS, false);
}

static void choice_in_a_beginning(void **state)
{
    over(state, a_beginning, CONFORMANCE_ROWS, false);
}

static void choice_among_files(void **state)
{
    over(state, files_behind_a_preamble, 33, false);
}

static void choice_among_many_blocks(void **state)
{
    over(state, many_blocks, 9, false);
}

static void choice_in_a_long_text(void **state)
{
    over(state, a_long_text, 4, false);
}

static void choice_of_nearly_all(void **state)
{
    over(state, a_wide_choice, 11, false);
}

static void choice_by_far_scores(void **state)
{
    over(state, far_scores, 3, false);
    over(state, far_scores_in_a_chain, 12, false);
}

static void attention_in_a_chain(void **state)
{
    over(state, a_chain, CONFORMANCE_ROWS, true);
}

static void attention_among_files(void **state)
{
    over(state, files_behind_a_preamble, 33, true);
}

static void attention_among_many_blocks(void **state)
{
    over(state, many_blocks, 9, true);
}

static void attention_in_a_long_text(void **state)
{
    over(state, a_long_text, 4, true);
}

/* Keys of all kinds: equal ones, zeros of both signs, the smallest and the largest numbers, steps that fit exactly. */
static void odd_keys(const struct scene *s, uint64_t *seed)
{
    static const double sizes[] = { 1, 6e-8, 3e-5, 65504, 0, 0.5 };
    for (uint32_t p = 0; p < s->pages; p++) {
        for (uint32_t h = 0; h < s->shape.kv_heads; h++) {
            for (uint32_t d = 0; d < s->shape.head_size; d++) {
                const double size = sizes[seeded_below(seed, 6)];
                const uint32_t kind = seeded_below(seed, 4);
                for (uint32_t t = 0; t < KG_PAGE; t++) {
                    double k = kind == 0 ? seeded_uniform(seed, -size, size) : kind == 1 ? size * (t % 4) / 3 : kind == 2 ? (t % 2 ? -0.0 : 0.0) * size : size;
                    half_at(s, p, false, h, t)[d] = kg_f16_from_double(k);
                }
            }
        }
    }
}

static void index_of(const struct rig *rig, const struct scene *s, bool closes, uint8_t *index, uint32_t *tokens)
{
    struct kg_kv *kv = create_pages(rig, &s->shape, s->pages);
    uint32_t *numbers = test_alloc(s->pages, sizeof *numbers);
    for (uint32_t p = 0; p < s->pages; p++) {
        numbers[p] = s->pages - 1 - p;
        rig->b->kv_import(rig->d, kv, numbers[p], s->bits + p * KG_KV_PAGE_BYTES(&s->shape));
    }
    for (uint32_t l = 0; l < LAYERS; l++) {
        rig->b->index_write(rig->d, kv, l, numbers, 0, 45, false);
        rig->b->index_write(rig->d, kv, l, numbers, 45, s->spans[0].tokens - 45, closes);
    }
    for (uint32_t p = 0; p < s->pages; p++)
        assert_int_equal(rig->b->index_export(rig->d, kv, numbers[p], index + p * KG_INDEX_PAGE_BYTES(&s->shape), &tokens[p], NULL), KG_OK);
    rig->b->kv_free(rig->d, kv);
    free(numbers);
}

/* The index is the same to the bit, and what is imported is exported again. */
static void indexes_are_equal(void **state)
{
    const struct variant *variant = *state;
    if (!has_recall(variant))
        skip();
    struct rig ref = rig_open(NULL, 1), rig = rig_open(variant, 2);
    for (size_t h = 0; h < 2 * HEADS; h++) {
        struct scene s = { .rows = 1 };
        uint64_t seed = h;
        set_heads(&s, &every_heads[h / 2]);
        add_span(&s, 3 * KG_PAGE + 13, 0, 0, true);
        fill(&s, h);
        for (s.layer = 0; s.layer < LAYERS; s.layer++)
            odd_keys(&s, &seed);
        s.layer = 0;
        const size_t bytes = KG_INDEX_PAGE_BYTES(&s.shape);
        uint8_t *want = test_alloc(s.pages, bytes), *got = test_alloc(s.pages, bytes);
        uint32_t *want_tokens = test_alloc(s.pages, sizeof *want_tokens), *got_tokens = test_alloc(s.pages, sizeof *got_tokens);
        index_of(&ref, &s, h % 2, want, want_tokens);
        index_of(&rig, &s, h % 2, got, got_tokens);
        assert_memory_equal(got_tokens, want_tokens, s.pages * sizeof *got_tokens);
        assert_int_equal(got_tokens[2], KG_PAGE);
        assert_int_equal(got_tokens[3], h % 2 ? 13 : 0);
        assert_memory_equal(got, want, (s.pages - 1 + h % 2) * bytes);
        struct kg_kv *kv = create_pages(&rig, &s.shape, 3);
        seeded_shuffle(&seed, (uint32_t *)(void *)want, bytes / 4);
        rig.b->index_import(rig.d, kv, 1, want, 29);
        assert_int_equal(rig.b->index_export(rig.d, kv, 1, got, got_tokens, NULL), KG_OK);
        assert_memory_equal(got, want, bytes);
        assert_int_equal(*got_tokens, 29);
        rig.b->kv_free(rig.d, kv);
        free(want), free(got), free(want_tokens), free(got_tokens);
        free_scene(&s);
    }
    rig_close(&rig);
    rig_close(&ref);
}

/* A page that is written to leaves the index of that layer, others stay. */
static void writing_takes_out_of_the_index(void **state)
{
    if (!has_recall(*state))
        skip();
    struct rig rig = rig_open(*state, 2);
    struct scene s = { .rows = 1 };
    set_heads(&s, &every_heads[0]);
    struct kg_kv *kv = create_pages(&rig, &s.shape, 4);
    const size_t row = (size_t)s.shape.kv_heads * s.shape.head_size;
    float *x = test_alloc(row * 100, sizeof *x);
    struct kg_buffer *buffer = rig_upload(&rig, x, row * 100 * sizeof *x);
    uint8_t *index = test_alloc(KG_INDEX_PAGE_BYTES(&s.shape), 1);
    const uint32_t pages[] = { 2, 0, 3, 1 };
    uint32_t tokens[2][4];
    for (uint32_t l = 0; l < LAYERS; l++) {
        rig.b->kv_write(rig.d, kv, l, pages, 0, 0, buffer, buffer, &s.rope, 100);
        rig.b->index_write(rig.d, kv, l, pages, 0, 100, true);
    }
    for (int after = 0; after < 2; after++) {
        for (uint32_t p = 0; p < 4; p++)
            assert_int_equal(rig.b->index_export(rig.d, kv, pages[p], index, &tokens[after][p], NULL), KG_OK);
        rig.b->kv_write(rig.d, kv, 1, pages, 63, 0, buffer, buffer, &s.rope, 2);
    }
    const uint32_t want[2][4] = { { 32, 32, 32, 4 }, { 32, 0, 0, 4 } };
    assert_memory_equal(tokens, want, sizeof want);
    rig_free(&rig, buffer);
    rig.b->kv_free(rig.d, kv);
    rig_close(&rig);
    free(x);
    free(index);
}

/* Spans behind a row's position change nothing but the numbers of tokens behind them. */
static void what_is_not_seen_does_not_count(void **state)
{
    if (!has_recall(*state))
        skip();
    for (size_t h = 0; h < 4; h++) {
        struct scene s = { .rows = 3 };
        set_heads(&s, &every_heads[h]);
        files_behind_a_preamble(&s);
        fill(&s, h);
        const uint32_t hidden = s.span_count - 2, tokens = s.spans[hidden].tokens;
        const size_t n = (size_t)s.rows * s.attention.kv_heads * s.look.k;
        assert_true(s.spans[hidden].base > s.position + (int32_t)s.rows);
        int32_t *with = test_alloc(n, sizeof *with), *without = test_alloc(n, sizeof *without);
        struct rig rig = rig_open(*state, 2);
        void *loaded = load(&rig, &s);
        run_choose(&rig, loaded, 0, s.rows, (float *)(void *)with);
        unload(&rig, loaded);
        const int32_t behind = (int32_t)(tokens_of(&s) - s.spans[hidden + 1].tokens);
        s.spans[hidden] = s.spans[hidden + 1];
        s.first_page[hidden] = s.first_page[hidden + 1];
        s.closes[hidden] = s.closes[hidden + 1];
        s.span_count--;
        loaded = load(&rig, &s);
        run_choose(&rig, loaded, 0, s.rows, (float *)(void *)without);
        unload(&rig, loaded);
        rig_close(&rig);
        for (size_t i = 0; i < n; i++)
            assert_int_equal(without[i], with[i] >= behind ? with[i] - (int32_t)tokens : with[i]);
        free(with);
        free(without);
        free_scene(&s);
    }
}

/* A key or a query that is no number shows wherever it stands, and lists are lists all the same. */
static void broken_numbers_show(void **state)
{
    static const uint32_t where[] = { 1, 40, 100, 132 }; /* in S, to be chosen from, in L, in L of later rows */
    if (!has_recall(*state))
        skip();
    for (uint32_t i = 0; i < 16; i++) {
        struct scene s = { .rows = 3 };
        set_heads(&s, &every_heads[0]);
        a_chain(&s);
        fill(&s, i);
        const uint32_t t = where[i % 4], head = 8; /* of the second KV head */
        const size_t n = s.shape.head_size, width = s.attention.heads * n, list = (size_t)s.shape.kv_heads * s.look.k;
        const bool key = i < 8;
        if (key)
            half_at(&s, t / KG_PAGE, false, 1, t % KG_PAGE)[i] = i < 4 ? 0x7e00 : 0x7c00; /* infinite: no weight, or none is a number */
        for (uint32_t r = 0; r < s.rows && !key; r++)
            s.q[r * width + head * n + i] = i % 2 ? NAN : INFINITY;
        free(s.index);
        free(s.indexed);
        take_index(&s);
        float *y = test_alloc(s.rows * width, sizeof *y);
        int32_t *chosen = test_alloc(s.rows * list, sizeof *chosen);
        struct judged *tokens = test_alloc(tokens_of(&s), sizeof *tokens);
        double *scratch = test_alloc(2UL * tokens_of(&s), sizeof *scratch);
        bool *taken = test_alloc(tokens_of(&s), sizeof *taken);
        struct rig rig = rig_open(*state, 2);
        void *loaded = load(&rig, &s);
        run_choose(&rig, loaded, 0, s.rows, (float *)(void *)chosen);
        s.lists = chosen;
        run_attend(&rig, loaded, 0, s.rows, y);
        for (uint32_t r = 0; r < s.rows; r++) {
            const bool seen = !key || (int32_t)t <= s.position + (int32_t)r;
            for (uint32_t h = 0; h < s.attention.heads; h++) {
                uint32_t finite = 0;
                for (uint32_t d = 0; d < n; d++)
                    finite += isfinite(y[r * width + h * n + d]) != 0;
                if (!seen || (key ? h < 7 : h != head))
                    assert_int_equal(finite, n);
                else if (!key || i < 4)
                    assert_int_equal(finite, 0);
            }
            for (uint32_t h = 0; h < s.shape.kv_heads; h++) {
                score_head(&s, (int64_t)s.position + r, h, s.q, tokens, scratch, scratch + tokens_of(&s));
                require_list(&s, tokens, chosen + r * list + h * s.look.k, taken);
            }
        }
        unload(&rig, loaded);
        rig_close(&rig);
        free(y), free(tokens), free(scratch), free(taken);
        free_scene(&s);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(indexes_are_equal),
        cmocka_unit_test(writing_takes_out_of_the_index),
        cmocka_unit_test(choice_in_a_beginning),
        cmocka_unit_test(choice_in_a_chain),
        cmocka_unit_test(choice_among_files),
        cmocka_unit_test(choice_among_many_blocks),
        cmocka_unit_test(choice_in_a_long_text),
        cmocka_unit_test(choice_of_nearly_all),
        cmocka_unit_test(choice_by_far_scores),
        cmocka_unit_test(what_is_not_seen_does_not_count),
        cmocka_unit_test(broken_numbers_show),
        cmocka_unit_test(attention_in_a_chain),
        cmocka_unit_test(attention_among_files),
        cmocka_unit_test(attention_among_many_blocks),
        cmocka_unit_test(attention_in_a_long_text),
    };
    return conformance_main(tests, sizeof tests / sizeof *tests);
}
