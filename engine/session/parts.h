/* Where a long file is cut: parts of at most KG_PART_TOKENS tokens, at top-level definitions where there are any. */
#ifndef KG_ENGINE_SESSION_PARTS_H
#define KG_ENGINE_SESSION_PARTS_H

#include "engine/tokenizer/tokenizer.h"

#define KG_PART_TOKENS 8192

/* Offset at which the first part of text ends (== length when it fits whole), and that part's ids in *ids (appended).
 * A part's ids depend on its own text only. */
enum kg_status kg_part_end(const struct kg_tokenizer *tokenizer, const char *text, size_t length, struct kg_ids *ids, size_t *end, struct kg_error *err);

#endif
