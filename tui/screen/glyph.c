#include "tui/screen/glyph.h"

#include <stdio.h>
#include <string.h>
#include <utf8proc.h>

enum {
    ZWJ = 0x200d,
    DOTTED_CIRCLE = 0x25cc
};

unsigned kg_utf8_encode(uint32_t code, char out[4])
{
    utf8proc_uint8_t bytes[4];
    utf8proc_ssize_t n = utf8proc_encode_char((utf8proc_int32_t)code, bytes);
    memcpy(out, bytes, (size_t)n);
    return (unsigned)n;
}

static bool is_regional(int32_t c)
{
    return c >= 0x1f1e6 && c <= 0x1f1ff;
}

static bool is_skin_tone(int32_t c)
{
    return c >= 0x1f3fb && c <= 0x1f3ff;
}

static bool is_presentation(int32_t c)
{
    return c == 0xfe0e || c == 0xfe0f;
}

static bool is_jamo_behind(int32_t c)
{
    return (c >= 0x1161 && c <= 0x11ff) || (c >= 0xd7b0 && c <= 0xd7fb);
}

static bool is_pictograph(int32_t c)
{
    return utf8proc_get_property(c)->boundclass == UTF8PROC_BOUNDCLASS_EXTENDED_PICTOGRAPHIC;
}

/* Characters that have no picture of their own, or change how others are shown. */
static bool needs_escape(int32_t c)
{
    switch (utf8proc_category(c)) {
    case UTF8PROC_CATEGORY_CC:
    case UTF8PROC_CATEGORY_CF:
    case UTF8PROC_CATEGORY_CS:
    case UTF8PROC_CATEGORY_CO:
    case UTF8PROC_CATEGORY_CN:
    case UTF8PROC_CATEGORY_ZL:
    case UTF8PROC_CATEGORY_ZP:
        return true;
    default:
        break;
    }
    return c == 0x34f || c == 0x115f || c == 0x1160 || c == 0x17b4 || c == 0x17b5 || (c >= 0x180b && c <= 0x180f) ||
           c == 0x2800 || c == 0x3164 || (c >= 0xfe00 && c <= 0xfe0f) || c == 0xffa0 || (c >= 0xe0100 && c <= 0xe01ef);
}

static void add_cell(struct kg_glyph *glyph, uint32_t code, unsigned width)
{
    memset(&glyph->cell[glyph->cells], 0, sizeof glyph->cell[0]);
    glyph->cell[glyph->cells].chars[0] = code;
    glyph->cell[glyph->cells].width = (uint8_t)width;
    glyph->cells++;
    glyph->width = (uint8_t)(glyph->width + width);
}

static void add_mark(struct kg_glyph *glyph, uint32_t code)
{
    if (glyph->cells == 0)
        add_cell(glyph, DOTTED_CIRCLE, 1);
    uint32_t *chars = glyph->cell[glyph->cells - 1].chars;
    for (unsigned i = 1; i < KG_CELL_CHARS; i++)
        if (chars[i] == 0) {
            chars[i] = code;
            return;
        }
}

static void set_escape(struct kg_glyph *glyph, size_t bytes, const char *form)
{
    glyph->bytes = bytes;
    glyph->kind = KG_GLYPH_TEXT;
    glyph->escape = true;
    for (; *form; form++)
        add_cell(glyph, (unsigned char)*form, 1);
}

static void escape_character(struct kg_glyph *glyph, size_t bytes, int32_t code)
{
    char form[16];
    if (code < 0x20 || code == 0x7f)
        snprintf(form, sizeof form, "^%c", code ^ 0x40);
    else
        snprintf(form, sizeof form, "<U+%04X>", (unsigned)code);
    set_escape(glyph, bytes, form);
}

static void escape_byte(struct kg_glyph *glyph, unsigned char byte)
{
    char form[8];
    snprintf(form, sizeof form, "\\x%02x", byte);
    set_escape(glyph, 1, form);
}

/* Adds a character of a grapheme whose first one is `base`; false when it must start a glyph of its own. */
static bool join_character(struct kg_glyph *glyph, int32_t base, int32_t previous, int32_t code, const char *rest, size_t length)
{
    if (is_presentation(code) && previous == base)
        return true;
    if (code == ZWJ && is_pictograph(base)) {
        int32_t next = -1;
        return length > 0 && utf8proc_iterate((const utf8proc_uint8_t *)rest, (utf8proc_ssize_t)length, &next) > 0 && is_pictograph(next);
    }
    if (needs_escape(code))
        return false;
    if (is_skin_tone(code) && is_pictograph(base))
        return true;
    if (is_regional(code)) {
        if (glyph->cells == KG_GLYPH_CELLS)
            return false;
        glyph->escape = true;
        add_cell(glyph, (uint32_t)(code - 0x1f1e6 + 'A'), 1);
        return true;
    }
    int width = is_jamo_behind(code) && glyph->cells > 0 ? 0 : utf8proc_category(code) == UTF8PROC_CATEGORY_MC ? 1 : utf8proc_charwidth(code);
    if (width <= 0) {
        add_mark(glyph, (uint32_t)code);
        return true;
    }
    if (glyph->cells == KG_GLYPH_CELLS)
        return false;
    add_cell(glyph, (uint32_t)code, (unsigned)width);
    return true;
}

static void grapheme(const char *text, size_t length, struct kg_glyph *out)
{
    int32_t base = 0, previous = 0, state = 0;
    while (out->bytes < length) {
        int32_t code;
        utf8proc_ssize_t n = utf8proc_iterate((const utf8proc_uint8_t *)text + out->bytes, (utf8proc_ssize_t)(length - out->bytes), &code);
        if (out->bytes == 0) {
            if (n <= 0) {
                escape_byte(out, (unsigned char)text[0]);
                return;
            }
            if (needs_escape(code)) {
                escape_character(out, (size_t)n, code);
                return;
            }
            base = code;
            if (utf8proc_category(code) == UTF8PROC_CATEGORY_ZS)
                out->kind = KG_GLYPH_SPACE;
        } else if (n <= 0 || utf8proc_grapheme_break_stateful(previous, code, &state)) {
            return;
        }
        if (!join_character(out, base, previous, code, text + out->bytes + n, length - out->bytes - (size_t)n))
            return;
        previous = code;
        out->bytes += (size_t)n;
    }
}

void kg_glyph_next(const char *text, size_t length, struct kg_glyph *out)
{
    unsigned char c = (unsigned char)text[0];
    out->bytes = 0;
    out->kind = KG_GLYPH_TEXT;
    out->escape = false;
    out->width = out->cells = 0;
    if (c >= 0x20 && c < 0x7f && (length == 1 || (unsigned char)text[1] < 0x80)) {
        out->bytes = 1;
        out->kind = c == ' ' ? KG_GLYPH_SPACE : KG_GLYPH_TEXT;
        add_cell(out, c, 1);
    } else if (c == '\n' || (c == '\r' && length > 1 && text[1] == '\n')) {
        out->bytes = c == '\n' ? 1 : 2;
        out->kind = KG_GLYPH_NEWLINE;
    } else if (c == '\t') {
        out->bytes = 1;
        out->kind = KG_GLYPH_TAB;
    } else {
        grapheme(text, length, out);
    }
}

size_t kg_glyph_boundary_before(const char *text, size_t length, size_t before)
{
    /* Graphemes have no start that can be told from behind; a newline or ASCII text not far before is one. */
    size_t start = before;
    for (unsigned back = 0; start > 0 && back < 256; back++) {
        start--;
        unsigned char c = (unsigned char)text[start];
        if (c < 0x80 && c != '\n' && before - start > 1)
            break;
    }
    while (start > 0 && ((unsigned char)text[start] & 0xc0) == 0x80)
        start--;
    size_t last = start;
    struct kg_glyph glyph;
    for (size_t at = start; at < before && at < length; at += glyph.bytes) {
        last = at;
        kg_glyph_next(text + at, length - at, &glyph);
    }
    return last;
}

unsigned kg_text_width(const char *text, size_t length)
{
    unsigned width = 0;
    struct kg_glyph glyph;
    for (size_t at = 0; at < length; at += glyph.bytes) {
        kg_glyph_next(text + at, length - at, &glyph);
        width += glyph.width;
    }
    return width;
}
