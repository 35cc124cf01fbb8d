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
#include <sqlite3.h>

#include "engine/state.h"
#include "tests/faults/failing_memory.h"
#include "tests/faults/lossy_vfs.h"
#include "tests/unit/kv_blocks.h"
#include "tests/unit/tiny_model.h"

#define MODEL TINY_GOLDEN

static const char first_text[] = "#define SIDE 4711\n\nlong area(long width, long height);\n\nlong twice(long number)\n{\n    return 2 * number;\n}\n";
static const char second_text[] = "#define SIDE 4712\n\nlong area(long width, long height);\n\nlong twice(long number)\n{\n    return 2 * number;\n}\n";

/* The program's own memory (mk/test.mk has it come by here): allocation number `at` fails, once. */
static struct {
    bool counts;
    uint64_t at, count;
} own;

void *__real_malloc(size_t size);
void *__real_calloc(size_t count, size_t size);
void *__real_realloc(void *memory, size_t size);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t count, size_t size);
void *__wrap_realloc(void *memory, size_t size);

static bool own_fails(void)
{
    return own.counts && own.count++ == own.at;
}

void *__wrap_malloc(size_t size)
{
    return own_fails() ? NULL : __real_malloc(size);
}

void *__wrap_calloc(size_t count, size_t size)
{
    return own_fails() ? NULL : __real_calloc(count, size);
}

void *__wrap_realloc(void *memory, size_t size)
{
    return own_fails() ? NULL : __real_realloc(memory, size);
}

struct world {
    char directory[256], model[300];
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

static void begin_with(struct world *w, bool cache)
{
    snprintf(w->directory, sizeof w->directory, "%s", kv_directory_make());
    w->options = (struct kg_engine_options){ .model_path = w->model[0] ? w->model : MODEL, .backend = "cpu", .threads = 1, .cache_off = !cache, .index_bits = 4,
                                             .cache_dir = w->directory, .state_dir = w->directory };
    w->failed = 0;
    open_talk(w);
}

static void begin(struct world *w)
{
    begin_with(w, false);
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

/* One change of a conversation, and what is said before it. */
struct change {
    const char *name;
    void (*before)(struct world *w);
    enum kg_status (*make)(struct world *w, struct kg_error *err);
};

static void say_two(struct world *w)
{
    add(w, "a.c", first_text);
    ask(w, "A?");
    ask(w, "B?");
}

static enum kg_status summarise(struct world *w, struct kg_error *err)
{
    struct kg_compaction compaction;
    return kg_session_compact(w->session, &(struct kg_question){ .sampling = kg_sampling_greedy() }, &compaction, err);
}

static void say_three(struct world *w)
{
    say_two(w);
    ask(w, "C?");
}

static void say_and_summarise(struct world *w)
{
    struct kg_error err = { .text = "" };
    say_three(w);
    note(w, summarise(w, &err), &err);
}

static void summarise_and_ask(struct world *w)
{
    say_and_summarise(w);
    add(w, "b.c", "int b;\n");
    ask(w, "D?");
}

static enum kg_status take_back(struct world *w, struct kg_error *err)
{
    return kg_session_take_back(w->session, err);
}

static enum kg_status drop(struct world *w, struct kg_error *err)
{
    return kg_session_drop_file(w->session, "a.c", err);
}

static enum kg_status uncompact(struct world *w, struct kg_error *err)
{
    return kg_session_uncompact(w->session, err);
}

static const struct change changes[] = {
    { "the last question is taken back", say_two, take_back },       { "a file is dropped", say_two, drop },
    { "questions are summarised", say_three, summarise },            { "a summary is taken back", say_and_summarise, uncompact },
    { "an older summary is taken back", summarise_and_ask, uncompact },
};

/* The lossy files need memory themselves. */
static void use_files(const char *vfs)
{
    assert_int_equal(sqlite3_vfs_register(sqlite3_vfs_find(vfs), 1), SQLITE_OK);
}

enum fault { OWN_MEMORY_ONCE, MEMORY_ONCE, MEMORY, DISK_ONCE, DISK_FULL_ONCE, DISK_FULL, DISK };

static void fault_begin(enum fault fault, uint64_t at)
{
    static const enum lossy_fault kinds[] = { [DISK_ONCE] = LOSSY_IO_ONCE, [DISK_FULL_ONCE] = LOSSY_FULL_ONCE, [DISK_FULL] = LOSSY_FULL, [DISK] = LOSSY_IO };
    own.counts = fault == OWN_MEMORY_ONCE;
    own.count = 0;
    own.at = at;
    if (own.counts)
        return;
    if (fault <= MEMORY)
        failing_memory_begin(at, fault == MEMORY_ONCE);
    else
        lossy_go_on(kinds[fault], at);
}

static uint64_t fault_end(enum fault fault)
{
    const uint64_t count = own.counts ? own.count : fault <= MEMORY ? failing_memory_count() : lossy_operations();
    own.counts = false;
    failing_memory_end();
    lossy_go_on(LOSSY_NONE, 0);
    return count;
}

/* A conversation while one allocation of the program's own fails. */
static void own_memory_may_run_out(void **state)
{
    struct world w = { .failed = 0 };
    unsigned failed = 0;
    (void)state;
    use_files("unix");
    begin(&w);
    fault_begin(OWN_MEMORY_ONCE, UINT64_MAX);
    talk(&w);
    const uint64_t count = fault_end(OWN_MEMORY_ONCE), step = is_long() ? 1 : count / 60 + 1;
    end(&w);
    for (uint64_t at = 0; at < count; at += step) {
        begin(&w);
        fault_begin(OWN_MEMORY_ONCE, at);
        talk(&w);
        fault_end(OWN_MEMORY_ONCE);
        failed += w.failed > 0;
        ask(&w, "Is all well?");
        resumes_as_it_stood(&w, at);
        end(&w);
    }
    use_files("lossy");
    print_message("# %llu allocations, %u conversations with a failure\n", (unsigned long long)count, failed);
    assert_true(failed > 20);
}

/* What is said of a change is what stands here, and what is resumed: all of it or nothing. */
static void strike_change(const char *model, const struct change *change, enum fault fault, uint64_t at, const char *before, const char *after, unsigned *failed)
{
    struct world w = { .failed = 0 };
    snprintf(w.model, sizeof w.model, "%s", model);
    struct kg_error err = { .text = "" };
    char *stands = NULL;
    lossy_begin(LOSSY_NONE, 0, 1);
    begin(&w);
    change->before(&w);
    fault_begin(fault, at);
    const enum kg_status status = change->make(&w, &err);
    fault_end(fault);
    write_down(w.session, &stands);
    if (strcmp(stands, status == KG_OK ? after : before) != 0)
        fail_msg("%s, fault %d at %llu: '%s' is said, and it stands\n%s", change->name, fault, (unsigned long long)at, status == KG_OK ? "done" : err.text, stands);
    *failed += status != KG_OK;
    free(stands);
    resumes_as_it_stood(&w, at);
    end(&w);
}

static void what_is_said_of_a_change_is_what_stands(void **state)
{
    char directory[256];
    (void)state;
    snprintf(directory, sizeof directory, "%s", kv_directory_make());
    for (size_t i = 0; i < sizeof changes / sizeof *changes; i++)
        for (enum fault fault = OWN_MEMORY_ONCE; fault <= DISK; fault++) {
            struct world w = { .failed = 0 };
            struct kg_error err = { .text = "" };
            char *before = NULL, *after = NULL;
            unsigned failed = 0;
            use_files(fault == OWN_MEMORY_ONCE ? "unix" : "lossy");
            snprintf(w.model, sizeof w.model, "%s/room.gguf", directory);
            tiny_model_with_room(w.model, 2048);
            lossy_begin(LOSSY_NONE, 0, 1);
            begin(&w);
            changes[i].before(&w);
            assert_int_equal(w.failed, 0);
            write_down(w.session, &before);
            fault_begin(fault, UINT64_MAX);
            if (changes[i].make(&w, &err) != KG_OK)
                fail_msg("%s: %s", changes[i].name, err.text);
            const uint64_t count = fault_end(fault), step = is_long() ? 1 : count / 6 + 1;
            write_down(w.session, &after);
            assert_string_not_equal(before, after);
            end(&w);
            for (uint64_t at = 0; at < count; at += step)
                strike_change(w.model, &changes[i], fault, at, before, after, &failed);
            assert_true(failed > 0 || (fault != MEMORY && fault != DISK)); /* others may be over at the second try */
            free(before);
            free(after);
        }
    kv_directory_remove(directory);
}

/* All keys and values of the file that was placed last, which is read. false: the device failed for good, and says so. */
static bool find_bits(const struct world *w, struct kg_digest *out)
{
    const struct kg_piece *piece = &w->session->pieces[w->session->count - 1];
    while (piece->kind != KG_BLOCK_FILE || !piece->block)
        piece--;
    const struct kg_kv_shape *shape = kg_pool_shape(w->engine->pool);
    const size_t row = KG_KV_ROW_BYTES(shape);
    uint8_t *page = malloc(KG_KV_PAGE_BYTES(shape) + 1);
    struct kg_digest_stream *stream = kg_digest_begin();
    bool whole = true;
    assert_true(page && stream && kg_block_ready(piece->block) == kg_block_tokens(piece->block));
    for (uint32_t t = 0; t < kg_block_tokens(piece->block); t++) {
        if (t % KG_PAGE == 0)
            whole = kg_block_export(piece->block, t / KG_PAGE, page, NULL) == KG_OK && whole;
        for (size_t strip = 0; strip < (size_t)shape->layers * 2 * shape->kv_heads; strip++)
            kg_digest_add(stream, page + (strip * KG_PAGE + t % KG_PAGE) * row, row);
    }
    kg_digest_end(stream, out);
    free(page);
    return whole;
}

static struct kg_digest bits_of(const struct world *w)
{
    struct kg_digest bits;
    assert_true(find_bits(w, &bits));
    return bits;
}

static bool is_again(const struct world *w)
{
    for (size_t i = 0; i < w->session->count; i++)
        if (w->session->pieces[i].rule == KG_READ_AGAIN && w->session->pieces[i].block)
            return true;
    return false;
}

/* Two files that go on alike; the second one's first reading. */
static struct kg_digest begin_alike(struct world *w, enum fault fault)
{
    use_files(fault == OWN_MEMORY_ONCE ? "unix" : "lossy");
    lossy_begin(LOSSY_NONE, 0, 1);
    begin_with(w, true);
    add(w, "a.h", "VIOLET_HARBOR 12ab\n");
    add(w, "b.h", "qwrtzpsdfghjklyxcvbnmqwrtzpsdfghjklyxcvbnm\nVIOLET_HOLLOW 93fe\n");
    assert_int_equal(w->failed, 0);
    kg_kv_store_flush(w->engine->kv_store); /* the writer's thread rests while something fails */
    return bits_of(w);
}

/* What stands is the one reading or the other, whatever fails while it is read again; and what is said of it is true. */
static void strike_again(enum fault fault, uint64_t at, const struct kg_digest *again, unsigned *failed)
{
    struct world w = { .failed = 0 };
    struct kg_error err = { .text = "" };
    const struct kg_digest first = begin_alike(&w, fault);
    fault_begin(fault, at);
    const enum kg_status status = kg_session_read_again(w.session, &(size_t){ 0 }, NULL, &err);
    fault_end(fault);
    *failed += status != KG_OK;
    assert_true(status == KG_OK || (err.text[0] && !is_again(&w)));
    for (int resumed = 0; resumed < 2; resumed++) {
        struct kg_digest bits;
        const bool works = find_bits(&w, &bits);
        assert_true(works || (!resumed && status != KG_OK));
        if (works && memcmp(&bits, is_again(&w) ? again : &first, sizeof bits) != 0)
            fail_msg("fault %d at %llu: a file that is %s is another one", (int)fault, (unsigned long long)at, is_again(&w) ? "read again" : "read once");
        if (!resumed)
            resumes_as_it_stood(&w, at);
        assert_int_equal(kg_session_read_all(w.session, &err), KG_OK);
    }
    ask(&w, "Is all well?");
    assert_int_equal(w.failed, 0);
    end(&w);
}

static void whatever_fails_one_reading_stands_or_the_other(void **state)
{
    (void)state;
    unsigned failed = 0;
    for (enum fault fault = OWN_MEMORY_ONCE; fault <= DISK; fault++) {
        struct world w = { .failed = 0 };
        struct kg_error err = { .text = "" };
        begin_alike(&w, fault);
        fault_begin(fault, UINT64_MAX);
        assert_int_equal(kg_session_read_again(w.session, &(size_t){ 0 }, NULL, &err), KG_OK);
        const uint64_t count = fault_end(fault), step = is_long() ? 1 : count / 12 + 1;
        assert_true(is_again(&w));
        const struct kg_digest again = bits_of(&w);
        end(&w);
        for (uint64_t at = 0; at < count; at += step)
            strike_again(fault, at, &again, &failed);
    }
    print_message("# %u times it failed\n", failed);
    assert_true(failed > 10);
}

int main(void)
{
    failing_memory_install();
    lossy_install();
    lossy_begin(LOSSY_NONE, 0, 1);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(writes_may_fail),
        cmocka_unit_test(memory_may_run_out),
        cmocka_unit_test(own_memory_may_run_out),
        cmocka_unit_test(what_is_said_of_a_change_is_what_stands),
        cmocka_unit_test(whatever_fails_one_reading_stands_or_the_other),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
