/* The open kv.db, as the parts of the store see it: connection, statements, blocks in use, notices. What takes a store
 * and returns a status is called with `file` held. */
#ifndef KG_ENGINE_KV_FILE_H
#define KG_ENGINE_KV_FILE_H

#include <pthread.h>
#include <sqlite3.h>
#include <stdbool.h>

#include "base/paths.h"
#include "engine/cache/db.h"
#include "engine/cache/kv_row.h"
#include "engine/cache/kv_store.h"

/* name, text */
#define KG_KV_SQL(X)                                                                                                              \
    X(FIND, "SELECT id, ready, ids_digest, title FROM block WHERE key = ?1")                                                      \
    X(NEW, "INSERT INTO block(key, model, kind, title, tokens, ready, parts, ids_digest, bytes, created, used, worth, text)"            \
           " VALUES(?1, ?2, ?3, ?4, 0, 0, ?5, x'', 0, ?6, ?6, 1.0, ?7)")                                                          \
    X(GROW, "UPDATE block SET tokens = ?2, ready = ?3, ids_digest = ?4, bytes = ?5, parts = ?6 WHERE id = ?1")                    \
    X(SHRINK, "UPDATE block SET bytes = bytes * ?2 / max(ready, 1), ready = ?2, ids_digest = x'' WHERE id = ?1")                  \
    X(FORGET, "DELETE FROM block WHERE id = ?1")                                                                                  \
    X(HIT, "UPDATE block SET worth = worth * kg_decay(?2 - used) + ?3, used = ?2 WHERE id = ?1")                                  \
    X(ROWS, "SELECT id, tokens, sum, ids, kv FROM page WHERE id BETWEEN ?1 AND ?2 ORDER BY id")                                   \
    X(IDS, "SELECT tokens, ids FROM page WHERE id = ?1")                                                                          \
    X(LAST_ROW, "SELECT max(id) FROM page WHERE id BETWEEN ?1 AND ?2")                                                            \
    X(PUT_ROW, "INSERT OR REPLACE INTO page(id, tokens, sum, ids, kv) VALUES(?1, ?2, ?3, ?4, ?5)")                                \
    X(DROP_ROWS, "DELETE FROM page WHERE id BETWEEN ?1 AND ?2")                                                                   \
    X(BLOCKS, "SELECT id, bytes FROM block ORDER BY kind <> '" KG_KV_AGAIN "', worth * kg_decay(?1 - used) * ready / max(bytes, 1), used, id") \
    X(LIST, "SELECT id, key, model, kind, title, tokens, ready, bytes, created, used, parts, text FROM block ORDER BY id")        \
    X(DROP_ORPHANS, "DELETE FROM page WHERE id >> 32 NOT IN (SELECT id FROM block)")                                              \
    X(PAGES, "PRAGMA page_count")                                                                                                 \
    X(FREE_PAGES, "PRAGMA freelist_count")                                                                                        \
    X(MODEL, "SELECT digest, sum FROM model_file WHERE device = ?1 AND inode = ?2 AND size = ?3 AND mtime = ?4 AND ctime = ?5")   \
    X(PUT_MODEL, "INSERT OR REPLACE INTO model_file(device, inode, size, mtime, ctime, digest, sum)"                              \
                 " VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7)")                                                                           \
    X(DROP_MODELS, "DELETE FROM model_file WHERE id NOT IN (SELECT id FROM model_file ORDER BY id DESC LIMIT 64)")

enum kg_kv_sql {
#define KG_KV_SQL_ENUM(name, text) KG_KV_##name,
    KG_KV_SQL(KG_KV_SQL_ENUM)
#undef KG_KV_SQL_ENUM
        KG_KV_SQL_COUNT
};

/* A block that this process loaded, saved or may want back. */
struct kg_kv_use {
    struct kg_digest key;
    int64_t id;    /* 0: not in the file yet */
    uint32_t hits; /* not yet written */
    bool leased;   /* a session uses it */
    /* The first so many tokens are in the file or on their way there, if they are these. */
    uint32_t handed;
    struct kg_digest handed_ids;
};

enum kg_kv_notice { KG_KV_ASIDE, KG_KV_DAMAGED, KG_KV_DISK_FULL, KG_KV_BUSY, KG_KV_BUDGET, KG_KV_FAILED, KG_KV_NOTICES };

#define KG_KV_PATH (KG_PATH_MAX + 33)

/* Two locks. `file` is held by whoever uses the connection: a caller, or the writer for one transaction; `state` by
 * whoever looks at what stands behind it below, for moments, and is never held while waiting for `file`. */
struct kg_kv_store {
    char directory[KG_PATH_MAX], path[KG_KV_PATH];
    uint64_t budget;
    int lock; /* kv.lock */

    pthread_mutex_t file;
    sqlite3 *db; /* NULL: the file became unusable; everything is a miss and nothing is saved */
    uint64_t db_page;
    sqlite3_stmt *statements[KG_KV_SQL_COUNT];
    uint8_t *page; /* host memory for one page */
    size_t page_room;

    pthread_mutex_t state;
    pthread_cond_t changed;
    struct kg_kv_use *uses;
    size_t use_count, use_room;
    struct kg_error notices[KG_KV_NOTICES];
    bool pending[KG_KV_NOTICES], seen[KG_KV_NOTICES];
    char shown[KG_ERROR_TEXT];
    int64_t paused_until; /* of CLOCK_MONOTONIC, in seconds; nothing is written before ... */
    bool paused_for_room; /* ... or before a block is released */
    struct kg_kv_job *jobs, **last_job, *writing; /* waiting, and in the writer's hands */
    size_t queued_bytes;
    unsigned callers; /* waiting for `file`: the writer lets them pass */
    unsigned drains;  /* callers that wait until something is written */
    bool started, ending;
    pthread_t writer;
    struct kg_kv_delivery *deliveries; /* blocks that are being filled, in order, until they are settled */
    bool streaming, stream_ending;
    pthread_t streamer;
};

/* Opens or replaces kv.db; inside the gate of kv.lock. */
enum kg_status kg_kv_file_open(struct kg_kv_store *store, struct kg_error *err);
void kg_kv_file_close(struct kg_kv_store *store);
/* After KG_ERR_CORRUPT: sets the file aside and makes a new one if no other process uses it, else does without. */
void kg_kv_file_damaged(struct kg_kv_store *store);
/* A file of the store's directory: leaf and suffix, at most 32 bytes together. */
void kg_kv_file_path(const struct kg_kv_store *store, const char *leaf, const char *suffix, char out[KG_KV_PATH]);

/* A statement with nothing bound, ready to step; NULL when it cannot be prepared (ask kg_db_fail). */
sqlite3_stmt *kg_kv_statement(struct kg_kv_store *store, enum kg_kv_sql which);
/* The same for a connection of the caller's, who finalizes it. */
sqlite3_stmt *kg_kv_prepare(sqlite3 *db, enum kg_kv_sql which);
/* Steps a statement that returns no row, and resets it. */
enum kg_status kg_kv_run(struct kg_kv_store *store, sqlite3_stmt *statement, struct kg_error *err);
enum kg_status kg_kv_count(struct kg_kv_store *store, enum kg_kv_sql which, uint64_t *out, struct kg_error *err);
enum kg_status kg_kv_begin(struct kg_kv_store *store, struct kg_error *err); /* BEGIN IMMEDIATE */
enum kg_status kg_kv_commit(struct kg_kv_store *store, struct kg_error *err);

/* Numbers that a row's number has room for. */
static inline bool kg_kv_id_is_sane(int64_t id)
{
    return id > 0 && id < INT32_MAX;
}

struct kg_kv_found {
    int64_t id; /* 0: not there */
    uint32_t ready;
    bool ids_known;
    struct kg_digest ids_digest; /* of the first `ready` ids, if known */
    char title[128];
};
/* How many of those stand from this page on. */
static inline uint32_t kg_kv_ready_from(const struct kg_kv_found *found, uint32_t page)
{
    return found->ready / KG_PAGE < page ? 0 : found->ready - page * KG_PAGE;
}
enum kg_status kg_kv_find(struct kg_kv_store *store, const struct kg_digest *key, struct kg_kv_found *out, struct kg_error *err);

/* `file` held for as long as a caller of the store works. */
void kg_kv_enter(struct kg_kv_store *store);
void kg_kv_leave(struct kg_kv_store *store);

/* Notes that a session of this process uses a block, and leases it once it has a number. id 0: not in the file yet. */
enum kg_status kg_kv_use(struct kg_kv_store *store, const struct kg_digest *key, int64_t id, bool hit, struct kg_error *err);
/* Which tokens of it need not be handed to the writer again. */
void kg_kv_set_handed(struct kg_kv_store *store, const struct kg_digest *key, uint32_t tokens, const struct kg_digest *ids);
uint32_t kg_kv_handed(struct kg_kv_store *store, const struct kg_block *block);
/* The writer stored it under this number; keeps the lease if a session still uses it. */
void kg_kv_stored(struct kg_kv_store *store, const struct kg_digest *key, int64_t id);
bool kg_kv_in_use(struct kg_kv_store *store, int64_t id);
void kg_kv_forget_uses(struct kg_kv_store *store);
/* Writes the hits inside a transaction; written when it is committed. */
enum kg_status kg_kv_write_hits(struct kg_kv_store *store, struct kg_error *err);
void kg_kv_hits_written(struct kg_kv_store *store);

/* Removes a block in transactions of at most 16 MiB; gone already is fine. overwrite: zeroes what it held. */
enum kg_status kg_kv_remove_block(struct kg_kv_store *store, int64_t id, bool overwrite, struct kg_error *err);
/* Evicts until `bytes` more fit into the budget; *room = false when what is left is in use. */
enum kg_status kg_kv_make_room(struct kg_kv_store *store, uint64_t bytes, bool *room, struct kg_error *err);
/* Returns all but `kept` free bytes of the file to the file system, in small steps. */
enum kg_status kg_kv_give_back(struct kg_kv_store *store, uint64_t kept, struct kg_error *err);

/* Starts a thread that no signal interrupts. */
bool kg_kv_thread(pthread_t *out, void *(*run)(void *store), struct kg_kv_store *store);

/* Room for one page of this layout. */
enum kg_status kg_kv_page_buffer(struct kg_kv_store *store, const struct kg_kv_layout *layout, struct kg_error *err);

/* Whether anything may be saved now. */
bool kg_kv_accepts(struct kg_kv_store *store);
void kg_kv_pause(struct kg_kv_store *store, bool for_room);
/* What the person should see, once per kind. */
void kg_kv_note(struct kg_kv_store *store, enum kg_kv_notice kind, const char *format, ...) __attribute__((format(printf, 3, 4)));
/* Turns the failure of a cache into a notice: only KG_ERR_NOMEM is left as a failure. `file` is held. */
enum kg_status kg_kv_excuse(struct kg_kv_store *store, enum kg_status status, const struct kg_error *why, struct kg_error *err);

uint64_t kg_kv_now(void);       /* seconds since 1970 */
int64_t kg_kv_monotonic(void);  /* seconds */

#endif
