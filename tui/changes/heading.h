/* Paths that a model writes around its code. */
#ifndef KG_CHANGES_HEADING_H
#define KG_CHANGES_HEADING_H

#include "tui/changes/text.h"

#define KG_HEADING_MOST 512 /* bytes of a path, with its NUL */

/* The path that a line is about: the whole line, without the likes of "### ", "File: ", "// ", stars, quotes and a colon
 * behind it, or the one path in backticks in a sentence. False when there is none, or one too long to be meant. */
bool kg_heading_path(const struct kg_line *line, char out[KG_HEADING_MOST]);
/* The same when the whole line is nothing else. */
bool kg_bare_path(const struct kg_line *line, char out[KG_HEADING_MOST]);
/* The path in the words behind a fence: "c src/a.c", "src/a.c", "python:src/a.py", "js title=\"a.js\"". */
bool kg_info_path(const char *info, size_t length, char out[KG_HEADING_MOST]);

/* Whether a line stands for text that was left out: "// ... rest of the code", "...". */
bool kg_leaves_out(const struct kg_line *line);

#endif
