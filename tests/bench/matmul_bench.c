/* Speed of kg_backend_cpu's products by type of weights and number of rows.
 *
 *   matmul_bench [threads [cols [TYPE]]]
 *
 * GB/s counts packed weight bytes as decoding reads them (a matrix larger than the caches), Gop/s two operations
 * for each weight and row. Best of several runs. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "kernels/backend.h"
#include "tests/unit/quantise.h"

#define WEIGHT_BYTES ((size_t)160 << 20) /* for few rows */
#define MANY_W_ROWS  2048                /* for many */
#define SECONDS      0.4

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static void *checked(void *p)
{
    if (!p) {
        fprintf(stderr, "matmul_bench: out of memory\n");
        exit(1);
    }
    return p;
}

static void must(enum kg_status status, const struct kg_error *err)
{
    if (status != KG_OK) {
        fprintf(stderr, "matmul_bench: %s\n", err->text);
        exit(1);
    }
}

static struct kg_matrix *make_matrix(struct kg_device *device, enum kg_type type, uint32_t rows, uint32_t cols)
{
    const size_t part = quantise_bytes(type, (size_t)16 * cols);
    uint64_t seed = 1;
    char *blocks = checked(malloc(part * (rows / 16)));
    quantise_at_random(type, QUANTISE_PLAIN, &seed, (size_t)16 * cols, blocks);
    for (size_t i = 1; i < rows / 16; i++)
        memcpy(blocks + i * part, blocks, part);
    struct kg_matrix *matrix = NULL;
    struct kg_error err;
    must(kg_backend_cpu.matrix_create(device, type, rows, cols, blocks, KG_USE_MATMUL, &matrix, &err), &err);
    free(blocks);
    return matrix;
}

/* Seconds of one product. */
static double time_product(struct kg_device *device, const struct kg_matrix *w, uint32_t w_rows, uint32_t cols, uint32_t rows)
{
    struct kg_buffer *x = NULL, *out = NULL;
    struct kg_error err;
    float *host = checked(malloc((size_t)rows * cols * sizeof *host));
    for (size_t i = 0; i < (size_t)rows * cols; i++)
        host[i] = (float)(i * 2654435761U % 1000) / 500 - 1;
    must(kg_backend_cpu.buffer_create(device, (size_t)rows * cols * sizeof(float), &x, &err), &err);
    must(kg_backend_cpu.buffer_create(device, (size_t)rows * w_rows * sizeof(float), &out, &err), &err);
    double best = 1e9;
    const double start = now();
    for (int run = 0; run < 3 || now() - start < SECONDS; run++) {
        kg_backend_cpu.write(device, x, 0, host, (size_t)rows * cols * sizeof(float));
        const double begin = now();
        kg_backend_cpu.matmul(device, out, w, x, NULL, rows);
        const double seconds = now() - begin;
        best = seconds < best ? seconds : best;
    }
    kg_backend_cpu.buffer_free(device, x);
    kg_backend_cpu.buffer_free(device, out);
    free(host);
    return best;
}

static void bench_type(struct kg_device *device, enum kg_type type, uint32_t cols)
{
    static const uint32_t few[] = { 1, 2, 4 }, many[] = { 8, 16, 64, 512 };
    const size_t row_bytes = quantise_bytes(type, cols), held = kg_backend_cpu.memory(device);
    const uint32_t w_rows = (uint32_t)(WEIGHT_BYTES / row_bytes / 16 * 16);
    struct kg_matrix *w = make_matrix(device, type, w_rows, cols);
    const double bytes = (double)(kg_backend_cpu.memory(device) - held);
    printf("%-5s %+5.1f %%", kg_type_name(type), 100 * (bytes / ((double)row_bytes * w_rows) - 1));
    for (size_t i = 0; i < sizeof few / sizeof *few; i++) {
        const double seconds = time_product(device, w, w_rows, cols, few[i]);
        printf("  %u: %5.1f GB/s %4.0f Gop/s", few[i], bytes / seconds * 1e-9, 2e-9 * few[i] * w_rows * cols / seconds);
    }
    kg_backend_cpu.matrix_free(device, w);
    w = make_matrix(device, type, MANY_W_ROWS, cols);
    for (size_t i = 0; i < sizeof many / sizeof *many; i++)
        printf("  %u: %4.0f", many[i], 2e-9 * many[i] * MANY_W_ROWS * cols / time_product(device, w, MANY_W_ROWS, cols, many[i]));
    printf(" Gop/s\n");
    fflush(stdout);
    kg_backend_cpu.matrix_free(device, w);
}

int main(int argc, char **argv)
{
    struct kg_device *device = NULL;
    struct kg_error err;
    const struct kg_device_options options = { .threads = argc > 1 ? (uint32_t)strtoul(argv[1], NULL, 10) : 1 };
    const uint32_t cols = argc > 2 ? (uint32_t)strtoul(argv[2], NULL, 10) : 1536;
    if (cols == 0 || cols % 256) {
        fprintf(stderr, "matmul_bench: columns must be a multiple of 256\n");
        return 2;
    }
    must(kg_backend_cpu.open(&options, &device, &err), &err);
    printf("%s, %u columns, memory read at %.1f GB/s; bytes more than the file's; rows: speed\n",
           kg_backend_cpu.describe(device), cols, kg_backend_cpu.read_bandwidth(device) * 1e-9);
    for (size_t t = 0; t < QUANTISE_TYPES; t++) {
        if (argc <= 3 || strcmp(argv[3], kg_type_name(quantise_types[t])) == 0)
            bench_type(device, quantise_types[t], cols);
    }
    kg_backend_cpu.close(device);
    return 0;
}
