/* A file that was edited, put together from what is kept of it and what is read. */
#include <stdlib.h>
#include <string.h>

#include "engine/session/matched.h"
#include "engine/state.h"

/* The texts, and how far the new one is planned. */
struct plan {
    const struct kg_former *former;
    size_t clean;      /* former parts before the first kept one */
    uint32_t *starts;  /* of the former parts, and the end */
    int32_t *old;      /* ids, former->count parts */
    int32_t *match;    /* for each of them the token of the new text, or -1 */
    uint32_t head;     /* tokens that both begin with */
    uint32_t at;       /* of the new text */
    size_t part;       /* from which on something may be kept */
    uint32_t page;
    struct kg_patch *out;
    bool full;         /* too many pieces */
};

static bool is_reused(const struct kg_former *former, const struct kg_patch *patch, size_t run)
{
    const struct kg_patch_run *r = &patch->runs[run];
    return r->part != KG_PATCH_UNREAD && (run < patch->same || (former->parts[r->part].kept && r->count == kg_block_tokens(former->parts[r->part].block)));
}

static enum kg_status compare(struct plan *plan, const int32_t *ids, uint32_t count, struct kg_error *err)
{
    const struct kg_former *former = plan->former;
    uint32_t total = 0;
    for (size_t i = 0; i < former->count; i++)
        total += kg_block_tokens(former->parts[i].block);
    plan->starts = calloc(former->count + 1, sizeof *plan->starts);
    plan->old = calloc(total + 1UL, sizeof *plan->old);
    plan->match = calloc(total + 1UL, sizeof *plan->match);
    if (!plan->starts || !plan->old || !plan->match)
        return kg_fail_nomem(err, "replacing a file");
    plan->clean = former->count;
    for (size_t i = 0, at = 0; i < former->count; i++) {
        const struct kg_block *block = former->parts[i].block;
        memcpy(plan->old + at, kg_block_ids(block), kg_block_tokens(block) * sizeof *plan->old);
        at += kg_block_tokens(block);
        plan->starts[i + 1] = (uint32_t)at;
        if (former->parts[i].kept && i < plan->clean)
            plan->clean = i;
    }
    while (plan->head < total && plan->head < count && plan->old[plan->head] == ids[plan->head])
        plan->head++;
    return kg_tokens_match(plan->old, total, ids, count, plan->match, err);
}

static void add_run(struct plan *plan, size_t part, uint32_t first, uint32_t count)
{
    plan->at += count;
    plan->full = plan->out->count == KG_PATCH_PIECES;
    if (!plan->full)
        plan->out->runs[plan->out->count++] = (struct kg_patch_run){ .part = part, .first = first, .count = count };
}

/* Parts that nothing was changed in or before. */
static void take_same(struct plan *plan)
{
    const struct kg_former *former = plan->former;
    while (plan->part < former->count && plan->starts[plan->part + 1] <= plan->head && !plan->full &&
           kg_block_ready(former->parts[plan->part].block) == kg_block_tokens(former->parts[plan->part].block)) {
        add_run(plan, plan->part, 0, kg_block_tokens(former->parts[plan->part].block));
        plan->part++;
    }
    plan->out->same = plan->out->count;
}

/* Tokens of a page; less than KG_PAGE only of a part's last one, 0 behind it. */
static uint32_t page_tokens(const struct plan *plan, size_t part, uint32_t page)
{
    const uint32_t tokens = kg_block_tokens(plan->former->parts[part].block), first = page * KG_PAGE;
    return first >= tokens ? 0 : tokens - first < KG_PAGE ? tokens - first : KG_PAGE;
}

static bool may_be_kept(const struct plan *plan, size_t part, uint32_t page)
{
    const uint32_t first = page * KG_PAGE, at = plan->starts[part] + first, tokens = page_tokens(plan, part, page);
    if (!tokens || (!plan->former->parts[part].kept && part >= plan->clean) || first + tokens > kg_block_ready(plan->former->parts[part].block))
        return false;
    if (at + tokens <= plan->head && !plan->former->parts[part].kept)
        return false; /* what the part that changed begins with is the same in its new reading */
    return kg_tokens_stand(plan->match + at, tokens) && (uint32_t)plan->match[at] >= plan->at;
}

/* Moves on to the next page that is kept; where it stands in the new text, or `none`. */
static uint32_t find_kept(struct plan *plan, uint32_t none)
{
    for (; plan->part < plan->former->count; plan->part++, plan->page = 0)
        for (; page_tokens(plan, plan->part, plan->page) == KG_PAGE; plan->page++) /* a last one that is not full goes with others */
            if (may_be_kept(plan, plan->part, plan->page))
                return (uint32_t)plan->match[plan->starts[plan->part] + plan->page * KG_PAGE];
    return none;
}

/* What is read behind parts that are the same goes on with the last one of them, where that is not kept. */
static void join_same(struct plan *plan)
{
    struct kg_patch *out = plan->out;
    const size_t next = out->same;
    if (out->count != out->same || next == 0 || plan->former->parts[next - 1].kept || (next < plan->former->count && !plan->former->parts[next].kept))
        return;
    out->count = --out->same;
    plan->at = plan->starts[out->same];
}

static void take_rest(struct plan *plan, uint32_t count)
{
    while (plan->at < count && !plan->full) {
        const uint32_t next = find_kept(plan, count), first = plan->page;
        if (next > plan->at) {
            join_same(plan);
            add_run(plan, KG_PATCH_UNREAD, 0, next - plan->at);
        }
        if (next == count)
            return;
        uint32_t tokens = 0;
        while (may_be_kept(plan, plan->part, plan->page) &&
               (uint32_t)plan->match[plan->starts[plan->part] + plan->page * KG_PAGE] == next + tokens)
            tokens += page_tokens(plan, plan->part, plan->page++);
        add_run(plan, plan->part, first * KG_PAGE, tokens);
    }
}

/* Pages that were read since the reading that a kept part is of, when so many tokens more are. */
static uint32_t changed_since(const struct kg_former_part *part, uint32_t unread)
{
    return part->kept_changed + (unread + KG_PAGE - 1) / KG_PAGE;
}

/* Whether what came out is worth it, and not too much has changed since what is kept was read. */
static bool is_worth_it(const struct plan *plan, uint32_t count, uint32_t known)
{
    struct kg_patch *out = plan->out;
    const struct kg_former *former = plan->former;
    bool kept = false, stale = false;
    for (size_t i = 0; i < out->count; i++) {
        const struct kg_patch_run *run = &out->runs[i];
        const bool is_read = run->part == KG_PATCH_UNREAD;
        out->unread += is_read ? run->count : 0;
        kept = kept || (!is_read && (i >= out->same || former->parts[run->part].kept));
    }
    if (out->same < former->count && !former->parts[out->same].kept && plan->head > plan->starts[out->same]) {
        const uint32_t same = plan->head - plan->starts[out->same], ready = kg_block_ready(former->parts[out->same].block);
        out->unread -= (same < ready ? same : ready) / KG_PAGE * KG_PAGE;
    }
    for (size_t i = out->same; i < out->count; i++)
        if (out->runs[i].part != KG_PATCH_UNREAD)
            stale = stale || (uint64_t)changed_since(&former->parts[out->runs[i].part], out->unread) * KG_PAGE * KG_PATCH_SHARE > count;
    return kept && !plan->full && !stale && known + out->unread < count;
}

enum kg_status kg_patch_plan(const struct kg_former *former, const int32_t *ids, uint32_t count, uint32_t known, struct kg_patch *out, struct kg_error *err)
{
    struct plan plan = { .former = former, .out = out };
    *out = (struct kg_patch){ .count = 0 };
    enum kg_status status = compare(&plan, ids, count, err);
    if (status == KG_OK) {
        take_same(&plan);
        take_rest(&plan, count);
        if (!is_worth_it(&plan, count, known))
            out->count = 0;
    }
    free(plan.starts);
    free(plan.old);
    free(plan.match);
    return status;
}

/* The new file while it is placed. */
struct placed {
    const struct kg_placing *placing;
    const struct kg_linked *linked; /* NULL: it is read alone */
    const struct kg_patch *patch;
    struct kg_ids ids;
    size_t first;     /* piece */
    uint32_t at;      /* token */
    size_t byte;
};

static size_t bytes_of(const struct kg_session *session, const int32_t *ids, size_t count)
{
    size_t bytes = 0, length;
    for (size_t i = 0; i < count; i++) {
        kg_token_bytes(session->engine->tokenizer, ids[i], true, &length);
        bytes += length;
    }
    return bytes;
}

/* What is kept comes from memory; kept_first counts from where the reading begins that a kept part is of. */
static enum kg_status place_kept(struct kg_session *session, struct placed *placed, const struct kg_patch_run *run, struct kg_error *err)
{
    const struct kg_former_part *part = &placed->placing->former->parts[run->part];
    struct kg_piece *piece = &session->pieces[session->count - 1];
    piece->rule = KG_READ_KEPT;
    piece->kept_of = part->kept_of;
    piece->kept_first = part->kept_first + run->first;
    piece->kept_changed = changed_since(part, placed->patch->unread);
    piece->kept_linked = part->kept ? part->kept_linked : placed->linked != NULL;
    enum kg_status status = kg_kept_create(session, piece, placed->ids.ids + placed->at, run->count, err);
    if (status == KG_OK)
        status = kg_pages_copy(part->block, run->first / KG_PAGE, piece->block, run->count, err);
    if (status == KG_OK)
        status = kg_sequence_append(session->sequence, piece->block, err);
    return status;
}

static enum kg_status place_reused(struct kg_session *session, struct placed *placed, size_t at, struct kg_error *err)
{
    const struct kg_patch_run *run = &placed->patch->runs[at];
    const struct kg_former_part *part = &placed->placing->former->parts[run->part];
    struct kg_piece *piece = &session->pieces[session->count - 1];
    piece->identity = part->identity;
    piece->block = kg_block_keep(part->block);
    if (part->kept) {
        piece->rule = KG_READ_KEPT;
        piece->kept_of = part->kept_of;
        piece->kept_first = part->kept_first;
        piece->kept_changed = at < placed->patch->same ? part->kept_changed : changed_since(part, placed->patch->unread);
        piece->kept_linked = part->kept_linked;
    }
    return kg_sequence_append(session->sequence, piece->block, err);
}

static enum kg_status place_unread(struct kg_session *session, struct placed *placed, size_t run, struct kg_error *err)
{
    const struct kg_patch_run *r = &placed->patch->runs[run];
    enum kg_status status = kg_piece_place(session, session->count - 1, placed->ids.ids + placed->at, r->count, -1, NULL, err);
    struct kg_piece *piece = &session->pieces[session->count - 1];
    if (status == KG_OK && placed->linked && kg_block_known(piece->block) < r->count)
        status = kg_piece_include(piece, placed->linked, err);
    if (status == KG_OK && run == placed->patch->same)
        status = kg_former_give(placed->placing->former, session, placed->first, run, err);
    return status;
}

static enum kg_status place_run(struct kg_session *session, struct placed *placed, size_t run, struct kg_error *err)
{
    const struct kg_placing *placing = placed->placing;
    const struct kg_patch_run *r = &placed->patch->runs[run];
    const size_t bytes = bytes_of(session, placed->ids.ids + placed->at, r->count);
    struct kg_piece *piece = kg_piece_add(session, KG_BLOCK_FILE, placing->path, placing->text + placed->byte, bytes);
    if (!piece)
        return kg_fail_nomem(err, "adding a file");
    piece->rule = placed->linked ? KG_READ_LINKED : KG_READ_ALONE;
    piece->secret = placing->secret;
    piece->continues = run > 0;
    piece->base = kg_sequence_end(session->sequence);
    if (placed->linked)
        piece->sees = placed->linked->sees;
    enum kg_status status = is_reused(placing->former, placed->patch, run) ? place_reused(session, placed, run, err)
                            : r->part != KG_PATCH_UNREAD                     ? place_kept(session, placed, r, err)
                                                                             : place_unread(session, placed, run, err);
    placed->at += r->count;
    placed->byte += bytes;
    return status == KG_OK ? kg_piece_store(session, &session->pieces[session->count - 1], err) : status;
}

static enum kg_status place_heading(struct kg_session *session, const struct kg_placing *placing, struct kg_error *err)
{
    struct kg_ids ids = { 0 };
    enum kg_status status = kg_chat_heading(session->engine->chat, kg_session_role(session), placing->path, &ids, err);
    if (status == KG_OK)
        status = kg_session_make_room(session, ids.count + placing->cut->tokens, placing->path, err);
    struct kg_piece *piece = status == KG_OK ? kg_piece_add(session, KG_BLOCK_HEADING, placing->path, "", 0) : NULL;
    if (status == KG_OK && !piece)
        status = kg_fail_nomem(err, "adding a file");
    if (piece) {
        piece->rule = kg_session_rule(session, KG_BLOCK_HEADING);
        piece->secret = placing->secret;
        status = kg_piece_place(session, session->count - 1, ids.ids, ids.count, -1, NULL, err);
    }
    if (status == KG_OK)
        status = kg_piece_store(session, &session->pieces[session->count - 1], err);
    kg_ids_free(&ids);
    return status;
}

/* When it fails the old text is gone, and what moved for the new one has moved. */
static enum kg_status place_all(void *ctx, struct kg_session *session, struct kg_error *err)
{
    struct placed *placed = ctx;
    enum kg_status status = kg_session_drop_file(session, placed->placing->path, err);
    if (status == KG_OK)
        status = place_heading(session, placed->placing, err);
    placed->first = session->count;
    for (size_t i = 0; i < placed->patch->count && status == KG_OK; i++)
        status = place_run(session, placed, i, err);
    return status;
}

static enum kg_status place(struct kg_session *session, struct placed *placed, struct kg_error *err)
{
    const struct kg_placing *placing = placed->placing;
    enum kg_status status = kg_session_together(session, &(struct kg_change){ .make = place_all, .ctx = placed }, err);
    if (status != KG_OK)
        return status;
    session->pieces[placed->first].content = kg_digest_of(placing->text, placing->length);
    session->sees_secret = session->sees_secret || placing->secret;
    return KG_OK;
}

static enum kg_status join_ids(const struct kg_cut *cut, struct kg_ids *out, struct kg_error *err)
{
    enum kg_status status = KG_OK;
    for (size_t i = 0; i < cut->count; i++)
        for (size_t k = 0; k < cut->parts[i].count && status == KG_OK; k++)
            status = kg_ids_push(out, cut->parts[i].ids[k], err);
    return status;
}

/* By the rule that the file was read by: in sight of what it includes, where that needs no wait, or alone. *known: tokens of a
 * whole reading that the cache has. */
static enum kg_status choose_rule(struct kg_session *session, const struct kg_placing *placing, bool *linked, bool *alone, uint32_t *known,
                                  struct kg_error *err)
{
    const enum kg_read_rule files = kg_session_rule(session, KG_BLOCK_FILE);
    const struct kg_linked *includes = placing->linked;
    uint32_t more = 0;
    enum kg_status status = KG_OK;
    *known = 0;
    *linked = *alone = false;
    if (files != KG_READ_ALONE && files != KG_READ_LINKED)
        return KG_OK;
    *linked = includes && kg_former_saw(placing->former, session, KG_READ_LINKED, &includes->sees) &&
              kg_linked_unread(session, includes) <= placing->read_now;
    *alone = !*linked && kg_former_saw(placing->former, session, KG_READ_ALONE, NULL);
    if (includes && (*linked || *alone))
        status = kg_cut_known(session, KG_READ_LINKED, placing->cut, &includes->sees, known, err);
    if (status == KG_OK && *alone)
        status = kg_cut_known(session, KG_READ_ALONE, placing->cut, NULL, &more, err);
    *known = more > *known ? more : *known;
    return status;
}

bool kg_file_is_patched(const struct kg_session *session, size_t first)
{
    for (size_t i = first; i < session->count && (i == first || session->pieces[i].continues); i++)
        if (session->pieces[i].rule == KG_READ_KEPT)
            return true;
    return false;
}

enum kg_status kg_patch_place(struct kg_session *session, const struct kg_placing *placing, bool *patched, struct kg_error *err)
{
    struct placed placed = { .placing = placing };
    struct kg_patch patch = { .count = 0 };
    bool linked = false, alone = false;
    uint32_t known = 0;
    enum kg_status status = choose_rule(session, placing, &linked, &alone, &known, err);
    placed.linked = linked ? placing->linked : NULL;
    placed.patch = &patch;
    *patched = false;
    if (status != KG_OK || !(linked || alone))
        return status;
    if (session->pieces[placing->present].secret && !placing->secret)
        return KG_OK; /* what is not secret is stored: nothing of it may have seen what was */
    if (kg_file_is_patched(session, placing->present) && session->engine->kv_store)
        status = kg_former_renew(placing->former, session, placing->present, linked ? KG_READ_LINKED : KG_READ_ALONE, linked ? &placing->linked->sees : NULL, err);
    if (status == KG_OK)
        status = join_ids(placing->cut, &placed.ids, err);
    if (status == KG_OK && bytes_of(session, placed.ids.ids, placed.ids.count) == placing->length)
        status = kg_patch_plan(placing->former, placed.ids.ids, (uint32_t)placed.ids.count, known, &patch, err);
    *patched = patch.count > 0;
    if (status == KG_OK && *patched)
        status = place(session, &placed, err);
    kg_ids_free(&placed.ids);
    return status;
}
