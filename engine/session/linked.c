/* What a file includes: headings and texts, read alone, in whose sight the file is read. They are no part of the conversation. */
#include <stdlib.h>
#include <string.h>

#include "engine/session/parts.h"
#include "engine/state.h"

static uint32_t preamble_tokens(const struct kg_session *session)
{
    return kg_block_tokens(session->pieces[0].block);
}

/* A block read alone, under the name that the same text has as a piece of its own. */
static enum kg_status add_block(struct kg_session *session, enum kg_block_kind kind, const struct kg_include *include, const struct kg_ids *ids,
                                struct kg_linked *linked, struct kg_digest_stream *sees, struct kg_error *err)
{
    struct kg_included *included = &linked->blocks[linked->count];
    struct kg_piece piece = { .kind = kind, .rule = KG_READ_ALONE };
    piece.identity = kg_part_identity(session, KG_READ_ALONE, NULL, ids, NULL, 0);
    struct kg_digest name = kg_block_name(session->engine, &piece.identity);
    enum kg_status status = kg_block_create(session->engine->pool, kind, &name, (int32_t)preamble_tokens(session), ids->ids, ids->count,
                                            &included->block, err);
    if (status != KG_OK)
        return status;
    linked->count++;
    included->content = kg_digest_of(include->text, include->length);
    included->path = strdup(include->path);
    if (!included->path)
        return kg_fail_nomem(err, "reading what a file includes");
    kg_digest_add(sees, piece.identity.bytes, sizeof piece.identity.bytes);
    return KG_OK;
}

/* Texts that are longer than one part, or than what is left of the budget, are left out. */
static enum kg_status add_include(struct kg_session *session, const struct kg_include *include, size_t *left, struct kg_linked *linked,
                                  struct kg_digest_stream *sees, struct kg_error *err)
{
    struct kg_ids heading = { 0 }, text = { 0 };
    size_t end = 0;
    enum kg_status status = kg_part_end(session->engine->tokenizer, include->text, include->length, &text, &end, err);
    if (status == KG_OK)
        status = kg_chat_heading(session->engine->chat, KG_ROLE_SYSTEM, include->path, &heading, err);
    if (status == KG_OK && end == include->length && text.count && heading.count + text.count <= *left) {
        status = add_block(session, KG_BLOCK_HEADING, include, &heading, linked, sees, err);
        if (status == KG_OK)
            status = add_block(session, KG_BLOCK_FILE, include, &text, linked, sees, err);
        *left -= heading.count + text.count;
    }
    kg_ids_free(&heading);
    kg_ids_free(&text);
    return status;
}

enum kg_status kg_linked_create(struct kg_session *session, const struct kg_include *includes, size_t count, size_t tokens,
                                struct kg_linked *out, struct kg_error *err)
{
    const size_t limit = kg_model_shape(session->engine->model)->trained_length, taken = preamble_tokens(session) + tokens;
    size_t left = taken < limit ? limit - taken : 0;
    left = left < KG_INCLUDES_TOKENS ? left : KG_INCLUDES_TOKENS;
    *out = (struct kg_linked){ .blocks = calloc(2 * count + 1, sizeof(struct kg_included)) };
    struct kg_digest_stream *sees = kg_digest_begin();
    enum kg_status status = out->blocks && sees ? KG_OK : kg_fail_nomem(err, "reading what a file includes");
    for (size_t i = 0; i < count && status == KG_OK; i++)
        status = add_include(session, &includes[i], &left, out, sees, err);
    if (sees)
        kg_digest_end(sees, &out->sees);
    return status;
}

static enum kg_status read_one(struct kg_session *session, const struct kg_included *included, struct kg_error *err)
{
    struct kg_block *block = included->block;
    char text[] = "";
    struct kg_piece piece = { .kind = kg_block_kind(block), .rule = KG_READ_ALONE, .label = included->path, .text = text, .content = included->content,
                              .block = block };
    struct kg_sequence *sequence = NULL;
    if (kg_block_ready(block) == kg_block_tokens(block))
        return KG_OK;
    enum kg_status status = kg_sequence_create(kg_model_shape(session->engine->model)->trained_length, &sequence, err);
    if (status == KG_OK)
        status = kg_sequence_append(sequence, session->pieces[0].block, err);
    if (status == KG_OK)
        status = kg_sequence_append(sequence, block, err);
    if (status == KG_OK)
        status = kg_session_read_block(session, &piece, sequence, 1, NULL, err);
    kg_sequence_free(sequence);
    return status;
}

uint32_t kg_linked_unread(struct kg_session *session, const struct kg_linked *linked)
{
    uint32_t unread = 0, known = 0;
    for (size_t i = 0; i < linked->count; i++) {
        struct kg_block *block = linked->blocks[i].block;
        struct kg_error err;
        if (session->engine->kv_store && kg_block_known(block) == 0)
            kg_kv_store_offer(session->engine->kv_store, block, &known, &err); /* what cannot be restored is read */
        unread += kg_block_tokens(block) - kg_block_known(block);
    }
    return unread;
}

enum kg_status kg_included_read(struct kg_session *session, const struct kg_piece *piece, struct kg_error *err)
{
    const uint64_t computed = session->computed_since;
    enum kg_status status = kg_session_read(session, 0, NULL, err); /* the preamble */
    for (size_t i = 0; i < piece->included_count; i++)
        session->reading_total += kg_block_tokens(piece->included[i].block) - kg_block_ready(piece->included[i].block);
    for (size_t i = 0; i < piece->included_count && status == KG_OK; i++)
        status = read_one(session, &piece->included[i], err);
    session->computed_since = computed; /* counts tell of what is in context */
    return status;
}

static void release(struct kg_included *included, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        kg_block_release(included[i].block);
        free(included[i].path);
    }
    free(included);
}

void kg_linked_free(struct kg_linked *linked)
{
    release(linked->blocks, linked->count);
    *linked = (struct kg_linked){ 0 };
}

enum kg_status kg_piece_include(struct kg_piece *piece, const struct kg_linked *linked, struct kg_error *err)
{
    piece->included = calloc(linked->count + 1, sizeof *piece->included);
    for (size_t i = 0; piece->included && i < linked->count; i++) {
        struct kg_included *included = &piece->included[piece->included_count];
        included->path = strdup(linked->blocks[i].path);
        if (!included->path)
            return kg_fail_nomem(err, "reading what a file includes");
        included->content = linked->blocks[i].content;
        included->block = kg_block_keep(linked->blocks[i].block);
        piece->included_count++;
    }
    return piece->included ? KG_OK : kg_fail_nomem(err, "reading what a file includes");
}

void kg_piece_forget_included(struct kg_piece *piece)
{
    release(piece->included, piece->included_count);
    piece->included = NULL;
    piece->included_count = 0;
}
