/* kedge cache show: of the files at hand, what is known. */
#ifndef KG_TUI_CACHE_SHOW_H
#define KG_TUI_CACHE_SHOW_H

#include "tui/commands/command.h"

/* Returns the exit status. every: files of which nothing is known are listed as well. */
int kg_cache_show_worktree(const char *directory, const char *model, bool every, bool json);

#endif
