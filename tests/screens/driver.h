/* Drives a program through a real pseudo-terminal: keys in, and out what a terminal (libvterm) shows of it. Nothing here
 * sleeps: every wait is for a condition, and fails the test with the screen it saw when half a minute is over, three
 * under a sanitizer.
 */
#ifndef KG_TESTS_SCREENS_DRIVER_H
#define KG_TESTS_SCREENS_DRIVER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct driver;

/* Runs argv (NULL-terminated) in a terminal of that size and type. environment: NULL-terminated "NAME=value", or NULL. */
struct driver *driver_start(const char *const *argv, const char *const *environment, const char *term, int rows, int columns);
/* Kills what still runs. */
void driver_free(struct driver *driver);

int driver_process(const struct driver *driver); /* its id */
void driver_send(struct driver *driver, const char *keys);
void driver_send_bytes(struct driver *driver, const char *bytes, size_t length);
void driver_resize(struct driver *driver, int rows, int columns);
/* The same before what is sent within so many milliseconds is read, which was meant for the size of before; false when nothing was. */
bool driver_resize_unread(struct driver *driver, int rows, int columns, int wait_ms);
/* Shows what is printed to the terminal by somebody else, as the shell does when the program has ended. At most 4 KB. */
void driver_print(struct driver *driver, const char *text);
/* The terminal goes, as when its window is closed. */
void driver_hang_up(struct driver *driver);
void driver_signal(struct driver *driver, int number);

/* Until the text is (no longer) on the screen. */
void driver_wait_for(struct driver *driver, const char *text);
void driver_wait_for_either(struct driver *driver, const char *text, const char *other);
void driver_wait_gone(struct driver *driver, const char *text);
/* Until these bytes have been sent to the terminal. */
void driver_wait_sent(struct driver *driver, const char *bytes);
/* Until nothing has been sent for a while: the screen is at rest. Only for programs that have nothing left to do. */
void driver_settle(struct driver *driver);
/* Until the program was stopped by SIGTSTP. */
void driver_wait_stopped(struct driver *driver);
bool driver_ended(struct driver *driver); /* the program has */
/* Until the program has ended: its exit status, or 128 + the signal's number. */
int driver_wait_exit(struct driver *driver);

/* The screen as UTF-8: rows ended by newlines, blanks at their ends left out. Valid until the next call. */
const char *driver_screen(struct driver *driver);
/* Takes what was sent within so many milliseconds; false when nothing was. */
bool driver_take(struct driver *driver, int wait_ms);
/* One cell of it: chars[0] is ' ' for a blank one. */
struct driver_cell {
    uint32_t chars[6];
    bool bold, italic, underline, reverse;
};
void driver_cell(struct driver *driver, int row, int column, struct driver_cell *out);
bool driver_shows(struct driver *driver, const char *text);
void driver_cursor(struct driver *driver, int *row, int *column);
/* Everything that was sent to the terminal so far. */
const char *driver_raw(const struct driver *driver, size_t *length);
/* The line discipline is as it was before the program started. */
bool driver_modes_restored(const struct driver *driver);
double driver_seconds(void);

/* Until the screen is that of tests/screens/golden/NAME.txt; writes the file when UPDATE_GOLDEN is set. */
void driver_golden(struct driver *driver, const char *name);

#endif
