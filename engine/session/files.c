/* Files of a conversation: in, out, replaced, carried over into a cleared one. */
#include <stdlib.h>
#include <string.h>

#include "engine/session/parts.h"
#include "engine/state.h"

static struct kg_piece *find_file(struct kg_session *session, const char *path)
{
    for (size_t i = 0; i < session->count; i++) {
        struct kg_piece *piece = &session->pieces[i];
        if (piece->kind == KG_BLOCK_FILE && !piece->continues && !piece->dropped && strcmp(piece->label, path) == 0)
            return piece;
    }
    return NULL;
}

static size_t file_at(struct kg_session *session, const char *path)
{
    const struct kg_piece *piece = find_file(session, path);
    return piece ? (size_t)(piece - session->pieces) : session->count;
}

/* Everything is moved up to close the gaps that dropped blocks left. Keys are stored at block-local positions, so no
 * block changes; what is asked from now on is computed with the new distances. */
static enum kg_status close_gaps(struct kg_session *session, struct kg_error *err)
{
    struct kg_sequence *closed = NULL;
    enum kg_status status = kg_sequence_create(kg_model_shape(session->engine->model)->trained_length, &closed, err);
    for (size_t i = 0; i < kg_sequence_count(session->sequence) && status == KG_OK; i++)
        status = kg_sequence_append(closed, kg_sequence_block(session->sequence, i), err);
    if (status != KG_OK) {
        if (closed)
            kg_sequence_free(closed);
        return status;
    }
    for (size_t i = 0; i < session->count; i++) { /* pieces stand in the order of the sequence */
        size_t at = session->pieces[i].block ? kg_piece_index(session, &session->pieces[i]) : SIZE_MAX;
        if (at != SIZE_MAX)
            session->pieces[i].stored_base = kg_sequence_base(closed, at);
    }
    kg_sequence_free(session->sequence);
    session->sequence = closed;
    session->counts.moved++;
    for (size_t i = 0; i < session->count; i++) { /* here they have moved, whatever the store says */
        if (!session->pieces[i].block)
            continue;
        session->pieces[i].base = session->pieces[i].stored_base;
        if (status == KG_OK)
            status = kg_piece_store(session, &session->pieces[i], err);
    }
    return status;
}

/* KG_OK when so many more tokens fit, if need be after closing gaps. */
enum kg_status kg_session_make_room(struct kg_session *session, size_t tokens, const char *what, struct kg_error *err)
{
    size_t limit = kg_model_shape(session->engine->model)->trained_length;
    size_t end = (size_t)kg_sequence_end(session->sequence);
    if (end + tokens <= limit)
        return KG_OK;
    if (kg_sequence_tokens(session->sequence) + tokens <= limit)
        return close_gaps(session, err);
    return kg_fail(err, KG_ERR_FULL, "%s needs %zu tokens, and %u of the model's %zu are taken; drop files, or summarise or clear the conversation", what, tokens,
                   kg_sequence_tokens(session->sequence), limit);
}

/* linked: what the file includes; NULL if nothing. */
static enum kg_status place_piece(struct kg_session *session, enum kg_block_kind kind, const char *path, const char *text, size_t length,
                                  const struct kg_ids *ids, bool secret, bool continues, const struct kg_linked *linked, struct kg_error *err)
{
    struct kg_piece *piece = kg_piece_add(session, kind, path, text, length);
    if (!piece)
        return kg_fail_nomem(err, "adding a file");
    piece->rule = kg_session_rule(session, kind);
    if (piece->rule == KG_READ_LINKED && !linked)
        piece->rule = KG_READ_ALONE;
    if (piece->rule == KG_READ_LINKED)
        piece->sees = linked->sees;
    piece->secret = secret;
    piece->continues = continues;
    enum kg_status status = ids->count ? kg_piece_place(session, session->count - 1, ids->ids, ids->count, -1, NULL, err) : KG_OK;
    if (status == KG_OK && piece->rule == KG_READ_LINKED && piece->block && kg_block_known(piece->block) < kg_block_tokens(piece->block))
        status = kg_piece_include(piece, linked, err);
    if (status == KG_OK)
        return kg_piece_store(session, piece, err);
    kg_piece_drop(session, piece);
    kg_piece_clear(piece);
    session->count--;
    return status;
}

void kg_cut_free(struct kg_cut *cut)
{
    for (size_t i = 0; i < cut->count; i++)
        kg_ids_free(&cut->parts[i]);
    free(cut->parts);
    free(cut->ends);
}

enum kg_status kg_cut_text(const struct kg_session *session, const char *text, size_t length, struct kg_cut *cut, struct kg_error *err)
{
    size_t limit = kg_model_shape(session->engine->model)->trained_length;
    enum kg_status status = KG_OK;
    for (size_t at = 0; (at < length || cut->count == 0) && status == KG_OK && cut->tokens <= limit;) {
        struct kg_ids *parts = realloc(cut->parts, (cut->count + 1) * sizeof *parts);
        if (parts)
            cut->parts = parts;
        size_t *ends = realloc(cut->ends, (cut->count + 1) * sizeof *ends);
        if (ends)
            cut->ends = ends;
        if (!parts || !ends)
            return kg_fail_nomem(err, "adding a file");
        struct kg_ids *ids = &cut->parts[cut->count];
        *ids = (struct kg_ids){ 0 };
        size_t end = 0;
        cut->count++;
        status = kg_part_end(session->engine->tokenizer, text + at, length - at, ids, &end, err);
        at += end;
        cut->ends[cut->count - 1] = at;
        cut->tokens += ids->count;
    }
    return status;
}

static enum kg_status add_cut(struct kg_session *session, const char *path, const char *text, size_t length, bool secret, const struct kg_cut *cut,
                              const struct kg_linked *linked, const struct kg_former *former, struct kg_error *err)
{
    struct kg_ids heading = { 0 };
    enum kg_status status = kg_chat_heading(session->engine->chat, kg_session_role(session), path, &heading, err);
    if (status == KG_OK)
        status = kg_session_make_room(session, heading.count + cut->tokens, path, err);
    if (status == KG_OK)
        status = place_piece(session, KG_BLOCK_HEADING, path, "", 0, &heading, secret, false, NULL, err);
    size_t first = session->count, at = 0;
    for (size_t i = 0; i < cut->count && status == KG_OK; i++) {
        status = place_piece(session, KG_BLOCK_FILE, path, text + at, cut->ends[i] - at, &cut->parts[i], secret, i > 0, linked, err);
        at = cut->ends[i];
        if (status == KG_OK)
            status = kg_former_give(former, session, first, i, err);
    }
    if (status == KG_OK)
        session->pieces[first].content = kg_digest_of(text, length);
    session->sees_secret = session->sees_secret || secret;
    kg_ids_free(&heading);
    return status;
}

/* What the file includes matters only if the file itself, which was placed last, has to be read. */
static bool is_unread(struct kg_session *session, const char *path)
{
    for (const struct kg_piece *piece = find_file(session, path); piece && piece < session->pieces + session->count; piece++)
        if (piece->included)
            return true;
    return false;
}

/* The file that was placed last, all parts of it, as one that includes nothing. */
static enum kg_status place_alone(void *ctx, struct kg_session *session, struct kg_error *err)
{
    const struct kg_placing *placing = ctx;
    const struct kg_cut *cut = placing->cut;
    const size_t at = session->count - cut->count;
    enum kg_status status = KG_OK;
    for (size_t i = 0; i < cut->count; i++)
        kg_piece_drop(session, &session->pieces[at + i]);
    for (size_t i = 0; i < cut->count && status == KG_OK; i++) {
        struct kg_piece *piece = &session->pieces[at + i];
        piece->dropped = false;
        piece->rule = KG_READ_ALONE;
        status = kg_piece_place(session, at + i, cut->parts[i].ids, cut->parts[i].count, -1, NULL, err);
        if (status == KG_OK)
            status = kg_former_give(placing->former, session, at, i, err);
        if (status == KG_OK)
            status = kg_piece_store(session, piece, err);
    }
    return status;
}

/* A file of which a part is missing is none. */
static void drop_last(void *ctx, struct kg_session *session)
{
    const struct kg_placing *placing = ctx;
    const size_t at = session->count - placing->cut->count;
    for (size_t i = at - 1; i < session->count; i++) { /* with its heading */
        kg_piece_drop(session, &session->pieces[i]);
        session->pieces[i].dropped = true;
    }
}

bool kg_session_has_file(struct kg_session *session, const char *path, const char *text, size_t length)
{
    const struct kg_piece *present = find_file(session, path);
    struct kg_digest content = kg_digest_of(text, length);
    return present && memcmp(&present->content, &content, sizeof content) == 0;
}

enum kg_status kg_session_add_file(struct kg_session *session, const char *path, const char *text, size_t length, bool secret, struct kg_error *err)
{
    return kg_session_add_linked(session, path, text, length, secret, NULL, 0, 0, err);
}

/* Tokens of the file that was placed last that have to be read. */
static uint32_t unread_tokens(struct kg_session *session, const char *path)
{
    uint32_t tokens = 0;
    for (const struct kg_piece *piece = find_file(session, path); piece && piece < session->pieces + session->count; piece++)
        if (piece->block)
            tokens += kg_block_tokens(piece->block) - kg_block_ready(piece->block);
    return tokens;
}

static enum kg_status place_whole(void *ctx, struct kg_session *session, struct kg_error *err)
{
    const struct kg_placing *placing = ctx;
    const struct kg_linked *linked = placing->linked;
    enum kg_status status = placing->present ? kg_session_drop_file(session, placing->path, err) : KG_OK;
    if (status == KG_OK)
        status = add_cut(session, placing->path, placing->text, placing->length, placing->secret, placing->cut, linked, placing->former, err);
    if (status == KG_OK && linked && is_unread(session, placing->path) && kg_linked_unread(session, linked) > placing->read_now)
        status = place_alone(ctx, session, err);
    return status;
}

/* Places a file at the end, in sight of what it includes unless more than read_now tokens of that would have to be read first. */
static enum kg_status place_file(struct kg_session *session, const char *path, const char *text, size_t length, bool secret,
                                 const struct kg_include *includes, size_t count, uint32_t read_now, struct kg_cut *cut,
                                 struct kg_former *former, struct kg_error *err)
{
    struct kg_linked linked = { 0 };
    if (length > KG_FILE_MAX)
        return kg_fail(err, KG_ERR_RANGE, "%s has %zu bytes; at most %zu can be read at once", path, length, KG_FILE_MAX);
    const struct kg_piece *present = find_file(session, path);
    bool patched = false;
    enum kg_status status = kg_cut_text(session, text, length, cut, err);
    if (status == KG_OK && count && kg_session_rule(session, KG_BLOCK_FILE) == KG_READ_LINKED)
        status = kg_linked_create(session, includes, count, cut->tokens, &linked, err);
    const struct kg_linked *sees = linked.count ? &linked : NULL;
    struct kg_placing placing = { .path = path, .text = text, .length = length, .secret = secret, .cut = cut, .linked = sees, .former = former,
                                        .present = present ? (size_t)(present - session->pieces) : 0, .read_now = read_now };
    if (status == KG_OK && present)
        status = kg_former_take(session, present, former, err);
    if (status == KG_OK && present)
        status = kg_patch_place(session, &placing, &patched, err);
    if (status == KG_OK && !patched)
        status = kg_session_together(session, &(struct kg_change){ .make = place_whole, .ctx = &placing }, err);
    kg_linked_free(&linked);
    return status;
}

enum kg_status kg_session_add_linked(struct kg_session *session, const char *path, const char *text, size_t length, bool secret,
                                     const struct kg_include *includes, size_t count, uint32_t read_now, struct kg_error *err)
{
    struct kg_cut cut = { 0 };
    struct kg_former former = { 0 };
    enum kg_status status = KG_OK;
    if (!kg_session_has_file(session, path, text, length))
        status = place_file(session, path, text, length, secret, includes, count, read_now, &cut, &former, err);
    kg_former_free(&former);
    kg_cut_free(&cut);
    return status == KG_OK ? kg_session_read_all(session, err) : status;
}

enum kg_status kg_session_add_known(struct kg_session *session, const char *path, const char *text, size_t length, const struct kg_include *includes,
                                    size_t count, uint32_t *left, struct kg_error *err)
{
    struct kg_cut cut = { 0 };
    struct kg_former former = { 0 };
    if (kg_session_has_file(session, path, text, length))
        return KG_OK;
    enum kg_status status = place_file(session, path, text, length, false, includes, count, 0, &cut, &former, err);
    if (status == KG_OK && unread_tokens(session, path) > *left && !kg_file_is_patched(session, file_at(session, path))) { /* it may be known alone */
        struct kg_error lost;
        struct kg_placing placing = { .path = path, .cut = &cut, .former = &former };
        status = kg_session_together(session, &(struct kg_change){ .make = place_alone, .undo = drop_last, .ctx = &placing }, err);
        if (status != KG_OK)
            kg_session_drop_file(session, path, &lost);
    }
    kg_former_free(&former);
    kg_cut_free(&cut);
    if (status != KG_OK)
        return status;
    uint32_t unread = unread_tokens(session, path);
    if (unread > *left) {
        status = kg_session_drop_file(session, path, err);
        return status == KG_OK ? kg_fail(err, KG_ERR_NOT_FOUND, "%u tokens of %s are not read yet", unread, path) : status;
    }
    *left -= unread;
    return kg_session_read_all(session, err);
}

enum kg_status kg_session_read_ahead(struct kg_session *session, const char *path, const char *text, size_t length, const struct kg_include *includes,
                                     size_t count, uint64_t *computed, struct kg_error *err)
{
    const size_t before = session->count;
    const uint64_t ever = session->computed_ever;
    if (session->stored_id)
        return kg_fail(err, KG_ERR_USAGE, "a conversation that is kept cannot read %s ahead", path);
    enum kg_status status = kg_session_add_linked(session, path, text, length, false, includes, count, UINT32_MAX, err);
    kg_session_cut(session, before);
    if (computed)
        *computed = session->computed_ever - ever;
    return status;
}

/* A heading that opened a role stays while another file stands in that role behind it. */
static bool holds_role(const struct kg_session *session, size_t heading)
{
    bool opens = false;
    for (size_t i = heading; i-- > 0;)
        if (session->pieces[i].block) {
            opens = session->pieces[i].kind == KG_BLOCK_ANSWER || session->pieces[i].kind == KG_BLOCK_TURN;
            break;
        }
    for (size_t i = heading + 1; opens && i < session->count; i++)
        if (session->pieces[i].block && session->pieces[i].kind != KG_BLOCK_FILE)
            return session->pieces[i].kind == KG_BLOCK_HEADING;
    return false;
}

enum kg_status kg_session_drop_file(struct kg_session *session, const char *path, struct kg_error *err)
{
    struct kg_piece *first = find_file(session, path);
    if (!first)
        return kg_fail(err, KG_ERR_NOT_FOUND, "%s is not in context; /files lists what is", path);
    size_t at = (size_t)(first - session->pieces), end = at + 1;
    while (end < session->count && session->pieces[end].continues)
        end++;
    if (at > 0 && session->pieces[at - 1].kind == KG_BLOCK_HEADING && !holds_role(session, at - 1))
        at--;
    return kg_session_drop(session, at, end, NULL, err);
}

char *kg_file_text(const struct kg_session *session, size_t first, size_t *length)
{
    size_t end = first + 1;
    *length = session->pieces[first].length;
    for (; end < session->count && session->pieces[end].continues; end++)
        *length += session->pieces[end].length;
    char *text = malloc(*length + 1);
    size_t at = 0;
    for (size_t i = first; text && i < end; at += session->pieces[i++].length)
        memcpy(text + at, session->pieces[i].text, session->pieces[i].length);
    return text;
}

/* Blocks that did not see the conversation stand in a new one as they are, and what was read again in sight of it as it was before. */
static enum kg_status carry_block(const struct kg_session *from, size_t at, struct kg_session *to, struct kg_error *err)
{
    const struct kg_piece *old = &from->pieces[at];
    enum kg_status status = kg_session_make_room(to, kg_block_tokens(old->block), old->label, err);
    if (status != KG_OK)
        return status;
    struct kg_piece *piece = kg_piece_add(to, old->kind, old->label, old->text, old->length);
    if (!piece)
        return kg_fail_nomem(err, "clearing a conversation");
    piece->rule = old->rule;
    piece->secret = old->secret;
    piece->continues = old->continues;
    piece->content = old->content;
    piece->identity = old->identity;
    piece->sees = old->sees;
    piece->kept_of = old->kept_of;
    piece->kept_first = old->kept_first;
    piece->kept_changed = old->kept_changed;
    piece->kept_linked = old->kept_linked;
    piece->base = kg_sequence_end(to->sequence);
    to->sees_secret = to->sees_secret || old->secret;
    if (old->rule == KG_READ_AGAIN) {
        piece->rule = old->kept_linked ? KG_READ_LINKED : KG_READ_ALONE;
        status = kg_piece_place(to, to->count - 1, kg_block_ids(old->block), kg_block_tokens(old->block), piece->base, &old->kept_of, err);
        return status == KG_OK ? kg_piece_store(to, piece, err) : status;
    }
    piece->block = kg_block_keep(old->block);
    if (old->included)
        status = kg_piece_include(piece, &(struct kg_linked){ .blocks = old->included, .count = old->included_count }, err);
    if (status == KG_OK)
        status = kg_sequence_place(to->sequence, piece->block, piece->base, err);
    return status == KG_OK ? kg_piece_store(to, piece, err) : status;
}

/* A heading opens a role where it stood behind a turn, so in the new conversation each file gets its own. */
static enum kg_status carry_file(const struct kg_session *from, size_t first, struct kg_session *to, struct kg_error *err)
{
    const char *path = from->pieces[first].label;
    struct kg_ids heading = { 0 };
    enum kg_status status = kg_chat_heading(to->engine->chat, kg_session_role(to), path, &heading, err);
    if (status == KG_OK)
        status = kg_session_make_room(to, heading.count, path, err);
    if (status == KG_OK)
        status = place_piece(to, KG_BLOCK_HEADING, path, "", 0, &heading, from->pieces[first].secret, false, NULL, err);
    kg_ids_free(&heading);
    size_t at = first;
    while (status == KG_OK && (at == first || (at < from->count && from->pieces[at].continues)))
        status = carry_block(from, at++, to, err);
    return status;
}

static enum kg_status carry_files(const struct kg_session *from, struct kg_session *to, struct kg_error *err)
{
    enum kg_status status = KG_OK;
    for (size_t i = 0; i < from->count && status == KG_OK; i++) {
        const struct kg_piece *piece = &from->pieces[i];
        if (piece->kind != KG_BLOCK_FILE || piece->dropped || piece->continues)
            continue;
        if (piece->rule != KG_READ_CHAIN && piece->block) {
            status = carry_file(from, i, to, err);
            continue;
        }
        size_t length;
        char *text = kg_file_text(from, i, &length);
        status = text ? kg_session_add_file(to, piece->label, text, length, piece->secret, err) : kg_fail_nomem(err, "clearing a conversation");
        free(text);
    }
    return status;
}

enum kg_status kg_session_clear(struct kg_session *session, struct kg_error *err)
{
    struct kg_session_options options = {
        .repository = session->repository[0] ? session->repository : NULL,
        .policy = session->policy,
        .recall = session->recall,
        .unsaved = session->stored_id == 0,
        .drafts_off = session->drafts_off,
    };
    struct kg_session *fresh = NULL;
    enum kg_status status = kg_session_open(session->engine, &options, &fresh, err);
    if (status == KG_OK)
        status = carry_files(session, fresh, err);
    for (size_t i = 0; i < session->pin_count && status == KG_OK; i++)
        status = kg_session_pin(fresh, session->pins[i], true, err);
    if (status == KG_OK) { /* the caller's handle goes on as the fresh session */
        struct kg_session old = *session;
        *session = *fresh;
        *fresh = old;
    }
    kg_session_close(fresh);
    return status;
}
