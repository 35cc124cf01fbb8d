/* How long a key of an @name takes, places_bench FILES DIRECTORY: a repository of so many files is made there, with twenty
 * definitions in each, and names are written key by key. JSON lines: milliseconds a key for paths and for definitions. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "repo-index/repo_index.h"

#define DEFINITIONS 20
#define CANDIDATES 30

static const char *const words[] = {
    "read", "write", "open", "close", "queue", "buffer", "packet", "device", "driver", "lock", "page", "cache", "node", "tree", "list", "table", "index", "parse", "token", "line",
    "frame", "socket", "timer", "event", "signal", "thread", "memory", "region", "block", "file", "path", "name", "value", "count", "size", "first", "last", "next", "state", "mode",
    "error", "status", "option", "config", "session", "message", "header", "body", "field", "record", "entry", "key", "map", "set", "get", "put", "add", "remove", "find", "update",
};
#define WORDS (sizeof words / sizeof words[0])
static const char *const typed[] = { "parse_token", "kg_queue", "devlock", "RegionCache", "first_entry_of", "e", "st", "read", "getnodevalue", "session.c", "zzz" };

static uint64_t seed = 1;

static const char *word(void)
{
    seed = seed * 6364136223846793005U + 1442695040888963407U;
    return words[(seed >> 33) % WORDS];
}

static void must(bool done, const char *what)
{
    if (done)
        return;
    fprintf(stderr, "places_bench: %s\n", what);
    exit(1);
}

static void write_file(const char *directory, unsigned number)
{
    char path[KG_PATH_MAX];
    snprintf(path, sizeof path, "%.3000s/%s_%u", directory, words[number % WORDS], number / 400);
    mkdir(path, 0700);
    size_t n = strlen(path);
    snprintf(path + n, sizeof path - n, "/%s_%s_%u.c", word(), word(), number);
    FILE *file = fopen(path, "w");
    must(file, "cannot write the repository");
    for (int i = 0; i < DEFINITIONS; i++)
        fprintf(file, "int %s_%s_%s_%u(int %s)\n{\n    return %s + %d;\n}\n\n", word(), word(), word(), number % 1000 * 20 + (unsigned)i, word(), word(), i);
    must(fclose(file) == 0, "cannot write the repository");
}

static double seconds(clockid_t clock)
{
    struct timespec now;
    clock_gettime(clock, &now);
    return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

static int count_path(void *ctx, const char *path)
{
    (void)path;
    ++*(unsigned *)ctx;
    return 0;
}

static int count_symbol(void *ctx, const struct kg_index_symbol *symbol)
{
    (void)symbol;
    ++*(unsigned *)ctx;
    return 0;
}

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static void put(const char *what, double *times, size_t count)
{
    qsort(times, count, sizeof *times, compare);
    printf("{\"measured\":\"%s\",\"keys\":%zu,\"median_ms\":%.2f,\"p99_ms\":%.2f,\"worst_ms\":%.2f}\n", what, count, times[count / 2], times[count * 99 / 100], times[count - 1]);
    fflush(stdout);
}

/* A key's time is what the thread computes: others may use the machine. */
static void type(struct kg_index *index, const struct kg_definitions *definitions)
{
    enum { MOST = 2000, ROUNDS = 10 };
    static double paths[MOST], names[MOST], both[MOST];
    size_t keys = 0;
    unsigned found = 0;
    struct kg_error err;
    for (int round = 0; round < ROUNDS; round++)
        for (size_t i = 0; i < sizeof typed / sizeof typed[0]; i++)
            for (size_t n = 1; n <= strlen(typed[i]) && keys < MOST; n++, keys++) {
                char pattern[64];
                snprintf(pattern, sizeof pattern, "%.*s", (int)n, typed[i]);
                double begun = seconds(CLOCK_THREAD_CPUTIME_ID);
                must(kg_index_complete(index, pattern, CANDIDATES, count_path, &found, &err) == KG_OK, "paths cannot be completed");
                double between = seconds(CLOCK_THREAD_CPUTIME_ID);
                must(kg_definitions_complete(definitions, pattern, CANDIDATES, count_symbol, &found, &err) == KG_OK, "names cannot be completed");
                double end = seconds(CLOCK_THREAD_CPUTIME_ID);
                paths[keys] = (between - begun) * 1000;
                names[keys] = (end - between) * 1000;
                both[keys] = (end - begun) * 1000;
            }
    must(found > 0, "nothing was found");
    put("a key, paths", paths, keys);
    put("a key, definitions", names, keys);
    put("a key, both", both, keys);
}

static double resident_mb(void)
{
    long pages = 0, resident = 0;
    FILE *file = fopen("/proc/self/statm", "r");
    if (!file)
        return 0;
    int read = fscanf(file, "%ld %ld", &pages, &resident);
    fclose(file);
    return read == 2 ? (double)resident * 4096 / (1 << 20) : 0;
}

int main(int argc, char **argv)
{
    char tree[KG_PATH_MAX], cache[KG_PATH_MAX], git[KG_PATH_MAX + 32];
    struct kg_error err = { 0 };
    struct kg_index *index;
    struct kg_definitions *definitions = NULL;
    struct kg_index_counts counts;
    must(argc == 3, "places_bench FILES DIRECTORY");
    snprintf(tree, sizeof tree, "%s/tree", argv[2]);
    snprintf(cache, sizeof cache, "%s/cache", argv[2]);
    must(mkdir(tree, 0700) == 0, "the directory is not empty");
    snprintf(git, sizeof git, "git init -q '%.3000s'", tree);
    must(system(git) == 0, "git cannot make a repository");
    for (unsigned i = 0; i < (unsigned)atoi(argv[1]); i++)
        write_file(tree, i);
    must(kg_index_open(tree, cache, &index, &err) == KG_OK, err.text);
    must(kg_index_refresh(index, NULL, NULL, &counts, &err) == KG_OK, err.text);
    double begun = seconds(CLOCK_MONOTONIC);
    must(kg_index_read_symbols(index, NULL, NULL, &err) == KG_OK, err.text);
    double read = seconds(CLOCK_MONOTONIC);
    double before = resident_mb();
    must(kg_index_definitions(index, &definitions, NULL, NULL, &err) == KG_OK, err.text);
    printf("{\"measured\":\"definitions\",\"files\":%u,\"count\":%zu,\"read_once_s\":%.2f,\"loaded_s\":%.2f,\"grown_mb\":%.0f}\n", counts.files,
           kg_definitions_count(definitions), read - begun, seconds(CLOCK_MONOTONIC) - read, resident_mb() - before);
    type(index, definitions);
    kg_definitions_free(definitions);
    kg_index_close(index);
    return 0;
}
