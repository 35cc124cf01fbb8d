/* Speed of kg_backend_cpu's products by type of weights and number of rows.
 *
 *   matmul_bench [threads [cols [TYPE]]]
 *
 * GB/s counts packed weight bytes as decoding reads them, from a matrix larger than the caches; few rows are given by
 * their time compared with one row. Gop/s are two operations for each weight and row. Medians: the number of rows
 * changes from run to run, so that a disturbance meets all of them. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "kernels/backend.h"
#include "tests/unit/quantise.h"

#define WEIGHT_BYTES ((size_t)160 << 20) /* for few rows, at least */
#define MANY_W_ROWS  2048                /* for many */
#define RUNS         9

static const uint32_t few[] = { 1, 2, 3, 4, 5, 6, 7, 8, 12, 16 }, many[] = { 16, 64, 512 };
#define FEW  (sizeof few / sizeof *few)
#define MANY (sizeof many / sizeof *many)

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

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Seconds of one product for each number of rows. */
static void time_products(struct kg_device *device, const struct kg_matrix *w, uint32_t w_rows, uint32_t cols, const uint32_t *rows,
                          size_t n, double *seconds)
{
    struct kg_buffer *x = NULL, *out = NULL;
    struct kg_error err;
    const size_t most = rows[n - 1];
    double (*runs)[RUNS] = checked(malloc(n * sizeof *runs));
    float *host = checked(malloc(most * cols * sizeof *host));
    for (size_t i = 0; i < most * cols; i++)
        host[i] = (float)(i * 2654435761U % 1000) / 500 - 1;
    must(kg_backend_cpu.buffer_create(device, most * cols * sizeof(float), &x, &err), &err);
    must(kg_backend_cpu.buffer_create(device, most * w_rows * sizeof(float), &out, &err), &err);
    kg_backend_cpu.write(device, x, 0, host, most * cols * sizeof(float));
    kg_backend_cpu.matmul(device, out, w, x, NULL, rows[n - 1]); /* first touches */
    for (int run = 0; run < RUNS; run++) {
        for (size_t i = 0; i < n; i++) {
            kg_backend_cpu.write(device, x, 0, host, rows[i] * (size_t)cols * sizeof(float));
            const double begin = now();
            kg_backend_cpu.matmul(device, out, w, x, NULL, rows[i]);
            runs[i][run] = now() - begin;
        }
    }
    for (size_t i = 0; i < n; i++) {
        qsort(runs[i], RUNS, sizeof(double), by_value);
        seconds[i] = runs[i][RUNS / 2];
    }
    kg_backend_cpu.buffer_free(device, x);
    kg_backend_cpu.buffer_free(device, out);
    free(host);
    free(runs);
}

static void bench_type(struct kg_device *device, enum kg_type type, uint32_t cols)
{
    const long cache = sysconf(_SC_LEVEL3_CACHE_SIZE);
    const size_t least = cache > 0 && 2 * (size_t)cache > WEIGHT_BYTES ? 2 * (size_t)cache : WEIGHT_BYTES;
    const size_t row_bytes = quantise_bytes(type, cols), held = kg_backend_cpu.memory(device);
    const uint32_t w_rows = (uint32_t)(least / row_bytes / 16 * 16);
    double seconds[FEW > MANY ? FEW : MANY];
    struct kg_matrix *w = make_matrix(device, type, w_rows, cols);
    const double bytes = (double)(kg_backend_cpu.memory(device) - held);
    time_products(device, w, w_rows, cols, few, FEW, seconds);
    printf("%-5s %+5.1f %%  1: %5.1f GB/s ", kg_type_name(type), 100 * (bytes / ((double)row_bytes * w_rows) - 1), bytes / seconds[0] * 1e-9);
    for (size_t i = 1; i < FEW; i++)
        printf("  %u: %.2f", few[i], seconds[i] / seconds[0]);
    kg_backend_cpu.matrix_free(device, w);
    w = make_matrix(device, type, MANY_W_ROWS, cols);
    time_products(device, w, MANY_W_ROWS, cols, many, MANY, seconds);
    printf(" ");
    for (size_t i = 0; i < MANY; i++)
        printf("  %u: %4.0f", many[i], 2e-9 * many[i] * MANY_W_ROWS * cols / seconds[i]);
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
