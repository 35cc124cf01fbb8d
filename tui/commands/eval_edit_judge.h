/* Was a task of `kedge eval edit` done? Its check, run in a sandbox (tui/sandbox) on the project as an answer left it.
 *
 * The check's own files are put in place last, so that nothing an answer writes takes their place. What counts is a word that
 * the sandbox's first program alone knows; it looks for nobody who searches for it there.
 */
#ifndef KG_TUI_EVAL_EDIT_JUDGE_H
#define KG_TUI_EVAL_EDIT_JUDGE_H

#include <stdatomic.h>
#include <stdbool.h>

#include "base/status.h"
#include "engine/eval/edit_task.h"

struct kg_edit_judgement {
    bool passed;
    char reason[160]; /* printable: "passed", "time", "memory", or what the check printed first */
};

/* What the languages of these tasks need: sandbox, python3, gcc, node. KG_ERR_UNSUPPORTED: what to install. */
enum kg_status kg_edit_judge_check(const struct kg_edit_tasks *tasks, struct kg_error *err);

/* files: those of the project, other contents and new ones included. solved: the reference solution is applied to them first;
 * KG_ERR_FORMAT when it does not fit. stop as in kg_sandbox_run. */
enum kg_status kg_edit_judge(const struct kg_edit_task *task, const struct kg_edit_file *files, size_t count, bool solved, const atomic_bool *stop,
                             struct kg_edit_judgement *out, struct kg_error *err);

#endif
