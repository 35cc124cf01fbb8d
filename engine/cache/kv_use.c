/* Which blocks this process uses, and how often: leases that other processes respect, hits that make worth, and how far
 * each is stored. */
#include <string.h>

#include "engine/cache/kv_file.h"
#include "engine/cache/kv_lock.h"

static struct kg_kv_use *find_use(const struct kg_kv_store *store, const struct kg_digest *key)
{
    for (size_t i = store->use_count; i > 0; i--)
        if (memcmp(store->uses[i - 1].key.bytes, key->bytes, sizeof key->bytes) == 0)
            return &store->uses[i - 1];
    return NULL;
}

/* With `state` held; NULL when there is no memory for a new one. */
static struct kg_kv_use *use_of(struct kg_kv_store *store, const struct kg_digest *key)
{
    struct kg_kv_use *use = find_use(store, key);
    if (use)
        return use;
    if (store->use_count == store->use_room) {
        size_t room = store->use_room * 2 + 64;
        struct kg_kv_use *uses = sqlite3_realloc64(store->uses, room * sizeof *uses);
        if (!uses)
            return NULL;
        store->uses = uses;
        store->use_room = room;
    }
    use = &store->uses[store->use_count++];
    *use = (struct kg_kv_use){ .key = *key };
    return use;
}

/* A block that was removed and stored again has another number. */
static void set_id(struct kg_kv_store *store, struct kg_kv_use *use, int64_t id)
{
    if (use->leased && use->id && use->id != id)
        kg_kv_lock_drop(store->lock, use->id);
    if (use->leased && id && use->id != id)
        kg_kv_lock_use(store->lock, id);
    use->id = id;
}

enum kg_status kg_kv_use(struct kg_kv_store *store, const struct kg_digest *key, int64_t id, bool hit, struct kg_error *err)
{
    pthread_mutex_lock(&store->state);
    struct kg_kv_use *use = use_of(store, key);
    if (use) {
        if (!use->leased && use->id)
            kg_kv_lock_use(store->lock, use->id);
        use->leased = true;
        use->hits += hit;
        if (id)
            set_id(store, use, id);
    }
    pthread_mutex_unlock(&store->state);
    return use ? KG_OK : kg_fail_nomem(err, "using the cache");
}

void kg_kv_set_handed(struct kg_kv_store *store, const struct kg_digest *key, uint32_t tokens, const struct kg_digest *ids)
{
    pthread_mutex_lock(&store->state);
    struct kg_kv_use *use = find_use(store, key);
    if (use) {
        use->handed = tokens;
        if (tokens)
            use->handed_ids = *ids;
    }
    pthread_mutex_unlock(&store->state);
}

uint32_t kg_kv_handed(struct kg_kv_store *store, const struct kg_block *block)
{
    uint32_t handed = 0;
    struct kg_digest ids;
    pthread_mutex_lock(&store->state);
    const struct kg_kv_use *use = find_use(store, kg_block_key(block));
    if (use && use->handed && use->handed <= kg_block_kept(block)) {
        handed = use->handed;
        ids = use->handed_ids;
    }
    pthread_mutex_unlock(&store->state);
    if (handed) {
        struct kg_digest own = kg_digest_of(kg_block_kept_ids(block), handed * sizeof(int32_t));
        handed = memcmp(&own, &ids, sizeof own) == 0 ? handed : 0;
    }
    return handed;
}

void kg_kv_stored(struct kg_kv_store *store, const struct kg_digest *key, int64_t id)
{
    pthread_mutex_lock(&store->state);
    struct kg_kv_use *use = find_use(store, key);
    if (use)
        set_id(store, use, id);
    pthread_mutex_unlock(&store->state);
}

bool kg_kv_in_use(struct kg_kv_store *store, int64_t id)
{
    bool own = false;
    pthread_mutex_lock(&store->state);
    for (size_t i = 0; i < store->use_count && !own; i++)
        own = store->uses[i].id == id && store->uses[i].leased;
    pthread_mutex_unlock(&store->state);
    return own || kg_kv_lock_used_elsewhere(store->lock, id);
}

void kg_kv_forget_uses(struct kg_kv_store *store)
{
    pthread_mutex_lock(&store->state);
    for (size_t i = 0; i < store->use_count; i++)
        if (store->uses[i].leased && store->uses[i].id)
            kg_kv_lock_drop(store->lock, store->uses[i].id);
    store->use_count = 0;
    pthread_mutex_unlock(&store->state);
}

/* The next block at or behind *at that was hit; false when there is none. */
static bool next_hit(struct kg_kv_store *store, size_t *at, struct kg_kv_use *out)
{
    bool found = false;
    pthread_mutex_lock(&store->state);
    for (; *at < store->use_count && !found; ++*at) {
        found = store->uses[*at].hits && store->uses[*at].id;
        if (found)
            *out = store->uses[*at];
    }
    pthread_mutex_unlock(&store->state);
    return found;
}

enum kg_status kg_kv_write_hits(struct kg_kv_store *store, struct kg_error *err)
{
    enum kg_status status = KG_OK;
    struct kg_kv_use use;
    for (size_t at = 0; status == KG_OK && next_hit(store, &at, &use);) {
        sqlite3_stmt *hit = kg_kv_statement(store, KG_KV_HIT);
        if (hit) {
            sqlite3_bind_int64(hit, 1, use.id);
            sqlite3_bind_int64(hit, 2, (sqlite3_int64)kg_kv_now());
            sqlite3_bind_int64(hit, 3, use.hits);
        }
        status = kg_kv_run(store, hit, err);
    }
    return status;
}

void kg_kv_hits_written(struct kg_kv_store *store)
{
    size_t kept = 0;
    pthread_mutex_lock(&store->state);
    for (size_t i = 0; i < store->use_count; i++) {
        store->uses[i].hits = 0;
        if (store->uses[i].leased)
            store->uses[kept++] = store->uses[i];
    }
    store->use_count = kept;
    pthread_mutex_unlock(&store->state);
}

enum kg_status kg_kv_store_use(struct kg_kv_store *store, const struct kg_digest *key, struct kg_error *err)
{
    struct kg_kv_found found = { .id = 0 };
    struct kg_error why = { .text = "" };
    kg_kv_enter(store);
    enum kg_status status = store->db ? kg_kv_find(store, key, &found, &why) : KG_OK;
    if (status == KG_OK)
        status = kg_kv_use(store, key, found.id, found.id != 0, &why);
    status = kg_kv_excuse(store, status, &why, err);
    kg_kv_leave(store);
    return status;
}

void kg_kv_store_release(struct kg_kv_store *store, const struct kg_digest *key)
{
    pthread_mutex_lock(&store->state);
    struct kg_kv_use *use = find_use(store, key);
    if (use && use->leased && use->id)
        kg_kv_lock_drop(store->lock, use->id);
    if (use)
        use->leased = false;
    if (store->paused_for_room)
        store->paused_until = 0;
    pthread_mutex_unlock(&store->state);
}
