/* kedge complete: the text to insert at a cursor, for editors, or the file itself, to write in. */
#include <cjson/cJSON.h>
#include <getopt.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "repo-index/utf16.h"
#include "tui/commands/command.h"
#include "tui/complete/around.h"
#include "tui/complete/completer.h"
#include "tui/complete/place.h"
#include "tui/config/config.h"
#include "tui/file/view.h"

static const char help[] =
    "usage: kedge complete --print FILE:LINE:COL [options]   print the text to insert there\n"
    "       kedge complete FILE[:LINE[:COL]] [options]       write in the file, with completions at the cursor\n"
    "\n"
    "LINE and COL begin at 1; COL counts bytes, as vim and compilers do.\n"
    "\n"
    "  -m, --model MODEL    a catalogue name (kedge model ls) or a .gguf file; one with tokens for fill-in-the-middle\n"
    "      --stdin          the text of FILE is on standard input, saved or not\n"
    "      --lines N        at most N lines that are not empty; 1 ends with the line\n"
    "      --tokens N       at most N tokens\n"
    "      --no-context     no other files of the repository\n"
    "      --wish FILE      for programs that open the view: what Ctrl-E asks for, as PATH:FIRST-LAST and the words\n"
    "      --saved FILE     for programs that open the view: a digest of what was saved, and what stood there before\n"
    "  -t, --threads N      default: all that the process may use\n"
    "      --device NAME    best, cpu, or ref (plain double precision, slow)\n"
    "      --no-cache       neither use nor fill the cache of what was read\n"
    "      --set NAME=VALUE any option of kedge.conf; may be repeated\n"
    "      --stats          one JSON object on standard error: tokens, seconds, bytes\n";

#define TEXT_MAX ((size_t)64 << 20)

struct arguments {
    const char *file, *wish, *saved;
    struct kg_config *config;
    uint64_t lines;
    bool print, from_stdin, stats, no_context;
};

static struct kg_completer *interrupted;

static void on_interrupt(int signal_number)
{
    (void)signal_number;
    if (interrupted)
        kg_completer_stop(interrupted);
}

static double now_s(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

static int configure(struct arguments *a, enum kg_option option, const char *value, const char *origin)
{
    struct kg_error err;
    return kg_config_set(a->config, option, value, origin, &err) == KG_OK ? -1 : kg_command_failed("complete", &err);
}

/* -1 to go on, else the exit status. */
static int parse_option(int c, struct arguments *a)
{
    struct kg_error err;
    switch (c) {
    case 'p': a->print = true; return -1;
    case 's': a->from_stdin = true; return -1;
    case 'S': a->stats = true; return -1;
    case 'C': a->no_context = true; return -1;
    case 'w': a->wish = optarg; return -1;
    case 'W': a->saved = optarg; return -1;
    case 'm': return configure(a, KG_OPTION_COMPLETE_MODEL, optarg, "-m");
    case 't': return configure(a, KG_OPTION_THREADS, optarg, "-t");
    case 'n': return configure(a, KG_OPTION_COMPLETE_TOKENS, optarg, "--tokens");
    case 'D': return configure(a, KG_OPTION_DEVICE, optarg, "--device");
    case 'N': return configure(a, KG_OPTION_CACHE_OFF, "yes", "--no-cache");
    case 'O': return kg_config_assign(a->config, optarg, "--set", &err) == KG_OK ? -1 : kg_command_failed("complete", &err);
    case 'l': return kg_parse_number(optarg, 1, 10000, &a->lines) ? -1 : kg_command_misused("complete", "'%s' is no number of lines", optarg);
    case 'h': fputs(help, stdout); return KG_EXIT_OK;
    default: return KG_EXIT_USAGE;
    }
}

static int parse(int argc, char **argv, struct arguments *a)
{
    static const struct option options[] = {
        { "print", no_argument, NULL, 'p' },         { "stdin", no_argument, NULL, 's' },     { "lines", required_argument, NULL, 'l' },
        { "tokens", required_argument, NULL, 'n' },  { "model", required_argument, NULL, 'm' }, { "threads", required_argument, NULL, 't' },
        { "device", required_argument, NULL, 'D' },  { "no-cache", no_argument, NULL, 'N' },  { "no-context", no_argument, NULL, 'C' },
        { "wish", required_argument, NULL, 'w' },    { "saved", required_argument, NULL, 'W' },
        { "set", required_argument, NULL, 'O' },     { "stats", no_argument, NULL, 'S' },     { "help", no_argument, NULL, 'h' },
        { 0 }
    };
    for (int c; (c = getopt_long(argc, argv, "m:t:h", options, NULL)) != -1;) {
        int result = parse_option(c, a);
        if (result >= 0)
            return result;
    }
    if (optind + 1 != argc)
        return kg_command_misused("complete", "name one file");
    a->file = argv[optind];
    if (!a->print && (a->from_stdin || a->stats || a->lines))
        return kg_command_misused("complete", "--stdin, --lines and --stats go with --print");
    if (a->print && (a->wish || a->saved))
        return kg_command_misused("complete", "--wish and --saved are of the file view, without --print");
    return -1;
}

/* The path of the model that completes: chosen, else the small one that is here, else the one that answers. */
static enum kg_status find_model(const struct kg_config *config, char out[KG_PATH_MAX], struct kg_error *err)
{
    char chosen[KG_PATH_MAX];
    const char *own = kg_config_path(config, KG_OPTION_COMPLETE_MODEL, chosen);
    if (own)
        return kg_model_path(own, out, err);
    if (kg_model_path(KG_COMPLETE_MODEL, out, err) == KG_OK)
        return KG_OK;
    return kg_model_path(kg_config_model(config, chosen), out, err);
}

struct output {
    bool crlf;
    double began, first;
};

/* Line ends as the file has them. */
static void put(void *ctx, const char *text, size_t length)
{
    struct output *output = ctx;
    if (output->first == 0)
        output->first = now_s();
    if (isatty(STDOUT_FILENO)) { /* for eyes: what a terminal would obey is made visible */
        kg_put_text(stdout, text, length);
        fflush(stdout);
        return;
    }
    for (size_t at = 0; output->crlf && at < length;) {
        const char *newline = memchr(text + at, '\n', length - at);
        size_t n = newline ? (size_t)(newline - text) - at : length - at;
        fwrite(text + at, 1, n, stdout);
        if (newline)
            fputs("\r\n", stdout);
        at += n + (newline != NULL);
    }
    if (!output->crlf)
        fwrite(text, 1, length, stdout);
    fflush(stdout);
}

static void print_stats(const struct kg_completer *completer, const struct kg_counts *counts, const struct output *output, enum kg_end end)
{
    static const char *const ends[] = { [KG_END_MODEL] = "model", [KG_END_LENGTH] = "length", [KG_END_STOPPED] = "stopped", [KG_END_FULL] = "full" };
    struct kg_engine_facts facts;
    kg_engine_facts(kg_completer_engine(completer), &facts);
    cJSON *root = cJSON_CreateObject();
    cJSON_AddStringToObject(root, "model", facts.model);
    cJSON_AddNumberToObject(root, "files", (double)kg_completer_files(completer));
    cJSON_AddNumberToObject(root, "prompt_tokens", (double)counts->prompt_tokens);
    cJSON_AddNumberToObject(root, "reused_tokens", (double)counts->reused_tokens);
    cJSON_AddNumberToObject(root, "computed_tokens", (double)counts->computed_tokens);
    cJSON_AddNumberToObject(root, "restored_bytes", (double)counts->restored_bytes);
    cJSON_AddNumberToObject(root, "load_s", facts.load_s);
    cJSON_AddNumberToObject(root, "prefill_s", counts->prefill_s);
    if (output->first > 0)
        cJSON_AddNumberToObject(root, "first_text_s", output->first - output->began);
    cJSON_AddNumberToObject(root, "decode_tokens", (double)counts->decode_tokens);
    cJSON_AddNumberToObject(root, "decode_s", counts->decode_s);
    cJSON_AddStringToObject(root, "end", ends[end]);
    char *text = cJSON_PrintUnformatted(root);
    if (text)
        fprintf(stderr, "%s\n", text);
    free(text);
    cJSON_Delete(root);
}

/* Line ends become "\n" in place; returns the new length, the cursor moves along. */
static size_t without_returns(char *text, size_t length, size_t *cursor)
{
    size_t to = 0, moved = *cursor;
    for (size_t from = 0; from < length; from++) {
        if (text[from] == '\r' && from + 1 < length && text[from + 1] == '\n') {
            moved -= from < *cursor;
            continue;
        }
        text[to++] = text[from];
    }
    *cursor = moved;
    text[to] = '\0';
    return to;
}

static enum kg_status print_completion(const struct arguments *a, const struct kg_file_place *place, const struct kg_completer_options *options, char *text,
                                       size_t length, enum kg_end *end, struct kg_error *err)
{
    struct kg_completer *completer = NULL;
    struct kg_counts counts = { 0 };
    const char *newline = memchr(text, '\n', length);
    struct output output = { .crlf = newline && newline > text && newline[-1] == '\r' };
    size_t cursor = kg_place_in(text, length, place->line, place->column);
    if (output.crlf)
        length = without_returns(text, length, &cursor);
    struct kg_around around = kg_around_cursor(text, length, cursor);
    struct kg_cursor_request request = { .prefix = text + around.from, .prefix_length = cursor - around.from, .suffix = text + cursor,
                                         .suffix_length = around.to - cursor, .lines = (unsigned)a->lines, .give = put, .ctx = &output,
                                         .max_tokens = (uint32_t)kg_config_number(a->config, KG_OPTION_COMPLETE_TOKENS) };
    enum kg_status status = kg_completer_open(options, &completer, err);
    if (status == KG_OK) {
        interrupted = completer;
        sigaction(SIGINT, &(struct sigaction){ .sa_handler = on_interrupt, .sa_flags = SA_RESETHAND }, NULL);
        output.began = now_s();
        status = kg_completer_choose(completer, &request, err);
    }
    if (status == KG_OK)
        status = kg_completer_complete(completer, &request, end, &counts, err);
    if (status == KG_OK && a->stats)
        print_stats(completer, &counts, &output, *end);
    interrupted = NULL;
    kg_completer_close(completer);
    return status;
}

static enum kg_status print(const struct arguments *a, const struct kg_file_place *place, struct kg_completer_options *options, enum kg_end *end,
                            struct kg_error *err)
{
    char *text = NULL;
    size_t length = 0;
    if (place->line == 0 || place->column == 0)
        return kg_fail(err, KG_ERR_USAGE, "%s names no line and column; write FILE:LINE:COL", a->file);
    enum kg_status status = kg_read_input(a->from_stdin ? "-" : place->file, TEXT_MAX, &text, &length, err);
    if (status == KG_OK && kg_is_utf16(text, length))
        status = kg_fail(err, KG_ERR_UNSUPPORTED, "%s is in UTF-16, which is not completed; convert it to UTF-8 first", place->file);
    if (status == KG_OK) {
        options->secret = kg_completer_is_secret(place->label, text, length);
        status = print_completion(a, place, options, text, length, end, err);
    }
    free(text);
    return status;
}

/* The file is there to be written in, whatever becomes of completion. */
static enum kg_status view(const struct arguments *a, const struct kg_file_place *place, const struct kg_completer_options *options, const char *no_model,
                           struct kg_error *err)
{
    struct kg_file_wish wish = { .first = 0 };
    const struct kg_file_view_options shown = { .place = place,
                                                .completer = *options,
                                                .no_model = no_model,
                                                .max_tokens = (uint32_t)kg_config_number(a->config, KG_OPTION_COMPLETE_TOKENS),
                                                .pause_ms = (uint32_t)kg_config_number(a->config, KG_OPTION_COMPLETE_PAUSE),
                                                .theme = kg_config_text(a->config, KG_OPTION_THEME),
                                                .colours = kg_config_colours(a->config),
                                                .record = a->saved,
                                                .wish = a->wish ? &wish : NULL };
    char line[KG_PATH_MAX + KG_FILE_WISH + 40];
    enum kg_status status = kg_file_view_run(&shown, err);
    int length = snprintf(line, sizeof line, "%s:%u-%u %s\n", place->label, wish.first, wish.last, wish.text);
    return status == KG_OK && wish.first ? kg_write_file(a->wish, line, (size_t)length, 0600, err) : status;
}

static enum kg_status run(const struct arguments *a, enum kg_end *end, struct kg_error *err)
{
    struct kg_file_place place;
    struct kg_completer_options options = { .context = !a->no_context };
    struct kg_session_options session = { 0 };
    char model[KG_PATH_MAX];
    enum kg_status status = kg_file_place_parse(a->file, &place, err);
    if (status == KG_OK)
        status = kg_config_load(a->config, place.root[0] ? place.root : NULL, err);
    if (status == KG_OK)
        status = kg_config_fill(a->config, &options.engine, &session, err);
    if (status != KG_OK)
        return status;
    options.engine.model_path = model;
    options.policy = session.policy;
    options.recall = session.recall;
    options.repository = place.root[0] ? place.root : NULL;
    options.path = place.label;
    status = find_model(a->config, model, err);
    if (!a->print)
        return view(a, &place, &options, status == KG_OK ? NULL : err->text, err);
    return status == KG_OK ? print(a, &place, &options, end, err) : status;
}

int kg_command_complete(int argc, char **argv)
{
    struct arguments a = { .config = kg_config_create() };
    struct kg_error err;
    enum kg_end end = KG_END_MODEL;
    if (!a.config) {
        kg_fail_nomem(&err, "reading the configuration");
        return kg_command_failed("complete", &err);
    }
    int result = parse(argc, argv, &a);
    if (result < 0)
        result = run(&a, &end, &err) != KG_OK ? kg_command_failed("complete", &err) : end == KG_END_STOPPED ? KG_EXIT_FAILED : KG_EXIT_OK;
    kg_config_free(a.config);
    return result;
}
