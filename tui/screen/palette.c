#define NCURSES_NOMACROS
#include "tui/screen/palette.h"

#include <stdlib.h>
#include <string.h>
#include <term.h>

#define FIRST_SPARE 255 /* and down from there: numbers that stand for true colours */

/* Whether it has colours beyond those that it numbers. screen hands COLORTERM down from where it runs, and knows no such colours. */
static bool has_true_colours(void)
{
    const char *colorterm = getenv("COLORTERM"), *term = getenv("TERM"), *tmux = getenv("TMUX");
    if (tigetflag("RGB") > 0 || tigetnum("RGB") > 0 || tigetflag("Tc") > 0)
        return true;
    char *bits = tigetstr("RGB");
    if (bits && bits != (char *)-1)
        return true;
    bool screen = term && strncmp(term, "screen", 6) == 0 && !(tmux && *tmux);
    return colorterm && !screen && (strcmp(colorterm, "truecolor") == 0 || strcmp(colorterm, "24bit") == 0);
}

static enum kg_colours count_colours(enum kg_colours wanted)
{
    const char *no_colour = getenv("NO_COLOR");
    bool none = wanted == KG_COLOURS_NONE || (wanted == KG_COLOURS_AUTO && no_colour && *no_colour);
    if (none || start_color() != OK || use_default_colors() != OK || COLORS < 8)
        return KG_COLOURS_NONE;
    if (COLORS < 256 || wanted == KG_COLOURS_16)
        return KG_COLOURS_16;
    return wanted == KG_COLOURS_TRUE || (wanted == KG_COLOURS_AUTO && has_true_colours()) ? KG_COLOURS_TRUE : KG_COLOURS_256;
}

static void add_swap(struct kg_palette *palette, const char *capability, int number, int colour, bool behind)
{
    struct kg_swap *swap = &palette->swaps[palette->count];
    const char *from = capability ? tparm(capability, number, 0, 0, 0, 0, 0, 0, 0, 0) : NULL;
    if (!from || from[0] != '\x1b' || strlen(from) >= sizeof swap->from || palette->count == KG_SWAPS_MOST)
        return;
    snprintf(swap->from, sizeof swap->from, "%s", from);
    if (colour & KG_RGB)
        snprintf(swap->to, sizeof swap->to, "\x1b[%d;2;%d;%d;%dm", behind ? 48 : 38, colour >> 16 & 255, colour >> 8 & 255, colour & 255);
    else
        snprintf(swap->to, sizeof swap->to, "\x1b[%d;5;%dm", behind ? 48 : 38, colour);
    palette->count++;
}

/* The number that curses is told; what it sends for it is that colour. */
static short spare_for(struct kg_palette *palette, int colour, bool behind)
{
    int number = FIRST_SPARE - (int)palette->count;
    add_swap(palette, behind ? set_a_background : set_a_foreground, number, colour, behind);
    return (short)number;
}

/* Where there are only eight, a bright colour is the plain one in bold. A terminal whose numbers are 24-bit colours has only the first
 * eight of the 256 at their places. */
static short colour_of(struct kg_palette *palette, enum kg_colours colours, int colour, bool behind, attr_t *attributes)
{
    if (colour < 8)
        return (short)colour;
    if (COLORS > 256 || (colours == KG_COLOURS_TRUE && colour > 15))
        return spare_for(palette, colour, behind);
    if (colour < COLORS)
        return (short)colour;
    *attributes |= A_BOLD;
    return (short)(colour % 8);
}

void kg_palette_set(struct kg_palette *palette, const struct kg_theme *theme, enum kg_colours wanted)
{
    static const struct {
        unsigned flag;
        attr_t attribute;
    } known[] = { { KG_BOLD, A_BOLD }, { KG_FAINT, A_DIM }, { KG_ITALIC, A_ITALIC }, { KG_UNDERLINE, A_UNDERLINE }, { KG_REVERSE, A_REVERSE } };
    enum kg_colours colours = count_colours(wanted);
    memset(palette, 0, sizeof *palette);
    for (int i = 0; i < KG_STYLE_COUNT; i++) {
        const struct kg_look *look = &theme->looks[i][colours];
        attr_t attributes = A_NORMAL, none = A_NORMAL;
        for (size_t k = 0; k < sizeof known / sizeof known[0]; k++)
            attributes |= look->attributes & known[k].flag ? known[k].attribute : A_NORMAL;
        short pair = (short)(i + 1);
        if (colours != KG_COLOURS_NONE && (look->foreground >= 0 || look->background >= 0) &&
            init_pair(pair, colour_of(palette, colours, look->foreground, false, &attributes), colour_of(palette, colours, look->background, true, &none)) == OK)
            palette->pairs[i] = pair;
        palette->attributes[i] = attributes;
    }
}

const struct kg_swap *kg_palette_swap(const struct kg_palette *palette, const char *bytes, size_t length)
{
    for (size_t i = 0; i < palette->count; i++) {
        size_t n = strlen(palette->swaps[i].from);
        if (n <= length && memcmp(palette->swaps[i].from, bytes, n) == 0)
            return &palette->swaps[i];
    }
    return NULL;
}
