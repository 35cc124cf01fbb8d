/* kedge eval cbr: ways of reading a context and of looking at it, measured on source files. */
#include <getopt.h>
#include <inttypes.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tui/commands/command.h"
#include "tui/commands/eval_cbr.h"

static const char help[] =
    "usage: kedge eval cbr [-m MODEL] [--read RULES --look RULES | --policy NAME] [option]... FILE...\n"
    "       kedge eval cbr [-m MODEL] [option]... --texts LIST\n"
    "\n"
    "The last FILE's end is the target, everything before it is context. Prints how likely the target is, how much of the\n"
    "benefit of context that keeps (cbr), of the benefit of other files (cross-cbr), how many planted constants and which share\n"
    "of declared parameter lists are told right, each beside its value under full attention, with keys and values of the same\n"
    "type; and what a token reads.\n"
    "\n"
    "  -m, --model MODEL    a catalogue name or a .gguf file\n"
    "      --read RULES     alone, linked, chain, anchors; several with commas (linked)\n"
    "      --look RULES     all, recall, anchors; several with commas (recall)\n"
    "      --policy NAME    instead of both: full, alone, recall or anchor\n"
    "  -k N,...             tokens that are recalled (576)\n"
    "  -w N,...             tokens of the window (64)\n"
    "      --bits B,...     of a number in the key index: 1, 2, 4 (2)\n"
    "      --kv TYPE        what keys and values are kept as: f16 (the default) or q8_0\n"
    "      --tokens N       of context, to which files are cut (8192)\n"
    "      --target N       tokens of the target (384)\n"
    "      --constants N    planted and asked for in each text (12)\n"
    "      --prototypes N   parameter lists asked for in each text (20)\n"
    "      --seed S         of constants, choice and intervals (1)\n"
    "      --chat           as a conversation instead of plain text\n"
    "      --texts LIST     a file of texts: one a line, its files with spaces between; # begins a comment\n"
    "      --json           one object a row instead of a table\n"
    "  -t, --threads N      default: all that the process may use\n"
    "      --device NAME    cpu, cuda, cuda:N or ref (plain double precision, slow)\n";

#define LIST_MAX  16   /* values of one option */
#define RULES_MAX 256
#define FILES_MAX 64   /* of a text */
#define TEXTS_MAX 1024

struct numbers {
    uint32_t values[LIST_MAX];
    size_t count;
};

struct arguments {
    const char *model, *device, *texts, *kv;
    enum kg_cbr_read reads[LIST_MAX];
    enum kg_cbr_look looks[LIST_MAX];
    size_t read_count, look_count;
    struct numbers k, window, bits;
    struct kg_cbr_options options;
    uint64_t threads;
    bool json;
};

/* One text: its files. What stands in a list names them in their headings, behind the list's folder. */
struct named {
    char *files[FILES_MAX];
    const char *names[FILES_MAX];
    size_t count;
};

struct study {
    const struct arguments *arguments;
    struct named *texts;
    size_t text_count;
    struct kg_cbr_rule rules[RULES_MAX];
    size_t rule_count;
    size_t done; /* texts */
    bool shown;  /* progress stands on the terminal's line */
};

static struct kg_engine *running;

static void on_interrupt(int number)
{
    (void)number;
    if (running)
        kg_engine_stop(running);
}

static enum kg_status parse_numbers(const char *text, uint64_t least, uint64_t most, struct numbers *out, struct kg_error *err)
{
    char *copy = strdup(text), *rest = copy;
    enum kg_status status = copy ? KG_OK : kg_fail_nomem(err, "reading options");
    out->count = 0;
    for (char *item; status == KG_OK && (item = strsep(&rest, ","));) {
        uint64_t number;
        if (out->count == LIST_MAX || !kg_parse_number(item, least, most, &number))
            status = kg_fail(err, KG_ERR_USAGE, "'%s' is no list of at most %d numbers from %" PRIu64 " to %" PRIu64, text, LIST_MAX, least, most);
        else
            out->values[out->count++] = (uint32_t)number;
    }
    free(copy);
    return status;
}

static enum kg_status parse_rules(const char *text, bool read, struct arguments *a, struct kg_error *err)
{
    char *copy = strdup(text), *rest = copy;
    enum kg_status status = copy ? KG_OK : kg_fail_nomem(err, "reading options");
    size_t *count = read ? &a->read_count : &a->look_count;
    *count = 0;
    for (char *item; status == KG_OK && (item = strsep(&rest, ","));) {
        if (*count == LIST_MAX)
            status = kg_fail(err, KG_ERR_USAGE, "'%s' names more than %d rules", text, LIST_MAX);
        else if (read)
            status = kg_cbr_read_parse(item, &a->reads[(*count)++], err);
        else
            status = kg_cbr_look_parse(item, &a->looks[(*count)++], err);
    }
    free(copy);
    return status;
}

static enum kg_status parse_policy(const char *name, struct arguments *a, struct kg_error *err)
{
    static const struct {
        const char *name;
        enum kg_cbr_read read;
        enum kg_cbr_look look;
    } policies[] = {
        { "full", KG_CBR_CHAIN, KG_CBR_ALL },
        { "alone", KG_CBR_ALONE, KG_CBR_ALL },
        { "recall", KG_CBR_LINKED, KG_CBR_RECALL },
        { "anchor", KG_CBR_ANCHORS, KG_CBR_LINES },
    };
    for (size_t i = 0; i < sizeof policies / sizeof *policies; i++)
        if (strcmp(name, policies[i].name) == 0) {
            a->reads[0] = policies[i].read;
            a->looks[0] = policies[i].look;
            a->read_count = a->look_count = 1;
            return KG_OK;
        }
    return kg_fail(err, KG_ERR_USAGE, "there is no policy '%s'; use full, alone, recall or anchor", name);
}

static enum kg_status parse_one(const char *text, uint64_t least, uint64_t most, uint64_t *out, struct kg_error *err)
{
    if (kg_parse_number(text, least, most, out))
        return KG_OK;
    return kg_fail(err, KG_ERR_USAGE, "'%s' is no number from %" PRIu64 " to %" PRIu64, text, least, most);
}

/* For numbers that fit into 32 bits. */
static enum kg_status parse_small(const char *text, uint64_t least, uint64_t most, uint32_t *out, struct kg_error *err)
{
    uint64_t number = *out;
    enum kg_status status = parse_one(text, least, most, &number, err);
    *out = (uint32_t)number;
    return status;
}

enum { READ = 256, LOOK, POLICY, BITS, TOKENS, TARGET, CONSTANTS, PROTOTYPES, SEED, CHAT, TEXTS, JSON, DEVICE, KV };

static enum kg_status parse_option(int c, struct arguments *a, struct kg_error *err)
{
    switch (c) {
    case 'm': a->model = optarg; return KG_OK;
    case DEVICE: a->device = optarg; return KG_OK;
    case TEXTS: a->texts = optarg; return KG_OK;
    case KV: a->kv = optarg; return KG_OK;
    case CHAT: a->options.chat = true; return KG_OK;
    case JSON: a->json = true; return KG_OK;
    case READ: return parse_rules(optarg, true, a, err);
    case LOOK: return parse_rules(optarg, false, a, err);
    case POLICY: return parse_policy(optarg, a, err);
    case 'k': return parse_numbers(optarg, 1, KG_CBR_K_MAX, &a->k, err);
    case 'w': return parse_numbers(optarg, KG_CBR_WINDOW_MIN, 1 << 20, &a->window, err);
    case BITS: return parse_numbers(optarg, 1, 4, &a->bits, err);
    case TOKENS: return parse_small(optarg, 64, 1 << 24, &a->options.tokens, err);
    case TARGET: return parse_small(optarg, 1, 1 << 20, &a->options.target, err);
    case CONSTANTS: return parse_small(optarg, 0, 1000, &a->options.constants, err);
    case PROTOTYPES: return parse_small(optarg, 0, 1000, &a->options.prototypes, err);
    case SEED: return parse_one(optarg, 0, UINT64_MAX, &a->options.seed, err);
    default: return parse_one(optarg, 0, 1024, &a->threads, err);
    }
}

/* -1 to go on, else the exit status. */
static int parse(int argc, char **argv, struct arguments *a)
{
    static const struct option options[] = {
        { "model", required_argument, NULL, 'm' },       { "read", required_argument, NULL, READ },
        { "look", required_argument, NULL, LOOK },       { "policy", required_argument, NULL, POLICY },
        { "bits", required_argument, NULL, BITS },       { "tokens", required_argument, NULL, TOKENS },
        { "target", required_argument, NULL, TARGET },   { "constants", required_argument, NULL, CONSTANTS },
        { "seed", required_argument, NULL, SEED },       { "prototypes", required_argument, NULL, PROTOTYPES },
        { "chat", no_argument, NULL, CHAT },             { "texts", required_argument, NULL, TEXTS },
        { "json", no_argument, NULL, JSON },             { "threads", required_argument, NULL, 't' },
        { "device", required_argument, NULL, DEVICE },   { "kv", required_argument, NULL, KV },
        { "help", no_argument, NULL, 'h' },              { 0 }
    };
    struct kg_error err;
    bool rules = false, policy = false;
    *a = (struct arguments){ .kv = "f16", .reads = { KG_CBR_LINKED }, .looks = { KG_CBR_RECALL }, .read_count = 1, .look_count = 1,
                             .k = { { KG_RECALL_K }, 1 }, .window = { { KG_RECALL_WINDOW }, 1 }, .bits = { { KG_INDEX_BITS }, 1 },
                             .options = { .tokens = 8192, .target = 384, .constants = 12, .prototypes = 20, .seed = 1 } };
    for (int c; (c = getopt_long(argc, argv, "m:k:w:t:h", options, NULL)) != -1;) {
        if (c == 'h') {
            fputs(help, stdout);
            return KG_EXIT_OK;
        }
        if (c == '?')
            return KG_EXIT_USAGE;
        rules = rules || c == READ || c == LOOK;
        policy = policy || c == POLICY;
        if (parse_option(c, a, &err) != KG_OK)
            return kg_command_misused("eval cbr", "%s", err.text);
    }
    if (rules && policy)
        return kg_command_misused("eval cbr", "--policy stands for --read and --look; give one or the others");
    if (!a->texts == (optind == argc))
        return kg_command_misused("eval cbr", "give either FILE... or --texts LIST");
    for (size_t i = 0; i < a->bits.count; i++)
        if (a->bits.values[i] == 3)
            return kg_command_misused("eval cbr", "--bits are 1, 2 or 4");
    return -1;
}

/* Every combination that gives something else. */
static void combine(struct study *study, size_t read, size_t look, bool again)
{
    const struct arguments *a = study->arguments;
    struct kg_cbr_rule rule = { .read = a->reads[read], .look = a->looks[look] };
    const size_t windows = kg_cbr_uses_window(&rule) ? a->window.count : 1, ks = kg_cbr_uses_k(&rule) ? a->k.count : 1;
    for (size_t w = 0; w < windows; w++)
        for (size_t k = 0; k < ks && study->rule_count < RULES_MAX; k++) {
            rule.window = a->window.values[w];
            rule.k = a->k.values[k];
            if (!again || kg_cbr_uses_k(&rule))
                study->rules[study->rule_count++] = rule;
        }
}

/* again: rows without an index were printed with other bits already. */
static void make_rules(struct study *study, bool again)
{
    const struct arguments *a = study->arguments;
    study->rule_count = 0;
    for (size_t r = 0; r < a->read_count; r++)
        for (size_t l = 0; l < a->look_count; l++)
            combine(study, r, l, again);
}

static enum kg_status add_name(struct named *text, const char *folder, size_t folder_length, const char *name, struct kg_error *err)
{
    if (text->count == FILES_MAX)
        return kg_fail(err, KG_ERR_RANGE, "a text has more than %d files; leave some out", FILES_MAX);
    if (*name == '/')
        folder_length = 0;
    char *path = malloc(folder_length + strlen(name) + 1);
    if (!path)
        return kg_fail_nomem(err, "reading a list of texts");
    memcpy(path, folder, folder_length);
    strcpy(path + folder_length, name);
    text->files[text->count] = path;
    text->names[text->count++] = path + folder_length;
    return KG_OK;
}

static enum kg_status add_line(struct study *study, char *line, const char *folder, size_t folder_length, struct kg_error *err)
{
    enum kg_status status = KG_OK;
    line[strcspn(line, "#\r")] = '\0';
    struct named *text = &study->texts[study->text_count];
    for (char *name; status == KG_OK && (name = strsep(&line, " \t"));) {
        if (!*name)
            continue;
        if (study->text_count == TEXTS_MAX)
            return kg_fail(err, KG_ERR_RANGE, "the list has more than %d texts; cut it in two", TEXTS_MAX);
        status = add_name(text, folder, folder_length, name, err);
    }
    study->text_count += text->count > 0;
    return status;
}

/* Names are relative to the list's own folder. */
static enum kg_status read_list(struct study *study, const char *path, struct kg_error *err)
{
    char *list = NULL, *rest;
    size_t length;
    const char *slash = strrchr(path, '/');
    enum kg_status status = kg_read_file(path, 1 << 20, &list, &length, err);
    rest = list;
    for (char *line; status == KG_OK && (line = strsep(&rest, "\n"));)
        status = add_line(study, line, path, slash ? (size_t)(slash - path) + 1 : 0, err);
    free(list);
    if (status == KG_OK && study->text_count == 0)
        return kg_fail(err, KG_ERR_FORMAT, "%s names no text", path);
    return status;
}

static enum kg_status name_texts(struct study *study, int argc, char **argv, struct kg_error *err)
{
    study->texts = calloc(TEXTS_MAX + 1, sizeof *study->texts);
    if (!study->texts)
        return kg_fail_nomem(err, "preparing texts");
    if (study->arguments->texts)
        return read_list(study, study->arguments->texts, err);
    enum kg_status status = KG_OK;
    study->text_count = 1;
    for (int i = optind; i < argc && status == KG_OK; i++)
        status = add_name(&study->texts[0], "", 0, argv[i], err);
    return status;
}

static void show_progress(void *ctx, const struct kg_progress *now)
{
    static const char *const verbs[] = { "checking", "loading", "restoring", "reading", "saving" };
    enum { CELLS = 24 };
    struct study *study = ctx;
    char what[128], bar[CELLS + 1];
    const bool bytes = now->stage == KG_STAGE_CHECKING || now->stage == KG_STAGE_LOADING;
    const size_t length = strlen(now->what), from = length > 40 ? length - 40 : 0;
    const size_t cells = now->total ? (size_t)(now->done * CELLS / now->total) : 0;
    kg_printable(what, sizeof what, now->what + from, length - from);
    for (size_t i = 0; i < CELLS; i++)
        bar[i] = i < cells ? '#' : '.';
    bar[CELLS] = '\0';
    fprintf(stderr, "\r\033[K%s %s [%s] %" PRIu64 " of %" PRIu64 "%s", verbs[now->stage], what, bar, bytes ? now->done >> 20 : now->done,
            bytes ? now->total >> 20 : now->total, bytes ? " MiB" : " tokens");
    study->shown = true;
}

static void clear_progress(struct study *study)
{
    if (study->shown)
        fputs("\r\033[K", stderr);
    study->shown = false;
}

static void tell_used(struct study *study, const struct kg_cbr_text *text)
{
    clear_progress(study);
    for (size_t i = 0; i < kg_cbr_text_files(text); i++) {
        struct kg_cbr_used used = kg_cbr_text_used(text, i);
        char path[512];
        kg_printable(path, sizeof path, used.path, strlen(used.path));
        fprintf(stderr, "%7u of %7u tokens  %s\n", used.used, used.whole, path);
    }
}

static enum kg_status measure_text(struct study *study, struct kg_engine *engine, const struct named *named, struct kg_cbr_result **out,
                                   struct kg_error *err)
{
    struct kg_cbr_file files[FILES_MAX];
    char *texts[FILES_MAX] = { NULL };
    struct kg_cbr_text *text = NULL;
    enum kg_status status = KG_OK;
    for (size_t i = 0; i < named->count && status == KG_OK; i++) {
        files[i].path = named->names[i];
        status = kg_read_file(named->files[i], KG_FILE_MAX, &texts[i], &files[i].length, err);
        files[i].text = texts[i];
    }
    if (status == KG_OK)
        status = kg_cbr_text_create(engine, files, named->count, &study->arguments->options, &text, err);
    for (size_t i = 0; i < named->count; i++)
        free(texts[i]);
    if (status == KG_OK) {
        tell_used(study, text);
        status = kg_cbr_measure(engine, text, study->rules, study->rule_count, out, err);
    }
    kg_cbr_text_free(text);
    clear_progress(study);
    return status;
}

static void print_rows(const struct study *study, struct kg_cbr_result *const *results, size_t count, const char *name, const char *model, uint32_t bits)
{
    const struct arguments *a = study->arguments;
    for (size_t i = 0; i < study->rule_count; i++) {
        struct kg_cbr_line line = { .text = name, .model = model, .kv = a->kv, .texts = count, .bits = bits, .rule = study->rules[i], .chat = a->options.chat,
                                    .seed = a->options.seed };
        kg_cbr_summarise(results, count, i, a->options.seed, &line.summary);
        if (a->json)
            kg_cbr_print_object(&line);
        else
            kg_cbr_print_row(&line);
    }
}

static enum kg_status measure_texts(struct study *study, struct kg_engine *engine, uint32_t bits, struct kg_error *err)
{
    struct kg_engine_facts facts;
    struct kg_cbr_result **results = calloc(study->text_count, sizeof(struct kg_cbr_result *));
    if (!results)
        return kg_fail_nomem(err, "measuring texts");
    kg_engine_facts(engine, &facts);
    enum kg_status status = KG_OK;
    for (size_t i = 0; i < study->text_count && status == KG_OK; i++) {
        const struct named *text = &study->texts[i];
        status = measure_text(study, engine, text, &results[i], err);
        if (status == KG_OK)
            print_rows(study, &results[i], 1, text->names[text->count - 1], facts.model, bits);
        study->done += status == KG_OK;
    }
    if (status == KG_OK && study->text_count > 1)
        print_rows(study, results, study->text_count, "all", facts.model, bits);
    for (size_t i = 0; i < study->text_count; i++)
        kg_cbr_result_free(results[i]);
    free(results);
    return status;
}

static enum kg_status run_with_bits(struct study *study, const char *model, uint32_t bits, struct kg_error *err)
{
    const struct arguments *a = study->arguments;
    struct kg_engine *engine = NULL;
    struct kg_engine_options options = { .model_path = model, .backend = a->device, .threads = (uint32_t)a->threads, .cache_off = true,
                                         .index_bits = bits, .kv = a->kv, .ctx = study, .progress = isatty(STDERR_FILENO) ? show_progress : NULL };
    const struct sigaction stop = { .sa_handler = on_interrupt, .sa_flags = SA_RESETHAND }; /* a second one ends kedge at once */
    struct sigaction before;
    enum kg_status status = kg_engine_open(&options, &engine, err);
    clear_progress(study);
    if (status != KG_OK)
        return status;
    running = engine;
    sigaction(SIGINT, &stop, &before);
    status = measure_texts(study, engine, bits, err);
    sigaction(SIGINT, &before, NULL);
    running = NULL;
    kg_engine_close(engine);
    return status;
}

static enum kg_status run_study(struct study *study, struct kg_error *err)
{
    const struct arguments *a = study->arguments;
    char path[KG_PATH_MAX];
    enum kg_status status = kg_model_path(a->model, path, err);
    if (status == KG_OK && !a->json)
        kg_cbr_print_head();
    for (size_t i = 0; i < a->bits.count && status == KG_OK; i++) {
        make_rules(study, i > 0);
        if (study->rule_count)
            status = run_with_bits(study, path, a->bits.values[i], err);
    }
    if (status == KG_ERR_CANCELLED)
        return kg_fail(err, status, "stopped after %zu of %zu texts", study->done, a->bits.count * study->text_count);
    return status;
}

int kg_command_eval_cbr(int argc, char **argv)
{
    struct arguments arguments;
    struct study study = { .arguments = &arguments };
    struct kg_error err;
    int result = parse(argc, argv, &arguments);
    if (result >= 0)
        return result;
    enum kg_status status = name_texts(&study, argc, argv, &err);
    if (status == KG_OK)
        status = run_study(&study, &err);
    clear_progress(&study);
    for (size_t i = 0; study.texts && i < study.text_count; i++)
        for (size_t k = 0; k < study.texts[i].count; k++)
            free(study.texts[i].files[k]);
    free(study.texts);
    return status == KG_OK ? KG_EXIT_OK : kg_command_failed("eval cbr", &err);
}
