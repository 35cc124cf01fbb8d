/* From a block to jobs for the writer, on the caller's thread, which is the device's. */
#include <string.h>

#include "engine/cache/kv_job.h"

static void copy_label(char *out, size_t room, const char *text)
{
    kg_printable(out, room, text, strlen(text));
}

/* The index behind K and V. */
static enum kg_status export_index(const struct kg_block *block, const struct kg_kv_layout *layout, uint32_t page, uint32_t tokens,
                                   uint8_t *at, struct kg_error *err)
{
    uint32_t indexed = 0;
    if (!layout->index_bytes)
        return KG_OK;
    enum kg_status status = kg_block_index_export(block, page, at + sizeof indexed, &indexed, err);
    indexed = indexed == tokens ? tokens : 0; /* of a page that is being filled nothing counts */
    memcpy(at, &indexed, sizeof indexed);
    return status;
}

/* The page's used slots and its index at `out`; `spare` has room for a page. */
static enum kg_status copy_page(const struct kg_block *block, const struct kg_kv_layout *layout, uint32_t page, uint32_t tokens,
                                uint8_t *spare, uint8_t *out, struct kg_error *err)
{
    uint8_t *to = tokens == KG_PAGE ? out : spare; /* a full page has nothing to leave out, and its parts follow each other */
    enum kg_status status = kg_block_export(block, page, to, err);
    if (status == KG_OK)
        status = export_index(block, layout, page, tokens, to + layout->kv_bytes, err);
    if (to == out)
        return status;
    for (uint32_t part = 0; part < layout->parts && status == KG_OK; part++) {
        kg_kv_part_pack(layout, part, tokens, spare, out);
        out += kg_kv_part_bytes(layout, part, tokens);
    }
    return status;
}

static enum kg_status copy_pages(const struct kg_block *block, struct kg_kv_job *job, uint8_t *spare, struct kg_error *err)
{
    enum kg_status status = KG_OK;
    for (uint32_t page = job->first_page; page * KG_PAGE < job->upto && status == KG_OK; page++) {
        uint32_t left = job->upto - page * KG_PAGE, tokens = left < KG_PAGE ? left : KG_PAGE;
        status = copy_page(block, &job->layout, page, tokens, spare,
                           job->payload + (size_t)(page - job->first_page) * job->layout.page_bytes, err);
    }
    return status;
}

/* With room for tokens first_page * KG_PAGE to upto - 1; NULL for want of memory. */
static struct kg_kv_job *new_job(const struct kg_block *block, const struct kg_kv_layout *layout, uint32_t first_page, uint32_t upto)
{
    struct kg_kv_job *job = sqlite3_malloc64(sizeof *job);
    if (!job)
        return NULL;
    const uint32_t full = upto / KG_PAGE - first_page, last = upto % KG_PAGE;
    *job = (struct kg_kv_job){ .key = *kg_block_key(block), .layout = *layout, .tokens = kg_block_kept(block),
                               .first_page = first_page, .upto = upto,
                               .bytes = full * layout->page_bytes + (last ? kg_kv_page_payload(layout, last) : 0) };
    job->ids = sqlite3_malloc64(upto * sizeof *job->ids);
    job->payload = sqlite3_malloc64(job->bytes);
    if (job->ids && job->payload)
        return job;
    kg_kv_job_free(job);
    return NULL;
}

/* Tokens `from` to `upto` - 1 of the block, from the start of their page. */
static enum kg_status make_job(const struct kg_block *block, const struct kg_kv_label *label, const struct kg_kv_layout *layout,
                               uint32_t from, uint32_t upto, struct kg_kv_job **out, struct kg_error *err)
{
    struct kg_kv_job *job = new_job(block, layout, from / KG_PAGE, upto);
    uint8_t *spare = sqlite3_malloc64(layout->page_bytes);
    if (!job || !spare) {
        kg_kv_job_free(job);
        sqlite3_free(spare);
        return kg_fail_nomem(err, "saving to the cache");
    }
    copy_label(job->model, sizeof job->model, label->model);
    copy_label(job->kind, sizeof job->kind, label->kind);
    copy_label(job->title, sizeof job->title, label->title);
    job->has_text = label->text != NULL;
    if (label->text)
        job->text = *label->text;
    memcpy(job->ids, kg_block_kept_ids(block), upto * sizeof *job->ids);
    enum kg_status status = copy_pages(block, job, spare, err);
    sqlite3_free(spare);
    if (status == KG_OK)
        *out = job;
    else
        kg_kv_job_free(job);
    return status;
}

/* Where a job that starts at `from` ends: at the end of a page, unless it holds the last token. */
static uint32_t job_end(const struct kg_kv_store *store, const struct kg_kv_layout *layout, uint32_t from, uint32_t ready)
{
    size_t pages = kg_kv_job_max(store) / layout->page_bytes;
    uint64_t end = (from / KG_PAGE + (uint64_t)(pages ? pages : 1)) * KG_PAGE;
    return end < ready ? (uint32_t)end : ready;
}

enum kg_status kg_kv_store_save(struct kg_kv_store *store, const struct kg_block *block, const struct kg_kv_label *label,
                                struct kg_error *err)
{
    struct kg_kv_layout layout = kg_kv_layout_of(kg_pool_shape(kg_block_pool(block)));
    uint32_t ready = kg_block_held(block);
    if (ready == 0 || kg_block_is_part(block) || !kg_kv_accepts(store) || layout.parts >= 1U << KG_KV_PART_BITS || ready / KG_PAGE >= 1U << KG_KV_PAGE_BITS)
        return KG_OK;
    enum kg_status status = kg_kv_use(store, kg_block_key(block), 0, false, err);
    for (uint32_t from = kg_kv_handed(store, block); status == KG_OK && from < ready;) {
        uint32_t upto = job_end(store, &layout, from, ready);
        struct kg_kv_job *job = NULL;
        status = make_job(block, label, &layout, from, upto, &job, err);
        if (!job)
            break;
        struct kg_digest ids = kg_digest_of(job->ids, upto * sizeof *job->ids);
        kg_kv_set_handed(store, kg_block_key(block), upto, &ids);
        kg_kv_push(store, job);
        from = upto;
    }
    return status;
}
