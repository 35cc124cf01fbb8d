/* A program that lives no longer than we do: in a process group of its own, ended with it, killed when we are. */
#ifndef KG_ENGINE_CATALOGUE_CHILD_H
#define KG_ENGINE_CATALOGUE_CHILD_H

#include <sys/types.h>

/* Runs argv[0] (looked for on PATH) in directory, input from nothing, output appended to log_path. Returns 0 or an errno,
 * ENOENT when there is no such program. The caller waits for it on the same thread. */
int kg_child_start(const char *const *argv, char *const *environment, const char *directory, const char *log_path, pid_t *out);

/* Ends it and what it started, politely for two seconds, and waits for it. */
void kg_child_end(pid_t child);

#endif
