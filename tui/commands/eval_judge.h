/* Does a Python program pass its tests? Judged in a sandbox (tui/sandbox), by tests that follow it in the same interpreter.
 *
 * What counts is a word that the tests' end alone can send: a program that ends early, prints what it likes, or breaks
 * its interpreter has not passed. A program that looks for the word in its interpreter's memory would find it; the sandbox
 * is a wall, this is none.
 */
#ifndef KG_TUI_EVAL_JUDGE_H
#define KG_TUI_EVAL_JUDGE_H

#include <stdatomic.h>
#include <stdbool.h>

#include "base/status.h"
#include "engine/eval/eval.h"

struct kg_tested_program {
    const char *prompt;      /* imports, helpers and the head of the function */
    struct kg_eval_span code;
    bool continues;          /* the code goes on where the prompt ends; else it stands for itself, behind the prompt's imports and helpers */
    const char *test;        /* defines check(candidate) */
    const char *entry_point;
};

struct kg_judgement {
    bool passed;
    char reason[96]; /* printable: "passed", "wrong", "time", "memory", or "error: " and an exception's name or what else happened */
};

/* The word: 128 random bits. False: the system gave none. */
bool kg_judge_make_word(char word[33]);
/* What the tester told, an array of words: the one at this place, "" where there is none. */
struct cJSON;
const char *kg_judge_word_at(const struct cJSON *words, int index);

/* KG_ERR_UNSUPPORTED: no sandbox or no Python here, and what to do. */
enum kg_status kg_judge_check(struct kg_error *err);
/* stop as in kg_sandbox_run. */
enum kg_status kg_judge(const struct kg_tested_program *program, const atomic_bool *stop, struct kg_judgement *out, struct kg_error *err);

#endif
