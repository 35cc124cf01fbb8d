/* The device, its memory, and the table of operations. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/ref/ref.h"

void *kg_ref_alloc(struct kg_device *device, size_t count, size_t size, const char *what, struct kg_error *err)
{
    size_t bytes = 0;
    void *bits = __builtin_mul_overflow(count, size, &bytes) ? NULL : calloc(1, bytes ? bytes : 1);
    if (!bits) {
        kg_fail_nomem(err, what);
        return NULL;
    }
    device->memory += bytes;
    return bits;
}

void kg_ref_free(struct kg_device *device, void *bits, size_t bytes)
{
    if (!bits)
        return;
    assert(device->memory >= bytes);
    device->memory -= bytes;
    free(bits);
}

void *kg_ref_at(const struct kg_buffer *buffer, size_t count, size_t size)
{
    (void)count, (void)size;
    assert(count <= buffer->bytes / size);
    return buffer->bits;
}

static enum kg_status open_device(const struct kg_device_options *options, struct kg_device **out, struct kg_error *err)
{
    (void)options; /* one thread computes everything */
    *out = calloc(1, sizeof **out);
    return *out ? KG_OK : kg_fail_nomem(err, "opening the reference device");
}

static void close_device(struct kg_device *device)
{
    assert(!device || device->memory == 0);
    free(device);
}

static const char *describe(struct kg_device *device)
{
    (void)device;
    return "reference, double precision, 1 thread";
}

static const char *numerics(struct kg_device *device)
{
    (void)device;
    return "ref 1";
}

static enum kg_status buffer_create(struct kg_device *device, size_t bytes, struct kg_buffer **out, struct kg_error *err)
{
    struct kg_buffer *buffer = calloc(1, sizeof *buffer);
    if (!buffer)
        return kg_fail_nomem(err, "creating a buffer");
    buffer->bits = kg_ref_alloc(device, bytes, 1, "creating a buffer", err);
    if (!buffer->bits) {
        free(buffer);
        return KG_ERR_NOMEM;
    }
    buffer->bytes = bytes;
    *out = buffer;
    return KG_OK;
}

static void buffer_free(struct kg_device *device, struct kg_buffer *buffer)
{
    if (buffer)
        kg_ref_free(device, buffer->bits, buffer->bytes);
    free(buffer);
}

static void write_buffer(struct kg_device *device, struct kg_buffer *buffer, size_t offset, const void *host, size_t bytes)
{
    (void)device;
    assert(offset <= buffer->bytes && bytes <= buffer->bytes - offset);
    memcpy((char *)buffer->bits + offset, host, bytes);
}

static enum kg_status read_buffer(struct kg_device *device, const struct kg_buffer *buffer, size_t offset, void *host,
                                  size_t bytes, struct kg_error *err)
{
    (void)device, (void)err;
    assert(offset <= buffer->bytes && bytes <= buffer->bytes - offset);
    memcpy(host, (const char *)buffer->bits + offset, bytes);
    return KG_OK;
}

static enum kg_status wait_device(struct kg_device *device, struct kg_error *err)
{
    (void)device, (void)err;
    return KG_OK;
}

static size_t memory(struct kg_device *device)
{
    return device->memory;
}

static void step_begin(struct kg_device *device, uint32_t rows)
{
    (void)device, (void)rows;
    assert(rows >= 1 && rows <= KG_ROWS_MAX);
}

static void step_end(struct kg_device *device)
{
    (void)device;
}

const struct kg_backend kg_backend_ref = {
    .name = "ref",
    .open = open_device,
    .close = close_device,
    .describe = describe,
    .numerics = numerics,
    .buffer_create = buffer_create,
    .buffer_free = buffer_free,
    .write = write_buffer,
    .read = read_buffer,
    .wait = wait_device,
    .memory = memory,
    .matrix_create = kg_ref_matrix_create,
    .matrix_free = kg_ref_matrix_free,
    .kv_create = kg_ref_kv_create,
    .kv_reserve = kg_ref_kv_reserve,
    .kv_free = kg_ref_kv_free,
    .kv_export = kg_ref_kv_export,
    .kv_import = kg_ref_kv_import,
    .view_create = kg_ref_view_create,
    .view_set = kg_ref_view_set,
    .view_free = kg_ref_view_free,
    .step_begin = step_begin,
    .step_end = step_end,
    .embed = kg_ref_embed,
    .rmsnorm = kg_ref_rmsnorm,
    .matmul = kg_ref_matmul,
    .add = kg_ref_add,
    .silu_mul = kg_ref_silu_mul,
    .kv_write = kg_ref_kv_write,
    .attend = kg_ref_attend,
    .index_write = kg_ref_index_write,
    .index_export = kg_ref_index_export,
    .index_import = kg_ref_index_import,
    .choose = kg_ref_choose,
    .attend_chosen = kg_ref_attend_chosen,
    .copy_row = kg_ref_copy_row,
    .top = kg_ref_top,
};
