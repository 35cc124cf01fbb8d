#include <cjson/cJSON.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "tui/commands/command.h"

static const char help[] =
    "usage: kedge symbols [-C REPO] [-n N] [--json] [QUERY...]\n"
    "\n"
    "Lists what the repository defines: path:line kind name signature. QUERY is words that the name holds, or the path of a file.\n"
    "\n"
    "  -C REPO   a directory of the repository (default: the current one)\n"
    "  -n N      at most so many (default: all)\n";

struct listing {
    cJSON *json; /* NULL: lines */
    unsigned count;
};

static void put_printable(const char *before, const char *text)
{
    char visible[4 * KG_PATH_MAX];
    kg_printable(visible, sizeof visible, text, strlen(text));
    printf("%s%s", before, visible);
}

static void add_text(cJSON *row, const char *key, const char *text)
{
    char visible[4 * KG_PATH_MAX]; /* JSON is UTF-8, whatever names are */
    kg_printable(visible, sizeof visible, text, strlen(text));
    cJSON_AddStringToObject(row, key, visible);
}

static int print_symbol(void *ctx, const struct kg_index_symbol *symbol)
{
    struct listing *listing = ctx;
    listing->count++;
    if (listing->json) {
        cJSON *row = cJSON_CreateObject();
        add_text(row, "path", symbol->path);
        cJSON_AddNumberToObject(row, "line", symbol->line);
        cJSON_AddNumberToObject(row, "end", symbol->end);
        add_text(row, "kind", symbol->kind);
        add_text(row, "name", symbol->name);
        add_text(row, "scope", symbol->scope);
        add_text(row, "signature", symbol->signature);
        cJSON_AddItemToArray(listing->json, row);
        return 0;
    }
    put_printable("", symbol->path);
    printf(":%" PRIu32, symbol->line);
    put_printable(" ", symbol->kind);
    put_printable(" ", symbol->name);
    if (symbol->signature[0])
        put_printable(" ", symbol->signature);
    putchar('\n');
    return 0;
}

static enum kg_status list(const char *repo, const char *query, uint32_t limit, struct listing *listing, struct kg_error *err)
{
    struct kg_index *index = NULL;
    struct kg_index_counts counts;
    enum kg_status status = kg_open_fresh_index(repo, &index, &counts, err);
    if (status == KG_OK)
        status = kg_index_read_symbols(index, NULL, NULL, err);
    if (status == KG_OK)
        status = kg_index_symbols(index, query, limit, print_symbol, listing, err);
    kg_index_close(index);
    return status;
}

int kg_command_symbols(int argc, char **argv)
{
    static const struct option options[] = { { "json", no_argument, NULL, 'j' }, { "help", no_argument, NULL, 'h' }, { 0 } };
    const char *repo = ".";
    bool json = false;
    uint64_t limit = UINT32_MAX;
    for (int c; (c = getopt_long(argc, argv, "C:n:h", options, NULL)) != -1;) {
        switch (c) {
        case 'C': repo = optarg; break;
        case 'n':
            if (!kg_parse_number(optarg, 1, UINT32_MAX, &limit))
                return kg_command_misused("symbols", "-n takes 1 to 4294967295, not '%s'", optarg);
            break;
        case 'j': json = true; break;
        case 'h': fputs(help, stdout); return KG_EXIT_OK;
        default: return KG_EXIT_USAGE;
        }
    }
    struct kg_error err;
    struct listing listing = { .json = json ? cJSON_CreateArray() : NULL };
    char *query = kg_join_words(argc - optind, argv + optind);
    enum kg_status status = query ? list(repo, query, (uint32_t)limit, &listing, &err) : kg_fail_nomem(&err, "listing symbols");
    if (status == KG_OK)
        kg_put_json(listing.json);
    else
        cJSON_Delete(listing.json);
    free(query);
    if (status != KG_OK)
        return kg_command_failed("symbols", &err);
    return listing.count ? KG_EXIT_OK : KG_EXIT_FAILED;
}
