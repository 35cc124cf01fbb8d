/* A whole model on the CUDA backend, against ref: a prompt, then STEPS tokens that ref prefers, fed to all.
 *
 *   model FILE.gguf IDS.json [MODEL PROMPT]
 *
 * CPU_LAYERS=N in the environment: the CPU computes the first N layers, the card the others.
 * IDS.json holds {"ids": [...]}, or is tests/golden/golden.json with a model and a prompt in it. What a device may be off by is what
 * it may round: weights and sums are f32 at least, but K and V are f16 and activations may be 8 bits. That is measured in the same
 * run, as the difference between the CPU backend and ref, which rounds neither. */
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

#include "kernels/split/split.h"
#include "tests/unit/model_run.h"

#define STEPS 16
/* Two devices that round alike differ from ref by amounts of the same size, not by the same. */
#define ALIKE 2.0
/* For files of f32 weights, where nothing but the order of sums differs, and K and V of which a last bit may. */
#define FLOOR 2e-5

static char **arguments;

struct followed {
    uint32_t vocabulary, count;
    int32_t *ids; /* prompt, then what ref prefers */
    float *logits[3]; /* (STEPS, vocabulary) of ref, cpu, cuda */
};

/* The card and the CPU together. */
static uint32_t cpu_layers, layers;

static enum kg_status open_split(const struct kg_device_options *options, struct kg_device **out, struct kg_error *err)
{
    struct kg_split_side sides[2] = { { &kg_backend_cpu, NULL }, { kg_backend_find("cuda"), NULL } };
    for (int s = 0; s < 2; s++)
        assert_int_equal(sides[s].backend->open(options, &sides[s].device, err), KG_OK);
    return kg_split_open(sides, cpu_layers, layers, out, err);
}

static int32_t best_of(const float *logits, uint32_t n, double *gap)
{
    uint32_t best = 0, second = 1;
    for (uint32_t i = 1; i < n; i++) {
        if (logits[i] > logits[best]) {
            second = best;
            best = i;
        } else if (i == 1 || logits[i] > logits[second]) {
            second = i;
        }
    }
    *gap = (double)logits[best] - (double)logits[second];
    return (int32_t)best;
}

/* Decodes one by one; the first backend decides which token follows. */
static void follow(struct followed *f, int which, const struct kg_backend *backend)
{
    struct model_run run;
    double gap;
    model_run_open(&run, arguments[1], backend, NULL, f->count + STEPS);
    const uint32_t room = kg_model_shape(run.model)->trained_length - STEPS;
    f->count = f->count < room ? f->count : room;
    f->vocabulary = kg_model_shape(run.model)->vocabulary;
    layers = kg_model_shape(run.model)->layers;
    float *logits = f->logits[which] = calloc((size_t)STEPS * f->vocabulary, sizeof *logits);
    assert_non_null(logits);
    model_run_read(&run, f->ids, f->count, KG_ROWS_MAX, logits, 1);
    for (uint32_t i = 0; i < STEPS; i++) {
        const int32_t best = best_of(logits + (size_t)i * f->vocabulary, f->vocabulary, &gap);
        if (which == 0)
            f->ids[f->count + i] = best;
        if (i + 1 < STEPS)
            model_run_read(&run, &f->ids[f->count + i], 1, 1, logits + (size_t)(i + 1) * f->vocabulary, 1);
    }
    model_run_close(&run);
}

static double root_mean_square(const struct followed *f, int which)
{
    double sum = 0;
    const size_t n = (size_t)STEPS * f->vocabulary;
    for (size_t i = 0; i < n; i++)
        sum += ((double)f->logits[which][i] - (double)f->logits[0][i]) * ((double)f->logits[which][i] - (double)f->logits[0][i]);
    return sqrt(sum / (double)n);
}

static double greatest(const struct followed *f, int which)
{
    double most = 0;
    for (size_t i = 0; i < (size_t)STEPS * f->vocabulary; i++)
        most = fmax(most, fabs((double)f->logits[which][i] - (double)f->logits[0][i]));
    return most;
}

static void read_ids(struct followed *f)
{
    cJSON *json = json_of_file(arguments[2]);
    const cJSON *at = json, *prompt;
    if (arguments[3]) {
        at = NULL;
        cJSON_ArrayForEach(prompt, cJSON_GetObjectItem(cJSON_GetObjectItem(json, arguments[3]), "prompts"))
            if (strcmp(cJSON_GetObjectItem(prompt, "name")->valuestring, arguments[4]) == 0)
                at = prompt;
    }
    assert_non_null(at);
    f->ids = json_ids(cJSON_GetObjectItem(at, "ids"), &f->count);
    f->ids = realloc(f->ids, (f->count + STEPS) * sizeof *f->ids);
    assert_non_null(f->ids);
    cJSON_Delete(json);
}

static void cuda_follows_ref(void **state)
{
    (void)state;
    struct followed f = { 0 };
    struct kg_backend both = kg_backend_split;
    const char *shared = getenv("CPU_LAYERS");
    const struct kg_backend *cuda = shared ? &both : kg_backend_find("cuda");
    both.open = open_split;
    cpu_layers = shared ? (uint32_t)strtoul(shared, NULL, 10) : 0;
    unsigned compared = 0;
    double gap, unused;
    assert_non_null(cuda);
    read_ids(&f);
    follow(&f, 0, &kg_backend_ref);
    follow(&f, 1, &kg_backend_cpu);
    assert_true(cpu_layers < layers);
    follow(&f, 2, cuda);
    const double allowed = fmax(ALIKE * root_mean_square(&f, 1), FLOOR), most = greatest(&f, 2);
    print_message("%s: %u tokens and %d decoded: off by %.2e (rms; cpu %.2e), at most %.2e\n", arguments[1], f.count, STEPS, root_mean_square(&f, 2),
                  root_mean_square(&f, 1), most);
    assert_true(root_mean_square(&f, 2) <= allowed);
    for (uint32_t i = 0; i < STEPS; i++) {
        const int32_t wanted = best_of(f.logits[0] + (size_t)i * f.vocabulary, f.vocabulary, &gap);
        if (gap <= 2 * most)
            continue;
        compared++;
        assert_int_equal(best_of(f.logits[2] + (size_t)i * f.vocabulary, f.vocabulary, &unused), wanted);
    }
    print_message("%u of %d tokens compared\n", compared, STEPS);
    assert_true(compared > 0);
    for (int i = 0; i < 3; i++)
        free(f.logits[i]);
    free(f.ids);
}

int main(int count, char **strings)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(cuda_follows_ref) };
    if (count != 3 && count != 5) {
        fprintf(stderr, "usage: model FILE.gguf IDS.json [MODEL PROMPT]\n");
        return 2;
    }
    arguments = strings;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
