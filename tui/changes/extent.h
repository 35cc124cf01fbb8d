/* How far a definition goes, told by its brackets or its indentation, where nothing else tells. */
#ifndef KG_CHANGES_EXTENT_H
#define KG_CHANGES_EXTENT_H

#include "tui/changes/text.h"

/* The last line (from 0) of the definition that begins on the line `first`; SIZE_MAX when its end is not there. indented: its
 * body is told by indentation, as in Python. Comments and strings of most languages are known, no language fully. */
size_t kg_extent(const struct kg_lines *lines, size_t first, bool indented);

/* Whether every bracket of these lines is closed in them. */
bool kg_is_balanced(const struct kg_lines *lines, size_t first, size_t last, bool indented);

#endif
