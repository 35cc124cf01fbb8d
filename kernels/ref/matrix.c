/* Weights: rows taken out (embed) and products with them (matmul). */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/ref/ref.h"

enum kg_status kg_ref_matrix_create(struct kg_device *device, enum kg_type type, uint32_t rows, uint32_t cols, const void *blocks,
                                    unsigned uses, struct kg_matrix **out, struct kg_error *err)
{
    (void)uses; /* one copy serves both */
    uint32_t elements = 1, bytes = 0;
    if (!kg_type_layout(type, &elements, &bytes))
        return kg_fail(err, KG_ERR_UNSUPPORTED, "weights of type number %d cannot be read; use a file in another quantisation", (int)type);
    assert(rows && cols && cols % elements == 0);
    struct kg_matrix *matrix = calloc(1, sizeof *matrix);
    if (!matrix)
        return kg_fail_nomem(err, "storing a matrix");
    *matrix = (struct kg_matrix){ .type = type, .rows = rows, .cols = cols, .row_bytes = (size_t)(cols / elements) * bytes };
    matrix->blocks = kg_ref_alloc(device, rows, matrix->row_bytes, "storing a matrix", err);
    matrix->row = matrix->blocks ? kg_ref_alloc(device, cols, sizeof(double), "storing a matrix", err) : NULL;
    if (!matrix->row) {
        kg_ref_matrix_free(device, matrix);
        return KG_ERR_NOMEM;
    }
    memcpy(matrix->blocks, blocks, rows * matrix->row_bytes);
    *out = matrix;
    return KG_OK;
}

void kg_ref_matrix_free(struct kg_device *device, struct kg_matrix *matrix)
{
    if (!matrix)
        return;
    kg_ref_free(device, matrix->blocks, matrix->rows * matrix->row_bytes);
    kg_ref_free(device, matrix->row, matrix->cols * sizeof(double));
    free(matrix);
}

static const double *expand_row(const struct kg_matrix *w, uint32_t row)
{
    assert(row < w->rows);
    kg_dequantise(w->type, w->blocks + row * w->row_bytes, w->cols, w->row);
    return w->row;
}

/* out[r][c] = scale w[ids[r]][c] */
void kg_ref_embed(struct kg_device *device, struct kg_buffer *out, const struct kg_matrix *w, const struct kg_buffer *ids,
                  float scale, uint32_t rows)
{
    (void)device;
    float *y = kg_ref_at(out, (size_t)rows * w->cols, sizeof *y);
    const int32_t *id = kg_ref_at(ids, rows, sizeof *id);
    for (size_t r = 0; r < rows; r++) {
        assert(id[r] >= 0);
        const double *row = expand_row(w, (uint32_t)id[r]);
        for (size_t c = 0; c < w->cols; c++)
            y[r * w->cols + c] = (float)(row[c] * (double)scale);
    }
}

/* out[r][j] = sum over c of x[r][c] w[j][c], plus bias[j] */
void kg_ref_matmul(struct kg_device *device, struct kg_buffer *out, const struct kg_matrix *w, const struct kg_buffer *x,
                   const struct kg_buffer *bias, uint32_t rows)
{
    (void)device;
    assert(out != x);
    float *y = kg_ref_at(out, (size_t)rows * w->rows, sizeof *y);
    const float *in = kg_ref_at(x, (size_t)rows * w->cols, sizeof *in);
    const float *b = bias ? kg_ref_at(bias, w->rows, sizeof *b) : NULL;
    for (uint32_t j = 0; j < w->rows; j++) {
        const double *row = expand_row(w, j);
        for (size_t r = 0; r < rows; r++) {
            double sum = 0;
            for (size_t c = 0; c < w->cols; c++)
                sum += (double)in[r * w->cols + c] * row[c];
            y[r * w->rows + j] = (float)(b ? sum + (double)b[j] : sum);
        }
    }
}
