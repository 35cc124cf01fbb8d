#include <cjson/cJSON.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tui/commands/command.h"
#include "tui/commands/eval_cbr.h"

static void add(cJSON *object, const char *name, double value)
{
    if (isnan(value))
        cJSON_AddNullToObject(object, name);
    else
        cJSON_AddNumberToObject(object, name, value);
}

static void add_estimate(cJSON *object, const char *name, const struct kg_cbr_estimate *estimate)
{
    char bound[64];
    add(object, name, estimate->value);
    snprintf(bound, sizeof bound, "%s_low", name);
    add(object, bound, estimate->low);
    snprintf(bound, sizeof bound, "%s_high", name);
    add(object, bound, estimate->high);
}

static double share(uint64_t part, uint64_t whole)
{
    return whole ? (double)part / (double)whole : NAN;
}

static void add_rule(cJSON *object, const struct kg_cbr_line *line)
{
    cJSON_AddStringToObject(object, "text", line->text);
    cJSON_AddNumberToObject(object, "texts", (double)line->texts);
    cJSON_AddStringToObject(object, "model", line->model);
    cJSON_AddStringToObject(object, "form", line->chat ? "chat" : "plain");
    cJSON_AddStringToObject(object, "read", kg_cbr_read_name(line->rule.read));
    cJSON_AddStringToObject(object, "look", kg_cbr_look_name(line->rule.look));
    add(object, "w", kg_cbr_uses_window(&line->rule) ? line->rule.window : NAN);
    add(object, "k", kg_cbr_uses_k(&line->rule) ? line->rule.k : NAN);
    cJSON_AddStringToObject(object, "kv", line->kv);
    add(object, "bits", kg_cbr_uses_k(&line->rule) ? line->bits : NAN);
    cJSON_AddNumberToObject(object, "seed", (double)line->seed);
    cJSON_AddNumberToObject(object, "tokens", (double)line->summary.context);
    cJSON_AddNumberToObject(object, "target", (double)line->summary.target);
}

static void add_likelihoods(cJSON *object, const struct kg_cbr_summary *s)
{
    add(object, "nll", s->nll);
    add(object, "nll_full", s->nll_full);
    add(object, "nll_window", s->nll_window);
    add(object, "nll_own", s->nll_own);
    add_estimate(object, "cbr", &s->cbr);
    add_estimate(object, "cross_cbr", &s->cross_cbr);
    add(object, "cross_texts", (double)s->cross_texts);
}

static void add_questions(cJSON *object, const struct kg_cbr_summary *s)
{
    add(object, "constants", (double)s->constants);
    add(object, "constants_full", (double)s->constants_full);
    add(object, "constants_own", (double)s->constants_own);
    add(object, "constants_asked", (double)s->constants_asked);
    add_estimate(object, "constants_kept", &s->constants_kept);
    add(object, "prototypes", share(s->prototypes_right, s->prototype_tokens));
    add(object, "prototypes_full", share(s->prototypes_full_right, s->prototype_tokens));
    add(object, "prototypes_own", share(s->prototypes_own_right, s->prototype_tokens));
    add(object, "prototype_tokens", (double)s->prototype_tokens);
    add_estimate(object, "prototypes_kept", &s->prototypes_kept);
}

void kg_cbr_print_object(const struct kg_cbr_line *line)
{
    const struct kg_cbr_summary *s = &line->summary;
    cJSON *object = cJSON_CreateObject();
    add_rule(object, line);
    add_likelihoods(object, s);
    add_questions(object, s);
    add(object, "keys_per_token", s->keys_per_token);
    add(object, "bytes_per_token", s->bytes_per_token);
    add(object, "bytes_per_token_full", s->bytes_per_token_full);
    add(object, "seconds", s->seconds);
    kg_put_json(object);
}

void kg_cbr_print_head(void)
{
    printf("%-28s %-7s %-7s %-4s %4s %4s %4s  %6s %6s %6s %6s  %-18s  %-18s  %-14s  %-16s  %7s %6s\n", "text", "read", "look", "kv", "w", "k", "bits", "nll",
           "full", "window", "own", "cbr", "cross-cbr", "constants", "prototypes", "keys", "bytes");
}

static void print_number(const char *before, bool there, uint32_t value)
{
    if (there)
        printf("%s%4u", before, value);
    else
        printf("%s%4s", before, "-");
}

static void print_estimate(const struct kg_cbr_estimate *e)
{
    char text[64] = "-";
    if (!isnan(e->low))
        snprintf(text, sizeof text, "%.3f %.3f..%.3f", e->value, e->low, e->high);
    else if (!isnan(e->value))
        snprintf(text, sizeof text, "%.3f", e->value);
    printf("  %-18s", text);
}

void kg_cbr_print_row(const struct kg_cbr_line *line)
{
    const struct kg_cbr_summary *s = &line->summary;
    char name[160], constants[64], prototypes[64];
    const size_t length = strlen(line->text), most = 28;
    kg_printable(name, sizeof name, line->text + (length > most ? length - most : 0), length > most ? most : length);
    printf("%-28s %-7s %-7s %-4s", name, kg_cbr_read_name(line->rule.read), kg_cbr_look_name(line->rule.look), line->kv);
    print_number(" ", kg_cbr_uses_window(&line->rule), line->rule.window);
    print_number(" ", kg_cbr_uses_k(&line->rule), line->rule.k);
    print_number(" ", kg_cbr_uses_k(&line->rule), line->bits);
    printf("  %6.3f %6.3f %6.3f %6.3f", s->nll, s->nll_full, s->nll_window, s->nll_own);
    print_estimate(&s->cbr);
    print_estimate(&s->cross_cbr);
    /* right (full, own) of asked */
    snprintf(constants, sizeof constants, "%llu (%llu %llu) %llu", (unsigned long long)s->constants, (unsigned long long)s->constants_full,
             (unsigned long long)s->constants_own, (unsigned long long)s->constants_asked);
    snprintf(prototypes, sizeof prototypes, "-");
    if (s->prototype_tokens)
        snprintf(prototypes, sizeof prototypes, "%.2f (%.2f %.2f)", share(s->prototypes_right, s->prototype_tokens),
                 share(s->prototypes_full_right, s->prototype_tokens), share(s->prototypes_own_right, s->prototype_tokens));
    printf("  %-14s  %-16s  %7.0f %5.1f%%\n", constants, prototypes, s->keys_per_token, 100 * s->bytes_per_token / s->bytes_per_token_full);
    fflush(stdout);
}
