/* A pattern in a text: plain characters; without an upper-case one it matches both (of a to z only). */
#ifndef KG_TUI_FIND_H
#define KG_TUI_FIND_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define KG_NOWHERE SIZE_MAX

struct kg_pattern {
    const char *text;
    size_t length; /* 0 matches nowhere */
};

/* Where the first match at or behind `from` starts, and the last one that starts before `before`; KG_NOWHERE. */
size_t kg_find_next(const struct kg_pattern *pattern, const char *text, size_t length, size_t from);
size_t kg_find_before(const struct kg_pattern *pattern, const char *text, size_t length, size_t before);

#endif
