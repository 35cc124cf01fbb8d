/* What is read of a text that is completed again and again. Private to engine/ *.c.
 *
 *   in front | heading, suffix, prefix, generated text: one chain of pieces of KG_FILL_SEGMENT tokens
 *
 * A piece that is as it was for the completion before keeps its reading, and the first one that is not keeps that of its beginning.
 * Whole pieces have names, so that they can come from the cache and go there.
 */
#ifndef KG_ENGINE_FILL_H
#define KG_ENGINE_FILL_H

#include "engine/complete.h"
#include "engine/state.h"

#define KG_FILL_SEGMENT 128

struct kg_fill {
    struct kg_session *session; /* a fork: pieces in front, then those of the text */
    struct kg_fill_options options;
    size_t front; /* pieces */
    int32_t base; /* where the text begins */
    struct kg_digest sight; /* what stood before it when it was placed */
};

/* Places what the completion has to see; the last piece is the one that generated text goes into, of whose tokens *given are not
 * generated. Nothing is read. */
enum kg_status kg_fill_place(struct kg_fill *fill, const struct kg_completion *completion, uint32_t *given, struct kg_error *err);

#endif
