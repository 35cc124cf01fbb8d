/* A session's life: opening, resuming, what is in it, files in and out. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "engine/state.h"

static enum kg_status open_stores(struct kg_engine *engine, bool saved, struct kg_error *err)
{
    enum kg_status status = KG_OK;
    if (!engine->chat)
        status = kg_chat_create(engine->file, engine->tokenizer, &engine->chat, err);
    if (status != KG_OK || !saved || engine->session_store)
        return status;
    status = kg_make_dirs(engine->state_dir, err);
    return status == KG_OK ? kg_session_store_open(engine->state_dir, &engine->session_store, err) : status;
}

/* One process at a time writes a session; the lock goes with the process, however it ends. */
static enum kg_status lock_session(struct kg_session *session, struct kg_error *err)
{
    char path[KG_PATH_MAX];
    return kg_stored_lock(session->engine->state_dir, session->stored_id, session->name, path, &session->lock, err);
}

/* Sessions hold token ids, so they belong to one model file. */
static void model_name(const struct kg_engine *engine, char out[128])
{
    const struct kg_model_shape *shape = kg_model_shape(engine->model);
    snprintf(out, 128, "%.90s (%u x %u, %u tokens)", shape->name, shape->layers, shape->width, shape->vocabulary);
}

struct restoring {
    struct kg_session *session;
    enum kg_status status;
    struct kg_error *err;
};

enum kg_read_rule kg_session_rule(const struct kg_session *session, enum kg_block_kind kind)
{
    if (kind == KG_BLOCK_PREAMBLE)
        return KG_READ_ALONE;
    if ((kind != KG_BLOCK_FILE && kind != KG_BLOCK_HEADING) || session->rules.files == KG_READ_CHAIN)
        return KG_READ_CHAIN;
    return kind == KG_BLOCK_HEADING ? KG_READ_ALONE : session->rules.files;
}

/* A kept piece is stored with the name of the reading that it is of. By another policy than that reading's it is read again. */
static void restore_kept(struct kg_session *session, struct kg_piece *piece, const struct kg_stored_part *part)
{
    const enum kg_read_rule files = kg_session_rule(session, KG_BLOCK_FILE);
    const int64_t stored = -(int64_t)part->read_rule - 1, page = (stored >> 1) % (1 << KG_KEPT_PAGE_BITS);
    if (stored < 0 || piece->kind != KG_BLOCK_FILE || (files != KG_READ_LINKED && files != KG_READ_ALONE) || (stored % 2 && files != KG_READ_LINKED) ||
        (page == KG_AGAIN_PAGE ? files != KG_READ_LINKED : page > kg_model_shape(session->engine->model)->trained_length / KG_PAGE))
        return;
    const bool again = page == KG_AGAIN_PAGE;
    piece->rule = again ? KG_READ_AGAIN : KG_READ_KEPT;
    piece->kept_of = part->identity;
    piece->kept_first = again ? 0 : (uint32_t)page * KG_PAGE;
    piece->kept_changed = again ? 0 : (uint32_t)(stored >> (1 + KG_KEPT_PAGE_BITS));
    piece->kept_linked = stored % 2;
}

static bool is_known(const struct kg_piece *piece)
{
    return kg_block_known(piece->block) == kg_block_tokens(piece->block);
}

/* A linked file or a kept piece that the cache lost cannot be read again: what it saw is not here. Of what was read again the first
 * reading may be there, or come back, and then what is behind it stays what it was. */
static enum kg_status replace_lost(struct kg_session *session, bool same, struct kg_error *err)
{
    struct kg_piece *piece = &session->pieces[session->count - 1];
    enum kg_status status = KG_OK;
    struct kg_error lost;
    if (piece->rule == KG_READ_AGAIN && is_known(piece)) /* without memory for that it may be evicted */
        (void)kg_again_hold_first(session, piece, &lost);
    else if (piece->rule == KG_READ_AGAIN) {
        piece->lost = kg_piece_stored_identity(session, session->count - 1, piece->base, kg_block_ids(piece->block), kg_block_tokens(piece->block));
        status = kg_piece_place_clean(session, session->count - 1, err);
        if (status == KG_OK)
            status = kg_piece_store(session, piece, err);
        if (status != KG_OK)
            return status;
    }
    if ((piece->rule == KG_READ_LINKED || piece->rule == KG_READ_KEPT) && !(same && is_known(piece))) {
        same = false;
        session->lost_kept = session->lost_kept || piece->rule == KG_READ_KEPT;
        status = kg_piece_place_alone(session, session->count - 1, err);
    }
    session->read_anew = session->read_anew || !same;
    return status == KG_OK && !same ? kg_piece_store(session, piece, err) : status;
}

/* Where it goes: where it stood, unless something else stands there, as when a process died while gaps were closed. */
static int32_t place_of(const struct kg_session *session, const struct kg_stored_part *part)
{
    return part->base >= kg_sequence_end(session->sequence) ? part->base : -1;
}

/* It may come back to where it stood, if it is the same reading under its name. */
static enum kg_status keep_ids(struct kg_piece *piece, const struct kg_stored_part *part, bool same, struct kg_error *err)
{
    piece->ids = malloc((part->id_count + 1) * sizeof *piece->ids);
    if (!piece->ids)
        return kg_fail_nomem(err, "resuming a session");
    if (part->id_count)
        memcpy(piece->ids, part->ids, part->id_count * sizeof *piece->ids);
    piece->id_count = part->id_count;
    piece->base = part->base;
    if (same)
        piece->identity = part->identity;
    return KG_OK;
}

/* Whether what is stored of an answer, the piece that is being restored, is all of it, in sight of what stands before it. */
static bool ended_there(const struct kg_session *session, const struct kg_stored_part *part)
{
    return kg_chain_saw(session, session->count - 1, part->base, part->ids, part->id_count, &part->identity);
}

static enum kg_status restore_part(struct kg_session *session, const struct kg_stored_part *part, struct kg_error *err)
{
    if (part->kind < KG_BLOCK_PREAMBLE || part->kind > KG_BLOCK_SUMMARY)
        return kg_fail(err, KG_ERR_CORRUPT, "session '%s' holds a part of unknown kind %d; choose another name", session->name, part->kind);
    uint32_t vocabulary = kg_vocabulary(session->engine->tokenizer);
    for (size_t i = 0; i < part->id_count; i++)
        if (part->ids[i] < 0 || (uint32_t)part->ids[i] >= vocabulary)
            return kg_fail(err, KG_ERR_CORRUPT, "session '%s' holds a token id that the model does not have; choose another name", session->name);
    struct kg_piece *piece = kg_piece_add(session, (enum kg_block_kind)part->kind, part->label, part->text, part->text_length);
    if (!piece)
        return kg_fail_nomem(err, "resuming a session");
    const struct kg_piece *before = session->count > 1 ? piece - 1 : NULL;
    piece->stored_id = part->id;
    piece->said = part->said;
    piece->partial = part->partial;
    piece->dropped = part->dropped != 0;
    piece->gave_way = part->dropped > 1 ? (uint32_t)part->dropped - 1 : 0;
    piece->continues = before && piece->kind == KG_BLOCK_FILE && before->kind == KG_BLOCK_FILE && strcmp(before->label, piece->label) == 0;
    piece->rule = kg_session_rule(session, piece->kind);
    if (piece->rule == KG_READ_LINKED && part->read_rule == kg_piece_stored_rule(session, KG_READ_ALONE))
        piece->rule = KG_READ_ALONE; /* it includes nothing */
    restore_kept(session, piece, part);
    session->lost_kept = session->lost_kept && piece->continues;
    if (before && piece->continues && before->dropped)
        piece->dropped = true; /* a process died while the file was dropped, part after part */
    /* a partial answer's name may never have been final: then what it saw is recomputed; so is everything read by another rule or behind it */
    const bool again = piece->rule == KG_READ_AGAIN;
    const bool ended = !part->partial || (!piece->gave_way && !piece->dropped && ended_there(session, part));
    bool same = ended && (piece->rule == KG_READ_KEPT || again || kg_piece_stored_rule(session, piece->rule) == part->read_rule) &&
                !(piece->rule == KG_READ_CHAIN && session->read_anew) && !session->lost_kept;
    if (piece->gave_way)
        return keep_ids(piece, part, same, err);
    if (piece->dropped || part->id_count == 0)
        return KG_OK;
    const int32_t base = place_of(session, part);
    same = same && !(piece->rule == KG_READ_CHAIN && base < 0);
    /* what was read again is named by what stands here */
    enum kg_status status = kg_piece_place(session, session->count - 1, part->ids, part->id_count, base, same && !again ? &part->identity : NULL, err);
    return status == KG_OK ? replace_lost(session, same, err) : status;
}

static int restore_each(void *ctx, const struct kg_stored_part *part)
{
    struct restoring *restoring = ctx;
    restoring->status = restore_part(restoring->session, part, restoring->err);
    return restoring->status != KG_OK;
}

/* A file's digest covers its parts together. */
static void digest_files(struct kg_session *session)
{
    for (size_t i = 0; i < session->count; i++) {
        if (session->pieces[i].kind != KG_BLOCK_FILE || session->pieces[i].continues)
            continue;
        struct kg_digest_stream *stream = kg_digest_begin();
        if (!stream)
            return;
        size_t k = i;
        do
            kg_digest_add(stream, session->pieces[k].text, session->pieces[k].length);
        while (++k < session->count && session->pieces[k].continues);
        kg_digest_end(stream, &session->pieces[i].content);
    }
}

static enum kg_status resume(struct kg_session *session, struct kg_error *err)
{
    struct restoring restoring = { .session = session, .status = KG_OK, .err = err };
    enum kg_status status = kg_session_store_parts(session->engine->session_store, session->stored_id, restore_each, &restoring, err);
    if (restoring.status != KG_OK)
        return restoring.status;
    if (status == KG_OK && session->count && (session->pieces[0].kind != KG_BLOCK_PREAMBLE || !session->pieces[0].block))
        return kg_fail(err, KG_ERR_CORRUPT, "session '%s' does not begin as conversations do; choose another name", session->name);
    digest_files(session);
    if (status == KG_OK) /* a process died while it branched */
        status = kg_session_restore_unsummarised(session, err);
    struct kg_error later;
    if (status == KG_OK)
        (void)kg_again_check(session, &later);
    return status == KG_OK ? kg_session_load_pins(session, err) : status;
}

static enum kg_status add_preamble(struct kg_session *session, struct kg_error *err)
{
    struct kg_ids ids = { 0 };
    enum kg_status status = kg_chat_preamble(session->engine->chat, &ids, err);
    struct kg_piece *piece = status == KG_OK ? kg_piece_add(session, KG_BLOCK_PREAMBLE, "", "", 0) : NULL;
    if (status == KG_OK && !piece)
        status = kg_fail_nomem(err, "starting a session");
    if (status == KG_OK)
        status = kg_piece_place(session, session->count - 1, ids.ids, ids.count, 0, NULL, err);
    if (status == KG_OK)
        status = kg_piece_store(session, &session->pieces[session->count - 1], err);
    kg_ids_free(&ids);
    return status;
}

static enum kg_status create_stored(struct kg_session *session, const char *name, struct kg_error *err)
{
    struct kg_stored_session stored;
    char model[128], dated[128];
    model_name(session->engine, model);
    time_t now = time(NULL);
    struct tm local;
    localtime_r(&now, &local);
    enum kg_status status = KG_OK;
    for (unsigned attempt = 0; attempt < 100; attempt++) { /* two sessions may begin in one second */
        if (!name) {
            size_t n = strftime(dated, sizeof dated, "%Y-%m-%d %H:%M:%S", &local);
            if (attempt)
                snprintf(dated + n, sizeof dated - n, " (%u)", attempt + 1);
        }
        const char *wanted = name ? name : dated;
        if (kg_session_store_find(session->engine->session_store, session->repository, wanted, &stored, NULL) == KG_OK && !name)
            continue;
        status = kg_session_store_create(session->engine->session_store, session->repository, wanted, model, &stored, err);
        break;
    }
    if (status != KG_OK)
        return status;
    session->stored_id = stored.id;
    session->unnamed = !name;
    snprintf(session->name, sizeof session->name, "%s", stored.name);
    return lock_session(session, err);
}

static enum kg_status open_stored(struct kg_session *session, const struct kg_session_options *options, struct kg_error *err)
{
    struct kg_stored_session stored;
    enum kg_status status = KG_ERR_NOT_FOUND;
    if (options->name)
        status = kg_session_store_find(session->engine->session_store, session->repository, options->name, &stored, err);
    if (status == KG_ERR_NOT_FOUND && options->must_exist)
        return kg_fail(err, KG_ERR_NOT_FOUND, "there is no session '%s' for this repository; /sessions lists them", options->name ? options->name : "");
    if (status == KG_ERR_NOT_FOUND) {
        status = create_stored(session, options->name, err);
        return status == KG_OK ? add_preamble(session, err) : status;
    }
    if (status != KG_OK)
        return status;
    char model[128];
    model_name(session->engine, model);
    if (strcmp(model, stored.model) != 0)
        return kg_fail(err, KG_ERR_USAGE, "session '%s' was held with %s; start kedge with that model (-m), or choose another name", stored.name,
                       stored.model);
    session->stored_id = stored.id;
    snprintf(session->name, sizeof session->name, "%s", stored.name);
    status = lock_session(session, err);
    if (status == KG_OK)
        status = resume(session, err);
    return status == KG_OK && session->count == 0 ? add_preamble(session, err) : status;
}

/* Without a key index there is nothing to recall by: everything is looked at. */
static enum kg_status set_rules(struct kg_session *session, struct kg_error *err)
{
    struct kg_engine *engine = session->engine;
    enum kg_status status = kg_policy_rules(session->policy, &session->recall, &session->rules, err);
    if (status != KG_OK || session->rules.look == KG_LOOK_ALL)
        return status;
    if (!kg_pool_shape(engine->pool)->index_bits) {
        if (session->policy == KG_POLICY_ANCHOR)
            return kg_fail(err, KG_ERR_UNSUPPORTED, "%s cannot look at anchors only; use --policy full", engine->backend->name);
        session->rules.look = KG_LOOK_ALL;
        if (!engine->notice[0])
            snprintf(engine->notice, sizeof engine->notice, "no recall for this model on %s: everything in context is looked at, and long ones are slower",
                     engine->backend->name);
        return KG_OK;
    }
    if (session->rules.look == KG_LOOK_ANCHORS && !engine->anchors)
        status = kg_line_anchors(engine->tokenizer, kg_model_shape(engine->model)->vocabulary, &engine->anchors, err);
    return status;
}

/* Of a conversation in which nothing was said, only its name would be left. */
static void forget_empty(struct kg_session *session)
{
    char path[KG_PATH_MAX];
    int lock = -1;
    struct kg_error kept;
    if (kg_session_store_delete(session->engine->session_store, session->stored_id, &kept) != KG_OK)
        return;
    kg_stored_lock(session->engine->state_dir, session->stored_id, session->name, path, &lock, &kept); /* ours: only for its path */
    if (lock >= 0) {
        close(lock);
        unlink(path);
    }
}

enum kg_status kg_session_open(struct kg_engine *engine, const struct kg_session_options *options, struct kg_session **out, struct kg_error *err)
{
    double start = kg_seconds();
    enum kg_status status = open_stores(engine, !options->unsaved, err);
    if (status != KG_OK)
        return status;
    struct kg_session *session = calloc(1, sizeof *session);
    if (!session)
        return kg_fail_nomem(err, "opening a session");
    session->engine = engine;
    session->policy = options->policy;
    session->recall = options->recall;
    session->drafts_off = options->drafts_off;
    session->lock = -1;
    snprintf(session->repository, sizeof session->repository, "%s", options->repository ? options->repository : "");
    snprintf(session->name, sizeof session->name, "%s", options->name ? options->name : "");
    status = set_rules(session, err);
    if (status == KG_OK)
        status = kg_sequence_create(kg_model_shape(engine->model)->trained_length, &session->sequence, err);
    if (status == KG_OK)
        status = options->unsaved ? add_preamble(session, err) : open_stored(session, options, err);
    if (status != KG_OK) {
        session->behind = false; /* what is there in part is not what is stored */
        kg_session_close(session);
        return status;
    }
    session->counts.open_s = kg_seconds() - start;
    *out = session;
    return KG_OK;
}

void kg_session_close(struct kg_session *session)
{
    if (!session)
        return;
    struct kg_error lost;
    if (session->unnamed && session->stored_id && session->count <= 1)
        forget_empty(session);
    else
        kg_session_catch_up(session, &lost);
    if (session->sequence)
        kg_sequence_free(session->sequence);
    for (size_t i = 0; i < session->count; i++)
        kg_piece_clear(&session->pieces[i]);
    if (session->lock >= 0)
        close(session->lock);
    kg_session_forget_pins(session);
    free(session->superseded);
    free(session->pieces);
    free(session);
}

const char *kg_session_name(const struct kg_session *session)
{
    return session->name;
}

enum kg_status kg_session_rename(struct kg_session *session, const char *name, struct kg_error *err)
{
    enum kg_status status = KG_OK;
    if (strlen(name) >= sizeof session->name || !name[0])
        return kg_fail(err, KG_ERR_USAGE, "a session's name has 1 to %zu bytes", sizeof session->name - 1);
    if (session->stored_id)
        status = kg_session_store_rename(session->engine->session_store, session->stored_id, name, err);
    if (status == KG_OK) {
        snprintf(session->name, sizeof session->name, "%s", name);
        session->unnamed = false;
    }
    return status;
}

static bool is_visible(const struct kg_piece *piece)
{
    return piece->kind == KG_BLOCK_TURN || piece->kind == KG_BLOCK_ANSWER || piece->kind == KG_BLOCK_SUMMARY || (piece->kind == KG_BLOCK_FILE && !piece->continues);
}

size_t kg_session_parts(const struct kg_session *session)
{
    size_t n = 0;
    for (size_t i = 0; i < session->count; i++)
        n += is_visible(&session->pieces[i]);
    return n;
}

/* The piece that people know by this number. */
size_t kg_visible_piece(const struct kg_session *session, size_t index)
{
    size_t i = 0;
    while (!is_visible(&session->pieces[i]) || index-- > 0)
        i++;
    return i;
}

/* The name of a chain holds all that it saw: it is another one where something of that is gone. */
const char *kg_session_outdated(const struct kg_session *session, size_t index)
{
    const size_t at = kg_visible_piece(session, index);
    const struct kg_piece *piece = &session->pieces[at];
    if (!piece->block || piece->rule != KG_READ_CHAIN || piece->growing)
        return NULL;
    if (kg_chain_saw(session, at, piece->base, kg_block_ids(piece->block), kg_block_tokens(piece->block), &piece->identity))
        return NULL;
    for (size_t i = 0; i < at; i++)
        if (session->pieces[i].gave_way)
            return NULL; /* that is what differs, as far as can be told */
    for (size_t i = at; i-- > 0;) /* the last one is the likeliest */
        if (session->pieces[i].kind == KG_BLOCK_FILE && session->pieces[i].dropped)
            return session->pieces[i].label;
    return NULL;
}

static void add_tokens(struct kg_part *part, const struct kg_piece *piece)
{
    const uint32_t tokens = piece->block ? kg_block_tokens(piece->block) : 0;
    part->tokens += tokens;
    part->again += piece->rule == KG_READ_AGAIN ? tokens : 0;
}

struct kg_part kg_session_part(const struct kg_session *session, size_t index)
{
    size_t i = kg_visible_piece(session, index);
    const struct kg_piece *piece = &session->pieces[i];
    bool file = piece->kind == KG_BLOCK_FILE;
    struct kg_part part = {
        .kind = kg_part_kind_of((int)piece->kind),
        .label = piece->label,
        .text = file ? NULL : piece->text,
        .length = piece->length,
        .dropped = piece->dropped,
        .partial = piece->partial,
        .summarised = piece->gave_way != 0,
        .said = piece->said,
    };
    for (unsigned k = 0; file && k < 8; k++)
        part.digest |= (uint64_t)piece->content.bytes[k] << (8 * k);
    do
        add_tokens(&part, piece);
    while (++i < session->count && (++piece)->continues);
    return part;
}

void kg_session_counts(const struct kg_session *session, struct kg_counts *out)
{
    *out = session->counts;
    out->context_tokens = kg_sequence_tokens(session->sequence);
    out->context_limit = kg_model_shape(session->engine->model)->trained_length;
}
