/* What of an old text stands in a new one, token by token. */
#ifndef KG_ENGINE_SESSION_MATCHED_H
#define KG_ENGINE_SESSION_MATCHED_H

#include <stdbool.h>
#include <stdint.h>

#include "base/status.h"

/* match[i] (n elements): the token of b (m) that token i of a is in a longest common subsequence of both, or -1. Texts that
 * differ in more than KG_MATCH_MOST tokens, those of both counted, are matched only as far as they begin and end alike. */
#define KG_MATCH_MOST 4096
enum kg_status kg_tokens_match(const int32_t *a, uint32_t n, const int32_t *b, uint32_t m, int32_t *match, struct kg_error *err);

/* Whether so many tokens of a, from this one on, stand in b one behind the other. */
bool kg_tokens_stand(const int32_t *match, uint32_t count);

#endif
