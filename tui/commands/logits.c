#include <cjson/cJSON.h>
#include <getopt.h>
#include <stdlib.h>

#include "tui/commands/command.h"

static const char help[] =
    "usage: kedge logits [-m MODEL] [--special] [--policy NAME] [-t THREADS] [--device NAME] [--gpu-layers N] FILE\n"
    "\n"
    "Prints the ten best tokens after FILE's text as JSON: ids, logits, log-probabilities. FILE may be - for standard input.\n"
    "\n"
    "  -m, --model MODEL     a catalogue name or a .gguf file\n"
    "      --special         names of special tokens in the text become those tokens\n"
    "      --policy NAME     recall, full, alone or anchor; a text is one block, for which all compute the same\n"
    "  -t, --threads N       0 = all that the process may use\n"
    "      --device NAME     cpu, cuda, cuda:N or ref (plain double precision, slow)\n"
    "      --gpu-layers N    a card computes the last N layers, the CPU the others; auto = as many as fit\n";

static void print_json(const struct kg_logit best[10])
{
    cJSON *root = cJSON_CreateArray();
    for (int i = 0; i < 10 && best[i].id >= 0; i++) {
        cJSON *row = cJSON_CreateObject();
        cJSON_AddNumberToObject(row, "id", best[i].id);
        cJSON_AddNumberToObject(row, "logit", (double)best[i].logit);
        cJSON_AddNumberToObject(row, "logprob", best[i].log_probability);
        cJSON_AddItemToArray(root, row);
    }
    kg_put_json(root);
}

int kg_command_logits(int argc, char **argv)
{
    static const struct option options[] = {
        { "model", required_argument, NULL, 'm' },   { "special", no_argument, NULL, 's' },  { "policy", required_argument, NULL, 'p' },
        { "threads", required_argument, NULL, 't' }, { "device", required_argument, NULL, 'd' }, { "gpu-layers", required_argument, NULL, 'G' }, { "help", no_argument, NULL, 'h' }, { 0 }
    };
    struct kg_engine_options engine_options = { .cache_off = true };
    const char *model = NULL;
    bool special = false;
    uint64_t threads = 0;
    enum kg_policy policy;
    struct kg_error err;
    for (int c; (c = getopt_long(argc, argv, "m:t:h", options, NULL)) != -1;) {
        switch (c) {
        case 'm': model = optarg; break;
        case 's': special = true; break;
        case 'd': engine_options.backend = optarg; break;
        case 'G': engine_options.gpu_layers = optarg; break;
        case 'p':
            if (kg_policy_parse(optarg, &policy, &err) != KG_OK)
                return kg_command_failed("logits", &err);
            break;
        case 't':
            if (!kg_parse_number(optarg, 0, 1024, &threads))
                return kg_command_misused("logits", "threads are 0 to 1024, not '%s'", optarg);
            break;
        case 'h': fputs(help, stdout); return KG_EXIT_OK;
        default: return KG_EXIT_USAGE;
        }
    }
    if (optind + 1 != argc)
        return kg_command_misused("logits", "give one FILE");
    char path[KG_PATH_MAX], *text = NULL;
    size_t length;
    struct kg_engine *engine = NULL;
    struct kg_logit best[10];
    engine_options.threads = (uint32_t)threads;
    engine_options.model_path = path;
    enum kg_status status = kg_model_path(model, path, &err);
    if (status == KG_OK)
        status = kg_read_input(argv[optind], (size_t)1 << 26, &text, &length, &err);
    if (status == KG_OK)
        status = kg_engine_open(&engine_options, &engine, &err);
    if (status == KG_OK)
        kg_command_notice("logits", engine);
    if (status == KG_OK)
        status = kg_engine_logits(engine, text, length, special, best, &err);
    if (status == KG_OK)
        print_json(best);
    kg_engine_close(engine);
    free(text);
    return status == KG_OK ? KG_EXIT_OK : kg_command_failed("logits", &err);
}
