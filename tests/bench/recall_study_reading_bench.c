/* A text read with full attention by the cpu backend, with the queries of some rows kept on the way. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/paths.h"
#include "engine/catalogue/catalogue.h"
#include "engine/model/model.h"
#include "engine/tokenizer/tokenizer.h"
#include "kernels/type.h"
#include "tests/bench/recall_study.h"

#define FILE_LIMIT ((size_t)16 << 20)

/* attend has no context of its own to find this by. */
static struct {
    struct study_reading *reading;
    struct kg_buffer *chosen; /* of one run */
    bool failed;
    struct kg_error err;
} keeping;

/* The backend's own choice for a run, which is a batch. */
static void keep_choice(struct kg_device *device, const struct kg_buffer *q, const struct kg_kv *kv, uint32_t layer, const struct kg_view *view,
                        const struct kg_attention *a, uint32_t first)
{
    struct study_reading *r = keeping.reading;
    const struct kg_look look = { .sinks = STUDY_SINKS, .window = STUDY_WINDOW, .k = STUDY_K };
    const size_t row = (size_t)a->kv_heads * STUDY_K;
    kg_backend_cpu.choose(device, keeping.chosen, q, kv, layer, view, a, &look, (int32_t)r->positions[first], STUDY_RUN);
    for (uint32_t i = 0; i < STUDY_RUN && !keeping.failed; i++)
        keeping.failed = kg_backend_cpu.read(device, keeping.chosen, i * row * sizeof(int32_t), r->chosen + ((size_t)(first + i) * r->layers + layer) * row,
                                             row * sizeof(int32_t), &keeping.err) != KG_OK;
}

static void keep_queries(struct kg_device *device, struct kg_buffer *out, const struct kg_buffer *q, const struct kg_kv *kv, uint32_t layer,
                         const struct kg_view *view, const struct kg_attention *a, int32_t position, uint32_t rows)
{
    struct study_reading *r = keeping.reading;
    const size_t row = (size_t)a->heads * a->head_size;
    r->attention = *a;
    r->rope = *a->rope;
    for (uint32_t i = 0; i < r->rows; i++) {
        const int64_t at = (int64_t)r->positions[i] - position;
        if (at < 0 || at >= rows || keeping.failed)
            continue;
        keeping.failed = kg_backend_cpu.read(device, q, (size_t)at * row * sizeof(float), r->queries + ((size_t)i * r->layers + layer) * row,
                                             row * sizeof(float), &keeping.err) != KG_OK;
        if (at == 0 && i % STUDY_RUN == 0)
            keep_choice(device, q, kv, layer, view, a, i);
    }
    kg_backend_cpu.attend(device, out, q, kv, layer, view, a, position, rows);
}

struct open_model {
    struct kg_gguf *file;
    struct kg_tokenizer *tokenizer;
    struct kg_device *device;
    struct kg_model *model;
    struct kg_kv *kv;
    struct kg_backend backend;
    struct kg_ids ids;
};

static enum kg_status open_all(struct open_model *m, const char *name, struct kg_error *err)
{
    struct kg_catalogue *catalogue = NULL;
    char path[KG_PATH_MAX];
    m->backend = kg_backend_cpu;
    m->backend.attend = keep_queries;
    enum kg_status status = kg_catalogue_open(&catalogue, err);
    if (status == KG_OK) {
        status = kg_catalogue_locate(catalogue, name, path, err);
        kg_catalogue_close(catalogue);
    }
    if (status == KG_OK)
        status = kg_gguf_open(path, &m->file, err);
    if (status == KG_OK)
        status = kg_tokenizer_create(m->file, &m->tokenizer, err);
    if (status == KG_OK)
        status = m->backend.open(&(struct kg_device_options){ .threads = 1 }, &m->device, err);
    if (status == KG_OK)
        status = kg_model_load(m->file, &m->backend, m->device, NULL, NULL, &m->model, err);
    return status;
}

static void close_all(struct open_model *m)
{
    if (keeping.chosen)
        m->backend.buffer_free(m->device, keeping.chosen);
    keeping.chosen = NULL;
    if (m->kv)
        m->backend.kv_free(m->device, m->kv);
    if (m->model)
        kg_model_free(m->model);
    if (m->device)
        m->backend.close(m->device);
    if (m->tokenizer)
        kg_tokenizer_free(m->tokenizer);
    if (m->file)
        kg_gguf_close(m->file);
    kg_ids_free(&m->ids);
}

static enum kg_status take_text(struct open_model *m, char **files, size_t count, uint32_t tokens, struct kg_error *err)
{
    const int32_t bos = kg_special_ids(m->tokenizer)->bos;
    enum kg_status status = bos >= 0 ? kg_ids_push(&m->ids, bos, err) : KG_OK;
    for (size_t i = 0; i < count && status == KG_OK; i++) {
        char *text = NULL;
        size_t length = 0;
        status = kg_read_file(files[i], FILE_LIMIT, &text, &length, err);
        if (status == KG_OK)
            status = kg_tokenize(m->tokenizer, text, length, false, &m->ids, err);
        free(text);
    }
    if (tokens && m->ids.count > tokens)
        m->ids.count = tokens;
    if (status == KG_OK && (m->ids.count < (size_t)4 * STUDY_LAST || m->ids.count > kg_model_shape(m->model)->trained_length))
        status = kg_fail(err, KG_ERR_RANGE, "the text has %zu tokens; give one of %d to %u", m->ids.count, 4 * STUDY_LAST,
                         kg_model_shape(m->model)->trained_length);
    return status;
}

static void prepare(struct study_reading *r, const struct open_model *m, uint32_t runs)
{
    const struct kg_model_shape *s = kg_model_shape(m->model);
    memcpy(r->model, s->name, sizeof r->model);
    r->layers = s->layers;
    r->heads = s->heads;
    r->kv_heads = s->kv_heads;
    r->head_size = s->head_size;
    r->tokens = (uint32_t)m->ids.count;
    r->rows = runs * STUDY_RUN;
    r->positions = study_alloc(r->rows, sizeof *r->positions);
    for (uint32_t i = 0; i < r->rows; i++)
        r->positions[i] = r->tokens - STUDY_LAST + i / STUDY_RUN * (STUDY_LAST / runs) + i % STUDY_RUN;
    r->chosen = study_alloc((size_t)r->rows * r->layers * r->kv_heads * STUDY_K, sizeof *r->chosen);
    r->queries = study_alloc((size_t)r->rows * r->layers * r->heads * r->head_size, sizeof *r->queries);
}

/* Of rows nobody asks logits of, the last layer computes no query: runs are batches of their own, with logits. */
static enum kg_status read_batches(struct open_model *m, const struct study_reading *r, const uint32_t *pages, float *logits, struct kg_error *err)
{
    enum kg_status status = KG_OK;
    uint32_t run = 0;
    for (uint32_t first = 0, rows; first < r->tokens && status == KG_OK; first += rows) {
        const uint32_t next = run < r->rows ? r->positions[run] : r->tokens;
        const bool kept = first == next;
        rows = kept ? STUDY_RUN : next - first < KG_ROWS_MAX ? next - first : KG_ROWS_MAX;
        run += kept ? STUDY_RUN : 0;
        const struct kg_span span = { .pages = pages, .tokens = first + rows };
        const struct kg_pass pass = { .ids = m->ids.ids + first, .rows = rows, .first = first, .position = (int32_t)first, .pages = pages,
                                      .spans = &span, .span_count = 1, .logits_from = kept ? 0 : rows };
        status = kg_model_forward(m->model, m->kv, &pass, logits, err);
        fprintf(stderr, "\rreading %u of %u tokens ", first + rows, r->tokens);
    }
    fputc('\n', stderr);
    return status;
}

static enum kg_status read_text(struct open_model *m, struct study_reading *r, struct kg_error *err)
{
    struct kg_kv_shape shape = kg_model_shape(m->model)->kv;
    shape.index_bits = STUDY_BITS;
    const uint32_t count = (r->tokens + KG_PAGE - 1) / KG_PAGE;
    uint32_t *pages = study_alloc(count, sizeof *pages);
    float *logits = study_alloc((size_t)STUDY_RUN * kg_model_shape(m->model)->vocabulary, sizeof *logits);
    for (uint32_t i = 0; i < count; i++)
        pages[i] = i;
    enum kg_status status = m->backend.kv_create(m->device, &shape, &m->kv, err);
    if (status == KG_OK)
        status = m->backend.kv_reserve(m->device, m->kv, count, err);
    keeping.reading = r;
    if (status == KG_OK)
        status = m->backend.buffer_create(m->device, (size_t)STUDY_RUN * r->kv_heads * STUDY_K * sizeof(int32_t), &keeping.chosen, err);
    if (status == KG_OK)
        status = read_batches(m, r, pages, logits, err);
    if (status == KG_OK && keeping.failed)
        *err = keeping.err, status = keeping.err.status;
    r->page_elements = KG_KV_PAGE_BYTES(&shape) / sizeof *r->pages;
    r->pages = study_alloc(count * r->page_elements, sizeof *r->pages);
    for (uint32_t i = 0; i < count && status == KG_OK; i++)
        status = m->backend.kv_export(m->device, m->kv, i, r->pages + i * r->page_elements, err);
    r->attention.rope = &r->rope;
    free(logits);
    free(pages);
    return status;
}

enum kg_status study_read(const char *model, char **files, size_t count, uint32_t tokens, uint32_t runs, struct study_reading *out, struct kg_error *err)
{
    struct open_model m = { 0 };
    *out = (struct study_reading){ 0 };
    enum kg_status status = open_all(&m, model, err);
    if (status == KG_OK)
        status = take_text(&m, files, count, tokens, err);
    if (status == KG_OK) {
        prepare(out, &m, runs);
        status = read_text(&m, out, err);
    }
    close_all(&m);
    return status;
}

void study_reading_free(struct study_reading *reading)
{
    free(reading->positions);
    free(reading->queries);
    free(reading->pages);
    free(reading->chosen);
}

void study_take(const struct study_reading *r, unsigned value, uint32_t layer, uint32_t head, float *out)
{
    for (uint32_t t = 0; t < r->tokens; t++) {
        const uint16_t *page = r->pages + t / KG_PAGE * r->page_elements;
        const uint16_t *x = page + ((((size_t)layer * 2 + value) * r->kv_heads + head) * KG_PAGE + t % KG_PAGE) * r->head_size;
        for (uint32_t d = 0; d < r->head_size; d++)
            out[(size_t)t * r->head_size + d] = (float)kg_f16_to_double(x[d]);
    }
}
