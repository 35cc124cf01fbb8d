/* The thread that looks things up while the worker may be busy for minutes: paths and sessions to complete, the list of
 * sessions. It brings the repository's index up to date when it starts, and again whenever the worktree changes: then
 * KG_EVENT_INDEXED, and once a notice where changes are not announced. Answers come as events.
 */
#ifndef KG_TUI_LOOKUP_H
#define KG_TUI_LOOKUP_H

#include "tui/interface/event.h"
#include "tui/interface/interface.h"

struct kg_lookup;

/* options and what it points to, and events, outlive it. */
enum kg_status kg_lookup_start(const struct kg_interface_options *options, struct kg_channel *events, struct kg_lookup **out, struct kg_error *err);
void kg_lookup_end(struct kg_lookup *lookup); /* NULL is fine */

/* KG_EVENT_CANDIDATE with the ticket for each path whose characters match; only the newest request is answered. */
void kg_lookup_paths(struct kg_lookup *lookup, const char *pattern, uint32_t ticket);
/* The same for names of sessions that begin so. */
void kg_lookup_sessions(struct kg_lookup *lookup, const char *pattern, uint32_t ticket);
/* A KG_ENTRY_TABLE of the repository's sessions. */
void kg_lookup_list_sessions(struct kg_lookup *lookup);

#endif
