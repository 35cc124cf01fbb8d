/* The interface in a real pseudo-terminal, with an engine that follows a script: included by test programs that are started again
 * by their tests as the one that is tested, "PROGRAM DIRECTORY MODEL", and are linked with their own engine (mk/test.mk).
 */
#ifndef KG_TESTS_SCREENS_SCRIPTED_INTERFACE_H
#define KG_TESTS_SCREENS_SCRIPTED_INTERFACE_H

#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include <cmocka.h>

#include "tests/screens/driver.h"
#include "tests/screens/scripted_engine.h"
#include "tui/interface/interface.h"

#define PASTE_OFF "\x1b[?2004l"

static __attribute__((unused)) int run_interface(const char *directory, const char *model)
{
    struct kg_error err;
    struct kg_interface_options options = { .repository = strcmp(model, "nowhere") ? "/repo" : NULL,
                                            .engine = { .model_path = model, .threads = 2, .state_dir = directory, .cache_dir = directory },
                                            .sampling = { .penalty = 1 },
                                            .instructions = true,
                                            .choose_files = true,
                                            .ahead = getenv("AHEAD") ? KG_AHEAD_ALWAYS : KG_AHEAD_NEVER,
                                            .again = getenv("AGAIN") != NULL,
                                            .vi = getenv("VI") != NULL,
                                            .lines_only = getenv("INLINE") != NULL,
                                            .mouse = getenv("MOUSE") != NULL,
                                            .theme = getenv("THEME"),
                                            .colours = getenv("COLOURS") ? (enum kg_colours)atoi(getenv("COLOURS")) : KG_COLOURS_AUTO };
    snprintf(script_directory, sizeof script_directory, "%s", directory);
    if (getenv("FILE_LIMIT"))
        setrlimit(RLIMIT_FSIZE, &(struct rlimit){ .rlim_cur = (rlim_t)atol(getenv("FILE_LIMIT")), .rlim_max = RLIM_INFINITY });
    script_indexes = strcmp(model, "indexing") == 0;
    if (kg_interface_run(&options, &err) == KG_OK)
        return 0;
    fprintf(stderr, "kedge: %s\n", err.text);
    return 1;
}

static char directory[64];

static __attribute__((unused)) int make_directory(void **state)
{
    (void)state;
    strcpy(directory, "/tmp/kedge-screens-XXXXXX");
    return mkdtemp(directory) ? 0 : -1;
}

static __attribute__((unused)) int remove_directory(void **state)
{
    static const char *const files[] = { "history", "kedge.log", "reading-speed", "loaded", "read", "again", "gate", "indexed", "wide.txt" };
    char path[128];
    (void)state;
    for (size_t i = 0; i < sizeof files / sizeof files[0]; i++) {
        snprintf(path, sizeof path, "%s/%s", directory, files[i]);
        unlink(path);
    }
    return rmdir(directory);
}

static __attribute__((unused)) void open_gate(const char *name)
{
    char path[128];
    snprintf(path, sizeof path, "%s/%s", directory, name);
    close(open(path, O_CREAT | O_WRONLY, 0600));
}

static __attribute__((unused)) void close_gate(const char *name)
{
    char path[128];
    snprintf(path, sizeof path, "%s/%s", directory, name);
    unlink(path);
}

static __attribute__((unused)) struct driver *start_as(const char *model, const char *term, const char *const *environment, int rows, int columns)
{
    static char self[KG_PATH_MAX];
    ssize_t n = readlink("/proc/self/exe", self, sizeof self - 1);
    assert_true(n > 0);
    self[n] = '\0';
    return driver_start((const char *const[]){ self, directory, model, NULL }, environment, term, rows, columns);
}

static __attribute__((unused)) struct driver *start(int rows, int columns)
{
    struct driver *d = start_as("scripted", "xterm-256color", NULL, rows, columns);
    driver_wait_for(d, "ready");
    driver_wait_for(d, "ask about 3 files");
    return d;
}

static __attribute__((unused)) void assert_restored(struct driver *d)
{
    size_t length;
    const char *raw = driver_raw(d, &length), *on = NULL, *off = NULL;
    assert_true(driver_modes_restored(d));
    for (const char *at = raw; (at = strstr(at, "\x1b[?2004h")); at++)
        on = at;
    for (const char *at = raw; (at = strstr(at, PASTE_OFF)); at++)
        off = at;
    assert_true(!on || off > on);
}

static __attribute__((unused)) void quit(struct driver *d)
{
    driver_send(d, "\x04");
    assert_int_equal(driver_wait_exit(d), 0);
    assert_restored(d);
    driver_free(d);
}

static __attribute__((unused)) void ask(struct driver *d, const char *question)
{
    driver_send(d, question);
    driver_send(d, "\r");
}

/* Says which byte is none that may be sent, and what stands around it. */
static __attribute__((unused)) void assert_fine(bool fine, const char *raw, size_t length, size_t at)
{
    enum { AROUND = 40 };
    char shown[2 * AROUND * 4 + 1];
    size_t from = at > AROUND ? at - AROUND : 0, used = 0;
    if (fine)
        return;
    for (size_t i = from; i < at + AROUND && i < length; i++)
        used += (size_t)snprintf(shown + used, sizeof shown - used, raw[i] > ' ' && raw[i] < 0x7f ? "%c" : "\\x%02x", (unsigned char)raw[i]);
    fail_msg("byte %zu of %zu: %s", at, length, shown);
}

/* Every escape sequence that was sent is one that curses sends, and every other byte is text; when any keys were pressed, there may be
 * bells, copies for the clipboard and what an editor leaves to be done as well, and tabs that were typed while it had the terminal, which
 * sends them back as they are, and nothing else of what controls it. */
static __attribute__((unused)) void assert_harmless(struct driver *d, bool any_keys)
{
    static const char colours[] = "\x1b]104\a"; /* orig_colors: curses sends it when it has the terminal back, as from an editor */
    static const char lends[] = "\x1b[?1049l", has_again[] = "\x1b[?2004h";
    static const char copy[] = "\x1b]52;c;", digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/=";
    size_t length;
    const char *raw = driver_raw(d, &length);
    bool lent = false;
    for (size_t i = 0; i < length; i++) {
        unsigned char c = (unsigned char)raw[i];
        if (strncmp(raw + i, lends, sizeof lends - 1) == 0)
            lent = any_keys && strstr(raw + i, has_again);
        else if (strncmp(raw + i, has_again, sizeof has_again - 1) == 0)
            lent = false;
        if (any_keys && strncmp(raw + i, copy, sizeof copy - 1) == 0) {
            i += sizeof copy - 1;
            i += strspn(raw + i, digits);
            assert_int_equal(raw[i], '\a');
        } else if (any_keys && strncmp(raw + i, colours, sizeof colours - 1) == 0) {
            i += sizeof colours - 2;
        } else if (c == 0x1b) {
            assert_fine(i + 1 < length && strchr("[()=>78M", raw[i + 1]), raw, length, i);
        } else if (c < 0x20) {
            assert_fine(c == '\r' || c == '\n' || c == '\b' || c == 0x0f || (any_keys && c == '\a') || (lent && c == '\t'), raw, length, i);
        }
        assert_fine(c != 0x7f && (c != 0xc2 || (unsigned char)raw[i + 1] >= 0xa0), raw, length, i);
    }
    assert_null(strstr(raw, "\x1b[31337m"));
    assert_null(strstr(raw, "\xe2\x80\xae"));
    assert_null(strstr(raw, "\xe2\x80\x8b"));
}

#define SCREEN_TEST(f) cmocka_unit_test_setup_teardown(f, make_directory, remove_directory)

#endif
