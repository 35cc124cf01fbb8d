/* Where a request is about, when nobody selected lines: the names that it uses, looked up in the files in question. */
#ifndef KG_CHANGES_PLACES_H
#define KG_CHANGES_PLACES_H

#include "tui/changes/proposal.h"

#define KG_PLACES_MOST 24  /* of one request */
#define KG_PLACE_LINES 100 /* a longer stretch is cut between definitions */

struct kg_edit_place {
    size_t file;          /* of those given */
    uint32_t first, last; /* lines, 1-based, inclusive */
};

/* The lines that a request is to change: definitions, and lines outside of them, that hold a name which the request uses, with the
 * variables and constants of the file that they use. A name is what looks like one (snake_case, camelCase, CAPITALS, in quotes,
 * before a bracket, behind a word such as "function") and what the files define; where no file has one, other words of the request
 * do, and else files of at most KG_PLACE_LINES lines are places as a whole, as is a file that the request names.
 *
 * Where the request tells of something that fails, the functions and classes that it names are the places, and not what uses them;
 * a file of tests is none, unless it is the only one. Declarations are places where the request is about names, parameters or types.
 *
 * Files in which more of the names are defined come first, each from its top. *out: KG_PLACES_MOST at most, freed by the caller.
 * KG_ERR_NOT_FOUND: no lines can be told, or a new file is asked for; KG_ERR_RANGE: more places than that. */
enum kg_status kg_places_of(const char *request, const struct kg_shown_file *files, size_t count, struct kg_edit_place **out, size_t *places, struct kg_error *err);

#endif
