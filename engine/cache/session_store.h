/* sessions.db: text, tokens and block list of every conversation. Never evicted; WAL, synchronous=FULL.
 *
 * A session is a list of parts in order of their appearance. File contents are stored once per digest. What was said in all
 * of them (questions, answers, summaries, paths of files) is searchable.
 * Functions may be called from any thread, one at a time per store.
 */
#ifndef KG_ENGINE_SESSION_STORE_H
#define KG_ENGINE_SESSION_STORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/digest.h"

struct kg_session_store;

struct kg_stored_part {
    int64_t id;            /* set by the store */
    int kind;              /* enum kg_block_kind */
    char *label;           /* path of a file, else "" */
    char *text;            /* text_length bytes, NUL-terminated; a file's content, a question, an answer */
    size_t text_length;
    int32_t *ids;          /* the block's token ids; an answer's as generated */
    size_t id_count;
    int32_t base;          /* position in the sequence */
    struct kg_digest identity; /* of the ids and of all that they saw; of pages that are kept: of the reading before (engine/state.h) */
    int read_rule;         /* what its tokens saw (engine/state.h) */
    int dropped;           /* 0: in context; else no longer, but still part of the conversation (engine/state.h) */
    bool partial;          /* an answer that was stopped or is being written */
    uint64_t said;         /* seconds since 1970 when it was appended, set by the store; 0: that was not kept yet */
};
void kg_stored_part_clear(struct kg_stored_part *part);

struct kg_stored_session {
    int64_t id;
    char name[128];
    char repository[4096];
    char model[128];
    uint64_t created, used; /* seconds since 1970 */
    uint32_t parts, turns;  /* turns: questions among the parts */
    char title[512];        /* how the first question begins */
};

/* Opens or creates directory/sessions.db (mode 0600). A file of a newer version (KG_ERR_UNSUPPORTED), of something else
 * (KG_ERR_FORMAT) or damaged (KG_ERR_CORRUPT) is refused and stays as it is. */
enum kg_status kg_session_store_open(const char *directory, struct kg_session_store **out, struct kg_error *err);
void kg_session_store_close(struct kg_session_store *store);

/* KG_ERR_NOT_FOUND if there is none of that name in that repository ("" = outside any). Names have 1 to 127 bytes
 * (KG_ERR_RANGE) and are unique in a repository: create and rename fail with KG_ERR_USAGE for one that is there. */
enum kg_status kg_session_store_find(struct kg_session_store *store, const char *repository, const char *name, struct kg_stored_session *out, struct kg_error *err);
enum kg_status kg_session_store_create(struct kg_session_store *store, const char *repository, const char *name, const char *model, struct kg_stored_session *out, struct kg_error *err);
enum kg_status kg_session_store_rename(struct kg_session_store *store, int64_t session, const char *name, struct kg_error *err);
/* What was deleted is overwritten in the file. */
enum kg_status kg_session_store_delete(struct kg_session_store *store, int64_t session, struct kg_error *err);
/* All sessions of a repository (NULL: of all), last used first. */
enum kg_status kg_session_store_list(struct kg_session_store *store, const char *repository, int (*each)(void *ctx, const struct kg_stored_session *), void *ctx, struct kg_error *err);


/* What was said, or the name of a session, that holds all words of the query, in any case and as parts of other words as well;
 * last used sessions first, in each its name before its parts. repository NULL: of all. Nonzero from each ends it. */
struct kg_stored_hit {
    const struct kg_stored_session *session;
    int64_t part; /* 0: the name */
    int kind;     /* enum kg_block_kind */
    const char *text; /* the whole text, or the path of a file */
    size_t length;
};
enum kg_status kg_session_store_search(struct kg_session_store *store, const char *repository, const char *words,
                                       int (*each)(void *ctx, const struct kg_stored_hit *), void *ctx, struct kg_error *err);

/* A new session with the parts of another one that stand before the part `until` (0: with all), under the first of "NAME",
 * "NAME (2)", "NAME (3)", ... that is free; all of it or nothing. copied (may be NULL) is told the ids. */
enum kg_status kg_session_store_copy(struct kg_session_store *store, int64_t session, int64_t until, const char *name, struct kg_stored_session *out,
                                     void (*copied)(void *ctx, int64_t old_part, int64_t new_part), void *ctx, struct kg_error *err);

/* Files of a session that are to stay in context, by their paths. */
enum kg_status kg_session_store_pin(struct kg_session_store *store, int64_t session, const char *label, bool pinned, struct kg_error *err);
enum kg_status kg_session_store_pinned(struct kg_session_store *store, int64_t session, int (*each)(void *ctx, const char *label), void *ctx,
                                       struct kg_error *err);

/* What is appended and updated between them is durable at the end, all of it or nothing: what is not ended with commit = true
 * is taken back. */
enum kg_status kg_session_store_begin(struct kg_session_store *store, struct kg_error *err);
enum kg_status kg_session_store_end(struct kg_session_store *store, bool commit, struct kg_error *err);

/* Durable on return. append sets part->id and said; update replaces text, ids, base, identity, read_rule, dropped and partial
 * of part->id. text and ids may be NULL when they are empty. KG_ERR_NOT_FOUND when the session or part was deleted. */
enum kg_status kg_session_store_append(struct kg_session_store *store, int64_t session, struct kg_stored_part *part, struct kg_error *err);
enum kg_status kg_session_store_update(struct kg_session_store *store, const struct kg_stored_part *part, struct kg_error *err);
/* In order of appearance; nonzero from each ends it. The part is valid until each returns, which may use the store.
 * A part that does not match its checksum is left out; when all others were passed the result is KG_ERR_CORRUPT. */
enum kg_status kg_session_store_parts(struct kg_session_store *store, int64_t session, int (*each)(void *ctx, const struct kg_stored_part *), void *ctx, struct kg_error *err);

#endif
