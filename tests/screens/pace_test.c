/* How soon the screen answers: figures are printed; limits are those of a machine that has other things to do as well. */
#include "tests/screens/scripted_interface.h"

#define BUSY 10 /* times what a machine at rest is to keep within */

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static void the_first_screen_comes_at_once(void **state)
{
    double times[20];
    (void)state;
    for (size_t i = 0; i < 20; i++) {
        double begun = driver_seconds();
        struct driver *d = start_as("slow", "xterm-256color", NULL, 24, 80);
        driver_wait_for(d, "›");
        times[i] = (driver_seconds() - begun) * 1000;
        quit(d);
    }
    qsort(times, 20, sizeof *times, compare);
    print_message("first screen: median %.1f ms, slowest of 20 %.1f ms\n", times[10], times[19]);
    assert_true(times[10] < 30 * BUSY);
}

/* From the key sent to its character shown, while an answer streams as fast as it can. */
static void keys_are_echoed_while_text_streams(void **state)
{
    enum { KEYS = 400 };
    static double times[KEYS];
    char expected[64];
    (void)state;
    struct driver *d = start(24, 80);
    ask(d, "endless");
    driver_wait_for(d, "0 of an endless");
    for (int i = 0; i < KEYS; i++) {
        if (i % 40 == 0) {
            driver_send(d, "\x15");
            driver_wait_for(d, "› ask about");
            strcpy(expected, "› ");
        }
        const char key[2] = { (char)('a' + i % 26), '\0' };
        strcat(expected, key);
        double begun = driver_seconds();
        driver_send(d, key);
        driver_wait_for(d, expected);
        times[i] = (driver_seconds() - begun) * 1000;
    }
    qsort(times, KEYS, sizeof *times, compare);
    print_message("key echo while streaming: median %.1f ms, 99 of 100 within %.1f ms\n", times[KEYS / 2], times[KEYS * 99 / 100]);
    assert_true(times[KEYS * 99 / 100] < 16 * BUSY);
    driver_send(d, "\x15\x1b");
    driver_wait_for(d, "ready");
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
    print_message("paste of 10 MB: %.2f s\n", spent);
    assert_true(spent < 2 * BUSY);
    begun = driver_seconds();
    driver_send(d, "!");
    driver_wait_for(d, "the end!");
    print_message("a key behind it: %.0f ms\n", (driver_seconds() - begun) * 1000);
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
        SCREEN_TEST(ten_megabytes_are_pasted),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
