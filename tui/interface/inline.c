/* The same conversation on a terminal that only adds lines: what is typed comes in lines, edited by the terminal itself. */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tui/interface/inline.h"
#include "tui/interface/interface_state.h"
#include "tui/screen/signals.h"

#define PROMPT "> "
#define REVIEW_PROMPT "take it? y yes, n no, e edit, a all, q the rest not, c none: "
#define FULL_PROMPT "s summarise what was said, d drop unpinned files, c do not ask it: "
#define TELL_AFTER_S 5.0 /* what takes longer is told, and again after so long */
#define REVIEW_ROWS 400
#define READ_AT_ONCE 65536

static void print(struct kg_inline *in, const char *text)
{
    kg_terminal_print(in->ui->terminal, text, strlen(text));
}

/* An answer may stand in an unfinished row. */
static void print_line(struct kg_inline *in, const char *text)
{
    char line[1024];
    snprintf(line, sizeof line, "%s%s%s\n", in->mark.inside || in->prompted ? "\n" : "", "  ", text);
    in->mark.inside = in->prompted = false;
    print(in, line);
}

/* What was added to the transcript since. */
static void print_new(struct kg_inline *in)
{
    struct kg_interface *ui = in->ui;
    int rows, columns;
    char *text = NULL;
    size_t length;
    kg_terminal_measure(ui->terminal, &rows, &columns);
    kg_transcript_set_window(ui->transcript, rows, columns);
    FILE *memory = open_memstream(&text, &length);
    if (!memory)
        return;
    const char *typed = in->typed;
    bool any = kg_transcript_write_new(ui->transcript, &in->mark, &typed, memory);
    if (!typed) {
        free(in->typed);
        in->typed = NULL;
    }
    if (fclose(memory) == 0 && any) {
        if (in->prompted)
            print(in, "\n");
        in->prompted = false;
        kg_terminal_print(ui->terminal, text, length);
    }
    free(text);
}

static void print_review(struct kg_inline *in)
{
    struct kg_interface *ui = in->ui;
    int rows, columns;
    if (in->asked == ui->review.asked + 1)
        return;
    kg_terminal_measure(ui->terminal, &rows, &columns);
    struct kg_screen *page = kg_screen_create(REVIEW_ROWS, columns);
    size_t capacity = (size_t)columns * 4 * KG_CELL_CHARS + 1;
    char *text = malloc(capacity);
    int last = 0;
    if (page && text)
        kg_review_draw(&ui->review, page, REVIEW_ROWS);
    for (int row = 0; page && text && row < REVIEW_ROWS; row++) {
        kg_screen_row_text(page, row, text, capacity);
        last = *text ? row + 1 : last;
    }
    print(in, in->mark.inside || in->prompted ? "\n\n" : "\n");
    for (int row = 0; row < last; row++) {
        kg_screen_row_text(page, row, text, capacity);
        print(in, text);
        print(in, "\n");
    }
    print(in, REVIEW_PROMPT);
    free(text);
    kg_screen_free(page);
    in->mark.inside = false;
    in->prompted = true;
    in->asked = ui->review.asked + 1;
}

static bool is_idle(const struct kg_interface *ui)
{
    return ui->opened && !ui->running && ui->pending_count == 0 && ui->shell.fd < 0;
}

/* Everything that is to be seen now: what is new, hints, what takes long, the prompt once nothing goes on. */
static void show(struct kg_inline *in)
{
    struct kg_interface *ui = in->ui;
    char text[640];
    double now = kg_interface_seconds();
    print_new(in);
    if (ui->mode == KG_MODE_REVIEW) {
        ui->status.hint = NULL;
        print_review(in);
        return;
    }
    in->asked = 0;
    if (ui->status.hint)
        print_line(in, ui->status.hint);
    ui->status.hint = NULL;
    ui->status.seconds = now - ui->doing_since;
    bool slow = ui->status.doing != KG_DOING_NOTHING && ui->status.doing != KG_DOING_ANSWERING && ui->status.doing != KG_DOING_AHEAD &&
                ui->status.doing != KG_DOING_AGAIN;
    if (slow && ui->status.seconds >= TELL_AFTER_S && now - in->told_at >= TELL_AFTER_S) {
        kg_status_line_text(&ui->status, text, sizeof text);
        print_line(in, text);
        in->told_at = now;
    }
    bool full = ui->mode == KG_MODE_FULL;
    if ((full || is_idle(ui)) && !in->prompted) {
        print(in, in->mark.inside ? "\n\n" : "\n");
        print(in, full ? FULL_PROMPT : PROMPT);
        in->mark.inside = false;
        in->prompted = true;
    }
}

static void answer_review(struct kg_inline *in, const char *line)
{
    struct kg_key key = { .code = KG_KEY_TEXT, .text = line, .length = 1 };
    if (*line == 'c')
        key.code = KG_KEY_ESCAPE;
    in->ui->letter_at = 0; /* a line is an answer, however soon it comes */
    in->asked = 0;
    if (*line && strchr("ynaqec", *line))
        kg_interface_review_key(in->ui, &key);
}

static void answer_full(struct kg_inline *in, const char *line)
{
    struct kg_key key = { .code = *line == 'c' ? KG_KEY_ESCAPE : KG_KEY_TEXT, .text = line, .length = 1 };
    in->ui->letter_at = 0;
    if (*line && strchr("sdc", *line))
        kg_interface_full_key(in->ui, &key);
}

static void submit(struct kg_inline *in)
{
    struct kg_interface *ui = in->ui;
    char *line = in->line;
    size_t length = in->length;
    struct kg_error err;
    in->line = NULL;
    in->length = 0;
    in->prompted = false;
    while (length > 0 && line[length - 1] == '\n')
        line[--length] = '\0';
    if (ui->mode == KG_MODE_REVIEW || ui->mode == KG_MODE_FULL) {
        if (ui->mode == KG_MODE_REVIEW)
            answer_review(in, line);
        else
            answer_full(in, line);
        free(line);
        return;
    }
    if (kg_history_add(ui->history, line, length, &err) != KG_OK)
        kg_transcript_add(ui->transcript, KG_ENTRY_NOTICE, err.text, strlen(err.text));
    kg_interface_submit(ui, line, length);
    free(in->typed); /* as it will stand in the transcript */
    while (length > 0 && strchr(" \t", line[length - 1]))
        line[--length] = '\0';
    size_t blanks = strspn(line, " \n");
    memmove(line, line + blanks, length - blanks + 1);
    in->typed = line;
}

/* Lines that are there at once, as from a paste, are one text, and so is what follows a line that ends in a backslash. */
static void take_lines(struct kg_inline *in)
{
    struct kg_interface *ui = in->ui;
    struct pollfd more = { .fd = kg_terminal_input(ui->terminal), .events = POLLIN };
    char bytes[READ_AT_ONCE];
    do {
        long n = kg_terminal_read(ui->terminal, bytes, sizeof bytes);
        char *grown = n > 0 ? realloc(in->line, in->length + (size_t)n + 1) : NULL;
        if (!grown) {
            ui->quit = true;
            return;
        }
        in->line = grown;
        memcpy(grown + in->length, bytes, (size_t)n);
        in->length += (size_t)n;
        grown[in->length] = '\0';
    } while (poll(&more, 1, 10) > 0);
    if (in->length > 1 && strcmp(in->line + in->length - 2, "\\\n") == 0) {
        in->line[in->length-- - 2] = '\n';
        in->line[in->length] = '\0';
    } else if (in->line[in->length - 1] == '\n') {
        submit(in);
    }
}

/* Ctrl-C ends what goes on, and kedge itself when nothing does. */
static void take_signals(struct kg_inline *in)
{
    struct kg_interface *ui = in->ui;
    struct kg_heard heard = kg_signals_take();
    bool busy = ui->running || ui->shell.fd >= 0 || ui->mode == KG_MODE_REVIEW || ui->mode == KG_MODE_FULL;
    if (heard.suspended)
        kg_terminal_suspend(ui->terminal);
    if (heard.ended_by == SIGINT && busy) {
        kg_signals_pardon();
        if (ui->mode == KG_MODE_REVIEW)
            answer_review(in, "c");
        else if (ui->mode == KG_MODE_FULL)
            answer_full(in, "c");
        else
            kg_interface_key(ui, &(struct kg_key){ .code = KG_KEY_ESCAPE });
        return;
    }
    if (heard.ended_by == SIGINT) /* as at its end */
        kg_signals_pardon();
    ui->quit = ui->quit || heard.ended_by;
}

static void take_events(struct kg_interface *ui)
{
    for (struct kg_event *event; (event = (struct kg_event *)kg_channel_receive(ui->events));) {
        kg_interface_event(ui, event);
        kg_event_free(event);
    }
}

void kg_inline_loop(struct kg_inline *in)
{
    struct kg_interface *ui = in->ui;
    struct pollfd watched[4] = { { .fd = kg_terminal_input(ui->terminal), .events = POLLIN },
                                 { .fd = kg_channel_fd(ui->events), .events = POLLIN },
                                 { .fd = kg_signals_fd(), .events = POLLIN },
                                 { .events = POLLIN } };
    while (!ui->quit) {
        show(in);
        watched[3].fd = ui->shell.fd;
        watched[3].revents = 0;
        int ready = poll(watched, 4, ui->status.doing == KG_DOING_NOTHING ? -1 : 1000);
        if (ready < 0 && errno != EINTR)
            break;
        if (ready > 0 && watched[2].revents)
            take_signals(in);
        if (ready > 0 && watched[0].revents && !ui->quit)
            take_lines(in);
        if (ready > 0 && watched[1].revents)
            take_events(ui);
        if (ready > 0 && watched[3].revents && ui->shell.fd >= 0)
            kg_interface_take_output(ui);
    }
    print_new(in);
    if (in->mark.inside || in->prompted)
        print(in, "\n");
    free(in->line);
    free(in->typed);
}
