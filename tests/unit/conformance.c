#include "tests/unit/conformance.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/type.h"
#include "tests/unit/seeded.h"

#define GUARD 256 /* bytes */

static const struct variant variants[] = { { "ref", NULL }, { "cpu", "avx512" }, { "cpu", "avxvnni" }, { "cpu", "avx2" }, { "cuda", NULL } };

/* What is far too large has to be refused by the backend, not by a sanitizer. */
const char *__asan_default_options(void);
const char *__tsan_default_options(void);
const char *__asan_default_options(void)
{
    return "allocator_may_return_null=1";
}

const char *__tsan_default_options(void)
{
    return "allocator_may_return_null=1";
}

bool conformance_long(void)
{
    const char *asked = getenv("CHECK_LONG");
    return asked && strcmp(asked, "1") == 0;
}

uint32_t conformance_threads(const struct variant *variant)
{
    return strcmp(variant->backend, "cpu") == 0 ? CONFORMANCE_THREADS : 1;
}

static void not_on_this_machine(void **state)
{
    (void)state;
    skip();
}

/* Does this machine have it? A backend that kedge was built without is passed over in silence. */
static int available(const struct variant *variant)
{
    const struct kg_backend *backend = kg_backend_find(variant->backend);
    struct kg_device *device = NULL;
    struct kg_error err = { 0 };
    if (!backend)
        return -1;
    enum kg_status status = backend->open(&(struct kg_device_options){ .threads = 1, .instructions = variant->instructions }, &device, &err);
    if (status == KG_ERR_UNSUPPORTED)
        return 0;
    if (status == KG_OK)
        backend->close(device);
    return 1; /* another failure is reported by the tests */
}

static int run_variant(const struct CMUnitTest *tests, size_t n, const struct variant *variant)
{
    char label[32], names[32][96];
    struct CMUnitTest chosen[32];
    int there = available(variant);
    if (there < 0)
        return 0;
    snprintf(label, sizeof label, "%s%s%s", variant->backend, variant->instructions ? " " : "",
             variant->instructions ? variant->instructions : "");
    if (!there) {
        snprintf(names[0], sizeof names[0], "%s is not on this machine", label);
        const struct CMUnitTest absent[] = { { names[0], not_on_this_machine, NULL, NULL, NULL } };
        return cmocka_run_group_tests_name(label, absent, NULL, NULL);
    }
    for (size_t i = 0; i < n && i < 32; i++) {
        union {
            const struct variant *from;
            void *to;
        } state = { variant };
        chosen[i] = tests[i];
        snprintf(names[i], sizeof names[i], "%s: %s", label, tests[i].name);
        chosen[i].name = names[i];
        chosen[i].initial_state = state.to;
    }
    return _cmocka_run_group_tests(label, chosen, n, NULL, NULL);
}

int conformance_main(const struct CMUnitTest *tests, size_t n)
{
    int failed = 0;
    const char *only = getenv("CONFORMANCE_BACKEND");
    for (size_t v = 0; v < sizeof variants / sizeof *variants; v++)
        if (!only || strcmp(only, variants[v].backend) == 0)
            failed += run_variant(tests, n, &variants[v]);
    return failed ? 1 : 0;
}

void *test_alloc(size_t count, size_t size)
{
    void *bytes = calloc(count ? count : 1, size);
    assert_non_null(bytes);
    return bytes;
}

struct rig rig_open(const struct variant *variant, uint32_t threads)
{
    struct rig rig = { variant ? kg_backend_find(variant->backend) : &kg_backend_ref, NULL };
    struct kg_device_options options = { .threads = threads, .instructions = variant ? variant->instructions : NULL };
    struct kg_error err = { 0 };
    assert_non_null(rig.b);
    if (rig.b->open(&options, &rig.d, &err) != KG_OK)
        fail_msg("cannot open %s: %s", rig.b->name, err.text);
    return rig;
}

void rig_close(struct rig *rig)
{
    struct kg_error err = { 0 };
    if (rig->b->wait(rig->d, &err) != KG_OK)
        fail_msg("%s failed: %s", rig->b->name, err.text);
    rig->b->close(rig->d);
    rig->d = NULL;
}

const struct variant *conformance_twin(const struct variant *variant)
{
    const struct variant *twin = NULL;
    struct rig rig = rig_open(variant, 1);
    for (size_t v = 0; v < sizeof variants / sizeof *variants && !twin; v++) {
        const struct variant *other = &variants[v];
        if (other == variant || strcmp(other->backend, variant->backend) != 0 || available(other) != 1)
            continue;
        struct rig its = rig_open(other, 1);
        if (strcmp(rig.b->numerics(rig.d), its.b->numerics(its.d)) == 0)
            twin = other;
        rig_close(&its);
    }
    rig_close(&rig);
    return twin;
}

static struct kg_buffer *create(const struct rig *rig, size_t bytes)
{
    struct kg_buffer *buffer = NULL;
    struct kg_error err = { 0 };
    if (rig->b->buffer_create(rig->d, bytes, &buffer, &err) != KG_OK)
        fail_msg("cannot create a buffer of %zu bytes: %s", bytes, err.text);
    return buffer;
}

struct kg_buffer *rig_upload(const struct rig *rig, const void *host, size_t bytes)
{
    struct kg_buffer *buffer = create(rig, bytes);
    rig->b->write(rig->d, buffer, 0, host, bytes);
    return buffer;
}

struct kg_buffer *rig_result(const struct rig *rig, size_t bytes)
{
    struct kg_buffer *buffer = create(rig, bytes + GUARD);
    unsigned char *pattern = test_alloc(bytes + GUARD, 1);
    memset(pattern, 0xd7, bytes + GUARD);
    rig->b->write(rig->d, buffer, 0, pattern, bytes + GUARD);
    free(pattern);
    return buffer;
}

void rig_take(const struct rig *rig, struct kg_buffer *result, void *host, size_t bytes)
{
    unsigned char guard[GUARD];
    struct kg_error err = { 0 };
    if (rig->b->read(rig->d, result, 0, host, bytes, &err) != KG_OK || rig->b->read(rig->d, result, bytes, guard, GUARD, &err) != KG_OK)
        fail_msg("cannot read a result: %s", err.text);
    for (size_t i = 0; i < GUARD; i++) {
        if (guard[i] != 0xd7)
            fail_msg("byte %zu behind the result was written", i);
    }
    rig_free(rig, result);
}

void rig_free(const struct rig *rig, struct kg_buffer *buffer)
{
    rig->b->buffer_free(rig->d, buffer);
}

double norm_error(const float *got, const float *want, size_t n)
{
    double difference = 0, size = 0;
    for (size_t i = 0; i < n; i++) {
        if (!isfinite(got[i]))
            return INFINITY;
        difference += ((double)got[i] - (double)want[i]) * ((double)got[i] - (double)want[i]);
        size += (double)want[i] * (double)want[i];
    }
    return difference == 0 ? 0 : sqrt(difference / size);
}

/* One comparison of check_operation: everything that its steps share. */
struct comparison {
    const struct operation *op;
    const char *text;
    uint32_t rows, width;
    const float *got; /* all rows by one thread */
    float *part;
};

static void require_rows(const struct comparison *c, const struct rig *rig, void *loaded, uint32_t first, uint32_t rows, const char *how)
{
    c->op->run(rig, loaded, first, rows, c->part);
    for (uint32_t r = 0; r < rows; r++) {
        const float *a = c->part + (size_t)r * c->width, *b = c->got + (size_t)(first + r) * c->width;
        for (uint32_t i = 0; i < c->width; i++) {
            if (memcmp(a + i, b + i, sizeof *a) != 0 && !(isnan(a[i]) && isnan(b[i])))
                fail_msg("%s, %s: rows %u to %u of %u computed %s: row %u, element %u is %.9g, was %.9g", c->op->name, c->text, first,
                         first + rows - 1, c->rows, how, first + r, i, (double)a[i], (double)b[i]);
        }
    }
}

static void require_any_rows(const struct comparison *c, const struct rig *rig, void *loaded, uint64_t *seed)
{
    for (uint32_t n = 1; n <= c->rows; n++) {
        bool edge = n == 1 || n == 2 || n + 1 >= c->rows;
        if (!conformance_long() && !edge && seeded_below(seed, 10) != 0)
            continue;
        require_rows(c, rig, loaded, 0, n, "alone");
        require_rows(c, rig, loaded, seeded_below(seed, c->rows - n + 1), n, "alone");
    }
    for (uint32_t first = 0; first < c->rows;) {
        uint32_t n = 1 + seeded_below(seed, c->rows - first < 33 ? c->rows - first : 33);
        require_rows(c, rig, loaded, first, n, "in chunks");
        first += n;
    }
}

/* What a device computes; its rows are compared where c->got is known, and taken where `all` is not NULL. */
static void run_alone(const struct variant *variant, uint32_t threads, struct comparison *c, const void *what, uint64_t *seed, float *all)
{
    static const char *const how[] = { "by another instruction set", "by one thread", "by two threads", "by three threads" };
    struct rig rig = rig_open(variant, threads ? threads : 1);
    void *loaded = c->op->load(&rig, what);
    if (all)
        c->op->run(&rig, loaded, 0, c->rows, all);
    if (c->got) {
        require_rows(c, &rig, loaded, 0, c->rows, how[threads]);
        if (threads)
            require_any_rows(c, &rig, loaded, seed);
    }
    c->op->unload(&rig, loaded);
    rig_close(&rig);
}

void check_operation(const struct variant *variant, const struct operation *op, const void *what, uint32_t rows, uint32_t width,
                     double tolerance, const char *text, float *want, float *got)
{
    size_t n = (size_t)rows * width;
    uint64_t seed = n;
    float *by_ref = test_alloc(n, sizeof *by_ref), *by_one = test_alloc(n, sizeof *by_one);
    struct comparison c = { .op = op, .text = text, .rows = rows, .width = width, .part = test_alloc(n, sizeof *c.part) };
    run_alone(NULL, 1, &c, what, &seed, by_ref);
    run_alone(variant, 1, &c, what, &seed, by_one);
    for (uint32_t r = 0; r < rows && tolerance >= 0; r++) {
        double error = norm_error(by_one + (size_t)r * width, by_ref + (size_t)r * width, width);
        if (!(error <= tolerance))
            fail_msg("%s, %s: row %u of %u differs from ref by %.3g (at most %.3g)", op->name, text, r, rows, error, tolerance);
    }
    c.got = by_one;
    for (uint32_t threads = 1; threads <= conformance_threads(variant); threads++)
        run_alone(variant, threads, &c, what, &seed, NULL);
    const struct variant *twin = conformance_twin(variant);
    if (twin)
        run_alone(twin, 0, &c, what, &seed, NULL);
    if (want)
        memcpy(want, by_ref, n * sizeof *want);
    if (got)
        memcpy(got, by_one, n * sizeof *got);
    free(by_ref);
    free(by_one);
    free(c.part);
}

bool conformance_keeps(const struct variant *variant, const struct kg_kv_shape *shape)
{
    if (shape->type == KG_KV_F16)
        return true;
    struct rig rig = rig_open(variant, 1);
    struct kg_error err = { .text = "" };
    struct kg_kv *kv = NULL;
    const enum kg_status status = rig.b->kv_create(rig.d, shape, &kv, &err);
    if (status != KG_OK && (status != KG_ERR_UNSUPPORTED || !strstr(err.text, "use f16")))
        fail_msg("cannot create pages: %s", err.text);
    rig.b->kv_free(rig.d, kv);
    rig_close(&rig);
    return status == KG_OK;
}

uint8_t *conformance_pages(const struct kg_kv_shape *shape, uint32_t pages, uint8_t *halves)
{
    const size_t row = KG_KV_ROW_BYTES(shape), rows = pages * KG_KV_PAGE_BYTES(shape) / row;
    uint8_t *out = test_alloc(rows, row);
    for (size_t i = 0; i < rows; i++) {
        uint8_t *half = halves + i * shape->head_size * 2, *to = out + i * row;
        double x[KG_HEAD_MAX];
        if (shape->type == KG_KV_F16) {
            memcpy(to, half, row);
            continue;
        }
        kg_dequantise(KG_F16, half, shape->head_size, x);
        kg_q8_0_from_double(to, x, shape->head_size);
        kg_dequantise(KG_Q8_0, to, shape->head_size, x);
        for (uint32_t d = 0; d < shape->head_size; d++)
            memcpy(half + (size_t)2 * d, &(uint16_t){ kg_f16_from_double(x[d]) }, 2);
    }
    return out;
}
