/* A conversation goes on from an earlier place, or without its last question. */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "engine/state.h"

/* The piece that people know by this number; all pieces when it is behind the last one. A file's heading goes with it. */
static size_t cut_of(const struct kg_session *session, size_t parts)
{
    size_t at = parts < kg_session_parts(session) ? kg_visible_piece(session, parts) : session->count;
    if (at < session->count && at > 0 && session->pieces[at - 1].kind == KG_BLOCK_HEADING)
        at--;
    return at;
}

struct renumbering {
    struct kg_session *session;
    int64_t *ids; /* of the pieces in the copy */
};

static void take_id(void *ctx, int64_t old_part, int64_t new_part)
{
    struct renumbering *renumbering = ctx;
    for (size_t i = 0; i < renumbering->session->count; i++)
        if (renumbering->session->pieces[i].stored_id == old_part)
            renumbering->ids[i] = new_part;
}

/* A copy of what stands before the cut, which the session goes on with. Nothing has happened when it fails. */
static enum kg_status move_to_copy(struct kg_session *session, size_t cut, const char *name, struct kg_error *err)
{
    struct kg_session_store *store = session->engine->session_store;
    struct kg_stored_session copy;
    struct kg_error unlocked;
    int64_t until = 0;
    int lock = -1;
    char path[KG_PATH_MAX];
    struct renumbering renumbering = { .session = session, .ids = calloc(session->count + 1, sizeof(int64_t)) };
    if (!renumbering.ids)
        return kg_fail_nomem(err, "branching a conversation");
    for (size_t i = session->count; i-- > cut;)
        until = session->pieces[i].stored_id ? session->pieces[i].stored_id : until;
    enum kg_status status = kg_session_store_copy(store, session->stored_id, until, name && *name ? name : session->name, &copy, take_id, &renumbering, err);
    bool copied = status == KG_OK;
    if (copied)
        status = kg_stored_lock(session->engine->state_dir, copy.id, copy.name, path, &lock, err);
    if (status != KG_OK && copied)
        kg_session_store_delete(store, copy.id, &unlocked);
    if (status == KG_OK) {
        for (size_t i = 0; i < cut; i++)
            session->pieces[i].stored_id = renumbering.ids[i];
        if (session->lock >= 0)
            close(session->lock);
        session->lock = lock;
        session->stored_id = copy.id;
        session->unnamed = false;
        memcpy(session->name, copy.name, sizeof session->name);
    } else if (lock >= 0) {
        close(lock);
    }
    free(renumbering.ids);
    return status;
}

/* The next piece, from this one on, that gave way to a summary which is not here; or count. */
static size_t next_unsummarised(const struct kg_session *session, size_t from)
{
    for (size_t i = from; i < session->count; i++) {
        const uint32_t number = session->pieces[i].gave_way;
        bool stands = number == 0;
        for (size_t k = i + 1; k < session->count && !stands; k++)
            stands = session->pieces[k].kind == KG_BLOCK_SUMMARY && strtoul(session->pieces[k].label, NULL, 10) == number;
        if (!stands)
            return i;
    }
    return session->count;
}

static enum kg_status restore_unsummarised(void *ctx, struct kg_session *session, struct kg_error *err)
{
    enum kg_status status = KG_OK;
    (void)ctx;
    for (size_t i = 0; status == KG_OK && (i = next_unsummarised(session, i)) < session->count; i++)
        status = kg_summary_undo(session, session->pieces[i].gave_way, err);
    return status;
}

enum kg_status kg_session_restore_unsummarised(struct kg_session *session, struct kg_error *err)
{
    if (next_unsummarised(session, 0) == session->count)
        return KG_OK; /* nothing is written */
    return kg_session_together(session, &(struct kg_change){ .make = restore_unsummarised }, err);
}

enum kg_status kg_session_branch(struct kg_session *session, size_t parts, const char *name, struct kg_error *err)
{
    size_t cut = cut_of(session, parts);
    enum kg_status status = kg_session_catch_up(session, err); /* the copy is of what is stored */
    if (status == KG_OK && session->stored_id)
        status = move_to_copy(session, cut, name, err);
    if (status != KG_OK)
        return status;
    for (size_t i = 0; i < session->count; i++)
        session->pieces[i].read_here = false; /* for the conversation that stays, too */
    kg_session_cut(session, cut);
    status = kg_session_restore_unsummarised(session, err); /* a summary that came later is gone */
    struct kg_error later;
    if (status == KG_OK)
        (void)kg_again_check(session, &later);
    return status;
}

static bool is_taken_back(const struct kg_piece *piece)
{
    return piece->kind == KG_BLOCK_TURN || piece->kind == KG_BLOCK_ANSWER;
}

enum kg_status kg_session_take_back(struct kg_session *session, struct kg_error *err)
{
    size_t first = session->count;
    for (size_t i = 0; i < session->count; i++)
        if (session->pieces[i].kind == KG_BLOCK_TURN && !session->pieces[i].dropped)
            first = i;
    if (first == session->count)
        return kg_fail(err, KG_ERR_NOT_FOUND, "nothing was asked yet");
    return kg_session_drop(session, first, session->count, is_taken_back, err); /* what is asked next stands where it stood */
}
