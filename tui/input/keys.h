/* What a terminal sends, decoded into keys. Knows xterm, VT, linux, rxvt, screen and tmux sequences by heart;
 * others are taught from terminfo. Knows no terminal: bytes go in, keys come out.
 */
#ifndef KG_TUI_KEYS_H
#define KG_TUI_KEYS_H

#include <stdbool.h>
#include <stddef.h>

enum kg_key_code {
    KG_KEY_TEXT,   /* printable characters, one or more; with KG_ALT exactly one */
    KG_KEY_PASTE,  /* any bytes, line ends as "\n" */
    KG_KEY_CTRL,   /* letter: 'a' to 'z', or one of @ [ \ ] ^ _ */
    KG_KEY_ENTER,
    KG_KEY_TAB,
    KG_KEY_ESCAPE,
    KG_KEY_BACKSPACE,
    KG_KEY_DELETE,
    KG_KEY_UP,
    KG_KEY_DOWN,
    KG_KEY_LEFT,
    KG_KEY_RIGHT,
    KG_KEY_HOME,
    KG_KEY_END,
    KG_KEY_PAGE_UP,
    KG_KEY_PAGE_DOWN,
    KG_KEY_INSERT,
    KG_KEY_FUNCTION, /* letter: 1 to 12 */
    KG_KEY_MOUSE     /* letter: 'c' a click of the left button, 'u' or 'd' the wheel up or down; at row, column */
};
enum { KG_SHIFT = 1, KG_ALT = 2, KG_CONTROL = 4 };

struct kg_key {
    enum kg_key_code code;
    unsigned modifiers;
    int letter;
    int row, column; /* from 0 */
    const char *text; /* of TEXT and PASTE; valid UTF-8 in TEXT; valid until the callback returns */
    size_t length;
};

struct kg_keys;
typedef void kg_key_reader(void *ctx, const struct kg_key *key);

struct kg_keys *kg_keys_create(kg_key_reader *reader, void *ctx); /* NULL when out of memory */
void kg_keys_free(struct kg_keys *keys);

/* A sequence of this terminal (at most 16 bytes; others are left out), from terminfo. */
void kg_keys_teach(struct kg_keys *keys, const char *sequence, enum kg_key_code code, unsigned modifiers);

/* Bytes as they were read, in pieces of any size. Text that cannot be held for want of memory is left out of a paste. */
void kg_keys_feed(struct kg_keys *keys, const char *bytes, size_t length);

/* True while what was fed last may be the start of a sequence or the Escape key alone. When nothing follows within
 * KG_KEYS_WAIT_MS, kg_keys_timeout decides. A paste waits as long as it takes. */
#define KG_KEYS_WAIT_MS 40
bool kg_keys_pending(const struct kg_keys *keys);
void kg_keys_timeout(struct kg_keys *keys);

#endif
