/* A context that grows a chunk at a time on a card that has room for little more than its indexes; for a run with EMULATOR_MEMORY.
 * Prints from where on pages lay in host memory at first and at last. Exit status: 0 each page holds at last what was put into it, 1 a failure was
 * told, 2 a page holds something else, or all of them found room. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/backend.h"

#define STEP  16 /* pages, a chunk of the CUDA backend */
#define STEPS 60

static const struct kg_kv_shape shape = { .layers = 2, .kv_heads = 1, .head_size = 64, .index_bits = 2 };

static int told(const struct kg_error *err)
{
    printf("%s\n", err->text);
    return 1;
}

/* Halves that are numbers, and each page's own. */
static void fill(uint16_t *page, size_t bytes, uint32_t number)
{
    for (size_t i = 0; i < bytes / sizeof *page; i++)
        page[i] = (uint16_t)((i * 7 + number * 13) % 0x7000);
}

static int grow(const struct kg_backend *b, struct kg_device *d, struct kg_kv *kv, uint16_t *page, uint16_t *found)
{
    const size_t bytes = KG_KV_PAGE_BYTES(&shape);
    struct kg_error err;
    for (uint32_t step = 0; step < STEPS; step++) {
        if (b->kv_reserve(d, kv, (step + 1) * STEP, &err) != KG_OK)
            return told(&err);
        for (uint32_t p = step * STEP; p < (step + 1) * STEP; p++) {
            fill(page, bytes, p);
            b->kv_import(d, kv, p, page);
        }
    }
    const char *notice = b->kv_notice(d, kv);
    printf("%s\n", notice ? notice : "all on the card");
    for (uint32_t p = 0; p < STEPS * STEP; p++) {
        fill(page, bytes, p);
        if (b->kv_export(d, kv, p, found, &err) != KG_OK)
            return told(&err);
        if (memcmp(page, found, bytes) != 0) {
            printf("page %u holds something else\n", p);
            return 2;
        }
    }
    return notice ? 0 : 2;
}

int main(void)
{
    const struct kg_backend *b = kg_backend_find("cuda");
    struct kg_device *d = NULL;
    struct kg_kv *kv = NULL;
    struct kg_error err;
    if (!b || b->open(&(struct kg_device_options){ 0 }, &d, &err) != KG_OK || b->kv_create(d, &shape, &kv, &err) != KG_OK) {
        printf("the backend does not open\n");
        return 2;
    }
    uint16_t *page = malloc(KG_KV_PAGE_BYTES(&shape)), *found = malloc(KG_KV_PAGE_BYTES(&shape));
    const int status = page && found ? grow(b, d, kv, page, found) : 2;
    free(page);
    free(found);
    b->kv_free(d, kv);
    b->close(d);
    return status;
}
