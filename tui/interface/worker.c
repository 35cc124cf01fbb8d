#include "tui/interface/worker.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "tui/interface/figures.h"
#include "tui/interface/speed.h"
#include "tui/interface/worker_state.h"
#include "tui/screen/restore.h"

#define TELL_EVERY_S 0.03
#define COUNT_EVERY_S 0.25

double kg_worker_seconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

static void tell_progress(void *ctx, const struct kg_progress *progress)
{
    static const enum kg_doing doing[] = {
        [KG_STAGE_CHECKING] = KG_DOING_CHECKING, [KG_STAGE_LOADING] = KG_DOING_LOADING, [KG_STAGE_RESTORING] = KG_DOING_RESTORING,
        [KG_STAGE_READING] = KG_DOING_READING,   [KG_STAGE_SAVING] = KG_DOING_SAVING,
    };
    struct kg_worker *worker = ctx;
    double now = kg_worker_seconds();
    bool last = progress->done >= progress->total;
    if (atomic_load(&worker->ahead_running)) {
        if (progress->stage != KG_STAGE_READING)
            return;
        kg_tell_doing(worker->events, worker->reading_again ? KG_DOING_AGAIN : KG_DOING_AHEAD, progress->what ? progress->what : "", progress->done, progress->total);
        kg_worker_make_room(worker);
        return;
    }
    if (progress->what && *progress->what && (progress->stage == KG_STAGE_RESTORING || progress->stage == KG_STAGE_READING))
        kg_origin_set(worker->origins, progress->what, NULL, progress->stage == KG_STAGE_READING ? KG_READ_NOW : KG_READ_CACHED);
    if (doing[progress->stage] == worker->told && !last && now - worker->told_at < TELL_EVERY_S)
        return;
    worker->told = doing[progress->stage];
    worker->told_at = now;
    kg_tell_doing(worker->events, doing[progress->stage], progress->what ? progress->what : "", progress->done, progress->total);
}

static int gives_up(void *ctx)
{
    struct kg_worker *worker = ctx;
    return atomic_load(&worker->quitting);
}

enum kg_status kg_worker_index(struct kg_worker *worker, struct kg_error *err)
{
    if (worker->index || !worker->options->repository)
        return KG_OK;
    return kg_index_open(worker->options->repository, worker->options->engine.cache_dir, &worker->index, err);
}

static void tell_counts(struct kg_worker *worker)
{
    struct kg_event *event = kg_event_create(KG_EVENT_COUNTS, NULL, 0, NULL);
    if (!event)
        return;
    kg_session_counts(worker->session, &event->counts);
    kg_channel_send(worker->events, &event->message);
}

static void tell_what_it_saw(struct kg_worker *worker, size_t part, enum kg_part_kind kind)
{
    char text[KG_PATH_MAX + 64];
    const char *outdated = kind == KG_PART_ANSWER ? kg_session_outdated(worker->session, part) : NULL;
    if (!outdated)
        return;
    snprintf(text, sizeof text, "saw %s as it was before", outdated);
    kg_tell_entry(worker->events, KG_ENTRY_COUNTS, text, strlen(text), NULL);
}

static void tell_turn(struct kg_worker *worker, uint64_t number)
{
    struct kg_event *event = kg_event_create(KG_EVENT_TURN, NULL, 0, NULL);
    if (!event)
        return;
    event->total = number;
    kg_channel_send(worker->events, &event->message);
}

uint64_t kg_worker_turns(const struct kg_worker *worker)
{
    uint64_t turns = 0;
    size_t parts = kg_session_parts(worker->session);
    for (size_t i = 0; i < parts; i++)
        turns += kg_session_part(worker->session, i).kind == KG_PART_TURN;
    return turns;
}

/* A question or an answer of that time. */
static void tell_said(struct kg_worker *worker, enum kg_entry_kind entry, const char *text, size_t length, const char *summary, uint64_t when)
{
    struct kg_event *event = kg_event_create(KG_EVENT_ENTRY, text, length, summary);
    if (!event)
        return;
    event->entry = entry;
    event->total = when;
    kg_channel_send(worker->events, &event->message);
}

/* Folded: one row, and its text below. */
static void tell_summary(struct kg_worker *worker, const struct kg_part *part)
{
    char row[160], tokens[KG_FIGURE];
    if (part->dropped)
        snprintf(row, sizeof row, "a summary that %s", part->summarised ? "is summarised itself" : "was taken back");
    else
        snprintf(row, sizeof row, "a summary of what is marked so, %s tokens (Ctrl-O shows it)", kg_figure_count(tokens, part->tokens));
    tell_said(worker, KG_ENTRY_ANSWER, part->text, part->length, row, part->said);
}

static void tell_conversation(struct kg_worker *worker)
{
    char text[128], count[KG_FIGURE];
    uint64_t tokens = 0, turns = 0;
    unsigned files = 0;
    kg_tell(worker->events, KG_EVENT_SESSION, kg_session_name(worker->session));
    size_t parts = kg_session_parts(worker->session);
    for (size_t i = 0; i < parts; i++) {
        struct kg_part part = kg_session_part(worker->session, i);
        if (part.kind == KG_PART_FILE) {
            files += !part.dropped;
            tokens += part.dropped ? 0 : part.tokens;
            continue;
        }
        enum kg_entry_kind entry = part.kind == KG_PART_TURN ? KG_ENTRY_QUESTION : KG_ENTRY_ANSWER;
        if (part.kind == KG_PART_SUMMARY) {
            tell_summary(worker, &part);
            continue;
        }
        if (part.text && part.length > 0)
            tell_said(worker, entry, part.text, part.length, NULL, part.said);
        if (part.kind == KG_PART_TURN)
            tell_turn(worker, ++turns);
        if (part.partial)
            kg_tell_entry(worker->events, KG_ENTRY_COUNTS, "stopped here", strlen("stopped here"), NULL);
        if (part.kind == KG_PART_ANSWER && part.summarised)
            kg_tell_entry(worker->events, KG_ENTRY_COUNTS, "summarised: the model sees the summary instead", strlen("summarised: the model sees the summary instead"), NULL);
        else if (part.kind == KG_PART_ANSWER && part.dropped)
            kg_tell_entry(worker->events, KG_ENTRY_COUNTS, "taken back: not in context", strlen("taken back: not in context"), NULL);
        tell_what_it_saw(worker, i, part.kind);
    }
    if (files) {
        snprintf(text, sizeof text, "%u file%s in context, %s tokens; /files lists them", files, files == 1 ? "" : "s",
                 kg_figure_count(count, tokens));
        kg_tell_entry(worker->events, KG_ENTRY_READING, text, strlen(text), NULL);
    }
    kg_worker_tell_files(worker);
    tell_counts(worker);
}

void kg_worker_tell_error(struct kg_worker *worker, const char *text)
{
    kg_tell_entry(worker->events, KG_ENTRY_ERROR, text, strlen(text), NULL);
}

/* Files that a conversation has from before. */
static void remember_files(struct kg_worker *worker)
{
    size_t parts = kg_session_parts(worker->session);
    for (size_t i = 0; i < parts; i++) {
        const char *why;
        struct kg_part part = kg_session_part(worker->session, i);
        if (part.kind != KG_PART_FILE)
            continue;
        enum kg_read read = kg_origin_of(worker->origins, part.label, &why);
        kg_origin_set(worker->origins, part.label, *why ? NULL : "in the conversation before", read);
    }
}

/* In place of the one that is open, which stays open when this fails. */
static enum kg_status open_session(struct kg_worker *worker, const char *name, bool must_exist, struct kg_error *err)
{
    struct kg_session_options options = { .name = name,
                                          .repository = worker->options->repository,
                                          .policy = worker->options->policy,
                                          .recall = worker->options->recall,
                                          .drafts_off = worker->options->drafts_off,
                                          .must_exist = must_exist };
    struct kg_session *session;
    struct kg_origins *before = worker->origins, *origins = kg_origins_create();
    if (!origins)
        return kg_fail_nomem(err, "opening a conversation");
    worker->origins = origins;
    enum kg_status status = kg_session_open(worker->engine, &options, &session, err);
    if (status != KG_OK)
        worker->origins = before;
    kg_origins_free(status == KG_OK ? before : origins);
    if (status != KG_OK)
        return status;
    kg_session_close(worker->session);
    worker->session = session;
    worker->moved_told = 0;
    remember_files(worker);
    tell_conversation(worker);
    return KG_OK;
}

static void open_first_session(struct kg_worker *worker)
{
    struct kg_error err;
    enum kg_status status = open_session(worker, worker->options->session, worker->options->must_exist, &err);
    if (status == KG_OK || status == KG_ERR_CANCELLED)
        return;
    kg_worker_tell_error(worker, err.text);
    if (worker->options->session && open_session(worker, NULL, false, &err) == KG_OK) {
        const char *text = "A new conversation is open instead; /sessions lists the others.";
        kg_tell_entry(worker->events, KG_ENTRY_NOTICE, text, strlen(text), NULL);
    }
}

/* The engine's notice, once for each. */
static void tell_notice(struct kg_worker *worker)
{
    kg_engine_facts(worker->engine, &worker->facts);
    const char *notice = worker->facts.notice;
    if (!notice || strcmp(notice, worker->noticed) == 0)
        return;
    snprintf(worker->noticed, sizeof worker->noticed, "%s", notice);
    kg_tell_entry(worker->events, KG_ENTRY_NOTICE, notice, strlen(notice), NULL);
}

static void open_engine(struct kg_worker *worker)
{
    struct kg_engine_options options = worker->options->engine;
    struct kg_engine *engine = NULL;
    struct kg_error err;
    options.progress = tell_progress;
    options.give_up = gives_up;
    options.ctx = worker;
    kg_tell_doing(worker->events, KG_DOING_LOADING, "", 0, 0);
    if (kg_engine_open(&options, &engine, &err) != KG_OK) {
        kg_tell(worker->events, KG_EVENT_NO_MODEL, err.text);
        return;
    }
    pthread_mutex_lock(&worker->lock);
    worker->engine = engine;
    if (atomic_load(&worker->quitting))
        kg_engine_stop(engine);
    pthread_mutex_unlock(&worker->lock);
    kg_engine_facts(engine, &worker->facts);
    struct kg_event *event = kg_event_create(KG_EVENT_MODEL, worker->facts.model, strlen(worker->facts.model), worker->facts.device);
    if (event)
        kg_channel_send(worker->events, &event->message);
    tell_notice(worker);
    open_first_session(worker);
}

void kg_worker_take_text(void *ctx, enum kg_text_kind kind, const char *text, size_t length)
{
    struct kg_worker *worker = ctx;
    struct kg_event *event = kg_event_create(KG_EVENT_PIECE, text, length, NULL);
    if (worker->answer && kind == KG_TEXT_ANSWER && kg_answer_add(worker->answer, text, length, NULL) != KG_OK) {
        kg_answer_free(worker->answer);
        worker->answer = NULL;
    }
    if (!event)
        return;
    event->entry = kind == KG_TEXT_THOUGHT ? KG_ENTRY_THOUGHT : KG_ENTRY_ANSWER;
    kg_channel_send(worker->events, &event->message);
    double now = kg_worker_seconds();
    if (now - worker->told_at > COUNT_EVERY_S) {
        worker->told_at = now;
        tell_counts(worker);
    }
}

/* The row below an answer: what was not computed, what was, and how fast. */
void kg_worker_tell_work(struct kg_worker *worker, enum kg_end end)
{
    static const char *const ends[] = { [KG_END_MODEL] = "", [KG_END_LENGTH] = "; ended at the length asked for", [KG_END_STOPPED] = "; stopped",
                                        [KG_END_FULL] = "; the context is full: /compact the conversation or /drop files" };
    struct kg_counts c;
    char reused[KG_FIGURE], prompt[KG_FIGURE], bytes[KG_FIGURE], restored[KG_FIGURE];
    char computed[KG_FIGURE], prefill[KG_FIGURE], wrote[KG_FIGURE], rate[KG_FIGURE];
    char text[512], saved[100] = "", read[100] = "", written[100] = "";
    kg_session_counts(worker->session, &c);
    if (c.restored_bytes && c.restore_s >= 0.001)
        snprintf(saved, sizeof saved, " (%s, %s)", kg_figure_bytes(bytes, c.restored_bytes), kg_figure_seconds(restored, c.restore_s));
    else if (c.restored_bytes)
        snprintf(saved, sizeof saved, " (%s)", kg_figure_bytes(bytes, c.restored_bytes));
    if (c.computed_tokens)
        snprintf(read, sizeof read, ", read %s in %s", kg_figure_count(computed, c.computed_tokens), kg_figure_seconds(prefill, c.prefill_s));
    if (c.decode_tokens && c.decode_s > 0)
        snprintf(written, sizeof written, ", wrote %s at %s/s", kg_figure_count(wrote, c.decode_tokens),
                 kg_figure_rate(rate, (double)c.decode_tokens / c.decode_s));
    snprintf(text, sizeof text, "reused %s of %s tokens%s%s%s%s", kg_figure_count(reused, c.reused_tokens), kg_figure_count(prompt, c.prompt_tokens),
             saved, read, written, ends[end]);
    kg_tell_entry(worker->events, KG_ENTRY_COUNTS, text, strlen(text), NULL);
    tell_notice(worker);
    if (c.computed_tokens >= 64 && c.prefill_s > 0.05)
        kg_speed_remember(worker->speed_path, worker->facts.model, worker->facts.device, (double)c.computed_tokens / c.prefill_s);
}

void kg_worker_tell_full(struct kg_worker *worker, const struct kg_task *task, const char *why)
{
    struct kg_event *event = kg_event_create(KG_EVENT_FULL, task->text, task->length, why);
    if (!event)
        return;
    event->total = task->kind;
    kg_channel_send(worker->events, &event->message);
}

static void ask(struct kg_worker *worker, const struct kg_task *task)
{
    struct kg_error err;
    enum kg_end end = KG_END_MODEL;
    struct kg_question question = { .length = task->length,
                                    .max_tokens = worker->options->max_tokens,
                                    .sampling = worker->options->sampling,
                                    .text_out = kg_worker_take_text,
                                    .ctx = worker };
    enum kg_status chosen = kg_worker_files_for(worker, task->text, task->length, &err);
    if (chosen == KG_ERR_CANCELLED) {
        const char *text = "stopped before it was asked; Up brings the question back";
        kg_tell_entry(worker->events, KG_ENTRY_COUNTS, text, strlen(text), NULL);
        return;
    }
    if (chosen == KG_ERR_FULL) {
        kg_worker_tell_full(worker, task, err.text);
        return;
    }
    char *text = kg_worker_noted(worker, task->text, &question.length);
    if (!text) {
        kg_worker_tell_error(worker, "out of memory: this was not asked");
        return;
    }
    question.text = text;
    kg_tell_doing(worker->events, KG_DOING_READING, "the question", 0, 0);
    worker->answer = kg_answer_create(KG_FORM_ANY);
    uint64_t turns = kg_worker_turns(worker);
    enum kg_status status = kg_session_ask(worker->session, &question, &end, &err);
    free(text);
    if (kg_worker_turns(worker) > turns)
        tell_turn(worker, turns + 1);
    struct kg_answer *answer = worker->answer;
    worker->answer = NULL;
    if (status == KG_OK)
        kg_worker_tell_work(worker, end);
    else if (status == KG_ERR_FULL && kg_worker_turns(worker) == turns)
        kg_worker_tell_full(worker, task, err.text);
    else
        kg_worker_tell_error(worker, err.text);
    if (status == KG_OK && answer)
        kg_worker_edits_of(worker, answer, end == KG_END_MODEL);
    kg_answer_free(answer);
}

/* Over what is current: files that changed are read again first. */
static void retry(struct kg_worker *worker)
{
    struct kg_task again = { .kind = KG_TASK_ASK };
    size_t parts = kg_session_parts(worker->session);
    for (size_t i = 0; i < parts; i++) {
        struct kg_part part = kg_session_part(worker->session, i);
        if (part.kind != KG_PART_TURN || !part.text || part.dropped)
            continue;
        free(again.text);
        again.text = strndup(part.text, part.length);
        again.length = part.length;
    }
    struct kg_error err;
    if (!again.text || kg_session_take_back(worker->session, &err) != KG_OK) {
        kg_worker_tell_error(worker, again.text ? err.text : "nothing was asked yet");
        free(again.text);
        return;
    }
    tell_said(worker, KG_ENTRY_QUESTION, again.text, again.length, NULL, (uint64_t)time(NULL));
    ask(worker, &again);
    free(again.text);
}

static void count_summary(void *ctx, enum kg_text_kind kind, const char *text, size_t length)
{
    struct kg_worker *worker = ctx;
    (void)kind, (void)text, (void)length;
    kg_tell_doing(worker->events, KG_DOING_SUMMARISING, "", 0, 0);
}

static void compact(struct kg_worker *worker, bool undo)
{
    const struct kg_question how = { .sampling = worker->options->sampling, .text_out = count_summary, .ctx = worker };
    struct kg_compaction done = { 0 };
    struct kg_error err;
    char text[400], before[KG_FIGURE], after[KG_FIGURE], left[120] = "";
    kg_tell_doing(worker->events, KG_DOING_SUMMARISING, "", 0, 0);
    enum kg_status status = undo ? kg_session_uncompact(worker->session, &err) : kg_session_compact(worker->session, &how, &done, &err);
    if (status != KG_OK) {
        if (status == KG_ERR_CANCELLED)
            kg_tell_entry(worker->events, KG_ENTRY_NOTICE, err.text, strlen(err.text), NULL);
        else
            kg_worker_tell_error(worker, err.text);
        return;
    }
    tell_conversation(worker);
    if (done.left_out)
        snprintf(left, sizeof left, " The %u oldest were too long to be seen by the summary.", done.left_out);
    if (undo)
        snprintf(text, sizeof text, "What was summarised last is in context again, and its summary is not.");
    else
        snprintf(text, sizeof text, "%u question%s summarised: %s tokens in context instead of %s.%s /compact undo takes it back.", done.questions,
                 done.questions == 1 ? " is" : "s are", kg_figure_count(after, done.after), kg_figure_count(before, done.before), left);
    kg_tell_entry(worker->events, KG_ENTRY_NOTICE, text, strlen(text), NULL);
}

/* What a file is called in this conversation, which may be older than the rule that ./PATH is PATH. */
static const char *name_in_context(const struct kg_worker *worker, const char *path)
{
    struct kg_part part;
    return kg_worker_find_file(worker, path, &part) ? path : kg_worker_plain(path);
}

static void pin(struct kg_worker *worker, const char *path)
{
    char text[KG_PATH_MAX + 64];
    struct kg_error err;
    struct kg_part part;
    path = name_in_context(worker, path);
    bool pinned = !kg_session_pinned(worker->session, path);
    enum kg_status status = pinned && !kg_worker_find_file(worker, path, &part)
                                ? kg_fail(&err, KG_ERR_NOT_FOUND, "%s is not in context; /files lists what is", path)
                                : kg_session_pin(worker->session, path, pinned, &err);
    if (status != KG_OK) {
        kg_worker_tell_error(worker, err.text);
        return;
    }
    snprintf(text, sizeof text, pinned ? "%s stays when others leave" : "%s may leave with others", path);
    kg_tell_entry(worker->events, KG_ENTRY_NOTICE, text, strlen(text), NULL);
}

static bool branch(struct kg_worker *worker, size_t parts, const char *name)
{
    char old[256], text[600];
    struct kg_error err;
    snprintf(old, sizeof old, "%s", kg_session_name(worker->session));
    if (kg_session_branch(worker->session, parts, name, &err) != KG_OK) {
        kg_worker_tell_error(worker, err.text);
        return false;
    }
    tell_conversation(worker);
    snprintf(text, sizeof text, "This is %s now. The conversation before is kept: /resume %s", kg_session_name(worker->session), old);
    kg_tell_entry(worker->events, KG_ENTRY_NOTICE, text, strlen(text), NULL);
    return true;
}

/* The question of a number is asked otherwise, behind all that stood before it. */
static void ask_from(struct kg_worker *worker, const struct kg_task *task)
{
    size_t before = strlen(task->text) + 1, parts = kg_session_parts(worker->session), at = 0;
    uint64_t number = strtoull(task->text, NULL, 10);
    for (uint64_t turns = 0; at < parts; at++)
        if (kg_session_part(worker->session, at).kind == KG_PART_TURN && ++turns == number)
            break;
    if (before > task->length || at == parts) {
        kg_worker_tell_error(worker, "that question is not in this conversation any more");
        return;
    }
    struct kg_task otherwise = { .kind = KG_TASK_ASK, .text = task->text + before, .length = task->length - before };
    if (!branch(worker, at, NULL))
        return;
    tell_said(worker, KG_ENTRY_QUESTION, otherwise.text, otherwise.length, NULL, (uint64_t)time(NULL));
    ask(worker, &otherwise);
}

static void add(struct kg_worker *worker, const char *path)
{
    struct kg_error err;
    if (kg_worker_index(worker, &err) != KG_OK) {
        kg_worker_tell_error(worker, err.text);
        return;
    }
    kg_worker_add_file(worker, kg_worker_plain(path + (path[0] == '@')), "added by hand", &err);
    kg_worker_tell_files(worker);
}

static void add_text(struct kg_worker *worker, const struct kg_task *task)
{
    char line[400], label[256], count[KG_FIGURE];
    struct kg_error err;
    size_t before = strlen(task->text) + 1;
    if (before > task->length)
        return;
    struct kg_part part;
    bool had = kg_worker_find_file(worker, task->text, &part);
    kg_origin_set(worker->origins, task->text, "output of a command", KG_READ_CACHED);
    enum kg_status status = kg_session_add_file(worker->session, task->text, task->text + before, task->length - before, false, &err);
    if (status == KG_ERR_CANCELLED)
        kg_worker_stopped_reading(worker, task->text, had);
    else if (status != KG_OK)
        kg_worker_tell_error(worker, err.text);
    if (status != KG_OK)
        return;
    snprintf(label, sizeof label, "%s", task->text);
    uint32_t tokens = kg_worker_find_file(worker, task->text, &part) ? part.tokens : 0;
    snprintf(line, sizeof line, "read the output of %s, %s tokens", label, kg_figure_count(count, tokens));
    kg_tell_entry(worker->events, KG_ENTRY_READING, line, strlen(line), NULL);
    kg_worker_tell_files(worker);
}

static void drop(struct kg_worker *worker, const char *path)
{
    char text[KG_PATH_MAX + 64];
    struct kg_error err;
    path = name_in_context(worker, path);
    if (kg_session_drop_file(worker->session, path, &err) != KG_OK) {
        kg_worker_tell_error(worker, err.text);
        return;
    }
    int n = snprintf(text, sizeof text, "dropped %s", path);
    kg_tell_entry(worker->events, KG_ENTRY_NOTICE, text, (size_t)n < sizeof text ? (size_t)n : sizeof text - 1, NULL);
    kg_worker_tell_outdated(worker, path);
    kg_worker_tell_files(worker);
}

static void clear(struct kg_worker *worker)
{
    char old[256], text[512];
    struct kg_error err;
    snprintf(old, sizeof old, "%s", kg_session_name(worker->session));
    if (kg_session_clear(worker->session, &err) != KG_OK) {
        kg_worker_tell_error(worker, err.text);
        return;
    }
    tell_conversation(worker);
    snprintf(text, sizeof text, "A new conversation with the same files. The one before is kept: /resume %s", old);
    kg_tell_entry(worker->events, KG_ENTRY_NOTICE, text, strlen(text), NULL);
}

static void resume(struct kg_worker *worker, const char *name)
{
    struct kg_error err;
    if (worker->session && strcmp(name, kg_session_name(worker->session)) == 0)
        kg_worker_tell_error(worker, "that conversation is the one that is open");
    else if (open_session(worker, name, true, &err) != KG_OK)
        kg_worker_tell_error(worker, err.text);
}

static void save(struct kg_worker *worker, const char *name)
{
    char text[512];
    struct kg_error err;
    if (kg_session_rename(worker->session, name, &err) != KG_OK) {
        kg_worker_tell_error(worker, err.text);
        return;
    }
    kg_tell(worker->events, KG_EVENT_NAMED, kg_session_name(worker->session));
    snprintf(text, sizeof text, "this conversation is kept as %s", kg_session_name(worker->session));
    kg_tell_entry(worker->events, KG_ENTRY_NOTICE, text, strlen(text), NULL);
}

static void tell_moved(struct kg_worker *worker)
{
    static const char text[] = "To make room, the gaps that dropped texts had left in the context were closed: what stands there is as it was, nearer to the rest.";
    struct kg_counts counts;
    kg_session_counts(worker->session, &counts);
    if (counts.moved > worker->moved_told)
        kg_tell_entry(worker->events, KG_ENTRY_NOTICE, text, sizeof text - 1, NULL);
    worker->moved_told = counts.moved;
}

static void do_task(struct kg_worker *worker, const struct kg_task *task)
{
    if (task->kind == KG_TASK_NOTHING)
        return;
    if (!worker->engine)
        kg_worker_tell_error(worker, "no model is loaded, so this cannot be done; quit, and start kedge with another one (-m)");
    else if (task->kind == KG_TASK_RESUME)
        resume(worker, task->text);
    else if (!worker->session)
        kg_worker_tell_error(worker, "no conversation is open; /sessions lists those there are, /resume NAME opens one");
    else if (task->kind == KG_TASK_ASK)
        ask(worker, task);
    else if (task->kind == KG_TASK_EDIT)
        kg_worker_edit(worker, task);
    else if (task->kind == KG_TASK_MESSAGE)
        kg_worker_message(worker, task);
    else if (task->kind == KG_TASK_RETRY)
        retry(worker);
    else if (task->kind == KG_TASK_BRANCH)
        ask_from(worker, task);
    else if (task->kind == KG_TASK_COMPACT)
        compact(worker, task->length > 0);
    else if (task->kind == KG_TASK_PIN)
        pin(worker, task->text);
    else if (task->kind == KG_TASK_FORK)
        branch(worker, SIZE_MAX, task->text);
    else if (task->kind == KG_TASK_ADD)
        add(worker, task->text);
    else if (task->kind == KG_TASK_TEXT)
        add_text(worker, task);
    else if (task->kind == KG_TASK_DROP)
        drop(worker, task->text);
    else if (task->kind == KG_TASK_CLEAR)
        clear(worker);
    else
        save(worker, task->text);
    if (!worker->session)
        return;
    tell_moved(worker);
    kg_worker_tell_files(worker);
    tell_counts(worker);
}

static void free_task(struct kg_message *message)
{
    struct kg_task *task = (struct kg_task *)message;
    kg_event_free(task->done);
    free(task->text);
    free(task);
}

/* From here on the engine may be stopped for this task, and for no other. */
static void set_current(struct kg_worker *worker, uint64_t ticket)
{
    pthread_mutex_lock(&worker->lock);
    worker->current = ticket;
    bool stop = atomic_load(&worker->quitting) || (ticket != 0 && ticket == worker->stopped);
    atomic_store(&worker->stopping, stop);
    if (worker->engine && stop)
        kg_engine_stop(worker->engine);
    else if (worker->engine)
        kg_engine_go(worker->engine);
    pthread_mutex_unlock(&worker->lock);
}

static void *work(void *ctx)
{
    struct kg_worker *worker = ctx;
    void *stack = kg_restore_stack();
    open_engine(worker);
    kg_tell_doing(worker->events, KG_DOING_NOTHING, "", 0, 0);
    for (bool end = false; !end;) {
        struct kg_task *task = (struct kg_task *)kg_worker_next(worker);
        end = !task || task->end || atomic_load(&worker->quitting);
        if (!end) {
            set_current(worker, task->ticket);
            do_task(worker, task);
            set_current(worker, 0);
            kg_tell_doing(worker->events, KG_DOING_NOTHING, "", 0, 0);
            kg_channel_send(worker->events, &task->done->message);
            task->done = NULL;
        }
        if (task)
            free_task(&task->message);
    }
    kg_worker_close_ahead(worker);
    kg_session_close(worker->session);
    if (worker->index)
        kg_index_close(worker->index);
    pthread_mutex_lock(&worker->lock);
    struct kg_engine *engine = worker->engine;
    worker->engine = NULL;
    pthread_mutex_unlock(&worker->lock);
    kg_engine_close(engine);
    kg_restore_stack_free(stack);
    return NULL;
}

static void free_worker(struct kg_worker *worker)
{
    kg_channel_free(worker->tasks, free_task);
    if (worker->last)
        free_task(&worker->last->message);
    pthread_mutex_destroy(&worker->lock);
    kg_origins_free(worker->origins);
    kg_worker_forget_notes(worker);
    free(worker->ahead);
    free(worker);
}

static struct kg_task *create_task(const char *text, size_t length)
{
    struct kg_task *task = calloc(1, sizeof *task);
    if (!task)
        return NULL;
    task->text = malloc(length + 1);
    task->done = kg_event_create(KG_EVENT_DONE, NULL, 0, NULL);
    if (!task->text || !task->done) {
        free_task(&task->message);
        return NULL;
    }
    memcpy(task->text, text, length);
    task->text[length] = '\0';
    task->length = length;
    return task;
}

enum kg_status kg_worker_start(const struct kg_interface_options *options, struct kg_channel *events, struct kg_worker **out, struct kg_error *err)
{
    struct kg_worker *worker = calloc(1, sizeof *worker);
    if (!worker)
        return kg_fail_nomem(err, "starting the worker");
    worker->options = options;
    worker->events = events;
    worker->tasks = kg_channel_create();
    worker->last = create_task("", 0);
    worker->origins = kg_origins_create();
    pthread_mutex_init(&worker->lock, NULL);
    const char *state = options->engine.state_dir;
    if (state)
        snprintf(worker->speed_path, sizeof worker->speed_path, "%.*s/reading-speed", KG_PATH_MAX - 20, state);
    else
        kg_place_path(KG_PLACE_STATE, "reading-speed", worker->speed_path, NULL);
    int failed = worker->tasks && worker->last && worker->origins && kg_worker_begin_ahead(worker) ? pthread_create(&worker->thread, NULL, work, worker) : -1;
    if (failed) {
        free_worker(worker);
        return kg_fail(err, KG_ERR_NOMEM, "cannot start a thread for the model; close other programs");
    }
    *out = worker;
    return KG_OK;
}

uint64_t kg_worker_give(struct kg_worker *worker, enum kg_task_kind kind, const char *text, size_t length)
{
    struct kg_task *task = create_task(text, length);
    if (!task)
        return 0;
    task->kind = kind;
    task->ticket = task->done->ticket = ++worker->tickets;
    kg_channel_send(worker->tasks, &task->message);
    kg_worker_end_ahead(worker);
    return worker->tickets;
}

void kg_worker_stop(struct kg_worker *worker, uint64_t ticket)
{
    pthread_mutex_lock(&worker->lock);
    worker->stopped = ticket; /* it may not have begun yet */
    if (ticket != 0 && worker->current == ticket) {
        atomic_store(&worker->stopping, true);
        if (worker->engine)
            kg_engine_stop(worker->engine);
    }
    pthread_mutex_unlock(&worker->lock);
}

void kg_worker_end(struct kg_worker *worker)
{
    if (!worker)
        return;
    pthread_mutex_lock(&worker->lock);
    atomic_store(&worker->quitting, true);
    atomic_store(&worker->stopping, true);
    if (worker->engine)
        kg_engine_stop(worker->engine);
    pthread_mutex_unlock(&worker->lock);
    struct kg_task *last = worker->last;
    last->end = true;
    worker->last = NULL;
    kg_channel_send(worker->tasks, &last->message);
    pthread_join(worker->thread, NULL);
    free_worker(worker);
}
