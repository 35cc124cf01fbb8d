/* One line of a text: where the words that were looked for stand. */
#ifndef KG_TUI_EXCERPT_H
#define KG_TUI_EXCERPT_H

#include <stddef.h>

/* About `width` characters around the first of the words (spaces set them apart; any case of Latin letters) that the text holds,
 * or its beginning; printable, blanks in place of line ends, "..." where something is left out. Cut to capacity. */
void kg_excerpt(const char *text, size_t length, const char *words, size_t width, char *out, size_t capacity);

#endif
