#include <stdlib.h>
#include <string.h>

#include "tui/commands/eval.h"

static const char help[] =
    "usage: kedge eval infill [options] FILE\n"
    "\n"
    "Has a line of every item of FILE (HumanEval-SingleLineInfilling.jsonl.gz of human-eval-infilling) filled in, and compares.\n"
    "\n"
    "  -m, --model MODEL     a catalogue name or a .gguf file; one with tokens for fill-in-the-middle\n"
    "  -t, --threads N       0 = all that the process may use\n"
    "      --limit N         N items, evenly spread\n"
    "      --max-tokens N    of a line (64)\n"
    "      --policy NAME     how files in front are read and looked at; see kedge --help\n"
    "      --context FILE    a file that stands in front of every item; may be repeated\n"
    "      --bare            nothing stands in front, the preamble neither\n"
    "      --order NAME      what is read first: suffix (the default) or prefix\n"
    "      --seed N          of the interval's bootstrap (1)\n"
    "      --device NAME     cpu, cuda, cuda:N or ref (plain double precision, slow)\n"
    "      --json            a JSON object an item, and one for all\n";

/* A line that is longer is none. */
#define LINE_MAX_BYTES 4096

struct line {
    char text[LINE_MAX_BYTES];
    size_t length;
};

static int keep(void *ctx, const char *text, size_t length)
{
    struct line *line = ctx;
    struct kg_eval_span span;
    size_t room = sizeof line->text - 1 - line->length, n = length < room ? length : room;
    memcpy(line->text + line->length, text, n);
    line->length += n;
    line->text[line->length] = '\0';
    return n < length || kg_eval_line_of(line->text, &span);
}

/* White space at the end of a line never counts; here that at its beginning does. */
static bool is_same_with_indentation(const char *filled, const char *line)
{
    size_t a = strcspn(filled, "\n"), b = strcspn(line, "\n");
    while (a && strchr(" \t\r", filled[a - 1]))
        a--;
    while (b && strchr(" \t\r", line[b - 1]))
        b--;
    return a == b && memcmp(filled, line, a) == 0;
}

static enum kg_status judge(const struct kg_eval_question *q, struct kg_eval_result *out, struct kg_error *err)
{
    struct line line = { .length = 0 };
    const struct kg_eval_item *item = q->item;
    /* As Qwen2.5-Coder reads repositories: each file behind its path, and a path in front of the one to be filled in. */
    struct kg_completion completion = { .prefix = item->prompt, .prefix_length = strlen(item->prompt), .suffix = item->suffix,
                                        .suffix_length = strlen(item->suffix), .path = q->with_files ? "solution.py" : NULL,
                                        .max_tokens = q->max_tokens, .text_out = keep, .ctx = &line };
    struct kg_eval_span filled, wanted = kg_eval_trimmed(item->canonical_solution, strlen(item->canonical_solution));
    enum kg_end end = KG_END_MODEL;
    const struct kg_fill_options options = { .order = q->order, .bare = q->bare };
    struct kg_fill *fill = NULL;
    enum kg_status status = kg_fill_open(q->base, &options, &fill, err);
    if (status == KG_OK)
        status = kg_fill_complete(fill, &completion, &end, &out->counts, err);
    kg_fill_close(fill);
    if (status != KG_OK)
        return status;
    if (end == KG_END_STOPPED)
        return kg_fail(err, KG_ERR_CANCELLED, "stopped");
    kg_eval_line_of(line.text, &filled);
    out->passed = filled.length == wanted.length && memcmp(filled.text, wanted.text, wanted.length) == 0;
    out->strictly = is_same_with_indentation(line.text, item->canonical_solution);
    kg_printable(out->line, sizeof out->line, filled.text, filled.length);
    strcpy(out->reason, out->passed ? "passed" : filled.length ? "another line" : "nothing");
    return KG_OK;
}

int kg_command_eval_infill(int argc, char **argv)
{
    static const char *const needed[] = { "task_id", "prompt", "suffix", "canonical_solution", NULL };
    static const struct kg_eval_kind kind = {
        .name = "infill", .help = help, .needed = needed, .share = "exact_match", .strict_share = "with_indentation", .max_tokens = 64, .fills = true,
        .check_engine = kg_engine_can_fill, .judge = judge,
    };
    return kg_eval_run(&kind, argc, argv);
}
