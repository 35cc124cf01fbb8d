/* Reading one file beneath a directory. */
#ifndef KG_INDEX_READ_H
#define KG_INDEX_READ_H

#include <stddef.h>

#include "base/status.h"

/* A regular file, whole, NUL-terminated, freed by the caller; one in UTF-16 as UTF-8 (utf16.h). size (may be NULL) gets the bytes of
 * the file itself. KG_ERR_RANGE beyond limit bytes of either, KG_ERR_UNSUPPORTED for what is not a file or lies behind a link,
 * KG_ERR_NOT_FOUND. */
enum kg_status kg_read_beneath(int root_fd, const char *path, size_t limit, char **out, size_t *length, size_t *size, struct kg_error *err);

#endif
