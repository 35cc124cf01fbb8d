/* Text by the model itself, without a question: what stands between a prefix and a suffix (fill-in-the-middle), or what
 * follows a prefix. The likeliest token every time.
 */
#ifndef KG_ENGINE_COMPLETE_H
#define KG_ENGINE_COMPLETE_H

#include "engine/engine.h"

/* A session of its own behind what stands before the first question of another: the preamble and the files, whose blocks
 * both share, so that nothing is read again. What is asked in it is stored nowhere. The other may be closed before it. */
enum kg_status kg_session_fork(const struct kg_session *session, struct kg_session **out, struct kg_error *err);

/* KG_ERR_UNSUPPORTED when the model has no tokens for fill-in-the-middle. */
enum kg_status kg_engine_can_fill(const struct kg_engine *engine, struct kg_error *err);

struct kg_completion {
    const char *prefix, *suffix; /* suffix NULL: what follows the prefix */
    size_t prefix_length, suffix_length;
    const char *path;            /* heading in front of the prefix, as files in context have one; NULL = none */
    bool bare;                   /* behind nothing, neither preamble nor files; it looks at everything */
    uint32_t max_tokens;         /* 0 = as many as fit */
    /* Whole characters as they come, control characters among them; nonzero: that is enough. */
    int (*text_out)(void *ctx, const char *text, size_t length);
    void *ctx;
};

/* Completes in sight of what stands before the session's first question, and leaves the session as it is. Ends with KG_END_MODEL at
 * a token that ends the text and when text_out has enough. KG_OK also when stopped (end says so). counts may be NULL. */
enum kg_status kg_session_complete(const struct kg_session *session, const struct kg_completion *completion, enum kg_end *end,
                                   struct kg_counts *counts, struct kg_error *err);

#endif
