/* One line on standard error about what the engine does, rewritten in place. */
#ifndef KG_TUI_PROGRESS_H
#define KG_TUI_PROGRESS_H

#include <stdbool.h>

#include "engine/engine.h"

/* For kg_engine_options: shown is a bool, set while the line stands there. */
void kg_progress_show(void *shown, const struct kg_progress *progress);
void kg_progress_clear(bool *shown);

/* From now on the first Ctrl-C ends what the engine is doing, and the second one the program. NULL: no engine any more. */
void kg_stop_on_interrupt(struct kg_engine *engine);

#endif
