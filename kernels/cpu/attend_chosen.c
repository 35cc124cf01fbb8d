/* Attention over the tokens that are always looked at and those that were chosen (backend.h).
 *
 * What a row and a KV head look at is listed in the order of the view and cut into parts of KG_LISTED slots. Each part gives
 * max, sum and weighted values, as a segment does in attend.c; they are joined one after the other and divided by the sum.
 * With many rows a task is one row with one KV head; with few rows it is one part. */
#include <assert.h>
#include <string.h>

#include "kernels/cpu/device.h"
#include "kernels/cpu/look.h"

#define TASKS_A_THREAD  4
#define LISTS_BYTES_MAX ((size_t)64 << 20) /* memory that waiting lists may take */

/* Results of the query heads of one KV head. */
struct result {
    float *max, *sum, *acc; /* (group), (group), (group, padded) */
};

struct task {
    const struct kg_isa *isa;
    const struct kg_kv *kv;
    const struct kg_view *view;
    const struct kg_attention *attention;
    const struct kg_look *look;
    const float *q;
    const int32_t *chosen;
    float *out;
    uint32_t layer;
    int64_t position;
    uint32_t group, padded; /* query heads of a KV head; head size, to a multiple of 16 */
    uint32_t slots;         /* of the view */
    uint32_t n_lists;       /* rows * KV heads */
    char *memory, *lists;   /* scratch_bytes for each thread; few rows: list_bytes for each list */
    size_t scratch_bytes, list_bytes;
};

/* A thread's own memory. */
struct scratch {
    float *q, *scores;
    struct result part, whole;
    uint32_t *slots;
    struct kg_slots *pages;
    uint16_t *halves;
};

static struct result take_result(struct kg_memory_places *next, uint32_t group, uint32_t padded)
{
    struct result r;
    r.max = kg_memory_place(next, group, sizeof(float));
    r.sum = kg_memory_place(next, group, sizeof(float));
    r.acc = kg_memory_place(next, (size_t)group * padded, sizeof(float));
    return r;
}

/* Returns bytes. */
static size_t place_scratch(const struct task *task, struct kg_memory_places next, struct scratch *out)
{
    out->q = kg_memory_place(&next, 2 * kg_fours(task->group, task->attention->head_size), sizeof(float));
    out->scores = kg_memory_place(&next, (size_t)task->group * KG_LISTED_FLOATS, sizeof(float));
    out->part = take_result(&next, task->group, task->padded);
    out->whole = take_result(&next, task->group, task->padded);
    out->slots = kg_memory_place(&next, task->slots, sizeof(uint32_t));
    out->pages = kg_memory_place(&next, task->view->n_pages, sizeof *out->pages);
    out->halves = kg_memory_place(&next, kg_cpu_listed_halves(task->kv), sizeof *out->halves);
    return next.used;
}

static struct scratch scratch_of(const struct task *task, uint32_t thread)
{
    struct scratch s;
    place_scratch(task, (struct kg_memory_places){ .bits = task->memory + thread * task->scratch_bytes }, &s);
    return s;
}

/* Where a list and the results of its parts wait. */
struct waiting {
    uint32_t *n, *slots;
    struct kg_memory_places results;
};

static size_t place_waiting(const struct task *task, struct kg_memory_places next, struct waiting *out)
{
    out->n = kg_memory_place(&next, 1, sizeof *out->n);
    out->slots = kg_memory_place(&next, task->slots, sizeof *out->slots);
    out->results = next;
    for (uint32_t i = 0; i < (task->slots + KG_LISTED - 1) / KG_LISTED; i++)
        take_result(&next, task->group, task->padded);
    return next.used;
}

static struct waiting waiting_for(const struct task *task, uint32_t list)
{
    struct waiting w;
    place_waiting(task, (struct kg_memory_places){ .bits = task->lists + list * task->list_bytes }, &w);
    return w;
}

static struct result result_of(const struct task *task, const struct waiting *w, uint32_t part)
{
    struct kg_memory_places next = w->results;
    struct result r = take_result(&next, task->group, task->padded);
    for (uint32_t i = 0; i < part; i++)
        r = take_result(&next, task->group, task->padded);
    return r;
}

/* Lists what a row looks at with a KV head; returns its length. */
static uint32_t list_slots(const struct task *task, uint32_t row, uint32_t kv_head, struct kg_slots *pages, uint32_t *slots)
{
    const uint32_t k = task->look->k;
    const int64_t position = task->position + row;
    const int32_t *chosen = task->chosen + ((size_t)row * task->attention->kv_heads + kv_head) * k;
    kg_cpu_choosable(pages, task->kv, task->layer, task->view, task->look, position);
    return kg_cpu_list(slots, pages, task->view, chosen, k, position);
}

/* Attention to the first of `left` listed slots. */
static void attend_part(const struct task *task, uint32_t row, uint32_t kv_head, const uint32_t *slots, uint32_t left, const struct scratch *s,
                        const struct result *out)
{
    const uint32_t n = left < KG_LISTED ? left : KG_LISTED;
    const struct kg_cpu_row who = { task->isa, task->kv, task->view, task->attention, task->q, task->layer, row, kv_head };
    struct kg_cpu_listed listed = { .keys = { .scores = s->scores, .stride = KG_LISTED_FLOATS }, .halves = s->halves };
    kg_cpu_score_listed(&who, slots, n, left - n, s->q, &listed);
    task->isa->listed_weights(&listed.keys, task->attention->soft_cap, out->max, out->sum);
    kg_cpu_add_listed(&who, slots, &listed, out->acc, task->padded);
}

static void join_part(const struct task *task, const struct result *whole, const struct result *part)
{
    for (uint32_t i = 0; i < task->group; i++)
        task->isa->join(&whole->max[i], &whole->sum[i], whole->acc + (size_t)i * task->padded, part->max[i], part->sum[i],
                        part->acc + (size_t)i * task->padded, task->padded);
}

static void store(const struct task *task, uint32_t row, uint32_t kv_head, const struct result *whole)
{
    const struct kg_attention *a = task->attention;
    float *out = task->out + ((size_t)row * a->heads + (size_t)kv_head * task->group) * a->head_size;
    for (uint32_t i = 0; i < task->group; i++)
        task->isa->divide(out + (size_t)i * a->head_size, whole->acc + (size_t)i * task->padded, whole->sum[i], a->head_size);
}

static void attend_list(void *context, uint32_t piece, uint32_t thread)
{
    const struct task *task = context;
    const uint32_t row = piece / task->attention->kv_heads, kv_head = piece % task->attention->kv_heads;
    const struct scratch s = scratch_of(task, thread);
    const uint32_t n = list_slots(task, row, kv_head, s.pages, s.slots);
    memset(s.whole.sum, 0, task->group * sizeof *s.whole.sum);
    for (uint32_t i = 0; i < n; i += KG_LISTED) {
        attend_part(task, row, kv_head, s.slots + i, n - i, &s, &s.part);
        join_part(task, &s.whole, &s.part);
    }
    store(task, row, kv_head, &s.whole);
}

static void write_list(void *context, uint32_t piece, uint32_t thread)
{
    const struct task *task = context;
    const struct scratch s = scratch_of(task, thread);
    const struct waiting w = waiting_for(task, piece);
    *w.n = list_slots(task, piece / task->attention->kv_heads, piece % task->attention->kv_heads, s.pages, w.slots);
}

static void attend_waiting(void *context, uint32_t piece, uint32_t thread)
{
    const struct task *task = context;
    const uint32_t list = piece % task->n_lists, part = piece / task->n_lists;
    const struct scratch s = scratch_of(task, thread);
    const struct waiting w = waiting_for(task, list);
    if (part * KG_LISTED >= *w.n)
        return;
    const struct result out = result_of(task, &w, part);
    const uint32_t left = *w.n - part * KG_LISTED;
    attend_part(task, list / task->attention->kv_heads, list % task->attention->kv_heads, w.slots + part * KG_LISTED, left, &s, &out);
}

static void join_waiting(void *context, uint32_t piece, uint32_t thread)
{
    const struct task *task = context;
    const struct scratch s = scratch_of(task, thread);
    const struct waiting w = waiting_for(task, piece);
    memset(s.whole.sum, 0, task->group * sizeof *s.whole.sum);
    for (uint32_t part = 0; part * KG_LISTED < *w.n; part++) {
        const struct result r = result_of(task, &w, part);
        join_part(task, &s.whole, &r);
    }
    store(task, piece / task->attention->kv_heads, piece % task->attention->kv_heads, &s.whole);
}

static void attend_split(struct kg_device *device, struct task *task)
{
    uint32_t most = 0;
    kg_thread_pool_run(device->pool, write_list, task, task->n_lists);
    for (uint32_t i = 0; i < task->n_lists; i++) {
        const struct waiting w = waiting_for(task, i);
        most = *w.n > most ? *w.n : most;
    }
    kg_thread_pool_run(device->pool, attend_waiting, task, (most + KG_LISTED - 1) / KG_LISTED * task->n_lists);
    kg_thread_pool_run(device->pool, join_waiting, task, task->n_lists);
}

void kg_cpu_attend_chosen(struct kg_device *device, struct kg_buffer *out, const struct kg_buffer *q, const struct kg_kv *kv, uint32_t layer,
                          const struct kg_view *view, const struct kg_attention *a, const struct kg_look *look, const struct kg_buffer *chosen,
                          int32_t position, uint32_t rows)
{
    assert(a->heads && a->heads % a->kv_heads == 0 && a->kv_heads == kv->shape.kv_heads && a->head_size == kv->shape.head_size);
    assert(kv->shape.index_bits && look->k >= 1 && look->k <= KG_RECALL_MAX && look->sinks >= 4 && look->window >= 2 * KG_PAGE);
    const size_t n = (size_t)rows * a->heads * a->head_size;
    const uint32_t threads = kg_thread_pool_threads(device->pool);
    struct task task = {
        .isa = device->isa,
        .kv = kv,
        .view = view,
        .attention = a,
        .look = look,
        .q = kg_cpu_in(q, n, sizeof(float)),
        .chosen = kg_cpu_in(chosen, (size_t)rows * a->kv_heads * look->k, sizeof(int32_t)),
        .layer = layer,
        .position = position,
        .group = a->heads / a->kv_heads,
        .padded = (a->head_size + 15) / 16 * 16,
        .slots = view->n_pages * KG_PAGE,
        .n_lists = rows * a->kv_heads,
    };
    struct scratch s;
    struct waiting w;
    task.scratch_bytes = place_scratch(&task, (struct kg_memory_places){ 0 }, &s);
    task.list_bytes = place_waiting(&task, (struct kg_memory_places){ 0 }, &w);
    const size_t lists_bytes = task.n_lists * task.list_bytes;
    const bool split = threads > 1 && task.n_lists < TASKS_A_THREAD * threads && lists_bytes <= LISTS_BYTES_MAX;
    if (!kg_cpu_turn_begin(device, view, a->rope, position, rows) ||
        !kg_cpu_scratch(device, &device->scratch, threads * task.scratch_bytes + (split ? lists_bytes : 0)))
        return;
    task.memory = device->scratch.bits;
    task.lists = task.memory + threads * task.scratch_bytes;
    task.out = kg_cpu_out(device, out, n, sizeof(float));
    if (split)
        attend_split(device, &task);
    else
        kg_thread_pool_run(device->pool, attend_list, &task, task.n_lists);
}
