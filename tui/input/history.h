/* What was sent before, within and across runs: a file with one entry a line, mode 0600, shared by all processes.
 * Newlines and backslashes in an entry are written \n and \\, other control bytes \xNN.
 */
#ifndef KG_TUI_HISTORY_H
#define KG_TUI_HISTORY_H

#include <stdbool.h>
#include <stddef.h>

#include "base/status.h"

#define KG_HISTORY_MOST 2000            /* entries that are kept */
#define KG_HISTORY_ENTRY ((size_t)64 << 10) /* bytes; longer ones are remembered until the process ends, not written */

struct kg_history;

/* path NULL: within this run only. A file that cannot be read is an error, with a history that works in *out. */
enum kg_status kg_history_open(const char *path, struct kg_history **out, struct kg_error *err);
void kg_history_close(struct kg_history *history); /* NULL is fine */

/* The newest entry from now on, unless it equals the one before or is empty; ends any walk. An error tells that it
 * could not be written. */
enum kg_status kg_history_add(struct kg_history *history, const char *text, size_t length, struct kg_error *err);

/* One older (-1) or newer (1). The walk starts at the draft, which is kept and comes back behind the newest entry.
 * NULL: there is none in that direction. Valid until the next call. */
const char *kg_history_walk(struct kg_history *history, int direction, const char *draft, size_t draft_length, size_t *length);

/* The newest entry before *at (KG_HISTORY_MOST: of all) that holds the pattern, as kg_find_next looks for it; *at is its place then.
 * NULL: there is none. Valid until the next call. */
const char *kg_history_find(const struct kg_history *history, const char *pattern, size_t pattern_length, size_t *at, size_t *length);

#endif
