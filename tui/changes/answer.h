/* What a model wrote, as edits: read while it streams, strict about what would lose text and lenient about everything else.
 *
 * Understood: blocks of SEARCH and REPLACE with a path before the block, before its fence, in the fence's first line or inside
 * it; fences of whole definitions or whole files under a path; one fence of lines. A path may wear quotes, stars, "File:" and
 * the like; where blocks were asked for, SEARCH may lack its signs. Nothing here touches a file, and a path is only what the model wrote: worktree.h judges it.
 */
#ifndef KG_CHANGES_ANSWER_H
#define KG_CHANGES_ANSWER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/status.h"
#include "tui/changes/form.h"

#define KG_ANSWER_MOST ((size_t)4 << 20) /* bytes of an answer */
#define KG_EDITS_MOST  1000              /* in one answer */

struct kg_edit {
    enum kg_form form; /* never KG_FORM_ANY */
    const char *path;  /* "" = the answer named none */
    const char *before; /* KG_FORM_SEARCH: the lines to find; else "" */
    size_t before_length;
    const char *after;  /* lines, each with its line feed; carriage returns before those are gone */
    size_t after_length;
    uint32_t line;      /* of the answer, 1-based: where it begins */
    bool closed;        /* its end was written; false: it ends where the answer does */
    unsigned fence;     /* marks of the fence that it stands in, 0 = none */
};

struct kg_answer;

struct kg_answer *kg_answer_create(enum kg_form form); /* NULL when out of memory */
void kg_answer_free(struct kg_answer *answer);         /* NULL is fine */

/* The next piece, of any length, broken anywhere. KG_ERR_RANGE: more than KG_ANSWER_MOST. */
enum kg_status kg_answer_add(struct kg_answer *answer, const char *text, size_t length, struct kg_error *err);
/* Nothing follows. whole: the model ended by itself, it was not cut off or stopped. KG_ERR_FORMAT: what was written cannot be
 * told for certain (which of two things is meant, a block within a block): no edit of the answer may be used. */
enum kg_status kg_answer_end(struct kg_answer *answer, bool whole, struct kg_error *err);
bool kg_answer_whole(const struct kg_answer *answer);
enum kg_form kg_answer_form(const struct kg_answer *answer); /* that was asked for */
/* All that was added. */
const char *kg_answer_text(const struct kg_answer *answer, size_t *length);

/* Edits whose end was read so far; after kg_answer_end all of them. Pointers are valid until the next add, end or free. */
size_t kg_answer_edits(const struct kg_answer *answer);
struct kg_edit kg_answer_edit(const struct kg_answer *answer, size_t index);

#endif
