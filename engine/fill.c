#include "engine/fill.h"

#include <stdlib.h>
#include <string.h>

/* Tokens in front of each one of a completion that recall looks at without a choice, at least. The same for all texts: what was read
 * with another window would have to be read again, in the middle of somebody's writing. */
#define WINDOW 512

/* The pieces of the completion before. */
struct kept {
    struct kg_piece *pieces;
    size_t count, next;
    bool unchanged; /* all before the next one is as it was */
};

enum kg_status kg_engine_can_fill(const struct kg_engine *engine, struct kg_error *err)
{
    const struct kg_special_ids *special = kg_special_ids(engine->tokenizer);
    if (special->fim_prefix >= 0 && special->fim_suffix >= 0 && special->fim_middle >= 0)
        return KG_OK;
    return kg_fail(err, KG_ERR_UNSUPPORTED, "%s has no tokens for fill-in-the-middle; choose a model that was trained for it, such as Qwen2.5-Coder",
                   kg_model_shape(engine->model)->name);
}

static enum kg_status put_marked(const struct kg_engine *engine, int32_t mark, const char *text, size_t length, struct kg_ids *out, struct kg_error *err)
{
    enum kg_status status = mark < 0 ? KG_OK : kg_ids_push(out, mark, err);
    return status == KG_OK ? kg_tokenize(engine->tokenizer, text, length, false, out, err) : status;
}

static enum kg_status put_fill(const struct kg_engine *engine, enum kg_fill_order order, const struct kg_completion *c, struct kg_ids *out, struct kg_error *err)
{
    const struct kg_special_ids *special = kg_special_ids(engine->tokenizer);
    const bool prefix_first = order == KG_FILL_PREFIX_FIRST;
    enum kg_status status = kg_engine_can_fill(engine, err);
    if (status == KG_OK)
        status = put_marked(engine, special->fim_prefix, c->prefix, prefix_first ? c->prefix_length : 0, out, err);
    if (status == KG_OK)
        status = put_marked(engine, special->fim_suffix, c->suffix, c->suffix_length, out, err);
    return status == KG_OK ? put_marked(engine, special->fim_middle, c->prefix, prefix_first ? 0 : c->prefix_length, out, err) : status;
}

static enum kg_status put_all(const struct kg_fill *fill, const struct kg_completion *c, struct kg_ids *out, struct kg_error *err)
{
    const struct kg_engine *engine = fill->session->engine;
    const struct kg_special_ids *special = kg_special_ids(engine->tokenizer);
    enum kg_status status = fill->options.bare && special->bos >= 0 ? kg_ids_push(out, special->bos, err) : KG_OK;
    if (status == KG_OK && c->path)
        status = kg_chat_heading(engine->chat, KG_ROLE_SYSTEM, c->path, out, err);
    if (status == KG_OK && c->suffix)
        status = put_fill(engine, fill->options.order, c, out, err);
    else if (status == KG_OK)
        status = put_marked(engine, -1, c->prefix, c->prefix_length, out, err);
    if (status == KG_OK && out->count == 0)
        return kg_fail(err, KG_ERR_USAGE, "there is nothing to complete; give a prefix");
    return status;
}

/* What a piece has in common with the one that stood there is read already, when all before them is the same. *whole: nothing is new,
 * its name neither. */
static enum kg_status keep_beginning(struct kept *kept, const int32_t *ids, size_t count, struct kg_piece *piece, bool *whole, struct kg_error *err)
{
    struct kg_piece *old = kept->unchanged && kept->next < kept->count ? &kept->pieces[kept->next++] : NULL;
    size_t same = 0, tokens = old ? kg_block_tokens(old->block) : 0;
    while (same < tokens && same < count && kg_block_ids(old->block)[same] == ids[same])
        same++;
    kept->unchanged = same == count && same == tokens;
    *whole = kept->unchanged && old && !old->growing;
    if (same == 0)
        return KG_OK;
    piece->block = old->block;
    piece->identity = old->identity;
    old->block = NULL;
    kg_block_cut(piece->block, (uint32_t)same);
    enum kg_status status = KG_OK;
    for (size_t i = same; i < count && status == KG_OK; i++)
        status = kg_block_extend(piece->block, ids[i], err);
    return status;
}

static void name(struct kg_session *session, struct kg_piece *piece)
{
    piece->identity = kg_piece_identity(session, (size_t)(piece - session->pieces), piece->base, kg_block_ids(piece->block), kg_block_tokens(piece->block));
    struct kg_digest key = kg_block_name(session->engine, &piece->identity);
    kg_block_set_key(piece->block, &key);
}

/* last: the one that grows, which has no name. */
static enum kg_status place_piece(struct kg_session *session, const int32_t *ids, size_t count, bool last, const char *path, struct kept *kept, struct kg_error *err)
{
    struct kg_piece *piece = kg_piece_add(session, KG_BLOCK_EXCERPT, path, "", 0);
    bool whole = false;
    if (!piece)
        return kg_fail_nomem(err, "completing a text");
    piece->rule = KG_READ_CHAIN;
    piece->growing = last;
    piece->base = kg_sequence_end(session->sequence);
    enum kg_status status = keep_beginning(kept, ids, count, piece, &whole, err);
    bool fresh = !piece->block;
    if (status == KG_OK && fresh)
        status = kg_piece_place(session, session->count - 1, ids, count, -1, NULL, err);
    else if (status == KG_OK)
        status = kg_sequence_place(session->sequence, piece->block, piece->base, err);
    if (status == KG_OK && !last && !fresh && !whole)
        name(session, piece);
    if (status != KG_OK) {
        kg_piece_drop(session, piece);
        kg_piece_clear(piece);
        session->count--;
    }
    return status;
}

/* Takes the pieces of the completion before out of the sequence. */
static enum kg_status lift(struct kg_fill *fill, struct kept *kept, struct kg_error *err)
{
    struct kg_session *session = fill->session;
    size_t count = session->count - fill->front;
    kept->pieces = malloc((count + 1) * sizeof *kept->pieces);
    if (!kept->pieces)
        return kg_fail_nomem(err, "completing a text");
    for (size_t i = 0; i < count; i++) {
        const struct kg_piece *piece = &session->pieces[fill->front + i];
        kept->pieces[i] = *piece;
        kg_sequence_remove(session->sequence, kg_piece_index(session, piece));
    }
    kept->count = count;
    kept->unchanged = true;
    session->count = fill->front;
    return KG_OK;
}

enum kg_status kg_fill_place(struct kg_fill *fill, const struct kg_completion *completion, uint32_t *given, struct kg_error *err)
{
    struct kg_ids ids = { 0 };
    struct kept kept = { .pieces = NULL };
    enum kg_status status = put_all(fill, completion, &ids, err);
    if (status == KG_OK)
        status = lift(fill, &kept, err);
    if (status == KG_OK)
        status = kg_session_make_room(fill->session, ids.count + 1, "the completion", err);
    if (status == KG_OK) {
        const int32_t base = kg_sequence_end(fill->session->sequence);
        const struct kg_digest sight = kg_chain_sight(fill->session);
        kept.unchanged = base == fill->base && memcmp(&sight, &fill->sight, sizeof sight) == 0;
        fill->base = base;
        fill->sight = sight;
    }
    for (size_t at = 0; at < ids.count && status == KG_OK;) {
        size_t left = ids.count - at, count = left < KG_FILL_SEGMENT ? left : KG_FILL_SEGMENT;
        status = place_piece(fill->session, ids.ids + at, count, count == left, completion->path ? completion->path : "", &kept, err);
        at += count;
        *given = (uint32_t)count;
    }
    for (size_t i = 0; i < kept.count; i++)
        kg_piece_clear(&kept.pieces[i]);
    free(kept.pieces);
    kg_ids_free(&ids);
    return status;
}

/* A fork that holds nothing but what is seen. */
static void bare(struct kg_session *session)
{
    while (session->count) {
        struct kg_piece *piece = &session->pieces[session->count - 1];
        kg_piece_drop(session, piece);
        kg_piece_clear(piece);
        session->count--;
    }
    session->rules.look = KG_LOOK_ALL; /* without a preamble there are no first tokens that a look could keep in sight */
}

/* Files that are read through anchors are named by their window, which stays. */
static void widen(struct kg_rules *rules)
{
    if (rules->look == KG_LOOK_RECALL && rules->window < WINDOW)
        rules->window = WINDOW;
}

enum kg_status kg_fill_open(const struct kg_session *session, const struct kg_fill_options *options, struct kg_fill **out, struct kg_error *err)
{
    struct kg_fill *fill = calloc(1, sizeof *fill);
    if (!fill)
        return kg_fail_nomem(err, "completing a text");
    enum kg_status status = kg_session_fork(session, &fill->session, err);
    if (status != KG_OK) {
        free(fill);
        return status;
    }
    if (options->bare)
        bare(fill->session);
    widen(&fill->session->rules);
    fill->session->sees_secret = !options->stored || session->sees_secret;
    fill->session->reading = "the completion";
    fill->options = *options;
    fill->front = fill->session->count;
    *out = fill;
    return KG_OK;
}

void kg_fill_close(struct kg_fill *fill)
{
    if (!fill)
        return;
    kg_session_close(fill->session);
    free(fill);
}
