/* The thread that looks things up while the worker may be busy for minutes: paths and sessions to complete, the list of
 * sessions. It brings the repository's index up to date when it starts, and again whenever the worktree changes: then
 * KG_EVENT_INDEXED, and once a notice where changes are not announced, or what is wrong with an index that cannot be used. Answers come as
 * events.
 */
#ifndef KG_TUI_LOOKUP_H
#define KG_TUI_LOOKUP_H

#include "tui/interface/event.h"
#include "tui/interface/interface.h"

struct kg_lookup;

/* options and what it points to, and events, outlive it. */
enum kg_status kg_lookup_start(const struct kg_interface_options *options, struct kg_channel *events, struct kg_lookup **out, struct kg_error *err);
void kg_lookup_end(struct kg_lookup *lookup); /* NULL is fine */

/* KG_EVENT_CANDIDATE with the ticket for each path whose characters match, and, when places are wanted, for what is defined under such
 * a name: its path and lines ("a.c:3-9"), shown by its name. The first time that names are wanted they are read from the repository,
 * and follow as they come, as do those of files that change: some are told again then. Only the newest request is answered. */
void kg_lookup_paths(struct kg_lookup *lookup, const char *pattern, bool places, uint32_t ticket);
/* The same for names of sessions that begin so, but for the one that is open ("": none is). */
void kg_lookup_sessions(struct kg_lookup *lookup, const char *pattern, const char *open, uint32_t ticket);
/* A KG_EVENT_SESSIONS of the repository's sessions, or of all; of those that hold the words when there are any. Only the newest
 * request is answered. */
void kg_lookup_list_sessions(struct kg_lookup *lookup, const char *words, bool all, uint32_t ticket);
/* Changes one of the repository's sessions and lists them as above, saying what was done or why not. */
enum kg_session_change { KG_SESSION_RENAME, KG_SESSION_FORK, KG_SESSION_REMOVE };
void kg_lookup_change_session(struct kg_lookup *lookup, enum kg_session_change change, const char *name, const char *new_name, const char *words, bool all,
                              uint32_t ticket);

#endif
