/* Signals that a full-screen program hears: they become readable bytes of a descriptor that its loop waits for. One loop hears at a
 * time. */
#ifndef KG_TUI_SIGNALS_H
#define KG_TUI_SIGNALS_H

#include <stdbool.h>

#include "base/status.h"

struct kg_heard {
    bool resized;   /* SIGWINCH */
    bool suspended; /* SIGTSTP: stop */
    bool continued; /* SIGCONT */
    int ended_by;   /* SIGTERM, SIGHUP or SIGINT: end; told until kg_signals_unhear. 0 = none. The same signal again, before it was
                     * taken, ends the process at once: its loop hangs */
};

enum kg_status kg_signals_hear(struct kg_error *err);
void kg_signals_unhear(void);
/* From now on nothing ends the process at once, whatever comes: something has to be written first. */
void kg_signals_hold(void);
/* The signal that was to end it (SIGINT) meant something else. */
void kg_signals_pardon(void);
int kg_signals_fd(void); /* to poll for reading */
/* What came since it was asked last. */
struct kg_heard kg_signals_take(void);

#endif
