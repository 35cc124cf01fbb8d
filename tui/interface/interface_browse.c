/* Going through the transcript by keys: messages, blocks of code, matches; copying, folding. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tui/interface/figures.h"
#include "tui/interface/interface_state.h"

#define PANE_LEGEND "Esc done  F2 close  j k choose  d drop  p pin  x drop unpinned  a add"
#define FULL_LEGEND "s summarise what was said  d drop unpinned files  F2 choose  Esc take back"
#define LEGEND "q done  [ ] message  { } code  / n N find  y copy  e edit  o fold  t times"

void kg_interface_enter(struct kg_interface *ui, enum kg_mode mode)
{
    enum kg_mode before = ui->mode;
    ui->mode = mode;
    kg_completion_dismiss(ui->completion);
    ui->view.editor = mode == KG_MODE_SEARCH ? ui->line : ui->editor;
    ui->view.prompt = mode == KG_MODE_SEARCH ? "/ " : ui->edited ? KG_PROMPT_EDITED : KG_PROMPT;
    ui->view.placeholder = ui->placeholder;
    ui->view.legend = mode == KG_MODE_BROWSE ? LEGEND : mode == KG_MODE_PANE ? PANE_LEGEND : mode == KG_MODE_REVIEW ? KG_REVIEW_LEGEND : mode == KG_MODE_SESSIONS ? KG_SESSIONS_LEGEND : mode == KG_MODE_FULL ? FULL_LEGEND : NULL;
    ui->view.review = mode == KG_MODE_REVIEW ? &ui->review : NULL;
    ui->view.sessions = mode == KG_MODE_SESSIONS ? &ui->sessions : NULL;
    ui->pane.focused = mode == KG_MODE_PANE;
    ui->pane.open |= mode == KG_MODE_PANE;
    ui->view.input_top = 0;
    if (mode == KG_MODE_SEARCH) {
        ui->mode_before = before;
        ui->search_from = kg_transcript_place(ui->transcript);
        kg_editor_set(ui->line, "", 0);
    } else if (mode == KG_MODE_INPUT) {
        kg_transcript_deselect(ui->transcript);
        kg_transcript_set_pattern(ui->transcript, "", 0);
    } else if (mode == KG_MODE_PANE || mode == KG_MODE_FULL || mode == KG_MODE_REVIEW || mode == KG_MODE_SESSIONS) {
        kg_transcript_deselect(ui->transcript);
    } else if (before == KG_MODE_INPUT) {
        kg_transcript_select(ui->transcript, KG_UNIT_MESSAGE, -1);
    } else {
        kg_transcript_select_seen(ui->transcript);
    }
}

static void copy(struct kg_interface *ui, const char *text, size_t length, const char *what)
{
    char bytes[KG_FIGURE];
    size_t lines = length > 0 && text[length - 1] != '\n';
    if (ui->lines_only && kg_terminal_is_dumb()) { /* what tells other terminals would stand there as it is */
        kg_interface_hint(ui, "nothing is copied: a terminal of this type has no clipboard");
        return;
    }
    for (size_t i = 0; i < length; i++)
        lines += text[i] == '\n';
    if (kg_terminal_copy(ui->terminal, text, length))
        snprintf(ui->hint, sizeof ui->hint, "copied %s: %zu line%s, %s", what, lines, lines == 1 ? "" : "s", kg_figure_bytes(bytes, length));
    else
        snprintf(ui->hint, sizeof ui->hint, "%s is too long for the clipboard; /transcript shows it in a pager", what);
    kg_interface_hint(ui, ui->hint);
}

static void copy_selected(struct kg_interface *ui)
{
    size_t length;
    bool code;
    const char *text = kg_transcript_selected(ui->transcript, &length, &code);
    if (text)
        copy(ui, text, length, code ? "the code" : "the message");
    else
        kg_terminal_bell(ui->terminal);
}

void kg_interface_copy_last(struct kg_interface *ui, bool code)
{
    size_t length;
    const char *text = code ? kg_transcript_last_code(ui->transcript, &length) : kg_transcript_last(ui->transcript, KG_ENTRY_ANSWER, &length);
    if (text && length > 0)
        copy(ui, text, length, code ? "the code" : "the answer");
    else
        kg_interface_hint(ui, code ? "the last answer holds no block of code" : "there is no answer to copy");
}

void kg_interface_page(struct kg_interface *ui)
{
    char *text = NULL;
    size_t length;
    const char *chosen = getenv("PAGER");
    FILE *memory = open_memstream(&text, &length);
    if (!memory)
        return;
    kg_transcript_write(ui->transcript, SIZE_MAX, true, memory);
    if (fclose(memory) == 0) {
        int result = kg_terminal_lend(ui->terminal, chosen && *chosen ? chosen : "less", text, length);
        if (result == 126 || result == 127 || result < 0)
            kg_interface_hint(ui, "the pager could not be run; set PAGER to one that is there");
    }
    free(text);
}

static void find(struct kg_interface *ui, int direction)
{
    switch (kg_transcript_find(ui->transcript, direction)) {
    case KG_FOUND_NOTHING:
        kg_interface_hint(ui, "not found");
        break;
    case KG_FOUND_AROUND:
        kg_interface_hint(ui, direction > 0 ? "found again from the start" : "found again from the end");
        break;
    default:
        ui->status.hint = NULL;
    }
    kg_transcript_select_seen(ui->transcript);
}

static void select_unit(struct kg_interface *ui, enum kg_unit unit, int direction)
{
    if (!kg_transcript_select(ui->transcript, unit, direction))
        kg_terminal_bell(ui->terminal);
}

static void scroll(struct kg_interface *ui, long rows)
{
    kg_transcript_scroll(ui->transcript, rows);
    kg_transcript_select_seen(ui->transcript);
}

static void browse_letter(struct kg_interface *ui, char letter)
{
    switch (letter) {
    case 'q':
    case 'i':
        kg_interface_enter(ui, KG_MODE_INPUT);
        break;
    case 'j':
        scroll(ui, 1);
        break;
    case 'k':
        scroll(ui, -1);
        break;
    case ' ':
        scroll(ui, ui->view.page);
        break;
    case 'b':
        scroll(ui, -ui->view.page);
        break;
    case 'g':
        kg_transcript_to_start(ui->transcript);
        kg_transcript_select_seen(ui->transcript);
        break;
    case 'G':
        kg_transcript_to_end(ui->transcript);
        kg_transcript_deselect(ui->transcript);
        kg_transcript_select(ui->transcript, KG_UNIT_MESSAGE, -1);
        break;
    case '[':
    case ']':
        select_unit(ui, KG_UNIT_MESSAGE, letter == '[' ? -1 : 1);
        break;
    case '{':
    case '}':
        select_unit(ui, KG_UNIT_CODE, letter == '{' ? -1 : 1);
        break;
    case '/':
        kg_interface_enter(ui, KG_MODE_SEARCH);
        break;
    case 'n':
    case 'N':
        find(ui, letter == 'n' ? 1 : -1);
        break;
    case 'y':
        copy_selected(ui);
        break;
    case 't':
        kg_interface_times(ui);
        break;
    case 'e':
        kg_interface_edit_question(ui);
        break;
    case 'o':
        if (!kg_transcript_fold_selected(ui->transcript))
            kg_terminal_bell(ui->terminal);
        break;
    default:
        kg_terminal_bell(ui->terminal);
    }
}

/* Letters that came together; those behind one that ends the mode are for the next one. */
static void take_letters(struct kg_interface *ui, const struct kg_key *key, void (*take)(struct kg_interface *ui, char letter))
{
    size_t i = 0;
    enum kg_mode mode = ui->mode;
    if (key->modifiers & KG_ALT) { /* a letter with Alt is another key */
        kg_terminal_bell(ui->terminal);
        return;
    }
    while (i < key->length && ui->mode == mode)
        take(ui, key->text[i++]);
    struct kg_key rest = { .code = KG_KEY_TEXT, .text = key->text + i, .length = key->length - i };
    if (rest.length > 0)
        kg_interface_key(ui, &rest);
}

static bool browse(struct kg_interface *ui, const struct kg_key *key)
{
    switch (key->code) {
    case KG_KEY_TEXT:
        take_letters(ui, key, browse_letter);
        break;
    case KG_KEY_UP:
    case KG_KEY_DOWN:
        if (key->modifiers & KG_ALT)
            select_unit(ui, KG_UNIT_MESSAGE, key->code == KG_KEY_UP ? -1 : 1);
        else
            scroll(ui, key->code == KG_KEY_UP ? -1 : 1);
        break;
    case KG_KEY_PAGE_UP:
    case KG_KEY_PAGE_DOWN:
        scroll(ui, (key->code == KG_KEY_PAGE_UP ? -1L : 1L) * (ui->view.page > 2 ? ui->view.page - 1 : 1));
        break;
    case KG_KEY_HOME:
    case KG_KEY_END:
        browse_letter(ui, key->code == KG_KEY_HOME ? 'g' : 'G');
        break;
    case KG_KEY_ENTER:
        browse_letter(ui, 'o');
        break;
    case KG_KEY_CTRL:
        if (key->letter == 's')
            kg_interface_enter(ui, KG_MODE_SEARCH);
        else if (strchr("loz", key->letter))
            return false; /* redraw, unfold and suspend mean the same here */
        else if (strchr("tcd", key->letter))
            kg_interface_enter(ui, KG_MODE_INPUT);
        return key->letter != 'c';
    case KG_KEY_ESCAPE:
        kg_interface_enter(ui, KG_MODE_INPUT);
        break;
    case KG_KEY_PASTE:
        kg_interface_enter(ui, KG_MODE_INPUT);
        return false;
    default:
        kg_terminal_bell(ui->terminal);
    }
    return true;
}

/* The window goes to the first match behind where it stood, with every key. */
static void search_as_written(struct kg_interface *ui)
{
    size_t length;
    const char *pattern = kg_editor_text(ui->line, &length);
    kg_transcript_return(ui->transcript, &ui->search_from);
    kg_transcript_set_pattern(ui->transcript, pattern, length);
    ui->status.hint = NULL;
    if (length > 0 && kg_transcript_find(ui->transcript, 1) == KG_FOUND_NOTHING)
        kg_interface_hint(ui, "not found");
}

static void end_search(struct kg_interface *ui, bool keep)
{
    size_t length;
    kg_editor_text(ui->line, &length);
    if (keep && length > 0) {
        kg_interface_enter(ui, KG_MODE_BROWSE);
        return;
    }
    kg_transcript_return(ui->transcript, &ui->search_from);
    kg_transcript_set_pattern(ui->transcript, "", 0);
    enum kg_mode before = ui->mode_before;
    kg_interface_enter(ui, before == KG_MODE_BROWSE ? KG_MODE_BROWSE : KG_MODE_INPUT);
}

static size_t one_line(const char *text, size_t length)
{
    const char *newline = memchr(text, '\n', length);
    return newline ? (size_t)(newline - text) : length;
}

static bool search(struct kg_interface *ui, const struct kg_key *key)
{
    switch (key->code) {
    case KG_KEY_TEXT:
    case KG_KEY_PASTE:
        if (!(key->modifiers & KG_ALT))
            kg_editor_insert(ui->line, key->text, one_line(key->text, key->length));
        break;
    case KG_KEY_BACKSPACE:
        kg_editor_erase(ui->line, KG_MOVE_LEFT, false);
        break;
    case KG_KEY_LEFT:
    case KG_KEY_RIGHT:
        kg_editor_move(ui->line, key->code == KG_KEY_LEFT ? KG_MOVE_LEFT : KG_MOVE_RIGHT);
        return true;
    case KG_KEY_ENTER:
        end_search(ui, true);
        return true;
    case KG_KEY_ESCAPE:
        end_search(ui, false);
        return true;
    case KG_KEY_CTRL:
        if (key->letter == 'c' || key->letter == 'd') {
            end_search(ui, false);
            kg_interface_enter(ui, KG_MODE_INPUT);
            return key->letter != 'c';
        }
        if (strchr("lz", key->letter))
            return false;
        if (key->letter == 's')
            find(ui, 1);
        if (key->letter != 'u')
            return true;
        kg_editor_erase(ui->line, KG_MOVE_LINE_START, false);
        break;
    default:
        return true;
    }
    search_as_written(ui);
    return true;
}

static void change_chosen(struct kg_interface *ui, enum kg_task_kind kind)
{
    struct kg_context_file file;
    char shown[KG_PATH_MAX + 16];
    if (!kg_pane_chosen(&ui->pane, &file)) {
        kg_terminal_bell(ui->terminal);
        return;
    }
    if (file.talk) {
        kg_interface_hint(ui, "what was said is summarised together: /compact");
        return;
    }
    snprintf(shown, sizeof shown, "%s %s", kind == KG_TASK_DROP ? "/drop" : "/pin", file.path);
    kg_interface_enqueue(ui, kind, shown, strlen(shown), file.path, strlen(file.path));
}

static void pane_letter(struct kg_interface *ui, char letter)
{
    bool done = true;
    if (letter == 'j' || letter == 'k')
        done = kg_pane_move(&ui->pane, letter == 'j' ? 1 : -1);
    else if (letter == 'd')
        change_chosen(ui, KG_TASK_DROP);
    else if (letter == 'p')
        change_chosen(ui, KG_TASK_PIN);
    else if (letter == 'x')
        done = kg_interface_drop_unpinned(ui) > 0;
    else if (letter == 'q' || letter == 'a')
        kg_interface_enter(ui, KG_MODE_INPUT);
    else
        done = false;
    if (letter == 'a' && kg_editor_text(ui->editor, NULL)[0] == '\0')
        kg_editor_insert(ui->editor, "/add ", 5);
    if (letter == 'a')
        kg_interface_complete(ui);
    if (!done)
        kg_terminal_bell(ui->terminal);
}

static bool list_context(struct kg_interface *ui, const struct kg_key *key)
{
    switch (key->code) {
    case KG_KEY_TEXT:
        take_letters(ui, key, pane_letter);
        break;
    case KG_KEY_UP:
    case KG_KEY_DOWN:
        pane_letter(ui, key->code == KG_KEY_UP ? 'k' : 'j');
        break;
    case KG_KEY_DELETE:
        pane_letter(ui, 'd');
        break;
    case KG_KEY_FUNCTION:
        if (key->letter != 2)
            return false;
        kg_interface_enter(ui, KG_MODE_INPUT);
        ui->pane.open = false;
        break;
    case KG_KEY_CTRL:
        if (strchr("oltsz", key->letter))
            return false; /* the same as ever */
        if (key->letter == 'c' || key->letter == 'd')
            kg_interface_enter(ui, KG_MODE_INPUT);
        return key->letter != 'c';
    case KG_KEY_PAGE_UP:
    case KG_KEY_PAGE_DOWN:
        return false;
    case KG_KEY_ESCAPE:
        kg_interface_enter(ui, KG_MODE_INPUT);
        break;
    case KG_KEY_PASTE:
        kg_interface_enter(ui, KG_MODE_INPUT);
        return false;
    default:
        kg_terminal_bell(ui->terminal);
    }
    return true;
}

bool kg_interface_browse(struct kg_interface *ui, const struct kg_key *key)
{
    if (ui->mode == KG_MODE_FULL)
        return kg_interface_full_key(ui, key);
    if (ui->mode == KG_MODE_SESSIONS)
        return kg_interface_sessions_key(ui, key);
    if (ui->mode == KG_MODE_HISTORY)
        return kg_interface_search_history(ui, key);
    return ui->mode == KG_MODE_SEARCH ? search(ui, key) : ui->mode == KG_MODE_PANE ? list_context(ui, key) : browse(ui, key);
}
