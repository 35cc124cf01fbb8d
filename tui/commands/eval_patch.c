/* kedge eval patch: ways of reading a file again after an edit, measured on old and new texts. */
#include <cjson/cJSON.h>
#include <getopt.h>
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "engine/eval/patch.h"
#include "tui/commands/command.h"
#include "tui/commands/eval_patch.h"
#include "tui/commands/progress.h"

static const char help[] =
    "usage: kedge eval patch [-m MODEL] [option]... OLD NEW [OLD NEW]...\n"
    "\n"
    "Reads each OLD file, then its NEW text: as one (whole), and with what OLD has in common with it kept as it was read: what\n"
    "changed is read in sight of nothing (apart), of what stands before it (keep), or with whole definitions (definition); with\n"
    "a share of the kept pages behind read again, the most changed ones first. Prints what share of the benefit of context the\n"
    "text that follows still has (cbr; whole = 1), and how many tokens were read.\n"
    "\n"
    "  -m, --model MODEL    a catalogue name or a .gguf file\n"
    "      --percent N,...  of kept pages that are read again, for keep (0,10,30)\n"
    "      --tokens N       of context; what follows is the target (3072)\n"
    "      --target N       tokens of the target (384)\n"
    "      --seed S         of intervals (1)\n"
    "      --json           one object a row instead of a table\n"
    "  -t, --threads N      default: all that the process may use\n"
    "      --device NAME    cpu, cuda, cuda:N or ref (plain double precision, slow)\n";

#define RULES_MAX 16

struct arguments {
    const char *model, *device;
    struct kg_patch_options options;
    struct kg_patch_rule rules[RULES_MAX];
    size_t rule_count;
    uint64_t threads, seed;
    bool json;
};

struct study {
    const struct arguments *arguments;
    struct kg_engine *engine;
    char **paths; /* old, new, old, new, ... */
    size_t count; /* of pairs */
    struct kg_cbr_result **results;
    uint32_t (*reread)[RULES_MAX];
    bool shown; /* progress stands on the terminal's line */
};

static int parse_percent(const char *text, struct arguments *a)
{
    char *copy = strdup(text), *rest = copy;
    int result = copy ? -1 : kg_command_misused("eval patch", "out of memory");
    a->rule_count = 2; /* apart and definition come first */
    for (char *item; result < 0 && (item = strsep(&rest, ","));) {
        uint64_t percent;
        if (a->rule_count == RULES_MAX || !kg_parse_number(item, 0, 100, &percent))
            result = kg_command_misused("eval patch", "'%s' is no list of at most %d numbers from 0 to 100", text, RULES_MAX - 2);
        else
            a->rules[a->rule_count++] = (struct kg_patch_rule){ KG_PATCH_KEEP, (uint32_t)percent };
    }
    free(copy);
    return result;
}

static int parse_number(const char *text, uint64_t least, uint64_t most, uint64_t *out)
{
    if (kg_parse_number(text, least, most, out))
        return -1;
    return kg_command_misused("eval patch", "'%s' is no number from %" PRIu64 " to %" PRIu64, text, least, most);
}

enum { PERCENT = 256, TOKENS, TARGET, SEED, JSON, DEVICE };

/* -1 to go on, else the exit status. */
static int parse_option(int c, struct arguments *a)
{
    uint64_t number = 0;
    int result = -1;
    switch (c) {
    case 'm': a->model = optarg; break;
    case DEVICE: a->device = optarg; break;
    case JSON: a->json = true; break;
    case PERCENT: result = parse_percent(optarg, a); break;
    case SEED: result = parse_number(optarg, 0, UINT64_MAX, &a->seed); break;
    case 't': result = parse_number(optarg, 0, 1024, &a->threads); break;
    case TOKENS:
        result = parse_number(optarg, 64, KG_PATCH_TOKENS, &number);
        a->options.tokens = (uint32_t)number;
        break;
    default:
        result = parse_number(optarg, 1, KG_PATCH_TOKENS, &number);
        a->options.target = (uint32_t)number;
    }
    return result;
}

static int parse(int argc, char **argv, struct arguments *a)
{
    static const struct option options[] = {
        { "model", required_argument, NULL, 'm' },     { "percent", required_argument, NULL, PERCENT }, { "tokens", required_argument, NULL, TOKENS },
        { "target", required_argument, NULL, TARGET }, { "seed", required_argument, NULL, SEED },       { "json", no_argument, NULL, JSON },
        { "threads", required_argument, NULL, 't' },   { "device", required_argument, NULL, DEVICE },   { "help", no_argument, NULL, 'h' },
        { 0 }
    };
    *a = (struct arguments){ .options = { .tokens = 3072, .target = 384 }, .seed = 1,
                             .rules = { { KG_PATCH_APART, 0 }, { KG_PATCH_DEFINITION, 0 }, { KG_PATCH_KEEP, 0 }, { KG_PATCH_KEEP, 10 }, { KG_PATCH_KEEP, 30 } },
                             .rule_count = 5 };
    for (int c; (c = getopt_long(argc, argv, "m:t:h", options, NULL)) != -1;) {
        if (c == 'h') {
            fputs(help, stdout);
            return KG_EXIT_OK;
        }
        int result = c == '?' ? KG_EXIT_USAGE : parse_option(c, a);
        if (result >= 0)
            return result;
    }
    if (optind == argc || (argc - optind) % 2)
        return kg_command_misused("eval patch", "give files in pairs: OLD NEW");
    return -1;
}

static void print_object(const char *text, const struct kg_patch_rule *rule, const struct kg_cbr_summary *s, uint64_t reread)
{
    cJSON *object = cJSON_CreateObject();
    cJSON_AddStringToObject(object, "text", text);
    cJSON_AddStringToObject(object, "read", kg_patch_read_name(rule->read));
    cJSON_AddNumberToObject(object, "percent", rule->percent);
    cJSON_AddNumberToObject(object, "context", (double)s->context);
    cJSON_AddNumberToObject(object, "reread", (double)reread);
    cJSON_AddNumberToObject(object, "target", (double)s->target);
    cJSON_AddNumberToObject(object, "nll", s->nll);
    cJSON_AddNumberToObject(object, "nll_whole", s->nll_full);
    cJSON_AddNumberToObject(object, "nll_window", s->nll_window);
    cJSON_AddNumberToObject(object, "cbr", s->cbr.value); /* null where it is no number */
    cJSON_AddNumberToObject(object, "cbr_low", s->cbr.low);
    cJSON_AddNumberToObject(object, "cbr_high", s->cbr.high);
    char *line = cJSON_PrintUnformatted(object);
    if (line)
        puts(line);
    free(line);
    cJSON_Delete(object);
}

static void print_rows(const struct study *study, size_t first, size_t count, const char *text)
{
    const struct arguments *a = study->arguments;
    char shown[64];
    const size_t length = strlen(text), from = length > 30 ? length - 30 : 0;
    kg_printable(shown, sizeof shown, text + from, length - from);
    for (size_t r = 0; r < a->rule_count; r++) {
        struct kg_cbr_summary summary;
        uint64_t reread = 0;
        kg_cbr_summarise(study->results + first, count, r, a->seed, &summary);
        for (size_t i = first; i < first + count; i++)
            reread += study->reread[i][r];
        if (a->json) {
            print_object(text, &a->rules[r], &summary, reread);
            continue;
        }
        printf("%-30s %-10s %3u %% %7" PRIu64 " %7" PRIu64 " %8.4f %8.4f %7.3f %7.3f %7.3f\n", shown, kg_patch_read_name(a->rules[r].read),
               a->rules[r].percent, summary.context, reread, summary.nll, summary.nll_full, summary.cbr.value, summary.cbr.low, summary.cbr.high);
    }
    fflush(stdout);
}

static enum kg_status measure_pair(struct study *study, size_t pair, struct kg_error *err)
{
    const struct arguments *a = study->arguments;
    char *texts[2] = { NULL, NULL };
    size_t lengths[2] = { 0, 0 };
    enum kg_status status = KG_OK;
    for (size_t i = 0; i < 2 && status == KG_OK; i++)
        status = kg_read_file(study->paths[2 * pair + i], KG_FILE_MAX, &texts[i], &lengths[i], err);
    if (status == KG_OK)
        status = kg_patch_measure(study->engine,
                                  &(struct kg_patch_text){ .path = study->paths[2 * pair + 1], .before = texts[0], .after = texts[1],
                                                           .before_length = lengths[0], .after_length = lengths[1] },
                                  &a->options, a->rules, a->rule_count, &study->results[pair], study->reread[pair], err);
    free(texts[0]);
    free(texts[1]);
    return status;
}

static enum kg_status measure_pairs(struct study *study, struct kg_error *err)
{
    enum kg_status status = KG_OK;
    if (!study->arguments->json)
        printf("%-30s %-10s %5s %7s %7s %8s %8s %7s %7s %7s\n", "text", "read", "again", "context", "read", "nll", "whole", "cbr", "low", "high");
    for (size_t i = 0; i < study->count && status == KG_OK; i++) {
        status = measure_pair(study, i, err);
        if (status == KG_OK)
            print_rows(study, i, 1, study->paths[2 * i + 1]);
    }
    if (status == KG_OK && study->count > 1)
        print_rows(study, 0, study->count, "all");
    return status;
}

static enum kg_status run_study(struct study *study, struct kg_error *err)
{
    const struct arguments *a = study->arguments;
    char path[KG_PATH_MAX];
    struct kg_engine_options options = { .model_path = path, .backend = a->device, .threads = (uint32_t)a->threads, .cache_off = true,
                                         .ctx = &study->shown, .progress = isatty(STDERR_FILENO) ? kg_progress_show : NULL };
    study->results = calloc(study->count, sizeof(struct kg_cbr_result *));
    study->reread = calloc(study->count, sizeof *study->reread);
    enum kg_status status = study->results && study->reread ? kg_model_path(a->model, path, err) : kg_fail_nomem(err, "measuring edits");
    if (status == KG_OK)
        status = kg_engine_open(&options, &study->engine, err);
    kg_progress_clear(&study->shown);
    if (status == KG_OK) {
        kg_stop_on_interrupt(study->engine);
        status = measure_pairs(study, err);
        kg_stop_on_interrupt(NULL);
    }
    for (size_t i = 0; study->results && i < study->count; i++)
        kg_cbr_result_free(study->results[i]);
    free(study->results);
    free(study->reread);
    kg_engine_close(study->engine);
    return status;
}

int kg_command_eval_patch(int argc, char **argv)
{
    struct arguments arguments;
    struct kg_error err;
    int result = parse(argc, argv, &arguments);
    if (result >= 0)
        return result;
    struct study study = { .arguments = &arguments, .paths = argv + optind, .count = (size_t)(argc - optind) / 2 };
    enum kg_status status = run_study(&study, &err);
    return status == KG_OK ? KG_EXIT_OK : kg_command_failed("eval patch", &err);
}
