#include "repo-index/words.h"

#include <stdint.h>
#include <string.h>
#include <utf8proc.h>

static bool is_lower(unsigned char c)
{
    return c >= 'a' && c <= 'z';
}

static bool is_upper(unsigned char c)
{
    return c >= 'A' && c <= 'Z';
}

static bool is_digit(unsigned char c)
{
    return c >= '0' && c <= '9';
}

static bool is_identifier(unsigned char c)
{
    return is_lower(c) || is_upper(c) || is_digit(c) || c == '_' || c >= 0x80;
}

const char *kg_next_identifier(const char *at, const char *end, size_t *length)
{
    while (at < end && !is_identifier((unsigned char)*at))
        at++;
    const char *begin = at;
    while (at < end && is_identifier((unsigned char)*at))
        at++;
    *length = (size_t)(at - begin);
    return at > begin ? begin : NULL;
}

static bool ends(const char *word, size_t length, const char *ending)
{
    size_t n = strlen(ending);
    return length >= n && memcmp(word + length - n, ending, n) == 0;
}

static bool is_vowel(char c)
{
    return c == 'a' || c == 'e' || c == 'i' || c == 'o' || c == 'u' || c == 'y';
}

static bool has_vowel(const char *word, size_t length)
{
    for (size_t i = 0; i < length; i++)
        if (is_vowel(word[i]))
            return true;
    return false;
}

/* running -> runn -> run, caching -> cach, parsed -> pars */
static size_t without_double(const char *word, size_t length)
{
    if (length >= 4 && word[length - 1] == word[length - 2] && !is_vowel(word[length - 1]) && !strchr("lsz", word[length - 1]))
        return length - 1;
    return length;
}

static size_t without_plural(char *word, size_t n)
{
    if (ends(word, n, "ies") && n > 4) {
        word[n - 3] = 'y';
        return n - 2;
    }
    if (ends(word, n, "sses") || ends(word, n, "ches") || ends(word, n, "shes") || ends(word, n, "xes"))
        return n - 2;
    return word[n - 1] == 's' && !strchr("sui", word[n - 2]) ? n - 1 : n;
}

/* parse, parses, parsed, parser, parsing -> pars; generate, generated, generator, generation -> generat */
size_t kg_stem(char *word, size_t length)
{
    if (length < 4)
        return length;
    size_t n = without_plural(word, length);
    if (ends(word, n, "ization") || ends(word, n, "isation"))
        n -= 5;
    else if (n >= 7 && (ends(word, n, "tion") || ends(word, n, "sion")))
        n -= 3;
    else if (n >= 6 && ends(word, n, "ing") && has_vowel(word, n - 3))
        n = without_double(word, n - 3);
    else if (n >= 5 && ends(word, n, "ed") && word[n - 3] != 'e' && has_vowel(word, n - 2))
        n = without_double(word, n - 2);
    if (n >= 6 && ends(word, n, "er"))
        n = without_double(word, n - 2);
    else if (n >= 7 && ends(word, n, "ator"))
        n -= 2;
    return n >= 4 && word[n - 1] == 'e' ? n - 1 : n;
}

size_t kg_fold_identifier(const char *identifier, size_t length, char out[KG_WORD_MAX])
{
    size_t n = 0;
    for (size_t i = 0; i < length; i++) {
        unsigned char c = (unsigned char)identifier[i];
        if (c == '_')
            continue;
        if (n == KG_WORD_MAX)
            return 0;
        out[n++] = (char)(is_upper(c) ? c + 32 : c);
    }
    return n;
}

static void emit_part(const char *lowered, size_t length, kg_word_fn *each, void *ctx)
{
    char word[KG_WORD_MAX];
    if (length < 2 || length > sizeof word || (is_digit((unsigned char)lowered[0]) && length > 6))
        return;
    memcpy(word, lowered, length);
    each(ctx, word, kg_stem(word, length), KG_WORD_PART);
    size_t letters = length;
    while (letters && is_digit((unsigned char)lowered[letters - 1]))
        letters--;
    if (letters < length && letters >= 3) {
        memcpy(word, lowered, letters);
        each(ctx, word, kg_stem(word, letters), KG_WORD_PART);
    }
}

static void split_ascii(const char *s, size_t length, kg_word_fn *each, void *ctx)
{
    char whole[KG_WORD_MAX];
    char part[KG_WORD_MAX + 1];
    size_t n = 0, parts = 0;
    for (size_t i = 0; i < length; i++) {
        unsigned char c = (unsigned char)s[i];
        bool cut = c == '_' || (i && is_upper(c) && (!is_upper((unsigned char)s[i - 1]) || (i + 1 < length && is_lower((unsigned char)s[i + 1]))));
        if (cut && n) {
            emit_part(part, n, each, ctx);
            parts++;
            n = 0;
        }
        if (c != '_' && n <= KG_WORD_MAX)
            part[n++] = (char)(is_upper(c) ? c + 32 : c);
    }
    if (n) {
        emit_part(part, n, each, ctx);
        parts++;
    }
    size_t m = parts > 1 ? kg_fold_identifier(s, length, whole) : 0;
    if (m >= 2 && !is_digit((unsigned char)whole[0]))
        each(ctx, whole, m, KG_WORD_WHOLE);
}

static bool is_letter(utf8proc_int32_t c)
{
    utf8proc_category_t category = utf8proc_category(c);
    return category >= UTF8PROC_CATEGORY_LU && category <= UTF8PROC_CATEGORY_NO;
}

/* Han, kana and hangul, written with few spaces or none. */
static bool is_dense(utf8proc_int32_t c)
{
    return (c >= 0x2e80 && c < 0xa000) || (c >= 0xac00 && c < 0xd7b0) || (c >= 0xf900 && c < 0xfb00) || (c >= 0x20000 && c < 0x32000);
}

static void split_unicode(const char *s, size_t length, kg_word_fn *each, void *ctx)
{
    char word[KG_WORD_MAX + 8];
    size_t n = 0;
    char pair[8];
    size_t before = 0; /* bytes of the dense character before, in pair */
    const utf8proc_uint8_t *at = (const utf8proc_uint8_t *)s;
    const utf8proc_uint8_t *end = at + length;
    while (at <= end) {
        utf8proc_int32_t c = 0;
        utf8proc_ssize_t used = at < end ? utf8proc_iterate(at, end - at, &c) : 1;
        bool dense = used > 0 && is_dense(c);
        bool letter = at < end && used > 0 && !dense && c != '_' && (c < 0x80 || is_letter(c));
        if (letter && n <= KG_WORD_MAX)
            n += (size_t)utf8proc_encode_char(utf8proc_tolower(c), (utf8proc_uint8_t *)word + n);
        if (!letter && n) {
            emit_part(word, n, each, ctx);
            n = 0;
        }
        if (dense && before) {
            memcpy(pair + before, at, (size_t)used);
            each(ctx, pair, before + (size_t)used, KG_WORD_PART);
        }
        before = dense ? (size_t)used : 0;
        memcpy(pair, at, before);
        at += used > 0 ? used : 1;
    }
}

void kg_split_identifier(const char *identifier, size_t length, kg_word_fn *each, void *ctx)
{
    for (size_t i = 0; i < length; i++)
        if ((unsigned char)identifier[i] >= 0x80) {
            split_unicode(identifier, length, each, ctx);
            return;
        }
    split_ascii(identifier, length, each, ctx);
}
