/* A conversation while sessions.db cannot be written, or memory runs out under it: when that is over and the conversation is
 * closed, what is resumed is what stood there. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "engine/state.h"
#include "tests/faults/failing_memory.h"
#include "tests/faults/lossy_vfs.h"
#include "tests/unit/kv_blocks.h"

static const char first_text[] = "#define SIDE 4711\n\nlong area(long width, long height);\n\nlong twice(long number)\n{\n    return 2 * number;\n}\n";
static const char second_text[] = "#define SIDE 4712\n\nlong area(long width, long height);\n\nlong twice(long number)\n{\n    return 2 * number;\n}\n";

struct world {
    char directory[256];
    struct kg_engine_options options;
    struct kg_engine *engine;
    struct kg_session *session;
    unsigned failed; /* of what was asked for */
};

static void open_talk(struct world *w)
{
    struct kg_error err = { .text = "" };
    if (kg_engine_open(&w->options, &w->engine, &err) != KG_OK || kg_session_open(w->engine, &(struct kg_session_options){ .name = "talk" }, &w->session, &err) != KG_OK)
        fail_msg("%s", err.text);
}

static void close_talk(struct world *w)
{
    kg_session_close(w->session);
    kg_engine_close(w->engine);
    w->session = NULL;
    w->engine = NULL;
}

static void note(struct world *w, enum kg_status status, const struct kg_error *err)
{
    w->failed += status != KG_OK;
    if (status != KG_OK)
        assert_true(err->text[0] != '\0');
}

static void add(struct world *w, const char *path, const char *text)
{
    struct kg_error err = { .text = "" };
    note(w, kg_session_add_file(w->session, path, text, strlen(text), false, &err), &err);
}

static void ask(struct world *w, const char *text)
{
    struct kg_error err = { .text = "" };
    enum kg_end end;
    const struct kg_question question = { .text = text, .length = strlen(text), .max_tokens = 3, .sampling = kg_sampling_greedy() };
    note(w, kg_session_ask(w->session, &question, &end, &err), &err);
}

/* Most of what changes what is stored. */
static void talk(struct world *w)
{
    struct kg_error err = { .text = "" };
    add(w, "a.c", first_text);
    add(w, "b.c", "int b;\n");
    ask(w, "A?");
    add(w, "b.c", "int c;\n");
    note(w, kg_session_take_back(w->session, &err), &err);
    add(w, "a.c", second_text); /* what is behind the edit is kept, and gaps are closed */
    note(w, kg_session_drop_file(w->session, "b.c", &err), &err);
    ask(w, "B?");
}

/* What a conversation says of itself. */
static void write_down(const struct kg_session *session, char **out)
{
    size_t length = 0;
    FILE *file = open_memstream(out, &length);
    assert_non_null(file);
    for (size_t i = 0; i < session->count; i++) {
        const struct kg_piece *piece = &session->pieces[i];
        const bool there = piece->block != NULL;
        fprintf(file, "%s '%s' dropped %d gave way %u base %d: %u tokens, %.*s\n", kg_block_kind_name(piece->kind), piece->label, piece->dropped, piece->gave_way,
                there ? piece->base : -1, there ? kg_block_tokens(piece->block) : 0, (int)piece->length, piece->text);
        for (uint32_t t = 0; there && i > 0 && t < kg_block_tokens(piece->block); t++)
            fprintf(file, "%d ", kg_block_ids(piece->block)[t]);
    }
    fclose(file);
}

static void resumes_as_it_stood(struct world *w, uint64_t at)
{
    char *before = NULL, *after = NULL;
    write_down(w->session, &before);
    close_talk(w);
    open_talk(w);
    write_down(w->session, &after);
    if (strcmp(before, after) != 0)
        fail_msg("failure %llu: it stood\n%s\nand is resumed as\n%s", (unsigned long long)at, before, after);
    free(before);
    free(after);
}

static void begin(struct world *w)
{
    snprintf(w->directory, sizeof w->directory, "%s", kv_directory_make());
    w->options = (struct kg_engine_options){ .model_path = "tests/golden/tiny/qwen2.gguf", .backend = "cpu", .threads = 1, .cache_off = true, .index_bits = 4,
                                             .cache_dir = w->directory, .state_dir = w->directory };
    w->failed = 0;
    open_talk(w);
}

static void end(struct world *w)
{
    close_talk(w);
    kv_directory_remove(w->directory);
}

static bool is_long(void)
{
    const char *wanted = getenv("CHECK_LONG");
    return wanted && strcmp(wanted, "1") == 0;
}

static void nothing_fails(struct world *w)
{
    begin(w);
    talk(w);
    assert_int_equal(w->failed, 0);
    resumes_as_it_stood(w, 0);
    end(w);
}

/* The fault strikes at operation `at`; what is asked afterwards works again. */
static void strike(struct world *w, enum lossy_fault kind, uint64_t at, unsigned *failed)
{
    lossy_begin(LOSSY_NONE, 0, 1);
    begin(w);
    lossy_go_on(kind, at);
    talk(w);
    *failed += w->failed > 0;
    lossy_go_on(LOSSY_NONE, 0);
    ask(w, "Is all well?");
    resumes_as_it_stood(w, at);
    end(w);
}

static void writes_may_fail(void **state)
{
    static const enum lossy_fault kinds[] = { LOSSY_IO_ONCE, LOSSY_FULL, LOSSY_FULL_ONCE, LOSSY_IO };
    struct world w = { .failed = 0 };
    (void)state;
    nothing_fails(&w);
    begin(&w);
    lossy_go_on(LOSSY_IO, UINT64_MAX);
    talk(&w);
    const uint64_t count = lossy_operations(), step = is_long() ? 1 : 17;
    end(&w);
    assert_true(count > 100);
    unsigned failed = 0;
    for (size_t k = 0; k < sizeof kinds / sizeof *kinds; k++)
        for (uint64_t at = k; at < count; at += step)
            strike(&w, kinds[k], at, &failed);
    print_message("# %llu operations, %u conversations with a failure\n", (unsigned long long)count, failed);
    assert_true(failed > 20);
}

static void memory_may_run_out(void **state)
{
    struct world w = { .failed = 0 };
    unsigned failed = 0;
    (void)state;
    begin(&w);
    failing_memory_begin(UINT64_MAX, false);
    talk(&w);
    const uint64_t count = failing_memory_count(), step = is_long() ? 7 : count / 60 + 1;
    failing_memory_end();
    end(&w);
    for (unsigned once = 0; once < 2; once++)
        for (uint64_t at = once; at < count; at += step) {
            begin(&w);
            failing_memory_begin(at, once);
            talk(&w);
            failing_memory_end();
            failed += w.failed > 0;
            ask(&w, "Is all well?");
            resumes_as_it_stood(&w, at);
            end(&w);
        }
    print_message("# %llu allocations, %u conversations with a failure\n", (unsigned long long)count, failed);
    assert_true(failed > 20);
}

int main(void)
{
    failing_memory_install();
    lossy_install();
    lossy_begin(LOSSY_NONE, 0, 1);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(writes_may_fail),
        cmocka_unit_test(memory_may_run_out),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
