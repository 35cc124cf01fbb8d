/* What a text has in common with texts before it, and so would have been read otherwise in their sight.
 *
 * A model tells names that begin alike apart where it reads the second one in sight of the first: what it keeps of the second is
 * what differs. Read apart both look alike to a question for one of them. A run of ALIKE_RUN tokens that an earlier text has as
 * well, and that is rare, is such a begin; what has to be read again is what follows, to the end of the line.
 *
 *   earlier   #define KEDGE_VIOLET_HARBOR 0x12ab
 *   text      #define KEDGE_VIOLET_HOLLOW 0x93fe
 *             +----- a run -----+=======to here=
 *   pages     |     no     |     yes      |  yes ...
 */
#ifndef KG_ENGINE_ALIKE_H
#define KG_ENGINE_ALIKE_H

#include "engine/tokenizer/tokenizer.h"

#define KG_ALIKE_RUN  5  /* tokens */
#define KG_ALIKE_RARE 3  /* times that it may stand in the text and those before it, together */
#define KG_ALIKE_LINE 40 /* tokens of a line behind it at most */

struct kg_alike_text {
    const int32_t *ids;
    uint32_t count;
};

/* Sets pages[p], of ceil(count / KG_PAGE) for the last of `count` (>= 1) texts, to whether any token of page p follows what an
 * earlier text has. newline: by token id, whether its text holds one. */
enum kg_status kg_alike_pages(const struct kg_alike_text *texts, size_t count, const bool *newline, bool *pages, struct kg_error *err);

#endif
