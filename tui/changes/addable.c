#include "tui/changes/addable.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/paths.h"

#define NOT_IGNORED 1 /* what check-ignore ends with; 128: it is of a submodule, or no repository of which git will have anything */

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
    char file[KG_PATH_MAX + 2];
    pid_t pid;
    int status = 0, waited;
    snprintf(file, sizeof file, "./%s", path); /* a colon in front would be a pattern's */
    const char *const arguments[] = { "git", "-C", root, "-c", "core.fsmonitor=false", "check-ignore", "-q", "--", file, NULL };
    if (!start(&pid, arguments))
        return true;
    do {
        waited = waitpid(pid, &status, 0);
    } while (waited < 0 && errno == EINTR);
    return waited == pid && WIFEXITED(status) && WEXITSTATUS(status) == NOT_IGNORED;
}
