#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "engine/gguf/gguf.h"
#include "tests/unit/gguf_writer.h"

static enum kg_status open_bytes(const void *bytes, size_t length, struct kg_gguf **file, struct kg_error *err)
{
    char path[64];
    gguf_to_file(bytes, length, path);
    enum kg_status status = kg_gguf_open(path, file, err);
    unlink(path);
    return status;
}

static const float ramp[64] = { 0, 1, 2, 3, 4, 5, 6, 7, 8, 9 };

/* A key of every type, two tensors. */
static void write_sample(struct gguf_writer *w, uint32_t version)
{
    static const char *const words[] = { "alpha", "", "gamma \xc3\xa9" };
    static const int32_t numbers[] = { -1, 0, INT32_MAX };

    gguf_start(w, version);
    gguf_text(w, "general.architecture", "llama");
    gguf_raw(w, "a.u8", 0, "\xff", 1);
    gguf_raw(w, "a.i8", 1, "\xff", 1);
    gguf_raw(w, "a.u16", 2, "\x34\x12", 2);
    gguf_raw(w, "a.i16", 3, "\xfe\xff", 2);
    gguf_u32(w, "a.u32", UINT32_MAX);
    gguf_raw(w, "a.i32", 5, "\xff\xff\xff\xff", 4);
    gguf_raw(w, "a.u64", 10, "\x01\x00\x00\x00\x00\x00\x00\x00", 8);
    gguf_raw(w, "a.u64.big", 10, "\x00\x00\x00\x00\x01\x00\x00\x00", 8);
    gguf_raw(w, "a.i64", 11, "\x07\x00\x00\x00\x00\x00\x00\x00", 8);
    gguf_f32(w, "a.f32", 0.5F);
    gguf_raw(w, "a.f64", 12, "\x00\x00\x00\x00\x00\x00\xf8\x3f", 8);
    gguf_raw(w, "a.nan", 6, "\x00\x00\xc0\x7f", 4);
    gguf_bool(w, "a.bool", 1);
    gguf_texts(w, "b.words", words, 3);
    gguf_i32s(w, "b.numbers", numbers, 3);
    gguf_i32s(w, "b.none", numbers, 0);
    gguf_tensor(w, "first.weight", KG_F32, 8, 2, ramp, 64);
    gguf_tensor(w, "second.weight", KG_F32, 3, 0, ramp, 12);
    gguf_tensor(w, "third.weight", KG_Q8_0, 32, 2, ramp, 68);
    gguf_end(w);
}

static void scalars_of_every_type(void **state)
{
    (void)state;
    struct gguf_writer w;
    struct kg_gguf *file;
    struct kg_error err;
    for (uint32_t version = 2; version <= 3; version++) {
        write_sample(&w, version);
        assert_int_equal(open_bytes(w.bytes, w.length, &file, &err), KG_OK);
        static const struct {
            const char *key;
            enum kg_status status;
            uint32_t value;
        } integers[] = { { "a.u8", KG_OK, 255 },           { "a.i8", KG_ERR_FORMAT, 0 },      { "a.u16", KG_OK, 0x1234 },
                         { "a.i16", KG_ERR_FORMAT, 0 },    { "a.u32", KG_OK, UINT32_MAX },    { "a.i32", KG_ERR_FORMAT, 0 },
                         { "a.u64", KG_OK, 1 },            { "a.u64.big", KG_ERR_FORMAT, 0 }, { "a.i64", KG_OK, 7 },
                         { "a.f32", KG_ERR_FORMAT, 0 },    { "a.bool", KG_ERR_FORMAT, 0 },    { "b.numbers", KG_ERR_FORMAT, 0 },
                         { "absent", KG_ERR_NOT_FOUND, 0 } };
        for (size_t i = 0; i < sizeof integers / sizeof *integers; i++) {
            uint32_t value = 0;
            assert_int_equal(kg_gguf_get_u32(file, integers[i].key, &value, &err), integers[i].status);
            assert_int_equal(value, integers[i].value);
        }
        double real;
        bool truth = false;
        struct kg_gguf_text text;
        assert_int_equal(kg_gguf_get_f64(file, "a.f32", &real, &err), KG_OK);
        assert_true(real == 0.5);
        assert_int_equal(kg_gguf_get_f64(file, "a.f64", &real, &err), KG_OK);
        assert_true(real == 1.5);
        assert_int_equal(kg_gguf_get_f64(file, "a.nan", &real, &err), KG_ERR_FORMAT);
        assert_int_equal(kg_gguf_get_f64(file, "a.u32", &real, &err), KG_ERR_FORMAT);
        assert_int_equal(kg_gguf_get_bool(file, "a.bool", &truth, &err), KG_OK);
        assert_true(truth);
        assert_int_equal(kg_gguf_get_text(file, "general.architecture", &text, &err), KG_OK);
        assert_int_equal(text.length, 5);
        assert_memory_equal(text.bytes, "llama", 5);
        assert_int_equal(kg_gguf_get_text(file, "a.bool", &text, &err), KG_ERR_FORMAT);
        assert_int_equal(kg_gguf_keys(file), 17);
        assert_string_equal(kg_gguf_key(file, 1), "a.u8");
        kg_gguf_close(file);
        gguf_free(&w);
    }
}

static void arrays_by_index(void **state)
{
    (void)state;
    struct gguf_writer w;
    struct kg_gguf *file;
    struct kg_error err;
    struct kg_gguf_text text;
    size_t count;
    int64_t number;
    double real;
    write_sample(&w, 3);
    assert_int_equal(open_bytes(w.bytes, w.length, &file, &err), KG_OK);
    assert_int_equal(kg_gguf_array_count(file, "b.words", &count, &err), KG_OK);
    assert_int_equal(count, 3);
    assert_int_equal(kg_gguf_array_text(file, "b.words", 0, &text, &err), KG_OK);
    assert_int_equal(text.length, 5);
    assert_memory_equal(text.bytes, "alpha", 5);
    assert_int_equal(kg_gguf_array_text(file, "b.words", 1, &text, &err), KG_OK);
    assert_int_equal(text.length, 0);
    assert_int_equal(kg_gguf_array_text(file, "b.words", 2, &text, &err), KG_OK);
    assert_memory_equal(text.bytes, "gamma \xc3\xa9", 8);
    assert_int_equal(kg_gguf_array_text(file, "b.words", 3, &text, &err), KG_ERR_RANGE);
    assert_int_equal(kg_gguf_array_text(file, "b.numbers", 0, &text, &err), KG_ERR_FORMAT);
    assert_int_equal(kg_gguf_array_i64(file, "b.numbers", 0, &number, &err), KG_OK);
    assert_true(number == -1);
    assert_int_equal(kg_gguf_array_i64(file, "b.numbers", 2, &number, &err), KG_OK);
    assert_true(number == INT32_MAX);
    assert_int_equal(kg_gguf_array_f64(file, "b.numbers", 0, &real, &err), KG_ERR_FORMAT);
    assert_int_equal(kg_gguf_array_i64(file, "b.words", 0, &number, &err), KG_ERR_FORMAT);
    assert_int_equal(kg_gguf_array_count(file, "b.none", &count, &err), KG_OK);
    assert_int_equal(count, 0);
    assert_int_equal(kg_gguf_array_i64(file, "b.none", 0, &number, &err), KG_ERR_RANGE);
    assert_int_equal(kg_gguf_array_count(file, "a.u32", &count, &err), KG_ERR_FORMAT);
    kg_gguf_close(file);
    gguf_free(&w);
}

static void tensors_by_name(void **state)
{
    (void)state;
    struct gguf_writer w;
    struct kg_gguf *file;
    struct kg_error err;
    write_sample(&w, 3);
    assert_int_equal(open_bytes(w.bytes, w.length, &file, &err), KG_OK);
    assert_int_equal(kg_gguf_tensors(file), 3);
    const struct kg_gguf_tensor *first = kg_gguf_tensor_find(file, "first.weight");
    const struct kg_gguf_tensor *third = kg_gguf_tensor_find(file, "third.weight");
    assert_ptr_equal(first, kg_gguf_tensor_at(file, 0));
    assert_null(kg_gguf_tensor_find(file, "fourth.weight"));
    assert_int_equal(first->cols, 8);
    assert_int_equal(first->rows, 2);
    assert_int_equal(first->bytes, 64);
    assert_int_equal((uintptr_t)first->data % 32, 0);
    assert_memory_equal(first->data, ramp, 64);
    assert_int_equal(third->type, KG_Q8_0);
    assert_int_equal(third->bytes, 68);
    kg_gguf_forget(file, first);
    assert_memory_equal(first->data, ramp, 64);
    kg_gguf_close(file);
    gguf_free(&w);
}

/* Every prefix of a file is refused, and so is a file with something behind it. */
static void no_prefix_is_a_file(void **state)
{
    (void)state;
    struct gguf_writer w;
    struct kg_gguf *file;
    struct kg_error err;
    write_sample(&w, 3);
    size_t least = w.length - w.length % 32 - 28; /* without the padding behind the last tensor it is whole */
    for (size_t n = 0; n < least; n++)
        assert_int_not_equal(open_bytes(w.bytes, n, &file, &err), KG_OK);
    uint8_t *longer = calloc(1, w.length + 1);
    assert_non_null(longer);
    memcpy(longer, w.bytes, w.length);
    assert_int_equal(open_bytes(longer, w.length + 1, &file, &err), KG_ERR_FORMAT);
    free(longer);
    gguf_free(&w);
}

/* Values that a field of so many bytes is most likely to break on. */
static uint64_t hostile(size_t bytes, uint64_t old, unsigned which)
{
    const uint64_t top = bytes == 8 ? UINT64_MAX : UINT32_MAX;
    const uint64_t values[] = { top, top / 2, top / 2 + 1, old + 1, old - 1, old + 32, old * 2 + 1, top - 7, (uint64_t)1 << (bytes * 8 - 3) };
    return which < sizeof values / sizeof *values ? values[which] : 0;
}

static void sizes_and_counts_are_checked(void **state)
{
    (void)state;
    struct gguf_writer w;
    struct kg_gguf *file;
    struct kg_error err;
    write_sample(&w, 3);
    for (size_t f = 0; f < w.field_count; f++) {
        struct gguf_field field = w.fields[f];
        uint64_t old = 0;
        if (field.kind != GGUF_FIELD_COUNT && field.kind != GGUF_FIELD_LENGTH && field.kind != GGUF_FIELD_OFFSET)
            continue;
        memcpy(&old, w.bytes + field.at, field.bytes);
        for (unsigned which = 0; which < 9; which++) {
            uint64_t new = hostile(field.bytes, old, which);
            memcpy(w.bytes + field.at, &new, field.bytes);
            assert_int_not_equal(open_bytes(w.bytes, w.length, &file, &err), KG_OK);
            assert_null(file);
        }
        memcpy(w.bytes + field.at, &old, field.bytes);
    }
    gguf_free(&w);
}

static void refusals_name_the_cause(void **state)
{
    (void)state;
    static const uint8_t nested[] = { 9, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0 };
    static const struct {
        const char *part;
        enum kg_status status;
    } wanted[] = { { "blk.0.bad has type IQ3_S (21)", KG_ERR_UNSUPPORTED }, { "k.nested is an array of arrays", KG_ERR_UNSUPPORTED },
                   { "holds k.same twice", KG_ERR_FORMAT },                 { "holds tensor t.same twice", KG_ERR_FORMAT },
                   { "with the byte 0x1b", KG_ERR_FORMAT },                 { "k.truth holds 2", KG_ERR_FORMAT },
                   { "general.alignment 12", KG_ERR_FORMAT },               { "version 1", KG_ERR_UNSUPPORTED },
                   { "t.zero is 0", KG_ERR_FORMAT },                        { "k.type has unknown type 13", KG_ERR_FORMAT },
                   { "no multiple of the 32", KG_ERR_FORMAT },              { "big-endian", KG_ERR_UNSUPPORTED },
                   { "tensor t.huge", KG_ERR_FORMAT } };
    for (size_t i = 0; i < sizeof wanted / sizeof *wanted; i++) {
        struct gguf_writer w;
        struct kg_gguf *file;
        struct kg_error err;
        gguf_start(&w, i == 7 ? 1 : i == 11 ? 0x03000000 : 3);
        if (i == 1)
            gguf_raw(&w, "k.nested", 9, nested, sizeof nested);
        for (int twice = 0; i == 2 && twice < 2; twice++)
            gguf_u32(&w, "k.same", 1);
        if (i == 5)
            gguf_raw(&w, "k.truth", 7, "\x02", 1);
        if (i == 6)
            gguf_u32(&w, "general.alignment", 12);
        if (i == 9)
            gguf_raw(&w, "k.type", 13, ramp, 64);
        if (i == 0)
            gguf_tensor(&w, "blk.0.bad", 21, 256, 1, ramp, 110);
        for (int twice = 0; i == 3 && twice < 2; twice++)
            gguf_tensor(&w, "t.same", KG_F32, 8, 1, ramp, 32);
        if (i == 4)
            gguf_tensor(&w, "t.\x1b[2J", KG_F32, 8, 1, ramp, 32);
        if (i == 8)
            gguf_tensor(&w, "t.zero", KG_F32, 0, 1, ramp, 32);
        if (i == 10)
            gguf_tensor(&w, "t.block", KG_Q8_0, 33, 1, ramp, 36);
        if (i == 12)
            gguf_tensor(&w, "t.huge", KG_F32, UINT32_MAX, UINT32_MAX, ramp, 32);
        gguf_end(&w);
        assert_int_equal(open_bytes(w.bytes, w.length, &file, &err), wanted[i].status);
        assert_non_null(strstr(err.text, wanted[i].part));
        gguf_free(&w);
    }
}

static void alignment_is_followed(void **state)
{
    (void)state;
    struct gguf_writer w;
    struct kg_gguf *file;
    struct kg_error err;
    gguf_start(&w, 3);
    gguf_u32(&w, "general.alignment", 4096);
    w.alignment = 4096;
    gguf_tensor(&w, "one", KG_F32, 8, 0, ramp, 32);
    gguf_tensor(&w, "two", KG_F32, 8, 0, ramp + 1, 32);
    gguf_end(&w);
    assert_int_equal(open_bytes(w.bytes, w.length, &file, &err), KG_OK);
    assert_int_equal((uintptr_t)kg_gguf_tensor_find(file, "two")->data % 4096, 0);
    assert_memory_equal(kg_gguf_tensor_find(file, "two")->data, ramp + 1, 32);
    kg_gguf_close(file);
    gguf_free(&w);
}

static void only_files_are_opened(void **state)
{
    (void)state;
    struct kg_gguf *file;
    struct kg_error err;
    assert_int_equal(kg_gguf_open("/nonexistent/model.gguf", &file, &err), KG_ERR_NOT_FOUND);
    assert_int_equal(kg_gguf_open("/dev/zero", &file, &err), KG_ERR_UNSUPPORTED);
    assert_int_equal(kg_gguf_open("/", &file, &err), KG_ERR_UNSUPPORTED);
    assert_int_equal(open_bytes("", 0, &file, &err), KG_ERR_FORMAT);
    assert_int_equal(open_bytes("GGU", 3, &file, &err), KG_ERR_FORMAT);
    assert_int_equal(open_bytes("<html>not found</html>", 22, &file, &err), KG_ERR_FORMAT);
    kg_gguf_close(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(scalars_of_every_type),
        cmocka_unit_test(arrays_by_index),
        cmocka_unit_test(tensors_by_name),
        cmocka_unit_test(no_prefix_is_a_file),
        cmocka_unit_test(sizes_and_counts_are_checked),
        cmocka_unit_test(refusals_name_the_cause),
        cmocka_unit_test(alignment_is_followed),
        cmocka_unit_test(only_files_are_opened),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
