/* kedge -p: one question, the answer on stdout. Without -p the same options open the interface. */
#include <cjson/cJSON.h>
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "repo-index/repo_index.h"
#include "repo-index/utf16.h"
#include "tui/conversation/includes.h"
#include "tui/conversation/instructions.h"
#include "tui/commands/command.h"
#include "tui/commands/progress.h"
#include "tui/config/config.h"
#include "tui/interface/interface.h"

static const char help[] =
    "usage: kedge [-C REPO] [-m MODEL] [--session NAME] ...  the interface\n"
    "       kedge -p PROMPT [--file PATH]... [-n N] ...      one question, the answer on standard output\n"
    "       kedge COMMAND ... ; kedge COMMAND --help\n"
    "\n"
    "  -C REPO              as if started there\n"
    "  -m, --model MODEL    a catalogue name (kedge model ls) or a .gguf file; see kedge.conf(5)\n"
    "  -p, --prompt PROMPT  the question; - reads it from standard input\n"
    "      --file PATH      the model reads this file first; may be repeated\n"
    "      --choose TOKENS  files of the repository chosen for the question, at most so many tokens\n"
    "  -n N                 at most N tokens of answer\n"
    "      --greedy         the likeliest token every time\n"
    "      --temperature T, --top-k K, --top-p P, --min-p P, --seed S\n"
    "      --session NAME   begin or go on with this conversation\n"
    "      --inline         the interface as lines on the normal screen, as at TERM=dumb\n"
    "      --policy NAME    recall (files read in sight of what they include, looked at by recall; the default), alone\n"
    "                       (files read one by one, looked at in full), full (everything as one text), or anchor\n"
    "  -t, --threads N      default: all that the process may use\n"
    "      --device NAME    best, cpu, cuda, cuda:N or ref (plain, slow)\n"
    "      --gpu-layers N   the card computes the last N layers, the CPU the others; auto = as many as fit\n"
    "      --kv TYPE        what keys and values are kept as: f16 (the default) or q8_0 (about half the bytes; the CPU only)\n"
    "      --no-cache       neither use nor fill the cache of what was read\n"
    "      --set NAME=VALUE any option of kedge.conf (kedge config lists them); may be repeated\n"
    "      --stats          one JSON object on standard error: tokens, seconds, bytes\n"
    "      --version, --help\n";

#define FILES_MAX 256

static void print_help(void)
{
    fputs(help, stdout);
    puts("\ncommands:");
    for (const struct kg_command *command = kg_commands; command->name; command++)
        printf("  %-10s %s\n", command->name, command->summary);
}

struct arguments {
    const char *repo, *prompt, *session, *files[FILES_MAX];
    size_t file_count;
    struct kg_config *config;
    bool choose, greedy, stats, lines_only;
};

/* Options that kedge.conf has as well. */
static const struct {
    int c;
    enum kg_option option;
    const char *origin;
} configured[] = {
    { 'm', KG_OPTION_MODEL, "-m" },
    { 't', KG_OPTION_THREADS, "-t" },
    { 'D', KG_OPTION_DEVICE, "--device" },
    { 'G', KG_OPTION_GPU_LAYERS, "--gpu-layers" },
    { 'P', KG_OPTION_POLICY, "--policy" },
    { 'c', KG_OPTION_READ_BUDGET, "--choose" },
    { 'n', KG_OPTION_MAX_TOKENS, "-n" },
    { 'T', KG_OPTION_TEMPERATURE, "--temperature" },
    { 'k', KG_OPTION_TOP_K, "--top-k" },
    { 'o', KG_OPTION_TOP_P, "--top-p" },
    { 'i', KG_OPTION_MIN_P, "--min-p" },
    { 'd', KG_OPTION_SEED, "--seed" },
    { 'K', KG_OPTION_CACHE_KV, "--kv" },
    { 'N', KG_OPTION_CACHE_OFF, "--no-cache" },
};

/* -1 to go on, else the exit status. */
static int configure(int c, struct arguments *a)
{
    struct kg_error err;
    a->choose |= c == 'c';
    for (size_t i = 0; i < sizeof configured / sizeof configured[0]; i++)
        if (configured[i].c == c && kg_config_set(a->config, configured[i].option, optarg ? optarg : "yes", configured[i].origin, &err) != KG_OK)
            return kg_command_failed("", &err);
    return -1;
}

/* -1 to go on, else the exit status. */
static int parse_option(int c, struct arguments *a)
{
    struct kg_error err;
    switch (c) {
    case 'C': a->repo = optarg; break;
    case 'p': a->prompt = optarg; break;
    case 's': a->session = optarg; break;
    case 'S': a->stats = true; break;
    case 'g': a->greedy = true; break;
    case 'f':
        if (a->file_count == FILES_MAX)
            return kg_command_misused("", "at most %d files can be named", FILES_MAX);
        a->files[a->file_count++] = optarg;
        break;
    case 'O':
        if (kg_config_assign(a->config, optarg, "--set", &err) != KG_OK)
            return kg_command_failed("", &err);
        break;
    case 'l': a->lines_only = true; break;
    case 'V': puts("kedge " KG_VERSION); return KG_EXIT_OK;
    case 'h': print_help(); return KG_EXIT_OK;
    case '?': return KG_EXIT_USAGE;
    default: return configure(c, a);
    }
    return -1;
}

static int parse(int argc, char **argv, struct arguments *a)
{
    static const struct option options[] = {
        { "model", required_argument, NULL, 'm' },   { "prompt", required_argument, NULL, 'p' },      { "file", required_argument, NULL, 'f' },
        { "greedy", no_argument, NULL, 'g' },        { "seed", required_argument, NULL, 'd' },        { "session", required_argument, NULL, 's' },
        { "policy", required_argument, NULL, 'P' },  { "threads", required_argument, NULL, 't' },     { "stats", no_argument, NULL, 'S' },
        { "gpu-layers", required_argument, NULL, 'G' }, { "kv", required_argument, NULL, 'K' },
        { "device", required_argument, NULL, 'D' },  { "choose", required_argument, NULL, 'c' },      { "temperature", required_argument, NULL, 'T' },
        { "top-k", required_argument, NULL, 'k' },   { "top-p", required_argument, NULL, 'o' },       { "min-p", required_argument, NULL, 'i' },
        { "no-cache", no_argument, NULL, 'N' },      { "set", required_argument, NULL, 'O' },         { "version", no_argument, NULL, 'V' },
        { "help", no_argument, NULL, 'h' },          { "inline", no_argument, NULL, 'l' },            { 0 }
    };
    for (int c; (c = getopt_long(argc, argv, "+C:m:p:n:t:h", options, NULL)) != -1;) {
        int result = parse_option(c, a);
        if (result >= 0)
            return result;
    }
    if (optind != argc)
        return kg_command_misused("", "'%s' is neither a command nor an option", argv[optind]);
    if (a->prompt && a->lines_only)
        return kg_command_misused("", "--inline is about the interface, and -p asks without it");
    if (!a->prompt && (a->file_count || a->stats))
        return kg_command_misused("", "--file and --stats go with a question: -p PROMPT");
    return -1;
}

/* What was chosen, and the root of the repository, "" outside of any. */
static enum kg_status choose(const struct arguments *a, char root[KG_PATH_MAX], struct kg_interface_options *out, struct kg_error *err)
{
    struct kg_session_options session = { .name = a->session };
    if (kg_repo_root(a->repo ? a->repo : ".", root, NULL) != KG_OK)
        root[0] = '\0';
    enum kg_status status = kg_config_load(a->config, root[0] ? root : NULL, err);
    *out = (struct kg_interface_options){ .repository = root[0] ? root : NULL,
                                          .session = a->session,
                                          .max_tokens = (uint32_t)kg_config_number(a->config, KG_OPTION_MAX_TOKENS),
                                          .choose_files = true,
                                          .instructions = kg_config_on(a->config, KG_OPTION_READ_INSTRUCTIONS),
                                          .choose_tokens = (uint32_t)kg_config_number(a->config, KG_OPTION_READ_BUDGET) };
    const char *ahead = kg_config_text(a->config, KG_OPTION_READ_AHEAD);
    out->ahead = strcmp(ahead, "on") == 0 ? KG_AHEAD_ON_MAINS : strcmp(ahead, "always") == 0 ? KG_AHEAD_ALWAYS : KG_AHEAD_NEVER;
    out->again = kg_config_on(a->config, KG_OPTION_READ_AGAIN);
    out->theme = kg_config_text(a->config, KG_OPTION_THEME);
    out->colours = kg_config_colours(a->config);
    out->vi = strcmp(kg_config_text(a->config, KG_OPTION_INPUT_KEYS), "vi") == 0;
    out->lines_only = a->lines_only;
    out->mouse = kg_config_on(a->config, KG_OPTION_MOUSE);
    out->sampling = a->greedy ? kg_sampling_greedy() : kg_config_sampling(a->config);
    if (status == KG_OK)
        status = kg_config_fill(a->config, &out->engine, &session, err);
    out->policy = session.policy;
    out->recall = session.recall;
    out->drafts_off = session.drafts_off;
    return status == KG_OK ? kg_sampling_check(&out->sampling, err) : status;
}

struct output {
    bool *progress_shown;
    bool wrote, newline;
};

static void put_answer(void *ctx, enum kg_text_kind kind, const char *text, size_t length)
{
    struct output *output = ctx;
    if (kind == KG_TEXT_THOUGHT)
        return;
    kg_progress_clear(output->progress_shown);
    kg_put_text(stdout, text, length);
    fflush(stdout);
    output->wrote = true;
    output->newline = text[length - 1] == '\n';
}

/* A file named by hand: beneath the repository by the index's rules, elsewhere as any regular file. */
static enum kg_status add_file(struct kg_session *session, struct kg_index *index, const char *root, const char *path, struct kg_error *err)
{
    char absolute[KG_PATH_MAX], *text = NULL;
    const char *label = path;
    size_t length = 0, root_length = root ? strlen(root) : 0;
    bool secret = false, beneath = false;
    if (!realpath(path, absolute))
        return kg_fail(err, KG_ERR_NOT_FOUND, "cannot open %s: %s", path, strerror(errno));
    if (index && strncmp(absolute, root, root_length) == 0 && absolute[root_length] == '/') {
        beneath = true;
        label = absolute + root_length + 1;
    }
    enum kg_status status = beneath ? kg_index_read(index, label, KG_FILE_MAX, &text, &length, &secret, err)
                                    : kg_read_file(absolute, KG_FILE_MAX, &text, &length, err);
    if (status == KG_OK && !beneath)
        status = kg_utf16_decode(absolute, KG_FILE_MAX, &text, &length, err);
    if (status == KG_OK)
        status = kg_add_file_with_includes(session, beneath ? index : NULL, label, text, length, secret, err);
    free(text);
    return status;
}

struct choosing {
    struct kg_session *session;
    struct kg_index *index;
    enum kg_status status;
    struct kg_error *err;
};

static int add_choice(void *ctx, const struct kg_choice *choice)
{
    struct choosing *choosing = ctx;
    char *text = NULL;
    size_t length;
    bool secret;
    struct kg_error unread;
    if (kg_index_read(choosing->index, choice->path, KG_FILE_MAX, &text, &length, &secret, &unread) != KG_OK)
        return 0; /* gone since it was indexed */
    choosing->status = kg_add_file_with_includes(choosing->session, choosing->index, choice->path, text, length, secret, choosing->err);
    free(text);
    return choosing->status != KG_OK;
}

static enum kg_status add_chosen(struct kg_session *session, struct kg_index *index, const char *question, uint32_t tokens, struct kg_error *err)
{
    struct kg_index_counts counts;
    struct choosing choosing = { .session = session, .index = index, .status = KG_OK, .err = err };
    if (!index)
        return kg_fail(err, KG_ERR_USAGE, "files can be chosen inside a git repository only; name them with --file");
    enum kg_status status = kg_index_refresh(index, NULL, NULL, &counts, err);
    if (status == KG_OK)
        status = kg_link_index(index, &counts, err);
    if (status == KG_OK)
        status = kg_index_choose(index, question, tokens, add_choice, &choosing, err);
    return status == KG_OK ? choosing.status : status;
}

static void print_stats(const struct kg_session *session, const struct kg_engine *engine)
{
    struct kg_counts counts;
    struct kg_engine_facts facts;
    kg_session_counts(session, &counts);
    kg_engine_facts(engine, &facts);
    cJSON *root = cJSON_CreateObject();
    cJSON_AddNumberToObject(root, "prompt_tokens", (double)counts.prompt_tokens);
    cJSON_AddNumberToObject(root, "reused_tokens", (double)counts.reused_tokens);
    cJSON_AddNumberToObject(root, "computed_tokens", (double)counts.computed_tokens);
    cJSON_AddNumberToObject(root, "restored_bytes", (double)counts.restored_bytes);
    cJSON_AddNumberToObject(root, "load_s", facts.load_s);
    cJSON_AddNumberToObject(root, "open_s", counts.open_s);
    cJSON_AddNumberToObject(root, "restore_s", counts.restore_s);
    cJSON_AddNumberToObject(root, "prefill_s", counts.prefill_s);
    cJSON_AddNumberToObject(root, "decode_tokens", (double)counts.decode_tokens);
    cJSON_AddNumberToObject(root, "decode_s", counts.decode_s);
    cJSON_AddNumberToObject(root, "draft_tokens", (double)counts.draft_tokens);
    cJSON_AddNumberToObject(root, "draft_hits", (double)counts.draft_hits);
    cJSON_AddNumberToObject(root, "pss_bytes", (double)kg_pss_bytes());
    char *text = cJSON_PrintUnformatted(root);
    if (text)
        fprintf(stderr, "%s\n", text);
    free(text);
    cJSON_Delete(root);
}

static enum kg_status ask(const struct arguments *a, const struct kg_interface_options *chosen, struct kg_engine *engine, struct kg_session *session,
                          struct kg_index *index, struct output *output, enum kg_end *end, struct kg_error *err)
{
    char *text = NULL;
    size_t length = strlen(a->prompt);
    enum kg_status status = KG_OK;
    if (strcmp(a->prompt, "-") == 0)
        status = kg_read_input("-", KG_FILE_MAX, &text, &length, err);
    const char *question = text ? text : a->prompt;
    if (status == KG_OK && chosen->instructions) {
        const char *path = NULL;
        status = kg_add_instructions(session, index, &path, err);
        if (path && status != KG_OK && status != KG_ERR_CANCELLED) {
            fprintf(stderr, "kedge: %s was not read: %s\n", path, err->text);
            status = KG_OK;
        }
    }
    for (size_t i = 0; i < a->file_count && status == KG_OK; i++)
        status = add_file(session, index, chosen->repository, a->files[i], err);
    if (status == KG_OK && a->choose)
        status = add_chosen(session, index, question, chosen->choose_tokens, err);
    struct kg_question asked = { .text = question, .length = length, .max_tokens = chosen->max_tokens, .sampling = chosen->sampling,
                                 .text_out = put_answer, .ctx = output };
    if (status == KG_OK)
        status = kg_session_ask(session, &asked, end, err);
    if (status == KG_OK && output->wrote && !output->newline)
        putchar('\n');
    if (status == KG_OK && a->stats) {
        kg_progress_clear(output->progress_shown);
        print_stats(session, engine);
    }
    free(text);
    return status;
}

static enum kg_status run_prompt(const struct arguments *a, const struct kg_interface_options *chosen, enum kg_end *end, struct kg_error *err)
{
    bool shown = false;
    struct kg_engine *engine = NULL;
    struct kg_session *session = NULL;
    struct kg_index *index = NULL;
    struct output output = { .progress_shown = &shown };
    struct kg_engine_options options = chosen->engine;
    options.progress = isatty(STDERR_FILENO) ? kg_progress_show : NULL;
    options.ctx = &shown;
    options.behind = true;
    enum kg_status status = chosen->repository ? kg_index_open(chosen->repository, NULL, &index, err) : KG_OK;
    if (status == KG_OK)
        status = kg_engine_open(&options, &engine, err);
    if (status == KG_OK) {
        kg_stop_on_interrupt(engine);
        status = kg_session_open(engine, &(struct kg_session_options){ .name = a->session, .repository = chosen->repository, .policy = chosen->policy,
                                                                       .recall = chosen->recall, .drafts_off = chosen->drafts_off, .unsaved = !a->session }, &session, err);
    }
    if (status == KG_OK)
        status = kg_engine_loaded(engine, err);
    if (status == KG_OK)
        status = ask(a, chosen, engine, session, index, &output, end, err);
    kg_progress_clear(&shown);
    if (engine) {
        struct kg_engine_facts facts;
        kg_engine_facts(engine, &facts);
        if (facts.notice)
            fprintf(stderr, "kedge: %s\n", facts.notice);
        kg_stop_on_interrupt(NULL);
    }
    kg_session_close(session);
    kg_index_close(index);
    kg_engine_close(engine);
    return status;
}

/* The model's file, before -C changes what relative paths mean. */
static enum kg_status find_model(const struct arguments *a, char out[KG_PATH_MAX], struct kg_error *err)
{
    char chosen[KG_PATH_MAX], named[KG_PATH_MAX];
    enum kg_status status = kg_model_path(kg_config_model(a->config, chosen), named, err);
    if (status == KG_OK && !realpath(named, out))
        status = kg_fail(err, KG_ERR_NOT_FOUND, "cannot open %s: %s", named, strerror(errno));
    return status;
}

static enum kg_status run(const struct arguments *a, enum kg_end *end, struct kg_error *err)
{
    char root[KG_PATH_MAX], model[KG_PATH_MAX];
    char program[KG_PATH_MAX];
    const char *notices[KG_CONFIG_NOTICES];
    struct kg_interface_options chosen;
    enum kg_status status = choose(a, root, &chosen, err);
    if (status == KG_OK)
        status = find_model(a, model, err);
    if (status == KG_OK && a->repo && chdir(a->repo) != 0)
        status = kg_fail(err, KG_ERR_USAGE, "cannot enter %s: %s", a->repo, strerror(errno));
    if (status != KG_OK)
        return status;
    chosen.engine.model_path = model;
    ssize_t named = readlink("/proc/self/exe", program, sizeof program - 1);
    program[named > 0 ? named : 0] = '\0';
    chosen.program = named > 0 ? program : NULL;
    chosen.notices = notices;
    for (; chosen.notice_count < kg_config_notices(a->config); chosen.notice_count++)
        notices[chosen.notice_count] = kg_config_notice(a->config, chosen.notice_count);
    if (!a->prompt)
        return kg_interface_run(&chosen, err);
    for (size_t i = 0; i < chosen.notice_count; i++)
        fprintf(stderr, "kedge: %s\n", notices[i]);
    return run_prompt(a, &chosen, end, err);
}

int kg_command_prompt(int argc, char **argv)
{
    struct arguments a = { .config = kg_config_create() };
    struct kg_error err;
    enum kg_end end = KG_END_MODEL;
    if (!a.config) {
        kg_fail_nomem(&err, "reading the configuration");
        return kg_command_failed("", &err);
    }
    int result = parse(argc, argv, &a);
    if (result < 0) {
        result = run(&a, &end, &err) != KG_OK ? kg_command_failed("", &err) : end == KG_END_STOPPED ? KG_EXIT_FAILED : KG_EXIT_OK;
    }
    kg_config_free(a.config);
    return result;
}
