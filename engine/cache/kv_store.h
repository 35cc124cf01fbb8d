/* kv.db: the keys and values of blocks, kept under the digest of everything that decided them (DESIGN.md section 5).
 *
 * A payload that does not match its checksum, its identity or its token ids is a miss; it is never imported. A block
 * that is stored in part (the process died while reading it) is a valid prefix: its first `ready` tokens are.
 * Several processes may use one file. Functions may be called from any thread, one at a time per store (kg_kv_store_save
 * on the thread that uses the device).
 */
#ifndef KG_ENGINE_KV_STORE_H
#define KG_ENGINE_KV_STORE_H

#include "engine/context/block.h"

struct kg_kv_store;

/* Opens or creates directory/kv.db. A file of an older or unknown format, or one that is no database, is set aside
 * (renamed kv.db.aside) with a notice, and a new one made; KG_ERR_BUSY when another process uses it. budget: bytes,
 * 0 = 8 GiB or a tenth of the free disk, the smaller. Whoever cannot open a store does without. */
enum kg_status kg_kv_store_open(const char *directory, uint64_t budget, struct kg_kv_store **out, struct kg_error *err);
void kg_kv_store_close(struct kg_kv_store *store);

/* SHA-256 of a model file, remembered by (device, inode, size, mtime, ctime). progress as in kg_digest_file. */
enum kg_status kg_kv_store_model_digest(struct kg_kv_store *store, const char *path, struct kg_digest *out,
                                        int (*progress)(void *ctx, uint64_t done), void *ctx, struct kg_error *err);

/* What else is said of a block, for people; but what is of the kind KG_KV_AGAIN serves one order of files alone, and is evicted first. */
#define KG_KV_AGAIN "again"
struct kg_kv_label {
    const char *model;      /* "SmolLM2-135M-Instruct" */
    const char *kind;       /* kg_block_kind_name, or KG_KV_AGAIN */
    const char *title;      /* a path, the start of a question, ... */
    const struct kg_digest *text; /* SHA-256 of the whole text that the block is of, or a part of; NULL: nobody asks */
};

/* A store never fails a question: when kv.db is busy, full, damaged or unreadable, load is a miss and save does nothing,
 * both KG_OK with a notice. They fail for want of memory, and save when the device does.
 *
 * Fills the block from the store as far as the stored prefix reaches and its token ids agree; *ready says how far it is
 * filled now (0: nothing known). */
enum kg_status kg_kv_store_load(struct kg_kv_store *store, struct kg_block *block, uint32_t *ready, struct kg_error *err);
/* The same, but at once: a thread of the store fills the block behind, and whatever needs its pages waits for that (see
 * kg_block_promise); *known says how far it will be filled. What is found damaged or gone by then is missing from kg_block_ready.
 * The block's tokens are settled, or the block released, before the store is closed. */
enum kg_status kg_kv_store_offer(struct kg_kv_store *store, struct kg_block *block, uint32_t *known, struct kg_error *err);
/* How many of a text's tokens the store has under a key; nothing is loaded. */
enum kg_status kg_kv_store_known(struct kg_kv_store *store, const struct kg_digest *key, const int32_t *ids, uint32_t count, uint32_t *known,
                                 struct kg_error *err);
/* Stores the tokens of the block that are ready and not stored yet, in transactions of at most 16 MiB; of a part of another
 * block none. A partial last page is stored too and replaced when it has grown. On return the pages are copied out of the
 * device; a thread of the store writes them, with at most 32 MiB waiting, so that reading does not wait for the disk; little is
 * written together with what comes within seconds. What follows sees it. */
enum kg_status kg_kv_store_save(struct kg_kv_store *store, const struct kg_block *block, const struct kg_kv_label *label, struct kg_error *err);
/* Waits until what was saved is in the file (or given up with a notice); closing the store does the same. */
void kg_kv_store_flush(struct kg_kv_store *store);
/* Uses a block without bringing it: it is not evicted while a session may want it back. */
enum kg_status kg_kv_store_use(struct kg_kv_store *store, const struct kg_digest *key, struct kg_error *err);
/* Whether so many bytes more may be used: with what open sessions use already they are at most three quarters of the budget. */
enum kg_status kg_kv_store_fits(struct kg_kv_store *store, uint64_t bytes, bool *fits, struct kg_error *err);
/* Removes a block that hardly anybody is going to ask for, unless a session uses it; where that cannot be done now, it stays. */
enum kg_status kg_kv_store_remove_unused(struct kg_kv_store *store, const struct kg_digest *key, struct kg_error *err);
/* A block that was loaded, saved or used is not evicted, by this process or another, until the store is closed or this is
 * called: no session uses it any more. */
void kg_kv_store_release(struct kg_kv_store *store, const struct kg_digest *key);

/* For `kedge cache`. Ids are stable and never used again; texts are printable and valid until the callback returns, which
 * may use the store. */
struct kg_kv_entry {
    int64_t id;
    char key[65];
    char text[65]; /* or "" */
    const char *model, *kind, *title;
    uint32_t tokens, ready;
    uint64_t bytes, created, used; /* seconds since 1970 */
};
enum kg_status kg_kv_store_list(struct kg_kv_store *store, int (*each)(void *ctx, const struct kg_kv_entry *), void *ctx, struct kg_error *err);
enum kg_status kg_kv_store_remove(struct kg_kv_store *store, int64_t id, struct kg_error *err); /* bytes overwritten */
/* Removes what was set aside as well, when no other process has the store open. */
enum kg_status kg_kv_store_remove_all(struct kg_kv_store *store, struct kg_error *err);
/* Checks every checksum; *bad counts the blocks that failed and were removed. */
enum kg_status kg_kv_store_verify(struct kg_kv_store *store, uint64_t *checked, uint64_t *bad, struct kg_error *err);
uint64_t kg_kv_store_bytes(struct kg_kv_store *store); /* of the file */
/* One line that the person should see, or NULL; each is returned once and valid until the next call. Ask until NULL. */
const char *kg_kv_store_notice(struct kg_kv_store *store);

#endif
