/* Texts in UTF-16, told by their byte order mark. */
#ifndef KG_INDEX_UTF16_H
#define KG_INDEX_UTF16_H

#include <stdbool.h>
#include <stddef.h>

#include "base/status.h"

bool kg_is_utf16(const char *bytes, size_t length);

/* Such a text in UTF-8, without the mark, NUL-terminated, freed by the caller; half a pair and half a unit are U+FFFD. NULL when
 * out of memory. */
char *kg_utf16_to_utf8(const char *bytes, size_t length, size_t *out_length);

/* The content of the file of that path, in place of UTF-16 what it says: *text is freed and another, any other one stays.
 * KG_ERR_RANGE: that has more than limit bytes; after an error *text is freed and NULL. */
enum kg_status kg_utf16_decode(const char *path, size_t limit, char **text, size_t *length, struct kg_error *err);

#endif
