#include "tui/screen/signals.h"

#include <errno.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "tui/screen/restore.h"

static const int heard[] = { SIGWINCH, SIGTERM, SIGHUP, SIGINT, SIGTSTP, SIGCONT, SIGPIPE, SIGXFSZ };
#define HEARD (sizeof heard / sizeof heard[0])
#define FAILED 2 /* the last so many tell of a write that failed */
static struct sigaction heard_before[HEARD];
/* (a signal may come to any thread) */
static atomic_int signal_fd = -1;
static atomic_int resized, suspended, continued, ended_by, held;
_Static_assert(ATOMIC_INT_LOCK_FREE == 2, "signal handlers take no locks");

static void on_signal(int number)
{
    int saved = errno;
    uint64_t one = 1;
    if (number == SIGWINCH)
        resized = 1;
    else if (number == SIGTSTP)
        suspended = 1;
    else if (number == SIGCONT)
        continued = 1;
    else if (ended_by && !held) { /* again, and the loop has not come to it: it hangs */
        kg_restore_now();
        _exit(128 + number);
    } else
        ended_by = number;
    if (write(signal_fd, &one, sizeof one) < 0) {
        /* the counter is full, so the loop will wake anyway */
    }
    errno = saved;
}

/* The call that meant it fails and tells: a handler, not SIG_IGN, as programs that are started would inherit that. */
static void on_failed_write(int number)
{
    (void)number;
}

enum kg_status kg_signals_hear(struct kg_error *err)
{
    struct sigaction action = { .sa_handler = on_signal, .sa_flags = SA_RESTART }, failed = { .sa_handler = on_failed_write, .sa_flags = SA_RESTART };
    sigemptyset(&action.sa_mask);
    sigemptyset(&failed.sa_mask);
    resized = suspended = continued = ended_by = held = 0;
    signal_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (signal_fd < 0)
        return kg_fail(err, KG_ERR_IO, "cannot open the interface: %s", strerror(errno));
    for (size_t i = 0; i < HEARD; i++)
        sigaction(heard[i], i < HEARD - FAILED ? &action : &failed, &heard_before[i]);
    return KG_OK;
}

void kg_signals_unhear(void)
{
    for (size_t i = 0; i < HEARD; i++)
        sigaction(heard[i], &heard_before[i], NULL);
    close(signal_fd);
    signal_fd = -1;
}

int kg_signals_fd(void)
{
    return signal_fd;
}

struct kg_heard kg_signals_take(void)
{
    eventfd_t count;
    eventfd_read(signal_fd, &count);
    return (struct kg_heard){ .resized = atomic_exchange(&resized, 0),
                              .suspended = atomic_exchange(&suspended, 0),
                              .continued = atomic_exchange(&continued, 0),
                              .ended_by = ended_by };
}

void kg_signals_hold(void)
{
    held = 1;
}

void kg_signals_pardon(void)
{
    ended_by = 0;
}
