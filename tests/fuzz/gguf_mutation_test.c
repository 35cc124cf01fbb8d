/* Damaged model files: an error or a valid model, never a crash; a damaged size, count or offset is always an error.
 * 1,000 mutations, 10,000 with CHECK_LONG=1; seed in KEDGE_FUZZ_SEED. Then every file under tests/fuzz/corpus/gguf: small ones that take different ways,
 * found by libFuzzer (make fuzz-gguf), and whatever does harm one day. */
#include <dirent.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/paths.h"
#include "tests/fuzz/gguf_fuzz.h"
#include "tests/unit/tiny_model.h"

static uint64_t random_state;

/* splitmix64 */
static uint64_t random_bits(void)
{
    uint64_t z = random_state += 0x9e3779b97f4a7c15ULL;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ULL;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebULL;
    return z ^ (z >> 31);
}

static size_t below(size_t n)
{
    return (size_t)(random_bits() % n);
}

static void write_model(struct gguf_writer *w)
{
    static const float ones[4] = { 1, 1, 2, 2 };
    const struct tiny_model plain = { 0 };
    tiny_model_keys(w, &plain);
    gguf_u32(w, "general.alignment", 32);
    gguf_u32(w, "llama.attention.key_length", TINY_HEAD_SIZE);
    gguf_u32(w, "llama.rope.dimension_count", TINY_HEAD_SIZE);
    gguf_f32(w, "llama.rope.freq_base", 10000);
    gguf_text(w, "llama.rope.scaling.type", "yarn");
    gguf_f32(w, "llama.rope.scaling.factor", 2);
    gguf_u32(w, "llama.rope.scaling.original_context_length", 32);
    gguf_bool(w, "tokenizer.ggml.add_bos_token", 0);
    gguf_raw(w, "general.number", 11, "\x01\x02\x03\x04\x05\x06\x07\x08", 8);
    tiny_model_tensors(w, &plain);
    gguf_tensor(w, "rope_freqs.weight", 0, 4, 0, ones, sizeof ones);
    gguf_end(w);
}

/* A number that differs from the old one: extremes, neighbours, shifted bits, anything. */
static uint64_t other_number(uint64_t old, size_t bytes)
{
    uint64_t top = bytes == 8 ? UINT64_MAX : ((uint64_t)1 << (8 * bytes)) - 1, new = old;
    while (new == old) {
        switch (below(8)) {
        case 0: new = top - below(64); break;
        case 1: new = top / 2 - 32 + below(64); break;
        case 2: new = old + 1 + below(64); break;
        case 3: new = old - 1 - below(64); break;
        case 4: new = old ^ ((uint64_t)1 << below(8 * bytes)); break;
        case 5: new = below(40); break;
        case 6: new = old * (2 + below(1000)); break;
        default: new = random_bits(); break;
        }
        new &= top;
    }
    return new;
}

static bool is_size(enum gguf_field_kind kind)
{
    return kind == GGUF_FIELD_COUNT || kind == GGUF_FIELD_LENGTH || kind == GGUF_FIELD_DIMENSION || kind == GGUF_FIELD_OFFSET;
}

static const struct gguf_field *some_field(const struct gguf_writer *w, bool size)
{
    const struct gguf_field *field;
    do
        field = &w->fields[below(w->field_count)];
    while (is_size(field->kind) != size);
    return field;
}

static void damage_number(uint8_t *bytes, const struct gguf_field *field)
{
    uint64_t number = 0;
    memcpy(&number, bytes + field->at, field->bytes);
    number = other_number(number, field->bytes);
    memcpy(bytes + field->at, &number, field->bytes);
}

static void damage_bytes(uint8_t *bytes, size_t length, size_t most)
{
    for (size_t n = 1 + below(most); n > 0; n--)
        bytes[below(length)] = (uint8_t)random_bits();
}

/* A copy of one place over another. */
static void splice(uint8_t *bytes, size_t length)
{
    size_t n = 1 + below(200);
    memmove(bytes + below(length - n), bytes + below(length - n), n);
}

/* One mutation of bytes (length + 64 long); the new length. *must_fail: there is no way that this can be valid. */
static size_t mutate(const struct gguf_writer *w, uint8_t *bytes, size_t list, bool *must_fail)
{
    size_t length = w->length, n;
    const struct gguf_field *field;
    switch (below(10)) {
    case 0: case 1: case 2: case 3: /* one size */
        damage_number(bytes, some_field(w, true));
        *must_fail = true;
        return length;
    case 4: case 5: /* a type, a name, a value, version or magic */
        field = some_field(w, false);
        if (field->bytes <= 8 && field->kind != GGUF_FIELD_NAME)
            damage_number(bytes, field);
        else
            damage_bytes(bytes + field->at, field->bytes, 4);
        return length;
    case 6: /* cut off */
        n = below(length);
        *must_fail = n <= length - w->alignment;
        return n;
    case 7: /* anywhere before the weights, or anywhere */
        damage_bytes(bytes, below(2) ? list : length, 16);
        return length;
    case 8:
        splice(bytes, list);
        return length;
    default: /* bytes more, or fewer, in the middle: everything behind moves */
        field = &w->fields[below(w->field_count)];
        n = 1 + below(32);
        if (below(2)) {
            memmove(bytes + field->at + n, bytes + field->at, length - field->at);
            return length + n;
        }
        n = n < length - field->at ? n : length - field->at;
        memmove(bytes + field->at, bytes + field->at + n, length - field->at - n);
        return length - n;
    }
}

static void damaged_files(void **state)
{
    (void)state;
    struct gguf_writer w;
    const char *seed = getenv("KEDGE_FUZZ_SEED"), *longer = getenv("CHECK_LONG");
    unsigned count = longer && strcmp(longer, "1") == 0 ? 10000 : 1000, errors = 0, certain = 0;
    write_model(&w);
    size_t list = w.fields[w.field_count - 1].at + w.fields[w.field_count - 1].bytes; /* end of the list of tensors */
    assert_int_equal(gguf_try(w.bytes, w.length), KG_OK);
    for (unsigned i = 0; i < count; i++) {
        uint8_t *bytes = malloc(w.length + 64);
        bool must_fail = false;
        assert_non_null(bytes);
        memcpy(bytes, w.bytes, w.length);
        random_state = (seed ? strtoull(seed, NULL, 0) : 1) * 1000003 + i;
        size_t length = mutate(&w, bytes, list, &must_fail);
        enum kg_status status = gguf_try(bytes, length);
        if (must_fail && status == KG_OK)
            fail_msg("mutation %u was accepted", i);
        certain += must_fail;
        errors += status != KG_OK;
        free(bytes);
    }
    print_message("%u mutations of %zu bytes: %u errors, %u valid models; %u had to be errors\n", count, w.length, errors, count - errors, certain);
    assert_true(errors > count / 2 && errors < count);
    gguf_free(&w);
}

/* Every size, with each of the values that break most. */
static void every_size_once(void **state)
{
    (void)state;
    struct gguf_writer w;
    write_model(&w);
    unsigned tried = 0;
    const char *longer = getenv("CHECK_LONG");
    size_t step = longer && strcmp(longer, "1") == 0 ? 1 : 4; /* most sizes are lengths of tokens */
    for (size_t i = 0; i < w.field_count; i += is_size(w.fields[i].kind) && w.fields[i].kind != GGUF_FIELD_LENGTH ? 1 : step) {
        const struct gguf_field *field = &w.fields[i];
        uint64_t old = 0;
        if (!is_size(field->kind))
            continue;
        memcpy(&old, w.bytes + field->at, field->bytes);
        const uint64_t values[] = { 0, 1, old + 1, old - 1, old + 32, old * 2 + 1, UINT64_MAX, UINT64_MAX / 2, UINT64_MAX - old, (uint64_t)1 << 31, (uint64_t)1 << 61 };
        for (size_t k = 0; k < sizeof values / sizeof *values; k++) {
            uint64_t new = field->bytes == 8 ? values[k] : values[k] & UINT32_MAX;
            if (new == old)
                continue;
            memcpy(w.bytes + field->at, &new, field->bytes);
            if (gguf_try(w.bytes, w.length) == KG_OK)
                fail_msg("%llu in place of %llu at %zu was accepted", (unsigned long long)new, (unsigned long long)old, field->at);
            tried++;
        }
        memcpy(w.bytes + field->at, &old, field->bytes);
    }
    print_message("%u wrong sizes, all of them errors\n", tried);
    gguf_free(&w);
}

static void files_of_the_corpus(void **state)
{
    (void)state;
    static const char folder[] = "tests/fuzz/corpus/gguf";
    unsigned count = 0;
    DIR *dir = opendir(folder);
    assert_non_null(dir);
    for (struct dirent *entry; (entry = readdir(dir));) {
        char path[512], *bytes;
        size_t length;
        snprintf(path, sizeof path, "%s/%s", folder, entry->d_name);
        if (entry->d_name[0] == '.')
            continue;
        assert_int_equal(kg_read_file(path, 1 << 20, &bytes, &length, NULL), KG_OK);
        (void)gguf_try((const uint8_t *)bytes, length);
        free(bytes);
        count++;
    }
    closedir(dir);
    print_message("%u files replayed\n", count);
    assert_true(count > 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(damaged_files),
        cmocka_unit_test(every_size_once),
        cmocka_unit_test(files_of_the_corpus),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
