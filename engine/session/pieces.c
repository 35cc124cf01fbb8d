/* Pieces of a conversation: their identity, their place in the sequence. */
#include <stdlib.h>
#include <string.h>

#include "engine/state.h"

struct kg_piece *kg_piece_add(struct kg_session *session, enum kg_block_kind kind, const char *label, const char *text, size_t length)
{
    if (session->count == session->capacity) {
        size_t capacity = session->capacity ? 2 * session->capacity : 16;
        struct kg_piece *grown = realloc(session->pieces, capacity * sizeof *grown);
        if (!grown)
            return NULL;
        session->pieces = grown;
        session->capacity = capacity;
    }
    struct kg_piece *piece = &session->pieces[session->count];
    memset(piece, 0, sizeof *piece);
    piece->kind = kind;
    piece->label = strdup(label ? label : "");
    piece->text = malloc(length + 1);
    if (!piece->label || !piece->text) {
        kg_piece_clear(piece);
        return NULL;
    }
    if (length)
        memcpy(piece->text, text, length);
    piece->text[length] = '\0';
    piece->length = length;
    session->count++;
    return piece;
}

void kg_piece_clear(struct kg_piece *piece)
{
    kg_piece_forget_included(piece);
    kg_block_release(piece->block);
    kg_block_release(piece->first);
    free(piece->label);
    free(piece->text);
    free(piece->ids);
    memset(piece, 0, sizeof *piece);
}

size_t kg_piece_index(const struct kg_session *session, const struct kg_piece *piece)
{
    for (size_t i = 0; i < kg_sequence_count(session->sequence); i++)
        if (kg_sequence_block(session->sequence, i) == piece->block && kg_sequence_base(session->sequence, i) == piece->base)
            return i;
    return SIZE_MAX;
}

static void add_number(struct kg_digest_stream *stream, int64_t number)
{
    uint8_t bytes[8];
    for (unsigned i = 0; i < 8; i++)
        bytes[i] = (uint8_t)((uint64_t)number >> (8 * i));
    kg_digest_add(stream, bytes, sizeof bytes);
}

static void add_ids(struct kg_digest_stream *stream, const int32_t *ids, size_t count)
{
    add_number(stream, (int64_t)count);
    for (size_t i = 0; i < count; i++)
        add_number(stream, ids[i]);
}

/* What sees all that stands before it. */
static bool sees_all(const struct kg_piece *piece)
{
    return piece->rule == KG_READ_CHAIN || piece->rule == KG_READ_AGAIN;
}

/* Everything that stands before `base` in a chain and for what is read again; for a block read alone the preamble and the file's earlier parts. */
static bool is_seen(const struct kg_session *session, size_t piece, size_t other, int32_t base)
{
    const struct kg_piece *p = &session->pieces[piece], *o = &session->pieces[other];
    if (!o->block || other == piece)
        return false;
    if (sees_all(p))
        return o->base < base;
    if (o->kind == KG_BLOCK_PREAMBLE)
        return true;
    if (!p->continues || other > piece)
        return false;
    for (size_t i = other + 1; i <= piece; i++) /* the same file, without a heading in between */
        if (!session->pieces[i].continues)
            return false;
    return o->kind == KG_BLOCK_FILE;
}

/* What every identity begins with; NULL when out of memory. */
static struct kg_digest_stream *begin_identity(const struct kg_session *session, enum kg_read_rule rule, bool preamble, const int32_t *ids, size_t count)
{
    struct kg_digest_stream *stream = kg_digest_begin();
    if (!stream)
        return NULL;
    add_number(stream, rule);
    add_number(stream, preamble);
    add_ids(stream, ids, count);
    add_number(stream, kg_rules_code(&session->rules, rule));
    return stream;
}

struct kg_digest kg_kept_identity(const struct kg_session *session, const struct kg_digest *of, uint32_t first, const struct kg_ids *ids)
{
    struct kg_digest digest = { { 0 } };
    struct kg_digest_stream *stream = begin_identity(session, KG_READ_KEPT, false, ids->ids, ids->count);
    if (!stream)
        return digest;
    add_number(stream, first);
    kg_digest_add(stream, of->bytes, sizeof of->bytes);
    kg_digest_end(stream, &digest);
    return digest;
}

bool kg_is_named(const struct kg_digest *identity)
{
    static const struct kg_digest none = { { 0 } };
    return memcmp(identity, &none, sizeof none) != 0;
}

/* As what a piece counts: read again where it is, or where it was when it was stored, or as it is in its first reading. */
enum counted { AS_IT_IS, AS_STORED, AS_FIRST };

static const struct kg_digest *counts_as(const struct kg_piece *piece, enum counted counted)
{
    if (counted == AS_STORED && kg_is_named(&piece->lost))
        return &piece->lost;
    return counted == AS_FIRST && piece->rule == KG_READ_AGAIN ? &piece->kept_of : &piece->identity;
}

/* Pieces from number `clean` on count as in their first reading, those before it as `counted`; for a file's later part those before it do
 * as in their first reading, which is what it is read behind. */
static struct kg_digest identity_of(const struct kg_session *session, size_t piece, enum counted counted, size_t clean, int32_t base, const int32_t *ids,
                                    size_t count)
{
    const struct kg_piece *p = &session->pieces[piece];
    struct kg_digest digest = { { 0 } };
    struct kg_digest_stream *stream = begin_identity(session, p->rule, p->kind == KG_BLOCK_PREAMBLE, ids, count);
    if (!stream)
        return digest;
    if (sees_all(p))
        add_number(stream, base);
    if (p->rule == KG_READ_LINKED)
        kg_digest_add(stream, p->sees.bytes, sizeof p->sees.bytes);
    for (size_t i = 0; i < session->count; i++) {
        const struct kg_piece *seen = &session->pieces[i];
        if (!is_seen(session, piece, i, base))
            continue;
        kg_digest_add(stream, counts_as(seen, i >= clean || !sees_all(p) ? AS_FIRST : counted)->bytes, sizeof digest.bytes);
        if (sees_all(p))
            add_number(stream, seen->base);
    }
    kg_digest_end(stream, &digest);
    return digest;
}

struct kg_digest kg_piece_identity(const struct kg_session *session, size_t piece, int32_t base, const int32_t *ids, size_t count)
{
    return identity_of(session, piece, AS_IT_IS, SIZE_MAX, base, ids, count);
}

struct kg_digest kg_piece_stored_identity(const struct kg_session *session, size_t piece, int32_t base, const int32_t *ids, size_t count)
{
    return identity_of(session, piece, AS_STORED, SIZE_MAX, base, ids, count);
}

struct kg_digest kg_chain_sight(const struct kg_session *session)
{
    struct kg_digest digest = { { 0 } };
    struct kg_digest_stream *stream = kg_digest_begin();
    if (!stream)
        return digest;
    for (size_t i = 0; i < session->count; i++) {
        const struct kg_piece *piece = &session->pieces[i];
        if (!piece->block)
            continue;
        kg_digest_add(stream, piece->identity.bytes, sizeof piece->identity.bytes);
        add_number(stream, piece->base);
    }
    kg_digest_end(stream, &digest);
    return digest;
}

/* Files are read again in order, and only where those before them stay as they are: what a chain saw read again are the first ones, and
 * most often all. */
bool kg_chain_saw(const struct kg_session *session, size_t piece, int32_t base, const int32_t *ids, size_t count, const struct kg_digest *identity)
{
    const struct kg_digest now = kg_piece_identity(session, piece, base, ids, count);
    if (memcmp(&now, identity, sizeof now) == 0)
        return true;
    for (size_t clean = piece + 1; clean-- > 0;) {
        const struct kg_piece *first = &session->pieces[clean];
        if (clean < piece && first->rule != KG_READ_AGAIN && !kg_is_named(&first->lost))
            continue;
        const struct kg_digest name = identity_of(session, piece, AS_STORED, clean, base, ids, count);
        if (memcmp(&name, identity, sizeof name) == 0)
            return true;
    }
    return false;
}

struct kg_digest kg_part_identity(const struct kg_session *session, enum kg_read_rule rule, const struct kg_digest *sees, const struct kg_ids *ids,
                                  const struct kg_digest *earlier, size_t earlier_count)
{
    struct kg_digest digest = { { 0 } };
    struct kg_digest_stream *stream = begin_identity(session, rule, false, ids->ids, ids->count);
    if (!stream)
        return digest;
    if (rule == KG_READ_LINKED)
        kg_digest_add(stream, sees->bytes, sizeof sees->bytes);
    kg_digest_add(stream, session->pieces[0].identity.bytes, sizeof digest.bytes);
    for (size_t i = 0; i < earlier_count; i++)
        kg_digest_add(stream, earlier[i].bytes, sizeof digest.bytes);
    kg_digest_end(stream, &digest);
    return digest;
}

struct kg_digest kg_block_name(const struct kg_engine *engine, const struct kg_digest *identity)
{
    uint8_t both[64];
    memcpy(both, engine->numerics.bytes, 32);
    memcpy(both + 32, identity->bytes, 32);
    return kg_digest_of(both, sizeof both);
}

static int32_t preamble_tokens(const struct kg_session *session)
{
    return session->count && session->pieces[0].block ? (int32_t)kg_block_tokens(session->pieces[0].block) : 0;
}

static enum kg_status keep_anchors(const struct kg_engine *engine, struct kg_block *block, struct kg_error *err)
{
    uint32_t *kept = NULL, count = 0;
    enum kg_status status = kg_line_anchors_in(engine->anchors, kg_block_ids(block), kg_block_tokens(block), &kept, &count, err);
    if (status == KG_OK)
        status = kg_block_set_kept(block, kept, count, err);
    free(kept);
    return status;
}

static void count_restored(struct kg_session *session, const struct kg_block *block)
{
    const struct kg_kv_shape *shape = kg_pool_shape(session->engine->pool);
    session->restored_since += kg_block_held(block) * ((KG_KV_PAGE_BYTES(shape) + KG_INDEX_PAGE_BYTES(shape)) / KG_PAGE);
}

enum kg_status kg_kept_create(struct kg_session *session, struct kg_piece *piece, const int32_t *ids, size_t count, struct kg_error *err)
{
    const struct kg_ids kept = { .ids = (int32_t *)ids, .count = count }; /* only read */
    const struct kg_digest of = kg_block_name(session->engine, &piece->kept_of);
    piece->identity = kg_kept_identity(session, &piece->kept_of, piece->kept_first, &kept);
    enum kg_status status = kg_block_create(session->engine->pool, piece->kind, &of, preamble_tokens(session) + (int32_t)piece->kept_first, ids, count,
                                            &piece->block, err);
    if (status == KG_OK)
        kg_block_set_part(piece->block, piece->kept_first / KG_PAGE);
    return status;
}

static enum kg_status create_block(struct kg_session *session, struct kg_piece *piece, const int32_t *ids, size_t count, struct kg_error *err)
{
    const struct kg_digest name = kg_block_name(session->engine, &piece->identity);
    const int32_t local = piece->kind == KG_BLOCK_PREAMBLE ? 0 : preamble_tokens(session);
    if (piece->rule == KG_READ_KEPT)
        return kg_kept_create(session, piece, ids, count, err);
    return kg_block_create(session->engine->pool, piece->kind, &name, local, ids, count, &piece->block, err);
}

/* *refused: the cache could not be asked, as where there is no memory. */
static enum kg_status place(struct kg_session *session, size_t index, const int32_t *ids, size_t count, int32_t base,
                            const struct kg_digest *known_identity, bool *refused, struct kg_error *err)
{
    *refused = false;
    struct kg_engine *engine = session->engine;
    struct kg_piece *piece = &session->pieces[index];
    if (base < 0)
        base = kg_sequence_end(session->sequence);
    piece->identity = known_identity && kg_is_named(known_identity) ? *known_identity : kg_piece_identity(session, index, base, ids, count);
    enum kg_status status = create_block(session, piece, ids, count, err);
    if (status == KG_OK && piece->rule == KG_READ_ANCHORS)
        status = keep_anchors(engine, piece->block, err);
    if (status == KG_OK)
        status = kg_sequence_place(session->sequence, piece->block, base, err);
    if (status != KG_OK) {
        kg_block_release(piece->block);
        piece->block = NULL;
        return status;
    }
    piece->base = base;
    if (piece->growing)
        return KG_OK; /* it gets its name when it is complete */
    uint32_t known = 0;
    struct kg_error unread;
    double start = kg_seconds();
    *refused = engine->kv_store && kg_kv_store_offer(engine->kv_store, piece->block, &known, &unread) != KG_OK;
    if (*refused)
        known = 0; /* a block that cannot be restored is read again */
    session->restore_since += kg_seconds() - start;
    if (known && !kg_block_is_promised(piece->block))
        count_restored(session, piece->block);
    if (known)
        kg_engine_progress(engine, KG_STAGE_RESTORING, piece->label, known, count);
    return KG_OK;
}

enum kg_status kg_piece_place(struct kg_session *session, size_t index, const int32_t *ids, size_t count, int32_t base,
                              const struct kg_digest *known_identity, struct kg_error *err)
{
    bool refused;
    return place(session, index, ids, count, base, known_identity, &refused, err);
}

/* By another rule, under this name or, NULL, the one that it has then. When it fails the piece stands there as before. */
static enum kg_status place_anew(struct kg_session *session, size_t index, enum kg_read_rule as, const struct kg_digest *known_identity, struct kg_error *err)
{
    struct kg_piece *piece = &session->pieces[index];
    struct kg_block *before = piece->block;
    const enum kg_read_rule rule = piece->rule;
    const struct kg_digest identity = piece->identity;
    const size_t at = kg_piece_index(session, piece);
    struct kg_error full;
    if (at != SIZE_MAX)
        kg_sequence_remove(session->sequence, at);
    piece->block = NULL;
    piece->rule = as;
    bool refused;
    enum kg_status status = place(session, index, kg_block_ids(before), kg_block_tokens(before), piece->base, known_identity, &refused, err);
    if (status == KG_OK) {
        kg_piece_forget_included(piece);
        kg_block_release(before);
        kg_block_release(piece->first);
        piece->first = NULL;
        uint32_t known;
        if (refused) /* there may be memory now */
            (void)kg_kv_store_offer(session->engine->kv_store, piece->block, &known, &full);
        return KG_OK;
    }
    piece->block = before;
    piece->rule = rule;
    piece->identity = identity;
    if (at != SIZE_MAX)
        kg_sequence_place(session->sequence, before, piece->base, &full); /* there is room: it has just left it */
    return status;
}

static enum kg_status place_alone(struct kg_session *session, size_t index, struct kg_error *err)
{
    return place_anew(session, index, KG_READ_ALONE, NULL, err);
}

enum kg_status kg_piece_place_clean(struct kg_session *session, size_t index, struct kg_error *err)
{
    const struct kg_piece *piece = &session->pieces[index];
    const struct kg_digest first = piece->kept_of;
    return place_anew(session, index, piece->kept_linked ? KG_READ_LINKED : KG_READ_ALONE, &first, err);
}

enum kg_status kg_piece_place_alone(struct kg_session *session, size_t index, struct kg_error *err)
{
    const bool kept = session->pieces[index].rule == KG_READ_KEPT;
    enum kg_status status = place_alone(session, index, err);
    for (size_t i = index + 1; kept && i < session->count && session->pieces[i].continues && session->pieces[i].block && status == KG_OK; i++) {
        status = place_alone(session, i, err);
        session->behind = session->behind || status != KG_OK; /* those before it are read anew */
        if (status == KG_OK)
            status = kg_piece_store(session, &session->pieces[i], err);
    }
    return status;
}

/* A linked or kept piece that the cache lost after all cannot be read again: what it saw is not here. Of one that was read again the
 * first reading may be there. */
static bool is_lost(const struct kg_piece *piece)
{
    return piece->block && (piece->rule == KG_READ_LINKED || piece->rule == KG_READ_KEPT || piece->rule == KG_READ_AGAIN) && !piece->included &&
           kg_block_known(piece->block) < kg_block_tokens(piece->block);
}

static enum kg_status replace_lost(struct kg_session *session, bool *any, struct kg_error *err)
{
    enum kg_status status = KG_OK;
    *any = false;
    for (size_t i = 0; i < session->count && status == KG_OK; i++) {
        if (!is_lost(&session->pieces[i]))
            continue;
        *any = true;
        struct kg_piece *piece = &session->pieces[i];
        const bool again = piece->rule == KG_READ_AGAIN;
        if (again)
            piece->lost = piece->identity;
        status = again ? kg_piece_place_clean(session, i, err) : kg_piece_place_alone(session, i, err);
        if (status == KG_OK)
            status = kg_piece_store(session, piece, err);
    }
    return status;
}

static enum kg_status settle(struct kg_session *session, struct kg_error *err)
{
    uint64_t done = 0, total = 0;
    for (size_t i = 0; i < session->count; i++)
        if (session->pieces[i].block && kg_block_is_promised(session->pieces[i].block))
            total += kg_block_known(session->pieces[i].block);
    for (size_t i = 0; i < session->count; i++) {
        struct kg_block *block = session->pieces[i].block;
        if (!block || !kg_block_is_promised(block))
            continue;
        if (atomic_load(&session->engine->stop))
            return kg_fail(err, KG_ERR_CANCELLED, "stopped");
        done += kg_block_known(block);
        kg_block_ready(block);
        count_restored(session, block);
        kg_engine_progress(session->engine, KG_STAGE_RESTORING, session->pieces[i].label, done, total);
    }
    return KG_OK;
}

enum kg_status kg_session_settle(struct kg_session *session, struct kg_error *err)
{
    double start = kg_seconds();
    enum kg_status status = KG_OK;
    for (bool again = true; again && status == KG_OK;) {
        status = kg_again_check(session, err);
        if (status == KG_OK)
            status = settle(session, err);
        if (status == KG_OK)
            status = replace_lost(session, &again, err);
    }
    session->restore_since += kg_seconds() - start;
    return status;
}

void kg_piece_drop(struct kg_session *session, struct kg_piece *piece)
{
    if (!piece->block)
        return;
    size_t index = kg_piece_index(session, piece);
    if (index != SIZE_MAX)
        kg_sequence_remove(session->sequence, index);
    kg_piece_forget_included(piece);
    kg_block_release(piece->block);
    kg_block_release(piece->first);
    piece->block = piece->first = NULL;
    piece->dropped = true;
}

void kg_session_cut(struct kg_session *session, size_t count)
{
    while (session->count > count) {
        kg_piece_drop(session, &session->pieces[session->count - 1]);
        kg_piece_clear(&session->pieces[--session->count]);
    }
}

enum kg_role_state kg_session_role(const struct kg_session *session)
{
    for (size_t i = session->count; i-- > 0;) {
        const struct kg_piece *piece = &session->pieces[i];
        if (!piece->block)
            continue;
        return piece->kind == KG_BLOCK_ANSWER ? KG_ROLE_ANSWER : piece->kind == KG_BLOCK_TURN ? KG_ROLE_CLOSED : KG_ROLE_SYSTEM;
    }
    return KG_ROLE_CLOSED;
}
