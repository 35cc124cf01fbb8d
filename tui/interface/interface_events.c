/* What the threads behind tell, and what the screen makes of it. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tui/interface/figures.h"
#include "tui/interface/interface_state.h"

static void copy(char *out, size_t capacity, const char *text)
{
    kg_printable(out, capacity, text ? text : "", text ? strlen(text) : 0);
}

static void take_doing(struct kg_interface *ui, const struct kg_event *event)
{
    if (event->doing != ui->status.doing)
        ui->doing_since = kg_interface_seconds();
    ui->status.doing = event->doing;
    ui->status.done = event->done;
    ui->status.total = event->total;
    copy(ui->status.what, sizeof ui->status.what, event->text);
    if (event->doing == KG_DOING_NOTHING && ui->status.hint && strcmp(ui->status.hint, "stopping") == 0)
        ui->status.hint = NULL;
    if (event->doing == KG_DOING_NOTHING && !ui->opened) { /* all that is opened at the start is open */
        ui->opened = true;
        kg_interface_next(ui);
    }
}

static void take_session(struct kg_interface *ui, const char *name)
{
    if (ui->session[0])
        kg_transcript_clear(ui->transcript);
    if (ui->edited && strcmp(ui->session, name) != 0) { /* its number says nothing here; what was written stays */
        ui->edited = 0;
        ui->status.hint = NULL;
        if (ui->mode == KG_MODE_INPUT)
            ui->view.prompt = KG_PROMPT;
    }
    snprintf(ui->session, sizeof ui->session, "%s", name);
    ui->asked = false;
}

static void take_entry(struct kg_interface *ui, const struct kg_event *event)
{
    if (event->more)
        kg_transcript_add_folded(ui->transcript, event->entry, event->more, event->text, event->length);
    else
        kg_transcript_add(ui->transcript, event->entry, event->text, event->length);
    if (event->entry == KG_ENTRY_QUESTION || event->entry == KG_ENTRY_ANSWER) /* of a conversation that is gone on with */
        kg_transcript_set_time(ui->transcript, event->total);
    ui->asked |= event->entry == KG_ENTRY_QUESTION;
}

static void take_piece(struct kg_interface *ui, const struct kg_event *event)
{
    double now = kg_interface_seconds();
    if (ui->status.doing != KG_DOING_ANSWERING) {
        ui->status.doing = KG_DOING_ANSWERING;
        ui->doing_since = now;
    }
    kg_transcript_append(ui->transcript, event->entry, event->text, event->length);
    if (ui->pieces++ == 0)
        ui->answer_since = now;
    else if (now - ui->answer_since > 0.3)
        ui->status.rate = (ui->pieces - 1) / (now - ui->answer_since);
}

static void take_counts(struct kg_interface *ui, const struct kg_counts *counts)
{
    ui->status.context_tokens = counts->context_tokens;
    ui->status.context_limit = counts->context_limit;
    ui->pane.context_tokens = counts->context_tokens;
    ui->pane.context_limit = counts->context_limit;
    ui->status.reused_tokens = counts->reused_tokens;
    if (ui->status.doing != KG_DOING_ANSWERING)
        ui->status.rate = counts->decode_s > 0 ? (double)counts->decode_tokens / counts->decode_s : 0;
}

static void take_files(struct kg_interface *ui, const struct kg_event *event)
{
    char *text = malloc(event->length + 1);
    if (!text)
        return;
    memcpy(text, event->text, event->length);
    free(ui->files);
    ui->files = text;
    ui->files_length = event->length;
    ui->pane.files = text;
    ui->pane.files_length = event->length;
}

static void take_indexed(struct kg_interface *ui, uint64_t files)
{
    char count[KG_FIGURE];
    snprintf(ui->placeholder, sizeof ui->placeholder, "ask about %s file%s", kg_figure_count(count, files), files == 1 ? "" : "s");
}

void kg_interface_event(struct kg_interface *ui, const struct kg_event *event)
{
    ui->dirty = true;
    switch (event->kind) {
    case KG_EVENT_DOING:
        take_doing(ui, event);
        break;
    case KG_EVENT_MODEL:
        copy(ui->status.model, sizeof ui->status.model, event->text);
        copy(ui->status.device, sizeof ui->status.device, event->more);
        break;
    case KG_EVENT_SESSION:
        take_session(ui, event->text);
        break;
    case KG_EVENT_TURN:
        kg_transcript_number(ui->transcript, (size_t)event->total);
        break;
    case KG_EVENT_NAMED:
        snprintf(ui->session, sizeof ui->session, "%s", event->text);
        kg_interface_sessions_again(ui);
        break;
    case KG_EVENT_ENTRY:
        take_entry(ui, event);
        break;
    case KG_EVENT_PIECE:
        take_piece(ui, event);
        break;
    case KG_EVENT_COUNTS:
        take_counts(ui, &event->counts);
        break;
    case KG_EVENT_FILES:
        take_files(ui, event);
        break;
    case KG_EVENT_NO_MODEL:
        ui->status.no_model = true;
        kg_transcript_add(ui->transcript, KG_ENTRY_ERROR, event->text, event->length);
        break;
    case KG_EVENT_DONE:
        if (event->ticket == ui->running)
            ui->running = 0;
        kg_interface_next(ui);
        break;
    case KG_EVENT_INDEXED:
        take_indexed(ui, event->total);
        break;
    case KG_EVENT_PROPOSAL:
        kg_interface_review(ui, event->proposal);
        break;
    case KG_EVENT_MESSAGE:
        kg_interface_take_message(ui, event->text, event->length);
        break;
    case KG_EVENT_FULL:
        kg_interface_full(ui, event);
        break;
    case KG_EVENT_SESSIONS:
        kg_interface_take_sessions(ui, event);
        break;
    case KG_EVENT_CANDIDATE:
        if (kg_completion_offer(ui->completion, (uint32_t)event->ticket, event->text, kg_event_shown(event), event->more)) {
            kg_completion_choose(ui->completion, ui->editor, 1);
            kg_interface_complete(ui);
        }
        break;
    }
}
