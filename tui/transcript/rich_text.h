/* Text with styles, in paragraphs, and its rows at a width: what an entry of the transcript looks like. */
#ifndef KG_TUI_RICH_TEXT_H
#define KG_TUI_RICH_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "tui/screen/screen.h"
#include "tui/transcript/find.h"

#define KG_PREFIX_MOST 64 /* bytes with the NUL; longer ones are cut at a character */

struct kg_rich_text;

struct kg_rich_text *kg_rich_create(void); /* NULL when out of memory */
void kg_rich_free(struct kg_rich_text *rich);
/* False when memory ran out while it was built; what was added until then is there. */
bool kg_rich_whole(const struct kg_rich_text *rich);

/* A paragraph starts on a row of its own. first stands before its first row, rest before all others; both are printable.
 * Newlines in the text that is added start a new row. by_words: rows end at words, and no later than `measure` columns. */
void kg_rich_paragraph(struct kg_rich_text *rich, const char *first, const char *rest, unsigned prefix_style, bool by_words);
void kg_rich_add(struct kg_rich_text *rich, const char *text, size_t length, unsigned style);
/* Paragraphs so far. */
size_t kg_rich_paragraphs(const struct kg_rich_text *rich);
/* What is added between the two is a block of code. */
void kg_rich_begin_code(struct kg_rich_text *rich);
void kg_rich_end_code(struct kg_rich_text *rich);

/* All of the text, without what stands before its rows. */
const char *kg_rich_text(const struct kg_rich_text *rich, size_t *length);
size_t kg_rich_codes(const struct kg_rich_text *rich);
/* Bytes [start, end) of the text that a block of code takes up. */
void kg_rich_code(const struct kg_rich_text *rich, size_t index, size_t *start, size_t *end);

/* Lays it out anew; false when out of memory (no rows then). */
bool kg_rich_layout(struct kg_rich_text *rich, int width, int measure);
size_t kg_rich_rows(const struct kg_rich_text *rich);
/* Where a row's text starts, and the row that holds that place: to stay there when the width changes. */
size_t kg_rich_offset(const struct kg_rich_text *rich, size_t row);
size_t kg_rich_row_at(const struct kg_rich_text *rich, size_t offset);
/* Matches of pattern (may be NULL) are shown as such, the one at `found` (or KG_NOWHERE) as chosen. */
void kg_rich_draw(const struct kg_rich_text *rich, size_t row, const struct kg_pattern *pattern, size_t found, struct kg_screen *screen, int at, int left,
                  int limit);

#endif
