/* One suite for all backends: each operation against kernels/ref, and the rule that row r of a result depends
 * on row r only (not on the number of rows, threads, chunks or page numbers), bit for bit.
 *
 * A test program lists its tests once and hands them to conformance_main, which runs them for every backend and
 * instruction set that this machine has, or for the backend CONFORMANCE_BACKEND; *state is then a struct variant. */
#ifndef KG_TESTS_CONFORMANCE_H
#define KG_TESTS_CONFORMANCE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "kernels/backend.h"

struct variant {
    const char *backend, *instructions;
};

/* An opened device of a backend. */
struct rig {
    const struct kg_backend *b;
    struct kg_device *d;
};

/* Row counts 1 .. CONFORMANCE_ROWS are compared, for every CONFORMANCE_EVERYth case of long tables; the build for the
 * emulator sets less of both. */
#ifndef CONFORMANCE_ROWS
#define CONFORMANCE_ROWS  70
#define CONFORMANCE_EVERY 1
#endif
#define CONFORMANCE_THREADS 3

int conformance_main(const struct CMUnitTest *tests, size_t n);

/* CHECK_LONG=1: full counts instead of a seeded part. */
bool conformance_long(void);

/* A result is asked for by 1 .. so many threads; backends other than the CPU have none to choose. */
uint32_t conformance_threads(const struct variant *variant);

/* NULL stands for ref. A failure fails the test. */
struct rig rig_open(const struct variant *variant, uint32_t threads);
void rig_close(struct rig *rig);

/* Another variant of this machine that names the same numerics, and so must give the same bits; NULL if there is none. */
const struct variant *conformance_twin(const struct variant *variant);

/* A buffer of exactly these bytes with these contents. */
struct kg_buffer *rig_upload(const struct rig *rig, const void *host, size_t bytes);

/* A buffer for a result of `bytes`, with a guard behind it; rig_take reads the result, checks that the guard is
 * as it was, and frees the buffer. */
struct kg_buffer *rig_result(const struct rig *rig, size_t bytes);
void rig_take(const struct rig *rig, struct kg_buffer *result, void *host, size_t bytes);
void rig_free(const struct rig *rig, struct kg_buffer *buffer);

/* |got - want| / |want| in the Euclidean norm; infinite if a number is not finite; 0 if equal. */
double norm_error(const float *got, const float *want, size_t n);

/* An operation whose result has one row of `width` f32 for each row of its inputs. `load` makes what it needs on
 * a device, `run` computes rows first .. first+rows-1 of the inputs, `what` is the test's own description. */
struct operation {
    const char *name;
    void *(*load)(const struct rig *rig, const void *what);
    void (*run)(const struct rig *rig, void *loaded, uint32_t first, uint32_t rows, float *out);
    void (*unload)(const struct rig *rig, void *loaded);
};

/* Compares all `rows` rows with ref (each row's norm_error at most `tolerance`; negative: not compared), then
 * bit for bit with 2 and 3 threads, with other row counts, cut into chunks, and with the variant's twin. want and got (rows * width, may
 * be NULL) receive the results of ref and of the variant. `text` names the case in messages. */
void check_operation(const struct variant *variant, const struct operation *op, const void *what, uint32_t rows, uint32_t width,
                     double tolerance, const char *text, float *want, float *got);

/* False where a backend does not keep keys and values as the shape's type. */
bool conformance_keeps(const struct variant *variant, const struct kg_kv_shape *shape);
/* So many pages of the shape's type that hold what `halves` does, pages of f16 in the same order; halves become what is read of them. */
uint8_t *conformance_pages(const struct kg_kv_shape *shape, uint32_t pages, uint8_t *halves);

/* calloc that fails the test. */
void *test_alloc(size_t count, size_t size);

#endif
