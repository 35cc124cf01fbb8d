/* The terms of one text, as the store keeps them: every word once, with a mark for how often it occurs, and the identifiers
 * that lines seem to define or declare.
 *
 *   term = word + one byte: 'a' occurs once, 'b' 2 or 3 times, 'c' up to 9 times, 'd' more often;
 *          ':' defined here, '~' declared here (identifiers whole, unstemmed, lowered, without underscores)
 *
 * A word never ends in two ways, so a term is found exactly, and a prefix of a term finds longer words.
 */
#ifndef KG_INDEX_TERMS_H
#define KG_INDEX_TERMS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define KG_TERM_CLASSES "abcd"
#define KG_TERM_DEFINED ':'
#define KG_TERM_DECLARED '~'

struct kg_terms; /* reusable workspace, one thread at a time */

struct kg_terms_view {
    const char *bytes; /* terms with a space behind each; inside the workspace, until the next call */
    size_t length;
    uint32_t words; /* occurrences, the length of the text for ranking */
    uint32_t lines;
    /* Names: hashes of the identifiers that it defines, ascending, then of those that it holds besides, in the order of
     * their first use; at most KG_NAMES_MAX of either. Bit 0 is set for names that only code is full of: a_b, aB, a1. */
    const uint32_t *names;
    uint32_t defined, name_count;
};
#define KG_NAMES_MAX 1500
#define KG_NAME_LEAST 4 /* bytes */

struct kg_terms *kg_terms_new(void); /* NULL when out of memory */
void kg_terms_free(struct kg_terms *terms);

/* False when out of memory. */
bool kg_terms_of(struct kg_terms *terms, const char *text, size_t length, struct kg_terms_view *out);

#endif
