/* Weights: packing, rows taken out (embed), products with them (matmul). */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/cpu/device.h"

static uint32_t tiles_of(const struct kg_matrix *matrix)
{
    return (matrix->rows + KG_LANES - 1) / KG_LANES;
}

static uint8_t *tile_at(const struct kg_matrix *matrix, uint32_t tile)
{
    return (uint8_t *)matrix->tiles + tile * matrix->tile_bytes;
}

struct packing {
    struct kg_matrix *matrix;
    const void *blocks;
    uint32_t tiles_in_piece;
};

static void pack_piece(void *context, uint32_t piece, uint32_t thread)
{
    (void)thread;
    const struct packing *packing = context;
    struct kg_matrix *m = packing->matrix;
    const uint32_t begin = piece * packing->tiles_in_piece, tiles = tiles_of(m);
    for (uint32_t tile = begin; tile < begin + packing->tiles_in_piece && tile < tiles; tile++)
        kg_pack_tile(m->type, m->rows, m->cols, packing->blocks, tile, tile_at(m, tile));
}

enum kg_status kg_cpu_matrix_create(struct kg_device *device, enum kg_type type, uint32_t rows, uint32_t cols, const void *blocks,
                                    unsigned uses, struct kg_matrix **out, struct kg_error *err)
{
    uint32_t elements = 1, bytes = 0;
    if (!kg_type_layout(type, &elements, &bytes))
        return kg_fail(err, KG_ERR_UNSUPPORTED, "weights of type number %d cannot be read; use a file in another quantisation", (int)type);
    assert(rows && cols && cols % elements == 0);
    struct kg_matrix *matrix = calloc(1, sizeof *matrix);
    if (!matrix)
        return kg_fail_nomem(err, "storing a matrix");
    *matrix = (struct kg_matrix){ .type = type, .rows = rows, .cols = cols };
    if (!(uses & KG_USE_MATMUL)) {
        matrix->blocks = blocks;
        *out = matrix;
        return KG_OK;
    }
    matrix->tile_bytes = kg_packed_tile_bytes(type, cols);
    const uint32_t tiles = tiles_of(matrix);
    matrix->bytes = tiles * matrix->tile_bytes;
    enum kg_status status = kg_memory_take(&device->weights, matrix->bytes, &matrix->tiles, &matrix->chunk, &device->memory,
                                           "storing a matrix", err);
    if (status) {
        free(matrix);
        return status;
    }
    struct packing packing = { matrix, blocks, (uint32_t)(((size_t)1 << 20) / matrix->tile_bytes + 1) };
    kg_thread_pool_run(device->pool, pack_piece, &packing, (tiles + packing.tiles_in_piece - 1) / packing.tiles_in_piece);
    *out = matrix;
    return KG_OK;
}

void kg_cpu_matrix_free(struct kg_device *device, struct kg_matrix *matrix)
{
    if (matrix)
        kg_memory_give(&device->weights, matrix->chunk, matrix->bytes, &device->memory);
    free(matrix);
}

struct embedding {
    const struct kg_matrix *w;
    const int32_t *ids;
    double *numbers; /* cols for each thread */
    float *out, scale;
};

static void embed_row(void *context, uint32_t piece, uint32_t thread)
{
    const struct embedding *e = context;
    const struct kg_matrix *w = e->w;
    const uint32_t row = (uint32_t)e->ids[piece];
    assert(row < w->rows);
    double *numbers = e->numbers + (size_t)thread * w->cols;
    if (w->blocks) {
        uint32_t elements = 1, bytes = 0;
        kg_type_layout(w->type, &elements, &bytes);
        kg_dequantise(w->type, w->blocks + (size_t)row * (w->cols / elements) * bytes, w->cols, numbers);
    } else {
        kg_unpack_row(w->type, w->cols, tile_at(w, row / KG_LANES), row % KG_LANES, numbers);
    }
    float *out = e->out + (size_t)piece * w->cols;
    for (uint32_t c = 0; c < w->cols; c++)
        out[c] = (float)(numbers[c] * (double)e->scale);
}

void kg_cpu_embed(struct kg_device *device, struct kg_buffer *out, const struct kg_matrix *w, const struct kg_buffer *ids, float scale,
                  uint32_t rows)
{
    if (!kg_cpu_scratch(device, &device->scratch, kg_thread_pool_threads(device->pool) * w->cols * sizeof(double)))
        return;
    struct embedding embedding = {
        .w = w,
        .ids = kg_cpu_in(ids, rows, sizeof(int32_t)),
        .numbers = device->scratch.bits,
        .out = kg_cpu_out(device, out, (size_t)rows * w->cols, sizeof(float)),
        .scale = scale,
    };
    kg_thread_pool_run(device->pool, embed_row, &embedding, rows);
}

/* Parts of the scratch memory of activations, each at a multiple of 64 bytes. */
static void *part(char **next, size_t bytes)
{
    char *here = *next;
    *next += (bytes + 63) / 64 * 64;
    return here;
}

static bool place_activations(struct kg_device *device, uint32_t rows, uint32_t cols)
{
    struct kg_activations *x = &device->activations;
    *x = (struct kg_activations){ .rows = rows, .cols = cols, .steps = (cols / KG_STEP + 1) / 2 * 2 };
    const size_t n = (size_t)rows * x->steps;
    if (!kg_cpu_scratch(device, &device->activations_memory, n * (KG_STEP + 2 * sizeof(float) + 4 * sizeof(int32_t)) + 5 * 64UL))
        return false;
    char *next = device->activations_memory.bits;
    x->q = part(&next, n * KG_STEP);
    x->scales = part(&next, n * sizeof(float));
    x->sums = part(&next, n * sizeof(float));
    x->half_sums = part(&next, 2 * n * sizeof(int32_t));
    x->offsets = part(&next, 2 * n * sizeof(int32_t));
    return true;
}

struct rounding {
    struct kg_device *device;
    const float *x;
};

static void round_row(void *context, uint32_t piece, uint32_t thread)
{
    (void)thread;
    const struct rounding *rounding = context;
    struct kg_activations *out = &rounding->device->activations;
    rounding->device->isa->quantise(out, rounding->x + (size_t)piece * out->cols, piece);
}

/* What integer sums start from, for whole steps or for their halves. */
static void set_offsets(struct kg_device *device, enum kg_type type)
{
    struct kg_activations *x = &device->activations;
    const int32_t zero = kg_packed_zero(type);
    const bool halves = type == KG_Q6_K;
    if (device->offsets_zero == zero)
        return;
    device->offsets_zero = zero; /* halves need no note of their own: only Q6_K has 32 */
    for (size_t i = 0; i < (size_t)x->rows * x->steps; i++) {
        x->offsets[2 * i] = KG_LIFT - zero * (halves ? x->half_sums[2 * i] : x->half_sums[2 * i] + x->half_sums[2 * i + 1]);
        x->offsets[2 * i + 1] = -zero * x->half_sums[2 * i + 1];
    }
}

static bool round_activations(struct kg_device *device, const struct kg_buffer *x, enum kg_type type, uint32_t rows, uint32_t cols)
{
    const float *in = kg_cpu_in(x, (size_t)rows * cols, sizeof *in);
    const struct kg_activations *kept = &device->activations;
    if (device->rounded_version != x->version || kept->rows != rows || kept->cols != cols) {
        device->rounded_version = 0;
        device->offsets_zero = 0;
        if (!place_activations(device, rows, cols))
            return false;
        struct rounding rounding = { device, in };
        kg_thread_pool_run(device->pool, round_row, &rounding, rows);
        device->rounded_version = x->version;
    }
    set_offsets(device, type);
    return true;
}

/* Pieces of a product: ranges of tiles, and of rows where the tiles alone would leave threads without work. */
struct cut {
    const struct kg_isa *isa;
    struct kg_product product;
    enum kg_type type;
    uint32_t tiles, tiles_in_piece, tile_pieces, rows_in_piece;
};

static void multiply_piece(void *context, uint32_t piece, uint32_t thread)
{
    (void)thread;
    const struct cut *cut = context;
    const uint32_t tile = piece % cut->tile_pieces * cut->tiles_in_piece, row = piece / cut->tile_pieces * cut->rows_in_piece;
    const uint32_t tile_end = tile + cut->tiles_in_piece < cut->tiles ? tile + cut->tiles_in_piece : cut->tiles;
    const uint32_t row_end = row + cut->rows_in_piece < cut->product.rows ? row + cut->rows_in_piece : cut->product.rows;
    cut->isa->products[cut->type](&cut->product, tile, tile_end, row, row_end);
}

#define PIECE_BYTES     ((size_t)48 << 10) /* of weights, when few rows make reading them the work */
#define PIECE_TILES     4                  /* when there are many rows: their activations are read once for so many tiles */
#define ROWS_IN_PIECE   64
#define PIECES_A_THREAD 4

static void cut_work(struct cut *cut, uint32_t threads)
{
    const uint32_t rows = cut->product.rows;
    const uint32_t by_bytes = (uint32_t)(PIECE_BYTES / cut->product.tile_bytes + 1), by_threads = cut->tiles / (PIECES_A_THREAD * threads) + 1;
    cut->tiles_in_piece = rows < 16 ? by_bytes : PIECE_TILES;
    if (threads > 1 && cut->tiles_in_piece > by_threads)
        cut->tiles_in_piece = by_threads;
    cut->tile_pieces = (cut->tiles + cut->tiles_in_piece - 1) / cut->tiles_in_piece;
    cut->rows_in_piece = cut->tile_pieces >= PIECES_A_THREAD * threads || rows <= ROWS_IN_PIECE ? rows : ROWS_IN_PIECE;
}

void kg_cpu_matmul(struct kg_device *device, struct kg_buffer *out, const struct kg_matrix *w, const struct kg_buffer *x,
                   const struct kg_buffer *bias, uint32_t rows)
{
    assert(out != x && w->tiles && rows >= 1 && rows <= KG_ROWS_MAX);
    const bool plain = w->type == KG_F32 || w->type == KG_F16 || w->type == KG_BF16;
    if (!plain && !round_activations(device, x, w->type, rows, w->cols))
        return;
    struct cut cut = {
        .isa = device->isa,
        .type = w->type,
        .tiles = tiles_of(w),
        .product = {
            .tiles = w->tiles,
            .tile_bytes = w->tile_bytes,
            .records = kg_packed_records(w->type, w->cols),
            .w_rows = w->rows,
            .cols = w->cols,
            .x = &device->activations,
            .plain_x = kg_cpu_in(x, (size_t)rows * w->cols, sizeof(float)),
            .rows = rows,
            .out = kg_cpu_out(device, out, (size_t)rows * w->rows, sizeof(float)),
            .bias = bias ? kg_cpu_in(bias, w->rows, sizeof(float)) : NULL,
        },
    };
    cut_work(&cut, kg_thread_pool_threads(device->pool));
    kg_thread_pool_run(device->pool, multiply_piece, &cut, cut.tile_pieces * ((rows + cut.rows_in_piece - 1) / cut.rows_in_piece));
}
