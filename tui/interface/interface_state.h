/* Private to the interface: what its thread works on. */
#ifndef KG_TUI_INTERFACE_STATE_H
#define KG_TUI_INTERFACE_STATE_H

#include "tui/input/history.h"
#include "tui/input/vi.h"
#include "tui/interface/interface.h"
#include "tui/changes/journal.h"
#include "tui/interface/lookup.h"
#include "tui/interface/review.h"
#include "tui/interface/shell.h"
#include "tui/interface/view.h"
#include "tui/interface/worker.h"
#include "tui/screen/terminal.h"

#define KG_PENDING_MOST 100

#define KG_PROMPT        "› "
#define KG_PROMPT_EDITED "» " /* an earlier question is written anew */

/* Who gets the keys. */
enum kg_mode {
    KG_MODE_INPUT,
    KG_MODE_BROWSE, /* the transcript */
    KG_MODE_SEARCH, /* the line in which a pattern is written */
    KG_MODE_PANE,   /* the list of what is in context */
    KG_MODE_HISTORY, /* the line in which a pattern is written, the input shows what was found */
    KG_MODE_REVIEW,  /* changes, hunk by hunk */
    KG_MODE_SESSIONS, /* the list of conversations */
    KG_MODE_FULL     /* what may leave the context? */
};

/* Sent, and waiting for the worker. */
struct kg_pending {
    enum kg_task_kind kind;
    char *text;
    size_t length;
};

struct kg_interface {
    const struct kg_interface_options *options;
    bool lines_only;
    struct kg_terminal *terminal;
    struct kg_screen *screen;
    struct kg_keys *keys;
    struct kg_editor *editor, *line; /* line: of a search */
    struct kg_vi *vi;                /* keys of the editor; NULL: those of Emacs */
    enum kg_mode mode, mode_before;  /* before: of a search */
    struct kg_transcript_place search_from;
    char *draft;        /* the input before a search in the history */
    size_t draft_length, history_at;
    size_t edited;      /* number of the question that is being written anew; 0 = none */
    bool prefixed;      /* Ctrl-X was pressed: the next key goes with it */
    struct kg_history *history;
    struct kg_completion *completion;
    struct kg_transcript *transcript;
    struct kg_channel *events;
    struct kg_worker *worker;
    struct kg_lookup *lookup;
    struct kg_status_line status;
    struct kg_shell shell; /* the command that runs */
    char *output;          /* of the last one: its label, NUL, text; NULL = none */
    size_t output_length;
    char *test;            /* the command of /test; NULL = none yet */
    bool testing;          /* it runs */
    struct kg_review review;
    struct kg_proposal held; /* waits until nothing is being typed */
    bool holds;
    double letter_at, review_at; /* last letter of an input that was not sent, or of another mode; the review's first moment */
    bool letter_is_input;
    struct kg_pane pane;
    struct kg_session_list sessions;
    uint32_t session_tickets; /* lists opened so far */
    struct kg_view view;
    char placeholder[64];

    struct kg_pending unasked; /* does not fit: what may leave the context is being asked; text NULL = nothing */
    struct kg_pending pending[KG_PENDING_MOST];
    size_t pending_count;
    uint64_t running;  /* ticket of what the worker does; 0 = nothing */
    bool opened;       /* model and conversation are there, or it is known that they will not be */
    char *files;       /* in context: as in context_files.h */
    size_t files_length;
    char session[256]; /* name; "" = none is open */
    bool asked;        /* something was said in it */

    double doing_since, answer_since, hint_until;
    unsigned pieces;   /* of the answer that streams */
    char hint[160];    /* what status.hint points to when it is not static */
    bool dirty, quit;
    bool typed;        /* dirty by a key */
    bool first_hint;   /* Ctrl-C was pressed a moment ago: the next one quits */
};

double kg_interface_seconds(void);

/* Commands (interface_commands.c). */
extern const struct kg_input_command kg_interface_commands[];
/* Does what the input says: a command, or a question for the worker. The text is as the person wrote it. */
void kg_interface_submit(struct kg_interface *ui, const char *text, size_t length);
/* The question that was written anew. */
void kg_interface_submit_edited(struct kg_interface *ui, const char *text, size_t length);
/* The same for one thing for the worker; shown as `shown` while it waits. */
void kg_interface_enqueue(struct kg_interface *ui, enum kg_task_kind kind, const char *shown, size_t shown_length, const char *text, size_t length);
/* Gives the worker the next thing that waits, if it is free. */
void kg_interface_next(struct kg_interface *ui);

/* What there is of commands and keys (interface_help.c). */
void kg_interface_help(struct kg_interface *ui);

/* Keys (interface_keys.c). */
void kg_interface_key(void *ui, const struct kg_key *key);
void kg_interface_complete(struct kg_interface *ui);
/* A row up or down in the input, or what was sent before or behind what it shows. */
void kg_interface_row(struct kg_interface *ui, int direction);
/* Keys of vi (interface_vi.c); false: the key is as with any others. Behind every key: what the input looks like. */
bool kg_interface_vi(struct kg_interface *ui, const struct kg_key *key);
void kg_interface_show_vi(struct kg_interface *ui);
/* The mouse (interface_mouse.c). */
void kg_interface_mouse(struct kg_interface *ui, const struct kg_key *key);
void kg_interface_turn_mouse(struct kg_interface *ui);

/* In place of what goes on, for a moment; text is static, or ui->hint. */
void kg_interface_hint(struct kg_interface *ui, const char *text);

/* Going through the transcript (interface_browse.c). */
void kg_interface_enter(struct kg_interface *ui, enum kg_mode mode);
/* The input in $VISUAL or $EDITOR. */
void kg_interface_edit(struct kg_interface *ui);
/* Any text in it, in a file with that ending (".md"); false, and told, when it was not edited. The caller frees *out. */
bool kg_interface_edit_text(struct kg_interface *ui, const char *ending, const char *text, size_t length, char **out, size_t *out_length);
/* The chosen question is written anew, in the input; sent, it is asked from there in a new conversation. And left as it was. */
void kg_interface_edit_question(struct kg_interface *ui);
void kg_interface_leave_question(struct kg_interface *ui);
void kg_interface_empty_input(struct kg_interface *ui); /* and with keys of vi, to write again */
/* A key in KG_MODE_HISTORY (interface_history.c); false: it ended the mode and is the input's. */
bool kg_interface_search_history(struct kg_interface *ui, const struct kg_key *key);
void kg_interface_begin_history(struct kg_interface *ui);
/* A key in a mode other than KG_MODE_INPUT; false: it ended the mode and is the input's. */
bool kg_interface_browse(struct kg_interface *ui, const struct kg_key *key);
/* The last answer, or its last block of code, for the clipboard. */
void kg_interface_copy_last(struct kg_interface *ui, bool code);
/* When what was said stands above it, or no longer. */
void kg_interface_times(struct kg_interface *ui);
/* The whole conversation in $PAGER. */
void kg_interface_page(struct kg_interface *ui);

/* Commands of the shell (interface_shell.c): starts one, ends the one that runs, takes what it wrote, adds the output of the last one to the conversation. */
void kg_interface_shell(struct kg_interface *ui, const char *command);
void kg_interface_stop_shell(struct kg_interface *ui);
void kg_interface_take_output(struct kg_interface *ui);
void kg_interface_add_output(struct kg_interface *ui);

/* Changes hunk by hunk (interface_review.c): begins with a proposal, which is taken over, once the input is empty; a key in
 * KG_MODE_REVIEW. Letters that were meant for the input answer nothing. */
void kg_interface_review(struct kg_interface *ui, struct kg_proposal *proposal);
void kg_interface_show_held(struct kg_interface *ui);
/* True: the key is one of a text that was being written when the screen began to ask (at review_at), and is the input's. */
bool kg_interface_types_on(struct kg_interface *ui, const struct kg_key *key);
void kg_interface_review_key(struct kg_interface *ui, const struct kg_key *key);

/* What was changed (interface_changes.c). */
struct kg_interface_tree {
    struct kg_worktree *tree;
    struct kg_journal *journal;
};
/* False, and told, when the repository's files and journal could not be opened. */
bool kg_interface_open_tree(struct kg_interface *ui, struct kg_interface_tree *out);
void kg_interface_close_tree(struct kg_interface_tree *tree);
/* Files with a new content join the conversation again where they were in it. */
void kg_interface_join_again(struct kg_interface *ui, const char *path);
/* A file, "PATH[:LINE[:COL]]" beneath the root, to write in; what the person leaves it with is asked for. */
void kg_interface_open(struct kg_interface *ui, const char *place);
void kg_interface_undo(struct kg_interface *ui, bool redo);
void kg_interface_diff(struct kg_interface *ui);
/* Asks for a message; and goes on when it was written. */
void kg_interface_commit(struct kg_interface *ui);
void kg_interface_take_message(struct kg_interface *ui, const char *text, size_t length);
/* Runs the command, or the one before when it is empty; /fix asks for a change that mends what failed. */
void kg_interface_test(struct kg_interface *ui, const char *command);
void kg_interface_tested(struct kg_interface *ui, int status);
void kg_interface_fix(struct kg_interface *ui, const char *request);

/* The list of conversations (interface_sessions.c): opened, with a search when there are words; a key in KG_MODE_SESSIONS, false:
 * it is the input's; what the lookup found; looked up again when it is seen. */
void kg_interface_sessions(struct kg_interface *ui, const char *words);
bool kg_interface_sessions_key(struct kg_interface *ui, const struct kg_key *key);
void kg_interface_take_sessions(struct kg_interface *ui, const struct kg_event *event);
void kg_interface_sessions_again(struct kg_interface *ui);

/* The context is full (interface_full.c): asks what may leave it; a key in KG_MODE_FULL, false: it is the input's. Drops all files
 * that are not pinned, and says how many. */
void kg_interface_full(struct kg_interface *ui, const struct kg_event *event);
/* Says on the bar what is waited for. */
void kg_interface_full_waits(struct kg_interface *ui);
bool kg_interface_full_key(struct kg_interface *ui, const struct kg_key *key);
unsigned kg_interface_drop_unpinned(struct kg_interface *ui);

/* Events (interface_events.c). */
void kg_interface_event(struct kg_interface *ui, const struct kg_event *event);

#endif
