#include "engine/catalogue/child.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

/* Between fork and exec, with other threads gone: only what a signal handler may call. posix_spawn would do but for
 * PR_SET_PDEATHSIG. */
static int become(const char *const *argv, char *const *environment, const char *directory, const char *log_path, pid_t parent)
{
    sigset_t none;
    sigemptyset(&none);
    const int ignored_perhaps[] = { SIGINT, SIGTERM, SIGPIPE, SIGHUP, SIGQUIT, SIGXFSZ };
    for (size_t i = 0; i < sizeof ignored_perhaps / sizeof *ignored_perhaps; i++)
        signal(ignored_perhaps[i], SIG_DFL);
    sigprocmask(SIG_SETMASK, &none, NULL);
    int input = open("/dev/null", O_RDONLY | O_CLOEXEC);
    int output = open(log_path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    if (prctl(PR_SET_PDEATHSIG, SIGKILL) != 0 || setpgid(0, 0) != 0 || input < 0 || output < 0 || dup2(input, 0) < 0 ||
        dup2(output, 1) < 0 || dup2(output, 2) < 0 || chdir(directory) != 0)
        return errno;
    if (getppid() != parent)
        _exit(127);
    execvpe(argv[0], (char *const *)argv, environment);
    return errno;
}

int kg_child_start(const char *const *argv, char *const *environment, const char *directory, const char *log_path, pid_t *out)
{
    int ends[2], code = 0;
    if (pipe2(ends, O_CLOEXEC) != 0)
        return errno;
    pid_t parent = getpid(), child = fork();
    if (child == 0) {
        code = become(argv, environment, directory, log_path, parent);
        while (write(ends[1], &code, sizeof code) < 0 && errno == EINTR)
            continue;
        _exit(127);
    }
    if (child < 0)
        code = errno;
    close(ends[1]);
    /* exec closes the other end: nothing to read is good news */
    ssize_t n = 0;
    while (child > 0 && (n = read(ends[0], &code, sizeof code)) < 0 && errno == EINTR)
        continue;
    close(ends[0]);
    if (child > 0 && n > 0)
        waitpid(child, NULL, 0);
    if (code == 0)
        *out = child;
    return code;
}

void kg_child_end(pid_t child)
{
    for (int tenth = 0; tenth < 30; tenth++) {
        kill(-child, tenth < 20 ? SIGTERM : SIGKILL);
        if (waitpid(child, NULL, WNOHANG) != 0) {
            kill(-child, SIGKILL);
            return;
        }
        nanosleep(&(struct timespec){ .tv_nsec = 100000000 }, NULL);
    }
    waitpid(child, NULL, 0);
}
