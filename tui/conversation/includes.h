/* A file joins the conversation, in sight of what it includes or imports. */
#ifndef KG_TUI_INCLUDES_H
#define KG_TUI_INCLUDES_H

#include "engine/engine.h"
#include "repo-index/repo_index.h"

/* Adds a file with this content, in sight of what it includes or imports: in order of appearance, at most 32 files and 256 KiB;
 * what looks secret or cannot be read is left out, and where the index (NULL: none) knows nothing there are none. Content that
 * stands in context already is nothing new, and nobody looks for what it includes. */
enum kg_status kg_add_file_with_includes(struct kg_session *session, struct kg_index *index, const char *path, const char *text, size_t length,
                                         bool secret, struct kg_error *err);

#endif
