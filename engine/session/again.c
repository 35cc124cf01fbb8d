/* Files, or what of them goes on like an earlier one, read a second time in sight of all that stands before them. */
#include <stdlib.h>
#include <string.h>

#include "engine/anchor/alike.h"
#include "engine/state.h"

/* Rows at a time, as in the first reading. */
#define BATCH 256

void kg_again_clear(struct kg_again *again)
{
    kg_block_release(again->read);
    free(again->pages);
    *again = (struct kg_again){ .count = 0 };
}

enum kg_status kg_again_copy(const struct kg_again *from, struct kg_again *to, struct kg_error *err)
{
    *to = (struct kg_again){ .all = from->all, .pages = malloc((from->count + 1UL) * sizeof *to->pages) };
    if (!to->pages)
        return kg_fail_nomem(err, "starting a session");
    if (from->count)
        memcpy(to->pages, from->pages, from->count * sizeof *to->pages);
    to->count = from->count;
    to->read = from->read ? kg_block_keep(from->read) : NULL;
    return KG_OK;
}

static enum kg_status find_newlines(struct kg_engine *engine, struct kg_error *err)
{
    return engine->anchors ? KG_OK : kg_line_anchors(engine->tokenizer, kg_model_shape(engine->model)->vocabulary, &engine->anchors, err);
}

/* The texts of files that stand before one; how many they are. */
static size_t files_before(const struct kg_session *session, size_t at, struct kg_alike_text *texts)
{
    size_t count = 0;
    for (size_t i = 0; i < at; i++) {
        const struct kg_piece *piece = &session->pieces[i];
        if (piece->kind == KG_BLOCK_FILE && piece->block)
            texts[count++] = (struct kg_alike_text){ kg_block_ids(piece->block), kg_block_tokens(piece->block) };
    }
    return count;
}

/* Sets pages[p] to whether page p of the text behind `before` others is read again. */
static enum kg_status choose_pages(struct kg_engine *engine, bool all, const struct kg_alike_text *texts, size_t before, bool *pages, uint32_t count,
                                   struct kg_error *err)
{
    memset(pages, before > 0 && all, count * sizeof *pages);
    if (before == 0 || all)
        return KG_OK;
    enum kg_status status = find_newlines(engine, err);
    return status == KG_OK ? kg_alike_pages(texts, before + 1, engine->anchors, pages, err) : status;
}

enum kg_status kg_again_find(struct kg_session *session, struct kg_piece *piece, const int32_t *ids, uint32_t count, struct kg_error *err)
{
    const uint32_t pages = (count + KG_PAGE - 1) / KG_PAGE;
    const bool all = piece->again.all;
    struct kg_alike_text *texts = calloc(session->count + 1, sizeof *texts);
    bool *chosen = calloc(pages + 1UL, sizeof *chosen);
    kg_again_clear(&piece->again);
    piece->again = (struct kg_again){ .all = all, .pages = calloc(pages + 1UL, sizeof *piece->again.pages) };
    enum kg_status status = KG_ERR_NOMEM;
    if (texts && chosen && piece->again.pages) {
        const size_t before = files_before(session, (size_t)(piece - session->pieces), texts);
        texts[before] = (struct kg_alike_text){ ids, count };
        status = choose_pages(session->engine, all, texts, before, chosen, pages, err);
        for (uint32_t page = 0; page < pages && status == KG_OK; page++)
            if (chosen[page])
                piece->again.pages[piece->again.count++] = page;
    } else {
        kg_fail_nomem(err, "reading a file again");
    }
    free(texts);
    free(chosen);
    return status;
}

/* The pages that are read again, one behind the other, under the name that says what they saw. */
static enum kg_status create_read(struct kg_session *session, const struct kg_piece *piece, const int32_t *ids, uint32_t count, struct kg_block **out,
                                  struct kg_error *err)
{
    static const struct kg_digest none = { { 0 } };
    const bool named = memcmp(&piece->identity, &none, sizeof none) != 0;
    const struct kg_digest name = kg_block_name(session->engine, &piece->identity);
    int32_t *own = !named ? NULL : malloc((piece->again.count * (size_t)KG_PAGE + 1) * sizeof *own);
    size_t tokens = 0;
    if (!own)
        return kg_fail_nomem(err, "reading a file again");
    for (uint32_t i = 0; i < piece->again.count; i++)
        for (uint32_t t = piece->again.pages[i] * KG_PAGE; t < count && t < (piece->again.pages[i] + 1) * KG_PAGE; t++)
            own[tokens++] = ids[t];
    enum kg_status status = kg_block_create(session->engine->pool, piece->kind, &name, (int32_t)kg_block_tokens(session->pieces[0].block), own, tokens,
                                            out, err);
    free(own);
    return status;
}

/* What was read again goes over a first reading that is there; its pages are not held any longer. */
static enum kg_status lay_over(const struct kg_again *again, struct kg_block *block, struct kg_error *err)
{
    const uint32_t tokens = kg_block_tokens(block);
    enum kg_status status = KG_OK;
    for (uint32_t i = 0; i < again->count && status == KG_OK; i++) {
        const uint32_t left = tokens - again->pages[i] * KG_PAGE;
        status = kg_pages_copy_to(again->read, i, block, again->pages[i], left < KG_PAGE ? left : KG_PAGE, err);
    }
    kg_block_set_ready(again->read, 0);
    return status;
}

static bool is_whole(const struct kg_block *block)
{
    return kg_block_ready(block) == kg_block_tokens(block);
}

/* Without all of it the block has nothing: what it is named by is not there. */
static uint32_t lay_when_there(void *ctx, struct kg_block *block, bool wanted)
{
    struct kg_again *again = ctx;
    struct kg_error lost;
    uint32_t ready = kg_block_ready(block);
    if (!wanted || ready < kg_block_tokens(block) || !is_whole(again->read) || lay_over(again, block, &lost) != KG_OK)
        ready = 0;
    kg_again_clear(again);
    free(again);
    return ready;
}

static enum kg_status lay_later(const struct kg_again *again, struct kg_block *block, struct kg_error *err)
{
    struct kg_again *own = calloc(1, sizeof *own);
    enum kg_status status = own ? kg_again_copy(again, own, err) : kg_fail_nomem(err, "reading a file again");
    if (status != KG_OK) {
        free(own);
        return status;
    }
    kg_block_promise_then(block, &(struct kg_block_source){ .settle = lay_when_there, .ctx = own });
    return KG_OK;
}

enum kg_status kg_again_offer(struct kg_session *session, struct kg_piece *piece, uint32_t *known, struct kg_error *err)
{
    struct kg_kv_store *store = session->engine->kv_store;
    struct kg_block *block = piece->block, *read = NULL;
    const uint32_t tokens = kg_block_tokens(block);
    *known = 0;
    if (!piece->again.count)
        return KG_OK;
    enum kg_status status = create_read(session, piece, kg_block_ids(block), tokens, &read, err);
    piece->again.read = read;
    if (status == KG_OK)
        status = kg_kv_store_offer(store, read, known, err);
    if (status == KG_OK && *known == kg_block_tokens(read))
        status = kg_kv_store_offer(store, block, known, err);
    else
        *known = 0;
    if (status == KG_OK && *known == tokens)
        status = kg_block_is_promised(block) ? lay_later(&piece->again, block, err)
                 : is_whole(read)            ? lay_over(&piece->again, block, err)
                                             : kg_fail(err, KG_ERR_CORRUPT, "what was read again of %s is damaged", piece->label);
    if (status != KG_OK || *known < tokens) {
        kg_block_set_ready(block, 0);
        *known = 0;
    }
    return status;
}

/* What a later part of a file is read in sight of is the first reading of those before it. */
static bool is_only_part(const struct kg_session *session, size_t index)
{
    return !session->pieces[index].continues && (index + 1 == session->count || !session->pieces[index + 1].continues);
}

static bool saw_what_stands(const struct kg_session *session, size_t index)
{
    const struct kg_piece *piece = &session->pieces[index];
    const struct kg_digest now = kg_piece_identity(session, index, piece->base, kg_block_ids(piece->block), kg_block_tokens(piece->block));
    return memcmp(&now, &piece->identity, sizeof now) == 0;
}

enum kg_status kg_again_check(struct kg_session *session, struct kg_error *err)
{
    enum kg_status status = KG_OK;
    for (size_t i = 0; i < session->count && status == KG_OK; i++) {
        struct kg_piece *piece = &session->pieces[i];
        if (piece->rule != KG_READ_AGAIN || !piece->block || (is_only_part(session, i) && saw_what_stands(session, i)))
            continue;
        status = kg_piece_place_clean(session, i, err);
        if (status == KG_OK)
            status = kg_piece_store(session, piece, err);
    }
    return status;
}

/* A piece while it is read again. */
struct reading_again {
    struct kg_session *session;
    size_t index;
    struct kg_piece as;   /* what it is to be: rule, names, pages; owns again and block */
    struct kg_block *read; /* as.again.read */
    uint32_t batch_from;
    uint64_t computed;
};

static enum kg_status after_batch(void *ctx, struct kg_block *block, struct kg_error *err)
{
    struct reading_again *r = ctx;
    const uint32_t read = kg_block_ready(block) - r->batch_from;
    r->batch_from = kg_block_ready(block);
    r->computed += read;
    r->session->computed_ever += read;
    r->session->reading_done += read;
    kg_engine_progress(r->session->engine, KG_STAGE_READING, r->session->pieces[r->index].label, r->session->reading_done, r->session->reading_total);
    return kg_gguf_intact(r->session->engine->file, err);
}

/* All that stands before the piece, and the block that it is to have. */
static enum kg_status sight_of(const struct reading_again *r, struct kg_sequence **out, struct kg_error *err)
{
    const struct kg_session *session = r->session;
    const int32_t base = session->pieces[r->index].base;
    enum kg_status status = kg_sequence_create(kg_model_shape(session->engine->model)->trained_length, out, err);
    for (size_t i = 0; status == KG_OK && i < kg_sequence_count(session->sequence) && kg_sequence_base(session->sequence, i) < base; i++)
        status = kg_sequence_place(*out, kg_sequence_block(session->sequence, i), kg_sequence_base(session->sequence, i), err);
    return status == KG_OK ? kg_sequence_place(*out, r->as.block, base, err) : status;
}

static enum kg_status save(const struct reading_again *r, struct kg_error *err)
{
    const struct kg_piece *piece = &r->session->pieces[r->index];
    const struct kg_kv_label label = { .text = &piece->content, .model = kg_model_shape(r->session->engine->model)->name, .kind = KG_KV_AGAIN, .title = piece->label };
    return kg_kv_store_save(r->session->engine->kv_store, r->read, &label, err);
}

static uint32_t end_of(const struct kg_block *block, uint32_t page)
{
    const uint32_t end = (page + 1) * KG_PAGE, tokens = kg_block_tokens(block);
    return end < tokens ? end : tokens;
}

/* Pages number i .. end-1 of those that are read again are there in one block, and are to be in the other. */
static enum kg_status put_by(struct reading_again *r, uint32_t i, uint32_t end, struct kg_error *err)
{
    const uint32_t *pages = r->as.again.pages;
    if (i == end)
        return KG_OK;
    const uint32_t tokens = end_of(r->as.block, pages[end - 1]) - pages[i] * KG_PAGE;
    enum kg_status status = kg_pages_copy_to(r->as.block, pages[i], r->read, i, tokens, err);
    if (status != KG_OK)
        return status;
    kg_block_set_ready(r->read, i * KG_PAGE + tokens);
    return save(r, err);
}

static enum kg_status read_upto(struct reading_again *r, const struct kg_sequence *sequence, uint32_t upto, struct kg_error *err)
{
    struct kg_look look;
    struct kg_reading reading = kg_session_reading(r->session, KG_READ_AGAIN, &look);
    reading.batch = BATCH;
    reading.after_batch = after_batch;
    reading.ctx = r;
    r->batch_from = kg_block_ready(r->as.block);
    return kg_sequence_read(sequence, kg_sequence_count(sequence) - 1, upto, &reading, NULL, err);
}

/* Pages number i .. end-1 of those that are read again, which follow each other; all before them is there. What the cache has is taken,
 * and what was read is in it, also when the rest was not. */
static enum kg_status read_pages(struct reading_again *r, const struct kg_sequence *sequence, uint32_t i, uint32_t end, struct kg_error *err)
{
    const uint32_t *pages = r->as.again.pages;
    struct kg_block *block = r->as.block;
    struct kg_error lost;
    enum kg_status status = KG_OK;
    for (; i < end && status == KG_OK && kg_block_ready(r->read) >= i * KG_PAGE + end_of(block, pages[i]) - pages[i] * KG_PAGE; i++) {
        status = kg_pages_copy_to(r->read, i, block, pages[i], end_of(block, pages[i]) - pages[i] * KG_PAGE, err);
        if (status == KG_OK)
            kg_block_set_ready(block, end_of(block, pages[i]));
    }
    if (status != KG_OK || i == end)
        return status;
    status = read_upto(r, sequence, end_of(block, pages[end - 1]), err);
    uint32_t come = i;
    while (come < end && kg_block_ready(block) >= end_of(block, pages[come]))
        come++;
    enum kg_status put = put_by(r, i, come, status == KG_OK ? err : &lost);
    return status == KG_OK ? put : status;
}

/* Page after page, those between from the first reading. */
static enum kg_status read_piece(struct reading_again *r, const struct kg_sequence *sequence, struct kg_error *err)
{
    const struct kg_block *first = r->session->pieces[r->index].block;
    const uint32_t *pages = r->as.again.pages, count = r->as.again.count;
    enum kg_status status = KG_OK;
    for (uint32_t i = 0, end; i <= count && status == KG_OK; i = end) {
        const uint32_t ready = kg_block_ready(r->as.block), upto = i < count ? pages[i] * KG_PAGE : kg_block_tokens(first);
        if (upto > ready)
            status = kg_pages_copy_to(first, ready / KG_PAGE, r->as.block, ready / KG_PAGE, upto - ready, err);
        if (status == KG_OK && upto > ready)
            kg_block_set_ready(r->as.block, upto);
        for (end = i + 1; end < count && end - i < BATCH / KG_PAGE && pages[end] == pages[end - 1] + 1; end++) {} /* (a stop waits for what is saved) */
        if (status == KG_OK && i < count)
            status = read_pages(r, sequence, i, end, err);
    }
    return status;
}

/* Stands in place of the first reading; what stood there is in `as` then. */
static void swap(struct reading_again *r)
{
    struct kg_session *session = r->session;
    struct kg_piece *piece = &session->pieces[r->index], before = *piece;
    struct kg_error full;
    const size_t at = kg_piece_index(session, piece);
    kg_sequence_remove(session->sequence, at);
    piece->rule = r->as.rule;
    piece->identity = r->as.identity;
    piece->kept_of = r->as.kept_of;
    piece->kept_linked = r->as.kept_linked;
    piece->again = r->as.again;
    piece->block = r->as.block;
    r->as = before;
    kg_sequence_place(session->sequence, piece->block, piece->base, &full); /* there is room: the same length has just left it */
}

static enum kg_status replace(void *ctx, struct kg_session *session, struct kg_error *err)
{
    struct reading_again *r = ctx;
    swap(r);
    return kg_piece_store(session, &session->pieces[r->index], err);
}

static void put_back(void *ctx, struct kg_session *session)
{
    (void)session;
    swap(ctx);
}

static enum kg_status create_block(struct reading_again *r, struct kg_error *err)
{
    struct kg_session *session = r->session;
    const struct kg_block *first = session->pieces[r->index].block;
    const struct kg_digest name = kg_block_name(session->engine, &r->as.kept_of);
    uint32_t ready = 0;
    enum kg_status status = kg_block_create(session->engine->pool, KG_BLOCK_FILE, &name, kg_block_local(first), kg_block_ids(first), kg_block_tokens(first),
                                            &r->as.block, err);
    if (status != KG_OK)
        return status;
    kg_block_set_part(r->as.block, 0);
    status = create_read(session, &r->as, kg_block_ids(first), kg_block_tokens(first), &r->read, err);
    if (status != KG_OK)
        return status;
    r->as.again.read = r->read;
    status = kg_kv_store_load(session->engine->kv_store, r->read, &ready, err);
    session->reading_done = 0;
    session->reading_total = kg_block_tokens(r->read) - ready;
    return status;
}

/* A piece, of which the pages are found. */
static enum kg_status read_found(struct reading_again *r, struct kg_error *err)
{
    struct kg_session *session = r->session;
    struct kg_sequence *sight = NULL;
    enum kg_status status = create_block(r, err);
    if (status == KG_OK)
        status = sight_of(r, &sight, err);
    if (status == KG_OK)
        status = read_piece(r, sight, err);
    kg_sequence_free(sight);
    if (status != KG_OK)
        return status;
    kg_block_set_ready(r->read, 0); /* kv.db has them, and its name stays */
    return kg_session_together(session, &(struct kg_change){ .make = replace, .undo = put_back, .ctx = r }, err);
}

/* The name that a piece has when it is read again. */
static struct kg_digest name_again(struct reading_again *r)
{
    struct kg_session *session = r->session;
    struct kg_piece *piece = &session->pieces[r->index];
    const struct kg_piece before = *piece;
    *piece = r->as;
    const struct kg_digest name = kg_piece_identity(session, r->index, before.base, kg_block_ids(before.block), kg_block_tokens(before.block));
    *piece = before;
    return name;
}

/* *again: something of it is. */
static enum kg_status read_again(struct kg_session *session, size_t index, bool *again, uint64_t *computed, struct kg_error *err)
{
    struct kg_piece *piece = &session->pieces[index];
    struct reading_again r = { .session = session, .index = index };
    kg_piece_forget_included(piece); /* it is read */
    piece->again.all = session->engine->again_all;
    enum kg_status status = kg_again_find(session, piece, kg_block_ids(piece->block), kg_block_tokens(piece->block), err);
    r.as = *piece;
    piece->again = (struct kg_again){ .count = 0 };
    r.as.block = NULL;
    r.as.rule = KG_READ_AGAIN;
    r.as.kept_of = piece->identity;
    r.as.kept_linked = piece->rule == KG_READ_LINKED;
    r.as.identity = name_again(&r);
    *again = status == KG_OK && r.as.again.count;
    if (*again)
        status = read_found(&r, err);
    *computed = r.computed;
    kg_again_clear(&r.as.again);
    kg_block_release(r.as.block);
    return status;
}

static bool is_read_once(const struct kg_session *session, size_t index)
{
    const struct kg_piece *piece = &session->pieces[index];
    return piece->block && piece->kind == KG_BLOCK_FILE && (piece->rule == KG_READ_LINKED || piece->rule == KG_READ_ALONE) && is_only_part(session, index);
}

/* Whether all of a piece's reading is in the cache, for when it is wanted back. */
static enum kg_status is_cached(const struct kg_session *session, const struct kg_piece *piece, bool *cached, struct kg_error *err)
{
    const uint32_t tokens = kg_block_tokens(piece->block);
    uint32_t known = 0;
    enum kg_status status = kg_kv_store_known(session->engine->kv_store, kg_block_key(piece->block), kg_block_ids(piece->block), tokens, &known, err);
    *cached = known == tokens;
    return status;
}

static enum kg_status keep_first(struct kg_session *session, const struct kg_piece *piece, bool *kept, struct kg_error *err)
{
    enum kg_status status = is_cached(session, piece, kept, err);
    if (status != KG_OK || *kept)
        return status;
    kg_session_save_block(session, piece);
    return is_cached(session, piece, kept, err);
}

static bool may_read_again(const struct kg_session *session)
{
    return session->engine->kv_store && !session->sees_secret && session->rules.files == KG_READ_LINKED &&
           kg_model_shape(session->engine->model)->trained_length / KG_PAGE < KG_AGAIN_PAGE;
}

/* The last token of an answer that was stopped is read with the next question, and all of the answer where a file before it is another
 * by then. */
static enum kg_status finish_answers(struct kg_session *session, struct kg_error *err)
{
    const uint64_t computed = session->computed_since;
    const double prefill = session->prefill_since;
    enum kg_status status = KG_OK;
    for (size_t i = 0; i < session->count && status == KG_OK; i++) {
        const struct kg_piece *piece = &session->pieces[i];
        if (!piece->block || kg_block_ready(piece->block) == kg_block_tokens(piece->block))
            continue;
        if (piece->kind != KG_BLOCK_ANSWER)
            break; /* what is behind it cannot be read yet */
        session->reading_done = 0;
        session->reading_total = kg_block_tokens(piece->block) - kg_block_ready(piece->block);
        status = kg_session_read(session, i, NULL, err);
    }
    session->computed_since = computed; /* nobody waited */
    session->prefill_since = prefill;
    return status;
}

/* The first file from piece *next on of which something is read again. Where one cannot be, none behind it is: they would have to be
 * read once more when it can. */
static enum kg_status read_one(struct kg_session *session, size_t *next, uint64_t *computed, struct kg_error *err)
{
    enum kg_status status = KG_OK;
    bool again = false, kept = true;
    for (size_t i = *next; i < session->count && status == KG_OK && kept && !again; i++) {
        const struct kg_block *block = session->pieces[i].block;
        *next = i + 1;
        kept = !block || kg_block_ready(block) == kg_block_tokens(block); /* it has to be read first */
        if (!kept || !is_read_once(session, i))
            continue;
        status = keep_first(session, &session->pieces[i], &kept, err);
        if (status == KG_OK && kept)
            status = read_again(session, i, &again, computed, err);
        if (status == KG_OK && atomic_load(&session->engine->stop))
            status = kg_fail(err, KG_ERR_CANCELLED, "stopped");
    }
    if (status != KG_OK || !again)
        *next = 0;
    return status;
}

enum kg_status kg_session_read_again(struct kg_session *session, size_t *next, uint64_t *computed, struct kg_error *err)
{
    const double restored = session->restore_since;
    const bool may = may_read_again(session);
    uint64_t read = 0;
    enum kg_status status = may ? kg_session_settle(session, err) : KG_OK;
    session->restore_since = restored;
    if (may && status == KG_OK)
        status = finish_answers(session, err);
    if (may && status == KG_OK)
        status = read_one(session, next, &read, err);
    else
        *next = 0;
    if (status == KG_OK && *next)
        status = kg_again_check(session, err); /* those behind it did not see it so */
    if (computed)
        *computed = read;
    return status;
}
