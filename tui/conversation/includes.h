/* A file joins the conversation, or is read for a later one, in sight of what it includes or imports. */
#ifndef KG_TUI_INCLUDES_H
#define KG_TUI_INCLUDES_H

#include "engine/engine.h"
#include "repo-index/repo_index.h"

/* Adds a file with this content, in sight of what it includes or imports: in order of appearance, at most 32 files and 256 KiB;
 * what looks secret or cannot be read is left out, and where the index (NULL: none) knows nothing there are none. Content that
 * stands in context already is nothing new, and nobody looks for what it includes. */
enum kg_status kg_add_file_with_includes(struct kg_session *session, struct kg_index *index, const char *path, const char *text, size_t length,
                                         bool secret, struct kg_error *err);

/* What adding it so would find in the cache. */
enum kg_status kg_known_with_includes(struct kg_session *session, struct kg_index *index, const char *path, const char *text, size_t length,
                                      struct kg_known *out, struct kg_error *err);
/* Reads it into the cache in the reading that adding it prefers, and what it includes before it. The session is unsaved, and
 * for this alone. *computed (may be NULL) gets the tokens that were really read, also when it is stopped. */
enum kg_status kg_read_ahead_with_includes(struct kg_session *session, struct kg_index *index, const char *path, const char *text, size_t length,
                                           uint64_t *computed, struct kg_error *err);
/* The same for a file that is welcome, but not worth a wait: kg_session_add_known. */
enum kg_status kg_add_known_with_includes(struct kg_session *session, struct kg_index *index, const char *path, const char *text, size_t length,
                                          uint32_t *left, struct kg_error *err);

#endif
