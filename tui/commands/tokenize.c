#include <getopt.h>
#include <stdlib.h>

#include "tui/commands/command.h"

static const char help[] =
    "usage: kedge tokenize [-m MODEL] [--special] FILE\n"
    "\n"
    "Prints the token ids of FILE's text, separated by spaces. FILE may be - for standard input.\n"
    "\n"
    "  -m, --model MODEL   a catalogue name or a .gguf file\n"
    "      --special       names of special tokens in the text become those tokens\n";

int kg_command_tokenize(int argc, char **argv)
{
    static const struct option options[] = {
        { "model", required_argument, NULL, 'm' }, { "special", no_argument, NULL, 's' }, { "help", no_argument, NULL, 'h' }, { 0 }
    };
    const char *model = NULL;
    bool special = false;
    for (int c; (c = getopt_long(argc, argv, "m:h", options, NULL)) != -1;) {
        switch (c) {
        case 'm': model = optarg; break;
        case 's': special = true; break;
        case 'h': fputs(help, stdout); return KG_EXIT_OK;
        default: return KG_EXIT_USAGE;
        }
    }
    if (optind + 1 != argc)
        return kg_command_misused("tokenize", "give one FILE");
    struct kg_error err;
    char path[KG_PATH_MAX], *text = NULL;
    size_t length, count;
    int32_t *ids = NULL;
    enum kg_status status = kg_model_path(model, path, &err);
    if (status == KG_OK)
        status = kg_read_input(argv[optind], (size_t)1 << 28, &text, &length, &err);
    if (status == KG_OK)
        status = kg_tokenize_with(path, text, length, special, &ids, &count, &err);
    if (status == KG_OK) {
        for (size_t i = 0; i < count; i++)
            printf("%s%d", i ? " " : "", ids[i]);
        putchar('\n');
    }
    free(ids);
    free(text);
    return status == KG_OK ? KG_EXIT_OK : kg_command_failed("tokenize", &err);
}
