#include <cjson/cJSON.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "tui/commands/command.h"

#define FILES_MAX 48

static const char help[] =
    "usage: kedge context [-C REPO] [--tokens N] [-n N] [--json] QUESTION...\n"
    "\n"
    "Chooses files and parts of files (path:first-last) for a question, best first, with the reason for each.\n"
    "\n"
    "  -C REPO      a directory of the repository (default: the current one)\n"
    "  --tokens N   at most so many tokens together (8192)\n"
    "  -n N         the best N whole files instead, whatever their size\n";

struct listing {
    cJSON *json; /* NULL: lines */
    unsigned count;
};

static int print_part(void *ctx, const struct kg_context_part *part)
{
    struct listing *listing = ctx;
    char path[4 * KG_PATH_MAX];
    listing->count++;
    kg_printable(path, sizeof path, part->path, strlen(part->path));
    if (!listing->json) {
        printf("%s", path);
        if (part->first)
            printf(":%" PRIu32 "-%" PRIu32, part->first, part->last);
        printf("  %" PRIu32 " tokens  %s\n", part->tokens, part->reason);
        return 0;
    }
    cJSON *row = cJSON_CreateObject();
    cJSON_AddStringToObject(row, "path", path);
    cJSON_AddNumberToObject(row, "first", part->first);
    cJSON_AddNumberToObject(row, "last", part->last);
    cJSON_AddNumberToObject(row, "tokens", part->tokens);
    cJSON_AddNumberToObject(row, "score", part->score);
    cJSON_AddStringToObject(row, "reason", part->reason);
    cJSON_AddItemToArray(listing->json, row);
    return 0;
}

static enum kg_status list(const char *repo, const struct kg_context_request *request, struct listing *listing, struct kg_error *err)
{
    struct kg_index *index = NULL;
    struct kg_index_counts counts;
    enum kg_status status = kg_open_fresh_index(repo, &index, &counts, err);
    if (status == KG_OK && request->parts)
        status = kg_index_read_symbols(index, NULL, NULL, err);
    if (status == KG_OK)
        status = kg_index_context(index, request, print_part, listing, err);
    kg_index_close(index);
    return status;
}

int kg_command_context(int argc, char **argv)
{
    static const struct option options[] = { { "tokens", required_argument, NULL, 't' }, { "json", no_argument, NULL, 'j' }, { "help", no_argument, NULL, 'h' }, { 0 } };
    const char *repo = ".";
    bool json = false;
    uint64_t tokens = 8192, files = 0;
    for (int c; (c = getopt_long(argc, argv, "C:n:h", options, NULL)) != -1;) {
        switch (c) {
        case 'C': repo = optarg; break;
        case 't':
            if (!kg_parse_number(optarg, 1, UINT32_MAX, &tokens))
                return kg_command_misused("context", "--tokens takes 1 to 4294967295, not '%s'", optarg);
            break;
        case 'n':
            if (!kg_parse_number(optarg, 1, 100000, &files))
                return kg_command_misused("context", "-n takes 1 to 100000, not '%s'", optarg);
            break;
        case 'j': json = true; break;
        case 'h': fputs(help, stdout); return KG_EXIT_OK;
        default: return KG_EXIT_USAGE;
        }
    }
    if (optind == argc)
        return kg_command_misused("context", "give a question");
    struct kg_error err;
    struct listing listing = { .json = json ? cJSON_CreateArray() : NULL };
    char *question = kg_join_words(argc - optind, argv + optind);
    const struct kg_context_request request = { .question = question, .tokens = files ? 0 : (uint32_t)tokens, .files = files ? (uint32_t)files : FILES_MAX, .parts = files == 0 };
    enum kg_status status = question ? list(repo, &request, &listing, &err) : kg_fail_nomem(&err, "choosing files");
    if (status == KG_OK)
        kg_put_json(listing.json);
    else
        cJSON_Delete(listing.json);
    free(question);
    if (status != KG_OK)
        return kg_command_failed("context", &err);
    return listing.count ? KG_EXIT_OK : KG_EXIT_FAILED;
}
