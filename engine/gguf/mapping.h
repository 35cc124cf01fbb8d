/* A file mapped for reading that survives being truncated by somebody else.
 *
 * Reading a mapped page that no longer exists raises SIGBUS. The first mapping installs one action for the process:
 * for an address inside a mapping of ours it puts a page of zeros there and remembers the loss in the mapping; any
 * other address goes to the action that was installed before. Mapping and unmapping may happen in any thread.
 */
#ifndef KG_ENGINE_MAPPING_H
#define KG_ENGINE_MAPPING_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/status.h"

struct kg_mapping;

/* Regular, non-empty files only. The path is used for messages. */
enum kg_status kg_mapping_open(const char *path, struct kg_mapping **out, struct kg_error *err);
void kg_mapping_close(struct kg_mapping *mapping); /* NULL is fine; nobody may be reading any more */
const uint8_t *kg_mapping_bytes(const struct kg_mapping *mapping);
size_t kg_mapping_length(const struct kg_mapping *mapping);
/* A page of it could not be read; it reads as zeros. */
bool kg_mapping_lost(const struct kg_mapping *mapping);
/* The pages that hold these bytes are not needed any more; reading them again is possible. */
void kg_mapping_forget(const struct kg_mapping *mapping, const void *bytes, size_t length);

#endif
