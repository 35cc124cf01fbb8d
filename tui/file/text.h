/* The text of a file while it is written: bytes in lines, every change of which can be undone. Any bytes; lines end with "\n", and a
 * text has one line more than line ends. Lines are counted from 0.
 */
#ifndef KG_TUI_FILE_TEXT_H
#define KG_TUI_FILE_TEXT_H

#include <stdbool.h>
#include <stddef.h>

struct kg_text;

/* A text with these bytes, copied; it counts as saved. NULL when out of memory. */
struct kg_text *kg_text_create(const char *bytes, size_t length);
void kg_text_free(struct kg_text *text); /* NULL is fine */

/* NUL-terminated behind its length; valid until the next change. */
const char *kg_text_bytes(const struct kg_text *text, size_t *length);
size_t kg_text_lines(const struct kg_text *text);
size_t kg_text_line_start(const struct kg_text *text, size_t line);
size_t kg_text_line_end(const struct kg_text *text, size_t line); /* before its line end */
size_t kg_text_line_of(const struct kg_text *text, size_t offset);

/* Bytes [from, to) become these, which must not be the text's own. joined: undone together with the change before. False: out of
 * memory, nothing changed. */
bool kg_text_replace(struct kg_text *text, size_t from, size_t to, const char *bytes, size_t length, bool joined);

/* False when there is nothing to undo, or redo. *from and *to: what stands now in place of what was changed (of the last change of
 * several). */
bool kg_text_undo(struct kg_text *text, size_t *from, size_t *to);
bool kg_text_redo(struct kg_text *text, size_t *from, size_t *to);

/* Whether it is as it was when it was saved last, by undo as well. */
bool kg_text_is_saved(const struct kg_text *text);
void kg_text_set_saved(struct kg_text *text);

#endif
