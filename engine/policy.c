/* Policies by name, and the rules that each stands for. */
#include <string.h>

#include "engine/state.h"

static const struct {
    const char *name;
    enum kg_read_rule files;
    enum kg_look_rule look;
} policies[] = {
    [KG_POLICY_RECALL] = { "recall", KG_READ_LINKED, KG_LOOK_RECALL },
    [KG_POLICY_FULL] = { "full", KG_READ_CHAIN, KG_LOOK_ALL },
    [KG_POLICY_ALONE] = { "alone", KG_READ_ALONE, KG_LOOK_ALL },
    [KG_POLICY_ANCHOR] = { "anchor", KG_READ_ANCHORS, KG_LOOK_ANCHORS },
};

enum kg_status kg_policy_parse(const char *name, enum kg_policy *out, struct kg_error *err)
{
    for (size_t i = 0; i < sizeof policies / sizeof *policies; i++)
        if (strcmp(name, policies[i].name) == 0) {
            *out = (enum kg_policy)i;
            return KG_OK;
        }
    return kg_fail(err, KG_ERR_USAGE, "there is no policy '%s'; use recall, full, alone or anchor", name);
}

const char *kg_policy_name(enum kg_policy policy)
{
    return policies[policy].name;
}

enum kg_status kg_policy_rules(enum kg_policy policy, const struct kg_recall *recall, struct kg_rules *out, struct kg_error *err)
{
    *out = (struct kg_rules){ .files = policies[policy].files, .look = policies[policy].look,
                              .window = recall->window ? recall->window : KG_RECALL_WINDOW,
                              .k = recall->k ? recall->k : KG_RECALL_K };
    if (policy == KG_POLICY_ANCHOR)
        out->window = KG_ANCHOR_WINDOW;
    if (out->window < 2 * KG_PAGE || out->window > KG_RECALL_WINDOW_MAX)
        return kg_fail(err, KG_ERR_USAGE, "a window of %u tokens is not possible; use %d to %d", out->window, 2 * KG_PAGE, KG_RECALL_WINDOW_MAX);
    if (out->k > KG_RECALL_MAX)
        return kg_fail(err, KG_ERR_USAGE, "%u tokens cannot be recalled; use at most %d", out->k, KG_RECALL_MAX);
    return KG_OK;
}
