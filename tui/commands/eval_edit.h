/* kedge eval edit: what its run keeps of answers, and how that is shown. */
#ifndef KG_TUI_EVAL_EDIT_H
#define KG_TUI_EVAL_EDIT_H

#include <stdbool.h>
#include <stdint.h>

#include "engine/eval/edit_task.h"
#include "tui/changes/form.h"

int kg_command_eval_edit(int argc, char **argv);

enum kg_edit_outcome {
    KG_EDIT_RIGHT,   /* written, and the check holds */
    KG_EDIT_REFUSED, /* nothing would be written: the answer has no edit that can be told for certain, or it is cut off */
    KG_EDIT_WRONG,   /* written, and the check does not hold */
};
#define KG_EDIT_OUTCOMES 3

struct kg_edit_result {
    enum kg_edit_outcome outcome;
    char reason[512];   /* printable */
    unsigned fuzzy;     /* edits that were not exact, which the person is told */
    uint64_t tokens, computed_tokens; /* generated; read */
    double seconds;     /* of the answer */
};

/* Of one form over all tasks so far. */
struct kg_edit_tally {
    size_t outcomes[KG_EDIT_OUTCOMES];
    size_t fuzzy_edits, fuzzy_right, fuzzy_wrong; /* edits; tasks in which there were some */
    size_t right_of[8], asked_of[8];              /* by kg_edit_column */
    uint64_t tokens, computed_tokens;
    double seconds;
};
void kg_edit_count(struct kg_edit_tally *tally, const struct kg_edit_task *task, const struct kg_edit_result *result);

struct kg_edit_report {
    const char *model, *policy;
    enum kg_form forms[KG_FORMS];
    const struct kg_edit_tally *tallies; /* one a form */
    size_t form_count;
    enum kg_form default_form;           /* of this model */
    uint64_t seed;
    double seconds;
};
void kg_edit_print_result(const struct kg_edit_task *task, enum kg_form form, const struct kg_edit_result *result); /* a JSON object */
void kg_edit_print_objects(const struct kg_edit_report *report); /* one a form */
void kg_edit_print_table(const struct kg_edit_report *report);

#endif
