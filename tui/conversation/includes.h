/* What a file of the repository includes or imports, with contents, for reading it in sight of them. */
#ifndef KG_TUI_INCLUDES_H
#define KG_TUI_INCLUDES_H

#include "engine/engine.h"
#include "repo-index/repo_index.h"

/* Tokens of them that may be read before the file itself when nobody has read them yet: a person waits. */
#define KG_INCLUDES_READ_NOW 512

struct kg_includes {
    struct kg_include *files;
    size_t count, bytes;
};

/* In order of appearance, at most 32 and 256 KiB; what looks secret or cannot be read is left out, and where the index knows
 * nothing there are none. KG_ERR_NOMEM only. Freed by kg_includes_free in any case; zero-initialise. */
enum kg_status kg_includes_gather(struct kg_index *index, const char *path, struct kg_includes *out, struct kg_error *err);
void kg_includes_free(struct kg_includes *includes);

#endif
