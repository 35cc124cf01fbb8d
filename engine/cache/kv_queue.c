#include <errno.h>
#include <string.h>
#include <time.h>

#include "engine/cache/kv_job.h"

/* Host memory that may wait for the disk. */
#define QUEUE_MAX ((size_t)32 << 20)

/* Seconds that jobs which fill no transaction wait for others: every transaction writes some pages that hold nothing new, several
 * times what a short turn holds, and what is lost with the process costs only time. */
#define COMPANY_S 10

#define TRANSACTION_MAX ((size_t)14 << 20)

size_t kg_kv_job_max(const struct kg_kv_store *store)
{
    return store->budget / 8 < TRANSACTION_MAX ? (size_t)(store->budget / 8) : TRANSACTION_MAX;
}

void kg_kv_job_free(struct kg_kv_job *job)
{
    if (!job)
        return;
    sqlite3_free(job->ids);
    sqlite3_free(job->payload);
    sqlite3_free(job);
}

void kg_kv_enter(struct kg_kv_store *store)
{
    pthread_mutex_lock(&store->state);
    store->callers++;
    pthread_mutex_unlock(&store->state);
    pthread_mutex_lock(&store->file);
    pthread_mutex_lock(&store->state);
    store->callers--;
    pthread_cond_broadcast(&store->changed);
    pthread_mutex_unlock(&store->state);
}

void kg_kv_leave(struct kg_kv_store *store)
{
    pthread_mutex_unlock(&store->file);
}

/* With `state` held: takes jobs for one transaction off the queue. */
static struct kg_kv_job *take_jobs(struct kg_kv_store *store)
{
    struct kg_kv_job *first = store->jobs, **end = &store->jobs;
    for (size_t bytes = 0; *end && (bytes == 0 || bytes + (*end)->bytes <= kg_kv_job_max(store)); end = &(*end)->next)
        bytes += (*end)->bytes;
    if (end == &store->jobs)
        return NULL;
    store->jobs = *end;
    *end = NULL;
    if (!store->jobs)
        store->last_job = &store->jobs;
    return first;
}

/* Another process that writes has its turn between two tries; a caller of this one as well. */
static void write_with_patience(struct kg_kv_store *store, struct kg_kv_job *jobs)
{
    enum kg_status status = KG_ERR_BUSY;
    for (int tries = 0; tries < 3 && status == KG_ERR_BUSY; tries++) {
        pthread_mutex_lock(&store->file);
        status = kg_kv_write_jobs(store, jobs);
        pthread_mutex_unlock(&store->file);
    }
    if (status == KG_ERR_BUSY) {
        struct kg_error why = { .text = "" };
        kg_kv_give_up_jobs(store, jobs);
        pthread_mutex_lock(&store->file);
        kg_kv_excuse(store, status, &why, NULL);
        pthread_mutex_unlock(&store->file);
    }
}

static void finish(struct kg_kv_store *store, struct kg_kv_job *jobs)
{
    pthread_mutex_lock(&store->state);
    store->writing = NULL;
    for (struct kg_kv_job *next; jobs; jobs = next) {
        next = jobs->next;
        store->queued_bytes -= jobs->bytes;
        kg_kv_job_free(jobs);
    }
    pthread_cond_broadcast(&store->changed);
    pthread_mutex_unlock(&store->state);
}

/* With `state` held: until there is something to write that has waited long enough, or the end. */
static void wait_for_jobs(struct kg_kv_store *store)
{
    struct timespec until = { 0 };
    bool late = false;
    for (;;) {
        const bool now = store->ending || store->drains || late || store->queued_bytes >= kg_kv_job_max(store);
        if (store->callers || (!store->jobs && !store->ending)) {
            pthread_cond_wait(&store->changed, &store->state);
            continue;
        }
        if (now)
            return;
        if (until.tv_sec == 0) {
            clock_gettime(CLOCK_REALTIME, &until);
            until.tv_sec += COMPANY_S;
        }
        late = pthread_cond_timedwait(&store->changed, &store->state, &until) == ETIMEDOUT;
    }
}

static void *write_until_the_end(void *ctx)
{
    struct kg_kv_store *store = ctx;
    struct kg_kv_job *jobs;
    do {
        pthread_mutex_lock(&store->state);
        wait_for_jobs(store);
        jobs = store->writing = take_jobs(store);
        pthread_mutex_unlock(&store->state);
        if (jobs) {
            write_with_patience(store, jobs);
            finish(store, jobs);
        }
    } while (jobs);
    return NULL;
}

static bool is_full(const struct kg_kv_store *store, const struct kg_kv_job *job)
{
    return store->queued_bytes && store->queued_bytes + job->bytes > QUEUE_MAX;
}

/* With `state` held. What is queued may be too little for the writer to begin by itself. */
static void wait_for_room(struct kg_kv_store *store, const struct kg_kv_job *job)
{
    store->drains++;
    pthread_cond_broadcast(&store->changed);
    while (is_full(store, job))
        pthread_cond_wait(&store->changed, &store->state);
    store->drains--;
}

void kg_kv_push(struct kg_kv_store *store, struct kg_kv_job *job)
{
    job->next = NULL;
    pthread_mutex_lock(&store->state);
    if (!store->started)
        store->started = kg_kv_thread(&store->writer, write_until_the_end, store);
    bool threaded = store->started;
    if (threaded && is_full(store, job))
        wait_for_room(store, job);
    store->queued_bytes += job->bytes;
    if (threaded) {
        *store->last_job = job;
        store->last_job = &job->next;
        pthread_cond_broadcast(&store->changed);
    }
    pthread_mutex_unlock(&store->state);
    if (!threaded) {
        write_with_patience(store, job);
        finish(store, job);
    }
}

static bool holds(const struct kg_kv_job *jobs, const struct kg_digest *key)
{
    for (; jobs; jobs = jobs->next)
        if (!key || memcmp(jobs->key.bytes, key->bytes, sizeof key->bytes) == 0)
            return true;
    return false;
}

void kg_kv_drain(struct kg_kv_store *store, const struct kg_digest *key)
{
    pthread_mutex_lock(&store->state);
    store->drains++;
    pthread_cond_broadcast(&store->changed);
    while (holds(store->jobs, key) || holds(store->writing, key))
        pthread_cond_wait(&store->changed, &store->state);
    store->drains--;
    pthread_mutex_unlock(&store->state);
}

void kg_kv_writer_end(struct kg_kv_store *store)
{
    pthread_mutex_lock(&store->state);
    bool started = store->started;
    store->ending = true;
    pthread_cond_broadcast(&store->changed);
    pthread_mutex_unlock(&store->state);
    if (started)
        pthread_join(store->writer, NULL);
}
