/* The choice of tokens by their index (backend.h).
 *
 * First come the tokens that are always looked at: the largest of their exact scores is the reference of a query head, and
 * its first sum is that of exp(score - reference) over them. A span is cut into segments of KG_SEGMENT keys from its start;
 * each segment gives the scores of its choosable tokens, less the reference and in units of log 2 (so that exp is a power
 * of 2), and the sum of these powers. The sums are added in the order of the view, ranks are formed, the best are selected.
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
    float *scores;          /* (queries, slots) */
    float *references;      /* (queries) */
    float *exact;           /* (queries): sums over what is always looked at */
    float *sums;            /* (segments, queries of the room) */
    struct kg_slots *pages; /* (rows, pages): what may be chosen */
    uint32_t *choosable;    /* (rows): how much that is */
};

/* A thread's own. */
struct scratch {
    float *q, *positions;    /* (queries of a block, head_size) and as the index meets them; in fours */
    float *sums;             /* (queries of a block, 16) */
    struct kg_slots *ranges; /* (queries of a block) */
    float *scores;           /* (query heads of a KV head, KG_LISTED_FLOATS) */
    float *max, *sum;        /* (query heads of a KV head, parts of a list) */
    float *log_sums;         /* (query heads of a KV head) */
    float *ranks, *maxima;   /* (slots) */
    uint32_t *slots;         /* (slots) */
    uint16_t *halves;        /* of keys that are kept otherwise */
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
    uint32_t slots;      /* of the view */
    uint32_t most_parts; /* of a list, rounded up to a multiple of 16 */
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
    out->q = kg_memory_place(&next, 2 * kg_fours((uint32_t)queries, task->attention->head_size), sizeof(float));
    out->positions = kg_memory_place(&next, kg_fours((uint32_t)queries, task->kv->index.positions), sizeof(float));
    out->sums = kg_memory_place(&next, queries * 16, sizeof(float));
    out->ranges = kg_memory_place(&next, queries, sizeof *out->ranges);
    out->scores = kg_memory_place(&next, (size_t)task->group * KG_LISTED_FLOATS, sizeof(float));
    out->max = kg_memory_place(&next, (size_t)task->group * task->most_parts, sizeof(float));
    out->sum = kg_memory_place(&next, (size_t)task->group * task->most_parts, sizeof(float));
    out->log_sums = kg_memory_place(&next, task->group, sizeof(float));
    out->ranks = kg_memory_place(&next, task->slots, sizeof(float));
    out->maxima = kg_memory_place(&next, task->slots, sizeof(float));
    out->slots = kg_memory_place(&next, task->slots, sizeof(uint32_t));
    out->halves = kg_memory_place(&next, kg_cpu_listed_halves(task->kv), sizeof *out->halves);
    return next.used;
}

static size_t place_room(const struct task *task, struct kg_memory_places next, struct room *out)
{
    const size_t queries = (size_t)task->room_rows * task->group;
    out->scores = kg_memory_place(&next, queries * task->slots, sizeof(float));
    out->references = kg_memory_place(&next, queries, sizeof(float));
    out->exact = kg_memory_place(&next, queries, sizeof(float));
    out->sums = kg_memory_place(&next, queries * task->view->n_segments, sizeof(float));
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
    room.references += (size_t)first * task->group;
    room.exact += (size_t)first * task->group;
    room.sums += (size_t)first * task->group;
    room.pages += (size_t)first * task->view->n_pages;
    room.choosable += first;
    return room;
}

static struct block block_of(const struct task *task, uint32_t index, uint32_t kv_head)
{
    const uint32_t first = index * task->block_rows, left = task->rows - first;
    return (struct block){ first, left < task->block_rows ? left : task->block_rows, kv_head };
}

/* References and first sums of a row, the first of the room. */
static void score_exactly(const struct task *task, uint32_t row, uint32_t kv_head, const struct scratch *s, const struct room *room)
{
    const struct kg_cpu_row who = { task->isa, task->kv, task->view, task->attention, task->q, task->layer, row, kv_head };
    struct kg_cpu_listed listed = { .keys = { .scores = s->scores, .stride = KG_LISTED_FLOATS }, .halves = s->halves };
    const uint32_t n = kg_cpu_list(s->slots, room->pages, task->view, NULL, 0, task->position + row);
    uint32_t parts = 0;
    for (uint32_t i = 0; i < n; i += KG_LISTED, parts++) {
        const uint32_t some = n - i < KG_LISTED ? n - i : KG_LISTED;
        kg_cpu_score_listed(&who, s->slots + i, some, n - i - some, s->q, &listed);
        for (uint32_t g = 0; g < task->group; g++)
            task->isa->sum_exp(s->scores + (size_t)g * KG_LISTED_FLOATS, some, task->attention->soft_cap, &s->max[(size_t)g * task->most_parts + parts],
                               &s->sum[(size_t)g * task->most_parts + parts]);
    }
    for (uint32_t g = 0; g < task->group; g++) {
        float most = 0;
        const size_t at = (size_t)g * task->most_parts;
        room->exact[g] = parts ? task->isa->join_sums(s->max + at, s->sum + at, parts, &most) : 0;
        room->references[g] = most * KG_LOG2_E;
    }
}

/* Queries of the block as the index of a span's keys meets them. */
static void turn_queries(const struct task *task, const struct block *b, uint32_t span, const struct scratch *s)
{
    const struct kg_attention *a = task->attention;
    const size_t row = (size_t)task->group * a->head_size;
    for (uint32_t r = 0; r < b->rows; r++)
        kg_cpu_turn(task->isa, task->view, span, a, task->q, b->first + r, b->kv_head, a->soft_cap > 0 ? a->scale : a->scale * KG_LOG2_E,
                    s->q + r * row);
    kg_index_queries(&task->kv->index, s->positions, s->q, b->rows * task->group);
}

/* Slots of a page that may be chosen by all rows of the block, by some, by none. */
enum choice { CHOICE_OF_ALL, CHOICE_OF_SOME, CHOICE_OF_NONE };

static enum choice choice_of(const struct task *task, const struct block *b, uint32_t page, const struct room *room)
{
    bool all = true, none = true;
    for (uint32_t r = 0; r < b->rows; r++) {
        const struct kg_slots *slots = &room->pages[(size_t)r * task->view->n_pages + page];
        all = all && slots->begin == 0 && slots->end == KG_PAGE;
        none = none && slots->end == 0;
    }
    return all ? CHOICE_OF_ALL : none ? CHOICE_OF_NONE : CHOICE_OF_SOME;
}

/* A segment's pages in the view. */
struct run {
    uint32_t first, end;
};

static struct run pages_of(const struct kg_view *view, uint32_t segment)
{
    const struct kg_view_segment *where = &view->segments[segment];
    const uint32_t first = view->places[where->span].page + where->first / KG_PAGE;
    const uint32_t left = (view->spans[where->span].tokens - where->first + KG_PAGE - 1) / KG_PAGE;
    return (struct run){ first, first + (left < KG_SEGMENT_PAGES ? left : KG_SEGMENT_PAGES) };
}

static void find_indexes(const struct task *task, struct run pages, uint32_t kv_head, const uint8_t **out)
{
    const struct kg_kv *kv = task->kv;
    const uint32_t layer = task->layer;
    const uint32_t *page = task->view->pages + pages.first;
    for (uint32_t i = 0; i < pages.end - pages.first; i++)
        out[i] = kg_cpu_index_at(kv, page[i], layer, kv_head);
}

/* Scans the pages begin .. end-1 of the view, of one segment. */
static void scan(const struct task *task, const struct block *b, struct run pages, struct run ahead, bool of_all, const struct scratch *s,
                 const struct room *room)
{
    const uint8_t *index[KG_SEGMENT_PAGES], *fetch[KG_SEGMENT_PAGES];
    const struct kg_index_scan scan = {
        .form = &task->kv->index,
        .index = index,
        .ahead = fetch,
        .pages = pages.end - pages.first,
        .ahead_pages = ahead.end - ahead.first,
        .queries = b->rows * task->group,
        .q = s->positions,
        .references = room->references,
        .soft_cap = task->attention->soft_cap,
        .ranges = of_all ? NULL : s->ranges,
        .scores = room->scores + (size_t)pages.first * KG_PAGE,
        .stride = task->slots,
        .sums = s->sums,
    };
    find_indexes(task, pages, b->kv_head, index);
    find_indexes(task, ahead, b->kv_head, fetch);
    for (uint32_t i = 0; i < scan.queries && !of_all; i++)
        s->ranges[i] = room->pages[(size_t)(i / task->group) * task->view->n_pages + pages.first];
    task->isa->index_scan(&scan);
}

/* Scores of a segment's choosable tokens, and their sums; queries are turned. */
static void score_segment(const struct task *task, const struct block *b, uint32_t segment, const struct scratch *s, const struct room *room)
{
    const struct run all = pages_of(task->view, segment), none = { 0, 0 };
    const struct run ahead = segment + 1 < task->view->n_segments ? pages_of(task->view, segment + 1) : none;
    const uint32_t queries = b->rows * task->group;
    memset(s->sums, 0, (size_t)queries * 16 * sizeof *s->sums);
    for (uint32_t page = all.first; page < all.end;) {
        const enum choice choice = choice_of(task, b, page, room);
        struct run pages = { page, page + 1 };
        while (choice == CHOICE_OF_ALL && pages.end < all.end && choice_of(task, b, pages.end, room) == CHOICE_OF_ALL)
            pages.end++;
        if (choice != CHOICE_OF_NONE)
            scan(task, b, pages, page == all.first ? ahead : none, choice == CHOICE_OF_ALL, s, room);
        page = pages.end;
    }
    task->isa->sum_lanes(room->sums + (size_t)segment * task->room_rows * task->group, s->sums, queries);
}

static int32_t token_of(const struct kg_view *view, uint32_t slot)
{
    const struct kg_view_place *place = &view->places[view->page_spans[slot / KG_PAGE]];
    return (int32_t)(place->token + (slot - place->page * KG_PAGE));
}

static void write_all(const struct task *task, const struct kg_slots *pages, int32_t *out)
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
    task->isa->find_above(s->ranks, 0, task->slots, least, s->slots, &n, task->slots);
    for (uint32_t i = 0; i < n; i++)
        s->maxima[i] = s->ranks[s->slots[i]];
    for (uint32_t i = n; i < rounded(n); i++)
        s->maxima[i] = -INFINITY;
    least = bound_of(task->isa, s->maxima, (uint32_t)rounded(n) / 16, k, k);
    for (uint32_t i = 0; i < n; i++)
        better += s->maxima[i] > least;
    uint32_t equal = k > better ? k - better : 0;
    for (uint32_t i = 0; i < n && taken < k; i++) { /* without branches on ranks, which nothing foretells */
        const float rank = s->maxima[i];
        const uint32_t also = rank == least && equal;
        out[taken] = token_of(task->view, s->slots[i]);
        taken += (rank > least) | also;
        equal -= also;
    }
    assert(taken == k);
}

/* The same for scores so far from the reference that powers of them are none. */
static double log_sum_from_largest(const struct task *task, const float *scores, const struct kg_slots *pages, double exact)
{
    double most = -INFINITY, total = 0;
    for (int pass = 0; pass < 2; pass++) {
        for (uint32_t p = 0; p < task->view->n_pages; p++) {
            for (uint32_t t = pages[p].begin; t < pages[p].end; t++) {
                const double x = (double)scores[(size_t)p * KG_PAGE + t];
                if (pass == 0)
                    most = fmax(most, x);
                else
                    total += exp2(x - most);
            }
        }
    }
    return most + log2(total + exact * exp2(-most));
}

/* Log 2 of the sum over all that a query head of a row sees, less its reference. */
static double log_sum(const struct task *task, uint32_t query, const struct room *room)
{
    float total = room->exact[query];
    for (uint32_t i = 0; i < task->view->n_segments; i++)
        total += room->sums[(size_t)i * task->room_rows * task->group + query];
    if (isnan(total) || (total > 0x1p-40F && total < FLT_MAX))
        return log2((double)total);
    return log_sum_from_largest(task, room->scores + (size_t)query * task->slots, room->pages, (double)room->exact[query]);
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
        s->log_sums[g] = (float)log_sum(task, g, room);
    task->isa->rank(s->ranks, room->scores, task->slots, s->log_sums, task->group, task->slots);
    for (uint32_t p = 0; p < task->view->n_pages; p++) {
        float *ranks = s->ranks + (size_t)p * KG_PAGE;
        if (room->pages[p].begin == 0 && room->pages[p].end == KG_PAGE)
            continue;
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
    for (uint32_t r = 0; r < b.rows && choice; r++) {
        const struct room one = room_of(task, thread, r);
        score_exactly(task, b.first + r, b.kv_head, &s, &one);
    }
    uint32_t turned_for = UINT32_MAX;
    for (uint32_t i = 0; i < task->view->n_segments && choice; i++) {
        if (turned_for != task->view->segments[i].span)
            turn_queries(task, &b, task->view->segments[i].span, &s);
        turned_for = task->view->segments[i].span;
        score_segment(task, &b, i, &s, &room);
    }
    for (uint32_t r = 0; r < b.rows; r++) {
        const struct room one = room_of(task, thread, r);
        choose_row(task, b.first + r, b.kv_head, &s, &one);
    }
}

/* Few rows: what a row always looks at, then one segment, then the selection. */
static void choose_exact(void *context, uint32_t piece, uint32_t thread)
{
    const struct task *task = context;
    const uint32_t kv_heads = task->attention->kv_heads;
    const struct scratch s = scratch_of(task, thread);
    const struct room room = room_of(task, piece % kv_heads, piece / kv_heads);
    score_exactly(task, piece / kv_heads, piece % kv_heads, &s, &room);
}

static void choose_segment(void *context, uint32_t piece, uint32_t thread)
{
    const struct task *task = context;
    const uint32_t kv_heads = task->attention->kv_heads, segment = piece / kv_heads / task->blocks;
    const struct block b = block_of(task, piece / kv_heads % task->blocks, piece % kv_heads);
    const struct scratch s = scratch_of(task, thread);
    const struct room room = room_of(task, b.kv_head, b.first);
    turn_queries(task, &b, task->view->segments[segment].span, &s);
    score_segment(task, &b, segment, &s, &room);
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
    task->block_rows = 1;
    while (task->block_rows < task->rows && (task->block_rows + 1) * task->group <= BLOCK_QUERIES &&
           (task->block_rows + 1) * row_scores <= BLOCK_SCORES)
        task->block_rows++;
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
    const uint32_t threads = kg_thread_pool_threads(device->pool);
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
        .most_parts = (uint32_t)rounded(view->n_pages * KG_PAGE / KG_LISTED + 1),
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
        kg_thread_pool_run(device->pool, choose_block, &task, task.blocks * a->kv_heads);
        return;
    }
    room = room_of(&task, 0, 0);
    if (mark_rows(&task, 0, rows, &room)) {
        kg_thread_pool_run(device->pool, choose_exact, &task, rows * a->kv_heads);
        kg_thread_pool_run(device->pool, choose_segment, &task, view->n_segments * task.blocks * a->kv_heads);
    }
    kg_thread_pool_run(device->pool, choose_one, &task, rows * a->kv_heads);
}
