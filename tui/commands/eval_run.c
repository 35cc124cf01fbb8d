#include <cjson/cJSON.h>
#include <getopt.h>
#include <inttypes.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

#include "repo-index/kind.h"
#include "tui/commands/eval.h"
#include "tui/commands/progress.h"

#define CONTEXT_MAX 256
#define REASONS_MAX 16 /* in the table; others are counted together */

struct arguments {
    const char *model, *device, *file, *contexts[CONTEXT_MAX];
    size_t context_count;
    uint64_t threads, limit, max_tokens, seed;
    enum kg_policy policy;
    bool json, bare;
    enum kg_fill_order order;
};

struct run {
    const struct kg_eval_kind *kind;
    const struct arguments *a;
    struct kg_engine *engine;
    struct kg_session *base;
    struct kg_eval_items items;
    size_t asked, done, passed, strictly;
    uint64_t computed, reused, generated; /* tokens */
    struct {
        char text[96];
        size_t count;
    } reasons[REASONS_MAX];
    size_t reason_count;
    bool terminal; /* standard error is one */
    bool bar;      /* something is drawn there */
    bool asking;   /* the bar tells of items now, not of reading */
    double began;
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

static int parse_order(const struct kg_eval_kind *kind, struct arguments *a)
{
    static const char *const names[] = { [KG_FILL_PREFIX_FIRST] = "prefix", [KG_FILL_SUFFIX_FIRST] = "suffix" };
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        if (kind->fills && strcmp(optarg, names[i]) == 0) {
            a->order = (enum kg_fill_order)i;
            return -1;
        }
    return kind->fills ? kg_command_misused("eval", "'%s' is no order; it is suffix or prefix", optarg)
                       : kg_command_misused("eval", "%s has no --order", kind->name);
}

/* -1 to go on, else the exit status. */
static int parse_option(const struct kg_eval_kind *kind, int c, struct arguments *a)
{
    struct kg_error err;
    uint64_t *number = c == 't' ? &a->threads : c == 'l' ? &a->limit : c == 'n' ? &a->max_tokens : &a->seed;
    switch (c) {
    case 'm': a->model = optarg; break;
    case 'D': a->device = optarg; break;
    case 'j': a->json = true; break;
    case 'b': a->bare = true; break;
    case 'o': return parse_order(kind, a);
    case 'c':
        if (a->context_count == CONTEXT_MAX)
            return kg_command_misused("eval", "at most %d files can stand in front", CONTEXT_MAX);
        a->contexts[a->context_count++] = optarg;
        break;
    case 'P':
        if (kg_policy_parse(optarg, &a->policy, &err) != KG_OK)
            return kg_command_failed("eval", &err);
        break;
    case 't':
    case 'l':
    case 'n':
    case 's':
        if (!kg_parse_number(optarg, c == 'l' || c == 'n' ? 1 : 0, c == 's' ? UINT64_MAX : c == 't' ? 1024 : 1 << 24, number))
            return kg_command_misused("eval", "'%s' is no number that this option takes", optarg);
        break;
    case 'h': fputs(kind->help, stdout); return KG_EXIT_OK;
    default: return KG_EXIT_USAGE;
    }
    return -1;
}

static int parse(const struct kg_eval_kind *kind, int argc, char **argv, struct arguments *a)
{
    static const struct option options[] = {
        { "model", required_argument, NULL, 'm' },  { "threads", required_argument, NULL, 't' },    { "limit", required_argument, NULL, 'l' },
        { "policy", required_argument, NULL, 'P' }, { "max-tokens", required_argument, NULL, 'n' }, { "context", required_argument, NULL, 'c' },
        { "device", required_argument, NULL, 'D' }, { "seed", required_argument, NULL, 's' },       { "json", no_argument, NULL, 'j' },
        { "bare", no_argument, NULL, 'b' },         { "order", required_argument, NULL, 'o' },      { "help", no_argument, NULL, 'h' },
        { 0 }
    };
    a->max_tokens = kind->max_tokens;
    a->seed = 1;
    a->policy = KG_POLICY_RECALL;
    for (int c; (c = getopt_long(argc, argv, "m:t:h", options, NULL)) != -1;) {
        int result = parse_option(kind, c, a);
        if (result >= 0)
            return result;
    }
    if (a->bare && !kind->fills)
        return kg_command_misused("eval", "%s has no --bare", kind->name);
    if (a->bare && a->context_count)
        return kg_command_misused("eval", "--bare means that nothing stands in front; leave out --context");
    if (optind + 1 != argc)
        return kg_command_misused("eval", "name one file of items");
    a->file = argv[optind];
    return -1;
}

static void show_reading(void *ctx, const struct kg_progress *progress)
{
    struct run *run = ctx;
    if (run->terminal && !run->asking)
        kg_progress_show(&run->bar, progress);
}

static void show_items(struct run *run)
{
    struct winsize window = { .ws_col = 80 };
    char painted[41], line[256];
    if (!run->terminal)
        return;
    ioctl(STDERR_FILENO, TIOCGWINSZ, &window);
    size_t columns = window.ws_col ? window.ws_col : 80;
    size_t width = columns > 80 ? 40 : 20, full = run->done * width / run->asked;
    for (size_t i = 0; i < width; i++)
        painted[i] = i < full ? '#' : '.';
    painted[width] = '\0';
    unsigned left = run->done ? (unsigned)((now_s() - run->began) / (double)run->done * (double)(run->asked - run->done)) : 0;
    int n = snprintf(line, sizeof line, "%s %s %zu of %zu, %zu passed", run->kind->name, painted, run->done, run->asked, run->passed);
    if (run->done && n > 0 && (size_t)n < sizeof line)
        snprintf(line + n, sizeof line - (size_t)n, ", %u:%02u left", left / 60, left % 60);
    fprintf(stderr, "\r%.*s\033[K", (int)columns - 1, line);
    run->bar = true;
}

static void put_item(const struct run *run, const struct kg_eval_item *item, const struct kg_eval_result *result, double seconds)
{
    char id[256];
    kg_printable(id, sizeof id, item->task_id, strlen(item->task_id));
    cJSON *line = cJSON_CreateObject();
    cJSON_AddStringToObject(line, "task_id", id);
    cJSON_AddBoolToObject(line, "passed", result->passed);
    if (run->kind->strict_share)
        cJSON_AddBoolToObject(line, run->kind->strict_share, result->strictly);
    cJSON_AddStringToObject(line, "reason", result->reason);
    if (result->line[0])
        cJSON_AddStringToObject(line, "line", result->line);
    cJSON_AddNumberToObject(line, "tokens", (double)result->counts.decode_tokens);
    cJSON_AddNumberToObject(line, "seconds", seconds);
    kg_put_json(line);
}

static void count_reason(struct run *run, const char *reason)
{
    size_t i = 0;
    while (i < run->reason_count && strcmp(run->reasons[i].text, reason) != 0)
        i++;
    if (i == REASONS_MAX)
        i = REASONS_MAX - 1;
    if (i == run->reason_count)
        snprintf(run->reasons[run->reason_count++].text, sizeof run->reasons[i].text, "%s", i == REASONS_MAX - 1 ? "others" : reason);
    run->reasons[i].count++;
}

static enum kg_status judge_item(struct run *run, const struct kg_eval_item *item, struct kg_error *err)
{
    struct kg_eval_question question = { .base = run->base, .item = item, .max_tokens = (uint32_t)run->a->max_tokens,
                                         .with_files = run->a->context_count > 0, .bare = run->a->bare, .order = run->a->order, .stop = &stopped };
    struct kg_eval_result result = { 0 };
    double start = now_s();
    enum kg_status status = run->kind->judge(&question, &result, err);
    if (status != KG_OK)
        return status;
    run->done++;
    run->passed += result.passed;
    run->strictly += result.strictly;
    run->computed += result.counts.computed_tokens;
    run->reused += result.counts.reused_tokens;
    run->generated += result.counts.decode_tokens;
    if (!result.passed)
        count_reason(run, result.reason);
    if (run->a->json)
        put_item(run, item, &result, now_s() - start);
    return KG_OK;
}

static enum kg_status judge_all(struct run *run, struct kg_error *err)
{
    enum kg_status status = KG_OK;
    run->asking = true;
    run->began = now_s();
    for (size_t i = 0; i < run->asked && status == KG_OK; i++) {
        show_items(run);
        status = judge_item(run, &run->items.items[kg_eval_spread(i, run->asked, run->items.count)], err);
    }
    kg_progress_clear(&run->bar);
    return status;
}

static enum kg_status add_file(struct kg_session *base, const char *path, struct kg_error *err)
{
    char *text = NULL;
    size_t length;
    enum kg_status status = kg_read_file(path, KG_FILE_MAX, &text, &length, err);
    if (status != KG_OK)
        return status;
    bool secret = kg_kind_by_name(path) == KG_KIND_SECRET ||
                  kg_kind_by_content(path, text, length < KG_KIND_HEAD ? length : KG_KIND_HEAD) == KG_KIND_SECRET;
    status = kg_session_add_file(base, path, text, length, secret, err);
    free(text);
    return status;
}

static enum kg_status open_base(struct run *run, const char *model_path, struct kg_error *err)
{
    const struct arguments *a = run->a;
    struct kg_engine_options options = { .model_path = model_path, .backend = a->device, .threads = (uint32_t)a->threads, .progress = show_reading, .ctx = run };
    enum kg_status status = kg_engine_open(&options, &run->engine, err);
    if (status != KG_OK)
        return status;
    running = run->engine;
    struct sigaction action = { .sa_handler = on_interrupt, .sa_flags = SA_RESETHAND }; /* a second one ends kedge at once */
    sigaction(SIGINT, &action, NULL);
    if (run->kind->check_engine)
        status = run->kind->check_engine(run->engine, err);
    if (status == KG_OK)
        status = kg_session_open(run->engine, &(struct kg_session_options){ .policy = a->policy, .unsaved = true }, &run->base, err);
    for (size_t i = 0; i < a->context_count && status == KG_OK; i++)
        status = add_file(run->base, a->contexts[i], err);
    return status;
}

static void put_summary(const struct run *run, const struct kg_counts *front, double low, double high, double seconds)
{
    struct kg_engine_facts facts;
    double total = (double)run->done;
    kg_engine_facts(run->engine, &facts);
    cJSON *line = cJSON_CreateObject();
    cJSON_AddNumberToObject(line, run->kind->share, (double)run->passed / total);
    if (run->kind->strict_share)
        cJSON_AddNumberToObject(line, run->kind->strict_share, (double)run->strictly / total);
    cJSON_AddNumberToObject(line, "passed", (double)run->passed);
    cJSON_AddNumberToObject(line, "total", total);
    cJSON_AddNumberToObject(line, "low", low);
    cJSON_AddNumberToObject(line, "high", high);
    cJSON_AddNumberToObject(line, "seconds", seconds);
    cJSON_AddNumberToObject(line, "context_tokens", front->context_tokens);
    cJSON_AddNumberToObject(line, "reused_tokens", (double)run->reused);
    cJSON_AddNumberToObject(line, "computed_tokens", (double)run->computed);
    cJSON_AddNumberToObject(line, "generated_tokens", (double)run->generated);
    cJSON_AddStringToObject(line, "model", facts.model);
    cJSON_AddStringToObject(line, "policy", kg_policy_name(run->a->policy));
    kg_put_json(line);
}

static void print_table(const struct run *run, const struct kg_counts *front, double low, double high, double seconds)
{
    struct kg_engine_facts facts;
    double total = (double)run->done;
    kg_engine_facts(run->engine, &facts);
    printf("%-17s %.3f   %zu of %zu, 95 %% interval %.3f to %.3f\n", run->kind->share, (double)run->passed / total, run->passed, run->done, low, high);
    if (run->kind->strict_share)
        printf("%-17s %.3f   %zu of %zu\n", run->kind->strict_share, (double)run->strictly / total, run->strictly, run->done);
    for (size_t i = 0; i < run->reason_count; i++)
        printf("%-17s %5zu   %s\n", i ? "" : "failed", run->reasons[i].count, run->reasons[i].text);
    printf("%-17s %s, policy %s\n", "model", facts.model, kg_policy_name(run->a->policy));
    printf("%-17s %" PRIu32 " in front, %" PRIu64 " reused, %" PRIu64 " computed, %" PRIu64 " generated\n", "tokens", front->context_tokens, run->reused,
           run->computed, run->generated);
    printf("%-17s %.1f\n", "seconds", seconds);
}

static enum kg_status evaluate(struct run *run, struct kg_error *err)
{
    char path[KG_PATH_MAX];
    double start = now_s(), low, high;
    enum kg_status status = kg_eval_items_read(run->a->file, run->kind->needed, &run->items, err);
    if (status == KG_OK && run->kind->check)
        status = run->kind->check(err);
    if (status == KG_OK)
        status = kg_model_path(run->a->model, path, err);
    if (status == KG_OK)
        status = open_base(run, path, err);
    if (status != KG_OK)
        return status;
    run->asked = run->a->limit && run->a->limit < run->items.count ? run->a->limit : run->items.count;
    status = judge_all(run, err);
    if (status == KG_ERR_CANCELLED || (status == KG_OK && atomic_load(&stopped)))
        return kg_fail(err, KG_ERR_CANCELLED, "stopped after %zu of %zu items", run->done, run->asked);
    if (status != KG_OK)
        return status;
    struct kg_counts front;
    kg_session_counts(run->base, &front);
    kg_eval_interval(run->passed, run->done, run->a->seed, &low, &high);
    (run->a->json ? put_summary : print_table)(run, &front, low, high, now_s() - start);
    return KG_OK;
}

int kg_eval_run(const struct kg_eval_kind *kind, int argc, char **argv)
{
    struct arguments a = { 0 };
    struct kg_error err;
    int result = parse(kind, argc, argv, &a);
    if (result >= 0)
        return result;
    struct run run = { .kind = kind, .a = &a, .terminal = isatty(STDERR_FILENO) };
    enum kg_status status = evaluate(&run, &err);
    kg_progress_clear(&run.bar);
    running = NULL;
    kg_session_close(run.base);
    kg_engine_close(run.engine);
    kg_eval_items_free(&run.items);
    return status == KG_OK ? KG_EXIT_OK : kg_command_failed("eval", &err);
}
