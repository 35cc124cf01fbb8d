/* The list of conversations in place of the transcript. Its text is that of a KG_EVENT_SESSIONS: for each its name, its repository
 * ("" = none), when it was used (seconds since 1970), its questions, places that were found, and a line of it, each ended by a NUL
 * byte.
 */
#ifndef KG_TUI_SESSION_LIST_H
#define KG_TUI_SESSION_LIST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "tui/screen/screen.h"

#define KG_SESSIONS_LEGEND "Enter open  / search  f fork  r rename  d delete  a all  q done"

struct kg_session_row {
    const char *name, *repository, *line;
    uint64_t used;
    uint32_t questions, hits;
};
void kg_session_row_write(FILE *stream, const struct kg_session_row *row);

/* What the line below the list is for. */
enum kg_list_asking { KG_LIST_NOTHING, KG_LIST_WORDS, KG_LIST_NAME };

/* Zero-initialised: empty. */
struct kg_session_list {
    char *rows; /* as above; NULL = they are being looked up */
    size_t length;
    char words[256];
    bool all; /* of all repositories */
    uint32_t ticket;
    size_t chosen, top; /* kept within their number */
    int page;           /* set by drawing: conversations that are seen */
    enum kg_list_asking asking;
    char doomed[128]; /* to be deleted when it is said again; "" = none */
    char renamed[128]; /* gets the name that is written; the list may change meanwhile */
    const char *repository, *open; /* the one that is worked in, and the conversation that is open; "" = none */
};

void kg_session_list_clear(struct kg_session_list *list);
/* Copies. False when out of memory. */
bool kg_session_list_set(struct kg_session_list *list, const char *rows, size_t length);
size_t kg_session_list_count(const struct kg_session_list *list);
bool kg_session_list_chosen(const struct kg_session_list *list, struct kg_session_row *out);
/* So many down, or up; false when it is there already. */
bool kg_session_list_move(struct kg_session_list *list, long by);
/* The same in rows of text, for terminals that only add lines. */
void kg_session_list_write(const struct kg_session_list *list, FILE *stream);
/* Rows [0, rows) of the screen. */
void kg_session_list_draw(struct kg_session_list *list, struct kg_screen *screen, int rows);

#endif
