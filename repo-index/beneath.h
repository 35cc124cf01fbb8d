/* Opening files beneath a directory, and never anything else: no link is followed, no "..", no gitdir.
 * Paths are relative, bytes as the file system has them.
 */
#ifndef KG_INDEX_BENEATH_H
#define KG_INDEX_BENEATH_H

#include <stdbool.h>
#include <stddef.h>

/* A descriptor, or -1 with errno: ELOOP for a link anywhere in the path, EXDEV or ENOENT for one that leaves root_fd.
 * O_CLOEXEC, O_NOFOLLOW, O_NONBLOCK and O_NOCTTY are added to flags, so that a pipe or a terminal cannot hold the
 * process; the caller examines what it got. */
int kg_beneath_open(int root_fd, const char *path, int flags);

/* The same component by component, for kernels and sandboxes without openat2. */
int kg_beneath_open_stepwise(int root_fd, const char *path, int flags);

/* Whether a path is one that may be asked for: not empty, relative, shorter than KG_PATH_MAX, without empty, "." and ".."
 * components. */
bool kg_beneath_path_is_plain(const char *path);

/* Whether some file system takes this name for ".git": upper case, "git~1", trailing dots and spaces, streams (":"), and
 * characters that HFS+ ignores. */
bool kg_names_gitdir(const char *name, size_t length);

/* Whether a component of the path does. */
bool kg_path_enters_gitdir(const char *path);

#endif
