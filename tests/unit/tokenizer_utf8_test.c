/* Streaming: whatever the pieces, the same whole characters come out. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "engine/tokenizer/tokenizer.h"

#define MOST 64

/* Independent of the code under test: decodes by value. Length of the character at s, 0 if none. */
static size_t character_at(const uint8_t *s, size_t n)
{
    size_t length = s[0] < 0x80 ? 1 : s[0] >> 5 == 6 ? 2 : s[0] >> 4 == 14 ? 3 : s[0] >> 3 == 30 ? 4 : 0;
    if (length == 0 || length > n)
        return 0;
    uint32_t c = length == 1 ? s[0] : s[0] & (0xffU >> (length + 1));
    for (size_t i = 1; i < length; i++) {
        if (s[i] >> 6 != 2)
            return 0;
        c = c << 6 | (s[i] & 0x3fU);
    }
    static const uint32_t least[] = { 0, 0, 0x80, 0x800, 0x10000 };
    return c < least[length] || c > 0x10ffff || (c >= 0xd800 && c < 0xe000) ? 0 : length;
}

static size_t expected(const uint8_t *s, size_t n, char *out)
{
    size_t used = 0;
    for (size_t at = 0; at < n;) {
        size_t length = character_at(s + at, n - at);
        memcpy(out + used, length ? (const char *)s + at : "\xef\xbf\xbd", length ? length : 3);
        used += length ? length : 3;
        at += length ? length : 1;
    }
    return used;
}

/* Pushes in pieces that end where `cuts` has a bit; every piece that comes out is whole characters. */
static void check_cuts(const uint8_t *s, size_t n, uint64_t cuts, const char *want, size_t want_length)
{
    struct kg_utf8_stream stream = { 0 };
    char got[3 * (MOST + 4) * 2];
    char piece[3 * (MOST + 4)];
    size_t used = 0;
    size_t begin = 0;
    do {
        size_t end = begin < n ? begin + 1 : n;
        while (end < n && !(cuts >> end & 1))
            end++;
        char *out = malloc(3 * (end - begin + 4)); /* just what is asked for, so that a sanitizer sees more */
        size_t length = kg_utf8_push(&stream, (const char *)s + begin, end - begin, end == n, out);
        assert_int_equal(expected((const uint8_t *)out, length, piece), length);
        assert_memory_equal(piece, out, length);
        memcpy(got + used, out, length);
        used += length;
        free(out);
        assert_true(stream.count < 4);
        begin = end;
    } while (begin < n);
    assert_int_equal(stream.count, 0);
    assert_int_equal(used, want_length);
    assert_memory_equal(got, want, used);
}

static void every_cut_gives_the_same(void **state)
{
    (void)state;
    static const char *const texts[] = {
        "", "a", "a\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80z", "\xf0\x9f\x98", "\xe2\x82", "\xe2\x82\xe2\x82\xac", "\xf0\x9f\xf0\x9f\x98\x80",
        "\xed\xa0\x80x", "\xc0\x80\xc1\xbf", "\xe0\x80\x80", "\xf4\x90\x80\x80", "\xff\xfe\xfdq", "\x80\x80\x80\x80", "\xf0\x80\x80\xaf",
    };
    for (size_t t = 0; t < sizeof texts / sizeof *texts; t++) {
        size_t n = strlen(texts[t]);
        char want[3 * MOST];
        size_t length = expected((const uint8_t *)texts[t], n, want);
        for (uint64_t cuts = 0; cuts < 1ULL << n; cuts++)
            check_cuts((const uint8_t *)texts[t], n, cuts, want, length);
    }
}

static uint64_t next_random(uint64_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state;
}

static void random_bytes_in_random_pieces(void **state)
{
    (void)state;
    const char *long_run = getenv("CHECK_LONG");
    long rounds = long_run && long_run[0] == '1' ? 2000000 : 50000;
    static const uint8_t edgy[] = { 0x7f, 0x80, 0x8f, 0x90, 0x9f, 0xa0, 0xbf, 0xc0, 0xc2, 0xdf, 0xe0, 0xe1, 0xed, 0xef, 0xf0, 0xf1, 0xf4, 0xf5 };
    uint64_t random = 88172645463325252U;
    for (long round = 0; round < rounds; round++) {
        uint8_t s[MOST];
        char want[3 * MOST];
        size_t n = next_random(&random) % MOST;
        for (size_t i = 0; i < n; i++)
            s[i] = next_random(&random) & 1 ? edgy[next_random(&random) % sizeof edgy] : (uint8_t)next_random(&random);
        size_t length = expected(s, n, want);
        check_cuts(s, n, next_random(&random) & next_random(&random), want, length);
    }
}

static void nothing_may_be_pushed(void **state)
{
    (void)state;
    struct kg_utf8_stream stream = { 0 };
    char out[3 * 5];
    assert_int_equal(kg_utf8_push(&stream, NULL, 0, false, out), 0);
    assert_int_equal(kg_utf8_push(&stream, "\xe2", 1, false, out), 0);
    assert_int_equal(kg_utf8_push(&stream, NULL, 0, false, out), 0);
    assert_int_equal(kg_utf8_push(&stream, NULL, 0, true, out), 3);
    assert_memory_equal(out, "\xef\xbf\xbd", 3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_cut_gives_the_same),
        cmocka_unit_test(random_bytes_in_random_pieces),
        cmocka_unit_test(nothing_may_be_pushed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
