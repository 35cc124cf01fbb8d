/* Changes of a watched worktree are in the index within a second, whatever they are, and cost no memory in the long run. */
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "index_random.h"

#define WITHIN 1.0 /* seconds */

static double seconds(clockid_t clock)
{
    struct timespec now;
    clock_gettime(clock, &now);
    return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

static bool long_run(void)
{
    const char *value = getenv("CHECK_LONG");
    return value && strcmp(value, "1") == 0;
}

static struct kg_index *watch(uint32_t most)
{
    struct kg_index *index = index_repo_open(&here);
    struct kg_error err = { 0 };
    assert_int_equal(kg_index_watch(index, most, &err), KG_OK);
    index_repo_refresh(index);
    return index;
}

static struct kg_index_counts catch_up(struct kg_index *index)
{
    struct kg_index_counts counts;
    struct kg_error err = { 0 };
    if (kg_index_catch_up(index, NULL, NULL, &counts, &err) != KG_OK)
        fail_msg("cannot catch up: %s", err.text);
    return counts;
}

/* As the interface does it, until there is nothing more to do; how often it caught up. */
static unsigned settle(struct kg_index *index, double within, struct kg_index_counts *counts)
{
    unsigned times = 0;
    for (double end = seconds(CLOCK_MONOTONIC) + within; seconds(CLOCK_MONOTONIC) < end;) {
        double due = kg_index_watch_due(index);
        if (due < 0)
            return times;
        if (due == 0) {
            *counts = catch_up(index);
            times++;
        } else {
            struct pollfd polled = { .fd = kg_index_watch_fd(index), .events = POLLIN };
            poll(&polled, 1, (int)(due * 1000) + 1);
        }
    }
    return times;
}

static int is_told_by_commits(void *ctx, const struct kg_context_part *part)
{
    *(bool *)ctx |= strcmp(part->path, "s/8.c") == 0 && strstr(part->reason, "commits") != NULL;
    return 0;
}

static bool finds(struct kg_index *index, const char *word, const char *path)
{
    struct index_found found;
    index_repo_search(index, word, &found);
    return index_found_has(&found, path);
}

static void what_changes_is_read_within_a_second(void **state)
{
    (void)state;
    struct kg_index_counts counts = { 0 };
    index_repo_sh(&here, "mkdir -p a/b c && for i in $(seq 200); do echo \"int value_$i;\" > c/f$i.c; done && echo 'int deep;' > a/b/deep.c");
    struct kg_index *index = watch(0);
    assert_true(kg_index_watch_due(index) < 0);
    index_repo_write(&here, "a/b/deep.c", "int deeper;\n");
    assert_true(settle(index, WITHIN, &counts) > 0);
    assert_true(finds(index, "deeper", "a/b/deep.c"));
    assert_int_equal(counts.files, 201);
    assert_int_equal(counts.fresh, 1); /* and no other was read */
    usleep(600000); /* later, a change is the first of a flurry again */
    index_repo_write(&here, "a/b/deep.c", "int deeper, and_more;\n");
    assert_true(kg_index_watch_due(index) > 0);
    index_repo_sh(&here, "mkdir -p new/er && echo 'int newest;' > new/er/file.c");
    settle(index, WITHIN, &counts);
    assert_true(finds(index, "newest", "new/er/file.c"));
    index_repo_write(&here, "new/er/file.c", "int changed_there;\n");
    settle(index, WITHIN, &counts);
    assert_true(finds(index, "changed_there", "new/er/file.c"));
    index_repo_sh(&here, "mv new moved && mv a/b new");
    settle(index, WITHIN, &counts);
    assert_true(finds(index, "changed_there", "moved/er/file.c"));
    assert_true(finds(index, "deeper", "new/deep.c"));
    assert_int_equal(counts.files, 202);
    index_repo_write(&here, "moved/er/file.c", "int after_the_move;\n");
    settle(index, WITHIN, &counts);
    assert_true(finds(index, "after_the_move", "moved/er/file.c"));
    index_repo_sh(&here, "rm -r moved");
    settle(index, WITHIN, &counts);
    assert_int_equal(counts.files, 201);
    assert_false(finds(index, "after_the_move", "moved/er/file.c"));
    index_repo_write(&here, ".gitignore", "c/f1*\n");
    settle(index, 2 * WITHIN, &counts);
    assert_int_equal(counts.files, 201 - 111 + 1);
    kg_index_close(index);
}

static void checkouts_and_commits_are_followed(void **state)
{
    (void)state;
    struct kg_index_counts counts = { 0 };
    index_repo_sh(&here, "mkdir s && for i in $(seq 50); do echo \"int before_$i;\" > s/$i.c; done && git add . && git commit -qm first && git checkout -q -b other && "
                         "for i in $(seq 50); do echo \"int beyond_$i;\" > s/$i.c; done && echo 'int only;' > s/only.c && git add . && git commit -qm second");
    struct kg_index *index = watch(0);
    index_repo_sh(&here, "git checkout -q main");
    settle(index, 2 * WITHIN, &counts);
    assert_int_equal(counts.files, 50);
    assert_true(finds(index, "before_7", "s/7.c"));
    index_repo_sh(&here, "git checkout -q other");
    settle(index, 2 * WITHIN, &counts);
    assert_int_equal(counts.files, 51);
    assert_true(finds(index, "beyond_7", "s/7.c"));
    /* a commit changes no file: the past has to come anew */
    index_repo_sh(&here, "echo 'int x;' > s/8.c && git commit -qam 'quinces are boiled'");
    settle(index, 2 * WITHIN, &counts);
    bool told = false;
    struct kg_error err = { 0 };
    const struct kg_context_request request = { .question = "quinces are boiled", .files = 5 };
    assert_int_equal(kg_index_context(index, &request, is_told_by_commits, &told, &err), KG_OK);
    assert_true(told);
    kg_index_close(index);
}

/* A handle that can watch three directories sees changes on its slow clock, and HEAD every second. */
static void where_limits_are_met_it_is_said_and_looked(void **state)
{
    (void)state;
    struct kg_index_counts counts = { 0 };
    index_repo_sh(&here, "mkdir a b c d && echo 'int first;' > a/x.c && git add . && git commit -qm one && git checkout -q -b two && echo 'int second;' > a/x.c && "
                         "git commit -qam two");
    struct kg_index *index = watch(3);
    assert_non_null(kg_index_watch_lack(index));
    double due = kg_index_watch_due(index);
    assert_true(due > 0 && due <= 1.0); /* the next look at HEAD */
    assert_true(finds(index, "second", "a/x.c"));
    index_repo_sh(&here, "git checkout -q main");
    settle(index, 1.7, &counts);
    assert_true(finds(index, "first", "a/x.c"));
    index_repo_write(&here, "d/y.c", "int third;\n");
    settle(index, 5.5, &counts);
    assert_true(finds(index, "third", "d/y.c"));
    kg_index_close(index);
    index = watch(0);
    assert_null(kg_index_watch_lack(index));
    kg_index_close(index);
}

/* A limit that is met exactly is no lack, however often the worktree is looked at. */
static void as_many_directories_as_allowed_are_watched(void **state)
{
    (void)state;
    index_repo_sh(&here, "mkdir a b c && touch a/1.c b/2.c c/3.c");
    uint32_t most = 1;
    struct kg_index *index = watch(most);
    for (; kg_index_watch_lack(index) && most < 20; index = watch(++most))
        kg_index_close(index);
    assert_true(most >= 4); /* of the worktree, and those of git */
    index_repo_refresh(index);
    assert_null(kg_index_watch_lack(index));
    kg_index_close(index);
}

/* More events than the kernel keeps. */
static void a_flood_loses_nothing(void **state)
{
    (void)state;
    struct kg_index_counts counts = { 0 };
    long most = 16384;
    FILE *limit = fopen("/proc/sys/fs/inotify/max_queued_events", "r");
    if (limit) {
        assert_int_equal(fscanf(limit, "%ld", &most), 1);
        fclose(limit);
    }
    if (most > 100000) {
        print_message("# the kernel keeps %ld events\n", most);
        skip();
    }
    index_repo_sh(&here, "mkdir a b && touch a/1.c b/2.c");
    struct kg_index *index = watch(0);
    FILE *files[2];
    char path[256];
    for (int i = 0; i < 2; i++) {
        snprintf(path, sizeof path, "%s/%s", here.root, i ? "b/2.c" : "a/1.c");
        assert_non_null(files[i] = fopen(path, "w"));
    }
    for (long i = 0; i < most + 100; i++) {
        rewind(files[i % 2]);
        fprintf(files[i % 2], "int round_%ld;\n", i);
        fflush(files[i % 2]);
    }
    fclose(files[0]);
    fclose(files[1]);
    index_repo_write(&here, "a/after.c", "int behind_the_flood;\n"); /* of which no event tells */
    settle(index, 2 * WITHIN, &counts);
    assert_true(finds(index, "behind_the_flood", "a/after.c"));
    kg_index_close(index);
}

static size_t resident(void)
{
    unsigned long all, pages = 0;
    FILE *file = fopen("/proc/self/statm", "r");
    assert_non_null(file);
    assert_int_equal(fscanf(file, "%lu %lu", &all, &pages), 2);
    fclose(file);
    return pages * (size_t)sysconf(_SC_PAGESIZE);
}

/* Bytes of the files of the index. */
static unsigned long long on_disk(void)
{
    char command[256];
    unsigned long long bytes = 0;
    snprintf(command, sizeof command, "du -sb %s | cut -f1", here.cache);
    FILE *pipe = popen(command, "r");
    assert_non_null(pipe);
    assert_int_equal(fscanf(pipe, "%llu", &bytes), 1);
    pclose(pipe);
    return bytes;
}

static void compare(struct kg_index *index, unsigned round)
{
    char when[32];
    snprintf(when, sizeof when, "round %u", round);
    index_equals_new(&here, index, index_read_symbols, when);
}

/* Edits, renames and checkouts: at every comparison the index is the one from nothing, and memory stays where it was. */
static void memory_stays_flat_while_watching(void **state)
{
    (void)state;
    struct kg_index *index = watch(0);
    struct kg_index_counts counts;
    struct index_random life = { .repo = &here, .seed = 20 };
    const double lasts = long_run() ? 600 : 12, begin = seconds(CLOCK_MONOTONIC);
    size_t warm = 0;
    double slowest = 0;
    unsigned round = 0;
    for (; seconds(CLOCK_MONOTONIC) - begin < lasts; round++) {
        for (uint64_t n = 1 + index_random_below(&life, 12); n > 0; n--)
            index_random_step(&life);
        double changed = seconds(CLOCK_MONOTONIC);
        settle(index, 10, &counts);
        double took = seconds(CLOCK_MONOTONIC) - changed;
        slowest = took > slowest ? took : slowest;
        compare(index, round);
        if (!warm && seconds(CLOCK_MONOTONIC) - begin > lasts / 4)
            warm = resident();
    }
    size_t end = resident();
    print_message("# %u rounds, the slowest in the index after %.2f s; %.1f MB after a quarter, %.1f MB at the end, %.1f MB on disk\n", round, slowest,
                  (double)warm / 1e6, (double)end / 1e6, (double)on_disk() / 1e6);
    assert_true(warm > 0);
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
    assert_true(end < warm + warm / 5);
#endif
    kg_index_close(index);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        INDEX_TEST(what_changes_is_read_within_a_second),
        INDEX_TEST(checkouts_and_commits_are_followed),
        INDEX_TEST(where_limits_are_met_it_is_said_and_looked),
        INDEX_TEST(as_many_directories_as_allowed_are_watched),
        INDEX_TEST(a_flood_loses_nothing),
        INDEX_TEST(memory_stays_flat_while_watching),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
