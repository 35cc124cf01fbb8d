/* The choice of tokens by their index (backend.h).
 *
 * A span is cut into segments of KG_SEGMENT keys from its start. For each segment of which a row sees something and each
 * query head: scores of all visible tokens, their maximum and the sum of their exponentials. When all segments are done,
 * the sums are joined in the order of the view, ranks are formed, and the best are selected.
 *
 * With many rows a task is a block of rows with one KV head, over all segments. With few rows a task is one segment for
 * one KV head, so that all threads share a long view; their scores wait in memory. Scores of a row's query heads stand
 * in slots: the pages of the view one behind the other, KG_PAGE slots each. */
#include <assert.h>
#include <float.h>
#include <math.h>
#include <string.h>

#include "kernels/cpu/device.h"
#include "kernels/cpu/look.h"

#define BLOCK_SCORES    ((size_t)256 << 10) /* scores of a block, so that they stay in the cache; at least one row */
#define BLOCK_QUERIES   64
#define SHARED_SCORES   ((size_t)16 << 20)  /* scores that may wait */
#define TASKS_A_THREAD  4
#define CANDIDATES      4 /* so many maxima for each token that is to be chosen */

/* What is known of some rows with one KV head. */
struct room {
    float *scores;              /* (queries, slots) */
    float *max, *sum;           /* (queries, segments) */
    struct kg_choosable *pages; /* (rows, pages) */
    uint32_t *choosable;        /* (rows): their number */
};

/* A thread's own. */
struct scratch {
    float *q, *q_index;     /* (queries of a block, head_size) and in the order of the index */
    float *max, *sum;       /* (segments) */
    float *log_sums;        /* (query heads of a KV head) */
    float *ranks, *maxima;  /* (slots) */
    uint32_t *candidates;   /* (slots) */
};

struct task {
    const struct kg_isa *isa;
    const struct kg_kv *kv;
    const struct kg_view *view;
    const struct kg_attention *attention;
    const struct kg_look *look;
    const float *q;
    int32_t *chosen;
    uint32_t layer, rows;
    int64_t position;
    uint32_t group; /* query heads of a KV head */
    uint32_t block_rows, blocks;
    uint32_t slots, segments; /* of the view; segments rounded up to a multiple of 16 */
    bool split;
    /* Scratch of each thread, then rooms of room_rows rows: one for each KV head where tasks are split, else for each thread. */
    char *scratch, *rooms;
    size_t scratch_bytes, room_bytes;
    uint32_t room_rows;
};

/* Some rows with one KV head. */
struct block {
    uint32_t first, rows, kv_head;
};

static size_t rounded(size_t n)
{
    return (n + 15) / 16 * 16;
}

/* Both return bytes. */
static size_t place_scratch(const struct task *task, struct kg_memory_places next, struct scratch *out)
{
    const size_t queries = (size_t)task->block_rows * task->group;
    out->q = kg_memory_place(&next, queries * task->attention->head_size, sizeof(float));
    out->q_index = kg_memory_place(&next, queries * task->kv->index.positions, sizeof(float));
    out->max = kg_memory_place(&next, task->segments, sizeof(float));
    out->sum = kg_memory_place(&next, task->segments, sizeof(float));
    out->log_sums = kg_memory_place(&next, task->group, sizeof(float));
    out->ranks = kg_memory_place(&next, task->slots, sizeof(float));
    out->maxima = kg_memory_place(&next, task->slots, sizeof(float));
    out->candidates = kg_memory_place(&next, task->slots, sizeof(uint32_t));
    return next.used;
}

static size_t place_room(const struct task *task, struct kg_memory_places next, struct room *out)
{
    const size_t queries = (size_t)task->room_rows * task->group;
    out->scores = kg_memory_place(&next, queries * task->slots, sizeof(float));
    out->max = kg_memory_place(&next, queries * task->segments, sizeof(float));
    out->sum = kg_memory_place(&next, queries * task->segments, sizeof(float));
    out->pages = kg_memory_place(&next, (size_t)task->room_rows * task->view->n_pages, sizeof *out->pages);
    out->choosable = kg_memory_place(&next, task->room_rows, sizeof(uint32_t));
    return next.used;
}

static struct scratch scratch_of(const struct task *task, uint32_t thread)
{
    struct scratch s;
    place_scratch(task, (struct kg_memory_places){ .bits = task->scratch + thread * task->scratch_bytes }, &s);
    return s;
}

/* Rows from `first` on of a room. */
static struct room room_of(const struct task *task, uint32_t index, uint32_t first)
{
    struct room room, shared;
    place_room(task, (struct kg_memory_places){ .bits = task->rooms + index * task->room_bytes }, &room);
    place_room(task, (struct kg_memory_places){ .bits = task->rooms }, &shared);
    if (task->split) { /* what may be chosen is the same for all KV heads */
        room.pages = shared.pages;
        room.choosable = shared.choosable;
    }
    room.scores += (size_t)first * task->group * task->slots;
    room.max += (size_t)first * task->group * task->segments;
    room.sum += (size_t)first * task->group * task->segments;
    room.pages += (size_t)first * task->view->n_pages;
    room.choosable += first;
    return room;
}

static struct block block_of(const struct task *task, uint32_t index, uint32_t kv_head)
{
    const uint32_t first = index * task->block_rows, left = task->rows - first;
    return (struct block){ first, left < task->block_rows ? left : task->block_rows, kv_head };
}

/* Queries of the block as the keys and the index of a span meet them. */
static void turn_queries(const struct task *task, const struct block *b, uint32_t span, const struct scratch *s)
{
    const struct kg_index_form *form = &task->kv->index;
    const uint32_t n = task->attention->head_size;
    for (uint32_t r = 0; r < b->rows; r++)
        kg_cpu_turn(task->isa, task->view, span, task->attention, task->q, b->first + r, b->kv_head, s->q + (size_t)r * task->group * n);
    for (uint32_t i = 0; i < b->rows * task->group; i++) {
        const float *from = s->q + (size_t)i * n;
        float *to = s->q_index + (size_t)i * form->positions;
        for (uint32_t p = 0; p < form->positions; p++)
            to[p] = form->channel[p] == KG_INDEX_NO_CHANNEL ? 0 : from[form->channel[p]];
    }
}

/* Exact scores of a row's query heads for slots begin .. end-1 of a page; slot 0 has its first score at room->scores[at]. */
static void score_exactly(const struct task *task, const float *q, const uint16_t *page, uint32_t begin, uint32_t end, const struct room *room,
                          size_t at)
{
    const uint16_t *keys[KG_PAGE];
    if (begin >= end)
        return;
    for (uint32_t t = begin; t < end; t++)
        keys[t - begin] = page + (size_t)t * task->attention->head_size;
    const struct kg_listed listed = {
        .keys = keys,
        .n = end - begin,
        .head_size = task->attention->head_size,
        .queries = task->group,
        .q = q,
        .scores = room->scores + at + begin,
        .stride = task->slots,
    };
    task->isa->listed_scores(&listed);
}

/* Scores of the block for a page in view, which is `tokens` keys behind the start of its span. */
static void score_page(const struct task *task, const struct block *b, uint32_t page, uint32_t tokens, const struct scratch *s, const struct room *room)
{
    const struct kg_view *view = task->view;
    const struct kg_span *span = &view->spans[view->page_spans[page]];
    size_t at = (size_t)page * KG_PAGE;
    bool by_index = false;
    for (uint32_t r = 0; r < b->rows; r++)
        by_index = by_index || room->pages[(size_t)r * view->n_pages + page].end;
    if (by_index) {
        const struct kg_index_scan scan = {
            .form = &task->kv->index,
            .index = kg_cpu_index_at(task->kv, view->pages[page], task->layer, b->kv_head),
            .queries = b->rows * task->group,
            .q = s->q_index,
            .scores = room->scores + at,
            .stride = task->slots,
        };
        task->isa->index_scan(&scan);
    }
    for (uint32_t r = 0; r < b->rows; r++, at += (size_t)task->group * task->slots) {
        const struct kg_choosable *c = &room->pages[(size_t)r * view->n_pages + page];
        const uint32_t all = kg_cpu_visible(span, task->position + b->first + r), left = all > tokens ? all - tokens : 0;
        const uint32_t seen = left < KG_PAGE ? left : KG_PAGE;
        const uint16_t *keys = kg_cpu_kv_at(task->kv, view->pages[page], task->layer, 0, b->kv_head);
        const float *q = s->q + (size_t)r * task->group * task->attention->head_size;
        score_exactly(task, q, keys, 0, c->begin < seen ? c->begin : seen, room, at);
        score_exactly(task, q, keys, c->end, seen, room, at);
    }
}

/* Keys of the segment that a row sees. */
static uint32_t visible_keys(const struct task *task, const struct kg_view_segment *where, uint32_t row)
{
    const uint32_t n = kg_cpu_visible(&task->view->spans[where->span], task->position + row);
    const uint32_t left = n > where->first ? n - where->first : 0;
    return left < KG_SEGMENT ? left : KG_SEGMENT;
}

/* Scores of a segment and their sums; queries are turned. */
static void score_segment(const struct task *task, const struct block *b, uint32_t index, const struct scratch *s, const struct room *room)
{
    const struct kg_view_segment *where = &task->view->segments[index];
    const uint32_t first_page = task->view->places[where->span].page + where->first / KG_PAGE;
    const uint32_t most = visible_keys(task, where, b->first + b->rows - 1); /* later rows see more */
    for (uint32_t t = 0; t < most; t += KG_PAGE)
        score_page(task, b, first_page + t / KG_PAGE, where->first + t, s, room);
    for (uint32_t i = 0; i < b->rows * task->group; i++) {
        const uint32_t n = visible_keys(task, where, b->first + i / task->group);
        if (n)
            task->isa->sum_exp(room->scores + (size_t)i * task->slots + (size_t)first_page * KG_PAGE, n, task->attention->soft_cap,
                               &room->max[(size_t)i * task->segments + index], &room->sum[(size_t)i * task->segments + index]);
    }
}

static int32_t token_of(const struct kg_view *view, uint32_t slot)
{
    const struct kg_view_place *place = &view->places[view->page_spans[slot / KG_PAGE]];
    return (int32_t)(place->token + (slot - place->page * KG_PAGE));
}

static void write_all(const struct task *task, const struct kg_choosable *pages, int32_t *out)
{
    uint32_t n = 0;
    for (uint32_t p = 0; p < task->view->n_pages; p++)
        for (uint32_t t = pages[p].begin; t < pages[p].end; t++)
            out[n++] = token_of(task->view, p * KG_PAGE + t);
    for (; n < task->look->k; n++)
        out[n] = -1;
}

/* Bits of floats as numbers in the same order, and back. */
static int32_t order_of(float x)
{
    int32_t bits;
    memcpy(&bits, &x, sizeof bits);
    return bits < 0 ? bits ^ INT32_MAX : bits;
}

static float of_order(int32_t order)
{
    const int32_t bits = order < 0 ? order ^ INT32_MAX : order;
    float x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

/* A number that at least k and, unless numbers are equal, at most `enough` of the vectors' numbers reach; -FLT_MAX if fewer do.
 * There is no NaN. */
static float bound_of(const struct kg_isa *isa, const float *x, uint32_t vectors, uint32_t k, uint32_t enough)
{
    int32_t low = order_of(-FLT_MAX), high = order_of(INFINITY);
    while ((int64_t)high - low > 1) {
        const int32_t middle = (int32_t)(((int64_t)low + high) >> 1);
        const uint32_t n = isa->count_above(x, vectors, of_order(middle));
        if (n < k)
            high = middle;
        else
            low = middle;
        if (n >= k && n <= enough)
            break;
    }
    return of_order(low);
}

/* The k best of the ranks, of which more than k are at least -FLT_MAX. */
static void select_best(const struct task *task, const struct scratch *s, int32_t *out)
{
    const uint32_t k = task->look->k, vectors = task->slots / 16, each = 1 + vectors * 16 / (CANDIDATES * k);
    const uint32_t groups = (vectors + each - 1) / each;
    task->isa->maxima(s->maxima, s->ranks, vectors, each);
    float least = bound_of(task->isa, s->maxima, groups, k, k + k / 8);
    uint32_t n = 0, better = 0, taken = 0;
    task->isa->find_above(s->ranks, 0, task->slots, least, s->candidates, &n, task->slots);
    for (uint32_t i = 0; i < n; i++)
        s->maxima[i] = s->ranks[s->candidates[i]];
    for (uint32_t i = n; i < rounded(n); i++)
        s->maxima[i] = -INFINITY;
    least = bound_of(task->isa, s->maxima, (uint32_t)rounded(n) / 16, k, k);
    for (uint32_t i = 0; i < n; i++)
        better += s->ranks[s->candidates[i]] > least;
    uint32_t equal = k > better ? k - better : 0;
    for (uint32_t i = 0; i < n && taken < k; i++) {
        const float rank = s->ranks[s->candidates[i]];
        if (rank < least || (rank == least && !equal))
            continue;
        equal -= rank == least;
        out[taken++] = token_of(task->view, s->candidates[i]);
    }
    assert(taken == k);
}

/* log sum exp over all that the row sees. */
static float log_sum(const struct task *task, const float *max, const float *sum, uint32_t row, const struct scratch *s)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < task->view->n_segments; i++) {
        if (!visible_keys(task, &task->view->segments[i], row))
            continue;
        s->max[n] = max[i];
        s->sum[n++] = sum[i];
    }
    float most;
    const float total = task->isa->join_sums(s->max, s->sum, n, &most);
    return (float)((double)most + log((double)total));
}

/* Chooses for one row, the first of the room. */
static void choose_row(const struct task *task, uint32_t row, uint32_t kv_head, const struct scratch *s, const struct room *room)
{
    int32_t *out = task->chosen + ((size_t)row * task->attention->kv_heads + kv_head) * task->look->k;
    if (*room->choosable <= task->look->k) {
        write_all(task, room->pages, out);
        return;
    }
    for (uint32_t g = 0; g < task->group; g++)
        s->log_sums[g] = log_sum(task, room->max + (size_t)g * task->segments, room->sum + (size_t)g * task->segments, row, s);
    task->isa->rank(s->ranks, room->scores, task->slots, s->log_sums, task->group, task->slots);
    for (uint32_t p = 0; p < task->view->n_pages; p++) {
        float *ranks = s->ranks + (size_t)p * KG_PAGE;
        for (uint32_t t = 0; t < room->pages[p].begin; t++)
            ranks[t] = -INFINITY;
        for (uint32_t t = room->pages[p].end; t < KG_PAGE; t++)
            ranks[t] = -INFINITY;
    }
    select_best(task, s, out);
}

/* What the rows may choose from; false if none of them has a choice. */
static bool mark_rows(const struct task *task, uint32_t first, uint32_t rows, const struct room *room)
{
    bool choice = false;
    for (uint32_t r = 0; r < rows; r++) {
        room->choosable[r] = kg_cpu_choosable(room->pages + (size_t)r * task->view->n_pages, task->kv, task->layer, task->view, task->look,
                                              task->position + first + r);
        choice = choice || room->choosable[r] > task->look->k;
    }
    return choice;
}

/* Many rows: a block over all segments. The last blocks, which see most, come first. */
static void choose_block(void *context, uint32_t piece, uint32_t thread)
{
    const struct task *task = context;
    const uint32_t kv_heads = task->attention->kv_heads;
    const struct block b = block_of(task, task->blocks - 1 - piece / kv_heads, piece % kv_heads);
    const struct scratch s = scratch_of(task, thread);
    const struct room room = room_of(task, thread, 0);
    const bool choice = mark_rows(task, b.first, b.rows, &room);
    uint32_t turned_for = UINT32_MAX;
    for (uint32_t i = 0; i < task->view->n_segments && choice; i++) {
        const struct kg_view_segment *where = &task->view->segments[i];
        if (!visible_keys(task, where, b.first + b.rows - 1))
            continue;
        if (turned_for != where->span)
            turn_queries(task, &b, where->span, &s);
        turned_for = where->span;
        score_segment(task, &b, i, &s, &room);
    }
    for (uint32_t r = 0; r < b.rows; r++) {
        const struct room one = room_of(task, thread, r);
        choose_row(task, b.first + r, b.kv_head, &s, &one);
    }
}

/* Few rows: one segment. */
static void choose_segment(void *context, uint32_t piece, uint32_t thread)
{
    const struct task *task = context;
    const uint32_t kv_heads = task->attention->kv_heads, index = piece / kv_heads / task->blocks;
    const struct block b = block_of(task, piece / kv_heads % task->blocks, piece % kv_heads);
    const struct kg_view_segment *where = &task->view->segments[index];
    const struct scratch s = scratch_of(task, thread);
    const struct room room = room_of(task, b.kv_head, b.first);
    if (!visible_keys(task, where, b.first + b.rows - 1))
        return;
    turn_queries(task, &b, where->span, &s);
    score_segment(task, &b, index, &s, &room);
}

static void choose_one(void *context, uint32_t piece, uint32_t thread)
{
    const struct task *task = context;
    const uint32_t kv_heads = task->attention->kv_heads;
    const struct scratch s = scratch_of(task, thread);
    const struct room room = room_of(task, piece % kv_heads, piece / kv_heads);
    choose_row(task, piece / kv_heads, piece % kv_heads, &s, &room);
}

static void cut(struct task *task, uint32_t threads)
{
    const size_t row_scores = (size_t)task->group * task->slots, kv_heads = task->attention->kv_heads;
    size_t rows = BLOCK_SCORES / row_scores < BLOCK_QUERIES / task->group ? BLOCK_SCORES / row_scores : BLOCK_QUERIES / task->group;
    rows = rows < task->rows ? rows : task->rows;
    task->block_rows = rows ? (uint32_t)rows : 1;
    task->blocks = (task->rows + task->block_rows - 1) / task->block_rows;
    task->split = threads > 1 && task->view->n_segments > 1 && task->blocks * kv_heads < (size_t)TASKS_A_THREAD * threads &&
                  task->rows * kv_heads * row_scores <= SHARED_SCORES;
    task->room_rows = task->split ? task->rows : task->block_rows;
}

void kg_cpu_choose(struct kg_device *device, struct kg_buffer *chosen, const struct kg_buffer *q, const struct kg_kv *kv, uint32_t layer,
                   const struct kg_view *view, const struct kg_attention *a, const struct kg_look *look, int32_t position, uint32_t rows)
{
    assert(a->heads && a->heads % a->kv_heads == 0 && a->kv_heads == kv->shape.kv_heads && a->head_size == kv->shape.head_size);
    assert(kv->shape.index_bits && look->k >= 1 && look->k <= KG_RECALL_MAX && look->sinks >= 4 && look->window >= 2 * KG_PAGE);
    const uint32_t threads = kg_cpu_pool_threads(device->pool);
    struct task task = {
        .isa = device->isa,
        .kv = kv,
        .view = view,
        .attention = a,
        .look = look,
        .q = kg_cpu_in(q, (size_t)rows * a->heads * a->head_size, sizeof(float)),
        .layer = layer,
        .rows = rows,
        .position = position,
        .group = a->heads / a->kv_heads,
        .slots = view->n_pages * KG_PAGE,
        .segments = (uint32_t)rounded(view->n_segments),
    };
    struct scratch s;
    struct room room;
    cut(&task, threads);
    task.scratch_bytes = place_scratch(&task, (struct kg_memory_places){ 0 }, &s);
    task.room_bytes = place_room(&task, (struct kg_memory_places){ 0 }, &room);
    if (!kg_cpu_turn_begin(device, view, a->rope, position, rows) ||
        !kg_cpu_scratch(device, &device->scratch, threads * task.scratch_bytes + (task.split ? a->kv_heads : threads) * task.room_bytes))
        return;
    task.scratch = device->scratch.bits;
    task.rooms = task.scratch + threads * task.scratch_bytes;
    task.chosen = kg_cpu_out(device, chosen, (size_t)rows * a->kv_heads * look->k, sizeof(int32_t));
    if (!task.split) {
        kg_cpu_pool_run(device->pool, choose_block, &task, task.blocks * a->kv_heads);
        return;
    }
    room = room_of(&task, 0, 0);
    if (mark_rows(&task, 0, rows, &room))
        kg_cpu_pool_run(device->pool, choose_segment, &task, view->n_segments * task.blocks * a->kv_heads);
    kg_cpu_pool_run(device->pool, choose_one, &task, rows * a->kv_heads);
}
