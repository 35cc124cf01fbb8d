/* Completions: when they are asked for, and what becomes of them. */
#include <stdio.h>
#include <string.h>

#include "tui/complete/around.h"
#include "tui/file/view_state.h"

#define READ_PAUSE_S 0.3 /* without a key before what stands around a new place is read */

static void forget(struct kg_file_view *view)
{
    if (view->suggest && view->ticket)
        kg_suggest_cancel(view->suggest);
    kg_ghost_clear(&view->ghost);
    view->ticket = 0;
    view->writing = false;
}

static void plan(struct kg_file_view *view, bool text)
{
    double pause = text ? view->options->pause_ms / 1000.0 : READ_PAUSE_S;
    view->due = view->suggest && view->model[0] ? kg_file_seconds() + pause : 0;
    view->due_text = text;
}

void kg_file_changed(struct kg_file_view *view, bool text)
{
    forget(view);
    plan(view, text);
}

void kg_file_ghost_taken(struct kg_file_view *view)
{
    if (view->ghost.length == 0 && !view->writing)
        kg_file_changed(view, true);
}

void kg_file_ask(struct kg_file_view *view, bool text)
{
    size_t length, from, to;
    view->due = 0;
    if (!view->suggest || !view->model[0])
        return;
    forget(view);
    kg_edit_selection(&view->edit, &from, &to);
    if (from < to)
        return;
    const char *bytes = kg_text_bytes(view->edit.text, &length);
    size_t cursor = view->edit.cursor;
    struct kg_around around = kg_around_cursor(bytes, length, cursor);
    view->ticket = kg_suggest_ask(view->suggest, bytes + around.from, cursor - around.from, bytes + cursor, around.to - cursor,
                                  text ? view->options->max_tokens : 0);
    view->writing = view->ticket && text;
    view->dirty = view->dirty || view->writing;
}

void kg_file_suggestion(struct kg_file_view *view, const struct kg_suggestion *s)
{
    if (s->kind == KG_SUGGEST_READY) {
        snprintf(view->model, sizeof view->model, "%s", s->text);
        plan(view, false);
    } else if (s->kind == KG_SUGGEST_FAILED && (s->ticket == 0 || s->ticket == view->ticket)) {
        kg_file_hint(view, "no completion: %s", s->text);
        view->writing = false;
    } else if (s->ticket == view->ticket && s->kind == KG_SUGGEST_PIECE) {
        kg_ghost_add(&view->ghost, s->text, s->length);
    } else if (s->ticket == view->ticket && s->kind == KG_SUGGEST_END) {
        view->writing = false;
        view->ticket = 0;
    }
    view->dirty = true;
}
