/* While nothing is asked, until a key or a task comes: the files that are likeliest to be asked about are read into the cache, and, after a
 * while, those in context are read again, each in sight of all before it. */
#include <glob.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "tui/conversation/includes.h"
#include "tui/interface/worker_state.h"

#define IDLE_S       3.0 /* without a key or a task, before it begins */
#define AGAIN_IDLE_S 10.0 /* and what is in context is read again, which whoever thinks for a moment or edits one file after the other would end */
#define BATTERY_S    60.0
#define OTHERS_SHARE 0.8 /* of the time: whoever gets less of the processor has company, and makes room for it */

struct kg_ahead {
    struct kg_session *session;
    char **paths;
    size_t count, capacity, at;
    uint64_t tokens;  /* of the files gone through, known or read now */
    bool listed;
    double free_at;   /* when the last task ended */
    bool again; /* what is in context was gone through, */
    size_t again_next; /* or up to here */
    double battery_at; /* when it was looked at */
    bool on_battery;
    double batch_at, batch_cpu; /* when the last batch began, by the clock and by the processor's */
};

static double cpu_seconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

void kg_worker_touch(struct kg_worker *worker)
{
    atomic_store(&worker->touched_ms, (uint64_t)(kg_worker_seconds() * 1000));
    kg_worker_end_ahead(worker);
}

void kg_worker_end_ahead(struct kg_worker *worker)
{
    pthread_mutex_lock(&worker->lock);
    if (atomic_load(&worker->ahead_running)) {
        atomic_store(&worker->stopping, true);
        if (worker->engine)
            kg_engine_stop(worker->engine);
    }
    pthread_mutex_unlock(&worker->lock);
}

void kg_worker_set_ahead(struct kg_worker *worker, enum kg_ahead_when when)
{
    atomic_store(&worker->ahead_when, (int)when);
    kg_worker_touch(worker);
    kg_worker_give(worker, KG_TASK_NOTHING, "", 0); /* its thread looks anew */
}

enum kg_ahead_when kg_worker_ahead(struct kg_worker *worker)
{
    return (enum kg_ahead_when)atomic_load(&worker->ahead_when);
}

/* A supply that discharges is a battery in use. Where nothing tells, there is none. */
static bool is_on_battery(struct kg_ahead *ahead)
{
    double now = kg_worker_seconds();
    glob_t found;
    if (ahead->battery_at > 0 && now - ahead->battery_at < BATTERY_S)
        return ahead->on_battery;
    ahead->battery_at = now;
    ahead->on_battery = false;
    if (glob("/sys/class/power_supply/*/status", 0, NULL, &found) != 0)
        return false;
    for (size_t i = 0; i < found.gl_pathc; i++) {
        char status[32] = "";
        FILE *file = fopen(found.gl_pathv[i], "re");
        if (file && fgets(status, sizeof status, file))
            ahead->on_battery |= strncmp(status, "Discharging", 11) == 0;
        if (file)
            fclose(file);
    }
    globfree(&found);
    return ahead->on_battery;
}

static void forget_files(struct kg_ahead *ahead)
{
    for (size_t i = 0; i < ahead->count; i++)
        free(ahead->paths[i]);
    ahead->count = ahead->at = 0;
    ahead->tokens = 0;
    ahead->listed = false;
    ahead->again = false;
    ahead->again_next = 0;
}

static int take_file(void *ctx, const struct kg_index_file *file)
{
    struct kg_ahead *ahead = ctx;
    if (ahead->count == ahead->capacity) {
        size_t capacity = ahead->capacity ? 2 * ahead->capacity : 256;
        char **grown = realloc(ahead->paths, capacity * sizeof *grown);
        if (!grown)
            return 1;
        ahead->paths = grown;
        ahead->capacity = capacity;
    }
    ahead->paths[ahead->count] = strdup(file->path);
    return !ahead->paths[ahead->count] || ++ahead->count == UINT32_MAX;
}

static int is_stopping(void *ctx, uint32_t done, uint32_t found)
{
    struct kg_worker *worker = ctx;
    (void)done, (void)found;
    return atomic_load(&worker->stopping);
}

/* Nothing of all this is worth a message: it is tried again when something was done meanwhile. */
static bool list_files(struct kg_worker *worker)
{
    struct kg_ahead *ahead = worker->ahead;
    struct kg_index_counts counts;
    struct kg_error err;
    const struct kg_session_options options = { .policy = worker->options->policy, .recall = worker->options->recall, .unsaved = true };
    ahead->listed = true;
    if (kg_worker_index(worker, &err) != KG_OK || !worker->index)
        return false;
    if (!ahead->session && kg_session_open(worker->engine, &options, &ahead->session, &err) != KG_OK)
        return false;
    enum kg_status status = kg_index_refresh(worker->index, is_stopping, worker, &counts, &err);
    if (status == KG_OK)
        status = kg_index_likely(worker->index, take_file, ahead, &err);
    ahead->listed = status != KG_ERR_CANCELLED && status != KG_ERR_BUSY;
    return status == KG_OK;
}

/* One file. What is left of it when it is stopped is read the next time. */
static void read_file(struct kg_worker *worker, const char *path)
{
    struct kg_ahead *ahead = worker->ahead;
    struct kg_known known = { 0 };
    struct kg_error err;
    char *text = NULL;
    size_t length = 0;
    bool secret = false;
    enum kg_status status = kg_index_read(worker->index, path, KG_FILE_MAX, &text, &length, &secret, &err);
    if (status == KG_OK && !secret)
        status = kg_known_with_includes(ahead->session, worker->index, path, text, length, &known, &err);
    if (status == KG_ERR_UNSUPPORTED && text) /* nothing can be read ahead by this policy */
        ahead->at = ahead->count;
    const bool fits = ahead->tokens + known.tokens <= worker->facts.trained_length;
    if (status == KG_OK && !secret && fits && known.known < known.tokens)
        status = kg_read_ahead_with_includes(ahead->session, worker->index, path, text, length, NULL, &err);
    free(text);
    if (status == KG_ERR_CANCELLED)
        return;
    ahead->tokens += fits ? known.tokens : 0;
    ahead->at += ahead->at < ahead->count;
}

/* Whether there is anything left to read, as much of it as the model's context holds. */
static bool goes_on(struct kg_worker *worker)
{
    struct kg_ahead *ahead = worker->ahead;
    if (!ahead->listed && !list_files(worker))
        return false;
    return ahead->at < ahead->count && ahead->tokens + ahead->tokens / 64 < worker->facts.trained_length;
}

static double idle_seconds(const struct kg_worker *worker)
{
    return kg_worker_seconds() - (double)atomic_load(&worker->touched_ms) / 1000;
}

/* Whoever sends a task or presses a key from now on ends it; who did so just before is seen here. */
static bool begin(struct kg_worker *worker)
{
    struct pollfd tasks = { .fd = kg_channel_fd(worker->tasks), .events = POLLIN };
    pthread_mutex_lock(&worker->lock);
    bool begins = !atomic_load(&worker->quitting) && poll(&tasks, 1, 0) == 0 && idle_seconds(worker) >= IDLE_S;
    atomic_store(&worker->stopping, !begins);
    atomic_store(&worker->ahead_running, begins);
    if (begins)
        kg_engine_go(worker->engine);
    pthread_mutex_unlock(&worker->lock);
    worker->ahead->batch_at = kg_worker_seconds();
    worker->ahead->batch_cpu = cpu_seconds();
    return begins;
}

static void end(struct kg_worker *worker)
{
    pthread_mutex_lock(&worker->lock);
    atomic_store(&worker->ahead_running, false);
    pthread_mutex_unlock(&worker->lock);
}

static bool is_again_due(const struct kg_worker *worker)
{
    return worker->options->again && !worker->ahead->again;
}

static bool is_ahead_due(const struct kg_worker *worker)
{
    return worker->options->repository && !(worker->ahead->listed && worker->ahead->at == worker->ahead->count);
}

/* How long until files in context may be read again. */
static double wait_for_again(const struct kg_worker *worker)
{
    const double idle = idle_seconds(worker), free = kg_worker_seconds() - worker->ahead->free_at;
    return AGAIN_IDLE_S - (idle < free ? idle : free);
}

static bool spares_battery(struct kg_worker *worker)
{
    return kg_worker_ahead(worker) == KG_AHEAD_ON_MAINS && is_on_battery(worker->ahead);
}

/* How long until reading may begin; negative: not before something happens. */
static double wait_for(struct kg_worker *worker)
{
    if (kg_worker_ahead(worker) == KG_AHEAD_NEVER || !worker->engine || !worker->session || !worker->facts.caches)
        return -1;
    if (!is_again_due(worker) && !is_ahead_due(worker))
        return -1;
    if (spares_battery(worker))
        return BATTERY_S;
    const double wait = is_ahead_due(worker) ? IDLE_S - idle_seconds(worker) : wait_for_again(worker);
    return wait > 0 ? wait : 0;
}

/* One file; a failure is not worth a message: nothing is asked, and what stands there serves. */
static void read_again(struct kg_worker *worker)
{
    struct kg_ahead *ahead = worker->ahead;
    struct kg_error err;
    const enum kg_status status = kg_session_read_again(worker->session, &ahead->again_next, NULL, &err);
    if (status == KG_ERR_CANCELLED || (status == KG_OK && ahead->again_next))
        kg_worker_tell_files(worker);
    ahead->again = status != KG_ERR_CANCELLED && (status != KG_OK || !ahead->again_next);
}

static void read_ahead(struct kg_worker *worker)
{
    struct kg_ahead *ahead = worker->ahead;
    if (!begin(worker))
        return;
    const bool again = worker->reading_again = is_again_due(worker) && wait_for_again(worker) <= 0;
    if (again)
        read_again(worker);
    else if (!goes_on(worker))
        ahead->at = ahead->count;
    else
        read_file(worker, ahead->paths[ahead->at]);
    end(worker);
    if (again || ahead->at == ahead->count || atomic_load(&worker->stopping))
        kg_tell_doing(worker->events, KG_DOING_NOTHING, "", 0, 0);
}

struct kg_message *kg_worker_next(struct kg_worker *worker)
{
    struct kg_message *message;
    worker->ahead->free_at = kg_worker_seconds();
    while (!(message = kg_channel_receive(worker->tasks))) {
        double wait = wait_for(worker);
        if (wait == 0)
            read_ahead(worker);
        else
            poll(&(struct pollfd){ .fd = kg_channel_fd(worker->tasks), .events = POLLIN }, 1, wait < 0 ? -1 : (int)(wait * 1000) + 1);
    }
    forget_files(worker->ahead); /* what is done now may change what is likely, and what is there */
    return message;
}

/* Between two batches. */
void kg_worker_make_room(struct kg_worker *worker)
{
    struct kg_ahead *ahead = worker->ahead;
    double now = kg_worker_seconds(), cpu = cpu_seconds(), took = now - ahead->batch_at;
    if (took > 0 && (cpu - ahead->batch_cpu) / took < OTHERS_SHARE)
        for (double until = now + (took < 2 ? took : 2); kg_worker_seconds() < until && !atomic_load(&worker->stopping);)
            nanosleep(&(struct timespec){ .tv_nsec = 10 * 1000 * 1000 }, NULL);
    ahead->batch_at = kg_worker_seconds();
    ahead->batch_cpu = cpu_seconds();
    if (spares_battery(worker))
        kg_worker_end_ahead(worker);
}

bool kg_worker_begin_ahead(struct kg_worker *worker)
{
    worker->ahead = calloc(1, sizeof *worker->ahead);
    atomic_store(&worker->ahead_when, (int)worker->options->ahead);
    atomic_store(&worker->touched_ms, (uint64_t)(kg_worker_seconds() * 1000));
    return worker->ahead != NULL;
}

void kg_worker_close_ahead(struct kg_worker *worker)
{
    if (!worker->ahead)
        return;
    forget_files(worker->ahead);
    kg_session_close(worker->ahead->session);
    free(worker->ahead->paths);
    free(worker->ahead);
    worker->ahead = NULL;
}
