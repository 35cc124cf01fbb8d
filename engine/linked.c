/* What a file includes: headings and texts, read alone, in whose sight the file is read. They are no part of the conversation. */
#include <stdio.h>
#include <stdlib.h>

#include "engine/parts.h"
#include "engine/state.h"

static uint32_t preamble_tokens(const struct kg_session *session)
{
    return kg_block_tokens(session->pieces[0].block);
}

/* A block read alone, under the name that the same text has as a piece of its own. */
static enum kg_status add_block(struct kg_session *session, enum kg_block_kind kind, const struct kg_ids *ids, struct kg_linked *linked,
                                struct kg_digest_stream *sees, struct kg_error *err)
{
    struct kg_piece piece = { .kind = kind, .rule = KG_READ_ALONE };
    piece.identity = kg_alone_identity(session, ids->ids, ids->count);
    struct kg_digest name = kg_block_name(session->engine, &piece.identity);
    enum kg_status status = kg_block_create(session->engine->pool, kind, &name, (int32_t)preamble_tokens(session), ids->ids, ids->count,
                                            &linked->blocks[linked->count], err);
    if (status != KG_OK)
        return status;
    linked->count++;
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
    if (status == KG_OK && end == include->length && text.count && text.count <= *left) {
        status = kg_chat_heading(session->engine->chat, KG_ROLE_SYSTEM, include->path, &heading, err);
        if (status == KG_OK)
            status = add_block(session, KG_BLOCK_HEADING, &heading, linked, sees, err);
        if (status == KG_OK)
            status = add_block(session, KG_BLOCK_FILE, &text, linked, sees, err);
        if (status == KG_OK)
            linked->of[linked->count / 2 - 1] = include;
        *left -= text.count;
    }
    kg_ids_free(&heading);
    kg_ids_free(&text);
    return status;
}

enum kg_status kg_linked_create(struct kg_session *session, const struct kg_include *includes, size_t count, struct kg_linked *out,
                                struct kg_error *err)
{
    size_t left = KG_INCLUDES_TOKENS;
    *out = (struct kg_linked){ .blocks = calloc(2 * count + 1, sizeof(struct kg_block *)), .of = calloc(count + 1, sizeof(struct kg_include *)) };
    struct kg_digest_stream *sees = kg_digest_begin();
    enum kg_status status = out->blocks && out->of && sees ? KG_OK : kg_fail_nomem(err, "reading what a file includes");
    for (size_t i = 0; i < count && status == KG_OK; i++)
        status = add_include(session, &includes[i], &left, out, sees, err);
    if (sees)
        kg_digest_end(sees, &out->sees);
    return status;
}

static enum kg_status read_one(struct kg_session *session, struct kg_block *block, const char *path, struct kg_error *err)
{
    struct kg_engine *engine = session->engine;
    char label[KG_PATH_MAX], text[] = "";
    snprintf(label, sizeof label, "%s", path);
    struct kg_piece piece = { .kind = kg_block_kind(block), .rule = KG_READ_ALONE, .label = label, .text = text, .block = block };
    struct kg_sequence *sequence = NULL;
    if (kg_block_ready(block) == kg_block_tokens(block))
        return KG_OK;
    enum kg_status status = kg_sequence_create(kg_model_shape(engine->model)->trained_length, &sequence, err);
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
    uint32_t unread = 0, ready = 0;
    for (size_t i = 0; i < linked->count; i++) {
        struct kg_block *block = linked->blocks[i];
        struct kg_error err;
        if (session->engine->kv_store && kg_block_ready(block) == 0)
            kg_kv_store_load(session->engine->kv_store, block, &ready, &err); /* what cannot be restored is read */
        unread += kg_block_tokens(block) - kg_block_ready(block);
    }
    return unread;
}

enum kg_status kg_linked_read(struct kg_session *session, const struct kg_linked *linked, struct kg_error *err)
{
    enum kg_status status = kg_session_read(session, 0, NULL, err); /* the preamble */
    for (size_t i = 0; i < linked->count && status == KG_OK; i++)
        status = read_one(session, linked->blocks[i], linked->of[i / 2]->path, err);
    return status;
}

void kg_linked_free(struct kg_linked *linked)
{
    for (size_t i = 0; i < linked->count; i++)
        kg_block_release(linked->blocks[i]);
    free(linked->blocks);
    free(linked->of);
    *linked = (struct kg_linked){ 0 };
}

enum kg_status kg_piece_include(struct kg_piece *piece, const struct kg_linked *linked, struct kg_error *err)
{
    piece->included = calloc(linked->count + 1, sizeof *piece->included);
    if (!piece->included)
        return kg_fail_nomem(err, "reading what a file includes");
    for (size_t i = 0; i < linked->count; i++)
        piece->included[i] = kg_block_keep(linked->blocks[i]);
    piece->included_count = linked->count;
    return KG_OK;
}

void kg_piece_forget_included(struct kg_piece *piece)
{
    for (size_t i = 0; i < piece->included_count; i++)
        kg_block_release(piece->included[i]);
    free(piece->included);
    piece->included = NULL;
    piece->included_count = 0;
}
