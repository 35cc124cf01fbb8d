/* The forward pass of a pre-norm decoder:
 *
 *   x = embed(ids)
 *   for each layer:  h = norm(x)
 *                    q, k, v = Wq h + bq, Wk h + bk, Wv h + bv      q, k normed per head where the model does so
 *                    x += Wo attend(q, k, v) + bo
 *                    h = norm(x)
 *                    x += Wdown (silu(Wgate h) * Wup h)
 *   logits = Wout norm(x)
 */
#include <stdlib.h>
#include <string.h>

#include "engine/model/parts.h"

/* One pass on its way through the layers. In the last layer `from` drops the rows whose logits nobody asked for: behind
 * the keys and values they would influence nothing any more. */
struct run {
    struct kg_model *model;
    struct kg_kv *kv;
    const struct kg_pass *pass;
    uint32_t rows; /* in the stream */
    uint32_t from; /* first of them in the pass */
    struct kg_look look;
};

static void norm(const struct run *run, enum kg_scratch out, enum kg_scratch x, const struct kg_weight *weight)
{
    const struct kg_model *m = run->model;
    m->backend->rmsnorm(m->device, m->scratch[out], m->scratch[x], weight->vector, m->parameters.norm_eps, run->rows, m->parameters.shape.width);
}

static void multiply(const struct run *run, enum kg_scratch out, const struct kg_weight *weight, const struct kg_weight *bias, enum kg_scratch x)
{
    const struct kg_model *m = run->model;
    m->backend->matmul(m->device, m->scratch[out], weight->matrix, m->scratch[x], bias->vector, run->rows);
}

/* x += delta */
static void join(const struct run *run)
{
    const struct kg_model *m = run->model;
    m->backend->add(m->device, m->scratch[KG_S_STREAM], m->scratch[KG_S_DELTA], (size_t)run->rows * m->parameters.shape.width);
}

static void norm_heads(const struct run *run, enum kg_scratch x, const struct kg_weight *weight, uint32_t heads)
{
    const struct kg_model *m = run->model;
    if (weight->vector)
        m->backend->rmsnorm(m->device, m->scratch[x], m->scratch[x], weight->vector, m->parameters.norm_eps, run->rows * heads,
                            m->parameters.shape.head_size);
}

/* Keys and values of all rows, into the pages. */
static void write_keys(const struct run *run, const struct kg_weight *w, uint32_t layer)
{
    const struct kg_model *m = run->model;
    const struct kg_pass *pass = run->pass;
    multiply(run, KG_S_KEY, &w[KG_ATTN_K], &w[KG_ATTN_K_BIAS], KG_S_NORMED);
    multiply(run, KG_S_VALUE, &w[KG_ATTN_V], &w[KG_ATTN_V_BIAS], KG_S_NORMED);
    norm_heads(run, KG_S_KEY, &w[KG_ATTN_K_NORM], m->parameters.shape.kv_heads);
    m->backend->kv_write(m->device, run->kv, layer, pass->pages, pass->first, pass->local, m->scratch[KG_S_KEY], m->scratch[KG_S_VALUE],
                         &m->parameters.rope, run->rows);
    if (m->backend->index_write)
        m->backend->index_write(m->device, run->kv, layer, pass->pages, pass->first, pass->rows, pass->closes);
}

/* Attention over S, L and what is recalled. A list is the same for all rows and layers, so its copies do not move with the rows. */
static void attend_recalled(const struct run *run, uint32_t layer, int32_t position)
{
    const struct kg_model *m = run->model;
    const struct kg_attention *a = &m->parameters.attention;
    if (!run->pass->listed)
        m->backend->choose(m->device, m->chosen, m->scratch[KG_S_QUERY], run->kv, layer, m->view, a, &run->look, position, run->rows);
    m->backend->attend_chosen(m->device, m->scratch[KG_S_SEEN], m->scratch[KG_S_QUERY], run->kv, layer, m->view, a, &run->look, m->chosen,
                              position, run->rows);
}

static void attend(const struct run *run, const struct kg_weight *w, uint32_t layer)
{
    const struct kg_model *m = run->model;
    multiply(run, KG_S_QUERY, &w[KG_ATTN_Q], &w[KG_ATTN_Q_BIAS], KG_S_NORMED);
    norm_heads(run, KG_S_QUERY, &w[KG_ATTN_Q_NORM], m->parameters.shape.heads);
    const int32_t position = run->pass->position + (int32_t)run->from;
    if (run->pass->look)
        attend_recalled(run, layer, position);
    else
        m->backend->attend(m->device, m->scratch[KG_S_SEEN], m->scratch[KG_S_QUERY], run->kv, layer, m->view, &m->parameters.attention, position,
                           run->rows);
    multiply(run, KG_S_DELTA, &w[KG_ATTN_OUT], &w[KG_ATTN_OUT_BIAS], KG_S_SEEN);
    join(run);
}

static void feed_forward(const struct run *run, const struct kg_weight *w)
{
    const struct kg_model *m = run->model;
    norm(run, KG_S_NORMED, KG_S_STREAM, &w[KG_FFN_NORM]);
    multiply(run, KG_S_GATE, &w[KG_FFN_GATE], &w[KG_FFN_GATE_BIAS], KG_S_NORMED);
    multiply(run, KG_S_UP, &w[KG_FFN_UP], &w[KG_FFN_UP_BIAS], KG_S_NORMED);
    m->backend->silu_mul(m->device, m->scratch[KG_S_GATE], m->scratch[KG_S_GATE], m->scratch[KG_S_UP],
                         (size_t)run->rows * m->parameters.shape.feed_forward);
    multiply(run, KG_S_DELTA, &w[KG_FFN_DOWN], &w[KG_FFN_DOWN_BIAS], KG_S_GATE);
    join(run);
}

/* Keeps the rows from `from` on, of the stream and of its norm. */
static void drop_rows(struct run *run, uint32_t from)
{
    const struct kg_model *m = run->model;
    uint32_t width = m->parameters.shape.width;
    for (uint32_t r = from; from > 0 && r < run->rows; r++) {
        m->backend->copy_row(m->device, m->scratch[KG_S_STREAM], r - from, m->scratch[KG_S_STREAM], r, width);
        m->backend->copy_row(m->device, m->scratch[KG_S_NORMED], r - from, m->scratch[KG_S_NORMED], r, width);
    }
    run->rows -= from;
    run->from = from;
}

static enum kg_status run_layers(struct run *run, struct kg_error *err)
{
    const struct kg_model *m = run->model;
    uint32_t layers = m->parameters.shape.layers;
    for (uint32_t i = 0; i < layers; i++) {
        const struct kg_weight *w = m->layers[i];
        if (run->pass->stop && atomic_load_explicit(run->pass->stop, memory_order_relaxed))
            return kg_fail(err, KG_ERR_CANCELLED, "reading was stopped");
        if (m->backend->layer)
            m->backend->layer(m->device, i);
        norm(run, KG_S_NORMED, KG_S_STREAM, &w[KG_ATTN_NORM]);
        write_keys(run, w, i);
        if (i + 1 == layers)
            drop_rows(run, run->pass->logits_from);
        if (run->rows == 0)
            break;
        attend(run, w, i);
        feed_forward(run, w);
    }
    return KG_OK;
}

/* Rows of the normed stream from `first` on, at most KG_LOGIT_ROWS, times the output matrix; returns how many. */
static uint32_t multiply_out(const struct run *run, uint32_t first)
{
    const struct kg_model *m = run->model;
    const struct kg_matrix *matrix = m->weights[KG_OUT].matrix ? m->weights[KG_OUT].matrix : m->weights[KG_EMBEDDING].matrix;
    uint32_t rows = run->rows - first < KG_LOGIT_ROWS ? run->rows - first : KG_LOGIT_ROWS;
    for (uint32_t r = 0; r < rows && first > 0; r++)
        m->backend->copy_row(m->device, m->scratch[KG_S_NORMED], r, m->scratch[KG_S_NORMED], first + r, m->parameters.shape.width);
    m->backend->matmul(m->device, m->logits, matrix, m->scratch[KG_S_NORMED], NULL, rows);
    return rows;
}

/* Of each row that multiply_out left: ids, then logits. */
static void find_best(const struct run *run, uint32_t rows)
{
    const struct kg_model *m = run->model;
    const uint32_t count = run->pass->best->count, vocabulary = m->parameters.shape.vocabulary;
    for (uint32_t r = 0; r < rows; r++) {
        m->backend->top(m->device, m->best_ids, m->best_logits, m->logits, (size_t)r * vocabulary, vocabulary, count);
        m->backend->copy_row(m->device, m->best, 2 * r, m->best_ids, 0, count);
        m->backend->copy_row(m->device, m->best, 2 * r + 1, m->best_logits, 0, count);
    }
}

/* What a device may record as one step: everything but the further rows of logits, which only evaluation asks for. */
static enum kg_status run_step(struct run *run, uint32_t *ready, struct kg_error *err)
{
    const struct kg_model *m = run->model;
    m->backend->step_begin(m->device, run->rows);
    m->backend->embed(m->device, m->scratch[KG_S_STREAM], m->weights[KG_EMBEDDING].matrix, m->ids, m->parameters.embedding_scale, run->rows);
    enum kg_status status = run_layers(run, err);
    if (status == KG_OK && run->rows > 0) {
        norm(run, KG_S_NORMED, KG_S_STREAM, &m->weights[KG_OUT_NORM]);
        *ready = multiply_out(run, 0);
        if (run->pass->best)
            find_best(run, *ready);
    }
    m->backend->step_end(m->device);
    return status;
}

static enum kg_status read_best(const struct run *run, struct kg_error *err)
{
    const struct kg_model *m = run->model;
    const struct kg_best *best = run->pass->best;
    const size_t bytes = best->count * sizeof(float);
    uint8_t *all = malloc(run->rows * 2 * bytes);
    if (!all)
        return kg_fail_nomem(err, "reading the best tokens");
    enum kg_status status = m->backend->read(m->device, m->best, 0, all, run->rows * 2 * bytes, err);
    for (uint32_t r = 0; r < run->rows && status == KG_OK; r++) {
        memcpy(best->ids + (size_t)r * best->count, all + 2 * r * bytes, bytes);
        memcpy(best->logits + (size_t)r * best->count, all + (2 * r + 1) * bytes, bytes);
    }
    free(all);
    return status;
}

static enum kg_status read_logits(const struct run *run, uint32_t ready, float *logits, struct kg_error *err)
{
    const struct kg_model *m = run->model;
    size_t row = m->parameters.shape.vocabulary;
    for (uint32_t first = 0; first < run->rows; first += ready) {
        if (first > 0)
            ready = multiply_out(run, first);
        enum kg_status status = m->backend->read(m->device, m->logits, 0, logits + first * row, ready * row * sizeof *logits, err);
        if (status != KG_OK)
            return status;
    }
    return KG_OK;
}

/* Room for what is recalled, and the list where there is one; before the step, which a device may record. */
static enum kg_status prepare_look(struct run *run, struct kg_error *err)
{
    struct kg_model *m = run->model;
    const struct kg_pass *pass = run->pass;
    if (!pass->look)
        return KG_OK;
    if (!m->backend->choose)
        return kg_fail(err, KG_ERR_UNSUPPORTED, "%s has no recall yet; use --policy full", m->backend->name);
    run->look = *pass->look;
    if (pass->listed)
        run->look.k = pass->listed_count ? pass->listed_count : 1;
    if (run->look.k < 1 || run->look.k > KG_RECALL_MAX || run->look.sinks < 4 || run->look.window < 2 * KG_PAGE)
        return kg_fail(err, KG_ERR_RANGE, "%u tokens cannot be recalled (1 to %d can), with a window of %u (at least %d)", run->look.k, KG_RECALL_MAX,
                       run->look.window, 2 * KG_PAGE);
    const size_t lists = (size_t)pass->rows * m->parameters.shape.kv_heads, bytes = lists * run->look.k * sizeof(int32_t);
    if (bytes > m->chosen_bytes) {
        m->backend->buffer_free(m->device, m->chosen);
        m->chosen_bytes = 0;
        m->chosen = NULL;
        enum kg_status status = m->backend->buffer_create(m->device, bytes, &m->chosen, err);
        if (status != KG_OK)
            return status;
        m->chosen_bytes = bytes;
    }
    static const int32_t none = -1;
    const int32_t *list = pass->listed_count ? pass->listed : &none;
    for (size_t i = 0; pass->listed && i < lists; i++)
        m->backend->write(m->device, m->chosen, i * run->look.k * sizeof *list, list, run->look.k * sizeof *list);
    return KG_OK;
}

/* Room for the best, before the step. */
static enum kg_status prepare_best(struct kg_model *m, const struct kg_best *best, struct kg_error *err)
{
    if (!best || best->count == m->best_count)
        return KG_OK;
    struct kg_buffer **const buffers[] = { &m->best, &m->best_ids, &m->best_logits };
    const size_t row = best->count * sizeof(float), bytes[] = { 2 * KG_BEST_ROWS * row, row, row };
    enum kg_status status = KG_OK;
    m->best_count = 0;
    for (int i = 0; i < 3 && status == KG_OK; i++) {
        m->backend->buffer_free(m->device, *buffers[i]);
        *buffers[i] = NULL;
        status = m->backend->buffer_create(m->device, bytes[i], buffers[i], err);
    }
    if (status == KG_OK)
        m->best_count = best->count;
    return status;
}

static enum kg_status check_pass(const struct kg_model *model, const struct kg_pass *pass, struct kg_error *err)
{
    const struct kg_model_shape *shape = &model->parameters.shape;
    if (pass->rows < 1 || pass->rows > KG_ROWS_MAX || pass->logits_from > pass->rows || pass->span_count < 1)
        return kg_fail(err, KG_ERR_RANGE, "%u tokens cannot be read at once (1 to %d can)", pass->rows, KG_ROWS_MAX);
    if (pass->best && (pass->best->count < 1 || pass->best->count > shape->vocabulary || pass->rows - pass->logits_from > KG_BEST_ROWS))
        return kg_fail(err, KG_ERR_RANGE, "the %u best tokens of %u rows cannot be had", pass->best->count, pass->rows - pass->logits_from);
    if (pass->position < 0 || (int64_t)pass->position + pass->rows > shape->trained_length)
        return kg_fail(err, KG_ERR_RANGE, "positions %d to %lld lie outside the %u that %s was trained for", pass->position,
                       (long long)pass->position + pass->rows - 1, shape->trained_length, shape->name);
    for (uint32_t i = 0; i < pass->rows; i++)
        if (pass->ids[i] < 0 || (uint32_t)pass->ids[i] >= shape->vocabulary)
            return kg_fail(err, KG_ERR_RANGE, "token %d is not in the vocabulary of %u", pass->ids[i], shape->vocabulary);
    return KG_OK;
}

enum kg_status kg_model_forward(struct kg_model *model, struct kg_kv *kv, const struct kg_pass *pass, float *logits, struct kg_error *err)
{
    const struct kg_backend *b = model->backend;
    struct run run = { .model = model, .kv = kv, .pass = pass, .rows = pass->rows };
    enum kg_status status = model->view ? check_pass(model, pass, err) : kg_fail(err, KG_ERR_USAGE, "the model was opened without its weights");
    if (status == KG_OK)
        status = prepare_look(&run, err);
    if (status == KG_OK)
        status = prepare_best(model, pass->best, err);
    if (status == KG_OK)
        status = b->view_set(model->device, model->view, pass->spans, pass->span_count, err);
    if (status != KG_OK)
        return status;
    uint32_t ready = 0;
    b->write(model->device, model->ids, 0, pass->ids, pass->rows * sizeof *pass->ids);
    status = run_step(&run, &ready, err);
    if (status == KG_OK && run.rows > 0)
        status = pass->best ? read_best(&run, err) : read_logits(&run, ready, logits, err);
    return status == KG_OK ? kg_gguf_intact(model->file, err) : status;
}
