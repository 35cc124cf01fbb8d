#include "engine/cache/kv_stream.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "engine/cache/kv_job.h"
#include "engine/cache/kv_page.h"

/* A block that has to wait for so long is read anew instead. */
enum { WAIT_MS = 10000 };

enum stage { WAITING, COMING, COME };

struct kg_kv_delivery {
    struct kg_kv_delivery *next;
    const struct kg_block *block; /* whose it is; the thread does not touch it */
    struct kg_digest key;
    struct kg_kv_layout layout;
    struct kg_pool *pool;
    int64_t id;
    uint32_t stored, wanted, come; /* tokens */
    uint32_t from; /* page */
    int32_t *ids;
    uint32_t *pages;
    enum stage stage;
    atomic_bool unwanted;
};

/* The thread's own. */
struct reader {
    sqlite3 *db;
    sqlite3_stmt *rows;
    uint8_t *page;
    size_t room;
};

static void close_reader(struct reader *reader)
{
    sqlite3_finalize(reader->rows);
    sqlite3_close(reader->db);
    reader->rows = NULL;
    reader->db = NULL;
}

static bool open_reader(struct reader *reader, const struct kg_kv_store *store, const struct kg_kv_layout *layout)
{
    struct kg_error err;
    if (reader->room < layout->page_bytes) {
        free(reader->page);
        reader->page = malloc(layout->page_bytes);
        reader->room = reader->page ? layout->page_bytes : 0;
    }
    if (!reader->db && kg_db_connect(store->path, WAIT_MS, &reader->db, &err) == KG_OK)
        reader->rows = kg_kv_prepare(reader->db, KG_KV_ROWS);
    if (reader->page && reader->rows)
        return true;
    close_reader(reader);
    return false;
}

/* Page after page, each in a transaction of its own, so that no writer waits for long. Whatever goes wrong ends it: the one who
 * settles sees what. */
static void deliver(struct reader *reader, struct kg_kv_delivery *d)
{
    struct kg_error err;
    struct kg_kv_pages pages = { .db = reader->db, .rows = reader->rows, .layout = &d->layout, .key = &d->key, .ids = d->ids, .count = d->wanted,
                                 .id = d->id, .stored = d->stored, .from = d->from, .page = reader->page };
    uint32_t common = KG_PAGE, indexed = 0;
    for (uint32_t page = 0; common == KG_PAGE && page * KG_PAGE < d->wanted && !atomic_load(&d->unwanted); page++) {
        if (kg_kv_page_get(&pages, page, &common, &indexed, &err) != KG_OK || common == 0)
            break;
        kg_pool_fill(d->pool, d->pages[page], pages.page, kg_kv_page_index(&pages), indexed);
        d->come = page * KG_PAGE + common;
    }
}

/* With `state` held. */
static struct kg_kv_delivery *next_waiting(const struct kg_kv_store *store)
{
    struct kg_kv_delivery *d = store->deliveries;
    while (d && d->stage != WAITING)
        d = d->next;
    return d;
}

static void *deliver_until_the_end(void *ctx)
{
    struct kg_kv_store *store = ctx;
    struct reader reader = { 0 };
    pthread_mutex_lock(&store->state);
    while (!store->stream_ending) {
        struct kg_kv_delivery *d = next_waiting(store);
        if (!d) {
            pthread_cond_wait(&store->changed, &store->state);
            continue;
        }
        d->stage = COMING;
        pthread_mutex_unlock(&store->state);
        if (open_reader(&reader, store, &d->layout))
            deliver(&reader, d);
        pthread_mutex_lock(&store->state);
        if (!next_waiting(store)) /* nobody knows what happens to the file until the next one */
            close_reader(&reader);
        d->stage = COME;
        pthread_cond_broadcast(&store->changed);
    }
    pthread_mutex_unlock(&store->state);
    close_reader(&reader);
    free(reader.page);
    return NULL;
}

static void free_delivery(struct kg_kv_delivery *d)
{
    free(d->ids);
    free(d->pages);
    free(d);
}

/* Takes it out of the list, once nobody works on it. */
static struct kg_kv_delivery *take_delivery(struct kg_kv_store *store, const struct kg_block *block, bool wanted)
{
    pthread_mutex_lock(&store->state);
    struct kg_kv_delivery **at = &store->deliveries;
    while ((*at)->block != block)
        at = &(*at)->next;
    struct kg_kv_delivery *d = *at;
    if (!wanted)
        atomic_store(&d->unwanted, true);
    while (d->stage == COMING || (d->stage == WAITING && wanted && !store->stream_ending))
        pthread_cond_wait(&store->changed, &store->state);
    for (at = &store->deliveries; *at != d;)
        at = &(*at)->next;
    *at = d->next;
    pthread_mutex_unlock(&store->state);
    return d;
}

static uint32_t settle(void *ctx, struct kg_block *block, bool wanted)
{
    struct kg_kv_store *store = ctx;
    struct kg_kv_delivery *d = take_delivery(store, block, wanted);
    struct kg_error err;
    uint32_t ready = d->come;
    kg_block_set_ready(block, ready);
    if (wanted && !kg_block_is_part(block)) {
        struct kg_digest ids = kg_digest_of(d->ids, ready * sizeof *d->ids);
        kg_kv_set_handed(store, &d->key, ready, &ids);
    }
    if (wanted && ready < d->wanted) /* which finds out why, and takes what there is now */
        kg_kv_store_load(store, block, &ready, &err);
    free_delivery(d);
    return kg_block_ready(block);
}

static struct kg_kv_delivery *new_delivery(struct kg_block *block, const struct kg_kv_found *found, uint32_t wanted)
{
    struct kg_kv_delivery *d = calloc(1, sizeof *d);
    const size_t pages = (wanted + KG_PAGE - 1) / KG_PAGE;
    if (!d)
        return NULL;
    *d = (struct kg_kv_delivery){ .block = block, .key = *kg_block_key(block), .layout = kg_kv_layout_of(kg_pool_shape(kg_block_pool(block))),
                                  .pool = kg_block_pool(block), .id = found->id, .stored = found->ready, .wanted = wanted, .from = kg_block_part_page(block) };
    d->ids = malloc(wanted * sizeof *d->ids);
    d->pages = malloc(pages * sizeof *d->pages);
    if (!d->ids || !d->pages) {
        free_delivery(d);
        return NULL;
    }
    memcpy(d->ids, kg_block_ids(block), wanted * sizeof *d->ids);
    memcpy(d->pages, kg_block_pages(block), pages * sizeof *d->pages);
    return d;
}

static void push(struct kg_kv_store *store, struct kg_kv_delivery *d)
{
    pthread_mutex_lock(&store->state);
    struct kg_kv_delivery **end = &store->deliveries;
    while (*end)
        end = &(*end)->next;
    *end = d;
    pthread_cond_broadcast(&store->changed);
    pthread_mutex_unlock(&store->state);
}

/* How many of the tokens the file seems to have, of which it is told in `found`. Of a part the ids of the others are not here. */
static enum kg_status look_up(struct kg_kv_store *store, const struct kg_digest *key, const int32_t *tokens, uint32_t count, bool part, uint32_t page,
                              struct kg_kv_found *found, uint32_t *known, struct kg_error *err)
{
    enum kg_status status = kg_kv_find(store, key, found, err);
    const uint32_t there = status == KG_OK && found->id ? kg_kv_ready_from(found, page) : 0;
    *known = there < count ? there : count;
    if (*known && !part && found->ids_known && found->ready <= count) {
        struct kg_digest ids = kg_digest_of(tokens, found->ready * sizeof *tokens);
        if (memcmp(&ids, &found->ids_digest, sizeof ids) != 0)
            *known = 0;
    }
    return status;
}

enum kg_status kg_kv_store_known(struct kg_kv_store *store, const struct kg_digest *key, const int32_t *ids, uint32_t count, uint32_t *known,
                                 struct kg_error *err)
{
    struct kg_kv_found found;
    struct kg_error why = { .text = "" };
    *known = 0;
    kg_kv_drain(store, key);
    kg_kv_enter(store);
    enum kg_status status = store->db ? look_up(store, key, ids, count, false, 0, &found, known, &why) : KG_OK;
    status = kg_kv_excuse(store, status, &why, err);
    kg_kv_leave(store);
    return status;
}

static bool starts(struct kg_kv_store *store)
{
    pthread_mutex_lock(&store->state);
    if (!store->streaming)
        store->streaming = kg_kv_thread(&store->streamer, deliver_until_the_end, store);
    bool streaming = store->streaming;
    pthread_mutex_unlock(&store->state);
    return streaming;
}

enum kg_status kg_kv_store_offer(struct kg_kv_store *store, struct kg_block *block, uint32_t *known, struct kg_error *err)
{
    struct kg_kv_found found = { .id = 0 };
    struct kg_error why = { .text = "" };
    bool whole = kg_block_kept_ids(block) == kg_block_ids(block);
    if (!whole || kg_block_known(block) || !kg_block_tokens(block) || !starts(store))
        return kg_kv_store_load(store, block, known, err);
    kg_kv_drain(store, kg_block_key(block));
    kg_kv_enter(store);
    *known = 0;
    enum kg_status status = store->db ? look_up(store, kg_block_key(block), kg_block_ids(block), kg_block_tokens(block), kg_block_is_part(block),
                                                kg_block_part_page(block), &found, known, &why)
                                      : KG_OK;
    if (status == KG_OK && *known)
        status = kg_kv_use(store, kg_block_key(block), found.id, true, &why);
    status = kg_kv_excuse(store, status, &why, err);
    kg_kv_leave(store);
    if (found.id && *known == 0) /* not quite what it should be, or in part */
        return kg_kv_store_load(store, block, known, err);
    if (status != KG_OK || *known == 0)
        return status;
    status = kg_block_reserve(block, *known, err);
    struct kg_kv_delivery *d = status == KG_OK ? new_delivery(block, &found, *known) : NULL;
    if (!d)
        return status == KG_OK ? kg_fail_nomem(err, "reading the cache") : status;
    push(store, d);
    kg_block_promise(block, *known, &(struct kg_block_source){ .settle = settle, .ctx = store });
    return KG_OK;
}

void kg_kv_stream_rest(struct kg_kv_store *store)
{
    pthread_mutex_lock(&store->state);
    for (const struct kg_kv_delivery *d = store->deliveries; d;) {
        if (d->stage == COME) {
            d = d->next;
            continue;
        }
        pthread_cond_wait(&store->changed, &store->state);
        d = store->deliveries;
    }
    pthread_mutex_unlock(&store->state);
}

void kg_kv_stream_end(struct kg_kv_store *store)
{
    pthread_mutex_lock(&store->state);
    bool streaming = store->streaming;
    store->stream_ending = true;
    for (struct kg_kv_delivery *d = store->deliveries; d; d = d->next)
        atomic_store(&d->unwanted, true);
    pthread_cond_broadcast(&store->changed);
    pthread_mutex_unlock(&store->state);
    if (streaming)
        pthread_join(store->streamer, NULL);
}
