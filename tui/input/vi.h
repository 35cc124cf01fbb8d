/* The input with vi's keys: inserting at first, commands behind Escape. Motions h l 0 ^ $ w W b B e E f F t T ; , j k G gg % { } and
 * objects (iw a" i( ip ...) with the operators d c y; x X s S r ~ D C Y J p P u Ctrl-R i a I A o O, counts, and the dot.
 */
#ifndef KG_TUI_VI_H
#define KG_TUI_VI_H

#include "tui/input/editor.h"

struct kg_vi;

struct kg_vi *kg_vi_create(void); /* NULL when out of memory */
void kg_vi_free(struct kg_vi *vi); /* NULL is fine */

/* Inserting anew, in a text that has just begun. */
void kg_vi_begin(struct kg_vi *vi, struct kg_editor *editor);
bool kg_vi_commands(const struct kg_vi *vi); /* keys are commands */
/* What was typed of a command that is not complete; "" = none. Valid until the next key. */
const char *kg_vi_typed(const struct kg_vi *vi);

/* A character among commands. What it asks of whoever shows the text: a bell, rows up or down, a search in what was sent. */
enum kg_vi_wish { KG_VI_DONE, KG_VI_BELL, KG_VI_UP, KG_VI_DOWN, KG_VI_FIND };
enum kg_vi_wish kg_vi_take(struct kg_vi *vi, struct kg_editor *editor, const char *character, size_t length);
unsigned kg_vi_times(const struct kg_vi *vi); /* how many rows */

/* Ends inserting, or forgets what was typed of a command; false when there was neither. */
bool kg_vi_escape(struct kg_vi *vi, struct kg_editor *editor);
/* Behind any other key: among commands, the cursor stands on a character. */
void kg_vi_settle(const struct kg_vi *vi, struct kg_editor *editor);

#endif
