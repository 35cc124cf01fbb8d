/* How styles look: read from theme files, three of which are built in (config/themes).
 *
 * A line is STYLE = LOOK | LOOK | LOOK: with 256 colours or more, with 16, and without; the second is the first where it is not
 * given, the third is then the second without its colours. A LOOK is any of bold, dim, italic, underline, reverse, then
 * a colour, then `on` and a colour: default, black, red, green, yellow, blue, magenta, cyan, white, bright-black to
 * bright-white; in the first look also #rrggbb, which is the nearest of the 256 where there are no more, or a number below 256
 * (0 to 15 are the names in that order).
 */
#ifndef KG_TUI_THEME_H
#define KG_TUI_THEME_H

#include <stddef.h>
#include <stdint.h>

#include "base/status.h"
#include "tui/screen/screen.h"

#define KG_THEME_STANDARD "terminal" /* the terminal's own palette */
#define KG_FAINT 0x1000              /* of a look only, beside KG_BOLD and the like */

enum kg_colours { KG_COLOURS_TRUE, KG_COLOURS_256, KG_COLOURS_16, KG_COLOURS_NONE, KG_COLOURS_AUTO };
#define KG_RGB 0x1000000 /* joined to 0xrrggbb */

struct kg_look {
    uint16_t attributes;
    int32_t foreground, background; /* 0 to 255, with KG_COLOURS_TRUE also KG_RGB; -1 = the terminal's own */
};
struct kg_theme {
    struct kg_look looks[KG_STYLE_COUNT][KG_COLOURS_AUTO]; /* by number of colours; all those of 16 are below 16 */
};

/* A person's own (KG_PLACE_CONFIG/themes/NAME.theme), else one that is built in. Styles that it does not name look as in the
 * standard one, which *out is after a failure. KG_ERR_NOT_FOUND names those that are built in; KG_ERR_FORMAT the line. */
enum kg_status kg_theme_find(const char *name, struct kg_theme *out, struct kg_error *err);

/* Changes the looks that the text names; origin is named in errors. */
enum kg_status kg_theme_parse(const char *text, size_t length, const char *origin, struct kg_theme *theme, struct kg_error *err);

#endif
