#include "base/status.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

const char *kg_status_name(enum kg_status status)
{
    static const char *const names[KG_STATUS_COUNT] = {
#define KG_STATUS_TEXT(name, text) [name] = (text),
        KG_STATUS_TABLE(KG_STATUS_TEXT)
#undef KG_STATUS_TEXT
    };
    return (unsigned)status < KG_STATUS_COUNT ? names[status] : "unknown status";
}

/* Length of the valid UTF-8 character at s (n bytes available), 0 if there is none; its code in *code. */
static unsigned utf8_length(const unsigned char *s, unsigned long n, uint32_t *code)
{
    static const uint32_t least[5] = { 0, 0, 0x80, 0x800, 0x10000 };
    unsigned len = s[0] < 0x80 ? 1 : s[0] >= 0xc2 && s[0] < 0xe0 ? 2 : (s[0] & 0xf0U) == 0xe0 ? 3 : s[0] >= 0xf0 && s[0] < 0xf5 ? 4 : 0;
    if (len == 0 || len > n)
        return 0;
    uint32_t c = len == 1 ? s[0] : s[0] & (0x7fU >> len);
    for (unsigned i = 1; i < len; i++) {
        if ((s[i] & 0xc0U) != 0x80)
            return 0;
        c = (c << 6) | (s[i] & 0x3fU);
    }
    if (c < least[len] || c > 0x10ffff || (c >= 0xd800 && c < 0xe000))
        return 0;
    *code = c;
    return len;
}

/* Characters that change the terminal's state or the order in which others are read. */
static bool is_control(uint32_t c)
{
    return c < 0x20 || (c >= 0x7f && c < 0xa0) || c == 0x61c || (c >= 0x200e && c <= 0x200f) ||
           (c >= 0x2028 && c <= 0x202e) || (c >= 0x2066 && c <= 0x2069);
}

void kg_printable(char *out, unsigned long capacity, const char *text, unsigned long length)
{
    const unsigned char *s = (const unsigned char *)text;
    unsigned long used = 0;
    for (unsigned long i = 0; i < length;) {
        uint32_t code = 0;
        unsigned len = utf8_length(s + i, length - i, &code);
        if (len && !is_control(code)) {
            if (used + len >= capacity)
                break;
            memcpy(out + used, s + i, len);
            used += len;
            i += len;
            continue;
        }
        unsigned bytes = len ? len : 1;
        if (used + 4UL * bytes >= capacity)
            break;
        for (unsigned k = 0; k < bytes; k++, used += 4)
            snprintf(out + used, 5, "\\x%02x", s[i + k]);
        i += bytes;
    }
    out[used] = '\0';
}

enum kg_status kg_failv(struct kg_error *err, enum kg_status status, const char *format, va_list args)
{
    if (err) {
        char raw[KG_ERROR_TEXT];
        int n = vsnprintf(raw, sizeof raw, format, args);
        err->status = status;
        unsigned long length = n < 0 ? 0 : (unsigned long)n < sizeof raw ? (unsigned long)n : sizeof raw - 1;
        kg_printable(err->text, sizeof err->text, raw, length);
    }
    return status;
}

enum kg_status kg_fail(struct kg_error *err, enum kg_status status, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    kg_failv(err, status, format, args);
    va_end(args);
    return status;
}

enum kg_status kg_fail_nomem(struct kg_error *err, const char *what)
{
    return kg_fail(err, KG_ERR_NOMEM, "out of memory while %s; close other programs or choose a smaller model", what);
}
