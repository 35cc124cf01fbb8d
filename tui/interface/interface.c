#include "tui/interface/interface.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/paths.h"
#include "tui/interface/inline.h"
#include "tui/interface/interface_state.h"
#include "tui/interface/leaving.h"
#include "tui/interface/output_log.h"
#include "tui/screen/restore.h"
#include "tui/screen/signals.h"

#define FRAME_S (1.0 / 60)
#define ECHO_S 0.004 /* what a key changes is shown sooner */
#define READ_AT_ONCE 65536

double kg_interface_seconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

static void take_signals(struct kg_interface *ui)
{
    struct kg_heard heard = kg_signals_take();
    ui->quit = ui->quit || heard.ended_by;
    ui->dirty |= kg_terminal_heed(ui->terminal, &heard, ui->screen);
}

static void draw(struct kg_interface *ui)
{
    double now = kg_interface_seconds();
    if (ui->status.hint && now > ui->hint_until) {
        ui->status.hint = NULL;
        if (ui->mode == KG_MODE_FULL)
            kg_interface_full_waits(ui);
    }
    ui->status.seconds = now - ui->doing_since;
    kg_view_draw(&ui->view, ui->screen);
    kg_terminal_show(ui->terminal, ui->screen);
    ui->dirty = ui->typed = false;
}

static void take_typed(struct kg_interface *ui)
{
    char bytes[READ_AT_ONCE];
    long n = kg_terminal_read(ui->terminal, bytes, sizeof bytes);
    if (n < 0)
        ui->quit = true;
    else
        kg_keys_feed(ui->keys, bytes, (size_t)n);
}

static void take_events(struct kg_interface *ui)
{
    for (struct kg_event *event; (event = (struct kg_event *)kg_channel_receive(ui->events));) {
        kg_interface_event(ui, event);
        kg_event_free(event);
    }
}

/* Milliseconds until something has to be done though nothing happens: a frame is due, a key is waited for, the
 * status line counts seconds. -1: nothing. */
static int patience(const struct kg_interface *ui, double last_frame)
{
    double wait = -1;
    if (ui->dirty) {
        wait = (ui->typed ? ECHO_S : FRAME_S) - (kg_interface_seconds() - last_frame);
        wait = wait < 0 ? 0 : wait;
    } else if (ui->status.doing != KG_DOING_NOTHING || ui->status.hint) {
        wait = 0.5;
    }
    if (kg_keys_pending(ui->keys) && (wait < 0 || wait > KG_KEYS_WAIT_MS / 1000.0))
        wait = KG_KEYS_WAIT_MS / 1000.0;
    return wait < 0 ? -1 : (int)(wait * 1000 + 0.999);
}

static void loop(struct kg_interface *ui)
{
    double last_frame = kg_interface_seconds(), typed = 0;
    struct pollfd watched[4] = { { .fd = kg_terminal_input(ui->terminal), .events = POLLIN },
                                { .fd = kg_channel_fd(ui->events), .events = POLLIN },
                                { .fd = kg_signals_fd(), .events = POLLIN },
                                { .events = POLLIN } };
    while (!ui->quit) {
        watched[3].fd = ui->shell.fd;
        watched[3].revents = 0;
        int ready = poll(watched, 4, patience(ui, last_frame));
        double now = kg_interface_seconds();
        if (ready < 0 && errno != EINTR)
            break;
        if (ready > 0 && watched[2].revents)
            take_signals(ui);
        if (ready > 0 && watched[0].revents) {
            take_typed(ui);
            typed = now;
        } else if (kg_keys_pending(ui->keys) && now - typed >= KG_KEYS_WAIT_MS / 1000.0) {
            kg_keys_timeout(ui->keys);
        }
        if (ready > 0 && watched[1].revents)
            take_events(ui);
        if (ready > 0 && watched[3].revents && ui->shell.fd >= 0)
            kg_interface_take_output(ui);
        if (ready == 0 && ui->status.doing != KG_DOING_NOTHING)
            ui->dirty = true;
        if (ui->status.hint && now > ui->hint_until)
            ui->dirty = true;
        if (ui->dirty && kg_interface_seconds() - last_frame >= (ui->typed ? ECHO_S : FRAME_S)) {
            last_frame = kg_interface_seconds();
            draw(ui);
        }
    }
}

static void greet(struct kg_interface *ui)
{
    char text[KG_PATH_MAX + 128];
    const char *repository = ui->options->repository, *home = getenv("HOME");
    size_t n = home ? strlen(home) : 0;
    bool below_home = repository && n > 1 && strncmp(repository, home, n) == 0 && repository[n] == '/';
    if (repository)
        snprintf(text, sizeof text, "kedge %s in %s%s\nAsk about this code. @path reads a file, / shows commands.", KG_VERSION, below_home ? "~" : "",
                 below_home ? repository + n : repository);
    else
        snprintf(text, sizeof text, "kedge %s, in no repository\nAsk something. @path reads a file, / shows commands.", KG_VERSION);
    kg_transcript_add(ui->transcript, KG_ENTRY_COUNTS, text, strlen(text));
    for (size_t i = 0; i < ui->options->notice_count; i++)
        kg_transcript_add(ui->transcript, KG_ENTRY_NOTICE, ui->options->notices[i], strlen(ui->options->notices[i]));
}

/* What there is with and without a screen. */
static enum kg_status open_parts(struct kg_interface *ui, struct kg_error *err)
{
    ui->screen = kg_screen_create(1, 1);
    ui->keys = kg_keys_create(kg_interface_key, ui);
    ui->editor = kg_editor_create();
    ui->line = kg_editor_create();
    ui->vi = ui->options->vi && !ui->lines_only ? kg_vi_create() : NULL;
    ui->completion = kg_completion_create(kg_interface_commands);
    ui->transcript = kg_transcript_create();
    ui->events = kg_channel_create();
    if (!ui->screen || !ui->keys || !ui->editor || !ui->line || (ui->options->vi && !ui->lines_only && !ui->vi) || !ui->completion || !ui->transcript || !ui->events)
        return kg_fail_nomem(err, "opening the interface");
    ui->status.doing = KG_DOING_LOADING;
    ui->doing_since = kg_interface_seconds();
    greet(ui);
    return KG_OK;
}

/* Everything that the first screen needs. */
static enum kg_status open_screen(struct kg_interface *ui, struct kg_error *err)
{
    int rows, columns;
    struct kg_theme theme;
    struct kg_error unthemed;
    if (ui->lines_only)
        return kg_terminal_open_plain(&ui->terminal, err);
    bool themed = kg_theme_find(ui->options->theme ? ui->options->theme : KG_THEME_STANDARD, &theme, &unthemed) == KG_OK;
    enum kg_status status = kg_terminal_open(&theme, ui->options->colours, &ui->terminal, err);
    if (status != KG_OK)
        return status;
    if (ui->options->mouse)
        kg_terminal_mouse(ui->terminal);
    kg_terminal_teach(ui->terminal, ui->keys);
    kg_terminal_measure(ui->terminal, &rows, &columns);
    if (!kg_screen_resize(ui->screen, rows, columns))
        return kg_fail_nomem(err, "opening the interface");
    ui->view = (struct kg_view){ .transcript = ui->transcript,
                                 .editor = ui->editor,
                                 .completion = ui->completion,
                                 .status = &ui->status,
                                 .pane = &ui->pane,
                                 .placeholder = ui->placeholder,
                                 .prompt = KG_PROMPT };
    snprintf(ui->placeholder, sizeof ui->placeholder, "ask a question");
    if (!themed)
        kg_transcript_add(ui->transcript, KG_ENTRY_NOTICE, unthemed.text, strlen(unthemed.text));
    draw(ui);
    return KG_OK;
}

static void open_history(struct kg_interface *ui, const char *state)
{
    char path[KG_PATH_MAX];
    struct kg_error err;
    int n = snprintf(path, sizeof path, "%s/history", state);
    if (kg_history_open(n < (int)sizeof path ? path : NULL, &ui->history, &err) != KG_OK)
        kg_transcript_add(ui->transcript, KG_ENTRY_NOTICE, err.text, strlen(err.text));
}

/* An unsent text is found again in the history. */
static void keep_draft(struct kg_interface *ui)
{
    size_t length;
    const char *text = ui->editor ? kg_editor_text(ui->editor, &length) : NULL;
    if (text && ui->history && length > 0)
        kg_history_add(ui->history, text, length, NULL);
}

static void close_all(struct kg_interface *ui)
{
    for (size_t i = 0; i < ui->pending_count; i++)
        free(ui->pending[i].text);
    kg_channel_free(ui->events, kg_event_drop);
    kg_transcript_free(ui->transcript);
    kg_completion_free(ui->completion);
    kg_history_close(ui->history);
    kg_editor_free(ui->editor);
    kg_editor_free(ui->line);
    kg_vi_free(ui->vi);
    free(ui->draft);
    free(ui->unasked.text);
    free(ui->output);
    free(ui->test);
    kg_review_end(&ui->review);
    kg_session_list_clear(&ui->sessions);
    kg_proposal_free(&ui->held);
    kg_shell_clear(&ui->shell);
    kg_keys_free(ui->keys);
    kg_screen_free(ui->screen);
    free(ui->files);
    free(ui);
}

static enum kg_status start_threads(struct kg_interface *ui, struct kg_error *err)
{
    enum kg_status status = kg_worker_start(ui->options, ui->events, &ui->worker, err);
    return status == KG_OK ? kg_lookup_start(ui->options, ui->events, &ui->lookup, err) : status;
}

static void state_directory(const struct kg_interface_options *options, char out[KG_PATH_MAX])
{
    if (options->engine.state_dir)
        snprintf(out, KG_PATH_MAX, "%s", options->engine.state_dir);
    else if (kg_place_path(KG_PLACE_STATE, NULL, out, NULL) != KG_OK)
        out[0] = '\0';
    if (out[0] && kg_make_dirs(out, NULL) != KG_OK)
        out[0] = '\0';
}

/* The first screen before everything else; then what may take its time. */
static enum kg_status run(struct kg_interface *ui, struct kg_error *err)
{
    char state[KG_PATH_MAX] = "";
    enum kg_status status = open_parts(ui, err);
    if (status == KG_OK)
        status = open_screen(ui, err);
    if (status == KG_OK) {
        state_directory(ui->options, state);
        kg_output_log_begin(state);
        open_history(ui, state);
        status = start_threads(ui, err);
    }
    if (status == KG_OK && ui->lines_only)
        kg_inline_loop(&(struct kg_inline){ .ui = ui });
    else if (status == KG_OK)
        loop(ui);
    keep_draft(ui);
    kg_terminal_close(ui->terminal);
    kg_output_log_end();
    if (status == KG_OK)
        kg_leaving_print(ui);
    kg_lookup_end(ui->lookup);
    kg_worker_end(ui->worker);
    return status;
}

enum kg_status kg_interface_run(const struct kg_interface_options *options, struct kg_error *err)
{
    struct kg_interface *ui = calloc(1, sizeof *ui);
    if (!ui)
        return kg_fail_nomem(err, "opening the interface");
    ui->options = options;
    ui->shell.fd = -1;
    ui->lines_only = options->lines_only || kg_terminal_is_dumb();
    void *stack = kg_restore_stack();
    enum kg_status status = kg_signals_hear(err);
    int ended_by = 0;
    if (status == KG_OK) {
        status = run(ui, err);
        ended_by = kg_signals_take().ended_by;
        kg_signals_unhear();
    }
    kg_restore_stack_free(stack);
    close_all(ui);
    if (ended_by)
        raise(ended_by);
    return status;
}
