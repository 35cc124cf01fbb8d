/* kedge edit: a change is asked for, and printed or applied. */
#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tui/changes/hunks.h"
#include "tui/changes/journal.h"
#include "tui/changes/request.h"
#include "tui/changes/worktree.h"
#include "tui/commands/command.h"
#include "tui/config/config.h"
#include "tui/conversation/includes.h"

static const char help[] =
    "usage: kedge edit [options] REQUEST FILE[:FIRST-LAST]...\n"
    "       kedge edit --undo\n"
    "       kedge edit --redo\n"
    "\n"
    "Has a model change files of the repository as the request says, and prints the change as a unified diff.\n"
    "\n"
    "  -C REPO              as if started there\n"
    "  -m, --model MODEL    a catalogue name (kedge model ls) or a .gguf file\n"
    "      --form NAME      search, definition, file, places (the lines that the request is about, one place after the other)\n"
    "                       or region (the lines named, of one file); default: what the model does best\n"
    "      --print          print the diff; the default\n"
    "      --apply          write the files, all or none; what runs unasked (Makefile, CI, executables) is refused\n"
    "      --undo           take back what --apply or the interface wrote last, or was saved in a file that its /open shows\n"
    "      --redo           write it again\n"
    "      --answer         print what the model writes on standard error\n"
    "      --from FILE      take the answer from FILE, or from standard input (-), instead of a model\n"
    "  -n N                 at most N tokens of answer\n"
    "  -t, --threads N      default: all that the process may use\n"
    "      --device NAME    best, cpu, or ref (plain double precision, slow)\n"
    "      --no-cache       neither use nor fill the cache of what was read\n"
    "      --set NAME=VALUE any option of kedge.conf; may be repeated\n";

#define FILES_MAX 64

struct arguments {
    const char *repo, *request, *from;
    char **files;
    size_t file_count;
    struct kg_config *config;
    enum kg_form form; /* KG_FORM_ANY = the model's */
    bool apply, print, undo, redo, show_answer;
};

struct shown {
    struct kg_shown_file files[FILES_MAX];
    char paths[FILES_MAX][KG_PATH_MAX];
    bool secret[FILES_MAX];
    size_t count;
};

struct place {
    char root[KG_PATH_MAX], model[KG_PATH_MAX];
    struct kg_index *index;
    struct kg_worktree *tree;
    struct kg_journal *journal;
};

static struct kg_engine *interrupted;

static void on_interrupt(int number)
{
    (void)number;
    if (interrupted)
        kg_engine_stop(interrupted);
}

static const struct {
    int c;
    enum kg_option option;
    const char *origin;
} configured[] = {
    { 'm', KG_OPTION_MODEL, "-m" },          { 't', KG_OPTION_THREADS, "-t" },         { 'D', KG_OPTION_DEVICE, "--device" },
    { 'n', KG_OPTION_MAX_TOKENS, "-n" },     { 'N', KG_OPTION_CACHE_OFF, "--no-cache" },
};

/* -1 to go on, else the exit status. */
static int parse_option(int c, struct arguments *a)
{
    struct kg_error err;
    switch (c) {
    case 'C': a->repo = optarg; break;
    case 'A': a->apply = true; break;
    case 'P': a->print = true; break;
    case 'U': a->undo = true; break;
    case 'R': a->redo = true; break;
    case 'S': a->show_answer = true; break;
    case 'F': a->from = optarg; break;
    case 'f':
        if (kg_form_parse(optarg, &a->form, &err) != KG_OK)
            return kg_command_failed("edit", &err);
        break;
    case 'O':
        if (kg_config_assign(a->config, optarg, "--set", &err) != KG_OK)
            return kg_command_failed("edit", &err);
        break;
    case 'h': fputs(help, stdout); return KG_EXIT_OK;
    case '?': return KG_EXIT_USAGE;
    default:
        for (size_t i = 0; i < sizeof configured / sizeof configured[0]; i++)
            if (configured[i].c == c && kg_config_set(a->config, configured[i].option, optarg ? optarg : "yes", configured[i].origin, &err) != KG_OK)
                return kg_command_failed("edit", &err);
    }
    return -1;
}

static int parse(int argc, char **argv, struct arguments *a)
{
    static const struct option options[] = {
        { "model", required_argument, NULL, 'm' }, { "form", required_argument, NULL, 'f' },   { "apply", no_argument, NULL, 'A' },
        { "print", no_argument, NULL, 'P' },       { "undo", no_argument, NULL, 'U' },         { "redo", no_argument, NULL, 'R' },
        { "answer", no_argument, NULL, 'S' },      { "from", required_argument, NULL, 'F' },   { "threads", required_argument, NULL, 't' },
        { "device", required_argument, NULL, 'D' }, { "no-cache", no_argument, NULL, 'N' },    { "set", required_argument, NULL, 'O' },
        { "help", no_argument, NULL, 'h' },        { 0 }
    };
    for (int c; (c = getopt_long(argc, argv, "C:m:n:t:h", options, NULL)) != -1;) {
        int result = parse_option(c, a);
        if (result >= 0)
            return result;
    }
    if (a->undo || a->redo)
        return a->undo != a->redo && optind == argc && !a->apply && !a->print ? -1 : kg_command_misused("edit", "--undo and --redo stand alone");
    if (a->apply && a->print)
        return kg_command_misused("edit", "--apply and --print exclude each other");
    if (a->from && a->form == KG_FORM_PLACES)
        return kg_command_misused("edit", "--form places asks several times: it does not go with --from, which is one answer");
    if (argc - optind < 2)
        return kg_command_misused("edit", "give a request and the files it is about");
    if (argc - optind - 1 > FILES_MAX)
        return kg_command_misused("edit", "at most %d files can be named", FILES_MAX);
    a->request = argv[optind];
    a->files = argv + optind + 1;
    a->file_count = (size_t)(argc - optind - 1);
    return -1;
}

static enum kg_status read_file(struct place *place, char *name, struct shown *out, struct kg_error *err)
{
    char absolute[KG_PATH_MAX];
    char *text = NULL;
    struct kg_shown_file file = { .path = NULL };
    size_t root = strlen(place->root);
    size_t lines = 0;
    kg_take_lines(name, &file.first, &file.last);
    if (!realpath(name, absolute))
        return kg_fail(err, KG_ERR_NOT_FOUND, "cannot open %s: %s", name, strerror(errno));
    if (strncmp(absolute, place->root, root) != 0 || absolute[root] != '/')
        return kg_fail(err, KG_ERR_USAGE, "%s lies outside of the repository %s; only its files are changed", name, place->root);
    enum kg_status status = kg_index_read(place->index, absolute + root + 1, KG_FILE_MAX, &text, &file.length, &out->secret[out->count], err);
    for (size_t i = 0; status == KG_OK && i < file.length; i++)
        lines += text[i] == '\n' || i + 1 == file.length;
    if (status == KG_OK && file.last > lines)
        status = kg_fail(err, KG_ERR_USAGE, "%s has %zu lines, not %u", name, lines, file.last);
    if (status != KG_OK) {
        free(text);
        return status;
    }
    strcpy(out->paths[out->count], absolute + root + 1);
    file.path = out->paths[out->count];
    file.text = text;
    out->files[out->count++] = file;
    return KG_OK;
}

static enum kg_status open_place(const struct arguments *a, struct place *place, struct kg_error *err)
{
    enum kg_status status = kg_repo_root(a->repo ? a->repo : ".", place->root, err);
    if (status == KG_OK)
        status = kg_config_load(a->config, place->root, err);
    if (status == KG_OK && !a->from && !a->undo && !a->redo) {
        char chosen[KG_PATH_MAX];
        char named[KG_PATH_MAX];
        status = kg_model_path(kg_config_model(a->config, chosen), named, err);
        if (status == KG_OK && !realpath(named, place->model))
            status = kg_fail(err, KG_ERR_NOT_FOUND, "cannot open %s: %s", named, strerror(errno));
    }
    if (status == KG_OK && a->repo && chdir(a->repo) != 0)
        status = kg_fail(err, KG_ERR_USAGE, "cannot enter %s: %s", a->repo, strerror(errno));
    if (status == KG_OK)
        status = kg_worktree_open(place->root, &place->tree, err);
    if (status == KG_OK && (a->apply || a->undo || a->redo))
        status = kg_journal_open(NULL, place->root, place->tree, &place->journal, err);
    if (status == KG_OK && !a->undo && !a->redo)
        status = kg_index_open(place->root, NULL, &place->index, err);
    return status;
}

/* ctx: the last character so far. */
static void put_answer(void *ctx, enum kg_text_kind kind, const char *text, size_t length)
{
    if (kind != KG_TEXT_ANSWER || length == 0)
        return;
    kg_put_text(stderr, text, length);
    *(char *)ctx = text[length - 1];
}

/* What kedge says itself begins a line. */
static void end_answer(void *ctx, enum kg_end end)
{
    char *last = ctx;
    (void)end;
    if (*last != '\n')
        fputc('\n', stderr);
    *last = '\n';
}

/* For files that were not named: to be changed by blocks, which quote what they replace. */
static enum kg_status read_more(void *ctx, const char *path, char **text, size_t *length, struct kg_error *err)
{
    return kg_worktree_read(ctx, path, KG_FILE_MAX, text, length, err);
}

static enum kg_status ask_in(const struct arguments *a, struct kg_session *session, struct place *place, const struct shown *shown, enum kg_form form,
                             struct kg_proposal *proposal, struct kg_error *err)
{
    const struct kg_more_files more = { .read = read_more, .ctx = place->tree };
    enum kg_status status = KG_OK;
    enum kg_end end = KG_END_MODEL;
    char last = '\n';
    struct kg_edit_request request = { .text = a->request, .form = form, .files = shown->files, .count = shown->count,
                                       .max_tokens = (uint32_t)kg_config_number(a->config, KG_OPTION_MAX_TOKENS), .sampling = kg_sampling_greedy(),
                                       .text_out = a->show_answer ? put_answer : NULL, .asked = a->show_answer ? end_answer : NULL, .ctx = &last };
    for (size_t i = 0; i < shown->count && status == KG_OK; i++)
        status = kg_add_file_with_includes(session, place->index, shown->files[i].path, shown->files[i].text, shown->files[i].length, shown->secret[i], err);
    if (status == KG_OK)
        status = kg_edit_propose(session, &request, &more, proposal, &end, err);
    return status == KG_OK && end == KG_END_STOPPED ? kg_fail(err, KG_ERR_CANCELLED, "stopped: nothing is changed") : status;
}

static enum kg_status ask_model(const struct arguments *a, struct place *place, const struct shown *shown, struct kg_proposal *proposal, struct kg_error *err)
{
    struct kg_engine_options options = { 0 };
    struct kg_session_options of_session = { .repository = place->root, .unsaved = true };
    struct kg_engine *engine = NULL;
    struct kg_session *session = NULL;
    struct kg_engine_facts facts;
    enum kg_status status = kg_config_fill(a->config, &options, &of_session, err);
    options.model_path = place->model;
    if (status == KG_OK)
        status = kg_engine_open(&options, &engine, err);
    if (status == KG_OK) {
        interrupted = engine;
        sigaction(SIGINT, &(struct sigaction){ .sa_handler = on_interrupt, .sa_flags = SA_RESETHAND }, NULL);
        status = kg_session_open(engine, &of_session, &session, err);
    }
    if (status == KG_OK) {
        bool region = false;
        for (size_t i = 0; i < shown->count; i++)
            region = region || shown->files[i].first;
        kg_engine_facts(engine, &facts);
        enum kg_form form = a->form != KG_FORM_ANY ? a->form : region ? KG_FORM_REGION : kg_form_of_model(facts.model);
        status = ask_in(a, session, place, shown, form, proposal, err);
    }
    interrupted = NULL;
    kg_session_close(session);
    kg_engine_close(engine);
    return status;
}

/* An answer that was written down before. */
static enum kg_status read_answer(const struct arguments *a, struct place *place, const struct shown *shown, struct kg_proposal *proposal, struct kg_error *err)
{
    const struct kg_more_files more = { .read = read_more, .ctx = place->tree };
    char *text = NULL;
    size_t length = 0;
    struct kg_answer *answer = kg_answer_create(a->form);
    enum kg_status status = answer ? kg_read_input(a->from, KG_ANSWER_MOST, &text, &length, err) : kg_fail_nomem(err, "reading an answer");
    if (status == KG_OK)
        status = kg_answer_add(answer, text, length, err);
    if (status == KG_OK)
        status = kg_answer_end(answer, true, err);
    if (status == KG_OK)
        status = kg_proposal_of(answer, shown->files, shown->count, &more, proposal, err);
    kg_answer_free(answer);
    free(text);
    return status;
}

static enum kg_status check_guards(struct place *place, const struct kg_proposal *proposal, struct kg_error *err)
{
    for (size_t i = 0; i < proposal->count; i++) {
        const char *why;
        if (kg_worktree_guard(place->tree, proposal->changes[i].path, &why) != KG_GUARD_NONE)
            return kg_fail(err, KG_ERR_UNSUPPORTED, "%s %s: it is not written unasked; nothing was written. The interface asks (/edit)", proposal->changes[i].path, why);
    }
    return KG_OK;
}

static void print_said(const struct kg_change *change)
{
    for (const char *at = change->said; at && *at; at += strcspn(at, "\n") + 1)
        fprintf(stderr, "kedge edit: %s: %.*s\n", change->path, (int)strcspn(at, "\n"), at);
}

static enum kg_status put_out(const struct arguments *a, struct place *place, const struct kg_proposal *proposal, struct kg_error *err)
{
    struct kg_journal_file files[FILES_MAX * 4];
    enum kg_status status = KG_OK;
    if (proposal->cut)
        return kg_fail(err, KG_ERR_FORMAT, "the answer was cut off: its %zu complete edits are not all that was meant; ask again, with a larger -n", proposal->count);
    if (proposal->count > sizeof files / sizeof files[0])
        return kg_fail(err, KG_ERR_RANGE, "the answer changes %zu files, too many at a time", proposal->count);
    for (size_t i = 0; i < proposal->count; i++) {
        const struct kg_change *c = &proposal->changes[i];
        print_said(c);
        files[i] = (struct kg_journal_file){ .path = c->path, .before = c->before, .before_length = c->before_length, .after = c->after, .after_length = c->after_length };
    }
    if (a->apply) {
        status = check_guards(place, proposal, err);
        if (status == KG_OK)
            status = kg_journal_apply(place->journal, a->request, files, proposal->count, err);
        for (size_t i = 0; i < proposal->count && status == KG_OK; i++)
            printf("%s %s\n", files[i].before ? "changed" : "new", files[i].path);
        return status;
    }
    for (size_t i = 0; i < proposal->count && status == KG_OK; i++) {
        size_t length = 0;
        status = kg_worktree_check(place->tree, files[i].path, files[i].before, files[i].before_length, err); /* or nothing could apply it */
        if (status != KG_OK)
            break;
        char *diff = kg_unified_diff(files[i].path, files[i].before, files[i].before_length, files[i].after, files[i].after_length, &length);
        if (diff)
            kg_put_text(stdout, diff, length);
        else
            status = kg_fail_nomem(err, "comparing two texts");
        free(diff);
    }
    return status;
}

struct named {
    const struct shown *shown;
    bool region;
    size_t at;
};

/* Files that may have to be written: the one of which lines are to change, or else all. */
static const char *next_named(void *ctx)
{
    struct named *named = ctx;
    while (named->region && named->at < named->shown->count && !named->shown->files[named->at].first)
        named->at++;
    return named->at < named->shown->count ? named->shown->files[named->at++].path : NULL;
}

static enum kg_status edit(const struct arguments *a, struct place *place, struct kg_error *err)
{
    struct shown shown = { .count = 0 };
    struct kg_proposal proposal = { 0 };
    enum kg_status status = KG_OK;
    for (size_t i = 0; i < a->file_count && status == KG_OK; i++)
        status = read_file(place, a->files[i], &shown, err);
    size_t regions = 0;
    for (size_t i = 0; i < shown.count; i++)
        regions += shown.files[i].first > 0;
    if (status == KG_OK && (regions > 1 || (regions && a->form != KG_FORM_ANY && a->form != KG_FORM_REGION) || (a->form == KG_FORM_REGION && !regions)))
        status = kg_fail(err, KG_ERR_USAGE, "the form region goes with the lines of one file: FILE:FIRST-LAST");
    if (status == KG_OK) /* or nobody is asked */
        status = kg_worktree_admits_any(place->tree, next_named, &(struct named){ .shown = &shown, .region = regions > 0 }, err);
    if (status == KG_OK)
        status = a->from ? read_answer(a, place, &shown, &proposal, err) : ask_model(a, place, &shown, &proposal, err);
    if (status == KG_OK)
        status = put_out(a, place, &proposal, err);
    kg_proposal_free(&proposal);
    for (size_t i = 0; i < shown.count; i++)
        free((char *)shown.files[i].text);
    return status;
}

static void print_path(void *ctx, const char *path)
{
    char shown[KG_PATH_MAX];
    (void)ctx;
    kg_printable(shown, sizeof shown, path, strlen(path));
    puts(shown);
}

int kg_command_edit(int argc, char **argv)
{
    struct arguments a = { .config = kg_config_create(), .form = KG_FORM_ANY };
    struct place place = { .index = NULL };
    struct kg_journal_done done;
    struct kg_error err;
    if (!a.config) {
        kg_fail_nomem(&err, "reading the configuration");
        return kg_command_failed("edit", &err);
    }
    int result = parse(argc, argv, &a);
    if (result < 0) {
        enum kg_status status = open_place(&a, &place, &err);
        if (status == KG_OK && a.undo)
            status = kg_journal_undo(place.journal, print_path, NULL, &done, &err);
        else if (status == KG_OK && a.redo)
            status = kg_journal_redo(place.journal, print_path, NULL, &done, &err);
        else if (status == KG_OK)
            status = edit(&a, &place, &err);
        result = status == KG_OK ? KG_EXIT_OK : kg_command_failed("edit", &err);
    }
    kg_index_close(place.index);
    kg_journal_close(place.journal);
    kg_worktree_close(place.tree);
    kg_config_free(a.config);
    return result;
}
