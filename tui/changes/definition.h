/* Whole definitions in place of those of the same name. */
#ifndef KG_CHANGES_DEFINITION_H
#define KG_CHANGES_DEFINITION_H

#include <stdint.h>

#include "base/status.h"
#include "tui/changes/text.h"

/* The file's text with the definitions of `block` in it, to *out. A definition that the file has replaces that one, with its
 * comments and attributes where it brings its own; a class that leaves out methods of the file's replaces only those it has; a
 * new one goes beside its neighbour in the block; includes and imports that the file lacks join those it has. What was not a plain
 * replacement is said, a line each. KG_ERR_RANGE: a name that the file defines more than once; KG_ERR_FORMAT: a definition that is not
 * complete, or text that is part of none; KG_ERR_NOT_FOUND: nothing is defined. path gives the language. */
enum kg_status kg_replace_definitions(const char *path, const char *text, size_t length, const char *block, size_t block_length, struct kg_growing *out,
                                      struct kg_growing *said, struct kg_error *err);

/* How many of the block's definitions the file has, by their names. */
enum kg_status kg_known_definitions(const char *path, const char *text, size_t length, const char *block, size_t block_length, size_t *known, struct kg_error *err);

struct kg_definition {
    const char *name;
    bool declares;        /* a prototype */
    bool value;           /* a variable or a constant */
    bool runs;            /* a function, a method, or what has some */
    uint32_t first, last; /* lines, 1-based, with the comments and attributes above; last = first where its end cannot be told */
};
/* What a text defines, by line; fields and the like are parts of what they stand in. A value other than 0 ends it. */
enum kg_status kg_each_definition(const char *path, const char *text, size_t length, int (*each)(void *ctx, const struct kg_definition *definition), void *ctx,
                                  struct kg_error *err);

#endif
