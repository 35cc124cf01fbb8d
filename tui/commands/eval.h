/* kedge eval: what the subcommands that go through a file of items have in common: options, the model, files in front of
 * every item, items one after the other, progress, and the share that passed.
 */
#ifndef KG_TUI_EVAL_H
#define KG_TUI_EVAL_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "engine/complete.h"
#include "engine/eval/eval.h"
#include "tui/commands/command.h"

struct kg_eval_question {
    const struct kg_session *base; /* what stands in front; stays as it is */
    const struct kg_eval_item *item;
    uint32_t max_tokens;
    bool with_files;         /* there are files in front */
    bool bare;               /* --bare */
    enum kg_fill_order order; /* --order */
    const atomic_bool *stop; /* set when the person interrupts; the engine is stopped then, too */
};

struct kg_eval_result {
    bool passed;
    bool strictly;   /* passed in the stricter sense, for kinds that have one */
    char reason[96]; /* printable */
    char line[512];  /* printable; what was filled in, "" where that is no single line */
    struct kg_counts counts;
};

struct kg_eval_kind {
    const char *name;          /* of the subcommand */
    const char *help;
    const char *const *needed; /* fields of its items, NULL behind them */
    const char *share;         /* what the share that passed is called */
    const char *strict_share;  /* NULL: there is none */
    uint32_t max_tokens;
    bool fills;                /* it has --bare and --order */
    enum kg_status (*check)(struct kg_error *err);                                        /* before a model is loaded; may be NULL */
    enum kg_status (*check_engine)(const struct kg_engine *engine, struct kg_error *err); /* may be NULL */
    enum kg_status (*judge)(const struct kg_eval_question *question, struct kg_eval_result *out, struct kg_error *err);
};

/* argv as commands get it; returns the exit status. */
int kg_eval_run(const struct kg_eval_kind *kind, int argc, char **argv);

int kg_command_eval_humaneval(int argc, char **argv);
int kg_command_eval_infill(int argc, char **argv);

#endif
