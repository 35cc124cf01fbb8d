#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "catalogue_place.h"
#include "engine/catalogue/fetch.h"
#include "tests/faults/killed_process.h"

struct seen {
    uint64_t stop_at, first;
    unsigned stop_part, reports;
};

static int watch(void *ctx, const struct kg_fetch_progress *now)
{
    struct seen *seen = ctx;
    if (now->checking)
        return 0;
    if (seen->reports++ == 0)
        seen->first = now->done;
    return (seen->stop_at && now->done >= seen->stop_at) || (seen->stop_part && now->part >= seen->stop_part);
}

struct server {
    pid_t pid;
    unsigned port;
};

/* tests/unit/catalogue_server.py on a free port. */
static struct server start_server(const struct place *place, const char *certificate)
{
    int pipe_ends[2];
    const char *file = place_path(place, "served");
    place_write(file, place->content, CONTENT_BYTES);
    assert_int_equal(pipe(pipe_ends), 0);
    struct server server = { .pid = fork() };
    if (server.pid == 0) {
        dup2(pipe_ends[1], 1);
        close(pipe_ends[0]);
        execlp("python3", "python3", "tests/unit/catalogue_server.py", file, certificate, (char *)NULL);
        _exit(127);
    }
    close(pipe_ends[1]);
    FILE *told = fdopen(pipe_ends[0], "r");
    if (!told || fscanf(told, "%u", &server.port) != 1)
        fail_msg("the server did not start");
    fclose(told);
    return server;
}

static void stop_server(struct server server)
{
    kill(server.pid, SIGTERM);
    waitpid(server.pid, NULL, 0);
}

static enum kg_status fetch_lines(const struct place *place, const char *sources, struct seen *seen, struct kg_error *err)
{
    struct kg_catalogue *catalogue = place_catalogue(place, sources);
    *err = (struct kg_error){ 0 };
    enum kg_status status = kg_catalogue_fetch(catalogue, "m", watch, seen, err);
    kg_catalogue_close(catalogue);
    return status;
}

static enum kg_status fetch(const struct place *place, struct server server, const char *path, struct seen *seen, struct kg_error *err)
{
    char line[200];
    snprintf(line, sizeof line, "source = http://127.0.0.1:%u/%s\n", server.port, path);
    return fetch_lines(place, line, seen, err);
}

static void remove_model(const struct place *place)
{
    assert_true(place_model_is_right(place));
    assert_false(place_exists(place_path(place, "models/m.gguf.partial")));
    unlink(place_path(place, "models/m.gguf"));
}

static void whole_and_broken_lines_complete(void **state)
{
    struct place *place = *state;
    struct server server = start_server(place, NULL);
    struct seen seen = { 0 };
    struct kg_error err;
    assert_int_equal(fetch(place, server, "whole", &seen, &err), KG_OK);
    remove_model(place);
    /* the line breaks after each 100,000 bytes: five attempts of one run, then another run goes on */
    assert_int_equal(fetch(place, server, "breaking", &seen, &err), KG_ERR_NETWORK);
    seen = (struct seen){ 0 };
    assert_int_equal(fetch(place, server, "breaking", &seen, &err), KG_OK);
    assert_true(seen.first >= 300000);
    remove_model(place);
    stop_server(server);
}

static void stopped_goes_on_by_range_or_from_the_start(void **state)
{
    struct place *place = *state;
    struct server server = start_server(place, NULL);
    struct kg_error err;
    for (unsigned i = 0; i < 2; i++) {
        struct seen seen = { .stop_at = 100000 };
        assert_int_equal(fetch(place, server, "slow", &seen, &err), KG_ERR_CANCELLED);
        seen = (struct seen){ 0 };
        assert_int_equal(fetch(place, server, i ? "no-range" : "whole", &seen, &err), KG_OK);
        assert_true(seen.first >= 100000);
        remove_model(place);
    }
    stop_server(server);
}

struct download {
    const struct place *place;
    struct server server;
};

static void fetch_in_child(void *ctx, int tell)
{
    const struct download *download = ctx;
    struct seen seen = { 0 };
    struct kg_error err;
    (void)tell;
    fetch(download->place, download->server, "slow", &seen, &err);
}

static void killed_at_any_moment_goes_on(void **state)
{
    struct place *place = *state;
    struct server server = start_server(place, NULL);
    struct download download = { place, server };
    struct kg_error err;
    for (unsigned milliseconds = 20; milliseconds < 600; milliseconds += 60) {
        struct seen seen = { 0 };
        close(killed_process(fetch_in_child, &download, KILLED_FROM_START, milliseconds * 1000));
        struct stat st = { 0 };
        stat(place_path(place, "models/m.gguf.partial"), &st);
        assert_int_equal(fetch(place, server, "whole", &seen, &err), KG_OK);
        assert_true(seen.first >= (uint64_t)st.st_size);
        remove_model(place);
    }
    stop_server(server);
}

static void bad_servers_are_refused(void **state)
{
    struct place *place = *state;
    struct server server = start_server(place, NULL);
    static const struct {
        const char *path;
        enum kg_status status;
        const char *told;
    } cases[] = {
        { "missing", KG_ERR_NETWORK, "404" },
        { "page", KG_ERR_CORRUPT, "offers 26 bytes" },
        { "endless", KG_ERR_CORRUPT, "more than" },
        { "wrong", KG_ERR_CORRUPT, "SHA-256" },
        { "redirect-file", KG_ERR_NETWORK, "file" },
        { "redirect-plain", KG_ERR_NETWORK, "http" }, /* only https may be redirected to */
        { "redirect-loop", KG_ERR_NETWORK, "" },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct seen seen = { 0 };
        struct kg_error err;
        enum kg_status status = fetch(place, server, cases[i].path, &seen, &err);
        if (status != cases[i].status || !strstr(err.text, cases[i].told))
            fail_msg("%s -> %s: %s", cases[i].path, kg_status_name(status), err.text);
        assert_false(place_exists(place_path(place, "models/m.gguf")));
        kg_remove_tree(place_path(place, "models")); /* what came may be good, and would be gone on with */
    }
    stop_server(server);
}

/* The first source that serves is taken, whatever the ones before it left. */
static void next_source_takes_over(void **state)
{
    struct place *place = *state;
    struct server server = start_server(place, NULL);
    struct seen seen = { 0 };
    struct kg_error err;
    char lines[600];
    place_three_wheels(place);
    place_pip(place, place_pip_copies);
    snprintf(lines, sizeof lines,
             "source = http://127.0.0.1:1/nobody\nsource = http://127.0.0.1:%u/page\nsource = http://127.0.0.1:%u/wrong\n"
             "source = pip part{1..3}==1.0 part_{1..3}/data/{01..03}.bin\n",
             server.port, server.port);
    assert_int_equal(fetch_lines(place, lines, &seen, &err), KG_OK);
    remove_model(place);
    /* parts of a pip source, then the rest by https */
    seen = (struct seen){ .stop_part = 3 };
    assert_int_equal(fetch_lines(place, strstr(lines, "source = pip"), &seen, &err), KG_ERR_CANCELLED);
    seen = (struct seen){ 0 };
    assert_int_equal(fetch(place, server, "whole", &seen, &err), KG_OK);
    assert_true(seen.first >= 250000);
    remove_model(place);
    stop_server(server);
}

static void certificates_are_checked(void **state)
{
    struct place *place = *state;
    struct seen seen = { 0 };
    struct kg_error err;
    char command[800], line[100];
    const char *certificate = place_path(place, "certificate.pem");
    snprintf(command, sizeof command,
             "openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=127.0.0.1 -addext subjectAltName=IP:127.0.0.1 "
             "-keyout %s -out %s.crt 2>/dev/null && cat %s.crt >> %s",
             certificate, certificate, certificate, certificate);
    if (system(command) != 0)
        skip();
    struct server server = start_server(place, certificate);
    snprintf(line, sizeof line, "source = https://127.0.0.1:%u/whole\n", server.port);
    assert_int_equal(fetch_lines(place, line, &seen, &err), KG_ERR_NETWORK);
    assert_non_null(strstr(err.text, "certificate"));
    assert_false(place_exists(place_path(place, "models/m.gguf")));
    stop_server(server);
}

int main(void)
{
#define PLACED(test) cmocka_unit_test_setup_teardown(test, place_set_up, place_tear_down)
    const struct CMUnitTest tests[] = {
        PLACED(whole_and_broken_lines_complete), PLACED(stopped_goes_on_by_range_or_from_the_start),
        PLACED(killed_at_any_moment_goes_on),    PLACED(bad_servers_are_refused),
        PLACED(next_source_takes_over),          PLACED(certificates_are_checked),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
