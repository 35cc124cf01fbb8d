/* Old turns give way to a summary of them, and come back. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/complete.h"
#include "engine/state.h"

#define SUMMARY_TOKENS 400
#define HEADING        "summary of the conversation so far"

static const char instruction[] = "Summarise our conversation so far for yourself, so that you can go on without it: what was asked, what was found and decided, the "
                                  "names of files, functions and values that matter, and what is still open. Be brief and exact. Write only the summary.";

static bool is_talk(const struct kg_piece *piece)
{
    return piece->kind == KG_BLOCK_TURN || piece->kind == KG_BLOCK_ANSWER || piece->kind == KG_BLOCK_SUMMARY;
}

/* Old: all that was said before the last question, or all of it when there is one only. */
static size_t end_of_old(const struct kg_session *session, uint32_t *questions)
{
    size_t last = session->count, turns = 0;
    for (size_t i = 0; i < session->count; i++)
        if (session->pieces[i].kind == KG_BLOCK_TURN && session->pieces[i].block) {
            last = i;
            turns++;
        }
    *questions = (uint32_t)(turns > 1 ? turns - 1 : turns);
    return turns > 1 ? last : session->count;
}

/* The same block one behind the other, wherever they stood. */
static enum kg_status share(struct kg_session *to, const struct kg_piece *from, struct kg_error *err)
{
    struct kg_piece *piece = kg_piece_add(to, from->kind, from->label, "", 0);
    if (!piece)
        return kg_fail_nomem(err, "summarising");
    piece->rule = from->rule;
    piece->identity = from->identity;
    piece->base = kg_sequence_end(to->sequence);
    piece->block = kg_block_keep(from->block);
    return kg_sequence_append(to->sequence, piece->block, err);
}

/* A conversation of the preamble and what is old, without files, of which nothing is kept. What does not fit into it with its
 * summary is left out, the oldest first. */
static enum kg_status fork_old(struct kg_session *session, size_t end, struct kg_session **out, uint32_t *left_out, struct kg_error *err)
{
    const size_t limit = kg_model_shape(session->engine->model)->trained_length, reserve = SUMMARY_TOKENS + 128;
    struct kg_session *fork = kg_session_fork_empty(session, err);
    if (!fork)
        return KG_ERR_NOMEM;
    size_t tokens = reserve + kg_block_tokens(session->pieces[0].block), from = end;
    while (from > 0) {
        const struct kg_piece *piece = &session->pieces[from - 1];
        size_t more = is_talk(piece) && piece->block ? kg_block_tokens(piece->block) : 0;
        if (tokens + more > limit)
            break;
        tokens += more;
        from--;
    }
    while (from > 0 && from < end && session->pieces[from].kind == KG_BLOCK_ANSWER) /* not without its question */
        from++;
    *left_out = 0;
    for (size_t i = 0; i < from; i++)
        *left_out += session->pieces[i].block && session->pieces[i].kind == KG_BLOCK_TURN;
    enum kg_status status = share(fork, &session->pieces[0], err);
    for (size_t i = from; i < end && status == KG_OK; i++)
        if (session->pieces[i].block && is_talk(&session->pieces[i]))
            status = share(fork, &session->pieces[i], err);
    if (status != KG_OK) {
        kg_session_close(fork);
        return status;
    }
    *out = fork;
    return KG_OK;
}

/* The caller frees *text. */
static enum kg_status write_summary(struct kg_session *session, size_t old, const struct kg_question *how, char **text, uint32_t *left_out, struct kg_error *err)
{
    struct kg_session *fork = NULL;
    enum kg_end end = KG_END_MODEL;
    struct kg_question question = *how;
    question.text = instruction;
    question.length = sizeof instruction - 1;
    question.max_tokens = SUMMARY_TOKENS;
    enum kg_status status = fork_old(session, old, &fork, left_out, err);
    if (status == KG_OK)
        status = kg_session_ask(fork, &question, &end, err);
    if (status == KG_OK && end == KG_END_STOPPED)
        status = kg_fail(err, KG_ERR_CANCELLED, "stopped: nothing was summarised");
    const struct kg_piece *answer = status == KG_OK ? &fork->pieces[fork->count - 1] : NULL;
    if (answer && strspn(answer->text, " \n\t") == answer->length)
        status = kg_fail(err, KG_ERR_FORMAT, "the model wrote no summary; nothing was changed");
    if (answer && status == KG_OK && !(*text = strdup(answer->text)))
        status = kg_fail_nomem(err, "summarising");
    kg_session_close(fork);
    return status;
}

/* 0: none that could be stored. */
static uint32_t number_of(const struct kg_piece *summary)
{
    const unsigned long number = strtoul(summary->label, NULL, 10);
    return number < INT32_MAX - 1 ? (uint32_t)number : 0;
}

/* The number of a summary stands for it in what gave way to it. */
static uint32_t next_number(const struct kg_session *session)
{
    uint32_t last = 0;
    for (size_t i = 0; i < session->count; i++)
        if (session->pieces[i].kind == KG_BLOCK_SUMMARY && number_of(&session->pieces[i]) > last)
            last = number_of(&session->pieces[i]);
    return last + 1;
}

static enum kg_status give_way(struct kg_session *session, struct kg_piece *piece, uint32_t number, struct kg_error *err)
{
    size_t count = kg_block_tokens(piece->block);
    int32_t *ids = malloc((count + 1) * sizeof *ids);
    if (!ids)
        return kg_fail_nomem(err, "summarising");
    memcpy(ids, kg_block_ids(piece->block), count * sizeof *ids);
    kg_piece_drop(session, piece);
    free(piece->ids);
    piece->ids = ids;
    piece->id_count = count;
    piece->gave_way = number;
    return kg_piece_store(session, piece, err);
}

static enum kg_status add_piece(struct kg_session *session, enum kg_block_kind kind, const char *label, const char *text, const struct kg_ids *ids,
                                struct kg_error *err)
{
    struct kg_piece *piece = kg_piece_add(session, kind, label, text, strlen(text));
    if (!piece)
        return kg_fail_nomem(err, "summarising");
    piece->rule = kg_session_rule(session, kind);
    enum kg_status status = kg_piece_place(session, session->count - 1, ids->ids, ids->count, -1, NULL, err);
    if (status == KG_OK)
        return kg_piece_store(session, piece, err);
    kg_piece_clear(piece);
    session->count--;
    return status;
}

static enum kg_status add_summary(struct kg_session *session, uint32_t number, const char *text, struct kg_error *err)
{
    struct kg_ids heading = { 0 }, ids = { 0 };
    char label[16];
    snprintf(label, sizeof label, "%u", number);
    enum kg_status status = kg_chat_heading(session->engine->chat, kg_session_role(session), HEADING, &heading, err);
    if (status == KG_OK)
        status = kg_tokenize(session->engine->tokenizer, text, strlen(text), false, &ids, err);
    if (status == KG_OK)
        status = kg_session_make_room(session, heading.count + ids.count, "the summary", err);
    if (status == KG_OK)
        status = add_piece(session, KG_BLOCK_HEADING, HEADING, "", &heading, err);
    if (status == KG_OK)
        status = add_piece(session, KG_BLOCK_SUMMARY, label, text, &ids, err);
    kg_ids_free(&heading);
    kg_ids_free(&ids);
    return status;
}

static bool overlaps(const struct kg_session *session, const struct kg_piece *piece)
{
    for (size_t i = 0; i < session->count; i++) {
        const struct kg_piece *other = &session->pieces[i];
        if (other->block && piece->base < (int64_t)other->base + kg_block_tokens(other->block) && other->base < piece->base + (int64_t)piece->id_count)
            return true;
    }
    return false;
}

static bool comes_back(const struct kg_piece *piece, uint32_t number)
{
    return piece->gave_way == number && piece->ids;
}

static bool overlap(const struct kg_session *session, uint32_t number)
{
    for (size_t i = 0; i < session->count; i++)
        if (comes_back(&session->pieces[i], number) && overlaps(session, &session->pieces[i]))
            return true;
    return false;
}

static enum kg_status put_back(struct kg_session *session, size_t index, int32_t base, struct kg_error *err)
{
    const struct kg_piece *piece = &session->pieces[index];
    const struct kg_digest identity = piece->identity;
    return kg_piece_place(session, index, piece->ids, piece->id_count, base, &identity, err);
}

/* Where it stood. */
static enum kg_status put_back_there(struct kg_session *session, uint32_t number, struct kg_error *err)
{
    enum kg_status status = KG_OK;
    for (size_t i = 0; i < session->count && status == KG_OK; i++)
        if (comes_back(&session->pieces[i], number))
            status = put_back(session, i, session->pieces[i].base, err);
    return status;
}

/* Into another sequence, everything behind what is before it. */
static enum kg_status line_up(struct kg_session *session, uint32_t number, struct kg_error *err)
{
    enum kg_status status = KG_OK;
    for (size_t i = 0; i < session->count && status == KG_OK; i++) {
        struct kg_piece *piece = &session->pieces[i];
        if (comes_back(piece, number)) {
            status = put_back(session, i, -1, err);
        } else if (piece->block) {
            piece->base = kg_sequence_end(session->sequence);
            status = kg_sequence_append(session->sequence, piece->block, err);
        }
    }
    return status;
}

static enum kg_status put_back_moving(struct kg_session *session, uint32_t number, struct kg_error *err)
{
    const uint32_t limit = kg_model_shape(session->engine->model)->trained_length;
    size_t tokens = kg_sequence_tokens(session->sequence);
    for (size_t i = 0; i < session->count; i++)
        tokens += comes_back(&session->pieces[i], number) ? session->pieces[i].id_count : 0;
    if (tokens > limit)
        return kg_fail(err, KG_ERR_FULL, "what was summarised does not fit beside what came since: %zu tokens of %u; /drop files first", tokens, limit);
    struct kg_sequence *before = session->sequence, *moved = NULL;
    enum kg_status status = kg_sequence_create(limit, &moved, err);
    if (status != KG_OK)
        return status;
    session->sequence = moved;
    status = line_up(session, number, err);
    session->sequence = status == KG_OK ? moved : before;
    session->counts.moved += status == KG_OK;
    kg_sequence_free(status == KG_OK ? before : moved);
    return status;
}

/* Where a piece stood, and under which name. */
struct stood {
    int32_t base;
    struct kg_digest identity;
};

static void stand_as_before(struct kg_session *session, uint32_t number, const struct stood *stood)
{
    for (size_t i = 0; i < session->count; i++) {
        struct kg_piece *piece = &session->pieces[i];
        if (comes_back(piece, number))
            kg_piece_drop(session, piece);
        piece->base = stood[i].base;
        piece->identity = stood[i].identity;
    }
}

enum kg_status kg_summary_undo(struct kg_session *session, uint32_t number, struct kg_error *err)
{
    const bool moves = overlap(session, number);
    struct stood *stood = malloc((session->count + 1) * sizeof *stood);
    if (!stood)
        return kg_fail_nomem(err, "taking back a summary");
    for (size_t i = 0; i < session->count; i++)
        stood[i] = (struct stood){ session->pieces[i].base, session->pieces[i].identity };
    enum kg_status status = moves ? put_back_moving(session, number, err) : put_back_there(session, number, err);
    if (status != KG_OK)
        stand_as_before(session, number, stood);
    free(stood);
    for (size_t i = 0; i < session->count && status == KG_OK; i++) {
        struct kg_piece *piece = &session->pieces[i];
        const bool back = comes_back(piece, number);
        if (back) {
            free(piece->ids);
            piece->ids = NULL;
            piece->dropped = false;
            piece->gave_way = 0;
        }
        if (back || (moves && piece->block))
            status = kg_piece_store(session, piece, err);
    }
    return status;
}

static bool is_heading(const struct kg_session *session, size_t at)
{
    return session->pieces[at].block && session->pieces[at].kind == KG_BLOCK_HEADING;
}

/* What is said before piece `end` gives way to this summary. */
struct giving_way {
    size_t end;
    uint32_t number;
    const char *text;
};

static enum kg_status replace(void *ctx, struct kg_session *session, struct kg_error *err)
{
    const struct giving_way *way = ctx;
    const size_t end = way->end;
    const uint32_t number = way->number;
    enum kg_status status = KG_OK;
    for (size_t i = 0; i < end && status == KG_OK; i++)
        if (session->pieces[i].block && is_talk(&session->pieces[i]))
            status = give_way(session, &session->pieces[i], number, err);
    for (size_t i = 1; i < end && status == KG_OK; i++) /* a summary's heading goes with it */
        if (session->pieces[i].gave_way == number && session->pieces[i].kind == KG_BLOCK_SUMMARY && is_heading(session, i - 1))
            status = give_way(session, &session->pieces[i - 1], number, err);
    return status == KG_OK ? add_summary(session, number, way->text, err) : status;
}

/* What gave way comes back. */
static void do_not_replace(void *ctx, struct kg_session *session)
{
    const struct giving_way *way = ctx;
    struct kg_error lost;
    kg_summary_undo(session, way->number, &lost);
}

enum kg_status kg_session_compact(struct kg_session *session, const struct kg_question *how, struct kg_compaction *out, struct kg_error *err)
{
    char *text = NULL;
    *out = (struct kg_compaction){ 0 };
    size_t end = end_of_old(session, &out->questions);
    if (out->questions == 0)
        return kg_fail(err, KG_ERR_NOT_FOUND, "there is no question in context that could be summarised");
    out->before = kg_sequence_tokens(session->sequence);
    enum kg_status status = kg_session_settle(session, err);
    if (status == KG_OK)
        status = kg_session_read_all(session, err); /* blocks that others look at are read in their own place */
    if (status == KG_OK)
        status = write_summary(session, end, how, &text, &out->left_out, err);
    if (status == KG_OK) {
        struct giving_way way = { .end = end, .number = next_number(session), .text = text ? text : "" };
        status = kg_session_together(session, &(struct kg_change){ .make = replace, .undo = do_not_replace, .ctx = &way }, err);
    }
    struct kg_error later;
    if (status == KG_OK)
        (void)kg_again_check(session, &later); /* what fails is tried again before anything is read */
    out->after = kg_sequence_tokens(session->sequence);
    free(text);
    return status;
}

/* A summary, of which the heading may go with it, and what gave way to it. */
struct taking_back {
    size_t heading, at;
    uint32_t number;
    bool *back; /* of each piece */
};

static enum kg_status take_back(void *ctx, struct kg_session *session, struct kg_error *err)
{
    const struct taking_back *taking = ctx;
    for (size_t i = 0; i < session->count; i++)
        taking->back[i] = comes_back(&session->pieces[i], taking->number);
    enum kg_status status = kg_summary_undo(session, taking->number, err);
    for (size_t i = taking->heading; i <= taking->at && status == KG_OK; i++) {
        session->pieces[i].dropped = true;
        status = kg_piece_store(session, &session->pieces[i], err);
    }
    return status;
}

static void leave_summary(void *ctx, struct kg_session *session)
{
    const struct taking_back *taking = ctx;
    struct kg_error lost;
    for (size_t i = taking->heading; i <= taking->at; i++)
        session->pieces[i].dropped = false;
    for (size_t i = 0; i < session->count; i++)
        if (taking->back[i] && session->pieces[i].block)
            give_way(session, &session->pieces[i], taking->number, &lost);
}

enum kg_status kg_session_uncompact(struct kg_session *session, struct kg_error *err)
{
    size_t at = session->count;
    for (size_t i = 1; i < session->count; i++)
        if (session->pieces[i].kind == KG_BLOCK_SUMMARY && session->pieces[i].block)
            at = i;
    if (at == session->count)
        return kg_fail(err, KG_ERR_NOT_FOUND, "nothing is summarised in this conversation");
    struct taking_back taking = { .heading = is_heading(session, at - 1) ? at - 1 : at, .at = at, .number = number_of(&session->pieces[at]),
                                  .back = calloc(session->count, sizeof(bool)) };
    if (!taking.back)
        return kg_fail_nomem(err, "taking back a summary");
    enum kg_status status = kg_session_together(session, &(struct kg_change){ .make = take_back, .undo = leave_summary, .ctx = &taking }, err);
    for (size_t i = taking.heading; i <= at && status == KG_OK; i++)
        kg_piece_drop(session, &session->pieces[i]);
    struct kg_error later;
    if (status == KG_OK)
        (void)kg_again_check(session, &later);
    free(taking.back);
    return status;
}
