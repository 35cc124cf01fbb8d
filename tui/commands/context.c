#include <cjson/cJSON.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "tui/commands/repo_reader.h"
#include "tui/conversation/includes.h"

#define FILES_MAX 48
#define OPEN_MAX 64

static const char help[] =
    "usage: kedge context [-C REPO] [--tokens N] [-n N] [--open PATH]... [-m MODEL] [--json] QUESTION...\n"
    "\n"
    "Chooses files and parts of files (path:first-last) for a question, best first, with the reason for each.\n"
    "\n"
    "  -C REPO             a directory of the repository (default: the current one)\n"
    "      --tokens N      at most so many tokens together (8192)\n"
    "  -n N                the best N whole files instead, whatever their size\n"
    "      --open PATH     a file that is read already: it is left out, and what lies near to it is preferred\n"
    "  -m, --model MODEL   says what the cache holds for this model, and counts the tokens of whole files with its\n"
    "                      tokenizer; with --json the configured model, where it is here\n";

#define PARTS_EACH 3 /* of one file, at most */

struct listing {
    cJSON *json; /* NULL: lines */
    const char *model; /* NULL: the configured one */
    struct kg_repo_reader *reader;
    struct kg_context_part *parts;
    unsigned count, capacity;
};

/* What the cache holds of a file in the reading that adding it prefers; false where that cannot be told. */
static bool look_up(const struct listing *listing, const char *path, struct kg_known *known)
{
    char *text = NULL;
    size_t length = 0;
    bool secret = false;
    struct kg_error unread;
    struct kg_repo_reader *reader = listing->reader;
    if (!reader->session || kg_index_read(reader->index, path, KG_FILE_MAX, &text, &length, &secret, &unread) != KG_OK)
        return false;
    bool told = !secret && kg_known_with_includes(reader->session, reader->index, path, text, length, known, &unread) == KG_OK && known->tokens;
    free(text);
    return told;
}

static int keep_part(void *ctx, const struct kg_context_part *given)
{
    struct listing *listing = ctx;
    struct kg_context_part *part = &listing->parts[listing->count];
    *part = *given;
    part->path = strdup(given->path);
    part->reason = strdup(given->reason);
    listing->count += part->path && part->reason;
    return !part->path || !part->reason || listing->count == listing->capacity;
}

static void print_line(const struct listing *listing, const struct kg_context_part *part)
{
    char path[4 * KG_PATH_MAX];
    struct kg_known known = { 0 };
    kg_printable(path, sizeof path, part->path, strlen(part->path));
    bool told = look_up(listing, part->path, &known);
    const uint32_t tokens = told && !part->first ? known.tokens : part->tokens;
    const bool cached = told && known.known == known.tokens;
    if (!listing->json) {
        printf("%s", path);
        if (part->first)
            printf(":%" PRIu32 "-%" PRIu32, part->first, part->last);
        printf("  %" PRIu32 " tokens%s  %s\n", tokens, cached ? ", cached" : "", part->reason);
        return;
    }
    cJSON *row = cJSON_CreateObject();
    cJSON_AddStringToObject(row, "path", path);
    cJSON_AddNumberToObject(row, "first", part->first);
    cJSON_AddNumberToObject(row, "last", part->last);
    cJSON_AddNumberToObject(row, "tokens", tokens);
    cJSON_AddNumberToObject(row, "score", part->score);
    cJSON_AddStringToObject(row, "reason", part->reason);
    if (told)
        cJSON_AddBoolToObject(row, "cached", cached);
    else
        cJSON_AddNullToObject(row, "cached");
    cJSON_AddItemToArray(listing->json, row);
}

/* The configured model may not be here, which is no fault of the question's. */
static enum kg_status open_model(struct listing *listing, struct kg_error *err)
{
    const struct kg_engine_options options = { .weightless = true };
    if (!listing->model && !listing->json)
        return KG_OK;
    enum kg_status status = kg_repo_reader_open_model(listing->model, &options, listing->reader, err);
    return listing->model ? status : KG_OK;
}

static enum kg_status list(const char *repo, const struct kg_context_request *request, struct listing *listing, struct kg_error *err)
{
    struct kg_index_counts counts;
    struct kg_repo_reader *reader = listing->reader;
    listing->capacity = request->files * PARTS_EACH;
    listing->parts = calloc(listing->capacity, sizeof *listing->parts);
    enum kg_status status = listing->parts ? kg_directory_root(repo, reader->root, err) : kg_fail_nomem(err, "choosing files");
    if (status == KG_OK)
        status = kg_open_fresh_index(repo, &reader->index, &counts, err);
    if (status == KG_OK)
        status = kg_link_index(reader->index, &counts, err);
    if (status == KG_OK && request->parts)
        status = kg_index_read_symbols(reader->index, NULL, NULL, err);
    if (status == KG_OK)
        status = kg_index_context(reader->index, request, keep_part, listing, err);
    if (status == KG_OK && listing->count)
        status = open_model(listing, err);
    for (unsigned i = 0; status == KG_OK && i < listing->count; i++)
        print_line(listing, &listing->parts[i]);
    return status;
}

static void free_listing(struct listing *listing)
{
    for (unsigned i = 0; i < listing->count; i++) {
        free((char *)listing->parts[i].path);
        free((char *)listing->parts[i].reason);
    }
    free(listing->parts);
    kg_repo_reader_close(listing->reader);
}

int kg_command_context(int argc, char **argv)
{
    static const struct option options[] = { { "tokens", required_argument, NULL, 't' }, { "open", required_argument, NULL, 'o' }, { "model", required_argument, NULL, 'm' },
                                             { "json", no_argument, NULL, 'j' }, { "help", no_argument, NULL, 'h' }, { 0 } };
    const char *repo = ".", *model = NULL, *open[OPEN_MAX];
    size_t open_count = 0;
    bool json = false;
    uint64_t tokens = 8192, files = 0;
    for (int c; (c = getopt_long(argc, argv, "C:n:m:h", options, NULL)) != -1;) {
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
        case 'o':
            if (open_count == OPEN_MAX)
                return kg_command_misused("context", "at most %d files can be open", OPEN_MAX);
            open[open_count++] = optarg;
            break;
        case 'm': model = optarg; break;
        case 'j': json = true; break;
        case 'h': fputs(help, stdout); return KG_EXIT_OK;
        default: return KG_EXIT_USAGE;
        }
    }
    if (optind == argc)
        return kg_command_misused("context", "give a question");
    struct kg_error err;
    struct kg_repo_reader reader = { 0 };
    struct listing listing = { .json = json ? cJSON_CreateArray() : NULL, .model = model, .reader = &reader };
    char *question = kg_join_words(argc - optind, argv + optind);
    const struct kg_context_request request = { .question = question, .tokens = files ? 0 : (uint32_t)tokens, .files = files ? (uint32_t)files : FILES_MAX, .parts = files == 0, .open = open, .open_count = open_count };
    enum kg_status status = question ? list(repo, &request, &listing, &err) : kg_fail_nomem(&err, "choosing files");
    if (status == KG_OK)
        kg_put_json(listing.json);
    else
        cJSON_Delete(listing.json);
    const bool any = listing.count > 0;
    free_listing(&listing);
    free(question);
    if (status != KG_OK)
        return kg_command_failed("context", &err);
    return any ? KG_EXIT_OK : KG_EXIT_FAILED;
}
