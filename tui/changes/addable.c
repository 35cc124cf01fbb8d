#include "tui/changes/addable.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

/* Silent, and with none of our signals blocked. */
static bool start(pid_t *pid, const char *const arguments[])
{
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attributes;
    sigset_t none;
    sigemptyset(&none);
    if (posix_spawn_file_actions_init(&actions) != 0)
        return false;
    if (posix_spawnattr_init(&attributes) != 0) {
        posix_spawn_file_actions_destroy(&actions);
        return false;
    }
    posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK);
    posix_spawnattr_setsigmask(&attributes, &none);
    bool ready = true;
    for (int fd = 0; fd < 3; fd++)
        ready = ready && posix_spawn_file_actions_addopen(&actions, fd, "/dev/null", O_RDWR, 0) == 0;
    bool started = ready && posix_spawnp(pid, "git", &actions, &attributes, (char *const *)arguments, environ) == 0;
    posix_spawnattr_destroy(&attributes);
    posix_spawn_file_actions_destroy(&actions);
    return started;
}

bool kg_git_would_add(const char *root, const char *path)
{
    pid_t pid;
    int status = 0, waited;
    const char *const arguments[] = { "git", "-C", root, "-c", "core.fsmonitor=false", "--literal-pathspecs", "add", "--dry-run", "--", path, NULL };
    if (!start(&pid, arguments))
        return true;
    do {
        waited = waitpid(pid, &status, 0);
    } while (waited < 0 && errno == EINTR);
    return waited == pid && WIFEXITED(status) && WEXITSTATUS(status) == 0;
}
