/* Files of NAME = VALUE lines below [SECTION] lines: cut into those by inih, checked before. */
#ifndef KG_TUI_LINES_H
#define KG_TUI_LINES_H

#include <stdbool.h>
#include <stddef.h>

#define KG_LINES_BYTES ((size_t)64 << 10) /* longer files are not configuration */

struct kg_line_reader {
    /* One NAME = VALUE; section "" above the first. False ends the reading. */
    bool (*take)(void *ctx, int line, const char *section, const char *name, const char *value);
    /* A line that is left out, and why. False ends the reading. */
    bool (*refuse)(void *ctx, int line, const char *why);
    void *ctx;
};

/* Comments, blank lines and a byte order mark are skipped; what has control characters, is too long or has neither form is
 * refused. False when memory ran out. */
bool kg_lines_read(const char *text, size_t length, const struct kg_line_reader *reader);

#endif
