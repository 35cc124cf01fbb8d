#include "tests/screens/live.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

struct live live;

void live_run(const char *format, ...)
{
    char command[2 * KG_PATH_MAX];
    va_list args;
    va_start(args, format);
    vsnprintf(command, sizeof command, format, args);
    va_end(args);
    assert_int_equal(system(command), 0);
}

int live_make(void)
{
    const char *built = getenv("O");
    strcpy(live.base, "/tmp/kedge-live-XXXXXX");
    if (!mkdtemp(live.base) || !realpath(built ? built : "build", live.kedge))
        return -1;
    strncat(live.kedge, "/kedge", sizeof live.kedge - strlen(live.kedge) - 1);
    live_run("cd %s && mkdir repo && cd repo && git init -q", live.base);
    return 0;
}

int live_remove(void **state)
{
    (void)state;
    live_run("rm -rf %s", live.base);
    return 0;
}

struct driver *live_start(const char *model, const char *session, int rows, int columns)
{
    static char state[128], cache[128], repo[128];
    snprintf(state, sizeof state, "KEDGE_STATE=%s/state", live.base);
    snprintf(cache, sizeof cache, "KEDGE_CACHE=%s/cache", live.base);
    snprintf(repo, sizeof repo, "%s/repo", live.base);
    return driver_start((const char *const[]){ live.kedge, "-C", repo, "-m", model, session ? "--greedy" : NULL, "--session", session, NULL },
                        (const char *const[]){ state, cache, NULL }, "xterm-256color", rows, columns);
}
