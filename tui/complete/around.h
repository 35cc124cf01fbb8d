/* Which part of a text a model sees to complete it at a cursor. */
#ifndef KG_TUI_AROUND_H
#define KG_TUI_AROUND_H

#include <stddef.h>

/* Bytes of the text: [from, cursor) is the prefix, [cursor, to) the suffix. Lines before and behind the cursor, about twice as many
 * before; never more than KG_AROUND_BEFORE and KG_AROUND_BEHIND bytes. Where it begins hardly changes while somebody writes at the
 * cursor, and where it ends does not, so that what was read of it need not be read again. */
#define KG_AROUND_BEFORE 8192
#define KG_AROUND_BEHIND 4096
struct kg_around {
    size_t from, to;
};
struct kg_around kg_around_cursor(const char *text, size_t length, size_t cursor);

/* The byte at a 1-based line and a 1-based column in bytes; a column inside of a character is that of its beginning, one behind the
 * line's end (its line end not counted) its end, a line behind the last one the end of the text. */
size_t kg_place_in(const char *text, size_t length, size_t line, size_t column);

#endif
