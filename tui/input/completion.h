/* What the word at the cursor may become: commands at the start of the input, and what stands behind them, files behind
 * an @. Candidates that are not known here are asked for (wanted) and offered when they come.
 */
#ifndef KG_TUI_COMPLETION_H
#define KG_TUI_COMPLETION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "tui/input/editor.h"

enum kg_wanted {
    KG_WANTED_NOTHING,
    KG_WANTED_COMMANDS,      /* known here */
    KG_WANTED_PATHS,         /* of the repository */
    KG_WANTED_PLACES,        /* the same, and what it defines */
    KG_WANTED_CONTEXT_FILES, /* in context */
    KG_WANTED_SESSIONS
};

struct kg_input_command {
    const char *name;     /* "/add" */
    const char *argument; /* "PATH", "[code]" for one that may be left out, or "" */
    const char *help;     /* one line */
    enum kg_wanted completes; /* its argument */
};

struct kg_completion;

/* commands: ends with a NULL name; outlives the completion. NULL when out of memory. */
struct kg_completion *kg_completion_create(const struct kg_input_command *commands);
void kg_completion_free(struct kg_completion *completion);

/* After any change of the text or the cursor. Returns what has to be asked for, with its pattern (valid until the next
 * call) and a ticket; candidates of an older ticket are refused. */
enum kg_wanted kg_completion_update(struct kg_completion *completion, const struct kg_editor *editor, const char **pattern, uint32_t *ticket);
/* text is put in place of the word; shown stands for it in the list (NULL: itself). Left out is what is there already, and a path
 * that cannot be written, as one with a line break. True when the person asked for a candidate before there was one: choose it now. */
bool kg_completion_offer(struct kg_completion *completion, uint32_t ticket, const char *text, const char *shown, const char *help);

/* Puts the next (1) or the one before (-1) in place of the word; false when there are none and none
 * will come. */
bool kg_completion_choose(struct kg_completion *completion, struct kg_editor *editor, int direction);
/* No candidates until the text changes; false if there were none. */
bool kg_completion_dismiss(struct kg_completion *completion);

size_t kg_completion_count(const struct kg_completion *completion);
const char *kg_completion_shown(const struct kg_completion *completion, size_t index, const char **help);
int kg_completion_chosen(const struct kg_completion *completion); /* -1: none yet */

#endif
