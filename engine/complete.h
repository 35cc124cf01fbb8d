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

/* What is read first. The suffix, and then the prefix behind the mark of the middle, so that what is generated goes on with the
 * prefix: what is written at the cursor is at the end of all that is read, and Qwen2.5-Coder fills in better so than in the order of
 * the text (kedge eval infill --bare, 0.5B, 40 lines: 27 exact against 16). */
enum kg_fill_order { KG_FILL_SUFFIX_FIRST, KG_FILL_PREFIX_FIRST };
struct kg_fill_options {
    enum kg_fill_order order;
    bool bare;   /* behind nothing, neither preamble nor files, and looks at everything */
    bool stored; /* what is read goes to the cache, where other processes find it; never behind a secret file */
};

/* A text that is completed again and again while it is written: a completion reads only what is not read already for the
 * ones before it, and says what one of its own would say. It stands behind what stands before the session's first question, and
 * leaves the session as it is, which may be closed before it. */
struct kg_fill;
enum kg_status kg_fill_open(const struct kg_session *session, const struct kg_fill_options *options, struct kg_fill **out, struct kg_error *err);
void kg_fill_close(struct kg_fill *fill); /* NULL is fine */

struct kg_completion {
    const char *prefix, *suffix; /* suffix NULL: what follows the prefix */
    size_t prefix_length, suffix_length;
    const char *path;            /* heading in front of the prefix, as files in context have one; NULL = none */
    uint32_t max_tokens;         /* 0 = as many as fit */
    /* Whole characters as they come, control characters among them; nonzero: that is enough. */
    int (*text_out)(void *ctx, const char *text, size_t length);
    void *ctx;
};

/* Ends with KG_END_MODEL at a token that ends the text and when text_out has enough. KG_OK also when stopped (end says so); what
 * was read until then stays. counts may be NULL. */
enum kg_status kg_fill_complete(struct kg_fill *fill, const struct kg_completion *completion, enum kg_end *end, struct kg_counts *counts,
                                struct kg_error *err);

#endif
