/* Files made to break the tokenizer: each is an error that says what is wrong, or works. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "engine/tokenizer/chat.h"
#include "tests/unit/tokenizer_made.h"

static uint64_t random_state = 6364136223846793005U;

static uint64_t next_random(void)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return random_state;
}

static long rounds_of(long few, long many)
{
    const char *full = getenv("CHECK_LONG");
    return full && full[0] == '1' ? many : few;
}

static void check_error(struct kg_gguf *file, enum kg_status expected, const char *named)
{
    struct kg_tokenizer *tokenizer;
    struct kg_error err;
    assert_int_equal(kg_tokenizer_create(file, &tokenizer, &err), expected);
    if (!strstr(err.text, named))
        print_message("%s\n", err.text);
    assert_non_null(strstr(err.text, named));
    kg_gguf_close(file);
}

static void what_is_not_supported_is_named(void **state)
{
    (void)state;
    struct made_vocabulary made;
    made_start(&made, "qwen2");
    made.model = "llama";
    check_error(made_open(&made), KG_ERR_UNSUPPORTED, "llama");
    made_start(&made, "qwen2");
    made.model = NULL;
    check_error(made_open(&made), KG_ERR_NOT_FOUND, "tokenizer.ggml.model");
    made_start(&made, "tekken\x1b[2J");
    check_error(made_open(&made), KG_ERR_UNSUPPORTED, "tekken");
    made_start(&made, "qwen");
    check_error(made_open(&made), KG_ERR_UNSUPPORTED, "qwen");
    made_start(&made, NULL);
    check_error(made_open(&made), KG_ERR_NOT_FOUND, "tokenizer.ggml.pre");
}

static void other_types_where_arrays_are_due(void **state)
{
    (void)state;
    struct made_vocabulary made;
    const char *const tokens[] = { "a" };
    int32_t numbers[300] = { 1 };
    for (int wrong = 0; wrong < 7; wrong++) {
        struct gguf_writer w;
        char path[64];
        struct kg_gguf *file;
        gguf_start(&w, 3);
        gguf_text(&w, "tokenizer.ggml.model", "gpt2");
        gguf_text(&w, "tokenizer.ggml.pre", "gpt-2");
        if (wrong == 0)
            gguf_i32s(&w, "tokenizer.ggml.tokens", numbers, 300);
        else if (wrong != 1)
            gguf_texts(&w, "tokenizer.ggml.tokens", tokens, wrong != 2);
        if (wrong == 3)
            gguf_texts(&w, "tokenizer.ggml.token_type", tokens, 1);
        else if (wrong == 4)
            gguf_i32s(&w, "tokenizer.ggml.token_type", numbers, 300);
        else if (wrong == 5)
            gguf_text(&w, "tokenizer.ggml.token_type", "1");
        if (wrong != 6)
            gguf_i32s(&w, "tokenizer.ggml.merges", numbers, 300);
        gguf_end(&w);
        gguf_to_file(w.bytes, w.length, path);
        assert_int_equal(kg_gguf_open(path, &file, NULL), KG_OK);
        unlink(path);
        gguf_free(&w);
        static const enum kg_status expected[] = { KG_ERR_FORMAT, KG_ERR_NOT_FOUND, KG_ERR_FORMAT, KG_ERR_FORMAT,
                                                   KG_ERR_FORMAT, KG_ERR_FORMAT,    KG_ERR_NOT_FOUND };
        static const char *const named[] = { "tokens", "tokens", "tokens", "token_type", "token_type", "token_type", "merges" };
        check_error(file, expected[wrong], named[wrong]);
    }
    char *giant = malloc(70001);
    memset(giant, 'g', 70000);
    giant[70000] = '\0';
    made_start(&made, "gpt-2");
    made_token(&made, giant, 1);
    check_error(made_open(&made), KG_ERR_FORMAT, "token 256");
    free(giant);
}

/* Every id below the vocabulary's size, and the text comes back if every byte has its token. */
static void use(const struct kg_tokenizer *t, bool whole)
{
    char text[400];
    size_t n = next_random() % sizeof text;
    for (size_t i = 0; i < n; i++)
        text[i] = next_random() % 4 ? "ab <|>\n7"[next_random() % 8] : (char)next_random();
    struct kg_ids ids = { 0 };
    struct kg_error err;
    assert_int_equal(kg_tokenize(t, text, n, next_random() % 2, &ids, &err), KG_OK);
    size_t at = 0;
    for (size_t i = 0; i < ids.count; i++) {
        size_t length;
        assert_true(ids.ids[i] >= 0 && (uint32_t)ids.ids[i] < kg_vocabulary(t));
        const char *bytes = kg_token_bytes(t, ids.ids[i], true, &length);
        if (whole) {
            assert_true(at + length <= n);
            assert_memory_equal(bytes, text + at, length);
        }
        at += length;
        kg_token_ends_generation(t, ids.ids[i]);
        kg_token_has_newline(t, ids.ids[i]);
    }
    if (whole)
        assert_int_equal(at, n);
    kg_ids_free(&ids);
}

static const char *random_text(char *out, size_t most)
{
    static const char *const parts[] = { "a", "b", "\xc4\xa0", "<|", "|>", "<", ">", " ", "\xff", "\xe4\xb8\xad", "\xc4\x8a", "ab", "</s>", "" };
    size_t used = 0;
    for (size_t i = next_random() % 6; i-- > 0;) {
        const char *part = parts[next_random() % (sizeof parts / sizeof *parts)];
        if (used + strlen(part) < most)
            used = (size_t)(stpcpy(out + used, part) - out);
    }
    out[used] = '\0';
    return out;
}

static void senseless_vocabularies_work(void **state)
{
    (void)state;
    static const char *const pres[] = { "gpt-2", "smollm", "qwen2", "llama-bpe" };
    for (long round = 0; round < rounds_of(300, 20000); round++) {
        struct made_vocabulary made;
        char text[40];
        char other[40];
        made_start(&made, pres[round % 4]);
        for (size_t i = next_random() % 100; i-- > 0;)
            made_token(&made, random_text(text, sizeof text), (int32_t)(next_random() % 3 ? next_random() % 8 : next_random()));
        for (size_t i = next_random() % 100; i-- > 0;)
            made_merge(&made, random_text(text, sizeof text), random_text(other, sizeof other));
        made.without_types = next_random() % 8 == 0;
        gguf_u32(&made.file, "tokenizer.ggml.bos_token_id", (uint32_t)(next_random() % 300));
        gguf_u32(&made.file, "tokenizer.ggml.eos_token_id", (uint32_t)next_random());
        gguf_text(&made.file, "tokenizer.ggml.add_bos_token", "maybe");
        struct kg_tokenizer *t = made_tokenizer(&made);
        for (int i = 0; i < 5; i++)
            use(t, true);
        assert_int_equal(kg_special_ids(t)->eos >= (int32_t)kg_vocabulary(t), 0);
        kg_tokenizer_free(t);
    }
}

static void names_of_any_number_and_length(void **state)
{
    (void)state;
    struct made_vocabulary made;
    char name[1001];
    made_start(&made, "qwen2");
    int32_t first = made_token(&made, "<a>", 3);
    made_token(&made, "<a>", 3);
    made_token(&made, "<a>", 4);
    for (size_t n = 1; n <= 1000; n++) {
        memset(name, '<', n);
        name[n] = '\0';
        made_token(&made, name, 3);
    }
    struct kg_tokenizer *t = made_tokenizer(&made);
    assert_int_equal(kg_token_named(t, "<a>"), first);
    assert_int_equal(kg_token_named(t, name), 256 + 3 + 999);
    struct kg_ids ids = { 0 };
    size_t length = 200000;
    char *text = malloc(length);
    memset(text, '<', length);
    assert_int_equal(kg_tokenize(t, text, length, true, &ids, NULL), KG_OK);
    assert_int_equal(ids.count, (length + 255) / 256); /* the longest that are looked for */
    kg_ids_free(&ids);
    free(text);
    kg_tokenizer_free(t);
}

/* How far opening gets; whatever works is used. */
static int open_all(const uint8_t *bytes, size_t length)
{
    char path[64];
    struct kg_gguf *file;
    struct kg_tokenizer *t;
    struct kg_chat *chat;
    struct kg_error err;
    int reached = 0;
    gguf_to_file(bytes, length, path);
    if (kg_gguf_open(path, &file, &err) == KG_OK) {
        reached++;
        if (kg_tokenizer_create(file, &t, &err) == KG_OK) {
            reached++;
            use(t, false);
            if (kg_chat_create(file, t, &chat, &err) == KG_OK) {
                struct kg_ids ids = { 0 };
                reached++;
                assert_int_equal(kg_chat_preamble(chat, &ids, &err), KG_OK);
                kg_ids_free(&ids);
                kg_chat_free(chat);
            }
            kg_tokenizer_free(t);
        }
        kg_gguf_close(file);
    }
    unlink(path);
    return reached;
}

static void damaged_files_do_no_harm(void **state)
{
    (void)state;
    struct made_vocabulary made;
    made_start(&made, "qwen2");
    made_word(&made, "abab");
    int32_t open = made_token(&made, "<|im_start|>", 3);
    made_token(&made, "<|im_end|>", 3);
    made.chat_template = "<|im_start|><|im_end|>";
    gguf_u32(&made.file, "tokenizer.ggml.bos_token_id", (uint32_t)open);
    made_finish(&made);
    assert_int_equal(open_all(made.file.bytes, made.file.length), 3);
    uint8_t *damaged = malloc(made.file.length);
    long reached[4] = { 0 };
    for (long round = 0; round < rounds_of(3000, 100000); round++) {
        memcpy(damaged, made.file.bytes, made.file.length);
        for (int i = 0; i < 1 + round % 3; i++) {
            const struct gguf_field *field = &made.file.fields[next_random() % made.file.field_count];
            damaged[field->at + next_random() % field->bytes] = (uint8_t)next_random();
        }
        reached[open_all(damaged, made.file.length)]++;
    }
    for (int i = 0; i < 4; i++) /* each outcome has been seen, so the damage is of the right kind */
        assert_true(reached[i] > 0);
    free(damaged);
    gguf_free(&made.file);
}

enum { THREADS = 4 };

static void *encode_again_and_again(void *tokenizer)
{
    static const char text[] = "int main(void) { return abab<|im_end|>\xff; }\n                                          ababababababababababababababab";
    struct kg_ids first = { 0 };
    struct kg_ids again = { 0 };
    void *result = tokenizer;
    if (kg_tokenize(tokenizer, text, strlen(text), true, &first, NULL) != KG_OK)
        return NULL;
    for (int i = 0; i < 200; i++) {
        again.count = 0;
        if (kg_tokenize(tokenizer, text, strlen(text), true, &again, NULL) != KG_OK || again.count != first.count ||
            memcmp(again.ids, first.ids, first.count * sizeof *first.ids) != 0)
            result = NULL;
    }
    kg_ids_free(&first);
    kg_ids_free(&again);
    return result;
}

static void threads_share_one(void **state)
{
    (void)state;
    struct made_vocabulary made;
    pthread_t threads[THREADS];
    made_start(&made, "qwen2");
    made_word(&made, "abab");
    made_token(&made, "<|im_end|>", 3);
    struct kg_tokenizer *t = made_tokenizer(&made);
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, encode_again_and_again, t), 0);
    for (int i = 0; i < THREADS; i++) {
        void *result;
        assert_int_equal(pthread_join(threads[i], &result), 0);
        assert_ptr_equal(result, t);
    }
    kg_tokenizer_free(t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_not_supported_is_named),
        cmocka_unit_test(other_types_where_arrays_are_due),
        cmocka_unit_test(senseless_vocabularies_work),
        cmocka_unit_test(names_of_any_number_and_length),
        cmocka_unit_test(damaged_files_do_no_harm),
        cmocka_unit_test(threads_share_one),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
