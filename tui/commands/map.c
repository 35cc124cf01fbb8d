#include <cjson/cJSON.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "tui/commands/command.h"

static const char help[] =
    "usage: kedge map [-C REPO] [--tokens N] [--json]\n"
    "\n"
    "Prints a map of the repository: the signatures that matter most, by file, most important files first.\n"
    "\n"
    "  -C REPO      a directory of the repository (default: the current one)\n"
    "  --tokens N   at most so many tokens (1024)\n";

struct drawing {
    cJSON *json; /* NULL: lines */
    char path[4 * KG_PATH_MAX]; /* of the file at hand */
    unsigned count;
};

static int print_symbol(void *ctx, const struct kg_index_symbol *symbol)
{
    struct drawing *drawing = ctx;
    char path[4 * KG_PATH_MAX], signature[2048], name[2048];
    kg_printable(path, sizeof path, symbol->path, strlen(symbol->path));
    kg_printable(signature, sizeof signature, symbol->signature, strlen(symbol->signature));
    kg_printable(name, sizeof name, symbol->name, strlen(symbol->name));
    if (drawing->json) {
        cJSON *row = cJSON_CreateObject();
        cJSON_AddStringToObject(row, "path", path);
        cJSON_AddNumberToObject(row, "line", symbol->line);
        cJSON_AddStringToObject(row, "kind", symbol->kind);
        cJSON_AddStringToObject(row, "name", name);
        cJSON_AddStringToObject(row, "signature", signature);
        cJSON_AddItemToArray(drawing->json, row);
    } else {
        if (drawing->count == 0 || strcmp(drawing->path, path) != 0)
            printf("%s:\n", path);
        printf("%6" PRIu32 "  %s\n", symbol->line, signature);
        memcpy(drawing->path, path, sizeof path);
    }
    drawing->count++;
    return 0;
}

static enum kg_status draw(const char *repo, uint32_t tokens, struct drawing *drawing, struct kg_error *err)
{
    struct kg_index *index = NULL;
    struct kg_index_counts counts;
    enum kg_status status = kg_open_fresh_index(repo, &index, &counts, err);
    if (status == KG_OK)
        status = kg_link_index(index, &counts, err);
    if (status == KG_OK)
        status = kg_index_read_symbols(index, NULL, NULL, err);
    if (status == KG_OK)
        status = kg_index_map(index, tokens, print_symbol, drawing, err);
    kg_index_close(index);
    return status;
}

int kg_command_map(int argc, char **argv)
{
    static const struct option options[] = { { "tokens", required_argument, NULL, 't' }, { "json", no_argument, NULL, 'j' }, { "help", no_argument, NULL, 'h' }, { 0 } };
    const char *repo = ".";
    bool json = false;
    uint64_t tokens = 1024;
    for (int c; (c = getopt_long(argc, argv, "C:h", options, NULL)) != -1;) {
        switch (c) {
        case 'C': repo = optarg; break;
        case 't':
            if (!kg_parse_number(optarg, 1, UINT32_MAX, &tokens))
                return kg_command_misused("map", "--tokens takes 1 to 4294967295, not '%s'", optarg);
            break;
        case 'j': json = true; break;
        case 'h': fputs(help, stdout); return KG_EXIT_OK;
        default: return KG_EXIT_USAGE;
        }
    }
    if (optind != argc)
        return kg_command_misused("map", "'%s' is one argument too many", argv[optind]);
    struct kg_error err;
    struct drawing drawing = { .json = json ? cJSON_CreateArray() : NULL };
    enum kg_status status = draw(repo, (uint32_t)tokens, &drawing, &err);
    if (status == KG_OK)
        kg_put_json(drawing.json);
    else
        cJSON_Delete(drawing.json);
    if (status != KG_OK)
        return kg_command_failed("map", &err);
    return drawing.count ? KG_EXIT_OK : KG_EXIT_FAILED;
}
