/* What is to be stored, between the caller of save and the writer: the caller copies pages out of the device, the writer
 * sums them and waits for the disk, so that reading never does. */
#ifndef KG_ENGINE_KV_JOB_H
#define KG_ENGINE_KV_JOB_H

#include "engine/cache/kv_file.h"

/* Payload bytes of a job, and of a transaction: with the pages around them it stays below 16 MiB, and a budget is never
 * asked for so much room at once that it has none. */
size_t kg_kv_job_max(const struct kg_kv_store *store);

struct kg_kv_job {
    struct kg_kv_job *next;
    struct kg_digest key;
    char model[128], kind[32], title[256]; /* printable */
    struct kg_digest text;
    bool has_text;
    struct kg_kv_layout layout;
    uint32_t tokens;     /* of the block */
    uint32_t first_page; /* its payload begins with this page of the block ... */
    uint32_t upto;       /* ... and ends with this token */
    int32_t *ids;        /* the first `upto` */
    uint8_t *payload;    /* page after page, part after part, only the used slots */
    size_t bytes;
    /* the writer's */
    int64_t id;
    bool stale; /* the file holds less than the caller thought */
};
void kg_kv_job_free(struct kg_kv_job *job);

/* Takes the job; waits while too much is waiting already. */
void kg_kv_push(struct kg_kv_store *store, struct kg_kv_job *job);
/* Waits until nothing of this key (NULL: of any) is on its way into the file. */
void kg_kv_drain(struct kg_kv_store *store, const struct kg_digest *key);
/* Finishes what is waiting and ends the writer. */
void kg_kv_writer_end(struct kg_kv_store *store);

/* One transaction for a list of jobs, with `file` held. KG_ERR_BUSY: nothing happened, it may be tried again. All other
 * failures are excused: what could not be stored is no longer counted as handed over. */
enum kg_status kg_kv_write_jobs(struct kg_kv_store *store, struct kg_kv_job *jobs);
void kg_kv_give_up_jobs(struct kg_kv_store *store, const struct kg_kv_job *jobs);

#endif
