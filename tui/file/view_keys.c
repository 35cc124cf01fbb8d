/* What a key does in the file view. */
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tui/file/view_state.h"

void kg_file_hint(struct kg_file_view *view, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vsnprintf(view->hint, sizeof view->hint, format, args);
    va_end(args);
}

void kg_file_hint_unwritten(struct kg_file_view *view)
{
    kg_file_hint(view, "in UTF-16, which is shown, but not written or completed; convert it to UTF-8 first");
}

static void enter(struct kg_file_view *view, enum kg_file_mode mode)
{
    view->mode = mode;
    view->search_from = view->edit.cursor;
    kg_editor_set(view->line, "", 0);
}

/* True when it is saved. */
static bool save(struct kg_file_view *view, bool anyway)
{
    struct kg_error err;
    size_t length;
    const char *bytes = kg_text_bytes(view->edit.text, &length);
    if (anyway)
        view->saved.first = false; /* what is written over is taken back to, not what stood there before that */
    if (view->options->record)
        kg_saved_look(&view->saved, view->file.path, view->options->place->label);
    enum kg_status status = kg_disk_save(&view->file, bytes, length, anyway, &err);
    if (status == KG_ERR_CHANGED) {
        enter(view, KG_FILE_OVERWRITE);
        return false;
    }
    if (status != KG_OK) {
        kg_file_hint(view, "%s", err.text);
        view->leaving = false;
        return false;
    }
    kg_text_set_saved(view->edit.text);
    if (view->options->record && kg_saved_tell(&view->saved, &view->file.written, view->options->record, &err) != KG_OK) {
        kg_file_hint(view, "saved, but /undo will not take it back: %s", err.text);
        view->leaving = false; /* or nobody would see that */
    } else {
        kg_file_hint(view, "saved, %zu lines", kg_text_lines(view->edit.text));
    }
    view->quit = view->leaving;
    return true;
}

static void leave(struct kg_file_view *view)
{
    if (kg_text_is_saved(view->edit.text))
        view->quit = true;
    else
        enter(view, KG_FILE_LEAVE);
}

static void answer(struct kg_file_view *view, char c)
{
    bool overwriting = view->mode == KG_FILE_OVERWRITE;
    if (c != 'y' && c != 'n')
        return;
    view->mode = KG_FILE_EDIT;
    if (c == 'n' && !overwriting)
        view->quit = true;
    view->leaving = c == 'y' && (view->leaving || !overwriting);
    if (c == 'y')
        save(view, overwriting);
}

static void find(struct kg_file_view *view, size_t from)
{
    size_t length;
    const char *pattern = kg_editor_text(view->line, &length);
    size_t found = kg_edit_find(&view->edit, pattern, length, from);
    if (found == SIZE_MAX) {
        kg_edit_go(&view->edit, view->search_from, false);
        if (length)
            kg_file_hint(view, "not found");
        return;
    }
    kg_edit_go(&view->edit, found, false);
    kg_edit_go(&view->edit, found + length, true);
}

static void go_to(struct kg_file_view *view)
{
    size_t length, lines = kg_text_lines(view->edit.text);
    unsigned long line = strtoul(kg_editor_text(view->line, &length), NULL, 10);
    line = line == 0 ? 1 : line > lines ? lines : line;
    kg_edit_go(&view->edit, kg_text_line_start(view->edit.text, line - 1), false);
}

/* The lines that are selected, or that of the cursor. */
static void begin_wish(struct kg_file_view *view)
{
    size_t from, to;
    if (!view->options->wish) {
        kg_file_hint(view, "lines are changed in a conversation: start kedge, and /open this file there");
        return;
    }
    kg_edit_selection(&view->edit, &from, &to);
    size_t first = kg_text_line_of(view->edit.text, from), last = kg_text_line_of(view->edit.text, to);
    last -= last > first && to == kg_text_line_start(view->edit.text, last);
    view->wish_first = (uint32_t)first + 1;
    view->wish_last = (uint32_t)last + 1;
    enter(view, KG_FILE_CHANGE);
}

/* The view is left with it, once the file is saved. */
static void take_wish(struct kg_file_view *view)
{
    struct kg_file_wish *wish = view->options->wish;
    size_t length;
    const char *text = kg_editor_text(view->line, &length);
    size_t n = length < sizeof wish->text ? length : sizeof wish->text - 1;
    while (n > 0 && n < length && ((unsigned char)text[n] & 0xc0U) == 0x80U) /* between characters */
        n--;
    for (size_t i = 0; i < n; i++)
        wish->text[i] = (unsigned char)text[i] < 0x20 ? ' ' : text[i];
    wish->text[n] = '\0';
    if (strspn(wish->text, " ") == n)
        return;
    wish->first = view->wish_first;
    wish->last = view->wish_last;
    view->leaving = true;
    if (kg_text_is_saved(view->edit.text) && !view->file.is_new)
        view->quit = true;
    else
        save(view, false);
}

/* The pattern, the number or the wish in the last row. */
static void line_key(struct kg_file_view *view, const struct kg_key *key)
{
    bool search = view->mode == KG_FILE_SEARCH;
    bool again = key->code == KG_KEY_CTRL && key->letter == 'f';
    if (key->code == KG_KEY_ESCAPE) {
        view->mode = KG_FILE_EDIT;
        if (search)
            kg_edit_go(&view->edit, view->search_from, false);
    } else if (key->code == KG_KEY_ENTER) {
        bool wish = view->mode == KG_FILE_CHANGE;
        view->mode = KG_FILE_EDIT;
        if (wish)
            take_wish(view);
        else if (!search)
            go_to(view);
    } else if (search && (again || key->code == KG_KEY_DOWN)) {
        find(view, view->edit.cursor);
    } else if ((key->code == KG_KEY_TEXT && !key->modifiers) || key->code == KG_KEY_PASTE) {
        kg_editor_insert(view->line, key->text, key->length);
        if (search)
            find(view, view->search_from);
    } else if (key->code == KG_KEY_BACKSPACE) {
        kg_editor_erase(view->line, KG_MOVE_LEFT, false);
        if (search)
            find(view, view->search_from);
    }
    if (view->mode == KG_FILE_EDIT)
        kg_file_changed(view, false);
}

static void done(struct kg_file_view *view, bool ok)
{
    if (!ok)
        kg_file_hint(view, "out of memory: nothing was changed");
    kg_file_changed(view, true);
}

static void take(struct kg_file_view *view, size_t bytes)
{
    if (!kg_edit_insert(&view->edit, view->ghost.text, bytes)) {
        kg_file_hint(view, "out of memory: nothing was changed");
        return;
    }
    kg_ghost_taken(&view->ghost, bytes);
    kg_file_ghost_taken(view);
}

/* What agrees with the ghost shortens it; everything else ends it. */
static void type(struct kg_file_view *view, const char *text, size_t length)
{
    size_t from, to;
    kg_edit_selection(&view->edit, &from, &to);
    bool agrees = from == to && kg_ghost_agrees(&view->ghost, text, length);
    bool ok = kg_edit_type(&view->edit, text, length);
    if (agrees && ok)
        kg_file_ghost_taken(view);
    else
        done(view, ok);
}

static void newline(struct kg_file_view *view)
{
    size_t from, to, length;
    kg_edit_selection(&view->edit, &from, &to);
    bool selected = from < to, ok = kg_edit_newline(&view->edit);
    const char *bytes = kg_text_bytes(view->edit.text, &length);
    if (ok && !selected && kg_ghost_agrees(&view->ghost, bytes + from, view->edit.cursor - from))
        kg_file_ghost_taken(view);
    else
        done(view, ok);
}

static void move(struct kg_file_view *view, enum kg_edit_motion motion, size_t times, bool select)
{
    kg_edit_move(&view->edit, motion, times, select);
    kg_file_changed(view, false);
}

static void clip(struct kg_file_view *view, bool cut)
{
    bool ok = cut ? kg_edit_cut(&view->edit) : kg_edit_copy(&view->edit);
    if (ok)
        kg_terminal_copy(view->terminal, view->edit.clip, view->edit.clip_length);
    if (cut || !ok)
        done(view, ok);
}

static void control(struct kg_file_view *view, int letter)
{
    switch (letter) {
    case 'j': newline(view); break;
    case 's': save(view, false); break;
    case 'q': leave(view); break;
    case 'z':
        if (kg_edit_undo(&view->edit))
            kg_file_changed(view, false);
        else
            kg_file_hint(view, "nothing to undo");
        break;
    case 'y':
        if (kg_edit_redo(&view->edit))
            kg_file_changed(view, false);
        else
            kg_file_hint(view, "nothing to redo");
        break;
    case 'x':
    case 'c': clip(view, letter == 'x'); break;
    case 'v': done(view, kg_edit_paste(&view->edit)); break;
    case 'a': kg_edit_select_all(&view->edit); kg_file_changed(view, false); break;
    case 'f': enter(view, KG_FILE_SEARCH); break;
    case 'g': enter(view, KG_FILE_GO_TO); break;
    case 'e': begin_wish(view); break;
    case 'l': kg_terminal_redraw(view->terminal); break;
    case '@': kg_file_ask(view, true); break;
    default: break;
    }
}

static void escape(struct kg_file_view *view)
{
    if (view->ghost.length || view->writing) {
        kg_file_changed(view, false);
        view->due = 0;
        return;
    }
    kg_edit_go(&view->edit, view->edit.cursor, false);
}

static void right(struct kg_file_view *view, unsigned modifiers)
{
    bool select = modifiers & KG_SHIFT;
    if (view->ghost.length && !select && modifiers & KG_ALT)
        take(view, kg_ghost_word(&view->ghost));
    else if (view->ghost.length && !select && modifiers & KG_CONTROL)
        take(view, kg_ghost_line(&view->ghost));
    else
        move(view, modifiers & (KG_ALT | KG_CONTROL) ? KG_EDIT_WORD_RIGHT : KG_EDIT_RIGHT, 1, select);
}

static void motion_key(struct kg_file_view *view, const struct kg_key *key)
{
    bool select = key->modifiers & KG_SHIFT, far = key->modifiers & KG_CONTROL, word = key->modifiers & (KG_ALT | KG_CONTROL);
    size_t page = view->screen->rows > 3 ? (size_t)view->screen->rows - 3 : 1;
    switch (key->code) {
    case KG_KEY_UP: move(view, KG_EDIT_UP, 1, select); break;
    case KG_KEY_DOWN: move(view, KG_EDIT_DOWN, 1, select); break;
    case KG_KEY_LEFT: move(view, word ? KG_EDIT_WORD_LEFT : KG_EDIT_LEFT, 1, select); break;
    case KG_KEY_RIGHT: right(view, key->modifiers); break;
    case KG_KEY_HOME: move(view, far ? KG_EDIT_START : KG_EDIT_LINE_START, 1, select); break;
    case KG_KEY_END: move(view, far ? KG_EDIT_END : KG_EDIT_LINE_END, 1, select); break;
    case KG_KEY_PAGE_UP: move(view, KG_EDIT_UP, page, select); break;
    case KG_KEY_PAGE_DOWN: move(view, KG_EDIT_DOWN, page, select); break;
    default: break;
    }
}

/* What changes the text, saves it or has a model write. */
static bool writes(const struct kg_key *key)
{
    switch (key->code) {
    case KG_KEY_TEXT: return !(key->modifiers & KG_ALT);
    case KG_KEY_CTRL: return key->letter && strchr("jsxve@", key->letter);
    case KG_KEY_PASTE:
    case KG_KEY_ENTER:
    case KG_KEY_TAB:
    case KG_KEY_BACKSPACE:
    case KG_KEY_DELETE: return true;
    default: return false;
    }
}

static void edit_key(struct kg_file_view *view, const struct kg_key *key)
{
    if (view->options->wish)
        view->options->wish->first = 0; /* the view was not left with it */
    view->leaving = false;
    if (view->file.utf16 && writes(key)) {
        kg_file_hint_unwritten(view);
        return;
    }
    switch (key->code) {
    case KG_KEY_TEXT:
        if (!(key->modifiers & KG_ALT))
            type(view, key->text, key->length);
        break;
    case KG_KEY_PASTE: done(view, kg_edit_insert(&view->edit, key->text, key->length)); break;
    case KG_KEY_CTRL: control(view, key->letter); break;
    case KG_KEY_ENTER: newline(view); break;
    case KG_KEY_TAB:
        if (view->ghost.length)
            take(view, view->ghost.length);
        else
            done(view, kg_edit_tab(&view->edit));
        break;
    case KG_KEY_ESCAPE: escape(view); break;
    case KG_KEY_BACKSPACE:
        done(view, kg_edit_erase(&view->edit, key->modifiers & (KG_ALT | KG_CONTROL) ? KG_EDIT_WORD_LEFT : KG_EDIT_LEFT));
        break;
    case KG_KEY_DELETE:
        done(view, kg_edit_erase(&view->edit, key->modifiers & (KG_ALT | KG_CONTROL) ? KG_EDIT_WORD_RIGHT : KG_EDIT_RIGHT));
        break;
    case KG_KEY_INSERT:
    case KG_KEY_FUNCTION: break;
    default: motion_key(view, key);
    }
}

void kg_file_key(void *ctx, const struct kg_key *key)
{
    struct kg_file_view *view = ctx;
    view->dirty = true;
    view->hint[0] = '\0';
    if (view->mode == KG_FILE_EDIT) {
        edit_key(view, key);
    } else if (view->mode == KG_FILE_SEARCH || view->mode == KG_FILE_GO_TO || view->mode == KG_FILE_CHANGE) {
        line_key(view, key);
    } else if (key->code == KG_KEY_ESCAPE) {
        view->mode = KG_FILE_EDIT;
        view->leaving = false;
    } else if (key->code == KG_KEY_TEXT) {
        answer(view, key->text[0]);
    }
}
