#include "repo-index/reader.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "repo-index/beneath.h"
#include "repo-index/imports.h"
#include "repo-index/utf16.h"

#define SECOND 1000000000LL
#define WAITING_MAX 64 /* texts read ahead */
#define THREADS_MAX 3
#define ALONE_BELOW 16 /* files that are read before a thread would have started */

struct workspace {
    struct kg_terms *terms;
    struct kg_imports imports;
    char *bytes; /* KG_INDEX_FILE_MAX + 1 */
};

static bool workspace_init(struct workspace *space)
{
    space->terms = kg_terms_new();
    space->bytes = malloc(KG_INDEX_FILE_MAX + 1);
    return space->terms && space->bytes;
}

static void workspace_free(struct workspace *space)
{
    kg_terms_free(space->terms);
    kg_imports_free(&space->imports);
    free(space->bytes);
}

/* The clock that file systems take their times from. */
static int64_t coarse_now(void)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME_COARSE, &now);
    return (int64_t)now.tv_sec * SECOND + now.tv_nsec;
}

/* A file written within the current tick of that clock could be written once more and keep its ctime, which nobody can
 * set: wait for the next tick. True when no later change can go unseen. */
static bool settle(const struct kg_file_stat *stat)
{
    int64_t now = coarse_now();
    if (stat->ctime % SECOND == 0 && stat->ctime <= now) /* perhaps a file system that counts no finer */
        return stat->ctime < now - 2 * SECOND;
    if (stat->ctime > now + SECOND) /* a clock that was set back since: later changes look earlier */
        return true;
    for (int i = 0; i < 20 && coarse_now() <= stat->ctime; i++) {
        struct timespec millisecond = { .tv_nsec = 1000000 };
        nanosleep(&millisecond, NULL);
    }
    return coarse_now() > stat->ctime;
}

/* Bytes read, or -1; one more than KG_INDEX_FILE_MAX when there are more than that. */
static ssize_t read_all(int fd, char *bytes)
{
    size_t got = 0;
    while (got <= KG_INDEX_FILE_MAX) {
        ssize_t n = read(fd, bytes + got, KG_INDEX_FILE_MAX + 1 - got);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -1;
        if (n == 0)
            break;
        got += (size_t)n;
    }
    return (ssize_t)got;
}

/* What is kept of the text lies in the workspace. */
static enum kg_read_outcome take_text(const char *text, size_t length, const char *path, struct workspace *space, struct kg_read_text *out)
{
    out->kind = kg_kind_by_content(path, text, length < KG_KIND_HEAD ? length : KG_KIND_HEAD);
    if (out->kind != KG_KIND_TEXT)
        return KG_READ_DONE;
    struct kg_store_content *content = &out->content;
    content->digest = kg_digest_of(text, length);
    content->reading = kg_reading_of(path);
    if (!kg_terms_of(space->terms, text, length, &content->terms) || !kg_imports_of(&space->imports, kg_language_of(path), text, length))
        return KG_READ_NO_MEMORY;
    if (!kg_is_code(path))
        content->terms.name_count = content->terms.defined = 0;
    content->imports = space->imports.bytes;
    content->import_length = space->imports.length;
    return KG_READ_DONE;
}

static enum kg_read_outcome read_open_file(int fd, const char *path, struct workspace *space, struct kg_read_text *out)
{
    struct stat before, after;
    if (fstat(fd, &before) != 0 || !S_ISREG(before.st_mode) || (uint64_t)before.st_size > KG_INDEX_FILE_MAX)
        return KG_READ_GONE;
    out->stat = kg_file_stat_of(&before);
    bool settled = settle(&out->stat);
    ssize_t n = read_all(fd, space->bytes);
    if (n < 0 || fstat(fd, &after) != 0)
        return KG_READ_UNREADABLE;
    if ((uint64_t)n > KG_INDEX_FILE_MAX)
        return KG_READ_GONE;
    struct kg_file_stat behind = kg_file_stat_of(&after);
    if (!settled || n != before.st_size || behind.mtime != out->stat.mtime || behind.ctime != out->stat.ctime) {
        out->stat.size = (uint64_t)n;
        out->stat.ctime = -1;
    }
    if (!kg_is_utf16(space->bytes, (size_t)n))
        return take_text(space->bytes, (size_t)n, path, space, out);
    size_t length = 0;
    char *text = kg_utf16_to_utf8(space->bytes, (size_t)n, &length);
    enum kg_read_outcome outcome = text ? take_text(text, length, path, space, out) : KG_READ_NO_MEMORY;
    free(text);
    return outcome;
}

static void read_text(int root_fd, const char *path, struct workspace *space, struct kg_read_text *out)
{
    int fd = kg_beneath_open(root_fd, path, O_RDONLY);
    if (fd < 0) {
        out->outcome = errno == ENOENT || errno == ELOOP || errno == ENOTDIR || errno == EXDEV ? KG_READ_GONE : KG_READ_UNREADABLE;
        return;
    }
    out->outcome = read_open_file(fd, path, space, out);
    close(fd);
}

/* Texts that were read wait in a ring for the caller; workers wait when it is full. */
struct pool {
    pthread_mutex_t lock;
    pthread_cond_t room, ready;
    int root_fd;
    const struct kg_walk_file *const *files;
    size_t count, next; /* next to be read */
    struct kg_read_text waiting[WAITING_MAX];
    size_t first, held, reading;
    bool stop;
};

/* Copies what lies in the workspace, since that is for the next text; to be freed with forget. */
static bool keep(struct kg_store_content *content)
{
    size_t names = content->terms.name_count * sizeof *content->terms.names, terms = content->terms.length;
    size_t all = names + terms + content->import_length;
    char *copy = all ? malloc(all) : NULL;
    if (!copy) {
        content->terms.length = content->import_length = content->terms.name_count = 0;
        return all == 0;
    }
    if (names)
        memcpy(copy, content->terms.names, names);
    memcpy(copy + names, content->terms.bytes, terms);
    if (content->import_length)
        memcpy(copy + names + terms, content->imports, content->import_length);
    content->terms.names = (const uint32_t *)(const void *)copy;
    content->terms.bytes = copy + names;
    content->imports = copy + names + terms;
    return true;
}

static void forget(const struct kg_store_content *content)
{
    if (content->terms.length + content->import_length + content->terms.name_count)
        free((uint32_t *)content->terms.names);
}

static void *work(void *argument)
{
    struct pool *pool = argument;
    struct workspace space = { 0 };
    bool able = workspace_init(&space);
    pthread_mutex_lock(&pool->lock);
    while (!pool->stop && pool->next < pool->count) {
        if (pool->held + pool->reading >= WAITING_MAX) {
            pthread_cond_wait(&pool->room, &pool->lock);
            continue;
        }
        struct kg_read_text text = { .at = pool->next++, .outcome = KG_READ_NO_MEMORY };
        pool->reading++;
        pthread_mutex_unlock(&pool->lock);
        if (able)
            read_text(pool->root_fd, pool->files[text.at]->path, &space, &text);
        if (!keep(&text.content))
            text.outcome = KG_READ_NO_MEMORY;
        pthread_mutex_lock(&pool->lock);
        pool->reading--;
        pool->waiting[(pool->first + pool->held++) % WAITING_MAX] = text;
        pthread_cond_signal(&pool->ready);
    }
    pthread_mutex_unlock(&pool->lock);
    workspace_free(&space);
    return NULL;
}

static int take_results(struct pool *pool, int (*take)(void *ctx, const struct kg_read_text *text), void *ctx)
{
    int result = 0;
    for (size_t done = 0; done < pool->count && !result; done++) {
        pthread_mutex_lock(&pool->lock);
        while (pool->held == 0)
            pthread_cond_wait(&pool->ready, &pool->lock);
        struct kg_read_text text = pool->waiting[pool->first];
        pool->first = (pool->first + 1) % WAITING_MAX;
        pool->held--;
        pthread_cond_signal(&pool->room);
        pthread_mutex_unlock(&pool->lock);
        result = take(ctx, &text);
        forget(&text.content);
    }
    return result;
}

static unsigned start_threads(struct pool *pool, pthread_t threads[THREADS_MAX], unsigned wanted)
{
    sigset_t all, before;
    unsigned started = 0;
    sigfillset(&all); /* signals are the caller's business */
    pthread_sigmask(SIG_SETMASK, &all, &before);
    while (started < wanted && pthread_create(&threads[started], NULL, work, pool) == 0)
        started++;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return started;
}

static int read_in_threads(struct pool *pool, unsigned wanted, int (*take)(void *ctx, const struct kg_read_text *text), void *ctx)
{
    pthread_t threads[THREADS_MAX];
    pthread_mutex_init(&pool->lock, NULL);
    pthread_cond_init(&pool->room, NULL);
    pthread_cond_init(&pool->ready, NULL);
    unsigned started = start_threads(pool, threads, wanted);
    int result = started ? take_results(pool, take, ctx) : -1;
    pthread_mutex_lock(&pool->lock);
    pool->stop = true;
    pthread_cond_broadcast(&pool->room);
    pthread_mutex_unlock(&pool->lock);
    for (unsigned i = 0; i < started; i++)
        pthread_join(threads[i], NULL);
    for (size_t i = 0; i < pool->held; i++)
        forget(&pool->waiting[(pool->first + i) % WAITING_MAX].content);
    pthread_cond_destroy(&pool->ready);
    pthread_cond_destroy(&pool->room);
    pthread_mutex_destroy(&pool->lock);
    return result;
}

static int read_alone(int root_fd, const struct kg_walk_file *const *files, size_t count, int (*take)(void *ctx, const struct kg_read_text *text), void *ctx)
{
    struct workspace space = { 0 };
    int result = workspace_init(&space) ? 0 : -1;
    for (size_t i = 0; i < count && !result; i++) {
        struct kg_read_text text = { .at = i };
        read_text(root_fd, files[i]->path, &space, &text);
        result = take(ctx, &text);
    }
    workspace_free(&space);
    return result;
}

static unsigned cores(void)
{
    cpu_set_t set;
    return sched_getaffinity(0, sizeof set, &set) == 0 ? (unsigned)CPU_COUNT(&set) : 1;
}

int kg_read_texts(int root_fd, const struct kg_walk_file *const *files, size_t count, int (*take)(void *ctx, const struct kg_read_text *text), void *ctx)
{
    unsigned threads = cores() - 1 < THREADS_MAX ? cores() - 1 : THREADS_MAX;
    if (threads == 0 || count < ALONE_BELOW)
        return read_alone(root_fd, files, count, take, ctx);
    struct pool pool = { .root_fd = root_fd, .files = files, .count = count };
    return read_in_threads(&pool, threads, take, ctx);
}
