#include <cjson/cJSON.h>
#include <string.h>

#include "engine/eval/eval.h"
#include "tui/commands/command.h"
#include "tui/commands/eval_edit.h"

static const char *const outcome_names[] = { "right", "refused", "wrong" };

/* What right answers are counted by: languages, then kinds. */
static const char *const columns[] = { "c", "python", "javascript", "rename", "parameter", "bug", "case" };
#define COLUMNS (sizeof columns / sizeof *columns)

static size_t asked(const struct kg_edit_tally *tally)
{
    size_t sum = 0;
    for (size_t i = 0; i < KG_EDIT_OUTCOMES; i++)
        sum += tally->outcomes[i];
    return sum;
}

static double share(double part, size_t whole)
{
    return whole ? part / (double)whole : 0;
}

void kg_edit_count(struct kg_edit_tally *tally, const struct kg_edit_task *task, const struct kg_edit_result *result)
{
    bool right = result->outcome == KG_EDIT_RIGHT;
    tally->outcomes[result->outcome]++;
    tally->fuzzy_edits += result->fuzzy;
    tally->fuzzy_right += result->fuzzy && right;
    tally->fuzzy_wrong += result->fuzzy && result->outcome == KG_EDIT_WRONG;
    tally->tokens += result->tokens;
    tally->computed_tokens += result->computed_tokens;
    tally->seconds += result->seconds;
    for (size_t i = 0; i < COLUMNS; i++)
        if (strcmp(columns[i], task->language) == 0 || strcmp(columns[i], task->kind) == 0) {
            tally->asked_of[i]++;
            tally->right_of[i] += right;
        }
}

void kg_edit_print_result(const struct kg_edit_task *task, enum kg_form form, const struct kg_edit_result *result)
{
    cJSON *line = cJSON_CreateObject();
    cJSON_AddStringToObject(line, "task", task->name);
    cJSON_AddStringToObject(line, "language", task->language);
    cJSON_AddStringToObject(line, "kind", task->kind);
    cJSON_AddStringToObject(line, "form", kg_form_name(form));
    cJSON_AddStringToObject(line, "outcome", outcome_names[result->outcome]);
    cJSON_AddStringToObject(line, "reason", result->reason);
    cJSON_AddNumberToObject(line, "fuzzy", result->fuzzy);
    cJSON_AddNumberToObject(line, "tokens", (double)result->tokens);
    cJSON_AddNumberToObject(line, "computed_tokens", (double)result->computed_tokens);
    cJSON_AddNumberToObject(line, "seconds", result->seconds);
    kg_put_json(line);
}

static void put_form(const struct kg_edit_report *report, size_t i)
{
    const struct kg_edit_tally *tally = &report->tallies[i];
    size_t total = asked(tally);
    double low, high;
    kg_eval_interval(tally->outcomes[KG_EDIT_RIGHT], total, report->seed, &low, &high);
    cJSON *line = cJSON_CreateObject();
    cJSON_AddStringToObject(line, "form", kg_form_name(report->forms[i]));
    cJSON_AddBoolToObject(line, "default", report->forms[i] == report->default_form);
    cJSON_AddNumberToObject(line, "total", (double)total);
    for (size_t k = 0; k < KG_EDIT_OUTCOMES; k++)
        cJSON_AddNumberToObject(line, outcome_names[k], (double)tally->outcomes[k]);
    cJSON_AddNumberToObject(line, "share", share((double)tally->outcomes[KG_EDIT_RIGHT], total));
    cJSON_AddNumberToObject(line, "low", low);
    cJSON_AddNumberToObject(line, "high", high);
    cJSON_AddNumberToObject(line, "fuzzy_edits", (double)tally->fuzzy_edits);
    cJSON_AddNumberToObject(line, "fuzzy_right", (double)tally->fuzzy_right);
    cJSON_AddNumberToObject(line, "fuzzy_wrong", (double)tally->fuzzy_wrong);
    cJSON *by = cJSON_AddObjectToObject(line, "right_of");
    for (size_t k = 0; k < COLUMNS && by; k++)
        if (tally->asked_of[k])
            cJSON_AddItemToObject(by, columns[k], cJSON_CreateIntArray((const int[]){ (int)tally->right_of[k], (int)tally->asked_of[k] }, 2));
    cJSON_AddNumberToObject(line, "tokens", (double)tally->tokens);
    cJSON_AddNumberToObject(line, "computed_tokens", (double)tally->computed_tokens);
    cJSON_AddNumberToObject(line, "seconds", tally->seconds);
    cJSON_AddStringToObject(line, "model", report->model);
    cJSON_AddStringToObject(line, "policy", report->policy);
    kg_put_json(line);
}

void kg_edit_print_objects(const struct kg_edit_report *report)
{
    for (size_t i = 0; i < report->form_count; i++)
        put_form(report, i);
}

static void print_by(const struct kg_edit_report *report)
{
    printf("\n%-11s", "right of");
    for (size_t k = 0; k < COLUMNS; k++)
        printf(" %10s", columns[k]);
    putchar('\n');
    for (size_t i = 0; i < report->form_count; i++) {
        const struct kg_edit_tally *tally = &report->tallies[i];
        printf("%-11s", kg_form_name(report->forms[i]));
        for (size_t k = 0; k < COLUMNS; k++)
            printf("   %2zu of %2zu", tally->right_of[k], tally->asked_of[k]);
        putchar('\n');
    }
}

void kg_edit_print_table(const struct kg_edit_report *report)
{
    printf("%-11s %5s %7s %5s  %-18s %-16s %7s %7s\n", "form", "right", "refused", "wrong", "share right", "fuzzy (wrong)", "tokens", "seconds");
    for (size_t i = 0; i < report->form_count; i++) {
        const struct kg_edit_tally *tally = &report->tallies[i];
        size_t total = asked(tally);
        double low, high;
        char interval[64], fuzzy[64];
        kg_eval_interval(tally->outcomes[KG_EDIT_RIGHT], total, report->seed, &low, &high);
        snprintf(interval, sizeof interval, "%.2f, %.2f..%.2f", share((double)tally->outcomes[KG_EDIT_RIGHT], total), low, high);
        snprintf(fuzzy, sizeof fuzzy, "%zu (%zu)", tally->fuzzy_right + tally->fuzzy_wrong, tally->fuzzy_wrong);
        printf("%-11s %5zu %7zu %5zu  %-18s %-16s %7.0f %7.1f%s\n", kg_form_name(report->forms[i]), tally->outcomes[KG_EDIT_RIGHT],
               tally->outcomes[KG_EDIT_REFUSED], tally->outcomes[KG_EDIT_WRONG], interval, fuzzy, share((double)tally->tokens, total),
               share(tally->seconds, total), report->forms[i] == report->default_form ? "  default" : "");
    }
    print_by(report);
    printf("\n%s, policy %s; tokens and seconds are those of an answer; %.0f s in all\n", report->model, report->policy, report->seconds);
}
