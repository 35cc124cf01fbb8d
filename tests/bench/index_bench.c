/* Times of an index: index_bench ROOT CACHE BRANCH [ROUNDS]. The worktree at ROOT is on a branch that differs from BRANCH; both
 * are checked out in turns. JSON lines: wall and CPU seconds (user and system, of all threads), memory, counts.
 * Wall time is what a person waits; on a machine that others use, CPU time is what the work takes. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "repo-index/repo_index.h"

static const char *const questions[] = {
    "where is memory freed when a device is removed", "how are packets queued for sending", "fix a crash when the configuration file is missing",
    "why does parsing of options fail for long names", "add a timeout to the connection", "who calls the init function", "wrong size in the buffer of read",
    "support for a new compression format", "race between close and a running timer", "print the version and exit",
};
#define QUESTIONS ((int)(sizeof questions / sizeof questions[0]))

struct clocks {
    double wall, cpu;
};

static struct clocks now(void)
{
    struct timespec wall;
    struct rusage used;
    clock_gettime(CLOCK_MONOTONIC, &wall);
    getrusage(RUSAGE_SELF, &used);
    return (struct clocks){ (double)wall.tv_sec + (double)wall.tv_nsec * 1e-9,
                            (double)(used.ru_utime.tv_sec + used.ru_stime.tv_sec) + (double)(used.ru_utime.tv_usec + used.ru_stime.tv_usec) * 1e-6 };
}

static void put(const char *what, struct clocks since, double divisor, struct kg_index_counts counts)
{
    struct clocks end = now();
    struct rusage used;
    getrusage(RUSAGE_SELF, &used);
    printf("{\"measured\":\"%s\",\"wall_s\":%.4f,\"cpu_s\":%.4f,\"files\":%u,\"fresh\":%u,\"removed\":%u,\"peak_rss_mb\":%.0f}\n", what, (end.wall - since.wall) / divisor,
           (end.cpu - since.cpu) / divisor, counts.files, counts.fresh, counts.removed, (double)used.ru_maxrss / 1024);
    fflush(stdout);
}

static void must(enum kg_status status, const struct kg_error *err)
{
    if (status == KG_OK)
        return;
    fprintf(stderr, "index_bench: %s\n", err->text);
    exit(1);
}

static char answered[KG_PATH_MAX]; /* the best file for the last question */

static int count_part(void *ctx, const struct kg_context_part *part)
{
    if (++*(unsigned *)ctx == 1)
        snprintf(answered, sizeof answered, "%s", part->path);
    return 0;
}

static void ask(struct kg_index *index, const char *question)
{
    unsigned parts = 0;
    struct kg_error err = { 0 };
    const struct kg_context_request request = { .question = question, .files = 20 };
    must(kg_index_context(index, &request, count_part, &parts, &err), &err);
    if (!parts)
        fprintf(stderr, "index_bench: nothing for '%s'\n", question);
}

static void first_question(struct kg_index *index, const char *when)
{
    const struct kg_index_counts none = { 0 };
    struct clocks begin = now();
    ask(index, questions[0]);
    put(when, begin, 1, none);
}

static void check_out(const char *root, const char *branch)
{
    char command[2 * KG_PATH_MAX];
    snprintf(command, sizeof command, "git -C '%s' checkout -q '%s'", root, branch);
    if (system(command) != 0)
        exit(1);
}

static struct kg_index *open_index(const char *root, const char *cache)
{
    struct kg_index *index = NULL;
    struct kg_error err = { 0 };
    must(kg_index_open(root, cache, &index, &err), &err);
    return index;
}

static struct kg_index_counts refresh(struct kg_index *index)
{
    struct kg_index_counts counts;
    struct kg_error err = { 0 };
    must(kg_index_refresh(index, NULL, NULL, &counts, &err), &err);
    return counts;
}

static void link_files(struct kg_index *index, double drift, struct kg_index_counts counts)
{
    struct kg_error err = { 0 };
    struct clocks begin = now();
    must(kg_index_settle(index, drift, NULL, NULL, &err), &err);
    put("linking the files, which no question waits for", begin, 1, counts);
}

/* From the writing of a file, which no rule ignores, to its being found, with a handle that watches. */
static void watched_edit(const char *root, struct kg_index *index)
{
    char path[2 * KG_PATH_MAX];
    struct stat before;
    struct kg_index_counts counts;
    struct kg_error err = { 0 };
    must(kg_index_watch(index, 0, &err), &err);
    refresh(index);
    snprintf(path, sizeof path, "%s/%s", root, answered);
    FILE *file = fopen(path, "a");
    if (!file || stat(path, &before) != 0)
        exit(1);
    fputs("int kedge_bench_edit(void);\n", file);
    struct clocks begin = now();
    fclose(file);
    do { /* where nothing is announced, the first look may be at something else */
        for (double due; (due = kg_index_watch_due(index)) != 0;)
            usleep(due > 0 ? (useconds_t)(due * 1e6) + 1 : 1000);
        must(kg_index_catch_up(index, NULL, NULL, &counts, &err), &err);
    } while (!counts.fresh);
    put(kg_index_watch_lack(index) ? "an edit that nothing announces, until it is read" : "a watched edit, until it is read", begin, 1, counts);
    first_question(index, "first question after an edit");
    link_files(index, 0, counts);
    if (truncate(path, before.st_size) != 0)
        exit(1);
}

int main(int argc, char **argv)
{
    if (argc < 4)
        return 2;
    int rounds = argc > 4 ? atoi(argv[4]) : 3;
    struct kg_index_counts counts, none = { 0 };
    struct clocks begin = now();
    struct kg_index *index = open_index(argv[1], argv[2]);
    counts = refresh(index);
    put("first index", begin, 1, counts);
    first_question(index, "first question ever");
    link_files(index, KG_DRIFT_LARGE, counts);
    kg_index_close(index);
    for (int i = 0; i < rounds; i++) {
        begin = now();
        index = open_index(argv[1], argv[2]);
        counts = refresh(index);
        put("second start, nothing changed", begin, 1, counts);
        first_question(index, "first question of a process");
        if (i + 1 < rounds)
            kg_index_close(index);
    }
    begin = now();
    for (int i = 0; i < rounds * QUESTIONS; i++)
        ask(index, questions[i % QUESTIONS]);
    put("question to a ranked list, mean", begin, rounds * QUESTIONS, none);
    check_out(argv[1], argv[3]);
    begin = now();
    counts = refresh(index);
    put("branch switch, new contents", begin, 1, counts);
    first_question(index, "first question after a switch");
    link_files(index, KG_DRIFT_LARGE, counts);
    check_out(argv[1], "-");
    begin = now();
    counts = refresh(index);
    put("branch switch back", begin, 1, counts);
    first_question(index, "first question after a switch back");
    link_files(index, KG_DRIFT_LARGE, counts);
    watched_edit(argv[1], index);
    kg_index_close(index);
    return 0;
}
