/* Token ids against those of llama.cpp, for two real vocabularies. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include <cjson/cJSON.h>

#include "tests/unit/tokenizer_made.h"

static int number(const cJSON *object, const char *name)
{
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(object, name);
    assert_true(cJSON_IsNumber(item));
    return item->valueint;
}

static void check_ids(const struct kg_tokenizer *tokenizer, const char *text, bool special, const cJSON *expected)
{
    struct kg_ids ids = { 0 };
    struct kg_error err;
    assert_int_equal(kg_tokenize(tokenizer, text, strlen(text), special, &ids, &err), KG_OK);
    size_t n = (size_t)cJSON_GetArraySize(expected);
    if (ids.count != n)
        print_message("%s\n", text);
    assert_int_equal(ids.count, n);
    size_t at = 0;
    for (size_t i = 0; i < n; i++) {
        size_t length;
        assert_int_equal(ids.ids[i], cJSON_GetArrayItem(expected, (int)i)->valueint);
        const char *bytes = kg_token_bytes(tokenizer, ids.ids[i], true, &length);
        assert_memory_equal(bytes, text + at, length);
        at += length;
    }
    assert_int_equal(at, strlen(text));
    kg_ids_free(&ids);
}

static void check_strings(const struct kg_tokenizer *tokenizer, const cJSON *strings)
{
    const cJSON *one;
    assert_int_equal(cJSON_GetArraySize(strings), 59);
    cJSON_ArrayForEach(one, strings)
    {
        const char *text = cJSON_GetObjectItemCaseSensitive(one, "text")->valuestring;
        check_ids(tokenizer, text, false, cJSON_GetObjectItemCaseSensitive(one, "ids_no_special"));
        check_ids(tokenizer, text, true, cJSON_GetObjectItemCaseSensitive(one, "ids_parse_special"));
        /* Neither file asks for BOS, so what is added in front is nothing. */
        assert_int_equal(kg_special_ids(tokenizer)->bos, -1);
        check_ids(tokenizer, text, true, cJSON_GetObjectItemCaseSensitive(one, "ids_add_special"));
    }
}

static void check_special(const struct kg_tokenizer *tokenizer, const cJSON *golden)
{
    const struct kg_special_ids *ids = kg_special_ids(tokenizer);
    const cJSON *fim = cJSON_GetObjectItemCaseSensitive(golden, "fim");
    assert_true(cJSON_IsFalse(cJSON_GetObjectItemCaseSensitive(golden, "add_bos")));
    assert_int_equal(ids->eos, number(golden, "eos"));
    assert_int_equal(ids->eot, number(golden, "eot"));
    assert_int_equal(ids->fim_prefix, number(fim, "pre"));
    assert_int_equal(ids->fim_suffix, number(fim, "suf"));
    assert_int_equal(ids->fim_middle, number(fim, "mid"));
    assert_int_equal(ids->fim_pad, number(fim, "pad"));
    assert_int_equal(ids->repo_name, number(fim, "rep"));
    assert_int_equal(ids->file_separator, number(fim, "sep"));
    assert_int_equal(ids->think_open, -1);
    assert_int_equal(ids->think_close, -1);
    const cJSON *ends = cJSON_GetObjectItemCaseSensitive(golden, "eog");
    int32_t found = 0;
    for (int32_t id = -1; id <= (int32_t)kg_vocabulary(tokenizer); id++)
        if (kg_token_ends_generation(tokenizer, id))
            assert_int_equal(id, cJSON_GetArrayItem(ends, found++)->valueint);
    assert_int_equal(found, cJSON_GetArraySize(ends));
}

static void equals_golden(const char *name)
{
    cJSON *golden = golden_json("tokens.json");
    const cJSON *model = cJSON_GetObjectItemCaseSensitive(golden, name);
    struct kg_gguf *file = model_file(cJSON_GetObjectItemCaseSensitive(model, "model")->valuestring);
    if (!file) {
        cJSON_Delete(golden);
        skip();
    }
    struct kg_tokenizer *tokenizer;
    struct kg_error err;
    assert_int_equal(kg_tokenizer_create(file, &tokenizer, &err), KG_OK);
    kg_gguf_close(file);
    assert_int_equal(kg_vocabulary(tokenizer), number(model, "n_vocab"));
    check_special(tokenizer, model);
    check_strings(tokenizer, cJSON_GetObjectItemCaseSensitive(model, "strings"));
    kg_tokenizer_free(tokenizer);
    cJSON_Delete(golden);
}

static void smollm2_equals_golden(void **state)
{
    (void)state;
    equals_golden("smol");
}

static void qwen_coder_equals_golden(void **state)
{
    (void)state;
    equals_golden("q05");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(smollm2_equals_golden),
        cmocka_unit_test(qwen_coder_equals_golden),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
