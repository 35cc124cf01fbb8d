#include "tui/conversation/instructions.h"

#include <stdlib.h>
#include <string.h>

static const char *const names[] = { "AGENTS.md", "CONVENTIONS.md" };

bool kg_is_instructions(const char *path)
{
    return strcmp(path, names[0]) == 0 || strcmp(path, names[1]) == 0;
}

/* Asked before, or taken out by hand: then it stays out. */
static bool is_late(const struct kg_session *session)
{
    size_t parts = kg_session_parts(session);
    for (size_t i = 0; i < parts; i++) {
        struct kg_part part = kg_session_part(session, i);
        if (part.kind == KG_PART_TURN || (part.kind == KG_PART_FILE && kg_is_instructions(part.label)))
            return true;
    }
    return false;
}

enum kg_status kg_add_instructions(struct kg_session *session, struct kg_index *index, const char **path, struct kg_error *err)
{
    char *text = NULL;
    size_t length = 0;
    bool secret = false;
    *path = NULL;
    if (!index || is_late(session))
        return KG_OK;
    for (size_t i = 0; i < 2; i++) {
        enum kg_status status = kg_index_read(index, names[i], KG_INSTRUCTIONS_MAX, &text, &length, &secret, err);
        if (status == KG_ERR_NOT_FOUND)
            continue;
        *path = names[i];
        if (status == KG_OK)
            status = kg_session_add_file(session, names[i], text, length, secret, err);
        free(text);
        return status;
    }
    return KG_OK;
}
