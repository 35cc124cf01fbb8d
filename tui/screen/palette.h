/* Private to the terminal: the looks of a theme as curses takes them.
 *
 * Curses knows colours by numbers. Those that it has no number for (#rrggbb) go by numbers that the theme does not use, and what
 * it sends for these is exchanged on its way to the terminal.
 */
#ifndef KG_TUI_PALETTE_H
#define KG_TUI_PALETTE_H

#include <curses.h>

#include "tui/screen/theme.h"

#define KG_SWAPS_MOST ((size_t)4 * KG_STYLE_COUNT) /* two colours a style, in front and behind */

struct kg_palette {
    attr_t attributes[KG_STYLE_COUNT];
    short pairs[KG_STYLE_COUNT];
    struct kg_swap {
        char from[32], to[32];
    } swaps[KG_SWAPS_MOST];
    size_t count;
};

/* Once curses runs. Never more colours than the terminal has: 24-bit ones where COLORTERM or terminfo say so, or when they are wanted
 * by name and there are 256. */
void kg_palette_set(struct kg_palette *palette, const struct kg_theme *theme, enum kg_colours wanted);

/* The swap for what stands at the start of bytes (an escape sequence), or NULL. */
const struct kg_swap *kg_palette_swap(const struct kg_palette *palette, const char *bytes, size_t length);

#endif
