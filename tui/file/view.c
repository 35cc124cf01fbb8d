#include "tui/file/view.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "tui/complete/around.h"
#include "tui/file/view_state.h"
#include "tui/interface/output_log.h"
#include "tui/screen/restore.h"
#include "tui/screen/signals.h"

#define READ_AT_ONCE 65536

double kg_file_seconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

static void take_signals(struct kg_file_view *view)
{
    struct kg_heard heard = kg_signals_take();
    view->quit = view->quit || heard.ended_by;
    view->dirty |= kg_terminal_heed(view->terminal, &heard, view->screen);
}

/* What was typed in one go is done before anything is shown; a file that is left gets no more keys. */
static void take_typed(struct kg_file_view *view)
{
    char bytes[READ_AT_ONCE];
    long n = kg_terminal_read(view->terminal, bytes, sizeof bytes);
    if (n < 0)
        view->quit = view->lost = true;
    else
        kg_keys_feed(view->keys, bytes, (size_t)n);
}

static void take_events(struct kg_file_view *view)
{
    for (struct kg_message *message; (message = kg_channel_receive(view->events)); kg_suggestion_drop(message))
        kg_file_suggestion(view, (struct kg_suggestion *)message);
}

/* Milliseconds until something has to be done though nothing happens; -1: nothing. */
static int patience(const struct kg_file_view *view)
{
    double wait = view->due > 0 ? view->due - kg_file_seconds() : -1;
    if (view->due > 0 && wait < 0)
        wait = 0;
    if (kg_keys_pending(view->keys) && (wait < 0 || wait > KG_KEYS_WAIT_MS / 1000.0))
        wait = KG_KEYS_WAIT_MS / 1000.0;
    return wait < 0 ? -1 : (int)(wait * 1000 + 0.999);
}

static void loop(struct kg_file_view *view)
{
    double typed = 0;
    struct pollfd watched[3] = { { .fd = kg_terminal_input(view->terminal), .events = POLLIN },
                                 { .fd = kg_channel_fd(view->events), .events = POLLIN },
                                 { .fd = kg_signals_fd(), .events = POLLIN } };
    while (!view->quit) {
        if (view->dirty) {
            kg_file_draw(view);
            kg_terminal_show(view->terminal, view->screen);
            view->dirty = false;
        }
        int ready = poll(watched, 3, patience(view));
        double now = kg_file_seconds();
        if (ready < 0 && errno != EINTR) {
            view->lost = true;
            break;
        }
        if (ready > 0 && watched[2].revents)
            take_signals(view);
        if (ready > 0 && watched[0].revents) {
            take_typed(view);
            typed = now;
        } else if (kg_keys_pending(view->keys) && now - typed >= KG_KEYS_WAIT_MS / 1000.0) {
            kg_keys_timeout(view->keys);
        }
        if (ready > 0 && watched[1].revents)
            take_events(view);
        if (view->due > 0 && kg_file_seconds() >= view->due)
            kg_file_ask(view, view->due_text);
    }
}

/* As a code fence would name it: the end of the file's name, or all of a name without an end. */
static void set_language(struct kg_file_view *view)
{
    const char *slash = strrchr(view->options->place->file, '/'), *name = slash ? slash + 1 : view->options->place->file, *dot = strrchr(name, '.');
    snprintf(view->language, sizeof view->language, "%.*s", (int)sizeof view->language - 1, dot ? dot + 1 : name);
}

static enum kg_status open_file(struct kg_file_view *view, struct kg_error *err)
{
    char *bytes = NULL;
    size_t length;
    const struct kg_file_place *place = view->options->place;
    enum kg_status status = kg_disk_load(place->file, &view->file, &bytes, &length, err);
    if (status != KG_OK)
        return status;
    view->edit.text = kg_text_create(bytes, length);
    if (view->edit.text)
        kg_edit_go(&view->edit, kg_place_in(bytes, length, place->line ? place->line : 1, place->column ? place->column : 1), false);
    free(bytes);
    set_language(view);
    return view->edit.text ? KG_OK : kg_fail_nomem(err, "opening a file");
}

static enum kg_status open_screen(struct kg_file_view *view, struct kg_error *err)
{
    int rows, columns;
    struct kg_theme theme;
    struct kg_error unthemed;
    bool themed = kg_theme_find(view->options->theme ? view->options->theme : KG_THEME_STANDARD, &theme, &unthemed) == KG_OK;
    enum kg_status status = kg_terminal_open(&theme, view->options->colours, &view->terminal, err);
    if (status != KG_OK)
        return status;
    view->screen = kg_screen_create(1, 1);
    view->keys = kg_keys_create(kg_file_key, view);
    view->line = kg_editor_create();
    view->events = kg_channel_create();
    if (!view->screen || !view->keys || !view->line || !view->events)
        return kg_fail_nomem(err, "opening a file");
    kg_terminal_teach(view->terminal, view->keys);
    kg_terminal_measure(view->terminal, &rows, &columns);
    if (!kg_screen_resize(view->screen, rows, columns))
        return kg_fail_nomem(err, "opening a file");
    if (!themed)
        kg_file_hint(view, "%s", unthemed.text);
    else if (view->file.utf16)
        kg_file_hint_unwritten(view);
    else if (view->options->no_model)
        kg_file_hint(view, "no completion: %s", view->options->no_model);
    else if (view->file.is_new)
        kg_file_hint(view, "a new file");
    view->dirty = true;
    return KG_OK;
}

/* Ended from outside: what was not saved goes beside the file. */
static void keep_unsaved(struct kg_file_view *view)
{
    char path[KG_PATH_MAX + 16];
    size_t length;
    struct kg_error err;
    if (!view->edit.text || kg_text_is_saved(view->edit.text) || !(view->lost || kg_signals_take().ended_by))
        return;
    kg_signals_hold(); /* one that comes again does not end the writing */
    const char *bytes = kg_text_bytes(view->edit.text, &length);
    if (kg_disk_rescue(&view->file, bytes, length, path, sizeof path, &err) == KG_OK)
        fprintf(stderr, "kedge complete: what was not saved is in %s\n", path);
    else
        fprintf(stderr, "kedge complete: %s\n", err.text);
}

static enum kg_status run(struct kg_file_view *view, struct kg_error *err)
{
    char state[KG_PATH_MAX] = "";
    struct kg_completer_options completer = view->options->completer;
    enum kg_status status = open_screen(view, err);
    if (status == KG_OK) {
        size_t length;
        const char *bytes = kg_text_bytes(view->edit.text, &length);
        completer.secret = kg_completer_is_secret(completer.path, bytes, length);
        if (kg_place_path(KG_PLACE_STATE, NULL, state, NULL) != KG_OK || kg_make_dirs(state, NULL) != KG_OK)
            state[0] = '\0';
        kg_output_log_begin(state);
        if (!view->options->no_model && !view->file.utf16)
            status = kg_suggest_start(&completer, view->events, &view->suggest, err);
        if (status == KG_OK)
            loop(view);
    }
    kg_terminal_close(view->terminal);
    kg_output_log_end();
    keep_unsaved(view);
    kg_suggest_end(view->suggest);
    return status;
}

static void close_all(struct kg_file_view *view)
{
    kg_channel_free(view->events, kg_suggestion_drop);
    kg_ghost_free(&view->ghost);
    kg_saved_clear(&view->saved);
    kg_editor_free(view->line);
    kg_keys_free(view->keys);
    kg_screen_free(view->screen);
    kg_edit_clear(&view->edit);
    kg_text_free(view->edit.text);
    free(view);
}

enum kg_status kg_file_view_run(const struct kg_file_view_options *options, struct kg_error *err)
{
    struct kg_file_view *view = calloc(1, sizeof *view);
    int ended_by = 0;
    if (!view)
        return kg_fail_nomem(err, "opening a file");
    view->options = options;
    enum kg_status status = open_file(view, err);
    void *stack = kg_restore_stack();
    if (status == KG_OK)
        status = kg_signals_hear(err);
    if (status == KG_OK) {
        status = run(view, err);
        ended_by = kg_signals_take().ended_by;
        kg_signals_unhear();
    }
    kg_restore_stack_free(stack);
    close_all(view);
    if (ended_by)
        raise(ended_by);
    return status;
}
