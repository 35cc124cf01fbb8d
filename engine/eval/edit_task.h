/* Tasks of `kedge eval edit`: small projects, what is asked of them, and how to tell whether it was done. One text file each,
 * NAME.task, checked and bounded:
 *
 *     language: c
 *     kind: rename                 what is asked for, one word
 *     region: ring.c 12-20         lines that a person would select for it, one line a file; whole lines, 1-based
 *
 *     The request, as a person writes it.
 *     -- ring.c --                 the project's files
 *     ...
 *     -- check.sh --               run by sh in the project's folder, with what stands under check/; exit status 0: done
 *     -- check/test.c --           not shown to the model
 *     -- solution.patch --         a unified diff for which the check holds
 */
#ifndef KG_ENGINE_EDIT_TASK_H
#define KG_ENGINE_EDIT_TASK_H

#include <stddef.h>
#include <stdint.h>

#include "base/status.h"

#define KG_EDIT_TASK_MAX   ((size_t)256 << 10) /* bytes of one */
#define KG_EDIT_TASK_FILES 16                  /* of one, checks included */
#define KG_EDIT_TASKS_MAX  10000

struct kg_edit_file {
    const char *path;     /* relative, of letters, digits, "_", "-" and ".", no part of it begins with "." */
    const char *text;     /* NUL-terminated */
    size_t length;
    uint32_t first, last; /* the region; 0 and 0: none */
};

struct kg_edit_task {
    char name[64]; /* of the file, without ".task"; printable */
    const char *language, *kind, *request;
    struct kg_edit_file files[KG_EDIT_TASK_FILES], checks[KG_EDIT_TASK_FILES]; /* one of the checks is check.sh */
    size_t file_count, check_count;
    const char *solution;
    char *text; /* that all of these point into */
};

struct kg_edit_tasks {
    struct kg_edit_task *tasks; /* in order of their names */
    size_t count;
};

/* place: a folder of .task files, or one such file. KG_ERR_FORMAT says in which one what is wrong. */
enum kg_status kg_edit_tasks_read(const char *place, struct kg_edit_tasks *out, struct kg_error *err);
void kg_edit_tasks_free(struct kg_edit_tasks *tasks);

#endif
