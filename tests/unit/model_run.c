#include "tests/unit/model_run.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cjson/cJSON.h>
#include <cmocka.h>

#include "base/paths.h"

static void must(enum kg_status status, const struct kg_error *err)
{
    if (status != KG_OK)
        fail_msg("%s", err->text);
}

void model_run_open(struct model_run *run, const char *path, const struct kg_backend *backend, const struct kg_device_options *options,
                    uint32_t capacity)
{
    struct kg_error err;
    const struct kg_device_options all = { 0 };
    *run = (struct model_run){ .backend = backend, .capacity = capacity };
    must(kg_gguf_open(path, &run->file, &err), &err);
    must(backend->open(options ? options : &all, &run->device, &err), &err);
    must(kg_model_load(run->file, backend, run->device, NULL, NULL, &run->model, &err), &err);
    struct kg_kv_shape shape = kg_model_shape(run->model)->kv;
    if (backend->choose)
        shape.index_bits = shape.head_size % 16 == 0 ? 2 : shape.head_size % 8 == 0 ? 4 : 0;
    must(backend->kv_create(run->device, &shape, &run->kv, &err), &err);
    uint32_t pages = (capacity + KG_PAGE - 1) / KG_PAGE;
    must(backend->kv_reserve(run->device, run->kv, pages, &err), &err);
    run->pages = calloc(pages, sizeof *run->pages);
    assert_non_null(run->pages);
    for (uint32_t i = 0; i < pages; i++)
        run->pages[i] = pages - 1 - i; /* backwards: a block's pages lie anywhere */
}

void model_run_close(struct model_run *run)
{
    run->backend->kv_free(run->device, run->kv);
    kg_model_free(run->model);
    run->backend->close(run->device);
    kg_gguf_close(run->file);
    free(run->pages);
    *run = (struct model_run){ 0 };
}

void model_run_rewind(struct model_run *run)
{
    run->read = 0;
}

void model_run_read(struct model_run *run, const int32_t *ids, uint32_t count, uint32_t chunk, float *logits, uint32_t wanted)
{
    struct kg_error err;
    uint32_t end = run->read + count, from = end - wanted, vocabulary = kg_model_shape(run->model)->vocabulary;
    assert_true(end <= run->capacity && wanted <= count);
    while (run->read < end) {
        uint32_t rows = end - run->read < chunk ? end - run->read : chunk;
        uint32_t skip = run->read >= from ? 0 : from - run->read < rows ? from - run->read : rows;
        struct kg_span self = { .pages = run->pages, .tokens = run->read + rows };
        struct kg_pass pass = { .ids = ids, .rows = rows, .first = run->read, .position = (int32_t)run->read, .pages = run->pages,
                                .spans = &self, .span_count = 1, .logits_from = skip, .look = run->look };
        must(kg_model_forward(run->model, run->kv, &pass, logits, &err), &err);
        if (logits)
            logits += (size_t)(rows - skip) * vocabulary;
        ids += rows;
        run->read += rows;
    }
}

void model_path_or_skip(const char *name, char *path)
{
    if (kg_place_path(KG_PLACE_MODELS, name, path, NULL) != KG_OK || access(path, R_OK) != 0)
        skip();
}

struct cJSON *json_of_file(const char *path)
{
    struct kg_error err;
    char *text;
    size_t length;
    must(kg_read_file(path, 1 << 20, &text, &length, &err), &err);
    cJSON *json = cJSON_Parse(text);
    free(text);
    assert_non_null(json);
    return json;
}

int32_t *json_ids(const struct cJSON *array, uint32_t *count)
{
    *count = (uint32_t)cJSON_GetArraySize(array);
    int32_t *ids = calloc(*count ? *count : 1, sizeof *ids);
    assert_non_null(ids);
    const cJSON *item;
    uint32_t i = 0;
    cJSON_ArrayForEach(item, array)
        ids[i++] = item->valueint;
    return ids;
}
