/* What a key does. */
#include <stdlib.h>
#include <string.h>

#include "tui/interface/interface_state.h"

#define HINT_S 2.0

void kg_interface_hint(struct kg_interface *ui, const char *text)
{
    ui->status.hint = text;
    ui->hint_until = kg_interface_seconds() + HINT_S;
}

/* Files in context that begin so, from what is known here. */
static void offer_context_files(struct kg_interface *ui, const char *pattern, uint32_t ticket)
{
    struct kg_context_file file;
    for (size_t at = 0; kg_context_file_next(ui->files, ui->files_length, &at, &file);)
        if (!file.talk && strstr(file.path, pattern))
            kg_completion_offer(ui->completion, ticket, file.path, NULL, "");
}

void kg_interface_complete(struct kg_interface *ui)
{
    const char *pattern = "";
    uint32_t ticket = 0;
    enum kg_wanted wanted = kg_completion_update(ui->completion, ui->editor, &pattern, &ticket);
    switch (wanted) {
    case KG_WANTED_PATHS:
    case KG_WANTED_PLACES:
        kg_lookup_paths(ui->lookup, pattern, wanted == KG_WANTED_PLACES, ticket);
        break;
    case KG_WANTED_SESSIONS:
        kg_lookup_sessions(ui->lookup, pattern, ui->session, ticket);
        break;
    case KG_WANTED_CONTEXT_FILES:
        offer_context_files(ui, pattern, ticket);
        break;
    default:
        break;
    }
}

static void stop(struct kg_interface *ui)
{
    kg_worker_stop(ui->worker, ui->running);
    kg_interface_hint(ui, "stopping");
}

void kg_interface_empty_input(struct kg_interface *ui)
{
    kg_editor_set(ui->editor, "", 0);
    if (ui->vi)
        kg_vi_begin(ui->vi, ui->editor);
}

static void send_input(struct kg_interface *ui)
{
    size_t length;
    const char *text = kg_editor_text(ui->editor, &length);
    struct kg_error err;
    if (kg_history_add(ui->history, text, length, &err) != KG_OK)
        kg_transcript_add(ui->transcript, KG_ENTRY_NOTICE, err.text, strlen(err.text));
    if (ui->edited) {
        kg_interface_submit_edited(ui, text, length);
        return;
    }
    kg_interface_submit(ui, text, length);
    kg_interface_empty_input(ui);
}

/* What was queued last comes back to be edited. */
static bool take_back(struct kg_interface *ui)
{
    size_t length;
    kg_editor_text(ui->editor, &length);
    if (length > 0 || ui->pending_count == 0)
        return false;
    struct kg_pending last = ui->pending[--ui->pending_count];
    const char *shown = kg_transcript_last(ui->transcript, KG_ENTRY_QUEUED, &length);
    if (shown)
        kg_editor_set(ui->editor, shown, length);
    kg_transcript_drop_queued(ui->transcript, true);
    free(last.text);
    return true;
}

void kg_interface_row(struct kg_interface *ui, int direction)
{
    size_t length, draft;
    if (direction < 0 && take_back(ui))
        return;
    if (kg_editor_move_row(ui->editor, direction, kg_view_input_width(ui->screen->columns)))
        return;
    const char *now = kg_editor_text(ui->editor, &draft);
    const char *line = kg_history_walk(ui->history, direction, now, draft, &length);
    if (line)
        kg_editor_set(ui->editor, line, length);
}

static void interrupt(struct kg_interface *ui)
{
    size_t length;
    kg_editor_text(ui->editor, &length);
    if (ui->shell.fd >= 0) {
        kg_interface_stop_shell(ui);
        return;
    }
    if (ui->running) {
        stop(ui);
        return;
    }
    if (ui->first_hint && ui->status.hint) {
        ui->quit = true;
        return;
    }
    if (ui->edited)
        kg_interface_leave_question(ui);
    else if (length > 0)
        kg_interface_empty_input(ui);
    ui->first_hint = true;
    kg_interface_hint(ui, "Ctrl-C again quits");
}

static void end_of_file(struct kg_interface *ui)
{
    size_t length;
    kg_editor_text(ui->editor, &length);
    if (length == 0)
        ui->quit = true;
    else
        kg_editor_erase(ui->editor, KG_MOVE_RIGHT, false);
}

static void control(struct kg_interface *ui, int letter)
{
    switch (letter) {
    case 'a':
        kg_editor_move(ui->editor, KG_MOVE_LINE_START);
        break;
    case 'b':
        kg_editor_move(ui->editor, KG_MOVE_LEFT);
        break;
    case 'c':
        interrupt(ui);
        break;
    case 'd':
        end_of_file(ui);
        break;
    case 'e':
        kg_editor_move(ui->editor, KG_MOVE_LINE_END);
        break;
    case 'f':
        kg_editor_move(ui->editor, KG_MOVE_RIGHT);
        break;
    case 'j':
        kg_editor_insert(ui->editor, "\n", 1);
        break;
    case 'k':
        kg_editor_kill_line(ui->editor);
        break;
    case 'l':
        kg_terminal_redraw(ui->terminal);
        break;
    case 'n':
        kg_interface_row(ui, 1);
        break;
    case 'o':
        kg_transcript_unfold(ui->transcript, !kg_transcript_unfolded(ui->transcript));
        break;
    case 'p':
        kg_interface_row(ui, -1);
        break;
    case 'r':
        kg_interface_begin_history(ui);
        break;
    case 's':
        kg_interface_enter(ui, KG_MODE_SEARCH);
        break;
    case 't':
        kg_interface_enter(ui, KG_MODE_BROWSE);
        break;
    case 'u':
        kg_editor_erase(ui->editor, KG_MOVE_LINE_START, true);
        break;
    case 'v':
        kg_transcript_scroll(ui->transcript, ui->view.page);
        break;
    case 'w':
        kg_editor_erase(ui->editor, KG_MOVE_WORD_LEFT, true);
        break;
    case 'x':
        ui->prefixed = true;
        break;
    case 'y':
        kg_editor_yank(ui->editor);
        break;
    case 'z':
        kg_terminal_suspend(ui->terminal);
        break;
    case '_':
        kg_editor_undo(ui->editor);
        break;
    default:
        break;
    }
}

static void alt(struct kg_interface *ui, char letter)
{
    switch (letter) {
    case 'b':
        kg_editor_move(ui->editor, KG_MOVE_WORD_LEFT);
        break;
    case 'd':
        kg_editor_erase(ui->editor, KG_MOVE_WORD_RIGHT, true);
        break;
    case 'f':
        kg_editor_move(ui->editor, KG_MOVE_WORD_RIGHT);
        break;
    case 'v':
        kg_transcript_scroll(ui->transcript, -ui->view.page);
        break;
    case 'y':
        if (!kg_editor_yank_pop(ui->editor))
            kg_terminal_bell(ui->terminal);
        break;
    case '<':
        kg_transcript_to_start(ui->transcript);
        break;
    case '>':
        kg_transcript_to_end(ui->transcript);
        break;
    default:
        break;
    }
}

static void arrow(struct kg_interface *ui, const struct kg_key *key)
{
    bool words = key->modifiers & (KG_CONTROL | KG_ALT);
    switch (key->code) {
    case KG_KEY_UP:
        if (key->modifiers & KG_ALT)
            kg_interface_enter(ui, KG_MODE_BROWSE);
        else if (key->modifiers & KG_CONTROL)
            kg_transcript_scroll(ui->transcript, -1);
        else
            kg_interface_row(ui, -1);
        break;
    case KG_KEY_DOWN:
        if (key->modifiers & KG_CONTROL)
            kg_transcript_scroll(ui->transcript, 1);
        else
            kg_interface_row(ui, 1);
        break;
    case KG_KEY_LEFT:
        kg_editor_move(ui->editor, words ? KG_MOVE_WORD_LEFT : KG_MOVE_LEFT);
        break;
    default:
        kg_editor_move(ui->editor, words ? KG_MOVE_WORD_RIGHT : KG_MOVE_RIGHT);
    }
}

/* Home and End are the input's while there is text in it, and the transcript's otherwise. */
static void home_or_end(struct kg_interface *ui, const struct kg_key *key)
{
    size_t length;
    kg_editor_text(ui->editor, &length);
    bool home = key->code == KG_KEY_HOME;
    if (length > 0 && !(key->modifiers & KG_CONTROL))
        kg_editor_move(ui->editor, home ? KG_MOVE_LINE_START : KG_MOVE_LINE_END);
    else if (home)
        kg_transcript_to_start(ui->transcript);
    else
        kg_transcript_to_end(ui->transcript);
}

static void escape(struct kg_interface *ui)
{
    if (kg_completion_dismiss(ui->completion))
        return;
    if (ui->edited)
        kg_interface_leave_question(ui);
    else if (ui->shell.fd >= 0)
        kg_interface_stop_shell(ui);
    else if (ui->running)
        stop(ui);
}

static void tab(struct kg_interface *ui, int direction)
{
    if (!kg_completion_choose(ui->completion, ui->editor, direction))
        kg_terminal_bell(ui->terminal);
}

static void page(struct kg_interface *ui, int direction)
{
    long rows = ui->view.page > 2 ? ui->view.page - 1 : 1;
    kg_transcript_scroll(ui->transcript, direction * rows);
}

/* What is not the input's. */
static bool take_elsewhere(struct kg_interface *ui, const struct kg_key *key)
{
    if (key->code == KG_KEY_MOUSE)
        kg_interface_mouse(ui, key);
    else if (key->code == KG_KEY_FUNCTION && key->letter == 3)
        kg_interface_turn_mouse(ui);
    else if (ui->mode == KG_MODE_REVIEW)
        kg_interface_review_key(ui, key);
    else
        return ui->mode != KG_MODE_INPUT && kg_interface_browse(ui, key);
    return true;
}

static void take_key(struct kg_interface *ui, const struct kg_key *key)
{
    ui->dirty = ui->typed = true;
    kg_worker_touch(ui->worker);
    if (key->code == KG_KEY_TEXT && ui->mode != KG_MODE_REVIEW && ui->mode != KG_MODE_FULL) {
        ui->letter_at = kg_interface_seconds();
        ui->letter_is_input = ui->mode == KG_MODE_INPUT && !(ui->vi && kg_vi_commands(ui->vi));
    }
    if (!(key->code == KG_KEY_CTRL && key->letter == 'c'))
        ui->first_hint = false;
    if (take_elsewhere(ui, key))
        return;
    if (ui->vi && !ui->prefixed && kg_interface_vi(ui, key)) {
        kg_interface_complete(ui);
        return;
    }
    if (ui->prefixed) {
        ui->prefixed = false;
        if (key->code == KG_KEY_CTRL && key->letter == 'e') {
            kg_interface_edit(ui);
            kg_interface_complete(ui);
            return;
        }
    }
    switch (key->code) {
    case KG_KEY_TEXT:
        if (key->modifiers & KG_ALT)
            alt(ui, key->text[0]);
        else
            kg_editor_insert(ui->editor, key->text, key->length);
        break;
    case KG_KEY_PASTE:
        kg_editor_insert(ui->editor, key->text, key->length);
        break;
    case KG_KEY_CTRL:
        control(ui, key->letter);
        break;
    case KG_KEY_ENTER:
        if (key->modifiers & (KG_ALT | KG_SHIFT))
            kg_editor_insert(ui->editor, "\n", 1);
        else {
            ui->letter_at = 0;
            send_input(ui);
        }
        break;
    case KG_KEY_TAB:
        tab(ui, key->modifiers & KG_SHIFT ? -1 : 1);
        break;
    case KG_KEY_ESCAPE:
        escape(ui);
        break;
    case KG_KEY_BACKSPACE:
        kg_editor_erase(ui->editor, key->modifiers & KG_ALT ? KG_MOVE_WORD_LEFT : KG_MOVE_LEFT, key->modifiers & KG_ALT);
        break;
    case KG_KEY_DELETE:
        kg_editor_erase(ui->editor, KG_MOVE_RIGHT, false);
        break;
    case KG_KEY_HOME:
    case KG_KEY_END:
        home_or_end(ui, key);
        break;
    case KG_KEY_PAGE_UP:
        page(ui, -1);
        break;
    case KG_KEY_PAGE_DOWN:
        page(ui, 1);
        break;
    case KG_KEY_INSERT:
        break;
    case KG_KEY_FUNCTION:
        if (key->letter == 1)
            kg_interface_submit(ui, "/help", 5);
        else if (key->letter == 2)
            kg_interface_enter(ui, KG_MODE_PANE);
        break;
    default:
        arrow(ui, key);
    }
    kg_interface_complete(ui);
}

void kg_interface_key(void *ctx, const struct kg_key *key)
{
    struct kg_interface *ui = ctx;
    take_key(ui, key);
    kg_interface_show_vi(ui);
    kg_interface_show_held(ui);
}
