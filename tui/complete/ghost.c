#include "tui/complete/ghost.h"

#include <stdlib.h>
#include <string.h>

void kg_ghost_add(struct kg_ghost *ghost, const char *text, size_t length)
{
    if (ghost->length + length > ghost->capacity) {
        size_t capacity = 2 * (ghost->length + length) + 64;
        char *grown = realloc(ghost->text, capacity);
        if (!grown)
            return;
        ghost->text = grown;
        ghost->capacity = capacity;
    }
    if (length)
        memcpy(ghost->text + ghost->length, text, length);
    ghost->length += length;
}

void kg_ghost_clear(struct kg_ghost *ghost)
{
    ghost->length = 0;
}

void kg_ghost_free(struct kg_ghost *ghost)
{
    free(ghost->text);
    *ghost = (struct kg_ghost){ 0 };
}

void kg_ghost_taken(struct kg_ghost *ghost, size_t length)
{
    ghost->length -= length;
    if (ghost->length)
        memmove(ghost->text, ghost->text + length, ghost->length);
}

bool kg_ghost_agrees(struct kg_ghost *ghost, const char *typed, size_t length)
{
    if (length > ghost->length || memcmp(ghost->text, typed, length) != 0)
        return false;
    kg_ghost_taken(ghost, length);
    return true;
}

static bool is_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\n';
}

static bool is_word(char c)
{
    return c == '_' || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || (unsigned char)c >= 0x80;
}

size_t kg_ghost_word(const struct kg_ghost *ghost)
{
    size_t at = 0;
    while (at < ghost->length && is_blank(ghost->text[at]))
        at++;
    if (at < ghost->length && is_word(ghost->text[at]))
        while (at < ghost->length && is_word(ghost->text[at]))
            at++;
    else
        while (at < ghost->length && !is_word(ghost->text[at]) && !is_blank(ghost->text[at]))
            at++;
    return at;
}

size_t kg_ghost_line(const struct kg_ghost *ghost)
{
    size_t at = 0;
    while (at < ghost->length && is_blank(ghost->text[at]))
        at++;
    while (at < ghost->length && ghost->text[at] != '\n')
        at++;
    return at;
}
