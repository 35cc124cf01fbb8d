/* What a line of input does. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tui/interface/figures.h"
#include "tui/interface/interface_state.h"

const struct kg_input_command kg_interface_commands[] = {
    { "/help", "", "commands and keys", KG_WANTED_NOTHING },
    { "/add", "PATH", "read a file into the conversation", KG_WANTED_PATHS },
    { "/drop", "PATH", "take a file out of it", KG_WANTED_CONTEXT_FILES },
    { "/pin", "PATH", "let a file stay when others leave, or not any more", KG_WANTED_CONTEXT_FILES },
    { "/files", "", "what is in context", KG_WANTED_NOTHING },
    { "/edit", "WHAT", "ask for a change (PATH:3-9 WHAT: of lines), and review it", KG_WANTED_NOTHING },
    { "/open", "PATH", "write in a file; Ctrl-E there has lines of it changed", KG_WANTED_PATHS },
    { "/diff", "", "what was changed here and not committed", KG_WANTED_NOTHING },
    { "/undo", "", "take back the last change", KG_WANTED_NOTHING },
    { "/redo", "", "make it again", KG_WANTED_NOTHING },
    { "/commit", "", "commit what was changed, with a drafted message", KG_WANTED_NOTHING },
    { "/test", "[CMD]", "run a command, or the one before again", KG_WANTED_NOTHING },
    { "/fix", "[HOW]", "ask for a change that mends what /test found", KG_WANTED_NOTHING },
    { "/output", "", "add the output of the last !command", KG_WANTED_NOTHING },
    { "/reading", "[on|off]", "files likely to be asked about, read meanwhile", KG_WANTED_NOTHING },
    { "/copy", "[code]", "the last answer, or its code, for the clipboard", KG_WANTED_NOTHING },
    { "/times", "", "when it was said, above each message, or no longer", KG_WANTED_NOTHING },
    { "/transcript", "", "all of it in $PAGER", KG_WANTED_NOTHING },
    { "/retry", "", "ask the last question again, in place of the first time", KG_WANTED_NOTHING },
    { "/clear", "", "start anew with the same files", KG_WANTED_NOTHING },
    { "/sessions", "[WORDS]", "conversations: open, search, fork, delete", KG_WANTED_NOTHING },
    { "/resume", "NAME", "go on with one of them", KG_WANTED_SESSIONS },
    { "/compact", "[undo]", "summarise what was said before the last question", KG_WANTED_NOTHING },
    { "/fork", "[NAME]", "go on in a new conversation with all of this one", KG_WANTED_NOTHING },
    { "/save", "NAME", "name this conversation", KG_WANTED_NOTHING },
    { "/quit", "", "leave; everything is kept", KG_WANTED_NOTHING },
    { NULL, NULL, NULL, KG_WANTED_NOTHING },
};

static void say(struct kg_interface *ui, enum kg_entry_kind kind, const char *text)
{
    kg_transcript_add(ui->transcript, kind, text, strlen(text));
    kg_transcript_to_end(ui->transcript);
}

static void reading(struct kg_interface *ui, const char *argument)
{
    static const char *const texts[] = { [KG_AHEAD_NEVER] = "nothing is read while you are away",
                                         [KG_AHEAD_ON_MAINS] = "files likely to be asked about are read while you are away, but not on battery",
                                         [KG_AHEAD_ALWAYS] = "files likely to be asked about are read while you are away" };
    if (strcmp(argument, "on") == 0 || strcmp(argument, "off") == 0)
        kg_worker_set_ahead(ui->worker, argument[1] == 'n' ? KG_AHEAD_ALWAYS : KG_AHEAD_NEVER);
    else if (*argument)
        say(ui, KG_ENTRY_ERROR, "/reading takes on or off");
    say(ui, KG_ENTRY_NOTICE, texts[kg_worker_ahead(ui->worker)]);
}

void kg_interface_times(struct kg_interface *ui)
{
    kg_transcript_show_times(ui->transcript, !kg_transcript_shows_times(ui->transcript));
}

/* " (added by hand, read again)", of a long file perhaps " (added by hand, 8,192 tokens read again)", or "". */
static void write_how(FILE *memory, const struct kg_context_file *file)
{
    char again[KG_FIGURE + 32] = "", count[KG_FIGURE];
    if (file->again == file->tokens && file->tokens)
        snprintf(again, sizeof again, "read again");
    else if (file->again)
        snprintf(again, sizeof again, "%s tokens read again", kg_figure_count(count, file->again));
    if (*file->why || *again)
        fprintf(memory, " (%s%s%s)", file->why, *file->why && *again ? ", " : "", again);
}

static void list_files(struct kg_interface *ui)
{
    char *text = NULL, count[KG_FIGURE];
    size_t length;
    uint64_t all = 0;
    unsigned files = 0;
    FILE *memory = open_memstream(&text, &length);
    if (!memory)
        return;
    struct kg_context_file file;
    for (size_t at = 0; kg_context_file_next(ui->files, ui->files_length, &at, &file);) {
        if (file.talk)
            continue;
        files++;
        fprintf(memory, "%10s  %-10s  %s", kg_figure_count(count, file.tokens), kg_read_name(file.read), file.path);
        write_how(memory, &file);
        fputc('\n', memory);
        all += file.tokens;
    }
    fprintf(memory, "%10s  tokens in %u file%s", kg_figure_count(count, all), files, files == 1 ? "" : "s");
    if (fclose(memory) == 0)
        say(ui, files ? KG_ENTRY_TABLE : KG_ENTRY_NOTICE, files ? text : "no file is in context; /add PATH or @path reads one");
    free(text);
}

void kg_interface_enqueue(struct kg_interface *ui, enum kg_task_kind kind, const char *shown, size_t shown_length, const char *text, size_t length)
{
    char *copy = ui->pending_count < KG_PENDING_MOST ? malloc(length + 1) : NULL;
    if (!copy) {
        say(ui, KG_ENTRY_ERROR, "too much is waiting already; stop the answer with Esc, or wait");
        return;
    }
    memcpy(copy, text, length);
    copy[length] = '\0';
    ui->pending[ui->pending_count++] = (struct kg_pending){ .kind = kind, .text = copy, .length = length };
    kg_transcript_add(ui->transcript, KG_ENTRY_QUEUED, shown, shown_length);
    kg_transcript_to_end(ui->transcript);
    kg_interface_next(ui);
}

void kg_interface_next(struct kg_interface *ui)
{
    if (ui->mode == KG_MODE_REVIEW || ui->mode == KG_MODE_FULL || ui->holds) /* what is asked next may depend on it */
        return;
    if (!ui->opened || ui->running || ui->pending_count == 0)
        return;
    struct kg_pending next = ui->pending[0];
    memmove(ui->pending, ui->pending + 1, --ui->pending_count * sizeof ui->pending[0]);
    kg_transcript_drop_queued(ui->transcript, false);
    if (next.kind == KG_TASK_ASK || next.kind == KG_TASK_EDIT)
        kg_transcript_add(ui->transcript, KG_ENTRY_QUESTION, next.text, next.length);
    if (next.kind == KG_TASK_ASK || next.kind == KG_TASK_RETRY || next.kind == KG_TASK_EDIT || next.kind == KG_TASK_BRANCH) {
        ui->asked = true;
        ui->pieces = 0;
    }
    ui->running = kg_worker_give(ui->worker, next.kind, next.text, next.length);
    if (!ui->running)
        say(ui, KG_ENTRY_ERROR, "out of memory: this could not be sent");
    free(next.text);
}

static bool is_space(char c)
{
    return c == ' ' || c == '\n' || c == '\t';
}

void kg_interface_submit_edited(struct kg_interface *ui, const char *text, size_t length)
{
    char *task = malloc(length + 32);
    while (length > 0 && is_space(text[length - 1]))
        length--;
    if (task && length > 0) {
        size_t number = (size_t)snprintf(task, 32, "%zu", ui->edited) + 1;
        memcpy(task + number, text, length);
        kg_interface_enqueue(ui, KG_TASK_BRANCH, text, length, task, number + length);
    }
    free(task);
    kg_interface_leave_question(ui);
}

/* Commands that only the worker can carry out wait for their turn like questions. */
static void run(struct kg_interface *ui, const struct kg_input_command *command, const char *line, size_t length, const char *argument)
{
    static const struct {
        const char *name;
        enum kg_task_kind kind;
    } tasks[] = { { "/add", KG_TASK_ADD },
                  { "/drop", KG_TASK_DROP },
                  { "/edit", KG_TASK_EDIT },
                  { "/retry", KG_TASK_RETRY },
                  { "/fork", KG_TASK_FORK },
                  { "/compact", KG_TASK_COMPACT },
                  { "/pin", KG_TASK_PIN },
                  { "/clear", KG_TASK_CLEAR },
                  { "/resume", KG_TASK_RESUME },
                  { "/save", KG_TASK_SAVE } };
    char text[256];
    if (*command->argument && *command->argument != '[' && !*argument) {
        snprintf(text, sizeof text, "%s needs a %s: %s", command->name, command->argument, command->help);
        say(ui, KG_ENTRY_ERROR, text);
        return;
    }
    if (strcmp(command->name, "/compact") == 0 && *argument && strcmp(argument, "undo") != 0) {
        say(ui, KG_ENTRY_ERROR, "/compact takes undo, or nothing");
        return;
    }
    for (size_t i = 0; i < sizeof tasks / sizeof tasks[0]; i++)
        if (strcmp(tasks[i].name, command->name) == 0)
            kg_interface_enqueue(ui, tasks[i].kind, line, length, argument, strlen(argument));
    if (strcmp(command->name, "/help") == 0)
        kg_interface_help(ui);
    else if (strcmp(command->name, "/files") == 0)
        list_files(ui);
    else if (strcmp(command->name, "/reading") == 0)
        reading(ui, argument);
    else if (strcmp(command->name, "/output") == 0)
        kg_interface_add_output(ui);
    else if (strcmp(command->name, "/copy") == 0)
        kg_interface_copy_last(ui, strcmp(argument, "code") == 0);
    else if (strcmp(command->name, "/times") == 0)
        kg_interface_times(ui);
    else if (strcmp(command->name, "/transcript") == 0)
        kg_interface_page(ui);
    else if (strcmp(command->name, "/sessions") == 0)
        kg_interface_sessions(ui, argument);
    else if (strcmp(command->name, "/diff") == 0)
        kg_interface_diff(ui);
    else if (strcmp(command->name, "/open") == 0)
        kg_interface_open(ui, argument);
    else if (strcmp(command->name, "/undo") == 0 || strcmp(command->name, "/redo") == 0)
        kg_interface_undo(ui, command->name[1] == 'r');
    else if (strcmp(command->name, "/commit") == 0)
        kg_interface_commit(ui);
    else if (strcmp(command->name, "/test") == 0)
        kg_interface_test(ui, argument);
    else if (strcmp(command->name, "/fix") == 0)
        kg_interface_fix(ui, argument);
    else if (strcmp(command->name, "/quit") == 0)
        ui->quit = true;
}

/* What it asks for may be a text of several lines. */
static bool takes_lines(const char *name, size_t length)
{
    static const char *const names[] = { "/edit", "/fix" };
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (strlen(names[i]) == length && memcmp(names[i], name, length) == 0)
            return true;
    return false;
}

/* A line that starts with a slash is a command, unless it goes on as a path does ("/etc/hosts"). */
static bool is_command(const char *text, size_t length)
{
    size_t name = 1;
    while (name < length && !is_space(text[name]))
        name++;
    return text[0] == '/' && !memchr(text + 1, '/', name - 1) && (!memchr(text, '\n', length) || takes_lines(text, name)) && name < 40;
}

/* A command that takes a path, and more than one line: no question, and neither @path nor completion names such a path either. */
static bool refuse_path_of_lines(struct kg_interface *ui, const char *text, size_t length)
{
    char message[160];
    for (const struct kg_input_command *command = kg_interface_commands; command->name; command++) {
        size_t name = strlen(command->name);
        bool path = command->completes == KG_WANTED_PATHS || command->completes == KG_WANTED_CONTEXT_FILES;
        if (!path || length <= name || memcmp(command->name, text, name) != 0 || !is_space(text[name]) || !memchr(text, '\n', length))
            continue;
        snprintf(message, sizeof message, "%s takes one path in one line; one with a newline in it cannot be named: rename the file", command->name);
        say(ui, KG_ENTRY_ERROR, message);
        return true;
    }
    return false;
}

void kg_interface_submit(struct kg_interface *ui, const char *text, size_t length)
{
    while (length > 0 && is_space(text[length - 1]))
        length--;
    while (length > 0 && (text[0] == '\n' || text[0] == ' ')) {
        text++;
        length--;
    }
    if (length == 0)
        return;
    if (text[0] == '!' && length > 1) {
        char *command = strndup(text + 1, length - 1);
        kg_transcript_to_end(ui->transcript);
        if (command)
            kg_interface_shell(ui, command);
        free(command);
        return;
    }
    if (refuse_path_of_lines(ui, text, length))
        return;
    if (!is_command(text, length)) {
        kg_interface_enqueue(ui, KG_TASK_ASK, text, length, text, length);
        return;
    }
    char message[120], *line = strndup(text, length);
    if (!line) {
        say(ui, KG_ENTRY_ERROR, "out of memory: this could not be done");
        return;
    }
    size_t name = strcspn(line, " \t\n");
    char *argument = line + name;
    if (*argument)
        *argument++ = '\0';
    argument += strspn(argument, " \t\n");
    const struct kg_input_command *command = kg_interface_commands;
    while (command->name && strcmp(command->name, line) != 0)
        command++;
    if (command->name) {
        run(ui, command, text, length, argument);
    } else {
        snprintf(message, sizeof message, "there is no command %s; /help lists those there are", line);
        say(ui, KG_ENTRY_ERROR, message);
    }
    free(line);
}
