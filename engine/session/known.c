/* What of a file the cache knows, as a conversation would find it. */
#include <stdlib.h>
#include <string.h>

#include "engine/state.h"

/* Tokens of which the cache has the keys and values: of a part read by its line anchors all or nothing. */
static enum kg_status known_of(struct kg_session *session, enum kg_read_rule rule, const struct kg_digest *identity, const struct kg_ids *ids,
                               uint32_t *known, struct kg_error *err)
{
    struct kg_engine *engine = session->engine;
    struct kg_digest name = kg_block_name(engine, identity);
    if (rule != KG_READ_ANCHORS)
        return kg_kv_store_known(engine->kv_store, &name, ids->ids, (uint32_t)ids->count, known, err);
    uint32_t *kept = NULL, count = 0;
    enum kg_status status = kg_line_anchors_in(engine->anchors, ids->ids, (uint32_t)ids->count, &kept, &count, err);
    int32_t *stay = status == KG_OK ? malloc((count + 1) * sizeof *stay) : NULL;
    for (uint32_t i = 0; stay && i < count; i++)
        stay[i] = ids->ids[kept[i]];
    if (status == KG_OK)
        status = stay ? kg_kv_store_known(engine->kv_store, &name, stay, count, known, err) : kg_fail_nomem(err, "looking up a file");
    *known = status == KG_OK && count && *known == count ? (uint32_t)ids->count : 0;
    free(kept);
    free(stay);
    return status;
}

enum kg_status kg_cut_known(struct kg_session *session, enum kg_read_rule rule, const struct kg_cut *cut, const struct kg_digest *sees, uint32_t *out,
                            struct kg_error *err)
{
    *out = 0;
    if (!session->engine->kv_store)
        return KG_OK;
    struct kg_digest *identities = malloc((cut->count + 1) * sizeof *identities);
    enum kg_status status = KG_OK;
    if (!identities)
        return kg_fail_nomem(err, "looking up a file");
    for (size_t i = 0; i < cut->count && status == KG_OK; i++) {
        uint32_t known = 0;
        identities[i] = kg_part_identity(session, rule, sees, &cut->parts[i], identities, i);
        if (cut->parts[i].count)
            status = known_of(session, rule, &identities[i], &cut->parts[i], &known, err);
        *out += known;
    }
    free(identities);
    return status;
}

static enum kg_status includes_unknown(struct kg_session *session, const struct kg_linked *linked, uint32_t *out, struct kg_error *err)
{
    enum kg_status status = KG_OK;
    *out = 0;
    for (size_t i = 0; i < linked->count && status == KG_OK; i++) {
        const struct kg_block *block = linked->blocks[i].block;
        uint32_t known = 0;
        status = kg_kv_store_known(session->engine->kv_store, kg_block_key(block), kg_block_ids(block), kg_block_tokens(block), &known, err);
        *out += kg_block_tokens(block) - known;
    }
    return status;
}

/* The reading in sight of what the file includes; where that would be put off (kg_session_add_linked), the one alone. */
static enum kg_status linked_known(struct kg_session *session, const struct kg_cut *cut, const struct kg_linked *linked, uint32_t read_now, uint32_t *known,
                                   struct kg_error *err)
{
    uint32_t unread = 0;
    enum kg_status status = kg_cut_known(session, KG_READ_LINKED, cut, &linked->sees, known, err);
    if (status == KG_OK && *known < cut->tokens)
        status = includes_unknown(session, linked, &unread, err);
    return status == KG_OK && unread > read_now ? kg_cut_known(session, KG_READ_ALONE, cut, NULL, known, err) : status;
}

enum kg_status kg_session_known(struct kg_session *session, const char *text, size_t length, const struct kg_include *includes, size_t count,
                                uint32_t read_now, struct kg_known *out, struct kg_error *err)
{
    enum kg_read_rule rule = kg_session_rule(session, KG_BLOCK_FILE);
    struct kg_cut cut = { 0 };
    struct kg_linked linked = { 0 };
    *out = (struct kg_known){ 0 };
    if (rule == KG_READ_CHAIN)
        return kg_fail(err, KG_ERR_UNSUPPORTED, "with policy %s what is known of a file depends on the conversation; choose another policy",
                       kg_policy_name(session->policy));
    enum kg_status status = kg_cut_text(session, text, length, &cut, err);
    out->tokens = (uint32_t)cut.tokens;
    if (status == KG_OK && !session->engine->kv_store) {
        kg_cut_free(&cut);
        return KG_OK;
    }
    if (status == KG_OK && rule == KG_READ_LINKED && count)
        status = kg_linked_create(session, includes, count, cut.tokens, &linked, err);
    if (status == KG_OK && linked.count)
        status = linked_known(session, &cut, &linked, read_now, &out->known, err);
    else if (status == KG_OK)
        status = kg_cut_known(session, rule == KG_READ_LINKED ? KG_READ_ALONE : rule, &cut, NULL, &out->known, err);
    kg_linked_free(&linked);
    kg_cut_free(&cut);
    return status;
}
