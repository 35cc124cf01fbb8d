/* Tiny random models against the logits that transformers computed for them (tests/golden/make_tiny.py).
 *
 * The bounds are on the greatest absolute difference; the logits' standard deviation is between 0.9 and 2.3. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cjson/cJSON.h>
#include <cmocka.h>

#include "tests/unit/model_run.h"

static const char *const models[] = { "llama", "llama-f16", "llama-llama3", "llama-linear", "qwen2", "qwen2-yarn", "qwen3" };
#define MODELS (sizeof models / sizeof *models)

static char *tiny(const char *name, const char *ending)
{
    static char path[256];
    snprintf(path, sizeof path, "tests/golden/tiny/%s%s", name, ending);
    return path;
}

/* Greatest difference from the stored rows, read `chunk` tokens at a time. */
static double difference(struct model_run *run, const char *name, uint32_t chunk)
{
    cJSON *json = json_of_file(tiny(name, ".json"));
    uint32_t count, vocabulary = kg_model_shape(run->model)->vocabulary;
    int32_t *ids = json_ids(cJSON_GetObjectItem(json, "ids"), &count);
    float *logits = calloc((size_t)count * vocabulary, sizeof *logits);
    assert_non_null(logits);
    model_run_rewind(run);
    model_run_read(run, ids, count, chunk, logits, count);
    double worst = 0;
    const cJSON *row;
    cJSON_ArrayForEach(row, cJSON_GetObjectItem(json, "rows"))
    {
        const float *mine = logits + (size_t)cJSON_GetObjectItem(row, "position")->valueint * vocabulary;
        const cJSON *wanted;
        assert_int_equal(cJSON_GetArraySize(cJSON_GetObjectItem(row, "logits")), vocabulary);
        cJSON_ArrayForEach(wanted, cJSON_GetObjectItem(row, "logits"))
        {
            double d = fabs((double)*mine++ - wanted->valuedouble);
            worst = d > worst || isnan(d) ? d : worst;
        }
    }
    assert_int_equal(cJSON_GetArraySize(cJSON_GetObjectItem(json, "rows")), 4);
    free(logits);
    free(ids);
    cJSON_Delete(json);
    return worst;
}

static void agree(const struct kg_backend *backend, const char *instructions, uint32_t chunk, double bound, double bound_f16)
{
    for (size_t i = 0; i < MODELS; i++) {
        struct model_run run;
        const struct kg_device_options options = { .threads = 2, .instructions = instructions };
        model_run_open(&run, tiny(models[i], ".gguf"), backend, &options, 128);
        double worst = difference(&run, models[i], chunk);
        print_message("%s %s %-14s %.2e\n", backend->name, instructions ? instructions : "", models[i], worst);
        assert_true(worst < (strcmp(models[i], "llama-f16") == 0 ? bound_f16 : bound));
        model_run_close(&run);
    }
}

static void reference_agrees_with_transformers(void **state)
{
    (void)state;
    agree(&kg_backend_ref, NULL, 512, 1e-4, 1e-4);
}

/* With f16 weights activations may be rounded to 8 bits, so that bound is a wide one. */
static void cpu_agrees_with_transformers(void **state)
{
    (void)state;
    static const char *const sets[] = { "avx2", "avxvnni", "avx512" };
    unsigned tried = 0;
    for (size_t i = 0; i < sizeof sets / sizeof *sets; i++) {
        struct kg_device *device;
        const struct kg_device_options options = { .threads = 1, .instructions = sets[i] };
        if (kg_backend_cpu.open(&options, &device, NULL) != KG_OK)
            continue; /* this machine does not have it */
        kg_backend_cpu.close(device);
        agree(&kg_backend_cpu, sets[i], 512, 1e-3, 0.02);
        agree(&kg_backend_cpu, sets[i], 5, 1e-3, 0.02);
        tried++;
    }
    assert_true(tried > 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reference_agrees_with_transformers),
        cmocka_unit_test(cpu_agrees_with_transformers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
