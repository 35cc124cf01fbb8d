#include "tests/unit/kv_memory.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

struct kg_kv {
    size_t page_bytes, index_bytes; /* behind a page: how many of its tokens are indexed, and its index */
    uint32_t pages;
    unsigned char **at;
};

int kv_memory_reserves_left = -1, kv_memory_exports_left = -1;

static enum kg_status create(struct kg_device *device, const struct kg_kv_shape *shape, struct kg_kv **out, struct kg_error *err)
{
    (void)device;
    struct kg_kv *kv = calloc(1, sizeof *kv);
    if (!kv)
        return kg_fail_nomem(err, "a test");
    kv->page_bytes = KG_KV_PAGE_BYTES(shape);
    kv->index_bytes = KG_INDEX_PAGE_BYTES(shape);
    *out = kv;
    return KG_OK;
}

static enum kg_status reserve(struct kg_device *device, struct kg_kv *kv, uint32_t pages, struct kg_error *err)
{
    (void)device;
    if (kv_memory_reserves_left == 0)
        return kg_fail_nomem(err, "a test");
    if (kv_memory_reserves_left > 0)
        kv_memory_reserves_left--;
    kv->at = realloc(kv->at, pages * sizeof *kv->at);
    if (!kv->at)
        abort();
    for (; kv->pages < pages; kv->pages++) {
        kv->at[kv->pages] = malloc(kv->page_bytes + sizeof(uint32_t) + kv->index_bytes);
        if (!kv->at[kv->pages])
            abort();
        memset(kv->at[kv->pages], 0xa5, kv->page_bytes + sizeof(uint32_t) + kv->index_bytes);
    }
    return KG_OK;
}

static void release(struct kg_device *device, struct kg_kv *kv)
{
    (void)device;
    for (uint32_t i = 0; kv && i < kv->pages; i++)
        free(kv->at[i]);
    if (kv)
        free(kv->at);
    free(kv);
}

unsigned char *kv_memory_page(struct kg_kv *kv, uint32_t page)
{
    assert(page < kv->pages);
    return kv->at[page];
}

static enum kg_status take_out(struct kg_device *device, const struct kg_kv *kv, uint32_t page, void *host, struct kg_error *err)
{
    (void)device;
    if (kv_memory_exports_left == 0)
        return kg_fail(err, KG_ERR_IO, "the device is gone");
    if (kv_memory_exports_left > 0)
        kv_memory_exports_left--;
    memcpy(host, kv->at[page], kv->page_bytes);
    return KG_OK;
}

static void put_in(struct kg_device *device, struct kg_kv *kv, uint32_t page, const void *host)
{
    (void)device;
    memcpy(kv->at[page], host, kv->page_bytes);
}

static enum kg_status take_index_out(struct kg_device *device, const struct kg_kv *kv, uint32_t page, void *host, uint32_t *tokens,
                                     struct kg_error *err)
{
    (void)device, (void)err;
    memcpy(tokens, kv->at[page] + kv->page_bytes, sizeof *tokens);
    memcpy(host, kv->at[page] + kv->page_bytes + sizeof *tokens, kv->index_bytes);
    return KG_OK;
}

static void put_index_in(struct kg_device *device, struct kg_kv *kv, uint32_t page, const void *host, uint32_t tokens)
{
    (void)device;
    memcpy(kv->at[page] + kv->page_bytes, &tokens, sizeof tokens);
    memcpy(kv->at[page] + kv->page_bytes + sizeof tokens, host, kv->index_bytes);
}

const struct kg_backend kv_memory_backend = {
    .name = "memory", .kv_create = create, .kv_reserve = reserve, .kv_free = release, .kv_export = take_out, .kv_import = put_in,
    .index_export = take_index_out, .index_import = put_index_in,
};
