/* Private to the file view: what its thread works on. */
#ifndef KG_TUI_FILE_VIEW_STATE_H
#define KG_TUI_FILE_VIEW_STATE_H

#include "tui/complete/ghost.h"
#include "tui/complete/suggest.h"
#include "tui/file/disk.h"
#include "tui/file/edit.h"
#include "tui/file/saved.h"
#include "tui/file/view.h"
#include "tui/input/editor.h"
#include "tui/screen/terminal.h"

/* Who gets the keys; all but the first have the last row to themselves. */
enum kg_file_mode {
    KG_FILE_EDIT,
    KG_FILE_SEARCH,   /* a pattern is written */
    KG_FILE_GO_TO,    /* a line's number is written */
    KG_FILE_CHANGE,   /* it is written what is to become of lines */
    KG_FILE_LEAVE,    /* save before it is left? */
    KG_FILE_OVERWRITE /* somebody else changed it: save all the same? */
};

struct kg_file_view {
    const struct kg_file_view_options *options;
    struct kg_terminal *terminal;
    struct kg_screen *screen;
    struct kg_keys *keys;
    struct kg_channel *events;
    struct kg_suggest *suggest; /* NULL: nothing completes */

    struct kg_disk_file file;
    struct kg_saved saved;
    struct kg_edit edit;
    enum kg_file_mode mode;
    struct kg_editor *line;     /* of a pattern or a number */
    size_t search_from;         /* the cursor before the search */
    size_t top, left;           /* first line and first column that are seen */
    char language[32];          /* for kg_highlight */

    struct kg_ghost ghost;      /* at the cursor */
    uint64_t ticket;            /* of the request whose text it is; 0 = none */
    bool writing;               /* the model is at it */
    double due;                 /* when to ask next; 0 = not */
    bool due_text;              /* for text, and not only to read */

    char model[128];            /* "" until it is there */
    char hint[KG_ERROR_TEXT];   /* in place of what the last row says, until the next key */
    uint32_t wish_first, wish_last; /* lines that are to be changed, 1-based */
    bool leaving;               /* after saving */
    bool dirty, quit;
    bool lost; /* the terminal is gone */
};

double kg_file_seconds(void);

/* Keys (view_keys.c). */
void kg_file_key(void *view, const struct kg_key *key);

/* Everything that is on the screen (view_draw.c); scrolls so that the cursor is seen. */
void kg_file_draw(struct kg_file_view *view);

/* In place of what the last row says, until the next key. */
void kg_file_hint(struct kg_file_view *view, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* The same: that nothing is written into the file, as it is in UTF-16. */
void kg_file_hint_unwritten(struct kg_file_view *view);

/* Completions (view_ghost.c). The text or the cursor changed: what was proposed is gone, and more is asked for after a pause; text:
 * something was written. */
void kg_file_changed(struct kg_file_view *view, bool text);
/* Something was taken of the ghost, which stays with its rest. */
void kg_file_ghost_taken(struct kg_file_view *view);
/* Asks now. */
void kg_file_ask(struct kg_file_view *view, bool text);
void kg_file_suggestion(struct kg_file_view *view, const struct kg_suggestion *suggestion);

#endif
