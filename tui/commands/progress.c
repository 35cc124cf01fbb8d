#include "tui/commands/progress.h"

#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

void kg_progress_show(void *shown, const struct kg_progress *progress)
{
    static const char *const verbs[] = { "checking", "loading", "restoring", "reading", "saving" };
    char what[128];
    kg_printable(what, sizeof what, progress->what, strlen(progress->what));
    bool bytes = progress->stage == KG_STAGE_CHECKING || progress->stage == KG_STAGE_LOADING;
    fprintf(stderr, "\r\033[K%s %s %" PRIu64 " of %" PRIu64 "%s", verbs[progress->stage], what, bytes ? progress->done >> 20 : progress->done,
            bytes ? progress->total >> 20 : progress->total, bytes ? " MiB" : " tokens");
    *(bool *)shown = true;
}

void kg_progress_clear(bool *shown)
{
    if (*shown)
        fputs("\r\033[K", stderr);
    *shown = false;
}

static struct kg_engine *volatile interrupted;

static void on_interrupt(int signal_number)
{
    (void)signal_number;
    struct kg_engine *engine = interrupted;
    if (engine)
        kg_engine_stop(engine);
}

void kg_stop_on_interrupt(struct kg_engine *engine)
{
    interrupted = engine;
    if (engine)
        sigaction(SIGINT, &(struct sigaction){ .sa_handler = on_interrupt, .sa_flags = SA_RESETHAND }, NULL);
}
