/* kedge model: the catalogue, and downloads with a progress bar. */
#ifndef KG_TUI_COMMANDS_MODEL_H
#define KG_TUI_COMMANDS_MODEL_H

/* argv[0] is "model". Returns the exit status: 0, 1 (failed, one line on stderr) or 2 (wrong usage). */
int kg_command_model(int argc, char **argv);

#endif
