/* The reading of a file before an edit. What stands before the edit follows from the same ids in the same sight, so that its keys and
 * values are those of the new text, bit for bit. */
#include <stdlib.h>
#include <string.h>

#include "engine/state.h"

#define EARLIER_MAX 64 /* parts of a file before the one in question */

/* The first reading of what was read again, as far as the cache has it. */
static enum kg_status first_reading(const struct kg_session *session, const struct kg_piece *piece, struct kg_block **out, struct kg_error *err)
{
    const struct kg_digest name = kg_block_name(session->engine, &piece->kept_of);
    struct kg_error lost;
    uint32_t ready = 0;
    enum kg_status status = kg_block_create(session->engine->pool, piece->kind, &name, kg_block_local(piece->block), kg_block_ids(piece->block),
                                            kg_block_tokens(piece->block), out, err);
    if (status == KG_OK && session->engine->kv_store && kg_kv_store_load(session->engine->kv_store, *out, &ready, &lost) != KG_OK)
        kg_block_set_ready(*out, 0);
    return status;
}

static enum kg_status take_part(const struct kg_session *session, const struct kg_piece *piece, struct kg_former_part *out, struct kg_error *err)
{
    const bool kept = piece->rule == KG_READ_KEPT, again = piece->rule == KG_READ_AGAIN;
    *out = (struct kg_former_part){ .identity = again ? piece->kept_of : piece->identity, .kept = kept, .kept_linked = piece->kept_linked,
                                    .kept_of = kept || again ? piece->kept_of : piece->identity, .kept_first = kept ? piece->kept_first : 0,
                                    .kept_changed = kept ? piece->kept_changed : 0 };
    if (again)
        return first_reading(session, piece, &out->block, err);
    out->block = kg_block_keep(piece->block);
    return KG_OK;
}

enum kg_status kg_former_take(const struct kg_session *session, const struct kg_piece *first, struct kg_former *out, struct kg_error *err)
{
    const size_t most = (size_t)(session->pieces + session->count - first);
    *out = (struct kg_former){ .parts = calloc(most, sizeof *out->parts) };
    if (!out->parts)
        return kg_fail_nomem(err, "replacing a file");
    enum kg_status status = KG_OK;
    for (size_t i = 0; i < most && (i == 0 || first[i].continues) && first[i].block && status == KG_OK; i++) {
        status = take_part(session, &first[i], &out->parts[i], err);
        out->count += out->parts[i].block != NULL;
    }
    return status;
}

void kg_former_free(struct kg_former *former)
{
    for (size_t i = 0; i < former->count; i++)
        kg_block_release(former->parts[i].block);
    free(former->parts);
    *former = (struct kg_former){ 0 };
}

static uint32_t ids_in_common(const struct kg_block *a, const struct kg_block *b)
{
    const uint32_t n = kg_block_tokens(a) < kg_block_tokens(b) ? kg_block_tokens(a) : kg_block_tokens(b);
    uint32_t same = 0;
    while (same < n && kg_block_ids(a)[same] == kg_block_ids(b)[same])
        same++;
    return same;
}

static enum kg_status copy_page(const struct kg_block *from, uint32_t from_page, struct kg_block *to, uint32_t page, uint8_t *room, struct kg_error *err)
{
    const struct kg_kv_shape *shape = kg_pool_shape(kg_block_pool(to));
    uint32_t indexed = 0;
    enum kg_status status = kg_block_export(from, from_page, room, err);
    if (status == KG_OK)
        kg_block_import(to, page, room);
    if (status != KG_OK || !shape->index_bits)
        return status;
    status = kg_block_index_export(from, from_page, room, &indexed, err);
    if (status == KG_OK)
        kg_block_index_import(to, page, room, indexed);
    return status;
}

enum kg_status kg_pages_copy(const struct kg_block *from, uint32_t first, struct kg_block *to, uint32_t tokens, struct kg_error *err)
{
    const struct kg_kv_shape *shape = kg_pool_shape(kg_block_pool(to));
    uint8_t *room = calloc(KG_KV_PAGE_BYTES(shape) + KG_INDEX_PAGE_BYTES(shape) + 1, 1); /* for one of them at a time */
    enum kg_status status = room ? kg_block_reserve(to, tokens, err) : kg_fail_nomem(err, "replacing a file");
    for (uint32_t page = 0; page * KG_PAGE < tokens && status == KG_OK; page++)
        status = copy_page(from, first + page, to, page, room, err);
    free(room);
    kg_block_set_ready(to, status == KG_OK ? tokens : 0);
    return status;
}

static struct kg_ids ids_of(const struct kg_block *block)
{
    return (struct kg_ids){ .ids = (int32_t *)kg_block_ids(block), .count = kg_block_tokens(block) }; /* only read */
}

bool kg_former_saw(const struct kg_former *former, const struct kg_session *session, enum kg_read_rule rule, const struct kg_digest *sees)
{
    struct kg_digest earlier[EARLIER_MAX];
    bool any = false;
    for (size_t i = 0; i < former->count; i++) {
        const struct kg_former_part *part = &former->parts[i];
        if (i == EARLIER_MAX)
            return false;
        earlier[i] = part->identity;
        if (part->kept && part->kept_linked != (rule == KG_READ_LINKED))
            return false;
        if (part->kept)
            continue;
        const struct kg_ids ids = ids_of(part->block);
        const struct kg_digest name = kg_part_identity(session, rule, sees, &ids, earlier, i);
        if (memcmp(&name, &part->identity, sizeof name) != 0)
            return false;
        any = true;
    }
    return any;
}

/* The parts of a text that the cache knows; *whole = false when something is missing after all. */
static enum kg_status load_parts(struct kg_session *session, enum kg_read_rule rule, const struct kg_digest *sees, const struct kg_cut *cut,
                                 struct kg_former *out, bool *whole, struct kg_error *err)
{
    struct kg_digest earlier[EARLIER_MAX];
    enum kg_status status = KG_OK;
    *out = (struct kg_former){ .parts = calloc(cut->count + 1, sizeof *out->parts) };
    if (!out->parts)
        return kg_fail_nomem(err, "replacing a file");
    *whole = cut->count <= EARLIER_MAX;
    for (size_t i = 0; i < cut->count && status == KG_OK && *whole; i++) {
        struct kg_former_part *part = &out->parts[i];
        uint32_t ready = 0;
        earlier[i] = part->identity = part->kept_of = kg_part_identity(session, rule, sees, &cut->parts[i], earlier, i);
        const struct kg_digest name = kg_block_name(session->engine, &part->identity);
        status = kg_block_create(session->engine->pool, KG_BLOCK_FILE, &name, (int32_t)kg_block_tokens(session->pieces[0].block), cut->parts[i].ids,
                                 cut->parts[i].count, &part->block, err);
        if (status != KG_OK)
            break;
        out->count++;
        status = kg_kv_store_load(session->engine->kv_store, part->block, &ready, err);
        *whole = ready == cut->parts[i].count;
    }
    return status;
}

enum kg_status kg_former_renew(struct kg_former *former, struct kg_session *session, size_t first, enum kg_read_rule rule, const struct kg_digest *sees,
                               struct kg_error *err)
{
    struct kg_former whole = { 0 };
    struct kg_cut cut = { 0 };
    size_t length = 0;
    uint32_t known = 0;
    bool there = false;
    char *text = kg_file_text(session, first, &length);
    enum kg_status status = text ? kg_cut_text(session, text, length, &cut, err) : kg_fail_nomem(err, "replacing a file");
    if (status == KG_OK)
        status = kg_cut_known(session, rule, &cut, sees, &known, err);
    if (status == KG_OK && known && known == cut.tokens)
        status = load_parts(session, rule, sees, &cut, &whole, &there, err);
    if (status == KG_OK && there) {
        kg_former_free(former);
        *former = whole;
    } else {
        kg_former_free(&whole);
    }
    kg_cut_free(&cut);
    free(text);
    return status;
}

/* Whether the former part saw what the new one is going to see: then its name is the one that its ids have in that sight. */
static bool saw_the_same(const struct kg_former *former, const struct kg_session *session, const struct kg_piece *piece, size_t part)
{
    const struct kg_block *block = former->parts[part].block;
    const struct kg_ids ids = ids_of(block);
    struct kg_digest earlier[EARLIER_MAX];
    for (size_t i = 0; i < part; i++)
        earlier[i] = (piece - part)[i].identity;
    struct kg_digest name = kg_part_identity(session, piece->rule, &piece->sees, &ids, earlier, part);
    return memcmp(&name, &former->parts[part].identity, sizeof name) == 0;
}

enum kg_status kg_former_give(const struct kg_former *former, const struct kg_session *session, size_t first, size_t part, struct kg_error *err)
{
    const struct kg_piece *piece = &session->pieces[first + part];
    const bool apart = piece->rule == KG_READ_ALONE || piece->rule == KG_READ_LINKED; /* a chain saw what is gone */
    if (part >= former->count || part > EARLIER_MAX || !apart || !piece->block || kg_block_known(piece->block) || !saw_the_same(former, session, piece, part))
        return KG_OK;
    const struct kg_block *old = former->parts[part].block;
    const uint32_t same = ids_in_common(old, piece->block), ready = kg_block_ready(old), pages = (same < ready ? same : ready) / KG_PAGE;
    return pages ? kg_pages_copy(old, 0, piece->block, pages * KG_PAGE, err) : KG_OK;
}
