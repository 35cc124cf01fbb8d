#include "tests/faults/killed_process.h"

#include <fcntl.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

/* What fails or crashes there ends the process, in which cmocka would go on with the next test otherwise. */
static void work_alone(void (*work)(void *ctx, int tell), void *ctx, int tell)
{
    static const int crashes[] = { SIGFPE, SIGILL, SIGSEGV, SIGBUS, SIGSYS };
    for (size_t i = 0; i < sizeof crashes / sizeof *crashes; i++)
        signal(crashes[i], SIG_DFL);
    setenv("CMOCKA_TEST_ABORT", "1", 1);
    work(ctx, tell);
    _exit(0);
}

int killed_process(void (*work)(void *ctx, int tell), void *ctx, enum killed_when when, unsigned microseconds)
{
    int ends[2], how = 0;
    assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
    const pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        close(ends[0]);
        work_alone(work, ctx, ends[1]);
    }
    close(ends[1]);
    struct pollfd told = { .fd = ends[0], .events = POLLIN };
    const bool began = when == KILLED_FROM_START || (poll(&told, 1, -1) == 1 && told.revents & POLLIN);
    usleep(microseconds);
    kill(child, SIGKILL);
    assert_int_equal(waitpid(child, &how, 0), child);
    assert_true(began);
    if (how != 0 && !(WIFSIGNALED(how) && WTERMSIG(how) == SIGKILL))
        fail_msg("the process ended with status %#x", (unsigned)how);
    return ends[0];
}
