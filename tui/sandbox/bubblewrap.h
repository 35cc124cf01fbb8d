/* What bwrap is told: the whole of what a sandboxed program can see and do. */
#ifndef KG_TUI_BUBBLEWRAP_H
#define KG_TUI_BUBBLEWRAP_H

#include "tui/sandbox/sandbox.h"

#define KG_BUBBLEWRAP_ARGUMENTS 128

struct kg_bubblewrap {
    const char *path; /* of bwrap, NULL when there is none */
    const char *argv[KG_BUBBLEWRAP_ARGUMENTS];
    char text[2048]; /* that argv points into */
};

/* program_fd holds the program's text; bwrap writes to status_fd how it goes, as JSON. Both are inherited under these numbers.
 * KG_ERR_UNSUPPORTED when bwrap or prlimit is missing. */
enum kg_status kg_bubblewrap(const struct kg_sandbox_program *program, int program_fd, int status_fd, struct kg_bubblewrap *out, struct kg_error *err);

#endif
