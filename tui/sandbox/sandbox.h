/* Runs a program that nobody has read, such as a model's answer, where it can do no harm.
 *
 * bubblewrap (bwrap) puts it into namespaces of its own: no network, no home, no environment, no processes but its own.
 * It sees /usr read-only, the usual links to it, a small /dev, and an empty /tmp; nothing else can be written. A kedge
 * that runs as root becomes nobody first. Where that cannot be had, nothing is run. When kedge dies, so does the program.
 */
#ifndef KG_TUI_SANDBOX_H
#define KG_TUI_SANDBOX_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#include "base/status.h"

struct kg_sandbox_limits {
    double wall_s;      /* of the whole run */
    uint32_t cpu_s;     /* of a process */
    uint64_t memory;    /* bytes of address space, of a process */
    uint32_t processes; /* and threads, at once */
    uint64_t files;     /* bytes in /tmp, and of one file */
    size_t output;      /* bytes of standard output; a program that writes more is ended */
};

struct kg_sandbox_program {
    const char *const *interpreter; /* an absolute path beneath /usr and its arguments, NULL behind them */
    const char *text;               /* what the interpreter is to run; it gets the path of a file that holds it */
    size_t length;
    const char *input;              /* of standard input */
    size_t input_length;
    struct kg_sandbox_limits limits;
    const atomic_bool *stop;        /* may be NULL; looked at ten times a second */
};

enum kg_sandbox_end {
    KG_SANDBOX_EXITED, /* by itself, with a status */
    KG_SANDBOX_KILLED, /* by a signal that was not sent from here */
    KG_SANDBOX_MEMORY, /* by SIGKILL, as the kernel does when memory runs out; at the limit above a program is only told */
    KG_SANDBOX_TIME,
    KG_SANDBOX_OUTPUT
};

struct kg_sandbox_verdict {
    enum kg_sandbox_end end;
    int status;    /* exit status, or signal */
    char *output;  /* standard output up to its limit, NUL behind it; freed by the caller */
    size_t length;
    double seconds;
};

/* Blocks; when it returns, no process of the program is left, not even as a zombie. KG_ERR_UNSUPPORTED: there is no sandbox here, and
 * the message says what to install or to allow; KG_ERR_CANCELLED: stop was set. Uses PR_SET_CHILD_SUBREAPER while it runs. */
enum kg_status kg_sandbox_run(const struct kg_sandbox_program *program, struct kg_sandbox_verdict *out, struct kg_error *err);

/* KG_OK when an empty program runs. */
enum kg_status kg_sandbox_check(const char *const *interpreter, struct kg_error *err);

#endif
