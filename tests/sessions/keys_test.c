/* The name under which the cache knows a reading: everything that decides its bits is in it, and anything else means a miss. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "engine/state.h"
#include "tests/unit/kv_blocks.h"
#include "tests/unit/model_run.h"

static const char header[] = "#define AREA_SIDE_MAX 4711\n\nlong area(long width, long height);\n";
static const char source[] = "#include \"area.h\"\n\nlong area(long width, long height)\n{\n    return width * height;\n}\n";

struct world {
    char directory[256], model[KG_PATH_MAX];
    struct kg_engine_options options;
    struct kg_engine *engine;
    struct kg_session *session;
};

static void open_with(struct world *w, enum kg_policy policy, struct kg_recall recall)
{
    struct kg_error err = { .text = "" };
    const struct kg_session_options session = { .policy = policy, .recall = recall, .unsaved = true };
    kg_session_close(w->session);
    kg_engine_close(w->engine);
    w->session = NULL;
    w->engine = NULL;
    if (kg_engine_open(&w->options, &w->engine, &err) != KG_OK || kg_session_open(w->engine, &session, &w->session, &err) != KG_OK)
        fail_msg("%s", err.text);
}

static void open_plain(struct world *w)
{
    open_with(w, KG_POLICY_RECALL, (struct kg_recall){ 0 });
}

/* Both files are read, the source in sight of the header, and kept. */
static int set_up(void **state)
{
    struct world *w = calloc(1, sizeof *w);
    struct kg_error err = { .text = "" };
    const struct kg_include include = { .path = "area.h", .text = header, .length = strlen(header) };
    *state = w;
    snprintf(w->directory, sizeof w->directory, "%s", kv_directory_make());
    model_path_or_skip("SmolLM2-135M-Instruct.Q4_1.gguf", w->model);
    w->options = (struct kg_engine_options){ .model_path = w->model, .cache_dir = w->directory, .state_dir = w->directory };
    open_plain(w);
    if (kg_session_read_ahead(w->session, "area.c", source, strlen(source), &include, 1, NULL, &err) != KG_OK)
        fail_msg("%s", err.text);
    w->options.weightless = true;
    open_plain(w);
    return 0;
}

static int tear_down(void **state)
{
    struct world *w = *state;
    kg_session_close(w->session);
    kg_engine_close(w->engine);
    kv_directory_remove(w->directory);
    free(w);
    return 0;
}

/* Tokens of the source that are known in sight of this header; -1 for all of them. */
static int known(struct world *w, const char *text, const char *path, const char *included)
{
    struct kg_error err = { .text = "" };
    struct kg_known known;
    const struct kg_include include = { .path = path, .text = included ? included : "", .length = included ? strlen(included) : 0 };
    if (kg_session_known(w->session, text, strlen(text), &include, included != NULL, UINT32_MAX, &known, &err) != KG_OK)
        fail_msg("%s", err.text);
    assert_true(known.tokens > 10 && known.known <= known.tokens);
    return known.known == known.tokens ? -1 : (int)known.known;
}

static void the_same_is_known(void **state)
{
    struct world *w = *state;
    assert_int_equal(known(w, source, "area.h", header), -1);
    assert_int_equal(known(w, header, "", NULL), -1); /* read alone on the way */
}

static void another_text_is_not(void **state)
{
    struct world *w = *state;
    char other[sizeof source];
    memcpy(other, source, sizeof source);
    other[sizeof source - 5] = '+';
    assert_int_equal(known(w, other, "area.h", header), 0);
    other[sizeof source - 5] = source[sizeof source - 5];
    assert_int_equal(known(w, other, "area.h", header), -1);
}

static void nor_what_saw_something_else(void **state)
{
    struct world *w = *state;
    assert_int_equal(known(w, source, "", NULL), 0);
    assert_int_equal(known(w, source, "area.h", "#define AREA_SIDE_MAX 4712\n\nlong area(long width, long height);\n"), 0);
    assert_int_equal(known(w, source, "erea.h", header), 0);
}

static void nor_what_was_read_by_another_rule(void **state)
{
    struct world *w = *state;
    open_with(w, KG_POLICY_ALONE, (struct kg_recall){ 0 });
    assert_int_equal(known(w, source, "area.h", header), 0);
    assert_int_equal(known(w, header, "", NULL), -1); /* alone is alone */
    open_with(w, KG_POLICY_ANCHOR, (struct kg_recall){ 0 });
    assert_int_equal(known(w, header, "", NULL), 0);
    open_with(w, KG_POLICY_RECALL, (struct kg_recall){ .window = 128, .k = 64 });
    assert_int_equal(known(w, source, "area.h", header), -1); /* files look at all that they see */
}

static void nor_what_is_kept_in_another_format(void **state)
{
    struct world *w = *state;
    w->options.kv = "q8_0";
    open_plain(w);
    assert_int_equal(known(w, header, "", NULL), 0);
    w->options.kv = "f16";
    open_plain(w);
    assert_int_equal(known(w, header, "", NULL), -1);
}

static void nor_what_another_index_or_device_made(void **state)
{
    struct world *w = *state;
    w->options.index_bits = 4;
    open_plain(w);
    assert_int_equal(known(w, header, "", NULL), 0);
    w->options.index_bits = 0;
    w->options.backend = "ref";
    open_plain(w);
    assert_int_equal(known(w, header, "", NULL), 0);
    w->options.backend = NULL;
    open_plain(w);
    assert_int_equal(known(w, header, "", NULL), -1);
}

/* A byte of its name differs, and nothing that it computes. */
static void nor_what_another_model_read(void **state)
{
    struct world *w = *state;
    char path[300], *bytes = NULL;
    size_t length = 0;
    assert_int_equal(kg_read_file(w->model, (size_t)1 << 30, &bytes, &length, NULL), KG_OK);
    char *name = memmem(bytes, 4096, "general.name", 12);
    assert_non_null(name);
    name[12 + 4 + 8]++; /* behind the value's type and length */
    snprintf(path, sizeof path, "%s/other.gguf", w->directory);
    FILE *file = fopen(path, "we");
    assert_true(file && fwrite(bytes, 1, length, file) == length && fclose(file) == 0);
    free(bytes);
    w->options.model_path = path;
    open_plain(w);
    assert_int_equal(known(w, header, "", NULL), 0);
}

/* Of identities that cannot be had without reading much: everything that they are made of changes them. */
static void parts_and_turns_are_named_by_all_they_saw(void **state)
{
    struct world *w = *state;
    struct kg_session *s = w->session;
    int32_t numbers[] = { 5, 6, 7 };
    const struct kg_ids ids = { .ids = numbers, .count = 3 };
    const struct kg_digest a = kg_digest_of("a", 1), b = kg_digest_of("b", 1);
    const struct kg_digest first[] = { a, b }, swapped[] = { b, a };
    struct kg_digest names[8];
    names[0] = kg_part_identity(s, KG_READ_ALONE, NULL, &ids, NULL, 0);
    names[1] = kg_part_identity(s, KG_READ_ALONE, NULL, &ids, first, 1);
    names[2] = kg_part_identity(s, KG_READ_ALONE, NULL, &ids, first, 2);
    names[3] = kg_part_identity(s, KG_READ_ALONE, NULL, &ids, swapped, 2);
    names[4] = kg_part_identity(s, KG_READ_LINKED, &a, &ids, first, 2);
    names[5] = kg_part_identity(s, KG_READ_LINKED, &b, &ids, first, 2);
    names[6] = kg_part_identity(s, KG_READ_ANCHORS, NULL, &ids, first, 2);
    s->pieces[0].identity.bytes[0] ^= 1; /* another preamble */
    names[7] = kg_part_identity(s, KG_READ_ALONE, NULL, &ids, NULL, 0);
    s->pieces[0].identity.bytes[0] ^= 1;
    for (unsigned i = 0; i < 8; i++)
        for (unsigned k = 0; k < i; k++)
            assert_memory_not_equal(&names[i], &names[k], sizeof names[i]);
}

/* A turn saw everything before it, each thing where it stood, by the look that was asked for. */
static void a_turn_is_named_by_its_chain(void **state)
{
    struct world *w = *state;
    struct kg_session *s = w->session;
    const int32_t numbers[] = { 5, 6, 7 };
    struct kg_digest names[6];
    for (unsigned i = 0; i < 2; i++) {
        struct kg_piece *piece = kg_piece_add(s, i ? KG_BLOCK_TURN : KG_BLOCK_FILE, "x", "x", 1);
        assert_non_null(piece);
        piece->rule = i ? KG_READ_CHAIN : KG_READ_ALONE;
        assert_int_equal(kg_piece_place(s, s->count - 1, numbers, 3, -1, NULL, NULL), KG_OK);
    }
    struct kg_piece *file = &s->pieces[1];
    const int32_t base = s->pieces[2].base;
    names[0] = kg_piece_identity(s, 2, base, numbers, 3);
    names[1] = kg_piece_identity(s, 2, base + 1, numbers, 3);
    names[2] = kg_piece_identity(s, 2, base, numbers, 2);
    file->identity.bytes[31] ^= 1;
    names[3] = kg_piece_identity(s, 2, base, numbers, 3);
    file->identity.bytes[31] ^= 1;
    file->base++;
    names[4] = kg_piece_identity(s, 2, base, numbers, 3);
    file->base--;
    s->rules.k++;
    names[5] = kg_piece_identity(s, 2, base, numbers, 3);
    s->rules.k--;
    for (unsigned i = 0; i < 6; i++)
        for (unsigned k = 0; k < i; k++)
            assert_memory_not_equal(&names[i], &names[k], sizeof names[i]);
    struct kg_digest again = kg_piece_identity(s, 2, base, numbers, 3);
    assert_memory_equal(&again, &names[0], sizeof again);
}

static void nothing_can_be_read_without_weights(void **state)
{
    struct world *w = *state;
    struct kg_error err = { .text = "" };
    assert_int_equal(kg_session_add_file(w->session, "b.c", "int b;\n", 7, false, &err), KG_ERR_USAGE);
    assert_non_null(strstr(err.text, "without its weights"));
    struct kg_known known;
    open_with(w, KG_POLICY_FULL, (struct kg_recall){ 0 });
    assert_int_equal(kg_session_known(w->session, source, strlen(source), NULL, 0, 0, &known, &err), KG_ERR_UNSUPPORTED);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(the_same_is_known),
        TEST(another_text_is_not),
        TEST(nor_what_saw_something_else),
        TEST(nor_what_was_read_by_another_rule),
        TEST(nor_what_is_kept_in_another_format),
        TEST(nor_what_another_index_or_device_made),
        TEST(nor_what_another_model_read),
        TEST(parts_and_turns_are_named_by_all_they_saw),
        TEST(a_turn_is_named_by_its_chain),
        TEST(nothing_can_be_read_without_weights),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
