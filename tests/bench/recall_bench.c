/* Time of kg_backend_cpu's recall at a depth, for heads like those of Qwen2.5-0.5B: 24 layers, 14 query heads, 2 KV heads of 64.
 *
 *   recall_bench [threads [depth [rows [bits]]]]
 *
 * The view is files of BLOCK tokens behind a preamble, then a turn that the rows end. Operations go through the layers one
 * after the other, and between two rounds as many bytes are read as the model's weights have: what a scan reads comes from
 * memory, as in decoding. Microseconds a layer: the mean over the layers of the fastest of ROUNDS. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "kernels/backend.h"
#include "tests/unit/seeded.h"

#define LAYERS   24
#define HEADS    14
#define KV_HEADS 2
#define HEAD     64
#define PREAMBLE 40
#define BLOCK    1000
#define WEIGHTS  ((size_t)400 << 20)
#define ROUNDS   9
#define FULL     2 /* layers that full attention is measured over */

struct bench {
    struct kg_device *device;
    struct kg_kv *kv;
    struct kg_view *view;
    struct kg_rope rope;
    struct kg_attention attention;
    struct kg_look look;
    struct kg_buffer *q, *out, *chosen;
    uint32_t depth, rows, pages, *numbers;
    char *weights;
};

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static void *checked(void *p)
{
    if (!p) {
        fprintf(stderr, "recall_bench: out of memory\n");
        exit(1);
    }
    return p;
}

static void must(enum kg_status status, const struct kg_error *err)
{
    if (status != KG_OK) {
        fprintf(stderr, "recall_bench: %s\n", err->text);
        exit(1);
    }
}

static struct kg_buffer *create(struct bench *b, size_t bytes)
{
    struct kg_buffer *buffer = NULL;
    struct kg_error err;
    must(kg_backend_cpu.buffer_create(b->device, bytes, &buffer, &err), &err);
    return buffer;
}

/* Keys of some direction in common and some of their own, in every layer the same. */
static void write_block(struct bench *b, uint32_t first_page, uint32_t tokens, int32_t local, uint64_t *seed)
{
    const size_t n = (size_t)KG_ROWS_MAX * KV_HEADS * HEAD;
    float *host = checked(malloc(n * sizeof *host));
    struct kg_buffer *k = create(b, n * sizeof *host);
    for (uint32_t t = 0; t < tokens; t += KG_ROWS_MAX) {
        const uint32_t rows = tokens - t < KG_ROWS_MAX ? tokens - t : KG_ROWS_MAX;
        seeded_normals(seed, 1.5, host, n);
        kg_backend_cpu.write(b->device, k, 0, host, n * sizeof *host);
        for (uint32_t l = 0; l < LAYERS; l++) {
            kg_backend_cpu.kv_write(b->device, b->kv, l, b->numbers + first_page, t, local, k, k, &b->rope, rows);
            kg_backend_cpu.index_write(b->device, b->kv, l, b->numbers + first_page, t, rows, t + rows == tokens);
        }
    }
    kg_backend_cpu.buffer_free(b->device, k);
    free(host);
}

static void fill(struct bench *b)
{
    struct kg_span *spans = checked(calloc(b->depth / BLOCK + 3, sizeof *spans));
    struct kg_error err;
    uint64_t seed = 1;
    uint32_t n = 0, at = 0, page = 0;
    while (at < b->depth + b->rows) {
        const uint32_t left = b->depth + b->rows - at, size = n == 0 ? PREAMBLE : left < 2 * BLOCK ? left : BLOCK;
        spans[n] = (struct kg_span){ b->numbers + page, size, (int32_t)at, n ? PREAMBLE : 0 };
        write_block(b, page, size, spans[n].local, &seed);
        n++;
        at += size;
        page += (size + KG_PAGE - 1) / KG_PAGE;
    }
    must(kg_backend_cpu.view_set(b->device, b->view, spans, n, &err), &err);
    free(spans);
}

static void set_up(struct bench *b, uint32_t threads, uint32_t bits)
{
    struct kg_error err;
    const struct kg_kv_shape shape = { LAYERS, KV_HEADS, HEAD, bits, KG_KV_F16 };
    uint64_t seed = 7;
    const size_t n = (size_t)b->rows * HEADS * HEAD;
    must(kg_backend_cpu.open(&(struct kg_device_options){ .threads = threads }, &b->device, &err), &err);
    must(kg_backend_cpu.kv_create(b->device, &shape, &b->kv, &err), &err);
    b->pages = (b->depth + b->rows) / KG_PAGE + b->depth / BLOCK + 3;
    must(kg_backend_cpu.kv_reserve(b->device, b->kv, b->pages, &err), &err);
    must(kg_backend_cpu.view_create(b->device, &b->view, &err), &err);
    b->numbers = checked(calloc(b->pages, sizeof *b->numbers));
    for (uint32_t i = 0; i < b->pages; i++)
        b->numbers[i] = i;
    b->rope = (struct kg_rope){ .layout = KG_ROPE_HALVES, .pairs = HEAD / 2, .scale = 1 };
    for (uint32_t j = 0; j < HEAD / 2; j++)
        b->rope.frequency[j] = pow(1e6, -2.0 * j / HEAD);
    b->attention = (struct kg_attention){ HEADS, KV_HEADS, HEAD, 0.125F, 0, &b->rope };
    b->look = (struct kg_look){ .sinks = 4, .window = 64, .k = 576 };
    b->q = create(b, n * sizeof(float));
    b->out = create(b, n * sizeof(float));
    b->chosen = create(b, (size_t)b->rows * KV_HEADS * b->look.k * sizeof(int32_t));
    float *host = checked(malloc(n * sizeof *host));
    seeded_normals(&seed, 1.5, host, n);
    kg_backend_cpu.write(b->device, b->q, 0, host, n * sizeof *host);
    free(host);
    b->weights = checked(malloc(WEIGHTS));
    memset(b->weights, 1, WEIGHTS);
    fill(b);
}

static void tear_down(struct bench *b)
{
    kg_backend_cpu.buffer_free(b->device, b->q);
    kg_backend_cpu.buffer_free(b->device, b->out);
    kg_backend_cpu.buffer_free(b->device, b->chosen);
    kg_backend_cpu.view_free(b->device, b->view);
    kg_backend_cpu.kv_free(b->device, b->kv);
    kg_backend_cpu.close(b->device);
    free(b->numbers);
    free(b->weights);
}

static void choose(struct bench *b, uint32_t layer)
{
    kg_backend_cpu.choose(b->device, b->chosen, b->q, b->kv, layer, b->view, &b->attention, &b->look, (int32_t)b->depth, b->rows);
}

static void attend_chosen(struct bench *b, uint32_t layer)
{
    kg_backend_cpu.attend_chosen(b->device, b->out, b->q, b->kv, layer, b->view, &b->attention, &b->look, b->chosen, (int32_t)b->depth, b->rows);
}

static void attend(struct bench *b, uint32_t layer)
{
    kg_backend_cpu.attend(b->device, b->out, b->q, b->kv, layer, b->view, &b->attention, (int32_t)b->depth, b->rows);
}

/* The pages that so many rows fill, one at least. */
static void index_write(struct bench *b, uint32_t layer)
{
    kg_backend_cpu.index_write(b->device, b->kv, layer, b->numbers, 0, b->rows < KG_PAGE ? KG_PAGE : b->rows, false);
}

static volatile unsigned long read_bytes;

static void read_weights(const struct bench *b)
{
    unsigned long sum = 0;
    for (size_t i = 0; i < WEIGHTS; i += 64)
        sum += (unsigned char)b->weights[i];
    read_bytes = sum;
}

/* Choices and attention take turns, since a choice differs from layer to layer. */
static void time_recall(struct bench *b, double *choice, double *attention)
{
    double first[LAYERS], second[LAYERS];
    *choice = *attention = 0;
    for (int round = 0; round < ROUNDS; round++) {
        read_weights(b);
        for (uint32_t l = 0; l < LAYERS; l++) {
            const double begin = now();
            choose(b, l);
            const double middle = now();
            attend_chosen(b, l);
            const double end = now();
            first[l] = round ? fmin(first[l], middle - begin) : middle - begin;
            second[l] = round ? fmin(second[l], end - middle) : end - middle;
        }
    }
    for (uint32_t l = 0; l < LAYERS; l++) {
        *choice += first[l] / LAYERS;
        *attention += second[l] / LAYERS;
    }
}

static double time_layers(struct bench *b, void (*operation)(struct bench *, uint32_t), uint32_t layers)
{
    double best[LAYERS], mean = 0;
    for (int round = 0; round < ROUNDS; round++) {
        read_weights(b);
        for (uint32_t l = 0; l < layers; l++) {
            const double begin = now();
            operation(b, l);
            const double seconds = now() - begin;
            best[l] = round ? fmin(best[l], seconds) : seconds;
        }
    }
    for (uint32_t l = 0; l < layers; l++)
        mean += best[l] / layers;
    return mean;
}

static uint32_t argument(int argc, char **argv, int i, uint32_t usual)
{
    return argc > i ? (uint32_t)strtoul(argv[i], NULL, 10) : usual;
}

int main(int argc, char **argv)
{
    struct bench b = { .depth = argument(argc, argv, 2, 16384), .rows = argument(argc, argv, 3, 1) };
    const uint32_t bits = argument(argc, argv, 4, 2);
    if (b.rows < 1 || b.rows > KG_ROWS_MAX || b.depth < 1 || b.depth > 1U << 20 || (bits != 1 && bits != 2 && bits != 4)) {
        fprintf(stderr, "recall_bench: 1 to %d rows, a depth of 1 to 2^20, and 1, 2 or 4 bits\n", KG_ROWS_MAX);
        return 2;
    }
    double choice, attention;
    set_up(&b, argument(argc, argv, 1, 1), bits);
    printf("%s, depth %u, %u row%s, %u bits, k %u, window %u\n", kg_backend_cpu.describe(b.device), b.depth, b.rows, b.rows == 1 ? "" : "s", bits,
           b.look.k, b.look.window);
    time_recall(&b, &choice, &attention);
    printf("choose %.1f us, attend_chosen %.1f us, together %.2f ms for %d layers\n", 1e6 * choice, 1e6 * attention,
           1e3 * LAYERS * (choice + attention), LAYERS);
    printf("attend %.1f us, index_write of %u page%s %.1f us\n", 1e6 * time_layers(&b, attend, FULL), b.rows < KG_PAGE ? 1 : b.rows / KG_PAGE,
           b.rows < 2 * KG_PAGE ? "" : "s", 1e6 * time_layers(&b, index_write, LAYERS));
    tear_down(&b);
    return 0;
}
