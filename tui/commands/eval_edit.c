#include "tui/commands/eval_edit.h"

#include <getopt.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "engine/complete.h"
#include "engine/eval/eval.h"
#include "tui/changes/request.h"
#include "tui/commands/command.h"
#include "tui/commands/eval_edit_judge.h"
#include "tui/commands/progress.h"

static const char help[] =
    "usage: kedge eval edit [options] FOLDER\n"
    "       kedge eval edit --validate FOLDER\n"
    "\n"
    "Asks for the changes of the tasks in FOLDER (tests/eval/edit of kedge's source) in each form of edits, applies the answers\n"
    "as a conversation does, and runs the tasks' checks in a sandbox (bubblewrap).\n"
    "\n"
    "  -m, --model MODEL     a catalogue name or a .gguf file\n"
    "  -t, --threads N       0 = all that the process may use\n"
    "      --form NAME,...   search, definition, file, region, places (all)\n"
    "      --half N          1: every other task from the first on, to try something with; 2: the rest, to judge it by\n"
    "      --limit N         N tasks, evenly spread\n"
    "      --max-tokens N    of an answer (1536); never more than its project's bytes / 2 + 256\n"
    "      --policy NAME     how files are read and looked at; see kedge --help\n"
    "      --answers FOLDER  keeps every answer there, as TASK.FORM.txt\n"
    "      --seed N          of the interval's bootstrap (1)\n"
    "      --device NAME     cpu, or ref (plain double precision, slow)\n"
    "      --json            a JSON object an answer, and one a form\n"
    "      --validate        no model: does every check fail before, and hold for the reference solution?\n";

struct arguments {
    const char *model, *device, *place, *answers;
    enum kg_form forms[KG_FORMS];
    size_t form_count;
    uint64_t threads, half, limit, max_tokens, seed; /* half 0: all */
    enum kg_policy policy;
    bool json, validate;
};

struct run {
    const struct arguments *a;
    struct kg_edit_tasks tasks;
    struct kg_engine *engine;
    struct kg_edit_tally tallies[KG_FORMS];
    size_t count, asked, done; /* tasks: in question, to be asked, asked */
    bool terminal;      /* standard error is one */
    bool bar;           /* something is drawn there */
    bool asking;        /* the bar tells of tasks now, not of reading */
    double began;
};

/* Answers as they came, and what they cost. */
struct said {
    char *text;
    size_t length, room;
    bool broken; /* out of memory */
    const struct kg_session *session; /* that is asked */
    struct kg_edit_result *result;
};

static atomic_bool stopped;
static struct kg_engine *running;

static void on_interrupt(int number)
{
    (void)number;
    atomic_store(&stopped, true);
    if (running)
        kg_engine_stop(running);
}

static double now_s(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

static enum kg_status parse_forms(const char *text, struct arguments *a, struct kg_error *err)
{
    char *copy = strdup(text), *rest = copy;
    enum kg_status status = copy ? KG_OK : kg_fail_nomem(err, "reading options");
    a->form_count = 0;
    for (char *name; status == KG_OK && (name = strsep(&rest, ","));) {
        enum kg_form form;
        status = kg_form_parse(name, &form, err);
        for (size_t i = 0; i < a->form_count && status == KG_OK; i++)
            if (a->forms[i] == form)
                status = kg_fail(err, KG_ERR_USAGE, "--form has %s twice", name);
        if (status == KG_OK)
            a->forms[a->form_count++] = form;
    }
    free(copy);
    return status;
}

enum { FORM = 256, HALF, LIMIT, MAX_TOKENS, POLICY, ANSWERS, SEED, DEVICE, JSON, VALIDATE };

/* -1 to go on, else the exit status. */
static int parse_option(int c, struct arguments *a)
{
    struct kg_error err;
    uint64_t *number = c == 't' ? &a->threads : c == LIMIT ? &a->limit : c == MAX_TOKENS ? &a->max_tokens : &a->seed;
    switch (c) {
    case 'm': a->model = optarg; break;
    case DEVICE: a->device = optarg; break;
    case ANSWERS: a->answers = optarg; break;
    case JSON: a->json = true; break;
    case VALIDATE: a->validate = true; break;
    case FORM:
        if (parse_forms(optarg, a, &err) != KG_OK)
            return kg_command_misused("eval edit", "%s", err.text);
        break;
    case POLICY:
        if (kg_policy_parse(optarg, &a->policy, &err) != KG_OK)
            return kg_command_failed("eval edit", &err);
        break;
    case HALF:
        if (!kg_parse_number(optarg, 1, 2, &a->half))
            return kg_command_misused("eval edit", "--half takes 1 or 2, not '%s'", optarg);
        break;
    case 't':
    case LIMIT:
    case MAX_TOKENS:
    case SEED:
        if (!kg_parse_number(optarg, c == LIMIT || c == MAX_TOKENS ? 1 : 0, c == SEED ? UINT64_MAX : c == 't' ? 1024 : 1 << 24, number))
            return kg_command_misused("eval edit", "'%s' is no number that this option takes", optarg);
        break;
    case 'h': fputs(help, stdout); return KG_EXIT_OK;
    default: return KG_EXIT_USAGE;
    }
    return -1;
}

static int parse(int argc, char **argv, struct arguments *a)
{
    static const struct option options[] = {
        { "model", required_argument, NULL, 'm' },      { "threads", required_argument, NULL, 't' },
        { "form", required_argument, NULL, FORM },      { "limit", required_argument, NULL, LIMIT },
        { "policy", required_argument, NULL, POLICY },  { "max-tokens", required_argument, NULL, MAX_TOKENS },
        { "seed", required_argument, NULL, SEED },      { "answers", required_argument, NULL, ANSWERS },
        { "device", required_argument, NULL, DEVICE },  { "json", no_argument, NULL, JSON },
        { "validate", no_argument, NULL, VALIDATE },    { "half", required_argument, NULL, HALF },
        { "help", no_argument, NULL, 'h' },
        { 0 }
    };
    *a = (struct arguments){ .max_tokens = 1536, .seed = 1, .policy = KG_POLICY_RECALL, .form_count = KG_FORMS,
                             .forms = { KG_FORM_SEARCH, KG_FORM_DEFINITION, KG_FORM_FILE, KG_FORM_REGION, KG_FORM_PLACES } };
    for (int c; (c = getopt_long(argc, argv, "m:t:h", options, NULL)) != -1;) {
        int result = parse_option(c, a);
        if (result >= 0)
            return result;
    }
    if (optind + 1 != argc)
        return kg_command_misused("eval edit", "name one folder of tasks");
    a->place = argv[optind];
    return -1;
}

static void show_reading(void *ctx, const struct kg_progress *progress)
{
    struct run *run = ctx;
    if (run->terminal && !run->asking)
        kg_progress_show(&run->bar, progress);
}

/* form NULL: none is asked for now */
static void show_tasks(struct run *run, const char *form)
{
    enum { CELLS = 20 };
    char painted[CELLS + 1];
    if (!run->terminal)
        return;
    size_t full = run->done * CELLS / run->asked;
    for (size_t i = 0; i < CELLS; i++)
        painted[i] = i < full ? '#' : '.';
    painted[CELLS] = '\0';
    unsigned left = run->done ? (unsigned)((now_s() - run->began) / (double)run->done * (double)(run->asked - run->done)) : 0;
    fprintf(stderr, "\r\033[Kedit %s %zu of %zu%s%s", painted, run->done, run->asked, form ? ", " : "", form ? form : "");
    if (run->done)
        fprintf(stderr, ", %u:%02u left", left / 60, left % 60);
    run->bar = true;
}

static void keep(void *ctx, enum kg_text_kind kind, const char *text, size_t length)
{
    struct said *said = ctx;
    if (kind != KG_TEXT_ANSWER || said->broken)
        return;
    if (said->length + length > said->room) {
        size_t room = 2 * (said->length + length) + 4096;
        char *grown = realloc(said->text, room);
        said->broken = !grown;
        if (!grown)
            return;
        said->text = grown;
        said->room = room;
    }
    memcpy(said->text + said->length, text, length);
    said->length += length;
}

static void count(void *ctx, enum kg_end end)
{
    struct said *said = ctx;
    struct kg_counts counts;
    (void)end;
    kg_session_counts(said->session, &counts);
    said->result->tokens += counts.decode_tokens;
    said->result->computed_tokens += counts.computed_tokens;
}

/* The project as changes leave it. Texts are the task's, or of changes. */
struct project {
    struct kg_edit_file files[2 * KG_EDIT_TASK_FILES];
    size_t count;
};

static bool put_change(struct project *project, const struct kg_change *change)
{
    size_t i = 0;
    while (i < project->count && strcmp(project->files[i].path, change->path) != 0)
        i++;
    if (i == sizeof project->files / sizeof *project->files)
        return false;
    project->files[i] = (struct kg_edit_file){ .path = change->path, .text = change->after, .length = change->after_length };
    project->count += i == project->count;
    return true;
}

static unsigned count_lines(const char *text)
{
    unsigned lines = 0;
    for (; text && *text; text++)
        lines += *text == '\n';
    return lines;
}

static void refuse(struct kg_edit_result *result, const char *reason)
{
    result->outcome = KG_EDIT_REFUSED;
    snprintf(result->reason, sizeof result->reason, "%s", reason);
}

/* Whether a status is about the answer; another one ends the run. */
static bool is_refusal(enum kg_status status)
{
    return status == KG_ERR_NOT_FOUND || status == KG_ERR_RANGE || status == KG_ERR_UNSUPPORTED || status == KG_ERR_FORMAT;
}

static enum kg_status ask(struct run *run, const struct kg_session *base, const struct kg_edit_request *request, struct kg_proposal *proposal,
                          struct said *said, struct kg_error *err)
{
    struct kg_session *session = NULL;
    enum kg_end end = KG_END_MODEL;
    double start = now_s();
    enum kg_status status = kg_session_fork(base, &session, err);
    said->session = session;
    if (status == KG_OK)
        status = kg_edit_propose(session, request, NULL, proposal, &end, err);
    said->result->seconds += now_s() - start;
    kg_session_close(session);
    return atomic_load(&stopped) ? kg_fail(err, KG_ERR_CANCELLED, "stopped after %zu of %zu tasks", run->done, run->asked) : status;
}

static void take(const struct kg_proposal *proposal, struct project *project, struct kg_edit_result *result)
{
    if (proposal->cut)
        refuse(result, "the answer is cut off");
    for (size_t i = 0; i < proposal->count && result->outcome != KG_EDIT_REFUSED; i++) {
        result->fuzzy += count_lines(proposal->changes[i].said);
        if (!put_change(project, &proposal->changes[i]))
            refuse(result, "the answer changes too many files");
    }
}

static enum kg_status save_answer(const struct run *run, const struct kg_edit_task *task, enum kg_form form, const struct said *said,
                                  struct kg_error *err)
{
    char path[KG_PATH_MAX];
    if (said->broken)
        return kg_fail_nomem(err, "keeping an answer");
    if (!run->a->answers)
        return KG_OK;
    if (snprintf(path, sizeof path, "%s/%s.%s.txt", run->a->answers, task->name, kg_form_name(form)) >= (int)sizeof path)
        return kg_fail(err, KG_ERR_RANGE, "the path of an answer to %s is too long", task->name);
    return kg_write_file(path, said->text ? said->text : "", said->length, 0644, err);
}

/* No answer to be taken needs more than the project written anew, with room for other lines; a token has two bytes or more. */
static uint32_t most_tokens(const struct run *run, const struct kg_edit_task *task)
{
    size_t bytes = 0;
    for (size_t i = 0; i < task->file_count; i++)
        bytes += task->files[i].length;
    return (uint32_t)(bytes / 2 + 256 < run->a->max_tokens ? bytes / 2 + 256 : run->a->max_tokens);
}

/* What is asked at once: everything, or in the form of regions the i-th file that has one. */
static bool next_request(const struct kg_edit_task *task, enum kg_form form, size_t i, struct kg_shown_file *files)
{
    size_t found = 0;
    bool any = form != KG_FORM_REGION && i == 0;
    for (size_t k = 0; k < task->file_count; k++) {
        const struct kg_edit_file *file = &task->files[k];
        files[k] = (struct kg_shown_file){ .path = file->path, .text = file->text, .length = file->length };
        if (form == KG_FORM_REGION && file->first && found++ == i) {
            files[k].first = file->first;
            files[k].last = file->last;
            any = true;
        }
    }
    return any;
}

/* Several regions are asked about one after the other, each in sight of the project as it was. */
static enum kg_status answer_task(struct run *run, const struct kg_session *base, const struct kg_edit_task *task, enum kg_form form,
                                  struct kg_edit_result *result, struct kg_error *err)
{
    struct kg_shown_file files[KG_EDIT_TASK_FILES];
    struct kg_proposal proposals[KG_EDIT_TASK_FILES] = { 0 };
    struct project project = { .count = task->file_count };
    struct said said = { .result = result };
    size_t asked = 0;
    enum kg_status status = KG_OK;
    memcpy(project.files, task->files, task->file_count * sizeof *task->files);
    result->outcome = KG_EDIT_WRONG;
    for (; status == KG_OK && result->outcome != KG_EDIT_REFUSED && next_request(task, form, asked, files); asked++) {
        struct kg_edit_request request = { .text = task->request, .form = form, .files = files, .count = task->file_count,
                                           .max_tokens = most_tokens(run, task), .sampling = kg_sampling_greedy(), .text_out = keep, .asked = count, .ctx = &said };
        status = ask(run, base, &request, &proposals[asked], &said, err);
        if (status == KG_OK)
            take(&proposals[asked], &project, result);
    }
    if (is_refusal(status)) {
        refuse(result, err->text);
        status = KG_OK;
    }
    if (status == KG_OK && result->outcome != KG_EDIT_REFUSED) {
        struct kg_edit_judgement judgement;
        status = kg_edit_judge(task, project.files, project.count, false, &stopped, &judgement, err);
        result->outcome = judgement.passed ? KG_EDIT_RIGHT : KG_EDIT_WRONG;
        snprintf(result->reason, sizeof result->reason, "%s", judgement.reason);
    }
    if (status == KG_OK)
        status = save_answer(run, task, form, &said, err);
    for (size_t i = 0; i < asked; i++)
        kg_proposal_free(&proposals[i]);
    free(said.text);
    return status;
}

/* Its files are read once, each form asks behind them. */
static enum kg_status do_task(struct run *run, const struct kg_edit_task *task, struct kg_error *err)
{
    const struct arguments *a = run->a;
    struct kg_session *base = NULL;
    enum kg_status status = kg_session_open(run->engine, &(struct kg_session_options){ .policy = a->policy, .unsaved = true }, &base, err);
    for (size_t i = 0; i < task->file_count && status == KG_OK; i++)
        status = kg_session_add_file(base, task->files[i].path, task->files[i].text, task->files[i].length, false, err);
    for (size_t i = 0; i < a->form_count && status == KG_OK; i++) {
        struct kg_edit_result result = { 0 };
        show_tasks(run, kg_form_name(a->forms[i]));
        status = answer_task(run, base, task, a->forms[i], &result, err);
        if (status != KG_OK)
            break;
        kg_edit_count(&run->tallies[i], task, &result);
        kg_progress_clear(&run->bar);
        if (a->json)
            kg_edit_print_result(task, a->forms[i], &result);
    }
    kg_session_close(base);
    return status;
}

static enum kg_status open_engine(struct run *run, struct kg_error *err)
{
    const struct arguments *a = run->a;
    char path[KG_PATH_MAX];
    enum kg_status status = kg_model_path(a->model, path, err);
    if (status != KG_OK)
        return status;
    struct kg_engine_options options = { .model_path = path, .backend = a->device, .threads = (uint32_t)a->threads, .progress = show_reading, .ctx = run };
    status = kg_engine_open(&options, &run->engine, err);
    if (status != KG_OK)
        return status;
    running = run->engine;
    struct sigaction action = { .sa_handler = on_interrupt, .sa_flags = SA_RESETHAND }; /* a second one ends kedge at once */
    sigaction(SIGINT, &action, NULL);
    return KG_OK;
}

/* Steps of that length around a circle of count come to each of its places. */
static size_t step_around(size_t count)
{
    for (size_t step = count * 5 / 13 + 1;; step++) {
        size_t a = step, b = count;
        while (b) {
            size_t rest = a % b;
            a = b;
            b = rest;
        }
        if (a == 1)
            return step;
    }
}

/* The i-th that is asked: languages and kinds take turns, so that a run which is stopped has some of each. */
static const struct kg_edit_task *turn(const struct run *run, size_t i)
{
    const size_t asked = run->asked, step = step_around(asked);
    size_t place = asked ? kg_eval_spread(i * step % asked, asked, run->count) : 0;
    return &run->tasks.tasks[run->a->half ? 2 * place + run->a->half - 1 : place];
}

static void report(const struct run *run)
{
    const struct arguments *a = run->a;
    struct kg_engine_facts facts;
    kg_engine_facts(run->engine, &facts);
    struct kg_edit_report result = { .model = facts.model, .policy = kg_policy_name(a->policy), .tallies = run->tallies, .form_count = a->form_count,
                                     .default_form = kg_form_of_model(facts.model), .seed = a->seed, .seconds = now_s() - run->began };
    memcpy(result.forms, a->forms, sizeof result.forms);
    (a->json ? kg_edit_print_objects : kg_edit_print_table)(&result);
}

/* A run that is stopped tells of what it has. */
static enum kg_status do_all(struct run *run, struct kg_error *err)
{
    enum kg_status status = open_engine(run, err);
    run->asking = true;
    run->began = now_s();
    for (; run->done < run->asked && status == KG_OK; run->done += status == KG_OK)
        status = do_task(run, turn(run, run->done), err);
    kg_progress_clear(&run->bar);
    if (run->done)
        report(run);
    return status == KG_ERR_CANCELLED ? kg_fail(err, status, "stopped after %zu of %zu tasks", run->done, run->asked) : status;
}

static enum kg_status validate(struct run *run, const struct kg_edit_task *task, bool *valid, struct kg_error *err)
{
    struct kg_edit_judgement before, solved;
    enum kg_status status = kg_edit_judge(task, task->files, task->file_count, false, &stopped, &before, err);
    if (status == KG_OK)
        status = kg_edit_judge(task, task->files, task->file_count, true, &stopped, &solved, err);
    if (status != KG_OK)
        return status;
    *valid = !before.passed && solved.passed;
    kg_progress_clear(&run->bar);
    if (before.passed)
        printf("%s: its check holds for the files as they are\n", task->name);
    if (!solved.passed)
        printf("%s: its check does not hold for its solution: %s\n", task->name, solved.reason);
    return KG_OK;
}

static enum kg_status validate_all(struct run *run, struct kg_error *err)
{
    enum kg_status status = KG_OK;
    size_t valid = 0;
    for (; run->done < run->asked && status == KG_OK; run->done++) {
        bool good = false;
        show_tasks(run, NULL);
        status = validate(run, turn(run, run->done), &good, err);
        valid += good;
    }
    kg_progress_clear(&run->bar);
    if (status != KG_OK)
        return status;
    printf("%zu of %zu tasks are valid\n", valid, run->asked);
    return valid == run->asked ? KG_OK : kg_fail(err, KG_ERR_FORMAT, "%zu of %zu tasks are not valid", run->asked - valid, run->asked);
}

int kg_command_eval_edit(int argc, char **argv)
{
    struct arguments a;
    struct kg_error err;
    int result = parse(argc, argv, &a);
    if (result >= 0)
        return result;
    struct run run = { .a = &a, .terminal = isatty(STDERR_FILENO) };
    enum kg_status status = kg_edit_tasks_read(a.place, &run.tasks, &err);
    if (status == KG_OK)
        status = kg_edit_judge_check(&run.tasks, &err);
    run.count = a.half ? (run.tasks.count + (a.half == 1)) / 2 : run.tasks.count;
    run.asked = a.limit && a.limit < run.count ? a.limit : run.count;
    if (status == KG_OK)
        status = (a.validate ? validate_all : do_all)(&run, &err);
    kg_progress_clear(&run.bar);
    running = NULL;
    kg_engine_close(run.engine);
    kg_edit_tasks_free(&run.tasks);
    return status == KG_OK ? KG_EXIT_OK : kg_command_failed("eval edit", &err);
}
