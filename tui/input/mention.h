/* Files that a question names by hand: @path, or @"a path with spaces", at the start of a word. */
#ifndef KG_TUI_MENTION_H
#define KG_TUI_MENTION_H

#include <stdbool.h>
#include <stddef.h>

struct kg_mention {
    size_t at, end;           /* of all of it in the text, '@' and quotes included */
    size_t path, path_length; /* the path in the text; may be empty while it is being written */
};

/* The first mention that starts at or behind `from`; false if there is none. */
bool kg_mention_next(const char *text, size_t length, size_t from, struct kg_mention *out);

/* Writes the mention of a path to out, cut to capacity; returns its bytes, 0 when no mention can name it. */
size_t kg_mention_of(const char *path, char *out, size_t capacity);

#endif
