/* `kedge eval cbr`, and its rows. */
#ifndef KG_TUI_EVAL_CBR_H
#define KG_TUI_EVAL_CBR_H

#include "engine/eval/cbr.h"

int kg_command_eval_cbr(int argc, char **argv);

struct kg_cbr_line {
    const char *text; /* the own file's path, or "all" */
    const char *model, *kv;
    size_t texts;
    uint32_t bits;
    struct kg_cbr_rule rule;
    bool chat;
    uint64_t seed;
    struct kg_cbr_summary summary;
};

void kg_cbr_print_head(void);                             /* of the table */
void kg_cbr_print_row(const struct kg_cbr_line *line);    /* of the table */
void kg_cbr_print_object(const struct kg_cbr_line *line); /* one JSON object, one line */

#endif
