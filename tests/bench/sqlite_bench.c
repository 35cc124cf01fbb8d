/* What SQLite's settings cost a cache of keys and values: rows as kv.db has them, written in transactions, read in order, warm and
 * cold, half of them deleted and given back. One setting at a time is another one than kv.db's. Prints a table in Markdown.
 *
 *   sqlite_bench DIRECTORY [MEGABYTES]
 */
#include <fcntl.h>
#include <sqlite3.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>
#include <xxhash.h>

#include "tests/unit/seeded.h"

#define TRANSACTION ((size_t)14 << 20)
#define ROUNDS      5

struct settings {
    const char *what;
    int page_kib, row_kib;
    const char *journal, *synchronous, *vacuum;
    int mmap_mib, cache_kib;
};

/* The first one is kv.db's. */
static const struct settings all[] = {
    { "as kv.db is", 64, 896, "TRUNCATE", "FULL", "INCREMENTAL", 0, 2048 },
    { "page 4 KiB", 4, 896, "TRUNCATE", "FULL", "INCREMENTAL", 0, 2048 },
    { "page 16 KiB", 16, 896, "TRUNCATE", "FULL", "INCREMENTAL", 0, 2048 },
    { "rows of 112 KiB", 64, 112, "TRUNCATE", "FULL", "INCREMENTAL", 0, 2048 },
    { "rows of 3,584 KiB", 64, 3584, "TRUNCATE", "FULL", "INCREMENTAL", 0, 2048 },
    { "journal DELETE", 64, 896, "DELETE", "FULL", "INCREMENTAL", 0, 2048 },
    { "journal PERSIST", 64, 896, "PERSIST", "FULL", "INCREMENTAL", 0, 2048 },
    { "journal WAL", 64, 896, "WAL", "FULL", "INCREMENTAL", 0, 2048 },
    { "WAL, synchronous NORMAL", 64, 896, "WAL", "NORMAL", "INCREMENTAL", 0, 2048 },
    { "synchronous NORMAL", 64, 896, "TRUNCATE", "NORMAL", "INCREMENTAL", 0, 2048 },
    { "synchronous OFF", 64, 896, "TRUNCATE", "OFF", "INCREMENTAL", 0, 2048 },
    { "auto_vacuum NONE", 64, 896, "TRUNCATE", "FULL", "NONE", 0, 2048 },
    { "mmap 4 GiB", 64, 896, "TRUNCATE", "FULL", "INCREMENTAL", 4096, 2048 },
    { "cache 64 MiB", 64, 896, "TRUNCATE", "FULL", "INCREMENTAL", 0, 65536 },
};

#define COUNT (sizeof all / sizeof *all)

struct result {
    double write_s, warm_s, cold_s, delete_s;
    double written, file, left; /* bytes, of payload */
};

static double seconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

static void must(bool good, const char *what)
{
    if (good)
        return;
    fprintf(stderr, "sqlite_bench: %s failed\n", what);
    exit(1);
}

static void run(sqlite3 *db, const char *sql)
{
    char *error = NULL;
    if (sqlite3_exec(db, sql, NULL, NULL, &error) != SQLITE_OK) {
        fprintf(stderr, "sqlite_bench: %s: %s\n", sql, error);
        exit(1);
    }
}

/* Bytes that this process had written to the disk. */
static double written_bytes(void)
{
    char line[128];
    double bytes = 0;
    FILE *file = fopen("/proc/self/io", "re");
    while (file && fgets(line, sizeof line, file))
        if (strncmp(line, "write_bytes:", 12) == 0)
            bytes = strtod(line + 12, NULL);
    if (file)
        fclose(file);
    return bytes;
}

static sqlite3 *open_db(const char *path, const struct settings *s)
{
    sqlite3 *db = NULL;
    char sql[512];
    must(sqlite3_open(path, &db) == SQLITE_OK, "opening");
    snprintf(sql, sizeof sql, "PRAGMA page_size = %d; PRAGMA auto_vacuum = %s; PRAGMA journal_mode = %s; PRAGMA synchronous = %s;"
             " PRAGMA mmap_size = %lld; PRAGMA cache_size = -%d; PRAGMA cell_size_check = ON", s->page_kib * 1024, s->vacuum, s->journal, s->synchronous,
             (long long)s->mmap_mib << 20, s->cache_kib);
    run(db, sql);
    return db;
}

static void write_rows(sqlite3 *db, const struct settings *s, const uint8_t *payload, size_t rows)
{
    sqlite3_stmt *put;
    const size_t bytes = (size_t)s->row_kib << 10, at_once = TRANSACTION / bytes ? TRANSACTION / bytes : 1;
    run(db, "CREATE TABLE page(id INTEGER PRIMARY KEY, tokens INTEGER NOT NULL, sum INTEGER NOT NULL, ids BLOB NOT NULL, kv BLOB NOT NULL)");
    must(sqlite3_prepare_v2(db, "INSERT INTO page VALUES(?1, 32, ?2, zeroblob(128), ?3)", -1, &put, NULL) == SQLITE_OK, "preparing");
    for (size_t i = 0; i < rows; i++) {
        if (i % at_once == 0)
            run(db, "BEGIN IMMEDIATE");
        const uint8_t *row = payload + i % 64;
        sqlite3_bind_int64(put, 1, (sqlite3_int64)i);
        sqlite3_bind_int64(put, 2, (sqlite3_int64)XXH3_64bits(row, bytes));
        sqlite3_bind_blob(put, 3, row, (int)bytes, SQLITE_STATIC);
        must(sqlite3_step(put) == SQLITE_DONE, "writing");
        sqlite3_reset(put);
        if (i % at_once == at_once - 1 || i + 1 == rows)
            run(db, "COMMIT");
    }
    sqlite3_finalize(put);
}

/* In order, checked. */
static double read_rows(const char *path, const struct settings *s, size_t rows)
{
    double start = seconds();
    sqlite3 *db = open_db(path, s);
    sqlite3_stmt *get;
    size_t n = 0;
    must(sqlite3_prepare_v2(db, "SELECT sum, ids, kv FROM page ORDER BY id", -1, &get, NULL) == SQLITE_OK, "preparing");
    for (; sqlite3_step(get) == SQLITE_ROW; n++)
        must(XXH3_64bits(sqlite3_column_blob(get, 2), (size_t)sqlite3_column_bytes(get, 2)) == (uint64_t)sqlite3_column_int64(get, 0), "a checksum");
    sqlite3_finalize(get);
    sqlite3_close(db);
    must(n == rows, "reading");
    return seconds() - start;
}

static void forget(const char *path)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    must(fd >= 0 && fsync(fd) == 0 && posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED) == 0, "emptying the page cache");
    close(fd);
}

static double size_of(const char *path)
{
    struct stat st;
    return stat(path, &st) == 0 ? (double)st.st_size : 0;
}

static void remove_files(const char *path)
{
    static const char *const suffixes[] = { "", "-journal", "-wal", "-shm" };
    char name[4200];
    for (size_t i = 0; i < 4; i++) {
        snprintf(name, sizeof name, "%s%s", path, suffixes[i]);
        unlink(name);
    }
}

static struct result measure(const char *path, const struct settings *s, const uint8_t *payload, size_t megabytes)
{
    struct result r;
    const size_t rows = (megabytes << 10) / (size_t)s->row_kib;
    const double bytes = (double)rows * s->row_kib * 1024;
    char sql[200];
    remove_files(path);
    double before = written_bytes(), start = seconds();
    sqlite3 *db = open_db(path, s);
    write_rows(db, s, payload, rows);
    sqlite3_close(db);
    r.write_s = seconds() - start;
    r.written = (written_bytes() - before) / bytes;
    r.file = size_of(path) / bytes;
    r.warm_s = read_rows(path, s, rows);
    forget(path);
    r.cold_s = read_rows(path, s, rows);
    start = seconds();
    db = open_db(path, s);
    for (size_t i = 0; i < rows / 2; i += 16) {
        snprintf(sql, sizeof sql, "DELETE FROM page WHERE id BETWEEN %zu AND %zu", i, i + 15 < rows / 2 ? i + 15 : rows / 2 - 1);
        run(db, sql);
    }
    sqlite3_int64 left = 1;
    for (sqlite3_int64 last = 0; left != last;) { /* where there is nothing to give back nothing changes */
        sqlite3_stmt *count;
        last = left;
        run(db, "PRAGMA incremental_vacuum(64)");
        must(sqlite3_prepare_v2(db, "PRAGMA freelist_count", -1, &count, NULL) == SQLITE_OK && sqlite3_step(count) == SQLITE_ROW, "counting");
        left = sqlite3_column_int64(count, 0);
        sqlite3_finalize(count);
    }
    sqlite3_close(db);
    r.delete_s = seconds() - start;
    r.left = size_of(path) / bytes;
    remove_files(path);
    return r;
}

static double lesser(double a, double b)
{
    return a < b ? a : b;
}

int main(int argc, char **argv)
{
    char path[4096];
    const size_t megabytes = argc > 2 ? strtoul(argv[2], NULL, 10) : 256;
    const size_t room = ((size_t)4 << 20) + 64;
    uint8_t *payload = malloc(room);
    uint64_t seed = 1;
    static struct result best[COUNT];
    must(argc > 1 && payload && megabytes >= 16, "usage: sqlite_bench DIRECTORY [MEGABYTES]; this");
    for (size_t i = 0; i < room; i++)
        payload[i] = (uint8_t)seeded_bits(&seed);
    snprintf(path, sizeof path, "%s/sqlite-bench.db", argv[1]);
    for (unsigned round = 0; round < ROUNDS; round++) /* in turns, so that what else the machine does meets all of them */
        for (size_t i = 0; i < COUNT; i++) {
            struct result r = measure(path, &all[i], payload, megabytes);
            if (round == 0)
                best[i] = r;
            best[i].write_s = lesser(best[i].write_s, r.write_s);
            best[i].warm_s = lesser(best[i].warm_s, r.warm_s);
            best[i].cold_s = lesser(best[i].cold_s, r.cold_s);
            best[i].delete_s = lesser(best[i].delete_s, r.delete_s);
        }
    printf("# SQLite's settings for kv.db\n\n"
           "`make bench-sqlite`, SQLite %s, %zu MiB of payload, the best of %d rounds in turns. The first row is what kv.db has; each other row\n"
           "differs in one setting. Written and file sizes are exact; the rates depend on what else uses the disk, so that only large\n"
           "differences between them count.\n\n"
           "Chosen by what is written and kept: a rollback journal writes every page once where a WAL writes it twice; rows of a whole page of\n"
           "tokens leave little of their last database page empty where small rows do not; without auto_vacuum nothing is given back.\n"
           "synchronous stays FULL, since a commit is what other processes rely on; memory mapping stays off, since a file that is cut short\n"
           "by others must be an error and not a signal, and it does not read faster; a larger cache holds what is never read twice.\n\n",
           sqlite3_libversion(), megabytes, ROUNDS);
    printf("| settings | write MB/s | written/payload | file/payload | read warm MB/s | read cold MB/s | half deleted and given back, s | file left/payload |\n"
           "|---|---|---|---|---|---|---|---|\n");
    const double mb = (double)megabytes * 1.048576;
    for (size_t i = 0; i < COUNT; i++)
        printf("| %s | %.0f | %.2f | %.3f | %.0f | %.0f | %.2f | %.2f |\n", all[i].what, mb / best[i].write_s, best[i].written, best[i].file,
               mb / best[i].warm_s, mb / best[i].cold_s, best[i].delete_s, best[i].left);
    free(payload);
    return 0;
}
