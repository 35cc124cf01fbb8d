/* Where kedge keeps things: the XDG base directory specification, version 0.8.
 *
 *   models   $KEDGE_MODELS, else $XDG_DATA_HOME/kedge/models   (default ~/.local/share)
 *   cache    $KEDGE_CACHE,  else $XDG_CACHE_HOME/kedge         (default ~/.cache)
 *   state    $KEDGE_STATE,  else $XDG_STATE_HOME/kedge         (default ~/.local/state)
 *   config   $XDG_CONFIG_HOME/kedge                            (default ~/.config)
 */
#ifndef KG_BASE_PATHS_H
#define KG_BASE_PATHS_H

#include <stddef.h>

#include "base/status.h"

enum kg_place { KG_PLACE_MODELS, KG_PLACE_CACHE, KG_PLACE_STATE, KG_PLACE_CONFIG };

#define KG_PATH_MAX 4096

/* Writes the absolute path of a place (leaf may be NULL) to out[KG_PATH_MAX]; creates nothing.
 * KG_ERR_NOT_FOUND when neither the variables nor HOME give one, KG_ERR_RANGE when it is too long. */
enum kg_status kg_place_path(enum kg_place place, const char *leaf, char out[KG_PATH_MAX], struct kg_error *err);

/* Creates a directory and its parents, new ones with mode 0700. */
enum kg_status kg_make_dirs(const char *path, struct kg_error *err);

/* Reads a whole regular file into a new NUL-terminated buffer that the caller frees (length without the
 * NUL). KG_ERR_RANGE beyond limit bytes; directories, devices and pipes are refused. */
enum kg_status kg_read_file(const char *path, size_t limit, char **out, size_t *length, struct kg_error *err);

/* Replaces the file with exactly these bytes or leaves it as it was: temporary file beside it, fsync,
 * rename, fsync of the directory. mode applies to a new file; an existing one keeps its own. */
enum kg_status kg_write_file(const char *path, const void *bytes, size_t length, unsigned mode, struct kg_error *err);

#endif
