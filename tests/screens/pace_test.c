/* How soon the screen answers, through the pty. Limits are those of a machine that has other things to do as well; with PACE_JSON each
 * figure is printed as a line of JSON, for make bench-interface.
 */
#include "tests/screens/scripted_interface.h"

#define BUSY 10 /* times what a machine at rest is to keep within */

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static void tell(const char *name, double *milliseconds, size_t count)
{
    qsort(milliseconds, count, sizeof *milliseconds, compare);
    double median = milliseconds[count / 2], p99 = milliseconds[count * 99 / 100];
    if (getenv("PACE_JSON"))
        printf("{\"name\":\"%s\",\"count\":%zu,\"median_ms\":%.2f,\"p99_ms\":%.2f,\"worst_ms\":%.2f}\n", name, count, median, p99, milliseconds[count - 1]);
    else
        print_message("%s: median %.1f ms, 99 of 100 within %.1f ms, all within %.1f ms\n", name, median, p99, milliseconds[count - 1]);
    fflush(stdout);
}

static void the_first_screen_comes_at_once(void **state)
{
    double times[20];
    (void)state;
    for (size_t i = 0; i < 20; i++) {
        double begun = driver_seconds();
        struct driver *d = start_as("slow", "xterm-256color", NULL, 24, 80);
        while (!driver_shows(d, "›"))
            driver_take(d, 1);
        times[i] = (driver_seconds() - begun) * 1000;
        quit(d);
    }
    tell("first screen", times, 20);
    assert_true(times[10] < 30 * BUSY);
}

enum { KEYS = 400 };

/* From the key sent to its character shown. */
static void measure_echo(struct driver *d, const char *name)
{
    static double times[KEYS];
    char expected[64] = "› ";
    for (int i = 0; i < KEYS; i++) {
        if (i % 40 == 0) {
            driver_send(d, "\x15");
            driver_wait_for(d, "› ask a");
            strcpy(expected, "› ");
        }
        const char key[2] = { (char)('a' + i % 26), '\0' };
        strcat(expected, key);
        double begun = driver_seconds();
        driver_send(d, key);
        driver_wait_for(d, expected);
        times[i] = (driver_seconds() - begun) * 1000;
    }
    tell(name, times, KEYS);
    assert_true(times[KEYS * 99 / 100] < 16 * BUSY);
}

static void keys_are_echoed_while_text_streams(void **state)
{
    (void)state;
    struct driver *d = start(24, 80);
    ask(d, "endless");
    driver_wait_for(d, "0 of an endless");
    measure_echo(d, "key echo while an answer streams");
    driver_send(d, "\x15\x1b");
    driver_wait_for(d, "ready");
    quit(d);
}

static void keys_are_echoed_while_the_index_is_built(void **state)
{
    (void)state;
    struct driver *d = start_as("indexing", "xterm-256color", NULL, 24, 80);
    driver_wait_for(d, "› ask a question");
    measure_echo(d, "key echo while the index is built");
    assert_false(driver_shows(d, "about 3 files"));
    driver_send(d, "\x15");
    open_gate("indexed");
    driver_wait_for(d, "› ask about 3 files");
    quit(d);
}

static double memory_of(struct driver *d)
{
    char path[64], line[128];
    double kilobytes = 0;
    snprintf(path, sizeof path, "/proc/%d/smaps_rollup", driver_process(d));
    FILE *file = fopen(path, "r");
    assert_non_null(file);
    while (fgets(line, sizeof line, file))
        if (sscanf(line, "Pss: %lf kB", &kilobytes) == 1)
            break;
    fclose(file);
    return kilobytes / 1024;
}

/* A page up or down in 100,000 lines: from the key to the new screen; and what they take of memory. */
static void long_transcripts_scroll(void **state)
{
    enum { PAGES = 300 };
    static double times[PAGES];
    (void)state;
    struct driver *d = start(60, 200);
    double before = memory_of(d);
    ask(d, "!seq -f 'line %g of a long output' 100000 | cut -c1-9");
    driver_wait_for(d, "100,000 lines");
    driver_send(d, "\x0f");
    driver_wait_for(d, "line 9999");
    driver_settle(d);
    for (int i = 0; i < PAGES; i++) {
        char *shown = strdup(driver_screen(d));
        double begun = driver_seconds();
        driver_send(d, i < PAGES / 2 ? "\x1b[5~" : "\x1b[6~");
        while (strcmp(shown, driver_screen(d)) == 0 && driver_seconds() - begun < 5)
            driver_take(d, 1);
        times[i] = (driver_seconds() - begun) * 1000;
        free(shown);
        while (driver_take(d, 2))
            ;
    }
    tell("a page of 100,000 lines", times, PAGES);
    assert_true(times[PAGES * 99 / 100] < 1000.0 / 60 * BUSY);
    double after = memory_of(d);
    if (getenv("PACE_JSON"))
        printf("{\"name\":\"memory\",\"at_start_mb\":%.1f,\"with_100000_lines_mb\":%.1f}\n", before, after);
    else
        print_message("memory: %.1f MB, with 100,000 lines %.1f MB\n", before, after);
    const char *sanitised = getenv("BUILD");
    assert_true(after < 60 || (sanitised && (strcmp(sanitised, "asan") == 0 || strcmp(sanitised, "tsan") == 0)));
    quit(d);
}

static void ten_megabytes_are_pasted(void **state)
{
    size_t length = 10 << 20;
    char *text = malloc(length + 1);
    (void)state;
    struct driver *d = start(24, 80);
    for (size_t i = 0; i < length; i++)
        text[i] = i % 60 == 59 ? '\r' : (char)('a' + i % 26);
    double begun = driver_seconds();
    driver_send(d, "\x1b[200~");
    driver_send_bytes(d, text, length);
    driver_send(d, "the end\x1b[201~");
    driver_wait_for(d, "the end");
    double spent = driver_seconds() - begun;
    spent *= 1000;
    tell("a paste of 10 MB", &spent, 1);
    assert_true(spent < 2000 * BUSY);
    begun = driver_seconds();
    driver_send(d, "!");
    driver_wait_for(d, "the end!");
    spent = (driver_seconds() - begun) * 1000;
    tell("a key behind it", &spent, 1);
    driver_send(d, "\x03");
    driver_wait_gone(d, "the end");
    free(text);
    quit(d);
}

int main(int argc, char **argv)
{
    if (argc == 3)
        return run_interface(argv[1], argv[2]);
    const struct CMUnitTest tests[] = {
        SCREEN_TEST(the_first_screen_comes_at_once),
        SCREEN_TEST(keys_are_echoed_while_text_streams),
        SCREEN_TEST(keys_are_echoed_while_the_index_is_built),
        SCREEN_TEST(long_transcripts_scroll),
        SCREEN_TEST(ten_megabytes_are_pasted),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
