/* Changes as they are reviewed: hunk by hunk, each taken or refused, and the screen that asks. */
#ifndef KG_TUI_REVIEW_H
#define KG_TUI_REVIEW_H

#include "tui/changes/hunks.h"
#include "tui/changes/proposal.h"
#include "tui/changes/worktree.h"
#include "tui/screen/screen.h"

#define KG_REVIEW_LEGEND "y yes  n no  e edit  a all  q the rest not  Esc none  j k rows"

struct kg_reviewed_file {
    struct kg_hunks *hunks;
    bool *taken; /* a hunk each */
    enum kg_guard guard;
    const char *why; /* of the guard */
};

/* Zero-initialised = no review. */
struct kg_review {
    struct kg_proposal proposal;
    struct kg_reviewed_file *files; /* one for each change */
    size_t file, hunk; /* that is asked about; file = their number: all are answered */
    size_t asked, all; /* hunks answered, and there are */
    bool rest;         /* yes to what may be had without being asked for */
    size_t top;        /* row of the hunk at the top */
};

/* Takes over the proposal's content, also on failure. tree judges its paths. */
enum kg_status kg_review_begin(struct kg_review *review, struct kg_proposal *proposal, struct kg_worktree *tree, struct kg_error *err);
void kg_review_end(struct kg_review *review);

bool kg_review_is_done(const struct kg_review *review);
/* Answers for the hunk that is asked about, and goes on to the next. */
void kg_review_answer(struct kg_review *review, bool yes);
/* Yes to it and to the others, but for files that are asked about one by one. */
void kg_review_answer_all(struct kg_review *review);
void kg_review_scroll(struct kg_review *review, long rows);

/* The content of a file with the hunks that were taken; freed by the caller. False when none was. */
bool kg_review_result(const struct kg_review *review, size_t file, char **text, size_t *length, size_t *taken);

/* Rows [0, rows). */
void kg_review_draw(struct kg_review *review, struct kg_screen *screen, int rows);

#endif
