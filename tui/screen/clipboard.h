/* A text for the clipboard of the terminal that shows it, wherever kedge runs: OSC 52 of xterm. */
#ifndef KG_TUI_CLIPBOARD_H
#define KG_TUI_CLIPBOARD_H

#include <stddef.h>

#define KG_CLIPBOARD_MOST ((size_t)1 << 20) /* bytes of text; terminals take less: some 75 kB at least */

/* What stands between. tmux keeps what it is given itself and hands on what is wrapped for it (where it is set to); screen hands
 * on what is wrapped in pieces. */
enum kg_clipboard_way { KG_CLIPBOARD_DIRECT, KG_CLIPBOARD_TMUX, KG_CLIPBOARD_SCREEN };
enum kg_clipboard_way kg_clipboard_way(void); /* by TMUX, STY and TERM */

/* The bytes to be sent, which the caller frees: the text with everything that is not seen (control characters but for tab and
 * newline, bidi controls, zero-width characters, invalid bytes) in its visible form, as on the screen. NULL when it is longer than
 * KG_CLIPBOARD_MOST or out of memory. */
char *kg_clipboard_sequence(const char *text, size_t length, enum kg_clipboard_way way, size_t *bytes);

#endif
