/* The shape of UTF-8 (RFC 3629), as the tokenizer needs it: where a character ends, and whether it is one. */
#ifndef KG_ENGINE_UTF8_H
#define KG_ENGINE_UTF8_H

#include <stddef.h>
#include <stdint.h>

/* Length 1..4 of the character that begins at s (n bytes available, at least 1); 0 if none does; -1 if the
 * n bytes are only the beginning of one. */
static inline int kg_utf8_scan(const uint8_t *s, size_t n)
{
    uint8_t lead = s[0];
    if (lead < 0x80)
        return 1;
    if (lead < 0xc2 || lead > 0xf4)
        return 0;
    int length = lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : 4;
    uint8_t least = lead == 0xe0 ? 0xa0 : lead == 0xf0 ? 0x90 : 0x80; /* neither overlong */
    uint8_t most = lead == 0xed ? 0x9f : lead == 0xf4 ? 0x8f : 0xbf;  /* nor a surrogate, nor beyond U+10FFFF */
    for (int i = 1; i < length; i++) {
        if ((size_t)i == n)
            return -1;
        if (s[i] < least || s[i] > most)
            return 0;
        least = 0x80;
        most = 0xbf;
    }
    return length;
}

/* How many of the n bytes at s are valid UTF-8. */
size_t kg_utf8_valid(const uint8_t *s, size_t n);

#endif
