/* The full-screen chat. */
#ifndef KG_TUI_INTERFACE_H
#define KG_TUI_INTERFACE_H

#include "engine/engine.h"
#include "tui/screen/theme.h"

/* Whether files are read ahead while nothing is asked. */
enum kg_ahead_when { KG_AHEAD_NEVER, KG_AHEAD_ON_MAINS, KG_AHEAD_ALWAYS /* on battery as well */ };

struct kg_interface_options {
    const char *repository;          /* its root as an absolute path; NULL = none */
    struct kg_engine_options engine; /* its callbacks are the interface's own: what stands there is not used */
    enum kg_policy policy;
    struct kg_recall recall;
    bool drafts_off;
    const char *session;             /* its name; NULL = a new one */
    bool must_exist;                 /* the session */
    struct kg_sampling sampling;
    uint32_t max_tokens;             /* of an answer; 0 = as many as fit */
    bool instructions;               /* a conversation begins with the repository's AGENTS.md or CONVENTIONS.md */
    bool choose_files;               /* for a question with no file in context, read those that fit it best */
    uint32_t choose_tokens;          /* at most so many; 0 = what this machine reads in about ten seconds */
    enum kg_ahead_when ahead;
    bool again;                      /* when files may be read ahead: kg_session_read_again */
    const char *const *notices;      /* lines to be told at the start */
    size_t notice_count;
    const char *theme;               /* its name; NULL = KG_THEME_STANDARD. One that is not there is told and not used */
    enum kg_colours colours;
    bool vi;                         /* keys of vi in the input */
    bool mouse;                      /* is told of at first */
    const char *program;             /* kedge itself, to open a file with; NULL: none is opened */
    bool lines_only;                 /* adds lines to the normal screen instead of taking all of it */
};

/* Runs until the person quits (KG_OK), on a terminal that cannot move its cursor by adding lines. The first screen is there
 * at once, the model loads behind it. KG_ERR_UNSUPPORTED when there is no terminal that can show it. SIGTERM, SIGHUP and SIGINT end it in order, then take their course.
 * Whatever happens, the terminal is left as it was found. One at a time per process. */
enum kg_status kg_interface_run(const struct kg_interface_options *options, struct kg_error *err);

#endif
