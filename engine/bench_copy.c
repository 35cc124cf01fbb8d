/* What n-gram drafts gain where an answer copies, and what they cost where it does not: the same question twice, without
 * them and with them, in sessions of its own. */
#include <stdlib.h>
#include <string.h>

#include "engine/state.h"

/* A function of 60 lines. The assembler reads it from the directory that the compiler runs in: the root of the sources. */
extern const char kg_bench_function[];
__asm__(".section .rodata\n"
        ".global kg_bench_function\n"
        ".type kg_bench_function, @object\n"
        "kg_bench_function:\n"
        ".incbin \"engine/bench_copy.txt\"\n"
        ".byte 0\n"
        ".size kg_bench_function, . - kg_bench_function\n"
        ".text\n");

#define COPY_QUESTION "Rewrite this function with one change: it returns at once when ui->closing is set. Print the whole function.\n\n"
#define NEW_QUESTION  "Explain in detail how a hash table works, what can go wrong with it, and when a tree is the better choice."
#define MOST_TOKENS   1024

struct answer {
    int32_t *ids;
    uint32_t count;
    struct kg_counts counts;
};

static enum kg_status keep_ids(const struct kg_session *session, struct answer *out, struct kg_error *err)
{
    const struct kg_block *block = session->pieces[session->count - 1].block;
    out->count = kg_block_tokens(block);
    out->ids = malloc(out->count * sizeof *out->ids);
    if (!out->ids)
        return kg_fail_nomem(err, "measuring speed");
    memcpy(out->ids, kg_block_ids(block), out->count * sizeof *out->ids);
    return KG_OK;
}

static enum kg_status answer(struct kg_engine *engine, const struct kg_bench_options *options, const struct kg_question *question,
                             bool drafts, struct answer *out, struct kg_error *err)
{
    const struct kg_session_options session_options = { .policy = options->policy, .recall = options->recall, .unsaved = true,
                                                        .drafts_off = !drafts };
    struct kg_session *session = NULL;
    enum kg_end end;
    enum kg_status status = kg_session_open(engine, &session_options, &session, err);
    if (status == KG_OK)
        status = kg_session_ask(session, question, &end, err);
    if (status == KG_OK && end == KG_END_STOPPED)
        status = kg_fail(err, KG_ERR_CANCELLED, "measuring was stopped");
    if (status == KG_OK) {
        kg_session_counts(session, &out->counts);
        status = keep_ids(session, out, err);
    }
    kg_session_close(session);
    return status;
}

static double rate_of(const struct kg_counts *counts)
{
    return counts->decode_s > 0 ? (double)counts->decode_tokens / counts->decode_s : 0;
}

enum kg_status kg_engine_bench_drafts(struct kg_engine *engine, const struct kg_bench_options *options, enum kg_bench_text text,
                                      struct kg_bench_drafts *out, struct kg_error *err)
{
    static const char copy_question[] = COPY_QUESTION;
    struct answer plain = { 0 }, drafted = { 0 };
    char *copy = malloc(sizeof copy_question + strlen(kg_bench_function));
    if (!copy)
        return kg_fail_nomem(err, "measuring speed");
    memcpy(copy, copy_question, sizeof copy_question);
    strcpy(copy + sizeof copy_question - 1, kg_bench_function);
    struct kg_question question = { .text = text == KG_BENCH_COPY ? copy : NEW_QUESTION, .max_tokens = MOST_TOKENS,
                                    .sampling = text == KG_BENCH_COPY ? kg_sampling_greedy() : kg_sampling_default() };
    question.length = strlen(question.text);
    question.sampling.seed = 1;
    enum kg_status status = answer(engine, options, &question, false, &plain, err);
    if (status == KG_OK)
        status = answer(engine, options, &question, true, &drafted, err);
    if (status == KG_OK && (plain.count != drafted.count || memcmp(plain.ids, drafted.ids, plain.count * sizeof *plain.ids) != 0))
        status = kg_fail(err, KG_ERR_FORMAT, "the answer with drafts is another one than without; this is a fault of kedge, use --set generate.drafts=no");
    *out = (struct kg_bench_drafts){ .tokens = plain.counts.decode_tokens, .plain_tokens_per_s = rate_of(&plain.counts),
                                     .tokens_per_s = rate_of(&drafted.counts), .draft_tokens = drafted.counts.draft_tokens,
                                     .draft_hits = drafted.counts.draft_hits };
    free(plain.ids);
    free(drafted.ids);
    free(copy);
    return status;
}
