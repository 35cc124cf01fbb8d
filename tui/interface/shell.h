/* A command of the person's that runs beside everything else, its output taken in as plain text. One at a time per struct. */
#ifndef KG_TUI_SHELL_H
#define KG_TUI_SHELL_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "base/status.h"

#define KG_SHELL_MOST ((size_t)1 << 20) /* bytes of output that are kept: its beginning */

struct kg_shell {
    pid_t pid;  /* 0 = nothing runs */
    int fd;     /* to poll for reading, -1 = nothing runs */
    char *command, *output;
    size_t length, left_out; /* bytes kept, and read beyond them */
    int status;              /* exit status, or 128 + a signal's number, once it has ended */
    double begun;            /* the caller's */
    unsigned stops;
};

/* Starts `command` by /bin/sh in a process group of its own, with no input, TERM=dumb and no pager. */
enum kg_status kg_shell_start(struct kg_shell *shell, const char *command, struct kg_error *err);
/* Takes what there is to read; true when the command has ended: then pid is 0, and command and output wait for kg_shell_clear. */
bool kg_shell_read(struct kg_shell *shell);
/* Asks it to end (SIGINT), the second time makes it (SIGKILL). */
void kg_shell_stop(struct kg_shell *shell);
/* Kills what still runs, frees everything. */
void kg_shell_clear(struct kg_shell *shell);

/* The output without colours and other escape sequences, and of lines that were written over what stood there last. Length in
 * *length; valid while the output is. */
const char *kg_shell_text(struct kg_shell *shell, size_t *length);

#endif
