/* Files read a second time, in sight of all that stands before them. */
#include <stdlib.h>
#include <string.h>

#include "engine/state.h"

static bool saw_what_stands(const struct kg_session *session, size_t index)
{
    const struct kg_piece *piece = &session->pieces[index];
    const struct kg_digest now = kg_piece_identity(session, index, piece->base, kg_block_ids(piece->block), kg_block_tokens(piece->block));
    return memcmp(&now, &piece->identity, sizeof now) == 0;
}

enum kg_status kg_again_check(struct kg_session *session, struct kg_error *err)
{
    enum kg_status status = KG_OK;
    for (size_t i = 0; i < session->count && status == KG_OK; i++) {
        struct kg_piece *piece = &session->pieces[i];
        if (piece->rule != KG_READ_AGAIN || !piece->block || saw_what_stands(session, i))
            continue;
        const struct kg_piece before = *piece;
        status = kg_piece_place_clean(session, i, err);
        if (status == KG_OK) {
            kg_again_supersede(session, &before);
            status = kg_piece_store(session, piece, err);
        }
    }
    return status;
}

void kg_again_supersede(struct kg_session *session, const struct kg_piece *piece)
{
    if (piece->rule != KG_READ_AGAIN || !piece->read_here)
        return;
    struct kg_digest *keys = realloc(session->superseded, (session->superseded_count + 1) * sizeof *keys);
    if (!keys)
        return; /* it stays until there is need of room */
    keys[session->superseded_count++] = kg_block_name(session->engine, &piece->identity);
    session->superseded = keys;
}

static enum kg_status remove_superseded(struct kg_session *session, struct kg_error *err)
{
    enum kg_status status = KG_OK;
    while (session->superseded_count && status == KG_OK) {
        status = kg_kv_store_remove_unused(session->engine->kv_store, &session->superseded[--session->superseded_count], err);
        if (status == KG_OK && atomic_load(&session->engine->stop))
            status = kg_fail(err, KG_ERR_CANCELLED, "stopped");
    }
    return status;
}

/* By a block that is its own, since others may share the one that stood there. */
enum kg_status kg_again_hold_first(const struct kg_session *session, struct kg_piece *piece, struct kg_error *err)
{
    const struct kg_digest name = kg_block_name(session->engine, &piece->kept_of);
    enum kg_status status = kg_block_create(session->engine->pool, KG_BLOCK_FILE, &name, kg_block_local(piece->block), kg_block_ids(piece->block), 0,
                                            &piece->first, err);
    return status == KG_OK ? kg_kv_store_use(session->engine->kv_store, &name, err) : status;
}

/* A piece while it is read again. */
struct reading_again {
    struct kg_session *session;
    size_t index;
    struct kg_piece as; /* what it is to be: rule, names, blocks; once it is, what it was. Owns the blocks */
    uint64_t computed;
};

/* A device that failed says so; nobody waits for what could be read all the same. */
static enum kg_status save(const struct reading_again *r, struct kg_error *err)
{
    const struct kg_engine *engine = r->session->engine;
    const struct kg_kv_label label = { .text = &r->as.content, .model = kg_model_shape(engine->model)->name, .kind = KG_KV_AGAIN, .title = r->as.label };
    return kg_kv_store_save(engine->kv_store, r->as.block, &label, err);
}

static enum kg_status after_batch(void *ctx, struct kg_block *block, struct kg_error *err)
{
    struct reading_again *r = ctx;
    struct kg_session *session = r->session;
    const uint64_t done = kg_block_ready(block) - (kg_block_tokens(block) - session->reading_total), read = done - session->reading_done;
    r->computed += read;
    session->computed_ever += read;
    session->reading_done = done;
    kg_engine_progress(session->engine, KG_STAGE_READING, r->as.label, session->reading_done, session->reading_total);
    enum kg_status status = save(r, err);
    return status == KG_OK ? kg_gguf_intact(session->engine->file, err) : status;
}

/* All that stands before the piece, and the block that it is to have. */
static enum kg_status sight_of(const struct reading_again *r, struct kg_sequence **out, struct kg_error *err)
{
    const struct kg_session *session = r->session;
    const int32_t base = r->as.base;
    enum kg_status status = kg_sequence_create(kg_model_shape(session->engine->model)->trained_length, out, err);
    for (size_t i = 0; status == KG_OK && i < kg_sequence_count(session->sequence) && kg_sequence_base(session->sequence, i) < base; i++)
        status = kg_sequence_place(*out, kg_sequence_block(session->sequence, i), kg_sequence_base(session->sequence, i), err);
    return status == KG_OK ? kg_sequence_place(*out, r->as.block, base, err) : status;
}

/* What the cache has of it is taken, and what is read is in it, also when the rest is not. */
static enum kg_status read_block(struct reading_again *r, struct kg_error *err)
{
    struct kg_session *session = r->session;
    struct kg_block *block = r->as.block;
    struct kg_sequence *sight = NULL;
    struct kg_look look;
    struct kg_reading reading = kg_session_reading(session, KG_READ_AGAIN, &look);
    uint32_t ready = 0;
    enum kg_status status = kg_kv_store_load(session->engine->kv_store, block, &ready, err);
    reading.batch = KG_READING_BATCH;
    reading.after_batch = after_batch;
    reading.ctx = r;
    session->reading_done = 0;
    session->reading_total = kg_block_tokens(block) - ready;
    if (status == KG_OK)
        status = sight_of(r, &sight, err);
    if (status == KG_OK && session->reading_total)
        status = kg_sequence_read(sight, kg_sequence_count(sight) - 1, kg_block_tokens(block), &reading, NULL, err);
    kg_sequence_free(sight);
    return status;
}

/* Stands in place of the first reading; what stood there is in `as` then. */
static void swap(struct reading_again *r)
{
    struct kg_session *session = r->session;
    struct kg_piece *piece = &session->pieces[r->index], before = *piece;
    struct kg_error full;
    kg_sequence_remove(session->sequence, kg_piece_index(session, piece));
    piece->rule = r->as.rule;
    piece->identity = r->as.identity;
    piece->kept_of = r->as.kept_of;
    piece->kept_linked = r->as.kept_linked;
    piece->block = r->as.block;
    piece->first = r->as.first;
    piece->read_here = r->computed > 0;
    r->as = before;
    kg_sequence_place(session->sequence, piece->block, piece->base, &full); /* there is room: the same length has just left it */
}

static enum kg_status replace(void *ctx, struct kg_session *session, struct kg_error *err)
{
    struct reading_again *r = ctx;
    swap(r);
    return kg_piece_store(session, &session->pieces[r->index], err);
}

static void put_back(void *ctx, struct kg_session *session)
{
    (void)session;
    swap(ctx);
}

/* The name that a piece has when it is read again. */
static struct kg_digest name_again(struct reading_again *r)
{
    struct kg_piece *piece = &r->session->pieces[r->index];
    const struct kg_piece before = *piece;
    *piece = r->as;
    const struct kg_digest name = kg_piece_identity(r->session, r->index, before.base, kg_block_ids(before.block), kg_block_tokens(before.block));
    *piece = before;
    return name;
}

static enum kg_status read_again(struct kg_session *session, size_t index, uint64_t *computed, struct kg_error *err)
{
    struct kg_piece *piece = &session->pieces[index];
    const struct kg_block *first = piece->block;
    struct reading_again r = { .session = session, .index = index };
    kg_piece_forget_included(piece); /* it is read */
    r.as = *piece;
    r.as.rule = KG_READ_AGAIN;
    r.as.kept_of = piece->identity;
    r.as.kept_linked = piece->rule == KG_READ_LINKED;
    r.as.identity = name_again(&r);
    r.as.block = NULL;
    if (!kg_is_named(&r.as.identity))
        return kg_fail_nomem(err, "reading a file again");
    const struct kg_digest name = kg_block_name(session->engine, &r.as.identity);
    enum kg_status status = kg_block_create(session->engine->pool, KG_BLOCK_FILE, &name, kg_block_local(first), kg_block_ids(first), kg_block_tokens(first),
                                            &r.as.block, err);
    if (status == KG_OK)
        status = kg_again_hold_first(session, &r.as, err);
    if (status == KG_OK)
        status = read_block(&r, err);
    if (status == KG_OK)
        status = kg_session_together(session, &(struct kg_change){ .make = replace, .undo = put_back, .ctx = &r }, err);
    *computed = r.computed;
    kg_block_release(r.as.block);
    kg_block_release(r.as.first);
    return status;
}

static bool is_ready(const struct kg_block *block)
{
    return kg_block_ready(block) == kg_block_tokens(block);
}

/* All of a file that was not put together from an older text is read. */
static bool is_read(const struct kg_session *session, size_t first)
{
    for (size_t i = first; i < session->count && (i == first || session->pieces[i].continues); i++)
        if (!session->pieces[i].block || !is_ready(session->pieces[i].block))
            return false;
    return !kg_file_is_patched(session, first);
}

/* A part's first reading, behind another file. */
static bool can_be_read_again(const struct kg_session *session, size_t index)
{
    const struct kg_piece *piece = &session->pieces[index];
    size_t first = index;
    if (!piece->block || piece->kind != KG_BLOCK_FILE || (piece->rule != KG_READ_LINKED && piece->rule != KG_READ_ALONE))
        return false;
    while (session->pieces[first].continues)
        first--;
    for (size_t i = 0; i < first; i++)
        if (session->pieces[i].kind == KG_BLOCK_FILE && session->pieces[i].block)
            return is_read(session, first);
    return false;
}

/* Whether all of a piece's reading is in the cache, for when it is wanted back. */
static enum kg_status is_cached(const struct kg_session *session, const struct kg_piece *piece, bool *cached, struct kg_error *err)
{
    const uint32_t tokens = kg_block_tokens(piece->block);
    uint32_t known = 0;
    enum kg_status status = kg_kv_store_known(session->engine->kv_store, kg_block_key(piece->block), kg_block_ids(piece->block), tokens, &known, err);
    *cached = known == tokens;
    return status;
}

static enum kg_status keep_first(struct kg_session *session, const struct kg_piece *piece, bool *kept, struct kg_error *err)
{
    enum kg_status status = is_cached(session, piece, kept, err);
    if (status != KG_OK || *kept)
        return status;
    kg_session_save_block(session, piece);
    return is_cached(session, piece, kept, err);
}

/* Once more as much as it has there, beside all that open conversations use. */
static enum kg_status has_room(const struct kg_session *session, const struct kg_piece *piece, bool *room, struct kg_error *err)
{
    const struct kg_kv_shape *shape = kg_pool_shape(session->engine->pool);
    const uint64_t pages = (kg_block_tokens(piece->block) + KG_PAGE - 1) / KG_PAGE;
    return kg_kv_store_fits(session->engine->kv_store, pages * (KG_KV_PAGE_BYTES(shape) + KG_INDEX_PAGE_BYTES(shape)), room, err);
}

static bool may_read_again(const struct kg_session *session)
{
    return session->engine->kv_store && !session->sees_secret && session->rules.files == KG_READ_LINKED &&
           kg_model_shape(session->engine->model)->trained_length / KG_PAGE < KG_AGAIN_PAGE;
}

/* The last token of an answer that was stopped is read with the next question, and all of the answer where a file before it is another
 * by then. */
static enum kg_status finish_answers(struct kg_session *session, struct kg_error *err)
{
    const uint64_t computed = session->computed_since;
    const double prefill = session->prefill_since;
    enum kg_status status = KG_OK;
    for (size_t i = 0; i < session->count && status == KG_OK; i++) {
        const struct kg_piece *piece = &session->pieces[i];
        if (!piece->block || is_ready(piece->block))
            continue;
        if (piece->kind != KG_BLOCK_ANSWER)
            break; /* what is behind it cannot be read yet */
        session->reading_done = 0;
        session->reading_total = kg_block_tokens(piece->block) - kg_block_ready(piece->block);
        status = kg_session_read(session, i, NULL, err);
    }
    session->computed_since = computed; /* nobody waited */
    session->prefill_since = prefill;
    return status;
}

/* The first part of a file from piece *next on that is read again. Where one cannot be, none behind it is: they would have to be
 * read once more when it can. */
static enum kg_status read_one(struct kg_session *session, size_t *next, uint64_t *computed, struct kg_error *err)
{
    enum kg_status status = KG_OK;
    bool again = false, kept = true;
    for (size_t i = *next; i < session->count && status == KG_OK && kept && !again; i++) {
        const struct kg_block *block = session->pieces[i].block;
        *next = i + 1;
        kept = !block || is_ready(block); /* it has to be read first */
        if (!kept || !can_be_read_again(session, i))
            continue;
        status = has_room(session, &session->pieces[i], &kept, err);
        if (status == KG_OK && kept)
            status = keep_first(session, &session->pieces[i], &kept, err);
        again = status == KG_OK && kept;
        if (again)
            status = read_again(session, i, computed, err);
        if (status == KG_OK && atomic_load(&session->engine->stop))
            status = kg_fail(err, KG_ERR_CANCELLED, "stopped");
    }
    if (status != KG_OK || !again)
        *next = 0;
    return status;
}

enum kg_status kg_session_read_again(struct kg_session *session, size_t *next, uint64_t *computed, struct kg_error *err)
{
    const double restored = session->restore_since;
    const bool may = may_read_again(session);
    uint64_t read = 0;
    enum kg_status status = may ? kg_session_settle(session, err) : KG_OK;
    session->restore_since = restored;
    if (may && status == KG_OK)
        status = finish_answers(session, err);
    if (may && status == KG_OK)
        status = read_one(session, next, &read, err);
    else
        *next = 0;
    if (status == KG_OK && *next)
        status = kg_again_check(session, err); /* those behind it did not see it so */
    if (may && status == KG_OK && !*next)
        status = remove_superseded(session, err); /* what came back by now is in use */
    if (computed)
        *computed = read;
    return status;
}
