/* `kedge eval patch`. */
#ifndef KG_TUI_EVAL_PATCH_H
#define KG_TUI_EVAL_PATCH_H

int kg_command_eval_patch(int argc, char **argv);

#endif
