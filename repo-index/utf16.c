#include "repo-index/utf16.h"

#include <errno.h>
#include <iconv.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define MARK 2         /* bytes */
#define GROWS_BY 3     /* bytes of UTF-8 for each unit, and for half a unit at the end */
#define UNKNOWN "\xef\xbf\xbd"

bool kg_is_utf16(const char *bytes, size_t length)
{
    return length >= MARK && (memcmp(bytes, "\xff\xfe", MARK) == 0 || memcmp(bytes, "\xfe\xff", MARK) == 0);
}

/* What iconv leaves out of the text it is given is put there as U+FFFD: room has GROWS_BY bytes for every unit. */
static size_t convert(iconv_t converter, char *from, size_t left, char *to, size_t room)
{
    char *out = to;
    while (left && iconv(converter, &from, &left, &out, &room) == (size_t)-1 && errno != E2BIG) {
        size_t unit = left < 2 ? left : 2;
        memcpy(out, UNKNOWN, sizeof UNKNOWN - 1);
        out += sizeof UNKNOWN - 1;
        room -= sizeof UNKNOWN - 1;
        from += unit;
        left -= unit;
    }
    return (size_t)(out - to);
}

char *kg_utf16_to_utf8(const char *bytes, size_t length, size_t *out_length)
{
    if (length >= SIZE_MAX / GROWS_BY - GROWS_BY)
        return NULL;
    size_t room = (length / 2 + 1) * GROWS_BY;
    char *text = malloc(room + 1), *from = malloc(length);
    iconv_t converter = iconv_open("UTF-8", bytes[0] == '\xff' ? "UTF-16LE" : "UTF-16BE");
    bool done = text && from && converter != (iconv_t)-1;
    if (done) {
        memcpy(from, bytes, length); /* iconv takes no constant text */
        *out_length = convert(converter, from + MARK, length - MARK, text, room);
        text[*out_length] = '\0';
    }
    if (converter != (iconv_t)-1)
        iconv_close(converter);
    free(from);
    if (!done) {
        free(text);
        return NULL;
    }
    return text;
}

enum kg_status kg_utf16_decode(const char *path, size_t limit, char **text, size_t *length, struct kg_error *err)
{
    size_t decoded_length = 0;
    char *decoded = kg_is_utf16(*text, *length) ? kg_utf16_to_utf8(*text, *length, &decoded_length) : *text;
    if (decoded == *text)
        return KG_OK;
    free(*text);
    *text = decoded;
    *length = decoded_length;
    if (!decoded)
        return kg_fail_nomem(err, "reading a file");
    if (decoded_length <= limit)
        return KG_OK;
    free(decoded);
    *text = NULL;
    return kg_fail(err, KG_ERR_RANGE, "%s has %zu bytes of text, more than the %zu allowed here", path, decoded_length, limit);
}
