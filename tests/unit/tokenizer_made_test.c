/* Words, merging and special tokens, on made vocabularies. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "engine/tokenizer/words.h"
#include "tests/unit/tokenizer_made.h"

static uint64_t next_random(uint64_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state;
}

/* Words of text, with | between them. */
static void check_words(const char *pre, const char *text, const char *expected)
{
    struct kg_words *words;
    struct kg_word_reader reader;
    struct kg_error err;
    char got[512];
    size_t used = 0;
    const uint8_t *word;
    size_t length;
    assert_int_equal(kg_words_create(pre, strlen(pre), &words, &err), KG_OK);
    assert_int_equal(kg_word_reader_open(words, &reader, &err), KG_OK);
    kg_word_reader_set(&reader, (const uint8_t *)text, strlen(text));
    while (kg_word_next(&reader, &word, &length, &err) == KG_OK && length)
        used += (size_t)snprintf(got + used, sizeof got - used, "%s%.*s", used ? "|" : "", (int)length, (const char *)word);
    assert_string_equal(got, expected);
    kg_word_reader_close(&reader);
    kg_words_free(words);
}

static void patterns_cut_as_the_models_learned(void **state)
{
    (void)state;
    check_words("gpt-2", "I'm 12345  x!= y\n\n z 'S", "I|'m| 12345| | x|!=| y|\n\n| z| '|S");
    check_words("smollm", "I'm 12345  7 x!= y\n\n z 'S", "I|'m| |1|2|3|4|5|  |7| x|!=| y|\n\n| z| '|S");
    check_words("qwen2", "I'm 12345  x!=\n\n y\n\n  z 'S", "I|'m| |1|2|3|4|5| | x|!=\n\n| y|\n\n| | z| '|S");
    check_words("llama-bpe", "I'M 12345  x!=\n\n y\n\n  z 'S", "I|'M| |123|45| | x|!=\n\n| y|\n\n| | z| '|S");
    check_words("qwen2", "a.b(c)->d\t\tif", "a|.b|(c|)->|d|\t|\tif");
    check_words("gpt-2", "a.b(c)->d\t\tif", "a|.|b|(|c|)->|d|\t|\t|if");
    check_words("llama-bpe", "x   \r\n  ", "x|   \r\n|  ");
    check_words("gpt-2", "x   \r\n  ", "x|   \r\n  ");
}

static void white_space_is_unicodes(void **state)
{
    (void)state;
    check_words("gpt-2", "\xc2\xa0\xc2\xa0x", "\xc2\xa0|\xc2\xa0|x"); /* U+00A0 is white space */
    check_words("gpt-2", "\xc2\x85\xe3\x80\x80.", "\xc2\x85|\xe3\x80\x80|."); /* U+0085, U+3000 too */
    check_words("gpt-2", ".\xe1\xa0\x8e.", ".\xe1\xa0\x8e.");       /* U+180E has not been since Unicode 6.3 */
    check_words("gpt-2", ".\x1c.", ".\x1c.");
    check_words("gpt-2", "\xd9\xa3\xe2\x85\xb7 \xc3\xa9\xcc\x81", "\xd9\xa3\xe2\x85\xb7| \xc3\xa9|\xcc\x81");
}

static void invalid_bytes_stand_alone(void **state)
{
    (void)state;
    check_words("gpt-2", "caf\xe9 au  \xff\xfelait", "caf|\xe9| au|  |\xff|\xfe|lait");
    check_words("qwen2", "\xe4\xb8\xad\xe4\xb8", "\xe4\xb8\xad|\xe4|\xb8");
    check_words("qwen2", "\xed\xa0\x80", "\xed|\xa0|\x80");
}

static void check_ids(const struct kg_tokenizer *tokenizer, const char *text, bool special, const int32_t *expected, size_t count)
{
    struct kg_ids ids = { 0 };
    assert_int_equal(kg_tokenize(tokenizer, text, strlen(text), special, &ids, NULL), KG_OK);
    assert_int_equal(ids.count, count);
    for (size_t i = 0; i < count; i++)
        assert_int_equal(ids.ids[i], expected[i]);
    kg_ids_free(&ids);
}
#define CHECK_IDS(tokenizer, text, special, ...)                                                                \
    check_ids(tokenizer, text, special, (const int32_t[]){ __VA_ARGS__ }, sizeof(int32_t[]){ __VA_ARGS__ } / sizeof(int32_t))

static void merges_go_by_rank_then_left_to_right(void **state)
{
    (void)state;
    struct made_vocabulary made;
    made_start(&made, "gpt-2");
    int32_t bc = made_merge(&made, "b", "c");
    int32_t ab = made_merge(&made, "a", "b");
    int32_t aa = made_merge(&made, "a", "a");
    int32_t space_a = made_merge(&made, "\xc4\xa0", "a");
    made_merge(&made, "b", "c"); /* a second time: the first rank counts */
    struct kg_tokenizer *t = made_tokenizer(&made);
    CHECK_IDS(t, "abc", false, 'a', bc);
    CHECK_IDS(t, "abab", false, ab, ab);
    CHECK_IDS(t, "aaaaa", false, aa, aa, 'a');
    CHECK_IDS(t, " aa", false, ' ', aa);
    CHECK_IDS(t, " ab", false, ' ', ab);
    CHECK_IDS(t, "a a", false, 'a', space_a);
    assert_int_equal(kg_vocabulary(t), 260);
    kg_tokenizer_free(t);
}

static void whole_words_come_first_only_for_llama(void **state)
{
    (void)state;
    for (int llama = 0; llama < 2; llama++) {
        struct made_vocabulary made;
        made_start(&made, llama ? "llama-bpe" : "qwen2");
        int32_t whole = made_token(&made, "hello", 1);
        int32_t he = made_merge(&made, "h", "e");
        made_token(&made, "help", 3);
        struct kg_tokenizer *t = made_tokenizer(&made);
        if (llama)
            CHECK_IDS(t, "hello", false, whole);
        else
            CHECK_IDS(t, "hello", false, he, 'l', 'l', 'o');
        /* A control token is no word, whatever it is called. */
        CHECK_IDS(t, "help", false, he, 'l', 'p');
        kg_tokenizer_free(t);
    }
}

static void special_names_only_where_asked(void **state)
{
    (void)state;
    struct made_vocabulary made;
    made_start(&made, "qwen2");
    int32_t end = made_token(&made, "<|im_end|>", 3);
    int32_t longer = made_token(&made, "<|im_end|>>", 3);
    int32_t call = made_token(&made, "<tool_call>", 4);
    int32_t unused = made_token(&made, "[PAD]", 5);
    int32_t close = made_token(&made, "</think>", 4);
    struct kg_tokenizer *t = made_tokenizer(&made);
    CHECK_IDS(t, "a<|im_end|>", false, 'a', '<', '|', 'i', 'm', '_', 'e', 'n', 'd', '|', '>');
    CHECK_IDS(t, "a<|im_end|>b<|im_end|>>", true, 'a', end, 'b', longer);
    CHECK_IDS(t, "<|im_end|", true, '<', '|', 'i', 'm', '_', 'e', 'n', 'd', '|');
    CHECK_IDS(t, "<<tool_call><", false, '<', call, '<');
    CHECK_IDS(t, "[PAD]", true, '[', 'P', 'A', 'D', ']');
    CHECK_IDS(t, "<tool_call></think>", false, call, close);
    assert_int_equal(kg_token_named(t, "<|im_end|>"), end);
    assert_int_equal(kg_token_named(t, "<|im_end|"), -1);
    assert_int_equal(kg_token_named(t, ""), -1);
    size_t length;
    kg_token_bytes(t, end, false, &length);
    assert_int_equal(length, 0);
    assert_memory_equal(kg_token_bytes(t, end, true, &length), "<|im_end|>", 10);
    assert_memory_equal(kg_token_bytes(t, call, false, &length), "<tool_call>", 11);
    kg_token_bytes(t, unused, false, &length);
    assert_int_equal(length, 0);
    for (int64_t id = -3; id < 3; id++) {
        kg_token_bytes(t, (int32_t)(id < 0 ? id : kg_vocabulary(t) + id), true, &length);
        assert_int_equal(length, 0);
    }
    assert_true(kg_token_has_newline(t, '\n') && !kg_token_has_newline(t, ' ') && !kg_token_has_newline(t, -1));
    assert_true(kg_token_ends_generation(t, end) && !kg_token_ends_generation(t, call) && !kg_token_ends_generation(t, INT32_MAX));
    assert_int_equal(kg_special_ids(t)->think_open, -1);
    assert_int_equal(kg_special_ids(t)->think_close, close);
    kg_tokenizer_free(t);
}

static void ids_come_from_the_file_then_from_names(void **state)
{
    (void)state;
    struct made_vocabulary made;
    made_start(&made, "llama-bpe");
    int32_t bos = made_token(&made, "<|begin_of_text|>", 3);
    int32_t eos = made_token(&made, "<|end_of_text|>", 3);
    int32_t eot = made_token(&made, "<|eot_id|>", 3);
    int32_t pre = made_token(&made, "<PRE>", 1);
    int32_t other = made_token(&made, "<fim_prefix>", 1);
    int32_t middle = made_token(&made, "middle", 3);
    gguf_u32(&made.file, "tokenizer.ggml.bos_token_id", (uint32_t)bos);
    gguf_u32(&made.file, "tokenizer.ggml.eos_token_id", 100000000);
    gguf_u32(&made.file, "tokenizer.ggml.fim_mid_token_id", (uint32_t)middle);
    struct kg_tokenizer *t = made_tokenizer(&made);
    const struct kg_special_ids *ids = kg_special_ids(t);
    assert_int_equal(ids->bos, bos); /* what llama-bpe does when the file does not say */
    assert_int_equal(ids->eos, -1);  /* there is no such token */
    assert_int_equal(ids->eot, eot);
    assert_int_equal(ids->fim_prefix, pre);
    assert_int_equal(ids->fim_middle, middle);
    assert_int_equal(ids->fim_suffix, -1);
    assert_true(kg_token_ends_generation(t, eos) && kg_token_ends_generation(t, eot) && !kg_token_ends_generation(t, other));
    assert_int_equal(kg_token_named(t, "<PRE>"), pre); /* its type was wrong, and has been put right */
    assert_int_equal(kg_token_named(t, "<fim_prefix>"), -1);
    kg_tokenizer_free(t);

    made_start(&made, "llama-bpe");
    gguf_u32(&made.file, "tokenizer.ggml.bos_token_id", 7);
    gguf_bool(&made.file, "tokenizer.ggml.add_bos_token", 0);
    t = made_tokenizer(&made);
    assert_int_equal(kg_special_ids(t)->bos, -1);
    kg_tokenizer_free(t);
}

/* Merging by the definition: over and over the pair of lowest rank, leftmost. */
static size_t merge_plainly(const int32_t (*merges)[3], size_t merge_count, int32_t *ids, size_t n)
{
    for (;;) {
        size_t best = merge_count;
        size_t place = 0;
        for (size_t i = 0; i + 1 < n; i++)
            for (size_t rank = 0; rank < best; rank++)
                if (merges[rank][0] == ids[i] && merges[rank][1] == ids[i + 1]) {
                    best = rank;
                    place = i;
                }
        if (best == merge_count)
            return n;
        ids[place] = merges[best][2];
        n--;
        memmove(ids + place + 1, ids + place + 2, (n - place - 1) * sizeof *ids);
    }
}

static void short_and_long_words_merge_by_the_definition(void **state)
{
    (void)state;
    enum { MERGES = 60, LONGEST = 200 };
    uint64_t random = 362436069362436069U;
    for (int vocabulary = 0; vocabulary < 20; vocabulary++) {
        struct made_vocabulary made;
        int32_t merges[MERGES][3];
        made_start(&made, "gpt-2");
        for (size_t i = 0; i < MERGES; i++) {
            size_t tokens = 3 + made.token_count - 256;
            size_t parts[2] = { next_random(&random) % tokens, next_random(&random) % tokens };
            for (int side = 0; side < 2; side++)
                merges[i][side] = (int32_t)(parts[side] < 3 ? 'a' + parts[side] : 253 + parts[side]);
            char left[256];
            char right[256];
            snprintf(left, sizeof left, "%s", made.tokens[merges[i][0]]);
            snprintf(right, sizeof right, "%s", made.tokens[merges[i][1]]);
            merges[i][2] = strlen(left) + strlen(right) < 100 ? made_merge(&made, left, right) : made_merge(&made, "a", "a");
            if (strlen(left) + strlen(right) >= 100)
                merges[i][0] = merges[i][1] = 'a';
        }
        struct kg_tokenizer *t = made_tokenizer(&made);
        for (int round = 0; round < 200; round++) {
            char text[LONGEST + 1];
            int32_t ids[LONGEST];
            size_t n = 1 + next_random(&random) % LONGEST;
            for (size_t i = 0; i < n; i++)
                ids[i] = text[i] = (char)('a' + next_random(&random) % 3);
            text[n] = '\0';
            check_ids(t, text, false, ids, merge_plainly(merges, MERGES, ids, n));
        }
        kg_tokenizer_free(t);
    }
}

static void any_bytes_come_back(void **state)
{
    (void)state;
    struct made_vocabulary made;
    made_start(&made, "qwen2");
    made_merge(&made, "\xc3\xbf", "\xc3\xbf"); /* FF FF, which no text holds */
    made_merge(&made, "e", "r");
    struct kg_tokenizer *t = made_tokenizer(&made);
    uint64_t random = 521288629546311U;
    for (int round = 0; round < 2000; round++) {
        char bytes[300];
        struct kg_ids ids = { 0 };
        size_t n = next_random(&random) % sizeof bytes;
        for (size_t i = 0; i < n; i++)
            bytes[i] = next_random(&random) % 3 ? (char)next_random(&random) : " er\n"[next_random(&random) % 4];
        assert_int_equal(kg_tokenize(t, bytes, n, true, &ids, NULL), KG_OK);
        size_t at = 0;
        for (size_t i = 0; i < ids.count; i++) {
            size_t length;
            const char *token = kg_token_bytes(t, ids.ids[i], false, &length);
            assert_true(at + length <= n);
            assert_memory_equal(token, bytes + at, length);
            at += length;
        }
        assert_int_equal(at, n);
        kg_ids_free(&ids);
    }
    CHECK_IDS(t, "\xff\xff", false, 0xff, 0xff);
    kg_tokenizer_free(t);
}

static double seconds_for(const struct kg_tokenizer *t, const char *text, size_t length)
{
    struct timespec begin;
    struct timespec end;
    struct kg_ids ids = { 0 };
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &begin);
    assert_int_equal(kg_tokenize(t, text, length, true, &ids, NULL), KG_OK);
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &end);
    assert_true(ids.count > 0 && ids.count <= length);
    kg_ids_free(&ids);
    return (double)(end.tv_sec - begin.tv_sec) + 1e-9 * (double)(end.tv_nsec - begin.tv_nsec);
}

static void a_megabyte_of_anything_takes_under_a_second(void **state)
{
    (void)state;
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__) || !defined(__OPTIMIZE__)
    const double most = 20;
#else
    const double most = 1;
#endif
    static const char *const pieces[] = { "a", " ", "\n", "7", "'", "<", "\xff", "\xe4\xb8\xad", "\n ", "abcdefghij", "<|im_end|", "\xe4", "\r\n\t" };
    static const char *const pres[] = { "gpt-2", "smollm", "qwen2", "llama-bpe" };
    size_t length = 1000000;
    char *text = malloc(length + 1);
    for (size_t p = 0; p < sizeof pres / sizeof *pres; p++) {
        struct made_vocabulary made;
        made_start(&made, pres[p]);
        made_token(&made, "<|im_end|>", 3);
        char run[65] = "a";
        for (size_t n = 1; n < sizeof run / 2; n *= 2) { /* aa, aaaa, ... */
            made_merge(&made, run, run);
            memset(run, 'a', 2 * n);
        }
        made_merge(&made, "\xc4\xa0", "\xc4\xa0");
        made_word(&made, "abcde");
        struct kg_tokenizer *t = made_tokenizer(&made);
        for (size_t i = 0; i < sizeof pieces / sizeof *pieces; i++) {
            size_t n = strlen(pieces[i]);
            for (size_t at = 0; at < length; at++)
                text[at] = pieces[i][at % n];
            text[length] = 'x'; /* so that a run of white space has something behind it */
            double seconds = seconds_for(t, text, length + 1);
            if (seconds >= most)
                print_message("%s on '%s': %.2f s\n", pres[p], pieces[i], seconds);
            assert_true(seconds < most);
        }
        kg_tokenizer_free(t);
    }
    free(text);
}

static void missing_bytes_are_replaced(void **state)
{
    (void)state;
    struct made_vocabulary made;
    made_start(&made, "gpt-2");
    strcpy(made.tokens['q'], "z"); /* now there are two z and no q */
    int32_t ab = made_merge(&made, "a", "b");
    struct kg_tokenizer *t = made_tokenizer(&made);
    CHECK_IDS(t, "abqabz", false, ab, 0xef, 0xbf, 0xbd, ab, 'q'); /* of the two the smaller id */
    kg_tokenizer_free(t);

    made_start(&made, "gpt-2");
    strcpy(made.tokens['q'], "z");
    strcpy(made.tokens[0xbd], "z");
    t = made_tokenizer(&made);
    CHECK_IDS(t, "aqb", false, 'a', 'b'); /* nothing that could stand for it */
    kg_tokenizer_free(t);
}

static void a_text_beyond_the_limit_is_an_error(void **state)
{
    (void)state;
    struct made_vocabulary made;
    made_start(&made, "gpt-2");
    struct kg_tokenizer *t = made_tokenizer(&made);
    struct kg_ids ids = { 0 };
    struct kg_error err;
    assert_int_equal(kg_tokenize(t, "", ((size_t)64 << 20) + 1, false, &ids, &err), KG_ERR_RANGE);
    assert_int_equal(kg_tokenize(t, NULL, 0, false, &ids, &err), KG_OK);
    assert_int_equal(ids.count, 0);
    kg_tokenizer_free(t);
}

static void merges_of_unknown_tokens_never_apply(void **state)
{
    (void)state;
    struct made_vocabulary made;
    made_start(&made, "gpt-2");
    int32_t a = made_merge(&made, "a", "b");
    int32_t b = made_merge(&made, "ab", "c");
    int32_t c = made_merge(&made, "ab", "d");
    made_merge(&made, "xy", "z"); /* no token xy */
    made_merge(&made, "", "a");
    made_merge(&made, "a", "");
    free(made.tokens[b]);
    made.tokens[b] = strdup("elsewhere"); /* no token abc */
    free(made.tokens[c]);
    made.tokens[c] = strdup("");
    struct kg_tokenizer *t = made_tokenizer(&made);
    CHECK_IDS(t, "abcxyz", false, a, 'c', 'x', 'y', 'z');
    CHECK_IDS(t, "abd", false, a, 'd');
    size_t length;
    kg_token_bytes(t, c, true, &length);
    assert_int_equal(length, 0);
    kg_tokenizer_free(t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(patterns_cut_as_the_models_learned),
        cmocka_unit_test(white_space_is_unicodes),
        cmocka_unit_test(invalid_bytes_stand_alone),
        cmocka_unit_test(merges_go_by_rank_then_left_to_right),
        cmocka_unit_test(whole_words_come_first_only_for_llama),
        cmocka_unit_test(special_names_only_where_asked),
        cmocka_unit_test(ids_come_from_the_file_then_from_names),
        cmocka_unit_test(short_and_long_words_merge_by_the_definition),
        cmocka_unit_test(any_bytes_come_back),
        cmocka_unit_test(a_megabyte_of_anything_takes_under_a_second),
        cmocka_unit_test(missing_bytes_are_replaced),
        cmocka_unit_test(a_text_beyond_the_limit_is_an_error),
        cmocka_unit_test(merges_of_unknown_tokens_never_apply),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
