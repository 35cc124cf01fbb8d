/* Ctrl-R: what was sent before, found by a piece of it. And Ctrl-X Ctrl-E: the input in an editor. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/paths.h"
#include "tui/interface/interface_state.h"

#define EDITED_MOST ((size_t)64 << 20)

static void tell_pattern(struct kg_interface *ui, bool found)
{
    size_t length;
    const char *pattern = kg_editor_text(ui->line, &length);
    char shown[80];
    kg_printable(shown, sizeof shown, pattern, length);
    snprintf(ui->hint, sizeof ui->hint, "%s in what you sent: %s", found ? "find" : "not found", shown);
    kg_interface_hint(ui, ui->hint);
    ui->hint_until = kg_interface_seconds() + 1e9; /* until the mode ends */
}

void kg_interface_begin_history(struct kg_interface *ui)
{
    size_t length;
    const char *text = kg_editor_text(ui->editor, &length);
    char *draft = malloc(length + 1);
    if (!draft)
        return;
    memcpy(draft, text, length + 1);
    free(ui->draft);
    ui->draft = draft;
    ui->draft_length = length;
    ui->history_at = KG_HISTORY_MOST;
    kg_completion_dismiss(ui->completion);
    kg_editor_set(ui->line, "", 0);
    ui->mode = KG_MODE_HISTORY;
    tell_pattern(ui, true);
}

static void end(struct kg_interface *ui, bool keep)
{
    ui->mode = KG_MODE_INPUT;
    ui->status.hint = NULL;
    if (!keep)
        kg_editor_set(ui->editor, ui->draft, ui->draft_length);
    kg_interface_complete(ui);
    kg_completion_dismiss(ui->completion); /* what was found is not being written */
}

/* older: another one than is shown. */
static void find(struct kg_interface *ui, bool older)
{
    size_t pattern_length, shown_length, length, at = older ? ui->history_at : KG_HISTORY_MOST;
    const char *pattern = kg_editor_text(ui->line, &pattern_length), *shown = kg_editor_text(ui->editor, &shown_length), *line;
    if (pattern_length == 0) {
        ui->history_at = KG_HISTORY_MOST;
        kg_editor_set(ui->editor, ui->draft, ui->draft_length);
        tell_pattern(ui, true);
        return;
    }
    do
        line = kg_history_find(ui->history, pattern, pattern_length, &at, &length);
    while (line && older && length == shown_length && memcmp(line, shown, length) == 0);
    if (line) {
        ui->history_at = at;
        kg_editor_set(ui->editor, line, length);
    }
    tell_pattern(ui, line != NULL);
}

bool kg_interface_search_history(struct kg_interface *ui, const struct kg_key *key)
{
    bool erased = key->code == KG_KEY_BACKSPACE || (key->code == KG_KEY_CTRL && key->letter == 'u');
    if (key->code == KG_KEY_TEXT && !(key->modifiers & KG_ALT)) {
        kg_editor_insert(ui->line, key->text, key->length);
    } else if (erased) {
        kg_editor_erase(ui->line, key->code == KG_KEY_BACKSPACE ? KG_MOVE_LEFT : KG_MOVE_LINE_START, false);
    } else if (key->code == KG_KEY_CTRL && key->letter == 'r') {
        find(ui, true);
        return true;
    } else if (key->code == KG_KEY_CTRL && key->letter == 'l') {
        return false;
    } else {
        bool leaves = key->code == KG_KEY_ESCAPE || (key->code == KG_KEY_CTRL && (key->letter == 'c' || key->letter == 'g'));
        end(ui, !leaves);
        return leaves || key->code == KG_KEY_ENTER; /* any other key goes on with what was found */
    }
    find(ui, false);
    return true;
}

void kg_interface_edit_question(struct kg_interface *ui)
{
    const char *text;
    size_t length, draft_length;
    size_t number = kg_transcript_selected_question(ui->transcript, &text, &length);
    const char *draft = kg_editor_text(ui->editor, &draft_length);
    if (!number) {
        kg_interface_hint(ui, "no question that was answered is chosen: [ and ] choose one");
        return;
    }
    if (draft_length > 0)
        kg_history_add(ui->history, draft, draft_length, NULL);
    kg_editor_set(ui->editor, text, length);
    ui->edited = number;
    kg_interface_enter(ui, KG_MODE_INPUT);
    kg_interface_hint(ui, "Enter asks it from there, in a new conversation; Esc leaves it");
    ui->hint_until += 1e9;
}

void kg_interface_leave_question(struct kg_interface *ui)
{
    ui->edited = 0;
    ui->status.hint = NULL;
    kg_interface_empty_input(ui);
    kg_interface_enter(ui, KG_MODE_INPUT);
}

static bool write_all(int fd, const char *text, size_t length)
{
    while (length > 0) {
        ssize_t n = write(fd, text, length);
        if (n < 0 && errno != EINTR)
            return false;
        text += n > 0 ? n : 0;
        length -= n > 0 ? (size_t)n : 0;
    }
    return true;
}

bool kg_interface_edit_text(struct kg_interface *ui, const char *ending, const char *text, size_t length, char **out, size_t *out_length)
{
    const char *place = getenv("TMPDIR"), *visual = getenv("VISUAL"), *editor = getenv("EDITOR");
    char path[KG_PATH_MAX], command[2 * KG_PATH_MAX];
    struct kg_error err;
    bool edited = false;
    editor = visual && *visual ? visual : editor && *editor ? editor : "vi";
    place = place && *place == '/' && !strchr(place, '\'') && strlen(place) < KG_PATH_MAX - 32 ? place : "/tmp";
    snprintf(path, sizeof path, "%s/kedge-XXXXXX%s", place, ending);
    int fd = strlen(editor) < KG_PATH_MAX - 8 ? mkstemps(path, (int)strlen(ending)) : -1;
    bool written = fd >= 0 && write_all(fd, text, length) && (length == 0 || text[length - 1] == '\n' || write_all(fd, "\n", 1));
    if (fd >= 0)
        close(fd);
    snprintf(command, sizeof command, "%s '%s'", editor, path);
    int result = written ? kg_terminal_lend(ui->terminal, command, NULL, 0) : -1;
    if (result == 0)
        edited = kg_read_file(path, EDITED_MOST, out, out_length, &err) == KG_OK;
    if (result == 0 && !edited)
        kg_transcript_add(ui->transcript, KG_ENTRY_ERROR, err.text, strlen(err.text));
    else if (!written)
        kg_interface_hint(ui, "a file for the editor could not be written; is TMPDIR full?");
    else if (result != 0)
        kg_interface_hint(ui, "the editor failed or could not be run; the text is as it was");
    if (fd >= 0)
        unlink(path);
    return edited;
}

void kg_interface_edit(struct kg_interface *ui)
{
    size_t length;
    const char *text = kg_editor_text(ui->editor, &length);
    char *edited;
    if (!kg_interface_edit_text(ui, ".md", text, length, &edited, &length))
        return;
    kg_editor_set(ui->editor, edited, length - (length > 0 && edited[length - 1] == '\n')); /* editors end a file with it */
    free(edited);
}
