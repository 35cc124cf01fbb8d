/* The file of the index: damage, other processes, kills, and what is forgotten. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <dirent.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <sqlite3.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "index_repo.h"
#include "repo-index/store.h"
#include "tests/faults/killed_process.h"

static void write_files(unsigned from, unsigned to, const char *word)
{
    char path[64], text[200];
    for (unsigned i = from; i < to; i++) {
        snprintf(path, sizeof path, "d%u/file%u.c", i % 10, i);
        snprintf(text, sizeof text, "/* %s number%u */\nint %s_function_%u(int argument)\n{\n    return %u;\n}\n", word, i, word, i, i);
        index_repo_write(&here, path, text);
    }
}

static void the_file_is_ours_alone(void **state)
{
    (void)state;
    char path[512];
    struct stat st;
    mode_t before = umask(0);
    struct kg_index *index = index_repo_open(&here);
    write_files(0, 3, "open");
    index_repo_refresh(index);
    index_repo_store(&here, path);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    strcat(path, "-wal");
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    kg_index_close(index);
    umask(before);
    index_repo_store(&here, path);
    assert_int_equal(unlink(path) | symlink("/etc/passwd", path), 0);
    struct kg_error err;
    assert_int_equal(kg_index_open(here.root, here.cache, &index, &err), KG_ERR_IO);
}

/* Where SQLite's readers lock a file: who leaves last, and finds no lock there, removes the log beside it. */
#define READERS       0x40000002
#define READERS_BYTES 510

/* POSIX forgets every lock of a process on a file when it closes any descriptor of that file. */
static void who_opens_it_again_takes_no_lock_away(void **state)
{
    (void)state;
    char path[512];
    int told;
    struct kg_index *index = index_repo_open(&here);
    write_files(0, 3, "lock");
    index_repo_refresh(index);
    struct kg_index *again = index_repo_open(&here);
    index_repo_store(&here, path);
    pid_t other = fork();
    if (other == 0) {
        struct flock lock = { .l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = READERS, .l_len = READERS_BYTES };
        int fd = open(path, O_RDWR);
        _exit(fd < 0 || fcntl(fd, F_GETLK, &lock) != 0 || lock.l_type == F_UNLCK);
    }
    assert_int_equal(waitpid(other, &told, 0), other);
    assert_int_equal(told, 0);
    kg_index_close(again);
    kg_index_close(index);
}

static void expect_whole(unsigned files)
{
    struct index_found found;
    struct kg_index *index = index_repo_open(&here);
    struct kg_index_counts counts = index_repo_refresh(index);
    assert_int_equal(counts.files, files);
    index_repo_search(index, "alpha_function_7", &found);
    assert_true(found.count > 0);
    assert_string_equal(found.paths[0], "d7/file7.c");
    assert_int_equal(index_repo_refresh(index).fresh, 0);
    kg_index_close(index);
}

static void overwrite(const char *path, long offset, const void *bytes, size_t length)
{
    FILE *file = fopen(path, "r+b");
    assert_non_null(file);
    assert_int_equal(fseek(file, offset, SEEK_SET), 0);
    assert_int_equal(fwrite(bytes, 1, length, file), length);
    assert_int_equal(fclose(file), 0);
}

static void a_damaged_file_is_built_again(void **state)
{
    (void)state;
    char path[512], command[700], junk[4096];
    write_files(0, 60, "alpha");
    expect_whole(60);
    index_repo_store(&here, path);
    memset(junk, 0xa5, sizeof junk);
    overwrite(path, 0, junk, sizeof junk); /* no database any more */
    expect_whole(60);
    overwrite(path, 100, junk, 900); /* a header, but no schema */
    expect_whole(60);
    assert_int_equal(truncate(path, 5000), 0);
    expect_whole(60);
    assert_int_equal(truncate(path, 0), 0);
    expect_whole(60);
    sqlite3 *db;
    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    assert_int_equal(sqlite3_exec(db, "PRAGMA user_version = 99", NULL, NULL, NULL), SQLITE_OK);
    sqlite3_close(db);
    expect_whole(60);
    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    assert_int_equal(sqlite3_exec(db, "DROP TABLE doc", NULL, NULL, NULL), SQLITE_OK);
    sqlite3_close(db);
    expect_whole(60);
    snprintf(command, sizeof command, "cp %s ../good.db", path);
    index_repo_sh(&here, "%s", command);
    /* every page in turn */
    struct stat st;
    assert_int_equal(stat(path, &st), 0);
    for (long at = 4096; at < st.st_size; at += 4096) {
        snprintf(command, sizeof command, "cp ../good.db %s", path);
        index_repo_sh(&here, "%s", command);
        overwrite(path, at, junk, sizeof junk);
        struct kg_index *index = NULL;
        struct kg_error err;
        assert_int_equal(kg_index_open(here.root, here.cache, &index, &err), KG_OK);
        struct kg_index_counts counts = index_repo_refresh(index);
        assert_int_equal(counts.files, 60);
        kg_index_close(index);
    }
}

static int stop_at(void *ctx, uint32_t done, uint32_t found)
{
    assert_true(done <= found);
    return done >= *(const uint32_t *)ctx && done > 0;
}

static void what_was_read_before_a_stop_is_kept(void **state)
{
    (void)state;
    struct kg_index_counts counts;
    struct kg_error err;
    struct index_found found;
    uint32_t stop = 30;
    write_files(0, 100, "alpha");
    struct kg_index *index = index_repo_open(&here);
    assert_int_equal(kg_index_refresh(index, stop_at, &stop, &counts, &err), KG_ERR_CANCELLED);
    assert_int_equal(counts.fresh, 30);
    counts = index_repo_refresh(index);
    assert_int_equal(counts.fresh, 70);
    assert_int_equal(counts.files, 100);
    index_repo_search(index, "alpha_function_99", &found);
    assert_string_equal(found.paths[0], "d9/file99.c");
    kg_index_close(index);
}

static int count_match(void *ctx, const struct kg_index_match *match)
{
    (void)match;
    ++*(unsigned *)ctx;
    return 0;
}

static void processes_share_the_file(void **state)
{
    (void)state;
    enum { PROCESSES = 4 };
    pid_t children[PROCESSES];
    write_files(0, 200, "alpha");
    for (int i = 0; i < PROCESSES; i++) {
        children[i] = fork();
        assert_true(children[i] >= 0);
        if (children[i] == 0) {
            struct kg_index *index;
            struct kg_index_counts counts = { 0 };
            struct kg_error err = { 0 };
            unsigned found = 0;
            int bad = kg_index_open(here.root, here.cache, &index, &err) != KG_OK;
            for (int round = 0; !bad && round < 3; round++) {
                bad |= kg_index_refresh(index, NULL, NULL, &counts, &err) != KG_OK || counts.files != 200;
                found = 0;
                bad |= kg_index_search(index, "alpha_function_7", 5, count_match, &found, &err) != KG_OK || found == 0;
            }
            if (bad)
                fprintf(stderr, "%s (%u files)\n", err.text, counts.files);
            _exit(bad);
        }
    }
    for (int i = 0; i < PROCESSES; i++) {
        int code;
        assert_int_equal(waitpid(children[i], &code, 0), children[i]);
        assert_int_equal(code, 0);
    }
    expect_whole(200);
}

static void *refresh_thread(void *argument)
{
    uint32_t *fresh = argument;
    struct kg_index *index = NULL;
    struct kg_index_counts counts = { 0 };
    struct kg_error err = { .text = "" };
    enum kg_status status = kg_index_open(here.root, here.cache, &index, &err);
    if (status == KG_OK)
        status = kg_index_refresh(index, NULL, NULL, &counts, &err);
    if (status != KG_OK || counts.files != 200)
        printf("# %u files: %s\n", counts.files, err.text);
    *fresh = status == KG_OK && counts.files == 200 ? counts.fresh : 10000;
    kg_index_close(index);
    return NULL;
}

static void who_comes_second_finds_the_work_done(void **state)
{
    (void)state;
    enum { THREADS = 4 };
    pthread_t threads[THREADS];
    uint32_t fresh[THREADS], sum = 0;
    write_files(0, 200, "alpha");
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, refresh_thread, &fresh[i]), 0);
    for (int i = 0; i < THREADS; i++) {
        pthread_join(threads[i], NULL);
        sum += fresh[i];
    }
    assert_int_equal(sum, 200);
}

static void *let_go(void *db)
{
    usleep(300000);
    assert_int_equal(sqlite3_exec(db, "ROLLBACK", NULL, NULL, NULL), SQLITE_OK);
    return NULL;
}

/* Who makes the tables has it locked for a moment, in a way that SQLite does not wait for. */
static void who_opens_it_second_waits_for_the_tables(void **state)
{
    (void)state;
    char path[512];
    sqlite3 *db;
    pthread_t thread;
    kg_index_close(index_repo_open(&here));
    index_repo_store(&here, path);
    assert_int_equal(truncate(path, 0), 0);
    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    assert_int_equal(sqlite3_exec(db, "BEGIN IMMEDIATE", NULL, NULL, NULL), SQLITE_OK);
    assert_int_equal(pthread_create(&thread, NULL, let_go, db), 0);
    kg_index_close(index_repo_open(&here));
    pthread_join(thread, NULL);
    sqlite3_close(db);
}

static int always_stop(void *ctx, uint32_t done, uint32_t found)
{
    (void)ctx;
    return done + found < 1000000;
}

static void waiting_for_a_turn_can_be_stopped(void **state)
{
    (void)state;
    char path[520];
    struct kg_error err;
    struct kg_index *index = index_repo_open(&here);
    index_repo_store(&here, path);
    strcat(path, ".turn");
    int other = open(path, O_RDWR);
    assert_true(other >= 0);
    assert_int_equal(flock(other, LOCK_EX), 0);
    assert_int_equal(kg_index_refresh(index, always_stop, NULL, NULL, &err), KG_ERR_CANCELLED);
    close(other);
    assert_int_equal(kg_index_refresh(index, NULL, NULL, NULL, &err), KG_OK);
    kg_index_close(index);
}

static void old_indexes_are_swept_away(void **state)
{
    (void)state;
    struct kg_index_counts counts;
    char path[512], other[700];
    write_files(0, 3, "alpha");
    counts = index_repo_counts(&here);
    assert_int_equal(counts.fresh, 3);
    index_repo_store(&here, path);
    struct timespec times[2] = { { .tv_nsec = UTIME_OMIT }, { .tv_sec = time(NULL) - 100 * 86400L } };
    assert_int_equal(utimensat(AT_FDCWD, path, times, 0), 0);
    index_repo_sh(&here, "mkdir ../second && touch ../cache/index/unrelated && touch -d '1 year ago' ../cache/index/unrelated");
    snprintf(other, sizeof other, "%s/second", here.base);
    struct kg_index *index;
    assert_int_equal(kg_index_open(other, here.cache, &index, NULL), KG_OK);
    kg_index_close(index);
    assert_int_equal(access(path, F_OK), -1);
    index_repo_sh(&here, "test $(ls ../cache/index | grep -c settle) = 1 && test $(ls ../cache/index | grep -c turn) = 1");
    index_repo_sh(&here, "test -e ../cache/index/unrelated");
    assert_int_equal(index_repo_counts(&here).fresh, 3);
}

static void refresh_in_child(void *ctx, int tell)
{
    (void)ctx, (void)tell;
    struct kg_index *index;
    struct kg_error err;
    if (kg_index_open(here.root, here.cache, &index, &err) == KG_OK)
        kg_index_refresh(index, NULL, NULL, NULL, &err);
}

static void a_kill_leaves_an_index_that_opens(void **state)
{
    (void)state;
    unsigned rounds = getenv("CHECK_LONG") && strcmp(getenv("CHECK_LONG"), "1") == 0 ? 100 : 12;
    write_files(0, 300, "alpha");
    for (unsigned round = 0; round < rounds; round++) {
        char word[32];
        snprintf(word, sizeof word, "round%u", round);
        index_repo_sh(&here, "rm -f d*/file[12]??.c"); /* some file systems are slow to truncate */
        write_files(100, 300, word);
        close(killed_process(refresh_in_child, NULL, KILLED_FROM_START, round * 3700 % 60000));
    }
    expect_whole(300);
}

static void a_full_disk_is_an_error_and_nothing_more(void **state)
{
    (void)state;
    write_files(0, 300, "alpha");
    for (rlim_t room = 4096; room < 400000; room = room * 3 / 2) {
        pid_t child = fork();
        assert_true(child >= 0);
        if (child == 0) {
            struct kg_index *index = NULL;
            struct kg_error err = { 0 };
            struct rlimit limit = { room, room };
            signal(SIGXFSZ, SIG_IGN);
            if (setrlimit(RLIMIT_FSIZE, &limit) != 0)
                _exit(1);
            enum kg_status status = kg_index_open(here.root, here.cache, &index, &err);
            if (status == KG_OK)
                status = kg_index_refresh(index, NULL, NULL, NULL, &err);
            kg_index_close(index);
            _exit(status == KG_OK || status == KG_ERR_FULL || status == KG_ERR_IO ? 0 : 2);
        }
        int code;
        assert_int_equal(waitpid(child, &code, 0), child);
        assert_int_equal(code, 0);
    }
    expect_whole(300);
}

struct doc_set {
    int64_t ids[4000];
    size_t count;
};

static int on_doc(void *ctx, int64_t doc)
{
    struct doc_set *set = ctx;
    set->ids[set->count++] = doc;
    return 0;
}

static int64_t put(struct kg_store *store, const char *path, unsigned text)
{
    char bytes[100], words[100];
    int64_t doc = 0;
    int n = snprintf(bytes, sizeof bytes, "text %u", text);
    struct kg_store_content content = { .digest = kg_digest_of(bytes, (size_t)n) };
    n = snprintf(words, sizeof words, "commona only%ua ", text);
    content.terms = (struct kg_terms_view){ .bytes = words, .length = (size_t)n, .words = 2, .lines = 1 };
    assert_int_equal(kg_store_put_doc(store, &content, &doc, NULL), KG_OK);
    struct kg_store_file file = { .path = path, .kind = KG_KIND_TEXT, .doc = doc };
    assert_int_equal(kg_store_put_file(store, &file, NULL), KG_OK);
    return doc;
}

static size_t docs_with(struct kg_store *store, const char *term, struct doc_set *set)
{
    set->count = 0;
    assert_int_equal(kg_store_docs_with(store, term, strlen(term), false, on_doc, set, NULL), KG_OK);
    return set->count;
}

static void old_texts_are_forgotten_at_last(void **state)
{
    (void)state;
    static struct doc_set set;
    struct kg_store *store;
    char path[300], term[32];
    snprintf(path, sizeof path, "%s/store.db", here.base);
    assert_int_equal(kg_store_open(path, &store, NULL), KG_OK);
    assert_int_equal(kg_store_begin(store, NULL), KG_OK);
    int64_t first = put(store, "a.c", 0);
    for (unsigned i = 1; i < 900; i++)
        put(store, "b.c", i);
    assert_int_equal(kg_store_collect(store, NULL), KG_OK);
    assert_int_equal(docs_with(store, "commona", &set), 900);
    assert_true(put(store, "c.c", 5) > first); /* known still */
    assert_int_equal(docs_with(store, "only5a", &set), 1);
    for (unsigned i = 900; i < 2000; i++)
        put(store, "b.c", i);
    assert_int_equal(kg_store_collect(store, NULL), KG_OK);
    assert_int_equal(kg_store_commit(store, NULL), KG_OK);
    size_t left = docs_with(store, "commona", &set);
    assert_true(left > 400 && left < 600);
    for (size_t i = 1; i < set.count; i++)
        assert_true(set.ids[i] > set.ids[i - 1]);
    assert_int_equal(docs_with(store, "only0a", &set), 1); /* a.c */
    assert_int_equal(docs_with(store, "only5a", &set), 1); /* c.c */
    assert_int_equal(docs_with(store, "only6a", &set), 0);
    assert_int_equal(docs_with(store, "only1999a", &set), 1);
    assert_int_equal(kg_store_begin(store, NULL), KG_OK);
    put(store, "d.c", 6);
    assert_int_equal(kg_store_commit(store, NULL), KG_OK);
    assert_int_equal(docs_with(store, "only6a", &set), 1);
    snprintf(term, sizeof term, "only19");
    set.count = 0;
    assert_int_equal(kg_store_docs_with(store, term, strlen(term), true, on_doc, &set, NULL), KG_OK);
    assert_true(set.count >= 100);
    kg_store_close(store);
}

static void a_branch_switched_to_and_fro_is_counted_right(void **state)
{
    (void)state;
    write_files(0, 30, "alpha");
    index_repo_sh(&here, "git add . && git commit -qm 1 && git checkout -qb other");
    struct kg_index *index = index_repo_open(&here);
    assert_int_equal(index_repo_refresh(index).fresh, 30);
    write_files(0, 10, "beta");
    index_repo_sh(&here, "git rm -q d5/file15.c && git add . && git commit -qm 2");
    struct kg_index_counts counts = index_repo_refresh(index);
    assert_int_equal(counts.fresh, 10);
    assert_int_equal(counts.removed, 1);
    index_repo_sh(&here, "git checkout -q main");
    counts = index_repo_refresh(index);
    assert_int_equal(counts.fresh, 11);
    assert_int_equal(counts.files, 30);
    struct index_found found;
    index_repo_search(index, "beta_function_3", &found);
    assert_false(found.count && strcmp(found.texts[0], "int beta_function_3(int argument)") == 0);
    index_repo_search(index, "alpha_function_3", &found);
    assert_string_equal(found.paths[0], "d3/file3.c");
    kg_index_close(index);
}

static double seconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

static void ten_thousand_files(void **state)
{
    (void)state;
    write_files(0, 10000, "gamma");
    struct kg_index *index = index_repo_open(&here);
    double start = seconds();
    struct kg_index_counts counts = index_repo_refresh(index);
    double cold = seconds();
    assert_int_equal(counts.files, 10000);
    assert_int_equal(index_repo_refresh(index).fresh, 0);
    double warm = seconds();
    struct index_found found;
    index_repo_search(index, "gamma_function_1234", &found);
    double searched = seconds();
    assert_string_equal(found.paths[0], "d4/file1234.c");
    kg_index_close(index);
    print_message("# 10,000 files: cold %.2f s, warm %.3f s, first search %.3f s\n", cold - start, warm - cold, searched - warm);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        INDEX_TEST(the_file_is_ours_alone),
        INDEX_TEST(who_opens_it_again_takes_no_lock_away),
        INDEX_TEST(a_damaged_file_is_built_again),
        INDEX_TEST(what_was_read_before_a_stop_is_kept),
        INDEX_TEST(processes_share_the_file),
        INDEX_TEST(who_comes_second_finds_the_work_done),
        INDEX_TEST(who_opens_it_second_waits_for_the_tables),
        INDEX_TEST(waiting_for_a_turn_can_be_stopped),
        INDEX_TEST(old_indexes_are_swept_away),
        INDEX_TEST(a_kill_leaves_an_index_that_opens),
        INDEX_TEST(a_full_disk_is_an_error_and_nothing_more),
        INDEX_TEST(old_texts_are_forgotten_at_last),
        INDEX_TEST(a_branch_switched_to_and_fro_is_counted_right),
        INDEX_TEST(ten_thousand_files),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
