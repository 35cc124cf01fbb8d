#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>
#include <sqlite3.h>

#include "base/paths.h"
#include "engine/cache/kv_store.h"
#include "tests/unit/kv_blocks.h"
#include "tests/unit/kv_memory.h"

struct world {
    char directory[256], path[300];
    struct kg_pool *pool;
    struct kg_kv_store *store;
};

/* Stored of a page's index. */
#define INDEX_BYTES(w) ((int64_t)(sizeof(uint32_t) + KG_INDEX_PAGE_BYTES(kg_pool_shape((w)->pool))))

static void reopen(struct world *w, uint64_t budget)
{
    kg_kv_store_close(w->store);
    w->store = NULL;
    assert_int_equal(kg_kv_store_open(w->directory, budget, &w->store, NULL), KG_OK);
}

static int set_up(void **state)
{
    struct world *w = calloc(1, sizeof *w);
    snprintf(w->directory, sizeof w->directory, "%s", kv_directory_make());
    snprintf(w->path, sizeof w->path, "%s/kv.db", w->directory);
    w->pool = kv_pool(2, 1, 64); /* 16 KiB a page */
    reopen(w, (uint64_t)1 << 30);
    *state = w;
    return 0;
}

static int tear_down(void **state)
{
    struct world *w = *state;
    kg_kv_store_close(w->store);
    assert_int_equal(kg_pool_pages_used(w->pool), 0);
    kg_pool_free(w->pool);
    kv_directory_remove(w->directory);
    free(w);
    return 0;
}

static void save_in(struct kg_kv_store *store, const struct kg_block *block)
{
    struct kg_error err = { .text = "" };
    if (kg_kv_store_save(store, block, &kv_label, &err) != KG_OK)
        fail_msg("save: %s", err.text);
}

static void keep(struct world *w, uint32_t n, uint32_t tokens, uint32_t ready)
{
    struct kg_block *block = kv_block(w->pool, n, tokens);
    kv_block_fill(block, ready);
    save_in(w->store, block);
    kg_block_release(block);
}

/* How many tokens of block n, made of so many, the store gives back; they must be right. */
static uint32_t loaded_from(struct kg_kv_store *store, struct kg_pool *pool, uint32_t n, uint32_t tokens)
{
    struct kg_block *block = kv_block(pool, n, tokens);
    uint32_t ready = 77;
    assert_int_equal(kg_kv_store_load(store, block, &ready, NULL), KG_OK);
    assert_int_equal(ready, kg_block_ready(block));
    assert_true(kv_block_is_right(block));
    kg_block_release(block);
    return ready;
}

static uint32_t loaded(struct world *w, uint32_t n, uint32_t tokens)
{
    return loaded_from(w->store, w->pool, n, tokens);
}

/* SQL by another connection, as another program would run it; returns the first number. */
static int64_t sql(struct world *w, const char *text)
{
    sqlite3 *db = NULL;
    sqlite3_stmt *statement = NULL;
    int64_t number = 0;
    if (w->store)
        kg_kv_store_flush(w->store);
    assert_int_equal(sqlite3_open(w->path, &db), SQLITE_OK);
    sqlite3_busy_timeout(db, 5000);
    for (int rc = SQLITE_OK; *text; sqlite3_finalize(statement)) {
        if ((rc = sqlite3_prepare_v2(db, text, -1, &statement, &text)) != SQLITE_OK)
            fail_msg("%s", sqlite3_errmsg(db));
        rc = sqlite3_step(statement);
        if (rc == SQLITE_ROW)
            number = sqlite3_column_int64(statement, 0);
        else if (rc != SQLITE_DONE)
            fail_msg("%s", sqlite3_errmsg(db));
    }
    sqlite3_close(db);
    return number;
}

static void assert_notice(struct world *w, const char *part)
{
    kg_kv_store_flush(w->store);
    const char *notice = kg_kv_store_notice(w->store);
    if (!notice || !strstr(notice, part))
        fail_msg("notice '%s' does not hold '%s'", notice ? notice : "(none)", part);
}

static void a_block_comes_back_as_it_was(void **state)
{
    struct world *w = *state;
    static const uint32_t sizes[] = { 1, 31, 32, 33, 64, 200 };
    for (uint32_t i = 0; i < 6; i++)
        keep(w, i, sizes[i], sizes[i]);
    reopen(w, 0);
    for (uint32_t i = 0; i < 6; i++)
        assert_int_equal(loaded(w, i, sizes[i]), sizes[i]);
    assert_int_equal(loaded(w, 99, 10), 0);
    assert_int_equal(loaded(w, 0, 0), 0);
    assert_null(kg_kv_store_notice(w->store));
}

static void what_is_not_ready_is_not_stored(void **state)
{
    struct world *w = *state;
    keep(w, 1, 100, 40);
    keep(w, 2, 100, 0);
    assert_int_equal(loaded(w, 1, 100), 40);
    assert_int_equal(loaded(w, 2, 100), 0);
    assert_int_equal(sql(w, "SELECT count(*) FROM block"), 1);
    /* a partial page takes the room of its tokens only: 2 layers, K and V, 64 elements of 2 bytes; an index is stored whole */
    assert_int_equal(sql(w, "SELECT sum(length(kv)) FROM page"), 40 * 2 * 2 * 64 * 2 + 2 * INDEX_BYTES(w));
}

static void a_growing_block_is_extended(void **state)
{
    struct world *w = *state;
    struct kg_block *block = kv_block(w->pool, 1, 300);
    for (uint32_t ready = 7; ready <= 300; ready += 7) {
        kv_block_fill(block, ready);
        save_in(w->store, block);
        assert_int_equal(loaded(w, 1, 300), ready);
    }
    assert_int_equal(sql(w, "SELECT count(*) FROM page"), 10 * 2);
    assert_int_equal(sql(w, "SELECT count(*) FROM block"), 1);
    /* one that has less adds nothing and takes nothing away */
    kg_block_set_ready(block, 50);
    save_in(w->store, block);
    assert_int_equal(loaded(w, 1, 300), 294);
    kg_block_release(block);
}

static void loading_goes_on_behind_what_is_there(void **state)
{
    struct world *w = *state;
    keep(w, 1, 100, 100);
    struct kg_block *block = kv_block(w->pool, 1, 100);
    kv_block_fill(block, 45);
    uint32_t ready = 0;
    assert_int_equal(kg_kv_store_load(w->store, block, &ready, NULL), KG_OK);
    assert_int_equal(ready, 100);
    assert_true(kv_block_is_right(block));
    kg_block_release(block);
    /* keys and values behind another beginning are others, whatever the ids there */
    struct kg_block *other = kv_block_with(w->pool, 1, 100, 10, 77);
    kv_block_fill(other, 45);
    assert_int_equal(kg_kv_store_load(w->store, other, &ready, NULL), KG_OK);
    assert_int_equal(ready, 45);
    assert_true(kv_block_is_right(other));
    kg_block_release(other);
    /* what the store lacks stays */
    struct kg_block *more = kv_block(w->pool, 1, 160);
    kv_block_fill(more, 160);
    assert_int_equal(kg_kv_store_load(w->store, more, &ready, NULL), KG_OK);
    assert_int_equal(ready, 160);
    kg_block_release(more);
}

static void only_the_common_prefix_of_another_text_is_taken(void **state)
{
    struct world *w = *state;
    static const uint32_t forks[] = { 0, 1, 31, 32, 33, 70 };
    keep(w, 1, 100, 100);
    for (int i = 0; i < 6; i++) {
        struct kg_block *other = kv_block_variant(w->pool, 1, 120, forks[i], 1);
        uint32_t ready = 0;
        assert_int_equal(kg_kv_store_load(w->store, other, &ready, NULL), KG_OK);
        assert_int_equal(ready, forks[i]);
        assert_true(kv_block_is_right(other));
        kg_block_release(other);
    }
    /* a prefix of the stored text is all there */
    assert_int_equal(loaded(w, 1, 50), 50);
}

static void another_text_under_the_same_key_replaces_what_differs(void **state)
{
    struct world *w = *state;
    static const uint32_t forks[] = { 70, 64, 33, 0 };
    keep(w, 1, 100, 100);
    for (uint32_t i = 0; i < 4; i++) {
        struct kg_block *other = kv_block_variant(w->pool, 1, 90, forks[i], i + 1), *again;
        uint32_t ready = 0;
        kv_block_fill(other, 90);
        save_in(w->store, other);
        kg_block_release(other);
        again = kv_block_variant(w->pool, 1, 90, forks[i], i + 1);
        assert_int_equal(kg_kv_store_load(w->store, again, &ready, NULL), KG_OK);
        assert_int_equal(ready, 90);
        assert_true(kv_block_is_right(again));
        kg_block_release(again);
    }
    assert_int_equal(sql(w, "SELECT count(*) FROM page"), 3 * 2);
    assert_int_equal(sql(w, "SELECT count(*) FROM block"), 1);
}

/* Of a thinned block what stays is stored, and only once the rest was dropped. */
static void a_thinned_block_comes_back_thin(void **state)
{
    struct world *w = *state;
    struct kg_block *block = kv_block(w->pool, 1, 200), *again = kv_block(w->pool, 1, 200), *part = kv_block(w->pool, 1, 200);
    const struct kg_kv_shape *shape = kg_pool_shape(w->pool);
    uint8_t *page = test_calloc(2, KG_KV_PAGE_BYTES(shape));
    uint32_t kept[70], ready = 0;
    for (uint32_t i = 0; i < 70; i++)
        kept[i] = 2 * i + i % 2;
    assert_int_equal(kg_block_set_kept(block, kept, 70, NULL), KG_OK);
    assert_int_equal(kg_block_set_kept(again, kept, 70, NULL), KG_OK);
    assert_int_equal(kg_block_set_kept(part, kept, 70, NULL), KG_OK);
    kv_block_fill(block, 200);
    save_in(w->store, block);
    kg_kv_store_flush(w->store);
    assert_int_equal(sql(w, "SELECT count(*) FROM block"), 0);
    assert_int_equal(kg_block_export(block, 3, page, NULL), KG_OK); /* tokens 96 to 127 */
    assert_int_equal(kg_block_thin(block, NULL), KG_OK);
    assert_true(kg_block_is_thin(block) && kg_block_held(block) == 70 && kg_block_ready(block) == 200);
    save_in(w->store, block);
    assert_int_equal(kg_kv_store_load(w->store, again, &ready, NULL), KG_OK);
    assert_int_equal(ready, 200);
    assert_true(kg_block_is_thin(again) && kg_block_held(again) == 70);
    assert_int_equal(sql(w, "SELECT count(*) FROM page"), 3 * 2);
    size_t bytes = KG_KV_PAGE_BYTES(shape), slot = (size_t)shape->head_size * 2, compared = 0;
    uint8_t *thin = page + bytes;
    for (uint32_t i = 32; i < 64; i++) { /* all on the second page of what stays */
        if (kept[i] < 96 || kept[i] >= 128)
            continue;
        assert_int_equal(kg_block_export(again, 1, thin, NULL), KG_OK);
        for (size_t strip = 0; strip < bytes / slot / KG_PAGE; strip++)
            assert_memory_equal(thin + (strip * KG_PAGE + i % KG_PAGE) * slot, page + (strip * KG_PAGE + kept[i] % KG_PAGE) * slot, slot);
        compared++;
    }
    assert_true(compared > 10);
    /* a part of it is nothing */
    assert_int_equal(sql(w, "DELETE FROM page WHERE (id >> 10 & 4194303) = 2 RETURNING 0"), 0);
    assert_int_equal(sql(w, "UPDATE block SET ready = 64 RETURNING 0"), 0);
    reopen(w, (uint64_t)1 << 30);
    assert_int_equal(kg_kv_store_load(w->store, part, &ready, NULL), KG_OK);
    assert_int_equal(ready, 0);
    assert_true(!kg_block_is_thin(part) && kg_block_held(part) == 0);
    test_free(page);
    kg_block_release(block);
    kg_block_release(again);
    kg_block_release(part);
}

static void pages_beyond_a_mebibyte_are_split(void **state)
{
    struct world *w = *state;
    struct kg_pool *big = kv_pool(17, 5, 256); /* 2,785,280 bytes a page */
    struct kg_block *block = kv_block(big, 1, 75), *again = kv_block(big, 1, 75);
    uint32_t ready = 0;
    kv_block_fill(block, 75);
    save_in(w->store, block);
    assert_true(sql(w, "SELECT max(length(kv)) FROM page") <= 1 << 20);
    assert_int_equal(sql(w, "SELECT count(*) FROM page"), 3 * (3 + 1));
    assert_int_equal(kg_kv_store_load(w->store, again, &ready, NULL), KG_OK);
    assert_int_equal(ready, 75);
    assert_true(kv_block_is_right(again));
    kg_block_release(again);
    uint64_t checked = 0, bad = 0;
    assert_int_equal(kg_kv_store_verify(w->store, &checked, &bad, NULL), KG_OK);
    assert_int_equal(checked, 1);
    assert_int_equal(bad, 0);
    /* the second part of the second page is lost */
    sql(w, "DELETE FROM page WHERE id = (SELECT id FROM page ORDER BY id LIMIT 1 OFFSET 4)");
    again = kv_block(big, 1, 75);
    assert_int_equal(kg_kv_store_load(w->store, again, &ready, NULL), KG_OK);
    assert_int_equal(ready, 32);
    assert_true(kv_block_is_right(again));
    kg_block_release(again);
    kg_block_release(block);
    kg_pool_free(big);
}

static void whatever_is_changed_in_a_row_makes_it_a_miss(void **state)
{
    struct world *w = *state;
    static const char *const changes[] = {
        "UPDATE page SET kv = CAST(substr(kv, 1, 5000) || x'00' || substr(kv, 5002) AS BLOB) WHERE id % 4096 = 1024",
        "UPDATE page SET ids = CAST(substr(ids, 1, 20) || x'ff' || substr(ids, 22) AS BLOB) WHERE id % 4096 = 1024",
        "UPDATE page SET sum = sum + 1 WHERE id % 4096 = 1024",
        "UPDATE page SET tokens = 31 WHERE id % 4096 = 1024",
        "UPDATE page SET kv = substr(kv, 1, length(kv) - 1) WHERE id % 4096 = 1024",
        "UPDATE page SET kv = NULL, ids = NULL WHERE id % 4096 = 1024",
        "UPDATE page SET kv = 'text', ids = 5 WHERE id % 4096 = 1024",
        "DELETE FROM page WHERE id % 4096 = 1024",
        "UPDATE page SET id = 0 WHERE id % 4096 = 1024; UPDATE page SET id = id - 1024 WHERE id % 4096 = 2048",
        "UPDATE page SET kv = (SELECT kv FROM page p WHERE p.id % 4096 = 2048) WHERE id % 4096 = 1024",
    };
    sql(w, "DROP TABLE page; CREATE TABLE page(id INTEGER PRIMARY KEY, tokens INTEGER, sum INTEGER, ids BLOB, kv BLOB)");
    for (size_t i = 0; i < sizeof changes / sizeof *changes; i++) {
        keep(w, 1, 128, 128);
        assert_int_equal(loaded(w, 1, 128), 128);
        sql(w, changes[i]);
        if (loaded(w, 1, 128) != 32)
            fail_msg("change %zu was not seen", i);
        assert_notice(w, "damaged");
        assert_int_equal(sql(w, "SELECT count(*) FROM block"), 0);
        assert_int_equal(loaded(w, 1, 128), 0);
        sql(w, "DELETE FROM page");
    }
}

static void a_block_that_claims_the_key_of_another_is_a_miss(void **state)
{
    struct world *w = *state;
    keep(w, 1, 64, 64);
    keep(w, 2, 64, 64);
    sql(w, "UPDATE block SET key = x'00' WHERE id = 2; UPDATE block SET key = (SELECT key FROM block WHERE id = 1) || x'' WHERE id = 3;"
           "DELETE FROM page WHERE id >> 32 = 1; UPDATE page SET id = id - (1 << 32)");
    assert_int_equal(loaded(w, 1, 64), 0);
    assert_notice(w, "damaged");
}

static void numbers_that_make_no_sense_do_no_harm(void **state)
{
    struct world *w = *state;
    static const char *const changes[] = {
        "UPDATE block SET ready = 9223372036854775807", "UPDATE block SET ready = -5", "UPDATE block SET ready = 2000000000",
        "UPDATE block SET ready = 'x', tokens = NULL",  "UPDATE block SET bytes = 0",  "UPDATE block SET worth = 'nan', used = 9e99",
        "UPDATE block SET ids_digest = x'00'",          "UPDATE block SET parts = -1", "UPDATE block SET title = x'ff1b5b', key = 5",
        "UPDATE block SET id = 9223372036854775807",    "UPDATE block SET id = -7",
    };
    sql(w, "PRAGMA writable_schema = ON; UPDATE sqlite_schema SET sql = replace(sql, 'NOT NULL', '') WHERE name = 'block'");
    for (size_t i = 0; i < sizeof changes / sizeof *changes; i++) {
        keep(w, 1, 128, 100);
        sql(w, changes[i]);
        assert_true(loaded(w, 1, 128) <= 100);
        uint64_t checked = 0, bad = 0;
        assert_int_equal(kg_kv_store_verify(w->store, &checked, &bad, NULL), KG_OK);
        keep(w, 1, 128, 128);
        assert_int_equal(loaded(w, 1, 128), 128);
        assert_int_equal(kg_kv_store_remove_all(w->store, NULL), KG_OK);
        sql(w, "PRAGMA writable_schema = ON; UPDATE sqlite_schema SET sql = replace(sql, 'NOT NULL', '') WHERE name = 'block'");
        while (kg_kv_store_notice(w->store))
            continue;
    }
}

static void the_file_is_private_and_of_the_intended_form(void **state)
{
    struct world *w = *state;
    struct stat st;
    assert_int_equal(stat(w->path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    assert_int_equal(sql(w, "PRAGMA page_size"), 65536);
    assert_int_equal(sql(w, "PRAGMA auto_vacuum"), 2);
    assert_int_equal(sql(w, "PRAGMA user_version"), 2);
    chmod(w->path, 0644);
    reopen(w, 0);
    assert_int_equal(stat(w->path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
}

static bool exists(struct world *w, const char *name)
{
    char path[400];
    snprintf(path, sizeof path, "%s/%s", w->directory, name);
    return access(path, F_OK) == 0;
}

static void what_is_not_ours_is_set_aside(void **state)
{
    struct world *w = *state;
    static const char *const changes[] = {
        "PRAGMA user_version = 3",
        "PRAGMA user_version = 0",
        "PRAGMA application_id = 7",
        "CREATE TRIGGER t AFTER DELETE ON page BEGIN DELETE FROM block; END",
        "CREATE VIEW v AS SELECT * FROM page",
        "DROP TABLE page",
        "DROP TABLE page; CREATE TABLE page(id, tokens, sum, ids, kv)",
    };
    for (size_t i = 0; i <= sizeof changes / sizeof *changes; i++) {
        keep(w, 1, 64, 64);
        if (i < sizeof changes / sizeof *changes)
            sql(w, changes[i]);
        kg_kv_store_close(w->store);
        w->store = NULL;
        if (i == sizeof changes / sizeof *changes) {
            char noise[5000];
            memset(noise, 'n', sizeof noise);
            assert_int_equal(kg_write_file(w->path, noise, sizeof noise, 0600, NULL), KG_OK);
        }
        reopen(w, 0);
        assert_true(exists(w, "kv.db.aside"));
        assert_notice(w, "kv.db.aside");
        assert_null(kg_kv_store_notice(w->store));
        assert_int_equal(loaded(w, 1, 64), 0);
        char aside[400];
        snprintf(aside, sizeof aside, "%s/kv.db.aside", w->directory);
        unlink(aside);
    }
    reopen(w, 0);
    assert_null(kg_kv_store_notice(w->store));
    assert_false(exists(w, "kv.db.aside"));
}

static void a_file_of_the_first_version_is_taken_along(void **state)
{
    struct world *w = *state;
    keep(w, 1, 100, 100);
    kg_kv_store_close(w->store);
    w->store = NULL;
    sql(w, "ALTER TABLE block DROP COLUMN text; PRAGMA user_version = 1");
    reopen(w, 0);
    assert_null(kg_kv_store_notice(w->store));
    assert_int_equal(loaded(w, 1, 100), 100);
    assert_int_equal(sql(w, "PRAGMA user_version"), 2);
    keep(w, 2, 40, 40);
    assert_int_equal(loaded(w, 2, 40), 40);
}

static void what_another_store_uses_is_not_set_aside(void **state)
{
    struct world *w = *state;
    struct kg_kv_store *second = NULL;
    struct kg_error err;
    keep(w, 1, 64, 64);
    sql(w, "PRAGMA user_version = 9");
    assert_int_equal(kg_kv_store_open(w->directory, 0, &second, &err), KG_ERR_BUSY);
    assert_false(exists(w, "kv.db.aside"));
    assert_int_equal(loaded(w, 1, 64), 64);
}

static void a_broken_structure_is_replaced_while_in_use(void **state)
{
    struct world *w = *state;
    for (uint32_t n = 1; n < 20; n++)
        keep(w, n, 320, 320);
    kg_kv_store_flush(w->store);
    /* all but the first page becomes noise, under the feet of the store */
    FILE *file = fopen(w->path, "r+be");
    assert_non_null(file);
    static char noise[65536];
    memset(noise, 0xee, sizeof noise);
    fseek(file, 65536, SEEK_SET);
    for (int i = 0; i < 40; i++)
        fwrite(noise, 1, sizeof noise, file);
    fclose(file);
    struct kg_pool *pool = w->pool;
    sqlite3 *poke = NULL; /* another writer makes the store's own page cache stale */
    sqlite3_open(w->path, &poke);
    sqlite3_exec(poke, "PRAGMA user_version = 1; PRAGMA application_id = 1802267510", NULL, NULL, NULL);
    sqlite3_close(poke);
    assert_int_equal(loaded_from(w->store, pool, 3, 320), 0);
    assert_true(exists(w, "kv.db.aside"));
    assert_notice(w, "damaged");
    keep(w, 3, 320, 320);
    assert_int_equal(loaded(w, 3, 320), 320);
}

struct entries {
    int count;
    struct kg_kv_entry last;
    char title[300], kind[40], model[130];
};

static int take_entry(void *ctx, const struct kg_kv_entry *entry)
{
    struct entries *e = ctx;
    e->count++;
    e->last = *entry;
    snprintf(e->title, sizeof e->title, "%s", entry->title);
    snprintf(e->kind, sizeof e->kind, "%s", entry->kind);
    snprintf(e->model, sizeof e->model, "%s", entry->model);
    return 0;
}

static void entries_are_listed_for_people(void **state)
{
    struct world *w = *state;
    struct entries e = { 0 };
    keep(w, 1, 64, 64);
    struct kg_block *block = kv_block(w->pool, 2, 100);
    const struct kg_kv_label label = { .model = "m", .kind = "turn", .title = "what\x1b[2J?" };
    kv_block_fill(block, 40);
    assert_int_equal(kg_kv_store_save(w->store, block, &label, NULL), KG_OK);
    kg_block_release(block);
    assert_int_equal(kg_kv_store_list(w->store, take_entry, &e, NULL), KG_OK);
    assert_int_equal(e.count, 2);
    assert_string_equal(e.title, "what\\x1b[2J?");
    assert_string_equal(e.kind, "turn");
    assert_string_equal(e.model, "m");
    assert_int_equal(e.last.tokens, 100);
    assert_int_equal(e.last.ready, 40);
    assert_int_equal(e.last.bytes, 40 * (2 * 2 * 64 * 2 + 4) + 2 * INDEX_BYTES(w));
    struct kg_digest key;
    char hex[65];
    kv_block_key(2, &key);
    kg_digest_hex(&key, hex);
    assert_string_equal(e.last.key, hex);
    assert_true(e.last.created > 1600000000);
}

static bool file_holds(struct world *w, const uint8_t *bytes, size_t length)
{
    char *all = NULL;
    size_t size = 0;
    assert_int_equal(kg_read_file(w->path, (size_t)1 << 30, &all, &size, NULL), KG_OK);
    bool found = memmem(all, size, bytes, length) != NULL;
    free(all);
    return found;
}

static void removing_overwrites_and_gives_back(void **state)
{
    struct world *w = *state;
    uint8_t page[16384];
    struct entries e = { 0 };
    for (uint32_t n = 0; n < 6; n++)
        keep(w, n, 3200, 3200);
    struct kg_block *block = kv_block(w->pool, 2, 3200);
    uint32_t ready;
    assert_int_equal(kg_kv_store_load(w->store, block, &ready, NULL), KG_OK);
    assert_int_equal(kg_block_export(block, 40, page, NULL), KG_OK);
    kg_block_release(block);
    assert_true(file_holds(w, page + 5000, 600));
    uint64_t before = kg_kv_store_bytes(w->store);
    assert_int_equal(sql(w, "SELECT id FROM block WHERE id = 3"), 3);
    assert_int_equal(kg_kv_store_remove(w->store, 3, NULL), KG_OK);
    assert_false(file_holds(w, page + 5000, 600));
    assert_true(kg_kv_store_bytes(w->store) < before - 1500000);
    struct stat st;
    stat(w->path, &st);
    assert_int_equal(st.st_size, kg_kv_store_bytes(w->store));
    struct kg_error err;
    assert_int_equal(kg_kv_store_remove(w->store, 3, &err), KG_ERR_NOT_FOUND);
    assert_int_equal(loaded(w, 2, 3200), 0);
    assert_int_equal(loaded(w, 1, 3200), 3200);
    assert_int_equal(kg_kv_store_list(w->store, take_entry, &e, NULL), KG_OK);
    assert_int_equal(e.count, 5);
    assert_int_equal(sql(w, "PRAGMA freelist_count"), 0);
}

static void removing_all_leaves_an_empty_file(void **state)
{
    struct world *w = *state;
    for (int others = 0; others < 2; others++) {
        struct kg_kv_store *second = NULL;
        struct entries e = { 0 };
        for (uint32_t n = 0; n < 4; n++)
            keep(w, n, 640, 640);
        if (others)
            assert_int_equal(kg_kv_store_open(w->directory, 0, &second, NULL), KG_OK);
        assert_int_equal(kg_kv_store_remove_all(w->store, NULL), KG_OK);
        assert_int_equal(kg_kv_store_list(w->store, take_entry, &e, NULL), KG_OK);
        assert_int_equal(e.count, 0);
        assert_true(kg_kv_store_bytes(w->store) <= 10 * 65536);
        keep(w, 1, 64, 64);
        kg_kv_store_flush(w->store);
        assert_int_equal(loaded_from(second ? second : w->store, w->pool, 1, 64), 64);
        kg_kv_store_close(second);
    }
}

static void what_another_process_removed_is_stored_again(void **state)
{
    struct world *w = *state;
    struct kg_kv_store *second = NULL;
    struct kg_block *block = kv_block(w->pool, 1, 200);
    assert_int_equal(kg_kv_store_open(w->directory, 0, &second, NULL), KG_OK);
    kv_block_fill(block, 100);
    save_in(w->store, block);
    kg_kv_store_flush(w->store);
    assert_int_equal(kg_kv_store_remove_all(second, NULL), KG_OK);
    /* the end of a text is nothing without its beginning, and then all of it is handed over again */
    kv_block_fill(block, 150);
    save_in(w->store, block);
    kg_kv_store_flush(w->store);
    assert_int_equal(loaded_from(second, w->pool, 1, 200), 0);
    save_in(w->store, block);
    kg_kv_store_flush(w->store);
    assert_int_equal(loaded_from(second, w->pool, 1, 200), 150);
    assert_null(kg_kv_store_notice(w->store));
    kg_block_release(block);
    kg_kv_store_close(second);
}

static void verify_removes_what_is_bad(void **state)
{
    struct world *w = *state;
    uint64_t checked = 0, bad = 0;
    for (uint32_t n = 0; n < 9; n++)
        keep(w, n, 100, 100);
    assert_int_equal(kg_kv_store_verify(w->store, &checked, &bad, NULL), KG_OK);
    assert_int_equal(checked, 9);
    assert_int_equal(bad, 0);
    sql(w, "UPDATE page SET sum = 1 WHERE id = (4 << 32) + 1024; DELETE FROM page WHERE id >> 32 = 6 AND id % 4096 = 3072;"
           "DELETE FROM block WHERE id = 8; UPDATE block SET ready = 96 WHERE id = 2");
    assert_int_equal(kg_kv_store_verify(w->store, &checked, &bad, NULL), KG_OK);
    assert_int_equal(checked, 8);
    assert_int_equal(bad, 3);
    assert_int_equal(sql(w, "SELECT count(*) FROM block"), 5);
    assert_int_equal(sql(w, "SELECT count(*) FROM page WHERE id >> 32 NOT IN (SELECT id FROM block)"), 0);
    assert_int_equal(loaded(w, 3, 100), 0);
    assert_int_equal(loaded(w, 4, 100), 100);
}

static void a_device_that_fails_fails_the_saving_only(void **state)
{
    struct world *w = *state;
    struct kg_error err;
    struct kg_block *block = kv_block(w->pool, 1, 100);
    kv_block_fill(block, 100);
    kv_memory_exports_left = 2;
    assert_int_equal(kg_kv_store_save(w->store, block, &kv_label, &err), KG_ERR_IO);
    assert_string_equal(err.text, "the device is gone");
    kv_memory_exports_left = -1;
    assert_int_equal(loaded(w, 1, 100), 0);
    save_in(w->store, block);
    assert_int_equal(loaded(w, 1, 100), 100);
    kg_block_release(block);
}

static void a_file_in_use_is_a_notice(void **state)
{
    struct world *w = *state;
    sqlite3 *other = NULL;
    keep(w, 1, 64, 64);
    kg_kv_store_flush(w->store);
    assert_int_equal(sqlite3_open(w->path, &other), SQLITE_OK);
    assert_int_equal(sqlite3_exec(other, "BEGIN EXCLUSIVE", NULL, NULL, NULL), SQLITE_OK);
    assert_int_equal(loaded(w, 1, 64), 0);
    keep(w, 2, 64, 64);
    assert_notice(w, "another kedge");
    sqlite3_close(other);
    assert_int_equal(loaded(w, 1, 64), 64);
    keep(w, 2, 64, 64);
    assert_int_equal(loaded(w, 2, 64), 64);
    assert_null(kg_kv_store_notice(w->store));
}

static void model_digests_are_remembered(void **state)
{
    struct world *w = *state;
    char path[400];
    struct kg_digest first, second, expected = kg_digest_of("weights", 7);
    snprintf(path, sizeof path, "%s/m.gguf", w->directory);
    assert_int_equal(kg_write_file(path, "weights", 7, 0600, NULL), KG_OK);
    assert_int_equal(kg_kv_store_model_digest(w->store, path, &first, NULL, NULL, NULL), KG_OK);
    assert_memory_equal(&first, &expected, sizeof first);
    assert_int_equal(sql(w, "SELECT count(*) FROM model_file"), 0); /* too new: it may change within one tick of the clock */
    usleep(2100000);
    assert_int_equal(kg_kv_store_model_digest(w->store, path, &first, NULL, NULL, NULL), KG_OK);
    assert_int_equal(sql(w, "SELECT count(*) FROM model_file"), 1);
    sql(w, "UPDATE model_file SET sum = sum + 1");
    assert_int_equal(kg_kv_store_model_digest(w->store, path, &second, NULL, NULL, NULL), KG_OK);
    assert_memory_equal(&second, &expected, sizeof first);
    /* what is remembered is what is returned: give it away by a digest of our own making */
    reopen(w, 0);
    assert_int_equal(kg_kv_store_model_digest(w->store, path, &second, NULL, NULL, NULL), KG_OK);
    assert_memory_equal(&second, &expected, sizeof first);
    assert_int_equal(kg_write_file(path, "heights", 7, 0600, NULL), KG_OK);
    assert_int_equal(kg_kv_store_model_digest(w->store, path, &second, NULL, NULL, NULL), KG_OK);
    expected = kg_digest_of("heights", 7);
    assert_memory_equal(&second, &expected, sizeof first);
    struct kg_error err;
    assert_int_equal(kg_kv_store_model_digest(w->store, w->directory, &second, NULL, NULL, &err), KG_ERR_UNSUPPORTED);
    assert_int_equal(kg_kv_store_model_digest(w->store, "/nonexistent/m", &second, NULL, NULL, &err), KG_ERR_NOT_FOUND);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(a_block_comes_back_as_it_was),
        TEST(what_is_not_ready_is_not_stored),
        TEST(a_growing_block_is_extended),
        TEST(loading_goes_on_behind_what_is_there),
        TEST(only_the_common_prefix_of_another_text_is_taken),
        TEST(another_text_under_the_same_key_replaces_what_differs),
        TEST(a_thinned_block_comes_back_thin),
        TEST(pages_beyond_a_mebibyte_are_split),
        TEST(whatever_is_changed_in_a_row_makes_it_a_miss),
        TEST(a_block_that_claims_the_key_of_another_is_a_miss),
        TEST(numbers_that_make_no_sense_do_no_harm),
        TEST(the_file_is_private_and_of_the_intended_form),
        TEST(what_is_not_ours_is_set_aside),
        TEST(a_file_of_the_first_version_is_taken_along),
        TEST(what_another_store_uses_is_not_set_aside),
        TEST(a_broken_structure_is_replaced_while_in_use),
        TEST(entries_are_listed_for_people),
        TEST(removing_overwrites_and_gives_back),
        TEST(removing_all_leaves_an_empty_file),
        TEST(what_another_process_removed_is_stored_again),
        TEST(verify_removes_what_is_bad),
        TEST(a_device_that_fails_fails_the_saving_only),
        TEST(a_file_in_use_is_a_notice),
        TEST(model_digests_are_remembered),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
