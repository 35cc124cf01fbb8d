/* Attention over a view: cutting it into tasks, and putting the parts together.
 *
 * A span is cut into segments of KG_SEGMENT keys from its start. A row's result is, whoever computes it and with
 * how many others: for each segment of which it sees something, max, sum and weighted values (isa->segment),
 * joined one after the other in the order of the view (isa->join), divided by the sum.
 *
 * With many rows a task is a block of rows with one KV head, over all segments. With few rows a task is one segment
 * for one KV head, so that all threads share a long view; parts wait in memory and are joined afterwards. */
#include <assert.h>
#include <string.h>

#include "kernels/cpu/device.h"
#include "kernels/cpu/look.h"

#define BLOCK_QUERIES   64                   /* rows * heads in a block, at least one row */
#define PARTS_BYTES_MAX ((size_t)64 << 20)   /* memory that waiting parts may take */
#define TASKS_A_THREAD  4

struct task {
    const struct kg_isa *isa;
    const struct kg_kv *kv;
    const struct kg_view *view;
    const struct kg_attention *attention;
    const float *q;
    float *out;
    uint32_t layer, rows;
    int64_t position;
    uint32_t group;      /* query heads of a KV head */
    uint32_t block_rows, blocks;
    uint32_t padded;     /* head size, to a multiple of 16 */
    size_t halves;       /* elements of a thread's halves */
    float *scratch;      /* scratch_floats for each thread */
    size_t scratch_floats;
    float *parts;        /* few rows: (segments, KV heads, rows, group) of max, then sum, then values */
    size_t n_parts;
};

/* A thread's scratch memory. */
struct scratch {
    float *q, *scores, *tile;
    uint32_t *visible;
    uint16_t *halves; /* (keys and values, KG_SEGMENT, head_size), where they are kept otherwise */
    struct part {
        float *max, *sum, *acc;
    } part, whole;
};

static size_t rounded(size_t n)
{
    return (n + 15) / 16 * 16;
}

static size_t part_floats(size_t queries, uint32_t padded)
{
    return 2 * rounded(queries) + queries * padded;
}

static struct part place_part(float **next, size_t queries, uint32_t padded)
{
    struct part part = { .max = *next, .sum = *next + rounded(queries), .acc = *next + 2 * rounded(queries) };
    *next += part_floats(queries, padded);
    return part;
}

static size_t scratch_floats(const struct task *task)
{
    const size_t queries = (size_t)task->block_rows * task->group, padded = task->padded;
    return queries * padded + queries * KG_SEGMENT + padded * KG_PAGE + rounded(queries) + 2 * part_floats(queries, task->padded) + task->halves / 2;
}

static struct scratch place_scratch(const struct task *task, uint32_t thread)
{
    const size_t queries = (size_t)task->block_rows * task->group;
    float *next = task->scratch + thread * task->scratch_floats;
    struct scratch s = { .q = next };
    s.scores = s.q + queries * task->padded;
    s.tile = s.scores + queries * KG_SEGMENT;
    s.visible = (uint32_t *)(void *)(s.tile + (size_t)task->padded * KG_PAGE);
    next = (float *)(void *)(s.visible + rounded(queries));
    s.part = place_part(&next, queries, task->padded);
    s.whole = place_part(&next, queries, task->padded);
    s.halves = (uint16_t *)(void *)next;
    return s;
}

/* Some rows with one KV head. */
struct block {
    uint32_t first, rows, kv_head;
};

static struct block block_of(const struct task *task, uint32_t index, uint32_t kv_head)
{
    const uint32_t first = index * task->block_rows, left = task->rows - first;
    return (struct block){ first, left < task->block_rows ? left : task->block_rows, kv_head };
}

/* Queries of the block, turned for a span's keys: (rows, group, head_size). */
static void turn_queries(const struct task *task, const struct block *b, uint32_t span, float *out)
{
    const struct kg_attention *a = task->attention;
    for (uint32_t r = b->first; r < b->first + b->rows; r++, out += (size_t)task->group * a->head_size)
        kg_cpu_turn(task->isa, task->view, span, a, task->q, r, b->kv_head, a->scale, out);
}

/* Keys of the segment that a row sees. */
static uint32_t visible_keys(const struct kg_span *span, uint32_t first, int64_t position)
{
    int64_t end = position - span->base + 1;
    end = end < span->tokens ? end : span->tokens;
    end -= first;
    return end <= 0 ? 0 : end < KG_SEGMENT ? (uint32_t)end : KG_SEGMENT;
}

/* False if no row of the block sees any of it. */
static bool see(const struct task *task, const struct block *b, const struct kg_view_segment *where, uint32_t *visible)
{
    for (uint32_t r = 0; r < b->rows; r++) {
        const uint32_t n = visible_keys(&task->view->spans[where->span], where->first, task->position + b->first + r);
        for (uint32_t g = 0; g < task->group; g++)
            visible[r * task->group + g] = n;
    }
    return visible[(b->rows - 1) * task->group] > 0; /* later rows see more */
}

static void compute_segment(const struct task *task, const struct block *b, const struct kg_view_segment *where,
                            const struct scratch *s, const struct part *out)
{
    const struct kg_span *span = &task->view->spans[where->span];
    struct kg_segment segment = {
        .head_size = task->attention->head_size,
        .padded_size = task->padded,
        .queries = b->rows * task->group,
        .q = s->q,
        .visible = s->visible,
        .soft_cap = task->attention->soft_cap,
        .scores = s->scores,
        .tile = s->tile,
        .max = out->max,
        .sum = out->sum,
        .acc = out->acc,
    };
    const size_t strip = (size_t)KG_PAGE * segment.head_size;
    for (uint32_t i = 0; i < KG_SEGMENT_PAGES && where->first + i * KG_PAGE < span->tokens; i++) {
        const uint32_t page = span->pages[where->first / KG_PAGE + i];
        const uint8_t *keys = kg_cpu_kv_at(task->kv, page, task->layer, 0, b->kv_head);
        const uint8_t *values = kg_cpu_kv_at(task->kv, page, task->layer, 1, b->kv_head);
        segment.keys[i] = kg_cpu_halves(task->isa, task->kv, keys, KG_PAGE, s->halves + 2 * i * strip);
        segment.values[i] = kg_cpu_halves(task->isa, task->kv, values, KG_PAGE, s->halves + (2 * i + 1) * strip);
    }
    task->isa->segment(&segment);
}

static void join_queries(const struct task *task, const struct part *whole, const struct part *part, uint32_t queries)
{
    for (uint32_t i = 0; i < queries; i++) {
        if (part->sum[i] != 0)
            task->isa->join(&whole->max[i], &whole->sum[i], whole->acc + (size_t)i * task->padded, part->max[i], part->sum[i],
                            part->acc + (size_t)i * task->padded, task->padded);
    }
}

static void store_queries(const struct task *task, const struct block *b, const struct part *whole)
{
    const struct kg_attention *a = task->attention;
    for (uint32_t i = 0; i < b->rows * task->group; i++) {
        const size_t head = (size_t)(b->first + i / task->group) * a->heads + (size_t)b->kv_head * task->group + i % task->group;
        assert(whole->sum[i] != 0);
        task->isa->divide(task->out + head * a->head_size, whole->acc + (size_t)i * task->padded, whole->sum[i], a->head_size);
    }
}

/* Many rows: a block over all segments. The last blocks, which see most, come first. */
static void attend_block(void *context, uint32_t piece, uint32_t thread)
{
    const struct task *task = context;
    const uint32_t kv_heads = task->attention->kv_heads;
    const struct block b = block_of(task, task->blocks - 1 - piece / kv_heads, piece % kv_heads);
    const struct scratch s = place_scratch(task, thread);
    memset(s.whole.sum, 0, (size_t)b.rows * task->group * sizeof(float));
    uint32_t turned_for = UINT32_MAX;
    for (uint32_t i = 0; i < task->view->n_segments; i++) {
        const struct kg_view_segment *where = &task->view->segments[i];
        if (!see(task, &b, where, s.visible))
            continue;
        if (turned_for != where->span)
            turn_queries(task, &b, where->span, s.q);
        turned_for = where->span;
        compute_segment(task, &b, where, &s, &s.part);
        join_queries(task, &s.whole, &s.part, b.rows * task->group);
    }
    store_queries(task, &b, &s.whole);
}

/* Where the results of a segment for all rows and one KV head wait. */
static struct part waiting_part(const struct task *task, uint32_t segment, uint32_t kv_head, uint32_t row)
{
    const size_t i = (((size_t)segment * task->attention->kv_heads + kv_head) * task->rows + row) * task->group;
    return (struct part){ task->parts + i, task->parts + task->n_parts + i, task->parts + 2 * task->n_parts + i * task->padded };
}

/* Few rows: one segment. */
static void attend_segment(void *context, uint32_t piece, uint32_t thread)
{
    const struct task *task = context;
    const uint32_t kv_heads = task->attention->kv_heads;
    const uint32_t index = piece / kv_heads / task->blocks;
    const struct block b = block_of(task, piece / kv_heads % task->blocks, piece % kv_heads);
    const struct kg_view_segment *where = &task->view->segments[index];
    const struct scratch s = place_scratch(task, thread);
    const struct part part = waiting_part(task, index, b.kv_head, b.first);
    if (!see(task, &b, where, s.visible)) {
        memset(part.sum, 0, (size_t)b.rows * task->group * sizeof(float));
        return;
    }
    turn_queries(task, &b, where->span, s.q);
    compute_segment(task, &b, where, &s, &part);
}

static void join_block(void *context, uint32_t piece, uint32_t thread)
{
    const struct task *task = context;
    const uint32_t kv_heads = task->attention->kv_heads;
    const struct block b = block_of(task, piece / kv_heads, piece % kv_heads);
    const struct scratch s = place_scratch(task, thread);
    memset(s.whole.sum, 0, (size_t)b.rows * task->group * sizeof(float));
    for (uint32_t i = 0; i < task->view->n_segments; i++) {
        const struct part part = waiting_part(task, i, b.kv_head, b.first);
        join_queries(task, &s.whole, &part, b.rows * task->group);
    }
    store_queries(task, &b, &s.whole);
}

void kg_cpu_attend(struct kg_device *device, struct kg_buffer *out, const struct kg_buffer *q, const struct kg_kv *kv, uint32_t layer,
                   const struct kg_view *view, const struct kg_attention *a, int32_t position, uint32_t rows)
{
    assert(a->heads && a->heads % a->kv_heads == 0 && a->kv_heads == kv->shape.kv_heads && a->head_size == kv->shape.head_size);
    const size_t n = (size_t)rows * a->heads * a->head_size;
    const uint32_t threads = kg_thread_pool_threads(device->pool), group = a->heads / a->kv_heads;
    struct task task = {
        .isa = device->isa,
        .kv = kv,
        .view = view,
        .attention = a,
        .q = kg_cpu_in(q, n, sizeof(float)),
        .layer = layer,
        .rows = rows,
        .position = position,
        .group = group,
        .block_rows = group < BLOCK_QUERIES ? BLOCK_QUERIES / group : 1,
        .padded = (uint32_t)rounded(a->head_size),
        .halves = kv->shape.type == KG_KV_F16 ? 0 : (size_t)2 * KG_SEGMENT * a->head_size,
    };
    task.block_rows = task.block_rows < rows ? task.block_rows : rows;
    task.blocks = (rows + task.block_rows - 1) / task.block_rows;
    task.scratch_floats = rounded(scratch_floats(&task));
    task.n_parts = (size_t)view->n_segments * rows * a->heads;
    size_t parts_bytes = task.n_parts * (task.padded + 2) * sizeof(float);
    const bool split = task.blocks * a->kv_heads < TASKS_A_THREAD * threads && view->n_segments > 1 && threads > 1 &&
                       parts_bytes <= PARTS_BYTES_MAX;
    if (!kg_cpu_turn_begin(device, view, a->rope, position, rows) ||
        !kg_cpu_scratch(device, &device->scratch, threads * task.scratch_floats * sizeof(float) + (split ? parts_bytes : 0)))
        return;
    task.scratch = device->scratch.bits;
    task.parts = task.scratch + threads * task.scratch_floats;
    task.out = kg_cpu_out(device, out, n, sizeof(float));
    if (split) {
        kg_thread_pool_run(device->pool, attend_segment, &task, view->n_segments * task.blocks * a->kv_heads);
        kg_thread_pool_run(device->pool, join_block, &task, task.blocks * a->kv_heads);
    } else {
        kg_thread_pool_run(device->pool, attend_block, &task, task.blocks * a->kv_heads);
    }
}
