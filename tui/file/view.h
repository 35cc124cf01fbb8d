/* One file on the whole screen: it is written in, and completed at the cursor by text that is shown before it is taken. */
#ifndef KG_TUI_FILE_VIEW_H
#define KG_TUI_FILE_VIEW_H

#include "tui/complete/completer.h"
#include "tui/complete/place.h"
#include "tui/screen/theme.h"

#define KG_FILE_WISH 1000 /* bytes */

/* That lines of the file are to be changed by a model. */
struct kg_file_wish {
    uint32_t first, last; /* 1-based, inclusive; 0 = nothing is to be changed */
    char text[KG_FILE_WISH]; /* what is wanted: one line */
};

struct kg_file_view_options {
    const struct kg_file_place *place;
    struct kg_completer_options completer; /* what stands in engine's callbacks, and secret, are the view's own */
    const char *no_model; /* why nothing completes, to be told; NULL: completer says which model does */
    uint32_t max_tokens;  /* of a completion */
    uint32_t pause_ms;    /* without a key before one is begun */
    const char *theme;    /* its name; NULL = KG_THEME_STANDARD. One that is not there is told and not used */
    enum kg_colours colours;
    const char *record;        /* where it is told what was saved (tui/file/saved.h); NULL: nobody wants to know */
    struct kg_file_wish *wish; /* gets what the person leaves with, the file being saved; NULL: nobody here would see to it */
};

/* Runs until the person leaves the file (KG_OK). Errors of kg_disk_load, and KG_ERR_UNSUPPORTED when there is no terminal that can
 * show it. SIGTERM, SIGHUP and SIGINT end it in order, then take their course; what was not saved is then in FILE.unsaved. Whatever
 * happens, the terminal is left as it was found. */
enum kg_status kg_file_view_run(const struct kg_file_view_options *options, struct kg_error *err);

#endif
