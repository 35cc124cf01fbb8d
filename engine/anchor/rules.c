#include "engine/anchor/rules.h"

#include <stdlib.h>

bool kg_rules_anchors(const struct kg_rules *rules, enum kg_read_rule read)
{
    return read == KG_READ_ANCHORS || (read == KG_READ_CHAIN && rules->look == KG_LOOK_ANCHORS);
}

bool kg_rules_look(const struct kg_rules *rules, enum kg_read_rule read, uint32_t preamble, struct kg_look *out)
{
    *out = (struct kg_look){ .sinks = preamble < 4 ? 4 : preamble, .window = rules->window, .k = rules->k };
    return kg_rules_anchors(rules, read) || (read == KG_READ_CHAIN && rules->look == KG_LOOK_RECALL);
}

uint32_t kg_rules_code(const struct kg_rules *rules, enum kg_read_rule read)
{
    struct kg_look look;
    if (!kg_rules_look(rules, read, 0, &look))
        return 0;
    const bool anchors = kg_rules_anchors(rules, read);
    return (anchors ? 0 : look.k) << 16 | look.window << 2 | (anchors ? 2 : 1);
}

enum kg_status kg_line_anchors(const struct kg_tokenizer *tokenizer, uint32_t vocabulary, bool **out, struct kg_error *err)
{
    uint32_t known = kg_vocabulary(tokenizer);
    *out = calloc(vocabulary > known ? vocabulary : known, sizeof **out);
    if (!*out)
        return kg_fail_nomem(err, "finding line anchors");
    for (uint32_t id = 0; id < known; id++)
        (*out)[id] = kg_token_has_newline(tokenizer, (int32_t)id);
    return KG_OK;
}

enum kg_status kg_line_anchors_in(const bool *anchors, const int32_t *ids, uint32_t count, uint32_t **out, uint32_t *kept, struct kg_error *err)
{
    *kept = 0;
    *out = malloc((count + 1UL) * sizeof **out);
    if (!*out)
        return kg_fail_nomem(err, "finding line anchors");
    for (uint32_t t = 0; t < count; t++)
        if (anchors[ids[t]] || t + 1 == count)
            (*out)[(*kept)++] = t;
    return KG_OK;
}
