/* The context is full: before anything leaves it, the person is asked what. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tui/interface/interface_state.h"

void kg_interface_full_waits(struct kg_interface *ui)
{
    kg_interface_hint(ui, "the context is full: what may leave it?");
    ui->hint_until += 1e9;
}

void kg_interface_full(struct kg_interface *ui, const struct kg_event *event)
{
    char *copy = malloc(event->length + 1);
    kg_transcript_add(ui->transcript, KG_ENTRY_ERROR, event->more ? event->more : "", event->more ? strlen(event->more) : 0);
    kg_transcript_to_end(ui->transcript);
    if (!copy)
        return;
    memcpy(copy, event->text, event->length);
    copy[event->length] = '\0';
    free(ui->unasked.text);
    ui->unasked = (struct kg_pending){ .kind = (enum kg_task_kind)event->total, .text = copy, .length = event->length };
    ui->review_at = kg_interface_seconds();
    kg_interface_enter(ui, KG_MODE_FULL);
    kg_interface_full_waits(ui);
}

static void leave(struct kg_interface *ui)
{
    ui->status.hint = NULL;
    kg_interface_enter(ui, KG_MODE_INPUT);
}

/* As it was written: freed by the caller, NULL when out of memory. */
static char *written(const struct kg_pending *unasked, size_t *length)
{
    const char *command = unasked->kind == KG_TASK_EDIT ? "/edit " : "";
    size_t before = strlen(command);
    char *text = malloc(before + unasked->length + 1);
    if (!text)
        return NULL;
    memcpy(stpcpy(text, command), unasked->text, unasked->length + 1);
    *length = before + unasked->length;
    return text;
}

/* It goes back to where it was written. */
static void give_back(struct kg_interface *ui)
{
    size_t length, text_length = 0;
    char *text = ui->unasked.text ? written(&ui->unasked, &text_length) : NULL;
    kg_editor_text(ui->editor, &length);
    leave(ui);
    if (ui->lines_only)
        kg_interface_hint(ui, "it was not asked");
    else if (length == 0 && text)
        kg_editor_set(ui->editor, text, text_length);
    else
        kg_interface_hint(ui, "it was not asked; Up brings it back");
    free(text);
    free(ui->unasked.text);
    ui->unasked.text = NULL;
    kg_interface_next(ui);
}

/* Before the first `before` that wait. */
static void put_first(struct kg_interface *ui, size_t before)
{
    size_t added = ui->pending_count - before;
    struct kg_pending waiting[KG_PENDING_MOST];
    memcpy(waiting, ui->pending, before * sizeof *waiting);
    memmove(ui->pending, ui->pending + before, added * sizeof *waiting);
    memcpy(ui->pending + added, waiting, before * sizeof *waiting);
    kg_transcript_queue_first(ui->transcript, added);
}

/* The question is sent again, behind what makes room for it, and before what was sent since (the first `before` that wait). */
static void again(struct kg_interface *ui, size_t before)
{
    struct kg_pending unasked = ui->unasked;
    if (ui->pending_count == KG_PENDING_MOST) {
        give_back(ui);
        return;
    }
    size_t length;
    char *text = written(&unasked, &length);
    if (!text) {
        give_back(ui);
        return;
    }
    ui->unasked.text = NULL;
    kg_interface_enqueue(ui, unasked.kind, text, length, unasked.text, unasked.length);
    free(text);
    free(unasked.text);
    put_first(ui, before);
    leave(ui);
    kg_interface_next(ui);
}

unsigned kg_interface_drop_unpinned(struct kg_interface *ui)
{
    struct kg_context_file file;
    unsigned dropped = 0;
    char shown[KG_PATH_MAX + 16];
    for (size_t at = 0; kg_context_file_next(ui->files, ui->files_length, &at, &file);) {
        if (file.talk || file.pinned)
            continue;
        if (ui->pending_count + 1 >= KG_PENDING_MOST) /* the last place is the question's */
            break;
        snprintf(shown, sizeof shown, "/drop %s", file.path);
        kg_interface_enqueue(ui, KG_TASK_DROP, shown, strlen(shown), file.path, strlen(file.path));
        dropped++;
    }
    return dropped;
}

bool kg_interface_full_key(struct kg_interface *ui, const struct kg_key *key)
{
    char letter = key->code == KG_KEY_TEXT && !(key->modifiers & KG_ALT) ? key->text[0] : 0;
    if (key->code == KG_KEY_CTRL && (key->letter == 'l' || key->letter == 'z'))
        return false;
    if (kg_interface_types_on(ui, key))
        return true;
    size_t before = ui->pending_count;
    if (letter == 's') {
        kg_interface_enqueue(ui, KG_TASK_COMPACT, "/compact", strlen("/compact"), "", 0);
        again(ui, before);
    } else if (letter == 'd') {
        if (kg_interface_drop_unpinned(ui))
            again(ui, before);
        else
            kg_interface_hint(ui, "no file is in context that is not pinned");
    } else if (key->code == KG_KEY_FUNCTION && key->letter == 2) {
        give_back(ui);
        kg_interface_enter(ui, KG_MODE_PANE);
    } else if (key->code == KG_KEY_ESCAPE || (key->code == KG_KEY_CTRL && key->letter == 'c')) {
        give_back(ui);
    } else {
        kg_terminal_bell(ui->terminal);
    }
    return true;
}
