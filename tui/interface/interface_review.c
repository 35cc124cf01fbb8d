/* Changes hunk by hunk: what the keys do, and what becomes of what was taken. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tui/interface/interface_state.h"

static void say(struct kg_interface *ui, enum kg_entry_kind kind, const char *text)
{
    kg_transcript_add(ui->transcript, kind, text, strlen(text));
    kg_transcript_to_end(ui->transcript);
}

static void leave(struct kg_interface *ui)
{
    kg_review_end(&ui->review);
    kg_interface_enter(ui, KG_MODE_INPUT);
    ui->status.hint = NULL;
    kg_interface_next(ui);
}

static void ask(struct kg_interface *ui)
{
    snprintf(ui->hint, sizeof ui->hint, "change %zu of %zu: take it?", ui->review.asked + 1, ui->review.all);
    kg_interface_hint(ui, ui->hint);
    ui->hint_until += 1e9;
}

/* Typing goes on for a moment after the screen has changed. */
#define STILL_TYPING_S  1.5
#define LETTERS_LOST_S  0.7

/* Letters of words to look for are no answers either. */
static bool is_searching(const struct kg_interface *ui)
{
    return ui->mode == KG_MODE_SEARCH || ui->mode == KG_MODE_HISTORY || ui->mode == KG_MODE_SESSIONS;
}

static bool is_typing(const struct kg_interface *ui)
{
    size_t length;
    kg_editor_text(ui->editor, &length);
    return length > 0 || is_searching(ui);
}

static void hold(struct kg_interface *ui, struct kg_proposal *proposal)
{
    kg_proposal_free(&ui->held);
    ui->held = *proposal;
    *proposal = (struct kg_proposal){ .changes = NULL };
    ui->holds = true;
    kg_interface_hint(ui, is_searching(ui) ? "changes are proposed: they are shown when this is left" : "changes are proposed: send or empty the input to see them");
    ui->hint_until += 1e9;
}

void kg_interface_show_held(struct kg_interface *ui)
{
    if (!ui->holds || ui->mode == KG_MODE_REVIEW || is_typing(ui))
        return;
    struct kg_proposal proposal = ui->held;
    ui->held = (struct kg_proposal){ .changes = NULL };
    ui->holds = false;
    ui->status.hint = NULL;
    kg_interface_review(ui, &proposal);
    kg_proposal_free(&proposal);
    if (ui->mode != KG_MODE_REVIEW)
        kg_interface_next(ui);
}

void kg_interface_review(struct kg_interface *ui, struct kg_proposal *proposal)
{
    struct kg_interface_tree tree;
    struct kg_error err;
    if (ui->mode == KG_MODE_REVIEW)
        return;
    if (is_typing(ui)) {
        hold(ui, proposal);
        return;
    }
    if (!kg_interface_open_tree(ui, &tree))
        return;
    enum kg_status status = kg_review_begin(&ui->review, proposal, tree.tree, &err);
    kg_interface_close_tree(&tree);
    if (status != KG_OK) {
        say(ui, KG_ENTRY_ERROR, err.text);
        return;
    }
    kg_interface_enter(ui, KG_MODE_REVIEW);
    ui->review_at = kg_interface_seconds();
    ask(ui);
}

/* "changed src/a.c (2 of 3), src/b.c; /undo takes it back" */
static void tell_written(struct kg_interface *ui, const struct kg_journal_file *files, const size_t *taken, const size_t *all, size_t count)
{
    char *text = NULL;
    size_t length;
    FILE *memory = open_memstream(&text, &length);
    if (!memory)
        return;
    for (size_t i = 0; i < count; i++) {
        fprintf(memory, "%s%s", i == 0 ? "changed " : ", ", files[i].path);
        if (taken[i] < all[i])
            fprintf(memory, " (%zu of %zu)", taken[i], all[i]);
    }
    fputs("; /undo takes it back", memory);
    if (fclose(memory) == 0)
        say(ui, KG_ENTRY_NOTICE, text);
    free(text);
}

static void write_taken(struct kg_interface *ui)
{
    size_t count = ui->review.proposal.count, used = 0;
    struct kg_journal_file *files = calloc(count + 1, sizeof *files);
    size_t *taken = calloc(2 * count + 1, sizeof *taken), *all = taken ? taken + count : NULL;
    struct kg_interface_tree tree;
    struct kg_error err;
    for (size_t i = 0; i < count && files && taken; i++) {
        const struct kg_change *change = &ui->review.proposal.changes[i];
        char *after;
        size_t length;
        if (!kg_review_result(&ui->review, i, &after, &length, &taken[used]))
            continue;
        all[used] = kg_hunk_count(ui->review.files[i].hunks);
        files[used++] = (struct kg_journal_file){ .path = change->path, .before = change->before, .before_length = change->before_length, .after = after, .after_length = length };
    }
    if (used == 0) {
        say(ui, KG_ENTRY_NOTICE, "nothing was changed");
    } else if (kg_interface_open_tree(ui, &tree)) {
        size_t length;
        const char *question = kg_transcript_last(ui->transcript, KG_ENTRY_QUESTION, &length);
        char title[200];
        kg_printable(title, sizeof title, question ? question : "a change", question ? length : strlen("a change"));
        if (kg_journal_apply(tree.journal, title, files, used, &err) == KG_OK) {
            tell_written(ui, files, taken, all, used);
            for (size_t i = 0; i < used; i++)
                kg_interface_join_again(ui, files[i].path);
        } else {
            say(ui, KG_ENTRY_ERROR, err.text);
        }
        kg_interface_close_tree(&tree);
    }
    for (size_t i = 0; i < used; i++)
        free((char *)files[i].after);
    free(files);
    free(taken);
    leave(ui);
}

/* The hunk's text in $EDITOR; what comes back is shown, and asked about again. */
static void edit(struct kg_interface *ui)
{
    struct kg_hunks *hunks = ui->review.files[ui->review.file].hunks;
    const char *path = ui->review.proposal.changes[ui->review.file].path, *dot = strrchr(path, '.');
    char ending[16] = ".txt", *edited;
    size_t length;
    const char *text = kg_hunk_after(hunks, ui->review.hunk, &length);
    bool plain = dot && strlen(dot) < sizeof ending && strspn(dot + 1, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_+") == strlen(dot + 1);
    if (plain)
        strcpy(ending, dot);
    bool feed = length > 0 && text[length - 1] == '\n';
    if (!kg_interface_edit_text(ui, ending, text, length, &edited, &length))
        return;
    if (!feed && length > 0 && edited[length - 1] == '\n') /* editors end a file with it */
        length--;
    if (!kg_hunk_set_after(hunks, ui->review.hunk, edited, length))
        say(ui, KG_ENTRY_ERROR, "out of memory: the change is as it was");
    ui->review.top = 0;
    free(edited);
}

static void letter(struct kg_interface *ui, char c)
{
    switch (c) {
    case 'y':
    case 'n':
        kg_review_answer(&ui->review, c == 'y');
        break;
    case 'a':
        kg_review_answer_all(&ui->review);
        break;
    case 'e':
        edit(ui);
        break;
    case 'q':
        while (!kg_review_is_done(&ui->review)) {
            ui->review.rest = false;
            kg_review_answer(&ui->review, false);
        }
        break;
    case 'j':
        kg_review_scroll(&ui->review, 1);
        break;
    case 'k':
        kg_review_scroll(&ui->review, -1);
        break;
    case ' ':
        kg_review_scroll(&ui->review, ui->view.page - 4);
        break;
    case 'b':
        kg_review_scroll(&ui->review, 4 - ui->view.page);
        break;
    default:
        kg_terminal_bell(ui->terminal);
    }
}

bool kg_interface_types_on(struct kg_interface *ui, const struct kg_key *key)
{
    bool on = kg_interface_seconds() - ui->review_at < LETTERS_LOST_S && ui->review_at - ui->letter_at < STILL_TYPING_S;
    if (on && ui->letter_is_input && key->code == KG_KEY_TEXT && !(key->modifiers & KG_ALT))
        kg_editor_insert(ui->editor, key->text, key->length);
    if (on)
        kg_terminal_bell(ui->terminal);
    return on;
}

void kg_interface_review_key(struct kg_interface *ui, const struct kg_key *key)
{
    bool none = key->code == KG_KEY_ESCAPE || (key->code == KG_KEY_CTRL && key->letter == 'c');
    if (kg_interface_types_on(ui, key))
        return;
    if (none) {
        say(ui, KG_ENTRY_NOTICE, "nothing was changed");
        leave(ui);
        return;
    }
    if (key->code == KG_KEY_TEXT && !(key->modifiers & KG_ALT))
        for (size_t i = 0; i < key->length && !kg_review_is_done(&ui->review); i++)
            letter(ui, key->text[i]);
    else if (key->code == KG_KEY_UP || key->code == KG_KEY_DOWN)
        kg_review_scroll(&ui->review, key->code == KG_KEY_DOWN ? 1 : -1);
    else if (key->code == KG_KEY_PAGE_UP || key->code == KG_KEY_PAGE_DOWN)
        kg_review_scroll(&ui->review, key->code == KG_KEY_PAGE_DOWN ? ui->view.page - 4 : 4 - ui->view.page);
    else if (key->code == KG_KEY_CTRL && key->letter == 'l')
        kg_terminal_redraw(ui->terminal);
    else if (key->code == KG_KEY_CTRL && key->letter == 'z')
        kg_terminal_suspend(ui->terminal);
    else
        kg_terminal_bell(ui->terminal);
    if (kg_review_is_done(&ui->review))
        write_taken(ui);
    else
        ask(ui);
}
