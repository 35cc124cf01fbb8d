/* Restoring the terminal when the process crashes: async-signal-safe, armed while curses runs. */
#ifndef KG_TUI_RESTORE_H
#define KG_TUI_RESTORE_H

#include <stddef.h>
#include <termios.h>

/* bytes (copied, at most 256): what switches off all that was switched on; fd and modes: the terminal, and what its
 * line discipline was before. */
void kg_restore_arm(int fd, const char *bytes, size_t length, const struct termios *modes);
void kg_restore_disarm(void);

/* Restores the terminal if armed; may be called from signal handlers. */
void kg_restore_now(void);

/* Gives the calling thread a stack for signal handlers, so that an overflow of its own is caught; freed by
 * kg_restore_stack_free with what was returned (NULL: out of memory, it goes without). */
void *kg_restore_stack(void);
void kg_restore_stack_free(void *stack);

#endif
