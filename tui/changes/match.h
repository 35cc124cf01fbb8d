/* Where the lines stand that an edit looks for. */
#ifndef KG_CHANGES_MATCH_H
#define KG_CHANGES_MATCH_H

#include "base/status.h"
#include "tui/changes/text.h"

enum kg_match_kind {
    KG_MATCH_EXACT,
    KG_MATCH_TRAILING, /* but for blanks at ends of lines */
    KG_MATCH_INDENT,   /* but for indentation, or blank lines around */
    KG_MATCH_SPACES,   /* but for blanks anywhere */
    KG_MATCH_SIMILAR,  /* line by line nearly */
};

struct kg_match {
    enum kg_match_kind kind;
    size_t first;   /* line of the file, from 0 */
    size_t count;   /* lines of the file */
    size_t skipped; /* blank lines at the beginning of what was wanted that have no line in the file */
    double likeness; /* 1 but for KG_MATCH_SIMILAR */
};

/* Of the kinds the first that matches; each must match in one place only. KG_ERR_NOT_FOUND, KG_ERR_RANGE (more than one
 * place; the text names their lines), KG_ERR_NOMEM. path is for the text. wanted has a line that is not blank. */
enum kg_status kg_match_lines(const struct kg_lines *file, const struct kg_lines *wanted, const char *path, struct kg_match *out, struct kg_error *err);

/* The file's text with what matched replaced: lines of `after` that stand in `wanted` as well stay as the file has them, the
 * others get the file's indentation and ends of lines. */
enum kg_status kg_match_replace(const struct kg_lines *file, const struct kg_lines *wanted, const struct kg_lines *after, const struct kg_match *match,
                                struct kg_growing *out, struct kg_error *err);

/* How alike two lines are, blanks at their ends not counted: 0 to 1. */
double kg_line_likeness(const struct kg_line *a, const struct kg_line *b);

#endif
