/* From jobs to rows, on the writer's thread. Every transaction leaves blocks that are valid as far as they reach. */
#include <string.h>

#include "engine/cache/kv_job.h"

struct stored {
    struct kg_kv_found found;
    uint32_t common; /* tokens of the stored prefix that are the job's */
};

/* Compares row by row: another answer to the same question has the same key. */
static enum kg_status compare_rows(struct kg_kv_store *store, const struct kg_kv_job *job, struct stored *s, struct kg_error *err)
{
    sqlite3_stmt *row = kg_kv_statement(store, KG_KV_IDS);
    if (!row)
        return kg_db_fail(store->db, sqlite3_errcode(store->db), "reading the cache", err);
    const size_t unit = sizeof *job->ids;
    uint32_t limit = s->found.ready < job->upto ? s->found.ready : job->upto;
    int rc = SQLITE_ROW;
    for (bool same = true; same && s->common < limit;) {
        sqlite3_bind_int64(row, 1, KG_KV_ROW_ID(s->found.id, s->common / KG_PAGE, 0));
        rc = sqlite3_step(row);
        if (rc != SQLITE_ROW)
            break;
        const uint8_t *ids = sqlite3_column_blob(row, 1);
        uint32_t n = (uint32_t)sqlite3_column_bytes(row, 1) / unit, first = s->common, i = 0;
        n = n < limit - first ? n : limit - first;
        while (ids && i < n && i < KG_PAGE && memcmp(ids + i * unit, &job->ids[first + i], unit) == 0)
            i++;
        same = i == KG_PAGE;
        s->common = first + i;
        sqlite3_reset(row);
    }
    sqlite3_reset(row);
    return rc == SQLITE_ROW || rc == SQLITE_DONE ? KG_OK : kg_db_fail(store->db, rc, "reading the cache", err);
}

static enum kg_status examine(struct kg_kv_store *store, const struct kg_kv_job *job, struct stored *s, struct kg_error *err)
{
    s->common = 0;
    enum kg_status status = kg_kv_find(store, &job->key, &s->found, err);
    if (status != KG_OK || s->found.id == 0)
        return status;
    if (s->found.ids_known && s->found.ready <= job->upto) {
        struct kg_digest digest = kg_digest_of(job->ids, s->found.ready * sizeof *job->ids);
        if (memcmp(&digest, &s->found.ids_digest, sizeof digest) == 0) {
            s->common = s->found.ready;
            return KG_OK;
        }
    }
    return compare_rows(store, job, s, err);
}

static enum kg_status new_block(struct kg_kv_store *store, const struct kg_kv_job *job, struct stored *s, struct kg_error *err)
{
    sqlite3_stmt *insert = kg_kv_statement(store, KG_KV_NEW);
    if (insert) {
        sqlite3_bind_blob(insert, 1, job->key.bytes, sizeof job->key.bytes, SQLITE_STATIC);
        sqlite3_bind_text(insert, 2, job->model, -1, SQLITE_STATIC);
        sqlite3_bind_text(insert, 3, job->kind, -1, SQLITE_STATIC);
        sqlite3_bind_text(insert, 4, job->title, -1, SQLITE_STATIC);
        sqlite3_bind_int64(insert, 5, job->layout.parts);
        sqlite3_bind_int64(insert, 6, (sqlite3_int64)kg_kv_now());
        sqlite3_bind_blob(insert, 7, job->text.bytes, job->has_text ? sizeof job->text.bytes : 0, SQLITE_STATIC);
    }
    enum kg_status status = kg_kv_run(store, insert, err);
    s->found = (struct kg_kv_found){ .id = sqlite3_last_insert_rowid(store->db) };
    return status == KG_OK && !kg_kv_id_is_sane(s->found.id) ? kg_fail(err, KG_ERR_CORRUPT, "block numbers ran out") : status;
}

/* Rows of the page in which the job parts from what is stored, and of those behind it. */
static enum kg_status drop_rows_behind(struct kg_kv_store *store, const struct stored *s, struct kg_error *err)
{
    sqlite3_stmt *drop = kg_kv_statement(store, KG_KV_DROP_ROWS);
    if (drop) {
        sqlite3_bind_int64(drop, 1, KG_KV_ROW_ID(s->found.id, s->common / KG_PAGE, 0));
        sqlite3_bind_int64(drop, 2, KG_KV_ROW_ID(s->found.id + 1, 0, 0) - 1);
    }
    return kg_kv_run(store, drop, err);
}

static enum kg_status put_row(struct kg_kv_store *store, const struct kg_kv_row *row, int64_t id, struct kg_error *err)
{
    sqlite3_stmt *put = kg_kv_statement(store, KG_KV_PUT_ROW);
    if (put) {
        sqlite3_bind_int64(put, 1, KG_KV_ROW_ID(id, row->page, row->part));
        sqlite3_bind_int64(put, 2, row->tokens);
        sqlite3_bind_int64(put, 3, (sqlite3_int64)kg_kv_row_sum(row));
        sqlite3_bind_blob(put, 4, row->ids, (int)(row->tokens * sizeof(int32_t)), SQLITE_STATIC);
        sqlite3_bind_blob(put, 5, row->payload, (int)row->bytes, SQLITE_STATIC);
    }
    return kg_kv_run(store, put, err);
}

/* All rows of the job from page `from` on. */
static enum kg_status put_rows(struct kg_kv_store *store, const struct kg_kv_job *job, uint32_t from, int64_t id,
                               struct kg_error *err)
{
    const uint8_t *payload = job->payload;
    enum kg_status status = KG_OK;
    for (uint32_t page = job->first_page; status == KG_OK && page * KG_PAGE < job->upto; page++) {
        uint32_t left = job->upto - page * KG_PAGE, tokens = left < KG_PAGE ? left : KG_PAGE;
        for (uint32_t part = 0; part < job->layout.parts && status == KG_OK; part++) {
            struct kg_kv_row row = { .key = job->key.bytes, .page = page, .part = part, .tokens = tokens,
                                     .ids = job->ids + (size_t)page * KG_PAGE, .payload = payload,
                                     .bytes = kg_kv_part_bytes(&job->layout, part, tokens) };
            if (page >= from)
                status = put_row(store, &row, id, err);
            payload += row.bytes;
        }
    }
    return status;
}

static enum kg_status describe(struct kg_kv_store *store, const struct kg_kv_job *job, int64_t id, struct kg_error *err)
{
    struct kg_digest digest = kg_digest_of(job->ids, job->upto * sizeof *job->ids);
    sqlite3_stmt *grow = kg_kv_statement(store, KG_KV_GROW);
    if (grow) {
        sqlite3_bind_int64(grow, 1, id);
        sqlite3_bind_int64(grow, 2, job->tokens);
        sqlite3_bind_int64(grow, 3, job->upto);
        sqlite3_bind_blob(grow, 4, digest.bytes, sizeof digest.bytes, SQLITE_STATIC);
        size_t bytes = job->upto / KG_PAGE * job->layout.page_bytes + job->upto * sizeof *job->ids;
        bytes += job->upto % KG_PAGE ? kg_kv_page_payload(&job->layout, job->upto % KG_PAGE) : 0;
        sqlite3_bind_int64(grow, 5, (sqlite3_int64)bytes);
        sqlite3_bind_int64(grow, 6, job->layout.parts);
    }
    return kg_kv_run(store, grow, err);
}

/* Inside a transaction. What is stored is looked at here: another process may save the same block. */
static enum kg_status put_job(struct kg_kv_store *store, struct kg_kv_job *job, struct kg_error *err)
{
    struct stored s;
    enum kg_status status = examine(store, job, &s, err);
    job->id = s.found.id;
    job->stale = status == KG_OK && s.common / KG_PAGE < job->first_page;
    if (status != KG_OK || job->stale || s.common >= job->upto)
        return status;
    if (!s.found.id)
        status = new_block(store, job, &s, err);
    if (status == KG_OK && s.common < s.found.ready)
        status = drop_rows_behind(store, &s, err);
    if (status == KG_OK)
        status = put_rows(store, job, s.common / KG_PAGE, s.found.id, err);
    job->id = s.found.id;
    return status == KG_OK ? describe(store, job, s.found.id, err) : status;
}

static enum kg_status put_jobs(struct kg_kv_store *store, struct kg_kv_job *jobs, struct kg_error *err)
{
    enum kg_status status = kg_kv_begin(store, err);
    for (struct kg_kv_job *job = jobs; job && status == KG_OK; job = job->next)
        status = put_job(store, job, err);
    if (status == KG_OK)
        status = kg_kv_write_hits(store, err);
    if (status == KG_OK)
        status = kg_kv_commit(store, err);
    kg_db_rollback(store->db);
    return status;
}

void kg_kv_give_up_jobs(struct kg_kv_store *store, const struct kg_kv_job *jobs)
{
    for (; jobs; jobs = jobs->next)
        kg_kv_set_handed(store, &jobs->key, 0, NULL);
}

static enum kg_status fit_and_put(struct kg_kv_store *store, struct kg_kv_job *jobs, bool *room, struct kg_error *err)
{
    uint64_t bytes = 0;
    for (const struct kg_kv_job *job = jobs; job; job = job->next)
        bytes += job->bytes;
    enum kg_status status = kg_kv_make_room(store, bytes, room, err);
    return status == KG_OK && *room ? put_jobs(store, jobs, err) : status;
}

enum kg_status kg_kv_write_jobs(struct kg_kv_store *store, struct kg_kv_job *jobs)
{
    struct kg_error why = { .text = "" };
    bool room = false;
    if (!store->db || !kg_kv_accepts(store)) {
        kg_kv_give_up_jobs(store, jobs);
        return KG_OK;
    }
    enum kg_status status = fit_and_put(store, jobs, &room, &why);
    if (status == KG_ERR_BUSY)
        return status;
    if (status == KG_OK && room) {
        for (const struct kg_kv_job *job = jobs; job; job = job->next) {
            if (job->stale)
                kg_kv_set_handed(store, &job->key, 0, NULL);
            kg_kv_stored(store, &job->key, job->id);
        }
        kg_kv_hits_written(store);
        return KG_OK;
    }
    kg_kv_give_up_jobs(store, jobs);
    if (status == KG_OK) {
        kg_kv_pause(store, true);
        kg_kv_note(store, KG_KV_BUDGET, "the cache's budget of %llu MB is filled by what is open; raise it to keep more",
                   (unsigned long long)(store->budget / 1000000));
    } else if (kg_kv_excuse(store, status, &why, NULL) != KG_OK) {
        kg_kv_note(store, KG_KV_FAILED, "something was not saved in the cache: %s", why.text);
    }
    return KG_OK;
}
