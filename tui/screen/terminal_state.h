/* Private to the terminal: what it has, and the way to it.
 *
 * Curses writes into a file in memory; a frame that is complete goes to the terminal in one piece. So nothing of it is seen before
 * all of it is, true colours can be put in, and what curses does not do stands between its own.
 */
#ifndef KG_TUI_TERMINAL_STATE_H
#define KG_TUI_TERMINAL_STATE_H

#include <stdio.h>
#include <termios.h>
#include <time.h>

#define NCURSES_NOMACROS
#include "tui/screen/palette.h"
#include "tui/screen/terminal.h"

struct kg_bytes {
    char *bytes;
    size_t length, capacity;
};

struct kg_terminal {
    FILE *in;             /* a duplicate of 0 */
    int out;              /* of 1 */
    FILE *sink;           /* where curses writes */
    SCREEN *curses;
    struct termios modes; /* as they were */
    struct kg_screen *sent; /* what the terminal shows; of the size measured last */
    bool whole;             /* what it shows is not known */
    bool utf8;
    bool asked, answered, synchronized; /* whether it can show a frame at once (mode 2026): it can */
    time_t asked_at;
    bool mouse;
    struct kg_palette palette;
    struct kg_bytes frame; /* of curses and beside it, to be sent */
    struct kg_bytes ready; /* the same with the colours put in */
};

/* Characters whose width terminals do not agree on, or of which the C library thinks otherwise than utf8proc. */
bool kg_cell_is_doubtful(const struct kg_cell *cell);

/* Adds to the frame; one that memory runs out for is sent in parts. */
void kg_frame_add(struct kg_terminal *terminal, const char *bytes, size_t length);
/* What curses has written since is added to it. */
void kg_frame_take(struct kg_terminal *terminal);
/* What has all rows scroll, however many there are where the terminal can be told so; it moves the cursor. NULL: there is nothing. */
const char *kg_all_rows(void);
/* That is added to the frame: one that came behind a change of size may have left it at the old one, which curses does not know. Nothing
 * while the terminal is handed back, as the cursor is not ours then; curses does it when it has it again. */
void kg_frame_all_rows(struct kg_terminal *terminal);
/* Sends it. */
void kg_frame_send(struct kg_terminal *terminal);

#endif
