#include "tui/screen/lend.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

/* Ignored by kedge while the program runs. Ctrl-Z by the program as well: kedge could not be gone on with if it alone stopped. */
static const int keys[] = { SIGINT, SIGQUIT, SIGTSTP, SIGPIPE };
#define KEYS (sizeof keys / sizeof keys[0])

static void run_program(int in, int out, const char *command)
{
    struct sigaction standard = { .sa_handler = SIG_DFL };
    sigaction(SIGINT, &standard, NULL);
    sigaction(SIGQUIT, &standard, NULL);
    sigaction(SIGPIPE, &standard, NULL);
    dup2(in, STDIN_FILENO);
    dup2(out, STDOUT_FILENO);
    dup2(out, STDERR_FILENO);
    execl("/bin/sh", "sh", "-c", command, (char *)NULL);
    _exit(127);
}

static void feed(int fd, const char *input, size_t length)
{
    while (length > 0) { /* a program that ends before it has read everything is content */
        ssize_t n = write(fd, input, length);
        if (n < 0 && errno != EINTR)
            return;
        if (n > 0) {
            input += n;
            length -= (size_t)n;
        }
    }
}

static int wait_for(pid_t pid)
{
    int status;
    while (waitpid(pid, &status, 0) < 0)
        if (errno != EINTR)
            return -1;
    return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}

static int lend(int in, int out, const char *command, const char *input, size_t length)
{
    int ends[2] = { -1, -1 };
    if (input && pipe2(ends, O_CLOEXEC) != 0)
        return -1;
    pid_t pid = fork();
    if (pid == 0) {
        if (input)
            close(ends[1]);
        run_program(input ? ends[0] : in, out, command);
    }
    if (input) {
        close(ends[0]);
        if (pid > 0)
            feed(ends[1], input, length);
        close(ends[1]);
    }
    return pid > 0 ? wait_for(pid) : -1;
}

int kg_lend(int in, int out, const char *command, const char *input, size_t length)
{
    struct sigaction before[KEYS], ignore = { .sa_handler = SIG_IGN };
    sigemptyset(&ignore.sa_mask);
    for (size_t i = 0; i < KEYS; i++)
        sigaction(keys[i], &ignore, &before[i]);
    int result = lend(in, out, command, input, length);
    for (size_t i = 0; i < KEYS; i++)
        sigaction(keys[i], &before[i], NULL);
    return result;
}
