/* sessions.db when the power fails, disks fill, memory runs out, a process is killed or bytes change: what was reported
 * as stored is there and right, or its loss is told. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>
#include <sqlite3.h>

#include "base/paths.h"
#include "engine/cache/session_store.h"
#include "engine/context/block.h"
#include "tests/faults/failing_memory.h"
#include "tests/faults/killed_process.h"
#include "tests/faults/lossy_vfs.h"
#include "tests/unit/kv_blocks.h"
#include "tests/unit/seeded.h"

enum { PARTS = 14, TEXT = 3000 };

/* What is known of the conversation: version v of part i has a text that follows from both. */
struct known {
    bool created;
    int parts;             /* reported as stored */
    int version[PARTS];    /* reported as stored */
    int tried[PARTS];      /* the last one begun */
    int tried_parts;
};

struct world {
    char directory[256], path[300];
    struct kg_session_store *store;
    struct kg_stored_session session;
    struct known known;
    uint64_t injected, seed;
};

static bool is_long(void)
{
    const char *wanted = getenv("CHECK_LONG");
    return wanted && strcmp(wanted, "1") == 0;
}

static int set_up(void **state)
{
    struct world *w = calloc(1, sizeof *w);
    w->seed = 99;
    lossy_begin(LOSSY_NONE, 0, 1);
    *state = w;
    return 0;
}

static int tear_down(void **state)
{
    free(*state);
    return 0;
}

static void begin(struct world *w)
{
    snprintf(w->directory, sizeof w->directory, "%s", kv_directory_make());
    snprintf(w->path, sizeof w->path, "%s/sessions.db", w->directory);
    memset(&w->known, 0, sizeof w->known);
}

static int kind_of(int i)
{
    static const int kinds[] = { KG_BLOCK_TURN, KG_BLOCK_FILE, KG_BLOCK_ANSWER };
    return kinds[i % 3];
}

/* Files share their contents: parts 1, 7, 13 and 4, 10 hold the same text. */
static void make_part(int i, int version, char *text, int32_t *ids, struct kg_stored_part *out)
{
    static const struct kg_digest identity = { { 5, 6 } };
    uint64_t seed = kind_of(i) == KG_BLOCK_FILE ? (uint64_t)(i % 2 + 1000) : (uint64_t)i * 100 + (uint64_t)version;
    size_t length = 200 + seeded_below(&seed, TEXT - 200);
    for (size_t k = 0; k < length; k++)
        text[k] = (char)seeded_bits(&seed);
    text[length] = '\0';
    for (size_t k = 0; k < length / 4; k++)
        ids[k] = (int32_t)seeded_below(&seed, 50000);
    static char path[] = "a/b.c", none[] = "";
    *out = (struct kg_stored_part){ .kind = kind_of(i), .label = kind_of(i) == KG_BLOCK_FILE ? path : none, .text = text,
                                    .text_length = length, .ids = ids, .id_count = length / 4, .base = i * 100,
                                    .identity = identity, .read_rule = i, .partial = version == 0 };
}

static int64_t part_ids[PARTS];
static int tell_to = -1; /* what was reported as stored goes there, before anything else is done */

static void tell(const struct known *known)
{
    if (tell_to >= 0 && write(tell_to, known, sizeof *known) != sizeof *known)
        _exit(1);
}

static void append(struct world *w, int i)
{
    char text[TEXT + 1];
    int32_t ids[TEXT];
    struct kg_stored_part part;
    make_part(i, 0, text, ids, &part);
    w->known.tried_parts = i + 1;
    if (w->store && w->known.created && w->known.parts == i &&
        kg_session_store_append(w->store, w->session.id, &part, NULL) == KG_OK) {
        part_ids[i] = part.id;
        w->known.parts = i + 1;
        tell(&w->known);
    }
}

static void update(struct world *w, int i, int version)
{
    char text[TEXT + 1];
    int32_t ids[TEXT];
    struct kg_stored_part part;
    make_part(i, version, text, ids, &part);
    if (!w->store || w->known.parts <= i)
        return;
    part.id = part_ids[i];
    w->known.tried[i] = version;
    if (kg_session_store_update(w->store, &part, NULL) == KG_OK) {
        w->known.version[i] = version;
        tell(&w->known);
    }
}

static void play(struct world *w)
{
    struct kg_stored_session other;
    w->store = NULL;
    if (kg_session_store_open(w->directory, &w->store, NULL) != KG_OK)
        w->store = NULL;
    if (w->store && kg_session_store_create(w->store, "/r", "talk", "m", &w->session, NULL) == KG_OK)
        w->known.created = true;
    if (w->store && kg_session_store_create(w->store, "/r", "other", "m", &other, NULL) == KG_OK) {
        char text[TEXT + 1];
        int32_t ids[TEXT];
        struct kg_stored_part part;
        make_part(1, 0, text, ids, &part);
        kg_session_store_append(w->store, other.id, &part, NULL);
    } else {
        other.id = 0;
    }
    for (int i = 0; i < PARTS; i++) {
        append(w, i);
        if (i % 3 == 2)
            for (int version = 1; version < 3; version++)
                update(w, i, version);
        if (i == 8) {
            if (w->store && other.id)
                kg_session_store_delete(w->store, other.id, NULL);
            kg_session_store_close(w->store);
            w->store = NULL;
            if (kg_session_store_open(w->directory, &w->store, NULL) != KG_OK)
                w->store = NULL;
        }
    }
    kg_session_store_close(w->store);
    w->store = NULL;
}

struct compared {
    struct world *w;
    int count;
    bool any_version; /* damaged parts may be missing: what is there must be right as a whole */
};

static int compare(void *ctx, const struct kg_stored_part *part)
{
    struct compared *c = ctx;
    char text[TEXT + 1];
    int32_t ids[TEXT];
    struct kg_stored_part expected;
    int i = c->any_version ? part->base / 100 : c->count;
    assert_true(i >= 0 && i < PARTS);
    int first = c->any_version ? 0 : c->w->known.version[i], last = c->any_version ? 2 : c->w->known.tried[i];
    bool same = false;
    for (int version = first; version <= last && !same; version++) {
        make_part(i, version, text, ids, &expected);
        same = part->kind == expected.kind && part->text_length == expected.text_length && part->id_count == expected.id_count &&
               part->base == expected.base && part->read_rule == expected.read_rule && part->partial == expected.partial &&
               !part->dropped && strcmp(part->label, expected.label) == 0 && memcmp(part->text, text, part->text_length) == 0 &&
               memcmp(part->ids, ids, part->id_count * sizeof *ids) == 0 &&
               memcmp(&part->identity, &expected.identity, sizeof part->identity) == 0;
    }
    if (!same)
        fail_msg("part %d is none of versions %d to %d", i, first, last);
    c->count++;
    return 0;
}

static void check_integrity(struct world *w)
{
    sqlite3 *db = NULL;
    sqlite3_stmt *check = NULL;
    assert_int_equal(sqlite3_open(w->path, &db), SQLITE_OK);
    assert_int_equal(sqlite3_prepare_v2(db, "PRAGMA integrity_check", -1, &check, NULL), SQLITE_OK);
    assert_int_equal(sqlite3_step(check), SQLITE_ROW);
    assert_string_equal(sqlite3_column_text(check, 0), "ok");
    sqlite3_finalize(check);
    sqlite3_close(db);
}

static void check_after(struct world *w)
{
    struct kg_error err = { .text = "" };
    struct compared c = { .w = w };
    if (kg_session_store_open(w->directory, &w->store, &err) != KG_OK)
        fail_msg("the store does not open: %s", err.text);
    check_integrity(w);
    enum kg_status found = kg_session_store_find(w->store, "/r", "talk", &w->session, &err);
    if (w->known.created)
        assert_int_equal(found, KG_OK);
    if (found == KG_OK) {
        if (kg_session_store_parts(w->store, w->session.id, compare, &c, &err) != KG_OK)
            fail_msg("%s", err.text);
        assert_true(c.count >= w->known.parts && c.count <= w->known.tried_parts);
        /* and it goes on */
        char text[TEXT + 1];
        int32_t ids[TEXT];
        struct kg_stored_part part;
        make_part(0, 0, text, ids, &part);
        assert_int_equal(kg_session_store_append(w->store, w->session.id, &part, &err), KG_OK);
    }
    kg_session_store_close(w->store);
    w->store = NULL;
}

static void strike_everywhere(struct world *w, enum lossy_fault kind, uint64_t step, uint64_t seeds)
{
    begin(w);
    lossy_begin(kind, UINT64_MAX, 1);
    play(w);
    uint64_t count = lossy_operations();
    assert_int_equal(w->known.parts, PARTS);
    check_after(w);
    kv_directory_remove(w->directory);
    assert_true(count > 80);
    for (uint64_t seed = 1; seed <= seeds; seed++)
        for (uint64_t at = (seed - 1) % step; at < count; at += step) {
            begin(w);
            lossy_begin(kind, at, seed * 7777 + at);
            play(w);
            w->injected += lossy_struck();
            if (kind == LOSSY_POWER)
                lossy_reboot();
            else
                lossy_begin(LOSSY_NONE, 0, 1);
            check_after(w);
            kv_directory_remove(w->directory);
        }
    print_message("# %llu operations, %llu faults\n", (unsigned long long)count, (unsigned long long)w->injected);
}

static void power_may_fail_at_any_operation(void **state)
{
    strike_everywhere(*state, LOSSY_POWER, 1, is_long() ? 40 : 3);
}

static void the_disk_may_be_full_at_any_write(void **state)
{
    strike_everywhere(*state, LOSSY_FULL, is_long() ? 1 : 3, 1);
    strike_everywhere(*state, LOSSY_FULL_ONCE, is_long() ? 1 : 3, 1);
}

static void any_operation_may_fail(void **state)
{
    strike_everywhere(*state, LOSSY_IO, is_long() ? 1 : 5, 1);
    strike_everywhere(*state, LOSSY_IO_ONCE, is_long() ? 1 : 5, 1);
}

static void memory_may_run_out_anywhere(void **state)
{
    struct world *w = *state;
    begin(w);
    failing_memory_begin(UINT64_MAX, false);
    play(w);
    uint64_t count = failing_memory_count(), step = is_long() ? 1 : count / 150 + 1;
    failing_memory_end();
    kv_directory_remove(w->directory);
    for (int once = 0; once < 2; once++)
        for (uint64_t at = (uint64_t)once; at < count; at += step) {
            begin(w);
            failing_memory_begin(at, once);
            play(w);
            failing_memory_end();
            w->injected++;
            check_after(w);
            kv_directory_remove(w->directory);
        }
    print_message("# %llu allocations, %llu failures\n", (unsigned long long)count, (unsigned long long)w->injected);
}

static void play_in_child(void *ctx, int to)
{
    tell_to = to;
    play(ctx);
}

/* The child reports each part when it is stored; whatever was reported survives. */
static void a_process_may_be_killed_at_any_moment(void **state)
{
    struct world *w = *state;
    unsigned kills = is_long() ? 1500 : 60, reports = 0;
    for (unsigned k = 0; k < kills; k++) {
        begin(w);
        /* every other one lives until its first report, however slow the machine is */
        const int from = killed_process(play_in_child, w, k % 2 ? KILLED_FROM_WORD : KILLED_FROM_START, 500 + seeded_below(&w->seed, 40000));
        while (read(from, &w->known, sizeof w->known) == sizeof w->known)
            reports++;
        close(from);
        w->known.tried_parts = PARTS;
        for (int i = 0; i < PARTS; i++)
            w->known.tried[i] = 2;
        check_after(w);
        kv_directory_remove(w->directory);
    }
    print_message("# %u processes killed, %u reports of parts stored\n", kills, reports);
    assert_true(reports >= kills / 2);
}

static void bytes_may_change(void **state)
{
    struct world *w = *state;
    char *good = NULL;
    size_t length = 0;
    unsigned rounds = is_long() ? 20000 : 500, opened = 0, told = 0, whole = 0;
    begin(w);
    play(w);
    assert_int_equal(kg_read_file(w->path, 1 << 26, &good, &length, NULL), KG_OK);
    for (unsigned i = 0; i < rounds; i++) {
        struct compared c = { .w = w, .any_version = true };
        struct kg_stored_session found;
        struct kg_error err = { .text = "" };
        size_t at = seeded_bits(&w->seed) % length;
        char kept = good[at];
        good[at] = (char)(kept ^ (char)(1U << seeded_below(&w->seed, 8)));
        assert_int_equal(kg_write_file(w->path, good, length, 0600, NULL), KG_OK);
        good[at] = kept;
        if (kg_session_store_open(w->directory, &w->store, &err) == KG_OK) {
            opened++;
            enum kg_status status = kg_session_store_find(w->store, "/r", "talk", &found, &err);
            if (status == KG_OK)
                status = kg_session_store_parts(w->store, found.id, compare, &c, &err);
            if (status != KG_OK)
                assert_true(err.text[0] != '\0');
            told += status != KG_OK;
            whole += status == KG_OK && c.count == PARTS;
            kg_session_store_close(w->store);
            w->store = NULL;
        }
    }
    print_message("# %u files: %u opened, of which %u whole and %u with a message\n", rounds, opened, whole, told);
    assert_true(opened - whole - told <= opened / 50); /* a row that is gone without a trace */
    assert_true(told > 10);
    free(good);
    kv_directory_remove(w->directory);
}

int main(void)
{
    failing_memory_install();
    lossy_install();
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(power_may_fail_at_any_operation),
        TEST(the_disk_may_be_full_at_any_write),
        TEST(any_operation_may_fail),
        TEST(memory_may_run_out_anywhere),
        TEST(a_process_may_be_killed_at_any_moment),
        TEST(bytes_may_change),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
