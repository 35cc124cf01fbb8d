/* kedge index --read: a model reads a repository's files ahead of any question. */
#ifndef KG_TUI_INDEX_READ_H
#define KG_TUI_INDEX_READ_H

#include <stdbool.h>
#include <stdint.h>

/* Returns the exit status. tokens: to be read at most; 0 = as many as the model's context holds. */
int kg_index_read_ahead(const char *directory, const char *model, uint64_t tokens, bool json);

#endif
