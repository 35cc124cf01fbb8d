/* Judges a choice of tokens by its definition (kernels/backend.h), in double, with room for what f32 cannot tell apart. */
#ifndef KG_TESTS_RECALL_JUDGE_H
#define KG_TESTS_RECALL_JUDGE_H

#include "tests/unit/recall_scene.h"

/* What a token's rank is, and how far f32 may be from it. */
struct judged {
    bool choosable;
    double rank, error;
};

/* Scores of all that a query head sees. */
void judge_scores(const struct scene *s, int64_t position, uint32_t kv_head, const float *x, struct judged *tokens, double *scores, double *errors);
/* A list is ascending, of tokens that may be chosen, and as long as it can be. */
void judge_list(const struct scene *s, const struct judged *tokens, const int32_t *list, bool *taken);
/* Is the list what is asked for, but for ranks that f32 cannot tell apart? For ref they all can. */
void judge_choice(const struct scene *s, uint32_t row, uint32_t kv_head, const int32_t *list, bool exact);

#endif
