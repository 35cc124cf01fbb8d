/* Which blocks this process uses, and how often: leases that other processes respect, and hits that make worth. */
#include <string.h>

#include "engine/cache/kv_file.h"
#include "engine/cache/kv_lock.h"

static struct kg_kv_use *find_use(const struct kg_kv_store *store, int64_t id)
{
    for (size_t i = store->use_count; i > 0; i--)
        if (store->uses[i - 1].id == id)
            return &store->uses[i - 1];
    return NULL;
}

enum kg_status kg_kv_use(struct kg_kv_store *store, int64_t id, const struct kg_digest *key, bool hit, struct kg_error *err)
{
    struct kg_kv_use *use = find_use(store, id);
    if (!use) {
        if (store->use_count == store->use_room) {
            size_t room = store->use_room * 2 + 64;
            struct kg_kv_use *uses = sqlite3_realloc64(store->uses, room * sizeof *uses);
            if (!uses)
                return kg_fail_nomem(err, "using the cache");
            store->uses = uses;
            store->use_room = room;
        }
        use = &store->uses[store->use_count++];
        *use = (struct kg_kv_use){ .id = id, .key = *key };
    }
    if (!use->leased)
        kg_kv_lock_use(store->lock, id);
    use->leased = true;
    use->hits += hit;
    return KG_OK;
}

bool kg_kv_in_use(const struct kg_kv_store *store, int64_t id)
{
    const struct kg_kv_use *use = find_use(store, id);
    return (use && use->leased) || kg_kv_lock_used_elsewhere(store->lock, id);
}

enum kg_status kg_kv_write_hits(struct kg_kv_store *store, struct kg_error *err)
{
    enum kg_status status = KG_OK;
    for (size_t i = 0; i < store->use_count && status == KG_OK; i++) {
        if (store->uses[i].hits == 0)
            continue;
        sqlite3_stmt *hit = kg_kv_statement(store, KG_KV_HIT);
        if (hit) {
            sqlite3_bind_int64(hit, 1, store->uses[i].id);
            sqlite3_bind_int64(hit, 2, (sqlite3_int64)kg_kv_now());
            sqlite3_bind_int64(hit, 3, store->uses[i].hits);
        }
        status = kg_kv_run(store, hit, err);
    }
    return status;
}

void kg_kv_hits_written(struct kg_kv_store *store)
{
    size_t kept = 0;
    for (size_t i = 0; i < store->use_count; i++) {
        store->uses[i].hits = 0;
        if (store->uses[i].leased)
            store->uses[kept++] = store->uses[i];
    }
    store->use_count = kept;
}

void kg_kv_store_release(struct kg_kv_store *store, const struct kg_digest *key)
{
    for (size_t i = 0; i < store->use_count; i++) {
        struct kg_kv_use *use = &store->uses[i];
        if (!use->leased || memcmp(use->key.bytes, key->bytes, sizeof key->bytes) != 0)
            continue;
        use->leased = false;
        kg_kv_lock_drop(store->lock, use->id);
    }
}
