/* What was changed in a repository, kept so that it can be undone and done again, across files, also by a later process:
 * state/changes/NAME.db, mode 0600, one for each repository, the last KG_JOURNAL_SETS sets of changes.
 *
 * A set is written down before its files are touched, unless it is one that is noted (kg_journal_note); a process that dies in
 * between leaves a set that can be undone.
 */
#ifndef KG_CHANGES_JOURNAL_H
#define KG_CHANGES_JOURNAL_H

#include <stdint.h>

#include "tui/changes/worktree.h"

#define KG_JOURNAL_SETS 200

struct kg_journal;

/* state_dir NULL = KG_PLACE_STATE. root is the absolute path of the repository. tree outlives it. */
enum kg_status kg_journal_open(const char *state_dir, const char *root, struct kg_worktree *tree, struct kg_journal **out, struct kg_error *err);
void kg_journal_close(struct kg_journal *journal); /* NULL is fine */

struct kg_journal_file {
    const char *path;
    const char *before; /* NULL: the file is new */
    size_t before_length;
    const char *after;
    size_t after_length;
};

/* Writes all files, or none: each is checked before the first is written, and where a later one fails those before are put
 * back. Once they are written, what was undone can no longer be done again. title: one line, what it was for. */
enum kg_status kg_journal_apply(struct kg_journal *journal, const char *title, const struct kg_journal_file *files, size_t count, struct kg_error *err);

/* Files that somebody has changed already, kept as a set as if they had been written: what was undone before can no longer be done
 * again. After a failure they stay as they are. */
enum kg_status kg_journal_note(struct kg_journal *journal, const char *title, const struct kg_journal_file *files, size_t count, struct kg_error *err);

struct kg_journal_done {
    char title[200];   /* printable */
    char first[200];   /* path of its first file, printable */
    size_t files;
};
/* Folders that were made for new files go with them when they are empty.
 * The last set that is not undone, or the one that was undone last. KG_ERR_NOT_FOUND: there is none; KG_ERR_CHANGED: a file is no
 * longer as the change left it: nothing is written. each (may be NULL) is called with the paths that were written. */
enum kg_status kg_journal_undo(struct kg_journal *journal, void (*each)(void *ctx, const char *path), void *ctx, struct kg_journal_done *out,
                               struct kg_error *err);
enum kg_status kg_journal_redo(struct kg_journal *journal, void (*each)(void *ctx, const char *path), void *ctx, struct kg_journal_done *out,
                               struct kg_error *err);

/* Paths of sets that are not undone and not marked as committed, each once, with what the file was before the first of them
 * (before NULL: it was not there). */
enum kg_status kg_journal_each(struct kg_journal *journal, int (*each)(void *ctx, const struct kg_journal_file *file), void *ctx, struct kg_error *err);
/* Those are part of a commit now: kg_journal_each no longer tells them; undoing them stays possible. */
enum kg_status kg_journal_committed(struct kg_journal *journal, struct kg_error *err);

#endif
