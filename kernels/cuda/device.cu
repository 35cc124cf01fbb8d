/* The device, its memory, and the table of operations. */
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/cuda/device.h"
#include "kernels/cuda/round.h"

#define RING_ALIGNMENT 256

static enum kg_status status_of(cudaError_t error)
{
    return error == cudaErrorMemoryAllocation ? KG_ERR_NOMEM : KG_ERR_IO;
}

bool kg_cuda_ok(struct kg_device *device, cudaError_t error, const char *what)
{
    if (error != cudaSuccess && !device->failed) {
        device->failed = true;
        device->status = status_of(error);
        snprintf(device->failure, sizeof device->failure, "%s failed: %s", what, cudaGetErrorString(error));
        (void)cudaGetLastError();
    }
    return !device->failed;
}

enum kg_status kg_cuda_fail(struct kg_error *err, cudaError_t error, const char *what)
{
    (void)cudaGetLastError(); /* or the next launch would report it */
    return kg_fail(err, status_of(error), "CUDA: %s failed: %s%s", what, cudaGetErrorString(error),
                   error == cudaErrorMemoryAllocation ? "; close other programs that use the device, give it fewer --gpu-layers, or compute on the CPU" : "");
}

enum kg_status kg_cuda_alloc(struct kg_device *device, size_t bytes, struct kg_cuda_memory *out, const char *what, struct kg_error *err)
{
    void *bits = NULL;
    const cudaError_t error = cudaMalloc(&bits, bytes ? bytes : 1);
    if (error != cudaSuccess)
        return kg_cuda_fail(err, error, what);
    out->bits = bits;
    out->bytes = bytes;
    device->memory += bytes;
    return KG_OK;
}

void kg_cuda_free(struct kg_device *device, struct kg_cuda_memory *memory)
{
    if (!memory->bits)
        return;
    kg_cuda_start_held(device);
    (void)kg_cuda_ok(device, cudaFree(memory->bits), "giving memory back");
    device->memory -= memory->bytes;
    memory->bits = NULL;
    memory->bytes = 0;
}

enum kg_status kg_cuda_pin(size_t bytes, struct kg_cuda_memory *out, const char *what, struct kg_error *err)
{
    const cudaError_t error = cudaMallocHost(&out->bits, bytes);
    if (error != cudaSuccess)
        return kg_cuda_fail(err, error, what);
    out->bytes = bytes;
    return KG_OK;
}

void kg_cuda_unpin(struct kg_device *device, struct kg_cuda_memory *memory)
{
    if (memory->bits)
        (void)kg_cuda_ok(device, cudaFreeHost(memory->bits), "giving host memory back");
    memory->bits = NULL;
    memory->bytes = 0;
}

bool kg_cuda_grow(struct kg_device *device, struct kg_cuda_memory *memory, size_t bytes, const char *what)
{
    if (device->failed || memory->bytes >= bytes)
        return !device->failed;
    struct kg_error err;
    kg_cuda_free(device, memory);
    if (kg_cuda_alloc(device, bytes, memory, what, &err) == KG_OK)
        return !device->failed;
    return kg_cuda_ok(device, cudaErrorMemoryAllocation, what);
}

/* What is remembered. */
static enum kg_status outcome(const struct kg_device *device, struct kg_error *err)
{
    if (!device->failed)
        return KG_OK;
    return kg_fail(err, device->status, "CUDA: %s; %s, or compute on the CPU", device->failure,
                   device->status == KG_ERR_NOMEM ? "close other programs that use the device" : "start again");
}

enum kg_status kg_cuda_wait(struct kg_device *device, struct kg_error *err)
{
    kg_cuda_make_sum(device);
    kg_cuda_start_held(device);
    if (!device->failed)
        (void)kg_cuda_ok(device, cudaStreamSynchronize(device->stream), "computing");
    return outcome(device, err);
}

/* What a part holds may still be read; the one behind it is waited for. */
static void next_part(struct kg_device *device)
{
    (void)kg_cuda_ok(device, cudaEventRecord(device->ring_left[device->ring_part], device->stream), "copying");
    device->ring_part = (device->ring_part + 1) % KG_RING_PARTS;
    device->ring_used = 0;
    if (!device->failed)
        (void)kg_cuda_ok(device, cudaEventSynchronize(device->ring_left[device->ring_part]), "copying");
}

uint8_t *kg_cuda_ring(struct kg_device *device, size_t unit, size_t *bytes)
{
    size_t room = KG_RING_PART_BYTES - device->ring_used;
    if (room < unit && room < *bytes) {
        next_part(device);
        room = KG_RING_PART_BYTES;
    }
    *bytes = *bytes <= room ? *bytes : room / unit * unit;
    uint8_t *place = device->ring + device->ring_part * KG_RING_PART_BYTES + device->ring_used;
    const size_t used = device->ring_used + (*bytes + RING_ALIGNMENT - 1) / RING_ALIGNMENT * RING_ALIGNMENT;
    device->ring_used = used < KG_RING_PART_BYTES ? used : KG_RING_PART_BYTES;
    return device->failed ? NULL : place;
}

void kg_cuda_upload(struct kg_device *device, void *to, const void *host, size_t bytes)
{
    kg_cuda_start_held(device);
    while (bytes && !device->failed) {
        size_t n = bytes;
        uint8_t *staged = kg_cuda_ring(device, 1, &n);
        if (!staged)
            return;
        memcpy(staged, host, n);
        (void)kg_cuda_ok(device, cudaMemcpyAsync(to, staged, n, cudaMemcpyDefault, device->stream), "copying to the device");
        to = (uint8_t *)to + n;
        host = (const uint8_t *)host + n;
        bytes -= n;
    }
}

enum kg_status kg_cuda_download(struct kg_device *device, void *host, const void *from, size_t bytes, struct kg_error *err)
{
    kg_cuda_start_held(device);
    while (bytes && !device->failed) {
        size_t n = bytes;
        uint8_t *staged = kg_cuda_ring(device, 1, &n);
        if (!staged)
            break;
        (void)kg_cuda_ok(device, cudaMemcpyAsync(staged, from, n, cudaMemcpyDefault, device->stream), "copying from the device");
        (void)kg_cuda_ok(device, cudaStreamSynchronize(device->stream), "computing");
        memcpy(host, staged, n);
        device->ring_used = 0; /* nothing is on its way */
        host = (uint8_t *)host + n;
        from = (const uint8_t *)from + n;
        bytes -= n;
    }
    return outcome(device, err);
}

void kg_cuda_make_sum(struct kg_device *device)
{
    const size_t n = device->sum.n;
    device->sum.n = 0;
    if (n && !device->failed)
        kg_cuda_enqueue_add(device, (float *)device->sum.x->memory.bits, (const float *)device->sum.y->memory.bits, n);
}

const struct kg_buffer *kg_cuda_take_sum(struct kg_device *device, const struct kg_buffer *x, size_t n)
{
    if (device->sum.n != n || device->sum.x != x)
        return NULL;
    device->sum.n = 0;
    return device->sum.y;
}

void kg_cuda_add(struct kg_device *device, struct kg_buffer *x, const struct kg_buffer *y, size_t n)
{
    (void)kg_cuda_in(y, n, sizeof(float));
    (void)kg_cuda_out(device, x, n, sizeof(float));
    kg_cuda_make_sum(device); /* of others */
    device->sum.x = x;
    device->sum.y = y;
    device->sum.n = n;
}

struct kg_cuda_rounded kg_cuda_rounded_room(struct kg_device *device, const struct kg_buffer *buffer, uint32_t rows, uint32_t cols)
{
    struct kg_cuda_rounded out = { NULL, NULL };
    const size_t codes = (size_t)rows * cols;
    if (!device->rounds || cols % KG_GROUP != 0 ||
        !kg_cuda_grow(device, &device->rounded, codes + codes / KG_GROUP * sizeof *out.group, "rounding activations"))
        return out;
    out.codes = (uint32_t *)device->rounded.bits;
    out.group = (struct kg_rounded *)((uint8_t *)device->rounded.bits + codes);
    device->rounded_version = buffer->version;
    device->rounded_rows = rows;
    device->rounded_cols = cols;
    return out;
}

const void *kg_cuda_in(const struct kg_buffer *buffer, size_t count, size_t size)
{
    (void)count, (void)size;
    assert(count <= buffer->memory.bytes / size);
    if (buffer->device->sum.n && buffer->device->sum.x == buffer)
        kg_cuda_make_sum(buffer->device);
    return buffer->memory.bits;
}

void *kg_cuda_out(struct kg_device *device, struct kg_buffer *buffer, size_t count, size_t size)
{
    (void)count, (void)size;
    assert(count <= buffer->memory.bytes / size);
    if (device->sum.n && (device->sum.x == buffer || device->sum.y == buffer))
        kg_cuda_make_sum(device);
    buffer->version = ++device->versions;
    return buffer->memory.bits;
}

static bool same_rope(const struct kg_rope *a, const struct kg_rope *b)
{
    return a->pairs == b->pairs && memcmp(a->frequency, b->frequency, a->pairs * sizeof *a->frequency) == 0;
}

struct kg_cuda_rope kg_cuda_rope_of(struct kg_device *device, const struct kg_rope *rope)
{
    const size_t bytes = KG_HEAD_MAX / 2 * sizeof(double);
    struct kg_cuda_rope out = { rope->layout, rope->layout == KG_ROPE_NONE ? 0 : rope->pairs, rope->scale, 0, NULL };
    assert(out.pairs <= KG_HEAD_MAX / 2);
    uint32_t i = 0, known = device->rope_count < KG_ROPES ? device->rope_count : KG_ROPES;
    while (i < known && !same_rope(&device->known_ropes[i], rope))
        i++;
    uint8_t *frequencies = (uint8_t *)device->ropes.bits;
    if (i == known) { /* the oldest one goes */
        i = device->rope_count++ % KG_ROPES;
        device->known_ropes[i] = *rope;
        kg_cuda_upload(device, frequencies + i * bytes, rope->frequency, bytes);
    }
    out.frequency = (const double *)(frequencies + i * bytes);
    return out;
}

static void close_device(struct kg_device *device)
{
    if (!device)
        return;
    kg_cuda_loaders_end(device);
    kg_cuda_free(device, &device->scratch);
    kg_cuda_free(device, &device->rounded);
    kg_cuda_free(device, &device->ropes);
    kg_cuda_steps_free(device);
    if (device->steps.now_on_device)
        (void)cudaFree(device->steps.now_on_device);
    assert(device->memory == 0);
    for (uint32_t i = 0; i < KG_RING_PARTS; i++)
        if (device->ring_left[i])
            (void)cudaEventDestroy(device->ring_left[i]);
    if (device->ring)
        (void)cudaFreeHost(device->ring);
    if (device->stream)
        (void)cudaStreamDestroy(device->stream);
    free(device);
}

static enum kg_status no_device(struct kg_error *err, cudaError_t error)
{
    (void)cudaGetLastError();
    return kg_fail(err, KG_ERR_UNSUPPORTED, "no CUDA device can be used: %s; install a driver for CUDA %d.%d or newer, or compute on the CPU",
                   cudaGetErrorString(error), CUDART_VERSION / 1000, CUDART_VERSION % 1000 / 10);
}

static enum kg_status set_up(struct kg_device *device, struct kg_error *err)
{
    void *ring = NULL;
    cudaError_t error = cudaStreamCreateWithFlags(&device->stream, cudaStreamNonBlocking);
    if (error != cudaSuccess)
        return kg_cuda_fail(err, error, "opening a stream");
    error = cudaMallocHost(&ring, KG_RING_PARTS * KG_RING_PART_BYTES);
    if (error != cudaSuccess)
        return kg_cuda_fail(err, error, "pinning host memory");
    device->ring = (uint8_t *)ring;
    for (uint32_t i = 0; i < KG_RING_PARTS && error == cudaSuccess; i++)
        error = cudaEventCreateWithFlags(&device->ring_left[i], cudaEventDisableTiming);
    if (error != cudaSuccess)
        return kg_cuda_fail(err, error, "opening the device");
    device->steps.now = (uint8_t *)calloc(1, KG_NOW_BYTES);
    if (!device->steps.now)
        return kg_fail_nomem(err, "opening a CUDA device");
    error = cudaMalloc(&device->steps.now_on_device, KG_NOW_BYTES);
    if (error != cudaSuccess)
        return kg_cuda_fail(err, error, "opening the device");
    return kg_cuda_alloc(device, KG_ROPES * KG_HEAD_MAX / 2 * sizeof(double), &device->ropes, "opening the device", err);
}

/* Cards are counted as the driver shows them: CUDA_VISIBLE_DEVICES hides some. */
static enum kg_status open_device(const struct kg_device_options *options, struct kg_device **out, struct kg_error *err)
{
    const int card = (int)options->card;
    int count = 0, version = 0;
    struct cudaDeviceProp properties;
    cudaError_t error = cudaGetDeviceCount(&count);
    if (error == cudaSuccess && count == 0)
        error = cudaErrorNoDevice;
    if (error == cudaSuccess && options->card >= (uint32_t)count)
        return kg_fail(err, KG_ERR_USAGE, "there is no CUDA device %u; the driver shows %d, counted from 0", options->card, count);
    if (error == cudaSuccess)
        error = cudaSetDevice(card);
    if (error == cudaSuccess)
        error = cudaGetDeviceProperties(&properties, card);
    if (error == cudaSuccess)
        error = cudaDriverGetVersion(&version);
    if (error != cudaSuccess)
        return no_device(err, error);
    if (properties.major * 10 + properties.minor < 75)
        return kg_fail(err, KG_ERR_UNSUPPORTED, "%s has compute capability %d.%d; 7.5 (2018) or newer is needed, or compute on the CPU", properties.name,
                       properties.major, properties.minor);
    struct kg_device *device = (struct kg_device *)calloc(1, sizeof *device);
    if (!device)
        return kg_fail_nomem(err, "opening a CUDA device");
    device->card = card;
    device->processors = (uint32_t)properties.multiProcessorCount;
    device->steps.early = properties.major >= 9;
    const enum kg_status status = set_up(device, err);
    if (status != KG_OK) {
        close_device(device);
        return status;
    }
    snprintf(device->describe, sizeof device->describe, "CUDA, %s, %.1f GiB", properties.name, (double)properties.totalGlobalMem / (1 << 30));
    snprintf(device->numerics, sizeof device->numerics, "cuda 4 %s %d.%d driver %d", properties.name, properties.major, properties.minor, version);
    *out = device;
    return KG_OK;
}

static const char *describe(struct kg_device *device)
{
    return device->describe;
}

static const char *numerics(struct kg_device *device)
{
    return device->numerics;
}

static enum kg_status buffer_create(struct kg_device *device, size_t bytes, struct kg_buffer **out, struct kg_error *err)
{
    struct kg_buffer *buffer = (struct kg_buffer *)calloc(1, sizeof *buffer);
    if (!buffer)
        return kg_fail_nomem(err, "creating a buffer");
    const enum kg_status status = kg_cuda_alloc(device, bytes, &buffer->memory, "creating a buffer", err);
    if (status != KG_OK) {
        free(buffer);
        return status;
    }
    (void)kg_cuda_ok(device, cudaMemsetAsync(buffer->memory.bits, 0, bytes, device->stream), "clearing a buffer");
    buffer->device = device;
    buffer->version = ++device->versions;
    *out = buffer;
    return KG_OK;
}

static void buffer_free(struct kg_device *device, struct kg_buffer *buffer)
{
    if (!buffer)
        return;
    if (device->sum.n && (device->sum.x == buffer || device->sum.y == buffer))
        kg_cuda_make_sum(device);
    kg_cuda_free(device, &buffer->memory);
    free(buffer);
}

static void write_buffer(struct kg_device *device, struct kg_buffer *buffer, size_t offset, const void *host, size_t bytes)
{
    kg_cuda_upload(device, (uint8_t *)kg_cuda_out(device, buffer, offset + bytes, 1) + offset, host, bytes);
}

static enum kg_status read_buffer(struct kg_device *device, const struct kg_buffer *buffer, size_t offset, void *host, size_t bytes, struct kg_error *err)
{
    return kg_cuda_download(device, host, (const uint8_t *)kg_cuda_in(buffer, offset + bytes, 1) + offset, bytes, err);
}

static size_t memory(struct kg_device *device)
{
    return device->memory;
}

static void step_begin(struct kg_device *device, uint32_t rows)
{
    assert(rows >= 1 && rows <= KG_ROWS_MAX);
    (void)kg_cuda_ok(device, cudaSetDevice(device->card), "choosing the device"); /* of this thread, which may be another one */
    kg_cuda_loaders_end(device); /* weights are there */
    kg_cuda_make_sum(device);
    device->step_rows = rows;
    kg_cuda_step_begin(device, rows);
}

static void step_end(struct kg_device *device)
{
    kg_cuda_make_sum(device);
    kg_cuda_step_end(device);
}

extern "C" __attribute__((visibility("default"))) const uint64_t kg_backend_cuda_form = KG_BACKEND_FORM;

extern "C" __attribute__((visibility("default"))) const struct kg_backend kg_backend_cuda = {
    .name = "cuda",
    .loads_aside = false,
    .open = open_device,
    .close = close_device,
    .describe = describe,
    .numerics = numerics,
    .buffer_create = buffer_create,
    .buffer_free = buffer_free,
    .write = write_buffer,
    .read = read_buffer,
    .wait = kg_cuda_wait,
    .memory = memory,
    .room = kg_cuda_room,
    .read_bandwidth = NULL,
    .layer = NULL,
    .matrix_create = kg_cuda_matrix_create,
    .matrix_free = kg_cuda_matrix_free,
    .kv_create = kg_cuda_kv_create,
    .kv_reserve = kg_cuda_kv_reserve,
    .kv_free = kg_cuda_kv_free,
    .kv_export = kg_cuda_kv_export,
    .kv_import = kg_cuda_kv_import,
    .kv_notice = kg_cuda_kv_notice,
    .view_create = kg_cuda_view_create,
    .view_set = kg_cuda_view_set,
    .view_free = kg_cuda_view_free,
    .step_begin = step_begin,
    .step_end = step_end,
    .embed = kg_cuda_embed,
    .rmsnorm = kg_cuda_rmsnorm,
    .matmul = kg_cuda_matmul,
    .add = kg_cuda_add,
    .silu_mul = kg_cuda_silu_mul,
    .kv_write = kg_cuda_kv_write,
    .attend = kg_cuda_attend,
    .index_write = kg_cuda_index_write,
    .index_export = kg_cuda_index_export,
    .index_import = kg_cuda_index_import,
    .choose = kg_cuda_choose,
    .attend_chosen = kg_cuda_attend_chosen,
    .copy_row = kg_cuda_copy_row,
    .top = kg_cuda_top,
};
