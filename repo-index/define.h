/* Which identifier a line of source text defines or declares, told by the look of the line in many languages. */
#ifndef KG_INDEX_DEFINE_H
#define KG_INDEX_DEFINE_H

#include <stddef.h>

enum kg_definition { KG_DEFINES_NOTHING, KG_DEFINES, KG_DECLARES };

/* name points into the line (without its line feed). */
enum kg_definition kg_line_defines(const char *line, size_t length, const char **name, size_t *name_length);

#endif
