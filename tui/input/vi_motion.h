/* Private to vi keys: where motions go in a text, and what lies around a place in it. Offsets are bytes at glyph boundaries. */
#ifndef KG_TUI_VI_MOTION_H
#define KG_TUI_VI_MOTION_H

#include <stdbool.h>
#include <stddef.h>

struct kg_vi_text {
    const char *text;
    size_t length;
};

struct kg_vi_motion {
    char name;           /* h l 0 ^ $ w W b B e E f F t T j k G g (gg) % { } */
    char argument[8];    /* of f F t T: a character, NUL-terminated */
    unsigned count;      /* 0 = none was given */
    bool again;          /* f and t repeated: what the cursor is before does not count */
};

struct kg_vi_span {
    size_t from, to;
    bool lines; /* whole ones, the newline behind the last included where there is one */
    bool last;  /* of kg_vi_lines: the text's last line is among them, which has no newline and may be empty */
};

/* Where the cursor goes; false: nowhere. */
bool kg_vi_go(const struct kg_vi_text *text, size_t cursor, const struct kg_vi_motion *motion, size_t *out);
/* What an operator ('d', 'c' or 'y') takes with a motion; false: nothing. */
bool kg_vi_span(const struct kg_vi_text *text, size_t cursor, const struct kg_vi_motion *motion, char operator_, struct kg_vi_span *out);
/* An object: w W " ' ` ( ) b [ ] { } B < > p, without what is around it or with (around). */
bool kg_vi_object(const struct kg_vi_text *text, size_t cursor, bool around, char name, struct kg_vi_span *out);
/* Whole lines from that of `from` to that of `to`. */
struct kg_vi_span kg_vi_lines(const struct kg_vi_text *text, size_t from, size_t to);

size_t kg_vi_line_start(const struct kg_vi_text *text, size_t at);
size_t kg_vi_line_end(const struct kg_vi_text *text, size_t at);
/* The first character of a line that is no blank. */
size_t kg_vi_line_text(const struct kg_vi_text *text, size_t at);
size_t kg_vi_right(const struct kg_vi_text *text, size_t at);
size_t kg_vi_left(const struct kg_vi_text *text, size_t at);

#endif
