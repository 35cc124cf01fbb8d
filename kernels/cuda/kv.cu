/* Pages of keys and values. They are allocated in chunks; kernels find a page by a table of chunks.
 *
 * Keys and values that the card has no room for lie in pinned host memory. Kernels read there what they read on the card: with
 * recall a few hundred tokens for each row, since the indexes stay on the card. SIGNATURES.md has the arithmetic. */
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "kernels/cuda/device.h"
#include "kernels/cuda/rotate.h"

/* The card keeps so much free, or a sixteenth of its memory if that is less, for scratch memory of its operations. */
#define KEPT_FREE ((size_t)192 << 20)

static size_t pages_bytes(const struct kg_kv *kv)
{
    return KG_CHUNK_PAGES * KG_KV_PAGE_BYTES(&kv->shape);
}

static size_t index_bytes(const struct kg_kv *kv)
{
    return KG_CHUNK_PAGES * (KG_INDEX_PAGE_BYTES(&kv->shape) + kv->shape.layers);
}

enum kg_status kg_cuda_room(struct kg_device *device, size_t *bytes, size_t *kept, struct kg_error *err)
{
    (void)device;
    size_t total = 0;
    const cudaError_t error = cudaMemGetInfo(bytes, &total);
    if (error != cudaSuccess)
        return kg_cuda_fail(err, error, "asking for free memory");
    *kept = total / 16 < KEPT_FREE ? total / 16 : KEPT_FREE;
    return KG_OK;
}

enum kg_status kg_cuda_kv_create(struct kg_device *device, const struct kg_kv_shape *shape, struct kg_kv **out, struct kg_error *err)
{
    (void)device;
    if (shape->type != KG_KV_F16)
        return kg_fail(err, KG_ERR_UNSUPPORTED, "a CUDA device keeps keys and values as f16 only; use f16 for them, or compute on the CPU");
    assert(shape->layers && shape->kv_heads && shape->head_size && shape->head_size % 2 == 0 && shape->head_size <= KG_HEAD_MAX);
    assert(shape->index_bits * shape->head_size % 32 == 0 && (shape->index_bits < 3 || shape->index_bits == 4));
    struct kg_kv *kv = (struct kg_kv *)calloc(1, sizeof *kv);
    if (!kv)
        return kg_fail_nomem(err, "creating pages");
    kv->shape = *shape;
    *out = kv;
    return KG_OK;
}

static void free_chunks(struct kg_device *device, struct kg_cuda_chunk *chunk, uint32_t from, uint32_t to)
{
    for (uint32_t c = from; c < to; c++) {
        kg_cuda_free(device, &chunk[c].index);
        if (chunk[c].on_host)
            kg_cuda_unpin(device, &chunk[c].pages);
        else
            kg_cuda_free(device, &chunk[c].pages);
    }
}

/* A new table of `chunks` addresses on the device; the old one goes. */
static enum kg_status set_table(struct kg_device *device, struct kg_kv *kv, const struct kg_cuda_chunk *chunk, uint32_t chunks, struct kg_error *err)
{
    struct kg_cuda_memory table = { NULL, 0 };
    struct kg_cuda_place *places = (struct kg_cuda_place *)malloc(chunks * sizeof *places);
    if (!places)
        return kg_fail_nomem(err, "adding pages of keys and values");
    const enum kg_status status = kg_cuda_alloc(device, chunks * sizeof *places, &table, "adding pages of keys and values", err);
    if (status == KG_OK) {
        for (uint32_t c = 0; c < chunks; c++)
            places[c] = { (uint8_t *)chunk[c].pages.bits, (uint8_t *)chunk[c].index.bits };
        kg_cuda_upload(device, table.bits, places, chunks * sizeof *places);
        kg_cuda_free(device, &kv->table);
        kv->table = table;
    }
    free(places);
    return status;
}

/* Bytes that nobody uses, and those of them that pages and indexes may have. */
static enum kg_status usable_room(struct kg_device *device, size_t *unused, size_t *usable, struct kg_error *err)
{
    size_t kept = 0;
    const enum kg_status status = kg_cuda_room(device, unused, &kept, err);
    *usable = *unused > kept ? *unused - kept : 0;
    return status;
}

/* Pinned memory is taken from everybody: at most half of what the machine has. Asked first, so that a wish far too large takes no time. */
static enum kg_status require_host(const struct kg_kv *kv, uint32_t chunks, struct kg_error *err)
{
    const size_t most = (size_t)sysconf(_SC_PHYS_PAGES) / 2 * (size_t)sysconf(_SC_PAGESIZE);
    size_t pinned = 0;
    for (uint32_t c = 0; c < kv->chunks; c++)
        pinned += kv->chunk[c].on_host ? kv->chunk[c].pages.bytes : 0;
    if (pinned > most || chunks > (most - pinned) / pages_bytes(kv))
        return kg_fail(err, KG_ERR_NOMEM, "neither the CUDA device nor half of this machine's memory (%zu bytes) has room for so long a context; use a shorter one", most);
    return KG_OK;
}

/* The pages of chunk c go from the card to host memory. */
static enum kg_status move_to_host(struct kg_device *device, struct kg_kv *kv, uint32_t c, struct kg_error *err)
{
    struct kg_cuda_memory on_card = kv->chunk[c].pages, on_host = { NULL, 0 };
    enum kg_status status = kg_cuda_pin(on_card.bytes, &on_host, "moving keys and values", err);
    if (status == KG_OK)
        status = kg_cuda_download(device, on_host.bits, on_card.bits, on_card.bytes, err);
    if (status == KG_OK) {
        kv->chunk[c].pages = on_host;
        status = set_table(device, kv, kv->chunk, kv->chunks, err);
        if (status != KG_OK)
            kv->chunk[c].pages = on_card;
    }
    if (status != KG_OK) {
        kg_cuda_unpin(device, &on_host);
        return status;
    }
    kv->chunk[c].on_host = true;
    kg_cuda_free(device, &on_card);
    return KG_OK;
}

/* A context that grows bit by bit fills the card with pages; then they make room for indexes, which have no other place. */
static enum kg_status make_room_for_indexes(struct kg_device *device, struct kg_kv *kv, uint32_t chunks, struct kg_error *err)
{
    enum kg_status status = KG_OK;
    for (uint32_t c = kv->chunks; c-- > 0 && status == KG_OK;) {
        size_t unused = 0, usable = 0;
        if (kv->chunk[c].on_host)
            continue;
        status = usable_room(device, &unused, &usable, err);
        if (status != KG_OK || chunks <= usable / index_bytes(kv))
            break;
        status = require_host(kv, 1, err);
        if (status == KG_OK)
            status = move_to_host(device, kv, c, err);
    }
    return status;
}

/* How many more chunks have their pages on the card: as many as leave it what it keeps, once the indexes of all are there. */
static enum kg_status room_on_card(struct kg_device *device, const struct kg_kv *kv, uint32_t chunks, uint32_t *on_card, struct kg_error *err)
{
    size_t unused = 0, usable = 0;
    const enum kg_status status = usable_room(device, &unused, &usable, err);
    if (status != KG_OK)
        return status;
    if (chunks > usable / index_bytes(kv))
        return kg_fail(err, KG_ERR_NOMEM, "the CUDA device has no room for %u more tokens in context (%zu bytes are free); use a shorter context, fewer --gpu-layers, or compute on the CPU",
                       chunks > UINT32_MAX / (KG_CHUNK_PAGES * KG_PAGE) ? UINT32_MAX : chunks * KG_CHUNK_PAGES * KG_PAGE, unused);
    const size_t n = (usable - chunks * index_bytes(kv)) / pages_bytes(kv);
    *on_card = n < chunks ? (uint32_t)n : chunks;
    return KG_OK;
}

/* Nothing in it is indexed. */
static enum kg_status add_chunk(struct kg_device *device, const struct kg_kv *kv, bool on_host, struct kg_cuda_chunk *chunk, struct kg_error *err)
{
    static const char what[] = "adding pages of keys and values";
    const size_t bytes = index_bytes(kv), marks = (size_t)KG_CHUNK_PAGES * kv->shape.layers;
    enum kg_status status = kg_cuda_alloc(device, bytes, &chunk->index, what, err);
    if (status != KG_OK)
        return status;
    (void)kg_cuda_ok(device, cudaMemsetAsync((uint8_t *)chunk->index.bits + bytes - marks, 0, marks, device->stream), "clearing pages");
    status = on_host ? KG_ERR_NOMEM : kg_cuda_alloc(device, pages_bytes(kv), &chunk->pages, what, err);
    if (status == KG_OK)
        return KG_OK;
    chunk->on_host = true;
    return kg_cuda_pin(pages_bytes(kv), &chunk->pages, what, err);
}

/* The notice says from where on pages are in host memory, so that it is one however many there will be. */
static void note_host(struct kg_kv *kv)
{
    uint32_t on_card = 0;
    while (on_card < kv->chunks && !kv->chunk[on_card].on_host)
        on_card++;
    if (on_card < kv->chunks && !kv->notice[0])
        snprintf(kv->notice, sizeof kv->notice,
                 "the card has room for the keys and values of %u tokens; those of more lie in this machine's memory, where reading them takes longer",
                 on_card * KG_CHUNK_PAGES * KG_PAGE);
}

enum kg_status kg_cuda_kv_reserve(struct kg_device *device, struct kg_kv *kv, uint32_t pages, struct kg_error *err)
{
    const uint32_t chunks = pages / KG_CHUNK_PAGES + (pages % KG_CHUNK_PAGES != 0);
    if (chunks <= kv->chunks)
        return KG_OK;
    uint32_t on_card = 0;
    enum kg_status status = make_room_for_indexes(device, kv, chunks - kv->chunks, err);
    if (status == KG_OK)
        status = room_on_card(device, kv, chunks - kv->chunks, &on_card, err);
    if (status == KG_OK)
        status = require_host(kv, chunks - kv->chunks - on_card, err);
    struct kg_cuda_chunk *chunk = status == KG_OK ? (struct kg_cuda_chunk *)calloc(chunks, sizeof *chunk) : NULL;
    if (!chunk)
        return status ? status : kg_fail_nomem(err, "adding pages of keys and values");
    if (kv->chunks)
        memcpy(chunk, kv->chunk, kv->chunks * sizeof *chunk);
    for (uint32_t c = kv->chunks; c < chunks && status == KG_OK; c++)
        status = add_chunk(device, kv, c - kv->chunks >= on_card, &chunk[c], err);
    if (status == KG_OK)
        status = set_table(device, kv, chunk, chunks, err);
    if (status != KG_OK) {
        free_chunks(device, chunk, kv->chunks, chunks);
        free(chunk);
        return status;
    }
    free(kv->chunk);
    kv->chunk = chunk;
    kv->chunks = chunks;
    note_host(kv);
    return KG_OK;
}

const char *kg_cuda_kv_notice(struct kg_device *device, const struct kg_kv *kv)
{
    (void)device;
    return kv->notice[0] ? kv->notice : NULL;
}

void kg_cuda_kv_free(struct kg_device *device, struct kg_kv *kv)
{
    if (!kv)
        return;
    free_chunks(device, kv->chunk, 0, kv->chunks);
    kg_cuda_free(device, &kv->table);
    free(kv->chunk);
    free(kv);
}

static uint8_t *page_at(const struct kg_kv *kv, uint32_t page)
{
    assert(page / KG_CHUNK_PAGES < kv->chunks);
    return (uint8_t *)kv->chunk[page / KG_CHUNK_PAGES].pages.bits + page % KG_CHUNK_PAGES * KG_KV_PAGE_BYTES(&kv->shape);
}

/* The index of a page, and for each of its layers how many of its tokens are in it. */
static uint8_t *index_of(const struct kg_kv *kv, uint32_t page)
{
    return (uint8_t *)kv->chunk[page / KG_CHUNK_PAGES].index.bits + page % KG_CHUNK_PAGES * KG_INDEX_PAGE_BYTES(&kv->shape);
}

static uint8_t *marks_of(const struct kg_kv *kv, uint32_t page)
{
    const struct kg_kv_shape *s = &kv->shape;
    return (uint8_t *)kv->chunk[page / KG_CHUNK_PAGES].index.bits + KG_CHUNK_PAGES * KG_INDEX_PAGE_BYTES(s) + page % KG_CHUNK_PAGES * s->layers;
}

enum kg_status kg_cuda_kv_export(struct kg_device *device, const struct kg_kv *kv, uint32_t page, void *host, struct kg_error *err)
{
    return kg_cuda_download(device, host, page_at(kv, page), KG_KV_PAGE_BYTES(&kv->shape), err);
}

/* Imports may come from a thread of the cache. */
static void choose_card(struct kg_device *device)
{
    (void)kg_cuda_ok(device, cudaSetDevice(device->card), "choosing the device");
}

void kg_cuda_kv_import(struct kg_device *device, struct kg_kv *kv, uint32_t page, const void *host)
{
    choose_card(device);
    kg_cuda_upload(device, page_at(kv, page), host, KG_KV_PAGE_BYTES(&kv->shape));
}

struct kg_cuda_pages kg_cuda_pages_of(const struct kg_kv *kv, uint32_t layer)
{
    const struct kg_kv_shape *shape = &kv->shape;
    const struct kg_cuda_pages pages = { (const struct kg_cuda_place *)kv->table.bits, KG_KV_PAGE_BYTES(shape), KG_INDEX_PAGE_BYTES(shape), layer, shape->layers,
                                         shape->kv_heads, shape->head_size, shape->index_bits, 0 };
    return pages;
}

const struct kg_cuda_touched *kg_cuda_touched_of(struct kg_device *device, const struct kg_kv *kv, const uint32_t *pages, uint32_t first, int32_t local,
                                                 uint32_t rows)
{
    struct kg_cuda_touched touched = { first, first + rows, local, { 0 } };
    assert(rows >= 1 && rows <= KG_ROWS_MAX);
    const uint32_t from = first / KG_PAGE, to = (first + rows - 1) / KG_PAGE;
    for (uint32_t p = from; p <= to; p++) {
        assert(pages[p] / KG_CHUNK_PAGES < kv->chunks);
        touched.page[p - from] = pages[p];
    }
    return kg_cuda_now(device, touched);
}

/* A block a row and KV head, a thread a pair of elements. All loads come first, and of pages both that the row may be in. */
__global__ void kg_kv_write(struct kg_cuda_pages pages, const struct kg_cuda_touched *touched, const float *k, const float *v, struct kg_cuda_rope rope)
{
    kg_begin();
    const uint32_t head = blockIdx.x, row = blockIdx.y, n = pages.head_size, i = threadIdx.x;
    if (i >= n / 2)
        return;
    const uint32_t near = touched->page[row / KG_PAGE], far = touched->page[row / KG_PAGE + 1], first = touched->first, t = first + row;
    const bool turns = i < rope.pairs;
    const uint32_t a = turns ? kg_rope_first(rope, i) : 2 * i, b = turns ? kg_rope_second(rope, i) : 2 * i + 1;
    k += ((size_t)row * pages.kv_heads + head) * n;
    v += ((size_t)row * pages.kv_heads + head) * n;
    float2 pair = make_float2(k[a], k[b]);
    const float2 values = reinterpret_cast<const float2 *>(v)[i];
    if (turns)
        pair = kg_turn(pair.x, pair.y, kg_angle(rope, i, (int64_t)touched->local + t));
    const uint32_t page = t / KG_PAGE - first / KG_PAGE == row / KG_PAGE ? near : far;
    __half *key = kg_page_at(pages, page, 0, head, t % KG_PAGE), *value = kg_page_at(pages, page, 1, head, t % KG_PAGE);
    if (i == 0 && head == 0 && (row == 0 || t % KG_PAGE == 0))
        *kg_indexed_at(pages, page) = 0;
    reinterpret_cast<__half2 *>(value)[i] = __floats2half2_rn(values.x, values.y);
    key[a] = __float2half_rn(pair.x);
    key[b] = __float2half_rn(pair.y);
}

void kg_cuda_kv_write(struct kg_device *device, struct kg_kv *kv, uint32_t layer, const uint32_t *pages, uint32_t first, int32_t local,
                      const struct kg_buffer *k, const struct kg_buffer *v, const struct kg_rope *rope, uint32_t rows)
{
    const size_t width = (size_t)kv->shape.kv_heads * kv->shape.head_size;
    const float *key = (const float *)kg_cuda_in(k, rows * width, sizeof *key), *value = (const float *)kg_cuda_in(v, rows * width, sizeof *value);
    assert(layer < kv->shape.layers);
    const struct kg_cuda_rope turn = kg_cuda_rope_of(device, rope);
    const struct kg_cuda_touched *touched = kg_cuda_touched_of(device, kv, pages, first, local, rows);
    const unsigned threads = (kv->shape.head_size / 2 + 31) / 32 * 32;
    kg_cuda_launch_early(device, "kv_write", kg_kv_write, dim3(kv->shape.kv_heads, rows), threads, 0, kg_cuda_pages_of(kv, layer), touched, key, value, turn);
}

enum kg_status kg_cuda_index_export(struct kg_device *device, const struct kg_kv *kv, uint32_t page, void *host, uint32_t *tokens, struct kg_error *err)
{
    uint8_t *marks = (uint8_t *)calloc(kv->shape.layers, 1);
    if (!marks)
        return kg_fail_nomem(err, "reading a key index");
    enum kg_status status = kg_cuda_download(device, host, index_of(kv, page), KG_INDEX_PAGE_BYTES(&kv->shape), err);
    if (status == KG_OK)
        status = kg_cuda_download(device, marks, marks_of(kv, page), kv->shape.layers, err);
    *tokens = marks[0];
    for (uint32_t l = 1; l < kv->shape.layers; l++)
        *tokens = marks[l] < *tokens ? marks[l] : *tokens;
    free(marks);
    return status;
}

void kg_cuda_index_import(struct kg_device *device, struct kg_kv *kv, uint32_t page, const void *host, uint32_t tokens)
{
    assert(tokens <= KG_PAGE);
    choose_card(device);
    kg_cuda_upload(device, index_of(kv, page), host, KG_INDEX_PAGE_BYTES(&kv->shape));
    if (!device->failed)
        (void)kg_cuda_ok(device, cudaMemsetAsync(marks_of(kv, page), (int)tokens, kv->shape.layers, device->stream), "marking an index");
}
