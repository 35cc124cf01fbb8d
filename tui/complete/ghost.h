/* The text that a model proposes at the cursor, shown before it is there: it grows while the model writes, and shrinks from its
 * beginning as it is taken. */
#ifndef KG_TUI_GHOST_H
#define KG_TUI_GHOST_H

#include <stdbool.h>
#include <stddef.h>

struct kg_ghost {
    char *text; /* length bytes; of the owner of the struct, which kg_ghost_free ends */
    size_t length, capacity;
};

/* Out of memory, the text is left out. */
void kg_ghost_add(struct kg_ghost *ghost, const char *text, size_t length);
void kg_ghost_clear(struct kg_ghost *ghost);
void kg_ghost_free(struct kg_ghost *ghost);

/* The first bytes are in the text now. */
void kg_ghost_taken(struct kg_ghost *ghost, size_t length);
/* True when the ghost begins with what was typed, which is taken off it. */
bool kg_ghost_agrees(struct kg_ghost *ghost, const char *typed, size_t length);
/* Bytes of its first word, with the blanks and line ends before it; of its first line that is not empty, up to its end. */
size_t kg_ghost_word(const struct kg_ghost *ghost);
size_t kg_ghost_line(const struct kg_ghost *ghost);

#endif
