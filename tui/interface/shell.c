#include "tui/interface/shell.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

/* mask: signals that are blocked; until those have their standard meaning all are, so that none is lost to a handler of kedge. */
static void run_command(const char *command, int output, const sigset_t *mask)
{
    static const int heard[] = { SIGINT, SIGQUIT, SIGTSTP, SIGTERM, SIGHUP, SIGPIPE, SIGWINCH, SIGCONT };
    for (size_t i = 0; i < sizeof heard / sizeof heard[0]; i++)
        sigaction(heard[i], &(struct sigaction){ .sa_handler = SIG_DFL }, NULL);
    setpgid(0, 0);
    sigprocmask(SIG_SETMASK, mask, NULL);
    int nothing = open("/dev/null", O_RDONLY);
    dup2(nothing, STDIN_FILENO);
    dup2(output, STDOUT_FILENO);
    dup2(output, STDERR_FILENO);
    setenv("TERM", "dumb", 1);
    setenv("PAGER", "cat", 1);
    setenv("GIT_PAGER", "cat", 1);
    execl("/bin/sh", "sh", "-c", command, (char *)NULL);
    _exit(127);
}

enum kg_status kg_shell_start(struct kg_shell *shell, const char *command, struct kg_error *err)
{
    int ends[2];
    *shell = (struct kg_shell){ .fd = -1, .command = strdup(command), .output = malloc(KG_SHELL_MOST) };
    if (!shell->command || !shell->output) {
        kg_shell_clear(shell);
        return kg_fail_nomem(err, "running a command");
    }
    if (pipe2(ends, O_CLOEXEC) != 0) {
        kg_shell_clear(shell);
        return kg_fail(err, KG_ERR_IO, "cannot run %s: %s", command, strerror(errno));
    }
    sigset_t all, mask;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &mask);
    shell->pid = fork();
    if (shell->pid == 0)
        run_command(command, ends[1], &mask);
    pthread_sigmask(SIG_SETMASK, &mask, NULL);
    close(ends[1]);
    if (shell->pid < 0) {
        int cause = errno;
        shell->pid = 0;
        close(ends[0]);
        kg_shell_clear(shell);
        return kg_fail(err, KG_ERR_IO, "cannot run %s: %s", command, strerror(cause));
    }
    setpgid(shell->pid, shell->pid);
    fcntl(ends[0], F_SETFL, O_NONBLOCK);
    shell->fd = ends[0];
    return KG_OK;
}

/* Its output has ended; what it left running in its group, with the output closed, is left alone. */
static void wait_for(struct kg_shell *shell)
{
    int status = 0;
    while (waitpid(shell->pid, &status, 0) < 0 && errno == EINTR)
        ;
    shell->status = WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
    close(shell->fd);
    shell->fd = -1;
    shell->pid = 0;
}

bool kg_shell_read(struct kg_shell *shell)
{
    char rest[65536];
    for (int i = 0; i < 16; i++) { /* a command that never stops writing does not keep keys waiting */
        size_t room = KG_SHELL_MOST - shell->length;
        ssize_t n = read(shell->fd, room ? shell->output + shell->length : rest, room ? room : sizeof rest);
        if (n < 0 && (errno == EAGAIN || errno == EINTR))
            return false;
        if (n <= 0) {
            wait_for(shell);
            return true;
        }
        *(room ? &shell->length : &shell->left_out) += (size_t)n;
    }
    return false;
}

void kg_shell_stop(struct kg_shell *shell)
{
    if (shell->pid > 0)
        kill(-shell->pid, shell->stops++ == 0 ? SIGINT : SIGKILL);
}

void kg_shell_clear(struct kg_shell *shell)
{
    if (shell->pid > 0) {
        kill(-shell->pid, SIGKILL);
        wait_for(shell);
    }
    free(shell->command);
    free(shell->output);
    *shell = (struct kg_shell){ .fd = -1 };
}

/* Bytes of the escape sequence at the start of text; 1 when it is none that is known. */
static size_t sequence_length(const char *text, size_t length)
{
    size_t n = 2;
    if (length < 2)
        return 1;
    if (text[1] == '[') {
        while (n < length && text[n] >= 0x20 && text[n] < 0x40)
            n++;
        return n < length ? n + 1 : n;
    }
    if (text[1] != ']')
        return text[1] >= 0x20 && text[1] < 0x7f ? 2 : 1;
    while (n < length && text[n] != '\a' && text[n] != '\n' && text[n] != 0x1b)
        n++;
    if (n < length && text[n] == '\a')
        return n + 1;
    return n + 1 < length && text[n] == 0x1b && text[n + 1] == '\\' ? n + 2 : n;
}

const char *kg_shell_text(struct kg_shell *shell, size_t *length)
{
    char *out = shell->output;
    size_t used = 0, line = 0;
    for (size_t at = 0; at < shell->length;) {
        char c = out[at];
        if (c == 0x1b) {
            at += sequence_length(out + at, shell->length - at);
            continue;
        }
        bool over = c == '\r' && at + 1 < shell->length && out[at + 1] != '\n' && out[at + 1] != '\r';
        if (over)
            used = line;
        else if (c != '\r')
            out[used++] = c;
        if (c == '\n')
            line = used;
        at++;
    }
    shell->length = used;
    *length = used;
    return out;
}
