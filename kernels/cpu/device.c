/* The device, its memory, and the table of operations. */
#include "kernels/cpu/device.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define THREADS_MAX 1024

const void *kg_cpu_in(const struct kg_buffer *buffer, size_t count, size_t size)
{
    (void)count, (void)size;
    assert(count <= buffer->memory.bytes / size);
    return buffer->memory.bits;
}

void *kg_cpu_out(struct kg_device *device, struct kg_buffer *buffer, size_t count, size_t size)
{
    (void)count, (void)size;
    assert(count <= buffer->memory.bytes / size);
    buffer->version = ++device->versions;
    return buffer->memory.bits;
}

bool kg_cpu_scratch(struct kg_device *device, struct kg_memory *memory, size_t bytes)
{
    if (memory->bytes >= bytes)
        return true;
    kg_memory_unmap(memory, &device->memory);
    if (kg_memory_map(memory, bytes, &device->memory, "computing", NULL) == KG_OK)
        return true;
    device->failed = true;
    return false;
}

/* What the compiler was told to use in isa_*.c. */
static bool has_avx2(void)
{
    const bool has[] = { __builtin_cpu_supports("avx2"), __builtin_cpu_supports("fma"), __builtin_cpu_supports("f16c"),
                         __builtin_cpu_supports("bmi2") };
    return memchr(has, false, sizeof has) == NULL;
}

static bool has_avx512(void)
{
    const bool has[] = { has_avx2(), __builtin_cpu_supports("avx512f"), __builtin_cpu_supports("avx512bw"),
                         __builtin_cpu_supports("avx512vl"), __builtin_cpu_supports("avx512dq"), __builtin_cpu_supports("avx512vnni") };
    return memchr(has, false, sizeof has) == NULL;
}

static bool has_avxvnni(void)
{
    return has_avx2() && __builtin_cpu_supports("avxvnni");
}

/* KEDGE_ISA=avx2|avxvnni|avx512 in the environment stands in for options->instructions where that is NULL: it forces a
 * lower set on a machine that has a better one, for tests. */
static enum kg_status choose_isa(const char *wanted, const struct kg_isa **out, struct kg_error *err)
{
    const struct kg_isa *there[3];
    uint32_t n = 0;
    if (has_avx512())
        there[n++] = &kg_isa_avx512;
    if (has_avxvnni())
        there[n++] = &kg_isa_avxvnni;
    if (has_avx2())
        there[n++] = &kg_isa_avx2;
    if (n == 0)
        return kg_fail(err, KG_ERR_UNSUPPORTED, "this processor has no AVX2 with FMA and F16C; kedge needs one made since 2013 or so");
    if (!wanted)
        wanted = getenv("KEDGE_ISA");
    for (uint32_t i = 0; i < n; i++) {
        if (wanted && strcmp(wanted, there[i]->name) != 0)
            continue;
        *out = there[i];
        return KG_OK;
    }
    return kg_fail(err, KG_ERR_UNSUPPORTED, "instruction set %s is not available on this processor; use %s%s%s%s%s", wanted, there[n - 1]->name,
                   n > 1 ? " or " : "", n > 1 ? there[n - 2]->name : "", n > 2 ? " or " : "", n > 2 ? there[0]->name : "");
}

static void close_device(struct kg_device *device)
{
    if (!device)
        return;
    kg_memory_unmap(&device->activations_memory, &device->memory);
    kg_memory_unmap(&device->scratch, &device->memory);
    kg_angles_clear(&device->angles, &device->memory);
    assert(device->memory == 0);
    kg_thread_pool_free(device->pool);
    free(device);
}

static enum kg_status open_device(const struct kg_device_options *options, struct kg_device **out, struct kg_error *err)
{
    uint32_t threads = options->threads ? options->threads : kg_thread_pool_usable_threads();
    if (threads > THREADS_MAX)
        return kg_fail(err, KG_ERR_RANGE, "%u threads are too many; ask for at most %d", threads, THREADS_MAX);
    struct kg_device *device = calloc(1, sizeof *device);
    if (!device)
        return kg_fail_nomem(err, "opening the CPU");
    enum kg_status status = choose_isa(options->instructions, &device->isa, err);
    if (!status)
        status = kg_thread_pool_create(threads, &device->pool, err);
    if (status) {
        free(device);
        return status;
    }
    snprintf(device->describe, sizeof device->describe, "CPU, %s, %u thread%s", device->isa->describe, threads, threads == 1 ? "" : "s");
    *out = device;
    return KG_OK;
}

static const char *describe(struct kg_device *device)
{
    return device->describe;
}

/* All instruction sets give the same bits (isa.h), so they share a name. */
static const char *numerics(struct kg_device *device)
{
    (void)device;
    return "cpu 1";
}

static enum kg_status buffer_create(struct kg_device *device, size_t bytes, struct kg_buffer **out, struct kg_error *err)
{
    struct kg_buffer *buffer = calloc(1, sizeof *buffer);
    if (!buffer)
        return kg_fail_nomem(err, "creating a buffer");
    enum kg_status status = kg_memory_map(&buffer->memory, bytes, &device->memory, "creating a buffer", err);
    if (status) {
        free(buffer);
        return status;
    }
    buffer->version = ++device->versions;
    *out = buffer;
    return KG_OK;
}

static void buffer_free(struct kg_device *device, struct kg_buffer *buffer)
{
    if (buffer)
        kg_memory_unmap(&buffer->memory, &device->memory);
    free(buffer);
}

static void write_buffer(struct kg_device *device, struct kg_buffer *buffer, size_t offset, const void *host, size_t bytes)
{
    char *bits = kg_cpu_out(device, buffer, offset + bytes, 1);
    memcpy(bits + offset, host, bytes);
}

enum kg_status kg_cpu_wait(struct kg_device *device, struct kg_error *err)
{
    if (!device->failed)
        return KG_OK;
    return kg_fail_nomem(err, "computing");
}

static enum kg_status read_buffer(struct kg_device *device, const struct kg_buffer *buffer, size_t offset, void *host, size_t bytes,
                                  struct kg_error *err)
{
    const char *bits = kg_cpu_in(buffer, offset + bytes, 1);
    memcpy(host, bits + offset, bytes);
    return kg_cpu_wait(device, err);
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

const struct kg_backend kg_backend_cpu = {
    .name = "cpu",
    .loads_aside = true,
    .open = open_device,
    .close = close_device,
    .describe = describe,
    .numerics = numerics,
    .buffer_create = buffer_create,
    .buffer_free = buffer_free,
    .write = write_buffer,
    .read = read_buffer,
    .wait = kg_cpu_wait,
    .memory = memory,
    .read_bandwidth = kg_cpu_read_bandwidth,
    .matrix_create = kg_cpu_matrix_create,
    .matrix_free = kg_cpu_matrix_free,
    .kv_create = kg_cpu_kv_create,
    .kv_reserve = kg_cpu_kv_reserve,
    .kv_free = kg_cpu_kv_free,
    .kv_export = kg_cpu_kv_export,
    .kv_import = kg_cpu_kv_import,
    .view_create = kg_cpu_view_create,
    .view_set = kg_cpu_view_set,
    .view_free = kg_cpu_view_free,
    .step_begin = step_begin,
    .step_end = step_end,
    .embed = kg_cpu_embed,
    .rmsnorm = kg_cpu_rmsnorm,
    .matmul = kg_cpu_matmul,
    .add = kg_cpu_add,
    .silu_mul = kg_cpu_silu_mul,
    .kv_write = kg_cpu_kv_write,
    .attend = kg_cpu_attend,
    .index_write = kg_cpu_index_write,
    .index_export = kg_cpu_index_export,
    .index_import = kg_cpu_index_import,
    .choose = kg_cpu_choose,
    .attend_chosen = kg_cpu_attend_chosen,
    .copy_row = kg_cpu_copy_row,
    .top = kg_cpu_top,
};
