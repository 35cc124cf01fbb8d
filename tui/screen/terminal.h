/* The terminal, through curses: the one place that sends anything to it.
 *
 * There is one terminal per process, used by one thread. However the process ends, the terminal is as it was before:
 * kg_terminal_close on the regular ways, a signal handler on SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT and SIGQUIT, which
 * then lets the signal take its course.
 */
#ifndef KG_TUI_TERMINAL_H
#define KG_TUI_TERMINAL_H

#include "tui/input/keys.h"
#include "tui/screen/screen.h"
#include "tui/screen/signals.h"
#include "tui/screen/theme.h"

struct kg_terminal;

/* Takes over the terminal on standard input and output, with the theme's looks in so many colours (AUTO: those that it has, and
 * none with NO_COLOR; more than it has are never used, but 24-bit ones when they are asked for and it has 256); its output goes to a
 * descriptor of its own, so 1 and 2 may be pointed elsewhere meanwhile. KG_ERR_UNSUPPORTED when there is none, or one that cannot move its cursor. */
enum kg_status kg_terminal_open(const struct kg_theme *theme, enum kg_colours colours, struct kg_terminal **out, struct kg_error *err);
/* The same terminal as the lines of text that it is: nothing is shown but by kg_terminal_print, and what is typed comes in lines. */
enum kg_status kg_terminal_open_plain(struct kg_terminal **out, struct kg_error *err);
/* It is known, and is one that cannot move its cursor. */
bool kg_terminal_is_dumb(void);
void kg_terminal_close(struct kg_terminal *terminal); /* NULL is fine */

/* Adds text to what a plain one shows; no control characters but newlines and tabs. */
void kg_terminal_print(struct kg_terminal *terminal, const char *text, size_t length);

int kg_terminal_input(const struct kg_terminal *terminal); /* to poll for reading */
/* Bytes that were typed, as UTF-8, at most capacity (4 or more); -1: the terminal is gone. Waits when there are none. */
long kg_terminal_read(struct kg_terminal *terminal, char *out, size_t capacity);
/* Teaches the sequences that terminfo knows of this terminal. */
void kg_terminal_teach(const struct kg_terminal *terminal, struct kg_keys *keys);

/* The size now, after SIGWINCH too; the next screen shown is sent whole. */
void kg_terminal_measure(struct kg_terminal *terminal, int *rows, int *columns);

/* Sends what differs from the screen shown before, in one piece, which terminals that can (mode 2026) show at once. A screen of another
 * size than measured last is not shown. */
void kg_terminal_show(struct kg_terminal *terminal, const struct kg_screen *screen);
/* Forgets what the terminal shows: the next screen is sent whole. */
void kg_terminal_redraw(struct kg_terminal *terminal);

/* Hands the terminal back, stops this process as Ctrl-Z does, and takes it over again when it goes on. */
void kg_terminal_suspend(struct kg_terminal *terminal);
/* Does what signals ask of it: stops, goes on, measures it and fits the screen to it. True: the screen is blank, or has to be shown again. */
bool kg_terminal_heed(struct kg_terminal *terminal, const struct kg_heard *heard, struct kg_screen *screen);

/* Gives a text to the terminal's clipboard (see clipboard.h). False when it is too long or out of memory. */
bool kg_terminal_copy(struct kg_terminal *terminal, const char *text, size_t length);

/* Runs `command` by /bin/sh with the terminal as it was before; input (length bytes) on its standard input, or NULL: the terminal
 * itself. Returns its exit status, 128 + a signal's number, or -1 when it could not be started. */
int kg_terminal_lend(struct kg_terminal *terminal, const char *command, const char *input, size_t length);

void kg_terminal_bell(struct kg_terminal *terminal);

/* Whether it tells of the mouse (KG_KEY_MOUSE), which is then not its own to select text with; off at first. Returns what is now. */
bool kg_terminal_mouse(struct kg_terminal *terminal);

#endif
