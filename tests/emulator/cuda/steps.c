/* Decodes tokens one by one and prints a number made of all their logits, for a look at what the host asked for:
 *
 *   steps FILE.gguf full|recall step|apart TOKENS
 *
 * apart: the operations of a token are no step, so each is launched by itself; the number has to be the same. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/unit/model_run.h"

#define PROMPT 80

static char **arguments;

static void no_begin(struct kg_device *device, uint32_t rows)
{
    (void)device, (void)rows;
}

static void no_end(struct kg_device *device)
{
    (void)device;
}

static uint64_t add(uint64_t sum, const float *logits, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++) {
        uint32_t bits;
        memcpy(&bits, &logits[i], sizeof bits);
        sum = (sum ^ bits) * 0x100000001b3U;
    }
    return sum;
}

static void decode(void **state)
{
    (void)state;
    const struct kg_look look = { .sinks = 4, .window = 2 * KG_PAGE, .k = 16 };
    const uint32_t tokens = (uint32_t)strtoul(arguments[4], NULL, 10);
    struct kg_backend backend;
    struct model_run run;
    assert_non_null(kg_backend_find("cuda"));
    backend = *kg_backend_find("cuda");
    if (strcmp(arguments[3], "apart") == 0) {
        backend.step_begin = no_begin;
        backend.step_end = no_end;
    }
    model_run_open(&run, arguments[1], &backend, NULL, PROMPT + tokens);
    run.look = strcmp(arguments[2], "recall") == 0 ? &look : NULL;
    const uint32_t vocabulary = kg_model_shape(run.model)->vocabulary;
    float *logits = calloc(vocabulary, sizeof *logits);
    int32_t prompt[PROMPT];
    assert_non_null(logits);
    for (int32_t i = 0; i < PROMPT; i++)
        prompt[i] = i * 7 % (int32_t)vocabulary;
    model_run_read(&run, prompt, PROMPT, PROMPT, logits, 1);
    uint64_t sum = 0;
    for (uint32_t i = 0; i < tokens; i++) {
        const int32_t id = (int32_t)((i * 5 + 3) % vocabulary);
        model_run_read(&run, &id, 1, 1, logits, 1);
        sum = add(sum, logits, vocabulary);
    }
    printf("logits %016llx\n", (unsigned long long)sum);
    free(logits);
    model_run_close(&run);
}

int main(int count, char **strings)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(decode) };
    if (count != 5) {
        fprintf(stderr, "usage: steps FILE.gguf full|recall step|apart TOKENS\n");
        return 2;
    }
    arguments = strings;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
