#include "tui/screen/clipboard.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tui/screen/glyph.h"

#define SCREEN_PIECE 500 /* screen cuts a string off at 512 or more bytes, by version */

enum kg_clipboard_way kg_clipboard_way(void)
{
    const char *tmux = getenv("TMUX"), *screen = getenv("STY"), *term = getenv("TERM");
    if (tmux && *tmux)
        return KG_CLIPBOARD_TMUX;
    if ((screen && *screen) || (term && strncmp(term, "screen", 6) == 0))
        return KG_CLIPBOARD_SCREEN;
    return KG_CLIPBOARD_DIRECT;
}

/* Flags are shown as letters, but they are what they are. */
static bool is_flag(const char *text, size_t length)
{
    return length >= 4 && memcmp(text, "\xf0\x9f\x87", 3) == 0;
}

static void write_visible(const char *text, size_t length, FILE *stream)
{
    struct kg_glyph glyph;
    for (size_t at = 0; at < length; at += glyph.bytes) {
        kg_glyph_next(text + at, length - at, &glyph);
        if (glyph.kind == KG_GLYPH_NEWLINE)
            fputc('\n', stream);
        else if (!glyph.escape || is_flag(text + at, length - at))
            fwrite(text + at, 1, glyph.bytes, stream);
        else
            for (unsigned i = 0; i < glyph.cells; i++) {
                char bytes[4];
                fwrite(bytes, 1, kg_utf8_encode(glyph.cell[i].chars[0], bytes), stream);
            }
    }
}

static void write_base64(const unsigned char *bytes, size_t length, FILE *stream)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    for (size_t at = 0; at < length; at += 3) {
        size_t left = length - at;
        unsigned group = (unsigned)bytes[at] << 16 | (left > 1 ? (unsigned)bytes[at + 1] << 8 : 0) | (left > 2 ? bytes[at + 2] : 0);
        fputc(digits[group >> 18], stream);
        fputc(digits[group >> 12 & 63], stream);
        fputc(left > 1 ? digits[group >> 6 & 63] : '=', stream);
        fputc(left > 2 ? digits[group & 63] : '=', stream);
    }
}

/* In pieces that screen takes whole; their ends, which would end the piece's, are left to the last. */
static void wrap_for_screen(const char *sequence, size_t length, FILE *stream)
{
    for (size_t at = 0; at < length; at += SCREEN_PIECE) {
        size_t n = length - at < SCREEN_PIECE ? length - at : SCREEN_PIECE;
        fputs("\x1bP", stream);
        fwrite(sequence + at, 1, n, stream);
        fputs("\x1b\\", stream);
    }
}

static char *memory_of(void (*write)(const char *, size_t, FILE *), const char *text, size_t length, size_t *out_length)
{
    char *out = NULL;
    FILE *stream = open_memstream(&out, out_length);
    if (!stream)
        return NULL;
    write(text, length, stream);
    bool whole = !ferror(stream);
    if (fclose(stream) == 0 && whole)
        return out;
    free(out);
    return NULL;
}

static void write_direct(const char *visible, size_t length, FILE *stream)
{
    fputs("\x1b]52;c;", stream);
    write_base64((const unsigned char *)visible, length, stream);
    fputc('\a', stream);
}

static void write_tmux(const char *visible, size_t length, FILE *stream)
{
    write_direct(visible, length, stream);
    fputs("\x1bPtmux;\x1b", stream); /* every escape twice, and there is one */
    write_direct(visible, length, stream);
    fputs("\x1b\\", stream);
}

static void write_screen(const char *visible, size_t length, FILE *stream)
{
    size_t bytes;
    char *sequence = memory_of(write_direct, visible, length, &bytes);
    if (sequence)
        wrap_for_screen(sequence, bytes, stream);
    free(sequence);
}

char *kg_clipboard_sequence(const char *text, size_t length, enum kg_clipboard_way way, size_t *bytes)
{
    size_t visible_length;
    char *visible = length <= KG_CLIPBOARD_MOST ? memory_of(write_visible, text, length, &visible_length) : NULL;
    if (!visible)
        return NULL;
    char *out = memory_of(way == KG_CLIPBOARD_TMUX ? write_tmux : way == KG_CLIPBOARD_SCREEN ? write_screen : write_direct, visible, visible_length, bytes);
    free(visible);
    return out;
}
