/* What a repository says to assistants: AGENTS.md, or else CONVENTIONS.md, in its root. Whoever wrote it is not the person who asks,
 * and both the model and the person are told so.
 */
#ifndef KG_TUI_INSTRUCTIONS_H
#define KG_TUI_INSTRUCTIONS_H

#include "engine/engine.h"
#include "repo-index/repo_index.h"

#define KG_INSTRUCTIONS_MAX ((size_t)32 << 10) /* bytes: a longer one is read only when it is named */

bool kg_is_instructions(const char *path);

/* The file joins a conversation in which nothing was asked and of which it was never a part. *path is its name, or NULL when there
 * is none or it joined before. KG_ERR_RANGE: it is too long. */
enum kg_status kg_add_instructions(struct kg_session *session, struct kg_index *index, const char **path, struct kg_error *err);

#endif
