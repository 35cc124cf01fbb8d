#include <cjson/cJSON.h>
#include <getopt.h>
#include <stdlib.h>

#include "tui/commands/command.h"

static const char help[] =
    "usage: kedge bench [-m MODEL] [-t THREADS] [-p TOKENS] [-n TOKENS] [-d DEPTH] [--policy NAME] [--device NAME] [--gpu-layers N]\n"
    "                   [--kv TYPE]\n"
    "       kedge bench --copy [-m MODEL] [-t THREADS] [--policy NAME] [--device NAME] [--gpu-layers N]\n"
    "\n"
    "Measures speed and memory; one JSON object a line: test, tokens/s, bytes/s, share of measured memory bandwidth, pss.\n"
    "\n"
    "  -m, --model MODEL   a catalogue name or a .gguf file\n"
    "  -t, --threads N     0 = all that the process may use\n"
    "  -p, --prefill N     tokens to read at once (512; 0 = leave out), median of five\n"
    "  -n, --decode N      tokens to generate (64; 0 = leave out), median of five\n"
    "  -d, --depth N       tokens in context before those that are read or generated (0)\n"
    "      --copy          instead, answers without and with n-gram drafts: a function of 60 lines rewritten with one change, and\n"
    "                      a question explained; the tokens are the same\n"
    "      --policy NAME   how those look at the context: recall (the default) or full\n"
    "      --device NAME   cpu, cuda, cuda:N or ref (plain double precision, slow)\n"
    "      --gpu-layers N  a card computes the last N layers, the CPU the others; auto = as many as fit\n"
    "      --kv TYPE       what keys and values are kept as: f16 (the default) or q8_0\n";

static cJSON *begin_line(const char *test, uint32_t tokens, uint32_t depth, enum kg_policy policy, const struct kg_engine_facts *facts, uint64_t threads)
{
    cJSON *line = cJSON_CreateObject();
    cJSON_AddStringToObject(line, "test", test);
    cJSON_AddStringToObject(line, "model", facts->model);
    cJSON_AddStringToObject(line, "device", facts->device);
    cJSON_AddNumberToObject(line, "threads", (double)threads);
    cJSON_AddNumberToObject(line, "tokens", tokens);
    cJSON_AddNumberToObject(line, "depth", depth);
    cJSON_AddStringToObject(line, "policy", kg_policy_name(policy));
    return line;
}

static void print_results(const struct kg_bench_options *options, const struct kg_bench_result *result, const struct kg_engine_facts *facts, uint64_t threads)
{
    if (options->prefill) {
        cJSON *line = begin_line("prefill", options->prefill, options->depth, options->depth ? result->policy : KG_POLICY_FULL, facts, threads);
        cJSON_AddNumberToObject(line, "tokens_per_s", result->prefill_tokens_per_s);
        cJSON_AddNumberToObject(line, "pss_bytes", (double)result->pss_bytes);
        kg_put_json(line);
    }
    if (options->decode) {
        cJSON *line = begin_line("decode", options->decode, options->depth, result->policy, facts, threads);
        cJSON_AddNumberToObject(line, "tokens_per_s", result->decode_tokens_per_s);
        cJSON_AddNumberToObject(line, "bytes_per_s", result->decode_bytes_per_s);
        if (result->memory_bytes_per_s > 0) {
            cJSON_AddNumberToObject(line, "memory_bytes_per_s", result->memory_bytes_per_s);
            cJSON_AddNumberToObject(line, "share_of_memory_bandwidth", result->decode_bytes_per_s / result->memory_bytes_per_s);
        }
        cJSON_AddNumberToObject(line, "load_s", facts->load_s);
        cJSON_AddNumberToObject(line, "pss_bytes", (double)result->pss_bytes);
        kg_put_json(line);
    }
}

static enum kg_status bench_drafts(struct kg_engine *engine, const struct kg_bench_options *options, uint64_t threads, struct kg_error *err)
{
    static const struct {
        const char *test;
        enum kg_bench_text text;
    } tests[] = { { "copy", KG_BENCH_COPY }, { "new", KG_BENCH_NEW } };
    enum kg_status status = KG_OK;
    for (size_t i = 0; i < sizeof tests / sizeof *tests && status == KG_OK; i++) {
        struct kg_engine_facts facts;
        struct kg_bench_drafts result;
        status = kg_engine_bench_drafts(engine, options, tests[i].text, &result, err);
        if (status != KG_OK)
            break;
        kg_engine_facts(engine, &facts);
        cJSON *line = begin_line(tests[i].test, (uint32_t)result.tokens, options->depth, options->policy, &facts, threads);
        cJSON_DeleteItemFromObject(line, "depth");
        cJSON_AddNumberToObject(line, "tokens_per_s", result.tokens_per_s);
        cJSON_AddNumberToObject(line, "plain_tokens_per_s", result.plain_tokens_per_s);
        cJSON_AddNumberToObject(line, "gain", result.plain_tokens_per_s > 0 ? result.tokens_per_s / result.plain_tokens_per_s : 0);
        cJSON_AddNumberToObject(line, "draft_tokens", (double)result.draft_tokens);
        cJSON_AddNumberToObject(line, "draft_hits", (double)result.draft_hits);
        kg_put_json(line);
    }
    return status;
}

static enum kg_status bench_speed(struct kg_engine *engine, const struct kg_bench_options *options, uint64_t threads, struct kg_error *err)
{
    struct kg_bench_result result;
    struct kg_engine_facts facts;
    enum kg_status status = kg_engine_bench(engine, options, &result, err);
    if (status != KG_OK)
        return status;
    kg_engine_facts(engine, &facts);
    print_results(options, &result, &facts, threads);
    return KG_OK;
}

int kg_command_bench(int argc, char **argv)
{
    static const struct option options[] = { { "model", required_argument, NULL, 'm' },   { "threads", required_argument, NULL, 't' },
                                             { "prefill", required_argument, NULL, 'p' }, { "decode", required_argument, NULL, 'n' },
                                             { "depth", required_argument, NULL, 'd' },   { "device", required_argument, NULL, 'D' },
                                             { "gpu-layers", required_argument, NULL, 'G' }, { "kv", required_argument, NULL, 'K' },
                                             { "policy", required_argument, NULL, 'P' },  { "copy", no_argument, NULL, 'c' },
                                             { "help", no_argument, NULL, 'h' },          { 0 } };
    struct kg_engine_options engine_options = { .cache_off = true };
    const char *model = NULL;
    uint64_t threads = 0, prefill = 512, decode = 64, depth = 0;
    enum kg_policy policy = KG_POLICY_RECALL;
    bool copy = false, sized = false;
    struct kg_error err;
    for (int c; (c = getopt_long(argc, argv, "m:t:p:n:d:h", options, NULL)) != -1;) {
        uint64_t *number = c == 't' ? &threads : c == 'p' ? &prefill : c == 'n' ? &decode : &depth;
        switch (c) {
        case 'm': model = optarg; break;
        case 'c': copy = true; break;
        case 'D': engine_options.backend = optarg; break;
        case 'G': engine_options.gpu_layers = optarg; break;
        case 'K': engine_options.kv = optarg; break;
        case 'P':
            if (kg_policy_parse(optarg, &policy, &err) != KG_OK)
                return kg_command_failed("bench", &err);
            break;
        case 't':
        case 'p':
        case 'n':
        case 'd':
            if (!kg_parse_number(optarg, 0, c == 't' ? 1024 : 1 << 24, number))
                return kg_command_misused("bench", "'%s' is no number that -%c takes", optarg, c);
            sized |= c != 't';
            break;
        case 'h': fputs(help, stdout); return KG_EXIT_OK;
        default: return KG_EXIT_USAGE;
        }
    }
    if (optind != argc)
        return kg_command_misused("bench", "'%s' is one argument too many", argv[optind]);
    if (copy && sized)
        return kg_command_misused("bench", "-p, -n and -d do not go with --copy, whose texts are always the same");
    char path[KG_PATH_MAX];
    struct kg_engine *engine = NULL;
    struct kg_bench_options wanted = { .prefill = (uint32_t)prefill, .decode = (uint32_t)decode, .depth = (uint32_t)depth, .policy = policy };
    engine_options.threads = (uint32_t)threads;
    engine_options.model_path = path;
    enum kg_status status = kg_model_path(model, path, &err);
    if (status == KG_OK)
        status = kg_engine_open(&engine_options, &engine, &err);
    if (status == KG_OK)
        kg_command_notice("bench", engine);
    if (status == KG_OK)
        status = (copy ? bench_drafts : bench_speed)(engine, &wanted, threads, &err);
    kg_engine_close(engine);
    return status == KG_OK ? KG_EXIT_OK : kg_command_failed("bench", &err);
}
