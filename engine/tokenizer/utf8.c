#include "engine/tokenizer/utf8.h"

#include <string.h>

#include "engine/tokenizer/tokenizer.h"

size_t kg_utf8_valid(const uint8_t *s, size_t n)
{
    size_t at = 0;
    while (at < n) {
        uint64_t eight;
        if (n - at >= sizeof eight) {
            memcpy(&eight, s + at, sizeof eight);
            if ((eight & 0x8080808080808080U) == 0) {
                at += sizeof eight;
                continue;
            }
        }
        int length = kg_utf8_scan(s + at, n - at);
        if (length <= 0)
            break;
        at += (size_t)length;
    }
    return at;
}

static const char replacement[3] = { '\xef', '\xbf', '\xbd' };

/* Shows what is whole among the n bytes at s; returns how many of them it has used. */
static size_t show(const uint8_t *s, size_t n, bool flush, char *out, size_t *used)
{
    size_t at = 0;
    while (at < n) {
        int length = kg_utf8_scan(s + at, n - at);
        if (length < 0 && !flush)
            break;
        if (length > 0) {
            memcpy(out + *used, s + at, (size_t)length);
            *used += (size_t)length;
            at += (size_t)length;
        } else {
            memcpy(out + *used, replacement, sizeof replacement);
            *used += sizeof replacement;
            at++;
        }
    }
    return at;
}

size_t kg_utf8_push(struct kg_utf8_stream *stream, const char *bytes, size_t length, bool flush, char *out)
{
    size_t used = 0;
    /* What is held grows byte by byte until it is a character or cannot become one. */
    while (stream->count && length) {
        stream->held[stream->count++] = *bytes++;
        length--;
        size_t gone = show((const uint8_t *)stream->held, stream->count, false, out, &used);
        stream->count -= (unsigned)gone;
        memmove(stream->held, stream->held + gone, stream->count);
    }
    if (stream->count == 0 && length) {
        size_t gone = show((const uint8_t *)bytes, length, false, out, &used);
        stream->count = (unsigned)(length - gone);
        memcpy(stream->held, bytes + gone, stream->count);
    }
    if (flush) {
        show((const uint8_t *)stream->held, stream->count, true, out, &used);
        stream->count = 0;
    }
    return used;
}
