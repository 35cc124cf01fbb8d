/* An edited file is read again from the first page that the edit touches: what stands before follows from the same ids in the same
 * sight, so that its keys and values are the same, bit for bit. */
#include <stdlib.h>
#include <string.h>

#include "engine/state.h"

#define EARLIER_MAX 64 /* parts of a file before the one in question */

enum kg_status kg_former_take(const struct kg_session *session, const struct kg_piece *first, struct kg_former *out, struct kg_error *err)
{
    const size_t most = (size_t)(session->pieces + session->count - first);
    *out = (struct kg_former){ .parts = calloc(most, sizeof *out->parts) };
    if (!out->parts)
        return kg_fail_nomem(err, "replacing a file");
    for (size_t i = 0; i < most && (i == 0 || first[i].continues) && first[i].block; i++)
        out->parts[out->count++] = (struct kg_former_part){ kg_block_keep(first[i].block), first[i].identity };
    return KG_OK;
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

static enum kg_status copy_page(const struct kg_block *from, struct kg_block *to, uint32_t page, uint8_t *room, struct kg_error *err)
{
    const struct kg_kv_shape *shape = kg_pool_shape(kg_block_pool(to));
    uint32_t indexed = 0;
    enum kg_status status = kg_block_export(from, page, room, err);
    if (status == KG_OK)
        kg_block_import(to, page, room);
    if (status != KG_OK || !shape->index_bits)
        return status;
    status = kg_block_index_export(from, page, room, &indexed, err);
    if (status == KG_OK)
        kg_block_index_import(to, page, room, indexed);
    return status;
}

static enum kg_status copy_pages(const struct kg_block *from, struct kg_block *to, uint32_t pages, struct kg_error *err)
{
    const struct kg_kv_shape *shape = kg_pool_shape(kg_block_pool(to));
    uint8_t *room = calloc(KG_KV_PAGE_BYTES(shape) + KG_INDEX_PAGE_BYTES(shape) + 1, 1); /* for one of them at a time */
    enum kg_status status = room ? kg_block_reserve(to, pages * KG_PAGE, err) : kg_fail_nomem(err, "replacing a file");
    for (uint32_t page = 0; page < pages && status == KG_OK; page++)
        status = copy_page(from, to, page, room, err);
    free(room);
    kg_block_set_ready(to, status == KG_OK ? pages * KG_PAGE : 0);
    return status;
}

/* Whether the former part saw what the new one is going to see: then its name is the one that its ids have in that sight. */
static bool saw_the_same(const struct kg_former *former, const struct kg_session *session, const struct kg_piece *piece, size_t part)
{
    const struct kg_block *block = former->parts[part].block;
    const struct kg_ids ids = { .ids = (int32_t *)kg_block_ids(block), .count = kg_block_tokens(block) }; /* only read */
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
    return pages ? copy_pages(old, piece->block, pages, err) : KG_OK;
}
