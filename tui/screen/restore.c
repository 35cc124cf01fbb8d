#include "tui/screen/restore.h"

#include <errno.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define STACK_BYTES ((size_t)64 << 10)

static const int crashes[] = { SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT, SIGQUIT };
#define CRASHES (sizeof crashes / sizeof crashes[0])

static struct sigaction before[CRASHES];
static atomic_int armed; /* a crash may be any thread's */
static int terminal_fd;
static char reset[256];
static size_t reset_length;
static struct termios modes_before;

void kg_restore_now(void)
{
    if (!armed)
        return;
    int saved = errno;
    for (size_t at = 0; at < reset_length;) {
        ssize_t n = write(terminal_fd, reset + at, reset_length - at);
        if (n < 0 && errno != EINTR)
            break;
        at += n > 0 ? (size_t)n : 0;
    }
    tcsetattr(terminal_fd, TCSANOW, &modes_before);
    errno = saved;
}

/* The signal comes again when this returns, and meets whoever was there before: a sanitizer, a core dump. */
static void on_crash(int number)
{
    static atomic_int crashed;
    kg_restore_now();
    armed = 0;
    struct sigaction next = { .sa_handler = SIG_DFL };
    for (size_t i = 0; i < CRASHES && !crashed; i++)
        if (crashes[i] == number)
            next = before[i];
    crashed = 1; /* handlers that pass on to each other end here */
    sigaction(number, &next, NULL);
    raise(number);
}

void kg_restore_arm(int fd, const char *bytes, size_t length, const struct termios *modes)
{
    kg_restore_disarm(); /* armed already, with other bytes: who was there before stays known */
    terminal_fd = fd;
    reset_length = length < sizeof reset ? length : sizeof reset;
    memcpy(reset, bytes, reset_length);
    modes_before = *modes;
    armed = 1;
    struct sigaction action = { .sa_handler = on_crash, .sa_flags = SA_ONSTACK };
    sigemptyset(&action.sa_mask);
    for (size_t i = 0; i < CRASHES; i++)
        sigaction(crashes[i], &action, &before[i]);
}

void kg_restore_disarm(void)
{
    if (!armed)
        return;
    armed = 0;
    for (size_t i = 0; i < CRASHES; i++) {
        struct sigaction now;
        /* somebody who came later and passes on to this one stays */
        if (sigaction(crashes[i], NULL, &now) == 0 && now.sa_handler == on_crash)
            sigaction(crashes[i], &before[i], NULL);
    }
}

void *kg_restore_stack(void)
{
    stack_t stack = { .ss_sp = malloc(STACK_BYTES), .ss_size = STACK_BYTES };
    if (stack.ss_sp && sigaltstack(&stack, NULL) != 0) {
        free(stack.ss_sp);
        return NULL;
    }
    return stack.ss_sp;
}

void kg_restore_stack_free(void *stack)
{
    if (!stack)
        return;
    sigaltstack(&(stack_t){ .ss_flags = SS_DISABLE }, NULL);
    free(stack);
}
