/* The list of conversations: what its keys do. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tui/interface/interface_state.h"

static void look_up(struct kg_interface *ui)
{
    kg_lookup_list_sessions(ui->lookup, ui->sessions.words, ui->sessions.all, ++ui->sessions.ticket);
}

static void change(struct kg_interface *ui, enum kg_session_change change, const char *name, const char *new_name)
{
    kg_lookup_change_session(ui->lookup, change, name, new_name, ui->sessions.words, ui->sessions.all, ++ui->sessions.ticket);
}

/* The line below the list, or its legend. */
static void set_asking(struct kg_interface *ui, enum kg_list_asking asking, const char *text)
{
    bool asks = asking != KG_LIST_NOTHING;
    ui->sessions.asking = asking;
    ui->view.editor = asks ? ui->line : ui->editor;
    ui->view.prompt = asking == KG_LIST_WORDS ? "/ " : asking == KG_LIST_NAME ? "= " : KG_PROMPT;
    ui->view.legend = asks ? NULL : KG_SESSIONS_LEGEND;
    ui->view.placeholder = asking == KG_LIST_WORDS ? "words that were said" : asking == KG_LIST_NAME ? "the new name" : ui->placeholder;
    ui->view.input_top = 0;
    if (asks)
        kg_editor_set(ui->line, text, strlen(text));
}

void kg_interface_sessions(struct kg_interface *ui, const char *words)
{
    kg_session_list_clear(&ui->sessions);
    snprintf(ui->sessions.words, sizeof ui->sessions.words, "%s", words);
    ui->sessions.repository = ui->options->repository ? ui->options->repository : "";
    ui->sessions.open = ui->session;
    ui->sessions.ticket = ++ui->session_tickets << 16;
    if (!ui->lines_only) {
        kg_interface_enter(ui, KG_MODE_SESSIONS);
        set_asking(ui, KG_LIST_NOTHING, "");
    }
    look_up(ui);
}

void kg_interface_sessions_again(struct kg_interface *ui)
{
    if (ui->mode == KG_MODE_SESSIONS)
        look_up(ui);
}

/* Once, where there is no screen for a list. */
static void add_list(struct kg_interface *ui)
{
    char *text = NULL;
    size_t length;
    FILE *memory = open_memstream(&text, &length);
    if (!memory)
        return;
    kg_session_list_write(&ui->sessions, memory);
    if (fclose(memory) == 0)
        kg_transcript_add(ui->transcript, KG_ENTRY_TABLE, text, length);
    free(text);
}

void kg_interface_take_sessions(struct kg_interface *ui, const struct kg_event *event)
{
    if (ui->mode != KG_MODE_SESSIONS && !ui->lines_only)
        return;
    if (event->more) {
        kg_printable(ui->hint, sizeof ui->hint, event->more, strlen(event->more));
        kg_interface_hint(ui, ui->hint);
    }
    if ((uint32_t)event->ticket == ui->sessions.ticket)
        kg_session_list_set(&ui->sessions, event->text ? event->text : "", event->length);
    if (ui->lines_only && !event->more)
        add_list(ui);
}

static void leave(struct kg_interface *ui)
{
    set_asking(ui, KG_LIST_NOTHING, "");
    ui->status.hint = NULL;
    kg_interface_enter(ui, KG_MODE_INPUT);
}

/* Only conversations about this repository can be opened or changed here. */
static bool chosen_here(struct kg_interface *ui, struct kg_session_row *out)
{
    if (!kg_session_list_chosen(&ui->sessions, out)) {
        kg_terminal_bell(ui->terminal);
        return false;
    }
    if (strcmp(out->repository, ui->sessions.repository) == 0)
        return true;
    char where[100];
    kg_printable(where, sizeof where, out->repository, strlen(out->repository));
    snprintf(ui->hint, sizeof ui->hint, *where ? "it was held in %s: start kedge there" : "it was held outside of repositories: start kedge there%s", where);
    kg_interface_hint(ui, ui->hint);
    return false;
}

static bool is_open(const struct kg_interface *ui, const char *name)
{
    return strcmp(name, ui->session) == 0;
}

static void open_chosen(struct kg_interface *ui)
{
    struct kg_session_row row;
    char shown[KG_SESSION_NAME + 16], name[KG_SESSION_NAME];
    if (!chosen_here(ui, &row))
        return;
    bool open = is_open(ui, row.name);
    snprintf(name, sizeof name, "%.*s", KG_SESSION_NAME - 1, row.name);
    leave(ui);
    if (open)
        return;
    snprintf(shown, sizeof shown, "/resume %s", name);
    kg_interface_enqueue(ui, KG_TASK_RESUME, shown, strlen(shown), name, strlen(name));
}

static void delete_chosen(struct kg_interface *ui)
{
    struct kg_session_row row;
    char name[100];
    if (!chosen_here(ui, &row))
        return;
    if (is_open(ui, row.name)) {
        kg_interface_hint(ui, "this one is open: /clear begins a new one, then it can be deleted");
        return;
    }
    if (strcmp(ui->sessions.doomed, row.name) == 0) {
        change(ui, KG_SESSION_REMOVE, row.name, "");
        ui->sessions.doomed[0] = '\0';
        return;
    }
    snprintf(ui->sessions.doomed, sizeof ui->sessions.doomed, "%s", row.name);
    kg_printable(name, sizeof name, row.name, strlen(row.name));
    snprintf(ui->hint, sizeof ui->hint, "d again deletes %s for good", name);
    kg_interface_hint(ui, ui->hint);
}

static void letter(struct kg_interface *ui, char letter)
{
    struct kg_session_list *list = &ui->sessions;
    struct kg_session_row row;
    bool done = true;
    if (letter != 'd')
        list->doomed[0] = '\0';
    switch (letter) {
    case 'q': leave(ui); break;
    case 'j': done = kg_session_list_move(list, 1); break;
    case 'k': done = kg_session_list_move(list, -1); break;
    case ' ': done = kg_session_list_move(list, list->page); break;
    case 'b': done = kg_session_list_move(list, -list->page); break;
    case 'g': kg_session_list_move(list, -1000000); break;
    case 'G': kg_session_list_move(list, 1000000); break;
    case '/': set_asking(ui, KG_LIST_WORDS, list->words); break;
    case 'd': delete_chosen(ui); break;
    case 'a':
        list->all = !list->all;
        look_up(ui);
        break;
    case 'f':
        if (chosen_here(ui, &row))
            change(ui, KG_SESSION_FORK, row.name, "");
        break;
    case 'r':
        if (chosen_here(ui, &row)) {
            snprintf(list->renamed, sizeof list->renamed, "%s", row.name);
            set_asking(ui, KG_LIST_NAME, row.name);
        }
        break;
    default: done = false;
    }
    if (!done)
        kg_terminal_bell(ui->terminal);
}

static void take_name(struct kg_interface *ui)
{
    size_t length;
    const char *name = kg_editor_text(ui->line, &length), *before = ui->sessions.renamed;
    if (length > 0 && strcmp(name, before) != 0) {
        if (is_open(ui, before))
            kg_interface_enqueue(ui, KG_TASK_SAVE, "/save", strlen("/save"), name, length);
        else
            change(ui, KG_SESSION_RENAME, before, name);
    }
    set_asking(ui, KG_LIST_NOTHING, "");
}

static void take_words(struct kg_interface *ui)
{
    size_t length;
    const char *words = kg_editor_text(ui->line, &length);
    snprintf(ui->sessions.words, sizeof ui->sessions.words, "%s", words);
    ui->sessions.chosen = 0;
    look_up(ui);
}

static size_t one_line(const char *text, size_t length)
{
    const char *newline = memchr(text, '\n', length);
    return newline ? (size_t)(newline - text) : length;
}

/* A key for the line below. */
static void write_line(struct kg_interface *ui, const struct kg_key *key)
{
    bool words = ui->sessions.asking == KG_LIST_WORDS, changed = true;
    bool ends = key->code == KG_KEY_ESCAPE || (key->code == KG_KEY_CTRL && (key->letter == 'c' || key->letter == 'd'));
    if (key->code == KG_KEY_ENTER && !words) {
        take_name(ui);
        return;
    }
    if (ends || key->code == KG_KEY_ENTER) {
        if (ends && words)
            kg_editor_set(ui->line, "", 0);
        set_asking(ui, KG_LIST_NOTHING, "");
        changed = ends && words;
    } else if ((key->code == KG_KEY_TEXT || key->code == KG_KEY_PASTE) && !(key->modifiers & KG_ALT)) {
        kg_editor_insert(ui->line, key->text, one_line(key->text, key->length));
    } else if (key->code == KG_KEY_BACKSPACE) {
        kg_editor_erase(ui->line, KG_MOVE_LEFT, false);
    } else if (key->code == KG_KEY_CTRL && (key->letter == 'u' || key->letter == 'w')) {
        kg_editor_erase(ui->line, key->letter == 'u' ? KG_MOVE_LINE_START : KG_MOVE_WORD_LEFT, false);
    } else if (key->code == KG_KEY_LEFT || key->code == KG_KEY_RIGHT) {
        kg_editor_move(ui->line, key->code == KG_KEY_LEFT ? KG_MOVE_LEFT : KG_MOVE_RIGHT);
        changed = false;
    } else if (key->code == KG_KEY_UP || key->code == KG_KEY_DOWN) {
        changed = false;
        if (words)
            kg_session_list_move(&ui->sessions, key->code == KG_KEY_UP ? -1 : 1);
    } else {
        changed = false;
    }
    if (words && changed)
        take_words(ui);
}

/* Letters that came together; those behind one that ends the list or begins a line are for what comes then. */
static void take_letters(struct kg_interface *ui, const struct kg_key *key)
{
    size_t i = 0;
    while (i < key->length && ui->mode == KG_MODE_SESSIONS && ui->sessions.asking == KG_LIST_NOTHING)
        letter(ui, key->text[i++]);
    struct kg_key rest = { .code = KG_KEY_TEXT, .text = key->text + i, .length = key->length - i };
    if (rest.length > 0)
        kg_interface_key(ui, &rest);
}

bool kg_interface_sessions_key(struct kg_interface *ui, const struct kg_key *key)
{
    if (key->code == KG_KEY_CTRL && (key->letter == 'l' || key->letter == 'z'))
        return false;
    if (ui->sessions.asking != KG_LIST_NOTHING) {
        write_line(ui, key);
        return true;
    }
    switch (key->code) {
    case KG_KEY_TEXT:
        if (key->modifiers & KG_ALT)
            kg_terminal_bell(ui->terminal);
        else
            take_letters(ui, key);
        break;
    case KG_KEY_UP:
    case KG_KEY_DOWN:
        letter(ui, key->code == KG_KEY_UP ? 'k' : 'j');
        break;
    case KG_KEY_PAGE_UP:
    case KG_KEY_PAGE_DOWN:
        letter(ui, key->code == KG_KEY_PAGE_UP ? 'b' : ' ');
        break;
    case KG_KEY_HOME:
    case KG_KEY_END:
        letter(ui, key->code == KG_KEY_HOME ? 'g' : 'G');
        break;
    case KG_KEY_DELETE:
        letter(ui, 'd');
        break;
    case KG_KEY_ENTER:
        open_chosen(ui);
        break;
    case KG_KEY_ESCAPE:
        leave(ui);
        break;
    case KG_KEY_CTRL:
        if (key->letter == 'c' || key->letter == 'd')
            leave(ui);
        else
            kg_terminal_bell(ui->terminal);
        break;
    default:
        kg_terminal_bell(ui->terminal);
    }
    return true;
}
