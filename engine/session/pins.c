/* Files of a conversation that are to stay in context, by their paths, whatever their content is. */
#include <stdlib.h>
#include <string.h>

#include "engine/state.h"

static size_t find(const struct kg_session *session, const char *path)
{
    size_t i = 0;
    while (i < session->pin_count && strcmp(session->pins[i], path) != 0)
        i++;
    return i;
}

bool kg_session_pinned(const struct kg_session *session, const char *path)
{
    return find(session, path) < session->pin_count;
}

static bool add(struct kg_session *session, const char *path)
{
    char **grown = realloc(session->pins, (session->pin_count + 1) * sizeof *grown), *copy = grown ? strdup(path) : NULL;
    session->pins = grown ? grown : session->pins;
    if (copy)
        session->pins[session->pin_count++] = copy;
    return copy != NULL;
}

enum kg_status kg_session_pin(struct kg_session *session, const char *path, bool pinned, struct kg_error *err)
{
    size_t at = find(session, path);
    bool is = at < session->pin_count;
    enum kg_status status = KG_OK;
    if (is == pinned)
        return KG_OK;
    if (session->stored_id)
        status = kg_session_store_pin(session->engine->session_store, session->stored_id, path, pinned, err);
    if (status == KG_OK && pinned && !add(session, path))
        status = kg_fail_nomem(err, "pinning a file");
    if (status == KG_OK && !pinned) {
        free(session->pins[at]);
        session->pins[at] = session->pins[--session->pin_count];
    }
    return status;
}

static int take(void *ctx, const char *path)
{
    return !add(ctx, path);
}

enum kg_status kg_session_load_pins(struct kg_session *session, struct kg_error *err)
{
    return kg_session_store_pinned(session->engine->session_store, session->stored_id, take, session, err);
}

void kg_session_forget_pins(struct kg_session *session)
{
    for (size_t i = 0; i < session->pin_count; i++)
        free(session->pins[i]);
    free(session->pins);
    session->pins = NULL;
    session->pin_count = 0;
}
