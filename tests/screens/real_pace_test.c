/* How soon kedge itself answers, with a real small model and a real repository, this one; figures as in pace_test.c. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "tests/screens/live.h"
#include "tests/unit/model_run.h"

#define BUSY 10 /* times what a machine at rest is to keep within */
#define COPIES 20 /* of the repository, each other in every file: its index takes longer than the keys */
#define LARGE_KB 8192 /* mappings of at least so much are weights, keys and values */

enum { KEYS = 200, STARTS = 20 };

static int make_place(void **state)
{
    (void)state;
    if (live_make() != 0)
        return -1;
    live_run("tar -c base engine kernels repo-index tui man | tar -x -C %s/repo", live.base);
    return 0;
}

static void quit(struct driver *d)
{
    driver_send(d, "\x04");
    assert_int_equal(driver_wait_exit(d), 0);
    driver_free(d);
}

/* Milliseconds that a process's first thread has waited for a processor: also for its own threads. */
static double waited(int process)
{
    char path[64];
    unsigned long long ran = 0, waits = 0;
    snprintf(path, sizeof path, "/proc/%d/task/%d/schedstat", process, process);
    FILE *file = fopen(path, "r");
    int read = file ? fscanf(file, "%llu %llu", &ran, &waits) : 0;
    if (file)
        fclose(file);
    return read == 2 ? (double)waits / 1e6 : 0;
}

static double waited_by_both(const struct driver *d)
{
    return waited(driver_process(d)) + waited(getpid());
}

struct times {
    size_t count;
    double wall[KEYS], less[KEYS]; /* milliseconds; less: without what was waited for processors, here and there */
};

static void add_time(struct times *times, double begun, double waited_before, double waited_now)
{
    double wall = (driver_seconds() - begun) * 1000, less = wall - (waited_now - waited_before);
    times->wall[times->count] = wall;
    times->less[times->count++] = less > 0 ? less : 0;
}

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static void tell(const char *name, struct times *times, double limit)
{
    size_t count = times->count;
    double *milliseconds = times->wall;
    qsort(milliseconds, count, sizeof *milliseconds, compare);
    qsort(times->less, count, sizeof *times->less, compare);
    double median = milliseconds[count / 2], p99 = milliseconds[count * 99 / 100];
    if (getenv("PACE_JSON"))
        printf("{\"name\":\"%s\",\"count\":%zu,\"median_ms\":%.2f,\"p99_ms\":%.2f,\"worst_ms\":%.2f,\"less_waits_median_ms\":%.2f,\"less_waits_p99_ms\":%.2f}\n", name, count, median,
               p99, milliseconds[count - 1], times->less[count / 2], times->less[count * 99 / 100]);
    else
        print_message("%s: median %.1f ms, 99 of 100 within %.1f ms, all within %.1f ms\n", name, median, p99, milliseconds[count - 1]);
    fflush(stdout);
    assert_true((count < 100 ? median : p99) < limit * BUSY);
}

static void the_first_screen_comes_at_once(void **state)
{
    static struct times times;
    (void)state;
    model_path_or_skip("SmolLM2-135M-Instruct.Q4_1.gguf", live.model);
    for (size_t i = 0; i < STARTS; i++) {
        double begun = driver_seconds(), before = waited(getpid());
        struct driver *d = live_start(live.model, NULL, 24, 80);
        while (!driver_shows(d, "›"))
            driver_take(d, 1);
        add_time(&times, begun, before, waited_by_both(d));
        quit(d);
    }
    tell("first screen of kedge", &times, 30);
}

/* Pss in MiB; of small mappings that are not the model's file, where that is wanted. */
static double memory_of(const struct driver *d, bool small)
{
    char path[64], line[KG_PATH_MAX + 128];
    double all = 0, pss;
    bool counts = true;
    snprintf(path, sizeof path, "/proc/%d/smaps", driver_process(d));
    FILE *file = fopen(path, "r");
    assert_non_null(file);
    while (fgets(line, sizeof line, file)) {
        unsigned long from, to;
        if (sscanf(line, "%lx-%lx ", &from, &to) == 2) {
            counts = !strstr(line, ".gguf");
        } else if (sscanf(line, "Pss: %lf kB", &pss) == 1 && (!small || (counts && pss < LARGE_KB))) {
            all += pss;
        }
    }
    fclose(file);
    return all / 1024;
}

static void memory_is_the_models(void **state)
{
    (void)state;
    model_path_or_skip("SmolLM2-135M-Instruct.Q4_1.gguf", live.model);
    char none[128];
    live_run("echo none >%s/none.gguf", live.base);
    snprintf(none, sizeof none, "%s/none.gguf", live.base);
    struct driver *d = live_start(none, NULL, 24, 80);
    driver_wait_for(d, "ask about ");
    driver_settle(d);
    double without = memory_of(d, false);
    quit(d);
    d = live_start(live.model, NULL, 24, 80);
    driver_wait_for(d, "ask about ");
    driver_send(d, "What does repo-index/fuzzy.c do?\r");
    driver_wait_for(d, "wrote ");
    double all = memory_of(d, false), small = memory_of(d, true);
    for (double end = driver_seconds() + 20; small >= 60 && driver_seconds() < end; small = memory_of(d, true))
        driver_take(d, 200); /* what waits to be written to the cache is gone within seconds */
    quit(d);
    if (getenv("PACE_JSON"))
        printf("{\"name\":\"memory of kedge\",\"without_a_model_mb\":%.1f,\"with_one_mb\":%.1f,\"of_that_in_small_mappings_mb\":%.1f}\n", without, all, small);
    else
        print_message("memory: %.1f MB without a model; with one %.1f MB, %.1f MB of that in small mappings\n", without, all, small);
    const char *sanitised = getenv("BUILD");
    if (!sanitised || (strcmp(sanitised, "asan") != 0 && strcmp(sanitised, "tsan") != 0))
        assert_true(without < 60 && small < 60);
}

/* From the key sent to its character shown, until there are enough, or `until` is shown. */
static void measure(struct driver *d, const char *until, struct times *times)
{
    char expected[64] = "› ";
    for (size_t i = 0; times->count < KEYS; i++) {
        if (i % 40 == 0) {
            driver_send(d, "\x15");
            driver_wait_for(d, "› ask a");
            strcpy(expected, "› ");
        }
        if (driver_shows(d, until))
            return;
        const char key[2] = { (char)('a' + i % 26), '\0' };
        strcat(expected, key);
        double begun = driver_seconds(), before = waited_by_both(d);
        driver_send(d, key);
        driver_wait_for(d, expected);
        add_time(times, begun, before, waited_by_both(d));
    }
}

static void keys_are_echoed_while_the_model_writes(void **state)
{
    static struct times times;
    (void)state;
    model_path_or_skip("SmolLM2-135M-Instruct.Q4_1.gguf", live.model);
    struct driver *d = live_start(live.model, NULL, 24, 80);
    driver_wait_for(d, "ask about ");
    while (times.count < KEYS) { /* it may end before the keys do */
        driver_send(d, "\x15Write a very long story about a village with many people, and tell of each of them at length.\r");
        driver_wait_for(d, " answering");
        measure(d, " ready", &times);
        driver_send(d, "\x15\x1b");
        driver_wait_for(d, " ready");
    }
    quit(d);
    tell("key echo of kedge while the model writes", &times, 16);
}

static void keys_are_echoed_while_the_index_is_made(void **state)
{
    static struct times times;
    (void)state;
    model_path_or_skip("SmolLM2-135M-Instruct.Q4_1.gguf", live.model);
    live_run("cd %s/repo && for i in $(seq %d); do mkdir copy$i && cp -r base engine kernels repo-index tui copy$i && find copy$i -type f -exec sed -i \"1i // $i\" {} +; done", live.base,
        COPIES);
    struct driver *d = live_start(live.model, NULL, 24, 80);
    driver_wait_for(d, "› ask a");
    measure(d, "ask about ", &times);
    driver_send(d, "\x15");
    driver_wait_for(d, "› ask a");
    assert_false(driver_shows(d, "ask about "));
    quit(d);
    tell("key echo of kedge while the index is made", &times, 16);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(the_first_screen_comes_at_once, make_place, live_remove),
        cmocka_unit_test_setup_teardown(memory_is_the_models, make_place, live_remove),
        cmocka_unit_test_setup_teardown(keys_are_echoed_while_the_model_writes, make_place, live_remove),
        cmocka_unit_test_setup_teardown(keys_are_echoed_while_the_index_is_made, make_place, live_remove),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
