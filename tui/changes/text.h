/* Lines of a text, and a text that grows. */
#ifndef KG_CHANGES_TEXT_H
#define KG_CHANGES_TEXT_H

#include <stdbool.h>
#include <stddef.h>

/* Zero-initialised = empty. After a failure to get memory nothing more is added, and failed is set. */
struct kg_growing {
    char *bytes; /* NUL-terminated once something was added */
    size_t length, capacity;
    bool failed;
};
void kg_growing_add(struct kg_growing *text, const char *bytes, size_t length);
void kg_growing_puts(struct kg_growing *text, const char *string);
void kg_growing_free(struct kg_growing *text);
/* The bytes, which the caller frees: never NULL unless failed. Leaves the text empty. */
char *kg_growing_take(struct kg_growing *text, size_t *length);

/* NUL-terminated behind its length; any bytes. NULL when out of memory; the caller frees it. */
char *kg_copy_text(const char *text, size_t length);

struct kg_line {
    const char *text; /* without its end */
    size_t length;
    size_t end; /* bytes of its end: 0 (the last line only), 1 "\n" or 2 "\r\n" */
};
struct kg_lines {
    struct kg_line *lines; /* into the text */
    size_t count;
};
/* A text without a last line feed has a last line all the same; the empty text has no lines. False when out of memory. */
bool kg_lines_of(const char *text, size_t length, struct kg_lines *out);
void kg_lines_free(struct kg_lines *lines);
/* Some of them, with their ends, as one text: lines may be cut out of the array. */
void kg_growing_add_line(struct kg_growing *text, const struct kg_line *line);

/* Bytes of blanks and tabs that it begins with; all of them for a blank line. */
size_t kg_indent(const struct kg_line *line);
bool kg_is_blank(const struct kg_line *line);
/* Whether two lines are the same bytes, their ends not counted. */
bool kg_same_line(const struct kg_line *a, const struct kg_line *b);
/* The same, blanks at both ends not counted. */
bool kg_same_trimmed(const struct kg_line *a, const struct kg_line *b);
/* The line without blanks at both ends. */
struct kg_line kg_trimmed(const struct kg_line *line);

/* Whether most lines end in CR LF. */
bool kg_ends_in_crlf(const struct kg_lines *lines);

#endif
